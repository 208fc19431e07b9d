/*
 * Session records: bind, presence, flags, the end.
 *
 *     no record --bind--> "-" --presence--> priority --presence "-"--+
 *        ^                 ^                    |                    v
 *        |                 '---- told ----------|------------------ "g"
 *        '------ unbind ------------------------'------- gone -------+
 *
 * State g: contacts have not heard yet that the session went; without contacts
 * it is left out (redis/20-session.lua).
 *
 * A record says who exists; the epoch in it orders the holders of a resource,
 * and every change compares it (cluster.md, rule 4).  Each step is one
 * Function in the account's slot; its keys and arguments are in
 * docs/redis-schema.md.  Arguments live in the request's pool, so that it can
 * be repeated.
 */


#include "ngx_xmpp_store_private.h"


static void ngx_xmpp_store_record_flags(ngx_xmpp_store_args_t *a,
    ngx_xmpp_store_session_t *ss);
static void ngx_xmpp_store_record(ngx_xmpp_store_t *store,
    ngx_xmpp_store_args_t *a, ngx_pool_t *pool, const char *function,
    ngx_xmpp_store_session_t *ss, ngx_uint_t keys);


ngx_xmpp_store_req_t *
ngx_xmpp_store_bind(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, ngx_str_t *boot, ngx_str_t *state,
    ngx_uint_t max, ngx_str_t *gone, ngx_xmpp_store_handler_pt handler,
    void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_record(store, &a, pool, "xmpp1_bind", ss, 4);
    ngx_xmpp_store_arg(&a, boot);
    ngx_xmpp_store_arg_uint(&a, ss->epoch);
    ngx_xmpp_store_arg(&a, state);
    ngx_xmpp_store_arg_uint(&a, max);
    ngx_xmpp_store_arg(&a, gone);
    ngx_xmpp_store_arg_uint(&a, ss->lifetime);
    ngx_xmpp_store_record_flags(&a, ss);
    ngx_xmpp_store_arg_uint(&a, ss->created);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_presence(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, ngx_str_t *state, ngx_str_t *stanza,
    ngx_uint_t initial, ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_record(store, &a, pool, "xmpp1_presence", ss, 5);
    ngx_xmpp_store_arg_uint(&a, ss->epoch);
    ngx_xmpp_store_arg(&a, state);
    ngx_xmpp_store_arg(&a, stanza);
    ngx_xmpp_store_arg_text(&a, initial ? "1" : "0");
    ngx_xmpp_store_arg_uint(&a, ss->lifetime);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_snapshot(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, ngx_xmpp_store_handler_pt handler,
    void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_call(store, &a, pool, "xmpp1_snapshot", ss->tag, 3,
                        NGX_XMPP_KEY_SESSIONS, NGX_XMPP_KEY_PRESENCE,
                        NGX_XMPP_KEY_ROSTER);
    ngx_xmpp_store_arg_session(&a, ss);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_flags(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, ngx_xmpp_store_handler_pt handler,
    void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_call(store, &a, pool, "xmpp1_flags", ss->tag, 1,
                        NGX_XMPP_KEY_SESSIONS);
    ngx_xmpp_store_arg(&a, ss->resource);
    ngx_xmpp_store_arg(&a, ss->sid);
    ngx_xmpp_store_arg_uint(&a, ss->epoch);
    ngx_xmpp_store_record_flags(&a, ss);
    ngx_xmpp_store_arg_channel(store, &a, ss->tag);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


/* a record is taken apart at its spaces, so nothing in it is empty */

static void
ngx_xmpp_store_record_flags(ngx_xmpp_store_args_t *a,
    ngx_xmpp_store_session_t *ss)
{
    if (ss->flags->len) {
        ngx_xmpp_store_arg(a, ss->flags);

    } else {
        ngx_xmpp_store_arg_text(a, "-");
    }
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_gone(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, ngx_str_t *stanza, ngx_uint_t held,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_record(store, &a, pool, "xmpp1_gone", ss, 4);
    ngx_xmpp_store_arg_uint(&a, ss->epoch);
    ngx_xmpp_store_arg(&a, stanza);
    ngx_xmpp_store_arg_text(&a, held ? "1" : "0");
    ngx_xmpp_store_arg(&a, &ss->boot);
    ngx_xmpp_store_arg_text(&a, ss->dead ? "1" : "0");

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_told(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, ngx_uint_t ends,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_record(store, &a, pool,
                          ends ? "xmpp1_unbind" : "xmpp1_told", ss, 3);
    ngx_xmpp_store_arg_uint(&a, ss->epoch);
    ngx_xmpp_store_arg(&a, &ss->boot);

    /* contacts were told by what this connection was given before */

    a.once = 1;

    return ngx_xmpp_store_command(store, &a, handler, data);
}


/* what all of them begin with: so many keys, channel, resource, sid */

static void
ngx_xmpp_store_record(ngx_xmpp_store_t *store, ngx_xmpp_store_args_t *a,
    ngx_pool_t *pool, const char *function, ngx_xmpp_store_session_t *ss,
    ngx_uint_t keys)
{
    ngx_uint_t  i;

    static const ngx_xmpp_store_key_e  key[] = {
        NGX_XMPP_KEY_ACCOUNT, NGX_XMPP_KEY_SESSIONS, NGX_XMPP_KEY_PRESENCE,
        NGX_XMPP_KEY_ROSTER, NGX_XMPP_KEY_REQUESTS
    };

    ngx_xmpp_store_args(a, pool,
                        (keys + 1) * ngx_xmpp_store_key_len(store, ss->tag)
                        + 4 * NGX_INT64_LEN);

    ngx_xmpp_store_arg_text(a, "FCALL");
    ngx_xmpp_store_arg_text(a, function);
    ngx_xmpp_store_arg_uint(a, keys);

    for (i = 0; i < keys; i++) {
        ngx_xmpp_store_arg_key(store, a, key[i], ss->tag);
    }

    ngx_xmpp_store_arg_channel(store, a, ss->tag);
    ngx_xmpp_store_arg(a, ss->resource);
    ngx_xmpp_store_arg(a, ss->sid);
}
