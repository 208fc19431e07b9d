/*
 * TLS on a connection of the Redis client, with nginx's own functions.
 *
 *   connecting --> securing: ngx_ssl_handshake() --> setup
 *                      |
 *                      '--> lost: time, the server, its certificate, its name
 *
 * The handshake is within the time limit of the connection (conn->timer); its
 * handlers are nginx's own until it is over.  It may be lost at any moment
 * between: ngx_xmpp_redis_tls_close() frees OpenSSL's state and the pool that
 * nginx's lies in, with the socket; nothing else points to them.
 *
 * What OpenSSL complains about until the connection is ready goes not to the
 * log but to conn->said, for the one line that tells of the outage.
 *
 * The end of a TLS connection is not said to Redis: replies have their own
 * ends, and nothing here waits for the other side.
 */


#include "ngx_xmpp_redis_private.h"


static void ngx_xmpp_redis_tls_handshake(ngx_connection_t *c);
static void ngx_xmpp_redis_tls_failed(ngx_xmpp_redis_conn_t *conn);
static void ngx_xmpp_redis_tls_listen(ngx_log_t *log, ngx_uint_t level,
    u_char *buf, size_t len);


/* prepares the log of a handshake */
void
ngx_xmpp_redis_tls_init(ngx_xmpp_redis_conn_t *conn)
{
    ngx_memzero(&conn->listener, sizeof(ngx_log_t));

    conn->listener.file = conn->client->log->file;
    conn->listener.log_level = NGX_LOG_INFO;
    conn->listener.writer = ngx_xmpp_redis_tls_listen;
    conn->listener.wdata = conn;
}


/* the socket of a connection in the state "connecting" is connected */
void
ngx_xmpp_redis_tls_start(ngx_xmpp_redis_conn_t *conn)
{
    ngx_int_t               rc;
    ngx_connection_t       *c;
    ngx_xmpp_redis_conf_t  *conf;

    c = conn->connection;
    conf = &conn->client->conf;

    conn->state = ngx_xmpp_redis_st_securing;
    conn->said_len = 0;

    c->pool = ngx_create_pool(1024, conn->client->log);
    if (c->pool == NULL) {
        goto no_memory;
    }

    conn->out = ngx_palloc(c->pool, NGX_XMPP_REDIS_RECORD);
    if (conn->out == NULL) {
        goto no_memory;
    }

    c->log = &conn->listener;

    if (ngx_ssl_create_connection(conf->ssl, c, NGX_SSL_CLIENT) != NGX_OK) {
        goto no_memory;
    }

    /* RFC 6066, 3: a name, never an address */

    if (!conf->ssl_ip
        && SSL_set_tlsext_host_name(c->ssl->connection,
                                    (char *) conf->ssl_name.data)
           == 0)
    {
        goto no_memory;
    }

    rc = ngx_ssl_handshake(c);

    if (rc == NGX_AGAIN) {
        c->ssl->handler = ngx_xmpp_redis_tls_handshake;
        return;
    }

    ngx_xmpp_redis_tls_handshake(c);

    return;

no_memory:

    ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_no_memory, 0, NULL);
}


/* the handshake is over, one way or the other */
static void
ngx_xmpp_redis_tls_handshake(ngx_connection_t *c)
{
    ngx_xmpp_redis_conn_t  *conn;

    conn = c->data;

    if (!c->ssl->handshaked) {
        ngx_xmpp_redis_tls_failed(conn);
        return;
    }

    ngx_xmpp_redis_conn_handlers(conn);
    ngx_xmpp_redis_conn_setup(conn);
}


static void
ngx_xmpp_redis_tls_failed(ngx_xmpp_redis_conn_t *conn)
{
    long                      rc;
    ngx_str_t                 text;
    ngx_xmpp_redis_reason_e   reason;

    rc = conn->client->conf.ssl_verify
         ? SSL_get_verify_result(conn->connection->ssl->connection)
         : X509_V_OK;

    switch (rc) {

    case X509_V_OK:
        reason = ngx_xmpp_redis_bad_tls;
        text.data = conn->said;
        text.len = conn->said_len;

        /* nginx is silent about a reset */

        if (text.len == 0) {
            ngx_str_set(&text, "peer closed connection in SSL handshake");
        }

        break;

    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        reason = ngx_xmpp_redis_misnamed;
        text = conn->client->conf.ssl_name;
        break;

    default:
        reason = ngx_xmpp_redis_untrusted;
        text.data = (u_char *) X509_verify_cert_error_string(rc);
        text.len = ngx_strlen(text.data);
    }

    ngx_xmpp_redis_conn_lost(conn, reason, 0, &text);
}


/* closes the socket, in whatever state TLS is; does not wait for the server */
void
ngx_xmpp_redis_tls_close(ngx_connection_t *c)
{
    ngx_pool_t  *pool;

    if (c->ssl) {
        c->ssl->no_wait_shutdown = 1;
        c->ssl->no_send_shutdown = 1;

        (void) ngx_ssl_shutdown(c);
    }

    pool = c->pool;

    ngx_close_connection(c);

    if (pool) {
        ngx_destroy_pool(pool);
    }
}


/*
 * The writer of conn->listener: keeps the text of the last line, between
 * "time [level] pid#tid: *number " and its end.
 */
static void
ngx_xmpp_redis_tls_listen(ngx_log_t *log, ngx_uint_t level, u_char *buf,
    size_t len)
{
    u_char                 *p, *last;
    ngx_xmpp_redis_conn_t  *conn;

    conn = log->wdata;
    last = buf + len;

    p = ngx_strlchr(buf, last, '#');
    p = p ? ngx_strlchr(p, last, ' ') : NULL;

    if (p == NULL) {
        return;
    }

    p++;

    if (p < last && *p == '*') {
        p = ngx_strlchr(p, last, ' ');

        if (p++ == NULL) {
            return;
        }
    }

    while (last > p && (last[-1] == LF || last[-1] == CR)) {
        last--;
    }

    conn->said_len = ngx_min((size_t) (last - p), sizeof(conn->said));
    ngx_memcpy(conn->said, p, conn->said_len);
}
