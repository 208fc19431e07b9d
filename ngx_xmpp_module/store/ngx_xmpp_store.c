/*
 * The store: the worker's Redis client, the Functions, requests and bells.
 *
 * On each new command connection, before anything else, the Functions are
 * loaded (a library that is there is replaced by the same version) and the
 * cluster's secret is read or made.  "Function not found" later on, after a
 * FUNCTION FLUSH or a failover, loads them again and repeats the command once
 * (cluster.md, rule 15).
 *
 * A request lives in its caller's pool: until it is answered, the pool's
 * cleanup cancels it; then the cleanup is disarmed.  What nobody waits for has
 * a pool of its own, which the store keeps until the reply.
 */


#include "ngx_xmpp_store_private.h"


typedef struct {
    ngx_queue_t                 queue;      /* of the store */
    ngx_xmpp_store_t           *store;
    ngx_pool_t                 *pool;       /* this lies in it */
    ngx_str_t                   tag;
    ngx_xmpp_store_handler_pt   handler;    /* NULL: tag's bell rings */
    void                       *data;
} ngx_xmpp_store_post_t;


static void ngx_xmpp_store_state_handler(void *data, ngx_uint_t subscriber,
    ngx_uint_t ready);
static void ngx_xmpp_store_confirmed(void *data, ngx_uint_t number,
    ngx_uint_t ok);
static ngx_int_t ngx_xmpp_store_load(ngx_xmpp_store_t *store,
    ngx_uint_t flags);
static void ngx_xmpp_store_loaded(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status);
static void ngx_xmpp_store_agree(ngx_xmpp_store_t *store, ngx_uint_t flags);
static void ngx_xmpp_store_agreed(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status);
static void ngx_xmpp_store_agree_read(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status);
static ngx_int_t ngx_xmpp_store_agree_on(ngx_xmpp_store_t *store,
    redisReply *reply);
static void ngx_xmpp_store_message(void *data, ngx_str_t *channel,
    ngx_str_t *message);
static ngx_int_t ngx_xmpp_store_request(ngx_xmpp_store_req_t *req);
static ngx_int_t ngx_xmpp_store_post_send(ngx_xmpp_store_t *store,
    ngx_xmpp_store_args_t *a, ngx_str_t *tag,
    ngx_xmpp_store_handler_pt handler, void *data);
static void ngx_xmpp_store_cancel(void *data);
static void ngx_xmpp_store_reply(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status);
static void ngx_xmpp_store_posted(void *data, ngx_xmpp_store_result_t *res);
static ngx_int_t ngx_xmpp_store_missing(ngx_xmpp_store_req_t *req,
    redisReply *reply);
static void ngx_xmpp_store_error(ngx_xmpp_store_req_t *req, redisReply *reply,
    ngx_xmpp_store_result_t *res);
static void ngx_xmpp_store_outcome(redisReply *reply,
    ngx_xmpp_store_result_t *res);
static uint64_t ngx_xmpp_store_uint(redisReply *reply, size_t n);


ngx_xmpp_store_t *
ngx_xmpp_store_create(ngx_pool_t *pool, ngx_log_t *log,
    ngx_xmpp_store_conf_t *conf, ngx_xmpp_store_bell_pt bell,
    ngx_xmpp_store_rung_pt rung, ngx_xmpp_redis_state_pt state, void *data)
{
    u_char            *p;
    ngx_xmpp_store_t  *store;

    store = ngx_pcalloc(pool, sizeof(ngx_xmpp_store_t));
    if (store == NULL) {
        return NULL;
    }

    store->log = log;
    store->prefix = conf->prefix;
    store->durability = conf->durability;
    store->bell = bell;
    store->confirmed = conf->confirmed;
    store->rung = rung;
    store->state = state;
    store->data = data;

    ngx_queue_init(&store->posts);

    p = ngx_pnalloc(pool, 2 * conf->prefix.len + sizeof("/:secret")
                          + NGX_INT_T_LEN);
    if (p == NULL) {
        return NULL;
    }

    store->channels.data = p;
    p = ngx_sprintf(p, "%V/%ui", &conf->prefix, conf->redis.db);
    store->channels.len = p - store->channels.data;

    store->secret_key.data = p;
    p = ngx_sprintf(p, "%V:secret", &conf->prefix);
    store->secret_key.len = p - store->secret_key.data;

    if (ngx_xmpp_store_probe(store, pool, &conf->redis.probe) != NGX_OK) {
        return NULL;
    }

    conf->redis.message = ngx_xmpp_store_message;
    conf->redis.state = ngx_xmpp_store_state_handler;
    conf->redis.confirmed = ngx_xmpp_store_confirmed;
    conf->redis.data = store;

    store->redis = ngx_xmpp_redis_create(pool, log, &conf->redis);
    if (store->redis == NULL) {
        return NULL;
    }

    return store;
}


