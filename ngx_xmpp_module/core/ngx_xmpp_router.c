/*
 * The router (RFC 6120, 10; RFC 6121, 8): where a stanza goes.
 *
 *     remote            until there is federation: remote-server-not-found
 *     host, own account the iq table; nothing else is kept for a host
 *     another's account iq: the table, on the account's behalf (8.5.2.1.3)
 *     the rest          DELIVER, then the recipient's slot in Redis
 *
 * A full JID of a session in this very worker is reached without Redis, if no
 * bell of ours for that account is still on its way (cluster.md, rule 6).
 *
 * "busy" means a record whose worker does not listen at the moment: Redis or
 * that worker is coming back.  The stanza is tried again with its identity
 * for about three seconds, while its sender's stream waits (rule 1).
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_ROUTER_TRIES         6
#define NGX_XMPP_ROUTER_RETRY         50      /* milliseconds, doubled */


static ngx_int_t ngx_xmpp_router_request(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_router_local(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_account_t *a);
static u_char ngx_xmpp_router_kind(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_router_send(ngx_xmpp_stanza_t *stz);
static void ngx_xmpp_router_done(void *data, ngx_xmpp_store_result_t *res);
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

    /* without a roster there are no subscriptions to ask for */

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

    if (stz->mask & NGX_XMPP_TO_FULL) {
        a = ngx_xmpp_registry_find(stz->session->worker, &tag);

        if (a && a->rung <= a->heard
            && ngx_xmpp_router_local(stz, a) == NGX_OK)
        {
            return NGX_OK;
        }
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
            ngx_xmpp_session_output(xs, stz->packet);
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


static ngx_int_t
ngx_xmpp_router_send(ngx_xmpp_stanza_t *stz)
{
    ngx_str_t             body;
    ngx_xmpp_session_t   *xs;

    xs = stz->session;

    body.data = stz->packet->data;
    body.len = stz->packet->len;

    if (ngx_xmpp_store_route(xs->worker->store, stz->pool, &stz->tag,
                             stz->to.resource.len ? &stz->to.resource : NULL,
                             ngx_xmpp_router_kind(stz), &xs->sid,
                             stz->counter, &body, ngx_xmpp_router_done, stz)
        == NULL)
    {
        /* Redis is away and the queue is full: it certainly did not run */

        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    return NGX_AGAIN;
}


static void
ngx_xmpp_router_done(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_stanza_t *stz = data;

    switch (res->rc) {

    case NGX_OK:
        ngx_xmpp_registry_rung(stz->session->worker, &stz->tag, res->number);
        ngx_xmpp_stanza_resume(stz, NGX_OK);
        return;

    case NGX_DECLINED:
        ngx_xmpp_stanza_resume(stz, NGX_DECLINED);
        return;

    case NGX_BUSY:
        if (stz->tries == NGX_XMPP_ROUTER_TRIES) {
            ngx_xmpp_stanza_resume(stz, NGX_DECLINED);
            return;
        }

        stz->retry.handler = ngx_xmpp_router_retry_handler;
        stz->retry.data = stz;
        stz->retry.log = stz->session->worker->log;

        ngx_add_timer(&stz->retry, NGX_XMPP_ROUTER_RETRY << stz->tries++);
        return;

    case NGX_AGAIN:
        ngx_xmpp_stanza_resume(stz, NGX_XMPP_E_RESOURCE_CONSTRAINT);
        return;

    default:

        /*
         * Refused, or of unknown outcome after all repeats: an error reply
         * might contradict a delivery (cluster.md, rule 2).
         */

        ngx_log_error(NGX_LOG_ERR, stz->session->worker->log, 0,
                      "xmpp does not know whether Redis has delivered "
                      "a stanza of \"%V\" to \"%V\"",
                      &stz->session->jid.full, &stz->to.full);

        ngx_xmpp_stanza_resume(stz, NGX_OK);
    }
}


static void
ngx_xmpp_router_retry_handler(ngx_event_t *ev)
{
    ngx_int_t           rc;
    ngx_xmpp_stanza_t  *stz;

    stz = ev->data;

    rc = ngx_xmpp_router_send(stz);

    if (rc != NGX_AGAIN) {
        ngx_xmpp_stanza_resume(stz, rc);
    }
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
