/*
 * The router (RFC 6120, 10; RFC 6121, 8): where a stanza goes.
 *
 *     remote            until there is federation: remote-server-not-found
 *     host, own account the iq table; nothing else is kept for a host
 *     another's account iq: the table, on the account's behalf (8.5.2.1.3)
 *     the rest          DELIVER, then the recipient's slot in Redis
 *
 * A full JID of a session in this very worker is reached without Redis, if no
 * bell of ours for that account is still on its way (cluster.md, rule 6), the
 * copy of its block list lets the sender through, and it is nothing that the
 * inbox has to keep until it was taken (rule 12).
 *
 * What a session with stream management has sent counts as handled only when
 * Redis has said so (cluster.md, rule 3): what has no known outcome is tried
 * again with its identity until it has one, or the session ends.
 *
 * "busy" means a record whose worker does not listen at the moment: Redis or
 * that worker is coming back.  The stanza is tried again with its identity
 * for about three seconds, while its sender's stream waits (rule 1).
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_ROUTER_TRIES         6
#define NGX_XMPP_ROUTER_RETRY         50      /* milliseconds, doubled */
#define NGX_XMPP_ROUTER_UNKNOWN       1000    /* milliseconds */


static ngx_int_t ngx_xmpp_router_request(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_router_local(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_account_t *a);
static u_char ngx_xmpp_router_kind(ngx_xmpp_stanza_t *stz);
static void ngx_xmpp_router_rung(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_store_result_t *res);
static void ngx_xmpp_router_end(ngx_xmpp_stanza_t *stz, ngx_int_t rc);
static void ngx_xmpp_router_done(void *data, ngx_xmpp_store_result_t *res);
static ngx_uint_t ngx_xmpp_router_repeat(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_router_again(ngx_xmpp_stanza_t *stz);
static void ngx_xmpp_router_retry(ngx_xmpp_stanza_t *stz, ngx_msec_t delay);
static void ngx_xmpp_router_retry_handler(ngx_event_t *ev);


/* the ROUTE phase; NGX_DECLINED: it is delivered to an account of ours */

ngx_int_t
ngx_xmpp_stanza_route(ngx_xmpp_stanza_t *stz)
{
    if (stz->mask & NGX_XMPP_TO_REMOTE) {
        return NGX_XMPP_E_REMOTE_SERVER_NOT_FOUND;
    }

    if ((stz->mask & NGX_XMPP_IQ) && !(stz->mask & NGX_XMPP_TO_FULL)) {
        return ngx_xmpp_router_request(stz);
    }

    if (stz->mask & NGX_XMPP_TO_HOST) {
        return (stz->mask & NGX_XMPP_MESSAGE)
               ? NGX_XMPP_E_SERVICE_UNAVAILABLE : NGX_OK;
    }

    /* the host has no rosters, or they would have been handled before */

    if ((stz->mask & NGX_XMPP_PRESENCE)
        && stz->type >= NGX_XMPP_TYPE_SUBSCRIBE)
    {
        return (stz->type == NGX_XMPP_TYPE_SUBSCRIBE)
               ? NGX_XMPP_E_FEATURE_NOT_IMPLEMENTED : NGX_OK;
    }

    return NGX_DECLINED;
}


/* an iq that the server answers: for a host, or on behalf of an account */

static ngx_int_t
ngx_xmpp_router_request(ngx_xmpp_stanza_t *stz)
{
    ngx_xmpp_xml_t       *payload;
    ngx_xmpp_handler_pt   handler;

    if (!(stz->mask & NGX_XMPP_IQ_REQUEST)) {
        return NGX_OK;
    }

    payload = ngx_xmpp_stanza_payload(stz);
    handler = ngx_xmpp_feature_iq(stz->host, stz->mask, &payload->ns,
                                  &payload->name);

    /* RFC 6120, 8.4; RFC 6121, 8.5.1 and 8.5.2.1.3: the same for all */

    return handler ? handler(stz) : NGX_XMPP_E_SERVICE_UNAVAILABLE;
}


/* the end of DELIVER; NGX_DECLINED: nobody is there */

ngx_int_t
ngx_xmpp_stanza_deliver(ngx_xmpp_stanza_t *stz)
{
    ngx_str_t            tag;
    ngx_xmpp_account_t  *a;

    if (ngx_xmpp_stanza_packet(stz) == NULL
        || ngx_xmpp_store_tag(stz->pool, &stz->to.bare, &tag) != NGX_OK)
    {
        return NGX_ERROR;
    }

    stz->tag = tag;

    /* nothing overtakes a batch that is to be sent */

    if ((stz->mask & NGX_XMPP_TO_FULL) && stz->session->worker->batch == NULL
        && !(stz->keep && stz->host->durable) && !stz->archive_received)
    {
        a = ngx_xmpp_registry_find(stz->session->worker, &tag);

        /* whom it blocks is answered by its slot, as if nobody were there */

        if (a && a->rung <= a->heard && a->block_known
            && (!ngx_xmpp_blocked(a, &stz->session->jid)
                || a == stz->session->account)
            && ngx_xmpp_router_local(stz, a) == NGX_OK)
        {
            ngx_xmpp_stats_routed(stz, NGX_XMPP_STATS_LOCAL);

            return (ngx_xmpp_carbon_sent(stz, NGX_OK) == NGX_AGAIN)
                   ? NGX_AGAIN : NGX_OK;
        }
    }

    if (ngx_xmpp_batch_join(stz) == NGX_OK) {
        return NGX_AGAIN;
    }

    return ngx_xmpp_router_send(stz);
}


static ngx_int_t
ngx_xmpp_router_local(ngx_xmpp_stanza_t *stz, ngx_xmpp_account_t *a)
{
    ngx_queue_t         *q;
    ngx_xmpp_session_t  *xs;

    for (q = ngx_queue_head(&a->sessions);
         q != ngx_queue_sentinel(&a->sessions);
         q = ngx_queue_next(q))
    {
        xs = ngx_queue_data(q, ngx_xmpp_session_t, queue);

        if (xs->epoch && xs->stream && !xs->displaced && !xs->ending
            && xs->stream->state == NGX_XMPP_ST_BOUND
            && ngx_xmpp_str_eq(&xs->jid.resource, &stz->to.resource))
        {
            if (stz->copy_received
                && ngx_xmpp_carbon_others(a, xs, stz->session))
            {
                return NGX_DECLINED;
            }

            ngx_xmpp_session_deliver(xs, stz->packet);
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


static u_char
ngx_xmpp_router_kind(ngx_xmpp_stanza_t *stz)
{
    if (stz->mask & NGX_XMPP_IQ) {
        return NGX_XMPP_STORE_IQ;
    }

    if (stz->type == NGX_XMPP_TYPE_ERROR) {
        return NGX_XMPP_STORE_ERROR;
    }

    if (stz->mask & NGX_XMPP_PRESENCE) {
        return NGX_XMPP_STORE_PRESENCE;
    }

    switch (stz->type) {

    case NGX_XMPP_TYPE_CHAT:
        return NGX_XMPP_STORE_CHAT;

    case NGX_XMPP_TYPE_HEADLINE:
        return NGX_XMPP_STORE_HEADLINE;

    case NGX_XMPP_TYPE_GROUPCHAT:
        return NGX_XMPP_STORE_GROUPCHAT;

    default:
        return NGX_XMPP_STORE_NORMAL;
    }
}


/*
 * Routes a stanza, or the batch of which it is the first; NGX_AGAIN, or the
 * condition to answer with: nothing was sent.
 */

ngx_int_t
ngx_xmpp_router_send(ngx_xmpp_stanza_t *stz)
{
    ngx_xmpp_session_t       *xs;
    ngx_xmpp_store_route_t    r;
    ngx_xmpp_store_stanza_t   stanzas[NGX_XMPP_STORE_BATCH];

    xs = stz->session;

    r.tag = &stz->tag;
    r.resource = stz->to.resource.len ? &stz->to.resource : NULL;
    r.sid = &xs->sid;
    r.from = ngx_xmpp_str_eq(&stz->to.bare, &xs->jid.bare) ? NULL
                                                           : &xs->jid.full;
    r.to = NULL;
    r.keep = stz->keep ? &stz->host->keep : NULL;
    r.archive = stz->archive_received ? &stz->host->archive : NULL;
    r.kind = ngx_xmpp_router_kind(stz);
    r.copies = stz->copy_received;

    ngx_xmpp_repeat_identify(&r, stanzas, stz);

    if (ngx_xmpp_store_route(xs->worker->store, stz->pool, &r,
                             ngx_xmpp_router_done, stz)
        == NULL)
    {
        /* Redis is away and the queue is full: it certainly did not run */

        if (ngx_xmpp_router_repeat(stz)
            && ngx_xmpp_router_again(stz) == NGX_OK)
        {
            return NGX_AGAIN;
        }

        if (!stz->unknown) {
            ngx_xmpp_stats_routed(stz, NGX_XMPP_STATS_AWAY);
        }

        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    return NGX_AGAIN;
}


/* the account may have sessions here: they hear the bell, which is numbered */

static void
ngx_xmpp_router_rung(ngx_xmpp_stanza_t *stz, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_account_t  *a;

    a = ngx_xmpp_registry_find(stz->session->worker, &stz->tag);

    if (a == NULL) {
        return;
    }

    if (a->rung < res->number) {
        a->rung = res->number;
    }

    /* Redis takes the sender's worker from its sid */

    if (stz->copy_received && res->reply->elements > 2
        && (res->epoch || !stz->session->moved))
    {
        ngx_xmpp_carbon_known(a, res->number, res->epoch != 0);
    }
}


/* Redis has delivered it, or nobody is there; the sender's sessions hear it */

static void
ngx_xmpp_router_end(ngx_xmpp_stanza_t *stz, ngx_int_t rc)
{
    if (ngx_xmpp_carbon_sent(stz, rc) != NGX_AGAIN) {
        ngx_xmpp_batch_done(stz, rc);
    }
}


static void
ngx_xmpp_router_done(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_stanza_t *stz = data;

    switch (res->rc) {

    case NGX_OK:
        ngx_xmpp_stats_routed(stz, res->number ? NGX_XMPP_STATS_REDIS
                                               : NGX_XMPP_STATS_KEPT);
        ngx_xmpp_router_rung(stz, res);
        ngx_xmpp_router_end(stz, NGX_OK);
        return;

    case NGX_DECLINED:
        ngx_xmpp_stats_routed(stz, NGX_XMPP_STATS_NOBODY);
        ngx_xmpp_inbox_full(stz, res);
        ngx_xmpp_router_end(stz, NGX_DECLINED);
        return;

    case NGX_BUSY:
        if (stz->tries == NGX_XMPP_ROUTER_TRIES) {
            ngx_xmpp_stats_routed(stz, NGX_XMPP_STATS_NOBODY);
            ngx_xmpp_router_end(stz, NGX_DECLINED);
            return;
        }

        ngx_xmpp_router_retry(stz, NGX_XMPP_ROUTER_RETRY << stz->tries);
        stz->tries++;
        return;

    case NGX_AGAIN:
        if ((stz->unknown || ngx_xmpp_router_repeat(stz))
            && ngx_xmpp_router_again(stz) == NGX_OK)
        {
            return;
        }

        ngx_xmpp_stats_routed(stz, stz->unknown ? NGX_XMPP_STATS_UNKNOWN
                                                : NGX_XMPP_STATS_AWAY);
        ngx_xmpp_batch_done(stz, stz->unknown ? NGX_OK
                                 : NGX_XMPP_E_RESOURCE_CONSTRAINT);
        return;

    default:
        if (ngx_xmpp_router_again(stz) == NGX_OK) {
            return;
        }

        ngx_xmpp_stats_routed(stz, NGX_XMPP_STATS_UNKNOWN);

        /*
         * Refused, or of unknown outcome after all repeats: an error reply
         * might contradict a delivery (cluster.md, rule 2).
         */

        ngx_log_error(NGX_LOG_ERR, stz->session->worker->log, 0,
                      "xmpp does not know whether Redis has delivered "
                      "a stanza of \"%V\" to \"%V\"",
                      &stz->session->jid.full, &stz->to.full);

        ngx_xmpp_batch_done(stz, NGX_OK);
    }
}


/*
 * Whether another worker may have routed it, which has died: what it has not
 * acknowledged comes again (XEP-0198, 5), and may have arrived.  Nothing tells
 * what is the first one that is new.
 */

static ngx_uint_t
ngx_xmpp_router_repeat(ngx_xmpp_stanza_t *stz)
{
    return stz->session->sm && stz->session->sm->life;
}


/* NGX_OK: it is tried once more; NGX_DECLINED: nobody would resend it */

static ngx_int_t
ngx_xmpp_router_again(ngx_xmpp_stanza_t *stz)
{
    ngx_xmpp_session_t  *xs;

    xs = stz->session;

    /* one that another worker gets must not say more than it knows */

    if (xs->sm == NULL || xs->worker->drained || (xs->ending && !xs->handed)) {
        return NGX_DECLINED;
    }

    stz->unknown = 1;
    stz->tries = ngx_max(stz->tries, 1);

    ngx_xmpp_router_retry(stz, NGX_XMPP_ROUTER_UNKNOWN);

    return NGX_OK;
}


static void
ngx_xmpp_router_retry(ngx_xmpp_stanza_t *stz, ngx_msec_t delay)
{
    stz->retry.handler = ngx_xmpp_router_retry_handler;
    stz->retry.data = stz;
    stz->retry.log = stz->session->worker->log;

    ngx_add_timer(&stz->retry, delay);
}


static void
ngx_xmpp_router_retry_handler(ngx_event_t *ev)
{
    ngx_int_t           rc;
    ngx_xmpp_stanza_t  *stz;

    stz = ev->data;

    rc = ngx_xmpp_router_send(stz);

    if (rc == NGX_AGAIN
        || (stz->unknown && ngx_xmpp_router_again(stz) == NGX_OK))
    {
        return;
    }

    if (stz->unknown) {
        ngx_xmpp_stats_routed(stz, NGX_XMPP_STATS_UNKNOWN);
    }

    ngx_xmpp_batch_done(stz, stz->unknown ? NGX_OK : rc);
}


/*
 * The end of OFFLINE: nobody took it.  RFC 6121, 8.5.1, 8.5.2.2, 8.5.3.2:
 * messages of normal, chat and groupchat type and iq requests come back, all
 * others are ignored.
 */

ngx_int_t
ngx_xmpp_stanza_offline(ngx_xmpp_stanza_t *stz)
{
    switch (ngx_xmpp_router_kind(stz)) {

    case NGX_XMPP_STORE_CHAT:
    case NGX_XMPP_STORE_NORMAL:
    case NGX_XMPP_STORE_GROUPCHAT:
    case NGX_XMPP_STORE_IQ:
        return NGX_XMPP_E_SERVICE_UNAVAILABLE;

    default:
        return NGX_OK;
    }
}
