/*
 * XML cursor: what the writer has written is walked tag by tag; anything else,
 * cut off anywhere, ends the walk within its bytes.
 */


#include "tap.h"
#include <ngx_xmpp_xml.h>


static void test_walk(void);
static void test_attributes(void);
static void test_cut(void);
static void test_strange(void);
static ngx_str_t *test_tags(ngx_str_t *s);


int
main(void)
{
    tap_plan(21);

    test_walk();
    test_attributes();
    test_cut();
    test_strange();

    return tap_end();
}


/* depth and name of each tag: "0<a" for a start, "0/a" an end, "0-a" both */

static ngx_str_t *
test_tags(ngx_str_t *s)
{
    u_char                 *p;
    ngx_str_t              *got;
    ngx_xmpp_xml_cursor_t   c;

    got = ngx_palloc(tap_pool(), sizeof(ngx_str_t));
    got->data = ngx_pnalloc(tap_pool(), 32 * (s->len + 1));
    p = got->data;

    ngx_xmpp_xml_cursor_init(&c, s->data, s->len);

    while (ngx_xmpp_xml_cursor_next(&c) == NGX_OK) {
        *p++ = (u_char) ('0' + c.depth);
        *p++ = !c.start ? '/' : c.empty ? '-' : '<';
        p = ngx_cpymem(p, c.name.data, c.name.len);
        *p++ = ' ';
    }

    got->len = p - got->data;

    return got;
}


static void
test_walk(void)
{
    tap_is(test_tags(tap_str("<a/>")), tap_str("0-a "), "an empty root");
    tap_is(test_tags(tap_str("<a x='/'></a>")), tap_str("0<a 0/a "),
           "a slash at the end of a value");
    tap_is(test_tags(tap_str("<m xmlns='c'><b>t&lt;</b>t<d/><e f='g'><h "
                             "xmlns='i'/></e></m>")),
           tap_str("0<m 1<b 1/b 1-d 1<e 2-h 1/e 0/m "), "children");
    tap_is(test_tags(tap_str("<m><b/></m><m/><p></p>")),
           tap_str("0<m 1-b 0/m 0-m 0<p 0/p "), "several roots");
}


static void
test_attributes(void)
{
    ngx_str_t               value, *s;
    ngx_xmpp_xml_cursor_t   c;

    s = tap_str("<m xmlns='c' xmlns:ns0='u' ns0:to='n' a=' to=' to='&apos;' "
                "e=''>");

    ngx_xmpp_xml_cursor_init(&c, s->data, s->len);

    tap_ok(ngx_xmpp_xml_cursor_next(&c) == NGX_OK && c.start && !c.empty,
           "a start tag");
    tap_ok(ngx_xmpp_xml_cursor_attr(&c, "to", &value) == NGX_OK, "to");
    tap_is(&value, tap_str("&apos;"), "escaped, and none that looks like it");
    tap_ok(ngx_xmpp_xml_cursor_attr(&c, "e", &value) == NGX_OK
           && value.len == 0, "an empty value");
    tap_ok(ngx_xmpp_xml_cursor_attr(&c, "xmln", &value) == NGX_DECLINED
           && value.len == 0, "the begin of a name");
    tap_ok(ngx_xmpp_xml_cursor_attr(&c, "s", &value) == NGX_DECLINED,
           "the end of a name");
    tap_ok(ngx_xmpp_xml_cursor_is(&c, "m", "c"), "name and namespace");
    tap_ok(!ngx_xmpp_xml_cursor_is(&c, "m", "u")
           && !ngx_xmpp_xml_cursor_is(&c, "m", "")
           && !ngx_xmpp_xml_cursor_is(&c, "mm", "c")
           && !ngx_xmpp_xml_cursor_is(&c, "", "c"), "not others");

    s = tap_str("<m/>");
    ngx_xmpp_xml_cursor_init(&c, s->data, s->len);

    tap_ok(ngx_xmpp_xml_cursor_next(&c) == NGX_OK && c.empty
           && ngx_xmpp_xml_cursor_is(&c, "m", ""), "no namespace of its own");
}


/* each part of a stanza, in a block of its own */

static void
test_cut(void)
{
    size_t      from, to;
    ngx_str_t  *s, *part, *got;
    ngx_uint_t  bad;

    s = tap_str("<m xmlns='c' to='a@b'><x y='/'/><z>t</z></m>");
    bad = 0;

    for (from = 0; from < s->len; from++) {
        for (to = from; to <= s->len; to++) {
            part = tap_copy(tap_pool(), (char *) s->data + from, to - from);
            got = test_tags(part);

            bad += (got->len > sizeof("0<m 1-x 1<z 1/z 0/m ") - 1);
        }
    }

    tap_ok(bad == 0, "cut off anywhere");
}


static void
test_strange(void)
{
    ngx_str_t               value, *s;
    ngx_xmpp_xml_cursor_t   c;

    tap_is(test_tags(tap_str("</a>")), tap_str(""), "an end without a start");
    tap_is(test_tags(tap_str("<a></a></a><b/>")), tap_str("0<a 0/a "),
           "one more end");
    tap_is(test_tags(tap_str("<>")), tap_str(""), "no name");
    tap_is(test_tags(tap_str("</>")), tap_str(""), "an end of nothing");
    tap_is(test_tags(tap_str("< a>")), tap_str("0< "), "a blank");
    tap_is(test_tags(tap_str("a > b")), tap_str(""), "no tag");

    s = tap_str("<m a b='c' d='>");
    ngx_xmpp_xml_cursor_init(&c, s->data, s->len);

    tap_ok(ngx_xmpp_xml_cursor_next(&c) == NGX_OK
           && ngx_xmpp_xml_cursor_attr(&c, "b", &value) == NGX_DECLINED
           && ngx_xmpp_xml_cursor_attr(&c, "d", &value) == NGX_DECLINED,
           "attributes that are none");
}
