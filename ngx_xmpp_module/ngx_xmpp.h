/*
 * The one header that a feature includes: the objects of the core, who owns
 * them, and the tables through which features join.
 *
 *   worker    one per process: Redis, registry of accounts, free lists
 *   host      one per xmpp_host{}: configuration and compiled tables
 *   stream    one per connection (from its pool): parser, negotiation, output
 *   session   one per bound resource, own pool; outlives its stream
 *   account   a bare JID that has sessions in this worker: its subscription
 *   stanza    one inbound stanza of a session, from the stanza pool
 *   packet    immutable serialized bytes, reference counted
 *
 * Layers: util, xml, redis <- store <- core <- stream, transport, im, xep.
 * The core reaches a stream's socket only through its transport's vtable.
 */


#ifndef _NGX_XMPP_H_INCLUDED_
#define _NGX_XMPP_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_thread_pool.h>
#include <ngx_stream.h>
#include <ngx_stream_ssl_module.h>

#include "ngx_xmpp_order.h"
#include "ngx_xmpp_util.h"
#include "ngx_xmpp_jid.h"
#include "ngx_xmpp_xml.h"
#include "ngx_xmpp_store.h"


/* renamed in nginx 1.25.5 */
#if (nginx_version >= 1025005)
typedef ngx_stream_ssl_srv_conf_t       ngx_xmpp_ssl_conf_t;
#else
typedef ngx_stream_ssl_conf_t           ngx_xmpp_ssl_conf_t;
#endif


#define NGX_XMPP_VERSION                "0.1.0"


typedef struct ngx_xmpp_worker_s        ngx_xmpp_worker_t;
typedef struct ngx_xmpp_host_s          ngx_xmpp_host_t;
typedef struct ngx_xmpp_stream_s        ngx_xmpp_stream_t;
typedef struct ngx_xmpp_session_s       ngx_xmpp_session_t;
typedef struct ngx_xmpp_account_s       ngx_xmpp_account_t;
typedef struct ngx_xmpp_stanza_s        ngx_xmpp_stanza_t;
typedef struct ngx_xmpp_packet_s        ngx_xmpp_packet_t;
typedef struct ngx_xmpp_out_s           ngx_xmpp_out_t;
typedef struct ngx_xmpp_sasl_s          ngx_xmpp_sasl_t;
typedef struct ngx_xmpp_tell_s          ngx_xmpp_tell_t;
typedef struct ngx_xmpp_block_s         ngx_xmpp_block_t;
typedef struct ngx_xmpp_inbox_s         ngx_xmpp_inbox_t;
typedef struct ngx_xmpp_stanza_ids_s    ngx_xmpp_stanza_ids_t;
typedef struct ngx_xmpp_sm_s            ngx_xmpp_sm_t;
typedef struct ngx_xmpp_sm_limits_s     ngx_xmpp_sm_limits_t;
typedef struct ngx_xmpp_take_s          ngx_xmpp_take_t;
typedef struct ngx_xmpp_heartbeat_s     ngx_xmpp_heartbeat_t;
typedef struct ngx_xmpp_reaper_s        ngx_xmpp_reaper_t;


/* ---- kinds of stanzas and of addresses, as masks for the tables ---- */

#define NGX_XMPP_MESSAGE                0x00000001
#define NGX_XMPP_PRESENCE               0x00000002
#define NGX_XMPP_IQ_GET                 0x00000004
#define NGX_XMPP_IQ_SET                 0x00000008
#define NGX_XMPP_IQ_RESULT              0x00000010
#define NGX_XMPP_IQ_ERROR               0x00000020
#define NGX_XMPP_IQ_REQUEST             (NGX_XMPP_IQ_GET|NGX_XMPP_IQ_SET)
#define NGX_XMPP_IQ                     (NGX_XMPP_IQ_REQUEST                  \
                                         |NGX_XMPP_IQ_RESULT                  \
                                         |NGX_XMPP_IQ_ERROR)

#define NGX_XMPP_TO_SELF                0x00000100  /* none, or own bare JID */
#define NGX_XMPP_TO_BARE                0x00000200  /* another local account */
#define NGX_XMPP_TO_FULL                0x00000400  /* a local full JID */
#define NGX_XMPP_TO_HOST                0x00000800  /* a host of ours */
#define NGX_XMPP_TO_REMOTE              0x00001000  /* not ours */
#define NGX_XMPP_TO_ANY                 0x00001f00


