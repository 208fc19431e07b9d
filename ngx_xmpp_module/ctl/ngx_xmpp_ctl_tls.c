/*
 * xmppctl's connection to Redis by TLS.
 *
 * hiredis connects and parses; the bytes between go through OpenSSL, since the
 * TLS of hiredis itself is a library of its own that not every system has.
 * Blocking, with the timeouts of the socket.  What is verified, and by whose
 * certificates, is the same as in the server (ngx_xmpp_redis_conf.c).
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <arpa/inet.h>
#include "ngx_xmpp_ctl.h"


#define NGX_XMPP_CTL_TLS_BUFFER  16384


struct ngx_xmpp_ctl_tls_s {
    SSL_CTX     *ctx;
    SSL         *ssl;
    char         buf[NGX_XMPP_CTL_TLS_BUFFER];
};


static int ngx_xmpp_ctl_tls_files(ngx_xmpp_ctl_t *ctl);
static int ngx_xmpp_ctl_tls_name(ngx_xmpp_ctl_t *ctl, const char *name);
static int ngx_xmpp_ctl_tls_untrusted(ngx_xmpp_ctl_t *ctl, const char *name,
    long rc);
static int ngx_xmpp_ctl_tls_fail(int status, const char *what,
    const char *name);
static const char *ngx_xmpp_ctl_tls_reason(void);
static int ngx_xmpp_ctl_tls_send(ngx_xmpp_ctl_t *ctl, const char *bytes,
    size_t len);
static redisReply *ngx_xmpp_ctl_tls_reply(ngx_xmpp_ctl_t *ctl);


int
ngx_xmpp_ctl_tls_start(ngx_xmpp_ctl_t *ctl, const char *host)
{
    int                  status;
    long                 rc;
    const char          *name;
    ngx_xmpp_ctl_tls_t  *tls;

    name = ctl->ssl_name ? ctl->ssl_name : host;

    tls = ngx_pcalloc(ctl->pool, sizeof(ngx_xmpp_ctl_tls_t));
    if (tls == NULL) {
        return ngx_xmpp_ctl_no_memory();
    }

    ctl->secure = tls;

    tls->ctx = SSL_CTX_new(TLS_client_method());
    if (tls->ctx == NULL) {
        return ngx_xmpp_ctl_no_memory();
    }

    (void) SSL_CTX_set_min_proto_version(tls->ctx, TLS1_2_VERSION);

    status = ngx_xmpp_ctl_tls_files(ctl);
    if (status != NGX_XMPP_CTL_OK) {
        return status;
    }

    tls->ssl = SSL_new(tls->ctx);
    if (tls->ssl == NULL || SSL_set_fd(tls->ssl, ctl->redis->fd) == 0) {
        return ngx_xmpp_ctl_no_memory();
    }

    status = ngx_xmpp_ctl_tls_name(ctl, name);
    if (status != NGX_XMPP_CTL_OK) {
        return status;
    }

    if (SSL_connect(tls->ssl) == 1) {
        return NGX_XMPP_CTL_OK;
    }

    rc = SSL_get_verify_result(tls->ssl);

    if (!ctl->insecure && rc != X509_V_OK) {
        return ngx_xmpp_ctl_tls_untrusted(ctl, name, rc);
    }

    return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REDIS,
                             "cannot speak TLS with Redis at %s: %s", name,
                             ngx_xmpp_ctl_tls_reason());
}


/* certificates: of authorities, and ours */

static int
ngx_xmpp_ctl_tls_files(ngx_xmpp_ctl_t *ctl)
{
    SSL_CTX  *ctx;

    ctx = ctl->secure->ctx;

    SSL_CTX_set_verify(ctx, ctl->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
                       NULL);

    if (ctl->ssl_trusted == NULL) {
        (void) SSL_CTX_set_default_verify_paths(ctx);

    } else if (SSL_CTX_load_verify_locations(ctx, ctl->ssl_trusted, NULL)
               == 0)
    {
        return ngx_xmpp_ctl_tls_fail(NGX_XMPP_CTL_CONF, "cannot take",
                                     ctl->ssl_trusted);
    }

    if (ctl->ssl_certificate
        && SSL_CTX_use_certificate_chain_file(ctx, ctl->ssl_certificate) == 0)
    {
        return ngx_xmpp_ctl_tls_fail(NGX_XMPP_CTL_CONF, "cannot take",
                                     ctl->ssl_certificate);
    }

    if (ctl->ssl_key
        && SSL_CTX_use_PrivateKey_file(ctx, ctl->ssl_key, SSL_FILETYPE_PEM)
           == 0)
    {
        return ngx_xmpp_ctl_tls_fail(NGX_XMPP_CTL_CONF, "cannot take",
                                     ctl->ssl_key);
    }

    return NGX_XMPP_CTL_OK;
}


/* RFC 9525, 6; RFC 6066, 3: a name, never an address, is sent */

