/*
 * Service administration (XEP-0133): what the administrators of a domain
 * (xmpp_admin) do to its accounts by ad-hoc commands, as others by xmppctl.
 *
 * Here are the commands and their forms; what they do to accounts is in
 * ngx_xmpp_admin_commands_account.c, what looks at all of them in
 * ngx_xmpp_admin_commands_scan.c.  A host without administrators has none.
 */


#include "ngx_xmpp_admin_commands.h"


#define NGX_XMPP_ADMIN_COMMANDS_NS      "http://jabber.org/protocol/admin"


static ngx_int_t ngx_xmpp_admin_commands_preconfiguration(ngx_conf_t *cf);
static void *ngx_xmpp_admin_commands_create_main_conf(ngx_conf_t *cf);
static ngx_int_t ngx_xmpp_admin_commands_prepare(ngx_conf_t *cf,
    ngx_xmpp_host_t *h);
static void ngx_xmpp_admin_commands_exit(ngx_cycle_t *cycle);


static ngx_xmpp_form_ask_t  ngx_xmpp_admin_commands_add_form[] = {

    { ngx_string("accountjid"), ngx_string("jid-single"),
      ngx_string("The Jabber ID for the account to be added"), 1, NULL },

    { ngx_string("password"), ngx_string("text-private"),
      ngx_string("The password for this account"), 1, NULL },

    { ngx_string("password-verify"), ngx_string("text-private"),
      ngx_string("Retype password"), 1, NULL },

      ngx_xmpp_null_form_ask
};


static ngx_xmpp_form_ask_t  ngx_xmpp_admin_commands_change_form[] = {

    { ngx_string("accountjid"), ngx_string("jid-single"),
      ngx_string("The Jabber ID for this account"), 1, NULL },

    { ngx_string("password"), ngx_string("text-private"),
      ngx_string("The password for this account"), 1, NULL },

      ngx_xmpp_null_form_ask
};


static ngx_xmpp_form_ask_t  ngx_xmpp_admin_commands_delete_form[] = {

    { ngx_string("accountjids"), ngx_string("jid-multi"),
      ngx_string("The Jabber ID(s) to delete"), 1, NULL },

      ngx_xmpp_null_form_ask
};


static ngx_xmpp_form_ask_t  ngx_xmpp_admin_commands_disable_form[] = {

    { ngx_string("accountjids"), ngx_string("jid-multi"),
      ngx_string("The Jabber ID(s) to disable"), 1, NULL },

      ngx_xmpp_null_form_ask
};


static ngx_xmpp_form_ask_t  ngx_xmpp_admin_commands_reenable_form[] = {

    { ngx_string("accountjids"), ngx_string("jid-multi"),
      ngx_string("The Jabber ID(s) to re-enable"), 1, NULL },

      ngx_xmpp_null_form_ask
};


static ngx_xmpp_form_ask_t  ngx_xmpp_admin_commands_end_form[] = {

    { ngx_string("accountjids"), ngx_string("jid-multi"),
      ngx_string("The Jabber ID(s) for which to end sessions"), 1, NULL },

      ngx_xmpp_null_form_ask
};


/* 4.20: "none" is as many as the server tells at most */

static ngx_str_t  ngx_xmpp_admin_commands_max_items[] = {
    ngx_string("25"),
    ngx_string("50"),
    ngx_string("75"),
    ngx_string("100"),
    ngx_string("150"),
    ngx_string("200"),
    ngx_string("none"),
    ngx_null_string
};


static ngx_xmpp_form_ask_t  ngx_xmpp_admin_commands_list_form[] = {

    { ngx_string("max_items"), ngx_string("list-single"),
      ngx_string("Maximum number of items to show"), 0,
      ngx_xmpp_admin_commands_max_items },

      ngx_xmpp_null_form_ask
};


static ngx_xmpp_form_ask_t  ngx_xmpp_admin_commands_announce_form[] = {

    { ngx_string("announcement"), ngx_string("text-multi"),
      ngx_string("Announcement"), 1, NULL },

      ngx_xmpp_null_form_ask
};


/* the nodes of section 4 */

