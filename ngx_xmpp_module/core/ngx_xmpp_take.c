/*
 * A session that may be resumed (XEP-0198, 5) is taken from another worker: for
 * a client that has come here, or for none, when that worker has died
 * (cluster.md, rules 4, 8 and 14).
 *
 *     created --> channel subscribed --> record asked for --open----> loaded
 *                                             |                         ^
 *                                       the holder listens              |
 *                                             v                         |
 *                                          waiting --he has written,    |
 *                                             v      or takes too long  |
 *                                           opened ---------------------'
 *
 * The session is there from the start, without a stream.  What rings for it is
 * kept; the bell that tells its holder comes here, too, and what came before
 * that is the holder's, and is dropped.  What belongs to it is what the holder
 * has written.  If he does not, it is rebuilt: the count is what Redis knows,
 * what the inbox holds for it is read again, and what its client was sent is
 * what the client says.
 *
 * Loaded, it is detached, as any (ngx_xmpp_detach.c), and its client resumes
 * it.  The client may have gone by then: it waits for the next one.
 *
 * An administrator who ends it meanwhile means the session, whoever has it: it
 * is loaded, and ends as any.
 *
 * When Redis does not say whether the record is ours, maybe nobody else has
 * it: it is asked again until it does, as the same attempt, client or not.
 * What is taken by another meanwhile is his.
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_TAKE_WAIT            500     /* milliseconds, for the holder */
#define NGX_XMPP_TAKE_AGAIN           1000    /* milliseconds */


static ngx_xmpp_take_t *ngx_xmpp_take_other(ngx_xmpp_session_t *xs);
static void ngx_xmpp_take_wait(ngx_xmpp_take_t *tk, ngx_xmpp_taking_t *t);
static ngx_xmpp_take_t *ngx_xmpp_take_create(ngx_xmpp_session_t *xs,
    ngx_xmpp_taking_t *t);
static void ngx_xmpp_take_cleanup(void *data);
static void ngx_xmpp_take_ask(ngx_xmpp_take_t *tk);
static void ngx_xmpp_take_asked(void *data, ngx_xmpp_store_result_t *res);
static void ngx_xmpp_take_open(ngx_xmpp_take_t *tk);
static void ngx_xmpp_take_opened(void *data, ngx_xmpp_store_result_t *res);
static void ngx_xmpp_take_later(ngx_xmpp_take_t *tk);
static void ngx_xmpp_take_timer_handler(ngx_event_t *ev);
static void ngx_xmpp_take_load(ngx_xmpp_take_t *tk,
    ngx_xmpp_store_opened_t *o, uint64_t number, ngx_uint_t waited);
static void ngx_xmpp_take_state(ngx_xmpp_session_t *xs,
    ngx_xmpp_store_opened_t *o);
static void ngx_xmpp_take_answer(ngx_xmpp_take_t *tk, ngx_int_t rc);
static void ngx_xmpp_take_told(ngx_xmpp_take_t *tk, ngx_xmpp_taker_t *taker,
    ngx_int_t rc);
static void ngx_xmpp_take_failed(ngx_xmpp_take_t *tk, ngx_int_t rc);
static void ngx_xmpp_take_dropped(ngx_xmpp_session_t *xs);


/*
 * Begins to take it; everything is copied.  t->taker.done(data, xs, rc) is
 * called later, once: NGX_OK: xs is detached; NGX_DECLINED: it may not be
 * taken, or another has taken it; NGX_ERROR: Redis is away.  Who comes for one
 * that is being taken here already is told, too: a client in place of one that
 * came before, which is declined, and beside whoever cleans up.  Returns what
 * ngx_xmpp_take_leave() wants until then; NULL: done is not called.
 */

