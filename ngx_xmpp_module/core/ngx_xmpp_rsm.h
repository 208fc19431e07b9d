
/*
 * Result sets that are read page by page (XEP-0059).  Part of ngx_xmpp.h.
 */


#ifndef _NGX_XMPP_RSM_H_INCLUDED_
#define _NGX_XMPP_RSM_H_INCLUDED_


/* what a request asks for */
typedef struct {
    ngx_uint_t                  max;            /* at most; has_max */
    ngx_str_t                   after;          /* the item; len 0: none */
    ngx_str_t                   before;         /* the same */
    unsigned                    has_max:1;
    unsigned                    back:1;         /* the last page, or the one
                                                   before an item */
    unsigned                    by_index:1;     /* 2.6: from a place on */
} ngx_xmpp_rsm_t;

/* what an answer says */
typedef struct {
    ngx_str_t                   first;          /* items; len 0: no item */
    ngx_str_t                   last;
    ngx_int_t                   index;          /* of first; NGX_ERROR: none */
    ngx_int_t                   count;          /* the same, of all */
} ngx_xmpp_rsm_page_t;


/*
 * Reads the <set/> that is a child of e, if there is one.  NGX_OK;
 * NGX_DECLINED: it cannot be read; NGX_ERROR: no memory.
 */
ngx_int_t ngx_xmpp_rsm_parse(ngx_pool_t *pool, ngx_xmpp_xml_t *e,
    ngx_xmpp_rsm_t *rsm);

/* adds <set/> to e; NGX_OK or NGX_ERROR */
ngx_int_t ngx_xmpp_rsm_write(ngx_pool_t *pool, ngx_xmpp_xml_t *e,
    ngx_xmpp_rsm_page_t *page);


#endif /* _NGX_XMPP_RSM_H_INCLUDED_ */
