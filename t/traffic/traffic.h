
/*
 * A traffic generator for XMPP servers: many clients in one thread that log
 * in, send each other numbered stanzas and count what arrives.
 *
 *     main.c     the loop, the lines that steer it
 *     phase.c    the phases of a run, and its repeats
 *     options.c  the command line, accounts, targets
 *     open.c     who connects when; storms
 *     conn.c     sockets and buffers
 *     tls.c      TLS on them, sessions kept
 *     scan.c     cuts a stream into stanzas
 *     scram.c    SASL SCRAM (RFC 5802), keys kept
 *     login.c    negotiation up to the initial presence
 *     sm.c       stream management: sessions that are resumed
 *     ws.c       frames, with --websocket
 *     work.c     what is sent to whom, and the answers
 *     account.c  what became of each stanza
 *     report.c   latencies, and the lines that are printed
 *
 * Each tracked stanza has a number, in the order sent, which it carries as
 * "traffic:NUMBER:" in its payload and as its id, and a record here:
 *
 *     sent -> received             once and intact
 *          -> returned             it came back as an error
 *          -> unknown -> received  its sender or recipient was cut off
 *                                  meanwhile, or the test forgot it; it may
 *                                  or may not arrive (late)
 *             returned -> unknown  it is sent again with --sm, since it was not
 *                                  acknowledged
 *          (still sent at the end: lost)
 *
 * What arrives again is doubled, and renamed when it has not the <stanza-id/>
 * (XEP-0359) that it had before; with --sm that alone is a fault.  What arrives
 * after a later one of the same sender and recipient is reordered, whatever
 * kinds of stanzas they are, unless it is late.
 */


#ifndef _TRAFFIC_H_INCLUDED_
#define _TRAFFIC_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <openssl/evp.h>
#include <openssl/ssl.h>


#define TR_OK        0
#define TR_ERROR    -1
#define TR_AGAIN    -2

#define TR_TOKEN    "traffic:"

#define TR_TARGETS   16
#define TR_STEPS     32                 /* of latency, to each octave */
#define TR_SIZE_MAX  3000

#define TR_NONE     ((uint32_t) -1)


typedef enum {
    tr_tls_starttls = 0,
    tr_tls_direct,
    tr_tls_plain
} tr_tls_e;


typedef enum {
    tr_kind_message = 0,
    tr_kind_iq,
    tr_kind_result,
    tr_kind_presence,
    tr_kind_max
} tr_kind_e;


typedef enum {
    tr_st_sent = 0,
    tr_st_received,
    tr_st_returned,
    tr_st_unknown
} tr_state_e;


typedef enum {
    tr_cl_offline = 0,
    tr_cl_connect,
    tr_cl_handshake,
    tr_cl_features,
    tr_cl_proceed,
    tr_cl_sasl,
    tr_cl_bind,
    tr_cl_enable,
    tr_cl_resume,
    tr_cl_presence,
    tr_cl_online,
    tr_cl_closing
} tr_client_state_e;


typedef enum {
    tr_ph_login = 0,
    tr_ph_hold,
    tr_ph_relogin,
    tr_ph_storm,
    tr_ph_traffic,
    tr_ph_drain,
    tr_ph_rejoin,
    tr_ph_round,
    tr_ph_round_drain,
    tr_ph_linger,
    tr_ph_close,
    tr_ph_done
} tr_phase_e;


typedef struct {
    char         *data;
    size_t        len;
    size_t        size;
} tr_buf_t;


/* the scanner's place in the input buffer of a connection */

typedef struct {
    size_t        pos;
    size_t        start;
    unsigned      depth;
    unsigned      state;
    unsigned      closing:1;
    unsigned      slash:1;
} tr_scan_t;


typedef enum {
    tr_scan_again = 0,
    tr_scan_header,
    tr_scan_stanza,
    tr_scan_end,
    tr_scan_bad
} tr_scan_e;


typedef struct {
    const char   *data;
    size_t        len;
} tr_str_t;


/* what starts a stanza, and what comes behind its first ">" */

typedef struct {
    tr_str_t      name;                 /* without its prefix */
    tr_str_t      type;
    tr_str_t      id;
    tr_str_t      from;
    tr_str_t      rest;
} tr_start_t;


typedef struct tr_scram_key_s  tr_scram_key_t;


typedef struct {
    const EVP_MD *md;
    char          nonce[33];
    char          bare[384];
    char          signature[128];
} tr_scram_t;


