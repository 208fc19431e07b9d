/*
 * A session that may be resumed (XEP-0198, 5) leaves this worker: another has
 * taken it, or this one drains.
 *
 *     bound, detached --bell: taken----.
 *            |                         v
 *            '--the worker drains--> ending --nothing is in flight--> written
 *                                    (no stream, its queue is filled)
 *
 * Its stream is closed: by <conflict/> when another has come (5), without a
 * word when the worker drains, since the client is to come back.  What it had
 * sent and is in flight is handled to its end, so that the count is exact; what
 * was read and not begun is not counted, and is sent again.  Then all that
 * belongs to it is written, and it is gone here without anybody being told: no
 * contact hears of it, and nothing comes back to who has sent something.
 *
 * A drained one stays on this worker's list: who cleans up after the worker
 * takes it over, should its client not have come by then.
 *
 * Redis is away: what it knows already is what the next one gets, as if this
 * worker had been killed.  So it is when the other one did not wait any longer:
 * then iq requests that its client has not acknowledged are answered
 * (ngx_xmpp_bounce.c).
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_HAND_POOL            1024


static void ngx_xmpp_hand(ngx_xmpp_session_t *xs, ngx_uint_t dead);
static void ngx_xmpp_hand_write(ngx_xmpp_session_t *xs,
    ngx_queue_t *directed);
static void ngx_xmpp_hand_acked(ngx_xmpp_session_t *xs);
static void ngx_xmpp_hand_early(ngx_xmpp_session_t *xs);


/* 1 when a client may come back for it, to whatever worker */

ngx_uint_t
ngx_xmpp_hand_may(ngx_xmpp_session_t *xs)
{
    ngx_xmpp_sm_t  *sm;

    sm = xs->sm;

    return sm && sm->timeout && !sm->full && xs->epoch && xs->take == NULL
           && !xs->ending && !xs->displaced;
}


/*
 * Another worker has the session, of this sid, with that epoch: a bell tells
 * that, or, should it be lost or late, whatever else.  dead: as below.
 */

void
ngx_xmpp_hand_taken(ngx_xmpp_session_t *xs, uint64_t epoch, ngx_uint_t dead)
{
    if (epoch > xs->epoch && ngx_xmpp_hand_may(xs) && !xs->handed) {
        ngx_xmpp_hand(xs, dead);
        return;
    }

    ngx_xmpp_session_fence(xs, epoch);
}


/*
 * Whether its record was refused since it was taken: then it is given away.
 * Letter d of the record that stands there: maybe nobody has come for it yet,
 * and its client may come back.
 */

ngx_uint_t
ngx_xmpp_hand_refused(ngx_xmpp_session_t *xs, ngx_xmpp_store_result_t *res)
{
    redisReply  *sid, *flags;

    if (res->reply == NULL || res->reply->elements < 5) {
        return 0;
    }

    sid = res->reply->element[3];
    flags = res->reply->element[4];

    if (sid->type != REDIS_REPLY_STRING || flags->type != REDIS_REPLY_STRING
        || sid->len != xs->sid.len
        || ngx_memcmp(sid->str, xs->sid.data, xs->sid.len) != 0)
    {
        return 0;
    }

    ngx_xmpp_hand_taken(xs, res->epoch,
                        ngx_strchr(flags->str, NGX_XMPP_DETACH_FLAG) != NULL);
    return 1;
}


/*
 * One that may; nothing goes under the caller.  dead: its client has not gone
 * to another worker, but this one was taken for dead: it may come back.
 */

static void
ngx_xmpp_hand(ngx_xmpp_session_t *xs, ngx_uint_t dead)
{
    xs->handed = 1;

    ngx_xmpp_session_close(xs, dead ? NGX_XMPP_SE_BREAK : NGX_XMPP_SE_CONFLICT,
                           "the session was resumed on another stream");
}


/* nothing is in flight any more */

void
ngx_xmpp_hand_finish(ngx_xmpp_session_t *xs)
{
    ngx_queue_t  directed;

    if (xs->worker->drained) {
        return;
    }

    ngx_queue_init(&directed);

    ngx_xmpp_session_active(xs);
    ngx_xmpp_hand_early(xs);
    ngx_xmpp_hand_acked(xs);

    xs->directed = &directed;
    ngx_xmpp_feature_event(xs, NGX_XMPP_EVENT_UNBIND);
    xs->directed = NULL;

    ngx_xmpp_hand_write(xs, &directed);
    ngx_xmpp_directed_free(&directed);

    /* if nobody has it, whoever cleans up after this worker takes it */

    if (!xs->worker->draining) {
        ngx_xmpp_heartbeat_unlist(xs->worker, NULL, &xs->sid);
    }

    ngx_log_error(NGX_LOG_INFO, xs->worker->log, 0,
                  "session of \"%V\" was given to another worker",
                  &xs->jid.full);
}


/* what it has not acknowledged is kept until it is written */

static void
ngx_xmpp_hand_write(ngx_xmpp_session_t *xs, ngx_queue_t *directed)
{
    ngx_str_t                  text;
    ngx_pool_t                *pool;
    ngx_xmpp_bounce_t         *b;
    ngx_xmpp_store_session_t   ss;

    pool = ngx_create_pool(NGX_XMPP_HAND_POOL, xs->worker->log);
    if (pool == NULL) {
        return;
    }

    if (ngx_xmpp_take_write(pool, xs, directed, &text) == NGX_OK) {
        ngx_xmpp_session_record(xs, &ss);

        b = ngx_xmpp_bounce_take(xs);

        if (ngx_xmpp_store_sm_write(xs->worker->store, &ss,
                                    ngx_xmpp_ack_count(xs), &text,
                                    b ? ngx_xmpp_bounce_given : NULL, b)
            != NGX_OK && b)
        {
            ngx_xmpp_bounce_free(b);
        }
    }

    ngx_destroy_pool(pool);
}


/* of the first packet some were acknowledged: the rest is what goes along */

static void
ngx_xmpp_hand_acked(ngx_xmpp_session_t *xs)
{
    u_char              entry[3 * NGX_INT64_LEN + 3];
    ngx_str_t           taken;
    ngx_xmpp_sm_t      *sm;
    ngx_xmpp_packet_t  *pkt;

    sm = xs->sm;

    if (sm->skip == 0) {
        return;
    }

    pkt = sm->out->packet;

    if (pkt->number) {
        taken.data = entry;
        taken.len = ngx_sprintf(entry, "%uL %ui %ui", pkt->number, pkt->index,
                                pkt->index + sm->skip - 1)
                    - entry;

        ngx_xmpp_store_taken_send(xs->worker->store, &xs->account->sn.str,
                                  &taken);
    }

    ngx_xmpp_ack_trim(xs);
}


/* what is in the inbox is read from there, behind what is older */

static void
ngx_xmpp_hand_early(ngx_xmpp_session_t *xs)
{
    ngx_xmpp_out_t  *out;

    xs->holding = 0;

    while (xs->early) {
        out = xs->early;
        xs->early = out->next;

        if (out->packet->number == 0) {
            ngx_xmpp_session_output(xs, out->packet);
        }

        ngx_xmpp_packet_release(out->packet);
        ngx_free(out);
    }
}
