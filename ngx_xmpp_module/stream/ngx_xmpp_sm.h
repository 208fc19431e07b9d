/*
 * Stream management (XEP-0198) on a stream: what its two files share.
 */


#ifndef _NGX_XMPP_SM_H_INCLUDED_
#define _NGX_XMPP_SM_H_INCLUDED_


#include "ngx_xmpp_stream.h"


/* of a stream that may resume or be resumed */
typedef struct {
    ngx_xmpp_stream_t          *stream;
    ngx_pool_t                 *pool;           /* of a request, or NULL */
    ngx_xmpp_take_t            *take;           /* of a session, or NULL */
    ngx_uint_t                  failed;         /* attempts to resume */

    /* in pool */
    ngx_str_t                   id;             /* what it is resumed by */
    ngx_str_t                   tag;            /* of the account */
    ngx_str_t                   sid;            /* slices of id */
    ngx_str_t                   token;
    ngx_str_t                   digest;
    uint32_t                    h;              /* the client's */
    ngx_msec_t                  timeout;        /* to be resumed */
    ngx_xmpp_stats_resume_e     taken;          /* from whom */
    ngx_xmpp_store_session_t    record;
} ngx_xmpp_sm_ctx_t;


/* the stream's, made when it is needed; NULL: no memory */
ngx_xmpp_sm_ctx_t *ngx_xmpp_sm_ctx(ngx_xmpp_stream_t *st);

/* a request is over, or was not sent, or the stream ends: it is cancelled */
void ngx_xmpp_sm_done(ngx_xmpp_sm_ctx_t *ctx);

/* <resume/>; what a nonza handler returns */
ngx_int_t ngx_xmpp_sm_resume(ngx_xmpp_stream_t *st, ngx_xmpp_xml_t *e);

/*
 * <failed/>, after which the stream goes on; h, if any, is what was handled of
 * a session that has ended.  What a nonza handler returns.
 */
ngx_int_t ngx_xmpp_sm_failed(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    const char *condition, uint32_t *h);

/* the stream ends: the client has handled more than it was sent; the same */
ngx_int_t ngx_xmpp_sm_too_high(ngx_xmpp_stream_t *st, uint32_t h,
    uint32_t sent);

/* xs:unsignedInt of 32 bits; text may be NULL; NGX_OK or NGX_DECLINED */
ngx_int_t ngx_xmpp_sm_number(ngx_str_t *text, uint32_t *n);

/* sets it as an attribute, from pool; NGX_OK or NGX_ERROR */
ngx_int_t ngx_xmpp_sm_attr(ngx_pool_t *pool, ngx_xmpp_xml_t *e,
    const char *name, uint32_t n);


extern ngx_str_t     ngx_xmpp_sm_ns;
extern ngx_module_t  ngx_xmpp_sm_module;


#endif /* _NGX_XMPP_SM_H_INCLUDED_ */
