
/*
 * Percent-encoding of Redis key parts.
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
