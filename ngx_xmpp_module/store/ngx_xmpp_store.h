/*
 * What XMPP keeps in Redis, by meaning: credentials, session records,
 * routing.  Knows JIDs, bytes and Functions; no sessions, no stanza tree.
 * Keys: docs/redis-schema.md.  The rules behind the Functions stand in
 * redis/xmpp.lua.
 *
 * A request is allocated from the caller's pool and cancelled by that pool's
 * cleanup; until its handler ran, the strings given to it must live.  The
 * handler runs exactly once, never from within the call, unless cancelled.
 */


#ifndef _NGX_XMPP_STORE_H_INCLUDED_
#define _NGX_XMPP_STORE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_xmpp_redis.h"
#include "ngx_xmpp_scram.h"
#include "ngx_xmpp_network.h"


typedef struct ngx_xmpp_store_s       ngx_xmpp_store_t;
typedef struct ngx_xmpp_store_req_s   ngx_xmpp_store_req_t;


typedef struct {
    ngx_xmpp_redis_conf_t     redis;
    ngx_str_t                 prefix;         /* of keys and channels */
    ngx_uint_t                configured;     /* unsigned  configured:1; */
} ngx_xmpp_store_conf_t;


/* what came on an account's channel */
typedef struct {
    ngx_str_t                 tag;            /* which account */
    u_char                    kind;           /* NGX_XMPP_BELL_* */
    uint64_t                  number;         /* of this bell, per account */
    uint64_t                  previous;       /* the one before */
    ngx_str_t                 targets;        /* "sid:epoch,sid:epoch" */
    uint64_t                  epoch;          /* CONFLICT: the winner's */
    ngx_str_t                 body;           /* stanza, or the resource */
} ngx_xmpp_store_bell_t;

#define NGX_XMPP_BELL_STANZA          'm'
#define NGX_XMPP_BELL_CONFLICT        'k'
#define NGX_XMPP_BELL_REMOVED         'x'


/*
 * rc: NGX_OK; NGX_DECLINED: there is no such account, session or recipient;
 * NGX_BUSY: a record without a subscriber (cluster.md, rule 1), try again;
 * NGX_AGAIN: Redis is away, the command certainly did not run; NGX_ERROR: it
 * failed, or may have run.
 */
typedef struct {
    ngx_int_t                 rc;
    uint64_t                  epoch;
    uint64_t                  number;
    ngx_str_t                 text;
    redisReply               *reply;          /* until the handler returns */
} ngx_xmpp_store_result_t;

typedef void (*ngx_xmpp_store_handler_pt)(void *data,
    ngx_xmpp_store_result_t *res);

typedef void (*ngx_xmpp_store_bell_pt)(void *data,
    ngx_xmpp_store_bell_t *bell);

/* what nobody waits for has rung: number is the bell's on tag's channel */
typedef void (*ngx_xmpp_store_rung_pt)(void *data, ngx_str_t *tag,
    uint64_t number);


/* a session, as its record has it */
typedef struct {
    ngx_str_t                *tag;            /* of the account */
    ngx_str_t                *resource;
    ngx_str_t                *sid;
    uint64_t                  epoch;
    ngx_uint_t                lifetime;       /* of the keys, in seconds; 0:
                                                 those of an account */
} ngx_xmpp_store_session_t;


/* the counters that an attempt to log in is about */
#define NGX_XMPP_STORE_TALLY_ADDRESS  0
#define NGX_XMPP_STORE_TALLY_ACCOUNT  1       /* at networks new to it */
#define NGX_XMPP_STORE_TALLY_BOTH     2       /* at one that it knows */
#define NGX_XMPP_STORE_TALLIES        3


/* an attempt to log in: by whom, as whom, and what is allowed */
typedef struct {
    ngx_xmpp_store_t         *store;
    ngx_str_t                 network;        /* len 0: nothing is counted */
    ngx_str_t                 jid;            /* for the log; len 0: none */
    ngx_str_t                 tag;            /* of the account */
    ngx_uint_t                max_address;    /* failures; 0: no limit */
    ngx_uint_t                max_account;
    ngx_uint_t                time;           /* seconds of a window */
    u_char                    tallies[NGX_XMPP_STORE_TALLIES]
                                     [NGX_XMPP_TALLY_LEN];
    ngx_uint_t                counts[NGX_XMPP_STORE_TALLIES];
    unsigned                  answered:1;     /* below is known */
    unsigned                  known:1;        /* network, to the account */
    unsigned                  fresh:1;        /* since today */
} ngx_xmpp_store_attempt_t;


/* how RFC 6121, 8 treats a stanza that is routed */
#define NGX_XMPP_STORE_CHAT           'c'
#define NGX_XMPP_STORE_NORMAL         'n'
#define NGX_XMPP_STORE_HEADLINE       'h'
#define NGX_XMPP_STORE_GROUPCHAT      'g'
#define NGX_XMPP_STORE_ERROR          'e'
#define NGX_XMPP_STORE_PRESENCE       'p'
#define NGX_XMPP_STORE_IQ             'i'


/*
 * Begins to connect; bell, rung and state are called for the rest of the
 * process.  NULL: no memory.
 */
