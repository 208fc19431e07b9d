/*
 * The removal of an account (XEP-0077, 3.2; RFC 6121, 3.2, 3.3 and 4.5: as if
 * the user had gone, and had ended each subscription).
 *
 *     listed --xmpp1_remove--> waiting --its turn--> page --> telling
 *                 | no account    ^                   ^ |       |
 *                 v               '-- Redis is away --|-|-------|
 *               ended                                 '-|-all---'
 *                                     no contact is left|
 *                                                       v
 *                 unlisted <-- the name is free <-- off the list of accounts
 *
 * From the first step on the account is gone: its sessions end on all workers
 * by a bell, and key removed has what contacts have to hear.  Each of them gets
 * that in his slot (core/ngx_xmpp_farewell.c); a page of them is under way at a
 * time, and who was told leaves the key with the next page.  As long as the key
 * is there, nobody gets the name.
 *
 * The removal is the worker's and not a stanza's: it ends the session that has
 * asked for it.  Before the first step it is on the worker's list (cluster.md,
 * rule 16), as a sid with a bare JID; so when the worker dies, the one that
 * cleans up after it goes on with the next page.  Without key removed there is
 * nothing to go on with: the first step did not run, or the last one did; it is
 * never run for somebody else, since the name may have a new owner by now.  A
 * worker that was taken for dead leaves its removals to the other.
 *
 * Redis is away: the page is asked for again when it is back, and who was told
 * is told once more, which changes nothing.  At a reload the old worker has
 * xmpp_drain_time for what is left, then another one goes on.
 *
 * A node comes from the heap with copies of all it needs; what one step needs
 * has a pool of its own.
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_REMOVE_FLIGHT        4       /* accounts */
#define NGX_XMPP_REMOVE_MAX           1024    /* under way and waiting */
#define NGX_XMPP_REMOVE_PAGE          32      /* contacts */
#define NGX_XMPP_REMOVE_AGAIN         1000    /* milliseconds */
#define NGX_XMPP_REMOVE_POOL          4096


typedef struct {
    ngx_queue_t              queue;           /* of the worker: one of two */
    ngx_xmpp_worker_t       *worker;
    ngx_pool_t              *pool;            /* of this step, or NULL */
    ngx_str_t                tag;
    ngx_str_t                bare;
    ngx_str_t                domain;          /* ends bare */
    ngx_str_t                sid;             /* on the list of boot */
    ngx_str_t                boot;
    ngx_str_t                told;            /* lines, in pool */
    ngx_uint_t               contacts;        /* that were told */
    ngx_uint_t               flight;          /* answers to come, and one */
    void                   (*done)(void *data, ngx_int_t rc);
    void                    *data;
    unsigned                 active:1;        /* counted as under way */
    unsigned                 dead:1;          /* boot is another's */
    unsigned                 failed:1;        /* this page */
} ngx_xmpp_remove_t;


static ngx_xmpp_remove_t *ngx_xmpp_remove_create(ngx_xmpp_worker_t *w,
    ngx_str_t *bare, ngx_str_t *boot, ngx_str_t *sid);
static void ngx_xmpp_remove_gone(void *data, ngx_xmpp_store_result_t *res);
static void ngx_xmpp_remove_next(ngx_xmpp_worker_t *w);
static ngx_int_t ngx_xmpp_remove_step(ngx_xmpp_remove_t *rm);
static void ngx_xmpp_remove_page(ngx_xmpp_remove_t *rm);
static void ngx_xmpp_remove_paged(void *data, ngx_xmpp_store_result_t *res);
static void ngx_xmpp_remove_answer(void *data, ngx_int_t rc);
static void ngx_xmpp_remove_told(ngx_xmpp_remove_t *rm);
static void ngx_xmpp_remove_unnamed(void *data, ngx_xmpp_store_result_t *res);
static void ngx_xmpp_remove_freed(void *data, ngx_xmpp_store_result_t *res);
static void ngx_xmpp_remove_later(ngx_xmpp_remove_t *rm);
static void ngx_xmpp_remove_answered(ngx_xmpp_remove_t *rm, ngx_int_t rc);
static void ngx_xmpp_remove_end(ngx_xmpp_remove_t *rm, ngx_int_t rc);
static void ngx_xmpp_remove_free(ngx_xmpp_remove_t *rm);


