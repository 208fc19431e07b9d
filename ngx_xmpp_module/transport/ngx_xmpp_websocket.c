/*
 * XMPP over WebSocket (RFC 7395): the connection of an HTTP request, taken
 * over once the handshake is answered, and the frames that come.
 *
 *     handshake -> 101 -> frames of text, one element in each message
 *                      -> Ping: Pong; Close, or <close/>: the end
 *
 * Held is nginx's request, by its count, for variables and the log: c->data
 * stays the request, and the stream is found by its context.  Its own event
 * handlers are not called any more.  At the end the request is freed, which
 * writes the line of access_log, and the connection is closed.
 *
 * A message may come in any fragments, and a fragment in any pieces: bytes get
 * rid of their mask where they were read and go on to the parser, so that no
 * message is ever put together.  The parser stops behind the element; what
 * follows in the message may only be white space.  So when a stanza is in
 * flight, what was not taken begins behind the element, masked as it came.
 *
 * The frames of others count against the limits with their heads: empty
 * fragments are not free.
 */


#include "ngx_xmpp_websocket.h"


static ngx_int_t ngx_xmpp_websocket_upgrade(ngx_xmpp_websocket_t *ws,
    u_char *accept);
static ngx_int_t ngx_xmpp_websocket_input(ngx_xmpp_stream_t *st, u_char **pos,
    u_char *last);
static ngx_int_t ngx_xmpp_websocket_head(ngx_xmpp_websocket_t *ws);
static ngx_int_t ngx_xmpp_websocket_data(ngx_xmpp_websocket_t *ws, u_char *pos,
    u_char *last);
static ngx_int_t ngx_xmpp_websocket_spaces(ngx_xmpp_websocket_t *ws,
    u_char **pos, u_char *last);
static ngx_int_t ngx_xmpp_websocket_message_end(ngx_xmpp_websocket_t *ws);
static ngx_int_t ngx_xmpp_websocket_control(ngx_xmpp_websocket_t *ws,
    u_char *pos, size_t n);
static ngx_int_t ngx_xmpp_websocket_left(ngx_xmpp_websocket_t *ws,
    u_char *payload, size_t len);
static ngx_uint_t ngx_xmpp_websocket_utf8(u_char *p, u_char *last);
static ngx_int_t ngx_xmpp_websocket_fail(ngx_xmpp_websocket_t *ws,
    ngx_uint_t code, const char *reason);
static size_t ngx_xmpp_websocket_binding(ngx_xmpp_stream_t *st,
    ngx_xmpp_binding_e type, u_char *buf);
static ngx_int_t ngx_xmpp_websocket_names(ngx_xmpp_stream_t *st,
    ngx_pool_t *pool, ngx_uint_t kinds, ngx_array_t *names);
static ngx_int_t ngx_xmpp_websocket_serves(ngx_xmpp_stream_t *st,
    ngx_xmpp_host_t *h);
static ngx_int_t ngx_xmpp_websocket_value(ngx_xmpp_stream_t *st,
    ngx_pool_t *pool, ngx_stream_complex_value_t *cv, ngx_str_t *value);
static void ngx_xmpp_websocket_finalize(ngx_xmpp_stream_t *st,
    ngx_uint_t status);
static void ngx_xmpp_websocket_read_handler(ngx_event_t *rev);
static void ngx_xmpp_websocket_write_handler(ngx_event_t *wev);
static u_char *ngx_xmpp_websocket_log_handler(ngx_http_request_t *r,
    ngx_http_request_t *sr, u_char *buf, size_t len);


