/*
 * The registry: which accounts have a session in this worker, and the bells
 * that ring for them.
 *
 * An account node exists while it has a session here, and subscribes to the
 * account's channel once.  Bells are numbered per account; the node keeps the
 * last number heard and the highest number that this worker rang itself:
 * while the second is ahead, a bell is still on its way, and nothing may
 * overtake it by a local shortcut (cluster.md, rule 6).
 *
 * After a lost subscriber connection all nodes subscribe again; after that,
 * and after a lost command connection, all sessions put their record back, in
 * case Redis lost it, and learn from it what they did not hear.  Nodes come
 * from the heap and are freed with their last session.
 *
 * A subscription that Redis refuses (an ACL) does not end the connection: one
 * of the nodes asks again each second, and when it may, all do.
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_REGISTRY_AGAIN  1000   /* ms */


static void ngx_xmpp_registry_subscribed(void *data,
    ngx_xmpp_store_result_t *res);
static void ngx_xmpp_registry_all_again(ngx_xmpp_worker_t *w);
static void ngx_xmpp_registry_heard(ngx_xmpp_account_t *a,
    ngx_xmpp_store_bell_t *bell);
static void ngx_xmpp_registry_stanza(ngx_xmpp_account_t *a,
    ngx_xmpp_store_bell_t *bell);
static void ngx_xmpp_registry_owed(ngx_xmpp_account_t *a,
    ngx_xmpp_store_bell_t *bell);
static void ngx_xmpp_registry_missed(ngx_xmpp_account_t *a);
static void ngx_xmpp_registry_block(ngx_xmpp_account_t *a,
    ngx_xmpp_store_bell_t *bell);
static void ngx_xmpp_registry_carbons(ngx_xmpp_account_t *a,
    ngx_xmpp_store_bell_t *bell);
static void ngx_xmpp_registry_grant(ngx_xmpp_account_t *a,
    ngx_xmpp_store_bell_t *bell);
static void ngx_xmpp_registry_kick(ngx_xmpp_account_t *a,
    ngx_xmpp_store_bell_t *bell);
static ngx_int_t ngx_xmpp_registry_target(ngx_xmpp_account_t *a, u_char **pos,
    u_char *last, ngx_xmpp_session_t **xsp, u_char *mark);
static ngx_int_t ngx_xmpp_registry_next(ngx_xmpp_account_t *a, u_char **pos,
    u_char *last, ngx_xmpp_session_t **xsp, uint64_t *epochp, u_char *mark);


/* the node of a key tag, made if there is none; NULL: no memory */

ngx_xmpp_account_t *
ngx_xmpp_registry_get(ngx_xmpp_worker_t *w, ngx_str_t *tag)
{
    ngx_xmpp_account_t  *a;

    a = ngx_xmpp_registry_find(w, tag);
    if (a != NULL) {
        return a;
    }

    a = ngx_alloc(sizeof(ngx_xmpp_account_t) + tag->len, w->log);
    if (a == NULL) {
        return NULL;
    }

    ngx_memzero(a, sizeof(ngx_xmpp_account_t));

    a->worker = w;
    a->sn.str.len = tag->len;
    a->sn.str.data = (u_char *) a + sizeof(ngx_xmpp_account_t);
    ngx_memcpy(a->sn.str.data, tag->data, tag->len);
    a->sn.node.key = ngx_crc32_short(tag->data, tag->len);

    ngx_queue_init(&a->sessions);
    ngx_rbtree_insert(&w->accounts, &a->sn.node);

    return a;
}


ngx_xmpp_account_t *
ngx_xmpp_registry_find(ngx_xmpp_worker_t *w, ngx_str_t *tag)
{
    return (ngx_xmpp_account_t *)
               ngx_str_rbtree_lookup(&w->accounts, tag,
                                     ngx_crc32_short(tag->data, tag->len));
}


/*
 * Begins to subscribe unless it is under way; all sessions that wait are told
 * later.  NGX_OK, or NGX_ERROR: nothing was sent.
 */

ngx_int_t
ngx_xmpp_registry_subscribe(ngx_xmpp_account_t *a)
{
    if (a->req) {
        return NGX_OK;
    }

    a->req = ngx_xmpp_store_subscribe(a->worker->store, &a->sn.str,
                                      ngx_xmpp_registry_subscribed, a);

    return a->req ? NGX_OK : NGX_ERROR;
}


