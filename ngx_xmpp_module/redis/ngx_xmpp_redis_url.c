/*
 * The address of a Redis server, as an administrator writes it:
 *
 *   unix:/path                              of a socket
 *   redis:host[:port]                       port 6379 by default
 *   redis://[[user][:password]@]host[:port][/db]
 *   rediss:... and rediss://...            the same by TLS
 *   sentinel:host[:port][,host[:port]...]/name[/db]
 *                                           where name is the master, as its
 *                                           sentinels say; port 26379
 *   sentinel://[[user][:password]@]...      user and password of the master
 *   sentinels:... and sentinels://...      the same by TLS
 *
 * host is a name, resolved once, while the configuration is read, an IPv4
 * address or an IPv6 address in brackets.  user and password may have
 * percent-encoded octets (RFC 3986, 2.1).  What is kept for logs shows no
 * password.
 */


#include "ngx_xmpp_redis.h"


#define NGX_XMPP_REDIS_URL_NO_HOST                                            \
    "host \"%V\" not found; a name has to resolve when the configuration is " \
    "read, an address needs no DNS"


#define NGX_XMPP_REDIS_URL_NO_SOCKET                                          \
    "a sentinel has no socket: give its host and port"


static ngx_int_t ngx_xmpp_redis_parse_sentinels(ngx_pool_t *pool,
    ngx_str_t *rest, ngx_xmpp_redis_conf_t *conf, char **err);
static ngx_int_t ngx_xmpp_redis_parse_hosts(ngx_pool_t *pool,
    ngx_str_t *rest, ngx_xmpp_redis_conf_t *conf, char **err);
static ngx_int_t ngx_xmpp_redis_parse_authority(ngx_pool_t *pool,
    ngx_str_t *rest, ngx_xmpp_redis_conf_t *conf, char **err);
static ngx_int_t ngx_xmpp_redis_parse_db(u_char *p, u_char *last,
    ngx_xmpp_redis_conf_t *conf, char **err);
static ngx_int_t ngx_xmpp_redis_parse_user(ngx_pool_t *pool,
    ngx_str_t *rest, ngx_xmpp_redis_conf_t *conf, char **err);
static char *ngx_xmpp_redis_url_error(ngx_pool_t *pool, ngx_url_t *u);
static ngx_int_t ngx_xmpp_redis_unescape(ngx_pool_t *pool, u_char *start,
    u_char *end, ngx_str_t *out);
static ngx_uint_t ngx_xmpp_redis_has_prefix(ngx_str_t *s, char *prefix,
    size_t len);


/*
 * Fills url (a copy of *url without the password), addr, naddrs, master, db,
 * user and password of *conf; what *url does not tell is not touched.  Memory
 * is of pool.  NGX_ERROR: *err is a reason, a constant or of pool.
 */
