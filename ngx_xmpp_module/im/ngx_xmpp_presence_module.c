/*
 * Presence (RFC 6121, 4): initial presence, changes and unavailability of a
 * session, to the account's own available sessions (4.2.2, 4.4.2, 4.5.2) and
 * to its contacts; probes (4.3) and directed presence (4.6) are in the files
 * beside this one.
 *
 *     own --xmpp1_presence--> answer: contacts --one write to all--> answers
 *
 * Own presence is one Function: it changes the record, from which messages
 * are routed by priority, keeps the stanza, rings the account's others, gives
 * a session that has just become available their presence, and says which
 * contacts are to be told, and asked.  Then each of these is one command, all
 * of them in one write (core/ngx_xmpp_tell.c), and the stanza is done with the
 * last answer: whatever its sender sends next comes behind it everywhere.
 *
 * While a session asks, what rings for it is newer than the answers, and is
 * held back until the last one, for xmpp_redis_timeout at most.
 *
 * The client goes meanwhile: all is handled to its end, then the session ends.
 * Redis goes: who was not told is not told, that is all.
 */


#include "ngx_xmpp_presence.h"


/* by default: a status, capabilities, a signature */
#define NGX_XMPP_PRESENCE_SIZE        8192


typedef struct {
    ngx_flag_t                  enable;     /* the core looks at it */
    size_t                      max_size;
} ngx_xmpp_presence_conf_t;


/* a stanza of one's own under way, in its pool */
typedef struct {
    ngx_xmpp_stanza_t          *stanza;
    ngx_xmpp_tell_t             tell;
    ngx_event_t                 timer;      /* of what is held back */
    ngx_uint_t                  flight;     /* answers to come */
} ngx_xmpp_presence_own_t;


