/*
 * The inbox, pages: what no session of an account has taken yet is handed out
 * to whoever may get it (XEP-0160; RFC 6121, 8.5.2.2.1; cluster.md, rule 9).
 *
 *     idle --available, or a bell may have been missed--> asked --no entry--.
 *      ^                                                   ^ |              |
 *      |                                      asked for    | | page: given  |
 *      |                                      what is      | v to the       |
 *      |                                      behind it   written  client   |
 *      '--------------------------------------------------------------------'
 *
 * A page that comes when the client has not read what it got before is dropped,
 * and asked for again when that is written.  Redis leaves behind but so many in
 * one step that are for others; then there is a pause: whoever is there again
 * and again, with an inbox full of those, does not keep Redis busy.
 *
 * A page stays in Redis until it was taken (ngx_xmpp_inbox_taken.c): what could
 * not be written is there for the session that comes next.  So a client may get
 * a message twice, when the connection ends in between, and never misses one.
 * Several sessions that become available at once get the same, as they would
 * have, had they been there.
 *
 * What comes for the session meanwhile is newer and held back, until the last
 * page, or until Redis does not answer: then it is asked again later, and what
 * comes by then and is kept is read from there, in its place.  What a bell is
 * to bring is in no page, unless that bell was missed: so it comes in order
 * with what is not kept.  One that was missed may also be newer than what is
 * held back, when subscriptions are lost again, or the answer of Redis is
 * faster than the bells it tells of: then that goes out before it.
 *
 * With xmpp_durability replicas=N a page is answered when replicas have what is
 * in it.  While they are lacking it is given as it is, but for a session for
 * which something has rung that they did not have: that asks until they are
 * back (ngx_xmpp_confirm.c).
 *
 * ngx_xmpp_inbox_t is of the session's pool, whose end cancels a request.
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_INBOX_PAGE           65536     /* bytes, about */
#define NGX_XMPP_INBOX_AGAIN          2000      /* milliseconds */
#define NGX_XMPP_INBOX_UNSURE         500       /* the same, for replicas */
#define NGX_XMPP_INBOX_PAUSE          20        /* the same */


static void ngx_xmpp_inbox_ask(ngx_xmpp_inbox_t *ib);
static void ngx_xmpp_inbox_got(void *data, ngx_xmpp_store_result_t *res);
static size_t ngx_xmpp_inbox_size(redisReply *reply);
static void ngx_xmpp_inbox_page(ngx_xmpp_inbox_t *ib, redisReply *reply);
static ngx_xmpp_packet_t *ngx_xmpp_inbox_packet(ngx_xmpp_session_t *xs,
    ngx_xmpp_entry_t *entry, ngx_uint_t archived, redisReply *stanza);
static ngx_int_t ngx_xmpp_inbox_id(redisReply *id,
    ngx_xmpp_entry_t *entry, ngx_uint_t *archived);
static void ngx_xmpp_inbox_written(ngx_xmpp_session_t *xs);
static void ngx_xmpp_inbox_later(ngx_xmpp_inbox_t *ib);
static void ngx_xmpp_inbox_timer_handler(ngx_event_t *ev);
static void ngx_xmpp_inbox_release(ngx_xmpp_inbox_t *ib);
static void ngx_xmpp_inbox_cleanup(void *data);


void
ngx_xmpp_inbox_present(ngx_xmpp_session_t *xs, redisReply *reply)
{
    redisReply  *r;

    if (reply->elements < 5) {
        return;
    }

    r = reply->element[4];

    if (r->type == REDIS_REPLY_STRING && r->len == 1 && r->str[0] == '1') {
        ngx_xmpp_inbox_begin(xs);
    }
}


void
ngx_xmpp_inbox_begin(ngx_xmpp_session_t *xs)
{
    ngx_xmpp_inbox_t  *ib;

    ib = ngx_xmpp_inbox_get(xs);

    if (ib == NULL) {
        return;
    }

    if (ib->active) {
        ib->again = 1;
        return;
    }

    ib->active = 1;
    ib->holding = 1;
    ib->last.len = 0;

    ngx_xmpp_session_hold(xs);
    ngx_xmpp_inbox_ask(ib);
}


