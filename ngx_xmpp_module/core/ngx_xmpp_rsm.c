
/*
 * Result set management (XEP-0059): what a request for a page asks for, and
 * what the answer says of it.
 *
 *     <max/>                   so many at most (2.1); 0: only count (2.7)
 *     <after/>, <before/>      a page forward (2.2), or back (2.3); an empty
 *                              <before/> is the last page (2.5)
 *     <index/>                 from a place on: whoever has the items may
 *                              refuse that (2.6)
 *     <first/>, <last/>, <count/>     of what was found (2.2, 2.7)
 *
 * Which items there are, and what their ids mean, knows whoever has them.
 * There is no state: each request stands for itself.  Text that was parsed
 * points into the request's tree, or into the pool given.
 */


#include "ngx_xmpp.h"


static ngx_int_t ngx_xmpp_rsm_text(ngx_pool_t *pool, ngx_xmpp_xml_t *set,
    const char *name, ngx_str_t *text);
static ngx_int_t ngx_xmpp_rsm_add(ngx_pool_t *pool, ngx_xmpp_xml_t *set,
    ngx_str_t *name, ngx_str_t *text, ngx_int_t index);


static ngx_str_t  ngx_xmpp_rsm_ns =
    ngx_string("http://jabber.org/protocol/rsm");


ngx_int_t
ngx_xmpp_rsm_parse(ngx_pool_t *pool, ngx_xmpp_xml_t *e, ngx_xmpp_rsm_t *rsm)
{
    ngx_int_t        rc, max;
    ngx_str_t        text;
    ngx_xmpp_xml_t  *set;

    ngx_memzero(rsm, sizeof(ngx_xmpp_rsm_t));

    set = ngx_xmpp_xml_child(e, "set", &ngx_xmpp_rsm_ns);

    if (set == NULL) {
        return NGX_OK;
    }

    rc = ngx_xmpp_rsm_text(pool, set, "max", &text);

    if (rc == NGX_OK) {
        max = ngx_atoi(text.data, text.len);

        if (max == NGX_ERROR) {
            return NGX_DECLINED;
        }

        rsm->max = max;
        rsm->has_max = 1;
    }

    if (rc != NGX_ERROR) {
        rc = ngx_xmpp_rsm_text(pool, set, "after", &rsm->after);
    }

    if (rc != NGX_ERROR) {
        rc = ngx_xmpp_rsm_text(pool, set, "before", &rsm->before);

        /* 2.5: an empty one asks for the last page */

        rsm->back = (rc == NGX_OK);
    }

    rsm->by_index = (ngx_xmpp_xml_child(set, "index", &ngx_xmpp_rsm_ns)
                     != NULL);

    return (rc == NGX_ERROR) ? NGX_ERROR : NGX_OK;
}


/* NGX_DECLINED: there is none, *text is empty */

static ngx_int_t
ngx_xmpp_rsm_text(ngx_pool_t *pool, ngx_xmpp_xml_t *set, const char *name,
    ngx_str_t *text)
{
    ngx_xmpp_xml_t  *e;

    ngx_str_null(text);

    e = ngx_xmpp_xml_child(set, name, &ngx_xmpp_rsm_ns);

    return e ? ngx_xmpp_xml_text(pool, e, text) : NGX_DECLINED;
}


ngx_int_t
ngx_xmpp_rsm_write(ngx_pool_t *pool, ngx_xmpp_xml_t *e,
    ngx_xmpp_rsm_page_t *page)
{
    u_char          *p;
    ngx_str_t        text;
    ngx_xmpp_xml_t  *set;

    static ngx_str_t  name = ngx_string("set");
    static ngx_str_t  first = ngx_string("first");
    static ngx_str_t  last = ngx_string("last");
    static ngx_str_t  count = ngx_string("count");

    set = ngx_xmpp_xml_add(pool, e, &name, &ngx_xmpp_rsm_ns);
    if (set == NULL) {
        return NGX_ERROR;
    }

    /* 2.2: without an item neither of them */

    if (page->first.len
        && (ngx_xmpp_rsm_add(pool, set, &first, &page->first, page->index)
            != NGX_OK
            || ngx_xmpp_rsm_add(pool, set, &last, &page->last, NGX_ERROR)
               != NGX_OK))
    {
        return NGX_ERROR;
    }

    if (page->count == NGX_ERROR) {
        return NGX_OK;
    }

    p = ngx_pnalloc(pool, NGX_INT_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text.data = p;
    text.len = ngx_sprintf(p, "%i", page->count) - p;

    return ngx_xmpp_rsm_add(pool, set, &count, &text, NGX_ERROR);
}


static ngx_int_t
ngx_xmpp_rsm_add(ngx_pool_t *pool, ngx_xmpp_xml_t *set, ngx_str_t *name,
    ngx_str_t *text, ngx_int_t index)
{
    u_char          *p;
    ngx_str_t        value;
    ngx_xmpp_xml_t  *e;

    e = ngx_xmpp_xml_add(pool, set, name, NULL);

    if (e == NULL || ngx_xmpp_xml_add_text(pool, e, text) == NULL) {
        return NGX_ERROR;
    }

    if (index == NGX_ERROR) {
        return NGX_OK;
    }

    p = ngx_pnalloc(pool, NGX_INT_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;
    value.len = ngx_sprintf(p, "%i", index) - p;

    return ngx_xmpp_xml_set(pool, e, "index", &value);
}
