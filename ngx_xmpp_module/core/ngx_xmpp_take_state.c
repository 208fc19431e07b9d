/*
 * What belongs to a session, as the text that goes to another worker through
 * Redis (redis/17-sm.lua, field state).
 *
 *     "1 " sent " " heard " " unheard " " directed " " packets LF
 *     for each who got directed presence:  length of the bare JID " "
 *                                          length LF JID
 *     for each packet of the queue:        number " " index " " stanzas " "
 *                                          length LF bytes
 *
 * All numbers are decimal.  sent is how many stanzas the client was sent, "-"
 * when that is not known; heard is the number of the last bell that the session
 * has heard; unheard is 1 when presence of others was asked for, since some was
 * missed before, and the answers have not come.  The first byte is the version:
 * a release that does not know it takes nothing of it, as if its holder had
 * been killed (cluster.md, rule 15).
 *
 * The text is our own, and comes from Redis: what does not fit is left out, and
 * is never read beyond its end.
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_TAKE_LINE            (5 * (NGX_INT64_LEN + 1) + 2)
#define NGX_XMPP_TAKE_DIGITS          19      /* 64 bits have so many */


/* the first line */
typedef struct {
    uint64_t                    sent;
    uint64_t                    heard;
    uint64_t                    unheard;
    uint64_t                    directed;
    uint64_t                    packets;
    unsigned                    rebuilt:1;      /* sent is not known */
} ngx_xmpp_take_head_t;


static ngx_int_t ngx_xmpp_take_head(u_char **pos, u_char *last,
    ngx_xmpp_take_head_t *head);
static ngx_int_t ngx_xmpp_take_directed(ngx_xmpp_session_t *xs, u_char **pos,
    u_char *last, ngx_queue_t *directed);
static ngx_int_t ngx_xmpp_take_packet(ngx_xmpp_session_t *xs, u_char **pos,
    u_char *last);
static ngx_int_t ngx_xmpp_take_number(u_char **pos, u_char *last, u_char end,
    uint64_t *n);


/*
 * Writes it to *text, from pool: the queue, which begins with what is not
 * acknowledged, and the nodes of directed.  NGX_OK or NGX_ERROR (no memory).
 */

