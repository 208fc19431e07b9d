
/*
 * TLS on the connections.  A handshake is a full one, unless --tickets makes
 * each client keep its last session and offer it again (RFC 8446, 2.2).
 */


#include <string.h>

#include <openssl/err.h>

#include "traffic.h"


/* above so many connections their memory counts more than their speed */

#define TR_TLS_MANY  1000


static int tr_tls_session(SSL *ssl, SSL_SESSION *session);
static ssize_t tr_tls_result(tr_client_t *cl, int rc);


void
tr_tls_init(tr_run_t *run)
{
    run->ssl = SSL_CTX_new(TLS_client_method());

    if (run->ssl == NULL) {
        tr_die("SSL_CTX_new", "failed");
    }

    (void) SSL_CTX_set_session_cache_mode(run->ssl,
                run->opt.tickets ? SSL_SESS_CACHE_CLIENT
                                   |SSL_SESS_CACHE_NO_INTERNAL
                                 : SSL_SESS_CACHE_OFF);
    SSL_CTX_sess_set_new_cb(run->ssl, tr_tls_session);

    (void) SSL_CTX_set_mode(run->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE
                                      |SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);

    if (run->nclients > TR_TLS_MANY) {
        (void) SSL_CTX_set_mode(run->ssl, SSL_MODE_RELEASE_BUFFERS);

    } else {
        SSL_CTX_set_read_ahead(run->ssl, 1);
    }

    if (run->opt.ca == NULL) {
        return;
    }

    if (SSL_CTX_load_verify_locations(run->ssl, run->opt.ca, NULL) != 1) {
        tr_die(run->opt.ca, "cannot be used");
    }

    SSL_CTX_set_verify(run->ssl, SSL_VERIFY_PEER, NULL);
}


/* in TLS 1.3 it comes after the handshake: RFC 8446, 4.6.1 */

static int
tr_tls_session(SSL *ssl, SSL_SESSION *session)
{
    tr_client_t  *cl;

    cl = SSL_get_app_data(ssl);

    SSL_SESSION_free(cl->session);
    cl->session = session;

    return 1;
}


int
tr_tls_start(tr_run_t *run, tr_client_t *cl)
{
    static const u_char  alpn[] = "\013xmpp-client";

    cl->ssl = SSL_new(run->ssl);

    if (cl->ssl == NULL
        || SSL_set_app_data(cl->ssl, cl) != 1
        || SSL_set_fd(cl->ssl, cl->fd) != 1
        || SSL_set_tlsext_host_name(cl->ssl, cl->domain) != 1
        || SSL_set1_host(cl->ssl, cl->domain) != 1
        || (cl->session != NULL && SSL_set_session(cl->ssl, cl->session) != 1))
    {
        tr_conn_close(run, cl, "cannot create TLS");
        return TR_ERROR;
    }

    /* to a web server it is HTTP */

    if (run->opt.tls == tr_tls_direct && !run->opt.websocket) {
        (void) SSL_set_alpn_protos(cl->ssl, alpn, sizeof(alpn) - 1);
    }

    SSL_set_connect_state(cl->ssl);
    cl->state = tr_cl_handshake;

    tr_tls_handshake(run, cl);

    return TR_OK;
}


void
tr_tls_handshake(tr_run_t *run, tr_client_t *cl)
{
    int  rc, error;

    rc = SSL_do_handshake(cl->ssl);

    if (rc == 1) {
        run->count.resumed += SSL_session_reused(cl->ssl);

        tr_conn_watch(run, cl, 0);
        tr_login_connected(run, cl);
        return;
    }

    error = SSL_get_error(cl->ssl, rc);

    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        tr_conn_watch(run, cl, error == SSL_ERROR_WANT_WRITE);
        return;
    }

    ERR_clear_error();
    tr_conn_close(run, cl, "TLS handshake failed");
}


ssize_t
tr_tls_recv(tr_client_t *cl, char *data, size_t len)
{
    return tr_tls_result(cl, SSL_read(cl->ssl, data, (int) len));
}


ssize_t
tr_tls_write(tr_client_t *cl, const char *data, size_t len)
{
    return tr_tls_result(cl, SSL_write(cl->ssl, data, (int) len));
}


/* what went wrong leaves no error behind: the next call needs that */

static ssize_t
tr_tls_result(tr_client_t *cl, int rc)
{
    int  error;

    if (rc > 0) {
        return rc;
    }

    error = SSL_get_error(cl->ssl, rc);

    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        return TR_AGAIN;
    }

    ERR_clear_error();

    return TR_ERROR;
}


/*
 * tr_tls_free() leaves, with a notice to the server or without; the session
 * stays good either way, which OpenSSL must be told
 */

void
tr_tls_free(tr_client_t *cl, int notify)
{
    if (cl->ssl == NULL) {
        return;
    }

    if (notify) {
        (void) SSL_shutdown(cl->ssl);
        ERR_clear_error();
    }

    SSL_set_shutdown(cl->ssl, SSL_SENT_SHUTDOWN|SSL_RECEIVED_SHUTDOWN);
    SSL_free(cl->ssl);
    cl->ssl = NULL;
}
