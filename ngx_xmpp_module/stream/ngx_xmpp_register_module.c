/*
 * In-Band Registration before login (XEP-0077, 3.1): what is offered, and what
 * is answered to whom.  Off unless it is asked for, and never without TLS.
 *
 *     get --> the fields
 *     set --> an account is made (ngx_xmpp_register.c), and the stream parked
 *
 * An iq before authentication is a nonza here; what is not about registration
 * closes the stream as before (RFC 6120, 4.9.3.12), and so does this between
 * two steps of SASL.  Where it is off the answer is service-unavailable, as
 * XEP-0077 demands.
 */


#include "ngx_xmpp_register.h"


static ngx_int_t ngx_xmpp_register_preconfiguration(ngx_conf_t *cf);
static void *ngx_xmpp_register_create_conf(ngx_conf_t *cf);
static char *ngx_xmpp_register_merge_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_xmpp_register_write(ngx_xmpp_stream_t *st,
    ngx_pool_t *pool, ngx_xmpp_xml_t *features);
static ngx_int_t ngx_xmpp_register_iq(ngx_xmpp_stream_t *st,
    ngx_xmpp_xml_t *e);
static ngx_uint_t ngx_xmpp_register_addressed(ngx_xmpp_stream_t *st,
    ngx_xmpp_xml_t *e);
static ngx_int_t ngx_xmpp_register_get(ngx_xmpp_stream_t *st, ngx_str_t *id);


ngx_str_t  ngx_xmpp_register_ns = ngx_string("jabber:iq:register");

static ngx_str_t  ngx_xmpp_register_feature_ns =
    ngx_string("http://jabber.org/features/iq-register");
static ngx_str_t  ngx_xmpp_register_feature_name = ngx_string("register");
static ngx_str_t  ngx_xmpp_register_iq_name = ngx_string("iq");
static ngx_str_t  ngx_xmpp_register_query_name = ngx_string("query");

static ngx_str_t  ngx_xmpp_register_fields[] = {
    ngx_string("instructions"),
    ngx_string("username"),
    ngx_string("password")
};


static ngx_xmpp_xep_t  ngx_xmpp_register_xeps[] = {
    { 77, "2.5", "section 3.1, fields username and password" },
    ngx_xmpp_null_xep
};


static ngx_xmpp_nonza_t  ngx_xmpp_register_nonzas[] = {

    { NGX_XMPP_ST_SECURE, ngx_string("jabber:client"), ngx_string("iq"),
      ngx_xmpp_register_iq },

      ngx_xmpp_null_nonza
};


static ngx_xmpp_stream_feature_t  ngx_xmpp_register_features[] = {

    { NGX_XMPP_ST_SECURE, NGX_XMPP_FEATURE_REGISTER,
      ngx_xmpp_register_write },

      ngx_xmpp_null_stream_feature
};


static ngx_command_t  ngx_xmpp_register_commands[] = {

    { ngx_string("xmpp_register"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_register_conf_t, on),
      NULL },

    { ngx_string("xmpp_register_limit"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_register_conf_t, limit),
      NULL },

    { ngx_string("xmpp_register_limit_time"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_register_conf_t, time),
      &ngx_xmpp_conf_second },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_register_module_ctx = {
    ngx_xmpp_register_preconfiguration,    /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_register_create_conf,         /* create server configuration */
    ngx_xmpp_register_merge_conf           /* merge server configuration */
};


ngx_module_t  ngx_xmpp_register_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_register_module_ctx,         /* module context */
    ngx_xmpp_register_commands,            /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_register_feature = {
    &ngx_xmpp_register_module,
    ngx_xmpp_register_xeps,
    NULL,                                  /* disco features */
    ngx_xmpp_register_nonzas,
    ngx_xmpp_register_features,
    NULL,                                  /* iq */
    NULL,                                  /* hooks */
    NULL,                                  /* events */
    NULL,                                  /* identities */
    NULL,                                  /* prepare */
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_register_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_register_feature);
}


static void *
ngx_xmpp_register_create_conf(ngx_conf_t *cf)
{
    ngx_xmpp_register_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_xmpp_register_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /* who asks where it is off has to be answered, XEP-0077, 3.1 */

    conf->enable = 1;
    conf->on = NGX_CONF_UNSET;
    conf->limit = NGX_CONF_UNSET_UINT;
    conf->time = NGX_CONF_UNSET_MSEC;

    return conf;
}


static char *
ngx_xmpp_register_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_xmpp_register_conf_t *prev = parent;
    ngx_xmpp_register_conf_t *conf = child;

    ngx_conf_merge_value(conf->on, prev->on, 0);
    ngx_conf_merge_uint_value(conf->limit, prev->limit, 5);
    ngx_conf_merge_msec_value(conf->time, prev->time, 3600000);

    return NGX_CONF_OK;
}


/* XEP-0077, 8: a sign that it is possible here */

