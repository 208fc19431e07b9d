/*
 * What is counted, and where: a slot of shared memory for each worker
 * (ngx_xmpp_stats.c).  Included by ngx_xmpp.h.
 *
 * Counters only grow, whichever worker has the slot; gauges are those of the
 * worker that has it now.  Both are structures of uint64_t alone, which are
 * summed as arrays.
 */


#ifndef _NGX_XMPP_STATS_H_INCLUDED_
#define _NGX_XMPP_STATS_H_INCLUDED_


/* directions */
#define NGX_XMPP_STATS_RECEIVED         0
#define NGX_XMPP_STATS_SENT             1
#define NGX_XMPP_STATS_DIRECTIONS       2

/* kinds, by the first letter of a stanza */
#define ngx_xmpp_stats_kind(c)          ((c) == 'm' ? 0 : (c) == 'p' ? 1 : 2)
#define NGX_XMPP_STATS_KINDS            3

/* mechanisms of SASL, and one for all others */
#define NGX_XMPP_STATS_MECHANISMS       11


typedef enum {
    NGX_XMPP_STATS_SUCCESS = 0,
    NGX_XMPP_STATS_FAILED,              /* nobody was, who he said to be */
    NGX_XMPP_STATS_REFUSED,             /* it proved nothing */
    NGX_XMPP_STATS_UNAVAILABLE,         /* temporary-auth-failure */
    NGX_XMPP_STATS_ABORTED,             /* by the client */
    NGX_XMPP_STATS_OUTCOMES
} ngx_xmpp_stats_outcome_e;


/* what became of a stanza to an account */
typedef enum {
    NGX_XMPP_STATS_LOCAL = 0,           /* to a session of this worker */
    NGX_XMPP_STATS_REDIS,               /* a bell was rung and heard */
    NGX_XMPP_STATS_KEPT,                /* in the inbox, nobody heard */
    NGX_XMPP_STATS_NOBODY,              /* is there, or it is full */
    NGX_XMPP_STATS_AWAY,                /* Redis is: it did not run */
    NGX_XMPP_STATS_UNKNOWN,             /* it may have run */
    NGX_XMPP_STATS_PATHS
} ngx_xmpp_stats_path_e;


typedef enum {
    NGX_XMPP_STATS_HERE = 0,            /* in the worker that held it */
    NGX_XMPP_STATS_TAKEN,               /* from another one */
    NGX_XMPP_STATS_NOT_FOUND,
    NGX_XMPP_STATS_RESUMES
} ngx_xmpp_stats_resume_e;


typedef struct {
    uint64_t                    streams[NGX_XMPP_TRANSPORTS];  /* begun */
    uint64_t                    closed[NGX_XMPP_SE_DROP + 1];
    uint64_t                    bytes[NGX_XMPP_STATS_DIRECTIONS];
    uint64_t                    logins[NGX_XMPP_STATS_MECHANISMS]
                                      [NGX_XMPP_STATS_OUTCOMES];
    uint64_t                    stanzas[NGX_XMPP_STATS_DIRECTIONS]
                                       [NGX_XMPP_STATS_KINDS];
    uint64_t                    routed[NGX_XMPP_STATS_PATHS];
    uint64_t                    errors[NGX_XMPP_E_CONDITIONS];
    uint64_t                    bound;
    uint64_t                    detached;
    uint64_t                    resumed[NGX_XMPP_STATS_RESUMES];
    uint64_t                    reaped_workers;
    uint64_t                    reaped_sessions;
    ngx_xmpp_redis_counters_t   redis;
} ngx_xmpp_counters_t;


typedef struct {
    uint64_t                    streams[NGX_XMPP_TRANSPORTS];
    uint64_t                    sessions[NGX_XMPP_TRANSPORTS];  /* bound */
    uint64_t                    detached;
    uint64_t                    leaves;         /* ends of sessions */
    uint64_t                    output;         /* bytes queued for clients */
    ngx_xmpp_redis_gauges_t     redis;
} ngx_xmpp_gauges_t;


/* of one worker */
typedef struct {
    ngx_atomic_t                pid;            /* 0: it has ended */
    time_t                      started;
    ngx_uint_t                  worker;         /* its number, for nginx */
    ngx_uint_t                  cluster;        /* workers that it knows of */
    ngx_uint_t                  draining;       /* unsigned  draining:1; */
    ngx_xmpp_counters_t         counters;
    ngx_xmpp_gauges_t           gauges;
} ngx_xmpp_stats_t;


/* of all workers of the host: what ngx_xmpp_stats_read() makes */
typedef struct {
    ngx_uint_t                  workers;        /* alive, in elts */
    ngx_xmpp_stats_t           *elts;
    time_t                      since;          /* that the zone is there */
    ngx_uint_t                  cluster;
    ngx_uint_t                  draining;
    ngx_xmpp_counters_t         counters;       /* of those that ended, too */
    ngx_xmpp_gauges_t           gauges;
} ngx_xmpp_stats_host_t;


extern ngx_str_t  ngx_xmpp_stats_mechanisms[];
extern ngx_str_t  ngx_xmpp_stats_transports[];

ngx_shm_zone_t *ngx_xmpp_stats_zone(ngx_conf_t *cf);
void ngx_xmpp_stats_asked(ngx_shm_zone_t *zone, ngx_conf_t *cf);
ngx_int_t ngx_xmpp_stats_init(ngx_xmpp_worker_t *w, ngx_shm_zone_t *zone);
void ngx_xmpp_stats_exit(ngx_xmpp_worker_t *w);
ngx_int_t ngx_xmpp_stats_read(ngx_shm_zone_t *zone, ngx_pool_t *pool,
    ngx_xmpp_stats_host_t *host);
void ngx_xmpp_stats_login(ngx_xmpp_worker_t *w, ngx_str_t *mechanism,
    ngx_xmpp_stats_outcome_e outcome);
void ngx_xmpp_stats_routed(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_stats_path_e path);
void ngx_xmpp_stats_sent(ngx_xmpp_stream_t *st, ngx_xmpp_packet_t *pkt);


#endif /* _NGX_XMPP_STATS_H_INCLUDED_ */
