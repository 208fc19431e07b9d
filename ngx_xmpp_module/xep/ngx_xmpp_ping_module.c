/*
 * Ping (XEP-0199): "are you there?", answered for the host and for the
 * sender's own account (4.2) by an empty result, in the turn in which it came.
 * One for a full JID is the client's to answer, and is routed; one for another
 * account is refused as any request is, so that it does not tell who exists.
 * The server's own question to an idle client is core/ngx_xmpp_idle.c.
 *
 * There is no state.
 */


#include "ngx_xmpp.h"


static ngx_int_t ngx_xmpp_ping_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_xmpp_ping_get(ngx_xmpp_stanza_t *stz);


static ngx_xmpp_xep_t  ngx_xmpp_ping_xeps[] = {
    { 199, "2.0.1", "complete" },
    ngx_xmpp_null_xep
};


static ngx_str_t  ngx_xmpp_ping_features[] = {
    ngx_string("urn:xmpp:ping"),
    ngx_null_string
};


static ngx_xmpp_iq_t  ngx_xmpp_ping_iqs[] = {

    { NGX_XMPP_IQ_GET|NGX_XMPP_TO_HOST|NGX_XMPP_TO_SELF,
      ngx_string("urn:xmpp:ping"), ngx_string("ping"),
      ngx_xmpp_ping_get },

      ngx_xmpp_null_iq
};


static ngx_command_t  ngx_xmpp_ping_commands[] = {

    { ngx_string("xmpp_ping"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_feature_conf_t, enable),
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_ping_module_ctx = {
    ngx_xmpp_ping_preconfiguration,      /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_feature_create_conf,          /* create server configuration */
    ngx_xmpp_feature_merge_on              /* merge server configuration */
};


ngx_module_t  ngx_xmpp_ping_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_ping_module_ctx,           /* module context */
    ngx_xmpp_ping_commands,              /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_ping_feature = {
    &ngx_xmpp_ping_module,
    ngx_xmpp_ping_xeps,
    ngx_xmpp_ping_features,
    NULL,                                  /* nonzas */
    NULL,                                  /* stream features */
    ngx_xmpp_ping_iqs,
    NULL,                                  /* hooks */
    NULL,                                  /* events */
    NULL,                                  /* identities */
    NULL,                                  /* prepare */
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_ping_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_ping_feature);
}


static ngx_int_t
ngx_xmpp_ping_get(ngx_xmpp_stanza_t *stz)
{
    return ngx_xmpp_reply(stz, NULL);
}
