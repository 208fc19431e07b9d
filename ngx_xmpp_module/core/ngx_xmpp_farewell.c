/*
 * What a contact hears of an account that was removed (RFC 6121, 3.2, 3.3 and
 * 4.5): as if the user's clients had said it.
 *
 *     unavailable, of each resource --> unsubscribe, unsubscribed --> answers
 *
 * Each is one command in the contact's slot, by the Functions that the client's
 * own stanzas go through; all go out in one write, and in this order.  Requests
 * and stanzas live in the caller's pool, whose end cancels them.  A contact who
 * is not here has no account, and the Functions make nothing of it.
 */


#include "ngx_xmpp.h"


/* one of the commands */
typedef struct {
    ngx_xmpp_worker_t         *worker;
    ngx_str_t                  tag;           /* of the contact */
    ngx_xmpp_store_item_t      item;
    ngx_xmpp_store_contact_t   contact;
    void                     (*answer)(void *data, ngx_int_t rc);
    void                      *data;
} ngx_xmpp_farewell_one_t;


static ngx_int_t ngx_xmpp_farewell_unavailable(ngx_xmpp_farewell_t *fw,
    ngx_str_t *resource, ngx_str_t *contact);
static ngx_int_t ngx_xmpp_farewell_unsubscribe(ngx_xmpp_farewell_t *fw,
    ngx_str_t *contact, ngx_str_t *type);
static ngx_xmpp_farewell_one_t *ngx_xmpp_farewell_one(ngx_xmpp_farewell_t *fw,
    ngx_str_t *contact);
static ngx_int_t ngx_xmpp_farewell_presence(ngx_pool_t *pool, ngx_str_t *from,
    ngx_str_t *to, ngx_str_t *type, ngx_str_t *stanza);
static void ngx_xmpp_farewell_answer(void *data, ngx_xmpp_store_result_t *res);


static ngx_str_t  ngx_xmpp_farewell_types[] = {
    ngx_string("unsubscribe"),
    ngx_string("unsubscribed"),
    ngx_string("unavailable")
};


ngx_int_t
ngx_xmpp_farewell(ngx_xmpp_farewell_t *fw, ngx_str_t *contact, ngx_uint_t what)
{
    u_char      *p, *last;
    ngx_str_t    jid, resource;
    ngx_uint_t   i;

    jid.len = contact->len;
    jid.data = ngx_pstrdup(fw->pool, contact);

    if (jid.data == NULL) {
        return NGX_ERROR;
    }

    last = fw->resources.data + fw->resources.len;

    if (what & NGX_XMPP_FAREWELL_UNAVAILABLE) {

        for (resource.data = fw->resources.data;
             resource.data < last;
             resource.data = p + 1)
        {
            p = ngx_strlchr(resource.data, last, LF);
            p = p ? p : last;
            resource.len = p - resource.data;

            if (ngx_xmpp_farewell_unavailable(fw, &resource, &jid) != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }

    for (i = 0; i < 2; i++) {
        if ((what & (i ? NGX_XMPP_FAREWELL_UNSUBSCRIBED
                       : NGX_XMPP_FAREWELL_UNSUBSCRIBE))
            && ngx_xmpp_farewell_unsubscribe(fw, &jid,
                                             &ngx_xmpp_farewell_types[i])
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* RFC 6121, 4.5.2: a session that was available is not */

static ngx_int_t
ngx_xmpp_farewell_unavailable(ngx_xmpp_farewell_t *fw, ngx_str_t *resource,
    ngx_str_t *contact)
{
    ngx_xmpp_farewell_one_t   *one;
    ngx_xmpp_store_contact_t  *c;

    one = ngx_xmpp_farewell_one(fw, contact);
    if (one == NULL) {
        return NGX_ERROR;
    }

    c = &one->contact;

    c->tag = &one->tag;
    c->what = NGX_XMPP_CONTACT_TELL;
    c->user.len = fw->user.len + 1 + resource->len;
    c->user.data = ngx_pnalloc(fw->pool, c->user.len);

    if (c->user.data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(c->user.data, "%V/%V", &fw->user, resource);

    if (ngx_xmpp_farewell_presence(fw->pool, &c->user, contact,
                                   &ngx_xmpp_farewell_types[2], &c->stanza)
        != NGX_OK
        || ngx_xmpp_store_contact(fw->worker->store, fw->pool, c,
                                  ngx_xmpp_farewell_answer, one)
           == NULL)
    {
        return NGX_ERROR;
    }

    fw->sent++;

    return NGX_OK;
}


/* RFC 6121, 3.2.3 and 3.3.3: one direction ends, or a request */

static ngx_int_t
ngx_xmpp_farewell_unsubscribe(ngx_xmpp_farewell_t *fw, ngx_str_t *contact,
    ngx_str_t *type)
{
    ngx_str_t                 stanza;
    ngx_xmpp_farewell_one_t  *one;

    one = ngx_xmpp_farewell_one(fw, contact);
    if (one == NULL) {
        return NGX_ERROR;
    }

    one->item.tag = &one->tag;
    one->item.user = *contact;
    one->item.contact = fw->user;
    one->item.removed = 1;

    if (ngx_xmpp_farewell_presence(fw->pool, &fw->user, contact, type, &stanza)
        != NGX_OK
        || ngx_xmpp_store_subscribe_in(fw->worker->store, fw->pool, &one->item,
                                       type, &stanza, ngx_xmpp_farewell_answer,
                                       one)
           == NULL)
    {
        return NGX_ERROR;
    }

    fw->sent++;

    return NGX_OK;
}


static ngx_xmpp_farewell_one_t *
ngx_xmpp_farewell_one(ngx_xmpp_farewell_t *fw, ngx_str_t *contact)
{
    ngx_xmpp_farewell_one_t  *one;

    one = ngx_pcalloc(fw->pool, sizeof(ngx_xmpp_farewell_one_t));

    if (one == NULL
        || ngx_xmpp_store_tag(fw->pool, contact, &one->tag) != NGX_OK)
    {
        return NULL;
    }

    one->worker = fw->worker;
    one->answer = fw->answer;
    one->data = fw->data;

    return one;
}


static ngx_int_t
ngx_xmpp_farewell_presence(ngx_pool_t *pool, ngx_str_t *from, ngx_str_t *to,
    ngx_str_t *type, ngx_str_t *stanza)
{
    u_char            *p;
    static ngx_str_t   before = ngx_string("<presence xmlns='jabber:client' "
                                           "type='");

    p = ngx_pnalloc(pool, before.len + type->len + sizeof("' from='' to=''/>")
                          + ngx_xmpp_xml_escape_size(from)
                          + ngx_xmpp_xml_escape_size(to));
    if (p == NULL) {
        return NGX_ERROR;
    }

    stanza->data = p;

    p = ngx_sprintf(p, "%V%V' from='", &before, type);
    p = ngx_xmpp_xml_escape(p, from);
    p = ngx_cpymem(p, "' to='", sizeof("' to='") - 1);
    p = ngx_xmpp_xml_escape(p, to);
    p = ngx_cpymem(p, "'/>", sizeof("'/>") - 1);

    stanza->len = p - stanza->data;

    return NGX_OK;
}


static void
ngx_xmpp_farewell_answer(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_farewell_one_t *one = data;

    if (res->rc == NGX_OK && res->number) {
        ngx_xmpp_registry_rung(one->worker, &one->tag, res->number);
    }

    one->answer(one->data, res->rc);
}
