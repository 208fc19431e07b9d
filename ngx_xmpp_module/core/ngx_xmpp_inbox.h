/*
 * Messages that have to be taken by a session of their recipient: they are in
 * the inbox of his account in Redis until one has.  Part of ngx_xmpp.h.
 */


#ifndef _NGX_XMPP_INBOX_H_INCLUDED_
#define _NGX_XMPP_INBOX_H_INCLUDED_


#define NGX_XMPP_INBOX_ID             (NGX_INT64_LEN + 1 + NGX_INT64_LEN)


/* what a session was given by one bell or page, and Redis still has */
typedef struct {
    uint64_t                    number;
    uint32_t                    index;          /* of the first stanza */
    unsigned                    n:30;           /* stanzas, one after another */
    unsigned                    acks:1;         /* its client acknowledges it */
    unsigned                    waits:1;        /* in one of the queues */
} ngx_xmpp_inbox_given_t;


struct ngx_xmpp_inbox_s {
    ngx_xmpp_session_t         *session;

    /* pages: ngx_xmpp_inbox.c */
    ngx_pool_t                 *pool;           /* of the request, or NULL */
    ngx_xmpp_store_session_t    record;
    ngx_str_t                   last;           /* the last entry in a page */
    u_char                      id[NGX_XMPP_INBOX_ID];
    uint64_t                    number;         /* bells up to it say nothing
                                                   that no page has */
    ngx_event_t                 timer;          /* until it is asked again */

    /* what was given: ngx_xmpp_inbox_taken.c */
    ngx_xmpp_inbox_given_t     *given;          /* from the heap, or NULL */
    ngx_uint_t                  ngiven;
    ngx_uint_t                  nalloc;
    ngx_uint_t                  ntaken;         /* of them, from the first on */
    ngx_uint_t                  nsaid;          /* of those, to Redis */
    ngx_uint_t                  nwritten;       /* taken when it is written */
    ngx_pool_t                 *said;           /* of that request, or NULL */
    ngx_event_t                 due;            /* until they are told */

    unsigned                    active:1;       /* pages are read */
    unsigned                    again:1;        /* and then from the start */
    unsigned                    stalled:1;      /* until the client is back, or
                                                   acknowledges something */
    unsigned                    holding:1;
    unsigned                    late:1;         /* Redis has not answered: what
                                                   rings comes in pages */
    unsigned                    left:1;         /* the socket is gone */
    unsigned                    unsure:1;       /* it has what replicas had
                                                   not: no page without them */
};


/*
 * A message that is stamped: whether it is kept until somebody has taken it,
 * and whether it is worth an archive, stz->archive_received and _sent.
 */
void ngx_xmpp_inbox_prepare(ngx_xmpp_stanza_t *stz);

/* route has declined it, or its batch: why, if the inbox was the reason */
void ngx_xmpp_inbox_full(ngx_xmpp_stanza_t *stz, ngx_xmpp_store_result_t *res);

/*
 * The session's presence was stored, by the Function whose reply this is: when
 * the inbox holds something for it, it is handed out.  What comes from others
 * is held back meanwhile.  Returns at once.
 */
void ngx_xmpp_inbox_present(ngx_xmpp_session_t *xs, redisReply *reply);

/*
 * The same, when it is known that the inbox holds something, or when a bell may
 * have been missed; what the session was given by then is left out.
 */
void ngx_xmpp_inbox_begin(ngx_xmpp_session_t *xs);

/*
 * The same, soon: something was kept for it, and may not last.  What is kept
 * and rings by then comes behind it.  lacking: not before replicas have it.
 */
void ngx_xmpp_inbox_unsure(ngx_xmpp_session_t *xs, ngx_uint_t lacking);

/*
 * The session's client is back on another stream, or has acknowledged something
 * (XEP-0198): what has waited for that goes on.
 */
void ngx_xmpp_inbox_resume(ngx_xmpp_session_t *xs, ngx_uint_t back);

/* of the session's pool, made when it is needed; NULL: no memory */
ngx_xmpp_inbox_t *ngx_xmpp_inbox_get(ngx_xmpp_session_t *xs);

/*
 * Gives a session a packet with a number, that a bell has brought, unless it
 * has got that before, from a page.  Without memory it may get it once more
 * later.
 */
void ngx_xmpp_inbox_deliver(ngx_xmpp_session_t *xs, ngx_xmpp_packet_t *pkt);

/*
 * The same for what a page has: nothing holds it back, and what is held back
 * and older goes out before it.
 */
void ngx_xmpp_inbox_give(ngx_xmpp_session_t *xs, ngx_xmpp_packet_t *pkt);

/* what is held back for it and is kept is not given to it: pages have it */
void ngx_xmpp_inbox_unkept(ngx_xmpp_session_t *xs);

/* nothing that a session was given goes to its client: pages have it, too */
void ngx_xmpp_inbox_forget(ngx_xmpp_session_t *xs);

/* a while after a session was given something: Redis hears what was taken */
void ngx_xmpp_inbox_due_handler(ngx_event_t *ev);

/* the client acknowledges what it is sent from now on (XEP-0198, 3) */
void ngx_xmpp_inbox_acknowledged(ngx_xmpp_session_t *xs);

/*
 * The client has acknowledged (XEP-0198, 4) a packet, whose last entry this is.
 * Redis is told soon.
 */
void ngx_xmpp_inbox_taken(ngx_xmpp_session_t *xs, uint64_t number,
    ngx_uint_t index);

/*
 * What waits to be written to the session's socket is about to be dropped: it
 * is not taken by that.  What is sent again on another stream (XEP-0198, 5) is
 * acknowledged there; the rest stays owed.
 */
void ngx_xmpp_inbox_discard(ngx_xmpp_session_t *xs);

/*
 * The session's socket is about to go, and with it what waits to be written;
 * Redis is told what was taken before.  May be called more than once.
 */
void ngx_xmpp_inbox_leave(ngx_xmpp_session_t *xs);


#endif /* _NGX_XMPP_INBOX_H_INCLUDED_ */
