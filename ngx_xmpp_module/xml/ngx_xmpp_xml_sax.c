/*
 * XML callbacks: what libxml2 reports becomes a tree in the stanza's pool.
 *
 * An element, its attributes and all its strings are one allocation, since
 * names and namespaces that libxml2 hands out die with its context.  Text
 * comes in pieces; a text node grows by doubling until a tag ends it.
 *
 * After an error the callbacks ignore what follows in the slice: libxml2 is
 * not stopped from within, which is safe from some of them only.
 */


#include <ngx_xmpp_xml_parser.h>


typedef struct {
    uint32_t   first;
    uint32_t   last;
} ngx_xmpp_xml_range_t;


static void ngx_xmpp_xml_sax_start(void *data, const xmlChar *name,
    const xmlChar *prefix, const xmlChar *uri, int ns_n, const xmlChar **ns,
    int attrs_n, int defaulted, const xmlChar **attrs);
static ngx_int_t ngx_xmpp_xml_sax_limits(ngx_xmpp_parser_t *p);
static ngx_int_t ngx_xmpp_xml_sax_namespaces(ngx_xmpp_parser_t *p,
    const xmlChar *prefix, const xmlChar *uri, int n, const xmlChar **ns);
static ngx_int_t ngx_xmpp_xml_sax_spaces(ngx_xmpp_parser_t *p,
    const xmlChar *uri, int n, const xmlChar **attrs);
static ngx_int_t ngx_xmpp_xml_sax_names(ngx_xmpp_parser_t *p,
    const xmlChar *name, int n, const xmlChar **attrs);
static ngx_uint_t ngx_xmpp_xml_sax_name(const xmlChar *name);
static ngx_xmpp_xml_t *ngx_xmpp_xml_sax_element(ngx_xmpp_parser_t *p,
    const xmlChar *name, const xmlChar *uri, int n, const xmlChar **attrs);
static size_t ngx_xmpp_xml_sax_ns(ngx_xmpp_xml_t *parent, const xmlChar *uri,
    ngx_str_t *ns);
static u_char *ngx_xmpp_xml_sax_keep(ngx_str_t *s, u_char *m,
    const u_char *data, size_t len);
static ngx_int_t ngx_xmpp_xml_sax_lang(ngx_xmpp_parser_t *p);
static void ngx_xmpp_xml_sax_end(void *data, const xmlChar *name,
    const xmlChar *prefix, const xmlChar *uri);
static void ngx_xmpp_xml_sax_text(void *data, const xmlChar *text, int len);
static void ngx_xmpp_xml_sax_cdata(void *data, const xmlChar *text, int len);
static ngx_int_t ngx_xmpp_xml_sax_append(ngx_xmpp_parser_t *p,
    const u_char *data, size_t len);
static void ngx_xmpp_xml_sax_comment(void *data, const xmlChar *text);
static void ngx_xmpp_xml_sax_pi(void *data, const xmlChar *target,
    const xmlChar *text);
static void ngx_xmpp_xml_sax_subset(void *data, const xmlChar *name,
    const xmlChar *public_id, const xmlChar *system_id);
static xmlEntityPtr ngx_xmpp_xml_sax_entity(void *data, const xmlChar *name);
#if (LIBXML_VERSION >= 21200)
static void ngx_xmpp_xml_sax_error(void *data, const xmlError *error);
#else
static void ngx_xmpp_xml_sax_error(void *data, xmlErrorPtr error);
#endif


/* not const since libxml2's functions take it so; it copies the structure */

xmlSAXHandler  ngx_xmpp_xml_sax = {
    .internalSubset = ngx_xmpp_xml_sax_subset,
    .getEntity = ngx_xmpp_xml_sax_entity,
    .characters = ngx_xmpp_xml_sax_text,
    .ignorableWhitespace = ngx_xmpp_xml_sax_text,
    .cdataBlock = ngx_xmpp_xml_sax_cdata,
    .processingInstruction = ngx_xmpp_xml_sax_pi,
    .comment = ngx_xmpp_xml_sax_comment,
    .startElementNs = ngx_xmpp_xml_sax_start,
    .endElementNs = ngx_xmpp_xml_sax_end,
    .serror = ngx_xmpp_xml_sax_error,
    .initialized = XML_SAX2_MAGIC
};


/* bytes that no URI and no IRI contains, RFC 3986, 2 and RFC 3987, 2.2 */

