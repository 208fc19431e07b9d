/*
 * What a message has to survive (ngx_xmpp_durability.c).  Included by
 * ngx_xmpp.h.
 */


#ifndef _NGX_XMPP_DURABILITY_H_INCLUDED_
#define _NGX_XMPP_DURABILITY_H_INCLUDED_


/*
 * Setter of ngx_xmpp_main_conf_t.durability, an ngx_xmpp_durability_e; post:
 * the names of those that are one word.
 */
char *ngx_xmpp_durability_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* what the directives of Redis mean for it; NGX_CONF_ERROR: said why */
char *ngx_xmpp_durability_init(ngx_conf_t *cf, ngx_xmpp_main_conf_t *xmcf);


#endif /* _NGX_XMPP_DURABILITY_H_INCLUDED_ */
