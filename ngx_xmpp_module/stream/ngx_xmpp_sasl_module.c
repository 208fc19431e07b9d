/*
 * SASL (RFC 6120, 6): the mechanisms feature, <auth/>, <response/>,
 * <abort/>, <success/> and <failure/>.
 *
 *     no exchange --auth--> exchange --challenge/response--> ... --+
 *         ^  ^                                                     |
 *         |  +------------- failure, abort ------------------------+
 *         +-- success: the stream restarts                         |
 *
 * One exchange at a time; the stream is parked while a mechanism waits for
 * Redis or for a thread.  Failed attempts are counted, and the stream ends
 * when they are too many (6.4.5).  A failure never tells more than
 * not-authorized about whether an account exists (6.5.10).
 */


#include "ngx_xmpp_sasl.h"


typedef struct {
    ngx_flag_t                  enable;
    ngx_uint_t                  mechanisms;     /* bits */
} ngx_xmpp_sasl_conf_t;


static ngx_int_t ngx_xmpp_sasl_preconfiguration(ngx_conf_t *cf);
static void *ngx_xmpp_sasl_create_conf(ngx_conf_t *cf);
static char *ngx_xmpp_sasl_merge_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_uint_t ngx_xmpp_sasl_offered(ngx_xmpp_stream_t *st,
    ngx_xmpp_sasl_mechanism_t *m);
static ngx_int_t ngx_xmpp_sasl_write(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_xml_t *features);
static ngx_int_t ngx_xmpp_sasl_auth(ngx_xmpp_stream_t *st,
    ngx_xmpp_xml_t *e);
static ngx_int_t ngx_xmpp_sasl_response(ngx_xmpp_stream_t *st,
    ngx_xmpp_xml_t *e);
static ngx_int_t ngx_xmpp_sasl_abort(ngx_xmpp_stream_t *st,
    ngx_xmpp_xml_t *e);
static ngx_int_t ngx_xmpp_sasl_begin(ngx_xmpp_stream_t *st,
    ngx_xmpp_sasl_mechanism_t *m);
static ngx_int_t ngx_xmpp_sasl_decode(ngx_xmpp_sasl_t *sasl,
    ngx_xmpp_xml_t *e, ngx_str_t *data);
static ngx_int_t ngx_xmpp_sasl_step(ngx_xmpp_sasl_t *sasl, ngx_str_t *data);
static void ngx_xmpp_sasl_answer(ngx_xmpp_sasl_t *sasl, ngx_int_t rc);
static ngx_int_t ngx_xmpp_sasl_send(ngx_xmpp_sasl_t *sasl, const char *name);
static void ngx_xmpp_sasl_fail(ngx_xmpp_stream_t *st, ngx_int_t failure);
static ngx_int_t ngx_xmpp_sasl_authzid(ngx_xmpp_sasl_t *sasl,
    ngx_str_t *authzid);
static void ngx_xmpp_sasl_keys(void *data, ngx_xmpp_store_result_t *res);


static ngx_str_t  ngx_xmpp_sasl_failures[] = {
    ngx_null_string,
    ngx_string("aborted"),
    ngx_string("encryption-required"),
    ngx_string("incorrect-encoding"),
    ngx_string("invalid-authzid"),
    ngx_string("invalid-mechanism"),
    ngx_string("malformed-request"),
    ngx_string("not-authorized"),
    ngx_string("temporary-auth-failure")
};


#define NGX_XMPP_SASL_SCRAM_SHA512    0x02
#define NGX_XMPP_SASL_SCRAM_SHA256    0x04
#define NGX_XMPP_SASL_SCRAM_SHA1      0x08
#define NGX_XMPP_SASL_PLAIN           0x10


/* the strongest first, RFC 6120, 6.3.3 */

