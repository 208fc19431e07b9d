/*
 * Block lists (XEP-0191): the Functions that read and change one, all in the
 * account's slot (redis/50-block.lua).
 *
 *     blocklist --> the list, and the session hears of changes from now on
 *     block     --> the list as it is then, or "full"; a bell b has it, too
 *     unblock   --> the same
 *     affected  --> which contacts have to be told, for one session
 *
 * A list is one string, prepared JIDs with a line feed between, which none of
 * them has (RFC 7622, 3.4).  Each may be repeated.
 */


#include "ngx_xmpp_store_private.h"


ngx_xmpp_store_req_t *
ngx_xmpp_store_blocklist(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, ngx_xmpp_store_handler_pt handler,
    void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_call(store, &a, pool, "xmpp1_blocklist", ss->tag, 2,
                        NGX_XMPP_KEY_SESSIONS, NGX_XMPP_KEY_BLOCKED);
    ngx_xmpp_store_arg_session(&a, ss);
    ngx_xmpp_store_arg(&a, ss->flags);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_block(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, ngx_xmpp_store_block_t *b,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_call(store, &a, pool,
                        b->unblock ? "xmpp1_unblock" : "xmpp1_block", ss->tag,
                        2, NGX_XMPP_KEY_SESSIONS, NGX_XMPP_KEY_BLOCKED);
    ngx_xmpp_store_arg_channel(store, &a, ss->tag);
    ngx_xmpp_store_arg_session(&a, ss);
    ngx_xmpp_store_arg(&a, &b->push);
    ngx_xmpp_store_arg(&a, &b->jids);
    ngx_xmpp_store_arg_uint(&a, ss->lifetime);

    if (!b->unblock) {
        ngx_xmpp_store_arg_uint(&a, b->items);
        ngx_xmpp_store_arg_uint(&a, b->size);
    }

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_affected(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, u_char what, ngx_str_t *jids,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    char                   *name;
    ngx_xmpp_store_args_t   a;

    switch (what) {

    case NGX_XMPP_STORE_BLOCKED:
        name = "+";
        break;

    case NGX_XMPP_STORE_UNBLOCKED:
        name = "-";
        break;

    default: /* NGX_XMPP_STORE_GRANTED */
        name = "=";
    }

    ngx_xmpp_store_call(store, &a, pool, "xmpp1_affected", ss->tag, 3,
                        NGX_XMPP_KEY_SESSIONS, NGX_XMPP_KEY_PRESENCE,
                        NGX_XMPP_KEY_ROSTER);
    ngx_xmpp_store_arg_session(&a, ss);
    ngx_xmpp_store_arg_text(&a, name);
    ngx_xmpp_store_arg(&a, jids);

    return ngx_xmpp_store_command(store, &a, handler, data);
}
