/*
 * Packets: a stanza serialized once, with an explicit xmlns, so that the same
 * bytes go to TCP, to WebSocket and through Redis, whatever stream they end
 * up in (RFC 6120, 4.8.3).
 *
 * Immutable once made.  The maker holds the first reference, each queue that
 * takes the packet one of its own; whoever releases the last one frees it.  A
 * packet comes from the heap: it may outlive the stanza, the session and the
 * socket that it came from.
 */


#include "ngx_xmpp.h"


/* room for len bytes, which the caller fills; NULL: no memory */

ngx_xmpp_packet_t *
ngx_xmpp_packet_alloc(ngx_log_t *log, size_t len)
{
    ngx_xmpp_packet_t  *pkt;

    pkt = ngx_alloc(offsetof(ngx_xmpp_packet_t, data) + len, log);
    if (pkt == NULL) {
        return NULL;
    }

    pkt->refs = 1;
    pkt->stanzas = 1;
    pkt->number = 0;
    pkt->index = 0;
    pkt->len = len;

    return pkt;
}


ngx_xmpp_packet_t *
ngx_xmpp_packet_copy(ngx_log_t *log, u_char *p, size_t len)
{
    ngx_xmpp_packet_t  *pkt;

    pkt = ngx_xmpp_packet_alloc(log, len);
    if (pkt == NULL) {
        return NULL;
    }

    ngx_memcpy(pkt->data, p, len);

    return pkt;
}


/*
 * Takes a stanza apart around the value of its "to", which the root has to
 * have: NGX_OK, *before and *after are slices; NGX_DECLINED: it has none.  The
 * writer has put each value between single quotes and escaped those in it, so
 * the root's attributes are told from what reads like one in a value.
 */

ngx_int_t
ngx_xmpp_packet_split(ngx_str_t *stanza, ngx_str_t *before, ngx_str_t *after)
{
    u_char  *p, *name, *value, *last;

    last = stanza->data + stanza->len;
    p = ngx_strlchr(stanza->data, last, ' ');

    while (p && *p == ' ') {
        name = p + 1;

        value = ngx_strlchr(name, last, '\'');
        p = value ? ngx_strlchr(value + 1, last, '\'') : NULL;

        if (p == NULL) {
            return NGX_DECLINED;
        }

        if (value - name == sizeof("to=") - 1
            && ngx_memcmp(name, "to=", sizeof("to=") - 1) == 0)
        {
            before->data = stanza->data;
            before->len = value + 1 - stanza->data;

            after->data = p;
            after->len = last - p;

            return NGX_OK;
        }

        p = (p + 1 < last) ? p + 1 : NULL;
    }

    return NGX_DECLINED;
}


/* puts it together with another address, from pool; NGX_OK or NGX_ERROR */

