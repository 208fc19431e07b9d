/*
 * Carbons (XEP-0280): which messages are copied to the other sessions of an
 * account, and how the copies are made.
 *
 *     message --eligible?--> routed; the bell names, beside those who get it,
 *                            the recipient's sessions that get a carbon
 *                  done  --> the sender's slot, if other sessions of the sender
 *                            have asked: a bell of its own for them
 *     bell    --> each worker wraps the stanza for its sessions (XEP-0297)
 *
 * Nothing of it is stored: what goes through Redis is the stanza itself, once.
 * The sender's stanza, or batch, waits for the second command, so a carbon
 * does not overtake what the same session sent before, nor is it overtaken.
 * The same command archives it for the sender (XEP-0313), if it was routed.
 *
 * A worker knows of its own sessions who has asked.  Of those in other workers
 * it knows that there may be some: a bell tells it when somebody asks, or binds
 * while somebody has; each reply of the two Functions tells it anew, with the
 * number of the bell at which it was so.  It never knows too little, so an
 * account with one session, or without carbons, pays no command for them.
 */


#include "ngx_xmpp.h"


static ngx_uint_t ngx_xmpp_carbon_eligible(ngx_xmpp_stanza_t *stz,
    ngx_uint_t *muc);
static ngx_uint_t ngx_xmpp_carbon_payload(ngx_xmpp_xml_t *e);
static void ngx_xmpp_carbon_done(void *data, ngx_xmpp_store_result_t *res);
static void ngx_xmpp_carbon_type(ngx_str_t *stanza, ngx_str_t *type);
static u_char *ngx_xmpp_carbon_write(u_char *p, ngx_xmpp_session_t *xs,
    ngx_str_t *name, ngx_str_t *stanza, ngx_xmpp_entry_t *entry);


static ngx_str_t  ngx_xmpp_carbon_ns = ngx_string("urn:xmpp:carbons:2");
static ngx_str_t  ngx_xmpp_carbon_hints = ngx_string("urn:xmpp:hints");
static ngx_str_t  ngx_xmpp_carbon_conference =
    ngx_string("jabber:x:conference");
static ngx_str_t  ngx_xmpp_carbon_muc =
    ngx_string("http://jabber.org/protocol/muc#user");

/* XEP-0184, XEP-0085, XEP-0333 */
static ngx_str_t  ngx_xmpp_carbon_payloads[] = {
    ngx_string("urn:xmpp:receipts"),
    ngx_string("http://jabber.org/protocol/chatstates"),
    ngx_string("urn:xmpp:chat-markers:0"),
    ngx_null_string
};

static ngx_str_t  ngx_xmpp_carbon_types[] = {
    ngx_string(" type='chat'"),
    ngx_string(" type='normal'"),
    ngx_string(" type='error'"),
    ngx_null_string
};

static ngx_str_t  ngx_xmpp_carbon_names[] = {
    ngx_string("received"), ngx_string("sent")
};


void
ngx_xmpp_carbon_prepare(ngx_xmpp_stanza_t *stz)
{
    ngx_uint_t           muc;
    ngx_xmpp_session_t  *xs;

    xs = stz->session;

    if (!xs->host->carbons && !(stz->host && stz->host->carbons)) {
        return;
    }

    if (!ngx_xmpp_carbon_eligible(stz, &muc)) {
        return;
    }

    /* XEP-0280, 6.1: the room copies to all of the recipient's clients */

    stz->copy_received = (!muc && stz->host && stz->host->carbons);

    /* to oneself it is the same slot: those who get a copy get one */

    stz->copy_sent = (xs->host->carbons
                      && (!muc || (stz->mask & NGX_XMPP_TO_FULL))
                      && !ngx_xmpp_str_eq(&stz->to.bare, &xs->jid.bare));
}


/*
 * XEP-0280, 6.1.  Of an error it is not known what it answers, so its own
 * content decides.  *muc is 1 for a private message in a room.
 */

