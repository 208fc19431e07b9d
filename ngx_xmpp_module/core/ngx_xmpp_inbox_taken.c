/*
 * The inbox, what was taken: Redis keeps a message until a session of its
 * recipient has taken it, and hears of that here (cluster.md, rule 9).
 *
 *     bell or page --> given --> taken --told to Redis--> forgotten
 *
 * The client of a session with stream management says what it has taken
 * (XEP-0198, 4), but for what it was sent before it enabled that; for all
 * others that is what their socket has taken.  It is looked at a while after
 * something was given, or after so many, so that one command tells of many, and
 * nothing is done for each message.
 *
 * Until Redis has answered, an entry stays in the list: a page that was read
 * before must not give it again.
 *
 * When a worker is killed before it has told, the next session of the account
 * gets the same once more; with an archive, under the same id.
 *
 * In the list comes first what was taken, then the rest, about in the order of
 * giving: that of writing is another one, since a page is not held back and a
 * bell may be.  It is from the heap and goes when it is empty; the rest is of
 * ngx_xmpp_inbox_t, whose end cancels the request.
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_INBOX_DUE            100       /* milliseconds */
#define NGX_XMPP_INBOX_MANY           64        /* are told without waiting */
#define NGX_XMPP_INBOX_TOLD           256       /* in one command */
#define NGX_XMPP_INBOX_LEN            (NGX_INT64_LEN + 2 * NGX_INT32_LEN + 3)


static ngx_uint_t ngx_xmpp_inbox_known(ngx_xmpp_inbox_t *ib,
    ngx_xmpp_packet_t *pkt);
static void ngx_xmpp_inbox_unknow(ngx_xmpp_inbox_t *ib,
    ngx_xmpp_packet_t *pkt);
static void ngx_xmpp_inbox_note(ngx_xmpp_inbox_t *ib, ngx_xmpp_packet_t *pkt);
static ngx_int_t ngx_xmpp_inbox_grow(ngx_xmpp_inbox_t *ib);
static void ngx_xmpp_inbox_move(ngx_xmpp_inbox_t *ib, ngx_uint_t i);
static void ngx_xmpp_inbox_settle(ngx_xmpp_inbox_t *ib);
static void ngx_xmpp_inbox_waits(ngx_xmpp_inbox_t *ib, ngx_xmpp_out_t *out);
static void ngx_xmpp_inbox_tell(ngx_xmpp_inbox_t *ib);
static void ngx_xmpp_inbox_told(void *data, ngx_xmpp_store_result_t *res);
static u_char *ngx_xmpp_inbox_write(u_char *p, ngx_xmpp_inbox_given_t *g,
    ngx_uint_t n);


void
ngx_xmpp_inbox_deliver(ngx_xmpp_session_t *xs, ngx_xmpp_packet_t *pkt)
{
    ngx_xmpp_inbox_t  *ib;

    ib = ngx_xmpp_inbox_get(xs);

    if (ib && ngx_xmpp_inbox_known(ib, pkt)) {
        return;
    }

    /* it comes in a page, behind what is older */

    if (ib && (ib->stalled || ib->late)) {
        return;
    }

    /*
     * It was missed, as it seemed, and a page has had it; or numbers are given
     * again, after a failover to a clock that is behind: the inbox tells.
     */

    if (ib && pkt->number <= ib->number) {
        ngx_xmpp_inbox_begin(xs);
        return;
    }

    ngx_xmpp_session_deliver(xs, pkt);

    if (ib) {
        ngx_xmpp_inbox_note(ib, pkt);
    }
}


void
ngx_xmpp_inbox_give(ngx_xmpp_session_t *xs, ngx_xmpp_packet_t *pkt)
{
    ngx_xmpp_inbox_t  *ib;

    ib = xs->inbox;

    if (ngx_xmpp_inbox_known(ib, pkt)) {
        return;
    }

    /*
     * It has rung unheard, or will be heard yet, behind what is held back: that
     * is older.  When it waits for more than pages, for answers to presence,
     * what is not kept goes on waiting for them.
     */

    if (xs->early) {
        ngx_xmpp_session_older(xs, pkt->number,
                               xs->holds != (ngx_uint_t) ib->holding
                                            + xs->catching_up);
    }

    ngx_xmpp_session_output(xs, pkt);
    ngx_xmpp_inbox_note(xs->inbox, pkt);
}


