/*
 * XML parser: feeds libxml2 slice by slice, and stops behind each stanza.
 *
 *                  header            '<'             '>' of the element
 *     no stream ----------> between ------> in stanza -------.
 *         ^                  |  ^  ^                         |
 *         |  reset    hiber- |  |  '-------------------------'
 *         '--------    nate  v  | next byte that is no white space
 *        closed, error      asleep
 *
 * "Between" is a boundary: libxml2 has nothing that the caller has not been
 * told of.  White space there (RFC 6120, 4.4 and 11.7) is dropped before it
 * gets to libxml2, so that it wakes nobody and counts against no limit.
 *
 * libxml2's context is made when the first byte comes.  It is freed at a
 * boundary, by hibernation or because of its age: libxml2 keeps each name it
 * ever met.  The next one is opened with what is remembered of the header,
 * while the callbacks are muted.
 *
 * At a boundary the contexts of all streams that declared the same are alike.
 * So one that was primed with the usual header is given up there, to be the
 * spare of the process, and whoever reads the next stanza borrows it: seldom
 * is there more than one, and seldom one is made.
 *
 * A context is 12 kilobytes and more, and before authentication nobody may
 * have that for half an element that never ends (limits->raw).  Such a one is
 * kept as the bytes that were read, and parsed again when the next ones come.
 */


#include <ngx_xmpp_xml_parser.h>


/* room for more beside the bytes of half an element, at least */
#define NGX_XMPP_XML_HALF       128

/* what the contexts of a spare are primed with */
#define ngx_xmpp_parser_usual(p)                                              \
    ((p)->framed ? &ngx_xmpp_xml_root_framed : &ngx_xmpp_xml_root_client)


static void ngx_xmpp_parser_sleep(ngx_xmpp_parser_t *p);
static void ngx_xmpp_parser_lend(ngx_xmpp_parser_t *p);
static ngx_uint_t ngx_xmpp_parser_borrow(ngx_xmpp_parser_t *p);
static void ngx_xmpp_parser_wake(ngx_xmpp_parser_t *p);
static void ngx_xmpp_parser_keep(ngx_xmpp_parser_t *p, u_char *pos,
    u_char *last);
static void ngx_xmpp_parser_fold(ngx_xmpp_parser_t *p);
static void ngx_xmpp_parser_unfold(ngx_xmpp_parser_t *p);
static void ngx_xmpp_parser_drop(ngx_xmpp_parser_t *p);
static u_char *ngx_xmpp_parser_skip(ngx_xmpp_parser_t *p, u_char *pos,
    u_char *last);
static void ngx_xmpp_parser_first(ngx_xmpp_parser_t *p, u_char ch);
static size_t ngx_xmpp_parser_slice(ngx_xmpp_parser_t *p, u_char *pos,
    u_char *last);
static void ngx_xmpp_parser_push(ngx_xmpp_parser_t *p, u_char *data,
    size_t len);
static ngx_xmpp_xml_event_e ngx_xmpp_parser_boundary(ngx_xmpp_parser_t *p,
    ngx_xmpp_xml_t **e);
static void ngx_xmpp_parser_cleanup(void *data);


static ngx_str_t  ngx_xmpp_parser_none = ngx_string("");


/*
 * Creates a parser in pool, to be used until the pool is destroyed or
 * ngx_xmpp_parser_destroy().  limits, spare and data stay the caller's and have
 * to live as long.  NULL: no memory.
 */

ngx_xmpp_parser_t *
ngx_xmpp_parser_create(ngx_pool_t *pool, ngx_xmpp_xml_limits_t *limits,
    ngx_xmpp_parser_spare_t *spare, ngx_xmpp_parser_pool_pt get_pool,
    void *data)
{
    ngx_pool_cleanup_t  *cln;
    ngx_xmpp_parser_t   *p;

    p = ngx_pcalloc(pool, sizeof(ngx_xmpp_parser_t));
    if (p == NULL) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_xmpp_parser_cleanup;
    cln->data = p;

    p->owner = pool;
    p->limits = limits;
    p->spare = spare;
    p->get_pool = get_pool;
    p->data = data;
    p->lang.data = p->lang_buf;

    return p;
}


void
ngx_xmpp_parser_frame(ngx_xmpp_parser_t *p)
{
    /* as if asleep behind a header */

    p->framed = 1;
    p->root = &ngx_xmpp_xml_root_framed;
    p->level = 1;
    p->depth = 1;
}


void
ngx_xmpp_parser_limits(ngx_xmpp_parser_t *p, ngx_xmpp_xml_limits_t *limits)
{
    p->limits = limits;
}


