/*
 * XML parser: memory runs out, at each allocation in turn, of nginx's pools
 * and of libxml2.  The answer is an error and never a wrong tree; nothing
 * leaks, and a reset makes the parser as good as new.
 *
 * libxml2 2.9 does not always notice, and may take a name that it could not
 * store for a prefix that was not declared.
 */


#include "test_xml.h"
#include <libxml/xmlmemory.h>


static ngx_uint_t test_torture(ngx_int_t *left, ngx_uint_t once,
    ngx_uint_t *wrong);
static ngx_uint_t test_run(ngx_int_t *left);
static ngx_uint_t test_feed_all(ngx_xmpp_parser_t *p);
static ngx_pool_t *test_pool(void *data);
static ngx_uint_t test_fail(void);
static void test_message(void *data, const char *text, ...);
static void *test_malloc(size_t size);
static void *test_realloc(void *p, size_t size);
static char *test_strdup(const char *s);


/* unusual in all that takes memory: namespaces, xml:lang, text in pieces */

static ngx_str_t  test_stream = ngx_string(
    "<?xml version='1.0' encoding='UTF-8'?>"
    "<s:stream xmlns:s='" TEST_STREAMS "' xmlns='jabber:server' "
    "xmlns:db='jabber:server:dialback' xml:lang='sl-rozaj-biske-1994'>"
    "<db:result a:b='c' xmlns:a='urn:x' to='&lt;&amp;'>one&amp;two"
    "<![CDATA[three]]>four<e xmlns='urn:y'/>five</db:result>"
    " <message><body>\xc3\xa9</body></message>"
    "</s:stream>");


static ngx_pool_t  *test_stanza;
static ngx_int_t    test_left = -1;
static ngx_uint_t   test_once;


int
main(void)
{
    ngx_uint_t  n, wrong;

    if (xmlMemSetup(free, test_malloc, test_realloc, test_strdup) != 0) {
        return 1;
    }

    xmlSetGenericErrorFunc(NULL, test_message);

    tap_plan(6);

    n = test_torture(&ngx_xmpp_ctl_allocs, 0, &wrong);
    tap_ok(n > 10, "nginx's pools: %d allocations", (int) n);
    tap_ok(wrong == 0, "after each, no memory any more");

    n = test_torture(&test_left, 0, &wrong);
    tap_ok(n > 30, "libxml2: %d allocations", (int) n);
    tap_ok(wrong == 0, "after each, no memory any more");

    n = test_torture(&test_left, 1, &wrong);
    tap_ok(n > 30, "libxml2: %d allocations", (int) n);
    tap_ok(wrong == 0, "each alone fails");

    return tap_end();
}


/* how many runs there were before one found enough memory */

static ngx_uint_t
test_torture(ngx_int_t *left, ngx_uint_t once, ngx_uint_t *wrong)
{
    ngx_uint_t  n, rc;

    *wrong = 0;

    for (n = 0; n < 10000; n++) {

        *left = n;
        test_once = once;

        rc = test_run(left);

        if (rc == 1 && *left > 0) {
            break;
        }

        if (rc == 0) {
            printf("# allocation %d\n", (int) n);
            (*wrong)++;
        }
    }

    *left = -1;

    return n;
}


/* 1: all events came, 0: something went wrong, 2: no memory, an error */

static ngx_uint_t
test_run(ngx_int_t *left)
{
    ngx_uint_t              rc;
    ngx_pool_t             *pool;
    ngx_xmpp_parser_t      *p;
    ngx_xmpp_xml_limits_t   limits;

    limits.max_stanza = 4096;
    limits.max_depth = 16;
    limits.max_attrs = 16;
    limits.max_elements = 64;
    limits.raw = 1;

    pool = ngx_create_pool(1024, NULL);
    if (pool == NULL) {
        return 2;
    }

    p = ngx_xmpp_parser_create(pool, &limits, NULL, test_pool, NULL);

    if (p == NULL) {
        ngx_destroy_pool(pool);
        return 2;
    }

    rc = test_feed_all(p);

    if (rc == 2) {
        *left = -1;

        ngx_xmpp_parser_reset(p);

        if (test_feed_all(p) != 1) {
            rc = 0;
        }
    }

    if (test_stanza) {
        ngx_destroy_pool(test_stanza);
        test_stanza = NULL;
    }

    ngx_destroy_pool(pool);

    return rc;
}


/* by pieces of 50 bytes, hibernating behind each; as test_run() */

static ngx_uint_t
test_feed_all(ngx_xmpp_parser_t *p)
{
    u_char                *pos, *last, *end;
    ngx_uint_t             n;
    ngx_xmpp_xml_t        *e;
    ngx_xmpp_xml_event_e   event;

    static const ngx_xmpp_xml_event_e  events[] = {
        NGX_XMPP_XML_OPEN, NGX_XMPP_XML_ELEMENT, NGX_XMPP_XML_ELEMENT,
        NGX_XMPP_XML_CLOSE
    };

    n = 0;
    pos = test_stream.data;
    end = pos + test_stream.len;
    last = pos;

    for ( ;; ) {
        event = ngx_xmpp_parser_feed(p, &pos, last, &e);

        if (event == NGX_XMPP_XML_ERROR) {
            return 2;
        }

        if (event == NGX_XMPP_XML_MORE) {
            if (last == end) {
                return 0;
            }

            ngx_xmpp_parser_hibernate(p);
            last = (end - last > 50) ? last + 50 : end;
            continue;
        }

        if (event != events[n++]) {
            return 0;
        }

        /* the tree is whole */

        if (n == 2 && (ngx_xmpp_xml_size(e, NULL)
                       != sizeof("<result xmlns='jabber:server:dialback' "
                                 "xmlns:ns0='urn:x' ns0:b='c' "
                                 "to='&lt;&amp;'>one&amp;twothreefour"
                                 "<e xmlns='urn:y'/>five</result>") - 1))
        {
            return 0;
        }

        if (event == NGX_XMPP_XML_CLOSE) {
            return n == 4;
        }

        ngx_xmpp_parser_hibernate(p);
    }
}


static ngx_pool_t *
test_pool(void *data)
{
    if (test_stanza) {
        ngx_destroy_pool(test_stanza);
    }

    test_stanza = ngx_create_pool(1024, NULL);

    return test_stanza;
}


/* as ngx_xmpp_ctl_allocs, for libxml2 */

static ngx_uint_t
test_fail(void)
{
    if (test_left < 0) {
        return 0;
    }

    if (test_left > 0) {
        test_left--;
        return 0;
    }

    if (test_once) {
        test_left = -1;
    }

    return 1;
}


static void *
test_malloc(size_t size)
{
    return test_fail() ? NULL : malloc(size);
}


static void *
test_realloc(void *p, size_t size)
{
    return test_fail() ? NULL : realloc(p, size);
}


static char *
test_strdup(const char *s)
{
    return test_fail() ? NULL : strdup(s);
}


/* libxml2 2.9 tells of it at once, and not to its caller only */

static void
test_message(void *data, const char *text, ...)
{
    /* void */
}
