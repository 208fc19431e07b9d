/*
 * What is told of a Redis server beside its address: the password, when it is
 * in a file of its own.  All of it happens while the configuration is read,
 * by the master: a file may be readable for root alone.
 */


#include "ngx_xmpp_redis.h"


#define NGX_XMPP_REDIS_PASSWORD  4096


static char *ngx_xmpp_redis_conf_line(ngx_conf_t *cf, ngx_str_t *file,
    u_char *buf, size_t len, ngx_str_t *line);


char *
ngx_xmpp_redis_conf_password(ngx_conf_t *cf, ngx_str_t *file,
    ngx_xmpp_redis_conf_t *conf)
{
    char       *rv;
    u_char      buf[NGX_XMPP_REDIS_PASSWORD + 3];
    ssize_t     n;
    ngx_fd_t    fd;
    ngx_err_t   err;

    if (conf->password.len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "there is a password in \"xmpp_redis\", too; leave "
                           "one of them");
        return NGX_CONF_ERROR;
    }

    conf->password_file = *file;

    if (ngx_conf_full_name(cf->cycle, &conf->password_file, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    fd = ngx_open_file(conf->password_file.data, NGX_FILE_RDONLY,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed; it should hold "
                           "the password of Redis", &conf->password_file);
        return NGX_CONF_ERROR;
    }

    n = ngx_read_fd(fd, buf, sizeof(buf));
    err = ngx_errno;

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%V\" failed",
                           &conf->password_file);
    }

    if (n == -1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, err,
                           ngx_read_fd_n " \"%V\" failed; it should hold the "
                           "password of Redis", &conf->password_file);
        return NGX_CONF_ERROR;
    }

    rv = ngx_xmpp_redis_conf_line(cf, &conf->password_file, buf, n,
                                  &conf->password);

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
ngx_xmpp_redis_conf_check(ngx_conf_t *cf, ngx_xmpp_redis_conf_t *conf)
{
    if (conf->user.len && conf->password.len == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"xmpp_redis\" has the user \"%V\" without a password: "
                      "put it into a file and name that in "
                      "\"xmpp_redis_password_file\"", &conf->user);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
