/*
 * In-Band Registration (XEP-0077), for users who are logged in: what is on
 * file, a new password, and the end of the account.
 *
 *     set --HGET--> how the old keys were made --thread--> new keys
 *         --Function--> they take the place of the old ones
 *
 *     remove --first step--> answered, then the stream ends
 *
 * Keys are made in a thread (core/ngx_xmpp_keys.c).  Sessions that are open go
 * on, as after xmppctl passwd.  The removal is the worker's and goes on without
 * us (core/ngx_xmpp_remove.c); the bell of its first step may come before the
 * answer, so a session that has asked for it is closed here.
 *
 * The iq waits parked; what is under way lives in its pool.  Redis goes, or the
 * outcome is not known: error wait, since the same again does no harm; which
 * password counts, the old or the new one, the next login tells.
 */


#include "ngx_xmpp.h"
#include "ngx_xmpp_precis.h"


/* new ones of an account in a minute, in a worker */
#define NGX_XMPP_PASSWORD_OFTEN       10


typedef struct {
    ngx_xmpp_stanza_t          *stanza;
    ngx_xmpp_store_session_t    record;
    ngx_str_t                   password;       /* prepared */
} ngx_xmpp_password_t;


static ngx_int_t ngx_xmpp_password_preconfiguration(ngx_conf_t *cf);
static ngx_uint_t ngx_xmpp_password_refused(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_password_get(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_password_set(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_password_remove(ngx_xmpp_stanza_t *stz);
static void ngx_xmpp_password_removed(void *data, ngx_int_t rc);
static ngx_int_t ngx_xmpp_password_user(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_password_prep(ngx_xmpp_password_t *ch);
static ngx_uint_t ngx_xmpp_password_often(ngx_xmpp_account_t *a);
static void ngx_xmpp_password_got(void *data, ngx_xmpp_store_result_t *res);
static void ngx_xmpp_password_made(void *data, ngx_str_t *keys);
static void ngx_xmpp_password_stored(void *data, ngx_xmpp_store_result_t *res);


static ngx_str_t  ngx_xmpp_password_ns = ngx_string("jabber:iq:register");
static ngx_str_t  ngx_xmpp_password_names[] = {
    ngx_string("query"),
    ngx_string("registered"),
    ngx_string("username"),
    ngx_string("password")
};


static ngx_xmpp_xep_t  ngx_xmpp_password_xeps[] = {
    { 77, "2.5", "sections 3.2 and 3.3" },
    ngx_xmpp_null_xep
};


static ngx_str_t  ngx_xmpp_password_features[] = {
    ngx_string("jabber:iq:register"),
    ngx_null_string
};


static ngx_xmpp_iq_t  ngx_xmpp_password_iqs[] = {

    { NGX_XMPP_IQ_GET|NGX_XMPP_TO_SELF|NGX_XMPP_TO_HOST,
      ngx_string("jabber:iq:register"), ngx_string("query"),
      ngx_xmpp_password_get },

    { NGX_XMPP_IQ_SET|NGX_XMPP_TO_SELF|NGX_XMPP_TO_HOST,
      ngx_string("jabber:iq:register"), ngx_string("query"),
      ngx_xmpp_password_set },

      ngx_xmpp_null_iq
};


static ngx_command_t  ngx_xmpp_password_commands[] = {

    { ngx_string("xmpp_password"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_feature_conf_t, enable),
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_password_module_ctx = {
    ngx_xmpp_password_preconfiguration,    /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_feature_create_conf,          /* create server configuration */
    ngx_xmpp_feature_merge_on              /* merge server configuration */
};


ngx_module_t  ngx_xmpp_password_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_password_module_ctx,         /* module context */
    ngx_xmpp_password_commands,            /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_password_feature = {
    &ngx_xmpp_password_module,
    ngx_xmpp_password_xeps,
    ngx_xmpp_password_features,
    NULL,                                  /* nonzas */
    NULL,                                  /* stream features */
    ngx_xmpp_password_iqs,
    NULL,                                  /* hooks */
    NULL,                                  /* events */
    NULL,                                  /* identities */
    NULL,                                  /* prepare */
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_password_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_password_feature);
}


/* an account is of its own domain; an address for the time being has none */

static ngx_uint_t
ngx_xmpp_password_refused(ngx_xmpp_stanza_t *stz)
{
    return stz->host != stz->session->host || stz->session->lifetime;
}


/* XEP-0077, 3.1: who is registered is told so, and what is on file */

static ngx_int_t
ngx_xmpp_password_get(ngx_xmpp_stanza_t *stz)
{
    ngx_uint_t       i;
    ngx_xmpp_xml_t  *query, *e;

    if (ngx_xmpp_password_refused(stz)) {
        return NGX_XMPP_E_NOT_ALLOWED;
    }

    query = ngx_xmpp_xml_create(stz->pool, &ngx_xmpp_password_names[0],
                                &ngx_xmpp_password_ns);
    if (query == NULL) {
        return NGX_ERROR;
    }

    for (i = 1; i < 4; i++) {
        e = ngx_xmpp_xml_add(stz->pool, query, &ngx_xmpp_password_names[i],
                             NULL);
        if (e == NULL) {
            return NGX_ERROR;
        }

        if (i == 2
            && ngx_xmpp_xml_add_text(stz->pool, e, &stz->session->jid.local)
               == NULL)
        {
            return NGX_ERROR;
        }
    }

    return ngx_xmpp_reply(stz, query);
}


static ngx_int_t
ngx_xmpp_password_set(ngx_xmpp_stanza_t *stz)
{
    ngx_int_t             rc;
    ngx_xmpp_session_t   *xs;
    ngx_xmpp_password_t  *ch;

    xs = stz->session;

    if (ngx_xmpp_password_refused(stz)) {
        return NGX_XMPP_E_NOT_ALLOWED;
    }

    if (ngx_xmpp_xml_child(ngx_xmpp_stanza_payload(stz), "remove",
                           &ngx_xmpp_password_ns))
    {
        return ngx_xmpp_password_remove(stz);
    }

    /* XEP-0077, 3.3: a password is in there */

    if (xs->stream == NULL || !xs->stream->tls) {
        return NGX_XMPP_E_NOT_AUTHORIZED;
    }

    rc = ngx_xmpp_password_user(stz);
    if (rc != NGX_OK) {
        return rc;
    }

    ch = ngx_palloc(stz->pool, sizeof(ngx_xmpp_password_t));
    if (ch == NULL) {
        return NGX_ERROR;
    }

    ch->stanza = stz;

    rc = ngx_xmpp_password_prep(ch);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_xmpp_session_record(xs, &ch->record);

    if (ngx_xmpp_store_password_get(xs->worker->store, stz->pool,
                              &xs->account->sn.str,
                              &ngx_xmpp_scram_fields[NGX_XMPP_SCRAM_SHA256],
                              ngx_xmpp_password_got, ch)
        == NULL)
    {
        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    return NGX_AGAIN;
}


/* XEP-0077, 3.2: the account of the session, whatever is said of it */

static ngx_int_t
ngx_xmpp_password_remove(ngx_xmpp_stanza_t *stz)
{
    ngx_xmpp_session_t  *xs;

    if (ngx_xmpp_xml_elements(ngx_xmpp_stanza_payload(stz)) != 1) {
        return NGX_XMPP_E_BAD_REQUEST;
    }

    xs = stz->session;
    xs->removing = 1;

    if (ngx_xmpp_remove(xs->worker, &xs->jid.bare, xs->created,
                        ngx_xmpp_password_removed, stz)
        != NGX_OK)
    {
        xs->removing = 0;
        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    return NGX_AGAIN;
}


/* 3.2: the result, and behind it a stream error */

static void
ngx_xmpp_password_removed(void *data, ngx_int_t rc)
{
    ngx_xmpp_stanza_t *stz = data;

    ngx_xmpp_stream_t   *st;
    ngx_xmpp_session_t  *xs;

    xs = stz->session;
    xs->removing = 0;
    st = xs->stream;

    /* DECLINED: somebody else was faster */

    if (rc == NGX_OK || rc == NGX_DECLINED) {

        ngx_log_error(NGX_LOG_NOTICE, xs->worker->log, 0,
                      "xmpp account \"%V\" was removed by its user",
                      &xs->jid.bare);

        xs->displaced = 1;
        xs->removed = 1;

        rc = ngx_xmpp_reply(stz, NULL);

    } else {
        rc = NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    ngx_xmpp_stanza_resume(stz, rc);

    if (st && xs->removed) {
        st->transport->close(st, NGX_XMPP_SE_NOT_AUTHORIZED,
                             "the account was removed");
    }
}


/* the user's own name and no other: NGX_OK or a condition */

static ngx_int_t
ngx_xmpp_password_user(ngx_xmpp_stanza_t *stz)
{
    ngx_int_t        rc;
    ngx_str_t        text, name;
    ngx_xmpp_xml_t  *e;

    e = ngx_xmpp_xml_child(ngx_xmpp_stanza_payload(stz), "username",
                           &ngx_xmpp_password_ns);
    if (e == NULL) {
        return NGX_XMPP_E_BAD_REQUEST;
    }

    if (ngx_xmpp_xml_text(stz->pool, e, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_xmpp_precis_username(stz->pool, &text, &name);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    return rc == NGX_OK && ngx_xmpp_str_eq(&name, &stz->session->jid.local)
           ? NGX_OK : NGX_XMPP_E_BAD_REQUEST;
}


/* XEP-0077, 3.3: not empty; prepared as at a login; NGX_OK or a condition */

static ngx_int_t
ngx_xmpp_password_prep(ngx_xmpp_password_t *ch)
{
    ngx_int_t           rc;
    ngx_str_t           text;
    ngx_xmpp_xml_t     *e;
    ngx_xmpp_stanza_t  *stz;

    stz = ch->stanza;

    e = ngx_xmpp_xml_child(ngx_xmpp_stanza_payload(stz), "password",
                           &ngx_xmpp_password_ns);
    if (e == NULL) {
        return NGX_XMPP_E_BAD_REQUEST;
    }

    if (ngx_xmpp_xml_text(stz->pool, e, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    if (text.len == 0) {
        return NGX_XMPP_E_BAD_REQUEST;
    }

    rc = ngx_xmpp_keys_password(stz->pool, &text, &ch->password);

    return (rc == NGX_DECLINED) ? NGX_XMPP_E_NOT_ACCEPTABLE : rc;
}


/* its keys take long to make: no account keeps all processors busy with that */

static ngx_uint_t
ngx_xmpp_password_often(ngx_xmpp_account_t *a)
{
    time_t  now;

    now = ngx_time();

    if (now - a->keyed >= 60 || now < a->keyed) {
        a->keyed = now;
        a->keys = 0;
    }

    return a->keys++ >= NGX_XMPP_PASSWORD_OFTEN;
}


/* an account that was given more iterations than usual keeps them */

static void
ngx_xmpp_password_got(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_password_t *ch = data;

    ngx_int_t              rc;
    ngx_uint_t             iterations;
    ngx_xmpp_stanza_t     *stz;
    ngx_xmpp_scram_keys_t  old;

    iterations = NGX_XMPP_SCRAM_ITERATIONS;

    if (res->rc == NGX_OK
        && ngx_xmpp_scram_keys_parse(NGX_XMPP_SCRAM_SHA256, &res->text, &old)
           == NGX_OK
        && old.iterations <= NGX_XMPP_SCRAM_ITERATIONS_MAX)
    {
        iterations = ngx_max(iterations, old.iterations);
    }

    stz = ch->stanza;

    /* DECLINED: whoever logs in otherwise has no keys yet */

    if (res->rc != NGX_OK && res->rc != NGX_DECLINED) {
        rc = NGX_XMPP_E_RESOURCE_CONSTRAINT;

    } else if (ngx_xmpp_password_often(stz->session->account)) {
        rc = ngx_xmpp_refuse(stz, NGX_XMPP_E_RESOURCE_CONSTRAINT,
                             "The password was changed %d times within a "
                             "minute. Try again in a minute.",
                             NGX_XMPP_PASSWORD_OFTEN);

    } else {
        rc = ngx_xmpp_keys_make(stz->session->worker, stz->pool,
                                &ch->password, iterations,
                                ngx_xmpp_password_made, ch);
    }

    if (rc != NGX_AGAIN) {
        ngx_xmpp_stanza_resume(stz, rc);
    }
}


static void
ngx_xmpp_password_made(void *data, ngx_str_t *keys)
{
    ngx_xmpp_password_t *ch = data;

    ngx_xmpp_stanza_t  *stz;

    stz = ch->stanza;

    if (keys == NULL) {
        ngx_xmpp_stanza_resume(stz, NGX_ERROR);
        return;
    }

    if (ngx_xmpp_store_password_set(stz->session->worker->store, stz->pool,
                                    &ch->record, keys,
                                    ngx_xmpp_password_stored, ch)
        == NULL)
    {
        ngx_xmpp_stanza_resume(stz, NGX_XMPP_E_RESOURCE_CONSTRAINT);
    }
}


static void
ngx_xmpp_password_stored(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_password_t *ch = data;

    ngx_int_t           rc;
    ngx_xmpp_stanza_t  *stz;

    stz = ch->stanza;
    rc = ngx_xmpp_reply_stored(stz, res);

    if (rc == NGX_OK) {
        rc = ngx_xmpp_reply(stz, NULL);
    }

    ngx_xmpp_stanza_resume(stz, rc);
}
