/*
 * The end of a worker (RFC 6120, 4.9.3.19): its streams are closed, its
 * records removed, and only then it goes.
 *
 *     quit, reload, upgrade   drain: nginx's event loop goes on, streams are
 *                             closed at a pace within xmpp_drain_time
 *     stop (SIGTERM)          stop: nginx calls us last; a loop of our own
 *                             closes all at once, for 700 ms at most
 *
 * Sessions that may be resumed (XEP-0198, 5) are written to Redis, and their
 * clients come back for them to another worker.
 *
 * Drain: a connection of our own, marked idle, is told by nginx when the
 * worker shall quit.  A timer that is not cancelable keeps the worker until
 * the last session's end was written; Redis stays connected until then.
 *
 * Stop: nginx is about to exit, other modules may have cleaned up already,
 * and the threads are gone.  So nginx's event loop must not run any more; our
 * own looks at our sockets alone and knows no timers.  Why it is so, and what
 * of nginx it relies on: docs/internals/decisions/.
 */


#include "ngx_xmpp.h"

#include <poll.h>


#define NGX_XMPP_DRAIN_TICK           50      /* milliseconds */
#define NGX_XMPP_DRAIN_DROP           10      /* ticks after the time is over */
#define NGX_XMPP_DRAIN_STOP           700     /* milliseconds, in all */
#define NGX_XMPP_DRAIN_LINGER         200     /* for the peers' end */


/* the loop of a stop: what is polled, and what is left */

typedef struct {
    struct pollfd        *fds;
    ngx_connection_t    **connections;
    ngx_uint_t            n;
    ngx_uint_t            unsaid;         /* streams, last words not written */
} ngx_xmpp_drain_poll_t;


static void ngx_xmpp_drain_hook_handler(ngx_event_t *ev);
static void ngx_xmpp_drain_unborn(ngx_xmpp_worker_t *w);
static void ngx_xmpp_drain_handler(ngx_event_t *ev);
static void ngx_xmpp_drain_stream(ngx_xmpp_stream_t *st);
static void ngx_xmpp_drain_close(ngx_xmpp_worker_t *w,
    ngx_xmpp_stream_error_e error);
static void ngx_xmpp_drain_loop(ngx_xmpp_worker_t *w);
static ngx_int_t ngx_xmpp_drain_alloc(ngx_xmpp_worker_t *w,
    ngx_xmpp_drain_poll_t *dp);
static void ngx_xmpp_drain_posted(ngx_xmpp_worker_t *w);
static void ngx_xmpp_drain_collect(ngx_xmpp_worker_t *w,
    ngx_xmpp_drain_poll_t *dp);
static void ngx_xmpp_drain_add(ngx_xmpp_drain_poll_t *dp, ngx_connection_t *c,
    short events);
static void ngx_xmpp_drain_poll(ngx_xmpp_drain_poll_t *dp, ngx_msec_t left);


/* at the start of a worker: how it will learn of a shutdown */

ngx_int_t
ngx_xmpp_drain_init(ngx_xmpp_worker_t *w)
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
    c->read->handler = ngx_xmpp_drain_hook_handler;
    c->read->log = w->log;
    c->write->log = w->log;
    c->log = w->log;

    w->hook = c;

    w->drain.handler = ngx_xmpp_drain_handler;
    w->drain.data = w;
    w->drain.log = w->log;

    return NGX_OK;
}


static void
ngx_xmpp_drain_hook_handler(ngx_event_t *ev)
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
    w->stats->draining = 1;

    xmcf = ngx_stream_cycle_get_module_main_conf(w->cycle, ngx_xmpp_module);

    w->drain_end = ngx_current_msec + xmcf->drain_time;

    ngx_log_error(NGX_LOG_NOTICE, w->log, 0,
                  "xmpp closes %ui streams within %M ms",
                  w->nstreams, xmcf->drain_time);

    ngx_xmpp_drain_unborn(w);
    ngx_xmpp_drain_handler(&w->drain);
}


