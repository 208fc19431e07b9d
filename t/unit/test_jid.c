
/*
 * JIDs: the samples of RFC 7622, 3.5, each rule of 3.2 to 3.4, lengths to the
 * octet, and that preparing twice changes nothing.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_xmpp_jid.h"
#include "ngx_xmpp_precis.h"
#include "tap.h"


typedef struct {
    const char  *text;
    const char  *want;         /* NULL: not a JID */
    const char  *name;
} test_jid_t;


static void test_samples(void);
static void test_parts(void);
static void test_make(void);
static void test_lengths(void);
static void test_length(const char *unit, ngx_uint_t n, const char *before,
    const char *after, ngx_int_t want, const char *name);
static void test_invalid_utf8(void);
static void test_random(void);


static test_jid_t  test_samples_list[] = {

    /* RFC 7622, 3.5, table 1 */

    { "juliet@example.com", "juliet@example.com", "no. 1" },
    { "juliet@example.com/foo", "juliet@example.com/foo", "no. 2" },
    { "juliet@example.com/foo bar", "juliet@example.com/foo bar", "no. 3" },
    { "juliet@example.com/foo@bar", "juliet@example.com/foo@bar", "no. 4" },
    { "foo\\20bar@example.com", "foo\\20bar@example.com", "no. 5" },
    { "fussball@example.com", "fussball@example.com", "no. 6" },
    { "fu\xc3\x9f" "ball@example.com", "fu\xc3\x9f" "ball@example.com",
      "no. 7" },
    { "\xcf\x80@example.com", "\xcf\x80@example.com", "no. 8" },
    { "\xce\xa3@example.com/foo", "\xcf\x83@example.com/foo", "no. 9" },
    { "\xcf\x83@example.com/foo", "\xcf\x83@example.com/foo", "no. 10" },
    { "\xcf\x82@example.com/foo", "\xcf\x82@example.com/foo", "no. 11" },
    { "king@example.com/\xe2\x99\x9a", "king@example.com/\xe2\x99\x9a",
      "no. 12" },
    { "example.com", "example.com", "no. 13" },
    { "example.com/foobar", "example.com/foobar", "no. 14" },
    { "a.example.com/b@example.net", "a.example.com/b@example.net", "no. 15" },

    /* table 2; its 18 is a JID, after all (erratum 4560) */

    { "\"juliet\"@example.com", NULL, "no. 16" },
    { "foo bar@example.com", NULL, "no. 17" },
    { "juliet@example.com/ foo", "juliet@example.com/ foo", "no. 18" },
    { "@example.com/", NULL, "no. 19" },
    { "henry\xe2\x85\xa3@example.com", NULL, "no. 20" },
    { "\xe2\x99\x9a@example.com", NULL, "no. 21" },
    { "juliet@", NULL, "no. 22" },
    { "/foobar", NULL, "no. 23" },

    /* 3.1, 3.2: where the separators are */

    { "", NULL, "nothing" },
    { "@", NULL, "at alone" },
    { "/", NULL, "slash alone" },
    { "@example.com", NULL, "empty localpart" },
    { "example.com/", NULL, "empty resourcepart" },
    { "a@example.com/", NULL, "empty resourcepart, with localpart" },
    { "a@/b", NULL, "empty domainpart between" },
    { "a@b@example.com", NULL, "two at signs" },
    { "a@example.com/b/c@d", "a@example.com/b/c@d", "all in the resource" },
    { "example.com/a@b", "example.com/a@b", "at sign after the slash" },

    /* 3.2: domains */

    { "Example.COM", "example.com", "domain in upper case" },
    { "example.com.", "example.com", "final dot" },
    { "a@example.com./b", "a@example.com/b", "final dot before resource" },
    { "example.com..", NULL, "two final dots" },
    { ".", NULL, "dot alone" },
    { ".example.com", NULL, "first label empty" },
    { "example..com", NULL, "label empty" },
    { "-example.com", NULL, "hyphen first" },
    { "example-.com", NULL, "hyphen last" },
    { "ex-ample.com", "ex-ample.com", "hyphen inside" },
    { "exa--mple.com", "exa--mple.com", "two hyphens, fourth and fifth" },
    { "ab--cd.com", NULL, "reserved LDH label" },
    { "exa_mple.com", NULL, "underscore" },
    { "exa mple.com", NULL, "space in domain" },
    { "127.0.0.1", "127.0.0.1", "IPv4" },
    { "a@[::1]/b", "a@[::1]/b", "IPv6" },
    { "[2001:DB8:0:0::0001]", "[2001:db8::1]", "IPv6 in short" },
    { "[::1].", "[::1]", "IPv6 and final dot" },
    { "[::1", NULL, "IPv6, no bracket" },
    { "[]", NULL, "brackets alone" },
    { "[", NULL, "bracket alone" },
    { "[::1%eth0]", NULL, "IPv6 with a zone" },
    { "[v1.a]", NULL, "future IP version" },
    { "[127.0.0.1]", NULL, "IPv4 in brackets" },
    { "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]", NULL,
      "IPv6, too long" },
    { "b\xc3\xbc" "cher.example", "b\xc3\xbc" "cher.example", "U-label" },
    { "B\xc3\x9c" "CHER.example", "b\xc3\xbc" "cher.example",
      "U-label in upper case" },
    { "bu\xcc\x88" "cher.example", "b\xc3\xbc" "cher.example",
      "U-label not in NFC" },
    { "xn--bcher-kva.example", "b\xc3\xbc" "cher.example", "A-label" },
    { "XN--BCHER-KVA.example", "b\xc3\xbc" "cher.example",
      "A-label in upper case" },
    { "xn--99999999.example", NULL, "A-label of nothing" },
    { "xn--.example", NULL, "A-label without a label" },
    { "xn--abc-.example", NULL, "A-label of ASCII" },
    { "fa\xc3\x9f.example", "fa\xc3\x9f.example", "sharp s is kept" },
    { "xn--fa-hia.example", "fa\xc3\x9f.example", "sharp s as A-label" },
    { "\xef\xbd\x85xample.com", "example.com", "fullwidth letter" },
    { "example\xe3\x80\x82" "com", "example.com", "ideographic full stop" },
    { "b\xc3\xbc" "cher.example.", "b\xc3\xbc" "cher.example",
      "U-label and final dot" },
    { "b\xc3\xbc" "cher.example..", NULL, "U-label and two final dots" },
    { "b\xc3\xbc" "cher..example", NULL, "U-label and empty label" },
    { "\xe2\x99\xa5.example", NULL, "symbol in a domain" },
    { "\xd7\x90\xd7\x91.example", "\xd7\x90\xd7\x91.example",
      "right-to-left domain" },
    { "a\xd7\x90.example", NULL, "bidi rule in a domain" },
    { "a\xe2\x80\x8d" "b.example", NULL, "joiner in a domain" },
    { "l\xc2\xb7l.example", "l\xc2\xb7l.example", "middle dot in a domain" },
    { "a\xc2\xb7" "b.example", NULL, "middle dot not between l" },
    { "\xd8\xa7\xd9\xa0.\xd8\xa7\xdb\xb0",
      "\xd8\xa7\xd9\xa0.\xd8\xa7\xdb\xb0",
      "two kinds of digits in two labels" },
    { "\xd8\xa7\xd9\xa0\xdb\xb0.example", NULL, "both in one label" },
    { "a\xe3\x83\xbb" "b.\xe3\x82\xab", NULL,
      "katakana dot, katakana in another label" },
    { "\xcc\x88" "a.example", NULL, "combining mark first" },
    { "\xc2\xad.example", NULL, "label of nothing visible" },
    { "\xc2\xad", NULL, "domain of nothing visible" },

    /* 3.3: localparts */

    { "JULIET@example.com", "juliet@example.com", "upper case" },
    { "a&b@example.com", NULL, "ampersand" },
    { "a'b@example.com", NULL, "apostrophe" },
    { "a:b@example.com", NULL, "colon" },
    { "a<b@example.com", NULL, "less than" },
    { "a>b@example.com", NULL, "greater than" },
    { "A\"@example.com", NULL, "quotation mark after upper case" },
    { "a!#$%()*+,-.;=?[\\]^_`{|}~@example.com",
      "a!#$%()*+,-.;=?[\\]^_`{|}~@example.com", "other punctuation" },
    { "a\x7f@example.com", NULL, "DEL" },
    { "a\t@example.com", NULL, "tab" },
    { "\xef\xbd\x81@example.com", "a@example.com", "fullwidth a" },
    { "a\xef\xbc\xa0" "b@example.com", NULL, "fullwidth at sign" },
    { "a\xef\xbc\x8f" "b@example.com", NULL, "fullwidth slash" },
    { "\xe2\x84\xaa@example.com", NULL, "Kelvin sign" },
    { "\xc3\x89@example.com", "\xc3\xa9@example.com", "E with acute" },
    { "e\xcc\x81@example.com", "\xc3\xa9@example.com", "not in NFC" },
    { "\xc3\xa9:@example.com", NULL, "colon beside non-ASCII" },
    { "\xd7\x90@example.com", "\xd7\x90@example.com", "Hebrew" },
    { "a\xd7\x90@example.com", NULL, "bidi rule" },

    /* 3.4: resourceparts */

    { "a@b/BALCONY", "a@b/BALCONY", "case is kept" },
    { "a@b/\xc2\xa0", "a@b/ ", "no-break space" },
    { "a@b/e\xcc\x81", "a@b/\xc3\xa9", "resource not in NFC" },
    { "a@b/<\"&'>:@/", "a@b/<\"&'>:@/", "punctuation" },
    { "a@b/\x7f", NULL, "DEL in resource" },
    { "a@b/a\nb", NULL, "line feed in resource" },
    { "a@b/\xef\xbb\xbf", NULL, "byte order mark" },
    { "a@b/\xef\xbf\xbf", NULL, "noncharacter" },
    { "a@b/\xe2\x85\xa3", "a@b/\xe2\x85\xa3", "Roman numeral" },
    { "a@b/\xf0\x9f\x98\x80", "a@b/\xf0\x9f\x98\x80", "smiley" }
};


