/*
 * What XMPP keeps in Redis, by meaning: credentials, session records,
 * routing.  Knows JIDs, bytes and Functions; no sessions, no stanza tree.
 * Keys: docs/redis-schema.md.  The rules behind the Functions stand in
 * the files of redis/.
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


/* what a message has to survive, in the order of what that promises */
typedef enum {
    NGX_XMPP_DURABILITY_NONE = 0,     /* nothing: kept by the session alone */
    NGX_XMPP_DURABILITY_MEMORY,       /* in Redis: the default */
    NGX_XMPP_DURABILITY_AOF,          /* on its disk */
    NGX_XMPP_DURABILITY_REPLICAS      /* in redis.replicas of them */
} ngx_xmpp_durability_e;


typedef struct {
    ngx_xmpp_redis_conf_t     redis;
    ngx_str_t                 prefix;         /* of keys and channels */
    ngx_uint_t                durability;     /* ngx_xmpp_durability_e */
    ngx_xmpp_redis_confirmed_pt  confirmed;   /* with the data of bells */
    ngx_uint_t                configured;     /* unsigned  configured:1; */
} ngx_xmpp_store_conf_t;


/* what came on an account's channel */
typedef struct {
    ngx_str_t                 tag;            /* which account */
    u_char                    kind;           /* NGX_XMPP_BELL_* */
    uint64_t                  number;         /* of this bell, per account */
    uint64_t                  previous;       /* the one before */
    ngx_str_t                 targets;        /* "sid:epoch,sid:epochr" */
    ngx_uint_t                stanzas;        /* in the body */
    ngx_str_t                 lengths;        /* "N,N"; of one: len 0 */
    uint64_t                  epoch;          /* CONFLICT, TAKEN, WRITTEN:
                                                 the winner's;
                                                 STANZA, KEPT: 1, archived */
    ngx_str_t                 body;           /* they; resource; a bare JID */
} ngx_xmpp_store_bell_t;

#define NGX_XMPP_BELL_STANZA          'm'
#define NGX_XMPP_BELL_KEPT            'i'     /* a stanza, in the inbox */
#define NGX_XMPP_BELL_OWED            'o'     /* the inbox has something */
#define NGX_XMPP_BELL_CONFLICT        'k'
#define NGX_XMPP_BELL_REMOVED         'x'
#define NGX_XMPP_BELL_KICKED          'e'
#define NGX_XMPP_BELL_BLOCK           'b'
#define NGX_XMPP_BELL_CARBONS         'c'
#define NGX_XMPP_BELL_GRANT           'p'
#define NGX_XMPP_BELL_TAKEN           'h'     /* a session, by a worker */
#define NGX_XMPP_BELL_WRITTEN         's'     /* what belongs to it */


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


/* letters of a record: what its client has asked for that concerns routing */
#define NGX_XMPP_STORE_FLAGS          8       /* at most, of all */

/* a worker is named by so many hexadecimal digits */
#define NGX_XMPP_BOOT_LEN             16

/* a session, as its record has it */
typedef struct {
    ngx_str_t                *tag;            /* of the account */
    ngx_str_t                *resource;
    ngx_str_t                *sid;
    ngx_str_t                *flags;          /* letters; len 0: none */
    ngx_str_t                 boot;           /* its end: only if the record
                                                 has this one; len 0: any */
    ngx_uint_t                dead;           /* unsigned  dead:1; whose worker
                                                 has died */
    uint64_t                  epoch;
    uint64_t                  created;        /* which account of that name */
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
    uint64_t                  created;        /* the account, as digits: its
                                                 date; 0: not known */
    unsigned                  answered:1;     /* below is known */
    unsigned                  known:1;        /* network, to the account */
    unsigned                  fresh:1;        /* since today */
    unsigned                  disabled:1;     /* the account is */
} ngx_xmpp_store_attempt_t;


