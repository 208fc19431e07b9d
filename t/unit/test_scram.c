
/*
 * SCRAM: the exchanges of RFC 5802, 5 and RFC 7677, 3, the same one with
 * SHA-512 and with channel binding (computed by another implementation), and
 * everything that a client can get wrong.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_xmpp_scram.h"
#include "tap.h"


#define TEST_NONCE256  "rOprNGfwEbeRWgbNEkqO"
#define TEST_FULL256   TEST_NONCE256 "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define TEST_PROOF256  "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define TEST_KEYS256                                                          \
    "4096,W22ZaJ0SNY7soEsUEjb6gQ==,"                                          \
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"                           \
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="


typedef struct {
    ngx_xmpp_scram_hash_e  hash;
    const char            *keys;
    const char            *first;
    const char            *nonce;
    const char            *server_first;
    const char            *final;
    const char            *want;
} test_exchange_t;


typedef struct {
    ngx_uint_t             cb;
    const char            *text;
    ngx_int_t              want;
    const char            *name;
} test_message_t;


#define test_n(list)  (sizeof(list) / sizeof(list[0]))


static void test_exchange(test_exchange_t *t);
static void test_binding(void);
static void test_first(test_message_t *t);
static void test_cb_type(char *text, char *want);
static void test_first_parts(void);
static void test_final(test_message_t *t);
static void test_challenge(void);
static void test_keys_bad(void);
static void test_keys_cut(void);
static void test_fake(void);
static void test_derive(void);
static ngx_str_t *test_text(const char *s);
static void test_prepare(ngx_xmpp_scram_t *sc, test_exchange_t *t);


static test_exchange_t  test_exchanges[] = {

    { NGX_XMPP_SCRAM_SHA1,
      "4096,QSXCR+Q6sek8bf92,6dlGYMOdZcOPutkcNY8U2g7vK9Y=,"
      "D+CSWLOshSulAsxiupA+qs2/fTE=",
      "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
      "fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
      "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
      "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,"
      "p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
      "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=" },

    { NGX_XMPP_SCRAM_SHA256,
      TEST_KEYS256,
      "n,,n=user,r=" TEST_NONCE256,
      TEST_FULL256,
      "r=" TEST_FULL256 ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
      "c=biws,r=" TEST_FULL256 ",p=" TEST_PROOF256,
      "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" },

    { NGX_XMPP_SCRAM_SHA512,
      "4096,W22ZaJ0SNY7soEsUEjb6gQ==,"
      "6AAub3065EYRmyFpM2RNwqK+eGnrkYuEWbXn19LsEmBqzu8QaCXNc1FwpnX9NhH2hK/60d"
      "zj9DoO5DvVkOHbvg==,"
      "jZHbYjC1aHh0/hKbxyBuGFjDrgjgKTT1esA7awWiKcRZ0o/0b1yWEebBeSVkkCFewf91nL"
      "DfKF24mvD5nmE6rA==",
      "n,,n=user,r=" TEST_NONCE256,
      TEST_FULL256,
      "r=" TEST_FULL256 ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
      "c=biws,r=" TEST_FULL256 ",p="
      "gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6d"
      "ybEmDYXYTxwnYPJQ==",
      "v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5Zx"
      "XnJq199RVG2rR7N7Zw==" }
};


#define NONE  NGX_XMPP_SCRAM_CB_NONE
#define OFF   NGX_XMPP_SCRAM_CB_OFFERED
#define USED  NGX_XMPP_SCRAM_CB_USED
#define BAD   NGX_DECLINED

static test_message_t  test_firsts[] = {

    { NONE, "n,,n=user,r=abc", NGX_OK, "plain" },
    { NONE, "n,,n=user,r=abc,x=1,y=2", NGX_OK, "unknown extensions" },
    { NONE, "n,,n=a,r=!", NGX_OK, "shortest" },
    { NONE, "n,,n=\xc3\xa9,r=a", NGX_OK, "name in UTF-8" },

    { NONE, "", BAD, "empty" },
    { NONE, "n", BAD, "flag alone" },
    { NONE, "n,", BAD, "no authzid" },
    { NONE, "n,,", BAD, "no bare message" },
    { NONE, "n,,n=user", BAD, "no nonce" },
    { NONE, "n,,n=user,", BAD, "no nonce after the comma" },
    { NONE, "n,,n=user,r=", BAD, "empty nonce" },
    { NONE, "n,,n=,r=abc", BAD, "empty name" },
    { NONE, "n,,r=abc,n=user", BAD, "wrong order" },
    { NONE, "n,,n=user,x=1,r=abc", BAD, "extension before the nonce" },
    { NONE, "n,,m=x,n=user,r=abc", BAD, "mandatory extension, 5.1" },
    { NONE, "n,,n=user,r=abc,m=x", BAD, "mandatory extension, last" },
    { NONE, "n,,n=user,r=abc,M=x", NGX_OK, "another extension" },
    { NONE, "n,,n=user,r=abc,", BAD, "comma at the end" },
    { NONE, "n,,n=user,r=abc,x", BAD, "extension without a value" },
    { NONE, "n,,n=user,r=abc,x=", BAD, "extension of an empty value" },
    { NONE, "n,,n=user,r=abc,1=a", BAD, "extension that is no letter" },
    { NONE, "n,,n=user,r=a\x7f", BAD, "nonce with DEL" },
    { NONE, "n,,n=user,r=a b", BAD, "nonce with a space" },
    { NONE, "n,,n=user,r=\xc3\xa9", BAD, "nonce not ASCII" },
    { NONE, "n,,n=\xc3,r=abc", BAD, "name not UTF-8" },
    { NONE, "n,,n=a=b,r=abc", BAD, "bare equals sign" },
    { NONE, "n,,n=a=2,r=abc", BAD, "escape cut short" },
    { NONE, "n,,n=a=2c,r=abc", BAD, "escape in lower case" },
    { NONE, "n,,n=a=41,r=abc", BAD, "escape of another octet" },
    { NONE, "n,,N=user,r=abc", BAD, "attribute in upper case" },
    { NONE, "x,,n=user,r=abc", BAD, "unknown flag" },
    { NONE, ",,n=user,r=abc", BAD, "empty flag" },
    { NONE, "nn,,n=user,r=abc", BAD, "flag too long" },
    { NONE, "n,b=c,n=user,r=abc", BAD, "authzid with another name" },
    { NONE, "n,a=,n=user,r=abc", BAD, "empty authzid" },
    { NONE, "n,a=a=,n=user,r=abc", BAD, "authzid badly escaped" },
    { NONE, "n,a=x,n=user,r=abc", NGX_OK, "authzid" },

    /* RFC 5802, 6 */

    { NONE, "y,,n=user,r=abc", NGX_OK, "y, binding not offered" },
    { NONE, "p=tls-exporter,,n=user,r=abc", BAD, "p, not offered" },
    { OFF, "n,,n=user,r=abc", NGX_OK, "n, binding offered" },
    { OFF, "y,,n=user,r=abc", BAD, "y, binding offered: downgrade" },
    { OFF, "p=tls-exporter,,n=user,r=abc", BAD, "p without -PLUS" },
    { USED, "p=tls-exporter,,n=user,r=abc", NGX_OK, "p with -PLUS" },
    { USED, "p=tls-unique,,n=user,r=abc", BAD, "p of another type" },
    { USED, "p=tls-exporte,,n=user,r=abc", BAD, "p cut short" },
    { USED, "p=,,n=user,r=abc", BAD, "p of no type" },
    { USED, "p,,n=user,r=abc", BAD, "p alone" },
    { USED, "n,,n=user,r=abc", BAD, "n with -PLUS" },
    { USED, "y,,n=user,r=abc", BAD, "y with -PLUS" }
};


