
/*
 * Memory runs out: each function of util/ that allocates is called again and
 * again, with the 1st, 2nd, ... allocation failing, until it gets along.  A
 * failed one must say NGX_ERROR, and neither crash nor leak.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_xmpp_jid.h"
#include "ngx_xmpp_precis.h"
#include "ngx_xmpp_scram.h"
#include "ngx_xmpp_util.h"
#include "tap.h"


typedef ngx_int_t (*test_function_pt)(ngx_pool_t *pool);


static ngx_int_t test_jid_ascii(ngx_pool_t *pool);
static ngx_int_t test_jid_unicode(ngx_pool_t *pool);
static ngx_int_t test_jid_address(ngx_pool_t *pool);
static ngx_int_t test_jid_make(ngx_pool_t *pool);
static ngx_int_t test_jid_copy(ngx_pool_t *pool);
static ngx_int_t test_prep_local(ngx_pool_t *pool);
static ngx_int_t test_saslprep(ngx_pool_t *pool);
static ngx_int_t test_scram(ngx_pool_t *pool);
static ngx_int_t test_scram_keys(ngx_pool_t *pool);
static ngx_int_t test_base64(ngx_pool_t *pool);
static ngx_int_t test_escape(ngx_pool_t *pool);
static void test_torture(test_function_pt function, const char *name);


int
main(void)
{
    tap_plan(11);

    test_torture(test_jid_ascii, "jid_parse, ASCII");
    test_torture(test_jid_unicode, "jid_parse, Unicode");
    test_torture(test_jid_address, "jid_parse, IPv6");
    test_torture(test_jid_make, "jid_make");
    test_torture(test_jid_copy, "jid_copy");
    test_torture(test_prep_local, "jid_prep_local");
    test_torture(test_saslprep, "saslprep");
    test_torture(test_scram, "scram_first, _challenge, _final");
    test_torture(test_scram_keys, "scram_keys_format");
    test_torture(test_base64, "base64");
    test_torture(test_escape, "key_escape, key_unescape");

    return tap_end();
}


static void
test_torture(test_function_pt function, const char *name)
{
    ngx_int_t    n, rc;
    ngx_uint_t   wrong;
    ngx_pool_t  *pool;

    wrong = 0;
    rc = NGX_ERROR;

    for (n = 0; n < 1000; n++) {
        pool = ngx_create_pool(0, NULL);

        ngx_xmpp_ctl_allocs = n;
        rc = function(pool);
        ngx_xmpp_ctl_allocs = -1;

        ngx_destroy_pool(pool);

        if (rc == NGX_OK) {
            break;
        }

        if (rc != NGX_ERROR) {
            wrong++;
        }
    }

    tap_ok(rc == NGX_OK && n > 0 && wrong == 0,
           "%s: %d allocations, each failed once", name, (int) n);
}


static ngx_int_t
test_jid_ascii(ngx_pool_t *pool)
{
    ngx_str_t       text = ngx_string("Juliet@Example.com/Balcony");
    ngx_xmpp_jid_t  jid;

    return ngx_xmpp_jid_parse(pool, &text, &jid);
}


static ngx_int_t
test_jid_unicode(ngx_pool_t *pool)
{
    ngx_str_t       text = ngx_string("\xc3\x89@xn--bcher-kva.de/e\xcc\x81");
    ngx_xmpp_jid_t  jid;

    return ngx_xmpp_jid_parse(pool, &text, &jid);
}


static ngx_int_t
test_jid_address(ngx_pool_t *pool)
{
    ngx_str_t       text = ngx_string("A\xc3\xa9@[0:0::1]/B");
    ngx_xmpp_jid_t  jid;

    return ngx_xmpp_jid_parse(pool, &text, &jid);
}


static ngx_int_t
test_jid_make(ngx_pool_t *pool)
{
    ngx_str_t       local = ngx_string("a"), domain = ngx_string("b");
    ngx_xmpp_jid_t  jid;

    return ngx_xmpp_jid_make(pool, &local, &domain, NULL, &jid);
}


static ngx_int_t
test_jid_copy(ngx_pool_t *pool)
{
    ngx_int_t       rc;
    ngx_str_t       text = ngx_string("a@b/c");
    ngx_xmpp_jid_t  jid, copy;

    rc = ngx_xmpp_jid_parse(pool, &text, &jid);

    return (rc == NGX_OK) ? ngx_xmpp_jid_copy(pool, &jid, &copy) : rc;
}


static ngx_int_t
test_prep_local(ngx_pool_t *pool)
{
    ngx_int_t  rc;
    ngx_str_t  ascii = ngx_string("JULIET"), out;
    ngx_str_t  name = ngx_string("\xc3\x89");

    rc = ngx_xmpp_jid_prep_local(pool, &ascii, &out);

    return (rc == NGX_OK) ? ngx_xmpp_jid_prep_local(pool, &name, &out) : rc;
}


static ngx_int_t
test_saslprep(ngx_pool_t *pool)
{
    ngx_str_t  text = ngx_string("p\xc3\xa4ss"), out;

    return ngx_xmpp_saslprep(pool, &text, &out);
}


static ngx_int_t
test_scram(ngx_pool_t *pool)
{
    ngx_int_t         rc;
    ngx_str_t         first = ngx_string("n,a=x=2Cy,n=user,r=abc");
    ngx_str_t         final = ngx_string(
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    ngx_str_t         keys = ngx_string(
        "4096,W22ZaJ0SNY7soEsUEjb6gQ==,"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
    ngx_str_t         out;
    ngx_xmpp_scram_t  sc;

    ngx_memzero(&sc, sizeof(ngx_xmpp_scram_t));

    sc.pool = pool;
    sc.hash = NGX_XMPP_SCRAM_SHA256;

    if (ngx_xmpp_scram_keys_parse(sc.hash, &keys, &sc.keys) != NGX_OK) {
        return NGX_DECLINED;
    }

    rc = ngx_xmpp_scram_first(&sc, &first);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_xmpp_scram_challenge(&sc, &out);
    if (rc != NGX_OK) {
        return rc;
    }

    /* the sample of RFC 7677, so that the proof is right */

    ngx_str_set(&sc.gs2_header, "n,,");
    ngx_str_set(&sc.client_first_bare, "n=user,r=rOprNGfwEbeRWgbNEkqO");
    ngx_str_set(&sc.nonce, "rOprNGfwEbeRWgbNEkqO"
                "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
    ngx_str_set(&sc.server_first, "r=rOprNGfwEbeRWgbNEkqO"
                "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");

    return ngx_xmpp_scram_final(&sc, &final, &out);
}


static ngx_int_t
test_scram_keys(ngx_pool_t *pool)
{
    ngx_str_t              out;
    ngx_xmpp_scram_keys_t  keys;

    ngx_memzero(&keys, sizeof(ngx_xmpp_scram_keys_t));

    keys.iterations = 4096;
    keys.salt_len = 16;
    keys.hash_len = 64;

    return ngx_xmpp_scram_keys_format(pool, &keys, &out);
}


static ngx_int_t
test_base64(ngx_pool_t *pool)
{
    ngx_int_t  rc;
    ngx_str_t  plain = ngx_string("foobar"), out;

    rc = ngx_xmpp_base64_encode(pool, &plain, &out);

    return (rc == NGX_OK) ? ngx_xmpp_base64_decode(pool, &out, &out) : rc;
}


static ngx_int_t
test_escape(ngx_pool_t *pool)
{
    ngx_int_t  rc;
    ngx_str_t  plain = ngx_string("{}"), out;

    rc = ngx_xmpp_key_escape(pool, &plain, &out);

    return (rc == NGX_OK) ? ngx_xmpp_key_unescape(pool, &out, &out) : rc;
}
