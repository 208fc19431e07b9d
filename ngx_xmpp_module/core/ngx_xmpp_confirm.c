/*
 * With xmpp_durability replicas=N nobody gets a message that a failover would
 * forget (cluster.md, rule 12; docs/internals/decisions/23-replicas.md).
 *
 * Redis rings before its replicas have what it rings for.  If it fails then,
 * the sender's worker repeats the message at the next master, which does not
 * know it: it gets another number, and its recipient, who has had it, has it
 * twice, under two ids.  So the bell of a message that is kept waits here:
 *
 *     heard --> waiting --replicas have it----------> the registry
 *                  |
 *                  +--replicas are lacking----------> as missed: the session
 *                  |                                  reads its inbox, which is
 *                  |                                  answered when they have
 *                  '--a connection is lost----------> as missed: it reads what
 *                                                     the next master has
 *
 * What else rings for the account waits behind it, whether it is kept or not,
 * so that the order stays; other accounts do not.  As a rule that is as long as
 * the replicas take to answer, and with all that is lacking the timeout of
 * xmpp_durability; then only messages wait.
 *
 * The list is the worker's, in the order heard, and so that of the numbers
 * which the bells wait for: a bell that is not kept has that of the one before
 * it.  Each is one block of the heap.
 */


#include "ngx_xmpp.h"


typedef struct {
    ngx_queue_t                 queue;          /* worker's confirms */
    ngx_xmpp_account_t         *account;
    ngx_uint_t                  number;         /* it waits for */
    ngx_xmpp_store_bell_t       bell;           /* its strings lie behind */
} ngx_xmpp_confirm_t;


static void ngx_xmpp_confirm_bell(void *data, ngx_xmpp_store_bell_t *bell);
static void ngx_xmpp_confirm_done(void *data, ngx_uint_t number,
    ngx_uint_t ok);
static ngx_int_t ngx_xmpp_confirm_wait(ngx_xmpp_account_t *a,
    ngx_xmpp_store_bell_t *bell, ngx_uint_t number);
static u_char *ngx_xmpp_confirm_copy(u_char *p, ngx_str_t *s);
static void ngx_xmpp_confirm_void(ngx_xmpp_worker_t *w, ngx_uint_t lacking);
static ngx_xmpp_confirm_t *ngx_xmpp_confirm_next(ngx_xmpp_worker_t *w);


ngx_xmpp_store_bell_pt
ngx_xmpp_confirm_init(ngx_xmpp_worker_t *w, ngx_xmpp_main_conf_t *xmcf)
{
    ngx_queue_init(&w->confirms);

    xmcf->store.confirmed = ngx_xmpp_confirm_done;

    return xmcf->store.redis.replicas ? ngx_xmpp_confirm_bell
                                      : ngx_xmpp_registry_doorbell;
}


/* *bell is copied, if it has to wait */

static void
ngx_xmpp_confirm_bell(void *data, ngx_xmpp_store_bell_t *bell)
{
    ngx_xmpp_worker_t *w = data;

    ngx_uint_t           number;
    ngx_queue_t         *q;
    ngx_xmpp_account_t  *a;
    ngx_xmpp_confirm_t  *cf;

    a = ngx_xmpp_registry_find(w, &bell->tag);

    if (a == NULL) {
        return;
    }

    if (bell->kind == NGX_XMPP_BELL_KEPT) {
        number = ngx_xmpp_store_confirm(w->store);

    } else if (a->unsure) {
        q = ngx_queue_last(&w->confirms);
        cf = ngx_queue_data(q, ngx_xmpp_confirm_t, queue);
        number = cf->number;

    } else {
        ngx_xmpp_registry_doorbell(w, bell);
        return;
    }

    if (number && ngx_xmpp_confirm_wait(a, bell, number) == NGX_OK) {
        return;
    }

    /* what waits is void, too; or there is no memory */

    ngx_xmpp_confirm_void(w, 1);

    if (bell->kind == NGX_XMPP_BELL_KEPT) {
        ngx_xmpp_registry_unsure(a, bell, 1);
        return;
    }

    ngx_xmpp_registry_doorbell(w, bell);
}


