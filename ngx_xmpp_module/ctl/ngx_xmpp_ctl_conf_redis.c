/*
 * The directives of nginx.conf that tell xmppctl how to reach Redis:
 *
 *   xmpp_redis URL [db=N] [user=NAME] [sentinel_user=NAME];
 *   xmpp_redis_password_file FILE;  xmpp_redis_sentinel_password_file FILE;
 *   xmpp_redis_prefix NAME;
 *   xmpp_redis_ssl_verify on|off;  xmpp_redis_ssl_name NAME;
 *   xmpp_redis_ssl_trusted_certificate FILE;
 *   xmpp_redis_ssl_certificate FILE;  xmpp_redis_ssl_certificate_key FILE;
 *
 * and the file that a password is in.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_xmpp_ctl.h"


/* octets of a password of Redis, as the server takes it */
#define NGX_XMPP_CTL_REDIS_PASSWORD  4096


static const char *ngx_xmpp_ctl_conf_address(ngx_xmpp_ctl_t *ctl,
    ngx_uint_t nwords, ngx_str_t *words);
static const char *ngx_xmpp_ctl_conf_ssl(ngx_xmpp_ctl_t *ctl,
    ngx_str_t *words, const char *dir);
static const char *ngx_xmpp_ctl_conf_path(ngx_xmpp_ctl_t *ctl,
    ngx_str_t *word, const char *dir, const char **path);
static ngx_uint_t ngx_xmpp_ctl_conf_named(ngx_str_t *word, const char *name);


const char *
ngx_xmpp_ctl_conf_redis(ngx_xmpp_ctl_t *ctl, ngx_uint_t nwords,
    ngx_str_t *words, const char *dir)
{
    if (ngx_xmpp_ctl_conf_named(&words[0], "xmpp_redis")) {
        return ngx_xmpp_ctl_conf_address(ctl, nwords, words);
    }

    if (ngx_xmpp_ctl_conf_named(&words[0], "xmpp_redis_prefix")) {
        ctl->prefix = words[1];
        return NULL;
    }

    if (ngx_xmpp_ctl_conf_named(&words[0], "xmpp_redis_password_file")) {
        return ngx_xmpp_ctl_conf_path(ctl, &words[1], dir,
                                      &ctl->password_file);
    }

    if (ngx_xmpp_ctl_conf_named(&words[0],
                                "xmpp_redis_sentinel_password_file"))
    {
        return ngx_xmpp_ctl_conf_path(ctl, &words[1], dir,
                                      &ctl->sentinel_password_file);
    }

    return ngx_xmpp_ctl_conf_ssl(ctl, words, dir);
}


static const char *
ngx_xmpp_ctl_conf_ssl(ngx_xmpp_ctl_t *ctl, ngx_str_t *words, const char *dir)
{
    const char  **path;

    if (ngx_xmpp_ctl_conf_named(&words[0], "xmpp_redis_ssl_verify")) {
        ctl->insecure = ngx_xmpp_ctl_conf_named(&words[1], "off");
        return NULL;
    }

    if (ngx_xmpp_ctl_conf_named(&words[0], "xmpp_redis_ssl_name")) {
        return ngx_xmpp_ctl_conf_path(ctl, &words[1], "", &ctl->ssl_name);
    }

    if (ngx_xmpp_ctl_conf_named(&words[0],
                                "xmpp_redis_ssl_trusted_certificate"))
    {
        path = &ctl->ssl_trusted;

    } else if (ngx_xmpp_ctl_conf_named(&words[0],
                                       "xmpp_redis_ssl_certificate"))
    {
        path = &ctl->ssl_certificate;

    } else if (ngx_xmpp_ctl_conf_named(&words[0],
                                       "xmpp_redis_ssl_certificate_key"))
    {
        path = &ctl->ssl_key;

    } else {
        return NULL;
    }

    return ngx_xmpp_ctl_conf_path(ctl, &words[1], dir, path);
}


