/*
 * Stream management (XEP-0198) in Redis: sessions that may be resumed, in
 * another worker, too.  All in the account's slot (redis/17-sm.lua, 42-sm.lua).
 *
 *     enable, handled       asked, before the client is told
 *     detached, end         posted: nobody waits for them
 *     find, take, open      asked for a client that comes, or for nobody, when
 *                           its worker has died
 *     write                 posted by who has had it, and told that it was not
 *                           too late
 *
 * All may be repeated: the last one that runs says how it is, and they run in
 * the order in which they are given.
 */


#include "ngx_xmpp_store_private.h"


/* for which a client may learn what was handled, in seconds */
#define NGX_XMPP_STORE_SM_KEPT        86400


static void ngx_xmpp_store_sm_args(ngx_xmpp_store_t *store,
    ngx_xmpp_store_args_t *a, ngx_pool_t *pool, const char *function,
    ngx_xmpp_store_session_t *ss);
static void ngx_xmpp_store_sm_enable_args(ngx_xmpp_store_t *store,
    ngx_xmpp_store_args_t *a, ngx_pool_t *pool, ngx_xmpp_store_session_t *ss,
    ngx_xmpp_store_sm_t *sm);
static uint64_t ngx_xmpp_store_sm_uint(ngx_str_t *text);


