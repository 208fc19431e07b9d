
/*
 * PRECIS string classes (RFC 8264) and the Bidi Rule (RFC 5893).
 *
 * The property of a code point comes from no table of ours but from the
 * algorithm of RFC 8264, section 8 over ICU's data, so it follows the Unicode
 * version of the ICU that is installed.
 *
 *   IdentifierClass   valid, and CONTEXTJ, CONTEXTO where their rule holds
 *   FreeformClass     these and "free" (FREE_PVAL, that is ID_DIS)
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/uscript.h>
#include <unicode/utf16.h>
#include "ngx_xmpp_precis_class.h"


#define NGX_XMPP_VIRAMA  9               /* canonical combining class */


static ngx_xmpp_precis_property_e ngx_xmpp_precis_property(
    const UNormalizer2 *nfkc, UChar32 ch);
static ngx_uint_t ngx_xmpp_precis_has_compat(const UNormalizer2 *nfkc,
    UChar32 ch);
static ngx_xmpp_precis_property_e ngx_xmpp_precis_category(uint32_t mask);
static ngx_xmpp_precis_property_e ngx_xmpp_precis_exception(UChar32 ch);
static ngx_uint_t ngx_xmpp_precis_contextj_ok(UChar *p, int32_t pos,
    int32_t len);
static ngx_uint_t ngx_xmpp_precis_contexto_ok(UChar *p, int32_t pos,
    int32_t len);
static ngx_uint_t ngx_xmpp_precis_joined(UChar *p, int32_t pos, int32_t len);
static UChar32 ngx_xmpp_precis_before(UChar *p, int32_t pos);
static UChar32 ngx_xmpp_precis_after(UChar *p, int32_t pos, int32_t len);


/*
 * Are all code points of property least or above, or right in their context
 * (RFC 8264, 9.6, 9.8).  NGX_OK; NGX_DECLINED: no, or the text is empty.
 */