static ngx_xmpp_sasl_mechanism_t  ngx_xmpp_sasl_mechanisms[] = {

    { ngx_string("SCRAM-SHA-512"), NGX_XMPP_SASL_SCRAM_SHA512,
      NGX_XMPP_SCRAM_SHA512, 0, ngx_xmpp_sasl_scram_step,
      ngx_xmpp_sasl_scram_keys },

    { ngx_string("SCRAM-SHA-256"), NGX_XMPP_SASL_SCRAM_SHA256,
      NGX_XMPP_SCRAM_SHA256, 0, ngx_xmpp_sasl_scram_step,
      ngx_xmpp_sasl_scram_keys },

    { ngx_string("SCRAM-SHA-1"), NGX_XMPP_SASL_SCRAM_SHA1,
      NGX_XMPP_SCRAM_SHA1, 0, ngx_xmpp_sasl_scram_step,
      ngx_xmpp_sasl_scram_keys },

    { ngx_string("PLAIN"), NGX_XMPP_SASL_PLAIN,
      NGX_XMPP_SCRAM_SHA256, 1, ngx_xmpp_sasl_plain_step,
      ngx_xmpp_sasl_plain_keys },

    { ngx_null_string, 0, 0, 0, NULL, NULL }
};


static ngx_conf_bitmask_t  ngx_xmpp_sasl_mechanism_bits[] = {
    { ngx_string("SCRAM-SHA-512"), NGX_XMPP_SASL_SCRAM_SHA512 },
    { ngx_string("SCRAM-SHA-256"), NGX_XMPP_SASL_SCRAM_SHA256 },
    { ngx_string("SCRAM-SHA-1"), NGX_XMPP_SASL_SCRAM_SHA1 },
    { ngx_string("PLAIN"), NGX_XMPP_SASL_PLAIN },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_xmpp_sasl_commands[] = {

    { ngx_string("xmpp_sasl_mechanisms"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_1MORE,
      ngx_conf_set_bitmask_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_sasl_conf_t, mechanisms),
      &ngx_xmpp_sasl_mechanism_bits },

      ngx_null_command
};


static ngx_str_t  ngx_xmpp_sasl_mechanisms_name = ngx_string("mechanisms");
static ngx_str_t  ngx_xmpp_sasl_mechanism_name = ngx_string("mechanism");
static ngx_str_t  ngx_xmpp_sasl_failure_name = ngx_string("failure");


static ngx_xmpp_xep_t  ngx_xmpp_sasl_xeps[] = {
    { 6120, NULL, "section 6" },
    { 5802, NULL, "without channel binding" },
    { 7677, NULL, "without channel binding" },
    { 4616, NULL, "complete" },
    ngx_xmpp_null_xep
};


static ngx_xmpp_nonza_t  ngx_xmpp_sasl_nonzas[] = {

    { NGX_XMPP_ST_PLAIN|NGX_XMPP_ST_SECURE,
      ngx_string("urn:ietf:params:xml:ns:xmpp-sasl"), ngx_string("auth"),
      ngx_xmpp_sasl_auth },

    { NGX_XMPP_ST_PLAIN|NGX_XMPP_ST_SECURE,
      ngx_string("urn:ietf:params:xml:ns:xmpp-sasl"), ngx_string("response"),
      ngx_xmpp_sasl_response },

    { NGX_XMPP_ST_PLAIN|NGX_XMPP_ST_SECURE,
      ngx_string("urn:ietf:params:xml:ns:xmpp-sasl"), ngx_string("abort"),
      ngx_xmpp_sasl_abort },

      ngx_xmpp_null_nonza
};


static ngx_xmpp_stream_feature_t  ngx_xmpp_sasl_features[] = {

    { NGX_XMPP_ST_PLAIN|NGX_XMPP_ST_SECURE, NGX_XMPP_FEATURE_SASL,
      ngx_xmpp_sasl_write },

      ngx_xmpp_null_stream_feature
};


static ngx_stream_module_t  ngx_xmpp_sasl_module_ctx = {
    ngx_xmpp_sasl_preconfiguration,        /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_sasl_create_conf,             /* create server configuration */
    ngx_xmpp_sasl_merge_conf               /* merge server configuration */
};


ngx_module_t  ngx_xmpp_sasl_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_sasl_module_ctx,             /* module context */
    ngx_xmpp_sasl_commands,                /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_sasl_feature = {
    &ngx_xmpp_sasl_module,
    ngx_xmpp_sasl_xeps,
    NULL,                                  /* disco features */
    ngx_xmpp_sasl_nonzas,
    ngx_xmpp_sasl_features,
    NULL,                                  /* iq */
    NULL,                                  /* hooks */
    NULL                                   /* events */
};


static ngx_int_t
ngx_xmpp_sasl_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_sasl_feature);
}


