/*
 * Logins: the keys that one is checked against (RFC 5802, 3: never the
 * password), and how many have failed, per network and per account, on all
 * hosts.
 *
 *     PREFIX:{TAG}:account   the field asked for; "known": the networks from
 *                            which this account has logged in; whether it is
 *                            "disabled"; and "created", which tells it from
 *                            others that had, or will have, its name
 *     PREFIX:failures        the counters, all of one window of time, under
 *                            hashes (ngx_xmpp_network.h)
 *
 * A login reads both keys, which lie in different slots, by two commands in
 * one write, and writes nothing, but for a network that is new to the account
 * or was last seen on another day.  A failure is one Function that nobody
 * waits for.  What is counted for an account at a network that it knows is
 * not what is counted for it elsewhere: so nobody can lock its owner out from
 * afar, and an account that exists is limited as one that does not.
 *
 * Between the question and the check of the password lies the client: it can
 * have many exchanges wait and end them all at once.  So each worker also
 * counts for itself, for some seconds, in two small tables, and looks there
 * before it believes a password.  A table has one place for each hash modulo
 * its size; networks and accounts do not share one, or names could be made
 * up that push a network out.
 */


#include "ngx_xmpp_store_private.h"


/* milliseconds for which a worker's own count is believed */
#define NGX_XMPP_STORE_TALLY_TIME     5000

/* counters in Redis at most: about 5 MB */
#define NGX_XMPP_STORE_TALLIES_MAX    "65536"

/* days after which a network is not known any more, if unused */
#define NGX_XMPP_STORE_KNOWN_DAYS     30


/* a login that waits for both keys */
typedef struct {
    ngx_xmpp_store_attempt_t   *at;
    ngx_pool_t                 *pool;
    ngx_xmpp_store_handler_pt   handler;
    void                       *data;
    ngx_str_t                   text;
    ngx_int_t                   rc;
    ngx_uint_t                  waiting;
} ngx_xmpp_store_login_t;


static void ngx_xmpp_store_login_account(void *data,
    ngx_xmpp_store_result_t *res);
static void ngx_xmpp_store_login_known(ngx_xmpp_store_attempt_t *at,
    redisReply *reply);
static uint64_t ngx_xmpp_store_login_created(redisReply *reply);
static void ngx_xmpp_store_login_counts(void *data,
    ngx_xmpp_store_result_t *res);
static void ngx_xmpp_store_login_answered(ngx_xmpp_store_login_t *lg,
    ngx_int_t rc);
static ngx_uint_t ngx_xmpp_store_login_account_tally(
    ngx_xmpp_store_attempt_t *at);
static void ngx_xmpp_store_login_count(ngx_xmpp_store_t *store,
    ngx_xmpp_store_attempt_t *at, ngx_xmpp_store_args_t *a, ngx_uint_t i,
    ngx_uint_t counts);
static void ngx_xmpp_store_login_counted(void *data,
    ngx_xmpp_store_result_t *res);
static ngx_xmpp_store_tally_t *ngx_xmpp_store_tally(ngx_xmpp_store_t *store,
    ngx_xmpp_store_attempt_t *at, ngx_uint_t i);
static void ngx_xmpp_store_tally_set(ngx_xmpp_store_t *store,
    ngx_xmpp_store_attempt_t *at, ngx_uint_t i, ngx_uint_t count);
static ngx_uint_t ngx_xmpp_store_tally_count(redisReply *reply, size_t n);
static ngx_uint_t ngx_xmpp_store_today(void);


