
/*
 * The small helpers of util/: base64 (RFC 4648), random identifiers, dates
 * (XEP-0082), key escapes, names in the log.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_xmpp_util.h"
#include "tap.h"


typedef struct {
    const char  *plain;
    const char  *text;
} test_pair_t;


static void test_base64(void);
static void test_base64_bad(void);
static void test_base64_all_lengths(void);
static void test_id(void);
static void test_datetime(void);
static void test_datetime_parse(void);
static void test_datetime_refused(void);
static void test_escape(void);
static void test_log_escape(void);


/* RFC 4648, 10, and what uses the whole alphabet */
static test_pair_t  test_base64_pairs[] = {
    { "", "" },
    { "f", "Zg==" },
    { "fo", "Zm8=" },
    { "foo", "Zm9v" },
    { "foob", "Zm9vYg==" },
    { "fooba", "Zm9vYmE=" },
    { "foobar", "Zm9vYmFy" },
    { "\xfb\xff\xbf", "+/+/" },
    { "\xff\xff\xff\xff", "/////w==" }
};


/* RFC 4648, 3.1, 3.2, 3.3, 3.5, 12 */
static test_pair_t  test_base64_bads[] = {
    { "length 1", "Z" },
    { "length 2, padding missing", "Zg" },
    { "length 3, padding missing", "Zm8" },
    { "length 5", "Zm9vY" },
    { "padding alone", "====" },
    { "one digit and padding", "Z===" },
    { "padding first", "=Zm9" },
    { "padding inside", "Zg==Zg==" },
    { "padding in the middle of four", "Zg=v" },
    { "padding after padding", "Zm9v====" },
    { "trailing bits after one octet", "Zh==" },
    { "trailing bits after two octets", "Zm9=" },
    { "line feed", "Zm9v\nZm9" },
    { "final line feed", "Zm8=\n" },
    { "space", "Zm 9" },
    { "URL alphabet", "-_-_" },
    { "outside, first of four", "!m9v" },
    { "outside, second of four", "Z!9v" },
    { "outside, third of four", "Zm!v" },
    { "outside, last of four", "Zm9!" },
    { "outside, not in the last four", "Zm!vZm9v" },
    { "high octet", "Zm9\xe9" }
};


int
main(void)
{
    tap_plan(2 * (sizeof(test_base64_pairs) / sizeof(test_pair_t))
             + sizeof(test_base64_bads) / sizeof(test_pair_t) + 3
             + 3 + 8 + 17 + 9 + 2 * 14 + 23);

    test_base64();
    test_base64_bad();
    test_base64_all_lengths();
    test_id();
    test_datetime();
    test_datetime_parse();
    test_datetime_refused();
    test_escape();
    test_log_escape();

    return tap_end();
}


static void
test_base64(void)
{
    ngx_str_t     out, *plain, *text;
    ngx_uint_t    i;
    test_pair_t  *t;

    for (i = 0; i < sizeof(test_base64_pairs) / sizeof(test_pair_t); i++) {
        t = &test_base64_pairs[i];

        plain = tap_copy(tap_pool(), t->plain, ngx_strlen(t->plain));
        text = tap_copy(tap_pool(), t->text, ngx_strlen(t->text));

        ngx_str_set(&out, "unset");

        (void) ngx_xmpp_base64_encode(tap_pool(), plain, &out);
        tap_is(&out, text, t->text);

        ngx_str_set(&out, "unset");

        (void) ngx_xmpp_base64_decode(tap_pool(), text, &out);
        tap_is(&out, plain, t->text);
    }
}


static void
test_base64_bad(void)
{
    ngx_str_t     out, *text;
    ngx_uint_t    i, n, bad;
    test_pair_t  *t;

    for (i = 0; i < sizeof(test_base64_bads) / sizeof(test_pair_t); i++) {
        t = &test_base64_bads[i];

        text = tap_copy(tap_pool(), t->text, ngx_strlen(t->text));

        tap_ok(ngx_xmpp_base64_decode(tap_pool(), text, &out) == NGX_DECLINED,
               "base64 refused: %s", t->plain);
    }

    tap_ok(ngx_xmpp_base64_decode(tap_pool(), tap_str("Zm\0v"), &out)
           == NGX_DECLINED,
           "base64 refused: NUL");

    /* every octet at every place of four */

    bad = 0;

    for (i = 0; i < 4; i++) {
        for (n = 0; n < 256; n++) {
            text = tap_str("Zm9v");
            text->data[i] = (u_char) n;

            if (ngx_xmpp_base64_decode(tap_pool(), text, &out) == NGX_OK) {
                bad++;
            }
        }
    }

    tap_ok(bad == 4 * 64, "64 octets are digits, at each place");
}