/* XEP-0198: of a client, over its connections */

typedef struct {
    char          id[256];              /* to resume it, or empty */
    uint32_t     *queue;                /* numbers, not acknowledged */
    uint32_t      n;
    uint32_t      size;
    uint32_t      in;                   /* stanzas handled */
    uint32_t      out;                  /* stanzas sent */
    unsigned      on:1;
    unsigned      ask:1;
} tr_sm_t;


/* of a connection, with --websocket */

typedef struct {
    uint64_t      left;                 /* of the frame that is being read */
    size_t        framed;               /* of what is to be sent */
    uint8_t       head[10];
    uint8_t       nhead;
    unsigned      open:1;
} tr_ws_t;


typedef struct {
    char              *user;
    char              *domain;
    char              *password;
    char              *full;            /* bound, or NULL */
    SSL               *ssl;
    SSL_SESSION       *session;         /* to be resumed, or NULL */
    tr_scram_t        *scram;           /* while in SASL */
    tr_scram_key_t    *key;             /* of the last SCRAM, or NULL */
    tr_sm_t           *sm;              /* or NULL */
    tr_ws_t           *ws;              /* or NULL */
    tr_buf_t           in;              /* a stanza that is not complete */
    tr_buf_t           out;
    tr_scan_t          scan;
    uint64_t           retry_at;        /* microseconds, when delayed */
    uint64_t           opened;          /* when it began to connect */
    uint64_t           tried;           /* microseconds, in vain, to resume */
    size_t             full_len;
    size_t             bare_len;
    uint32_t           index;
    uint32_t           place;           /* in run->online */
    uint32_t           target;
    uint32_t           backoff;         /* milliseconds */
    uint32_t           inflight;        /* of its own, with --pairs */
    int                fd;
    tr_client_state_e  state;
    unsigned           authenticated:1;
    unsigned           dirty:1;         /* in run->dirty */
    unsigned           delayed:1;       /* waits for retry_at */
    unsigned           ready:1;         /* in run->ready */
    unsigned           fresh:1;         /* a new stream has begun */
    unsigned           writing:1;       /* waits for EPOLLOUT */
} tr_client_t;


typedef struct {
    uint32_t      from;
    uint32_t      to;
    uint32_t      time;                 /* microseconds of the run, wraps */
    uint32_t      place;                /* in run->outstanding */
    uint32_t      id;                   /* what <stanza-id/> said, or 0 */
    uint8_t       kind;
    uint8_t       state;
    uint8_t       full;                 /* to the full JID */
} tr_record_t;


typedef struct {
    uint64_t      sent;
    uint64_t      received;
    uint64_t      kinds[tr_kind_max];   /* received, of each kind */
    uint64_t      doubled;
    uint64_t      renamed;              /* of these, with another id */
    uint64_t      reordered;
    uint64_t      corrupt;
    uint64_t      stray;
    uint64_t      returned;
    uint64_t      unknown;
    uint64_t      late;
    uint64_t      closes;
    uint64_t      logins;
    uint64_t      refused;
    uint64_t      resumed;              /* TLS sessions */
    uint64_t      failed;               /* XEP-0198: sessions */
    uint64_t      acked;                /* and stanzas */
    uint64_t      bytes_sent;
    uint64_t      bytes_received;
} tr_count_t;


/* indices of clients, first in first out; room for each of them once */

typedef struct {
    uint32_t     *clients;
    uint32_t      first;
    uint32_t      n;
} tr_queue_t;


typedef struct {
    const char   *accounts;
    const char   *ca;
    const char   *mechanism;
    const char   *resource;
    const char   *targets[TR_TARGETS];
    uint32_t      ntargets;
    uint32_t      clients;
    uint64_t      messages;
    uint64_t      progress;
    uint64_t      seed;
    uint32_t      window;
    uint32_t      iq;                   /* shares in percent */
    uint32_t      presence;
    uint32_t      full;
    uint32_t      size;
    uint32_t      logins;
    uint32_t      stall;                /* seconds */
    uint32_t      rate;                 /* messages/s, or 0 */
    uint32_t      relogin;
    uint32_t      storm;
    uint32_t      group;                /* of contacts, or 0 */
    tr_tls_e      tls;
    unsigned      reconnect:1;
    unsigned      round:1;
    unsigned      hold:1;
    unsigned      control:1;
    unsigned      pairs:1;
    unsigned      from:1;
    unsigned      nopresence:1;
    unsigned      tickets:1;
    unsigned      sm:1;
    unsigned      websocket:1;
} tr_options_t;


