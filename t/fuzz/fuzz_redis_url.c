/*
 * Fuzzing of the address of Redis, as an administrator writes it.  What is
 * kept for logs is the same address with another password.
 *
 * nginx is not linked: what the parser needs of it is here, and the name of
 * the host is not looked up.
 */


#include "fuzz.h"
#include <ngx_xmpp_redis.h>


static ngx_str_t   stars = ngx_string("***");
static ngx_addr_t  fuzz_addr;


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char                   *err;
    ngx_str_t               url, shown;
    ngx_pool_t             *pool;
    ngx_xmpp_redis_conf_t   conf, again;

    pool = ngx_create_pool(4096, NULL);
    fuzz_check(pool != NULL);

    url = fuzz_copy(pool, data, size);
    err = NULL;

    ngx_memzero(&conf, sizeof(ngx_xmpp_redis_conf_t));

    if (ngx_xmpp_redis_parse_url(pool, &url, &conf, &err) != NGX_OK) {
        fuzz_check(err != NULL);
        goto done;
    }

    fuzz_check(conf.naddrs > 0);

    if (conf.password.len) {
        shown = fuzz_copy(pool, conf.url.data, conf.url.len);

        ngx_memzero(&again, sizeof(ngx_xmpp_redis_conf_t));

        fuzz_check(ngx_xmpp_redis_parse_url(pool, &shown, &again, &err)
                   == NGX_OK
                   && fuzz_equal(&again.password, &stars)
                   && fuzz_equal(&again.user, &conf.user)
                   && fuzz_equal(&again.host, &conf.host));
    }

done:

    ngx_destroy_pool(pool);

    return 0;
}


/* reads all of it, as nginx does */

ngx_int_t
ngx_parse_url(ngx_pool_t *pool, ngx_url_t *u)
{
    u_char  *colon;

    u->host = u->url;
    colon = ngx_strlchr(u->url.data, u->url.data + u->url.len, ':');

    if (colon) {
        u->host.len = colon - u->url.data;
    }

    if (u->host.len == 0) {
        u->err = "no host";
        return NGX_ERROR;
    }

    u->addrs = &fuzz_addr;
    u->naddrs = 1;

    return NGX_OK;
}


ngx_int_t
ngx_atoi(u_char *line, size_t n)
{
    ngx_int_t  value;

    if (n == 0 || n > 9) {
        return NGX_ERROR;
    }

    for (value = 0; n--; line++) {
        if (*line < '0' || *line > '9') {
            return NGX_ERROR;
        }

        value = value * 10 + (*line - '0');
    }

    return value;
}


ngx_int_t
ngx_hextoi(u_char *line, size_t n)
{
    u_char     ch;
    ngx_int_t  value;

    for (value = 0; n--; line++) {
        ch = *line | 0x20;

        if (*line >= '0' && *line <= '9') {
            value = value * 16 + (*line - '0');

        } else if (ch >= 'a' && ch <= 'f') {
            value = value * 16 + (ch - 'a' + 10);

        } else {
            return NGX_ERROR;
        }
    }

    return value;
}


ngx_int_t
ngx_strncasecmp(u_char *s1, u_char *s2, size_t n)
{
    for ( /* void */ ; n; n--, s1++, s2++) {
        if (ngx_tolower(*s1) != ngx_tolower(*s2)) {
            return ngx_tolower(*s1) - ngx_tolower(*s2);
        }

        if (*s1 == '\0') {
            return 0;
        }
    }

    return 0;
}


/* only what the parser asks for */

u_char * ngx_cdecl
ngx_sprintf(u_char *buf, const char *fmt, ...)
{
    size_t    n;
    va_list   args;

    va_start(args, fmt);

    while (*fmt) {

        if (*fmt != '%') {
            *buf++ = *fmt++;
            continue;
        }

        fuzz_check(fmt[1] == '*' && fmt[2] == 's');

        n = va_arg(args, size_t);
        buf = ngx_cpymem(buf, va_arg(args, u_char *), n);
        fmt += 3;
    }

    va_end(args);

    return buf;
}
