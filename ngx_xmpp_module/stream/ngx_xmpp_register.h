/*
 * Shared by the sources of ngx_xmpp_register_module: registration before login.
 */


#ifndef _NGX_XMPP_REGISTER_H_INCLUDED_
#define _NGX_XMPP_REGISTER_H_INCLUDED_


#include "ngx_xmpp_stream.h"


typedef struct {
    ngx_flag_t                  enable;         /* the core looks at it */
    ngx_flag_t                  on;
    ngx_uint_t                  limit;          /* of a network; 0: none */
    ngx_msec_t                  time;
} ngx_xmpp_register_conf_t;


/*
 * A set: its account is made, and answered; id and query are copied.  Parks.
 * Returns what a nonza handler returns.
 */
ngx_int_t ngx_xmpp_register_set(ngx_xmpp_stream_t *st, ngx_str_t *id,
    ngx_xmpp_xml_t *query);

/*
 * Answers an iq before there is a session: id may be NULL; condition is one of
 * NGX_XMPP_E_*, or 0: a result without a payload; reason is told, or NULL.
 * Returns what a nonza handler returns: NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_xmpp_register_answer(ngx_xmpp_stream_t *st, ngx_str_t *id,
    ngx_int_t condition, const char *reason);


extern ngx_str_t     ngx_xmpp_register_ns;
extern ngx_module_t  ngx_xmpp_register_module;


#endif /* _NGX_XMPP_REGISTER_H_INCLUDED_ */
