
/*
 * SCRAM (RFC 5802; SHA-256: RFC 7677; SHA-512 likewise), the server's side.
 *
 *   client-first   gs2-header  client-first-message-bare
 *                  "n,[a=authzid],"  "n=user,r=cnonce[,extensions]"
 *   server-first   "r=cnonce snonce,s=salt,i=iterations"
 *   client-final   "c=base64(gs2-header [cbind-data]),r=nonce[,ext],p=proof"
 *   server-final   "v=signature"
 *
 *   AuthMessage = client-first-bare "," server-first "," final-without-proof
 *   proof = ClientKey XOR HMAC(StoredKey, AuthMessage)
 *   signature = HMAC(ServerKey, AuthMessage)
 *
 * ngx_xmpp_scram_keys.c has the keys.  Everything that the state refers to is
 * copied into sc->pool, so no message has to outlive its call.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/crypto.h>
#include "ngx_xmpp_scram.h"
#include "ngx_xmpp_precis.h"
#include "ngx_xmpp_util.h"


#define NGX_XMPP_SCRAM_NONCE   16        /* random octets, twice as much hex */

/* the widest "r=...,s=...,i=..." without the nonce */
#define NGX_XMPP_SCRAM_FIRST_LEN                                              \
    (sizeof("r=,s=,i=") + NGX_INT_T_LEN                                       \
     + ngx_base64_encoded_length(NGX_XMPP_SCRAM_SALT_MAX))


/* reads one attribute after another: "a=value,b=value" */
typedef struct {
    u_char               *pos;
    u_char               *last;
    u_char                name;
    ngx_str_t             value;
} ngx_xmpp_scram_attr_t;


static ngx_int_t ngx_xmpp_scram_first_bare(ngx_xmpp_scram_t *sc);
static ngx_int_t ngx_xmpp_scram_cb_flag(ngx_xmpp_scram_t *sc, u_char **pos,
    u_char *last);
static ngx_int_t ngx_xmpp_scram_attr(ngx_xmpp_scram_attr_t *a);
static ngx_uint_t ngx_xmpp_scram_extensions(ngx_xmpp_scram_attr_t *a);
static ngx_int_t ngx_xmpp_scram_name(ngx_pool_t *pool, ngx_str_t *in,
    ngx_str_t *out);
static ngx_uint_t ngx_xmpp_scram_printable(ngx_str_t *s);
static ngx_int_t ngx_xmpp_scram_final_parse(ngx_xmpp_scram_t *sc,
    ngx_str_t *msg, ngx_str_t *signed_part, ngx_str_t *binding,
    ngx_str_t *nonce, u_char *proof);
static ngx_int_t ngx_xmpp_scram_auth_message(ngx_xmpp_scram_t *sc,
    ngx_str_t *signed_part, ngx_str_t *auth);
static ngx_int_t ngx_xmpp_scram_binding(ngx_xmpp_scram_t *sc,
    ngx_str_t *value);
static ngx_int_t ngx_xmpp_scram_proof(ngx_xmpp_scram_t *sc,
    ngx_str_t *message, u_char *proof);
static ngx_int_t ngx_xmpp_scram_signature(ngx_xmpp_scram_t *sc,
    ngx_str_t *message, ngx_str_t *out);


ngx_str_t  ngx_xmpp_scram_names[NGX_XMPP_SCRAM_HASHES] = {
    ngx_string("SCRAM-SHA-1"),
    ngx_string("SCRAM-SHA-256"),
    ngx_string("SCRAM-SHA-512")
};


/*
 * Reads client-first-message; sc->pool, hash, cb (and cb_type) are input.
 * NGX_OK: gs2_header, authzid, username, client_first_bare and the client's
 * part of nonce are set; NGX_DECLINED: malformed, or an extension or binding
 * that must be refused (RFC 5802, 5.1, 6); NGX_ERROR: no memory.
 */