void
ngx_xmpp_store_destroy(ngx_xmpp_store_t *store)
{
    ngx_queue_t            *q;
    ngx_xmpp_store_post_t  *post;

    while (!ngx_queue_empty(&store->posts)) {
        q = ngx_queue_head(&store->posts);
        post = ngx_queue_data(q, ngx_xmpp_store_post_t, queue);

        ngx_queue_remove(q);
        ngx_destroy_pool(post->pool);
    }

    ngx_xmpp_redis_destroy(store->redis, 1);

    store->closed = 1;
}


ngx_uint_t
ngx_xmpp_store_pending(ngx_xmpp_store_t *store)
{
    return ngx_xmpp_redis_pending(store->redis);
}


ngx_uint_t
ngx_xmpp_store_connections(ngx_xmpp_store_t *store, ngx_connection_t **c)
{
    return ngx_xmpp_redis_connections(store->redis, c);
}


ngx_uint_t
ngx_xmpp_store_ready(ngx_xmpp_store_t *store)
{
    /* what it refused when it took no writes it may take by now */

    if (!store->loaded && !store->loading
        && ngx_xmpp_redis_ready(store->redis, 0))
    {
        (void) ngx_xmpp_store_load(store, 0);
    }

    return store->loaded && ngx_xmpp_redis_ready(store->redis, 0)
           && ngx_xmpp_redis_ready(store->redis, 1);
}


ngx_str_t *
ngx_xmpp_store_secret(ngx_xmpp_store_t *store)
{
    if (store->secret.len == 0 && store->agreeing == 0
        && ngx_xmpp_redis_ready(store->redis, 0))
    {
        ngx_xmpp_store_agree(store, 0);
    }

    return &store->secret;
}


static void
ngx_xmpp_store_state_handler(void *data, ngx_uint_t subscriber,
    ngx_uint_t ready)
{
    ngx_xmpp_store_t *store = data;

    if (!subscriber) {
        store->loaded = 0;
        store->refused = 0;

        if (ready) {
            if (ngx_xmpp_store_load(store, NGX_XMPP_REDIS_SETUP) != NGX_OK) {
                ngx_log_error(NGX_LOG_ERR, store->log, 0,
                              "xmpp could not send its Functions to Redis");
            }

            ngx_xmpp_store_agree(store, NGX_XMPP_REDIS_SETUP);
            ngx_xmpp_store_policy_check(store, NGX_XMPP_REDIS_SETUP);
            ngx_xmpp_store_durability_check(store, NGX_XMPP_REDIS_SETUP);
        }
    }

    store->state(store->data, subscriber, ready);
}


ngx_uint_t
ngx_xmpp_store_confirm(ngx_xmpp_store_t *store)
{
    return ngx_xmpp_redis_confirm(store->redis);
}


static void
ngx_xmpp_store_confirmed(void *data, ngx_uint_t number, ngx_uint_t ok)
{
    ngx_xmpp_store_t *store = data;

    store->confirmed(store->data, number, ok);
}


static ngx_int_t
ngx_xmpp_store_load(ngx_xmpp_store_t *store, ngx_uint_t flags)
{
    ngx_str_t  argv[4];

    ngx_str_set(&argv[0], "FUNCTION");
    ngx_str_set(&argv[1], "LOAD");
    ngx_str_set(&argv[2], "REPLACE");
    argv[3] = ngx_xmpp_functions_lua;

    if (ngx_xmpp_redis_command(store->redis, flags, 4, argv,
                               ngx_xmpp_store_loaded, store)
        == NULL)
    {
        return NGX_ERROR;
    }

    store->loading = 1;

    return NGX_OK;
}