ngx_xmpp_store_req_t *
ngx_xmpp_store_login(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *field, ngx_xmpp_store_attempt_t *at,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_str_t                name;
    ngx_uint_t               i;
    ngx_xmpp_store_args_t    a;
    ngx_xmpp_store_req_t    *req;
    ngx_xmpp_store_login_t  *lg;

    if (store->evicting) {
        ngx_xmpp_store_policy_check(store, 0);
        return NULL;
    }

    lg = ngx_pcalloc(pool, sizeof(ngx_xmpp_store_login_t));
    if (lg == NULL) {
        return NULL;
    }

    lg->at = at;
    lg->pool = pool;
    lg->handler = handler;
    lg->data = data;

    ngx_xmpp_store_args(&a, pool, ngx_xmpp_store_key_len(store, &at->tag));
    ngx_xmpp_store_arg_text(&a, "HMGET");
    ngx_xmpp_store_arg_key(store, &a, NGX_XMPP_KEY_ACCOUNT, &at->tag);
    ngx_xmpp_store_arg(&a, field);
    ngx_xmpp_store_arg_text(&a, "known");
    ngx_xmpp_store_arg_text(&a, "disabled");
    ngx_xmpp_store_arg_text(&a, "created");

    req = ngx_xmpp_store_command(store, &a, ngx_xmpp_store_login_account, lg);

    if (req == NULL) {
        return NULL;
    }

    lg->waiting = 1;

    if (at->network.len == 0) {
        return req;
    }

    ngx_xmpp_store_args(&a, pool, ngx_xmpp_store_key_len(store, &at->tag));
    ngx_xmpp_store_arg_text(&a, "HMGET");
    ngx_xmpp_store_arg_failures(store, &a);

    for (i = 0; i < NGX_XMPP_STORE_TALLIES; i++) {
        name.data = at->tallies[i];
        name.len = NGX_XMPP_TALLY_LEN;

        ngx_xmpp_store_arg(&a, &name);
    }

    /* should it fail, the caller's pool cancels the first one */

    if (ngx_xmpp_store_command(store, &a, ngx_xmpp_store_login_counts, lg)
        == NULL)
    {
        return NULL;
    }

    lg->waiting = 2;

    return req;
}


static void
ngx_xmpp_store_login_account(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_store_login_t *lg = data;

    redisReply  *field;

    if (res->reply == NULL || res->reply->type != REDIS_REPLY_ARRAY
        || res->reply->elements != 4)
    {
        ngx_xmpp_store_login_answered(lg, NGX_ERROR);
        return;
    }

    field = res->reply->element[0];

    ngx_xmpp_store_login_known(lg->at, res->reply->element[1]);

    lg->at->disabled = (res->reply->element[2]->type != REDIS_REPLY_NIL);
    lg->at->created = ngx_xmpp_store_login_created(res->reply->element[3]);

    if (field->type != REDIS_REPLY_STRING) {
        ngx_xmpp_store_login_answered(lg, NGX_DECLINED);
        return;
    }

    /* the other reply may come later, this one does not stay */

    lg->text.len = field->len;
    lg->text.data = ngx_pnalloc(lg->pool, field->len);

    if (lg->text.data == NULL) {
        ngx_xmpp_store_login_answered(lg, NGX_ERROR);
        return;
    }

    ngx_memcpy(lg->text.data, field->str, field->len);

    ngx_xmpp_store_login_answered(lg, NGX_OK);
}


/* "HASH:DAY HASH:DAY ...": is this network there, and since when? */

static void
ngx_xmpp_store_login_known(ngx_xmpp_store_attempt_t *at, redisReply *reply)
{
    u_char      *p, *last;
    ngx_uint_t   day, today;

    if (reply->type != REDIS_REPLY_STRING) {
        return;
    }

    p = (u_char *) reply->str;
    last = p + reply->len;
    today = ngx_xmpp_store_today();

    while (last - p > NGX_XMPP_TALLY_LEN + 1) {

        if (ngx_memcmp(p, at->tallies[NGX_XMPP_STORE_TALLY_BOTH],
                       NGX_XMPP_TALLY_LEN)
            == 0)
        {
            p += NGX_XMPP_TALLY_LEN + 1;

            for (day = 0; p < last && *p >= '0' && *p <= '9'; p++) {
                day = day * 10 + (*p - '0');
            }

            at->known = (day + NGX_XMPP_STORE_KNOWN_DAYS >= today);
            at->fresh = (day >= today);
            return;
        }

        while (p < last && *p++ != ' ') { /* void */ }
    }
}


