/*
 * TLS: STARTTLS by nginx's own SSL phase, direct TLS by SNI and ALPN.
 *
 * STARTTLS (RFC 6120, 5.4.3): when <proceed/> is written, white space is read
 * and dropped, and the client's first other byte begins the handshake: until
 * then nothing of OpenSSL's is needed.  The session is moved into the
 * configuration of the host that the header named, and its phases are run
 * again from the SSL phase on.  So the handshake, its timeout, client
 * certificates, OCSP and variables are nginx's, as configured for that host;
 * it ends in the host's content handler.
 *
 * Direct TLS (XEP-0368): the context of the listener chooses the host by SNI,
 * as nginx's http does; stream has that only since 1.25.5, and for server{}
 * blocks.  ALPN is "xmpp-client", and anything else offered is refused: no
 * other protocol can be spoken to us by mistake (RFC 7301, 3.2).
 *
 * The host is chosen while nginx's handler of the phase is on the stack.  When
 * the handshake ends in that very call, because the client was quick, the
 * handler would judge the client's certificate by what the listener says about
 * it; so it is asked again, by the host's configuration.
 *
 * A client's certificate that does not stand verification is no end of a
 * handshake ("ssl_verify_client optional_no_ca"), but what OpenSSL notes about
 * it in its queue of errors would be, as soon as more bytes are awaited.
 */


#include "ngx_xmpp_tcp.h"


/* the first byte of a handshake: the type of its record (RFC 8446, 5.1) */
#define NGX_XMPP_TLS_HANDSHAKE        22

#define NGX_XMPP_TLS_PROCEED                                                  \
    "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"


static ngx_int_t ngx_xmpp_tls_spaces(ngx_xmpp_stream_t *st);
static ngx_int_t ngx_xmpp_tls_handler(ngx_stream_session_t *s);
static int ngx_xmpp_tls_servername(ngx_ssl_conn_t *ssl_conn, int *ad,
    void *arg);
static ngx_uint_t ngx_xmpp_tls_foreign(ngx_ssl_conn_t *ssl_conn,
    const char *servername);
static ngx_int_t ngx_xmpp_tls_context(ngx_ssl_conn_t *ssl_conn,
    SSL_CTX *ctx);
static int ngx_xmpp_tls_verify(X509_STORE_CTX *x509, void *arg);
static int ngx_xmpp_tls_alpn(ngx_ssl_conn_t *ssl_conn,
    const unsigned char **out, unsigned char *outlen,
    const unsigned char *in, unsigned int inlen, void *arg);


/* where the SSL phase begins, and what listeners' contexts call back */

