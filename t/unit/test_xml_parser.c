/*
 * XML parser: what it makes of good streams, and where it stops.
 *
 * RFC 6120, 4 (streams), 11 (XML); Namespaces in XML 1.0.
 */


#include "test_xml.h"


#define H  TEST_HEADER "|"
#define O  TEST_OPEN
#define C  " xmlns='jabber:client'"


typedef struct {
    char       *name;
    ngx_str_t   in;
    ngx_str_t   out;
} test_sample_t;


static void test_long(void);
static void test_header(void);
static void test_restart(void);
static void test_limits(void);
static void test_hibernate(void);
static void test_borrow(void);
static void test_fold(void);
static void test_memory(void);
static ngx_xmpp_xml_event_e test_one(test_xml_t *t, const char *s);
static void test_put(ngx_str_t *s, size_t *size, const char *data);
static void test_fill(ngx_str_t *s, size_t *size, const char *data,
    ngx_uint_t n);


static test_sample_t  test_samples[] = {

    { "empty element",
      ngx_string(H "<a/>|"),
      ngx_string(O "element <a" C "/>\n") },

    { "white space between stanzas",
      ngx_string(H " \n<a/>|\r\n\t <b/>| "),
      ngx_string(O "element <a" C "/>\nelement <b" C "/>\n") },

    { "end of stream, nothing is taken behind it",
      ngx_string(H "<a/>|</stream:stream>|more"),
      ngx_string(O "element <a" C "/>\nclose\n") },

    { "end of stream with space in the tag",
      ngx_string(H "<a/>|</stream:stream \n>|more"),
      ngx_string(O "element <a" C "/>\nclose\n") },

    { "XML declaration",
      ngx_string("<?xml version=\"1.0\" encoding='utf-8' standalone='yes'?>\n"
                 "<b xmlns='urn:x'>|"),
      ngx_string("open <b xmlns='urn:x'/>\n") },

    { "XML declaration with odd spaces",
      ngx_string("<?xml version = '1.0'\n encoding =\t\"UTF-8\" ?><bcd>|"),
      ngx_string("open <bcd/>\n") },

    { "header without namespace, and white space before it",
      ngx_string("\n <bcd>|\n<a/>|"),
      ngx_string("open <bcd/>\nelement <a/>\n") },

    { "shortest header to wake up with",
      ngx_string("<b >|<a/>|<a/>|</b>|"),
      ngx_string("open <b/>\nelement <a/>\nelement <a/>\nclose\n") },

    { "attributes of the header",
      ngx_string("<stream:stream xmlns='jabber:client' to='a' xml:lang='en' "
                 "xmlns:stream='" TEST_STREAMS "' version='1.0'>|"),
      ngx_string("open <stream xmlns='" TEST_STREAMS "' to='a' "
                 "xml:lang='en' version='1.0'/>\n") },

    { "'>' and quotes in attributes",
      ngx_string(H "<a b='/>' c=\"'>\" d=''/>|<a b = '\"' />|"),
      ngx_string(O "element <a" C " b='/&gt;' c='&apos;&gt;' d=''/>\n"
                 "element <a" C " b='&quot;'/>\n") },

    { "'>' in text",
      ngx_string(H "<a>>x/></a>|<b/>|"),
      ngx_string(O "element <a" C ">&gt;x/&gt;</a>\nelement <b" C "/>\n") },

    { "slashes in a tag",
      ngx_string(H "<a b='/'><c /></a\n>|<b/>|"),
      ngx_string(O "element <a" C " b='/'><c/></a>\n"
                 "element <b" C "/>\n") },

    { "nesting",
      ngx_string(H "<a><b><c/><d></d></b><e>f</e></a>|<g/>|"),
      ngx_string(O "element <a" C "><b><c/><d/></b><e>f</e></a>\n"
                 "element <g" C "/>\n") },

    { "mixed content",
      ngx_string(H "<a> b <c/>d<e/></a>|"),
      ngx_string(O "element <a" C "> b <c/>d<e/></a>\n") },

    { "references",
      ngx_string(H "<a b='&lt;&#x3e;&#9;&#10;&amp;&#38;&#38;#38;'>"
                 "&amp;&quot;&apos;&#65;&#38;&#38;#38;</a>|"),
      ngx_string(O "element <a" C " b='&lt;&gt;&#9;&#10;&amp;&amp;&amp;#38;'>"
                 "&amp;\"'A&amp;&amp;#38;</a>\n") },

    { "CDATA",
      ngx_string(H "<a><![CDATA[<b>&amp;]]></a>|<b/>|"),
      ngx_string(O "element <a" C ">&lt;b&gt;&amp;amp;</a>\n"
                 "element <b" C "/>\n") },

    { "CDATA with brackets, and empty",
      ngx_string(H "<a>x<![CDATA[ ]>]] >]]]]]>y<![CDATA[]]></a>|<b/>|"),
      ngx_string(O "element <a" C ">x ]&gt;]] &gt;]]]y</a>\n"
                 "element <b" C "/>\n") },

    { "line ends",
      ngx_string(H "<a b='c\r\nd\te'>f\r\ng\rh&#13;</a>|"),
      ngx_string(O "element <a" C " b='c d e'>f\ng\nh&#13;</a>\n") },

    { "line ends in CDATA",
      ngx_string(H "<a><![CDATA[\r\n\n\r\r\nb\r]]>\n<![CDATA[\r]]></a>|"),
      ngx_string(O "element <a" C ">\n\n\n\nb\n\n\n</a>\n") },

    { "UTF-8 of two, three and four bytes",
      ngx_string(H "<a \xc3\xa9='\xe2\x82\xac'>\xf0\x9f\x98\x80"
                 "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbd</a>|"),
      ngx_string(O "element <a" C " \xc3\xa9='\xe2\x82\xac'>"
                 "\xf0\x9f\x98\x80\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbd"
                 "</a>\n") },

    { "other namespaces",
      ngx_string(H "<a><b xmlns='urn:x'><c/><d xmlns=''/></b></a>|"
                 "<a xmlns='jabber:client'/>|<a xmlns='vcard-temp'/>|"),
      ngx_string(O "element <a" C "><b xmlns='urn:x'><c/>"
                 "<d xmlns=''/></b></a>\nelement <a" C "/>\n"
                 "element <a xmlns='vcard-temp'/>\n") },

    { "prefixes",
      ngx_string(H "<stream:error/>|<x:a xmlns:x='urn:x'><b/><x:c/></x:a>|"),
      ngx_string(O "element <error xmlns='" TEST_STREAMS "'/>\n"
                 "element <a xmlns='urn:x'><b" C "/><c/></a>\n") },

    { "namespaces of attributes",
      ngx_string(H "<a x:b='1' xmlns:x='urn:x' xml:lang='de' b='2' x:c=''/>|"),
      ngx_string(O "element <a" C " xmlns:ns0='urn:x' ns0:b='1' "
                 "xml:lang='de' b='2' ns0:c=''/>\n") },

    { "namespace names with quotes, references and beyond ASCII",
      ngx_string(H "<a xmlns=\"urn:'&amp;\xc3\xa9\"/>|"),
      ngx_string(O "element <a xmlns='urn:&apos;&amp;\xc3\xa9'/>\n") },

    { "prefixes of the header",
      ngx_string("<s:t xmlns:s='urn:&amp;&apos;' xmlns:x='urn:x'>|"
                 "<x:a/>|<s:b x:c=''/>| <d/>|</s:t>|"),
      ngx_string("open <t xmlns='urn:&amp;&apos;'/>\n"
                 "element <a xmlns='urn:x'/>\n"
                 "element <b xmlns='urn:&amp;&apos;' xmlns:ns0='urn:x' "
                 "ns0:c=''/>\nelement <d/>\nclose\n") },

    { "server's stream",
      ngx_string("<stream:stream xmlns='jabber:server' xmlns:stream='"
                 TEST_STREAMS "' xmlns:db='jabber:server:dialback'>|"
                 "<db:result to='b'>x</db:result>|<iq/>|"),
      ngx_string(O "element <result xmlns='jabber:server:dialback' to='b'>x"
                 "</result>\nelement <iq xmlns='jabber:server'/>\n") }
};