/* the type attribute; one enum, since a handler knows its kind */
typedef enum {
    NGX_XMPP_TYPE_NONE = 0,             /* message: normal; presence: none */
    NGX_XMPP_TYPE_CHAT,
    NGX_XMPP_TYPE_HEADLINE,
    NGX_XMPP_TYPE_GROUPCHAT,
    NGX_XMPP_TYPE_ERROR,
    NGX_XMPP_TYPE_UNAVAILABLE,
    NGX_XMPP_TYPE_SUBSCRIBE,            /* the four and probe are kept apart */
    NGX_XMPP_TYPE_SUBSCRIBED,
    NGX_XMPP_TYPE_UNSUBSCRIBE,
    NGX_XMPP_TYPE_UNSUBSCRIBED,
    NGX_XMPP_TYPE_PROBE,
    NGX_XMPP_TYPE_IQ                    /* iq: the kind says which */
} ngx_xmpp_type_e;


/*
 * Stanza error conditions (RFC 6120, 8.3.3): positive, so that a handler may
 * return one; the core sends the reply.
 */
typedef enum {
    NGX_XMPP_E_BAD_REQUEST = 1,
    NGX_XMPP_E_BAD_ACTION,              /* XEP-0050, 4.4: the five of it */
    NGX_XMPP_E_BAD_PAYLOAD,
    NGX_XMPP_E_BAD_SESSIONID,
    NGX_XMPP_E_BLOCKED,                 /* XEP-0191, 3.3: with <blocked/> */
    NGX_XMPP_E_CONFLICT,
    NGX_XMPP_E_FEATURE_NOT_IMPLEMENTED,
    NGX_XMPP_E_FORBIDDEN,
    NGX_XMPP_E_INTERNAL_SERVER_ERROR,
    NGX_XMPP_E_ITEM_NOT_FOUND,
    NGX_XMPP_E_JID_MALFORMED,
    NGX_XMPP_E_MALFORMED_ACTION,
    NGX_XMPP_E_NOT_ACCEPTABLE,
    NGX_XMPP_E_NOT_ALLOWED,
    NGX_XMPP_E_NOT_AUTHORIZED,
    NGX_XMPP_E_POLICY_VIOLATION,
    NGX_XMPP_E_REMOTE_SERVER_NOT_FOUND,
    NGX_XMPP_E_RESOURCE_CONSTRAINT,
    NGX_XMPP_E_SERVICE_UNAVAILABLE,
    NGX_XMPP_E_SESSION_EXPIRED,
    NGX_XMPP_E_CONDITIONS
} ngx_xmpp_condition_e;


/* stream errors, RFC 6120, 4.9.3 */
typedef enum {
    NGX_XMPP_SE_NONE = 0,               /* a clean </stream:stream> */
    NGX_XMPP_SE_BAD_FORMAT,
    NGX_XMPP_SE_BAD_NAMESPACE_PREFIX,
    NGX_XMPP_SE_CONFLICT,
    NGX_XMPP_SE_CONNECTION_TIMEOUT,
    NGX_XMPP_SE_HOST_UNKNOWN,
    NGX_XMPP_SE_IMPROPER_ADDRESSING,
    NGX_XMPP_SE_INTERNAL_SERVER_ERROR,
    NGX_XMPP_SE_INVALID_FROM,
    NGX_XMPP_SE_INVALID_NAMESPACE,
    NGX_XMPP_SE_INVALID_XML,
    NGX_XMPP_SE_NOT_AUTHORIZED,
    NGX_XMPP_SE_NOT_WELL_FORMED,
    NGX_XMPP_SE_POLICY_VIOLATION,
    NGX_XMPP_SE_RESOURCE_CONSTRAINT,
    NGX_XMPP_SE_RESTRICTED_XML,
    NGX_XMPP_SE_SYSTEM_SHUTDOWN,
    NGX_XMPP_SE_UNSUPPORTED_ENCODING,
    NGX_XMPP_SE_UNSUPPORTED_STANZA_TYPE,
    NGX_XMPP_SE_UNSUPPORTED_VERSION,
    NGX_XMPP_SE_BREAK,                  /* no last words, so that the client
                                           comes back for its session */
    NGX_XMPP_SE_DROP                    /* the socket is gone: say nothing */
} ngx_xmpp_stream_error_e;


/* ---- states of a stream, as masks for the nonza and feature tables ---- */

#define NGX_XMPP_ST_HEADER              0x01  /* a header is expected */
#define NGX_XMPP_ST_PLAIN               0x02  /* negotiating, no TLS */
#define NGX_XMPP_ST_SECURE              0x04  /* negotiating, TLS */
#define NGX_XMPP_ST_AUTH                0x08  /* authenticated, not bound */
#define NGX_XMPP_ST_BOUND               0x10  /* stanzas flow */
#define NGX_XMPP_ST_CLOSED              0x20  /* closing: nothing is read */


/* ---- packets ---- */

