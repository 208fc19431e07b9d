/*
 * Shared by the files of store/: the store itself, a request, keys.
 */


#ifndef _NGX_XMPP_STORE_PRIVATE_H_INCLUDED_
#define _NGX_XMPP_STORE_PRIVATE_H_INCLUDED_


#include "ngx_xmpp_store.h"
#include "ngx_xmpp_util.h"


#define NGX_XMPP_STORE_ARGS           (16 + 2 * NGX_XMPP_STORE_BATCH)
#define NGX_XMPP_STORE_CALL_NUMBERS   6
#define NGX_XMPP_STORE_POST_POOL      1024
#define NGX_XMPP_STORE_TALLY_SIZE     128


/* how many logins failed, as far as this worker has heard */
typedef struct {
    u_char                      name[NGX_XMPP_TALLY_LEN];
    ngx_uint_t                  count;
    ngx_msec_t                  until;        /* when it is forgotten */
} ngx_xmpp_store_tally_t;


struct ngx_xmpp_store_s {
    ngx_xmpp_redis_t           *redis;
    ngx_log_t                  *log;
    ngx_str_t                   prefix;
    ngx_str_t                   channels;     /* prefix and database */
    ngx_str_t                   secret;       /* len 0: not agreed on yet */
    ngx_str_t                   secret_key;
    u_char                      secret_data[32];
    ngx_uint_t                  agreeing;     /* requests for it, under way */

    ngx_xmpp_store_bell_pt      bell;
    ngx_xmpp_redis_confirmed_pt confirmed;
    ngx_xmpp_store_rung_pt      rung;
    ngx_xmpp_redis_state_pt     state;
    void                       *data;

    ngx_queue_t                 posts;        /* what nobody waits for */

    /* of networks, of accounts: ngx_xmpp_store_login.c */
    ngx_xmpp_store_tally_t      tallies[2][NGX_XMPP_STORE_TALLY_SIZE];

    ngx_uint_t                  durability;   /* ngx_xmpp_durability_e */
    char                       *said;         /* of its disk; NULL: nothing */

    unsigned                    loaded:1;     /* Functions are there */
    unsigned                    loading:1;
    unsigned                    refused:1;    /* they were, and that is said */
    unsigned                    closed:1;     /* its requests are gone */
    unsigned                    evicting:1;   /* Redis may lose keys */
    unsigned                    unlogged:1;   /* it has no append-only file */
};


struct ngx_xmpp_store_req_s {
    ngx_xmpp_store_t           *store;
    ngx_xmpp_redis_req_t       *redis;        /* NULL: answered */
    ngx_xmpp_store_handler_pt   handler;
    void                       *data;
    ngx_pool_cleanup_t         *cleanup;      /* cancels it */

    /* kept to repeat the command when Redis lost the Functions */
    ngx_uint_t                  argc;
    ngx_str_t                  *argv;
    unsigned                    repeated:1;
    unsigned                    unknown:1;    /* some try may have run */
    unsigned                    mark:1;       /* as of the arguments */
    unsigned                    once:1;
    unsigned                    durable:1;
    unsigned                    sure:1;
};


/* what a command's arguments are put into, one after the other */
typedef struct {
    ngx_pool_t                 *pool;
    ngx_uint_t                  n;
    ngx_str_t                   v[NGX_XMPP_STORE_ARGS];
    u_char                     *p;            /* for keys and numbers */
    u_char                     *end;
    unsigned                    failed:1;
    unsigned                    mark:1;       /* the last one tells a repeat */
    unsigned                    once:1;       /* not on a new connection */
    unsigned                    durable:1;    /* answered when replicas have
                                                 it, where they have to */
    unsigned                    sure:1;       /* it reads: what it has read */
} ngx_xmpp_store_args_t;


/* the embedded library, made of redis/ at build time */
extern ngx_str_t  ngx_xmpp_functions_lua;


/* kinds of keys, docs/redis-schema.md */
typedef enum {
    NGX_XMPP_KEY_ACCOUNT = 0,
    NGX_XMPP_KEY_SESSIONS,
    NGX_XMPP_KEY_PRESENCE,
    NGX_XMPP_KEY_ROSTER,
    NGX_XMPP_KEY_REQUESTS,
    NGX_XMPP_KEY_BLOCKED,
    NGX_XMPP_KEY_PRIVATE,
    NGX_XMPP_KEY_VCARD,
    NGX_XMPP_KEY_REMOVED,
    NGX_XMPP_KEY_INBOX,
    NGX_XMPP_KEY_ARCHIVE,
    NGX_XMPP_KEY_ARCHIVED,                    /* what is in it */
    NGX_XMPP_KEY_ARCHIVING,                   /* what is to be */
    NGX_XMPP_KEY_SEEN,                        /* of this period of time */
    NGX_XMPP_KEY_SEEN_BEFORE                  /* of the one before it */
} ngx_xmpp_store_key_e;

typedef enum {
    NGX_XMPP_KEY_BEATS = 0,
    NGX_XMPP_KEY_CLAIMS,
    NGX_XMPP_KEY_LISTED
} ngx_xmpp_store_worker_key_e;