int
main(void)
{
    ngx_uint_t  i, n;

    n = sizeof(test_samples) / sizeof(test_samples[0]);

    tap_plan(n + 61);

    for (i = 0; i < n; i++) {
        test_all_cuts(test_samples[i].name, &test_samples[i].in,
                      &test_samples[i].out);
    }

    test_long();
    test_header();
    test_restart();
    test_limits();
    test_hibernate();
    test_borrow();
    test_fold();
    test_memory();

    return tap_end();
}


/* texts and values that libxml2 hands out in pieces, or over several slices */

static void
test_long(void)
{
    size_t     in_size, out_size;
    ngx_str_t  in, out;

    ngx_memzero(&in, sizeof(ngx_str_t));
    ngx_memzero(&out, sizeof(ngx_str_t));

    in_size = 0;
    out_size = 0;

    test_put(&in, &in_size, H "<a b='");
    test_put(&out, &out_size, O "element <a" C " b='");

    test_fill(&in, &in_size, ">", 9000);
    test_fill(&out, &out_size, "&gt;", 9000);

    test_put(&in, &in_size, "'>");
    test_put(&out, &out_size, "'>");

    test_fill(&in, &in_size, "x", 9000);
    test_fill(&out, &out_size, "x", 9000);

    test_put(&in, &in_size, "<c/>");
    test_put(&out, &out_size, "<c/>");

    test_fill(&in, &in_size, "&lt;\xc3\xa9\r\n<![CDATA[>]]]>", 900);
    test_fill(&out, &out_size, "&lt;\xc3\xa9\n&gt;]", 900);

    test_put(&in, &in_size, "</a>|<b/>|");
    test_put(&out, &out_size, "</a>\nelement <b" C "/>\n");

    test_all_cuts("long value and texts", &in, &out);
}


