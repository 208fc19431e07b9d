/*
 * Shared by the XML tests: a parser under test, and the trace of what it
 * says to some bytes.
 *
 * A trace has a line for each event: its name and the canonical bytes of its
 * tree, or the name of the error:
 *
 *     open <stream xmlns='http://etherx.jabber.org/streams'/>
 *     element <a xmlns='jabber:client'/>
 *     error not-well-formed
 *
 * In the input, '|' is not a byte but a mark: there the parser has to stop
 * with an event.  If it does so elsewhere, the trace says where.  The same
 * bytes have to give the same trace however they are cut.
 */


#ifndef _NGX_XMPP_TEST_XML_H_INCLUDED_
#define _NGX_XMPP_TEST_XML_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_xmpp_xml_parser.h>
#include "tap.h"


#define TEST_STREAMS  "http://etherx.jabber.org/streams"

#define TEST_HEADER                                                           \
    "<stream:stream xmlns='jabber:client' xmlns:stream='" TEST_STREAMS "'>"

/* its event */
#define TEST_OPEN  "open <stream xmlns='" TEST_STREAMS "'/>\n"


/* how to cut; each but the first may hibernate in between */
enum {
    TEST_WHOLE = 0,
    TEST_BYTES,
    TEST_RANDOM
};


typedef struct {
    ngx_xmpp_parser_t      *parser;
    ngx_xmpp_xml_limits_t   limits;
    ngx_pool_t             *pool;         /* the parser's and the trace's */
    ngx_pool_t             *stanza;
    ngx_uint_t              pools;        /* given */
    uint32_t                seed;
    size_t                  marks[16];
    ngx_uint_t              nmarks;
    ngx_uint_t              events;
    ngx_str_t               trace;
    size_t                  size;         /* room for it */
} test_xml_t;


static char *test_errors[] = {
    "none", "not-well-formed", "bad-prefix", "restricted", "encoding",
    "too-big", "depth", "attrs", "elements", "name", "text", "memory"
};


/* the spare context of a program, for all of its parsers */
static ngx_xmpp_parser_spare_t  test_spare;


static ngx_inline uint32_t
test_random(test_xml_t *t, uint32_t n)
{
    t->seed = t->seed * 1103515245 + 12345;

    return (t->seed >> 8) % n;
}


static ngx_inline ngx_pool_t *
test_get_pool(void *data)
{
    test_xml_t *t = data;

    if (t->stanza) {
        ngx_destroy_pool(t->stanza);
    }

    t->pools++;
    t->stanza = ngx_create_pool(1024, NULL);

    return t->stanza;
}


static ngx_inline ngx_int_t
test_xml_begin(test_xml_t *t)
{
    ngx_memzero(t, sizeof(test_xml_t));

    t->limits.max_stanza = 65536;
    t->limits.max_depth = 16;
    t->limits.max_attrs = 16;
    t->limits.max_elements = 64;

    t->pool = ngx_create_pool(1024, NULL);
    if (t->pool == NULL) {
        return NGX_ERROR;
    }

    t->parser = ngx_xmpp_parser_create(t->pool, &t->limits, &test_spare,
                                       test_get_pool, t);

    return t->parser ? NGX_OK : NGX_ERROR;
}


static ngx_inline void
test_xml_end(test_xml_t *t)
{
    if (t->stanza) {
        ngx_destroy_pool(t->stanza);
    }

    if (t->pool) {
        ngx_destroy_pool(t->pool);
    }
}


/* appends to a string that has room in its pool; strings grow by doubling */

static ngx_inline void
test_append(ngx_pool_t *pool, ngx_str_t *s, size_t *size, const void *data,
    size_t len)
{
    u_char  *m;

    if (len > *size - s->len) {
        *size = 2 * (*size + len);
        m = ngx_pnalloc(pool, *size);

        if (s->len) {
            ngx_memcpy(m, s->data, s->len);
            ngx_pfree(pool, s->data);
        }

        s->data = m;
    }

    if (len) {
        ngx_memcpy(s->data + s->len, data, len);
        s->len += len;
    }
}


