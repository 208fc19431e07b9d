/*
 * Changes of a roster by its user (RFC 6121, 2.3 to 2.5).
 *
 *     set:     item checked --xmpp1_roster_set--> pushed, answered
 *     remove:  xmpp1_roster_state --> unsubscribe, unsubscribed to the contact
 *              as there are subscriptions (2.5.2) --xmpp1_roster_remove-->
 *              as long as there is a new one by then, once more
 *
 * Name and groups are written once, by our writer, and kept like that.  A
 * removal tells the contact first: if it ends in between, the item is still
 * there, and the client, which has no answer, removes it again.
 */


#include "ngx_xmpp_roster.h"


/* bytes of a name or a group, before escaping */
#define NGX_XMPP_ROSTER_NAME          1023

#define NGX_XMPP_ROSTER_GROUPS        32


typedef struct {
    ngx_xmpp_stanza_t          *stanza;
    ngx_xmpp_store_item_t       item;
    ngx_xmpp_subscription_t     subscription;
    ngx_xmpp_host_t            *host;           /* of the contact */
    unsigned                    from:1;         /* to be told, still */
} ngx_xmpp_roster_change_t;


static ngx_int_t ngx_xmpp_roster_jid(ngx_xmpp_stanza_t *stz, ngx_str_t *text,
    ngx_xmpp_roster_change_t *ch);
static ngx_int_t ngx_xmpp_roster_name(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_xml_t *e, ngx_str_t *name);
static ngx_int_t ngx_xmpp_roster_groups(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_xml_t *e, ngx_str_t *groups);
static ngx_int_t ngx_xmpp_roster_group(ngx_pool_t *pool, ngx_xmpp_xml_t *e,
    ngx_str_t *texts, ngx_uint_t n);
static void ngx_xmpp_roster_set_done(void *data,
    ngx_xmpp_store_result_t *res);
static ngx_int_t ngx_xmpp_roster_remove(ngx_xmpp_roster_change_t *ch);
static void ngx_xmpp_roster_state(void *data, ngx_xmpp_store_result_t *res);
static ngx_uint_t ngx_xmpp_roster_has_state(ngx_xmpp_store_result_t *res);
static void ngx_xmpp_roster_ends(ngx_xmpp_roster_change_t *ch, char *state);
static ngx_int_t ngx_xmpp_roster_end(ngx_xmpp_roster_change_t *ch,
    ngx_xmpp_type_e type);
static void ngx_xmpp_roster_ended(ngx_xmpp_subscription_t *s, ngx_int_t rc);
static void ngx_xmpp_roster_removed(void *data, ngx_xmpp_store_result_t *res);


/* an iq set: one item */

ngx_int_t
ngx_xmpp_roster_set(ngx_xmpp_stanza_t *stz)
{
    ngx_int_t                  rc;
    ngx_str_t                 *jid, *subscription;
    ngx_xmpp_xml_t            *e, *query;
    ngx_xmpp_roster_change_t  *ch;

    static ngx_str_t           removal = ngx_string("remove");

    query = ngx_xmpp_stanza_payload(stz);
    e = ngx_xmpp_xml_child(query, "item", &ngx_xmpp_roster_ns);

    /* 2.1.5: exactly one */

    if (e == NULL || ngx_xmpp_xml_elements(query) != 1) {
        return NGX_XMPP_E_BAD_REQUEST;
    }

    jid = ngx_xmpp_xml_attr(e, "jid");
    if (jid == NULL) {
        return NGX_XMPP_E_BAD_REQUEST;
    }

    ch = ngx_pcalloc(stz->pool, sizeof(ngx_xmpp_roster_change_t));
    if (ch == NULL) {
        return NGX_ERROR;
    }

    ch->stanza = stz;

    rc = ngx_xmpp_roster_jid(stz, jid, ch);
    if (rc != NGX_OK) {
        return rc;
    }

    /* 2.1.2.5: nothing else that a client says of it counts */

    subscription = ngx_xmpp_xml_attr(e, "subscription");

    if (subscription && ngx_xmpp_str_eq(subscription, &removal)) {
        return ngx_xmpp_roster_remove(ch);
    }

    rc = ngx_xmpp_roster_name(stz, e, &ch->item.name);

    if (rc == NGX_OK) {
        rc = ngx_xmpp_roster_groups(stz, e, &ch->item.groups);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_xmpp_store_roster_set(stz->session->worker->store, stz->pool,
                                  &ch->item, ngx_xmpp_roster_set_done, ch)
        == NULL)
    {
        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    return NGX_AGAIN;
}


/* 2.1.2.3: a bare JID, not the user's own; NGX_OK or a condition */

static ngx_int_t
ngx_xmpp_roster_jid(ngx_xmpp_stanza_t *stz, ngx_str_t *text,
    ngx_xmpp_roster_change_t *ch)
{
    ngx_int_t           rc;
    ngx_xmpp_jid_t      jid;
    ngx_xmpp_session_t  *xs;

    xs = stz->session;

    rc = ngx_xmpp_jid_parse(stz->pool, text, &jid);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc != NGX_OK) {
        return NGX_XMPP_E_JID_MALFORMED;
    }

    if (jid.resource.len) {
        return NGX_XMPP_E_BAD_REQUEST;
    }

    if (ngx_xmpp_str_eq(&jid.bare, &xs->jid.bare)) {
        return NGX_XMPP_E_NOT_ALLOWED;
    }

    ngx_xmpp_roster_item(xs, &jid.bare, &ch->item);

    ch->host = ngx_xmpp_host_find(ngx_stream_cycle_get_module_main_conf(
                                      xs->worker->cycle, ngx_xmpp_module),
                                  &jid.domain);

    return NGX_OK;
}


