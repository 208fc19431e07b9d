
/*
 * xmppctl adduser, passwd, deluser, users.
 *
 *   PREFIX:{user@domain}:account   hash: created (XEP-0082), scram-sha-1,
 *                                  scram-sha-256, scram-sha-512,
 *                                  digest-md5 (only if asked for)
 *   PREFIX:accounts:DOMAIN         set of the prepared bare JIDs
 *
 * The two keys are in different slots and cannot change in one step.  So the
 * list is written before the record and removed after it: a crash in between
 * leaves a name in the list too many, never an account that no list knows.
 * The record itself is checked and changed by one script, atomically.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include "ngx_xmpp_ctl.h"
#include "ngx_xmpp_digest.h"
#include "ngx_xmpp_scram.h"
#include "ngx_xmpp_util.h"


/* of an account: those of SCRAM, and the secret of DIGEST-MD5 */
#define NGX_XMPP_CTL_DIGEST  NGX_XMPP_SCRAM_HASHES
#define NGX_XMPP_CTL_KEYS    (NGX_XMPP_SCRAM_HASHES + 1)

#define NGX_XMPP_CTL_SCAN  "1000"        /* members in a page, about */


/* the members of a list, in growing arrays of the pool */
typedef struct {
    ngx_str_t    *elts;
    size_t        n;
    size_t        nalloc;
} ngx_xmpp_ctl_list_t;


static int ngx_xmpp_ctl_domain(ngx_xmpp_ctl_t *ctl, ngx_str_t *domain);
static int ngx_xmpp_ctl_store(ngx_xmpp_ctl_t *ctl, ngx_xmpp_jid_t *jid,
    ngx_uint_t create, ngx_uint_t *done);
static int ngx_xmpp_ctl_exists(ngx_xmpp_ctl_t *ctl, ngx_str_t *key,
    ngx_uint_t *exists);
static int ngx_xmpp_ctl_write(ngx_xmpp_ctl_t *ctl, ngx_str_t *key,
    ngx_str_t *keys, ngx_uint_t create, ngx_uint_t *done);
static int ngx_xmpp_ctl_keys(ngx_xmpp_ctl_t *ctl, ngx_xmpp_jid_t *jid,
    ngx_str_t *password, ngx_str_t *keys);
static int ngx_xmpp_ctl_digest(ngx_xmpp_ctl_t *ctl, ngx_xmpp_jid_t *jid,
    ngx_str_t *password, ngx_str_t *key);
static int ngx_xmpp_ctl_member(ngx_xmpp_ctl_t *ctl, const char *command,
    ngx_xmpp_jid_t *jid);
static int ngx_xmpp_ctl_remove(ngx_xmpp_ctl_t *ctl, ngx_xmpp_jid_t *jid,
    ngx_uint_t *removed);
static ngx_uint_t ngx_xmpp_ctl_no_function(redisReply *reply);
static int ngx_xmpp_ctl_list(ngx_xmpp_ctl_t *ctl, ngx_str_t *domain,
    ngx_xmpp_ctl_list_t *list);
static int ngx_xmpp_ctl_list_page(ngx_xmpp_ctl_t *ctl, redisReply *reply,
    ngx_xmpp_ctl_list_t *list);
static int ngx_libc_cdecl ngx_xmpp_ctl_cmp(const void *one, const void *two);


static const ngx_str_t  ngx_xmpp_ctl_script_create = ngx_string(
    "if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end "
    "redis.call('HSET', KEYS[1], unpack(ARGV)) "
    "return 1");

/* the secret of an old password must not stay */

static const ngx_str_t  ngx_xmpp_ctl_script_change = ngx_string(
    "if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end "
    "redis.call('HDEL', KEYS[1], 'digest-md5') "
    "redis.call('HSET', KEYS[1], unpack(ARGV)) "
    "return 1");


/* adduser JID; an exit status */