static ngx_uint_t
ngx_xmpp_carbon_eligible(ngx_xmpp_stanza_t *stz, ngx_uint_t *muc)
{
    ngx_uint_t       eligible;
    ngx_xmpp_xml_t  *e;

    *muc = 0;

    switch (stz->type) {

    case NGX_XMPP_TYPE_CHAT:
        eligible = 1;
        break;

    case NGX_XMPP_TYPE_NONE:
    case NGX_XMPP_TYPE_ERROR:
        eligible = 0;
        break;

    default:
        return 0;
    }

    for (e = ngx_xmpp_xml_child(stz->xml, NULL, NULL);
         e;
         e = ngx_xmpp_xml_next(e))
    {
        if (ngx_xmpp_xml_is(e, "body", &ngx_xmpp_ns_client)) {
            eligible = 1;

        } else if (ngx_xmpp_xml_is(e, "private", &ngx_xmpp_carbon_ns)) {
            return 0;

        } else if (ngx_xmpp_xml_is(e, "no-copy", &ngx_xmpp_carbon_hints)) {

            /* XEP-0334, 5: hints in an error are those of the original */

            if (stz->session->host->hints
                && stz->type != NGX_XMPP_TYPE_ERROR)
            {
                return 0;
            }

        } else if (ngx_xmpp_xml_is(e, "x", &ngx_xmpp_carbon_muc)) {

            if (ngx_xmpp_xml_child(e, "invite", &ngx_xmpp_carbon_muc)) {
                eligible = 1;

            } else {
                *muc = 1;
            }

        } else if (!eligible) {
            eligible = ngx_xmpp_carbon_payload(e);
        }
    }

    return eligible;
}


