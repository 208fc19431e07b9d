/*
 * TCP: the stream is one document from its header to its end, in a session of
 * nginx's stream{} (RFC 6120, 4).  The connection itself is read, written and
 * closed by ngx_xmpp_socket.c.
 *
 *     accepted -> header -> elements -> </stream:stream> -> finalized
 *                   ^          |
 *                   '----------' STARTTLS, SASL: the stream begins anew
 *
 * c->data stays nginx's session, whose context the stream is; nginx frees both
 * with the connection, when the session is finalized.
 */


#include "ngx_xmpp_tcp.h"


static ngx_int_t ngx_xmpp_tcp_open(ngx_xmpp_stream_t *st);
static ngx_int_t ngx_xmpp_tcp_nonza(ngx_xmpp_stream_t *st, const char *name,
    ngx_xmpp_xml_t *e);
static ngx_int_t ngx_xmpp_tcp_input(ngx_xmpp_stream_t *st, u_char **pos,
    u_char *last);
static ngx_int_t ngx_xmpp_tcp_last_words(ngx_xmpp_stream_t *st,
    ngx_xmpp_stream_error_e error, const char *text);
static ngx_int_t ngx_xmpp_tcp_value(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_stream_complex_value_t *cv, ngx_str_t *value);
static void ngx_xmpp_tcp_finalize(ngx_xmpp_stream_t *st, ngx_uint_t status);
static void ngx_xmpp_tcp_read_handler(ngx_event_t *rev);
static void ngx_xmpp_tcp_write_handler(ngx_event_t *wev);
static u_char *ngx_xmpp_tcp_log_handler(ngx_log_t *log, u_char *buf,
    size_t len);


const ngx_xmpp_transport_t  ngx_xmpp_tcp_transport = {
    ngx_string("tcp"),
    NGX_XMPP_TRANSPORT_TCP,
    0,                                     /* framed */
    ngx_xmpp_tcp_open,
    ngx_xmpp_tcp_nonza,
    ngx_xmpp_socket_send,
    ngx_xmpp_socket_room,
    ngx_xmpp_socket_close,
    ngx_xmpp_socket_resume,
    ngx_xmpp_tls_binding,
    ngx_xmpp_tls_names,
    ngx_xmpp_tls_start,
    ngx_xmpp_tls_secured,
    ngx_xmpp_socket_ready,
    ngx_xmpp_socket_flush_posted,
    ngx_xmpp_tcp_input,
    ngx_xmpp_tcp_last_words,
    ngx_xmpp_tls_serves,
    ngx_xmpp_tcp_value,
    NULL,                                  /* ping */
    ngx_xmpp_tcp_finalize,
    ngx_xmpp_tcp_read_handler,
    ngx_xmpp_tcp_write_handler
};


ngx_xmpp_stream_t *
ngx_xmpp_tcp_create(ngx_stream_session_t *s, ngx_xmpp_worker_t *w,
    ngx_xmpp_srv_conf_t *conf)
{
    ngx_xmpp_stream_t  *st;

    st = ngx_xmpp_stream_create(w, s->connection, &ngx_xmpp_tcp_transport, s,
                                conf);

    if (st) {
        ngx_stream_set_ctx(s, st, ngx_xmpp_module);
        s->log_handler = ngx_xmpp_tcp_log_handler;
    }

    return st;
}


void
ngx_xmpp_tcp_start(ngx_xmpp_stream_t *st)
{
    ngx_buf_t  *b;

    ngx_xmpp_socket_start(st);

    /* what a preread module has read ahead */

    b = st->connection->buffer;

    if (b && b->pos != b->last) {
        if (ngx_xmpp_socket_keep(st, b->pos, b->last) != NGX_OK) {
            ngx_xmpp_tcp_finalize(st, NGX_STREAM_INTERNAL_SERVER_ERROR);
            return;
        }

        b->pos = b->last;
    }

    ngx_xmpp_socket_read(st);
}


static void
ngx_xmpp_tcp_read_handler(ngx_event_t *rev)
{
    ngx_connection_t  *c;

    c = rev->data;

    ngx_xmpp_socket_read(ngx_stream_get_module_ctx(
                             ((ngx_stream_session_t *) c->data),
                             ngx_xmpp_module));
}


static void
ngx_xmpp_tcp_write_handler(ngx_event_t *wev)
{
    ngx_connection_t  *c;

    c = wev->data;

    ngx_xmpp_socket_write(ngx_stream_get_module_ctx(
                              ((ngx_stream_session_t *) c->data),
                              ngx_xmpp_module));
}


/* the stream session's log_handler; c->data stays nginx's */

static u_char *
ngx_xmpp_tcp_log_handler(ngx_log_t *log, u_char *buf, size_t len)
{
    ngx_xmpp_stream_t     *st;
    ngx_stream_session_t  *s;

    s = log->data;
    st = ngx_stream_get_module_ctx(s, ngx_xmpp_module);

    return st ? ngx_xmpp_log_stream(st, buf, len) : buf;
}


