/*
 * Stream management (XEP-0198) on a client's stream: what is negotiated, and
 * the acknowledgements.
 *
 *     AUTH     <sm/> among the features; <resume/>
 *     BOUND    <enable/> --Redis knows the session--> <enabled/>: both sides
 *              count, from here on
 *              <r/> --> <a h=''/>, <a h=''/>
 *
 * Where an element stands in the wrong place it is answered with <failed/>, and
 * the stream goes on (3, 6); a second <enable/>, and an <a/> for more than was
 * sent, end it.  What is counted and kept is core/ngx_xmpp_ack.c, <resume/> the
 * file beside this one.
 */


#include "ngx_xmpp_sm.h"


#define NGX_XMPP_SM_STANZAS           5000
#define NGX_XMPP_SM_SIZE              2097152
#define NGX_XMPP_SM_ACK_TIMEOUT       60000
#define NGX_XMPP_SM_TIMEOUT           300000
#define NGX_XMPP_SM_POOL              1024

#define NGX_XMPP_SM_EARLY             (NGX_XMPP_ST_PLAIN|NGX_XMPP_ST_SECURE   \
                                       |NGX_XMPP_ST_AUTH)


typedef struct {
    ngx_flag_t                  enable;         /* the core looks at it */
    ngx_int_t                   stanzas;
    ngx_msec_t                  timeout;        /* to resume; 0: nobody may */
    ngx_str_t                   location;       /* where; len 0: anywhere */
    ngx_xmpp_sm_limits_t        limits;
} ngx_xmpp_sm_conf_t;


static ngx_int_t ngx_xmpp_sm_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_xmpp_sm_prepare(ngx_conf_t *cf, ngx_xmpp_host_t *h);
static void *ngx_xmpp_sm_create_conf(ngx_conf_t *cf);
static char *ngx_xmpp_sm_merge_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_xmpp_sm_check_location(ngx_conf_t *cf, void *post,
    void *data);
static ngx_int_t ngx_xmpp_sm_write(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_xml_t *features);
static ngx_int_t ngx_xmpp_sm_early(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e);
static ngx_int_t ngx_xmpp_sm_enable_handler(ngx_xmpp_stream_t *st,
    ngx_xmpp_xml_t *e);
static ngx_int_t ngx_xmpp_sm_request_handler(ngx_xmpp_stream_t *st,
    ngx_xmpp_xml_t *e);
static ngx_int_t ngx_xmpp_sm_answer_handler(ngx_xmpp_stream_t *st,
    ngx_xmpp_xml_t *e);
static ngx_int_t ngx_xmpp_sm_enabled(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_sm_ctx_t *ctx);
static ngx_msec_t ngx_xmpp_sm_timeout(ngx_xmpp_session_t *xs,
    ngx_xmpp_xml_t *e);
static ngx_int_t ngx_xmpp_sm_ask(ngx_xmpp_sm_ctx_t *ctx);
static void ngx_xmpp_sm_asked(void *data, ngx_xmpp_store_result_t *res);
static void ngx_xmpp_sm_ctx_cleanup(void *data);
static ngx_uint_t ngx_xmpp_sm_true(ngx_str_t *value);


ngx_str_t  ngx_xmpp_sm_ns = ngx_string(NGX_XMPP_SM_NS);
static ngx_str_t  ngx_xmpp_sm_name = ngx_string("sm");
static ngx_str_t  ngx_xmpp_sm_enabled_name = ngx_string("enabled");
static ngx_str_t  ngx_xmpp_sm_failed_name = ngx_string("failed");
static ngx_str_t  ngx_xmpp_sm_streams_ns =
    ngx_string("urn:ietf:params:xml:ns:xmpp-streams");
static ngx_str_t  ngx_xmpp_sm_undefined = ngx_string("undefined-condition");
static ngx_str_t  ngx_xmpp_sm_too_high_name =
    ngx_string("handled-count-too-high");


static ngx_conf_post_t  ngx_xmpp_sm_location = { ngx_xmpp_sm_check_location };


