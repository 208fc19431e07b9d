/*
 * Service discovery (XEP-0030): what a host and an account are and can do.
 *
 * A host's features are those of the enabled modules, compiled by the core.
 * Of accounts only one's own is told about: without a subscription an answer
 * would tell who exists (section 8).
 */


#include "ngx_xmpp.h"


static ngx_int_t ngx_xmpp_disco_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_xmpp_disco_info(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_disco_items(ngx_xmpp_stanza_t *stz);
static ngx_xmpp_xml_t *ngx_xmpp_disco_query(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_disco_identity(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_xml_t *query);
static ngx_int_t ngx_xmpp_disco_add(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_xml_t *query, ngx_str_t *var);


static ngx_str_t  ngx_xmpp_disco_query_name = ngx_string("query");
static ngx_str_t  ngx_xmpp_disco_identity_name = ngx_string("identity");
static ngx_str_t  ngx_xmpp_disco_feature_name = ngx_string("feature");
static ngx_str_t  ngx_xmpp_disco_server = ngx_string("server");
static ngx_str_t  ngx_xmpp_disco_im = ngx_string("im");
static ngx_str_t  ngx_xmpp_disco_account = ngx_string("account");
static ngx_str_t  ngx_xmpp_disco_registered = ngx_string("registered");
static ngx_str_t  ngx_xmpp_disco_anonymous = ngx_string("anonymous");
static ngx_str_t  ngx_xmpp_disco_software = ngx_string("ngx_xmpp_module");


static ngx_xmpp_xep_t  ngx_xmpp_disco_xeps[] = {
    { 30, "2.5.0", "complete" },
    ngx_xmpp_null_xep
};


static ngx_str_t  ngx_xmpp_disco_features[] = {
    ngx_string("http://jabber.org/protocol/disco#info"),
    ngx_string("http://jabber.org/protocol/disco#items"),
    ngx_null_string
};


static ngx_xmpp_iq_t  ngx_xmpp_disco_iqs[] = {

    { NGX_XMPP_IQ_GET|NGX_XMPP_TO_HOST|NGX_XMPP_TO_SELF,
      ngx_string("http://jabber.org/protocol/disco#info"),
      ngx_string("query"),
      ngx_xmpp_disco_info },

    { NGX_XMPP_IQ_GET|NGX_XMPP_TO_HOST|NGX_XMPP_TO_SELF,
      ngx_string("http://jabber.org/protocol/disco#items"),
      ngx_string("query"),
      ngx_xmpp_disco_items },

      ngx_xmpp_null_iq
};


static ngx_command_t  ngx_xmpp_disco_commands[] = {

    { ngx_string("xmpp_disco"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_feature_conf_t, enable),
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_disco_module_ctx = {
    ngx_xmpp_disco_preconfiguration,     /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_feature_create_conf,          /* create server configuration */
    ngx_xmpp_feature_merge_on              /* merge server configuration */
};


ngx_module_t  ngx_xmpp_disco_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_disco_module_ctx,          /* module context */
    ngx_xmpp_disco_commands,             /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_disco_feature = {
    &ngx_xmpp_disco_module,
    ngx_xmpp_disco_xeps,
    ngx_xmpp_disco_features,
    NULL,                                  /* nonzas */
    NULL,                                  /* stream features */
    ngx_xmpp_disco_iqs,
    NULL,                                  /* hooks */
    NULL                                   /* events */
};


static ngx_int_t
ngx_xmpp_disco_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_disco_feature);
}


static ngx_int_t
ngx_xmpp_disco_info(ngx_xmpp_stanza_t *stz)
{
    ngx_str_t       *f;
    ngx_uint_t       i, n;
    ngx_xmpp_xml_t  *query;

    /* 3.2: we have no nodes */

    if (ngx_xmpp_xml_attr(ngx_xmpp_stanza_payload(stz), "node")) {
        return NGX_XMPP_E_ITEM_NOT_FOUND;
    }

    query = ngx_xmpp_disco_query(stz);

    if (query == NULL || ngx_xmpp_disco_identity(stz, query) != NGX_OK) {
        return NGX_ERROR;
    }

    if (stz->mask & NGX_XMPP_TO_HOST) {
        f = stz->host->features.elts;
        n = stz->host->features.nelts;

    } else {
        f = ngx_xmpp_disco_features;
        n = 2;
    }

    for (i = 0; i < n; i++) {
        if (ngx_xmpp_disco_add(stz, query, &f[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return ngx_xmpp_reply(stz, query);
}


/* 4.1: an entity without items has an empty list */

static ngx_int_t
ngx_xmpp_disco_items(ngx_xmpp_stanza_t *stz)
{
    ngx_xmpp_xml_t  *query;

    if (ngx_xmpp_xml_attr(ngx_xmpp_stanza_payload(stz), "node")) {
        return NGX_XMPP_E_ITEM_NOT_FOUND;
    }

    query = ngx_xmpp_disco_query(stz);

    return query ? ngx_xmpp_reply(stz, query) : NGX_ERROR;
}


static ngx_xmpp_xml_t *
ngx_xmpp_disco_query(ngx_xmpp_stanza_t *stz)
{
    return ngx_xmpp_xml_create(stz->pool, &ngx_xmpp_disco_query_name,
                               &ngx_xmpp_stanza_payload(stz)->ns);
}


static ngx_int_t
ngx_xmpp_disco_identity(ngx_xmpp_stanza_t *stz, ngx_xmpp_xml_t *query)
{
    ngx_str_t       *type;
    ngx_uint_t       host;
    ngx_xmpp_xml_t  *e;

    host = stz->mask & NGX_XMPP_TO_HOST;

    /* XEP-0175, 4: who has no account is told so */

    type = host ? &ngx_xmpp_disco_im
           : stz->session->lifetime ? &ngx_xmpp_disco_anonymous
                                    : &ngx_xmpp_disco_registered;

    e = ngx_xmpp_xml_add(stz->pool, query, &ngx_xmpp_disco_identity_name,
                         NULL);

    if (e == NULL
        || ngx_xmpp_xml_set(stz->pool, e, "category",
                            host ? &ngx_xmpp_disco_server
                                 : &ngx_xmpp_disco_account)
           != NGX_OK
        || ngx_xmpp_xml_set(stz->pool, e, "type", type) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return host ? ngx_xmpp_xml_set(stz->pool, e, "name",
                                   &ngx_xmpp_disco_software)
                : NGX_OK;
}


static ngx_int_t
ngx_xmpp_disco_add(ngx_xmpp_stanza_t *stz, ngx_xmpp_xml_t *query,
    ngx_str_t *var)
{
    ngx_xmpp_xml_t  *e;

    e = ngx_xmpp_xml_add(stz->pool, query, &ngx_xmpp_disco_feature_name,
                         NULL);

    return e ? ngx_xmpp_xml_set(stz->pool, e, "var", var) : NGX_ERROR;
}