/* how RFC 6121, 8 treats a stanza that is routed */
#define NGX_XMPP_STORE_CHAT           'c'
#define NGX_XMPP_STORE_NORMAL         'n'
#define NGX_XMPP_STORE_HEADLINE       'h'
#define NGX_XMPP_STORE_GROUPCHAT      'g'
#define NGX_XMPP_STORE_ERROR          'e'
#define NGX_XMPP_STORE_PRESENCE       'p'
#define NGX_XMPP_STORE_IQ             'i'

/* so many stanzas go in one command at most */
#define NGX_XMPP_STORE_BATCH          16

/* a stanza and its identity's second half */
typedef struct {
    uint64_t                  counter;
    ngx_str_t                 bytes;
    uint32_t                  digest;         /* only where there is a life */
} ngx_xmpp_store_stanza_t;

/* stanzas of one session to one account, in the order in which it sent them */
typedef struct {
    ngx_str_t                *tag;            /* of the account */
    ngx_str_t                *resource;       /* NULL: to the bare JID */
    ngx_str_t                *sid;            /* of the session */
    ngx_str_t                *from;           /* full JID; NULL: not blocked */
    ngx_str_t                *keep;           /* what the inbox may hold,
                                                 "messages bytes", " -" if only
                                                 what nobody is there for */
    ngx_str_t                *archive;        /* the archive, "messages bytes
                                                 seconds"; NULL: neither */
    ngx_str_t                *to;             /* copy: the recipient's JID */
    uint64_t                  life;           /* as of redis/29-seen.lua */
    uint64_t                  told;           /* the same: a counter */
    u_char                    kind;           /* of all of them, above */
    ngx_uint_t                n;
    ngx_xmpp_store_stanza_t  *stanzas;
    unsigned                  again:1;        /* they may have been routed */
    unsigned                  lives:1;        /* and in another life */
    unsigned                  copies:1;       /* XEP-0280: eligible */
} ngx_xmpp_store_route_t;


/* what happens in a contact's slot */
#define NGX_XMPP_CONTACT_TELL         'f'     /* the stanza rings */
#define NGX_XMPP_CONTACT_ASK          't'     /* presence is answered */
#define NGX_XMPP_CONTACT_TELL_ASK     'b'     /* both */
#define NGX_XMPP_CONTACT_PROBE        'p'     /* asked by a client */

typedef struct {
    ngx_str_t                *tag;            /* of the contact */
    u_char                    what;           /* above */
    ngx_str_t                 user;           /* JID; len 0: himself */
    ngx_str_t                 stanza;         /* to tell */
    ngx_str_t                 resource;       /* PROBE; len 0: all */
    unsigned                  once:1;         /* not on a new connection */
} ngx_xmpp_store_contact_t;


/* begins to connect; calls the functions from then on; NULL: no memory */
ngx_xmpp_store_t *ngx_xmpp_store_create(ngx_pool_t *pool, ngx_log_t *log,
    ngx_xmpp_store_conf_t *conf, ngx_xmpp_store_bell_pt bell,
    ngx_xmpp_store_rung_pt rung, ngx_xmpp_redis_state_pt state, void *data);

/* ngx_xmpp_redis_confirm() */
ngx_uint_t ngx_xmpp_store_confirm(ngx_xmpp_store_t *store);

/* of a bell; *pos begins as lengths.data, *stanza as null; DECLINED: no more */
ngx_int_t ngx_xmpp_store_bell_next(ngx_xmpp_store_bell_t *bell, u_char **pos,
    ngx_str_t *stanza);

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
 * account's last bell.  DECLINED: the account does not exist (any more), or,
 * when the reply's first element is "disabled", nobody may use it.
 * When it has max sessions, the oldest is displaced as well.  From its fourth
 * element on the reply has pairs of a resource and a sid: records of res->epoch
 * whose contacts have not heard of an end yet, of which the session's own may
 * be one; the caller tells them.  A last one without a pair is the block list.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_bind(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss, ngx_str_t *boot,
    ngx_str_t *state, ngx_uint_t max, ngx_str_t *gone,
    ngx_xmpp_store_handler_pt handler, void *data);

