/*
 * The end of a session in Redis: its contacts are told, then its record goes
 * (RFC 6121, 4.5.2; cluster.md, rule 4).
 *
 *     waiting --> gone --no contacts-------------------------> done
 *        ^         |  \--fenced: another has told them-------> done
 *        |         v
 *        |       telling --all written--> the record goes ---> done
 *        '---------+-------- Redis is away: again later
 *
 * The session need not be one of this worker any more: what is left is its
 * record.  Whoever finds the record of a worker that has died calls the same;
 * one that may be resumed does not end then, but goes on here
 * (ngx_xmpp_take.c).
 * Until contacts were told, the record stays, in state g; whatever ends this
 * in between, somebody tells them again: twice does no harm, never does.
 *
 * So many are under way at a time.  A mass of them waits here, before the
 * first step and not behind it: whoever takes a resource meanwhile finds the
 * record as it was and tells contacts itself, and is not overtaken by an end
 * that was begun long ago.
 *
 * A node comes from the heap with copies of all it needs; what one try needs
 * has a pool of its own.
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_LEAVE_FLIGHT         256
#define NGX_XMPP_LEAVE_MAX            65536   /* waiting while Redis is away */
#define NGX_XMPP_LEAVE_AGAIN          1000    /* milliseconds */
#define NGX_XMPP_LEAVE_POOL           1024


typedef struct {
    ngx_queue_t                 queue;      /* of the worker: one of two */
    ngx_xmpp_worker_t          *worker;
    ngx_pool_t                 *pool;       /* of this try, or NULL */
    ngx_xmpp_packet_t          *packet;     /* its unavailable presence */
    ngx_queue_t                 directed;   /* of ngx_xmpp_directed_t */

    ngx_str_t                   tag;
    ngx_str_t                   full;
    ngx_str_t                   bare;       /* begins full */
    ngx_str_t                   resource;   /* ends it */
    ngx_str_t                   sid;
    uint64_t                    counter;
    ngx_xmpp_store_session_t    record;
    ngx_xmpp_tell_t             tell;
    ngx_xmpp_take_t            *take;       /* it goes on here, or NULL */

    ngx_uint_t                  flight;     /* answers to come */
    void                      (*done)(void *data, ngx_int_t rc);
    void                       *data;

    unsigned                    dead:1;     /* its worker has died */
    unsigned                    held:1;     /* the record's session goes on */
    unsigned                    listed:1;   /* on its worker's list */
    unsigned                    active:1;   /* counted as under way */
    unsigned                    failed:1;   /* this try */
} ngx_xmpp_leave_t;


static u_char *ngx_xmpp_leave_copy(u_char *p, ngx_str_t *dst, ngx_str_t *src);
static ngx_xmpp_leave_t *ngx_xmpp_leave_create(ngx_xmpp_worker_t *w,
    ngx_xmpp_leaving_t *l);
static void ngx_xmpp_leave_next(ngx_xmpp_worker_t *w);
static void ngx_xmpp_leave_start(ngx_xmpp_leave_t *lv);
static void ngx_xmpp_leave_gone(void *data, ngx_xmpp_store_result_t *res);
static ngx_uint_t ngx_xmpp_leave_resumable(ngx_xmpp_store_result_t *res);
static void ngx_xmpp_leave_take(ngx_xmpp_leave_t *lv);
static void ngx_xmpp_leave_anyhow(ngx_xmpp_leave_t *lv);
static void ngx_xmpp_leave_taken(void *data, ngx_xmpp_session_t *xs,
    ngx_int_t rc);
static ngx_int_t ngx_xmpp_leave_tell(ngx_xmpp_leave_t *lv,
    ngx_xmpp_store_result_t *res);
static void ngx_xmpp_leave_sent(void *data);
static void ngx_xmpp_leave_told(void *data, ngx_int_t rc);
static void ngx_xmpp_leave_ended(void *data, ngx_xmpp_store_result_t *res);
static void ngx_xmpp_leave_tried(ngx_xmpp_leave_t *lv);
static void ngx_xmpp_leave_later(ngx_xmpp_leave_t *lv);
static void ngx_xmpp_leave_done(ngx_xmpp_leave_t *lv, ngx_int_t rc);
static void ngx_xmpp_leave_free(ngx_xmpp_leave_t *lv);


