/*
 * Sessions that may be resumed (XEP-0198, 5) and go from one worker to another.
 * Part of ngx_xmpp.h.
 */


#ifndef _NGX_XMPP_TAKE_H_INCLUDED_
#define _NGX_XMPP_TAKE_H_INCLUDED_


/* who waits for a session that is taken */
typedef struct {
    void                      (*done)(void *data, ngx_xmpp_session_t *xs,
                                    ngx_int_t rc);
    void                       *data;
} ngx_xmpp_taker_t;


/* which session, and for whom */
typedef struct {
    ngx_xmpp_host_t            *host;
    ngx_str_t                   local;          /* prepared */
    ngx_str_t                   resource;
    ngx_str_t                   sid;
    ngx_str_t                   digest;         /* of the token of its client;
                                                   len 0: there is none */
    ngx_str_t                   dead;           /* the boot id of its worker,
                                                   which has died, or len 0 */
    uint64_t                    asked;          /* when it came, or 0 */
    uint64_t                    created;        /* the account, as its client
                                                   found it; 0: not known */
    ngx_xmpp_taker_t            taker;
} ngx_xmpp_taking_t;


/* a session that is being taken, in its pool */
struct ngx_xmpp_take_s {
    ngx_xmpp_session_t         *session;
    ngx_pool_t                 *pool;           /* of a request, or NULL */
    ngx_xmpp_store_session_t    record;
    ngx_xmpp_store_take_t       args;
    u_char                      boot[NGX_XMPP_BOOT_LEN];
    u_char                      dead[NGX_XMPP_BOOT_LEN];
    u_char                      digest[NGX_XMPP_SM_DIGEST];
    uint64_t                    written;        /* the epoch for which its
                                                   holder has */
    uint64_t                    first;          /* the first bell of what is
                                                   kept, or 0 */
    ngx_event_t                 timer;          /* until it is opened, or tried
                                                   again */
    ngx_xmpp_taker_t            client;
    ngx_xmpp_taker_t            reaper;

    unsigned                    asked:1;        /* for the record */
    unsigned                    unknown:1;      /* it may be ours */
    unsigned                    heard:1;        /* the bell of that */
    unsigned                    kicked:1;       /* it is to end */
};


/* ---- taken here (core/ngx_xmpp_take.c) ---- */

ngx_xmpp_take_t *ngx_xmpp_take(ngx_xmpp_worker_t *w, ngx_xmpp_taking_t *t);
void ngx_xmpp_take_leave(ngx_xmpp_take_t *tk, void *data);
void ngx_xmpp_take_subscribed(ngx_xmpp_take_t *tk, ngx_int_t rc);
void ngx_xmpp_take_bell(ngx_xmpp_account_t *a, ngx_xmpp_store_bell_t *bell);

/* something rings for a session that is being taken, and comes for it */
void ngx_xmpp_take_rung(ngx_xmpp_take_t *tk, uint64_t number);
void ngx_xmpp_take_keep(ngx_xmpp_take_t *tk, ngx_xmpp_packet_t *pkt);


/* ---- given away (core/ngx_xmpp_hand.c) ---- */

ngx_uint_t ngx_xmpp_hand_may(ngx_xmpp_session_t *xs);
void ngx_xmpp_hand_taken(ngx_xmpp_session_t *xs, uint64_t epoch,
    ngx_uint_t dead);
ngx_uint_t ngx_xmpp_hand_refused(ngx_xmpp_session_t *xs,
    ngx_xmpp_store_result_t *res);
void ngx_xmpp_hand_finish(ngx_xmpp_session_t *xs);


/* ---- what rang for nobody meanwhile (core/ngx_xmpp_snapshot.c) ---- */

void ngx_xmpp_snapshot(ngx_xmpp_session_t *xs);
void ngx_xmpp_snapshot_exit(ngx_xmpp_worker_t *w);


/* ---- what belongs to one, as text (core/ngx_xmpp_take_state.c) ---- */

ngx_int_t ngx_xmpp_take_write(ngx_pool_t *pool, ngx_xmpp_session_t *xs,
    ngx_queue_t *directed, ngx_str_t *text);
ngx_int_t ngx_xmpp_take_read(ngx_xmpp_session_t *xs, ngx_str_t *text,
    ngx_queue_t *directed);

/*
 * The last bell that whoever has written it has heard; 0: nobody has.  *unheard
 * is 1 when he did not know the presence of others.
 */
uint64_t ngx_xmpp_take_heard(ngx_str_t *text, ngx_uint_t *unheard);


#endif /* _NGX_XMPP_TAKE_H_INCLUDED_ */
