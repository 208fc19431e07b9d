/*
 * Presence to contacts, and the end of a session, whose contacts are told
 * before its record goes.  Part of ngx_xmpp.h.
 */


#ifndef _NGX_XMPP_LEAVE_H_INCLUDED_
#define _NGX_XMPP_LEAVE_H_INCLUDED_


/*
 * ---- their end in Redis (core/ngx_xmpp_leave.c) ----
 *
 * ngx_xmpp_leave() ends the record of any session, of this worker or of one
 * that has died: tells its contacts and its account's other resources that it
 * is unavailable, then takes the record away.  Whoever holds another epoch is
 * left alone.
 */

/* somebody who got directed presence, from the heap */
typedef struct {
    ngx_queue_t                 queue;
    uint32_t                    hash;           /* crc32 of the bare JID */
    size_t                      bare;           /* its length */
    size_t                      len;
    unsigned                    known:1;        /* is told as a contact */
    u_char                      data[1];        /* the JID */
} ngx_xmpp_directed_t;

typedef struct {
    ngx_str_t                   bare;           /* prepared */
    ngx_str_t                   resource;
    ngx_str_t                   sid;
    ngx_str_t                   boot;           /* len 0: this worker's, or
                                                   any; else of one that died:
                                                   only its, and once */
    uint64_t                    epoch;          /* 0: not known */
    uint64_t                    counter;        /* of what sid sent last */
    ngx_queue_t                *directed;       /* or NULL */
    void                      (*done)(void *data, ngx_int_t rc);
    void                       *data;
    unsigned                    held:1;         /* sid, which goes on, took it
                                                   from the one that went */
    unsigned                    listed:1;       /* on the list of its worker */
    unsigned                    own:1;          /* only while the record has
                                                   this worker's boot id */
} ngx_xmpp_leaving_t;

ngx_int_t ngx_xmpp_leave(ngx_xmpp_worker_t *w, ngx_xmpp_leaving_t *l);
void ngx_xmpp_leave_removed(ngx_xmpp_worker_t *w, ngx_xmpp_leaving_t *l);
void ngx_xmpp_leave_again_handler(ngx_event_t *ev);
void ngx_xmpp_leave_exit(ngx_xmpp_worker_t *w);
void ngx_xmpp_directed_free(ngx_queue_t *directed);


/* ---- presence to contacts (core/ngx_xmpp_tell.c) ---- */

struct ngx_xmpp_tell_s {
    ngx_queue_t                 queue;          /* worker's tells */
    ngx_xmpp_worker_t          *worker;
    ngx_str_t                   user;           /* whose: the bare JID */
    ngx_str_t                   from;           /* the full one */
    ngx_str_t                   contacts;       /* lines, those to come */
    ngx_str_t                   stanza;
    ngx_xmpp_session_t         *session;        /* is answered, or NULL */
    void                      (*sent)(void *data);
    void                      (*done)(void *data, ngx_int_t rc);
    void                       *data;
    unsigned                    once:1;         /* not on a new connection */
    unsigned                    absent:1;       /* the session hears of those
                                                   who are not available */

    /* its own */
    ngx_pool_t                 *pool;           /* of a window, or NULL */
    ngx_str_t                   before;         /* the stanza, around "to" */
    ngx_str_t                   after;
    ngx_uint_t                  flight;         /* answers to come */
    ngx_uint_t                  lost;           /* that did not come */
    unsigned                    written:1;      /* all of them, or given up */
    unsigned                    given_up:1;
};

ngx_int_t ngx_xmpp_tell_start(ngx_xmpp_tell_t *t);
ngx_int_t ngx_xmpp_tell_contacts(ngx_pool_t *pool, redisReply *reply, size_t n,
    ngx_str_t *contacts);
void ngx_xmpp_tell_give(ngx_xmpp_session_t *xs, redisReply *reply);
void ngx_xmpp_tell_directed(ngx_xmpp_tell_t *t, ngx_queue_t *directed,
    ngx_uint_t own, ngx_str_t *stanza, ngx_str_t *sid, uint64_t *counter);


/* ---- what is held back from a session (core/ngx_xmpp_session_hold.c) ---- */

void ngx_xmpp_session_hold(ngx_xmpp_session_t *xs);
void ngx_xmpp_session_release(ngx_xmpp_session_t *xs);

/*
 * Of what waits, what has rung before the message with this number goes out:
 * all that is in front of such a message, and that; kept: only messages that
 * are kept, whatever else waits in front of them.
 */
void ngx_xmpp_session_older(ngx_xmpp_session_t *xs, uint64_t number,
    ngx_uint_t kept);

/* OUTPUT of what comes from others */
void ngx_xmpp_session_deliver(ngx_xmpp_session_t *xs,
    ngx_xmpp_packet_t *pkt);


#endif /* _NGX_XMPP_LEAVE_H_INCLUDED_ */