const ngx_xmpp_transport_t  ngx_xmpp_websocket_transport = {
    ngx_string("websocket"),
    NGX_XMPP_TRANSPORT_WEBSOCKET,
    1,                                     /* framed */
    ngx_xmpp_websocket_open,
    ngx_xmpp_websocket_nonza,
    ngx_xmpp_socket_send,
    ngx_xmpp_socket_room,
    ngx_xmpp_websocket_close,
    ngx_xmpp_socket_resume,
    ngx_xmpp_websocket_binding,
    ngx_xmpp_websocket_names,
    NULL,                                  /* secure: see RFC 7395, 3.9 */
    NULL,                                  /* secured */
    ngx_xmpp_socket_ready,
    ngx_xmpp_socket_flush_posted,
    ngx_xmpp_websocket_input,
    ngx_xmpp_websocket_last_words,
    ngx_xmpp_websocket_serves,
    ngx_xmpp_websocket_value,
    ngx_xmpp_websocket_ping,
    ngx_xmpp_websocket_finalize,
    ngx_xmpp_websocket_read_handler,
    ngx_xmpp_websocket_write_handler
};


/* an end that the client has made, by a Close frame alone */

static ngx_str_t  ngx_xmpp_websocket_dropped = ngx_string("dropped");


ngx_int_t
ngx_xmpp_websocket_start(ngx_http_request_t *r,
    ngx_xmpp_websocket_main_conf_t *mcf, ngx_str_t *other, u_char *accept)
{
    ngx_connection_t          *c;
    ngx_xmpp_stream_t         *st;
    ngx_xmpp_websocket_t      *ws;
    ngx_http_core_loc_conf_t  *clcf;

    c = r->connection;

    ws = ngx_pcalloc(c->pool, sizeof(ngx_xmpp_websocket_t));
    if (ws == NULL) {
        return NGX_ERROR;
    }

    if (other->len) {
        ws->other.len = other->len;
        ws->other.data = ngx_pstrdup(c->pool, other);
        if (ws->other.data == NULL) {
            return NGX_ERROR;
        }
    }

    st = ngx_xmpp_stream_create(mcf->xmpp->worker, c,
                                &ngx_xmpp_websocket_transport, ws,
                                mcf->server);
    if (st == NULL) {
        return NGX_ERROR;
    }

    ws->stream = st;
    ws->request = r;

    ngx_http_set_ctx(r, ws, ngx_xmpp_websocket_module);

    ws->log_handler = r->log_handler;
    r->log_handler = ngx_xmpp_websocket_log_handler;

    r->keepalive = 0;
    r->main->count++;

    st->trusted = (c->ssl == NULL);

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->tcp_nodelay) {
        (void) ngx_tcp_nodelay(c);
    }

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        ngx_ssl_free_buffer(c);
    }
#endif

    ngx_xmpp_socket_start(st);

    if (ngx_xmpp_websocket_upgrade(ws, accept) != NGX_OK) {
        ngx_xmpp_socket_close(st, NGX_XMPP_SE_DROP, NULL);
    }

    /* nginx is still in the handler of the request: what has come waits */

    ngx_post_event(c->read, &ngx_posted_events);

    return NGX_DONE;
}


/* RFC 6455, 4.2.2: no extension is agreed to, so that nothing is compressed */

static ngx_int_t
ngx_xmpp_websocket_upgrade(ngx_xmpp_websocket_t *ws, u_char *accept)
{
    ngx_int_t           rc;
    ngx_str_t           answer;
    ngx_xmpp_packet_t  *pkt;

    static ngx_str_t  before = ngx_string("HTTP/1.1 101 Switching Protocols"
                                          CRLF "Upgrade: websocket"
                                          CRLF "Connection: Upgrade"
                                          CRLF "Sec-WebSocket-Protocol: xmpp"
                                          CRLF "Sec-WebSocket-Accept: ");

    answer.len = before.len + NGX_XMPP_WEBSOCKET_ACCEPT
                 + sizeof(CRLF CRLF) - 1;

    pkt = ngx_xmpp_packet_alloc(ws->stream->worker->log, answer.len);
    if (pkt == NULL) {
        return NGX_ERROR;
    }

    answer.data = ngx_cpymem(pkt->data, before.data, before.len);
    answer.data = ngx_cpymem(answer.data, accept, NGX_XMPP_WEBSOCKET_ACCEPT);
    ngx_memcpy(answer.data, CRLF CRLF, sizeof(CRLF CRLF) - 1);

    rc = ngx_xmpp_socket_queue_raw(ws->stream, pkt);

    ngx_xmpp_packet_release(pkt);

    ws->request->headers_out.status = NGX_HTTP_SWITCHING_PROTOCOLS;
    ws->request->header_size = answer.len;
    ws->request->header_sent = 1;

    return rc;
}


