/*
 * Rosters (RFC 6121, 2) and subscriptions (3): the tables, and the roster as a
 * client asks for it (2.2), with versions (2.6).
 *
 *     get --xmpp1_roster_get--> all items, in the answer
 *                           '-> an empty answer, then a push for each that is
 *                               newer than what the client has (2.6.3)
 *
 * A session that has asked gets pushes from then on: flag r of its record,
 * which the same Function sets, so that no change falls between.  What rings
 * before the answer has come is held back, since it is newer.
 *
 * Items are kept as they are sent: nothing is parsed, and an answer is made of
 * slices of the reply.  The client goes meanwhile: the iq is handled to its
 * end.  Redis goes: error wait.
 *
 * ngx_xmpp_roster_set.c has changes, ngx_xmpp_roster_subscription.c the rest.
 */


#include "ngx_xmpp_roster.h"


/* by default */
#define NGX_XMPP_ROSTER_ITEMS         1000
#define NGX_XMPP_ROSTER_SIZE          262144


typedef struct {
    ngx_xmpp_stanza_t          *stanza;
    ngx_xmpp_store_session_t    record;
} ngx_xmpp_roster_get_t;


static ngx_int_t ngx_xmpp_roster_preconfiguration(ngx_conf_t *cf);
static void *ngx_xmpp_roster_create_conf(ngx_conf_t *cf);
static char *ngx_xmpp_roster_merge_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_xmpp_roster_versions(ngx_xmpp_stream_t *st,
    ngx_pool_t *pool, ngx_xmpp_xml_t *features);
static ngx_int_t ngx_xmpp_roster_approval(ngx_xmpp_stream_t *st,
    ngx_pool_t *pool, ngx_xmpp_xml_t *features);
