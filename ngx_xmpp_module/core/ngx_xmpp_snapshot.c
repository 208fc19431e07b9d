/*
 * Presence of others for a session that did not hear it for a while, since its
 * worker has died, has drained (cluster.md, rule 14), or was not connected to
 * Redis: it is asked as at the start (RFC 6121, 4.2.2, 4.3.2).
 *
 *     xmpp1_snapshot --ok--> contacts, one write to all --> answers --> done
 *           '--fenced, Redis is away: that is all
 *
 * A contact who is not available answers nothing: the client hears that he is
 * unavailable, since he may have gone meanwhile.  What rings is newer, and is
 * held back until the last answer.
 *
 * If the session goes to another worker before that, it is said, and that one
 * asks again (ngx_xmpp_take_state.c).
 *
 * It is on the heap, with a pool of its own.  The session may end meanwhile:
 * its pool's cleanup says so, and the answers go nowhere.
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_SNAPSHOT_POOL        1024
#define NGX_XMPP_SNAPSHOTS            7       /* of a session, in three bits */


typedef struct {
    ngx_queue_t                 queue;      /* of the worker */
    ngx_pool_t                 *pool;       /* this lies in it */
    ngx_pool_cleanup_t         *cleanup;    /* of the session */
    ngx_str_t                   tag;
    ngx_xmpp_jid_t              jid;
    ngx_str_t                   sid;
    ngx_xmpp_store_session_t    record;
    ngx_xmpp_tell_t             tell;
} ngx_xmpp_snapshot_t;


static ngx_int_t ngx_xmpp_snapshot_fill(ngx_xmpp_snapshot_t *sn,
    ngx_xmpp_session_t *xs);
static void ngx_xmpp_snapshot_parted(void *data);
static void ngx_xmpp_snapshot_got(void *data, ngx_xmpp_store_result_t *res);
static void ngx_xmpp_snapshot_own(ngx_xmpp_session_t *xs, redisReply *reply);
static void ngx_xmpp_snapshot_told(void *data, ngx_int_t rc);
static void ngx_xmpp_snapshot_free(ngx_xmpp_snapshot_t *sn);


/* for one that is available; nobody waits for it */

void
ngx_xmpp_snapshot(ngx_xmpp_session_t *xs)
{
    ngx_pool_t           *pool;
    ngx_xmpp_snapshot_t  *sn;

    /* the last of so many are not done yet */

    if (!xs->available || xs->snapshots == NGX_XMPP_SNAPSHOTS) {
        return;
    }

    pool = ngx_create_pool(NGX_XMPP_SNAPSHOT_POOL, xs->worker->log);
    if (pool == NULL) {
        return;
    }

    sn = ngx_pcalloc(pool, sizeof(ngx_xmpp_snapshot_t));

    if (sn == NULL) {
        ngx_destroy_pool(pool);
        return;
    }

    sn->pool = pool;

    if (ngx_xmpp_snapshot_fill(sn, xs) != NGX_OK
        || ngx_xmpp_store_snapshot(xs->worker->store, pool, &sn->record,
                                   ngx_xmpp_snapshot_got, sn)
           == NULL)
    {
        if (sn->cleanup) {
            sn->cleanup->handler = NULL;
        }

        ngx_destroy_pool(pool);
        return;
    }

    ngx_queue_insert_tail(&xs->worker->snapshots, &sn->queue);

    xs->snapshots++;
    ngx_xmpp_session_hold(xs);
}


