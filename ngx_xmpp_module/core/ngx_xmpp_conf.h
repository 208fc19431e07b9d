/*
 * Contexts of directives: which stand in server{}, and which in xmpp_host{}.
 * Included by ngx_xmpp.h.
 */


#ifndef _NGX_XMPP_CONF_H_INCLUDED_
#define _NGX_XMPP_CONF_H_INCLUDED_


/* stands in xmpp_host{}; a bit that nginx's stream modules do not use */
#define NGX_XMPP_HOST_CONF              (NGX_STREAM_SRV_CONF|0x10000000)

char *ngx_xmpp_conf_host(ngx_conf_t *cf, ngx_command_t *dummy, void *conf);
char *ngx_xmpp_conf_in_host(ngx_conf_t *cf);
char *ngx_xmpp_conf_set_flag_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_xmpp_conf_set_num_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_xmpp_conf_set_size_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_xmpp_conf_set_msec_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_xmpp_conf_set_str_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_xmpp_conf_set_enum_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_xmpp_conf_set_bitmask_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* post of size and msec slots */
extern ngx_conf_post_t  ngx_xmpp_conf_positive;
extern ngx_conf_post_t  ngx_xmpp_conf_second;


#endif /* _NGX_XMPP_CONF_H_INCLUDED_ */
