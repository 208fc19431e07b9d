/*
 * What an inactive client can wait for (XEP-0352, 3.2): presence, and messages
 * that have a chat state and nothing else.  All else matters, and so does what
 * is not known here.
 *
 *     presence       available and unavailable: the last one of a full JID
 *                    tells all.  Not in a room, when it says more than who the
 *                    occupant is (XEP-0045): a status, as that of one's own
 *                    presence, which ends a join, or the room's end
 *     message        only children that say nothing by themselves beside a
 *                    chat state (XEP-0085).  Not one with an <error/>, nor with
 *                    a <delay/>: it was kept, and the server waits until it is
 *                    written
 *     carbon         received, of such a message (XEP-0280).  One that was sent
 *                    tells that the user is at another client, and that what is
 *                    shown here was seen
 *
 * The packet's bytes were made by the writer, or as it makes them.  They are
 * read up to the first child that matters; a message with a body has it first,
 * mostly.  Of several stanzas, which one session has sent one after the other,
 * the last one tells all, if none matters.  Pure: no state, no memory.
 */


#include "ngx_xmpp_csi.h"


typedef struct {
    const char      *name;
    const char      *ns;                /* "": that of the message */
} ngx_xmpp_csi_child_t;


static ngx_int_t ngx_xmpp_csi_stanza(ngx_xmpp_xml_cursor_t *c,
    ngx_xmpp_csi_kind_t *kind);
static ngx_int_t ngx_xmpp_csi_presence(ngx_xmpp_xml_cursor_t *c,
    ngx_xmpp_csi_kind_t *kind);
static ngx_int_t ngx_xmpp_csi_message(ngx_xmpp_xml_cursor_t *c,
    ngx_xmpp_csi_kind_t *kind);
static ngx_int_t ngx_xmpp_csi_carbon(ngx_xmpp_xml_cursor_t *c,
    ngx_xmpp_csi_kind_t *kind);
static ngx_uint_t ngx_xmpp_csi_silent(ngx_xmpp_xml_cursor_t *c);
static ngx_uint_t ngx_xmpp_csi_chat_state(ngx_xmpp_xml_cursor_t *c);


/* <store/> (XEP-0334, 4.4) is not among them */

static ngx_xmpp_csi_child_t  ngx_xmpp_csi_children[] = {
    { "thread", "" },
    { "no-store", "urn:xmpp:hints" },
    { "no-permanent-store", "urn:xmpp:hints" },
    { "no-copy", "urn:xmpp:hints" },
    { "private", "urn:xmpp:carbons:2" },
    { "origin-id", "urn:xmpp:sid:0" },
    { "stanza-id", "urn:xmpp:sid:0" },
    { "occupant-id", "urn:xmpp:occupant-id:0" },
    { NULL, NULL }
};


ngx_int_t
ngx_xmpp_csi_kind(ngx_xmpp_packet_t *pkt, ngx_xmpp_csi_kind_t *kind)
{
    ngx_uint_t             n;
    ngx_xmpp_xml_cursor_t  c;

    ngx_xmpp_xml_cursor_init(&c, pkt->data, pkt->len);

    kind->delayed = 0;

    for (n = 0; n < pkt->stanzas; n++) {
        kind->stanza.data = c.pos;

        if (ngx_xmpp_csi_stanza(&c, kind) != NGX_OK || c.open) {
            return NGX_DECLINED;
        }
    }

    kind->stanza.len = c.pos - kind->stanza.data;

    return (c.pos == c.last) ? NGX_OK : NGX_DECLINED;
}


/* moves c behind the end of a stanza that can wait */

