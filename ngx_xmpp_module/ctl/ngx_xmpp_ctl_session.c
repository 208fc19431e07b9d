
/*
 * xmppctl sessions, kick, announce, stats: who is online.
 *
 * The records of an account, PREFIX:{user@domain}:sessions, are read as they
 * are; docs/redis-schema.md has their fields.  What changes anything is one of
 * the servers' Functions, so that it has one meaning: kick rings for the
 * sessions, and announce routes a message to each account, as a client would.
 *
 * Of a whole domain, accounts are asked one after the other, and what is found
 * is printed at once; anonymous users are in no list, and so not seen.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/rand.h>
#include <stdio.h>
#include "ngx_xmpp_ctl.h"
#include "ngx_xmpp_precis.h"
#include "ngx_xmpp_util.h"


/* bytes of an announcement; a stanza may have more by default */
#define NGX_XMPP_CTL_TEXT            32768

#define NGX_XMPP_CTL_PERIOD          600    /* docs/redis-schema.md, seen */


/* a record, in slices of the reply */
typedef struct {
    ngx_str_t    resource;
    ngx_str_t    boot;
    ngx_str_t    state;
    ngx_str_t    flags;
    time_t       since;
} ngx_xmpp_ctl_record_t;


/* what is counted of a domain */
typedef struct {
    ngx_uint_t   accounts;
    ngx_uint_t   online;                    /* accounts with a session */
    ngx_uint_t   sessions;
    ngx_uint_t   available;                 /* of these */
} ngx_xmpp_ctl_tally_t;


static int ngx_xmpp_ctl_records(ngx_xmpp_ctl_t *ctl, ngx_str_t *bare,
    redisReply **reply);
static ngx_uint_t ngx_xmpp_ctl_record(redisReply *field, redisReply *value,
    ngx_xmpp_ctl_record_t *record);
static int ngx_xmpp_ctl_print(ngx_xmpp_ctl_t *ctl, ngx_str_t *bare,
    ngx_uint_t *n);
static int ngx_xmpp_ctl_tally(ngx_xmpp_ctl_t *ctl, char *domain,
    ngx_xmpp_ctl_tally_t *tally);
static ngx_uint_t ngx_xmpp_ctl_is_text(ngx_str_t *text);
static void ngx_xmpp_ctl_hex(u_char *p, u_char *bytes, size_t n);
static int ngx_xmpp_ctl_tell(ngx_xmpp_ctl_t *ctl, ngx_str_t *bare,
    ngx_str_t *text, ngx_str_t *sid, ngx_uint_t *n);
static ngx_int_t ngx_xmpp_ctl_message(ngx_xmpp_ctl_t *ctl, ngx_str_t *bare,
    ngx_str_t *text, ngx_str_t *message);


/* sessions [JID|DOMAIN]; an exit status */

int
ngx_xmpp_ctl_sessions(ngx_xmpp_ctl_t *ctl, int argc, char **argv)
{
    int                  status;
    size_t               i;
    ngx_uint_t           n;
    ngx_xmpp_jid_t       jid;
    ngx_xmpp_ctl_list_t  list;

    n = 0;

    if (argc && ngx_strchr(argv[0], '@')) {
        status = ngx_xmpp_ctl_jid(ctl, argv[0], &jid);

        if (status == NGX_XMPP_CTL_OK) {
            status = ngx_xmpp_ctl_connect(ctl);
        }

        if (status == NGX_XMPP_CTL_OK) {
            status = ngx_xmpp_ctl_print(ctl, &jid.bare, &n);
        }

        return status;
    }

    status = ngx_xmpp_ctl_accounts(ctl, argc ? argv[0] : NULL, &list);

    for (i = 0; status == NGX_XMPP_CTL_OK && i < list.n; i++) {
        status = ngx_xmpp_ctl_print(ctl, &list.elts[i], &n);
    }

    return status;
}


/* the records as they are; *reply is the caller's; an exit status */

