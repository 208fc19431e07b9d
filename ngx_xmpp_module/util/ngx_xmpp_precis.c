
/*
 * String preparation on ICU (RFC 8264, RFC 8265, RFC 4013, RFC 7622, 3.2).
 *
 * Pure ASCII, which is nearly all there is, never reaches ICU.  The rest is
 * turned into UTF-16 in one work area with two halves, and every step reads
 * one half and writes the other:
 *
 *   UTF-8 -> [ width -> class -> lower case -> NFC -> bidi ] -> UTF-8
 *               the profile's rules, repeated until nothing changes
 *
 * ngx_xmpp_precis_class.c has the classes and the bidi rule.  Nothing depends
 * on the process's locale.
 *
 * ICU's objects are immutable once opened and expensive to open, so the
 * process opens each on first use and keeps it to its end: ngx_xmpp_icu below
 * is the one place in util/ with mutable process state.  It is filled by the
 * thread of the event loop; pool threads must stay out of this file.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/crypto.h>
#include <unicode/uchar.h>
#include <unicode/uidna.h>
#include <unicode/unorm2.h>
#include <unicode/usprep.h>
#include <unicode/ustring.h>
#include "ngx_xmpp_precis.h"
#include "ngx_xmpp_precis_class.h"


/* longer input is refused, whatever it would shrink to */
#define NGX_XMPP_PRECIS_MAX     65535

/* the first application and three more, RFC 8264, 7 */
#define NGX_XMPP_PRECIS_PASSES  4

/*
 * UTF-16 units to an octet at most: NFC makes three of a unit, and an A-label
 * unpacks; NFKC makes 18 of U+FDFA
 */
#define NGX_XMPP_PRECIS_NFC     3
#define NGX_XMPP_PRECIS_NFKC    6

#define NGX_XMPP_PRECIS_IDNA                                                  \
    (UIDNA_USE_STD3_RULES|UIDNA_CHECK_BIDI|UIDNA_CHECK_CONTEXTJ               \
     |UIDNA_CHECK_CONTEXTO|UIDNA_NONTRANSITIONAL_TO_ASCII                     \
     |UIDNA_NONTRANSITIONAL_TO_UNICODE)


typedef struct {
    const UNormalizer2   *nfc;
    const UNormalizer2   *nfkc;
    UIDNA                *idna;
    UStringPrepProfile   *saslprep;
} ngx_xmpp_icu_t;


/* the work area: text is in one of the halves, other is the other */
typedef struct {
    UChar                *text;
    UChar                *other;
    int32_t               len;           /* of text, in UTF-16 units */
    int32_t               cap;           /* of each half */
    void                 *alloc;
} ngx_xmpp_precis_t;


/* one application of a profile's rules */
typedef ngx_int_t (*ngx_xmpp_precis_rules_pt)(ngx_xmpp_precis_t *w);


static ngx_int_t ngx_xmpp_precis_enforce(ngx_pool_t *pool, ngx_str_t *in,
    ngx_str_t *out, ngx_xmpp_precis_rules_pt rules);
static ngx_int_t ngx_xmpp_precis_username_rules(ngx_xmpp_precis_t *w);
static ngx_int_t ngx_xmpp_precis_opaque_rules(ngx_xmpp_precis_t *w);
static ngx_int_t ngx_xmpp_precis_domain_rules(ngx_xmpp_precis_t *w);

static ngx_int_t ngx_xmpp_precis_open(ngx_pool_t *pool, ngx_str_t *in,
    ngx_int_t units, ngx_xmpp_precis_t *w);
static ngx_int_t ngx_xmpp_precis_output(ngx_pool_t *pool,
    ngx_xmpp_precis_t *w, ngx_str_t *out);
static void ngx_xmpp_precis_close(ngx_pool_t *pool, ngx_xmpp_precis_t *w);
static ngx_int_t ngx_xmpp_precis_swap(ngx_xmpp_precis_t *w, int32_t len,
    UErrorCode err);
