/*
 * The Redis client: its interface, and the life of a request from the call
 * to the handler.  Sockets are in ngx_xmpp_redis_conn.c.
 *
 * A request is in exactly one queue (see ngx_xmpp_redis_private.h) until its
 * handler ran.  Nothing here calls a handler from within an interface
 * function: what fails is moved to the queue "failed" and told from a posted
 * event, so that a caller never finds its own state changed under it.
 */


#include "ngx_xmpp_redis_private.h"


static void ngx_xmpp_redis_setup_lost(ngx_xmpp_redis_conn_t *conn);
static ngx_xmpp_redis_status_e ngx_xmpp_redis_req_status(
    ngx_xmpp_redis_req_t *req);
static ngx_uint_t ngx_xmpp_redis_req_expired(ngx_queue_t *queue);
static void ngx_xmpp_redis_fail_handler(ngx_event_t *ev);
static void ngx_xmpp_redis_deadline_handler(ngx_event_t *ev);
static void ngx_xmpp_redis_unexpected(ngx_xmpp_redis_conn_t *conn,
    redisReply *reply);
static ngx_uint_t ngx_xmpp_redis_is_away(redisReply *reply,
    ngx_xmpp_redis_reason_e *reason);
static void ngx_xmpp_redis_free_queue(ngx_xmpp_redis_t *r,
    ngx_queue_t *queue);


/*
 * Creates the client in pool, which has to live as long as the worker, and
 * begins to connect.  Neither blocks nor fails when the server is away.
 * *conf is copied, what it points to is not.  NULL: no memory.
 */
ngx_xmpp_redis_t *
ngx_xmpp_redis_create(ngx_pool_t *pool, ngx_log_t *log,
    ngx_xmpp_redis_conf_t *conf)
{
    ngx_xmpp_redis_t  *r;

    r = ngx_pcalloc(pool, sizeof(ngx_xmpp_redis_t));
    if (r == NULL) {
        return NULL;
    }

    r->buffer = ngx_palloc(pool, NGX_XMPP_REDIS_BUFFER);
    if (r->buffer == NULL) {
        return NULL;
    }

    r->iovs = ngx_palloc(pool, NGX_XMPP_REDIS_IOVS * sizeof(struct iovec));
    if (r->iovs == NULL) {
        return NULL;
    }

    r->conf = *conf;
    r->log = log;

    if (ngx_xmpp_redis_stats_init(r, pool) != NGX_OK) {
        return NULL;
    }

    if (r->conf.naddrs == 0) {
        r->conf.naddrs = 1;
    }

    if (r->conf.ping == 0) {
        r->conf.ping = NGX_XMPP_REDIS_PING;
    }

    ngx_queue_init(&r->free);
    ngx_queue_init(&r->failed);

    r->fail.handler = ngx_xmpp_redis_fail_handler;
    r->fail.data = r;
    r->fail.log = log;

    ngx_xmpp_redis_pubsub_init(r);
    ngx_xmpp_redis_wait_init(r);
    ngx_xmpp_redis_confirm_init(r);

    ngx_xmpp_redis_conn_init(r, 0);
    ngx_xmpp_redis_conn_init(r, 1);
    ngx_xmpp_redis_conn_init(r, 2);

    r->conn[0].deadline.handler = ngx_xmpp_redis_deadline_handler;
    r->conn[1].deadline.handler = ngx_xmpp_redis_deadline_handler;
    r->conn[2].deadline.handler = ngx_xmpp_redis_deadline_handler;

    ngx_xmpp_redis_conn_start(&r->conn[0]);
    ngx_xmpp_redis_conn_start(&r->conn[1]);

    return r;
}


/*
 * Closes all connections for good; commands are refused from now on.  The
 * state handler is not called.  quiet: no request handler either; without it
 * they are told AWAY or UNKNOWN from a posted event.  Not to be called from
 * within a handler of the client.
 */