static ngx_int_t
ngx_xmpp_csi_stanza(ngx_xmpp_xml_cursor_t *c, ngx_xmpp_csi_kind_t *kind)
{
    if (ngx_xmpp_xml_cursor_next(c) != NGX_OK || !c->start) {
        return NGX_DECLINED;
    }

    if (ngx_xmpp_xml_cursor_is(c, "presence", "jabber:client")) {
        kind->kind = NGX_XMPP_CSI_PRESENCE;

        return ngx_xmpp_csi_presence(c, kind);
    }

    if (ngx_xmpp_xml_cursor_is(c, "message", "jabber:client")) {
        kind->kind = NGX_XMPP_CSI_CHAT_STATE;

        return ngx_xmpp_csi_message(c, kind);
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_xmpp_csi_presence(ngx_xmpp_xml_cursor_t *c, ngx_xmpp_csi_kind_t *kind)
{
    ngx_str_t   type;
    ngx_uint_t  muc;

    if (ngx_xmpp_xml_cursor_attr(c, "type", &type) == NGX_OK
        && (type.len != sizeof("unavailable") - 1
            || ngx_memcmp(type.data, "unavailable", type.len) != 0))
    {
        return NGX_DECLINED;
    }

    if (ngx_xmpp_xml_cursor_attr(c, "from", &kind->from) != NGX_OK) {
        return NGX_DECLINED;
    }

    muc = 0;

    while (c->open && ngx_xmpp_xml_cursor_next(c) == NGX_OK) {

        if (!c->start) {
            continue;
        }

        if (c->depth == 1) {
            muc = ngx_xmpp_xml_cursor_is(c, "x",
                                         "http://jabber.org/protocol/muc#user");

            kind->delayed |= ngx_xmpp_xml_cursor_is(c, "delay",
                                                    "urn:xmpp:delay");

        } else if (c->depth == 2 && muc
                   && !ngx_xmpp_xml_cursor_is(c, "item", ""))
        {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


/* c is at the start of the message, the packet's or that in a carbon */

static ngx_int_t
ngx_xmpp_csi_message(ngx_xmpp_xml_cursor_t *c, ngx_xmpp_csi_kind_t *kind)
{
    ngx_uint_t  depth, state;

    if (ngx_xmpp_xml_cursor_attr(c, "from", &kind->from) != NGX_OK) {
        return NGX_DECLINED;
    }

    state = 0;
    depth = c->depth + 1;

    while (c->open >= depth && ngx_xmpp_xml_cursor_next(c) == NGX_OK) {

        if (!c->start || c->depth != depth) {
            continue;
        }

        if (ngx_xmpp_csi_chat_state(c)) {
            state = 1;

        } else if (depth == 1
                   && ngx_xmpp_xml_cursor_is(c, "received",
                                             "urn:xmpp:carbons:2"))
        {
            return ngx_xmpp_csi_carbon(c, kind);

        } else if (!ngx_xmpp_csi_silent(c)) {
            return NGX_DECLINED;
        }
    }

    return (state && c->open < depth) ? NGX_OK : NGX_DECLINED;
}


/* c is at <received/>, which is all that is in the packet (XEP-0280, 7) */

static ngx_int_t
ngx_xmpp_csi_carbon(ngx_xmpp_xml_cursor_t *c, ngx_xmpp_csi_kind_t *kind)
{
    if (ngx_xmpp_xml_cursor_next(c) != NGX_OK || !c->start || c->depth != 2
        || !ngx_xmpp_xml_cursor_is(c, "forwarded", "urn:xmpp:forward:0")
        || ngx_xmpp_xml_cursor_next(c) != NGX_OK || !c->start || c->depth != 3
        || !ngx_xmpp_xml_cursor_is(c, "message", "jabber:client"))
    {
        return NGX_DECLINED;
    }

    kind->kind = NGX_XMPP_CSI_CARBON;

    if (ngx_xmpp_csi_message(c, kind) != NGX_OK) {
        return NGX_DECLINED;
    }

    while (c->open && ngx_xmpp_xml_cursor_next(c) == NGX_OK) {
        if (c->start) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_xmpp_csi_silent(ngx_xmpp_xml_cursor_t *c)
{
    ngx_xmpp_csi_child_t  *child;

    for (child = ngx_xmpp_csi_children; child->name; child++) {
        if (ngx_xmpp_xml_cursor_is(c, child->name, child->ns)) {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_xmpp_csi_chat_state(ngx_xmpp_xml_cursor_t *c)
{
    ngx_str_t  ns;

    return ngx_xmpp_xml_cursor_attr(c, "xmlns", &ns) == NGX_OK
           && ns.len == sizeof("http://jabber.org/protocol/chatstates") - 1
           && ngx_memcmp(ns.data, "http://jabber.org/protocol/chatstates",
                         ns.len) == 0;
}