static uint32_t  ngx_xmpp_xml_no_uri[] = {
    0xffffffff, /* 1111 1111 1111 1111  1111 1111 1111 1111 */

                /* ?>=< ;:98 7654 3210  /.-, +*)( '&%$ #"!  */
    0x50000005, /* 0101 0000 0000 0000  0000 0000 0000 0101 */

                /* _^]\ [ZYX WVUT SRQP  ONML KJIH GFED CBA@ */
    0x50000000, /* 0101 0000 0000 0000  0000 0000 0000 0000 */

                /*  ~}| {zyx wvut srqp  onml kjih gfed cba` */
    0xb8000001, /* 1011 1000 0000 0000  0000 0000 0000 0001 */

    0x00000000, 0x00000000, 0x00000000, 0x00000000
};


/* letters in both the fourth and the fifth edition of XML 1.0: frequent ones */

static ngx_xmpp_xml_range_t  ngx_xmpp_xml_letters[] = {
    { 0x00c0, 0x00d6 },
    { 0x00d8, 0x00f6 },
    { 0x00f8, 0x0131 },
    { 0x0134, 0x013e },
    { 0x0141, 0x0148 },
    { 0x014a, 0x017e },
    { 0x038e, 0x03a1 },
    { 0x03a3, 0x03ce },
    { 0x040e, 0x044f },
    { 0x05d0, 0x05ea },
    { 0x3041, 0x3094 },
    { 0x30a1, 0x30fa },
    { 0x4e00, 0x9fa5 },
    { 0xac00, 0xd7a3 },
    { 0xffffffff, 0xffffffff }
};


static void
ngx_xmpp_xml_sax_start(void *data, const xmlChar *name, const xmlChar *prefix,
    const xmlChar *uri, int ns_n, const xmlChar **ns, int attrs_n,
    int defaulted, const xmlChar **attrs)
{
    ngx_xmpp_parser_t *p = data;

    ngx_xmpp_xml_t  *e;

    if (p->err
        || ngx_xmpp_xml_sax_namespaces(p, prefix, uri, ns_n, ns) != NGX_OK
        || p->muted)
    {
        return;
    }

    p->text = NULL;
    p->cr = 0;

    if (ngx_xmpp_xml_sax_limits(p) != NGX_OK) {
        return;
    }

    if (p->depth <= 1) {
        p->pool = p->get_pool(p->data);
        if (p->pool == NULL) {
            goto nomem;
        }
    }

    if (ngx_xmpp_xml_sax_spaces(p, uri, attrs_n, attrs) != NGX_OK
        || ngx_xmpp_xml_sax_names(p, name, attrs_n, attrs) != NGX_OK)
    {
        return;
    }

    e = ngx_xmpp_xml_sax_element(p, name, uri, attrs_n, attrs);
    if (e == NULL) {
        goto nomem;
    }

    if (p->depth++ == 0) {
        p->top = e;
        p->event = NGX_XMPP_XML_OPEN;

        if (ngx_xmpp_xml_ns_root(p, name, prefix, ns_n, ns) == NGX_ERROR
            || ngx_xmpp_xml_sax_lang(p) == NGX_ERROR)
        {
            goto nomem;
        }

        return;
    }

    if (p->cur) {
        ngx_xmpp_xml_append(p->cur, e);

    } else {
        p->top = e;
    }

    p->cur = e;

    return;

nomem:

    ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_MEMORY, "no memory");
}


/* attributes and bytes have been counted by the scanner */

static ngx_int_t
ngx_xmpp_xml_sax_limits(ngx_xmpp_parser_t *p)
{
    if (p->event) {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_NOT_WELL_FORMED,
                             "not well-formed");
        return NGX_DECLINED;
    }

    if (p->depth == 0) {
        return NGX_OK;
    }

    if (p->depth > p->limits->max_depth) {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_DEPTH,
                             "too many nested elements");
        return NGX_DECLINED;
    }

    if (++p->elements > p->limits->max_elements) {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_ELEMENTS,
                             "too many elements");
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/*
 * Namespaces in XML 1.0: a prefix is declared, and a namespace name is a URI
 * reference; characters that none may contain could not be told from the
 * separators that some parsers put between namespace and name.  Elements of
 * the xml namespace mean nothing and could not be written without a prefix.
 */