int
ngx_xmpp_ctl_adduser(ngx_xmpp_ctl_t *ctl, int argc, char **argv)
{
    int             status;
    ngx_uint_t      created;
    ngx_xmpp_jid_t  jid;

    created = 0;

    status = ngx_xmpp_ctl_jid(ctl, argv[0], &jid);

    if (status == NGX_XMPP_CTL_OK) {
        status = ngx_xmpp_ctl_store(ctl, &jid, 1, &created);
    }

    if (status != NGX_XMPP_CTL_OK) {
        return status;
    }

    if (!created) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                 "the account %.*s exists already; xmppctl"
                                 " passwd sets its password",
                                 (int) jid.bare.len, jid.bare.data);
    }

    (void) printf("%.*s added\n", (int) jid.bare.len, jid.bare.data);

    return NGX_XMPP_CTL_OK;
}


/* passwd JID; an exit status */

int
ngx_xmpp_ctl_passwd(ngx_xmpp_ctl_t *ctl, int argc, char **argv)
{
    int             status;
    ngx_uint_t      changed;
    ngx_xmpp_jid_t  jid;

    changed = 0;

    status = ngx_xmpp_ctl_jid(ctl, argv[0], &jid);

    if (status == NGX_XMPP_CTL_OK) {
        status = ngx_xmpp_ctl_store(ctl, &jid, 0, &changed);
    }

    if (status != NGX_XMPP_CTL_OK) {
        return status;
    }

    if (!changed) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                 "there is no account %.*s",
                                 (int) jid.bare.len, jid.bare.data);
    }

    (void) printf("%.*s has a new password\n", (int) jid.bare.len,
                  jid.bare.data);

    return NGX_XMPP_CTL_OK;
}


/* deluser JID; an exit status */

int
ngx_xmpp_ctl_deluser(ngx_xmpp_ctl_t *ctl, int argc, char **argv)
{
    int             status;
    ngx_uint_t      removed;
    ngx_xmpp_jid_t  jid;

    removed = 0;

    status = ngx_xmpp_ctl_jid(ctl, argv[0], &jid);

    if (status == NGX_XMPP_CTL_OK) {
        status = ngx_xmpp_ctl_connect(ctl);
    }

    if (status == NGX_XMPP_CTL_OK) {
        status = ngx_xmpp_ctl_remove(ctl, &jid, &removed);
    }

    /* also without a record: then the list has what a crash left there */

    if (status == NGX_XMPP_CTL_OK) {
        status = ngx_xmpp_ctl_member(ctl, "SREM", &jid);
    }

    if (status != NGX_XMPP_CTL_OK) {
        return status;
    }

    if (!removed) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                 "there is no account %.*s",
                                 (int) jid.bare.len, jid.bare.data);
    }

    (void) printf("%.*s removed\n", (int) jid.bare.len, jid.bare.data);

    return NGX_XMPP_CTL_OK;
}


/* users [DOMAIN]; an exit status */

int
ngx_xmpp_ctl_users(ngx_xmpp_ctl_t *ctl, int argc, char **argv)
{
    int                    status;
    size_t                 i;
    ngx_str_t              domain;
    ngx_xmpp_ctl_host_t   *host;
    ngx_xmpp_ctl_list_t    list;

    ngx_memzero(&list, sizeof(ngx_xmpp_ctl_list_t));

    if (argc == 0 && !ctl->hosts_known) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_USAGE,
                                 "with -r alone, a DOMAIN has to be named");
    }

    if (argc) {
        domain.data = (u_char *) argv[0];
        domain.len = ngx_strlen(argv[0]);

        status = ngx_xmpp_ctl_domain(ctl, &domain);
        if (status != NGX_XMPP_CTL_OK) {
            return status;
        }
    }

    status = ngx_xmpp_ctl_connect(ctl);

    if (status == NGX_XMPP_CTL_OK && argc) {
        status = ngx_xmpp_ctl_list(ctl, &domain, &list);

    } else {

        for (host = ctl->hosts; host && status == NGX_XMPP_CTL_OK;
             host = host->next)
        {
            status = ngx_xmpp_ctl_list(ctl, &host->name, &list);
        }
    }

    if (status != NGX_XMPP_CTL_OK) {
        return status;
    }

    if (list.n == 0) {
        return NGX_XMPP_CTL_OK;
    }

    ngx_qsort(list.elts, list.n, sizeof(ngx_str_t), ngx_xmpp_ctl_cmp);

    for (i = 0; i < list.n; i++) {

        /* SSCAN may give a member twice */

        if (i == 0 || ngx_xmpp_ctl_cmp(&list.elts[i - 1], &list.elts[i])) {
            (void) printf("%.*s\n", (int) list.elts[i].len, list.elts[i].data);
        }
    }

    return NGX_XMPP_CTL_OK;
}


