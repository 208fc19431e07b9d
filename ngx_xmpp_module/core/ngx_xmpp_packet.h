/*
 * Packets (core/ngx_xmpp_packet.c), and what the server answers to a stanza.
 * Part of ngx_xmpp.h.
 */


#ifndef _NGX_XMPP_PACKET_H_INCLUDED_
#define _NGX_XMPP_PACKET_H_INCLUDED_


ngx_xmpp_packet_t *ngx_xmpp_packet_alloc(ngx_log_t *log, size_t len);
ngx_xmpp_packet_t *ngx_xmpp_packet_copy(ngx_log_t *log, u_char *p, size_t len);
ngx_xmpp_packet_t *ngx_xmpp_packet_xml(ngx_log_t *log, ngx_xmpp_xml_t *e);
ngx_int_t ngx_xmpp_packet_split(ngx_str_t *stanza, ngx_str_t *before,
    ngx_str_t *after);
ngx_int_t ngx_xmpp_packet_join(ngx_pool_t *pool, ngx_str_t *before,
    ngx_str_t *to, ngx_str_t *after, ngx_str_t *stanza);
ngx_xmpp_packet_t *ngx_xmpp_packet_to(ngx_log_t *log, ngx_str_t *before,
    ngx_str_t *to, ngx_str_t *after);
ngx_xmpp_packet_t *ngx_xmpp_packet_delayed(ngx_log_t *log, ngx_str_t *stanza,
    ngx_str_t *from, time_t when);
ngx_xmpp_packet_t *ngx_xmpp_packet_unavailable(ngx_log_t *log,
    ngx_str_t *from, ngx_str_t *to);
u_char *ngx_xmpp_packet_stanza(ngx_xmpp_packet_t *pkt, ngx_uint_t n);
void ngx_xmpp_packet_release(ngx_xmpp_packet_t *pkt);


/* ---- answers to a stanza (core/ngx_xmpp_reply.c) ---- */

ngx_xmpp_packet_t *ngx_xmpp_reply_packet(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_xml_t *payload);
ngx_int_t ngx_xmpp_reply(ngx_xmpp_stanza_t *stz, ngx_xmpp_xml_t *payload);
ngx_int_t ngx_xmpp_reply_bytes(ngx_xmpp_stanza_t *stz, ngx_xmpp_xml_t *payload,
    ngx_str_t *bytes, ngx_uint_t n);
ngx_int_t ngx_xmpp_reply_error(ngx_xmpp_stanza_t *stz, ngx_int_t condition);
ngx_str_t *ngx_xmpp_reply_condition_name(ngx_xmpp_condition_e condition);
ngx_int_t ngx_xmpp_reply_condition(ngx_pool_t *pool, ngx_xmpp_xml_t *e,
    ngx_int_t condition, ngx_str_t *text);
ngx_int_t ngx_xmpp_refuse(ngx_xmpp_stanza_t *stz, ngx_int_t condition,
    const char *fmt, ...);
ngx_int_t ngx_xmpp_reply_stored(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_store_result_t *res);


#endif /* _NGX_XMPP_PACKET_H_INCLUDED_ */
