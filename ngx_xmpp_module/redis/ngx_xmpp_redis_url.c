/*
 * The address of a Redis server, as an administrator writes it:
 *
 *   unix:/path                              of a socket
 *   redis:host[:port]                       port 6379 by default
 *   redis://[[user][:password]@]host[:port][/db]
 *   rediss:... and rediss://...            the same by TLS
 *
 * host is a name, resolved once, while the configuration is read, an IPv4
 * address or an IPv6 address in brackets.  user and password may have
 * percent-encoded octets (RFC 3986, 2.1).  What is kept for logs shows no
 * password.
 */


#include "ngx_xmpp_redis.h"


static ngx_int_t ngx_xmpp_redis_parse_authority(ngx_pool_t *pool,
    ngx_str_t *rest, ngx_xmpp_redis_conf_t *conf, char **err);
static ngx_int_t ngx_xmpp_redis_unescape(ngx_pool_t *pool, u_char *start,
    u_char *end, ngx_str_t *out);
static ngx_uint_t ngx_xmpp_redis_has_prefix(ngx_str_t *s, char *prefix,
    size_t len);


/*
 * Fills url (a copy of *url without the password), addr, naddrs, db, user and
 * password of *conf; what *url does not tell is not touched.  Memory is of
 * pool.  NGX_ERROR: *err is a reason, a constant or of pool.
 */
ngx_int_t
ngx_xmpp_redis_parse_url(ngx_pool_t *pool, ngx_str_t *url,
    ngx_xmpp_redis_conf_t *conf, char **err)
{
    ngx_url_t  u;
    ngx_str_t  rest;

    conf->url = *url;
    rest = *url;

    if (ngx_xmpp_redis_has_prefix(url, "sentinel:", 9)) {
        *err = "Redis Sentinel (\"sentinel:\") is not supported";
        return NGX_ERROR;
    }

    if (ngx_xmpp_redis_has_prefix(url, "cluster:", 8)) {
        *err = "Redis Cluster (\"cluster:\") is not supported";
        return NGX_ERROR;
    }

    conf->tls = ngx_xmpp_redis_has_prefix(url, "rediss:", 7);

    if (conf->tls || ngx_xmpp_redis_has_prefix(url, "redis:", 6)) {
        rest.data += 6 + conf->tls;
        rest.len -= 6 + conf->tls;

        if (ngx_xmpp_redis_has_prefix(&rest, "//", 2)) {
            rest.data += 2;
            rest.len -= 2;

            if (ngx_xmpp_redis_parse_authority(pool, &rest, conf, err)
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }

    } else if (!ngx_xmpp_redis_has_prefix(url, "unix:", 5)) {
        *err = "neither \"unix:\", \"redis:\" nor \"rediss:\"";
        return NGX_ERROR;
    }

    if (rest.data != url->data
        && ngx_xmpp_redis_has_prefix(&rest, "unix:", 5))
    {
        *err = "\"unix:\" has to come first";
        return NGX_ERROR;
    }

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = rest;
    u.default_port = 6379;

    if (ngx_parse_url(pool, &u) != NGX_OK) {
        *err = u.err ? u.err : "no memory";
        return NGX_ERROR;
    }

    if (u.naddrs == 0) {
        *err = "no address";
        return NGX_ERROR;
    }

    conf->addr = u.addrs;
    conf->naddrs = u.naddrs;

    if (rest.data != url->data) {
        conf->host = u.host;

        if (u.host.len > 2 && u.host.data[0] == '[') {
            conf->host.data++;
            conf->host.len -= 2;
        }
    }

    return NGX_OK;
}


/*
 * Takes "user:password@" and "/db" off *rest, so that host and port are left,
 * and hides the password in conf->url.
 */
static ngx_int_t
ngx_xmpp_redis_parse_authority(ngx_pool_t *pool, ngx_str_t *rest,
    ngx_xmpp_redis_conf_t *conf, char **err)
{
    u_char     *p, *last, *at, *colon, *end;
    ngx_int_t   db;

    last = rest->data + rest->len;

    p = ngx_strlchr(rest->data, last, '/');

    if (p) {
        rest->len = p - rest->data;

        if (p + 1 < last) {
            db = ngx_atoi(p + 1, last - (p + 1));

            if (db == NGX_ERROR) {
                *err = "the database after \"/\" is not a number";
                return NGX_ERROR;
            }

            conf->db = db;
        }

        last = p;
    }

    /* the last "@": one inside a password is often not encoded */

    for (at = last; at > rest->data && at[-1] != '@'; at--) { /* void */ }

    if (at == rest->data) {
        return NGX_OK;
    }

    colon = ngx_strlchr(rest->data, at - 1, ':');
    end = colon ? colon : at - 1;

    if (ngx_xmpp_redis_unescape(pool, rest->data, end, &conf->user) != NGX_OK)
    {
        goto bad_escape;
    }

    last = rest->data + rest->len;
    rest->data = at;
    rest->len = last - at;

    if (colon == NULL) {
        return NGX_OK;
    }

    if (conf->password_file.len) {
        *err = "there is a password in it and an \"xmpp_redis_password_file\"; "
               "leave one of them";
        return NGX_ERROR;
    }

    if (ngx_xmpp_redis_unescape(pool, colon + 1, at - 1, &conf->password)
        != NGX_OK)
    {
        goto bad_escape;
    }

    p = ngx_pnalloc(pool, conf->url.len + sizeof("***"));
    if (p == NULL) {
        *err = "no memory";
        return NGX_ERROR;
    }

    last = conf->url.data + conf->url.len;

    conf->url.len = ngx_sprintf(p, "%*s***%*s",
                                (size_t) (colon + 1 - conf->url.data),
                                conf->url.data,
                                (size_t) (last - (at - 1)), at - 1) - p;
    conf->url.data = p;

    return NGX_OK;

bad_escape:

    *err = "user or password have a bad \"%\" escape";

    return NGX_ERROR;
}


static ngx_int_t
ngx_xmpp_redis_unescape(ngx_pool_t *pool, u_char *start, u_char *end,
    ngx_str_t *out)
{
    u_char     *p, *q;
    ngx_int_t   n;

    q = ngx_pnalloc(pool, end - start + 1);
    if (q == NULL) {
        return NGX_ERROR;
    }

    out->data = q;

    for (p = start; p < end; p++) {

        if (*p != '%') {
            *q++ = *p;
            continue;
        }

        n = (end - p > 2) ? ngx_hextoi(p + 1, 2) : NGX_ERROR;

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }

        *q++ = (u_char) n;
        p += 2;
    }

    out->len = q - out->data;

    return NGX_OK;
}


static ngx_uint_t
ngx_xmpp_redis_has_prefix(ngx_str_t *s, char *prefix, size_t len)
{
    return s->len >= len
           && ngx_strncasecmp(s->data, (u_char *) prefix, len) == 0;
}