void
ngx_xmpp_inbox_unkept(ngx_xmpp_session_t *xs)
{
    ngx_xmpp_out_t  *out, **next;

    next = &xs->early;

    while (*next) {
        out = *next;

        if (out->packet->number == 0) {
            next = &out->next;
            continue;
        }

        ngx_xmpp_inbox_unknow(xs->inbox, out->packet);

        *next = out->next;
        xs->early_size -= out->packet->len;

        ngx_xmpp_packet_release(out->packet);
        ngx_free(out);
    }
}


static void
ngx_xmpp_inbox_unknow(ngx_xmpp_inbox_t *ib, ngx_xmpp_packet_t *pkt)
{
    ngx_uint_t               i;
    ngx_xmpp_inbox_given_t  *g;

    for (i = ib->ngiven; i-- > ib->ntaken; /* void */ ) {
        g = &ib->given[i];

        if (g->number == pkt->number && g->index == pkt->index) {
            ib->ngiven--;
            ngx_memmove(g, g + 1,
                        (ib->ngiven - i) * sizeof(ngx_xmpp_inbox_given_t));
            return;
        }
    }
}


void
ngx_xmpp_inbox_forget(ngx_xmpp_session_t *xs)
{
    ngx_xmpp_inbox_t  *ib;

    ib = xs->inbox;

    if (ib == NULL || ib->given == NULL || ib->said) {
        return;
    }

    ngx_free(ib->given);

    ib->given = NULL;
    ib->nalloc = 0;
    ib->ngiven = 0;
    ib->ntaken = 0;
}


/* whether it was given before: what was lately is at the end */

static ngx_uint_t
ngx_xmpp_inbox_known(ngx_xmpp_inbox_t *ib, ngx_xmpp_packet_t *pkt)
{
    ngx_uint_t               i;
    ngx_xmpp_inbox_given_t  *g;

    for (i = ib->ngiven; i-- > 0; /* void */ ) {
        g = &ib->given[i];

        if (g->number == pkt->number && pkt->index >= g->index
            && pkt->index < g->index + g->n)
        {
            return 1;
        }
    }

    return 0;
}


/* it was given, unless the stream has ended, maybe by that */

static void
ngx_xmpp_inbox_note(ngx_xmpp_inbox_t *ib, ngx_xmpp_packet_t *pkt)
{
    ngx_xmpp_session_t      *xs;
    ngx_xmpp_inbox_given_t  *g;

    xs = ib->session;

    if (ib->left
        || (!xs->sm
            && (xs->stream == NULL || xs->stream->state == NGX_XMPP_ST_CLOSED)))
    {
        return;
    }

    if (ib->ngiven == ib->nalloc && ngx_xmpp_inbox_grow(ib) != NGX_OK) {
        return;
    }

    g = &ib->given[ib->ngiven++];

    g->number = pkt->number;
    g->index = pkt->index;
    g->n = pkt->stanzas;
    g->acks = (xs->sm != NULL);
    g->waits = 0;

    if (xs->sm) {
        return;
    }

    /* the next time around, when this was written */

    if (ib->ngiven - ib->nsaid == NGX_XMPP_INBOX_MANY && ib->due.timer_set) {
        ngx_del_timer(&ib->due);
        ngx_add_timer(&ib->due, 1);
    }

    if (!ib->due.timer_set) {
        ngx_add_timer(&ib->due, NGX_XMPP_INBOX_DUE);
    }
}


static ngx_int_t
ngx_xmpp_inbox_grow(ngx_xmpp_inbox_t *ib)
{
    ngx_uint_t               n;
    ngx_xmpp_inbox_given_t  *g;

    n = ib->nalloc ? 2 * ib->nalloc : 4;

    g = ngx_alloc(n * sizeof(ngx_xmpp_inbox_given_t),
                  ib->session->worker->log);
    if (g == NULL) {
        return NGX_ERROR;
    }

    if (ib->given) {
        ngx_memcpy(g, ib->given, ib->ngiven * sizeof(ngx_xmpp_inbox_given_t));
        ngx_free(ib->given);
    }

    ib->given = g;
    ib->nalloc = n;

    return NGX_OK;
}