static ngx_int_t
ngx_xmpp_confirm_wait(ngx_xmpp_account_t *a, ngx_xmpp_store_bell_t *bell,
    ngx_uint_t number)
{
    u_char              *p;
    ngx_xmpp_confirm_t  *cf;

    cf = ngx_alloc(sizeof(ngx_xmpp_confirm_t) + bell->tag.len
                   + bell->targets.len + bell->lengths.len + bell->body.len,
                   a->worker->log);
    if (cf == NULL) {
        return NGX_ERROR;
    }

    cf->account = a;
    cf->number = number;
    cf->bell = *bell;

    p = (u_char *) cf + sizeof(ngx_xmpp_confirm_t);

    p = ngx_xmpp_confirm_copy(p, &cf->bell.tag);
    p = ngx_xmpp_confirm_copy(p, &cf->bell.targets);
    p = ngx_xmpp_confirm_copy(p, &cf->bell.lengths);
    (void) ngx_xmpp_confirm_copy(p, &cf->bell.body);

    ngx_queue_insert_tail(&a->worker->confirms, &cf->queue);
    a->unsure++;

    return NGX_OK;
}


static u_char *
ngx_xmpp_confirm_copy(u_char *p, ngx_str_t *s)
{
    ngx_memcpy(p, s->data, s->len);
    s->data = p;

    return p + s->len;
}


/* replicas have what was heard before this number was given; or have not */

static void
ngx_xmpp_confirm_done(void *data, ngx_uint_t number, ngx_uint_t ok)
{
    ngx_xmpp_worker_t *w = data;

    ngx_queue_t         *q;
    ngx_xmpp_confirm_t  *cf;

    if (!ok) {
        ngx_xmpp_confirm_void(w, 1);
        return;
    }

    while (!ngx_queue_empty(&w->confirms)) {
        q = ngx_queue_head(&w->confirms);
        cf = ngx_queue_data(q, ngx_xmpp_confirm_t, queue);

        if (cf->number > number) {
            return;
        }

        cf = ngx_xmpp_confirm_next(w);

        ngx_xmpp_registry_doorbell(w, &cf->bell);
        ngx_free(cf);
    }
}


void
ngx_xmpp_confirm_lost(ngx_xmpp_worker_t *w)
{
    ngx_xmpp_confirm_void(w, 0);
}


/* what is kept counts as missed, all else is as if it came now */

static void
ngx_xmpp_confirm_void(ngx_xmpp_worker_t *w, ngx_uint_t lacking)
{
    ngx_xmpp_confirm_t  *cf;

    while (!ngx_queue_empty(&w->confirms)) {
        cf = ngx_xmpp_confirm_next(w);

        if (cf->bell.kind == NGX_XMPP_BELL_KEPT) {
            ngx_xmpp_registry_unsure(cf->account, &cf->bell, lacking);

        } else {
            ngx_xmpp_registry_doorbell(w, &cf->bell);
        }

        ngx_free(cf);
    }
}


/* the first one, which waits no longer */

static ngx_xmpp_confirm_t *
ngx_xmpp_confirm_next(ngx_xmpp_worker_t *w)
{
    ngx_queue_t         *q;
    ngx_xmpp_confirm_t  *cf;

    q = ngx_queue_head(&w->confirms);
    cf = ngx_queue_data(q, ngx_xmpp_confirm_t, queue);

    ngx_queue_remove(q);
    cf->account->unsure--;

    return cf;
}


void
ngx_xmpp_confirm_leave(ngx_xmpp_account_t *a)
{
    ngx_queue_t         *q, *next;
    ngx_xmpp_confirm_t  *cf;

    for (q = ngx_queue_head(&a->worker->confirms); a->unsure; q = next) {
        next = ngx_queue_next(q);
        cf = ngx_queue_data(q, ngx_xmpp_confirm_t, queue);

        if (cf->account == a) {
            ngx_queue_remove(q);
            ngx_free(cf);
            a->unsure--;
        }
    }
}


void
ngx_xmpp_confirm_exit(ngx_xmpp_worker_t *w)
{
    while (!ngx_queue_empty(&w->confirms)) {
        ngx_free(ngx_xmpp_confirm_next(w));
    }
}