ngx_int_t
ngx_xmpp_take_write(ngx_pool_t *pool, ngx_xmpp_session_t *xs,
    ngx_queue_t *directed, ngx_str_t *text)
{
    u_char               *p;
    size_t                len;
    ngx_uint_t            n, packets;
    ngx_queue_t          *q;
    ngx_xmpp_sm_t        *sm;
    ngx_xmpp_out_t       *out;
    ngx_xmpp_directed_t  *d;

    sm = xs->sm;
    len = NGX_XMPP_TAKE_LINE;
    n = 0;
    packets = 0;

    for (q = ngx_queue_head(directed);
         q != ngx_queue_sentinel(directed);
         q = ngx_queue_next(q))
    {
        d = ngx_queue_data(q, ngx_xmpp_directed_t, queue);
        len += NGX_XMPP_TAKE_LINE + d->len;
        n++;
    }

    for (out = sm->out; out; out = out->next) {
        len += NGX_XMPP_TAKE_LINE + out->packet->len;
        packets++;
    }

    p = ngx_pnalloc(pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;

    if (sm->rebuilt) {
        p = ngx_cpymem(p, "1 -", 3);

    } else {
        p = ngx_sprintf(p, "1 %uD", sm->sent);
    }

    p = ngx_sprintf(p, " %uL %ui %ui %ui\n", xs->account->heard,
                    (ngx_uint_t) (xs->snapshots != 0), n, packets);

    for (q = ngx_queue_head(directed);
         q != ngx_queue_sentinel(directed);
         q = ngx_queue_next(q))
    {
        d = ngx_queue_data(q, ngx_xmpp_directed_t, queue);

        p = ngx_sprintf(p, "%uz %uz\n", d->bare, d->len);
        p = ngx_cpymem(p, d->data, d->len);
    }

    for (out = sm->out; out; out = out->next) {
        p = ngx_sprintf(p, "%uL %ui %ui %uz\n", out->packet->number,
                        out->packet->index, out->packet->stanzas,
                        out->packet->len);
        p = ngx_cpymem(p, out->packet->data, out->packet->len);
    }

    text->len = p - text->data;

    return NGX_OK;
}


/*
 * Reads it into a session that has stream management and nothing in its queue;
 * adds nodes to directed.  NGX_OK; NGX_DECLINED: it is of a version that is not
 * known, or not whole, the session has what was read by then.
 */

ngx_int_t
ngx_xmpp_take_read(ngx_xmpp_session_t *xs, ngx_str_t *text,
    ngx_queue_t *directed)
{
    u_char                *p, *last;
    ngx_xmpp_take_head_t   head;

    p = text->data;
    last = p + text->len;

    if (ngx_xmpp_take_head(&p, last, &head) != NGX_OK) {
        return NGX_DECLINED;
    }

    xs->sm->rebuilt = head.rebuilt;

    while (head.directed--) {
        if (ngx_xmpp_take_directed(xs, &p, last, directed) != NGX_OK) {
            return NGX_DECLINED;
        }
    }

    while (head.packets--) {
        if (ngx_xmpp_take_packet(xs, &p, last) != NGX_OK) {
            return NGX_DECLINED;
        }
    }

    /* the queue ends with the last one of these */

    xs->sm->sent = (uint32_t) head.sent;

    return NGX_OK;
}


uint64_t
ngx_xmpp_take_heard(ngx_str_t *text, ngx_uint_t *unheard)
{
    u_char                *p;
    ngx_xmpp_take_head_t   head;

    p = text->data;

    if (ngx_xmpp_take_head(&p, p + text->len, &head) != NGX_OK) {
        *unheard = 1;
        return 0;
    }

    *unheard = head.unheard;

    return head.heard;
}


static ngx_int_t
ngx_xmpp_take_head(u_char **pos, u_char *last, ngx_xmpp_take_head_t *head)
{
    u_char  *p;

    p = *pos;

    if (last - p < 4 || p[0] != '1' || p[1] != ' ') {
        return NGX_DECLINED;
    }

    p += 2;

    head->sent = 0;
    head->rebuilt = (p[0] == '-' && p[1] == ' ');

    if (head->rebuilt) {
        p += 2;

    } else if (ngx_xmpp_take_number(&p, last, ' ', &head->sent) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (ngx_xmpp_take_number(&p, last, ' ', &head->heard) != NGX_OK
        || ngx_xmpp_take_number(&p, last, ' ', &head->unheard) != NGX_OK
        || ngx_xmpp_take_number(&p, last, ' ', &head->directed) != NGX_OK
        || ngx_xmpp_take_number(&p, last, LF, &head->packets) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    *pos = p;

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_take_directed(ngx_xmpp_session_t *xs, u_char **pos, u_char *last,
    ngx_queue_t *directed)
{
    u_char               *p;
    uint64_t              bare, len;
    ngx_xmpp_directed_t  *d;

    if (ngx_xmpp_take_number(pos, last, ' ', &bare) != NGX_OK
        || ngx_xmpp_take_number(pos, last, LF, &len) != NGX_OK
        || len > (uint64_t) (last - *pos) || bare > len)
    {
        return NGX_DECLINED;
    }

    p = *pos;
    *pos += len;

    d = ngx_alloc(offsetof(ngx_xmpp_directed_t, data) + len,
                  xs->worker->log);
    if (d == NULL) {
        return NGX_DECLINED;
    }

    d->hash = ngx_crc32_short(p, bare);
    d->bare = bare;
    d->len = len;
    d->known = 0;
    ngx_memcpy(d->data, p, len);

    ngx_queue_insert_tail(directed, &d->queue);

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_take_packet(ngx_xmpp_session_t *xs, u_char **pos, u_char *last)
{
    uint64_t            number, index, stanzas, len;
    ngx_xmpp_packet_t  *pkt;

    if (ngx_xmpp_take_number(pos, last, ' ', &number) != NGX_OK
        || ngx_xmpp_take_number(pos, last, ' ', &index) != NGX_OK
        || ngx_xmpp_take_number(pos, last, ' ', &stanzas) != NGX_OK
        || ngx_xmpp_take_number(pos, last, LF, &len) != NGX_OK
        || len > (uint64_t) (last - *pos) || stanzas == 0 || stanzas > len)
    {
        return NGX_DECLINED;
    }

    pkt = ngx_xmpp_packet_copy(xs->worker->log, *pos, len);
    if (pkt == NULL) {
        return NGX_DECLINED;
    }

    *pos += len;

    pkt->number = number;
    pkt->index = index;
    pkt->stanzas = stanzas;

    if (number && ngx_xmpp_inbox_get(xs)) {
        ngx_xmpp_inbox_give(xs, pkt);

    } else {
        ngx_xmpp_session_output(xs, pkt);
    }

    ngx_xmpp_packet_release(pkt);

    return NGX_OK;
}


/* digits, and what ends them, behind which *pos is moved */

static ngx_int_t
ngx_xmpp_take_number(u_char **pos, u_char *last, u_char end, uint64_t *n)
{
    u_char  *p;

    p = *pos;

    if (p == last || *p < '0' || *p > '9') {
        return NGX_DECLINED;
    }

    for (*n = 0; p < last && *p >= '0' && *p <= '9'; p++) {
        *n = *n * 10 + (*p - '0');
    }

    if (p == last || *p != end || p - *pos > NGX_XMPP_TAKE_DIGITS) {
        return NGX_DECLINED;
    }

    *pos = p + 1;

    return NGX_OK;
}