/*
 * Connections that have no stream yet, in a direct TLS handshake or before
 * it: they could not be served any more, and their timers would keep the
 * worker for as long as such a handshake may take.
 */

static void
ngx_xmpp_drain_unborn(ngx_xmpp_worker_t *w)
{
    ngx_uint_t             i;
    ngx_connection_t      *c;
    ngx_xmpp_srv_conf_t   *xscf;
    ngx_stream_session_t  *s;

    c = w->cycle->connections;

    for (i = 0; i < w->cycle->connection_n; i++) {

        if (c[i].fd == (ngx_socket_t) -1
            || c[i].listening == NULL
            || c[i].listening->handler != ngx_stream_init_connection
            || c[i].read->accept
            || c[i].data == NULL)
        {
            continue;
        }

        s = c[i].data;

        if (s->signature != NGX_STREAM_MODULE
            || ngx_stream_get_module_ctx(s, ngx_xmpp_module) != NULL)
        {
            continue;
        }

        xscf = ngx_stream_get_module_srv_conf(s, ngx_xmpp_module);

        if (xscf->listener || xscf->host) {
            ngx_stream_finalize_session(s, NGX_STREAM_SERVICE_UNAVAILABLE);
        }
    }
}


/* closes as many streams a tick as the time that is left asks for */

static void
ngx_xmpp_drain_handler(ngx_event_t *ev)
{
    ngx_int_t            left;
    ngx_uint_t           n;
    ngx_queue_t         *q, *next;
    ngx_xmpp_stream_t   *st;
    ngx_xmpp_worker_t   *w;

    w = ev->data;

    left = (ngx_msec_int_t) (w->drain_end - ngx_current_msec)
           / NGX_XMPP_DRAIN_TICK;

    n = (left > 1) ? w->nsessions / left + 1 : w->nsessions;

    ngx_xmpp_detach_drain(w, n);

    n = (left > 1) ? w->nstreams / left + 1 : w->nstreams;

    for (q = ngx_queue_head(&w->streams);
         n && q != ngx_queue_sentinel(&w->streams);
         q = next)
    {
        next = ngx_queue_next(q);
        st = ngx_queue_data(q, ngx_xmpp_stream_t, queue);

        if (st->state != NGX_XMPP_ST_CLOSED) {
            ngx_xmpp_drain_stream(st);
            n--;

        } else if (left <= -NGX_XMPP_DRAIN_DROP) {
            st->transport->close(st, NGX_XMPP_SE_DROP, NULL);
        }
    }

    /* slow clients and then Redis get a little longer than the streams had */

    if ((w->nstreams || w->nsessions || w->nleaves || w->nremovals
         || ngx_xmpp_store_pending(w->store))
        && left > -2 * NGX_XMPP_DRAIN_DROP)
    {
        ngx_add_timer(&w->drain, NGX_XMPP_DRAIN_TICK);
        return;
    }

    ngx_xmpp_store_destroy(w->store);
    w->drained = 1;
}


/*
 * XEP-0198, 4, 5: without the end of the stream a client comes back for its
 * session, to whatever worker; what it has then is written (ngx_xmpp_hand.c).
 */

static void
ngx_xmpp_drain_stream(ngx_xmpp_stream_t *st)
{
    ngx_xmpp_stream_error_e  error;

    error = (st->session && ngx_xmpp_hand_may(st->session))
            ? NGX_XMPP_SE_BREAK : NGX_XMPP_SE_SYSTEM_SHUTDOWN;

    st->transport->close(st, error, NULL);
}


/*
 * From exit_process, when there was no drain, or not all of it.  Returns
 * after NGX_XMPP_DRAIN_STOP milliseconds at the latest; all streams are gone
 * then, and Redis is disconnected.
 */

