/*
 * xmpp_durability: what a message has to survive before its sender is told
 * that it was taken (docs/internals/cluster.md, rule 12).
 *
 *   none, memory         what it means for routing is for those who route
 *   aof                  Redis has to be set up for it: the store looks
 *                        (store/ngx_xmpp_store_durability.c)
 *   replicas=N           the client of Redis waits for them
 *                        (redis/ngx_xmpp_redis_wait.c)
 *
 * The value is of the whole stream block, as Redis is.
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_DURABILITY_TIMEOUT   1000    /* ms, for replicas */


static char *ngx_xmpp_durability_replicas(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_xmpp_main_conf_t *xmcf);


char *
ngx_xmpp_durability_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_xmpp_main_conf_t *xmcf = conf;

    ngx_str_t        *value;
    ngx_conf_enum_t  *e;

    if (xmcf->durability != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len > 9 && ngx_strncmp(value[1].data, "replicas=", 9) == 0) {
        return ngx_xmpp_durability_replicas(cf, cmd, xmcf);
    }

    for (e = cmd->post; cf->args->nelts == 2 && e->name.len; e++) {
        if (value[1].len == e->name.len
            && ngx_strncmp(value[1].data, e->name.data, e->name.len) == 0)
        {
            xmcf->durability = e->value;
            return NGX_CONF_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\" in \"%V\" directive, it has to be "
                       "one of \"none\", \"memory\", \"aof\", "
                       "\"replicas=number [timeout=time]\"",
                       &value[cf->args->nelts - 1], &cmd->name);

    return NGX_CONF_ERROR;
}


static char *
ngx_xmpp_durability_replicas(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_xmpp_main_conf_t *xmcf)
{
    ngx_int_t   n;
    ngx_str_t  *value, s;

    value = cf->args->elts;

    n = ngx_atoi(value[1].data + 9, value[1].len - 9);

    if (n == NGX_ERROR || n == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid number of replicas \"%V\" in \"%V\" "
                           "directive", &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    xmcf->durability = NGX_XMPP_DURABILITY_REPLICAS;
    xmcf->store.redis.replicas = n;
    xmcf->store.redis.wait = NGX_XMPP_DURABILITY_TIMEOUT;

    if (cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    n = NGX_ERROR;

    if (value[2].len > 8 && ngx_strncmp(value[2].data, "timeout=", 8) == 0) {
        s.data = value[2].data + 8;
        s.len = value[2].len - 8;

        n = ngx_parse_time(&s, 0);
    }

    /* 0 would be for ever (WAIT) */

    if (n == NGX_ERROR || n == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid time \"%V\" in \"%V\" directive",
                           &value[2], &cmd->name);
        return NGX_CONF_ERROR;
    }

    xmcf->store.redis.wait = n;

    return NGX_CONF_OK;
}


char *
ngx_xmpp_durability_init(ngx_conf_t *cf, ngx_xmpp_main_conf_t *xmcf)
{
    xmcf->store.durability = xmcf->durability;

    if (xmcf->store.redis.replicas
        && xmcf->store.redis.wait >= xmcf->store.redis.timeout)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "the timeout of \"xmpp_durability\", %M ms, has to be "
                      "less than \"xmpp_redis_timeout\", %M ms",
                      xmcf->store.redis.wait, xmcf->store.redis.timeout);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
