/*
 * Stream management (XEP-0198): what was sent to a client and not acknowledged
 * yet, and how many stanzas of the client were handled (core/ngx_xmpp_ack.c).
 * Part of ngx_xmpp.h.
 */


#ifndef _NGX_XMPP_ACK_H_INCLUDED_
#define _NGX_XMPP_ACK_H_INCLUDED_


#define NGX_XMPP_SM_NS                  "urn:xmpp:sm:3"

/* what a client resumes by: sid "-" token, the token in hex digits */
#define NGX_XMPP_SM_TOKEN               32
#define NGX_XMPP_SM_DIGEST              64      /* of it, in hex digits */
#define NGX_XMPP_SM_ID_MAX              (NGX_XMPP_SID_MAX + 1                 \
                                         + NGX_XMPP_SM_TOKEN)


/* limits of a host */
struct ngx_xmpp_sm_limits_s {
    ngx_uint_t                  stanzas;        /* not acknowledged */
    size_t                      size;           /* bytes of them */
    ngx_msec_t                  ack_timeout;    /* until <r/> is answered */
};


/* of a session whose client asked for it; a block of its own */
struct ngx_xmpp_sm_s {
    ngx_xmpp_session_t         *session;
    ngx_xmpp_sm_limits_t       *limits;
    ngx_xmpp_out_t             *out;            /* not acknowledged */
    ngx_xmpp_out_t            **last_out;
    ngx_uint_t                  n;              /* stanzas of these */
    size_t                      size;           /* bytes of these */
    ngx_uint_t                  skip;           /* of the first packet, which
                                                   are acknowledged */
    uint32_t                    sent;           /* stanzas, modulo 2^32 */
    uint64_t                    base;           /* the session's counter at
                                                   <enable/> */
    ngx_uint_t                  requests;       /* the client's <r/>, not
                                                   answered yet */
    ngx_event_t                 timer;          /* of our <r/>, or until it is
                                                   resumed */

    /* of one that may be resumed */
    ngx_queue_t                 queue;          /* the worker's detached */
    ngx_msec_t                  timeout;        /* 0: it may not be */
    ngx_xmpp_out_t             *next;           /* to be sent again, or NULL:
                                                   all is sent */
    void                      (*resumed)(ngx_xmpp_session_t *xs);
    u_char                      digest[NGX_XMPP_SM_DIGEST];  /* its token's */

    /* what Redis knows of the client's stanzas */
    uint64_t                    life;           /* of their identities */
    uint64_t                    told;           /* so many were handled */
    uint64_t                    telling;        /* will be known */
    ngx_uint_t                  waiting;        /* requests that wait for it */
    ngx_pool_t                 *pool;           /* of that, or NULL */
    ngx_xmpp_store_session_t    record;

    unsigned                    requested:1;    /* our <r/> is out */
    unsigned                    due:1;          /* one is to be sent */
    unsigned                    full:1;         /* the session ends by it */
    unsigned                    detached:1;     /* it has no stream */
    unsigned                    rebuilt:1;      /* what was sent is not known,
                                                   until the client says */
};


ngx_int_t ngx_xmpp_ack_enable(ngx_xmpp_session_t *xs,
    ngx_xmpp_sm_limits_t *limits);
ngx_int_t ngx_xmpp_ack_create(ngx_xmpp_session_t *xs,
    ngx_xmpp_sm_limits_t *limits);
void ngx_xmpp_ack_free(ngx_xmpp_sm_t *sm);

/* what the client says: NGX_DECLINED: h is higher than what it was sent */
void ngx_xmpp_ack_requested(ngx_xmpp_session_t *xs);
ngx_int_t ngx_xmpp_ack_acknowledged(ngx_xmpp_session_t *xs, uint32_t h);

/* how many stanzas of it were handled; what is in flight is not */
uint64_t ngx_xmpp_ack_count(ngx_xmpp_session_t *xs);

/* OUTPUT of a session that has it */
void ngx_xmpp_ack_output(ngx_xmpp_session_t *xs, ngx_xmpp_packet_t *pkt);
ngx_uint_t ngx_xmpp_ack_room(ngx_xmpp_session_t *xs, size_t len);
void ngx_xmpp_ack_flush(ngx_xmpp_stream_t *st);
ngx_int_t ngx_xmpp_ack_probe(ngx_xmpp_session_t *xs);

/* all that the client has sent before was handled; it is answered, when Redis
   knows that */
void ngx_xmpp_ack_handled(ngx_xmpp_session_t *xs);

/* a new stream is bound: what is not acknowledged is sent again */
void ngx_xmpp_ack_again(ngx_xmpp_session_t *xs);

/* the stream is gone: nobody waits for an answer, or has to give one */
void ngx_xmpp_ack_parted(ngx_xmpp_session_t *xs);

/* the queue begins with what is not acknowledged */
void ngx_xmpp_ack_trim(ngx_xmpp_session_t *xs);


/*
 * What it sends may have been handled before, in another worker: the client
 * resumes there and sends it again, while this one stands still, or the other
 * way round (cluster.md, rule 2).  core/ngx_xmpp_repeat.c
 */
void ngx_xmpp_repeat_identify(ngx_xmpp_store_route_t *r,
    ngx_xmpp_store_stanza_t *stanzas, ngx_xmpp_stanza_t *stz);


/* ---- without a stream (core/ngx_xmpp_detach.c) ---- */

/* of a session whose client may come back, in its record */
#define NGX_XMPP_DETACH_FLAG            'd'

ngx_int_t ngx_xmpp_detach(ngx_xmpp_session_t *xs,
    ngx_xmpp_stream_error_e error);
void ngx_xmpp_detach_wait(ngx_xmpp_session_t *xs, ngx_msec_t left);
void ngx_xmpp_detach_mark(ngx_xmpp_session_t *xs, ngx_uint_t on);
void ngx_xmpp_detach_end(ngx_xmpp_session_t *xs);
void ngx_xmpp_detach_record(ngx_xmpp_session_t *xs, ngx_xmpp_store_sm_t *sm);
void ngx_xmpp_detach_put_back(ngx_xmpp_session_t *xs);
void ngx_xmpp_detach_ended(ngx_xmpp_session_t *xs);
void ngx_xmpp_detach_drain(ngx_xmpp_worker_t *w, ngx_uint_t n);

/* a client comes back */
ngx_int_t ngx_xmpp_detach_id(ngx_str_t *id, ngx_str_t *sid, ngx_str_t *token);
ngx_int_t ngx_xmpp_detach_digest(ngx_str_t *token, u_char *hex);
ngx_xmpp_session_t *ngx_xmpp_detach_find(ngx_xmpp_stream_t *st,
    ngx_str_t *tag, ngx_str_t *sid, ngx_str_t *token);
void ngx_xmpp_detach_resume(ngx_xmpp_session_t *xs, ngx_xmpp_stream_t *st,
    void (*resumed)(ngx_xmpp_session_t *xs));


#endif /* _NGX_XMPP_ACK_H_INCLUDED_ */
