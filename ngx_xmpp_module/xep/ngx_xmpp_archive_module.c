/*
 * The archive of an account (XEP-0313): how much is kept, who may ask, which
 * fields a query may have, and what the archive begins and ends with.  Pages
 * are ngx_xmpp_archive_query.c, preferences ngx_xmpp_archive_prefs.c; what is
 * archived, and the ids of it, is of the core (ngx_xmpp_inbox_keep.c,
 * ngx_xmpp_stanza_id.c).
 *
 * The limits are a text of the host, made at configuration, for the Functions
 * that archive.  An iq waits parked for its one request, and all of it lies in
 * the stanza's pool.  The client goes meanwhile: it is handled to its end.
 * Redis goes: error wait.
 */


#include "ngx_xmpp_archive.h"


/* by default: of an account */
#define NGX_XMPP_ARCHIVE_MESSAGES     10000
#define NGX_XMPP_ARCHIVE_SIZE         8388608
#define NGX_XMPP_ARCHIVE_PAGE         100


typedef struct {
    ngx_xmpp_stanza_t          *stanza;
    ngx_xmpp_store_session_t    record;
} ngx_xmpp_archive_ends_t;


static ngx_int_t ngx_xmpp_archive_preconfiguration(ngx_conf_t *cf);
static void *ngx_xmpp_archive_create_conf(ngx_conf_t *cf);
static char *ngx_xmpp_archive_merge_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_xmpp_archive_check_time(ngx_conf_t *cf, void *post,
    void *data);
static ngx_int_t ngx_xmpp_archive_prepare_host(ngx_conf_t *cf,
    ngx_xmpp_host_t *h);