void
ngx_xmpp_drain_stop(ngx_xmpp_worker_t *w)
{
    ngx_queue_t  posted, next;

    w->draining = 1;

    /* what others have posted is theirs, and not to be run any more */

    ngx_queue_init(&posted);
    ngx_queue_init(&next);

    if (!ngx_queue_empty(&ngx_posted_events)) {
        ngx_queue_add(&posted, &ngx_posted_events);
        ngx_queue_init(&ngx_posted_events);
    }

    if (!ngx_queue_empty(&ngx_posted_next_events)) {
        ngx_queue_add(&next, &ngx_posted_next_events);
        ngx_queue_init(&ngx_posted_next_events);
    }

    /* ours may have been among them */

    if (w->posted.posted) {
        ngx_delete_posted_event(&w->posted);
    }

    ngx_post_event(&w->posted, &ngx_posted_events);

    ngx_xmpp_drain_loop(w);

    ngx_xmpp_store_destroy(w->store);
    w->drained = 1;

    if (!ngx_queue_empty(&posted)) {
        ngx_queue_add(&ngx_posted_events, &posted);
    }

    if (!ngx_queue_empty(&next)) {
        ngx_queue_add(&ngx_posted_next_events, &next);
    }
}


/* all streams that are not closing yet; or all, with NGX_XMPP_SE_DROP */

static void
ngx_xmpp_drain_close(ngx_xmpp_worker_t *w, ngx_xmpp_stream_error_e error)
{
    ngx_queue_t        *q;
    ngx_xmpp_stream_t  *st;

    for (q = ngx_queue_head(&w->streams);
         q != ngx_queue_sentinel(&w->streams);
         q = ngx_queue_next(q))
    {
        st = ngx_queue_data(q, ngx_xmpp_stream_t, queue);

        if (error == NGX_XMPP_SE_DROP) {
            st->transport->close(st, error, NULL);

        } else if (st->state != NGX_XMPP_ST_CLOSED) {
            ngx_xmpp_drain_stream(st);
        }
    }
}


/*
 * Until the last words of all streams are written, all sessions have ended
 * and Redis has answered; then a little for clients that end their side, too:
 * what they still send would turn into a reset.
 */

static void
ngx_xmpp_drain_loop(ngx_xmpp_worker_t *w)
{
    ngx_uint_t             busy;
    ngx_msec_t             start, passed;
    ngx_xmpp_drain_poll_t  dp;

    if (ngx_xmpp_drain_alloc(w, &dp) != NGX_OK) {
        return;
    }

    ngx_xmpp_drain_close(w, NGX_XMPP_SE_SYSTEM_SHUTDOWN);
    ngx_xmpp_detach_drain(w, w->nsessions);

    ngx_time_update();
    start = ngx_current_msec;

    for ( ;; ) {
        ngx_xmpp_drain_posted(w);
        ngx_xmpp_drain_collect(w, &dp);

        busy = dp.unsaid || w->nsessions || ngx_xmpp_store_pending(w->store);
        passed = ngx_current_msec - start;

        if (passed >= NGX_XMPP_DRAIN_STOP || dp.n == 0
            || (!busy && (w->nstreams == 0
                          || passed >= NGX_XMPP_DRAIN_LINGER)))
        {
            break;
        }

        ngx_xmpp_drain_poll(&dp, (busy ? NGX_XMPP_DRAIN_STOP
                                       : NGX_XMPP_DRAIN_LINGER) - passed);
    }

    if (busy) {
        ngx_log_error(NGX_LOG_WARN, w->log, 0,
                      "xmpp stopped before all was done: %ui streams, "
                      "%ui sessions, %ui requests to Redis were left",
                      dp.unsaid, w->nsessions,
                      ngx_xmpp_store_pending(w->store));
    }

    ngx_xmpp_drain_close(w, NGX_XMPP_SE_DROP);
    ngx_xmpp_drain_posted(w);

    ngx_free(dp.connections);
}