/*
 * Takes bytes from [*pos, last) up to the next event, which it returns; *e is
 * set with OPEN and ELEMENT and lives in the pool that get_pool() gave for
 * it.  A pool given for an element that ends in an error stays the caller's
 * too.  Never parks.
 */

ngx_xmpp_xml_event_e
ngx_xmpp_parser_feed(ngx_xmpp_parser_t *p, u_char **pos, u_char *last,
    ngx_xmpp_xml_t **e)
{
    size_t   len;
    u_char  *start;

    if (p->closed && p->err == NGX_XMPP_XML_ERR_NONE) {
        return NGX_XMPP_XML_CLOSE;
    }

    if (p->folded && *pos != last) {
        ngx_xmpp_parser_unfold(p);
    }

    start = *pos;

    while (p->err == NGX_XMPP_XML_ERR_NONE) {

        if (!p->begun) {
            *pos = ngx_xmpp_parser_skip(p, *pos, last);
            start = *pos;
        }

        if (*pos == last) {

            if (p->limits->raw && start != last) {
                ngx_xmpp_parser_keep(p, start, last);
            }

            if (p->err) {
                break;
            }

            return NGX_XMPP_XML_MORE;
        }

        len = ngx_xmpp_parser_slice(p, *pos, last);
        *pos += len;

        if (p->event && p->err == NGX_XMPP_XML_ERR_NONE) {
            return ngx_xmpp_parser_boundary(p, e);
        }
    }

    ngx_xmpp_parser_sleep(p);
    ngx_xmpp_parser_drop(p);

    return NGX_XMPP_XML_ERROR;
}


/* Drops the white space at a boundary, and looks at what comes behind it. */

static u_char *
ngx_xmpp_parser_skip(ngx_xmpp_parser_t *p, u_char *pos, u_char *last)
{
    /*
     * The first thing ever has to be a header, XML allows nothing before an
     * XML declaration.  After a restart, white space may still belong to the
     * stream before.
     */

    if (p->depth || p->restarted) {
        while (pos < last && (*pos == ' ' || *pos == '\n'
                              || *pos == '\r' || *pos == '\t'))
        {
            pos++;
        }
    }

    if (pos < last) {
        ngx_xmpp_parser_first(p, *pos);
    }

    return pos;
}


static void
ngx_xmpp_parser_first(ngx_xmpp_parser_t *p, u_char ch)
{
    p->begun = 1;

    if (ch == '<') {
        return;
    }

    if (p->depth) {
        ngx_xmpp_parser_fail(p, (ch < ' ' || ch >= 0x80)
                                ? NGX_XMPP_XML_ERR_NOT_WELL_FORMED
                                : NGX_XMPP_XML_ERR_TEXT,
                             "text between stanzas");
        return;
    }

    /* RFC 6120, 11.6: byte order marks of others, and UTF-16 without one */

    if (ch == 0xfe || ch == 0xff || ch == '\0') {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_ENCODING,
                             "encoding is not UTF-8");

    } else if (ch != ' ' && ch != '\t' && ch != '\n' && ch != '\r') {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_NOT_WELL_FORMED,
                             "no stream header");
    }
}


/* Feeds one slice; returns its length.  Events and errors are left in p. */

static size_t
ngx_xmpp_parser_slice(ngx_xmpp_parser_t *p, u_char *pos, u_char *last)
{
    size_t      len, rest;
    ngx_uint_t  edge;

    rest = (p->bytes < p->limits->max_stanza)
           ? p->limits->max_stanza - p->bytes : 0;

    len = ngx_min((size_t) (last - pos), NGX_XMPP_XML_SLICE);
    len = ngx_min(len, rest);

    len = ngx_xmpp_xml_scan(p, pos, pos + len, &edge);
    ngx_xmpp_xml_check(p, pos, pos + len);

    if (p->err == NGX_XMPP_XML_ERR_NONE && len) {
        ngx_xmpp_parser_push(p, pos, len);
        p->bytes += len;
    }

    if (p->err) {
        return len;
    }

    if (edge != (p->event != 0) || (edge && p->level != p->depth)) {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_NOT_WELL_FORMED,
                             "not well-formed");

    } else if (!edge && p->bytes >= p->limits->max_stanza) {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_TOO_BIG, "too long");
    }

    return len;
}


static void
ngx_xmpp_parser_push(ngx_xmpp_parser_t *p, u_char *data, size_t len)
{
    int  rc;

    if (p->ctxt == NULL) {
        ngx_xmpp_parser_wake(p);

        if (p->err) {
            return;
        }
    }

    p->fed += len;

    rc = xmlParseChunk(p->ctxt, (char *) data, len, 0);

    if (rc == XML_ERR_OK) {
        return;
    }

    /* after an error that a callback has not seen: libxml2 lacks memory */

    if (rc == XML_ERR_NO_MEMORY || rc < 0) {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_MEMORY, "no memory");

    } else {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_NOT_WELL_FORMED,
                             "not well-formed");
    }
}


