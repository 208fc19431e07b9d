/*
 * Keys, channels and arguments: the one file that builds what Redis is asked
 * for by name (docs/redis-schema.md).
 *
 *     PREFIX:{TAG}:account        the credentials
 *     PREFIX:{TAG}:sessions       the records
 *     PREFIX:{TAG}:presence       last presence of the available ones
 *     PREFIX:{TAG}:roster         the contacts
 *     PREFIX:{TAG}:requests       who asks for a subscription
 *     PREFIX:{TAG}:blocked        whose stanzas are not taken
 *     PREFIX:{TAG}:private        private storage
 *     PREFIX:{TAG}:vcard          the vCard
 *     PREFIX:{TAG}:removed        what contacts have to hear of its end
 *     PREFIX:{TAG}:inbox          messages that nobody has taken yet
 *     PREFIX:{TAG}:sm:SID         of a session that could be resumed
 *     PREFIX:{TAG}:archive        messages that were sent and received
 *     PREFIX:{TAG}:archived       with whom: an index of it
 *     PREFIX:{TAG}:archiving      whose messages are archived
 *     PREFIX:{TAG}:seen:PERIOD    identities of the last stanzas
 *     PREFIX/DB:{TAG}             the channel
 *     PREFIX:accounts:DOMAIN      who has an account there
 *     PREFIX:failures             of nobody: counters of failed logins
 *     PREFIX:registrations        the same: of new accounts
 *     PREFIX:{workers}:beats      who lives
 *     PREFIX:{workers}:claims     who cleans up after whom
 *     PREFIX:{BOOT}:listed        the sessions of one worker
 *     PREFIX/DB:probe:RANDOM      a channel of one worker
 *
 * TAG is the bare JID, percent-encoded for '{', '}' and '%' (cluster.md, rule
 * 18), so that all of an account's keys and its channel share a hash slot.
 * The channel carries the database's number, since pub/sub ignores it (rule
 * 13).
 */


#include "ngx_xmpp_store_private.h"


/* seconds in which an identity is remembered at least (cluster.md, rule 2) */
#define NGX_XMPP_STORE_PERIOD         600


static ngx_str_t  ngx_xmpp_store_suffixes[] = {
    ngx_string("account"),
    ngx_string("sessions"),
    ngx_string("presence"),
    ngx_string("roster"),
    ngx_string("requests"),
    ngx_string("blocked"),
    ngx_string("private"),
    ngx_string("vcard"),
    ngx_string("removed"),
    ngx_string("inbox"),
    ngx_string("archive"),
    ngx_string("archived"),
    ngx_string("archiving"),
    ngx_string("seen:"),
    ngx_string("seen:")
};


/* RFC 7622 allows '{', '}' and '%' in a localpart; a tag must not hold them */

ngx_int_t
ngx_xmpp_store_tag(ngx_pool_t *pool, ngx_str_t *bare, ngx_str_t *tag)
{
    return ngx_xmpp_key_escape(pool, bare, tag);
}


/* an upper bound of what ngx_xmpp_store_key() and _channel() write */

size_t
ngx_xmpp_store_key_len(ngx_xmpp_store_t *store, ngx_str_t *tag)
{
    return store->channels.len + tag->len + sizeof(":{}:sessions:")
           + NGX_INT64_LEN;
}


u_char *
ngx_xmpp_store_key(ngx_xmpp_store_t *store, u_char *p,
    ngx_xmpp_store_key_e key, ngx_str_t *tag)
{
    time_t  period;

    p = ngx_cpymem(p, store->prefix.data, store->prefix.len);
    *p++ = ':';
    *p++ = '{';
    p = ngx_cpymem(p, tag->data, tag->len);
    *p++ = '}';
    *p++ = ':';
    p = ngx_cpymem(p, ngx_xmpp_store_suffixes[key].data,
                   ngx_xmpp_store_suffixes[key].len);

    if (key == NGX_XMPP_KEY_SEEN || key == NGX_XMPP_KEY_SEEN_BEFORE) {
        period = ngx_time() / NGX_XMPP_STORE_PERIOD;

        if (key == NGX_XMPP_KEY_SEEN_BEFORE) {
            period--;
        }

        p = ngx_sprintf(p, "%T", period);
    }

    return p;
}


u_char *
ngx_xmpp_store_channel(ngx_xmpp_store_t *store, u_char *p, ngx_str_t *tag)
{
    p = ngx_cpymem(p, store->channels.data, store->channels.len);
    *p++ = ':';
    *p++ = '{';
    p = ngx_cpymem(p, tag->data, tag->len);
    *p++ = '}';

    return p;
}


/* what this worker alone listens to; NGX_ERROR: no memory, or no chance */

