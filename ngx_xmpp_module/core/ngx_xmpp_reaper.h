/*
 * Who lives, and who cleans up after those who do not.  Part of ngx_xmpp.h.
 */


#ifndef _NGX_XMPP_REAPER_H_INCLUDED_
#define _NGX_XMPP_REAPER_H_INCLUDED_


/* what a worker says of itself with each beat, "interval sessions host"; with
   the counter before it */
#define NGX_XMPP_BEAT_HOST              40      /* longer names are cut */
#define NGX_XMPP_BEAT_MAX               (2 * (NGX_INT64_LEN + 1)              \
                                         + NGX_XMPP_BEAT_HOST)
#define NGX_XMPP_BEAT_VALUE             (NGX_INT64_LEN + 1 + NGX_XMPP_BEAT_MAX)

#define ngx_xmpp_beat_host_len(cycle)                                         \
    ngx_min((cycle)->hostname.len, NGX_XMPP_BEAT_HOST)


/* a host, as the beats of its workers tell */
typedef struct {
    ngx_str_t                   name;           /* len 0: not told */
    ngx_uint_t                  workers;
    uint64_t                    sessions;
} ngx_xmpp_beat_host_t;


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
ngx_int_t ngx_xmpp_reaper_hosts(ngx_xmpp_worker_t *w, ngx_array_t *hosts);
void ngx_xmpp_reaper_stop(ngx_xmpp_worker_t *w);
ngx_uint_t ngx_xmpp_reaper_stopped(ngx_xmpp_worker_t *w);
void ngx_xmpp_reaper_exit(ngx_xmpp_worker_t *w);


/* ---- what they were told wrongly (core/ngx_xmpp_return.c) ---- */

void ngx_xmpp_return(ngx_xmpp_session_t *xs);
void ngx_xmpp_return_exit(ngx_xmpp_worker_t *w);


#endif /* _NGX_XMPP_REAPER_H_INCLUDED_ */