/* asks whether Redis evicts keys */
void ngx_xmpp_store_policy_check(ngx_xmpp_store_t *store, ngx_uint_t flags);

/* asks what Redis keeps on disk */
void ngx_xmpp_store_durability_check(ngx_xmpp_store_t *store,
    ngx_uint_t flags);

/* p may be NULL: then the length that is needed is returned in it */
u_char *ngx_xmpp_store_key(ngx_xmpp_store_t *store, u_char *p,
    ngx_xmpp_store_key_e key, ngx_str_t *tag);
size_t ngx_xmpp_store_key_len(ngx_xmpp_store_t *store, ngx_str_t *tag);
u_char *ngx_xmpp_store_channel(ngx_xmpp_store_t *store, u_char *p,
    ngx_str_t *tag);
ngx_int_t ngx_xmpp_store_probe(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *channel);
ngx_int_t ngx_xmpp_store_channel_tag(ngx_xmpp_store_t *store,
    ngx_str_t *channel, ngx_str_t *tag);

/* arguments: begin with room for extra bytes of keys and numbers */
void ngx_xmpp_store_args(ngx_xmpp_store_args_t *a, ngx_pool_t *pool,
    size_t extra);

/*
 * The same for a call of function with that many keys of tag's account, which
 * follow as ngx_xmpp_store_key_e; there is room for a channel and
 * NGX_XMPP_STORE_CALL_NUMBERS numbers then.
 */
void ngx_xmpp_store_call(ngx_xmpp_store_t *store, ngx_xmpp_store_args_t *a,
    ngx_pool_t *pool, const char *function, ngx_str_t *tag, ngx_uint_t keys,
    ...);

void ngx_xmpp_store_arg(ngx_xmpp_store_args_t *a, ngx_str_t *value);
void ngx_xmpp_store_arg_text(ngx_xmpp_store_args_t *a, const char *text);
void ngx_xmpp_store_arg_uint(ngx_xmpp_store_args_t *a, uint64_t n);
void ngx_xmpp_store_arg_print(ngx_xmpp_store_args_t *a, size_t max,
    const char *fmt, ...);
void ngx_xmpp_store_arg_key(ngx_xmpp_store_t *store,
    ngx_xmpp_store_args_t *a, ngx_xmpp_store_key_e key, ngx_str_t *tag);
void ngx_xmpp_store_arg_session(ngx_xmpp_store_args_t *a,
    ngx_xmpp_store_session_t *ss);
void ngx_xmpp_store_arg_channel(ngx_xmpp_store_t *store,
    ngx_xmpp_store_args_t *a, ngx_str_t *tag);
void ngx_xmpp_store_arg_sm(ngx_xmpp_store_t *store,
    ngx_xmpp_store_args_t *a, ngx_str_t *tag, ngx_str_t *sid);
size_t ngx_xmpp_store_sm_len(ngx_xmpp_store_t *store, ngx_str_t *tag,
    ngx_str_t *sid);
void ngx_xmpp_store_arg_failures(ngx_xmpp_store_t *store,
    ngx_xmpp_store_args_t *a);
void ngx_xmpp_store_arg_worker(ngx_xmpp_store_t *store,
    ngx_xmpp_store_args_t *a, ngx_xmpp_store_worker_key_e key,
    ngx_str_t *boot);
size_t ngx_xmpp_store_worker_len(ngx_xmpp_store_t *store);
void ngx_xmpp_store_arg_accounts(ngx_xmpp_store_t *store,
    ngx_xmpp_store_args_t *a, ngx_str_t *domain);
size_t ngx_xmpp_store_accounts_len(ngx_xmpp_store_t *store,
    ngx_str_t *domain);
void ngx_xmpp_store_arg_registrations(ngx_xmpp_store_t *store,
    ngx_xmpp_store_args_t *a);
size_t ngx_xmpp_store_registrations_len(ngx_xmpp_store_t *store);

/* sends them; NULL: nothing was sent */
ngx_xmpp_store_req_t *ngx_xmpp_store_command(ngx_xmpp_store_t *store,
    ngx_xmpp_store_args_t *a, ngx_xmpp_store_handler_pt handler, void *data);

/*
 * The same for what nobody waits for, to tag's account.  a's pool is taken and
 * goes with the reply; what else the arguments point to is copied.
 */
void ngx_xmpp_store_post(ngx_xmpp_store_t *store, ngx_xmpp_store_args_t *a,
    ngx_str_t *tag);

/*
 * The same, and handler hears the reply; data may be in a's pool.  NGX_ERROR:
 * that has gone, and handler is not called.
 */
ngx_int_t ngx_xmpp_store_post_told(ngx_xmpp_store_t *store,
    ngx_xmpp_store_args_t *a, ngx_xmpp_store_handler_pt handler, void *data);

/* ngx_xmpp_store_bell.c */
ngx_int_t ngx_xmpp_store_bell_parse(ngx_str_t *message,
    ngx_xmpp_store_bell_t *bell);


#endif /* _NGX_XMPP_STORE_PRIVATE_H_INCLUDED_ */