/*
 * One Function: the session's availability and priority, its presence stanza
 * kept and sent to the account's available sessions, itself included.
 * state: a priority, or "-" for unavailable.  The third element of the reply
 * are the contacts, for ngx_xmpp_store_contact_next(); the others are stanzas
 * for this session when initial, presence of the account's other resources
 * among them.  Unavailable and there are contacts: ngx_xmpp_store_told()
 * follows.  DECLINED: fenced.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_presence(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss, ngx_str_t *state,
    ngx_str_t *stanza, ngx_uint_t initial, ngx_xmpp_store_handler_pt handler,
    void *data);

/*
 * One Function: what a session would have heard of others, as it is now: the
 * third element of the reply are the contacts to ask, the others stanzas of the
 * account's other resources.  DECLINED: fenced.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_snapshot(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss,
    ngx_xmpp_store_handler_pt handler, void *data);

/*
 * One Function: the flags of the session's record are those of ss now.
 * DECLINED: fenced.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_flags(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss,
    ngx_xmpp_store_handler_pt handler, void *data);

/* stream management: sessions that may be resumed */
#include "ngx_xmpp_store_sm.h"

/*
 * One Function: the session of the record is not available any more; stanza
 * goes to the other available sessions.  The third element of the reply are
 * the contacts to tell, for ngx_xmpp_store_contact_next(); none: it is the end
 * of the record.  held: the record's session goes on, it was the one before it
 * that went.  ss->epoch 0: not known.  res->epoch is the record's.  DECLINED:
 * fenced, or, when the reply's first element is "resumable", dead says that its
 * worker has died, but somebody may take it.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_gone(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss, ngx_str_t *stanza,
    ngx_uint_t held, ngx_xmpp_store_handler_pt handler, void *data);

/*
 * One Function: contacts have heard that it went; ends: so the record goes.
 * Not repeated on a new connection, as what told them may not be, either.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_told(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss, ngx_uint_t ends,
    ngx_xmpp_store_handler_pt handler, void *data);

/*
 * One Function in a contact's slot; what *c points to has to live as long as
 * pool.  res->number: of the contact's bell, 0 when nothing rang; from its
 * third element on the reply has stanzas that the user may have.  DECLINED,
 * with PROBE only: he may have none, or, when the reply's first element is
 * "gone", there is none.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_contact(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_contact_t *c,
    ngx_xmpp_store_handler_pt handler, void *data);
ngx_int_t ngx_xmpp_store_contact_next(ngx_str_t *list, u_char *what,
    ngx_str_t *jid);

/* a change of the block list (XEP-0191) */
typedef struct {
    ngx_str_t                 push;           /* for those who asked for it */
    ngx_str_t                 jids;           /* lines; len 0: all */
    ngx_uint_t                items;          /* the list may have */
    size_t                    size;           /* bytes of it */
    unsigned                  unblock:1;
} ngx_xmpp_store_block_t;

/*
 * One Function: the session's flags become those of ss, with the one that asks
 * for changes of the list; the reply's third element is the list, as lines, and
 * res->number that of the bell up to which it counts.  DECLINED: fenced.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_blocklist(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss,
    ngx_xmpp_store_handler_pt handler, void *data);

/*
 * One Function: changes the list, rings it; the answer is the same.  DECLINED:
 * fenced, or, when the reply's first element is "full", too much for it.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_block(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss, ngx_xmpp_store_block_t *b,
    ngx_xmpp_store_handler_pt handler, void *data);

/* why contacts are told: they are blocked; not any more; they get presence */
#define NGX_XMPP_STORE_BLOCKED        '+'
#define NGX_XMPP_STORE_UNBLOCKED      '-'
#define NGX_XMPP_STORE_GRANTED        '='

