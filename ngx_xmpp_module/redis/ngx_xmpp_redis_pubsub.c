/*
 * The subscriber connection: SSUBSCRIBE, SUNSUBSCRIBE, messages, PING.
 *
 * Once it is ready its replies are not made into objects: the functions given
 * to the reader look at each element while it lies in the read buffer.
 *
 *   "smessage"     channel  payload    to conf->message, from within the
 *                                      parser; payload is not copied
 *   "message"                          the same of a sentinel
 *   "ssubscribe"   channel  count      answers the oldest request, by order
 *   "sunsubscribe" channel  count      and not by name
 *   "pong"         ""                  likewise (+PONG before the first
 *                                      subscription)
 *   -error                             likewise
 *
 * A channel may arrive in an earlier read than its payload, so it is copied
 * to a buffer of the connection.
 */


#include "ngx_xmpp_redis_private.h"


typedef enum {
    ngx_xmpp_redis_push_other = 0,
    ngx_xmpp_redis_push_message,
    ngx_xmpp_redis_push_subscribed,
    ngx_xmpp_redis_push_unsubscribed,
    ngx_xmpp_redis_push_pong,
    ngx_xmpp_redis_push_error
} ngx_xmpp_redis_push_e;


static ngx_uint_t ngx_xmpp_redis_push_expected(ngx_xmpp_redis_req_t *req);
static ngx_uint_t ngx_xmpp_redis_push_kind(char *str, size_t len);
static ngx_int_t ngx_xmpp_redis_push_channel(ngx_xmpp_redis_conn_t *conn,
    char *str, size_t len);
static void *ngx_xmpp_redis_push_string(const redisReadTask *task, char *str,
    size_t len);
#if (HIREDIS_MAJOR >= 1)
static void *ngx_xmpp_redis_push_array(const redisReadTask *task, size_t n);
#else
static void *ngx_xmpp_redis_push_array(const redisReadTask *task, int n);
#endif
static void *ngx_xmpp_redis_push_integer(const redisReadTask *task,
    long long value);
static void *ngx_xmpp_redis_push_nil(const redisReadTask *task);


static ngx_str_t  ngx_xmpp_redis_ssubscribe = ngx_string("SSUBSCRIBE");
static ngx_str_t  ngx_xmpp_redis_sunsubscribe = ngx_string("SUNSUBSCRIBE");
static ngx_str_t  ngx_xmpp_redis_ping = ngx_string("PING");


/* fills the table of the reader's functions; later hiredis has more of them,
 * for types that RESP2 does not know */
void
ngx_xmpp_redis_pubsub_init(ngx_xmpp_redis_t *r)
{
    r->push_fn.createString = ngx_xmpp_redis_push_string;
    r->push_fn.createArray = ngx_xmpp_redis_push_array;
    r->push_fn.createInteger = ngx_xmpp_redis_push_integer;
    r->push_fn.createNil = ngx_xmpp_redis_push_nil;
}


/*
 * Subscribes to one channel.  handler(data, NULL, status) runs with OK when
 * Redis has confirmed it, else with AWAY: the connection was lost, did not
 * come within conf->timeout, or Redis refused.  NULL: the client is closed,
 * the connection away and the queue full, or no memory; no handler will run.
 */
ngx_xmpp_redis_req_t *
ngx_xmpp_redis_subscribe(ngx_xmpp_redis_t *r, ngx_str_t *channel,
    ngx_xmpp_redis_handler_pt handler, void *data)
{
    ngx_str_t               argv[2];
    ngx_xmpp_redis_req_t   *req;
    ngx_xmpp_redis_conn_t  *conn;

    conn = &r->conn[1];

    /* while it is ready an owner may subscribe to all its channels at once */

    if (conn->state == ngx_xmpp_redis_st_closed
        || (conn->state != ngx_xmpp_redis_st_ready
            && r->npending - r->ncommands >= r->conf.max_queue))
    {
        return NULL;
    }

    argv[0] = ngx_xmpp_redis_ssubscribe;
    argv[1] = *channel;

    req = ngx_xmpp_redis_req_create(r, ngx_xmpp_redis_req_subscribe, 2, argv);
    if (req == NULL) {
        return NULL;
    }

    req->handler = handler;
    req->data = data;

    ngx_xmpp_redis_req_queue(conn, req);

    return req;
}


/*
 * Ends a subscription; messages may arrive until Redis has seen it.  In order
 * with ngx_xmpp_redis_subscribe(), also while the connection is away.
 * NGX_ERROR: the client is closed, or no memory.
 */
