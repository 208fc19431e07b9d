/*
 * An account that a stranger makes (XEP-0077, 3.1; redis/81-register.lua).
 *
 *     asked --> the name is free, and the network may have one more, counted
 *     (the name joins the list: ngx_xmpp_store_named())
 *     register --> the account is there
 *     or back --> it did not come to that: the count is taken back
 *
 * The counters, PREFIX:registrations, lie in another slot than the account, so
 * the question is two commands in one write.  Requests are of the caller's
 * pool, whose end cancels them.
 */


#include "ngx_xmpp_store_private.h"
#include "ngx_xmpp_scram.h"


/* counters in Redis at most, two for a network: about 5 MB */
#define NGX_XMPP_STORE_REGISTERS_MAX  "65536"

/* so often may it try for each account that it may make */
#define NGX_XMPP_STORE_TRIES          10


/* a question that waits for both answers */
typedef struct {
    ngx_xmpp_store_handler_pt   handler;
    void                       *data;
    ngx_int_t                   name;         /* OK: there is such an account */
    ngx_int_t                   limit;        /* DECLINED: too many */
    ngx_uint_t                  waiting;
} ngx_xmpp_store_asked_t;


static void ngx_xmpp_store_asked_name(void *data,
    ngx_xmpp_store_result_t *res);
static void ngx_xmpp_store_asked_limit(void *data,
    ngx_xmpp_store_result_t *res);
static void ngx_xmpp_store_asked(ngx_xmpp_store_asked_t *as);
static void ngx_xmpp_store_registering(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_register_t *rg,
    ngx_xmpp_store_args_t *a);


ngx_xmpp_store_req_t *
ngx_xmpp_store_register_ask(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_register_t *rg, ngx_xmpp_store_handler_pt handler,
    void *data)
{
    ngx_xmpp_store_req_t    *req;
    ngx_xmpp_store_args_t    a;
    ngx_xmpp_store_asked_t  *as;

    /* as at a login: what Redis may lose is not made */

    if (store->evicting) {
        ngx_xmpp_store_policy_check(store, 0);
        return NULL;
    }

    as = ngx_pcalloc(pool, sizeof(ngx_xmpp_store_asked_t));
    if (as == NULL) {
        return NULL;
    }

    as->handler = handler;
    as->data = data;
    as->waiting = 1;
    as->limit = NGX_OK;

    ngx_xmpp_store_args(&a, pool, 2 * ngx_xmpp_store_key_len(store, &rg->tag));
    ngx_xmpp_store_arg_text(&a, "EXISTS");
    ngx_xmpp_store_arg_key(store, &a, NGX_XMPP_KEY_ACCOUNT, &rg->tag);
    ngx_xmpp_store_arg_key(store, &a, NGX_XMPP_KEY_REMOVED, &rg->tag);

    req = ngx_xmpp_store_command(store, &a, ngx_xmpp_store_asked_name, as);

    if (req == NULL || !rg->counted) {
        return req;
    }

    ngx_xmpp_store_registering(store, pool, rg, &a);
    ngx_xmpp_store_arg_uint(&a, rg->max);
    ngx_xmpp_store_arg_uint(&a, rg->max * NGX_XMPP_STORE_TRIES);

    /* should it fail, the caller's pool cancels the first one */

    if (ngx_xmpp_store_command(store, &a, ngx_xmpp_store_asked_limit, as)
        == NULL)
    {
        return NULL;
    }

    as->waiting = 2;

    return req;
}


static void
ngx_xmpp_store_asked_name(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_store_asked_t *as = data;

    as->name = res->rc;

    ngx_xmpp_store_asked(as);
}


static void
ngx_xmpp_store_asked_limit(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_store_asked_t *as = data;

    as->limit = res->rc;

    ngx_xmpp_store_asked(as);
}


static void
ngx_xmpp_store_asked(ngx_xmpp_store_asked_t *as)
{
    ngx_xmpp_store_result_t  res;

    if (--as->waiting) {
        return;
    }

    ngx_memzero(&res, sizeof(ngx_xmpp_store_result_t));

    if (as->limit == NGX_DECLINED) {
        res.rc = NGX_BUSY;

    } else if (as->limit != NGX_OK) {
        res.rc = as->limit;

    } else if (as->name == NGX_OK) {
        res.rc = NGX_DECLINED;

    } else {
        res.rc = (as->name == NGX_DECLINED) ? NGX_OK : as->name;
    }

    as->handler(as->data, &res);
}


void
ngx_xmpp_store_register_back(ngx_xmpp_store_t *store,
    ngx_xmpp_store_register_t *rg)
{
    ngx_str_t               none;
    ngx_pool_t             *pool;
    ngx_xmpp_store_args_t   a;

    pool = ngx_create_pool(NGX_XMPP_STORE_POST_POOL, store->log);
    if (pool == NULL) {
        return;
    }

    ngx_str_set(&none, "");

    ngx_xmpp_store_registering(store, pool, rg, &a);
    ngx_xmpp_store_arg_text(&a, "-");
    ngx_xmpp_store_arg_text(&a, "0");

    ngx_xmpp_store_post(store, &a, &none);
}


/* what both begin with */

static void
ngx_xmpp_store_registering(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_register_t *rg, ngx_xmpp_store_args_t *a)
{
    ngx_str_t  counter;

    counter.data = rg->counter;
    counter.len = sizeof(rg->counter);

    ngx_xmpp_store_args(a, pool, ngx_xmpp_store_registrations_len(store)
                                 + 3 * NGX_INT64_LEN);

    ngx_xmpp_store_arg_text(a, "FCALL");
    ngx_xmpp_store_arg_text(a, "xmpp1_registering");
    ngx_xmpp_store_arg_text(a, "1");
    ngx_xmpp_store_arg_registrations(store, a);
    ngx_xmpp_store_arg_uint(a, rg->time);
    ngx_xmpp_store_arg_text(a, NGX_XMPP_STORE_REGISTERS_MAX);
    ngx_xmpp_store_arg(a, &counter);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_register(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_register_t *rg, ngx_str_t *created, ngx_str_t *keys,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_uint_t             i;
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_call(store, &a, pool, "xmpp1_register", &rg->tag, 2,
                        NGX_XMPP_KEY_ACCOUNT, NGX_XMPP_KEY_REMOVED);
    ngx_xmpp_store_arg(&a, created);

    for (i = 0; i < NGX_XMPP_SCRAM_HASHES; i++) {
        ngx_xmpp_store_arg(&a, &ngx_xmpp_scram_fields[i]);
        ngx_xmpp_store_arg(&a, &keys[i]);
    }

    return ngx_xmpp_store_command(store, &a, handler, data);
}
