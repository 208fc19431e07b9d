/*
 * Fuzzing of the XML parser and writer, for libFuzzer.
 *
 * The first two bytes of the input say how to go about it: bit 0 of the first
 * puts a usual header in front of the rest, its other bits and the second are
 * the seed of the cuts.  What has to hold for all inputs:
 *
 *  1. In one piece or cut anywhere, hibernating or not, the same elements come
 *     at the same offsets.
 *  2. An element that is written and parsed again is the same.
 *  3. libxml2, parsing the whole document at once, finds the same tree; and
 *     what it accepts is not called not-well-formed.
 *  4. A cursor over what was written meets the elements, one after the other.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_xmpp_xml.h>
#include <libxml/parser.h>
#include <libxml/tree.h>


#define FUZZ_HEADER                                                           \
    "<stream:stream xmlns='jabber:client' "                                   \
    "xmlns:stream='http://etherx.jabber.org/streams'>"

/* length of a line "\n2 at   123: " */
#define FUZZ_EVENT  13


/* what came out of a run: lines of event, offset and element */
typedef struct {
    ngx_pool_t            *pool;
    ngx_pool_t            *stanza;
    u_char                *data;
    size_t                 len;
    size_t                 size;
    size_t                 end;           /* offset of the last event */
    ngx_xmpp_xml_event_e   event;         /* the last one */
    char                  *error;
} fuzz_run_t;


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_run(fuzz_run_t *run, const uint8_t *data, size_t size,
    uint32_t seed);
static void fuzz_run_done(fuzz_run_t *run);
static void fuzz_put(fuzz_run_t *run, const void *data, size_t len);
static void fuzz_put_event(fuzz_run_t *run);
static void fuzz_put_element(fuzz_run_t *run, ngx_xmpp_xml_t *e);
static ngx_pool_t *fuzz_get_pool(void *data);
static void fuzz_again(ngx_xmpp_xml_t *e);
static void fuzz_walk(u_char *out, size_t size, ngx_xmpp_xml_t *root);
static void fuzz_whole(fuzz_run_t *run, const uint8_t *data, size_t size);
static void fuzz_document(fuzz_run_t *run, xmlDocPtr doc);
static ngx_xmpp_xml_t *fuzz_convert(ngx_pool_t *pool, xmlNodePtr root);
static ngx_xmpp_xml_t *fuzz_element(ngx_pool_t *pool, xmlNodePtr node);
static ngx_str_t fuzz_string(const xmlChar *s);
static void fuzz_message(void *data, const char *text, ...);


static ngx_xmpp_parser_spare_t  fuzz_spare;


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t       len;
    uint32_t     seed;
    uint8_t     *doc;
    fuzz_run_t   whole, cut;

    if (size < 2 || size > 65536) {
        return 0;
    }

    xmlSetGenericErrorFunc(NULL, fuzz_message);

    seed = data[0] / 2 + 128 * data[1] + 1;
    len = (data[0] & 1) ? sizeof(FUZZ_HEADER) - 1 : 0;

    doc = malloc(len + size);
    ngx_memcpy(ngx_cpymem(doc, FUZZ_HEADER, len), data + 2, size - 2);
    len += size - 2;

    fuzz_run(&whole, doc, len, 0);
    fuzz_run(&cut, doc, len, seed);

    if (whole.len != cut.len || memcmp(whole.data, cut.data, cut.len) != 0) {
        fprintf(stderr, "whole: %.*s\ncut: %.*s\n", (int) whole.len, whole.data,
               (int) cut.len, cut.data);
        abort();
    }

    fuzz_whole(&whole, doc, len);

    fuzz_run_done(&whole);
    fuzz_run_done(&cut);
    free(doc);

    return 0;
}


/* seed 0: in one piece */