static void
ngx_xmpp_store_loaded(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status)
{
    ngx_xmpp_store_t *store = data;

    char       *advice;
    ngx_str_t   text;

    store->loading = 0;

    if (reply == NULL) {
        return;
    }

    if (reply->type == REDIS_REPLY_ERROR) {

        if (store->refused) {
            return;
        }

        store->refused = 1;

        text.data = (u_char *) reply->str;
        text.len = reply->len;

        advice = ngx_xmpp_redis_advice(&text);

        ngx_log_error(NGX_LOG_ERR, store->log, 0,
                      "Redis refused the xmpp Functions: \"%V\"; %s",
                      &text, advice ? advice
                                    : "Redis 7 or later is needed");
        return;
    }

    store->loaded = 1;
    store->refused = 0;

    (void) ngx_xmpp_store_secret(store);
}


/*
 * The first worker of the cluster decides on the secret, all others read it;
 * after a loss of all data whoever comes back first puts its own there.  A
 * server that takes no writes now, as it misses replicas or memory, is read at
 * least; and asked again when the secret is wanted (ngx_xmpp_store_secret()).
 */

static void
ngx_xmpp_store_agree(ngx_xmpp_store_t *store, ngx_uint_t flags)
{
    ngx_str_t  argv[5];

    /* a request that is under way may still have it written */

    if (store->secret_data[0] == '\0'
        && ngx_xmpp_id_random(store->secret_data,
                              sizeof(store->secret_data) / 2)
           != NGX_OK)
    {
        return;
    }

    ngx_str_set(&argv[0], "SET");
    argv[1] = store->secret_key;
    argv[2].data = store->secret_data;
    argv[2].len = sizeof(store->secret_data);
    ngx_str_set(&argv[3], "NX");
    ngx_str_set(&argv[4], "GET");

    if (ngx_xmpp_redis_command(store->redis, flags, 5, argv,
                               ngx_xmpp_store_agreed, store))
    {
        store->agreeing++;
    }
}


/* GET gives what was there: ours was written only if there was nothing */

static void
ngx_xmpp_store_agreed(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status)
{
    ngx_xmpp_store_t *store = data;

    ngx_str_t  argv[2];

    store->agreeing--;

    if (reply == NULL) {
        return;
    }

    if (reply->type != REDIS_REPLY_ERROR) {
        (void) ngx_xmpp_store_agree_on(store, reply);

        store->secret.data = store->secret_data;
        store->secret.len = sizeof(store->secret_data);

        return;
    }

    ngx_str_set(&argv[0], "GET");
    argv[1] = store->secret_key;

    if (ngx_xmpp_redis_command(store->redis, 0, 2, argv,
                               ngx_xmpp_store_agree_read, store))
    {
        store->agreeing++;
    }
}


static void
ngx_xmpp_store_agree_read(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status)
{
    ngx_xmpp_store_t *store = data;

    store->agreeing--;

    if (reply && ngx_xmpp_store_agree_on(store, reply) == NGX_OK) {
        store->secret.data = store->secret_data;
        store->secret.len = sizeof(store->secret_data);
    }
}


/* NGX_OK; NGX_DECLINED: there is none */

static ngx_int_t
ngx_xmpp_store_agree_on(ngx_xmpp_store_t *store, redisReply *reply)
{
    if (reply->type != REDIS_REPLY_STRING
        || (size_t) reply->len != sizeof(store->secret_data))
    {
        return NGX_DECLINED;
    }

    ngx_memcpy(store->secret_data, reply->str, reply->len);

    return NGX_OK;
}