void
ngx_xmpp_redis_destroy(ngx_xmpp_redis_t *r, ngx_uint_t quiet)
{
    ngx_uint_t              i;
    ngx_queue_t            *q;
    ngx_xmpp_redis_req_t   *req;
    ngx_xmpp_redis_conn_t  *conn;

    for (i = 0; i < 3; i++) {
        conn = &r->conn[i];

        ngx_xmpp_redis_conn_close(conn);
        ngx_xmpp_redis_reqs_lost(conn, 1);

        if (conn->deadline.timer_set) {
            ngx_del_timer(&conn->deadline);
        }
    }

    if (quiet) {
        if (r->fail.posted) {
            ngx_delete_posted_event(&r->fail);
        }

        ngx_xmpp_redis_free_queue(r, &r->failed);
    }

    while (!ngx_queue_empty(&r->free)) {
        q = ngx_queue_head(&r->free);
        req = ngx_queue_data(q, ngx_xmpp_redis_req_t, queue);

        ngx_queue_remove(q);
        ngx_free(req);
    }

    r->nfree = 0;

    ngx_xmpp_redis_wait_close(r);
    ngx_xmpp_redis_confirm_void(r);
}


/* 1 when commands (subscriber == 0) or messages (1) flow, else 0 */
ngx_uint_t
ngx_xmpp_redis_ready(ngx_xmpp_redis_t *r, ngx_uint_t subscriber)
{
    return r->conn[subscriber ? 1 : 0].state == ngx_xmpp_redis_st_ready;
}


/*
 * Queues a command of argc > 0 strings, which are copied.  flags: see the
 * header.  NULL: the queue is full, the client is closed or there is no
 * memory, and no handler will run.  The deadline is conf->timeout ms from
 * now, whatever happens to connections meanwhile.
 */
ngx_xmpp_redis_req_t *
ngx_xmpp_redis_command(ngx_xmpp_redis_t *r, ngx_uint_t flags, ngx_uint_t argc,
    ngx_str_t *argv, ngx_xmpp_redis_handler_pt handler, void *data)
{
    ngx_xmpp_redis_req_t   *req;
    ngx_xmpp_redis_conn_t  *conn;

    conn = &r->conn[0];

    if (conn->state == ngx_xmpp_redis_st_closed) {
        return NULL;
    }

    if ((r->ncommands >= r->conf.max_queue
         || r->nbytes >= r->conf.max_bytes)
        && !conn->greeting)
    {
        r->counters->full++;
        return NULL;
    }

    req = ngx_xmpp_redis_req_create(r, ngx_xmpp_redis_req_command, argc, argv);
    if (req == NULL) {
        return NULL;
    }

    req->handler = handler;
    req->data = data;

    if ((flags & NGX_XMPP_REDIS_SETUP) && conn->greeting) {
        ngx_queue_insert_tail(&conn->setup, &req->queue);
        ngx_xmpp_redis_deadline(conn);
        return req;
    }

    req->repeat = (flags & NGX_XMPP_REDIS_REPEAT) ? 1 : 0;
    req->mark = (flags & NGX_XMPP_REDIS_MARK) ? 1 : 0;
    req->durable = (flags & NGX_XMPP_REDIS_DURABLE) && r->conf.replicas;
    req->sure = req->durable && (flags & NGX_XMPP_REDIS_SURE);

    if (req->durable && r->wait.lacking) {
        ngx_xmpp_redis_req_fail(r, req, NGX_XMPP_REDIS_AWAY);
        return req;
    }

    ngx_xmpp_redis_req_queue(conn, req);

    return req;
}


/* drops the handler only: the reply keeps its place in the order */
void
ngx_xmpp_redis_cancel(ngx_xmpp_redis_req_t *req)
{
    req->handler = NULL;
}


/* requests whose handler, if any, has not run yet; on both connections */
ngx_uint_t
ngx_xmpp_redis_pending(ngx_xmpp_redis_t *r)
{
    return r->npending;
}


/*
 * Writes the connections that are there to c[0], c[1] and returns how many;
 * that to a sentinel is none of them.
 * Their handlers may be called as by an event loop; then they may be gone.
 */
ngx_uint_t
ngx_xmpp_redis_connections(ngx_xmpp_redis_t *r, ngx_connection_t **c)
{
    ngx_uint_t  i, n;

    for (i = 0, n = 0; i < 2; i++) {
        if (r->conn[i].connection) {
            c[n++] = r->conn[i].connection;
        }
    }

    return n;
}


/*
 * Takes a request from the free list, formats it and sets its deadline; in
 * no queue yet.  NULL: no memory.
 */
