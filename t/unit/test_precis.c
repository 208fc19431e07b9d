
/*
 * String preparation: the samples of RFC 8265, 3.5 and 4.3 and RFC 4013, 3,
 * the properties and contextual rules of RFC 8264 and RFC 5892, the Bidi Rule
 * of RFC 5893, UTF-8 by RFC 3629, and all code points of Unicode once.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <unicode/uchar.h>
#include <unicode/utf8.h>
#include "ngx_xmpp_precis.h"
#include "tap.h"


typedef ngx_int_t (*test_profile_pt)(ngx_pool_t *pool, ngx_str_t *in,
    ngx_str_t *out);


typedef struct {
    const char  *text;
    const char  *want;         /* NULL: refused */
    const char  *name;
} test_case_t;


#define test_n(list)  (sizeof(list) / sizeof(list[0]))


static void test_list(const char *profile, test_profile_pt prep,
    test_case_t *t, ngx_uint_t n);
static void test_utf8(void);
static void test_unchanged(void);
static void test_long(void);
static void test_all_code_points(void);
static ngx_uint_t test_code_point(UChar32 ch, test_profile_pt prep,
    ngx_uint_t *accepted);


static test_case_t  test_username[] = {

    /* RFC 8265, 3.5 */

    { "juliet@example.com", "juliet@example.com", "at sign" },
    { "fussball", "fussball", "ASCII" },
    { "fu\xc3\x9f" "ball", "fu\xc3\x9f" "ball", "sharp s" },
    { "\xcf\x80", "\xcf\x80", "pi" },
    { "\xce\xa3", "\xcf\x83", "capital sigma" },
    { "\xcf\x83", "\xcf\x83", "sigma" },
    { "\xcf\x82", "\xcf\x82", "final sigma" },
    { "foo bar", NULL, "space" },
    { "", NULL, "empty" },
    { "henry\xe2\x85\xa3", NULL, "Roman numeral" },
    { "\xe2\x99\x9a", NULL, "chess king" },
    { "\xe2\x88\x9e", NULL, "infinity" },

    /* rules of 3.3, in their order */

    { "\xef\xbc\xa1\xef\xbd\x82", "ab", "width, then case" },
    { "\xef\xbe\x8a\xef\xbe\x9f", "\xe3\x83\x91", "halfwidth, then NFC" },
    { "\xe3\x80\x80", NULL, "ideographic space" },
    { "a\xe3\x80\x80" "b", NULL, "ideographic space inside" },
    { "\xef\xbc\x88", "(", "fullwidth parenthesis" },
    { "\xc4\xb0", "i\xcc\x87", "I with dot above" },
    { "ILLI", "illi", "capital I" },
    { "\xe1\xba\x9e", "\xc3\x9f", "capital sharp s" },
    { "\xc7\x85", NULL, "titlecase digraph" },
    { "A\xce\xa3", "a\xcf\x82", "final capital sigma" },
    { "e\xcc\x81", "\xc3\xa9", "NFC" },
    { "\xe1\xb8\x9b\xcc\xa3", "\xe1\xb8\x9b\xcc\xa3", "order of marks" },
    { "\xf0\x90\x90\x80", "\xf0\x90\x90\xa8", "case beyond the BMP" },

    /* properties: RFC 8264, 9 */

    { "\xc2\xad", NULL, "soft hyphen" },
    { "a\xe2\x80\x8b", NULL, "zero width space" },
    { "\xd9\x80", NULL, "tatweel" },
    { "\xdb\xbd", "\xdb\xbd", "exception, valid" },
    { "\xe3\x80\x87", "\xe3\x80\x87", "ideographic zero" },
    { "\xe3\x80\xb1", NULL, "exception, disallowed" },
    { "\xe1\x84\x80", NULL, "old Hangul jamo" },
    { "\xea\xb0\x80", "\xea\xb0\x80", "Hangul syllable" },
    { "\xcd\xb8", NULL, "unassigned" },
    { "\xef\xb7\x90", NULL, "noncharacter" },
    { "\xee\x80\x80", NULL, "private use" },
    { "\xef\xac\x81", NULL, "ligature" },
    { "\xc2\xb2", NULL, "superscript two" },
    { "\xc2\xbf", NULL, "non-ASCII punctuation" },
    { "\xf0\x9f\x98\x80", NULL, "smiley" },
    { "\xe4\xb8\xad\xe6\x96\x87", "\xe4\xb8\xad\xe6\x96\x87", "Han" },
    { "\xc2\x85", NULL, "C1 control" },
    { "\xe2\x80\xae" "a", NULL, "right-to-left override" },

    /* contextual rules: RFC 5892, A */

    { "l\xc2\xb7l", "l\xc2\xb7l", "A.3 between l" },
    { "l\xc2\xb7", NULL, "A.3 last" },
    { "\xc2\xb7l", NULL, "A.3 first" },
    { "l\xc2\xb7" "a", NULL, "A.3 before a" },
    { "\xcd\xb5\xce\xb1", "\xcd\xb5\xce\xb1", "A.4 before Greek" },
    { "\xcd\xb5" "a", NULL, "A.4 before Latin" },
    { "\xcd\xb5", NULL, "A.4 alone" },
    { "\xd7\x90\xd7\xb3", "\xd7\x90\xd7\xb3", "A.5 after Hebrew" },
    { "\xd7\xb3\xd7\x90", NULL, "A.5 first" },
    { "\xd7\x90\xd7\xb4\xd7\x91", "\xd7\x90\xd7\xb4\xd7\x91",
      "A.6 after Hebrew" },
    { "a\xd7\xb4", NULL, "A.6 after Latin" },
    { "\xe3\x83\xbb\xe3\x82\xab", "\xe3\x83\xbb\xe3\x82\xab",
      "A.7 with Katakana" },
    { "\xe4\xb8\xad\xe3\x83\xbb", "\xe4\xb8\xad\xe3\x83\xbb", "A.7 with Han" },
    { "a\xe3\x83\xbb" "b", NULL, "A.7 with Latin" },
    { "\xd8\xa7\xd9\xa0", "\xd8\xa7\xd9\xa0", "A.8 alone" },
    { "\xd8\xa7\xd9\xa0\xdb\xb0", NULL, "A.8 and A.9" },
    { "\xd8\xa7\xdb\xb0\xd9\xa9", NULL, "A.9 and A.8" },
    { "\xe0\xa4\x95\xe0\xa5\x8d\xe2\x80\x8c", "\xe0\xa4\x95\xe0\xa5\x8d"
      "\xe2\x80\x8c", "A.1 after virama" },
    { "\xe0\xa4\x95\xe0\xa5\x8d\xe2\x80\x8d", "\xe0\xa4\x95\xe0\xa5\x8d"
      "\xe2\x80\x8d", "A.2 after virama" },
    { "\xd8\xa8\xe2\x80\x8c\xd8\xa8", "\xd8\xa8\xe2\x80\x8c\xd8\xa8",
      "A.1 between joining letters" },
    { "\xd8\xa8\xd9\x8b\xe2\x80\x8c\xd9\x8b\xd8\xa8",
      "\xd8\xa8\xd9\x8b\xe2\x80\x8c\xd9\x8b\xd8\xa8",
      "A.1 with transparent marks" },
    { "\xd8\xa7\xe2\x80\x8c\xd8\xa8", NULL, "A.1 after right-joining" },
    { "\xd8\xa8\xe2\x80\x8c", NULL, "A.1 last" },
    { "\xe2\x80\x8c\xd8\xa8", NULL, "A.1 first" },
    { "\xd8\xa8\xe2\x80\x8d\xd8\xa8", NULL, "A.2 between joining letters" },
    { "a\xe2\x80\x8d" "b", NULL, "A.2 in Latin" },

    /* RFC 5893, 2 */

    { "\xd7\x90\xd7\x91", "\xd7\x90\xd7\x91", "right to left" },
    { "\xd7\x90" "1", "\xd7\x90" "1", "European number last" },
    { "1\xd7\x90", NULL, "number first" },
    { "a\xd7\x90", NULL, "Latin first" },
    { "\xd7\x90" "a", NULL, "Latin last" },
    { "\xd7\x90" "a\xd7\x91", NULL, "Latin inside" },
    { "\xd7\x90-", NULL, "neutral last" },
    { "\xd7\x90-\xd7\x91", "\xd7\x90-\xd7\x91", "neutral inside" },
    { "\xd7\x90\xd6\xb4", "\xd7\x90\xd6\xb4", "mark last" },
    { "\xd7\x90" "1\xd9\xa0", NULL, "both kinds of numbers" },
    { "\xd9\xa0", NULL, "Arabic number alone" },
    { "1a-", "1a-", "the rule is not for left to right" }
};


