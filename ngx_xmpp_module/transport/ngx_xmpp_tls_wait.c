/*
 * Connections that nginx may close when it has no more of them, while their
 * clients have not authenticated: the oldest goes first.
 *
 *     direct TLS: no byte yet      we wait here, before nginx's SSL phase
 *     a handshake under way        nginx's handlers, called through ours
 *     a stream, until SASL's end   ngx_xmpp_socket_read()
 *
 * nginx asks a connection to go by calling its read handler with c->close
 * set; its own SSL handlers do not look at that, so ours stand before them.
 * ngx_get_connection() asks, which a handshake may call itself (OCSP): a
 * connection is not offered while its own handler is on the stack.
 */


#include "ngx_xmpp_tcp.h"


static ngx_int_t ngx_xmpp_tls_wait(ngx_stream_session_t *s);
static void ngx_xmpp_tls_wait_handler(ngx_event_t *rev);
static void ngx_xmpp_tls_handshake_handler(ngx_event_t *ev);


/* nginx's own, static in it: learnt when the first handshake has to wait */

static ngx_event_handler_pt  ngx_xmpp_tls_handshake;


ngx_int_t
ngx_xmpp_tls_wait_init(ngx_conf_t *cf)
{
    ngx_array_t                  *a;
    ngx_stream_handler_pt        *h;
    ngx_stream_core_main_conf_t  *cmcf;

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);

    /* limit_conn, allow and deny come before: such clients do not wait */

    a = &cmcf->phases[NGX_STREAM_SSL_PHASE].handlers;

    if (ngx_array_push(a) == NULL) {
        return NGX_ERROR;
    }

    /* the last one is called first */

    h = a->elts;
    h[a->nelts - 1] = ngx_xmpp_tls_wait;

    return NGX_OK;
}


/* direct TLS: the handshake is nginx's as soon as there is a byte of it */

static ngx_int_t
ngx_xmpp_tls_wait(ngx_stream_session_t *s)
{
    ngx_connection_t     *c;
    ngx_xmpp_ssl_conf_t  *sslcf;
    ngx_xmpp_srv_conf_t  *xscf;

    c = s->connection;
    xscf = ngx_stream_get_module_srv_conf(s, ngx_xmpp_module);

    if (!xscf->listener || !s->ssl || c->ssl || c->type != SOCK_STREAM) {
        return NGX_DECLINED;
    }

    c->log->action = "waiting for a TLS handshake";
    c->read->handler = ngx_xmpp_tls_wait_handler;

    sslcf = ngx_stream_get_module_srv_conf(s, ngx_stream_ssl_module);

    ngx_add_timer(c->read, sslcf->handshake_timeout);
    ngx_reusable_connection(c, 1);

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);

    } else if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_AGAIN;
}


static void
ngx_xmpp_tls_wait_handler(ngx_event_t *rev)
{
    ngx_connection_t      *c;
    ngx_atomic_uint_t      number;
    ngx_stream_session_t  *s;

    c = rev->data;
    s = c->data;

    if (c->close) {
        ngx_stream_finalize_session(s, NGX_STREAM_SERVICE_UNAVAILABLE);
        return;
    }

    if (rev->timedout) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "client did not begin TLS in time");

        ngx_stream_finalize_session(s, NGX_STREAM_OK);
        return;
    }

    ngx_reusable_connection(c, 0);
    ngx_del_timer(rev);

    rev->handler = ngx_stream_session_handler;
    number = c->number;

    s->phase_handler++;

    ngx_stream_core_run_phases(s);

    ngx_xmpp_tls_reusable(c, number);
}


void
ngx_xmpp_tls_reusable(ngx_connection_t *c, ngx_atomic_uint_t number)
{
    if (c->fd == (ngx_socket_t) -1 || c->number != number
        || c->ssl == NULL || c->ssl->handshaked
        || c->read->handler != c->write->handler)
    {
        return;
    }

    if (ngx_xmpp_tls_handshake == NULL) {
        ngx_xmpp_tls_handshake = c->read->handler;
    }

    if (c->read->handler != ngx_xmpp_tls_handshake) {
        return;
    }

    c->read->handler = ngx_xmpp_tls_handshake_handler;
    c->write->handler = ngx_xmpp_tls_handshake_handler;

    ngx_reusable_connection(c, 1);
}


static void
ngx_xmpp_tls_handshake_handler(ngx_event_t *ev)
{
    ngx_connection_t   *c;
    ngx_atomic_uint_t   number;

    c = ev->data;

    if (c->close) {
        ngx_stream_finalize_session(c->data, NGX_STREAM_SERVICE_UNAVAILABLE);
        return;
    }

    if (ev->timedout) {
        /* nginx's handler says nothing */

        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "client did not complete the TLS handshake in time");
    }

    ngx_reusable_connection(c, 0);

    c->read->handler = ngx_xmpp_tls_handshake;
    c->write->handler = ngx_xmpp_tls_handshake;
    number = c->number;

    ngx_xmpp_tls_handshake(ev);

    ngx_xmpp_tls_reusable(c, number);
}