/* the digits of a date, as redis/10-base.lua has them; 0: there is none */

static uint64_t
ngx_xmpp_store_login_created(redisReply *reply)
{
    u_char      *p, *last;
    uint64_t     value;
    ngx_uint_t   n;

    if (reply->type != REDIS_REPLY_STRING) {
        return 0;
    }

    p = (u_char *) reply->str;
    last = p + reply->len;

    for (value = 0, n = 0; p < last && n < 14; p++) {
        if (*p >= '0' && *p <= '9') {
            value = value * 10 + (*p - '0');
            n++;
        }
    }

    return value;
}


static void
ngx_xmpp_store_login_counts(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_store_login_t *lg = data;

    ngx_uint_t  i;

    if (res->reply == NULL || res->reply->type != REDIS_REPLY_ARRAY
        || res->reply->elements != NGX_XMPP_STORE_TALLIES)
    {
        ngx_xmpp_store_login_answered(lg, NGX_ERROR);
        return;
    }

    for (i = 0; i < NGX_XMPP_STORE_TALLIES; i++) {
        lg->at->counts[i] = ngx_xmpp_store_tally_count(res->reply, i);
    }

    ngx_xmpp_store_login_answered(lg, NGX_OK);
}


/* the worst of the two answers counts; limits, when both are there */

static void
ngx_xmpp_store_login_answered(ngx_xmpp_store_login_t *lg, ngx_int_t rc)
{
    ngx_uint_t                 i;
    ngx_xmpp_store_result_t    res;
    ngx_xmpp_store_attempt_t  *at;

    if (lg->rc != NGX_ERROR && rc != NGX_OK) {
        lg->rc = rc;
    }

    if (--lg->waiting) {
        return;
    }

    ngx_memzero(&res, sizeof(ngx_xmpp_store_result_t));
    res.rc = lg->rc;
    res.text = lg->text;

    at = lg->at;
    at->answered = 1;

    i = ngx_xmpp_store_login_account_tally(at);

    if (res.rc != NGX_ERROR
        && ((at->max_address
             && at->counts[NGX_XMPP_STORE_TALLY_ADDRESS] >= at->max_address)
            || (at->max_account && at->counts[i] >= at->max_account)))
    {
        res.rc = NGX_ABORT;
    }

    lg->handler(lg->data, &res);
}


static ngx_uint_t
ngx_xmpp_store_login_account_tally(ngx_xmpp_store_attempt_t *at)
{
    return at->known ? NGX_XMPP_STORE_TALLY_BOTH : NGX_XMPP_STORE_TALLY_ACCOUNT;
}


ngx_uint_t
ngx_xmpp_store_login_limited(ngx_xmpp_store_t *store,
    ngx_xmpp_store_attempt_t *at)
{
    ngx_uint_t               i;
    ngx_xmpp_store_tally_t  *t;

    if (at->network.len == 0) {
        return 0;
    }

    t = ngx_xmpp_store_tally(store, at, NGX_XMPP_STORE_TALLY_ADDRESS);

    if (t && at->max_address && t->count >= at->max_address) {
        return 1;
    }

    /* of an account only when it is known whether it knows the network */

    if (!at->answered) {
        return 0;
    }

    i = ngx_xmpp_store_login_account_tally(at);
    t = ngx_xmpp_store_tally(store, at, i);

    return t && at->max_account && t->count >= at->max_account;
}


