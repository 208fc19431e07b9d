
/*
 * JIDs (RFC 7622).
 *
 *   text      "Juliet@Example.COM./Balcony"
 *   split     at the first '/', then at the first '@' (3.1, 3.2)
 *   prepare   each part by its own rules, 1..1023 octets each
 *   put       "juliet@example.com/Balcony" in one block, parts are slices
 *
 * Pure ASCII is checked by the table below and lower-cased on the way into
 * the block; everything else goes part by part through ngx_xmpp_precis.c.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <arpa/inet.h>
#include "ngx_xmpp_jid.h"
#include "ngx_xmpp_precis.h"


/* mapping may shrink a part, decoding three octets to one */
#define NGX_XMPP_JID_RAW_MAX     (3 * NGX_XMPP_JID_PART_MAX)

#define NGX_XMPP_JID_LABEL_MAX   63

/* what an ASCII octet is good for */
#define NGX_XMPP_JID_LOCAL       0x01
#define NGX_XMPP_JID_LDH         0x02
#define NGX_XMPP_JID_RESOURCE    0x04
#define NGX_XMPP_JID_UPPER       0x08


#define ngx_xmpp_jid_strip_dot(name)                                          \
    if ((name)->len && (name)->data[(name)->len - 1] == '.') {                \
        (name)->len--;                                                        \
    }


static void ngx_xmpp_jid_split(ngx_str_t *text, ngx_xmpp_jid_t *raw,
    ngx_uint_t *at, ngx_uint_t *slash);
static ngx_uint_t ngx_xmpp_jid_ascii(ngx_str_t *part, ngx_uint_t kind);
static ngx_uint_t ngx_xmpp_jid_ascii_domain(ngx_str_t *domain);
static ngx_int_t ngx_xmpp_jid_put(ngx_pool_t *pool, ngx_xmpp_jid_t *parts,
    ngx_uint_t lower, ngx_xmpp_jid_t *jid);
static ngx_int_t ngx_xmpp_jid_lower(ngx_pool_t *pool, ngx_str_t *in,
    ngx_str_t *out);
static ngx_int_t ngx_xmpp_jid_prep_ip(ngx_pool_t *pool, ngx_str_t *in,
    ngx_str_t *out);


/*
 * NGX_XMPP_JID_LOCAL: IdentifierClass without " & ' / : < > @ (3.3.1);
 * NGX_XMPP_JID_LDH: letters, digits, hyphen (3.2);
 * NGX_XMPP_JID_RESOURCE: FreeformClass (3.4).
 */
static const u_char  ngx_xmpp_jid_table[128] = {
     0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
     0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
     4,  5,  4,  5,  5,  5,  4,  4,  5,  5,  5,  5,  5,  7,  5,  4,
     7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  4,  5,  4,  5,  4,  5,
     4, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,
    15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,  5,  5,  5,  5,  5,
     5,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,
     7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  5,  5,  5,  5,  0
};


/*
 * Parses and prepares text into *jid, allocated from pool in one block; text
 * is not referred to afterwards.  NGX_OK; NGX_DECLINED: not a JID (3.1-3.5);
 * NGX_ERROR: no memory.
 */
