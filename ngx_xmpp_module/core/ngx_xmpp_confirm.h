/*
 * Bells of messages that replicas may not have yet (ngx_xmpp_confirm.c).  Part
 * of ngx_xmpp.h.
 */


#ifndef _NGX_XMPP_CONFIRM_H_INCLUDED_
#define _NGX_XMPP_CONFIRM_H_INCLUDED_


/*
 * Returns who is told of bells, with the worker as data: the registry, or, with
 * xmpp_durability replicas=N, this, which tells the registry at once or later.
 */
ngx_xmpp_store_bell_pt ngx_xmpp_confirm_init(ngx_xmpp_worker_t *w,
    ngx_xmpp_main_conf_t *xmcf);

/* a connection to Redis is gone: nothing that waits will be confirmed */
void ngx_xmpp_confirm_lost(ngx_xmpp_worker_t *w);

/* the account has no session here any more: what waits for it goes */
void ngx_xmpp_confirm_leave(ngx_xmpp_account_t *a);

/* core/ngx_xmpp_registry.c: what becomes of one that is not confirmed */
void ngx_xmpp_registry_unsure(ngx_xmpp_account_t *a,
    ngx_xmpp_store_bell_t *bell, ngx_uint_t lacking);

/* the worker ends */
void ngx_xmpp_confirm_exit(ngx_xmpp_worker_t *w);


#endif /* _NGX_XMPP_CONFIRM_H_INCLUDED_ */