/*
 * Ends the record of a session and tells its contacts, its account's other
 * resources, and l->directed, whose nodes are taken.  Everything is copied.
 * l->done(data, rc), if any, is called later, once: NGX_OK: it has ended;
 * NGX_DECLINED: there is no such record, or another session has it;
 * NGX_ERROR: Redis refused it, the record stays.  While Redis is away it is
 * tried again, but not what is done for a worker that has died: that is an
 * error.  Returns NGX_OK, or NGX_ERROR: done is not called.
 */

ngx_int_t
ngx_xmpp_leave(ngx_xmpp_worker_t *w, ngx_xmpp_leaving_t *l)
{
    ngx_xmpp_leave_t  *lv;

    lv = (w->nleaves < NGX_XMPP_LEAVE_MAX) ? ngx_xmpp_leave_create(w, l)
                                           : NULL;

    if (lv == NULL) {
        ngx_log_error(NGX_LOG_ERR, w->log, 0,
                      "xmpp cannot end the session of \"%V\" in Redis, "
                      "%ui others wait for it", &l->bare, w->nleaves);

        if (l->directed) {
            ngx_xmpp_directed_free(l->directed);
        }

        return NGX_ERROR;
    }

    w->nleaves++;
    w->stats->gauges.leaves++;

    /* what is held goes before the presence of its session */

    if (lv->held) {
        ngx_queue_insert_tail(&w->leaving, &lv->queue);
        ngx_xmpp_leave_start(lv);
        return NGX_OK;
    }

    ngx_queue_insert_tail(&w->leaves, &lv->queue);
    ngx_xmpp_leave_next(w);

    return NGX_OK;
}


/*
 * The account of a session was removed, and its record with it: who removed it
 * tells contacts, and those who got directed presence are told here.  Their
 * nodes are taken.
 */

void
ngx_xmpp_leave_removed(ngx_xmpp_worker_t *w, ngx_xmpp_leaving_t *l)
{
    ngx_str_t           stanza;
    ngx_pool_t         *pool;
    ngx_xmpp_tell_t     t;
    ngx_xmpp_packet_t  *pkt;

    if (ngx_queue_empty(l->directed)) {
        return;
    }

    ngx_memzero(&t, sizeof(ngx_xmpp_tell_t));

    t.worker = w;
    t.user = l->bare;

    pool = ngx_xmpp_worker_pool(w);
    if (pool == NULL) {
        return;
    }

    t.from.len = l->bare.len + 1 + l->resource.len;
    t.from.data = ngx_pnalloc(pool, t.from.len);

    if (t.from.data) {
        ngx_sprintf(t.from.data, "%V/%V", &l->bare, &l->resource);

        pkt = ngx_xmpp_packet_unavailable(w->log, &t.from, &l->bare);

        if (pkt) {
            stanza.data = pkt->data;
            stanza.len = pkt->len;

            ngx_xmpp_tell_directed(&t, l->directed, 1, &stanza, &l->sid,
                                   &l->counter);
            ngx_xmpp_packet_release(pkt);
        }
    }

    ngx_xmpp_worker_pool_done(w, pool);
}


static ngx_xmpp_leave_t *
ngx_xmpp_leave_create(ngx_xmpp_worker_t *w, ngx_xmpp_leaving_t *l)
{
    u_char            *p;
    ngx_str_t          full, tag, boot;
    ngx_pool_t        *pool;
    ngx_xmpp_leave_t  *lv;

    lv = NULL;
    pool = ngx_xmpp_worker_pool(w);
    if (pool == NULL) {
        return NULL;
    }

    full.len = l->bare.len + 1 + l->resource.len;
    full.data = ngx_pnalloc(pool, full.len);

    if (full.data == NULL
        || ngx_xmpp_store_tag(pool, &l->bare, &tag) != NGX_OK)
    {
        goto failed;
    }

    ngx_sprintf(full.data, "%V/%V", &l->bare, &l->resource);

    boot.len = l->own ? sizeof(w->boot) : l->boot.len;
    boot.data = l->own ? w->boot : l->boot.data;

    lv = ngx_calloc(sizeof(ngx_xmpp_leave_t) + tag.len + full.len + l->sid.len
                    + boot.len, w->log);
    if (lv == NULL) {
        goto failed;
    }

    lv->packet = ngx_xmpp_packet_unavailable(w->log, &full, &l->bare);
    if (lv->packet == NULL) {
        ngx_free(lv);
        lv = NULL;
        goto failed;
    }

    p = (u_char *) lv + sizeof(ngx_xmpp_leave_t);

    p = ngx_xmpp_leave_copy(p, &lv->tag, &tag);
    p = ngx_xmpp_leave_copy(p, &lv->full, &full);
    p = ngx_xmpp_leave_copy(p, &lv->sid, &l->sid);
    (void) ngx_xmpp_leave_copy(p, &lv->record.boot, &boot);

    lv->bare.data = lv->full.data;
    lv->bare.len = l->bare.len;

    lv->resource.data = lv->full.data + l->bare.len + 1;
    lv->resource.len = l->resource.len;

    lv->dead = (l->boot.len != 0);
    lv->record.dead = lv->dead;

    lv->worker = w;
    lv->held = l->held;
    lv->listed = l->listed;
    lv->counter = l->counter;
    lv->done = l->done;
    lv->data = l->data;

    lv->record.tag = &lv->tag;
    lv->record.resource = &lv->resource;
    lv->record.sid = &lv->sid;
    lv->record.epoch = l->epoch;

    ngx_queue_init(&lv->directed);

    if (l->directed && !ngx_queue_empty(l->directed)) {
        ngx_queue_add(&lv->directed, l->directed);
        ngx_queue_init(l->directed);
    }

failed:

    ngx_xmpp_worker_pool_done(w, pool);

    return lv;
}