void
ngx_xmpp_inbox_unsure(ngx_xmpp_session_t *xs, ngx_uint_t lacking)
{
    ngx_xmpp_inbox_t  *ib;

    ib = ngx_xmpp_inbox_get(xs);

    if (ib == NULL) {
        return;
    }

    ib->unsure |= lacking;

    if (ib->active) {
        ib->again = 1;
        ib->late = 1;
        return;
    }

    ib->last.len = 0;
    ngx_xmpp_inbox_later(ib);
}


static void
ngx_xmpp_inbox_ask(ngx_xmpp_inbox_t *ib)
{
    ngx_xmpp_session_t   *xs;
    ngx_xmpp_srv_conf_t  *xscf;

    xs = ib->session;

    if (xs->ending || xs->displaced) {
        return;
    }

    /* when it has a stream again, all begins anew; it may wait for one */

    if (xs->stream ? xs->stream->state != NGX_XMPP_ST_BOUND
                   : xs->sm == NULL || !xs->sm->detached)
    {
        ib->again = 0;
        ib->stalled = 1;
        ngx_xmpp_inbox_release(ib);
        return;
    }

    if (!ib->holding) {
        ib->holding = 1;
        ngx_xmpp_session_hold(xs);
    }

    xscf = ngx_xmpp_host_conf(xs->host, ngx_xmpp_module);

    ib->late = 0;
    ib->number = ngx_max(xs->account->heard, xs->account->missed);
    ib->pool = ngx_xmpp_worker_pool(xs->worker);

    ngx_xmpp_session_record(xs, &ib->record);

    if (ib->pool == NULL
        || ngx_xmpp_store_inbox(xs->worker->store, ib->pool, &ib->record,
                                &ib->last,
                                ngx_min(NGX_XMPP_INBOX_PAGE,
                                        xscf->output_queue / 2),
                                ib->number, ib->unsure, ngx_xmpp_inbox_got, ib)
           == NULL)
    {
        ngx_xmpp_inbox_later(ib);
    }
}


static void
ngx_xmpp_inbox_got(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_inbox_t *ib = data;

    size_t               len;
    ngx_xmpp_session_t  *xs;

    xs = ib->session;

    switch (res->rc) {

    case NGX_OK:
        ib->unsure = 0;

        /* what waits for it already goes first, then it is asked again */

        len = ngx_xmpp_inbox_size(res->reply);

        if (len && !ngx_xmpp_ack_room(xs, len)) {
            ib->stalled = 1;

        } else if (len && xs->stream
                   && !xs->stream->transport->room(xs->stream, len))
        {
            xs->stream->written = ngx_xmpp_inbox_written;

        } else {
            ngx_xmpp_inbox_page(ib, res->reply);
            return;
        }

        ngx_xmpp_worker_pool_done(xs->worker, ib->pool);
        ib->pool = NULL;
        return;

    case NGX_DECLINED:

        /* the record is another's by now, or was lost: that decides */

        ngx_xmpp_inbox_release(ib);
        ngx_xmpp_session_reassert(xs);
        return;

    default:
        ngx_xmpp_inbox_later(ib);
    }
}


/* of a page: a client that is slow to read, or to acknowledge, waits for it */

static size_t
ngx_xmpp_inbox_size(redisReply *reply)
{
    size_t  i, len;

    len = 0;

    for (i = 4; i < reply->elements; i += 2) {
        if (reply->element[i]->type == REDIS_REPLY_STRING) {
            len += reply->element[i]->len;
        }
    }

    return len;
}


/* a page, to the client; RFC 6121, 8.5.2.2.1: in the order of arrival */

