/*
 * What a client has not acknowledged when its session ends (XEP-0198, 4): it is
 * treated as what comes for a resource that is not there (RFC 6121, 8.5.3.2).
 *
 *     queue --the record has gone--> iq request        error to its sender
 *                                    message: chat     to the other resources,
 *                                                      kept, or an error
 *                                    normal, groupchat error to its sender
 *                                    all others        dropped
 *
 * What has an entry in the inbox is owed to the account by that, and is none of
 * this: these are the messages that are not worth keeping, or that nothing
 * keeps.  One for the bare JID went to all resources that were there.
 * Subscription requests stay with the roster until they are answered, and
 * presence is told anew to whoever comes next.
 *
 * Not before the record has gone: until then it is a resource that is there.
 * It may be that the client has got what it did not acknowledge; a sender who
 * hears of an error may repeat it, but never believes that it has arrived.
 *
 * A session that another worker has taken takes it along.  If that has gone on
 * without it, since this worker came too late, iq requests are answered (RFC
 * 6120, 8.2.3); messages that nothing keeps may have arrived, or are lost.
 *
 * The packets are trees once more, in the order of the queue.  All that is sent
 * has an identity of the ended session, counted anew, since its own numbers are
 * those of what its client has sent.
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_BOUNCE_POOL          1024
#define NGX_XMPP_BOUNCE_LIMIT         0x7fffffff


struct ngx_xmpp_bounce_s {
    ngx_queue_t                 queue;          /* worker's bounces */
    ngx_xmpp_worker_t          *worker;
    ngx_xmpp_host_t            *host;
    ngx_pool_t                 *pool;           /* itself, and all it needs */
    ngx_xmpp_out_t             *out;
    ngx_uint_t                  skip;           /* of the first packet */
    ngx_str_t                   bare;           /* whose session it was */
    ngx_str_t                   tag;
    ngx_str_t                   sid;
    uint64_t                    counter;
    ngx_uint_t                  flight;         /* answers to come */
    unsigned                    requests:1;     /* nothing else */
};


/* a message that was sent to others */
typedef struct {
    ngx_xmpp_bounce_t          *bounce;
    ngx_xmpp_store_route_t      route;
    ngx_xmpp_store_stanza_t     stanza;
    ngx_str_t                   sender;
    ngx_xmpp_xml_t             *xml;
} ngx_xmpp_bounce_message_t;


static ngx_pool_t *ngx_xmpp_bounce_pool(void *data);
static void ngx_xmpp_bounce_packet(ngx_xmpp_bounce_t *b,
    ngx_xmpp_packet_t *pkt, ngx_uint_t skip);
static void ngx_xmpp_bounce_stanza(ngx_xmpp_bounce_t *b, ngx_xmpp_xml_t *e);
static ngx_uint_t ngx_xmpp_bounce_is(ngx_xmpp_xml_t *e, const char *type);
static void ngx_xmpp_bounce_message(ngx_xmpp_bounce_t *b, ngx_xmpp_xml_t *e,
    ngx_str_t *from);
static void ngx_xmpp_bounce_chat(ngx_xmpp_bounce_t *b, ngx_xmpp_xml_t *e,
    ngx_str_t *from);
static void ngx_xmpp_bounce_routed(void *data, ngx_xmpp_store_result_t *res);
static void ngx_xmpp_bounce_error(ngx_xmpp_bounce_t *b, ngx_xmpp_xml_t *e);
static void ngx_xmpp_bounce_done(ngx_xmpp_bounce_t *b);