ngx_int_t
ngx_xmpp_remove(ngx_xmpp_worker_t *w, ngx_str_t *bare, uint64_t created,
    void (*done)(void *data, ngx_int_t rc), void *data)
{
    u_char             *p, id[NGX_XMPP_SID_MAX];
    ngx_str_t           sid, boot;
    ngx_xmpp_remove_t  *rm;

    boot.len = sizeof(w->boot);
    boot.data = w->boot;

    p = ngx_cpymem(id, w->boot, sizeof(w->boot));
    p = ngx_sprintf(p, ".%xL", ++w->sessions);

    sid.data = id;
    sid.len = p - id;

    rm = ngx_xmpp_remove_create(w, bare, &boot, &sid);

    if (rm == NULL || ngx_xmpp_remove_step(rm) != NGX_OK) {
        goto failed;
    }

    ngx_xmpp_store_list(w->store, rm->pool, &rm->boot, &rm->sid, &rm->bare);

    if (ngx_xmpp_store_remove(w->store, rm->pool, &rm->tag, created,
                              ngx_xmpp_remove_gone, rm)
        == NULL)
    {
        ngx_xmpp_heartbeat_unlist(w, &rm->boot, &rm->sid);
        goto failed;
    }

    rm->done = done;
    rm->data = data;

    return NGX_OK;

failed:

    if (rm) {
        ngx_queue_remove(&rm->queue);
        ngx_xmpp_remove_free(rm);
    }

    return NGX_ERROR;
}


ngx_int_t
ngx_xmpp_remove_again(ngx_xmpp_worker_t *w, ngx_str_t *bare, ngx_str_t *boot,
    ngx_str_t *sid, void (*ended)(void *data, ngx_int_t rc), void *data)
{
    ngx_xmpp_remove_t  *rm;

    if (ngx_strlchr(bare->data, bare->data + bare->len, '@') == NULL) {
        ngx_xmpp_heartbeat_unlist(w, boot, sid);
        ended(data, NGX_DECLINED);
        return NGX_OK;
    }

    rm = ngx_xmpp_remove_create(w, bare, boot, sid);
    if (rm == NULL) {
        return NGX_ERROR;
    }

    rm->dead = 1;
    rm->done = ended;
    rm->data = data;

    ngx_queue_remove(&rm->queue);
    ngx_queue_insert_tail(&w->removals, &rm->queue);

    ngx_xmpp_remove_next(w);

    return NGX_OK;
}


/* it is among those under way, though not counted; NULL: there are too many */

static ngx_xmpp_remove_t *
ngx_xmpp_remove_create(ngx_xmpp_worker_t *w, ngx_str_t *bare, ngx_str_t *boot,
    ngx_str_t *sid)
{
    u_char             *p, *at;
    ngx_str_t           tag;
    ngx_pool_t         *pool;
    ngx_xmpp_remove_t  *rm;

    at = ngx_strlchr(bare->data, bare->data + bare->len, '@');

    if (at == NULL || w->nremovals >= NGX_XMPP_REMOVE_MAX) {
        return NULL;
    }

    pool = ngx_xmpp_worker_pool(w);
    if (pool == NULL) {
        return NULL;
    }

    rm = NULL;

    if (ngx_xmpp_store_tag(pool, bare, &tag) == NGX_OK) {
        rm = ngx_calloc(sizeof(ngx_xmpp_remove_t) + tag.len + bare->len
                        + sid->len + boot->len, w->log);
    }

    if (rm) {
        p = (u_char *) rm + sizeof(ngx_xmpp_remove_t);

        rm->tag.data = p;
        rm->tag.len = tag.len;
        p = ngx_cpymem(p, tag.data, tag.len);

        rm->bare.data = p;
        rm->bare.len = bare->len;
        rm->domain.data = p + (at + 1 - bare->data);
        rm->domain.len = bare->data + bare->len - (at + 1);
        p = ngx_cpymem(p, bare->data, bare->len);

        rm->sid.data = p;
        rm->sid.len = sid->len;
        p = ngx_cpymem(p, sid->data, sid->len);

        rm->boot.data = p;
        rm->boot.len = boot->len;
        ngx_memcpy(p, boot->data, boot->len);

        rm->worker = w;

        ngx_queue_insert_tail(&w->removing, &rm->queue);
        w->nremovals++;
    }

    ngx_xmpp_worker_pool_done(w, pool);

    return rm;
}


/* the answer of the first step; the rest waits for its turn */

static void
ngx_xmpp_remove_gone(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_remove_t *rm = data;

    ngx_int_t           rc;
    ngx_xmpp_worker_t  *w;

    w = rm->worker;
    rc = res->rc;

    if (rc == NGX_AGAIN) {

        /* it did not run, and is not to run without him who asks for it */

        ngx_xmpp_heartbeat_unlist(w, &rm->boot, &rm->sid);

        ngx_xmpp_remove_answered(rm, rc);
        ngx_xmpp_remove_end(rm, NGX_ERROR);
        return;
    }

    ngx_queue_remove(&rm->queue);
    ngx_queue_insert_tail(&w->removals, &rm->queue);

    /* there may be what another one has left, without an account, too */

    ngx_xmpp_remove_answered(rm, rc);
    ngx_xmpp_remove_next(w);
}


/* those who have waited longest, as many as may be under way */