ngx_xmpp_stream_t *
ngx_xmpp_websocket_stream(ngx_http_request_t *r)
{
    ngx_xmpp_websocket_t  *ws;

    ws = ngx_http_get_module_ctx(r->main, ngx_xmpp_websocket_module);

    return ws ? ws->stream : NULL;
}


static void
ngx_xmpp_websocket_read_handler(ngx_event_t *rev)
{
    ngx_connection_t      *c;
    ngx_http_request_t    *r;
    ngx_xmpp_websocket_t  *ws;

    c = rev->data;
    r = c->data;

    ws = ngx_http_get_module_ctx(r, ngx_xmpp_websocket_module);

    if (c->close && r->count > 1) {

        /*
         * nginx needs the slot, maybe for a subrequest of "mirror", which is
         * on the stack: the request is freed when it has come back
         */

        ngx_reusable_connection(c, 0);
        ngx_xmpp_socket_resume(ws->stream);
        return;
    }

    ngx_xmpp_socket_read(ws->stream);
}


static void
ngx_xmpp_websocket_write_handler(ngx_event_t *wev)
{
    ngx_connection_t  *c;

    c = wev->data;

    ngx_xmpp_socket_write(ngx_xmpp_websocket_stream(c->data));
}


static u_char *
ngx_xmpp_websocket_log_handler(ngx_http_request_t *r, ngx_http_request_t *sr,
    u_char *buf, size_t len)
{
    u_char                *p;
    ngx_xmpp_websocket_t  *ws;

    ws = ngx_http_get_module_ctx(r, ngx_xmpp_websocket_module);

    p = ws->log_handler(r, sr, buf, len);

    return ngx_xmpp_log_stream(ws->stream, p, len - (p - buf));
}


/*
 * Never called under a handler of the request: its count is one by then, or
 * there are subrequests of "mirror", which end by its cleanup.
 */

static void
ngx_xmpp_websocket_finalize(ngx_xmpp_stream_t *st, ngx_uint_t status)
{
    ngx_connection_t      *c;
    ngx_xmpp_websocket_t  *ws;

    c = st->connection;
    ws = st->nginx;

    if (ws->control) {
        ngx_xmpp_packet_release(ws->control);
        ws->control = NULL;
    }

    ngx_http_free_request(ws->request, 0);

    /* TLS has had its last words, or has none: nginx would wait for its end */

    c->error = 1;

    ngx_http_close_connection(c);
}


/* NGX_OK: all was taken; NGX_AGAIN: parked; NGX_DONE */

static ngx_int_t
ngx_xmpp_websocket_input(ngx_xmpp_stream_t *st, u_char **pos, u_char *last)
{
    size_t                 n;
    u_char                *start;
    ngx_int_t              rc;
    const char            *reason;
    ngx_xmpp_frame_t      *f;
    ngx_xmpp_websocket_t  *ws;

    ws = st->nginx;
    f = &ws->frame;

    for ( ;; ) {

        if (!f->open) {
            start = *pos;
            rc = ngx_xmpp_frame_read(f, pos, last, &reason);

            ws->request->request_length += *pos - start;

            if (ngx_xmpp_stream_limit(st, *pos - start) != NGX_OK) {
                return NGX_DONE;
            }

            if (rc == NGX_AGAIN) {
                return NGX_OK;
            }

            if (rc == NGX_ERROR) {
                return ngx_xmpp_websocket_fail(ws, NGX_XMPP_WEBSOCKET_PROTOCOL,
                                               reason);
            }

            if (ngx_xmpp_websocket_head(ws) != NGX_OK) {
                return NGX_DONE;
            }
        }

        n = (f->left < (uint64_t) (last - *pos)) ? (size_t) f->left
                                                 : (size_t) (last - *pos);
        if (n == 0 && f->left) {
            return NGX_OK;
        }

        start = *pos;
        *pos += n;
        ws->request->request_length += n;

        ngx_xmpp_frame_unmask(f, start, n);

        f->open = (f->left != 0);

        rc = ngx_xmpp_frame_is_control(f)
             ? ngx_xmpp_websocket_control(ws, start, n)
             : ngx_xmpp_websocket_data(ws, start, *pos);

        if (rc != NGX_OK) {
            return rc;
        }
    }
}


