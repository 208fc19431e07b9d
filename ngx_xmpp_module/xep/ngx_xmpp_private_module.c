/*
 * Private XML storage (XEP-0049): a user's clients keep elements here, which
 * nobody else sees, under the namespaces of these elements.
 *
 *     get --HGET--> what is stored in that namespace, or an empty element
 *     set --> checked, written by our writer --Function--> stored
 *
 * A set takes the place of all that was in its namespace; an empty element
 * leaves nothing there.  What is stored is given back as it was written once,
 * and never looked into.  All bytes of an account are limited.
 *
 * An iq waits parked for its one request, and all of it lies in the stanza's
 * pool.  The client goes meanwhile: it is handled to its end.  Redis goes, or
 * the outcome is not known: error wait, since a set again does no harm.
 */


#include "ngx_xmpp.h"


/* by default */
#define NGX_XMPP_PRIVATE_SIZE         131072


typedef struct {
    ngx_flag_t                  enable;         /* the core looks at it */
    size_t                      max_size;
} ngx_xmpp_private_conf_t;


typedef struct {
    ngx_xmpp_stanza_t          *stanza;
    ngx_xmpp_store_session_t    record;
    ngx_str_t                   elements;       /* as they are stored */
} ngx_xmpp_private_set_t;


static ngx_int_t ngx_xmpp_private_preconfiguration(ngx_conf_t *cf);
static void *ngx_xmpp_private_create_conf(ngx_conf_t *cf);
static char *ngx_xmpp_private_merge_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_xmpp_private_forbidden(ngx_xmpp_stanza_t *stz);
static ngx_xmpp_xml_t *ngx_xmpp_private_elements(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_private_get(ngx_xmpp_stanza_t *stz);
static void ngx_xmpp_private_got(void *data, ngx_xmpp_store_result_t *res);
static ngx_int_t ngx_xmpp_private_none(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_xml_t *query);
static ngx_int_t ngx_xmpp_private_set(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_private_write(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_xml_t *first, ngx_str_t *elements);
static void ngx_xmpp_private_stored(void *data, ngx_xmpp_store_result_t *res);
static ngx_int_t ngx_xmpp_private_full(ngx_xmpp_stanza_t *stz);


static ngx_str_t  ngx_xmpp_private_ns = ngx_string("jabber:iq:private");
static ngx_str_t  ngx_xmpp_private_query = ngx_string("query");


static ngx_xmpp_xep_t  ngx_xmpp_private_xeps[] = {
    { 49, "1.2", "complete" },
    ngx_xmpp_null_xep
};


static ngx_str_t  ngx_xmpp_private_features[] = {
    ngx_string("jabber:iq:private"),
    ngx_null_string
};


static ngx_xmpp_iq_t  ngx_xmpp_private_iqs[] = {

    { NGX_XMPP_IQ_GET|NGX_XMPP_TO_SELF,
      ngx_string("jabber:iq:private"), ngx_string("query"),
      ngx_xmpp_private_get },

    { NGX_XMPP_IQ_SET|NGX_XMPP_TO_SELF,
      ngx_string("jabber:iq:private"), ngx_string("query"),
      ngx_xmpp_private_set },

    { NGX_XMPP_IQ_GET|NGX_XMPP_IQ_SET|NGX_XMPP_TO_BARE,
      ngx_string("jabber:iq:private"), ngx_string("query"),
      ngx_xmpp_private_forbidden },

      ngx_xmpp_null_iq
};


static ngx_command_t  ngx_xmpp_private_commands[] = {

    { ngx_string("xmpp_private"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_private_conf_t, enable),
      NULL },

    { ngx_string("xmpp_private_size"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_size_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_private_conf_t, max_size),
      &ngx_xmpp_conf_positive },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_private_module_ctx = {
    ngx_xmpp_private_preconfiguration,     /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_private_create_conf,          /* create server configuration */
    ngx_xmpp_private_merge_conf            /* merge server configuration */
};


ngx_module_t  ngx_xmpp_private_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_private_module_ctx,          /* module context */
    ngx_xmpp_private_commands,             /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_private_feature = {
    &ngx_xmpp_private_module,
    ngx_xmpp_private_xeps,
    ngx_xmpp_private_features,
    NULL,                                  /* nonzas */
    NULL,                                  /* stream features */
    ngx_xmpp_private_iqs,
    NULL,                                  /* hooks */
    NULL,                                  /* events */
    NULL,                                  /* identities */
    NULL,                                  /* prepare */
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_private_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_private_feature);
}


static void *
ngx_xmpp_private_create_conf(ngx_conf_t *cf)
{
    ngx_xmpp_private_conf_t  *conf;

    conf = ngx_palloc(cf->pool, sizeof(ngx_xmpp_private_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->enable = NGX_CONF_UNSET;
    conf->max_size = NGX_CONF_UNSET_SIZE;

    return conf;
}


static char *
ngx_xmpp_private_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_xmpp_private_conf_t *prev = parent;
    ngx_xmpp_private_conf_t *conf = child;

    ngx_conf_merge_value(conf->enable, prev->enable, 1);
    ngx_conf_merge_size_value(conf->max_size, prev->max_size,
                              NGX_XMPP_PRIVATE_SIZE);

    return NGX_CONF_OK;
}


/* XEP-0049, 2.3: nothing of another's, whether there is such an account */

static ngx_int_t
ngx_xmpp_private_forbidden(ngx_xmpp_stanza_t *stz)
{
    return NGX_XMPP_E_FORBIDDEN;
}


/*
 * The first of a request's elements.  XEP-0049, 2.3: at least one, of a
 * namespace of its own, and all of the same; NULL: that is not so.
 */

static ngx_xmpp_xml_t *
ngx_xmpp_private_elements(ngx_xmpp_stanza_t *stz)
{
    ngx_xmpp_xml_t  *e, *first;

    first = ngx_xmpp_xml_child(ngx_xmpp_stanza_payload(stz), NULL, NULL);

    if (first == NULL || first->ns.len == 0
        || ngx_xmpp_xml_same(&first->ns, &ngx_xmpp_private_ns))
    {
        return NULL;
    }

    for (e = ngx_xmpp_xml_next(first); e; e = ngx_xmpp_xml_next(e)) {
        if (!ngx_xmpp_xml_same(&e->ns, &first->ns)) {
            return NULL;
        }
    }

    return first;
}


static ngx_int_t
ngx_xmpp_private_get(ngx_xmpp_stanza_t *stz)
{
    ngx_xmpp_xml_t      *first;
    ngx_xmpp_session_t  *xs;

    xs = stz->session;
    first = ngx_xmpp_private_elements(stz);

    if (first == NULL) {
        return NGX_XMPP_E_NOT_ACCEPTABLE;
    }

    if (ngx_xmpp_store_private_get(xs->worker->store, stz->pool,
                                   &xs->account->sn.str, &first->ns,
                                   ngx_xmpp_private_got, stz)
        == NULL)
    {
        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    return NGX_AGAIN;
}


static void
ngx_xmpp_private_got(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_stanza_t *stz = data;

    ngx_int_t        rc;
    ngx_xmpp_xml_t  *query;

    query = ngx_xmpp_xml_create(stz->pool, &ngx_xmpp_private_query,
                                &ngx_xmpp_private_ns);

    if (query == NULL) {
        rc = NGX_ERROR;

    } else if (res->rc == NGX_OK) {
        rc = ngx_xmpp_reply_bytes(stz, query, &res->text, 1);

    } else if (res->rc == NGX_DECLINED) {
        rc = ngx_xmpp_private_none(stz, query);

    } else {
        rc = NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    ngx_xmpp_stanza_resume(stz, rc);
}


/* what was asked for, empty */

static ngx_int_t
ngx_xmpp_private_none(ngx_xmpp_stanza_t *stz, ngx_xmpp_xml_t *query)
{
    ngx_xmpp_xml_t  *e;

    for (e = ngx_xmpp_private_elements(stz); e; e = ngx_xmpp_xml_next(e)) {
        if (ngx_xmpp_xml_add(stz->pool, query, &e->name, &e->ns) == NULL) {
            return NGX_ERROR;
        }
    }

    return ngx_xmpp_reply(stz, query);
}


static ngx_int_t
ngx_xmpp_private_set(ngx_xmpp_stanza_t *stz)
{
    ngx_int_t                 rc;
    ngx_xmpp_xml_t           *first;
    ngx_xmpp_session_t       *xs;
    ngx_xmpp_private_set_t   *set;
    ngx_xmpp_private_conf_t  *conf;

    xs = stz->session;
    first = ngx_xmpp_private_elements(stz);

    if (first == NULL) {
        return NGX_XMPP_E_NOT_ACCEPTABLE;
    }

    set = ngx_pcalloc(stz->pool, sizeof(ngx_xmpp_private_set_t));
    if (set == NULL) {
        return NGX_ERROR;
    }

    set->stanza = stz;

    rc = ngx_xmpp_private_write(stz, first, &set->elements);

    if (rc != NGX_OK) {
        return rc;
    }

    conf = ngx_xmpp_host_conf(xs->host, ngx_xmpp_private_module);

    ngx_xmpp_session_record(xs, &set->record);

    if (ngx_xmpp_store_private_set(xs->worker->store, stz->pool, &set->record,
                                   &first->ns, &set->elements, conf->max_size,
                                   ngx_xmpp_private_stored, set)
        == NULL)
    {
        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    return NGX_AGAIN;
}


/*
 * The elements as bytes, none for an empty one.  NGX_OK, NGX_ERROR or a
 * condition: what cannot fit is not written.
 */

static ngx_int_t
ngx_xmpp_private_write(ngx_xmpp_stanza_t *stz, ngx_xmpp_xml_t *first,
    ngx_str_t *elements)
{
    u_char                   *p;
    size_t                    len;
    ngx_xmpp_xml_t           *e;
    ngx_xmpp_private_conf_t  *conf;

    if (first->children == NULL && first->attrs == NULL
        && ngx_xmpp_xml_next(first) == NULL)
    {
        return NGX_OK;
    }

    len = 0;

    for (e = first; e; e = ngx_xmpp_xml_next(e)) {
        len += ngx_xmpp_xml_size(e, &ngx_xmpp_private_ns);
    }

    conf = ngx_xmpp_host_conf(stz->session->host, ngx_xmpp_private_module);

    if (len > conf->max_size) {
        return ngx_xmpp_private_full(stz);
    }

    p = ngx_pnalloc(stz->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    elements->data = p;
    elements->len = len;

    for (e = first; e; e = ngx_xmpp_xml_next(e)) {
        p = ngx_xmpp_xml_write(p, e, &ngx_xmpp_private_ns);
    }

    return NGX_OK;
}


static void
ngx_xmpp_private_stored(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_private_set_t *set = data;

    ngx_int_t           rc;
    ngx_xmpp_stanza_t  *stz;

    stz = set->stanza;
    rc = ngx_xmpp_reply_stored(stz, res);

    if (rc == NGX_OK) {
        rc = ngx_xmpp_reply(stz, NULL);

    } else if (rc == NGX_XMPP_E_POLICY_VIOLATION) {
        rc = ngx_xmpp_private_full(stz);
    }

    ngx_xmpp_stanza_resume(stz, rc);
}


static ngx_int_t
ngx_xmpp_private_full(ngx_xmpp_stanza_t *stz)
{
    ngx_xmpp_private_conf_t  *conf;

    conf = ngx_xmpp_host_conf(stz->session->host, ngx_xmpp_private_module);

    return ngx_xmpp_refuse(stz, NGX_XMPP_E_POLICY_VIOLATION,
                           "Private storage may have %uz bytes in all. Store "
                           "less, or an empty element in a namespace that is "
                           "not needed any more.", conf->max_size);
}
