/*
 * Pages of an archive (XEP-0313, 4.2 and 4.3).
 *
 *     query --Function--> page --> results and the answer
 *               ^           |
 *               '-----------|-- nothing in it: go on behind what was seen
 *               '-----------'-- the client reads slowly: after a while
 *
 * A page is bounded in messages and bytes, and may be less than what was asked
 * for: then it is not complete, and the client goes on from its end.  A page of
 * one full JID may be empty, after so many that are of other resources: then it
 * is gone on with here.
 *
 * Results and the answer are one packet, so that nothing comes between, and one
 * write.  It is made when there is room for it in the output of the client;
 * else the page is dropped and asked for again by a timer.  The stream waits
 * parked for all of that: its client has asked for it.
 *
 * All of a query lies in the stanza's pool.  The client goes meanwhile: it ends
 * at the next reply, or when the timer fires.  Redis goes: error wait.
 */


#include "ngx_xmpp_archive.h"


#define NGX_XMPP_ARCHIVE_RETRY        50        /* milliseconds, doubled */
#define NGX_XMPP_ARCHIVE_RETRIES      3


static void ngx_xmpp_archive_page_done(void *data,
    ngx_xmpp_store_result_t *res);
static ngx_int_t ngx_xmpp_archive_page_check(ngx_xmpp_archive_query_t *q,
    redisReply *reply);
static void ngx_xmpp_archive_page_later(ngx_xmpp_archive_query_t *q);
static void ngx_xmpp_archive_page_retry_handler(ngx_event_t *ev);
static ngx_int_t ngx_xmpp_archive_page_give(ngx_xmpp_archive_query_t *q,
    redisReply *reply, ngx_uint_t n, size_t len);
static ngx_xmpp_packet_t *ngx_xmpp_archive_page_fin(
    ngx_xmpp_archive_query_t *q, redisReply *reply, ngx_uint_t n);
static ngx_int_t ngx_xmpp_archive_page_id(ngx_xmpp_archive_query_t *q,
    redisReply *id, ngx_str_t *text);
static size_t ngx_xmpp_archive_page_size(ngx_xmpp_archive_query_t *q);
static u_char *ngx_xmpp_archive_page_result(u_char *p,
    ngx_xmpp_archive_query_t *q, redisReply *id, redisReply *stanza);


