/*
 * Workers: heartbeats, the list of each worker's sessions, and who cleans up
 * after one that has died (cluster.md, rules 5 and 16; redis/50-worker.lua).
 *
 *     registered --beats stand still--> claimed --list is empty--> forgotten
 *
 * The counters of all workers are in one slot, the list of each in its own.
 * A command of the reaper is not repeated on a new connection: what it has
 * seen was seen on the one before.
 */


#include "ngx_xmpp_store_private.h"


static void ngx_xmpp_store_worker(ngx_xmpp_store_t *store,
    ngx_xmpp_store_args_t *a, ngx_pool_t *pool, const char *function,
    ngx_str_t *boot);
static void ngx_xmpp_store_worker_send(ngx_xmpp_store_t *store,
    ngx_xmpp_store_args_t *a);
static void ngx_xmpp_store_worker_sent(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status);


ngx_xmpp_store_req_t *
ngx_xmpp_store_beat(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *boot, ngx_str_t *said, ngx_uint_t fresh,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_worker(store, &a, pool, "xmpp1_beat", boot);
    ngx_xmpp_store_arg(&a, said);
    ngx_xmpp_store_arg_text(&a, fresh ? "1" : "0");

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_claim(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *boot, ngx_str_t *dead, ngx_str_t *value,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_worker(store, &a, pool, "xmpp1_claim", boot);
    ngx_xmpp_store_arg(&a, dead);
    ngx_xmpp_store_arg(&a, value);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_forget(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *boot, ngx_str_t *dead, ngx_xmpp_store_handler_pt handler,
    void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_worker(store, &a, pool, "xmpp1_forget", boot);
    ngx_xmpp_store_arg(&a, dead);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_listed(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *boot, ngx_uint_t n, ngx_xmpp_store_handler_pt handler,
    void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_args(&a, pool, ngx_xmpp_store_worker_len(store)
                                  + NGX_INT64_LEN);

    ngx_xmpp_store_arg_text(&a, "FCALL");
    ngx_xmpp_store_arg_text(&a, "xmpp1_listed");
    ngx_xmpp_store_arg_text(&a, "1");
    ngx_xmpp_store_arg_worker(store, &a, NGX_XMPP_KEY_LISTED, boot);
    ngx_xmpp_store_arg_uint(&a, n);

    a.once = 1;

    return ngx_xmpp_store_command(store, &a, handler, data);
}


void
ngx_xmpp_store_list(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *boot, ngx_str_t *sid, ngx_str_t *jid)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_args(&a, pool, ngx_xmpp_store_worker_len(store));

    ngx_xmpp_store_arg_text(&a, "HSET");
    ngx_xmpp_store_arg_worker(store, &a, NGX_XMPP_KEY_LISTED, boot);
    ngx_xmpp_store_arg(&a, sid);
    ngx_xmpp_store_arg(&a, jid);

    ngx_xmpp_store_worker_send(store, &a);
}


void
ngx_xmpp_store_unlist(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *boot, ngx_str_t *sid)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_args(&a, pool, ngx_xmpp_store_worker_len(store));

    ngx_xmpp_store_arg_text(&a, "HDEL");
    ngx_xmpp_store_arg_worker(store, &a, NGX_XMPP_KEY_LISTED, boot);
    ngx_xmpp_store_arg(&a, sid);

    ngx_xmpp_store_worker_send(store, &a);
}


/* what three of them begin with */

static void
ngx_xmpp_store_worker(ngx_xmpp_store_t *store, ngx_xmpp_store_args_t *a,
    ngx_pool_t *pool, const char *function, ngx_str_t *boot)
{
    ngx_xmpp_store_args(a, pool, 2 * ngx_xmpp_store_worker_len(store)
                                 + NGX_INT64_LEN);

    ngx_xmpp_store_arg_text(a, "FCALL");
    ngx_xmpp_store_arg_text(a, function);
    ngx_xmpp_store_arg_text(a, "2");
    ngx_xmpp_store_arg_worker(store, a, NGX_XMPP_KEY_BEATS, NULL);
    ngx_xmpp_store_arg_worker(store, a, NGX_XMPP_KEY_CLAIMS, NULL);
    ngx_xmpp_store_arg(a, boot);

    a->once = 1;
}


/* to the client's queue, which copies it: nothing of it is needed again */

static void
ngx_xmpp_store_worker_send(ngx_xmpp_store_t *store, ngx_xmpp_store_args_t *a)
{
    if (a->failed
        || ngx_xmpp_redis_command(store->redis, NGX_XMPP_REDIS_REPEAT, a->n,
                                  a->v, ngx_xmpp_store_worker_sent, store)
           == NULL)
    {
        ngx_log_error(NGX_LOG_ERR, store->log, 0,
                      "xmpp could not send Redis a change of its list of "
                      "sessions");
    }
}


/* without an answer the session that follows has none either */

static void
ngx_xmpp_store_worker_sent(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status)
{
    ngx_xmpp_store_t *store = data;

    char       *advice;
    ngx_str_t   text;

    if (reply == NULL || reply->type != REDIS_REPLY_ERROR) {
        return;
    }

    text.data = (u_char *) reply->str;
    text.len = reply->len;

    advice = ngx_xmpp_redis_advice(&text);

    ngx_log_error(NGX_LOG_ERR, store->log, 0,
                  "Redis refused a change of xmpp's list of sessions: \"%V\"; "
                  "%s", &text, advice ? advice : "it may have run in part");
}