void
ngx_xmpp_store_login_failed(ngx_xmpp_store_t *store,
    ngx_xmpp_store_attempt_t *at)
{
    ngx_pool_t                *pool;
    ngx_xmpp_store_args_t      a;
    ngx_xmpp_store_attempt_t  *copy;

    if (at->network.len == 0) {
        return;
    }

    pool = ngx_create_pool(NGX_XMPP_STORE_POST_POOL, store->log);
    if (pool == NULL) {
        return;
    }

    /* for the reply, which the exchange does not wait for */

    copy = ngx_palloc(pool, sizeof(ngx_xmpp_store_attempt_t));
    if (copy == NULL) {
        goto failed;
    }

    *copy = *at;
    copy->store = store;
    copy->jid.data = ngx_pstrdup(pool, &at->jid);
    copy->network.data = ngx_pstrdup(pool, &at->network);

    if (copy->jid.data == NULL || copy->network.data == NULL) {
        goto failed;
    }

    ngx_xmpp_store_args(&a, pool, ngx_xmpp_store_key_len(store, &at->tag)
                                  + NGX_INT64_LEN);
    ngx_xmpp_store_arg_text(&a, "FCALL");
    ngx_xmpp_store_arg_text(&a, "xmpp1_failed");
    ngx_xmpp_store_arg_text(&a, "1");
    ngx_xmpp_store_arg_failures(store, &a);
    ngx_xmpp_store_arg_uint(&a, at->time);
    ngx_xmpp_store_arg_text(&a, NGX_XMPP_STORE_TALLIES_MAX);

    ngx_xmpp_store_login_count(store, at, &a, NGX_XMPP_STORE_TALLY_ADDRESS,
                               at->max_address != 0);
    ngx_xmpp_store_login_count(store, at, &a,
                               ngx_xmpp_store_login_account_tally(at),
                               at->max_account != 0 && at->answered);

    (void) ngx_xmpp_store_post_told(store, &a, ngx_xmpp_store_login_counted,
                                    copy);
    return;

failed:

    ngx_destroy_pool(pool);
}


/* an argument of that Function, empty unless it counts; and our own count */

static void
ngx_xmpp_store_login_count(ngx_xmpp_store_t *store,
    ngx_xmpp_store_attempt_t *at, ngx_xmpp_store_args_t *a, ngx_uint_t i,
    ngx_uint_t counts)
{
    ngx_str_t                name;
    ngx_uint_t               n;
    ngx_xmpp_store_tally_t  *t;

    name.data = at->tallies[i];
    name.len = counts ? NGX_XMPP_TALLY_LEN : 0;

    ngx_xmpp_store_arg(a, &name);

    if (!counts) {
        return;
    }

    t = ngx_xmpp_store_tally(store, at, i);
    n = at->counts[i];

    if (t && t->count > n) {
        n = t->count;
    }

    ngx_xmpp_store_tally_set(store, at, i, n + 1);
}


/* the one failure that reaches a limit is told, wherever it happened */

static void
ngx_xmpp_store_login_counted(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_store_attempt_t *at = data;

    ngx_uint_t  i, n, count, max;

    if (res->rc != NGX_OK) {
        return;
    }

    for (i = 0; i < 2; i++) {
        n = i ? ngx_xmpp_store_login_account_tally(at)
              : NGX_XMPP_STORE_TALLY_ADDRESS;
        max = i ? at->max_account : at->max_address;
        count = ngx_xmpp_store_tally_count(res->reply, 1 + i);

        if (count == 0) {
            continue;
        }

        ngx_xmpp_store_tally_set(at->store, at, n, count);

        if (count != max) {
            continue;
        }

        if (i == 0) {
            ngx_log_error(NGX_LOG_ERR, at->store->log, 0,
                          "xmpp login limit reached: client %V, %ui failures "
                          "within %ui s", &at->network, count, at->time);

        } else if (at->known) {
            ngx_log_error(NGX_LOG_ERR, at->store->log, 0,
                          "xmpp login limit reached: client %V, jid \"%V\", "
                          "%ui failures within %ui s",
                          &at->network, &at->jid, count, at->time);

        } else {
            ngx_log_error(NGX_LOG_ERR, at->store->log, 0,
                          "xmpp login limit reached: jid \"%V\" from "
                          "addresses new to it, %ui failures within %ui s",
                          &at->jid, count, at->time);
        }
    }
}


