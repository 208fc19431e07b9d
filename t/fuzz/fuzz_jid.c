/*
 * Fuzzing of JIDs and of what is made from them: preparation, tags of Redis
 * keys, names in logs.  What has to hold for all inputs:
 *
 *  1. A JID is the sum of its parts, each of them 1 to 1023 octets of UTF-8
 *     (RFC 7622, 3.1), and preparing it once more changes nothing: names are
 *     equal on all paths or on none.
 *  2. The tag of a name has no brace (cluster.md, rule 18), and the name can
 *     be had back.
 *  3. A stranger's name in the log is printable ASCII without a quote.
 */


#include "fuzz.h"
#include <ngx_xmpp_jid.h>
#include <ngx_xmpp_precis.h>
#include <ngx_xmpp_util.h>


#define FUZZ_LOG_MAX   64

/* U+FDFA: 33 octets of 3 */
#define FUZZ_NFKC_MAX  11


typedef ngx_int_t (*fuzz_prepare_pt)(ngx_pool_t *pool, ngx_str_t *in,
    ngx_str_t *out);


static void fuzz_jid(ngx_pool_t *pool, ngx_str_t *text);
static void fuzz_prepare(ngx_pool_t *pool, ngx_str_t *text,
    fuzz_prepare_pt prepare, size_t max);
static void fuzz_tag(ngx_pool_t *pool, ngx_str_t *text);
static void fuzz_log(ngx_pool_t *pool, ngx_str_t *text);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_str_t    text;
    ngx_pool_t  *pool;

    pool = ngx_create_pool(4096, NULL);
    fuzz_check(pool != NULL);

    text = fuzz_copy(pool, data, size);

    fuzz_jid(pool, &text);
    fuzz_prepare(pool, &text, ngx_xmpp_jid_prep_local, NGX_XMPP_JID_PART_MAX);
    fuzz_prepare(pool, &text, ngx_xmpp_jid_prep_domain, NGX_XMPP_JID_PART_MAX);
    fuzz_prepare(pool, &text, ngx_xmpp_jid_prep_resource,
                 NGX_XMPP_JID_PART_MAX);
    fuzz_prepare(pool, &text, ngx_xmpp_saslprep, FUZZ_NFKC_MAX * size);
    fuzz_tag(pool, &text);
    fuzz_log(pool, &text);

    ngx_destroy_pool(pool);

    return 0;
}


static void
fuzz_jid(ngx_pool_t *pool, ngx_str_t *text)
{
    size_t          len;
    ngx_str_t       full;
    ngx_xmpp_jid_t  jid, again;

    if (ngx_xmpp_jid_parse(pool, text, &jid) != NGX_OK) {
        return;
    }

    fuzz_check(jid.local.len <= NGX_XMPP_JID_PART_MAX
               && jid.domain.len >= 1
               && jid.domain.len <= NGX_XMPP_JID_PART_MAX
               && jid.resource.len <= NGX_XMPP_JID_PART_MAX);

    len = jid.domain.len + (jid.local.len ? jid.local.len + 1 : 0);

    fuzz_check(jid.bare.len == len && jid.bare.data == jid.full.data);

    if (jid.resource.len) {
        len += 1 + jid.resource.len;
    }

    fuzz_check(jid.full.len == len
               && ngx_xmpp_utf8_valid(jid.full.data, len));

    full = fuzz_copy(pool, jid.full.data, jid.full.len);

    fuzz_check(ngx_xmpp_jid_parse(pool, &full, &again) == NGX_OK
               && fuzz_equal(&again.full, &full)
               && fuzz_equal(&again.local, &jid.local)
               && fuzz_equal(&again.domain, &jid.domain)
               && fuzz_equal(&again.resource, &jid.resource));
}


static void
fuzz_prepare(ngx_pool_t *pool, ngx_str_t *text, fuzz_prepare_pt prepare,
    size_t max)
{
    ngx_str_t  once, copy, twice;

    if (prepare(pool, text, &once) != NGX_OK) {
        return;
    }

    fuzz_check(once.len <= max
               && ngx_xmpp_utf8_valid(once.data, once.len));

    copy = fuzz_copy(pool, once.data, once.len);

    fuzz_check(prepare(pool, &copy, &twice) == NGX_OK
               && fuzz_equal(&once, &twice));
}


static void
fuzz_tag(ngx_pool_t *pool, ngx_str_t *text)
{
    size_t     i;
    ngx_str_t  tag, back;

    fuzz_check(ngx_xmpp_key_escape(pool, text, &tag) == NGX_OK);

    for (i = 0; i < tag.len; i++) {
        fuzz_check(tag.data[i] != '{' && tag.data[i] != '}');
    }

    fuzz_check(ngx_xmpp_key_unescape(pool, &tag, &back) == NGX_OK
               && fuzz_equal(&back, text));

    /* what is no tag is refused, or was one */

    if (ngx_xmpp_key_unescape(pool, text, &back) == NGX_OK) {
        fuzz_check(ngx_xmpp_key_escape(pool, &back, &tag) == NGX_OK
                   && fuzz_equal(&tag, text));
    }
}


static void
fuzz_log(ngx_pool_t *pool, ngx_str_t *text)
{
    u_char  *p, *line, *last;

    line = ngx_pnalloc(pool, 4 * FUZZ_LOG_MAX + sizeof("...") - 1);
    fuzz_check(line != NULL);

    last = ngx_xmpp_log_escape(line, FUZZ_LOG_MAX, text, 1);

    for (p = line; p < last; p++) {
        fuzz_check(*p >= ' ' && *p <= '~' && *p != '"');
    }
}