static ngx_int_t
ngx_xmpp_register_write(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_xml_t *features)
{
    ngx_xmpp_register_conf_t  *conf;

    conf = ngx_xmpp_host_conf(st->host, ngx_xmpp_register_module);

    if (!conf->on) {
        return NGX_OK;
    }

    return ngx_xmpp_xml_add(pool, features, &ngx_xmpp_register_feature_name,
                            &ngx_xmpp_register_feature_ns)
           ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_xmpp_register_iq(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e)
{
    ngx_str_t                 *type, *id;
    ngx_uint_t                 set;
    ngx_xmpp_xml_t            *query;
    ngx_xmpp_register_conf_t  *conf;

    query = ngx_xmpp_xml_child(e, "query", &ngx_xmpp_register_ns);
    type = ngx_xmpp_xml_attr(e, "type");

    if (query == NULL || st->sasl || type == NULL || type->len != 3) {
        return NGX_DECLINED;
    }

    set = (ngx_memcmp(type->data, "set", 3) == 0);

    if (!set && ngx_memcmp(type->data, "get", 3) != 0) {
        return NGX_DECLINED;
    }

    id = ngx_xmpp_xml_attr(e, "id");

    /* RFC 6120, 8.2.3 */

    if (id == NULL || ngx_xmpp_xml_elements(e) != 1
        || !ngx_xmpp_register_addressed(st, e))
    {
        return ngx_xmpp_register_answer(st, id, NGX_XMPP_E_BAD_REQUEST, NULL);
    }

    conf = ngx_xmpp_host_conf(st->host, ngx_xmpp_register_module);

    if (!conf->on) {
        return ngx_xmpp_register_answer(st, id, NGX_XMPP_E_SERVICE_UNAVAILABLE,
                                        NULL);
    }

    return set ? ngx_xmpp_register_set(st, id, query)
               : ngx_xmpp_register_get(st, id);
}


/* to the server, by its name or by none */

static ngx_uint_t
ngx_xmpp_register_addressed(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e)
{
    ngx_str_t       *to;
    ngx_xmpp_jid_t   jid;

    to = ngx_xmpp_xml_attr(e, "to");

    return to == NULL
           || (ngx_xmpp_jid_parse(st->pool, to, &jid) == NGX_OK
               && ngx_xmpp_str_eq(&jid.full, &st->host->name));
}


/* XEP-0077, 3.1: which fields are required */

static ngx_int_t
ngx_xmpp_register_get(ngx_xmpp_stream_t *st, ngx_str_t *id)
{
    ngx_uint_t        i;
    ngx_xmpp_xml_t   *iq, *query, *e;
    static ngx_str_t  result = ngx_string("result");
    static ngx_str_t  text = ngx_string("Choose a username and a password.");

    iq = ngx_xmpp_xml_create(st->pool, &ngx_xmpp_register_iq_name,
                             &ngx_xmpp_ns_client);

    if (iq == NULL
        || ngx_xmpp_xml_set(st->pool, iq, "type", &result) != NGX_OK
        || ngx_xmpp_xml_set(st->pool, iq, "id", id) != NGX_OK)
    {
        return NGX_ERROR;
    }

    query = ngx_xmpp_xml_add(st->pool, iq, &ngx_xmpp_register_query_name,
                             &ngx_xmpp_register_ns);
    if (query == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < 3; i++) {
        e = ngx_xmpp_xml_add(st->pool, query, &ngx_xmpp_register_fields[i],
                             NULL);

        if (e == NULL
            || (i == 0 && ngx_xmpp_xml_add_text(st->pool, e, &text) == NULL))
        {
            return NGX_ERROR;
        }
    }

    (void) ngx_xmpp_stream_send(st, iq);

    return NGX_OK;
}


ngx_int_t
ngx_xmpp_register_answer(ngx_xmpp_stream_t *st, ngx_str_t *id,
    ngx_int_t condition, const char *reason)
{
    ngx_int_t        rc;
    ngx_str_t        value, text;
    ngx_pool_t      *pool;
    ngx_xmpp_xml_t  *e;

    if (st->state == NGX_XMPP_ST_CLOSED) {
        return NGX_OK;
    }

    pool = ngx_xmpp_worker_pool(st->worker);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    value.data = (u_char *) (condition ? "error" : "result");
    value.len = ngx_strlen(value.data);

    text.data = (u_char *) reason;
    text.len = reason ? ngx_strlen(reason) : 0;

    e = ngx_xmpp_xml_create(pool, &ngx_xmpp_register_iq_name,
                            &ngx_xmpp_ns_client);

    if (e != NULL
        && ngx_xmpp_xml_set(pool, e, "type", &value) == NGX_OK
        && (id == NULL || ngx_xmpp_xml_set(pool, e, "id", id) == NGX_OK)
        && (condition == 0
            || ngx_xmpp_reply_condition(pool, e, condition, &text) == NGX_OK))
    {
        (void) ngx_xmpp_stream_send(st, e);
        rc = NGX_OK;
    }

    ngx_xmpp_worker_pool_done(st->worker, pool);

    return rc;
}
