/*
 * Routing: one Function in the recipient's slot decides, rings and answers
 * (RFC 6121, 8.5; cluster.md, rules 1 and 2).
 *
 *     ok      rung, or rung before by the same identity, or kept
 *     none    nobody is there: the OFFLINE phase
 *     full    nobody is there, and the inbox takes no more
 *     busy    a record whose worker does not listen: ask again
 *
 * The identity is the sending session and its counter, so a command may be
 * repeated whenever its outcome is not known; only then the Function looks
 * whether it has run before.  What the inbox keeps is answered when as many
 * replicas have it as xmpp_durability says (rule 12).  What a stanza's sender
 * waits for lives in the stanza's pool; what nobody waits for has its own.
 */


#include "ngx_xmpp_store_private.h"


/* of what ngx_xmpp_store_route_stanzas() writes */
#define ngx_xmpp_store_route_len(r)                                           \
    ((r)->n * (NGX_INT64_LEN + sizeof(":12345678") - 1)                       \
     + sizeof("1  ") - 1 + 2 * NGX_INT64_LEN)


static void ngx_xmpp_store_route_args(ngx_xmpp_store_t *store,
    ngx_xmpp_store_args_t *a, ngx_pool_t *pool, ngx_xmpp_store_route_t *r,
    u_char *kind);
static void ngx_xmpp_store_route_arg(ngx_xmpp_store_args_t *a,
    ngx_str_t *value);
static void ngx_xmpp_store_route_stanzas(ngx_xmpp_store_args_t *a,
    ngx_xmpp_store_route_t *r);


ngx_xmpp_store_req_t *
ngx_xmpp_store_route(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_route_t *r, ngx_xmpp_store_handler_pt handler, void *data)
{
    u_char                 *p;
    ngx_xmpp_store_args_t   a;

    /* the argument lives as long as the request, for a repeat */

    p = ngx_pnalloc(pool, 1);
    if (p == NULL) {
        return NULL;
    }

    *p = r->copies ? ngx_toupper(r->kind) : r->kind;

    ngx_xmpp_store_route_args(store, &a, pool, r, p);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_copy(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_route_t *r, ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_args(&a, pool, 4 * ngx_xmpp_store_key_len(store, r->tag)
                                  + ngx_xmpp_store_route_len(r));

    ngx_xmpp_store_arg_text(&a, "FCALL");
    ngx_xmpp_store_arg_text(&a, "xmpp1_copy");
    ngx_xmpp_store_arg_text(&a, "3");
    ngx_xmpp_store_arg_key(store, &a, NGX_XMPP_KEY_SESSIONS, r->tag);
    ngx_xmpp_store_arg_key(store, &a, NGX_XMPP_KEY_SEEN, r->tag);
    ngx_xmpp_store_arg_key(store, &a, NGX_XMPP_KEY_SEEN_BEFORE, r->tag);
    ngx_xmpp_store_arg_channel(store, &a, r->tag);
    ngx_xmpp_store_arg(&a, r->sid);
    ngx_xmpp_store_arg(&a, r->to);
    ngx_xmpp_store_arg_text(&a, r->copies ? "1" : "0");
    ngx_xmpp_store_route_arg(&a, r->archive);

    ngx_xmpp_store_route_stanzas(&a, r);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


void
ngx_xmpp_store_send(ngx_xmpp_store_t *store, ngx_xmpp_store_route_t *r)
{
    ngx_pool_t             *pool;
    ngx_xmpp_store_args_t   a;

    pool = ngx_create_pool(NGX_XMPP_STORE_POST_POOL, store->log);
    if (pool == NULL) {
        return;
    }

    ngx_xmpp_store_route_args(store, &a, pool, r, &r->kind);
    ngx_xmpp_store_post(store, &a, r->tag);
}


static void
ngx_xmpp_store_route_args(ngx_xmpp_store_t *store, ngx_xmpp_store_args_t *a,
    ngx_pool_t *pool, ngx_xmpp_store_route_t *r, u_char *kind)
{
    ngx_str_t  value;

    ngx_xmpp_store_args(a, pool, 4 * ngx_xmpp_store_key_len(store, r->tag)
                                 + ngx_xmpp_store_route_len(r));

    ngx_xmpp_store_arg_text(a, "FCALL");
    ngx_xmpp_store_arg_text(a, "xmpp1_route");
    ngx_xmpp_store_arg_text(a, "3");
    ngx_xmpp_store_arg_key(store, a, NGX_XMPP_KEY_SESSIONS, r->tag);
    ngx_xmpp_store_arg_key(store, a, NGX_XMPP_KEY_SEEN, r->tag);
    ngx_xmpp_store_arg_key(store, a, NGX_XMPP_KEY_SEEN_BEFORE, r->tag);
    ngx_xmpp_store_arg_channel(store, a, r->tag);
    ngx_xmpp_store_arg(a, r->sid);

    value.data = kind;
    value.len = 1;
    ngx_xmpp_store_arg(a, &value);

    ngx_xmpp_store_route_arg(a, r->resource);
    ngx_xmpp_store_route_arg(a, r->from);
    ngx_xmpp_store_route_arg(a, r->keep);
    ngx_xmpp_store_route_arg(a, r->archive);

    ngx_xmpp_store_route_stanzas(a, r);
    a->durable = (r->keep != NULL);
}


/* NULL is an empty one */

static void
ngx_xmpp_store_route_arg(ngx_xmpp_store_args_t *a, ngx_str_t *value)
{
    if (value) {
        ngx_xmpp_store_arg(a, value);

    } else {
        ngx_xmpp_store_arg_text(a, "");
    }
}


/* identities and bytes, and whether they may have been routed before */

static void
ngx_xmpp_store_route_stanzas(ngx_xmpp_store_args_t *a,
    ngx_xmpp_store_route_t *r)
{
    ngx_uint_t                i;
    ngx_xmpp_store_stanza_t  *one;

    for (i = 0; i < r->n; i++) {
        one = &r->stanzas[i];

        if (r->lives) {
            ngx_xmpp_store_arg_print(a, NGX_INT64_LEN + 1 + 8, "%uL:%08xD",
                                     one->counter, one->digest);

        } else {
            ngx_xmpp_store_arg_uint(a, one->counter);
        }

        ngx_xmpp_store_arg(a, &one->bytes);
    }

    if (r->lives) {
        ngx_xmpp_store_arg_print(a, 3 + 2 * NGX_INT64_LEN, "1 %uL %uL",
                                 r->life, r->told);
        return;
    }

    ngx_xmpp_store_arg_text(a, r->again ? "1" : "0");
    a->mark = 1;
}
