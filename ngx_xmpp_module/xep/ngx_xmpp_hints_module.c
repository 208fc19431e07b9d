/*
 * Message processing hints (XEP-0334): whether those of a domain's users are
 * heeded.  That is one bit of the host, set at configuration; there is no state
 * besides, and nothing waits.
 *
 *     <no-copy/> (4.3)                  core/ngx_xmpp_carbon.c
 *     <no-store/> (4.2), <store/> (4.4) core/ngx_xmpp_inbox_keep.c
 *     <no-permanent-store/> (4.1)       the same, for archives
 *
 * All hints go on to the recipient.
 */


#include "ngx_xmpp.h"


static ngx_int_t ngx_xmpp_hints_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_xmpp_hints_prepare(ngx_conf_t *cf, ngx_xmpp_host_t *h);


static ngx_xmpp_xep_t  ngx_xmpp_hints_xeps[] = {
    { 334, "1.0.0", "complete" },
    ngx_xmpp_null_xep
};


static ngx_str_t  ngx_xmpp_hints_features[] = {
    ngx_string("urn:xmpp:hints"),
    ngx_null_string
};


static ngx_command_t  ngx_xmpp_hints_commands[] = {

    { ngx_string("xmpp_hints"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_feature_conf_t, enable),
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_hints_module_ctx = {
    ngx_xmpp_hints_preconfiguration,       /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_feature_create_conf,          /* create server configuration */
    ngx_xmpp_feature_merge_on              /* merge server configuration */
};


ngx_module_t  ngx_xmpp_hints_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_hints_module_ctx,            /* module context */
    ngx_xmpp_hints_commands,               /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_hints_feature = {
    &ngx_xmpp_hints_module,
    ngx_xmpp_hints_xeps,
    ngx_xmpp_hints_features,
    NULL,                                  /* nonzas */
    NULL,                                  /* stream features */
    NULL,                                  /* iqs */
    NULL,                                  /* hooks */
    NULL,                                  /* events */
    NULL,                                  /* identities */
    ngx_xmpp_hints_prepare,                /* prepare */
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_hints_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_hints_feature);
}


static ngx_int_t
ngx_xmpp_hints_prepare(ngx_conf_t *cf, ngx_xmpp_host_t *h)
{
    h->hints = 1;

    return NGX_OK;
}