static void
ngx_xmpp_store_message(void *data, ngx_str_t *channel, ngx_str_t *message)
{
    ngx_xmpp_store_t *store = data;

    ngx_xmpp_store_bell_t  bell;

    if (ngx_xmpp_store_channel_tag(store, channel, &bell.tag) != NGX_OK) {
        return;
    }

    if (ngx_xmpp_store_bell_parse(message, &bell) != NGX_OK) {
        ngx_log_error(NGX_LOG_WARN, store->log, 0,
                      "xmpp ignored a message that it cannot read on the Redis "
                      "channel \"%V\"", channel);
        return;
    }

    store->bell(store->data, &bell);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_command(ngx_xmpp_store_t *store, ngx_xmpp_store_args_t *a,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_str_t             *argv;
    ngx_pool_cleanup_t    *cln;
    ngx_xmpp_store_req_t  *req;

    if (a->failed) {
        return NULL;
    }

    argv = ngx_palloc(a->pool, a->n * sizeof(ngx_str_t));
    if (argv == NULL) {
        return NULL;
    }

    ngx_memcpy(argv, a->v, a->n * sizeof(ngx_str_t));

    cln = ngx_pool_cleanup_add(a->pool, sizeof(ngx_xmpp_store_req_t));
    if (cln == NULL) {
        return NULL;
    }

    req = cln->data;
    ngx_memzero(req, sizeof(ngx_xmpp_store_req_t));

    req->store = store;
    req->handler = handler;
    req->data = data;
    req->cleanup = cln;
    req->argc = a->n;
    req->argv = argv;
    req->mark = a->mark;
    req->once = a->once;
    req->durable = a->durable;
    req->sure = a->sure;

    if (ngx_xmpp_store_request(req) != NGX_OK) {
        return NULL;
    }

    cln->handler = ngx_xmpp_store_cancel;

    return req;
}


static ngx_int_t
ngx_xmpp_store_request(ngx_xmpp_store_req_t *req)
{
    req->redis = ngx_xmpp_redis_command(req->store->redis,
                                        (req->once ? 0
                                                   : NGX_XMPP_REDIS_REPEAT)
                                        | (req->mark ? NGX_XMPP_REDIS_MARK
                                                     : 0)
                                        | (req->durable
                                           ? NGX_XMPP_REDIS_DURABLE : 0)
                                        | (req->sure ? NGX_XMPP_REDIS_SURE
                                                     : 0),
                                        req->argc, req->argv,
                                        ngx_xmpp_store_reply, req);

    return req->redis ? NGX_OK : NGX_DECLINED;
}


/* the same for what nobody waits for; a's pool is ours from now on */

void
ngx_xmpp_store_post(ngx_xmpp_store_t *store, ngx_xmpp_store_args_t *a,
    ngx_str_t *tag)
{
    (void) ngx_xmpp_store_post_send(store, a, tag, NULL, NULL);
}


ngx_int_t
ngx_xmpp_store_post_told(ngx_xmpp_store_t *store, ngx_xmpp_store_args_t *a,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_str_t  none;

    ngx_str_set(&none, "");

    return ngx_xmpp_store_post_send(store, a, &none, handler, data);
}


static ngx_int_t
ngx_xmpp_store_post_send(ngx_xmpp_store_t *store, ngx_xmpp_store_args_t *a,
    ngx_str_t *tag, ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_uint_t              i;
    ngx_xmpp_store_post_t  *post;

    post = ngx_palloc(a->pool, sizeof(ngx_xmpp_store_post_t));
    if (post == NULL) {
        goto failed;
    }

    post->store = store;
    post->pool = a->pool;
    post->handler = handler;
    post->data = data;

    /* the strings must live for a repeat */

    for (i = 0; i < a->n; i++) {
        a->v[i].data = ngx_pstrdup(a->pool, &a->v[i]);
        if (a->v[i].data == NULL) {
            goto failed;
        }
    }

    post->tag.len = tag->len;
    post->tag.data = ngx_pstrdup(a->pool, tag);

    if (post->tag.data == NULL
        || ngx_xmpp_store_command(store, a, ngx_xmpp_store_posted, post)
           == NULL)
    {
        goto failed;
    }

    ngx_queue_insert_tail(&store->posts, &post->queue);

    return NGX_OK;

failed:

    ngx_destroy_pool(a->pool);

    return NGX_ERROR;
}


static void
ngx_xmpp_store_posted(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_store_post_t *post = data;

    ngx_queue_remove(&post->queue);

    if (post->handler) {
        post->handler(post->data, res);

    } else if (res->rc == NGX_OK && res->number) {
        post->store->rung(post->store->data, &post->tag, res->number);
    }

    ngx_destroy_pool(post->pool);
}


static void
ngx_xmpp_store_cancel(void *data)
{
    ngx_xmpp_store_req_t *req = data;

    if (req->redis && !req->store->closed) {
        ngx_xmpp_redis_cancel(req->redis);
        req->redis = NULL;
    }
}


static void
ngx_xmpp_store_reply(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status)
{
    ngx_xmpp_store_req_t *req = data;

    ngx_xmpp_store_result_t  res;

    req->redis = NULL;

    if (status == NGX_XMPP_REDIS_UNKNOWN) {
        req->unknown = 1;
    }

    if (reply != NULL && ngx_xmpp_store_missing(req, reply) == NGX_OK) {
        return;
    }

    req->cleanup->handler = NULL;

    ngx_memzero(&res, sizeof(ngx_xmpp_store_result_t));
    res.reply = reply;

    if (reply == NULL) {
        res.rc = (status == NGX_XMPP_REDIS_OK) ? NGX_OK
                 : req->unknown ? NGX_ERROR : NGX_AGAIN;

    } else if (reply->type == REDIS_REPLY_ERROR) {
        ngx_xmpp_store_error(req, reply, &res);

    } else {
        ngx_xmpp_store_outcome(reply, &res);
    }

    req->handler(req->data, &res);
}


/* NGX_OK: the Functions were lost; they are loaded, the command repeated */

static ngx_int_t
ngx_xmpp_store_missing(ngx_xmpp_store_req_t *req, redisReply *reply)
{
    ngx_str_t  text;

    if (reply->type != REDIS_REPLY_ERROR || req->repeated) {
        return NGX_DECLINED;
    }

    text.data = (u_char *) reply->str;
    text.len = reply->len;

    if (ngx_strlcasestrn(text.data, text.data + text.len,
                         (u_char *) "function not found",
                         sizeof("function not found") - 2)
        == NULL)
    {
        return NGX_DECLINED;
    }

    if (ngx_xmpp_store_load(req->store, 0) != NGX_OK) {
        return NGX_DECLINED;
    }

    req->repeated = 1;

    /* this try did not run, but one before it on another connection may have */

    if (req->mark) {
        ngx_str_set(&req->argv[req->argc - 1], "1");
    }

    return ngx_xmpp_store_request(req);
}


/*
 * An error that says that nothing ran: the caller may try again later, unless
 * it is the answer to a repeat of what may have run (cluster.md, rule 2).
 */

static void
ngx_xmpp_store_error(ngx_xmpp_store_req_t *req, redisReply *reply,
    ngx_xmpp_store_result_t *res)
{
    char       *advice;
    ngx_str_t   text;

    text.data = (u_char *) reply->str;
    text.len = reply->len;

    advice = ngx_xmpp_redis_advice(&text);

    res->rc = (advice && !req->unknown) ? NGX_AGAIN : NGX_ERROR;

    ngx_log_error(NGX_LOG_ERR, req->store->log, 0,
                  "Redis refused \"%V %V\" of xmpp: \"%V\"; %s",
                  &req->argv[0], &req->argv[1], &text,
                  advice ? advice : "it may have run in part");
}


/* Functions answer { outcome, number of the bell, epoch, ... }, or how many */

static void
ngx_xmpp_store_outcome(redisReply *reply, ngx_xmpp_store_result_t *res)
{
    redisReply  *first;

    res->rc = NGX_ERROR;

    switch (reply->type) {

    case REDIS_REPLY_NIL:
        res->rc = NGX_DECLINED;
        return;

    case REDIS_REPLY_INTEGER:
        res->rc = reply->integer ? NGX_OK : NGX_DECLINED;
        return;

    case REDIS_REPLY_STRING:
        res->rc = NGX_OK;
        res->text.data = (u_char *) reply->str;
        res->text.len = reply->len;
        return;

    case REDIS_REPLY_ARRAY:
        break;

    default:
        return;
    }

    if (reply->elements == 0
        || reply->element[0]->type != REDIS_REPLY_STRING)
    {
        return;
    }

    first = reply->element[0];
    res->number = ngx_xmpp_store_uint(reply, 1);
    res->epoch = ngx_xmpp_store_uint(reply, 2);

    if (first->len == 2 && ngx_memcmp(first->str, "ok", 2) == 0) {
        res->rc = NGX_OK;

    } else if (first->len == 4 && ngx_memcmp(first->str, "busy", 4) == 0) {
        res->rc = NGX_BUSY;

    } else {
        res->rc = NGX_DECLINED;
    }
}


/* the n-th element of a Function's answer as a number, 0 if there is none */

static uint64_t
ngx_xmpp_store_uint(redisReply *reply, size_t n)
{
    u_char    *p, *last;
    uint64_t   value;

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY
        || reply->elements <= n
        || reply->element[n]->type != REDIS_REPLY_STRING)
    {
        return 0;
    }

    p = (u_char *) reply->element[n]->str;
    last = p + reply->element[n]->len;

    for (value = 0; p < last && *p >= '0' && *p <= '9'; p++) {
        value = value * 10 + (*p - '0');
    }

    return value;
}
