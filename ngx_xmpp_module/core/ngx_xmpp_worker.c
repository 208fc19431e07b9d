/*
 * The worker: what exists once per process, and the work that is put off.
 *
 * Nobody frees or re-enters under a caller: output, resumed reading, closing
 * and the end of sessions are queued on lists, and one posted event at the
 * end of the event-loop turn works on them:
 *
 *     ready    a parked element was answered: read on; or a stream shall end
 *     dirty    output was queued: write it, all packets of the turn at once
 *     ended    sessions that nothing holds any more
 *
 * How a worker ends is in ngx_xmpp_drain.c.
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_RECV_SIZE            16384
#define NGX_XMPP_IDLE_POOLS           16
#define NGX_XMPP_POOL_SIZE            4096
#define NGX_XMPP_TRIM_INTERVAL        30000


static void ngx_xmpp_worker_posted_handler(ngx_event_t *ev);
static void ngx_xmpp_worker_timer(ngx_xmpp_worker_t *w, ngx_event_t *ev,
    ngx_event_handler_pt handler);
static void ngx_xmpp_worker_trim_handler(ngx_event_t *ev);


/*
 * Called in each worker.  A Redis that is away is no reason not to start.
 * NGX_OK, or NGX_ERROR: the worker cannot run.
 */

ngx_int_t
ngx_xmpp_worker_init(ngx_cycle_t *cycle, ngx_xmpp_main_conf_t *xmcf)
{
    ngx_xmpp_worker_t  *w;

    w = ngx_pcalloc(cycle->pool, sizeof(ngx_xmpp_worker_t));
    if (w == NULL) {
        return NGX_ERROR;
    }

    w->cycle = cycle;
    w->log = cycle->log;
    w->pool = cycle->pool;

    if (ngx_xmpp_id_random(w->boot, sizeof(w->boot) / 2) != NGX_OK) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "xmpp could not read OpenSSL's random generator");
        return NGX_ERROR;
    }

    ngx_rbtree_init(&w->accounts, &w->sentinel, ngx_str_rbtree_insert_value);
    ngx_queue_init(&w->streams);
    ngx_queue_init(&w->dirty);
    ngx_queue_init(&w->ready);
    ngx_queue_init(&w->ended);
    ngx_queue_init(&w->detached);
    ngx_queue_init(&w->bounces);
    ngx_queue_init(&w->tells);
    ngx_queue_init(&w->leaves);
    ngx_queue_init(&w->blocks);
    ngx_queue_init(&w->leaving);
    ngx_queue_init(&w->returns);
    ngx_queue_init(&w->snapshots);
    ngx_queue_init(&w->removals);
    ngx_queue_init(&w->removing);

    w->recv = ngx_palloc(cycle->pool, NGX_XMPP_RECV_SIZE);
    w->send = ngx_palloc(cycle->pool, NGX_XMPP_RECV_SIZE);
    w->pools = ngx_palloc(cycle->pool,
                          NGX_XMPP_IDLE_POOLS * sizeof(ngx_pool_t *));

    if (w->recv == NULL || w->send == NULL || w->pools == NULL) {
        return NGX_ERROR;
    }

    w->posted.handler = ngx_xmpp_worker_posted_handler;
    w->posted.data = w;
    w->posted.log = cycle->log;

    ngx_xmpp_worker_timer(w, &w->trim, ngx_xmpp_worker_trim_handler);
    ngx_xmpp_worker_timer(w, &w->again, ngx_xmpp_registry_again_handler);
    ngx_xmpp_worker_timer(w, &w->again_leave, ngx_xmpp_leave_again_handler);
    ngx_xmpp_worker_timer(w, &w->again_remove, ngx_xmpp_remove_again_handler);

    if (ngx_xmpp_heartbeat_init(w, xmcf->heartbeat) != NGX_OK
        || ngx_xmpp_stats_init(w, xmcf->stats) != NGX_OK)
    {
        return NGX_ERROR;
    }

    xmcf->store.redis.counters = &w->stats->counters.redis;
    xmcf->store.redis.gauges = &w->stats->gauges.redis;

    w->store = ngx_xmpp_store_create(cycle->pool, cycle->log, &xmcf->store,
                                     ngx_xmpp_confirm_init(w, xmcf),
                                     ngx_xmpp_registry_rung,
                                     ngx_xmpp_registry_state, w);
    if (w->store == NULL) {
        return NGX_ERROR;
    }

    if (ngx_xmpp_drain_init(w) != NGX_OK) {
        return NGX_ERROR;
    }

    xmcf->worker = w;

    return NGX_OK;
}


/* one that does not keep a worker that has to go */

static void
ngx_xmpp_worker_timer(ngx_xmpp_worker_t *w, ngx_event_t *ev,
    ngx_event_handler_pt handler)
{
    ev->handler = handler;
    ev->data = w;
    ev->log = w->log;
    ev->cancelable = 1;
}


