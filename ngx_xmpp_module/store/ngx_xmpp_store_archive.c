/*
 * The archive: what was said, in the account's slot (redis/28-archive.lua).
 * The Functions that route and copy write it; here it is read
 * (redis/32-archive.lua), and told what to be in it (redis/33-archiving.lua).
 *
 *     page      --> messages, in order, or that an id is not there
 *     ends      --> the first and the last one
 *     archiving --> whose messages are archived; set
 *
 * Each is for a session whose record is there, and may be repeated.
 */


#include "ngx_xmpp_store_private.h"


ngx_xmpp_store_req_t *
ngx_xmpp_store_archive(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, ngx_xmpp_store_archive_t *ar,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_call(store, &a, pool, "xmpp1_archive", ss->tag, 3,
                        NGX_XMPP_KEY_SESSIONS, NGX_XMPP_KEY_ARCHIVE,
                        NGX_XMPP_KEY_ARCHIVED);
    ngx_xmpp_store_arg_session(&a, ss);
    ngx_xmpp_store_arg(&a, &ar->there);
    ngx_xmpp_store_arg(&a, &ar->low);
    ngx_xmpp_store_arg(&a, &ar->high);
    ngx_xmpp_store_arg_text(&a, ar->back ? "b" : "f");
    ngx_xmpp_store_arg_uint(&a, ar->max);
    ngx_xmpp_store_arg_uint(&a, ar->bytes);
    ngx_xmpp_store_arg(&a, &ar->with);
    ngx_xmpp_store_arg(&a, &ar->full);
    ngx_xmpp_store_arg(&a, &ar->ids);
    ngx_xmpp_store_arg_text(&a, ar->count ? "1" : "0");
    ngx_xmpp_store_arg_uint(&a, ar->age);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_archive_ends(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, time_t age,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_call(store, &a, pool, "xmpp1_archive_ends", ss->tag, 2,
                        NGX_XMPP_KEY_SESSIONS, NGX_XMPP_KEY_ARCHIVE);
    ngx_xmpp_store_arg_session(&a, ss);
    ngx_xmpp_store_arg_uint(&a, age);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_archiving_get(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, ngx_xmpp_store_handler_pt handler,
    void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_call(store, &a, pool, "xmpp1_archiving", ss->tag, 2,
                        NGX_XMPP_KEY_SESSIONS, NGX_XMPP_KEY_ARCHIVING);
    ngx_xmpp_store_arg_session(&a, ss);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_archiving_set(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, ngx_xmpp_store_archiving_t *ar,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_call(store, &a, pool, "xmpp1_archiving_set", ss->tag, 3,
                        NGX_XMPP_KEY_SESSIONS, NGX_XMPP_KEY_ARCHIVED,
                        NGX_XMPP_KEY_ARCHIVING);
    ngx_xmpp_store_arg_session(&a, ss);
    ngx_xmpp_store_arg(&a, &ar->standard);
    ngx_xmpp_store_arg(&a, &ar->always);
    ngx_xmpp_store_arg(&a, &ar->never);

    return ngx_xmpp_store_command(store, &a, handler, data);
}
