/*
 * The inbox: messages that no session has taken yet, in the account's slot
 * (redis/19-inbox.lua).
 *
 *     route (ngx_xmpp_store_route.c) --> an entry, and the bell
 *     inbox                          --> a page of what was not taken
 *     taken                          --> entries that may go
 *
 * One Function per page, and one for many that were taken.  Both may be
 * repeated: a page changes nothing, and what has gone is not missed.  Nobody
 * waits for taken_send, whose pool goes with the reply; the others are
 * requests of the caller's pool, which cancels them.
 */


#include "ngx_xmpp_store_private.h"


static void ngx_xmpp_store_taken_args(ngx_xmpp_store_t *store,
    ngx_xmpp_store_args_t *a, ngx_pool_t *pool, ngx_str_t *tag,
    ngx_str_t *taken);


ngx_xmpp_store_req_t *
ngx_xmpp_store_inbox(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, ngx_str_t *last, size_t bytes,
    uint64_t heard, ngx_uint_t unsure, ngx_xmpp_store_handler_pt handler,
    void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_call(store, &a, pool, "xmpp1_inbox", ss->tag, 2,
                        NGX_XMPP_KEY_SESSIONS, NGX_XMPP_KEY_INBOX);
    ngx_xmpp_store_arg_session(&a, ss);
    ngx_xmpp_store_arg(&a, last);
    ngx_xmpp_store_arg_uint(&a, bytes);
    ngx_xmpp_store_arg_uint(&a, heard);

    a.sure = (unsure || !ngx_xmpp_redis_lacking(store->redis));
    a.durable = a.sure;

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_taken(ngx_xmpp_store_t *store, ngx_pool_t *pool, ngx_str_t *tag,
    ngx_str_t *taken, ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_taken_args(store, &a, pool, tag, taken);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


void
ngx_xmpp_store_taken_send(ngx_xmpp_store_t *store, ngx_str_t *tag,
    ngx_str_t *taken)
{
    ngx_pool_t             *pool;
    ngx_xmpp_store_args_t   a;

    pool = ngx_create_pool(NGX_XMPP_STORE_POST_POOL, store->log);
    if (pool == NULL) {
        return;
    }

    ngx_xmpp_store_taken_args(store, &a, pool, tag, taken);
    ngx_xmpp_store_post(store, &a, tag);
}


static void
ngx_xmpp_store_taken_args(ngx_xmpp_store_t *store, ngx_xmpp_store_args_t *a,
    ngx_pool_t *pool, ngx_str_t *tag, ngx_str_t *taken)
{
    ngx_xmpp_store_call(store, a, pool, "xmpp1_taken", tag, 2,
                        NGX_XMPP_KEY_SESSIONS, NGX_XMPP_KEY_INBOX);
    ngx_xmpp_store_arg(a, taken);
}
