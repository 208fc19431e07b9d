
/*
 * xmppctl failures, unblock: the counters of failed logins.
 *
 *   PREFIX:failures                hash: counters of networks and accounts
 *   PREFIX:{user@domain}:account   its field known: "HASH:DAY HASH:DAY ...",
 *                                  where HASH is also the counter's name
 *
 * docs/redis-schema.md has the names.  Whether an account exists makes no
 * difference here either: names without one are counted all the same.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <arpa/inet.h>
#include <stdio.h>
#include "ngx_xmpp_ctl.h"
#include "ngx_xmpp_network.h"
#include "ngx_xmpp_util.h"


/* the operand's own counter, and one for each network that is known */
#define NGX_XMPP_CTL_TALLIES  (1 + 16)


typedef struct {
    ngx_str_t     name;                    /* as it is shown */
    ngx_uint_t    address;
    ngx_str_t     key;
    ngx_uint_t    n;
    ngx_str_t     tallies[NGX_XMPP_CTL_TALLIES];
    ngx_uint_t    first;                   /* failures of the first one */
    ngx_uint_t    others;
} ngx_xmpp_ctl_failures_t;


static int ngx_xmpp_ctl_failures_read(ngx_xmpp_ctl_t *ctl, char *arg,
    ngx_xmpp_ctl_failures_t *f);
static ngx_uint_t ngx_xmpp_ctl_failures_count(redisReply *reply);
static int ngx_xmpp_ctl_failures_address(ngx_xmpp_ctl_t *ctl, char *arg,
    ngx_xmpp_ctl_failures_t *f);
static int ngx_xmpp_ctl_failures_account(ngx_xmpp_ctl_t *ctl, char *arg,
    ngx_xmpp_ctl_failures_t *f);
static int ngx_xmpp_ctl_failures_known(ngx_xmpp_ctl_t *ctl, ngx_str_t *bare,
    ngx_xmpp_ctl_failures_t *f);
static int ngx_xmpp_ctl_failures_tally(ngx_xmpp_ctl_t *ctl, u_char kind,
    ngx_str_t *one, ngx_str_t *tally);
static void ngx_xmpp_ctl_failures_print(ngx_xmpp_ctl_failures_t *f);


/* failures JID|ADDRESS; an exit status */

int
ngx_xmpp_ctl_failures(ngx_xmpp_ctl_t *ctl, int argc, char **argv)
{
    int                       status;
    ngx_str_t                 args[2];
    redisReply               *reply;
    ngx_xmpp_ctl_failures_t   f;

    status = ngx_xmpp_ctl_failures_read(ctl, argv[0], &f);
    if (status != NGX_XMPP_CTL_OK) {
        return status;
    }

    ngx_str_set(&args[0], "TTL");
    args[1] = f.key;

    reply = ngx_xmpp_ctl_command(ctl, 2, args);

    if (reply == NULL || reply->type != REDIS_REPLY_INTEGER) {
        return ngx_xmpp_ctl_bad_reply(reply);
    }

    ngx_xmpp_ctl_failures_print(&f);

    if (f.first + f.others && reply->integer >= 0) {
        (void) printf(", forgotten in %lld s", reply->integer);
    }

    (void) printf("\n");

    freeReplyObject(reply);

    return NGX_XMPP_CTL_OK;
}


/* unblock JID|ADDRESS; an exit status */

int
ngx_xmpp_ctl_unblock(ngx_xmpp_ctl_t *ctl, int argc, char **argv)
{
    int                       status;
    ngx_str_t                 args[2 + NGX_XMPP_CTL_TALLIES];
    ngx_uint_t                i;
    redisReply               *reply;
    ngx_xmpp_ctl_failures_t   f;

    status = ngx_xmpp_ctl_failures_read(ctl, argv[0], &f);
    if (status != NGX_XMPP_CTL_OK) {
        return status;
    }

    ngx_str_set(&args[0], "HDEL");
    args[1] = f.key;

    for (i = 0; i < f.n; i++) {
        args[2 + i] = f.tallies[i];
    }

    reply = ngx_xmpp_ctl_command(ctl, 2 + f.n, args);

    if (reply == NULL || reply->type != REDIS_REPLY_INTEGER) {
        return ngx_xmpp_ctl_bad_reply(reply);
    }

    ngx_xmpp_ctl_failures_print(&f);

    (void) printf("%s\n", (f.first + f.others) ? ", cleared" : "");

    freeReplyObject(reply);

    return NGX_XMPP_CTL_OK;
}


