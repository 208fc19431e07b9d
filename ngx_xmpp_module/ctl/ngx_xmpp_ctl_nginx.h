
/*
 * The functions of nginx's core that util/ and xml/ need, for programs that
 * are not nginx: xmppctl and the unit tests.
 */


#ifndef _NGX_XMPP_CTL_NGINX_H_INCLUDED_
#define _NGX_XMPP_CTL_NGINX_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * How many allocations still succeed; after that each returns NULL, until the
 * caller sets it anew.  -1, as it is at the start: all.
 */
extern ngx_int_t  ngx_xmpp_ctl_allocs;


#endif /* _NGX_XMPP_CTL_NGINX_H_INCLUDED_ */
