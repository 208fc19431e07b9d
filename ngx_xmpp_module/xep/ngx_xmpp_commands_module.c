/*
 * Ad-hoc commands (XEP-0050): what a client may execute on a host by forms.
 * The commands are those that features add, core/ngx_xmpp_command.c; disco
 * (2.2) is in xep/ngx_xmpp_disco_module.c.
 *
 *     execute --> form, session --complete, or execute--> the command's handler
 *        |                '---------cancel--> canceled
 *        '-- it asks for nothing: the handler at once
 *
 * There is one stage, so "prev" and "next" are refused, as the form says.  No
 * state is kept between the two requests: the session certifies itself.  Left
 * out: commands of accounts, announcing a list (2.3), other languages.
 */


#include "ngx_xmpp.h"


static ngx_int_t ngx_xmpp_commands_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_xmpp_commands_prepare(ngx_conf_t *cf,
    ngx_xmpp_host_t *h);
static ngx_int_t ngx_xmpp_commands_set(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_commands_echo(ngx_xmpp_stanza_t *stz,
    ngx_str_t *node, ngx_str_t *id);
static ngx_int_t ngx_xmpp_commands_begin(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_command_t *cmd);
static ngx_int_t ngx_xmpp_commands_cancel(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_commands_submit(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_command_t *cmd);


/* 4.1, in this order */

typedef enum {
    NGX_XMPP_COMMANDS_EXECUTE = 0,
    NGX_XMPP_COMMANDS_CANCEL,
    NGX_XMPP_COMMANDS_PREV,
    NGX_XMPP_COMMANDS_NEXT,
    NGX_XMPP_COMMANDS_COMPLETE,
    NGX_XMPP_COMMANDS_ACTIONS
} ngx_xmpp_commands_action_e;

static ngx_str_t  ngx_xmpp_commands_actions[] = {
    ngx_string("execute"),
    ngx_string("cancel"),
    ngx_string("prev"),
    ngx_string("next"),
    ngx_string("complete")
};


static ngx_xmpp_xep_t  ngx_xmpp_commands_xeps[] = {
    { 4, "2.13.2", "what commands need" },
    { 50, "1.3.0", "commands of one form" },
    ngx_xmpp_null_xep
};


static ngx_xmpp_iq_t  ngx_xmpp_commands_iqs[] = {

    { NGX_XMPP_IQ_SET|NGX_XMPP_TO_HOST,
      ngx_string(NGX_XMPP_COMMAND_NS), ngx_string("command"),
      ngx_xmpp_commands_set },

      ngx_xmpp_null_iq
};


static ngx_command_t  ngx_xmpp_commands_commands[] = {

    { ngx_string("xmpp_commands"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_feature_conf_t, enable),
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_commands_module_ctx = {
    ngx_xmpp_commands_preconfiguration,    /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_feature_create_conf,          /* create server configuration */
    ngx_xmpp_feature_merge_on              /* merge server configuration */
};


ngx_module_t  ngx_xmpp_commands_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_commands_module_ctx,         /* module context */
    ngx_xmpp_commands_commands,            /* module directives */
    NGX_STREAM_MODULE,                     /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_xmpp_feature_t  ngx_xmpp_commands_feature = {
    &ngx_xmpp_commands_module,
    ngx_xmpp_commands_xeps,
    NULL,                                  /* features */
    NULL,                                  /* nonzas */
    NULL,                                  /* stream features */
    ngx_xmpp_commands_iqs,
    NULL,                                  /* hooks */
    NULL,                                  /* events */
    NULL,                                  /* identities */
    ngx_xmpp_commands_prepare,
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_commands_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_commands_feature);
}


/* features behind this one in "config" fill it */

static ngx_int_t
ngx_xmpp_commands_prepare(ngx_conf_t *cf, ngx_xmpp_host_t *h)
{
    return ngx_array_init(&h->commands, cf->pool, 8,
                          sizeof(ngx_xmpp_command_t));
}


static ngx_int_t
ngx_xmpp_commands_set(ngx_xmpp_stanza_t *stz)
{
    ngx_int_t            rc;
    ngx_str_t           *node, *id, *name;
    ngx_uint_t           action;
    ngx_xmpp_xml_t      *e;
    ngx_xmpp_command_t  *cmd;

    e = ngx_xmpp_stanza_payload(stz);

    node = ngx_xmpp_xml_attr(e, "node");
    id = ngx_xmpp_xml_attr(e, "sessionid");
    name = ngx_xmpp_xml_attr(e, "action");

    if (node == NULL) {
        return NGX_XMPP_E_BAD_REQUEST;
    }

    /* a client finds its session by what an error has of it, too */

    if (ngx_xmpp_commands_echo(stz, node, id) != NGX_OK) {
        return NGX_ERROR;
    }

    cmd = ngx_xmpp_command_find(stz->host, node);

    if (cmd == NULL) {
        return NGX_XMPP_E_ITEM_NOT_FOUND;
    }

    if (!ngx_xmpp_command_allowed(stz, cmd)) {
        return NGX_XMPP_E_FORBIDDEN;
    }

    /* by a list that nginx has been told to forget */

    if ((cmd->flags & NGX_XMPP_COMMAND_ADMIN)
        && stz->session->worker->draining)
    {
        return ngx_xmpp_refuse(stz, NGX_XMPP_E_RESOURCE_CONSTRAINT,
                               "nginx has a new configuration; log in again");
    }

    /* a password is asked for: not without TLS */

    if ((cmd->flags & NGX_XMPP_COMMAND_TLS)
        && (stz->session->stream == NULL || !stz->session->stream->tls))
    {
        return ngx_xmpp_refuse(stz, NGX_XMPP_E_NOT_AUTHORIZED,
                               "a password is sent over TLS only");
    }

    action = NGX_XMPP_COMMANDS_EXECUTE;

    for ( /* void */ ; name && action < NGX_XMPP_COMMANDS_ACTIONS; action++) {
        if (ngx_xmpp_str_eq(name, &ngx_xmpp_commands_actions[action])) {
            break;
        }
    }

    if (action == NGX_XMPP_COMMANDS_ACTIONS) {
        return NGX_XMPP_E_MALFORMED_ACTION;
    }

    /* 3.3: a session begins with "execute" */

    if (id == NULL) {
        return (action == NGX_XMPP_COMMANDS_EXECUTE)
               ? ngx_xmpp_commands_begin(stz, cmd) : NGX_XMPP_E_BAD_ACTION;
    }

    rc = ngx_xmpp_command_session_check(stz, node, id);

    if (rc != NGX_OK) {
        return rc;
    }

    switch (action) {

    case NGX_XMPP_COMMANDS_CANCEL:
        return ngx_xmpp_commands_cancel(stz);

    case NGX_XMPP_COMMANDS_PREV:
    case NGX_XMPP_COMMANDS_NEXT:
        return NGX_XMPP_E_BAD_ACTION;

    default:
        return ngx_xmpp_commands_submit(stz, cmd);
    }
}


/* 3.7, in the example: the element without its payload */

static ngx_int_t
ngx_xmpp_commands_echo(ngx_xmpp_stanza_t *stz, ngx_str_t *node, ngx_str_t *id)
{
    ngx_xmpp_xml_t  *e;

    static ngx_str_t  name = ngx_string("command");

    e = ngx_xmpp_xml_create(stz->pool, &name, &ngx_xmpp_command_ns);

    if (e == NULL
        || ngx_xmpp_xml_set(stz->pool, e, "node", node) != NGX_OK
        || (id
            && ngx_xmpp_xml_set(stz->pool, e, "sessionid", id) != NGX_OK))
    {
        return NGX_ERROR;
    }

    stz->echo = e;

    return NGX_OK;
}


/* 2.4.2: the form; 2.4.1: what asks for nothing is done at once */

static ngx_int_t
ngx_xmpp_commands_begin(ngx_xmpp_stanza_t *stz, ngx_xmpp_command_t *cmd)
{
    ngx_xmpp_xml_t  *e, *actions, *x;

    static ngx_str_t  name = ngx_string("actions");

    if (ngx_xmpp_store_secret(stz->session->worker->store)->len == 0) {
        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    if (cmd->fields == NULL) {
        return cmd->handler(stz, NULL);
    }

    e = ngx_xmpp_command_element(stz, "executing");
    if (e == NULL) {
        return NGX_ERROR;
    }

    actions = ngx_xmpp_xml_add(stz->pool, e, &name, NULL);

    if (actions == NULL
        || ngx_xmpp_xml_set(stz->pool, actions, "execute",
                    &ngx_xmpp_commands_actions[NGX_XMPP_COMMANDS_COMPLETE])
           != NGX_OK
        || ngx_xmpp_xml_add(stz->pool, actions,
                    &ngx_xmpp_commands_actions[NGX_XMPP_COMMANDS_COMPLETE],
                            NULL)
           == NULL)
    {
        return NGX_ERROR;
    }

    x = ngx_xmpp_form_asking(stz->pool, &cmd->form_type, &cmd->name,
                             &cmd->instructions, cmd->fields);
    if (x == NULL) {
        return NGX_ERROR;
    }

    ngx_xmpp_xml_append(e, x);

    return ngx_xmpp_reply(stz, e);
}


/* 2.4.3: MUST be answered; there is nothing to free */

static ngx_int_t
ngx_xmpp_commands_cancel(ngx_xmpp_stanza_t *stz)
{
    ngx_xmpp_xml_t  *e;

    e = ngx_xmpp_command_element(stz, "canceled");

    return e ? ngx_xmpp_reply(stz, e) : NGX_ERROR;
}


static ngx_int_t
ngx_xmpp_commands_submit(ngx_xmpp_stanza_t *stz, ngx_xmpp_command_t *cmd)
{
    ngx_int_t         rc;
    ngx_str_t        *type;
    const char       *wrong;
    ngx_xmpp_xml_t   *x;
    ngx_xmpp_form_t  *form;

    static ngx_str_t  submit = ngx_string("submit");
    static ngx_str_t  cancel = ngx_string("cancel");

    if (cmd->fields == NULL) {

        /* its session ended with the answer to the first request */

        return NGX_XMPP_E_SESSION_EXPIRED;
    }

    x = ngx_xmpp_xml_child(ngx_xmpp_stanza_payload(stz), "x",
                           &ngx_xmpp_form_ns);
    type = x ? ngx_xmpp_xml_attr(x, "type") : NULL;

    /* 3.5.1: "cancel" SHOULD be considered "submit" */

    if (type == NULL
        || (!ngx_xmpp_str_eq(type, &submit) && !ngx_xmpp_str_eq(type, &cancel)))
    {
        return ngx_xmpp_refuse(stz, NGX_XMPP_E_BAD_PAYLOAD,
                               "the form is to be submitted");
    }

    form = ngx_palloc(stz->pool, sizeof(ngx_xmpp_form_t));
    if (form == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_xmpp_form_parse(stz->pool, x, &cmd->form_type, cmd->fields, form,
                             &wrong);

    if (rc == NGX_DECLINED) {
        return ngx_xmpp_refuse(stz, NGX_XMPP_E_BAD_PAYLOAD, "%s", wrong);
    }

    return (rc == NGX_OK) ? cmd->handler(stz, form) : NGX_ERROR;
}