static ngx_int_t ngx_xmpp_precis_normalize(ngx_xmpp_precis_t *w);
static void ngx_xmpp_precis_map_width(ngx_xmpp_precis_t *w);

static ngx_int_t ngx_xmpp_icu_open(void);
static ngx_int_t ngx_xmpp_icu_rc(UErrorCode err);


static ngx_xmpp_icu_t  ngx_xmpp_icu;


/*
 * UsernameCaseMapped (RFC 8265, 3.3).  *out is *in when nothing changes, else
 * from pool.  NGX_OK; NGX_DECLINED: refused, also when empty; NGX_ERROR: no
 * memory.
 */
ngx_int_t
ngx_xmpp_precis_username(ngx_pool_t *pool, ngx_str_t *in, ngx_str_t *out)
{
    u_char      ch, *p;
    size_t      i, len;
    ngx_uint_t  upper;

    upper = 0;

    for (i = 0; i < in->len; i++) {
        ch = in->data[i];

        if (ch >= 0x80) {
            return ngx_xmpp_precis_enforce(pool, in, out,
                                           ngx_xmpp_precis_username_rules);
        }

        /* ASCII7, RFC 8264, 9.11 */

        if (ch < 0x21 || ch == 0x7f) {
            return NGX_DECLINED;
        }

        if (ch >= 'A' && ch <= 'Z') {
            upper = 1;
        }
    }

    if (in->len == 0) {
        return NGX_DECLINED;
    }

    if (!upper) {
        *out = *in;
        return NGX_OK;
    }

    len = in->len;

    p = ngx_pnalloc(pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_strlow(p, in->data, len);

    out->data = p;
    out->len = len;

    return NGX_OK;
}


/*
 * OpaqueString (RFC 8265, 4.2).  *out is *in when nothing changes, else from
 * pool.  NGX_OK; NGX_DECLINED: refused, also when empty; NGX_ERROR: no
 * memory.
 */
ngx_int_t
ngx_xmpp_precis_opaque(ngx_pool_t *pool, ngx_str_t *in, ngx_str_t *out)
{
    u_char  ch;
    size_t  i;

    for (i = 0; i < in->len; i++) {
        ch = in->data[i];

        if (ch >= 0x80) {
            return ngx_xmpp_precis_enforce(pool, in, out,
                                           ngx_xmpp_precis_opaque_rules);
        }

        if (ch < 0x20 || ch == 0x7f) {
            return NGX_DECLINED;
        }
    }

    if (in->len == 0) {
        return NGX_DECLINED;
    }

    *out = *in;

    return NGX_OK;
}


/*
 * SASLprep for stored strings: unassigned code points (of Unicode 3.2) are
 * refused (RFC 4013, 2.5; RFC 5802, 2.2).  *out is *in when nothing changes,
 * else from pool; it may come out empty.  NGX_OK; NGX_DECLINED: refused;
 * NGX_ERROR: no memory.  What it has copied of a password, save *out, is
 * wiped.
 */
ngx_int_t
ngx_xmpp_saslprep(ngx_pool_t *pool, ngx_str_t *in, ngx_str_t *out)
{
    size_t             i;
    int32_t            n;
    ngx_int_t          rc;
    UErrorCode         err;
    ngx_xmpp_precis_t  w;

    for (i = 0; i < in->len && in->data[i] < 0x80; i++) {

        if (in->data[i] < 0x20 || in->data[i] == 0x7f) {
            return NGX_DECLINED;
        }
    }

    if (i == in->len) {
        *out = *in;
        return NGX_OK;
    }

    rc = ngx_xmpp_precis_open(pool, in, NGX_XMPP_PRECIS_NFKC, &w);
    if (rc != NGX_OK) {
        return rc;
    }

    err = U_ZERO_ERROR;

    n = usprep_prepare(ngx_xmpp_icu.saslprep, w.text, w.len, w.other, w.cap,
                       USPREP_DEFAULT, NULL, &err);

    rc = ngx_xmpp_precis_swap(&w, n, err);

    if (rc == NGX_OK) {
        rc = ngx_xmpp_precis_output(pool, &w, out);
    }

    ngx_xmpp_precis_close(pool, &w);

    return rc;
}


/*
 * A domainpart as U-labels.  *out is from pool.  NGX_OK; NGX_DECLINED: not a
 * domain name of IDNA2008; NGX_ERROR: no memory.
 */
ngx_int_t
ngx_xmpp_precis_domain(ngx_pool_t *pool, ngx_str_t *in, ngx_str_t *out)
{
    ngx_int_t          rc;
    ngx_xmpp_precis_t  w;

    rc = ngx_xmpp_precis_open(pool, in, NGX_XMPP_PRECIS_NFC, &w);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_xmpp_precis_domain_rules(&w);

    if (rc == NGX_OK) {
        rc = ngx_xmpp_precis_output(pool, &w, out);
    }

    ngx_xmpp_precis_close(pool, &w);

    return rc;
}


/*
 * Well-formed UTF-8 by RFC 3629, 4: no overlong form, no surrogate, nothing
 * above U+10FFFF.  Reads exactly len octets of p.
 */
ngx_uint_t
ngx_xmpp_utf8_valid(u_char *p, size_t len)
{
    u_char      ch, *last;
    ngx_uint_t  n, low, high;

    last = p + len;

    while (p < last) {
        ch = *p++;

        if (ch < 0x80) {
            continue;
        }

        /* the second octet's range closes out what is not a character */

        low = 0x80;
        high = 0xbf;

        if (ch >= 0xc2 && ch <= 0xdf) {
            n = 1;

        } else if (ch >= 0xe0 && ch <= 0xef) {
            n = 2;
            low = (ch == 0xe0) ? 0xa0 : 0x80;
            high = (ch == 0xed) ? 0x9f : 0xbf;

        } else if (ch >= 0xf0 && ch <= 0xf4) {
            n = 3;
            low = (ch == 0xf0) ? 0x90 : 0x80;
            high = (ch == 0xf4) ? 0x8f : 0xbf;

        } else {
            return 0;
        }

        if ((size_t) (last - p) < n || *p < low || *p > high) {
            return 0;
        }

        for (p++, n--; n; p++, n--) {
            if ((*p & 0xc0) != 0x80) {
                return 0;
            }
        }
    }

    return 1;
}


/* applies the rules until the text is stable, RFC 8264, 7 */

static ngx_int_t
ngx_xmpp_precis_enforce(ngx_pool_t *pool, ngx_str_t *in, ngx_str_t *out,
    ngx_xmpp_precis_rules_pt rules)
{
    ngx_int_t          rc;
    ngx_str_t          prev, next;
    ngx_uint_t         i;
    ngx_xmpp_precis_t  w;

    rc = ngx_xmpp_precis_open(pool, in, NGX_XMPP_PRECIS_NFC, &w);
    if (rc != NGX_OK) {
        return rc;
    }

    prev = *in;

    for (i = 0; i < NGX_XMPP_PRECIS_PASSES; i++) {

        rc = rules(&w);
        if (rc != NGX_OK) {
            goto done;
        }

        rc = ngx_xmpp_precis_output(pool, &w, &next);
        if (rc != NGX_OK) {
            goto done;
        }

        if (next.len == prev.len
            && ngx_memcmp(next.data, prev.data, prev.len) == 0)
        {
            *out = prev;
            goto done;
        }

        prev = next;
    }

    rc = NGX_DECLINED;

done:

    ngx_xmpp_precis_close(pool, &w);

    return rc;
}


/* UsernameCaseMapped, RFC 8265, 3.3.2 and 3.3.3, steps in this order */

static ngx_int_t
ngx_xmpp_precis_username_rules(ngx_xmpp_precis_t *w)
{
    int32_t     n;
    ngx_int_t   rc;
    UErrorCode  err;

    ngx_xmpp_precis_map_width(w);

    rc = ngx_xmpp_precis_check_class(w->text, w->len, ngx_xmpp_precis_valid);
    if (rc != NGX_OK) {
        return rc;
    }

    err = U_ZERO_ERROR;

    /* the root locale: 'I' never becomes a dotless i */

    n = u_strToLower(w->other, w->cap, w->text, w->len, "", &err);

    rc = ngx_xmpp_precis_swap(w, n, err);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_xmpp_precis_normalize(w);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_xmpp_precis_check_bidi(w->text, w->len);
}


/* OpaqueString, RFC 8265, 4.2.1 and 4.2.2 */

static ngx_int_t
ngx_xmpp_precis_opaque_rules(ngx_xmpp_precis_t *w)
{
    int32_t    i;
    ngx_int_t  rc;

    rc = ngx_xmpp_precis_check_class(w->text, w->len, ngx_xmpp_precis_free);
    if (rc != NGX_OK) {
        return rc;
    }

    /* other spaces become SPACE; all of them are in the BMP */

    for (i = 0; i < w->len; i++) {

        if (w->text[i] > 0x7f && !U16_IS_SURROGATE(w->text[i])
            && u_charType(w->text[i]) == U_SPACE_SEPARATOR)
        {
            w->text[i] = 0x20;
        }
    }

    return ngx_xmpp_precis_normalize(w);
}


/* U-labels of IDNA2008 in lower case, RFC 7622, 3.2 */

static ngx_int_t
ngx_xmpp_precis_domain_rules(ngx_xmpp_precis_t *w)
{
    int32_t     n;
    ngx_int_t   rc;
    UErrorCode  err;
    UIDNAInfo   info = UIDNA_INFO_INITIALIZER;

    err = U_ZERO_ERROR;

    n = uidna_nameToUnicode(ngx_xmpp_icu.idna, w->text, w->len, w->other,
                            w->cap, &info, &err);

    rc = ngx_xmpp_precis_swap(w, n, err);
    if (rc != NGX_OK) {
        return rc;
    }

    if (info.errors) {
        return NGX_DECLINED;
    }

    /* only ToASCII looks at a label's length in the DNS; a name may be long */

    (void) uidna_nameToASCII(ngx_xmpp_icu.idna, w->text, w->len, w->other,
                             w->cap, &info, &err);

    rc = ngx_xmpp_icu_rc(err);
    if (rc != NGX_OK) {
        return rc;
    }

    if (info.errors & ~UIDNA_ERROR_DOMAIN_NAME_TOO_LONG) {
        return NGX_DECLINED;
    }

    return ngx_xmpp_precis_check_labels(w->text, w->len);
}


/*
 * Opens ICU, checks in's UTF-8 and sets the work area up, for a text of so
 * many UTF-16 units to an octet of in.  On NGX_OK the caller has to call
 * ngx_xmpp_precis_close().
 */
static ngx_int_t
ngx_xmpp_precis_open(ngx_pool_t *pool, ngx_str_t *in, ngx_int_t units,
    ngx_xmpp_precis_t *w)
{
    ngx_int_t   rc;
    UErrorCode  err;

    if (in->len > NGX_XMPP_PRECIS_MAX
        || !ngx_xmpp_utf8_valid(in->data, in->len))
    {
        return NGX_DECLINED;
    }

    rc = ngx_xmpp_icu_open();
    if (rc != NGX_OK) {
        return rc;
    }

    w->cap = (int32_t) (units * in->len) + 16;

    w->alloc = ngx_palloc(pool, 2 * w->cap * sizeof(UChar));
    if (w->alloc == NULL) {
        return NGX_ERROR;
    }

    w->text = w->alloc;
    w->other = w->text + w->cap;
    w->len = 0;

    err = U_ZERO_ERROR;

    u_strFromUTF8(w->text, w->cap, &w->len, (char *) in->data,
                  (int32_t) in->len, &err);

    rc = ngx_xmpp_icu_rc(err);

    if (rc != NGX_OK) {
        ngx_xmpp_precis_close(pool, w);
    }

    return rc;
}


/* writes the text as UTF-8 to *out, from pool */

static ngx_int_t
ngx_xmpp_precis_output(ngx_pool_t *pool, ngx_xmpp_precis_t *w, ngx_str_t *out)
{
    u_char      *p;
    int32_t      n;
    UErrorCode   err;

    n = 0;
    err = U_ZERO_ERROR;

    u_strToUTF8(NULL, 0, &n, w->text, w->len, &err);

    if (err != U_BUFFER_OVERFLOW_ERROR && U_FAILURE(err)) {
        return ngx_xmpp_icu_rc(err);
    }

    p = ngx_pnalloc(pool, n + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    err = U_ZERO_ERROR;

    u_strToUTF8((char *) p, n + 1, &n, w->text, w->len, &err);

    if (U_FAILURE(err)) {
        return ngx_xmpp_icu_rc(err);
    }

    out->data = p;
    out->len = n;

    return NGX_OK;
}


/* gives the work area back, wiped: it may hold a password */

static void
ngx_xmpp_precis_close(ngx_pool_t *pool, ngx_xmpp_precis_t *w)
{
    OPENSSL_cleanse(w->alloc, 2 * w->cap * sizeof(UChar));

    (void) ngx_pfree(pool, w->alloc);
}


/* ends a step that wrote len units to the other half with status err */

static ngx_int_t
ngx_xmpp_precis_swap(ngx_xmpp_precis_t *w, int32_t len, UErrorCode err)
{
    UChar  *p;

    if (U_FAILURE(err)) {
        return ngx_xmpp_icu_rc(err);
    }

    p = w->text;
    w->text = w->other;
    w->other = p;
    w->len = len;

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_precis_normalize(ngx_xmpp_precis_t *w)
{
    int32_t     n;
    UErrorCode  err;

    err = U_ZERO_ERROR;

    n = unorm2_normalize(ngx_xmpp_icu.nfc, w->text, w->len, w->other, w->cap,
                         &err);

    return ngx_xmpp_precis_swap(w, n, err);
}


/*
 * Fullwidth and halfwidth code points to their decomposition mappings
 * (RFC 8265, 3.3.1).  All are one unit of the BMP and map to one.
 */
static void
ngx_xmpp_precis_map_width(ngx_xmpp_precis_t *w)
{
    UChar       to[4];
    int32_t     i, type;
    UErrorCode  err;

    for (i = 0; i < w->len; i++) {

        if (w->text[i] < 0x3000 || U16_IS_SURROGATE(w->text[i])) {
            continue;
        }

        type = u_getIntPropertyValue(w->text[i], UCHAR_DECOMPOSITION_TYPE);

        if (type != U_DT_WIDE && type != U_DT_NARROW) {
            continue;
        }

        err = U_ZERO_ERROR;

        if (unorm2_getRawDecomposition(ngx_xmpp_icu.nfkc, w->text[i], to, 4,
                                       &err)
            == 1)
        {
            w->text[i] = to[0];
        }
    }
}


/* opens what is not open yet; NGX_OK, NGX_ERROR: ICU or its data is broken */

static ngx_int_t
ngx_xmpp_icu_open(void)
{
    UErrorCode       err;
    ngx_xmpp_icu_t  *icu;

    icu = &ngx_xmpp_icu;

    if (icu->saslprep) {
        return NGX_OK;
    }

    err = U_ZERO_ERROR;

    icu->nfc = unorm2_getNFCInstance(&err);
    icu->nfkc = unorm2_getNFKCInstance(&err);

    if (icu->idna == NULL) {
        icu->idna = uidna_openUTS46(NGX_XMPP_PRECIS_IDNA, &err);
    }

    if (U_FAILURE(err)) {
        return NGX_ERROR;
    }

    icu->saslprep = usprep_openByType(USPREP_RFC4013_SASLPREP, &err);

    if (U_FAILURE(err)) {
        icu->saslprep = NULL;
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* what a failure of ICU means: the string's fault, unless memory ran out */

static ngx_int_t
ngx_xmpp_icu_rc(UErrorCode err)
{
    if (U_SUCCESS(err)) {
        return NGX_OK;
    }

    return (err == U_MEMORY_ALLOCATION_ERROR) ? NGX_ERROR : NGX_DECLINED;
}