static void
fuzz_run(fuzz_run_t *run, const uint8_t *data, size_t size, uint32_t seed)
{
    size_t                  len, offset;
    u_char                 *part, *pos;
    ngx_xmpp_xml_t         *e;
    ngx_xmpp_parser_t      *p;
    ngx_xmpp_xml_limits_t   limits;

    limits.max_stanza = 16384;
    limits.max_depth = 32;
    limits.max_attrs = 32;
    limits.max_elements = 256;
    limits.raw = (seed & 1);

    ngx_memzero(run, sizeof(fuzz_run_t));

    run->pool = ngx_create_pool(4096, NULL);
    fuzz_put(run, "-", 1);

    p = ngx_xmpp_parser_create(run->pool, &limits,
                               (seed & 2) ? &fuzz_spare : NULL,
                               fuzz_get_pool, run);

    for (offset = 0; offset < size; offset += len) {

        seed = seed ? seed * 1103515245 + 12345 : 0;
        len = seed ? 1 + (seed >> 16) % ((seed >> 8) % 8 ? 5 : 500) : size;
        len = ngx_min(len, size - offset);

        part = ngx_pnalloc(run->pool, len);
        ngx_memcpy(part, data + offset, len);
        pos = part;

        do {
            run->event = ngx_xmpp_parser_feed(p, &pos, part + len, &e);

            if (run->event == NGX_XMPP_XML_OPEN
                || run->event == NGX_XMPP_XML_ELEMENT)
            {
                run->end = offset + (pos - part);
                fuzz_put_event(run);
                fuzz_put_element(run, e);

                if (!seed) {
                    fuzz_again(e);
                }
            }

            if (seed & 0x1000) {
                ngx_xmpp_parser_hibernate(p);
            }

        } while (run->event == NGX_XMPP_XML_OPEN
                 || run->event == NGX_XMPP_XML_ELEMENT);

        ngx_pfree(run->pool, part);

        if (run->event != NGX_XMPP_XML_MORE) {
            run->end = offset + (pos - part);
            break;
        }
    }

    /* when an error is found depends on the cuts, the end does not */

    if (run->event == NGX_XMPP_XML_CLOSE) {
        fuzz_put_event(run);
    }

    if (run->event == NGX_XMPP_XML_ERROR) {
        ngx_xmpp_parser_error(p, &run->error);
    }
}


static void
fuzz_run_done(fuzz_run_t *run)
{
    if (run->stanza) {
        ngx_destroy_pool(run->stanza);
    }

    ngx_destroy_pool(run->pool);
}


static void
fuzz_put(fuzz_run_t *run, const void *data, size_t len)
{
    u_char  *m;

    if (len > run->size - run->len) {
        run->size = 2 * (run->size + len);
        m = ngx_pnalloc(run->pool, run->size);

        if (run->data) {
            ngx_memcpy(m, run->data, run->len);
            ngx_pfree(run->pool, run->data);
        }

        run->data = m;
    }

    ngx_memcpy(run->data + run->len, data, len);
    run->len += len;
}


static void
fuzz_put_event(fuzz_run_t *run)
{
    char  line[FUZZ_EVENT + 1];

    snprintf(line, sizeof(line), "\n%d at %5d: ", (int) run->event,
             (int) run->end);
    fuzz_put(run, line, FUZZ_EVENT);
}


static void
fuzz_put_element(fuzz_run_t *run, ngx_xmpp_xml_t *e)
{
    size_t   size;
    u_char  *out;

    size = ngx_xmpp_xml_size(e, NULL);
    out = ngx_pnalloc(run->pool, size);

    if (ngx_xmpp_xml_write(out, e, NULL) != out + size) {
        abort();
    }

    fuzz_put(run, out, size);
    ngx_pfree(run->pool, out);
}


static ngx_pool_t *
fuzz_get_pool(void *data)
{
    fuzz_run_t *run = data;

    if (run->stanza) {
        ngx_destroy_pool(run->stanza);
    }

    run->stanza = ngx_create_pool(1024, NULL);

    return run->stanza;
}


/* written and parsed once more, an element is the same */