ngx_xmpp_take_t *
ngx_xmpp_take(ngx_xmpp_worker_t *w, ngx_xmpp_taking_t *t)
{
    ngx_xmpp_take_t     *tk;
    ngx_xmpp_session_t  *xs;

    if (t->host->sm == NULL) {
        return NULL;
    }

    xs = ngx_xmpp_session_alloc(w, t->host, &t->local, &t->resource, &t->sid);
    if (xs == NULL) {
        return NULL;
    }

    tk = ngx_xmpp_take_other(xs);

    if (tk) {
        ngx_xmpp_take_wait(tk, t);
        ngx_xmpp_session_end(xs);

        return tk;
    }

    xs->created = t->created;
    xs->moved = 1;

    tk = ngx_xmpp_take_create(xs, t);

    if (tk == NULL || ngx_xmpp_ack_create(xs, t->host->sm) != NGX_OK) {
        goto failed;
    }

    xs->waiting = 1;
    xs->take = tk;

    ngx_xmpp_session_hold(xs);

    if (xs->account->subscribed) {
        ngx_xmpp_take_ask(tk);
        return tk;
    }

    if (ngx_xmpp_registry_subscribe(xs->account) == NGX_OK) {
        return tk;
    }

    xs->waiting = 0;
    xs->take = NULL;

failed:

    ngx_xmpp_session_end(xs);

    return NULL;
}


/* whether the session is being taken here: another one of that name */

static ngx_xmpp_take_t *
ngx_xmpp_take_other(ngx_xmpp_session_t *xs)
{
    ngx_queue_t         *q;
    ngx_xmpp_session_t  *other;

    for (q = ngx_queue_head(&xs->account->sessions);
         q != ngx_queue_sentinel(&xs->account->sessions);
         q = ngx_queue_next(q))
    {
        other = ngx_queue_data(q, ngx_xmpp_session_t, queue);

        if (other != xs && other->take
            && ngx_xmpp_str_eq(&other->sid, &xs->sid))
        {
            return other->take;
        }
    }

    return NULL;
}


static void
ngx_xmpp_take_wait(ngx_xmpp_take_t *tk, ngx_xmpp_taking_t *t)
{
    if (t->dead.len) {
        tk->reaper = t->taker;
        return;
    }

    ngx_xmpp_take_told(tk, &tk->client, NGX_DECLINED);

    tk->client = t->taker;
    tk->args.asked = t->asked;
}


static ngx_xmpp_take_t *
ngx_xmpp_take_create(ngx_xmpp_session_t *xs, ngx_xmpp_taking_t *t)
{
    ngx_xmpp_take_t     *tk;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(xs->pool, sizeof(ngx_xmpp_take_t));
    if (cln == NULL) {
        return NULL;
    }

    tk = cln->data;
    ngx_memzero(tk, sizeof(ngx_xmpp_take_t));

    tk->session = xs;

    ngx_xmpp_take_wait(tk, t);

    tk->args.boot.len = sizeof(tk->boot);
    tk->args.boot.data = tk->boot;
    ngx_memcpy(tk->boot, xs->worker->boot, sizeof(tk->boot));

    tk->args.attempt = ++xs->worker->sessions;

    tk->args.digest.len = ngx_min(t->digest.len, sizeof(tk->digest));
    tk->args.digest.data = tk->digest;
    ngx_memcpy(tk->digest, t->digest.data, tk->args.digest.len);

    tk->args.dead.len = ngx_min(t->dead.len, sizeof(tk->dead));
    tk->args.dead.data = tk->dead;
    ngx_memcpy(tk->dead, t->dead.data, tk->args.dead.len);

    tk->timer.handler = ngx_xmpp_take_timer_handler;
    tk->timer.data = tk;
    tk->timer.log = xs->worker->log;
    tk->timer.cancelable = 1;

    cln->handler = ngx_xmpp_take_cleanup;

    return tk;
}


static void
ngx_xmpp_take_cleanup(void *data)
{
    ngx_xmpp_take_t *tk = data;

    if (tk->pool) {
        ngx_destroy_pool(tk->pool);
        tk->pool = NULL;
    }

    if (tk->timer.timer_set) {
        ngx_del_timer(&tk->timer);
    }
}


/* who has that data waits no longer: done is not called */

void
ngx_xmpp_take_leave(ngx_xmpp_take_t *tk, void *data)
{
    if (tk->client.data == data) {
        tk->client.done = NULL;
    }

    if (tk->reaper.data == data) {
        tk->reaper.done = NULL;
    }
}


/* its account's channel was subscribed, or that has failed */

void
ngx_xmpp_take_subscribed(ngx_xmpp_take_t *tk, ngx_int_t rc)
{
    if (tk->asked || tk->pool || tk->timer.timer_set) {
        return;
    }

    if (rc != NGX_OK) {
        ngx_xmpp_take_failed(tk, NGX_ERROR);
        return;
    }

    ngx_xmpp_take_ask(tk);
}