typedef struct {
    tr_options_t  opt;
    tr_count_t    count;
    tr_phase_e    phase;

    tr_client_t  *clients;
    uint32_t      nclients;
    uint32_t      connecting;
    uint32_t      ndelayed;
    tr_queue_t    queue;                /* to be connected */
    tr_queue_t    ready;                /* may send, with --pairs */
    uint32_t     *online;               /* indices of clients */
    uint32_t      nonline;
    uint32_t     *dirty;
    uint32_t      ndirty;

    tr_record_t  *records;              /* by number, the first is 1 */
    uint32_t      nrecords;
    uint32_t      size;
    uint32_t     *outstanding;
    uint32_t      noutstanding;
    uint32_t      outstanding_size;

    uint64_t     *pair_keys;            /* last number received, hashed */
    uint32_t     *pair_last;
    uint32_t      npairs;
    uint32_t      pairs_size;

    uint64_t      latency[32 * TR_STEPS];
    uint64_t      latency_max;
    uint64_t      nlatency;

    uint64_t      random;
    uint64_t      messages;             /* sent in this phase */
    uint64_t      progress_next;
    uint64_t      now;                  /* microseconds */
    uint64_t      started;
    uint64_t      login_time;
    uint64_t      traffic_started;
    uint64_t      traffic_time;
    uint64_t      traffic_cpu;
    uint64_t      alive;                /* when something moved last */
    uint64_t      looked;               /* for those that are delayed */
    uint64_t      scheduled;            /* stanzas so far, with --rate */
    uint32_t      round_from;
    uint32_t      round_step;
    uint32_t      repeats;
    uint32_t      relogins;             /* begun */
    uint32_t      nstorms;
    uint64_t      storm_started;
    uint64_t     *storms;               /* how long each took */
    uint32_t     *resumes;              /* XEP-0198: the same */
    uint32_t      nresumes;
    uint32_t      told;                 /* of these, by "resumes" */
    uint32_t      resumes_size;

    struct sockaddr_storage  addrs[TR_TARGETS];
    socklen_t                addr_lens[TR_TARGETS];

    SSL_CTX      *ssl;
    char         *buf;                  /* what is being read */
    size_t        buf_size;
    int           epoll;
    int           timer;
    int           status;               /* the worst so far */
    uint64_t      faults;               /* those of the last report */
    const char   *why;                  /* it ended early, or NULL */
    unsigned      reported:1;
    unsigned      finish:1;
    unsigned      go:1;
    unsigned      paired:1;
} tr_run_t;


/* main.c */

uint64_t tr_now(void);
void tr_die(const char *what, const char *why);
void *tr_alloc(size_t size);
void *tr_realloc(void *data, size_t size);
uint32_t tr_random(tr_run_t *run, uint32_t limit);
void tr_queue_push(tr_run_t *run, tr_queue_t *queue, uint32_t client);
uint32_t tr_queue_pop(tr_run_t *run, tr_queue_t *queue);

/* phase.c */

void tr_phase(tr_run_t *run);
void tr_phase_quit(tr_run_t *run);
void tr_phase_again(tr_run_t *run, uint32_t n);
void tr_fatal(tr_run_t *run, const char *why, tr_client_t *cl);

/* options.c */

int tr_options(tr_options_t *opt, int argc, char *const *argv);
void tr_load(tr_run_t *run);
void tr_resolve(tr_run_t *run);

/* open.c */

void tr_open(tr_run_t *run);
void tr_open_online(tr_run_t *run, tr_client_t *cl);
void tr_open_later(tr_run_t *run, tr_client_t *cl);
void tr_open_storm(tr_run_t *run);
int tr_open_storm_over(tr_run_t *run);

/* conn.c */

int tr_conn_open(tr_run_t *run, tr_client_t *cl);
void tr_conn_event(tr_run_t *run, tr_client_t *cl, uint32_t events);
void tr_conn_watch(tr_run_t *run, tr_client_t *cl, int writing);
void tr_conn_send(tr_run_t *run, tr_client_t *cl, const char *data,
    size_t len);
