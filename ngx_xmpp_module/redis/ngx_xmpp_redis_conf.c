/*
 * What is told of a Redis server beside its address: the password, when it is
 * in a file of its own, and TLS.  All of it happens while the configuration is
 * read, by the master: a file may be readable for root alone.
 *
 * OpenSSL itself checks the chain and the name during the handshake, so that
 * a connection to a server that is not trusted never becomes one.  nginx's
 * callback for that, which lets everything pass, is taken off again.
 */


#include "ngx_xmpp_redis.h"


#define NGX_XMPP_REDIS_PASSWORD  4096


static char *ngx_xmpp_redis_conf_sentinel(ngx_conf_t *cf,
    ngx_xmpp_redis_conf_t *conf);
static char *ngx_xmpp_redis_conf_line(ngx_conf_t *cf, ngx_str_t *file,
    u_char *buf, size_t len, ngx_str_t *line);
static char *ngx_xmpp_redis_conf_ssl(ngx_conf_t *cf,
    ngx_xmpp_redis_conf_t *conf);
static ngx_int_t ngx_xmpp_redis_conf_ssl_verify(ngx_conf_t *cf,
    ngx_xmpp_redis_conf_t *conf);
static ngx_int_t ngx_xmpp_redis_conf_ssl_name(ngx_conf_t *cf,
    ngx_xmpp_redis_conf_t *conf);


char *
ngx_xmpp_redis_conf_password(ngx_conf_t *cf, ngx_str_t *file,
    ngx_xmpp_redis_conf_t *conf, ngx_uint_t sentinel)
{
    char       *rv;
    u_char      buf[NGX_XMPP_REDIS_PASSWORD + 3];
    ssize_t     n;
    ngx_fd_t    fd;
    ngx_err_t   err;
    ngx_str_t  *name, *password;

    name = sentinel ? &conf->sentinel_password_file : &conf->password_file;
    password = sentinel ? &conf->sentinel_password : &conf->password;

    if (password->len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "there is a password in \"xmpp_redis\", too; leave "
                           "one of them");
        return NGX_CONF_ERROR;
    }

    *name = *file;

    if (ngx_conf_full_name(cf->cycle, name, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    fd = ngx_open_file(name->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed; it should hold "
                           "the password of Redis", name);
        return NGX_CONF_ERROR;
    }

    n = ngx_read_fd(fd, buf, sizeof(buf));
    err = ngx_errno;

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%V\" failed", name);
    }

    if (n == -1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, err,
                           ngx_read_fd_n " \"%V\" failed; it should hold the "
                           "password of Redis", name);
        return NGX_CONF_ERROR;
    }

    rv = ngx_xmpp_redis_conf_line(cf, name, buf, n, password);

    ngx_explicit_memzero(buf, sizeof(buf));

    return rv;
}


/* the only line of a file, without its end, copied from buf */

static char *
ngx_xmpp_redis_conf_line(ngx_conf_t *cf, ngx_str_t *file, u_char *buf,
    size_t len, ngx_str_t *line)
{
    size_t  size;

    size = len;

    if (len && buf[len - 1] == LF) {
        len--;
    }

    if (len && buf[len - 1] == CR) {
        len--;
    }

    if (len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is empty; it should hold the password of "
                           "Redis", file);
        return NGX_CONF_ERROR;
    }

    if (len > NGX_XMPP_REDIS_PASSWORD || size > NGX_XMPP_REDIS_PASSWORD + 2) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is longer than %d bytes; it should hold "
                           "the password of Redis and nothing else", file,
                           NGX_XMPP_REDIS_PASSWORD);
        return NGX_CONF_ERROR;
    }

    if (ngx_strlchr(buf, buf + len, LF)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" has more than one line; it should hold the "
                           "password of Redis and nothing else", file);
        return NGX_CONF_ERROR;
    }

    line->len = len;
    line->data = ngx_pnalloc(cf->pool, len);

    if (line->data == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memcpy(line->data, buf, len);

    return NGX_CONF_OK;
}


