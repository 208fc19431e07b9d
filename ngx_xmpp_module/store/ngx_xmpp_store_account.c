/*
 * Accounts: the channel that a worker with a session of the account listens
 * to.
 *
 * A subscription is the account node's: its request comes from the heap, is
 * freed when Redis has confirmed it, or by ngx_xmpp_store_unsubscribe() before
 * that.
 */


#include "ngx_xmpp_store_private.h"


static void ngx_xmpp_store_subscribed(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status);


/*
 * The request is the account's, not a pool's: it comes from the heap and is
 * freed when it was answered or by ngx_xmpp_store_unsubscribe().
 */

ngx_xmpp_store_req_t *
ngx_xmpp_store_subscribe(ngx_xmpp_store_t *store, ngx_str_t *tag,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    u_char                *p;
    ngx_str_t              channel;
    ngx_xmpp_store_req_t  *req;

    req = ngx_calloc(sizeof(ngx_xmpp_store_req_t)
                     + ngx_xmpp_store_key_len(store, tag), store->log);
    if (req == NULL) {
        return NULL;
    }

    p = (u_char *) req + sizeof(ngx_xmpp_store_req_t);
    channel.data = p;
    channel.len = ngx_xmpp_store_channel(store, p, tag) - p;

    req->store = store;
    req->handler = handler;
    req->data = data;

    req->redis = ngx_xmpp_redis_subscribe(store->redis, &channel,
                                          ngx_xmpp_store_subscribed, req);
    if (req->redis == NULL) {
        ngx_free(req);
        return NULL;
    }

    return req;
}


static void
ngx_xmpp_store_subscribed(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status)
{
    ngx_xmpp_store_req_t *req = data;

    ngx_xmpp_store_result_t     res;
    ngx_xmpp_store_handler_pt   handler;

    ngx_memzero(&res, sizeof(ngx_xmpp_store_result_t));
    res.rc = (status == NGX_XMPP_REDIS_OK) ? NGX_OK : NGX_AGAIN;

    handler = req->handler;
    data = req->data;

    ngx_free(req);

    handler(data, &res);
}


void
ngx_xmpp_store_unsubscribe(ngx_xmpp_store_t *store, ngx_str_t *tag,
    ngx_xmpp_store_req_t *req)
{
    u_char     *p;
    ngx_str_t   channel;

    if (req) {
        if (!store->closed) {
            ngx_xmpp_redis_cancel(req->redis);
        }

        ngx_free(req);
    }

    p = ngx_alloc(ngx_xmpp_store_key_len(store, tag), store->log);
    if (p == NULL) {
        return;
    }

    channel.data = p;
    channel.len = ngx_xmpp_store_channel(store, p, tag) - p;

    (void) ngx_xmpp_redis_unsubscribe(store->redis, &channel);

    ngx_free(p);
}
