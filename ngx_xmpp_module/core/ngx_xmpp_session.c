/*
 * Sessions: a bound resource, from bind to its record's end.
 *
 *     created -> (channel subscribed) -> binding -> bound -> ending -> freed
 *
 * The order is cluster.md's rule 8: the channel is subscribed first, then the
 * record is written, then bind is answered; what rings in between is kept
 * and sent after the answer.  The resource's last holder learns of the higher
 * epoch by a bell and ends with <conflict/>.
 *
 * A session has its own pool and outlives its socket: it ends when its last
 * stanza in flight was answered, so that what a client sent before it went is
 * handled.  It holds nothing of its stream but the pointer, which the stream
 * clears when it goes.
 */


#include "ngx_xmpp.h"


/* takes a session and what its names usually need: another block would cost
   each of them 500 bytes more */
#define NGX_XMPP_SESSION_POOL         592
#define NGX_XMPP_SESSION_WRITE_POOL   1024

/* lies behind each sid */
#define NGX_XMPP_SESSION_OWN          "/o"
#define NGX_XMPP_SESSION_OWN_LEN      (sizeof(NGX_XMPP_SESSION_OWN) - 1)


static void ngx_xmpp_session_caught_up(ngx_xmpp_session_t *xs);
static ngx_int_t ngx_xmpp_session_write(ngx_xmpp_session_t *xs,
    ngx_xmpp_store_handler_pt handler);
static void ngx_xmpp_session_written(ngx_xmpp_session_t *xs);
static void ngx_xmpp_session_bind_done(void *data,
    ngx_xmpp_store_result_t *res);
static void ngx_xmpp_session_displaced(ngx_xmpp_session_t *xs,
    ngx_xmpp_store_result_t *res);
static void ngx_xmpp_session_heard(ngx_xmpp_session_t *xs, uint64_t number);
static void ngx_xmpp_session_bound(ngx_xmpp_session_t *xs, ngx_int_t rc);
static void ngx_xmpp_session_renew(ngx_xmpp_session_t *xs);
static void ngx_xmpp_session_reassert_done(void *data,
    ngx_xmpp_store_result_t *res);
static void ngx_xmpp_session_missed(ngx_xmpp_session_t *xs, uint64_t number);
static ngx_uint_t ngx_xmpp_session_disabled(ngx_xmpp_store_result_t *res);


/*
 * A session for the stream's authenticated user; the JID is copied.  It is
 * not yet in Redis.  NULL: no memory.
 */

ngx_xmpp_session_t *
ngx_xmpp_session_create(ngx_xmpp_stream_t *st, ngx_str_t *local,
    ngx_str_t *resource)
{
    u_char               sid[NGX_XMPP_SID_MAX];
    ngx_str_t            id;
    ngx_xmpp_worker_t   *w;
    ngx_xmpp_session_t  *xs;

    w = st->worker;

    id.data = sid;
    id.len = ngx_sprintf(sid, "%*s.%xL", sizeof(w->boot), w->boot,
                         ++w->sessions)
             - sid;

    xs = ngx_xmpp_session_alloc(w, st->host, local, resource, &id);

    if (xs) {
        xs->stream = st;
        xs->lifetime = st->lifetime;
        xs->created = st->created;
    }

    return xs;
}


/* the same, of that name, without a stream; all is copied */