static ngx_xmpp_xep_t  ngx_xmpp_sm_xeps[] = {
    { 198, "1.6.3", "of clients' streams" },
    ngx_xmpp_null_xep
};


static ngx_xmpp_nonza_t  ngx_xmpp_sm_nonzas[] = {

    { NGX_XMPP_ST_BOUND, ngx_string(NGX_XMPP_SM_NS), ngx_string("r"),
      ngx_xmpp_sm_request_handler },

    { NGX_XMPP_ST_BOUND, ngx_string(NGX_XMPP_SM_NS), ngx_string("a"),
      ngx_xmpp_sm_answer_handler },

    { NGX_XMPP_ST_BOUND, ngx_string(NGX_XMPP_SM_NS), ngx_string("enable"),
      ngx_xmpp_sm_enable_handler },

    { NGX_XMPP_SM_EARLY, ngx_string(NGX_XMPP_SM_NS), ngx_string("enable"),
      ngx_xmpp_sm_early },

    { NGX_XMPP_ST_AUTH, ngx_string(NGX_XMPP_SM_NS), ngx_string("resume"),
      ngx_xmpp_sm_resume },

    { NGX_XMPP_ST_PLAIN|NGX_XMPP_ST_SECURE|NGX_XMPP_ST_BOUND,
      ngx_string(NGX_XMPP_SM_NS), ngx_string("resume"),
      ngx_xmpp_sm_early },

      ngx_xmpp_null_nonza
};


static ngx_xmpp_stream_feature_t  ngx_xmpp_sm_features[] = {
    { NGX_XMPP_ST_AUTH, NGX_XMPP_ORDER_ANY, ngx_xmpp_sm_write },
    ngx_xmpp_null_stream_feature
};


static ngx_command_t  ngx_xmpp_sm_commands[] = {

    { ngx_string("xmpp_sm"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_sm_conf_t, enable),
      NULL },

    { ngx_string("xmpp_sm_stanzas"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_sm_conf_t, stanzas),
      &ngx_xmpp_conf_positive },

    { ngx_string("xmpp_sm_size"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_size_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_sm_conf_t, limits.size),
      &ngx_xmpp_conf_positive },

    { ngx_string("xmpp_sm_ack_timeout"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_sm_conf_t, limits.ack_timeout),
      &ngx_xmpp_conf_positive },

    { ngx_string("xmpp_sm_timeout"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_sm_conf_t, timeout),
      NULL },

    { ngx_string("xmpp_sm_location"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_str_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_sm_conf_t, location),
      &ngx_xmpp_sm_location },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_sm_module_ctx = {
    ngx_xmpp_sm_preconfiguration,          /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_sm_create_conf,               /* create server configuration */
    ngx_xmpp_sm_merge_conf                 /* merge server configuration */
};


ngx_module_t  ngx_xmpp_sm_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_sm_module_ctx,               /* module context */
    ngx_xmpp_sm_commands,                  /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_sm_feature = {
    &ngx_xmpp_sm_module,
    ngx_xmpp_sm_xeps,
    NULL,                                  /* disco features */
    ngx_xmpp_sm_nonzas,
    ngx_xmpp_sm_features,
    NULL,                                  /* iqs */
    NULL,                                  /* hooks */
    NULL,                                  /* events */
    NULL,                                  /* identities */
    ngx_xmpp_sm_prepare,                   /* prepare */
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_sm_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_sm_feature);
}


/* whether sessions of other workers may go on here */

static ngx_int_t
ngx_xmpp_sm_prepare(ngx_conf_t *cf, ngx_xmpp_host_t *h)
{
    ngx_xmpp_sm_conf_t  *conf;

    conf = ngx_xmpp_host_conf(h, ngx_xmpp_sm_module);

    if (conf->timeout) {
        h->sm = &conf->limits;
    }

    return NGX_OK;
}


static void *
ngx_xmpp_sm_create_conf(ngx_conf_t *cf)
{
    ngx_xmpp_sm_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_xmpp_sm_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->enable = NGX_CONF_UNSET;
    conf->stanzas = NGX_CONF_UNSET;
    conf->timeout = NGX_CONF_UNSET_MSEC;
    conf->limits.size = NGX_CONF_UNSET_SIZE;
    conf->limits.ack_timeout = NGX_CONF_UNSET_MSEC;

    return conf;
}


