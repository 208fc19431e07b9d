/*
 * Hosts: the xmpp_host{} block, its certificates, and the table of domains.
 *
 * An xmpp_host{} is a server{} without listen: what nginx's stream modules
 * look at from TLS on may stand in it (ngx_xmpp_conf.c), and a stream that
 * names the host (by SNI, or by the header's "to" before STARTTLS) is moved
 * into its configuration.  So nginx's own SSL module builds the context and
 * makes the handshake.
 *
 * Two things need help before the SSL module merges its configuration: up to
 * 1.25.4 it makes a context only for listen ... ssl, and a TLS listener of
 * ours without a certificate takes the first login host's.
 */


#include "ngx_xmpp.h"


static ngx_int_t ngx_xmpp_host_context(ngx_conf_t *cf,
    ngx_stream_conf_ctx_t **ctx);
static ngx_int_t ngx_xmpp_host_add(ngx_conf_t *cf, ngx_xmpp_host_t *h,
    ngx_str_t *name);
static ngx_xmpp_ssl_conf_t *ngx_xmpp_host_ssl_defaults(ngx_conf_t *cf);
static ngx_uint_t ngx_xmpp_host_has_certificate(ngx_conf_t *cf,
    ngx_xmpp_ssl_conf_t *sslcf);
static void ngx_xmpp_host_default_tls(ngx_xmpp_ssl_conf_t *sslcf,
    ngx_xmpp_ssl_conf_t *prev);
static ngx_int_t ngx_xmpp_host_files(ngx_conf_t *cf, ngx_xmpp_host_t *h,
    ngx_xmpp_ssl_conf_t *sslcf);
static ngx_int_t ngx_xmpp_host_check(ngx_conf_t *cf, ngx_xmpp_host_t *h,
    ngx_xmpp_main_conf_t *xmcf);


/* until a transport takes the host over: nginx wants some handler */

static void
ngx_xmpp_host_handler(ngx_stream_session_t *s)
{
    ngx_stream_finalize_session(s, NGX_STREAM_INTERNAL_SERVER_ERROR);
}


/* "xmpp_host name { ... }": a server context of its own */

char *
ngx_xmpp_host_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                         *rv;
    ngx_str_t                    *value;
    ngx_conf_t                    save;
    ngx_xmpp_host_t              *h;
    ngx_xmpp_srv_conf_t          *xscf;
    ngx_stream_conf_ctx_t        *ctx;
    ngx_stream_core_srv_conf_t   *cscf, **cscfp;
    ngx_stream_core_main_conf_t  *cmcf;

    value = cf->args->elts;

    h = ngx_pcalloc(cf->pool, sizeof(ngx_xmpp_host_t));
    if (h == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_xmpp_host_add(cf, h, &value[1]) != NGX_OK
        || ngx_xmpp_host_context(cf, &ctx) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    h->ctx = ctx;
    h->file = cf->conf_file->file.name;
    h->line = cf->conf_file->line;

    xscf = ctx->srv_conf[ngx_xmpp_module.ctx_index];
    xscf->host = h;

    cscf = ctx->srv_conf[ngx_stream_core_module.ctx_index];
    cscf->ctx = ctx;
    cscf->handler = ngx_xmpp_host_handler;

    cmcf = ctx->main_conf[ngx_stream_core_module.ctx_index];

    cscfp = ngx_array_push(&cmcf->servers);
    if (cscfp == NULL) {
        return NGX_CONF_ERROR;
    }

    *cscfp = cscf;

    save = *cf;
    cf->ctx = ctx;
    cf->cmd_type = NGX_XMPP_HOST_CONF;
    cf->handler = ngx_xmpp_conf_host;
    cf->handler_conf = NULL;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    return rv;
}


/* what ngx_stream_core_module does for a server{} */

