/*
 * What the Redis client says of its connections: why one is away, and the way
 * out.
 *
 * An outage is logged once for each of its reasons, then every 30 s, and once
 * when it is over.
 */


#include "ngx_xmpp_redis_private.h"


#define NGX_XMPP_REDIS_NAME  (sizeof("connection to the sentinel ")           \
                              + NGX_SOCKADDR_STRLEN)


typedef struct {
    char  *what;
    char  *advice;
    char  *asking;      /* the advice where sentinels name the master */
} ngx_xmpp_redis_reason_t;


static void ngx_xmpp_redis_log_name(ngx_xmpp_redis_conn_t *conn, u_char *buf,
    ngx_str_t *name);


/* in the order of ngx_xmpp_redis_reason_e */
static ngx_xmpp_redis_reason_t  ngx_xmpp_redis_reasons[] = {

    { "got no socket",
      "raise worker_connections or worker_rlimit_nofile", NULL },

    { "got no memory",
      "trying again", NULL },

    { "cannot be made",
      "is redis-server running there? trying again",
      "is it running? asking the sentinels" },

    { "is not permitted",
      "let the user of the worker processes use that socket", NULL },

    { "got no answer within the connect timeout",
      "is the server stalled, or is it no Redis? trying again",
      "is it stalled? asking the sentinels" },

    { "got no TLS handshake within the connect timeout",
      "does the server speak TLS there? trying again", NULL },

    { "cannot speak TLS",
      "does the server speak TLS there, and does it ask for a certificate "
      "(\"xmpp_redis_ssl_certificate\")? trying again", NULL },

    { "is not trusted",
      "\"xmpp_redis_ssl_trusted_certificate\" has to hold the authority of "
      "the server's certificate, which has to be valid; trying again", NULL },

    { "is not trusted: the server's certificate is for another name",
      "correct the name in \"xmpp_redis\", or give that of the certificate "
      "in \"xmpp_redis_ssl_name\"; trying again", NULL },

    { "was closed by the server",
      "connecting again", "asking the sentinels" },

    { "got no reply within the timeout",
      "the server is stalled or overloaded; connecting again",
      "it is stalled or overloaded; asking the sentinels" },

    { "got what is no valid reply",
      "connecting again", NULL },

    { "was refused",
      "check address, user, password and database in \"xmpp_redis\"", NULL },

    { "has to wait: the server is loading its data",
      "trying again", NULL },

    { "reached a replica",
      "\"xmpp_redis\" has to name the master; trying again",
      "asking the sentinels for the master" },

    { "does not hear what is published",
      "both connections have to reach the same master; connecting again",
      "both connections have to reach the same master; asking the sentinels" },

    { "was closed at the worker's shutdown timeout",
      "not connecting again", NULL },

    { "is left: the sentinels name another master",
      "connecting to that", NULL },

    { "got no master of that name",
      "the name behind the \"/\" in \"xmpp_redis\" has to be that of "
      "\"sentinel monitor\" in sentinel.conf; asking another", NULL },

    { "reached something that is no sentinel",
      "\"sentinel:\" in \"xmpp_redis\" needs addresses of sentinels, which "
      "are at port 26379 as a rule; for a server of Redis write \"redis:\"",
      NULL },

    { "got the name of a host instead of an address",
      "a worker cannot look names up: set \"sentinel announce-hostnames no\" "
      "in sentinel.conf; asking another", NULL }
};


/* the connection is away; err and detail may be missing */
void
ngx_xmpp_redis_log_away(ngx_xmpp_redis_conn_t *conn,
    ngx_xmpp_redis_reason_e reason, ngx_err_t err, ngx_str_t *detail)
{
    char                     *advice;
    u_char                    buf[NGX_XMPP_REDIS_NAME];
    ngx_str_t                 name, text;
    ngx_uint_t                bit, level;
    ngx_xmpp_redis_t         *r;
    ngx_xmpp_redis_reason_t  *why;

    r = conn->client;

    if (!conn->down) {
        conn->down = 1;
        conn->down_at = ngx_current_msec;
        conn->logged_at = ngx_current_msec;
    }

    bit = (ngx_uint_t) 1 << reason;

    if ((conn->reasons & bit)
        && ngx_current_msec - conn->logged_at < NGX_XMPP_REDIS_REMIND)
    {
        ngx_log_debug2(NGX_LOG_DEBUG_CORE, r->log, err,
                       "xmpp redis away, subscriber:%ui reason:%d",
                       conn->subscriber, reason);
        return;
    }

    conn->reasons |= bit;
    conn->logged_at = ngx_current_msec;

    why = &ngx_xmpp_redis_reasons[reason];
    advice = why->advice;

    if (r->conf.master.len && why->asking) {
        advice = conn->sentinel ? "is it running? asking another" : why->asking;
    }

    level = (reason == ngx_xmpp_redis_shutdown) ? NGX_LOG_INFO
            : (reason == ngx_xmpp_redis_moved) ? NGX_LOG_NOTICE
            : NGX_LOG_ERR;

    ngx_xmpp_redis_log_name(conn, buf, &name);

    if (detail == NULL) {
        ngx_log_error(level, r->log, err, "xmpp redis \"%V\": %V %s; %s",
                      &r->conf.url, &name, why->what, advice);
        return;
    }

    text = *detail;
    text.len = ngx_min(text.len, 200);

    /* one reason for all that may be wrong with address and user */

    if (reason == ngx_xmpp_redis_refused) {

        if (conn->sentinel) {
            advice = "give the password of the sentinels in "
                     "\"xmpp_redis_sentinel_password_file\", and their user, "
                     "if it is another than \"default\", in "
                     "\"sentinel_user=\" of \"xmpp_redis\"";

        } else if (ngx_xmpp_redis_advice(&text)) {
            advice = ngx_xmpp_redis_advice(&text);
        }
    }

    ngx_log_error(level, r->log, err, "xmpp redis \"%V\": %V %s, \"%V\"; %s",
                  &r->conf.url, &name, why->what, &text, advice);
}


/* the connection is there, or there again */
void
ngx_xmpp_redis_log_ready(ngx_xmpp_redis_conn_t *conn)
{
    u_char             buf[NGX_XMPP_REDIS_NAME];
    ngx_str_t          name;
    ngx_xmpp_redis_t  *r;

    r = conn->client;

    ngx_xmpp_redis_log_name(conn, buf, &name);

    if (conn->down) {
        ngx_log_error(NGX_LOG_NOTICE, r->log, 0,
                      "xmpp redis \"%V\": %V is back after %M ms",
                      &r->conf.url, &name, ngx_current_msec - conn->down_at);

    } else {
        ngx_log_error(NGX_LOG_INFO, r->log, 0,
                      "xmpp redis \"%V\": %V is ready", &r->conf.url, &name);
    }

    conn->down = 0;
    conn->reasons = 0;
}


/* which connection it is, and where to, if the address does not tell */

static void
ngx_xmpp_redis_log_name(ngx_xmpp_redis_conn_t *conn, u_char *buf,
    ngx_str_t *name)
{
    char    *kind;
    u_char  *p, *last;

    last = buf + NGX_XMPP_REDIS_NAME;

    kind = conn->sentinel ? "connection"
           : conn->subscriber ? "subscriber connection"
           : "command connection";

    p = ngx_slprintf(buf, last, "%s", kind);

    if (conn->client->conf.master.len && conn->peer) {
        p = ngx_slprintf(p, last, " to %s%V",
                         conn->sentinel ? "the sentinel " : "",
                         &conn->peer->name);
    }

    name->data = buf;
    name->len = p - buf;
}
