/*
 * XMPP over WebSocket: the opening handshake (RFC 6455, 4.2; RFC 7395, 3.1).
 *
 * Who may connect at all is for nginx's own phases to say, which come before.
 * What is refused here, with a line in error_log:
 *
 *     405  not a GET                      426  no WebSocket, or not version 13
 *     400  not HTTP/1.1, a body, bytes behind the request, a field twice or
 *          malformed, no subprotocol "xmpp"
 *     403  an Origin that is not on the list; neither TLS nor an address that
 *          is trusted
 *
 * A front proxy that forwards plain HTTP has ended TLS itself: it is named by
 * its address, as nginx saw it before ngx_http_realip_module did its work.
 */


#include <ngx_sha1.h>

#include "ngx_xmpp_websocket.h"


#define NGX_XMPP_WEBSOCKET_UPGRADE        426

#define NGX_XMPP_WEBSOCKET_GUID     "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

/* of Sec-WebSocket-Key: 16 bytes in Base64 */
#define NGX_XMPP_WEBSOCKET_KEY            24


/* the fields of a handshake, and how often there may be one */
typedef struct {
    ngx_str_t                   name;           /* lower case */
    ngx_uint_t                  many;           /* unsigned  many:1; */
    size_t                      offset;         /* in _fields_t */
} ngx_xmpp_websocket_field_t;


typedef struct {
    ngx_table_elt_t            *upgrade;
    ngx_table_elt_t            *connection;
    ngx_table_elt_t            *key;
    ngx_table_elt_t            *version;
    ngx_table_elt_t            *protocol;
    ngx_table_elt_t            *origin;
    ngx_table_elt_t            *forwarded;
} ngx_xmpp_websocket_fields_t;


static ngx_int_t ngx_xmpp_websocket_upgradable(ngx_http_request_t *r,
    ngx_xmpp_websocket_fields_t *f);
static ngx_int_t ngx_xmpp_websocket_refuse(ngx_http_request_t *r,
    ngx_int_t status, const char *reason);
static ngx_int_t ngx_xmpp_websocket_collect(ngx_http_request_t *r,
    ngx_xmpp_websocket_fields_t *fields);
static ngx_int_t ngx_xmpp_websocket_instead(ngx_http_request_t *r,
    const char *name, const char *value);
static ngx_uint_t ngx_xmpp_websocket_token(ngx_str_t *list, const char *token,
    ngx_uint_t exact);
static ngx_uint_t ngx_xmpp_websocket_key(ngx_str_t *key);
static ngx_uint_t ngx_xmpp_websocket_origin(ngx_array_t *origins,
    ngx_str_t *origin);
static ngx_uint_t ngx_xmpp_websocket_trusted(ngx_http_request_t *r,
    ngx_xmpp_websocket_loc_conf_t *lcf, ngx_table_elt_t *forwarded);
static void ngx_xmpp_websocket_accept(ngx_str_t *key, u_char *accept);


#define ngx_xmpp_websocket_field(name, field, many)                           \
    { ngx_string(name), many, offsetof(ngx_xmpp_websocket_fields_t, field) }

static ngx_xmpp_websocket_field_t  ngx_xmpp_websocket_fields[] = {
    ngx_xmpp_websocket_field("upgrade", upgrade, 0),
    ngx_xmpp_websocket_field("connection", connection, 0),
    ngx_xmpp_websocket_field("sec-websocket-key", key, 0),
    ngx_xmpp_websocket_field("sec-websocket-version", version, 0),
    ngx_xmpp_websocket_field("sec-websocket-protocol", protocol, 1),
    ngx_xmpp_websocket_field("origin", origin, 0),
    ngx_xmpp_websocket_field("x-forwarded-proto", forwarded, 0),
    { ngx_null_string, 0, 0 }
};