struct ngx_xmpp_packet_s {
    ngx_uint_t                  refs;
    ngx_uint_t                  stanzas;        /* in data */
    uint64_t                    number;         /* of the first one's entry in
                                                   the inbox; 0: none */
    ngx_uint_t                  index;          /* beside it; the others' are
                                                   the next ones */
    size_t                      len;
    u_char                      data[1];
};

/* a place in a stream's output queue, from the worker's free list */
struct ngx_xmpp_out_s {
    ngx_xmpp_packet_t          *packet;
    ngx_xmpp_out_t             *next;

    uint32_t                    start;          /* so much of the packet; for */
    unsigned                    len:31;         /* a stream's queue alone */
    unsigned                    framed:1;       /* a frame's head before it */
};


/* ---- transports ---- */

#include "ngx_xmpp_transport.h"


/* ---- the worker ---- */

#include "ngx_xmpp_stats.h"


struct ngx_xmpp_worker_s {
    ngx_cycle_t                *cycle;
    ngx_log_t                  *log;
    ngx_pool_t                 *pool;
    ngx_xmpp_store_t           *store;
    ngx_xmpp_stats_t           *stats;          /* in shared memory */

    u_char                      boot[NGX_XMPP_BOOT_LEN];  /* hex, new at
                                                   each start */
    uint64_t                    sessions;       /* counter for session ids */
    ngx_uint_t                  nstreams;
    ngx_uint_t                  nsessions;

    ngx_rbtree_t                accounts;       /* by key tag */
    ngx_rbtree_node_t           sentinel;

    ngx_queue_t                 streams;        /* all, for the drain */
    ngx_queue_t                 dirty;          /* with output to write */
    ngx_queue_t                 ready;          /* to be read or closed */
    ngx_queue_t                 ended;          /* sessions to be freed */
    ngx_queue_t                 detached;       /* of ngx_xmpp_sm_t: without
                                                   a stream */
    ngx_queue_t                 bounces;        /* of those that ended */
    ngx_queue_t                 confirms;       /* bells wait for replicas */
    ngx_event_t                 posted;         /* works on these lists */

    ngx_queue_t                 tells;          /* of ngx_xmpp_tell_t: wait */
    ngx_uint_t                  telling;        /* contacts asked by now */
    ngx_queue_t                 blocks;         /* lists that have changed */
    ngx_queue_t                 leaves;         /* ends of sessions: wait */
    ngx_queue_t                 leaving;        /* are under way */
    ngx_uint_t                  nleaves;        /* in both */
    ngx_uint_t                  nleaving;
    ngx_queue_t                 removals;       /* of accounts: wait */
    ngx_queue_t                 removing;       /* are under way */
    ngx_uint_t                  nremovals;      /* in both */
    ngx_uint_t                  nremoving;      /* counted */
    ngx_uint_t                  registering;    /* strangers: accounts */

    ngx_xmpp_stanza_ids_t      *stanza_ids;     /* NULL: no id was needed */
    ngx_xmpp_heartbeat_t       *heartbeat;
    ngx_xmpp_reaper_t          *reaper;
    ngx_queue_t                 returns;        /* sessions announced again */
    ngx_queue_t                 snapshots;      /* for sessions taken here */

    ngx_pool_t                **pools;          /* stanza pools, idle */
    ngx_uint_t                  npools;
    ngx_xmpp_out_t             *free_out;
    ngx_xmpp_parser_spare_t     spare;          /* one context for all */
    ngx_xmpp_parser_spare_t     spare_framed;   /* the same: see
                                                   ngx_xmpp_parser_frame() */

    ngx_xmpp_stream_t          *input;          /* is being read, or NULL */
    ngx_xmpp_stanza_t          *batch;          /* its open one, or NULL */
    ngx_xmpp_stanza_t          *batch_last;
    ngx_uint_t                  batch_n;
    size_t                      batch_size;

    u_char                     *recv;           /* one read buffer for all */
    u_char                     *send;           /* gathers small packets */

    ngx_connection_t           *hook;           /* told of a shutdown */
    ngx_event_t                 drain;
    ngx_event_t                 again;          /* after refused SSUBSCRIBE */
    ngx_event_t                 again_record;   /* after a refused record */
    ngx_event_t                 again_leave;    /* while Redis is away */
    ngx_event_t                 again_remove;
    ngx_event_t                 trim;           /* gives heap back, slowly */
    ngx_msec_t                  drain_end;
    unsigned                    draining:1;
    unsigned                    drained:1;      /* the store is closed */
    unsigned                    working:1;      /* on its lists */
    unsigned                    refused:1;      /* nodes lack their channel */
    unsigned                    leave_refused:1;  /* the last end of one was */
};


/* ---- hosts and configuration ---- */

#include "ngx_xmpp_form.h"
#include "ngx_xmpp_feature.h"