/* " name='...'"; NGX_OK or a condition */

static ngx_int_t
ngx_xmpp_roster_name(ngx_xmpp_stanza_t *stz, ngx_xmpp_xml_t *e,
    ngx_str_t *name)
{
    u_char     *p;
    ngx_str_t  *value;

    value = ngx_xmpp_xml_attr(e, "name");

    if (value == NULL || value->len == 0) {
        return NGX_OK;
    }

    /* 2.3.3 */

    if (value->len > NGX_XMPP_ROSTER_NAME) {
        return NGX_XMPP_E_NOT_ACCEPTABLE;
    }

    p = ngx_pnalloc(stz->pool, sizeof(" name=''") - 1
                               + ngx_xmpp_xml_escape_size(value));
    if (p == NULL) {
        return NGX_ERROR;
    }

    name->data = p;

    p = ngx_cpymem(p, " name='", sizeof(" name='") - 1);
    p = ngx_xmpp_xml_escape(p, value);
    *p++ = '\'';

    name->len = p - name->data;

    return NGX_OK;
}


/* its groups as bytes; NGX_OK or a condition */

static ngx_int_t
ngx_xmpp_roster_groups(ngx_xmpp_stanza_t *stz, ngx_xmpp_xml_t *e,
    ngx_str_t *groups)
{
    u_char          *p;
    size_t           len;
    ngx_int_t        rc;
    ngx_uint_t       i, n;
    ngx_str_t        texts[NGX_XMPP_ROSTER_GROUPS];
    ngx_xmpp_xml_t  *group;

    n = 0;
    len = 0;

    for (group = ngx_xmpp_xml_child(e, NULL, NULL);
         group;
         group = ngx_xmpp_xml_next(group))
    {
        /* others are not ours to keep: 2.1.2 */

        if (!ngx_xmpp_xml_is(group, "group", &ngx_xmpp_roster_ns)) {
            continue;
        }

        if (n == NGX_XMPP_ROSTER_GROUPS) {
            return NGX_XMPP_E_NOT_ACCEPTABLE;
        }

        rc = ngx_xmpp_roster_group(stz->pool, group, texts, n);
        if (rc != NGX_OK) {
            return rc;
        }

        len += sizeof("<group></group>") - 1
               + ngx_xmpp_xml_escape_size(&texts[n]);
        n++;
    }

    if (n == 0) {
        return NGX_OK;
    }

    p = ngx_pnalloc(stz->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    groups->data = p;
    groups->len = len;

    for (i = 0; i < n; i++) {
        p = ngx_cpymem(p, "<group>", sizeof("<group>") - 1);
        p = ngx_xmpp_xml_escape(p, &texts[i]);
        p = ngx_cpymem(p, "</group>", sizeof("</group>") - 1);
    }

    return NGX_OK;
}


/* the n-th group's name; 2.3.3: not empty, not too long, not twice */

static ngx_int_t
ngx_xmpp_roster_group(ngx_pool_t *pool, ngx_xmpp_xml_t *e, ngx_str_t *texts,
    ngx_uint_t n)
{
    ngx_uint_t  i;

    if (ngx_xmpp_xml_text(pool, e, &texts[n]) != NGX_OK) {
        return NGX_ERROR;
    }

    if (texts[n].len == 0 || texts[n].len > NGX_XMPP_ROSTER_NAME) {
        return NGX_XMPP_E_NOT_ACCEPTABLE;
    }

    for (i = 0; i < n; i++) {
        if (ngx_xmpp_str_eq(&texts[i], &texts[n])) {
            return NGX_XMPP_E_BAD_REQUEST;
        }
    }

    return NGX_OK;
}


static void
ngx_xmpp_roster_set_done(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_roster_change_t *ch = data;

    ngx_int_t           rc;
    ngx_xmpp_stanza_t  *stz;

    stz = ch->stanza;

    switch (res->rc) {

    case NGX_OK:
        rc = ngx_xmpp_reply(stz, NULL);
        break;

    case NGX_DECLINED:
        rc = ngx_xmpp_refuse(stz, NGX_XMPP_E_POLICY_VIOLATION,
                             "A roster may have %ui entries, of %uz bytes in "
                             "all. Remove some, or shorten names and groups.",
                             ch->item.max_items, ch->item.max_size);
        break;

    default:

        /* asked again it does no harm, so what is unknown may be told */

        rc = NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    ngx_xmpp_stanza_resume(stz, rc);
}


static ngx_int_t
ngx_xmpp_roster_remove(ngx_xmpp_roster_change_t *ch)
{
    ngx_xmpp_stanza_t  *stz;

    stz = ch->stanza;

    if (ngx_xmpp_store_roster_state(stz->session->worker->store, stz->pool,
                                    &ch->item, ngx_xmpp_roster_state, ch)
        == NULL)
    {
        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    return NGX_AGAIN;
}


static void
ngx_xmpp_roster_state(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_roster_change_t *ch = data;

    if (res->rc != NGX_OK || !ngx_xmpp_roster_has_state(res)) {

        /* 2.5.3: there is no such item */

        ngx_xmpp_stanza_resume(ch->stanza, res->rc == NGX_DECLINED
                                           ? NGX_XMPP_E_ITEM_NOT_FOUND
                                           : NGX_XMPP_E_RESOURCE_CONSTRAINT);
        return;
    }

    ngx_xmpp_roster_ends(ch, res->reply->element[3]->str);
}


static ngx_uint_t
ngx_xmpp_roster_has_state(ngx_xmpp_store_result_t *res)
{
    return res->reply->elements > 3
           && res->reply->element[3]->type == REDIS_REPLY_STRING;
}


/* 2.5.2: the subscriptions of an item in this state end, then it goes */

static void
ngx_xmpp_roster_ends(ngx_xmpp_roster_change_t *ch, char *state)
{
    ngx_int_t  rc;

    ch->from = (strchr(state, 'f') != NULL);

    if (strpbrk(state, "to") == NULL) {
        ngx_xmpp_roster_ended(&ch->subscription, NGX_OK);
        return;
    }

    rc = ngx_xmpp_roster_end(ch, NGX_XMPP_TYPE_UNSUBSCRIBE);

    if (rc != NGX_AGAIN) {
        ngx_xmpp_stanza_resume(ch->stanza, rc);
    }
}


/* what a handler returns: one of the two subscriptions ends */

static ngx_int_t
ngx_xmpp_roster_end(ngx_xmpp_roster_change_t *ch, ngx_xmpp_type_e type)
{
    ngx_xmpp_subscription_t  *s;

    s = &ch->subscription;

    ngx_memzero(s, sizeof(ngx_xmpp_subscription_t));

    s->stanza = ch->stanza;
    s->type = type;
    s->contact = ch->item.contact;
    s->host = ch->host;
    s->done = ngx_xmpp_roster_ended;

    return ngx_xmpp_roster_subscription(s);
}


static void
ngx_xmpp_roster_ended(ngx_xmpp_subscription_t *s, ngx_int_t rc)
{
    ngx_xmpp_stanza_t         *stz;
    ngx_xmpp_roster_change_t  *ch;

    ch = (ngx_xmpp_roster_change_t *)
             ((u_char *) s - offsetof(ngx_xmpp_roster_change_t, subscription));
    stz = ch->stanza;

    /* another server that cannot be reached does not keep an item here */

    if (rc == NGX_OK || rc == NGX_XMPP_E_REMOTE_SERVER_NOT_FOUND) {

        if (ch->from) {
            ch->from = 0;
            rc = ngx_xmpp_roster_end(ch, NGX_XMPP_TYPE_UNSUBSCRIBED);

        } else {
            rc = ngx_xmpp_store_roster_remove(stz->session->worker->store,
                                              stz->pool, &ch->item,
                                              ngx_xmpp_roster_removed, ch)
                 ? NGX_AGAIN : NGX_XMPP_E_RESOURCE_CONSTRAINT;
        }
    }

    if (rc != NGX_AGAIN) {
        ngx_xmpp_stanza_resume(stz, rc);
    }
}


static void
ngx_xmpp_roster_removed(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_roster_change_t *ch = data;

    ngx_int_t  rc;

    rc = NGX_XMPP_E_RESOURCE_CONSTRAINT;

    /* another subscription came up meanwhile */

    if (res->rc == NGX_DECLINED && ngx_xmpp_roster_has_state(res)) {
        ngx_xmpp_roster_ends(ch, res->reply->element[3]->str);
        return;
    }

    /* declined: by another session meanwhile, or by a repeat of this */

    if (res->rc == NGX_OK || res->rc == NGX_DECLINED) {
        rc = ngx_xmpp_reply(ch->stanza, NULL);
    }

    ngx_xmpp_stanza_resume(ch->stanza, rc);
}