/* arg as an account's address, prepared, of a domain that is served */

int
ngx_xmpp_ctl_jid(ngx_xmpp_ctl_t *ctl, char *arg, ngx_xmpp_jid_t *jid)
{
    ngx_int_t  rc;
    ngx_str_t  text, domain;

    text.data = (u_char *) arg;
    text.len = ngx_strlen(arg);

    rc = ngx_xmpp_jid_parse(ctl->pool, &text, jid);

    if (rc == NGX_ERROR) {
        return ngx_xmpp_ctl_no_memory();
    }

    if (rc == NGX_DECLINED) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                 "\"%s\" is not a JID (RFC 7622)", arg);
    }

    if (jid->local.len == 0 || jid->resource.len) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                 "\"%s\" is not the address of an account:"
                                 " that is user@domain", arg);
    }

    domain = jid->domain;

    return ngx_xmpp_ctl_domain(ctl, &domain);
}


/* prepares *domain and checks that it is served; an exit status */

static int
ngx_xmpp_ctl_domain(ngx_xmpp_ctl_t *ctl, ngx_str_t *domain)
{
    ngx_int_t             rc;
    ngx_str_t             text;
    ngx_xmpp_ctl_host_t  *host;

    text = *domain;

    rc = ngx_xmpp_jid_prep_domain(ctl->pool, &text, domain);

    if (rc == NGX_ERROR) {
        return ngx_xmpp_ctl_no_memory();
    }

    if (rc == NGX_DECLINED) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                 "\"%.*s\" is not a domain (RFC 7622)",
                                 (int) text.len, text.data);
    }

    if (!ctl->hosts_known) {
        return NGX_XMPP_CTL_OK;
    }

    for (host = ctl->hosts; host; host = host->next) {
        if (ngx_xmpp_str_eq(&host->name, domain)) {
            return NGX_XMPP_CTL_OK;
        }
    }

    (void) ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                             "no xmpp_host in nginx.conf is named %.*s; %s",
                             (int) domain->len, domain->data,
                             ctl->hosts ? "there are:" : "there are none");

    for (host = ctl->hosts; host; host = host->next) {
        (void) fprintf(stderr, "    %.*s\n", (int) host->name.len,
                       host->name.data);
    }

    return NGX_XMPP_CTL_REFUSED;
}


/*
 * Asks for the password, derives the keys and stores them in an account that
 * is new (create) or there.  *done: 0 when it was there, or was not.  An exit
 * status.
 */