/* connects, finds the counters of the operand and reads them */

static int
ngx_xmpp_ctl_failures_read(ngx_xmpp_ctl_t *ctl, char *arg,
    ngx_xmpp_ctl_failures_t *f)
{
    int          status;
    ngx_str_t    args[2 + NGX_XMPP_CTL_TALLIES];
    ngx_uint_t   i;
    redisReply  *reply;

    ngx_memzero(f, sizeof(ngx_xmpp_ctl_failures_t));

    status = ngx_strchr(arg, '@') ? ngx_xmpp_ctl_failures_account(ctl, arg, f)
                                  : ngx_xmpp_ctl_failures_address(ctl, arg, f);
    if (status != NGX_XMPP_CTL_OK) {
        return status;
    }

    if (ngx_xmpp_ctl_failures_key(ctl, &f->key) != NGX_OK) {
        return ngx_xmpp_ctl_no_memory();
    }

    ngx_str_set(&args[0], "HMGET");
    args[1] = f->key;

    for (i = 0; i < f->n; i++) {
        args[2 + i] = f->tallies[i];
    }

    reply = ngx_xmpp_ctl_command(ctl, 2 + f->n, args);

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY
        || reply->elements != f->n)
    {
        return ngx_xmpp_ctl_bad_reply(reply);
    }

    f->first = ngx_xmpp_ctl_failures_count(reply->element[0]);

    for (i = 1; i < f->n; i++) {
        f->others += ngx_xmpp_ctl_failures_count(reply->element[i]);
    }

    freeReplyObject(reply);

    return NGX_XMPP_CTL_OK;
}


/* a counter that is not there is 0 */

static ngx_uint_t
ngx_xmpp_ctl_failures_count(redisReply *reply)
{
    ngx_uint_t   n;
    const char  *p;

    n = 0;

    if (reply->type == REDIS_REPLY_STRING) {
        for (p = reply->str; *p >= '0' && *p <= '9'; p++) {
            n = n * 10 + (*p - '0');
        }
    }

    return n;
}


/* an IPv4 or IPv6 address, or a network as the log shows it */

static int
ngx_xmpp_ctl_failures_address(ngx_xmpp_ctl_t *ctl, char *arg,
    ngx_xmpp_ctl_failures_t *f)
{
    char                 *slash, text[INET6_ADDRSTRLEN];
    u_char               *p;
    size_t                len;
    struct sockaddr      *sa;
    struct sockaddr_in    sin;
    struct sockaddr_in6   sin6;

    len = ngx_strlen(arg);
    slash = strchr(arg, '/');

    if (slash && ngx_strcmp(slash, "/64") == 0) {
        len = slash - arg;
    }

    ngx_memzero(&sin, sizeof(struct sockaddr_in));
    ngx_memzero(&sin6, sizeof(struct sockaddr_in6));

    sin.sin_family = AF_INET;
    sin6.sin6_family = AF_INET6;

    sa = NULL;

    if (len < sizeof(text)) {
        ngx_memcpy(text, arg, len);
        text[len] = '\0';

        if (inet_pton(AF_INET6, text, &sin6.sin6_addr) == 1) {
            sa = (struct sockaddr *) &sin6;

        } else if (slash == NULL
                   && inet_pton(AF_INET, text, &sin.sin_addr) == 1)
        {
            sa = (struct sockaddr *) &sin;
        }
    }

    if (sa == NULL) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                 "\"%s\" is neither a JID, user@domain, nor an"
                                 " IPv4 or IPv6 address", arg);
    }

    p = ngx_pnalloc(ctl->pool, NGX_XMPP_NETWORK_MAX);
    if (p == NULL) {
        return ngx_xmpp_ctl_no_memory();
    }

    f->address = 1;
    f->name.data = p;
    f->name.len = ngx_xmpp_network(sa, p);

    if (f->name.len == 0) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                 "%s is an address of the server itself, for"
                                 " which nothing is counted", arg);
    }

    if (ngx_xmpp_ctl_failures_tally(ctl, NGX_XMPP_TALLY_ADDRESS, &f->name,
                                    &f->tallies[f->n++])
        != NGX_XMPP_CTL_OK)
    {
        return ngx_xmpp_ctl_no_memory();
    }

    return ngx_xmpp_ctl_connect(ctl);
}


