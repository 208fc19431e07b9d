/*
 * Which TLS sessions may be resumed where (RFC 8446, 4.6.1; RFC 6120,
 * 13.7.1.2): a session stands for the certificate that the client once showed,
 * and so must not go on where another authority decides.
 *
 * nginx tells sessions apart by the server's certificate and the names of the
 * authorities; hosts that share both, by accident or by somebody's intent,
 * and a ticket key or a cache, would take each other's.  So the session id
 * context is ours:
 *
 *     a host       its name, its certificate, and all that verifies a client:
 *                  the mode, the depth, each authority, each list of revoked
 *     a listener   that of all hosts, since OpenSSL resumes before it knows
 *                  by SNI which one it is: ngx_xmpp_tls_foreign() looks then
 *
 * A certificate that was revoked ends its sessions with the next reload.
 *
 * With TLS 1.3 a client gets one ticket in a connection, not OpenSSL's two: a
 * second one is for a client that opens several connections at once.
 */


#include "ngx_xmpp_tcp.h"


static ngx_int_t ngx_xmpp_tls_session_host(EVP_MD_CTX *md,
    ngx_xmpp_host_t *h);
static ngx_int_t ngx_xmpp_tls_session_store(EVP_MD_CTX *md, SSL_CTX *ctx);
static ngx_int_t ngx_xmpp_tls_session_set(EVP_MD_CTX *md, SSL_CTX *ctx);


/* in postconfiguration, after nginx has made its contexts; NGX_OK, NGX_ERROR */

ngx_int_t
ngx_xmpp_tls_session_init(ngx_conf_t *cf, ngx_xmpp_main_conf_t *xmcf)
{
    EVP_MD_CTX                    *md;
    ngx_int_t                      rc;
    ngx_uint_t                     i, n;
    ngx_xmpp_host_t              **hp;
    ngx_xmpp_srv_conf_t           *xscf;
    ngx_xmpp_ssl_conf_t           *sslcf;
    ngx_stream_core_srv_conf_t   **cscf;
    ngx_stream_core_main_conf_t   *cmcf;

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);
    cscf = cmcf->servers.elts;
    hp = xmcf->hosts.elts;

    md = EVP_MD_CTX_new();
    if (md == NULL) {
        return NGX_ERROR;
    }

    rc = NGX_OK;

    for (i = 0; i < cmcf->servers.nelts && rc == NGX_OK; i++) {
        xscf = cscf[i]->ctx->srv_conf[ngx_xmpp_module.ctx_index];
        sslcf = cscf[i]->ctx->srv_conf[ngx_stream_ssl_module.ctx_index];

        if (sslcf->ssl.ctx == NULL || (!xscf->listener && !xscf->host)) {
            continue;
        }

        if (EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1) {
            rc = NGX_ERROR;
            break;
        }

        if (xscf->host) {
            rc = ngx_xmpp_tls_session_host(md, xscf->host);

        } else {
            rc = ngx_xmpp_tls_session_store(md, sslcf->ssl.ctx);

            for (n = 0; n < xmcf->hosts.nelts && rc == NGX_OK; n++) {
                rc = ngx_xmpp_tls_session_host(md, hp[n]);
            }
        }

        if (rc == NGX_OK) {
            rc = ngx_xmpp_tls_session_set(md, sslcf->ssl.ctx);
        }
    }

    EVP_MD_CTX_free(md);

    if (rc != NGX_OK) {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                      "xmpp could not tell TLS sessions apart");
    }

    return rc;
}


static ngx_int_t
ngx_xmpp_tls_session_host(EVP_MD_CTX *md, ngx_xmpp_host_t *h)
{
    ngx_uint_t            n[2];
    ngx_xmpp_ssl_conf_t  *sslcf;

    sslcf = ngx_xmpp_host_conf(h, ngx_stream_ssl_module);

    n[0] = sslcf->verify;
    n[1] = sslcf->verify_depth;

    if (EVP_DigestUpdate(md, h->name.data, h->name.len) != 1
        || EVP_DigestUpdate(md, n, sizeof(n)) != 1)
    {
        return NGX_ERROR;
    }

    return sslcf->ssl.ctx ? ngx_xmpp_tls_session_store(md, sslcf->ssl.ctx)
                          : NGX_OK;
}


/* the certificate of the server, those of authorities, and lists of revoked */

static ngx_int_t
ngx_xmpp_tls_session_store(EVP_MD_CTX *md, SSL_CTX *ctx)
{
    int                      i, rc;
    u_char                   digest[EVP_MAX_MD_SIZE];
    X509                    *cert;
    X509_CRL                *crl;
    X509_OBJECT             *object;
    unsigned int             len;
    STACK_OF(X509_OBJECT)   *objects;

    len = 0;

    cert = SSL_CTX_get0_certificate(ctx);

    if (cert
        && (X509_digest(cert, EVP_sha256(), digest, &len) != 1
            || EVP_DigestUpdate(md, digest, len) != 1))
    {
        return NGX_ERROR;
    }

    objects = X509_STORE_get0_objects(SSL_CTX_get_cert_store(ctx));

    for (i = 0; i < sk_X509_OBJECT_num(objects); i++) {
        object = sk_X509_OBJECT_value(objects, i);
        cert = X509_OBJECT_get0_X509(object);
        crl = X509_OBJECT_get0_X509_CRL(object);

        rc = cert ? X509_digest(cert, EVP_sha256(), digest, &len)
             : crl ? X509_CRL_digest(crl, EVP_sha256(), digest, &len) : 0;

        if (rc != 1 || EVP_DigestUpdate(md, digest, len) != 1) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_tls_session_set(EVP_MD_CTX *md, SSL_CTX *ctx)
{
    u_char        digest[EVP_MAX_MD_SIZE];
    unsigned int  len;

    if (EVP_DigestFinal_ex(md, digest, &len) != 1
        || SSL_CTX_set_session_id_context(ctx, digest, len) != 1)
    {
        return NGX_ERROR;
    }

#ifdef TLS1_3_VERSION
    (void) SSL_CTX_set_num_tickets(ctx, 1);
#endif

    return NGX_OK;
}
