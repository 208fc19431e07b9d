/*
 * The SCRAM mechanisms (RFC 5802, RFC 7677), without channel binding:
 *
 *     client-first --> keys from Redis --> server-first
 *     client-final --> proof --> server-final in <success/>
 *
 * The messages themselves are read and written by util/ngx_xmpp_scram.c; this
 * is their place in the exchange.  An unknown user gets a challenge with a
 * salt that never changes and fails at the proof, as a wrong password does.
 * All state is in the exchange's pool.
 */


#include "ngx_xmpp_sasl.h"


#define NGX_XMPP_SASL_SCRAM_FIRST     0
#define NGX_XMPP_SASL_SCRAM_FINAL     1


ngx_int_t
ngx_xmpp_sasl_scram_step(ngx_xmpp_sasl_t *sasl, ngx_str_t *data)
{
    ngx_int_t          rc;
    ngx_xmpp_scram_t  *sc;

    sc = &sasl->scram;

    if (sasl->state == NGX_XMPP_SASL_SCRAM_FIRST) {
        sc->pool = sasl->pool;
        sc->hash = sasl->mechanism->hash;
        sc->cb = NGX_XMPP_SCRAM_CB_NONE;

        rc = ngx_xmpp_scram_first(sc, data);

        if (rc != NGX_OK) {
            return (rc == NGX_DECLINED) ? NGX_XMPP_SASL_MALFORMED_REQUEST
                                        : NGX_ERROR;
        }

        return ngx_xmpp_sasl_lookup(sasl, &sc->username, &sc->authzid,
                                    &ngx_xmpp_scram_fields[sc->hash]);
    }

    rc = ngx_xmpp_scram_final(sc, data, &sasl->out);

    switch (rc) {

    case NGX_OK:
        return sasl->unknown ? NGX_XMPP_SASL_NOT_AUTHORIZED : NGX_DONE;

    case NGX_DECLINED:
        return NGX_XMPP_SASL_NOT_AUTHORIZED;

    case NGX_ABORT:
        return NGX_XMPP_SASL_MALFORMED_REQUEST;

    default:
        return NGX_ERROR;
    }
}


ngx_int_t
ngx_xmpp_sasl_scram_keys(ngx_xmpp_sasl_t *sasl, ngx_str_t *stored)
{
    if (ngx_xmpp_sasl_scram_stored(sasl, stored) != NGX_OK) {
        return NGX_ERROR;
    }

    sasl->state = NGX_XMPP_SASL_SCRAM_FINAL;

    return ngx_xmpp_scram_challenge(&sasl->scram, &sasl->out);
}
