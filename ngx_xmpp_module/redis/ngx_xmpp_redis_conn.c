/*
 * One connection of the Redis client: connect, set up, write, read, lose,
 * come back.
 *
 *   idle --timer--> connecting --writable--> setup --last reply--> ready
 *     ^                 |     \                ^ |                   |
 *     |                 |      '-> securing ---' |                   |
 *     |                 |             |          |                   |
 *     +------ lost: timer = 0, 50, 100 ms ... 1 s, jittered ---------+
 *
 * Where sentinels are asked for the master first (ngx_xmpp_redis_sentinel.c),
 * idle becomes asking, and asking becomes connecting when one has answered.
 *
 * Losing a connection never calls a request's handler, only
 * the state handler; and none of these functions is called from within the
 * client's interface, except conn_close().
 */


#include "ngx_xmpp_redis_private.h"
#include <ngx_event_connect.h>


static void ngx_xmpp_redis_timer_handler(ngx_event_t *ev);
static void ngx_xmpp_redis_connected(ngx_xmpp_redis_conn_t *conn);
static void ngx_xmpp_redis_write_handler(ngx_event_t *wev);
static void ngx_xmpp_redis_read_handler(ngx_event_t *rev);
static void ngx_xmpp_redis_closed_by(ngx_xmpp_redis_conn_t *conn, ssize_t n,
    ngx_err_t err);
static ngx_int_t ngx_xmpp_redis_replies(ngx_xmpp_redis_conn_t *conn);
static void ngx_xmpp_redis_conn_reset(ngx_xmpp_redis_conn_t *conn);
static ngx_uint_t ngx_xmpp_redis_at_once(ngx_xmpp_redis_conn_t *conn,
    ngx_xmpp_redis_reason_e reason);
static void ngx_xmpp_redis_retry(ngx_xmpp_redis_conn_t *conn,
    ngx_uint_t at_once);


/* prepares the n-th connection; r->conf and r->log are set */
void
ngx_xmpp_redis_conn_init(ngx_xmpp_redis_t *r, ngx_uint_t n)
{
    ngx_xmpp_redis_conn_t  *conn;

    conn = &r->conn[n];

    conn->client = r;
    conn->subscriber = (n != 0);
    conn->sentinel = (n == 2);
    conn->fd = (ngx_socket_t) -1;

    ngx_queue_init(&conn->setup);
    ngx_queue_init(&conn->setup_sent);
    ngx_queue_init(&conn->waiting);
    ngx_queue_init(&conn->sent);
    ngx_queue_init(&conn->refused);
    ngx_queue_init(&conn->held);

    conn->timer.handler = ngx_xmpp_redis_timer_handler;
    conn->timer.data = conn;
    conn->timer.log = r->log;
    conn->timer.cancelable = 1;

    conn->deadline.data = conn;
    conn->deadline.log = r->log;
    conn->deadline.cancelable = 1;

    conn->flush.handler = ngx_xmpp_redis_conn_flush;
    conn->flush.data = conn;
    conn->flush.log = r->log;

    conn->quiet = *r->log;
    conn->quiet.log_level = 0;

    ngx_xmpp_redis_tls_init(conn);
}


/* the one event of the state, see ngx_xmpp_redis_private.h */
static void
ngx_xmpp_redis_timer_handler(ngx_event_t *ev)
{
    ngx_xmpp_redis_conn_t  *conn;

    conn = ev->data;

    switch (conn->state) {

    case ngx_xmpp_redis_st_idle:
        ngx_xmpp_redis_conn_start(conn);
        break;

    case ngx_xmpp_redis_st_securing:
        ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_no_tls, 0, NULL);
        break;

    case ngx_xmpp_redis_st_connecting:
    case ngx_xmpp_redis_st_setup:
        ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_no_answer, 0, NULL);
        break;

    case ngx_xmpp_redis_st_ready:
        if (conn->sentinel) {
            ngx_xmpp_redis_sentinel_tick(conn);
            break;
        }

        ngx_xmpp_redis_probe_tick(conn->client);
        break;

    case ngx_xmpp_redis_st_asking:
    case ngx_xmpp_redis_st_closed:
        break;
    }
}


