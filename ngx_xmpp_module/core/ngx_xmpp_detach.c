/*
 * A session without a stream that waits for its client to come back (XEP-0198,
 * 5).
 *
 *     bound --socket gone--> detached --resume--> bound
 *                            |   |
 *                            |   '-- in vain, displaced, kicked, removed, too
 *                            |       much for it --> ends
 *                            '-- presence stays, output waits in the queue
 *
 * Only a connection that broke detaches: a client that has closed its stream
 * has gone, and one that was closed for what it did has no right to come back.
 * The record gets the letter d, for whoever has to choose a session that gives
 * way (redis/20-session.lua).
 *
 * A client comes back on any stream that is authenticated for the same account,
 * by the session's id and a token that only it was told.  What it had sent on
 * the old stream and is in flight is waited for, since the count that it is
 * told has to be exact.  An old stream that still stands is closed by the
 * caller.
 *
 * When it has waited in vain, how many of its client's stanzas were handled is
 * kept for a day: who comes too late knows what was lost (5, <failed h=''/>).
 */


#include "ngx_xmpp.h"


/* of its timeout, that a session waits wherever it comes to */
#define NGX_XMPP_DETACH_LEAST         8


/*
 * The session's stream has gone, by error.  NGX_OK: it waits for another;
 * NGX_DECLINED: it is to be ended.
 */

ngx_int_t
ngx_xmpp_detach(ngx_xmpp_session_t *xs, ngx_xmpp_stream_error_e error)
{
    if (!ngx_xmpp_hand_may(xs) || xs->handed
        || (error != NGX_XMPP_SE_DROP && error != NGX_XMPP_SE_BREAK
            && error != NGX_XMPP_SE_CONNECTION_TIMEOUT))
    {
        return NGX_DECLINED;
    }

    if (xs->worker->draining) {
        xs->handed = 1;
        return NGX_DECLINED;
    }

    xs->stream = NULL;

    xs->worker->stats->counters.detached++;

    ngx_xmpp_detach_wait(xs, xs->sm->timeout);
    ngx_xmpp_detach_mark(xs, 1);

    ngx_log_error(NGX_LOG_INFO, xs->worker->log, 0,
                  "session of \"%V\" waits for its client for %M ms",
                  &xs->jid.full, xs->sm->timeout);

    return NGX_OK;
}


/*
 * It has no stream, and its record says so.  left: of its timeout, when it has
 * waited elsewhere before; but if all were away together, its client has to
 * find it.
 */

void
ngx_xmpp_detach_wait(ngx_xmpp_session_t *xs, ngx_msec_t left)
{
    ngx_xmpp_sm_t  *sm;

    sm = xs->sm;

    ngx_xmpp_ack_parted(xs);

    sm->detached = 1;

    ngx_queue_insert_tail(&xs->worker->detached, &sm->queue);
    xs->worker->stats->gauges.detached++;
    ngx_add_timer(&sm->timer,
                  ngx_max(left, sm->timeout / NGX_XMPP_DETACH_LEAST));
}


/* its record says whether it has a stream */

void
ngx_xmpp_detach_mark(ngx_xmpp_session_t *xs, ngx_uint_t on)
{
    ngx_xmpp_store_session_t  ss;

    ngx_xmpp_session_set_flag(xs, NGX_XMPP_DETACH_FLAG, on);
    ngx_xmpp_session_record(xs, &ss);
    ngx_xmpp_store_detached(xs->worker->store, &ss, on);
}


/*
 * A detached session is to end, soon: whoever calls may hold it.  Others are
 * not touched.
 */

void
ngx_xmpp_detach_end(ngx_xmpp_session_t *xs)
{
    if (xs->sm && xs->sm->detached && !xs->ending) {
        ngx_add_timer(&xs->sm->timer, 1);
    }
}


/* it ends: nobody waits any more; what its client may ask for is kept */

void
ngx_xmpp_detach_ended(ngx_xmpp_session_t *xs)
{
    ngx_xmpp_sm_t             *sm;
    ngx_xmpp_store_sm_t        record;
    ngx_xmpp_store_session_t   ss;

    sm = xs->sm;

    if (sm == NULL || !sm->detached) {
        return;
    }

    sm->detached = 0;
    ngx_queue_remove(&sm->queue);
    xs->worker->stats->gauges.detached--;

    if (sm->timer.timer_set) {
        ngx_del_timer(&sm->timer);
    }

    if (xs->removed || xs->handed) {
        return;
    }

    ngx_xmpp_session_record(xs, &ss);
    ngx_xmpp_detach_record(xs, &record);

    record.handled = ngx_xmpp_ack_count(xs);

    ngx_xmpp_store_sm_end(xs->worker->store, &ss, &record);
}


/* what Redis has of a session that may be resumed; points into *xs */

void
ngx_xmpp_detach_record(ngx_xmpp_session_t *xs, ngx_xmpp_store_sm_t *record)
{
    ngx_xmpp_sm_t  *sm;

    sm = xs->sm;

    record->digest.len = sizeof(sm->digest);
    record->digest.data = sm->digest;
    record->timeout = sm->timeout;
    record->base = sm->base;
    record->handled = sm->told;
    record->life = sm->life;
}