static void
fuzz_again(ngx_xmpp_xml_t *e)
{
    size_t                  size;
    u_char                 *out, *pos;
    fuzz_run_t              run;
    ngx_xmpp_xml_t         *same;
    ngx_xmpp_parser_t      *p;
    ngx_xmpp_xml_limits_t   limits;

    limits.max_stanza = 1 << 20;
    limits.max_depth = 1000;
    limits.max_attrs = 1000;
    limits.max_elements = 1000;
    limits.raw = 0;

    ngx_memzero(&run, sizeof(fuzz_run_t));
    run.pool = ngx_create_pool(1024, NULL);
    p = ngx_xmpp_parser_create(run.pool, &limits, &fuzz_spare, fuzz_get_pool,
                               &run);

    pos = (u_char *) FUZZ_HEADER;
    ngx_xmpp_parser_feed(p, &pos, pos + sizeof(FUZZ_HEADER) - 1, &same);

    size = ngx_xmpp_xml_size(e, &ngx_xmpp_ns_client);
    out = ngx_pnalloc(run.pool, size);
    ngx_xmpp_xml_write(out, e, &ngx_xmpp_ns_client);
    fuzz_walk(out, size, e);

    pos = out;

    if (ngx_xmpp_parser_feed(p, &pos, out + size, &same)
        != NGX_XMPP_XML_ELEMENT
        || pos != out + size)
    {
        fprintf(stderr, "not parsed again: %.*s\n", (int) size, out);
        abort();
    }

    fuzz_put_element(&run, e);
    size = run.len;
    fuzz_put_element(&run, same);

    if (run.len != 2 * size
        || ngx_memcmp(run.data, run.data + size, size) != 0)
    {
        fprintf(stderr, "not the same: %.*s\n", (int) run.len, run.data);
        abort();
    }

    fuzz_run_done(&run);
}


/* the bytes of an element, written where jabber:client is in scope */

static void
fuzz_walk(u_char *out, size_t size, ngx_xmpp_xml_t *root)
{
    ngx_str_t               ns, *scope;
    ngx_uint_t              depth;
    ngx_xmpp_xml_t         *e, *next;
    ngx_xmpp_xml_cursor_t   c;

    ngx_xmpp_xml_cursor_init(&c, out, size);

    e = root;
    depth = 0;

    while (ngx_xmpp_xml_cursor_next(&c) == NGX_OK) {

        if (!c.start) {
            continue;
        }

        scope = (e == root) ? &ngx_xmpp_ns_client : &e->parent->ns;

        if (e == NULL || c.depth != depth
            || c.name.len != e->name.len
            || ngx_memcmp(c.name.data, e->name.data, c.name.len) != 0
            || (ngx_xmpp_xml_cursor_attr(&c, "xmlns", &ns) == NGX_OK)
               == ngx_xmpp_xml_same(&e->ns, scope))
        {
            fprintf(stderr, "not walked: %.*s\n", (int) size, out);
            abort();
        }

        next = ngx_xmpp_xml_child(e, NULL, NULL);

        for (depth++; next == NULL && e != root; depth--) {
            next = ngx_xmpp_xml_next(e);
            e = e->parent;
        }

        e = next;
    }

    if (e || c.pos != c.last || c.open) {
        fprintf(stderr, "not walked to the end: %.*s\n", (int) size, out);
        abort();
    }
}


static void
fuzz_whole(fuzz_run_t *run, const uint8_t *data, size_t size)
{
    size_t            len, skip;
    xmlDocPtr         doc;
    xmlParserCtxtPtr  ctxt;

    len = (run->event == NGX_XMPP_XML_CLOSE) ? run->end : size;

    /*
     * What is known to differ: a line end too few, see
     * ngx_xmpp_xml_sax_cdata(); and a header of three bytes is none, libxml2
     * waits for four.
     */

    if (memmem(data, len, "\r]]><![CDATA[\n", 14)
        || (len > 2 && data[2] == '>'))
    {
        return;
    }

    /* for the scanner, a PI ends with the first '>' */

    skip = (size > 5 && ngx_memcmp(data, "<?xml", 5) == 0) ? 5 : 0;

    ctxt = xmlNewParserCtxt();
    doc = xmlCtxtReadMemory(ctxt, (const char *) data, len, NULL, NULL,
                            XML_PARSE_NONET|XML_PARSE_NOENT|XML_PARSE_NOERROR
                            |XML_PARSE_NOWARNING|XML_PARSE_IGNORE_ENC);

    if (run->event == NGX_XMPP_XML_CLOSE) {

        if (doc == NULL) {
            fprintf(stderr, "not well-formed: %.*s\n", (int) len, data);
            abort();
        }

        fuzz_document(run, doc);

    } else if (doc && run->event == NGX_XMPP_XML_ERROR
               && ngx_strcmp(run->error, "not well-formed") == 0
               && memmem(data + skip, size - skip, "<?", 2) == NULL)
    {
        fprintf(stderr, "well-formed: %.*s\n", (int) len, data);
        abort();
    }

    if (doc) {
        xmlFreeDoc(doc);
    }

    xmlFreeParserCtxt(ctxt);
}