ngx_int_t
ngx_xmpp_redis_unsubscribe(ngx_xmpp_redis_t *r, ngx_str_t *channel)
{
    ngx_str_t               argv[2];
    ngx_xmpp_redis_req_t   *req;
    ngx_xmpp_redis_conn_t  *conn;

    conn = &r->conn[1];

    if (conn->state == ngx_xmpp_redis_st_closed) {
        return NGX_ERROR;
    }

    /* a connection to come knows no channels but those that wait for it */

    if (conn->state != ngx_xmpp_redis_st_ready
        && ngx_queue_empty(&conn->waiting))
    {
        return NGX_OK;
    }

    argv[0] = ngx_xmpp_redis_sunsubscribe;
    argv[1] = *channel;

    req = ngx_xmpp_redis_req_create(r, ngx_xmpp_redis_req_unsubscribe, 2,
                                    argv);
    if (req == NULL) {
        return NGX_ERROR;
    }

    ngx_xmpp_redis_req_queue(conn, req);

    return NGX_OK;
}


/*
 * Changes the reader of a subscriber that has been set up.  NGX_ERROR: the
 * connection is gone.
 */
ngx_int_t
ngx_xmpp_redis_pubsub_ready(ngx_xmpp_redis_conn_t *conn)
{
    redisReader  *reader;
    ngx_str_t     text;

    if (conn->reader->pos != conn->reader->len) {
        ngx_str_set(&text, "reply without a request");
        ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_protocol, 0, &text);
        return NGX_ERROR;
    }

    reader = redisReaderCreateWithFunctions(&conn->client->push_fn);
    if (reader == NULL) {
        ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_no_memory, 0, NULL);
        return NGX_ERROR;
    }

    redisReaderFree(conn->reader);

    reader->privdata = conn;
    conn->reader = reader;
    conn->complained = 0;

    return NGX_OK;
}


/* a half-open peer is found out by the deadline of the PING */
void
ngx_xmpp_redis_pubsub_ping(ngx_xmpp_redis_conn_t *conn)
{
    ngx_xmpp_redis_req_t  *req;

    req = ngx_xmpp_redis_req_create(conn->client, ngx_xmpp_redis_req_ping, 1,
                                    &ngx_xmpp_redis_ping);
    if (req) {
        ngx_xmpp_redis_req_queue(conn, req);
    }
}


/*
 * A whole reply has passed through the functions below: if it is no message,
 * it is the oldest request's.  NGX_ERROR: the connection is gone.
 */
ngx_int_t
ngx_xmpp_redis_pubsub_reply(ngx_xmpp_redis_conn_t *conn)
{
    ngx_str_t               text;
    ngx_queue_t            *q;
    ngx_xmpp_redis_t       *r;
    ngx_xmpp_redis_req_t   *req;
    ngx_xmpp_redis_push_t  *push;

    r = conn->client;
    push = &conn->push;

    if (push->kind == ngx_xmpp_redis_push_message) {
        return NGX_OK;
    }

    if (ngx_queue_empty(&conn->sent)) {
        goto unexpected;
    }

    q = ngx_queue_head(&conn->sent);
    req = ngx_queue_data(q, ngx_xmpp_redis_req_t, queue);

    if (push->kind != ngx_xmpp_redis_push_error
        && push->kind != ngx_xmpp_redis_push_expected(req))
    {
        goto unexpected;
    }

    ngx_queue_remove(q);

    if (push->kind == ngx_xmpp_redis_push_error && !conn->complained) {
        conn->complained = 1;

        text.data = push->error;
        text.len = push->error_len;

        ngx_log_error(NGX_LOG_ERR, r->log, 0,
                      "xmpp redis \"%V\": a subscription was refused, \"%V\"; "
                      "permit its user SSUBSCRIBE on the module's channels",
                      &r->conf.url, &text);
    }

    if (req->handler) {
        req->handler(req->data, NULL,
                     push->kind == ngx_xmpp_redis_push_error
                     ? NGX_XMPP_REDIS_AWAY : NGX_XMPP_REDIS_OK);
    }

    ngx_xmpp_redis_req_free(r, req);

    return NGX_OK;

unexpected:

    ngx_str_set(&text, "reply without a request");

    if (push->kind == ngx_xmpp_redis_push_error) {
        text.data = push->error;
        text.len = push->error_len;
    }

    ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_protocol, 0, &text);

    return NGX_ERROR;
}


static ngx_uint_t
ngx_xmpp_redis_push_expected(ngx_xmpp_redis_req_t *req)
{
    switch (req->kind) {

    case ngx_xmpp_redis_req_subscribe:
        return ngx_xmpp_redis_push_subscribed;

    case ngx_xmpp_redis_req_unsubscribe:
        return ngx_xmpp_redis_push_unsubscribed;

    default: /* ngx_xmpp_redis_req_ping */
        return ngx_xmpp_redis_push_pong;
    }
}