ngx_int_t
ngx_xmpp_tls_init(ngx_conf_t *cf, ngx_xmpp_main_conf_t *xmcf)
{
    ngx_uint_t                     i;
    ngx_array_t                   *a;
    ngx_xmpp_srv_conf_t           *xscf;
    ngx_xmpp_ssl_conf_t           *sslcf;
    ngx_stream_handler_pt         *h;
    ngx_stream_core_srv_conf_t   **cscf;
    ngx_stream_core_main_conf_t   *cmcf;

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);
    cscf = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {
        xscf = cscf[i]->ctx->srv_conf[ngx_xmpp_module.ctx_index];
        sslcf = cscf[i]->ctx->srv_conf[ngx_stream_ssl_module.ctx_index];

        if (sslcf->ssl.ctx == NULL || (!xscf->listener && !xscf->host)) {
            continue;
        }

        if (xscf->listener) {
            SSL_CTX_set_tlsext_servername_callback(sslcf->ssl.ctx,
                                                   ngx_xmpp_tls_servername);
        }

        SSL_CTX_set_cert_verify_callback(sslcf->ssl.ctx, ngx_xmpp_tls_verify,
                                         NULL);

        /* ssl_alpn, where it is set, has installed a callback of nginx's */

        if (sslcf->alpn.len == 0) {
            SSL_CTX_set_alpn_select_cb(sslcf->ssl.ctx, ngx_xmpp_tls_alpn,
                                       NULL);
        }
    }

    /* the first one is nginx's: its modules come before all others */

    a = &cmcf->phases[NGX_STREAM_SSL_PHASE].handlers;

    if (a->nelts == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "xmpp needs nginx's stream_ssl_module, loaded before");
        return NGX_ERROR;
    }

    h = a->elts;

    xmcf->ssl_handler = h[0];
    h[0] = ngx_xmpp_tls_handler;

    if (ngx_xmpp_tls_wait_init(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_xmpp_tls_session_init(cf, xmcf);
}


/* RFC 6120, 5.4.2.3: when this has been written, TLS is the next thing */

void
ngx_xmpp_tls_proceed(ngx_xmpp_stream_t *st)
{
    ngx_int_t           rc;
    ngx_xmpp_packet_t  *pkt;

    pkt = ngx_xmpp_packet_copy(st->worker->log,
                               (u_char *) NGX_XMPP_TLS_PROCEED,
                               sizeof(NGX_XMPP_TLS_PROCEED) - 1);
    if (pkt == NULL) {
        ngx_xmpp_socket_close(st, NGX_XMPP_SE_DROP, NULL);
        return;
    }

    rc = ngx_xmpp_socket_queue(st, pkt);

    ngx_xmpp_packet_release(pkt);

    if (rc != NGX_OK) {
        ngx_xmpp_socket_close(st, NGX_XMPP_SE_DROP, NULL);
    }
}


void
ngx_xmpp_tls_start(ngx_xmpp_stream_t *st)
{
    ngx_uint_t                    i, n, gone;
    ngx_msec_t                    deadline;
    ngx_connection_t             *c;
    ngx_stream_session_t         *s;
    ngx_stream_core_srv_conf_t   *cscf;
    ngx_stream_core_main_conf_t  *cmcf;

    s = st->nginx;
    c = s->connection;

    /* RFC 6120, 5.4.3.3: nothing of the plain stream is kept */

    ngx_xmpp_parser_reset(st->parser);

    if (ngx_xmpp_tls_spaces(st) != NGX_OK) {
        return;
    }

    st->securing = 0;

    s->srv_conf = st->host->ctx->srv_conf;

    cscf = ngx_stream_get_module_srv_conf(s, ngx_stream_core_module);
    ngx_set_connection_log(c, cscf->error_log);

    cmcf = ngx_stream_get_module_main_conf(s, ngx_stream_core_module);

    for (i = 0, n = 0; i < NGX_STREAM_SSL_PHASE; i++) {
        n += cmcf->phases[i].handlers.nelts;
    }

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    ngx_reusable_connection(c, 0);

    st->handshaking = 1;

    s->ssl = 1;
    s->phase_handler = n;
    c->read->handler = ngx_stream_session_handler;

    gone = 0;
    st->gone = &gone;
    deadline = st->deadline;

    ngx_stream_core_run_phases(s);

    if (gone) {
        return;
    }

    st->gone = NULL;

    /* the handshake has no more time than authentication as a whole */

    if (st->handshaking && c->read->timer_set
        && (ngx_msec_int_t) (c->read->timer.key - deadline) > 0)
    {
        ngx_xmpp_socket_deadline(st);
    }

    ngx_xmpp_tls_reusable(c, c->number);
}


/*
 * What some clients send behind <starttls/>, in a segment of its own.  NGX_OK:
 * a handshake begins; NGX_AGAIN: nothing yet; NGX_ERROR: it is something else,
 * and the stream is closing.
 */

static ngx_int_t
ngx_xmpp_tls_spaces(ngx_xmpp_stream_t *st)
{
    u_char             ch, *p, *last;
    ssize_t            n;
    ngx_connection_t  *c;

    c = st->connection;
    p = st->worker->recv;

    for ( ;; ) {
        n = recv(c->fd, p, 256, MSG_PEEK);

        if (n == -1 && ngx_socket_errno == NGX_EAGAIN) {
            c->read->ready = 0;

            if (ngx_handle_read_event(c->read, 0) == NGX_OK) {
                return NGX_AGAIN;
            }
        }

        if (n <= 0) {
            break;
        }

        last = p + n;

        while (p < last && (*p == ' ' || *p == LF || *p == CR || *p == '\t')) {
            p++;
        }

        ch = (p != last) ? *p : ' ';
        n -= last - p;

        st->received += n;

        if (st->received > st->conf->preauth_bytes
            || (n && recv(c->fd, st->worker->recv, n, 0) != n))
        {
            break;
        }

        if (ch == NGX_XMPP_TLS_HANDSHAKE) {
            return NGX_OK;
        }

        if (ch != ' ') {
            break;
        }

        p = st->worker->recv;
    }

    st->transport->close(st, NGX_XMPP_SE_DROP, NULL);

    return NGX_ERROR;
}


/* the content handler of the host: the handshake is done */

void
ngx_xmpp_tls_secured(ngx_xmpp_stream_t *st)
{
    st->handshaking = 0;

    if (st->state == NGX_XMPP_ST_CLOSED) {

        /* at once: close() has posted the stream, and there is one end */

        st->connection->ssl->no_wait_shutdown = 1;

        st->transport->finalize(st, NGX_STREAM_OK);
        return;
    }

    ngx_xmpp_stream_secured(st);
    ngx_xmpp_tcp_start(st);
}


/* the SSL phase of all listeners, ours or not */

static ngx_int_t
ngx_xmpp_tls_handler(ngx_stream_session_t *s)
{
    void                  **srv_conf;
    ngx_int_t               rc;
    ngx_connection_t       *c;
    ngx_xmpp_main_conf_t   *xmcf;

    c = s->connection;
    xmcf = ngx_stream_get_module_main_conf(s, ngx_xmpp_module);
    srv_conf = s->srv_conf;

    rc = xmcf->ssl_handler(s);

    if (s->srv_conf != srv_conf && c->ssl && c->ssl->handshaked) {
        rc = xmcf->ssl_handler(s);
    }

    return rc;
}


/* a name that is none of ours keeps the first host: the header will tell */

static int
ngx_xmpp_tls_servername(ngx_ssl_conn_t *ssl_conn, int *ad, void *arg)
{
    ngx_str_t                    name, prepared;
    const char                  *servername;
    ngx_xmpp_host_t             *h;
    ngx_connection_t            *c;
    ngx_xmpp_srv_conf_t         *xscf;
    ngx_xmpp_ssl_conf_t         *sslcf;
    ngx_xmpp_main_conf_t        *xmcf;
    ngx_stream_session_t        *s;
    ngx_stream_core_srv_conf_t  *cscf;

    c = ngx_ssl_get_connection(ssl_conn);

    if (c->ssl->handshaked) {
        *ad = SSL_AD_NO_RENEGOTIATION;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }

    s = c->data;

    servername = SSL_get_servername(ssl_conn, TLSEXT_NAMETYPE_host_name);

    if (servername == NULL) {
        return SSL_TLSEXT_ERR_OK;
    }

    name.data = (u_char *) servername;
    name.len = ngx_strlen(servername);

    if (ngx_xmpp_jid_prep_domain(c->pool, &name, &prepared) != NGX_OK) {
        return SSL_TLSEXT_ERR_OK;
    }

    xmcf = ngx_stream_get_module_main_conf(s, ngx_xmpp_module);
    h = ngx_xmpp_host_find(xmcf, &prepared);

    if (h == NULL) {
        return SSL_TLSEXT_ERR_OK;
    }

    sslcf = ngx_xmpp_host_conf(h, ngx_stream_ssl_module);

    if (sslcf->ssl.ctx == NULL) {
        return SSL_TLSEXT_ERR_OK;
    }

    if (sslcf->verify && ngx_xmpp_tls_foreign(ssl_conn, servername)) {
        *ad = SSL_AD_ACCESS_DENIED;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }

    if (ngx_xmpp_tls_context(ssl_conn, sslcf->ssl.ctx) != NGX_OK) {
        *ad = SSL_AD_INTERNAL_ERROR;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }

    /* the session moves on, the listener's limits are kept for it */

    if (ngx_stream_get_module_ctx(s, ngx_xmpp_c2s_module) == NULL) {
        xscf = ngx_stream_get_module_srv_conf(s, ngx_xmpp_module);

        if (xscf->listener) {
            ngx_stream_set_ctx(s, xscf, ngx_xmpp_c2s_module);
        }
    }

    s->srv_conf = h->ctx->srv_conf;

    cscf = ngx_stream_get_module_srv_conf(s, ngx_stream_core_module);
    ngx_set_connection_log(c, cscf->error_log);

    return SSL_TLSEXT_ERR_OK;
}


/*
 * All hosts of a listener share its tickets.  A session that was begun with
 * another name is no proof that this host's authorities have signed the
 * client's certificate, which TLS 1.3 takes over from it.
 */

static ngx_uint_t
ngx_xmpp_tls_foreign(ngx_ssl_conn_t *ssl_conn, const char *servername)
{
    const char  *hostname;

    if (!SSL_session_reused(ssl_conn)) {
        return 0;
    }

    hostname = SSL_SESSION_get0_hostname(SSL_get0_session(ssl_conn));

    return hostname == NULL || ngx_strcmp(hostname, servername) != 0;
}


/*
 * The verification as ever; its outcome is in the connection, where nginx looks
 * for it.  SSL_get_error() takes a queue that is not empty for a fatal error of
 * the call before.
 */

static int
ngx_xmpp_tls_verify(X509_STORE_CTX *x509, void *arg)
{
    (void) ERR_set_mark();

    if (X509_verify_cert(x509) > 0) {
        (void) ERR_pop_to_mark();
        return 1;
    }

    (void) ERR_clear_last_mark();

    return 0;
}


/* SSL_set_SSL_CTX() changes the certificate only: the rest by hand */

static ngx_int_t
ngx_xmpp_tls_context(ngx_ssl_conn_t *ssl_conn, SSL_CTX *ctx)
{
    if (SSL_set_SSL_CTX(ssl_conn, ctx) == NULL) {
        return NGX_ERROR;
    }

    SSL_set_verify(ssl_conn, SSL_CTX_get_verify_mode(ctx),
                   SSL_CTX_get_verify_callback(ctx));
    SSL_set_verify_depth(ssl_conn, SSL_CTX_get_verify_depth(ctx));

    SSL_clear_options(ssl_conn,
                      SSL_get_options(ssl_conn) & ~SSL_CTX_get_options(ctx));
    SSL_set_options(ssl_conn, SSL_CTX_get_options(ctx));

#ifdef SSL_OP_NO_RENEGOTIATION
    SSL_set_options(ssl_conn, SSL_OP_NO_RENEGOTIATION);
#endif

    return NGX_OK;
}


static int
ngx_xmpp_tls_alpn(ngx_ssl_conn_t *ssl_conn, const unsigned char **out,
    unsigned char *outlen, const unsigned char *in, unsigned int inlen,
    void *arg)
{
    static const unsigned char  name[] = "\x0bxmpp-client";

    if (SSL_select_next_proto((unsigned char **) out, outlen, name,
                              sizeof(name) - 1, in, inlen)
        != OPENSSL_NPN_NEGOTIATED)
    {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }

    return SSL_TLSEXT_ERR_OK;
}