static void
test_base64_all_lengths(void)
{
    u_char      octets[256];
    ngx_str_t   in, text, out;
    ngx_uint_t  i, wrong;

    for (i = 0; i < 256; i++) {
        octets[i] = (u_char) (i * 167 + 13);
    }

    wrong = 0;

    for (i = 0; i < 256; i++) {
        in = *tap_copy(tap_pool(), (char *) octets, i);

        if (ngx_xmpp_base64_encode(tap_pool(), &in, &text) != NGX_OK
            || text.len != ngx_base64_encoded_length(i)
            || ngx_xmpp_base64_decode(tap_pool(),
                                      tap_copy(tap_pool(), (char *) text.data,
                                               text.len),
                                      &out)
               != NGX_OK
            || out.len != i
            || ngx_memcmp(out.data, octets, i) != 0)
        {
            wrong++;
        }
    }

    tap_ok(wrong == 0, "base64 there and back, lengths 0 to 255");
}


static void
test_id(void)
{
    u_char      *a, *b;
    ngx_uint_t   i, bad;

    bad = 0;

    a = ngx_pnalloc(tap_pool(), 64);
    b = ngx_pnalloc(tap_pool(), 64);

    (void) ngx_xmpp_id_random(b, 32);

    tap_ok(ngx_xmpp_id_random(a, 32) == NGX_OK, "random identifier");

    for (i = 0; i < 64; i++) {
        if (!((a[i] >= '0' && a[i] <= '9') || (a[i] >= 'a' && a[i] <= 'f'))) {
            bad++;
        }
    }

    tap_ok(bad == 0, "lower-case hex digits");
    tap_ok(ngx_memcmp(a, b, 64) != 0, "two are not equal");
}


static void
test_datetime(void)
{
    u_char      *p;
    ngx_str_t    s;
    ngx_uint_t   i;

    struct {
        time_t       sec;
        const char  *text;
    } dates[] = {
        { 0, "1970-01-01T00:00:00Z" },
        { 59, "1970-01-01T00:00:59Z" },
        { 951782400, "2000-02-29T00:00:00Z" },
        { 1795358244, "2026-11-22T14:37:24Z" },
        { 2147483647, "2038-01-19T03:14:07Z" },
        { (time_t) 4102444799, "2099-12-31T23:59:59Z" },
        { -1, "1970-01-01T00:00:00Z" }
    };

    /* in a time zone that is not UTC */

    (void) setenv("TZ", "America/St_Johns", 1);
    tzset();

    for (i = 0; i < 7; i++) {
        p = ngx_pnalloc(tap_pool(), 20);

        s.data = p;
        s.len = ngx_xmpp_datetime(p, dates[i].sec) - p;

        tap_is(&s, tap_copy(tap_pool(), dates[i].text, 20), dates[i].text);
    }

    p = ngx_pnalloc(tap_pool(), 20);

    tap_ok(ngx_xmpp_datetime(p, NGX_MAX_TIME_T_VALUE) == p + 20,
           "the end of time has 20 octets");
}


/* XEP-0082, 3.2 */

static void
test_datetime_parse(void)
{
    u_char      *p;
    uint64_t     usec;
    ngx_str_t    s, *text;
    ngx_uint_t   i;

    struct {
        const char  *text;
        uint64_t     usec;
        const char  *written;
    } dates[] = {
        { "1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00.000000Z" },
        { "1970-01-01T00:00:00.000001Z", 1, "1970-01-01T00:00:00.000001Z" },
        { "2010-07-10T23:08:25Z", 1278803305000000,
          "2010-07-10T23:08:25.000000Z" },
        { "2010-07-10T23:08:25.1Z", 1278803305100000,
          "2010-07-10T23:08:25.100000Z" },
        { "2010-07-10T23:08:25.123456789Z", 1278803305123456,
          "2010-07-10T23:08:25.123456Z" },
        { "2010-07-10T23:08:25+00:00", 1278803305000000,
          "2010-07-10T23:08:25.000000Z" },
        { "2010-07-11T01:08:25+02:00", 1278803305000000,
          "2010-07-10T23:08:25.000000Z" },
        { "2010-07-10T17:38:25.5-05:30", 1278803305500000,
          "2010-07-10T23:08:25.500000Z" },
        { "2000-02-29T23:59:59Z", 951868799000000,
          "2000-02-29T23:59:59.000000Z" },
        { "2000-03-01T00:00:00Z", 951868800000000,
          "2000-03-01T00:00:00.000000Z" },
        { "2099-12-31T23:59:60Z", 4102444800000000,
          "2100-01-01T00:00:00.000000Z" },
        { "2101-03-01T00:00:00Z", 4139078400000000,
          "2101-03-01T00:00:00.000000Z" },
        { "1969-12-31T23:59:59.9Z", 0, "1970-01-01T00:00:00.000000Z" },
        { "0000-01-01T00:00:00Z", 0, "1970-01-01T00:00:00.000000Z" }
    };

    for (i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
        text = tap_copy(tap_pool(), dates[i].text, ngx_strlen(dates[i].text));
        usec = 1;

        tap_ok(ngx_xmpp_datetime_parse(text, &usec) == NGX_OK
               && usec == dates[i].usec, dates[i].text);

        p = ngx_pnalloc(tap_pool(), 27);
        s.data = p;
        s.len = ngx_xmpp_datetime_usec(p, usec) - p;

        text = tap_copy(tap_pool(), dates[i].written,
                        ngx_strlen(dates[i].written));
        tap_is(&s, text, dates[i].written);
    }
}


