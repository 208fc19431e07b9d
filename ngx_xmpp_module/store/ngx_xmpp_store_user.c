/*
 * What a user keeps here, as elements that are never looked into: private XML
 * storage (XEP-0049) and the vCard (XEP-0054).  All in the account's slot.
 *
 *     get    HGET; of a vCard, which others may have, a Function
 *     set    a Function, for a session whose record is there, so that nothing
 *            is written for an account that was removed (redis/51-private.lua,
 *            redis/52-vcard.lua)
 *
 * Each may be repeated: a set again leads to the same.
 */


#include "ngx_xmpp_store_private.h"


ngx_xmpp_store_req_t *
ngx_xmpp_store_private_get(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *tag, ngx_str_t *ns, ngx_xmpp_store_handler_pt handler,
    void *data)
{
    u_char                 *p;
    ngx_str_t               field;
    ngx_xmpp_store_args_t   a;

    p = ngx_pnalloc(pool, 1 + ns->len);
    if (p == NULL) {
        return NULL;
    }

    field.data = p;
    field.len = 1 + ns->len;

    *p++ = 'x';
    ngx_memcpy(p, ns->data, ns->len);

    ngx_xmpp_store_args(&a, pool, ngx_xmpp_store_key_len(store, tag));

    ngx_xmpp_store_arg_text(&a, "HGET");
    ngx_xmpp_store_arg_key(store, &a, NGX_XMPP_KEY_PRIVATE, tag);
    ngx_xmpp_store_arg(&a, &field);

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_private_set(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, ngx_str_t *ns, ngx_str_t *elements,
    size_t max_size, ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_call(store, &a, pool,
                        elements->len ? "xmpp1_private_set"
                                      : "xmpp1_private_unset",
                        ss->tag, 2, NGX_XMPP_KEY_SESSIONS,
                        NGX_XMPP_KEY_PRIVATE);
    ngx_xmpp_store_arg_session(&a, ss);
    ngx_xmpp_store_arg(&a, ns);

    if (elements->len) {
        ngx_xmpp_store_arg(&a, elements);
        ngx_xmpp_store_arg_uint(&a, max_size);
    }

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_vcard_get(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *tag, ngx_str_t *from, ngx_xmpp_store_handler_pt handler,
    void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_call(store, &a, pool, "xmpp1_vcard", tag, 2,
                        NGX_XMPP_KEY_SESSIONS, NGX_XMPP_KEY_VCARD);

    if (from) {
        ngx_xmpp_store_arg(&a, from);

    } else {
        ngx_xmpp_store_arg_text(&a, "");
    }

    return ngx_xmpp_store_command(store, &a, handler, data);
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_vcard_set(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_session_t *ss, ngx_str_t *element,
    ngx_xmpp_store_handler_pt handler, void *data)
{
    ngx_xmpp_store_args_t  a;

    ngx_xmpp_store_call(store, &a, pool,
                        element->len ? "xmpp1_vcard_set" : "xmpp1_vcard_unset",
                        ss->tag, 2, NGX_XMPP_KEY_SESSIONS, NGX_XMPP_KEY_VCARD);
    ngx_xmpp_store_arg_session(&a, ss);

    if (element->len) {
        ngx_xmpp_store_arg(&a, element);
    }

    return ngx_xmpp_store_command(store, &a, handler, data);
}