/* the elements of the run, without offsets, against those of the document */

static void
fuzz_document(fuzz_run_t *run, xmlDocPtr doc)
{
    u_char      *pos;
    xmlNodePtr   root, node;
    fuzz_run_t   whole;

    ngx_memzero(&whole, sizeof(fuzz_run_t));
    whole.pool = ngx_create_pool(4096, NULL);

    root = xmlDocGetRootElement(doc);
    pos = run->data + 1;

    fuzz_put_element(&whole, fuzz_element(whole.pool, root));
    node = root->children;

    for ( ;; ) {

        if (whole.len) {
            pos += FUZZ_EVENT;

            if (ngx_memcmp(pos, whole.data, whole.len) != 0) {
                fprintf(stderr, "not the same as: %.*s\n", (int) whole.len,
                        whole.data);
                abort();
            }

            pos += whole.len;
            whole.len = 0;
        }

        if (node == NULL) {
            break;
        }

        if (node->type == XML_ELEMENT_NODE) {
            fuzz_put_element(&whole, fuzz_convert(whole.pool, node));
        }

        node = node->next;
    }

    fuzz_run_done(&whole);
}


/* libxml2's tree as one of ours; it was read with a limit of its depth */

static ngx_xmpp_xml_t *
fuzz_convert(ngx_pool_t *pool, xmlNodePtr root)
{
    ngx_str_t        text;
    xmlNodePtr       node;
    ngx_xmpp_xml_t  *e, *child, *top;

    top = fuzz_element(pool, root);
    e = top;

    for (node = root->children; node; /* void */) {

        if (node->type == XML_ELEMENT_NODE) {
            child = fuzz_element(pool, node);
            ngx_xmpp_xml_append(e, child);

            if (node->children) {
                e = child;
                node = node->children;
                continue;
            }

        } else {
            text = fuzz_string(node->content);

            if (text.len) {
                (void) ngx_xmpp_xml_add_text(pool, e, &text);
            }
        }

        while (node->next == NULL && node->parent != root) {
            node = node->parent;
            e = e->parent;
        }

        node = node->next;
    }

    return top;
}


static ngx_xmpp_xml_t *
fuzz_element(ngx_pool_t *pool, xmlNodePtr node)
{
    xmlChar         *value;
    xmlAttrPtr       attr;
    ngx_str_t        name, ns, s, *copy;
    ngx_xmpp_xml_t  *e;

    name = fuzz_string(node->name);
    ns = fuzz_string(node->ns ? node->ns->href : NULL);
    e = ngx_xmpp_xml_create(pool, &name, &ns);

    for (attr = node->properties; attr; attr = attr->next) {

        value = xmlNodeListGetString(node->doc, attr->children, 1);
        s = fuzz_string(value);

        copy = ngx_palloc(pool, sizeof(ngx_str_t));
        copy->len = s.len;
        copy->data = ngx_pnalloc(pool, s.len);
        ngx_memcpy(copy->data, s.data, s.len);
        xmlFree(value);

        ns = fuzz_string(attr->ns ? attr->ns->href : NULL);
        ngx_xmpp_xml_set_ns(pool, e, &ns, (const char *) attr->name, copy);
    }

    return e;
}


static ngx_str_t
fuzz_string(const xmlChar *s)
{
    ngx_str_t  str;

    str.data = (u_char *) (s ? s : (xmlChar *) "");
    str.len = ngx_strlen(str.data);

    return str;
}


static void
fuzz_message(void *data, const char *text, ...)
{
    /* void */
}
