
/*
 * xmppctl ping: is Redis there, how fast, and set up so that it keeps what it
 * is given.  Everything is read from INFO, which managed services allow, too,
 * where CONFIG is taken away.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <stdio.h>
#include "ngx_xmpp_ctl.h"


#define NGX_XMPP_CTL_REDIS_VERSION  7    /* Functions, sharded pub/sub */


static int ngx_xmpp_ctl_round_trip(ngx_xmpp_ctl_t *ctl, double *ms);
static int ngx_xmpp_ctl_health(ngx_str_t *info);
static void ngx_xmpp_ctl_info(ngx_str_t *info, const char *field,
    ngx_str_t *value);
static ngx_uint_t ngx_xmpp_ctl_is(ngx_str_t *value, const char *text);


/* ping; an exit status: 1 when the server cannot work with this Redis */

int
ngx_xmpp_ctl_ping(ngx_xmpp_ctl_t *ctl, int argc, char **argv)
{
    int          status;
    double       ms;
    ngx_str_t    info, version, valkey, command;
    redisReply  *reply;

    ms = 0;

    status = ngx_xmpp_ctl_connect(ctl);

    if (status == NGX_XMPP_CTL_OK) {
        status = ngx_xmpp_ctl_round_trip(ctl, &ms);
    }

    if (status != NGX_XMPP_CTL_OK) {
        return status;
    }

    ngx_str_set(&command, "INFO");

    reply = ngx_xmpp_ctl_command(ctl, 1, &command);

    if (reply == NULL || reply->type != REDIS_REPLY_STRING) {
        return ngx_xmpp_ctl_bad_reply(reply);
    }

    info.data = (u_char *) reply->str;
    info.len = reply->len;

    ngx_xmpp_ctl_info(&info, "redis_version", &version);
    ngx_xmpp_ctl_info(&info, "valkey_version", &valkey);

    if (valkey.len) {
        (void) printf("Valkey %.*s answers in %.3f ms\n", (int) valkey.len,
                      valkey.data, ms);
    } else {
        (void) printf("Redis %.*s answers in %.3f ms\n", (int) version.len,
                      version.data, ms);
    }

    status = ngx_xmpp_ctl_health(&info);

    freeReplyObject(reply);

    return status;
}


/* one PING and its answer, in milliseconds */

static int
ngx_xmpp_ctl_round_trip(ngx_xmpp_ctl_t *ctl, double *ms)
{
    ngx_str_t         command;
    redisReply       *reply;
    struct timespec   from, to;

    ngx_str_set(&command, "PING");

    (void) clock_gettime(CLOCK_MONOTONIC, &from);

    reply = ngx_xmpp_ctl_command(ctl, 1, &command);

    (void) clock_gettime(CLOCK_MONOTONIC, &to);

    if (reply == NULL || reply->type != REDIS_REPLY_STATUS) {
        return ngx_xmpp_ctl_bad_reply(reply);
    }

    freeReplyObject(reply);

    *ms = (to.tv_sec - from.tv_sec) * 1e3
          + (to.tv_nsec - from.tv_nsec) / 1e6;

    return NGX_XMPP_CTL_OK;
}


/* warnings; those without which the server does not work make it fail */

static int
ngx_xmpp_ctl_health(ngx_str_t *info)
{
    int         status;
    size_t      i;
    ngx_str_t   value;
    ngx_uint_t  major;

    status = NGX_XMPP_CTL_OK;

    ngx_xmpp_ctl_info(info, "redis_version", &value);

    major = 0;

    for (i = 0; i < value.len && value.data[i] != '.'; i++) {
        major = major * 10 + (value.data[i] - '0');
    }

    if (major < NGX_XMPP_CTL_REDIS_VERSION) {
        status = ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                   "Redis %d or later is needed",
                                   NGX_XMPP_CTL_REDIS_VERSION);
    }

    ngx_xmpp_ctl_info(info, "maxmemory_policy", &value);

    if (!ngx_xmpp_ctl_is(&value, "noeviction")) {
        status = ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                   "maxmemory-policy is \"%.*s\" and must be"
                                   " \"noeviction\": the server refuses to"
                                   " work with a Redis that may throw accounts"
                                   " away", (int) value.len, value.data);
    }

    ngx_xmpp_ctl_info(info, "role", &value);

    if (!ngx_xmpp_ctl_is(&value, "master")) {
        status = ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                   "this Redis is a replica, the server needs"
                                   " the master");
    }

    ngx_xmpp_ctl_info(info, "aof_enabled", &value);

    if (!ngx_xmpp_ctl_is(&value, "1")) {
        (void) ngx_xmpp_ctl_fail(NGX_XMPP_CTL_OK,
                                 "warning: appendonly is off, a restart of"
                                 " Redis loses what came after its last"
                                 " snapshot");
    }

    return status;
}


/* the value of "field:value\r\n"; len 0 when there is none */

static void
ngx_xmpp_ctl_info(ngx_str_t *info, const char *field, ngx_str_t *value)
{
    u_char  *p, *end, *last;
    size_t   len;

    ngx_str_null(value);

    len = ngx_strlen(field);
    last = info->data + info->len;

    for (p = info->data; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, '\n');

        if (end == NULL) {
            end = last;
        }

        if ((size_t) (end - p) > len && p[len] == ':'
            && ngx_memcmp(p, field, len) == 0)
        {
            value->data = p + len + 1;
            value->len = end - value->data;

            if (value->len && end[-1] == '\r') {
                value->len--;
            }

            return;
        }
    }
}


static ngx_uint_t
ngx_xmpp_ctl_is(ngx_str_t *value, const char *text)
{
    return value->len == ngx_strlen(text)
           && ngx_memcmp(value->data, text, value->len) == 0;
}