ngx_xmpp_redis_req_t *
ngx_xmpp_redis_req_create(ngx_xmpp_redis_t *r, ngx_uint_t kind,
    ngx_uint_t argc, ngx_str_t *argv)
{
    ngx_queue_t           *q;
    ngx_xmpp_redis_req_t  *req;

    if (!ngx_queue_empty(&r->free)) {
        q = ngx_queue_head(&r->free);
        req = ngx_queue_data(q, ngx_xmpp_redis_req_t, queue);

        ngx_queue_remove(q);
        r->nfree--;

    } else {
        req = ngx_alloc(sizeof(ngx_xmpp_redis_req_t), r->log);
        if (req == NULL) {
            return NULL;
        }
    }

    ngx_memzero(req, sizeof(ngx_xmpp_redis_req_t));

    if (ngx_xmpp_redis_req_format(req, argc, argv) != NGX_OK) {
        ngx_free(req);
        return NULL;
    }

    req->kind = kind;
    req->deadline = ngx_current_msec + r->conf.timeout;

    if (kind < ngx_xmpp_redis_req_ping) {
        r->npending++;
    }

    if (kind == ngx_xmpp_redis_req_command) {
        r->ncommands++;
        r->nbytes += req->len;

        r->gauges->requests = r->ncommands;
        r->gauges->bytes = r->nbytes;
    }

    return req;
}


/* returns a request, which is in no queue, to the free list */
void
ngx_xmpp_redis_req_free(ngx_xmpp_redis_t *r, ngx_xmpp_redis_req_t *req)
{
    if (req->kind < ngx_xmpp_redis_req_ping) {
        r->npending--;
    }

    if (req->kind == ngx_xmpp_redis_req_command) {
        r->ncommands--;
        r->nbytes -= req->len;

        r->gauges->requests = r->ncommands;
        r->gauges->bytes = r->nbytes;
    }

    ngx_free(req->bytes);

    if (req->reply) {
        freeReplyObject(req->reply);
    }

    if (r->nfree >= NGX_XMPP_REDIS_FREE
        || r->conn[0].state == ngx_xmpp_redis_st_closed)
    {
        ngx_free(req);
        return;
    }

    ngx_queue_insert_head(&r->free, &req->queue);
    r->nfree++;
}


/* appends a request to those waiting; it is sent at the end of this turn */
void
ngx_xmpp_redis_req_queue(ngx_xmpp_redis_conn_t *conn,
    ngx_xmpp_redis_req_t *req)
{
    ngx_queue_insert_tail(&conn->waiting, &req->queue);

    if (req->durable) {
        conn->owed = 1;
        conn->reading |= req->sure;
    }

    ngx_xmpp_redis_deadline(conn);
    ngx_xmpp_redis_conn_post(conn);
}


/* hands a request, which is in no queue, to the posted "failed" handler */
void
ngx_xmpp_redis_req_fail(ngx_xmpp_redis_t *r, ngx_xmpp_redis_req_t *req,
    ngx_xmpp_redis_status_e status)
{
    ngx_queue_t  *posted;

    ngx_xmpp_redis_unanswered(r, req, status);

    req->status = status;
    ngx_queue_insert_tail(&r->failed, &req->queue);

    posted = ngx_exiting ? &ngx_posted_next_events : &ngx_posted_events;

    ngx_post_event(&r->fail, posted);
}


/* the handler of a request, which is in no queue, gets its reply */
void
ngx_xmpp_redis_req_told(ngx_xmpp_redis_t *r, ngx_xmpp_redis_req_t *req,
    redisReply *reply)
{
    if (req->handler) {
        req->handler(req->data, reply,
                     (reply->type == REDIS_REPLY_ERROR && req->unknown)
                     ? NGX_XMPP_REDIS_UNKNOWN : NGX_XMPP_REDIS_OK);
    }

    ngx_xmpp_redis_req_free(r, req);
}


/* as req_fail() for one in a queue; the client's own have no handler */
void
ngx_xmpp_redis_req_drop(ngx_xmpp_redis_t *r, ngx_xmpp_redis_req_t *req,
    ngx_xmpp_redis_status_e status)
{
    ngx_queue_remove(&req->queue);

    if (req->kind >= ngx_xmpp_redis_req_ping) {
        ngx_xmpp_redis_req_free(r, req);
        return;
    }

    ngx_xmpp_redis_req_fail(r, req, status);
}