ngx_xmpp_bounce_t *
ngx_xmpp_bounce_take(ngx_xmpp_session_t *xs)
{
    ngx_pool_t         *pool;
    ngx_xmpp_sm_t      *sm;
    ngx_xmpp_bounce_t  *b;

    sm = xs->sm;

    if (sm == NULL || sm->out == NULL || xs->removed) {
        return NULL;
    }

    pool = ngx_create_pool(NGX_XMPP_BOUNCE_POOL, xs->worker->log);
    if (pool == NULL) {
        return NULL;
    }

    b = ngx_pcalloc(pool, sizeof(ngx_xmpp_bounce_t));
    if (b == NULL) {
        goto failed;
    }

    b->worker = xs->worker;
    b->host = xs->host;
    b->pool = pool;

    b->bare.data = ngx_pstrdup(pool, &xs->jid.bare);
    b->tag.data = ngx_pstrdup(pool, &xs->account->sn.str);
    b->sid.data = ngx_pnalloc(pool, xs->sid.len + 2);

    if (b->bare.data == NULL || b->tag.data == NULL || b->sid.data == NULL) {
        goto failed;
    }

    b->bare.len = xs->jid.bare.len;
    b->tag.len = xs->account->sn.str.len;
    b->sid.len = ngx_sprintf(b->sid.data, "%V/b", &xs->sid) - b->sid.data;

    b->out = sm->out;
    b->skip = sm->skip;

    sm->out = NULL;
    sm->last_out = &sm->out;
    sm->next = NULL;
    sm->n = 0;
    sm->skip = 0;
    sm->size = 0;

    ngx_queue_insert_tail(&b->worker->bounces, &b->queue);

    return b;

failed:

    ngx_destroy_pool(pool);

    return NULL;
}


void
ngx_xmpp_bounce(void *data, ngx_int_t rc)
{
    ngx_xmpp_bounce_t *b = data;

    ngx_xmpp_out_t  *out;

    /* one more is given up at the end: some may be answered at once */

    b->flight = 1;

    while (b->out) {
        out = b->out;

        if (out->packet->number == 0) {
            ngx_xmpp_bounce_packet(b, out->packet, b->skip);
        }

        b->skip = 0;
        b->out = out->next;

        ngx_xmpp_packet_release(out->packet);
        out->next = b->worker->free_out;
        b->worker->free_out = out;
    }

    ngx_xmpp_bounce_done(b);
}


void
ngx_xmpp_bounce_given(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_bounce_t *b = data;

    switch (res->rc) {

    case NGX_DECLINED:
    case NGX_AGAIN:
        b->requests = 1;
        ngx_xmpp_bounce(b, NGX_OK);
        return;

    case NGX_OK:
        ngx_xmpp_registry_rung(b->worker, &b->tag, res->number);
    }

    /* or it may have been written */

    ngx_xmpp_bounce_free(b);
}


static ngx_pool_t *
ngx_xmpp_bounce_pool(void *data)
{
    ngx_xmpp_bounce_t *b = data;

    return b->pool;
}


/* the writer's own bytes: what is well-formed and within any limit */

static void
ngx_xmpp_bounce_packet(ngx_xmpp_bounce_t *b, ngx_xmpp_packet_t *pkt,
    ngx_uint_t skip)
{
    u_char                 *p, *last;
    ngx_xmpp_xml_t         *e;
    ngx_xmpp_parser_t      *parser;
    ngx_xmpp_xml_event_e    event;
    ngx_xmpp_xml_limits_t   limits;

    static ngx_str_t  header = ngx_string("<stream:stream "
                          "xmlns='jabber:client' "
                          "xmlns:stream='http://etherx.jabber.org/streams'>");

    /* most of what waits is presence */

    if (pkt->len > sizeof("<presence") - 1
        && ngx_memcmp(pkt->data, "<presence", sizeof("<presence") - 1) == 0)
    {
        return;
    }

    limits.max_stanza = NGX_XMPP_BOUNCE_LIMIT;
    limits.max_depth = NGX_XMPP_BOUNCE_LIMIT;
    limits.max_attrs = NGX_XMPP_BOUNCE_LIMIT;
    limits.max_elements = NGX_XMPP_BOUNCE_LIMIT;
    limits.raw = 0;

    parser = ngx_xmpp_parser_create(b->pool, &limits, NULL,
                                    ngx_xmpp_bounce_pool, b);
    if (parser == NULL) {
        return;
    }

    p = header.data;
    event = ngx_xmpp_parser_feed(parser, &p, header.data + header.len, &e);

    p = ngx_xmpp_packet_stanza(pkt, skip);
    last = pkt->data + pkt->len;

    while (p < last
           && (event == NGX_XMPP_XML_OPEN || event == NGX_XMPP_XML_ELEMENT))
    {
        event = ngx_xmpp_parser_feed(parser, &p, last, &e);

        if (event == NGX_XMPP_XML_ELEMENT) {
            ngx_xmpp_bounce_stanza(b, e);
        }
    }

    ngx_xmpp_parser_destroy(parser);
}


