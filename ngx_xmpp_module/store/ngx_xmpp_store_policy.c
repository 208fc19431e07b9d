/*
 * Eviction: a Redis that may throw keys away would lose accounts and records
 * in silence, so nobody logs in while its maxmemory-policy is another than
 * noeviction.  The policy is read from INFO on each new connection, and again
 * when a login was refused for it: no restart is needed after a change.
 *
 * A Redis user without the right to INFO is taken at its word.
 */


#include "ngx_xmpp_store_private.h"


static void ngx_xmpp_store_policy_done(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status);


/* asks; flags are those of ngx_xmpp_redis_command() */

void
ngx_xmpp_store_policy_check(ngx_xmpp_store_t *store, ngx_uint_t flags)
{
    ngx_str_t  argv[2];

    ngx_str_set(&argv[0], "INFO");
    ngx_str_set(&argv[1], "memory");

    (void) ngx_xmpp_redis_command(store->redis, flags, 2, argv,
                                  ngx_xmpp_store_policy_done, store);
}


static void
ngx_xmpp_store_policy_done(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status)
{
    ngx_xmpp_store_t *store = data;

    u_char     *p, *last;
    ngx_str_t   policy;

    if (reply == NULL) {
        return;
    }

    if (reply->type != REDIS_REPLY_STRING) {
        ngx_log_error(NGX_LOG_WARN, store->log, 0,
                      "xmpp may not read \"INFO memory\" of Redis: see to it "
                      "that its maxmemory-policy is noeviction");
        return;
    }

    p = (u_char *) reply->str;
    last = p + reply->len;

    p = ngx_strlcasestrn(p, last, (u_char *) "maxmemory_policy:",
                         sizeof("maxmemory_policy:") - 2);
    if (p == NULL) {
        return;
    }

    policy.data = p + sizeof("maxmemory_policy:") - 1;

    for (p = policy.data; p < last && *p != CR && *p != LF; p++) {
        /* void */
    }

    policy.len = p - policy.data;

    if (policy.len == sizeof("noeviction") - 1
        && ngx_memcmp(policy.data, "noeviction", policy.len) == 0)
    {
        if (store->evicting) {
            ngx_log_error(NGX_LOG_NOTICE, store->log, 0,
                          "xmpp logins are allowed again: Redis evicts "
                          "nothing any more");
        }

        store->evicting = 0;
        return;
    }

    if (!store->evicting) {
        ngx_log_error(NGX_LOG_ERR, store->log, 0,
                      "xmpp logins are refused: Redis would throw accounts "
                      "and sessions away, since its maxmemory-policy is "
                      "\"%V\"; set it to noeviction", &policy);
    }

    store->evicting = 1;
}
