/*
 * Presence without a roster (RFC 6121, 4): initial presence, changes and
 * unavailability of a session, to the account's own available sessions (4.2.2,
 * 4.4.2, 4.5.2), and directed presence (4.6).
 *
 * Own presence is one Function: it changes the record, from which messages
 * are routed by priority, keeps the stanza, rings the others, and gives the
 * presence of the others to a session that has just become available.
 *
 * Whom a session has sent directed presence is remembered, in heap nodes of
 * the session, and told when it becomes unavailable (4.6.3).  A session that
 * lost its resource to another tells nobody: the winner does.
 */


#include "ngx_xmpp.h"


/* more would make one client a loudspeaker */
#define NGX_XMPP_PRESENCE_DIRECTED    1024

/* bytes of the copies in which a client's last word goes to all of them */
#define NGX_XMPP_PRESENCE_TOLD        (1024 * 1024)


typedef struct {
    ngx_queue_t         queue;
    size_t              bare;           /* length of the bare JID */
    size_t              len;
    u_char              data[1];        /* the full JID */
} ngx_xmpp_presence_node_t;


typedef struct {
    ngx_queue_t         directed;       /* of ngx_xmpp_presence_node_t */
    ngx_uint_t          n;
} ngx_xmpp_presence_ctx_t;


