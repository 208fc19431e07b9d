
/*
 * xmppctl deluser: an account goes with all that it has, and its contacts hear
 * of it (RFC 6121, 3.2, 3.3 and 4.5: as if the user had gone, and had ended
 * each subscription).
 *
 *     account --xmpp1_remove--> what contacts have to hear, key removed
 *             --each contact, in his slot--> told --> the name in the list
 *                                                     goes, then that key
 *
 * From the first step on nobody logs in, and the sessions end on all workers;
 * who got directed presence hears that from them.  When xmppctl is killed
 * before the last step, the same command again goes on: what contacts are told
 * twice changes nothing.  A contact who is not here has no account, and the
 * Function makes nothing of it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <stdio.h>
#include "ngx_xmpp_ctl.h"


/* one contact, or one stanza for him */
typedef struct {
    ngx_str_t   *from;                      /* a full JID, or a bare one */
    ngx_str_t   *bare;                      /* the user's bare JID */
    ngx_str_t    contact;
    const char  *type;
} ngx_xmpp_ctl_farewell_t;


static int ngx_xmpp_ctl_remove(ngx_xmpp_ctl_t *ctl, ngx_xmpp_jid_t *jid,
    ngx_uint_t *removed);
static int ngx_xmpp_ctl_contacts(ngx_xmpp_ctl_t *ctl, ngx_xmpp_jid_t *jid,
    ngx_uint_t *removed);
static int ngx_xmpp_ctl_contact(ngx_xmpp_ctl_t *ctl, ngx_str_t *bare,
    ngx_str_t *contact, ngx_str_t *state, redisReply *all);
static int ngx_xmpp_ctl_unavailable(ngx_xmpp_ctl_t *ctl, ngx_str_t *bare,
    ngx_str_t *contact, redisReply *all);
static int ngx_xmpp_ctl_unsubscribe(ngx_xmpp_ctl_t *ctl,
    ngx_xmpp_ctl_farewell_t *f);
static ngx_int_t ngx_xmpp_ctl_presence(ngx_xmpp_ctl_t *ctl,
    ngx_xmpp_ctl_farewell_t *f, ngx_str_t *stanza);
static int ngx_xmpp_ctl_call(ngx_xmpp_ctl_t *ctl, ngx_uint_t argc,
    ngx_str_t *argv);
