/*
 * What Redis keeps on disk, and whether that is what xmpp_durability promises
 * (cluster.md, rule 12): read on each new command connection, told by one
 * worker of a host, and again only when it has changed.
 *
 *   INFO persistence          aof_enabled
 *   CONFIG GET appendfsync    for "aof" only; a user may have no right to it
 *
 * A disk that keeps less than was promised is an error in the log and refuses
 * nobody: what is on that disk when the power fails is known to the
 * administrator alone, who may have a battery.
 */


#include "ngx_xmpp_store_private.h"


static void ngx_xmpp_store_durability_info(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status);
static void ngx_xmpp_store_durability_fsync(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status);
static void ngx_xmpp_store_durability_say(ngx_xmpp_store_t *store,
    ngx_uint_t level, char *text);


/* asks; flags are those of ngx_xmpp_redis_command() */

void
ngx_xmpp_store_durability_check(ngx_xmpp_store_t *store, ngx_uint_t flags)
{
    ngx_str_t  argv[3];

    if (store->durability == NGX_XMPP_DURABILITY_NONE || ngx_worker != 0) {
        return;
    }

    ngx_str_set(&argv[0], "INFO");
    ngx_str_set(&argv[1], "persistence");

    (void) ngx_xmpp_redis_command(store->redis, flags, 2, argv,
                                  ngx_xmpp_store_durability_info, store);

    if (store->durability != NGX_XMPP_DURABILITY_AOF) {
        return;
    }

    ngx_str_set(&argv[0], "CONFIG");
    ngx_str_set(&argv[1], "GET");
    ngx_str_set(&argv[2], "appendfsync");

    (void) ngx_xmpp_redis_command(store->redis, flags, 3, argv,
                                  ngx_xmpp_store_durability_fsync, store);
}


static void
ngx_xmpp_store_durability_info(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status)
{
    ngx_xmpp_store_t *store = data;

    u_char  *p, *last;

    if (reply == NULL) {
        return;
    }

    /* without the right to INFO there is a line of the policy's */

    store->unlogged = 0;

    if (reply->type != REDIS_REPLY_STRING) {
        return;
    }

    p = (u_char *) reply->str;
    last = p + reply->len;

    p = ngx_strlcasestrn(p, last, (u_char *) "aof_enabled:0",
                         sizeof("aof_enabled:0") - 2);
    if (p == NULL) {
        if (store->durability != NGX_XMPP_DURABILITY_AOF) {
            store->said = NULL;
        }

        return;
    }

    store->unlogged = 1;

    if (store->durability == NGX_XMPP_DURABILITY_AOF) {
        ngx_xmpp_store_durability_say(store, NGX_LOG_ERR,
            "Redis does not keep what \"xmpp_durability aof\" promises: it has "
            "no append-only file, and forgets all since its last snapshot when "
            "it ends; set \"appendonly yes\" and \"appendfsync always\"");
        return;
    }

    ngx_xmpp_store_durability_say(store, NGX_LOG_WARN,
        "Redis has no append-only file: when it ends, it forgets all since its "
        "last snapshot, accounts and messages; set \"appendonly yes\" there "
        "(by CONFIG SET while it runs, and in redis.conf), or "
        "\"xmpp_durability none\" here if nothing needs to be kept");
}


static void
ngx_xmpp_store_durability_fsync(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status)
{
    ngx_xmpp_store_t *store = data;

    redisReply  *value;

    if (reply == NULL || store->unlogged) {
        return;
    }

    value = (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2)
            ? reply->element[1] : NULL;

    if (value == NULL || value->type != REDIS_REPLY_STRING) {
        ngx_xmpp_store_durability_say(store, NGX_LOG_WARN,
            "xmpp may not read \"CONFIG GET appendfsync\" of Redis: see to it "
            "that it is \"always\", as \"xmpp_durability aof\" promises, or "
            "permit its user CONFIG GET");
        return;
    }

    if (value->len == 6 && ngx_memcmp(value->str, "always", 6) == 0) {
        store->said = NULL;
        return;
    }

    ngx_xmpp_store_durability_say(store, NGX_LOG_ERR,
        "Redis does not keep what \"xmpp_durability aof\" promises: messages "
        "of the last two seconds are lost when its machine fails, since its "
        "appendfsync is not \"always\"; set that there, or \"xmpp_durability "
        "memory\" here");
}


/* text is a constant, and so it tells whether it was said */

static void
ngx_xmpp_store_durability_say(ngx_xmpp_store_t *store, ngx_uint_t level,
    char *text)
{
    if (store->said == text) {
        return;
    }

    store->said = text;

    ngx_log_error(level, store->log, 0, "%s", text);
}
