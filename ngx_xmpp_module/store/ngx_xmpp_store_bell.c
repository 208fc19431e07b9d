/*
 * A bell, as it comes on an account's channel (docs/redis-schema.md):
 *
 *     "1" kind " " number " " previous " " epoch " " targets "\n" body
 *
 * where targets may be followed by " " and the lengths of the stanzas in the
 * body, with "," between, when there are more than one.  Of stanzas epoch is 1
 * when the archive has them under that number.
 *
 * One that does not parse is of a stranger or of a later release: the first
 * byte is the version (cluster.md, rule 15).
 */


#include "ngx_xmpp_store_private.h"


static ngx_int_t ngx_xmpp_store_bell_number(u_char **pos, u_char *last,
    uint64_t *n);


/*
 * Reads a message into all of *bell but its tag; targets and body are slices
 * of the message.  NGX_OK; NGX_DECLINED: it is no bell.
 */

ngx_int_t
ngx_xmpp_store_bell_parse(ngx_str_t *message, ngx_xmpp_store_bell_t *bell)
{
    u_char  *p, *last, *end, *lengths;

    p = message->data;
    last = p + message->len;

    if (last - p < 3 || p[0] != '1') {
        return NGX_DECLINED;
    }

    bell->kind = p[1];
    p += 2;

    if (ngx_xmpp_store_bell_number(&p, last, &bell->number) != NGX_OK
        || ngx_xmpp_store_bell_number(&p, last, &bell->previous) != NGX_OK
        || ngx_xmpp_store_bell_number(&p, last, &bell->epoch) != NGX_OK
        || p == last || *p != ' ')
    {
        return NGX_DECLINED;
    }

    p++;

    end = ngx_strlchr(p, last, '\n');
    if (end == NULL) {
        return NGX_DECLINED;
    }

    bell->body.data = end + 1;
    bell->body.len = last - end - 1;

    lengths = ngx_strlchr(p, end, ' ');

    bell->targets.data = p;
    bell->targets.len = (lengths ? lengths : end) - p;

    bell->lengths.data = lengths ? lengths + 1 : end;
    bell->lengths.len = end - bell->lengths.data;

    bell->stanzas = 1;

    for (p = lengths ? lengths : end; p < end; p++) {
        bell->stanzas += (*p == ',');
    }

    return NGX_OK;
}


ngx_int_t
ngx_xmpp_store_bell_next(ngx_xmpp_store_bell_t *bell, u_char **pos,
    ngx_str_t *stanza)
{
    u_char  *p, *last, *end;
    size_t   len;

    last = bell->body.data + bell->body.len;

    stanza->data = stanza->data ? stanza->data + stanza->len : bell->body.data;
    stanza->len = last - stanza->data;

    if (stanza->len == 0 || bell->lengths.len == 0) {
        return stanza->len ? NGX_OK : NGX_DECLINED;
    }

    end = bell->lengths.data + bell->lengths.len;

    if (*pos == end) {
        return NGX_DECLINED;
    }

    for (len = 0, p = *pos; p < end && *p >= '0' && *p <= '9'; p++) {
        len = len * 10 + (*p - '0');
    }

    *pos = ngx_min(p + 1, end);
    stanza->len = ngx_min(stanza->len, len);

    return NGX_OK;
}


/* " " and digits; *pos is moved behind them */

static ngx_int_t
ngx_xmpp_store_bell_number(u_char **pos, u_char *last, uint64_t *n)
{
    u_char  *p;

    p = *pos;

    if (last - p < 2 || *p++ != ' ' || *p < '0' || *p > '9') {
        return NGX_DECLINED;
    }

    for (*n = 0; p < last && *p >= '0' && *p <= '9'; p++) {
        *n = *n * 10 + (*p - '0');
    }

    *pos = p;

    return NGX_OK;
}
