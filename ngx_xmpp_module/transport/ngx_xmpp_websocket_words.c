/*
 * XMPP over WebSocket: what the server says of the stream itself.
 *
 *     <open/>                     the header (RFC 7395, 3.4)
 *     <stream:features/>          declares its prefix (3.3.3)
 *     <stream:error/> <close/>    the end (3.5, 3.6), then a Close frame
 *     <close see-other-uri=''/>   instead of <open/> (3.6.1)
 *     a Close frame alone         a session that may be resumed: with the end
 *                                 of the stream it would end, too (3.6)
 *     a Ping frame                is the client there? (3.8)
 *
 * All that is said at the end is one packet, with the heads of its frames.
 */


#include "ngx_xmpp_websocket.h"


#define NGX_XMPP_WEBSOCKET_FRAMING                                            \
    " xmlns='urn:ietf:params:xml:ns:xmpp-framing'"

#define NGX_XMPP_WEBSOCKET_STREAMS                                            \
    " xmlns:stream='http://etherx.jabber.org/streams'>"


static u_char *ngx_xmpp_websocket_close_write(u_char *p, ngx_uint_t code);
static ngx_uint_t ngx_xmpp_websocket_code(ngx_xmpp_websocket_t *ws,
    ngx_xmpp_stream_error_e error);


/* RFC 7395, 3.4, with a new id each time (RFC 6120, 4.7.3) */

