/*
 * Durable commands: their handlers run when conf->replicas replicas have what
 * they wrote (cluster.md, rule 12).
 *
 *   waiting: D D x D --end of the turn--> D D x D WAIT --> one writev()
 *
 *   reply of D      held, with the reply
 *   reply of WAIT   enough: all that are held are told; they are those before
 *                   it, replies being in order
 *                   too few: lacking
 *
 * WAIT is of its connection: the server answers when the replicas have got
 * all that this connection has written, or after its timeout, and reads
 * nothing else of this connection until then.  Hence one for all of a turn,
 * behind it; commands of the next turn travel meanwhile.
 *
 *   enough --a WAIT says too few--> lacking --a WAIT says enough--> enough
 *
 * While replicas are lacking, a durable command is not sent: it fails with
 * AWAY, as it did not run.  Those that are held stay so until their deadline,
 * then they are UNKNOWN.  A WAIT is sent now and then, with a quarter of the
 * timeout, so that the connection stands still for a fifth of the time at most.
 * One is the first thing on each connection: replicas that are not there are
 * told of at the start, and not by the first message.  For a connection that
 * has written nothing those count, too, that still load their copy; what is
 * written then is held until they have.
 *
 * When the connection is lost, what is held did run there, but may not be
 * known elsewhere: it is repeated as what had no reply.
 */


#include "ngx_xmpp_redis_private.h"


static ngx_int_t ngx_xmpp_redis_wait_send(ngx_xmpp_redis_conn_t *conn,
    ngx_uint_t enough);
static void ngx_xmpp_redis_wait_handler(ngx_event_t *ev);
static void ngx_xmpp_redis_wait_enough(ngx_xmpp_redis_conn_t *conn);
static void ngx_xmpp_redis_wait_lacking(ngx_xmpp_redis_conn_t *conn,
    redisReply *reply);
static void ngx_xmpp_redis_wait_unsure(ngx_xmpp_redis_conn_t *conn);


static ngx_str_t  ngx_xmpp_redis_wait = ngx_string("WAIT");


void
ngx_xmpp_redis_wait_init(ngx_xmpp_redis_t *r)
{
    r->wait.timer.handler = ngx_xmpp_redis_wait_handler;
    r->wait.timer.data = &r->conn[0];
    r->wait.timer.log = r->log;
    r->wait.timer.cancelable = 1;
}


void
ngx_xmpp_redis_wait_close(ngx_xmpp_redis_t *r)
{
    if (r->wait.timer.timer_set) {
        ngx_del_timer(&r->wait.timer);
    }
}


/* a command connection has become ready: are the replicas there? */
void
ngx_xmpp_redis_wait_ready(ngx_xmpp_redis_conn_t *conn)
{
    if (conn->client->conf.replicas) {
        (void) ngx_xmpp_redis_wait_send(conn, 0);
    }
}


ngx_uint_t
ngx_xmpp_redis_lacking(ngx_xmpp_redis_t *r)
{
    return r->wait.lacking;
}


/*
 * Puts a WAIT behind the durable commands that wait to be sent.  NGX_ERROR: no
 * memory.
 */