ngx_xmpp_session_t *
ngx_xmpp_session_alloc(ngx_xmpp_worker_t *w, ngx_xmpp_host_t *host,
    ngx_str_t *local, ngx_str_t *resource, ngx_str_t *sid)
{
    u_char              *p;
    ngx_str_t            tag;
    ngx_pool_t          *pool;
    ngx_xmpp_session_t  *xs;

    pool = ngx_create_pool(NGX_XMPP_SESSION_POOL, w->log);
    if (pool == NULL) {
        return NULL;
    }

    xs = ngx_pcalloc(pool, sizeof(ngx_xmpp_session_t));
    if (xs == NULL) {
        goto failed;
    }

    xs->pool = pool;
    xs->worker = w;
    xs->host = host;
    xs->flags.data = xs->flag;

    if (ngx_xmpp_jid_make(pool, local, &host->name, resource, &xs->jid)
        != NGX_OK)
    {
        goto failed;
    }

    xs->sid.len = sid->len;
    xs->sid.data = ngx_pnalloc(pool, sid->len + NGX_XMPP_SESSION_OWN_LEN);

    if (xs->sid.data == NULL) {
        goto failed;
    }

    p = ngx_cpymem(xs->sid.data, sid->data, sid->len);
    ngx_memcpy(p, NGX_XMPP_SESSION_OWN, NGX_XMPP_SESSION_OWN_LEN);

    if (ngx_xmpp_store_tag(pool, &xs->jid.bare, &tag) != NGX_OK) {
        goto failed;
    }

    xs->account = ngx_xmpp_registry_get(w, &tag);
    if (xs->account == NULL) {
        goto failed;
    }

    ngx_queue_insert_tail(&xs->account->sessions, &xs->queue);
    w->nsessions++;

    return xs;

failed:

    ngx_destroy_pool(pool);

    return NULL;
}


/*
 * Binds it; bound(xs, rc) is called later, once: NGX_OK; NGX_DECLINED: the
 * account is gone, or a higher epoch has taken the resource; NGX_ERROR: Redis
 * is away.  After anything but NGX_OK the caller ends the session.
 */

ngx_int_t
ngx_xmpp_session_bind(ngx_xmpp_session_t *xs,
    void (*bound)(ngx_xmpp_session_t *xs, ngx_int_t rc))
{
    xs->bound = bound;
    xs->waiting = 1;

    if (xs->account->subscribed) {
        return ngx_xmpp_session_write(xs, ngx_xmpp_session_bind_done);
    }

    return ngx_xmpp_registry_subscribe(xs->account);
}


/*
 * The account's subscription was confirmed or failed.  A session that was
 * bound before may have missed the bell that ends it, so its record is looked
 * at again (cluster.md, rule 8).
 */

void
ngx_xmpp_session_subscribed(ngx_xmpp_session_t *xs, ngx_int_t rc)
{
    if (xs->take) {
        ngx_xmpp_take_subscribed(xs->take, rc);
        return;
    }

    if (!xs->waiting) {
        if (rc == NGX_OK) {
            xs->deaf = 1;
            ngx_xmpp_session_catch_up(xs);
        }

        return;
    }

    if (xs->write) {
        return;
    }

    if (rc == NGX_OK && !xs->ending
        && ngx_xmpp_session_write(xs, ngx_xmpp_session_bind_done) == NGX_OK)
    {
        return;
    }

    ngx_xmpp_session_bound(xs, NGX_ERROR);
}


/*
 * What rings from now on is newer than what was missed, and waits for that, as
 * long as Redis may take to answer.  A write that is under way may have been
 * answered before the subscription was.
 */

void
ngx_xmpp_session_catch_up(ngx_xmpp_session_t *xs)
{
    if (xs->epoch == 0 || xs->ending || xs->displaced || xs->handed) {
        return;
    }

    xs->behind = 1;

    if (!xs->catching_up) {
        xs->catching_up = 1;
        ngx_xmpp_session_hold(xs);
    }

    if (xs->write) {
        xs->stale = 1;
        return;
    }

    ngx_xmpp_session_reassert(xs);

    if (xs->write == NULL) {
        ngx_xmpp_session_caught_up(xs);
    }
}


static void
ngx_xmpp_session_caught_up(ngx_xmpp_session_t *xs)
{
    if (xs->catching_up) {
        xs->catching_up = 0;
        ngx_xmpp_session_release(xs);
    }
}


/*
 * Writes the record: with epoch 0 a new one, else the one that Redis may have
 * lost.  The arguments live in a pool of their own until the reply.
 */