static u_char *
ngx_xmpp_leave_copy(u_char *p, ngx_str_t *dst, ngx_str_t *src)
{
    dst->data = p;
    dst->len = src->len;

    return ngx_cpymem(p, src->data, src->len);
}


/*
 * Those who have waited longest, as many as may be under way; one when Redis
 * has refused the last one, as each is a line of the log.
 */

static void
ngx_xmpp_leave_next(ngx_xmpp_worker_t *w)
{
    ngx_queue_t       *q;
    ngx_xmpp_leave_t  *lv;

    while (!ngx_queue_empty(&w->leaves)
           && w->nleaving < (w->leave_refused ? 1 : NGX_XMPP_LEAVE_FLIGHT)
           && !w->again_leave.timer_set)
    {
        q = ngx_queue_head(&w->leaves);
        lv = ngx_queue_data(q, ngx_xmpp_leave_t, queue);

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&w->leaving, q);

        lv->active = 1;
        w->nleaving++;

        ngx_xmpp_leave_start(lv);
    }
}


static void
ngx_xmpp_leave_start(ngx_xmpp_leave_t *lv)
{
    ngx_str_t  stanza;

    lv->failed = 0;
    lv->flight = 0;

    if (lv->dead && ngx_xmpp_reaper_stopped(lv->worker)) {
        ngx_xmpp_leave_done(lv, NGX_ERROR);
        return;
    }

    lv->pool = ngx_create_pool(NGX_XMPP_LEAVE_POOL, lv->worker->log);

    if (lv->pool == NULL) {
        ngx_xmpp_leave_later(lv);
        return;
    }

    stanza.data = lv->packet->data;
    stanza.len = lv->packet->len;

    if (ngx_xmpp_store_gone(lv->worker->store, lv->pool, &lv->record, &stanza,
                            lv->held, ngx_xmpp_leave_gone, lv)
        == NULL)
    {
        ngx_xmpp_leave_later(lv);
    }
}


static void
ngx_xmpp_leave_gone(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_leave_t *lv = data;

    lv->worker->leave_refused = (res->rc == NGX_AGAIN && res->reply);

    if (res->rc == NGX_DECLINED) {

        if (lv->record.dead && ngx_xmpp_leave_resumable(res)) {
            ngx_xmpp_leave_take(lv);

        } else {
            ngx_xmpp_leave_done(lv, NGX_DECLINED);
        }

        return;
    }

    if (res->rc != NGX_OK) {

        /* refused before it ran, as by a master without its replicas */

        if (res->reply == NULL || lv->worker->leave_refused) {
            ngx_xmpp_leave_later(lv);

        } else {
            ngx_xmpp_leave_done(lv, NGX_ERROR);
        }

        return;
    }

    if (res->number) {
        ngx_xmpp_registry_rung(lv->worker, &lv->tag, res->number);
    }

    /* the record's own, when the answer to bind was lost */

    lv->record.epoch = res->epoch;

    switch (ngx_xmpp_leave_tell(lv, res)) {

    case NGX_OK:
        ngx_xmpp_leave_done(lv, NGX_OK);
        return;

    case NGX_ERROR:
        ngx_xmpp_leave_later(lv);
        return;
    }
}


