/*
 * The connection under a stream: writing.
 *
 * Packets are queued by reference; at the end of the event-loop turn the small
 * ones are gathered into one buffer, so that a turn costs one write, one TLS
 * record.  The queue is bounded in bytes and in time: a client that stops
 * reading is dropped, and nobody waits for it.
 */


#include "ngx_xmpp_socket.h"
#include "ngx_xmpp_frame.h"


/* what a packet takes at the least, so that small ones are bounded, too */
#define NGX_XMPP_SOCKET_PLACE                                                 \
    (sizeof(ngx_xmpp_out_t) + sizeof(ngx_xmpp_packet_t))

/* bytes before those of the packet */
#define ngx_xmpp_socket_head(out)                                             \
    ((out)->framed ? ngx_xmpp_frame_head_size((out)->len) : 0)


static size_t ngx_xmpp_socket_backlog(ngx_xmpp_stream_t *st);
static ngx_int_t ngx_xmpp_socket_admit(ngx_xmpp_stream_t *st, size_t len);
static ngx_int_t ngx_xmpp_socket_relieve(ngx_xmpp_stream_t *st, size_t len,
    size_t max);
static ngx_int_t ngx_xmpp_socket_put(ngx_xmpp_stream_t *st,
    ngx_xmpp_packet_t *pkt, size_t start, size_t len, ngx_uint_t framed);
static void ngx_xmpp_socket_written(ngx_xmpp_stream_t *st);
static size_t ngx_xmpp_socket_gather(ngx_xmpp_stream_t *st, u_char **buf);
static void ngx_xmpp_socket_sent(ngx_xmpp_stream_t *st, size_t n);


/* ends without a stream error, as $xmpp_close names them */

static ngx_str_t  ngx_xmpp_socket_timeout = ngx_string("timeout");
static ngx_str_t  ngx_xmpp_socket_overflow = ngx_string("overflow");


/* a packet for the client; NGX_OK or NGX_ERROR: it is closing */

ngx_int_t
ngx_xmpp_socket_send(ngx_xmpp_stream_t *st, ngx_xmpp_packet_t *pkt)
{
    return (ngx_xmpp_socket_admit(st, pkt->len) == NGX_OK)
           ? ngx_xmpp_socket_queue(st, pkt) : NGX_ERROR;
}


ngx_int_t
ngx_xmpp_socket_send_raw(ngx_xmpp_stream_t *st, ngx_xmpp_packet_t *pkt)
{
    return (ngx_xmpp_socket_admit(st, pkt->len) == NGX_OK)
           ? ngx_xmpp_socket_queue_raw(st, pkt) : NGX_ERROR;
}


/* whether the queue takes so many bytes; NGX_OK or NGX_ERROR: it closes */