struct ngx_xmpp_host_s {
    ngx_str_t                   name;           /* prepared domain */
    ngx_stream_conf_ctx_t      *ctx;
    ngx_str_t                   file;           /* of xmpp_host, for errors */
    ngx_uint_t                  line;

    /* compiled from the features that are on here */
    ngx_array_t                 identities;     /* of ngx_xmpp_identity_t */
    ngx_array_t                 features;       /* of ngx_str_t, disco */
    ngx_array_t                 account_features;  /* of its accounts */
    ngx_array_t                 forms;          /* of ngx_xmpp_form_t */
    ngx_str_t                   node;           /* names these three, or none */
    ngx_array_t                 commands;       /* of ngx_xmpp_command_t */
    ngx_uint_t                  iterations;     /* of PBKDF2, for new keys */
    ngx_array_t                 nonzas;         /* of ngx_xmpp_nonza_t */
    ngx_array_t                 stream_features;
    ngx_hash_t                  iqs;            /* name " " ns -> array */
    ngx_array_t                 hooks[NGX_XMPP_PHASES];
    ngx_array_t                 events[NGX_XMPP_EVENTS];
    ngx_str_t                   keep;           /* for who is away: how much */
    ngx_str_t                   archive;        /* the same; len 0: it is off */
    ngx_xmpp_hold_pt            hold;           /* of XEP-0352, or NULL */
    ngx_xmpp_sm_limits_t       *sm;             /* of sessions that may be
                                                   resumed, or NULL */

    unsigned                    access_log:1;   /* has one of its own */
    unsigned                    durable:1;      /* what is kept always is */
    unsigned                    carbons:1;      /* XEP-0280 is on */
    unsigned                    hints:1;        /* XEP-0334 is on */
};


typedef struct {
    ngx_array_t                 features;       /* of ngx_xmpp_feature_t * */
    ngx_array_t                 hosts;          /* of ngx_xmpp_host_t * */
    ngx_hash_t                  hosts_hash;

    ngx_xmpp_store_conf_t       store;
    ngx_uint_t                  durability;     /* ngx_xmpp_durability_e */
    ngx_msec_t                  drain_time;
    ngx_msec_t                  heartbeat;
    ngx_stream_handler_pt       ssl_handler;    /* nginx's, of its phase */
    ngx_uint_t                  listeners;      /* servers of ours */
    ngx_uint_t                  websockets;     /* locations of http{} */
    ngx_uint_t                  tls;            /* unsigned  tls:1; */

    ngx_thread_pool_t          *thread_pool;    /* for PBKDF2 */
    ngx_shm_zone_t             *stats;          /* what workers count */

    ngx_xmpp_worker_t          *worker;         /* of this process */
} ngx_xmpp_main_conf_t;


typedef struct {
    ngx_uint_t                  starttls;       /* NGX_XMPP_STARTTLS_* */
    ngx_msec_t                  auth_timeout;
    ngx_uint_t                  auth_attempts;
    size_t                      preauth_bytes;
    ngx_xmpp_xml_limits_t       limits;
    ngx_xmpp_xml_limits_t       preauth;        /* before authentication */
    size_t                      output_queue;
    ngx_msec_t                  send_timeout;
    ngx_msec_t                  idle_timeout;   /* 0: none */
    ngx_msec_t                  probe_timeout;
    ngx_uint_t                  max_sessions;
    ngx_array_t                *admins;         /* of ngx_str_t, or NULL */

    ngx_stream_conf_ctx_t      *ctx;            /* of listeners and hosts */
    ngx_xmpp_host_t            *host;           /* of an xmpp_host{} */
    unsigned                    listener:1;     /* has xmpp_c2s */
} ngx_xmpp_srv_conf_t;


#define NGX_XMPP_STARTTLS_OFF           0
#define NGX_XMPP_STARTTLS_ON            1
#define NGX_XMPP_STARTTLS_ONLY          2


/* first member of each feature's server configuration */
typedef struct {
    ngx_flag_t                  enable;
} ngx_xmpp_feature_conf_t;


/* ---- streams ---- */

/* what a feature keeps in a stream: few do, so it is a list */
typedef struct ngx_xmpp_stream_ctx_s    ngx_xmpp_stream_ctx_t;

struct ngx_xmpp_stream_ctx_s {
    ngx_module_t               *module;
    void                       *data;
    ngx_xmpp_stream_ctx_t      *next;
};


struct ngx_xmpp_stream_s {
    ngx_queue_t                 queue;          /* worker's streams */
    ngx_queue_t                 dirty;          /* worker's dirty */
    ngx_queue_t                 posted;         /* worker's ready */