/*
 * Begins to connect an idle connection, or to find out where to; failures are
 * handled here.
 */
void
ngx_xmpp_redis_conn_start(ngx_xmpp_redis_conn_t *conn)
{
    ngx_xmpp_redis_t  *r;

    r = conn->client;

    if (r->conf.master.len && !conn->sentinel) {
        conn->state = ngx_xmpp_redis_st_asking;
        ngx_xmpp_redis_sentinel_ask(r);
        return;
    }

    ngx_xmpp_redis_conn_connect(conn,
                                &r->conf.addr[conn->addr % r->conf.naddrs]);
}


/* the same, to this address, which lives as long as the client */
void
ngx_xmpp_redis_conn_connect(ngx_xmpp_redis_conn_t *conn, ngx_addr_t *addr)
{
    ngx_int_t               rc;
    ngx_err_t               err;
    ngx_connection_t       *c;
    ngx_xmpp_redis_t       *r;
    ngx_peer_connection_t   pc;

    r = conn->client;

    conn->peer = addr;

    conn->reader = redisReaderCreate();
    if (conn->reader == NULL) {
        ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_no_memory, 0, NULL);
        return;
    }

    ngx_memzero(&pc, sizeof(ngx_peer_connection_t));

    pc.sockaddr = addr->sockaddr;
    pc.socklen = addr->socklen;
    pc.name = &addr->name;
    pc.get = ngx_event_get_peer;
    pc.log = &conn->quiet;
    pc.log_error = NGX_ERROR_IGNORE_ECONNRESET;

    ngx_set_errno(0);

    rc = ngx_event_connect_peer(&pc);

    if (rc == NGX_DECLINED) {
        err = ngx_socket_errno;

        ngx_xmpp_redis_conn_lost(conn, (err == NGX_EACCES || err == NGX_EPERM)
                                       ? ngx_xmpp_redis_no_access
                                       : ngx_xmpp_redis_no_server,
                                 err, NULL);
        return;
    }

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_no_socket,
                                 ngx_socket_errno, NULL);
        return;
    }

    c = pc.connection;

    c->data = conn;
    c->log = r->log;
    c->read->log = r->log;
    c->write->log = r->log;

    conn->connection = c;
    conn->fd = c->fd;
    conn->state = ngx_xmpp_redis_st_connecting;

    ngx_xmpp_redis_conn_handlers(conn);

    ngx_add_timer(&conn->timer, conn->sentinel
                                ? ngx_xmpp_redis_sentinel_time(r)
                                : r->conf.connect_timeout);

    if (rc == NGX_OK) {
        ngx_xmpp_redis_connected(conn);
    }
}


/* the handlers of the socket, but for the handshake of TLS */
void
ngx_xmpp_redis_conn_handlers(ngx_xmpp_redis_conn_t *conn)
{
    conn->connection->read->handler = ngx_xmpp_redis_read_handler;
    conn->connection->write->handler = ngx_xmpp_redis_write_handler;
}


static void
ngx_xmpp_redis_connected(ngx_xmpp_redis_conn_t *conn)
{
    int                err;
    socklen_t          len;
    ngx_connection_t  *c;

    c = conn->connection;
    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err) {
        ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_no_server, err, NULL);
        return;
    }

    if (ngx_tcp_nodelay(c) != NGX_OK) {
        ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_no_socket,
                                 ngx_socket_errno, NULL);
        return;
    }

    if (conn->client->conf.ssl) {
        ngx_xmpp_redis_tls_start(conn);
        return;
    }

    ngx_xmpp_redis_conn_setup(conn);
}


/* the connection stands, and is secured where it has to be */
void
ngx_xmpp_redis_conn_setup(ngx_xmpp_redis_conn_t *conn)
{
    ngx_connection_t  *c;

    c = conn->connection;

    conn->state = ngx_xmpp_redis_st_setup;

    if (ngx_xmpp_redis_setup(conn) != NGX_OK) {
        ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_no_memory, 0, NULL);
        return;
    }

    /* a farewell may have come together with the connection */

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }

    ngx_xmpp_redis_conn_flush(&conn->flush);
}


