/*
 * The probe: whether what is published is heard (cluster.md, rule 13).
 *
 * A subscriber that answers PING may still sit where nobody publishes: on
 * another master behind one address, or on one that became a replica.  So the
 * client subscribes to a channel of its own, conf->probe, and when nothing
 * was heard for a while, it publishes there on the command connection:
 *
 *   quiet --conf->ping ms, nothing heard--> asked --conf->timeout ms--> verdict
 *
 *   heard, and counted by the server     well: quiet again
 *   not heard, or counted 0              a silence: asked again
 *   not known, no reply, or no right     PING: is the socket alive at all?
 *
 * With it goes ROLE: a master that became a replica, and takes writes
 * (replica-read-only no), would hear and count, and forget them.
 *
 * Two silences, one after the other: both connections are given up, since
 * nothing tells which of them is on the wrong server.  While messages come,
 * nothing is asked; else it costs a publish and a message each 20 s.
 *
 * Without a probe (no channel, no right to it, the command connection away)
 * it is a PING, whose deadline finds out a half-open peer.  A right that is
 * missing may be given: it is said once, and tried again each time.
 */


#include "ngx_xmpp_redis_private.h"


static void ngx_xmpp_redis_probe_subscribed(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status);
static ngx_int_t ngx_xmpp_redis_probe_verdict(ngx_xmpp_redis_t *r);
static ngx_int_t ngx_xmpp_redis_probe_ask(ngx_xmpp_redis_t *r);
static void ngx_xmpp_redis_probe_counted(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status);
static void ngx_xmpp_redis_probe_role(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status);


/* the subscriber has become ready: before all other subscriptions */
void
ngx_xmpp_redis_probe_ready(ngx_xmpp_redis_t *r)
{
    ngx_xmpp_redis_probe_reset(r);

    ngx_add_timer(&r->conn[1].timer, r->conf.ping);

    if (r->conf.probe.len == 0) {
        return;
    }

    (void) ngx_xmpp_redis_subscribe(r, &r->conf.probe,
                                    ngx_xmpp_redis_probe_subscribed, r);
}


/* the subscriber is gone: what was asked is of no interest any more */
void
ngx_xmpp_redis_probe_reset(ngx_xmpp_redis_t *r)
{
    if (r->probe.req) {
        ngx_xmpp_redis_cancel(r->probe.req);
    }

    r->probe.req = NULL;
    r->probe.silences = 0;
    r->probe.subscribed = 0;
    r->probe.asked = 0;
    r->probe.lively = 0;
}


/* OK comes with the confirmation, and so of the connection that is there */

static void
ngx_xmpp_redis_probe_subscribed(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status)
{
    ngx_xmpp_redis_t *r = data;

    if (status == NGX_XMPP_REDIS_OK) {
        r->probe.subscribed = 1;
    }
}


/* a message has come; 1: it is the probe, and nobody else's */
ngx_uint_t
ngx_xmpp_redis_probe_heard(ngx_xmpp_redis_t *r, ngx_str_t *channel,
    ngx_str_t *message)
{
    r->probe.lively = 1;

    if (channel->len != r->conf.probe.len || r->conf.probe.len == 0
        || ngx_memcmp(channel->data, r->conf.probe.data, channel->len) != 0)
    {
        return 0;
    }

    if (ngx_xmpp_redis_confirm_heard(r, message)) {
        return 1;
    }

    if (ngx_atoi(message->data, message->len) == (ngx_int_t) r->probe.number) {
        r->probe.heard = 1;
    }

    return 1;
}


/* the timer of a subscriber that is ready */
void
ngx_xmpp_redis_probe_tick(ngx_xmpp_redis_t *r)
{
    ngx_int_t               rc;
    ngx_uint_t              lively;
    ngx_xmpp_redis_conn_t  *conn;

    conn = &r->conn[1];

    rc = r->probe.asked ? ngx_xmpp_redis_probe_verdict(r) : NGX_OK;

    if (r->probe.silences == NGX_XMPP_REDIS_SILENCES) {
        ngx_xmpp_redis_probe_elsewhere(r);
        return;
    }

    lively = r->probe.lively;
    r->probe.lively = 0;

    if (lively && r->probe.silences == 0) {
        ngx_add_timer(&conn->timer, r->conf.ping);
        return;
    }

    if (rc == NGX_OK && ngx_xmpp_redis_probe_ask(r) == NGX_OK) {
        ngx_add_timer(&conn->timer, r->conf.timeout);
        return;
    }

    ngx_add_timer(&conn->timer, r->conf.ping);
    ngx_xmpp_redis_pubsub_ping(conn);
}