static void
ngx_xmpp_registry_subscribed(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_account_t *a = data;

    ngx_queue_t         *q, *next;
    ngx_xmpp_session_t  *xs;

    a->req = NULL;
    a->subscribed = (res->rc == NGX_OK);

    if (!a->subscribed) {
        a->worker->refused = 1;

        if (!a->worker->again.timer_set) {
            ngx_add_timer(&a->worker->again, NGX_XMPP_REGISTRY_AGAIN);
        }

    } else if (a->worker->refused) {
        ngx_xmpp_registry_all_again(a->worker);
    }

    /* a session that fails leaves the queue, the last one frees the node */

    for (q = ngx_queue_head(&a->sessions); /* void */ ; q = next) {
        xs = ngx_queue_data(q, ngx_xmpp_session_t, queue);
        next = ngx_queue_next(q);

        if (next == ngx_queue_sentinel(&a->sessions)) {
            ngx_xmpp_session_subscribed(xs, res->rc);
            return;
        }

        ngx_xmpp_session_subscribed(xs, res->rc);
    }
}


/* one node for all: what is refused to it is refused to the others, too */

void
ngx_xmpp_registry_again_handler(ngx_event_t *ev)
{
    ngx_rbtree_node_t   *node;
    ngx_xmpp_worker_t   *w;
    ngx_xmpp_account_t  *a;

    w = ev->data;

    if (w->drained || w->accounts.root == w->accounts.sentinel) {
        return;
    }

    for (node = ngx_rbtree_min(w->accounts.root, w->accounts.sentinel);
         node;
         node = ngx_rbtree_next(&w->accounts, node))
    {
        a = (ngx_xmpp_account_t *) node;

        if (a->subscribed || a->req) {
            continue;
        }

        if (ngx_xmpp_registry_subscribe(a) != NGX_OK) {
            ngx_add_timer(ev, NGX_XMPP_REGISTRY_AGAIN);
        }

        return;
    }
}


/* one was confirmed: now the others, but for those that are under way */

static void
ngx_xmpp_registry_all_again(ngx_xmpp_worker_t *w)
{
    ngx_uint_t           n;
    ngx_rbtree_node_t   *node;
    ngx_xmpp_account_t  *a;

    w->refused = 0;
    n = 0;

    for (node = ngx_rbtree_min(w->accounts.root, w->accounts.sentinel);
         node;
         node = ngx_rbtree_next(&w->accounts, node))
    {
        a = (ngx_xmpp_account_t *) node;

        if (a->subscribed || a->req) {
            continue;
        }

        if (ngx_xmpp_registry_subscribe(a) != NGX_OK) {
            w->refused = 1;
            continue;
        }

        n++;
    }

    if (w->refused && !w->again.timer_set) {
        ngx_add_timer(&w->again, NGX_XMPP_REGISTRY_AGAIN);
    }

    if (n) {
        ngx_log_error(NGX_LOG_NOTICE, w->log, 0,
                      "xmpp may subscribe again; %ui more accounts do", n);
    }
}


/* a session has left: the last one takes the node and its channel along */

void
ngx_xmpp_registry_leave(ngx_xmpp_account_t *a)
{
    if (!ngx_queue_empty(&a->sessions)) {
        return;
    }

    ngx_xmpp_confirm_leave(a);
    ngx_xmpp_store_unsubscribe(a->worker->store, &a->sn.str, a->req);

    ngx_rbtree_delete(&a->worker->accounts, &a->sn.node);
    ngx_xmpp_block_free(a->block);
    ngx_free(a);
}


/* a bell from the store; data is the worker */

