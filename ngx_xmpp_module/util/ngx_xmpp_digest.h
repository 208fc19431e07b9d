
/*
 * DIGEST-MD5, the server's side (RFC 2831; historic since RFC 6331), and the
 * secret that xmppctl shares.  Pure: no sockets, no sessions.
 *
 *   digest-challenge  <-  ngx_xmpp_digest_challenge()
 *   digest-response   ->  ngx_xmpp_digest_parse(), ngx_xmpp_digest_check()
 *   (secret looked up by the caller)
 *   response-auth     <-  ngx_xmpp_digest_verify()
 */


#ifndef _NGX_XMPP_DIGEST_H_INCLUDED_
#define _NGX_XMPP_DIGEST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_XMPP_DIGEST_LEN        16        /* octets of MD5 */
#define NGX_XMPP_DIGEST_HEX        32

/* RFC 2831, 2.1.2: a digest-response MUST be less than that */
#define NGX_XMPP_DIGEST_RESPONSE_MAX  4096


/* the directives of digest-response */
typedef enum {
    NGX_XMPP_DIGEST_USERNAME = 0,
    NGX_XMPP_DIGEST_REALM,
    NGX_XMPP_DIGEST_NONCE,
    NGX_XMPP_DIGEST_CNONCE,
    NGX_XMPP_DIGEST_NC,
    NGX_XMPP_DIGEST_QOP,
    NGX_XMPP_DIGEST_URI,
    NGX_XMPP_DIGEST_RESPONSE,
    NGX_XMPP_DIGEST_MAXBUF,
    NGX_XMPP_DIGEST_CHARSET,
    NGX_XMPP_DIGEST_CIPHER,
    NGX_XMPP_DIGEST_AUTHZID,
    NGX_XMPP_DIGEST_DIRECTIVES
} ngx_xmpp_digest_directive_e;


typedef struct {
    ngx_pool_t            *pool;
    ngx_str_t              host;             /* the realm, and the service */
    ngx_str_t              nonce;            /* the server's */

    /* unquoted; data is NULL when absent */
    ngx_str_t              values[NGX_XMPP_DIGEST_DIRECTIVES];
} ngx_xmpp_digest_t;


/* the account hash's field */
extern ngx_str_t  ngx_xmpp_digest_field;


/* whether OpenSSL has MD5, which a FIPS provider has not: 1 or 0 */
ngx_uint_t ngx_xmpp_digest_supported(void);

/*
 * The secret, NGX_XMPP_DIGEST_HEX digits to hex: H(user:realm:password), RFC
 * 2831, 2.1.2.1, of a prepared localpart, domain and SASLprepped password,
 * all UTF-8.  NGX_OK or NGX_ERROR (OpenSSL refused).
 */
ngx_int_t ngx_xmpp_digest_secret(ngx_str_t *user, ngx_str_t *realm,
    ngx_str_t *password, u_char *hex);

/* reads the stored form into NGX_XMPP_DIGEST_LEN octets; NGX_DECLINED: bad */
ngx_int_t ngx_xmpp_digest_secret_parse(ngx_str_t *text, u_char *secret);

/*
 * Writes digest-challenge into *out, from d->pool, with a new nonce, which
 * stays in d.  d->pool and host are input.  NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_xmpp_digest_challenge(ngx_xmpp_digest_t *d, ngx_str_t *out);

/*
 * Takes digest-response apart into d->values, a copy in d->pool.  NGX_OK;
 * NGX_DECLINED: malformed, too long, or a directive is there twice.
 */
ngx_int_t ngx_xmpp_digest_parse(ngx_xmpp_digest_t *d, ngx_str_t *msg);

/*
 * Are the values those that this challenge asks for (RFC 2831, 2.1.2)?
 * NGX_OK; NGX_DECLINED: a directive is missing or must not be so; NGX_ABORT:
 * it answers another challenge.
 */
ngx_int_t ngx_xmpp_digest_check(ngx_xmpp_digest_t *d);

/*
 * Compares the response in constant time; on NGX_OK *out is response-auth,
 * from d->pool.  NGX_DECLINED: wrong; NGX_ERROR: no memory, or OpenSSL.
 */
ngx_int_t ngx_xmpp_digest_verify(ngx_xmpp_digest_t *d, u_char *secret,
    ngx_str_t *out);


#endif /* _NGX_XMPP_DIGEST_H_INCLUDED_ */
