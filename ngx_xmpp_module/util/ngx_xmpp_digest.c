
/*
 * DIGEST-MD5 (RFC 2831), the server's side.
 *
 *   digest-challenge  realm="host",nonce="...",qop="auth",charset=utf-8,
 *                     algorithm=md5-sess
 *   digest-response   1#( username | realm | nonce | cnonce | nc | ... )
 *   response-auth     rspauth=...
 *
 *   A1 = H(user:realm:password) ":" nonce ":" cnonce [":" authzid]
 *   A2 = ["AUTHENTICATE"] ":" digest-uri
 *   response = HEX(H(HEX(H(A1)):nonce:nc:cnonce:qop:HEX(H(A2))))
 *
 * What is hashed is always a list with colons between.  A response that has
 * been read lies in the pool of the exchange as a copy, in which escapes are
 * taken out in place.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include "ngx_xmpp_digest.h"
#include "ngx_xmpp_precis.h"
#include "ngx_xmpp_util.h"


#define NGX_XMPP_DIGEST_RANDOM    16        /* octets of a nonce, in hex */
#define NGX_XMPP_DIGEST_PARTS_MAX 6


static ngx_int_t ngx_xmpp_digest_directive(u_char **pos, u_char *last,
    ngx_str_t *name, ngx_str_t *value);
static ngx_int_t ngx_xmpp_digest_quoted(u_char **pos, u_char *last,
    ngx_str_t *value);
static ngx_uint_t ngx_xmpp_digest_token(u_char **pos, u_char *last,
    ngx_str_t *token);
static void ngx_xmpp_digest_space(u_char **pos, u_char *last);
static ngx_uint_t ngx_xmpp_digest_value(ngx_xmpp_digest_t *d, ngx_uint_t i,
    const char *value);
static ngx_uint_t ngx_xmpp_digest_uri(ngx_xmpp_digest_t *d);
static ngx_uint_t ngx_xmpp_digest_eq(ngx_str_t *a, ngx_str_t *b);
static void ngx_xmpp_digest_hex(u_char *p, u_char *hash);
static ngx_uint_t ngx_xmpp_digest_names(ngx_xmpp_digest_t *d);
static ngx_int_t ngx_xmpp_digest_response(ngx_xmpp_digest_t *d,
    u_char *secret, const char *method, u_char *hex);
static ngx_int_t ngx_xmpp_digest_hash(ngx_str_t *parts, ngx_uint_t n,
    ngx_uint_t latin1, u_char *out);
static ngx_int_t ngx_xmpp_digest_part(EVP_MD_CTX *ctx, ngx_str_t *part,
    ngx_uint_t latin1);
static ngx_uint_t ngx_xmpp_digest_is_latin1(ngx_str_t *s);


ngx_str_t  ngx_xmpp_digest_field = ngx_string("digest-md5");


static u_char  ngx_xmpp_digest_digits[] = "0123456789abcdef";


static ngx_str_t  ngx_xmpp_digest_names_of[NGX_XMPP_DIGEST_DIRECTIVES] = {
    ngx_string("username"),
    ngx_string("realm"),
    ngx_string("nonce"),
    ngx_string("cnonce"),
    ngx_string("nc"),
    ngx_string("qop"),
    ngx_string("digest-uri"),
    ngx_string("response"),
    ngx_string("maxbuf"),
    ngx_string("charset"),
    ngx_string("cipher"),
    ngx_string("authzid")
};


/* whether OpenSSL has MD5, which a FIPS provider has not: 1 or 0 */

ngx_uint_t
ngx_xmpp_digest_supported(void)
{
    u_char  hash[NGX_XMPP_DIGEST_LEN];

    return ngx_xmpp_digest_hash(NULL, 0, 0, hash) == NGX_OK;
}


/*
 * H(user:realm:password) to hex, NGX_XMPP_DIGEST_HEX digits.  RFC 2831,
 * 2.1.2.1: a user or a password that ISO 8859-1 can write is hashed so, each
 * on its own.  NGX_OK or NGX_ERROR (OpenSSL refused).
 */