/* what the stream layer asks of the header */

static void
test_header(void)
{
    ngx_str_t    none;
    test_xml_t   t;

    ngx_str_set(&none, "");

    test_xml_begin(&t);
    tap_is(ngx_xmpp_parser_lang(t.parser), &none, "no xml:lang yet");
    tap_is(ngx_xmpp_parser_default_ns(t.parser), &none, "no namespace yet");
    tap_is(ngx_xmpp_parser_prefix(t.parser), &none, "no prefix yet");

    test_one(&t, TEST_HEADER);
    tap_is(ngx_xmpp_parser_lang(t.parser), &none, "no xml:lang");
    tap_is(ngx_xmpp_parser_default_ns(t.parser), &ngx_xmpp_ns_client,
           "default namespace");
    tap_is(ngx_xmpp_parser_prefix(t.parser), tap_str("stream"), "prefix");
    test_xml_end(&t);

    test_xml_begin(&t);
    test_one(&t, "<s:stream xml:lang='sl-rozaj-biske' xmlns='urn:a&amp;b' "
                 "xmlns:s='urn:s'>");
    test_one(&t, "<iq/>");
    ngx_xmpp_parser_hibernate(t.parser);
    test_one(&t, "<iq xml:lang='de'/>");
    tap_is(ngx_xmpp_parser_lang(t.parser), tap_str("sl-rozaj-biske"),
           "long xml:lang survives hibernation");
    tap_is(ngx_xmpp_parser_default_ns(t.parser), tap_str("urn:a&b"),
           "unusual default namespace");
    tap_is(ngx_xmpp_parser_prefix(t.parser), tap_str("s"), "unusual prefix");
    test_xml_end(&t);

    test_xml_begin(&t);
    test_one(&t, "<stream xml:lang='en' xmlns='" TEST_STREAMS "'>");
    tap_is(ngx_xmpp_parser_lang(t.parser), tap_str("en"), "short xml:lang");
    tap_is(ngx_xmpp_parser_default_ns(t.parser), &ngx_xmpp_ns_streams,
           "default namespace of a prefix-free stream");
    tap_is(ngx_xmpp_parser_prefix(t.parser), &none, "prefix-free stream");
    test_xml_end(&t);
}


