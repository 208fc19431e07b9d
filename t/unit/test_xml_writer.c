/*
 * XML writer: canonical bytes, of exactly the size foretold, that parse to
 * the same tree again.
 */


#include "test_xml.h"


static void test_escape(void);
static void test_scopes(void);
static void test_prefixes(void);
static void test_deep(void);
static void test_round_trips(void);
static ngx_xmpp_xml_t *test_tree(test_xml_t *t, ngx_pool_t *pool);
static ngx_str_t *test_name(test_xml_t *t, ngx_pool_t *pool);
static ngx_str_t *test_value(test_xml_t *t, ngx_pool_t *pool, size_t max);
static ngx_str_t *test_write(ngx_pool_t *pool, ngx_xmpp_xml_t *e,
    ngx_str_t *scope);


static ngx_str_t  test_ns[] = {
    ngx_string(""),
    ngx_string("jabber:client"),
    ngx_string("urn:x"),
    ngx_string("urn:'&y")
};


int
main(void)
{
    tap_plan(16);

    test_escape();
    test_scopes();
    test_prefixes();
    test_deep();
    test_round_trips();

    return tap_end();
}


/* each byte at each place of a string, so that words of eight are met too */

static void
test_escape(void)
{
    u_char           buf[20], *p;
    ngx_str_t        s, want, *got;
    ngx_uint_t       i, ch, place, attr, text, bare;
    const char      *entity;
    ngx_xmpp_xml_t  *e;

    static const char  special[] = "&<>\r\"'\t\n";
    static const char  *entities[] = {
        "&amp;", "&lt;", "&gt;", "&#13;", "&quot;", "&apos;", "&#9;", "&#10;"
    };

    attr = 1;
    text = 1;
    bare = 1;

    for (ch = 1; ch < 256; ch++) {

        p = ch ? (u_char *) strchr(special, (int) ch) : NULL;
        i = p ? (ngx_uint_t) (p - (u_char *) special) : 8;

        for (place = 0; place < sizeof(buf); place++) {

            ngx_memset(buf, 'x', sizeof(buf));
            buf[place] = (u_char) ch;
            s.data = buf;
            s.len = sizeof(buf);

            want.data = ngx_pnalloc(tap_pool(), 32);
            entity = (i < 8) ? entities[i] : NULL;

            p = ngx_cpymem(want.data, buf, place);
            p = entity ? ngx_cpymem(p, entity, strlen(entity))
                       : ngx_cpymem(p, buf + place, 1);
            p = ngx_cpymem(p, buf + place + 1, sizeof(buf) - place - 1);
            want.len = p - want.data;

            got = ngx_palloc(tap_pool(), sizeof(ngx_str_t));
            got->len = ngx_xmpp_xml_escape_size(&s);
            got->data = ngx_pnalloc(tap_pool(), got->len);

            if (ngx_xmpp_xml_escape(got->data, &s) != got->data + got->len
                || !ngx_xmpp_xml_same(got, &want))
            {
                bare = 0;
            }

            e = ngx_xmpp_xml_create(tap_pool(), tap_str("a"), NULL);
            ngx_xmpp_xml_set(tap_pool(), e, "b", &s);
            got = test_write(tap_pool(), e, NULL);
            got->data += sizeof("<a b='") - 1;
            got->len -= sizeof("<a b=''/>") - 1;

            if (!ngx_xmpp_xml_same(got, &want)) {
                attr = 0;
            }

            e = ngx_xmpp_xml_create(tap_pool(), tap_str("a"), NULL);
            ngx_xmpp_xml_add_text(tap_pool(), e, &s);
            got = test_write(tap_pool(), e, NULL);
            got->data += sizeof("<a>") - 1;
            got->len -= sizeof("<a></a>") - 1;

            if (!ngx_xmpp_xml_same(got, i < 4 ? &want : &s)) {
                text = 0;
            }
        }
    }

    tap_ok(bare, "bare strings");
    tap_ok(attr, "attributes");
    tap_ok(text, "text");

    s.len = 0;
    s.data = NULL;

    tap_ok(ngx_xmpp_xml_escape_size(&s) == 0
           && ngx_xmpp_xml_escape(buf, &s) == buf,
           "nothing");
}


/* where xmlns is written, and where it is not */

