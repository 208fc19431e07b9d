/*
 * Stream management (XEP-0198, 4): the two counts and the queue of what the
 * client has not acknowledged.
 *
 *     stanza --> queue --> socket        <r/> --all before it handled--> <a/>
 *                  |
 *                  '-- <a h=''/> takes away what it has; or too much is in it:
 *                      the session ends as that of a client that is not there
 *
 * Inbound: a stanza counts when it was handled: delivered, stored or answered,
 * and Redis has said so.  A session has one in flight, or one batch, and they
 * end in order, so the count is what came since <enable/> without what is in
 * flight, and an <r/> is answered when nothing that came before it is.
 *
 * A client forgets what it is told.  So what one that may resume is told is in
 * Redis before, where whoever has the session next finds it, should this worker
 * be killed (cluster.md, rule 3):
 *
 *     <r/> --> flight is 0 --the count is another--> Redis --> <a/>
 *                 '------------the same-------------------------^
 *
 * While Redis is away the answer is what it knew last: it is true, and a client
 * that has nothing else to do sees that it is heard.
 *
 * Outbound: the queue holds references to packets, of one stanza or more; of
 * the first one some may be acknowledged.  What an entry of the inbox stands
 * behind goes from there when it is acknowledged, not when it is written.
 *
 * An <r/> of ours goes out at the end of the event-loop turn, behind what it is
 * for and in the same write.  One is out at a time.  Messages and iqs are worth
 * one; presence alone is when the queue is half full.  A client that does not
 * answer in time is not there any more, whatever its socket says.
 *
 * A session without <enable/> has none of this.
 */


#include "ngx_xmpp.h"


static void ngx_xmpp_ack_drop(ngx_xmpp_sm_t *sm, uint32_t n);
static ngx_int_t ngx_xmpp_ack_queue(ngx_xmpp_sm_t *sm, ngx_xmpp_packet_t *pkt);
static void ngx_xmpp_ack_full(ngx_xmpp_sm_t *sm);
static ngx_uint_t ngx_xmpp_ack_worth(ngx_xmpp_sm_t *sm,
    ngx_xmpp_packet_t *pkt);
static void ngx_xmpp_ack_request(ngx_xmpp_sm_t *sm);
static ngx_int_t ngx_xmpp_ack_tell(ngx_xmpp_sm_t *sm);
static void ngx_xmpp_ack_told(void *data, ngx_xmpp_store_result_t *res);
static void ngx_xmpp_ack_resumed(ngx_xmpp_sm_t *sm);
static void ngx_xmpp_ack_answer(ngx_xmpp_sm_t *sm, ngx_uint_t n);
static void ngx_xmpp_ack_resend(ngx_xmpp_sm_t *sm);
static ngx_int_t ngx_xmpp_ack_first(ngx_xmpp_sm_t *sm);
static void ngx_xmpp_ack_timer_handler(ngx_event_t *ev);


/*
 * Begins to count, in both directions; the session has none yet.  limits live
 * as long as the configuration.  NGX_OK or NGX_ERROR (no memory).
 */

