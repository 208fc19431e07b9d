
/*
 * xmppctl adduser, passwd, disable, enable.
 *
 *   PREFIX:{user@domain}:account   hash: created (XEP-0082), scram-sha-1,
 *                                  scram-sha-256, scram-sha-512,
 *                                  digest-md5 (only if asked for), disabled
 *                                  (XEP-0082, while it is)
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


static int ngx_xmpp_ctl_able(ngx_xmpp_ctl_t *ctl, char *arg, ngx_str_t *date);
static int ngx_xmpp_ctl_store(ngx_xmpp_ctl_t *ctl, ngx_xmpp_jid_t *jid,
    ngx_uint_t create, ngx_uint_t *done);
static int ngx_xmpp_ctl_exists(ngx_xmpp_ctl_t *ctl, ngx_str_t *key,
    ngx_uint_t *exists);
static int ngx_xmpp_ctl_free(ngx_xmpp_ctl_t *ctl, ngx_xmpp_jid_t *jid);
static int ngx_xmpp_ctl_unfinished(ngx_xmpp_jid_t *jid);
static int ngx_xmpp_ctl_write(ngx_xmpp_ctl_t *ctl, ngx_xmpp_jid_t *jid,
    ngx_str_t *keys, ngx_uint_t create, ngx_uint_t *done);
static int ngx_xmpp_ctl_keys(ngx_xmpp_ctl_t *ctl, ngx_xmpp_jid_t *jid,
    ngx_str_t *password, ngx_str_t *keys);
static int ngx_xmpp_ctl_digest(ngx_xmpp_ctl_t *ctl, ngx_xmpp_jid_t *jid,
    ngx_str_t *password, ngx_str_t *key);


/* contacts of the account before may not know that it has gone */

static const ngx_str_t  ngx_xmpp_ctl_script_create = ngx_string(
    "if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end "
    "if redis.call('EXISTS', KEYS[2]) == 1 then return 2 end "
    "redis.call('HSET', KEYS[1], unpack(ARGV)) "
    "return 1");

/* the secret of an old password must not stay */

static const ngx_str_t  ngx_xmpp_ctl_script_change = ngx_string(
    "if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end "
    "redis.call('HDEL', KEYS[1], 'digest-md5') "
    "redis.call('HSET', KEYS[1], unpack(ARGV)) "
    "return 1");


/* where no worker has loaded xmpp1_disable yet, there are no sessions */

static const ngx_str_t  ngx_xmpp_ctl_script_disable = ngx_string(
    "if redis.call('EXISTS', KEYS[1]) == 0 then return { 'none' } end "
    "if ARGV[2] == '' then redis.call('HDEL', KEYS[1], 'disabled') "
    "else redis.call('HSETNX', KEYS[1], 'disabled', ARGV[2]) end "
    "return { 'ok', 0, 0 }");


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


/* disable JID; an exit status */

int
ngx_xmpp_ctl_disable(ngx_xmpp_ctl_t *ctl, int argc, char **argv)
{
    u_char     text[20];
    ngx_str_t  date;

    date.data = text;
    date.len = ngx_xmpp_datetime(text, time(NULL)) - text;

    return ngx_xmpp_ctl_able(ctl, argv[0], &date);
}


/* enable JID; an exit status */

int
ngx_xmpp_ctl_enable(ngx_xmpp_ctl_t *ctl, int argc, char **argv)
{
    ngx_str_t  date;

    ngx_str_set(&date, "");

    return ngx_xmpp_ctl_able(ctl, argv[0], &date);
}


/* date: of now; len 0: enabled.  An exit status */

