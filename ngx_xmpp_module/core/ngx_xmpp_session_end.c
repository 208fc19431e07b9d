/*
 * The end of a session in its worker.
 *
 *     stream gone --may wait for its client--> detached (ngx_xmpp_detach.c)
 *          |                                       |
 *          '--> ending <-----------------------------'
 *                 | nothing is in flight any more
 *                 |--another worker gets it--> written (ngx_xmpp_hand.c)
 *                 '--> its end in Redis is begun (ngx_xmpp_leave.c)
 *                              |
 *                              v
 *                  it has left its account --end of the turn--> freed
 *
 * So what a client sent before it went is handled, and nothing goes under a
 * caller.
 */


#include "ngx_xmpp.h"


static void ngx_xmpp_session_finish(ngx_xmpp_session_t *xs);
static void ngx_xmpp_session_gone(ngx_xmpp_session_t *xs);


/*
 * The stream is gone, by error, or going: the session ends, unless it may wait
 * for its client.
 */

void
ngx_xmpp_session_lost(ngx_xmpp_session_t *xs, ngx_xmpp_stream_error_e error)
{
    if (ngx_xmpp_detach(xs, error) != NGX_OK) {
        ngx_xmpp_session_end(xs);
    }
}


/* ends it from our side, soon: nothing goes under the caller */

void
ngx_xmpp_session_close(ngx_xmpp_session_t *xs, ngx_xmpp_stream_error_e error,
    const char *text)
{
    if (xs->stream) {
        xs->stream->transport->close(xs->stream, error, text);

    } else {
        ngx_xmpp_detach_end(xs);
    }
}


/*
 * It has no stream any more.  The session ends as soon as nothing is in
 * flight any more; it is not freed before this event-loop turn ends.
 */

void
ngx_xmpp_session_end(ngx_xmpp_session_t *xs)
{
    ngx_xmpp_inbox_leave(xs);

    xs->stream = NULL;

    if (xs->ending) {
        return;
    }

    xs->ending = 1;

    ngx_xmpp_ack_parted(xs);
    ngx_xmpp_detach_ended(xs);

    if (xs->flight || xs->write || (xs->waiting && xs->account->req)) {
        return;
    }

    ngx_xmpp_session_finish(xs);
}


static void
ngx_xmpp_session_finish(ngx_xmpp_session_t *xs)
{
    ngx_queue_t         directed;
    ngx_xmpp_bounce_t  *b;
    ngx_xmpp_leaving_t  l;

    if (xs->handed && !xs->removed && !xs->displaced) {
        ngx_xmpp_hand_finish(xs);
        ngx_xmpp_session_gone(xs);
        return;
    }

    ngx_queue_init(&directed);
    b = ngx_xmpp_bounce_take(xs);

    if (xs->epoch && (!xs->displaced || xs->removed)) {
        xs->directed = &directed;
        ngx_xmpp_feature_event(xs, NGX_XMPP_EVENT_UNBIND);
        xs->directed = NULL;
    }

    ngx_memzero(&l, sizeof(ngx_xmpp_leaving_t));

    l.bare = xs->jid.bare;
    l.resource = xs->jid.resource;
    l.sid = xs->sid;
    l.epoch = xs->epoch;
    l.counter = xs->counter;
    l.directed = &directed;
    l.listed = 1;

    if (xs->recorded && !xs->displaced) {

        /* what its client has not acknowledged waits until it has gone */

        if (b) {
            l.done = ngx_xmpp_bounce;
            l.data = b;
        }

        if (ngx_xmpp_leave(xs->worker, &l) == NGX_OK) {
            b = NULL;
        }

    } else {
        if (xs->removed) {
            ngx_xmpp_leave_removed(xs->worker, &l);
        }

        ngx_xmpp_heartbeat_ended(xs);
    }

    if (b) {
        ngx_xmpp_bounce(b, NGX_OK);
    }

    ngx_xmpp_directed_free(&directed);

    ngx_xmpp_session_gone(xs);
}


static void
ngx_xmpp_session_gone(ngx_xmpp_session_t *xs)
{
    ngx_xmpp_block_left(xs);

    ngx_queue_remove(&xs->queue);
    ngx_xmpp_registry_leave(xs->account);
    xs->account = NULL;

    ngx_queue_insert_tail(&xs->worker->ended, &xs->posted);
    ngx_xmpp_worker_post(xs->worker);
}


/* called by the worker when nothing on the stack can hold the session */

void
ngx_xmpp_session_free(ngx_xmpp_session_t *xs)
{
    ngx_xmpp_out_t     *out;
    ngx_xmpp_worker_t  *w;

    w = xs->worker;
    w->nsessions--;

    while (xs->early) {
        out = xs->early;
        xs->early = out->next;

        ngx_xmpp_packet_release(out->packet);
        ngx_free(out);
    }

    ngx_xmpp_ack_free(xs->sm);
    ngx_destroy_pool(xs->pool);
    ngx_xmpp_worker_trim(w);
}


/* what an ending session had in flight was answered */

void
ngx_xmpp_session_idle(ngx_xmpp_session_t *xs)
{
    if (xs->ending && xs->flight == 0 && xs->write == NULL && !xs->waiting) {
        ngx_xmpp_session_finish(xs);
    }
}