static void *
ngx_xmpp_sasl_create_conf(ngx_conf_t *cf)
{
    ngx_xmpp_sasl_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_xmpp_sasl_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->enable = 1;

    return conf;
}


static char *
ngx_xmpp_sasl_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_xmpp_sasl_conf_t *prev = parent;
    ngx_xmpp_sasl_conf_t *conf = child;

    ngx_conf_merge_bitmask_value(conf->mechanisms, prev->mechanisms,
                                 (NGX_CONF_BITMASK_SET
                                  |NGX_XMPP_SASL_SCRAM_SHA512
                                  |NGX_XMPP_SASL_SCRAM_SHA256
                                  |NGX_XMPP_SASL_SCRAM_SHA1
                                  |NGX_XMPP_SASL_PLAIN));

    return NGX_CONF_OK;
}


/* RFC 6120, 6.3.4, 13.8.1: PLAIN under TLS only */

static ngx_uint_t
ngx_xmpp_sasl_offered(ngx_xmpp_stream_t *st, ngx_xmpp_sasl_mechanism_t *m)
{
    ngx_xmpp_sasl_conf_t  *conf;

    if (!st->tls
        && (m->tls || st->conf->starttls == NGX_XMPP_STARTTLS_ONLY))
    {
        return 0;
    }

    conf = ngx_xmpp_host_conf(st->host, ngx_xmpp_sasl_module);

    return conf->mechanisms & m->bit;
}


