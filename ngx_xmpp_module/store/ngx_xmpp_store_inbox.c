/*
 * The inbox: messages that no session has taken yet, in the account's slot
 * (redis/19-inbox.lua).  The Function that routes writes it; here it is read,
 * one Function per page, and told what was taken, one for many.  Both may be
 * repeated.
 */


#include "ngx_xmpp_store_private.h"


static void ngx_xmpp_store_taken_args(ngx_xmpp_store_t *store,
    ngx_xmpp_store_args_t *a, ngx_pool_t *pool, ngx_str_t *tag,
    ngx_str_t *taken);


ngx_xmpp_store_req_t *
ngx_xmpp_store_inbox(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, ngx_str_t *last, size_t bytes,
    uint64_t heard, ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_args(&a, pool, 2 * ngx_xmpp_store_key_len(store, ss->tag)
                                  + 3 * NGX_INT64_LEN);

    ngx_xmpp_store_arg_text(&a, "FCALL");
    ngx_xmpp_store_arg_text(&a, "xmpp1_inbox");
    ngx_xmpp_store_arg_text(&a, "2");
    ngx_xmpp_store_arg_key(store, &a, NGX_XMPP_KEY_SESSIONS, ss->tag);
    ngx_xmpp_store_arg_key(store, &a, NGX_XMPP_KEY_INBOX, ss->tag);
    ngx_xmpp_store_arg_session(&a, ss);
    ngx_xmpp_store_arg(&a, last);
    ngx_xmpp_store_arg_uint(&a, bytes);
    ngx_xmpp_store_arg_uint(&a, heard);

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
    ngx_xmpp_store_args(a, pool, 2 * ngx_xmpp_store_key_len(store, tag));

    ngx_xmpp_store_arg_text(a, "FCALL");
    ngx_xmpp_store_arg_text(a, "xmpp1_taken");
    ngx_xmpp_store_arg_text(a, "2");
    ngx_xmpp_store_arg_key(store, a, NGX_XMPP_KEY_SESSIONS, tag);
    ngx_xmpp_store_arg_key(store, a, NGX_XMPP_KEY_INBOX, tag);
    ngx_xmpp_store_arg(a, taken);
}
