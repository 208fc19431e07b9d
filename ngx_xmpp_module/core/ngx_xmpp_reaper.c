/*
 * The reaper: ends the sessions of a worker that has died without doing so
 * (cluster.md, rule 5).
 *
 *     idle --a counter stands still--> claim --ok--> page --> leaving
 *       ^                               ^ |            |         |
 *       |        another does it -------|-'      empty |     all ended
 *       |<-------------------------------|--------------' forget  |
 *       |                               '-------- pause ----------'
 *       '-- the connection is another, this worker drains, taken for dead
 *
 * Each answer to the own heartbeat has the counters of all.  One is taken for
 * dead when it was the same in so many answers, one after the other on one
 * connection, as make up the lease: three intervals, of whichever of the two
 * workers has the longer one.  Answers are counted, not time: whatever stops,
 * this worker, its host or Redis, is one long interval, and the others' next
 * beats come before the next answers.
 *
 * Of those who see it, the first to claim it goes on, a page of its list after
 * the other, and claims it again before each, so it notices when the dead one
 * has come back.  A page is followed by a pause of its own length: Redis and
 * this worker have others to serve.  A claim of one that has died is void when
 * he is claimed himself.
 *
 * ngx_xmpp_leave() ends each session: with the boot id of the dead worker, so
 * that sessions which have been registered again are let alone, and not again
 * on another connection.  What could not be ended stays on the list.  A removal
 * of an account is listed without a resource: ngx_xmpp_remove_again().
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_REAPER_LEASE         3       /* intervals */
#define NGX_XMPP_REAPER_PAGE          128     /* sessions */
#define NGX_XMPP_REAPER_PAUSE         20      /* milliseconds, at least */
#define NGX_XMPP_REAPER_POOL          1024


/* another worker */
typedef struct {
    u_char                      boot[NGX_XMPP_BOOT_LEN];
    u_char                      value[NGX_XMPP_BEAT_VALUE];
    size_t                      len;            /* of value */
    ngx_uint_t                  still;          /* answers with this value */
    ngx_uint_t                  lease;          /* of them: it is dead */
} ngx_xmpp_reaper_seen_t;


struct ngx_xmpp_reaper_s {
    ngx_xmpp_worker_t          *worker;
    ngx_msec_t                  interval;
    ngx_xmpp_reaper_seen_t     *seen;           /* from the heap, or NULL */
    ngx_uint_t                  nseen;
    ngx_uint_t                  next;           /* to be looked at */

    /* whom it cleans up after */
    ngx_xmpp_reaper_seen_t      dead;
    ngx_str_t                   boot;           /* dead's */
    ngx_str_t                   value;
    ngx_str_t                   own;            /* boot id of this worker */
    ngx_pool_t                 *pool;           /* of a request */
    ngx_event_t                 timer;          /* the pause */
    ngx_msec_t                  began;          /* the page */
    ngx_uint_t                  flight;         /* sessions of it, and one */
    ngx_uint_t                  failed;
    ngx_uint_t                  ended;          /* of all pages */

    unsigned                    active:1;       /* not idle */
    unsigned                    stopped:1;      /* idle as soon as it can */
};


static void ngx_xmpp_reaper_note(ngx_xmpp_reaper_t *r,
    ngx_xmpp_reaper_seen_t *s, redisReply *boot, redisReply *value);
static ngx_uint_t ngx_xmpp_reaper_lease(ngx_xmpp_reaper_t *r,
    ngx_xmpp_reaper_seen_t *s);
static ngx_int_t ngx_xmpp_reaper_host(ngx_array_t *hosts, ngx_str_t *name,
    uint64_t sessions);
static void ngx_xmpp_reaper_next(ngx_xmpp_reaper_t *r);
static ngx_int_t ngx_xmpp_reaper_step(ngx_xmpp_reaper_t *r);
static void ngx_xmpp_reaper_claim(ngx_xmpp_reaper_t *r);
static void ngx_xmpp_reaper_claimed(void *data, ngx_xmpp_store_result_t *res);
static void ngx_xmpp_reaper_page(void *data, ngx_xmpp_store_result_t *res);
static void ngx_xmpp_reaper_session(ngx_xmpp_reaper_t *r, redisReply *sid,
    redisReply *jid);
static void ngx_xmpp_reaper_left(void *data, ngx_int_t rc);
static void ngx_xmpp_reaper_timer_handler(ngx_event_t *ev);
static void ngx_xmpp_reaper_forgotten(void *data,
    ngx_xmpp_store_result_t *res);