static void
ngx_xmpp_remove_next(ngx_xmpp_worker_t *w)
{
    ngx_queue_t        *q;
    ngx_xmpp_remove_t  *rm;

    while (!ngx_queue_empty(&w->removals)
           && w->nremoving < NGX_XMPP_REMOVE_FLIGHT
           && !w->again_remove.timer_set)
    {
        q = ngx_queue_head(&w->removals);
        rm = ngx_queue_data(q, ngx_xmpp_remove_t, queue);

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&w->removing, q);

        rm->active = 1;
        w->nremoving++;

        ngx_xmpp_remove_page(rm);
    }
}


/* a pool for the next step, what the last one needed goes; NGX_ERROR: none */

static ngx_int_t
ngx_xmpp_remove_step(ngx_xmpp_remove_t *rm)
{
    if (rm->pool) {
        ngx_destroy_pool(rm->pool);
    }

    rm->pool = ngx_create_pool(NGX_XMPP_REMOVE_POOL, rm->worker->log);

    return rm->pool ? NGX_OK : NGX_ERROR;
}


static void
ngx_xmpp_remove_page(ngx_xmpp_remove_t *rm)
{
    ngx_str_t           told;
    ngx_pool_t         *pool;
    ngx_xmpp_worker_t  *w;

    w = rm->worker;

    /* it was taken for dead: another one has these removals now */

    if (!rm->dead && ngx_memcmp(rm->boot.data, w->boot, sizeof(w->boot)) != 0) {
        ngx_xmpp_remove_end(rm, NGX_ERROR);
        return;
    }

    if (rm->dead && ngx_xmpp_reaper_stopped(w)) {
        ngx_xmpp_remove_end(rm, NGX_ERROR);
        return;
    }

    /* who was told is said by what is in the pool of the page before */

    told = rm->told;
    ngx_str_null(&rm->told);

    pool = rm->pool;
    rm->pool = NULL;

    if (ngx_xmpp_remove_step(rm) == NGX_OK && told.len) {
        told.data = ngx_pstrdup(rm->pool, &told);
    }

    if (pool) {
        ngx_destroy_pool(pool);
    }

    if (rm->pool == NULL
        || (told.len && told.data == NULL)
        || ngx_xmpp_store_removed(w->store, rm->pool, &rm->tag,
                                  NGX_XMPP_REMOVE_PAGE, &told,
                                  ngx_xmpp_remove_paged, rm)
           == NULL)
    {
        ngx_xmpp_remove_later(rm);
    }
}


static void
ngx_xmpp_remove_paged(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_remove_t *rm = data;

    u_char                what, *p;
    ngx_str_t             contacts, jid;
    redisReply           *reply;
    ngx_xmpp_farewell_t   fw;

    reply = res->reply;

    if (res->rc == NGX_DECLINED) {
        ngx_xmpp_remove_end(rm, NGX_OK);
        return;
    }

    if (res->rc != NGX_OK || reply->elements < 5
        || reply->element[3]->type != REDIS_REPLY_STRING
        || reply->element[4]->type != REDIS_REPLY_STRING)
    {
        ngx_xmpp_remove_later(rm);
        return;
    }

    contacts.data = (u_char *) reply->element[4]->str;
    contacts.len = reply->element[4]->len;

    if (contacts.len == 0) {
        if (ngx_xmpp_remove_step(rm) != NGX_OK
            || ngx_xmpp_store_named(rm->worker->store, rm->pool, &rm->domain,
                                    &rm->bare, 0, ngx_xmpp_remove_unnamed, rm)
               == NULL)
        {
            ngx_xmpp_remove_later(rm);
        }

        return;
    }

    /* the one more is given up at the end: some may be answered at once */

    rm->flight = 1;
    rm->failed = 0;

    fw.worker = rm->worker;
    fw.pool = rm->pool;
    fw.user = rm->bare;
    fw.resources.data = (u_char *) reply->element[3]->str;
    fw.resources.len = reply->element[3]->len;
    fw.answer = ngx_xmpp_remove_answer;
    fw.data = rm;
    fw.sent = 0;

    p = ngx_pnalloc(rm->pool, contacts.len + 1);

    if (p == NULL) {
        rm->failed = 1;
        contacts.len = 0;
    }

    rm->told.data = p;

    while (ngx_xmpp_store_contact_next(&contacts, &what, &jid) == NGX_OK) {

        if (ngx_xmpp_farewell(&fw, &jid, what - '0') != NGX_OK) {
            rm->failed = 1;
            break;
        }

        p = ngx_cpymem(p, jid.data, jid.len);
        *p++ = LF;

        rm->contacts++;
    }

    rm->told.len = p - rm->told.data;
    rm->flight += fw.sent;

    ngx_xmpp_remove_told(rm);
}


/* NGX_DECLINED: he is not here, or has no account any more either */

