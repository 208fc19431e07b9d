/*
 * Fuzzing of the message of a DIGEST-MD5 client (RFC 2831, 2.1.2), and of the
 * secret as it is stored.  What is read is no longer than what was sent, and
 * whatever is sent, nobody is let in who has no secret.
 */


#include "fuzz.h"
#include <ngx_xmpp_digest.h>


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t              n;
    u_char              secret[NGX_XMPP_DIGEST_LEN];
    ngx_int_t           rc;
    ngx_str_t           in, out;
    ngx_uint_t          i;
    ngx_pool_t         *pool;
    ngx_xmpp_digest_t   d;

    pool = ngx_create_pool(4096, NULL);
    fuzz_check(pool != NULL);

    ngx_memzero(&d, sizeof(ngx_xmpp_digest_t));
    ngx_memset(secret, 0x5a, sizeof(secret));

    d.pool = pool;
    ngx_str_set(&d.host, "example.org");
    ngx_str_set(&d.nonce, "nonce");

    in = fuzz_copy(pool, data, size);

    (void) ngx_xmpp_digest_secret_parse(&in, secret);

    rc = ngx_xmpp_digest_parse(&d, &in);

    fuzz_check(rc == NGX_OK || rc == NGX_DECLINED);

    if (rc == NGX_OK) {

        n = 0;

        for (i = 0; i < NGX_XMPP_DIGEST_DIRECTIVES; i++) {
            n += d.values[i].len;
        }

        fuzz_check(n < size);

        if (ngx_xmpp_digest_check(&d) == NGX_OK) {
            fuzz_check(ngx_xmpp_digest_verify(&d, secret, &out)
                       == NGX_DECLINED);
        }
    }

    ngx_destroy_pool(pool);

    return 0;
}