static ngx_uint_t
ngx_xmpp_redis_push_kind(char *str, size_t len)
{
    switch (len) {

    case 4:
        if (ngx_memcmp(str, "pong", 4) == 0) {
            return ngx_xmpp_redis_push_pong;
        }

        break;

    case 7:
        if (ngx_memcmp(str, "message", 7) == 0) {
            return ngx_xmpp_redis_push_message;
        }

        break;

    case 8:
        if (ngx_memcmp(str, "smessage", 8) == 0) {
            return ngx_xmpp_redis_push_message;
        }

        break;

    case 10:
        if (ngx_memcmp(str, "ssubscribe", 10) == 0) {
            return ngx_xmpp_redis_push_subscribed;
        }

        break;

    case 12:
        if (ngx_memcmp(str, "sunsubscribe", 12) == 0) {
            return ngx_xmpp_redis_push_unsubscribed;
        }

        break;
    }

    return ngx_xmpp_redis_push_other;
}


static ngx_int_t
ngx_xmpp_redis_push_channel(ngx_xmpp_redis_conn_t *conn, char *str, size_t len)
{
    size_t                  size;
    u_char                 *p;
    ngx_xmpp_redis_push_t  *push;

    push = &conn->push;

    if (push->size < len) {
        size = ngx_max(len, 256);

        p = ngx_alloc(size, conn->client->log);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (push->channel.data) {
            ngx_free(push->channel.data);
        }

        push->channel.data = p;
        push->size = size;
    }

    ngx_memcpy(push->channel.data, str, len);
    push->channel.len = len;

    return NGX_OK;
}


/*
 * The functions of the reader.  What they return stands for an object and is
 * never looked at; NULL would be "no memory".
 */
static void *
ngx_xmpp_redis_push_string(const redisReadTask *task, char *str, size_t len)
{
    ngx_str_t               text;
    ngx_xmpp_redis_conn_t  *conn;
    ngx_xmpp_redis_push_t  *push;

    conn = task->privdata;
    push = &conn->push;

    if (task->parent == NULL) {
        push->kind = ngx_xmpp_redis_push_pong;

        if (task->type == REDIS_REPLY_ERROR) {
            push->kind = ngx_xmpp_redis_push_error;
            push->error_len = ngx_min(len, sizeof(push->error));
            ngx_memcpy(push->error, str, push->error_len);
        }

        return conn;
    }

    if (task->parent->parent != NULL) {
        return conn;
    }

    if (task->idx == 0) {
        push->kind = ngx_xmpp_redis_push_kind(str, len);
        return conn;
    }

    if (push->kind != ngx_xmpp_redis_push_message) {
        return conn;
    }

    if (task->idx == 1) {
        return ngx_xmpp_redis_push_channel(conn, str, len) == NGX_OK ? conn
                                                                     : NULL;
    }

    if (task->idx == 2) {
        text.len = len;
        text.data = (u_char *) str;

        if (conn->sentinel) {
            ngx_xmpp_redis_sentinel_heard(conn->client, &text);
            return conn;
        }

        if (ngx_xmpp_redis_probe_heard(conn->client, &push->channel, &text)
            || conn->client->conf.message == NULL)
        {
            return conn;
        }

        conn->client->counters->messages++;
        conn->client->conf.message(conn->client->conf.data, &push->channel,
                                   &text);
    }

    return conn;
}


static void *
#if (HIREDIS_MAJOR >= 1)
ngx_xmpp_redis_push_array(const redisReadTask *task, size_t n)
#else
ngx_xmpp_redis_push_array(const redisReadTask *task, int n)
#endif
{
    ngx_xmpp_redis_conn_t  *conn;

    conn = task->privdata;

    if (task->parent == NULL) {
        conn->push.kind = ngx_xmpp_redis_push_other;
        conn->push.channel.len = 0;
    }

    return conn;
}


static void *
ngx_xmpp_redis_push_integer(const redisReadTask *task, long long value)
{
    ngx_xmpp_redis_conn_t  *conn;

    conn = task->privdata;

    if (task->parent == NULL) {
        conn->push.kind = ngx_xmpp_redis_push_other;
    }

    return conn;
}


static void *
ngx_xmpp_redis_push_nil(const redisReadTask *task)
{
    ngx_xmpp_redis_conn_t  *conn;

    conn = task->privdata;

    if (task->parent == NULL) {
        conn->push.kind = ngx_xmpp_redis_push_other;
    }

    return conn;
}
