/*
 * The heartbeat: this worker tells the others that it lives, and keeps a list
 * of its sessions for whoever has to clean up after it (cluster.md, rules 5
 * and 16).
 *
 *     connected --> beat --ok--> (interval) --> beat ...
 *                    |
 *                    '--dead--> a new boot id; all sessions are registered
 *
 * A session is on the list before its record is written, and until it has
 * none; both go out in the write of what they accompany, and nobody waits for
 * them.  One that lost its resource leaves its record to the winner.  It stays
 * on the list until the winner must be done, then its end is tried once: as a
 * rule there is nothing to end.
 *
 * Taken for dead, since it stood still for longer than the lease: whoever
 * cleaned up did so by the boot id in the records.  So the worker takes another
 * one, and writes it into all records that it has, or had.  A beat later, when
 * that one must be done, available sessions announce themselves again.
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_HEARTBEAT_POOL       1024


/* a session that lost its resource: the strings lie behind it */
typedef struct {
    ngx_queue_t                 queue;
    ngx_str_t                   jid;
    size_t                      bare;           /* its length */
    ngx_str_t                   sid;
} ngx_xmpp_heartbeat_lost_t;


struct ngx_xmpp_heartbeat_s {
    ngx_xmpp_worker_t          *worker;
    ngx_event_t                 timer;
    ngx_msec_t                  interval;
    ngx_pool_t                 *pool;           /* of the one under way */
    ngx_queue_t                 lost;           /* since the last beat */
    ngx_queue_t                 before;         /* since the one before it */
    ngx_uint_t                  returning;      /* beats until it does */
    unsigned                    fresh:1;        /* a new boot id */
};


static void ngx_xmpp_heartbeat_beat(ngx_xmpp_heartbeat_t *hb);
static void ngx_xmpp_heartbeat_timer_handler(ngx_event_t *ev);
static void ngx_xmpp_heartbeat_done(void *data, ngx_xmpp_store_result_t *res);
static ngx_int_t ngx_xmpp_heartbeat_again(ngx_xmpp_heartbeat_t *hb);
static void ngx_xmpp_heartbeat_each(ngx_xmpp_worker_t *w,
    void (*handler)(ngx_xmpp_session_t *xs));
static void ngx_xmpp_heartbeat_register(ngx_xmpp_session_t *xs);
static void ngx_xmpp_heartbeat_lost(ngx_xmpp_session_t *xs);
static void ngx_xmpp_heartbeat_end_lost(ngx_xmpp_heartbeat_t *hb);


/* interval in milliseconds; NGX_OK or NGX_ERROR (no memory) */

ngx_int_t
ngx_xmpp_heartbeat_init(ngx_xmpp_worker_t *w, ngx_msec_t interval)
{
    ngx_xmpp_heartbeat_t  *hb;

    hb = ngx_pcalloc(w->pool, sizeof(ngx_xmpp_heartbeat_t));
    if (hb == NULL) {
        return NGX_ERROR;
    }

    hb->worker = w;
    hb->interval = interval;
    hb->fresh = 1;

    ngx_queue_init(&hb->lost);
    ngx_queue_init(&hb->before);

    hb->timer.handler = ngx_xmpp_heartbeat_timer_handler;
    hb->timer.data = hb;
    hb->timer.log = w->log;
    hb->timer.cancelable = 1;

    w->heartbeat = hb;

    return ngx_xmpp_reaper_init(w, interval);
}


/* the command connection is new: what was seen on another one is void */

void
ngx_xmpp_heartbeat_ready(ngx_xmpp_worker_t *w)
{
    ngx_xmpp_reaper_stop(w);
    ngx_xmpp_heartbeat_beat(w->heartbeat);
}