static test_case_t  test_opaque[] = {

    /* RFC 8265, 4.3 */

    { "correct horse battery staple", "correct horse battery staple", "no. 1" },
    { "Correct Horse Battery Staple", "Correct Horse Battery Staple", "no. 2" },
    { "\xcf\x80\xc3\x9f\xc3\xa5", "\xcf\x80\xc3\x9f\xc3\xa5", "no. 3" },
    { "Jack of \xe2\x99\xa6s", "Jack of \xe2\x99\xa6s", "no. 4" },
    { "foo\xe1\x9a\x80" "bar", "foo bar", "no. 5" },
    { "", NULL, "no. 6" },
    { "my cat is a \x09" "by", NULL, "no. 7" },

    { " a ", " a ", "spaces at the ends" },
    { "\xe2\x80\x82\xe3\x80\x80", "  ", "other spaces" },
    { "A\xcc\x8a", "\xc3\x85", "NFC" },
    { "\xe2\x84\xab", "\xc3\x85", "Angstrom sign" },
    { "\xef\xbd\x81", "\xef\xbd\x81", "width is kept" },
    { "\xef\xac\x81", "\xef\xac\x81", "ligature is kept" },
    { "a\xd7\x90", "a\xd7\x90", "no bidi rule" },
    { "a\xe2\x80\xa8", NULL, "line separator" },
    { "\xef\xbb\xbf" "a", NULL, "byte order mark" },
    { "\xef\xbf\xbd", "\xef\xbf\xbd", "replacement character" },
    { "a\xc2\xb7" "b", NULL, "contextual rules hold" },
    { "\xcd\xb8", NULL, "unassigned" },
    { "\xee\x80\x80", NULL, "private use" },
    { "a\x7f", NULL, "DEL" },
    { "\xe9", NULL, "Latin-1" }
};