static ngx_int_t ngx_xmpp_roster_forbidden(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_roster_get(ngx_xmpp_stanza_t *stz);
static void ngx_xmpp_roster_got(void *data, ngx_xmpp_store_result_t *res);
static ngx_int_t ngx_xmpp_roster_answer(ngx_xmpp_stanza_t *stz,
    redisReply *reply);
static void ngx_xmpp_roster_pushes(ngx_xmpp_session_t *xs, redisReply *reply);


ngx_str_t  ngx_xmpp_roster_ns = ngx_string("jabber:iq:roster");

static ngx_str_t  ngx_xmpp_roster_ver = ngx_string("ver");
static ngx_str_t  ngx_xmpp_roster_ver_ns =
    ngx_string("urn:xmpp:features:rosterver");
static ngx_str_t  ngx_xmpp_roster_sub = ngx_string("sub");
static ngx_str_t  ngx_xmpp_roster_sub_ns =
    ngx_string("urn:xmpp:features:pre-approval");


static ngx_conf_num_bounds_t  ngx_xmpp_roster_items = {
    ngx_conf_check_num_bounds, 1, 100000
};


static ngx_xmpp_xep_t  ngx_xmpp_roster_xeps[] = {
    { 6121, NULL, "sections 2 and 3, without other servers" },
    { 237, "1.3", "complete" },
    ngx_xmpp_null_xep
};


static ngx_xmpp_stream_feature_t  ngx_xmpp_roster_stream_features[] = {

    { NGX_XMPP_ST_AUTH, NGX_XMPP_ORDER_ANY, ngx_xmpp_roster_versions },

    { NGX_XMPP_ST_AUTH, NGX_XMPP_ORDER_ANY, ngx_xmpp_roster_approval },

      ngx_xmpp_null_stream_feature
};


static ngx_xmpp_iq_t  ngx_xmpp_roster_iqs[] = {

    { NGX_XMPP_IQ_GET|NGX_XMPP_TO_SELF,
      ngx_string("jabber:iq:roster"), ngx_string("query"),
      ngx_xmpp_roster_get },

    { NGX_XMPP_IQ_SET|NGX_XMPP_TO_SELF,
      ngx_string("jabber:iq:roster"), ngx_string("query"),
      ngx_xmpp_roster_set },

    { NGX_XMPP_IQ_GET|NGX_XMPP_IQ_SET|NGX_XMPP_TO_BARE,
      ngx_string("jabber:iq:roster"), ngx_string("query"),
      ngx_xmpp_roster_forbidden },

      ngx_xmpp_null_iq
};


static ngx_xmpp_hook_t  ngx_xmpp_roster_hooks[] = {

    { NGX_XMPP_SEND_PHASE, NGX_XMPP_PRESENCE|NGX_XMPP_TO_ANY,
      NGX_XMPP_ORDER_SUBSCRIPTION, ngx_xmpp_roster_subscribe },

      ngx_xmpp_null_hook
};


static ngx_command_t  ngx_xmpp_roster_commands[] = {

    { ngx_string("xmpp_roster"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_roster_conf_t, feature.enable),
      NULL },

    { ngx_string("xmpp_roster_max_items"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_roster_conf_t, max_items),
      &ngx_xmpp_roster_items },

    { ngx_string("xmpp_roster_size"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_size_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_roster_conf_t, max_size),
      &ngx_xmpp_conf_positive },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_roster_module_ctx = {
    ngx_xmpp_roster_preconfiguration,      /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_roster_create_conf,           /* create server configuration */
    ngx_xmpp_roster_merge_conf             /* merge server configuration */
};


ngx_module_t  ngx_xmpp_roster_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_roster_module_ctx,           /* module context */
    ngx_xmpp_roster_commands,              /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_roster_feature = {
    &ngx_xmpp_roster_module,
    ngx_xmpp_roster_xeps,
    NULL,                                  /* disco features */
    NULL,                                  /* nonzas */
    ngx_xmpp_roster_stream_features,
    ngx_xmpp_roster_iqs,
    ngx_xmpp_roster_hooks,
    NULL,                                  /* events */
    NULL,                                  /* identities */
    NULL,                                  /* prepare */
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_roster_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_roster_feature);
}


static void *
ngx_xmpp_roster_create_conf(ngx_conf_t *cf)
{
    ngx_xmpp_roster_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_xmpp_roster_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->feature.enable = NGX_CONF_UNSET;
    conf->max_items = NGX_CONF_UNSET_UINT;
    conf->max_size = NGX_CONF_UNSET_SIZE;

    return conf;
}


static char *
ngx_xmpp_roster_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_xmpp_roster_conf_t *prev = parent;
    ngx_xmpp_roster_conf_t *conf = child;

    ngx_conf_merge_value(conf->feature.enable, prev->feature.enable, 1);
    ngx_conf_merge_uint_value(conf->max_items, prev->max_items,
                              NGX_XMPP_ROSTER_ITEMS);
    ngx_conf_merge_size_value(conf->max_size, prev->max_size,
                              NGX_XMPP_ROSTER_SIZE);

    return NGX_CONF_OK;
}


/* 2.6.1 */

static ngx_int_t
ngx_xmpp_roster_versions(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_xml_t *features)
{
    return ngx_xmpp_xml_add(pool, features, &ngx_xmpp_roster_ver,
                            &ngx_xmpp_roster_ver_ns)
           ? NGX_OK : NGX_ERROR;
}


/* 3.4.1 */

static ngx_int_t
ngx_xmpp_roster_approval(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_xml_t *features)
{
    return ngx_xmpp_xml_add(pool, features, &ngx_xmpp_roster_sub,
                            &ngx_xmpp_roster_sub_ns)
           ? NGX_OK : NGX_ERROR;
}


/* 2.3.3: another's roster; the same whether there is such an account or not */

static ngx_int_t
ngx_xmpp_roster_forbidden(ngx_xmpp_stanza_t *stz)
{
    return NGX_XMPP_E_FORBIDDEN;
}


void
ngx_xmpp_roster_item(ngx_xmpp_session_t *xs, ngx_str_t *contact,
    ngx_xmpp_store_item_t *it)
{
    ngx_xmpp_roster_conf_t  *rcf;

    rcf = ngx_xmpp_host_conf(xs->host, ngx_xmpp_roster_module);

    ngx_memzero(it, sizeof(ngx_xmpp_store_item_t));

    it->tag = &xs->account->sn.str;
    it->user = xs->jid.bare;
    it->contact = *contact;
    it->max_items = rcf->max_items;
    it->max_size = rcf->max_size;
}


