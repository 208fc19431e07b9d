/*
 * XMPP over WebSocket (RFC 7395): what the files of this transport share.
 */


#ifndef _NGX_XMPP_WEBSOCKET_H_INCLUDED_
#define _NGX_XMPP_WEBSOCKET_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_xmpp_socket.h"
#include "ngx_xmpp_frame.h"


/* codes of a Close frame (RFC 6455, 7.4.1, and the registry of 11.7) */
#define NGX_XMPP_WEBSOCKET_NORMAL           1000
#define NGX_XMPP_WEBSOCKET_PROTOCOL         1002
#define NGX_XMPP_WEBSOCKET_NOT_TEXT         1003
#define NGX_XMPP_WEBSOCKET_NO_CODE          1005    /* never sent */
#define NGX_XMPP_WEBSOCKET_NOT_UTF8         1007
#define NGX_XMPP_WEBSOCKET_POLICY           1008
#define NGX_XMPP_WEBSOCKET_TOO_BIG          1009
#define NGX_XMPP_WEBSOCKET_INTERNAL         1011
#define NGX_XMPP_WEBSOCKET_RESTART          1012
#define NGX_XMPP_WEBSOCKET_LATER            1013


typedef struct {
    ngx_array_t                *origins;        /* of ngx_str_t; NULL: any */
    ngx_array_t                *proxies;        /* of ngx_cidr_t; NULL: none */
    ngx_http_complex_value_t   *other;          /* see-other-uri, or NULL */
} ngx_xmpp_websocket_loc_conf_t;


/* an xmpp_websocket, noted for the checks when all was read */
typedef struct {
    ngx_http_core_srv_conf_t       *server;
    ngx_xmpp_websocket_loc_conf_t  *conf;
    ngx_str_t                       file;
    ngx_uint_t                      line;
} ngx_xmpp_websocket_place_t;


typedef struct {
    ngx_array_t                 places;         /* of the above */
    ngx_xmpp_main_conf_t       *xmpp;           /* of stream{} */
    ngx_xmpp_srv_conf_t        *server;         /* limits: those of stream{} */
} ngx_xmpp_websocket_main_conf_t;


/* one WebSocket connection, from c->pool: it outlives the request */
typedef struct {
    ngx_xmpp_stream_t          *stream;
    ngx_http_request_t         *request;
    ngx_http_log_handler_pt     log_handler;    /* nginx's */
    ngx_str_t                   other;          /* see-other-uri; len 0: none */

    ngx_xmpp_frame_t            frame;
    ngx_xmpp_packet_t          *control;        /* the answer to a control
                                                   frame, being read */
    size_t                      filled;         /* bytes in it */
    size_t                      message;        /* bytes of the message, with
                                                   the heads of its frames */
    ngx_uint_t                  code;           /* of our Close frame; 0: what
                                                   the error says */
    unsigned                    started:1;      /* a message has begun */
    unsigned                    begun:1;        /* and its element */
    unsigned                    whole:1;        /* which is complete */
} ngx_xmpp_websocket_t;


extern const ngx_xmpp_transport_t  ngx_xmpp_websocket_transport;
extern ngx_module_t                ngx_xmpp_websocket_module;


/* for the postconfiguration of http{}; NGX_OK or NGX_ERROR */
ngx_int_t ngx_xmpp_websocket_check(ngx_conf_t *cf);

/*
 * Whether the request is a handshake that may be answered: 101, or the status
 * of the refusal (the reason is logged, fields of the answer are set), or
 * NGX_ERROR.  *accept has room for NGX_XMPP_WEBSOCKET_ACCEPT bytes.
 */
ngx_int_t ngx_xmpp_websocket_handshake(ngx_http_request_t *r,
    ngx_xmpp_websocket_loc_conf_t *lcf, u_char *accept);

/* of Sec-WebSocket-Accept: SHA-1 in Base64 */
#define NGX_XMPP_WEBSOCKET_ACCEPT           28


/* takes the connection of a request over; NGX_DONE or NGX_ERROR */
ngx_int_t ngx_xmpp_websocket_start(ngx_http_request_t *r,
    ngx_xmpp_websocket_main_conf_t *mcf, ngx_str_t *other, u_char *accept);

/* the stream of a request, or NULL */
ngx_xmpp_stream_t *ngx_xmpp_websocket_stream(ngx_http_request_t *r);

/* members of ngx_xmpp_transport_t: what is said (ngx_xmpp_websocket_words.c) */
ngx_int_t ngx_xmpp_websocket_open(ngx_xmpp_stream_t *st);
ngx_int_t ngx_xmpp_websocket_nonza(ngx_xmpp_stream_t *st, const char *name,
    ngx_xmpp_xml_t *e);
ngx_int_t ngx_xmpp_websocket_last_words(ngx_xmpp_stream_t *st,
    ngx_xmpp_stream_error_e error, const char *text);
void ngx_xmpp_websocket_close(ngx_xmpp_stream_t *st,
    ngx_xmpp_stream_error_e error, const char *text);
ngx_int_t ngx_xmpp_websocket_ping(ngx_xmpp_stream_t *st);


#endif /* _NGX_XMPP_WEBSOCKET_H_INCLUDED_ */