static ngx_xmpp_xml_event_e
ngx_xmpp_parser_boundary(ngx_xmpp_parser_t *p, ngx_xmpp_xml_t **e)
{
    ngx_xmpp_xml_event_e  event;

    event = p->event;

    if (event != NGX_XMPP_XML_CLOSE) {
        *e = p->top;
    }

    p->event = NGX_XMPP_XML_MORE;
    p->pool = NULL;
    p->top = NULL;
    p->cur = NULL;
    p->text = NULL;
    p->bytes = 0;
    p->spaces = 0;
    p->elements = 0;
    p->begun = 0;

    ngx_xmpp_parser_drop(p);

    if (p->closed || p->fed > NGX_XMPP_XML_CTXT_MAX) {
        ngx_xmpp_parser_sleep(p);

    } else {
        ngx_xmpp_parser_lend(p);
    }

    return event;
}


/*
 * NGX_OK: nothing is held any more, but the bytes of half an element;
 * NGX_DECLINED: in the midst of something.
 */

ngx_int_t
ngx_xmpp_parser_hibernate(ngx_xmpp_parser_t *p)
{
    if (p->begun && !p->closed && p->err == NGX_XMPP_XML_ERR_NONE) {

        if (p->half == NULL) {
            return NGX_DECLINED;
        }

        ngx_xmpp_parser_fold(p);
    }

    ngx_xmpp_parser_sleep(p);

    return NGX_OK;
}


/* appends to the bytes of the element that has begun; may set p->err */

static void
ngx_xmpp_parser_keep(ngx_xmpp_parser_t *p, u_char *pos, u_char *last)
{
    size_t                len, size;
    ngx_xmpp_xml_half_t  *half;

    len = p->half ? p->half->len : 0;

    if (p->half == NULL || p->half->size - len < (size_t) (last - pos)) {

        size = len + (last - pos);
        size += ngx_max(size / 8, NGX_XMPP_XML_HALF);

        half = ngx_alloc(sizeof(ngx_xmpp_xml_half_t) + size, p->owner->log);
        if (half == NULL) {
            ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_MEMORY, "no memory");
            return;
        }

        if (p->half) {
            ngx_memcpy(half->data, p->half->data, len);
            ngx_free(p->half);
        }

        half->size = size;
        p->half = half;
    }

    ngx_memcpy(p->half->data + len, pos, last - pos);
    p->half->len = len + (last - pos);
}


/* back to the last boundary, as if nothing had been read since */

static void
ngx_xmpp_parser_fold(ngx_xmpp_parser_t *p)
{
    p->pool = NULL;
    p->top = NULL;
    p->cur = NULL;
    p->text = NULL;
    p->text_size = 0;

    p->bytes = 0;
    p->spaces = 0;
    p->elements = 0;
    p->attrs = 0;

    p->level = p->root ? 1 : 0;
    p->depth = p->level;

    p->state = 0;
    p->match = 0;
    p->decl = 0;
    p->utf8 = 0;
    p->cr = 0;

    p->begun = 0;
    p->folded = 1;
}


/* what was read before is read again: it holds no event and no error */

static void
ngx_xmpp_parser_unfold(ngx_xmpp_parser_t *p)
{
    u_char  *pos, *last;

    p->folded = 0;

    pos = p->half->data;
    last = pos + p->half->len;

    ngx_xmpp_parser_first(p, *pos);

    while (pos < last && p->err == NGX_XMPP_XML_ERR_NONE) {
        pos += ngx_xmpp_parser_slice(p, pos, last);
    }
}


static void
ngx_xmpp_parser_drop(ngx_xmpp_parser_t *p)
{
    if (p->half) {
        ngx_free(p->half);
        p->half = NULL;
    }

    p->folded = 0;
}


static void
ngx_xmpp_parser_sleep(ngx_xmpp_parser_t *p)
{
    if (p->ctxt) {
        xmlFreeParserCtxt(p->ctxt);
        p->ctxt = NULL;
    }

    p->fed = 0;
}


/* at a boundary: all that the context knows is the header it was primed with */

static void
ngx_xmpp_parser_lend(ngx_xmpp_parser_t *p)
{
    if (p->spare == NULL || p->spare->ctxt || !p->primed
        || p->root != ngx_xmpp_parser_usual(p))
    {
        return;
    }

    p->ctxt->userData = NULL;

    p->spare->ctxt = p->ctxt;
    p->spare->fed = p->fed;

    p->ctxt = NULL;
    p->fed = 0;
}