static ngx_uint_t
ngx_xmpp_leave_resumable(ngx_xmpp_store_result_t *res)
{
    redisReply  *first;

    if (res->reply == NULL || res->reply->type != REDIS_REPLY_ARRAY
        || res->reply->elements == 0)
    {
        return 0;
    }

    first = res->reply->element[0];

    return first->type == REDIS_REPLY_STRING
           && ngx_strcmp(first->str, "resumable") == 0;
}


/* its client may come back (XEP-0198, 5): it waits for that here from now on */

static void
ngx_xmpp_leave_take(ngx_xmpp_leave_t *lv)
{
    ngx_xmpp_jid_t      jid;
    ngx_xmpp_taking_t   t;

    ngx_memzero(&t, sizeof(ngx_xmpp_taking_t));

    ngx_xmpp_jid_slice(&lv->full, &jid);

    t.host = ngx_xmpp_host_find(ngx_stream_cycle_get_module_main_conf(
                                    lv->worker->cycle, ngx_xmpp_module),
                                &jid.domain);
    t.local = jid.local;
    t.resource = lv->resource;
    t.sid = lv->sid;
    t.dead = lv->record.boot;
    t.taker.done = ngx_xmpp_leave_taken;
    t.taker.data = lv;

    if (t.host == NULL || t.host->sm == NULL) {
        ngx_xmpp_leave_anyhow(lv);
        return;
    }

    lv->take = ngx_xmpp_take(lv->worker, &t);

    /* it stays on the list */

    if (lv->take == NULL) {
        ngx_xmpp_leave_done(lv, NGX_ERROR);
    }
}


/*
 * One that could be resumed, but not here, since this worker has no such host,
 * or none that lets sessions be resumed; or that nobody may take any more, as
 * its account was disabled.
 */

static void
ngx_xmpp_leave_anyhow(ngx_xmpp_leave_t *lv)
{
    ngx_destroy_pool(lv->pool);
    lv->pool = NULL;

    lv->record.dead = 0;

    ngx_xmpp_leave_start(lv);
}


static void
ngx_xmpp_leave_taken(void *data, ngx_xmpp_session_t *xs, ngx_int_t rc)
{
    ngx_xmpp_leave_t *lv = data;

    lv->take = NULL;

    /* if another has taken it, the record is not that of the dead one */

    if (rc == NGX_DECLINED) {
        ngx_xmpp_leave_anyhow(lv);
        return;
    }

    ngx_xmpp_leave_done(lv, rc);
}


/*
 * The answer of gone: those who got directed presence, then the contacts.
 * NGX_AGAIN; NGX_OK: there are no contacts; NGX_ERROR: no memory.
 */