static ngx_int_t
ngx_xmpp_xml_sax_namespaces(ngx_xmpp_parser_t *p, const xmlChar *prefix,
    const xmlChar *uri, int n, const xmlChar **ns)
{
    int             i;
    const xmlChar  *ch;

    if (prefix && (uri == NULL || ngx_strcmp(prefix, "xml") == 0)) {
        ngx_xmpp_parser_fail(p, p->depth ? NGX_XMPP_XML_ERR_NOT_WELL_FORMED
                                         : NGX_XMPP_XML_ERR_BAD_PREFIX,
                             "bad namespace prefix");
        return NGX_DECLINED;
    }

    for (i = 0; i < n; i++) {

        /* libxml2 2.9 goes on so when it lacks memory; xmlns='' is no NULL */

        if (ns[2 * i + 1] == NULL) {
            ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_MEMORY, "no memory");
            return NGX_DECLINED;
        }

        for (ch = ns[2 * i + 1]; *ch; ch++) {

            if (ngx_xmpp_xml_no_uri[*ch >> 5] & (1U << (*ch & 0x1f))) {
                ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_NOT_WELL_FORMED,
                                     "namespace is not a URI");
                return NGX_DECLINED;
            }
        }
    }

    return NGX_OK;
}


/*
 * A prefix of one letter may stand for a namespace of any length, and the tree
 * and the writer have that in full for each element and attribute: what this
 * adds to a stanza is limited to a multiple of what was read of it.
 */

