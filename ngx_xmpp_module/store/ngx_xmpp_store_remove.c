/*
 * The removal of an account, step by step (redis/80-account.lua), and the list
 * of accounts of a domain, which is in a slot of its own.
 *
 *     remove --> key removed, what contacts have to hear
 *     removed --> a page of it, those of the last page go
 *     named --> the name leaves the list, or joins it
 *     removed_end --> the key goes: the name is free
 *
 * Who joins the list does so before the account is made, and leaves it before
 * the name is free: so a list has a name too many after a crash, never one too
 * few.  All of them may be repeated.  Requests are of the caller's pool.
 */


#include "ngx_xmpp_store_private.h"


ngx_xmpp_store_req_t *
ngx_xmpp_store_remove(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *tag, uint64_t created, ngx_xmpp_store_handler_pt handler,
    void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_call(store, &a, pool, "xmpp1_remove", tag, 1,
                        NGX_XMPP_KEY_ACCOUNT);
    ngx_xmpp_store_arg_channel(store, &a, tag);
    ngx_xmpp_store_arg_uint(&a, created);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_removed(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *tag, ngx_uint_t max, ngx_str_t *told,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_call(store, &a, pool, "xmpp1_removed", tag, 1,
                        NGX_XMPP_KEY_REMOVED);
    ngx_xmpp_store_arg_uint(&a, max);
    ngx_xmpp_store_arg(&a, told);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_removed_end(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *tag, ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_args(&a, pool, ngx_xmpp_store_key_len(store, tag));

    ngx_xmpp_store_arg_text(&a, "DEL");
    ngx_xmpp_store_arg_key(store, &a, NGX_XMPP_KEY_REMOVED, tag);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_named(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *domain, ngx_str_t *bare, ngx_uint_t joins,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_args(&a, pool, ngx_xmpp_store_accounts_len(store, domain));

    ngx_xmpp_store_arg_text(&a, joins ? "SADD" : "SREM");
    ngx_xmpp_store_arg_accounts(store, &a, domain);
    ngx_xmpp_store_arg(&a, bare);

    return ngx_xmpp_store_command(store, &a, handler, data);
}
