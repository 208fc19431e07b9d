/*
 * Stream limits (XEP-0478): <limits/> among the stream features tells what the
 * listener takes, so that nobody has to find out by losing a connection.
 *
 *     before authentication    what is left of xmpp_preauth_bytes
 *     after it                 xmpp_max_stanza and xmpp_idle_timeout
 *
 * An element that has exactly max-bytes is taken.
 */


#include "ngx_xmpp.h"


static ngx_int_t ngx_xmpp_stream_limits_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_xmpp_stream_limits_write(ngx_xmpp_stream_t *st,
    ngx_pool_t *pool, ngx_xmpp_xml_t *features);
static ngx_int_t ngx_xmpp_stream_limits_add(ngx_pool_t *pool,
    ngx_xmpp_xml_t *limits, ngx_str_t *name, size_t n);


static ngx_str_t  ngx_xmpp_stream_limits_ns =
    ngx_string("urn:xmpp:stream-limits:0");
static ngx_str_t  ngx_xmpp_stream_limits_name = ngx_string("limits");
static ngx_str_t  ngx_xmpp_stream_limits_bytes = ngx_string("max-bytes");
static ngx_str_t  ngx_xmpp_stream_limits_idle = ngx_string("idle-seconds");


static ngx_xmpp_xep_t  ngx_xmpp_stream_limits_xeps[] = {
    { 478, "0.2.0", "of clients' streams" },
    ngx_xmpp_null_xep
};


static ngx_xmpp_stream_feature_t  ngx_xmpp_stream_limits_features[] = {

    { NGX_XMPP_ST_PLAIN|NGX_XMPP_ST_SECURE|NGX_XMPP_ST_AUTH,
      NGX_XMPP_ORDER_ANY, ngx_xmpp_stream_limits_write },

      ngx_xmpp_null_stream_feature
};


static ngx_command_t  ngx_xmpp_stream_limits_commands[] = {

    { ngx_string("xmpp_stream_limits"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_feature_conf_t, enable),
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_stream_limits_module_ctx = {
    ngx_xmpp_stream_limits_preconfiguration,  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_feature_create_conf,          /* create server configuration */
    ngx_xmpp_feature_merge_on              /* merge server configuration */
};


ngx_module_t  ngx_xmpp_stream_limits_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_stream_limits_module_ctx,    /* module context */
    ngx_xmpp_stream_limits_commands,       /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_stream_limits_feature = {
    &ngx_xmpp_stream_limits_module,
    ngx_xmpp_stream_limits_xeps,
    NULL,                                  /* disco features */
    NULL,                                  /* nonzas */
    ngx_xmpp_stream_limits_features,
    NULL,                                  /* iqs */
    NULL,                                  /* hooks */
    NULL,                                  /* events */
    NULL,                                  /* identities */
    NULL,                                  /* prepare */
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_stream_limits_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_stream_limits_feature);
}


/* 3.1, and 4: they may be others once the client is authenticated */

static ngx_int_t
ngx_xmpp_stream_limits_write(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_xml_t *features)
{
    size_t           bytes;
    ngx_uint_t       idle;
    ngx_xmpp_xml_t  *limits;

    bytes = st->conf->limits.max_stanza;
    idle = st->conf->idle_timeout / 1000;

    if (st->user.len == 0) {
        bytes = ngx_min(bytes, st->conf->preauth_bytes - st->received);
        idle = 0;
    }

    limits = ngx_xmpp_xml_add(pool, features, &ngx_xmpp_stream_limits_name,
                              &ngx_xmpp_stream_limits_ns);

    if (limits == NULL
        || ngx_xmpp_stream_limits_add(pool, limits,
                                      &ngx_xmpp_stream_limits_bytes, bytes)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (idle == 0) {
        return NGX_OK;
    }

    return ngx_xmpp_stream_limits_add(pool, limits,
                                      &ngx_xmpp_stream_limits_idle, idle);
}


static ngx_int_t
ngx_xmpp_stream_limits_add(ngx_pool_t *pool, ngx_xmpp_xml_t *limits,
    ngx_str_t *name, size_t n)
{
    ngx_str_t        text;
    ngx_xmpp_xml_t  *e;

    text.data = ngx_pnalloc(pool, NGX_SIZE_T_LEN);
    if (text.data == NULL) {
        return NGX_ERROR;
    }

    text.len = ngx_sprintf(text.data, "%uz", n) - text.data;

    e = ngx_xmpp_xml_add(pool, limits, name, NULL);

    return (e && ngx_xmpp_xml_add_text(pool, e, &text)) ? NGX_OK : NGX_ERROR;
}