static void
ngx_xmpp_redis_write_handler(ngx_event_t *wev)
{
    ngx_connection_t       *c;
    ngx_xmpp_redis_conn_t  *conn;

    c = wev->data;
    conn = c->data;

    if (conn->state == ngx_xmpp_redis_st_connecting) {
        ngx_xmpp_redis_connected(conn);
        return;
    }

    ngx_xmpp_redis_conn_flush(&conn->flush);
}


static void
ngx_xmpp_redis_read_handler(ngx_event_t *rev)
{
    ngx_connection_t       *c;
    ngx_xmpp_redis_conn_t  *conn;

    c = rev->data;
    conn = c->data;

    if (c->close) {

        /* worker_shutdown_timeout; the connection is no use in a drain */

        ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_shutdown, 0, NULL);
        return;
    }

    if (conn->state == ngx_xmpp_redis_st_connecting) {
        return;
    }

    (void) ngx_xmpp_redis_conn_read(conn);
}


/*
 * Reads and handles what is there; a busy server gets its next turn after
 * the other events.  NGX_ERROR: the connection is gone.
 */
ngx_int_t
ngx_xmpp_redis_conn_read(ngx_xmpp_redis_conn_t *conn)
{
    ssize_t            n;
    ngx_uint_t         i;
    ngx_event_t       *rev;
    ngx_connection_t  *c;
    ngx_xmpp_redis_t  *r;

    r = conn->client;
    c = conn->connection;
    rev = c->read;

    for (i = 0; i < NGX_XMPP_REDIS_READS; i++) {

        n = c->recv(c, r->buffer, NGX_XMPP_REDIS_BUFFER);

        if (n == NGX_AGAIN) {
            if (ngx_handle_read_event(rev, 0) != NGX_OK) {
                ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_no_socket, 0,
                                         NULL);
                return NGX_ERROR;
            }

            return NGX_OK;
        }

        if (n == NGX_ERROR || n == 0) {
            ngx_xmpp_redis_closed_by(conn, n, n ? ngx_socket_errno : 0);
            return NGX_ERROR;
        }

        r->now = ngx_xmpp_redis_now();

        if (redisReaderFeed(conn->reader, (char *) r->buffer, n) != REDIS_OK) {
            ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_no_memory, 0, NULL);
            return NGX_ERROR;
        }

        if (ngx_xmpp_redis_replies(conn) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    ngx_post_event(rev, &ngx_posted_next_events);

    return NGX_OK;
}


/* with TLS 1.3, what the server has against us comes after the handshake */
static void
ngx_xmpp_redis_closed_by(ngx_xmpp_redis_conn_t *conn, ssize_t n, ngx_err_t err)
{
    ngx_str_t  text;

    if (n == NGX_ERROR && conn->connection->ssl
        && conn->state == ngx_xmpp_redis_st_setup)
    {
        text.data = conn->said;
        text.len = conn->said_len;

        if (text.len == 0) {
            ngx_str_set(&text, "peer closed connection");
        }

        ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_bad_tls, 0, &text);
        return;
    }

    ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_closed, err, NULL);
}


static ngx_int_t
ngx_xmpp_redis_replies(ngx_xmpp_redis_conn_t *conn)
{
    void       *reply;
    ngx_int_t   rc;
    ngx_str_t   text;

    for ( ;; ) {

        if (redisReaderGetReply(conn->reader, &reply) != REDIS_OK) {
            text.data = (u_char *) conn->reader->errstr;
            text.len = ngx_strnlen(text.data, sizeof(conn->reader->errstr));

            ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_protocol, 0, &text);
            return NGX_ERROR;
        }

        if (reply == NULL) {
            return NGX_OK;
        }

        if (conn->subscriber && conn->state == ngx_xmpp_redis_st_ready) {
            rc = ngx_xmpp_redis_pubsub_reply(conn);

        } else {
            rc = ngx_xmpp_redis_reply(conn, reply);
        }

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }
    }
}