    const ngx_xmpp_transport_t *transport;
    ngx_connection_t           *connection;
    void                       *nginx;          /* the transport's: what nginx
                                                   has the connection in */
    ngx_xmpp_stream_ctx_t      *ctx;            /* of features */
    ngx_xmpp_worker_t          *worker;
    ngx_xmpp_host_t            *host;           /* named by the header */
    ngx_xmpp_session_t         *session;        /* once bound */
    ngx_xmpp_parser_t          *parser;
    ngx_pool_t                 *pool;           /* of the element under way */
    ngx_xmpp_sasl_t            *sasl;           /* while authenticating */
    ngx_str_t                   user;           /* prepared local, SASL's */
    ngx_str_t                  *mechanism;      /* that it logged in by */
    ngx_str_t                   jid;            /* of the session that was */
    ngx_str_t                  *reason;         /* of the end, the first */
    ngx_str_t                  *from;           /* of the header in hand */
    ngx_uint_t                 *gone;           /* set when it is freed */

    u_char                     *rest;           /* read, not yet parsed */
    u_char                     *rest_pos;
    u_char                     *rest_end;
    ngx_xmpp_out_t             *out;
    ngx_xmpp_out_t            **last_out;
    size_t                      out_sent;       /* of the first packet */
    size_t                      out_size;       /* of all */
    ngx_uint_t                  out_places;     /* how many they are */
    void                      (*written)(ngx_xmpp_session_t *xs);
                                                /* once, when out is empty */

    ngx_xmpp_srv_conf_t        *conf;           /* of the listener */
    ngx_msec_t                  deadline;       /* to authenticate; probed */
    ngx_msec_t                  heard;          /* bytes came last */
    size_t                      received;       /* before authentication */
    ngx_uint_t                  lifetime;       /* for its session */
    uint64_t                    created;        /* the same */
    uint64_t                    stanzas_received;  /* by the session before */
    uint64_t                    stanzas_sent;
    ngx_xmpp_stream_error_e     error;
    ngx_uint_t                  state;

    unsigned                    attempts:8;     /* failed SASL */
    unsigned                    tls:1;
    unsigned                    trusted:1;      /* no TLS here, but before */
    unsigned                    opened:1;       /* our header was sent */
    unsigned                    parked:1;       /* an element is in flight */
    unsigned                    is_dirty:1;
    unsigned                    is_posted:1;
    unsigned                    starttls:1;     /* TLS by STARTTLS */
    unsigned                    securing:1;     /* <proceed/>, no TLS yet */
    unsigned                    handshaking:1;  /* nginx has the connection */
    unsigned                    feeding:1;      /* input is on the stack */
    unsigned                    leaving:1;      /* last words have a deadline */
    unsigned                    lingering:1;    /* waits for the peer's end */
    unsigned                    watched:1;      /* for being idle */
    unsigned                    probed:1;       /* a ping waits for bytes */
};


/* nobody between us and the client reads along */
#define ngx_xmpp_stream_secure(st)      ((st)->tls || (st)->trusted)


/* ---- sessions and accounts ---- */

#define NGX_XMPP_SID_MAX                (16 + 1 + 16)


/* what a feature keeps in a session: few do, so it is a list */
typedef struct ngx_xmpp_session_ctx_s   ngx_xmpp_session_ctx_t;

struct ngx_xmpp_session_ctx_s {
    ngx_module_t               *module;
    void                       *data;
    ngx_xmpp_session_ctx_t     *next;
};


struct ngx_xmpp_session_s {
    ngx_queue_t                 queue;          /* account's sessions */
    ngx_queue_t                 posted;         /* worker's ended, ... */

    ngx_pool_t                 *pool;
    ngx_xmpp_worker_t          *worker;
    ngx_xmpp_host_t            *host;
    ngx_xmpp_account_t         *account;
    ngx_xmpp_stream_t          *stream;         /* NULL: the socket is gone */
    ngx_uint_t                  flight;         /* stanzas not done yet */
    ngx_xmpp_stanza_t          *held;           /* one of them, not begun */
    ngx_xmpp_session_ctx_t     *ctx;            /* of features */

    ngx_xmpp_jid_t              jid;
    ngx_str_t                   sid;            /* the identity's first half */
    ngx_str_t                   flags;          /* letters, of the record */
    u_char                      flag[NGX_XMPP_STORE_FLAGS];
    uint64_t                    counter;        /* its second: inbound */
    uint64_t                    own;            /* the same of what the server
                                                   sends in its name */
    uint64_t                    epoch;          /* 0: not bound yet */
    uint64_t                    fence;          /* highest epoch heard of */
    ngx_int_t                   priority;
    ngx_uint_t                  lifetime;       /* of its keys, in seconds;
                                                   0: they do not expire */
    uint64_t                    created;        /* the account, as a login
                                                   found it */