ngx_int_t
ngx_xmpp_websocket_handshake(ngx_http_request_t *r,
    ngx_xmpp_websocket_loc_conf_t *lcf, u_char *accept)
{
    ngx_int_t                    rc;
    ngx_xmpp_websocket_fields_t  f;

    if (r->method != NGX_HTTP_GET) {

        /* RFC 9110, 15.5.6 */

        if (ngx_xmpp_websocket_instead(r, "Allow", "GET") != NGX_OK) {
            return NGX_ERROR;
        }

        return ngx_xmpp_websocket_refuse(r, NGX_HTTP_NOT_ALLOWED,
                                         "is not GET");
    }

    /* RFC 6455, 4.1; browsers take it although HTTP/2 is offered, too */

    if (r->http_version != NGX_HTTP_VERSION_11 || r != r->main) {
        return ngx_xmpp_websocket_refuse(r, NGX_HTTP_BAD_REQUEST,
                                         "is not of HTTP/1.1");
    }

    /* RFC 6455, 4.1: a client waits for the answer; and a GET has no body */

    if (r->headers_in.content_length_n > 0 || r->headers_in.chunked
        || r->header_in->pos != r->header_in->last)
    {
        return ngx_xmpp_websocket_refuse(r, NGX_HTTP_BAD_REQUEST,
                                         "has bytes behind it");
    }

    if (ngx_xmpp_websocket_collect(r, &f) != NGX_OK) {
        return ngx_xmpp_websocket_refuse(r, NGX_HTTP_BAD_REQUEST,
                                         "has a field twice");
    }

    rc = ngx_xmpp_websocket_upgradable(r, &f);

    if (rc != NGX_OK) {
        return rc;
    }

    if (f.key == NULL || !ngx_xmpp_websocket_key(&f.key->value)) {
        return ngx_xmpp_websocket_refuse(r, NGX_HTTP_BAD_REQUEST,
                                         "has no key of 16 bytes");
    }

    /* RFC 7395, 3.1 */

    if (f.protocol == NULL
        || !ngx_xmpp_websocket_token(&f.protocol->value, "xmpp", 1))
    {
        return ngx_xmpp_websocket_refuse(r, NGX_HTTP_BAD_REQUEST,
                                         "does not offer subprotocol xmpp");
    }

    /* RFC 6455, 10.2: it is browsers that tell it, and they tell the truth */

    if (f.origin && lcf->origins
        && !ngx_xmpp_websocket_origin(lcf->origins, &f.origin->value))
    {
        return ngx_xmpp_websocket_refuse(r, NGX_HTTP_FORBIDDEN,
                                         "is from an origin that is not in "
                                         "xmpp_websocket_origin");
    }

    if (r->connection->ssl == NULL
        && !ngx_xmpp_websocket_trusted(r, lcf, f.forwarded))
    {
        return ngx_xmpp_websocket_refuse(r, NGX_HTTP_FORBIDDEN,
                                         "came without TLS, and not from "
                                         "loopback nor from a proxy in "
                                         "xmpp_websocket_proxy");
    }

    ngx_xmpp_websocket_accept(&f.key->value, accept);

    return NGX_HTTP_SWITCHING_PROTOCOLS;
}


/* whether WebSocket is asked for, in its version: NGX_OK, 426 or NGX_ERROR */