ngx_int_t
ngx_xmpp_packet_join(ngx_pool_t *pool, ngx_str_t *before, ngx_str_t *to,
    ngx_str_t *after, ngx_str_t *stanza)
{
    u_char  *p;

    stanza->len = before->len + ngx_xmpp_xml_escape_size(to) + after->len;
    stanza->data = ngx_pnalloc(pool, stanza->len);

    if (stanza->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(stanza->data, before->data, before->len);
    p = ngx_xmpp_xml_escape(p, to);
    ngx_memcpy(p, after->data, after->len);

    return NGX_OK;
}


/* the same as a packet; NULL: no memory */

ngx_xmpp_packet_t *
ngx_xmpp_packet_to(ngx_log_t *log, ngx_str_t *before, ngx_str_t *to,
    ngx_str_t *after)
{
    u_char             *p;
    ngx_xmpp_packet_t  *pkt;

    pkt = ngx_xmpp_packet_alloc(log, before->len + ngx_xmpp_xml_escape_size(to)
                                     + after->len);
    if (pkt == NULL) {
        return NULL;
    }

    p = ngx_cpymem(pkt->data, before->data, before->len);
    p = ngx_xmpp_xml_escape(p, to);
    ngx_memcpy(p, after->data, after->len);

    return pkt;
}


/*
 * The bytes of one stanza, as we write them, as a packet that says at the end
 * of what is in it since when it has waited, and by whose word: <delay/>
 * (XEP-0203, 2).  from is not escaped, when are seconds.  NULL: no memory.
 */

ngx_xmpp_packet_t *
ngx_xmpp_packet_delayed(ngx_log_t *log, ngx_str_t *stanza, ngx_str_t *from,
    time_t when)
{
    u_char             *p, *end, *last;
    size_t              size;
    ngx_str_t           name;
    ngx_xmpp_packet_t  *pkt;

    static ngx_str_t  delay = ngx_string("<delay xmlns='urn:xmpp:delay' "
                                         "from='");

    last = stanza->data + stanza->len;

    name.data = stanza->data + 1;

    for (p = name.data; *p != ' ' && *p != '/' && *p != '>'; p++) {
        /* void */
    }

    name.len = p - name.data;

    /* an empty tag is taken apart; else the end tag has no attributes */

    if (last[-2] == '/') {
        end = last - 2;

    } else {
        end = last - (sizeof("</>") - 1 + name.len);
    }

    size = delay.len + ngx_xmpp_xml_escape_size(from)
           + sizeof("' stamp='1970-01-01T00:00:00Z'/>") - 1;

    pkt = ngx_xmpp_packet_alloc(log, end - stanza->data + 1 + size
                                     + sizeof("</>") - 1 + name.len);
    if (pkt == NULL) {
        return NULL;
    }

    p = ngx_cpymem(pkt->data, stanza->data, end - stanza->data);

    if (*end == '/') {
        *p++ = '>';
    }

    p = ngx_cpymem(p, delay.data, delay.len);
    p = ngx_xmpp_xml_escape(p, from);
    p = ngx_cpymem(p, "' stamp='", sizeof("' stamp='") - 1);
    p = ngx_xmpp_datetime(p, when);
    p = ngx_cpymem(p, "'/>", sizeof("'/>") - 1);
    p = ngx_sprintf(p, "</%V>", &name);

    pkt->len = p - pkt->data;

    return pkt;
}


/* "<presence type='unavailable' .../>"; NULL: no memory */

ngx_xmpp_packet_t *
ngx_xmpp_packet_unavailable(ngx_log_t *log, ngx_str_t *from, ngx_str_t *to)
{
    static ngx_str_t  before = ngx_string("<presence xmlns='jabber:client' "
                                          "type='unavailable' from='");

    u_char             *p;
    ngx_xmpp_packet_t  *pkt;

    pkt = ngx_xmpp_packet_alloc(log, before.len
                                     + ngx_xmpp_xml_escape_size(from)
                                     + sizeof("' to=''/>") - 1
                                     + ngx_xmpp_xml_escape_size(to));
    if (pkt == NULL) {
        return NULL;
    }

    p = ngx_cpymem(pkt->data, before.data, before.len);
    p = ngx_xmpp_xml_escape(p, from);
    p = ngx_cpymem(p, "' to='", sizeof("' to='") - 1);
    p = ngx_xmpp_xml_escape(p, to);
    ngx_memcpy(p, "'/>", sizeof("'/>") - 1);

    return pkt;
}


/* where the n-th stanza of a packet begins, from 0 on; there has to be one */

u_char *
ngx_xmpp_packet_stanza(ngx_xmpp_packet_t *pkt, ngx_uint_t n)
{
    ngx_xmpp_xml_cursor_t  c;

    ngx_xmpp_xml_cursor_init(&c, pkt->data, pkt->len);

    while (n && ngx_xmpp_xml_cursor_next(&c) == NGX_OK) {
        n -= (c.open == 0);
    }

    return c.pos;
}


/* serializes a tree with nothing in scope, so that the root has its xmlns */

ngx_xmpp_packet_t *
ngx_xmpp_packet_xml(ngx_log_t *log, ngx_xmpp_xml_t *e)
{
    ngx_xmpp_packet_t  *pkt;

    pkt = ngx_xmpp_packet_alloc(log, ngx_xmpp_xml_size(e, NULL));
    if (pkt == NULL) {
        return NULL;
    }

    (void) ngx_xmpp_xml_write(pkt->data, e, NULL);

    return pkt;
}


void
ngx_xmpp_packet_release(ngx_xmpp_packet_t *pkt)
{
    if (--pkt->refs == 0) {
        ngx_free(pkt);
    }
}
