/*
 * Who lives, and who cleans up after those who do not.  Part of ngx_xmpp.h.
 */


#ifndef _NGX_XMPP_REAPER_H_INCLUDED_
#define _NGX_XMPP_REAPER_H_INCLUDED_


/* ---- this worker lives (core/ngx_xmpp_heartbeat.c) ---- */

ngx_int_t ngx_xmpp_heartbeat_init(ngx_xmpp_worker_t *w, ngx_msec_t interval);
void ngx_xmpp_heartbeat_ready(ngx_xmpp_worker_t *w);
void ngx_xmpp_heartbeat_exit(ngx_xmpp_worker_t *w);

/* its list of sessions */
void ngx_xmpp_heartbeat_list(ngx_xmpp_session_t *xs);
void ngx_xmpp_heartbeat_unlist(ngx_xmpp_worker_t *w, ngx_str_t *boot,
    ngx_str_t *sid);
void ngx_xmpp_heartbeat_ended(ngx_xmpp_session_t *xs);


/* ---- others do not (core/ngx_xmpp_reaper.c) ---- */

ngx_int_t ngx_xmpp_reaper_init(ngx_xmpp_worker_t *w, ngx_msec_t interval);
void ngx_xmpp_reaper_seen(ngx_xmpp_worker_t *w, redisReply *reply);
void ngx_xmpp_reaper_stop(ngx_xmpp_worker_t *w);
ngx_uint_t ngx_xmpp_reaper_stopped(ngx_xmpp_worker_t *w);
void ngx_xmpp_reaper_exit(ngx_xmpp_worker_t *w);


/* ---- what they were told wrongly (core/ngx_xmpp_return.c) ---- */

void ngx_xmpp_return(ngx_xmpp_session_t *xs);
void ngx_xmpp_return_exit(ngx_xmpp_worker_t *w);


#endif /* _NGX_XMPP_REAPER_H_INCLUDED_ */
