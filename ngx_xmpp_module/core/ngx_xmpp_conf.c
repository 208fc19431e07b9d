/*
 * Where a directive counts: in the server that accepted the connection, or
 * in the xmpp_host that the client has named.
 *
 *     NGX_STREAM_MAIN_CONF    stream
 *     NGX_STREAM_SRV_CONF     server, and not xmpp_host
 *     NGX_XMPP_HOST_CONF      xmpp_host, and not server: with a setter of ours
 *
 * To nginx an xmpp_host{} is a server{}, and so it would take there what is
 * never looked at: a "deny all;" that denies nothing.  Each directive of the
 * block therefore passes ngx_xmpp_conf_host(), which has the last word and
 * otherwise does what nginx does.  It gets no blocks: nginx refuses those
 * where another reads the directives.  In a server{} nginx reads, and the
 * setters of an xmpp_host's directives look where they are.
 */


#include "ngx_xmpp.h"


static ngx_command_t *ngx_xmpp_conf_find(ngx_conf_t *cf, ngx_str_t *name,
    ngx_module_t **module);
static ngx_int_t ngx_xmpp_conf_allowed(ngx_conf_t *cf, ngx_module_t *module,
    ngx_command_t *cmd);
static ngx_uint_t ngx_xmpp_conf_arguments(ngx_conf_t *cf, ngx_command_t *cmd);
static char *ngx_xmpp_conf_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf,
    char *(*set)(ngx_conf_t *cf, ngx_command_t *cmd, void *conf));
static char *ngx_xmpp_conf_choice(ngx_conf_t *cf, ngx_command_t *cmd);
static char *ngx_xmpp_conf_check_positive(ngx_conf_t *cf, void *post,
    void *data);
static char *ngx_xmpp_conf_check_second(ngx_conf_t *cf, void *post, void *data);


/* a limit or a time of 0 would end each stream, or each request, at once */

ngx_conf_post_t  ngx_xmpp_conf_positive = { ngx_xmpp_conf_check_positive };
ngx_conf_post_t  ngx_xmpp_conf_second = { ngx_xmpp_conf_check_second };


/* nginx's own that are looked at once the session has moved to its host */

static const char  *ngx_xmpp_conf_modules[] = {
    "ngx_stream_ssl_module",
    "ngx_stream_log_module",
    NULL
};

static const char  *ngx_xmpp_conf_directives[] = {
    "error_log",
    "resolver",
    "resolver_timeout",
    "tcp_nodelay",
    NULL
};


/* cf->handler of an xmpp_host{}: one directive, read and split */

char *
ngx_xmpp_conf_host(ngx_conf_t *cf, ngx_command_t *dummy, void *conf)
{
    char                   *rv;
    void                   *slot;
    ngx_str_t              *name;
    ngx_module_t           *module;
    ngx_command_t          *cmd;
    ngx_xmpp_srv_conf_t    *xscf;
    ngx_stream_conf_ctx_t  *ctx;

    name = cf->args->elts;

    cmd = ngx_xmpp_conf_find(cf, name, &module);

    if (cmd == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           module ? "\"%V\" directive is not allowed in "
                                    "\"xmpp_host\"%s"
                                  : "unknown directive \"%V\"", name,
                           (module && module->type == NGX_STREAM_MODULE)
                           ? "; put it into the stream block" : "");
        return NGX_CONF_ERROR;
    }

    if (ngx_xmpp_conf_allowed(cf, module, cmd) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (!ngx_xmpp_conf_arguments(cf, cmd)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid number of arguments in \"%V\" directive",
                           name);
        return NGX_CONF_ERROR;
    }

    slot = NULL;
    ctx = cf->ctx;

    if (module->type == NGX_STREAM_MODULE) {
        slot = (cmd->conf == NGX_STREAM_SRV_CONF_OFFSET)
               ? ctx->srv_conf[module->ctx_index]
               : ctx->main_conf[module->ctx_index];
    }

    rv = cmd->set(cf, cmd, slot);

    if (rv != NGX_CONF_OK) {

        if (rv != NGX_CONF_ERROR) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" directive %s",
                               name, rv);
        }

        return NGX_CONF_ERROR;
    }

    if (ngx_strcmp(name->data, "access_log") == 0) {
        xscf = ctx->srv_conf[ngx_xmpp_module.ctx_index];
        xscf->host->access_log = 1;
    }

    return NGX_CONF_OK;
}


/* NULL: it may not stand in a server, or (no module) there is none */

static ngx_command_t *
ngx_xmpp_conf_find(ngx_conf_t *cf, ngx_str_t *name, ngx_module_t **module)
{
    ngx_uint_t      i;
    ngx_command_t  *cmd;

    *module = NULL;

    for (i = 0; cf->cycle->modules[i]; i++) {

        for (cmd = cf->cycle->modules[i]->commands;
             cmd && cmd->name.len;
             cmd++)
        {
            if (!ngx_xmpp_str_eq(name, &cmd->name)) {
                continue;
            }

            *module = cf->cycle->modules[i];

            if (((*module)->type == NGX_STREAM_MODULE
                 || (*module)->type == NGX_CONF_MODULE)
                && (cmd->type & cf->cmd_type))
            {
                return cmd;
            }
        }
    }

    return NULL;
}


