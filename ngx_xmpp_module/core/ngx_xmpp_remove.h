/*
 * The removal of an account by a worker (core/ngx_xmpp_remove.c).
 */


#ifndef _NGX_XMPP_REMOVE_H_INCLUDED_
#define _NGX_XMPP_REMOVE_H_INCLUDED_


/*
 * Removes the account of a prepared bare JID of a domain of ours, with all that
 * it has, as xmppctl deluser does.  The removal is the worker's: it goes on
 * without whoever has asked for it, and another worker completes it when this
 * one dies; until it is complete, nobody gets the name.  Everything is copied.
 * created: that of the user's session, whose account it has to be; 0: whoever
 * has the name.
 *
 * done(data, rc), if any, is called later, once, when the first step is
 * answered: NGX_OK: the account is gone, nobody logs in any more, and a bell
 * ends its sessions everywhere; what contacts have to hear follows;
 * NGX_DECLINED: there is no such account; NGX_AGAIN: Redis is away, it has not
 * been removed; NGX_ERROR: it may have been, and then it is completed.  Returns
 * NGX_OK, or NGX_ERROR: done is not called, nothing is removed.
 */
ngx_int_t ngx_xmpp_remove(ngx_xmpp_worker_t *w, ngx_str_t *bare,
    uint64_t created, void (*done)(void *data, ngx_int_t rc), void *data);

/*
 * Goes on with what sid, on the list of a worker that has died, has begun; does
 * not begin it.  ended(data, rc), once, maybe from within: NGX_DECLINED:
 * nothing is left of it, and it is off the list; NGX_ERROR: it stays there.
 * Returns NGX_OK, or NGX_ERROR: ended is not called.
 */
ngx_int_t ngx_xmpp_remove_again(ngx_xmpp_worker_t *w, ngx_str_t *bare,
    ngx_str_t *boot, ngx_str_t *sid, void (*ended)(void *data, ngx_int_t rc),
    void *data);

/* Redis may be back; the event's data is the worker */
void ngx_xmpp_remove_again_handler(ngx_event_t *ev);

/* the worker ends, and the store is closed: others go on */
void ngx_xmpp_remove_exit(ngx_xmpp_worker_t *w);


/* what a contact has to hear (core/ngx_xmpp_farewell.c), as xmpp1_removed */
#define NGX_XMPP_FAREWELL_UNSUBSCRIBE   1
#define NGX_XMPP_FAREWELL_UNSUBSCRIBED  2
#define NGX_XMPP_FAREWELL_UNAVAILABLE   4

typedef struct {
    ngx_xmpp_worker_t          *worker;
    ngx_pool_t                 *pool;           /* of the requests */
    ngx_str_t                   user;           /* a bare JID */
    ngx_str_t                   resources;      /* lines, for this call */
    void                      (*answer)(void *data, ngx_int_t rc);
    void                       *data;
    ngx_uint_t                  sent;           /* so many answers come */
} ngx_xmpp_farewell_t;

/*
 * Tells one contact of the removal of fw->user's account; fw->sent is raised by
 * each answer that will come, never from within: NGX_OK, NGX_DECLINED: nothing
 * came of it, or that it is not known.  NGX_OK, or NGX_ERROR: not all was sent.
 */
ngx_int_t ngx_xmpp_farewell(ngx_xmpp_farewell_t *fw, ngx_str_t *contact,
    ngx_uint_t what);


#endif /* _NGX_XMPP_REMOVE_H_INCLUDED_ */
