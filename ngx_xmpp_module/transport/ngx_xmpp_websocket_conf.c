/*
 * xmpp_websocket: what is refused by nginx -t.
 *
 *     when http{} was read     a server whose clients would all be refused,
 *                              since they come without TLS
 *     when all was read        no xmpp_host in stream{}
 *
 * The second is for a core module, whose init_conf() is called before the old
 * configuration is given up: an init_module() that fails ends the master.
 */


#include "ngx_xmpp_websocket.h"


static ngx_uint_t ngx_xmpp_websocket_reachable(
    ngx_http_core_main_conf_t *cmcf, ngx_xmpp_websocket_place_t *place);
static char *ngx_xmpp_websocket_init_conf(ngx_cycle_t *cycle, void *conf);
static ngx_xmpp_srv_conf_t *ngx_xmpp_websocket_limits(ngx_cycle_t *cycle,
    ngx_stream_conf_ctx_t *ctx);


static ngx_core_module_t  ngx_xmpp_websocket_conf_module_ctx = {
    ngx_string("xmpp_websocket"),
    NULL,                                  /* create configuration */
    ngx_xmpp_websocket_init_conf           /* init configuration */
};


ngx_module_t  ngx_xmpp_websocket_conf_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_websocket_conf_module_ctx,   /* module context */
    NULL,                                  /* module directives */
    NGX_CORE_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/* for the postconfiguration of http{}; NGX_OK or NGX_ERROR */

ngx_int_t
ngx_xmpp_websocket_check(ngx_conf_t *cf)
{
    ngx_uint_t                       i;
    ngx_http_core_main_conf_t       *cmcf;
    ngx_xmpp_websocket_place_t      *place;
    ngx_xmpp_websocket_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_xmpp_websocket_module);
    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    place = mcf->places.elts;

    for (i = 0; i < mcf->places.nelts; i++) {

        if (place[i].conf->proxies
            || ngx_xmpp_websocket_reachable(cmcf, &place[i]))
        {
            continue;
        }

        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"xmpp_websocket\" in %V:%ui is in a server without "
                      "TLS: add \"ssl\" to its \"listen\", let it listen on a "
                      "loopback address, or name the proxy that has TLS by "
                      "\"xmpp_websocket_proxy\"",
                      &place[i].file, place[i].line);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* whether its server listens somewhere with TLS, or for this machine only */

static ngx_uint_t
ngx_xmpp_websocket_reachable(ngx_http_core_main_conf_t *cmcf,
    ngx_xmpp_websocket_place_t *place)
{
    u_char                       buf[NGX_XMPP_NETWORK_MAX];
    ngx_uint_t                   p, a, s;
    ngx_http_conf_port_t        *port;
    ngx_http_conf_addr_t        *addr;
    ngx_http_core_srv_conf_t   **server;

#if (NGX_HTTP_SSL && nginx_version < 1025001)

    ngx_http_ssl_srv_conf_t     *sslcf;

    sslcf = place->server->ctx->srv_conf[ngx_http_ssl_module.ctx_index];

    if (sslcf->enable == 1) {
        return 1;
    }

#endif

    if (cmcf->ports == NULL) {
        return 1;
    }

    port = cmcf->ports->elts;

    for (p = 0; p < cmcf->ports->nelts; p++) {
        addr = port[p].addrs.elts;

        for (a = 0; a < port[p].addrs.nelts; a++) {

            if (!addr[a].opt.ssl
                && ngx_xmpp_network(addr[a].opt.sockaddr, buf) != 0)
            {
                continue;
            }

            server = addr[a].servers.elts;

            for (s = 0; s < addr[a].servers.nelts; s++) {
                if (server[s] == place->server) {
                    return 1;
                }
            }
        }
    }

    return 0;
}


static char *
ngx_xmpp_websocket_init_conf(ngx_cycle_t *cycle, void *conf)
{
    ngx_http_conf_ctx_t             *http;
    ngx_xmpp_main_conf_t            *xmcf;
    ngx_stream_conf_ctx_t           *stream;
    ngx_xmpp_websocket_place_t      *place;
    ngx_xmpp_websocket_main_conf_t  *mcf;

    http = (ngx_http_conf_ctx_t *) ngx_get_conf(cycle->conf_ctx,
                                                ngx_http_module);
    stream = (ngx_stream_conf_ctx_t *) ngx_get_conf(cycle->conf_ctx,
                                                    ngx_stream_module);
    if (http == NULL) {
        return NGX_CONF_OK;
    }

    mcf = http->main_conf[ngx_xmpp_websocket_module.ctx_index];

    if (mcf->places.nelts == 0) {
        return NGX_CONF_OK;
    }

    place = mcf->places.elts;

    xmcf = stream ? stream->main_conf[ngx_xmpp_module.ctx_index] : NULL;

    if (xmcf == NULL || xmcf->hosts.nelts == 0) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "\"xmpp_websocket\" in %V:%ui needs a domain to serve: "
                      "add \"xmpp_host\" to a stream block",
                      &place->file, place->line);
        return NGX_CONF_ERROR;
    }

    mcf->xmpp = xmcf;
    mcf->server = ngx_xmpp_websocket_limits(cycle, stream);

    if (mcf->server == NULL) {
        return NGX_CONF_ERROR;
    }

    xmcf->websockets = mcf->places.nelts;

    return NGX_CONF_OK;
}


/* those of stream{}, as a server would have them that sets none of its own */

static ngx_xmpp_srv_conf_t *
ngx_xmpp_websocket_limits(ngx_cycle_t *cycle, ngx_stream_conf_ctx_t *ctx)
{
    ngx_conf_t            cf;
    ngx_stream_module_t  *module;
    ngx_xmpp_srv_conf_t  *conf;

    ngx_memzero(&cf, sizeof(ngx_conf_t));

    cf.cycle = cycle;
    cf.pool = cycle->pool;
    cf.temp_pool = cycle->pool;
    cf.log = cycle->log;
    cf.ctx = ctx;

    module = ngx_xmpp_module.ctx;

    conf = module->create_srv_conf(&cf);

    if (conf == NULL
        || module->merge_srv_conf(&cf, ctx->srv_conf[ngx_xmpp_module.ctx_index],
                                  conf)
           != NGX_CONF_OK)
    {
        return NULL;
    }

    if (conf->output_queue < conf->limits.max_stanza) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "\"xmpp_output_queue\" must not be less than "
                      "\"xmpp_max_stanza\" in the stream block, whose limits "
                      "are those of \"xmpp_websocket\"");
        return NULL;
    }

    return conf;
}