static void
ngx_xmpp_heartbeat_beat(ngx_xmpp_heartbeat_t *hb)
{
    u_char             *last;
    ngx_str_t           boot, said;
    ngx_xmpp_worker_t  *w;

    if (hb->pool) {
        return;
    }

    if (hb->timer.timer_set) {
        ngx_del_timer(&hb->timer);
    }

    w = hb->worker;

    boot.len = sizeof(w->boot);
    boot.data = w->boot;

    hb->pool = ngx_create_pool(NGX_XMPP_HEARTBEAT_POOL, w->log);

    said.data = hb->pool ? ngx_pnalloc(hb->pool, NGX_XMPP_BEAT_MAX) : NULL;

    if (said.data) {
        last = ngx_snprintf(said.data, NGX_XMPP_BEAT_MAX, "%M %ui %*s",
                            hb->interval, w->nsessions,
                            ngx_xmpp_beat_host_len(w->cycle),
                            w->cycle->hostname.data);
        said.len = last - said.data;
    }

    if (said.data
        && ngx_xmpp_store_beat(w->store, hb->pool, &boot, &said, hb->fresh,
                               ngx_xmpp_heartbeat_done, hb)
           != NULL)
    {
        return;
    }

    if (hb->pool) {
        ngx_destroy_pool(hb->pool);
        hb->pool = NULL;
    }

    ngx_add_timer(&hb->timer, hb->interval);
}


static void
ngx_xmpp_heartbeat_timer_handler(ngx_event_t *ev)
{
    ngx_xmpp_heartbeat_t  *hb;

    hb = ev->data;

    if (!hb->worker->drained) {
        ngx_xmpp_heartbeat_beat(hb);
    }
}


static void
ngx_xmpp_heartbeat_done(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_heartbeat_t *hb = data;

    ngx_destroy_pool(hb->pool);
    hb->pool = NULL;

    if (res->rc == NGX_OK) {
        hb->fresh = 0;

        ngx_xmpp_heartbeat_end_lost(hb);
        ngx_xmpp_reaper_seen(hb->worker, res->reply);

        if (hb->returning && --hb->returning == 0) {
            ngx_xmpp_heartbeat_each(hb->worker, ngx_xmpp_return);
        }

    } else {
        ngx_xmpp_reaper_stop(hb->worker);

        if (res->rc == NGX_DECLINED
            && ngx_xmpp_heartbeat_again(hb) == NGX_OK)
        {
            return;
        }
    }

    ngx_add_timer(&hb->timer, hb->interval);
}


/* it was taken for dead; NGX_ERROR: there are no random numbers now */

static ngx_int_t
ngx_xmpp_heartbeat_again(ngx_xmpp_heartbeat_t *hb)
{
    ngx_xmpp_worker_t  *w;

    w = hb->worker;

    if (ngx_xmpp_id_random(w->boot, sizeof(w->boot) / 2) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_WARN, w->log, 0,
                  "xmpp was taken for dead by other workers, or Redis has lost "
                  "its data: registering %ui sessions again", w->nsessions);

    hb->fresh = 1;
    hb->returning = 2;

    ngx_xmpp_heartbeat_beat(hb);
    ngx_xmpp_heartbeat_each(w, ngx_xmpp_heartbeat_register);

    return NGX_OK;
}


/* the handler takes none of them away */

static void
ngx_xmpp_heartbeat_each(ngx_xmpp_worker_t *w,
    void (*handler)(ngx_xmpp_session_t *xs))
{
    ngx_queue_t         *q;
    ngx_rbtree_node_t   *node;
    ngx_xmpp_account_t  *a;

    if (w->accounts.root == w->accounts.sentinel) {
        return;
    }

    for (node = ngx_rbtree_min(w->accounts.root, w->accounts.sentinel);
         node;
         node = ngx_rbtree_next(&w->accounts, node))
    {
        a = (ngx_xmpp_account_t *) node;

        for (q = ngx_queue_head(&a->sessions);
             q != ngx_queue_sentinel(&a->sessions);
             q = ngx_queue_next(q))
        {
            handler(ngx_queue_data(q, ngx_xmpp_session_t, queue));
        }
    }
}


/* what is being written has the old boot id, and is written once more */

static void
ngx_xmpp_heartbeat_register(ngx_xmpp_session_t *xs)
{
    xs->listed = 0;

    if (xs->write) {
        xs->stale = 1;
        return;
    }

    ngx_xmpp_session_reassert(xs);
}


/* before the record is written, and in the same write */

void
ngx_xmpp_heartbeat_list(ngx_xmpp_session_t *xs)
{
    ngx_str_t           boot;
    ngx_pool_t         *pool;
    ngx_xmpp_worker_t  *w;

    if (xs->listed) {
        return;
    }

    w = xs->worker;

    pool = ngx_xmpp_worker_pool(w);
    if (pool == NULL) {
        return;
    }

    boot.len = sizeof(w->boot);
    boot.data = w->boot;

    ngx_xmpp_store_list(w->store, pool, &boot, &xs->sid, &xs->jid.full);

    ngx_xmpp_worker_pool_done(w, pool);

    xs->listed = 1;
}