/* a frame has begun, and its length is known; NGX_OK or NGX_DONE: it closes */

static ngx_int_t
ngx_xmpp_websocket_head(ngx_xmpp_websocket_t *ws)
{
    ngx_xmpp_frame_t   *f;
    ngx_xmpp_stream_t  *st;

    f = &ws->frame;
    st = ws->stream;

    if (ngx_xmpp_frame_is_control(f)) {

        if (f->opcode == NGX_XMPP_FRAME_PONG) {
            return NGX_OK;
        }

        ws->control = ngx_xmpp_packet_alloc(st->worker->log, 2 + f->left);

        if (ws->control == NULL) {
            ngx_xmpp_websocket_close(st, NGX_XMPP_SE_INTERNAL_SERVER_ERROR,
                                     NULL);
            return NGX_DONE;
        }

        (void) ngx_xmpp_frame_head(ws->control->data,
                                   (f->opcode == NGX_XMPP_FRAME_PING)
                                   ? NGX_XMPP_FRAME_PONG
                                   : NGX_XMPP_FRAME_CLOSE, f->left);
        ws->filled = 2;

        return NGX_OK;
    }

    /* RFC 7395, 3.2 */

    if (f->opcode == NGX_XMPP_FRAME_BINARY) {
        return ngx_xmpp_websocket_fail(ws, NGX_XMPP_WEBSOCKET_NOT_TEXT,
                                       "a binary message");
    }

    /* RFC 6455, 5.4: fragments of two messages do not mix */

    if ((f->opcode == NGX_XMPP_FRAME_CONTINUATION) != ws->started) {
        return ngx_xmpp_websocket_fail(ws, NGX_XMPP_WEBSOCKET_PROTOCOL,
                                       ws->started
                                       ? "a message within another one"
                                       : "a continuation of no message");
    }

    ws->started = 1;
    ws->message += ngx_xmpp_frame_head_size(f->left) + sizeof(f->mask);

    /* before a byte of it is read */

    if (f->left > st->conf->limits.max_stanza
        || ws->message + f->left > st->conf->limits.max_stanza
                                   + NGX_XMPP_FRAME_CLIENT_HEAD
        || (st->user.len == 0
            && st->received + f->left > st->conf->preauth_bytes))
    {
        return ngx_xmpp_websocket_fail(ws, NGX_XMPP_WEBSOCKET_TOO_BIG,
                                       "a message that is too long");
    }

    ws->message += f->left;

    return NGX_OK;
}


/* a piece of a message, or its end */

static ngx_int_t
ngx_xmpp_websocket_data(ngx_xmpp_websocket_t *ws, u_char *pos, u_char *last)
{
    ngx_int_t  rc;

    rc = NGX_OK;

    if (!ws->whole) {

        /* the parser passes over white space before an element, too */

        if (!ws->begun && ngx_xmpp_websocket_spaces(ws, &pos, last) != NGX_OK)
        {
            return NGX_DONE;
        }

        if (pos < last) {
            ws->begun = 1;
            rc = ngx_xmpp_stream_feed(ws->stream, &pos, last);

            if (rc == NGX_DONE) {
                return NGX_DONE;
            }

            ws->whole = (rc != NGX_DECLINED);
        }
    }

    if (ngx_xmpp_websocket_spaces(ws, &pos, last) != NGX_OK) {
        return NGX_DONE;
    }

    /* RFC 7395, 3.3.3: one element, and nothing beside it */

    if (pos < last) {
        return ngx_xmpp_websocket_fail(ws, 0,
                                       "a message with more than one element");
    }

    if (!ws->frame.open && ws->frame.fin
        && ngx_xmpp_websocket_message_end(ws) != NGX_OK)
    {
        return NGX_DONE;
    }

    return (rc == NGX_AGAIN) ? NGX_AGAIN : NGX_OK;
}


