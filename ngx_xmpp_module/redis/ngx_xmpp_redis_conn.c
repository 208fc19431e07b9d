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
 * An outage is logged once for each of its reasons, then every 30 s, and once
 * when it is over.  Losing a connection never calls a request's handler, only
 * the state handler; and none of these functions is called from within the
 * client's interface, except conn_close().
 */


#include "ngx_xmpp_redis_private.h"
#include <ngx_event_connect.h>


typedef struct {
    char  *what;
    char  *advice;
} ngx_xmpp_redis_reason_t;


static void ngx_xmpp_redis_timer_handler(ngx_event_t *ev);
static void ngx_xmpp_redis_connected(ngx_xmpp_redis_conn_t *conn);
static void ngx_xmpp_redis_write_handler(ngx_event_t *wev);
static void ngx_xmpp_redis_read_handler(ngx_event_t *rev);
static void ngx_xmpp_redis_closed_by(ngx_xmpp_redis_conn_t *conn, ssize_t n,
    ngx_err_t err);
static ngx_int_t ngx_xmpp_redis_replies(ngx_xmpp_redis_conn_t *conn);
static void ngx_xmpp_redis_disconnect(ngx_xmpp_redis_conn_t *conn);
static void ngx_xmpp_redis_log_away(ngx_xmpp_redis_conn_t *conn,
    ngx_xmpp_redis_reason_e reason, ngx_err_t err, ngx_str_t *detail);
static void ngx_xmpp_redis_retry(ngx_xmpp_redis_conn_t *conn,
    ngx_uint_t at_once);


/* in the order of ngx_xmpp_redis_reason_e */
static ngx_xmpp_redis_reason_t  ngx_xmpp_redis_reasons[] = {

    { "got no socket",
      "raise worker_connections or worker_rlimit_nofile" },

    { "got no memory",
      "trying again" },

    { "cannot be made",
      "is redis-server running there? trying again" },

    { "is not permitted",
      "let the user of the worker processes use that socket" },

    { "got no answer within the connect timeout",
      "is the server stalled, or is it no Redis? trying again" },

    { "got no TLS handshake within the connect timeout",
      "does the server speak TLS there? trying again" },

    { "cannot speak TLS",
      "does the server speak TLS there, and does it ask for a certificate "
      "(\"xmpp_redis_ssl_certificate\")? trying again" },

    { "is not trusted",
      "\"xmpp_redis_ssl_trusted_certificate\" has to hold the authority of "
      "the server's certificate, which has to be valid; trying again" },

    { "is not trusted: the server's certificate is for another name",
      "correct the name in \"xmpp_redis\", or give that of the certificate "
      "in \"xmpp_redis_ssl_name\"; trying again" },

    { "was closed by the server",
      "connecting again" },

    { "got no reply within the timeout",
      "the server is stalled or overloaded; connecting again" },

    { "got what is no valid reply",
      "connecting again" },

    { "was refused",
      "check address, user, password and database in \"xmpp_redis\"" },

    { "has to wait: the server is loading its data",
      "trying again" },

    { "reached a replica",
      "\"xmpp_redis\" has to name the master; trying again" },

    { "does not hear what is published",
      "both connections have to reach the same master; connecting again" },

    { "was closed at the worker's shutdown timeout",
      "not connecting again" }
};


/* prepares a connection; r->conf and r->log are set */
void
ngx_xmpp_redis_conn_init(ngx_xmpp_redis_t *r, ngx_uint_t subscriber)
{
    ngx_xmpp_redis_conn_t  *conn;

    conn = &r->conn[subscriber];

    conn->client = r;
    conn->subscriber = subscriber;
    conn->fd = (ngx_socket_t) -1;

    ngx_queue_init(&conn->setup);
    ngx_queue_init(&conn->setup_sent);
    ngx_queue_init(&conn->waiting);
    ngx_queue_init(&conn->sent);
    ngx_queue_init(&conn->refused);

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
        ngx_xmpp_redis_probe_tick(conn->client);
        break;

    case ngx_xmpp_redis_st_closed:
        break;
    }
}