/*
 * The last thing in each worker: what is still there is ended in order, and
 * sockets that stay open would be reported as leaks.
 */

void
ngx_xmpp_worker_exit(ngx_cycle_t *cycle, ngx_xmpp_main_conf_t *xmcf)
{
    ngx_xmpp_worker_t  *w;

    w = xmcf->worker;

    if (w == NULL) {
        return;
    }

    if (!w->drained) {
        ngx_xmpp_drain_stop(w);
    }

    ngx_xmpp_leave_exit(w);
    ngx_xmpp_remove_exit(w);
    ngx_xmpp_block_exit(w);
    ngx_xmpp_heartbeat_exit(w);
    ngx_xmpp_return_exit(w);
    ngx_xmpp_snapshot_exit(w);
    ngx_xmpp_bounce_exit(w);
    ngx_xmpp_stats_exit(w);
    ngx_xmpp_confirm_exit(w);

    if (w->hook) {
        ngx_close_connection(w->hook);
        w->hook = NULL;
    }

    while (w->npools) {
        ngx_destroy_pool(w->pools[--w->npools]);
    }

    ngx_xmpp_parser_spare(&w->spare);
    ngx_xmpp_parser_spare(&w->spare_framed);
}


/* a pool for one element; NULL: no memory */

ngx_pool_t *
ngx_xmpp_worker_pool(ngx_xmpp_worker_t *w)
{
    if (w->npools) {
        return w->pools[--w->npools];
    }

    return ngx_create_pool(NGX_XMPP_POOL_SIZE, w->log);
}


/* runs the pool's cleanups and keeps it for the next element */

void
ngx_xmpp_worker_pool_done(ngx_xmpp_worker_t *w, ngx_pool_t *pool)
{
    ngx_pool_cleanup_t  *c;

    /* a pool that grew is not kept: the heap gets its blocks back */

    if (w->npools == NGX_XMPP_IDLE_POOLS || pool->d.next != NULL) {
        ngx_destroy_pool(pool);
        return;
    }

    for (c = pool->cleanup; c; c = c->next) {
        if (c->handler) {
            c->handler(c->data);
        }
    }

    ngx_reset_pool(pool);
    pool->cleanup = NULL;

    w->pools[w->npools++] = pool;
}


/* the lists are worked on when this event-loop turn ends */

void
ngx_xmpp_worker_post(ngx_xmpp_worker_t *w)
{
    if (!w->working) {
        ngx_post_event(&w->posted, &ngx_posted_events);
    }
}


static void
ngx_xmpp_worker_posted_handler(ngx_event_t *ev)
{
    ngx_queue_t         *q, list;
    ngx_xmpp_worker_t   *w;
    ngx_xmpp_stream_t   *st;
    ngx_xmpp_session_t  *xs;

    w = ev->data;
    w->working = 1;

    /*
     * A handler may put things on the lists again, for another turn: hence
     * each list is taken as a whole before.
     */

    if (!ngx_queue_empty(&w->ready)) {
        ngx_queue_init(&list);
        ngx_queue_add(&list, &w->ready);
        ngx_queue_init(&w->ready);

        while (!ngx_queue_empty(&list)) {
            q = ngx_queue_head(&list);
            st = ngx_queue_data(q, ngx_xmpp_stream_t, posted);

            ngx_queue_remove(q);
            st->is_posted = 0;

            st->transport->ready(st);
        }
    }

    while (!ngx_queue_empty(&w->dirty)) {
        q = ngx_queue_head(&w->dirty);
        st = ngx_queue_data(q, ngx_xmpp_stream_t, dirty);

        ngx_xmpp_ack_flush(st);

        ngx_queue_remove(q);
        st->is_dirty = 0;

        st->transport->flush(st);
    }

    while (!ngx_queue_empty(&w->ended)) {
        q = ngx_queue_head(&w->ended);
        xs = ngx_queue_data(q, ngx_xmpp_session_t, posted);

        ngx_queue_remove(q);
        ngx_xmpp_session_free(xs);
    }

    w->working = 0;

    /*
     * nginx goes on with posted events as long as there are any: clients that
     * send without a pause would keep it from other sockets and from timers.
     */

    if (!ngx_queue_empty(&w->ready) || !ngx_queue_empty(&w->dirty)
        || !ngx_queue_empty(&w->ended))
    {
        ngx_post_event(&w->posted, &ngx_posted_next_events);
    }
}


/* gives the heap of a mass disconnect back to the system, off the hot path */

void
ngx_xmpp_worker_trim(ngx_xmpp_worker_t *w)
{
#ifdef __GLIBC__
    if (!w->trim.timer_set && !w->draining) {
        ngx_add_timer(&w->trim, NGX_XMPP_TRIM_INTERVAL);
    }
#endif
}


static void
ngx_xmpp_worker_trim_handler(ngx_event_t *ev)
{
#ifdef __GLIBC__
    (void) malloc_trim(0);
#endif
}
