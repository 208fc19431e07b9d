
/*
 * SCRAM keys: derived, compared, read, written, and faked (RFC 5802, 3).
 *
 *   SaltedPassword = PBKDF2(HMAC, password, salt, i)
 *   ClientKey = HMAC(SaltedPassword, "Client Key"), StoredKey = H(ClientKey)
 *   ServerKey = HMAC(SaltedPassword, "Server Key")
 *
 * The account keeps StoredKey and ServerKey only: with them a server can
 * check a client and prove itself, but not log in elsewhere.  What leads to
 * ClientKey is wiped from the stack.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include "ngx_xmpp_scram.h"
#include "ngx_xmpp_util.h"


static ngx_uint_t ngx_xmpp_scram_field(ngx_str_t *text, u_char *p, size_t max,
    size_t *len);
static const EVP_MD *ngx_xmpp_scram_md(ngx_xmpp_scram_hash_e hash);


ngx_str_t  ngx_xmpp_scram_fields[NGX_XMPP_SCRAM_HASHES] = {
    ngx_string("scram-sha-1"),
    ngx_string("scram-sha-256"),
    ngx_string("scram-sha-512")
};


/*
 * Derives keys from len octets of a SASLprepped password; keys->iterations,
 * salt and salt_len are input.  Tens of milliseconds of CPU; thread safe.
 * NGX_OK or NGX_ERROR (OpenSSL refused), then the keys are not set.
 */
ngx_int_t
ngx_xmpp_scram_derive(ngx_xmpp_scram_hash_e hash, u_char *password,
    size_t len, ngx_xmpp_scram_keys_t *keys)
{
    int            n;
    u_char         salted[NGX_XMPP_SCRAM_HASH_MAX];
    u_char         client_key[NGX_XMPP_SCRAM_HASH_MAX];
    ngx_int_t      rc;
    const EVP_MD  *md;

    md = ngx_xmpp_scram_md(hash);
    n = EVP_MD_size(md);
    rc = NGX_ERROR;

    if (len > NGX_MAX_INT32_VALUE || keys->iterations == 0
        || keys->iterations > NGX_MAX_INT32_VALUE)
    {
        return NGX_ERROR;
    }

    if (PKCS5_PBKDF2_HMAC((char *) password, (int) len, keys->salt,
                          (int) keys->salt_len, (int) keys->iterations, md, n,
                          salted)
        == 1
        && ngx_xmpp_scram_hmac(hash, salted, n, (u_char *) "Client Key",
                               sizeof("Client Key") - 1, client_key)
           == NGX_OK
        && ngx_xmpp_scram_digest(hash, client_key, n, keys->stored_key)
           == NGX_OK
        && ngx_xmpp_scram_hmac(hash, salted, n, (u_char *) "Server Key",
                               sizeof("Server Key") - 1, keys->server_key)
           == NGX_OK)
    {
        keys->hash_len = n;
        rc = NGX_OK;
    }

    OPENSSL_cleanse(salted, sizeof(salted));
    OPENSSL_cleanse(client_key, sizeof(client_key));

    return rc;
}


/* do both hold the same StoredKey, in constant time: 1 or 0 */

ngx_uint_t
ngx_xmpp_scram_keys_equal(ngx_xmpp_scram_keys_t *a, ngx_xmpp_scram_keys_t *b)
{
    return a->hash_len == b->hash_len
           && CRYPTO_memcmp(a->stored_key, b->stored_key, a->hash_len) == 0;
}


/*
 * Reads "ITERATIONS,base64(salt),base64(StoredKey),base64(ServerKey)".
 * NGX_OK; NGX_DECLINED: not of that form, or the keys are not of this hash.
 */
