/*
 * Transports: the table through which the core and the negotiation reach the
 * connection under a stream.  Neither knows what nginx has it in, a session of
 * stream{} or a request of http{}.  Part of ngx_xmpp.h.
 */


#ifndef _NGX_XMPP_TRANSPORT_H_INCLUDED_
#define _NGX_XMPP_TRANSPORT_H_INCLUDED_


/* channel bindings, in the order in which they are told */
typedef enum {
    NGX_XMPP_BINDING_EXPORTER = 0,              /* RFC 9266 */
    NGX_XMPP_BINDING_END_POINT,                 /* RFC 5929, 4 */
    NGX_XMPP_BINDING_UNIQUE,                    /* RFC 5929, 3 */
    NGX_XMPP_BINDINGS
} ngx_xmpp_binding_e;

#define NGX_XMPP_BINDING_MAX            64      /* bytes */

typedef enum {
    NGX_XMPP_TRANSPORT_TCP = 0,
    NGX_XMPP_TRANSPORT_WEBSOCKET,
    NGX_XMPP_TRANSPORTS
} ngx_xmpp_transport_e;

/* names of a certificate (RFC 6120, 13.7.1.4; RFC 5280, 4.2.1.6) */
#define NGX_XMPP_CERTIFICATE_XMPPADDR   0x02
#define NGX_XMPP_CERTIFICATE_EMAIL      0x04

typedef struct {
    ngx_str_t                   name;
    ngx_xmpp_transport_e        kind;
    ngx_uint_t                  framed;         /* unsigned  framed:1; each
                                                   element is a message of its
                                                   own (RFC 7395, 3.3) */

    /* a stream header of ours: "<stream:stream ...>", "<open/>"; NGX_DONE: it
       has closed the stream instead */
    ngx_int_t                 (*open)(ngx_xmpp_stream_t *st);

    /* features and stream errors carry the stream prefix: e's children */
    ngx_int_t                 (*nonza)(ngx_xmpp_stream_t *st,
                                    const char *name, ngx_xmpp_xml_t *e);

    /* queues bytes; a reference of its own; never frees st */
    ngx_int_t                 (*send)(ngx_xmpp_stream_t *st,
                                    ngx_xmpp_packet_t *pkt);

    /* whether len bytes more leave half of the output queue to others; what
       the socket takes is written before */
    ngx_uint_t                (*room)(ngx_xmpp_stream_t *st, size_t len);

    /* sends the error (if any) and the end, then closes; posted */
    void                      (*close)(ngx_xmpp_stream_t *st,
                                    ngx_xmpp_stream_error_e error,
                                    const char *text);

    /* reading goes on after a parked stanza or nonza; posted */
    void                      (*resume)(ngx_xmpp_stream_t *st);

    /*
     * Writes the binding of this very connection to buf, which has room for
     * NGX_XMPP_BINDING_MAX bytes, and returns its length; 0: there is none of
     * that type.  buf NULL: 1 when it is one to be offered, else 0
     */
    size_t                    (*binding)(ngx_xmpp_stream_t *st,
                                    ngx_xmpp_binding_e type, u_char *buf);

    /*
     * Adds the names, ngx_str_t of any bytes, of the client's certificate,
     * of these kinds; none if it was not verified for st->host
     */
    ngx_int_t                 (*names)(ngx_xmpp_stream_t *st,
                                    ngx_pool_t *pool, ngx_uint_t kinds,
                                    ngx_array_t *names);

    /* st->securing, and all is written: TLS is next; it has begun */
    void                      (*secure)(ngx_xmpp_stream_t *st);
    void                      (*secured)(ngx_xmpp_stream_t *st);

    /* the worker's posted work: read on or finish closing; write */
    void                      (*ready)(ngx_xmpp_stream_t *st);
    void                      (*flush)(ngx_xmpp_stream_t *st);

    /* what was read: see ngx_xmpp_stream_input() */
    ngx_int_t                 (*input)(ngx_xmpp_stream_t *st, u_char **pos,
                                    u_char *last);

    /* queues the error (if any) and the end of the stream */
    ngx_int_t                 (*last_words)(ngx_xmpp_stream_t *st,
                                    ngx_xmpp_stream_error_e error,
                                    const char *text);

    /*
     * NGX_DECLINED: the host asks for a certificate of the client that nobody
     * has looked at for it; else NGX_OK
     */
    ngx_int_t                 (*serves)(ngx_xmpp_stream_t *st,
                                    ngx_xmpp_host_t *h);

    /* a value of the configuration's, for this connection */
    ngx_int_t                 (*value)(ngx_xmpp_stream_t *st,
                                    ngx_pool_t *pool,
                                    ngx_stream_complex_value_t *cv,
                                    ngx_str_t *value);

    /* asks a client that was silent, who answers by any bytes; NULL: by a ping
       of XMPP's own.  NGX_OK or NGX_ERROR: it closes */
    ngx_int_t                 (*ping)(ngx_xmpp_stream_t *st);

    /* the connection goes back to nginx, with this status; st is gone */
    void                      (*finalize)(ngx_xmpp_stream_t *st,
                                    ngx_uint_t status);

    /* nginx's event handlers of the connection */
    ngx_event_handler_pt        read;
    ngx_event_handler_pt        write;
} ngx_xmpp_transport_t;


#endif /* _NGX_XMPP_TRANSPORT_H_INCLUDED_ */