static void ngx_xmpp_reaper_idle(ngx_xmpp_reaper_t *r);


/* interval of heartbeats in milliseconds; NGX_OK or NGX_ERROR (no memory) */

ngx_int_t
ngx_xmpp_reaper_init(ngx_xmpp_worker_t *w, ngx_msec_t interval)
{
    ngx_xmpp_reaper_t  *r;

    r = ngx_pcalloc(w->pool, sizeof(ngx_xmpp_reaper_t));
    if (r == NULL) {
        return NGX_ERROR;
    }

    r->worker = w;
    r->interval = interval;

    r->boot.len = sizeof(r->dead.boot);
    r->boot.data = r->dead.boot;
    r->value.data = r->dead.value;
    r->own.len = sizeof(w->boot);
    r->own.data = w->boot;

    r->timer.handler = ngx_xmpp_reaper_timer_handler;
    r->timer.data = r;
    r->timer.log = w->log;
    r->timer.cancelable = 1;

    w->reaper = r;

    return NGX_OK;
}


/* the answer to a heartbeat: boot ids and values of all, itself included */

void
ngx_xmpp_reaper_seen(ngx_xmpp_worker_t *w, redisReply *reply)
{
    size_t                   i;
    ngx_uint_t               n;
    ngx_xmpp_reaper_t       *r;
    ngx_xmpp_reaper_seen_t  *seen;

    r = w->reaper;
    n = 0;

    seen = ngx_alloc((reply->elements / 2 + 1)
                     * sizeof(ngx_xmpp_reaper_seen_t), w->log);
    if (seen == NULL) {
        return;
    }

    for (i = 1; i + 1 < reply->elements; i += 2) {

        if (reply->element[i]->type != REDIS_REPLY_STRING
            || reply->element[i]->len != NGX_XMPP_BOOT_LEN
            || reply->element[i + 1]->type != REDIS_REPLY_STRING
            || reply->element[i + 1]->len > NGX_XMPP_BEAT_VALUE
            || ngx_memcmp(reply->element[i]->str, w->boot, NGX_XMPP_BOOT_LEN)
               == 0)
        {
            continue;
        }

        ngx_xmpp_reaper_note(r, &seen[n++], reply->element[i],
                             reply->element[i + 1]);
    }

    w->stats->cluster = n + 1;

    if (r->seen) {
        ngx_free(r->seen);
    }

    r->seen = seen;
    r->nseen = n;

    if (!r->active) {
        r->next = 0;
        r->stopped = 0;
        ngx_xmpp_reaper_next(r);
    }
}


static void
ngx_xmpp_reaper_note(ngx_xmpp_reaper_t *r, ngx_xmpp_reaper_seen_t *s,
    redisReply *boot, redisReply *value)
{
    ngx_uint_t               i;
    ngx_xmpp_reaper_seen_t  *old;

    ngx_memcpy(s->boot, boot->str, boot->len);
    ngx_memcpy(s->value, value->str, value->len);
    s->len = value->len;
    s->still = 0;
    s->lease = ngx_xmpp_reaper_lease(r, s);

    for (i = 0; i < r->nseen; i++) {
        old = &r->seen[i];

        if (ngx_memcmp(old->boot, s->boot, sizeof(s->boot)) == 0) {

            if (old->len == s->len
                && ngx_memcmp(old->value, s->value, s->len) == 0)
            {
                s->still = old->still + 1;
            }

            return;
        }
    }
}


/* in answers: the longer interval of the two counts */

static ngx_uint_t
ngx_xmpp_reaper_lease(ngx_xmpp_reaper_t *r, ngx_xmpp_reaper_seen_t *s)
{
    u_char      *p, *last;
    ngx_uint_t   n;
    ngx_msec_t   interval;

    last = s->value + s->len;
    p = ngx_strlchr(s->value, last, ' ');

    interval = 0;

    if (p) {
        for (p++; p < last && *p >= '0' && *p <= '9'; p++) {
            interval = interval * 10 + (*p - '0');
        }
    }

    n = (interval + r->interval - 1) / r->interval;

    return NGX_XMPP_REAPER_LEASE * ngx_max(n, 1);
}


/*
 * Who is there, as the last answer told: this worker's host first.  hosts is of
 * ngx_xmpp_beat_host_t, whose names live until the next answer.  NGX_OK or
 * NGX_ERROR (no memory).
 */

