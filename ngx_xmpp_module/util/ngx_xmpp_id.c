
/*
 * Random identifiers: stream ids, resources, nonces, boot ids.
 *
 * All come from OpenSSL's generator and are unpredictable (RFC 6120, 4.7.3);
 * 16 octets give the 128 bits that a bearer secret needs.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/rand.h>
#include "ngx_xmpp_util.h"


/*
 * Writes 2 * n lower-case hex digits of n random octets to p.  NGX_OK;
 * NGX_ERROR: the generator failed, and what p holds must not be used.
 */
ngx_int_t
ngx_xmpp_id_random(u_char *p, size_t n)
{
    u_char               c;
    size_t               i;
    static const u_char  hex[] = "0123456789abcdef";

    if (n > NGX_MAX_INT32_VALUE || RAND_bytes(p + n, (int) n) != 1) {
        return NGX_ERROR;
    }

    /* the octets lie in the upper half: digits 2i, 2i + 1 never pass n + i */

    for (i = 0; i < n; i++) {
        c = p[n + i];
        p[2 * i] = hex[c >> 4];
        p[2 * i + 1] = hex[c & 0x0f];
    }

    return NGX_OK;
}
