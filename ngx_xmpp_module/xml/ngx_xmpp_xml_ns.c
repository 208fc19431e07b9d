/*
 * The namespaces that the server knows by name.
 *
 * The parser lets an element's ns point to one of these instead of copying
 * it, so that the trees of most stanzas hold no namespace of their own.
 * Comparing still goes by content: trees are built by hand as well.
 */


#include <ngx_xmpp_xml_parser.h>


ngx_str_t  ngx_xmpp_ns_client = ngx_string("jabber:client");
ngx_str_t  ngx_xmpp_ns_server = ngx_string("jabber:server");
ngx_str_t  ngx_xmpp_ns_streams =
    ngx_string("http://etherx.jabber.org/streams");
ngx_str_t  ngx_xmpp_ns_stream_errors =
    ngx_string("urn:ietf:params:xml:ns:xmpp-streams");
ngx_str_t  ngx_xmpp_ns_stanzas =
    ngx_string("urn:ietf:params:xml:ns:xmpp-stanzas");
ngx_str_t  ngx_xmpp_ns_tls =
    ngx_string("urn:ietf:params:xml:ns:xmpp-tls");
ngx_str_t  ngx_xmpp_ns_sasl =
    ngx_string("urn:ietf:params:xml:ns:xmpp-sasl");
ngx_str_t  ngx_xmpp_ns_bind =
    ngx_string("urn:ietf:params:xml:ns:xmpp-bind");
ngx_str_t  ngx_xmpp_ns_session =
    ngx_string("urn:ietf:params:xml:ns:xmpp-session");
ngx_str_t  ngx_xmpp_ns_xml =
    ngx_string("http://www.w3.org/XML/1998/namespace");


/* the most frequent first */
static ngx_str_t  *ngx_xmpp_xml_known[] = {
    &ngx_xmpp_ns_client,
    &ngx_xmpp_ns_xml,
    &ngx_xmpp_ns_stanzas,
    &ngx_xmpp_ns_server,
    &ngx_xmpp_ns_sasl,
    &ngx_xmpp_ns_bind,
    &ngx_xmpp_ns_session,
    &ngx_xmpp_ns_streams,
    &ngx_xmpp_ns_tls,
    &ngx_xmpp_ns_stream_errors,
    NULL
};


/* The shared string equal to the len bytes at data, or NULL. */

ngx_str_t *
ngx_xmpp_xml_ns_find(const u_char *data, size_t len)
{
    ngx_str_t  **ns;

    for (ns = ngx_xmpp_xml_known; *ns; ns++) {
        if ((*ns)->len == len && ngx_memcmp((*ns)->data, data, len) == 0) {
            return *ns;
        }
    }

    return NULL;
}
