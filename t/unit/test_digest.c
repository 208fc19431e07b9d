
/*
 * DIGEST-MD5: the exchanges of RFC 2831, 4, and all that can be wrong in a
 * digest-response.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_xmpp_digest.h"
#include "tap.h"


#define TEST_NONCE  "OA6MG9tEQGm2hh"
#define TEST_OTHER  "username=\"u\",realm=\"h.test\",cnonce=\"c\","           \
    "digest-uri=\"xmpp/h.test\",nc=00000001,"
#define TEST_HASH   "response=d388dad90d4bbd760a152321f2143af7"
#define TEST_FULL   TEST_OTHER "nonce=\"" TEST_NONCE "\"," TEST_HASH


typedef struct {
    const char  *realm;
    const char  *uri;
    const char  *nonce;
    const char  *cnonce;
    const char  *response;
    const char  *rspauth;
} test_exchange_t;


typedef struct {
    const char  *text;
    const char  *username;                /* NULL: must be refused */
    const char  *name;
} test_parse_t;


typedef struct {
    const char  *text;
    ngx_int_t    want;
    const char  *name;
} test_check_t;


typedef struct {
    const char  *user;
    const char  *password;
    const char  *hex;
    const char  *name;
} test_secret_t;


#define test_n(list)  (sizeof(list) / sizeof(list[0]))


static void test_exchange(test_exchange_t *t);
static void test_parse(test_parse_t *t);
static void test_parse_long(void);
static void test_parse_cut(void);
static void test_parse_twice(void);
static void test_check(test_check_t *t);
static void test_secret(test_secret_t *t);
static void test_secret_parse(const char *text, ngx_int_t want);
static void test_challenge(void);
static ngx_int_t test_read(ngx_xmpp_digest_t *d, const char *text);
static ngx_str_t *test_text(const char *s);


static test_exchange_t  test_exchanges[] = {

    { "elwood.innosoft.com", "imap/elwood.innosoft.com", TEST_NONCE,
      "OA6MHXh6VqTrRk", "d388dad90d4bbd760a152321f2143af7",
      "rspauth=ea40f60335c427b5527b84dbabcdfffd" },

    { "elwood.innosoft.com", "acap/elwood.innosoft.com", "OA9BSXrbuRhWay",
      "OA9BSuZWMSpW8m", "6084c6db3fede7352c551284490fd0fc",
      "rspauth=2f0b3d7c3c2e486600ef710726aa2eae" }
};


static test_parse_t  test_parses[] = {

    { "username=\"u\"", "u", "one directive" },
    { "username=u", "u", "token" },
    { "USERNAME=\"u\"", "u", "name in upper case" },
    { "username=\"\"", "", "empty" },
    { "username=\"a,b=\\\"c\\\\\"", "a,b=\"c\\", "comma, equals, escapes" },
    { "username=\"\\u\"", "u", "an escape of nothing special" },
    { "username=\"\xc3\xa9\"", "\xc3\xa9", "UTF-8" },
    { " \tusername \r\n= \t\"u\" ,", "u", "7.1: linear white space" },
    { ",, ,username=\"u\",,", "u", "7.1: empty elements" },
    { "x=1,username=\"u\",y=\"2\",x=3", "u", "2.1.2: unknown, ignored" },

    { "", NULL, "nothing" },
    { "username", NULL, "name alone" },
    { "username=", NULL, "no value" },
    { "username=,", NULL, "empty token" },
    { "=\"u\"", NULL, "no name" },
    { "username=\"u", NULL, "no quote at the end" },
    { "username=\"u\\", NULL, "an escape at the end" },
    { "username=\"u\\\"", NULL, "the last quote escaped" },
    { "username=\"u\"x", NULL, "no comma" },
    { "username=\"u\" realm=\"r\"", NULL, "a blank for a comma" },
    { "username=u v", NULL, "token with a blank" },
    { "username=\xc3\xa9", NULL, "token not ASCII" },
    { "username=a\"b\"", NULL, "token with quotes" },
    { "username=\"a\nb\"", NULL, "quoted control" },
    { "username=\"a\\\nb\"", NULL, "escaped control" },
    { "username=\"a\x7f\"", NULL, "quoted DEL" },
    { "user name=\"u\"", NULL, "name with a blank" },
    { "username=\"u\",username=\"u\"", NULL, "twice" },
    { "username=\"u\",UserName=\"v\"", NULL, "twice, in another case" },
    { "username=\"\",username=\"u\"", NULL, "twice, the first empty" }
};


#define BAD  NGX_DECLINED