static ngx_int_t
ngx_xmpp_session_write(ngx_xmpp_session_t *xs,
    ngx_xmpp_store_handler_pt handler)
{
    u_char                    *p;
    ngx_str_t                  boot, gone, state;
    ngx_pool_t                *pool;
    ngx_xmpp_packet_t         *pkt;
    ngx_xmpp_srv_conf_t       *xscf;
    ngx_xmpp_store_session_t   ss;

    pool = ngx_create_pool(NGX_XMPP_SESSION_WRITE_POOL, xs->worker->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    pkt = ngx_xmpp_packet_unavailable(xs->worker->log, &xs->jid.full,
                                      &xs->jid.bare);
    p = ngx_pnalloc(pool, NGX_INT_T_LEN);

    if (pkt == NULL || p == NULL) {
        goto failed;
    }

    gone.len = pkt->len;
    gone.data = ngx_pnalloc(pool, pkt->len);
    if (gone.data == NULL) {
        goto failed;
    }

    ngx_memcpy(gone.data, pkt->data, pkt->len);

    ngx_str_set(&state, "-");

    if (xs->available) {
        state.data = p;
        state.len = ngx_sprintf(p, "%i", xs->priority) - p;
    }

    boot.len = sizeof(xs->worker->boot);
    boot.data = xs->worker->boot;

    ngx_xmpp_session_record(xs, &ss);
    ngx_xmpp_heartbeat_list(xs);

    xscf = ngx_xmpp_host_conf(xs->host, ngx_xmpp_module);

    xs->write = ngx_xmpp_store_bind(xs->worker->store, pool, &ss, &boot,
                                    &state, xscf->max_sessions, &gone,
                                    handler, xs);
    if (xs->write == NULL) {
        goto failed;
    }

    xs->write_pool = pool;
    ngx_xmpp_packet_release(pkt);

    return NGX_OK;

failed:

    if (pkt) {
        ngx_xmpp_packet_release(pkt);
    }

    ngx_destroy_pool(pool);

    return NGX_ERROR;
}


static void
ngx_xmpp_session_bind_done(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_session_t *xs = data;

    ngx_xmpp_session_written(xs);

    /*
     * What failed may still have run, and so may the first try of what is
     * refused by now: the record ends with the session.
     */

    xs->recorded = (res->rc == NGX_OK || res->rc == NGX_ERROR
                    || ngx_xmpp_session_disabled(res));

    if (res->rc == NGX_OK) {
        xs->epoch = res->epoch;

        ngx_xmpp_session_heard(xs, res->number);
        ngx_xmpp_block_bound(xs->account, res);

        /* two were bound at once, and the other's bell came first */

        if (xs->fence > xs->epoch) {
            xs->displaced = 1;
            ngx_xmpp_session_bound(xs, NGX_DECLINED);
            return;
        }

        ngx_xmpp_session_displaced(xs, res);
        ngx_xmpp_session_renew(xs);
    }

    ngx_xmpp_session_bound(xs, res->rc == NGX_AGAIN ? NGX_ERROR : res->rc);
}


/*
 * Whose resource or place it took is told to contacts by the winner
 * (cluster.md, rule 4), before presence of its own: the reply has pairs of a
 * resource and a sid.  The record of the session's own resource goes on.  An
 * empty resource is none: messages were kept while the record was lost.
 */

static void
ngx_xmpp_session_displaced(ngx_xmpp_session_t *xs,
    ngx_xmpp_store_result_t *res)
{
    size_t               i;
    redisReply         **r;
    ngx_xmpp_leaving_t   l;

    r = res->reply->element;

    for (i = 3; i + 1 < res->reply->elements; i += 2) {

        if (r[i]->type != REDIS_REPLY_STRING
            || r[i + 1]->type != REDIS_REPLY_STRING)
        {
            continue;
        }

        if (r[i]->len == 0) {
            ngx_xmpp_inbox_begin(xs);
            continue;
        }

        ngx_memzero(&l, sizeof(ngx_xmpp_leaving_t));

        l.bare = xs->jid.bare;
        l.resource.data = (u_char *) r[i]->str;
        l.resource.len = r[i]->len;
        l.sid.data = (u_char *) r[i + 1]->str;
        l.sid.len = r[i + 1]->len;
        l.epoch = res->epoch;
        l.held = ngx_xmpp_str_eq(&l.sid, &xs->sid);

        (void) ngx_xmpp_leave(xs->worker, &l);
    }
}


/*
 * The number of the account's last bell when the record was written.  To the
 * first session here no earlier one matters; to others it may be on its way,
 * like the end of the resource's last holder, and nothing may overtake it.
 */

static void
ngx_xmpp_session_heard(ngx_xmpp_session_t *xs, uint64_t number)
{
    ngx_xmpp_account_t  *a;

    a = xs->account;

    if (a->heard == 0
        && ngx_queue_head(&a->sessions) == ngx_queue_last(&a->sessions))
    {
        a->heard = number;
    }

    if (a->rung < number) {
        a->rung = number;
    }
}


static void
ngx_xmpp_session_written(ngx_xmpp_session_t *xs)
{
    xs->write = NULL;

    ngx_destroy_pool(xs->write_pool);
    xs->write_pool = NULL;
}


static void
ngx_xmpp_session_bound(ngx_xmpp_session_t *xs, ngx_int_t rc)
{
    xs->waiting = 0;

    if (xs->ending) {
        ngx_xmpp_session_idle(xs);
        return;
    }

    if (rc == NGX_OK) {
        xs->worker->stats->counters.bound++;
        ngx_xmpp_feature_event(xs, NGX_XMPP_EVENT_BIND);
    }

    /* what came before the answer waits for it */

    ngx_xmpp_session_hold(xs);

    xs->bound(xs, rc);

    if (rc == NGX_OK) {
        ngx_xmpp_session_release(xs);
    }
}


/* the session as the store wants it; points into *xs */

void
ngx_xmpp_session_record(ngx_xmpp_session_t *xs, ngx_xmpp_store_session_t *ss)
{
    ss->tag = &xs->account->sn.str;
    ss->resource = &xs->jid.resource;
    ss->sid = &xs->sid;
    ss->flags = &xs->flags;
    ss->epoch = xs->epoch;
    ss->boot.len = 0;
    ss->created = xs->created;
    ss->lifetime = xs->lifetime;
}


/*
 * The identity's first half of what the server sends in the session's name,
 * xs->own being the second: xs->counter has the stanzas of its client, and
 * nothing else (XEP-0198, 4).  *sid lives as long as *xs.
 */

void
ngx_xmpp_session_own(ngx_xmpp_session_t *xs, ngx_str_t *sid)
{
    sid->data = xs->sid.data;
    sid->len = xs->sid.len + NGX_XMPP_SESSION_OWN_LEN;
}


/* somebody holds the resource with this epoch (cluster.md, rule 4) */

void
ngx_xmpp_session_fence(ngx_xmpp_session_t *xs, uint64_t epoch)
{
    if (xs->epoch == 0) {
        xs->fence = ngx_max(xs->fence, epoch);
        return;
    }

    if (epoch <= xs->epoch || xs->displaced || xs->handed) {
        return;
    }

    xs->displaced = 1;

    ngx_xmpp_session_close(xs, NGX_XMPP_SE_CONFLICT,
                           "replaced by a new session");
}


/* a feature's state in the session, NULL: it has none */

void *
ngx_xmpp_session_get_ctx(ngx_xmpp_session_t *xs, ngx_module_t *module)
{
    ngx_xmpp_session_ctx_t  *ctx;

    for (ctx = xs->ctx; ctx; ctx = ctx->next) {
        if (ctx->module == module) {
            return ctx->data;
        }
    }

    return NULL;
}


/* sets it, once; NGX_OK or NGX_ERROR (no memory) */

ngx_int_t
ngx_xmpp_session_set_ctx(ngx_xmpp_session_t *xs, ngx_module_t *module,
    void *data)
{
    ngx_xmpp_session_ctx_t  *ctx;

    ctx = ngx_palloc(xs->pool, sizeof(ngx_xmpp_session_ctx_t));
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->module = module;
    ctx->data = data;
    ctx->next = xs->ctx;
    xs->ctx = ctx;

    return NGX_OK;
}


/*
 * Redis may have lost the record, or the worker a bell: the record is put back
 * with the same epoch, unless a higher one holds the resource by now, or the
 * account is gone: then the session ends.
 */

void
ngx_xmpp_session_reassert(ngx_xmpp_session_t *xs)
{
    if (xs->epoch == 0 || xs->ending || xs->displaced || xs->handed
        || xs->take || xs->write)
    {
        return;
    }

    if (ngx_xmpp_session_write(xs, ngx_xmpp_session_reassert_done) != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, xs->worker->log, 0,
                      "xmpp could not put the record of \"%V\" back",
                      &xs->jid.full);
    }
}