    ngx_xmpp_out_t             *early;          /* held back */
    size_t                      early_size;
    ngx_uint_t                  holds;          /* what it waits for */
    ngx_queue_t                *directed;       /* for EVENT_UNBIND, _BLOCK,
                                                   _TAKEN:
                                                   ngx_xmpp_directed_t */
    ngx_xmpp_inbox_t           *inbox;          /* NULL: was given nothing */
    ngx_xmpp_sm_t              *sm;             /* NULL: not enabled */
    ngx_xmpp_take_t            *take;           /* from another worker, or NULL:
                                                   it is here */
    ngx_xmpp_store_req_t       *write;          /* of the record, under way */
    ngx_pool_t                 *write_pool;
    void                      (*bound)(ngx_xmpp_session_t *xs, ngx_int_t rc);

    unsigned                    available:1;
    unsigned                    recorded:1;     /* Redis has the record */
    unsigned                    listed:1;       /* for who cleans up */
    unsigned                    stale:1;        /* and is to be once more */
    unsigned                    unwritten:1;    /* its record was refused */
    unsigned                    behind:1;       /* bells may have been missed */
    unsigned                    deaf:1;         /* those of presence, too */
    unsigned                    catching_up:1;  /* what rings waits for them */
    unsigned                    displaced:1;    /* lost to a higher epoch */
    unsigned                    removed:1;      /* with its account */
    unsigned                    removing:1;     /* it asked for that, and is
                                                   closed when answered */
    unsigned                    ending:1;
    unsigned                    waiting:1;      /* for the subscription */
    unsigned                    holding:1;      /* for older answers */
    unsigned                    spared:1;       /* presence, for want of room */
    unsigned                    inactive:1;     /* the host's hold is asked */
    unsigned                    handed:1;       /* another worker gets it */
    unsigned                    moved:1;        /* sid is another worker's */
    unsigned                    snapshots:3;    /* that are under way */
};


struct ngx_xmpp_account_s {
    ngx_str_node_t              sn;             /* str: the key tag */
    ngx_queue_t                 sessions;
    ngx_xmpp_worker_t          *worker;
    ngx_xmpp_store_req_t       *req;            /* subscription under way */
    uint64_t                    heard;          /* last doorbell's number */
    uint64_t                    rung;           /* highest that we rang */
    uint64_t                    missed;         /* bells up to it may be */
    ngx_uint_t                  unsure;         /* bells that wait */
    ngx_xmpp_block_t           *block;          /* the list, NULL: none */
    uint64_t                    block_number;   /* of the bell that told it */
    uint64_t                    carbons_number;
    time_t                      keyed;          /* a minute of new passwords */
    ngx_uint_t                  keys;           /* so many in it */
    unsigned                    block_known:1;  /* it was read */
    unsigned                    subscribed:1;
    unsigned                    carbons:1;      /* for one elsewhere, maybe */
};


/* ---- stanzas ---- */

struct ngx_xmpp_stanza_s {
    ngx_pool_t                 *pool;
    ngx_xmpp_stanza_t          *next;           /* of the batch */
    ngx_xmpp_session_t         *session;        /* the sender */
    ngx_xmpp_xml_t             *xml;
    ngx_uint_t                  mask;           /* kind | to kind */
    ngx_xmpp_type_e             type;
    ngx_xmpp_jid_t              to;             /* prepared; host when none */
    ngx_xmpp_host_t            *host;           /* of to, NULL: remote */
    uint64_t                    counter;

    ngx_uint_t                  phase;
    ngx_uint_t                  hook;           /* the next in the phase */
    ngx_int_t                   fault;          /* held: a condition, or 0 */
    ngx_xmpp_packet_t          *packet;         /* serialized, on demand */
    ngx_uint_t                  tries;          /* of an unreachable route */
    ngx_event_t                 retry;
    ngx_str_t                   tag;            /* of to's account */
    ngx_int_t                   outcome;        /* while it is copied */
    ngx_str_t                   text;           /* of its error; len 0: none */
    ngx_xmpp_xml_t             *echo;           /* of itself in it, or NULL */
    unsigned                    has_to:1;       /* had a to attribute */
    unsigned                    copy_sent:1;    /* carbons: of the sender */
    unsigned                    copy_received:1;   /* of the recipient */
    unsigned                    archive_sent:1; /* in that of the sender */
    unsigned                    archive_received:1;  /* of the recipient */
    unsigned                    keep:1;         /* when nobody is there */
    unsigned                    unknown:1;      /* a try may have run */
};


extern ngx_module_t  ngx_xmpp_module;


/* ---- contexts of directives (core/ngx_xmpp_conf.c) ---- */

#include "ngx_xmpp_conf.h"
#include "ngx_xmpp_admin.h"
#include "ngx_xmpp_durability.h"


#include "ngx_xmpp_command.h"


/* ---- hosts (core/ngx_xmpp_host.c) ---- */

