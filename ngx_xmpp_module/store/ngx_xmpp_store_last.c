/*
 * Last activity (XEP-0012, 3): when a user was last available, asked for in the
 * user's slot by one Function (redis/18-last.lua), which decides, too, whether
 * the one who asks may know it (8).  What is told is written by the Functions
 * that end a session's presence, so nothing is written here.
 *
 *     sent --seconds, forbidden or none--> the handler, once
 *         '--no answer in time-----------> the handler, with no reply
 *
 * It reads only, so it may be repeated on a new connection.  The request is of
 * the caller's pool, whose end cancels it.
 */


#include "ngx_xmpp_store_private.h"


ngx_xmpp_store_req_t *
ngx_xmpp_store_last(ngx_xmpp_store_t *store, ngx_pool_t *pool, ngx_str_t *tag,
    ngx_str_t *from, ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_call(store, &a, pool, "xmpp1_last", tag, 3,
                        NGX_XMPP_KEY_ACCOUNT, NGX_XMPP_KEY_SESSIONS,
                        NGX_XMPP_KEY_ROSTER);

    if (from) {
        ngx_xmpp_store_arg(&a, from);

    } else {
        ngx_xmpp_store_arg_text(&a, "");
    }

    return ngx_xmpp_store_command(store, &a, handler, data);
}
