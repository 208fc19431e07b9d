/*
 * The XML stream (RFC 6120, 4): headers, restarts, features, dispatch.
 *
 *     HEADER -> PLAIN --starttls--> HEADER -> SECURE --sasl--> HEADER
 *            -> AUTH --bind--> BOUND -> CLOSED
 *
 * A stream knows its transport by a vtable only.  An element is dispatched
 * by the host's table of nonzas, whose rows say in which states they hold;
 * stanzas of a bound session go to the core.  While one is in flight the
 * stream is parked: nothing more is parsed (back-pressure, and order).
 *
 * The stream lives in c->pool.  Its cleanup ends the session, gives back what
 * it took from the worker and leaves no pointer behind.
 */


#include "ngx_xmpp_stream.h"


static void ngx_xmpp_stream_cleanup(void *data);
static void ngx_xmpp_stream_counted(ngx_xmpp_stream_t *st);
static ngx_pool_t *ngx_xmpp_stream_pool(void *data);
static void ngx_xmpp_stream_pool_done(ngx_xmpp_stream_t *st);
static void ngx_xmpp_stream_header(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e);
static ngx_int_t ngx_xmpp_stream_check(ngx_xmpp_stream_t *st,
    ngx_xmpp_xml_t *e);
static ngx_int_t ngx_xmpp_stream_check_ns(ngx_xmpp_stream_t *st,
    ngx_xmpp_xml_t *e);
static ngx_int_t ngx_xmpp_stream_check_to(ngx_xmpp_stream_t *st,
    ngx_xmpp_xml_t *e);
static ngx_int_t ngx_xmpp_stream_check_version(ngx_xmpp_xml_t *e);
static ngx_int_t ngx_xmpp_stream_features(ngx_xmpp_stream_t *st);
static ngx_int_t ngx_xmpp_stream_element(ngx_xmpp_stream_t *st,
    ngx_xmpp_xml_t *e);
static void ngx_xmpp_stream_frame(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e);
static ngx_uint_t ngx_xmpp_stream_is_stanza(ngx_xmpp_xml_t *e);
static void ngx_xmpp_stream_xml_error(ngx_xmpp_stream_t *st);


static ngx_str_t  ngx_xmpp_stream_features_name = ngx_string("features");


ngx_xmpp_stream_t *
ngx_xmpp_stream_create(ngx_xmpp_worker_t *w, ngx_connection_t *c,
    const ngx_xmpp_transport_t *transport, void *nginx,
    ngx_xmpp_srv_conf_t *conf)
{
    ngx_xmpp_stream_t   *st;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(c->pool, sizeof(ngx_xmpp_stream_t));
    if (cln == NULL) {
        return NULL;
    }

    st = cln->data;
    ngx_memzero(st, sizeof(ngx_xmpp_stream_t));

    st->connection = c;
    st->nginx = nginx;
    st->transport = transport;
    st->worker = w;
    st->conf = conf;
    ngx_xmpp_log_state(st, NGX_XMPP_ST_HEADER);
    st->last_out = &st->out;
    st->deadline = ngx_current_msec + st->conf->auth_timeout;

    st->parser = ngx_xmpp_parser_create(c->pool, &st->conf->preauth,
                                        transport->framed ? &w->spare_framed
                                                          : &w->spare,
                                        ngx_xmpp_stream_pool, st);
    if (st->parser == NULL) {
        return NULL;
    }

    if (transport->framed) {
        ngx_xmpp_parser_frame(st->parser);
    }

    cln->handler = ngx_xmpp_stream_cleanup;

    ngx_queue_insert_tail(&st->worker->streams, &st->queue);
    st->worker->nstreams++;
    st->worker->stats->counters.streams[transport->kind]++;
    st->worker->stats->gauges.streams[transport->kind]++;

    return st;
}