char *ngx_xmpp_host_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_xmpp_host_merge_ssl(ngx_conf_t *cf, ngx_xmpp_main_conf_t *xmcf,
    ngx_xmpp_srv_conf_t *xscf, ngx_stream_conf_ctx_t *ctx);
ngx_int_t ngx_xmpp_host_init(ngx_conf_t *cf, ngx_xmpp_main_conf_t *xmcf);
ngx_xmpp_host_t *ngx_xmpp_host_find(ngx_xmpp_main_conf_t *xmcf,
    ngx_str_t *name);
#define ngx_xmpp_host_conf(h, module)                                         \
    ((h)->ctx->srv_conf[module.ctx_index])


/* ---- their certificates (core/ngx_xmpp_certificate.c) ---- */

ngx_int_t ngx_xmpp_certificate_files(ngx_conf_t *cf, ngx_xmpp_host_t *h,
    ngx_array_t *certificates, ngx_array_t *keys);
void ngx_xmpp_certificate_names(ngx_conf_t *cf, ngx_xmpp_host_t *h,
    SSL_CTX *ctx);


/* ---- the worker (core/ngx_xmpp_worker.c) ---- */

ngx_int_t ngx_xmpp_worker_init(ngx_cycle_t *cycle, ngx_xmpp_main_conf_t *xmcf);
void ngx_xmpp_worker_exit(ngx_cycle_t *cycle, ngx_xmpp_main_conf_t *xmcf);
ngx_pool_t *ngx_xmpp_worker_pool(ngx_xmpp_worker_t *w);
void ngx_xmpp_worker_pool_done(ngx_xmpp_worker_t *w, ngx_pool_t *pool);
void ngx_xmpp_worker_post(ngx_xmpp_worker_t *w);
void ngx_xmpp_worker_trim(ngx_xmpp_worker_t *w);


/* ---- its end (core/ngx_xmpp_drain.c) ---- */

ngx_int_t ngx_xmpp_drain_init(ngx_xmpp_worker_t *w);
void ngx_xmpp_drain_stop(ngx_xmpp_worker_t *w);


/* ---- sessions (core/ngx_xmpp_session.c) ---- */

ngx_xmpp_session_t *ngx_xmpp_session_create(ngx_xmpp_stream_t *st,
    ngx_str_t *local, ngx_str_t *resource);
ngx_xmpp_session_t *ngx_xmpp_session_alloc(ngx_xmpp_worker_t *w,
    ngx_xmpp_host_t *host, ngx_str_t *local, ngx_str_t *resource,
    ngx_str_t *sid);
ngx_int_t ngx_xmpp_session_bind(ngx_xmpp_session_t *xs,
    void (*bound)(ngx_xmpp_session_t *xs, ngx_int_t rc));
void ngx_xmpp_session_end(ngx_xmpp_session_t *xs);
void ngx_xmpp_session_lost(ngx_xmpp_session_t *xs,
    ngx_xmpp_stream_error_e error);
void ngx_xmpp_session_close(ngx_xmpp_session_t *xs,
    ngx_xmpp_stream_error_e error, const char *text);
void ngx_xmpp_session_fence(ngx_xmpp_session_t *xs, uint64_t epoch);
void *ngx_xmpp_session_get_ctx(ngx_xmpp_session_t *xs, ngx_module_t *module);
ngx_int_t ngx_xmpp_session_set_ctx(ngx_xmpp_session_t *xs,
    ngx_module_t *module, void *data);
void ngx_xmpp_session_record(ngx_xmpp_session_t *xs,
    ngx_xmpp_store_session_t *ss);
void ngx_xmpp_session_own(ngx_xmpp_session_t *xs, ngx_str_t *sid);
void ngx_xmpp_session_output(ngx_xmpp_session_t *xs, ngx_xmpp_packet_t *pkt);
void ngx_xmpp_session_active(ngx_xmpp_session_t *xs);
ngx_uint_t ngx_xmpp_session_room(ngx_xmpp_session_t *xs, size_t len);
void ngx_xmpp_session_subscribed(ngx_xmpp_session_t *xs, ngx_int_t rc);
void ngx_xmpp_session_catch_up(ngx_xmpp_session_t *xs);
void ngx_xmpp_session_idle(ngx_xmpp_session_t *xs);
void ngx_xmpp_session_free(ngx_xmpp_session_t *xs);
void ngx_xmpp_session_reassert(ngx_xmpp_session_t *xs);
ngx_int_t ngx_xmpp_session_keep(ngx_xmpp_session_t *xs,
    ngx_xmpp_packet_t *pkt);


/* ---- records that were refused (core/ngx_xmpp_unwritten.c) ---- */

/* one was refused that was to be put back: it is tried again */
void ngx_xmpp_unwritten(ngx_xmpp_session_t *xs);
/* such a one was not: the others may be tried, too */
void ngx_xmpp_unwritten_answered(ngx_xmpp_session_t *xs);


