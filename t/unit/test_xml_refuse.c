/*
 * XML parser: what it refuses, and by which stream error.
 *
 * RFC 6120, 4.9.3 (errors), 11.1 (restrictions), 11.3 (well-formedness),
 * 11.6 (encoding); Namespaces in XML 1.0; attacks on other servers.
 */


#include "test_xml.h"


#define H  TEST_HEADER
#define O  TEST_OPEN

/* strings with a '\0' inside */
#define test_string(s)  { sizeof(s) - 1, (u_char *) s }


typedef struct {
    char       *name;
    ngx_str_t   in;
    char       *error;
} test_refusal_t;


static void test_refuse(char *name, char *header, char *before, ngx_str_t *in,
    char *after, char *error);
static void test_utf8(void);
static void test_limits(void);
static void test_edge(const char *want, const char *before, const char *piece,
    ngx_uint_t n, const char *end, ngx_uint_t m);
static void test_message(void *data, const char *text, ...);


/* before the header */

static test_refusal_t  test_headers[] = {

    { "white space before the declaration",
      test_string("\n<?xml version='1.0'?>" H), "not-well-formed" },
    { "text before the header",
      test_string("hello" H), "not-well-formed" },
    { "HTTP",
      test_string("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "not-well-formed" },
    { "TLS",
      test_string("\x16\x03\x01\x02\x00\x01\x00"), "not-well-formed" },
    { "end tag first",
      test_string("</stream:stream>"), "not-well-formed" },
    { "empty tag",
      test_string("<>    "), "not-well-formed" },

    /* RFC 6120, 11.6: a BOM is a character like others */

    { "byte order mark of UTF-8",
      test_string("\xef\xbb\xbf" H), "not-well-formed" },
    { "byte order mark of UTF-16, little-endian",
      test_string("\xff\xfe<\0s\0"), "encoding" },
    { "byte order mark of UTF-16, big-endian",
      test_string("\xfe\xff\0<\0s"), "encoding" },
    { "UTF-16, little-endian",
      test_string("<\0?\0x\0m\0l\0"), "encoding" },
    { "UTF-16, big-endian",
      test_string("\0<\0?\0x\0m\0l"), "encoding" },
    { "UTF-32, big-endian",
      test_string("\0\0\0<\0\0\0?"), "encoding" },
    { "UTF-32, little-endian",
      test_string("<\0\0\0?\0\0\0"), "encoding" },
    { "EBCDIC",
      test_string("\x4c\x6f\xa7\x94\x93"), "not-well-formed" },
    { "declared Latin-1",
      test_string("<?xml version='1.0' encoding='ISO-8859-1'?>" H),
      "encoding" },
    { "declared UTF-16",
      test_string("<?xml version='1.0' encoding=\"UTF-16\"?>" H),
      "encoding" },
    { "declared UTF-8 and more",
      test_string("<?xml version='1.0' encoding='UTF-8x'?>" H), "encoding" },
    { "declared UTF",
      test_string("<?xml version='1.0' encoding='UTF'?>" H), "encoding" },
    { "declared nothing",
      test_string("<?xml version='1.0' encoding=''?>" H), "encoding" },

    { "XML 1.1",
      test_string("<?xml version='1.1'?>" H), "not-well-formed" },
    { "no version",
      test_string("<?xml encoding='UTF-8'?>" H), "not-well-formed" },
    { "two declarations",
      test_string("<?xml version='1.0'?><?xml version='1.0'?>" H),
      "not-well-formed" },
    { "comment first",
      test_string("<!-- x -->" H), "restricted" },
    { "PI first",
      test_string("<?php x?>" H), "restricted" },
    { "DTD",
      test_string("<!DOCTYPE s [<!ENTITY a 'b'>]>" H), "restricted" },
    { "DTD behind a declaration",
      test_string("<?xml version='1.0'?>\n<!DOCTYPE s SYSTEM 'file:///x'>"),
      "restricted" },
    { "CDATA first",
      test_string("<![CDATA[x]]>" H), "restricted" },

    /* RFC 6120, 4.9.3.2 */

    { "prefix not declared in the header",
      test_string("<stream:stream xmlns='jabber:client'>"), "bad-prefix" },
    { "prefix of an attribute not declared in the header",
      test_string("<stream a:b='' xmlns='jabber:client'>"), "bad-prefix" },
    { "header in the xml namespace",
      test_string("<xml:stream>"), "bad-prefix" },

    { "entity in the header",
      test_string("<stream to='&a;'>"), "restricted" }
};


/* between stanzas */

static test_refusal_t  test_between[] = {

    { "text between stanzas",
      test_string("hello<a/>"), "text" },
    { "reference between stanzas",
      test_string("&#32;"), "text" },
    { "CDATA between stanzas",
      test_string("<![CDATA[]]>"), "text" },
    { "UTF-8 between stanzas",
      test_string("\xc3\xa9"), "not-well-formed" },
    { "NUL between stanzas",
      test_string("\0<a/>"), "not-well-formed" }
};


/* between stanzas as well as in one */

static test_refusal_t  test_stanzas[] = {

    { "second declaration",
      test_string("<?xml version='1.0'?>"), "not-well-formed" },
    { "second declaration in a stanza",
      test_string("<a><?xml version='1.0'?></a>"), "not-well-formed" },
    { "comment", test_string("<!-- -->"), "restricted" },
    { "comment in a stanza",
      test_string("<a><!-- </a> --></a>"), "restricted" },
    { "PI", test_string("<?a b?>"), "restricted" },
    { "PI in a stanza",
      test_string("<a><?b it's?></a>"), "restricted" },
    { "PI with a stanza inside",
      test_string("<?a >?>"), "restricted" },
    { "DTD in the stream",
      test_string("<!DOCTYPE a>"), "restricted" },
    { "DTD in a stanza",
      test_string("<a><!DOCTYPE a></a>"), "restricted" },
    { "entity declaration",
      test_string("<a><!ENTITY b 'c'></a>"), "restricted" },
    { "nearly CDATA",
      test_string("<a><![CDATA x]]></a>"), "restricted" },
    { "entity in text",
      test_string("<a>&b;</a>"), "restricted" },
    { "entity in an attribute",
      test_string("<a b='&c;'/>"), "restricted" },
    { "entity of HTML",
      test_string("<a>&nbsp;</a>"), "restricted" },

    { "wrong end tag", test_string("<a></b>"), "not-well-formed" },
    { "wrong end tag inside",
      test_string("<a><b></a></b>"), "not-well-formed" },
    { "wrong end of the stream",
      test_string("</stream>"), "not-well-formed" },
    { "end tag with prefix",
      test_string("<a></x:a>"), "not-well-formed" },
    { "attribute twice",
      test_string("<a b='' b=''/>"), "not-well-formed" },
    { "attribute twice by namespace",
      test_string("<a xmlns:b='c' xmlns:d='c' b:e='' d:e=''/>"),
      "not-well-formed" },
    { "attribute without value",
      test_string("<a b/>"), "not-well-formed" },
    { "attribute without quotes",
      test_string("<a b=c/>"), "not-well-formed" },
    { "attributes without space",
      test_string("<a b=''c=''/>"), "not-well-formed" },
    { "'<' in an attribute",
      test_string("<a b='<'/>"), "not-well-formed" },
    { "tag in an attribute",
      test_string("<a b='</a><c d='/>"), "not-well-formed" },
    { "tag in a tag",
      test_string("<a <b/>/>"), "not-well-formed" },
    { "'&' in text", test_string("<a>& b</a>"), "not-well-formed" },
    { "']]>' in text", test_string("<a>]]></a>"), "not-well-formed" },
    { "space before a name", test_string("< a/>"), "not-well-formed" },
    { "digit in front of a name", test_string("<1/>"), "not-well-formed" },
    { "'/' within a tag", test_string("<a / >"), "not-well-formed" },
    { "unclosed CDATA and an end tag",
      test_string("<a><![CDATA[</a><b>]]></b>"), "not-well-formed" },

    { "reference to NUL", test_string("<a>&#0;</a>"), "not-well-formed" },
    { "reference to a control character",
      test_string("<a>&#x1;</a>"), "not-well-formed" },
    { "reference to a surrogate",
      test_string("<a>&#xD800;</a>"), "not-well-formed" },
    { "reference to FFFE",
      test_string("<a b='&#xFFFE;'/>"), "not-well-formed" },
    { "reference above Unicode",
      test_string("<a>&#x110000;</a>"), "not-well-formed" },
    { "reference beyond all numbers",
      test_string("<a>&#x100000041;</a>"), "not-well-formed" },

    /* RFC 6120, 11.3: namespace-well-formedness */

    { "prefix not declared", test_string("<x:a/>"), "not-well-formed" },
    { "prefix not declared here",
      test_string("<a><b xmlns:c='d'/><c:e/></a>"), "not-well-formed" },
    { "prefix of an attribute not declared",
      test_string("<a x:b=''/>"), "not-well-formed" },
    { "two colons", test_string("<stream:a:b/>"), "not-well-formed" },
    { "colon first", test_string("<:a/>"), "not-well-formed" },
    { "colon last", test_string("<stream:/>"), "not-well-formed" },
    { "prefix declared empty",
      test_string("<a xmlns:b=''/>"), "not-well-formed" },
    { "prefix xmlns declared",
      test_string("<a xmlns:xmlns='b'/>"), "not-well-formed" },
    { "prefix xml declared otherwise",
      test_string("<a xmlns:xml='b'/>"), "not-well-formed" },
    { "xml namespace by another prefix",
      test_string("<a xmlns:b='http://www.w3.org/XML/1998/namespace'/>"),
      "not-well-formed" },
    { "xml namespace as default",
      test_string("<a xmlns='http://www.w3.org/XML/1998/namespace'/>"),
      "not-well-formed" },
    { "xmlns namespace as default",
      test_string("<a xmlns='http://www.w3.org/2000/xmlns/'/>"),
      "not-well-formed" },
    { "element in the xml namespace",
      test_string("<xml:a/>"), "not-well-formed" },
    { "element with prefix xmlns",
      test_string("<xmlns:a/>"), "not-well-formed" },

    /* namespace separators of parsers, and bytes that could become some */

    { "space in a namespace",
      test_string("<a xmlns='jabber:client a'/>"), "not-well-formed" },
    { "line feed in a namespace",
      test_string("<a xmlns='jabber:client&#10;a'/>"), "not-well-formed" },
    { "'|' in a namespace",
      test_string("<a xmlns:b='jabber:client&#124;a'/>"), "not-well-formed" },
    { "braces in a namespace",
      test_string("<a xmlns='{jabber:client}a'/>"), "not-well-formed" },
    { "quote and tag in a namespace",
      test_string("<a xmlns='x\"&gt;&lt;b'/>"), "not-well-formed" },
    { "control character in a namespace",
      test_string("<a xmlns='x\x01y'/>"), "not-well-formed" },
    { "FF in a namespace",
      test_string("<a xmlns='x\xffy'/>"), "not-well-formed" }
};


/* RFC 3629, 3 and 10: what is no UTF-8, or no character of XML */

static test_refusal_t  test_bytes[] = {
    { "NUL", test_string("\0"), NULL },
    { "control character", test_string("\x01"), NULL },
    { "vertical tab", test_string("\x0b"), NULL },
    { "escape", test_string("\x1b"), NULL },
    { "lone continuation", test_string("\x80"), NULL },
    { "overlong '<' of two", test_string("\xc0\xbc"), NULL },
    { "overlong 'A' of two", test_string("\xc1\x81"), NULL },
    { "overlong NUL", test_string("\xc0\x80"), NULL },
    { "overlong '<' of three", test_string("\xe0\x80\xbc"), NULL },
    { "overlong of three", test_string("\xe0\x9f\xbf"), NULL },
    { "overlong of four", test_string("\xf0\x8f\xbf\xbf"), NULL },
    { "high surrogate", test_string("\xed\xa0\x80"), NULL },
    { "pair of surrogates", test_string("\xed\xa0\x81\xed\xb0\x80"), NULL },
    { "FFFE", test_string("\xef\xbf\xbe"), NULL },
    { "FFFF", test_string("\xef\xbf\xbf"), NULL },
    { "above 10FFFF", test_string("\xf4\x90\x80\x80"), NULL },
    { "above all", test_string("\xf5\x80\x80\x80"), NULL },
    { "five bytes", test_string("\xf8\x88\x80\x80\x80"), NULL },
    { "FE", test_string("\xfe"), NULL },
    { "truncated of two", test_string("\xc3"), NULL },
    { "truncated of three", test_string("\xe2\x82"), NULL },
    { "truncated of four", test_string("\xf0\x9f\x98"), NULL },
    { "Latin-1", test_string("\xe9"), NULL }
};


static ngx_uint_t  test_messages;


int
main(void)
{
    char        *name;
    ngx_uint_t   i, headers, between, stanzas;

    headers = sizeof(test_headers) / sizeof(test_headers[0]);
    between = sizeof(test_between) / sizeof(test_between[0]);
    stanzas = sizeof(test_stanzas) / sizeof(test_stanzas[0]);

    /* libxml2's way to stderr */
    xmlSetGenericErrorFunc(NULL, test_message);

    tap_plan(headers + between + 2 * stanzas
             + 5 * sizeof(test_bytes) / sizeof(test_bytes[0]) + 15);

    for (i = 0; i < headers; i++) {
        test_refuse(test_headers[i].name, "", "", &test_headers[i].in, "",
                    test_headers[i].error);
    }

    for (i = 0; i < between; i++) {
        test_refuse(test_between[i].name, H, "", &test_between[i].in, "",
                    test_between[i].error);
    }

    for (i = 0; i < stanzas; i++) {
        name = test_stanzas[i].name;

        test_refuse(name, H, "", &test_stanzas[i].in, "",
                    test_stanzas[i].error);
        test_refuse(name, H, "<q r='s'>t", &test_stanzas[i].in, "</q>",
                    test_stanzas[i].error);
    }

    test_utf8();
    test_limits();

    tap_ok(test_messages == 0, "libxml2 printed nothing");

    return tap_end();
}


/*
 * The error comes whatever the cuts are, and so does the header before it;
 * nothing else comes.
 */

static void
test_refuse(char *name, char *header, char *before, ngx_str_t *in,
    char *after, char *error)
{
    char       line[128];
    size_t     in_size, out_size;
    ngx_str_t  s, out;

    ngx_memzero(&s, sizeof(ngx_str_t));
    ngx_memzero(&out, sizeof(ngx_str_t));

    in_size = 0;
    out_size = 0;

    test_append(tap_pool(), &s, &in_size, header, strlen(header));
    test_append(tap_pool(), &s, &in_size, before, strlen(before));
    test_append(tap_pool(), &s, &in_size, in->data, in->len);
    test_append(tap_pool(), &s, &in_size, after, strlen(after));

    snprintf(line, sizeof(line), "%serror %s\n", *header ? O : "", error);
    test_append(tap_pool(), &out, &out_size, line, strlen(line));

    snprintf(line, sizeof(line), "%s: %s%s", error, name,
             *before || *after ? ", inside" : "");

    test_all_cuts(line, &s, &out);
}


static void
test_utf8(void)
{
    ngx_uint_t       i, n;
    test_refusal_t  *t;

    n = sizeof(test_bytes) / sizeof(test_bytes[0]);

    for (i = 0; i < n; i++) {
        t = &test_bytes[i];

        test_refuse(t->name, H, "<a>b", &t->in, "c</a>", "not-well-formed");
        test_refuse(t->name, H, "<a b='", &t->in, "'/>", "not-well-formed");
        test_refuse(t->name, H, "<a><![CDATA[", &t->in, "]]></a>",
                    "not-well-formed");
        test_refuse(t->name, H, "<a", &t->in, "/>", "not-well-formed");
        test_refuse(t->name, H, "<a b", &t->in, "c=''/>", "not-well-formed");
    }
}


/* to the edge, and beyond it; see test_xml_begin() for the limits */

static void
test_limits(void)
{
    test_edge("element", H, "<a>", 16, "</a>", 16);
    test_edge("error depth", H, "<a>", 17, "</a>", 17);

    test_edge("element", H "<a>", "<b/>", 63, "</a>", 1);
    test_edge("error elements", H "<a>", "<b/>", 64, "</a>", 1);

    test_edge("element", H "<a xmlns='x' xmlns:y='z'", " b@=''", 14, "/>", 1);
    test_edge("error attrs", H "<a xmlns='x' xmlns:y='z'", " b@=''", 15,
              "/>", 1);
    test_edge("error attrs", H "<a><c/><a", " b@=''", 17, "", 0);
    test_edge("error attrs", "<a xmlns='x' xmlns:y='z'", " b@=''", 15, ">", 1);

    test_edge("open", "<a xmlns='", "x", 1016, "'>", 1);
    test_edge("error too-big", "<a xmlns='", "x", 1017, "'>", 1);
    test_edge("open", "<a xml:lang='", "x", 255, "'>", 1);
    test_edge("error too-big", "<a xml:lang='", "x", 256, "'>", 1);

    test_edge("element", H "<a>", "x", 65529, "</a>", 1);
    test_edge("error too-big", H "<a>", "x", 65530, "</a>", 1);
}


/*
 * The last line of the trace begins as wanted if n pieces are followed by m
 * ends; each '@' of a piece becomes a letter of its own.
 */

static void
test_edge(const char *want, const char *before, const char *piece,
    ngx_uint_t n, const char *end, ngx_uint_t m)
{
    size_t       size;
    u_char      *last;
    ngx_str_t    s, *trace;
    ngx_uint_t   i, ok;
    test_xml_t   t;

    ngx_memzero(&s, sizeof(ngx_str_t));
    size = 0;

    test_append(tap_pool(), &s, &size, before, strlen(before));

    for (i = 0; i < n; i++) {
        test_append(tap_pool(), &s, &size, piece, strlen(piece));

        last = memchr(s.data + s.len - strlen(piece), '@', strlen(piece));
        if (last) {
            *last = (u_char) ('a' + i);
        }
    }

    for (i = 0; i < m; i++) {
        test_append(tap_pool(), &s, &size, end, strlen(end));
    }

    ok = 1;

    for (i = 0; i < 12 && ok; i++) {
        test_xml_begin(&t);
        t.seed = i;
        t.limits.raw = (i >= 6) && (i / 2 % 3 != TEST_BYTES || s.len < 4096);

        trace = test_feed(&t, &s, i / 2 % 3, i & 1);

        for (last = trace->data + trace->len - 1;
             last > trace->data && last[-1] != '\n';
             last--)
        {
            /* void */
        }

        ok = (ngx_strncmp(last, want, strlen(want)) == 0);

        test_xml_end(&t);
    }

    tap_ok(ok, "%s: %d times %s", want, (int) n, piece);
}


static void
test_message(void *data, const char *text, ...)
{
    test_messages++;
}
