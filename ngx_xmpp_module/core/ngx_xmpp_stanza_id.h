
/*
 * Archives of messages: what is archived, and how those who receive it learn
 * where (ngx_xmpp_stanza_id.c).  Part of ngx_xmpp.h.
 */


#ifndef _NGX_XMPP_STANZA_ID_H_INCLUDED_
#define _NGX_XMPP_STANZA_ID_H_INCLUDED_


#include "ngx_xmpp_entry_id.h"


/* room for <stanza-id/> in the archive of a bare JID */
#define ngx_xmpp_stanza_id_size(bare)                                 \
    (sizeof("<stanza-id xmlns='urn:xmpp:sid:0' by='' id=''/>") - 1            \
     + ngx_xmpp_xml_escape_size(bare) + NGX_XMPP_ENTRY_ID_LEN)


/*
 * Writes the id of an entry in the archive of a bare JID, and reads one:
 * NGX_DECLINED: it is none of that archive.  NGX_ERROR, or NULL: the secret of
 * the deployment is not known, or OpenSSL failed.
 */
u_char *ngx_xmpp_stanza_id_write(u_char *p, ngx_xmpp_worker_t *w,
    ngx_str_t *bare, ngx_xmpp_entry_t *entry);
ngx_int_t ngx_xmpp_stanza_id_read(ngx_xmpp_worker_t *w, ngx_str_t *bare,
    ngx_str_t *id, ngx_xmpp_entry_t *entry);

/*
 * Writes <stanza-id/> of an entry in the archive of a session's account, as a
 * child of a message; returns the end.
 */
u_char *ngx_xmpp_stanza_id_element(u_char *p, ngx_xmpp_session_t *xs,
    ngx_xmpp_entry_t *entry);

/*
 * Copies a message and adds <stanza-id/> (XEP-0313, 3.5), for which the caller
 * has room; returns the end.  entry NULL: it is not archived.
 */
u_char *ngx_xmpp_stanza_id_copy(u_char *p, ngx_xmpp_session_t *xs,
    ngx_str_t *stanza, ngx_xmpp_entry_t *entry);

/*
 * The stanzas of a bell for the sessions of an account, of which xs is one,
 * each with its <stanza-id/>.  NULL: no memory.
 */
ngx_xmpp_packet_t *ngx_xmpp_stanza_id_packet(ngx_xmpp_session_t *xs,
    ngx_xmpp_store_bell_t *bell);


#endif /* _NGX_XMPP_STANZA_ID_H_INCLUDED_ */