static void
test_scopes(void)
{
    ngx_pool_t      *pool;
    ngx_xmpp_xml_t  *e, *a, *b;

    pool = tap_pool();

    e = ngx_xmpp_xml_create(pool, tap_str("a"), &ngx_xmpp_ns_client);

    tap_is(test_write(pool, e, NULL), tap_str("<a xmlns='jabber:client'/>"),
           "no scope");
    tap_is(test_write(pool, e, &ngx_xmpp_ns_client), tap_str("<a/>"),
           "same scope");
    tap_is(test_write(pool, e, tap_str("jabber:client")), tap_str("<a/>"),
           "equal scope");
    tap_is(test_write(pool, e, &ngx_xmpp_ns_server),
           tap_str("<a xmlns='jabber:client'/>"), "other scope");

    a = ngx_xmpp_xml_add(pool, e, tap_str("b"), &test_ns[0]);
    b = ngx_xmpp_xml_add(pool, a, tap_str("c"), NULL);
    (void) ngx_xmpp_xml_add(pool, b, tap_str("d"), &ngx_xmpp_ns_client);

    tap_is(test_write(pool, e, &ngx_xmpp_ns_client),
           tap_str("<a><b xmlns=''><c><d xmlns='jabber:client'/></c></b></a>"),
           "out of a namespace and back");
    tap_is(test_write(pool, a, NULL),
           tap_str("<b><c><d xmlns='jabber:client'/></c></b>"),
           "part of a tree, without namespace and scope");
    tap_is(test_write(pool, a, &ngx_xmpp_ns_client),
           tap_str("<b xmlns=''><c><d xmlns='jabber:client'/></c></b>"),
           "part of a tree, its siblings and parent are not written");

    e = ngx_xmpp_xml_create(pool, tap_str("a"), &test_ns[3]);
    tap_is(test_write(pool, e, NULL), tap_str("<a xmlns='urn:&apos;&amp;y'/>"),
           "namespaces are escaped");

    a = ngx_xmpp_xml_add_text(pool, e, tap_str("<&>"));
    tap_is(test_write(pool, a, NULL), tap_str("&lt;&amp;&gt;"), "bare text");
}


/* one, two and three digits, and one prefix for all of a namespace */

static void
test_prefixes(void)
{
    u_char          *name;
    ngx_str_t        ns, *out;
    ngx_uint_t       i;
    ngx_pool_t      *pool;
    ngx_xmpp_xml_t  *e;

    pool = tap_pool();
    e = ngx_xmpp_xml_create(pool, tap_str("e"), NULL);

    for (i = 0; i < 102; i++) {
        name = ngx_pnalloc(pool, 8);

        if (i == 0 || i == 9 || i == 10 || i >= 100) {
            ns.data = ngx_pnalloc(pool, 8);
            ns.len = sprintf((char *) ns.data, "u%d", (int) (i % 101));
            ngx_xmpp_xml_set_ns(pool, e, &ns, (i == 101) ? "b" : "a",
                                &test_ns[0]);
            continue;
        }

        sprintf((char *) name, "c%d", (int) i);
        ngx_xmpp_xml_set(pool, e, (char *) name, &test_ns[0]);
    }

    out = test_write(pool, e, NULL);
    name = ngx_pnalloc(pool, out->len + 1);
    *ngx_cpymem(name, out->data, out->len) = '\0';

    tap_ok(strstr((char *) name, "<e xmlns:ns0='u0' ns0:a='' c1='' ")
           && strstr((char *) name, " c8='' xmlns:ns9='u9' ns9:a='' "
                                    "xmlns:ns10='u10' ns10:a='' c11=''")
           && strstr((char *) name, " c99='' xmlns:ns100='u100' ns100:a='' "
                                    "ns0:b=''/>"),
           "prefixes");
}


/* the writer's stack does not depend on the tree */

static void
test_deep(void)
{
    ngx_str_t       *out;
    ngx_uint_t       i;
    ngx_pool_t      *pool;
    ngx_xmpp_xml_t  *e, *root;

    pool = ngx_create_pool(4096, NULL);

    root = ngx_xmpp_xml_create(pool, tap_str("a"), NULL);

    for (i = 1, e = root; i < 200000; i++) {
        e = ngx_xmpp_xml_add(pool, e, &root->name, NULL);
    }

    out = test_write(pool, root, NULL);

    tap_ok(out->len == 199999 * (sizeof("<a></a>") - 1) + sizeof("<a/>") - 1,
           "200000 nested elements");

    ngx_destroy_pool(pool);
}


/*
 * Random trees: written as a stanza, parsed in random cuts, and written again
 * they are the same bytes.
 */

