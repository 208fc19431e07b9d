/*
 * TCP streams of clients: what the files of this transport share.
 */


#ifndef _NGX_XMPP_TCP_H_INCLUDED_
#define _NGX_XMPP_TCP_H_INCLUDED_


#include "ngx_xmpp_socket.h"


extern ngx_module_t  ngx_xmpp_c2s_module;


/* a stream in a session of nginx's; NULL: no memory */
ngx_xmpp_stream_t *ngx_xmpp_tcp_create(ngx_stream_session_t *s,
    ngx_xmpp_worker_t *w, ngx_xmpp_srv_conf_t *conf);

/* takes the connection over: handlers, deadline, bytes read ahead */
void ngx_xmpp_tcp_start(ngx_xmpp_stream_t *st);

/* adds the variables of stream{}; NGX_OK or NGX_ERROR (no memory) */
ngx_int_t ngx_xmpp_tcp_variables(ngx_conf_t *cf);

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

/* the client's certificate: see ngx_xmpp_transport_t */
ngx_int_t ngx_xmpp_tls_serves(ngx_xmpp_stream_t *st, ngx_xmpp_host_t *h);
ngx_int_t ngx_xmpp_tls_names(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_uint_t kinds, ngx_array_t *names);

/* who may resume which session; NGX_OK or NGX_ERROR */
ngx_int_t ngx_xmpp_tls_session_init(ngx_conf_t *cf,
    ngx_xmpp_main_conf_t *xmcf);

/* SNI, ALPN, sessions for the contexts of our listeners; NGX_OK or NGX_ERROR */
ngx_int_t ngx_xmpp_tls_init(ngx_conf_t *cf, ngx_xmpp_main_conf_t *xmcf);


#endif /* _NGX_XMPP_TCP_H_INCLUDED_ */
