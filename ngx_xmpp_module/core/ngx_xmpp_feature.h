/*
 * Features: the tables that a feature module gives to the core, which compiles
 * those of the features that are on for each host (core/ngx_xmpp_feature.c).
 * Part of ngx_xmpp.h.
 */


#ifndef _NGX_XMPP_FEATURE_H_INCLUDED_
#define _NGX_XMPP_FEATURE_H_INCLUDED_


typedef ngx_int_t (*ngx_xmpp_handler_pt)(ngx_xmpp_stanza_t *stz);
typedef ngx_int_t (*ngx_xmpp_nonza_pt)(ngx_xmpp_stream_t *st,
    ngx_xmpp_xml_t *e);
typedef ngx_int_t (*ngx_xmpp_feature_write_pt)(ngx_xmpp_stream_t *st,
    ngx_pool_t *pool, ngx_xmpp_xml_t *features);
typedef void (*ngx_xmpp_event_pt)(ngx_xmpp_session_t *xs);
typedef ngx_int_t (*ngx_xmpp_hold_pt)(ngx_xmpp_session_t *xs,
    ngx_xmpp_packet_t *pkt);
typedef ngx_int_t (*ngx_xmpp_feature_init_pt)(ngx_conf_t *cf,
    ngx_xmpp_host_t *h);


/* which document a feature implements, for docs/xep.md */
typedef struct {
    ngx_uint_t                  number;         /* XEP, or RFC when > 999 */
    const char                 *version;        /* NULL: none */
    const char                 *status;         /* "complete", "partial" */
} ngx_xmpp_xep_t;

/* a depth-1 element that is no stanza of a bound session */
typedef struct {
    ngx_uint_t                  states;         /* NGX_XMPP_ST_* */
    ngx_str_t                   ns;
    ngx_str_t                   name;
    ngx_xmpp_nonza_pt           handler;
} ngx_xmpp_nonza_t;

/* a child of <stream:features/> */
typedef struct {
    ngx_uint_t                  states;
    ngx_uint_t                  order;          /* ngx_xmpp_feature_order_e */
    ngx_xmpp_feature_write_pt   write;
} ngx_xmpp_stream_feature_t;

/* an iq request to the server, by the payload's name and namespace */
typedef struct {
    ngx_uint_t                  mask;           /* NGX_XMPP_IQ_*|TO_* */
    ngx_str_t                   ns;
    ngx_str_t                   name;
    ngx_xmpp_handler_pt         handler;
} ngx_xmpp_iq_t;

/* a handler in a phase */
typedef struct {
    ngx_uint_t                  phase;          /* ngx_xmpp_phase_e */
    ngx_uint_t                  mask;           /* kinds and addresses */
    ngx_uint_t                  order;          /* ngx_xmpp_order_e */
    ngx_xmpp_handler_pt         handler;
} ngx_xmpp_hook_t;

typedef enum {
    NGX_XMPP_EVENT_BIND = 0,                    /* a session was bound */
    NGX_XMPP_EVENT_UNBIND,                      /* it ends, Redis not told */
    NGX_XMPP_EVENT_BLOCK,                       /* some were blocked */
    NGX_XMPP_EVENT_TAKEN,                       /* from another worker */
    NGX_XMPP_EVENTS
} ngx_xmpp_event_e;

typedef struct {
    ngx_uint_t                  event;
    ngx_xmpp_event_pt           handler;
} ngx_xmpp_event_row_t;


/* an identity in disco#info of the host (XEP-0030, 3.1) */
typedef struct {
    ngx_str_t                   category;
    ngx_str_t                   type;
    ngx_str_t                   name;           /* len 0: none */
} ngx_xmpp_identity_t;


#define ngx_xmpp_null_xep       { 0, NULL, NULL }
#define ngx_xmpp_null_identity                                                \
    { ngx_null_string, ngx_null_string, ngx_null_string }
#define ngx_xmpp_null_nonza     { 0, ngx_null_string, ngx_null_string, NULL }
#define ngx_xmpp_null_stream_feature  { 0, 0, NULL }
#define ngx_xmpp_null_iq        { 0, ngx_null_string, ngx_null_string, NULL }
#define ngx_xmpp_null_hook      { 0, 0, 0, NULL }
#define ngx_xmpp_null_event     { 0, NULL }


/* what a feature module gives to the core; all tables const, may be NULL */
typedef struct {
    ngx_module_t               *module;
    ngx_xmpp_xep_t             *xeps;
    ngx_str_t                  *features;       /* disco#info of the host */
    ngx_xmpp_nonza_t           *nonzas;
    ngx_xmpp_stream_feature_t  *stream_features;
    ngx_xmpp_iq_t              *iqs;
    ngx_xmpp_hook_t            *hooks;
    ngx_xmpp_event_row_t       *events;
    ngx_xmpp_identity_t        *identities;     /* the same */

    /* at configuration, for each host where it is on */
    ngx_xmpp_feature_init_pt    prepare;        /* adds to h->forms */
    ngx_xmpp_feature_init_pt    compiled;       /* all is there: of all */
} ngx_xmpp_feature_t;


ngx_int_t ngx_xmpp_feature_add(ngx_conf_t *cf, ngx_xmpp_feature_t *feature);
ngx_int_t ngx_xmpp_feature_compile(ngx_conf_t *cf, ngx_xmpp_host_t *h);
void *ngx_xmpp_feature_create_conf(ngx_conf_t *cf);
char *ngx_xmpp_feature_merge_on(ngx_conf_t *cf, void *parent, void *child);
ngx_xmpp_handler_pt ngx_xmpp_feature_iq(ngx_xmpp_host_t *h, ngx_uint_t mask,
    ngx_str_t *ns, ngx_str_t *name);
void ngx_xmpp_feature_event(ngx_xmpp_session_t *xs, ngx_uint_t event);


#endif /* _NGX_XMPP_FEATURE_H_INCLUDED_ */
