/*
 * Which messages are kept: in the inbox until a session has taken them, and in
 * the archives of both sides (XEP-0313, 6.1.1).
 *
 * XEP-0160, 3: those of type normal and chat, but not what nobody would miss
 * later, like chat states alone; XEP-0334, 4: as the sender wishes.  It is
 * decided once, when a stanza is stamped, from its elements; nothing waits
 * here.
 */


#include "ngx_xmpp.h"


/* what is worth keeping without a body */
typedef struct {
    ngx_str_t                   ns;
    ngx_str_t                   name;           /* len 0: any */
} ngx_xmpp_inbox_payload_t;


static ngx_uint_t ngx_xmpp_inbox_payload(ngx_xmpp_xml_t *e);


static ngx_str_t  ngx_xmpp_inbox_hints = ngx_string("urn:xmpp:hints");

static ngx_xmpp_inbox_payload_t  ngx_xmpp_inbox_payloads[] = {
    { ngx_string("jabber:client"),
      ngx_string("body") },
    { ngx_string("eu.siacs.conversations.axolotl"),
      ngx_string("encrypted") },
    { ngx_string("urn:xmpp:omemo:2"),
      ngx_string("encrypted") },
    { ngx_string("urn:xmpp:openpgp:0"),
      ngx_string("openpgp") },
    { ngx_string("jabber:x:encrypted"),
      ngx_string("x") },
    { ngx_string("urn:xmpp:receipts"),
      ngx_string("received") },
    { ngx_string("urn:xmpp:chat-markers:0"), ngx_null_string },
    { ngx_string("urn:xmpp:reactions:0"),
      ngx_string("reactions") },
    { ngx_string("urn:xmpp:message-retract:1"),
      ngx_string("retract") },
    { ngx_string("urn:xmpp:fasten:0"),
      ngx_string("apply-to") },
    { ngx_string("urn:xmpp:jingle-message:0"), ngx_null_string },
    { ngx_string("urn:xmpp:call-invites:0"), ngx_null_string },
    { ngx_string("jabber:x:conference"),
      ngx_string("x") },
    { ngx_string("http://jabber.org/protocol/muc#user"),
      ngx_string("x") },
    { ngx_null_string, ngx_null_string }
};


/*
 * XEP-0160, 3: of type normal and chat, but not chat states alone; XEP-0334,
 * 4.1, 4.2 and 4.4: as the sender wishes.
 */

void
ngx_xmpp_inbox_prepare(ngx_xmpp_stanza_t *stz)
{
    ngx_uint_t        keep, once;
    ngx_xmpp_xml_t   *e;
    ngx_xmpp_host_t  *h, *own;

    h = stz->host;
    own = stz->session->host;

    if ((stz->mask & NGX_XMPP_TO_HOST)
        || (stz->type != NGX_XMPP_TYPE_CHAT && stz->type != NGX_XMPP_TYPE_NONE)
        || ((h == NULL || (h->keep.len == 0 && h->archive.len == 0))
            && own->archive.len == 0))
    {
        return;
    }

    keep = 0;
    once = 0;

    for (e = ngx_xmpp_xml_child(stz->xml, NULL, NULL);
         e;
         e = ngx_xmpp_xml_next(e))
    {
        if (own->hints
            && ngx_xmpp_xml_same(&e->ns, &ngx_xmpp_inbox_hints))
        {
            if (ngx_xmpp_xml_is(e, "no-store", &ngx_xmpp_inbox_hints)) {
                return;
            }

            if (ngx_xmpp_xml_is(e, "no-permanent-store",
                                &ngx_xmpp_inbox_hints))
            {
                once = 1;

            } else if (ngx_xmpp_xml_is(e, "store", &ngx_xmpp_inbox_hints)) {
                keep = 1;
            }

        } else if (!keep) {
            keep = ngx_xmpp_inbox_payload(e);
        }
    }

    stz->keep = (keep && h && h->keep.len);
    stz->archive_received = (keep && !once && h && h->archive.len);

    /* to oneself it is the same archive */

    stz->archive_sent = (keep && !once && own->archive.len
                         && !ngx_xmpp_str_eq(&stz->to.bare,
                                             &stz->session->jid.bare));
}


static ngx_uint_t
ngx_xmpp_inbox_payload(ngx_xmpp_xml_t *e)
{
    ngx_xmpp_inbox_payload_t  *p;

    for (p = ngx_xmpp_inbox_payloads; p->ns.len; p++) {
        if (ngx_xmpp_xml_same(&e->ns, &p->ns)
            && (p->name.len == 0 || ngx_xmpp_xml_same(&e->name, &p->name)))
        {
            return 1;
        }
    }

    return 0;
}


void
ngx_xmpp_inbox_full(ngx_xmpp_stanza_t *stz, ngx_xmpp_store_result_t *res)
{
    redisReply  *first;

    first = res->reply->element[0];

    if (first->len != 4 || ngx_memcmp(first->str, "full", 4) != 0) {
        return;
    }

    for ( /* void */ ; stz; stz = stz->next) {
        (void) ngx_xmpp_refuse(stz, NGX_OK, "The recipient is away, and has no "
                               "room for more messages.");
    }
}
