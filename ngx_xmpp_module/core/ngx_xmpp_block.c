/*
 * Block lists (XEP-0191): the copy that a worker keeps of that of an account
 * which has sessions in it.
 *
 * What Redis routes it decides itself (redis/12-blocked.lua).  The copy is for
 * what never gets there: the shortcut to a session of this worker, and what
 * the user sends to somebody who is blocked.
 *
 *     no list <--bind, bell, reply--> list
 *
 * Three things bring a list, whole each time: the answer to bind, or to what
 * takes a session from another worker, so that no session is there before its
 * list; the bell of a change; the reply to the session that made it, which must
 * not wait for its own bell.  They come on different sockets, so each has the
 * number of the bell up to which it counts, and one of a lower number is
 * dropped.  Bells that a worker missed are made up for when its records are put
 * back, which bind answers with the list.
 *
 * The account owns its list and frees it; an account without one has none.
 */


#include "ngx_xmpp.h"


static ngx_int_t ngx_xmpp_block_create(ngx_str_t *list, ngx_log_t *log,
    ngx_xmpp_block_t **block);
static int ngx_libc_cdecl ngx_xmpp_block_cmp(const void *one,
    const void *two);
static ngx_uint_t ngx_xmpp_block_find(ngx_xmpp_block_t *block,
    ngx_str_t *jid);


void
ngx_xmpp_block_update(ngx_xmpp_account_t *a, uint64_t number, ngx_str_t *list)
{
    ngx_xmpp_block_t  *old;

    if (number < a->block_number) {
        return;
    }

    old = a->block;

    if (ngx_xmpp_block_create(list, a->worker->log, &a->block) != NGX_OK) {

        /* the number stays, so that whatever comes next is taken */

        return;
    }

    a->block_number = number;

    /* of what has not changed since the login presence knows */

    if (a->block_known) {
        ngx_xmpp_block_tell(a, old);
    }

    a->block_known = 1;

    ngx_xmpp_block_free(old);
}


void
ngx_xmpp_block_bound(ngx_xmpp_account_t *a, ngx_xmpp_store_result_t *res)
{
    ngx_str_t    list;
    redisReply  *r;

    ngx_str_null(&list);

    /* outcome, number and epoch; pairs; the list, if there is one */

    if (res->reply->elements > 3 && res->reply->elements % 2 == 0) {
        r = res->reply->element[res->reply->elements - 1];

        if (r->type == REDIS_REPLY_STRING) {
            list.data = (u_char *) r->str;
            list.len = r->len;
        }
    }

    ngx_xmpp_block_update(a, res->number, &list);
}


/* NGX_OK, *block NULL for an empty list; NGX_ERROR (no memory): untouched */

static ngx_int_t
ngx_xmpp_block_create(ngx_str_t *list, ngx_log_t *log,
    ngx_xmpp_block_t **block)
{
    u_char            *p, *end, *last;
    ngx_uint_t         n;
    ngx_xmpp_block_t  *b;

    if (list->len == 0) {
        *block = NULL;
        return NGX_OK;
    }

    last = list->data + list->len;

    for (n = 1, p = list->data; p < last; p++) {
        n += (*p == LF);
    }

    b = ngx_alloc(sizeof(ngx_xmpp_block_t) + n * sizeof(ngx_str_t) + list->len,
                  log);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->items = (ngx_str_t *) (b + 1);
    b->n = 0;

    p = (u_char *) (b->items + n);
    ngx_memcpy(p, list->data, list->len);
    last = p + list->len;

    for ( /* void */ ; p < last; p = end + 1) {
        end = ngx_strlchr(p, last, LF);

        if (end == NULL) {
            end = last;
        }

        b->items[b->n].data = p;
        b->items[b->n].len = end - p;
        b->n++;
    }

    ngx_qsort(b->items, b->n, sizeof(ngx_str_t), ngx_xmpp_block_cmp);

    *block = b;

    return NGX_OK;
}


static int ngx_libc_cdecl
ngx_xmpp_block_cmp(const void *one, const void *two)
{
    const ngx_str_t  *a, *b;

    a = one;
    b = two;

    return ngx_memn2cmp(a->data, b->data, a->len, b->len);
}


/* XEP-0191, 5: the JID, the bare JID, the domain */

ngx_uint_t
ngx_xmpp_block_match(ngx_xmpp_block_t *block, ngx_xmpp_jid_t *jid)
{
    return ngx_xmpp_block_find(block, &jid->full)
           || (jid->resource.len && ngx_xmpp_block_find(block, &jid->bare))
           || (jid->local.len && ngx_xmpp_block_find(block, &jid->domain));
}


static ngx_uint_t
ngx_xmpp_block_find(ngx_xmpp_block_t *block, ngx_str_t *jid)
{
    ngx_int_t   rc;
    ngx_uint_t  left, right, i;

    left = 0;
    right = block->n;

    while (left < right) {
        i = left + (right - left) / 2;

        rc = ngx_xmpp_block_cmp(jid, &block->items[i]);

        if (rc == 0) {
            return 1;
        }

        if (rc < 0) {
            right = i;

        } else {
            left = i + 1;
        }
    }

    return 0;
}


void
ngx_xmpp_block_push(ngx_xmpp_session_t *xs, uint64_t number,
    ngx_str_t *payload)
{
    static ngx_str_t  before = ngx_string("<iq xmlns='jabber:client' "
                                          "type='set' id='block");

    u_char             *p;
    ngx_str_t          *to;
    ngx_xmpp_packet_t  *pkt;

    to = &xs->jid.full;

    pkt = ngx_xmpp_packet_alloc(xs->worker->log, before.len + NGX_INT64_LEN
                                     + sizeof("' to=''></iq>") - 1
                                     + ngx_xmpp_xml_escape_size(to)
                                     + payload->len);
    if (pkt == NULL) {
        return;
    }

    p = ngx_cpymem(pkt->data, before.data, before.len);
    p = ngx_sprintf(p, "%uL' to='", number);
    p = ngx_xmpp_xml_escape(p, to);
    p = ngx_cpymem(p, "'>", sizeof("'>") - 1);
    p = ngx_cpymem(p, payload->data, payload->len);
    p = ngx_cpymem(p, "</iq>", sizeof("</iq>") - 1);

    pkt->len = p - pkt->data;

    ngx_xmpp_session_deliver(xs, pkt);
    ngx_xmpp_packet_release(pkt);
}


void
ngx_xmpp_block_free(ngx_xmpp_block_t *block)
{
    if (block) {
        ngx_free(block);
    }
}
