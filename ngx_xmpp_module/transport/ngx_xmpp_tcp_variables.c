/*
 * The variables of stream{}.  Before the header has named a host, $xmpp_host
 * is the one that SNI did: so a certificate's file may be named by it.  None
 * is cached: an early reader would get less than a later one.
 *
 * The values are those of the stream (core/ngx_xmpp_variables.c), which http{}
 * has, too.  A connection that is not XMPP has none of them.
 */


#include "ngx_xmpp_tcp.h"


static ngx_int_t ngx_xmpp_tcp_variable(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);


ngx_int_t
ngx_xmpp_tcp_variables(ngx_conf_t *cf)
{
    ngx_xmpp_variable_t    *xv;
    ngx_stream_variable_t  *var;

    for (xv = ngx_xmpp_variables; xv->name.len; xv++) {
        var = ngx_stream_add_variable(cf, &xv->name,
                                      NGX_STREAM_VAR_NOCACHEABLE);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = ngx_xmpp_tcp_variable;
        var->data = (uintptr_t) xv;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_tcp_variable(ngx_stream_session_t *s, ngx_stream_variable_value_t *v,
    uintptr_t data)
{
    ngx_xmpp_variable_t *xv = (ngx_xmpp_variable_t *) data;

    ngx_xmpp_srv_conf_t  *xscf;

    if (ngx_xmpp_variables_value(ngx_stream_get_module_ctx(s, ngx_xmpp_module),
                                 s->connection->pool, v, xv->data)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (v->not_found && ngx_strcmp(xv->name.data, "xmpp_host") == 0) {
        xscf = ngx_stream_get_module_srv_conf(s, ngx_xmpp_module);

        if (xscf->host) {
            ngx_xmpp_variables_set(v, &xscf->host->name);
        }
    }

    return NGX_OK;
}