ngx_int_t
ngx_xmpp_reaper_hosts(ngx_xmpp_worker_t *w, ngx_array_t *hosts)
{
    u_char                  *p, *last;
    uint64_t                 sessions;
    ngx_str_t                name;
    ngx_uint_t               i, blanks;
    ngx_xmpp_reaper_t       *r;
    ngx_xmpp_reaper_seen_t  *s;

    r = w->reaper;

    name.data = w->cycle->hostname.data;
    name.len = ngx_xmpp_beat_host_len(w->cycle);

    if (ngx_xmpp_reaper_host(hosts, &name, w->nsessions) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < r->nseen; i++) {
        s = &r->seen[i];

        if (s->still >= s->lease) {
            continue;
        }

        last = s->value + s->len;
        sessions = 0;
        blanks = 0;

        for (p = s->value; p < last && blanks < 3; p++) {
            if (*p == ' ') {
                blanks++;

            } else if (blanks == 2 && *p >= '0' && *p <= '9') {
                sessions = sessions * 10 + (*p - '0');
            }
        }

        name.data = p;
        name.len = last - p;

        if (ngx_xmpp_reaper_host(hosts, &name, sessions) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_reaper_host(ngx_array_t *hosts, ngx_str_t *name, uint64_t sessions)
{
    ngx_uint_t             i;
    ngx_xmpp_beat_host_t  *h;

    h = hosts->elts;

    for (i = 0; i < hosts->nelts; i++) {

        if (ngx_xmpp_str_eq(&h[i].name, name)) {
            break;
        }
    }

    if (i == hosts->nelts) {
        h = ngx_array_push(hosts);
        if (h == NULL) {
            return NGX_ERROR;
        }

        ngx_memzero(h, sizeof(ngx_xmpp_beat_host_t));
        h->name = *name;

    } else {
        h = &h[i];
    }

    h->workers++;
    h->sessions += sessions;

    return NGX_OK;
}


/* the next of those who are dead */

static void
ngx_xmpp_reaper_next(ngx_xmpp_reaper_t *r)
{
    ngx_xmpp_reaper_seen_t  *s;

    r->active = 0;

    while (!r->stopped && !r->worker->draining && r->next < r->nseen) {
        s = &r->seen[r->next++];

        if (s->still >= s->lease) {
            r->dead = *s;
            r->value.len = s->len;
            r->ended = 0;
            r->active = 1;

            ngx_xmpp_reaper_claim(r);
            return;
        }
    }
}


/* a pool for the next request; NGX_DECLINED: there is nothing more to do */

static ngx_int_t
ngx_xmpp_reaper_step(ngx_xmpp_reaper_t *r)
{
    if (r->pool) {
        ngx_destroy_pool(r->pool);
        r->pool = NULL;
    }

    if (r->stopped || r->worker->draining) {
        return NGX_DECLINED;
    }

    r->pool = ngx_create_pool(NGX_XMPP_REAPER_POOL, r->worker->log);

    return r->pool ? NGX_OK : NGX_DECLINED;
}


static void
ngx_xmpp_reaper_claim(ngx_xmpp_reaper_t *r)
{
    if (ngx_xmpp_reaper_step(r) != NGX_OK
        || ngx_xmpp_store_claim(r->worker->store, r->pool, &r->own, &r->boot,
                                &r->value, ngx_xmpp_reaper_claimed, r)
           == NULL)
    {
        ngx_xmpp_reaper_idle(r);
    }
}


static void
ngx_xmpp_reaper_claimed(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_reaper_t *r = data;

    if (res->rc == NGX_BUSY || res->rc == NGX_DECLINED) {
        ngx_xmpp_reaper_next(r);
        return;
    }

    r->began = ngx_current_msec;

    if (res->rc != NGX_OK
        || ngx_xmpp_reaper_step(r) != NGX_OK
        || ngx_xmpp_store_listed(r->worker->store, r->pool, &r->boot,
                                 NGX_XMPP_REAPER_PAGE, ngx_xmpp_reaper_page,
                                 r)
           == NULL)
    {
        ngx_xmpp_reaper_idle(r);
    }
}


static void
ngx_xmpp_reaper_page(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_reaper_t *r = data;

    size_t  i;

    if (res->rc != NGX_OK || r->stopped) {
        ngx_xmpp_reaper_idle(r);
        return;
    }

    if (res->reply->elements < 3) {

        if (ngx_xmpp_reaper_step(r) != NGX_OK
            || ngx_xmpp_store_forget(r->worker->store, r->pool, &r->own,
                                     &r->boot, ngx_xmpp_reaper_forgotten, r)
               == NULL)
        {
            ngx_xmpp_reaper_idle(r);
        }

        return;
    }

    /* the one more is given up at the end: some may be answered at once */

    r->flight = 1;
    r->failed = 0;

    for (i = 1; i + 1 < res->reply->elements; i += 2) {
        ngx_xmpp_reaper_session(r, res->reply->element[i],
                                res->reply->element[i + 1]);
    }

    ngx_xmpp_reaper_left(r, NGX_DECLINED);
}


static void
ngx_xmpp_reaper_session(ngx_xmpp_reaper_t *r, redisReply *sid,
    redisReply *jid)
{
    u_char              *slash, *last;
    ngx_int_t            rc;
    ngx_xmpp_leaving_t   l;

    ngx_memzero(&l, sizeof(ngx_xmpp_leaving_t));

    l.sid.data = (u_char *) sid->str;
    l.sid.len = sid->len;

    last = (u_char *) jid->str + jid->len;
    slash = ngx_strlchr((u_char *) jid->str, last, '/');

    l.bare.data = (u_char *) jid->str;
    l.bare.len = (slash ? slash : last) - l.bare.data;

    r->flight++;

    if (slash == NULL) {
        rc = ngx_xmpp_remove_again(r->worker, &l.bare, &r->boot, &l.sid,
                                   ngx_xmpp_reaper_left, r);
        goto begun;
    }

    l.resource.data = slash + 1;
    l.resource.len = last - slash - 1;
    l.boot = r->boot;
    l.listed = 1;
    l.done = ngx_xmpp_reaper_left;
    l.data = r;

    rc = ngx_xmpp_leave(r->worker, &l);

begun:

    if (rc != NGX_OK) {
        r->flight--;
        r->failed++;
    }
}


/* one session has ended, or could not; after the last one there is a pause */

static void
ngx_xmpp_reaper_left(void *data, ngx_int_t rc)
{
    ngx_xmpp_reaper_t *r = data;

    ngx_msec_t  pause;

    if (rc == NGX_OK) {
        r->ended++;
        r->worker->stats->counters.reaped_sessions++;

    } else if (rc == NGX_ERROR) {
        r->failed++;
    }

    if (--r->flight) {
        return;
    }

    if (r->stopped || r->worker->draining) {
        ngx_xmpp_reaper_idle(r);
        return;
    }

    pause = ngx_current_msec - r->began;

    ngx_add_timer(&r->timer, r->failed ? r->interval
                                  : ngx_max(pause, NGX_XMPP_REAPER_PAUSE));
}


static void
ngx_xmpp_reaper_timer_handler(ngx_event_t *ev)
{
    ngx_xmpp_reaper_claim(ev->data);
}


static void
ngx_xmpp_reaper_forgotten(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_reaper_t *r = data;

    r->worker->stats->counters.reaped_workers += (res->rc == NGX_OK);

    if (res->rc == NGX_OK && r->ended) {
        ngx_log_error(NGX_LOG_NOTICE, r->worker->log, 0,
                      "xmpp ended or took over %ui sessions of worker "
                      "\"%V\", which has died", r->ended, &r->boot);
    }

    ngx_xmpp_reaper_next(r);
}


static void
ngx_xmpp_reaper_idle(ngx_xmpp_reaper_t *r)
{
    r->active = 0;
}


/* what was seen is void, and what is not begun yet is not begun */

void
ngx_xmpp_reaper_stop(ngx_xmpp_worker_t *w)
{
    ngx_xmpp_reaper_t  *r;

    r = w->reaper;

    r->nseen = 0;
    r->stopped = 1;

    if (r->timer.timer_set) {
        ngx_del_timer(&r->timer);
        r->active = 0;
    }
}


/* whether an end that was begun for it is to be begun still */

ngx_uint_t
ngx_xmpp_reaper_stopped(ngx_xmpp_worker_t *w)
{
    return w->reaper->stopped;
}


/* the store is closed */

void
ngx_xmpp_reaper_exit(ngx_xmpp_worker_t *w)
{
    ngx_xmpp_reaper_t  *r;

    r = w->reaper;

    if (r->pool) {
        ngx_destroy_pool(r->pool);
        r->pool = NULL;
    }

    if (r->seen) {
        ngx_free(r->seen);
        r->seen = NULL;
    }
}
