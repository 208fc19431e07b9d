/*
 * SASL (RFC 6120, 6): what the exchange and its mechanisms share.
 *
 * An exchange has its own pool, which dies with it: at success, failure,
 * abort, or the end of the stream.  A mechanism answers each message of the
 * client with
 *
 *     NGX_OK      sasl->out is the challenge
 *     NGX_DONE    the client is sasl->user; sasl->out goes with <success/>
 *     NGX_AGAIN   later, by ngx_xmpp_sasl_done()
 *     > 0         a failure, NGX_XMPP_SASL_*
 *     NGX_ERROR   ours: temporary-auth-failure
 */


#ifndef _NGX_XMPP_SASL_H_INCLUDED_
#define _NGX_XMPP_SASL_H_INCLUDED_


#include "ngx_xmpp_stream.h"
#include "ngx_xmpp_digest.h"


/* failures, RFC 6120, 6.5 */
typedef enum {
    NGX_XMPP_SASL_ABORTED = 1,
    NGX_XMPP_SASL_DISABLED,
    NGX_XMPP_SASL_ENCRYPTION_REQUIRED,
    NGX_XMPP_SASL_INCORRECT_ENCODING,
    NGX_XMPP_SASL_INVALID_AUTHZID,
    NGX_XMPP_SASL_INVALID_MECHANISM,
    NGX_XMPP_SASL_MALFORMED_REQUEST,
    NGX_XMPP_SASL_NOT_AUTHORIZED,
    NGX_XMPP_SASL_TEMPORARY,
    NGX_XMPP_SASL_UNBOUND,              /* malformed-request, no attempt */
    NGX_XMPP_SASL_UNNAMED,              /* invalid-authzid, nobody's */
    NGX_XMPP_SASL_FAILURES
} ngx_xmpp_sasl_failure_e;


typedef struct ngx_xmpp_sasl_task_s  ngx_xmpp_sasl_task_t;


/* of a mechanism */
#define NGX_XMPP_SASL_TLS             0x01      /* not without it */
#define NGX_XMPP_SASL_NO_INITIAL      0x02      /* <auth/> may have no data */


typedef struct ngx_xmpp_sasl_mechanism_s  ngx_xmpp_sasl_mechanism_t;

struct ngx_xmpp_sasl_mechanism_s {
    ngx_str_t                   name;
    ngx_uint_t                  bit;            /* in xmpp_sasl_mechanisms */
    ngx_xmpp_scram_hash_e       hash;           /* of SCRAM */
    ngx_uint_t                  flags;          /* NGX_XMPP_SASL_TLS ... */

    /* whether this stream's client can use it; NULL: any can */
    ngx_uint_t                (*available)(ngx_xmpp_stream_t *st,
                                    ngx_xmpp_sasl_mechanism_t *m);

    ngx_int_t                 (*step)(ngx_xmpp_sasl_t *sasl,
                                    ngx_str_t *data);

    /* stored: the field that was looked up; NULL: no such user */
    ngx_int_t                 (*keys)(ngx_xmpp_sasl_t *sasl,
                                    ngx_str_t *stored);
};


struct ngx_xmpp_sasl_s {
    ngx_pool_t                 *pool;
    ngx_xmpp_stream_t          *stream;
    ngx_xmpp_sasl_mechanism_t  *mechanism;

    ngx_xmpp_store_attempt_t    attempt;        /* for its limits */

    ngx_str_t                   user;           /* prepared localpart */
    ngx_str_t                   out;            /* to be base64 encoded */

    ngx_xmpp_scram_t            scram;
    ngx_xmpp_digest_t          *digest;         /* of DIGEST-MD5 */
    ngx_uint_t                  state;          /* of the mechanism */
    ngx_str_t                   password;       /* SASLprepped, PLAIN */
    ngx_xmpp_sasl_task_t       *task;           /* in a thread */
    ngx_uint_t                  lifetime;       /* of who has no account */
    unsigned                    unknown:1;      /* no such user */
    unsigned                    unnamed:1;      /* user is not prepared */
};


/* ngx_xmpp_sasl_module.c */

/* which names of certificates the host takes, NGX_XMPP_CERTIFICATE_* */
ngx_uint_t ngx_xmpp_sasl_external(ngx_xmpp_host_t *h);

ngx_xmpp_sasl_mechanism_t *ngx_xmpp_sasl_mechanism(ngx_xmpp_stream_t *st,
    ngx_str_t *name, ngx_int_t *failure);
ngx_uint_t ngx_xmpp_sasl_offers_plus(ngx_xmpp_stream_t *st);
ngx_uint_t ngx_xmpp_sasl_bound(ngx_xmpp_host_t *h);