/* NGX_DECLINED: there is none, the command connection has not answered */
static ngx_int_t
ngx_xmpp_redis_probe_verdict(ngx_xmpp_redis_t *r)
{
    r->probe.asked = 0;

    if (r->probe.req) {
        ngx_xmpp_redis_cancel(r->probe.req);
        r->probe.req = NULL;
    }

    if (!r->probe.answered) {
        return NGX_DECLINED;
    }

    if (r->probe.heard && r->probe.counted) {
        r->probe.silences = 0;
        return NGX_OK;
    }

    r->probe.silences++;

    ngx_log_debug3(NGX_LOG_DEBUG_CORE, r->log, 0,
                   "xmpp redis probe, heard:%d counted:%d silences:%ui",
                   r->probe.heard, r->probe.counted, r->probe.silences);

    return NGX_OK;
}


/* publishes; NGX_DECLINED: that is not possible now */
static ngx_int_t
ngx_xmpp_redis_probe_ask(ngx_xmpp_redis_t *r)
{
    u_char     number[NGX_INT_T_LEN];
    ngx_str_t  argv[3];

    if (!r->probe.subscribed
        || r->conn[0].state != ngx_xmpp_redis_st_ready || r->conn[0].leaving)
    {
        return NGX_DECLINED;
    }

    r->probe.number++;

    ngx_str_set(&argv[0], "SPUBLISH");
    argv[1] = r->conf.probe;
    argv[2].data = number;
    argv[2].len = ngx_sprintf(number, "%ui", r->probe.number) - number;

    r->probe.req = ngx_xmpp_redis_command(r, 0, 3, argv,
                                          ngx_xmpp_redis_probe_counted, r);
    if (r->probe.req == NULL) {
        return NGX_DECLINED;
    }

    ngx_str_set(&argv[0], "ROLE");

    (void) ngx_xmpp_redis_command(r, 0, 1, argv, ngx_xmpp_redis_probe_role, r);

    r->probe.asked = 1;
    r->probe.heard = 0;
    r->probe.answered = 0;
    r->probe.counted = 0;

    return NGX_OK;
}


static void
ngx_xmpp_redis_probe_counted(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status)
{
    ngx_xmpp_redis_t *r = data;

    r->probe.req = NULL;

    if (reply == NULL) {
        return;
    }

    if (reply->type == REDIS_REPLY_INTEGER) {
        r->probe.answered = 1;
        r->probe.counted = (reply->integer > 0);
        r->probe.denied = 0;
        return;
    }

    /* said once; it is tried further, and noticed when it is permitted */

    if (r->probe.denied) {
        return;
    }

    r->probe.denied = 1;

    ngx_log_error(NGX_LOG_WARN, r->log, 0,
                  "xmpp redis \"%V\": cannot probe whether messages arrive, "
                  "\"%*s\"; permit its user SPUBLISH on the module's channels",
                  &r->conf.url, (size_t) reply->len, reply->str);
}


/* an error, as without the right to it, tells nothing */

static void
ngx_xmpp_redis_probe_role(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status)
{
    ngx_xmpp_redis_t *r = data;

    redisReply  *role;

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY
        || reply->elements == 0)
    {
        return;
    }

    role = reply->element[0];

    if (role->type != REDIS_REPLY_STRING
        || (role->len == 6 && ngx_memcmp(role->str, "master", 6) == 0))
    {
        return;
    }

    /* this is within its reader: it is lost when all replies are in */

    r->conn[0].leaving = 1;
    r->conn[0].leaving_for = ngx_xmpp_redis_replica;
}


/* the two connections are not those of one server: both are given up */
void
ngx_xmpp_redis_probe_elsewhere(ngx_xmpp_redis_t *r)
{
    ngx_uint_t  i;

    for (i = 0; i < 2; i++) {
        if (r->conn[i].state == ngx_xmpp_redis_st_ready) {
            ngx_xmpp_redis_conn_lost(&r->conn[i], ngx_xmpp_redis_elsewhere, 0,
                                     NULL);
        }
    }
}
