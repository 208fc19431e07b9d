
/*
 * Archives of messages (XEP-0313): the ids by which clients know what is in
 * theirs (XEP-0359).
 *
 *     message --worth it?--> the Function that routes archives it for the
 *                            recipient, the one that copies for the sender
 *     bell    --archived--> each worker adds <stanza-id/> to what it gives to
 *                           sessions of that account, and to nobody else
 *
 * What is worth it is told in ngx_xmpp_inbox_keep.c.
 *
 * An id is made of the entry's number and index by AES, with a key that all
 * workers make of the same secret (util/ngx_xmpp_entry_id.c); Redis knows
 * nothing of it.  The key belongs to the worker, and is made anew when another
 * secret was agreed on.  Nothing waits here.
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_STANZA_ID_SECRET       32


struct ngx_xmpp_stanza_ids_s {
    ngx_xmpp_entry_key_t      key;
    size_t                      len;            /* of secret; 0: no key */
    u_char                      secret[NGX_XMPP_STANZA_ID_SECRET];
};


static ngx_xmpp_entry_key_t *ngx_xmpp_stanza_id_worker_key(
    ngx_xmpp_worker_t *w);
static void ngx_xmpp_stanza_id_cleanup(void *data);


static ngx_xmpp_entry_key_t *
ngx_xmpp_stanza_id_worker_key(ngx_xmpp_worker_t *w)
{
    ngx_str_t           *secret;
    ngx_pool_cleanup_t  *cln;
    ngx_xmpp_stanza_ids_t  *ar;

    ar = w->stanza_ids;

    if (ar == NULL) {
        cln = ngx_pool_cleanup_add(w->pool, sizeof(ngx_xmpp_stanza_ids_t));
        if (cln == NULL) {
            return NULL;
        }

        ar = cln->data;
        ngx_memzero(ar, sizeof(ngx_xmpp_stanza_ids_t));

        cln->handler = ngx_xmpp_stanza_id_cleanup;
        w->stanza_ids = ar;
    }

    secret = ngx_xmpp_store_secret(w->store);

    if (ar->len && ar->len == secret->len
        && ngx_memcmp(ar->secret, secret->data, ar->len) == 0)
    {
        return &ar->key;
    }

    ar->len = 0;

    if (secret->len == 0 || secret->len > NGX_XMPP_STANZA_ID_SECRET
        || ngx_xmpp_entry_key(&ar->key, secret) != NGX_OK)
    {
        ngx_log_error(NGX_LOG_ERR, w->log, 0,
                      "xmpp has no key for the ids of archived messages");
        return NULL;
    }

    ar->len = secret->len;
    ngx_memcpy(ar->secret, secret->data, secret->len);

    return &ar->key;
}


static void
ngx_xmpp_stanza_id_cleanup(void *data)
{
    ngx_xmpp_stanza_ids_t *ar = data;

    ngx_xmpp_entry_key_free(&ar->key);
}


u_char *
ngx_xmpp_stanza_id_write(u_char *p, ngx_xmpp_worker_t *w, ngx_str_t *bare,
    ngx_xmpp_entry_t *entry)
{
    ngx_xmpp_entry_key_t  *key;

    key = ngx_xmpp_stanza_id_worker_key(w);

    return key ? ngx_xmpp_entry_id_write(p, key,
                                           ngx_crc32_long(bare->data,
                                                          bare->len),
                                           entry)
               : NULL;
}


ngx_int_t
ngx_xmpp_stanza_id_read(ngx_xmpp_worker_t *w, ngx_str_t *bare, ngx_str_t *id,
    ngx_xmpp_entry_t *entry)
{
    ngx_xmpp_entry_key_t  *key;

    key = ngx_xmpp_stanza_id_worker_key(w);

    return key ? ngx_xmpp_entry_id_read(key,
                                          ngx_crc32_long(bare->data,
                                                         bare->len),
                                          id, entry)
               : NGX_ERROR;
}


u_char *
ngx_xmpp_stanza_id_element(u_char *p, ngx_xmpp_session_t *xs,
    ngx_xmpp_entry_t *entry)
{
    u_char  *end;

    end = ngx_cpymem(p, "<stanza-id xmlns='urn:xmpp:sid:0' by='",
                     sizeof("<stanza-id xmlns='urn:xmpp:sid:0' by='") - 1);
    end = ngx_xmpp_xml_escape(end, &xs->jid.bare);
    end = ngx_cpymem(end, "' id='", sizeof("' id='") - 1);
    end = ngx_xmpp_stanza_id_write(end, xs->worker, &xs->jid.bare, entry);

    /* without an id it is as if it were not archived */

    return end ? ngx_cpymem(end, "'/>", sizeof("'/>") - 1) : p;
}


u_char *
ngx_xmpp_stanza_id_copy(u_char *p, ngx_xmpp_session_t *xs, ngx_str_t *stanza,
    ngx_xmpp_entry_t *entry)
{
    static ngx_str_t  end = ngx_string("</message>");

    if (entry == NULL || stanza->len < end.len
        || ngx_memcmp(stanza->data + stanza->len - end.len, end.data, end.len)
           != 0)
    {
        return ngx_cpymem(p, stanza->data, stanza->len);
    }

    p = ngx_cpymem(p, stanza->data, stanza->len - end.len);
    p = ngx_xmpp_stanza_id_element(p, xs, entry);

    return ngx_cpymem(p, end.data, end.len);
}


ngx_xmpp_packet_t *
ngx_xmpp_stanza_id_packet(ngx_xmpp_session_t *xs, ngx_xmpp_store_bell_t *bell)
{
    u_char                    *p, *pos;
    ngx_str_t                  stanza;
    ngx_xmpp_packet_t         *pkt;
    ngx_xmpp_entry_t   entry;

    pkt = ngx_xmpp_packet_alloc(xs->worker->log,
              bell->body.len
              + bell->stanzas * ngx_xmpp_stanza_id_size(&xs->jid.bare));
    if (pkt == NULL) {
        return NULL;
    }

    p = pkt->data;
    pos = bell->lengths.data;

    ngx_str_null(&stanza);

    entry.number = bell->number;
    entry.index = 0;

    while (ngx_xmpp_store_bell_next(bell, &pos, &stanza) == NGX_OK) {
        p = ngx_xmpp_stanza_id_copy(p, xs, &stanza, &entry);
        entry.index++;
    }

    pkt->len = p - pkt->data;

    return pkt;
}