/* RFC 6120, 4.3.3: after TLS and SASL, a new header */

static void
test_restart(void)
{
    ngx_str_t   none;
    test_xml_t  t;

    ngx_str_set(&none, "");

    test_xml_begin(&t);

    tap_ok(test_one(&t, "<stream:stream xml:lang='en' xmlns='jabber:server' "
                        "xmlns:stream='" TEST_STREAMS "'/>")
           == NGX_XMPP_XML_OPEN,
           "header that ends itself");
    tap_ok(test_one(&t, "") == NGX_XMPP_XML_CLOSE, "is the end too");
    tap_ok(t.pools == 1, "with one pool");

    ngx_xmpp_parser_reset(t.parser);

    tap_is(ngx_xmpp_parser_lang(t.parser), &none, "reset forgets xml:lang");
    tap_is(ngx_xmpp_parser_default_ns(t.parser), &none,
           "reset forgets the namespace");

    tap_ok(test_one(&t, "\r\n<?xml version='1.0'?>" TEST_HEADER)
           == NGX_XMPP_XML_OPEN,
           "line end of the stream before, and a header with declaration");
    tap_ok(test_one(&t, "<a><b>") == NGX_XMPP_XML_MORE, "begun stanza");

    ngx_xmpp_parser_reset(t.parser);

    tap_ok(test_one(&t, "<?xml version='1.0'?>" TEST_HEADER)
           == NGX_XMPP_XML_OPEN,
           "reset within a stanza");
    tap_ok(test_one(&t, "</c>") == NGX_XMPP_XML_ERROR, "error");
    tap_ok(test_one(&t, "<a/>") == NGX_XMPP_XML_ERROR, "error stays");

    ngx_xmpp_parser_reset(t.parser);

    tap_ok(test_one(&t, TEST_HEADER) == NGX_XMPP_XML_OPEN,
           "reset after an error");
    tap_ok(test_one(&t, "<a/>") == NGX_XMPP_XML_ELEMENT, "new stream works");

    ngx_xmpp_parser_destroy(t.parser);

    tap_ok(t.parser->ctxt == NULL, "destroyed parser holds nothing");

    test_xml_end(&t);
}


/* each limit to the edge and beyond; they change from one byte to the next */