int
main(void)
{
    tap_plan(sizeof(test_samples_list) / sizeof(test_jid_t)
             + 12 + 8 + 16 + 9 + 4);

    test_samples();
    test_parts();
    test_make();
    test_lengths();
    test_invalid_utf8();
    test_random();

    return tap_end();
}


static void
test_samples(void)
{
    ngx_int_t        rc;
    ngx_str_t       *text, *want;
    ngx_uint_t       i;
    test_jid_t      *t;
    ngx_xmpp_jid_t   jid, again;

    for (i = 0; i < sizeof(test_samples_list) / sizeof(test_jid_t); i++) {
        t = &test_samples_list[i];

        text = tap_copy(tap_pool(), t->text, ngx_strlen(t->text));
        want = t->want ? tap_copy(tap_pool(), t->want, ngx_strlen(t->want))
                       : NULL;

        rc = ngx_xmpp_jid_parse(tap_pool(), text, &jid);

        /* what is prepared stays as it is */

        if (rc == NGX_OK
            && (ngx_xmpp_jid_parse(tap_pool(), &jid.full, &again) != NGX_OK
                || !ngx_xmpp_str_eq(&jid.full, &again.full)
                || !ngx_xmpp_str_eq(&jid.bare, &again.bare)))
        {
            rc = NGX_ERROR;
        }

        tap_is(rc == NGX_OK ? &jid.full : NULL, want, t->name);
    }
}