void
ngx_xmpp_registry_doorbell(void *data, ngx_xmpp_store_bell_t *bell)
{
    ngx_xmpp_worker_t *w = data;

    ngx_queue_t         *q, *next;
    ngx_xmpp_account_t  *a;
    ngx_xmpp_session_t  *xs;

    a = ngx_xmpp_registry_find(w, &bell->tag);

    if (a == NULL) {
        return;
    }

    ngx_xmpp_registry_heard(a, bell);

    if (bell->kind == NGX_XMPP_BELL_STANZA
        || bell->kind == NGX_XMPP_BELL_KEPT)
    {
        ngx_xmpp_registry_stanza(a, bell);
        return;
    }

    if (bell->kind == NGX_XMPP_BELL_OWED) {
        ngx_xmpp_registry_owed(a, bell);
        return;
    }

    if (bell->kind == NGX_XMPP_BELL_BLOCK) {
        ngx_xmpp_registry_block(a, bell);
        return;
    }

    if (bell->kind == NGX_XMPP_BELL_CARBONS) {
        ngx_xmpp_registry_carbons(a, bell);
        return;
    }

    if (bell->kind == NGX_XMPP_BELL_TAKEN
        || bell->kind == NGX_XMPP_BELL_WRITTEN)
    {
        ngx_xmpp_take_bell(a, bell);
        return;
    }

    if (bell->kind == NGX_XMPP_BELL_GRANT) {
        ngx_xmpp_registry_grant(a, bell);
        return;
    }

    /* ending is posted: no session leaves the queue within this loop */

    if (bell->kind == NGX_XMPP_BELL_KICKED) {
        ngx_xmpp_registry_kick(a, bell);
        return;
    }

    for (q = ngx_queue_head(&a->sessions);
         q != ngx_queue_sentinel(&a->sessions);
         q = next)
    {
        next = ngx_queue_next(q);
        xs = ngx_queue_data(q, ngx_xmpp_session_t, queue);

        if (bell->kind == NGX_XMPP_BELL_CONFLICT) {
            if (ngx_xmpp_str_eq(&xs->jid.resource, &bell->body)) {
                ngx_xmpp_session_fence(xs, bell->epoch);
            }

        } else if (bell->kind == NGX_XMPP_BELL_REMOVED) {
            xs->displaced = 1;
            xs->removed = 1;

            if (!xs->removing) {
                ngx_xmpp_session_close(xs, NGX_XMPP_SE_NOT_AUTHORIZED,
                                       "the account was removed");
            }
        }
    }
}


static void
ngx_xmpp_registry_heard(ngx_xmpp_account_t *a, ngx_xmpp_store_bell_t *bell)
{
    if (a->heard && bell->previous > a->heard) {
        ngx_log_error(NGX_LOG_WARN, a->worker->log, 0,
                      "xmpp missed messages for \"%V\" while Redis was away",
                      &a->sn.str);

        a->missed = bell->previous;
        ngx_xmpp_registry_missed(a);
    }

    a->heard = bell->number;
}


/*
 * A bell of what is kept, and may not last: it brings nothing, and what will be
 * in the inbox is read soon; lacking: when replicas have it.
 */

void
ngx_xmpp_registry_unsure(ngx_xmpp_account_t *a, ngx_xmpp_store_bell_t *bell,
    ngx_uint_t lacking)
{
    ngx_queue_t         *q;
    ngx_xmpp_session_t  *xs;

    ngx_xmpp_registry_heard(a, bell);

    a->missed = ngx_max(a->missed, bell->number);

    for (q = ngx_queue_head(&a->sessions);
         q != ngx_queue_sentinel(&a->sessions);
         q = ngx_queue_next(q))
    {
        xs = ngx_queue_data(q, ngx_xmpp_session_t, queue);

        if (xs->epoch) {
            ngx_xmpp_inbox_unsure(xs, lacking);
        }
    }
}


/*
 * A bell that this worker rang is on its way, or was heard already; data is
 * the worker.
 */

void
ngx_xmpp_registry_rung(void *data, ngx_str_t *tag, uint64_t number)
{
    ngx_xmpp_worker_t *w = data;

    ngx_xmpp_account_t  *a;

    a = ngx_xmpp_registry_find(w, tag);

    if (a != NULL && a->rung < number) {
        a->rung = number;
    }
}


/* one packet for all of its targets in this worker, whatever stanzas are in */

static void
ngx_xmpp_registry_stanza(ngx_xmpp_account_t *a, ngx_xmpp_store_bell_t *bell)
{
    u_char              *p, *last, mark;
    ngx_xmpp_packet_t   *pkt;
    ngx_xmpp_session_t  *xs;

    pkt = NULL;
    p = bell->targets.data;
    last = p + bell->targets.len;

    while (ngx_xmpp_registry_target(a, &p, last, &xs, &mark) == NGX_OK) {

        if (xs == NULL) {
            continue;
        }

        if (xs->take) {
            ngx_xmpp_take_rung(xs->take, bell->number);
        }

        if (mark) {
            ngx_xmpp_carbon_deliver(xs, bell, mark);
            continue;
        }

        if (pkt == NULL) {
            pkt = bell->epoch
                  ? ngx_xmpp_stanza_id_packet(xs, bell)
                  : ngx_xmpp_packet_copy(a->worker->log, bell->body.data,
                                         bell->body.len);
            if (pkt == NULL) {
                return;
            }

            pkt->stanzas = bell->stanzas;

            if (bell->kind == NGX_XMPP_BELL_KEPT) {
                pkt->number = bell->number;
            }
        }

        if (pkt->number) {
            ngx_xmpp_inbox_deliver(xs, pkt);

        } else {
            ngx_xmpp_session_deliver(xs, pkt);
        }
    }

    if (pkt) {
        ngx_xmpp_packet_release(pkt);
    }
}