static void
test_limits(void)
{
    char                   *text;
    ngx_uint_t              i;
    test_xml_t              t;
    ngx_xmpp_xml_limits_t   limits;

    test_xml_begin(&t);

    t.limits.max_stanza = sizeof(TEST_HEADER) - 1;
    tap_ok(test_one(&t, TEST_HEADER) == NGX_XMPP_XML_OPEN, "longest header");

    t.limits.max_stanza = 20;

    for (i = 0; i < 100; i++) {
        test_one(&t, "   \n        \t\r");
    }

    tap_ok(test_one(&t, " <a>5678901234567</a> ") == NGX_XMPP_XML_ELEMENT
           && test_one(&t, "<b/>") == NGX_XMPP_XML_ELEMENT,
           "white space between stanzas counts for nothing");

    tap_ok(test_one(&t, "<a>56789012345678") == NGX_XMPP_XML_MORE
           && test_one(&t, "</a>") == NGX_XMPP_XML_ERROR
           && ngx_xmpp_parser_error(t.parser, &text)
              == NGX_XMPP_XML_ERR_TOO_BIG,
           "stanza too long");

    test_xml_end(&t);

    test_xml_begin(&t);

    t.limits.max_stanza = sizeof(TEST_HEADER) - 2;
    tap_ok(test_one(&t, TEST_HEADER) == NGX_XMPP_XML_ERROR
           && ngx_xmpp_parser_error(t.parser, &text)
              == NGX_XMPP_XML_ERR_TOO_BIG,
           "header too long");

    test_xml_end(&t);

    test_xml_begin(&t);
    test_one(&t, TEST_HEADER "<a>1234");

    t.limits.max_stanza = 5;
    tap_ok(test_one(&t, "5") == NGX_XMPP_XML_ERROR,
           "limit lowered below what has been read");

    test_xml_end(&t);

    test_xml_begin(&t);
    test_one(&t, TEST_HEADER);

    limits = t.limits;
    limits.max_depth = 1;
    ngx_xmpp_parser_limits(t.parser, &limits);

    tap_ok(test_one(&t, "<a><b/></a>") == NGX_XMPP_XML_ERROR
           && ngx_xmpp_parser_error(t.parser, &text) == NGX_XMPP_XML_ERR_DEPTH,
           "other limits");

    test_xml_end(&t);
}


static void
test_hibernate(void)
{
    test_xml_t  t;

    test_xml_begin(&t);

    tap_ok(t.parser->ctxt == NULL, "no context before the first byte");

    test_one(&t, "<stream:stream");
    tap_ok(ngx_xmpp_parser_hibernate(t.parser) == NGX_DECLINED,
           "no hibernation within a header");

    test_one(&t, " xmlns='jabber:client' xmlns:stream='" TEST_STREAMS "'>");
    tap_ok(ngx_xmpp_parser_hibernate(t.parser) == NGX_OK,
           "hibernation behind a header");

    test_one(&t, "\n  \n");
    tap_ok(t.parser->ctxt == NULL, "white space does not wake");

    test_one(&t, "<");
    tap_ok(t.parser->ctxt != NULL
           && ngx_xmpp_parser_hibernate(t.parser) == NGX_DECLINED,
           "no hibernation behind the first byte of a stanza");

    test_one(&t, "a>b");
    tap_ok(ngx_xmpp_parser_hibernate(t.parser) == NGX_DECLINED,
           "no hibernation within a stanza");

    tap_ok(test_one(&t, "</a>") == NGX_XMPP_XML_ELEMENT
           && ngx_xmpp_parser_hibernate(t.parser) == NGX_OK
           && ngx_xmpp_parser_hibernate(t.parser) == NGX_OK,
           "hibernation behind a stanza, and twice");

    tap_ok(test_one(&t, "</stream:stream>") == NGX_XMPP_XML_CLOSE
           && t.parser->ctxt == NULL,
           "end of the stream after hibernation");

    test_xml_end(&t);
}


/* one context for all streams with the usual header, between stanzas */

