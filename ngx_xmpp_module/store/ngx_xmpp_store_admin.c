/*
 * What an administrator asks for (redis/60-admin.lua), and the accounts of a
 * domain with their records, to be read in windows.
 *
 *     account   an account is made, or gets other keys
 *     disable   nobody logs in to it, or its user does again
 *     kick      its sessions end
 *     accounts  a page of the list of a domain, SSCAN
 *     records   those of one account, HGETALL: bounded by xmpp_max_sessions
 *
 * All of them may be repeated.  Requests are of the caller's pool, whose end
 * cancels them.
 */


#include "ngx_xmpp_store_private.h"
#include "ngx_xmpp_scram.h"


ngx_xmpp_store_req_t *
ngx_xmpp_store_account(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *tag, ngx_str_t *created, ngx_str_t *keys,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_uint_t             i;
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_call(store, &a, pool, "xmpp1_account", tag, 2,
                        NGX_XMPP_KEY_ACCOUNT, NGX_XMPP_KEY_REMOVED);
    ngx_xmpp_store_arg(&a, created);

    for (i = 0; keys && i < NGX_XMPP_SCRAM_HASHES; i++) {
        ngx_xmpp_store_arg(&a, &ngx_xmpp_scram_fields[i]);
        ngx_xmpp_store_arg(&a, &keys[i]);
    }

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_disable(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *tag, ngx_str_t *date, ngx_xmpp_store_handler_pt handler,
    void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_call(store, &a, pool, "xmpp1_disable", tag, 2,
                        NGX_XMPP_KEY_ACCOUNT, NGX_XMPP_KEY_SESSIONS);
    ngx_xmpp_store_arg_channel(store, &a, tag);
    ngx_xmpp_store_arg(&a, date);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_kick(ngx_xmpp_store_t *store, ngx_pool_t *pool, ngx_str_t *tag,
    ngx_str_t *resource, ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_call(store, &a, pool, "xmpp1_kick", tag, 1,
                        NGX_XMPP_KEY_SESSIONS);
    ngx_xmpp_store_arg_channel(store, &a, tag);
    ngx_xmpp_store_arg(&a, resource);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_accounts(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *domain, ngx_str_t *cursor, ngx_uint_t n,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_args(&a, pool, ngx_xmpp_store_accounts_len(store, domain)
                                  + NGX_INT64_LEN);

    ngx_xmpp_store_arg_text(&a, "SSCAN");
    ngx_xmpp_store_arg_accounts(store, &a, domain);
    ngx_xmpp_store_arg(&a, cursor);
    ngx_xmpp_store_arg_text(&a, "COUNT");
    ngx_xmpp_store_arg_uint(&a, n);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_records(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *tag, ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_args(&a, pool, ngx_xmpp_store_key_len(store, tag));

    ngx_xmpp_store_arg_text(&a, "HGETALL");
    ngx_xmpp_store_arg_key(store, &a, NGX_XMPP_KEY_SESSIONS, tag);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_uint_t
ngx_xmpp_store_online(redisReply *reply)
{
    char        *p;
    size_t       i;
    redisReply  *field, *value;

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY) {
        return 0;
    }

    for (i = 0; i + 1 < reply->elements; i += 2) {

        field = reply->element[i];
        value = reply->element[i + 1];

        if (field->type != REDIS_REPLY_STRING || field->len == 0
            || field->str[0] != 'r' || value->type != REDIS_REPLY_STRING)
        {
            continue;
        }

        /* EPOCH SID BOOT STATE FLAGS; state g has gone */

        p = ngx_strchr(value->str, ' ');
        p = p ? ngx_strchr(p + 1, ' ') : NULL;
        p = p ? ngx_strchr(p + 1, ' ') : NULL;

        if (p && p[1] != 'g') {
            return 1;
        }
    }

    return 0;
}
