/*
 * An account that a stranger makes (XEP-0077, 3.1), before he logs in to it on
 * the same stream.
 *
 *     set --> asked: is the name free, has the network made too many?
 *         --> named: the name joins the list of accounts
 *         --thread--> keys --Function--> the account is there, answered
 *
 * What costs something is counted before it is spent: the network's account and
 * its attempt in Redis, then a place among those that this worker makes at a
 * time.  An account that does not come to be is taken back, an attempt is not.
 * The order, list before account, and after it was seen that the name is free,
 * leaves no account without a name in the list (ngx_xmpp_store_remove.c).
 *
 * Whatever a stream keeps is one small context of c->pool; a set that is under
 * way has a pool of its own, whose end cancels all that it waits for: the
 * client goes, or its time is over.  Then the account may be there or not, and
 * so it may when Redis does not answer: error wait, a login tells.
 */


#include "ngx_xmpp_register.h"
#include <openssl/crypto.h>


#define NGX_XMPP_REGISTER_POOL        1024
#define NGX_XMPP_REGISTER_FLIGHT      16      /* at a time, in a worker */
#define NGX_XMPP_REGISTER_SETS        5       /* of one stream */


/* of a stream, from c->pool */
typedef struct {
    ngx_xmpp_stream_t          *stream;
    ngx_pool_t                 *pool;           /* of a set, or NULL: below */
    ngx_str_t                   id;
    ngx_xmpp_jid_t              jid;
    ngx_str_t                   password;       /* prepared */
    ngx_xmpp_store_register_t   store;
    ngx_uint_t                  sets;
    unsigned                    made:1;         /* the stream has its account */
} ngx_xmpp_register_ctx_t;


static ngx_xmpp_register_ctx_t *ngx_xmpp_register_ctx(ngx_xmpp_stream_t *st);
static ngx_int_t ngx_xmpp_register_begin(ngx_xmpp_register_ctx_t *ctx,
    ngx_xmpp_xml_t *query);
static ngx_int_t ngx_xmpp_register_name(ngx_xmpp_register_ctx_t *ctx,
    ngx_xmpp_xml_t *query);
static ngx_int_t ngx_xmpp_register_password(ngx_xmpp_register_ctx_t *ctx,
    ngx_xmpp_xml_t *query);
static ngx_uint_t ngx_xmpp_register_reserved(ngx_xmpp_register_ctx_t *ctx);
static ngx_int_t ngx_xmpp_register_network(ngx_xmpp_register_ctx_t *ctx);
static void ngx_xmpp_register_asked(void *data, ngx_xmpp_store_result_t *res);
static void ngx_xmpp_register_named(void *data, ngx_xmpp_store_result_t *res);
static void ngx_xmpp_register_keys(void *data, ngx_str_t *keys);
static void ngx_xmpp_register_stored(void *data, ngx_xmpp_store_result_t *res);
static void ngx_xmpp_register_done(ngx_xmpp_register_ctx_t *ctx, ngx_int_t rc,
    const char *reason);
static ngx_int_t ngx_xmpp_register_refuse(ngx_xmpp_register_ctx_t *ctx,
    ngx_int_t condition, const char *reason);
static void ngx_xmpp_register_log(ngx_xmpp_register_ctx_t *ctx,
    const char *reason);
static void ngx_xmpp_register_end(void *data);


ngx_int_t
ngx_xmpp_register_set(ngx_xmpp_stream_t *st, ngx_str_t *id,
    ngx_xmpp_xml_t *query)
{
    ngx_int_t                 rc;
    ngx_xmpp_register_ctx_t  *ctx;

    ctx = ngx_xmpp_register_ctx(st);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    if (++ctx->sets > NGX_XMPP_REGISTER_SETS) {
        st->transport->close(st, NGX_XMPP_SE_POLICY_VIOLATION,
                             "too many attempts to register");
        return NGX_OK;
    }

    ctx->pool = ngx_create_pool(NGX_XMPP_REGISTER_POOL, st->worker->log);
    if (ctx->pool == NULL) {
        return NGX_ERROR;
    }

    st->worker->registering++;

    ctx->id.len = id->len;
    ctx->id.data = ngx_pstrdup(ctx->pool, id);

    rc = ctx->id.data ? ngx_xmpp_register_begin(ctx, query) : NGX_ERROR;

    if (rc != NGX_AGAIN) {
        ngx_xmpp_register_end(ctx);
    }

    return rc;
}


