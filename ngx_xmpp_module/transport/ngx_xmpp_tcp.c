/*
 * TCP: reading and writing.
 *
 * Read: bytes go from the worker's one buffer through the parser.  While the
 * stream is parked nothing is read, and what the parser has not taken is kept
 * in a heap block (rest) until the stream is resumed.  When input runs dry
 * the parser gives its context back: idle is the normal state.
 *
 * Write: packets are queued by reference; at the end of the event-loop turn
 * the small ones are gathered into one buffer, so that a turn costs one
 * write, one TLS record.  The queue is bounded in bytes and in time: a client
 * that stops reading is dropped, and nobody waits for it.
 */


#include "ngx_xmpp_tcp.h"


/* reads of one stream before others get their turn */
#define NGX_XMPP_TCP_READS            16
#define NGX_XMPP_TCP_BUFFER           16384


static void ngx_xmpp_tcp_read(ngx_xmpp_stream_t *st);
static void ngx_xmpp_tcp_dry(ngx_xmpp_stream_t *st);
static ngx_int_t ngx_xmpp_tcp_feed(ngx_xmpp_stream_t *st, u_char **pos,
    u_char *last);
static ngx_int_t ngx_xmpp_tcp_keep(ngx_xmpp_stream_t *st, u_char *pos,
    u_char *last);
static ngx_int_t ngx_xmpp_tcp_rest(ngx_xmpp_stream_t *st);
static void ngx_xmpp_tcp_idle(ngx_xmpp_stream_t *st);
static void ngx_xmpp_tcp_watch(ngx_xmpp_stream_t *st);
static ngx_int_t ngx_xmpp_tcp_send(ngx_xmpp_stream_t *st,
    ngx_xmpp_packet_t *pkt);
static ngx_uint_t ngx_xmpp_tcp_room(ngx_xmpp_stream_t *st, size_t len);
static ngx_int_t ngx_xmpp_tcp_relieve(ngx_xmpp_stream_t *st, size_t len,
    size_t max);
static ngx_int_t ngx_xmpp_tcp_nonza(ngx_xmpp_stream_t *st, const char *name,
    ngx_xmpp_xml_t *e);
static void ngx_xmpp_tcp_resume(ngx_xmpp_stream_t *st);
static void ngx_xmpp_tcp_ready(ngx_xmpp_stream_t *st);
static void ngx_xmpp_tcp_flush_posted(ngx_xmpp_stream_t *st);
static void ngx_xmpp_tcp_written(ngx_xmpp_stream_t *st);
static size_t ngx_xmpp_tcp_gather(ngx_xmpp_stream_t *st, u_char **buf);
static void ngx_xmpp_tcp_sent(ngx_xmpp_stream_t *st, size_t n);


const ngx_xmpp_transport_t  ngx_xmpp_tcp_transport = {
    ngx_string("tcp"),
    NGX_XMPP_TRANSPORT_TCP,
    ngx_xmpp_tcp_open,
    ngx_xmpp_tcp_nonza,
    ngx_xmpp_tcp_send,
    ngx_xmpp_tcp_room,
    ngx_xmpp_tcp_close,
    ngx_xmpp_tcp_resume,
    ngx_xmpp_tls_binding,
    ngx_xmpp_tls_names,
    ngx_xmpp_tls_secured,
    ngx_xmpp_tcp_ready,
    ngx_xmpp_tcp_flush_posted
};


/* ends without a stream error, as $xmpp_close names them */

static ngx_str_t  ngx_xmpp_tcp_timeout = ngx_string("timeout");
static ngx_str_t  ngx_xmpp_tcp_overflow = ngx_string("overflow");
static ngx_str_t  ngx_xmpp_tcp_reused = ngx_string("reused");