/* Redis may have lost it, but has the session's record */

void
ngx_xmpp_detach_put_back(ngx_xmpp_session_t *xs)
{
    ngx_xmpp_store_sm_t       record;
    ngx_xmpp_store_session_t  ss;

    if (xs->sm == NULL || xs->sm->timeout == 0) {
        return;
    }

    ngx_xmpp_session_record(xs, &ss);
    ngx_xmpp_detach_record(xs, &record);
    ngx_xmpp_store_sm_again(xs->worker->store, &ss, &record);
}


/* the worker drains: others will have them */

void
ngx_xmpp_detach_drain(ngx_xmpp_worker_t *w, ngx_uint_t n)
{
    ngx_queue_t         *q;
    ngx_xmpp_sm_t       *sm;
    ngx_xmpp_session_t  *xs;

    while (n-- && !ngx_queue_empty(&w->detached)) {
        q = ngx_queue_head(&w->detached);
        sm = ngx_queue_data(q, ngx_xmpp_sm_t, queue);
        xs = sm->session;

        xs->handed = ngx_xmpp_hand_may(xs);

        ngx_xmpp_session_end(xs);
    }
}


/*
 * Takes apart what a client resumes by; it is nobody's word yet.  NGX_OK, *sid
 * and *token are slices; NGX_DECLINED: it is none of ours.
 */

ngx_int_t
ngx_xmpp_detach_id(ngx_str_t *id, ngx_str_t *sid, ngx_str_t *token)
{
    size_t  i;
    u_char  c;

    if (id->len < 1 + 1 + NGX_XMPP_SM_TOKEN || id->len > NGX_XMPP_SM_ID_MAX) {
        return NGX_DECLINED;
    }

    for (i = 0; i < id->len; i++) {
        c = id->data[i];

        if ((c < '0' || c > '9') && (c < 'a' || c > 'f') && c != '.'
            && c != '-')
        {
            return NGX_DECLINED;
        }
    }

    sid->data = id->data;
    sid->len = id->len - NGX_XMPP_SM_TOKEN - 1;

    token->data = id->data + sid->len + 1;
    token->len = NGX_XMPP_SM_TOKEN;

    return (id->data[sid->len] == '-') ? NGX_OK : NGX_DECLINED;
}


/* what Redis is told instead of the token; NGX_OK or NGX_ERROR */

ngx_int_t
ngx_xmpp_detach_digest(ngx_str_t *token, u_char *hex)
{
    u_char        md[EVP_MAX_MD_SIZE];
    unsigned int  n;

    if (EVP_Digest(token->data, token->len, md, &n, EVP_sha256(), NULL) != 1) {
        return NGX_ERROR;
    }

    ngx_hex_dump(hex, md, NGX_XMPP_SM_DIGEST / 2);

    return NGX_OK;
}


/*
 * The session of this worker that a client, authenticated on st for the account
 * of tag, may resume; NULL: there is none.
 */

ngx_xmpp_session_t *
ngx_xmpp_detach_find(ngx_xmpp_stream_t *st, ngx_str_t *tag, ngx_str_t *sid,
    ngx_str_t *token)
{
    u_char               hex[NGX_XMPP_SM_DIGEST];
    ngx_xmpp_account_t  *a;
    ngx_xmpp_session_t  *xs;

    a = ngx_xmpp_registry_find(st->worker, tag);
    if (a == NULL) {
        return NULL;
    }

    xs = ngx_xmpp_registry_session(a, sid->data, sid->len);

    if (xs == NULL || !ngx_xmpp_hand_may(xs) || xs->handed
        || ngx_xmpp_detach_digest(token, hex) != NGX_OK
        || CRYPTO_memcmp(xs->sm->digest, hex, sizeof(hex)) != 0)
    {
        return NULL;
    }

    /* the name may have another owner by now */

    if (xs->created && st->created && xs->created != st->created) {
        return NULL;
    }

    return xs;
}


/*
 * Gives the session, which has no stream, to st.  resumed is called, maybe at
 * once, when all that its client had sent before was handled; not when st goes
 * meanwhile: then it is detached again.
 */

void
ngx_xmpp_detach_resume(ngx_xmpp_session_t *xs, ngx_xmpp_stream_t *st,
    void (*resumed)(ngx_xmpp_session_t *xs))
{
    ngx_xmpp_sm_t  *sm;

    sm = xs->sm;

    if (sm->detached) {
        sm->detached = 0;
        ngx_queue_remove(&sm->queue);
        xs->worker->stats->gauges.detached--;

        ngx_xmpp_detach_mark(xs, 0);
    }

    if (sm->timer.timer_set) {
        ngx_del_timer(&sm->timer);
    }

    ngx_xmpp_ack_parted(xs);

    sm->resumed = resumed;

    xs->stream = st;
    st->session = xs;

    ngx_xmpp_ack_handled(xs);
}
