/*
 * Stanzas: what a client may send (RFC 6120, 8).
 *
 *     input --> from is ours, or the stream ends (8.1.2.1)
 *           --> kind and type (8.2.3; RFC 6121, 4.7.1, 5.2.2)
 *           --> to, prepared, and what kind of address it is (10.3)
 *           --> stamped with the full JID and the stream's language
 *           --> run through its phases (ngx_xmpp_phase.c)
 *
 * A fault of the stanza is answered by a stanza error (ngx_xmpp_reply.c), one
 * of the sender's address by a stream error.
 *
 * A stanza and its tree live in a pool that goes back to the worker when the
 * stanza is done; the session counts those in flight.  After stamping it is
 * read-only.
 */


#include "ngx_xmpp.h"


static ngx_int_t ngx_xmpp_stanza_prepare(ngx_xmpp_stanza_t *stz);
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


/*
 * Takes a complete stanza of a bound session, and its pool.  NGX_OK: it is
 * done, or in a batch that is open; NGX_AGAIN: it is in flight, the stream is
 * resumed later; NGX_DONE: the stream closes.
 */

ngx_int_t
ngx_xmpp_stanza_input(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_xml_t *e)
{
    uint64_t            *received;
    ngx_xmpp_stanza_t   *stz;
    ngx_xmpp_worker_t   *w;
    ngx_xmpp_session_t  *xs;

    w = st->worker;
    xs = st->session;

    received = w->stats->counters.stanzas[NGX_XMPP_STATS_RECEIVED];
    received[ngx_xmpp_stats_kind(e->name.data[0])]++;

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

    st->parked = 1;
    xs->flight++;

    stz->fault = ngx_xmpp_stanza_prepare(stz);

    if (w->batch && (stz->fault || !ngx_xmpp_batch_fits(stz))) {
        ngx_xmpp_batch_send(w);

        if (xs->flight > 1) {
            xs->held = stz;
            return NGX_AGAIN;
        }
    }

    ngx_xmpp_stanza_begin(stz);

    /* what is in flight but not in the batch cannot be overtaken */

    if (w->batch && (ngx_xmpp_batch_full(w) || xs->flight != w->batch_n)) {
        ngx_xmpp_batch_send(w);
    }

    return (st->parked && w->batch == NULL) ? NGX_AGAIN : NGX_OK;
}


/* nothing that it has to wait for is in flight any more */

void
ngx_xmpp_stanza_begin(ngx_xmpp_stanza_t *stz)
{
    if (stz->fault) {
        ngx_xmpp_stanza_resume(stz, stz->fault);

    } else {
        ngx_xmpp_stanza_run(stz);
    }
}


/* NGX_OK or a stanza error condition */

static ngx_int_t
ngx_xmpp_stanza_prepare(ngx_xmpp_stanza_t *stz)
{
    ngx_int_t  rc;

    rc = ngx_xmpp_stanza_kind(stz);

    if (rc == NGX_OK) {
        rc = ngx_xmpp_stanza_to(stz);
    }

    if (rc == NGX_OK) {
        rc = ngx_xmpp_stanza_stamp(stz);
    }

    if (rc == NGX_OK && !(stz->mask & NGX_XMPP_IQ)) {
        ngx_xmpp_forged_strip(stz);
    }

    if (rc == NGX_OK && (stz->mask & NGX_XMPP_MESSAGE)) {
        ngx_xmpp_carbon_prepare(stz);
        ngx_xmpp_inbox_prepare(stz);
    }

    return rc;
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
