/*
 * The Redis client of a worker: one command connection and one subscriber
 * connection to one server, on nginx's own connections and events, with
 * hiredis's formatter and reader.  It knows no XMPP.
 *
 *   request   formatted once, kept until its reply, so that a command of
 *             unknown outcome can be repeated on a new connection; sent with
 *             all others of this event-loop turn by one writev
 *   FIFO      replies are matched by order
 *   timeout   each request has a deadline; a connection whose oldest request
 *             passed it is taken as dead and made anew
 *   states    idle -> connecting (-> securing) -> setup (AUTH, PING, SELECT,
 *             ROLE) -> ready -> lost -> (jittered back-off) -> connecting
 *   sentinel  where the address is one of sentinels, they are asked for the
 *             master before each connect (ngx_xmpp_redis_sentinel.c)
 *
 * Ownership: requests come from a free list of the client and go back after
 * their handler ran; a handler runs exactly once, with the reply or with NULL
 * (failed), unless cancelled.  Reply objects are the client's and die when
 * the handler returns.  The client lives as long as the worker.
 */


#ifndef _NGX_XMPP_REDIS_H_INCLUDED_
#define _NGX_XMPP_REDIS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <hiredis/hiredis.h>


typedef struct ngx_xmpp_redis_s      ngx_xmpp_redis_t;
typedef struct ngx_xmpp_redis_req_s  ngx_xmpp_redis_req_t;


/* what is known of a request that has no reply, or an error reply */
typedef enum {
    NGX_XMPP_REDIS_OK = 0,
    NGX_XMPP_REDIS_AWAY,       /* certainly did not run */
    NGX_XMPP_REDIS_UNKNOWN     /* sent, no reply in time, not repeatable or
                                  its deadline passed: may have run */
} ngx_xmpp_redis_status_e;


/*
 * An error reply is a reply: reply->type == REDIS_REPLY_ERROR; with UNKNOWN
 * it is that to a repeat, and an earlier try may have run.  LOADING,
 * READONLY and MASTERDOWN are not shown: they tell of the server, which is
 * left, and the command, which did not run, waits for another connection.
 */
typedef void (*ngx_xmpp_redis_handler_pt)(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status);

/* a message of a sharded channel */
typedef void (*ngx_xmpp_redis_message_pt)(void *data, ngx_str_t *channel,
    ngx_str_t *message);

/*
 * ready: the command connection has been set up (again); the subscriber side
 * has its own flag.  lost: gone.  Called from the event loop, never from
 * within an API call; when a connection is lost, before the handlers of the
 * requests that fail with it.
 */
typedef void (*ngx_xmpp_redis_state_pt)(void *data, ngx_uint_t subscriber,
    ngx_uint_t ready);


/* bounds of answer times, in microseconds; what is longer is in one more */
#define NGX_XMPP_REDIS_TIMES    14

#define NGX_XMPP_REDIS_COMMANDS    0   /* the connection of commands */
#define NGX_XMPP_REDIS_SUBSCRIBER  1

/*
 * What a client counts, in memory of its owner, who may be asked about it by
 * others: plain stores, all of which only grow.
 */
typedef struct {
    uint64_t                    times[NGX_XMPP_REDIS_TIMES + 1];
                                              /* answered, by the time from
                                                 write to read */
    uint64_t                    time;         /* of all, microseconds */
    uint64_t                    errors;       /* error replies of these */
    uint64_t                    away;         /* failed: did not run */
    uint64_t                    unknown;      /* failed: may have run */
    uint64_t                    full;         /* no room in the queue */
    uint64_t                    messages;     /* of channels */
    uint64_t                    connected[2];
    uint64_t                    lost[2];      /* connections that stood */
    uint64_t                    failed[2];    /* attempts */
} ngx_xmpp_redis_counters_t;

/* what it has now */
typedef struct {
    uint64_t                    requests;     /* commands without an answer */
    uint64_t                    bytes;        /* of them */
    uint64_t                    ready[2];     /* connections: 0 or 1 */
} ngx_xmpp_redis_gauges_t;

