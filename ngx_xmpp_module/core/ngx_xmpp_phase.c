/*
 * Phases: runs a stanza through the handlers of its life, parks it where a
 * handler waits for Redis, and ends it.
 *
 *     RECV, ACCESS, SEND    handlers of the sender's host
 *     ROUTE                 the core (ngx_xmpp_router.c)
 *     DELIVER               handlers of the recipient's host, then the core
 *     OFFLINE               handlers of the recipient's host, then the core
 *
 * A handler returns NGX_DECLINED (not mine), NGX_OK (consumed), NGX_AGAIN
 * (parked: it calls ngx_xmpp_stanza_resume() exactly once), a positive stanza
 * error condition, or NGX_ERROR.
 */


#include "ngx_xmpp.h"


static ngx_int_t ngx_xmpp_phase_next(ngx_xmpp_stanza_t *stz);
static void ngx_xmpp_stanza_done(ngx_xmpp_stanza_t *stz);


/* begins or goes on; the stanza may be gone afterwards */

void
ngx_xmpp_stanza_run(ngx_xmpp_stanza_t *stz)
{
    ngx_int_t  rc;

    do {
        rc = ngx_xmpp_phase_next(stz);
    } while (rc == NGX_DECLINED);

    if (rc == NGX_AGAIN) {
        return;
    }

    ngx_xmpp_stanza_resume(stz, rc);
}


/*
 * A parked stanza was answered: rc is what its handler would have returned,
 * but not NGX_AGAIN.
 */

void
ngx_xmpp_stanza_resume(ngx_xmpp_stanza_t *stz, ngx_int_t rc)
{
    if (rc == NGX_DECLINED) {
        ngx_xmpp_stanza_run(stz);
        return;
    }

    if (rc == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ERR, stz->session->worker->log, 0,
                      "xmpp could not handle a stanza of \"%V\" to \"%V\"",
                      &stz->session->jid.full, &stz->to.full);

        rc = NGX_XMPP_E_INTERNAL_SERVER_ERROR;
    }

    if (rc > 0) {
        (void) ngx_xmpp_reply_error(stz, rc);
    }

    ngx_xmpp_stanza_done(stz);
}


/* one handler, or the step to the next phase */

static ngx_int_t
ngx_xmpp_phase_next(ngx_xmpp_stanza_t *stz)
{
    ngx_array_t      *hooks;
    ngx_xmpp_host_t  *h;
    ngx_xmpp_hook_t  *hook;

    if (stz->phase == NGX_XMPP_ROUTE_PHASE) {
        stz->phase++;
        stz->hook = 0;

        return ngx_xmpp_stanza_route(stz);
    }

    h = (stz->phase < NGX_XMPP_ROUTE_PHASE) ? stz->session->host : stz->host;
    hooks = &h->hooks[stz->phase];
    hook = hooks->elts;

    while (stz->hook < hooks->nelts) {
        hook = (ngx_xmpp_hook_t *) hooks->elts + stz->hook++;

        /* one bit of each half: kind of stanza, kind of address */

        if ((hook->mask & stz->mask & NGX_XMPP_TO_ANY)
            && (hook->mask & stz->mask & ~NGX_XMPP_TO_ANY))
        {
            return hook->handler(stz);
        }
    }

    stz->hook = 0;

    switch (stz->phase++) {

    case NGX_XMPP_DELIVER_PHASE:
        return ngx_xmpp_stanza_deliver(stz);

    case NGX_XMPP_OFFLINE_PHASE:
        return ngx_xmpp_stanza_offline(stz);

    default:
        return NGX_DECLINED;
    }
}


/* the pool goes back; after the last one in flight the stream reads on */

static void
ngx_xmpp_stanza_done(ngx_xmpp_stanza_t *stz)
{
    ngx_xmpp_stream_t   *st;
    ngx_xmpp_session_t  *xs;

    xs = stz->session;
    st = xs->stream;

    if (stz->packet) {
        ngx_xmpp_packet_release(stz->packet);
    }

    ngx_xmpp_worker_pool_done(xs->worker, stz->pool);

    xs->flight--;

    /* all are done but for one that has not begun */

    if (xs->sm && xs->flight == (xs->held != NULL)) {
        ngx_xmpp_ack_handled(xs);
    }

    if (xs->flight > 1) {
        return;
    }

    if (xs->flight == 1) {
        stz = xs->held;

        if (stz) {
            xs->held = NULL;
            ngx_xmpp_stanza_begin(stz);
        }

        return;
    }

    if (st != NULL) {
        st->transport->resume(st);
    }

    ngx_xmpp_session_idle(xs);
}