static void
ngx_xmpp_remove_answer(void *data, ngx_int_t rc)
{
    ngx_xmpp_remove_t *rm = data;

    if (rc != NGX_OK && rc != NGX_DECLINED) {
        rm->failed = 1;
    }

    ngx_xmpp_remove_told(rm);
}


/* one of the answers; after the last one comes the next page */

static void
ngx_xmpp_remove_told(ngx_xmpp_remove_t *rm)
{
    if (--rm->flight) {
        return;
    }

    if (rm->failed) {
        ngx_xmpp_remove_later(rm);
        return;
    }

    ngx_xmpp_remove_page(rm);
}


/* it is in no list of accounts; then the name is free, not before */

static void
ngx_xmpp_remove_unnamed(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_remove_t *rm = data;

    if (res->reply == NULL || res->reply->type == REDIS_REPLY_ERROR
        || ngx_xmpp_remove_step(rm) != NGX_OK
        || ngx_xmpp_store_removed_end(rm->worker->store, rm->pool, &rm->tag,
                                      ngx_xmpp_remove_freed, rm)
           == NULL)
    {
        ngx_xmpp_remove_later(rm);
    }
}


static void
ngx_xmpp_remove_freed(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_remove_t *rm = data;

    if (res->reply == NULL || res->reply->type == REDIS_REPLY_ERROR) {
        ngx_xmpp_remove_later(rm);
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, rm->worker->log, 0,
                  "xmpp completed the removal of \"%V\": %ui contacts were "
                  "told", &rm->bare, rm->contacts);

    ngx_xmpp_remove_end(rm, NGX_OK);
}


/* Redis is away, or refuses: nothing is begun for a while */

static void
ngx_xmpp_remove_later(ngx_xmpp_remove_t *rm)
{
    ngx_xmpp_worker_t  *w;

    w = rm->worker;

    if (rm->pool) {
        ngx_destroy_pool(rm->pool);
        rm->pool = NULL;
    }

    ngx_str_null(&rm->told);

    if (!w->again_remove.timer_set) {
        ngx_add_timer(&w->again_remove, NGX_XMPP_REMOVE_AGAIN);
    }

    if (rm->dead) {
        ngx_xmpp_remove_end(rm, NGX_ERROR);
        return;
    }

    rm->active = 0;
    w->nremoving--;

    ngx_queue_remove(&rm->queue);
    ngx_queue_insert_tail(&w->removals, &rm->queue);
}


void
ngx_xmpp_remove_again_handler(ngx_event_t *ev)
{
    ngx_xmpp_worker_t  *w;

    w = ev->data;

    if (w->drained || ngx_queue_empty(&w->removals)) {
        return;
    }

    if (!ngx_xmpp_store_ready(w->store)) {
        ngx_add_timer(ev, NGX_XMPP_REMOVE_AGAIN);
        return;
    }

    ngx_xmpp_remove_next(w);
}


/* whoever has asked hears it once */

static void
ngx_xmpp_remove_answered(ngx_xmpp_remove_t *rm, ngx_int_t rc)
{
    void  (*done)(void *data, ngx_int_t rc);

    done = rm->done;
    rm->done = NULL;

    if (done) {
        done(rm->data, rc);
    }
}


/* NGX_OK: complete; NGX_ERROR: another one has it, or it never began */

static void
ngx_xmpp_remove_end(ngx_xmpp_remove_t *rm, ngx_int_t rc)
{
    ngx_xmpp_worker_t  *w;

    w = rm->worker;

    if (rc == NGX_OK) {
        ngx_xmpp_heartbeat_unlist(w, &rm->boot, &rm->sid);
    }

    ngx_queue_remove(&rm->queue);

    if (rm->active) {
        w->nremoving--;
    }

    /* to the reaper this is no session */

    ngx_xmpp_remove_answered(rm, (rc == NGX_OK) ? NGX_DECLINED : rc);
    ngx_xmpp_remove_free(rm);

    ngx_xmpp_remove_next(w);
}


/* it is in no queue */

static void
ngx_xmpp_remove_free(ngx_xmpp_remove_t *rm)
{
    rm->worker->nremovals--;

    if (rm->pool) {
        ngx_destroy_pool(rm->pool);
    }

    ngx_free(rm);
}


void
ngx_xmpp_remove_exit(ngx_xmpp_worker_t *w)
{
    ngx_uint_t    i;
    ngx_queue_t  *q, *queues[2];

    queues[0] = &w->removals;
    queues[1] = &w->removing;

    for (i = 0; i < 2; i++) {
        while (!ngx_queue_empty(queues[i])) {
            q = ngx_queue_head(queues[i]);

            ngx_queue_remove(q);
            ngx_xmpp_remove_free(ngx_queue_data(q, ngx_xmpp_remove_t, queue));
        }
    }
}