/* what waits in the session comes behind <enabled/> and is counted */

void
ngx_xmpp_inbox_acknowledged(ngx_xmpp_session_t *xs)
{
    ngx_uint_t         i;
    ngx_xmpp_inbox_t  *ib;

    ib = xs->inbox;

    if (ib == NULL) {
        return;
    }

    ngx_xmpp_inbox_waits(ib, xs->early);

    for (i = ib->ntaken; i < ib->ngiven; i++) {
        ib->given[i].acks = ib->given[i].waits;
        ib->given[i].waits = 0;
    }
}


void
ngx_xmpp_inbox_taken(ngx_xmpp_session_t *xs, uint64_t number, ngx_uint_t index)
{
    ngx_uint_t               i;
    ngx_xmpp_inbox_t        *ib;
    ngx_xmpp_inbox_given_t  *g;

    ib = xs->inbox;

    if (ib == NULL) {
        return;
    }

    for (i = ib->ntaken; i < ib->ngiven; i++) {
        g = &ib->given[i];

        if (g->number == number && index == g->index + g->n - 1) {
            ngx_xmpp_inbox_move(ib, i);
            break;
        }
    }

    if (ib->ntaken > ib->nsaid && !ib->due.timer_set) {
        ngx_add_timer(&ib->due, NGX_XMPP_INBOX_DUE);
    }
}


/* an entry, from those that were given to those that were taken */

static void
ngx_xmpp_inbox_move(ngx_xmpp_inbox_t *ib, ngx_uint_t i)
{
    ngx_xmpp_inbox_given_t  g;

    g = ib->given[i];
    ib->given[i] = ib->given[ib->ntaken];
    ib->given[ib->ntaken++] = g;
}


void
ngx_xmpp_inbox_due_handler(ngx_event_t *ev)
{
    ngx_xmpp_inbox_t  *ib;

    ib = ev->data;

    ngx_xmpp_inbox_settle(ib);
    ngx_xmpp_inbox_tell(ib);
}


/* what neither the socket nor its session has waiting was taken */

static void
ngx_xmpp_inbox_settle(ngx_xmpp_inbox_t *ib)
{
    ngx_uint_t               i;
    ngx_xmpp_session_t      *xs;
    ngx_xmpp_inbox_given_t  *g;

    xs = ib->session;

    ib->nwritten = 0;

    if (xs->stream == NULL || ib->left) {
        return;
    }

    for (i = ib->ntaken; i < ib->ngiven; i++) {
        ib->nwritten += !ib->given[i].acks;
    }

    if (ib->nwritten == 0) {
        return;
    }

    ngx_xmpp_inbox_waits(ib, xs->stream->out);
    ngx_xmpp_inbox_waits(ib, xs->early);

    for (i = ib->ntaken; i < ib->ngiven; i++) {
        g = &ib->given[i];

        if (!g->acks && !g->waits) {
            ngx_xmpp_inbox_move(ib, i);
            ib->nwritten--;

        } else {
            g->waits = 0;
        }
    }
}


/*
 * Marks what is in a queue.  That is in the order of the list, but for a few
 * places, so each is looked for behind the one before it: a client that does
 * not read has thousands there.
 */

static void
ngx_xmpp_inbox_waits(ngx_xmpp_inbox_t *ib, ngx_xmpp_out_t *out)
{
    ngx_uint_t               i, n;
    ngx_xmpp_inbox_given_t  *g;

    i = ib->ntaken;

    for ( /* void */ ; out; out = out->next) {

        if (out->packet->number == 0) {
            continue;
        }

        for (n = ib->ngiven - ib->ntaken; n; n--) {

            if (i == ib->ngiven) {
                i = ib->ntaken;
            }

            g = &ib->given[i++];

            if (g->number == out->packet->number
                && g->index == out->packet->index)
            {
                g->waits = 1;
                break;
            }
        }
    }
}