ngx_int_t
ngx_xmpp_archive_page(ngx_xmpp_archive_query_t *q)
{
    u_char             *p;
    ngx_xmpp_stanza_t  *stz;

    stz = q->stanza;

    p = ngx_sprintf(q->text, "%uL-%ui", q->low.number, q->low.index);

    q->store.low.data = q->text;
    q->store.low.len = p - q->text;

    q->store.high.data = p;
    q->store.high.len = ngx_sprintf(p, "%uL-%ui", q->high.number,
                                    q->high.index)
                        - p;

    if (ngx_xmpp_store_archive(stz->session->worker->store, stz->pool,
                               &q->record, &q->store,
                               ngx_xmpp_archive_page_done, q)
        == NULL)
    {
        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    return NGX_AGAIN;
}


static void
ngx_xmpp_archive_page_done(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_archive_query_t *q = data;

    ngx_int_t    rc;
    redisReply  *first;

    if (res->rc == NGX_OK) {
        rc = ngx_xmpp_archive_page_check(q, res->reply);

        if (rc != NGX_AGAIN) {
            ngx_xmpp_stanza_resume(q->stanza, rc);
        }

        return;
    }

    if (res->rc == NGX_DECLINED) {
        first = res->reply->element[0];

        if (first->len == 7 && ngx_memcmp(first->str, "missing", 7) == 0) {
            ngx_xmpp_stanza_resume(q->stanza, NGX_XMPP_E_ITEM_NOT_FOUND);
            return;
        }
    }

    ngx_xmpp_stanza_resume(q->stanza, ngx_xmpp_reply_stored(q->stanza, res));
}


/* NGX_OK: answered; NGX_AGAIN: asked again, or later; or a condition */

static ngx_int_t
ngx_xmpp_archive_page_check(ngx_xmpp_archive_query_t *q, redisReply *reply)
{
    size_t                     i, len;
    ngx_uint_t                 n;
    ngx_xmpp_stream_t         *st;
    ngx_xmpp_entry_t   entry;

    if (reply->elements < 6) {
        return NGX_ERROR;
    }

    for (i = 3; i < reply->elements; i++) {
        if (reply->element[i]->type != REDIS_REPLY_STRING) {
            return NGX_ERROR;
        }
    }

    n = (reply->elements - 6) / 2;

    if (n == 0 && q->store.max && reply->element[4]->len) {
        if (ngx_xmpp_archive_entry(reply->element[4], &entry) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_xmpp_archive_query_past(q, &entry, q->store.back);

        return ngx_xmpp_archive_page(q);
    }

    len = n * ngx_xmpp_archive_page_size(q);

    for (i = 7; i < reply->elements; i += 2) {
        len += reply->element[i]->len;
    }

    st = q->stanza->session->stream;

    if (st && st->state == NGX_XMPP_ST_BOUND && !st->transport->room(st, len)
        && st->state == NGX_XMPP_ST_BOUND)
    {
        ngx_xmpp_archive_page_later(q);
        return NGX_AGAIN;
    }

    return ngx_xmpp_archive_page_give(q, reply, n, len);
}


/* a client that reads slowly is not closed for a page */

static void
ngx_xmpp_archive_page_later(ngx_xmpp_archive_query_t *q)
{
    ngx_xmpp_stanza_t  *stz;

    stz = q->stanza;

    stz->retry.handler = ngx_xmpp_archive_page_retry_handler;
    stz->retry.data = q;
    stz->retry.log = stz->session->worker->log;

    ngx_add_timer(&stz->retry, NGX_XMPP_ARCHIVE_RETRY << stz->tries);

    if (stz->tries < NGX_XMPP_ARCHIVE_RETRIES) {
        stz->tries++;
    }
}


static void
ngx_xmpp_archive_page_retry_handler(ngx_event_t *ev)
{
    ngx_int_t                  rc;
    ngx_xmpp_archive_query_t  *q;

    q = ev->data;

    rc = ngx_xmpp_archive_page(q);

    if (rc != NGX_AGAIN) {
        ngx_xmpp_stanza_resume(q->stanza, rc);
    }
}


/* 4.2: n results, of len bytes at most, and the answer */

static ngx_int_t
ngx_xmpp_archive_page_give(ngx_xmpp_archive_query_t *q, redisReply *reply,
    ngx_uint_t n, size_t len)
{
    u_char             *p;
    ngx_uint_t          i, k;
    ngx_xmpp_packet_t  *pkt, *fin;

    fin = ngx_xmpp_archive_page_fin(q, reply, n);
    if (fin == NULL) {
        return NGX_ERROR;
    }

    pkt = ngx_xmpp_packet_alloc(q->stanza->session->worker->log,
                                len + fin->len);
    if (pkt == NULL) {
        goto failed;
    }

    p = pkt->data;

    for (i = 0; i < n; i++) {

        /* 4.3.4: the other way around */

        k = 6 + 2 * (q->flip ? n - 1 - i : i);

        p = ngx_xmpp_archive_page_result(p, q, reply->element[k],
                                          reply->element[k + 1]);
        if (p == NULL) {
            goto failed;
        }
    }

    p = ngx_cpymem(p, fin->data, fin->len);

    pkt->len = p - pkt->data;
    pkt->stanzas = n + 1;

    ngx_xmpp_session_output(q->stanza->session, pkt);

    ngx_xmpp_packet_release(pkt);
    ngx_xmpp_packet_release(fin);

    return NGX_OK;

failed:

    if (pkt) {
        ngx_xmpp_packet_release(pkt);
    }

    ngx_xmpp_packet_release(fin);

    return NGX_ERROR;
}


/* 4.3.2: the answer; NULL: no memory */

static ngx_xmpp_packet_t *
ngx_xmpp_archive_page_fin(ngx_xmpp_archive_query_t *q, redisReply *reply,
    ngx_uint_t n)
{
    ngx_pool_t           *pool;
    redisReply          **r;
    ngx_xmpp_xml_t       *fin;
    ngx_xmpp_rsm_page_t   page;

    static ngx_str_t  name = ngx_string("fin");
    static ngx_str_t  yes = ngx_string("true");

    pool = q->stanza->pool;
    r = reply->element;

    ngx_memzero(&page, sizeof(ngx_xmpp_rsm_page_t));

    page.index = NGX_ERROR;
    page.count = r[5]->len ? ngx_atoi((u_char *) r[5]->str, r[5]->len)
                           : NGX_ERROR;

    /* XEP-0059, 2.2: where it is known without counting */

    if (page.count != NGX_ERROR) {

        if (!q->store.back && q->rsm.after.len == 0) {
            page.index = 0;

        } else if (q->store.back && q->rsm.before.len == 0
                   && (ngx_uint_t) page.count >= n)
        {
            page.index = page.count - n;
        }
    }

    fin = ngx_xmpp_xml_create(pool, &name, &ngx_xmpp_archive_ns);

    if (fin == NULL
        || (n
            && (ngx_xmpp_archive_page_id(q, r[6], &page.first) != NGX_OK
                || ngx_xmpp_archive_page_id(q, r[6 + 2 * (n - 1)],
                                             &page.last)
                   != NGX_OK))
        || (r[3]->len == 1 && r[3]->str[0] == '1'
            && ngx_xmpp_xml_set(pool, fin, "complete", &yes) != NGX_OK)
        || ngx_xmpp_rsm_write(pool, fin, &page) != NGX_OK)
    {
        return NULL;
    }

    return ngx_xmpp_reply_packet(q->stanza, fin);
}


static ngx_int_t
ngx_xmpp_archive_page_id(ngx_xmpp_archive_query_t *q, redisReply *id,
    ngx_str_t *text)
{
    ngx_xmpp_session_t        *xs;
    ngx_xmpp_entry_t   entry;

    xs = q->stanza->session;

    text->len = NGX_XMPP_ENTRY_ID_LEN;
    text->data = ngx_pnalloc(q->stanza->pool, NGX_XMPP_ENTRY_ID_LEN);

    if (text->data == NULL || ngx_xmpp_archive_entry(id, &entry) != NGX_OK
        || ngx_xmpp_stanza_id_write(text->data, xs->worker, &xs->jid.bare,
                                    &entry)
           == NULL)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* what a result has around its message, at most */

static size_t
ngx_xmpp_archive_page_size(ngx_xmpp_archive_query_t *q)
{
    ngx_xmpp_session_t  *xs;

    xs = q->stanza->session;

    return sizeof("<message xmlns='jabber:client' from='' to=''>"
                  "<result xmlns='urn:xmpp:mam:2' queryid='' id=''>"
                  "<forwarded xmlns='urn:xmpp:forward:0'>"
                  "<delay xmlns='urn:xmpp:delay' "
                  "stamp='1970-01-01T00:00:00.000000Z'/>"
                  "</forwarded></result></message>") - 1
           + ngx_xmpp_xml_escape_size(&xs->jid.bare)
           + ngx_xmpp_xml_escape_size(&xs->jid.full)
           + ngx_xmpp_xml_escape_size(&q->id) + NGX_XMPP_ENTRY_ID_LEN;
}


/* 4.2: one result; its end, or NULL: its id cannot be made */

static u_char *
ngx_xmpp_archive_page_result(u_char *p, ngx_xmpp_archive_query_t *q,
    redisReply *id, redisReply *stanza)
{
    ngx_xmpp_session_t        *xs;
    ngx_xmpp_entry_t   entry;

    xs = q->stanza->session;

    if (ngx_xmpp_archive_entry(id, &entry) != NGX_OK) {
        return NULL;
    }

    p = ngx_cpymem(p, "<message xmlns='jabber:client' from='",
                   sizeof("<message xmlns='jabber:client' from='") - 1);
    p = ngx_xmpp_xml_escape(p, &xs->jid.bare);
    p = ngx_cpymem(p, "' to='", sizeof("' to='") - 1);
    p = ngx_xmpp_xml_escape(p, &xs->jid.full);
    p = ngx_cpymem(p, "'><result xmlns='urn:xmpp:mam:2' ",
                   sizeof("'><result xmlns='urn:xmpp:mam:2' ") - 1);

    if (q->id.len) {
        p = ngx_cpymem(p, "queryid='", sizeof("queryid='") - 1);
        p = ngx_xmpp_xml_escape(p, &q->id);
        p = ngx_cpymem(p, "' ", sizeof("' ") - 1);
    }

    p = ngx_cpymem(p, "id='", sizeof("id='") - 1);
    p = ngx_xmpp_stanza_id_write(p, xs->worker, &xs->jid.bare, &entry);

    if (p == NULL) {
        return NULL;
    }

    p = ngx_cpymem(p, "'><forwarded xmlns='urn:xmpp:forward:0'>"
                      "<delay xmlns='urn:xmpp:delay' stamp='",
                   sizeof("'><forwarded xmlns='urn:xmpp:forward:0'>"
                          "<delay xmlns='urn:xmpp:delay' stamp='") - 1);
    p = ngx_xmpp_datetime_usec(p, entry.number);
    p = ngx_cpymem(p, "'/>", sizeof("'/>") - 1);
    p = ngx_cpymem(p, stanza->str, stanza->len);

    return ngx_cpymem(p, "</forwarded></result></message>",
                      sizeof("</forwarded></result></message>") - 1);
}