static void
test_parts(void)
{
    ngx_str_t       *text;
    ngx_xmpp_jid_t   jid;

    text = tap_str("Juliet@Example.COM./Balcony");

    tap_ok(ngx_xmpp_jid_parse(tap_pool(), text, &jid) == NGX_OK, "parsed");
    tap_is(&jid.full, tap_str("juliet@example.com/Balcony"), "full");
    tap_is(&jid.bare, tap_str("juliet@example.com"), "bare");
    tap_is(&jid.local, tap_str("juliet"), "local");
    tap_is(&jid.domain, tap_str("example.com"), "domain");
    tap_is(&jid.resource, tap_str("Balcony"), "resource");
    tap_ok(jid.bare.data == jid.full.data
           && jid.domain.data == jid.full.data + 7
           && jid.resource.data == jid.full.data + 19,
           "the parts are slices");
    tap_is(text, tap_str("Juliet@Example.COM./Balcony"), "text untouched");

    (void) ngx_xmpp_jid_parse(tap_pool(), tap_str("example.com"), &jid);

    tap_ok(jid.local.len == 0, "no local");
    tap_ok(jid.resource.len == 0, "no resource");
    tap_is(&jid.bare, &jid.full, "bare is full");
    tap_is(&jid.domain, &jid.full, "domain is full");
}