static ngx_xmpp_command_t  ngx_xmpp_admin_commands_table[] = {

    { ngx_string(NGX_XMPP_ADMIN_COMMANDS_NS "#add-user"),
      ngx_string("Add User"),
      ngx_string("Fill out this form to add a user."),
      NGX_XMPP_COMMAND_ADMIN|NGX_XMPP_COMMAND_TLS,
      ngx_string(NGX_XMPP_ADMIN_COMMANDS_NS),
      ngx_xmpp_admin_commands_add_form,
      ngx_xmpp_admin_commands_add },

    { ngx_string(NGX_XMPP_ADMIN_COMMANDS_NS "#delete-user"),
      ngx_string("Delete User"),
      ngx_string("Fill out this form to delete a user."),
      NGX_XMPP_COMMAND_ADMIN,
      ngx_string(NGX_XMPP_ADMIN_COMMANDS_NS),
      ngx_xmpp_admin_commands_delete_form,
      ngx_xmpp_admin_commands_delete },

    { ngx_string(NGX_XMPP_ADMIN_COMMANDS_NS "#disable-user"),
      ngx_string("Disable User"),
      ngx_string("Fill out this form to disable a user."),
      NGX_XMPP_COMMAND_ADMIN,
      ngx_string(NGX_XMPP_ADMIN_COMMANDS_NS),
      ngx_xmpp_admin_commands_disable_form,
      ngx_xmpp_admin_commands_disable },

    { ngx_string(NGX_XMPP_ADMIN_COMMANDS_NS "#reenable-user"),
      ngx_string("Re-Enable User"),
      ngx_string("Fill out this form to re-enable a user."),
      NGX_XMPP_COMMAND_ADMIN,
      ngx_string(NGX_XMPP_ADMIN_COMMANDS_NS),
      ngx_xmpp_admin_commands_reenable_form,
      ngx_xmpp_admin_commands_reenable },

    { ngx_string(NGX_XMPP_ADMIN_COMMANDS_NS "#end-user-session"),
      ngx_string("End User Session"),
      ngx_string("Fill out this form to end a user's session."),
      NGX_XMPP_COMMAND_ADMIN,
      ngx_string(NGX_XMPP_ADMIN_COMMANDS_NS),
      ngx_xmpp_admin_commands_end_form,
      ngx_xmpp_admin_commands_end },

    { ngx_string(NGX_XMPP_ADMIN_COMMANDS_NS "#change-user-password"),
      ngx_string("Change User Password"),
      ngx_string("Fill out this form to change a user's password."),
      NGX_XMPP_COMMAND_ADMIN|NGX_XMPP_COMMAND_TLS,
      ngx_string(NGX_XMPP_ADMIN_COMMANDS_NS),
      ngx_xmpp_admin_commands_change_form,
      ngx_xmpp_admin_commands_change },

    { ngx_string(NGX_XMPP_ADMIN_COMMANDS_NS "#get-online-users-num"),
      ngx_string("Get Number of Online Users"),
      ngx_null_string,
      NGX_XMPP_COMMAND_ADMIN,
      ngx_string(NGX_XMPP_ADMIN_COMMANDS_NS),
      NULL,
      ngx_xmpp_admin_commands_online_num },

    { ngx_string(NGX_XMPP_ADMIN_COMMANDS_NS "#get-online-users-list"),
      ngx_string("Get List of Online Users"),
      ngx_string("Fill out this form to request the online users of this "
                 "service."),
      NGX_XMPP_COMMAND_ADMIN,
      ngx_string(NGX_XMPP_ADMIN_COMMANDS_NS),
      ngx_xmpp_admin_commands_list_form,
      ngx_xmpp_admin_commands_online_list },

    { ngx_string(NGX_XMPP_ADMIN_COMMANDS_NS "#announce"),
      ngx_string("Send Announcement to Online Users"),
      ngx_string("Fill out this form to make an announcement to all active "
                 "users of this service."),
      NGX_XMPP_COMMAND_ADMIN,
      ngx_string(NGX_XMPP_ADMIN_COMMANDS_NS),
      ngx_xmpp_admin_commands_announce_form,
      ngx_xmpp_admin_commands_announce },

      ngx_xmpp_null_command
};


static ngx_xmpp_xep_t  ngx_xmpp_admin_commands_xeps[] = {
    { 133, "1.3.1", "accounts, online users, announcements" },
    ngx_xmpp_null_xep
};


static ngx_command_t  ngx_xmpp_admin_commands_commands[] = {

    { ngx_string("xmpp_admin_commands"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_feature_conf_t, enable),
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_admin_commands_module_ctx = {
    ngx_xmpp_admin_commands_preconfiguration,  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    ngx_xmpp_admin_commands_create_main_conf,  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_feature_create_conf,          /* create server configuration */
    ngx_xmpp_feature_merge_on              /* merge server configuration */
};


ngx_module_t  ngx_xmpp_admin_commands_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_admin_commands_module_ctx,   /* module context */
    ngx_xmpp_admin_commands_commands,      /* module directives */
    NGX_STREAM_MODULE,                     /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_xmpp_admin_commands_exit,          /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_xmpp_feature_t  ngx_xmpp_admin_commands_feature = {
    &ngx_xmpp_admin_commands_module,
    ngx_xmpp_admin_commands_xeps,
    NULL,                                  /* features */
    NULL,                                  /* nonzas */
    NULL,                                  /* stream features */
    NULL,                                  /* iqs */
    NULL,                                  /* hooks */
    NULL,                                  /* events */
    NULL,                                  /* identities */
    ngx_xmpp_admin_commands_prepare,
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_admin_commands_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_admin_commands_feature);
}


static void *
ngx_xmpp_admin_commands_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_xmpp_admin_commands_main_conf_t));
}


/* a host without administrators has none of it */

static ngx_int_t
ngx_xmpp_admin_commands_prepare(ngx_conf_t *cf, ngx_xmpp_host_t *h)
{
    ngx_xmpp_srv_conf_t  *xscf;

    xscf = ngx_xmpp_host_conf(h, ngx_xmpp_module);

    return xscf->admins
           ? ngx_xmpp_command_add(h, ngx_xmpp_admin_commands_table) : NGX_OK;
}


static void
ngx_xmpp_admin_commands_exit(ngx_cycle_t *cycle)
{
    ngx_xmpp_admin_commands_main_conf_t  *amcf;

    amcf = ngx_stream_cycle_get_module_main_conf(cycle,
                                             ngx_xmpp_admin_commands_module);

    if (amcf && amcf->announce) {
        ngx_xmpp_admin_commands_scan_exit(amcf->announce);
    }
}


void
ngx_xmpp_admin_commands_log(ngx_xmpp_stanza_t *stz, ngx_str_t *target)
{
    ngx_log_error(NGX_LOG_NOTICE, stz->session->worker->log, 0,
                  "xmpp administrator \"%V\" executed \"%V\" for \"%V\"",
                  &stz->session->jid.full,
                  ngx_xmpp_xml_attr(ngx_xmpp_stanza_payload(stz), "node"),
                  target);
}
