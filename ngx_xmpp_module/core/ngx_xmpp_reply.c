/*
 * What the server answers to a stanza: a result (RFC 6120, 8.2.3), or an error
 * (8.3), to the session that has sent it.
 *
 *     handler --> element in the stanza's pool --> packet --> OUTPUT
 *
 * That is done at once; nothing waits here and there is no state.  The stanza
 * is not changed by it, nor ended: that is for the phase, which also answers
 * with a condition that a handler has returned.  The packet is released here,
 * and the transport has a reference of its own.  The session may have lost its
 * client meanwhile: then OUTPUT drops it.
 *
 * An error may have a text (8.3.2), which a handler leaves in the stanza by
 * ngx_xmpp_refuse(), and an element of the request that it gives back, echo.
 */


#include "ngx_xmpp.h"


typedef struct {
    ngx_str_t         name;
    const char       *type;        /* RFC 6120, 8.3.2 */
    ngx_str_t         more;        /* application-specific, 8.3.4 */
    ngx_str_t         ns;          /* its namespace */
} ngx_xmpp_reply_condition_t;


#define ngx_xmpp_no_more  ngx_null_string, ngx_null_string
#define ngx_xmpp_command_more(name)                                           \
    ngx_string(name), ngx_string(NGX_XMPP_COMMAND_NS)

#define NGX_XMPP_REPLY_TEXT          256     /* bytes in an error */


static ngx_xmpp_xml_t *ngx_xmpp_reply_stanza(ngx_xmpp_stanza_t *stz,
    const char *type);
static ngx_int_t ngx_xmpp_reply_text(ngx_pool_t *pool, ngx_xmpp_xml_t *error,
    ngx_str_t *text);


/* in the order of ngx_xmpp_condition_e */

static ngx_xmpp_reply_condition_t  ngx_xmpp_reply_conditions[] = {
    { ngx_null_string, NULL, ngx_xmpp_no_more },
    { ngx_string("bad-request"), "modify", ngx_xmpp_no_more },
    { ngx_string("bad-request"), "modify",
      ngx_xmpp_command_more("bad-action") },
    { ngx_string("bad-request"), "modify",
      ngx_xmpp_command_more("bad-payload") },
    { ngx_string("bad-request"), "modify",
      ngx_xmpp_command_more("bad-sessionid") },
    { ngx_string("not-acceptable"), "cancel",
      ngx_string("blocked"), ngx_string("urn:xmpp:blocking:errors") },
    { ngx_string("conflict"), "cancel", ngx_xmpp_no_more },
    { ngx_string("feature-not-implemented"), "cancel", ngx_xmpp_no_more },
    { ngx_string("forbidden"), "auth", ngx_xmpp_no_more },
    { ngx_string("internal-server-error"), "wait", ngx_xmpp_no_more },
    { ngx_string("item-not-found"), "cancel", ngx_xmpp_no_more },
    { ngx_string("jid-malformed"), "modify", ngx_xmpp_no_more },
    { ngx_string("bad-request"), "modify",
      ngx_xmpp_command_more("malformed-action") },
    { ngx_string("not-acceptable"), "modify", ngx_xmpp_no_more },
    { ngx_string("not-allowed"), "cancel", ngx_xmpp_no_more },
    { ngx_string("not-authorized"), "auth", ngx_xmpp_no_more },
    { ngx_string("policy-violation"), "modify", ngx_xmpp_no_more },
    { ngx_string("remote-server-not-found"), "cancel", ngx_xmpp_no_more },
    { ngx_string("resource-constraint"), "wait", ngx_xmpp_no_more },
    { ngx_string("service-unavailable"), "cancel", ngx_xmpp_no_more },
    { ngx_string("not-allowed"), "cancel",
      ngx_xmpp_command_more("session-expired") }
};


static ngx_str_t  ngx_xmpp_reply_error_name = ngx_string("error");


/* an answer's root: addresses turned around; NULL: no memory */

static ngx_xmpp_xml_t *
ngx_xmpp_reply_stanza(ngx_xmpp_stanza_t *stz, const char *type)
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
 * The answer to an iq request as a packet, which is the caller's; payload (may
 * be NULL) is a detached element of stz->pool.  NULL: no memory.
 */

