/*
 * Batches: what a session sends to one address in one piece.
 */


#ifndef _NGX_XMPP_BATCH_H_INCLUDED_
#define _NGX_XMPP_BATCH_H_INCLUDED_


ngx_uint_t ngx_xmpp_batch_fits(ngx_xmpp_stanza_t *stz);
ngx_int_t ngx_xmpp_batch_join(ngx_xmpp_stanza_t *stz);
ngx_uint_t ngx_xmpp_batch_full(ngx_xmpp_worker_t *w);
void ngx_xmpp_batch_send(ngx_xmpp_worker_t *w);
void ngx_xmpp_batch_done(ngx_xmpp_stanza_t *stz, ngx_int_t rc);


#endif /* _NGX_XMPP_BATCH_H_INCLUDED_ */