static int
ngx_xmpp_ctl_store(ngx_xmpp_ctl_t *ctl, ngx_xmpp_jid_t *jid,
    ngx_uint_t create, ngx_uint_t *done)
{
    int         status;
    ngx_str_t   key, password, keys[NGX_XMPP_CTL_KEYS];
    ngx_uint_t  exists;

    if (ngx_xmpp_ctl_key(ctl, &jid->bare, "account", &key) != NGX_OK) {
        return ngx_xmpp_ctl_no_memory();
    }

    status = ngx_xmpp_ctl_connect(ctl);
    if (status != NGX_XMPP_CTL_OK) {
        return status;
    }

    /* nobody likes to type a password for nothing; the script decides */

    status = ngx_xmpp_ctl_exists(ctl, &key, &exists);

    if (status != NGX_XMPP_CTL_OK || exists == create) {
        *done = 0;
        return status;
    }

    status = ngx_xmpp_ctl_password(ctl, &jid->bare, &password);

    if (status == NGX_XMPP_CTL_OK) {
        status = ngx_xmpp_ctl_keys(ctl, jid, &password, keys);
    }

    if (status == NGX_XMPP_CTL_OK && create) {
        status = ngx_xmpp_ctl_member(ctl, "SADD", jid);
    }

    if (status == NGX_XMPP_CTL_OK) {
        status = ngx_xmpp_ctl_write(ctl, &key, keys, create, done);
    }

    return status;
}


static int
ngx_xmpp_ctl_exists(ngx_xmpp_ctl_t *ctl, ngx_str_t *key, ngx_uint_t *exists)
{
    ngx_str_t    argv[2];
    redisReply  *reply;

    ngx_str_set(&argv[0], "EXISTS");
    argv[1] = *key;

    *exists = 0;

    reply = ngx_xmpp_ctl_command(ctl, 2, argv);

    if (reply == NULL || reply->type != REDIS_REPLY_INTEGER) {
        return ngx_xmpp_ctl_bad_reply(reply);
    }

    *exists = (reply->integer != 0);

    freeReplyObject(reply);

    return NGX_XMPP_CTL_OK;
}


/* the one atomic step; *done: what the script returned; an exit status */

static int
ngx_xmpp_ctl_write(ngx_xmpp_ctl_t *ctl, ngx_str_t *key, ngx_str_t *keys,
    ngx_uint_t create, ngx_uint_t *done)
{
    u_char       date[20];
    ngx_str_t    argv[6 + 2 * NGX_XMPP_CTL_KEYS];
    ngx_uint_t   i, n;
    redisReply  *reply;

    ngx_str_set(&argv[0], "EVAL");
    argv[1] = create ? ngx_xmpp_ctl_script_create : ngx_xmpp_ctl_script_change;
    ngx_str_set(&argv[2], "1");
    argv[3] = *key;

    n = 4;

    if (create) {
        ngx_str_set(&argv[n], "created");
        argv[n + 1].data = date;
        argv[n + 1].len = ngx_xmpp_datetime(date, time(NULL)) - date;
        n += 2;
    }

    for (i = 0; i < NGX_XMPP_SCRAM_HASHES; i++) {
        argv[n++] = ngx_xmpp_scram_fields[i];
        argv[n++] = keys[i];
    }

    if (ctl->digest) {
        argv[n++] = ngx_xmpp_digest_field;
        argv[n++] = keys[NGX_XMPP_CTL_DIGEST];
    }

    reply = ngx_xmpp_ctl_command(ctl, n, argv);

    if (reply == NULL || reply->type != REDIS_REPLY_INTEGER) {
        return ngx_xmpp_ctl_bad_reply(reply);
    }

    *done = (reply->integer == 1);

    freeReplyObject(reply);

    return NGX_XMPP_CTL_OK;
}


/* the stored forms, NGX_XMPP_CTL_KEYS; wipes the password; an exit status */