extern const uint64_t  ngx_xmpp_redis_times[NGX_XMPP_REDIS_TIMES];


/*
 * Replicas have what was heard before ngx_xmpp_redis_confirm() gave this
 * number; ok 0: they are lacking, and nothing more will be told of it and of
 * those before.  When a connection is lost they are void, too, and nobody is
 * told.
 */
typedef void (*ngx_xmpp_redis_confirmed_pt)(void *data, ngx_uint_t number,
    ngx_uint_t ok);


typedef struct {
    ngx_str_t                   url;          /* for logs, no password */
    ngx_addr_t                 *addr;         /* resolved at configuration */
    ngx_uint_t                  naddrs;       /* tried in turn; 0: one */
    ngx_str_t                   master;       /* its name: addr are those of
                                                 sentinels; len 0: not so */
    ngx_uint_t                  db;
    ngx_str_t                   host;         /* of addr; len 0: a socket */
    ngx_str_t                   user;         /* len 0: none */
    ngx_str_t                   password;     /* len 0: none */
    ngx_str_t                   password_file; /* where it is from, if so */
    ngx_str_t                   sentinel_user;      /* these of sentinels */
    ngx_str_t                   sentinel_password;
    ngx_str_t                   sentinel_password_file;

    ngx_ssl_t                  *ssl;          /* NULL: no TLS */
    ngx_str_t                   ssl_name;     /* of the server, with a zero */
    ngx_str_t                   ssl_certificate;
    ngx_str_t                   ssl_certificate_key;
    ngx_str_t                   ssl_trusted_certificate;
    ngx_flag_t                  ssl_verify;   /* unset: on */
    ngx_uint_t                  ssl_ip;       /* unsigned  ssl_ip:1; */
    ngx_uint_t                  tls;          /* unsigned  tls:1; */

    ngx_str_t                   name;         /* CLIENT SETNAME; len 0: none */
    ngx_msec_t                  connect_timeout;
    ngx_msec_t                  timeout;      /* of a request, as a whole */
    ngx_msec_t                  ping;         /* of a subscriber; 0: 15 s */
    ngx_str_t                   probe;        /* a channel of this client's
                                                 own; len 0: none */
    ngx_uint_t                  replicas;     /* that a durable command has to
                                                 reach; 0: none */
    ngx_msec_t                  wait;         /* for them, of one WAIT */
    ngx_uint_t                  max_queue;    /* requests waiting at most */
    size_t                      max_bytes;    /* of them, a last one above */

    ngx_xmpp_redis_counters_t  *counters;     /* NULL: its own */
    ngx_xmpp_redis_gauges_t    *gauges;

    ngx_xmpp_redis_message_pt   message;
    ngx_xmpp_redis_state_pt     state;
    ngx_xmpp_redis_confirmed_pt confirmed;    /* for who asks */
    void                       *data;         /* for all of these */
} ngx_xmpp_redis_conf_t;


/* parses "unix:/path", "redis:host:port",
 * "redis://[user[:pw]@]host:port/db", and "rediss" for the last two;
 * "sentinel:host:port,host:port/master/db" and "sentinel://..." likewise; at
 * configuration time only (may resolve a name); *err is a reason */
ngx_int_t ngx_xmpp_redis_parse_url(ngx_pool_t *pool, ngx_str_t *url,
    ngx_xmpp_redis_conf_t *conf, char **err);

/*
 * Reads the password of *conf, or that of its sentinels, from a file, at
 * configuration time only; a relative path is one of the folder of nginx.conf.
 * NGX_CONF_ERROR: said why.
 */
char *ngx_xmpp_redis_conf_password(ngx_conf_t *cf, ngx_str_t *file,
    ngx_xmpp_redis_conf_t *conf, ngx_uint_t sentinel);

/*
 * Completes *conf, when all has been read: defaults, and conf->ssl for an
 * address with TLS.  NGX_CONF_ERROR: said why.
 */
char *ngx_xmpp_redis_conf_init(ngx_conf_t *cf, ngx_xmpp_redis_conf_t *conf);

/*
 * Creates the client in pool and begins to connect; never blocks, and a
 * server that is away is no error.  NULL: no memory.
 */