/*
 * The last step of the setup has been answered: from now on requests flow.
 * NGX_ERROR: the connection is gone.
 */
ngx_int_t
ngx_xmpp_redis_conn_ready(ngx_xmpp_redis_conn_t *conn)
{
    ngx_xmpp_redis_t  *r;

    r = conn->client;

    ngx_del_timer(&conn->timer);

    if (conn->subscriber && ngx_xmpp_redis_pubsub_ready(conn) != NGX_OK) {
        return NGX_ERROR;
    }

    conn->state = ngx_xmpp_redis_st_ready;
    conn->ready_at = ngx_current_msec;
    conn->connection->log = r->log;

    ngx_xmpp_redis_log_ready(conn);

    if (!conn->sentinel) {
        r->counters->connected[conn->subscriber]++;
        r->gauges->ready[conn->subscriber] = 1;
    }

    if (conn->sentinel) {
        ngx_xmpp_redis_sentinel_ready(r);
        return NGX_OK;
    }

    if (conn->subscriber) {
        ngx_xmpp_redis_probe_ready(r);
    }

    if (!conn->subscriber) {
        ngx_xmpp_redis_wait_ready(conn);
    }

    if (r->conf.state) {
        conn->greeting = 1;
        r->conf.state(r->conf.data, conn->subscriber, 1);
        conn->greeting = 0;
    }

    ngx_post_event(&conn->flush, &ngx_posted_events);

    return NGX_OK;
}


/*
 * The connection has failed, in any state but "idle, waiting" and "closed".
 * Requests are sorted into those that stay and those that have failed, the
 * owner is told, and the next attempt is set.  err and detail (a text of the
 * server) are for the log; both may be missing.
 */
void
ngx_xmpp_redis_conn_lost(ngx_xmpp_redis_conn_t *conn,
    ngx_xmpp_redis_reason_e reason, ngx_err_t err, ngx_str_t *detail)
{
    ngx_uint_t         was_ready;
    ngx_xmpp_redis_t  *r;

    r = conn->client;
    was_ready = (conn->state == ngx_xmpp_redis_st_ready);

    ngx_xmpp_redis_log_away(conn, reason, err, detail);

    if (!conn->sentinel) {
        r->counters->lost[conn->subscriber] += was_ready;
        r->counters->failed[conn->subscriber] += !was_ready;
    }

    if (reason != ngx_xmpp_redis_shutdown) {
        ngx_xmpp_redis_conn_reset(conn);
    }

    ngx_xmpp_redis_disconnect(conn);

    conn->state = (reason == ngx_xmpp_redis_shutdown)
                  ? ngx_xmpp_redis_st_closed : ngx_xmpp_redis_st_idle;

    ngx_xmpp_redis_reqs_lost(conn, was_ready);

    if (!conn->subscriber) {
        r->probe.denied = 0;
    }

    if (was_ready
        && ngx_current_msec - conn->ready_at >= NGX_XMPP_REDIS_STABLE)
    {
        conn->attempts = 0;
    }

    if (!was_ready) {
        conn->addr++;
    }

    if (conn->subscriber && !conn->sentinel) {
        ngx_xmpp_redis_probe_reset(r);
    }

    if (was_ready && r->conf.state && !conn->sentinel) {
        r->conf.state(r->conf.data, conn->subscriber, 0);
    }

    if (conn->state == ngx_xmpp_redis_st_idle) {
        ngx_xmpp_redis_retry(conn, ngx_xmpp_redis_at_once(conn, reason));
        ngx_xmpp_redis_deadline(conn);
    }

    /*
     * A server that became a replica keeps its subscribers, but nobody
     * publishes there any more.
     */

    if (reason == ngx_xmpp_redis_replica && !conn->subscriber
        && r->conn[1].state == ngx_xmpp_redis_st_ready)
    {
        ngx_xmpp_redis_conn_lost(&r->conn[1], reason, 0, detail);
    }

    /* what cuts one without a word cuts the other: it is asked at once */

    if (reason == ngx_xmpp_redis_late && !conn->subscriber
        && r->conn[1].state == ngx_xmpp_redis_st_ready)
    {
        ngx_xmpp_redis_pubsub_ping(&r->conn[1]);
    }
}


