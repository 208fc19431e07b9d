/*
 * What the files of the Redis client share: the request, the connection and
 * the client.  Nobody else includes this.
 *
 *              command()          flush            reply
 *   free list -----------> waiting ------> sent ----------> handler
 *                             ^              |
 *                             +--- REPEAT ---+--> failed --> handler(NULL)
 *                                   lost
 *
 * A durable command that was answered is "held", with its reply, until a WAIT
 * behind it has been answered, too (ngx_xmpp_redis_wait.c).
 *
 * A server that answers LOADING or READONLY is left: nothing more is sent,
 * what it refuses goes to "refused", and when all replies are in, the
 * connection is given up and the refused ones go back to "waiting".
 *
 * setup and setup_sent are the same pair for what goes out before the others
 * on a new connection: the client's own steps (AUTH, PING, ...) and requests
 * with NGX_XMPP_REDIS_SETUP.  They die with their connection.  All requests
 * have the same time to live, so each queue is ordered by deadline and its
 * head is all that a timer has to look at.
 *
 * One event, conn->timer, belongs to the state: it ends the back-off in
 * "idle", is the time limit of "connecting", "securing" and "setup" together,
 * and probes a subscriber or a sentinel in "ready".  conn->deadline belongs to
 * the requests.  Both are cancelable: Redis alone never keeps an old worker.
 */


#ifndef _NGX_XMPP_REDIS_PRIVATE_H_INCLUDED_
#define _NGX_XMPP_REDIS_PRIVATE_H_INCLUDED_


#include "ngx_xmpp_redis.h"


#define NGX_XMPP_REDIS_BUFFER    16384   /* bytes read, and fed, at once */
#define NGX_XMPP_REDIS_READS     16      /* reads in one event-loop turn */
#define NGX_XMPP_REDIS_IOVS      1024    /* requests in one writev() */
#define NGX_XMPP_REDIS_RECORD    16384   /* bytes of a TLS record at most */
#define NGX_XMPP_REDIS_FREE      1024    /* requests kept for reuse */

#define NGX_XMPP_REDIS_PING      15000   /* ms in which a subscriber hears
                                            nothing, before it is probed */
#define NGX_XMPP_REDIS_SILENCES  2       /* probes not heard: it is elsewhere */
#define NGX_XMPP_REDIS_RETRY     50      /* ms, the first back-off */
#define NGX_XMPP_REDIS_RETRY_MAX 1000    /* ms, the longest: requests wait
                                            for seconds only */
#define NGX_XMPP_REDIS_STABLE    1000    /* ms ready that end a back-off */
#define NGX_XMPP_REDIS_REMIND    30000   /* ms between log lines of an outage */

#define NGX_XMPP_REDIS_MARK_TEXT 'c'     /* what confirms begins with */


typedef enum {
    ngx_xmpp_redis_st_idle = 0,      /* no socket; waits for conn->timer */
    ngx_xmpp_redis_st_asking,        /* no socket; waits for a sentinel */
    ngx_xmpp_redis_st_connecting,
    ngx_xmpp_redis_st_securing,      /* the handshake of TLS */
    ngx_xmpp_redis_st_setup,
    ngx_xmpp_redis_st_ready,
    ngx_xmpp_redis_st_closed         /* for good */
} ngx_xmpp_redis_state_e;


/* what a request is, and so what answers it */
typedef enum {
    ngx_xmpp_redis_req_command = 0,
    ngx_xmpp_redis_req_subscribe,
    ngx_xmpp_redis_req_unsubscribe,
    ngx_xmpp_redis_req_ping,         /* the client's own, as all below */
    ngx_xmpp_redis_req_setup_auth,
    ngx_xmpp_redis_req_setup_ping,
    ngx_xmpp_redis_req_setup_name,
    ngx_xmpp_redis_req_setup_select,
    ngx_xmpp_redis_req_setup_role,
    ngx_xmpp_redis_req_setup_master, /* these two of a sentinel */
    ngx_xmpp_redis_req_setup_switch,
    ngx_xmpp_redis_req_wait,
    ngx_xmpp_redis_req_marker        /* what confirms, published */
} ngx_xmpp_redis_kind_e;


