
/*
 * Base64, strict (RFC 4648, 4).
 *
 * nginx's own decoder stops at the first octet outside the alphabet, takes
 * missing padding and drops trailing bits; SASL must refuse all of these
 * (RFC 6120, 6.4.2; RFC 4648, 3.3, 3.5), else one secret has many spellings.
 * So this is a codec of our own.  It keeps nothing and looks nothing up but
 * a constant table.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_xmpp_util.h"


#define NGX_XMPP_BASE64_BAD  64


static u_char *ngx_xmpp_base64_decode_tail(u_char *p, u_char *s);


static const u_char  ngx_xmpp_base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* the value of each octet, NGX_XMPP_BASE64_BAD outside the alphabet */
static const u_char  ngx_xmpp_base64_values[256] = {
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 62, 64, 64, 64, 63,
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 64, 64, 64, 64, 64, 64,
    64,  0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14,
    15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 64, 64, 64, 64, 64,
    64, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
    41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64
};


/*
 * Decodes in to p, which must have room for in->len / 4 * 3 octets, and
 * returns the end of what was written, or NULL when in is not base64; then
 * p may hold a part of it.
 */
u_char *
ngx_xmpp_base64_decode_to(u_char *p, ngx_str_t *in)
{
    u_char        *s, *last;
    const u_char  *v;

    if (in->len % 4) {
        return NULL;
    }

    if (in->len == 0) {
        return p;
    }

    v = ngx_xmpp_base64_values;
    last = in->data + in->len - 4;

    for (s = in->data; s < last; s += 4) {

        if ((v[s[0]] | v[s[1]] | v[s[2]] | v[s[3]]) & NGX_XMPP_BASE64_BAD) {
            return NULL;
        }

        *p++ = (u_char) (v[s[0]] << 2 | v[s[1]] >> 4);
        *p++ = (u_char) (v[s[1]] << 4 | v[s[2]] >> 2);
        *p++ = (u_char) (v[s[2]] << 6 | v[s[3]]);
    }

    return ngx_xmpp_base64_decode_tail(p, last);
}


/* the last four octets: padding only here, and its bits zero (3.5) */

static u_char *
ngx_xmpp_base64_decode_tail(u_char *p, u_char *s)
{
    u_char         a, b, c, d;
    const u_char  *v;

    v = ngx_xmpp_base64_values;

    a = v[s[0]];
    b = v[s[1]];

    if ((a | b) & NGX_XMPP_BASE64_BAD) {
        return NULL;
    }

    *p++ = (u_char) (a << 2 | b >> 4);

    if (s[2] == '=') {

        if (s[3] != '=' || (b & 0x0f)) {
            return NULL;
        }

        return p;
    }

    c = v[s[2]];

    if (c == NGX_XMPP_BASE64_BAD) {
        return NULL;
    }

    *p++ = (u_char) (b << 4 | c >> 2);

    if (s[3] == '=') {
        return (c & 0x03) ? NULL : p;
    }

    d = v[s[3]];

    if (d == NGX_XMPP_BASE64_BAD) {
        return NULL;
    }

    *p++ = (u_char) (c << 6 | d);

    return p;
}


/*
 * Encodes len octets of s to p, which must have room for
 * ngx_base64_encoded_length(len); returns the end.
 */
u_char *
ngx_xmpp_base64_encode_to(u_char *p, u_char *s, size_t len)
{
    const u_char  *d;

    d = ngx_xmpp_base64_digits;

    for ( /* void */ ; len > 2; len -= 3) {
        *p++ = d[s[0] >> 2];
        *p++ = d[(s[0] & 0x03) << 4 | s[1] >> 4];
        *p++ = d[(s[1] & 0x0f) << 2 | s[2] >> 6];
        *p++ = d[s[2] & 0x3f];
        s += 3;
    }

    if (len == 1) {
        *p++ = d[s[0] >> 2];
        *p++ = d[(s[0] & 0x03) << 4];
        *p++ = '=';
        *p++ = '=';

    } else if (len == 2) {
        *p++ = d[s[0] >> 2];
        *p++ = d[(s[0] & 0x03) << 4 | s[1] >> 4];
        *p++ = d[(s[1] & 0x0f) << 2];
        *p++ = '=';
    }

    return p;
}


/*
 * Decodes in into *out, allocated from pool.  NGX_OK; NGX_DECLINED: not
 * base64; NGX_ERROR: no memory.
 */
ngx_int_t
ngx_xmpp_base64_decode(ngx_pool_t *pool, ngx_str_t *in, ngx_str_t *out)
{
    u_char  *p, *last;

    p = ngx_pnalloc(pool, in->len / 4 * 3 + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    last = ngx_xmpp_base64_decode_to(p, in);
    if (last == NULL) {
        return NGX_DECLINED;
    }

    out->data = p;
    out->len = last - p;

    return NGX_OK;
}


/* encodes in into *out, allocated from pool; NGX_OK, NGX_ERROR: no memory */

ngx_int_t
ngx_xmpp_base64_encode(ngx_pool_t *pool, ngx_str_t *in, ngx_str_t *out)
{
    u_char  *p;

    p = ngx_pnalloc(pool, ngx_base64_encoded_length(in->len) + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    out->len = ngx_xmpp_base64_encode_to(p, in->data, in->len) - p;
    out->data = p;

    return NGX_OK;
}