static int
ngx_xmpp_ctl_records(ngx_xmpp_ctl_t *ctl, ngx_str_t *bare, redisReply **reply)
{
    ngx_str_t  argv[2];

    ngx_str_set(&argv[0], "HGETALL");

    if (ngx_xmpp_ctl_key(ctl, bare, "sessions", &argv[1]) != NGX_OK) {
        return ngx_xmpp_ctl_no_memory();
    }

    *reply = ngx_xmpp_ctl_command(ctl, 2, argv);

    if (*reply == NULL || (*reply)->type != REDIS_REPLY_ARRAY) {
        return ngx_xmpp_ctl_bad_reply(*reply);
    }

    return NGX_XMPP_CTL_OK;
}


/* 1 when this field is a record, "EPOCH SID BOOT STATE FLAGS" */

static ngx_uint_t
ngx_xmpp_ctl_record(redisReply *field, redisReply *value,
    ngx_xmpp_ctl_record_t *record)
{
    char        *p, *space;
    ngx_str_t    word[4];
    ngx_uint_t   i;

    if (field->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING
        || field->len == 0 || field->str[0] != 'r')
    {
        return 0;
    }

    record->resource.data = (u_char *) field->str + 1;
    record->resource.len = field->len - 1;

    p = value->str;

    for (i = 0; i < 4; i++) {
        space = strchr(p, ' ');

        if (space == NULL) {
            return 0;
        }

        word[i].data = (u_char *) p;
        word[i].len = space - p;

        p = space + 1;
    }

    /* an epoch is the time of binding in microseconds */

    record->since = strtoull(value->str, NULL, 10) / 1000000;
    record->boot = word[2];
    record->state = word[3];
    record->flags.data = (u_char *) p;
    record->flags.len = value->str + value->len - p;

    return 1;
}


/* a line for each session, d: that waits; adds to *n; an exit status */

static int
ngx_xmpp_ctl_print(ngx_xmpp_ctl_t *ctl, ngx_str_t *bare, ngx_uint_t *n)
{
    int                     status;
    u_char                 *d, since[sizeof("1970-09-28T12:00:00Z")];
    size_t                  i;
    redisReply             *reply;
    ngx_xmpp_ctl_record_t   record;

    status = ngx_xmpp_ctl_records(ctl, bare, &reply);
    if (status != NGX_XMPP_CTL_OK) {
        return status;
    }

    for (i = 0; i + 1 < reply->elements; i += 2) {

        if (!ngx_xmpp_ctl_record(reply->element[i], reply->element[i + 1],
                                 &record))
        {
            continue;
        }

        *ngx_xmpp_datetime(since, record.since) = '\0';

        d = ngx_strlchr(record.flags.data,
                        record.flags.data + record.flags.len, 'd');

        (void) printf("%s %4.*s%c %.*s  %.*s/%.*s\n", since,
                      (int) record.state.len, record.state.data, d ? 'd' : ' ',
                      (int) record.boot.len, record.boot.data,
                      (int) bare->len, bare->data,
                      (int) record.resource.len, record.resource.data);
        (*n)++;
    }

    freeReplyObject(reply);

    return NGX_XMPP_CTL_OK;
}


/* kick JID; an exit status */

