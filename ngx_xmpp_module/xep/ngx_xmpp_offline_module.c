/*
 * Messages for who is away (XEP-0160): how much is kept for an account.  What
 * is kept, and how it is handed out, is core/ngx_xmpp_inbox.c.
 *
 * The limits are a text of the host, made at configuration, for the Function
 * that routes.  Without them nothing is kept, and what was kept before is
 * handed out all the same.
 */


#include "ngx_xmpp.h"


/* by default: of all messages for an account */
#define NGX_XMPP_OFFLINE_MESSAGES     1000
#define NGX_XMPP_OFFLINE_SIZE         2097152


typedef struct {
    ngx_flag_t                  enable;         /* the core looks at it */
    ngx_int_t                   messages;
    size_t                      size;           /* bytes of them all */
} ngx_xmpp_offline_conf_t;


static ngx_int_t ngx_xmpp_offline_preconfiguration(ngx_conf_t *cf);
static void *ngx_xmpp_offline_create_conf(ngx_conf_t *cf);
static char *ngx_xmpp_offline_merge_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_xmpp_offline_prepare(ngx_conf_t *cf,
    ngx_xmpp_host_t *h);


static ngx_xmpp_xep_t  ngx_xmpp_offline_xeps[] = {
    { 160, "1.0.1", "complete" },
    { 203, "2.0", "of messages that were kept" },
    ngx_xmpp_null_xep
};


static ngx_str_t  ngx_xmpp_offline_features[] = {
    ngx_string("msgoffline"),
    ngx_null_string
};


static ngx_command_t  ngx_xmpp_offline_commands[] = {

    { ngx_string("xmpp_offline"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_offline_conf_t, enable),
      NULL },

    { ngx_string("xmpp_offline_messages"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_offline_conf_t, messages),
      &ngx_xmpp_conf_positive },

    { ngx_string("xmpp_offline_size"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_size_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_offline_conf_t, size),
      &ngx_xmpp_conf_positive },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_offline_module_ctx = {
    ngx_xmpp_offline_preconfiguration,     /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_offline_create_conf,          /* create server configuration */
    ngx_xmpp_offline_merge_conf            /* merge server configuration */
};


ngx_module_t  ngx_xmpp_offline_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_offline_module_ctx,          /* module context */
    ngx_xmpp_offline_commands,             /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_offline_feature = {
    &ngx_xmpp_offline_module,
    ngx_xmpp_offline_xeps,
    ngx_xmpp_offline_features,
    NULL,                                  /* nonzas */
    NULL,                                  /* stream features */
    NULL,                                  /* iqs */
    NULL,                                  /* hooks */
    NULL,                                  /* events */
    NULL,                                  /* identities */
    ngx_xmpp_offline_prepare,              /* prepare */
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_offline_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_offline_feature);
}


static void *
ngx_xmpp_offline_create_conf(ngx_conf_t *cf)
{
    ngx_xmpp_offline_conf_t  *conf;

    conf = ngx_palloc(cf->pool, sizeof(ngx_xmpp_offline_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->enable = NGX_CONF_UNSET;
    conf->messages = NGX_CONF_UNSET;
    conf->size = NGX_CONF_UNSET_SIZE;

    return conf;
}


static char *
ngx_xmpp_offline_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_xmpp_offline_conf_t *prev = parent;
    ngx_xmpp_offline_conf_t *conf = child;

    ngx_conf_merge_value(conf->enable, prev->enable, 1);
    ngx_conf_merge_value(conf->messages, prev->messages,
                         NGX_XMPP_OFFLINE_MESSAGES);
    ngx_conf_merge_size_value(conf->size, prev->size,
                              NGX_XMPP_OFFLINE_SIZE);

    return NGX_CONF_OK;
}


/* XEP-0160 has no number: so many, or so much, per account */

static ngx_int_t
ngx_xmpp_offline_prepare(ngx_conf_t *cf, ngx_xmpp_host_t *h)
{
    u_char                   *p;
    ngx_xmpp_main_conf_t     *xmcf;
    ngx_xmpp_offline_conf_t  *conf;

    conf = ngx_xmpp_host_conf(h, ngx_xmpp_offline_module);

    xmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_xmpp_module);

    h->durable = (xmcf->durability != NGX_XMPP_DURABILITY_NONE);

    p = ngx_pnalloc(cf->pool, NGX_INT_T_LEN + 1 + NGX_SIZE_T_LEN + 2);
    if (p == NULL) {
        return NGX_ERROR;
    }

    h->keep.data = p;
    h->keep.len = ngx_sprintf(p, "%i %uz%s", conf->messages, conf->size,
                              h->durable ? "" : " -")
                  - p;

    return NGX_OK;
}
