/*
 * What a change of a block list means for presence (XEP-0191, 3.3 and 3.4):
 * who is blocked gets unavailable presence from each session, who is not any
 * more gets the session's presence, and is asked for his.  And what the grant
 * of a subscription means (RFC 6121, 3.1.5): the contact gets the presence of
 * each session.
 *
 *     the copy changes, or a grant rings
 *         --> for each session here: affected --> told
 *
 * Each worker does so for its own sessions, whether it hears of the change by a
 * bell, a reply or from bind.  So what is told comes behind all presence that
 * the session has sent before, also where that is still under way to contacts:
 * both are told in the order in which Redis answered (ngx_xmpp_tell.c).
 *
 * Only a contact who gets the session's presence is told (RFC 6121, 4.2.2), or
 * one to whom it was directed (4.6), which the session knows itself.
 *
 * One of these belongs to the worker, from the heap, until all were told or
 * Redis did not answer; the session may end before.  The iq that made the
 * change is answered afterwards: it waits at the last one of its account.
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_BLOCK_POOL           1024


typedef struct {
    ngx_queue_t                 queue;      /* the worker's blocks */
    ngx_pool_t                 *pool;       /* this lies in it */
    ngx_xmpp_session_t         *session;    /* NULL: it has ended */
    ngx_xmpp_stanza_t          *waiting;    /* for it to be over */

    ngx_xmpp_store_session_t    record;
    ngx_str_t                   tag;
    ngx_xmpp_jid_t              jid;
    ngx_str_t                   sid;
    ngx_str_t                   jids;       /* lines, that have changed */
    ngx_xmpp_tell_t             tell;

    u_char                      what;       /* NGX_XMPP_STORE_BLOCKED, ... */
    unsigned                    holding:1;  /* what is newer than answers */
} ngx_xmpp_block_tell_t;


static ngx_int_t ngx_xmpp_block_diff(ngx_pool_t *pool, ngx_xmpp_block_t *one,
    ngx_xmpp_block_t *two, ngx_str_t *jids);
static void ngx_xmpp_block_directed(ngx_xmpp_session_t *xs);
static void ngx_xmpp_block_start(ngx_xmpp_session_t *xs, ngx_str_t *jids,
    u_char what);
static void ngx_xmpp_block_affected(void *data, ngx_xmpp_store_result_t *res);
static ngx_int_t ngx_xmpp_block_stanza(ngx_xmpp_block_tell_t *b,
    redisReply *reply);
static void ngx_xmpp_block_told(void *data, ngx_int_t rc);
static void ngx_xmpp_block_done(ngx_xmpp_block_tell_t *b);


/* the account has its new list, NULL or not, instead of old */

void
ngx_xmpp_block_tell(ngx_xmpp_account_t *a, ngx_xmpp_block_t *old)
{
    ngx_str_t            blocked, unblocked;
    ngx_pool_t          *pool;
    ngx_queue_t         *q;
    ngx_xmpp_session_t  *xs;

    if (a->block == NULL && old == NULL) {
        return;
    }

    pool = ngx_xmpp_worker_pool(a->worker);
    if (pool == NULL) {
        return;
    }

    if (ngx_xmpp_block_diff(pool, a->block, old, &blocked) != NGX_OK
        || ngx_xmpp_block_diff(pool, old, a->block, &unblocked) != NGX_OK)
    {
        goto done;
    }

    for (q = ngx_queue_head(&a->sessions);
         q != ngx_queue_sentinel(&a->sessions);
         q = ngx_queue_next(q))
    {
        xs = ngx_queue_data(q, ngx_xmpp_session_t, queue);

        if (xs->epoch == 0 || xs->ending || xs->displaced) {
            continue;
        }

        if (blocked.len) {
            ngx_xmpp_block_directed(xs);
            ngx_xmpp_block_start(xs, &blocked, NGX_XMPP_STORE_BLOCKED);
        }

        if (unblocked.len) {
            ngx_xmpp_block_start(xs, &unblocked, NGX_XMPP_STORE_UNBLOCKED);
        }
    }

done:

    ngx_xmpp_worker_pool_done(a->worker, pool);
}


/* those of one that two does not match, as lines; either may be NULL */