#define OK    NGX_OK
#define WRONG NGX_DECLINED
#define ABORT NGX_ABORT
#define P256  "p=" TEST_PROOF256
#define R256  "r=" TEST_FULL256

static test_message_t  test_finals[] = {

    { NONE, "c=biws," R256 "," P256, OK, "right" },

    { NONE, "c=biws," R256 ",x=1,"
      "p=IhwEOhboL25RstTdvZrPEOlE5bjYNyL1Go4fmyTI92U=", OK,
      "extension, and a proof for it" },
    { NONE, "c=biws," R256 ",x=1," P256, WRONG, "extension is signed" },

    /* right proofs of what must be refused */

    { NONE, "c=biws,r=" TEST_NONCE256
      ",p=O9uzSubb+3i48FupGqpwHCRwCzqSP7Ka+/+aEQLF0vQ=", WRONG,
      "nonce cut short" },
    { NONE, "c=biws," R256 "0,"
      "p=vM1Xo9azlpkS//5wxIg4DcDxnY0wk2ow/j4WB1jCcgw=", WRONG,
      "nonce and more" },
    { NONE, "c=biwsAA==," R256
      ",p=rmQWpKJbPQFE2wGqzouv6yvUFzmQ8Bz7GqS6QwwTVcU=", WRONG,
      "binding and more" },
    { NONE, "c=eSws," R256
      ",p=FoqiHTtQEDE8lz1CdaEe3tK4mS+iMDTl77SPyDS53DY=", WRONG,
      "binding of another flag" },

    { NONE, "c=eSws," R256 "," P256, WRONG, "another gs2-header" },
    { NONE, "c=biwsAA==," R256 "," P256, WRONG, "binding without -PLUS" },
    { NONE, "c=biw=," R256 "," P256, WRONG, "gs2-header cut short" },
    { NONE, "c=biws,r=" TEST_NONCE256 "," P256, WRONG, "client's nonce only" },
    { NONE, "c=biws," R256 "0," P256, WRONG, "nonce too long" },
    { NONE, "c=biws,r=sOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
      P256, WRONG, "another nonce" },
    { NONE, "c=biws," R256
      ",p=eHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", WRONG,
      "another proof" },
    { NONE, "c=biws," R256
      ",p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", WRONG,
      "proof of zeros" },

    { NONE, "", ABORT, "empty" },
    { NONE, "c=biws", ABORT, "binding only" },
    { NONE, "c=biws,", ABORT, "binding and comma" },
    { NONE, "c=biws," R256, ABORT, "no proof" },
    { NONE, "c=biws," R256 ",x=1", ABORT, "extension, no proof" },
    { NONE, "c=biws," R256 ",", ABORT, "comma, no proof" },
    { NONE, R256 ",c=biws," P256, ABORT, "wrong order" },
    { NONE, "c=biws," P256, ABORT, "no nonce" },
    { NONE, R256 "," P256, ABORT, "no binding" },
    { NONE, "c=biws," R256 "," P256 ",", ABORT, "comma at the end" },
    { NONE, "c=biws," R256 "," P256 ",x=1", ABORT, "proof is not last" },
    { NONE, "c=biws," R256 ",p=", ABORT, "empty proof" },
    { NONE, "c=biws," R256 ",p=AAAA", ABORT, "short proof" },
    { NONE, "c=biws," R256 ",p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", ABORT,
      "proof of another hash" },
    { NONE, "c=biws," R256
      ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQA", ABORT,
      "proof an octet too long" },
    { NONE, "c=biws," R256
      ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVR=", ABORT,
      "proof with trailing bits" },
    { NONE, "c=biws," R256
      ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7And!Q=", ABORT,
      "proof not base64" },
    { NONE, "c=bi ws," R256 "," P256, ABORT, "binding not base64" },
    { NONE, "c=," R256 "," P256, ABORT, "empty binding" },
    { NONE, "c=biws,r=," P256, ABORT, "empty nonce" },
    { NONE, "c=biws," R256 ",m=1," P256, ABORT, "mandatory extension, 5.1" },
    { NONE, "c=biws," R256 ",x=\xff," P256, ABORT, "not UTF-8" }
};


