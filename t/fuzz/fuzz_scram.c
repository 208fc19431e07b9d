/*
 * Fuzzing of the messages of a SCRAM client (RFC 5802, 7), and of the keys as
 * they are stored.
 *
 * The first byte of the input chooses the hash and what is said of channel
 * binding; the rest, up to a line feed, is the first message; then comes the
 * last one, in which "$" stands for the nonce of the server's answer.  Whatever
 * is sent, nobody is let in who has no key.
 */


#include "fuzz.h"
#include <ngx_xmpp_scram.h>


static void fuzz_keys(ngx_pool_t *pool, ngx_xmpp_scram_hash_e hash,
    const uint8_t *data, size_t size);
static ngx_str_t fuzz_final(ngx_pool_t *pool, ngx_str_t *nonce,
    const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_str_t          first, final, out, secret, name;
    ngx_pool_t        *pool;
    const uint8_t     *end;
    ngx_xmpp_scram_t   sc;

    if (size == 0) {
        return 0;
    }

    pool = ngx_create_pool(4096, NULL);
    fuzz_check(pool != NULL);

    ngx_memzero(&sc, sizeof(ngx_xmpp_scram_t));

    sc.pool = pool;
    sc.hash = (data[0] & 0x0f) % NGX_XMPP_SCRAM_HASHES;
    sc.cb = (data[0] >> 4) % 3;

    if (sc.cb == NGX_XMPP_SCRAM_CB_USED) {
        ngx_str_set(&sc.cb_type, "tls-exporter");
        ngx_str_set(&sc.cb_data, "0123456789abcdef0123456789abcdef");
    }

    data++;
    size--;

    fuzz_keys(pool, sc.hash, data, size);

    end = size ? memchr(data, '\n', size) : NULL;
    first = fuzz_copy(pool, data, end ? (size_t) (end - data) : size);

    if (ngx_xmpp_scram_first(&sc, &first) != NGX_OK) {
        goto done;
    }

    fuzz_check(sc.username.len > 0 && sc.username.len <= first.len
               && sc.authzid.len <= first.len);

    ngx_str_set(&secret, "secret");
    ngx_str_set(&name, "alice@example.org");

    fuzz_check(ngx_xmpp_scram_keys_fake(sc.hash, &secret, &name, 4096,
                                        &sc.keys) == NGX_OK
               && ngx_xmpp_scram_challenge(&sc, &out) == NGX_OK);

    if (end) {
        end++;
        final = fuzz_final(pool, &sc.nonce, end, data + size - end);

        fuzz_check(ngx_xmpp_scram_final(&sc, &final, &out) != NGX_OK);
    }

done:

    ngx_destroy_pool(pool);

    return 0;
}


/* what is read of them and written again is the same */

static void
fuzz_keys(ngx_pool_t *pool, ngx_xmpp_scram_hash_e hash, const uint8_t *data,
    size_t size)
{
    ngx_str_t              text, again;
    ngx_xmpp_scram_keys_t  keys, twice;

    text = fuzz_copy(pool, data, size);

    if (ngx_xmpp_scram_keys_parse(hash, &text, &keys) != NGX_OK) {
        return;
    }

    fuzz_check(ngx_xmpp_scram_keys_format(pool, &keys, &again) == NGX_OK
               && ngx_xmpp_scram_keys_parse(hash, &again, &twice) == NGX_OK
               && twice.iterations == keys.iterations
               && twice.salt_len == keys.salt_len
               && ngx_xmpp_scram_keys_equal(&keys, &twice));
}


static ngx_str_t
fuzz_final(ngx_pool_t *pool, ngx_str_t *nonce, const uint8_t *data,
    size_t size)
{
    size_t     i, n;
    u_char    *p;
    ngx_str_t  s;

    for (i = 0, n = size; i < size; i++) {
        n += (data[i] == '$') ? nonce->len - 1 : 0;
    }

    p = ngx_pnalloc(pool, n);
    fuzz_check(p != NULL);

    s.data = p;
    s.len = n;

    for (i = 0; i < size; i++) {

        if (data[i] == '$') {
            p = ngx_cpymem(p, nonce->data, nonce->len);

        } else {
            *p++ = data[i];
        }
    }

    return s;
}
