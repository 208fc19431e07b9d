/*
 * A cursor over what the writer has written: tag by tag, without a tree, for
 * those who have the bytes of a stanza alone and want to know what is in it.
 *
 * It rests on what the writer promises: a "<" or a ">" is never but that of a
 * tag, values are in single quotes, an element that is in another namespace
 * than its parent has an xmlns of its own, which comes first.  On other bytes
 * it stays within them, and stops.
 *
 * There is no state but the cursor, which is the caller's, and no memory.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_xmpp_xml.h>


void
ngx_xmpp_xml_cursor_init(ngx_xmpp_xml_cursor_t *c, u_char *p, size_t len)
{
    ngx_memzero(c, sizeof(ngx_xmpp_xml_cursor_t));

    c->pos = p;
    c->last = p + len;
}


ngx_int_t
ngx_xmpp_xml_cursor_next(ngx_xmpp_xml_cursor_t *c)
{
    u_char  *p, *end, *space;

    p = ngx_strlchr(c->pos, c->last, '<');
    end = p ? ngx_strlchr(p, c->last, '>') : NULL;

    if (end == NULL || ++p == end) {
        return NGX_DECLINED;
    }

    c->pos = end + 1;
    c->start = (*p != '/');

    if (!c->start) {

        if (c->open == 0) {
            return NGX_DECLINED;
        }

        c->depth = --c->open;

        c->name.data = p + 1;
        c->name.len = end - c->name.data;

        c->attrs.data = end;
        c->attrs.len = 0;

        return NGX_OK;
    }

    c->depth = c->open;
    c->empty = (end[-1] == '/');

    if (c->empty) {
        end--;

    } else {
        c->open++;
    }

    space = ngx_strlchr(p, end, ' ');

    if (space == NULL) {
        space = end;
    }

    c->name.data = p;
    c->name.len = space - p;

    c->attrs.data = space;
    c->attrs.len = end - space;

    return NGX_OK;
}


ngx_int_t
ngx_xmpp_xml_cursor_attr(ngx_xmpp_xml_cursor_t *c, const char *name,
    ngx_str_t *value)
{
    size_t   len;
    u_char  *p, *last, *start, *end;

    p = c->attrs.data;
    last = p + c->attrs.len;
    len = ngx_strlen(name);

    while (p < last && *p == ' ') {
        p++;

        start = ngx_strlchr(p, last, '\'');
        end = start ? ngx_strlchr(start + 1, last, '\'') : NULL;

        if (end == NULL) {
            break;
        }

        if ((size_t) (start - p) == len + 1 && start[-1] == '='
            && ngx_memcmp(p, name, len) == 0)
        {
            value->data = start + 1;
            value->len = end - value->data;
            return NGX_OK;
        }

        p = end + 1;
    }

    value->data = last;
    value->len = 0;

    return NGX_DECLINED;
}


ngx_uint_t
ngx_xmpp_xml_cursor_is(ngx_xmpp_xml_cursor_t *c, const char *name,
    const char *ns)
{
    size_t     len;
    ngx_str_t  value;

    len = ngx_strlen(name);

    if (c->name.len != len || ngx_memcmp(c->name.data, name, len) != 0) {
        return 0;
    }

    (void) ngx_xmpp_xml_cursor_attr(c, "xmlns", &value);

    return value.len == ngx_strlen(ns)
           && ngx_memcmp(value.data, ns, value.len) == 0;
}