char *
ngx_xmpp_redis_conf_init(ngx_conf_t *cf, ngx_xmpp_redis_conf_t *conf)
{
    if (conf->user.len && conf->password.len == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"xmpp_redis\" has the user \"%V\" without a password: "
                      "put it into a file and name that in "
                      "\"xmpp_redis_password_file\"", &conf->user);
        return NGX_CONF_ERROR;
    }

    if (!conf->tls
        && (conf->ssl_verify != NGX_CONF_UNSET || conf->ssl_name.len
            || conf->ssl_trusted_certificate.len || conf->ssl_certificate.len
            || conf->ssl_certificate_key.len))
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "the directives \"xmpp_redis_ssl_...\" need TLS: "
                      "begin the address in \"xmpp_redis\" with \"rediss:\" "
                      "or \"sentinels:\"");
        return NGX_CONF_ERROR;
    }

    if (ngx_xmpp_redis_conf_sentinel(cf, conf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    return conf->tls ? ngx_xmpp_redis_conf_ssl(cf, conf) : NGX_CONF_OK;
}


static char *
ngx_xmpp_redis_conf_sentinel(ngx_conf_t *cf, ngx_xmpp_redis_conf_t *conf)
{
    if (conf->master.len == 0
        && (conf->sentinel_user.len || conf->sentinel_password.len))
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"sentinel_user=\" and "
                      "\"xmpp_redis_sentinel_password_file\" need sentinels: "
                      "\"xmpp_redis sentinel:host:port,host:port/name\"");
        return NGX_CONF_ERROR;
    }

    if (conf->sentinel_user.len && conf->sentinel_password.len == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"xmpp_redis\" has the user \"%V\" of the sentinels "
                      "without a password: put it into a file and name that in "
                      "\"xmpp_redis_sentinel_password_file\"",
                      &conf->sentinel_user);
        return NGX_CONF_ERROR;
    }

    /* sentinels tell addresses, and certificates have names */

    if (conf->master.len && conf->tls && conf->ssl_verify
        && conf->ssl_name.len == 0)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"sentinels:\" in \"xmpp_redis\" needs "
                      "\"xmpp_redis_ssl_name\": the name that the "
                      "certificates of all sentinels and servers have");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_xmpp_redis_conf_ssl(ngx_conf_t *cf, ngx_xmpp_redis_conf_t *conf)
{
    ngx_pool_cleanup_t  *cln;

    if ((conf->ssl_certificate.len == 0)
        != (conf->ssl_certificate_key.len == 0))
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"xmpp_redis_ssl_certificate\" and "
                      "\"xmpp_redis_ssl_certificate_key\" go together");
        return NGX_CONF_ERROR;
    }

    conf->ssl = ngx_pcalloc(cf->pool, sizeof(ngx_ssl_t));
    if (conf->ssl == NULL) {
        return NGX_CONF_ERROR;
    }

    conf->ssl->log = cf->log;

    if (ngx_ssl_create(conf->ssl, NGX_SSL_TLSv1_2|NGX_SSL_TLSv1_3, NULL)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        ngx_ssl_cleanup_ctx(conf->ssl);
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_ssl_cleanup_ctx;
    cln->data = conf->ssl;

    if (conf->ssl_certificate.len
        && ngx_ssl_certificate(cf, conf->ssl, &conf->ssl_certificate,
                               &conf->ssl_certificate_key, NULL)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (ngx_xmpp_redis_conf_ssl_verify(cf, conf) != NGX_OK
        || ngx_xmpp_redis_conf_ssl_name(cf, conf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_xmpp_redis_conf_ssl_verify(ngx_conf_t *cf, ngx_xmpp_redis_conf_t *conf)
{
    SSL_CTX  *ctx;

    ctx = conf->ssl->ctx;

    if (conf->ssl_trusted_certificate.len) {

        if (ngx_ssl_trusted_certificate(cf, conf->ssl,
                                        &conf->ssl_trusted_certificate, 9)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

    } else if (SSL_CTX_set_default_verify_paths(ctx) == 0) {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                      "SSL_CTX_set_default_verify_paths() failed");
        return NGX_ERROR;
    }

    SSL_CTX_set_verify(ctx, conf->ssl_verify ? SSL_VERIFY_PEER
                                             : SSL_VERIFY_NONE, NULL);

    return NGX_OK;
}


/* the name that the server's certificate has to be for (RFC 9525, 6) */

static ngx_int_t
ngx_xmpp_redis_conf_ssl_name(ngx_conf_t *cf, ngx_xmpp_redis_conf_t *conf)
{
    int                 rc;
    char               *name;
    ngx_str_t           s;
    X509_VERIFY_PARAM  *param;

    s = conf->ssl_name.len ? conf->ssl_name : conf->host;

    name = ngx_pnalloc(cf->pool, s.len + 1);
    if (name == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_cpystrn((u_char *) name, s.data, s.len + 1);

    conf->ssl_name.data = (u_char *) name;
    conf->ssl_name.len = s.len;

    conf->ssl_ip = (ngx_inet_addr(s.data, s.len) != INADDR_NONE
                    || ngx_strlchr(s.data, s.data + s.len, ':') != NULL);

    if (!conf->ssl_verify) {
        return NGX_OK;
    }

    param = SSL_CTX_get0_param(conf->ssl->ctx);

    X509_VERIFY_PARAM_set_hostflags(param,
                                    X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);

    rc = conf->ssl_ip ? X509_VERIFY_PARAM_set1_ip_asc(param, name)
                      : X509_VERIFY_PARAM_set1_host(param, name, s.len);

    if (rc == 0) {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"%V\" is no name that a certificate may have",
                      &conf->ssl_name);
        return NGX_ERROR;
    }

    return NGX_OK;
}