/* what was just written has a boot id that this worker has no more */

static void
ngx_xmpp_session_renew(ngx_xmpp_session_t *xs)
{
    if (xs->stale) {
        xs->stale = 0;
        ngx_xmpp_session_reassert(xs);
    }
}


static void
ngx_xmpp_session_reassert_done(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_session_t *xs = data;

    ngx_uint_t  disabled;

    ngx_xmpp_session_written(xs);

    if (xs->ending) {
        ngx_xmpp_session_idle(xs);
        return;
    }

    /* as by a master without its replicas: bells were missed all the same */

    if (res->reply && res->rc != NGX_OK && res->rc != NGX_DECLINED) {
        ngx_xmpp_unwritten(xs);

    } else if (xs->unwritten) {
        ngx_xmpp_unwritten_answered(xs);
    }

    if (res->rc == NGX_OK) {
        if (xs->behind && !xs->stale) {
            ngx_xmpp_session_missed(xs, res->number);
        }

        ngx_xmpp_block_bound(xs->account, res);
        ngx_xmpp_session_displaced(xs, res);
        ngx_xmpp_detach_put_back(xs);
    }

    if (res->rc != NGX_DECLINED) {
        ngx_xmpp_session_renew(xs);

        if (xs->write == NULL) {
            ngx_xmpp_session_caught_up(xs);
        }

        return;
    }

    if (res->epoch > xs->epoch) {
        if (!ngx_xmpp_hand_refused(xs, res)) {
            ngx_xmpp_session_fence(xs, res->epoch);
        }

        return;
    }

    /*
     * The account was removed while Redis could not tell us, or disabled:
     * then there is a record, and contacts hear of the end as of any.
     */

    disabled = ngx_xmpp_session_disabled(res);

    xs->displaced = !disabled;

    ngx_xmpp_session_close(xs, NGX_XMPP_SE_NOT_AUTHORIZED,
                           disabled ? "the account was disabled"
                                    : "the account was removed");
}


/*
 * All bells up to this number may have been missed.  What is kept is in the
 * inbox; presence is asked again, if anything rang at all.
 */

static void
ngx_xmpp_session_missed(ngx_xmpp_session_t *xs, uint64_t number)
{
    ngx_xmpp_account_t  *a;

    a = xs->account;

    xs->behind = 0;

    if (xs->deaf && a->heard && number > a->heard) {
        ngx_xmpp_snapshot(xs);
    }

    xs->deaf = 0;
    a->missed = ngx_max(a->missed, number);
}


/* why the record was not written */

static ngx_uint_t
ngx_xmpp_session_disabled(ngx_xmpp_store_result_t *res)
{
    redisReply  *first;

    if (res->rc != NGX_DECLINED || res->reply == NULL
        || res->reply->type != REDIS_REPLY_ARRAY || res->reply->elements == 0)
    {
        return 0;
    }

    first = res->reply->element[0];

    return first->type == REDIS_REPLY_STRING
           && ngx_strcmp(first->str, "disabled") == 0;
}
