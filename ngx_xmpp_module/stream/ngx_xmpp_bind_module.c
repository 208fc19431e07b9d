/*
 * Resource binding (RFC 6120, 7), and the session iq of RFC 3921, which
 * old clients still send and which does nothing.
 *
 *     AUTH: <iq><bind/></iq> --parked--> subscribed, recorded -> BOUND
 *
 * Before the session exists the iq is handled as a nonza: nothing else is
 * allowed in this state.  A failure leaves the stream in AUTH, and the client
 * may try again (7.6.2, 7.7.2).
 */


#include "ngx_xmpp_stream.h"


#define NGX_XMPP_BIND_RANDOM          8       /* bytes */


/* what is needed for the answer, kept in the session's pool */

typedef struct {
    ngx_str_t         id;
} ngx_xmpp_bind_ctx_t;


static ngx_int_t ngx_xmpp_bind_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_xmpp_bind_write(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_xml_t *features);
static ngx_int_t ngx_xmpp_bind_session_write(ngx_xmpp_stream_t *st,
    ngx_pool_t *pool, ngx_xmpp_xml_t *features);
static ngx_int_t ngx_xmpp_bind_handler(ngx_xmpp_stream_t *st,
    ngx_xmpp_xml_t *e);
static ngx_int_t ngx_xmpp_bind_resource(ngx_xmpp_stream_t *st,
    ngx_xmpp_xml_t *bind, ngx_str_t *resource);
static void ngx_xmpp_bind_done(ngx_xmpp_session_t *xs, ngx_int_t rc);
static ngx_int_t ngx_xmpp_bind_error(ngx_xmpp_stream_t *st, ngx_str_t *id,
    const char *type, const char *condition);
static ngx_int_t ngx_xmpp_bind_session(ngx_xmpp_stanza_t *stz);


static ngx_str_t  ngx_xmpp_bind_name = ngx_string("bind");
static ngx_str_t  ngx_xmpp_bind_jid = ngx_string("jid");
static ngx_str_t  ngx_xmpp_bind_iq = ngx_string("iq");
static ngx_str_t  ngx_xmpp_bind_error_name = ngx_string("error");
static ngx_str_t  ngx_xmpp_bind_session_name = ngx_string("session");
static ngx_str_t  ngx_xmpp_bind_optional = ngx_string("optional");
static ngx_str_t  ngx_xmpp_bind_type_result = ngx_string("result");


static ngx_xmpp_xep_t  ngx_xmpp_bind_xeps[] = {
    { 6120, NULL, "section 7" },
    ngx_xmpp_null_xep
};


static ngx_xmpp_nonza_t  ngx_xmpp_bind_nonzas[] = {

    { NGX_XMPP_ST_AUTH, ngx_string("jabber:client"), ngx_string("iq"),
      ngx_xmpp_bind_handler },

      ngx_xmpp_null_nonza
};


static ngx_xmpp_stream_feature_t  ngx_xmpp_bind_features[] = {
    { NGX_XMPP_ST_AUTH, NGX_XMPP_FEATURE_BIND, ngx_xmpp_bind_write },
    { NGX_XMPP_ST_AUTH, NGX_XMPP_FEATURE_SESSION,
      ngx_xmpp_bind_session_write },
    ngx_xmpp_null_stream_feature
};


static ngx_xmpp_iq_t  ngx_xmpp_bind_iqs[] = {

    { NGX_XMPP_IQ_SET|NGX_XMPP_TO_SELF|NGX_XMPP_TO_HOST,
      ngx_string("urn:ietf:params:xml:ns:xmpp-session"),
      ngx_string("session"),
      ngx_xmpp_bind_session },

      ngx_xmpp_null_iq
};


static ngx_stream_module_t  ngx_xmpp_bind_module_ctx = {
    ngx_xmpp_bind_preconfiguration,        /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL                                   /* merge server configuration */
};