int
ngx_xmpp_ctl_kick(ngx_xmpp_ctl_t *ctl, int argc, char **argv)
{
    int              status;
    ngx_str_t        call[6];
    long long        n, heard;
    redisReply      *reply;
    ngx_xmpp_jid_t   jid;

    status = ngx_xmpp_ctl_full_jid(ctl, argv[0], &jid);

    if (status == NGX_XMPP_CTL_OK) {
        status = ngx_xmpp_ctl_connect(ctl);
    }

    if (status != NGX_XMPP_CTL_OK) {
        return status;
    }

    ngx_str_set(&call[0], "FCALL");
    ngx_str_set(&call[1], "xmpp1_kick");
    ngx_str_set(&call[2], "1");
    call[5] = jid.resource;

    if (ngx_xmpp_ctl_key(ctl, &jid.bare, "sessions", &call[3]) != NGX_OK
        || ngx_xmpp_ctl_channel(ctl, &jid.bare, &call[4]) != NGX_OK)
    {
        return ngx_xmpp_ctl_no_memory();
    }

    reply = ngx_xmpp_ctl_command(ctl, 6, call);

    if (reply == NULL
        || (reply->type != REDIS_REPLY_ARRAY
            && !ngx_xmpp_ctl_no_function(reply)))
    {
        return ngx_xmpp_ctl_bad_reply(reply);
    }

    n = 0;
    heard = 0;

    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 3) {
        n = reply->element[1]->integer;
        heard = reply->element[2]->integer;
    }

    freeReplyObject(reply);

    if (n == 0) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED, "%.*s has no session",
                                 (int) jid.full.len, jid.full.data);
    }

    if (heard == 0) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                 "no server listens for %.*s at the moment:"
                                 " the record is of one that has died, or"
                                 " that does not reach Redis",
                                 (int) jid.bare.len, jid.bare.data);
    }

    (void) printf("%lld session%s of %.*s ended\n", n, n == 1 ? "" : "s",
                  (int) jid.bare.len, jid.bare.data);

    return NGX_XMPP_CTL_OK;
}


/* stats [DOMAIN]; an exit status */

int
ngx_xmpp_ctl_stats(ngx_xmpp_ctl_t *ctl, int argc, char **argv)
{
    int                    status;
    char                   name[256];
    ngx_uint_t             n;
    ngx_xmpp_ctl_host_t   *host, *first, only;
    ngx_xmpp_ctl_tally_t   tally;

    host = ctl->hosts;

    if (argc) {
        only.name.data = (u_char *) argv[0];
        only.name.len = ngx_strlen(argv[0]);
        only.next = NULL;

        host = &only;

    } else if (!ctl->hosts_known) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_USAGE,
                                 "with -r alone, a DOMAIN has to be named");
    }

    first = host;

    for (status = NGX_XMPP_CTL_OK; host && status == NGX_XMPP_CTL_OK;
         host = host->next)
    {
        n = ngx_min(host->name.len, sizeof(name) - 1);
        (void) ngx_cpystrn((u_char *) name, host->name.data, n + 1);

        status = ngx_xmpp_ctl_tally(ctl, name, &tally);

        if (status == NGX_XMPP_CTL_OK && host == first) {
            (void) printf("%9s %9s %9s %9s  %s\n", "accounts", "online",
                          "sessions", "available", "domain");
        }

        if (status == NGX_XMPP_CTL_OK) {
            (void) printf("%9lu %9lu %9lu %9lu  %s\n",
                          (unsigned long) tally.accounts,
                          (unsigned long) tally.online,
                          (unsigned long) tally.sessions,
                          (unsigned long) tally.available, name);
        }
    }

    return status;
}


static int
ngx_xmpp_ctl_tally(ngx_xmpp_ctl_t *ctl, char *domain,
    ngx_xmpp_ctl_tally_t *tally)
{
    int                     status;
    size_t                  i, k;
    ngx_uint_t              before;
    redisReply             *reply;
    ngx_xmpp_ctl_list_t     list;
    ngx_xmpp_ctl_record_t   record;

    ngx_memzero(tally, sizeof(ngx_xmpp_ctl_tally_t));

    status = ngx_xmpp_ctl_accounts(ctl, domain, &list);
    if (status != NGX_XMPP_CTL_OK) {
        return status;
    }

    tally->accounts = list.n;

    for (i = 0; i < list.n; i++) {

        status = ngx_xmpp_ctl_records(ctl, &list.elts[i], &reply);
        if (status != NGX_XMPP_CTL_OK) {
            return status;
        }

        before = tally->sessions;

        for (k = 0; k + 1 < reply->elements; k += 2) {

            if (ngx_xmpp_ctl_record(reply->element[k], reply->element[k + 1],
                                    &record))
            {
                tally->sessions++;
                tally->available +=
                    (record.state.data[record.state.len - 1] >= '0'
                     && record.state.data[record.state.len - 1] <= '9');
            }
        }

        tally->online += (tally->sessions != before);

        freeReplyObject(reply);
    }

    return NGX_XMPP_CTL_OK;
}