static ngx_uint_t
ngx_xmpp_carbon_payload(ngx_xmpp_xml_t *e)
{
    ngx_str_t  *ns;

    if (ngx_xmpp_xml_is(e, "x", &ngx_xmpp_carbon_conference)) {
        return 1;
    }

    for (ns = ngx_xmpp_carbon_payloads; ns->len; ns++) {
        if (ngx_xmpp_xml_same(&e->ns, ns)) {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_xmpp_carbon_others(ngx_xmpp_account_t *a, ngx_xmpp_session_t *xs,
    ngx_xmpp_session_t *sender)
{
    ngx_queue_t         *q;
    ngx_xmpp_session_t  *other;

    if (a->carbons) {
        return 1;
    }

    for (q = ngx_queue_head(&a->sessions);
         q != ngx_queue_sentinel(&a->sessions);
         q = ngx_queue_next(q))
    {
        other = ngx_queue_data(q, ngx_xmpp_session_t, queue);

        if (other != xs && other != sender
            && ngx_xmpp_session_flag(other, NGX_XMPP_CARBON_FLAG))
        {
            return 1;
        }
    }

    return 0;
}


void
ngx_xmpp_carbon_known(ngx_xmpp_account_t *a, uint64_t number,
    ngx_uint_t elsewhere)
{
    /* a bell on another socket may be newer */

    if (number >= a->carbons_number) {
        a->carbons_number = number;
        a->carbons = elsewhere;
    }
}


ngx_int_t
ngx_xmpp_carbon_sent(ngx_xmpp_stanza_t *stz, ngx_int_t rc)
{
    ngx_uint_t                archive, copies;
    ngx_xmpp_session_t       *xs;
    ngx_xmpp_store_route_t    r;
    ngx_xmpp_store_stanza_t   stanzas[NGX_XMPP_STORE_BATCH];

    xs = stz->session;

    copies = (stz->copy_sent && ngx_xmpp_carbon_others(xs->account, xs, xs));

    /* XEP-0313, 6.1: what comes back was not sent */

    archive = (stz->archive_sent && rc == NGX_OK);

    if (!copies && !archive) {
        return NGX_DECLINED;
    }

    ngx_memzero(&r, sizeof(ngx_xmpp_store_route_t));

    r.tag = &xs->account->sn.str;
    r.sid = &xs->sid;
    r.to = &stz->to.full;
    r.copies = copies;
    r.archive = archive ? &xs->host->archive : NULL;

    ngx_xmpp_repeat_identify(&r, stanzas, stz);

    stz->outcome = rc;

    if (ngx_xmpp_store_copy(xs->worker->store, stz->pool, &r,
                            ngx_xmpp_carbon_done, stz)
        == NULL)
    {
        ngx_log_error(NGX_LOG_ERR, xs->worker->log, 0,
                      "xmpp could not archive a message of \"%V\", or copy it "
                      "to the other sessions of the account", &xs->jid.full);
        return NGX_DECLINED;
    }

    return NGX_AGAIN;
}


/* whatever comes of it, the message itself has its outcome */

static void
ngx_xmpp_carbon_done(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_stanza_t *stz = data;

    ngx_xmpp_account_t  *a;

    a = stz->session->account;

    if (res->rc == NGX_OK || res->rc == NGX_DECLINED) {

        if (res->rc == NGX_OK && a->rung < res->number) {
            a->rung = res->number;
        }

        /* Redis takes the sender's worker from its sid */

        if (res->reply->elements > 2
            && (res->epoch || !stz->session->moved))
        {
            ngx_xmpp_carbon_known(a, res->number, res->epoch != 0);
        }

    } else {
        ngx_log_error(NGX_LOG_ERR, stz->session->worker->log, 0,
                      "xmpp does not know whether a message of \"%V\" was "
                      "archived, or copied to the other sessions of the "
                      "account", &stz->session->jid.full);
    }

    ngx_xmpp_batch_done(stz, stz->outcome);
}


/*
 * XEP-0280, 7 and 8; XEP-0297: each stanza in a message of its own, from the
 * account's bare JID, of the same type; XEP-0313, 3.5: with its place in the
 * account's archive.
 */

void
ngx_xmpp_carbon_deliver(ngx_xmpp_session_t *xs, ngx_xmpp_store_bell_t *bell,
    u_char mark)
{
    u_char                    *p, *pos;
    size_t                     size;
    ngx_str_t                 *name, stanza;
    ngx_xmpp_packet_t         *pkt;
    ngx_xmpp_entry_t   entry;

    name = &ngx_xmpp_carbon_names[mark == 's'];

    /* with the longest of the types */

    size = sizeof("<message xmlns='jabber:client' from='' to='' type='normal'>"
                  "< xmlns=''><forwarded xmlns='urn:xmpp:forward:0'>"
                  "</forwarded></></message>") - 1
           + ngx_xmpp_xml_escape_size(&xs->jid.bare)
           + ngx_xmpp_xml_escape_size(&xs->jid.full)
           + 2 * name->len + ngx_xmpp_carbon_ns.len
           + ngx_xmpp_stanza_id_size(&xs->jid.bare);

    pkt = ngx_xmpp_packet_alloc(xs->worker->log,
                                bell->stanzas * size + bell->body.len);
    if (pkt == NULL) {
        return;
    }

    p = pkt->data;
    pos = bell->lengths.data;

    ngx_str_null(&stanza);

    entry.number = bell->number;
    entry.index = 0;

    while (ngx_xmpp_store_bell_next(bell, &pos, &stanza) == NGX_OK) {
        p = ngx_xmpp_carbon_write(p, xs, name, &stanza,
                                  bell->epoch ? &entry : NULL);
        entry.index++;
    }

    pkt->len = p - pkt->data;
    pkt->stanzas = bell->stanzas;

    ngx_xmpp_session_deliver(xs, pkt);
    ngx_xmpp_packet_release(pkt);
}


/*
 * The type of a stanza as we write them, one of those that are eligible, or
 * none: a ">" or a quote in a value would be escaped.
 */

static void
ngx_xmpp_carbon_type(ngx_str_t *stanza, ngx_str_t *type)
{
    u_char     *p, *end;
    ngx_str_t  *t;

    ngx_str_null(type);

    end = ngx_strlchr(stanza->data, stanza->data + stanza->len, '>');
    if (end == NULL) {
        return;
    }

    for (t = ngx_xmpp_carbon_types; t->len; t++) {
        p = ngx_strnstr(stanza->data, (char *) t->data, end - stanza->data);

        if (p) {
            *type = *t;
            return;
        }
    }
}


static u_char *
ngx_xmpp_carbon_write(u_char *p, ngx_xmpp_session_t *xs, ngx_str_t *name,
    ngx_str_t *stanza, ngx_xmpp_entry_t *entry)
{
    ngx_str_t  type;

    ngx_xmpp_carbon_type(stanza, &type);

    p = ngx_cpymem(p, "<message xmlns='jabber:client' from='",
                   sizeof("<message xmlns='jabber:client' from='") - 1);
    p = ngx_xmpp_xml_escape(p, &xs->jid.bare);
    p = ngx_cpymem(p, "' to='", sizeof("' to='") - 1);
    p = ngx_xmpp_xml_escape(p, &xs->jid.full);
    *p++ = '\'';
    p = ngx_cpymem(p, type.data, type.len);

    p = ngx_sprintf(p, "><%V xmlns='%V'><forwarded xmlns='urn:xmpp:forward:0'>",
                    name, &ngx_xmpp_carbon_ns);
    p = ngx_xmpp_stanza_id_copy(p, xs, stanza, entry);

    return ngx_sprintf(p, "</forwarded></%V></message>", name);
}