static char *
ngx_xmpp_sm_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_xmpp_sm_conf_t *prev = parent;
    ngx_xmpp_sm_conf_t *conf = child;

    ngx_conf_merge_value(conf->enable, prev->enable, 1);
    ngx_conf_merge_value(conf->stanzas, prev->stanzas, NGX_XMPP_SM_STANZAS);
    ngx_conf_merge_msec_value(conf->timeout, prev->timeout,
                              NGX_XMPP_SM_TIMEOUT);
    ngx_conf_merge_str_value(conf->location, prev->location, "");
    ngx_conf_merge_size_value(conf->limits.size, prev->limits.size,
                              NGX_XMPP_SM_SIZE);
    ngx_conf_merge_msec_value(conf->limits.ack_timeout,
                              prev->limits.ack_timeout,
                              NGX_XMPP_SM_ACK_TIMEOUT);

    conf->limits.stanzas = conf->stanzas;

    return NGX_CONF_OK;
}


/* 3; RFC 6120, 4.9.3.19: "host", "host:port", an address of IPv6 in "[]" */

static char *
ngx_xmpp_sm_check_location(ngx_conf_t *cf, void *post, void *data)
{
    ngx_str_t *value = data;

    u_char     *p, *last;
    ngx_int_t   port;

    p = value->data;
    last = p + value->len;

    if (p < last && *p == '[') {
        p = ngx_strlchr(p, last, ']');

        if (p == NULL || p == value->data + 1) {
            goto invalid;
        }

        p++;

    } else {
        while (p < last && *p != ':' && *p != '[' && *p != ']' && *p > ' ') {
            p++;
        }

        if (p == value->data) {
            goto invalid;
        }
    }

    if (p == last) {
        return NGX_CONF_OK;
    }

    port = (*p == ':') ? ngx_atoi(p + 1, last - p - 1) : NGX_ERROR;

    if (port > 0 && port < 65536) {
        return NGX_CONF_OK;
    }

invalid:

    return "must be \"host\", \"host:port\" or \"[address]:port\"";
}


/* 2: once the client is authenticated */

static ngx_int_t
ngx_xmpp_sm_write(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_xml_t *features)
{
    return ngx_xmpp_xml_add(pool, features, &ngx_xmpp_sm_name, &ngx_xmpp_sm_ns)
           ? NGX_OK : NGX_ERROR;
}


/* 3: the order of negotiation is enforced, and a session is not replaced */

static ngx_int_t
ngx_xmpp_sm_early(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e)
{
    return ngx_xmpp_sm_failed(st, st->pool, "unexpected-request", NULL);
}


/* 3: <enable/>, once; what may be resumed is answered when Redis knows it */

static ngx_int_t
ngx_xmpp_sm_enable_handler(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e)
{
    ngx_int_t           rc;
    ngx_msec_t          timeout;
    ngx_xmpp_sm_ctx_t  *ctx;

    if (st->session->sm) {
        rc = ngx_xmpp_sm_failed(st, st->pool, "unexpected-request", NULL);

        ngx_log_error(NGX_LOG_INFO, st->connection->log, 0,
                      "client enables stream management a second time");

        st->transport->close(st, NGX_XMPP_SE_POLICY_VIOLATION,
                             "stream management is enabled");
        return rc;
    }

    timeout = ngx_xmpp_sm_timeout(st->session, e);

    if (timeout) {
        ctx = ngx_xmpp_sm_ctx(st);
        if (ctx == NULL) {
            return NGX_ERROR;
        }

        ctx->timeout = timeout;

        rc = ngx_xmpp_sm_ask(ctx);

        if (rc != NGX_DECLINED) {
            return rc;
        }

        ngx_xmpp_sm_done(ctx);
    }

    return ngx_xmpp_sm_enabled(st, st->pool, NULL);
}


/*
 * 5: if the client asks for it; max is what it would like.  Who is anonymous
 * comes back as another, who may not have the session.  0: it may not be
 * resumed.
 */