ngx_int_t
ngx_xmpp_precis_check_class(UChar *p, int32_t len,
    ngx_xmpp_precis_property_e least)
{
    int32_t                     pos, next;
    UChar32                     ch;
    UErrorCode                  err;
    ngx_uint_t                  ok;
    const UNormalizer2         *nfkc;
    ngx_xmpp_precis_property_e  property;

    err = U_ZERO_ERROR;
    nfkc = unorm2_getNFKCInstance(&err);

    if (len == 0 || U_FAILURE(err)) {
        return NGX_DECLINED;
    }

    for (pos = 0; pos < len; pos = next) {
        next = pos;
        U16_NEXT(p, next, len, ch);

        property = ngx_xmpp_precis_property(nfkc, ch);

        switch (property) {

        case ngx_xmpp_precis_contextj:
            ok = ngx_xmpp_precis_contextj_ok(p, pos, len);
            break;

        case ngx_xmpp_precis_contexto:
            ok = ngx_xmpp_precis_contexto_ok(p, pos, len);
            break;

        default:
            ok = (property >= least);
        }

        if (!ok) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


/*
 * Below the case mapping, what IDNA2008 allows (RFC 5892, 3) is what
 * IdentifierClass allows.  NGX_OK or NGX_DECLINED.
 */
ngx_int_t
ngx_xmpp_precis_check_labels(UChar *p, int32_t len)
{
    int32_t              i;
    UChar32              ch;
    UErrorCode           err;
    const UNormalizer2  *nfkc;

    err = U_ZERO_ERROR;
    nfkc = unorm2_getNFKCInstance(&err);

    if (len == 0 || U_FAILURE(err)) {
        return NGX_DECLINED;
    }

    for (i = 0; i < len; /* void */) {
        U16_NEXT(p, i, len, ch);

        switch (ngx_xmpp_precis_property(nfkc, ch)) {

        case ngx_xmpp_precis_valid:
        case ngx_xmpp_precis_contextj:
        case ngx_xmpp_precis_contexto:
            break;

        default:
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


/* the derived property of ch, RFC 8264, 8: the order of the tests matters */

static ngx_xmpp_precis_property_e
ngx_xmpp_precis_property(const UNormalizer2 *nfkc, UChar32 ch)
{
    int32_t                     type, jamo;
    ngx_xmpp_precis_property_e  exception;

    exception = ngx_xmpp_precis_exception(ch);

    if (exception != ngx_xmpp_precis_unassigned) {
        return exception;
    }

    type = u_charType(ch);

    if (type == U_UNASSIGNED
        && !u_hasBinaryProperty(ch, UCHAR_NONCHARACTER_CODE_POINT))
    {
        return ngx_xmpp_precis_unassigned;
    }

    if (ch >= 0x21 && ch <= 0x7e) {
        return ngx_xmpp_precis_valid;
    }

    if (u_hasBinaryProperty(ch, UCHAR_JOIN_CONTROL)) {
        return ngx_xmpp_precis_contextj;
    }

    jamo = u_getIntPropertyValue(ch, UCHAR_HANGUL_SYLLABLE_TYPE);

    if (jamo == U_HST_LEADING_JAMO || jamo == U_HST_VOWEL_JAMO
        || jamo == U_HST_TRAILING_JAMO
        || u_hasBinaryProperty(ch, UCHAR_DEFAULT_IGNORABLE_CODE_POINT)
        || u_hasBinaryProperty(ch, UCHAR_NONCHARACTER_CODE_POINT)
        || type == U_CONTROL_CHAR)
    {
        return ngx_xmpp_precis_disallowed;
    }

    if (ngx_xmpp_precis_has_compat(nfkc, ch)) {
        return ngx_xmpp_precis_free;
    }

    return ngx_xmpp_precis_category(U_MASK(type));
}


/* HasCompat, RFC 8264, 9.17: NFKC changes the code point */

static ngx_uint_t
ngx_xmpp_precis_has_compat(const UNormalizer2 *nfkc, UChar32 ch)
{
    UChar       s[2];
    int32_t     n;
    UErrorCode  err;

    n = 0;
    err = U_ZERO_ERROR;

    U16_APPEND_UNSAFE(s, n, ch);

    return !unorm2_isNormalized(nfkc, s, n, &err);
}


/* the property by general category alone, the last tests of section 8 */

static ngx_xmpp_precis_property_e
ngx_xmpp_precis_category(uint32_t mask)
{
    /* LetterDigits, 9.1 */

    if (mask & (U_GC_LL_MASK|U_GC_LU_MASK|U_GC_LO_MASK|U_GC_ND_MASK
                |U_GC_LM_MASK|U_GC_MN_MASK|U_GC_MC_MASK))
    {
        return ngx_xmpp_precis_valid;
    }

    /* OtherLetterDigits, Spaces, Symbols, Punctuation, 9.14 .. 9.18 */

    if (mask & (U_GC_LT_MASK|U_GC_NL_MASK|U_GC_NO_MASK|U_GC_ME_MASK
                |U_GC_ZS_MASK|U_GC_S_MASK|U_GC_P_MASK))
    {
        return ngx_xmpp_precis_free;
    }

    return ngx_xmpp_precis_disallowed;
}


/* Exceptions, RFC 8264, 9.6; unassigned when ch is none */

static ngx_xmpp_precis_property_e
ngx_xmpp_precis_exception(UChar32 ch)
{
    switch (ch) {

    case 0x00df:
    case 0x03c2:
    case 0x06fd:
    case 0x06fe:
    case 0x0f0b:
    case 0x3007:
        return ngx_xmpp_precis_valid;

    case 0x00b7:
    case 0x0375:
    case 0x05f3:
    case 0x05f4:
    case 0x30fb:
        return ngx_xmpp_precis_contexto;

    case 0x0640:
    case 0x07fa:
    case 0x302e:
    case 0x302f:
    case 0x3031:
    case 0x3032:
    case 0x3033:
    case 0x3034:
    case 0x3035:
    case 0x303b:
        return ngx_xmpp_precis_disallowed;
    }

    if ((ch >= 0x0660 && ch <= 0x0669) || (ch >= 0x06f0 && ch <= 0x06f9)) {
        return ngx_xmpp_precis_contexto;
    }

    return ngx_xmpp_precis_unassigned;
}


/* ZERO WIDTH (NON-)JOINER, RFC 5892, A.1 and A.2 */

static ngx_uint_t
ngx_xmpp_precis_contextj_ok(UChar *p, int32_t pos, int32_t len)
{
    UChar32  before;

    before = ngx_xmpp_precis_before(p, pos);

    if (before != U_SENTINEL && u_getCombiningClass(before) == NGX_XMPP_VIRAMA)
    {
        return 1;
    }

    return p[pos] == 0x200c && ngx_xmpp_precis_joined(p, pos, len);
}


/* (Joining_Type:{L,D})(T)* ZWNJ (T)*({R,D}), RFC 5892, A.1 */

static ngx_uint_t
ngx_xmpp_precis_joined(UChar *p, int32_t pos, int32_t len)
{
    int32_t  i, type;
    UChar32  ch;

    type = U_JT_NON_JOINING;

    for (i = pos; i > 0; /* void */) {
        U16_PREV(p, 0, i, ch);

        type = u_getIntPropertyValue(ch, UCHAR_JOINING_TYPE);

        if (type != U_JT_TRANSPARENT) {
            break;
        }
    }

    if (type != U_JT_LEFT_JOINING && type != U_JT_DUAL_JOINING) {
        return 0;
    }

    type = U_JT_NON_JOINING;

    for (i = pos + 1; i < len; /* void */) {
        U16_NEXT(p, i, len, ch);

        type = u_getIntPropertyValue(ch, UCHAR_JOINING_TYPE);

        if (type != U_JT_TRANSPARENT) {
            break;
        }
    }

    return type == U_JT_RIGHT_JOINING || type == U_JT_DUAL_JOINING;
}


/* RFC 5892, A.3 .. A.9; all CONTEXTO code points are one unit */

static ngx_uint_t
ngx_xmpp_precis_contexto_ok(UChar *p, int32_t pos, int32_t len)
{
    int32_t      i;
    UChar32      ch, from;
    UErrorCode   err;
    UScriptCode  script;

    err = U_ZERO_ERROR;

    switch (p[pos]) {

    case 0x00b7:                         /* MIDDLE DOT: between two l */
        return ngx_xmpp_precis_before(p, pos) == 'l'
               && ngx_xmpp_precis_after(p, pos, len) == 'l';

    case 0x0375:                         /* Greek KERAIA: before Greek */
        ch = ngx_xmpp_precis_after(p, pos, len);

        return ch != U_SENTINEL && uscript_getScript(ch, &err) == USCRIPT_GREEK;

    case 0x05f3:                         /* Hebrew GERESH, GERSHAYIM: after */
    case 0x05f4:
        ch = ngx_xmpp_precis_before(p, pos);

        return ch != U_SENTINEL
               && uscript_getScript(ch, &err) == USCRIPT_HEBREW;

    case 0x30fb:                         /* KATAKANA MIDDLE DOT */

        for (i = 0; i < len; /* void */) {
            U16_NEXT(p, i, len, ch);

            script = uscript_getScript(ch, &err);

            if (script == USCRIPT_HIRAGANA || script == USCRIPT_KATAKANA
                || script == USCRIPT_HAN)
            {
                return 1;
            }
        }

        return 0;
    }

    /* ARABIC-INDIC DIGITS: never both kinds */

    from = (p[pos] < 0x06f0) ? 0x06f0 : 0x0660;

    for (i = 0; i < len; i++) {
        if (p[i] >= from && p[i] <= from + 9) {
            return 0;
        }
    }

    return 1;
}


static UChar32
ngx_xmpp_precis_before(UChar *p, int32_t pos)
{
    UChar32  ch;

    if (pos == 0) {
        return U_SENTINEL;
    }

    U16_PREV(p, 0, pos, ch);

    return ch;
}


/* the code point after the one unit at pos */

static UChar32
ngx_xmpp_precis_after(UChar *p, int32_t pos, int32_t len)
{
    UChar32  ch;

    if (++pos >= len) {
        return U_SENTINEL;
    }

    U16_NEXT(p, pos, len, ch);

    return ch;
}


/*
 * The Bidi Rule (RFC 5893, 2), for strings with right-to-left code points
 * only (RFC 8265, 3.3.1).  Those cannot begin with L (condition 5), so just
 * the conditions for right-to-left labels remain.
 */
ngx_int_t
ngx_xmpp_precis_check_bidi(UChar *p, int32_t len)
{
    int32_t   i;
    UChar32   ch;
    uint32_t  all, first, last, mask;

    all = 0;
    first = 0;
    last = 0;

    for (i = 0; i < len; /* void */) {
        U16_NEXT(p, i, len, ch);

        mask = U_MASK(u_charDirection(ch));
        all |= mask;

        if (first == 0) {
            first = mask;
        }

        if (mask != U_MASK(U_DIR_NON_SPACING_MARK)) {
            last = mask;
        }
    }

    mask = U_MASK(U_RIGHT_TO_LEFT)|U_MASK(U_RIGHT_TO_LEFT_ARABIC);

    if (!(all & (mask|U_MASK(U_ARABIC_NUMBER)))) {
        return NGX_OK;
    }

    /* condition 1, 3, 4, 2 */

    if (!(first & mask)) {
        return NGX_DECLINED;
    }

    if (!(last & (mask|U_MASK(U_EUROPEAN_NUMBER)|U_MASK(U_ARABIC_NUMBER)))) {
        return NGX_DECLINED;
    }

    if ((all & U_MASK(U_EUROPEAN_NUMBER)) && (all & U_MASK(U_ARABIC_NUMBER))) {
        return NGX_DECLINED;
    }

    mask |= U_MASK(U_ARABIC_NUMBER)|U_MASK(U_EUROPEAN_NUMBER)
            |U_MASK(U_EUROPEAN_NUMBER_SEPARATOR)
            |U_MASK(U_COMMON_NUMBER_SEPARATOR)
            |U_MASK(U_EUROPEAN_NUMBER_TERMINATOR)
            |U_MASK(U_OTHER_NEUTRAL)|U_MASK(U_BOUNDARY_NEUTRAL)
            |U_MASK(U_DIR_NON_SPACING_MARK);

    return (all & ~mask) ? NGX_DECLINED : NGX_OK;
}