ngx_module_t  ngx_xmpp_bind_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_bind_module_ctx,             /* module context */
    NULL,                                  /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_bind_feature = {
    &ngx_xmpp_bind_module,
    ngx_xmpp_bind_xeps,
    NULL,                                  /* disco features */
    ngx_xmpp_bind_nonzas,
    ngx_xmpp_bind_features,
    ngx_xmpp_bind_iqs,
    NULL,                                  /* hooks */
    NULL,                                  /* events */
    NULL,                                  /* identities */
    NULL,                                  /* prepare */
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_bind_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_bind_feature);
}


static ngx_int_t
ngx_xmpp_bind_write(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_xml_t *features)
{
    return ngx_xmpp_xml_add(pool, features, &ngx_xmpp_bind_name,
                            &ngx_xmpp_ns_bind)
           ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_xmpp_bind_session_write(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_xml_t *features)
{
    ngx_xmpp_xml_t  *e;

    e = ngx_xmpp_xml_add(pool, features, &ngx_xmpp_bind_session_name,
                         &ngx_xmpp_ns_session);

    if (e == NULL
        || ngx_xmpp_xml_add(pool, e, &ngx_xmpp_bind_optional, NULL) == NULL)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_bind_handler(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e)
{
    ngx_int_t             rc;
    ngx_str_t            *id, *type, resource;
    ngx_xmpp_xml_t       *bind;
    ngx_xmpp_bind_ctx_t  *ctx;
    ngx_xmpp_session_t   *xs;

    bind = ngx_xmpp_xml_child(e, "bind", &ngx_xmpp_ns_bind);
    type = ngx_xmpp_xml_attr(e, "type");
    id = ngx_xmpp_xml_attr(e, "id");

    /* RFC 6120, 7.1: no other stanza before a resource is bound */

    if (bind == NULL || type == NULL || type->len != 3
        || ngx_memcmp(type->data, "set", 3) != 0)
    {
        return NGX_DECLINED;
    }

    if (id == NULL) {
        return ngx_xmpp_bind_error(st, NULL, "modify", "bad-request");
    }

    rc = ngx_xmpp_bind_resource(st, bind, &resource);

    if (rc == NGX_DECLINED) {
        return ngx_xmpp_bind_error(st, id, "modify", "bad-request");
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    xs = ngx_xmpp_session_create(st, &st->user, &resource);
    if (xs == NULL) {
        return NGX_ERROR;
    }

    st->session = xs;

    ctx = ngx_palloc(xs->pool, sizeof(ngx_xmpp_bind_ctx_t));

    if (ctx == NULL
        || ngx_xmpp_session_set_ctx(xs, &ngx_xmpp_bind_module, ctx) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx->id.len = id->len;
    ctx->id.data = ngx_pstrdup(xs->pool, id);

    if (ctx->id.data == NULL) {
        return NGX_ERROR;
    }

    if (ngx_xmpp_session_bind(xs, ngx_xmpp_bind_done) != NGX_OK) {
        ngx_xmpp_stream_detach(st);

        return ngx_xmpp_bind_error(st, id, "wait", "internal-server-error");
    }

    return NGX_AGAIN;
}


/* RFC 6120, 7.6, 7.7: the server's choice, or the client's, prepared */

static ngx_int_t
ngx_xmpp_bind_resource(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *bind,
    ngx_str_t *resource)
{
    ngx_str_t        text;
    ngx_xmpp_xml_t  *e;

    e = ngx_xmpp_xml_child(bind, "resource", &ngx_xmpp_ns_bind);

    if (e != NULL) {
        if (ngx_xmpp_xml_text(st->pool, e, &text) != NGX_OK) {
            return NGX_ERROR;
        }

        if (text.len) {
            return ngx_xmpp_jid_prep_resource(st->pool, &text, resource);
        }
    }

    resource->len = 2 * NGX_XMPP_BIND_RANDOM;
    resource->data = ngx_pnalloc(st->pool, resource->len);

    if (resource->data == NULL) {
        return NGX_ERROR;
    }

    return ngx_xmpp_id_random(resource->data, NGX_XMPP_BIND_RANDOM);
}


static void
ngx_xmpp_bind_done(ngx_xmpp_session_t *xs, ngx_int_t rc)
{
    ngx_pool_t           *pool;
    ngx_xmpp_xml_t       *e, *bind, *jid;
    ngx_xmpp_stream_t    *st;
    ngx_xmpp_bind_ctx_t  *ctx;

    st = xs->stream;
    ctx = ngx_xmpp_session_get_ctx(xs, &ngx_xmpp_bind_module);

    if (rc == NGX_DECLINED) {

        /* removed meanwhile, or the resource went to another at once */

        st->transport->close(st, xs->displaced ? NGX_XMPP_SE_CONFLICT
                                               : NGX_XMPP_SE_NOT_AUTHORIZED,
                             NULL);
        st->transport->resume(st);
        return;
    }

    if (rc != NGX_OK) {
        (void) ngx_xmpp_bind_error(st, &ctx->id, "wait",
                                   "internal-server-error");
        ngx_xmpp_stream_detach(st);
        st->transport->resume(st);
        return;
    }

    pool = ngx_xmpp_worker_pool(st->worker);
    if (pool == NULL) {
        st->transport->close(st, NGX_XMPP_SE_INTERNAL_SERVER_ERROR, NULL);
        st->transport->resume(st);
        return;
    }

    e = ngx_xmpp_xml_create(pool, &ngx_xmpp_bind_iq, &ngx_xmpp_ns_client);

    if (e == NULL
        || ngx_xmpp_xml_set(pool, e, "type", &ngx_xmpp_bind_type_result)
           != NGX_OK
        || ngx_xmpp_xml_set(pool, e, "id", &ctx->id) != NGX_OK
        || (bind = ngx_xmpp_xml_add(pool, e, &ngx_xmpp_bind_name,
                                    &ngx_xmpp_ns_bind)) == NULL
        || (jid = ngx_xmpp_xml_add(pool, bind, &ngx_xmpp_bind_jid, NULL))
           == NULL
        || ngx_xmpp_xml_add_text(pool, jid, &xs->jid.full) == NULL)
    {
        st->transport->close(st, NGX_XMPP_SE_INTERNAL_SERVER_ERROR, NULL);

    } else if (ngx_xmpp_stream_send(st, e) == NGX_OK) {
        ngx_xmpp_log_state(st, NGX_XMPP_ST_BOUND);
    }

    ngx_xmpp_worker_pool_done(st->worker, pool);

    st->transport->resume(st);
}


/* RFC 6120, 7.6.2, 7.7.2; returns what a nonza handler returns */

static ngx_int_t
ngx_xmpp_bind_error(ngx_xmpp_stream_t *st, ngx_str_t *id, const char *type,
    const char *condition)
{
    ngx_str_t        value, name;
    ngx_pool_t      *pool;
    ngx_xmpp_xml_t  *e, *error;

    pool = ngx_xmpp_worker_pool(st->worker);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&value, "error");
    name.data = (u_char *) condition;
    name.len = ngx_strlen(condition);

    e = ngx_xmpp_xml_create(pool, &ngx_xmpp_bind_iq, &ngx_xmpp_ns_client);

    if (e == NULL
        || ngx_xmpp_xml_set(pool, e, "type", &value) != NGX_OK
        || (id && ngx_xmpp_xml_set(pool, e, "id", id) != NGX_OK)
        || (error = ngx_xmpp_xml_add(pool, e, &ngx_xmpp_bind_error_name,
                                     NULL)) == NULL)
    {
        ngx_xmpp_worker_pool_done(st->worker, pool);
        return NGX_ERROR;
    }

    value.data = (u_char *) type;
    value.len = ngx_strlen(type);

    if (ngx_xmpp_xml_set(pool, error, "type", &value) == NGX_OK
        && ngx_xmpp_xml_add(pool, error, &name, &ngx_xmpp_ns_stanzas) != NULL)
    {
        (void) ngx_xmpp_stream_send(st, e);
    }

    ngx_xmpp_worker_pool_done(st->worker, pool);

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_bind_session(ngx_xmpp_stanza_t *stz)
{
    return ngx_xmpp_reply(stz, NULL);
}