static void
test_round_trips(void)
{
    size_t           in_size, want_size;
    ngx_str_t       *out, *got, in, want;
    ngx_uint_t       i, bad;
    ngx_pool_t      *pool;
    test_xml_t       t;
    ngx_xmpp_xml_t  *e;

    bad = 0;

    for (i = 0; i < 1000 && !bad; i++) {

        pool = ngx_create_pool(4096, NULL);

        test_xml_begin(&t);
        t.seed = i;
        t.limits.max_attrs = 64;
        t.limits.max_depth = 64;

        ngx_memzero(&in, sizeof(ngx_str_t));
        ngx_memzero(&want, sizeof(ngx_str_t));

        in_size = 0;
        want_size = 0;

        e = test_tree(&t, pool);

        out = test_write(pool, e, &ngx_xmpp_ns_client);
        test_append(pool, &in, &in_size, TEST_HEADER, sizeof(TEST_HEADER) - 1);
        test_append(pool, &in, &in_size, out->data, out->len);

        out = test_write(pool, e, NULL);
        test_append(pool, &want, &want_size, TEST_OPEN "element ",
                    sizeof(TEST_OPEN "element ") - 1);
        test_append(pool, &want, &want_size, out->data, out->len);
        test_append(pool, &want, &want_size, "\n", 1);

        got = test_feed(&t, &in, i % 3, i & 1);

        if (!ngx_xmpp_xml_same(got, &want)) {
            bad = 1;
            printf("# seed %d\n", (int) i);
            got->len = ngx_min(got->len, 2000);
            want.len = ngx_min(want.len, 2000);
            tap_show("got", got);
            tap_show("want", &want);
        }

        test_xml_end(&t);
        ngx_destroy_pool(pool);
    }

    tap_ok(!bad, "1000 random trees");
}


static ngx_xmpp_xml_t *
test_tree(test_xml_t *t, ngx_pool_t *pool)
{
    ngx_str_t       *name, *value, ns;
    ngx_uint_t       n, i;
    ngx_xmpp_xml_t  *e, *root;

    static const char  *attrs[] = { "a", "b", "cd", "e-f", "_g" };

    root = ngx_xmpp_xml_create(pool, tap_str("stanza"),
                               &test_ns[test_random(t, 4)]);
    e = root;

    for (n = 1; n < 60; n++) {

        for (i = test_random(t, 6); i > 0; i--) {
            value = test_value(t, pool, 30);
            ns = test_random(t, 3) ? test_ns[0] : test_ns[test_random(t, 4)];
            ngx_xmpp_xml_set_ns(pool, e, &ns, attrs[test_random(t, 5)],
                                value);
        }

        if (test_random(t, 10) == 0) {
            ngx_xmpp_xml_set_ns(pool, e, &ngx_xmpp_ns_xml, "lang",
                                test_value(t, pool, 5));
        }

        /* two texts in a row, and empty ones, would not come back */

        if (test_random(t, 2) && (e->last == NULL || e->last->name.len)) {
            value = test_value(t, pool, test_random(t, 9) ? 40 : 900);

            if (value->len) {
                (void) ngx_xmpp_xml_add_text(pool, e, value);
            }
        }

        while (e->parent && test_random(t, 2)) {
            e = e->parent;
        }

        if (test_random(t, 40) == 0) {
            break;
        }

        name = test_name(t, pool);
        e = ngx_xmpp_xml_add(pool, e, name, test_random(t, 2) ? NULL
                             : &test_ns[test_random(t, 4)]);
    }

    return root;
}


static ngx_str_t *
test_name(test_xml_t *t, ngx_pool_t *pool)
{
    static const char  *names[] = { "a", "body", "x.y-z", "\xc3\xa9t\xc3\xa9" };

    const char  *name;

    name = names[test_random(t, 4)];

    return tap_copy(pool, name, strlen(name));
}


static ngx_str_t *
test_value(test_xml_t *t, ngx_pool_t *pool, size_t max)
{
    size_t       len;
    ngx_str_t   *value;
    const char  *piece;

    static const char  *pieces[] = {
        "a", "bcd", " ", "&", "<", ">", "'", "\"", "\r", "\n", "\t", "]]>",
        "&#38;", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xef\xbb\xbf"
    };

    value = ngx_palloc(pool, sizeof(ngx_str_t));
    value->data = ngx_pnalloc(pool, max + 8);
    value->len = 0;

    for (max = test_random(t, max); value->len < max; value->len += len) {
        piece = pieces[test_random(t, sizeof(pieces) / sizeof(pieces[0]))];
        len = strlen(piece);
        ngx_memcpy(value->data + value->len, piece, len);
    }

    return value;
}


static ngx_str_t *
test_write(ngx_pool_t *pool, ngx_xmpp_xml_t *e, ngx_str_t *scope)
{
    ngx_str_t  *out;

    out = ngx_palloc(pool, sizeof(ngx_str_t));
    out->len = ngx_xmpp_xml_size(e, scope);
    out->data = ngx_pnalloc(pool, out->len);

    if (ngx_xmpp_xml_write(out->data, e, scope) != out->data + out->len) {
        printf("# wrong size\n");
        ngx_str_null(out);
    }

    return out;
}