static void
ngx_xmpp_take_ask(ngx_xmpp_take_t *tk)
{
    ngx_xmpp_worker_t   *w;
    ngx_xmpp_session_t  *xs;

    xs = tk->session;
    w = xs->worker;

    /* cluster.md, rule 16: who would have to clean up knows of it before */

    ngx_xmpp_heartbeat_list(xs);
    ngx_xmpp_session_record(xs, &tk->record);

    tk->pool = ngx_xmpp_worker_pool(w);

    if (tk->pool
        && ngx_xmpp_store_sm_take(w->store, tk->pool, &tk->record, &tk->args,
                                  ngx_xmpp_take_asked, tk)
           != NULL)
    {
        return;
    }

    ngx_xmpp_take_later(tk);
}


static void
ngx_xmpp_take_asked(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_take_t *tk = data;

    ngx_pool_t               *pool;
    ngx_xmpp_session_t       *xs;
    ngx_xmpp_store_opened_t   o;

    xs = tk->session;
    pool = tk->pool;
    tk->pool = NULL;

    switch (res->rc) {

    case NGX_OK:
        break;

    case NGX_ERROR:
        tk->unknown = 1;
        ngx_xmpp_take_answer(tk, NGX_ERROR);
        ngx_xmpp_take_later(tk);
        goto done;

    case NGX_DECLINED:
        ngx_xmpp_take_failed(tk, NGX_DECLINED);
        goto done;

    default:

        /* it did not run, but one before it may have */

        if (tk->unknown) {
            ngx_xmpp_take_later(tk);

        } else {
            ngx_xmpp_take_failed(tk, NGX_ERROR);
        }

        goto done;
    }

    tk->asked = 1;
    xs->epoch = res->epoch;

    ngx_xmpp_registry_rung(xs->worker, &xs->account->sn.str, res->number);

    if (ngx_xmpp_store_sm_opened(res->reply, &o) == NGX_OK) {
        ngx_xmpp_take_load(tk, &o, res->number, 0);

    } else if (tk->written == xs->epoch) {
        ngx_xmpp_take_open(tk);

    } else {
        ngx_add_timer(&tk->timer, NGX_XMPP_TAKE_WAIT);
    }

done:

    ngx_xmpp_worker_pool_done(xs->worker, pool);
}


static void
ngx_xmpp_take_open(ngx_xmpp_take_t *tk)
{
    ngx_xmpp_worker_t   *w;
    ngx_xmpp_session_t  *xs;

    xs = tk->session;
    w = xs->worker;

    if (xs->displaced) {
        ngx_xmpp_take_failed(tk, NGX_DECLINED);
        return;
    }

    ngx_xmpp_session_record(xs, &tk->record);

    tk->pool = ngx_xmpp_worker_pool(w);

    if (tk->pool
        && ngx_xmpp_store_sm_open(w->store, tk->pool, &tk->record,
                                  ngx_xmpp_take_opened, tk)
           != NULL)
    {
        return;
    }

    ngx_xmpp_take_later(tk);
}


static void
ngx_xmpp_take_opened(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_take_t *tk = data;

    ngx_pool_t               *pool;
    ngx_xmpp_session_t       *xs;
    ngx_xmpp_store_opened_t   o;

    xs = tk->session;
    pool = tk->pool;
    tk->pool = NULL;

    if (res->rc == NGX_DECLINED
        || (res->rc == NGX_OK
            && ngx_xmpp_store_sm_opened(res->reply, &o) != NGX_OK))
    {
        ngx_xmpp_take_failed(tk, NGX_DECLINED);

    } else if (res->rc == NGX_OK) {
        ngx_xmpp_take_load(tk, &o, res->number, 1);

    } else {

        /* the record is ours: nobody else opens it */

        ngx_xmpp_take_answer(tk, NGX_ERROR);
        ngx_xmpp_take_later(tk);
    }

    ngx_xmpp_worker_pool_done(xs->worker, pool);
}


static void
ngx_xmpp_take_later(ngx_xmpp_take_t *tk)
{
    if (tk->pool) {
        ngx_xmpp_worker_pool_done(tk->session->worker, tk->pool);
        tk->pool = NULL;
    }

    ngx_add_timer(&tk->timer, NGX_XMPP_TAKE_AGAIN);
}


