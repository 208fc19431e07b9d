/*
 * What comes for a session while it waits for older answers.
 *
 * A session that has just become available asks for the presence of others.
 * The answers come on the socket of commands, and what rings meanwhile, which
 * is newer, comes on that of bells (docs/internals/decisions/15-contacts.md).
 * So everything that is for its client from others is held back until the last
 * answer of all that it waits for, or until it is more than the client's output
 * queue may hold, unless the session is being taken from another worker
 * (ngx_xmpp_take.c); replies of the server are not.
 *
 * It waits where what comes before the answer to bind waits, xs->early.
 *
 *     others --> deliver --held--> early --released--> output --> client
 *     server ------------------------------------------'
 */


#include "ngx_xmpp.h"


static void ngx_xmpp_session_flush(ngx_xmpp_session_t *xs);
static ngx_int_t ngx_xmpp_session_one(ngx_xmpp_session_t *xs,
    ngx_xmpp_out_t **next);


/*
 * From now on what ngx_xmpp_session_deliver() is given waits, until there was
 * a ngx_xmpp_session_release() for each.
 */

void
ngx_xmpp_session_hold(ngx_xmpp_session_t *xs)
{
    xs->holds++;
    xs->holding = 1;
}


/* of one that was held: after the last one what has waited goes out */

void
ngx_xmpp_session_release(ngx_xmpp_session_t *xs)
{
    if (--xs->holds == 0) {
        ngx_xmpp_session_flush(xs);
    }
}


static void
ngx_xmpp_session_flush(ngx_xmpp_session_t *xs)
{
    xs->holding = 0;

    while (xs->early && ngx_xmpp_session_one(xs, &xs->early) == NGX_OK) {
        /* void */
    }
}


/* *next, of those that wait, goes out; NGX_DECLINED: the stream has ended */

static ngx_int_t
ngx_xmpp_session_one(ngx_xmpp_session_t *xs, ngx_xmpp_out_t **next)
{
    ngx_xmpp_out_t  *out;

    out = *next;

    /* it stays, as what nobody has taken: ngx_xmpp_inbox_taken.c */

    if (xs->sm == NULL
        && (xs->stream == NULL
            || xs->stream->state == NGX_XMPP_ST_CLOSED))
    {
        return NGX_DECLINED;
    }

    /* the stream may end by it: then it was not written */

    ngx_xmpp_session_output(xs, out->packet);

    *next = out->next;
    xs->early_size -= out->packet->len;

    ngx_xmpp_packet_release(out->packet);
    ngx_free(out);

    return NGX_OK;
}


void
ngx_xmpp_session_older(ngx_xmpp_session_t *xs, uint64_t number,
    ngx_uint_t kept)
{
    ngx_uint_t       n, older;
    ngx_xmpp_out_t  *out, **next;

    if (kept) {
        next = &xs->early;

        while (*next && (*next)->packet->number <= number) {

            if ((*next)->packet->number == 0) {
                next = &(*next)->next;
                continue;
            }

            if (ngx_xmpp_session_one(xs, next) != NGX_OK) {
                return;
            }
        }

        return;
    }

    older = 0;

    for (n = 1, out = xs->early; out; n++, out = out->next) {

        if (out->packet->number == 0) {
            continue;
        }

        if (out->packet->number > number) {
            break;
        }

        older = n;
    }

    while (older-- && ngx_xmpp_session_one(xs, &xs->early) == NGX_OK) {
        /* void */
    }
}


/* from others, for the session's client: takes a reference of its own */

void
ngx_xmpp_session_deliver(ngx_xmpp_session_t *xs, ngx_xmpp_packet_t *pkt)
{
    ngx_xmpp_srv_conf_t  *xscf;

    if (!xs->holding) {
        ngx_xmpp_session_output(xs, pkt);
        return;
    }

    if (xs->sm == NULL
        && (xs->stream == NULL || xs->stream->state == NGX_XMPP_ST_CLOSED))
    {
        return;
    }

    if (xs->take) {
        ngx_xmpp_take_keep(xs->take, pkt);
        return;
    }

    xscf = ngx_xmpp_host_conf(xs->host, ngx_xmpp_module);

    if (ngx_xmpp_session_keep(xs, pkt) != NGX_OK
        || xs->early_size > xscf->output_queue)
    {
        ngx_xmpp_session_flush(xs);
    }
}


/*
 * Whether a client that reads slowly is given len bytes of presence that it has
 * asked for, all at once, by becoming available: not so many that it is closed
 * for what comes next.  0: it is left out; a line in the log says so, once.
 */

ngx_uint_t
ngx_xmpp_session_room(ngx_xmpp_session_t *xs, size_t len)
{
    if (ngx_xmpp_ack_room(xs, len)
        && (xs->stream == NULL || xs->stream->state != NGX_XMPP_ST_BOUND
            || xs->stream->transport->room(xs->stream, len)))
    {
        return 1;
    }

    if (!xs->spared) {
        xs->spared = 1;

        ngx_log_error(NGX_LOG_WARN, xs->worker->log, 0,
                      "xmpp spares \"%V\" presence of contacts: half of its "
                      "xmpp_output_queue waits for it already", &xs->jid.full);
    }

    return 0;
}


/*
 * OUTPUT: gives a packet to the session's client, which takes a reference of
 * its own.  Without a stream it is dropped, unless the client acknowledges what
 * it gets; while bind is not answered it waits for that.  What is held for an
 * inactive client (XEP-0352) has not been sent: it comes here again.
 */

void
ngx_xmpp_session_output(ngx_xmpp_session_t *xs, ngx_xmpp_packet_t *pkt)
{
    if (xs->inactive && xs->host->hold(xs, pkt) == NGX_OK) {
        return;
    }

    if (xs->sm) {
        ngx_xmpp_ack_output(xs, pkt);
        return;
    }

    if (xs->stream == NULL || xs->stream->state == NGX_XMPP_ST_CLOSED) {
        return;
    }

    if (xs->stream->state == NGX_XMPP_ST_BOUND) {
        ngx_xmpp_stats_sent(xs->stream, pkt);
        (void) xs->stream->transport->send(xs->stream, pkt);
        return;
    }

    (void) ngx_xmpp_session_keep(xs, pkt);
}


/*
 * The client is active: what was held goes out, and nothing is held from now
 * on.  A stream that begins, or is resumed, is active (XEP-0352, 5, 5.2).
 */

void
ngx_xmpp_session_active(ngx_xmpp_session_t *xs)
{
    if (xs->inactive) {
        (void) xs->host->hold(xs, NULL);
        xs->inactive = 0;
    }
}


/*
 * Keeps a packet behind those that wait already, with a reference of its own;
 * NGX_OK or NGX_ERROR (no memory).
 */

ngx_int_t
ngx_xmpp_session_keep(ngx_xmpp_session_t *xs, ngx_xmpp_packet_t *pkt)
{
    ngx_xmpp_out_t  *out, **last;

    out = ngx_alloc(sizeof(ngx_xmpp_out_t), xs->worker->log);
    if (out == NULL) {
        return NGX_ERROR;
    }

    out->packet = pkt;
    out->next = NULL;
    pkt->refs++;

    for (last = &xs->early; *last; last = &(*last)->next) { /* void */ }

    *last = out;
    xs->early_size += pkt->len;

    return NGX_OK;
}
