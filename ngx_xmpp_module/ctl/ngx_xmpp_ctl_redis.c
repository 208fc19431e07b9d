
/*
 * xmppctl's connection to Redis, by hiredis, blocking; and the names of keys.
 *
 *   unix:/path
 *   redis:host[:port]
 *   redis://[[user][:password]@]host[:port][/db]
 *
 * and "rediss" for TLS in the last two (ngx_xmpp_ctl_tls.c);
 *
 *   sentinel:host[:port][,...]/master[/db]
 *   sentinel://[[user][:password]@]host[:port][,...]/master[/db]
 *
 * and "sentinels" (ngx_xmpp_ctl_sentinel.c).
 *
 * The same forms as of the directive xmpp_redis.  IPv6 addresses are in
 * brackets; user and password may be percent-encoded.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_xmpp_ctl.h"
#include "ngx_xmpp_scram.h"
#include "ngx_xmpp_util.h"


#define NGX_XMPP_CTL_REDIS_PORT     6379
#define NGX_XMPP_CTL_REDIS_TIMEOUT  5            /* seconds */

/* no command of ours has more */
#define NGX_XMPP_CTL_REDIS_ARGS     32


static const char *ngx_xmpp_ctl_url(ngx_xmpp_ctl_t *ctl,
    ngx_xmpp_ctl_url_t *url);
static const char *ngx_xmpp_ctl_url_sentinels(ngx_xmpp_ctl_t *ctl,
    ngx_str_t *rest, ngx_xmpp_ctl_url_t *url);
static const char *ngx_xmpp_ctl_url_authority(ngx_xmpp_ctl_t *ctl,
    ngx_str_t *rest, ngx_xmpp_ctl_url_t *url);
static const char *ngx_xmpp_ctl_url_db(ngx_xmpp_ctl_t *ctl, u_char *p,
    u_char *last);
static ngx_uint_t ngx_xmpp_ctl_prefixed(ngx_str_t *s, const char *prefix);
static ngx_int_t ngx_xmpp_ctl_digits(u_char *p, u_char *last);
static ngx_int_t ngx_xmpp_ctl_unescape(ngx_pool_t *pool, u_char *p,
    u_char *last, ngx_str_t *out);
static ngx_int_t ngx_xmpp_ctl_hex(u_char c);
static ngx_int_t ngx_xmpp_ctl_copy(ngx_pool_t *pool, u_char *p, u_char *last,
    ngx_str_t *out);
static int ngx_xmpp_ctl_user(ngx_xmpp_ctl_t *ctl, ngx_xmpp_ctl_url_t *url);
static int ngx_xmpp_ctl_setup(ngx_xmpp_ctl_t *ctl, ngx_xmpp_ctl_url_t *url);
static ngx_int_t ngx_xmpp_ctl_join(ngx_pool_t *pool, ngx_uint_t n,
    ngx_str_t *parts, ngx_str_t *out);


/* connects to redis_url and selects the database; an exit status */

int
ngx_xmpp_ctl_connect(ngx_xmpp_ctl_t *ctl)
{
    int                  status;
    const char          *err;
    redisContext        *c;
    struct timeval       tv;
    ngx_xmpp_ctl_url_t   url;

    ngx_memzero(&url, sizeof(ngx_xmpp_ctl_url_t));

    err = ngx_xmpp_ctl_url(ctl, &url);

    if (err) {
        return ngx_xmpp_ctl_fail(ctl->url ? NGX_XMPP_CTL_USAGE
                                          : NGX_XMPP_CTL_CONF,
                                 "bad address of Redis: %s", err);
    }

    status = ngx_xmpp_ctl_user(ctl, &url);
    if (status != NGX_XMPP_CTL_OK) {
        return status;
    }

    if (url.master.len) {
        status = ngx_xmpp_ctl_sentinel(ctl, &url);
        if (status != NGX_XMPP_CTL_OK) {
            return status;
        }
    }

    tv.tv_sec = NGX_XMPP_CTL_REDIS_TIMEOUT;
    tv.tv_usec = 0;

    if (url.path.len) {
        c = redisConnectUnixWithTimeout((char *) url.path.data, tv);

    } else {
        c = redisConnectWithTimeout((char *) url.host.data, url.port, tv);
    }

    if (c == NULL) {
        return ngx_xmpp_ctl_no_memory();
    }

    ctl->redis = c;

    if (c->err && url.path.len) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REDIS,
                                 "cannot reach Redis at %s: %s",
                                 (char *) url.path.data, c->errstr);
    }

    if (c->err) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REDIS,
                                 "cannot reach Redis at %s, port %d: %s",
                                 (char *) url.host.data, url.port, c->errstr);
    }

    (void) redisSetTimeout(c, tv);

    if (ctl->tls) {
        status = ngx_xmpp_ctl_tls_start(ctl, (char *) url.host.data);
        if (status != NGX_XMPP_CTL_OK) {
            return status;
        }
    }

    return ngx_xmpp_ctl_setup(ctl, &url);
}