static void
ngx_xmpp_take_timer_handler(ngx_event_t *ev)
{
    ngx_xmpp_take_t  *tk;

    tk = ev->data;

    if (tk->session->worker->drained) {
        return;
    }

    if (tk->asked) {
        ngx_xmpp_take_open(tk);

    } else {
        ngx_xmpp_take_ask(tk);
    }
}


/*
 * It is this worker's, as of the bell with that number.  waited: if its holder
 * has written, he has heard all that rang before it was taken; else something
 * may have rung for nobody.
 */

static void
ngx_xmpp_take_load(ngx_xmpp_take_t *tk, ngx_xmpp_store_opened_t *o,
    uint64_t number, ngx_uint_t waited)
{
    uint64_t             heard;
    ngx_uint_t           unheard;
    ngx_queue_t          directed;
    ngx_xmpp_sm_t       *sm;
    ngx_xmpp_session_t  *xs;

    xs = tk->session;
    sm = xs->sm;

    /* two have taken it at once, and the other's bell came first */

    if (xs->fence > xs->epoch || xs->displaced
        || o->sm.digest.len != sizeof(sm->digest))
    {
        ngx_xmpp_take_failed(tk, NGX_DECLINED);
        return;
    }

    ngx_xmpp_take_state(xs, o);

    /* XEP-0191, 3.3: before its client can send */

    ngx_xmpp_block_update(xs->account, number, &o->blocked);

    /*
     * What has rung by now is not his, unless the bell that says so was lost,
     * or he has left long ago.
     */

    heard = ngx_xmpp_take_heard(&o->written, &unheard);

    if (waited ? !tk->heard : (tk->first && tk->first <= heard)) {
        ngx_xmpp_take_dropped(xs);
    }

    ngx_queue_init(&directed);

    if (ngx_xmpp_take_read(xs, &o->written, &directed) != NGX_OK) {
        sm->rebuilt = 1;
        unheard = 1;
    }

    xs->directed = &directed;
    ngx_xmpp_feature_event(xs, NGX_XMPP_EVENT_TAKEN);
    xs->directed = NULL;
    ngx_xmpp_directed_free(&directed);

    xs->take = NULL;
    xs->waiting = 0;
    xs->recorded = 1;

    ngx_log_error(NGX_LOG_INFO, xs->worker->log, 0,
                  "session of \"%V\" was taken from another worker%s",
                  &xs->jid.full, sm->rebuilt ? ", which has left nothing" : "");

    ngx_xmpp_detach_wait(xs, o->left);

    /* or there is more for its client than may be here */

    if (tk->kicked || sm->full) {
        ngx_xmpp_take_answer(tk, NGX_DECLINED);
        ngx_xmpp_session_release(xs);
        ngx_xmpp_session_end(xs);
        return;
    }

    /* what was kept in the inbox comes behind the queue, and then the bells */

    ngx_xmpp_session_catch_up(xs);

    if (unheard || (!waited && (o->previous == 0 || heard < o->previous))) {
        ngx_xmpp_snapshot(xs);
    }

    ngx_xmpp_session_release(xs);

    ngx_xmpp_take_answer(tk, NGX_OK);

    if (xs->stream) {
        return;
    }

    if (xs->worker->draining) {
        xs->handed = 1;
        ngx_xmpp_session_end(xs);
        return;
    }

    ngx_xmpp_detach_mark(xs, 1);
}


/* what the record says, and what stands beside it */

static void
ngx_xmpp_take_state(ngx_xmpp_session_t *xs, ngx_xmpp_store_opened_t *o)
{
    ngx_int_t       n;
    ngx_str_t       state;
    ngx_uint_t      negative;
    ngx_xmpp_sm_t  *sm;

    sm = xs->sm;

    ngx_memcpy(sm->digest, o->sm.digest.data, sizeof(sm->digest));

    sm->timeout = ngx_max(o->sm.timeout, 1);
    sm->base = o->sm.base;
    sm->told = o->sm.handled;
    sm->life = o->sm.life;

    xs->counter = sm->base + o->sm.handled;

    /* above all that another worker has given in its name */

    xs->own = xs->epoch;

    /* the name may get another owner yet */

    if (o->created) {
        xs->created = o->created;
    }

    state = o->state;

    if (o->flags.len && o->flags.data[0] != '-') {
        xs->flags.len = ngx_min(o->flags.len, NGX_XMPP_STORE_FLAGS);
        ngx_memcpy(xs->flags.data, o->flags.data, xs->flags.len);
    }

    negative = (state.len > 1 && state.data[0] == '-');

    n = ngx_atoi(state.data + negative, state.len - negative);

    if (n != NGX_ERROR) {
        xs->available = 1;
        xs->priority = negative ? -n : n;
    }
}


