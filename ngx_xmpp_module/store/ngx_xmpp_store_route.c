/*
 * Routing: one Function in the recipient's slot decides, rings and answers
 * (RFC 6121, 8.5; cluster.md, rules 1 and 2).
 *
 *     ok      rung, or rung before by the same identity
 *     none    nobody is there: the OFFLINE phase
 *     busy    a record whose worker does not listen: ask again
 *
 * The identity is the sending session and its counter, so a command may be
 * repeated whenever its outcome is not known.  What a stanza's sender waits
 * for lives in the stanza's pool; what nobody waits for has its own.
 */


#include "ngx_xmpp_store_private.h"


static void ngx_xmpp_store_route_args(ngx_xmpp_store_t *store,
    ngx_xmpp_store_args_t *a, ngx_pool_t *pool, ngx_str_t *tag,
    ngx_str_t *resource, u_char *kind, ngx_str_t *sid, uint64_t counter,
    ngx_str_t *stanza);


ngx_xmpp_store_req_t *
ngx_xmpp_store_route(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *tag, ngx_str_t *resource, u_char kind, ngx_str_t *sid,
    uint64_t counter, ngx_str_t *stanza, ngx_xmpp_store_handler_pt handler,
    void *data)
{
    u_char                 *p;
    ngx_xmpp_store_args_t   a;

    /* the argument lives as long as the request, for a repeat */

    p = ngx_pnalloc(pool, 1);
    if (p == NULL) {
        return NULL;
    }

    *p = kind;

    ngx_xmpp_store_route_args(store, &a, pool, tag, resource, p, sid,
                              counter, stanza);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


void
ngx_xmpp_store_send(ngx_xmpp_store_t *store, ngx_str_t *tag,
    ngx_str_t *resource, u_char kind, ngx_str_t *sid, uint64_t counter,
    ngx_str_t *stanza)
{
    ngx_pool_t             *pool;
    ngx_xmpp_store_args_t   a;

    pool = ngx_create_pool(NGX_XMPP_STORE_POST_POOL, store->log);
    if (pool == NULL) {
        return;
    }

    ngx_xmpp_store_route_args(store, &a, pool, tag, resource, &kind, sid,
                              counter, stanza);
    ngx_xmpp_store_post(store, &a, tag);
}


static void
ngx_xmpp_store_route_args(ngx_xmpp_store_t *store, ngx_xmpp_store_args_t *a,
    ngx_pool_t *pool, ngx_str_t *tag, ngx_str_t *resource, u_char *kind,
    ngx_str_t *sid, uint64_t counter, ngx_str_t *stanza)
{
    ngx_str_t  value;

    ngx_xmpp_store_args(a, pool, 5 * ngx_xmpp_store_key_len(store, tag)
                                 + NGX_INT64_LEN);

    ngx_xmpp_store_arg_text(a, "FCALL");
    ngx_xmpp_store_arg_text(a, "xmpp1_route");
    ngx_xmpp_store_arg_text(a, "4");
    ngx_xmpp_store_arg_key(store, a, NGX_XMPP_KEY_ACCOUNT, tag);
    ngx_xmpp_store_arg_key(store, a, NGX_XMPP_KEY_SESSIONS, tag);
    ngx_xmpp_store_arg_key(store, a, NGX_XMPP_KEY_SEEN, tag);
    ngx_xmpp_store_arg_key(store, a, NGX_XMPP_KEY_SEEN_BEFORE, tag);
    ngx_xmpp_store_arg_channel(store, a, tag);
    ngx_xmpp_store_arg(a, sid);
    ngx_xmpp_store_arg_uint(a, counter);

    value.data = kind;
    value.len = 1;
    ngx_xmpp_store_arg(a, &value);

    if (resource) {
        ngx_xmpp_store_arg(a, resource);

    } else {
        ngx_xmpp_store_arg_text(a, "");
    }

    ngx_xmpp_store_arg(a, stanza);
}