static void
ngx_xmpp_tcp_finalize(ngx_xmpp_stream_t *st, ngx_uint_t status)
{
    ngx_stream_finalize_session(st->nginx, status);
}


static ngx_int_t
ngx_xmpp_tcp_value(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_stream_complex_value_t *cv, ngx_str_t *value)
{
    return ngx_stream_complex_value(st->nginx, cv, value);
}


/* RFC 6120, 4.7: "<stream:stream ...>" with a new id each time (4.7.3) */

static ngx_int_t
ngx_xmpp_tcp_open(ngx_xmpp_stream_t *st)
{
    u_char             *p, id[32];
    size_t              size;
    ngx_int_t           rc;
    ngx_str_t           none, *host, *to;
    ngx_xmpp_packet_t  *pkt;

    ngx_str_set(&none, "");
    host = st->host ? &st->host->name : &none;
    to = st->from ? st->from : &none;

    if (ngx_xmpp_id_random(id, sizeof(id) / 2) != NGX_OK) {
        return NGX_ERROR;
    }

    size = sizeof("<?xml version='1.0'?><stream:stream "
                  "xmlns='jabber:client' "
                  "xmlns:stream='http://etherx.jabber.org/streams' "
                  "version='1.0' xml:lang='en' id='' from='' to=''>") - 1
           + sizeof(id) + ngx_xmpp_xml_escape_size(host)
           + ngx_xmpp_xml_escape_size(to);

    pkt = ngx_xmpp_packet_alloc(st->worker->log, size);
    if (pkt == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(pkt->data,
                   "<?xml version='1.0'?><stream:stream "
                   "xmlns='jabber:client' "
                   "xmlns:stream='http://etherx.jabber.org/streams' "
                   "version='1.0' xml:lang='en' id='",
                   sizeof("<?xml version='1.0'?><stream:stream "
                          "xmlns='jabber:client' "
                          "xmlns:stream='http://etherx.jabber.org/streams' "
                          "version='1.0' xml:lang='en' id='") - 1);
    p = ngx_cpymem(p, id, sizeof(id));

    if (host->len) {
        p = ngx_cpymem(p, "' from='", sizeof("' from='") - 1);
        p = ngx_xmpp_xml_escape(p, host);
    }

    if (to->len) {
        p = ngx_cpymem(p, "' to='", sizeof("' to='") - 1);
        p = ngx_xmpp_xml_escape(p, to);
    }

    p = ngx_cpymem(p, "'>", sizeof("'>") - 1);
    pkt->len = p - pkt->data;

    rc = ngx_xmpp_socket_queue(st, pkt);

    ngx_xmpp_packet_release(pkt);

    st->opened = 1;

    return rc;
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

    rc = ngx_xmpp_socket_queue(st, pkt);

    ngx_xmpp_packet_release(pkt);

    return rc;
}


/* NGX_OK: go on reading; NGX_AGAIN: parked; NGX_DONE */

static ngx_int_t
ngx_xmpp_tcp_input(ngx_xmpp_stream_t *st, u_char **pos, u_char *last)
{
    u_char                *start;
    ngx_int_t              rc;
    ngx_stream_session_t  *s;

    rc = NGX_OK;
    start = *pos;

    while (rc == NGX_OK && *pos < last) {
        rc = ngx_xmpp_stream_feed(st, pos, last);
    }

    s = st->nginx;
    s->received += *pos - start;

    if (rc == NGX_DECLINED) {
        return NGX_OK;
    }

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

    ngx_log_error(NGX_LOG_INFO, st->connection->log, 0,
                  "client sent data behind <starttls/>");

    st->securing = 0;
    ngx_xmpp_socket_close(st, NGX_XMPP_SE_POLICY_VIOLATION, NULL);

    return NGX_DONE;
}


/* RFC 6120, 4.9.1.2: a header of ours comes before any error */

static ngx_int_t
ngx_xmpp_tcp_last_words(ngx_xmpp_stream_t *st, ngx_xmpp_stream_error_e error,
    const char *text)
{
    u_char             *p;
    size_t              len;
    ngx_int_t           rc;
    ngx_xmpp_packet_t  *pkt;

    if (!st->opened && ngx_xmpp_tcp_open(st) != NGX_OK) {
        return NGX_ERROR;
    }

    len = ngx_xmpp_stream_error_write(NULL, error, text);

    pkt = ngx_xmpp_packet_alloc(st->worker->log,
                                sizeof("<stream:error></stream:error>"
                                       "</stream:stream>") - 1 + len);
    if (pkt == NULL) {
        return NGX_ERROR;
    }

    p = pkt->data;

    if (len) {
        p = ngx_cpymem(p, "<stream:error>", sizeof("<stream:error>") - 1);
        (void) ngx_xmpp_stream_error_write(p, error, text);
        p = ngx_cpymem(p + len, "</stream:error>",
                       sizeof("</stream:error>") - 1);
    }

    p = ngx_cpymem(p, "</stream:stream>", sizeof("</stream:stream>") - 1);
    pkt->len = p - pkt->data;

    rc = ngx_xmpp_socket_queue(st, pkt);

    ngx_xmpp_packet_release(pkt);

    return rc;
}
