/*
 * The connection under a stream, whatever transport it is of: reading.
 *
 * Bytes go from the worker's one buffer through the transport, which may have
 * frames around them, to the parser.  While the stream is parked nothing is
 * read, and what was not taken is kept in a heap block (rest) until the stream
 * is resumed.  When input runs dry the parser gives its context back: idle is
 * the normal state.
 *
 *     ngx_xmpp_socket.c         reading
 *     ngx_xmpp_socket_out.c     writing
 *     ngx_xmpp_socket_close.c   the end
 */


#include "ngx_xmpp_socket.h"


/* reads of one stream before others get their turn */
#define NGX_XMPP_SOCKET_READS         16


static void ngx_xmpp_socket_recv(ngx_xmpp_stream_t *st);
static void ngx_xmpp_socket_dry(ngx_xmpp_stream_t *st);
static ngx_int_t ngx_xmpp_socket_feed(ngx_xmpp_stream_t *st, u_char **pos,
    u_char *last);
static ngx_int_t ngx_xmpp_socket_rest(ngx_xmpp_stream_t *st);
static void ngx_xmpp_socket_idle(ngx_xmpp_stream_t *st);
static void ngx_xmpp_socket_watch(ngx_xmpp_stream_t *st);


/* an end without a stream error, as $xmpp_close names it */

static ngx_str_t  ngx_xmpp_socket_reused = ngx_string("reused");


void
ngx_xmpp_socket_start(ngx_xmpp_stream_t *st)
{
    ngx_connection_t  *c;

    c = st->connection;

    c->read->handler = st->transport->read;
    c->write->handler = st->transport->write;

    st->tls = (c->ssl != NULL);

    if (c->ssl) {

        /* gathered bytes are at the same place only by chance on a retry */

        SSL_set_mode(c->ssl->connection, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }

    ngx_xmpp_socket_deadline(st);

    /* until authentication, nginx may close it for others' sake */

    ngx_reusable_connection(c, 1);
}


void
ngx_xmpp_socket_deadline(ngx_xmpp_stream_t *st)
{
    ngx_msec_int_t  left;

    left = (ngx_msec_int_t) (st->deadline - ngx_current_msec);

    ngx_add_timer(st->connection->read,
                  (left > 0) ? (ngx_msec_t) left : 1);
}


void
ngx_xmpp_socket_read(ngx_xmpp_stream_t *st)
{
    ngx_event_t       *rev;
    ngx_connection_t  *c;

    c = st->connection;
    rev = c->read;

    if (c->close) {
        /* nginx needs the slot, or its patience with a shutdown is over */

        if (st->reason == NULL) {
            st->reason = &ngx_xmpp_socket_reused;
        }

        /* at once: a client's answer to the end of TLS is not waited for */

        if (c->ssl) {
            c->ssl->no_wait_shutdown = 1;
        }

        ngx_reusable_connection(c, 0);
        st->transport->finalize(st, NGX_STREAM_OK);
        return;
    }

    if (st->state == NGX_XMPP_ST_CLOSED) {
        ngx_xmpp_socket_finish(st);
        return;
    }

    if (rev->timedout && st->state != NGX_XMPP_ST_BOUND) {
        rev->timedout = 0;

        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "client did not authenticate in time");

        ngx_xmpp_socket_close(st, NGX_XMPP_SE_CONNECTION_TIMEOUT,
                           "not authenticated in time");
        return;
    }

    if (rev->timedout) {
        rev->timedout = 0;
        ngx_xmpp_socket_watch(st);
        return;
    }

    if (st->parked) {
        return;
    }

    if (st->securing) {

        if (st->out == NULL) {
            st->transport->secure(st);
        }

        return;
    }

    if (st->rest && ngx_xmpp_socket_rest(st) != NGX_OK) {
        return;
    }

    ngx_xmpp_socket_recv(st);
}


/* reads and feeds until the socket is dry, the stream parked or others wait */