static ngx_int_t ngx_xmpp_presence_preconfiguration(ngx_conf_t *cf);
static void *ngx_xmpp_presence_create_conf(ngx_conf_t *cf);
static char *ngx_xmpp_presence_merge_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_xmpp_presence_own(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_presence_write(ngx_xmpp_stanza_t *stz,
    ngx_int_t priority);
static ngx_int_t ngx_xmpp_presence_priority(ngx_xmpp_stanza_t *stz,
    ngx_int_t *priority);
static void ngx_xmpp_presence_done(void *data, ngx_xmpp_store_result_t *res);
static void ngx_xmpp_presence_give(ngx_xmpp_session_t *xs, redisReply *reply);
static void ngx_xmpp_presence_tell(ngx_xmpp_presence_own_t *own,
    redisReply *reply);
static void ngx_xmpp_presence_sent(void *data);
static void ngx_xmpp_presence_told(void *data, ngx_int_t rc);
static void ngx_xmpp_presence_noted(void *data, ngx_xmpp_store_result_t *res);
static void ngx_xmpp_presence_late(ngx_event_t *ev);
static void ngx_xmpp_presence_finish(ngx_xmpp_presence_own_t *own,
    ngx_int_t rc);


static ngx_xmpp_xep_t  ngx_xmpp_presence_xeps[] = {
    { 6121, NULL, "section 4, without other servers" },
    ngx_xmpp_null_xep
};


static ngx_xmpp_hook_t  ngx_xmpp_presence_hooks[] = {

    { NGX_XMPP_SEND_PHASE, NGX_XMPP_PRESENCE|NGX_XMPP_TO_SELF,
      NGX_XMPP_ORDER_PRESENCE, ngx_xmpp_presence_own },

    { NGX_XMPP_SEND_PHASE,
      NGX_XMPP_PRESENCE|NGX_XMPP_TO_BARE|NGX_XMPP_TO_FULL,
      NGX_XMPP_ORDER_PRESENCE, ngx_xmpp_presence_directed },

    { NGX_XMPP_SEND_PHASE, NGX_XMPP_PRESENCE|NGX_XMPP_TO_ANY,
      NGX_XMPP_ORDER_PRESENCE, ngx_xmpp_presence_probe },

      ngx_xmpp_null_hook
};


static ngx_xmpp_event_row_t  ngx_xmpp_presence_events[] = {
    { NGX_XMPP_EVENT_UNBIND, ngx_xmpp_presence_unbind },
    { NGX_XMPP_EVENT_BLOCK, ngx_xmpp_presence_block },
    { NGX_XMPP_EVENT_TAKEN, ngx_xmpp_presence_taken },
    ngx_xmpp_null_event
};


static ngx_command_t  ngx_xmpp_presence_commands[] = {

    { ngx_string("xmpp_presence"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_presence_conf_t, enable),
      NULL },

    { ngx_string("xmpp_presence_size"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_size_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_presence_conf_t, max_size),
      &ngx_xmpp_conf_positive },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_presence_module_ctx = {
    ngx_xmpp_presence_preconfiguration,  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_presence_create_conf,         /* create server configuration */
    ngx_xmpp_presence_merge_conf           /* merge server configuration */
};


ngx_module_t  ngx_xmpp_presence_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_presence_module_ctx,       /* module context */
    ngx_xmpp_presence_commands,          /* module directives */
    NGX_STREAM_MODULE,                     /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_xmpp_feature_t  ngx_xmpp_presence_feature = {
    &ngx_xmpp_presence_module,
    ngx_xmpp_presence_xeps,
    NULL,                                  /* disco features */
    NULL,                                  /* nonzas */
    NULL,                                  /* stream features */
    NULL,                                  /* iq */
    ngx_xmpp_presence_hooks,
    ngx_xmpp_presence_events,
    NULL,                                  /* identities */
    NULL,                                  /* prepare */
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_presence_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_presence_feature);
}


static void *
ngx_xmpp_presence_create_conf(ngx_conf_t *cf)
{
    ngx_xmpp_presence_conf_t  *conf;

    conf = ngx_palloc(cf->pool, sizeof(ngx_xmpp_presence_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->enable = NGX_CONF_UNSET;
    conf->max_size = NGX_CONF_UNSET_SIZE;

    return conf;
}


static char *
ngx_xmpp_presence_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_xmpp_presence_conf_t *prev = parent;
    ngx_xmpp_presence_conf_t *conf = child;

    ngx_conf_merge_value(conf->enable, prev->enable, 1);
    ngx_conf_merge_size_value(conf->max_size, prev->max_size,
                              NGX_XMPP_PRESENCE_SIZE);

    return NGX_CONF_OK;
}


/* presence without an address; one for the own bare JID is directed */

static ngx_int_t
ngx_xmpp_presence_own(ngx_xmpp_stanza_t *stz)
{
    ngx_int_t  rc, priority;

    if (stz->has_to || stz->type == NGX_XMPP_TYPE_PROBE) {
        return NGX_DECLINED;
    }

    if (stz->type != NGX_XMPP_TYPE_NONE
        && stz->type != NGX_XMPP_TYPE_UNAVAILABLE)
    {
        return (stz->type >= NGX_XMPP_TYPE_SUBSCRIBE)
               ? NGX_XMPP_E_BAD_REQUEST : NGX_OK;
    }

    rc = ngx_xmpp_presence_priority(stz, &priority);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_xmpp_xml_set(stz->pool, stz->xml, "to",
                         &stz->session->jid.bare)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_xmpp_presence_write(stz, priority);
}


/* the first step, in the account's own slot */

static ngx_int_t
ngx_xmpp_presence_write(ngx_xmpp_stanza_t *stz, ngx_int_t priority)
{
    u_char                    *p;
    ngx_str_t                  state, body;
    ngx_uint_t                 initial;
    ngx_xmpp_packet_t         *pkt;
    ngx_xmpp_session_t        *xs;
    ngx_xmpp_main_conf_t      *xmcf;
    ngx_xmpp_presence_own_t   *own;
    ngx_xmpp_presence_conf_t  *conf;
    ngx_xmpp_store_session_t   ss;

    xs = stz->session;

    pkt = ngx_xmpp_stanza_packet(stz);
    own = ngx_pcalloc(stz->pool, sizeof(ngx_xmpp_presence_own_t));
    p = ngx_pnalloc(stz->pool, NGX_INT_T_LEN);

    if (pkt == NULL || own == NULL || p == NULL) {
        return NGX_ERROR;
    }

    /* Redis keeps it, and whoever may have it gets it at each login */

    conf = ngx_xmpp_host_conf(xs->host, ngx_xmpp_presence_module);

    if (pkt->len > conf->max_size) {
        return ngx_xmpp_refuse(stz, NGX_XMPP_E_POLICY_VIOLATION,
                               "Presence may have %uz bytes. Say less, in its "
                               "status for example.", conf->max_size);
    }

    own->stanza = stz;

    body.data = pkt->data;
    body.len = pkt->len;

    state.data = p;

    if (stz->type == NGX_XMPP_TYPE_UNAVAILABLE) {
        ngx_str_set(&state, "-");

    } else {
        state.len = ngx_sprintf(p, "%i", priority) - p;
    }

    initial = (stz->type == NGX_XMPP_TYPE_NONE && !xs->available);

    ngx_xmpp_session_record(xs, &ss);

    if (ngx_xmpp_store_presence(xs->worker->store, stz->pool, &ss, &state,
                                &body, initial, ngx_xmpp_presence_done, own)
        == NULL)
    {
        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    if (initial) {
        xmcf = ngx_stream_cycle_get_module_main_conf(xs->worker->cycle,
                                                     ngx_xmpp_module);

        own->timer.handler = ngx_xmpp_presence_late;
        own->timer.data = xs;
        own->timer.log = xs->worker->log;
        own->timer.cancelable = 1;

        ngx_add_timer(&own->timer, xmcf->store.redis.timeout);

        ngx_xmpp_session_hold(xs);
    }

    return NGX_AGAIN;
}


/* RFC 6121, 4.7.2.3: -128 to 127, 0 when absent */

static ngx_int_t
ngx_xmpp_presence_priority(ngx_xmpp_stanza_t *stz, ngx_int_t *priority)
{
    ngx_int_t        n;
    ngx_str_t        text;
    ngx_uint_t       negative;
    ngx_xmpp_xml_t  *e;

    *priority = 0;

    e = ngx_xmpp_xml_child(stz->xml, "priority", &ngx_xmpp_ns_client);

    if (e == NULL) {
        return NGX_OK;
    }

    if (ngx_xmpp_xml_text(stz->pool, e, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    while (text.len && (text.data[0] == ' ' || text.data[0] == LF)) {
        text.data++;
        text.len--;
    }

    while (text.len && (text.data[text.len - 1] == ' '
                        || text.data[text.len - 1] == LF))
    {
        text.len--;
    }

    if (text.len == 0) {
        return NGX_OK;
    }

    negative = (text.data[0] == '-');

    if (negative || text.data[0] == '+') {
        text.data++;
        text.len--;
    }

    n = ngx_atoi(text.data, text.len);

    if (n == NGX_ERROR || n > (negative ? 128 : 127)) {
        return NGX_XMPP_E_BAD_REQUEST;
    }

    *priority = negative ? -n : n;

    return NGX_OK;
}


static void
ngx_xmpp_presence_done(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_presence_own_t *own = data;

    ngx_xmpp_stanza_t   *stz;
    ngx_xmpp_session_t  *xs;

    stz = own->stanza;
    xs = stz->session;

    /* a repeat by the client does no harm, so what is unknown may be told */

    if (res->rc == NGX_AGAIN || res->rc == NGX_ERROR) {
        ngx_xmpp_presence_finish(own, NGX_XMPP_E_RESOURCE_CONSTRAINT);
        return;
    }

    if (res->rc != NGX_OK) {

        /* the record is another's by now, or was lost: that decides */

        ngx_xmpp_session_reassert(xs);
        ngx_xmpp_presence_finish(own, NGX_XMPP_E_RESOURCE_CONSTRAINT);
        return;
    }

    xs->available = (stz->type == NGX_XMPP_TYPE_NONE);

    if (xs->available) {
        (void) ngx_xmpp_presence_priority(stz, &xs->priority);
    }

    if (xs->account->rung < res->number) {
        xs->account->rung = res->number;
    }

    ngx_xmpp_presence_give(xs, res->reply);
    ngx_xmpp_inbox_present(xs, res->reply);
    ngx_xmpp_presence_tell(own, res->reply);
}


/* what the answer has for this session: presence of the account's others */

static void
ngx_xmpp_presence_give(ngx_xmpp_session_t *xs, redisReply *reply)
{
    size_t              i;
    redisReply         *r;
    ngx_xmpp_packet_t  *pkt;

    for (i = 5; i < reply->elements; i++) {
        r = reply->element[i];

        if (r->type != REDIS_REPLY_STRING) {
            continue;
        }

        pkt = ngx_xmpp_packet_copy(xs->worker->log, (u_char *) r->str,
                                   r->len);
        if (pkt == NULL) {
            return;
        }

        ngx_xmpp_session_output(xs, pkt);
        ngx_xmpp_packet_release(pkt);
    }
}


/* the second step: the contacts, each in its slot */

static void
ngx_xmpp_presence_tell(ngx_xmpp_presence_own_t *own, redisReply *reply)
{
    ngx_uint_t           directed;
    ngx_xmpp_tell_t     *t;
    ngx_xmpp_stanza_t   *stz;
    ngx_xmpp_session_t  *xs;

    stz = own->stanza;
    xs = stz->session;
    t = &own->tell;
    directed = 0;

    t->worker = xs->worker;
    t->user = xs->jid.bare;
    t->from = xs->jid.full;
    t->session = xs;
    t->stanza.data = stz->packet->data;
    t->stanza.len = stz->packet->len;
    t->sent = ngx_xmpp_presence_sent;
    t->done = ngx_xmpp_presence_told;
    t->data = own;

    if (ngx_xmpp_tell_contacts(stz->pool, reply, 3, &t->contacts) != NGX_OK) {
        ngx_xmpp_presence_finish(own, NGX_ERROR);
        return;
    }

    if (stz->type == NGX_XMPP_TYPE_UNAVAILABLE) {
        directed = ngx_xmpp_presence_undirect(xs, t);
    }

    own->flight = 1;

    switch (ngx_xmpp_tell_start(t)) {

    case NGX_AGAIN:
        return;

    case NGX_OK:

        /* what is asked now is answered behind all that they were told */

        if (directed) {
            ngx_xmpp_presence_sent(own);
        }

        ngx_xmpp_presence_told(own, NGX_OK);
        return;

    default:
        ngx_xmpp_presence_finish(own, NGX_ERROR);
        return;
    }
}


/* all contacts are written: that they have heard it goes along */

static void
ngx_xmpp_presence_sent(void *data)
{
    ngx_xmpp_presence_own_t *own = data;

    ngx_xmpp_stanza_t         *stz;
    ngx_xmpp_session_t        *xs;
    ngx_xmpp_store_session_t   ss;

    stz = own->stanza;
    xs = stz->session;

    if (stz->type != NGX_XMPP_TYPE_UNAVAILABLE) {
        return;
    }

    ngx_xmpp_session_record(xs, &ss);

    /* if it is not noted, the end of the session tells them once more */

    if (ngx_xmpp_store_told(xs->worker->store, stz->pool, &ss, 0,
                            ngx_xmpp_presence_noted, own)
        != NULL)
    {
        own->flight++;
    }
}


static void
ngx_xmpp_presence_told(void *data, ngx_int_t rc)
{
    ngx_xmpp_presence_own_t *own = data;

    if (--own->flight == 0) {
        ngx_xmpp_presence_finish(own, NGX_OK);
    }
}


static void
ngx_xmpp_presence_noted(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_presence_own_t *own = data;

    if (--own->flight == 0) {
        ngx_xmpp_presence_finish(own, NGX_OK);
    }
}


/* some answers are not there in time: what rang does not wait for them */

static void
ngx_xmpp_presence_late(ngx_event_t *ev)
{
    ngx_xmpp_session_t  *xs;

    xs = ev->data;

    ngx_log_error(NGX_LOG_WARN, xs->worker->log, 0,
                  "xmpp has not got the presence of all contacts of \"%V\" "
                  "within xmpp_redis_timeout", &xs->jid.full);

    ngx_xmpp_session_release(xs);
}


/* rc is what a handler returns; the stanza may be gone afterwards */

static void
ngx_xmpp_presence_finish(ngx_xmpp_presence_own_t *own, ngx_int_t rc)
{
    ngx_xmpp_stanza_t  *stz;

    stz = own->stanza;

    /* set as long as it holds what rings */

    if (own->timer.timer_set) {
        ngx_del_timer(&own->timer);
        ngx_xmpp_session_release(stz->session);
    }

    ngx_xmpp_stanza_resume(stz, rc);
}