/* announce DOMAIN TEXT; an exit status */

int
ngx_xmpp_ctl_announce(ngx_xmpp_ctl_t *ctl, int argc, char **argv)
{
    int                   status;
    u_char                random[8];
    u_char                hex[sizeof("xmppctl.") - 1 + 2 * sizeof(random)];
    size_t                i;
    ngx_str_t             text, sid;
    ngx_uint_t            n;
    ngx_xmpp_ctl_list_t   list;

    text.data = (u_char *) argv[1];
    text.len = ngx_strlen(argv[1]);

    if (!ngx_xmpp_ctl_is_text(&text)) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                 "an announcement is UTF-8 without control"
                                 " characters, of 1 to %d bytes",
                                 NGX_XMPP_CTL_TEXT);
    }

    status = ngx_xmpp_ctl_accounts(ctl, argv[0], &list);

    if (status != NGX_XMPP_CTL_OK) {
        return status;
    }

    if (RAND_bytes(random, sizeof(random)) != 1) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                 "OpenSSL has no random numbers");
    }

    sid.data = hex;
    sid.len = sizeof(hex);

    ngx_memcpy(hex, "xmppctl.", sizeof("xmppctl.") - 1);
    ngx_xmpp_ctl_hex(hex + sizeof("xmppctl.") - 1, random, sizeof(random));

    for (i = 0, n = 0; status == NGX_XMPP_CTL_OK && i < list.n; i++) {
        status = ngx_xmpp_ctl_tell(ctl, &list.elts[i], &text, &sid, &n);
    }

    if (status == NGX_XMPP_CTL_OK) {
        (void) printf("%lu of %lu accounts told\n", (unsigned long) n,
                      (unsigned long) list.n);
    }

    return status;
}


/* XML 1.0, 2.2: what may stand in a document */

static ngx_uint_t
ngx_xmpp_ctl_is_text(ngx_str_t *text)
{
    size_t   i;
    u_char  *p;

    if (text->len == 0 || text->len > NGX_XMPP_CTL_TEXT
        || !ngx_xmpp_utf8_valid(text->data, text->len))
    {
        return 0;
    }

    p = text->data;

    for (i = 0; i < text->len; i++) {

        if (p[i] < 0x20 && p[i] != '\t' && p[i] != LF) {
            return 0;
        }

        if (p[i] == 0xef && p[i + 1] == 0xbf && p[i + 2] >= 0xbe) {
            return 0;
        }
    }

    return 1;
}


static void
ngx_xmpp_ctl_hex(u_char *p, u_char *bytes, size_t n)
{
    static const char  hex[] = "0123456789abcdef";

    while (n--) {
        *p++ = hex[*bytes >> 4];
        *p++ = hex[*bytes++ & 0xf];
    }
}


/* a headline, routed as a client's would be; adds to *n; an exit status */