static ngx_int_t
ngx_xmpp_conf_allowed(ngx_conf_t *cf, ngx_module_t *module,
    ngx_command_t *cmd)
{
    const char  **name;

    if (module->type == NGX_CONF_MODULE
        || (cmd->type & NGX_XMPP_HOST_CONF & ~NGX_STREAM_SRV_CONF))
    {
        return NGX_OK;
    }

    for (name = ngx_xmpp_conf_modules; *name; name++) {
        if (ngx_strcmp(module->name, *name) == 0) {
            return NGX_OK;
        }
    }

    for (name = ngx_xmpp_conf_directives; *name; name++) {
        if (ngx_strcmp(cmd->name.data, *name) == 0) {
            return NGX_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"%V\" directive is not allowed in \"xmpp_host\": it "
                       "counts before the client has named a host; put it "
                       "into the server with \"xmpp_c2s\"%s",
                       &cmd->name, (cmd->type & NGX_STREAM_MAIN_CONF)
                                   ? ", or into the stream block" : "");

    return NGX_ERROR;
}


/* as nginx counts them: a bit for each number from none to seven */

static ngx_uint_t
ngx_xmpp_conf_arguments(ngx_conf_t *cf, ngx_command_t *cmd)
{
    ngx_uint_t  n;

    n = cf->args->nelts - 1;

    if (cmd->type & NGX_CONF_ANY) {
        return 1;
    }

    if (cmd->type & NGX_CONF_FLAG) {
        return n == 1;
    }

    if (cmd->type & NGX_CONF_1MORE) {
        return n >= 1;
    }

    if (cmd->type & NGX_CONF_2MORE) {
        return n >= 2;
    }

    return n < NGX_CONF_MAX_ARGS && (cmd->type & (NGX_CONF_NOARGS << n));
}


/*
 * The setters of directives with NGX_XMPP_HOST_CONF: nginx's, but for server.
 * That of an enum is for server as well, nginx's but for its message.
 */

char *
ngx_xmpp_conf_set_flag_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_xmpp_conf_slot(cf, cmd, conf, ngx_conf_set_flag_slot);
}


char *
ngx_xmpp_conf_set_num_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_xmpp_conf_slot(cf, cmd, conf, ngx_conf_set_num_slot);
}


char *
ngx_xmpp_conf_set_size_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_xmpp_conf_slot(cf, cmd, conf, ngx_conf_set_size_slot);
}


char *
ngx_xmpp_conf_set_msec_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_xmpp_conf_slot(cf, cmd, conf, ngx_conf_set_msec_slot);
}


char *
ngx_xmpp_conf_set_str_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_xmpp_conf_slot(cf, cmd, conf, ngx_conf_set_str_slot);
}


char *
ngx_xmpp_conf_set_enum_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *rv;

    rv = ngx_xmpp_conf_choice(cf, cmd);

    return (rv == NGX_CONF_OK) ? ngx_conf_set_enum_slot(cf, cmd, conf) : rv;
}


char *
ngx_xmpp_conf_set_bitmask_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    char  *rv;

    rv = ngx_xmpp_conf_choice(cf, cmd);

    return (rv == NGX_CONF_OK)
           ? ngx_xmpp_conf_slot(cf, cmd, conf, ngx_conf_set_bitmask_slot)
           : rv;
}


/* nginx would name neither the directive nor what there is to choose from */

static char *
ngx_xmpp_conf_choice(ngx_conf_t *cf, ngx_command_t *cmd)
{
    u_char           *p, *last, text[NGX_MAX_CONF_ERRSTR / 2];
    ngx_str_t        *value;
    ngx_uint_t        i;
    ngx_conf_enum_t  *e;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        /* ngx_conf_bitmask_t is the same but for the name of a field */

        for (e = cmd->post; e->name.len; e++) {
            if (e->name.len == value[i].len
                && ngx_strcasecmp(e->name.data, value[i].data) == 0)
            {
                break;
            }
        }

        if (e->name.len == 0) {
            break;
        }
    }

    if (i == cf->args->nelts) {
        return NGX_CONF_OK;
    }

    p = text;
    last = text + sizeof(text);

    for (e = cmd->post; e->name.len; e++) {
        p = ngx_slprintf(p, last, "%s\"%V\"", (p == text) ? "" : ", ",
                         &e->name);
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\" in \"%V\" directive, it must be "
                       "one of %*s",
                       &value[i], &cmd->name, (size_t) (p - text), text);

    return NGX_CONF_ERROR;
}


/* for a setter of another kind: NGX_CONF_OK, or it stands in a server */

char *
ngx_xmpp_conf_in_host(ngx_conf_t *cf)
{
    if (cf->cmd_type == NGX_STREAM_SRV_CONF) {
        return "is not allowed in a server: it concerns the domain; put it "
               "into \"xmpp_host\", or into the stream block";
    }

    return NGX_CONF_OK;
}


static char *
ngx_xmpp_conf_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf,
    char *(*set)(ngx_conf_t *cf, ngx_command_t *cmd, void *conf))
{
    char  *rv;

    rv = ngx_xmpp_conf_in_host(cf);

    return (rv == NGX_CONF_OK) ? set(cf, cmd, conf) : rv;
}


/* size_t and ngx_msec_t are of one size wherever nginx runs */

static char *
ngx_xmpp_conf_check_positive(ngx_conf_t *cf, void *post, void *data)
{
    size_t  *value = data;

    if (*value == 0) {
        return "must be more than 0, or left out for the default";
    }

    return NGX_CONF_OK;
}


/* Redis keeps such a key for whole seconds */

static char *
ngx_xmpp_conf_check_second(ngx_conf_t *cf, void *post, void *data)
{
    ngx_msec_t  *value = data;

    if (*value < 1000) {
        return "must be one second at least";
    }

    return NGX_CONF_OK;
}