static ngx_int_t
ngx_xmpp_roster_get(ngx_xmpp_stanza_t *stz)
{
    ngx_str_t              *version;
    ngx_xmpp_xml_t         *query;
    ngx_xmpp_session_t     *xs;
    ngx_xmpp_roster_get_t  *get;

    xs = stz->session;
    query = ngx_xmpp_stanza_payload(stz);

    /* 2.1.3: a get has no item */

    if (ngx_xmpp_xml_elements(query)) {
        return NGX_XMPP_E_BAD_REQUEST;
    }

    version = ngx_xmpp_xml_attr(query, "ver");

    get = ngx_palloc(stz->pool, sizeof(ngx_xmpp_roster_get_t));
    if (get == NULL) {
        return NGX_ERROR;
    }

    get->stanza = stz;
    ngx_xmpp_session_record(xs, &get->record);

    if (ngx_xmpp_store_roster_get(xs->worker->store, stz->pool, &get->record,
                                  &xs->jid.bare, version, ngx_xmpp_roster_got,
                                  get)
        == NULL)
    {
        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    ngx_xmpp_session_hold(xs);

    return NGX_AGAIN;
}


static void
ngx_xmpp_roster_got(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_roster_get_t *get = data;

    ngx_int_t            rc;
    ngx_xmpp_stanza_t   *stz;
    ngx_xmpp_session_t  *xs;

    stz = get->stanza;
    xs = stz->session;

    if (res->rc == NGX_DECLINED) {

        /* the record is another's by now, or was lost: that decides */

        ngx_xmpp_session_reassert(xs);
    }

    rc = NGX_XMPP_E_RESOURCE_CONSTRAINT;

    if (res->rc == NGX_OK && res->reply->elements >= 4) {
        ngx_xmpp_session_set_flag(xs, NGX_XMPP_FLAG_ROSTER, 1);
        rc = ngx_xmpp_roster_answer(stz, res->reply);
    }

    ngx_xmpp_session_release(xs);
    ngx_xmpp_stanza_resume(stz, rc);
}


/* the result, and what has changed since the client's version */

static ngx_int_t
ngx_xmpp_roster_answer(ngx_xmpp_stanza_t *stz, redisReply *reply)
{
    size_t           i, n;
    ngx_str_t        ver, *items;
    redisReply      *r;
    ngx_xmpp_xml_t  *query;

    r = reply->element[3];

    if (r->type == REDIS_REPLY_STRING && r->len == sizeof("since") - 1) {

        /* 2.6.3: nothing in it, then pushes */

        if (ngx_xmpp_reply(stz, NULL) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_xmpp_roster_pushes(stz->session, reply);

        return NGX_OK;
    }

    n = reply->elements - 4;

    query = ngx_xmpp_xml_create(stz->pool, &ngx_xmpp_stanza_payload(stz)->name,
                                &ngx_xmpp_roster_ns);
    items = ngx_palloc(stz->pool, (n + 1) * sizeof(ngx_str_t));

    if (query == NULL || items == NULL) {
        return NGX_ERROR;
    }

    ver.data = (u_char *) reply->element[1]->str;
    ver.len = reply->element[1]->len;

    if (ngx_xmpp_xml_set(stz->pool, query, "ver", &ver) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        items[i].data = (u_char *) reply->element[4 + i]->str;
        items[i].len = reply->element[4 + i]->len;
    }

    return ngx_xmpp_reply_bytes(stz, query, items, n);
}


static void
ngx_xmpp_roster_pushes(ngx_xmpp_session_t *xs, redisReply *reply)
{
    size_t              i;
    redisReply         *r;
    ngx_xmpp_packet_t  *pkt;

    for (i = 4; i < reply->elements; i++) {
        r = reply->element[i];

        pkt = ngx_xmpp_packet_copy(xs->worker->log, (u_char *) r->str, r->len);
        if (pkt == NULL) {
            return;
        }

        ngx_xmpp_session_output(xs, pkt);
        ngx_xmpp_packet_release(pkt);
    }
}