static void
test_datetime_refused(void)
{
    uint64_t     usec;
    ngx_str_t   *text;
    ngx_uint_t   i;

    static const char  *bad[] = {
        "", "2010-07", "2010-07-10", "2010-07-10T23:08:25",
        "2010-07-10 23:08:25Z",
        "2010-07-10T23:08Z", "2010-07-10T23:08:25z", "2010-07-10T23:08:25.Z",
        "2010-07-10T23:08:25.1", "2010-07-10T23:08:25+02",
        "x010-07-10T23:08:25Z",
        "2010-13-10T23:08:25Z", "2010-00-10T23:08:25Z", "2010-07-32T23:08:25Z",
        "2010-07-00T23:08:25Z", "2010-07-10T24:08:25Z", "2010-07-10T23:60:25Z",
        "2010-07-10T23:08:61Z", "2010-07-10T23:08:25Z ", "20100710T23:08:25Z",
        "2010-07-10T23:08:25+2:000", "2010-07-10T23:08:25+24:00",
        "2010-07-10T23:08:-5Z"
    };

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        text = tap_copy(tap_pool(), bad[i], ngx_strlen(bad[i]));

        tap_ok(ngx_xmpp_datetime_parse(text, &usec) == NGX_DECLINED,
               bad[i][0] ? bad[i] : "empty");
    }
}


static void
test_escape(void)
{
    ngx_str_t    out, *in, *text;
    ngx_uint_t   i;

    static test_pair_t  pairs[] = {
        { "juliet@example.com", "juliet@example.com" },
        { "{}%", "%7B%7D%25" },
        { "a}b{c@example.com", "a%7Db%7Bc@example.com" },
        { "100%@example.com", "100%25@example.com" },
        { "%7B", "%257B" }
    };

    static const char  *bad[] = {
        "a{", "a}", "%", "%7", "%7b", "%41", "%%25"
    };

    for (i = 0; i < 5; i++) {
        in = tap_copy(tap_pool(), pairs[i].plain, ngx_strlen(pairs[i].plain));
        text = tap_copy(tap_pool(), pairs[i].text, ngx_strlen(pairs[i].text));

        ngx_str_set(&out, "unset");

        (void) ngx_xmpp_key_escape(tap_pool(), in, &out);
        tap_is(&out, text, pairs[i].text);

        /* out may be in itself */

        (void) ngx_xmpp_key_unescape(tap_pool(), text, text);
        tap_is(text, in, pairs[i].plain);
    }

    for (i = 0; i < 7; i++) {
        text = tap_copy(tap_pool(), bad[i], ngx_strlen(bad[i]));

        tap_ok(ngx_xmpp_key_unescape(tap_pool(), text, &out) == NGX_DECLINED,
               "escape refused: %s", bad[i]);
    }
}


static void
test_log_escape(void)
{
    u_char      *p, buf[4 * 8 + sizeof("...")];
    ngx_str_t    out, *in;
    ngx_uint_t   i;

    static struct {
        ngx_uint_t   raw;
        const char  *name;
        const char  *text;
    } names[] = {
        { 1, "", "" },
        { 1, "alice", "alice" },
        { 1, "a\"\\ ~", "a\\x22\\x5C\\x20~" },
        { 1, "\r\n\x7f\xc2\x85", "\\x0D\\x0A\\x7F\\xC2\\x85" },
        { 1, "\xff\xff\xff\xff\xff\xff\xff\xff\xff",
          "\\xFF\\xFF\\xFF\\xFF\\xFF\\xFF\\xFF\\xFF..." },
        { 0, "12345678", "12345678" },
        { 0, "123456789", "12345678..." },
        { 0, "1234567\xc3\xbc", "1234567..." },
        { 0, "\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc",
          "\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc" }
    };

    for (i = 0; i < 9; i++) {
        in = tap_copy(tap_pool(), names[i].name, ngx_strlen(names[i].name));

        p = ngx_xmpp_log_escape(buf, 8, in, names[i].raw);

        out.data = buf;
        out.len = p - buf;

        tap_is(&out, tap_copy(tap_pool(), names[i].text,
                              ngx_strlen(names[i].text)), names[i].text);
    }
}
