/*
 * DIGEST-MD5 (RFC 2831), historic (RFC 6331) and offered only where it is
 * named, since its secret is as good as the password:
 *
 *     <auth/> --> digest-challenge
 *     digest-response --> secret from Redis --> rspauth in a challenge
 *     empty response --> <success/>
 *
 * util/ngx_xmpp_digest.c reads and writes the messages.  What a client is
 * told before its response has been compared depends on no account, so for a
 * user without the secret any octets do: sasl->unknown decides.  All state is
 * in the exchange's pool.
 */


#include "ngx_xmpp_sasl.h"
#include <openssl/crypto.h>


#define NGX_XMPP_SASL_DIGEST_FIRST     0
#define NGX_XMPP_SASL_DIGEST_RESPONSE  1
#define NGX_XMPP_SASL_DIGEST_LAST      2


static ngx_int_t ngx_xmpp_sasl_digest_first(ngx_xmpp_sasl_t *sasl,
    ngx_str_t *data);
static ngx_int_t ngx_xmpp_sasl_digest_response(ngx_xmpp_sasl_t *sasl,
    ngx_str_t *data);


/* OpenSSL has MD5, unless it is to be FIPS 140's */

ngx_uint_t
ngx_xmpp_sasl_digest_available(ngx_xmpp_stream_t *st,
    ngx_xmpp_sasl_mechanism_t *m)
{
    if (ngx_xmpp_digest_supported()) {
        return 1;
    }

    ngx_log_error(NGX_LOG_WARN, st->connection->log, 0,
                  "OpenSSL refuses MD5, so DIGEST-MD5 is not offered");

    return 0;
}


ngx_int_t
ngx_xmpp_sasl_digest_step(ngx_xmpp_sasl_t *sasl, ngx_str_t *data)
{
    switch (sasl->state) {

    case NGX_XMPP_SASL_DIGEST_FIRST:
        return ngx_xmpp_sasl_digest_first(sasl, data);

    case NGX_XMPP_SASL_DIGEST_RESPONSE:
        return ngx_xmpp_sasl_digest_response(sasl, data);

    default: /* NGX_XMPP_SASL_DIGEST_LAST */

        /* RFC 2831, 2.1.3: the client has nothing more to say */

        return data->len ? NGX_XMPP_SASL_MALFORMED_REQUEST : NGX_DONE;
    }
}


/* RFC 2831, 2.1: the server speaks first, and 2.2 is not implemented */

static ngx_int_t
ngx_xmpp_sasl_digest_first(ngx_xmpp_sasl_t *sasl, ngx_str_t *data)
{
    if (data->len) {
        return NGX_XMPP_SASL_MALFORMED_REQUEST;
    }

    sasl->digest = ngx_pcalloc(sasl->pool, sizeof(ngx_xmpp_digest_t));
    if (sasl->digest == NULL) {
        return NGX_ERROR;
    }

    sasl->digest->pool = sasl->pool;
    sasl->digest->host = sasl->stream->host->name;

    sasl->state = NGX_XMPP_SASL_DIGEST_RESPONSE;

    return ngx_xmpp_digest_challenge(sasl->digest, &sasl->out);
}


static ngx_int_t
ngx_xmpp_sasl_digest_response(ngx_xmpp_sasl_t *sasl, ngx_str_t *data)
{
    ngx_int_t   rc;
    ngx_str_t  *values;

    rc = ngx_xmpp_digest_parse(sasl->digest, data);

    if (rc == NGX_OK) {
        rc = ngx_xmpp_digest_check(sasl->digest);
    }

    values = sasl->digest->values;

    switch (rc) {

    case NGX_OK:
        return ngx_xmpp_sasl_lookup(sasl, &values[NGX_XMPP_DIGEST_USERNAME],
                                    &values[NGX_XMPP_DIGEST_AUTHZID],
                                    &ngx_xmpp_digest_field);

    case NGX_ABORT:

        /* a response that was made for somebody else's challenge */

        sasl->user = values[NGX_XMPP_DIGEST_USERNAME];
        sasl->unnamed = 1;

        return NGX_XMPP_SASL_NOT_AUTHORIZED;

    case NGX_DECLINED:
        return NGX_XMPP_SASL_MALFORMED_REQUEST;

    default:
        return NGX_ERROR;
    }
}


ngx_int_t
ngx_xmpp_sasl_digest_keys(ngx_xmpp_sasl_t *sasl, ngx_str_t *stored)
{
    u_char     secret[NGX_XMPP_DIGEST_LEN];
    ngx_int_t  rc;

    ngx_memzero(secret, sizeof(secret));

    if (stored == NULL
        || ngx_xmpp_digest_secret_parse(stored, secret) != NGX_OK)
    {
        sasl->unknown = 1;
    }

    rc = ngx_xmpp_digest_verify(sasl->digest, secret, &sasl->out);

    OPENSSL_cleanse(secret, sizeof(secret));

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED || sasl->unknown) {
        return NGX_XMPP_SASL_NOT_AUTHORIZED;
    }

    /* rspauth would tell that the password is right, as <success/> does */

    if (ngx_xmpp_store_login_limited(sasl->stream->worker->store,
                                     &sasl->attempt))
    {
        return NGX_XMPP_SASL_TEMPORARY;
    }

    sasl->state = NGX_XMPP_SASL_DIGEST_LAST;

    return NGX_OK;
}
