/*
 * STARTTLS (RFC 6120, 5; RFC 7590): the feature and its nonza.
 *
 *     PLAIN: <starttls/> -> <proceed/>, then TLS by nginx's own SSL phase
 *                        -> <failure/> and the end, when the host has none
 *
 * <proceed/> and the handshake are the transport's business.
 */


#include "ngx_xmpp_stream.h"


static ngx_int_t ngx_xmpp_starttls_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_xmpp_starttls_write(ngx_xmpp_stream_t *st,
    ngx_pool_t *pool, ngx_xmpp_xml_t *features);
static ngx_int_t ngx_xmpp_starttls_handler(ngx_xmpp_stream_t *st,
    ngx_xmpp_xml_t *e);


static ngx_str_t  ngx_xmpp_starttls_name = ngx_string("starttls");
static ngx_str_t  ngx_xmpp_starttls_required = ngx_string("required");
static ngx_str_t  ngx_xmpp_starttls_failure = ngx_string("failure");


static ngx_xmpp_xep_t  ngx_xmpp_starttls_xeps[] = {
    { 6120, NULL, "section 5" },
    { 7590, NULL, "complete" },
    ngx_xmpp_null_xep
};


static ngx_xmpp_nonza_t  ngx_xmpp_starttls_nonzas[] = {

    { NGX_XMPP_ST_PLAIN,
      ngx_string("urn:ietf:params:xml:ns:xmpp-tls"), ngx_string("starttls"),
      ngx_xmpp_starttls_handler },

      ngx_xmpp_null_nonza
};


static ngx_xmpp_stream_feature_t  ngx_xmpp_starttls_features[] = {
    { NGX_XMPP_ST_PLAIN, NGX_XMPP_FEATURE_STARTTLS, ngx_xmpp_starttls_write },
    ngx_xmpp_null_stream_feature
};


static ngx_stream_module_t  ngx_xmpp_starttls_module_ctx = {
    ngx_xmpp_starttls_preconfiguration,    /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL                                   /* merge server configuration */
};


ngx_module_t  ngx_xmpp_starttls_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_starttls_module_ctx,         /* module context */
    NULL,                                  /* module directives */
    NGX_STREAM_MODULE,                     /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_xmpp_feature_t  ngx_xmpp_starttls_feature = {
    &ngx_xmpp_starttls_module,
    ngx_xmpp_starttls_xeps,
    NULL,                                  /* disco features */
    ngx_xmpp_starttls_nonzas,
    ngx_xmpp_starttls_features,
    NULL,                                  /* iq */
    NULL,                                  /* hooks */
    NULL,                                  /* events */
    NULL,                                  /* identities */
    NULL,                                  /* prepare */
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_starttls_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_starttls_feature);
}


static ngx_int_t
ngx_xmpp_starttls_write(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_xml_t *features)
{
    ngx_xmpp_xml_t  *e;

    if (st->conf->starttls == NGX_XMPP_STARTTLS_OFF) {
        return NGX_OK;
    }

    e = ngx_xmpp_xml_add(pool, features, &ngx_xmpp_starttls_name,
                         &ngx_xmpp_ns_tls);
    if (e == NULL) {
        return NGX_ERROR;
    }

    /* RFC 6120, 5.4.1: required, and then the only feature */

    if (st->conf->starttls == NGX_XMPP_STARTTLS_ONLY
        && ngx_xmpp_xml_add(pool, e, &ngx_xmpp_starttls_required, NULL)
           == NULL)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_starttls_handler(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e)
{
    ngx_xmpp_xml_t       *failure;
    ngx_xmpp_ssl_conf_t  *sslcf;

    sslcf = ngx_xmpp_host_conf(st->host, ngx_stream_ssl_module);

    /* a SASL exchange under way is none that TLS could protect any more */

    if (sslcf->ssl.ctx && st->sasl == NULL
        && st->conf->starttls != NGX_XMPP_STARTTLS_OFF)
    {
        /* the transport says <proceed/>, unless something lies behind this */

        st->securing = 1;

        return NGX_OK;
    }

    failure = ngx_xmpp_xml_create(st->pool, &ngx_xmpp_starttls_failure,
                                  &ngx_xmpp_ns_tls);
    if (failure == NULL) {
        return NGX_ERROR;
    }

    /* RFC 6120, 5.4.2.2: the stream ends */

    if (ngx_xmpp_stream_send(st, failure) == NGX_OK) {
        st->transport->close(st, NGX_XMPP_SE_NONE, NULL);
    }

    return NGX_OK;
}