ngx_int_t
ngx_xmpp_redis_wait_queue(ngx_xmpp_redis_conn_t *conn)
{
    conn->owed = 0;

    if (ngx_xmpp_redis_confirm_queue(conn) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_xmpp_redis_wait_send(conn, !conn->client->wait.lacking);
}


/* while replicas are lacking it must not take all of the connection's time */

static ngx_int_t
ngx_xmpp_redis_wait_send(ngx_xmpp_redis_conn_t *conn, ngx_uint_t enough)
{
    u_char                 n[NGX_INT_T_LEN], ms[NGX_INT_T_LEN];
    ngx_str_t              argv[3];
    ngx_xmpp_redis_req_t  *req;

    argv[0] = ngx_xmpp_redis_wait;

    argv[1].data = n;
    argv[1].len = ngx_sprintf(n, "%ui", conn->client->conf.replicas) - n;

    argv[2].data = ms;
    argv[2].len = ngx_sprintf(ms, "%M", enough ? conn->client->conf.wait
                                        : conn->client->conf.wait / 4 + 1)
                  - ms;

    req = ngx_xmpp_redis_req_create(conn->client, ngx_xmpp_redis_req_wait, 3,
                                    argv);
    if (req == NULL) {
        return NGX_ERROR;
    }

    /* a number that is still to be published is behind it */

    req->confirms = conn->client->confirm.asked - conn->marking;

    ngx_xmpp_redis_req_queue(conn, req);

    return NGX_OK;
}


/* keeps an answered command, and its reply, until replicas have it */
void
ngx_xmpp_redis_wait_hold(ngx_xmpp_redis_conn_t *conn,
    ngx_xmpp_redis_req_t *req, redisReply *reply)
{
    req->reply = reply;

    ngx_queue_insert_tail(&conn->held, &req->queue);
}


/*
 * A WAIT was answered that is for all up to that number; the reply is the
 * caller's.  NGX_ERROR: the connection is gone.
 */
ngx_int_t
ngx_xmpp_redis_wait_reply(ngx_xmpp_redis_conn_t *conn, ngx_uint_t confirms,
    redisReply *reply)
{
    ngx_str_t  text;

    if (reply->type == REDIS_REPLY_INTEGER
        && reply->integer >= (long long) conn->client->conf.replicas)
    {
        ngx_xmpp_redis_wait_enough(conn);
        ngx_xmpp_redis_confirm_sure(conn->client, confirms);
        return NGX_OK;
    }

    if (reply->type == REDIS_REPLY_ERROR && reply->len >= 8
        && ngx_memcmp(reply->str, "ERR WAIT", 8) == 0)
    {
        /* it cannot be used with replicas */

        text.data = (u_char *) reply->str;
        text.len = reply->len;

        ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_replica, 0, &text);
        return NGX_ERROR;
    }

    ngx_xmpp_redis_wait_lacking(conn, reply);

    return NGX_OK;
}


static void
ngx_xmpp_redis_wait_enough(ngx_xmpp_redis_conn_t *conn)
{
    ngx_queue_t           *q;
    ngx_xmpp_redis_t      *r;
    ngx_xmpp_redis_req_t  *req;

    r = conn->client;

    if (r->wait.lacking) {
        r->wait.lacking = 0;

        ngx_log_error(NGX_LOG_NOTICE, r->log, 0,
                      "xmpp redis \"%V\": messages are taken again, enough "
                      "replicas are there after %M ms", &r->conf.url,
                      ngx_current_msec - r->wait.since);
    }

    while (!ngx_queue_empty(&conn->held)) {
        q = ngx_queue_head(&conn->held);
        req = ngx_queue_data(q, ngx_xmpp_redis_req_t, queue);

        ngx_queue_remove(q);
        ngx_xmpp_redis_req_told(r, req, req->reply);
    }
}


static void
ngx_xmpp_redis_wait_lacking(ngx_xmpp_redis_conn_t *conn, redisReply *reply)
{
    ngx_uint_t         was;
    ngx_xmpp_redis_t  *r;

    r = conn->client;
    was = r->wait.lacking;

    r->wait.lacking = 1;

    ngx_xmpp_redis_wait_unsure(conn);
    ngx_xmpp_redis_confirm_lacking(r);

    if (!r->wait.timer.timer_set) {
        ngx_add_timer(&r->wait.timer, r->conf.wait);
    }

    if (!was) {
        r->wait.since = ngx_current_msec;

    } else if (ngx_current_msec - r->wait.logged_at < NGX_XMPP_REDIS_REMIND) {
        return;
    }

    r->wait.logged_at = ngx_current_msec;

    if (reply->type != REDIS_REPLY_INTEGER) {
        ngx_log_error(NGX_LOG_ERR, r->log, 0,
                      "xmpp redis \"%V\": messages are refused, for it cannot "
                      "be known whether replicas have them, \"%*s\"; permit "
                      "its user WAIT", &r->conf.url,
                      reply->type == REDIS_REPLY_ERROR ? (size_t) reply->len
                                                       : 0,
                      reply->str);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, r->log, 0,
                  "xmpp redis \"%V\": messages are refused, for %L replicas "
                  "have what was written, and \"xmpp_durability\" wants %ui; "
                  "see INFO replication there", &r->conf.url,
                  (int64_t) reply->integer, r->conf.replicas);
}