void
ngx_xmpp_tcp_start(ngx_xmpp_stream_t *st)
{
    ngx_buf_t         *b;
    ngx_connection_t  *c;

    c = st->nginx->connection;

    c->read->handler = ngx_xmpp_tcp_read_handler;
    c->write->handler = ngx_xmpp_tcp_write_handler;

    st->tls = (c->ssl != NULL);

    if (c->ssl) {

        /* gathered bytes are at the same place only by chance on a retry */

        SSL_set_mode(c->ssl->connection, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }

    ngx_xmpp_tcp_deadline(st);

    /* until authentication, nginx may close it for others' sake */

    ngx_reusable_connection(c, 1);

    /* what a preread module has read ahead */

    b = c->buffer;

    if (b && b->pos != b->last) {
        if (ngx_xmpp_tcp_keep(st, b->pos, b->last) != NGX_OK) {
            ngx_stream_finalize_session(st->nginx,
                                        NGX_STREAM_INTERNAL_SERVER_ERROR);
            return;
        }

        b->pos = b->last;
    }

    ngx_xmpp_tcp_read_handler(c->read);
}


void
ngx_xmpp_tcp_deadline(ngx_xmpp_stream_t *st)
{
    ngx_msec_int_t  left;

    left = (ngx_msec_int_t) (st->deadline - ngx_current_msec);

    ngx_add_timer(st->nginx->connection->read,
                  (left > 0) ? (ngx_msec_t) left : 1);
}


void
ngx_xmpp_tcp_read_handler(ngx_event_t *rev)
{
    ngx_connection_t      *c;
    ngx_xmpp_stream_t     *st;
    ngx_stream_session_t  *s;

    c = rev->data;
    s = c->data;
    st = ngx_stream_get_module_ctx(s, ngx_xmpp_module);

    if (c->close) {
        /* nginx needs the slot, or its patience with a shutdown is over */

        if (st->reason == NULL) {
            st->reason = &ngx_xmpp_tcp_reused;
        }

        /* at once: a client's answer to the end of TLS is not waited for */

        if (c->ssl) {
            c->ssl->no_wait_shutdown = 1;
        }

        ngx_reusable_connection(c, 0);
        ngx_stream_finalize_session(s, NGX_STREAM_OK);
        return;
    }

    if (st->state == NGX_XMPP_ST_CLOSED) {
        ngx_xmpp_tcp_finish(st);
        return;
    }

    if (rev->timedout && st->state != NGX_XMPP_ST_BOUND) {
        rev->timedout = 0;

        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "client did not authenticate in time");

        ngx_xmpp_tcp_close(st, NGX_XMPP_SE_CONNECTION_TIMEOUT,
                           "not authenticated in time");
        return;
    }

    if (rev->timedout) {
        rev->timedout = 0;
        ngx_xmpp_tcp_watch(st);
        return;
    }

    if (st->parked) {
        return;
    }

    if (st->securing) {

        if (st->out == NULL) {
            ngx_xmpp_tls_start(st);
        }

        return;
    }

    if (st->rest && ngx_xmpp_tcp_rest(st) != NGX_OK) {
        return;
    }

    ngx_xmpp_tcp_read(st);
}


/* reads and feeds until the socket is dry, the stream parked or others wait */

static void
ngx_xmpp_tcp_read(ngx_xmpp_stream_t *st)
{
    u_char            *pos, *last;
    ssize_t            n;
    ngx_int_t          rc;
    ngx_uint_t         reads;
    ngx_connection_t  *c;

    c = st->nginx->connection;

    for (reads = 0; reads < NGX_XMPP_TCP_READS; reads++) {

        pos = st->worker->recv;

        n = c->recv(c, pos, NGX_XMPP_TCP_BUFFER);

        if (n == NGX_AGAIN) {
            ngx_xmpp_tcp_dry(st);
            return;
        }

        if (n == 0 || n == NGX_ERROR) {
            ngx_xmpp_tcp_close(st, NGX_XMPP_SE_DROP, NULL);
            return;
        }

        st->nginx->received += n;
        st->worker->stats->counters.bytes[NGX_XMPP_STATS_RECEIVED] += n;
        st->heard = ngx_current_msec;
        last = pos + n;

        rc = ngx_xmpp_tcp_feed(st, &pos, last);

        if (rc == NGX_AGAIN && pos != last
            && ngx_xmpp_tcp_keep(st, pos, last) != NGX_OK)
        {
            ngx_xmpp_tcp_close(st, NGX_XMPP_SE_INTERNAL_SERVER_ERROR, NULL);
            return;
        }

        if (rc != NGX_OK) {
            return;
        }

        /* nginx's recv() has seen the end: with TLS, to ask is a read() more */

        if (!c->read->ready) {
            ngx_xmpp_tcp_dry(st);
            return;
        }
    }

    ngx_xmpp_tcp_resume(st);
}


