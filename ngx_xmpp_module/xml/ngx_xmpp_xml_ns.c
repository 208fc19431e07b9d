/*
 * XML namespaces: those that the server knows by name, and those that a
 * stream header declares.
 *
 * The parser lets an element's ns point to a known one instead of copying it,
 * so that the trees of most stanzas hold no namespace of their own.  Comparing
 * still goes by content: trees are built by hand as well.
 *
 * What a header declares holds for the stream (Namespaces in XML 1.0, 6), and
 * has to survive hibernation.  It is kept as a start tag, in the parser's own
 * pool, unless it is what nearly all clients send.
 */


#include <ngx_xmpp_xml_parser.h>


static ngx_uint_t ngx_xmpp_xml_ns_usual(const xmlChar *name,
    const xmlChar *prefix, int n, const xmlChar **ns);
static size_t ngx_xmpp_xml_ns_decls_size(int n, const xmlChar **ns);
static u_char *ngx_xmpp_xml_ns_decls(u_char *m, int n, const xmlChar **ns);


ngx_str_t  ngx_xmpp_ns_client = ngx_string("jabber:client");
ngx_str_t  ngx_xmpp_ns_server = ngx_string("jabber:server");
ngx_str_t  ngx_xmpp_ns_streams =
    ngx_string("http://etherx.jabber.org/streams");
ngx_str_t  ngx_xmpp_ns_stream_errors =
    ngx_string("urn:ietf:params:xml:ns:xmpp-streams");
ngx_str_t  ngx_xmpp_ns_stanzas =
    ngx_string("urn:ietf:params:xml:ns:xmpp-stanzas");
ngx_str_t  ngx_xmpp_ns_framing =
    ngx_string("urn:ietf:params:xml:ns:xmpp-framing");
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
    &ngx_xmpp_ns_framing,
    NULL
};


ngx_xmpp_xml_root_t  ngx_xmpp_xml_root_client = {
    ngx_string("<stream:stream xmlns='jabber:client' "
               "xmlns:stream='http://etherx.jabber.org/streams'>"),
    ngx_string("stream"),
    ngx_string("jabber:client")
};


/* declares nothing, so that a fragment has to: RFC 7395, 3.3.3 */

ngx_xmpp_xml_root_t  ngx_xmpp_xml_root_framed = {
    ngx_string("<frame>"),
    ngx_string(""),
    ngx_string("")
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


/*
 * Remembers the header for hibernation: its root's name and its namespace
 * declarations as a start tag, and the default namespace once more, unescaped.
 * NGX_ERROR: no memory.
 */

ngx_int_t
ngx_xmpp_xml_ns_root(ngx_xmpp_parser_t *p, const xmlChar *name,
    const xmlChar *prefix, int n, const xmlChar **ns)
{
    int                   i;
    size_t                size;
    u_char               *m;
    ngx_str_t             def;
    ngx_xmpp_xml_root_t  *root;

    if (ngx_xmpp_xml_ns_usual(name, prefix, n, ns)) {
        p->root = &ngx_xmpp_xml_root_client;
        return NGX_OK;
    }

    ngx_str_set(&def, "");

    for (i = 0; i < n; i++) {
        if (ns[2 * i] == NULL) {
            def.data = (u_char *) ns[2 * i + 1];
            def.len = ngx_strlen(def.data);
        }
    }

    size = sizeof("<: >") - 1 + (prefix ? ngx_strlen(prefix) : 0)
           + ngx_strlen(name) + ngx_xmpp_xml_ns_decls_size(n, ns) + def.len;

    if (size > NGX_XMPP_XML_ROOT_MAX) {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_TOO_BIG,
                             "too long namespaces in stream header");
        return NGX_DECLINED;
    }

    root = ngx_palloc(p->owner, sizeof(ngx_xmpp_xml_root_t) + size);
    if (root == NULL) {
        return NGX_ERROR;
    }

    p->root = root;
    ngx_str_set(&root->prefix, "");

    m = (u_char *) (root + 1);
    root->tag.data = m;

    *m++ = '<';

    if (prefix) {
        root->prefix.data = m;
        root->prefix.len = ngx_strlen(prefix);
        m = ngx_cpymem(m, prefix, root->prefix.len);
        *m++ = ':';
    }

    m = ngx_cpymem(m, name, ngx_strlen(name));
    m = ngx_xmpp_xml_ns_decls(m, n, ns);

    /* libxml2 waits for four bytes before it looks at any */

    *m++ = ' ';
    *m++ = '>';
    root->tag.len = m - root->tag.data;

    root->default_ns.data = m;
    root->default_ns.len = def.len;
    ngx_memcpy(m, def.data, def.len);

    return NGX_OK;
}


static size_t
ngx_xmpp_xml_ns_decls_size(int n, const xmlChar **ns)
{
    int        i;
    size_t     size;
    ngx_str_t  uri;

    size = 0;

    for (i = 0; i < n; i++, ns += 2) {
        uri.data = (u_char *) ns[1];
        uri.len = ngx_strlen(uri.data);

        size += sizeof(" xmlns:=''") - 1 + (ns[0] ? ngx_strlen(ns[0]) : 0)
                + ngx_xmpp_xml_escape_size(&uri);
    }

    return size;
}


static u_char *
ngx_xmpp_xml_ns_decls(u_char *m, int n, const xmlChar **ns)
{
    int        i;
    ngx_str_t  uri;

    for (i = 0; i < n; i++, ns += 2) {
        uri.data = (u_char *) ns[1];
        uri.len = ngx_strlen(uri.data);

        m = ngx_cpymem(m, " xmlns", sizeof(" xmlns") - 1);

        if (ns[0]) {
            *m++ = ':';
            m = ngx_cpymem(m, ns[0], ngx_strlen(ns[0]));
        }

        *m++ = '=';
        *m++ = '\'';
        m = ngx_xmpp_xml_escape(m, &uri);
        *m++ = '\'';
    }

    return m;
}


static ngx_uint_t
ngx_xmpp_xml_ns_usual(const xmlChar *name, const xmlChar *prefix, int n,
    const xmlChar **ns)
{
    const xmlChar  **def, **stream;

    if (n != 2 || prefix == NULL || ngx_strcmp(prefix, "stream") != 0
        || ngx_strcmp(name, "stream") != 0)
    {
        return 0;
    }

    def = ns[0] ? ns + 2 : ns;
    stream = ns[0] ? ns : ns + 2;

    return (def[0] == NULL && stream[0] && def[1] && stream[1]
            && ngx_strcmp(stream[0], "stream") == 0
            && ngx_strcmp(def[1], ngx_xmpp_ns_client.data) == 0
            && ngx_strcmp(stream[1], ngx_xmpp_ns_streams.data) == 0);
}