/* passes over white space; NGX_OK or NGX_DONE: too many bytes, it closes */

static ngx_int_t
ngx_xmpp_websocket_spaces(ngx_xmpp_websocket_t *ws, u_char **pos, u_char *last)
{
    u_char  *p;

    p = *pos;

    while (*pos < last
           && (**pos == ' ' || **pos == CR || **pos == LF || **pos == '\t'))
    {
        (*pos)++;
    }

    return (ngx_xmpp_stream_limit(ws->stream, *pos - p) == NGX_OK)
           ? NGX_OK : NGX_DONE;
}


static ngx_int_t
ngx_xmpp_websocket_message_end(ngx_xmpp_websocket_t *ws)
{
    if (ws->begun && !ws->whole) {
        return ngx_xmpp_websocket_fail(ws, 0,
                                       "a message that is no whole element");
    }

    ws->started = 0;
    ws->begun = 0;
    ws->whole = 0;
    ws->message = 0;

    return NGX_OK;
}


/* RFC 6455, 5.5: they may come between the fragments of a message */

static ngx_int_t
ngx_xmpp_websocket_control(ngx_xmpp_websocket_t *ws, u_char *pos, size_t n)
{
    ngx_int_t           rc;
    ngx_xmpp_packet_t  *pkt;

    if (ngx_xmpp_stream_limit(ws->stream, n) != NGX_OK) {
        return NGX_DONE;
    }

    pkt = ws->control;

    if (pkt == NULL) {
        return NGX_OK;                          /* a Pong */
    }

    ngx_memcpy(pkt->data + ws->filled, pos, n);
    ws->filled += n;

    if (ws->frame.open) {
        return NGX_OK;
    }

    ws->control = NULL;

    if (ws->frame.opcode == NGX_XMPP_FRAME_CLOSE) {
        rc = ngx_xmpp_websocket_left(ws, pkt->data + 2, pkt->len - 2);

    } else {

        /* RFC 6455, 5.5.3: the Pong has what the Ping had; it is bounded as
           all output is */

        rc = ngx_xmpp_socket_send_raw(ws->stream, pkt);
        rc = (rc == NGX_OK) ? NGX_OK : NGX_DONE;
    }

    ngx_xmpp_packet_release(pkt);

    return rc;
}


/*
 * The client closes the connection, and not the stream: its session may be
 * resumed (RFC 7395, 3.6).  RFC 6455, 5.5.1: the code is sent back.
 */

static ngx_int_t
ngx_xmpp_websocket_left(ngx_xmpp_websocket_t *ws, u_char *payload, size_t len)
{
    ngx_uint_t  code;

    code = (len >= 2) ? payload[0] << 8 | payload[1]
                      : NGX_XMPP_WEBSOCKET_NO_CODE;

    /* RFC 6455, 7.4 */

    if (len == 1
        || (len && (code < NGX_XMPP_WEBSOCKET_NORMAL || code > 4999
                    || (code >= 1004 && code <= 1006)
                    || (code > 1014 && code < 3000)))
        || !ngx_xmpp_websocket_utf8(payload + ngx_min(len, 2), payload + len))
    {
        return ngx_xmpp_websocket_fail(ws, NGX_XMPP_WEBSOCKET_PROTOCOL,
                                       "a Close frame that makes no sense");
    }

    ngx_log_error(NGX_LOG_INFO, ws->stream->connection->log, 0,
                  "client closed the WebSocket connection: %ui", code);

    if (ws->stream->reason == NULL) {
        ws->stream->reason = &ngx_xmpp_websocket_dropped;
    }

    ws->code = code;
    ngx_xmpp_websocket_close(ws->stream, NGX_XMPP_SE_BREAK, NULL);

    return NGX_DONE;
}


