/*
 * The connection under a stream: what all transports have in common.
 */


#ifndef _NGX_XMPP_SOCKET_H_INCLUDED_
#define _NGX_XMPP_SOCKET_H_INCLUDED_


#include "ngx_xmpp_stream.h"


/* the worker's two buffers, of ngx_xmpp_worker_t */
#define NGX_XMPP_SOCKET_BUFFER        16384


/* takes the connection over: handlers, deadline */
void ngx_xmpp_socket_start(ngx_xmpp_stream_t *st);

/* for the transports' event handlers; st may be gone afterwards */
void ngx_xmpp_socket_read(ngx_xmpp_stream_t *st);
void ngx_xmpp_socket_write(ngx_xmpp_stream_t *st);

/* sets the read timer to when the client must be authenticated */
void ngx_xmpp_socket_deadline(ngx_xmpp_stream_t *st);

/* keeps bytes that were not taken, to be taken first; NGX_OK or NGX_ERROR */
ngx_int_t ngx_xmpp_socket_keep(ngx_xmpp_stream_t *st, u_char *pos,
    u_char *last);

/*
 * Writes what is queued.  NGX_OK: all; NGX_AGAIN: the socket is full, the
 * write handler goes on; NGX_ERROR: the client is gone.
 */
ngx_int_t ngx_xmpp_socket_flush(ngx_xmpp_stream_t *st);

/*
 * Queues a packet without limit, for the first and last words of a stream: as
 * the transport frames it, or (_raw) as it is.  NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_xmpp_socket_queue(ngx_xmpp_stream_t *st, ngx_xmpp_packet_t *pkt);
ngx_int_t ngx_xmpp_socket_queue_raw(ngx_xmpp_stream_t *st,
    ngx_xmpp_packet_t *pkt);

/* as send() of a transport, but as it is */
ngx_int_t ngx_xmpp_socket_send_raw(ngx_xmpp_stream_t *st,
    ngx_xmpp_packet_t *pkt);

/* what is queued will never be read */
void ngx_xmpp_socket_discard(ngx_xmpp_stream_t *st);

/* goes on with closing: last words, FIN, the peer's end; st may be gone */
void ngx_xmpp_socket_finish(ngx_xmpp_stream_t *st);


/* the channel binding of a connection: see ngx_xmpp_transport_t */
size_t ngx_xmpp_tls_bind(ngx_connection_t *c, ngx_array_t *certificates,
    ngx_xmpp_binding_e type, u_char *buf);


/* members of ngx_xmpp_transport_t */

ngx_int_t ngx_xmpp_socket_send(ngx_xmpp_stream_t *st, ngx_xmpp_packet_t *pkt);
ngx_uint_t ngx_xmpp_socket_room(ngx_xmpp_stream_t *st, size_t len);
void ngx_xmpp_socket_close(ngx_xmpp_stream_t *st,
    ngx_xmpp_stream_error_e error, const char *text);
void ngx_xmpp_socket_resume(ngx_xmpp_stream_t *st);
void ngx_xmpp_socket_ready(ngx_xmpp_stream_t *st);
void ngx_xmpp_socket_flush_posted(ngx_xmpp_stream_t *st);


#endif /* _NGX_XMPP_SOCKET_H_INCLUDED_ */