static const char  *test_keys_bads[] = {
    "",
    ",",
    "4096",
    "4096,",
    "4096,W22Z",
    "4096,W22Z,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=",
    "0" ",W22Z,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
    "-1" ",W22Z,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
         "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
    "4096x" ",W22Z,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
            "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
    "99999999999999999999" ",W22Z,"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
    TEST_KEYS256 ",",
    TEST_KEYS256 "A",
    " " TEST_KEYS256,
    "4096,,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
    "4096,W22!,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
    "4096,W22Z,6dlGYMOdZcOPutkcNY8U2g7vK9Y=,"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
    "4096,W22Z,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
        "D+CSWLOshSulAsxiupA+qs2/fTE=",
    "4096,W22Z,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qYA,"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dUA",
    "4096,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA,"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
    "4096,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        "AAAAAAAAAAAAAAAAAAA=,"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
};


int
main(void)
{
    ngx_uint_t  i;

    tap_plan(test_n(test_exchanges) * 7 + 4 + test_n(test_firsts) + 9 + 6
             + test_n(test_finals) + 5 + test_n(test_keys_bads) + 1 + 8 + 5);

    for (i = 0; i < test_n(test_exchanges); i++) {
        test_exchange(&test_exchanges[i]);
    }

    test_binding();

    for (i = 0; i < test_n(test_firsts); i++) {
        test_first(&test_firsts[i]);
    }

    test_cb_type("p=tls-exporter,,n=user,r=x", "tls-exporter");
    test_cb_type("p=x,", "x");
    test_cb_type("p=x", NULL);
    test_cb_type("p=,", NULL);
    test_cb_type("p,", NULL);
    test_cb_type("n,,n=user,r=x", NULL);
    test_cb_type("", NULL);
    test_first_parts();

    for (i = 0; i < test_n(test_finals); i++) {
        test_final(&test_finals[i]);
    }

    test_challenge();
    test_keys_bad();
    test_keys_cut();
    test_fake();
    test_derive();

    return tap_end();
}