static void
ngx_xmpp_inbox_tell(ngx_xmpp_inbox_t *ib)
{
    ngx_str_t            taken;
    ngx_uint_t           n;
    ngx_xmpp_worker_t   *w;
    ngx_xmpp_session_t  *xs;

    xs = ib->session;
    w = xs->worker;
    n = ngx_min(ib->ntaken, NGX_XMPP_INBOX_TOLD);

    if (ib->said || ib->left) {
        return;
    }

    if (n == 0) {
        goto later;
    }

    ib->said = ngx_xmpp_worker_pool(w);
    if (ib->said == NULL) {
        goto later;
    }

    taken.data = ngx_pnalloc(ib->said, n * NGX_XMPP_INBOX_LEN);
    if (taken.data == NULL) {
        goto failed;
    }

    taken.len = ngx_xmpp_inbox_write(taken.data, ib->given, n) - taken.data;

    if (ngx_xmpp_store_taken(w->store, ib->said, &xs->account->sn.str, &taken,
                             ngx_xmpp_inbox_told, ib)
        == NULL)
    {
        goto failed;
    }

    ib->nsaid = n;

    return;

failed:

    ngx_xmpp_worker_pool_done(w, ib->said);
    ib->said = NULL;

later:

    /* a slow client, or Redis is away; one that acknowledges will do so */

    if ((n || ib->nwritten) && !ib->due.timer_set) {
        ngx_add_timer(&ib->due, NGX_XMPP_INBOX_DUE);
    }
}


static void
ngx_xmpp_inbox_told(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_inbox_t *ib = data;

    ngx_uint_t  n;

    ngx_xmpp_worker_pool_done(ib->session->worker, ib->said);
    ib->said = NULL;

    n = ib->nsaid;
    ib->nsaid = 0;

    if (res->rc != NGX_OK) {
        if (!ib->due.timer_set) {
            ngx_add_timer(&ib->due, NGX_XMPP_INBOX_DUE);
        }

        return;
    }

    ib->ngiven -= n;
    ib->ntaken -= n;

    if (ib->ngiven) {
        ngx_memmove(ib->given, ib->given + n,
                    ib->ngiven * sizeof(ngx_xmpp_inbox_given_t));

        ngx_xmpp_inbox_settle(ib);
        ngx_xmpp_inbox_tell(ib);
        return;
    }

    ngx_free(ib->given);
    ib->given = NULL;
    ib->nalloc = 0;
}


/* "number first last", with "," between */

static u_char *
ngx_xmpp_inbox_write(u_char *p, ngx_xmpp_inbox_given_t *g, ngx_uint_t n)
{
    while (n--) {
        p = ngx_sprintf(p, "%uL %uD %uD%s", g->number, g->index,
                        g->index + g->n - 1, n ? "," : "");
        g++;
    }

    return p;
}


void
ngx_xmpp_inbox_discard(ngx_xmpp_session_t *xs)
{
    ngx_uint_t         i;
    ngx_xmpp_inbox_t  *ib;

    ib = xs->inbox;

    if (xs->sm == NULL) {
        ngx_xmpp_inbox_leave(xs);
        return;
    }

    if (ib == NULL || xs->stream == NULL) {
        return;
    }

    /* what was sent before <enable/> is in no queue, and never acknowledged */

    ngx_xmpp_inbox_waits(ib, xs->stream->out);

    for (i = ib->ntaken; i < ib->ngiven; i++) {
        ib->given[i].acks |= ib->given[i].waits;
        ib->given[i].waits = 0;
    }
}


void
ngx_xmpp_inbox_leave(ngx_xmpp_session_t *xs)
{
    u_char             text[32 * NGX_XMPP_INBOX_LEN];
    ngx_str_t          taken;
    ngx_uint_t         i, n;
    ngx_xmpp_inbox_t  *ib;

    ib = xs->inbox;

    if (ib == NULL || ib->left) {
        return;
    }

    ngx_xmpp_inbox_settle(ib);

    ib->left = 1;

    /* nobody waits for it; what is under way may not have been sent yet */

    taken.data = text;

    for (i = 0; i < ib->ntaken; i += n) {
        n = ngx_min(ib->ntaken - i, 32);

        taken.len = ngx_xmpp_inbox_write(text, ib->given + i, n) - text;

        ngx_xmpp_store_taken_send(xs->worker->store, &xs->account->sn.str,
                                  &taken);
    }
}
