/*
 * SCRAM, the server's side (RFC 5802, RFC 7677) and the derivation of keys
 * that xmppctl shares.  Pure: no sockets, no sessions.  Keys are stored as
 * text, "ITERATIONS,base64(salt),base64(StoredKey),base64(ServerKey)".
 *
 *   client-first  ->  ngx_xmpp_scram_first()   user name, nonce
 *   (keys looked up by the caller)
 *   server-first  <-  ngx_xmpp_scram_challenge()
 *   client-final  ->  ngx_xmpp_scram_final()   proof checked, server-final
 */


#ifndef _NGX_XMPP_SCRAM_H_INCLUDED_
#define _NGX_XMPP_SCRAM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_XMPP_SCRAM_HASH_MAX        64
#define NGX_XMPP_SCRAM_SALT_MAX        64
#define NGX_XMPP_SCRAM_SALT            16    /* octets of a new or fake salt */
#define NGX_XMPP_SCRAM_ITERATIONS      10000

/* RFC 7677, 4: at least 4096; what is beyond would stall each login */
#define NGX_XMPP_SCRAM_ITERATIONS_MIN  4096
#define NGX_XMPP_SCRAM_ITERATIONS_MAX  10000000

/* what the server does with channel binding, RFC 5802, 6 */
#define NGX_XMPP_SCRAM_CB_NONE         0     /* no -PLUS offered */
#define NGX_XMPP_SCRAM_CB_OFFERED      1     /* -PLUS offered, not chosen */
#define NGX_XMPP_SCRAM_CB_USED         2     /* the mechanism is -PLUS */


typedef enum {
    NGX_XMPP_SCRAM_SHA1 = 0,
    NGX_XMPP_SCRAM_SHA256,
    NGX_XMPP_SCRAM_SHA512,
    NGX_XMPP_SCRAM_HASHES
} ngx_xmpp_scram_hash_e;


typedef struct {
    ngx_uint_t             iterations;
    size_t                 salt_len;
    size_t                 hash_len;
    u_char                 salt[NGX_XMPP_SCRAM_SALT_MAX];
    u_char                 stored_key[NGX_XMPP_SCRAM_HASH_MAX];
    u_char                 server_key[NGX_XMPP_SCRAM_HASH_MAX];
} ngx_xmpp_scram_keys_t;


typedef struct {
    ngx_pool_t            *pool;
    ngx_xmpp_scram_hash_e  hash;
    ngx_uint_t             cb;               /* NGX_XMPP_SCRAM_CB_* */
    ngx_str_t              cb_type;          /* "tls-exporter", CB_USED only */
    ngx_str_t              cb_data;          /* the server's binding bytes */

    ngx_str_t              gs2_header;       /* "n,,", as the client sent it */
    ngx_str_t              authzid;          /* unescaped, len 0 when absent */
    ngx_str_t              username;         /* unescaped, not yet prepared */
    ngx_str_t              client_first_bare;
    ngx_str_t              nonce;            /* client's + server's */
    ngx_str_t              server_first;
    ngx_xmpp_scram_keys_t  keys;
} ngx_xmpp_scram_t;


/* "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512" */
extern ngx_str_t  ngx_xmpp_scram_names[NGX_XMPP_SCRAM_HASHES];

/* the account hash's fields: "scram-sha-1", "scram-sha-256", ... */
extern ngx_str_t  ngx_xmpp_scram_fields[NGX_XMPP_SCRAM_HASHES];


/*
 * Derives keys from a SASLprepped password: PBKDF2, tens of milliseconds of
 * CPU; thread safe, touches nothing but its arguments.  keys->iterations,
 * salt and salt_len are input.  NGX_OK or NGX_ERROR (OpenSSL refused).
 */
ngx_int_t ngx_xmpp_scram_derive(ngx_xmpp_scram_hash_e hash, u_char *password,
    size_t len, ngx_xmpp_scram_keys_t *keys);

/* constant-time comparison of both keys' StoredKey: 1 equal, 0 not */
ngx_uint_t ngx_xmpp_scram_keys_equal(ngx_xmpp_scram_keys_t *a,
    ngx_xmpp_scram_keys_t *b);

/* NGX_OK; NGX_DECLINED: text is not of the stored form for this hash */
ngx_int_t ngx_xmpp_scram_keys_parse(ngx_xmpp_scram_hash_e hash,
    ngx_str_t *text, ngx_xmpp_scram_keys_t *keys);

/* text from pool; NGX_OK or NGX_ERROR */
ngx_int_t ngx_xmpp_scram_keys_format(ngx_pool_t *pool,
    ngx_xmpp_scram_keys_t *keys, ngx_str_t *text);

/*
 * Keys for a user who does not exist: the salt is an HMAC of the name under
 * secret, so it never changes; no proof will match.  The iteration count is
 * the given one.  NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_xmpp_scram_keys_fake(ngx_xmpp_scram_hash_e hash,
    ngx_str_t *secret, ngx_str_t *name, ngx_uint_t iterations,
    ngx_xmpp_scram_keys_t *keys);

/*
 * Reads client-first-message.  sc->pool, hash, cb (and cb_type) are input.
 * NGX_OK; NGX_DECLINED: malformed, or an extension or binding we must refuse
 * (RFC 5802, 5.1, 6); NGX_ERROR: no memory.
 */
ngx_int_t ngx_xmpp_scram_first(ngx_xmpp_scram_t *sc, ngx_str_t *msg);

/*
 * The name in "p=name," of a client-first-message, a slice of msg that is not
 * yet checked otherwise; NGX_DECLINED: it does not begin so (RFC 5802, 7).
 */
ngx_int_t ngx_xmpp_scram_cb_type(ngx_str_t *msg, ngx_str_t *type);

/* writes server-first-message into *out from sc->keys; NGX_OK, NGX_ERROR */
ngx_int_t ngx_xmpp_scram_challenge(ngx_xmpp_scram_t *sc, ngx_str_t *out);

/*
 * Reads client-final-message, checks nonce, binding and proof in constant
 * time; on NGX_OK *out is server-final-message ("v=...").  NGX_DECLINED: the
 * proof is wrong; NGX_ABORT: malformed; NGX_ERROR: no memory.
 */
ngx_int_t ngx_xmpp_scram_final(ngx_xmpp_scram_t *sc, ngx_str_t *msg,
    ngx_str_t *out);


/* the two sources of this header share: */
ngx_int_t ngx_xmpp_scram_hmac(ngx_xmpp_scram_hash_e hash, u_char *key,
    size_t key_len, u_char *data, size_t len, u_char *out);
ngx_int_t ngx_xmpp_scram_digest(ngx_xmpp_scram_hash_e hash, u_char *data,
    size_t len, u_char *out);
u_char *ngx_xmpp_scram_number(u_char *p, ngx_uint_t n);


#endif /* _NGX_XMPP_SCRAM_H_INCLUDED_ */
