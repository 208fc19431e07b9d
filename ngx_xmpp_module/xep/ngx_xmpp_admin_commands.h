/*
 * Shared by the files of ngx_xmpp_admin_commands_module.
 */


#ifndef _NGX_XMPP_ADMIN_COMMANDS_H_INCLUDED_
#define _NGX_XMPP_ADMIN_COMMANDS_H_INCLUDED_


#include "ngx_xmpp.h"


/* users that a list names at most */
#define NGX_XMPP_ADMIN_COMMANDS_LIST    1000


typedef struct ngx_xmpp_admin_commands_scan_s  ngx_xmpp_admin_commands_scan_t;

typedef struct {
    ngx_xmpp_admin_commands_scan_t  *announce;  /* under way in this worker */
} ngx_xmpp_admin_commands_main_conf_t;


extern ngx_module_t  ngx_xmpp_admin_commands_module;

/* what was done is a line of the log; target may have any prepared JID */
void ngx_xmpp_admin_commands_log(ngx_xmpp_stanza_t *stz, ngx_str_t *target);


/* ngx_xmpp_admin_commands_account.c: handlers of commands */

ngx_int_t ngx_xmpp_admin_commands_delete(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_form_t *form);
ngx_int_t ngx_xmpp_admin_commands_disable(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_form_t *form);
ngx_int_t ngx_xmpp_admin_commands_reenable(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_form_t *form);
ngx_int_t ngx_xmpp_admin_commands_end(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_form_t *form);
ngx_int_t ngx_xmpp_admin_commands_add(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_form_t *form);
ngx_int_t ngx_xmpp_admin_commands_change(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_form_t *form);


/* ngx_xmpp_admin_commands_scan.c: the same */

ngx_int_t ngx_xmpp_admin_commands_online_num(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_form_t *form);
ngx_int_t ngx_xmpp_admin_commands_online_list(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_form_t *form);
ngx_int_t ngx_xmpp_admin_commands_announce(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_form_t *form);

/* the worker ends: what goes on without a stanza is given up */
void ngx_xmpp_admin_commands_scan_exit(ngx_xmpp_admin_commands_scan_t *sc);


#endif /* _NGX_XMPP_ADMIN_COMMANDS_H_INCLUDED_ */