static void
ngx_xmpp_tcp_dry(ngx_xmpp_stream_t *st)
{
    ngx_xmpp_tcp_idle(st);

    if (ngx_handle_read_event(st->nginx->connection->read, 0) != NGX_OK) {
        ngx_xmpp_tcp_close(st, NGX_XMPP_SE_DROP, NULL);
    }
}


/* NGX_OK: go on reading; NGX_AGAIN: parked; NGX_DONE */

static ngx_int_t
ngx_xmpp_tcp_feed(ngx_xmpp_stream_t *st, u_char **pos, u_char *last)
{
    ngx_int_t  rc;

    st->feeding = 1;
    rc = ngx_xmpp_stream_input(st, pos, last);
    st->feeding = 0;

    if (rc != NGX_DONE || !st->securing) {
        return rc;
    }

    /* RFC 6120, 5.4.3.3: only white space may follow <starttls/> */

    while (*pos < last
           && (**pos == ' ' || **pos == LF || **pos == CR || **pos == '\t'))
    {
        (*pos)++;
    }

    if (*pos == last) {
        ngx_xmpp_tls_proceed(st);
        return NGX_DONE;
    }

    ngx_log_error(NGX_LOG_INFO, st->nginx->connection->log, 0,
                  "client sent data behind <starttls/>");

    st->securing = 0;
    ngx_xmpp_tcp_close(st, NGX_XMPP_SE_POLICY_VIOLATION, NULL);

    return NGX_DONE;
}


/* keeps bytes that the parser has not taken; NGX_OK or NGX_ERROR */

