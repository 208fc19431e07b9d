/*
 * Packets: a stanza serialized once, with an explicit xmlns, so that the same
 * bytes go to TCP, to WebSocket and through Redis, whatever stream they end
 * up in (RFC 6120, 4.8.3).
 *
 * Immutable once made.  The maker holds the first reference, each queue that
 * takes the packet one of its own; whoever releases the last one frees it.  A
 * packet comes from the heap: it may outlive the stanza, the session and the
 * socket that it came from.
 */


#include "ngx_xmpp.h"


/* room for len bytes, which the caller fills; NULL: no memory */

ngx_xmpp_packet_t *
ngx_xmpp_packet_alloc(ngx_log_t *log, size_t len)
{
    ngx_xmpp_packet_t  *pkt;

    pkt = ngx_alloc(offsetof(ngx_xmpp_packet_t, data) + len, log);
    if (pkt == NULL) {
        return NULL;
    }

    pkt->refs = 1;
    pkt->len = len;

    return pkt;
}


ngx_xmpp_packet_t *
ngx_xmpp_packet_copy(ngx_log_t *log, u_char *p, size_t len)
{
    ngx_xmpp_packet_t  *pkt;

    pkt = ngx_xmpp_packet_alloc(log, len);
    if (pkt == NULL) {
        return NULL;
    }

    ngx_memcpy(pkt->data, p, len);

    return pkt;
}


/* serializes a tree with nothing in scope, so that the root has its xmlns */

ngx_xmpp_packet_t *
ngx_xmpp_packet_xml(ngx_log_t *log, ngx_xmpp_xml_t *e)
{
    ngx_xmpp_packet_t  *pkt;

    pkt = ngx_xmpp_packet_alloc(log, ngx_xmpp_xml_size(e, NULL));
    if (pkt == NULL) {
        return NULL;
    }

    (void) ngx_xmpp_xml_write(pkt->data, e, NULL);

    return pkt;
}


void
ngx_xmpp_packet_release(ngx_xmpp_packet_t *pkt)
{
    if (--pkt->refs == 0) {
        ngx_free(pkt);
    }
}