/* begins to connect an idle connection; failures are handled here */
void
ngx_xmpp_redis_conn_start(ngx_xmpp_redis_conn_t *conn)
{
    ngx_int_t               rc;
    ngx_err_t               err;
    ngx_addr_t             *addr;
    ngx_connection_t       *c;
    ngx_xmpp_redis_t       *r;
    ngx_peer_connection_t   pc;

    r = conn->client;

    addr = &r->conf.addr[conn->addr % r->conf.naddrs];

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

    ngx_add_timer(&conn->timer, r->conf.connect_timeout);

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

    if (conn->down) {
        ngx_log_error(NGX_LOG_NOTICE, r->log, 0,
                      "xmpp redis \"%V\": %s connection is back after %M ms",
                      &r->conf.url, conn->subscriber ? "subscriber" : "command",
                      ngx_current_msec - conn->down_at);

    } else {
        ngx_log_error(NGX_LOG_INFO, r->log, 0,
                      "xmpp redis \"%V\": %s connection is ready",
                      &r->conf.url,
                      conn->subscriber ? "subscriber" : "command");
    }

    conn->down = 0;
    conn->reasons = 0;

    if (conn->subscriber) {
        ngx_xmpp_redis_probe_ready(r);
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

    if (conn->subscriber) {
        ngx_xmpp_redis_probe_reset(r);
    }

    if (was_ready && r->conf.state) {
        r->conf.state(r->conf.data, conn->subscriber, 0);
    }

    if (conn->state == ngx_xmpp_redis_st_idle) {
        ngx_xmpp_redis_retry(conn, conn->attempts == 0
                                   && reason != ngx_xmpp_redis_refused
                                   && reason != ngx_xmpp_redis_loading
                                   && reason != ngx_xmpp_redis_replica);
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


static void
ngx_xmpp_redis_log_away(ngx_xmpp_redis_conn_t *conn,
    ngx_xmpp_redis_reason_e reason, ngx_err_t err, ngx_str_t *detail)
{
    char                     *name, *advice;
    ngx_str_t                 text;
    ngx_uint_t                bit, level;
    ngx_xmpp_redis_t         *r;
    ngx_xmpp_redis_reason_t  *why;

    r = conn->client;

    if (!conn->down) {
        conn->down = 1;
        conn->down_at = ngx_current_msec;
        conn->logged_at = ngx_current_msec;
    }

    bit = (ngx_uint_t) 1 << reason;

    if ((conn->reasons & bit)
        && ngx_current_msec - conn->logged_at < NGX_XMPP_REDIS_REMIND)
    {
        ngx_log_debug2(NGX_LOG_DEBUG_CORE, r->log, err,
                       "xmpp redis away, subscriber:%ui reason:%d",
                       conn->subscriber, reason);
        return;
    }

    conn->reasons |= bit;
    conn->logged_at = ngx_current_msec;

    why = &ngx_xmpp_redis_reasons[reason];
    name = conn->subscriber ? "subscriber" : "command";
    level = (reason == ngx_xmpp_redis_shutdown) ? NGX_LOG_INFO : NGX_LOG_ERR;

    if (detail) {
        text = *detail;
        text.len = ngx_min(text.len, 200);

        /* one reason for all that may be wrong with address and user */

        advice = (reason == ngx_xmpp_redis_refused)
                 ? ngx_xmpp_redis_advice(&text) : NULL;

        ngx_log_error(level, r->log, err,
                      "xmpp redis \"%V\": %s connection %s, \"%V\"; %s",
                      &r->conf.url, name, why->what, &text,
                      advice ? advice : why->advice);

    } else {
        ngx_log_error(level, r->log, err,
                      "xmpp redis \"%V\": %s connection %s; %s",
                      &r->conf.url, name, why->what, why->advice);
    }
}


/* the next attempt: at once after a good time, else with a growing delay */
static void
ngx_xmpp_redis_retry(ngx_xmpp_redis_conn_t *conn, ngx_uint_t at_once)
{
    ngx_uint_t  i;
    ngx_msec_t  delay;

    if (at_once) {
        conn->attempts = 1;
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


/* gives back the socket, the reader and the events, in whatever state */
static void
ngx_xmpp_redis_disconnect(ngx_xmpp_redis_conn_t *conn)
{
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
