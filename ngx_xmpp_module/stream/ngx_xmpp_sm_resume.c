/*
 * Resumption of a session on another stream (XEP-0198, 5).
 *
 *     AUTH: <resume/> --here--> what is in flight is handled --> <resumed/>
 *            ^   |                                      BOUND, sent again
 *            |   '--not here--> asked --it is there--> taken: then it is here
 *            |                    |                     |
 *            '-- <failed/>, <-----'--with h, ended------'--another was first
 *                it may bind                            |
 *                                         Redis is away: the stream ends
 *
 * The stream is parked while it waits.  So many are refused, then it ends:
 * nobody finds a token by trying.
 *
 * What is needed while Redis is asked lies in a pool of its own, which ends
 * with the stream.  A session that was taken for it waits for the next one.
 */


#include "ngx_xmpp_sm.h"


#define NGX_XMPP_SM_RESUMES           10      /* that failed, on a stream */
#define NGX_XMPP_SM_RESUME_POOL       1024


static ngx_int_t ngx_xmpp_sm_resume_args(ngx_xmpp_sm_ctx_t *ctx,
    ngx_str_t *id);
static ngx_int_t ngx_xmpp_sm_resume_here(ngx_xmpp_sm_ctx_t *ctx,
    ngx_xmpp_session_t *xs);
static void ngx_xmpp_sm_resumed(ngx_xmpp_session_t *xs);
static ngx_int_t ngx_xmpp_sm_resume_ask(ngx_xmpp_sm_ctx_t *ctx);
static void ngx_xmpp_sm_resume_known(void *data,
    ngx_xmpp_store_result_t *res);
static ngx_int_t ngx_xmpp_sm_resume_take(ngx_xmpp_sm_ctx_t *ctx,
    redisReply *reply);
static void ngx_xmpp_sm_resume_taken(void *data, ngx_xmpp_session_t *xs,
    ngx_int_t rc);
static void ngx_xmpp_sm_resume_refuse(ngx_xmpp_stream_t *st, uint32_t *h);


static ngx_str_t  ngx_xmpp_sm_resumed_name = ngx_string("resumed");