static ngx_str_t *
test_text(const char *s)
{
    return tap_copy(tap_pool(), s, ngx_strlen(s));
}


/* a state after server-first, with the nonce of the sample */

static void
test_prepare(ngx_xmpp_scram_t *sc, test_exchange_t *t)
{
    ngx_memzero(sc, sizeof(ngx_xmpp_scram_t));

    sc->pool = tap_pool();
    sc->hash = t->hash;

    if (ngx_xmpp_scram_keys_parse(t->hash, test_text(t->keys), &sc->keys)
        != NGX_OK
        || ngx_xmpp_scram_first(sc, test_text(t->first)) != NGX_OK)
    {
        exit(1);
    }

    sc->nonce = *test_text(t->nonce);
    sc->server_first = *test_text(t->server_first);
}


static void
test_exchange(test_exchange_t *t)
{
    ngx_str_t               out, text;
    ngx_xmpp_scram_t        sc;
    ngx_xmpp_scram_keys_t   keys;

    printf("# %s\n", (char *) ngx_xmpp_scram_names[t->hash].data);

    test_prepare(&sc, t);

    tap_is(&sc.username, tap_str("user"), "name");
    tap_is(&sc.gs2_header, tap_str("n,,"), "gs2-header");

    ngx_str_null(&out);

    tap_ok(ngx_xmpp_scram_final(&sc, test_text(t->final), &out) == NGX_OK,
           "the proof is right");
    tap_is(&out, test_text(t->want), "server-final");

    keys = sc.keys;
    ngx_memzero(keys.stored_key, NGX_XMPP_SCRAM_HASH_MAX);
    ngx_memzero(keys.server_key, NGX_XMPP_SCRAM_HASH_MAX);

    (void) ngx_xmpp_scram_derive(t->hash, (u_char *) "pencil", 6, &keys);

    tap_ok(ngx_xmpp_scram_keys_equal(&keys, &sc.keys), "derived StoredKey");
    tap_ok(ngx_memcmp(keys.server_key, sc.keys.server_key, keys.hash_len) == 0,
           "derived ServerKey");

    (void) ngx_xmpp_scram_keys_format(tap_pool(), &keys, &text);
    tap_is(&text, test_text(t->keys), "the stored form");
}


static void
test_binding(void)
{
    ngx_str_t          out;
    ngx_uint_t         i;
    ngx_xmpp_scram_t   sc;

    static test_exchange_t  t = {
        NGX_XMPP_SCRAM_SHA256, TEST_KEYS256, "n,,n=user,r=" TEST_NONCE256,
        TEST_FULL256, "r=" TEST_FULL256 ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "c=cD10bHMtZXhwb3J0ZXIsLAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f,"
        "r=" TEST_FULL256 ",p=QC6CS20quADQRb3mT99YUH+n3VJxUvzuK0K0E1Vrs2M=",
        "v=2GiAgapEppLVlUXbxUDksL3VgYHzuqiK5tR4mhJGgvs="
    };

    test_prepare(&sc, &t);

    sc.cb = NGX_XMPP_SCRAM_CB_USED;
    ngx_str_set(&sc.cb_type, "tls-exporter");

    sc.cb_data.len = 32;
    sc.cb_data.data = ngx_pnalloc(tap_pool(), 32);

    for (i = 0; i < 32; i++) {
        sc.cb_data.data[i] = (u_char) i;
    }

    tap_ok(ngx_xmpp_scram_first(&sc, tap_str("p=tls-exporter,,n=user,r="
                                             TEST_NONCE256))
           == NGX_OK, "-PLUS, client-first");

    sc.nonce = *test_text(t.nonce);

    ngx_str_null(&out);

    tap_ok(ngx_xmpp_scram_final(&sc, test_text(t.final), &out) == NGX_OK,
           "-PLUS, the proof is right");
    tap_is(&out, test_text(t.want), "-PLUS, server-final");

    sc.cb_data.data[31]++;

    tap_ok(ngx_xmpp_scram_final(&sc, test_text(t.final), &out)
           == NGX_DECLINED, "-PLUS, another connection");
}