/* why a connection is away: indexes of ngx_xmpp_redis_reasons[] */
typedef enum {
    ngx_xmpp_redis_no_socket = 0,
    ngx_xmpp_redis_no_memory,
    ngx_xmpp_redis_no_server,
    ngx_xmpp_redis_no_access,
    ngx_xmpp_redis_no_answer,
    ngx_xmpp_redis_no_tls,
    ngx_xmpp_redis_bad_tls,
    ngx_xmpp_redis_untrusted,
    ngx_xmpp_redis_misnamed,
    ngx_xmpp_redis_closed,
    ngx_xmpp_redis_late,
    ngx_xmpp_redis_protocol,
    ngx_xmpp_redis_refused,
    ngx_xmpp_redis_loading,
    ngx_xmpp_redis_replica,
    ngx_xmpp_redis_elsewhere,
    ngx_xmpp_redis_shutdown,
    ngx_xmpp_redis_moved,
    ngx_xmpp_redis_no_master,
    ngx_xmpp_redis_no_sentinel,
    ngx_xmpp_redis_no_address
} ngx_xmpp_redis_reason_e;


typedef struct ngx_xmpp_redis_conn_s  ngx_xmpp_redis_conn_t;


struct ngx_xmpp_redis_req_s {
    ngx_queue_t                  queue;
    ngx_xmpp_redis_handler_pt    handler;    /* NULL: none, or cancelled */
    void                        *data;
    u_char                      *bytes;      /* as sent, from the heap */
    size_t                       len;
    uint64_t                     sent;       /* when, in microseconds */
    ngx_msec_t                   deadline;
    redisReply                  *reply;      /* while it is held */
    ngx_uint_t                   confirms;   /* WAIT: up to that number */

    unsigned                     kind:4;     /* ngx_xmpp_redis_kind_e */
    unsigned                     status:2;   /* ngx_xmpp_redis_status_e */
    unsigned                     repeat:1;
    unsigned                     mark:1;     /* a repeat says that it is one */
    unsigned                     unknown:1;  /* an earlier try may have run */
    unsigned                     durable:1;  /* held until replicas have it */
    unsigned                     sure:1;     /* durable, and a read */
};


/* a reply on a ready subscriber connection, while it is being parsed */
typedef struct {
    ngx_uint_t                   kind;       /* ngx_xmpp_redis_push_e */
    ngx_str_t                    channel;    /* data is of ngx_alloc() */
    size_t                       size;       /* of channel.data */
    u_char                       error[128];
    size_t                       error_len;
} ngx_xmpp_redis_push_t;


/* ngx_xmpp_redis_probe.c */
typedef struct {
    ngx_xmpp_redis_req_t        *req;        /* under way */
    ngx_uint_t                   number;     /* of the last one */
    ngx_uint_t                   silences;   /* one after the other */

    unsigned                     subscribed:1;
    unsigned                     lively:1;   /* a message came meanwhile */
    unsigned                     asked:1;    /* and these are of it: */
    unsigned                     heard:1;
    unsigned                     answered:1;
    unsigned                     counted:1;
    unsigned                     denied:1;   /* by an ACL */
} ngx_xmpp_redis_probe_t;


/* ngx_xmpp_redis_sentinel.c: the master, as a sentinel has told */
typedef struct {
    ngx_addr_t                   addr;
    ngx_sockaddr_t               sockaddr;
    u_char                       name[NGX_SOCKADDR_STRLEN];
} ngx_xmpp_redis_master_t;


/* ngx_xmpp_redis_wait.c */
typedef struct {
    ngx_event_t                  timer;      /* asks again while lacking */
    ngx_msec_t                   since;
    ngx_msec_t                   logged_at;

    unsigned                     lacking:1;  /* replicas are */
} ngx_xmpp_redis_wait_t;


/* ngx_xmpp_redis_confirm.c: numbers, each for all up to it */
typedef struct {
    ngx_event_t                  timer;      /* until "due" has been heard */
    ngx_uint_t                   asked;
    ngx_uint_t                   sure;       /* replicas have what was heard */
    ngx_uint_t                   heard;      /* the number itself came back */
    ngx_uint_t                   told;
    ngx_uint_t                   due;

    unsigned                     denied:1;   /* by an ACL */
} ngx_xmpp_redis_confirm_t;