ngx_int_t
ngx_xmpp_jid_parse(ngx_pool_t *pool, ngx_str_t *text, ngx_xmpp_jid_t *jid)
{
    ngx_int_t       rc;
    ngx_str_t       name;
    ngx_uint_t      at, slash;
    ngx_xmpp_jid_t  raw;

    ngx_xmpp_jid_split(text, &raw, &at, &slash);

    name = raw.domain;
    ngx_xmpp_jid_strip_dot(&name);

    if ((!at || ngx_xmpp_jid_ascii(&raw.local, NGX_XMPP_JID_LOCAL))
        && ngx_xmpp_jid_ascii_domain(&name)
        && (!slash || ngx_xmpp_jid_ascii(&raw.resource,
                                         NGX_XMPP_JID_RESOURCE)))
    {
        raw.domain = name;

        return ngx_xmpp_jid_put(pool, &raw, 1, jid);
    }

    if (at) {
        rc = ngx_xmpp_jid_prep_local(pool, &raw.local, &raw.local);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    rc = ngx_xmpp_jid_prep_domain(pool, &raw.domain, &raw.domain);
    if (rc != NGX_OK) {
        return rc;
    }

    if (slash) {
        rc = ngx_xmpp_jid_prep_resource(pool, &raw.resource, &raw.resource);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return ngx_xmpp_jid_put(pool, &raw, 0, jid);
}


/*
 * Puts prepared parts together into *jid, one block from pool; local and
 * resource may be NULL or empty.  NGX_OK or NGX_ERROR (no memory).
 */
ngx_int_t
ngx_xmpp_jid_make(ngx_pool_t *pool, ngx_str_t *local, ngx_str_t *domain,
    ngx_str_t *resource, ngx_xmpp_jid_t *jid)
{
    ngx_xmpp_jid_t  parts;

    ngx_str_null(&parts.local);
    ngx_str_null(&parts.resource);

    if (local) {
        parts.local = *local;
    }

    if (resource) {
        parts.resource = *resource;
    }

    parts.domain = *domain;

    return ngx_xmpp_jid_put(pool, &parts, 0, jid);
}


/* copies a prepared JID into another pool; NGX_OK or NGX_ERROR */

ngx_int_t
ngx_xmpp_jid_copy(ngx_pool_t *pool, ngx_xmpp_jid_t *src, ngx_xmpp_jid_t *dst)
{
    return ngx_xmpp_jid_put(pool, src, 0, dst);
}


/*
 * Prepares a localpart: UsernameCaseMapped without the octets that 3.3.1
 * excludes.  *out is *in or from pool; both may be the same object.  NGX_OK;
 * NGX_DECLINED: refused; NGX_ERROR: no memory.
 */
ngx_int_t
ngx_xmpp_jid_prep_local(ngx_pool_t *pool, ngx_str_t *in, ngx_str_t *out)
{
    u_char     ch;
    size_t     i;
    ngx_int_t  rc;

    if (ngx_xmpp_jid_ascii(in, NGX_XMPP_JID_LOCAL)) {
        return ngx_xmpp_jid_lower(pool, in, out);
    }

    if (in->len > NGX_XMPP_JID_RAW_MAX) {
        return NGX_DECLINED;
    }

    rc = ngx_xmpp_precis_username(pool, in, out);
    if (rc != NGX_OK) {
        return rc;
    }

    if (out->len > NGX_XMPP_JID_PART_MAX) {
        return NGX_DECLINED;
    }

    /* after mapping: a fullwidth at sign is one, too */

    for (i = 0; i < out->len; i++) {
        ch = out->data[i];

        if (ch < 0x80 && !(ngx_xmpp_jid_table[ch] & NGX_XMPP_JID_LOCAL)) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


/*
 * Prepares a domainpart (3.2): an IP literal or lower-case U-labels, a final
 * dot taken off first.  *out is *in or from pool; both may be the same
 * object.  NGX_OK; NGX_DECLINED: refused; NGX_ERROR: no memory.
 */
ngx_int_t
ngx_xmpp_jid_prep_domain(ngx_pool_t *pool, ngx_str_t *in, ngx_str_t *out)
{
    ngx_int_t  rc;
    ngx_str_t  name;

    name = *in;
    ngx_xmpp_jid_strip_dot(&name);

    if (ngx_xmpp_jid_ascii_domain(&name)) {
        return ngx_xmpp_jid_lower(pool, &name, out);
    }

    if (name.len == 0 || name.len > NGX_XMPP_JID_RAW_MAX) {
        return NGX_DECLINED;
    }

    if (name.data[0] == '[') {
        return ngx_xmpp_jid_prep_ip(pool, &name, out);
    }

    rc = ngx_xmpp_precis_domain(pool, &name, out);
    if (rc != NGX_OK) {
        return rc;
    }

    /* two final dots, or one that UTS 46 made of an ideographic full stop */

    if (out->data[out->len - 1] == '.' || out->len > NGX_XMPP_JID_PART_MAX) {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/*
 * Prepares a resourcepart (3.4): OpaqueString.  *out is *in or from pool;
 * both may be the same object.  NGX_OK; NGX_DECLINED: refused; NGX_ERROR: no
 * memory.
 */
ngx_int_t
ngx_xmpp_jid_prep_resource(ngx_pool_t *pool, ngx_str_t *in, ngx_str_t *out)
{
    ngx_int_t  rc;

    if (in->len > NGX_XMPP_JID_RAW_MAX) {
        return NGX_DECLINED;
    }

    rc = ngx_xmpp_precis_opaque(pool, in, out);

    if (rc == NGX_OK && out->len > NGX_XMPP_JID_PART_MAX) {
        return NGX_DECLINED;
    }

    return rc;
}


/*
 * Splits text into raw parts: the resource begins after the first '/', the
 * localpart ends at the first '@' before that (RFC 7622, 3.2).
 */
static void
ngx_xmpp_jid_split(ngx_str_t *text, ngx_xmpp_jid_t *raw, ngx_uint_t *at,
    ngx_uint_t *slash)
{
    u_char  *p, *bare_end, *end;

    ngx_memzero(raw, sizeof(ngx_xmpp_jid_t));

    *at = 0;
    *slash = 0;

    end = text->data + text->len;

    p = ngx_strlchr(text->data, end, '/');

    bare_end = p ? p : end;

    if (p) {
        *slash = 1;
        raw->resource.data = p + 1;
        raw->resource.len = end - p - 1;
    }

    raw->domain.data = text->data;

    p = ngx_strlchr(text->data, bare_end, '@');

    if (p) {
        *at = 1;
        raw->local.data = text->data;
        raw->local.len = p - text->data;
        raw->domain.data = p + 1;
    }

    raw->domain.len = bare_end - raw->domain.data;
}


/* is part 1..1023 ASCII octets of this kind */

static ngx_uint_t
ngx_xmpp_jid_ascii(ngx_str_t *part, ngx_uint_t kind)
{
    u_char  ch;
    size_t  i;

    if (part->len == 0 || part->len > NGX_XMPP_JID_PART_MAX) {
        return 0;
    }

    for (i = 0; i < part->len; i++) {
        ch = part->data[i];

        if (ch >= 0x80 || !(ngx_xmpp_jid_table[ch] & kind)) {
            return 0;
        }
    }

    return 1;
}


/*
 * Is domain made of NR-LDH labels (RFC 5890, 2.3.1), so that lower case is
 * all that it needs.  IPv4 addresses are, too.
 */
static ngx_uint_t
ngx_xmpp_jid_ascii_domain(ngx_str_t *domain)
{
    u_char  ch, *p, *label, *last;

    if (domain->len == 0 || domain->len > NGX_XMPP_JID_PART_MAX) {
        return 0;
    }

    label = domain->data;
    last = domain->data + domain->len;

    for (p = domain->data; p <= last; p++) {

        ch = (p < last) ? *p : '.';

        if (ch != '.') {

            if (ch >= 0x80 || !(ngx_xmpp_jid_table[ch] & NGX_XMPP_JID_LDH)) {
                return 0;
            }

            continue;
        }

        if (p == label || p - label > NGX_XMPP_JID_LABEL_MAX
            || label[0] == '-' || p[-1] == '-'
            || (p - label > 3 && label[2] == '-' && label[3] == '-'))
        {
            return 0;
        }

        label = p + 1;
    }

    return 1;
}


/* one block, "local@domain/resource"; lower: the bare part is lower-cased */

static ngx_int_t
ngx_xmpp_jid_put(ngx_pool_t *pool, ngx_xmpp_jid_t *parts, ngx_uint_t lower,
    ngx_xmpp_jid_t *jid)
{
    u_char          *p;
    size_t           len;
    ngx_xmpp_jid_t   new;

    len = parts->domain.len;

    if (parts->local.len) {
        len += parts->local.len + 1;
    }

    if (parts->resource.len) {
        len += 1 + parts->resource.len;
    }

    p = ngx_pnalloc(pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&new, sizeof(ngx_xmpp_jid_t));

    new.full.data = p;
    new.bare.data = p;

    if (parts->local.len) {
        new.local.data = p;
        new.local.len = parts->local.len;

        p = ngx_cpymem(p, parts->local.data, parts->local.len);
        *p++ = '@';
    }

    new.domain.data = p;
    new.domain.len = parts->domain.len;

    p = ngx_cpymem(p, parts->domain.data, parts->domain.len);

    new.bare.len = p - new.bare.data;

    if (lower) {
        ngx_strlow(new.bare.data, new.bare.data, new.bare.len);
    }

    if (parts->resource.len) {
        *p++ = '/';

        new.resource.data = p;
        new.resource.len = parts->resource.len;

        p = ngx_cpymem(p, parts->resource.data, parts->resource.len);
    }

    new.full.len = p - new.full.data;

    *jid = new;

    return NGX_OK;
}


/* an ASCII part in lower case, *in itself when it is already */

static ngx_int_t
ngx_xmpp_jid_lower(ngx_pool_t *pool, ngx_str_t *in, ngx_str_t *out)
{
    u_char  *p;
    size_t   i, len;

    len = in->len;

    for (i = 0; i < len; i++) {
        if (ngx_xmpp_jid_table[in->data[i]] & NGX_XMPP_JID_UPPER) {
            break;
        }
    }

    if (i == len) {
        *out = *in;
        return NGX_OK;
    }

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
 * "[IPv6 address]", written as RFC 5952 has it, so that equal addresses are
 * equal octets.  Future versions and zones are refused.
 */
static ngx_int_t
ngx_xmpp_jid_prep_ip(ngx_pool_t *pool, ngx_str_t *in, ngx_str_t *out)
{
    char             text[INET6_ADDRSTRLEN];
    u_char          *p;
    size_t           len;
    struct in6_addr  addr;

    if (in->len < 2 || in->data[in->len - 1] != ']'
        || in->len - 2 >= INET6_ADDRSTRLEN)
    {
        return NGX_DECLINED;
    }

    len = in->len - 2;

    ngx_memcpy(text, in->data + 1, len);
    text[len] = '\0';

    if (ngx_strlchr((u_char *) text, (u_char *) text + len, '\0')
        || inet_pton(AF_INET6, text, &addr) != 1)
    {
        return NGX_DECLINED;
    }

    if (inet_ntop(AF_INET6, &addr, text, INET6_ADDRSTRLEN) == NULL) {
        return NGX_DECLINED;
    }

    len = ngx_strlen(text);

    p = ngx_pnalloc(pool, len + 2);
    if (p == NULL) {
        return NGX_ERROR;
    }

    out->data = p;
    out->len = len + 2;

    *p++ = '[';
    p = ngx_cpymem(p, text, len);
    *p = ']';

    return NGX_OK;
}


void
ngx_xmpp_jid_slice(ngx_str_t *text, ngx_xmpp_jid_t *jid)
{
    u_char  *p, *last;

    ngx_memzero(jid, sizeof(ngx_xmpp_jid_t));

    jid->full = *text;
    jid->bare = *text;

    last = text->data + text->len;
    p = ngx_strlchr(text->data, last, '/');

    if (p) {
        jid->resource.data = p + 1;
        jid->resource.len = last - (p + 1);
        jid->bare.len = p - text->data;
    }

    jid->domain = jid->bare;
    last = jid->bare.data + jid->bare.len;
    p = ngx_strlchr(jid->bare.data, last, '@');

    if (p) {
        jid->local.data = jid->bare.data;
        jid->local.len = p - jid->bare.data;
        jid->domain.data = p + 1;
        jid->domain.len = last - (p + 1);
    }
}