static void
ngx_xmpp_stream_cleanup(void *data)
{
    ngx_xmpp_stream_t *st = data;

    ngx_xmpp_out_t  *out;

    if (st->gone) {
        *st->gone = 1;
    }

    if (st->session) {
        ngx_xmpp_session_lost(st->session, NGX_XMPP_SE_DROP);
        st->session = NULL;
    }

    ngx_xmpp_sasl_end(st);
    ngx_xmpp_stream_pool_done(st);
    ngx_xmpp_stream_counted(st);

    while (st->out) {
        out = st->out;
        st->out = out->next;

        ngx_xmpp_packet_release(out->packet);
        out->next = st->worker->free_out;
        st->worker->free_out = out;
    }

    if (st->rest) {
        ngx_free(st->rest);
    }

    if (st->is_dirty) {
        ngx_queue_remove(&st->dirty);
    }

    if (st->is_posted) {
        ngx_queue_remove(&st->posted);
    }

    ngx_queue_remove(&st->queue);
    st->worker->nstreams--;

    ngx_xmpp_worker_trim(st->worker);
}


static void
ngx_xmpp_stream_counted(ngx_xmpp_stream_t *st)
{
    ngx_xmpp_stats_t  *stats;

    stats = st->worker->stats;

    if (st->state != NGX_XMPP_ST_CLOSED) {
        stats->counters.closed[NGX_XMPP_SE_DROP]++;
    }

    stats->gauges.streams[st->transport->kind]--;
    stats->gauges.sessions[st->transport->kind] -= (st->state
                                                    == NGX_XMPP_ST_BOUND);
    stats->gauges.output -= st->out_size;
}


/* the log phase comes when the session may be gone: its name is kept for it */

void
ngx_xmpp_stream_detach(ngx_xmpp_stream_t *st)
{
    ngx_xmpp_session_t  *xs;

    xs = st->session;

    if (xs) {
        ngx_xmpp_stream_part(st);
        ngx_xmpp_session_lost(xs, st->error);
    }
}


void
ngx_xmpp_stream_part(ngx_xmpp_stream_t *st)
{
    ngx_xmpp_session_t  *xs;

    xs = st->session;
    st->session = NULL;

    if (xs->epoch) {
        st->stanzas_received = xs->counter;

        st->jid.data = ngx_pstrdup(st->connection->pool,
                                   &xs->jid.full);
        if (st->jid.data) {
            st->jid.len = xs->jid.full.len;
        }
    }
}


/* for the parser: an element begins */

static ngx_pool_t *
ngx_xmpp_stream_pool(void *data)
{
    ngx_xmpp_stream_t *st = data;

    if (st->pool == NULL) {
        st->pool = ngx_xmpp_worker_pool(st->worker);
    }

    return st->pool;
}


static void
ngx_xmpp_stream_pool_done(ngx_xmpp_stream_t *st)
{
    if (st->pool) {
        ngx_xmpp_worker_pool_done(st->worker, st->pool);
        st->pool = NULL;
    }
}


void
ngx_xmpp_stream_idle(ngx_xmpp_stream_t *st)
{
    if (ngx_xmpp_parser_hibernate(st->parser) == NGX_OK) {
        ngx_xmpp_stream_pool_done(st);
    }
}


ngx_int_t
ngx_xmpp_stream_input(ngx_xmpp_stream_t *st, u_char **pos, u_char *last)
{
    ngx_int_t           rc;
    ngx_xmpp_worker_t  *w;

    w = st->worker;

    w->input = st;
    rc = st->transport->input(st, pos, last);
    w->input = NULL;

    if (w->batch) {
        ngx_xmpp_batch_send(w);

        if (rc == NGX_OK && st->parked) {
            return NGX_AGAIN;
        }
    }

    return rc;
}