/* ---- their flags (core/ngx_xmpp_session_flag.c) ---- */

ngx_uint_t ngx_xmpp_session_flag(ngx_xmpp_session_t *xs, u_char flag);
void ngx_xmpp_session_set_flag(ngx_xmpp_session_t *xs, u_char flag,
    ngx_uint_t on);
ngx_int_t ngx_xmpp_session_ask_flag(ngx_xmpp_stanza_t *stz, u_char flag,
    ngx_uint_t on);


/* ---- the registry (core/ngx_xmpp_registry.c) ---- */

ngx_xmpp_account_t *ngx_xmpp_registry_get(ngx_xmpp_worker_t *w,
    ngx_str_t *tag);
ngx_xmpp_account_t *ngx_xmpp_registry_find(ngx_xmpp_worker_t *w,
    ngx_str_t *tag);
ngx_xmpp_session_t *ngx_xmpp_registry_session(ngx_xmpp_account_t *a,
    u_char *sid, size_t len);
ngx_int_t ngx_xmpp_registry_subscribe(ngx_xmpp_account_t *a);
void ngx_xmpp_registry_leave(ngx_xmpp_account_t *a);
void ngx_xmpp_registry_doorbell(void *data, ngx_xmpp_store_bell_t *bell);
void ngx_xmpp_registry_again_handler(ngx_event_t *ev);
void ngx_xmpp_registry_rung(void *data, ngx_str_t *tag, uint64_t number);
void ngx_xmpp_registry_state(void *data, ngx_uint_t subscriber,
    ngx_uint_t ready);


/* ---- stanzas (core/ngx_xmpp_stanza.c, ngx_xmpp_phase.c, _router.c) ---- */

void ngx_xmpp_stanza_begin(ngx_xmpp_stanza_t *stz);
ngx_int_t ngx_xmpp_router_send(ngx_xmpp_stanza_t *stz);

ngx_int_t ngx_xmpp_stanza_input(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_xml_t *e);
void ngx_xmpp_stanza_run(ngx_xmpp_stanza_t *stz);
void ngx_xmpp_stanza_resume(ngx_xmpp_stanza_t *stz, ngx_int_t rc);
ngx_int_t ngx_xmpp_stanza_route(ngx_xmpp_stanza_t *stz);
ngx_xmpp_packet_t *ngx_xmpp_stanza_packet(ngx_xmpp_stanza_t *stz);
ngx_int_t ngx_xmpp_stanza_deliver(ngx_xmpp_stanza_t *stz);
ngx_int_t ngx_xmpp_stanza_offline(ngx_xmpp_stanza_t *stz);
ngx_xmpp_xml_t *ngx_xmpp_stanza_payload(ngx_xmpp_stanza_t *stz);

/* ---- idle sessions (core/ngx_xmpp_idle.c) ---- */

ngx_msec_t ngx_xmpp_idle_check(ngx_xmpp_stream_t *st);


/* ---- log and variables (core/ngx_xmpp_log.c, ngx_xmpp_variables.c) ---- */

void ngx_xmpp_log_state(ngx_xmpp_stream_t *st, ngx_uint_t state);
u_char *ngx_xmpp_log_stream(ngx_xmpp_stream_t *st, u_char *buf, size_t len);

typedef struct {
    ngx_str_t                   name;
    uintptr_t                   data;
} ngx_xmpp_variable_t;

extern ngx_xmpp_variable_t      ngx_xmpp_variables[];

ngx_int_t ngx_xmpp_variables_value(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_variable_value_t *v, uintptr_t data);
void ngx_xmpp_variables_set(ngx_variable_value_t *v, ngx_str_t *value);


/* packets and answers; ends of sessions, presence to contacts; block lists;
   carbons */
#include "ngx_xmpp_packet.h"
#include "ngx_xmpp_batch.h"
#include "ngx_xmpp_leave.h"
#include "ngx_xmpp_block.h"
#include "ngx_xmpp_carbon.h"

/* messages for who was away; acknowledgements */
#include "ngx_xmpp_inbox.h"
#include "ngx_xmpp_ack.h"
#include "ngx_xmpp_bounce.h"
#include "ngx_xmpp_confirm.h"
#include "ngx_xmpp_take.h"

/* what was said */
#include "ngx_xmpp_stanza_id.h"
#include "ngx_xmpp_rsm.h"

/* heartbeats, and the end of workers that have none */
#include "ngx_xmpp_reaper.h"

/* keys of passwords; the end of accounts */
#include "ngx_xmpp_keys.h"
#include "ngx_xmpp_remove.h"


#endif /* _NGX_XMPP_H_INCLUDED_ */
