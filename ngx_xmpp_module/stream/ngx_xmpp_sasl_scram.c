/*
 * The SCRAM mechanisms (RFC 5802, RFC 7677), with channel binding and without:
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


static ngx_int_t ngx_xmpp_sasl_scram_first(ngx_xmpp_sasl_t *sasl,
    ngx_str_t *data, ngx_uint_t cb);
static ngx_int_t ngx_xmpp_sasl_scram_final(ngx_xmpp_sasl_t *sasl,
    ngx_str_t *data);


/* RFC 5802, 6: without binding, though it may have been offered */

ngx_int_t
ngx_xmpp_sasl_scram_step(ngx_xmpp_sasl_t *sasl, ngx_str_t *data)
{
    if (sasl->state == NGX_XMPP_SASL_SCRAM_FINAL) {
        return ngx_xmpp_sasl_scram_final(sasl, data);
    }

    return ngx_xmpp_sasl_scram_first(sasl, data,
                                     ngx_xmpp_sasl_offers_plus(sasl->stream)
                                     ? NGX_XMPP_SCRAM_CB_OFFERED
                                     : NGX_XMPP_SCRAM_CB_NONE);
}


/* the -PLUS forms: the client-first-message says by what it binds */

ngx_int_t
ngx_xmpp_sasl_scram_plus_step(ngx_xmpp_sasl_t *sasl, ngx_str_t *data)
{
    ngx_int_t          rc;
    ngx_xmpp_scram_t  *sc;

    if (sasl->state == NGX_XMPP_SASL_SCRAM_FINAL) {
        return ngx_xmpp_sasl_scram_final(sasl, data);
    }

    sc = &sasl->scram;

    if (ngx_xmpp_scram_cb_type(data, &sc->cb_type) != NGX_OK) {
        return NGX_XMPP_SASL_UNBOUND;
    }

    rc = ngx_xmpp_sasl_binding(sasl, &sc->cb_type, &sc->cb_data);

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_INFO, sasl->stream->connection->log, 0,
                      "client asked for a channel binding that this "
                      "connection does not have");

        return NGX_XMPP_SASL_UNBOUND;
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_xmpp_sasl_scram_first(sasl, data, NGX_XMPP_SCRAM_CB_USED);
}


static ngx_int_t
ngx_xmpp_sasl_scram_first(ngx_xmpp_sasl_t *sasl, ngx_str_t *data,
    ngx_uint_t cb)
{
    ngx_int_t          rc;
    ngx_xmpp_scram_t  *sc;

    sc = &sasl->scram;

    sc->pool = sasl->pool;
    sc->hash = sasl->mechanism->hash;
    sc->cb = cb;

    rc = ngx_xmpp_scram_first(sc, data);

    if (rc == NGX_DECLINED) {

        /* RFC 5802, 6: who believes that has seen a list of somebody else */

        if (cb == NGX_XMPP_SCRAM_CB_OFFERED && data->len
            && data->data[0] == 'y')
        {
            ngx_log_error(NGX_LOG_WARN,
                          sasl->stream->connection->log, 0,
                          "client has seen no -PLUS mechanism, which was "
                          "offered: somebody may be between");
        }

        return NGX_XMPP_SASL_MALFORMED_REQUEST;
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_xmpp_sasl_lookup(sasl, &sc->username, &sc->authzid,
                                &ngx_xmpp_scram_fields[sc->hash]);
}


static ngx_int_t
ngx_xmpp_sasl_scram_final(ngx_xmpp_sasl_t *sasl, ngx_str_t *data)
{
    switch (ngx_xmpp_scram_final(&sasl->scram, data, &sasl->out)) {

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
