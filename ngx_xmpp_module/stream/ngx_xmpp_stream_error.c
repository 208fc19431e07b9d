/*
 * Stream errors (RFC 6120, 4.9): the element's children, as bytes.
 *
 * The condition comes first, then an optional text (4.9.2).  The element
 * around them is the transport's: it carries the stream's prefix on TCP and
 * a namespace of its own on WebSocket.  Nothing is allocated here, since the
 * lack of memory is one of the conditions.
 */


#include "ngx_xmpp_stream.h"


#define NGX_XMPP_STREAM_ERROR_NS                                              \
    " xmlns='urn:ietf:params:xml:ns:xmpp-streams'"


/* in the order of ngx_xmpp_stream_error_e */

static ngx_str_t  ngx_xmpp_stream_errors[] = {
    ngx_string("closed"),
    ngx_string("bad-format"),
    ngx_string("bad-namespace-prefix"),
    ngx_string("conflict"),
    ngx_string("connection-timeout"),
    ngx_string("host-unknown"),
    ngx_string("improper-addressing"),
    ngx_string("internal-server-error"),
    ngx_string("invalid-from"),
    ngx_string("invalid-namespace"),
    ngx_string("invalid-xml"),
    ngx_string("not-authorized"),
    ngx_string("not-well-formed"),
    ngx_string("policy-violation"),
    ngx_string("resource-constraint"),
    ngx_string("restricted-xml"),
    ngx_string("system-shutdown"),
    ngx_string("unsupported-encoding"),
    ngx_string("unsupported-stanza-type"),
    ngx_string("unsupported-version"),
    ngx_string("broken"),
    ngx_string("dropped")
};


ngx_str_t *
ngx_xmpp_stream_error_name(ngx_xmpp_stream_error_e error)
{
    return &ngx_xmpp_stream_errors[error];
}


/* p NULL: returns the length only; text may be NULL */

size_t
ngx_xmpp_stream_error_write(u_char *p, ngx_xmpp_stream_error_e error,
    const char *text)
{
    size_t      len;
    ngx_str_t  *name, value;

    if (error == NGX_XMPP_SE_NONE || error >= NGX_XMPP_SE_BREAK) {
        return 0;
    }

    name = &ngx_xmpp_stream_errors[error];

    len = sizeof("<" NGX_XMPP_STREAM_ERROR_NS "/>") - 1 + name->len;

    if (p) {
        *p++ = '<';
        p = ngx_cpymem(p, name->data, name->len);
        p = ngx_cpymem(p, NGX_XMPP_STREAM_ERROR_NS "/>",
                       sizeof(NGX_XMPP_STREAM_ERROR_NS "/>") - 1);
    }

    if (text == NULL) {
        return len;
    }

    value.data = (u_char *) text;
    value.len = ngx_strlen(text);

    len += sizeof("<text" NGX_XMPP_STREAM_ERROR_NS " xml:lang='en'></text>")
           - 1 + ngx_xmpp_xml_escape_size(&value);

    if (p) {
        p = ngx_cpymem(p, "<text" NGX_XMPP_STREAM_ERROR_NS " xml:lang='en'>",
                       sizeof("<text" NGX_XMPP_STREAM_ERROR_NS
                              " xml:lang='en'>") - 1);
        p = ngx_xmpp_xml_escape(p, &value);
        (void) ngx_cpymem(p, "</text>", sizeof("</text>") - 1);
    }

    return len;
}