static ngx_int_t
ngx_xmpp_websocket_upgradable(ngx_http_request_t *r,
    ngx_xmpp_websocket_fields_t *f)
{
    if (f->upgrade == NULL || f->connection == NULL
        || !ngx_xmpp_websocket_token(&f->upgrade->value, "websocket", 0)
        || !ngx_xmpp_websocket_token(&f->connection->value, "upgrade", 0))
    {
        /* RFC 9110, 15.5.22 */

        if (ngx_xmpp_websocket_instead(r, "Upgrade", "websocket") != NGX_OK) {
            return NGX_ERROR;
        }

        return ngx_xmpp_websocket_refuse(r, NGX_XMPP_WEBSOCKET_UPGRADE,
                                         "does not ask for WebSocket");
    }

    /* RFC 6455, 4.2.2, 4: the version that is known is told */

    if (f->version == NULL
        || f->version->value.len != 2
        || ngx_strncmp(f->version->value.data, "13", 2) != 0)
    {
        if (ngx_xmpp_websocket_instead(r, "Sec-WebSocket-Version", "13")
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        return ngx_xmpp_websocket_refuse(r, NGX_XMPP_WEBSOCKET_UPGRADE,
                                         "is not of version 13");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_websocket_refuse(ngx_http_request_t *r, ngx_int_t status,
    const char *reason)
{
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "client sent a request to xmpp_websocket that %s", reason);

    return status;
}


/*
 * NGX_DECLINED: one of them is there twice.  Of Sec-WebSocket-Protocol there
 * may be several (RFC 6455, 11.3.4): the one that has "xmpp" is taken.
 */

static ngx_int_t
ngx_xmpp_websocket_collect(ngx_http_request_t *r,
    ngx_xmpp_websocket_fields_t *fields)
{
    ngx_uint_t                   i;
    ngx_list_part_t             *part;
    ngx_table_elt_t             *h, **field;
    ngx_xmpp_websocket_field_t  *wf;

    ngx_memzero(fields, sizeof(ngx_xmpp_websocket_fields_t));

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {

            if (part->next == NULL) {
                return NGX_OK;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        for (wf = ngx_xmpp_websocket_fields; wf->name.len; wf++) {
            if (wf->name.len == h[i].key.len
                && ngx_strncmp(wf->name.data, h[i].lowcase_key, wf->name.len)
                   == 0)
            {
                break;
            }
        }

        if (wf->name.len == 0) {
            continue;
        }

        field = (ngx_table_elt_t **) ((u_char *) fields + wf->offset);

        if (*field && !wf->many) {
            return NGX_DECLINED;
        }

        if (*field == NULL
            || !ngx_xmpp_websocket_token(&(*field)->value, "xmpp", 1))
        {
            *field = &h[i];
        }
    }
}


/* a field of the answer */

static ngx_int_t
ngx_xmpp_websocket_instead(ngx_http_request_t *r, const char *name,
    const char *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value.data = (u_char *) value;
    h->value.len = ngx_strlen(value);
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif

    return NGX_OK;
}


/* whether a list with commas has the token, in lower case or exactly */

static ngx_uint_t
ngx_xmpp_websocket_token(ngx_str_t *list, const char *token, ngx_uint_t exact)
{
    u_char  *p, *start, *end, *last;
    size_t   len;

    len = ngx_strlen(token);

    p = list->data;
    last = p + list->len;

    while (p < last) {

        while (p < last && (*p == ' ' || *p == '\t' || *p == ',')) {
            p++;
        }

        start = p;

        while (p < last && *p != ',') {
            p++;
        }

        end = p;

        while (end > start && (end[-1] == ' ' || end[-1] == '\t')) {
            end--;
        }

        if ((size_t) (end - start) == len
            && (exact ? ngx_strncmp(start, token, len)
                      : ngx_strncasecmp(start, (u_char *) token, len))
               == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* RFC 6455, 4.2.1, 5: Base64 of 16 bytes */

static ngx_uint_t
ngx_xmpp_websocket_key(ngx_str_t *key)
{
    u_char     buf[ngx_base64_decoded_length(NGX_XMPP_WEBSOCKET_KEY)];
    ngx_str_t  bytes;

    bytes.data = buf;

    return key->len == NGX_XMPP_WEBSOCKET_KEY
           && ngx_decode_base64(&bytes, key) == NGX_OK
           && bytes.len == 16;
}


/* RFC 6454, 6.2: scheme and host are in lower case, whoever wrote them */

static ngx_uint_t
ngx_xmpp_websocket_origin(ngx_array_t *origins, ngx_str_t *origin)
{
    ngx_str_t   *o;
    ngx_uint_t   i;

    o = origins->elts;

    for (i = 0; i < origins->nelts; i++) {
        if (o[i].len == origin->len
            && ngx_strncasecmp(o[i].data, origin->data, origin->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/*
 * Whether plain HTTP is all right: from this very machine, or from a proxy
 * that is named, unless it says that its client had no TLS either.
 */

static ngx_uint_t
ngx_xmpp_websocket_trusted(ngx_http_request_t *r,
    ngx_xmpp_websocket_loc_conf_t *lcf, ngx_table_elt_t *forwarded)
{
    u_char                      buf[NGX_XMPP_NETWORK_MAX];
    ngx_addr_t                  addr;
    struct sockaddr            *sockaddr;
    ngx_http_variable_value_t  *vv;

    static ngx_str_t  name = ngx_string("realip_remote_addr");

    sockaddr = r->connection->sockaddr;

    vv = ngx_http_get_variable(r, &name, ngx_hash_key(name.data, name.len));

    if (vv && !vv->not_found && vv->valid && sockaddr->sa_family != AF_UNIX) {

        if (vv->len == sizeof("unix:") - 1
            && ngx_strncmp(vv->data, "unix:", sizeof("unix:") - 1) == 0)
        {
            return 1;
        }

        if (ngx_parse_addr(r->pool, &addr, vv->data, vv->len) != NGX_OK) {
            return 0;
        }

        sockaddr = addr.sockaddr;
    }

    if (forwarded
        && ngx_strcasecmp(forwarded->value.data, (u_char *) "https") != 0
        && ngx_strcasecmp(forwarded->value.data, (u_char *) "wss") != 0)
    {
        return 0;
    }

    /* loopback and unix sockets are of no network */

    return ngx_xmpp_network(sockaddr, buf) == 0
           || (lcf->proxies
               && ngx_cidr_match(sockaddr, lcf->proxies) == NGX_OK);
}


/* RFC 6455, 4.2.2, 5.4 */

static void
ngx_xmpp_websocket_accept(ngx_str_t *key, u_char *accept)
{
    u_char      hash[20];
    ngx_str_t   in, out;
    ngx_sha1_t  sha1;

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, key->data, key->len);
    ngx_sha1_update(&sha1, NGX_XMPP_WEBSOCKET_GUID,
                    sizeof(NGX_XMPP_WEBSOCKET_GUID) - 1);
    ngx_sha1_final(hash, &sha1);

    in.data = hash;
    in.len = sizeof(hash);
    out.data = accept;

    ngx_encode_base64(&out, &in);
}
