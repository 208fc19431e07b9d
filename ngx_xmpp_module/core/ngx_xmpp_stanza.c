/*
 * Stanzas: what a client may send (RFC 6120, 8), and the replies that the
 * server makes.
 *
 *     input --> from is ours, or the stream ends (8.1.2.1)
 *           --> kind and type (8.2.3; RFC 6121, 4.7.1, 5.2.2)
 *           --> to, prepared, and what kind of address it is (10.3)
 *           --> stamped with the full JID and the stream's language
 *           --> run through its phases (ngx_xmpp_phase.c)
 *
 * A fault of the stanza is answered by a stanza error, one of the sender's
 * address by a stream error.
 *
 * A stanza and its tree live in a pool that goes back to the worker when the
 * stanza is done; the session has one in flight at most, and holds it.  After
 * stamping it is read-only.
 */


#include "ngx_xmpp.h"


typedef struct {
    ngx_str_t         name;
    const char       *type;        /* RFC 6120, 8.3.2 */
} ngx_xmpp_stanza_condition_t;


static ngx_int_t ngx_xmpp_stanza_kind(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_stanza_iq(ngx_xmpp_stanza_t *stz, ngx_str_t *type);
static ngx_int_t ngx_xmpp_stanza_index(const ngx_str_t *names,
    ngx_str_t *type);
static ngx_xmpp_type_e ngx_xmpp_stanza_message(ngx_str_t *type);
static ngx_int_t ngx_xmpp_stanza_presence(ngx_xmpp_stanza_t *stz,
    ngx_str_t *type);
static ngx_int_t ngx_xmpp_stanza_from(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_stanza_to(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_stanza_stamp(ngx_xmpp_stanza_t *stz);
static ngx_xmpp_xml_t *ngx_xmpp_stanza_answer(ngx_xmpp_stanza_t *stz,
    const char *type);


/* in the order of ngx_xmpp_condition_e */

static ngx_xmpp_stanza_condition_t  ngx_xmpp_stanza_conditions[] = {
    { ngx_null_string, NULL },
    { ngx_string("bad-request"), "modify" },
    { ngx_string("conflict"), "cancel" },
    { ngx_string("feature-not-implemented"), "cancel" },
    { ngx_string("forbidden"), "auth" },
    { ngx_string("internal-server-error"), "wait" },
    { ngx_string("item-not-found"), "cancel" },
    { ngx_string("jid-malformed"), "modify" },
    { ngx_string("not-acceptable"), "modify" },
    { ngx_string("not-allowed"), "cancel" },
    { ngx_string("not-authorized"), "auth" },
    { ngx_string("policy-violation"), "modify" },
    { ngx_string("remote-server-not-found"), "cancel" },
    { ngx_string("resource-constraint"), "wait" },
    { ngx_string("service-unavailable"), "cancel" }
};


static ngx_str_t  ngx_xmpp_stanza_error = ngx_string("error");


/*
 * Takes a complete stanza of a bound session, and its pool.  NGX_OK: it is
 * done; NGX_AGAIN: it is in flight, the stream is resumed later; NGX_DONE:
 * the stream closes.
 */

ngx_int_t
ngx_xmpp_stanza_input(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_xml_t *e)
{
    ngx_int_t            rc;
    ngx_xmpp_stanza_t   *stz;
    ngx_xmpp_session_t  *xs;

    xs = st->session;

    stz = ngx_pcalloc(pool, sizeof(ngx_xmpp_stanza_t));
    if (stz == NULL) {
        ngx_xmpp_worker_pool_done(st->worker, pool);
        st->transport->close(st, NGX_XMPP_SE_INTERNAL_SERVER_ERROR, NULL);
        return NGX_DONE;
    }

    stz->pool = pool;
    stz->session = xs;
    stz->xml = e;
    stz->counter = ++xs->counter;

    if (ngx_xmpp_stanza_from(stz) != NGX_OK) {
        ngx_xmpp_worker_pool_done(st->worker, pool);
        st->transport->close(st, NGX_XMPP_SE_INVALID_FROM, NULL);
        return NGX_DONE;
    }

    xs->stanza = stz;
    st->parked = 1;

    rc = ngx_xmpp_stanza_kind(stz);

    if (rc == NGX_OK) {
        rc = ngx_xmpp_stanza_to(stz);
    }

    if (rc == NGX_OK) {
        rc = ngx_xmpp_stanza_stamp(stz);
    }

    if (rc == NGX_OK) {
        ngx_xmpp_stanza_run(stz);

    } else {
        ngx_xmpp_stanza_resume(stz, rc);
    }

    return st->parked ? NGX_AGAIN : NGX_OK;
}


/* RFC 6120, 8.1.2.1: from is ours, or it is a stream error */

static ngx_int_t
ngx_xmpp_stanza_from(ngx_xmpp_stanza_t *stz)
{
    ngx_str_t           *from;
    ngx_xmpp_jid_t       jid;
    ngx_xmpp_session_t  *xs;

    from = ngx_xmpp_xml_attr(stz->xml, "from");
    if (from == NULL) {
        return NGX_OK;
    }

    xs = stz->session;

    if (ngx_xmpp_str_eq(from, &xs->jid.full)
        || ngx_xmpp_str_eq(from, &xs->jid.bare))
    {
        return NGX_OK;
    }

    if (ngx_xmpp_jid_parse(stz->pool, from, &jid) != NGX_OK) {
        return NGX_DECLINED;
    }

    return (ngx_xmpp_str_eq(&jid.full, &xs->jid.full)
            || ngx_xmpp_str_eq(&jid.full, &xs->jid.bare))
           ? NGX_OK : NGX_DECLINED;
}


/* name and type; NGX_OK or a stanza error condition */

static ngx_int_t
ngx_xmpp_stanza_kind(ngx_xmpp_stanza_t *stz)
{
    ngx_str_t  *type;

    type = ngx_xmpp_xml_attr(stz->xml, "type");

    switch (stz->xml->name.data[0]) {

    case 'm':
        stz->mask = NGX_XMPP_MESSAGE;
        stz->type = type ? ngx_xmpp_stanza_message(type)
                         : NGX_XMPP_TYPE_NONE;
        return NGX_OK;

    case 'p':
        stz->mask = NGX_XMPP_PRESENCE;
        return ngx_xmpp_stanza_presence(stz, type);

    default: /* iq */
        stz->type = NGX_XMPP_TYPE_IQ;
        return ngx_xmpp_stanza_iq(stz, type);
    }
}


/* the place of a type in a list of names, or NGX_DECLINED */

static ngx_int_t
ngx_xmpp_stanza_index(const ngx_str_t *names, ngx_str_t *type)
{
    ngx_uint_t  i;

    for (i = 0; names[i].len; i++) {
        if (ngx_xmpp_str_eq(type, &names[i])) {
            return i;
        }
    }

    return NGX_DECLINED;
}


/* RFC 6121, 5.2.2: an unknown type is "normal" */

static ngx_xmpp_type_e
ngx_xmpp_stanza_message(ngx_str_t *type)
{
    static const ngx_str_t  names[] = {
        ngx_string("chat"),
        ngx_string("headline"),
        ngx_string("groupchat"),
        ngx_string("error"),
        ngx_null_string
    };

    ngx_int_t  i;

    i = ngx_xmpp_stanza_index(names, type);

    return (i == NGX_DECLINED) ? NGX_XMPP_TYPE_NONE : NGX_XMPP_TYPE_CHAT + i;
}


/* RFC 6121, 4.7.1 */

static ngx_int_t
ngx_xmpp_stanza_presence(ngx_xmpp_stanza_t *stz, ngx_str_t *type)
{
    static const ngx_str_t  names[] = {
        ngx_string("error"),
        ngx_string("unavailable"),
        ngx_string("subscribe"),
        ngx_string("subscribed"),
        ngx_string("unsubscribe"),
        ngx_string("unsubscribed"),
        ngx_string("probe"),
        ngx_null_string
    };

    ngx_int_t  i;

    stz->type = NGX_XMPP_TYPE_NONE;

    if (type == NULL) {
        return NGX_OK;
    }

    i = ngx_xmpp_stanza_index(names, type);

    if (i == NGX_DECLINED) {
        return NGX_XMPP_E_BAD_REQUEST;
    }

    stz->type = NGX_XMPP_TYPE_ERROR + i;

    return NGX_OK;
}


/* RFC 6120, 8.2.3: type and id are required, a request has one child */

static ngx_int_t
ngx_xmpp_stanza_iq(ngx_xmpp_stanza_t *stz, ngx_str_t *type)
{
    static const ngx_str_t  names[] = {
        ngx_string("get"),
        ngx_string("set"),
        ngx_string("result"),
        ngx_string("error"),
        ngx_null_string
    };

    ngx_int_t  i;

    stz->mask = NGX_XMPP_IQ_GET;

    if (type == NULL) {
        return NGX_XMPP_E_BAD_REQUEST;
    }

    i = ngx_xmpp_stanza_index(names, type);

    if (i == NGX_DECLINED) {
        return NGX_XMPP_E_BAD_REQUEST;
    }

    stz->mask = NGX_XMPP_IQ_GET << i;

    if (ngx_xmpp_xml_attr(stz->xml, "id") == NULL) {
        return NGX_XMPP_E_BAD_REQUEST;
    }

    if ((stz->mask & NGX_XMPP_IQ_REQUEST)
        && ngx_xmpp_xml_elements(stz->xml) != 1)
    {
        return NGX_XMPP_E_BAD_REQUEST;
    }

    if (stz->mask == NGX_XMPP_IQ_RESULT
        && ngx_xmpp_xml_elements(stz->xml) > 1)
    {
        return NGX_XMPP_E_BAD_REQUEST;
    }

    return NGX_OK;
}


/*
 * Where to (RFC 6120, 10.3): without an address it is for the sender's own
 * account.  NGX_OK or a stanza error condition.
 */

static ngx_int_t
ngx_xmpp_stanza_to(ngx_xmpp_stanza_t *stz)
{
    ngx_int_t              rc;
    ngx_str_t             *to;
    ngx_xmpp_session_t    *xs;
    ngx_xmpp_main_conf_t  *xmcf;

    xs = stz->session;
    to = ngx_xmpp_xml_attr(stz->xml, "to");

    if (to == NULL) {
        stz->to = xs->jid;
        stz->to.full = xs->jid.bare;
        stz->to.resource.len = 0;
        stz->host = xs->host;
        stz->mask |= NGX_XMPP_TO_SELF;

        return NGX_OK;
    }

    rc = ngx_xmpp_jid_parse(stz->pool, to, &stz->to);

    if (rc != NGX_OK) {
        ngx_memzero(&stz->to, sizeof(ngx_xmpp_jid_t));

        return (rc == NGX_DECLINED) ? NGX_XMPP_E_JID_MALFORMED
                                    : NGX_XMPP_E_INTERNAL_SERVER_ERROR;
    }

    stz->has_to = 1;

    xmcf = ngx_stream_cycle_get_module_main_conf(xs->worker->cycle,
                                                 ngx_xmpp_module);

    stz->host = ngx_xmpp_host_find(xmcf, &stz->to.domain);

    if (stz->host == NULL) {
        stz->mask |= NGX_XMPP_TO_REMOTE;

    } else if (stz->to.local.len == 0) {
        stz->mask |= NGX_XMPP_TO_HOST;

    } else if (stz->to.resource.len) {
        stz->mask |= NGX_XMPP_TO_FULL;

    } else if (ngx_xmpp_str_eq(&stz->to.full, &xs->jid.bare)) {
        stz->mask |= NGX_XMPP_TO_SELF;

    } else {
        stz->mask |= NGX_XMPP_TO_BARE;
    }

    return NGX_OK;
}


/* the sender's full JID, the prepared to, the stream's language (4.7.4) */

static ngx_int_t
ngx_xmpp_stanza_stamp(ngx_xmpp_stanza_t *stz)
{
    ngx_str_t           *lang;
    ngx_xmpp_session_t  *xs;

    xs = stz->session;

    if (ngx_xmpp_xml_set(stz->pool, stz->xml, "from", &xs->jid.full)
        != NGX_OK)
    {
        return NGX_XMPP_E_INTERNAL_SERVER_ERROR;
    }

    if (stz->has_to
        && ngx_xmpp_xml_set(stz->pool, stz->xml, "to", &stz->to.full)
           != NGX_OK)
    {
        return NGX_XMPP_E_INTERNAL_SERVER_ERROR;
    }

    lang = ngx_xmpp_parser_lang(xs->stream->parser);

    if (lang->len
        && ngx_xmpp_xml_attr_ns(stz->xml, &ngx_xmpp_ns_xml, "lang") == NULL
        && ngx_xmpp_xml_set_ns(stz->pool, stz->xml, &ngx_xmpp_ns_xml, "lang",
                               lang)
           != NGX_OK)
    {
        return NGX_XMPP_E_INTERNAL_SERVER_ERROR;
    }

    return NGX_OK;
}


/* the stanza as bytes, made once; the stanza keeps it.  NULL: no memory */

ngx_xmpp_packet_t *
ngx_xmpp_stanza_packet(ngx_xmpp_stanza_t *stz)
{
    if (stz->packet == NULL) {
        stz->packet = ngx_xmpp_packet_xml(stz->session->worker->log,
                                          stz->xml);
    }

    return stz->packet;
}


/* the one child of an iq request */

ngx_xmpp_xml_t *
ngx_xmpp_stanza_payload(ngx_xmpp_stanza_t *stz)
{
    return ngx_xmpp_xml_child(stz->xml, NULL, NULL);
}


/* an answer's root: addresses turned around; NULL: no memory */

static ngx_xmpp_xml_t *
ngx_xmpp_stanza_answer(ngx_xmpp_stanza_t *stz, const char *type)
{
    ngx_str_t        value, *id, *to;
    ngx_xmpp_xml_t  *e;

    e = ngx_xmpp_xml_create(stz->pool, &stz->xml->name, &ngx_xmpp_ns_client);
    if (e == NULL) {
        return NULL;
    }

    value.data = (u_char *) type;
    value.len = ngx_strlen(type);

    if (ngx_xmpp_xml_set(stz->pool, e, "type", &value) != NGX_OK) {
        return NULL;
    }

    /* an address that could not be prepared goes back as it came */

    to = stz->has_to ? &stz->to.full : ngx_xmpp_xml_attr(stz->xml, "to");

    if (to != NULL
        && ngx_xmpp_xml_set(stz->pool, e, "from", to) != NGX_OK)
    {
        return NULL;
    }

    if (ngx_xmpp_xml_set(stz->pool, e, "to", &stz->session->jid.full)
        != NGX_OK)
    {
        return NULL;
    }

    id = ngx_xmpp_xml_attr(stz->xml, "id");

    if (id != NULL && ngx_xmpp_xml_set(stz->pool, e, "id", id) != NGX_OK) {
        return NULL;
    }

    return e;
}


/*
 * Answers an iq request; payload (may be NULL) is a detached element of
 * stz->pool.  Returns what a handler returns: NGX_OK or NGX_ERROR.
 */

ngx_int_t
ngx_xmpp_reply(ngx_xmpp_stanza_t *stz, ngx_xmpp_xml_t *payload)
{
    ngx_xmpp_xml_t     *e;
    ngx_xmpp_packet_t  *pkt;

    e = ngx_xmpp_stanza_answer(stz, "result");
    if (e == NULL) {
        return NGX_ERROR;
    }

    if (payload) {
        ngx_xmpp_xml_append(e, payload);
    }

    pkt = ngx_xmpp_packet_xml(stz->session->worker->log, e);
    if (pkt == NULL) {
        return NGX_ERROR;
    }

    ngx_xmpp_session_output(stz->session, pkt);
    ngx_xmpp_packet_release(pkt);

    return NGX_OK;
}


/*
 * Answers with a stanza error (RFC 6120, 8.3).  Errors and results are never
 * answered (8.3.1), nor is presence that tells or takes away a subscription.
 * NGX_OK or NGX_ERROR.
 */

ngx_int_t
ngx_xmpp_reply_error(ngx_xmpp_stanza_t *stz, ngx_int_t condition)
{
    ngx_str_t                     value;
    ngx_xmpp_xml_t               *e, *error;
    ngx_xmpp_packet_t            *pkt;
    ngx_xmpp_stanza_condition_t  *cond;

    if (stz->type == NGX_XMPP_TYPE_ERROR
        || (stz->mask & (NGX_XMPP_IQ_RESULT|NGX_XMPP_IQ_ERROR)))
    {
        return NGX_OK;
    }

    if (condition <= 0 || condition >= NGX_XMPP_E_CONDITIONS) {
        condition = NGX_XMPP_E_INTERNAL_SERVER_ERROR;
    }

    cond = &ngx_xmpp_stanza_conditions[condition];

    e = ngx_xmpp_stanza_answer(stz, "error");
    if (e == NULL) {
        return NGX_ERROR;
    }

    error = ngx_xmpp_xml_add(stz->pool, e, &ngx_xmpp_stanza_error, NULL);
    if (error == NULL) {
        return NGX_ERROR;
    }

    value.data = (u_char *) cond->type;
    value.len = ngx_strlen(cond->type);

    if (ngx_xmpp_xml_set(stz->pool, error, "type", &value) != NGX_OK
        || ngx_xmpp_xml_add(stz->pool, error, &cond->name,
                            &ngx_xmpp_ns_stanzas)
           == NULL)
    {
        return NGX_ERROR;
    }

    pkt = ngx_xmpp_packet_xml(stz->session->worker->log, e);
    if (pkt == NULL) {
        return NGX_ERROR;
    }

    ngx_xmpp_session_output(stz->session, pkt);
    ngx_xmpp_packet_release(pkt);

    return NGX_OK;
}
