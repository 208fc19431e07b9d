/*
 * Variables of nginx's stream{}: who a connection was, what it did and how
 * it ended, for log_format, access_log, map and all that takes a variable.
 *
 * A value is made when somebody asks, as a rule once, when the session is
 * logged: until then a stanza costs the increment of a counter.  What nginx
 * has before the client has said it is not found, and logged as "-".
 *
 * The session may have ended by then: the stream has kept its JID and its
 * counter (ngx_xmpp_stream_detach()).  Values made here are in c->pool, which
 * goes right after the log phase.  None is cached: an early reader would get
 * less than a later one.
 */


#include "ngx_xmpp.h"


#define ngx_xmpp_variable(name, handler, data)                                \
    { ngx_string(name), NULL, handler, data, NGX_STREAM_VAR_NOCACHEABLE, 0 }


static ngx_int_t ngx_xmpp_variables_jid(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_xmpp_variables_text(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_xmpp_variables_host(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_xmpp_variables_stanzas(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);
static void ngx_xmpp_variables_set(ngx_stream_variable_value_t *v,
    ngx_str_t *value);


typedef enum {
    NGX_XMPP_VARIABLES_RESOURCE = 0,
    NGX_XMPP_VARIABLES_MECHANISM,
    NGX_XMPP_VARIABLES_TLS,
    NGX_XMPP_VARIABLES_CLOSE
} ngx_xmpp_variables_text_e;


static ngx_stream_variable_t  ngx_xmpp_variables[] = {

    ngx_xmpp_variable("xmpp_jid", ngx_xmpp_variables_jid, 0),

    ngx_xmpp_variable("xmpp_resource", ngx_xmpp_variables_text,
                      NGX_XMPP_VARIABLES_RESOURCE),

    ngx_xmpp_variable("xmpp_host", ngx_xmpp_variables_host, 0),

    ngx_xmpp_variable("xmpp_mechanism", ngx_xmpp_variables_text,
                      NGX_XMPP_VARIABLES_MECHANISM),

    ngx_xmpp_variable("xmpp_tls", ngx_xmpp_variables_text,
                      NGX_XMPP_VARIABLES_TLS),

    ngx_xmpp_variable("xmpp_close", ngx_xmpp_variables_text,
                      NGX_XMPP_VARIABLES_CLOSE),

    ngx_xmpp_variable("xmpp_stanzas_received", ngx_xmpp_variables_stanzas, 0),

    ngx_xmpp_variable("xmpp_stanzas_sent", ngx_xmpp_variables_stanzas, 1),

      ngx_stream_null_variable
};


static ngx_str_t  ngx_xmpp_variables_tls[] = {
    ngx_string("none"),
    ngx_string("direct"),
    ngx_string("starttls")
};


static ngx_str_t  ngx_xmpp_variables_handshake = ngx_string("handshake");


/* for the core's preconfiguration; NGX_OK or NGX_ERROR (no memory) */

ngx_int_t
ngx_xmpp_variables_add(ngx_conf_t *cf)
{
    ngx_stream_variable_t  *var, *v;

    for (v = ngx_xmpp_variables; v->name.len; v++) {
        var = ngx_stream_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


/* the full JID of a bound resource, the bare one of who is authenticated */

static ngx_int_t
ngx_xmpp_variables_jid(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    ngx_str_t           jid;
    ngx_xmpp_stream_t  *st;

    v->not_found = 1;

    st = ngx_stream_get_module_ctx(s, ngx_xmpp_module);

    if (st == NULL || st->user.len == 0) {
        return NGX_OK;
    }

    if (st->session && st->session->epoch) {
        ngx_xmpp_variables_set(v, &st->session->jid.full);
        return NGX_OK;
    }

    if (st->jid.len) {
        ngx_xmpp_variables_set(v, &st->jid);
        return NGX_OK;
    }

    jid.len = st->user.len + 1 + st->host->name.len;
    jid.data = ngx_pnalloc(s->connection->pool, jid.len);
    if (jid.data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(jid.data, "%V@%V", &st->user, &st->host->name);
    ngx_xmpp_variables_set(v, &jid);

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_variables_text(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    u_char             *p;
    ngx_str_t          *value, resource;
    ngx_xmpp_stream_t  *st;

    v->not_found = 1;

    st = ngx_stream_get_module_ctx(s, ngx_xmpp_module);

    if (st == NULL) {
        return NGX_OK;
    }

    switch (data) {

    case NGX_XMPP_VARIABLES_RESOURCE:
        if (st->session && st->session->epoch) {
            value = &st->session->jid.resource;
            break;
        }

        /* RFC 7622, 3.1: what follows the first slash */

        p = ngx_strlchr(st->jid.data, st->jid.data + st->jid.len, '/');
        if (p == NULL) {
            return NGX_OK;
        }

        resource.data = p + 1;
        resource.len = st->jid.data + st->jid.len - resource.data;
        value = &resource;
        break;

    case NGX_XMPP_VARIABLES_MECHANISM:
        value = st->mechanism;
        break;

    case NGX_XMPP_VARIABLES_TLS:
        value = &ngx_xmpp_variables_tls[st->starttls ? 2 : st->tls];
        break;

    default: /* NGX_XMPP_VARIABLES_CLOSE */
        value = st->reason;

        /* then nginx has ended it, which has TLS in its hands */

        if (value == NULL && st->handshaking) {
            value = &ngx_xmpp_variables_handshake;
        }
    }

    if (value) {
        ngx_xmpp_variables_set(v, value);
    }

    return NGX_OK;
}


/*
 * The domain that the header named; before it, the one that SNI did: so a
 * certificate's file may be named by it.
 */

static ngx_int_t
ngx_xmpp_variables_host(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    ngx_xmpp_host_t      *h;
    ngx_xmpp_stream_t    *st;
    ngx_xmpp_srv_conf_t  *xscf;

    st = ngx_stream_get_module_ctx(s, ngx_xmpp_module);

    if (st && st->host) {
        h = st->host;

    } else {
        xscf = ngx_stream_get_module_srv_conf(s, ngx_xmpp_module);
        h = xscf->host;
    }

    if (h == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    ngx_xmpp_variables_set(v, &h->name);

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_variables_stanzas(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    uint64_t            n;
    ngx_str_t           value;
    ngx_xmpp_stream_t  *st;

    v->not_found = 1;

    st = ngx_stream_get_module_ctx(s, ngx_xmpp_module);

    if (st == NULL) {
        return NGX_OK;
    }

    n = data ? st->stanzas_sent
        : st->session ? st->session->counter : st->stanzas_received;

    value.data = ngx_pnalloc(s->connection->pool, NGX_INT64_LEN);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = ngx_sprintf(value.data, "%uL", n) - value.data;
    ngx_xmpp_variables_set(v, &value);

    return NGX_OK;
}


static void
ngx_xmpp_variables_set(ngx_stream_variable_value_t *v, ngx_str_t *value)
{
    v->len = value->len;
    v->data = value->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
}