ngx_int_t
ngx_xmpp_stream_feed(ngx_xmpp_stream_t *st, u_char **pos, u_char *last)
{
    u_char                *start;
    ngx_xmpp_xml_t        *e;
    ngx_xmpp_xml_event_e   event;

    start = *pos;
    event = ngx_xmpp_parser_feed(st->parser, pos, last, &e);

    if (ngx_xmpp_stream_limit(st, *pos - start) != NGX_OK) {
        return NGX_DONE;
    }

    switch (event) {

    case NGX_XMPP_XML_MORE:
        return NGX_DECLINED;

    case NGX_XMPP_XML_OPEN:
        ngx_xmpp_stream_header(st, e);
        ngx_xmpp_stream_pool_done(st);
        break;

    case NGX_XMPP_XML_ELEMENT:

        if (ngx_xmpp_stream_element(st, e) == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        break;

    case NGX_XMPP_XML_CLOSE:

        /* RFC 6120, 4.4: answered in kind, then the socket closes; in a frame
           it is an end tag without a start tag */

        st->transport->close(st, st->transport->framed
                                 ? NGX_XMPP_SE_NOT_WELL_FORMED
                                 : NGX_XMPP_SE_NONE, NULL);
        return NGX_DONE;

    case NGX_XMPP_XML_ERROR:
        ngx_xmpp_stream_xml_error(st);
        return NGX_DONE;
    }

    return (st->state == NGX_XMPP_ST_CLOSED || st->securing) ? NGX_DONE
                                                             : NGX_OK;
}


/* what a connection may send before it is authenticated */

ngx_int_t
ngx_xmpp_stream_limit(ngx_xmpp_stream_t *st, size_t n)
{
    if (st->user.len) {
        return NGX_OK;
    }

    st->received += n;

    if (st->received <= st->conf->preauth_bytes) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_INFO, st->connection->log, 0,
                  "client sent more than %uz bytes before it was "
                  "authenticated", st->conf->preauth_bytes);

    st->transport->close(st, NGX_XMPP_SE_POLICY_VIOLATION,
                         "too many bytes before authentication");

    return NGX_ERROR;
}


/* a stream header of the client, the first or after a restart */

static void
ngx_xmpp_stream_header(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e)
{
    ngx_int_t  rc, error;

    /* RFC 6120, 4.7.2: told back, if it is an address at all */

    st->from = ngx_xmpp_xml_attr(e, "from");

    error = ngx_xmpp_stream_check(st, e);

    if (error != NGX_XMPP_SE_NONE) {
        ngx_log_error(NGX_LOG_INFO, st->connection->log, 0,
                      "client sent a stream header that is refused: %V",
                      ngx_xmpp_stream_error_name(error));

        st->transport->close(st, error, NULL);
        st->from = NULL;
        return;
    }

    ngx_xmpp_log_state(st, st->user.len ? NGX_XMPP_ST_AUTH
                           : ngx_xmpp_stream_secure(st) ? NGX_XMPP_ST_SECURE
                                                        : NGX_XMPP_ST_PLAIN);

    rc = st->transport->open(st);

    if (rc == NGX_OK) {
        rc = ngx_xmpp_stream_features(st);
    }

    if (rc == NGX_ERROR) {
        st->transport->close(st, NGX_XMPP_SE_INTERNAL_SERVER_ERROR, NULL);
    }

    st->from = NULL;
}


/* NGX_XMPP_SE_NONE or the stream error that the header deserves */

static ngx_int_t
ngx_xmpp_stream_check(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e)
{
    ngx_int_t  error;

    error = st->transport->framed ? NGX_XMPP_SE_NONE
                                  : ngx_xmpp_stream_check_ns(st, e);

    if (error != NGX_XMPP_SE_NONE) {
        return error;
    }

    /* the host first: an error is sent by the host that was meant */

    error = ngx_xmpp_stream_check_to(st, e);

    if (error != NGX_XMPP_SE_NONE) {
        return error;
    }

    return ngx_xmpp_stream_check_version(e);
}


static ngx_int_t
ngx_xmpp_stream_check_ns(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e)
{
    ngx_str_t  *prefix, *ns;

    /* RFC 6120, 4.8.1 */

    if (!ngx_xmpp_str_eq(&e->ns, &ngx_xmpp_ns_streams)) {
        return NGX_XMPP_SE_INVALID_NAMESPACE;
    }

    /* RFC 6120, 4.8.5: stream or none */

    prefix = ngx_xmpp_parser_prefix(st->parser);

    if (prefix->len
        && (prefix->len != sizeof("stream") - 1
            || ngx_memcmp(prefix->data, "stream", prefix->len) != 0))
    {
        return NGX_XMPP_SE_BAD_NAMESPACE_PREFIX;
    }

    if (!ngx_xmpp_xml_is(e, "stream", &ngx_xmpp_ns_streams)) {
        return NGX_XMPP_SE_BAD_FORMAT;
    }

    /* RFC 6120, 4.8.2: the content namespace is the default one */

    ns = ngx_xmpp_parser_default_ns(st->parser);

    return ngx_xmpp_str_eq(ns, &ngx_xmpp_ns_client)
           ? NGX_XMPP_SE_NONE : NGX_XMPP_SE_INVALID_NAMESPACE;
}