static ngx_int_t
ngx_xmpp_socket_admit(ngx_xmpp_stream_t *st, size_t len)
{
    if (st->state == NGX_XMPP_ST_CLOSED) {
        return NGX_ERROR;
    }

    /*
     * What the socket would take is no backlog, and a packet by itself is
     * none either: escaping may make it longer than xmpp_max_stanza.
     */

    if (ngx_xmpp_socket_relieve(st, len, st->conf->output_queue)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (st->out && ngx_xmpp_socket_backlog(st) + len
                   > st->conf->output_queue)
    {
        ngx_log_error(NGX_LOG_INFO, st->connection->log, 0,
                      "client does not read: %uz bytes are waiting for it",
                      st->out_size);

        st->reason = &ngx_xmpp_socket_overflow;
        ngx_xmpp_socket_close(st, NGX_XMPP_SE_DROP, NULL);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_uint_t
ngx_xmpp_socket_room(ngx_xmpp_stream_t *st, size_t len)
{
    size_t  max;

    max = st->conf->output_queue / 2;

    return st->state != NGX_XMPP_ST_CLOSED
           && ngx_xmpp_socket_relieve(st, len, max) == NGX_OK
           && (st->out == NULL || ngx_xmpp_socket_backlog(st) + len <= max);
}


/* what waits takes: the place of a Pong is many times its two bytes */

static size_t
ngx_xmpp_socket_backlog(ngx_xmpp_stream_t *st)
{
    return ngx_max(st->out_size, st->out_places * NGX_XMPP_SOCKET_PLACE);
}


/* more than max would wait: the socket gets what it takes; NGX_ERROR: closed */

static ngx_int_t
ngx_xmpp_socket_relieve(ngx_xmpp_stream_t *st, size_t len, size_t max)
{
    if (ngx_xmpp_socket_backlog(st) + len > max
        && st->connection->write->ready
        && ngx_xmpp_socket_flush(st) == NGX_ERROR)
    {
        ngx_xmpp_socket_close(st, NGX_XMPP_SE_DROP, NULL);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_xmpp_socket_queue(ngx_xmpp_stream_t *st, ngx_xmpp_packet_t *pkt)
{
    u_char                 *start;
    ngx_uint_t              n;
    ngx_xmpp_xml_cursor_t   c;

    if (!st->transport->framed) {
        return ngx_xmpp_socket_queue_raw(st, pkt);
    }

    if (pkt->stanzas <= 1) {
        return ngx_xmpp_socket_put(st, pkt, 0, pkt->len, 1);
    }

    /* RFC 7395, 3.3.3: one element in each message */

    ngx_xmpp_xml_cursor_init(&c, pkt->data, pkt->len);

    n = pkt->stanzas;
    start = pkt->data;

    while (n && ngx_xmpp_xml_cursor_next(&c) == NGX_OK) {

        if (c.open) {
            continue;
        }

        if (ngx_xmpp_socket_put(st, pkt, start - pkt->data, c.pos - start, 1)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        start = c.pos;
        n--;
    }

    return NGX_OK;
}


ngx_int_t
ngx_xmpp_socket_queue_raw(ngx_xmpp_stream_t *st, ngx_xmpp_packet_t *pkt)
{
    return ngx_xmpp_socket_put(st, pkt, 0, pkt->len, 0);
}


/* puts len bytes of a packet into the queue, with a reference of its own */

static ngx_int_t
ngx_xmpp_socket_put(ngx_xmpp_stream_t *st, ngx_xmpp_packet_t *pkt,
    size_t start, size_t len, ngx_uint_t framed)
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
    out->start = start;
    out->len = len;
    out->framed = framed;

    *st->last_out = out;
    st->last_out = &out->next;
    st->out_places++;
    st->out_size += ngx_xmpp_socket_head(out) + len;
    w->stats->gauges.output += ngx_xmpp_socket_head(out) + len;

    /* a full socket calls the write handler by itself */

    if (!st->is_dirty && st->connection->write->ready) {
        st->is_dirty = 1;
        ngx_queue_insert_tail(&w->dirty, &st->dirty);
        ngx_xmpp_worker_post(w);
    }

    return NGX_OK;
}


void
ngx_xmpp_socket_write(ngx_xmpp_stream_t *st)
{
    ngx_event_t       *wev;
    ngx_connection_t  *c;

    c = st->connection;
    wev = c->write;

    if (wev->timedout) {
        wev->timedout = 0;

        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "client did not read in time");

        if (st->reason == NULL) {
            st->reason = &ngx_xmpp_socket_timeout;
        }

        ngx_xmpp_socket_discard(st);
        ngx_xmpp_socket_close(st, NGX_XMPP_SE_DROP, NULL);
        return;
    }

    if (st->state == NGX_XMPP_ST_CLOSED) {
        ngx_xmpp_socket_finish(st);
        return;
    }

    switch (ngx_xmpp_socket_flush(st)) {

    case NGX_OK:

        /* <proceed/> is out: the next thing is TLS */

        if (st->securing) {
            st->transport->secure(st);
        }

        return;

    case NGX_AGAIN:
        return;

    default:
        ngx_xmpp_socket_close(st, NGX_XMPP_SE_DROP, NULL);
    }
}


ngx_int_t
ngx_xmpp_socket_flush(ngx_xmpp_stream_t *st)
{
    u_char            *buf;
    size_t             size;
    ssize_t            n;
    ngx_connection_t  *c;

    c = st->connection;

    while (st->out) {

        size = ngx_xmpp_socket_gather(st, &buf);

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

        ngx_xmpp_socket_sent(st, n);

        /* it reads, if slowly: the clock starts anew */

        if (c->write->timer_set) {
            ngx_del_timer(c->write);
        }
    }

    if (st->written) {
        ngx_xmpp_socket_written(st);
    }

    return NGX_OK;
}


/* the socket has taken all: whoever waits for that is told, once */

static void
ngx_xmpp_socket_written(ngx_xmpp_stream_t *st)
{
    void  (*written)(ngx_xmpp_session_t *xs);

    written = st->written;
    st->written = NULL;

    if (st->session && st->state != NGX_XMPP_ST_CLOSED) {
        written(st->session);
    }
}


/*
 * The next bytes to write: what is left of one big packet, or of the last one,
 * as it is; or many small ones, with the heads of their frames.
 */

static size_t
ngx_xmpp_socket_gather(ngx_xmpp_stream_t *st, u_char **buf)
{
    u_char          *p, *last, head[NGX_XMPP_FRAME_HEAD];
    size_t           len, size, offset;
    ngx_xmpp_out_t  *out;

    out = st->out;
    size = ngx_xmpp_socket_head(out);
    offset = st->out_sent;

    if (offset >= size) {
        len = out->len - (offset - size);

        if (out->next == NULL || len >= NGX_XMPP_SOCKET_BUFFER) {
            *buf = out->packet->data + out->start + (offset - size);
            return len;
        }
    }

    p = st->worker->send;
    last = p + NGX_XMPP_SOCKET_BUFFER;

    for ( /* void */ ; out && p < last; out = out->next) {

        size = ngx_xmpp_socket_head(out);

        if (offset < size) {
            ngx_xmpp_frame_head(head, NGX_XMPP_FRAME_TEXT, out->len);

            len = ngx_min(size - offset, (size_t) (last - p));
            p = ngx_cpymem(p, head + offset, len);
            offset += len;
        }

        offset -= ngx_min(size, offset);

        len = ngx_min(out->len - offset, (size_t) (last - p));
        p = ngx_cpymem(p, out->packet->data + out->start + offset, len);
        offset = 0;
    }

    *buf = st->worker->send;

    return p - st->worker->send;
}


static void
ngx_xmpp_socket_sent(ngx_xmpp_stream_t *st, size_t n)
{
    size_t           len;
    ngx_xmpp_out_t  *out;

    st->out_size -= n;
    st->worker->stats->gauges.output -= n;

    while (n) {
        out = st->out;
        len = ngx_xmpp_socket_head(out) + out->len - st->out_sent;

        if (n < len) {
            st->out_sent += n;
            return;
        }

        n -= len;
        st->out_sent = 0;
        st->out_places--;

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
ngx_xmpp_socket_discard(ngx_xmpp_stream_t *st)
{
    /* the inbox keeps what goes here, for another session */

    if (st->session) {
        ngx_xmpp_inbox_discard(st->session);
    }

    if (st->out_size) {
        ngx_xmpp_socket_sent(st, st->out_size);
    }
}


void
ngx_xmpp_socket_flush_posted(ngx_xmpp_stream_t *st)
{
    if (!st->handshaking) {
        ngx_xmpp_socket_write(st);
    }
}