/* user and password: of options, of the URL, of nginx.conf; an exit status */

static int
ngx_xmpp_ctl_user(ngx_xmpp_ctl_t *ctl, ngx_xmpp_ctl_url_t *url)
{
    if (ctl->redis_user.len) {
        url->user = ctl->redis_user;
    }

    if (ctl->user_option && !ctl->password_option) {
        url->password.len = 0;
    }

    if (url->password.len == 0 || ctl->password_option) {

        if (ctl->password_file) {
            return ngx_xmpp_ctl_password_file(ctl, ctl->password_file,
                                              &url->password);
        }

        if (url->user.len) {
            return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_USAGE,
                                     "the user \"%.*s\" of Redis needs a"
                                     " password: name its file with -P",
                                     (int) url->user.len, url->user.data);
        }
    }

    return NGX_XMPP_CTL_OK;
}


/* AUTH and SELECT, where needed */

static int
ngx_xmpp_ctl_setup(ngx_xmpp_ctl_t *ctl, ngx_xmpp_ctl_url_t *url)
{
    int          status;
    u_char       number[NGX_INT_T_LEN];
    ngx_str_t    argv[2];
    redisReply  *reply;

    status = ngx_xmpp_ctl_auth(ctl, &url->user, &url->password);
    if (status != NGX_XMPP_CTL_OK) {
        return status;
    }

    if (ctl->db == 0) {
        return NGX_XMPP_CTL_OK;
    }

    ngx_str_set(&argv[0], "SELECT");

    argv[1].data = number;
    argv[1].len = ngx_xmpp_scram_number(number, ctl->db) - number;

    reply = ngx_xmpp_ctl_command(ctl, 2, argv);

    if (reply == NULL || reply->type != REDIS_REPLY_STATUS) {
        return ngx_xmpp_ctl_bad_reply(reply);
    }

    freeReplyObject(reply);

    return NGX_XMPP_CTL_OK;
}


int
ngx_xmpp_ctl_auth(ngx_xmpp_ctl_t *ctl, ngx_str_t *user, ngx_str_t *password)
{
    ngx_str_t    argv[3];
    ngx_uint_t   n;
    redisReply  *reply;

    if (password->len == 0) {
        return NGX_XMPP_CTL_OK;
    }

    ngx_str_set(&argv[0], "AUTH");

    n = 1;

    if (user->len) {
        argv[n++] = *user;
    }

    argv[n++] = *password;

    reply = ngx_xmpp_ctl_command(ctl, n, argv);

    if (reply == NULL || reply->type != REDIS_REPLY_STATUS) {
        return ngx_xmpp_ctl_bad_reply(reply);
    }

    freeReplyObject(reply);

    return NGX_XMPP_CTL_OK;
}


/* sends a command and waits for its reply; NULL: said why */

redisReply *
ngx_xmpp_ctl_command(ngx_xmpp_ctl_t *ctl, ngx_uint_t argc, ngx_str_t *argv)
{
    size_t       lens[NGX_XMPP_CTL_REDIS_ARGS];
    ngx_uint_t   i;
    redisReply  *reply;
    const char  *args[NGX_XMPP_CTL_REDIS_ARGS];

    for (i = 0; i < argc && i < NGX_XMPP_CTL_REDIS_ARGS; i++) {
        args[i] = (char *) argv[i].data;
        lens[i] = argv[i].len;
    }

    if (ctl->secure) {
        return ngx_xmpp_ctl_tls_command(ctl, (int) i, args, lens);
    }

    reply = redisCommandArgv(ctl->redis, (int) i, args, lens);

    if (reply == NULL) {
        (void) ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REDIS,
                                 "the connection to Redis broke: %s",
                                 ctl->redis->err == REDIS_ERR_IO
                                 && errno == EAGAIN
                                 ? "no answer in time" : ctl->redis->errstr);
    }

    return reply;
}