/*
 * One Function: which contacts of an available session are among these JIDs,
 * lines, for which this holds now.  The reply's third element are the contacts,
 * for ngx_xmpp_store_contact_next(), the fourth its presence.  DECLINED: it is
 * not available, or fenced.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_affected(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss, u_char what,
    ngx_str_t *jids, ngx_xmpp_store_handler_pt handler, void *data);

/*
 * A page of the inbox, of about so many bytes, for a session, behind last, the
 * last entry of the one before, or empty, without what bells above heard are to
 * bring: ids and stanzas, in turn, from the reply's element 3 on; none: that is
 * all.  DECLINED: fenced; AGAIN, when unsure: replicas are lacking.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_inbox(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss, ngx_str_t *last,
    size_t bytes, uint64_t heard, ngx_uint_t unsure,
    ngx_xmpp_store_handler_pt handler, void *data);

/*
 * A session of tag's account has taken entries of its inbox: "number first
 * last", first and last being the second half of an id, with "," between.  All
 * has to live as long as pool.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_taken(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_str_t *tag, ngx_str_t *taken,
    ngx_xmpp_store_handler_pt handler, void *data);

/* the same, and nobody waits for the reply; the arguments are copied */
void ngx_xmpp_store_taken_send(ngx_xmpp_store_t *store, ngx_str_t *tag,
    ngx_str_t *taken);

/*
 * One Function: routes all of r's stanzas or none; what r points to has to live
 * as long as pool, *r itself need not.  OK: delivered, or rightly ignored
 * (res->number: the account's bell; 0: it is kept); DECLINED: nobody, or the
 * inbox holds no more, when the reply begins with "full"; BUSY.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_route(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_route_t *r,
    ngx_xmpp_store_handler_pt handler, void *data);

/*
 * Rings what was routed for the sender's other sessions that have asked for
 * carbons, if r->copies, and archives it, if r->archive, in its own slot,
 * r->tag; besides, sid, to and the stanzas are read.  OK, and DECLINED, nobody
 * gets a carbon, have res->number, and res->epoch 1 when a session in another
 * worker has asked for carbons; so has OK of the above.  Both with r->copies.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_copy(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_route_t *r,
    ngx_xmpp_store_handler_pt handler, void *data);

/*
 * The same for what nobody waits for: the store's rung is called, if any.
 * What r points to is copied.
 */
void ngx_xmpp_store_send(ngx_xmpp_store_t *store, ngx_xmpp_store_route_t *r);


/*
 * So many requests for a subscription may wait for an account's answer; all of
 * them go to each session that becomes available, into its output queue.
 */
#define NGX_XMPP_STORE_REQUESTS       100

/* letters of a record: its client has asked for the roster */
#define NGX_XMPP_FLAG_ROSTER          'r'

/* an item of a roster, or one party of a subscription and the other */
typedef struct {
    ngx_str_t                *tag;            /* whose slot it is */
    ngx_str_t                 user;           /* bare JIDs */
    ngx_str_t                 contact;
    ngx_str_t                 name;           /* " name='...'", or empty */
    ngx_str_t                 groups;         /* elements, as they are sent */
    ngx_uint_t                max_items;
    size_t                    max_size;       /* bytes, of all of them */
    unsigned                  removed:1;      /* in: the contact's account */
} ngx_xmpp_store_item_t;

/*
 * One Function: the items as elements, or, from element 3 of the reply on,
 * "since" and pushes of what is newer than *version (NULL: the client has
 * none).  The record has the flag of the roster then.  DECLINED: fenced.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_roster_get(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss, ngx_str_t *user,
    ngx_str_t *version, ngx_xmpp_store_handler_pt handler, void *data);

/* one Function: an item is added or changed; DECLINED: there are too many */
ngx_xmpp_store_req_t *ngx_xmpp_store_roster_set(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_item_t *it,
    ngx_xmpp_store_handler_pt handler, void *data);

/* one Function: element 3 of the reply are letters; DECLINED: no such item */
ngx_xmpp_store_req_t *ngx_xmpp_store_roster_state(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_item_t *it,
    ngx_xmpp_store_handler_pt handler, void *data);

