/*
 * Sessions that may be resumed (XEP-0198, 5), in Redis.  Part of
 * ngx_xmpp_store.h, whose rules for requests these follow.
 */


#ifndef _NGX_XMPP_STORE_SM_H_INCLUDED_
#define _NGX_XMPP_STORE_SM_H_INCLUDED_


/* of a session that may be resumed (XEP-0198, 5) */
typedef struct {
    ngx_str_t                 digest;         /* of its token */
    ngx_msec_t                timeout;        /* to resume */
    uint64_t                  base;           /* its counter at the start */
    uint64_t                  handled;        /* its client's stanzas since */
    uint64_t                  life;           /* of their identities */
} ngx_xmpp_store_sm_t;

/* who takes one from another worker */
typedef struct {
    ngx_str_t                 boot;           /* of this worker */
    uint64_t                  attempt;        /* so many of it */
    ngx_str_t                 digest;         /* len 0: for no client */
    ngx_str_t                 dead;           /* whose it has to be; len 0:
                                                 anybody's */
    uint64_t                  asked;          /* when its client came, as
                                                 ngx_xmpp_store_sm_asked() says;
                                                 0: there is none */
} ngx_xmpp_store_take_t;

/* what he gets: slices of the reply */
typedef struct {
    ngx_str_t                 state;          /* of the record */
    ngx_str_t                 flags;
    ngx_xmpp_store_sm_t       sm;
    ngx_str_t                 written;        /* by who had it; len 0: he did
                                                 not */
    uint64_t                  created;        /* the account; 0: not known */
    ngx_str_t                 blocked;        /* its block list, as lines */
    ngx_msec_t                left;           /* of the timeout */
    uint64_t                  previous;       /* bells up to it have rung when
                                                 it was taken; 0: not known */
} ngx_xmpp_store_opened_t;

#define NGX_XMPP_STORE_SM_OPENED      12      /* elements, from the third on */

/*
 * One Function: the session may be resumed.  DECLINED: fenced.  again: nobody
 * waits for it; Redis may have lost that.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_sm_enable(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss, ngx_xmpp_store_sm_t *sm,
    ngx_xmpp_store_handler_pt handler, void *data);
void ngx_xmpp_store_sm_again(ngx_xmpp_store_t *store,
    ngx_xmpp_store_session_t *ss, ngx_xmpp_store_sm_t *sm);

/* One Function: so many stanzas of its client were handled; the same */
ngx_xmpp_store_req_t *ngx_xmpp_store_sm_handled(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss, uint64_t handled,
    ngx_xmpp_store_handler_pt handler, void *data);

/* one Function that nobody waits for: whether the session has a connection */
void ngx_xmpp_store_detached(ngx_xmpp_store_t *store,
    ngx_xmpp_store_session_t *ss, ngx_uint_t detached);

/*
 * The same, of a session that could have been resumed and has ended: sm has
 * the digest and how many stanzas of its client were handled.
 */
void ngx_xmpp_store_sm_end(ngx_xmpp_store_t *store,
    ngx_xmpp_store_session_t *ss, ngx_xmpp_store_sm_t *sm);

/*
 * One Function: what is known of such a session, for whoever has the token.
 * res->epoch: how many stanzas of its client were handled, at least; the third
 * element of the reply is its resource, if it may be taken.  DECLINED: nothing.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_sm_find(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_str_t *tag, ngx_str_t *sid, ngx_str_t *digest,
    ngx_xmpp_store_handler_pt handler, void *data);

/* when that was, of such a reply with a resource: of two the later one wins */
uint64_t ngx_xmpp_store_sm_asked(redisReply *reply);

/*
 * One Function: the session's record is this worker's, with a higher epoch,
 * res->epoch, and res->number is that of the bell by which its holder hears it.
 * What ngx_xmpp_store_sm_opened() does not read is to be opened, when the
 * holder has written, or does not.  DECLINED: it may not be taken.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_sm_take(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss,
    ngx_xmpp_store_take_t *take, ngx_xmpp_store_handler_pt handler,
    void *data);
ngx_xmpp_store_req_t *ngx_xmpp_store_sm_open(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss,
    ngx_xmpp_store_handler_pt handler, void *data);

/* NGX_OK, *o is filled; NGX_DECLINED: it is not open */
ngx_int_t ngx_xmpp_store_sm_opened(redisReply *reply,
    ngx_xmpp_store_opened_t *o);

/*
 * One Function: what belongs to a session, for the worker that has taken it, or
 * whoever does; all is copied.  Nobody need wait for it: handler may be NULL.
 * DECLINED: it is too late.  NGX_ERROR: handler is not called.
 */
ngx_int_t ngx_xmpp_store_sm_write(ngx_xmpp_store_t *store,
    ngx_xmpp_store_session_t *ss, uint64_t handled, ngx_str_t *state,
    ngx_xmpp_store_handler_pt handler, void *data);


#endif /* _NGX_XMPP_STORE_SM_H_INCLUDED_ */
