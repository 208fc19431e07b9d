/*
 * Confirmations: replicas have what was heard on the subscriber connection by
 * now (cluster.md, rule 12).
 *
 *   confirm() --end of the turn--> SPUBLISH of a number to ourselves, WAIT
 *
 *   the WAIT is answered, and the number heard     confirmed: told
 *   too few replicas, or a connection is lost      void
 *
 * A server publishes before its replicas have what it tells of.  WAIT asks
 * about what its own connection has written last (or done, before Redis 7.2),
 * which is behind what was heard, if both connections are those of one server;
 * that the number comes back on the other one says so.  One is for all that
 * was heard in a turn, and the WAIT is that of the turn.
 *
 * A number that is answered for and not heard in time: the connections are
 * those of two servers, both are given up, as the probe does.
 *
 * Without a channel of our own, or the right to it, nothing tells that, and the
 * WAIT alone counts.
 */


#include "ngx_xmpp_redis_private.h"


static void ngx_xmpp_redis_confirm_check(ngx_xmpp_redis_t *r);
static void ngx_xmpp_redis_confirm_handler(ngx_event_t *ev);


void
ngx_xmpp_redis_confirm_init(ngx_xmpp_redis_t *r)
{
    r->confirm.timer.handler = ngx_xmpp_redis_confirm_handler;
    r->confirm.timer.data = &r->conn[1];
    r->confirm.timer.log = r->log;
    r->confirm.timer.cancelable = 1;
}


/*
 * Asks whether replicas have what was heard by now.  Returns a number, which
 * conf->confirmed is told when they have, or a later one; 0: they are lacking,
 * or a connection is away.
 */

ngx_uint_t
ngx_xmpp_redis_confirm(ngx_xmpp_redis_t *r)
{
    ngx_xmpp_redis_conn_t  *conn;

    conn = &r->conn[0];

    if (r->wait.lacking || conn->state != ngx_xmpp_redis_st_ready
        || conn->leaving || r->conn[1].state != ngx_xmpp_redis_st_ready)
    {
        return 0;
    }

    if (!conn->marking) {
        conn->marking = 1;
        conn->owed = 1;
        r->confirm.asked++;

        ngx_xmpp_redis_conn_post(conn);
    }

    return r->confirm.asked;
}


/*
 * Puts what has to be published before the WAIT of this turn behind what waits
 * to be sent: a number, or anything, for reads that have to be sure.
 * NGX_ERROR: no memory.
 */

ngx_int_t
ngx_xmpp_redis_confirm_queue(ngx_xmpp_redis_conn_t *conn)
{
    u_char                 text[1 + NGX_INT_T_LEN];
    ngx_str_t              argv[3];
    ngx_xmpp_redis_t      *r;
    ngx_xmpp_redis_req_t  *req;

    r = conn->client;

    if (r->conf.probe.len == 0 || (!conn->marking && !conn->reading)) {
        conn->marking = 0;
        conn->reading = 0;
        return NGX_OK;
    }

    ngx_str_set(&argv[0], "SPUBLISH");
    argv[1] = r->conf.probe;
    argv[2].data = text;
    argv[2].len = 1;
    text[0] = NGX_XMPP_REDIS_MARK_TEXT;

    if (conn->marking) {
        argv[2].len = ngx_sprintf(text + 1, "%ui", r->confirm.asked) - text;
    }

    conn->marking = 0;
    conn->reading = 0;

    req = ngx_xmpp_redis_req_create(r, ngx_xmpp_redis_req_marker, 3, argv);
    if (req == NULL) {
        return NGX_ERROR;
    }

    ngx_xmpp_redis_req_queue(conn, req);

    return NGX_OK;
}


/* what was published was answered: there may be no right to it */
void
ngx_xmpp_redis_confirm_published(ngx_xmpp_redis_t *r, redisReply *reply)
{
    r->confirm.denied = (reply->type == REDIS_REPLY_ERROR);
}


/* a message on our own channel; 1: it is one of these */
ngx_uint_t
ngx_xmpp_redis_confirm_heard(ngx_xmpp_redis_t *r, ngx_str_t *message)
{
    ngx_int_t  n;

    if (message->len == 0 || message->data[0] != NGX_XMPP_REDIS_MARK_TEXT) {
        return 0;
    }

    n = ngx_atoi(message->data + 1, message->len - 1);

    if (n > 0 && (ngx_uint_t) n > r->confirm.heard
        && (ngx_uint_t) n <= r->confirm.asked)
    {
        r->confirm.heard = n;
        ngx_xmpp_redis_confirm_check(r);
    }

    return 1;
}


/* replicas have what was heard before this number was asked for */
void
ngx_xmpp_redis_confirm_sure(ngx_xmpp_redis_t *r, ngx_uint_t n)
{
    if (n > r->confirm.sure) {
        r->confirm.sure = n;
        ngx_xmpp_redis_confirm_check(r);
    }
}


static void
ngx_xmpp_redis_confirm_check(ngx_xmpp_redis_t *r)
{
    ngx_uint_t  n;

    n = r->confirm.sure;

    if (r->confirm.heard < n && r->probe.subscribed && !r->confirm.denied) {
        n = r->confirm.heard;

        if (!r->confirm.timer.timer_set) {
            r->confirm.due = r->confirm.sure;
            ngx_add_timer(&r->confirm.timer, r->conf.timeout);
        }
    }

    if (n > r->confirm.told) {
        r->confirm.told = n;
        r->conf.confirmed(r->conf.data, n, 1);
    }
}


/* too few replicas: what was asked is void, and whoever waits is told */
void
ngx_xmpp_redis_confirm_lacking(ngx_xmpp_redis_t *r)
{
    if (r->confirm.told < r->confirm.asked) {
        ngx_xmpp_redis_confirm_void(r);
        r->conf.confirmed(r->conf.data, r->confirm.asked, 0);
    }
}


/* the same without a word: a connection is gone, which its state tells */
void
ngx_xmpp_redis_confirm_void(ngx_xmpp_redis_t *r)
{
    r->conn[0].marking = 0;

    r->confirm.sure = r->confirm.asked;
    r->confirm.heard = r->confirm.asked;
    r->confirm.told = r->confirm.asked;

    if (r->confirm.timer.timer_set) {
        ngx_del_timer(&r->confirm.timer);
    }
}


static void
ngx_xmpp_redis_confirm_handler(ngx_event_t *ev)
{
    ngx_xmpp_redis_t       *r;
    ngx_xmpp_redis_conn_t  *conn;

    conn = ev->data;
    r = conn->client;

    if (r->confirm.heard >= r->confirm.sure) {
        return;
    }

    if (r->confirm.heard >= r->confirm.due) {

        /* it was, and a later one is not yet */

        r->confirm.due = r->confirm.sure;
        ngx_add_timer(ev, r->conf.timeout);
        return;
    }

    if (conn->connection && conn->connection->read->posted) {

        /* messages are there, the worker is behind */

        ngx_add_timer(ev, 10);
        return;
    }

    ngx_xmpp_redis_probe_elsewhere(r);
}