static ngx_int_t
ngx_xmpp_block_diff(ngx_pool_t *pool, ngx_xmpp_block_t *one,
    ngx_xmpp_block_t *two, ngx_str_t *jids)
{
    u_char          *p;
    size_t           len;
    ngx_uint_t       i;
    ngx_xmpp_jid_t   jid;

    ngx_str_null(jids);

    if (one == NULL) {
        return NGX_OK;
    }

    for (len = 0, i = 0; i < one->n; i++) {
        len += one->items[i].len + 1;
    }

    p = ngx_pnalloc(pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    jids->data = p;

    for (i = 0; i < one->n; i++) {
        ngx_xmpp_jid_slice(&one->items[i], &jid);

        if (two == NULL || !ngx_xmpp_block_match(two, &jid)) {
            p = ngx_cpymem(p, jid.full.data, jid.full.len);
            *p++ = LF;
        }
    }

    jids->len = p - jids->data;

    return NGX_OK;
}


/* those to whom presence was directed are not to be told a second time */

static void
ngx_xmpp_block_directed(ngx_xmpp_session_t *xs)
{
    ngx_str_t           stanza, sid;
    ngx_queue_t         directed;
    ngx_xmpp_tell_t     t;
    ngx_xmpp_packet_t  *pkt;

    ngx_queue_init(&directed);

    xs->directed = &directed;
    ngx_xmpp_feature_event(xs, NGX_XMPP_EVENT_BLOCK);
    xs->directed = NULL;

    if (ngx_queue_empty(&directed)) {
        return;
    }

    pkt = ngx_xmpp_packet_unavailable(xs->worker->log, &xs->jid.full,
                                      &xs->jid.bare);
    if (pkt == NULL) {
        ngx_xmpp_directed_free(&directed);
        return;
    }

    ngx_memzero(&t, sizeof(ngx_xmpp_tell_t));

    t.worker = xs->worker;
    t.user = xs->jid.bare;
    t.from = xs->jid.full;

    stanza.data = pkt->data;
    stanza.len = pkt->len;

    ngx_xmpp_session_own(xs, &sid);
    ngx_xmpp_tell_directed(&t, &directed, 0, &stanza, &sid, &xs->own);
    ngx_xmpp_packet_release(pkt);
}


/* RFC 6121, 3.1.5: a contact, a bare JID, gets the presence of a session */

void
ngx_xmpp_block_grant(ngx_xmpp_session_t *xs, ngx_str_t *contact)
{
    if (xs->epoch && !xs->ending && !xs->displaced) {
        ngx_xmpp_block_start(xs, contact, NGX_XMPP_STORE_GRANTED);
    }
}


static void
ngx_xmpp_block_start(ngx_xmpp_session_t *xs, ngx_str_t *jids, u_char what)
{
    ngx_pool_t             *pool;
    ngx_xmpp_block_tell_t  *b;

    pool = ngx_create_pool(NGX_XMPP_BLOCK_POOL, xs->worker->log);
    if (pool == NULL) {
        return;
    }

    b = ngx_pcalloc(pool, sizeof(ngx_xmpp_block_tell_t));
    if (b == NULL) {
        goto failed;
    }

    b->pool = pool;
    b->session = xs;
    b->what = what;
    b->tell.worker = xs->worker;

    b->tag = xs->account->sn.str;
    b->tag.data = ngx_pstrdup(pool, &xs->account->sn.str);

    b->sid = xs->sid;
    b->sid.data = ngx_pstrdup(pool, &xs->sid);

    b->jids = *jids;
    b->jids.data = ngx_pstrdup(pool, jids);

    if (b->tag.data == NULL || b->sid.data == NULL || b->jids.data == NULL
        || ngx_xmpp_jid_copy(pool, &xs->jid, &b->jid) != NGX_OK)
    {
        goto failed;
    }

    ngx_xmpp_session_record(xs, &b->record);

    b->record.tag = &b->tag;
    b->record.resource = &b->jid.resource;
    b->record.sid = &b->sid;
    b->record.flags = NULL;

    if (ngx_xmpp_store_affected(xs->worker->store, pool, &b->record, what,
                                &b->jids, ngx_xmpp_block_affected, b)
        == NULL)
    {
        goto failed;
    }

    ngx_queue_insert_tail(&xs->worker->blocks, &b->queue);

    return;

failed:

    ngx_log_error(NGX_LOG_ERR, xs->worker->log, 0,
                  "xmpp could not tell contacts of \"%V\" of a change of the "
                  "block list, or of a subscription", &xs->jid.full);

    ngx_destroy_pool(pool);
}


static void
ngx_xmpp_block_affected(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_block_tell_t *b = data;

    ngx_xmpp_tell_t  *t;

    t = &b->tell;

    /* not available, fenced, or Redis is away: there is nobody to tell */

    if (res->rc != NGX_OK
        || ngx_xmpp_tell_contacts(b->pool, res->reply, 2, &t->contacts)
           != NGX_OK
        || ngx_xmpp_block_stanza(b, res->reply) != NGX_OK)
    {
        ngx_xmpp_block_done(b);
        return;
    }

    t->user = b->jid.bare;
    t->from = b->jid.full;
    t->done = ngx_xmpp_block_told;
    t->data = b;

    if (b->what != NGX_XMPP_STORE_BLOCKED) {
        t->session = b->session;
    }

    if (b->what == NGX_XMPP_STORE_UNBLOCKED && t->contacts.len) {
        b->holding = 1;

        ngx_xmpp_session_hold(b->session);
    }

    if (ngx_xmpp_tell_start(t) != NGX_AGAIN) {
        ngx_xmpp_block_done(b);
    }
}


/* NGX_OK, NGX_DECLINED: nothing is to be said, NGX_ERROR */

static ngx_int_t
ngx_xmpp_block_stanza(ngx_xmpp_block_tell_t *b, redisReply *reply)
{
    ngx_str_t           s;
    redisReply         *r;
    ngx_xmpp_packet_t  *pkt;

    if (b->what == NGX_XMPP_STORE_BLOCKED) {
        pkt = ngx_xmpp_packet_unavailable(b->tell.worker->log, &b->jid.full,
                                          &b->jid.bare);
        if (pkt == NULL) {
            return NGX_ERROR;
        }

        b->tell.stanza.len = pkt->len;
        b->tell.stanza.data = ngx_pnalloc(b->pool, pkt->len);

        if (b->tell.stanza.data) {
            ngx_memcpy(b->tell.stanza.data, pkt->data, pkt->len);
        }

        ngx_xmpp_packet_release(pkt);

        return b->tell.stanza.data ? NGX_OK : NGX_ERROR;
    }

    /* its end, or its next presence, tells them; the record has no stanza
       when it was put back */

    if (b->session == NULL || b->session->displaced || reply->elements < 4
        || reply->element[3]->type != REDIS_REPLY_STRING
        || reply->element[3]->len == 0)
    {
        return NGX_DECLINED;
    }

    r = reply->element[3];

    s.data = (u_char *) r->str;
    s.len = r->len;

    b->tell.stanza.data = ngx_pstrdup(b->pool, &s);
    if (b->tell.stanza.data == NULL) {
        return NGX_ERROR;
    }

    b->tell.stanza.len = s.len;

    return NGX_OK;
}


static void
ngx_xmpp_block_told(void *data, ngx_int_t rc)
{
    ngx_xmpp_block_done(data);
}


static void
ngx_xmpp_block_done(ngx_xmpp_block_tell_t *b)
{
    ngx_xmpp_stanza_t  *stz, *next;

    ngx_queue_remove(&b->queue);

    if (b->holding && b->session) {
        ngx_xmpp_session_release(b->session);
    }

    stz = b->waiting;

    ngx_destroy_pool(b->pool);

    for ( /* void */ ; stz; stz = next) {
        next = stz->next;
        stz->next = NULL;

        ngx_xmpp_stanza_resume(stz, ngx_xmpp_reply(stz, NULL));
    }
}


/*
 * The iq has changed the list of its account: an empty result is sent when
 * those who are told by this worker were.
 */

void
ngx_xmpp_block_answer(ngx_xmpp_stanza_t *stz)
{
    ngx_str_t              *tag;
    ngx_queue_t            *q, *blocks;
    ngx_xmpp_block_tell_t  *b;

    tag = &stz->session->account->sn.str;
    blocks = &stz->session->worker->blocks;

    for (q = ngx_queue_last(blocks);
         q != ngx_queue_sentinel(blocks);
         q = ngx_queue_prev(q))
    {
        b = ngx_queue_data(q, ngx_xmpp_block_tell_t, queue);

        if (ngx_xmpp_str_eq(&b->tag, tag)) {
            stz->next = b->waiting;
            b->waiting = stz;
            return;
        }
    }

    ngx_xmpp_stanza_resume(stz, ngx_xmpp_reply(stz, NULL));
}


/* a session ends: what is under way for it goes on without it */

void
ngx_xmpp_block_left(ngx_xmpp_session_t *xs)
{
    ngx_queue_t            *q, *blocks;
    ngx_xmpp_block_tell_t  *b;

    blocks = &xs->worker->blocks;

    for (q = ngx_queue_head(blocks);
         q != ngx_queue_sentinel(blocks);
         q = ngx_queue_next(q))
    {
        b = ngx_queue_data(q, ngx_xmpp_block_tell_t, queue);

        if (b->session == xs) {
            b->session = NULL;
            b->tell.session = NULL;
        }
    }
}


/* the worker ends, and its store is closed */

void
ngx_xmpp_block_exit(ngx_xmpp_worker_t *w)
{
    ngx_queue_t            *q;
    ngx_xmpp_block_tell_t  *b;

    while (!ngx_queue_empty(&w->blocks)) {
        q = ngx_queue_head(&w->blocks);
        b = ngx_queue_data(q, ngx_xmpp_block_tell_t, queue);

        ngx_queue_remove(q);

        if (b->tell.pool) {
            ngx_destroy_pool(b->tell.pool);
        }

        ngx_destroy_pool(b->pool);
    }
}
