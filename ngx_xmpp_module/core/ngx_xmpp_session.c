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


#define NGX_XMPP_SESSION_POOL         512
#define NGX_XMPP_SESSION_WRITE_POOL   1024


static ngx_int_t ngx_xmpp_session_write(ngx_xmpp_session_t *xs,
    ngx_xmpp_store_handler_pt handler);
static void ngx_xmpp_session_written(ngx_xmpp_session_t *xs);
static void ngx_xmpp_session_bind_done(void *data,
    ngx_xmpp_store_result_t *res);
static void ngx_xmpp_session_heard(ngx_xmpp_session_t *xs, uint64_t number);
static void ngx_xmpp_session_bound(ngx_xmpp_session_t *xs, ngx_int_t rc);
static void ngx_xmpp_session_record(ngx_xmpp_session_t *xs,
    ngx_xmpp_store_session_t *ss);
static void ngx_xmpp_session_finish(ngx_xmpp_session_t *xs);
static void ngx_xmpp_session_reassert_done(void *data,
    ngx_xmpp_store_result_t *res);


/*
 * A session for the stream's authenticated user; the JID is copied.  It is
 * not yet in Redis.  NULL: no memory.
 */

ngx_xmpp_session_t *
ngx_xmpp_session_create(ngx_xmpp_stream_t *st, ngx_str_t *local,
    ngx_str_t *resource)
{
    u_char              *p;
    ngx_str_t            tag;
    ngx_pool_t          *pool;
    ngx_xmpp_worker_t   *w;
    ngx_xmpp_session_t  *xs;

    w = st->worker;

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
    xs->host = st->host;
    xs->stream = st;
    xs->lifetime = st->lifetime;

    if (ngx_xmpp_jid_make(pool, local, &st->host->name, resource, &xs->jid)
        != NGX_OK)
    {
        goto failed;
    }

    xs->sid.data = ngx_pnalloc(pool, NGX_XMPP_SID_MAX);
    if (xs->sid.data == NULL) {
        goto failed;
    }

    p = ngx_cpymem(xs->sid.data, w->boot, sizeof(w->boot));
    p = ngx_sprintf(p, ".%xL", ++w->sessions);
    xs->sid.len = p - xs->sid.data;

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
    if (!xs->waiting) {
        if (rc == NGX_OK) {
            ngx_xmpp_session_reassert(xs);
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

    pkt = ngx_xmpp_session_unavailable(xs, &xs->jid.bare);
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

    /* what failed may still have run: the record ends with the session */

    xs->recorded = (res->rc == NGX_OK || res->rc == NGX_ERROR);

    if (res->rc == NGX_OK) {
        xs->epoch = res->epoch;

        ngx_xmpp_session_heard(xs, res->number);

        /* two were bound at once, and the other's bell came first */

        if (xs->fence > xs->epoch) {
            xs->displaced = 1;
            ngx_xmpp_session_bound(xs, NGX_DECLINED);
            return;
        }
    }

    ngx_xmpp_session_bound(xs, res->rc == NGX_AGAIN ? NGX_ERROR : res->rc);
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
    ngx_xmpp_out_t  *out;

    xs->waiting = 0;

    if (xs->ending) {
        ngx_xmpp_session_finish(xs);
        return;
    }

    if (rc == NGX_OK) {
        ngx_xmpp_feature_event(xs, NGX_XMPP_EVENT_BIND);
    }

    xs->bound(xs, rc);

    while (rc == NGX_OK && xs->early) {
        out = xs->early;
        xs->early = out->next;

        ngx_xmpp_session_output(xs, out->packet);
        ngx_xmpp_packet_release(out->packet);
        ngx_free(out);
    }
}


static void
ngx_xmpp_session_record(ngx_xmpp_session_t *xs, ngx_xmpp_store_session_t *ss)
{
    ss->tag = &xs->account->sn.str;
    ss->resource = &xs->jid.resource;
    ss->sid = &xs->sid;
    ss->epoch = xs->epoch;
    ss->lifetime = xs->lifetime;
}


/* "<presence type='unavailable' .../>" of this resource; NULL: no memory */

ngx_xmpp_packet_t *
ngx_xmpp_session_unavailable(ngx_xmpp_session_t *xs, ngx_str_t *to)
{
    u_char             *p;
    size_t              len;
    ngx_xmpp_packet_t  *pkt;

    len = sizeof("<presence xmlns='jabber:client' type='unavailable' "
                 "from='' to=''/>") - 1
          + ngx_xmpp_xml_escape_size(&xs->jid.full)
          + ngx_xmpp_xml_escape_size(to);

    pkt = ngx_xmpp_packet_alloc(xs->worker->log, len);
    if (pkt == NULL) {
        return NULL;
    }

    p = ngx_cpymem(pkt->data,
                   "<presence xmlns='jabber:client' type='unavailable' from='",
                   sizeof("<presence xmlns='jabber:client' "
                          "type='unavailable' from='") - 1);
    p = ngx_xmpp_xml_escape(p, &xs->jid.full);
    p = ngx_cpymem(p, "' to='", sizeof("' to='") - 1);
    p = ngx_xmpp_xml_escape(p, to);
    (void) ngx_cpymem(p, "'/>", sizeof("'/>") - 1);

    return pkt;
}


/*
 * OUTPUT: gives a packet to the session's client, which takes a reference of
 * its own.  Without a stream it is dropped; while bind is not answered it
 * waits for that.
 */

void
ngx_xmpp_session_output(ngx_xmpp_session_t *xs, ngx_xmpp_packet_t *pkt)
{
    ngx_xmpp_out_t  *out, **last;

    if (xs->stream == NULL || xs->stream->state == NGX_XMPP_ST_CLOSED) {
        return;
    }

    if (xs->stream->state == NGX_XMPP_ST_BOUND) {
        xs->stream->stanzas_sent++;
        (void) xs->stream->transport->send(xs->stream, pkt);
        return;
    }

    out = ngx_alloc(sizeof(ngx_xmpp_out_t), xs->worker->log);
    if (out == NULL) {
        return;
    }

    out->packet = pkt;
    out->next = NULL;
    pkt->refs++;

    for (last = &xs->early; *last; last = &(*last)->next) { /* void */ }

    *last = out;
}


/* somebody holds the resource with this epoch (cluster.md, rule 4) */

void
ngx_xmpp_session_fence(ngx_xmpp_session_t *xs, uint64_t epoch)
{
    if (xs->epoch == 0) {
        xs->fence = ngx_max(xs->fence, epoch);
        return;
    }

    if (epoch <= xs->epoch || xs->displaced) {
        return;
    }

    xs->displaced = 1;

    if (xs->stream) {
        xs->stream->transport->close(xs->stream, NGX_XMPP_SE_CONFLICT,
                                     "replaced by a new session");
    }
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
 * The stream is gone or going.  The session ends as soon as nothing is in
 * flight any more; it is not freed before this event-loop turn ends.
 */

void
ngx_xmpp_session_end(ngx_xmpp_session_t *xs)
{
    xs->stream = NULL;

    if (xs->ending) {
        return;
    }

    xs->ending = 1;

    if (xs->stanza || xs->write || (xs->waiting && xs->account->req)) {
        return;
    }

    ngx_xmpp_session_finish(xs);
}


static void
ngx_xmpp_session_finish(ngx_xmpp_session_t *xs)
{
    ngx_str_t                  gone;
    ngx_xmpp_packet_t         *pkt;
    ngx_xmpp_store_session_t   ss;

    if (xs->epoch && !xs->displaced) {
        ngx_xmpp_feature_event(xs, NGX_XMPP_EVENT_UNBIND);
    }

    if (xs->recorded && !xs->displaced) {
        pkt = ngx_xmpp_session_unavailable(xs, &xs->jid.bare);

        if (pkt != NULL) {
            gone.len = pkt->len;
            gone.data = pkt->data;

            ngx_xmpp_session_record(xs, &ss);
            ngx_xmpp_store_unbind(xs->worker->store, &ss, &gone);
            ngx_xmpp_packet_release(pkt);
        }
    }

    ngx_queue_remove(&xs->queue);
    ngx_xmpp_registry_leave(xs->account);
    xs->account = NULL;

    ngx_queue_insert_tail(&xs->worker->ended, &xs->posted);
    ngx_xmpp_worker_post(xs->worker);
}


/* called by the worker when nothing on the stack can hold the session */

void
ngx_xmpp_session_free(ngx_xmpp_session_t *xs)
{
    ngx_xmpp_out_t     *out;
    ngx_xmpp_worker_t  *w;

    w = xs->worker;
    w->nsessions--;

    while (xs->early) {
        out = xs->early;
        xs->early = out->next;

        ngx_xmpp_packet_release(out->packet);
        ngx_free(out);
    }

    ngx_destroy_pool(xs->pool);
    ngx_xmpp_worker_trim(w);
}


/* what an ending session had in flight was answered */

void
ngx_xmpp_session_idle(ngx_xmpp_session_t *xs)
{
    if (xs->ending && xs->stanza == NULL && xs->write == NULL
        && !xs->waiting)
    {
        ngx_xmpp_session_finish(xs);
    }
}


/*
 * Redis may have lost the record, or the worker a bell: the record is put back
 * with the same epoch, unless a higher one holds the resource by now, or the
 * account is gone: then the session ends.
 */

void
ngx_xmpp_session_reassert(ngx_xmpp_session_t *xs)
{
    if (xs->epoch == 0 || xs->ending || xs->displaced || xs->write) {
        return;
    }

    if (ngx_xmpp_session_write(xs, ngx_xmpp_session_reassert_done)
        != NGX_OK)
    {
        ngx_log_error(NGX_LOG_ERR, xs->worker->log, 0,
                      "xmpp could not put the record of \"%V\" back",
                      &xs->jid.full);
    }
}


static void
ngx_xmpp_session_reassert_done(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_session_t *xs = data;

    ngx_xmpp_session_written(xs);

    if (xs->ending) {
        ngx_xmpp_session_idle(xs);
        return;
    }

    if (res->rc != NGX_DECLINED) {
        return;
    }

    if (res->epoch > xs->epoch) {
        ngx_xmpp_session_fence(xs, res->epoch);
        return;
    }

    /* the account was removed while Redis could not tell us */

    xs->displaced = 1;

    if (xs->stream) {
        xs->stream->transport->close(xs->stream, NGX_XMPP_SE_NOT_AUTHORIZED,
                                     "the account was removed");
    }
}