static test_case_t  test_saslprep[] = {

    /* RFC 4013, 3 */

    { "I\xc2\xadX", "IX", "no. 1" },
    { "user", "user", "no. 2" },
    { "USER", "USER", "no. 3" },
    { "\xc2\xaa", "a", "no. 4" },
    { "\xe2\x85\xa8", "IX", "no. 5" },
    { "\x07", NULL, "no. 6" },
    { "\xd8\xa7" "1", NULL, "no. 7" },

    { "", "", "empty" },
    { "\xc2\xad", "", "mapped to nothing" },
    { "a\xc2\xa0" "b", "a b", "no-break space" },
    { " pass word ", " pass word ", "spaces are kept" },
    { "e\xcc\x81", "\xc3\xa9", "composed" },
    { "\xd8\xa7" "1\xd8\xa8", "\xd8\xa7" "1\xd8\xa8", "bidi, RFC 3454, 6" },
    { "\xd8\xa7" "a\xd8\xa8", NULL, "bidi, mixed" },
    { "\x7f", NULL, "DEL" },
    { "\xc3\xa9\x7f", NULL, "DEL beside non-ASCII" },
    { "\xee\x80\x80", NULL, "private use" },
    { "\xef\xbf\xbd", NULL, "replacement character" },
    { "\xc8\xa1", NULL, "unassigned in Unicode 3.2" },
    { "p\xc3\xa4ss\xff", NULL, "not UTF-8" }
};


