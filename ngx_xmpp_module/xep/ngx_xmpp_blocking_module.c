/*
 * Blocking (XEP-0191): a user's client reads and changes the list of those
 * with whom the user does not want to communicate.
 *
 *     blocklist --Function--> the flag b, and the list
 *     block, unblock --> JIDs prepared --Function--> our copy is the new list,
 *                                                    and the bell rings
 *     own stanza to one who is blocked --> <not-acceptable/>, <blocked/>
 *
 * What is kept from the user is decided where it arrives, by the Functions of
 * the account's slot and the router, not here (docs/internals/decisions/).  The
 * list is the user's own: requests to other accounts have no row.
 *
 * An iq waits parked for the one request that it makes; all of it lies in the
 * stanza's pool.  Asked again it does no harm, so an outcome that is not known
 * is told as an error.
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_BLOCKING_FLAG        'b'
#define NGX_XMPP_BLOCKING_SIZE        65536   /* bytes of a list */


typedef struct {
    ngx_flag_t                  enable;         /* the core looks at it */
    ngx_int_t                   items;
} ngx_xmpp_blocking_conf_t;


typedef struct {
    ngx_xmpp_stanza_t          *stanza;
    ngx_xmpp_store_session_t    record;
    ngx_xmpp_store_block_t      change;
    ngx_str_t                   flags;
    u_char                      flag[NGX_XMPP_STORE_FLAGS];
} ngx_xmpp_blocking_ctx_t;