ngx_xmpp_redis_t *ngx_xmpp_redis_create(ngx_pool_t *pool, ngx_log_t *log,
    ngx_xmpp_redis_conf_t *conf);

/* closes both connections for good; every waiting handler gets AWAY or
 * UNKNOWN unless quiet */
void ngx_xmpp_redis_destroy(ngx_xmpp_redis_t *r, ngx_uint_t quiet);

/* 1 when commands (subscriber == 0) or messages (1) flow */
ngx_uint_t ngx_xmpp_redis_ready(ngx_xmpp_redis_t *r, ngx_uint_t subscriber);


#define NGX_XMPP_REDIS_REPEAT   1   /* idempotent: repeat on a new connection */
#define NGX_XMPP_REDIS_SETUP    2   /* sent before others, while not ready yet;
                                       for use inside the state handler only */
#define NGX_XMPP_REDIS_MARK     4   /* the last argument, one byte, becomes '1'
                                       in a repeat */
#define NGX_XMPP_REDIS_DURABLE  8   /* its handler runs when conf->replicas of
                                       them have what it wrote; while there
                                       are too few of them it fails: AWAY
                                       (ngx_xmpp_redis_wait.c) */
#define NGX_XMPP_REDIS_SURE    16   /* with it, of a read: replicas have what
                                       it has read, which fails likewise */

/*
 * Queues a command; it leaves with all others at the end of this event-loop
 * turn.  argv strings are copied.  When the connection is away: a request
 * waits in the queue until its deadline (the connection may come back), a
 * full queue fails at once: then NULL is returned and no handler runs.
 * The handler is never called from within this function.
 */
ngx_xmpp_redis_req_t *ngx_xmpp_redis_command(ngx_xmpp_redis_t *r,
    ngx_uint_t flags, ngx_uint_t argc, ngx_str_t *argv,
    ngx_xmpp_redis_handler_pt handler, void *data);

/*
 * The handler will not run; the command itself may.  For cleanups: must not
 * be called after the handler ran.
 */
void ngx_xmpp_redis_cancel(ngx_xmpp_redis_req_t *req);

/*
 * SSUBSCRIBE/SUNSUBSCRIBE one channel on the subscriber connection.  The
 * handler (may be NULL) runs when Redis has confirmed (status OK, reply NULL)
 * or when it failed.  After a reconnection the client itself knows no
 * channels: the owner subscribes again from its state handler, from the
 * source of truth.
 */
ngx_xmpp_redis_req_t *ngx_xmpp_redis_subscribe(ngx_xmpp_redis_t *r,
    ngx_str_t *channel, ngx_xmpp_redis_handler_pt handler, void *data);
ngx_int_t ngx_xmpp_redis_unsubscribe(ngx_xmpp_redis_t *r, ngx_str_t *channel);

/*
 * Asks whether conf->replicas replicas have what was heard by now, once in a
 * turn; conf->confirmed is told the number that is returned, or a later one.
 * 0: replicas are lacking, or a connection is away (ngx_xmpp_redis_confirm.c).
 */
ngx_uint_t ngx_xmpp_redis_confirm(ngx_xmpp_redis_t *r);

/* 1 when there are too few replicas, as far as is known */
ngx_uint_t ngx_xmpp_redis_lacking(ngx_xmpp_redis_t *r);

/*
 * Requests neither answered nor failed, cancelled ones included; a drain
 * waits for 0.  The timers of the client do not keep a worker that is shutting
 * down, those of the drain have to.
 */
ngx_uint_t ngx_xmpp_redis_pending(ngx_xmpp_redis_t *r);

/*
 * The way out of an error reply that is given before anything of the command
 * ran, for the log; NULL: another error, the command may have run in part.
 */
char *ngx_xmpp_redis_advice(ngx_str_t *text);

/* its connections at the moment, up to two; for who polls them himself */
ngx_uint_t ngx_xmpp_redis_connections(ngx_xmpp_redis_t *r,
    ngx_connection_t **c);


#endif /* _NGX_XMPP_REDIS_H_INCLUDED_ */