/* RFC 6120, 4.7.1, 4.7.2, 4.9.3.6, 4.9.3.7, 4.9.3.9 */

static ngx_int_t
ngx_xmpp_stream_check_to(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e)
{
    ngx_str_t              *to, *from;
    ngx_xmpp_jid_t          jid;
    ngx_xmpp_host_t        *h;
    ngx_xmpp_main_conf_t   *xmcf;

    to = ngx_xmpp_xml_attr(e, "to");

    if (to == NULL || to->len == 0) {
        return NGX_XMPP_SE_IMPROPER_ADDRESSING;
    }

    if (ngx_xmpp_jid_parse(st->pool, to, &jid) != NGX_OK
        || jid.local.len || jid.resource.len)
    {
        return NGX_XMPP_SE_IMPROPER_ADDRESSING;
    }

    xmcf = ngx_stream_cycle_get_module_main_conf(st->worker->cycle,
                                                 ngx_xmpp_module);
    h = ngx_xmpp_host_find(xmcf, &jid.domain);

    if (h == NULL) {
        ngx_log_error(NGX_LOG_INFO, st->connection->log, 0,
                      "client asked for \"%V\", which no \"xmpp_host\" names",
                      &jid.domain);

        return NGX_XMPP_SE_HOST_UNKNOWN;
    }

    /* a restarted stream is for the host that was negotiated with */

    if (st->host && st->host != h && (st->user.len || st->starttls)) {
        return NGX_XMPP_SE_NOT_AUTHORIZED;
    }

    if (st->user.len == 0 && st->transport->serves(st, h) != NGX_OK) {
        return NGX_XMPP_SE_NOT_AUTHORIZED;
    }

    st->host = h;

    if (st->user.len == 0) {
        return NGX_XMPP_SE_NONE;
    }

    from = ngx_xmpp_xml_attr(e, "from");

    if (from == NULL) {
        return NGX_XMPP_SE_NONE;
    }

    if (ngx_xmpp_jid_parse(st->pool, from, &jid) != NGX_OK
        || !ngx_xmpp_str_eq(&jid.local, &st->user)
        || !ngx_xmpp_str_eq(&jid.domain, &h->name))
    {
        return NGX_XMPP_SE_INVALID_FROM;
    }

    return NGX_XMPP_SE_NONE;
}


/* RFC 6120, 4.7.5: major.minor; we speak 1.0 to whoever speaks more */

static ngx_int_t
ngx_xmpp_stream_check_version(ngx_xmpp_xml_t *e)
{
    u_char     *dot;
    ngx_int_t   major, minor;
    ngx_str_t  *version;

    version = ngx_xmpp_xml_attr(e, "version");

    if (version == NULL) {
        return NGX_XMPP_SE_UNSUPPORTED_VERSION;
    }

    dot = ngx_strlchr(version->data, version->data + version->len, '.');

    if (dot == NULL) {
        return NGX_XMPP_SE_UNSUPPORTED_VERSION;
    }

    major = ngx_atoi(version->data, dot - version->data);
    minor = ngx_atoi(dot + 1, version->data + version->len - dot - 1);

    if (major < 1 || minor == NGX_ERROR) {
        return NGX_XMPP_SE_UNSUPPORTED_VERSION;
    }

    return NGX_XMPP_SE_NONE;
}


/* RFC 6120, 4.3.2: what the client may negotiate now */