static int
ngx_xmpp_ctl_tell(ngx_xmpp_ctl_t *ctl, ngx_str_t *bare, ngx_str_t *text,
    ngx_str_t *sid, ngx_uint_t *n)
{
    char         period[NGX_INT64_LEN + sizeof("seen:")];
    time_t       now;
    ngx_str_t    argv[16];
    redisReply  *reply;

    now = time(NULL) / NGX_XMPP_CTL_PERIOD;

    ngx_str_set(&argv[0], "FCALL");
    ngx_str_set(&argv[1], "xmpp1_route");
    ngx_str_set(&argv[2], "3");
    argv[7] = *sid;
    ngx_str_set(&argv[8], "h");
    ngx_str_null(&argv[9]);
    ngx_str_null(&argv[10]);
    ngx_str_null(&argv[11]);
    ngx_str_null(&argv[12]);
    ngx_str_set(&argv[13], "1");
    ngx_str_set(&argv[15], "0");

    (void) snprintf(period, sizeof(period), "seen:%lld", (long long) now);

    if (ngx_xmpp_ctl_key(ctl, bare, "sessions", &argv[3]) != NGX_OK
        || ngx_xmpp_ctl_key(ctl, bare, period, &argv[4]) != NGX_OK)
    {
        return ngx_xmpp_ctl_no_memory();
    }

    (void) snprintf(period, sizeof(period), "seen:%lld", (long long) now - 1);

    if (ngx_xmpp_ctl_key(ctl, bare, period, &argv[5]) != NGX_OK
        || ngx_xmpp_ctl_channel(ctl, bare, &argv[6]) != NGX_OK
        || ngx_xmpp_ctl_message(ctl, bare, text, &argv[14]) != NGX_OK)
    {
        return ngx_xmpp_ctl_no_memory();
    }

    reply = ngx_xmpp_ctl_command(ctl, 16, argv);

    if (reply && ngx_xmpp_ctl_no_function(reply)) {
        freeReplyObject(reply);
        return NGX_XMPP_CTL_OK;
    }

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY
        || reply->elements == 0
        || reply->element[0]->type != REDIS_REPLY_STRING)
    {
        return ngx_xmpp_ctl_bad_reply(reply);
    }

    *n += (ngx_strcmp(reply->element[0]->str, "ok") == 0);

    freeReplyObject(reply);

    return NGX_XMPP_CTL_OK;
}


/* XEP-0133, 4.23: from the host; NGX_OK or NGX_ERROR (no memory) */

static ngx_int_t
ngx_xmpp_ctl_message(ngx_xmpp_ctl_t *ctl, ngx_str_t *bare, ngx_str_t *text,
    ngx_str_t *message)
{
    u_char     *p;
    ngx_str_t   domain;

    p = ngx_strlchr(bare->data, bare->data + bare->len, '@');

    if (p == NULL) {
        return NGX_ERROR;
    }

    domain.data = p + 1;
    domain.len = bare->data + bare->len - domain.data;

    p = ngx_pnalloc(ctl->pool, sizeof("<message xmlns='jabber:client' "
                    "type='headline' from='' to=''><body></body></message>")
                    + (domain.len + bare->len + text->len)
                      * (sizeof("&apos;") - 1));
    if (p == NULL) {
        return NGX_ERROR;
    }

    message->data = p;

    p = ngx_xmpp_ctl_text(p, "<message xmlns='jabber:client' type='headline'"
                             " from='");
    p = ngx_xmpp_ctl_escape(p, &domain);
    p = ngx_xmpp_ctl_text(p, "' to='");
    p = ngx_xmpp_ctl_escape(p, bare);
    p = ngx_xmpp_ctl_text(p, "'><body>");
    p = ngx_xmpp_ctl_escape(p, text);
    p = ngx_xmpp_ctl_text(p, "</body></message>");

    message->len = p - message->data;

    return NGX_OK;
}


u_char *
ngx_xmpp_ctl_text(u_char *p, const char *text)
{
    return ngx_cpymem(p, text, ngx_strlen(text));
}


u_char *
ngx_xmpp_ctl_escape(u_char *p, ngx_str_t *s)
{
    size_t  i;

    for (i = 0; i < s->len; i++) {

        switch (s->data[i]) {

        case '&':
            p = ngx_xmpp_ctl_text(p, "&amp;");
            break;

        case '<':
            p = ngx_xmpp_ctl_text(p, "&lt;");
            break;

        case '>':
            p = ngx_xmpp_ctl_text(p, "&gt;");
            break;

        case '\'':
            p = ngx_xmpp_ctl_text(p, "&apos;");
            break;

        default:
            *p++ = s->data[i];
        }
    }

    return p;
}
