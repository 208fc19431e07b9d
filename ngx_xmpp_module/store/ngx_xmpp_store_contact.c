/*
 * Contacts: one Function in the slot of each (redis/15-contact.lua).
 *
 *     f, b, t, p --> the stanza rings there (f, b); the answer has presence
 *                    of the contact that the user may have (b, t, p)
 *
 * Only a Function of the user's own slot says who may be told, as lines of a
 * letter and a bare JID, which are read here one by one: a roster of thousands
 * is one string, and nothing is made of a line before its turn.
 */


#include "ngx_xmpp_store_private.h"


/*
 * Takes the first line off *list: NGX_OK, *what is its letter and *jid a slice
 * of it; NGX_DONE: there is none.
 */

ngx_int_t
ngx_xmpp_store_contact_next(ngx_str_t *list, u_char *what, ngx_str_t *jid)
{
    u_char  *end, *last;

    last = list->data + list->len;

    while (list->len) {
        end = ngx_strlchr(list->data, last, LF);

        jid->data = list->data + 1;
        jid->len = (end ? end : last) - list->data;
        *what = list->data[0];

        list->data = end ? end + 1 : last;
        list->len = last - list->data;

        /* an empty line is none */

        if (jid->len > 1) {
            jid->len--;
            return NGX_OK;
        }
    }

    return NGX_DONE;
}


ngx_xmpp_store_req_t *
ngx_xmpp_store_contact(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_xmpp_store_contact_t *c, ngx_xmpp_store_handler_pt handler, void *data)
{
    u_char                 *p;
    ngx_str_t               what;
    ngx_xmpp_store_args_t   a;

    ngx_xmpp_store_args(&a, pool, 4 * ngx_xmpp_store_key_len(store, c->tag)
                                  + 1);

    if (a.failed) {
        return NULL;
    }

    /* the argument lives as long as the request, for a repeat */

    p = a.p++;
    *p = c->what;
    what.data = p;
    what.len = 1;

    ngx_xmpp_store_arg_text(&a, "FCALL");
    ngx_xmpp_store_arg_text(&a, "xmpp1_contact");
    ngx_xmpp_store_arg_text(&a, "3");
    ngx_xmpp_store_arg_key(store, &a, NGX_XMPP_KEY_SESSIONS, c->tag);
    ngx_xmpp_store_arg_key(store, &a, NGX_XMPP_KEY_PRESENCE, c->tag);
    ngx_xmpp_store_arg_key(store, &a, NGX_XMPP_KEY_ROSTER, c->tag);
    ngx_xmpp_store_arg_channel(store, &a, c->tag);
    ngx_xmpp_store_arg(&a, &c->user);
    ngx_xmpp_store_arg(&a, &what);
    ngx_xmpp_store_arg(&a, &c->stanza);

    if (c->resource.len) {
        ngx_xmpp_store_arg(&a, &c->resource);
    }

    a.once = c->once;

    return ngx_xmpp_store_command(store, &a, handler, data);
}