/* reads have changed nothing, and need not wait to be asked again */

static void
ngx_xmpp_redis_wait_unsure(ngx_xmpp_redis_conn_t *conn)
{
    ngx_queue_t           *q, *next;
    ngx_xmpp_redis_req_t  *req;

    for (q = ngx_queue_head(&conn->held);
         q != ngx_queue_sentinel(&conn->held);
         q = next)
    {
        next = ngx_queue_next(q);
        req = ngx_queue_data(q, ngx_xmpp_redis_req_t, queue);

        if (req->sure) {
            ngx_xmpp_redis_req_drop(conn->client, req, NGX_XMPP_REDIS_AWAY);
        }
    }
}


/* replicas are lacking: are they there again? */

static void
ngx_xmpp_redis_wait_handler(ngx_event_t *ev)
{
    ngx_xmpp_redis_t       *r;
    ngx_xmpp_redis_conn_t  *conn;

    conn = ev->data;
    r = conn->client;

    if (!r->wait.lacking) {
        return;
    }

    ngx_add_timer(ev, r->conf.wait);

    if (conn->state == ngx_xmpp_redis_st_ready && !conn->leaving) {
        (void) ngx_xmpp_redis_wait_send(conn, 0);
    }
}


/*
 * The connection is gone: what is held goes before what had no reply, and a
 * new connection needs WAITs of its own.
 */
void
ngx_xmpp_redis_wait_lost(ngx_xmpp_redis_conn_t *conn)
{
    ngx_queue_t           *q, *next;
    ngx_xmpp_redis_req_t  *req;

    conn->owed = 0;
    conn->reading = 0;

    if (!conn->sentinel) {
        ngx_xmpp_redis_confirm_void(conn->client);
    }

    for (q = ngx_queue_head(&conn->held);
         q != ngx_queue_sentinel(&conn->held);
         q = ngx_queue_next(q))
    {
        req = ngx_queue_data(q, ngx_xmpp_redis_req_t, queue);

        freeReplyObject(req->reply);
        req->reply = NULL;
        conn->owed = 1;
        conn->reading |= req->sure;
    }

    ngx_xmpp_redis_prepend(&conn->sent, &conn->held);

    for (q = ngx_queue_head(&conn->sent);
         q != ngx_queue_sentinel(&conn->sent);
         q = ngx_queue_next(q))
    {
        req = ngx_queue_data(q, ngx_xmpp_redis_req_t, queue);

        if (req->durable) {
            conn->owed = 1;
            conn->reading |= req->sure;
        }
    }

    for (q = ngx_queue_head(&conn->waiting);
         q != ngx_queue_sentinel(&conn->waiting);
         q = next)
    {
        next = ngx_queue_next(q);
        req = ngx_queue_data(q, ngx_xmpp_redis_req_t, queue);

        if (req->durable) {
            conn->owed = 1;
            conn->reading |= req->sure;
        }

        if (req->kind == ngx_xmpp_redis_req_wait
            || req->kind == ngx_xmpp_redis_req_marker)
        {
            ngx_xmpp_redis_req_drop(conn->client, req,
                                    NGX_XMPP_REDIS_AWAY);
        }
    }
}
