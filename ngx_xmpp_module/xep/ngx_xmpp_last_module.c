/*
 * Last activity (XEP-0012).
 *
 * Of the server (section 5): how long it has been running, by the age of the
 * configuration, which a reload renews.  The time when it was read is in each
 * host's configuration, which the cycle owns.
 *
 * Of an account (section 3): how long ago the user was available, which Redis
 * notes in the step that ends the last session.  Of a client (section 4): it
 * answers itself.  Both are for those only who may have the user's presence
 * (section 8), which the user's slot knows:
 *
 *     to a bare JID    asked --seconds, 0: available--> result
 *     to a full JID    asked --may--> routed on to the client
 *                        |  '--forbidden, blocked, Redis is away--> error
 *
 * Nothing else is kept; what waits is the stanza.
 */


#include "ngx_xmpp.h"


typedef struct {
    ngx_flag_t                  enable;         /* the core looks at it */
    time_t                      start;
} ngx_xmpp_last_conf_t;


static ngx_int_t ngx_xmpp_last_preconfiguration(ngx_conf_t *cf);
static void *ngx_xmpp_last_create_conf(ngx_conf_t *cf);
static char *ngx_xmpp_last_merge_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_xmpp_last_get(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_last_account(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_last_client(ngx_xmpp_stanza_t *stz);
static void ngx_xmpp_last_done(void *data, ngx_xmpp_store_result_t *res);
static ngx_int_t ngx_xmpp_last_reply(ngx_xmpp_stanza_t *stz,
    ngx_str_t *seconds);


static ngx_str_t  ngx_xmpp_last_ns = ngx_string("jabber:iq:last");
static ngx_str_t  ngx_xmpp_last_query = ngx_string("query");


static ngx_xmpp_xep_t  ngx_xmpp_last_xeps[] = {
    { 12, "2.0", "complete" },
    ngx_xmpp_null_xep
};


static ngx_str_t  ngx_xmpp_last_features[] = {
    ngx_string("jabber:iq:last"),
    ngx_null_string
};


static ngx_xmpp_iq_t  ngx_xmpp_last_iqs[] = {

    { NGX_XMPP_IQ_GET|NGX_XMPP_TO_HOST,
      ngx_string("jabber:iq:last"), ngx_string("query"),
      ngx_xmpp_last_get },

    { NGX_XMPP_IQ_GET|NGX_XMPP_TO_SELF|NGX_XMPP_TO_BARE,
      ngx_string("jabber:iq:last"), ngx_string("query"),
      ngx_xmpp_last_account },

      ngx_xmpp_null_iq
};


static ngx_xmpp_hook_t  ngx_xmpp_last_hooks[] = {

    { NGX_XMPP_DELIVER_PHASE, NGX_XMPP_IQ_GET|NGX_XMPP_TO_FULL,
      NGX_XMPP_ORDER_ANY, ngx_xmpp_last_client },

      ngx_xmpp_null_hook
};


static ngx_command_t  ngx_xmpp_last_commands[] = {

    { ngx_string("xmpp_last"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_last_conf_t, enable),
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_last_module_ctx = {
    ngx_xmpp_last_preconfiguration,        /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_last_create_conf,             /* create server configuration */
    ngx_xmpp_last_merge_conf               /* merge server configuration */
};


ngx_module_t  ngx_xmpp_last_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_last_module_ctx,             /* module context */
    ngx_xmpp_last_commands,                /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_last_feature = {
    &ngx_xmpp_last_module,
    ngx_xmpp_last_xeps,
    ngx_xmpp_last_features,
    NULL,                                  /* nonzas */
    NULL,                                  /* stream features */
    ngx_xmpp_last_iqs,
    ngx_xmpp_last_hooks,
    NULL,                                  /* events */
    NULL,                                  /* identities */
    NULL,                                  /* prepare */
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_last_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_last_feature);
}


static void *
ngx_xmpp_last_create_conf(ngx_conf_t *cf)
{
    ngx_xmpp_last_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_xmpp_last_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->enable = NGX_CONF_UNSET;
    conf->start = ngx_time();

    return conf;
}


static char *
ngx_xmpp_last_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_xmpp_last_conf_t *prev = parent;
    ngx_xmpp_last_conf_t *conf = child;

    ngx_conf_merge_value(conf->enable, prev->enable, 1);

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_xmpp_last_get(ngx_xmpp_stanza_t *stz)
{
    u_char                *p;
    ngx_str_t              seconds;
    ngx_xmpp_last_conf_t  *conf;

    conf = ngx_xmpp_host_conf(stz->host, ngx_xmpp_last_module);

    p = ngx_pnalloc(stz->pool, NGX_TIME_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    /* the clock may have been set back */

    seconds.data = p;
    seconds.len = ngx_sprintf(p, "%T", ngx_max(ngx_time() - conf->start, 0))
                  - p;

    return ngx_xmpp_last_reply(stz, &seconds);
}


/* XEP-0012, 3: on behalf of the user */

static ngx_int_t
ngx_xmpp_last_account(ngx_xmpp_stanza_t *stz)
{
    ngx_str_t            tag;
    ngx_xmpp_session_t  *xs;

    xs = stz->session;

    if (ngx_xmpp_store_tag(stz->pool, &stz->to.bare, &tag) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_xmpp_store_last(xs->worker->store, stz->pool, &tag,
                            ngx_xmpp_str_eq(&stz->to.bare, &xs->jid.bare)
                            ? NULL : &xs->jid.full,
                            ngx_xmpp_last_done, stz)
        == NULL)
    {
        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    return NGX_AGAIN;
}


/* XEP-0012, 4: it MUST NOT be delivered for one who may not ask */

static ngx_int_t
ngx_xmpp_last_client(ngx_xmpp_stanza_t *stz)
{
    ngx_xmpp_xml_t  *query;

    query = ngx_xmpp_stanza_payload(stz);

    if (!ngx_xmpp_xml_is(query, "query", &ngx_xmpp_last_ns)
        || ngx_xmpp_str_eq(&stz->to.bare, &stz->session->jid.bare))
    {
        return NGX_DECLINED;
    }

    return ngx_xmpp_last_account(stz);
}


static void
ngx_xmpp_last_done(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_stanza_t *stz = data;

    ngx_int_t    rc;
    redisReply  *first;

    if (res->rc == NGX_OK) {

        if (stz->mask & NGX_XMPP_TO_FULL) {
            rc = NGX_DECLINED;

        } else if (res->text.len == 0) {
            rc = NGX_XMPP_E_ITEM_NOT_FOUND;

        } else {
            rc = ngx_xmpp_last_reply(stz, &res->text);
        }

    } else if (res->rc == NGX_DECLINED) {
        first = res->reply->element[0];

        /* XEP-0191, 3.3, for one who is blocked */

        rc = (first->len == 4) ? NGX_XMPP_E_SERVICE_UNAVAILABLE
                               : NGX_XMPP_E_FORBIDDEN;

    } else {
        rc = NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    ngx_xmpp_stanza_resume(stz, rc);
}


static ngx_int_t
ngx_xmpp_last_reply(ngx_xmpp_stanza_t *stz, ngx_str_t *seconds)
{
    ngx_xmpp_xml_t  *query;

    query = ngx_xmpp_xml_create(stz->pool, &ngx_xmpp_last_query,
                                &ngx_xmpp_last_ns);

    if (query == NULL
        || ngx_xmpp_xml_set(stz->pool, query, "seconds", seconds) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_xmpp_reply(stz, query);
}
