/*
 * Small pure helpers: base64 that refuses what RFC 4648 refuses, hex, random
 * identifiers, XEP-0082 dates, percent-encoding of Redis key parts, names in
 * the log.
 */


#ifndef _NGX_XMPP_UTIL_H_INCLUDED_
#define _NGX_XMPP_UTIL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Strict base64 (RFC 4648, 3.3, 3.5; RFC 6120, 6.4.2 asks for both): no white
 * space, right padding, zero trailing bits.  NGX_OK, NGX_DECLINED, NGX_ERROR.
 */
ngx_int_t ngx_xmpp_base64_decode(ngx_pool_t *pool, ngx_str_t *in,
    ngx_str_t *out);
ngx_int_t ngx_xmpp_base64_encode(ngx_pool_t *pool, ngx_str_t *in,
    ngx_str_t *out);

/*
 * The same without a pool: p has room for in->len / 4 * 3 octets to decode,
 * for ngx_base64_encoded_length(len) to encode.  Both return the end; the
 * decoder NULL when in is not base64.
 */
u_char *ngx_xmpp_base64_decode_to(u_char *p, ngx_str_t *in);
u_char *ngx_xmpp_base64_encode_to(u_char *p, u_char *s, size_t len);

/*
 * Writes 2 * n lower-case hex digits of n bytes from OpenSSL's RNG to p;
 * returns NGX_OK, or NGX_ERROR when the RNG failed (nothing may be used).
 */
ngx_int_t ngx_xmpp_id_random(u_char *p, size_t n);

/* XEP-0082: "2026-11-22T14:37:24Z"; p has 20 bytes; returns the end */
u_char *ngx_xmpp_datetime(u_char *p, time_t sec);

/*
 * The same with microseconds of 1970, "2026-11-22T14:37:24.000000Z", 27 bytes;
 * and back, from any offset and any fraction: NGX_OK or NGX_DECLINED.
 */
u_char *ngx_xmpp_datetime_usec(u_char *p, uint64_t usec);
ngx_int_t ngx_xmpp_datetime_parse(ngx_str_t *text, uint64_t *usec);

/*
 * Percent-encodes '{', '}' and '%' for a Redis key part; out is *in when
 * there is none.  NGX_OK or NGX_ERROR.  The decoder is for channel names:
 * NGX_DECLINED on a bad escape.
 */
ngx_int_t ngx_xmpp_key_escape(ngx_pool_t *pool, ngx_str_t *in,
    ngx_str_t *out);
ngx_int_t ngx_xmpp_key_unescape(ngx_pool_t *pool, ngx_str_t *in,
    ngx_str_t *out);

/* writes a name so that it cannot forge a line of the log; the end */
u_char *ngx_xmpp_log_escape(u_char *p, size_t max, ngx_str_t *s,
    ngx_uint_t raw);


#endif /* _NGX_XMPP_UTIL_H_INCLUDED_ */
