
/*
 * Percent-encoding of Redis key parts, and names in the log.
 *
 * A key is "xmpp:{user@domain}:account": the braces are Redis Cluster's hash
 * tag.  '{', '}' and '%' are all legal in localparts, so a name could end the
 * tag early and share, or fake, another account's keys.  These three octets,
 * and no others, become %7B, %7D and %25.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_xmpp_util.h"


#define ngx_xmpp_key_special(c)  ((c) == '{' || (c) == '}' || (c) == '%')


/*
 * Encodes in; *out is *in when nothing has to be, else from pool.  NGX_OK or
 * NGX_ERROR (no memory).
 */
ngx_int_t
ngx_xmpp_key_escape(ngx_pool_t *pool, ngx_str_t *in, ngx_str_t *out)
{
    u_char  c, *p, *start;
    size_t  i, n;

    n = 0;

    for (i = 0; i < in->len; i++) {
        if (ngx_xmpp_key_special(in->data[i])) {
            n++;
        }
    }

    if (n == 0) {
        *out = *in;
        return NGX_OK;
    }

    p = ngx_pnalloc(pool, in->len + 2 * n);
    if (p == NULL) {
        return NGX_ERROR;
    }

    start = p;

    for (i = 0; i < in->len; i++) {
        c = in->data[i];

        if (!ngx_xmpp_key_special(c)) {
            *p++ = c;
            continue;
        }

        *p++ = '%';
        *p++ = (c == '%') ? '2' : '7';
        *p++ = (c == '%') ? '5' : (c == '{') ? 'B' : 'D';
    }

    out->data = start;
    out->len = p - start;

    return NGX_OK;
}


/*
 * Decodes what ngx_xmpp_key_escape() wrote; *out is *in when nothing was
 * encoded, else from pool.  NGX_OK; NGX_DECLINED: an escape that the encoder
 * does not write, or a bare brace; NGX_ERROR: no memory.
 */
ngx_int_t
ngx_xmpp_key_unescape(ngx_pool_t *pool, ngx_str_t *in, ngx_str_t *out)
{
    u_char  *p, *s, *last, *start;

    s = in->data;
    last = in->data + in->len;

    while (s < last && !ngx_xmpp_key_special(*s)) {
        s++;
    }

    if (s == last) {
        *out = *in;
        return NGX_OK;
    }

    p = ngx_pnalloc(pool, in->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    start = p;

    for (s = in->data; s < last; s++) {

        if (!ngx_xmpp_key_special(*s)) {
            *p++ = *s;
            continue;
        }

        /* one spelling for each octet, so that equal names stay equal */

        if (*s != '%' || last - s < 3) {
            return NGX_DECLINED;
        }

        if (s[1] == '2' && s[2] == '5') {
            *p++ = '%';

        } else if (s[1] == '7' && s[2] == 'B') {
            *p++ = '{';

        } else if (s[1] == '7' && s[2] == 'D') {
            *p++ = '}';

        } else {
            return NGX_DECLINED;
        }

        s += 2;
    }

    out->data = start;
    out->len = p - start;

    return NGX_OK;
}


/*
 * Writes at most max octets of s to p, and "..." when there are more; returns
 * the end.  raw: s comes from a stranger, and what is not printable ASCII, or
 * would end the quotes around it, is written as \xHH, so p has room for four
 * times max and "...".  Else s is a prepared part of a JID, which holds
 * nothing of that kind (RFC 7622, 3.3; RFC 8264, 4.2), and is cut between
 * characters.
 */
u_char *
ngx_xmpp_log_escape(u_char *p, size_t max, ngx_str_t *s, ngx_uint_t raw)
{
    u_char  c;
    size_t  i, n;

    static const u_char  hex[] = "0123456789ABCDEF";

    n = s->len;

    if (n > max) {
        n = max;

        while (!raw && n && (s->data[n] & 0xC0) == 0x80) {
            n--;
        }
    }

    for (i = 0; i < n; i++) {
        c = s->data[i];

        if (!raw || (c > ' ' && c < 0x7F && c != '"' && c != '\\')) {
            *p++ = c;
            continue;
        }

        *p++ = '\\';
        *p++ = 'x';
        *p++ = hex[c >> 4];
        *p++ = hex[c & 15];
    }

    return (n < s->len) ? ngx_cpymem(p, "...", 3) : p;
}
