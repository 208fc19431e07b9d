/*
 * Software version (XEP-0092): the host tells name and version of this module,
 * not nginx's, which is server_tokens' business.  The operating system is
 * optional and not told: it may help an attacker (section 5).
 *
 * There is no state: all of the answer is constant.
 */


#include "ngx_xmpp.h"


static ngx_int_t ngx_xmpp_version_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_xmpp_version_get(ngx_xmpp_stanza_t *stz);


static ngx_str_t  ngx_xmpp_version_query = ngx_string("query");
static ngx_str_t  ngx_xmpp_version_ns = ngx_string("jabber:iq:version");
static ngx_str_t  ngx_xmpp_version_name = ngx_string("name");
static ngx_str_t  ngx_xmpp_version_version = ngx_string("version");
static ngx_str_t  ngx_xmpp_version_software = ngx_string("ngx_xmpp_module");
static ngx_str_t  ngx_xmpp_version_value = ngx_string(NGX_XMPP_VERSION);


static ngx_xmpp_xep_t  ngx_xmpp_version_xeps[] = {
    { 92, "1.1", "complete" },
    ngx_xmpp_null_xep
};


static ngx_str_t  ngx_xmpp_version_features[] = {
    ngx_string("jabber:iq:version"),
    ngx_null_string
};


static ngx_xmpp_iq_t  ngx_xmpp_version_iqs[] = {

    { NGX_XMPP_IQ_GET|NGX_XMPP_TO_HOST,
      ngx_string("jabber:iq:version"), ngx_string("query"),
      ngx_xmpp_version_get },

      ngx_xmpp_null_iq
};


static ngx_command_t  ngx_xmpp_version_commands[] = {

    { ngx_string("xmpp_version"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_feature_conf_t, enable),
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_version_module_ctx = {
    ngx_xmpp_version_preconfiguration,   /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_feature_create_conf,          /* create server configuration */
    ngx_xmpp_feature_merge_on              /* merge server configuration */
};


ngx_module_t  ngx_xmpp_version_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_version_module_ctx,        /* module context */
    ngx_xmpp_version_commands,           /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_version_feature = {
    &ngx_xmpp_version_module,
    ngx_xmpp_version_xeps,
    ngx_xmpp_version_features,
    NULL,                                  /* nonzas */
    NULL,                                  /* stream features */
    ngx_xmpp_version_iqs,
    NULL,                                  /* hooks */
    NULL,                                  /* events */
    NULL,                                  /* identities */
    NULL,                                  /* prepare */
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_version_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_version_feature);
}


static ngx_int_t
ngx_xmpp_version_get(ngx_xmpp_stanza_t *stz)
{
    ngx_xmpp_xml_t  *query, *e;

    query = ngx_xmpp_xml_create(stz->pool, &ngx_xmpp_version_query,
                                &ngx_xmpp_version_ns);
    if (query == NULL) {
        return NGX_ERROR;
    }

    e = ngx_xmpp_xml_add(stz->pool, query, &ngx_xmpp_version_name, NULL);

    if (e == NULL
        || ngx_xmpp_xml_add_text(stz->pool, e, &ngx_xmpp_version_software)
           == NULL)
    {
        return NGX_ERROR;
    }

    e = ngx_xmpp_xml_add(stz->pool, query, &ngx_xmpp_version_version, NULL);

    if (e == NULL
        || ngx_xmpp_xml_add_text(stz->pool, e, &ngx_xmpp_version_value)
           == NULL)
    {
        return NGX_ERROR;
    }

    return ngx_xmpp_reply(stz, query);
}