static void
ngx_xmpp_socket_recv(ngx_xmpp_stream_t *st)
{
    u_char            *pos, *last;
    ssize_t            n;
    ngx_int_t          rc;
    ngx_uint_t         reads;
    ngx_connection_t  *c;

    c = st->connection;

    for (reads = 0; reads < NGX_XMPP_SOCKET_READS; reads++) {

        pos = st->worker->recv;

        n = c->recv(c, pos, NGX_XMPP_SOCKET_BUFFER);

        if (n == NGX_AGAIN) {
            ngx_xmpp_socket_dry(st);
            return;
        }

        if (n == 0 || n == NGX_ERROR) {
            ngx_xmpp_socket_close(st, NGX_XMPP_SE_DROP, NULL);
            return;
        }

        st->worker->stats->counters.bytes[NGX_XMPP_STATS_RECEIVED] += n;
        st->heard = ngx_current_msec;
        last = pos + n;

        rc = ngx_xmpp_socket_feed(st, &pos, last);

        if (rc == NGX_AGAIN && pos != last
            && ngx_xmpp_socket_keep(st, pos, last) != NGX_OK)
        {
            ngx_xmpp_socket_close(st, NGX_XMPP_SE_INTERNAL_SERVER_ERROR, NULL);
            return;
        }

        if (rc != NGX_OK) {
            return;
        }

        /* nginx's recv() has seen the end: with TLS, to ask is a read() more */

        if (!c->read->ready) {
            ngx_xmpp_socket_dry(st);
            return;
        }
    }

    ngx_xmpp_socket_resume(st);
}


static void
ngx_xmpp_socket_dry(ngx_xmpp_stream_t *st)
{
    ngx_xmpp_socket_idle(st);

    if (ngx_handle_read_event(st->connection->read, 0) != NGX_OK) {
        ngx_xmpp_socket_close(st, NGX_XMPP_SE_DROP, NULL);
    }
}


static ngx_int_t
ngx_xmpp_socket_feed(ngx_xmpp_stream_t *st, u_char **pos, u_char *last)
{
    ngx_int_t  rc;

    st->feeding = 1;
    rc = ngx_xmpp_stream_input(st, pos, last);
    st->feeding = 0;

    return rc;
}


ngx_int_t
ngx_xmpp_socket_keep(ngx_xmpp_stream_t *st, u_char *pos, u_char *last)
{
    st->rest = ngx_alloc(last - pos, st->connection->log);
    if (st->rest == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(st->rest, pos, last - pos);

    st->rest_pos = st->rest;
    st->rest_end = st->rest + (last - pos);

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_socket_rest(ngx_xmpp_stream_t *st)
{
    ngx_int_t  rc;

    rc = ngx_xmpp_socket_feed(st, &st->rest_pos, st->rest_end);

    if (st->rest_pos == st->rest_end || rc == NGX_DONE) {
        ngx_free(st->rest);
        st->rest = NULL;
    }

    return rc;
}


/* nothing more to read: the normal state of most streams */

static void
ngx_xmpp_socket_idle(ngx_xmpp_stream_t *st)
{
    ngx_connection_t  *c;

    ngx_xmpp_stream_idle(st);

    if (st->state != NGX_XMPP_ST_BOUND || st->watched) {
        return;
    }

    /* bound: the deadline is over */

    c = st->connection;

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    st->watched = 1;
    ngx_xmpp_socket_watch(st);
}


/* the timer of reading: how long the client was not heard of */

static void
ngx_xmpp_socket_watch(ngx_xmpp_stream_t *st)
{
    ngx_msec_t  left;

    left = ngx_xmpp_idle_check(st);

    if (left) {
        ngx_add_timer(st->connection->read, left);
    }
}


void
ngx_xmpp_socket_resume(ngx_xmpp_stream_t *st)
{
    st->parked = 0;

    if (st->feeding || st->is_posted) {
        return;
    }

    st->is_posted = 1;
    ngx_queue_insert_tail(&st->worker->ready, &st->posted);
    ngx_xmpp_worker_post(st->worker);
}


void
ngx_xmpp_socket_ready(ngx_xmpp_stream_t *st)
{
    if (st->handshaking) {

        /* nothing can be said before TLS has begun */

        if (st->state == NGX_XMPP_ST_CLOSED) {
            st->transport->finalize(st, NGX_STREAM_OK);
        }

        return;
    }

    ngx_xmpp_socket_read(st);
}
