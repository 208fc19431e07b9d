/*
 * Directed presence (RFC 6121, 4.6): whom a session has sent it to is
 * remembered, and told when the session becomes unavailable (4.6.3), unless he
 * is a contact who is told anyhow.
 *
 * Heap nodes of the session; at its end they go along to what ends it in
 * Redis, since contacts are known only then.  A session that lost its resource
 * to another tells nobody: the winner does, and does not know them.
 */


#include "ngx_xmpp_presence.h"


/* more would make one client a loudspeaker, or fill memory: addresses, bytes */
#define NGX_XMPP_PRESENCE_DIRECTED    1024
#define NGX_XMPP_PRESENCE_ADDRESSES   (128 * 1024)

/* bytes of the copies in which a client's last word goes to all of them */
#define NGX_XMPP_PRESENCE_TOLD        (1024 * 1024)


typedef struct {
    ngx_queue_t         directed;       /* of ngx_xmpp_directed_t */
    ngx_uint_t          n;
    size_t              size;           /* of their addresses */
} ngx_xmpp_presence_ctx_t;


static ngx_xmpp_presence_ctx_t *ngx_xmpp_presence_ctx(ngx_xmpp_session_t *xs);
static void ngx_xmpp_presence_cleanup(void *data);
static ngx_xmpp_directed_t *ngx_xmpp_presence_find(
    ngx_xmpp_presence_ctx_t *ctx, ngx_str_t *jid, uint32_t hash);


/* RFC 6121, 4.6: remembers to whom, and goes on */