static ngx_int_t
ngx_xmpp_xml_sax_spaces(ngx_xmpp_parser_t *p, const xmlChar *uri, int n,
    const xmlChar **attrs)
{
    ngx_str_t  ns;

    (void) ngx_xmpp_xml_sax_ns(p->cur, uri, &ns);

    if (p->cur == NULL || !ngx_xmpp_xml_same(&ns, &p->cur->ns)) {
        p->spaces += ns.len;
    }

    for ( /* void */ ; n; n--, attrs += 5) {
        (void) ngx_xmpp_xml_sax_ns(NULL, attrs[2], &ns);
        p->spaces += ns.len;
    }

    if (p->spaces > NGX_XMPP_XML_NS_MIN + NGX_XMPP_XML_NS_TIMES * p->bytes) {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_TOO_BIG,
                             "too long namespaces");
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/*
 * Since its fifth edition XML 1.0 lets nearly all characters into names.
 * Parsers of the fourth, like expat, take most of these for ill-formed, so that
 * by one stanza a client could end the streams of all who receive it.  What is
 * let through are letters that both editions have; prefixes are not relayed.
 */

static ngx_int_t
ngx_xmpp_xml_sax_names(ngx_xmpp_parser_t *p, const xmlChar *name, int n,
    const xmlChar **attrs)
{
    ngx_uint_t  plain;

    plain = ngx_xmpp_xml_sax_name(name);

    for ( /* void */ ; n && plain; n--, attrs += 5) {
        plain = ngx_xmpp_xml_sax_name(attrs[0]);
    }

    if (!plain) {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_NAME,
                             "a name that not all parsers read");
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_xmpp_xml_sax_name(const xmlChar *name)
{
    uint32_t               ch;
    ngx_xmpp_xml_range_t  *range;

    while (*name) {

        if (*name < 0x80) {
            name++;
            continue;
        }

        /* the scanner has seen to it that this is UTF-8 */

        if (*name < 0xe0) {
            ch = (name[0] & 0x1f) << 6 | (name[1] & 0x3f);
            name += 2;

        } else if (*name < 0xf0) {
            ch = (name[0] & 0x0f) << 12 | (name[1] & 0x3f) << 6
                 | (name[2] & 0x3f);
            name += 3;

        } else {
            return 0;
        }

        for (range = ngx_xmpp_xml_letters; ch > range->last; range++) {
            /* void */
        }

        if (ch < range->first) {
            return 0;
        }
    }

    return 1;
}


/*
 * The element with its attributes and strings in one piece.  libxml2 gives
 * five pointers an attribute: name, prefix, URI, value and the value's end.
 */

static ngx_xmpp_xml_t *
ngx_xmpp_xml_sax_element(ngx_xmpp_parser_t *p, const xmlChar *name,
    const xmlChar *uri, int n, const xmlChar **attrs)
{
    int                   i;
    size_t                size;
    u_char               *m;
    ngx_str_t             ns;
    ngx_xmpp_xml_t       *e;
    const xmlChar       **a;
    ngx_xmpp_xml_attr_t  *attr;

    size = sizeof(ngx_xmpp_xml_t) + n * sizeof(ngx_xmpp_xml_attr_t)
           + ngx_strlen(name) + ngx_xmpp_xml_sax_ns(p->cur, uri, &ns);

    for (i = 0, a = attrs; i < n; i++, a += 5) {
        size += ngx_strlen(a[0]) + ngx_xmpp_xml_sax_ns(NULL, a[2], &ns)
                + (a[4] - a[3]);
    }

    e = ngx_palloc(p->pool, size);
    if (e == NULL) {
        return NULL;
    }

    ngx_memzero(e, sizeof(ngx_xmpp_xml_t));

    attr = (ngx_xmpp_xml_attr_t *) (e + 1);
    m = (u_char *) (attr + n);

    m = ngx_xmpp_xml_sax_keep(&e->name, m, name, ngx_strlen(name));

    if (ngx_xmpp_xml_sax_ns(p->cur, uri, &e->ns)) {
        m = ngx_xmpp_xml_sax_keep(&e->ns, m, e->ns.data, e->ns.len);
    }

    if (n) {
        e->attrs = attr;
    }

    for (i = 0, a = attrs; i < n; i++, a += 5, attr++) {

        m = ngx_xmpp_xml_sax_keep(&attr->name, m, a[0], ngx_strlen(a[0]));
        m = ngx_xmpp_xml_sax_keep(&attr->value, m, a[3], a[4] - a[3]);

        if (ngx_xmpp_xml_sax_ns(NULL, a[2], &attr->ns)) {
            m = ngx_xmpp_xml_sax_keep(&attr->ns, m, attr->ns.data,
                                      attr->ns.len);
        }

        attr->next = (i + 1 < n) ? attr + 1 : NULL;
    }

    return e;
}


/*
 * Sets *ns to the parent's namespace or a known one if uri is the same, and
 * else to uri itself, which has to be copied: returns the bytes that takes.
 */

static size_t
ngx_xmpp_xml_sax_ns(ngx_xmpp_xml_t *parent, const xmlChar *uri, ngx_str_t *ns)
{
    size_t      len;
    ngx_str_t  *known;

    if (uri == NULL || *uri == '\0') {
        ngx_str_set(ns, "");
        return 0;
    }

    len = ngx_strlen(uri);

    if (parent && parent->ns.len == len
        && ngx_memcmp(parent->ns.data, uri, len) == 0)
    {
        *ns = parent->ns;
        return 0;
    }

    known = ngx_xmpp_xml_ns_find(uri, len);

    if (known) {
        *ns = *known;
        return 0;
    }

    ns->len = len;
    ns->data = (u_char *) uri;

    return len;
}


static u_char *
ngx_xmpp_xml_sax_keep(ngx_str_t *s, u_char *m, const u_char *data, size_t len)
{
    s->len = len;
    s->data = m;

    return ngx_cpymem(m, data, len);
}


static ngx_int_t
ngx_xmpp_xml_sax_lang(ngx_xmpp_parser_t *p)
{
    ngx_str_t  *lang;

    lang = ngx_xmpp_xml_attr_ns(p->top, &ngx_xmpp_ns_xml, "lang");

    if (lang == NULL) {
        return NGX_OK;
    }

    if (lang->len > NGX_XMPP_XML_LANG_MAX) {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_TOO_BIG,
                             "too long xml:lang in stream header");
        return NGX_DECLINED;
    }

    return ngx_xmpp_parser_set_lang(p, lang);
}


static void
ngx_xmpp_xml_sax_end(void *data, const xmlChar *name, const xmlChar *prefix,
    const xmlChar *uri)
{
    ngx_xmpp_parser_t *p = data;

    if (p->muted || p->err) {
        return;
    }

    p->text = NULL;
    p->cr = 0;

    if (p->event == NGX_XMPP_XML_OPEN && p->depth == 1) {
        p->depth = 0;                           /* <stream:stream/> */
        p->closed = 1;
        return;
    }

    if (p->event || p->depth == 0) {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_NOT_WELL_FORMED,
                             "not well-formed");
        return;
    }

    switch (--p->depth) {

    case 0:
        p->closed = 1;
        p->event = NGX_XMPP_XML_CLOSE;
        break;

    case 1:
        p->cur = NULL;
        p->event = NGX_XMPP_XML_ELEMENT;
        break;

    default:
        p->cur = p->cur->parent;
    }
}


static void
ngx_xmpp_xml_sax_text(void *data, const xmlChar *text, int len)
{
    ngx_xmpp_parser_t *p = data;

    if (p->muted || p->err) {
        return;
    }

    p->cr = 0;

    if (p->cur == NULL) {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_TEXT, "text between stanzas");
        return;
    }

    if (len > 0 && ngx_xmpp_xml_sax_append(p, text, len) != NGX_OK) {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_MEMORY, "no memory");
    }
}


/*
 * XML 1.0, 2.11: a line ends with LF.  libxml2 2.9 leaves the CRs in a CDATA
 * section when it is pushed.  A LF that begins a piece belongs to the CR that
 * ended the one before; should that have been another section, a line is lost.
 */