char *tr_conn_room(tr_run_t *run, tr_client_t *cl, size_t size);
void tr_conn_print(tr_run_t *run, tr_client_t *cl, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void tr_conn_flush(tr_run_t *run);
void tr_conn_close(tr_run_t *run, tr_client_t *cl, const char *why);
void tr_conn_cut(tr_run_t *run, tr_client_t *cl);
void tr_conn_reset(tr_client_t *cl);

/* tls.c */

void tr_tls_init(tr_run_t *run);
int tr_tls_start(tr_run_t *run, tr_client_t *cl);
void tr_tls_handshake(tr_run_t *run, tr_client_t *cl);
ssize_t tr_tls_recv(tr_client_t *cl, char *data, size_t len);
ssize_t tr_tls_write(tr_client_t *cl, const char *data, size_t len);
void tr_tls_free(tr_client_t *cl, int notify);

/* scan.c */

tr_scan_e tr_scan(tr_scan_t *sc, const char *data, size_t len);
int tr_scan_start(tr_str_t *el, tr_start_t *start);
int tr_scan_is(tr_str_t *el, const char *name);
int tr_scan_attr(tr_str_t *el, const char *name, tr_str_t *value);
int tr_scan_child(tr_str_t *el, const char *name, tr_str_t *text);
int tr_scan_find(tr_str_t *el, const char *text, tr_str_t *rest);

/* scram.c */

int tr_scram_first(tr_scram_t *sc, const char *mechanism, const char *user,
    char *out, size_t size);
int tr_scram_final(tr_scram_t *sc, tr_client_t *cl, tr_str_t *challenge,
    char *out, size_t size);
int tr_scram_verify(tr_scram_t *sc, tr_str_t *success);
int tr_scram_plain(const char *user, const char *password, char *out,
    size_t size);

/* login.c */

void tr_login_connected(tr_run_t *run, tr_client_t *cl);
void tr_login_end(tr_run_t *run, tr_client_t *cl);
void tr_login_stanza(tr_run_t *run, tr_client_t *cl, tr_str_t *el);

/* sm.c */

void tr_sm_begin(tr_run_t *run, tr_client_t *cl);
int tr_sm_resume(tr_run_t *run, tr_client_t *cl);
int tr_sm_enabled(tr_client_t *cl, tr_str_t *el);
int tr_sm_resumed(tr_run_t *run, tr_client_t *cl, tr_str_t *el);
int tr_sm_stanza(tr_run_t *run, tr_client_t *cl, tr_str_t *el);
void tr_sm_sent(tr_run_t *run, tr_client_t *cl, uint32_t number);
void tr_sm_ask(tr_run_t *run, tr_client_t *cl);
void tr_sm_cut(tr_client_t *cl);

/* ws.c */

void tr_ws_open(tr_run_t *run, tr_client_t *cl);
void tr_ws_close(tr_run_t *run, tr_client_t *cl);
int tr_ws_read(tr_run_t *run, tr_client_t *cl, char *data, size_t old,
    size_t *len);
void tr_ws_frames(tr_run_t *run, tr_client_t *cl);

/* work.c */

void tr_work_init(tr_run_t *run);
int tr_work_turn(tr_run_t *run);
int tr_work_over(tr_run_t *run);
void tr_work_settled(tr_run_t *run, tr_record_t *rec);
void tr_work_stanza(tr_run_t *run, tr_client_t *cl, tr_str_t *el);
void tr_work_presence(tr_run_t *run, tr_client_t *cl);
void tr_work_again(tr_run_t *run, tr_client_t *cl, uint32_t n);

/* account.c */

uint32_t tr_account_sent(tr_run_t *run, tr_client_t *from, tr_client_t *to,
    tr_kind_e kind, uint64_t time);
int tr_account_received(tr_run_t *run, tr_client_t *cl, uint32_t n,
    tr_kind_e kind, tr_start_t *start);
void tr_account_returned(tr_run_t *run, tr_client_t *cl, uint32_t n);
void tr_account_again(tr_run_t *run, uint32_t n);
void tr_account_unknown(tr_run_t *run, uint32_t n);
void tr_account_cut(tr_run_t *run, tr_client_t *cl);
void tr_account_forget(tr_run_t *run);

/* report.c */

void tr_report_latency(tr_run_t *run, uint32_t us);
void tr_report_progress(tr_run_t *run, const char *word);
void tr_report_reset(tr_run_t *run);
void tr_report_times(tr_run_t *run);
uint64_t tr_report_cpu(void);
void tr_report(tr_run_t *run);
int tr_report_last(tr_run_t *run);


#endif /* _TRAFFIC_H_INCLUDED_ */
