/*
 * Administrators of a host (ngx_xmpp_admin.c).  Included by ngx_xmpp.h.
 */


#ifndef _NGX_XMPP_ADMIN_H_INCLUDED_
#define _NGX_XMPP_ADMIN_H_INCLUDED_


/*
 * 1 when xmpp_admin names this bare JID, prepared, for the host, whichever
 * domain it is of; else 0.  It need not have an account.  Asks nobody.
 */
ngx_uint_t ngx_xmpp_admin(ngx_xmpp_host_t *h, ngx_str_t *bare);

/* setter of an array of ngx_str_t, NULL: none */
char *ngx_xmpp_admin_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


/*
 * In postconfiguration: a warning for each name of a domain that is not served,
 * as nobody can log in by it (a typing error, as a rule).
 */
void ngx_xmpp_admin_check(ngx_conf_t *cf, ngx_xmpp_main_conf_t *xmcf);


#endif /* _NGX_XMPP_ADMIN_H_INCLUDED_ */