static void
ngx_xmpp_redis_fail_handler(ngx_event_t *ev)
{
    ngx_queue_t           *q;
    ngx_xmpp_redis_t      *r;
    ngx_xmpp_redis_req_t  *req;

    r = ev->data;

    while (!ngx_queue_empty(&r->failed)) {
        q = ngx_queue_head(&r->failed);
        req = ngx_queue_data(q, ngx_xmpp_redis_req_t, queue);

        ngx_queue_remove(q);

        if (req->handler) {
            req->handler(req->data, NULL, req->status);
        }

        ngx_xmpp_redis_req_free(r, req);
    }
}


/*
 * The reply of the oldest request sent on a command connection, or on any
 * connection in setup.  Frees the reply.  NGX_ERROR: the connection is gone,
 * conn->reader with it.
 */
ngx_int_t
ngx_xmpp_redis_reply(ngx_xmpp_redis_conn_t *conn, redisReply *reply)
{
    ngx_int_t              rc;
    ngx_uint_t             setup, confirms;
    ngx_queue_t           *q;
    ngx_xmpp_redis_t      *r;
    ngx_xmpp_redis_req_t  *req;

    r = conn->client;
    rc = NGX_OK;

    setup = !ngx_queue_empty(&conn->setup_sent);

    if (!setup && ngx_queue_empty(&conn->sent)) {
        ngx_xmpp_redis_unexpected(conn, reply);
        freeReplyObject(reply);
        return NGX_ERROR;
    }

    q = ngx_queue_head(setup ? &conn->setup_sent : &conn->sent);
    ngx_queue_remove(q);

    req = ngx_queue_data(q, ngx_xmpp_redis_req_t, queue);

    if (req->kind == ngx_xmpp_redis_req_command) {
        ngx_xmpp_redis_answered(r, req, reply);
    }

    if (req->kind == ngx_xmpp_redis_req_wait) {
        confirms = req->confirms;
        ngx_xmpp_redis_req_free(r, req);
        rc = ngx_xmpp_redis_wait_reply(conn, confirms, reply);

    } else if (req->kind == ngx_xmpp_redis_req_marker) {
        ngx_xmpp_redis_req_free(r, req);
        ngx_xmpp_redis_confirm_published(r, reply);

    } else if (req->kind >= ngx_xmpp_redis_req_ping) {
        rc = ngx_xmpp_redis_setup_reply(conn, req->kind, reply);
        ngx_xmpp_redis_req_free(r, req);

    } else if (ngx_xmpp_redis_is_away(reply, &conn->leaving_for)) {
        conn->leaving = 1;

        if (setup) {
            ngx_xmpp_redis_req_fail(r, req, NGX_XMPP_REDIS_AWAY);

        } else {
            ngx_queue_insert_tail(&conn->refused, q);
        }

    } else if (req->sure && r->wait.lacking) {
        ngx_xmpp_redis_req_fail(r, req, NGX_XMPP_REDIS_AWAY);

    } else if (req->durable && reply->type != REDIS_REPLY_ERROR) {
        ngx_xmpp_redis_wait_hold(conn, req, reply);
        reply = NULL;

    } else {
        ngx_xmpp_redis_req_told(r, req, reply);
    }

    if (reply) {
        freeReplyObject(reply);
    }

    if (conn->leaving && ngx_queue_empty(&conn->setup_sent)
        && ngx_queue_empty(&conn->sent))
    {
        ngx_xmpp_redis_conn_lost(conn, conn->leaving_for, 0, NULL);
        return NGX_ERROR;
    }

    return rc;
}


static void
ngx_xmpp_redis_unexpected(ngx_xmpp_redis_conn_t *conn, redisReply *reply)
{
    ngx_str_t                text;
    ngx_xmpp_redis_reason_e  reason;

    reason = ngx_xmpp_redis_protocol;
    ngx_str_set(&text, "reply without a request");

    if (reply->type == REDIS_REPLY_ERROR) {

        /* a farewell: too many clients, protected mode */

        reason = ngx_xmpp_redis_refused;
        text.len = reply->len;
        text.data = (u_char *) reply->str;
    }

    ngx_xmpp_redis_conn_lost(conn, reason, 0, &text);
}


