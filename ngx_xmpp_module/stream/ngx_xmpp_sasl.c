/*
 * The SASL exchange (RFC 6120, 6.4): <auth/>, <response/>, <abort/>,
 * <success/> and <failure/>, whatever the mechanism.
 *
 *     no exchange --auth--> exchange --challenge/response--> ... --+
 *         ^  ^                                                     |
 *         |  +------------- failure, abort ------------------------+
 *         +-- success: the stream restarts                         |
 *
 * One exchange at a time; the stream is parked while a mechanism waits for
 * Redis or for a thread.  Failed attempts are counted, and the stream ends
 * when they are too many (6.4.5); those of all streams have limits of their
 * own (ngx_xmpp_login_limit_module.c).  A failure never tells more than
 * not-authorized about whether an account exists (6.5.10).
 *
 * Each failure is a line of the log, at "error" when somebody may have tried
 * to be who he is not: docs/admin/failed-logins.md has its form, on which
 * fail2ban's filter relies.
 */


#include "ngx_xmpp_sasl.h"


static ngx_int_t ngx_xmpp_sasl_begin(ngx_xmpp_stream_t *st,
    ngx_xmpp_sasl_mechanism_t *m);
static ngx_int_t ngx_xmpp_sasl_decode(ngx_xmpp_sasl_t *sasl,
    ngx_xmpp_xml_t *e, ngx_str_t *data);
static ngx_int_t ngx_xmpp_sasl_step(ngx_xmpp_sasl_t *sasl, ngx_str_t *data);
static void ngx_xmpp_sasl_answer(ngx_xmpp_sasl_t *sasl, ngx_int_t rc);
static ngx_int_t ngx_xmpp_sasl_send(ngx_xmpp_sasl_t *sasl, const char *name);
static void ngx_xmpp_sasl_fail(ngx_xmpp_stream_t *st, ngx_int_t failure);
static void ngx_xmpp_sasl_log(ngx_xmpp_stream_t *st, ngx_int_t failure);
static ngx_uint_t ngx_xmpp_sasl_failed(ngx_int_t failure);
static ngx_xmpp_stats_outcome_e ngx_xmpp_sasl_outcome(ngx_int_t failure);


static ngx_str_t  ngx_xmpp_sasl_failures[] = {
    ngx_null_string,
    ngx_string("aborted"),
    ngx_string("account-disabled"),
    ngx_string("encryption-required"),
    ngx_string("incorrect-encoding"),
    ngx_string("invalid-authzid"),
    ngx_string("invalid-mechanism"),
    ngx_string("malformed-request"),
    ngx_string("not-authorized"),
    ngx_string("temporary-auth-failure"),
    ngx_string("malformed-request"),
    ngx_string("invalid-authzid")
};


static ngx_str_t  ngx_xmpp_sasl_failure_name = ngx_string("failure");


/* the nonza handlers of <auth/>, <response/> and <abort/>, RFC 6120, 6.4.2 */

ngx_int_t
ngx_xmpp_sasl_auth(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e)
{
    ngx_int_t                   rc;
    ngx_str_t                   data;
    ngx_xmpp_sasl_mechanism_t  *m;

    /* an exchange under way ends with the new one's begin */

    if (st->sasl) {
        ngx_xmpp_sasl_fail(st, NGX_XMPP_SASL_MALFORMED_REQUEST);
        return NGX_OK;
    }

    m = ngx_xmpp_sasl_mechanism(st, ngx_xmpp_xml_attr(e, "mechanism"), &rc);

    if (m == NULL) {
        ngx_xmpp_sasl_fail(st, rc);
        return NGX_OK;
    }

    if (ngx_xmpp_sasl_begin(st, m) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_xmpp_store_login_limited(st->worker->store, &st->sasl->attempt)) {
        ngx_xmpp_sasl_fail(st, NGX_XMPP_SASL_TEMPORARY);
        return NGX_OK;
    }

    rc = ngx_xmpp_sasl_decode(st->sasl, e, &data);

    if (rc != NGX_OK) {
        ngx_xmpp_sasl_answer(st->sasl, rc);
        return NGX_OK;
    }

    /* RFC 6120, 6.4.2: without an initial response, an empty challenge */

    if (data.data == NULL && !(m->flags & NGX_XMPP_SASL_NO_INITIAL)) {
        ngx_xmpp_sasl_answer(st->sasl, NGX_OK);
        return NGX_OK;
    }

    return ngx_xmpp_sasl_step(st->sasl, &data);
}


ngx_int_t
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