struct ngx_xmpp_redis_conn_s {
    ngx_xmpp_redis_t            *client;
    ngx_connection_t            *connection; /* NULL: idle or closed */
    redisReader                 *reader;

    /* debug logs take the data of an event for a connection */
    ngx_socket_t                 fd;

    ngx_addr_t                  *peer;       /* of the last connect */
    ngx_uint_t                   subscriber; /* 0 or 1 */
    ngx_xmpp_redis_state_e       state;
    ngx_event_t                  timer;      /* of the state */
    ngx_event_t                  deadline;   /* of the oldest request */
    ngx_event_t                  flush;      /* posted: something to send */

    ngx_queue_t                  setup;
    ngx_queue_t                  setup_sent;
    ngx_queue_t                  waiting;
    ngx_queue_t                  sent;
    ngx_queue_t                  refused;    /* when leaving: did not run */
    ngx_queue_t                  held;       /* answered, and durable */
    size_t                       offset;     /* written of the next request */
    u_char                      *out;        /* TLS: a record that is being */
    size_t                       out_len;    /* written, of c->pool */

    ngx_uint_t                   steps;      /* setup replies to come */
    ngx_uint_t                   attempts;   /* connects since the last
                                                stable connection */
    ngx_uint_t                   addr;       /* index of the next address */
    ngx_msec_t                   ready_at;

    ngx_msec_t                   down_at;    /* start of this outage */
    ngx_msec_t                   logged_at;
    ngx_uint_t                   reasons;    /* logged ones, a bit each */
    ngx_xmpp_redis_reason_e      leaving_for;
    ngx_log_t                    quiet;      /* silences repeated connects */
    ngx_log_t                    listener;   /* hears what OpenSSL complains */
    u_char                       said[128];  /* about */
    size_t                       said_len;

    ngx_xmpp_redis_push_t        push;       /* of a subscriber */

    unsigned                     sentinel:1; /* to a sentinel */
    unsigned                     down:1;     /* an outage was logged */
    unsigned                     greeting:1; /* in the state handler, ready */
    unsigned                     complained:1;
    unsigned                     leaving:1;  /* lost after the last reply */
    unsigned                     owed:1;     /* durable ones without a WAIT */
    unsigned                     marking:1;  /* to be published before it: a
                                                number, or */
    unsigned                     reading:1;  /* anything */
};


struct ngx_xmpp_redis_s {
    ngx_xmpp_redis_conf_t        conf;
    ngx_xmpp_redis_counters_t   *counters;
    ngx_xmpp_redis_gauges_t     *gauges;
    uint64_t                     now;        /* of the last read or write */
    ngx_log_t                   *log;
    ngx_xmpp_redis_conn_t        conn[3];    /* commands, subscriber,
                                                sentinel: idle without */
    ngx_xmpp_redis_probe_t       probe;
    ngx_xmpp_redis_master_t      master;

    ngx_xmpp_redis_wait_t        wait;
    ngx_xmpp_redis_confirm_t     confirm;

    ngx_queue_t                  failed;     /* handlers to be told */
    ngx_event_t                  fail;       /* posted: failed not empty */

    ngx_queue_t                  free;
    ngx_uint_t                   nfree;
    ngx_uint_t                   npending;
    ngx_uint_t                   ncommands;  /* of npending, conn[0] */
    size_t                       nbytes;     /* of these commands */

    redisReplyObjectFunctions    push_fn;
    u_char                      *buffer;     /* NGX_XMPP_REDIS_BUFFER */
    struct iovec                *iovs;       /* NGX_XMPP_REDIS_IOVS */
};


/* ngx_xmpp_redis.c */

ngx_xmpp_redis_req_t *ngx_xmpp_redis_req_create(ngx_xmpp_redis_t *r,
    ngx_uint_t kind, ngx_uint_t argc, ngx_str_t *argv);
void ngx_xmpp_redis_req_free(ngx_xmpp_redis_t *r, ngx_xmpp_redis_req_t *req);
void ngx_xmpp_redis_req_queue(ngx_xmpp_redis_conn_t *conn,
    ngx_xmpp_redis_req_t *req);
