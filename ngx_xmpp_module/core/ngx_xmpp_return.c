/*
 * Presence of a session whose worker was taken for dead: contacts, and the
 * account's other resources, were told that it is unavailable, and hear now
 * that it is not (RFC 6121, 4.2.2; cluster.md, rule 5).
 *
 *     xmpp1_presence --ok--> contacts, one write to all --> done
 *           '--fenced, Redis is away: that is all
 *
 * The stanza has the priority and no more: nobody keeps the last one but
 * Redis, where it was removed.  The session may end meanwhile, or its client
 * send presence: either comes behind this one.
 *
 * A node comes from the heap with copies of all it needs.
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_RETURN_POOL          1024


typedef struct {
    ngx_queue_t                 queue;      /* of the worker */
    ngx_xmpp_worker_t          *worker;
    ngx_pool_t                 *pool;       /* this lies in it */

    ngx_str_t                   tag;
    ngx_xmpp_jid_t              jid;
    ngx_str_t                   sid;
    ngx_str_t                   stanza;
    ngx_str_t                   state;      /* the priority */
    ngx_xmpp_store_session_t    record;
    ngx_xmpp_tell_t             tell;
} ngx_xmpp_return_t;


static ngx_xmpp_return_t *ngx_xmpp_return_create(ngx_xmpp_session_t *xs);
static ngx_int_t ngx_xmpp_return_copy(ngx_xmpp_return_t *rt, ngx_str_t *to,
    ngx_str_t *from);
static ngx_int_t ngx_xmpp_return_stanza(ngx_xmpp_return_t *rt,
    ngx_xmpp_session_t *xs);
static void ngx_xmpp_return_done(void *data, ngx_xmpp_store_result_t *res);
static void ngx_xmpp_return_told(void *data, ngx_int_t rc);
static void ngx_xmpp_return_free(ngx_xmpp_return_t *rt);


/* announces it again, if it is available; nobody waits for that */

void
ngx_xmpp_return(ngx_xmpp_session_t *xs)
{
    ngx_xmpp_return_t  *rt;

    if (!xs->available || xs->epoch == 0 || xs->ending || xs->displaced) {
        return;
    }

    rt = ngx_xmpp_return_create(xs);

    if (rt == NULL
        || ngx_xmpp_store_presence(xs->worker->store, rt->pool, &rt->record,
                                   &rt->state, &rt->stanza, 0,
                                   ngx_xmpp_return_done, rt)
           == NULL)
    {
        ngx_log_error(NGX_LOG_ERR, xs->worker->log, 0,
                      "xmpp could not announce \"%V\" again", &xs->jid.full);

        if (rt) {
            ngx_xmpp_return_free(rt);
        }
    }
}


static ngx_xmpp_return_t *
ngx_xmpp_return_create(ngx_xmpp_session_t *xs)
{
    ngx_pool_t         *pool;
    ngx_xmpp_return_t  *rt;

    pool = ngx_create_pool(NGX_XMPP_RETURN_POOL, xs->worker->log);
    if (pool == NULL) {
        return NULL;
    }

    rt = ngx_pcalloc(pool, sizeof(ngx_xmpp_return_t));
    if (rt == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    rt->worker = xs->worker;
    rt->pool = pool;

    ngx_queue_insert_tail(&xs->worker->returns, &rt->queue);

    if (ngx_xmpp_return_copy(rt, &rt->tag, &xs->account->sn.str) != NGX_OK
        || ngx_xmpp_jid_copy(pool, &xs->jid, &rt->jid) != NGX_OK
        || ngx_xmpp_return_copy(rt, &rt->sid, &xs->sid) != NGX_OK
        || ngx_xmpp_return_stanza(rt, xs) != NGX_OK)
    {
        ngx_xmpp_return_free(rt);
        return NULL;
    }

    rt->record.tag = &rt->tag;
    rt->record.resource = &rt->jid.resource;
    rt->record.sid = &rt->sid;
    rt->record.epoch = xs->epoch;
    rt->record.lifetime = xs->lifetime;

    return rt;
}


static ngx_int_t
ngx_xmpp_return_copy(ngx_xmpp_return_t *rt, ngx_str_t *to, ngx_str_t *from)
{
    to->len = from->len;
    to->data = ngx_pstrdup(rt->pool, from);

    return to->data ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_xmpp_return_stanza(ngx_xmpp_return_t *rt, ngx_xmpp_session_t *xs)
{
    u_char  *p;

    p = ngx_pnalloc(rt->pool, sizeof("<presence xmlns='jabber:client' from='"
                                     "' to=''><priority></priority>"
                                     "</presence>") - 1
                              + ngx_xmpp_xml_escape_size(&xs->jid.full)
                              + ngx_xmpp_xml_escape_size(&xs->jid.bare)
                              + 2 * NGX_INT_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    rt->state.data = p;
    p = ngx_sprintf(p, "%i", xs->priority);
    rt->state.len = p - rt->state.data;

    rt->stanza.data = p;

    p = ngx_cpymem(p, "<presence xmlns='jabber:client' from='",
                   sizeof("<presence xmlns='jabber:client' from='") - 1);
    p = ngx_xmpp_xml_escape(p, &xs->jid.full);
    p = ngx_cpymem(p, "' to='", sizeof("' to='") - 1);
    p = ngx_xmpp_xml_escape(p, &xs->jid.bare);
    p = ngx_sprintf(p, "'><priority>%i</priority></presence>", xs->priority);

    rt->stanza.len = p - rt->stanza.data;

    return NGX_OK;
}


static void
ngx_xmpp_return_done(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_return_t *rt = data;

    ngx_xmpp_tell_t  *t;

    if (res->rc != NGX_OK) {
        ngx_xmpp_return_free(rt);
        return;
    }

    if (res->number) {
        ngx_xmpp_registry_rung(rt->worker, &rt->tag, res->number);
    }

    t = &rt->tell;

    t->worker = rt->worker;
    t->user = rt->jid.bare;
    t->from = rt->jid.full;
    t->stanza = rt->stanza;
    t->done = ngx_xmpp_return_told;
    t->data = rt;

    if (ngx_xmpp_tell_contacts(rt->pool, res->reply, 3, &t->contacts)
        != NGX_OK
        || ngx_xmpp_tell_start(t) != NGX_AGAIN)
    {
        ngx_xmpp_return_free(rt);
    }
}


static void
ngx_xmpp_return_told(void *data, ngx_int_t rc)
{
    ngx_xmpp_return_free(data);
}


static void
ngx_xmpp_return_free(ngx_xmpp_return_t *rt)
{
    ngx_queue_remove(&rt->queue);
    ngx_destroy_pool(rt->pool);
}


/* the worker ends, and the store is closed */

void
ngx_xmpp_return_exit(ngx_xmpp_worker_t *w)
{
    ngx_queue_t        *q;
    ngx_xmpp_return_t  *rt;

    while (!ngx_queue_empty(&w->returns)) {
        q = ngx_queue_head(&w->returns);
        rt = ngx_queue_data(q, ngx_xmpp_return_t, queue);

        if (rt->tell.pool) {
            ngx_destroy_pool(rt->tell.pool);
        }

        ngx_xmpp_return_free(rt);
    }
}