static void
test_make(void)
{
    ngx_pool_t      *pool;
    ngx_xmpp_jid_t   jid, copy;

    (void) ngx_xmpp_jid_make(tap_pool(), tap_str("a"), tap_str("b"),
                             tap_str("c"), &jid);
    tap_is(&jid.full, tap_str("a@b/c"), "made of three parts");

    (void) ngx_xmpp_jid_make(tap_pool(), NULL, tap_str("b"), NULL, &jid);
    tap_is(&jid.full, tap_str("b"), "made of a domain");
    tap_ok(jid.local.len == 0 && jid.resource.len == 0, "and nothing else");

    (void) ngx_xmpp_jid_make(tap_pool(), tap_str(""), tap_str("b"),
                             tap_str("c"), &jid);
    tap_is(&jid.full, tap_str("b/c"), "made without a local");

    pool = ngx_create_pool(0, NULL);

    (void) ngx_xmpp_jid_parse(pool, tap_str("a@b/c"), &jid);
    (void) ngx_xmpp_jid_copy(tap_pool(), &jid, &copy);

    ngx_destroy_pool(pool);

    tap_is(&copy.full, tap_str("a@b/c"), "the copy outlives its source");
    tap_is(&copy.bare, tap_str("a@b"), "its bare");
    tap_is(&copy.resource, tap_str("c"), "its resource");

    (void) ngx_xmpp_jid_copy(tap_pool(), &copy, &copy);
    tap_is(&copy.full, tap_str("a@b/c"), "copied onto itself");
}


/* RFC 7622, 3.2, 3.3, 3.4: 1023 octets, after preparation */

static void
test_lengths(void)
{
    test_length("a", 1023, "", "@b", NGX_OK, "local 1023");
    test_length("a", 1024, "", "@b", NGX_DECLINED, "local 1024");
    test_length("\xc3\xa9", 511, "a", "@b", NGX_OK, "local 1023, non-ASCII");
    test_length("\xc3\xa9", 512, "", "@b", NGX_DECLINED, "local 1024, too");
    test_length("\xef\xbd\x81", 1023, "", "@b", NGX_OK,
                "local 3069 that shrinks to 1023");
    test_length("\xef\xbd\x81", 1024, "", "@b", NGX_DECLINED,
                "local that shrinks to 1024");
    test_length("\xc4\xb0", 500, "", "@b", NGX_DECLINED,
                "local 1000 that grows to 1500");

    test_length("a", 1023, "b/", "", NGX_OK, "resource 1023");
    test_length("a", 1024, "b/", "", NGX_DECLINED, "resource 1024");
    test_length("\xc2\xa0", 1023, "b/", "", NGX_OK,
                "resource 2046 that shrinks to 1023");
    test_length("\xc2\xa0", 1024, "b/", "", NGX_DECLINED,
                "resource that shrinks to 1024");

    test_length("a", 63, "", ".b", NGX_OK, "label 63");
    test_length("a", 64, "", ".b", NGX_DECLINED, "label 64");
    test_length("\xc3\xa9", 64, "", ".b", NGX_DECLINED, "U-label too long");
    test_length("a.", 511, "", "b", NGX_OK, "domain 1023");
    test_length("a.", 511, "", "bb", NGX_DECLINED, "domain 1024");
}


static void
test_length(const char *unit, ngx_uint_t n, const char *before,
    const char *after, ngx_int_t want, const char *name)
{
    u_char          *p;
    ngx_str_t        text;
    ngx_xmpp_jid_t   jid;

    text.len = ngx_strlen(before) + n * ngx_strlen(unit) + ngx_strlen(after);
    text.data = ngx_pnalloc(tap_pool(), text.len);

    p = ngx_cpymem(text.data, before, ngx_strlen(before));

    while (n--) {
        p = ngx_cpymem(p, unit, ngx_strlen(unit));
    }

    ngx_memcpy(p, after, ngx_strlen(after));

    tap_ok(ngx_xmpp_jid_parse(tap_pool(), &text, &jid) == want, "%s", name);
}