static ngx_int_t
ngx_xmpp_tcp_keep(ngx_xmpp_stream_t *st, u_char *pos, u_char *last)
{
    st->rest = ngx_alloc(last - pos, st->nginx->connection->log);
    if (st->rest == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(st->rest, pos, last - pos);

    st->rest_pos = st->rest;
    st->rest_end = st->rest + (last - pos);

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_tcp_rest(ngx_xmpp_stream_t *st)
{
    ngx_int_t  rc;

    rc = ngx_xmpp_tcp_feed(st, &st->rest_pos, st->rest_end);

    if (st->rest_pos == st->rest_end || rc == NGX_DONE) {
        ngx_free(st->rest);
        st->rest = NULL;
    }

    return rc;
}


/* nothing more to read: the normal state of most streams */

static void
ngx_xmpp_tcp_idle(ngx_xmpp_stream_t *st)
{
    ngx_connection_t  *c;

    ngx_xmpp_stream_idle(st);

    if (st->state != NGX_XMPP_ST_BOUND || st->watched) {
        return;
    }

    /* bound: the deadline is over */

    c = st->nginx->connection;

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    st->watched = 1;
    ngx_xmpp_tcp_watch(st);
}


/* the timer of reading: how long the client was not heard of */

static void
ngx_xmpp_tcp_watch(ngx_xmpp_stream_t *st)
{
    ngx_msec_t  left;

    left = ngx_xmpp_idle_check(st);

    if (left) {
        ngx_add_timer(st->nginx->connection->read, left);
    }
}


static void
ngx_xmpp_tcp_resume(ngx_xmpp_stream_t *st)
{
    st->parked = 0;

    if (st->feeding || st->is_posted) {
        return;
    }

    st->is_posted = 1;
    ngx_queue_insert_tail(&st->worker->ready, &st->posted);
    ngx_xmpp_worker_post(st->worker);
}


static void
ngx_xmpp_tcp_ready(ngx_xmpp_stream_t *st)
{
    if (st->handshaking) {

        /* nothing can be said before TLS has begun */

        if (st->state == NGX_XMPP_ST_CLOSED) {
            ngx_stream_finalize_session(st->nginx, NGX_STREAM_OK);
        }

        return;
    }

    ngx_xmpp_tcp_read_handler(st->nginx->connection->read);
}


static void
ngx_xmpp_tcp_flush_posted(ngx_xmpp_stream_t *st)
{
    if (!st->handshaking) {
        ngx_xmpp_tcp_write_handler(st->nginx->connection->write);
    }
}


static ngx_int_t
ngx_xmpp_tcp_nonza(ngx_xmpp_stream_t *st, const char *name, ngx_xmpp_xml_t *e)
{
    u_char             *p;
    size_t              len, size;
    ngx_int_t           rc;
    ngx_xmpp_xml_t     *child;
    ngx_xmpp_packet_t  *pkt;

    len = ngx_strlen(name);
    size = 2 * len + sizeof("<stream:></stream:>") - 1;

    for (child = e->children; child; child = child->next) {
        size += ngx_xmpp_xml_size(child, NULL);
    }

    pkt = ngx_xmpp_packet_alloc(st->worker->log, size);
    if (pkt == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(pkt->data, "<stream:", sizeof("<stream:") - 1);
    p = ngx_cpymem(p, name, len);
    *p++ = '>';

    for (child = e->children; child; child = child->next) {
        p = ngx_xmpp_xml_write(p, child, NULL);
    }

    p = ngx_cpymem(p, "</stream:", sizeof("</stream:") - 1);
    p = ngx_cpymem(p, name, len);
    *p = '>';

    rc = ngx_xmpp_tcp_queue(st, pkt);

    ngx_xmpp_packet_release(pkt);

    return rc;
}


/* a packet for the client; NGX_OK or NGX_ERROR: it is closing */

static ngx_int_t
ngx_xmpp_tcp_send(ngx_xmpp_stream_t *st, ngx_xmpp_packet_t *pkt)
{
    if (st->state == NGX_XMPP_ST_CLOSED) {
        return NGX_ERROR;
    }

    /*
     * What the socket would take is no backlog, and a packet by itself is
     * none either: escaping may make it longer than xmpp_max_stanza.
     */

    if (ngx_xmpp_tcp_relieve(st, pkt->len, st->conf->output_queue) != NGX_OK) {
        return NGX_ERROR;
    }

    if (st->out_size && st->out_size + pkt->len > st->conf->output_queue) {
        ngx_log_error(NGX_LOG_INFO, st->nginx->connection->log, 0,
                      "client does not read: %uz bytes are waiting for it",
                      st->out_size);

        st->reason = &ngx_xmpp_tcp_overflow;
        ngx_xmpp_tcp_close(st, NGX_XMPP_SE_DROP, NULL);
        return NGX_ERROR;
    }

    return ngx_xmpp_tcp_queue(st, pkt);
}


static ngx_uint_t
ngx_xmpp_tcp_room(ngx_xmpp_stream_t *st, size_t len)
{
    size_t  max;

    max = st->conf->output_queue / 2;

    return st->state != NGX_XMPP_ST_CLOSED
           && ngx_xmpp_tcp_relieve(st, len, max) == NGX_OK
           && (st->out_size == 0 || st->out_size + len <= max);
}


/* more than max would wait: the socket gets what it takes; NGX_ERROR: closed */

static ngx_int_t
ngx_xmpp_tcp_relieve(ngx_xmpp_stream_t *st, size_t len, size_t max)
{
    if (st->out_size + len > max
        && st->nginx->connection->write->ready
        && ngx_xmpp_tcp_flush(st) == NGX_ERROR)
    {
        ngx_xmpp_tcp_close(st, NGX_XMPP_SE_DROP, NULL);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_xmpp_tcp_queue(ngx_xmpp_stream_t *st, ngx_xmpp_packet_t *pkt)
{
    ngx_xmpp_out_t     *out;
    ngx_xmpp_worker_t  *w;

    w = st->worker;

    out = w->free_out;

    if (out) {
        w->free_out = out->next;

    } else {
        out = ngx_alloc(sizeof(ngx_xmpp_out_t), w->log);
        if (out == NULL) {
            return NGX_ERROR;
        }
    }

    pkt->refs++;
    out->packet = pkt;
    out->next = NULL;

    *st->last_out = out;
    st->last_out = &out->next;
    st->out_size += pkt->len;
    w->stats->gauges.output += pkt->len;

    /* a full socket calls the write handler by itself */

    if (!st->is_dirty && st->nginx->connection->write->ready) {
        st->is_dirty = 1;
        ngx_queue_insert_tail(&w->dirty, &st->dirty);
        ngx_xmpp_worker_post(w);
    }

    return NGX_OK;
}


void
ngx_xmpp_tcp_write_handler(ngx_event_t *wev)
{
    ngx_connection_t      *c;
    ngx_xmpp_stream_t     *st;
    ngx_stream_session_t  *s;

    c = wev->data;
    s = c->data;
    st = ngx_stream_get_module_ctx(s, ngx_xmpp_module);

    if (wev->timedout) {
        wev->timedout = 0;

        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "client did not read in time");

        if (st->reason == NULL) {
            st->reason = &ngx_xmpp_tcp_timeout;
        }

        ngx_xmpp_tcp_discard(st);
        ngx_xmpp_tcp_close(st, NGX_XMPP_SE_DROP, NULL);
        return;
    }

    if (st->state == NGX_XMPP_ST_CLOSED) {
        ngx_xmpp_tcp_finish(st);
        return;
    }

    switch (ngx_xmpp_tcp_flush(st)) {

    case NGX_OK:
        if (st->securing) {
            ngx_xmpp_tls_start(st);
        }

        return;

    case NGX_AGAIN:
        return;

    default:
        ngx_xmpp_tcp_close(st, NGX_XMPP_SE_DROP, NULL);
    }
}


ngx_int_t
ngx_xmpp_tcp_flush(ngx_xmpp_stream_t *st)
{
    u_char            *buf;
    size_t             size;
    ssize_t            n;
    ngx_connection_t  *c;

    c = st->nginx->connection;

    while (st->out) {

        size = ngx_xmpp_tcp_gather(st, &buf);

        n = c->send(c, buf, size);

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (n > 0) {
            st->worker->stats->counters.bytes[NGX_XMPP_STATS_SENT] += n;
        }

        if (n == NGX_AGAIN || n == 0) {
            if (!c->write->timer_set) {
                ngx_add_timer(c->write, st->conf->send_timeout);
            }

            return (ngx_handle_write_event(c->write, 0) == NGX_OK)
                   ? NGX_AGAIN : NGX_ERROR;
        }

        ngx_xmpp_tcp_sent(st, n);

        /* it reads, if slowly: the clock starts anew */

        if (c->write->timer_set) {
            ngx_del_timer(c->write);
        }
    }

    if (st->written) {
        ngx_xmpp_tcp_written(st);
    }

    return NGX_OK;
}


/* the socket has taken all: whoever waits for that is told, once */

static void
ngx_xmpp_tcp_written(ngx_xmpp_stream_t *st)
{
    void  (*written)(ngx_xmpp_session_t *xs);

    written = st->written;
    st->written = NULL;

    if (st->session && st->state != NGX_XMPP_ST_CLOSED) {
        written(st->session);
    }
}


/* the next bytes to write: one big packet as it is, or many small ones */

static size_t
ngx_xmpp_tcp_gather(ngx_xmpp_stream_t *st, u_char **buf)
{
    u_char          *p, *from;
    size_t           len, room, offset;
    ngx_xmpp_out_t  *out;

    out = st->out;
    len = out->packet->len - st->out_sent;

    if (out->next == NULL || len >= NGX_XMPP_TCP_BUFFER) {
        *buf = out->packet->data + st->out_sent;
        return len;
    }

    p = st->worker->send;
    room = NGX_XMPP_TCP_BUFFER;
    offset = st->out_sent;

    for ( /* void */ ; out && room; out = out->next) {
        from = out->packet->data + offset;
        len = ngx_min(out->packet->len - offset, room);

        p = ngx_cpymem(p, from, len);
        room -= len;
        offset = 0;
    }

    *buf = st->worker->send;

    return NGX_XMPP_TCP_BUFFER - room;
}


static void
ngx_xmpp_tcp_sent(ngx_xmpp_stream_t *st, size_t n)
{
    size_t           len;
    ngx_xmpp_out_t  *out;

    st->out_size -= n;
    st->worker->stats->gauges.output -= n;

    while (n) {
        out = st->out;
        len = out->packet->len - st->out_sent;

        if (n < len) {
            st->out_sent += n;
            return;
        }

        n -= len;
        st->out_sent = 0;

        st->out = out->next;
        if (st->out == NULL) {
            st->last_out = &st->out;
        }

        ngx_xmpp_packet_release(out->packet);
        out->next = st->worker->free_out;
        st->worker->free_out = out;
    }
}


void
ngx_xmpp_tcp_discard(ngx_xmpp_stream_t *st)
{
    /* the inbox keeps what goes here, for another session */

    if (st->session) {
        ngx_xmpp_inbox_discard(st->session);
    }

    if (st->out_size) {
        ngx_xmpp_tcp_sent(st, st->out_size);
    }
}