/* reports and frees a reply that is not what was expected, or NULL */

int
ngx_xmpp_ctl_bad_reply(redisReply *reply)
{
    if (reply == NULL) {
        return NGX_XMPP_CTL_REDIS;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        (void) ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REDIS, "Redis says: %s%s",
                                 reply->str,
                                 ngx_strncmp(reply->str, "NOPERM", 6) == 0
                                 ? "; give another user by -u and -P" : "");

    } else {
        (void) ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REDIS,
                                 "Redis gave an answer of type %d that makes"
                                 " no sense here", reply->type);
    }

    freeReplyObject(reply);

    return NGX_XMPP_CTL_REDIS;
}


/* no worker has been here yet, or Redis is too old for Functions */

ngx_uint_t
ngx_xmpp_ctl_no_function(redisReply *reply)
{
    return reply->type == REDIS_REPLY_ERROR
           && (ngx_strstr(reply->str, "Function not found") != NULL
               || ngx_strstr(reply->str, "unknown command") != NULL);
}


/* "PREFIX:{JID}:SUFFIX" */

ngx_int_t
ngx_xmpp_ctl_key(ngx_xmpp_ctl_t *ctl, ngx_str_t *bare, const char *suffix,
    ngx_str_t *key)
{
    ngx_str_t  parts[5];

    parts[0] = ctl->prefix;
    ngx_str_set(&parts[1], ":{");
    ngx_str_set(&parts[3], "}:");
    parts[4].data = (u_char *) suffix;
    parts[4].len = ngx_strlen(suffix);

    if (ngx_xmpp_key_escape(ctl->pool, bare, &parts[2]) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_xmpp_ctl_join(ctl->pool, 5, parts, key);
}


/* "PREFIX:accounts:DOMAIN" */

ngx_int_t
ngx_xmpp_ctl_list_key(ngx_xmpp_ctl_t *ctl, ngx_str_t *domain, ngx_str_t *key)
{
    ngx_str_t  parts[3];

    parts[0] = ctl->prefix;
    ngx_str_set(&parts[1], ":accounts:");

    if (ngx_xmpp_key_escape(ctl->pool, domain, &parts[2]) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_xmpp_ctl_join(ctl->pool, 3, parts, key);
}


/* "PREFIX:failures" */

ngx_int_t
ngx_xmpp_ctl_failures_key(ngx_xmpp_ctl_t *ctl, ngx_str_t *key)
{
    ngx_str_t  parts[2];

    parts[0] = ctl->prefix;
    ngx_str_set(&parts[1], ":failures");

    return ngx_xmpp_ctl_join(ctl->pool, 2, parts, key);
}


/* "PREFIX/DB:{JID}": pub/sub knows no databases */

ngx_int_t
ngx_xmpp_ctl_channel(ngx_xmpp_ctl_t *ctl, ngx_str_t *bare, ngx_str_t *channel)
{
    u_char     number[NGX_INT_T_LEN];
    ngx_str_t  parts[6];

    parts[0] = ctl->prefix;
    ngx_str_set(&parts[1], "/");
    parts[2].data = number;
    parts[2].len = ngx_xmpp_scram_number(number, ctl->db) - number;
    ngx_str_set(&parts[3], ":{");
    ngx_str_set(&parts[5], "}");

    if (ngx_xmpp_key_escape(ctl->pool, bare, &parts[4]) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_xmpp_ctl_join(ctl->pool, 6, parts, channel);
}


static ngx_int_t
ngx_xmpp_ctl_join(ngx_pool_t *pool, ngx_uint_t n, ngx_str_t *parts,
    ngx_str_t *out)
{
    u_char      *p;
    size_t       len;
    ngx_uint_t   i;

    len = 0;

    for (i = 0; i < n; i++) {
        len += parts[i].len;
    }

    p = ngx_pnalloc(pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    out->data = p;
    out->len = len;

    for (i = 0; i < n; i++) {
        p = ngx_cpymem(p, parts[i].data, parts[i].len);
    }

    return NGX_OK;
}


/* parses ctl->redis_url; sets ctl->db, too; NULL, or what is wrong */

static const char *
ngx_xmpp_ctl_url(ngx_xmpp_ctl_t *ctl, ngx_xmpp_ctl_url_t *url)
{
    u_char      *last;
    ngx_str_t    rest;
    const char  *err;

    rest = ctl->redis_url;
    last = rest.data + rest.len;

    if (ngx_xmpp_ctl_prefixed(&rest, "unix:")) {

        if (rest.len == 5) {
            return "a path is missing after \"unix:\"";
        }

        if (ngx_xmpp_ctl_copy(ctl->pool, rest.data + 5, last, &url->path)
            != NGX_OK)
        {
            return "no memory";
        }

        return NULL;
    }

    ctl->tls = ngx_xmpp_ctl_prefixed(&rest, "sentinels:");

    if (ctl->tls || ngx_xmpp_ctl_prefixed(&rest, "sentinel:")) {
        rest.data += 9 + ctl->tls;
        rest.len -= 9 + ctl->tls;

        return ngx_xmpp_ctl_url_sentinels(ctl, &rest, url);
    }

    ctl->tls = ngx_xmpp_ctl_prefixed(&rest, "rediss:");

    if (!ctl->tls && !ngx_xmpp_ctl_prefixed(&rest, "redis:")) {
        return "it must begin with \"unix:\", \"redis:\", \"rediss:\","
               " \"sentinel:\" or \"sentinels:\"";
    }

    rest.data += 6 + ctl->tls;
    rest.len -= 6 + ctl->tls;

    if (ngx_xmpp_ctl_prefixed(&rest, "//")) {
        rest.data += 2;
        rest.len -= 2;

        err = ngx_xmpp_ctl_url_authority(ctl, &rest, url);
        if (err) {
            return err;
        }
    }

    return ngx_xmpp_ctl_url_host(ctl, &rest, NGX_XMPP_CTL_REDIS_PORT, url);
}


/* what is behind "sentinel:"; the hosts are looked at one by one later */

static const char *
ngx_xmpp_ctl_url_sentinels(ngx_xmpp_ctl_t *ctl, ngx_str_t *rest,
    ngx_xmpp_ctl_url_t *url)
{
    u_char      *p, *last;
    ngx_uint_t   slashes;
    const char  *err;

    slashes = ngx_xmpp_ctl_prefixed(rest, "//");

    if (slashes) {
        rest->data += 2;
        rest->len -= 2;
    }

    last = rest->data + rest->len;

    p = ngx_strlchr(rest->data, last, '/');

    if (p == NULL || p + 1 == last || p[1] == '/') {
        return "the name of the master is missing: it has to be"
               " \"sentinel:host:port,host:port/name\"";
    }

    rest->len = p - rest->data;
    url->master.data = p + 1;

    p = ngx_strlchr(p + 1, last, '/');

    err = p ? ngx_xmpp_ctl_url_db(ctl, p, last) : NULL;
    if (err) {
        return err;
    }

    url->master.len = (p ? p : last) - url->master.data;

    err = slashes ? ngx_xmpp_ctl_url_authority(ctl, rest, url) : NULL;

    url->sentinels = *rest;

    return err;
}


/* takes "[user]:password@" and "/db" off rest */

static const char *
ngx_xmpp_ctl_url_authority(ngx_xmpp_ctl_t *ctl, ngx_str_t *rest,
    ngx_xmpp_ctl_url_t *url)
{
    u_char      *p, *at, *last, *colon;
    const char  *err;

    last = rest->data + rest->len;

    p = ngx_strlchr(rest->data, last, '/');

    if (p) {
        err = ngx_xmpp_ctl_url_db(ctl, p, last);
        if (err) {
            return err;
        }

        last = p;
    }

    for (at = last; at > rest->data && at[-1] != '@'; at--) { /* void */ }

    if (at > rest->data) {
        colon = ngx_strlchr(rest->data, at - 1, ':');
        p = colon ? colon : at - 1;

        if (ngx_xmpp_ctl_unescape(ctl->pool, rest->data, p, &url->user)
            != NGX_OK
            || (colon
                && ngx_xmpp_ctl_unescape(ctl->pool, colon + 1, at - 1,
                                         &url->password)
                   != NGX_OK))
        {
            return "user or password have a bad \"%\" escape";
        }
    }

    rest->data = at;
    rest->len = last - at;

    return NULL;
}


/* "/db", or a slash alone */

static const char *
ngx_xmpp_ctl_url_db(ngx_xmpp_ctl_t *ctl, u_char *p, u_char *last)
{
    ngx_int_t  db;

    if (++p == last) {
        return NULL;
    }

    db = ngx_xmpp_ctl_digits(p, last);

    if (db == NGX_ERROR) {
        return "the database after \"/\" is not a number";
    }

    if (!ctl->db_set) {
        ctl->db = db;
    }

    return NULL;
}


const char *
ngx_xmpp_ctl_url_host(ngx_xmpp_ctl_t *ctl, ngx_str_t *rest, int port_default,
    ngx_xmpp_ctl_url_t *url)
{
    u_char     *p, *last, *end;
    ngx_int_t   port;

    p = rest->data;
    last = rest->data + rest->len;

    if (rest->len && *p == '[') {
        end = ngx_strlchr(++p, last, ']');

        if (end == NULL) {
            return "a \"]\" is missing";
        }

        rest->data = end + 1;

    } else {
        end = ngx_strlchr(p, last, ':');
        end = end ? end : last;

        rest->data = end;
    }

    if (end == p) {
        return "the host is missing";
    }

    url->port = port_default;

    if (rest->data < last) {

        port = (*rest->data == ':') ? ngx_xmpp_ctl_digits(rest->data + 1, last)
                                    : NGX_ERROR;

        if (port < 1 || port > 65535) {
            return "the port is not a number from 1 to 65535";
        }

        url->port = (int) port;
    }

    if (ngx_xmpp_ctl_copy(ctl->pool, p, end, &url->host) != NGX_OK) {
        return "no memory";
    }

    return NULL;
}


static ngx_uint_t
ngx_xmpp_ctl_prefixed(ngx_str_t *s, const char *prefix)
{
    size_t  len;

    len = ngx_strlen(prefix);

    return s->len >= len && strncasecmp((char *) s->data, prefix, len) == 0;
}


static ngx_int_t
ngx_xmpp_ctl_digits(u_char *p, u_char *last)
{
    ngx_int_t  n;

    if (p == last || last - p > 9) {
        return NGX_ERROR;
    }

    for (n = 0; p < last; p++) {

        if (*p < '0' || *p > '9') {
            return NGX_ERROR;
        }

        n = n * 10 + (*p - '0');
    }

    return n;
}


static ngx_int_t
ngx_xmpp_ctl_unescape(ngx_pool_t *pool, u_char *p, u_char *last,
    ngx_str_t *out)
{
    u_char     *dst;
    ngx_int_t   high, low;

    dst = ngx_pnalloc(pool, last - p + 1);
    if (dst == NULL) {
        return NGX_ERROR;
    }

    out->data = dst;

    for ( /* void */ ; p < last; p++) {

        if (*p != '%') {
            *dst++ = *p;
            continue;
        }

        if (last - p < 3) {
            return NGX_ERROR;
        }

        high = ngx_xmpp_ctl_hex(p[1]);
        low = ngx_xmpp_ctl_hex(p[2]);

        if (high == NGX_ERROR || low == NGX_ERROR) {
            return NGX_ERROR;
        }

        *dst++ = (u_char) (high << 4 | low);
        p += 2;
    }

    out->len = dst - out->data;

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_ctl_hex(u_char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c = ngx_tolower(c);

    return (c >= 'a' && c <= 'f') ? c - 'a' + 10 : NGX_ERROR;
}


/* a copy with a '\0' after it, for hiredis */

static ngx_int_t
ngx_xmpp_ctl_copy(ngx_pool_t *pool, u_char *p, u_char *last, ngx_str_t *out)
{
    out->len = last - p;

    out->data = ngx_pnalloc(pool, out->len + 1);
    if (out->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(out->data, p, out->len);
    out->data[out->len] = '\0';

    return NGX_OK;
}