static void
test_first(test_message_t *t)
{
    ngx_xmpp_scram_t  sc;

    ngx_memzero(&sc, sizeof(ngx_xmpp_scram_t));

    sc.pool = tap_pool();
    sc.cb = t->cb;
    ngx_str_set(&sc.cb_type, "tls-exporter");

    tap_ok(ngx_xmpp_scram_first(&sc, test_text(t->text)) == t->want,
           "client-first: %s", t->name);
}


static void
test_cb_type(char *text, char *want)
{
    ngx_int_t  rc;
    ngx_str_t  type;

    ngx_str_null(&type);

    rc = ngx_xmpp_scram_cb_type(test_text(text), &type);

    if (want == NULL) {
        tap_ok(rc == NGX_DECLINED, "no type in \"%s\"", text);
        return;
    }

    tap_ok(rc == NGX_OK, "a type in \"%s\"", text);
    tap_is(&type, test_text(want), "which is it");
}


static void
test_first_parts(void)
{
    ngx_str_t         *msg;
    ngx_xmpp_scram_t   sc;

    ngx_memzero(&sc, sizeof(ngx_xmpp_scram_t));

    sc.pool = tap_pool();

    msg = tap_str("y,a=a=2Cb=3D2C@c,n=,=3D=2C,r=A+/,x=y");

    tap_ok(ngx_xmpp_scram_first(&sc, msg) == NGX_DECLINED, "comma in a name");

    msg = tap_str("y,a=a=2Cb=3D2C@c,n=u=3D=2C,r=A+/,x=y");

    (void) ngx_xmpp_scram_first(&sc, msg);

    ngx_memset(msg->data, 'x', msg->len);

    tap_is(&sc.gs2_header, tap_str("y,a=a=2Cb=3D2C@c,"), "gs2-header");
    tap_is(&sc.authzid, tap_str("a,b=2C@c"), "authzid, unescaped");
    tap_is(&sc.username, tap_str("u=,"), "name, unescaped");
    tap_is(&sc.client_first_bare, tap_str("n=u=3D=2C,r=A+/,x=y"), "bare");
    tap_is(&sc.nonce, tap_str("A+/"), "nonce");
}


static void
test_final(test_message_t *t)
{
    ngx_str_t          out;
    ngx_xmpp_scram_t   sc;

    test_prepare(&sc, &test_exchanges[1]);

    tap_ok(ngx_xmpp_scram_final(&sc, test_text(t->text), &out) == t->want,
           "client-final: %s", t->name);
}