static ngx_uint_t
ngx_xmpp_parser_borrow(ngx_xmpp_parser_t *p)
{
    if (p->spare == NULL || p->spare->ctxt == NULL || p->depth == 0
        || p->root != ngx_xmpp_parser_usual(p))
    {
        return 0;
    }

    p->ctxt = p->spare->ctxt;
    p->fed = p->spare->fed;
    p->primed = 1;

    p->spare->ctxt = NULL;
    p->ctxt->userData = p;

    return 1;
}


void
ngx_xmpp_parser_spare(ngx_xmpp_parser_spare_t *spare)
{
    if (spare->ctxt) {
        xmlFreeParserCtxt(spare->ctxt);
        spare->ctxt = NULL;
    }
}


/*
 * Makes a context and brings it to where the stream is.  XML_PARSE_IGNORE_ENC
 * keeps libxml2 from switching to a declared encoding, or looking for it: the
 * scanner has seen to the declaration.  Without XML_PARSE_NOENT, "&amp;" in
 * an attribute would come as "&#38;"; entities of others there are none.
 */

static void
ngx_xmpp_parser_wake(ngx_xmpp_parser_t *p)
{
    if (ngx_xmpp_parser_borrow(p)) {
        return;
    }

    p->ctxt = xmlCreatePushParserCtxt(&ngx_xmpp_xml_sax, p, NULL, 0, NULL);

    if (p->ctxt == NULL) {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_MEMORY, "no memory");
        return;
    }

    (void) xmlCtxtUseOptions(p->ctxt, XML_PARSE_NONET|XML_PARSE_NOENT
                                      |XML_PARSE_IGNORE_ENC);

    p->primed = (p->depth != 0);

    if (p->depth == 0) {
        return;
    }

    p->muted = 1;

    if (xmlParseChunk(p->ctxt, (char *) p->root->tag.data, p->root->tag.len, 0)
        != XML_ERR_OK)
    {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_MEMORY, "no memory");
    }

    p->muted = 0;
}


void
ngx_xmpp_parser_fail(ngx_xmpp_parser_t *p, ngx_xmpp_xml_err_e err, char *text)
{
    if (p->err == NGX_XMPP_XML_ERR_NONE) {
        p->err = err;
        p->err_text = text;
    }
}


/* *text is static; it is set only when there is an error */

ngx_xmpp_xml_err_e
ngx_xmpp_parser_error(ngx_xmpp_parser_t *p, char **text)
{
    if (p->err) {
        *text = p->err_text;
    }

    return p->err;
}


ngx_str_t *
ngx_xmpp_parser_lang(ngx_xmpp_parser_t *p)
{
    return &p->lang;
}


ngx_int_t
ngx_xmpp_parser_set_lang(ngx_xmpp_parser_t *p, ngx_str_t *lang)
{
    u_char  *m;

    if (lang->len > NGX_XMPP_XML_LANG_MAX) {
        return NGX_DECLINED;
    }

    m = p->lang_buf;

    if (lang->len > sizeof(p->lang_buf)) {
        m = ngx_pnalloc(p->owner, lang->len);
        if (m == NULL) {
            return NGX_ERROR;
        }
    }

    ngx_memcpy(m, lang->data, lang->len);

    p->lang.data = m;
    p->lang.len = lang->len;

    return NGX_OK;
}


ngx_str_t *
ngx_xmpp_parser_default_ns(ngx_xmpp_parser_t *p)
{
    return p->root ? &p->root->default_ns : &ngx_xmpp_parser_none;
}


ngx_str_t *
ngx_xmpp_parser_prefix(ngx_xmpp_parser_t *p)
{
    return p->root ? &p->root->prefix : &ngx_xmpp_parser_none;
}


/* Everything of the old stream is gone but the limits, see RFC 6120, 4.3.3. */

void
ngx_xmpp_parser_reset(ngx_xmpp_parser_t *p)
{
    ngx_xmpp_parser_t  old;

    ngx_xmpp_parser_sleep(p);
    ngx_xmpp_parser_drop(p);

    old = *p;

    ngx_memzero(p, sizeof(ngx_xmpp_parser_t));

    p->owner = old.owner;
    p->limits = old.limits;
    p->spare = old.spare;
    p->get_pool = old.get_pool;
    p->data = old.data;
    p->lang.data = p->lang_buf;
    p->restarted = 1;

    if (old.framed) {
        ngx_xmpp_parser_frame(p);
    }
}


void
ngx_xmpp_parser_destroy(ngx_xmpp_parser_t *p)
{
    ngx_xmpp_parser_sleep(p);
    ngx_xmpp_parser_drop(p);

    ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_NOT_WELL_FORMED, "closed");
}


static void
ngx_xmpp_parser_cleanup(void *data)
{
    ngx_xmpp_parser_sleep(data);
    ngx_xmpp_parser_drop(data);
}