static void
ngx_xmpp_bounce_stanza(ngx_xmpp_bounce_t *b, ngx_xmpp_xml_t *e)
{
    ngx_str_t  *from;

    from = ngx_xmpp_xml_attr(e, "from");

    if (from == NULL) {
        return;
    }

    if (ngx_xmpp_xml_is(e, "iq", &ngx_xmpp_ns_client)) {

        /* RFC 6121, 8.5.3.2.3 */

        if (ngx_xmpp_bounce_is(e, "get") || ngx_xmpp_bounce_is(e, "set")) {
            ngx_xmpp_bounce_error(b, e);
        }

    } else if (!b->requests
               && ngx_xmpp_xml_is(e, "message", &ngx_xmpp_ns_client))
    {
        ngx_xmpp_bounce_message(b, e, from);
    }
}


static ngx_uint_t
ngx_xmpp_bounce_is(ngx_xmpp_xml_t *e, const char *type)
{
    ngx_str_t  *value;

    value = ngx_xmpp_xml_attr(e, "type");

    return value && value->len == ngx_strlen(type)
           && ngx_memcmp(value->data, type, value->len) == 0;
}


/* RFC 6121, 8.5.3.2.1; a carbon comes from the account itself */

static void
ngx_xmpp_bounce_message(ngx_xmpp_bounce_t *b, ngx_xmpp_xml_t *e,
    ngx_str_t *from)
{
    ngx_str_t  *to;

    to = ngx_xmpp_xml_attr(e, "to");

    if (ngx_xmpp_bounce_is(e, "error") || ngx_xmpp_bounce_is(e, "headline")
        || ngx_xmpp_str_eq(from, &b->bare)
        || to == NULL || ngx_xmpp_str_eq(to, &b->bare))
    {
        return;
    }

    if (ngx_xmpp_bounce_is(e, "chat")) {
        ngx_xmpp_bounce_chat(b, e, from);

    } else {
        ngx_xmpp_bounce_error(b, e);
    }
}


/* as if it were for the bare JID: its to stays what it was */

static void
ngx_xmpp_bounce_chat(ngx_xmpp_bounce_t *b, ngx_xmpp_xml_t *e,
    ngx_str_t *from)
{
    size_t                      n;
    ngx_xmpp_bounce_message_t  *m;

    static ngx_str_t  hints = ngx_string("urn:xmpp:hints");

    n = ngx_xmpp_xml_size(e, NULL);

    m = ngx_pcalloc(b->pool, sizeof(ngx_xmpp_bounce_message_t));
    if (m == NULL) {
        return;
    }

    m->bounce = b;
    m->xml = e;
    m->sender = *from;

    m->stanza.counter = ++b->counter;
    m->stanza.bytes.len = n;
    m->stanza.bytes.data = ngx_pnalloc(b->pool, n);

    if (m->stanza.bytes.data == NULL) {
        return;
    }

    (void) ngx_xmpp_xml_write(m->stanza.bytes.data, e, NULL);

    m->route.tag = &b->tag;
    m->route.sid = &b->sid;
    m->route.kind = NGX_XMPP_STORE_CHAT;
    m->route.stanzas = &m->stanza;
    m->route.n = 1;

    if (from->len <= b->bare.len
        || ngx_memcmp(from->data, b->bare.data, b->bare.len) != 0
        || from->data[b->bare.len] != '/')
    {
        m->route.from = &m->sender;
    }

    /* XEP-0334, 4.2 */

    if (b->host->keep.len
        && ngx_xmpp_xml_child(e, "body", &ngx_xmpp_ns_client)
        && ngx_xmpp_xml_child(e, "no-store", &hints) == NULL)
    {
        m->route.keep = &b->host->keep;
    }

    if (ngx_xmpp_store_route(b->worker->store, b->pool, &m->route,
                             ngx_xmpp_bounce_routed, m)
        == NULL)
    {
        ngx_xmpp_bounce_error(b, e);
        return;
    }

    b->flight++;
}