ngx_xmpp_store_t *ngx_xmpp_store_create(ngx_pool_t *pool, ngx_log_t *log,
    ngx_xmpp_store_conf_t *conf, ngx_xmpp_store_bell_pt bell,
    ngx_xmpp_store_rung_pt rung, ngx_xmpp_redis_state_pt state, void *data);

/* closes the connections; waiting handlers do not run */
void ngx_xmpp_store_destroy(ngx_xmpp_store_t *store);

/* commands under way; a drain waits for 0 */
ngx_uint_t ngx_xmpp_store_pending(ngx_xmpp_store_t *store);

/*
 * The connections to Redis that are there, for a worker that polls them
 * itself because nginx's event loop does not run any more.
 */
#define NGX_XMPP_STORE_CONNECTIONS    2
ngx_uint_t ngx_xmpp_store_connections(ngx_xmpp_store_t *store,
    ngx_connection_t **c);

/* 1 when both connections work */
ngx_uint_t ngx_xmpp_store_ready(ngx_xmpp_store_t *store);

/* what makes fake salts stable in the whole cluster; len 0: not known yet */
ngx_str_t *ngx_xmpp_store_secret(ngx_xmpp_store_t *store);

/* the key tag of a bare JID: *bare itself, or escaped from pool */
ngx_int_t ngx_xmpp_store_tag(ngx_pool_t *pool, ngx_str_t *bare,
    ngx_str_t *tag);


/*
 * All below: NULL when nothing was sent (no memory, or the queue is full) and
 * the handler will not run.
 */

/*
 * Two commands in one write, HMGET of the account and of the counters of
 * failed logins; res->text is the field's value, DECLINED: none, ABORT: too
 * many have failed, whether there is one or not.  *at lives until then.  NULL
 * also while Redis may evict keys (ngx_xmpp_store_policy.c).
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_login(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_str_t *field, ngx_xmpp_store_attempt_t *at,
    ngx_xmpp_store_handler_pt handler, void *data);

/* 1 when this worker knows of too many; asks nobody */
ngx_uint_t ngx_xmpp_store_login_limited(ngx_xmpp_store_t *store,
    ngx_xmpp_store_attempt_t *at);

/* one Function that nobody waits for: counts a failure; logs a limit's */
void ngx_xmpp_store_login_failed(ngx_xmpp_store_t *store,
    ngx_xmpp_store_attempt_t *at);

/* the same: remembers the network, unless the account did so today */
void ngx_xmpp_store_login_done(ngx_xmpp_store_t *store,
    ngx_xmpp_store_attempt_t *at);

/* one SSUBSCRIBE, answered when Redis has confirmed it */
ngx_xmpp_store_req_t *ngx_xmpp_store_subscribe(ngx_xmpp_store_t *store,
    ngx_str_t *tag, ngx_xmpp_store_handler_pt handler, void *data);
void ngx_xmpp_store_unsubscribe(ngx_xmpp_store_t *store, ngx_str_t *tag,
    ngx_xmpp_store_req_t *req);

/*
 * One Function: writes the session's record, displaces the resource's last
 * holder (its bell rings), tells the account's other available sessions that
 * it went (gone: the stanza).  epoch 0 asks for a new one; else the record is
 * put back if Redis lost it, DECLINED if a higher epoch holds the resource.
 * boot names the worker.  res->epoch is the session's, res->number the
 * account's last bell.  DECLINED: the account does not exist (any more).
 * When it has max sessions, the oldest is displaced as well.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_bind(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss, ngx_str_t *boot,
    ngx_str_t *state, ngx_uint_t max, ngx_str_t *gone,
    ngx_xmpp_store_handler_pt handler, void *data);

/*
 * One Function: the session's availability and priority, its presence stanza
 * kept and sent to the account's available sessions, itself included.
 * state: a priority, or "-" for unavailable.  The reply has the presence of
 * the account's other resources when initial; DECLINED: fenced.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_presence(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss, ngx_str_t *state,
    ngx_str_t *stanza, ngx_uint_t initial, ngx_xmpp_store_handler_pt handler,
    void *data);

/* one Function: ends the record; gone goes to the other available sessions */
void ngx_xmpp_store_unbind(ngx_xmpp_store_t *store,
    ngx_xmpp_store_session_t *ss, ngx_str_t *gone);

/*
 * One Function: routes a stanza to tag's account.  resource NULL: to the
 * bare JID.  sid and counter are its identity.  OK: delivered, or rightly
 * ignored (res->number: the account's bell); DECLINED: nobody; BUSY.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_route(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_str_t *tag, ngx_str_t *resource, u_char kind,
    ngx_str_t *sid, uint64_t counter, ngx_str_t *stanza,
    ngx_xmpp_store_handler_pt handler, void *data);

/* the same for what nobody waits for: the store's rung is called, if any */
void ngx_xmpp_store_send(ngx_xmpp_store_t *store, ngx_str_t *tag,
    ngx_str_t *resource, u_char kind, ngx_str_t *sid, uint64_t counter,
    ngx_str_t *stanza);


#endif /* _NGX_XMPP_STORE_H_INCLUDED_ */