static test_check_t  test_checks[] = {

    { TEST_FULL, NGX_OK, "all that is needed" },
    { TEST_FULL ",qop=auth", NGX_OK, "qop" },
    { TEST_FULL ",qop=\"auth\"", NGX_OK, "qop quoted" },
    { TEST_FULL ",charset=utf-8", NGX_OK, "charset" },
    { TEST_FULL ",charset=\"UTF-8\"", NGX_OK, "charset in upper case" },
    { TEST_FULL ",maxbuf=65536,cipher=rc4", NGX_OK, "maxbuf, cipher" },
    { TEST_FULL ",authzid=\"u@h.test\"", NGX_OK, "authzid" },

    { TEST_FULL ",qop=auth-int", BAD, "qop not offered" },
    { TEST_FULL ",qop=\"\"", BAD, "qop empty" },
    { TEST_FULL ",charset=iso-8859-1", BAD, "another charset" },
    { TEST_FULL ",authzid=\"\"", BAD, "authzid empty" },
    { TEST_FULL ",authzid=\"\xff\"", BAD, "authzid not UTF-8" },

    { TEST_OTHER "nonce=\"OA6MG9tEQGm2hi\"," TEST_HASH, NGX_ABORT,
      "another nonce" },
    { TEST_OTHER "nonce=\"\"," TEST_HASH, NGX_ABORT, "nonce empty" },
    { TEST_OTHER "nonce=\"" TEST_NONCE "x\"," TEST_HASH, NGX_ABORT,
      "nonce and more" },
    { TEST_OTHER TEST_HASH, BAD, "no nonce" },
    { TEST_OTHER "nonce=\"" TEST_NONCE "\"", BAD, "no response" },
    { TEST_OTHER "nonce=\"" TEST_NONCE "\",response=d388", BAD,
      "response too short" },
    { TEST_OTHER "nonce=\"" TEST_NONCE "\"," TEST_HASH "0", BAD,
      "response too long" },
    { TEST_OTHER "nonce=\"" TEST_NONCE "\","
      "response=D388DAD90D4BBD760A152321F2143AF7", BAD,
      "response in upper case, not 32LHEX" }
};


/* the ISO 8859-1 forms and hashes were computed by another implementation */

static test_secret_t  test_secrets[] = {
    { "chris", "secret", "243896349d7fd6fac7d64b6e4cdca80d", "ASCII" },
    { "j\xc3\xbcrgen", "gr\xc3\xbcn", "918c33ca55884b5f9fb610055962ba9b",
      "2.1.2.1: both ISO 8859-1" },
    { "j\xc3\xbcrgen", "gr\xc3\xbcn \xe2\x82\xac" "5",
      "325d5e91e1a360359c5bf440271f5daf",
      "2.1.2.1: the name ISO 8859-1, the password not" },
    { "\xd1\x8f", "gr\xc3\xbcn", "9a8efefd1f9542b4fd6161daaf1758dd",
      "2.1.2.1: the password ISO 8859-1, the name not" },
    { "\xc3\xbf\xc2\x80", "\xc4\x80", "19f64f02dd4e17435cf683c57e0af39c",
      "2.1.2.1: U+00FF, U+0100" }
};


int
main(void)
{
    ngx_uint_t  i;

    tap_plan(1 + test_n(test_exchanges) * 4 + test_n(test_parses) + 2 + 1
             + NGX_XMPP_DIGEST_DIRECTIVES + test_n(test_checks)
             + test_n(test_secrets) + 6 + 3);

    tap_ok(ngx_xmpp_digest_supported(), "MD5 is there");

    for (i = 0; i < test_n(test_exchanges); i++) {
        test_exchange(&test_exchanges[i]);
    }

    for (i = 0; i < test_n(test_parses); i++) {
        test_parse(&test_parses[i]);
    }

    test_parse_long();
    test_parse_cut();
    test_parse_twice();

    for (i = 0; i < test_n(test_checks); i++) {
        test_check(&test_checks[i]);
    }

    for (i = 0; i < test_n(test_secrets); i++) {
        test_secret(&test_secrets[i]);
    }

    test_secret_parse("00112233445566778899aabbccddeeff", NGX_OK);
    test_secret_parse("", NGX_DECLINED);
    test_secret_parse("00112233445566778899aabbccddeef", NGX_DECLINED);
    test_secret_parse("00112233445566778899aabbccddeeff0", NGX_DECLINED);
    test_secret_parse("0011223344556677x899aabbccddeeff", NGX_DECLINED);
    test_secret_parse("00112233445566778899aabbccddeef ", NGX_DECLINED);

    test_challenge();

    return tap_end();
}


static ngx_str_t *
test_text(const char *s)
{
    return tap_copy(tap_pool(), s, ngx_strlen(s));
}


static ngx_int_t
test_read(ngx_xmpp_digest_t *d, const char *text)
{
    ngx_memzero(d, sizeof(ngx_xmpp_digest_t));

    d->pool = tap_pool();
    d->host = *test_text("h.test");
    d->nonce = *test_text(TEST_NONCE);

    return ngx_xmpp_digest_parse(d, test_text(text));
}