static ngx_int_t
ngx_xmpp_stream_features(ngx_xmpp_stream_t *st)
{
    ngx_uint_t                  i;
    ngx_xmpp_xml_t             *features;
    ngx_xmpp_stream_feature_t  *row;

    features = ngx_xmpp_xml_create(st->pool, &ngx_xmpp_stream_features_name,
                                   &ngx_xmpp_ns_streams);
    if (features == NULL) {
        return NGX_ERROR;
    }

    row = st->host->stream_features.elts;

    for (i = 0; i < st->host->stream_features.nelts; i++) {
        if ((row[i].states & st->state)
            && row[i].write(st, st->pool, features) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return st->transport->nonza(st, "features", features);
}


/* a complete depth-1 element; NGX_OK, or NGX_AGAIN: it is in flight */

static ngx_int_t
ngx_xmpp_stream_element(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e)
{
    ngx_int_t          rc;
    ngx_uint_t         i;
    ngx_pool_t        *pool;
    ngx_xmpp_nonza_t  *row;

    if (st->state == NGX_XMPP_ST_BOUND && ngx_xmpp_stream_is_stanza(e)) {
        pool = st->pool;
        st->pool = NULL;

        rc = ngx_xmpp_stanza_input(st, pool, e);

        return (rc == NGX_AGAIN) ? NGX_AGAIN : NGX_OK;
    }

    if (st->transport->framed
        && (st->state == NGX_XMPP_ST_HEADER
            || ngx_xmpp_str_eq(&e->ns, &ngx_xmpp_ns_framing)))
    {
        ngx_xmpp_stream_frame(st, e);
        ngx_xmpp_stream_pool_done(st);
        return NGX_OK;
    }

    rc = NGX_DECLINED;
    row = st->host->nonzas.elts;

    for (i = 0; i < st->host->nonzas.nelts; i++) {
        if ((row[i].states & st->state)
            && ngx_xmpp_str_eq(&row[i].name, &e->name)
            && ngx_xmpp_str_eq(&row[i].ns, &e->ns))
        {
            rc = row[i].handler(st, e);

            if (rc != NGX_DECLINED) {
                break;
            }
        }
    }

    ngx_xmpp_stream_pool_done(st);

    switch (rc) {

    case NGX_OK:
        return NGX_OK;

    case NGX_AGAIN:
        st->parked = 1;
        return NGX_AGAIN;

    case NGX_DECLINED:
        /* RFC 6120, 4.9.3.12: not before authentication; 4.9.3.24 */

        ngx_log_error(NGX_LOG_INFO, st->connection->log, 0,
                      "client sent an element that is not allowed here");

        st->transport->close(st, (st->state == NGX_XMPP_ST_BOUND)
                                 ? NGX_XMPP_SE_UNSUPPORTED_STANZA_TYPE
                                 : NGX_XMPP_SE_NOT_AUTHORIZED, NULL);
        return NGX_OK;

    default:
        st->transport->close(st, NGX_XMPP_SE_INTERNAL_SERVER_ERROR, NULL);
        return NGX_OK;
    }
}


/*
 * RFC 7395, 3.3.1, 3.4: <open/> is the header, <close/> the end.  A stream is
 * opened once, and once more when it has to be restarted (3.7).
 */

static void
ngx_xmpp_stream_frame(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e)
{
    ngx_str_t                *lang;
    ngx_xmpp_stream_error_e   error;

    if (ngx_xmpp_xml_is(e, "close", &ngx_xmpp_ns_framing)) {
        st->transport->close(st, NGX_XMPP_SE_NONE, NULL);
        return;
    }

    if (ngx_xmpp_xml_is(e, "open", &ngx_xmpp_ns_framing)
        && st->state == NGX_XMPP_ST_HEADER)
    {
        lang = ngx_xmpp_xml_attr_ns(e, &ngx_xmpp_ns_xml, "lang");

        if (lang == NULL
            || ngx_xmpp_parser_set_lang(st->parser, lang) == NGX_OK)
        {
            ngx_xmpp_stream_header(st, e);
            return;
        }

        error = NGX_XMPP_SE_POLICY_VIOLATION;

    } else {

        /* RFC 7395, 3.3.2: the headers are in no other namespace */

        error = ngx_xmpp_str_eq(&e->ns, &ngx_xmpp_ns_framing)
                ? NGX_XMPP_SE_BAD_FORMAT : NGX_XMPP_SE_INVALID_NAMESPACE;
    }

    ngx_log_error(NGX_LOG_INFO, st->connection->log, 0,
                  "client sent a frame that is refused: %V",
                  ngx_xmpp_stream_error_name(error));

    st->transport->close(st, error, NULL);
}


static ngx_uint_t
ngx_xmpp_stream_is_stanza(ngx_xmpp_xml_t *e)
{
    return ngx_xmpp_xml_is(e, "message", &ngx_xmpp_ns_client)
           || ngx_xmpp_xml_is(e, "presence", &ngx_xmpp_ns_client)
           || ngx_xmpp_xml_is(e, "iq", &ngx_xmpp_ns_client);
}


static void
ngx_xmpp_stream_xml_error(ngx_xmpp_stream_t *st)
{
    char                     *text;
    ngx_xmpp_stream_error_e   error;

    switch (ngx_xmpp_parser_error(st->parser, &text)) {

    case NGX_XMPP_XML_ERR_BAD_PREFIX:
        error = NGX_XMPP_SE_BAD_NAMESPACE_PREFIX;
        break;

    case NGX_XMPP_XML_ERR_RESTRICTED:
        error = NGX_XMPP_SE_RESTRICTED_XML;
        break;

    case NGX_XMPP_XML_ERR_ENCODING:
        error = NGX_XMPP_SE_UNSUPPORTED_ENCODING;
        break;

    case NGX_XMPP_XML_ERR_TOO_BIG:
    case NGX_XMPP_XML_ERR_DEPTH:
    case NGX_XMPP_XML_ERR_ATTRS:
    case NGX_XMPP_XML_ERR_ELEMENTS:
    case NGX_XMPP_XML_ERR_NAME:
        error = NGX_XMPP_SE_POLICY_VIOLATION;
        break;

    case NGX_XMPP_XML_ERR_TEXT:
        error = NGX_XMPP_SE_BAD_FORMAT;
        break;

    case NGX_XMPP_XML_ERR_MEMORY:
        error = NGX_XMPP_SE_INTERNAL_SERVER_ERROR;
        break;

    default:
        error = NGX_XMPP_SE_NOT_WELL_FORMED;
    }

    ngx_log_error(NGX_LOG_INFO, st->connection->log, 0,
                  "client sent invalid XML: %s", text);

    st->transport->close(st, error, text);
}


void
ngx_xmpp_stream_secured(ngx_xmpp_stream_t *st)
{
    /* RFC 6120, 5.4.3.3: what was learnt before TLS is forgotten */

    ngx_xmpp_parser_reset(st->parser);

    st->tls = 1;
    st->starttls = 1;
    st->opened = 0;
    ngx_xmpp_log_state(st, NGX_XMPP_ST_HEADER);
}


ngx_int_t
ngx_xmpp_stream_authenticated(ngx_xmpp_stream_t *st, ngx_str_t *user)
{
    st->user.data = ngx_pstrdup(st->connection->pool, user);
    if (st->user.data == NULL) {
        return NGX_ERROR;
    }

    st->user.len = user->len;

    /* RFC 6120, 6.4.6: both discard what they knew of the stream */

    ngx_xmpp_parser_reset(st->parser);
    ngx_xmpp_parser_limits(st->parser, &st->conf->limits);

    st->opened = 0;
    ngx_xmpp_log_state(st, NGX_XMPP_ST_HEADER);

    /* nginx closes no client that has logged in to take another one */

    ngx_reusable_connection(st->connection, 0);

    return NGX_OK;
}


ngx_int_t
ngx_xmpp_stream_send(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e)
{
    ngx_int_t           rc;
    ngx_xmpp_packet_t  *pkt;

    pkt = ngx_xmpp_packet_xml(st->worker->log, e);

    if (pkt == NULL) {
        st->transport->close(st, NGX_XMPP_SE_INTERNAL_SERVER_ERROR, NULL);
        return NGX_ERROR;
    }

    rc = st->transport->send(st, pkt);

    ngx_xmpp_packet_release(pkt);

    return rc;
}