/* sid has no record any more; boot: whose list, NULL: this worker's */

void
ngx_xmpp_heartbeat_unlist(ngx_xmpp_worker_t *w, ngx_str_t *boot,
    ngx_str_t *sid)
{
    ngx_str_t    own;
    ngx_pool_t  *pool;

    pool = ngx_xmpp_worker_pool(w);
    if (pool == NULL) {
        return;
    }

    own.len = sizeof(w->boot);
    own.data = w->boot;

    ngx_xmpp_store_unlist(w->store, pool, boot ? boot : &own, sid);

    ngx_xmpp_worker_pool_done(w, pool);
}


/* a session ends without ngx_xmpp_leave() */

void
ngx_xmpp_heartbeat_ended(ngx_xmpp_session_t *xs)
{
    if (!xs->listed) {
        return;
    }

    if (xs->displaced && !xs->removed) {
        ngx_xmpp_heartbeat_lost(xs);
        return;
    }

    /* it never had a record, or that went with the account */

    ngx_xmpp_heartbeat_unlist(xs->worker, NULL, &xs->sid);
}


static void
ngx_xmpp_heartbeat_lost(ngx_xmpp_session_t *xs)
{
    u_char                     *p;
    ngx_xmpp_heartbeat_lost_t  *lost;

    lost = ngx_alloc(sizeof(ngx_xmpp_heartbeat_lost_t) + xs->jid.full.len
                     + xs->sid.len, xs->worker->log);
    if (lost == NULL) {
        return;
    }

    p = (u_char *) lost + sizeof(ngx_xmpp_heartbeat_lost_t);

    lost->jid.data = p;
    lost->jid.len = xs->jid.full.len;
    lost->bare = xs->jid.bare.len;
    p = ngx_cpymem(p, xs->jid.full.data, xs->jid.full.len);

    lost->sid.data = p;
    lost->sid.len = xs->sid.len;
    ngx_memcpy(p, xs->sid.data, xs->sid.len);

    ngx_queue_insert_tail(&xs->worker->heartbeat->lost, &lost->queue);
}


/* they have waited for an interval at least, so their winners are done */

static void
ngx_xmpp_heartbeat_end_lost(ngx_xmpp_heartbeat_t *hb)
{
    ngx_queue_t                *q;
    ngx_xmpp_leaving_t          l;
    ngx_xmpp_heartbeat_lost_t  *lost;

    while (!ngx_queue_empty(&hb->before)) {
        q = ngx_queue_head(&hb->before);
        lost = ngx_queue_data(q, ngx_xmpp_heartbeat_lost_t, queue);

        ngx_queue_remove(q);
        ngx_memzero(&l, sizeof(ngx_xmpp_leaving_t));

        l.bare.data = lost->jid.data;
        l.bare.len = lost->bare;
        l.resource.data = lost->jid.data + lost->bare + 1;
        l.resource.len = lost->jid.len - lost->bare - 1;
        l.sid = lost->sid;
        l.listed = 1;

        /* it may go on in another worker, which was not heard of */

        l.own = 1;

        (void) ngx_xmpp_leave(hb->worker, &l);

        ngx_free(lost);
    }

    if (!ngx_queue_empty(&hb->lost)) {
        ngx_queue_add(&hb->before, &hb->lost);
        ngx_queue_init(&hb->lost);
    }
}


/* the store is closed; who is left on the list is left to others */

void
ngx_xmpp_heartbeat_exit(ngx_xmpp_worker_t *w)
{
    ngx_queue_t           *q;
    ngx_xmpp_heartbeat_t  *hb;

    hb = w->heartbeat;

    if (!ngx_queue_empty(&hb->lost)) {
        ngx_queue_add(&hb->before, &hb->lost);
        ngx_queue_init(&hb->lost);
    }

    while (!ngx_queue_empty(&hb->before)) {
        q = ngx_queue_head(&hb->before);
        ngx_queue_remove(q);
        ngx_free(ngx_queue_data(q, ngx_xmpp_heartbeat_lost_t, queue));
    }

    if (hb->pool) {
        ngx_destroy_pool(hb->pool);
        hb->pool = NULL;
    }

    ngx_xmpp_reaper_exit(w);
}