/* what others have not taken, whose sessions have ended */

static void
ngx_xmpp_registry_owed(ngx_xmpp_account_t *a, ngx_xmpp_store_bell_t *bell)
{
    u_char              *p, *last, mark;
    ngx_xmpp_session_t  *xs;

    p = bell->targets.data;
    last = p + bell->targets.len;

    while (ngx_xmpp_registry_target(a, &p, last, &xs, &mark) == NGX_OK) {
        if (xs) {
            ngx_xmpp_inbox_begin(xs);
        }
    }
}


/* bells were lost: what must not be is in the inbox (cluster.md, rule 6) */

static void
ngx_xmpp_registry_missed(ngx_xmpp_account_t *a)
{
    ngx_queue_t         *q;
    ngx_xmpp_session_t  *xs;

    for (q = ngx_queue_head(&a->sessions);
         q != ngx_queue_sentinel(&a->sessions);
         q = ngx_queue_next(q))
    {
        xs = ngx_queue_data(q, ngx_xmpp_session_t, queue);

        if (xs->epoch) {
            ngx_xmpp_inbox_begin(xs);
        }
    }
}


/* XEP-0191, 3.3: whoever asked for the list is told; then it is our copy */

static void
ngx_xmpp_registry_block(ngx_xmpp_account_t *a, ngx_xmpp_store_bell_t *bell)
{
    u_char              *p, *last, *end, mark;
    ngx_str_t            push, list;
    ngx_xmpp_session_t  *xs;

    last = bell->body.data + bell->body.len;
    end = ngx_strlchr(bell->body.data, last, LF);

    if (end == NULL) {
        return;
    }

    push.data = bell->body.data;
    push.len = end - push.data;

    list.data = end + 1;
    list.len = last - list.data;

    p = bell->targets.data;
    last = p + bell->targets.len;

    while (ngx_xmpp_registry_target(a, &p, last, &xs, &mark) == NGX_OK) {
        if (xs) {
            ngx_xmpp_block_push(xs, bell->number, &push);
        }
    }

    ngx_xmpp_block_update(a, bell->number, &list);
}


/* the targets are all sessions that have asked for carbons */

static void
ngx_xmpp_registry_carbons(ngx_xmpp_account_t *a, ngx_xmpp_store_bell_t *bell)
{
    u_char              *p, *last, mark;
    ngx_uint_t           elsewhere;
    ngx_xmpp_session_t  *xs;

    elsewhere = 0;
    p = bell->targets.data;
    last = p + bell->targets.len;

    while (ngx_xmpp_registry_target(a, &p, last, &xs, &mark) == NGX_OK) {
        elsewhere |= (xs == NULL);
    }

    ngx_xmpp_carbon_known(a, bell->number, elsewhere);
}


/* RFC 6121, 3.1.5: each of them tells the contact that it is there */

static void
ngx_xmpp_registry_grant(ngx_xmpp_account_t *a, ngx_xmpp_store_bell_t *bell)
{
    u_char              *p, *last, mark;
    ngx_xmpp_session_t  *xs;

    p = bell->targets.data;
    last = p + bell->targets.len;

    while (ngx_xmpp_registry_target(a, &p, last, &xs, &mark) == NGX_OK) {
        if (xs) {
            ngx_xmpp_block_grant(xs, &bell->body);
        }
    }
}


/*
 * They end as if their clients had gone; the body has a reason, or nothing.
 * The epoch may be that of who had the session before: it is meant anyway.
 */

static void
ngx_xmpp_registry_kick(ngx_xmpp_account_t *a, ngx_xmpp_store_bell_t *bell)
{
    u_char              *p, *last, mark;
    uint64_t             epoch;
    ngx_xmpp_session_t  *xs;

    p = bell->targets.data;
    last = p + bell->targets.len;

    while (ngx_xmpp_registry_next(a, &p, last, &xs, &epoch, &mark) == NGX_OK) {

        if (xs == NULL) {
            continue;
        }

        if (xs->take) {
            xs->take->kicked = 1;

        } else if (xs->epoch && epoch > xs->epoch) {
            ngx_xmpp_hand_taken(xs, epoch, 0);

        } else if (bell->body.len) {
            ngx_xmpp_session_close(xs, NGX_XMPP_SE_NOT_AUTHORIZED,
                                   "the account was disabled");

        } else {
            ngx_xmpp_session_close(xs, NGX_XMPP_SE_POLICY_VIOLATION,
                                   "ended by an administrator");
        }
    }
}