ngx_int_t
ngx_xmpp_scram_keys_parse(ngx_xmpp_scram_hash_e hash, ngx_str_t *text,
    ngx_xmpp_scram_keys_t *keys)
{
    u_char      *p;
    size_t       stored, server;
    ngx_str_t    rest;
    ngx_uint_t   n;

    rest = *text;
    n = 0;

    for (p = rest.data; rest.len && *p >= '0' && *p <= '9'; p++, rest.len--) {

        n = n * 10 + (*p - '0');

        if (n > NGX_MAX_INT32_VALUE / 10) {
            return NGX_DECLINED;
        }
    }

    if (n == 0 || rest.len == 0 || *p != ',') {
        return NGX_DECLINED;
    }

    rest.data = p + 1;
    rest.len--;

    keys->iterations = n;
    keys->hash_len = EVP_MD_size(ngx_xmpp_scram_md(hash));

    if (!ngx_xmpp_scram_field(&rest, keys->salt, NGX_XMPP_SCRAM_SALT_MAX,
                              &keys->salt_len)
        || !ngx_xmpp_scram_field(&rest, keys->stored_key, keys->hash_len,
                                 &stored)
        || !ngx_xmpp_scram_field(&rest, keys->server_key, keys->hash_len,
                                 &server)
        || keys->salt_len == 0
        || stored != keys->hash_len
        || server != keys->hash_len
        || rest.data != NULL)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* writes the stored form into *text, from pool; NGX_OK or NGX_ERROR */

ngx_int_t
ngx_xmpp_scram_keys_format(ngx_pool_t *pool, ngx_xmpp_scram_keys_t *keys,
    ngx_str_t *text)
{
    u_char  *p;

    p = ngx_pnalloc(pool, NGX_INT_T_LEN + sizeof(",,,")
                          + ngx_base64_encoded_length(keys->salt_len)
                          + 2 * ngx_base64_encoded_length(keys->hash_len));
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;

    p = ngx_xmpp_scram_number(p, keys->iterations);
    *p++ = ',';
    p = ngx_xmpp_base64_encode_to(p, keys->salt, keys->salt_len);
    *p++ = ',';
    p = ngx_xmpp_base64_encode_to(p, keys->stored_key, keys->hash_len);
    *p++ = ',';
    p = ngx_xmpp_base64_encode_to(p, keys->server_key, keys->hash_len);

    text->len = p - text->data;

    return NGX_OK;
}


/*
 * Keys for a user who does not exist: salt and keys are HMACs of the name
 * under a key made of secret, one after the other, so they never change,
 * and nobody knows a preimage of the StoredKey.  NGX_OK or NGX_ERROR (OpenSSL).
 */
ngx_int_t
ngx_xmpp_scram_keys_fake(ngx_xmpp_scram_hash_e hash, ngx_str_t *secret,
    ngx_str_t *name, ngx_uint_t iterations, ngx_xmpp_scram_keys_t *keys)
{
    u_char  salt[NGX_XMPP_SCRAM_HASH_MAX];
    u_char  subkey[NGX_XMPP_SCRAM_HASH_MAX];
    size_t  n;

    n = EVP_MD_size(ngx_xmpp_scram_md(hash));

    if (ngx_xmpp_scram_hmac(hash, secret->data, secret->len,
                            (u_char *) "Fake Keys", sizeof("Fake Keys") - 1,
                            subkey)
        != NGX_OK
        || ngx_xmpp_scram_hmac(hash, subkey, n, name->data, name->len, salt)
           != NGX_OK
        || ngx_xmpp_scram_hmac(hash, subkey, n, salt, n, keys->stored_key)
           != NGX_OK
        || ngx_xmpp_scram_hmac(hash, subkey, n, keys->stored_key, n,
                               keys->server_key)
           != NGX_OK)
    {
        OPENSSL_cleanse(subkey, sizeof(subkey));
        return NGX_ERROR;
    }

    OPENSSL_cleanse(subkey, sizeof(subkey));

    ngx_memcpy(keys->salt, salt, NGX_XMPP_SCRAM_SALT);

    keys->salt_len = NGX_XMPP_SCRAM_SALT;
    keys->hash_len = n;
    keys->iterations = iterations;

    return NGX_OK;
}


/* HMAC of len octets of data to out, hash_len octets; NGX_OK or NGX_ERROR */

ngx_int_t
ngx_xmpp_scram_hmac(ngx_xmpp_scram_hash_e hash, u_char *key, size_t key_len,
    u_char *data, size_t len, u_char *out)
{
    unsigned int  n;

    if (HMAC(ngx_xmpp_scram_md(hash), key, (int) key_len, data, len, out, &n)
        == NULL)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* the hash itself of len octets of data to out; NGX_OK or NGX_ERROR */

ngx_int_t
ngx_xmpp_scram_digest(ngx_xmpp_scram_hash_e hash, u_char *data, size_t len,
    u_char *out)
{
    if (EVP_Digest(data, len, out, NULL, ngx_xmpp_scram_md(hash), NULL) != 1) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* writes n in decimal to p, which has room for NGX_INT_T_LEN; the end */

u_char *
ngx_xmpp_scram_number(u_char *p, ngx_uint_t n)
{
    u_char  *s, digits[NGX_INT_T_LEN];

    s = digits + NGX_INT_T_LEN;

    do {
        *--s = (u_char) ('0' + n % 10);
        n /= 10;
    } while (n);

    return ngx_cpymem(p, s, digits + NGX_INT_T_LEN - s);
}


/*
 * Takes the next comma-separated base64 field off text into p, of max octets;
 * text->data becomes NULL after the last.  1, or 0 when there is none.
 */
static ngx_uint_t
ngx_xmpp_scram_field(ngx_str_t *text, u_char *p, size_t max, size_t *len)
{
    u_char     *end, *comma, *last, buf[NGX_XMPP_SCRAM_HASH_MAX + 2];
    ngx_str_t   field;

    if (text->data == NULL) {
        return 0;
    }

    end = text->data + text->len;
    comma = ngx_strlchr(text->data, end, ',');

    field.data = text->data;
    field.len = (comma ? comma : end) - field.data;

    if (field.len > ngx_base64_encoded_length(max)) {
        return 0;
    }

    last = ngx_xmpp_base64_decode_to(buf, &field);

    if (last == NULL || (size_t) (last - buf) > max) {
        return 0;
    }

    *len = last - buf;

    ngx_memcpy(p, buf, *len);

    text->data = comma ? comma + 1 : NULL;
    text->len = comma ? end - comma - 1 : 0;

    OPENSSL_cleanse(buf, sizeof(buf));

    return 1;
}


static const EVP_MD *
ngx_xmpp_scram_md(ngx_xmpp_scram_hash_e hash)
{
    switch (hash) {

    case NGX_XMPP_SCRAM_SHA512:
        return EVP_sha512();

    case NGX_XMPP_SCRAM_SHA256:
        return EVP_sha256();

    default:
        return EVP_sha1();
    }
}