static int
ngx_xmpp_ctl_failures_account(ngx_xmpp_ctl_t *ctl, char *arg,
    ngx_xmpp_ctl_failures_t *f)
{
    int             status;
    ngx_xmpp_jid_t  jid;

    status = ngx_xmpp_ctl_jid(ctl, arg, &jid);

    if (status == NGX_XMPP_CTL_OK) {
        f->name = jid.bare;

        status = ngx_xmpp_ctl_failures_tally(ctl, NGX_XMPP_TALLY_ACCOUNT,
                                             &jid.bare, &f->tallies[f->n++]);
    }

    if (status == NGX_XMPP_CTL_OK) {
        status = ngx_xmpp_ctl_connect(ctl);
    }

    if (status == NGX_XMPP_CTL_OK) {
        status = ngx_xmpp_ctl_failures_known(ctl, &jid.bare, f);
    }

    return status;
}


/* the networks that the account knows are counted by themselves */

static int
ngx_xmpp_ctl_failures_known(ngx_xmpp_ctl_t *ctl, ngx_str_t *bare,
    ngx_xmpp_ctl_failures_t *f)
{
    u_char      *p, *last;
    ngx_str_t    args[3], *tally;
    redisReply  *reply;

    ngx_str_set(&args[0], "HGET");
    ngx_str_set(&args[2], "known");

    if (ngx_xmpp_ctl_key(ctl, bare, "account", &args[1]) != NGX_OK) {
        return ngx_xmpp_ctl_no_memory();
    }

    reply = ngx_xmpp_ctl_command(ctl, 3, args);

    if (reply == NULL || (reply->type != REDIS_REPLY_STRING
                          && reply->type != REDIS_REPLY_NIL))
    {
        return ngx_xmpp_ctl_bad_reply(reply);
    }

    p = (u_char *) reply->str;
    last = p + reply->len;

    while (reply->type == REDIS_REPLY_STRING && f->n < NGX_XMPP_CTL_TALLIES
           && last - p > NGX_XMPP_TALLY_LEN)
    {
        tally = &f->tallies[f->n++];

        tally->len = NGX_XMPP_TALLY_LEN;
        tally->data = ngx_pnalloc(ctl->pool, tally->len);

        if (tally->data == NULL) {
            freeReplyObject(reply);
            return ngx_xmpp_ctl_no_memory();
        }

        ngx_memcpy(tally->data, p, tally->len);

        while (p < last && *p++ != ' ') { /* void */ }
    }

    freeReplyObject(reply);

    return NGX_XMPP_CTL_OK;
}


static int
ngx_xmpp_ctl_failures_tally(ngx_xmpp_ctl_t *ctl, u_char kind, ngx_str_t *one,
    ngx_str_t *tally)
{
    ngx_str_t  none;

    ngx_str_set(&none, "");

    tally->len = NGX_XMPP_TALLY_LEN;
    tally->data = ngx_pnalloc(ctl->pool, tally->len);

    if (tally->data == NULL
        || ngx_xmpp_network_tally(tally->data, kind, one, &none) != NGX_OK)
    {
        return ngx_xmpp_ctl_no_memory();
    }

    return NGX_XMPP_CTL_OK;
}


static void
ngx_xmpp_ctl_failures_print(ngx_xmpp_ctl_failures_t *f)
{
    (void) printf("%.*s: %lu failed logins", (int) f->name.len, f->name.data,
                  (unsigned long) f->first);

    if (!f->address) {
        (void) printf(" from addresses new to it, %lu from others",
                      (unsigned long) f->others);
    }
}