static int
ngx_xmpp_ctl_keys(ngx_xmpp_ctl_t *ctl, ngx_xmpp_jid_t *jid,
    ngx_str_t *password, ngx_str_t *keys)
{
    int                     status;
    ngx_uint_t              i;
    ngx_xmpp_scram_keys_t   k;

    status = NGX_XMPP_CTL_OK;

    for (i = 0; i < NGX_XMPP_SCRAM_HASHES && status == NGX_XMPP_CTL_OK; i++) {

        k.iterations = ctl->iterations;
        k.salt_len = NGX_XMPP_SCRAM_SALT;

        if (RAND_bytes(k.salt, NGX_XMPP_SCRAM_SALT) != 1
            || ngx_xmpp_scram_derive(i, password->data, password->len, &k)
               != NGX_OK)
        {
            status = ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                       "OpenSSL refused to make %s keys",
                                       (char *) ngx_xmpp_scram_names[i].data);

        } else if (ngx_xmpp_scram_keys_format(ctl->pool, &k, &keys[i])
                   != NGX_OK)
        {
            status = ngx_xmpp_ctl_no_memory();
        }
    }

    if (status == NGX_XMPP_CTL_OK && ctl->digest) {
        status = ngx_xmpp_ctl_digest(ctl, jid, password,
                                     &keys[NGX_XMPP_CTL_DIGEST]);
    }

    OPENSSL_cleanse(password->data, password->len);
    OPENSSL_cleanse(&k, sizeof(ngx_xmpp_scram_keys_t));

    return status;
}


/* the secret of DIGEST-MD5, RFC 2831, 2.1.2.1; an exit status */

static int
ngx_xmpp_ctl_digest(ngx_xmpp_ctl_t *ctl, ngx_xmpp_jid_t *jid,
    ngx_str_t *password, ngx_str_t *key)
{
    key->len = NGX_XMPP_DIGEST_HEX;
    key->data = ngx_pnalloc(ctl->pool, key->len);

    if (key->data == NULL) {
        return ngx_xmpp_ctl_no_memory();
    }

    if (ngx_xmpp_digest_secret(&jid->local, &jid->domain, password, key->data)
        != NGX_OK)
    {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                 "OpenSSL refused MD5; without --digest-md5"
                                 " it is not needed");
    }

    return NGX_XMPP_CTL_OK;
}


/* SADD or SREM of the JID in its domain's list; an exit status */

static int
ngx_xmpp_ctl_member(ngx_xmpp_ctl_t *ctl, const char *command,
    ngx_xmpp_jid_t *jid)
{
    ngx_str_t    argv[3];
    redisReply  *reply;

    argv[0].data = (u_char *) command;
    argv[0].len = ngx_strlen(command);
    argv[2] = jid->bare;

    if (ngx_xmpp_ctl_list_key(ctl, &jid->domain, &argv[1]) != NGX_OK) {
        return ngx_xmpp_ctl_no_memory();
    }

    reply = ngx_xmpp_ctl_command(ctl, 3, argv);

    if (reply == NULL || reply->type != REDIS_REPLY_INTEGER) {
        return ngx_xmpp_ctl_bad_reply(reply);
    }

    freeReplyObject(reply);

    return NGX_XMPP_CTL_OK;
}


/*
 * Removes the record by the servers' own Function, which ends the sessions,
 * too; where none of them has loaded it yet, there are no sessions.
 */
static int
ngx_xmpp_ctl_remove(ngx_xmpp_ctl_t *ctl, ngx_xmpp_jid_t *jid,
    ngx_uint_t *removed)
{
    ngx_str_t    argv[7];
    redisReply  *reply;

    ngx_str_set(&argv[0], "FCALL");
    ngx_str_set(&argv[1], "xmpp1_remove");
    ngx_str_set(&argv[2], "3");

    if (ngx_xmpp_ctl_key(ctl, &jid->bare, "account", &argv[3]) != NGX_OK
        || ngx_xmpp_ctl_key(ctl, &jid->bare, "sessions", &argv[4]) != NGX_OK
        || ngx_xmpp_ctl_key(ctl, &jid->bare, "presence", &argv[5]) != NGX_OK
        || ngx_xmpp_ctl_channel(ctl, &jid->bare, &argv[6]) != NGX_OK)
    {
        return ngx_xmpp_ctl_no_memory();
    }

    reply = ngx_xmpp_ctl_command(ctl, 7, argv);

    if (reply && ngx_xmpp_ctl_no_function(reply)) {
        freeReplyObject(reply);

        ngx_str_set(&argv[0], "DEL");
        argv[1] = argv[3];

        reply = ngx_xmpp_ctl_command(ctl, 2, argv);
    }

    if (reply == NULL || reply->type != REDIS_REPLY_INTEGER) {
        return ngx_xmpp_ctl_bad_reply(reply);
    }

    *removed = (reply->integer > 0);

    freeReplyObject(reply);

    return NGX_XMPP_CTL_OK;
}


