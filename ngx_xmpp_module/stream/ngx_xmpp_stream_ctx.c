/*
 * What features keep in a stream, until it has a session or beside it: a
 * list, since few streams have anything there, and those have it briefly.
 * Both the list and what is in it live in the connection's pool, and so as long
 * as the stream; nothing is taken out of it.
 *
 *     nothing --set, once for each feature--> data --the connection's end-->
 *
 * A feature is known by its module; what it puts there is its own.
 */


#include "ngx_xmpp_stream.h"


/* what a feature has put there, or NULL */

void *
ngx_xmpp_stream_get_ctx(ngx_xmpp_stream_t *st, ngx_module_t *module)
{
    ngx_xmpp_stream_ctx_t  *ctx;

    for (ctx = st->ctx; ctx; ctx = ctx->next) {
        if (ctx->module == module) {
            return ctx->data;
        }
    }

    return NULL;
}


/* once for each feature; NGX_OK or NGX_ERROR (no memory) */

ngx_int_t
ngx_xmpp_stream_set_ctx(ngx_xmpp_stream_t *st, ngx_module_t *module,
    void *data)
{
    ngx_xmpp_stream_ctx_t  *ctx;

    ctx = ngx_palloc(st->connection->pool, sizeof(ngx_xmpp_stream_ctx_t));
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->module = module;
    ctx->data = data;
    ctx->next = st->ctx;
    st->ctx = ctx;

    return NGX_OK;
}
