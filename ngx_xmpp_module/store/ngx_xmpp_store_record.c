/*
 * Session records: bind, presence, unbind.
 *
 *     no record --bind--> state "-" <--presence--> state "priority"
 *               <--unbind------------------------------+
 *
 * A record says who exists; the epoch in it orders the holders of a resource,
 * and every change compares it (cluster.md, rule 4).  Each step is one
 * Function in the account's slot; its keys and arguments are in
 * docs/redis-schema.md.  Arguments live in the request's pool, so that it can
 * be repeated.
 */


#include "ngx_xmpp_store_private.h"


static void ngx_xmpp_store_record(ngx_xmpp_store_t *store,
    ngx_xmpp_store_args_t *a, ngx_pool_t *pool, const char *function,
    ngx_xmpp_store_session_t *ss);


ngx_xmpp_store_req_t *
ngx_xmpp_store_bind(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, ngx_str_t *boot, ngx_str_t *state,
    ngx_uint_t max, ngx_str_t *gone, ngx_xmpp_store_handler_pt handler,
    void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_record(store, &a, pool, "xmpp1_bind", ss);
    ngx_xmpp_store_arg(&a, boot);
    ngx_xmpp_store_arg_uint(&a, ss->epoch);
    ngx_xmpp_store_arg(&a, state);
    ngx_xmpp_store_arg_uint(&a, max);
    ngx_xmpp_store_arg(&a, gone);
    ngx_xmpp_store_arg_uint(&a, ss->lifetime);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_presence(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, ngx_str_t *state, ngx_str_t *stanza,
    ngx_uint_t initial, ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_record(store, &a, pool, "xmpp1_presence", ss);
    ngx_xmpp_store_arg_uint(&a, ss->epoch);
    ngx_xmpp_store_arg(&a, state);
    ngx_xmpp_store_arg(&a, stanza);
    ngx_xmpp_store_arg_text(&a, initial ? "1" : "0");
    ngx_xmpp_store_arg_uint(&a, ss->lifetime);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


void
ngx_xmpp_store_unbind(ngx_xmpp_store_t *store, ngx_xmpp_store_session_t *ss,
    ngx_str_t *gone)
{
    ngx_pool_t             *pool;
    ngx_xmpp_store_args_t   a;

    pool = ngx_create_pool(NGX_XMPP_STORE_POST_POOL, store->log);
    if (pool == NULL) {
        return;
    }

    ngx_xmpp_store_record(store, &a, pool, "xmpp1_unbind", ss);
    ngx_xmpp_store_arg_uint(&a, ss->epoch);
    ngx_xmpp_store_arg(&a, gone);

    ngx_xmpp_store_post(store, &a, ss->tag);
}


/* what all three begin with: keys, channel, resource, sid */

static void
ngx_xmpp_store_record(ngx_xmpp_store_t *store, ngx_xmpp_store_args_t *a,
    ngx_pool_t *pool, const char *function, ngx_xmpp_store_session_t *ss)
{
    ngx_xmpp_store_args(a, pool, 4 * ngx_xmpp_store_key_len(store, ss->tag)
                                 + 3 * NGX_INT64_LEN);

    ngx_xmpp_store_arg_text(a, "FCALL");
    ngx_xmpp_store_arg_text(a, function);
    ngx_xmpp_store_arg_text(a, "3");
    ngx_xmpp_store_arg_key(store, a, NGX_XMPP_KEY_ACCOUNT, ss->tag);
    ngx_xmpp_store_arg_key(store, a, NGX_XMPP_KEY_SESSIONS, ss->tag);
    ngx_xmpp_store_arg_key(store, a, NGX_XMPP_KEY_PRESENCE, ss->tag);
    ngx_xmpp_store_arg_channel(store, a, ss->tag);
    ngx_xmpp_store_arg(a, ss->resource);
    ngx_xmpp_store_arg(a, ss->sid);
}
