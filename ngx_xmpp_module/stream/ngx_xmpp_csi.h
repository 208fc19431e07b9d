/*
 * What an inactive client can wait for (XEP-0352), told from bytes; for
 * ngx_xmpp_csi_module.c.
 */


#ifndef _NGX_XMPP_CSI_H_INCLUDED_
#define _NGX_XMPP_CSI_H_INCLUDED_


#include "ngx_xmpp_stream.h"


/* of two with the same kind and from only the later one matters */
typedef struct {
    enum {
        NGX_XMPP_CSI_PRESENCE = 0,
        NGX_XMPP_CSI_CHAT_STATE,
        NGX_XMPP_CSI_CARBON             /* of a chat state, received */
    }                kind;
    ngx_str_t        from;              /* a slice, as written */
    ngx_str_t        stanza;            /* the last one in the packet */
    ngx_uint_t       delayed;           /* it has a <delay/> already */
} ngx_xmpp_csi_kind_t;


/*
 * Whether a packet can wait: NGX_OK, *kind is set, its strings point into the
 * packet; NGX_DECLINED: it has to be sent.
 */
ngx_int_t ngx_xmpp_csi_kind(ngx_xmpp_packet_t *pkt, ngx_xmpp_csi_kind_t *kind);


#endif /* _NGX_XMPP_CSI_H_INCLUDED_ */
