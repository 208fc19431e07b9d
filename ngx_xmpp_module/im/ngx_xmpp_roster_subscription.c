/*
 * Subscriptions (RFC 6121, 3): two steps, each in the slot of one party, and
 * a stanza between them (docs/internals/decisions/15-contacts.md).
 *
 *     out (user's slot) --route--> in (contact's slot) --> presence --> done
 *          |                            '-- answer: in (user's slot) --'
 *          '-- nothing to route --> done
 *
 * The first step has no other server in it, and the second none of ours: a
 * contact elsewhere gets the stanza, and what comes from elsewhere begins with
 * "in".  What both steps say about presence, to be told or taken back on either
 * side (3.1.5, 3.1.6, 3.2.2, 3.3.3), goes out behind them, and nobody waits
 * for it.  That it is taken back is told here; what is to be told rings for the
 * workers of the sessions, each of which knows what it has told before.
 *
 * The stanza of the client is parked until then.  The client goes meanwhile:
 * all is done to its end.  Redis goes: error wait, whatever has been done: the
 * client asks again, and each step may be repeated.
 */


#include "ngx_xmpp_roster.h"


/*
 * A request waits in Redis, where others must not fill an account: with more
 * than this it goes without its children, or with nothing but its type.
 */
#define NGX_XMPP_ROSTER_REQUEST       2048


static void ngx_xmpp_roster_own_done(ngx_xmpp_subscription_t *s,
    ngx_int_t rc);
static ngx_int_t ngx_xmpp_roster_bytes(ngx_xmpp_stanza_t *stz,
    ngx_str_t *bytes);
static void ngx_xmpp_roster_out(void *data, ngx_xmpp_store_result_t *res);
static ngx_int_t ngx_xmpp_roster_in(ngx_xmpp_subscription_t *s);
static void ngx_xmpp_roster_in_done(void *data, ngx_xmpp_store_result_t *res);
static ngx_int_t ngx_xmpp_roster_answered(ngx_xmpp_subscription_t *s);
static void ngx_xmpp_roster_answer_done(void *data,
    ngx_xmpp_store_result_t *res);
static void ngx_xmpp_roster_finish(ngx_xmpp_subscription_t *s, ngx_int_t rc);
static ngx_int_t ngx_xmpp_roster_make(ngx_pool_t *pool, ngx_uint_t type,
    ngx_str_t *from, ngx_str_t *to, ngx_str_t *bytes);
static ngx_int_t ngx_xmpp_roster_gone(ngx_xmpp_subscription_t *s,
    redisReply *reply, ngx_str_t *from, ngx_str_t *to, ngx_array_t *list);
static ngx_int_t ngx_xmpp_roster_gone_one(ngx_pool_t *pool, redisReply *r,
    ngx_str_t *from, ngx_str_t *to, ngx_str_t *bytes);
static void ngx_xmpp_roster_tell(ngx_xmpp_subscription_t *s, ngx_str_t *tag,
    ngx_str_t *from, ngx_array_t *list);


/* in the order of ngx_xmpp_type_e */

static ngx_str_t  ngx_xmpp_roster_types[] = {
    ngx_string("subscribe"),
    ngx_string("subscribed"),
    ngx_string("unsubscribe"),
    ngx_string("unsubscribed")
};

#define ngx_xmpp_roster_type(type)                                            \
    (&ngx_xmpp_roster_types[(type) - NGX_XMPP_TYPE_SUBSCRIBE])


/* 3.1.2: "to" is a bare JID, and "from" becomes one */

