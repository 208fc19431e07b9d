/*
 * TCP streams of clients: what the files of this transport share.
 */


#ifndef _NGX_XMPP_TCP_H_INCLUDED_
#define _NGX_XMPP_TCP_H_INCLUDED_


#include "ngx_xmpp_stream.h"


extern const ngx_xmpp_transport_t  ngx_xmpp_tcp_transport;
extern ngx_module_t                ngx_xmpp_c2s_module;


/* nginx's event handlers of a stream's connection */
void ngx_xmpp_tcp_read_handler(ngx_event_t *rev);
void ngx_xmpp_tcp_write_handler(ngx_event_t *wev);

/* sets the read timer to when the client must be authenticated */
void ngx_xmpp_tcp_deadline(ngx_xmpp_stream_t *st);

/* takes the connection over: handlers, deadline, bytes read ahead */
void ngx_xmpp_tcp_start(ngx_xmpp_stream_t *st);

/*
 * Writes what is queued.  NGX_OK: all; NGX_AGAIN: the socket is full, the
 * write handler goes on; NGX_ERROR: the client is gone.
 */
ngx_int_t ngx_xmpp_tcp_flush(ngx_xmpp_stream_t *st);

/* queues bytes without limit, for the last words of a stream */
ngx_int_t ngx_xmpp_tcp_queue(ngx_xmpp_stream_t *st, ngx_xmpp_packet_t *pkt);

/* what is queued will never be read */
void ngx_xmpp_tcp_discard(ngx_xmpp_stream_t *st);

/* goes on with closing: last words, FIN, the peer's end; st may be gone */
void ngx_xmpp_tcp_finish(ngx_xmpp_stream_t *st);

/* closes: see ngx_xmpp_transport_t */
void ngx_xmpp_tcp_close(ngx_xmpp_stream_t *st, ngx_xmpp_stream_error_e error,
    const char *text);

/* our stream header; NGX_OK or NGX_ERROR */
ngx_int_t ngx_xmpp_tcp_open(ngx_xmpp_stream_t *st);

/* TLS: <proceed/>, the switch (posted work, when that was written), its end */
void ngx_xmpp_tls_proceed(ngx_xmpp_stream_t *st);
void ngx_xmpp_tls_start(ngx_xmpp_stream_t *st);
size_t ngx_xmpp_tls_binding(ngx_xmpp_stream_t *st, ngx_xmpp_binding_e type,
    u_char *buf);
void ngx_xmpp_tls_secured(ngx_xmpp_stream_t *st);

/* the step before nginx's SSL phase; NGX_OK or NGX_ERROR */
ngx_int_t ngx_xmpp_tls_wait_init(ngx_conf_t *cf);

/*
 * To be called when nginx has turned to a handshake of the connection that
 * had this number: while it is not done, nginx may close the connection.
 */
void ngx_xmpp_tls_reusable(ngx_connection_t *c, ngx_atomic_uint_t number);

/* names of the client's certificate: see ngx_xmpp_transport_t */
ngx_int_t ngx_xmpp_tls_names(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_uint_t kinds, ngx_array_t *names);

/* who may resume which session; NGX_OK or NGX_ERROR */
ngx_int_t ngx_xmpp_tls_session_init(ngx_conf_t *cf,
    ngx_xmpp_main_conf_t *xmcf);

/* SNI, ALPN, sessions for the contexts of our listeners; NGX_OK or NGX_ERROR */
ngx_int_t ngx_xmpp_tls_init(ngx_conf_t *cf, ngx_xmpp_main_conf_t *xmcf);


#endif /* _NGX_XMPP_TCP_H_INCLUDED_ */