static void
ngx_xmpp_inbox_page(ngx_xmpp_inbox_t *ib, redisReply *reply)
{
    size_t                i;
    redisReply           *id;
    ngx_uint_t            archived, empty;
    ngx_xmpp_entry_t      entry;
    ngx_xmpp_packet_t    *pkt;
    ngx_xmpp_stream_t    *st;
    ngx_xmpp_session_t   *xs;

    xs = ib->session;
    id = NULL;
    empty = 0;

    for (i = 3; i + 1 < reply->elements; i += 2) {

        if (ngx_xmpp_inbox_id(reply->element[i], &entry, &archived) != NGX_OK
            || reply->element[i + 1]->type != REDIS_REPLY_STRING)
        {
            break;
        }

        id = reply->element[i];

        if (reply->element[i + 1]->len == 0) {
            empty = 1;
            break;
        }

        pkt = ngx_xmpp_inbox_packet(xs, &entry, archived,
                                    reply->element[i + 1]);
        if (pkt == NULL) {
            break;
        }

        ngx_xmpp_inbox_give(xs, pkt);
        ngx_xmpp_packet_release(pkt);
    }

    if (id == NULL) {
        ngx_xmpp_inbox_release(ib);
        return;
    }

    ib->last.len = id->len;
    ngx_memcpy(ib->id, id->str, id->len);

    ngx_xmpp_worker_pool_done(xs->worker, ib->pool);
    ib->pool = NULL;

    if (empty) {
        ngx_add_timer(&ib->timer, NGX_XMPP_INBOX_PAUSE);
        return;
    }

    /* the stream may have ended by it; a slow client is waited for */

    st = xs->stream;

    if (st && st->out) {
        st->written = ngx_xmpp_inbox_written;
        return;
    }

    ngx_xmpp_inbox_ask(ib);
}


/*
 * "number-index", and "+" behind it, which is cut off, when the archive has it,
 * too.  NGX_OK or NGX_ERROR: not an id of ours.
 */

static ngx_int_t
ngx_xmpp_inbox_id(redisReply *id, ngx_xmpp_entry_t *entry,
    ngx_uint_t *archived)
{
    u_char     *p, *last;
    time_t      n;
    ngx_int_t   index;

    *archived = (id->type == REDIS_REPLY_STRING && id->len
                 && id->str[id->len - 1] == '+');

    if (*archived) {
        id->len--;
    }

    if (id->type != REDIS_REPLY_STRING || id->len > NGX_XMPP_INBOX_ID) {
        return NGX_ERROR;
    }

    last = (u_char *) id->str + id->len;
    p = ngx_strlchr((u_char *) id->str, last, '-');

    if (p == NULL) {
        return NGX_ERROR;
    }

    n = ngx_atotm((u_char *) id->str, p - (u_char *) id->str);
    index = ngx_atoi(p + 1, last - p - 1);

    if (n == NGX_ERROR || index == NGX_ERROR) {
        return NGX_ERROR;
    }

    entry->number = n;
    entry->index = index;

    return NGX_OK;
}


/*
 * XEP-0160, 2; XEP-0203: when it came, told by the server that has kept it;
 * XEP-0313, 3.5: where the archive has it.  The number is the time in
 * microseconds.
 */

static ngx_xmpp_packet_t *
ngx_xmpp_inbox_packet(ngx_xmpp_session_t *xs, ngx_xmpp_entry_t *entry,
    ngx_uint_t archived, redisReply *stanza)
{
    u_char             *p;
    size_t              body;
    ngx_xmpp_packet_t  *pkt;

    static ngx_str_t  end = ngx_string("</message>");

    body = 0;

    if (stanza->len >= end.len
        && ngx_memcmp(stanza->str + stanza->len - end.len, end.data, end.len)
           == 0)
    {
        body = stanza->len - end.len;
    }

    pkt = ngx_xmpp_packet_alloc(xs->worker->log,
              stanza->len
              + sizeof("<delay xmlns='urn:xmpp:delay' from='' stamp='"
                       "1970-01-01T00:00:00Z'/>") - 1
              + ngx_xmpp_xml_escape_size(&xs->host->name)
              + ngx_xmpp_stanza_id_size(&xs->jid.bare));
    if (pkt == NULL) {
        return NULL;
    }

    pkt->number = entry->number;
    pkt->index = entry->index;

    if (body == 0) {
        ngx_memcpy(pkt->data, stanza->str, stanza->len);
        pkt->len = stanza->len;

        return pkt;
    }

    p = ngx_cpymem(pkt->data, stanza->str, body);
    p = ngx_cpymem(p, "<delay xmlns='urn:xmpp:delay' from='",
                   sizeof("<delay xmlns='urn:xmpp:delay' from='") - 1);
    p = ngx_xmpp_xml_escape(p, &xs->host->name);
    p = ngx_cpymem(p, "' stamp='", sizeof("' stamp='") - 1);
    p = ngx_xmpp_datetime(p, entry->number / 1000000);
    p = ngx_cpymem(p, "'/>", sizeof("'/>") - 1);

    if (archived) {
        p = ngx_xmpp_stanza_id_element(p, xs, entry);
    }

    p = ngx_cpymem(p, end.data, end.len);

    pkt->len = p - pkt->data;

    return pkt;
}