static void
test_exchange(test_exchange_t *t)
{
    u_char             hex[NGX_XMPP_DIGEST_HEX];
    u_char             secret[NGX_XMPP_DIGEST_LEN], text[1024];
    ngx_str_t          out, stored;
    ngx_xmpp_digest_t  d;

    (void) snprintf((char *) text, sizeof(text),
                    "charset=utf-8,username=\"chris\",realm=\"%s\",nonce=\"%s"
                    "\",nc=00000001,cnonce=\"%s\",digest-uri=\"%s\","
                    "response=%s,qop=auth", t->realm, t->nonce, t->cnonce,
                    t->uri, t->response);

    (void) ngx_xmpp_digest_secret(test_text("chris"), test_text(t->realm),
                                  test_text("secret"), hex);

    stored.data = hex;
    stored.len = sizeof(hex);

    (void) ngx_xmpp_digest_secret_parse(&stored, secret);

    tap_ok(test_read(&d, (char *) text) == NGX_OK, "RFC 2831, 4: %s: read",
           t->uri);
    tap_ok(ngx_xmpp_digest_verify(&d, secret, &out) == NGX_OK,
           "the response is right");
    tap_is(&out, test_text(t->rspauth), "2.1.3: rspauth");

    secret[15] ^= 1;

    tap_ok(ngx_xmpp_digest_verify(&d, secret, &out) == NGX_DECLINED,
           "another secret");
}


static void
test_parse(test_parse_t *t)
{
    ngx_int_t           rc;
    ngx_xmpp_digest_t   d;

    rc = test_read(&d, t->text);

    if (t->username == NULL) {
        tap_ok(rc == NGX_DECLINED, "refused: %s", t->name);
        return;
    }

    tap_is(rc == NGX_OK ? &d.values[NGX_XMPP_DIGEST_USERNAME] : NULL,
           test_text(t->username), t->name);
}


/* RFC 2831, 2.1.2: less than 4096 octets */

static void
test_parse_long(void)
{
    char               text[4097];
    ngx_xmpp_digest_t  d;

    ngx_memset(text, 'a', sizeof(text));
    ngx_memcpy(text, "username=", 9);

    text[4095] = '\0';
    tap_ok(test_read(&d, text) == NGX_OK, "2.1.2: 4095 octets");

    text[4095] = 'a';
    text[4096] = '\0';
    tap_ok(test_read(&d, text) == NGX_DECLINED, "2.1.2: 4096 octets");
}


/* of a message that is cut anywhere, nothing passes */

static void
test_parse_cut(void)
{
    size_t             n;
    char               text[sizeof(TEST_FULL)];
    ngx_uint_t         passed;
    ngx_xmpp_digest_t  d;

    passed = 0;

    for (n = 0; n < sizeof(TEST_FULL) - 1; n++) {

        ngx_memcpy(text, TEST_FULL, n);
        text[n] = '\0';

        if (test_read(&d, text) == NGX_OK
            && ngx_xmpp_digest_check(&d) == NGX_OK)
        {
            passed++;
        }
    }

    tap_ok(passed == 0, "cut anywhere");
}


/* each directive once, all of them, and one of them again */

static void
test_parse_twice(void)
{
    char                text[256];
    ngx_uint_t          i;
    ngx_xmpp_digest_t   d;
    static const char  *names[NGX_XMPP_DIGEST_DIRECTIVES] = {
        "username", "realm", "nonce", "cnonce", "nc", "qop", "digest-uri",
        "response", "maxbuf", "charset", "cipher", "authzid"
    };

    for (i = 0; i < NGX_XMPP_DIGEST_DIRECTIVES; i++) {

        (void) snprintf(text, sizeof(text), "%s=a,x=1,%s=a", names[i],
                        names[i]);

        tap_ok(test_read(&d, text) == NGX_DECLINED, "2.1.2: %s twice",
               names[i]);
    }
}


static void
test_check(test_check_t *t)
{
    ngx_xmpp_digest_t  d;

    tap_ok(test_read(&d, t->text) == NGX_OK
           && ngx_xmpp_digest_check(&d) == t->want, "%s", t->name);
}


static void
test_secret(test_secret_t *t)
{
    u_char     hex[NGX_XMPP_DIGEST_HEX];
    ngx_str_t  got;

    got.data = hex;
    got.len = sizeof(hex);

    (void) ngx_xmpp_digest_secret(test_text(t->user), test_text("h.test"),
                                  test_text(t->password), hex);

    tap_is(&got, test_text(t->hex), t->name);
}


static void
test_secret_parse(const char *text, ngx_int_t want)
{
    u_char  secret[NGX_XMPP_DIGEST_LEN];

    tap_ok(ngx_xmpp_digest_secret_parse(test_text(text), secret) == want,
           "stored: \"%s\"", text);
}


static void
test_challenge(void)
{
    ngx_str_t          out, other;
    ngx_xmpp_digest_t  d;

    (void) test_read(&d, TEST_FULL);

    tap_ok(ngx_xmpp_digest_challenge(&d, &out) == NGX_OK, "challenge");

    (void) ngx_xmpp_digest_challenge(&d, &other);

    tap_ok(out.len == other.len
           && ngx_memcmp(out.data, other.data, out.len) != 0,
           "another nonce each time");

    tap_ok(out.len > 22
           && ngx_memcmp(out.data, "realm=\"h.test\",nonce=\"", 22) == 0,
           "2.1.1: realm and nonce");
}