ngx_int_t
ngx_xmpp_websocket_open(ngx_xmpp_stream_t *st)
{
    u_char                *p, id[32];
    size_t                 size;
    ngx_int_t              rc;
    ngx_str_t              none, *host, *to;
    ngx_xmpp_packet_t     *pkt;
    ngx_xmpp_websocket_t  *ws;

    static ngx_str_t  head = ngx_string("<open" NGX_XMPP_WEBSOCKET_FRAMING
                                        " version='1.0' xml:lang='en' id='");

    ws = st->nginx;

    if (ws->other.len && st->state != NGX_XMPP_ST_CLOSED) {
        st->opened = 1;
        st->transport->close(st, NGX_XMPP_SE_NONE, NULL);
        return NGX_DONE;
    }

    ngx_str_set(&none, "");
    host = st->host ? &st->host->name : &none;
    to = st->from ? st->from : &none;

    if (ngx_xmpp_id_random(id, sizeof(id) / 2) != NGX_OK) {
        return NGX_ERROR;
    }

    size = head.len + sizeof(id) + sizeof("' from='' to=''/>") - 1
           + ngx_xmpp_xml_escape_size(host) + ngx_xmpp_xml_escape_size(to);

    pkt = ngx_xmpp_packet_alloc(st->worker->log, size);
    if (pkt == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(pkt->data, head.data, head.len);
    p = ngx_cpymem(p, id, sizeof(id));

    if (host->len) {
        p = ngx_cpymem(p, "' from='", sizeof("' from='") - 1);
        p = ngx_xmpp_xml_escape(p, host);
    }

    if (to->len) {
        p = ngx_cpymem(p, "' to='", sizeof("' to='") - 1);
        p = ngx_xmpp_xml_escape(p, to);
    }

    p = ngx_cpymem(p, "'/>", sizeof("'/>") - 1);
    pkt->len = p - pkt->data;

    rc = ngx_xmpp_socket_queue(st, pkt);

    ngx_xmpp_packet_release(pkt);

    st->opened = 1;

    return rc;
}


ngx_int_t
ngx_xmpp_websocket_nonza(ngx_xmpp_stream_t *st, const char *name,
    ngx_xmpp_xml_t *e)
{
    u_char             *p;
    size_t              len, size;
    ngx_int_t           rc;
    ngx_xmpp_xml_t     *child;
    ngx_xmpp_packet_t  *pkt;

    len = ngx_strlen(name);
    size = 2 * len + sizeof("<stream:" NGX_XMPP_WEBSOCKET_STREAMS
                            "</stream:>") - 1;

    for (child = e->children; child; child = child->next) {
        size += ngx_xmpp_xml_size(child, NULL);
    }

    pkt = ngx_xmpp_packet_alloc(st->worker->log, size);
    if (pkt == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(pkt->data, "<stream:", sizeof("<stream:") - 1);
    p = ngx_cpymem(p, name, len);
    p = ngx_cpymem(p, NGX_XMPP_WEBSOCKET_STREAMS,
                   sizeof(NGX_XMPP_WEBSOCKET_STREAMS) - 1);

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


/* see ngx_xmpp_transport_t; a stream that breaks has a Close frame only */

void
ngx_xmpp_websocket_close(ngx_xmpp_stream_t *st, ngx_xmpp_stream_error_e error,
    const char *text)
{
    ngx_xmpp_packet_t     *pkt;
    ngx_xmpp_websocket_t  *ws;

    ws = st->nginx;

    if (error == NGX_XMPP_SE_BREAK && st->state != NGX_XMPP_ST_CLOSED) {

        pkt = ngx_xmpp_packet_alloc(st->worker->log, 4);

        if (pkt) {
            pkt->len = ngx_xmpp_websocket_close_write(pkt->data,
                           ngx_xmpp_websocket_code(ws, error))
                       - pkt->data;

            (void) ngx_xmpp_socket_queue_raw(st, pkt);
            ngx_xmpp_packet_release(pkt);
        }
    }

    ngx_xmpp_socket_close(st, error, text);
}


/*
 * RFC 7395, 3.5: <open/> comes before any error; 3.6: <close/> ends the
 * stream, and a Close frame the connection.
 */

ngx_int_t
ngx_xmpp_websocket_last_words(ngx_xmpp_stream_t *st,
    ngx_xmpp_stream_error_e error, const char *text)
{
    u_char                *p;
    size_t                 len, error_len, close_len;
    ngx_int_t              rc;
    ngx_str_t             *other;
    ngx_xmpp_packet_t     *pkt;
    ngx_xmpp_websocket_t  *ws;

    static ngx_str_t  before = ngx_string("<stream:error"
                                          NGX_XMPP_WEBSOCKET_STREAMS);
    static ngx_str_t  after = ngx_string("</stream:error>");
    static ngx_str_t  close = ngx_string("<close" NGX_XMPP_WEBSOCKET_FRAMING);
    static ngx_str_t  see = ngx_string(" see-other-uri='");

    ws = st->nginx;
    other = &ws->other;

    if (!st->opened) {
        other->len = 0;

        if (ngx_xmpp_websocket_open(st) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    len = ngx_xmpp_stream_error_write(NULL, error, text);
    error_len = before.len + len + after.len;

    close_len = close.len + sizeof("/>") - 1;

    if (other->len) {
        close_len += see.len + ngx_xmpp_xml_escape_size(other)
                     + sizeof("'") - 1;
    }

    pkt = ngx_xmpp_packet_alloc(st->worker->log,
                                3 * NGX_XMPP_FRAME_HEAD + error_len
                                + close_len + 2);
    if (pkt == NULL) {
        return NGX_ERROR;
    }

    p = pkt->data;

    if (len) {
        p = ngx_xmpp_frame_head(p, NGX_XMPP_FRAME_TEXT, error_len);
        p = ngx_cpymem(p, before.data, before.len);
        (void) ngx_xmpp_stream_error_write(p, error, text);
        p = ngx_cpymem(p + len, after.data, after.len);
    }

    p = ngx_xmpp_frame_head(p, NGX_XMPP_FRAME_TEXT, close_len);
    p = ngx_cpymem(p, close.data, close.len);

    if (other->len) {
        p = ngx_cpymem(p, see.data, see.len);
        p = ngx_xmpp_xml_escape(p, other);
        *p++ = '\'';
    }

    p = ngx_cpymem(p, "/>", sizeof("/>") - 1);
    p = ngx_xmpp_websocket_close_write(p, ngx_xmpp_websocket_code(ws, error));

    pkt->len = p - pkt->data;

    rc = ngx_xmpp_socket_queue_raw(st, pkt);

    ngx_xmpp_packet_release(pkt);

    return rc;
}


static u_char *
ngx_xmpp_websocket_close_write(u_char *p, ngx_uint_t code)
{
    if (code == NGX_XMPP_WEBSOCKET_NO_CODE) {
        return ngx_xmpp_frame_head(p, NGX_XMPP_FRAME_CLOSE, 0);
    }

    p = ngx_xmpp_frame_head(p, NGX_XMPP_FRAME_CLOSE, 2);

    *p++ = (u_char) (code >> 8);
    *p++ = (u_char) code;

    return p;
}


/* RFC 6455, 7.4.1, 11.7; what XMPP has said in full is no fault of WebSocket */

static ngx_uint_t
ngx_xmpp_websocket_code(ngx_xmpp_websocket_t *ws,
    ngx_xmpp_stream_error_e error)
{
    if (ws->code) {
        return ws->code;
    }

    switch (error) {

    case NGX_XMPP_SE_NOT_WELL_FORMED:
    case NGX_XMPP_SE_UNSUPPORTED_ENCODING:
        return NGX_XMPP_WEBSOCKET_NOT_UTF8;

    case NGX_XMPP_SE_POLICY_VIOLATION:
    case NGX_XMPP_SE_RESTRICTED_XML:
        return NGX_XMPP_WEBSOCKET_POLICY;

    case NGX_XMPP_SE_INTERNAL_SERVER_ERROR:
        return NGX_XMPP_WEBSOCKET_INTERNAL;

    case NGX_XMPP_SE_SYSTEM_SHUTDOWN:
    case NGX_XMPP_SE_BREAK:
        return NGX_XMPP_WEBSOCKET_RESTART;

    case NGX_XMPP_SE_RESOURCE_CONSTRAINT:
        return NGX_XMPP_WEBSOCKET_LATER;

    default:
        return NGX_XMPP_WEBSOCKET_NORMAL;
    }
}


/*
 * RFC 7395, 3.8: instead of white space.  A browser answers it by itself,
 * whatever its page is doing.
 */

ngx_int_t
ngx_xmpp_websocket_ping(ngx_xmpp_stream_t *st)
{
    ngx_int_t           rc;
    ngx_xmpp_packet_t  *pkt;

    pkt = ngx_xmpp_packet_alloc(st->worker->log, 2);
    if (pkt == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_xmpp_frame_head(pkt->data, NGX_XMPP_FRAME_PING, 0);

    rc = ngx_xmpp_socket_send_raw(st, pkt);

    ngx_xmpp_packet_release(pkt);

    return rc;
}