static int
ngx_xmpp_ctl_able(ngx_xmpp_ctl_t *ctl, char *arg, ngx_str_t *date)
{
    int              status;
    long long        n;
    ngx_str_t        argv[7];
    redisReply      *reply;
    ngx_xmpp_jid_t   jid;

    status = ngx_xmpp_ctl_jid(ctl, arg, &jid);

    if (status == NGX_XMPP_CTL_OK) {
        status = ngx_xmpp_ctl_connect(ctl);
    }

    if (status != NGX_XMPP_CTL_OK) {
        return status;
    }

    ngx_str_set(&argv[0], "FCALL");
    ngx_str_set(&argv[1], "xmpp1_disable");
    ngx_str_set(&argv[2], "2");
    argv[6] = *date;

    if (ngx_xmpp_ctl_key(ctl, &jid.bare, "account", &argv[3]) != NGX_OK
        || ngx_xmpp_ctl_key(ctl, &jid.bare, "sessions", &argv[4]) != NGX_OK
        || ngx_xmpp_ctl_channel(ctl, &jid.bare, &argv[5]) != NGX_OK)
    {
        return ngx_xmpp_ctl_no_memory();
    }

    reply = ngx_xmpp_ctl_command(ctl, 7, argv);

    if (reply && ngx_xmpp_ctl_no_function(reply)) {
        freeReplyObject(reply);

        ngx_str_set(&argv[0], "EVAL");
        argv[1] = ngx_xmpp_ctl_script_disable;

        reply = ngx_xmpp_ctl_command(ctl, 7, argv);
    }

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY
        || reply->elements == 0)
    {
        return ngx_xmpp_ctl_bad_reply(reply);
    }

    status = (reply->elements == 3) ? NGX_XMPP_CTL_OK : NGX_XMPP_CTL_REFUSED;
    n = (reply->elements == 3) ? reply->element[1]->integer : 0;

    freeReplyObject(reply);

    if (status == NGX_XMPP_CTL_REFUSED) {
        return ngx_xmpp_ctl_fail(status, "there is no account %.*s",
                                 (int) jid.bare.len, jid.bare.data);
    }

    (void) printf("%.*s %s", (int) jid.bare.len, jid.bare.data,
                  date->len ? "disabled" : "enabled");

    if (n) {
        (void) printf(", %lld session%s ended", n, n == 1 ? "" : "s");
    }

    (void) printf("\n");

    return NGX_XMPP_CTL_OK;
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

    if (create) {
        status = ngx_xmpp_ctl_free(ctl, jid);

        if (status != NGX_XMPP_CTL_OK) {
            return status;
        }
    }

    status = ngx_xmpp_ctl_password(ctl, &jid->bare, &password);

    if (status == NGX_XMPP_CTL_OK) {
        status = ngx_xmpp_ctl_keys(ctl, jid, &password, keys);
    }

    if (status == NGX_XMPP_CTL_OK && create) {
        status = ngx_xmpp_ctl_member(ctl, "SADD", jid);
    }

    if (status == NGX_XMPP_CTL_OK) {
        status = ngx_xmpp_ctl_write(ctl, jid, keys, create, done);
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


/*
 * A removal takes the name off the list, and then frees it: who joins the list
 * does so after that.  An exit status.
 */
static int
ngx_xmpp_ctl_free(ngx_xmpp_ctl_t *ctl, ngx_xmpp_jid_t *jid)
{
    int         status;
    ngx_str_t   key;
    ngx_uint_t  exists;

    if (ngx_xmpp_ctl_key(ctl, &jid->bare, "removed", &key) != NGX_OK) {
        return ngx_xmpp_ctl_no_memory();
    }

    status = ngx_xmpp_ctl_exists(ctl, &key, &exists);

    return (status == NGX_XMPP_CTL_OK && exists) ? ngx_xmpp_ctl_unfinished(jid)
                                                 : status;
}


static int
ngx_xmpp_ctl_unfinished(ngx_xmpp_jid_t *jid)
{
    return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                             "the removal of an account %.*s was not"
                             " completed; xmppctl deluser completes it",
                             (int) jid->bare.len, jid->bare.data);
}


/* the one atomic step; *done: what the script returned; an exit status */

static int
ngx_xmpp_ctl_write(ngx_xmpp_ctl_t *ctl, ngx_xmpp_jid_t *jid,
    ngx_str_t *keys, ngx_uint_t create, ngx_uint_t *done)
{
    u_char       date[20];
    ngx_str_t    argv[7 + 2 * NGX_XMPP_CTL_KEYS];
    long long    answer;
    ngx_uint_t   i, n;
    redisReply  *reply;

    ngx_str_set(&argv[0], "EVAL");
    argv[1] = create ? ngx_xmpp_ctl_script_create : ngx_xmpp_ctl_script_change;
    ngx_str_set(&argv[2], "2");

    if (ngx_xmpp_ctl_key(ctl, &jid->bare, "account", &argv[3]) != NGX_OK
        || ngx_xmpp_ctl_key(ctl, &jid->bare, "removed", &argv[4]) != NGX_OK)
    {
        return ngx_xmpp_ctl_no_memory();
    }

    n = 5;

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

    answer = reply->integer;

    freeReplyObject(reply);

    if (answer == 2) {
        return ngx_xmpp_ctl_unfinished(jid);
    }

    *done = (answer == 1);

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


int
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