int
main(void)
{
    tap_plan(test_n(test_username) + test_n(test_opaque)
             + test_n(test_saslprep) + 33 + 4 + 6 + 4);

    test_list("username", ngx_xmpp_precis_username, test_username,
              test_n(test_username));
    test_list("opaque", ngx_xmpp_precis_opaque, test_opaque,
              test_n(test_opaque));
    test_list("saslprep", ngx_xmpp_saslprep, test_saslprep,
              test_n(test_saslprep));

    test_utf8();
    test_unchanged();
    test_long();
    test_all_code_points();

    return tap_end();
}


static void
test_list(const char *profile, test_profile_pt prep, test_case_t *t,
    ngx_uint_t n)
{
    ngx_int_t    rc;
    ngx_str_t    out, *text, *want;
    ngx_uint_t   i;

    printf("# %s\n", profile);

    for (i = 0; i < n; i++) {
        text = tap_copy(tap_pool(), t[i].text, ngx_strlen(t[i].text));
        want = t[i].want ? tap_copy(tap_pool(), t[i].want,
                                    ngx_strlen(t[i].want))
                         : NULL;

        ngx_str_set(&out, "unset");

        rc = prep(tap_pool(), text, &out);

        if (rc != NGX_OK && rc != NGX_DECLINED) {
            want = text;
        }

        tap_is(rc == NGX_OK ? &out : NULL, want, t[i].name);
    }
}


/* RFC 3629, 4: the first and last of each row, and what lies beside */

static void
test_utf8(void)
{
    ngx_str_t   *text;
    ngx_uint_t   i;

    static struct {
        const char  *text;
        ngx_uint_t   valid;
    } t[] = {
        { "", 1 },
        { "\x7f", 1 },
        { "\x80", 0 },
        { "\xbf", 0 },
        { "\xc0\x80", 0 },
        { "\xc1\xbf", 0 },
        { "\xc2\x80", 1 },
        { "\xdf\xbf", 1 },
        { "\xdf\x7f", 0 },
        { "\xdf\xc0", 0 },
        { "\xe0\x9f\xbf", 0 },
        { "\xe0\xa0\x80", 1 },
        { "\xec\xbf\xbf", 1 },
        { "\xed\x9f\xbf", 1 },
        { "\xed\xa0\x80", 0 },
        { "\xed\xbf\xbf", 0 },
        { "\xee\x80\x80", 1 },
        { "\xef\xbf\xbf", 1 },
        { "\xef\xbf\x7f", 0 },
        { "\xf0\x8f\xbf\xbf", 0 },
        { "\xf0\x90\x80\x80", 1 },
        { "\xf4\x8f\xbf\xbf", 1 },
        { "\xf4\x90\x80\x80", 0 },
        { "\xf5\x80\x80\x80", 0 },
        { "\xff", 0 },
        { "a\xc3", 0 },
        { "a\xe2\x82", 0 },
        { "a\xf0\x9f\x98", 0 },
        { "\xe2\x82\xac\xf0\x9f\x98\x80z", 1 },
        { "\xe2\x28\xa1", 0 },
        { "\xf0\x28\x8c\xbc", 0 },
        { "\xf0\x90\x28\xbc", 0 },
        { "\xfc\x84\x80\x80\x80\x80", 0 }
    };

    for (i = 0; i < test_n(t); i++) {
        text = tap_copy(tap_pool(), t[i].text, ngx_strlen(t[i].text));

        tap_ok(ngx_xmpp_utf8_valid(text->data, text->len) == t[i].valid,
               "UTF-8 %d", (int) i);
    }
}


/* no copy where nothing changes; and out may be in */

static void
test_unchanged(void)
{
    ngx_str_t  out, *text;

    text = tap_str("\xc3\xa9t\xc3\xa9");

    tap_ok(ngx_xmpp_precis_username(tap_pool(), text, &out) == NGX_OK
           && out.data == text->data, "username: not copied");
    tap_ok(ngx_xmpp_precis_opaque(tap_pool(), text, &out) == NGX_OK
           && out.data == text->data, "opaque: not copied");

    text = tap_str("\xc3\x89T\xc3\x89");

    (void) ngx_xmpp_precis_username(tap_pool(), text, text);
    tap_is(text, tap_str("\xc3\xa9t\xc3\xa9"), "username onto itself");

    text = tap_str("ETE");

    (void) ngx_xmpp_precis_username(tap_pool(), text, text);
    tap_is(text, tap_str("ete"), "ASCII username onto itself");
}