static ngx_inline void
test_trace(test_xml_t *t, ngx_xmpp_xml_event_e event, size_t offset,
    ngx_xmpp_xml_t *e)
{
    int      n;
    char     line[64], *text;
    size_t   size;
    u_char  *out;

    static char  *events[] = { "more", "open", "element", "close", "error" };

    n = snprintf(line, sizeof(line), "%s", events[event]);

    if (event == NGX_XMPP_XML_ERROR) {
        n += snprintf(line + n, sizeof(line) - n, " %s",
                      test_errors[ngx_xmpp_parser_error(t->parser, &text)]);

    } else if (t->nmarks
               && (t->events >= t->nmarks || t->marks[t->events] != offset))
    {
        n += snprintf(line + n, sizeof(line) - n, " at %d", (int) offset);
    }

    t->events++;

    test_append(t->pool, &t->trace, &t->size, line, n);

    if (e) {
        size = ngx_xmpp_xml_size(e, NULL);
        out = ngx_pnalloc(t->pool, size);

        if (ngx_xmpp_xml_write(out, e, NULL) != out + size) {
            test_append(t->pool, &t->trace, &t->size, " wrong size", 11);
        }

        test_append(t->pool, &t->trace, &t->size, " ", 1);
        test_append(t->pool, &t->trace, &t->size, out, size);

        ngx_pfree(t->pool, out);
    }

    test_append(t->pool, &t->trace, &t->size, "\n", 1);
}


/*
 * Feeds all of s, cut as said, until an error or the end of the stream.  Each
 * part is in a block of its own, so that nothing is read beyond it or later.
 */

static ngx_inline ngx_str_t *
test_feed(test_xml_t *t, ngx_str_t *s, ngx_uint_t cut, ngx_uint_t hibernate)
{
    size_t                 len, offset;
    u_char                *part, *pos;
    ngx_xmpp_xml_t        *e;
    ngx_xmpp_xml_event_e   event;

    t->trace.len = 0;
    t->events = 0;

    for (offset = 0; offset < s->len; offset += len) {

        len = (cut == TEST_WHOLE) ? s->len
            : (cut == TEST_BYTES) ? 1
            : 1 + test_random(t, test_random(t, 4) ? 9 : 300);
        len = ngx_min(len, s->len - offset);

        part = ngx_pnalloc(t->pool, len);
        ngx_memcpy(part, s->data + offset, len);

        pos = part;
        event = NGX_XMPP_XML_MORE;

        for ( ;; ) {
            e = NULL;
            event = ngx_xmpp_parser_feed(t->parser, &pos, part + len, &e);

            if (event == NGX_XMPP_XML_MORE) {
                break;
            }

            test_trace(t, event, offset + (pos - part), e);

            if (event >= NGX_XMPP_XML_CLOSE) {
                break;
            }

            if (hibernate) {
                ngx_xmpp_parser_hibernate(t->parser);
            }
        }

        ngx_pfree(t->pool, part);

        if (hibernate) {
            ngx_xmpp_parser_hibernate(t->parser);
        }

        if (event != NGX_XMPP_XML_MORE) {
            break;
        }
    }

    return &t->trace;
}


/* takes the marks out of s */

static ngx_inline ngx_str_t *
test_marks(test_xml_t *t, ngx_str_t *s)
{
    size_t      i;
    ngx_str_t  *raw;

    raw = ngx_palloc(t->pool, sizeof(ngx_str_t));
    raw->data = ngx_pnalloc(t->pool, s->len);
    raw->len = 0;

    for (i = 0; i < s->len; i++) {
        if (s->data[i] == '|') {
            t->marks[t->nmarks++] = raw->len;

        } else {
            raw->data[raw->len++] = s->data[i];
        }
    }

    return raw;
}


/*
 * One test: s gives the trace, whole, bytewise, in random cuts, hibernating,
 * with and without a spare context.
 */

static ngx_inline void
test_all_cuts(const char *name, ngx_str_t *s, ngx_str_t *trace)
{
    ngx_str_t   *raw, *got;
    ngx_uint_t   i, cut;
    test_xml_t   t;

    for (i = 0; i < 32; i++) {

        cut = (i < 4) ? TEST_WHOLE : (i < 8) ? TEST_BYTES : TEST_RANDOM;

        test_xml_begin(&t);
        t.seed = i;

        if (i & 8) {
            t.parser->spare = NULL;
        }

        /* byte by byte, all is read again for each: not for the longest */

        t.limits.raw = (i & 2) && (cut != TEST_BYTES || s->len < 4096);

        raw = test_marks(&t, s);
        got = test_feed(&t, raw, cut, i & 1);

        if (got->len != trace->len
            || ngx_memcmp(got->data, trace->data, got->len) != 0)
        {
            tap_ok(0, "%s", name);
            printf("# cut %d, seed %d\n", (int) cut, (int) i);
            tap_show("got", got);
            tap_show("want", trace);

            test_xml_end(&t);
            return;
        }

        test_xml_end(&t);
    }

    tap_ok(1, "%s", name);
}


#endif /* _NGX_XMPP_TEST_XML_H_INCLUDED_ */