ngx_int_t
ngx_xmpp_store_probe(ngx_xmpp_store_t *store, ngx_pool_t *pool,
    ngx_str_t *channel)
{
    u_char  *p, random[16];

    if (ngx_xmpp_id_random(random, sizeof(random) / 2) != NGX_OK) {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(pool, store->channels.len + sizeof(":probe:")
                          + sizeof(random));
    if (p == NULL) {
        return NGX_ERROR;
    }

    channel->data = p;

    p = ngx_cpymem(p, store->channels.data, store->channels.len);
    p = ngx_cpymem(p, ":probe:", sizeof(":probe:") - 1);
    p = ngx_cpymem(p, random, sizeof(random));

    channel->len = p - channel->data;

    return NGX_OK;
}


/* the tag within a channel's name, a slice; NGX_DECLINED: not one of ours */

ngx_int_t
ngx_xmpp_store_channel_tag(ngx_xmpp_store_t *store, ngx_str_t *channel,
    ngx_str_t *tag)
{
    size_t  len;

    len = store->channels.len;

    if (channel->len < len + sizeof(":{}") - 1
        || ngx_memcmp(channel->data, store->channels.data, len) != 0
        || channel->data[len] != ':'
        || channel->data[len + 1] != '{'
        || channel->data[channel->len - 1] != '}')
    {
        return NGX_DECLINED;
    }

    tag->data = channel->data + len + 2;
    tag->len = channel->len - len - 3;

    return NGX_OK;
}


void
ngx_xmpp_store_args(ngx_xmpp_store_args_t *a, ngx_pool_t *pool, size_t extra)
{
    a->pool = pool;
    a->n = 0;
    a->failed = 0;
    a->mark = 0;
    a->once = 0;
    a->durable = 0;
    a->sure = 0;
    a->p = ngx_pnalloc(pool, extra);

    if (a->p == NULL) {
        a->failed = 1;
        return;
    }

    a->end = a->p + extra;
}


void
ngx_xmpp_store_call(ngx_xmpp_store_t *store, ngx_xmpp_store_args_t *a,
    ngx_pool_t *pool, const char *function, ngx_str_t *tag, ngx_uint_t keys,
    ...)
{
    va_list     args;
    ngx_uint_t  i;

    ngx_xmpp_store_args(a, pool,
                        (keys + 1) * ngx_xmpp_store_key_len(store, tag)
                        + (NGX_XMPP_STORE_CALL_NUMBERS + 1) * NGX_INT64_LEN);

    ngx_xmpp_store_arg_text(a, "FCALL");
    ngx_xmpp_store_arg_text(a, function);
    ngx_xmpp_store_arg_uint(a, keys);

    va_start(args, keys);

    for (i = 0; i < keys; i++) {
        ngx_xmpp_store_arg_key(store, a, va_arg(args, ngx_xmpp_store_key_e),
                               tag);
    }

    va_end(args);
}


void
ngx_xmpp_store_arg(ngx_xmpp_store_args_t *a, ngx_str_t *value)
{
    if (a->failed || a->n == NGX_XMPP_STORE_ARGS) {
        a->failed = 1;
        return;
    }

    a->v[a->n++] = *value;
}


void
ngx_xmpp_store_arg_text(ngx_xmpp_store_args_t *a, const char *text)
{
    ngx_str_t  s;

    s.data = (u_char *) text;
    s.len = ngx_strlen(text);

    ngx_xmpp_store_arg(a, &s);
}


void
ngx_xmpp_store_arg_uint(ngx_xmpp_store_args_t *a, uint64_t n)
{
    ngx_xmpp_store_arg_print(a, NGX_INT64_LEN, "%uL", n);
}


/* what is not longer than max */

void
ngx_xmpp_store_arg_print(ngx_xmpp_store_args_t *a, size_t max, const char *fmt,
    ...)
{
    u_char     *p;
    va_list     args;
    ngx_str_t   s;

    if (a->failed || (size_t) (a->end - a->p) < max) {
        a->failed = 1;
        return;
    }

    va_start(args, fmt);
    p = ngx_vslprintf(a->p, a->p + max, fmt, args);
    va_end(args);

    s.data = a->p;
    s.len = p - a->p;
    a->p = p;

    ngx_xmpp_store_arg(a, &s);
}


void
ngx_xmpp_store_arg_key(ngx_xmpp_store_t *store, ngx_xmpp_store_args_t *a,
    ngx_xmpp_store_key_e key, ngx_str_t *tag)
{
    u_char     *p;
    ngx_str_t   s;

    if (a->failed
        || (size_t) (a->end - a->p) < ngx_xmpp_store_key_len(store, tag))
    {
        a->failed = 1;
        return;
    }

    p = ngx_xmpp_store_key(store, a->p, key, tag);

    s.data = a->p;
    s.len = p - a->p;
    a->p = p;

    ngx_xmpp_store_arg(a, &s);
}


/* how a Function finds the record of the session that asks */

void
ngx_xmpp_store_arg_session(ngx_xmpp_store_args_t *a,
    ngx_xmpp_store_session_t *ss)
{
    ngx_xmpp_store_arg(a, ss->resource);
    ngx_xmpp_store_arg(a, ss->sid);
    ngx_xmpp_store_arg_uint(a, ss->epoch);
}


void
ngx_xmpp_store_arg_channel(ngx_xmpp_store_t *store, ngx_xmpp_store_args_t *a,
    ngx_str_t *tag)
{
    u_char     *p;
    ngx_str_t   s;

    if (a->failed
        || (size_t) (a->end - a->p) < ngx_xmpp_store_key_len(store, tag))
    {
        a->failed = 1;
        return;
    }

    p = ngx_xmpp_store_channel(store, a->p, tag);

    s.data = a->p;
    s.len = p - a->p;
    a->p = p;

    ngx_xmpp_store_arg(a, &s);
}


/* shorter than an account's key: what is kept for one suffices */

void
ngx_xmpp_store_arg_failures(ngx_xmpp_store_t *store, ngx_xmpp_store_args_t *a)
{
    u_char     *p;
    ngx_str_t   s;

    if (a->failed
        || (size_t) (a->end - a->p) < store->prefix.len + sizeof(":failures"))
    {
        a->failed = 1;
        return;
    }

    p = ngx_sprintf(a->p, "%V:failures", &store->prefix);

    s.data = a->p;
    s.len = p - a->p;
    a->p = p;

    ngx_xmpp_store_arg(a, &s);
}


/* of one session, which may have ended */

void
ngx_xmpp_store_arg_sm(ngx_xmpp_store_t *store, ngx_xmpp_store_args_t *a,
    ngx_str_t *tag, ngx_str_t *sid)
{
    u_char     *p;
    ngx_str_t   s;

    if (a->failed
        || (size_t) (a->end - a->p) < ngx_xmpp_store_sm_len(store, tag, sid))
    {
        a->failed = 1;
        return;
    }

    p = ngx_sprintf(a->p, "%V:{%V}:sm:%V", &store->prefix, tag, sid);

    s.data = a->p;
    s.len = p - a->p;
    a->p = p;

    ngx_xmpp_store_arg(a, &s);
}


/* an upper bound of what it writes */

size_t
ngx_xmpp_store_sm_len(ngx_xmpp_store_t *store, ngx_str_t *tag, ngx_str_t *sid)
{
    return store->prefix.len + sizeof(":{}:sm:") + tag->len + sid->len;
}


/* of the workers; listed is that of one of them, boot */

void
ngx_xmpp_store_arg_worker(ngx_xmpp_store_t *store, ngx_xmpp_store_args_t *a,
    ngx_xmpp_store_worker_key_e key, ngx_str_t *boot)
{
    u_char     *p;
    ngx_str_t   s;

    static const char  *names[] = {
        "{workers}:beats", "{workers}:claims"
    };

    if (a->failed
        || (size_t) (a->end - a->p) < ngx_xmpp_store_worker_len(store))
    {
        a->failed = 1;
        return;
    }

    if (key == NGX_XMPP_KEY_LISTED) {
        p = ngx_sprintf(a->p, "%V:{%V}:listed", &store->prefix, boot);

    } else {
        p = ngx_sprintf(a->p, "%V:%s", &store->prefix, names[key]);
    }

    s.data = a->p;
    s.len = p - a->p;
    a->p = p;

    ngx_xmpp_store_arg(a, &s);
}


/* an upper bound of what it writes */

size_t
ngx_xmpp_store_worker_len(ngx_xmpp_store_t *store)
{
    return store->prefix.len + sizeof(":{workers}:claims") + NGX_XMPP_BOOT_LEN;
}


/* the list of a domain's accounts, which is in a slot of its own */

void
ngx_xmpp_store_arg_accounts(ngx_xmpp_store_t *store, ngx_xmpp_store_args_t *a,
    ngx_str_t *domain)
{
    u_char     *p;
    ngx_str_t   s;

    if (a->failed
        || (size_t) (a->end - a->p)
           < ngx_xmpp_store_accounts_len(store, domain))
    {
        a->failed = 1;
        return;
    }

    p = ngx_sprintf(a->p, "%V:accounts:%V", &store->prefix, domain);

    s.data = a->p;
    s.len = p - a->p;
    a->p = p;

    ngx_xmpp_store_arg(a, &s);
}


/* an upper bound of what it writes */

size_t
ngx_xmpp_store_accounts_len(ngx_xmpp_store_t *store, ngx_str_t *domain)
{
    return store->prefix.len + sizeof(":accounts:") + domain->len;
}


/* of new accounts, of each network */

void
ngx_xmpp_store_arg_registrations(ngx_xmpp_store_t *store,
    ngx_xmpp_store_args_t *a)
{
    u_char     *p;
    ngx_str_t   s;

    if (a->failed
        || (size_t) (a->end - a->p) < ngx_xmpp_store_registrations_len(store))
    {
        a->failed = 1;
        return;
    }

    p = ngx_sprintf(a->p, "%V:registrations", &store->prefix);

    s.data = a->p;
    s.len = p - a->p;
    a->p = p;

    ngx_xmpp_store_arg(a, &s);
}


/* an upper bound of what it writes */

size_t
ngx_xmpp_store_registrations_len(ngx_xmpp_store_t *store)
{
    return store->prefix.len + sizeof(":registrations");
}
