/*
 * JIDs: parsing and preparation (RFC 7622).
 *
 * A prepared JID is one string, "local@domain/resource", with the parts as
 * slices of it.  Two JIDs are equal when their prepared bytes are equal, on
 * every path: SASL, Redis keys, routing.  Domainparts are lower-cased
 * U-labels (RFC 7622, 3.2), localparts UsernameCaseMapped (3.3), resources
 * OpaqueString (3.4); each part is 1..1023 octets.  Pure ASCII takes a fast
 * path without ICU.
 */


#ifndef _NGX_XMPP_JID_H_INCLUDED_
#define _NGX_XMPP_JID_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_XMPP_JID_PART_MAX  1023
#define NGX_XMPP_JID_MAX       (3 * NGX_XMPP_JID_PART_MAX + 2)


typedef struct {
    ngx_str_t   full;          /* all of it, prepared */
    ngx_str_t   bare;          /* "local@domain" or "domain", begins full */
    ngx_str_t   local;         /* len 0 when absent */
    ngx_str_t   domain;
    ngx_str_t   resource;      /* len 0 when absent */
} ngx_xmpp_jid_t;


/*
 * Parses and prepares text into *jid, allocated from pool (one block).
 * NGX_OK; NGX_DECLINED: not a JID (RFC 7622, 3.1-3.5); NGX_ERROR: no memory.
 */
ngx_int_t ngx_xmpp_jid_parse(ngx_pool_t *pool, ngx_str_t *text,
    ngx_xmpp_jid_t *jid);

/*
 * Puts prepared parts together; local and resource may be NULL or empty.
 * NGX_OK or NGX_ERROR (no memory).
 */
ngx_int_t ngx_xmpp_jid_make(ngx_pool_t *pool, ngx_str_t *local,
    ngx_str_t *domain, ngx_str_t *resource, ngx_xmpp_jid_t *jid);

/* copies a prepared JID into another pool; NGX_OK or NGX_ERROR */
ngx_int_t ngx_xmpp_jid_copy(ngx_pool_t *pool, ngx_xmpp_jid_t *src,
    ngx_xmpp_jid_t *dst);

/* a prepared JID as slices of its text, which lives as long */
void ngx_xmpp_jid_slice(ngx_str_t *text, ngx_xmpp_jid_t *jid);

/*
 * Prepare one part; out is allocated from pool or is in itself when nothing
 * changes.  NGX_OK, NGX_DECLINED (refused), NGX_ERROR (no memory).
 */
ngx_int_t ngx_xmpp_jid_prep_local(ngx_pool_t *pool, ngx_str_t *in,
    ngx_str_t *out);
ngx_int_t ngx_xmpp_jid_prep_domain(ngx_pool_t *pool, ngx_str_t *in,
    ngx_str_t *out);
ngx_int_t ngx_xmpp_jid_prep_resource(ngx_pool_t *pool, ngx_str_t *in,
    ngx_str_t *out);


#define ngx_xmpp_str_eq(a, b)                                                 \
    ((a)->len == (b)->len                                                     \
     && ngx_memcmp((a)->data, (b)->data, (a)->len) == 0)


#endif /* _NGX_XMPP_JID_H_INCLUDED_ */