static const char *
ngx_xmpp_ctl_conf_address(ngx_xmpp_ctl_t *ctl, ngx_uint_t nwords,
    ngx_str_t *words)
{
    u_char      *p, *last;
    ngx_str_t   *word;
    ngx_uint_t   i, n;

    ctl->redis_url = words[1];
    ctl->redis_user.len = 0;
    ctl->sentinel_user.len = 0;
    ctl->db = 0;
    ctl->db_set = 0;

    for (i = 2; i < nwords; i++) {
        word = &words[i];
        last = word->data + word->len;

        if (word->len > 5 && ngx_memcmp(word->data, "user=", 5) == 0) {
            ctl->redis_user.data = word->data + 5;
            ctl->redis_user.len = word->len - 5;
            continue;
        }

        if (word->len > 14
            && ngx_memcmp(word->data, "sentinel_user=", 14) == 0)
        {
            ctl->sentinel_user.data = word->data + 14;
            ctl->sentinel_user.len = word->len - 14;
            continue;
        }

        if (word->len < 4 || ngx_memcmp(word->data, "db=", 3) != 0) {
            continue;
        }

        n = 0;

        for (p = word->data + 3; p < last && *p >= '0' && *p <= '9'; p++) {
            n = n * 10 + (*p - '0');

            if (n > NGX_MAX_INT32_VALUE / 10) {
                break;
            }
        }

        if (p != last) {
            return "the db= of xmpp_redis is not a number";
        }

        ctl->db = n;
        ctl->db_set = 1;
    }

    return NULL;
}


/* a relative path is one of the folder of nginx.conf, as for nginx */

static const char *
ngx_xmpp_ctl_conf_path(ngx_xmpp_ctl_t *ctl, ngx_str_t *word, const char *dir,
    const char **path)
{
    u_char  *p;
    size_t   len;

    len = (word->len && word->data[0] == '/') ? 0 : ngx_strlen(dir);

    p = ngx_pnalloc(ctl->pool, len + word->len + 1);
    if (p == NULL) {
        return "no memory";
    }

    *path = (char *) p;

    p = ngx_cpymem(p, dir, len);
    p = ngx_cpymem(p, word->data, word->len);
    *p = '\0';

    return NULL;
}


static ngx_uint_t
ngx_xmpp_ctl_conf_named(ngx_str_t *word, const char *name)
{
    return word->len == ngx_strlen(name)
           && ngx_memcmp(word->data, name, word->len) == 0;
}


int
ngx_xmpp_ctl_password_file(ngx_xmpp_ctl_t *ctl, const char *name,
    ngx_str_t *password)
{
    int       fd, err;
    ssize_t   n;

    password->data = ngx_pnalloc(ctl->pool, NGX_XMPP_CTL_REDIS_PASSWORD + 3);
    if (password->data == NULL) {
        return ngx_xmpp_ctl_no_memory();
    }

    fd = open(name, O_RDONLY|O_CLOEXEC);
    n = (fd == -1) ? -1 : read(fd, password->data,
                               NGX_XMPP_CTL_REDIS_PASSWORD + 3);
    err = errno;

    if (fd != -1) {
        (void) close(fd);
    }

    if (n == -1) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_CONF,
                                 "cannot read %s, which should hold the"
                                 " password of Redis: %s", name,
                                 strerror(err));
    }

    if (n && password->data[n - 1] == '\n') {
        n--;
    }

    if (n && password->data[n - 1] == '\r') {
        n--;
    }

    if (n == 0 || n > NGX_XMPP_CTL_REDIS_PASSWORD
        || ngx_strlchr(password->data, password->data + n, '\n'))
    {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_CONF,
                                 "%s should hold the password of Redis, in one"
                                 " line of up to %d bytes", name,
                                 NGX_XMPP_CTL_REDIS_PASSWORD);
    }

    password->len = n;

    return NGX_XMPP_CTL_OK;
}