/*
 * Whether the next attempt may follow at once.  Another sentinel may know what
 * this one does not: only when all of them have been asked there is a pause.
 */
static ngx_uint_t
ngx_xmpp_redis_at_once(ngx_xmpp_redis_conn_t *conn,
    ngx_xmpp_redis_reason_e reason)
{
    if (conn->sentinel) {
        return conn->attempts < conn->client->conf.naddrs;
    }

    return conn->attempts == 0
           && reason != ngx_xmpp_redis_refused
           && reason != ngx_xmpp_redis_loading
           && reason != ngx_xmpp_redis_replica;
}


/* the next attempt: at once after a good time, else with a growing delay */
static void
ngx_xmpp_redis_retry(ngx_xmpp_redis_conn_t *conn, ngx_uint_t at_once)
{
    ngx_uint_t  i;
    ngx_msec_t  delay;

    if (at_once) {
        conn->attempts++;
        ngx_post_event(&conn->timer, &ngx_posted_next_events);
        return;
    }

    delay = NGX_XMPP_REDIS_RETRY;

    for (i = 1; i < conn->attempts && delay < NGX_XMPP_REDIS_RETRY_MAX; i++) {
        delay *= 2;
    }

    delay = ngx_min(delay, NGX_XMPP_REDIS_RETRY_MAX);

    /* all workers lose Redis at the same time and should not return so */

    delay = delay / 2 + ngx_random() % (delay / 2 + 1);

    conn->attempts++;

    ngx_add_timer(&conn->timer, delay);
}


/*
 * Closes for good, without telling anybody; the caller sees to the requests
 */
void
ngx_xmpp_redis_conn_close(ngx_xmpp_redis_conn_t *conn)
{
    ngx_xmpp_redis_disconnect(conn);

    conn->state = ngx_xmpp_redis_st_closed;

    if (conn->push.channel.data) {
        ngx_free(conn->push.channel.data);
        ngx_memzero(&conn->push, sizeof(ngx_xmpp_redis_push_t));
    }
}


/*
 * What had no answer is repeated on another connection, and must not run on
 * this one behind that (cluster.md, rule 2): after an ordinary end, TCP goes
 * on delivering what the network has lost.
 */
static void
ngx_xmpp_redis_conn_reset(ngx_xmpp_redis_conn_t *conn)
{
    struct linger  linger;

    if (conn->subscriber || conn->connection == NULL
        || ngx_queue_empty(&conn->sent))
    {
        return;
    }

    linger.l_onoff = 1;
    linger.l_linger = 0;

    if (setsockopt(conn->connection->fd, SOL_SOCKET, SO_LINGER,
                   (const void *) &linger, sizeof(struct linger))
        == -1)
    {
        ngx_log_error(NGX_LOG_ERR, conn->client->log, ngx_socket_errno,
                      "setsockopt(SO_LINGER) failed");
    }
}


/* gives back the socket, the reader and the events, in whatever state */
void
ngx_xmpp_redis_disconnect(ngx_xmpp_redis_conn_t *conn)
{
    if (!conn->sentinel) {
        conn->client->gauges->ready[conn->subscriber] = 0;
    }

    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    if (conn->timer.posted) {
        ngx_delete_posted_event(&conn->timer);
    }

    if (conn->flush.posted) {
        ngx_delete_posted_event(&conn->flush);
    }

    if (conn->connection) {
        ngx_xmpp_redis_tls_close(conn->connection);
        conn->connection = NULL;
        conn->fd = (ngx_socket_t) -1;
    }

    if (conn->reader) {
        redisReaderFree(conn->reader);
        conn->reader = NULL;
    }

    conn->offset = 0;
    conn->out = NULL;
    conn->out_len = 0;
    conn->leaving = 0;
}