static int
ngx_xmpp_ctl_tls_name(ngx_xmpp_ctl_t *ctl, const char *name)
{
    int                 ip;
    SSL                *ssl;
    u_char              addr[sizeof(struct in6_addr)];
    X509_VERIFY_PARAM  *param;

    ssl = ctl->secure->ssl;
    param = SSL_get0_param(ssl);

    X509_VERIFY_PARAM_set_hostflags(param,
                                    X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);

    ip = (inet_pton(AF_INET, name, addr) == 1
          || inet_pton(AF_INET6, name, addr) == 1);

    if (!ip && SSL_set_tlsext_host_name(ssl, name) == 0) {
        return ngx_xmpp_ctl_no_memory();
    }

    if (ctl->insecure) {
        return NGX_XMPP_CTL_OK;
    }

    if (ip ? X509_VERIFY_PARAM_set1_ip_asc(param, name)
           : X509_VERIFY_PARAM_set1_host(param, name, ngx_strlen(name)))
    {
        return NGX_XMPP_CTL_OK;
    }

    return ngx_xmpp_ctl_tls_fail(NGX_XMPP_CTL_CONF, "no certificate has the"
                                 " name", name);
}


/* which setting mends it depends on where the settings are from */

static int
ngx_xmpp_ctl_tls_untrusted(ngx_xmpp_ctl_t *ctl, const char *name, long rc)
{
    const char  *advice;

    switch (rc) {

    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REDIS,
                                 "the certificate of Redis at %s is for"
                                 " another name; %s", name,
                                 ctl->hosts_known
                                 ? "see xmpp_redis_ssl_name"
                                 : "give -r its name, or -c with"
                                   " xmpp_redis_ssl_name");

    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        advice = "Redis needs a valid one";
        break;

    default:
        advice = ctl->hosts_known
                 ? "name its authority in xmpp_redis_ssl_trusted_certificate"
                   " or --cacert"
                 : "name its authority in --cacert";
    }

    return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REDIS,
                             "the certificate of Redis at %s is not trusted:"
                             " %s; %s", name,
                             X509_verify_cert_error_string(rc), advice);
}


static int
ngx_xmpp_ctl_tls_fail(int status, const char *what, const char *name)
{
    return ngx_xmpp_ctl_fail(status, "%s %s: %s", what, name,
                             ngx_xmpp_ctl_tls_reason());
}


/*
 * What OpenSSL or the system has last complained about.  With TLS 1.3 a server
 * that wants a certificate closes after the handshake, maybe with a reset that
 * overtakes its alert.
 */

static const char *
ngx_xmpp_ctl_tls_reason(void)
{
    int            err;
    const char    *reason;
    unsigned long  e;

    err = errno;
    e = ERR_peek_error();

    if (e == 0 && err == EAGAIN) {
        return "no answer in time";
    }

    if (e == 0
        || (ERR_GET_LIB(e) == ERR_LIB_SYS
            && (ERR_GET_REASON(e) == ECONNRESET
                || ERR_GET_REASON(e) == EPIPE))
        || (ERR_GET_LIB(e) == ERR_LIB_SSL
            && ERR_GET_REASON(e) == SSL_R_UNEXPECTED_EOF_WHILE_READING))
    {
        return "closed; does it ask for a certificate?";
    }

    reason = ERR_reason_error_string(e);

    return reason ? reason : strerror(ERR_GET_REASON(e));
}


redisReply *
ngx_xmpp_ctl_tls_command(ngx_xmpp_ctl_t *ctl, int argc, const char **argv,
    size_t *lens)
{
    int          rc;
    char        *bytes;
    long long    len;
    redisReply  *reply;

    len = redisFormatCommandArgv(&bytes, argc, argv, lens);

    if (len <= 0) {
        (void) ngx_xmpp_ctl_no_memory();
        return NULL;
    }

    ERR_clear_error();
    errno = 0;

    rc = ngx_xmpp_ctl_tls_send(ctl, bytes, (size_t) len);
    redisFreeCommand(bytes);

    reply = (rc == NGX_OK) ? ngx_xmpp_ctl_tls_reply(ctl) : NULL;

    if (reply == NULL) {
        (void) ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REDIS,
                                 "the connection to Redis broke: %s",
                                 ctl->redis->reader->err
                                 ? ctl->redis->reader->errstr
                                 : ngx_xmpp_ctl_tls_reason());
    }

    return reply;
}


static int
ngx_xmpp_ctl_tls_send(ngx_xmpp_ctl_t *ctl, const char *bytes, size_t len)
{
    int  n;

    while (len) {
        n = SSL_write(ctl->secure->ssl, bytes, (int) ngx_min(len, 1 << 20));

        if (n <= 0) {
            return NGX_ERROR;
        }

        bytes += n;
        len -= n;
    }

    return NGX_OK;
}


static redisReply *
ngx_xmpp_ctl_tls_reply(ngx_xmpp_ctl_t *ctl)
{
    int           n;
    void         *reply;
    redisReader  *reader;

    reader = ctl->redis->reader;

    for ( ;; ) {
        if (redisReaderGetReply(reader, &reply) != REDIS_OK) {
            return NULL;
        }

        if (reply) {
            return reply;
        }

        n = SSL_read(ctl->secure->ssl, ctl->secure->buf,
                     NGX_XMPP_CTL_TLS_BUFFER);

        if (n <= 0
            || redisReaderFeed(reader, ctl->secure->buf, n) != REDIS_OK)
        {
            return NULL;
        }
    }
}


void
ngx_xmpp_ctl_tls_end(ngx_xmpp_ctl_t *ctl)
{
    if (ctl->secure == NULL) {
        return;
    }

    SSL_free(ctl->secure->ssl);
    SSL_CTX_free(ctl->secure->ctx);

    ctl->secure = NULL;
}
