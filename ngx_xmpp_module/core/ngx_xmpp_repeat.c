/*
 * What tells a stanza that comes again from one that is new (cluster.md,
 * rule 2): its identity, for the step that routes it (redis/29-seen.lua).
 *
 * That is the session and its counter.  A session that may be resumed can be
 * rebuilt, when its worker was killed: its counter goes back to what its client
 * was told, and the client, which need not send the same again (XEP-0198, 5),
 * decides what the next numbers stand for.  So it has another life then, the
 * epoch of who has rebuilt it, and each stanza a digest: of its id, or of its
 * bytes.  A client that adds when it was sent (XEP-0203) keeps the id.
 *
 * The first life is 0.  One that was given away goes on with the one it has.
 */


#include "ngx_xmpp.h"


static uint32_t ngx_xmpp_repeat_digest(ngx_xmpp_stanza_t *stz);


/*
 * Fills in what r says of its stanzas: stz and those of its batch, which have
 * packets; stanzas has room for all.  r->again: they may have been routed.
 */

void
ngx_xmpp_repeat_identify(ngx_xmpp_store_route_t *r,
    ngx_xmpp_store_stanza_t *stanzas, ngx_xmpp_stanza_t *stz)
{
    ngx_xmpp_sm_t            *sm;
    ngx_xmpp_stanza_t        *one;
    ngx_xmpp_store_stanza_t  *s;

    sm = stz->session->sm;

    r->stanzas = stanzas;
    r->again = (stz->tries != 0);
    r->lives = 0;
    r->n = 0;

    if (sm && sm->timeout) {
        r->lives = 1;
        r->life = sm->life;
        r->told = sm->base + sm->told;
    }

    for (one = stz; one; one = one->next) {
        s = &stanzas[r->n++];

        s->counter = one->counter;
        s->bytes.data = one->packet->data;
        s->bytes.len = one->packet->len;

        if (r->lives) {
            s->digest = ngx_xmpp_repeat_digest(one);
        }
    }
}


static uint32_t
ngx_xmpp_repeat_digest(ngx_xmpp_stanza_t *stz)
{
    uint32_t    crc;
    ngx_str_t  *id;

    id = ngx_xmpp_xml_attr(stz->xml, "id");

    ngx_crc32_init(crc);

    if (id && id->len) {
        ngx_crc32_update(&crc, stz->xml->name.data, stz->xml->name.len);
        ngx_crc32_update(&crc, id->data, id->len);

    } else {
        ngx_crc32_update(&crc, stz->packet->data, stz->packet->len);
    }

    ngx_crc32_final(crc);

    return crc;
}