/*
 * The target at *pos, which is moved to the next one; NGX_DECLINED: there is
 * none.  *xsp is NULL when its session is not here, or lost its resource;
 * *mark is the letter behind it, or 0.
 */

static ngx_int_t
ngx_xmpp_registry_target(ngx_xmpp_account_t *a, u_char **pos, u_char *last,
    ngx_xmpp_session_t **xsp, u_char *mark)
{
    uint64_t             epoch;
    ngx_xmpp_session_t  *xs;

    if (ngx_xmpp_registry_next(a, pos, last, &xs, &epoch, mark) != NGX_OK) {
        return NGX_DECLINED;
    }

    /*
     * A higher epoch: the session went elsewhere (cluster.md, rule 4).  A lower
     * one: it is for the worker that had the session before.
     */

    if (xs && xs->epoch && epoch != xs->epoch) {
        ngx_xmpp_hand_taken(xs, epoch, 0);
        xs = NULL;
    }

    *xsp = xs;

    return NGX_OK;
}


/* the same, whatever epoch it has: *epochp */

static ngx_int_t
ngx_xmpp_registry_next(ngx_xmpp_account_t *a, u_char **pos, u_char *last,
    ngx_xmpp_session_t **xsp, uint64_t *epochp, u_char *mark)
{
    u_char    *p, *colon;
    uint64_t   epoch;

    p = *pos;

    if (p >= last) {
        return NGX_DECLINED;
    }

    colon = ngx_strlchr(p, last, ':');
    if (colon == NULL) {
        return NGX_DECLINED;
    }

    *xsp = ngx_xmpp_registry_session(a, p, colon - p);
    *mark = 0;

    for (epoch = 0, p = colon + 1; p < last && *p != ','; p++) {

        if (*p >= '0' && *p <= '9') {
            epoch = epoch * 10 + (*p - '0');

        } else {
            *mark = *p;
        }
    }

    *pos = p + 1;
    *epochp = epoch;

    return NGX_OK;
}


/*
 * The session of this worker with that id; NULL: there is none.  The last one:
 * it may have been given away, and come back.
 */

ngx_xmpp_session_t *
ngx_xmpp_registry_session(ngx_xmpp_account_t *a, u_char *sid, size_t len)
{
    ngx_queue_t         *q;
    ngx_xmpp_session_t  *xs;

    for (q = ngx_queue_last(&a->sessions);
         q != ngx_queue_sentinel(&a->sessions);
         q = ngx_queue_prev(q))
    {
        xs = ngx_queue_data(q, ngx_xmpp_session_t, queue);

        if (xs->sid.len == len && ngx_memcmp(xs->sid.data, sid, len) == 0) {
            return xs;
        }
    }

    return NULL;
}


/* Redis came or went; data is the worker */

void
ngx_xmpp_registry_state(void *data, ngx_uint_t subscriber, ngx_uint_t ready)
{
    ngx_xmpp_worker_t *w = data;

    ngx_queue_t         *q;
    ngx_rbtree_node_t   *node;
    ngx_xmpp_account_t  *a;
    ngx_xmpp_session_t  *xs;

    if (!subscriber && ready) {
        ngx_xmpp_heartbeat_ready(w);
    }

    if (!ready) {
        ngx_xmpp_confirm_lost(w);
    }

    if (w->accounts.root == w->accounts.sentinel) {
        return;
    }

    for (node = ngx_rbtree_min(w->accounts.root, w->accounts.sentinel);
         node;
         node = ngx_rbtree_next(&w->accounts, node))
    {
        a = (ngx_xmpp_account_t *) node;

        if (subscriber) {
            a->subscribed = 0;

            if (ready && ngx_xmpp_registry_subscribe(a) != NGX_OK) {
                ngx_log_error(NGX_LOG_ERR, w->log, 0,
                              "xmpp could not subscribe \"%V\" again",
                              &a->sn.str);
            }

            continue;
        }

        if (!ready) {
            continue;
        }

        for (q = ngx_queue_head(&a->sessions);
             q != ngx_queue_sentinel(&a->sessions);
             q = ngx_queue_next(q))
        {
            xs = ngx_queue_data(q, ngx_xmpp_session_t, queue);
            ngx_xmpp_session_reassert(xs);
        }
    }
}
