/*
 * Client state indication (XEP-0352): while nobody looks at a client, what can
 * wait waits, so that its phone may sleep.
 *
 *     active --<inactive/>--> inactive --<active/>--> active
 *
 *     inactive: presence, chat state   held; an older one of the same
 *                                      full JID is forgotten
 *               all else, one's own,   what is held goes first, in the order
 *               or too much            of its arrival; then this
 *
 * What may be held is told from the packet's bytes (ngx_xmpp_csi_kind.c), when
 * the client is inactive and not before: makers of packets know nothing of it,
 * nor do bells, so it is the same whichever worker or release they are from.
 *
 * What is held has not been sent yet, so it is held in front of all that counts
 * what is sent (ngx_xmpp_session_output()).  It gets the time at which it came
 * when it goes (XEP-0203).  With its session it is forgotten: it says how
 * things were, and nobody is there any more to know that.
 *
 * ngx_xmpp_csi_t is of the session's pool, made by the first <inactive/>; what
 * is held has references to packets and places from the heap, freed when they
 * go, or by the pool's cleanup.  Nothing here waits for anything, and an active
 * session has none of it.
 */


#include "ngx_xmpp_csi.h"


/* by default: for one client */
#define NGX_XMPP_CSI_STANZAS          256
#define NGX_XMPP_CSI_SIZE             65536

/* what ngx_xmpp_packet_delayed() adds, beside the host's name */
#define NGX_XMPP_CSI_DELAY            96


typedef struct {
    ngx_flag_t                  enable;         /* the core looks at it */
    ngx_uint_t                  stanzas;
    size_t                      size;           /* bytes of them all */
} ngx_xmpp_csi_conf_t;


typedef struct {
    ngx_queue_t                 queue;
    ngx_xmpp_packet_t          *packet;
    size_t                      size;           /* ngx_xmpp_csi_size() */
    time_t                      when;           /* it came */
    uint32_t                    hash;           /* of kind.from */
    ngx_xmpp_csi_kind_t         kind;           /* points into the packet */
} ngx_xmpp_csi_held_t;


/* of an inactive session */
typedef struct {
    ngx_queue_t                 held;           /* by arrival */
    ngx_uint_t                  n;
    size_t                      size;           /* of them all */
} ngx_xmpp_csi_t;


static ngx_int_t ngx_xmpp_csi_preconfiguration(ngx_conf_t *cf);
static void *ngx_xmpp_csi_create_conf(ngx_conf_t *cf);
static char *ngx_xmpp_csi_merge_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_xmpp_csi_prepare(ngx_conf_t *cf, ngx_xmpp_host_t *h);
static ngx_int_t ngx_xmpp_csi_write(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_xml_t *features);
static ngx_int_t ngx_xmpp_csi_active(ngx_xmpp_stream_t *st,
    ngx_xmpp_xml_t *e);
static ngx_int_t ngx_xmpp_csi_inactive(ngx_xmpp_stream_t *st,
    ngx_xmpp_xml_t *e);
static ngx_int_t ngx_xmpp_csi_early(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e);
static ngx_xmpp_csi_t *ngx_xmpp_csi_create(ngx_xmpp_session_t *xs);
static ngx_int_t ngx_xmpp_csi_hold(ngx_xmpp_session_t *xs,
    ngx_xmpp_packet_t *pkt);
static ngx_uint_t ngx_xmpp_csi_own(ngx_xmpp_session_t *xs, ngx_str_t *from);
static ngx_int_t ngx_xmpp_csi_hold_last(ngx_xmpp_session_t *xs,
    ngx_str_t *stanza);
static ngx_uint_t ngx_xmpp_csi_room(ngx_xmpp_session_t *xs,
    ngx_xmpp_csi_t *csi, ngx_xmpp_packet_t *pkt);
static size_t ngx_xmpp_csi_size(ngx_xmpp_session_t *xs,
    ngx_xmpp_packet_t *pkt);
static void ngx_xmpp_csi_replace(ngx_xmpp_csi_t *csi, ngx_xmpp_csi_kind_t *kind,
    uint32_t hash);
static void ngx_xmpp_csi_flush(ngx_xmpp_session_t *xs, ngx_xmpp_csi_t *csi);
static void ngx_xmpp_csi_give(ngx_xmpp_session_t *xs,
    ngx_xmpp_csi_held_t *held);
static void ngx_xmpp_csi_drop(ngx_xmpp_csi_t *csi, ngx_xmpp_csi_held_t *held);
static void ngx_xmpp_csi_cleanup(void *data);


