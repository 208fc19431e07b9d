/*
 * Carbons (XEP-0280): a session asks for copies of what the other sessions of
 * its account send and receive (4), or does not want them any more (5).
 *
 *     enable, disable --letter c of the session's record--> result
 *                     '--Redis is away, or the record is another's--> error
 *
 * The letter is all of the state: Redis keeps it with the record, the session
 * has a copy, and it ends with both (core/ngx_xmpp_session_flag.c, where the iq
 * waits).  Which messages are copied, and how, is core/ngx_xmpp_carbon.c.
 */


#include "ngx_xmpp.h"


static ngx_int_t ngx_xmpp_carbons_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_xmpp_carbons_prepare(ngx_conf_t *cf,
    ngx_xmpp_host_t *h);
static ngx_int_t ngx_xmpp_carbons_enable(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_carbons_disable(ngx_xmpp_stanza_t *stz);


static ngx_xmpp_xep_t  ngx_xmpp_carbons_xeps[] = {
    { 249, "1.2", "they are copied" },
    { 280, "1.0.1", "errors by their content" },
    { 297, "1.0", "of carbons" },
    ngx_xmpp_null_xep
};


static ngx_str_t  ngx_xmpp_carbons_features[] = {
    ngx_string("urn:xmpp:carbons:2"),
    ngx_null_string
};


static ngx_xmpp_iq_t  ngx_xmpp_carbons_iqs[] = {

    { NGX_XMPP_IQ_SET|NGX_XMPP_TO_SELF,
      ngx_string("urn:xmpp:carbons:2"), ngx_string("enable"),
      ngx_xmpp_carbons_enable },

    { NGX_XMPP_IQ_SET|NGX_XMPP_TO_SELF,
      ngx_string("urn:xmpp:carbons:2"), ngx_string("disable"),
      ngx_xmpp_carbons_disable },

      ngx_xmpp_null_iq
};


static ngx_command_t  ngx_xmpp_carbons_commands[] = {

    { ngx_string("xmpp_carbons"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_feature_conf_t, enable),
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_carbons_module_ctx = {
    ngx_xmpp_carbons_preconfiguration,     /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_feature_create_conf,          /* create server configuration */
    ngx_xmpp_feature_merge_on              /* merge server configuration */
};


ngx_module_t  ngx_xmpp_carbons_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_carbons_module_ctx,          /* module context */
    ngx_xmpp_carbons_commands,             /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_carbons_feature = {
    &ngx_xmpp_carbons_module,
    ngx_xmpp_carbons_xeps,
    ngx_xmpp_carbons_features,
    NULL,                                  /* nonzas */
    NULL,                                  /* stream features */
    ngx_xmpp_carbons_iqs,
    NULL,                                  /* hooks */
    NULL,                                  /* events */
    NULL,                                  /* identities */
    ngx_xmpp_carbons_prepare,              /* prepare */
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_carbons_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_carbons_feature);
}


static ngx_int_t
ngx_xmpp_carbons_prepare(ngx_conf_t *cf, ngx_xmpp_host_t *h)
{
    h->carbons = 1;

    return NGX_OK;
}


/* XEP-0280, 4; 10.1: again and again, if it likes */

static ngx_int_t
ngx_xmpp_carbons_enable(ngx_xmpp_stanza_t *stz)
{
    return ngx_xmpp_session_ask_flag(stz, NGX_XMPP_CARBON_FLAG, 1);
}


static ngx_int_t
ngx_xmpp_carbons_disable(ngx_xmpp_stanza_t *stz)
{
    return ngx_xmpp_session_ask_flag(stz, NGX_XMPP_CARBON_FLAG, 0);
}
