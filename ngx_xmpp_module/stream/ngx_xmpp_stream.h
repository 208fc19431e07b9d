/*
 * XML streams (RFC 6120, 4): for the transports, which feed them, and for the
 * stream features, which move them on.
 */


#ifndef _NGX_XMPP_STREAM_H_INCLUDED_
#define _NGX_XMPP_STREAM_H_INCLUDED_


#include "ngx_xmpp.h"


/*
 * A stream on an accepted connection, from c->pool, whose cleanup ends it;
 * nginx is the transport's, conf the listener's.  NULL: no memory.
 */
ngx_xmpp_stream_t *ngx_xmpp_stream_create(ngx_xmpp_worker_t *w,
    ngx_connection_t *c, const ngx_xmpp_transport_t *transport, void *nginx,
    ngx_xmpp_srv_conf_t *conf);

/* what a feature keeps in a stream, from c->pool: NULL, there is nothing yet */
void *ngx_xmpp_stream_get_ctx(ngx_xmpp_stream_t *st, ngx_module_t *module);
ngx_int_t ngx_xmpp_stream_set_ctx(ngx_xmpp_stream_t *st, ngx_module_t *module,
    void *data);

/*
 * Feeds [*pos, last) and moves *pos.  NGX_OK: all was taken; NGX_AGAIN: an
 * element is in flight, go on from *pos when the stream is resumed; NGX_DONE:
 * the stream closes or switches to TLS, what is left belongs to nobody.
 */
ngx_int_t ngx_xmpp_stream_input(ngx_xmpp_stream_t *st, u_char **pos,
    u_char *last);

/*
 * For a transport's input(): feeds up to the next element and moves *pos.
 * NGX_OK: an element or a header was handled; NGX_DECLINED: all was taken,
 * and nothing is complete; NGX_AGAIN and NGX_DONE as above.
 */
ngx_int_t ngx_xmpp_stream_feed(ngx_xmpp_stream_t *st, u_char **pos,
    u_char *last);

/* counts n bytes before authentication; NGX_ERROR: too many, it closes */
ngx_int_t ngx_xmpp_stream_limit(ngx_xmpp_stream_t *st, size_t n);

/* input is dry: gives back what is not needed until there is more */
void ngx_xmpp_stream_idle(ngx_xmpp_stream_t *st);

/* TLS began: a new stream, RFC 6120, 5.4.3.3 */
void ngx_xmpp_stream_secured(ngx_xmpp_stream_t *st);

/* SASL succeeded for this prepared localpart; the next header is expected */
ngx_int_t ngx_xmpp_stream_authenticated(ngx_xmpp_stream_t *st,
    ngx_str_t *user);

/* the session, if there is one, goes on without the stream, or ends */
void ngx_xmpp_stream_detach(ngx_xmpp_stream_t *st);

/* lets go of the session, which is another stream's from now on */
void ngx_xmpp_stream_part(ngx_xmpp_stream_t *st);

/* ends the SASL exchange, if there is one, without an answer */
void ngx_xmpp_sasl_end(ngx_xmpp_stream_t *st);

/* rounds of PBKDF2 of new accounts, and of who is not there */
ngx_uint_t ngx_xmpp_sasl_iterations(ngx_xmpp_stream_t *st);

/* sends a nonza; NGX_OK or NGX_ERROR (then the stream closes) */
ngx_int_t ngx_xmpp_stream_send(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e);

/* the condition's name, for logs; "closed" for NONE, "dropped" for DROP */
ngx_str_t *ngx_xmpp_stream_error_name(ngx_xmpp_stream_error_e error);

/* bytes of the stream error element's children; "" for NONE */
size_t ngx_xmpp_stream_error_write(u_char *p, ngx_xmpp_stream_error_e error,
    const char *text);


/* ngx_xmpp_login_limit_module.c */

ngx_int_t ngx_xmpp_login_limit_client(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_store_attempt_t *at);


#endif /* _NGX_XMPP_STREAM_H_INCLUDED_ */
