/*
 * vcard-temp (XEP-0054), and in it the avatars of XEP-0153, of which a server
 * has to know no more than that: what a user tells about himself, for all but
 * those whom he blocks.
 *
 *     get --Function in the owner's slot--> the element
 *     set --> written by our writer --Function--> stored
 *
 * What is stored is given back as it was written once, and never looked into;
 * one without elements is none.  Its bytes are limited.
 *
 * An iq waits parked for its one request, and all of it lies in the stanza's
 * pool.  The client goes meanwhile: it is handled to its end.  Redis goes, or
 * the outcome is not known: error wait, since a set again does no harm.
 */


#include "ngx_xmpp.h"


/* by default: less than a stanza may have, so that an error can be told */
#define NGX_XMPP_VCARD_SIZE           196608


typedef struct {
    ngx_flag_t                  enable;         /* the core looks at it */
    size_t                      max_size;
} ngx_xmpp_vcard_conf_t;


typedef struct {
    ngx_xmpp_stanza_t          *stanza;
    ngx_xmpp_store_session_t    record;
    ngx_str_t                   element;        /* as it is stored */
} ngx_xmpp_vcard_set_t;


static ngx_int_t ngx_xmpp_vcard_preconfiguration(ngx_conf_t *cf);
static void *ngx_xmpp_vcard_create_conf(ngx_conf_t *cf);
static char *ngx_xmpp_vcard_merge_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_xmpp_vcard_get(ngx_xmpp_stanza_t *stz);
static void ngx_xmpp_vcard_got(void *data, ngx_xmpp_store_result_t *res);
static ngx_int_t ngx_xmpp_vcard_forbidden(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_vcard_set(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_vcard_write(ngx_xmpp_stanza_t *stz,
    ngx_str_t *element);
static void ngx_xmpp_vcard_stored(void *data, ngx_xmpp_store_result_t *res);


static ngx_xmpp_xep_t  ngx_xmpp_vcard_xeps[] = {
    { 54, "1.3.0", "without vCards of domains" },
    { 153, "1.1.1", "storing: all of a server" },
    ngx_xmpp_null_xep
};


static ngx_str_t  ngx_xmpp_vcard_features[] = {
    ngx_string("vcard-temp"),
    ngx_null_string
};


static ngx_xmpp_iq_t  ngx_xmpp_vcard_iqs[] = {

    { NGX_XMPP_IQ_GET|NGX_XMPP_TO_SELF|NGX_XMPP_TO_BARE,
      ngx_string("vcard-temp"), ngx_string("vCard"),
      ngx_xmpp_vcard_get },

    { NGX_XMPP_IQ_SET|NGX_XMPP_TO_SELF,
      ngx_string("vcard-temp"), ngx_string("vCard"),
      ngx_xmpp_vcard_set },

    { NGX_XMPP_IQ_SET|NGX_XMPP_TO_BARE,
      ngx_string("vcard-temp"), ngx_string("vCard"),
      ngx_xmpp_vcard_forbidden },

      ngx_xmpp_null_iq
};


static ngx_command_t  ngx_xmpp_vcard_commands[] = {

    { ngx_string("xmpp_vcard"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_vcard_conf_t, enable),
      NULL },

    { ngx_string("xmpp_vcard_size"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_size_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_vcard_conf_t, max_size),
      &ngx_xmpp_conf_positive },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_vcard_module_ctx = {
    ngx_xmpp_vcard_preconfiguration,       /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_vcard_create_conf,            /* create server configuration */
    ngx_xmpp_vcard_merge_conf              /* merge server configuration */
};


ngx_module_t  ngx_xmpp_vcard_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_vcard_module_ctx,            /* module context */
    ngx_xmpp_vcard_commands,               /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_vcard_feature = {
    &ngx_xmpp_vcard_module,
    ngx_xmpp_vcard_xeps,
    ngx_xmpp_vcard_features,
    NULL,                                  /* nonzas */
    NULL,                                  /* stream features */
    ngx_xmpp_vcard_iqs,
    NULL,                                  /* hooks */
    NULL,                                  /* events */
    NULL,                                  /* identities */
    NULL,                                  /* prepare */
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_vcard_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_vcard_feature);
}


static void *
ngx_xmpp_vcard_create_conf(ngx_conf_t *cf)
{
    ngx_xmpp_vcard_conf_t  *conf;

    conf = ngx_palloc(cf->pool, sizeof(ngx_xmpp_vcard_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->enable = NGX_CONF_UNSET;
    conf->max_size = NGX_CONF_UNSET_SIZE;

    return conf;
}


static char *
ngx_xmpp_vcard_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_xmpp_vcard_conf_t *prev = parent;
    ngx_xmpp_vcard_conf_t *conf = child;

    ngx_conf_merge_value(conf->enable, prev->enable, 1);
    ngx_conf_merge_size_value(conf->max_size, prev->max_size,
                              NGX_XMPP_VCARD_SIZE);

    return NGX_CONF_OK;
}


/* XEP-0054, 3.1 and 3.3; own resources are never blocked (XEP-0191, 4) */

static ngx_int_t
ngx_xmpp_vcard_get(ngx_xmpp_stanza_t *stz)
{
    ngx_str_t           *from;
    ngx_xmpp_session_t  *xs;

    xs = stz->session;
    from = (stz->mask & NGX_XMPP_TO_SELF) ? NULL : &xs->jid.full;

    if (ngx_xmpp_store_tag(stz->pool, &stz->to.bare, &stz->tag) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_xmpp_store_vcard_get(xs->worker->store, stz->pool, &stz->tag, from,
                                 ngx_xmpp_vcard_got, stz)
        == NULL)
    {
        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    return NGX_AGAIN;
}


static void
ngx_xmpp_vcard_got(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_stanza_t *stz = data;

    ngx_int_t  rc;

    switch (res->rc) {

    case NGX_OK:
        rc = ngx_xmpp_reply_bytes(stz, NULL, &res->text, 1);
        break;

    case NGX_DECLINED:

        /* 3.3: the same when there is no such user, or he blocks this one */

        rc = (stz->mask & NGX_XMPP_TO_SELF) ? NGX_XMPP_E_ITEM_NOT_FOUND
                                            : NGX_XMPP_E_SERVICE_UNAVAILABLE;
        break;

    default:
        rc = NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    ngx_xmpp_stanza_resume(stz, rc);
}


/* 3.2: another's, whether there is such an account */

static ngx_int_t
ngx_xmpp_vcard_forbidden(ngx_xmpp_stanza_t *stz)
{
    return NGX_XMPP_E_FORBIDDEN;
}


static ngx_int_t
ngx_xmpp_vcard_set(ngx_xmpp_stanza_t *stz)
{
    ngx_int_t              rc;
    ngx_xmpp_session_t    *xs;
    ngx_xmpp_vcard_set_t  *set;

    xs = stz->session;

    set = ngx_pcalloc(stz->pool, sizeof(ngx_xmpp_vcard_set_t));
    if (set == NULL) {
        return NGX_ERROR;
    }

    set->stanza = stz;

    rc = ngx_xmpp_vcard_write(stz, &set->element);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_xmpp_session_record(xs, &set->record);

    if (ngx_xmpp_store_vcard_set(xs->worker->store, stz->pool, &set->record,
                                 &set->element, ngx_xmpp_vcard_stored, set)
        == NULL)
    {
        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    return NGX_AGAIN;
}


/* as bytes, none for an empty one; NGX_OK, NGX_ERROR or a condition */

static ngx_int_t
ngx_xmpp_vcard_write(ngx_xmpp_stanza_t *stz, ngx_str_t *element)
{
    size_t                  len;
    ngx_xmpp_xml_t         *vcard;
    ngx_xmpp_vcard_conf_t  *conf;

    vcard = ngx_xmpp_stanza_payload(stz);

    if (ngx_xmpp_xml_elements(vcard) == 0) {
        return NGX_OK;
    }

    conf = ngx_xmpp_host_conf(stz->session->host, ngx_xmpp_vcard_module);
    len = ngx_xmpp_xml_size(vcard, &ngx_xmpp_ns_client);

    if (len > conf->max_size) {
        return ngx_xmpp_refuse(stz, NGX_XMPP_E_POLICY_VIOLATION,
                               "A vCard may have %uz bytes. Store less, or a "
                               "smaller picture.", conf->max_size);
    }

    element->data = ngx_pnalloc(stz->pool, len);
    if (element->data == NULL) {
        return NGX_ERROR;
    }

    element->len = len;
    (void) ngx_xmpp_xml_write(element->data, vcard, &ngx_xmpp_ns_client);

    return NGX_OK;
}


static void
ngx_xmpp_vcard_stored(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_vcard_set_t *set = data;

    ngx_int_t           rc;
    ngx_xmpp_stanza_t  *stz;

    stz = set->stanza;
    rc = ngx_xmpp_reply_stored(stz, res);

    if (rc == NGX_OK) {
        rc = ngx_xmpp_reply(stz, NULL);
    }

    ngx_xmpp_stanza_resume(stz, rc);
}
