/*
 * Variables of nginx: who a connection was, what it did and how it ended, for
 * log_format, access_log, map and all that takes a variable.  The transports
 * give them to nginx: those of stream{} and those of http{} have one shape.
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


#define ngx_xmpp_variable(name, kind)                                         \
    { ngx_string(name), NGX_XMPP_VARIABLES_##kind }


typedef enum {
    NGX_XMPP_VARIABLES_JID = 0,
    NGX_XMPP_VARIABLES_RESOURCE,
    NGX_XMPP_VARIABLES_HOST,
    NGX_XMPP_VARIABLES_MECHANISM,
    NGX_XMPP_VARIABLES_TLS,
    NGX_XMPP_VARIABLES_CLOSE,
    NGX_XMPP_VARIABLES_RECEIVED,
    NGX_XMPP_VARIABLES_SENT
} ngx_xmpp_variables_e;


static ngx_int_t ngx_xmpp_variables_jid(ngx_xmpp_stream_t *st,
    ngx_pool_t *pool, ngx_variable_value_t *v);
static void ngx_xmpp_variables_resource(ngx_xmpp_stream_t *st,
    ngx_variable_value_t *v);
static ngx_int_t ngx_xmpp_variables_number(ngx_pool_t *pool, uint64_t n,
    ngx_variable_value_t *v);


ngx_xmpp_variable_t  ngx_xmpp_variables[] = {
    ngx_xmpp_variable("xmpp_jid", JID),
    ngx_xmpp_variable("xmpp_resource", RESOURCE),
    ngx_xmpp_variable("xmpp_host", HOST),
    ngx_xmpp_variable("xmpp_mechanism", MECHANISM),
    ngx_xmpp_variable("xmpp_tls", TLS),
    ngx_xmpp_variable("xmpp_close", CLOSE),
    ngx_xmpp_variable("xmpp_stanzas_received", RECEIVED),
    ngx_xmpp_variable("xmpp_stanzas_sent", SENT),
    { ngx_null_string, 0 }
};


static ngx_str_t  ngx_xmpp_variables_tls[] = {
    ngx_string("none"),
    ngx_string("direct"),
    ngx_string("starttls")
};


static ngx_str_t  ngx_xmpp_variables_handshake = ngx_string("handshake");


/*
 * The value of ngx_xmpp_variables[] with this data, for a stream or for none
 * (NULL).  What is made for it is from pool.  NGX_OK or NGX_ERROR.
 */

ngx_int_t
ngx_xmpp_variables_value(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_variable_value_t *v, uintptr_t data)
{
    v->not_found = 1;

    if (st == NULL) {
        return NGX_OK;
    }

    switch (data) {

    case NGX_XMPP_VARIABLES_JID:
        return ngx_xmpp_variables_jid(st, pool, v);

    case NGX_XMPP_VARIABLES_RESOURCE:
        ngx_xmpp_variables_resource(st, v);
        break;

    case NGX_XMPP_VARIABLES_HOST:
        if (st->host) {
            ngx_xmpp_variables_set(v, &st->host->name);
        }

        break;

    case NGX_XMPP_VARIABLES_MECHANISM:
        if (st->mechanism) {
            ngx_xmpp_variables_set(v, st->mechanism);
        }

        break;

    case NGX_XMPP_VARIABLES_TLS:
        ngx_xmpp_variables_set(v, &ngx_xmpp_variables_tls[st->starttls
                                                          ? 2 : st->tls]);
        break;

    case NGX_XMPP_VARIABLES_CLOSE:
        if (st->reason) {
            ngx_xmpp_variables_set(v, st->reason);

        } else if (st->handshaking) {

            /* then nginx has ended it, which has TLS in its hands */

            ngx_xmpp_variables_set(v, &ngx_xmpp_variables_handshake);
        }

        break;

    case NGX_XMPP_VARIABLES_RECEIVED:
        return ngx_xmpp_variables_number(pool, st->session
                                               ? st->session->counter
                                               : st->stanzas_received, v);

    default: /* NGX_XMPP_VARIABLES_SENT */
        return ngx_xmpp_variables_number(pool, st->stanzas_sent, v);
    }

    return NGX_OK;
}


/* the full JID of a bound resource, the bare one of who is authenticated */

static ngx_int_t
ngx_xmpp_variables_jid(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_variable_value_t *v)
{
    ngx_str_t  jid;

    if (st->user.len == 0) {
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
    jid.data = ngx_pnalloc(pool, jid.len);
    if (jid.data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(jid.data, "%V@%V", &st->user, &st->host->name);
    ngx_xmpp_variables_set(v, &jid);

    return NGX_OK;
}


static void
ngx_xmpp_variables_resource(ngx_xmpp_stream_t *st, ngx_variable_value_t *v)
{
    u_char     *p;
    ngx_str_t   resource;

    if (st->session && st->session->epoch) {
        ngx_xmpp_variables_set(v, &st->session->jid.resource);
        return;
    }

    /* RFC 7622, 3.1: what follows the first slash */

    p = ngx_strlchr(st->jid.data, st->jid.data + st->jid.len, '/');

    if (p) {
        resource.data = p + 1;
        resource.len = st->jid.data + st->jid.len - resource.data;
        ngx_xmpp_variables_set(v, &resource);
    }
}


static ngx_int_t
ngx_xmpp_variables_number(ngx_pool_t *pool, uint64_t n,
    ngx_variable_value_t *v)
{
    ngx_str_t  value;

    value.data = ngx_pnalloc(pool, NGX_INT64_LEN);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = ngx_sprintf(value.data, "%uL", n) - value.data;
    ngx_xmpp_variables_set(v, &value);

    return NGX_OK;
}


void
ngx_xmpp_variables_set(ngx_variable_value_t *v, ngx_str_t *value)
{
    v->len = value->len;
    v->data = value->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
}