/* one Function: an item is removed; DECLINED: there is none */
ngx_xmpp_store_req_t *ngx_xmpp_store_roster_remove(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_item_t *it,
    ngx_xmpp_store_handler_pt handler, void *data);

/*
 * One Function each: the two steps of a subscription; type is that of the
 * stanza.  The reply is that of redis/41-subscription.lua.  DECLINED: out: too
 * many items; in: nothing comes of it.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_subscribe_out(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_item_t *it, ngx_str_t *type,
    ngx_xmpp_store_handler_pt handler, void *data);
ngx_xmpp_store_req_t *ngx_xmpp_store_subscribe_in(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_item_t *it, ngx_str_t *type,
    ngx_str_t *stanza, ngx_xmpp_store_handler_pt handler, void *data);

/*
 * One Function, for which nobody waits: rings that a contact, a bare JID, gets
 * the presence of the available sessions of tag's account from now on.
 */
void ngx_xmpp_store_grant(ngx_xmpp_store_t *store, ngx_str_t *tag,
    ngx_str_t *contact);

/*
 * One Function in the user's slot: res->text are the seconds since the user was
 * last available, for the full JID from; NULL: for the user; len 0: it is not
 * known.  DECLINED: the reply's first element is "forbidden" for one who may
 * not have the user's presence, and "none" for one who is blocked.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_last(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_str_t *tag, ngx_str_t *from,
    ngx_xmpp_store_handler_pt handler, void *data);

/*
 * What a user keeps here for his clients (ngx_xmpp_store_user.c).
 */

/*
 * One HGET: res->text are the elements of private storage in that namespace,
 * DECLINED: none.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_private_get(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_str_t *tag, ngx_str_t *ns,
    ngx_xmpp_store_handler_pt handler, void *data);

/*
 * One Function: these elements become what private storage has in that
 * namespace; len 0: nothing.  DECLINED: fenced, or, when the reply's first
 * element is "full", all of it would have more than max_size bytes.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_private_set(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss, ngx_str_t *ns,
    ngx_str_t *elements, size_t max_size, ngx_xmpp_store_handler_pt handler,
    void *data);

/*
 * One Function in the owner's slot: res->text is the vCard for the full JID
 * from; NULL: for the owner.  DECLINED: there is none, or no such account, or
 * it blocks who asks.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_vcard_get(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_str_t *tag, ngx_str_t *from,
    ngx_xmpp_store_handler_pt handler, void *data);

/* one Function: element becomes the vCard; len 0: none.  DECLINED: fenced */
ngx_xmpp_store_req_t *ngx_xmpp_store_vcard_set(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss, ngx_str_t *element,
    ngx_xmpp_store_handler_pt handler, void *data);

/*
 * The password of an account (ngx_xmpp_store_password.c).
 */

/* one HGET: res->text is that field of the account; DECLINED: none */
ngx_xmpp_store_req_t *ngx_xmpp_store_password_get(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_str_t *tag, ngx_str_t *field,
    ngx_xmpp_store_handler_pt handler, void *data);

/*
 * One Function: keys, one for each hash of SCRAM as they are stored, become
 * those of the account.  DECLINED: fenced, or, when the reply's first element
 * is "none", there is no account.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_password_set(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss, ngx_str_t *keys,
    ngx_xmpp_store_handler_pt handler, void *data);

/* a page of the archive; the strings have to live as long as the request */
typedef struct {
    ngx_str_t                 there;          /* ids that have to be there */
    ngx_str_t                 low;            /* the first id, and the last */
    ngx_str_t                 high;
    ngx_str_t                 with;           /* a bare JID; len 0: all */
    ngx_str_t                 full;           /* a full one, escaped; len 0 */
    ngx_str_t                 ids;            /* of these; len 0: of all */
    ngx_uint_t                max;
    size_t                    bytes;          /* one comes in any case */
    time_t                    age;            /* in seconds; 0: any */
    unsigned                  back:1;         /* the last ones */
    unsigned                  count:1;        /* of all with that JID, too */
} ngx_xmpp_store_archive_t;