static void ngx_xmpp_ctl_slice(redisReply *reply, size_t skip, ngx_str_t *s);


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

    /* also without a record: then there is what a crash has left */

    if (status == NGX_XMPP_CTL_OK) {
        status = ngx_xmpp_ctl_contacts(ctl, &jid, &removed);
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


/*
 * Removes the record by the servers' own Function, which ends the sessions,
 * too; where none of them has loaded it yet, there are no sessions.
 */
static int
ngx_xmpp_ctl_remove(ngx_xmpp_ctl_t *ctl, ngx_xmpp_jid_t *jid,
    ngx_uint_t *removed)
{
    ngx_str_t    argv[5];
    redisReply  *reply;

    ngx_str_set(&argv[0], "FCALL");
    ngx_str_set(&argv[1], "xmpp1_remove");
    ngx_str_set(&argv[2], "1");

    if (ngx_xmpp_ctl_key(ctl, &jid->bare, "account", &argv[3]) != NGX_OK
        || ngx_xmpp_ctl_channel(ctl, &jid->bare, &argv[4]) != NGX_OK)
    {
        return ngx_xmpp_ctl_no_memory();
    }

    reply = ngx_xmpp_ctl_command(ctl, 5, argv);

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


/*
 * Tells all contacts that are left to be told; *removed: there was something to
 * be done.  The key goes last: then somebody else may have the name, and join
 * the list.
 */

static int
ngx_xmpp_ctl_contacts(ngx_xmpp_ctl_t *ctl, ngx_xmpp_jid_t *jid,
    ngx_uint_t *removed)
{
    int          status;
    size_t       i;
    ngx_str_t    argv[2], contact, state;
    redisReply  *all, *field;

    if (ngx_xmpp_ctl_key(ctl, &jid->bare, "removed", &argv[1]) != NGX_OK) {
        return ngx_xmpp_ctl_no_memory();
    }

    ngx_str_set(&argv[0], "HGETALL");

    all = ngx_xmpp_ctl_command(ctl, 2, argv);

    if (all == NULL || all->type != REDIS_REPLY_ARRAY) {
        return ngx_xmpp_ctl_bad_reply(all);
    }

    status = NGX_XMPP_CTL_OK;

    for (i = 0; i + 1 < all->elements && status == NGX_XMPP_CTL_OK; i += 2) {
        field = all->element[i];

        if (field->len > 1 && field->str[0] == 'i') {
            ngx_xmpp_ctl_slice(field, 1, &contact);
            ngx_xmpp_ctl_slice(all->element[i + 1], 0, &state);

            status = ngx_xmpp_ctl_contact(ctl, &jid->bare, &contact, &state,
                                          all);
        }
    }

    if (all->elements) {
        *removed = 1;
    }

    freeReplyObject(all);

    if (status == NGX_XMPP_CTL_OK) {
        status = ngx_xmpp_ctl_member(ctl, "SREM", jid);
    }

    if (status != NGX_XMPP_CTL_OK) {
        return status;
    }

    ngx_str_set(&argv[0], "DEL");

    return ngx_xmpp_ctl_call(ctl, 2, argv);
}


/*
 * RFC 6121, appendix A: with f he gets the user's presence, with t the user
 * gets his; i and o are requests that wait.
 */
static int
ngx_xmpp_ctl_contact(ngx_xmpp_ctl_t *ctl, ngx_str_t *bare, ngx_str_t *contact,
    ngx_str_t *state, redisReply *all)
{
    int                      status;
    ngx_uint_t               i;
    ngx_xmpp_ctl_farewell_t  f;

    static const struct {
        char                 state[2];
        const char          *type;
    } ends[] = {
        { { 't', 'o' }, "unsubscribe" },
        { { 'f', 'i' }, "unsubscribed" }
    };

    status = NGX_XMPP_CTL_OK;

    if (ngx_strlchr(state->data, state->data + state->len, 'f')) {
        status = ngx_xmpp_ctl_unavailable(ctl, bare, contact, all);
    }

    for (i = 0; i < 2 && status == NGX_XMPP_CTL_OK; i++) {

        if (ngx_strlchr(state->data, state->data + state->len,
                        ends[i].state[0]) == NULL
            && ngx_strlchr(state->data, state->data + state->len,
                           ends[i].state[1]) == NULL)
        {
            continue;
        }

        f.from = bare;
        f.bare = bare;
        f.contact = *contact;
        f.type = ends[i].type;

        status = ngx_xmpp_ctl_unsubscribe(ctl, &f);
    }

    return status;
}


/* that each session which was available is not; an exit status */

static int
ngx_xmpp_ctl_unavailable(ngx_xmpp_ctl_t *ctl, ngx_str_t *bare,
    ngx_str_t *contact, redisReply *all)
{
    int                      status;
    size_t                   i;
    u_char                  *p;
    ngx_str_t                full, resource, argv[10];
    redisReply              *field;
    ngx_xmpp_ctl_farewell_t  f;

    ngx_str_set(&argv[0], "FCALL");
    ngx_str_set(&argv[1], "xmpp1_contact");
    ngx_str_set(&argv[2], "3");
    ngx_str_set(&argv[8], "f");

    if (ngx_xmpp_ctl_key(ctl, contact, "sessions", &argv[3]) != NGX_OK
        || ngx_xmpp_ctl_key(ctl, contact, "presence", &argv[4]) != NGX_OK
        || ngx_xmpp_ctl_key(ctl, contact, "roster", &argv[5]) != NGX_OK
        || ngx_xmpp_ctl_channel(ctl, contact, &argv[6]) != NGX_OK)
    {
        return ngx_xmpp_ctl_no_memory();
    }

    status = NGX_XMPP_CTL_OK;

    for (i = 0; i + 1 < all->elements && status == NGX_XMPP_CTL_OK; i += 2) {
        field = all->element[i];

        if (field->len < 2 || field->str[0] != 'r') {
            continue;
        }

        ngx_xmpp_ctl_slice(field, 1, &resource);

        full.len = bare->len + 1 + resource.len;
        full.data = ngx_pnalloc(ctl->pool, full.len);

        if (full.data == NULL) {
            return ngx_xmpp_ctl_no_memory();
        }

        p = ngx_cpymem(full.data, bare->data, bare->len);
        *p++ = '/';
        ngx_memcpy(p, resource.data, resource.len);

        f.from = &full;
        f.bare = bare;
        f.contact = *contact;
        f.type = "unavailable";

        argv[7] = full;

        if (ngx_xmpp_ctl_presence(ctl, &f, &argv[9]) != NGX_OK) {
            return ngx_xmpp_ctl_no_memory();
        }

        status = ngx_xmpp_ctl_call(ctl, 10, argv);
    }

    return status;
}


/* one direction of a subscription ends, or a request; an exit status */

static int
ngx_xmpp_ctl_unsubscribe(ngx_xmpp_ctl_t *ctl, ngx_xmpp_ctl_farewell_t *f)
{
    ngx_uint_t  i;
    ngx_str_t   argv[15];

    static const char  *keys[] = {
        "account", "sessions", "roster", "requests", "presence"
    };

    ngx_str_set(&argv[0], "FCALL");
    ngx_str_set(&argv[1], "xmpp1_subscribe_in");
    ngx_str_set(&argv[2], "5");

    for (i = 0; i < 5; i++) {
        if (ngx_xmpp_ctl_key(ctl, &f->contact, keys[i], &argv[3 + i])
            != NGX_OK)
        {
            return ngx_xmpp_ctl_no_memory();
        }
    }

    argv[9] = f->contact;
    argv[10] = *f->bare;
    argv[11].data = (u_char *) f->type;
    argv[11].len = ngx_strlen(f->type);

    /* no request is added; XEP-0191 does not keep it from being told */

    ngx_str_set(&argv[13], "0");
    ngx_str_set(&argv[14], "1");

    if (ngx_xmpp_ctl_channel(ctl, &f->contact, &argv[8]) != NGX_OK
        || ngx_xmpp_ctl_presence(ctl, f, &argv[12]) != NGX_OK)
    {
        return ngx_xmpp_ctl_no_memory();
    }

    return ngx_xmpp_ctl_call(ctl, 15, argv);
}


/* the stanza for the contact; NGX_OK or NGX_ERROR (no memory) */

static ngx_int_t
ngx_xmpp_ctl_presence(ngx_xmpp_ctl_t *ctl, ngx_xmpp_ctl_farewell_t *f,
    ngx_str_t *stanza)
{
    u_char  *p;

    p = ngx_pnalloc(ctl->pool, sizeof("<presence xmlns='jabber:client' from=''"
                                      " to='' type='unsubscribed'/>")
                               + (f->from->len + f->contact.len)
                                 * (sizeof("&apos;") - 1));
    if (p == NULL) {
        return NGX_ERROR;
    }

    stanza->data = p;

    p = ngx_xmpp_ctl_text(p, "<presence xmlns='jabber:client' from='");
    p = ngx_xmpp_ctl_escape(p, f->from);
    p = ngx_xmpp_ctl_text(p, "' to='");
    p = ngx_xmpp_ctl_escape(p, &f->contact);
    p = ngx_xmpp_ctl_text(p, "' type='");
    p = ngx_xmpp_ctl_text(p, f->type);
    p = ngx_xmpp_ctl_text(p, "'/>");

    stanza->len = p - stanza->data;

    return NGX_OK;
}


/* whatever it answers, but an error; an exit status */

static int
ngx_xmpp_ctl_call(ngx_xmpp_ctl_t *ctl, ngx_uint_t argc, ngx_str_t *argv)
{
    redisReply  *reply;

    reply = ngx_xmpp_ctl_command(ctl, argc, argv);

    if (reply == NULL
        || (reply->type == REDIS_REPLY_ERROR
            && !ngx_xmpp_ctl_no_function(reply)))
    {
        return ngx_xmpp_ctl_bad_reply(reply);
    }

    freeReplyObject(reply);

    return NGX_XMPP_CTL_OK;
}


static void
ngx_xmpp_ctl_slice(redisReply *reply, size_t skip, ngx_str_t *s)
{
    s->data = (u_char *) reply->str + skip;
    s->len = reply->len - skip;
}