ngx_int_t
ngx_xmpp_ack_enable(ngx_xmpp_session_t *xs, ngx_xmpp_sm_limits_t *limits)
{
    if (ngx_xmpp_ack_create(xs, limits) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_xmpp_inbox_acknowledged(xs);

    return NGX_OK;
}


/* the same for a session that has not been given anything */

ngx_int_t
ngx_xmpp_ack_create(ngx_xmpp_session_t *xs, ngx_xmpp_sm_limits_t *limits)
{
    ngx_xmpp_sm_t  *sm;

    sm = ngx_calloc(sizeof(ngx_xmpp_sm_t), xs->worker->log);
    if (sm == NULL) {
        return NGX_ERROR;
    }

    sm->session = xs;
    sm->limits = limits;
    sm->last_out = &sm->out;
    sm->base = xs->counter;

    sm->timer.handler = ngx_xmpp_ack_timer_handler;
    sm->timer.data = sm;
    sm->timer.log = xs->worker->log;
    sm->timer.cancelable = 1;

    xs->sm = sm;

    return NGX_OK;
}


/* with its session; sm may be NULL */

void
ngx_xmpp_ack_free(ngx_xmpp_sm_t *sm)
{
    if (sm == NULL) {
        return;
    }

    if (sm->pool) {
        ngx_xmpp_worker_pool_done(sm->session->worker, sm->pool);
    }

    if (sm->timer.timer_set) {
        ngx_del_timer(&sm->timer);
    }

    ngx_xmpp_ack_drop(sm, sm->n);
    ngx_free(sm);
}


/* 4: <r/>, which is answered behind all that came before it */

void
ngx_xmpp_ack_requested(ngx_xmpp_session_t *xs)
{
    xs->sm->requests++;

    if (xs->flight == 0) {
        ngx_xmpp_ack_handled(xs);
    }
}


/*
 * 4: <a/>.  NGX_OK; NGX_DECLINED: the client says that it has handled more than
 * it was sent.  One that takes an acknowledgement back is not listened to.
 */

ngx_int_t
ngx_xmpp_ack_acknowledged(ngx_xmpp_session_t *xs, uint32_t h)
{
    uint32_t        n, acked;
    ngx_xmpp_sm_t  *sm;

    sm = xs->sm;

    acked = sm->sent - (uint32_t) sm->n;
    n = h - acked;

    if (n > sm->n) {

        if (acked - h > 0x7fffffff) {
            return NGX_DECLINED;
        }

        ngx_log_error(NGX_LOG_INFO, xs->worker->log, 0,
                      "client \"%V\" acknowledges %uD stanzas, after %uD",
                      &xs->jid.full, h, acked);
        n = 0;
    }

    ngx_xmpp_ack_drop(sm, n);

    if (sm->requested) {
        sm->requested = 0;
        ngx_del_timer(&sm->timer);
    }

    ngx_xmpp_ack_resend(sm);
    ngx_xmpp_inbox_resume(xs, 0);

    if (xs->stream && xs->stream->state == NGX_XMPP_ST_BOUND && sm->due) {
        ngx_xmpp_ack_request(sm);
    }

    return NGX_OK;
}


/* so many stanzas, from the first on, are acknowledged, or given up */

static void
ngx_xmpp_ack_drop(ngx_xmpp_sm_t *sm, uint32_t n)
{
    ngx_xmpp_out_t     *out;
    ngx_xmpp_worker_t  *w;

    w = sm->session->worker;

    sm->n -= n;
    sm->skip += n;

    while (sm->out && sm->skip >= sm->out->packet->stanzas) {
        out = sm->out;

        if (out->packet->number && !sm->session->ending) {
            ngx_xmpp_inbox_taken(sm->session, out->packet->number,
                                 out->packet->index + out->packet->stanzas - 1);
        }

        sm->skip -= out->packet->stanzas;
        sm->size -= out->packet->len;
        sm->out = out->next;

        if (sm->out == NULL) {
            sm->last_out = &sm->out;
        }

        if (sm->next == out) {
            sm->next = out->next;
        }

        ngx_xmpp_packet_release(out->packet);
        out->next = w->free_out;
        w->free_out = out;
    }

    if (sm->n == 0) {
        sm->due = 0;
    }
}


/*
 * A packet for the client: takes references of its own.  It is written when
 * there is a stream, and kept until it is acknowledged.
 */

void
ngx_xmpp_ack_output(ngx_xmpp_session_t *xs, ngx_xmpp_packet_t *pkt)
{
    ngx_xmpp_sm_t      *sm;
    ngx_xmpp_stream_t  *st;

    sm = xs->sm;
    st = xs->stream;

    if (sm->full || ngx_xmpp_ack_queue(sm, pkt) != NGX_OK) {
        return;
    }

    /* what is sent again goes before it */

    if (st == NULL || st->state != NGX_XMPP_ST_BOUND || sm->next) {
        return;
    }

    ngx_xmpp_stats_sent(st, pkt);

    if (st->transport->send(st, pkt) != NGX_OK) {
        return;
    }

    if (!ngx_xmpp_ack_worth(sm, pkt)) {
        return;
    }

    sm->due = 1;

    /* the socket is full: no turn's end will come by for it */

    if (!st->is_dirty) {
        ngx_xmpp_ack_flush(st);
    }
}


/* NGX_OK, or NGX_ERROR: the session ends by it */

static ngx_int_t
ngx_xmpp_ack_queue(ngx_xmpp_sm_t *sm, ngx_xmpp_packet_t *pkt)
{
    ngx_xmpp_out_t     *out;
    ngx_xmpp_worker_t  *w;

    w = sm->session->worker;

    if (sm->n + pkt->stanzas > sm->limits->stanzas
        || (sm->n && sm->size + pkt->len > sm->limits->size))
    {
        ngx_xmpp_ack_full(sm);
        return NGX_ERROR;
    }

    out = w->free_out;

    if (out) {
        w->free_out = out->next;

    } else {
        out = ngx_alloc(sizeof(ngx_xmpp_out_t), w->log);

        if (out == NULL) {
            ngx_xmpp_ack_full(sm);
            return NGX_ERROR;
        }
    }

    pkt->refs++;
    out->packet = pkt;
    out->next = NULL;

    *sm->last_out = out;
    sm->last_out = &out->next;

    sm->n += pkt->stanzas;
    sm->size += pkt->len;
    sm->sent += (uint32_t) pkt->stanzas;

    return NGX_OK;
}


/* what does not fit is as lost to this client as if it had gone before */

static void
ngx_xmpp_ack_full(ngx_xmpp_sm_t *sm)
{
    ngx_xmpp_stream_t   *st;
    ngx_xmpp_session_t  *xs;

    xs = sm->session;
    st = xs->stream;

    sm->full = 1;

    ngx_log_error(NGX_LOG_INFO, xs->worker->log, 0,
                  "client \"%V\" has not acknowledged %ui stanzas of %uz "
                  "bytes: its session ends", &xs->jid.full, sm->n, sm->size);

    if (st) {
        st->transport->close(st, NGX_XMPP_SE_POLICY_VIOLATION,
                             "too many stanzas are not acknowledged");

    } else {
        ngx_xmpp_detach_end(xs);
    }
}


/*
 * Whether len bytes more leave half of the queue to others; without stream
 * management, always.
 */

ngx_uint_t
ngx_xmpp_ack_room(ngx_xmpp_session_t *xs, size_t len)
{
    ngx_xmpp_sm_t  *sm;

    sm = xs->sm;

    return sm == NULL
           || sm->n == 0
           || (sm->n < sm->limits->stanzas / 2
               && sm->size + len <= sm->limits->size / 2);
}


/* presence is told anew anyway, and no reason to wake a radio for an answer */

static ngx_uint_t
ngx_xmpp_ack_worth(ngx_xmpp_sm_t *sm, ngx_xmpp_packet_t *pkt)
{
    return pkt->len < sizeof("<presence") - 1
           || ngx_memcmp(pkt->data, "<presence", sizeof("<presence") - 1) != 0
           || !ngx_xmpp_ack_room(sm->session, 0);
}


/* what was queued for a stream in this turn is about to be written */

void
ngx_xmpp_ack_flush(ngx_xmpp_stream_t *st)
{
    ngx_xmpp_sm_t  *sm;

    sm = st->session ? st->session->sm : NULL;

    if (sm && sm->due && !sm->requested && st->state == NGX_XMPP_ST_BOUND) {
        ngx_xmpp_ack_request(sm);
    }
}


/*
 * The client was silent for long: whatever it answers shows that it lives.
 * NGX_OK, or NGX_ERROR: its stream closes.
 */

ngx_int_t
ngx_xmpp_ack_probe(ngx_xmpp_session_t *xs)
{
    if (!xs->sm->requested) {
        ngx_xmpp_ack_request(xs->sm);
    }

    return (xs->stream->state == NGX_XMPP_ST_BOUND) ? NGX_OK : NGX_ERROR;
}


static void
ngx_xmpp_ack_request(ngx_xmpp_sm_t *sm)
{
    ngx_xmpp_packet_t   *pkt;
    ngx_xmpp_stream_t   *st;
    ngx_xmpp_session_t  *xs;

    static ngx_str_t  request = ngx_string("<r xmlns='" NGX_XMPP_SM_NS "'/>");

    xs = sm->session;
    st = xs->stream;

    pkt = ngx_xmpp_packet_copy(xs->worker->log, request.data, request.len);
    if (pkt == NULL) {
        return;
    }

    if (st->transport->send(st, pkt) == NGX_OK) {
        sm->due = 0;
        sm->requested = 1;
        ngx_add_timer(&sm->timer, sm->limits->ack_timeout);
    }

    ngx_xmpp_packet_release(pkt);
}


void
ngx_xmpp_ack_handled(ngx_xmpp_session_t *xs)
{
    ngx_uint_t      n;
    ngx_xmpp_sm_t  *sm;

    sm = xs->sm;

    if (sm->pool || (sm->requests == 0 && sm->resumed == NULL)) {
        return;
    }

    if (sm->resumed) {

        /* the count is exact when nothing is in flight */

        if (xs->flight) {
            return;
        }
    }

    if (sm->timeout && sm->told != ngx_xmpp_ack_count(xs)
        && ngx_xmpp_ack_tell(sm) == NGX_OK)
    {
        return;
    }

    if (sm->resumed) {
        ngx_xmpp_ack_resumed(sm);
        return;
    }

    n = sm->requests;
    sm->requests = 0;

    ngx_xmpp_ack_answer(sm, n);
}


/* NGX_OK: ngx_xmpp_ack_told() will answer; NGX_ERROR */

static ngx_int_t
ngx_xmpp_ack_tell(ngx_xmpp_sm_t *sm)
{
    ngx_xmpp_session_t  *xs;

    xs = sm->session;

    sm->pool = ngx_xmpp_worker_pool(xs->worker);
    if (sm->pool == NULL) {
        return NGX_ERROR;
    }

    sm->telling = ngx_xmpp_ack_count(xs);

    ngx_xmpp_session_record(xs, &sm->record);

    if (ngx_xmpp_store_sm_handled(xs->worker->store, sm->pool, &sm->record,
                                  sm->telling, ngx_xmpp_ack_told, sm)
        == NULL)
    {
        ngx_xmpp_worker_pool_done(xs->worker, sm->pool);
        sm->pool = NULL;

        return NGX_ERROR;
    }

    sm->waiting = sm->requests;
    sm->requests = 0;

    return NGX_OK;
}


/* those who have asked meanwhile wait for another round */

static void
ngx_xmpp_ack_told(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_sm_t *sm = data;

    ngx_uint_t           n;
    ngx_xmpp_session_t  *xs;

    xs = sm->session;

    ngx_xmpp_worker_pool_done(xs->worker, sm->pool);
    sm->pool = NULL;

    if (res->rc == NGX_OK) {
        sm->told = sm->telling;

    } else if (res->rc == NGX_DECLINED) {

        /* the record is another's by now, or was lost: that decides */

        ngx_xmpp_session_reassert(xs);
    }

    n = sm->waiting;
    sm->waiting = 0;

    if (sm->resumed && xs->flight == 0 && res->rc != NGX_OK) {
        ngx_xmpp_ack_resumed(sm);
        return;
    }

    ngx_xmpp_ack_answer(sm, n);

    if (xs->flight == 0) {
        ngx_xmpp_ack_handled(xs);
    }
}


/*
 * 5: the count that <resumed/> tells is what Redis knows.  If that is not all,
 * the client has to come again, or it would send again what was handled.
 */

static void
ngx_xmpp_ack_resumed(ngx_xmpp_sm_t *sm)
{
    ngx_xmpp_stream_t   *st;
    ngx_xmpp_session_t  *xs;

    void  (*resumed)(ngx_xmpp_session_t *xs);

    xs = sm->session;

    if (sm->told != ngx_xmpp_ack_count(xs)) {
        st = xs->stream;

        if (st) {
            st->transport->close(st, NGX_XMPP_SE_DROP, NULL);
            st->transport->resume(st);
        }

        sm->resumed = NULL;
        return;
    }

    resumed = sm->resumed;
    sm->resumed = NULL;
    resumed(xs);
}


/* n times, since so many have asked */

static void
ngx_xmpp_ack_answer(ngx_xmpp_sm_t *sm, ngx_uint_t n)
{
    uint64_t             h;
    ngx_xmpp_packet_t   *pkt;
    ngx_xmpp_stream_t   *st;
    ngx_xmpp_session_t  *xs;

    xs = sm->session;
    st = xs->stream;

    if (n == 0 || st == NULL || st->state != NGX_XMPP_ST_BOUND) {
        return;
    }

    pkt = ngx_xmpp_packet_alloc(xs->worker->log,
                                sizeof("<a xmlns='" NGX_XMPP_SM_NS "' h=''/>")
                                - 1 + NGX_INT32_LEN);
    if (pkt == NULL) {
        return;
    }

    h = sm->timeout ? sm->told : ngx_xmpp_ack_count(xs);

    pkt->len = ngx_sprintf(pkt->data, "<a xmlns='" NGX_XMPP_SM_NS "' h='%uD'/>",
                           (uint32_t) h)
               - pkt->data;

    while (n-- && st->state == NGX_XMPP_ST_BOUND) {
        (void) st->transport->send(st, pkt);
    }

    ngx_xmpp_packet_release(pkt);
}


uint64_t
ngx_xmpp_ack_count(ngx_xmpp_session_t *xs)
{
    uint64_t  n;

    /* one that came before <enable/> may be in flight still */

    n = xs->counter - xs->flight;

    return (n > xs->sm->base) ? n - xs->sm->base : 0;
}


void
ngx_xmpp_ack_parted(ngx_xmpp_session_t *xs)
{
    ngx_xmpp_sm_t  *sm;

    sm = xs->sm;

    if (sm == NULL) {
        return;
    }

    sm->requests = 0;
    sm->waiting = 0;
    sm->requested = 0;
    sm->due = 0;
    sm->next = NULL;
    sm->resumed = NULL;
}


/* 5: behind <resumed/>; what comes meanwhile is queued behind it */

void
ngx_xmpp_ack_again(ngx_xmpp_session_t *xs)
{
    ngx_xmpp_sm_t  *sm;

    sm = xs->sm;

    ngx_xmpp_ack_trim(xs);

    sm->next = sm->out;

    ngx_xmpp_ack_resend(sm);

    if (xs->stream) {
        ngx_xmpp_ack_flush(xs->stream);
    }
}


void
ngx_xmpp_ack_trim(ngx_xmpp_session_t *xs)
{
    if (xs->sm->skip && ngx_xmpp_ack_first(xs->sm) != NGX_OK) {
        ngx_xmpp_ack_full(xs->sm);
    }
}


/*
 * As much as the client is ready to take: half of its output queue.  The rest
 * goes when it has acknowledged that.
 */

static void
ngx_xmpp_ack_resend(ngx_xmpp_sm_t *sm)
{
    ngx_xmpp_packet_t  *pkt;
    ngx_xmpp_stream_t  *st;

    st = sm->session->stream;

    while (sm->next && st && st->state == NGX_XMPP_ST_BOUND) {
        pkt = sm->next->packet;

        if (!st->transport->room(st, pkt->len)) {
            sm->due = 1;
            return;
        }

        sm->next = sm->next->next;
        ngx_xmpp_stats_sent(st, pkt);

        if (st->transport->send(st, pkt) != NGX_OK) {
            return;
        }

        sm->due |= ngx_xmpp_ack_worth(sm, pkt);
    }
}


/* the first packet without what is acknowledged of it; NGX_OK or NGX_ERROR */

static ngx_int_t
ngx_xmpp_ack_first(ngx_xmpp_sm_t *sm)
{
    u_char             *p;
    ngx_xmpp_packet_t  *pkt, *rest;

    pkt = sm->out->packet;
    p = ngx_xmpp_packet_stanza(pkt, sm->skip);

    rest = ngx_xmpp_packet_copy(sm->session->worker->log, p,
                                pkt->data + pkt->len - p);
    if (rest == NULL) {
        return NGX_ERROR;
    }

    rest->stanzas = pkt->stanzas - sm->skip;
    rest->number = pkt->number;
    rest->index = pkt->index + sm->skip;

    sm->size -= pkt->len - rest->len;
    sm->skip = 0;
    sm->out->packet = rest;

    ngx_xmpp_packet_release(pkt);

    return NGX_OK;
}


static void
ngx_xmpp_ack_timer_handler(ngx_event_t *ev)
{
    ngx_xmpp_sm_t      *sm;
    ngx_xmpp_stream_t  *st;

    sm = ev->data;
    st = sm->session->stream;

    sm->requested = 0;

    if (st == NULL) {
        ngx_xmpp_session_end(sm->session);
        return;
    }

    ngx_log_error(NGX_LOG_INFO, st->connection->log, NGX_ETIMEDOUT,
                  "client did not answer a request for acknowledgement");

    /* who reads on after all comes back for the session */

    st->transport->close(st, sm->timeout ? NGX_XMPP_SE_BREAK
                                         : NGX_XMPP_SE_CONNECTION_TIMEOUT,
                         "no answer to a request for acknowledgement");
}