ngx_int_t
ngx_xmpp_roster_subscribe(ngx_xmpp_stanza_t *stz)
{
    ngx_int_t                 rc;
    ngx_xmpp_session_t       *xs;
    ngx_xmpp_subscription_t  *s;

    if (stz->type < NGX_XMPP_TYPE_SUBSCRIBE
        || stz->type > NGX_XMPP_TYPE_UNSUBSCRIBED)
    {
        return NGX_DECLINED;
    }

    xs = stz->session;

    if (!stz->has_to) {
        return NGX_XMPP_E_BAD_REQUEST;
    }

    /* the user's own presence is his without asking */

    if (ngx_xmpp_str_eq(&stz->to.bare, &xs->jid.bare)) {
        return NGX_OK;
    }

    /* a host of ours has no presence */

    if (stz->mask & NGX_XMPP_TO_HOST) {
        return (stz->type == NGX_XMPP_TYPE_SUBSCRIBE)
               ? NGX_XMPP_E_SERVICE_UNAVAILABLE : NGX_OK;
    }

    s = ngx_pcalloc(stz->pool, sizeof(ngx_xmpp_subscription_t));

    if (s == NULL
        || ngx_xmpp_xml_set(stz->pool, stz->xml, "from", &xs->jid.bare)
           != NGX_OK
        || ngx_xmpp_xml_set(stz->pool, stz->xml, "to", &stz->to.bare)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    s->stanza = stz;
    s->type = stz->type;
    s->contact = stz->to.bare;
    s->host = stz->host;
    s->done = ngx_xmpp_roster_own_done;

    rc = ngx_xmpp_roster_bytes(stz, &s->bytes);

    return (rc == NGX_OK) ? ngx_xmpp_roster_subscription(s) : rc;
}


static void
ngx_xmpp_roster_own_done(ngx_xmpp_subscription_t *s, ngx_int_t rc)
{
    ngx_xmpp_stanza_resume(s->stanza, rc);
}


/* the client's stanza, a long one without its children; len 0: with nothing */

static ngx_int_t
ngx_xmpp_roster_bytes(ngx_xmpp_stanza_t *stz, ngx_str_t *bytes)
{
    size_t  len;

    len = ngx_xmpp_xml_size(stz->xml, NULL);

    if (len > NGX_XMPP_ROSTER_REQUEST) {
        stz->xml->children = NULL;
        stz->xml->last = NULL;

        len = ngx_xmpp_xml_size(stz->xml, NULL);
    }

    if (len > NGX_XMPP_ROSTER_REQUEST) {
        bytes->len = 0;
        return NGX_OK;
    }

    bytes->data = ngx_pnalloc(stz->pool, len);
    if (bytes->data == NULL) {
        return NGX_ERROR;
    }

    bytes->len = ngx_xmpp_xml_write(bytes->data, stz->xml, NULL) - bytes->data;

    return NGX_OK;
}


ngx_int_t
ngx_xmpp_roster_subscription(ngx_xmpp_subscription_t *s)
{
    ngx_pool_t          *pool;
    ngx_xmpp_session_t  *xs;

    pool = s->stanza->pool;
    xs = s->stanza->session;

    if (s->bytes.len == 0
        && ngx_xmpp_roster_make(pool, s->type, &xs->jid.bare, &s->contact,
                                &s->bytes)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_array_init(&s->to_contact, pool, 1, sizeof(ngx_str_t)) != NGX_OK
        || ngx_array_init(&s->to_user, pool, 1, sizeof(ngx_str_t)) != NGX_OK
        || ngx_xmpp_store_tag(pool, &s->contact, &s->tag) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_xmpp_roster_item(xs, &s->contact, &s->user_side);

    s->contact_side = s->user_side;
    s->contact_side.tag = &s->tag;
    s->contact_side.user = s->contact;
    s->contact_side.contact = xs->jid.bare;

    return ngx_xmpp_store_subscribe_out(xs->worker->store, pool, &s->user_side,
                                        ngx_xmpp_roster_type(s->type),
                                        ngx_xmpp_roster_out, s)
           ? NGX_AGAIN : NGX_XMPP_E_RESOURCE_CONSTRAINT;
}


static void
ngx_xmpp_roster_out(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_subscription_t *s = data;

    ngx_int_t            rc;
    ngx_xmpp_session_t  *xs;

    xs = s->stanza->session;

    if (res->rc != NGX_OK || res->reply->elements < 5) {
        ngx_xmpp_roster_finish(s, res->rc == NGX_DECLINED
                                  ? NGX_XMPP_E_POLICY_VIOLATION
                                  : NGX_XMPP_E_RESOURCE_CONSTRAINT);
        return;
    }

    s->grant_contact = (res->reply->element[4]->str[0] == 'p');

    if (ngx_xmpp_roster_gone(s, res->reply, &xs->jid.bare, &s->contact,
                             &s->to_contact)
        != NGX_OK)
    {
        ngx_xmpp_roster_finish(s, NGX_XMPP_E_INTERNAL_SERVER_ERROR);
        return;
    }

    if (res->reply->element[3]->str[0] == '0') {
        ngx_xmpp_roster_finish(s, NGX_OK);
        return;
    }

    rc = ngx_xmpp_roster_in(s);

    if (rc != NGX_AGAIN) {
        ngx_xmpp_roster_finish(s, rc);
    }
}


/* the contact's side, or where federation sends the stanza */

static ngx_int_t
ngx_xmpp_roster_in(ngx_xmpp_subscription_t *s)
{
    if (s->host == NULL) {
        return NGX_XMPP_E_REMOTE_SERVER_NOT_FOUND;
    }

    return ngx_xmpp_store_subscribe_in(s->stanza->session->worker->store,
                                       s->stanza->pool, &s->contact_side,
                                       ngx_xmpp_roster_type(s->type),
                                       &s->bytes, ngx_xmpp_roster_in_done, s)
           ? NGX_AGAIN : NGX_XMPP_E_RESOURCE_CONSTRAINT;
}


static void
ngx_xmpp_roster_in_done(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_subscription_t *s = data;

    ngx_int_t  rc;

    /* 3.1.3: who does not exist says nothing; nor is he told anything */

    if (res->rc == NGX_DECLINED) {
        s->to_contact.nelts = 0;
        s->grant_contact = 0;
        ngx_xmpp_roster_finish(s, NGX_OK);
        return;
    }

    if (res->rc != NGX_OK || res->reply->elements < 5) {
        ngx_xmpp_roster_finish(s, NGX_XMPP_E_RESOURCE_CONSTRAINT);
        return;
    }

    if (res->number) {
        ngx_xmpp_registry_rung(s->stanza->session->worker, &s->tag,
                               res->number);
    }

    s->grant_user = (res->reply->element[4]->str[0] == 'p');

    if (ngx_xmpp_roster_gone(s, res->reply, &s->contact,
                             &s->stanza->session->jid.bare, &s->to_user)
        != NGX_OK)
    {
        ngx_xmpp_roster_finish(s, NGX_XMPP_E_INTERNAL_SERVER_ERROR);
        return;
    }

    if (res->reply->element[3]->str[0] == '-') {
        ngx_xmpp_roster_finish(s, NGX_OK);
        return;
    }

    rc = ngx_xmpp_roster_answered(s);

    if (rc != NGX_AGAIN) {
        ngx_xmpp_roster_finish(s, rc);
    }
}


/* 3.1.3, 3.4.3: "subscribed" in the contact's name */

static ngx_int_t
ngx_xmpp_roster_answered(ngx_xmpp_subscription_t *s)
{
    ngx_str_t           *bytes;
    ngx_xmpp_session_t  *xs;

    xs = s->stanza->session;

    bytes = ngx_palloc(s->stanza->pool, sizeof(ngx_str_t));

    if (bytes == NULL
        || ngx_xmpp_roster_make(s->stanza->pool, NGX_XMPP_TYPE_SUBSCRIBED,
                                &s->contact, &xs->jid.bare, bytes)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_xmpp_store_subscribe_in(xs->worker->store, s->stanza->pool,
                                &s->user_side,
                                ngx_xmpp_roster_type(NGX_XMPP_TYPE_SUBSCRIBED),
                                bytes, ngx_xmpp_roster_answer_done, s)
           ? NGX_AGAIN : NGX_XMPP_E_RESOURCE_CONSTRAINT;
}


static void
ngx_xmpp_roster_answer_done(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_subscription_t *s = data;

    ngx_xmpp_roster_finish(s, (res->rc == NGX_OK || res->rc == NGX_DECLINED)
                              ? NGX_OK : NGX_XMPP_E_RESOURCE_CONSTRAINT);
}


static void
ngx_xmpp_roster_finish(ngx_xmpp_subscription_t *s, ngx_int_t rc)
{
    ngx_str_t         *user;
    ngx_xmpp_store_t  *store;

    user = &s->stanza->session->jid.bare;
    store = s->stanza->session->worker->store;

    if (s->host) {
        ngx_xmpp_roster_tell(s, &s->tag, user, &s->to_contact);
    }

    ngx_xmpp_roster_tell(s, s->user_side.tag, &s->contact, &s->to_user);

    /* behind what makes the other take it */

    if (s->grant_contact) {
        ngx_xmpp_store_grant(store, s->user_side.tag, &s->contact);
    }

    if (s->grant_user) {
        ngx_xmpp_store_grant(store, &s->tag, user);
    }

    s->done(s, rc);
}


/* a stanza of the server's own; the type NONE is unavailable */

static ngx_int_t
ngx_xmpp_roster_make(ngx_pool_t *pool, ngx_uint_t type, ngx_str_t *from,
    ngx_str_t *to, ngx_str_t *bytes)
{
    u_char     *p;
    ngx_str_t  *name;

    static ngx_str_t  unavailable = ngx_string("unavailable");

    name = type ? ngx_xmpp_roster_type(type) : &unavailable;

    p = ngx_pnalloc(pool, sizeof("<presence xmlns='jabber:client' type='' "
                                 "from='' to=''/>") - 1
                          + name->len + ngx_xmpp_xml_escape_size(from)
                          + ngx_xmpp_xml_escape_size(to));
    if (p == NULL) {
        return NGX_ERROR;
    }

    bytes->data = p;

    p = ngx_cpymem(p, "<presence xmlns='jabber:client' type='",
                   sizeof("<presence xmlns='jabber:client' type='") - 1);
    p = ngx_cpymem(p, name->data, name->len);
    p = ngx_cpymem(p, "' from='", sizeof("' from='") - 1);
    p = ngx_xmpp_xml_escape(p, from);
    p = ngx_cpymem(p, "' to='", sizeof("' to='") - 1);
    p = ngx_xmpp_xml_escape(p, to);
    p = ngx_cpymem(p, "'/>", sizeof("'/>") - 1);

    bytes->len = p - bytes->data;

    return NGX_OK;
}


/* what a step says of presence that is taken back: resources */

static ngx_int_t
ngx_xmpp_roster_gone(ngx_xmpp_subscription_t *s, redisReply *reply,
    ngx_str_t *from, ngx_str_t *to, ngx_array_t *list)
{
    size_t      i;
    ngx_str_t  *one;

    if (reply->element[4]->str[0] != 'u') {
        return NGX_OK;
    }

    for (i = 5; i < reply->elements; i++) {

        one = ngx_array_push(list);

        if (one == NULL
            || ngx_xmpp_roster_gone_one(s->stanza->pool, reply->element[i],
                                        from, to, one)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_roster_gone_one(ngx_pool_t *pool, redisReply *r, ngx_str_t *from,
    ngx_str_t *to, ngx_str_t *bytes)
{
    u_char     *p;
    ngx_str_t   full;

    full.len = from->len + 1 + r->len;
    full.data = ngx_pnalloc(pool, full.len);

    if (full.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(full.data, from->data, from->len);
    *p++ = '/';
    ngx_memcpy(p, r->str, r->len);

    return ngx_xmpp_roster_make(pool, NGX_XMPP_TYPE_NONE, &full, to, bytes);
}


/* from decides whether it is taken at all (XEP-0191, 3.3) */

static void
ngx_xmpp_roster_tell(ngx_xmpp_subscription_t *s, ngx_str_t *tag,
    ngx_str_t *from, ngx_array_t *list)
{
    ngx_str_t                *bytes, sid;
    ngx_uint_t                i;
    ngx_xmpp_session_t       *xs;
    ngx_xmpp_store_route_t    r;
    ngx_xmpp_store_stanza_t   one;

    xs = s->stanza->session;
    bytes = list->elts;

    ngx_xmpp_session_own(xs, &sid);

    for (i = 0; i < list->nelts; i++) {

        ngx_memzero(&r, sizeof(ngx_xmpp_store_route_t));

        one.counter = ++xs->own;
        one.bytes = bytes[i];

        r.tag = tag;
        r.sid = &sid;
        r.from = from;
        r.kind = NGX_XMPP_STORE_PRESENCE;
        r.n = 1;
        r.stanzas = &one;

        ngx_xmpp_store_send(xs->worker->store, &r);
    }
}
