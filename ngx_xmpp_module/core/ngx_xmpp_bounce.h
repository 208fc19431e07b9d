/*
 * What a client did not acknowledge of a session that has ended
 * (core/ngx_xmpp_bounce.c).  Part of ngx_xmpp.h.
 */


#ifndef _NGX_XMPP_BOUNCE_H_INCLUDED_
#define _NGX_XMPP_BOUNCE_H_INCLUDED_


typedef struct ngx_xmpp_bounce_s        ngx_xmpp_bounce_t;


/* takes it from the session, which ends; NULL: nothing, or no memory */
ngx_xmpp_bounce_t *ngx_xmpp_bounce_take(ngx_xmpp_session_t *xs);

/* its record has gone, or is another's: data is the above, rc of no matter */
void ngx_xmpp_bounce(void *data, ngx_int_t rc);

/*
 * The same was written for who has taken the session; res: of that.  When that
 * was too late, iq requests are answered; else it is freed.
 */
void ngx_xmpp_bounce_given(void *data, ngx_xmpp_store_result_t *res);
void ngx_xmpp_bounce_free(ngx_xmpp_bounce_t *b);

/* the worker ends, and the store is closed */
void ngx_xmpp_bounce_exit(ngx_xmpp_worker_t *w);


#endif /* _NGX_XMPP_BOUNCE_H_INCLUDED_ */
