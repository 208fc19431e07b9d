/*
 * Channel binding: what is known only to the two ends of this very TLS
 * connection, so that a password proven over it is worth nothing on another
 * one (RFC 5056).
 *
 *     tls-exporter          keying material of the session (RFC 9266); below
 *                           TLS 1.3 only with the extended master secret
 *     tls-server-end-point  the hash of our certificate (RFC 5929, 4)
 *     tls-unique            the first Finished (RFC 5929, 3); below TLS 1.3
 *                           only with the extended master secret (RFC 7627)
 *
 * tls-unique is not defined for TLS 1.3 (RFC 9266, 1) and not offered there.
 * Clients exist that send it all the same, and their Finished can be compared:
 * docs/internals/decisions/ tells why that is done.
 *
 * Nothing is kept: bytes are made when a client binds.
 */


#include "ngx_xmpp_tcp.h"


#define NGX_XMPP_TLS_EXPORTER         "EXPORTER-Channel-Binding"
#define NGX_XMPP_TLS_EXPORTER_LEN     32


static size_t ngx_xmpp_tls_exporter(ngx_ssl_conn_t *ssl_conn, u_char *buf);
static size_t ngx_xmpp_tls_end_point(ngx_ssl_conn_t *ssl_conn,
    ngx_array_t *certificates, u_char *buf);
static size_t ngx_xmpp_tls_unique(ngx_ssl_conn_t *ssl_conn, u_char *buf);
static ngx_uint_t ngx_xmpp_tls_is_unique(ngx_ssl_conn_t *ssl_conn);


/* see ngx_xmpp_transport_t */

size_t
ngx_xmpp_tls_binding(ngx_xmpp_stream_t *st, ngx_xmpp_binding_e type,
    u_char *buf)
{
    ngx_xmpp_ssl_conf_t   *sslcf;
    ngx_stream_session_t  *s;

    s = st->nginx;
    sslcf = ngx_stream_get_module_srv_conf(s, ngx_stream_ssl_module);

    return ngx_xmpp_tls_bind(st->connection, sslcf->certificates, type, buf);
}


/* certificates: those that the connection's server has, or NULL */

size_t
ngx_xmpp_tls_bind(ngx_connection_t *c, ngx_array_t *certificates,
    ngx_xmpp_binding_e type, u_char *buf)
{
    if (c->ssl == NULL) {
        return 0;
    }

    switch (type) {

    case NGX_XMPP_BINDING_EXPORTER:
        return ngx_xmpp_tls_exporter(c->ssl->connection, buf);

    case NGX_XMPP_BINDING_END_POINT:
        return ngx_xmpp_tls_end_point(c->ssl->connection, certificates, buf);

    default: /* NGX_XMPP_BINDING_UNIQUE */
        return ngx_xmpp_tls_unique(c->ssl->connection, buf);
    }
}


/* RFC 9266, 2: 32 octets, no context, and below 1.3 what is said in 3 */

static size_t
ngx_xmpp_tls_exporter(ngx_ssl_conn_t *ssl_conn, u_char *buf)
{
    if (!ngx_xmpp_tls_is_unique(ssl_conn)) {
        return 0;
    }

    if (buf == NULL) {
        return 1;
    }

    if (SSL_export_keying_material(ssl_conn, buf, NGX_XMPP_TLS_EXPORTER_LEN,
                                   NGX_XMPP_TLS_EXPORTER,
                                   sizeof(NGX_XMPP_TLS_EXPORTER) - 1,
                                   (u_char *) "", 0, 1)
        != 1)
    {
        ERR_clear_error();
        return 0;
    }

    return NGX_XMPP_TLS_EXPORTER_LEN;
}


/*
 * RFC 5929, 4.1: the hash of the certificate's signature, SHA-256 for MD5 and
 * SHA-1; a signature without a hash (Ed25519) leaves the binding undefined.
 * In a resumed session no certificate is shown: with more than one, nobody
 * knows which one the client saw.
 */

static size_t
ngx_xmpp_tls_end_point(ngx_ssl_conn_t *ssl_conn, ngx_array_t *certificates,
    u_char *buf)
{
    int            nid;
    X509          *cert;
    unsigned int   len;
    const EVP_MD  *md;

    if (SSL_session_reused(ssl_conn)
        && (certificates == NULL || certificates->nelts > 1))
    {
        return 0;
    }

    cert = SSL_get_certificate(ssl_conn);

    if (cert == NULL
        || X509_get_signature_info(cert, &nid, NULL, NULL, NULL) != 1)
    {
        return 0;
    }

    if (nid == NID_md5 || nid == NID_sha1 || nid == NID_md5_sha1) {
        nid = NID_sha256;
    }

    md = (nid == NID_undef) ? NULL : EVP_get_digestbynid(nid);

    if (md == NULL) {
        return 0;
    }

    if (buf == NULL) {
        return 1;
    }

    if (X509_digest(cert, md, buf, &len) != 1) {
        ERR_clear_error();
        return 0;
    }

    return len;
}


/* RFC 5929, 3.1: the client's Finished, in a resumed session the server's */

static size_t
ngx_xmpp_tls_unique(ngx_ssl_conn_t *ssl_conn, u_char *buf)
{
    if (!ngx_xmpp_tls_is_unique(ssl_conn)) {
        return 0;
    }

    if (buf == NULL) {
        return SSL_version(ssl_conn) < TLS1_3_VERSION;
    }

    return SSL_session_reused(ssl_conn)
           ? SSL_get_finished(ssl_conn, buf, NGX_XMPP_BINDING_MAX)
           : SSL_get_peer_finished(ssl_conn, buf, NGX_XMPP_BINDING_MAX);
}


/* RFC 7627: else two sessions may be made to have the same secrets */

static ngx_uint_t
ngx_xmpp_tls_is_unique(ngx_ssl_conn_t *ssl_conn)
{
    return SSL_version(ssl_conn) >= TLS1_3_VERSION
           || SSL_get_extms_support(ssl_conn) == 1;
}