static void
test_invalid_utf8(void)
{
    ngx_xmpp_jid_t  jid;

    tap_ok(ngx_xmpp_jid_parse(tap_pool(), tap_str("\xc3@b"), &jid)
           == NGX_DECLINED, "local cut short");
    tap_ok(ngx_xmpp_jid_parse(tap_pool(), tap_str("\xc3"), &jid)
           == NGX_DECLINED, "domain cut short");
    tap_ok(ngx_xmpp_jid_parse(tap_pool(), tap_str("b/\xf0\x9f\x98"), &jid)
           == NGX_DECLINED, "resource cut short");
    tap_ok(ngx_xmpp_jid_parse(tap_pool(), tap_str("\xc0\xaf@b"), &jid)
           == NGX_DECLINED, "overlong slash");
    tap_ok(ngx_xmpp_jid_parse(tap_pool(), tap_str("b/\xed\xa0\x80"), &jid)
           == NGX_DECLINED, "surrogate");
    tap_ok(ngx_xmpp_jid_parse(tap_pool(), tap_str("a\0b@b"), &jid)
           == NGX_DECLINED, "NUL in local");
    tap_ok(ngx_xmpp_jid_parse(tap_pool(), tap_str("a@b\0c"), &jid)
           == NGX_DECLINED, "NUL in domain");
    tap_ok(ngx_xmpp_jid_parse(tap_pool(), tap_str("a@b/\0"), &jid)
           == NGX_DECLINED, "NUL in resource");
    tap_ok(ngx_xmpp_jid_parse(tap_pool(), tap_str("[::1\0]"), &jid)
           == NGX_DECLINED, "NUL in address");
}


/*
 * Random strings of octets and code points that are likely to meet a rule:
 * nothing breaks, and what is a JID is prepared once for all.
 */
static void
test_random(void)
{
    u_char          *p, buf[64];
    ngx_str_t       *text;
    ngx_uint_t       i, n, seed, valid, unstable, foreign, length;
    ngx_pool_t      *pool;
    ngx_xmpp_jid_t   jid, again;

    static const char  *units[] = {
        "a", "B", "1", "-", ".", "@", "/", " ", "{", "\x7f", "xn--", "l",
        "\xc3\x9f", "\xc4\xb0", "\xce\xa3", "\xc2\xb7", "\xcc\x81", "e",
        "\xe2\x80\x8c", "\xe2\x80\x8d", "\xd7\x90", "\xd8\xa7", "\xd9\xa0",
        "\xdb\xb0", "\xe3\x83\xbb", "\xe3\x82\xab", "\xef\xbd\x81",
        "\xef\xbe\x9e", "\xe0\xa5\x8d", "\xe0\xa4\x95", "\xf0\x9f\x98\x80",
        "\xf0\x9d\x94\xb8", "\xc2\xa0", "\xe3\x80\x82", "\xff", "\xe2",
        "\xf0\x9e\xa4\x80", "\xe1\xba\x9e", "\xe2\x84\xab", "\xd6\xb4"
    };

    valid = 0;
    unstable = 0;
    foreign = 0;
    length = 0;
    seed = 1;

    for (i = 0; i < 60000; i++) {
        p = buf;

        for (n = 0; n < 1 + i % 12; n++) {
            seed = (seed * 1103515245 + 12345) & 0x7fffffff;

            p = ngx_cpymem(p, units[(seed >> 8) % 40],
                           ngx_strlen(units[(seed >> 8) % 40]));
        }

        pool = ngx_create_pool(0, NULL);
        text = tap_copy(pool, (char *) buf, p - buf);

        if (ngx_xmpp_jid_parse(pool, text, &jid) == NGX_OK) {
            valid++;

            if (ngx_xmpp_jid_parse(pool, &jid.full, &again) != NGX_OK
                || !ngx_xmpp_str_eq(&jid.full, &again.full))
            {
                unstable++;
            }

            if (!ngx_xmpp_utf8_valid(jid.full.data, jid.full.len)) {
                foreign++;
            }

            if (jid.full.len
                != jid.local.len + (jid.local.len > 0) + jid.domain.len
                   + (jid.resource.len > 0) + jid.resource.len)
            {
                length++;
            }
        }

        ngx_destroy_pool(pool);
    }

    tap_ok(valid > 500, "%d of the random strings are JIDs", (int) valid);
    tap_ok(unstable == 0, "preparing them again changes none");
    tap_ok(foreign == 0, "all are UTF-8");
    tap_ok(length == 0, "the parts make up the whole");
}
