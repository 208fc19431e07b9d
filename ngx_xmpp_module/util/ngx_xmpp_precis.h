/*
 * String preparation on ICU: the PRECIS profiles that XMPP names (RFC 8264,
 * RFC 8265) and SASLprep for SCRAM passwords (RFC 4013, RFC 5802 2.2).
 * All functions check the UTF-8 first and never write past their input.
 */


#ifndef _NGX_XMPP_PRECIS_H_INCLUDED_
#define _NGX_XMPP_PRECIS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * out is allocated from pool or is *in when nothing changes.  NGX_OK;
 * NGX_DECLINED: the profile refuses the string; NGX_ERROR: no memory.
 */
ngx_int_t ngx_xmpp_precis_username(ngx_pool_t *pool, ngx_str_t *in,
    ngx_str_t *out);                     /* UsernameCaseMapped, RFC 8265, 3.3 */
ngx_int_t ngx_xmpp_precis_opaque(ngx_pool_t *pool, ngx_str_t *in,
    ngx_str_t *out);                     /* OpaqueString, RFC 8265, 4.2 */
ngx_int_t ngx_xmpp_saslprep(ngx_pool_t *pool, ngx_str_t *in,
    ngx_str_t *out);                     /* stored strings, RFC 4013 */

/*
 * A domainpart of U-labels: UTS 46 mapping (lower case, width, NFC), A-labels
 * decoded, then IDNA2008 validity (RFC 7622, 3.2; RFC 5891).  Not for IP
 * literals.  Always allocated from pool.
 */
ngx_int_t ngx_xmpp_precis_domain(ngx_pool_t *pool, ngx_str_t *in,
    ngx_str_t *out);

/* 1 when the bytes are well-formed UTF-8 (RFC 3629), else 0 */
ngx_uint_t ngx_xmpp_utf8_valid(u_char *p, size_t len);


#endif /* _NGX_XMPP_PRECIS_H_INCLUDED_ */