/*
 * One Function: a page.  The reply's fourth element is "1" when there is no
 * more, the fifth an id to go on from if the page is empty, or empty, the sixth
 * a count, or empty; then follow pairs of an id, "number-index", and a stanza.
 * DECLINED: fenced, or, when the reply's first element is "missing", an id is
 * not there.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_archive(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss,
    ngx_xmpp_store_archive_t *ar, ngx_xmpp_store_handler_pt handler,
    void *data);

/*
 * One Function: the ids of the first and of the last message are the reply's
 * fourth and fifth elements, unless there is none.  DECLINED: fenced.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_archive_ends(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss, time_t age,
    ngx_xmpp_store_handler_pt handler, void *data);

/* whose messages are archived (XEP-0441) */
typedef struct {
    ngx_str_t                 standard;       /* a, n or r: by default */
    ngx_str_t                 always;         /* JIDs, as lines */
    ngx_str_t                 never;
} ngx_xmpp_store_archiving_t;

/*
 * One Function: the three are the reply's fourth to sixth elements; one
 * Function: these are so from now on.  DECLINED: fenced.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_archiving_get(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss,
    ngx_xmpp_store_handler_pt handler, void *data);
ngx_xmpp_store_req_t *ngx_xmpp_store_archiving_set(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_session_t *ss,
    ngx_xmpp_store_archiving_t *ar, ngx_xmpp_store_handler_pt handler,
    void *data);

/*
 * An account that a stranger makes (ngx_xmpp_store_register.c).
 */

typedef struct {
    ngx_str_t                 tag;            /* of the account */
    u_char                    counter[NGX_XMPP_TALLY_LEN];  /* of the network */
    ngx_uint_t                max;            /* accounts of a network */
    ngx_uint_t                time;           /* seconds of a window */
    unsigned                  counted:1;      /* counter says something */
} ngx_xmpp_store_register_t;

/*
 * Two commands in one write: whether the name is free, and one more account for
 * the network, which is counted.  DECLINED: the name is taken, or contacts of
 * the last one have not heard of its removal; BUSY: there are too many, and
 * nothing was counted.  NULL also while Redis may evict keys.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_register_ask(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_register_t *rg,
    ngx_xmpp_store_handler_pt handler, void *data);

/* one Function that nobody waits for: takes that back */
void ngx_xmpp_store_register_back(ngx_xmpp_store_t *store,
    ngx_xmpp_store_register_t *rg);

/*
 * One Function: makes the account, with a date (XEP-0082) and keys, one for
 * each hash of SCRAM as they are stored.  DECLINED: the name was taken by now.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_register(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_xmpp_store_register_t *rg, ngx_str_t *created,
    ngx_str_t *keys, ngx_xmpp_store_handler_pt handler, void *data);

/*
 * The removal of an account (ngx_xmpp_store_remove.c).
 */

/*
 * One Function: the account is gone, its sessions end; key removed has what its
 * contacts have to hear.  created: that of an attempt to log in, or 0:
 * whichever has the name.  DECLINED: there was none, or it is another one.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_remove(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_str_t *tag, uint64_t created,
    ngx_xmpp_store_handler_pt handler, void *data);

/*
 * One Function: those who were told, lines of bare JIDs, leave key removed; max
 * of those who are left come.  The reply's fourth element are resources, as
 * lines, the fifth the contacts, for ngx_xmpp_store_contact_next(), with a
 * digit for a letter.  DECLINED: the removal is complete, or there is none.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_removed(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_str_t *tag, ngx_uint_t max, ngx_str_t *told,
    ngx_xmpp_store_handler_pt handler, void *data);

/* one DEL: it is complete */
ngx_xmpp_store_req_t *ngx_xmpp_store_removed_end(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_str_t *tag, ngx_xmpp_store_handler_pt handler,
    void *data);