static ngx_int_t
ngx_xmpp_host_context(ngx_conf_t *cf, ngx_stream_conf_ctx_t **pctx)
{
    void                   *mconf;
    ngx_uint_t              m;
    ngx_stream_module_t    *module;
    ngx_stream_conf_ctx_t  *ctx;

    ctx = ngx_pcalloc(cf->pool, sizeof(ngx_stream_conf_ctx_t));
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->main_conf = ((ngx_stream_conf_ctx_t *) cf->ctx)->main_conf;
    ctx->srv_conf = ngx_pcalloc(cf->pool,
                                sizeof(void *) * ngx_stream_max_module);
    if (ctx->srv_conf == NULL) {
        return NGX_ERROR;
    }

    for (m = 0; cf->cycle->modules[m]; m++) {
        if (cf->cycle->modules[m]->type != NGX_STREAM_MODULE) {
            continue;
        }

        module = cf->cycle->modules[m]->ctx;

        if (module->create_srv_conf == NULL) {
            continue;
        }

        mconf = module->create_srv_conf(cf);
        if (mconf == NULL) {
            return NGX_ERROR;
        }

        ctx->srv_conf[cf->cycle->modules[m]->ctx_index] = mconf;
    }

    *pctx = ctx;

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_host_add(ngx_conf_t *cf, ngx_xmpp_host_t *h, ngx_str_t *name)
{
    ngx_int_t               rc;
    ngx_xmpp_host_t       **hp;
    ngx_xmpp_main_conf_t   *xmcf;

    rc = ngx_xmpp_jid_prep_domain(cf->pool, name, &h->name);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED || name->len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is not a domain name", name);
        return NGX_ERROR;
    }

    xmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_xmpp_module);

    if (ngx_xmpp_host_find(xmcf, &h->name)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate \"xmpp_host\" \"%V\"", &h->name);
        return NGX_ERROR;
    }

    hp = ngx_array_push(&xmcf->hosts);
    if (hp == NULL) {
        return NGX_ERROR;
    }

    *hp = h;

    return NGX_OK;
}


/* a host of ours by its prepared name, or NULL */

ngx_xmpp_host_t *
ngx_xmpp_host_find(ngx_xmpp_main_conf_t *xmcf, ngx_str_t *name)
{
    ngx_uint_t         i;
    ngx_xmpp_host_t  **hp;

    /* a handful as a rule; the hash is for those who serve many */

    if (xmcf->hosts_hash.size) {
        return ngx_hash_find(&xmcf->hosts_hash,
                             ngx_hash_key(name->data, name->len),
                             name->data, name->len);
    }

    hp = xmcf->hosts.elts;

    for (i = 0; i < xmcf->hosts.nelts; i++) {
        if (ngx_xmpp_str_eq(&hp[i]->name, name)) {
            return hp[i];
        }
    }

    return NULL;
}


/* the SSL configuration of stream{} itself */

static ngx_xmpp_ssl_conf_t *
ngx_xmpp_host_ssl_defaults(ngx_conf_t *cf)
{
    ngx_stream_conf_ctx_t  *ctx;

    ctx = (ngx_stream_conf_ctx_t *)
              cf->cycle->conf_ctx[ngx_stream_module.index];

    return ctx->srv_conf[ngx_stream_ssl_module.ctx_index];
}


static ngx_uint_t
ngx_xmpp_host_has_certificate(ngx_conf_t *cf, ngx_xmpp_ssl_conf_t *sslcf)
{
    ngx_xmpp_ssl_conf_t  *prev;

    if (sslcf->certificates != NGX_CONF_UNSET_PTR) {
        return sslcf->certificates != NULL;
    }

    prev = ngx_xmpp_host_ssl_defaults(cf);

    return prev->certificates != NGX_CONF_UNSET_PTR
           && prev->certificates != NULL;
}


/* the files are the host's own or those of stream{}, as nginx merges them */

static ngx_int_t
ngx_xmpp_host_files(ngx_conf_t *cf, ngx_xmpp_host_t *h,
    ngx_xmpp_ssl_conf_t *sslcf)
{
    ngx_array_t          *certificates, *keys;
    ngx_xmpp_ssl_conf_t  *prev;

    prev = ngx_xmpp_host_ssl_defaults(cf);

    certificates = sslcf->certificates;
    keys = sslcf->certificate_keys;

    ngx_conf_merge_ptr_value(certificates, prev->certificates, NULL);
    ngx_conf_merge_ptr_value(keys, prev->certificate_keys, NULL);

    return ngx_xmpp_certificate_files(cf, h, certificates, keys);
}


/*
 * What nobody has set, in the server nor in stream{}, is for XMPP as RFC 9325
 * says (RFC 7590, 3.1): TLS 1.2 and 1.3 (3.1.1; nginx 1.22 leaves 1.3 out of
 * stream), with TLS 1.2 the AEAD ciphers with forward secrecy alone (4.1, 4.2),
 * the stronger first, in the order of the server (4.2.1).
 */

static void
ngx_xmpp_host_default_tls(ngx_xmpp_ssl_conf_t *sslcf,
    ngx_xmpp_ssl_conf_t *prev)
{
    if (sslcf->protocols == 0 && prev->protocols == 0) {
        sslcf->protocols = NGX_CONF_BITMASK_SET|NGX_SSL_TLSv1_2
                           |NGX_SSL_TLSv1_3;
    }

    if (sslcf->ciphers.data == NULL && prev->ciphers.data == NULL) {
        ngx_str_set(&sslcf->ciphers, "ECDHE+AESGCM:ECDHE+CHACHA20");
    }

    if (sslcf->prefer_server_ciphers == NGX_CONF_UNSET
        && prev->prefer_server_ciphers == NGX_CONF_UNSET)
    {
        sslcf->prefer_server_ciphers = 1;
    }
}


