/*
 * Who a client says it is: the name of a SASL exchange (RFC 6120, 6.3.8), its
 * account's keys in Redis, and what stands for them when there is no account.
 *
 *     name prepared -> authorization identity compared -> a field asked for
 *     -> the mechanism's keys(), which takes stable fake ones for none
 *
 * The exchange waits parked; its pool, which dies with it, holds the request.
 * A name that cannot exist, an unknown one and a known one take the same way
 * (RFC 6120, 6.5.10), and are refused alike where too many have failed.
 */


#include "ngx_xmpp_sasl.h"


static ngx_int_t ngx_xmpp_sasl_authzid(ngx_xmpp_sasl_t *sasl,
    ngx_str_t *authzid);
static ngx_int_t ngx_xmpp_sasl_account(ngx_xmpp_sasl_t *sasl,
    ngx_str_t *bare);
static void ngx_xmpp_sasl_keys(void *data, ngx_xmpp_store_result_t *res);


ngx_int_t
ngx_xmpp_sasl_lookup(ngx_xmpp_sasl_t *sasl, ngx_str_t *name,
    ngx_str_t *authzid, ngx_str_t *field)
{
    ngx_int_t           rc;
    ngx_xmpp_jid_t      jid;
    ngx_xmpp_stream_t  *st;

    st = sasl->stream;

    rc = ngx_xmpp_jid_prep_local(sasl->pool, name, &sasl->user);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {

        /* cannot exist, but must look like one that does not */

        sasl->unknown = 1;
        sasl->unnamed = 1;
        sasl->user = *name;

        if (sasl->user.len > NGX_XMPP_JID_PART_MAX) {
            sasl->user.len = NGX_XMPP_JID_PART_MAX;
        }

    } else {
        sasl->unnamed = 0;

        rc = ngx_xmpp_sasl_authzid(sasl, authzid);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (ngx_xmpp_jid_make(sasl->pool, &sasl->user, &st->host->name, NULL,
                          &jid)
        != NGX_OK
        || ngx_xmpp_sasl_account(sasl, &jid.bare) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_xmpp_store_login(st->worker->store, sasl->pool, field,
                             &sasl->attempt, ngx_xmpp_sasl_keys, sasl)
        == NULL)
    {
        return NGX_ERROR;
    }

    return NGX_AGAIN;
}


/* RFC 6120, 6.3.8: to act as oneself is all that anyone may ask for */

static ngx_int_t
ngx_xmpp_sasl_authzid(ngx_xmpp_sasl_t *sasl, ngx_str_t *authzid)
{
    ngx_int_t       rc;
    ngx_xmpp_jid_t  jid;

    if (authzid->len == 0) {
        return NGX_OK;
    }

    rc = ngx_xmpp_jid_parse(sasl->pool, authzid, &jid);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED
        || jid.resource.len
        || !ngx_xmpp_str_eq(&jid.local, &sasl->user)
        || !ngx_xmpp_str_eq(&jid.domain, &sasl->stream->host->name))
    {
        return NGX_XMPP_SASL_INVALID_AUTHZID;
    }

    return NGX_OK;
}


/*
 * What the attempt is about: an account's bare JID, which need not be one,
 * under the names that Redis and the log have for it.  NGX_OK or NGX_ERROR.
 */

static ngx_int_t
ngx_xmpp_sasl_account(ngx_xmpp_sasl_t *sasl, ngx_str_t *bare)
{
    u_char                    *p;
    ngx_str_t                  none, *host;
    ngx_xmpp_store_attempt_t  *at;

    at = &sasl->attempt;
    host = &sasl->stream->host->name;

    if (ngx_xmpp_store_tag(sasl->pool, bare, &at->tag) != NGX_OK) {
        return NGX_ERROR;
    }

    if (at->network.len == 0) {
        return NGX_OK;
    }

    ngx_str_set(&none, "");

    if (ngx_xmpp_network_tally(at->tallies[NGX_XMPP_STORE_TALLY_ACCOUNT],
                               NGX_XMPP_TALLY_ACCOUNT, bare, &none)
        != NGX_OK
        || ngx_xmpp_network_tally(at->tallies[NGX_XMPP_STORE_TALLY_BOTH],
                                  NGX_XMPP_TALLY_BOTH, bare, &at->network)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(sasl->pool, NGX_XMPP_SASL_LOG_LEN + 1 + host->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    at->jid.data = p;

    p = ngx_xmpp_sasl_log_name(sasl, p);
    *p++ = '@';
    p = ngx_cpymem(p, host->data, host->len);

    at->jid.len = p - at->jid.data;

    return NGX_OK;
}


static void
ngx_xmpp_sasl_keys(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_sasl_t *sasl = data;

    ngx_int_t   rc;
    ngx_str_t  *stored;

    if (res->rc == NGX_ABORT) {
        ngx_xmpp_sasl_done(sasl, NGX_XMPP_SASL_TEMPORARY);
        return;
    }

    if (res->rc != NGX_OK && res->rc != NGX_DECLINED) {
        ngx_xmpp_sasl_done(sasl, NGX_ERROR);
        return;
    }

    if (res->rc == NGX_DECLINED) {
        sasl->unknown = 1;
    }

    stored = sasl->unknown ? NULL : &res->text;

    rc = sasl->mechanism->keys(sasl, stored);

    if (rc != NGX_AGAIN) {
        ngx_xmpp_sasl_done(sasl, rc);
    }
}


ngx_int_t
ngx_xmpp_sasl_scram_stored(ngx_xmpp_sasl_t *sasl, ngx_str_t *stored)
{
    ngx_str_t              *secret, salt;
    ngx_xmpp_scram_hash_e   hash;

    hash = sasl->mechanism->hash;

    if (stored
        && ngx_xmpp_scram_keys_parse(hash, stored, &sasl->scram.keys)
           == NGX_OK)
    {
        return NGX_OK;
    }

    sasl->unknown = 1;

    secret = ngx_xmpp_store_secret(sasl->stream->worker->store);

    if (secret->len == 0) {
        return NGX_ERROR;
    }

    /* the salt differs from host to host, as a real one would */

    salt.len = sasl->user.len + 1 + sasl->stream->host->name.len;
    salt.data = ngx_pnalloc(sasl->pool, salt.len);

    if (salt.data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(salt.data, "%V@%V", &sasl->user, &sasl->stream->host->name);

    return ngx_xmpp_scram_keys_fake(hash, secret, &salt,
                                    ngx_xmpp_sasl_iterations(sasl->stream),
                                    &sasl->scram.keys);
}