ngx_int_t
ngx_xmpp_sm_resume(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e)
{
    ngx_int_t            rc;
    ngx_str_t           *id;
    ngx_xmpp_sm_ctx_t   *ctx;
    ngx_xmpp_session_t  *xs;

    ctx = ngx_xmpp_sm_ctx(st);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    if (++ctx->failed > NGX_XMPP_SM_RESUMES) {
        st->transport->close(st, NGX_XMPP_SE_POLICY_VIOLATION,
                             "too many attempts to resume");
        return NGX_OK;
    }

    id = ngx_xmpp_xml_attr(e, "previd");

    /* 5: both have to be there */

    if (id == NULL
        || ngx_xmpp_sm_number(ngx_xmpp_xml_attr(e, "h"), &ctx->h) != NGX_OK)
    {
        return ngx_xmpp_sm_failed(st, st->pool, "bad-request", NULL);
    }

    rc = ngx_xmpp_sm_resume_args(ctx, id);

    if (rc == NGX_DECLINED) {
        st->worker->stats->counters.resumed[NGX_XMPP_STATS_NOT_FOUND]++;

        ngx_xmpp_sm_done(ctx);
        return ngx_xmpp_sm_failed(st, st->pool, "item-not-found", NULL);
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    ctx->taken = NGX_XMPP_STATS_HERE;

    xs = ngx_xmpp_detach_find(st, &ctx->tag, &ctx->sid, &ctx->token);

    return xs ? ngx_xmpp_sm_resume_here(ctx, xs)
              : ngx_xmpp_sm_resume_ask(ctx);
}


/* what has to live until it is answered; NGX_DECLINED: it is no id of ours */

static ngx_int_t
ngx_xmpp_sm_resume_args(ngx_xmpp_sm_ctx_t *ctx, ngx_str_t *id)
{
    u_char             *hex;
    ngx_str_t           bare;
    ngx_pool_t         *pool;
    ngx_xmpp_stream_t  *st;

    st = ctx->stream;

    pool = ngx_create_pool(NGX_XMPP_SM_RESUME_POOL, st->worker->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    ctx->pool = pool;

    bare.len = st->user.len + 1 + st->host->name.len;
    bare.data = ngx_pnalloc(pool, bare.len);

    ctx->id.len = id->len;
    ctx->id.data = ngx_pstrdup(pool, id);

    hex = ngx_pnalloc(pool, NGX_XMPP_SM_DIGEST);

    if (bare.data == NULL || ctx->id.data == NULL || hex == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(bare.data, "%V@%V", &st->user, &st->host->name);

    if (ngx_xmpp_detach_id(&ctx->id, &ctx->sid, &ctx->token) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (ngx_xmpp_store_tag(pool, &bare, &ctx->tag) != NGX_OK
        || ngx_xmpp_detach_digest(&ctx->token, hex) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx->digest.data = hex;
    ctx->digest.len = NGX_XMPP_SM_DIGEST;

    return NGX_OK;
}


/* what a nonza handler returns */

static ngx_int_t
ngx_xmpp_sm_resume_here(ngx_xmpp_sm_ctx_t *ctx, ngx_xmpp_session_t *xs)
{
    ngx_int_t           rc;
    ngx_xmpp_stream_t  *st, *old;

    st = ctx->stream;

    /* cluster.md, rule 14: what it was sent is what it says */

    if (xs->sm->rebuilt) {
        xs->sm->rebuilt = 0;
        xs->sm->sent = ctx->h + (uint32_t) xs->sm->n;
    }

    /* 5: h is as that of <a/> */

    if (ngx_xmpp_ack_acknowledged(xs, ctx->h) == NGX_DECLINED) {
        rc = ngx_xmpp_sm_too_high(st, ctx->h, xs->sm->sent);
        ngx_xmpp_sm_done(ctx);

        return rc;
    }

    /* 5: the old stream, if it still stands */

    old = xs->stream;

    if (old) {
        ngx_xmpp_stream_part(old);
        old->transport->close(old, NGX_XMPP_SE_CONFLICT,
                              "the session was resumed on another stream");
    }

    ngx_xmpp_detach_resume(xs, st, ngx_xmpp_sm_resumed);

    return (st->state == NGX_XMPP_ST_AUTH) ? NGX_AGAIN : NGX_OK;
}


/* all that the client had sent was handled: the count is exact */

static void
ngx_xmpp_sm_resumed(ngx_xmpp_session_t *xs)
{
    ngx_pool_t         *pool;
    ngx_xmpp_xml_t     *e;
    ngx_xmpp_sm_ctx_t  *ctx;
    ngx_xmpp_stream_t  *st;

    st = xs->stream;
    ctx = ngx_xmpp_stream_get_ctx(st, &ngx_xmpp_sm_module);

    pool = ngx_xmpp_worker_pool(st->worker);

    e = pool ? ngx_xmpp_xml_create(pool, &ngx_xmpp_sm_resumed_name,
                                   &ngx_xmpp_sm_ns)
             : NULL;

    if (e == NULL
        || ngx_xmpp_xml_set(pool, e, "previd", &ctx->id) != NGX_OK
        || ngx_xmpp_sm_attr(pool, e, "h", (uint32_t) ngx_xmpp_ack_count(xs))
           != NGX_OK)
    {
        st->transport->close(st, NGX_XMPP_SE_DROP, NULL);

    } else if (ngx_xmpp_stream_send(st, e) == NGX_OK) {

        ngx_log_error(NGX_LOG_INFO, st->connection->log, 0,
                      "client has resumed its session");

        st->worker->stats->counters.resumed[ctx->taken]++;

        /* XEP-0352, 5.2: what was held comes behind what was sent */

        ngx_xmpp_session_active(xs);

        ngx_xmpp_log_state(st, NGX_XMPP_ST_BOUND);
        ngx_xmpp_ack_again(xs);
        ngx_xmpp_inbox_resume(xs, 1);
    }

    if (pool) {
        ngx_xmpp_worker_pool_done(st->worker, pool);
    }

    ngx_xmpp_sm_done(ctx);

    st->transport->resume(st);
}


/* not here: another worker may have it; what a nonza handler returns */

static ngx_int_t
ngx_xmpp_sm_resume_ask(ngx_xmpp_sm_ctx_t *ctx)
{
    ngx_xmpp_stream_t  *st;

    st = ctx->stream;

    if (ngx_xmpp_store_sm_find(st->worker->store, ctx->pool, &ctx->tag,
                               &ctx->sid, &ctx->digest,
                               ngx_xmpp_sm_resume_known, ctx)
        == NULL)
    {
        st->transport->close(st, NGX_XMPP_SE_INTERNAL_SERVER_ERROR, NULL);
        return NGX_OK;
    }

    return NGX_AGAIN;
}


static void
ngx_xmpp_sm_resume_known(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_sm_ctx_t *ctx = data;

    uint32_t            h;
    ngx_xmpp_stream_t  *st;

    st = ctx->stream;
    h = (uint32_t) res->epoch;

    switch (res->rc) {

    case NGX_OK:

        if (res->reply->elements > 3
            && ngx_xmpp_sm_resume_take(ctx, res->reply) == NGX_OK)
        {
            return;
        }

        ngx_xmpp_sm_resume_refuse(st, &h);
        break;

    case NGX_DECLINED:
        ngx_xmpp_sm_resume_refuse(st, NULL);
        break;

    default:

        /* it would be lost to a client that hears <failed/> */

        st->transport->close(st, NGX_XMPP_SE_INTERNAL_SERVER_ERROR, NULL);
    }

    ngx_xmpp_sm_done(ctx);

    st->transport->resume(st);
}


static ngx_int_t
ngx_xmpp_sm_resume_take(ngx_xmpp_sm_ctx_t *ctx, redisReply *reply)
{
    redisReply         *resource;
    ngx_xmpp_stream_t  *st;
    ngx_xmpp_taking_t   t;

    resource = reply->element[3];

    if (resource->type != REDIS_REPLY_STRING) {
        return NGX_ERROR;
    }

    st = ctx->stream;

    ngx_memzero(&t, sizeof(ngx_xmpp_taking_t));

    t.host = st->host;
    t.local = st->user;
    t.resource.data = (u_char *) resource->str;
    t.resource.len = resource->len;
    t.sid = ctx->sid;
    t.digest = ctx->digest;
    t.asked = ngx_xmpp_store_sm_asked(reply);
    t.created = st->created;
    t.taker.done = ngx_xmpp_sm_resume_taken;
    t.taker.data = ctx;

    ctx->take = ngx_xmpp_take(st->worker, &t);

    return ctx->take ? NGX_OK : NGX_ERROR;
}


/* it is here, as any that has waited here */

static void
ngx_xmpp_sm_resume_taken(void *data, ngx_xmpp_session_t *xs, ngx_int_t rc)
{
    ngx_xmpp_sm_ctx_t *ctx = data;

    ngx_xmpp_stream_t  *st;

    st = ctx->stream;
    ctx->take = NULL;
    ctx->taken = NGX_XMPP_STATS_TAKEN;

    if (st->state != NGX_XMPP_ST_AUTH) {
        goto failed;
    }

    if (rc == NGX_OK) {
        xs = ngx_xmpp_detach_find(st, &ctx->tag, &ctx->sid, &ctx->token);

        if (xs) {
            switch (ngx_xmpp_sm_resume_here(ctx, xs)) {

            case NGX_AGAIN:
                return;

            case NGX_ERROR:
                st->transport->close(st, NGX_XMPP_SE_INTERNAL_SERVER_ERROR,
                                     NULL);
            }

            st->transport->resume(st);
            return;
        }
    }

    if (rc == NGX_ERROR) {
        st->transport->close(st, NGX_XMPP_SE_INTERNAL_SERVER_ERROR, NULL);

    } else {
        ngx_xmpp_sm_resume_refuse(st, NULL);
    }

failed:

    ngx_xmpp_sm_done(ctx);

    st->transport->resume(st);
}


static void
ngx_xmpp_sm_resume_refuse(ngx_xmpp_stream_t *st, uint32_t *h)
{
    ngx_pool_t  *pool;

    st->worker->stats->counters.resumed[NGX_XMPP_STATS_NOT_FOUND]++;

    pool = ngx_xmpp_worker_pool(st->worker);

    if (pool == NULL
        || ngx_xmpp_sm_failed(st, pool, "item-not-found", h) != NGX_OK)
    {
        st->transport->close(st, NGX_XMPP_SE_INTERNAL_SERVER_ERROR, NULL);
    }

    if (pool) {
        ngx_xmpp_worker_pool_done(st->worker, pool);
    }
}