static void
test_challenge(void)
{
    u_char            *p;
    ngx_str_t          out, again, tail;
    ngx_xmpp_scram_t   sc;

    test_prepare(&sc, &test_exchanges[1]);

    sc.nonce = *tap_str(TEST_NONCE256);
    (void) ngx_xmpp_scram_challenge(&sc, &again);

    sc.nonce = *tap_str(TEST_NONCE256);
    tap_ok(ngx_xmpp_scram_challenge(&sc, &out) == NGX_OK, "challenge");

    tap_ok(out.len > 22
           && ngx_memcmp(out.data, "r=" TEST_NONCE256, 22) == 0,
           "begins with the client's nonce");

    p = ngx_strlchr(out.data, out.data + out.len, ',');

    tail.data = p;
    tail.len = out.data + out.len - p;

    tap_is(&tail, tap_str(",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),
           "salt and iterations");
    tap_ok((size_t) (p - out.data - 2) == sc.nonce.len
           && sc.nonce.len >= sizeof(TEST_NONCE256) - 1 + 22,
           "128 bits of nonce added");
    tap_ok(again.len == out.len
           && ngx_memcmp(again.data, out.data, out.len) != 0,
           "another one each time");
}


static void
test_keys_bad(void)
{
    ngx_uint_t              i;
    ngx_xmpp_scram_keys_t   keys;

    for (i = 0; i < test_n(test_keys_bads); i++) {
        tap_ok(ngx_xmpp_scram_keys_parse(NGX_XMPP_SCRAM_SHA256,
                                         test_text(test_keys_bads[i]), &keys)
               == NGX_DECLINED, "stored keys refused, %d", (int) i);
    }
}


/* cut anywhere, the stored form is not read beyond its end */

static void
test_keys_cut(void)
{
    ngx_uint_t              i, accepted;
    ngx_xmpp_scram_keys_t   keys;

    accepted = 0;

    for (i = 0; i < sizeof(TEST_KEYS256) - 1; i++) {
        if (ngx_xmpp_scram_keys_parse(NGX_XMPP_SCRAM_SHA256,
                                      tap_copy(tap_pool(), TEST_KEYS256, i),
                                      &keys)
            == NGX_OK)
        {
            accepted++;
        }
    }

    tap_ok(accepted == 0, "stored keys cut short are refused");
}


/* RFC 5802, 9; an unknown user looks like any other, always the same */

static void
test_fake(void)
{
    ngx_str_t               *secret, *name;
    ngx_xmpp_scram_keys_t    a, b;

    secret = tap_str("0123456789abcdef");
    name = tap_str("nobody@example.com");

    ngx_memset(&a, 0, sizeof(ngx_xmpp_scram_keys_t));
    ngx_memset(&b, 0xff, sizeof(ngx_xmpp_scram_keys_t));

    tap_ok(ngx_xmpp_scram_keys_fake(NGX_XMPP_SCRAM_SHA1, secret, name, 10000,
                                    &a) == NGX_OK, "fake keys");
    (void) ngx_xmpp_scram_keys_fake(NGX_XMPP_SCRAM_SHA1, secret, name, 10000,
                                    &b);

    tap_ok(a.salt_len == NGX_XMPP_SCRAM_SALT && a.hash_len == 20
           && a.iterations == 10000, "they look like real ones");
    tap_ok(ngx_memcmp(a.salt, b.salt, a.salt_len) == 0, "the salt is stable");
    tap_ok(ngx_xmpp_scram_keys_equal(&a, &b), "and the keys are");
    tap_ok(ngx_memcmp(a.stored_key, a.server_key, 20) != 0,
           "the two keys differ");
    tap_ok(ngx_memcmp(a.stored_key, a.salt, a.salt_len) != 0,
           "the key is not the salt");

    (void) ngx_xmpp_scram_keys_fake(NGX_XMPP_SCRAM_SHA1, secret,
                                    tap_str("nobody@example.org"), 10000, &b);
    tap_ok(ngx_memcmp(a.salt, b.salt, a.salt_len) != 0,
           "another name, another salt");

    (void) ngx_xmpp_scram_keys_fake(NGX_XMPP_SCRAM_SHA1,
                                    tap_str("0123456789abcdeF"), name, 10000,
                                    &b);
    tap_ok(ngx_memcmp(a.salt, b.salt, a.salt_len) != 0,
           "another secret, another salt");
}


static void
test_derive(void)
{
    ngx_xmpp_scram_keys_t  a, b;

    ngx_memzero(&a, sizeof(ngx_xmpp_scram_keys_t));

    a.iterations = 1;
    a.salt_len = 16;
    b = a;

    (void) ngx_xmpp_scram_derive(NGX_XMPP_SCRAM_SHA256, (u_char *) "a", 1, &a);
    (void) ngx_xmpp_scram_derive(NGX_XMPP_SCRAM_SHA256, (u_char *) "b", 1, &b);

    tap_ok(!ngx_xmpp_scram_keys_equal(&a, &b), "other password, other key");

    (void) ngx_xmpp_scram_derive(NGX_XMPP_SCRAM_SHA1, (u_char *) "a", 1, &b);

    tap_ok(!ngx_xmpp_scram_keys_equal(&a, &b), "keys of two hashes differ");
    tap_ok(b.hash_len == 20, "the length of the hash is set");

    b.iterations = 0;

    tap_ok(ngx_xmpp_scram_derive(NGX_XMPP_SCRAM_SHA256, (u_char *) "a", 1, &b)
           == NGX_ERROR, "no iterations: refused");
    b.iterations = 1;
    tap_ok(ngx_xmpp_scram_derive(NGX_XMPP_SCRAM_SHA256, (u_char *) "", 0, &b)
           == NGX_OK, "an empty password derives");
}