static void
ngx_xmpp_inbox_written(ngx_xmpp_session_t *xs)
{
    ngx_xmpp_inbox_ask(xs->inbox);
}


void
ngx_xmpp_inbox_resume(ngx_xmpp_session_t *xs, ngx_uint_t back)
{
    ngx_xmpp_inbox_t  *ib;

    ib = xs->inbox;

    if (ib == NULL) {
        return;
    }

    /* what was to be written went with the old stream */

    if (back && ib->active && ib->pool == NULL && !ib->timer.timer_set) {
        ib->stalled = 1;
    }

    if (!ib->stalled) {
        return;
    }

    ib->stalled = 0;

    if (ib->active) {
        ngx_xmpp_inbox_ask(ib);

    } else {
        ngx_xmpp_inbox_begin(xs);
    }
}


/*
 * Redis does not answer: what is not kept does not wait for that; what is kept
 * comes from there, behind what is older.
 */

static void
ngx_xmpp_inbox_later(ngx_xmpp_inbox_t *ib)
{
    if (ib->again) {
        ib->again = 0;
        ib->last.len = 0;
    }

    ib->late = 1;

    ngx_xmpp_inbox_unkept(ib->session);
    ngx_xmpp_inbox_release(ib);

    ib->active = 1;
    ngx_add_timer(&ib->timer, ib->unsure ? NGX_XMPP_INBOX_UNSURE
                                         : NGX_XMPP_INBOX_AGAIN);
}


static void
ngx_xmpp_inbox_timer_handler(ngx_event_t *ev)
{
    ngx_xmpp_inbox_ask(ev->data);
}


/* all was read, or it has to wait */

static void
ngx_xmpp_inbox_release(ngx_xmpp_inbox_t *ib)
{
    ib->active = 0;

    if (ib->pool) {
        ngx_xmpp_worker_pool_done(ib->session->worker, ib->pool);
        ib->pool = NULL;
    }

    if (ib->holding) {
        ib->holding = 0;
        ngx_xmpp_session_release(ib->session);
    }

    if (ib->again) {
        ib->again = 0;
        ngx_xmpp_inbox_begin(ib->session);
    }
}


ngx_xmpp_inbox_t *
ngx_xmpp_inbox_get(ngx_xmpp_session_t *xs)
{
    ngx_xmpp_inbox_t    *ib;
    ngx_pool_cleanup_t  *cln;

    if (xs->inbox) {
        return xs->inbox;
    }

    cln = ngx_pool_cleanup_add(xs->pool, sizeof(ngx_xmpp_inbox_t));
    if (cln == NULL) {
        return NULL;
    }

    ib = cln->data;

    ngx_memzero(ib, sizeof(ngx_xmpp_inbox_t));

    ib->session = xs;
    ib->last.data = ib->id;

    ib->timer.handler = ngx_xmpp_inbox_timer_handler;
    ib->timer.data = ib;
    ib->timer.log = xs->worker->log;
    ib->timer.cancelable = 1;

    ib->due.handler = ngx_xmpp_inbox_due_handler;
    ib->due.data = ib;
    ib->due.log = xs->worker->log;
    ib->due.cancelable = 1;

    cln->handler = ngx_xmpp_inbox_cleanup;
    xs->inbox = ib;

    return ib;
}


static void
ngx_xmpp_inbox_cleanup(void *data)
{
    ngx_xmpp_inbox_t *ib = data;

    if (ib->pool) {
        ngx_destroy_pool(ib->pool);
    }

    if (ib->timer.timer_set) {
        ngx_del_timer(&ib->timer);
    }

    if (ib->said) {
        ngx_destroy_pool(ib->said);
    }

    if (ib->due.timer_set) {
        ngx_del_timer(&ib->due);
    }

    if (ib->given) {
        ngx_free(ib->given);
    }
}