static void
test_borrow(void)
{
    void        *ctxt;
    ngx_uint_t   i;
    test_xml_t   a, b, c;

    ngx_xmpp_parser_spare(&test_spare);

    test_xml_begin(&a);
    test_xml_begin(&b);
    test_xml_begin(&c);

    test_one(&a, TEST_HEADER);
    test_one(&a, "<iq/>");
    tap_ok(test_spare.ctxt == NULL,
           "a context that read a header is not lent");

    ngx_xmpp_parser_hibernate(a.parser);
    test_one(&a, "<iq/>");
    ctxt = test_spare.ctxt;
    tap_ok(ctxt != NULL && a.parser->ctxt == NULL,
           "a primed one is, at each boundary");

    test_one(&b, "<stream:stream xmlns:stream='" TEST_STREAMS
                 "' xml:lang='en' xmlns='jabber:client' version='1.0'>");
    ngx_xmpp_parser_hibernate(b.parser);
    test_one(&b, "<iq");
    tap_ok(b.parser->ctxt == ctxt && test_spare.ctxt == NULL,
           "borrowed for a stanza");

    test_one(&a, "<presence><show>a");
    tap_ok(a.parser->ctxt != NULL && a.parser->ctxt != ctxt,
           "one of its own meanwhile");

    tap_ok(test_one(&b, "/>") == NGX_XMPP_XML_ELEMENT
           && test_spare.ctxt == ctxt
           && test_one(&a, "way</show></presence>") == NGX_XMPP_XML_ELEMENT
           && a.parser->ctxt != NULL && test_spare.ctxt == ctxt,
           "the first to give one up has lent it");

    test_one(&c, "<stream:stream xmlns='jabber:client' xmlns:x='urn:x' "
                 "xmlns:stream='" TEST_STREAMS "'>");
    ngx_xmpp_parser_hibernate(c.parser);
    tap_ok(test_one(&c, "<x:iq/>") == NGX_XMPP_XML_ELEMENT
           && test_spare.ctxt == ctxt && c.parser->ctxt != NULL,
           "none is lent to a header that declares more");

    tap_ok(test_one(&b, "<x:iq/>") == NGX_XMPP_XML_ERROR
           && test_spare.ctxt == NULL,
           "what a prefix is stays with its stream; none that has failed");

    ngx_xmpp_parser_hibernate(a.parser);
    test_one(&a, "<iq/>");
    ctxt = test_spare.ctxt;

    for (i = 0; ctxt && test_spare.ctxt && i < 100000; i++) {
        test_one(&a, "<iq/>");
    }

    tap_ok(i > 0 && i < 100000 && a.parser->ctxt == NULL,
           "one that has read much is freed");

    test_one(&a, "<iq/>");
    ctxt = test_spare.ctxt;
    ngx_xmpp_parser_destroy(a.parser);
    tap_ok(ctxt != NULL && test_spare.ctxt == ctxt,
           "it outlives the stream");

    test_xml_end(&a);
    test_xml_end(&b);
    test_xml_end(&c);
}


/* before authentication: half an element is its bytes */

static void
test_fold(void)
{
    test_xml_t  t;

    test_xml_begin(&t);
    t.limits.raw = 1;

    test_one(&t, "<stream:stream");
    tap_ok(t.parser->ctxt != NULL
           && ngx_xmpp_parser_hibernate(t.parser) == NGX_OK
           && t.parser->ctxt == NULL && t.parser->half->len == 14,
           "half a header is folded");
    tap_ok(ngx_xmpp_parser_hibernate(t.parser) == NGX_OK
           && test_one(&t, "") == NGX_XMPP_XML_MORE
           && t.parser->ctxt == NULL && t.parser->half->len == 14,
           "twice is once");

    tap_ok(test_one(&t, " xmlns='jabber:client' xmlns:stream='" TEST_STREAMS
                        "'>") == NGX_XMPP_XML_OPEN
           && t.parser->half == NULL,
           "and unfolded by the rest");

    test_one(&t, "<a><b>c");
    ngx_xmpp_parser_hibernate(t.parser);
    t.pools = 0;
    test_one(&t, "</b");
    tap_ok(t.pools == 1 && t.parser->half->len == 10,
           "it is read again into another pool");
    ngx_xmpp_parser_hibernate(t.parser);
    tap_ok(test_one(&t, "></a>") == NGX_XMPP_XML_ELEMENT
           && t.parser->half == NULL, "to its end");

    test_one(&t, "<a>");
    ngx_xmpp_parser_hibernate(t.parser);
    ngx_xmpp_parser_reset(t.parser);
    tap_ok(t.parser->half == NULL
           && test_one(&t, TEST_HEADER) == NGX_XMPP_XML_OPEN,
           "a restart forgets it");

    test_one(&t, "<a><b");
    ngx_xmpp_parser_hibernate(t.parser);
    tap_ok(test_one(&t, "></a>") == NGX_XMPP_XML_ERROR
           && t.parser->half == NULL, "an error in its second half");

    test_xml_end(&t);

    /* the limits count all of it, once */

    test_xml_begin(&t);
    t.limits.raw = 1;
    t.limits.max_stanza = 64;
    t.limits.max_elements = 3;
    t.limits.max_attrs = 2;

    test_one(&t, "<s xmlns='jabber:client'>");
    test_one(&t, "<a><b c='d' ");
    ngx_xmpp_parser_hibernate(t.parser);
    test_one(&t, "e='f'/><c");
    ngx_xmpp_parser_hibernate(t.parser);
    tap_ok(test_one(&t, "/></a>") == NGX_XMPP_XML_ELEMENT,
           "limits: exactly as much as is allowed");
    test_one(&t, "<a><b c='d'/><c/");
    ngx_xmpp_parser_hibernate(t.parser);
    tap_ok(test_one(&t, "><d/>") == NGX_XMPP_XML_ERROR,
           "limits: one more");

    test_xml_end(&t);
}