static ngx_int_t ngx_xmpp_presence_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_xmpp_presence_own(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_presence_priority(ngx_xmpp_stanza_t *stz,
    ngx_int_t *priority);
static void ngx_xmpp_presence_done(void *data, ngx_xmpp_store_result_t *res);
static ngx_int_t ngx_xmpp_presence_directed(ngx_xmpp_stanza_t *stz);
static ngx_xmpp_presence_ctx_t *ngx_xmpp_presence_ctx(ngx_xmpp_session_t *xs);
static void ngx_xmpp_presence_cleanup(void *data);
static ngx_xmpp_presence_node_t *ngx_xmpp_presence_find(
    ngx_xmpp_presence_ctx_t *ctx, ngx_str_t *jid);
static void ngx_xmpp_presence_tell(ngx_xmpp_session_t *xs);
static void ngx_xmpp_presence_tell_all(ngx_xmpp_session_t *xs,
    ngx_xmpp_xml_t *e);
static void ngx_xmpp_presence_tell_one(ngx_xmpp_session_t *xs,
    ngx_xmpp_presence_node_t *node, ngx_xmpp_xml_t *e);


static ngx_xmpp_xep_t  ngx_xmpp_presence_xeps[] = {
    { 6121, NULL, "section 4, without subscriptions" },
    ngx_xmpp_null_xep
};


static ngx_xmpp_hook_t  ngx_xmpp_presence_hooks[] = {

    { NGX_XMPP_SEND_PHASE, NGX_XMPP_PRESENCE|NGX_XMPP_TO_SELF,
      NGX_XMPP_ORDER_PRESENCE, ngx_xmpp_presence_own },

    { NGX_XMPP_SEND_PHASE,
      NGX_XMPP_PRESENCE|NGX_XMPP_TO_BARE|NGX_XMPP_TO_FULL,
      NGX_XMPP_ORDER_PRESENCE, ngx_xmpp_presence_directed },

      ngx_xmpp_null_hook
};


static ngx_xmpp_event_row_t  ngx_xmpp_presence_events[] = {
    { NGX_XMPP_EVENT_UNBIND, ngx_xmpp_presence_tell },
    ngx_xmpp_null_event
};


static ngx_command_t  ngx_xmpp_presence_commands[] = {

    { ngx_string("xmpp_presence"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_feature_conf_t, enable),
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_presence_module_ctx = {
    ngx_xmpp_presence_preconfiguration,  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_feature_create_conf,          /* create server configuration */
    ngx_xmpp_feature_merge_on              /* merge server configuration */
};


ngx_module_t  ngx_xmpp_presence_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_presence_module_ctx,       /* module context */
    ngx_xmpp_presence_commands,          /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_presence_feature = {
    &ngx_xmpp_presence_module,
    ngx_xmpp_presence_xeps,
    NULL,                                  /* disco features */
    NULL,                                  /* nonzas */
    NULL,                                  /* stream features */
    NULL,                                  /* iq */
    ngx_xmpp_presence_hooks,
    ngx_xmpp_presence_events
};


static ngx_int_t
ngx_xmpp_presence_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_presence_feature);
}


/* presence without an address; one for the own bare JID is directed */

static ngx_int_t
ngx_xmpp_presence_own(ngx_xmpp_stanza_t *stz)
{
    u_char                    *p;
    ngx_int_t                  rc, priority;
    ngx_str_t                  state, body;
    ngx_xmpp_packet_t         *pkt;
    ngx_xmpp_session_t        *xs;
    ngx_xmpp_store_session_t   ss;

    xs = stz->session;

    if (stz->has_to) {
        return NGX_DECLINED;
    }

    if (stz->type != NGX_XMPP_TYPE_NONE
        && stz->type != NGX_XMPP_TYPE_UNAVAILABLE)
    {
        return (stz->type >= NGX_XMPP_TYPE_SUBSCRIBE)
               ? NGX_XMPP_E_BAD_REQUEST : NGX_OK;
    }

    rc = ngx_xmpp_presence_priority(stz, &priority);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_xmpp_xml_set(stz->pool, stz->xml, "to", &xs->jid.bare) != NGX_OK) {
        return NGX_ERROR;
    }

    if (stz->type == NGX_XMPP_TYPE_UNAVAILABLE) {

        /* changes the value of "to" for each, and back */

        ngx_xmpp_presence_tell_all(xs, stz->xml);
        (void) ngx_xmpp_xml_set(stz->pool, stz->xml, "to", &xs->jid.bare);
    }

    pkt = ngx_xmpp_stanza_packet(stz);
    p = ngx_pnalloc(stz->pool, NGX_INT_T_LEN);

    if (pkt == NULL || p == NULL) {
        return NGX_ERROR;
    }

    body.data = pkt->data;
    body.len = pkt->len;

    state.data = p;

    if (stz->type == NGX_XMPP_TYPE_UNAVAILABLE) {
        ngx_str_set(&state, "-");

    } else {
        state.len = ngx_sprintf(p, "%i", priority) - p;
    }

    ss.tag = &xs->account->sn.str;
    ss.resource = &xs->jid.resource;
    ss.sid = &xs->sid;
    ss.epoch = xs->epoch;
    ss.lifetime = xs->lifetime;

    if (ngx_xmpp_store_presence(xs->worker->store, stz->pool, &ss, &state,
                                &body, stz->type == NGX_XMPP_TYPE_NONE
                                       && !xs->available,
                                ngx_xmpp_presence_done, stz)
        == NULL)
    {
        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    return NGX_AGAIN;
}


/* RFC 6121, 4.7.2.3: -128 to 127, 0 when absent */

static ngx_int_t
ngx_xmpp_presence_priority(ngx_xmpp_stanza_t *stz, ngx_int_t *priority)
{
    ngx_int_t        n;
    ngx_str_t        text;
    ngx_uint_t       negative;
    ngx_xmpp_xml_t  *e;

    *priority = 0;

    e = ngx_xmpp_xml_child(stz->xml, "priority", &ngx_xmpp_ns_client);

    if (e == NULL) {
        return NGX_OK;
    }

    if (ngx_xmpp_xml_text(stz->pool, e, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    while (text.len && (text.data[0] == ' ' || text.data[0] == LF)) {
        text.data++;
        text.len--;
    }

    while (text.len && (text.data[text.len - 1] == ' '
                        || text.data[text.len - 1] == LF))
    {
        text.len--;
    }

    if (text.len == 0) {
        return NGX_OK;
    }

    negative = (text.data[0] == '-');

    if (negative || text.data[0] == '+') {
        text.data++;
        text.len--;
    }

    n = ngx_atoi(text.data, text.len);

    if (n == NGX_ERROR || n > (negative ? 128 : 127)) {
        return NGX_XMPP_E_BAD_REQUEST;
    }

    *priority = negative ? -n : n;

    return NGX_OK;
}


static void
ngx_xmpp_presence_done(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_stanza_t *stz = data;

    size_t                i;
    redisReply           *r;
    ngx_xmpp_packet_t    *pkt;
    ngx_xmpp_session_t   *xs;

    xs = stz->session;

    /* a repeat by the client does no harm, so what is unknown may be told */

    if (res->rc == NGX_AGAIN || res->rc == NGX_ERROR) {
        ngx_xmpp_stanza_resume(stz, NGX_XMPP_E_RESOURCE_CONSTRAINT);
        return;
    }

    if (res->rc != NGX_OK) {

        /* the record is another's by now, or was lost: that decides */

        ngx_xmpp_session_reassert(xs);
        ngx_xmpp_stanza_resume(stz, NGX_XMPP_E_RESOURCE_CONSTRAINT);
        return;
    }

    xs->available = (stz->type == NGX_XMPP_TYPE_NONE);

    if (xs->available) {
        (void) ngx_xmpp_presence_priority(stz, &xs->priority);
    }

    if (xs->account->rung < res->number) {
        xs->account->rung = res->number;
    }

    for (i = 2; i < res->reply->elements; i++) {
        r = res->reply->element[i];

        if (r->type != REDIS_REPLY_STRING) {
            continue;
        }

        pkt = ngx_xmpp_packet_copy(xs->worker->log, (u_char *) r->str,
                                   r->len);
        if (pkt == NULL) {
            break;
        }

        ngx_xmpp_session_output(xs, pkt);
        ngx_xmpp_packet_release(pkt);
    }

    ngx_xmpp_stanza_resume(stz, NGX_OK);
}


/* RFC 6121, 4.6: remembers to whom, and goes on */

static ngx_int_t
ngx_xmpp_presence_directed(ngx_xmpp_stanza_t *stz)
{
    ngx_xmpp_presence_ctx_t   *ctx;
    ngx_xmpp_presence_node_t  *node;

    if (stz->type != NGX_XMPP_TYPE_NONE
        && stz->type != NGX_XMPP_TYPE_UNAVAILABLE)
    {
        return NGX_DECLINED;
    }

    ctx = ngx_xmpp_presence_ctx(stz->session);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    node = ngx_xmpp_presence_find(ctx, &stz->to.full);

    if (stz->type == NGX_XMPP_TYPE_UNAVAILABLE) {
        if (node) {
            ngx_queue_remove(&node->queue);
            ngx_free(node);
            ctx->n--;
        }

        return NGX_DECLINED;
    }

    if (node) {
        return NGX_DECLINED;
    }

    if (ctx->n == NGX_XMPP_PRESENCE_DIRECTED) {
        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    node = ngx_alloc(offsetof(ngx_xmpp_presence_node_t, data)
                     + stz->to.full.len, stz->session->worker->log);
    if (node == NULL) {
        return NGX_ERROR;
    }

    node->bare = stz->to.bare.len;
    node->len = stz->to.full.len;
    ngx_memcpy(node->data, stz->to.full.data, stz->to.full.len);

    ngx_queue_insert_tail(&ctx->directed, &node->queue);
    ctx->n++;

    return NGX_DECLINED;
}


static ngx_xmpp_presence_ctx_t *
ngx_xmpp_presence_ctx(ngx_xmpp_session_t *xs)
{
    ngx_pool_cleanup_t       *cln;
    ngx_xmpp_presence_ctx_t  *ctx;

    ctx = ngx_xmpp_session_get_ctx(xs, &ngx_xmpp_presence_module);

    if (ctx != NULL) {
        return ctx;
    }

    cln = ngx_pool_cleanup_add(xs->pool, sizeof(ngx_xmpp_presence_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;
    ctx->n = 0;
    ngx_queue_init(&ctx->directed);

    if (ngx_xmpp_session_set_ctx(xs, &ngx_xmpp_presence_module, ctx)
        != NGX_OK)
    {
        return NULL;
    }

    cln->handler = ngx_xmpp_presence_cleanup;

    return ctx;
}


static void
ngx_xmpp_presence_cleanup(void *data)
{
    ngx_xmpp_presence_ctx_t *ctx = data;

    ngx_queue_t  *q;

    while (!ngx_queue_empty(&ctx->directed)) {
        q = ngx_queue_head(&ctx->directed);
        ngx_queue_remove(q);
        ngx_free(ngx_queue_data(q, ngx_xmpp_presence_node_t, queue));
    }
}


static ngx_xmpp_presence_node_t *
ngx_xmpp_presence_find(ngx_xmpp_presence_ctx_t *ctx, ngx_str_t *jid)
{
    ngx_queue_t               *q;
    ngx_xmpp_presence_node_t  *node;

    for (q = ngx_queue_head(&ctx->directed);
         q != ngx_queue_sentinel(&ctx->directed);
         q = ngx_queue_next(q))
    {
        node = ngx_queue_data(q, ngx_xmpp_presence_node_t, queue);

        if (node->len == jid->len
            && ngx_memcmp(node->data, jid->data, jid->len) == 0)
        {
            return node;
        }
    }

    return NULL;
}


/* the session ends without a word */

static void
ngx_xmpp_presence_tell(ngx_xmpp_session_t *xs)
{
    ngx_xmpp_presence_tell_all(xs, NULL);
}


/*
 * Unavailable to all who were told, in one batch to Redis (4.6.3): the
 * client's own stanza, if there is one.  Each gets a copy, so a long one to
 * many is told without what else it says.
 */

static void
ngx_xmpp_presence_tell_all(ngx_xmpp_session_t *xs, ngx_xmpp_xml_t *e)
{
    ngx_queue_t               *q;
    ngx_xmpp_presence_ctx_t   *ctx;
    ngx_xmpp_presence_node_t  *node;

    ctx = ngx_xmpp_session_get_ctx(xs, &ngx_xmpp_presence_module);

    if (ctx == NULL) {
        return;
    }

    if (e && ctx->n
        && ngx_xmpp_xml_size(e, NULL) > NGX_XMPP_PRESENCE_TOLD / ctx->n)
    {
        e = NULL;
    }

    while (!ngx_queue_empty(&ctx->directed)) {
        q = ngx_queue_head(&ctx->directed);
        node = ngx_queue_data(q, ngx_xmpp_presence_node_t, queue);

        ngx_xmpp_presence_tell_one(xs, node, e);

        ngx_queue_remove(q);
        ngx_free(node);
    }

    ctx->n = 0;
}


static void
ngx_xmpp_presence_tell_one(ngx_xmpp_session_t *xs,
    ngx_xmpp_presence_node_t *node, ngx_xmpp_xml_t *e)
{
    ngx_str_t           to, bare, resource, tag, body;
    ngx_pool_t         *pool;
    ngx_xmpp_packet_t  *pkt;

    to.data = node->data;
    to.len = node->len;

    bare.data = node->data;
    bare.len = node->bare;

    resource.data = node->data + node->bare + 1;
    resource.len = (node->len > node->bare) ? node->len - node->bare - 1 : 0;

    pool = ngx_xmpp_worker_pool(xs->worker);
    if (pool == NULL) {
        return;
    }

    if (e == NULL) {
        pkt = ngx_xmpp_session_unavailable(xs, &to);

    } else if (ngx_xmpp_xml_set(pool, e, "to", &to) == NGX_OK) {
        pkt = ngx_xmpp_packet_xml(xs->worker->log, e);

    } else {
        pkt = NULL;
    }

    if (pkt != NULL) {
        body.data = pkt->data;
        body.len = pkt->len;

        if (ngx_xmpp_store_tag(pool, &bare, &tag) == NGX_OK) {
            ngx_xmpp_store_send(xs->worker->store, &tag,
                                resource.len ? &resource : NULL,
                                NGX_XMPP_STORE_PRESENCE, &xs->sid,
                                ++xs->counter, &body);
        }

        ngx_xmpp_packet_release(pkt);
    }

    ngx_xmpp_worker_pool_done(xs->worker, pool);
}