static void
ngx_xmpp_bounce_routed(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_bounce_message_t *m = data;

    /* busy: those who are there cannot be reached; unknown: maybe they were */

    if (res->rc != NGX_OK && res->rc != NGX_ERROR) {
        ngx_xmpp_bounce_error(m->bounce, m->xml);
    }

    ngx_xmpp_bounce_done(m->bounce);
}


/* RFC 6120, 8.3: to its sender, if that is one of ours */

static void
ngx_xmpp_bounce_error(ngx_xmpp_bounce_t *b, ngx_xmpp_xml_t *e)
{
    ngx_str_t                 *to, *from, *id, tag, text;
    ngx_xmpp_jid_t             jid;
    ngx_xmpp_xml_t            *error;
    ngx_xmpp_packet_t         *pkt;
    ngx_xmpp_main_conf_t      *xmcf;
    ngx_xmpp_store_route_t     r;
    ngx_xmpp_store_stanza_t    one;

    static ngx_str_t  type = ngx_string("error");

    from = ngx_xmpp_xml_attr(e, "from");
    to = ngx_xmpp_xml_attr(e, "to");
    id = ngx_xmpp_xml_attr(e, "id");

    xmcf = ngx_stream_cycle_get_module_main_conf(b->worker->cycle,
                                                 ngx_xmpp_module);
    ngx_str_null(&text);

    if (ngx_xmpp_jid_parse(b->pool, from, &jid) != NGX_OK
        || jid.local.len == 0
        || ngx_xmpp_host_find(xmcf, &jid.domain) == NULL
        || ngx_xmpp_store_tag(b->pool, &jid.bare, &tag) != NGX_OK)
    {
        return;
    }

    error = ngx_xmpp_xml_create(b->pool, &e->name, &ngx_xmpp_ns_client);

    if (error == NULL
        || ngx_xmpp_xml_set(b->pool, error, "type", &type) != NGX_OK
        || (to && ngx_xmpp_xml_set(b->pool, error, "from", to) != NGX_OK)
        || ngx_xmpp_xml_set(b->pool, error, "to", from) != NGX_OK
        || (id && ngx_xmpp_xml_set(b->pool, error, "id", id) != NGX_OK)
        || ngx_xmpp_reply_condition(b->pool, error,
                                    NGX_XMPP_E_SERVICE_UNAVAILABLE, &text)
           != NGX_OK)
    {
        return;
    }

    pkt = ngx_xmpp_packet_xml(b->worker->log, error);
    if (pkt == NULL) {
        return;
    }

    one.counter = ++b->counter;
    one.bytes.data = pkt->data;
    one.bytes.len = pkt->len;

    ngx_memzero(&r, sizeof(ngx_xmpp_store_route_t));

    r.tag = &tag;
    r.resource = jid.resource.len ? &jid.resource : NULL;
    r.sid = &b->sid;
    r.kind = (e->name.data[0] == 'i') ? NGX_XMPP_STORE_IQ
                                      : NGX_XMPP_STORE_ERROR;
    r.n = 1;
    r.stanzas = &one;

    ngx_xmpp_store_send(b->worker->store, &r);

    ngx_xmpp_packet_release(pkt);
}


static void
ngx_xmpp_bounce_done(ngx_xmpp_bounce_t *b)
{
    if (--b->flight == 0) {
        ngx_xmpp_bounce_free(b);
    }
}


void
ngx_xmpp_bounce_free(ngx_xmpp_bounce_t *b)
{
    ngx_xmpp_out_t  *out;

    while (b->out) {
        out = b->out;
        b->out = out->next;

        ngx_xmpp_packet_release(out->packet);
        out->next = b->worker->free_out;
        b->worker->free_out = out;
    }

    ngx_queue_remove(&b->queue);
    ngx_destroy_pool(b->pool);
}


void
ngx_xmpp_bounce_exit(ngx_xmpp_worker_t *w)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&w->bounces)) {
        q = ngx_queue_head(&w->bounces);
        ngx_xmpp_bounce_free(ngx_queue_data(q, ngx_xmpp_bounce_t, queue));
    }
}