/* what a session has to pay */

static void
test_memory(void)
{
    u_char            *ctxt;
    ngx_uint_t         i, n, renewed;
    test_xml_t         t;
    ngx_pool_large_t  *large;

    tap_ok(sizeof(ngx_xmpp_parser_t) <= 200, "size of a parser: %d",
           (int) sizeof(ngx_xmpp_parser_t));

    /* names are kept by libxml2 as long as its context lives */

    test_xml_begin(&t);
    t.parser->spare = NULL;
    test_one(&t, TEST_HEADER);

    ctxt = (u_char *) t.parser->ctxt;
    renewed = 0;

    for (i = 0; i < 20000; i++) {
        if (test_one(&t, "<a bbbbbbbbb=''/>") != NGX_XMPP_XML_ELEMENT) {
            break;
        }

        if (t.parser->ctxt == NULL) {
            renewed++;
        }
    }

    tap_ok(i == 20000 && renewed == 20000 * 17 / (NGX_XMPP_XML_CTXT_MAX + 1)
           && ctxt,
           "context renewed %d times", (int) renewed);

    /* text in pieces of a byte */

    test_one(&t, "<a>");

    for (i = 0; i < 50000; i++) {
        test_one(&t, (i & 1) ? "<![CDATA[]]>" : "x");
    }

    for (n = 0, large = t.stanza->large; large; large = large->next) {
        n++;
    }

    tap_ok(n < 8, "text is not copied for each piece: %d blocks", (int) n);

    test_xml_end(&t);
}


/* feeds one string, and tells the first event */

static ngx_xmpp_xml_event_e
test_one(test_xml_t *t, const char *s)
{
    u_char                *copy, *pos;
    size_t                 len;
    ngx_xmpp_xml_t        *e;
    ngx_xmpp_xml_event_e   event;

    len = strlen(s);
    copy = ngx_pnalloc(t->pool, len);
    ngx_memcpy(copy, s, len);

    pos = copy;
    event = ngx_xmpp_parser_feed(t->parser, &pos, copy + len, &e);

    if (event == NGX_XMPP_XML_OPEN && pos < copy + len) {
        event = ngx_xmpp_parser_feed(t->parser, &pos, copy + len, &e);
    }

    ngx_pfree(t->pool, copy);

    return event;
}


static void
test_put(ngx_str_t *s, size_t *size, const char *data)
{
    test_append(tap_pool(), s, size, data, strlen(data));
}


static void
test_fill(ngx_str_t *s, size_t *size, const char *data, ngx_uint_t n)
{
    while (n--) {
        test_put(s, size, data);
    }
}