static ngx_int_t ngx_xmpp_archive_forbidden(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_archive_form(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_archive_open(ngx_pool_t *pool, ngx_xmpp_xml_t *x);
static ngx_int_t ngx_xmpp_archive_metadata(ngx_xmpp_stanza_t *stz);
static void ngx_xmpp_archive_metadata_done(void *data,
    ngx_xmpp_store_result_t *res);
static ngx_int_t ngx_xmpp_archive_end(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_xml_t *metadata, const char *name, redisReply *id);


ngx_str_t  ngx_xmpp_archive_ns = ngx_string("urn:xmpp:mam:2");


static ngx_xmpp_xep_t  ngx_xmpp_archive_xeps[] = {
    { 313, "1.1.3", "archives of accounts" },
    { 59, "1.0", "in queries of archives" },
    { 359, "0.7.0", "of messages that are archived" },
    { 441, "0.2.0", "complete" },
    ngx_xmpp_null_xep
};


/* XEP-0313, 7: of accounts, since a host has no archive; XEP-0359, 5 */
static ngx_str_t  ngx_xmpp_archive_features[] = {
    ngx_string("urn:xmpp:mam:2"),
    ngx_string("urn:xmpp:mam:2#extended"),
    ngx_string("urn:xmpp:mam:2#groupchat-field"),
    ngx_string("urn:xmpp:sid:0"),
    ngx_null_string
};


/* XEP-0313, 4.1: what a query may have */
ngx_xmpp_form_ask_t  ngx_xmpp_archive_fields[] = {

    { ngx_string("with"), ngx_string("jid-single"),
      ngx_string("To or from this address"), 0, NULL },

    { ngx_string("start"), ngx_string("text-single"),
      ngx_string("Not before this time"), 0, NULL },

    { ngx_string("end"), ngx_string("text-single"),
      ngx_string("Not after this time"), 0, NULL },

    { ngx_string("before-id"), ngx_string("text-single"),
      ngx_string("Before the message with this id"), 0, NULL },

    { ngx_string("after-id"), ngx_string("text-single"),
      ngx_string("After the message with this id"), 0, NULL },

    { ngx_string("ids"), ngx_string("list-multi"),
      ngx_string("The messages with these ids"), 0, NULL },

    { ngx_string("include-groupchat"), ngx_string("boolean"),
      ngx_string("Messages of rooms, too"), 0, NULL },

      ngx_xmpp_null_form_ask
};


static ngx_xmpp_iq_t  ngx_xmpp_archive_iqs[] = {

    { NGX_XMPP_IQ_SET|NGX_XMPP_TO_SELF,
      ngx_string("urn:xmpp:mam:2"), ngx_string("query"),
      ngx_xmpp_archive_query },

    { NGX_XMPP_IQ_GET|NGX_XMPP_TO_SELF,
      ngx_string("urn:xmpp:mam:2"), ngx_string("query"),
      ngx_xmpp_archive_form },

    { NGX_XMPP_IQ_GET|NGX_XMPP_TO_SELF,
      ngx_string("urn:xmpp:mam:2"), ngx_string("metadata"),
      ngx_xmpp_archive_metadata },

    { NGX_XMPP_IQ_GET|NGX_XMPP_TO_SELF,
      ngx_string("urn:xmpp:mam:2"), ngx_string("prefs"),
      ngx_xmpp_archive_prefs_get },

    { NGX_XMPP_IQ_SET|NGX_XMPP_TO_SELF,
      ngx_string("urn:xmpp:mam:2"), ngx_string("prefs"),
      ngx_xmpp_archive_prefs_set },

    { NGX_XMPP_IQ_GET|NGX_XMPP_IQ_SET|NGX_XMPP_TO_BARE,
      ngx_string("urn:xmpp:mam:2"), ngx_string("query"),
      ngx_xmpp_archive_forbidden },

    { NGX_XMPP_IQ_GET|NGX_XMPP_IQ_SET|NGX_XMPP_TO_BARE,
      ngx_string("urn:xmpp:mam:2"), ngx_string("metadata"),
      ngx_xmpp_archive_forbidden },

    { NGX_XMPP_IQ_GET|NGX_XMPP_IQ_SET|NGX_XMPP_TO_BARE,
      ngx_string("urn:xmpp:mam:2"), ngx_string("prefs"),
      ngx_xmpp_archive_forbidden },

      ngx_xmpp_null_iq
};


static ngx_conf_post_t  ngx_xmpp_archive_time = {
    ngx_xmpp_archive_check_time
};


static ngx_command_t  ngx_xmpp_archive_commands[] = {

    { ngx_string("xmpp_archive"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_archive_conf_t, enable),
      NULL },

    { ngx_string("xmpp_archive_messages"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_archive_conf_t, messages),
      &ngx_xmpp_conf_positive },

    { ngx_string("xmpp_archive_size"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_size_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_archive_conf_t, size),
      &ngx_xmpp_conf_positive },

    { ngx_string("xmpp_archive_time"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_archive_conf_t, time),
      &ngx_xmpp_archive_time },

    { ngx_string("xmpp_archive_page"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_archive_conf_t, page),
      &ngx_xmpp_conf_positive },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_archive_module_ctx = {
    ngx_xmpp_archive_preconfiguration,     /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_archive_create_conf,          /* create server configuration */
    ngx_xmpp_archive_merge_conf            /* merge server configuration */
};


ngx_module_t  ngx_xmpp_archive_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_archive_module_ctx,          /* module context */
    ngx_xmpp_archive_commands,             /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_archive_feature = {
    &ngx_xmpp_archive_module,
    ngx_xmpp_archive_xeps,
    NULL,                                  /* features of the host */
    NULL,                                  /* nonzas */
    NULL,                                  /* stream features */
    ngx_xmpp_archive_iqs,
    NULL,                                  /* hooks */
    NULL,                                  /* events */
    NULL,                                  /* identities */
    ngx_xmpp_archive_prepare_host,         /* prepare */
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_archive_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_archive_feature);
}


static void *
ngx_xmpp_archive_create_conf(ngx_conf_t *cf)
{
    ngx_xmpp_archive_conf_t  *conf;

    conf = ngx_palloc(cf->pool, sizeof(ngx_xmpp_archive_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->enable = NGX_CONF_UNSET;
    conf->messages = NGX_CONF_UNSET;
    conf->size = NGX_CONF_UNSET_SIZE;
    conf->time = NGX_CONF_UNSET_MSEC;
    conf->page = NGX_CONF_UNSET;

    return conf;
}


static char *
ngx_xmpp_archive_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_xmpp_archive_conf_t *prev = parent;
    ngx_xmpp_archive_conf_t *conf = child;

    ngx_conf_merge_value(conf->enable, prev->enable, 1);
    ngx_conf_merge_value(conf->messages, prev->messages,
                         NGX_XMPP_ARCHIVE_MESSAGES);
    ngx_conf_merge_size_value(conf->size, prev->size,
                              NGX_XMPP_ARCHIVE_SIZE);
    ngx_conf_merge_msec_value(conf->time, prev->time, 0);
    ngx_conf_merge_value(conf->page, prev->page, NGX_XMPP_ARCHIVE_PAGE);

    return NGX_CONF_OK;
}


static char *
ngx_xmpp_archive_check_time(ngx_conf_t *cf, void *post, void *data)
{
    ngx_msec_t  *time = data;

    if (*time && *time < 1000) {
        return "must be one second at least, or 0: any age";
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_xmpp_archive_prepare_host(ngx_conf_t *cf, ngx_xmpp_host_t *h)
{
    u_char                   *p;
    ngx_str_t                *feature, *var;
    ngx_xmpp_archive_conf_t  *conf;

    conf = ngx_xmpp_host_conf(h, ngx_xmpp_archive_module);

    p = ngx_pnalloc(cf->pool, NGX_INT_T_LEN + NGX_SIZE_T_LEN + NGX_INT_T_LEN
                              + 2);
    if (p == NULL) {
        return NGX_ERROR;
    }

    h->archive.data = p;
    h->archive.len = ngx_sprintf(p, "%i %uz %M", conf->messages, conf->size,
                                 conf->time / 1000)
                     - p;

    for (feature = ngx_xmpp_archive_features; feature->len; feature++) {

        var = ngx_array_push(&h->account_features);
        if (var == NULL) {
            return NGX_ERROR;
        }

        *var = *feature;
    }

    return NGX_OK;
}


/* XEP-0313, 8.1: another's, whether there is such an account */

static ngx_int_t
ngx_xmpp_archive_forbidden(ngx_xmpp_stanza_t *stz)
{
    return NGX_XMPP_E_FORBIDDEN;
}


/* 4.1.5: which fields there are */

static ngx_int_t
ngx_xmpp_archive_form(ngx_xmpp_stanza_t *stz)
{
    ngx_xmpp_xml_t  *query, *x;

    static ngx_str_t  name = ngx_string("query");
    static ngx_str_t  title = ngx_string("Messages of the archive");
    static ngx_str_t  instructions = ngx_string("Fill in what they have to "
                                                "match, or nothing.");

    query = ngx_xmpp_xml_create(stz->pool, &name, &ngx_xmpp_archive_ns);
    x = ngx_xmpp_form_asking(stz->pool, &ngx_xmpp_archive_ns, &title,
                             &instructions, ngx_xmpp_archive_fields);

    if (query == NULL || x == NULL
        || ngx_xmpp_archive_open(stz->pool, x) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_xmpp_xml_append(query, x);

    return ngx_xmpp_reply(stz, query);
}


/* 4.1.5: ids has any values, which are not listed (XEP-0122, 3.3.1) */

static ngx_int_t
ngx_xmpp_archive_open(ngx_pool_t *pool, ngx_xmpp_xml_t *x)
{
    ngx_str_t       *type;
    ngx_xmpp_xml_t  *e, *validate;

    static ngx_str_t  name = ngx_string("validate");
    static ngx_str_t  ns = ngx_string("http://jabber.org/protocol/"
                                      "xdata-validate");
    static ngx_str_t  string = ngx_string("xs:string");
    static ngx_str_t  open = ngx_string("open");

    for (e = ngx_xmpp_xml_child(x, "field", &ngx_xmpp_form_ns);
         e;
         e = ngx_xmpp_xml_next(e))
    {
        type = ngx_xmpp_xml_attr(e, "type");

        if (type == NULL || type->len != sizeof("list-multi") - 1
            || ngx_memcmp(type->data, "list-multi", type->len) != 0)
        {
            continue;
        }

        validate = ngx_xmpp_xml_add(pool, e, &name, &ns);

        if (validate == NULL
            || ngx_xmpp_xml_set(pool, validate, "datatype", &string) != NGX_OK
            || ngx_xmpp_xml_add(pool, validate, &open, NULL) == NULL)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* 5 */

static ngx_int_t
ngx_xmpp_archive_metadata(ngx_xmpp_stanza_t *stz)
{
    ngx_xmpp_session_t       *xs;
    ngx_xmpp_archive_conf_t  *conf;
    ngx_xmpp_archive_ends_t  *ends;

    xs = stz->session;
    conf = ngx_xmpp_host_conf(xs->host, ngx_xmpp_archive_module);

    ends = ngx_palloc(stz->pool, sizeof(ngx_xmpp_archive_ends_t));
    if (ends == NULL) {
        return NGX_ERROR;
    }

    ends->stanza = stz;

    ngx_xmpp_session_record(xs, &ends->record);

    if (ngx_xmpp_store_archive_ends(xs->worker->store, stz->pool,
                                    &ends->record, conf->time / 1000,
                                    ngx_xmpp_archive_metadata_done, ends)
        == NULL)
    {
        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    return NGX_AGAIN;
}


static void
ngx_xmpp_archive_metadata_done(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_archive_ends_t *ends = data;

    ngx_int_t           rc;
    ngx_xmpp_xml_t     *metadata;
    ngx_xmpp_stanza_t  *stz;

    static ngx_str_t  name = ngx_string("metadata");

    stz = ends->stanza;
    rc = ngx_xmpp_reply_stored(stz, res);

    if (rc != NGX_OK) {
        ngx_xmpp_stanza_resume(stz, rc);
        return;
    }

    metadata = ngx_xmpp_xml_create(stz->pool, &name, &ngx_xmpp_archive_ns);

    if (metadata == NULL
        || (res->reply->elements > 4
            && (ngx_xmpp_archive_end(stz, metadata, "start",
                                     res->reply->element[3])
                != NGX_OK
                || ngx_xmpp_archive_end(stz, metadata, "end",
                                        res->reply->element[4])
                   != NGX_OK)))
    {
        ngx_xmpp_stanza_resume(stz, NGX_ERROR);
        return;
    }

    ngx_xmpp_stanza_resume(stz, ngx_xmpp_reply(stz, metadata));
}


static ngx_int_t
ngx_xmpp_archive_end(ngx_xmpp_stanza_t *stz, ngx_xmpp_xml_t *metadata,
    const char *name, redisReply *id)
{
    u_char                    *p;
    ngx_str_t                  text;
    ngx_xmpp_xml_t            *e;
    ngx_xmpp_session_t        *xs;
    ngx_xmpp_entry_t   entry;

    xs = stz->session;

    text.data = (u_char *) name;
    text.len = ngx_strlen(name);

    e = ngx_xmpp_xml_add(stz->pool, metadata, &text, NULL);
    p = ngx_pnalloc(stz->pool, NGX_XMPP_ENTRY_ID_LEN
                               + sizeof("1970-01-01T00:00:00.000000Z"));

    if (e == NULL || p == NULL
        || ngx_xmpp_archive_entry(id, &entry) != NGX_OK
        || ngx_xmpp_stanza_id_write(p, xs->worker, &xs->jid.bare, &entry)
           == NULL)
    {
        return NGX_ERROR;
    }

    text.data = p;
    text.len = NGX_XMPP_ENTRY_ID_LEN;

    if (ngx_xmpp_xml_set(stz->pool, e, "id", &text) != NGX_OK) {
        return NGX_ERROR;
    }

    text.data = p + NGX_XMPP_ENTRY_ID_LEN;
    text.len = ngx_xmpp_datetime_usec(text.data, entry.number) - text.data;

    return ngx_xmpp_xml_set(stz->pool, e, "timestamp", &text);
}


ngx_int_t
ngx_xmpp_archive_entry(redisReply *id, ngx_xmpp_entry_t *entry)
{
    u_char     *p, *text, *last;
    time_t      number;
    ngx_int_t   index;

    if (id->type != REDIS_REPLY_STRING) {
        return NGX_ERROR;
    }

    text = (u_char *) id->str;
    last = text + id->len;
    p = ngx_strlchr(text, last, '-');

    if (p == NULL) {
        return NGX_ERROR;
    }

    number = ngx_atotm(text, p - text);
    index = ngx_atoi(p + 1, last - p - 1);

    if (number == NGX_ERROR || index == NGX_ERROR) {
        return NGX_ERROR;
    }

    entry->number = number;
    entry->index = index;

    return NGX_OK;
}