static ngx_uint_t
ngx_xmpp_websocket_utf8(u_char *p, u_char *last)
{
    while (p < last) {

        if (*p < 0x80) {
            p++;

        } else if (ngx_utf8_decode(&p, last - p) > 0x10ffff) {
            return 0;
        }
    }

    return 1;
}


/* code 0: it is XMPP's rule that was broken; NGX_DONE */

static ngx_int_t
ngx_xmpp_websocket_fail(ngx_xmpp_websocket_t *ws, ngx_uint_t code,
    const char *reason)
{
    ngx_xmpp_stream_error_e  error;

    ngx_log_error(NGX_LOG_INFO, ws->stream->connection->log, 0,
                  "client sent %s", reason);

    error = (code == NGX_XMPP_WEBSOCKET_TOO_BIG)
            ? NGX_XMPP_SE_POLICY_VIOLATION
            : code ? NGX_XMPP_SE_BAD_FORMAT : NGX_XMPP_SE_NOT_WELL_FORMED;

    ws->code = code;
    ngx_xmpp_websocket_close(ws->stream, error, reason);

    return NGX_DONE;
}


/*
 * RFC 7395, 3.9: TLS is that of HTTPS, and so is the binding; where another
 * one ends TLS, there is none.  The certificates are those of the server that
 * SNI has chosen, whatever Host says.
 */

static size_t
ngx_xmpp_websocket_binding(ngx_xmpp_stream_t *st, ngx_xmpp_binding_e type,
    u_char *buf)
{
    ngx_array_t               *certificates;
#if (NGX_HTTP_SSL)
    ngx_http_conf_ctx_t       *ctx;
    ngx_xmpp_websocket_t      *ws;
    ngx_http_ssl_srv_conf_t   *sslcf;

    ws = st->nginx;
    ctx = ws->request->http_connection->conf_ctx;

    sslcf = ctx->srv_conf[ngx_http_ssl_module.ctx_index];
    certificates = sslcf->certificates;
#else
    certificates = NULL;
#endif

    return ngx_xmpp_tls_bind(st->connection, certificates, type, buf);
}


/* a certificate of the client is the business of http{}, which has its own */

static ngx_int_t
ngx_xmpp_websocket_names(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_uint_t kinds, ngx_array_t *names)
{
    return NGX_OK;
}


/* so nobody has looked at one by the rules of a host that asks for it */

static ngx_int_t
ngx_xmpp_websocket_serves(ngx_xmpp_stream_t *st, ngx_xmpp_host_t *h)
{
    ngx_xmpp_ssl_conf_t  *sslcf;

    sslcf = ngx_xmpp_host_conf(h, ngx_stream_ssl_module);

    if (sslcf->verify != 1) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_INFO, st->connection->log, 0,
                  "\"%V\" asks for certificates of clients, which WebSocket "
                  "has not", &h->name);

    return NGX_DECLINED;
}


/* variables of stream{} look at a session: one is made for them */

static ngx_int_t
ngx_xmpp_websocket_value(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_stream_complex_value_t *cv, ngx_str_t *value)
{
    ngx_stream_session_t         *s;
    ngx_stream_core_main_conf_t  *cmcf;

    s = ngx_pcalloc(pool, sizeof(ngx_stream_session_t));
    if (s == NULL) {
        return NGX_ERROR;
    }

    s->signature = NGX_STREAM_MODULE;
    s->connection = st->connection;
    s->main_conf = st->host->ctx->main_conf;
    s->srv_conf = st->host->ctx->srv_conf;

    cmcf = ngx_stream_get_module_main_conf(s, ngx_stream_core_module);

    s->ctx = ngx_pcalloc(pool, sizeof(void *) * ngx_stream_max_module);
    s->variables = ngx_pcalloc(pool, cmcf->variables.nelts
                                     * sizeof(ngx_stream_variable_value_t));

    if (s->ctx == NULL || s->variables == NULL) {
        return NGX_ERROR;
    }

    ngx_stream_set_ctx(s, st, ngx_xmpp_module);

    return ngx_stream_complex_value(s, cv, value);
}