ngx_xmpp_store_req_t *
ngx_xmpp_store_sm_enable(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, ngx_xmpp_store_sm_t *sm,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_sm_enable_args(store, &a, pool, ss, sm);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


void
ngx_xmpp_store_sm_again(ngx_xmpp_store_t *store, ngx_xmpp_store_session_t *ss,
    ngx_xmpp_store_sm_t *sm)
{
    ngx_pool_t             *pool;
    ngx_xmpp_store_args_t   a;

    pool = ngx_create_pool(NGX_XMPP_STORE_POST_POOL, store->log);
    if (pool == NULL) {
        return;
    }

    ngx_xmpp_store_sm_enable_args(store, &a, pool, ss, sm);
    ngx_xmpp_store_post(store, &a, ss->tag);
}


static void
ngx_xmpp_store_sm_enable_args(ngx_xmpp_store_t *store,
    ngx_xmpp_store_args_t *a, ngx_pool_t *pool, ngx_xmpp_store_session_t *ss,
    ngx_xmpp_store_sm_t *sm)
{
    ngx_xmpp_store_sm_args(store, a, pool, "xmpp1_sm_enable", ss);
    ngx_xmpp_store_arg_session(a, ss);
    ngx_xmpp_store_arg(a, &sm->digest);
    ngx_xmpp_store_arg_uint(a, sm->timeout);
    ngx_xmpp_store_arg_uint(a, sm->base);
    ngx_xmpp_store_arg_uint(a, sm->handled);
    ngx_xmpp_store_arg_uint(a, sm->life);
    ngx_xmpp_store_arg_uint(a, ss->created);

    a->durable = 1;
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_sm_handled(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, uint64_t handled,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_sm_args(store, &a, pool, "xmpp1_sm_handled", ss);
    ngx_xmpp_store_arg_session(&a, ss);
    ngx_xmpp_store_arg_uint(&a, handled);

    a.durable = 1;

    return ngx_xmpp_store_command(store, &a, handler, data);
}


void
ngx_xmpp_store_detached(ngx_xmpp_store_t *store, ngx_xmpp_store_session_t *ss,
    ngx_uint_t detached)
{
    ngx_pool_t             *pool;
    ngx_xmpp_store_args_t   a;

    pool = ngx_create_pool(NGX_XMPP_STORE_POST_POOL, store->log);
    if (pool == NULL) {
        return;
    }

    ngx_xmpp_store_sm_args(store, &a, pool, "xmpp1_detach", ss);
    ngx_xmpp_store_arg_session(&a, ss);
    ngx_xmpp_store_arg_text(&a, detached ? "1" : "0");

    ngx_xmpp_store_post(store, &a, ss->tag);
}


void
ngx_xmpp_store_sm_end(ngx_xmpp_store_t *store, ngx_xmpp_store_session_t *ss,
    ngx_xmpp_store_sm_t *sm)
{
    ngx_pool_t             *pool;
    ngx_xmpp_store_args_t   a;

    pool = ngx_create_pool(NGX_XMPP_STORE_POST_POOL, store->log);
    if (pool == NULL) {
        return;
    }

    ngx_xmpp_store_args(&a, pool, ngx_xmpp_store_sm_len(store, ss->tag, ss->sid)
                                  + 3 * NGX_INT64_LEN);

    ngx_xmpp_store_arg_text(&a, "FCALL");
    ngx_xmpp_store_arg_text(&a, "xmpp1_sm_end");
    ngx_xmpp_store_arg_text(&a, "1");
    ngx_xmpp_store_arg_sm(store, &a, ss->tag, ss->sid);
    ngx_xmpp_store_arg(&a, &sm->digest);
    ngx_xmpp_store_arg_uint(&a, sm->handled);
    ngx_xmpp_store_arg_uint(&a, NGX_XMPP_STORE_SM_KEPT);
    ngx_xmpp_store_arg_uint(&a, ss->epoch);

    ngx_xmpp_store_post(store, &a, ss->tag);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_sm_find(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *tag, ngx_str_t *sid, ngx_str_t *digest,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t     a;
    ngx_xmpp_store_session_t  ss;

    ss.tag = tag;
    ss.sid = sid;

    ngx_xmpp_store_sm_args(store, &a, pool, "xmpp1_sm_find", &ss);
    ngx_xmpp_store_arg(&a, sid);
    ngx_xmpp_store_arg(&a, digest);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


uint64_t
ngx_xmpp_store_sm_asked(redisReply *reply)
{
    ngx_str_t  text;

    if (reply->elements < 5
        || reply->element[4]->type != REDIS_REPLY_STRING)
    {
        return 0;
    }

    text.data = (u_char *) reply->element[4]->str;
    text.len = reply->element[4]->len;

    return ngx_xmpp_store_sm_uint(&text);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_sm_take(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, ngx_xmpp_store_take_t *take,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_args(&a, pool, 3 * ngx_xmpp_store_key_len(store, ss->tag)
                                  + ngx_xmpp_store_sm_len(store, ss->tag,
                                                          ss->sid)
                                  + 3 * NGX_INT64_LEN);

    ngx_xmpp_store_arg_text(&a, "FCALL");
    ngx_xmpp_store_arg_text(&a, "xmpp1_sm_take");
    ngx_xmpp_store_arg_text(&a, "3");
    ngx_xmpp_store_arg_key(store, &a, NGX_XMPP_KEY_ACCOUNT, ss->tag);
    ngx_xmpp_store_arg_key(store, &a, NGX_XMPP_KEY_SESSIONS, ss->tag);
    ngx_xmpp_store_arg_sm(store, &a, ss->tag, ss->sid);
    ngx_xmpp_store_arg_channel(store, &a, ss->tag);
    ngx_xmpp_store_arg(&a, ss->resource);
    ngx_xmpp_store_arg(&a, ss->sid);
    ngx_xmpp_store_arg(&a, &take->boot);
    ngx_xmpp_store_arg_uint(&a, take->attempt);
    ngx_xmpp_store_arg(&a, &take->digest);
    ngx_xmpp_store_arg_uint(&a, ss->created);
    ngx_xmpp_store_arg(&a, &take->dead);
    ngx_xmpp_store_arg_uint(&a, take->asked);

    a.durable = 1;

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_sm_open(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, ngx_xmpp_store_handler_pt handler,
    void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_sm_args(store, &a, pool, "xmpp1_sm_open", ss);
    ngx_xmpp_store_arg_session(&a, ss);

    a.durable = 1;

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_int_t
ngx_xmpp_store_sm_write(ngx_xmpp_store_t *store, ngx_xmpp_store_session_t *ss,
    uint64_t handled, ngx_str_t *state, ngx_xmpp_store_handler_pt handler,
    void *data)
{
    ngx_pool_t             *pool;
    ngx_xmpp_store_args_t   a;

    pool = ngx_create_pool(NGX_XMPP_STORE_POST_POOL, store->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    ngx_xmpp_store_args(&a, pool, 2 * ngx_xmpp_store_key_len(store, ss->tag)
                                  + ngx_xmpp_store_sm_len(store, ss->tag,
                                                          ss->sid)
                                  + 2 * NGX_INT64_LEN);

    ngx_xmpp_store_arg_text(&a, "FCALL");
    ngx_xmpp_store_arg_text(&a, "xmpp1_sm_write");
    ngx_xmpp_store_arg_text(&a, "2");
    ngx_xmpp_store_arg_key(store, &a, NGX_XMPP_KEY_SESSIONS, ss->tag);
    ngx_xmpp_store_arg_sm(store, &a, ss->tag, ss->sid);
    ngx_xmpp_store_arg_channel(store, &a, ss->tag);
    ngx_xmpp_store_arg_session(&a, ss);
    ngx_xmpp_store_arg_uint(&a, handled);
    ngx_xmpp_store_arg(&a, state);

    a.durable = 1;

    if (handler) {
        return ngx_xmpp_store_post_told(store, &a, handler, data);
    }

    ngx_xmpp_store_post(store, &a, ss->tag);

    return NGX_OK;
}


ngx_int_t
ngx_xmpp_store_sm_opened(redisReply *reply, ngx_xmpp_store_opened_t *o)
{
    size_t     i;
    ngx_str_t  s[NGX_XMPP_STORE_SM_OPENED];

    if (reply->elements < 3 + NGX_XMPP_STORE_SM_OPENED) {
        return NGX_DECLINED;
    }

    for (i = 0; i < NGX_XMPP_STORE_SM_OPENED; i++) {

        if (reply->element[3 + i]->type != REDIS_REPLY_STRING) {
            return NGX_DECLINED;
        }

        s[i].data = (u_char *) reply->element[3 + i]->str;
        s[i].len = reply->element[3 + i]->len;
    }

    o->state = s[1];
    o->flags = s[2];
    o->sm.handled = ngx_xmpp_store_sm_uint(&s[3]);
    o->sm.base = ngx_xmpp_store_sm_uint(&s[4]);
    o->sm.timeout = (ngx_msec_t) ngx_xmpp_store_sm_uint(&s[5]);
    o->sm.digest = s[6];
    o->written = s[7];
    o->sm.life = ngx_xmpp_store_sm_uint(&s[8]);
    o->created = ngx_xmpp_store_sm_uint(&s[9]);
    o->blocked = s[10];
    o->left = (ngx_msec_t) ngx_xmpp_store_sm_uint(&s[11]);
    o->previous = 0;

    if (reply->elements > i + 3
        && reply->element[i + 3]->type == REDIS_REPLY_STRING)
    {
        s[0].data = (u_char *) reply->element[i + 3]->str;
        s[0].len = reply->element[i + 3]->len;

        o->previous = ngx_xmpp_store_sm_uint(&s[0]);
    }

    return NGX_OK;
}


static uint64_t
ngx_xmpp_store_sm_uint(ngx_str_t *text)
{
    size_t    i;
    uint64_t  n;

    for (n = 0, i = 0; i < text->len; i++) {
        if (text->data[i] < '0' || text->data[i] > '9') {
            break;
        }

        n = n * 10 + (text->data[i] - '0');
    }

    return n;
}


/* what most of them begin with: the records, and the hash of this session */

static void
ngx_xmpp_store_sm_args(ngx_xmpp_store_t *store, ngx_xmpp_store_args_t *a,
    ngx_pool_t *pool, const char *function, ngx_xmpp_store_session_t *ss)
{
    ngx_xmpp_store_args(a, pool, ngx_xmpp_store_key_len(store, ss->tag)
                                 + ngx_xmpp_store_sm_len(store, ss->tag,
                                                         ss->sid)
                                 + 6 * NGX_INT64_LEN);

    ngx_xmpp_store_arg_text(a, "FCALL");
    ngx_xmpp_store_arg_text(a, function);
    ngx_xmpp_store_arg_text(a, "2");
    ngx_xmpp_store_arg_key(store, a, NGX_XMPP_KEY_SESSIONS, ss->tag);
    ngx_xmpp_store_arg_sm(store, a, ss->tag, ss->sid);
}