void ngx_xmpp_redis_req_drop(ngx_xmpp_redis_t *r, ngx_xmpp_redis_req_t *req,
    ngx_xmpp_redis_status_e status);
void ngx_xmpp_redis_req_told(ngx_xmpp_redis_t *r, ngx_xmpp_redis_req_t *req,
    redisReply *reply);
void ngx_xmpp_redis_prepend(ngx_queue_t *queue, ngx_queue_t *before);
void ngx_xmpp_redis_req_fail(ngx_xmpp_redis_t *r, ngx_xmpp_redis_req_t *req,
    ngx_xmpp_redis_status_e status);
ngx_int_t ngx_xmpp_redis_reply(ngx_xmpp_redis_conn_t *conn, redisReply *reply);
void ngx_xmpp_redis_reqs_lost(ngx_xmpp_redis_conn_t *conn,
    ngx_uint_t was_ready);
void ngx_xmpp_redis_deadline(ngx_xmpp_redis_conn_t *conn);

/* ngx_xmpp_redis_stats.c */

ngx_int_t ngx_xmpp_redis_stats_init(ngx_xmpp_redis_t *r, ngx_pool_t *pool);
uint64_t ngx_xmpp_redis_now(void);
void ngx_xmpp_redis_answered(ngx_xmpp_redis_t *r, ngx_xmpp_redis_req_t *req,
    redisReply *reply);
void ngx_xmpp_redis_unanswered(ngx_xmpp_redis_t *r, ngx_xmpp_redis_req_t *req,
    ngx_xmpp_redis_status_e status);

/* ngx_xmpp_redis_conn.c */

void ngx_xmpp_redis_conn_init(ngx_xmpp_redis_t *r, ngx_uint_t n);
void ngx_xmpp_redis_conn_start(ngx_xmpp_redis_conn_t *conn);
void ngx_xmpp_redis_conn_connect(ngx_xmpp_redis_conn_t *conn,
    ngx_addr_t *addr);
void ngx_xmpp_redis_conn_setup(ngx_xmpp_redis_conn_t *conn);
void ngx_xmpp_redis_conn_handlers(ngx_xmpp_redis_conn_t *conn);
ngx_int_t ngx_xmpp_redis_conn_ready(ngx_xmpp_redis_conn_t *conn);
void ngx_xmpp_redis_conn_close(ngx_xmpp_redis_conn_t *conn);
void ngx_xmpp_redis_conn_lost(ngx_xmpp_redis_conn_t *conn,
    ngx_xmpp_redis_reason_e reason, ngx_err_t err, ngx_str_t *detail);
ngx_int_t ngx_xmpp_redis_conn_read(ngx_xmpp_redis_conn_t *conn);
void ngx_xmpp_redis_disconnect(ngx_xmpp_redis_conn_t *conn);

/* ngx_xmpp_redis_log.c */

void ngx_xmpp_redis_log_away(ngx_xmpp_redis_conn_t *conn,
    ngx_xmpp_redis_reason_e reason, ngx_err_t err, ngx_str_t *detail);
void ngx_xmpp_redis_log_ready(ngx_xmpp_redis_conn_t *conn);

/* ngx_xmpp_redis_sentinel.c */

void ngx_xmpp_redis_sentinel_ask(ngx_xmpp_redis_t *r);
ngx_msec_t ngx_xmpp_redis_sentinel_time(ngx_xmpp_redis_t *r);
ngx_int_t ngx_xmpp_redis_sentinel_setup(ngx_xmpp_redis_conn_t *conn);
ngx_int_t ngx_xmpp_redis_sentinel_reply(ngx_xmpp_redis_conn_t *conn,
    redisReply *reply);
void ngx_xmpp_redis_sentinel_ready(ngx_xmpp_redis_t *r);
void ngx_xmpp_redis_sentinel_heard(ngx_xmpp_redis_t *r, ngx_str_t *message);
void ngx_xmpp_redis_sentinel_tick(ngx_xmpp_redis_conn_t *conn);

/* ngx_xmpp_redis_send.c */