/* longer than any password or name: refused, whatever it is */

static void
test_long(void)
{
    size_t     i;
    ngx_str_t  in, out;

    in.len = 65536;
    in.data = ngx_pnalloc(tap_pool(), in.len);

    ngx_memset(in.data, 'a', in.len);

    in.data[0] = 0xc3;
    in.data[1] = 0xa9;

    tap_ok(ngx_xmpp_saslprep(tap_pool(), &in, &out) == NGX_DECLINED,
           "saslprep: too long");
    tap_ok(ngx_xmpp_precis_username(tap_pool(), &in, &out) == NGX_DECLINED,
           "username: too long");
    tap_ok(ngx_xmpp_precis_opaque(tap_pool(), &in, &out) == NGX_DECLINED,
           "opaque: too long");

    in.len--;

    tap_ok(ngx_xmpp_saslprep(tap_pool(), &in, &out) == NGX_OK
           && out.len == in.len, "saslprep: the longest");

    /* U+FDFA becomes 18 characters in 33 octets, the most there is */

    in.len = 3 * 100;

    for (i = 0; i < in.len; i += 3) {
        ngx_memcpy(in.data + i, "\xef\xb7\xba", 3);
    }

    tap_ok(ngx_xmpp_saslprep(tap_pool(), &in, &out) == NGX_OK
           && out.len == 33 * 100, "saslprep: grows elevenfold");

    in = out;

    tap_ok(ngx_xmpp_saslprep(tap_pool(), &in, &out) == NGX_OK
           && out.len == in.len
           && ngx_memcmp(out.data, in.data, in.len) == 0,
           "saslprep: and then no more");
}


/*
 * Each code point alone: no profile accepts a control, a surrogate, an
 * unassigned one, a noncharacter or private use, and all are stable.
 */
static void
test_all_code_points(void)
{
    UChar32     ch;
    ngx_uint_t  bad, names, texts;

    bad = 0;
    names = 0;
    texts = 0;

    for (ch = 1; ch <= 0x10ffff; ch++) {

        /* planes 4 to 13 are unassigned, 15 and 16 private */

        if (ch == 0x40000) {
            ch = 0xdfff0;
        }

        if (ch == 0xf0100) {
            ch = 0x10fff0;
        }

        bad += test_code_point(ch, ngx_xmpp_precis_username, &names);
        bad += test_code_point(ch, ngx_xmpp_precis_opaque, &texts);
    }

    tap_ok(bad == 0, "code points: stable, and none that is never allowed");

    /* what Unicode had when ICU 63 was new is more than this */

    tap_ok(names > 120000, "%d of them in names", (int) names);
    tap_ok(texts > names, "%d of them in texts", (int) texts);
    tap_ok(texts < 300000, "and not all of them");
}


static ngx_uint_t
test_code_point(UChar32 ch, test_profile_pt prep, ngx_uint_t *accepted)
{
    u_char      buf[U8_MAX_LENGTH];
    int32_t     n;
    ngx_int_t   rc;
    ngx_str_t   in, out, again;
    ngx_uint_t  bad;
    ngx_pool_t  *pool;

    if (U_IS_SURROGATE(ch)) {
        return 0;
    }

    n = 0;
    U8_APPEND_UNSAFE(buf, n, ch);

    pool = ngx_create_pool(0, NULL);

    in.data = buf;
    in.len = n;

    bad = 0;

    rc = prep(pool, &in, &out);

    if (rc == NGX_OK) {
        (*accepted)++;

        bad = prep(pool, &out, &again) != NGX_OK
              || again.len != out.len
              || ngx_memcmp(again.data, out.data, out.len) != 0
              || (U_GET_GC_MASK(ch) & (U_GC_C_MASK|U_GC_ZL_MASK|U_GC_ZP_MASK));

    } else if (rc != NGX_DECLINED) {
        bad = 1;
    }

    ngx_destroy_pool(pool);

    return bad;
}
