/*
 * Who a client is by its certificate (RFC 6120, 13.7.1.4; RFC 5280, 4.2.1.6):
 * the names of the subjectAltName, as bytes.  What they mean is for SASL
 * EXTERNAL to say; whether the certificate is good, nginx has found out.
 *
 * Names are given out only when the handshake was that of the stream's host:
 * by its authorities, its list of revoked certificates and its depth, with a
 * good outcome.  A TLS session that goes on is of the same host, see
 * ngx_xmpp_tls_session.c.
 */


#include "ngx_xmpp_tcp.h"
#include <openssl/x509v3.h>


static ngx_uint_t ngx_xmpp_tls_verified(ngx_xmpp_stream_t *st,
    ngx_pool_t *pool);
static ngx_int_t ngx_xmpp_tls_name(ngx_pool_t *pool, GENERAL_NAME *gn,
    ngx_uint_t kinds, ngx_array_t *names);


/* id-on-xmppAddr, 1.3.6.1.5.5.7.8.5, RFC 6120, 13.7.1.4 */
static const u_char  ngx_xmpp_tls_xmppaddr[] = {
    0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x08, 0x05
};


ngx_int_t
ngx_xmpp_tls_names(ngx_xmpp_stream_t *st, ngx_pool_t *pool, ngx_uint_t kinds,
    ngx_array_t *names)
{
    int             i, n;
    X509           *cert;
    ngx_int_t       rc;
    GENERAL_NAMES  *san;

    if (!ngx_xmpp_tls_verified(st, pool)) {
        return NGX_OK;
    }

    cert = SSL_get_peer_certificate(st->connection->ssl->connection);
    if (cert == NULL) {
        return NGX_OK;
    }

    rc = NGX_OK;

    san = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    n = san ? sk_GENERAL_NAME_num(san) : 0;

    for (i = 0; i < n && rc == NGX_OK; i++) {
        rc = ngx_xmpp_tls_name(pool, sk_GENERAL_NAME_value(san, i), kinds,
                               names);
    }

    GENERAL_NAMES_free(san);
    X509_free(cert);

    return rc;
}


/*
 * Whether the host of the header asks for a certificate of the client that
 * nobody has looked at: direct TLS was for another host, or for none; or nginx
 * did not notice that SNI has changed the server, which happens when the
 * handshake ends within its first call.
 */

ngx_int_t
ngx_xmpp_tls_serves(ngx_xmpp_stream_t *st, ngx_xmpp_host_t *h)
{
    ngx_str_t              result;
    ngx_connection_t      *c;
    ngx_xmpp_ssl_conf_t   *sslcf;
    ngx_stream_session_t  *s;

    c = st->connection;
    s = st->nginx;
    sslcf = ngx_xmpp_host_conf(h, ngx_stream_ssl_module);

    if (c->ssl == NULL || sslcf->verify != 1) {
        return NGX_OK;
    }

    if (s->srv_conf == h->ctx->srv_conf
        && ngx_ssl_get_client_verify(c, st->pool, &result) == NGX_OK
        && result.len == sizeof("SUCCESS") - 1)
    {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_INFO, c->log, 0,
                  "client has shown no valid certificate for \"%V\"",
                  &h->name);

    return NGX_DECLINED;
}


/* whether nginx has verified a certificate for the stream's very host */

static ngx_uint_t
ngx_xmpp_tls_verified(ngx_xmpp_stream_t *st, ngx_pool_t *pool)
{
    ngx_str_t              result;
    ngx_connection_t      *c;
    ngx_xmpp_ssl_conf_t   *sslcf;
    ngx_stream_session_t  *s;

    c = st->connection;
    s = st->nginx;

    /* by SNI or STARTTLS; a listener's own configuration is nobody's */

    if (c->ssl == NULL || s->srv_conf != st->host->ctx->srv_conf) {
        return 0;
    }

    sslcf = ngx_xmpp_host_conf(st->host, ngx_stream_ssl_module);

    /* 3, "optional_no_ca": its authorities are not meant to decide */

    return (sslcf->verify == 1 || sslcf->verify == 2)
           && ngx_ssl_get_client_verify(c, pool, &result) == NGX_OK
           && result.len == sizeof("SUCCESS") - 1
           && ngx_memcmp(result.data, "SUCCESS", sizeof("SUCCESS") - 1) == 0;
}


/* adds gn, if it is of a kind that is asked for, and of the right type */

static ngx_int_t
ngx_xmpp_tls_name(ngx_pool_t *pool, GENERAL_NAME *gn, ngx_uint_t kinds,
    ngx_array_t *names)
{
    int           i;
    ngx_str_t    *name;
    ASN1_STRING  *value;

    value = NULL;

    if (gn->type == GEN_EMAIL && (kinds & NGX_XMPP_CERTIFICATE_EMAIL)) {
        value = gn->d.rfc822Name;

    } else if (gn->type == GEN_OTHERNAME
               && (kinds & NGX_XMPP_CERTIFICATE_XMPPADDR)
               && OBJ_length(gn->d.otherName->type_id)
                  == sizeof(ngx_xmpp_tls_xmppaddr)
               && ngx_memcmp(OBJ_get0_data(gn->d.otherName->type_id),
                             ngx_xmpp_tls_xmppaddr,
                             sizeof(ngx_xmpp_tls_xmppaddr))
                  == 0
               && gn->d.otherName->value->type == V_ASN1_UTF8STRING)
    {
        value = gn->d.otherName->value->value.utf8string;
    }

    if (value == NULL || ASN1_STRING_length(value) <= 0) {
        return NGX_OK;
    }

    /* IA5String; OpenSSL looks at the type, not at the bytes */

    for (i = 0; gn->type == GEN_EMAIL && i < ASN1_STRING_length(value); i++) {
        if (ASN1_STRING_get0_data(value)[i] >= 0x80) {
            return NGX_OK;
        }
    }

    name = ngx_array_push(names);
    if (name == NULL) {
        return NGX_ERROR;
    }

    name->len = ASN1_STRING_length(value);
    name->data = ngx_pnalloc(pool, name->len);

    if (name->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(name->data, ASN1_STRING_get0_data(value), name->len);

    return NGX_OK;
}