static void
ngx_xmpp_take_answer(ngx_xmpp_take_t *tk, ngx_int_t rc)
{
    ngx_xmpp_take_told(tk, &tk->client, rc);
    ngx_xmpp_take_told(tk, &tk->reaper, rc);
}


/* one that waits; he may have gone, or be answered already */

static void
ngx_xmpp_take_told(ngx_xmpp_take_t *tk, ngx_xmpp_taker_t *taker, ngx_int_t rc)
{
    ngx_xmpp_taker_t  one;

    one = *taker;

    if (one.done) {
        taker->done = NULL;
        one.done(one.data, tk->session, rc);
    }
}


/*
 * The record is another's: the session was never here, and what has rung for
 * it before it was ours is not ours to give back.
 */

static void
ngx_xmpp_take_failed(ngx_xmpp_take_t *tk, ngx_int_t rc)
{
    ngx_xmpp_session_t  *xs;

    xs = tk->session;

    ngx_xmpp_take_answer(tk, rc);

    if (!tk->heard) {
        ngx_xmpp_take_dropped(xs);
    }

    xs->take = NULL;
    xs->waiting = 0;
    xs->displaced = (xs->epoch != 0);

    ngx_xmpp_session_release(xs);
    ngx_xmpp_session_end(xs);
}


/*
 * A session was taken by a worker: who has it gives it away, and what rang
 * before for who has taken it is not his; or what belongs to it was written.
 */

void
ngx_xmpp_take_bell(ngx_xmpp_account_t *a, ngx_xmpp_store_bell_t *bell)
{
    u_char              *p, *last;
    ngx_uint_t           own;
    ngx_xmpp_take_t     *tk;
    ngx_xmpp_session_t  *xs;

    /* sid " " boot, and " -" when there is no client */

    last = bell->body.data + bell->body.len;
    p = ngx_strlchr(bell->body.data, last, ' ');

    xs = ngx_xmpp_registry_session(a, bell->body.data,
                                   (p ? p : last) - bell->body.data);
    if (xs == NULL) {
        return;
    }

    tk = xs->take;

    if (bell->kind == NGX_XMPP_BELL_WRITTEN) {

        if (tk) {
            tk->written = bell->epoch;

            if (tk->asked && bell->epoch == xs->epoch && tk->timer.timer_set) {
                ngx_del_timer(&tk->timer);
                ngx_xmpp_take_open(tk);
            }
        }

        return;
    }

    if (p == NULL || last - p - 1 < NGX_XMPP_BOOT_LEN) {
        return;
    }

    own = (tk && ngx_memcmp(p + 1, tk->boot, NGX_XMPP_BOOT_LEN) == 0);

    if (own) {
        if (!tk->heard) {
            tk->heard = 1;
            ngx_xmpp_take_dropped(xs);
        }

        return;
    }

    ngx_xmpp_hand_taken(xs, bell->epoch, last - p - 1 > NGX_XMPP_BOOT_LEN);
}


void
ngx_xmpp_take_rung(ngx_xmpp_take_t *tk, uint64_t number)
{
    if (tk->first == 0) {
        tk->first = number;
    }
}


/*
 * It waits, since it may be the holder's, and comes behind what he has written.
 * What is more than the client may leave unacknowledged is lost to it, and the
 * session ends.
 */

void
ngx_xmpp_take_keep(ngx_xmpp_take_t *tk, ngx_xmpp_packet_t *pkt)
{
    ngx_xmpp_session_t  *xs;

    xs = tk->session;

    if (xs->early_size > xs->sm->limits->size
        || ngx_xmpp_session_keep(xs, pkt) != NGX_OK)
    {
        tk->kicked = 1;
    }
}


/* what has rung for its holder; of that, what is kept may be in pages */

static void
ngx_xmpp_take_dropped(ngx_xmpp_session_t *xs)
{
    ngx_xmpp_out_t  *out;

    xs->take->first = 0;
    xs->early_size = 0;

    ngx_xmpp_inbox_forget(xs);

    while (xs->early) {
        out = xs->early;
        xs->early = out->next;

        ngx_xmpp_packet_release(out->packet);
        ngx_free(out);
    }
}