/* the stream's, made at its first set; NULL: no memory */

static ngx_xmpp_register_ctx_t *
ngx_xmpp_register_ctx(ngx_xmpp_stream_t *st)
{
    ngx_pool_cleanup_t       *cln;
    ngx_xmpp_register_ctx_t  *ctx;

    ctx = ngx_xmpp_stream_get_ctx(st, &ngx_xmpp_register_module);

    if (ctx) {
        return ctx;
    }

    cln = ngx_pool_cleanup_add(st->connection->pool,
                               sizeof(ngx_xmpp_register_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_xmpp_register_ctx_t));

    ctx->stream = st;
    cln->handler = ngx_xmpp_register_end;

    if (ngx_xmpp_stream_set_ctx(st, &ngx_xmpp_register_module, ctx)
        != NGX_OK)
    {
        return NULL;
    }

    return ctx;
}


/* NGX_AGAIN; NGX_OK: it was answered; NGX_ERROR */

static ngx_int_t
ngx_xmpp_register_begin(ngx_xmpp_register_ctx_t *ctx, ngx_xmpp_xml_t *query)
{
    ngx_int_t           rc;
    ngx_xmpp_worker_t  *w;

    w = ctx->stream->worker;

    ngx_memzero(&ctx->jid, sizeof(ngx_xmpp_jid_t));

    /* XEP-0077, 3.1.1: a second identity */

    if (ctx->made) {
        return ngx_xmpp_register_refuse(ctx, NGX_XMPP_E_NOT_ACCEPTABLE,
                                        "this connection has made an account "
                                        "already, connect again for another");
    }

    rc = ngx_xmpp_register_name(ctx, query);

    if (rc == NGX_OK) {
        rc = ngx_xmpp_register_password(ctx, query);
    }

    if (rc == NGX_DECLINED) {
        return ngx_xmpp_register_refuse(ctx, NGX_XMPP_E_NOT_ACCEPTABLE,
                                        ctx->jid.full.len
                                        ? "the password is missing, too long "
                                          "or not allowed"
                                        : "the name is missing, too long or "
                                          "not allowed");
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_xmpp_register_reserved(ctx)) {
        return ngx_xmpp_register_refuse(ctx, NGX_XMPP_E_CONFLICT,
                                        "the name is taken");
    }

    /* it may not be allowed any more, nor the name free */

    if (w->draining) {
        return ngx_xmpp_register_refuse(ctx, NGX_XMPP_E_RESOURCE_CONSTRAINT,
                                        "nginx has a new configuration");
    }

    if (w->registering > NGX_XMPP_REGISTER_FLIGHT) {
        return ngx_xmpp_register_refuse(ctx, NGX_XMPP_E_RESOURCE_CONSTRAINT,
                                        "too many at a time, try again");
    }

    if (ngx_xmpp_store_tag(ctx->pool, &ctx->jid.bare, &ctx->store.tag)
        != NGX_OK
        || ngx_xmpp_register_network(ctx) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_xmpp_store_register_ask(w->store, ctx->pool, &ctx->store,
                                    ngx_xmpp_register_asked, ctx)
        == NULL)
    {
        return ngx_xmpp_register_refuse(ctx, NGX_XMPP_E_RESOURCE_CONSTRAINT,
                                        "Redis is away, try again later");
    }

    return NGX_AGAIN;
}


/*
 * A localpart (RFC 7622, 3.3) of this host; NGX_DECLINED: there is none, or it
 * cannot be prepared; NGX_ERROR.
 */