static ngx_int_t
ngx_xmpp_drain_alloc(ngx_xmpp_worker_t *w, ngx_xmpp_drain_poll_t *dp)
{
    size_t  max;

    max = w->nstreams + NGX_XMPP_STORE_CONNECTIONS;

    dp->connections = ngx_alloc(max * (sizeof(ngx_connection_t *)
                                       + sizeof(struct pollfd)), w->log);
    if (dp->connections == NULL) {
        return NGX_ERROR;
    }

    dp->fds = (struct pollfd *) &dp->connections[max];

    return NGX_OK;
}


/* what we have posted: all of this turn, and what was put off to the next */

static void
ngx_xmpp_drain_posted(ngx_xmpp_worker_t *w)
{
    ngx_uint_t         i, n;
    ngx_connection_t  *c[NGX_XMPP_STORE_CONNECTIONS];

    ngx_event_process_posted(w->cycle, &ngx_posted_events);
    ngx_event_move_posted_next(w->cycle);
    ngx_event_process_posted(w->cycle, &ngx_posted_events);

    /* the client's own event to write may be among what is kept aside */

    n = ngx_xmpp_store_connections(w->store, c);

    for (i = 0; i < n; i++) {

        /* with one of them the client may give up both */

        if (c[i]->fd != (ngx_socket_t) -1 && c[i]->write->ready) {
            c[i]->write->handler(c[i]->write);
        }
    }
}


static void
ngx_xmpp_drain_collect(ngx_xmpp_worker_t *w, ngx_xmpp_drain_poll_t *dp)
{
    ngx_uint_t          i, n;
    ngx_queue_t        *q;
    ngx_connection_t   *c[NGX_XMPP_STORE_CONNECTIONS];
    ngx_xmpp_stream_t  *st;

    dp->n = 0;
    dp->unsaid = 0;

    for (q = ngx_queue_head(&w->streams);
         q != ngx_queue_sentinel(&w->streams);
         q = ngx_queue_next(q))
    {
        st = ngx_queue_data(q, ngx_xmpp_stream_t, queue);

        if (st->lingering) {
            ngx_xmpp_drain_add(dp, st->connection, POLLIN);

        } else {
            ngx_xmpp_drain_add(dp, st->connection, POLLOUT);
            dp->unsaid++;
        }
    }

    n = ngx_xmpp_store_connections(w->store, c);

    for (i = 0; i < n; i++) {
        ngx_xmpp_drain_add(dp, c[i], c[i]->write->ready ? POLLIN
                                                        : POLLIN|POLLOUT);
    }
}


static void
ngx_xmpp_drain_add(ngx_xmpp_drain_poll_t *dp, ngx_connection_t *c,
    short events)
{
    dp->fds[dp->n].fd = c->fd;
    dp->fds[dp->n].events = events;
    dp->fds[dp->n].revents = 0;
    dp->connections[dp->n++] = c;
}


/* one turn: the handlers of what is ready, as nginx's event loop would */

static void
ngx_xmpp_drain_poll(ngx_xmpp_drain_poll_t *dp, ngx_msec_t left)
{
    int                n;
    short              revents;
    ngx_uint_t         i;
    ngx_connection_t  *c;

    n = poll(dp->fds, dp->n, (int) left);

    ngx_time_update();

    if (n <= 0) {
        return;
    }

    for (i = 0; i < dp->n; i++) {
        revents = dp->fds[i].revents;
        c = dp->connections[i];

        if (revents & (POLLERR|POLLHUP|POLLNVAL)) {
            revents |= POLLIN|POLLOUT;
        }

        if ((revents & POLLIN) && c->fd == dp->fds[i].fd) {
            c->read->ready = 1;
            c->read->available = -1;
            c->read->handler(c->read);
        }

        if ((revents & POLLOUT) && c->fd == dp->fds[i].fd) {
            c->write->ready = 1;
            c->write->handler(c->write);
        }
    }
}