/*
 * Error replies that speak of the server, not of the command: it has become
 * a replica, or has lost its data for now.  Nothing ran.
 */
static ngx_uint_t
ngx_xmpp_redis_is_away(redisReply *reply, ngx_xmpp_redis_reason_e *reason)
{
    if (reply->type != REDIS_REPLY_ERROR) {
        return 0;
    }

    if (reply->len >= 8 && ngx_memcmp(reply->str, "LOADING ", 8) == 0) {
        *reason = ngx_xmpp_redis_loading;
        return 1;
    }

    if ((reply->len >= 9 && ngx_memcmp(reply->str, "READONLY ", 9) == 0)
        || (reply->len >= 11 && ngx_memcmp(reply->str, "MASTERDOWN ", 11) == 0))
    {
        *reason = ngx_xmpp_redis_replica;
        return 1;
    }

    return 0;
}


/*
 * What becomes of the requests of a connection that is gone.  Commands that
 * may be repeated, or certainly did not run, go back before the others in
 * their old order and keep their deadline.  A subscriber that was ready
 * loses all: its owner starts from the source of truth.
 */
void
ngx_xmpp_redis_reqs_lost(ngx_xmpp_redis_conn_t *conn, ngx_uint_t was_ready)
{
    ngx_uint_t             closed;
    ngx_queue_t           *q, *next;
    ngx_xmpp_redis_t      *r;
    ngx_xmpp_redis_req_t  *req;

    r = conn->client;
    closed = (conn->state == ngx_xmpp_redis_st_closed);

    ngx_xmpp_redis_setup_lost(conn);
    ngx_xmpp_redis_wait_lost(conn);

    for (q = ngx_queue_head(&conn->sent);
         q != ngx_queue_sentinel(&conn->sent);
         q = next)
    {
        next = ngx_queue_next(q);
        req = ngx_queue_data(q, ngx_xmpp_redis_req_t, queue);

        /* a subscription that got no confirmation died with the connection */

        if (!conn->subscriber) {
            req->unknown = 1;

            if (req->repeat && !closed) {

                if (req->mark) {
                    req->bytes[req->len - sizeof("1" CRLF) + 1] = '1';
                }

                continue;
            }
        }

        ngx_xmpp_redis_req_drop(r, req, ngx_xmpp_redis_req_status(req));
    }

    /* the oldest first: replies come in order */

    ngx_xmpp_redis_prepend(&conn->waiting, &conn->sent);
    ngx_xmpp_redis_prepend(&conn->waiting, &conn->refused);

    while (!ngx_queue_empty(&conn->waiting)) {
        q = ngx_queue_head(&conn->waiting);
        req = ngx_queue_data(q, ngx_xmpp_redis_req_t, queue);

        if (!closed && !(conn->subscriber && was_ready)
            && !ngx_xmpp_redis_req_expired(&conn->waiting))
        {
            break;
        }

        ngx_xmpp_redis_req_drop(r, req, ngx_xmpp_redis_req_status(req));
    }
}


static void
ngx_xmpp_redis_setup_lost(ngx_xmpp_redis_conn_t *conn)
{
    ngx_queue_t           *q;
    ngx_xmpp_redis_t      *r;
    ngx_xmpp_redis_req_t  *req;

    r = conn->client;

    while (!ngx_queue_empty(&conn->setup_sent)) {
        q = ngx_queue_head(&conn->setup_sent);
        req = ngx_queue_data(q, ngx_xmpp_redis_req_t, queue);

        ngx_xmpp_redis_req_drop(r, req, NGX_XMPP_REDIS_UNKNOWN);
    }

    while (!ngx_queue_empty(&conn->setup)) {
        q = ngx_queue_head(&conn->setup);
        req = ngx_queue_data(q, ngx_xmpp_redis_req_t, queue);

        ngx_xmpp_redis_req_drop(r, req, NGX_XMPP_REDIS_AWAY);
    }
}


/* moves all of the second queue before the first */
void
ngx_xmpp_redis_prepend(ngx_queue_t *queue, ngx_queue_t *before)
{
    if (ngx_queue_empty(before)) {
        return;
    }

    ngx_queue_add(before, queue);
    ngx_queue_init(queue);
    ngx_queue_add(queue, before);
    ngx_queue_init(before);
}