/*
 * One SADD or SREM: a bare JID joins the list of its domain's accounts, before
 * it has one, or leaves it, before another may have it.  DECLINED: that was so.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_named(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_str_t *domain, ngx_str_t *bare, ngx_uint_t joins,
    ngx_xmpp_store_handler_pt handler, void *data);

/*
 * What an administrator asks for (ngx_xmpp_store_admin.c).
 */

/*
 * One Function: an account is made, created then, or, with len 0, gets other
 * keys, one for each hash of SCRAM.  keys NULL: neither, it only tells whether
 * that can be.  DECLINED: there is one, or none; BUSY: one of that name has not
 * been removed altogether.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_account(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_str_t *tag, ngx_str_t *created, ngx_str_t *keys,
    ngx_xmpp_store_handler_pt handler, void *data);

/*
 * One Function: an account is disabled, date: now, and its sessions end, or,
 * len 0, enabled.  DECLINED: there is none.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_disable(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_str_t *tag, ngx_str_t *date,
    ngx_xmpp_store_handler_pt handler, void *data);

/* one Function: a session ends, resource len 0: all do.  DECLINED: none */
ngx_xmpp_store_req_t *ngx_xmpp_store_kick(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_str_t *tag, ngx_str_t *resource,
    ngx_xmpp_store_handler_pt handler, void *data);

/*
 * One SSCAN: some accounts of a domain, about n; cursor "0" begins.  The reply
 * is the next cursor, "0" at the end, and an array of bare JIDs; one may come
 * twice.  rc means nothing, unless there is no reply.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_accounts(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_str_t *domain, ngx_str_t *cursor, ngx_uint_t n,
    ngx_xmpp_store_handler_pt handler, void *data);

/* one HGETALL: the records of an account, for _online(); the same of rc */
ngx_xmpp_store_req_t *ngx_xmpp_store_records(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_str_t *tag, ngx_xmpp_store_handler_pt handler,
    void *data);

/* 1 when one of these records is of a session that has not gone */
ngx_uint_t ngx_xmpp_store_online(redisReply *reply);

/*
 * Workers (ngx_xmpp_store_worker.c).  None of these is repeated on a new
 * connection, but for list and unlist.
 */

/*
 * One Function: this worker lives, and says "interval sessions host" of itself;
 * fresh: boot is new.  The reply has pairs behind its first element: a boot id
 * and its "counter interval sessions host".  DECLINED: boot was taken for dead.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_beat(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_str_t *boot, ngx_str_t *said, ngx_uint_t fresh,
    ngx_xmpp_store_handler_pt handler, void *data);

/*
 * One Function: boot cleans up after dead, whose "counter interval" is value.
 * BUSY: another does; DECLINED: there is nothing to do.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_claim(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_str_t *boot, ngx_str_t *dead, ngx_str_t *value,
    ngx_xmpp_store_handler_pt handler, void *data);

/* one Function: it is done */
ngx_xmpp_store_req_t *ngx_xmpp_store_forget(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_str_t *boot, ngx_str_t *dead,
    ngx_xmpp_store_handler_pt handler, void *data);

/*
 * One Function: n sessions of boot's list at most; the reply's elements behind
 * the first are pairs of a sid and a full JID.
 */
ngx_xmpp_store_req_t *ngx_xmpp_store_listed(ngx_xmpp_store_t *store,
    ngx_pool_t *pool, ngx_str_t *boot, ngx_uint_t n,
    ngx_xmpp_store_handler_pt handler, void *data);

/*
 * One HSET, one HDEL, that nobody waits for, in the order of all commands: a
 * session is on its worker's list before it has a record, and until it has
 * none (cluster.md, rule 16).  Everything is copied.
 */
void ngx_xmpp_store_list(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *boot, ngx_str_t *sid, ngx_str_t *jid);
void ngx_xmpp_store_unlist(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *boot, ngx_str_t *sid);


#endif /* _NGX_XMPP_STORE_H_INCLUDED_ */