static void
ngx_xmpp_xml_sax_cdata(void *data, const xmlChar *text, int len)
{
    ngx_xmpp_parser_t *p = data;

    ngx_uint_t      cr;
    const xmlChar  *pos, *last;

    cr = p->cr;
    last = text + len;

    while (text < last) {

        if (cr && *text == '\n') {
            text++;
        }

        pos = memchr(text, '\r', last - text);
        cr = (pos != NULL);

        ngx_xmpp_xml_sax_text(p, text, (cr ? pos : last) - text);

        if (pos == NULL) {
            break;
        }

        ngx_xmpp_xml_sax_text(p, (xmlChar *) "\n", 1);
        text = pos + 1;
    }

    p->cr = cr;
}


/*
 * Most texts come in one piece, which is put right behind its node.  For
 * more of them the room is doubled, so that each byte is copied about once.
 */

static ngx_int_t
ngx_xmpp_xml_sax_append(ngx_xmpp_parser_t *p, const u_char *data, size_t len)
{
    size_t           size;
    u_char          *m;
    ngx_xmpp_xml_t  *text;

    text = p->text;

    if (text == NULL) {

        text = ngx_palloc(p->pool, sizeof(ngx_xmpp_xml_t) + len);
        if (text == NULL) {
            return NGX_ERROR;
        }

        ngx_memzero(text, sizeof(ngx_xmpp_xml_t));
        ngx_xmpp_xml_sax_keep(&text->text, (u_char *) (text + 1), data, len);
        ngx_xmpp_xml_append(p->cur, text);

        p->text = text;
        p->text_size = len;

        return NGX_OK;
    }

    if (len > p->text_size - text->text.len) {

        size = ngx_max(2 * p->text_size, text->text.len + len);
        size = ngx_max(size, 64);

        m = ngx_pnalloc(p->pool, size);
        if (m == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(m, text->text.data, text->text.len);

        if (text->text.data != (u_char *) (text + 1)) {
            (void) ngx_pfree(p->pool, text->text.data);
        }

        text->text.data = m;
        p->text_size = size;
    }

    ngx_memcpy(text->text.data + text->text.len, data, len);
    text->text.len += len;

    return NGX_OK;
}


/*
 * RFC 6120, 11.1: neither comments nor PIs nor DTDs nor entity references.
 * Comments and DTDs do not get past the scanner; should it err, they end here.
 */

static void
ngx_xmpp_xml_sax_comment(void *data, const xmlChar *text)
{
    ngx_xmpp_parser_fail(data, NGX_XMPP_XML_ERR_RESTRICTED, "comment");
}


static void
ngx_xmpp_xml_sax_pi(void *data, const xmlChar *target, const xmlChar *text)
{
    ngx_xmpp_parser_fail(data, NGX_XMPP_XML_ERR_RESTRICTED,
                         "processing instruction");
}


static void
ngx_xmpp_xml_sax_subset(void *data, const xmlChar *name,
    const xmlChar *public_id, const xmlChar *system_id)
{
    ngx_xmpp_parser_fail(data, NGX_XMPP_XML_ERR_RESTRICTED, "DTD");
}


/* libxml2 asks for entities other than the five predefined ones */

static xmlEntityPtr
ngx_xmpp_xml_sax_entity(void *data, const xmlChar *name)
{
    ngx_xmpp_parser_fail(data, NGX_XMPP_XML_ERR_RESTRICTED,
                         "entity reference");
    return NULL;
}


/*
 * All of libxml2's complaints come here, nothing goes to stderr.  Namespace
 * errors are not fatal to it, but data that is not namespace-well-formed must
 * be refused (RFC 6120, 11.3); in a header they mean an unsupported prefix
 * (RFC 6120, 4.9.3.2).  What is a URI the parser judges itself.
 */

#if (LIBXML_VERSION >= 21200)
static void
ngx_xmpp_xml_sax_error(void *data, const xmlError *error)
#else
static void
ngx_xmpp_xml_sax_error(void *data, xmlErrorPtr error)
#endif
{
    ngx_xmpp_parser_t *p = data;

    if (error->level < XML_ERR_ERROR || error->code == XML_WAR_NS_URI) {
        return;
    }

    if (error->code == XML_ERR_NO_MEMORY) {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_MEMORY, "no memory");
        return;
    }

    if (error->domain == XML_FROM_NAMESPACE && p->depth == 0) {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_BAD_PREFIX,
                             "bad namespace prefix");
        return;
    }

    ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_NOT_WELL_FORMED,
                         (error->domain == XML_FROM_NAMESPACE)
                         ? "bad namespace prefix" : "not well-formed");
}
