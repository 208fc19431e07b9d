/*
 * Rosters and subscriptions: each step is one Function in one account's slot
 * (redis/40-roster.lua, redis/41-subscription.lua).
 *
 *     roster: get, set, state, remove           the user's own slot
 *     a subscription: out                       the sender's
 *                      in                       the recipient's
 *                      grant                    whose presence it is about
 *
 * All of them may be repeated: a get reads, the others lead to the same state
 * again, and at worst push or deliver what was pushed or delivered before.
 * Arguments live in the request's pool.
 */


#include "ngx_xmpp_store_private.h"


static void ngx_xmpp_store_roster_begin(ngx_xmpp_store_t *store,
    ngx_xmpp_store_args_t *a, ngx_pool_t *pool, const char *function,
    const ngx_xmpp_store_key_e *keys, ngx_uint_t n, ngx_str_t *tag);


ngx_xmpp_store_req_t *
ngx_xmpp_store_roster_get(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, ngx_str_t *user, ngx_str_t *version,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t              a;
    static const ngx_xmpp_store_key_e  keys[] = {
        NGX_XMPP_KEY_SESSIONS, NGX_XMPP_KEY_ROSTER
    };

    ngx_xmpp_store_roster_begin(store, &a, pool, "xmpp1_roster_get", keys, 2,
                                ss->tag);
    ngx_xmpp_store_arg_session(&a, ss);
    ngx_xmpp_store_arg(&a, user);

    if (version) {
        ngx_xmpp_store_arg(&a, version);

    } else {
        ngx_xmpp_store_arg_text(&a, "-");
    }

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_roster_set(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_item_t *it, ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t              a;
    static const ngx_xmpp_store_key_e  keys[] = {
        NGX_XMPP_KEY_SESSIONS, NGX_XMPP_KEY_ROSTER
    };

    ngx_xmpp_store_roster_begin(store, &a, pool, "xmpp1_roster_set", keys, 2,
                                it->tag);
    ngx_xmpp_store_arg_channel(store, &a, it->tag);
    ngx_xmpp_store_arg(&a, &it->user);
    ngx_xmpp_store_arg(&a, &it->contact);
    ngx_xmpp_store_arg(&a, &it->name);
    ngx_xmpp_store_arg(&a, &it->groups);
    ngx_xmpp_store_arg_uint(&a, it->max_items);
    ngx_xmpp_store_arg_uint(&a, it->max_size);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_roster_state(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_item_t *it, ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t              a;
    static const ngx_xmpp_store_key_e  keys[] = { NGX_XMPP_KEY_ROSTER };

    ngx_xmpp_store_roster_begin(store, &a, pool, "xmpp1_roster_state", keys,
                                1, it->tag);
    ngx_xmpp_store_arg(&a, &it->contact);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_roster_remove(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_item_t *it, ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t              a;
    static const ngx_xmpp_store_key_e  keys[] = {
        NGX_XMPP_KEY_SESSIONS, NGX_XMPP_KEY_ROSTER
    };

    ngx_xmpp_store_roster_begin(store, &a, pool, "xmpp1_roster_remove", keys,
                                2, it->tag);
    ngx_xmpp_store_arg_channel(store, &a, it->tag);
    ngx_xmpp_store_arg(&a, &it->user);
    ngx_xmpp_store_arg(&a, &it->contact);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_subscribe_out(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_item_t *it, ngx_str_t *type,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t              a;
    static const ngx_xmpp_store_key_e  keys[] = {
        NGX_XMPP_KEY_SESSIONS, NGX_XMPP_KEY_ROSTER, NGX_XMPP_KEY_REQUESTS,
        NGX_XMPP_KEY_PRESENCE
    };

    ngx_xmpp_store_roster_begin(store, &a, pool, "xmpp1_subscribe_out", keys,
                                4, it->tag);
    ngx_xmpp_store_arg_channel(store, &a, it->tag);
    ngx_xmpp_store_arg(&a, &it->user);
    ngx_xmpp_store_arg(&a, &it->contact);
    ngx_xmpp_store_arg(&a, type);
    ngx_xmpp_store_arg_uint(&a, it->max_items);
    ngx_xmpp_store_arg_uint(&a, it->max_size);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_subscribe_in(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_item_t *it, ngx_str_t *type, ngx_str_t *stanza,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t              a;
    static const ngx_xmpp_store_key_e  keys[] = {
        NGX_XMPP_KEY_ACCOUNT, NGX_XMPP_KEY_SESSIONS, NGX_XMPP_KEY_ROSTER,
        NGX_XMPP_KEY_REQUESTS, NGX_XMPP_KEY_PRESENCE
    };

    ngx_xmpp_store_roster_begin(store, &a, pool, "xmpp1_subscribe_in", keys,
                                5, it->tag);
    ngx_xmpp_store_arg_channel(store, &a, it->tag);
    ngx_xmpp_store_arg(&a, &it->user);
    ngx_xmpp_store_arg(&a, &it->contact);
    ngx_xmpp_store_arg(&a, type);
    ngx_xmpp_store_arg(&a, stanza);
    ngx_xmpp_store_arg_uint(&a, NGX_XMPP_STORE_REQUESTS);

    if (it->removed) {
        ngx_xmpp_store_arg_text(&a, "1");
    }

    return ngx_xmpp_store_command(store, &a, handler, data);
}


void
ngx_xmpp_store_grant(ngx_xmpp_store_t *store, ngx_str_t *tag,
    ngx_str_t *contact)
{
    ngx_pool_t                        *pool;
    ngx_xmpp_store_args_t              a;
    static const ngx_xmpp_store_key_e  keys[] = { NGX_XMPP_KEY_SESSIONS };

    pool = ngx_create_pool(NGX_XMPP_STORE_POST_POOL, store->log);
    if (pool == NULL) {
        return;
    }

    ngx_xmpp_store_roster_begin(store, &a, pool, "xmpp1_grant", keys, 1, tag);
    ngx_xmpp_store_arg_channel(store, &a, tag);
    ngx_xmpp_store_arg(&a, contact);

    ngx_xmpp_store_post(store, &a, tag);
}


/* what all of them begin with */

static void
ngx_xmpp_store_roster_begin(ngx_xmpp_store_t *store, ngx_xmpp_store_args_t *a,
    ngx_pool_t *pool, const char *function, const ngx_xmpp_store_key_e *keys,
    ngx_uint_t n, ngx_str_t *tag)
{
    ngx_uint_t  i;

    ngx_xmpp_store_args(a, pool, (n + 1) * ngx_xmpp_store_key_len(store, tag)
                                 + 3 * NGX_INT64_LEN);

    ngx_xmpp_store_arg_text(a, "FCALL");
    ngx_xmpp_store_arg_text(a, function);
    ngx_xmpp_store_arg_uint(a, n);

    for (i = 0; i < n; i++) {
        ngx_xmpp_store_arg_key(store, a, keys[i], tag);
    }
}