static ngx_str_t  ngx_xmpp_csi_ns = ngx_string("urn:xmpp:csi:0");
static ngx_str_t  ngx_xmpp_csi_name = ngx_string("csi");


static ngx_xmpp_xep_t  ngx_xmpp_csi_xeps[] = {
    { 85, "2.1", "alone, held for inactive clients" },
    { 203, "2.0", "of what was held" },
    { 352, "1.0.0", "complete" },
    ngx_xmpp_null_xep
};


static ngx_xmpp_nonza_t  ngx_xmpp_csi_nonzas[] = {

    { NGX_XMPP_ST_BOUND, ngx_string("urn:xmpp:csi:0"), ngx_string("active"),
      ngx_xmpp_csi_active },

    { NGX_XMPP_ST_BOUND, ngx_string("urn:xmpp:csi:0"), ngx_string("inactive"),
      ngx_xmpp_csi_inactive },

    { NGX_XMPP_ST_AUTH, ngx_string("urn:xmpp:csi:0"), ngx_string("active"),
      ngx_xmpp_csi_early },

    { NGX_XMPP_ST_AUTH, ngx_string("urn:xmpp:csi:0"), ngx_string("inactive"),
      ngx_xmpp_csi_early },

      ngx_xmpp_null_nonza
};


static ngx_xmpp_stream_feature_t  ngx_xmpp_csi_features[] = {
    { NGX_XMPP_ST_AUTH, NGX_XMPP_ORDER_ANY, ngx_xmpp_csi_write },
    ngx_xmpp_null_stream_feature
};


static ngx_command_t  ngx_xmpp_csi_commands[] = {

    { ngx_string("xmpp_csi"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_csi_conf_t, enable),
      NULL },

    { ngx_string("xmpp_csi_stanzas"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_csi_conf_t, stanzas),
      &ngx_xmpp_conf_positive },

    { ngx_string("xmpp_csi_size"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_size_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_csi_conf_t, size),
      &ngx_xmpp_conf_positive },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_csi_module_ctx = {
    ngx_xmpp_csi_preconfiguration,         /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_csi_create_conf,              /* create server configuration */
    ngx_xmpp_csi_merge_conf                /* merge server configuration */
};


ngx_module_t  ngx_xmpp_csi_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_csi_module_ctx,              /* module context */
    ngx_xmpp_csi_commands,                 /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_csi_feature = {
    &ngx_xmpp_csi_module,
    ngx_xmpp_csi_xeps,
    NULL,                                  /* disco features */
    ngx_xmpp_csi_nonzas,
    ngx_xmpp_csi_features,
    NULL,                                  /* iqs */
    NULL,                                  /* hooks */
    NULL,                                  /* events */
    NULL,                                  /* identities */
    ngx_xmpp_csi_prepare,                  /* prepare */
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_csi_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_csi_feature);
}