/* ngx_xmpp_sasl_binding.c */

ngx_uint_t ngx_xmpp_sasl_binding_available(ngx_xmpp_stream_t *st,
    ngx_xmpp_sasl_mechanism_t *m);
ngx_int_t ngx_xmpp_sasl_binding_write(ngx_xmpp_stream_t *st,
    ngx_pool_t *pool, ngx_xmpp_xml_t *features);
ngx_int_t ngx_xmpp_sasl_binding(ngx_xmpp_sasl_t *sasl, ngx_str_t *type,
    ngx_str_t *data);


/* ngx_xmpp_sasl.c */

ngx_int_t ngx_xmpp_sasl_auth(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e);
ngx_int_t ngx_xmpp_sasl_response(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e);
ngx_int_t ngx_xmpp_sasl_abort(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e);

/* the mechanism's answer came later; sasl may be gone afterwards */
void ngx_xmpp_sasl_done(ngx_xmpp_sasl_t *sasl, ngx_int_t rc);

/*
 * Writes the user's name as it is shown in the log to p, which has room for
 * NGX_XMPP_SASL_LOG_LEN; the end.  It ends no line and no quotes, cut after
 * NGX_XMPP_SASL_LOG_NAME octets.
 */
#define NGX_XMPP_SASL_LOG_NAME  128
#define NGX_XMPP_SASL_LOG_LEN   (4 * NGX_XMPP_SASL_LOG_NAME + 3)
u_char *ngx_xmpp_sasl_log_name(ngx_xmpp_sasl_t *sasl, u_char *p);


/* ngx_xmpp_sasl_user.c */

/*
 * Prepares the name, checks the authorization identity against it, and asks
 * for a field of the account (docs/redis-schema.md); the mechanism's keys()
 * is called later.  Returns NGX_AGAIN, a failure, or NGX_ERROR.  A name that
 * cannot exist is asked for all the same.
 */
ngx_int_t ngx_xmpp_sasl_lookup(ngx_xmpp_sasl_t *sasl, ngx_str_t *name,
    ngx_str_t *authzid, ngx_str_t *field);

/*
 * Reads the stored keys into sasl->scram.keys; where there are none, or none
 * that can be read, stable ones that fit no password (RFC 6120, 6.5.10), and
 * sasl->unknown is set.  NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_xmpp_sasl_scram_stored(ngx_xmpp_sasl_t *sasl,
    ngx_str_t *stored);


/* the mechanisms, a file each */

ngx_int_t ngx_xmpp_sasl_anonymous_step(ngx_xmpp_sasl_t *sasl,
    ngx_str_t *data);
ngx_int_t ngx_xmpp_sasl_anonymous_keys(ngx_xmpp_sasl_t *sasl,
    ngx_str_t *stored);
ngx_int_t ngx_xmpp_sasl_anonymous_access(ngx_xmpp_stanza_t *stz);
void ngx_xmpp_sasl_anonymous_bound(ngx_xmpp_session_t *xs);
ngx_uint_t ngx_xmpp_sasl_external_available(ngx_xmpp_stream_t *st,
    ngx_xmpp_sasl_mechanism_t *m);
ngx_int_t ngx_xmpp_sasl_external_step(ngx_xmpp_sasl_t *sasl, ngx_str_t *data);
ngx_int_t ngx_xmpp_sasl_external_keys(ngx_xmpp_sasl_t *sasl,
    ngx_str_t *stored);
ngx_int_t ngx_xmpp_sasl_scram_step(ngx_xmpp_sasl_t *sasl, ngx_str_t *data);
ngx_int_t ngx_xmpp_sasl_scram_plus_step(ngx_xmpp_sasl_t *sasl,
    ngx_str_t *data);
ngx_int_t ngx_xmpp_sasl_scram_keys(ngx_xmpp_sasl_t *sasl, ngx_str_t *stored);
ngx_int_t ngx_xmpp_sasl_plain_step(ngx_xmpp_sasl_t *sasl, ngx_str_t *data);
ngx_int_t ngx_xmpp_sasl_plain_keys(ngx_xmpp_sasl_t *sasl, ngx_str_t *stored);
ngx_uint_t ngx_xmpp_sasl_digest_available(ngx_xmpp_stream_t *st,
    ngx_xmpp_sasl_mechanism_t *m);
ngx_int_t ngx_xmpp_sasl_digest_step(ngx_xmpp_sasl_t *sasl, ngx_str_t *data);
ngx_int_t ngx_xmpp_sasl_digest_keys(ngx_xmpp_sasl_t *sasl, ngx_str_t *stored);


#endif /* _NGX_XMPP_SASL_H_INCLUDED_ */