ngx_int_t
ngx_xmpp_scram_first(ngx_xmpp_scram_t *sc, ngx_str_t *msg)
{
    u_char     *p, *last, *comma;
    ngx_int_t   rc;
    ngx_str_t   name;

    if (!ngx_xmpp_utf8_valid(msg->data, msg->len)) {
        return NGX_DECLINED;
    }

    p = ngx_pnalloc(sc->pool, msg->len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(p, msg->data, msg->len);

    sc->gs2_header.data = p;
    last = p + msg->len;

    rc = ngx_xmpp_scram_cb_flag(sc, &p, last);
    if (rc != NGX_OK) {
        return rc;
    }

    comma = ngx_strlchr(p, last, ',');
    if (comma == NULL) {
        return NGX_DECLINED;
    }

    ngx_str_null(&sc->authzid);

    if (comma != p) {

        if (comma - p < 3 || p[0] != 'a' || p[1] != '=') {
            return NGX_DECLINED;
        }

        name.data = p + 2;
        name.len = comma - name.data;

        rc = ngx_xmpp_scram_name(sc->pool, &name, &sc->authzid);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    sc->gs2_header.len = comma + 1 - sc->gs2_header.data;

    sc->client_first_bare.data = comma + 1;
    sc->client_first_bare.len = last - sc->client_first_bare.data;

    return ngx_xmpp_scram_first_bare(sc);
}


/*
 * The name in "p=name," at the begin of msg, a slice; nothing else is looked
 * at.  NGX_OK or NGX_DECLINED.
 */
ngx_int_t
ngx_xmpp_scram_cb_type(ngx_str_t *msg, ngx_str_t *type)
{
    u_char  *comma;

    if (msg->len < 4 || msg->data[0] != 'p' || msg->data[1] != '=') {
        return NGX_DECLINED;
    }

    comma = ngx_strlchr(msg->data, msg->data + msg->len, ',');

    if (comma == NULL || comma == msg->data + 2) {
        return NGX_DECLINED;
    }

    type->data = msg->data + 2;
    type->len = comma - type->data;

    return NGX_OK;
}


/*
 * Writes server-first-message into *out from sc->keys, with a nonce of its
 * own after the client's; both stay in sc.  NGX_OK; NGX_ERROR: no memory or
 * no randomness.
 */
ngx_int_t
ngx_xmpp_scram_challenge(ngx_xmpp_scram_t *sc, ngx_str_t *out)
{
    u_char  *p;
    size_t   len;

    len = sc->nonce.len + 2 * NGX_XMPP_SCRAM_NONCE;

    p = ngx_pnalloc(sc->pool, len + NGX_XMPP_SCRAM_FIRST_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    sc->server_first.data = p;

    *p++ = 'r';
    *p++ = '=';

    ngx_memcpy(p, sc->nonce.data, sc->nonce.len);

    if (ngx_xmpp_id_random(p + sc->nonce.len, NGX_XMPP_SCRAM_NONCE)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    sc->nonce.data = p;
    sc->nonce.len = len;

    p += len;

    p = ngx_cpymem(p, ",s=", sizeof(",s=") - 1);
    p = ngx_xmpp_base64_encode_to(p, sc->keys.salt, sc->keys.salt_len);
    p = ngx_cpymem(p, ",i=", sizeof(",i=") - 1);
    p = ngx_xmpp_scram_number(p, sc->keys.iterations);

    sc->server_first.len = p - sc->server_first.data;

    *out = sc->server_first;

    return NGX_OK;
}


/*
 * Reads client-final-message and checks binding, nonce and proof.  NGX_OK:
 * *out is server-final-message; NGX_DECLINED: one of them is wrong;
 * NGX_ABORT: malformed; NGX_ERROR: no memory.
 */
ngx_int_t
ngx_xmpp_scram_final(ngx_xmpp_scram_t *sc, ngx_str_t *msg, ngx_str_t *out)
{
    u_char      proof[NGX_XMPP_SCRAM_HASH_MAX + 2];
    ngx_int_t   rc;
    ngx_str_t   signed_part, binding, nonce, auth;

    rc = ngx_xmpp_scram_final_parse(sc, msg, &signed_part, &binding, &nonce,
                                    proof);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_xmpp_scram_binding(sc, &binding);
    if (rc != NGX_OK) {
        return rc;
    }

    if (nonce.len != sc->nonce.len
        || CRYPTO_memcmp(nonce.data, sc->nonce.data, nonce.len) != 0)
    {
        return NGX_DECLINED;
    }

    rc = ngx_xmpp_scram_auth_message(sc, &signed_part, &auth);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_xmpp_scram_proof(sc, &auth, proof);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_xmpp_scram_signature(sc, &auth, out);
}


/*
 * Takes client-final-message apart: channel-binding "," nonce
 * ["," extensions] "," proof.  signed_part is all before the last comma;
 * proof gets keys.hash_len octets.  NGX_OK or NGX_ABORT.
 */
static ngx_int_t
ngx_xmpp_scram_final_parse(ngx_xmpp_scram_t *sc, ngx_str_t *msg,
    ngx_str_t *signed_part, ngx_str_t *binding, ngx_str_t *nonce,
    u_char *proof)
{
    u_char                 *p;
    ngx_xmpp_scram_attr_t   a;

    if (!ngx_xmpp_utf8_valid(msg->data, msg->len)) {
        return NGX_ABORT;
    }

    a.pos = msg->data;
    a.last = msg->data + msg->len;

    if (ngx_xmpp_scram_attr(&a) != NGX_OK || a.name != 'c') {
        return NGX_ABORT;
    }

    *binding = a.value;

    if (ngx_xmpp_scram_attr(&a) != NGX_OK || a.name != 'r') {
        return NGX_ABORT;
    }

    *nonce = a.value;

    /* extensions are ignored, but signed */

    do {
        p = a.pos;

        if (ngx_xmpp_scram_attr(&a) != NGX_OK) {
            return NGX_ABORT;
        }

    } while (a.name != 'p');

    signed_part->data = msg->data;
    signed_part->len = p - 1 - msg->data;

    if (a.pos != NULL
        || a.value.len != ngx_base64_encoded_length(sc->keys.hash_len))
    {
        return NGX_ABORT;
    }

    p = ngx_xmpp_base64_decode_to(proof, &a.value);

    if (p == NULL || (size_t) (p - proof) != sc->keys.hash_len) {
        return NGX_ABORT;
    }

    return NGX_OK;
}


/* AuthMessage, RFC 5802, 3, from sc->pool; NGX_OK or NGX_ERROR */

static ngx_int_t
ngx_xmpp_scram_auth_message(ngx_xmpp_scram_t *sc, ngx_str_t *signed_part,
    ngx_str_t *auth)
{
    u_char  *p;

    auth->len = sc->client_first_bare.len + 1 + sc->server_first.len + 1
                + signed_part->len;

    p = ngx_pnalloc(sc->pool, auth->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    auth->data = p;

    p = ngx_cpymem(p, sc->client_first_bare.data, sc->client_first_bare.len);
    *p++ = ',';
    p = ngx_cpymem(p, sc->server_first.data, sc->server_first.len);
    *p++ = ',';
    ngx_memcpy(p, signed_part->data, signed_part->len);

    return NGX_OK;
}


/* gs2-cbind-flag and its comma, RFC 5802, 6 */

static ngx_int_t
ngx_xmpp_scram_cb_flag(ngx_xmpp_scram_t *sc, u_char **pos, u_char *last)
{
    u_char  *p, *comma;

    p = *pos;

    comma = ngx_strlchr(p, last, ',');

    if (comma == NULL || comma == p) {
        return NGX_DECLINED;
    }

    *pos = comma + 1;

    switch (*p) {

    case 'p':

        if (sc->cb == NGX_XMPP_SCRAM_CB_USED
            && comma - p > 2
            && p[1] == '='
            && (size_t) (comma - p - 2) == sc->cb_type.len
            && ngx_memcmp(p + 2, sc->cb_type.data, sc->cb_type.len) == 0)
        {
            return NGX_OK;
        }

        return NGX_DECLINED;

    case 'n':

        if (comma - p == 1 && sc->cb != NGX_XMPP_SCRAM_CB_USED) {
            return NGX_OK;
        }

        return NGX_DECLINED;

    case 'y':

        /*
         * The client believes that we cannot bind: where -PLUS was offered,
         * somebody took it out of the list, and this MUST fail.
         */

        if (comma - p == 1 && sc->cb == NGX_XMPP_SCRAM_CB_NONE) {
            return NGX_OK;
        }

        return NGX_DECLINED;

    default:
        return NGX_DECLINED;
    }
}


/* [reserved-mext ","] username "," nonce ["," extensions] */

static ngx_int_t
ngx_xmpp_scram_first_bare(ngx_xmpp_scram_t *sc)
{
    ngx_int_t              rc;
    ngx_xmpp_scram_attr_t  a;

    a.pos = sc->client_first_bare.data;
    a.last = a.pos + sc->client_first_bare.len;

    if (ngx_xmpp_scram_attr(&a) != NGX_OK || a.name != 'n') {
        return NGX_DECLINED;
    }

    rc = ngx_xmpp_scram_name(sc->pool, &a.value, &sc->username);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_xmpp_scram_attr(&a) != NGX_OK || a.name != 'r'
        || !ngx_xmpp_scram_printable(&a.value))
    {
        return NGX_DECLINED;
    }

    sc->nonce = a.value;

    return ngx_xmpp_scram_extensions(&a) ? NGX_OK : NGX_DECLINED;
}


/*
 * Reads attr-val and the comma after it: a letter, '=', 1*value-char.  pos
 * becomes NULL after the last one.  NGX_OK or NGX_DECLINED.
 */
static ngx_int_t
ngx_xmpp_scram_attr(ngx_xmpp_scram_attr_t *a)
{
    u_char  c, *p, *comma;

    p = a->pos;

    if (p == NULL || a->last - p < 3 || p[1] != '=') {
        return NGX_DECLINED;
    }

    c = (u_char) (p[0] | 0x20);

    if (c < 'a' || c > 'z') {
        return NGX_DECLINED;
    }

    /* a mandatory extension, 5.1: MUST fail, wherever it stands */

    if (p[0] == 'm') {
        return NGX_DECLINED;
    }

    comma = ngx_strlchr(p, a->last, ',');

    a->name = p[0];
    a->value.data = p + 2;
    a->value.len = (comma ? comma : a->last) - a->value.data;
    a->pos = comma ? comma + 1 : NULL;

    if (comma == p + 2
        || ngx_strlchr(p, p + 2 + a->value.len, '\0') != NULL)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* is all that is left well-formed; unknown optional extensions are ignored */

static ngx_uint_t
ngx_xmpp_scram_extensions(ngx_xmpp_scram_attr_t *a)
{
    while (a->pos) {
        if (ngx_xmpp_scram_attr(a) != NGX_OK) {
            return 0;
        }
    }

    return 1;
}


/* saslname: "=2C" is a comma, "=3D" is '=', no other '=' may occur (5.1) */

static ngx_int_t
ngx_xmpp_scram_name(ngx_pool_t *pool, ngx_str_t *in, ngx_str_t *out)
{
    u_char  *p, *s, *last;

    s = in->data;
    last = in->data + in->len;

    p = ngx_pnalloc(pool, in->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    out->data = p;

    while (s < last) {

        if (*s == '\0') {
            return NGX_DECLINED;
        }

        if (*s != '=') {
            *p++ = *s++;
            continue;
        }

        if (last - s < 3) {
            return NGX_DECLINED;
        }

        if (s[1] == '2' && s[2] == 'C') {
            *p++ = ',';

        } else if (s[1] == '3' && s[2] == 'D') {
            *p++ = '=';

        } else {
            return NGX_DECLINED;
        }

        s += 3;
    }

    out->len = p - out->data;

    return NGX_OK;
}


/* printable, RFC 5802, 7: %x21-2B / %x2D-7E */

static ngx_uint_t
ngx_xmpp_scram_printable(ngx_str_t *s)
{
    size_t  i;

    for (i = 0; i < s->len; i++) {
        if (s->data[i] < 0x21 || s->data[i] > 0x7e || s->data[i] == ',') {
            return 0;
        }
    }

    return 1;
}


/* "c=": the gs2-header once more, and the binding's data when it is used */

static ngx_int_t
ngx_xmpp_scram_binding(ngx_xmpp_scram_t *sc, ngx_str_t *value)
{
    ngx_int_t  rc;
    ngx_str_t  bound, data;

    rc = ngx_xmpp_base64_decode(sc->pool, value, &bound);

    if (rc != NGX_OK) {
        return (rc == NGX_DECLINED) ? NGX_ABORT : rc;
    }

    ngx_str_null(&data);

    if (sc->cb == NGX_XMPP_SCRAM_CB_USED) {
        data = sc->cb_data;
    }

    if (bound.len != sc->gs2_header.len + data.len
        || CRYPTO_memcmp(bound.data, sc->gs2_header.data, sc->gs2_header.len)
           != 0
        || (data.len
            && CRYPTO_memcmp(bound.data + sc->gs2_header.len, data.data,
                             data.len)
               != 0))
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* H(proof XOR HMAC(StoredKey, message)) must be StoredKey */

static ngx_int_t
ngx_xmpp_scram_proof(ngx_xmpp_scram_t *sc, ngx_str_t *message, u_char *proof)
{
    u_char      key[NGX_XMPP_SCRAM_HASH_MAX];
    u_char      stored[NGX_XMPP_SCRAM_HASH_MAX];
    size_t      i, n;
    ngx_int_t   rc;

    n = sc->keys.hash_len;

    rc = ngx_xmpp_scram_hmac(sc->hash, sc->keys.stored_key, n, message->data,
                             message->len, key);
    if (rc != NGX_OK) {
        return rc;
    }

    for (i = 0; i < n; i++) {
        key[i] ^= proof[i];
    }

    rc = NGX_DECLINED;

    if (ngx_xmpp_scram_digest(sc->hash, key, n, stored) != NGX_OK) {
        rc = NGX_ERROR;

    } else if (CRYPTO_memcmp(stored, sc->keys.stored_key, n) == 0) {
        rc = NGX_OK;
    }

    OPENSSL_cleanse(key, sizeof(key));

    return rc;
}


/* server-final-message */

static ngx_int_t
ngx_xmpp_scram_signature(ngx_xmpp_scram_t *sc, ngx_str_t *message,
    ngx_str_t *out)
{
    u_char     *p, signature[NGX_XMPP_SCRAM_HASH_MAX];
    size_t      n;
    ngx_int_t   rc;

    n = sc->keys.hash_len;

    rc = ngx_xmpp_scram_hmac(sc->hash, sc->keys.server_key, n, message->data,
                             message->len, signature);
    if (rc != NGX_OK) {
        return rc;
    }

    p = ngx_pnalloc(sc->pool, 2 + ngx_base64_encoded_length(n));
    if (p == NULL) {
        return NGX_ERROR;
    }

    out->data = p;

    *p++ = 'v';
    *p++ = '=';
    p = ngx_xmpp_base64_encode_to(p, signature, n);

    out->len = p - out->data;

    return NGX_OK;
}