ngx_int_t
ngx_xmpp_digest_secret(ngx_str_t *user, ngx_str_t *realm,
    ngx_str_t *password, u_char *hex)
{
    u_char     hash[NGX_XMPP_DIGEST_LEN];
    ngx_str_t  parts[3];

    parts[0] = *user;
    parts[1] = *realm;
    parts[2] = *password;

    if (ngx_xmpp_digest_hash(parts, 3, 0x5, hash) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_xmpp_digest_hex(hex, hash);

    OPENSSL_cleanse(hash, sizeof(hash));

    return NGX_OK;
}


/* reads the stored hex digits; NGX_OK or NGX_DECLINED */

ngx_int_t
ngx_xmpp_digest_secret_parse(ngx_str_t *text, u_char *secret)
{
    size_t   i;
    u_char  *digit;

    if (text->len != NGX_XMPP_DIGEST_HEX) {
        return NGX_DECLINED;
    }

    for (i = 0; i < NGX_XMPP_DIGEST_HEX; i++) {

        digit = ngx_strlchr(ngx_xmpp_digest_digits,
                            ngx_xmpp_digest_digits + 16, text->data[i]);

        if (digit == NULL) {
            return NGX_DECLINED;
        }

        secret[i / 2] = (u_char) ((secret[i / 2] << 4)
                                  | (digit - ngx_xmpp_digest_digits));
    }

    return NGX_OK;
}


/*
 * Writes digest-challenge (RFC 2831, 2.1.1) into *out, from d->pool; a
 * prepared domain has nothing that a quoted string would escape.  NGX_OK;
 * NGX_ERROR: no memory or no randomness.
 */
ngx_int_t
ngx_xmpp_digest_challenge(ngx_xmpp_digest_t *d, ngx_str_t *out)
{
    u_char  *p;

    d->nonce.len = 2 * NGX_XMPP_DIGEST_RANDOM;
    d->nonce.data = ngx_pnalloc(d->pool, d->nonce.len);

    out->len = sizeof("realm=\"\",nonce=\"\",qop=\"auth\",charset=utf-8,"
                      "algorithm=md5-sess") - 1
               + d->host.len + d->nonce.len;
    out->data = ngx_pnalloc(d->pool, out->len);

    if (d->nonce.data == NULL || out->data == NULL
        || ngx_xmpp_id_random(d->nonce.data, NGX_XMPP_DIGEST_RANDOM) != NGX_OK)
    {
        return NGX_ERROR;
    }

    p = ngx_cpymem(out->data, "realm=\"", sizeof("realm=\"") - 1);
    p = ngx_cpymem(p, d->host.data, d->host.len);
    p = ngx_cpymem(p, "\",nonce=\"", sizeof("\",nonce=\"") - 1);
    p = ngx_cpymem(p, d->nonce.data, d->nonce.len);
    ngx_memcpy(p, "\",qop=\"auth\",charset=utf-8,algorithm=md5-sess",
               sizeof("\",qop=\"auth\",charset=utf-8,algorithm=md5-sess") - 1);

    return NGX_OK;
}


/*
 * Takes digest-response apart into d->values, in a copy from d->pool.  An
 * auth-param that is not known is ignored (RFC 2831, 2.1.2).  NGX_OK;
 * NGX_DECLINED: malformed, too long, or a directive is there twice; NGX_ERROR:
 * no memory.
 */
ngx_int_t
ngx_xmpp_digest_parse(ngx_xmpp_digest_t *d, ngx_str_t *msg)
{
    u_char      *p, *last;
    ngx_str_t    name, value;
    ngx_uint_t   i;

    ngx_memzero(d->values, sizeof(d->values));

    if (msg->len == 0 || msg->len >= NGX_XMPP_DIGEST_RESPONSE_MAX) {
        return NGX_DECLINED;
    }

    p = ngx_pnalloc(d->pool, msg->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(p, msg->data, msg->len);
    last = p + msg->len;

    for ( ;; ) {

        /* 7.1: elements of a list may be empty */

        do {
            ngx_xmpp_digest_space(&p, last);
        } while (p < last && *p == ',' && p++);

        if (p == last) {
            return NGX_OK;
        }

        if (ngx_xmpp_digest_directive(&p, last, &name, &value) != NGX_OK) {
            return NGX_DECLINED;
        }

        for (i = 0; i < NGX_XMPP_DIGEST_DIRECTIVES; i++) {

            if (!ngx_xmpp_digest_eq(&name, &ngx_xmpp_digest_names_of[i])) {
                continue;
            }

            /* 2.1.2: present twice, the exchange fails */

            if (d->values[i].data) {
                return NGX_DECLINED;
            }

            d->values[i] = value;
            break;
        }
    }
}


/*
 * Are the values those that this challenge asks for (RFC 2831, 2.1.2)?
 * NGX_OK; NGX_DECLINED: a directive is missing or must not be so; NGX_ABORT:
 * the nonce is another one.
 */
ngx_int_t
ngx_xmpp_digest_check(ngx_xmpp_digest_t *d)
{
    size_t      i;
    ngx_str_t  *v;

    v = d->values;

    if (!ngx_xmpp_digest_names(d)
        || v[NGX_XMPP_DIGEST_REALM].len != d->host.len
        || ngx_memcmp(v[NGX_XMPP_DIGEST_REALM].data, d->host.data, d->host.len)
           != 0
        || v[NGX_XMPP_DIGEST_CNONCE].len == 0
        || !ngx_xmpp_digest_value(d, NGX_XMPP_DIGEST_NC, "00000001")
        || (v[NGX_XMPP_DIGEST_QOP].data
            && !ngx_xmpp_digest_value(d, NGX_XMPP_DIGEST_QOP, "auth"))
        || !ngx_xmpp_digest_uri(d)
        || v[NGX_XMPP_DIGEST_NONCE].data == NULL
        || v[NGX_XMPP_DIGEST_RESPONSE].len != NGX_XMPP_DIGEST_HEX)
    {
        return NGX_DECLINED;
    }

    /* 32LHEX */

    for (i = 0; i < NGX_XMPP_DIGEST_HEX; i++) {
        if (ngx_strlchr(ngx_xmpp_digest_digits, ngx_xmpp_digest_digits + 16,
                        v[NGX_XMPP_DIGEST_RESPONSE].data[i])
            == NULL)
        {
            return NGX_DECLINED;
        }
    }

    if (v[NGX_XMPP_DIGEST_NONCE].len != d->nonce.len
        || ngx_memcmp(v[NGX_XMPP_DIGEST_NONCE].data, d->nonce.data,
                      d->nonce.len)
           != 0)
    {
        return NGX_ABORT;
    }

    return NGX_OK;
}


/*
 * Compares the response in constant time; on NGX_OK *out is response-auth
 * (RFC 2831, 2.1.3), from d->pool.  NGX_DECLINED: wrong; NGX_ERROR: no
 * memory, or OpenSSL refused.
 */
ngx_int_t
ngx_xmpp_digest_verify(ngx_xmpp_digest_t *d, u_char *secret, ngx_str_t *out)
{
    u_char  *p, hex[NGX_XMPP_DIGEST_HEX];

    if (ngx_xmpp_digest_response(d, secret, "AUTHENTICATE", hex) != NGX_OK) {
        return NGX_ERROR;
    }

    if (d->values[NGX_XMPP_DIGEST_RESPONSE].len != NGX_XMPP_DIGEST_HEX
        || CRYPTO_memcmp(hex, d->values[NGX_XMPP_DIGEST_RESPONSE].data,
                         NGX_XMPP_DIGEST_HEX)
           != 0)
    {
        return NGX_DECLINED;
    }

    out->len = sizeof("rspauth=") - 1 + NGX_XMPP_DIGEST_HEX;
    out->data = ngx_pnalloc(d->pool, out->len);

    if (out->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(out->data, "rspauth=", sizeof("rspauth=") - 1);

    return ngx_xmpp_digest_response(d, secret, "", p);
}


/*
 * Reads name "=" ( token | quoted-string ) up to the comma after it.  Some
 * clients quote what the grammar does not, so either form will do.
 */
static ngx_int_t
ngx_xmpp_digest_directive(u_char **pos, u_char *last, ngx_str_t *name,
    ngx_str_t *value)
{
    if (!ngx_xmpp_digest_token(pos, last, name)) {
        return NGX_DECLINED;
    }

    ngx_xmpp_digest_space(pos, last);

    if (*pos == last || **pos != '=') {
        return NGX_DECLINED;
    }

    (*pos)++;

    ngx_xmpp_digest_space(pos, last);

    if (*pos < last && **pos == '"') {

        if (ngx_xmpp_digest_quoted(pos, last, value) != NGX_OK) {
            return NGX_DECLINED;
        }

    } else if (!ngx_xmpp_digest_token(pos, last, value)) {
        return NGX_DECLINED;
    }

    ngx_xmpp_digest_space(pos, last);

    return (*pos == last || **pos == ',') ? NGX_OK : NGX_DECLINED;
}


/* quoted-string, RFC 2831, 7.2; *value gets it unescaped, in place */

static ngx_int_t
ngx_xmpp_digest_quoted(u_char **pos, u_char *last, ngx_str_t *value)
{
    u_char  *p, *dst;

    p = *pos + 1;
    dst = p;
    value->data = p;

    for ( /* void */ ; p < last; p++) {

        if (*p == '"') {
            value->len = dst - value->data;
            *pos = p + 1;

            return NGX_OK;
        }

        if (*p == '\\' && ++p == last) {
            return NGX_DECLINED;
        }

        if (*p < 0x20 || *p == 0x7f) {
            return NGX_DECLINED;
        }

        *dst++ = *p;
    }

    return NGX_DECLINED;
}


/* token, RFC 2831, 7.1; 1, or 0 when there is none */

static ngx_uint_t
ngx_xmpp_digest_token(u_char **pos, u_char *last, ngx_str_t *token)
{
    u_char  *p;

    for (p = *pos; p < last; p++) {
        if (*p <= 0x20 || *p >= 0x7f || ngx_strchr("()<>@,;:\\\"/[]?={}", *p))
        {
            break;
        }
    }

    token->data = *pos;
    token->len = p - *pos;
    *pos = p;

    return token->len != 0;
}


static void
ngx_xmpp_digest_space(u_char **pos, u_char *last)
{
    u_char  *p;

    p = *pos;

    while (p < last && (*p == ' ' || *p == '\t' || *p == CR || *p == LF)) {
        p++;
    }

    *pos = p;
}


/* is a value that one, whatever its case */

static ngx_uint_t
ngx_xmpp_digest_value(ngx_xmpp_digest_t *d, ngx_uint_t i, const char *value)
{
    ngx_str_t  want;

    want.data = (u_char *) value;
    want.len = ngx_strlen(value);

    return ngx_xmpp_digest_eq(&d->values[i], &want);
}


/*
 * RFC 2831, 2.1.2: digest-uri is "xmpp/" and the host; the service is the
 * host itself, so no serv-name may follow.
 */
static ngx_uint_t
ngx_xmpp_digest_uri(ngx_xmpp_digest_t *d)
{
    ngx_str_t         type, host, *uri;
    static ngx_str_t  xmpp = ngx_string("xmpp/");

    uri = &d->values[NGX_XMPP_DIGEST_URI];

    if (uri->len < xmpp.len) {
        return 0;
    }

    type.data = uri->data;
    type.len = xmpp.len;

    host.data = uri->data + xmpp.len;
    host.len = uri->len - xmpp.len;

    return ngx_xmpp_digest_eq(&type, &xmpp)
           && ngx_xmpp_digest_eq(&host, &d->host);
}


/* the same, but for the case of ASCII */

static ngx_uint_t
ngx_xmpp_digest_eq(ngx_str_t *a, ngx_str_t *b)
{
    size_t  i;

    if (a->len != b->len) {
        return 0;
    }

    for (i = 0; i < a->len; i++) {
        if (ngx_tolower(a->data[i]) != ngx_tolower(b->data[i])) {
            return 0;
        }
    }

    return 1;
}


/* NGX_XMPP_DIGEST_LEN octets as twice as many digits */

static void
ngx_xmpp_digest_hex(u_char *p, u_char *hash)
{
    size_t  i;

    for (i = 0; i < NGX_XMPP_DIGEST_LEN; i++) {
        *p++ = ngx_xmpp_digest_digits[hash[i] >> 4];
        *p++ = ngx_xmpp_digest_digits[hash[i] & 0xf];
    }
}


/*
 * RFC 2831, 2.1.2: without charset the name is ISO 8859-1, of which ASCII is
 * taken.  An authorization identity must not be empty.
 */
static ngx_uint_t
ngx_xmpp_digest_names(ngx_xmpp_digest_t *d)
{
    size_t      i;
    ngx_str_t  *name, *authzid;

    name = &d->values[NGX_XMPP_DIGEST_USERNAME];
    authzid = &d->values[NGX_XMPP_DIGEST_AUTHZID];

    if (name->data == NULL || !ngx_xmpp_utf8_valid(name->data, name->len)) {
        return 0;
    }

    if (d->values[NGX_XMPP_DIGEST_CHARSET].data) {

        if (!ngx_xmpp_digest_value(d, NGX_XMPP_DIGEST_CHARSET, "utf-8")) {
            return 0;
        }

    } else {

        for (i = 0; i < name->len; i++) {
            if (name->data[i] > 0x7f) {
                return 0;
            }
        }
    }

    return authzid->data == NULL
           || (authzid->len && ngx_xmpp_utf8_valid(authzid->data,
                                                   authzid->len));
}


/* RFC 2831, 2.1.2.1; NGX_XMPP_DIGEST_HEX digits to hex */

static ngx_int_t
ngx_xmpp_digest_response(ngx_xmpp_digest_t *d, u_char *secret,
    const char *method, u_char *hex)
{
    u_char      a1[NGX_XMPP_DIGEST_HEX], a2[NGX_XMPP_DIGEST_HEX];
    u_char      hash[NGX_XMPP_DIGEST_LEN];
    ngx_int_t   rc;
    ngx_str_t  *v, parts[NGX_XMPP_DIGEST_PARTS_MAX];

    v = d->values;

    parts[0].data = secret;
    parts[0].len = NGX_XMPP_DIGEST_LEN;
    parts[1] = v[NGX_XMPP_DIGEST_NONCE];
    parts[2] = v[NGX_XMPP_DIGEST_CNONCE];
    parts[3] = v[NGX_XMPP_DIGEST_AUTHZID];

    rc = ngx_xmpp_digest_hash(parts, parts[3].data ? 4 : 3, 0, hash);

    if (rc == NGX_OK) {
        ngx_xmpp_digest_hex(a1, hash);

        parts[0].data = (u_char *) method;
        parts[0].len = ngx_strlen(method);
        parts[1] = v[NGX_XMPP_DIGEST_URI];

        rc = ngx_xmpp_digest_hash(parts, 2, 0, hash);
    }

    if (rc == NGX_OK) {
        ngx_xmpp_digest_hex(a2, hash);

        parts[0].data = a1;
        parts[0].len = sizeof(a1);
        parts[1] = v[NGX_XMPP_DIGEST_NONCE];
        ngx_str_set(&parts[2], "00000001");
        parts[3] = v[NGX_XMPP_DIGEST_CNONCE];
        ngx_str_set(&parts[4], "auth");
        parts[5].data = a2;
        parts[5].len = sizeof(a2);

        rc = ngx_xmpp_digest_hash(parts, 6, 0, hash);
    }

    if (rc == NGX_OK) {
        ngx_xmpp_digest_hex(hex, hash);
    }

    OPENSSL_cleanse(a1, sizeof(a1));

    return rc;
}


/*
 * MD5 of n parts with colons between; latin1 has a bit for each part that is
 * hashed as ISO 8859-1 if it can be.  NGX_OK or NGX_ERROR.
 */
static ngx_int_t
ngx_xmpp_digest_hash(ngx_str_t *parts, ngx_uint_t n, ngx_uint_t latin1,
    u_char *out)
{
    ngx_int_t    rc;
    ngx_uint_t   i;
    EVP_MD_CTX  *ctx;

    ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    rc = (EVP_DigestInit_ex(ctx, EVP_md5(), NULL) == 1) ? NGX_OK : NGX_ERROR;

    for (i = 0; i < n && rc == NGX_OK; i++) {

        if (i && EVP_DigestUpdate(ctx, ":", 1) != 1) {
            rc = NGX_ERROR;
            break;
        }

        rc = ngx_xmpp_digest_part(ctx, &parts[i], latin1 & (1 << i));
    }

    if (rc == NGX_OK && EVP_DigestFinal_ex(ctx, out, NULL) != 1) {
        rc = NGX_ERROR;
    }

    EVP_MD_CTX_free(ctx);

    if (rc != NGX_OK) {
        /* what is left there, nginx would take for the connection's */
        ERR_clear_error();
    }

    return rc;
}


static ngx_int_t
ngx_xmpp_digest_part(EVP_MD_CTX *ctx, ngx_str_t *part, ngx_uint_t latin1)
{
    u_char  c, *p, *last;

    if (!latin1 || !ngx_xmpp_digest_is_latin1(part)) {
        return (EVP_DigestUpdate(ctx, part->data, part->len) == 1)
               ? NGX_OK : NGX_ERROR;
    }

    last = part->data + part->len;

    for (p = part->data; p < last; p++) {

        c = *p;

        if (c > 0x7f) {
            c = (u_char) ((c << 6) | (*++p & 0x3f));
        }

        if (EVP_DigestUpdate(ctx, &c, 1) != 1) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* is every character of UTF-8 below U+0100, that is after C2 or C3 */

static ngx_uint_t
ngx_xmpp_digest_is_latin1(ngx_str_t *s)
{
    size_t  i;

    for (i = 0; i < s->len; i++) {

        if (s->data[i] <= 0x7f) {
            continue;
        }

        if ((s->data[i] != 0xc2 && s->data[i] != 0xc3) || ++i == s->len) {
            return 0;
        }
    }

    return 1;
}