ngx_int_t ngx_xmpp_redis_req_format(ngx_xmpp_redis_req_t *req,
    ngx_uint_t argc, ngx_str_t *argv);
void ngx_xmpp_redis_conn_post(ngx_xmpp_redis_conn_t *conn);
void ngx_xmpp_redis_conn_flush(ngx_event_t *ev);

/* ngx_xmpp_redis_wait.c */

void ngx_xmpp_redis_wait_init(ngx_xmpp_redis_t *r);
void ngx_xmpp_redis_wait_close(ngx_xmpp_redis_t *r);
void ngx_xmpp_redis_wait_ready(ngx_xmpp_redis_conn_t *conn);
ngx_int_t ngx_xmpp_redis_wait_queue(ngx_xmpp_redis_conn_t *conn);
void ngx_xmpp_redis_wait_hold(ngx_xmpp_redis_conn_t *conn,
    ngx_xmpp_redis_req_t *req, redisReply *reply);
ngx_int_t ngx_xmpp_redis_wait_reply(ngx_xmpp_redis_conn_t *conn,
    ngx_uint_t confirms, redisReply *reply);
void ngx_xmpp_redis_wait_lost(ngx_xmpp_redis_conn_t *conn);

/* ngx_xmpp_redis_confirm.c */

void ngx_xmpp_redis_confirm_init(ngx_xmpp_redis_t *r);
ngx_int_t ngx_xmpp_redis_confirm_queue(ngx_xmpp_redis_conn_t *conn);
void ngx_xmpp_redis_confirm_published(ngx_xmpp_redis_t *r, redisReply *reply);
ngx_uint_t ngx_xmpp_redis_confirm_heard(ngx_xmpp_redis_t *r,
    ngx_str_t *message);
void ngx_xmpp_redis_confirm_sure(ngx_xmpp_redis_t *r, ngx_uint_t n);
void ngx_xmpp_redis_confirm_lacking(ngx_xmpp_redis_t *r);
void ngx_xmpp_redis_confirm_void(ngx_xmpp_redis_t *r);

/* ngx_xmpp_redis_tls.c */

void ngx_xmpp_redis_tls_init(ngx_xmpp_redis_conn_t *conn);
void ngx_xmpp_redis_tls_start(ngx_xmpp_redis_conn_t *conn);
void ngx_xmpp_redis_tls_close(ngx_connection_t *c);

/* ngx_xmpp_redis_probe.c */

void ngx_xmpp_redis_probe_ready(ngx_xmpp_redis_t *r);
void ngx_xmpp_redis_probe_reset(ngx_xmpp_redis_t *r);
ngx_uint_t ngx_xmpp_redis_probe_heard(ngx_xmpp_redis_t *r,
    ngx_str_t *channel, ngx_str_t *message);
void ngx_xmpp_redis_probe_tick(ngx_xmpp_redis_t *r);
void ngx_xmpp_redis_probe_elsewhere(ngx_xmpp_redis_t *r);

/* ngx_xmpp_redis_setup.c */

ngx_int_t ngx_xmpp_redis_setup(ngx_xmpp_redis_conn_t *conn);
ngx_int_t ngx_xmpp_redis_setup_auth(ngx_xmpp_redis_conn_t *conn,
    ngx_str_t *user, ngx_str_t *password);
ngx_int_t ngx_xmpp_redis_setup_step(ngx_xmpp_redis_conn_t *conn,
    ngx_uint_t kind, ngx_uint_t argc, ngx_str_t *argv);
ngx_int_t ngx_xmpp_redis_setup_reply(ngx_xmpp_redis_conn_t *conn,
    ngx_uint_t kind, redisReply *reply);

/* ngx_xmpp_redis_pubsub.c */

void ngx_xmpp_redis_pubsub_init(ngx_xmpp_redis_t *r);
ngx_int_t ngx_xmpp_redis_pubsub_ready(ngx_xmpp_redis_conn_t *conn);
ngx_int_t ngx_xmpp_redis_pubsub_reply(ngx_xmpp_redis_conn_t *conn);
void ngx_xmpp_redis_pubsub_ping(ngx_xmpp_redis_conn_t *conn);


#endif /* _NGX_XMPP_REDIS_PRIVATE_H_INCLUDED_ */