static ngx_int_t
ngx_xmpp_sasl_write(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_xml_t *features)
{
    ngx_xmpp_xml_t             *e, *name;
    ngx_xmpp_sasl_mechanism_t  *m;

    e = NULL;

    for (m = ngx_xmpp_sasl_mechanisms; m->step; m++) {

        if (!ngx_xmpp_sasl_offered(st, m)) {
            continue;
        }

        if (e == NULL) {
            e = ngx_xmpp_xml_add(pool, features,
                                 &ngx_xmpp_sasl_mechanisms_name,
                                 &ngx_xmpp_ns_sasl);
            if (e == NULL) {
                return NGX_ERROR;
            }
        }

        name = ngx_xmpp_xml_add(pool, e, &ngx_xmpp_sasl_mechanism_name, NULL);

        if (name == NULL
            || ngx_xmpp_xml_add_text(pool, name, &m->name) == NULL)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_sasl_auth(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e)
{
    ngx_int_t                   rc;
    ngx_str_t                   data, *name;
    ngx_xmpp_sasl_mechanism_t  *m;

    /* an exchange under way ends with the new one's begin */

    if (st->sasl) {
        ngx_xmpp_sasl_fail(st, NGX_XMPP_SASL_MALFORMED_REQUEST);
        return NGX_OK;
    }

    if (!st->tls && st->conf->starttls == NGX_XMPP_STARTTLS_ONLY) {
        ngx_xmpp_sasl_fail(st, NGX_XMPP_SASL_ENCRYPTION_REQUIRED);
        return NGX_OK;
    }

    name = ngx_xmpp_xml_attr(e, "mechanism");

    for (m = ngx_xmpp_sasl_mechanisms; m->step; m++) {
        if (name && ngx_xmpp_str_eq(name, &m->name)) {
            break;
        }
    }

    if (m->step == NULL || !ngx_xmpp_sasl_offered(st, m)) {
        ngx_xmpp_sasl_fail(st, (m->step && m->tls && !st->tls)
                               ? NGX_XMPP_SASL_ENCRYPTION_REQUIRED
                               : NGX_XMPP_SASL_INVALID_MECHANISM);
        return NGX_OK;
    }

    if (ngx_xmpp_sasl_begin(st, m) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_xmpp_sasl_decode(st->sasl, e, &data);

    if (rc != NGX_OK) {
        ngx_xmpp_sasl_answer(st->sasl, rc);
        return NGX_OK;
    }

    /* RFC 6120, 6.4.2: without an initial response, an empty challenge */

    if (data.data == NULL) {
        ngx_xmpp_sasl_answer(st->sasl, NGX_OK);
        return NGX_OK;
    }

    return ngx_xmpp_sasl_step(st->sasl, &data);
}


static ngx_int_t
ngx_xmpp_sasl_response(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e)
{
    ngx_int_t  rc;
    ngx_str_t  data;

    if (st->sasl == NULL) {
        ngx_xmpp_sasl_fail(st, NGX_XMPP_SASL_MALFORMED_REQUEST);
        return NGX_OK;
    }

    rc = ngx_xmpp_sasl_decode(st->sasl, e, &data);

    if (rc != NGX_OK) {
        ngx_xmpp_sasl_answer(st->sasl, rc);
        return NGX_OK;
    }

    return ngx_xmpp_sasl_step(st->sasl, &data);
}


/* RFC 6120, 6.4.4 */

static ngx_int_t
ngx_xmpp_sasl_abort(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e)
{
    ngx_xmpp_sasl_fail(st, NGX_XMPP_SASL_ABORTED);

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_sasl_begin(ngx_xmpp_stream_t *st, ngx_xmpp_sasl_mechanism_t *m)
{
    ngx_pool_t       *pool;
    ngx_xmpp_sasl_t  *sasl;

    pool = ngx_create_pool(1024, st->nginx->connection->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    sasl = ngx_pcalloc(pool, sizeof(ngx_xmpp_sasl_t));
    if (sasl == NULL) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    sasl->pool = pool;
    sasl->stream = st;
    sasl->mechanism = m;

    st->sasl = sasl;

    return NGX_OK;
}


/*
 * The element's text (RFC 6120, 6.4.2): base64, "=" for a message of no
 * bytes; data->data is NULL when there is no text.  NGX_OK or a failure.
 */

static ngx_int_t
ngx_xmpp_sasl_decode(ngx_xmpp_sasl_t *sasl, ngx_xmpp_xml_t *e,
    ngx_str_t *data)
{
    ngx_int_t  rc;
    ngx_str_t  text;

    ngx_str_null(data);

    if (ngx_xmpp_xml_text(sasl->pool, e, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    if (text.len == 0) {
        return NGX_OK;
    }

    if (text.len == 1 && text.data[0] == '=') {
        data->data = (u_char *) "";
        return NGX_OK;
    }

    rc = ngx_xmpp_base64_decode(sasl->pool, &text, data);

    return (rc == NGX_DECLINED) ? NGX_XMPP_SASL_INCORRECT_ENCODING : rc;
}


/* returns what a nonza handler returns */

static ngx_int_t
ngx_xmpp_sasl_step(ngx_xmpp_sasl_t *sasl, ngx_str_t *data)
{
    ngx_int_t  rc;

    ngx_str_null(&sasl->out);

    rc = sasl->mechanism->step(sasl, data);

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    ngx_xmpp_sasl_answer(sasl, rc);

    return NGX_OK;
}


void
ngx_xmpp_sasl_done(ngx_xmpp_sasl_t *sasl, ngx_int_t rc)
{
    ngx_xmpp_stream_t  *st;

    st = sasl->stream;

    ngx_xmpp_sasl_answer(sasl, rc);

    st->transport->resume(st);
}


/* sends the mechanism's answer; the exchange ends unless it is a challenge */

static void
ngx_xmpp_sasl_answer(ngx_xmpp_sasl_t *sasl, ngx_int_t rc)
{
    ngx_xmpp_stream_t  *st;

    st = sasl->stream;

    switch (rc) {

    case NGX_OK:
        if (ngx_xmpp_sasl_send(sasl, "challenge") != NGX_OK) {
            ngx_xmpp_sasl_end(st);
        }

        return;

    case NGX_DONE:
        if (ngx_xmpp_sasl_send(sasl, "success") != NGX_OK) {
            ngx_xmpp_sasl_end(st);
            return;
        }

        ngx_log_error(NGX_LOG_INFO, st->nginx->connection->log, 0,
                      "client logged in as \"%V@%V\" by %V",
                      &sasl->user, &st->host->name, &sasl->mechanism->name);

        if (ngx_xmpp_stream_authenticated(st, &sasl->user) != NGX_OK) {
            st->transport->close(st, NGX_XMPP_SE_INTERNAL_SERVER_ERROR, NULL);
        }

        ngx_xmpp_sasl_end(st);
        return;

    default:
        ngx_xmpp_sasl_fail(st, (rc > 0) ? rc : NGX_XMPP_SASL_TEMPORARY);
    }
}


static ngx_int_t
ngx_xmpp_sasl_send(ngx_xmpp_sasl_t *sasl, const char *name)
{
    ngx_str_t        text, tag;
    ngx_xmpp_xml_t  *e;

    tag.data = (u_char *) name;
    tag.len = ngx_strlen(name);

    e = ngx_xmpp_xml_create(sasl->pool, &tag, &ngx_xmpp_ns_sasl);

    if (e == NULL) {
        goto failed;
    }

    if (sasl->out.data) {
        if (ngx_xmpp_base64_encode(sasl->pool, &sasl->out, &text) != NGX_OK
            || ngx_xmpp_xml_add_text(sasl->pool, e, &text) == NULL)
        {
            goto failed;
        }
    }

    return ngx_xmpp_stream_send(sasl->stream, e);

failed:

    sasl->stream->transport->close(sasl->stream,
                                   NGX_XMPP_SE_INTERNAL_SERVER_ERROR, NULL);

    return NGX_ERROR;
}


/* RFC 6120, 6.4.5: another try, but not for ever */

static void
ngx_xmpp_sasl_fail(ngx_xmpp_stream_t *st, ngx_int_t failure)
{
    ngx_str_t         user, mechanism;
    ngx_pool_t       *pool;
    ngx_xmpp_xml_t   *e;

    ngx_str_set(&user, "");
    ngx_str_set(&mechanism, "");

    if (st->sasl) {

        /* bytes that no JID may have could forge a line of the log */

        if (!st->sasl->unnamed) {
            user = st->sasl->user;
        }

        mechanism = st->sasl->mechanism->name;
    }

    ngx_log_error(NGX_LOG_INFO, st->nginx->connection->log, 0,
                  "client failed to log in as \"%V@%V\" by %V: %V",
                  &user, &st->host->name, &mechanism,
                  &ngx_xmpp_sasl_failures[failure]);

    ngx_xmpp_sasl_end(st);

    pool = ngx_xmpp_worker_pool(st->worker);
    if (pool == NULL) {
        st->transport->close(st, NGX_XMPP_SE_INTERNAL_SERVER_ERROR, NULL);
        return;
    }

    e = ngx_xmpp_xml_create(pool, &ngx_xmpp_sasl_failure_name,
                            &ngx_xmpp_ns_sasl);

    if (e != NULL
        && ngx_xmpp_xml_add(pool, e, &ngx_xmpp_sasl_failures[failure], NULL)
           != NULL)
    {
        (void) ngx_xmpp_stream_send(st, e);
    }

    ngx_xmpp_worker_pool_done(st->worker, pool);

    if (++st->attempts >= st->conf->auth_attempts) {
        st->transport->close(st, NGX_XMPP_SE_POLICY_VIOLATION,
                             "too many failed attempts to authenticate");
    }
}


void
ngx_xmpp_sasl_end(ngx_xmpp_stream_t *st)
{
    ngx_pool_t  *pool;

    if (st->sasl == NULL) {
        return;
    }

    pool = st->sasl->pool;
    st->sasl = NULL;

    ngx_destroy_pool(pool);
}


ngx_int_t
ngx_xmpp_sasl_lookup(ngx_xmpp_sasl_t *sasl, ngx_str_t *name,
    ngx_str_t *authzid, ngx_xmpp_scram_hash_e hash)
{
    ngx_int_t           rc;
    ngx_str_t           tag;
    ngx_xmpp_jid_t      jid;
    ngx_xmpp_stream_t  *st;

    st = sasl->stream;

    rc = ngx_xmpp_jid_prep_local(sasl->pool, name, &sasl->user);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {

        /* cannot exist, but must look like one that does not */

        sasl->unknown = 1;
        sasl->unnamed = 1;
        sasl->user = *name;

        if (sasl->user.len > NGX_XMPP_JID_PART_MAX) {
            sasl->user.len = NGX_XMPP_JID_PART_MAX;
        }

    } else {
        rc = ngx_xmpp_sasl_authzid(sasl, authzid);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (ngx_xmpp_jid_make(sasl->pool, &sasl->user, &st->host->name, NULL,
                          &jid)
        != NGX_OK
        || ngx_xmpp_store_tag(sasl->pool, &jid.bare, &tag) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_xmpp_store_credentials(st->worker->store, sasl->pool, &tag,
                                   &ngx_xmpp_scram_fields[hash],
                                   ngx_xmpp_sasl_keys, sasl)
        == NULL)
    {
        return NGX_ERROR;
    }

    return NGX_AGAIN;
}


/* RFC 6120, 6.3.8: to act as oneself is all that anyone may ask for */

static ngx_int_t
ngx_xmpp_sasl_authzid(ngx_xmpp_sasl_t *sasl, ngx_str_t *authzid)
{
    ngx_int_t       rc;
    ngx_xmpp_jid_t  jid;

    if (authzid->len == 0) {
        return NGX_OK;
    }

    rc = ngx_xmpp_jid_parse(sasl->pool, authzid, &jid);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED
        || jid.resource.len
        || !ngx_xmpp_str_eq(&jid.local, &sasl->user)
        || !ngx_xmpp_str_eq(&jid.domain, &sasl->stream->host->name))
    {
        return NGX_XMPP_SASL_INVALID_AUTHZID;
    }

    return NGX_OK;
}


/* the keys came: a user without any gets stable ones that fit no password */

static void
ngx_xmpp_sasl_keys(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_sasl_t *sasl = data;

    ngx_int_t               rc;
    ngx_str_t              *secret, salt;
    ngx_xmpp_scram_hash_e   hash;

    if (res->rc != NGX_OK && res->rc != NGX_DECLINED) {
        ngx_xmpp_sasl_done(sasl, NGX_ERROR);
        return;
    }

    hash = sasl->mechanism->hash;

    if (res->rc == NGX_DECLINED || sasl->unknown
        || ngx_xmpp_scram_keys_parse(hash, &res->text, &sasl->scram.keys)
           != NGX_OK)
    {
        sasl->unknown = 1;

        secret = ngx_xmpp_store_secret(sasl->stream->worker->store);

        if (secret->len == 0) {
            ngx_xmpp_sasl_done(sasl, NGX_ERROR);
            return;
        }

        /* the salt differs from host to host, as a real one would */

        salt.len = sasl->user.len + 1 + sasl->stream->host->name.len;
        salt.data = ngx_pnalloc(sasl->pool, salt.len);

        if (salt.data == NULL) {
            ngx_xmpp_sasl_done(sasl, NGX_ERROR);
            return;
        }

        ngx_sprintf(salt.data, "%V@%V", &sasl->user,
                    &sasl->stream->host->name);

        if (ngx_xmpp_scram_keys_fake(hash, secret, &salt,
                                     NGX_XMPP_SCRAM_ITERATIONS,
                                     &sasl->scram.keys)
            != NGX_OK)
        {
            ngx_xmpp_sasl_done(sasl, NGX_ERROR);
            return;
        }
    }

    rc = sasl->mechanism->keys(sasl);

    if (rc != NGX_AGAIN) {
        ngx_xmpp_sasl_done(sasl, rc);
    }
}
