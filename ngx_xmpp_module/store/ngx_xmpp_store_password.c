/*
 * The password of an account, changed by its user (XEP-0077, 3.3): how the old
 * keys were made, and the new ones (redis/53-password.lua).
 *
 *     get --> a field of the account, HGET
 *     set --> all keys take the place of the old ones, one Function, for a
 *             session whose record is there: no removed account comes back
 *
 * Both may be repeated: the same keys again change nothing.  Only keys come
 * here, no password.  The requests are of the caller's pool, whose end cancels
 * them.
 */


#include "ngx_xmpp_store_private.h"
#include "ngx_xmpp_scram.h"


ngx_xmpp_store_req_t *
ngx_xmpp_store_password_get(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *tag, ngx_str_t *field, ngx_xmpp_store_handler_pt handler,
    void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_args(&a, pool, ngx_xmpp_store_key_len(store, tag));

    ngx_xmpp_store_arg_text(&a, "HGET");
    ngx_xmpp_store_arg_key(store, &a, NGX_XMPP_KEY_ACCOUNT, tag);
    ngx_xmpp_store_arg(&a, field);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_password_set(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, ngx_str_t *keys,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_uint_t             i;
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_call(store, &a, pool, "xmpp1_password", ss->tag, 2,
                        NGX_XMPP_KEY_ACCOUNT, NGX_XMPP_KEY_SESSIONS);
    ngx_xmpp_store_arg_session(&a, ss);

    for (i = 0; i < NGX_XMPP_SCRAM_HASHES; i++) {
        ngx_xmpp_store_arg(&a, &ngx_xmpp_scram_fields[i]);
        ngx_xmpp_store_arg(&a, &keys[i]);
    }

    return ngx_xmpp_store_command(store, &a, handler, data);
}
