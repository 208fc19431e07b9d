/*
 * EXTERNAL (RFC 4422, appendix A; XEP-0178): the client is whom its TLS
 * certificate names.
 *
 *     names of the certificate -> JIDs of this host -> offered if any
 *     authzid empty: the only one; else: the one that it names
 *     -> the account is looked up; it is not made
 *
 * The transport gives names only if nginx has verified the certificate for
 * this host.  A name counts if it is a bare JID of the stream's host after
 * preparation (RFC 7622); the common name never does (CVE-2025-59154).
 */


#include "ngx_xmpp_sasl.h"


static ngx_int_t ngx_xmpp_sasl_external_users(ngx_xmpp_stream_t *st,
    ngx_pool_t *pool, ngx_array_t *users);
static ngx_int_t ngx_xmpp_sasl_external_user(ngx_xmpp_stream_t *st,
    ngx_pool_t *pool, ngx_str_t *name, ngx_str_t *user);


/* what each account has, docs/redis-schema.md */
static ngx_str_t  ngx_xmpp_sasl_external_field = ngx_string("created");


/* RFC 6120, 6.3.4: offered to whom it would do */

ngx_uint_t
ngx_xmpp_sasl_external_available(ngx_xmpp_stream_t *st,
    ngx_xmpp_sasl_mechanism_t *m)
{
    ngx_uint_t    available;
    ngx_pool_t   *pool;
    ngx_array_t   users;

    pool = ngx_xmpp_worker_pool(st->worker);
    if (pool == NULL) {
        return 0;
    }

    available = ngx_xmpp_sasl_external_users(st, pool, &users) == NGX_OK
                && users.nelts;

    ngx_xmpp_worker_pool_done(st->worker, pool);

    return available;
}


/* data is the authorization identity, or empty */

ngx_int_t
ngx_xmpp_sasl_external_step(ngx_xmpp_sasl_t *sasl, ngx_str_t *data)
{
    ngx_int_t     rc;
    ngx_str_t    *user, name;
    ngx_uint_t    i;
    ngx_array_t   users;

    if (ngx_xmpp_sasl_external_users(sasl->stream, sasl->pool, &users)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    user = users.elts;

    if (data->len == 0) {

        /*
         * XEP-0178, 2, 11: of several the client has to name one.  Who does
         * not has the key of a certificate, and has tried to be nobody else.
         */

        if (users.nelts != 1) {
            return NGX_XMPP_SASL_UNNAMED;
        }

        return ngx_xmpp_sasl_lookup(sasl, &user[0], data,
                                    &ngx_xmpp_sasl_external_field);
    }

    rc = ngx_xmpp_sasl_external_user(sasl->stream, sasl->pool, data, &name);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    for (i = 0; rc == NGX_OK && i < users.nelts; i++) {
        if (ngx_xmpp_str_eq(&user[i], &name)) {
            return ngx_xmpp_sasl_lookup(sasl, &user[i], data,
                                        &ngx_xmpp_sasl_external_field);
        }
    }

    return NGX_XMPP_SASL_INVALID_AUTHZID;
}


ngx_int_t
ngx_xmpp_sasl_external_keys(ngx_xmpp_sasl_t *sasl, ngx_str_t *stored)
{
    return stored ? NGX_DONE : NGX_XMPP_SASL_NOT_AUTHORIZED;
}


/*
 * The localparts, prepared, that the client's certificate gives it at this
 * host, each once; users is initialized here.  NGX_OK or NGX_ERROR.
 */

static ngx_int_t
ngx_xmpp_sasl_external_users(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_array_t *users)
{
    ngx_int_t     rc;
    ngx_str_t    *name, *known, *p, user;
    ngx_uint_t    i, n;
    ngx_array_t   names;

    if (ngx_array_init(&names, pool, 2, sizeof(ngx_str_t)) != NGX_OK
        || ngx_array_init(users, pool, 2, sizeof(ngx_str_t)) != NGX_OK
        || st->transport->names(st, pool, ngx_xmpp_sasl_external(st->host),
                                &names)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    name = names.elts;

    for (i = 0; i < names.nelts; i++) {

        rc = ngx_xmpp_sasl_external_user(st, pool, &name[i], &user);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc == NGX_DECLINED) {
            continue;
        }

        known = users->elts;

        for (n = 0; n < users->nelts; n++) {
            if (ngx_xmpp_str_eq(&known[n], &user)) {
                break;
            }
        }

        if (n == users->nelts) {
            p = ngx_array_push(users);
            if (p == NULL) {
                return NGX_ERROR;
            }

            *p = user;
        }
    }

    return NGX_OK;
}


/* the localpart of a name that is a bare JID of this host; else NGX_DECLINED */

static ngx_int_t
ngx_xmpp_sasl_external_user(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_str_t *name, ngx_str_t *user)
{
    ngx_int_t       rc;
    ngx_xmpp_jid_t  jid;

    rc = ngx_xmpp_jid_parse(pool, name, &jid);

    if (rc != NGX_OK) {
        return rc;
    }

    if (jid.local.len == 0 || jid.resource.len
        || !ngx_xmpp_str_eq(&jid.domain, &st->host->name))
    {
        return NGX_DECLINED;
    }

    *user = jid.local;

    return NGX_OK;
}