/* what the handler of a request is told that will not be sent (again) */
static ngx_xmpp_redis_status_e
ngx_xmpp_redis_req_status(ngx_xmpp_redis_req_t *req)
{
    return req->unknown ? NGX_XMPP_REDIS_UNKNOWN : NGX_XMPP_REDIS_AWAY;
}


/* whether the head of a queue has passed its deadline */
static ngx_uint_t
ngx_xmpp_redis_req_expired(ngx_queue_t *queue)
{
    ngx_queue_t           *q;
    ngx_xmpp_redis_req_t  *req;

    if (ngx_queue_empty(queue)) {
        return 0;
    }

    q = ngx_queue_head(queue);
    req = ngx_queue_data(q, ngx_xmpp_redis_req_t, queue);

    return (ngx_msec_int_t) (req->deadline - ngx_current_msec) <= 0;
}


/*
 * Sets the timer to the oldest deadline unless it is set: then it is set to
 * an older one and will find the next itself.
 */
void
ngx_xmpp_redis_deadline(ngx_xmpp_redis_conn_t *conn)
{
    ngx_uint_t             i, n;
    ngx_queue_t           *q, *queues[5];
    ngx_msec_int_t         left, ms;
    ngx_xmpp_redis_req_t  *req;

    if (conn->deadline.timer_set) {
        return;
    }

    queues[0] = &conn->setup;
    queues[1] = &conn->setup_sent;
    queues[2] = &conn->waiting;
    queues[3] = &conn->sent;
    queues[4] = &conn->held;

    n = 0;
    left = 0;

    for (i = 0; i < 5; i++) {
        if (ngx_queue_empty(queues[i])) {
            continue;
        }

        q = ngx_queue_head(queues[i]);
        req = ngx_queue_data(q, ngx_xmpp_redis_req_t, queue);

        ms = (ngx_msec_int_t) (req->deadline - ngx_current_msec);

        if (n++ == 0 || ms < left) {
            left = ms;
        }
    }

    if (n) {
        ngx_add_timer(&conn->deadline, left > 0 ? (ngx_msec_t) left : 1);
    }
}


static void
ngx_xmpp_redis_deadline_handler(ngx_event_t *ev)
{
    ngx_queue_t            *q;
    ngx_xmpp_redis_req_t   *req;
    ngx_xmpp_redis_conn_t  *conn;

    conn = ev->data;

    /* they ran, and nobody knows whether that will last */

    while (ngx_xmpp_redis_req_expired(&conn->held)) {
        q = ngx_queue_head(&conn->held);
        req = ngx_queue_data(q, ngx_xmpp_redis_req_t, queue);

        ngx_xmpp_redis_req_drop(conn->client, req, NGX_XMPP_REDIS_UNKNOWN);
    }

    if (conn->state != ngx_xmpp_redis_st_ready) {

        /* not sent, or not again: they waited for a connection in vain */

        while (ngx_xmpp_redis_req_expired(&conn->waiting)) {
            q = ngx_queue_head(&conn->waiting);
            req = ngx_queue_data(q, ngx_xmpp_redis_req_t, queue);

            ngx_xmpp_redis_req_drop(conn->client, req,
                                    ngx_xmpp_redis_req_status(req));
        }

    } else if (conn->connection->read->posted) {

        /* replies are there, the worker is behind: the server is not late */

        ngx_add_timer(&conn->deadline, 10);
        return;

    } else if (ngx_xmpp_redis_req_expired(&conn->setup_sent)
               || ngx_xmpp_redis_req_expired(&conn->sent)
               || ngx_xmpp_redis_req_expired(&conn->setup)
               || ngx_xmpp_redis_req_expired(&conn->waiting))
    {
        ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_late, 0, NULL);
    }

    ngx_xmpp_redis_deadline(conn);
}


static void
ngx_xmpp_redis_free_queue(ngx_xmpp_redis_t *r, ngx_queue_t *queue)
{
    ngx_queue_t           *q;
    ngx_xmpp_redis_req_t  *req;

    while (!ngx_queue_empty(queue)) {
        q = ngx_queue_head(queue);
        req = ngx_queue_data(q, ngx_xmpp_redis_req_t, queue);

        ngx_queue_remove(q);
        ngx_xmpp_redis_req_free(r, req);
    }
}