static ngx_int_t ngx_xmpp_blocking_preconfiguration(ngx_conf_t *cf);
static void *ngx_xmpp_blocking_create_conf(ngx_conf_t *cf);
static char *ngx_xmpp_blocking_merge_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_xmpp_blocking_outbound(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_blocking_get(ngx_xmpp_stanza_t *stz);
static void ngx_xmpp_blocking_got(void *data, ngx_xmpp_store_result_t *res);
static ngx_int_t ngx_xmpp_blocking_list(ngx_xmpp_stanza_t *stz,
    ngx_str_t *list);
static ngx_int_t ngx_xmpp_blocking_block(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_blocking_unblock(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_blocking_change(ngx_xmpp_stanza_t *stz,
    ngx_uint_t unblock);
static ngx_int_t ngx_xmpp_blocking_items(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_store_block_t *change);
static void ngx_xmpp_blocking_changed(void *data,
    ngx_xmpp_store_result_t *res);
static void ngx_xmpp_blocking_answer(ngx_xmpp_store_result_t *res,
    ngx_str_t *list);


static ngx_str_t  ngx_xmpp_blocking_ns = ngx_string("urn:xmpp:blocking");
static ngx_str_t  ngx_xmpp_blocking_blocklist = ngx_string("blocklist");
static ngx_str_t  ngx_xmpp_blocking_item = ngx_string("item");


static ngx_xmpp_xep_t  ngx_xmpp_blocking_xeps[] = {
    { 191, "1.3", "complete" },
    ngx_xmpp_null_xep
};


static ngx_str_t  ngx_xmpp_blocking_features[] = {
    ngx_string("urn:xmpp:blocking"),
    ngx_null_string
};


static ngx_xmpp_iq_t  ngx_xmpp_blocking_iqs[] = {

    { NGX_XMPP_IQ_GET|NGX_XMPP_TO_SELF,
      ngx_string("urn:xmpp:blocking"), ngx_string("blocklist"),
      ngx_xmpp_blocking_get },

    { NGX_XMPP_IQ_SET|NGX_XMPP_TO_SELF,
      ngx_string("urn:xmpp:blocking"), ngx_string("block"),
      ngx_xmpp_blocking_block },

    { NGX_XMPP_IQ_SET|NGX_XMPP_TO_SELF,
      ngx_string("urn:xmpp:blocking"), ngx_string("unblock"),
      ngx_xmpp_blocking_unblock },

      ngx_xmpp_null_iq
};


static ngx_xmpp_hook_t  ngx_xmpp_blocking_hooks[] = {

    { NGX_XMPP_ACCESS_PHASE,
      NGX_XMPP_MESSAGE|NGX_XMPP_PRESENCE|NGX_XMPP_IQ
      |NGX_XMPP_TO_BARE|NGX_XMPP_TO_FULL|NGX_XMPP_TO_HOST|NGX_XMPP_TO_REMOTE,
      NGX_XMPP_ORDER_ANY, ngx_xmpp_blocking_outbound },

      ngx_xmpp_null_hook
};


static ngx_command_t  ngx_xmpp_blocking_commands[] = {

    { ngx_string("xmpp_blocking"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_blocking_conf_t, enable),
      NULL },

    { ngx_string("xmpp_blocking_items"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_blocking_conf_t, items),
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_blocking_module_ctx = {
    ngx_xmpp_blocking_preconfiguration,    /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_blocking_create_conf,         /* create server configuration */
    ngx_xmpp_blocking_merge_conf           /* merge server configuration */
};


ngx_module_t  ngx_xmpp_blocking_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_blocking_module_ctx,         /* module context */
    ngx_xmpp_blocking_commands,            /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_blocking_feature = {
    &ngx_xmpp_blocking_module,
    ngx_xmpp_blocking_xeps,
    ngx_xmpp_blocking_features,
    NULL,                                  /* nonzas */
    NULL,                                  /* stream features */
    ngx_xmpp_blocking_iqs,
    ngx_xmpp_blocking_hooks,
    NULL,                                  /* events */
    NULL,                                  /* identities */
    NULL,                                  /* prepare */
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_blocking_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_blocking_feature);
}


static void *
ngx_xmpp_blocking_create_conf(ngx_conf_t *cf)
{
    ngx_xmpp_blocking_conf_t  *conf;

    conf = ngx_palloc(cf->pool, sizeof(ngx_xmpp_blocking_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->enable = NGX_CONF_UNSET;
    conf->items = NGX_CONF_UNSET;

    return conf;
}


static char *
ngx_xmpp_blocking_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_xmpp_blocking_conf_t *prev = parent;
    ngx_xmpp_blocking_conf_t *conf = child;

    ngx_conf_merge_value(conf->enable, prev->enable, 1);
    ngx_conf_merge_value(conf->items, prev->items, 1000);

    return NGX_CONF_OK;
}


/* XEP-0191, 3.3: not routed; 4: own resources are not blocked */

static ngx_int_t
ngx_xmpp_blocking_outbound(ngx_xmpp_stanza_t *stz)
{
    ngx_xmpp_session_t  *xs;

    xs = stz->session;

    if (!ngx_xmpp_blocked(xs->account, &stz->to)
        || ngx_xmpp_str_eq(&stz->to.bare, &xs->jid.bare))
    {
        return NGX_DECLINED;
    }

    return NGX_XMPP_E_BLOCKED;
}


/* XEP-0191, 3.2; from now on the session hears of changes */

static ngx_int_t
ngx_xmpp_blocking_get(ngx_xmpp_stanza_t *stz)
{
    u_char                   *p;
    ngx_xmpp_session_t       *xs;
    ngx_xmpp_blocking_ctx_t  *ctx;

    xs = stz->session;

    ctx = ngx_palloc(stz->pool, sizeof(ngx_xmpp_blocking_ctx_t));
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->stanza = stz;

    p = ngx_cpymem(ctx->flag, xs->flags.data, xs->flags.len);

    if (!ngx_xmpp_session_flag(xs, NGX_XMPP_BLOCKING_FLAG)) {
        *p++ = NGX_XMPP_BLOCKING_FLAG;
    }

    ctx->flags.data = ctx->flag;
    ctx->flags.len = p - ctx->flag;

    ngx_xmpp_session_record(xs, &ctx->record);
    ctx->record.flags = &ctx->flags;

    if (ngx_xmpp_store_blocklist(xs->worker->store, stz->pool, &ctx->record,
                                 ngx_xmpp_blocking_got, ctx)
        == NULL)
    {
        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    return NGX_AGAIN;
}


static void
ngx_xmpp_blocking_got(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_blocking_ctx_t *ctx = data;

    ngx_int_t           rc;
    ngx_str_t           list;
    ngx_xmpp_stanza_t  *stz;

    stz = ctx->stanza;

    rc = ngx_xmpp_reply_stored(stz, res);

    if (rc == NGX_OK) {
        ngx_xmpp_blocking_answer(res, &list);
        ngx_xmpp_session_set_flag(stz->session, NGX_XMPP_BLOCKING_FLAG, 1);

        rc = ngx_xmpp_blocking_list(stz, &list);
    }

    ngx_xmpp_stanza_resume(stz, rc);
}


/* the result: an item for each line */

static ngx_int_t
ngx_xmpp_blocking_list(ngx_xmpp_stanza_t *stz, ngx_str_t *list)
{
    u_char          *p, *end, *last;
    ngx_str_t        jid;
    ngx_xmpp_xml_t  *e, *item;

    e = ngx_xmpp_xml_create(stz->pool, &ngx_xmpp_blocking_blocklist,
                            &ngx_xmpp_blocking_ns);
    if (e == NULL) {
        return NGX_ERROR;
    }

    last = list->data + list->len;

    for (p = list->data; p < last; p = end + 1) {
        end = ngx_strlchr(p, last, LF);

        if (end == NULL) {
            end = last;
        }

        jid.data = p;
        jid.len = end - p;

        item = ngx_xmpp_xml_add(stz->pool, e, &ngx_xmpp_blocking_item, NULL);

        if (item == NULL
            || ngx_xmpp_xml_set(stz->pool, item, "jid", &jid) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return ngx_xmpp_reply(stz, e);
}


static ngx_int_t
ngx_xmpp_blocking_block(ngx_xmpp_stanza_t *stz)
{
    return ngx_xmpp_blocking_change(stz, 0);
}


static ngx_int_t
ngx_xmpp_blocking_unblock(ngx_xmpp_stanza_t *stz)
{
    return ngx_xmpp_blocking_change(stz, 1);
}


static ngx_int_t
ngx_xmpp_blocking_change(ngx_xmpp_stanza_t *stz, ngx_uint_t unblock)
{
    ngx_int_t                  rc;
    ngx_xmpp_session_t        *xs;
    ngx_xmpp_blocking_ctx_t   *ctx;
    ngx_xmpp_blocking_conf_t  *conf;

    xs = stz->session;

    ctx = ngx_pcalloc(stz->pool, sizeof(ngx_xmpp_blocking_ctx_t));
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    conf = ngx_xmpp_host_conf(xs->host, ngx_xmpp_blocking_module);

    ctx->stanza = stz;
    ctx->change.unblock = unblock;
    ctx->change.items = conf->items;
    ctx->change.size = NGX_XMPP_BLOCKING_SIZE;

    rc = ngx_xmpp_blocking_items(stz, &ctx->change);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_xmpp_session_record(xs, &ctx->record);

    if (ngx_xmpp_store_block(xs->worker->store, stz->pool, &ctx->record,
                             &ctx->change, ngx_xmpp_blocking_changed, ctx)
        == NULL)
    {
        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    return NGX_AGAIN;
}


/*
 * The items of a request, prepared, as lines and as the element that is pushed.
 * NGX_OK, NGX_ERROR or a condition: nothing to block is a bad request
 * (XEP-0191, 3.3), nothing to unblock means all (3.5).
 */

static ngx_int_t
ngx_xmpp_blocking_items(ngx_xmpp_stanza_t *stz, ngx_xmpp_store_block_t *change)
{
    u_char          *p;
    size_t           len;
    ngx_int_t        rc;
    ngx_str_t       *attr;
    ngx_uint_t       i;
    ngx_array_t      jids;
    ngx_xmpp_xml_t  *payload, *push, *item, *e;
    ngx_xmpp_jid_t  *jid;

    payload = ngx_xmpp_stanza_payload(stz);
    push = ngx_xmpp_xml_create(stz->pool, &payload->name,
                               &ngx_xmpp_blocking_ns);

    if (push == NULL
        || ngx_array_init(&jids, stz->pool, 4, sizeof(ngx_xmpp_jid_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    len = 0;

    for (e = ngx_xmpp_xml_child(payload, NULL, NULL);
         e;
         e = ngx_xmpp_xml_next(e))
    {
        attr = ngx_xmpp_xml_attr(e, "jid");

        if (attr == NULL || !ngx_xmpp_xml_is(e, "item", &ngx_xmpp_blocking_ns))
        {
            return NGX_XMPP_E_BAD_REQUEST;
        }

        jid = ngx_array_push(&jids);
        if (jid == NULL) {
            return NGX_ERROR;
        }

        rc = ngx_xmpp_jid_parse(stz->pool, attr, jid);

        if (rc != NGX_OK) {
            return (rc == NGX_DECLINED) ? NGX_XMPP_E_JID_MALFORMED : NGX_ERROR;
        }

        len += jid->full.len + 1;

        item = ngx_xmpp_xml_add(stz->pool, push, &ngx_xmpp_blocking_item,
                                NULL);

        if (item == NULL
            || ngx_xmpp_xml_set(stz->pool, item, "jid", &jid->full) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (jids.nelts == 0 && !change->unblock) {
        return NGX_XMPP_E_BAD_REQUEST;
    }

    change->push.len = ngx_xmpp_xml_size(push, NULL);
    change->push.data = ngx_pnalloc(stz->pool, change->push.len);
    change->jids.data = ngx_pnalloc(stz->pool, len + 1);

    if (change->push.data == NULL || change->jids.data == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_xmpp_xml_write(change->push.data, push, NULL);

    p = change->jids.data;
    jid = jids.elts;

    for (i = 0; i < jids.nelts; i++) {
        p = ngx_cpymem(p, jid[i].full.data, jid[i].full.len);
        *p++ = LF;
    }

    change->jids.len = p - change->jids.data;

    return NGX_OK;
}


static void
ngx_xmpp_blocking_changed(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_blocking_ctx_t *ctx = data;

    ngx_int_t            rc;
    ngx_str_t            list;
    ngx_xmpp_stanza_t   *stz;
    ngx_xmpp_session_t  *xs;

    stz = ctx->stanza;
    xs = stz->session;

    rc = ngx_xmpp_reply_stored(stz, res);

    if (rc == NGX_OK) {

        /* from here on it holds: nothing slips past the bell to come */

        ngx_xmpp_blocking_answer(res, &list);
        ngx_xmpp_registry_rung(xs->worker, &xs->account->sn.str, res->number);
        ngx_xmpp_block_update(xs->account, res->number, &list);
        ngx_xmpp_block_answer(stz);
        return;
    }

    if (rc == NGX_XMPP_E_POLICY_VIOLATION) {
        rc = ngx_xmpp_refuse(stz, rc, "A block list may have %ui addresses, of "
                             "%d bytes in all. Unblock some, or block their "
                             "domain.", ctx->change.items,
                             NGX_XMPP_BLOCKING_SIZE);
    }

    ngx_xmpp_stanza_resume(stz, rc);
}


/* the list in an answer: a slice of it, which goes when the handler returns */

static void
ngx_xmpp_blocking_answer(ngx_xmpp_store_result_t *res, ngx_str_t *list)
{
    redisReply  *r;

    ngx_str_null(list);

    if (res->reply->elements > 2
        && res->reply->element[2]->type == REDIS_REPLY_STRING)
    {
        r = res->reply->element[2];

        list->data = (u_char *) r->str;
        list->len = r->len;
    }
}
