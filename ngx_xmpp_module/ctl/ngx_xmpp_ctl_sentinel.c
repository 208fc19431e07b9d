/*
 * Where the master of Redis is: xmppctl asks the sentinels of an address, one
 * after the other, as the server does (ngx_xmpp_redis_sentinel.c).  One that is
 * of no use is worth a line; when all are, the command fails.
 *
 *     for each sentinel: connect, AUTH if it has a password,
 *     SENTINEL GET-MASTER-ADDR-BY-NAME name
 *         address: it becomes url's      nil: it does not know that name
 *
 * A connection lives for one question.  What is asked is a copy of url, so a
 * sentinel that failed leaves nothing behind; url's strings are the command's.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_xmpp_ctl.h"


#define NGX_XMPP_CTL_SENTINEL_PORT     26379
#define NGX_XMPP_CTL_SENTINEL_TIMEOUT  2         /* seconds */


static int ngx_xmpp_ctl_sentinel_ask(ngx_xmpp_ctl_t *ctl,
    ngx_xmpp_ctl_url_t *at, ngx_str_t *password, ngx_xmpp_ctl_url_t *url);
static int ngx_xmpp_ctl_sentinel_answer(ngx_xmpp_ctl_t *ctl,
    redisReply **element, ngx_xmpp_ctl_url_t *url);
static int ngx_xmpp_ctl_sentinel_question(ngx_xmpp_ctl_t *ctl,
    ngx_xmpp_ctl_url_t *at, ngx_xmpp_ctl_url_t *url);


int
ngx_xmpp_ctl_sentinel(ngx_xmpp_ctl_t *ctl, ngx_xmpp_ctl_url_t *url)
{
    int                  status;
    u_char              *p, *start, *last;
    ngx_str_t            one, password;
    const char          *err;
    ngx_xmpp_ctl_url_t   at;

    ngx_str_null(&password);

    if (ctl->sentinel_password_file) {
        status = ngx_xmpp_ctl_password_file(ctl, ctl->sentinel_password_file,
                                            &password);
        if (status != NGX_XMPP_CTL_OK) {
            return status;
        }
    }

    last = url->sentinels.data + url->sentinels.len;

    for (start = url->sentinels.data; start <= last; start = p + 1) {

        p = ngx_strlchr(start, last, ',');
        p = p ? p : last;

        one.data = start;
        one.len = p - start;

        ngx_memzero(&at, sizeof(ngx_xmpp_ctl_url_t));

        err = ngx_xmpp_ctl_url_host(ctl, &one, NGX_XMPP_CTL_SENTINEL_PORT,
                                    &at);
        if (err) {
            return ngx_xmpp_ctl_fail(ctl->url ? NGX_XMPP_CTL_USAGE
                                              : NGX_XMPP_CTL_CONF,
                                     "bad address of a sentinel: %s", err);
        }

        status = ngx_xmpp_ctl_sentinel_ask(ctl, &at, &password, url);

        ngx_xmpp_ctl_tls_end(ctl);

        if (ctl->redis) {
            redisFree(ctl->redis);
            ctl->redis = NULL;
        }

        if (status == NGX_XMPP_CTL_OK) {
            return NGX_XMPP_CTL_OK;
        }
    }

    return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REDIS,
                             "no sentinel tells where the master \"%.*s\" of"
                             " Redis is", (int) url->master.len,
                             url->master.data);
}


/* connects to the sentinel at *at, whose answer goes to *url */

static int
ngx_xmpp_ctl_sentinel_ask(ngx_xmpp_ctl_t *ctl, ngx_xmpp_ctl_url_t *at,
    ngx_str_t *password, ngx_xmpp_ctl_url_t *url)
{
    int             status;
    redisContext   *c;
    struct timeval  tv;

    tv.tv_sec = NGX_XMPP_CTL_SENTINEL_TIMEOUT;
    tv.tv_usec = 0;

    c = redisConnectWithTimeout((char *) at->host.data, at->port, tv);

    if (c == NULL) {
        return ngx_xmpp_ctl_no_memory();
    }

    ctl->redis = c;

    if (c->err) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REDIS,
                                 "cannot reach the sentinel at %s, port %d: %s",
                                 (char *) at->host.data, at->port, c->errstr);
    }

    (void) redisSetTimeout(c, tv);

    if (ctl->tls) {
        status = ngx_xmpp_ctl_tls_start(ctl, (char *) at->host.data);
        if (status != NGX_XMPP_CTL_OK) {
            return status;
        }
    }

    status = ngx_xmpp_ctl_auth(ctl, &ctl->sentinel_user, password);
    if (status != NGX_XMPP_CTL_OK) {
        return status;
    }

    return ngx_xmpp_ctl_sentinel_question(ctl, at, url);
}


static int
ngx_xmpp_ctl_sentinel_question(ngx_xmpp_ctl_t *ctl, ngx_xmpp_ctl_url_t *at,
    ngx_xmpp_ctl_url_t *url)
{
    int          status;
    ngx_str_t    argv[3];
    redisReply  *reply;

    ngx_str_set(&argv[0], "SENTINEL");
    ngx_str_set(&argv[1], "GET-MASTER-ADDR-BY-NAME");
    argv[2] = url->master;

    reply = ngx_xmpp_ctl_command(ctl, 3, argv);

    if (reply && reply->type == REDIS_REPLY_NIL) {
        freeReplyObject(reply);

        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REDIS,
                                 "the sentinel at %s, port %d, knows no master"
                                 " \"%.*s\"; the name is that of \"sentinel"
                                 " monitor\" in sentinel.conf",
                                 (char *) at->host.data, at->port,
                                 (int) url->master.len, url->master.data);
    }

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY
        || reply->elements != 2)
    {
        return ngx_xmpp_ctl_bad_reply(reply);
    }

    status = ngx_xmpp_ctl_sentinel_answer(ctl, reply->element, url);

    freeReplyObject(reply);

    return status;
}


static int
ngx_xmpp_ctl_sentinel_answer(ngx_xmpp_ctl_t *ctl, redisReply **element,
    ngx_xmpp_ctl_url_t *url)
{
    u_char     *p, *last;
    ngx_int_t   port;

    if (element[0]->type != REDIS_REPLY_STRING
        || element[1]->type != REDIS_REPLY_STRING)
    {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REDIS,
                                 "a sentinel gave an answer that makes no"
                                 " sense here");
    }

    p = (u_char *) element[1]->str;
    last = p + element[1]->len;

    for (port = 0; p < last && *p >= '0' && *p <= '9' && port < 65536; p++) {
        port = port * 10 + (*p - '0');
    }

    url->port = (int) port;

    url->host.len = element[0]->len;
    url->host.data = ngx_pnalloc(ctl->pool, url->host.len + 1);

    if (url->host.data == NULL) {
        return ngx_xmpp_ctl_no_memory();
    }

    /* with the zero that hiredis puts there */

    ngx_memcpy(url->host.data, element[0]->str, url->host.len + 1);

    return NGX_XMPP_CTL_OK;
}