/* runs for each server before the SSL module merges: ctx is the server's */

char *
ngx_xmpp_host_merge_ssl(ngx_conf_t *cf, ngx_xmpp_main_conf_t *xmcf,
    ngx_xmpp_srv_conf_t *xscf, ngx_stream_conf_ctx_t *ctx)
{
    ngx_xmpp_host_t      **hp;
    ngx_xmpp_ssl_conf_t   *sslcf, *prev, *first;

    if (!xscf->listener && xscf->host == NULL) {
        return NGX_CONF_OK;
    }

    sslcf = ctx->srv_conf[ngx_stream_ssl_module.ctx_index];
    prev = ngx_xmpp_host_ssl_defaults(cf);

    if (xscf->host && ngx_xmpp_host_files(cf, xscf->host, sslcf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    ngx_xmpp_host_default_tls(sslcf, prev);

    /* direct TLS: the handshake is a part of xmpp_auth_timeout */

    if (xscf->listener
        && sslcf->handshake_timeout == NGX_CONF_UNSET_MSEC
        && prev->handshake_timeout == NGX_CONF_UNSET_MSEC)
    {
        sslcf->handshake_timeout = xscf->auth_timeout;
    }

    if (xscf->listener && xmcf->hosts.nelts
        && !ngx_xmpp_host_has_certificate(cf, sslcf))
    {
        hp = xmcf->hosts.elts;
        first = hp[0]->ctx->srv_conf[ngx_stream_ssl_module.ctx_index];

        sslcf->certificates = first->certificates;
        sslcf->certificate_keys = first->certificate_keys;

        if (sslcf->passwords == NGX_CONF_UNSET_PTR) {
            sslcf->passwords = first->passwords;
        }
    }

#if (nginx_version < 1025005)

    if (xscf->host && ngx_xmpp_host_has_certificate(cf, sslcf)) {
        sslcf->listen = 1;
        sslcf->file = xscf->host->file.data;
        sslcf->line = xscf->host->line;
    }

#endif

    return NGX_CONF_OK;
}


/* after the configuration was read: checks, tables, the hash of names */

ngx_int_t
ngx_xmpp_host_init(ngx_conf_t *cf, ngx_xmpp_main_conf_t *xmcf)
{
    ngx_uint_t         i;
    ngx_hash_key_t    *names;
    ngx_hash_init_t    hash;
    ngx_xmpp_host_t  **hp;

    hp = xmcf->hosts.elts;

    names = ngx_palloc(cf->temp_pool,
                       (xmcf->hosts.nelts + 1) * sizeof(ngx_hash_key_t));
    if (names == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < xmcf->hosts.nelts; i++) {
        if (ngx_xmpp_host_check(cf, hp[i], xmcf) != NGX_OK
            || ngx_xmpp_feature_compile(cf, hp[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }

        names[i].key = hp[i]->name;
        names[i].key_hash = ngx_hash_key(hp[i]->name.data, hp[i]->name.len);
        names[i].value = hp[i];
    }

    if (xmcf->hosts.nelts < 8) {
        return NGX_OK;
    }

    /* prepared names are lower case, as ngx_hash_init() makes them */

    hash.hash = &xmcf->hosts_hash;
    hash.key = ngx_hash_key;
    hash.max_size = 10240;
    hash.bucket_size = ngx_align(1200, ngx_cacheline_size);
    hash.name = "xmpp_hosts_hash";
    hash.pool = cf->pool;
    hash.temp_pool = NULL;

    return ngx_hash_init(&hash, names, xmcf->hosts.nelts);
}


/* a login host needs a certificate, unless no listener offers TLS at all */

static ngx_int_t
ngx_xmpp_host_check(ngx_conf_t *cf, ngx_xmpp_host_t *h,
    ngx_xmpp_main_conf_t *xmcf)
{
    ngx_xmpp_ssl_conf_t  *sslcf;

    sslcf = h->ctx->srv_conf[ngx_stream_ssl_module.ctx_index];

    if (sslcf->ssl.ctx == NULL && xmcf->tls) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "no \"ssl_certificate\" is defined for \"xmpp_host\" "
                      "\"%V\" in %V:%ui; name the files of its certificate "
                      "and key, or set \"xmpp_starttls off\" in each server "
                      "with \"xmpp_c2s\"",
                      &h->name, &h->file, h->line);
        return NGX_ERROR;
    }

    if (sslcf->ssl.ctx) {
        ngx_xmpp_certificate_names(cf, h, sslcf->ssl.ctx);
    }

    return NGX_OK;
}