static ngx_msec_t
ngx_xmpp_sm_timeout(ngx_xmpp_session_t *xs, ngx_xmpp_xml_t *e)
{
    uint32_t             max;
    ngx_msec_t           timeout;
    ngx_xmpp_sm_conf_t  *conf;

    conf = ngx_xmpp_host_conf(xs->host, ngx_xmpp_sm_module);
    timeout = conf->timeout;

    if (timeout == 0 || xs->lifetime
        || !ngx_xmpp_sm_true(ngx_xmpp_xml_attr(e, "resume")))
    {
        return 0;
    }

    if (ngx_xmpp_sm_number(ngx_xmpp_xml_attr(e, "max"), &max) == NGX_OK
        && max && max < timeout / 1000)
    {
        timeout = (ngx_msec_t) max * 1000;
    }

    return timeout;
}


/* NGX_AGAIN; NGX_DECLINED: Redis cannot be asked; NGX_ERROR */

static ngx_int_t
ngx_xmpp_sm_ask(ngx_xmpp_sm_ctx_t *ctx)
{
    u_char               *p;
    ngx_pool_t           *pool;
    ngx_xmpp_session_t   *xs;
    ngx_xmpp_store_sm_t   sm;

    xs = ctx->stream->session;

    pool = ngx_create_pool(NGX_XMPP_SM_POOL, xs->worker->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    ctx->pool = pool;

    p = ngx_pnalloc(pool, NGX_XMPP_SM_ID_MAX + NGX_XMPP_SM_DIGEST);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->id.data = p;
    p = ngx_sprintf(p, "%V-", &xs->sid);

    if (ngx_xmpp_id_random(p, NGX_XMPP_SM_TOKEN / 2) != NGX_OK) {
        return NGX_ERROR;
    }

    ctx->token.data = p;
    ctx->token.len = NGX_XMPP_SM_TOKEN;

    p += NGX_XMPP_SM_TOKEN;
    ctx->id.len = p - ctx->id.data;

    ctx->digest.data = p;
    ctx->digest.len = NGX_XMPP_SM_DIGEST;

    if (ngx_xmpp_detach_digest(&ctx->token, p) != NGX_OK) {
        return NGX_ERROR;
    }

    sm.digest = ctx->digest;
    sm.timeout = ctx->timeout;
    sm.base = xs->counter;
    sm.handled = 0;
    sm.life = 0;

    ngx_xmpp_session_record(xs, &ctx->record);

    return ngx_xmpp_store_sm_enable(xs->worker->store, pool, &ctx->record, &sm,
                                    ngx_xmpp_sm_asked, ctx)
           ? NGX_AGAIN : NGX_DECLINED;
}


/* when Redis is away it is counted all the same, and may not be resumed */

static void
ngx_xmpp_sm_asked(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_sm_ctx_t *ctx = data;

    ngx_pool_t         *pool;
    ngx_xmpp_stream_t  *st;

    st = ctx->stream;
    pool = ngx_xmpp_worker_pool(st->worker);

    if (pool == NULL
        || ngx_xmpp_sm_enabled(st, pool, (res->rc == NGX_OK) ? ctx : NULL)
           != NGX_OK)
    {
        st->transport->close(st, NGX_XMPP_SE_INTERNAL_SERVER_ERROR, NULL);
    }

    if (pool) {
        ngx_xmpp_worker_pool_done(st->worker, pool);
    }

    ngx_xmpp_sm_done(ctx);

    st->transport->resume(st);
}


/*
 * 3: what is sent from now on counts.  ctx NULL: it may not be resumed.  NGX_OK
 * or NGX_ERROR.
 */

static ngx_int_t
ngx_xmpp_sm_enabled(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_sm_ctx_t *ctx)
{
    ngx_xmpp_xml_t      *enabled;
    ngx_xmpp_session_t  *xs;
    ngx_xmpp_sm_conf_t  *conf;

    static ngx_str_t  yes = ngx_string("true");

    xs = st->session;

    /* it closes: the answer would go nowhere */

    if (xs == NULL || st->state != NGX_XMPP_ST_BOUND) {
        return NGX_OK;
    }

    conf = ngx_xmpp_host_conf(xs->host, ngx_xmpp_sm_module);

    enabled = ngx_xmpp_xml_create(pool, &ngx_xmpp_sm_enabled_name,
                                  &ngx_xmpp_sm_ns);

    if (enabled == NULL
        || ngx_xmpp_ack_enable(xs, &conf->limits) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ctx) {
        xs->sm->timeout = ctx->timeout;
        ngx_memcpy(xs->sm->digest, ctx->digest.data, NGX_XMPP_SM_DIGEST);

        if (ngx_xmpp_xml_set(pool, enabled, "id", &ctx->id) != NGX_OK
            || ngx_xmpp_xml_set(pool, enabled, "resume", &yes) != NGX_OK
            || (conf->location.len
                && ngx_xmpp_xml_set(pool, enabled, "location", &conf->location)
                   != NGX_OK)
            || ngx_xmpp_sm_attr(pool, enabled, "max",
                                (uint32_t) ngx_max(ctx->timeout / 1000, 1))
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    (void) ngx_xmpp_stream_send(st, enabled);

    return NGX_OK;
}


ngx_xmpp_sm_ctx_t *
ngx_xmpp_sm_ctx(ngx_xmpp_stream_t *st)
{
    ngx_xmpp_sm_ctx_t   *ctx;
    ngx_pool_cleanup_t  *cln;

    ctx = ngx_xmpp_stream_get_ctx(st, &ngx_xmpp_sm_module);

    if (ctx) {
        return ctx;
    }

    cln = ngx_pool_cleanup_add(st->connection->pool,
                               sizeof(ngx_xmpp_sm_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_xmpp_sm_ctx_t));

    ctx->stream = st;
    cln->handler = ngx_xmpp_sm_ctx_cleanup;

    if (ngx_xmpp_stream_set_ctx(st, &ngx_xmpp_sm_module, ctx) != NGX_OK) {
        return NULL;
    }

    return ctx;
}


static void
ngx_xmpp_sm_ctx_cleanup(void *data)
{
    ngx_xmpp_sm_done(data);
}


void
ngx_xmpp_sm_done(ngx_xmpp_sm_ctx_t *ctx)
{
    if (ctx->take) {
        ngx_xmpp_take_leave(ctx->take, ctx);
        ctx->take = NULL;
    }

    if (ctx->pool) {
        ngx_destroy_pool(ctx->pool);
        ctx->pool = NULL;
    }
}


/* xs:boolean; value may be NULL */

static ngx_uint_t
ngx_xmpp_sm_true(ngx_str_t *value)
{
    return value
           && ((value->len == 1 && value->data[0] == '1')
               || (value->len == 4
                   && ngx_memcmp(value->data, "true", 4) == 0));
}


static ngx_int_t
ngx_xmpp_sm_request_handler(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e)
{
    if (st->session->sm == NULL) {
        return ngx_xmpp_sm_failed(st, st->pool, "unexpected-request", NULL);
    }

    ngx_xmpp_ack_requested(st->session);

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_sm_answer_handler(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e)
{
    uint32_t             h;
    ngx_xmpp_session_t  *xs;

    xs = st->session;

    if (xs->sm == NULL) {
        return ngx_xmpp_sm_failed(st, st->pool, "unexpected-request", NULL);
    }

    /* 4: it has to have an h */

    if (ngx_xmpp_sm_number(ngx_xmpp_xml_attr(e, "h"), &h) != NGX_OK) {
        return ngx_xmpp_sm_failed(st, st->pool, "bad-request", NULL);
    }

    if (ngx_xmpp_ack_acknowledged(xs, h) == NGX_DECLINED) {
        return ngx_xmpp_sm_too_high(st, h, xs->sm->sent);
    }

    return NGX_OK;
}


/* 6: it cannot have handled what it was not sent */

ngx_int_t
ngx_xmpp_sm_too_high(ngx_xmpp_stream_t *st, uint32_t h, uint32_t sent)
{
    u_char          *p;
    ngx_str_t        value;
    ngx_xmpp_xml_t  *error, *e;

    static ngx_str_t  name = ngx_string("error");
    static ngx_str_t  text = ngx_string("text");
    static ngx_str_t  lang = ngx_string("en");

    ngx_log_error(NGX_LOG_INFO, st->connection->log, 0,
                  "client acknowledges %uD stanzas, but %uD were sent",
                  h, sent);

    p = ngx_pnalloc(st->pool, sizeof("You acknowledge  stanzas, but  were "
                                     "sent.") - 1 + 2 * NGX_INT32_LEN);

    error = ngx_xmpp_xml_create(st->pool, &name, &ngx_xmpp_sm_streams_ns);

    if (p == NULL || error == NULL) {
        return NGX_ERROR;
    }

    value.data = p;
    value.len = ngx_sprintf(p, "You acknowledge %uD stanzas, but %uD were "
                            "sent.", h, sent) - p;

    /* RFC 6120, 4.9.2: the condition, a text, what is specific */

    if (ngx_xmpp_xml_add(st->pool, error, &ngx_xmpp_sm_undefined,
                         &ngx_xmpp_sm_streams_ns)
        == NULL
        || (e = ngx_xmpp_xml_add(st->pool, error, &text,
                                 &ngx_xmpp_sm_streams_ns)) == NULL
        || ngx_xmpp_xml_set_ns(st->pool, e, &ngx_xmpp_ns_xml, "lang", &lang)
           != NGX_OK
        || ngx_xmpp_xml_add_text(st->pool, e, &value) == NULL
        || (e = ngx_xmpp_xml_add(st->pool, error, &ngx_xmpp_sm_too_high_name,
                                 &ngx_xmpp_sm_ns)) == NULL
        || ngx_xmpp_sm_attr(st->pool, e, "h", h) != NGX_OK
        || ngx_xmpp_sm_attr(st->pool, e, "send-count", sent) != NGX_OK
        || st->transport->nonza(st, "error", error) != NGX_OK)
    {
        return NGX_ERROR;
    }

    st->reason = &ngx_xmpp_sm_undefined;
    st->transport->close(st, NGX_XMPP_SE_NONE, NULL);

    return NGX_OK;
}


ngx_int_t
ngx_xmpp_sm_failed(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    const char *condition, uint32_t *h)
{
    ngx_str_t        name;
    ngx_xmpp_xml_t  *failed;

    name.data = (u_char *) condition;
    name.len = ngx_strlen(condition);

    failed = ngx_xmpp_xml_create(pool, &ngx_xmpp_sm_failed_name,
                                 &ngx_xmpp_sm_ns);

    if (failed == NULL
        || ngx_xmpp_xml_add(pool, failed, &name, &ngx_xmpp_ns_stanzas) == NULL
        || (h && ngx_xmpp_sm_attr(pool, failed, "h", *h) != NGX_OK))
    {
        return NGX_ERROR;
    }

    (void) ngx_xmpp_stream_send(st, failed);

    return NGX_OK;
}


ngx_int_t
ngx_xmpp_sm_number(ngx_str_t *text, uint32_t *n)
{
    size_t    i;
    uint64_t  value;

    if (text == NULL || text->len == 0 || text->len > NGX_INT32_LEN - 1) {
        return NGX_DECLINED;
    }

    for (i = 0, value = 0; i < text->len; i++) {
        if (text->data[i] < '0' || text->data[i] > '9') {
            return NGX_DECLINED;
        }

        value = value * 10 + (text->data[i] - '0');
    }

    if (value > NGX_MAX_UINT32_VALUE) {
        return NGX_DECLINED;
    }

    *n = (uint32_t) value;

    return NGX_OK;
}


ngx_int_t
ngx_xmpp_sm_attr(ngx_pool_t *pool, ngx_xmpp_xml_t *e, const char *name,
    uint32_t n)
{
    ngx_str_t  value;

    value.data = ngx_pnalloc(pool, NGX_INT32_LEN);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = ngx_sprintf(value.data, "%uD", n) - value.data;

    return ngx_xmpp_xml_set(pool, e, name, &value);
}