static void *
ngx_xmpp_csi_create_conf(ngx_conf_t *cf)
{
    ngx_xmpp_csi_conf_t  *conf;

    conf = ngx_palloc(cf->pool, sizeof(ngx_xmpp_csi_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->enable = NGX_CONF_UNSET;
    conf->stanzas = NGX_CONF_UNSET_UINT;
    conf->size = NGX_CONF_UNSET_SIZE;

    return conf;
}


static char *
ngx_xmpp_csi_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_xmpp_csi_conf_t *prev = parent;
    ngx_xmpp_csi_conf_t *conf = child;

    ngx_conf_merge_value(conf->enable, prev->enable, 1);
    ngx_conf_merge_uint_value(conf->stanzas, prev->stanzas,
                              NGX_XMPP_CSI_STANZAS);
    ngx_conf_merge_size_value(conf->size, prev->size, NGX_XMPP_CSI_SIZE);

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_xmpp_csi_prepare(ngx_conf_t *cf, ngx_xmpp_host_t *h)
{
    h->hold = ngx_xmpp_csi_hold;

    return NGX_OK;
}


/* XEP-0352, 4.1: after authentication */

static ngx_int_t
ngx_xmpp_csi_write(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_xml_t *features)
{
    return ngx_xmpp_xml_add(pool, features, &ngx_xmpp_csi_name,
                            &ngx_xmpp_csi_ns)
           ? NGX_OK : NGX_ERROR;
}


/* XEP-0352, 4.2: no reply; 5.1: before anything else of the client is done */

static ngx_int_t
ngx_xmpp_csi_active(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e)
{
    ngx_xmpp_session_active(st->session);

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_csi_inactive(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e)
{
    ngx_xmpp_session_t  *xs;

    xs = st->session;

    /* 5: the client relies on nothing, so want of memory is no error */

    if (ngx_xmpp_session_get_ctx(xs, &ngx_xmpp_csi_module)
        || ngx_xmpp_csi_create(xs))
    {
        xs->inactive = 1;
    }

    return NGX_OK;
}


/* nothing is sent to a client that has bound nothing: it stays active */

static ngx_int_t
ngx_xmpp_csi_early(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e)
{
    return NGX_OK;
}


static ngx_xmpp_csi_t *
ngx_xmpp_csi_create(ngx_xmpp_session_t *xs)
{
    ngx_xmpp_csi_t      *csi;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(xs->pool, sizeof(ngx_xmpp_csi_t));
    if (cln == NULL) {
        return NULL;
    }

    csi = cln->data;

    ngx_queue_init(&csi->held);
    csi->n = 0;
    csi->size = 0;

    if (ngx_xmpp_session_set_ctx(xs, &ngx_xmpp_csi_module, csi) != NGX_OK) {
        return NULL;
    }

    cln->handler = ngx_xmpp_csi_cleanup;

    return csi;
}


/*
 * What is for an inactive client: NGX_OK, it is held; NGX_DECLINED, it is to be
 * sent, and what was held has been.  pkt NULL: only that.
 */

static ngx_int_t
ngx_xmpp_csi_hold(ngx_xmpp_session_t *xs, ngx_xmpp_packet_t *pkt)
{
    uint32_t              hash;
    ngx_xmpp_csi_t       *csi;
    ngx_xmpp_csi_kind_t   kind;
    ngx_xmpp_csi_held_t  *held;

    csi = ngx_xmpp_session_get_ctx(xs, &ngx_xmpp_csi_module);

    if (pkt == NULL
        || ngx_xmpp_csi_kind(pkt, &kind) != NGX_OK
        || ngx_xmpp_csi_own(xs, &kind.from))
    {
        ngx_xmpp_csi_flush(xs, csi);
        return NGX_DECLINED;
    }

    if (pkt->stanzas > 1) {
        return ngx_xmpp_csi_hold_last(xs, &kind.stanza);
    }

    hash = ngx_crc32_short(kind.from.data, kind.from.len);

    ngx_xmpp_csi_replace(csi, &kind, hash);

    if (!ngx_xmpp_csi_room(xs, csi, pkt)) {
        ngx_xmpp_csi_flush(xs, csi);

        if (!ngx_xmpp_csi_room(xs, csi, pkt)) {
            return NGX_DECLINED;
        }
    }

    held = ngx_alloc(sizeof(ngx_xmpp_csi_held_t), xs->worker->log);

    if (held == NULL) {
        ngx_xmpp_csi_flush(xs, csi);
        return NGX_DECLINED;
    }

    held->packet = pkt;
    held->size = ngx_xmpp_csi_size(xs, pkt);
    held->when = ngx_time();
    held->hash = hash;
    held->kind = kind;

    pkt->refs++;
    csi->n++;
    csi->size += held->size;

    ngx_queue_insert_tail(&csi->held, &held->queue);

    return NGX_OK;
}


/*
 * Whether from, as written, is the client itself: then it has just sent this,
 * is awake, and may wait for it (RFC 6121, 4.2.2).
 */

static ngx_uint_t
ngx_xmpp_csi_own(ngx_xmpp_session_t *xs, ngx_str_t *from)
{
    u_char     *p, buf[sizeof("&quot;")];
    size_t      len;
    ngx_str_t   ch;

    if (ngx_xmpp_xml_escape_size(&xs->jid.full) != from->len) {
        return 0;
    }

    p = from->data;
    ch.len = 1;

    for (ch.data = xs->jid.full.data;
         ch.data < xs->jid.full.data + xs->jid.full.len;
         ch.data++)
    {
        len = ngx_xmpp_xml_escape(buf, &ch) - buf;

        if (ngx_memcmp(p, buf, len) != 0) {
            return 0;
        }

        p += len;
    }

    return 1;
}


/* of several chat states from one session; NGX_DECLINED: they are sent, all */

static ngx_int_t
ngx_xmpp_csi_hold_last(ngx_xmpp_session_t *xs, ngx_str_t *stanza)
{
    ngx_int_t           rc;
    ngx_xmpp_packet_t  *pkt;

    pkt = ngx_xmpp_packet_copy(xs->worker->log, stanza->data, stanza->len);
    if (pkt == NULL) {
        return ngx_xmpp_csi_hold(xs, NULL);
    }

    rc = ngx_xmpp_csi_hold(xs, pkt);

    ngx_xmpp_packet_release(pkt);

    return rc;
}


/*
 * Whether one more may be held.  It counts for the client's queues, too, which
 * have to take what is held all at once: that of output, and half of what the
 * client may leave without acknowledgement.
 */

static ngx_uint_t
ngx_xmpp_csi_room(ngx_xmpp_session_t *xs, ngx_xmpp_csi_t *csi,
    ngx_xmpp_packet_t *pkt)
{
    size_t                size;
    ngx_xmpp_sm_t        *sm;
    ngx_xmpp_stream_t    *st;
    ngx_xmpp_csi_conf_t  *conf;

    sm = xs->sm;
    st = xs->stream;
    conf = ngx_xmpp_host_conf(xs->host, ngx_xmpp_csi_module);
    size = csi->size + ngx_xmpp_csi_size(xs, pkt);

    if (sm && (sm->n + csi->n >= sm->limits->stanzas / 2
               || sm->size + size > sm->limits->size / 2))
    {
        return 0;
    }

    return csi->n < conf->stanzas && size <= conf->size
           && (st == NULL || st->out_size + size <= st->conf->output_queue);
}


/* what it takes in memory, and not less than what goes out */

static size_t
ngx_xmpp_csi_size(ngx_xmpp_session_t *xs, ngx_xmpp_packet_t *pkt)
{
    return sizeof(ngx_xmpp_csi_held_t) + pkt->len + NGX_XMPP_CSI_DELAY
           + xs->host->name.len;
}


static void
ngx_xmpp_csi_replace(ngx_xmpp_csi_t *csi, ngx_xmpp_csi_kind_t *kind,
    uint32_t hash)
{
    ngx_queue_t          *q;
    ngx_xmpp_csi_held_t  *held;

    for (q = ngx_queue_head(&csi->held);
         q != ngx_queue_sentinel(&csi->held);
         q = ngx_queue_next(q))
    {
        held = ngx_queue_data(q, ngx_xmpp_csi_held_t, queue);

        if (held->hash == hash && held->kind.kind == kind->kind
            && ngx_xmpp_str_eq(&held->kind.from, &kind->from))
        {
            ngx_xmpp_csi_drop(csi, held);
            return;
        }
    }
}


/* the stream may close by it, but the session is there until this turn ends */

static void
ngx_xmpp_csi_flush(ngx_xmpp_session_t *xs, ngx_xmpp_csi_t *csi)
{
    ngx_xmpp_csi_held_t  *held;

    xs->inactive = 0;

    while (!ngx_queue_empty(&csi->held)) {
        held = ngx_queue_data(ngx_queue_head(&csi->held), ngx_xmpp_csi_held_t,
                              queue);

        ngx_xmpp_csi_give(xs, held);
        ngx_xmpp_csi_drop(csi, held);
    }

    xs->inactive = 1;
}


/* XEP-0203, 2: one delay, no more; the packet itself may be others', too */

static void
ngx_xmpp_csi_give(ngx_xmpp_session_t *xs, ngx_xmpp_csi_held_t *held)
{
    ngx_str_t           stanza;
    ngx_xmpp_packet_t  *pkt;

    pkt = NULL;

    if (!held->kind.delayed) {
        stanza.data = held->packet->data;
        stanza.len = held->packet->len;

        pkt = ngx_xmpp_packet_delayed(xs->worker->log, &stanza,
                                      &xs->host->name, held->when);
    }

    if (pkt == NULL) {
        ngx_xmpp_session_output(xs, held->packet);
        return;
    }

    ngx_xmpp_session_output(xs, pkt);
    ngx_xmpp_packet_release(pkt);
}


static void
ngx_xmpp_csi_drop(ngx_xmpp_csi_t *csi, ngx_xmpp_csi_held_t *held)
{
    csi->n--;
    csi->size -= held->size;

    ngx_queue_remove(&held->queue);
    ngx_xmpp_packet_release(held->packet);
    ngx_free(held);
}


static void
ngx_xmpp_csi_cleanup(void *data)
{
    ngx_xmpp_csi_t *csi = data;

    while (!ngx_queue_empty(&csi->held)) {
        ngx_xmpp_csi_drop(csi, ngx_queue_data(ngx_queue_head(&csi->held),
                                              ngx_xmpp_csi_held_t, queue));
    }
}
