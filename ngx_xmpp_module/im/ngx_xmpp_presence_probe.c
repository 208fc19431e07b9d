/*
 * Probes by clients (RFC 6121, 4.3).  A client need not send any, but the
 * server does not answer one with an error (4.3.1); it is handled in the
 * contact's slot, by the same Function as the probes of initial presence.
 *
 *     may have it     presence of each resource, or of the one asked for;
 *                     unavailable when there is none (4.3.2)
 *     may not         nothing is said
 *     other servers   where federation will send it on
 */


#include "ngx_xmpp_presence.h"


typedef struct {
    ngx_xmpp_stanza_t          *stanza;
    ngx_xmpp_store_contact_t    contact;
    ngx_str_t                   tag;
} ngx_xmpp_presence_probe_t;


static void ngx_xmpp_presence_probed(void *data,
    ngx_xmpp_store_result_t *res);


ngx_int_t
ngx_xmpp_presence_probe(ngx_xmpp_stanza_t *stz)
{
    ngx_xmpp_session_t         *xs;
    ngx_xmpp_presence_probe_t  *probe;

    if (stz->type != NGX_XMPP_TYPE_PROBE) {
        return NGX_DECLINED;
    }

    if (stz->mask & (NGX_XMPP_TO_REMOTE|NGX_XMPP_TO_HOST)) {
        return NGX_OK;
    }

    xs = stz->session;

    probe = ngx_pcalloc(stz->pool, sizeof(ngx_xmpp_presence_probe_t));

    if (probe == NULL
        || ngx_xmpp_store_tag(stz->pool, &stz->to.bare, &probe->tag) != NGX_OK)
    {
        return NGX_ERROR;
    }

    probe->stanza = stz;
    probe->contact.tag = &probe->tag;
    probe->contact.what = NGX_XMPP_CONTACT_PROBE;
    probe->contact.resource = stz->to.resource;

    if (!ngx_xmpp_str_eq(&stz->to.bare, &xs->jid.bare)) {
        probe->contact.user = xs->jid.full;
    }

    if (ngx_xmpp_store_contact(xs->worker->store, stz->pool, &probe->contact,
                               ngx_xmpp_presence_probed, probe)
        == NULL)
    {
        return NGX_OK;
    }

    /* what rings meanwhile is newer than the answer */

    ngx_xmpp_session_hold(xs);

    return NGX_AGAIN;
}


static void
ngx_xmpp_presence_probed(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_presence_probe_t *probe = data;

    redisReply          *first;
    ngx_xmpp_packet_t   *pkt;
    ngx_xmpp_stanza_t   *stz;
    ngx_xmpp_session_t  *xs;

    stz = probe->stanza;
    xs = stz->session;

    if (res->rc == NGX_OK) {
        ngx_xmpp_tell_give(xs, res->reply);

    } else if (res->rc == NGX_DECLINED) {
        first = res->reply->element[0];

        if (first->len == 4 && ngx_memcmp(first->str, "gone", 4) == 0) {
            pkt = ngx_xmpp_packet_unavailable(xs->worker->log, &stz->to.full,
                                              &xs->jid.bare);
            if (pkt) {
                ngx_xmpp_session_output(xs, pkt);
                ngx_xmpp_packet_release(pkt);
            }
        }
    }

    ngx_xmpp_session_release(xs);
    ngx_xmpp_stanza_resume(stz, NGX_OK);
}