ngx_int_t
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

    pool = ngx_create_pool(1024, st->connection->log);
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

    if (ngx_xmpp_login_limit_client(st, pool, &sasl->attempt) != NGX_OK) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

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

    /*
     * Others may have failed since this one began.  Then the answer does not
     * tell whether the password was right.
     */

    if ((rc == NGX_DONE || (rc > 0 && ngx_xmpp_sasl_failed(rc)))
        && ngx_xmpp_store_login_limited(st->worker->store, &sasl->attempt))
    {
        rc = NGX_XMPP_SASL_TEMPORARY;
    }

    /* RFC 6120, 6.5.1, for none but its owner: others learn nothing (6.5.10) */

    if (rc == NGX_DONE && sasl->attempt.disabled) {
        rc = NGX_XMPP_SASL_DISABLED;
    }

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

        ngx_log_error(NGX_LOG_INFO, st->connection->log, 0,
                      "client logged in as \"%V@%V\" by %V",
                      &sasl->user, &st->host->name, &sasl->mechanism->name);

        ngx_xmpp_stats_login(st->worker, &sasl->mechanism->name,
                             NGX_XMPP_STATS_SUCCESS);

        st->mechanism = &sasl->mechanism->name;
        st->lifetime = sasl->lifetime;
        st->created = sasl->attempt.created;
        ngx_xmpp_store_login_done(st->worker->store, &sasl->attempt);

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
    ngx_pool_t      *pool;
    ngx_xmpp_xml_t  *e;

    ngx_xmpp_sasl_log(st, failure);
    ngx_xmpp_stats_login(st->worker, st->sasl ? &st->sasl->mechanism->name
                                              : NULL,
                         ngx_xmpp_sasl_outcome(failure));

    if (st->sasl && ngx_xmpp_sasl_failed(failure)) {
        ngx_xmpp_store_login_failed(st->worker->store, &st->sasl->attempt);
    }

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

    /* who cannot bind has tried no password yet, and may do without */

    if (failure != NGX_XMPP_SASL_UNBOUND
        && ++st->attempts >= st->conf->auth_attempts)
    {
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

    /* who goes while the password is looked at has tried one; not so, who
       is closed meanwhile, as by xmpp_auth_timeout */

    if (st->sasl->task && st->error == NGX_XMPP_SE_DROP) {
        ngx_xmpp_store_login_failed(st->worker->store, &st->sasl->attempt);
    }

    pool = st->sasl->pool;
    st->sasl = NULL;

    ngx_destroy_pool(pool);
}


/* was it a try to be somebody, or did it prove nothing?  1 or 0 */

static ngx_uint_t
ngx_xmpp_sasl_failed(ngx_int_t failure)
{
    return failure == NGX_XMPP_SASL_NOT_AUTHORIZED
           || failure == NGX_XMPP_SASL_INVALID_AUTHZID;
}


static ngx_xmpp_stats_outcome_e
ngx_xmpp_sasl_outcome(ngx_int_t failure)
{
    switch (failure) {

    case NGX_XMPP_SASL_NOT_AUTHORIZED:
    case NGX_XMPP_SASL_INVALID_AUTHZID:
    case NGX_XMPP_SASL_DISABLED:
        return NGX_XMPP_STATS_FAILED;

    case NGX_XMPP_SASL_TEMPORARY:
        return NGX_XMPP_STATS_UNAVAILABLE;

    case NGX_XMPP_SASL_ABORTED:
        return NGX_XMPP_STATS_ABORTED;

    default:
        return NGX_XMPP_STATS_REFUSED;
    }
}


/* one line for a failure; the address stands before what the client chose */

static void
ngx_xmpp_sasl_log(ngx_xmpp_stream_t *st, ngx_int_t failure)
{
    u_char            *p, name[NGX_XMPP_SASL_LOG_LEN];
    ngx_str_t          mechanism;
    ngx_uint_t         level;
    ngx_connection_t  *c;

    c = st->connection;
    p = name;

    ngx_str_set(&mechanism, "-");

    if (st->sasl) {
        mechanism = st->sasl->mechanism->name;
        p = ngx_xmpp_sasl_log_name(st->sasl, p);
    }

    level = ngx_xmpp_sasl_failed(failure) ? NGX_LOG_ERR : NGX_LOG_INFO;

    ngx_log_error(level, c->log, 0,
                  "xmpp login failed: client %V, mechanism %V, condition %V, "
                  "jid \"%*s@%V\"", &c->addr_text, &mechanism,
                  &ngx_xmpp_sasl_failures[failure], (size_t) (p - name), name,
                  &st->host->name);
}


/*
 * nginx writes messages as they are, so the name must not end the line or the
 * quotes: a prepared one cannot (RFC 7622, 3.3), any other is escaped.
 */

u_char *
ngx_xmpp_sasl_log_name(ngx_xmpp_sasl_t *sasl, u_char *p)
{
    return ngx_xmpp_log_escape(p, NGX_XMPP_SASL_LOG_NAME, &sasl->user,
                               sasl->unnamed);
}