ngx_xmpp_packet_t *
ngx_xmpp_reply_packet(ngx_xmpp_stanza_t *stz, ngx_xmpp_xml_t *payload)
{
    ngx_xmpp_xml_t  *e;

    e = ngx_xmpp_reply_stanza(stz, "result");
    if (e == NULL) {
        return NULL;
    }

    if (payload) {
        ngx_xmpp_xml_append(e, payload);
    }

    return ngx_xmpp_packet_xml(stz->session->worker->log, e);
}


/* answers with it; returns what a handler returns: NGX_OK or NGX_ERROR */

ngx_int_t
ngx_xmpp_reply(ngx_xmpp_stanza_t *stz, ngx_xmpp_xml_t *payload)
{
    ngx_xmpp_packet_t  *pkt;

    pkt = ngx_xmpp_reply_packet(stz, payload);
    if (pkt == NULL) {
        return NGX_ERROR;
    }

    ngx_xmpp_session_output(stz->session, pkt);
    ngx_xmpp_packet_release(pkt);

    return NGX_OK;
}


/*
 * The same, when the payload's children are there as bytes, in n pieces, that
 * were written by us before.  The payload has no child of its own; NULL: the
 * bytes are it.
 */

ngx_int_t
ngx_xmpp_reply_bytes(ngx_xmpp_stanza_t *stz, ngx_xmpp_xml_t *payload,
    ngx_str_t *bytes, ngx_uint_t n)
{
    u_char             *p;
    size_t              len, end;
    ngx_uint_t          i;
    ngx_xmpp_xml_t     *e;
    ngx_xmpp_packet_t  *pkt;

    static ngx_str_t  place = ngx_string(".");

    for (i = 0, len = 0; i < n; i++) {
        len += bytes[i].len;
    }

    if (len == 0) {
        return ngx_xmpp_reply(stz, payload);
    }

    e = ngx_xmpp_reply_stanza(stz, "result");

    if (e == NULL
        || ngx_xmpp_xml_add_text(stz->pool, payload ? payload : e, &place)
           == NULL)
    {
        return NGX_ERROR;
    }

    end = sizeof("</iq>") - 1;

    if (payload) {
        ngx_xmpp_xml_append(e, payload);
        end += sizeof("</>") - 1 + payload->name.len;
    }

    len += ngx_xmpp_xml_size(e, NULL) - place.len;

    pkt = ngx_xmpp_packet_alloc(stz->session->worker->log, len + place.len);
    if (pkt == NULL) {
        return NGX_ERROR;
    }

    /* written without them, its end is moved behind them */

    p = ngx_xmpp_xml_write(pkt->data, e, NULL);

    p -= end + place.len;

    ngx_memmove(pkt->data + len - end, p + place.len, end);

    for (i = 0; i < n; i++) {
        p = ngx_cpymem(p, bytes[i].data, bytes[i].len);
    }

    pkt->len = len;

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
    ngx_xmpp_xml_t     *e;
    ngx_xmpp_packet_t  *pkt;

    if (stz->type == NGX_XMPP_TYPE_ERROR
        || (stz->mask & (NGX_XMPP_IQ_RESULT|NGX_XMPP_IQ_ERROR)))
    {
        return NGX_OK;
    }

    e = ngx_xmpp_reply_stanza(stz, "error");

    /* RFC 6120, 8.3.1: what was asked may be in it */

    if (e && stz->echo) {
        ngx_xmpp_xml_append(e, stz->echo);
    }

    if (e == NULL
        || ngx_xmpp_reply_condition(stz->pool, e, condition, &stz->text)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    pkt = ngx_xmpp_packet_xml(stz->session->worker->log, e);
    if (pkt == NULL) {
        return NGX_ERROR;
    }

    if (condition <= 0 || condition >= NGX_XMPP_E_CONDITIONS) {
        condition = NGX_XMPP_E_INTERNAL_SERVER_ERROR;
    }

    stz->session->worker->stats->counters.errors[condition]++;

    ngx_xmpp_session_output(stz->session, pkt);
    ngx_xmpp_packet_release(pkt);

    return NGX_OK;
}


/* its name in RFC 6120, 8.3.3, which some share */

ngx_str_t *
ngx_xmpp_reply_condition_name(ngx_xmpp_condition_e condition)
{
    return &ngx_xmpp_reply_conditions[condition].name;
}


/*
 * Adds to an answer the element that says why (RFC 6120, 8.3.2): a condition,
 * NGX_XMPP_E_*, and a text, which may be empty.  NGX_OK or NGX_ERROR.
 */

ngx_int_t
ngx_xmpp_reply_condition(ngx_pool_t *pool, ngx_xmpp_xml_t *e,
    ngx_int_t condition, ngx_str_t *text)
{
    ngx_str_t                    value;
    ngx_xmpp_xml_t              *error;
    ngx_xmpp_reply_condition_t  *cond;

    if (condition <= 0 || condition >= NGX_XMPP_E_CONDITIONS) {
        condition = NGX_XMPP_E_INTERNAL_SERVER_ERROR;
    }

    cond = &ngx_xmpp_reply_conditions[condition];

    error = ngx_xmpp_xml_add(pool, e, &ngx_xmpp_reply_error_name, NULL);
    if (error == NULL) {
        return NGX_ERROR;
    }

    value.data = (u_char *) cond->type;
    value.len = ngx_strlen(cond->type);

    if (ngx_xmpp_xml_set(pool, error, "type", &value) != NGX_OK
        || ngx_xmpp_xml_add(pool, error, &cond->name, &ngx_xmpp_ns_stanzas)
           == NULL
        || ngx_xmpp_reply_text(pool, error, text) != NGX_OK
        || (cond->more.len
            && ngx_xmpp_xml_add(pool, error, &cond->more, &cond->ns)
               == NULL))
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* RFC 6120, 8.3.2: in a language that is told */

static ngx_int_t
ngx_xmpp_reply_text(ngx_pool_t *pool, ngx_xmpp_xml_t *error, ngx_str_t *text)
{
    ngx_xmpp_xml_t  *e;

    static ngx_str_t  name = ngx_string("text");
    static ngx_str_t  lang = ngx_string("en");

    if (text->len == 0) {
        return NGX_OK;
    }

    e = ngx_xmpp_xml_add(pool, error, &name, &ngx_xmpp_ns_stanzas);

    if (e == NULL || ngx_xmpp_xml_add_text(pool, e, text) == NULL) {
        return NGX_ERROR;
    }

    return ngx_xmpp_xml_set_ns(pool, e, &ngx_xmpp_ns_xml, "lang", &lang);
}


/*
 * For a handler: says in the error, as ngx_sprintf() does, what is wrong and
 * what to do, in up to 256 bytes.  Returns condition.
 */

ngx_int_t
ngx_xmpp_refuse(ngx_xmpp_stanza_t *stz, ngx_int_t condition, const char *fmt,
    ...)
{
    u_char   *p, *last, *end;
    va_list   args;

    p = ngx_pnalloc(stz->pool, NGX_XMPP_REPLY_TEXT);

    if (p) {
        va_start(args, fmt);
        last = ngx_vslprintf(p, p + NGX_XMPP_REPLY_TEXT, fmt, args);
        va_end(args);

        stz->text.data = p;

        /* what does not fit is cut, but not within a character of UTF-8 */

        if (last == p + NGX_XMPP_REPLY_TEXT) {
            for (end = last; end > p && (end[-1] & 0xc0) == 0x80; end--) {
                /* void */
            }

            last = (end > p && (end[-1] & 0x80)) ? end - 1 : last;
        }

        stz->text.len = last - p;
    }

    return condition;
}


/*
 * For the handler of a set: what to answer with when the Function that stores
 * it, fenced by the session's record, has said res.  NGX_OK: it is stored;
 * policy-violation: it is more than may be; resource-constraint: it is not
 * stored, or nobody knows.
 */

ngx_int_t
ngx_xmpp_reply_stored(ngx_xmpp_stanza_t *stz, ngx_xmpp_store_result_t *res)
{
    redisReply  *first;

    if (res->rc == NGX_OK) {
        return NGX_OK;
    }

    if (res->rc == NGX_DECLINED) {
        first = res->reply->element[0];

        if (first->len == 4 && ngx_memcmp(first->str, "full", 4) == 0) {
            return NGX_XMPP_E_POLICY_VIOLATION;
        }

        /* the record is another's by now, or was lost: that decides */

        ngx_xmpp_session_reassert(stz->session);
    }

    return NGX_XMPP_E_RESOURCE_CONSTRAINT;
}