static ngx_uint_t
ngx_xmpp_ctl_no_function(redisReply *reply)
{
    return reply->type == REDIS_REPLY_ERROR
           && (ngx_strstr(reply->str, "Function not found") != NULL
               || ngx_strstr(reply->str, "unknown command") != NULL);
}


/* adds all members of a domain's list, page by page; an exit status */

static int
ngx_xmpp_ctl_list(ngx_xmpp_ctl_t *ctl, ngx_str_t *domain,
    ngx_xmpp_ctl_list_t *list)
{
    int          status;
    u_char       cursor[NGX_INT64_LEN + 1];
    ngx_str_t    argv[5];
    redisReply  *reply;

    ngx_str_set(&argv[0], "SSCAN");
    ngx_str_set(&argv[2], "0");
    ngx_str_set(&argv[3], "COUNT");
    ngx_str_set(&argv[4], NGX_XMPP_CTL_SCAN);

    if (ngx_xmpp_ctl_list_key(ctl, domain, &argv[1]) != NGX_OK) {
        return ngx_xmpp_ctl_no_memory();
    }

    do {
        reply = ngx_xmpp_ctl_command(ctl, 5, argv);

        if (reply == NULL || reply->type != REDIS_REPLY_ARRAY
            || reply->elements != 2
            || reply->element[0]->type != REDIS_REPLY_STRING
            || reply->element[1]->type != REDIS_REPLY_ARRAY)
        {
            return ngx_xmpp_ctl_bad_reply(reply);
        }

        argv[2].data = cursor;
        argv[2].len = ngx_cpystrn(cursor, (u_char *) reply->element[0]->str,
                                  sizeof(cursor))
                      - cursor;

        status = ngx_xmpp_ctl_list_page(ctl, reply->element[1], list);

        freeReplyObject(reply);

        if (status != NGX_XMPP_CTL_OK) {
            return status;
        }

    } while (argv[2].len != 1 || cursor[0] != '0');

    return NGX_XMPP_CTL_OK;
}


/* copies the strings of one page */

static int
ngx_xmpp_ctl_list_page(ngx_xmpp_ctl_t *ctl, redisReply *reply,
    ngx_xmpp_ctl_list_t *list)
{
    size_t       i;
    ngx_str_t   *elts, *str;
    redisReply  *member;

    if (list->n + reply->elements > list->nalloc) {

        list->nalloc = 2 * (list->n + reply->elements);

        elts = ngx_palloc(ctl->pool, list->nalloc * sizeof(ngx_str_t));
        if (elts == NULL) {
            return ngx_xmpp_ctl_no_memory();
        }

        if (list->n) {
            ngx_memcpy(elts, list->elts, list->n * sizeof(ngx_str_t));
        }

        list->elts = elts;
    }

    for (i = 0; i < reply->elements; i++) {
        member = reply->element[i];

        if (member->type != REDIS_REPLY_STRING) {
            continue;
        }

        str = &list->elts[list->n++];

        str->len = member->len;
        str->data = ngx_pnalloc(ctl->pool, member->len);

        if (str->data == NULL) {
            return ngx_xmpp_ctl_no_memory();
        }

        ngx_memcpy(str->data, member->str, member->len);
    }

    return NGX_XMPP_CTL_OK;
}


static int ngx_libc_cdecl
ngx_xmpp_ctl_cmp(const void *one, const void *two)
{
    int               rc;
    const ngx_str_t  *a, *b;

    a = one;
    b = two;

    rc = ngx_memcmp(a->data, b->data, ngx_min(a->len, b->len));

    return rc ? rc : (a->len > b->len) - (a->len < b->len);
}
