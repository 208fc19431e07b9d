/*
 * Fuzzing of base64 (RFC 4648).  What is decoded and encoded again is the
 * input, to the byte: no two texts mean the same.  What is encoded and decoded
 * again is the input, too.
 */


#include "fuzz.h"
#include <ngx_xmpp_util.h>


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_int_t    rc;
    ngx_str_t    in, out, back;
    ngx_pool_t  *pool;

    pool = ngx_create_pool(4096, NULL);
    fuzz_check(pool != NULL);

    in = fuzz_copy(pool, data, size);

    rc = ngx_xmpp_base64_decode(pool, &in, &out);

    fuzz_check(rc == NGX_OK || rc == NGX_DECLINED);

    if (rc == NGX_OK) {
        fuzz_check(ngx_xmpp_base64_encode(pool, &out, &back) == NGX_OK
                   && fuzz_equal(&back, &in));
    }

    fuzz_check(ngx_xmpp_base64_encode(pool, &in, &out) == NGX_OK
               && ngx_xmpp_base64_decode(pool, &out, &back) == NGX_OK
               && fuzz_equal(&back, &in));

    ngx_destroy_pool(pool);

    return 0;
}