static ngx_int_t
ngx_xmpp_register_name(ngx_xmpp_register_ctx_t *ctx, ngx_xmpp_xml_t *query)
{
    ngx_int_t         rc;
    ngx_str_t         text, full, *domain;
    ngx_xmpp_jid_t    jid;
    ngx_xmpp_xml_t   *e;

    e = ngx_xmpp_xml_child(query, "username", &ngx_xmpp_register_ns);
    if (e == NULL) {
        return NGX_DECLINED;
    }

    if (ngx_xmpp_xml_text(ctx->pool, e, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    domain = &ctx->stream->host->name;

    full.len = text.len + 1 + domain->len;
    full.data = ngx_pnalloc(ctx->pool, full.len);

    if (full.data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(full.data, "%V@%V", &text, domain);

    rc = ngx_xmpp_jid_parse(ctx->pool, &full, &jid);

    if (rc != NGX_OK) {
        return rc;
    }

    /* with a "/" in the text the domain is within a resource */

    if (jid.local.len == 0 || jid.resource.len) {
        return NGX_DECLINED;
    }

    ctx->jid = jid;

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_register_password(ngx_xmpp_register_ctx_t *ctx, ngx_xmpp_xml_t *query)
{
    ngx_str_t        sent, text;
    ngx_xmpp_xml_t  *e;

    e = ngx_xmpp_xml_child(query, "password", &ngx_xmpp_register_ns);
    if (e == NULL) {
        return NGX_DECLINED;
    }

    if (ngx_xmpp_xml_text(ctx->pool, e, &sent) != NGX_OK) {
        return NGX_ERROR;
    }

    if (sent.len == 0) {
        return NGX_DECLINED;
    }

    /* it may lie in the tree, which ends before the set does */

    text.len = sent.len;
    text.data = ngx_pstrdup(ctx->pool, &sent);

    if (text.data == NULL) {
        return NGX_ERROR;
    }

    OPENSSL_cleanse(sent.data, sent.len);

    return ngx_xmpp_keys_password(ctx->pool, &text, &ctx->password);
}


/* an administrator, of whichever of our domains, is none of the strangers */

static ngx_uint_t
ngx_xmpp_register_reserved(ngx_xmpp_register_ctx_t *ctx)
{
    ngx_uint_t              i;
    ngx_xmpp_host_t       **hp;
    ngx_xmpp_main_conf_t   *xmcf;

    xmcf = ngx_stream_cycle_get_module_main_conf(
               ctx->stream->worker->cycle, ngx_xmpp_module);
    hp = xmcf->hosts.elts;

    for (i = 0; i < xmcf->hosts.nelts; i++) {
        if (ngx_xmpp_admin(hp[i], &ctx->jid.bare)) {
            return 1;
        }
    }

    return 0;
}


/* under which name its accounts are counted, if they are; NGX_OK, NGX_ERROR */

static ngx_int_t
ngx_xmpp_register_network(ngx_xmpp_register_ctx_t *ctx)
{
    u_char                     p[NGX_XMPP_NETWORK_MAX];
    ngx_str_t                  network, none;
    ngx_xmpp_stream_t         *st;
    ngx_xmpp_register_conf_t  *conf;

    st = ctx->stream;
    conf = ngx_xmpp_host_conf(st->host, ngx_xmpp_register_module);

    network.data = p;
    network.len = ngx_xmpp_network(st->connection->sockaddr, p);

    ctx->store.counted = 0;

    if (network.len == 0 || conf->limit == 0) {
        return NGX_OK;
    }

    ngx_str_set(&none, "");

    ctx->store.counted = 1;
    ctx->store.max = conf->limit;
    ctx->store.time = conf->time / 1000;

    return ngx_xmpp_network_tally(ctx->store.counter, NGX_XMPP_TALLY_REGISTER,
                                  &network, &none);
}


static void
ngx_xmpp_register_asked(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_register_ctx_t *ctx = data;

    ngx_xmpp_stream_t  *st;

    st = ctx->stream;

    switch (res->rc) {

    case NGX_OK:
        if (ngx_xmpp_store_named(st->worker->store, ctx->pool,
                                 &st->host->name, &ctx->jid.bare, 1,
                                 ngx_xmpp_register_named, ctx)
            == NULL)
        {
            ngx_xmpp_register_done(ctx, NGX_XMPP_E_RESOURCE_CONSTRAINT,
                                   "Redis is away, try again later");
        }

        return;

    case NGX_DECLINED:
        ngx_xmpp_register_done(ctx, NGX_XMPP_E_CONFLICT, "the name is taken");
        return;

    case NGX_BUSY:
        ctx->store.counted = 0;
        ngx_xmpp_register_done(ctx, NGX_XMPP_E_RESOURCE_CONSTRAINT,
                               "too many accounts or attempts from this "
                               "address, try again later");
        return;

    default:
        ctx->store.counted = 0;
        ngx_xmpp_register_done(ctx, NGX_XMPP_E_RESOURCE_CONSTRAINT,
                               "Redis is away, try again later");
    }
}


/* DECLINED: it was there, of an account that never came to be */

static void
ngx_xmpp_register_named(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_register_ctx_t *ctx = data;

    ngx_xmpp_stream_t  *st;

    st = ctx->stream;

    if (res->rc != NGX_OK && res->rc != NGX_DECLINED) {
        ngx_xmpp_register_done(ctx, NGX_XMPP_E_RESOURCE_CONSTRAINT,
                               "Redis is away, try again later");
        return;
    }

    if (ngx_xmpp_keys_make(st->worker, ctx->pool, &ctx->password,
                           ngx_xmpp_sasl_iterations(st),
                           ngx_xmpp_register_keys, ctx)
        != NGX_AGAIN)
    {
        ngx_xmpp_register_done(ctx, NGX_ERROR, "no keys");
    }
}


static void
ngx_xmpp_register_keys(void *data, ngx_str_t *keys)
{
    ngx_xmpp_register_ctx_t *ctx = data;

    u_char             *p;
    ngx_str_t           created;
    ngx_xmpp_worker_t  *w;

    w = ctx->stream->worker;
    p = ngx_pnalloc(ctx->pool, sizeof("2026-11-22T14:37:24Z"));

    if (keys == NULL || p == NULL) {
        ngx_xmpp_register_done(ctx, NGX_ERROR, "no keys");
        return;
    }

    created.data = p;
    created.len = ngx_xmpp_datetime(p, ngx_time()) - p;

    if (ngx_xmpp_store_register(w->store, ctx->pool, &ctx->store, &created,
                                keys, ngx_xmpp_register_stored, ctx)
        == NULL)
    {
        ngx_xmpp_register_done(ctx, NGX_XMPP_E_RESOURCE_CONSTRAINT,
                               "Redis is away, try again later");
    }
}


static void
ngx_xmpp_register_stored(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_register_ctx_t *ctx = data;

    switch (res->rc) {

    case NGX_OK:
        ctx->made = 1;
        ctx->store.counted = 0;
        ngx_xmpp_register_done(ctx, NGX_OK, NULL);
        return;

    case NGX_DECLINED:
        ngx_xmpp_register_done(ctx, NGX_XMPP_E_CONFLICT, "the name is taken");
        return;

    default:

        /* it may be there */

        if (res->rc == NGX_ERROR) {
            ctx->store.counted = 0;
        }

        ngx_xmpp_register_done(ctx, NGX_XMPP_E_RESOURCE_CONSTRAINT,
                               "Redis is away, and the account may be "
                               "there: try to log in");
    }
}


/* the stream, which was parked, goes on */

static void
ngx_xmpp_register_done(ngx_xmpp_register_ctx_t *ctx, ngx_int_t rc,
    const char *reason)
{
    ngx_xmpp_stream_t  *st;

    st = ctx->stream;

    /* a count that is kept has come to something, or may have */

    if (ctx->store.counted) {
        ngx_xmpp_store_register_back(st->worker->store, &ctx->store);
    }

    if (ngx_xmpp_register_refuse(ctx, rc, reason) != NGX_OK) {
        st->transport->close(st, NGX_XMPP_SE_INTERNAL_SERVER_ERROR, NULL);
    }

    ngx_xmpp_register_end(ctx);

    st->transport->resume(st);
}


/* answers and logs a set; condition 0: it succeeded; NGX_OK or NGX_ERROR */

static ngx_int_t
ngx_xmpp_register_refuse(ngx_xmpp_register_ctx_t *ctx, ngx_int_t condition,
    const char *reason)
{
    ngx_xmpp_register_log(ctx, reason);

    return ngx_xmpp_register_answer(ctx->stream, &ctx->id, condition, reason);
}


/* the one line of a set; a name that could not be prepared is left out */

static void
ngx_xmpp_register_log(ngx_xmpp_register_ctx_t *ctx, const char *reason)
{
    ngx_connection_t  *c;

    c = ctx->stream->connection;

    if (reason == NULL) {
        ngx_log_error(NGX_LOG_NOTICE, c->log, 0,
                      "xmpp registered: client %V, jid \"%V\"",
                      &c->addr_text, &ctx->jid.bare);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, c->log, 0,
                  "xmpp registration refused: client %V, %s, jid \"%V\"",
                  &c->addr_text, reason, &ctx->jid.bare);
}


/* a set ends, or its stream does: what it waits for is cancelled */

static void
ngx_xmpp_register_end(void *data)
{
    ngx_xmpp_register_ctx_t *ctx = data;

    if (ctx->pool) {
        ngx_destroy_pool(ctx->pool);
        ctx->pool = NULL;

        ctx->stream->worker->registering--;
    }
}