ngx_int_t
ngx_xmpp_redis_parse_url(ngx_pool_t *pool, ngx_str_t *url,
    ngx_xmpp_redis_conf_t *conf, char **err)
{
    ngx_url_t  u;
    ngx_str_t  rest;

    conf->url = *url;
    rest = *url;

    conf->tls = ngx_xmpp_redis_has_prefix(url, "sentinels:", 10);

    if (conf->tls || ngx_xmpp_redis_has_prefix(url, "sentinel:", 9)) {
        rest.data += 9 + conf->tls;
        rest.len -= 9 + conf->tls;

        return ngx_xmpp_redis_parse_sentinels(pool, &rest, conf, err);
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
        *err = "neither \"unix:\", \"redis:\", \"rediss:\", \"sentinel:\" "
               "nor \"sentinels:\"; write it like \"redis:127.0.0.1:6379\"";
        return NGX_ERROR;
    }

    if (rest.data != url->data
        && ngx_xmpp_redis_has_prefix(&rest, "unix:", 5))
    {
        *err = "\"unix:\" has to come first";
        return NGX_ERROR;
    }

    if (rest.data == url->data && (url->len < 6 || url->data[5] != '/')) {
        *err = "the path of a socket has to begin with \"/\"";
        return NGX_ERROR;
    }

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = rest;
    u.default_port = 6379;

    if (ngx_parse_url(pool, &u) != NGX_OK) {
        *err = ngx_xmpp_redis_url_error(pool, &u);
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


/* what is behind "sentinel:" */

static ngx_int_t
ngx_xmpp_redis_parse_sentinels(ngx_pool_t *pool, ngx_str_t *rest,
    ngx_xmpp_redis_conf_t *conf, char **err)
{
    u_char      *p, *last;
    ngx_uint_t   slashes;

    slashes = ngx_xmpp_redis_has_prefix(rest, "//", 2);

    if (slashes) {
        rest->data += 2;
        rest->len -= 2;
    }

    if (ngx_xmpp_redis_has_prefix(rest, "unix:", 5)) {
        *err = NGX_XMPP_REDIS_URL_NO_SOCKET;
        return NGX_ERROR;
    }

    last = rest->data + rest->len;

    p = ngx_strlchr(rest->data, last, '/');

    if (p == NULL || p + 1 == last || p[1] == '/') {
        *err = "the name of the master is missing: it has to be "
               "\"sentinel:host:port,host:port/name\"";
        return NGX_ERROR;
    }

    rest->len = p - rest->data;
    conf->master.data = p + 1;

    p = ngx_strlchr(p + 1, last, '/');

    if (p && ngx_xmpp_redis_parse_db(p, last, conf, err) != NGX_OK) {
        return NGX_ERROR;
    }

    conf->master.len = (p ? p : last) - conf->master.data;

    if (slashes
        && ngx_xmpp_redis_parse_user(pool, rest, conf, err) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_xmpp_redis_parse_hosts(pool, rest, conf, err);
}


/* "host[:port][,host[:port]...]": all addresses of all of them */

static ngx_int_t
ngx_xmpp_redis_parse_hosts(ngx_pool_t *pool, ngx_str_t *rest,
    ngx_xmpp_redis_conf_t *conf, char **err)
{
    u_char      *p, *start, *last;
    ngx_url_t    u;
    ngx_uint_t   n;
    ngx_addr_t  *addrs;

    conf->naddrs = 0;

    last = rest->data + rest->len;

    for (start = rest->data; start <= last; start = p + 1) {

        p = ngx_strlchr(start, last, ',');
        p = p ? p : last;

        ngx_memzero(&u, sizeof(ngx_url_t));

        u.url.data = start;
        u.url.len = p - start;
        u.default_port = 26379;

        if (u.url.len == 0) {
            *err = "the address of a sentinel is missing";
            return NGX_ERROR;
        }

        if (ngx_xmpp_redis_has_prefix(&u.url, "unix:", 5)) {
            *err = NGX_XMPP_REDIS_URL_NO_SOCKET;
            return NGX_ERROR;
        }

        if (ngx_parse_url(pool, &u) != NGX_OK) {
            *err = ngx_xmpp_redis_url_error(pool, &u);
            return NGX_ERROR;
        }

        n = conf->naddrs;

        addrs = ngx_palloc(pool, (n + u.naddrs) * sizeof(ngx_addr_t));
        if (addrs == NULL) {
            *err = "no memory";
            return NGX_ERROR;
        }

        if (n) {
            ngx_memcpy(addrs, conf->addr, n * sizeof(ngx_addr_t));
        }

        ngx_memcpy(addrs + n, u.addrs, u.naddrs * sizeof(ngx_addr_t));

        conf->addr = addrs;
        conf->naddrs += u.naddrs;
    }

    return NGX_OK;
}


/* the host is told, of an address that may have held a password */

static char *
ngx_xmpp_redis_url_error(ngx_pool_t *pool, ngx_url_t *u)
{
    size_t   size;
    u_char  *text;

    if (u->err == NULL) {
        return "no memory";
    }

    if (ngx_strcmp(u->err, "host not found") != 0) {
        return u->err;
    }

    size = sizeof(NGX_XMPP_REDIS_URL_NO_HOST) + u->host.len;

    text = ngx_pnalloc(pool, size);
    if (text == NULL) {
        return "no memory";
    }

    *ngx_sprintf(text, NGX_XMPP_REDIS_URL_NO_HOST, &u->host) = '\0';

    return (char *) text;
}


/*
 * Takes "user:password@" and "/db" off *rest, so that host and port are left.
 */
static ngx_int_t
ngx_xmpp_redis_parse_authority(ngx_pool_t *pool, ngx_str_t *rest,
    ngx_xmpp_redis_conf_t *conf, char **err)
{
    u_char  *p, *last;

    last = rest->data + rest->len;

    p = ngx_strlchr(rest->data, last, '/');

    if (p) {
        rest->len = p - rest->data;

        if (ngx_xmpp_redis_parse_db(p, last, conf, err) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return ngx_xmpp_redis_parse_user(pool, rest, conf, err);
}


/* "/db", or a slash alone */

static ngx_int_t
ngx_xmpp_redis_parse_db(u_char *p, u_char *last, ngx_xmpp_redis_conf_t *conf,
    char **err)
{
    ngx_int_t  db;

    if (++p == last) {
        return NGX_OK;
    }

    db = ngx_atoi(p, last - p);

    if (db == NGX_ERROR) {
        *err = "the database after \"/\" is not a number";
        return NGX_ERROR;
    }

    conf->db = db;

    return NGX_OK;
}


/* takes "user:password@" off *rest, and hides the password in conf->url */

static ngx_int_t
ngx_xmpp_redis_parse_user(ngx_pool_t *pool, ngx_str_t *rest,
    ngx_xmpp_redis_conf_t *conf, char **err)
{
    u_char  *p, *last, *at, *colon, *end;

    last = rest->data + rest->len;

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