void
ngx_xmpp_store_login_done(ngx_xmpp_store_t *store,
    ngx_xmpp_store_attempt_t *at)
{
    ngx_str_t               name;
    ngx_pool_t             *pool;
    ngx_xmpp_store_args_t   a;

    if (at->network.len == 0 || at->jid.len == 0 || at->fresh) {
        return;
    }

    pool = ngx_create_pool(NGX_XMPP_STORE_POST_POOL, store->log);
    if (pool == NULL) {
        return;
    }

    name.data = at->tallies[NGX_XMPP_STORE_TALLY_BOTH];
    name.len = NGX_XMPP_TALLY_LEN;

    ngx_xmpp_store_args(&a, pool, ngx_xmpp_store_key_len(store, &at->tag)
                                  + 2 * NGX_INT64_LEN);
    ngx_xmpp_store_arg_text(&a, "FCALL");
    ngx_xmpp_store_arg_text(&a, "xmpp1_known");
    ngx_xmpp_store_arg_text(&a, "1");
    ngx_xmpp_store_arg_key(store, &a, NGX_XMPP_KEY_ACCOUNT, &at->tag);
    ngx_xmpp_store_arg(&a, &name);
    ngx_xmpp_store_arg_uint(&a, ngx_xmpp_store_today());
    ngx_xmpp_store_arg_uint(&a, NGX_XMPP_STORE_KNOWN_DAYS);

    ngx_xmpp_store_post(store, &a, &at->tag);
}


/* the worker's own count, NULL: none that is young enough */

static ngx_xmpp_store_tally_t *
ngx_xmpp_store_tally(ngx_xmpp_store_t *store, ngx_xmpp_store_attempt_t *at,
    ngx_uint_t i)
{
    u_char                  *name;
    ngx_xmpp_store_tally_t  *t;

    name = at->tallies[i];

    t = &store->tallies[i ? 1 : 0][ngx_hextoi(name, 2)
                                   % NGX_XMPP_STORE_TALLY_SIZE];

    if (ngx_memcmp(t->name, name, NGX_XMPP_TALLY_LEN) != 0
        || (ngx_msec_int_t) (t->until - ngx_current_msec) <= 0)
    {
        return NULL;
    }

    return t;
}


static void
ngx_xmpp_store_tally_set(ngx_xmpp_store_t *store,
    ngx_xmpp_store_attempt_t *at, ngx_uint_t i, ngx_uint_t count)
{
    u_char                  *name;
    ngx_xmpp_store_tally_t  *t;

    t = ngx_xmpp_store_tally(store, at, i);

    if (t == NULL) {
        name = at->tallies[i];

        t = &store->tallies[i ? 1 : 0][ngx_hextoi(name, 2)
                                       % NGX_XMPP_STORE_TALLY_SIZE];

        ngx_memcpy(t->name, name, NGX_XMPP_TALLY_LEN);
        t->count = 0;
    }

    t->count = ngx_max(t->count, count);
    t->until = ngx_current_msec + NGX_XMPP_STORE_TALLY_TIME;
}


static ngx_uint_t
ngx_xmpp_store_tally_count(redisReply *reply, size_t n)
{
    ngx_int_t    count;
    redisReply  *e;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements <= n) {
        return 0;
    }

    e = reply->element[n];

    if (e->type == REDIS_REPLY_INTEGER) {
        return e->integer;
    }

    if (e->type != REDIS_REPLY_STRING) {
        return 0;
    }

    count = ngx_atoi((u_char *) e->str, e->len);

    return (count == NGX_ERROR) ? 0 : count;
}


static ngx_uint_t
ngx_xmpp_store_today(void)
{
    return ngx_time() / 86400;
}
