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
 * Shutdown: a connection of our own, marked idle, is told by nginx when the
 * worker shall quit (reload, upgrade, quit).  From then on streams are closed
 * at a pace that empties the worker within xmpp_drain_time, while Redis stays
 * connected, and a timer that is not cancelable keeps the worker until the
 * last session's end was written.
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_RECV_SIZE            16384
#define NGX_XMPP_IDLE_POOLS           16
#define NGX_XMPP_POOL_SIZE            4096
#define NGX_XMPP_DRAIN_TICK           50      /* milliseconds */
#define NGX_XMPP_DRAIN_DROP           10      /* ticks after the time is over */
#define NGX_XMPP_TRIM_INTERVAL        30000


static ngx_int_t ngx_xmpp_worker_hook(ngx_xmpp_worker_t *w);
static void ngx_xmpp_worker_hook_handler(ngx_event_t *ev);
static void ngx_xmpp_worker_drain_handler(ngx_event_t *ev);
static void ngx_xmpp_worker_posted_handler(ngx_event_t *ev);
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

    w->drain.handler = ngx_xmpp_worker_drain_handler;
    w->drain.data = w;
    w->drain.log = cycle->log;

    w->trim.handler = ngx_xmpp_worker_trim_handler;
    w->trim.data = w;
    w->trim.log = cycle->log;
    w->trim.cancelable = 1;

    w->store = ngx_xmpp_store_create(cycle->pool, cycle->log, &xmcf->store,
                                     ngx_xmpp_registry_doorbell,
                                     ngx_xmpp_registry_rung,
                                     ngx_xmpp_registry_state, w);
    if (w->store == NULL) {
        return NGX_ERROR;
    }

    if (ngx_xmpp_worker_hook(w) != NGX_OK) {
        return NGX_ERROR;
    }

    xmcf->worker = w;

    return NGX_OK;
}


/* sockets that stay open at exit would be reported as leaks */

void
ngx_xmpp_worker_exit(ngx_cycle_t *cycle, ngx_xmpp_main_conf_t *xmcf)
{
    ngx_xmpp_worker_t  *w;

    w = xmcf->worker;

    if (w == NULL) {
        return;
    }

    ngx_xmpp_store_destroy(w->store);

    if (w->hook) {
        ngx_close_connection(w->hook);
        w->hook = NULL;
    }

    while (w->npools) {
        ngx_destroy_pool(w->pools[--w->npools]);
    }
}


ngx_xmpp_worker_t *
ngx_xmpp_worker_get(ngx_stream_session_t *s)
{
    ngx_xmpp_main_conf_t  *xmcf;

    xmcf = ngx_stream_get_module_main_conf(s, ngx_xmpp_module);

    return xmcf->worker;
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


static ngx_int_t
ngx_xmpp_worker_hook(ngx_xmpp_worker_t *w)
{
    ngx_socket_t       s;
    ngx_connection_t  *c;

    /* nothing is ever sent on it: nginx's shutdown looks at real sockets */

    s = ngx_socket(AF_UNIX, SOCK_DGRAM, 0);
    if (s == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_EMERG, w->log, ngx_socket_errno,
                      ngx_socket_n " failed");
        return NGX_ERROR;
    }

    c = ngx_get_connection(s, w->log);
    if (c == NULL) {
        (void) ngx_close_socket(s);
        return NGX_ERROR;
    }

    c->data = w;
    c->idle = 1;
    c->read->handler = ngx_xmpp_worker_hook_handler;
    c->read->log = w->log;
    c->write->log = w->log;
    c->log = w->log;

    w->hook = c;

    return NGX_OK;
}


static void
ngx_xmpp_worker_hook_handler(ngx_event_t *ev)
{
    ngx_connection_t      *c;
    ngx_xmpp_worker_t     *w;
    ngx_xmpp_main_conf_t  *xmcf;

    c = ev->data;
    w = c->data;

    if (!c->close || w->draining) {
        return;
    }

    c->idle = 0;
    c->close = 0;
    w->draining = 1;

    xmcf = ngx_stream_cycle_get_module_main_conf(w->cycle, ngx_xmpp_module);

    w->drain_end = ngx_current_msec + xmcf->drain_time;

    ngx_log_error(NGX_LOG_NOTICE, w->log, 0,
                  "xmpp closes %ui streams within %M ms",
                  w->nstreams, xmcf->drain_time);

    ngx_xmpp_worker_drain_handler(&w->drain);
}


/* closes as many streams a tick as the time that is left asks for */

static void
ngx_xmpp_worker_drain_handler(ngx_event_t *ev)
{
    ngx_int_t            left;
    ngx_uint_t           n;
    ngx_queue_t         *q, *next;
    ngx_xmpp_stream_t   *st;
    ngx_xmpp_worker_t   *w;

    w = ev->data;

    left = (ngx_msec_int_t) (w->drain_end - ngx_current_msec)
           / NGX_XMPP_DRAIN_TICK;
    n = (left > 1) ? w->nstreams / left + 1 : w->nstreams;

    for (q = ngx_queue_head(&w->streams);
         n && q != ngx_queue_sentinel(&w->streams);
         q = next)
    {
        next = ngx_queue_next(q);
        st = ngx_queue_data(q, ngx_xmpp_stream_t, queue);

        if (st->state != NGX_XMPP_ST_CLOSED) {
            st->transport->close(st, NGX_XMPP_SE_SYSTEM_SHUTDOWN, NULL);
            n--;

        } else if (left <= -NGX_XMPP_DRAIN_DROP) {
            st->transport->close(st, NGX_XMPP_SE_DROP, NULL);
        }
    }

    /* slow clients and then Redis get a little longer than the streams had */

    if ((w->nstreams || w->nsessions || ngx_xmpp_store_pending(w->store))
        && left > -2 * NGX_XMPP_DRAIN_DROP)
    {
        ngx_add_timer(&w->drain, NGX_XMPP_DRAIN_TICK);
        return;
    }

    ngx_xmpp_store_destroy(w->store);
}