static ngx_int_t
ngx_xmpp_snapshot_fill(ngx_xmpp_snapshot_t *sn, ngx_xmpp_session_t *xs)
{
    ngx_str_t           stanza;
    ngx_xmpp_tell_t    *t;
    ngx_xmpp_packet_t  *pkt;

    t = &sn->tell;

    if (ngx_xmpp_jid_copy(sn->pool, &xs->jid, &sn->jid) != NGX_OK) {
        return NGX_ERROR;
    }

    sn->tag.len = xs->account->sn.str.len;
    sn->tag.data = ngx_pstrdup(sn->pool, &xs->account->sn.str);

    sn->sid.len = xs->sid.len;
    sn->sid.data = ngx_pstrdup(sn->pool, &xs->sid);

    sn->cleanup = ngx_pool_cleanup_add(xs->pool, 0);

    if (sn->tag.data == NULL || sn->sid.data == NULL || sn->cleanup == NULL) {
        return NGX_ERROR;
    }

    sn->cleanup->handler = ngx_xmpp_snapshot_parted;
    sn->cleanup->data = sn;

    sn->record.tag = &sn->tag;
    sn->record.resource = &sn->jid.resource;
    sn->record.sid = &sn->sid;
    sn->record.epoch = xs->epoch;

    /* nobody is told anything, but a stanza has to be there */

    pkt = ngx_xmpp_packet_unavailable(xs->worker->log, &xs->jid.full,
                                      &xs->jid.bare);
    if (pkt == NULL) {
        return NGX_ERROR;
    }

    stanza.data = pkt->data;
    stanza.len = pkt->len;

    t->stanza.len = pkt->len;
    t->stanza.data = ngx_pstrdup(sn->pool, &stanza);

    ngx_xmpp_packet_release(pkt);

    t->worker = xs->worker;
    t->session = xs;
    t->user = sn->jid.bare;
    t->from = sn->jid.full;
    t->done = ngx_xmpp_snapshot_told;
    t->data = sn;
    t->absent = 1;

    return t->stanza.data ? NGX_OK : NGX_ERROR;
}


/* the session is freed */

static void
ngx_xmpp_snapshot_parted(void *data)
{
    ngx_xmpp_snapshot_t *sn = data;

    sn->tell.session = NULL;
    sn->cleanup = NULL;
}


static void
ngx_xmpp_snapshot_got(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_snapshot_t *sn = data;

    if (res->rc != NGX_OK || sn->tell.session == NULL
        || ngx_xmpp_tell_contacts(sn->pool, res->reply, 3,
                                  &sn->tell.contacts)
           != NGX_OK)
    {
        ngx_xmpp_snapshot_free(sn);
        return;
    }

    ngx_xmpp_snapshot_own(sn->tell.session, res->reply);

    if (ngx_xmpp_tell_start(&sn->tell) != NGX_AGAIN) {
        ngx_xmpp_snapshot_free(sn);
    }
}


static void
ngx_xmpp_snapshot_own(ngx_xmpp_session_t *xs, redisReply *reply)
{
    size_t              i;
    redisReply         *r;
    ngx_xmpp_packet_t  *pkt;

    for (i = 4; i < reply->elements; i++) {
        r = reply->element[i];

        if (r->type != REDIS_REPLY_STRING
            || !ngx_xmpp_session_room(xs, r->len))
        {
            continue;
        }

        pkt = ngx_xmpp_packet_copy(xs->worker->log, (u_char *) r->str, r->len);
        if (pkt == NULL) {
            return;
        }

        ngx_xmpp_session_output(xs, pkt);
        ngx_xmpp_packet_release(pkt);
    }
}


static void
ngx_xmpp_snapshot_told(void *data, ngx_int_t rc)
{
    ngx_xmpp_snapshot_free(data);
}


static void
ngx_xmpp_snapshot_free(ngx_xmpp_snapshot_t *sn)
{
    ngx_xmpp_session_t  *xs;

    xs = sn->tell.session;

    if (sn->cleanup) {
        sn->cleanup->handler = NULL;
    }

    ngx_queue_remove(&sn->queue);
    ngx_destroy_pool(sn->pool);

    if (xs) {
        xs->snapshots--;
        ngx_xmpp_session_release(xs);
    }
}


/* the worker ends, and the store is closed */

void
ngx_xmpp_snapshot_exit(ngx_xmpp_worker_t *w)
{
    ngx_queue_t          *q;
    ngx_xmpp_snapshot_t  *sn;

    while (!ngx_queue_empty(&w->snapshots)) {
        q = ngx_queue_head(&w->snapshots);
        sn = ngx_queue_data(q, ngx_xmpp_snapshot_t, queue);

        if (sn->tell.pool) {
            ngx_destroy_pool(sn->tell.pool);
        }

        sn->tell.session = NULL;
        ngx_xmpp_snapshot_free(sn);
    }
}