ngx_int_t
ngx_xmpp_presence_directed(ngx_xmpp_stanza_t *stz)
{
    uint32_t                  hash;
    ngx_xmpp_directed_t      *d;
    ngx_xmpp_presence_ctx_t  *ctx;

    if (stz->type != NGX_XMPP_TYPE_NONE
        && stz->type != NGX_XMPP_TYPE_UNAVAILABLE)
    {
        return NGX_DECLINED;
    }

    ctx = ngx_xmpp_presence_ctx(stz->session);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    hash = ngx_crc32_short(stz->to.bare.data, stz->to.bare.len);
    d = ngx_xmpp_presence_find(ctx, &stz->to.full, hash);

    if (stz->type == NGX_XMPP_TYPE_UNAVAILABLE) {
        if (d) {
            ngx_queue_remove(&d->queue);
            ctx->size -= d->len;
            ctx->n--;
            ngx_free(d);
        }

        return NGX_DECLINED;
    }

    if (d) {
        return NGX_DECLINED;
    }

    if (ctx->n == NGX_XMPP_PRESENCE_DIRECTED
        || ctx->size + stz->to.full.len > NGX_XMPP_PRESENCE_ADDRESSES)
    {
        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    d = ngx_alloc(offsetof(ngx_xmpp_directed_t, data) + stz->to.full.len,
                  stz->session->worker->log);
    if (d == NULL) {
        return NGX_ERROR;
    }

    d->hash = hash;
    d->bare = stz->to.bare.len;
    d->len = stz->to.full.len;
    d->known = 0;
    ngx_memcpy(d->data, stz->to.full.data, stz->to.full.len);

    ngx_queue_insert_tail(&ctx->directed, &d->queue);
    ctx->size += d->len;
    ctx->n++;

    return NGX_DECLINED;
}


static ngx_xmpp_presence_ctx_t *
ngx_xmpp_presence_ctx(ngx_xmpp_session_t *xs)
{
    ngx_pool_cleanup_t       *cln;
    ngx_xmpp_presence_ctx_t  *ctx;

    ctx = ngx_xmpp_session_get_ctx(xs, &ngx_xmpp_presence_module);

    if (ctx != NULL) {
        return ctx;
    }

    cln = ngx_pool_cleanup_add(xs->pool, sizeof(ngx_xmpp_presence_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;
    ctx->n = 0;
    ctx->size = 0;
    ngx_queue_init(&ctx->directed);

    if (ngx_xmpp_session_set_ctx(xs, &ngx_xmpp_presence_module, ctx)
        != NGX_OK)
    {
        return NULL;
    }

    cln->handler = ngx_xmpp_presence_cleanup;

    return ctx;
}


static void
ngx_xmpp_presence_cleanup(void *data)
{
    ngx_xmpp_presence_ctx_t *ctx = data;

    ngx_xmpp_directed_free(&ctx->directed);
}


static ngx_xmpp_directed_t *
ngx_xmpp_presence_find(ngx_xmpp_presence_ctx_t *ctx, ngx_str_t *jid,
    uint32_t hash)
{
    ngx_queue_t          *q;
    ngx_xmpp_directed_t  *d;

    for (q = ngx_queue_head(&ctx->directed);
         q != ngx_queue_sentinel(&ctx->directed);
         q = ngx_queue_next(q))
    {
        d = ngx_queue_data(q, ngx_xmpp_directed_t, queue);

        if (d->hash == hash && d->len == jid->len
            && ngx_memcmp(d->data, jid->data, jid->len) == 0)
        {
            return d;
        }
    }

    return NULL;
}


/*
 * Each gets a copy of the client's own stanza, so a long one to many is told
 * without what else it says.
 */

ngx_uint_t
ngx_xmpp_presence_undirect(ngx_xmpp_session_t *xs, ngx_xmpp_tell_t *t)
{
    ngx_str_t                 stanza, sid;
    ngx_uint_t                n;
    ngx_xmpp_packet_t        *pkt;
    ngx_xmpp_presence_ctx_t  *ctx;

    ctx = ngx_xmpp_session_get_ctx(xs, &ngx_xmpp_presence_module);

    if (ctx == NULL || ctx->n == 0) {
        return 0;
    }

    n = ctx->n;
    stanza = t->stanza;
    pkt = NULL;

    if (stanza.len > NGX_XMPP_PRESENCE_TOLD / n) {
        pkt = ngx_xmpp_packet_unavailable(xs->worker->log, &xs->jid.full,
                                          &xs->jid.bare);
        if (pkt == NULL) {
            return 0;
        }

        stanza.data = pkt->data;
        stanza.len = pkt->len;
    }

    ngx_xmpp_session_own(xs, &sid);
    ngx_xmpp_tell_directed(t, &ctx->directed, 1, &stanza, &sid, &xs->own);

    ctx->n = 0;
    ctx->size = 0;

    if (pkt) {
        ngx_xmpp_packet_release(pkt);
    }

    return n;
}


/* the session ends without a word: those who are left are told then */

void
ngx_xmpp_presence_unbind(ngx_xmpp_session_t *xs)
{
    ngx_xmpp_presence_ctx_t  *ctx;

    ctx = ngx_xmpp_session_get_ctx(xs, &ngx_xmpp_presence_module);

    if (ctx == NULL || ngx_queue_empty(&ctx->directed)) {
        return;
    }

    ngx_queue_add(xs->directed, &ctx->directed);
    ngx_queue_init(&ctx->directed);
    ctx->n = 0;
    ctx->size = 0;
}


/* it comes from another worker: whom it was sent to is known there */

void
ngx_xmpp_presence_taken(ngx_xmpp_session_t *xs)
{
    ngx_queue_t              *q;
    ngx_xmpp_directed_t      *d;
    ngx_xmpp_presence_ctx_t  *ctx;

    if (ngx_queue_empty(xs->directed)) {
        return;
    }

    ctx = ngx_xmpp_presence_ctx(xs);
    if (ctx == NULL) {
        return;
    }

    for (q = ngx_queue_head(xs->directed);
         q != ngx_queue_sentinel(xs->directed);
         q = ngx_queue_next(q))
    {
        d = ngx_queue_data(q, ngx_xmpp_directed_t, queue);

        ctx->size += d->len;
        ctx->n++;
    }

    ngx_queue_add(&ctx->directed, xs->directed);
    ngx_queue_init(xs->directed);
}


/* XEP-0191, 3.3: those who are blocked by now are told, and forgotten */

void
ngx_xmpp_presence_block(ngx_xmpp_session_t *xs)
{
    ngx_str_t                 text;
    ngx_queue_t              *q, *next;
    ngx_xmpp_jid_t            jid;
    ngx_xmpp_directed_t      *d;
    ngx_xmpp_presence_ctx_t  *ctx;

    ctx = ngx_xmpp_session_get_ctx(xs, &ngx_xmpp_presence_module);

    if (ctx == NULL) {
        return;
    }

    for (q = ngx_queue_head(&ctx->directed);
         q != ngx_queue_sentinel(&ctx->directed);
         q = next)
    {
        next = ngx_queue_next(q);
        d = ngx_queue_data(q, ngx_xmpp_directed_t, queue);

        text.data = d->data;
        text.len = d->len;

        ngx_xmpp_jid_slice(&text, &jid);

        if (!ngx_xmpp_blocked(xs->account, &jid)
            || ngx_xmpp_str_eq(&jid.bare, &xs->jid.bare))
        {
            continue;
        }

        ngx_queue_remove(q);
        ngx_queue_insert_tail(xs->directed, q);
        ctx->size -= d->len;
        ctx->n--;
    }
}