static ngx_int_t
ngx_xmpp_leave_tell(ngx_xmpp_leave_t *lv, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_tell_t  *t;

    t = &lv->tell;

    ngx_memzero(t, sizeof(ngx_xmpp_tell_t));

    t->worker = lv->worker;
    t->user = lv->bare;
    t->from = lv->full;
    t->stanza.data = lv->packet->data;
    t->stanza.len = lv->packet->len;
    t->sent = ngx_xmpp_leave_sent;
    t->done = ngx_xmpp_leave_told;
    t->data = lv;
    t->once = 1;

    if (ngx_xmpp_tell_contacts(lv->pool, res->reply, 3, &t->contacts)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* a number: the account's other resources have been told */

    ngx_xmpp_tell_directed(t, &lv->directed, res->number != 0, &t->stanza,
                           &lv->sid, &lv->counter);

    if (t->contacts.len == 0) {
        return NGX_OK;
    }

    lv->flight++;

    return ngx_xmpp_tell_start(t);
}


/* all contacts are written: what takes the record away goes along */

static void
ngx_xmpp_leave_sent(void *data)
{
    ngx_xmpp_leave_t *lv = data;

    if (ngx_xmpp_store_told(lv->worker->store, lv->pool, &lv->record,
                            !lv->held, ngx_xmpp_leave_ended, lv)
        == NULL)
    {
        lv->failed = 1;
        return;
    }

    lv->flight++;
}


static void
ngx_xmpp_leave_told(void *data, ngx_int_t rc)
{
    ngx_xmpp_leave_t *lv = data;

    if (rc != NGX_OK) {
        lv->failed = 1;
    }

    ngx_xmpp_leave_tried(lv);
}


static void
ngx_xmpp_leave_ended(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_leave_t *lv = data;

    if (res->rc != NGX_OK && res->reply == NULL) {
        lv->failed = 1;
    }

    ngx_xmpp_leave_tried(lv);
}


/* one of the answers; after the last one it has ended, or is tried again */

static void
ngx_xmpp_leave_tried(ngx_xmpp_leave_t *lv)
{
    if (--lv->flight) {
        return;
    }

    if (lv->failed) {
        ngx_xmpp_leave_later(lv);
        return;
    }

    ngx_xmpp_leave_done(lv, NGX_OK);
}


/* Redis is away, or too busy: nothing is begun for a while */

static void
ngx_xmpp_leave_later(ngx_xmpp_leave_t *lv)
{
    ngx_xmpp_worker_t  *w;

    w = lv->worker;

    if (lv->pool) {
        ngx_destroy_pool(lv->pool);
        lv->pool = NULL;
    }

    if (lv->active) {
        lv->active = 0;
        w->nleaving--;
    }

    if (!w->again_leave.timer_set) {
        ngx_add_timer(&w->again_leave, NGX_XMPP_LEAVE_AGAIN);
    }

    /* the session that holds the record tells them at its own end */

    if (lv->held || lv->dead) {
        ngx_xmpp_leave_done(lv, NGX_ERROR);
        return;
    }

    ngx_queue_remove(&lv->queue);
    ngx_queue_insert_tail(&w->leaves, &lv->queue);
}


/* Redis may be back; the event's data is the worker */

void
ngx_xmpp_leave_again_handler(ngx_event_t *ev)
{
    ngx_xmpp_worker_t  *w;

    w = ev->data;

    if (w->drained || ngx_queue_empty(&w->leaves)) {
        return;
    }

    if (!ngx_xmpp_store_ready(w->store)) {
        ngx_add_timer(ev, NGX_XMPP_LEAVE_AGAIN);
        return;
    }

    ngx_xmpp_leave_next(w);
}


static void
ngx_xmpp_leave_done(ngx_xmpp_leave_t *lv, ngx_int_t rc)
{
    void               *data;
    ngx_xmpp_worker_t  *w;

    void  (*done)(void *data, ngx_int_t rc);

    w = lv->worker;
    done = lv->done;
    data = lv->data;

    if (lv->active) {
        w->nleaving--;
    }

    if (lv->listed && rc != NGX_ERROR) {
        ngx_xmpp_heartbeat_unlist(w, lv->dead ? &lv->record.boot : NULL,
                                  &lv->sid);
    }

    ngx_queue_remove(&lv->queue);
    ngx_xmpp_leave_free(lv);

    if (done) {
        done(data, rc);
    }

    ngx_xmpp_leave_next(w);
}


/* it is in no queue */

static void
ngx_xmpp_leave_free(ngx_xmpp_leave_t *lv)
{
    lv->worker->nleaves--;
    lv->worker->stats->gauges.leaves--;

    ngx_xmpp_directed_free(&lv->directed);
    ngx_xmpp_packet_release(lv->packet);

    if (lv->pool) {
        ngx_destroy_pool(lv->pool);
    }

    ngx_free(lv);
}


/* the worker ends: nothing is told any more, and the store is closed */

void
ngx_xmpp_leave_exit(ngx_xmpp_worker_t *w)
{
    ngx_uint_t         i;
    ngx_queue_t       *q, *queues[2];
    ngx_xmpp_leave_t  *lv;

    queues[0] = &w->leaves;
    queues[1] = &w->leaving;

    for (i = 0; i < 2; i++) {
        while (!ngx_queue_empty(queues[i])) {
            q = ngx_queue_head(queues[i]);
            lv = ngx_queue_data(q, ngx_xmpp_leave_t, queue);

            if (lv->tell.pool) {
                ngx_destroy_pool(lv->tell.pool);
            }

            if (lv->take) {
                ngx_xmpp_take_leave(lv->take, lv);
            }

            ngx_queue_remove(q);
            ngx_xmpp_leave_free(lv);
        }
    }
}


/* frees the nodes; the queue is empty afterwards */

void
ngx_xmpp_directed_free(ngx_queue_t *directed)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(directed)) {
        q = ngx_queue_head(directed);
        ngx_queue_remove(q);
        ngx_free(ngx_queue_data(q, ngx_xmpp_directed_t, queue));
    }
}
