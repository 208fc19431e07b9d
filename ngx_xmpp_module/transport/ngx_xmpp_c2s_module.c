/*
 * xmpp_c2s: a listener for clients on TCP, STARTTLS or direct TLS
 * (RFC 6120; XEP-0368).  The directive is a flag: who is served is said by
 * xmpp_host.
 *
 * It is the content handler of its server, and of each host that a
 * connection is moved into by SNI or STARTTLS: nginx comes here when the
 * connection was accepted and direct TLS is done, and again after the
 * handshake that followed <starttls/>.  The stream is made at the first time
 * and lives in the connection's pool.
 */


#include "ngx_xmpp_tcp.h"


static ngx_int_t ngx_xmpp_c2s_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_xmpp_c2s_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_xmpp_c2s_check(ngx_conf_t *cf);
static ngx_uint_t ngx_xmpp_c2s_udp(ngx_stream_core_main_conf_t *cmcf,
    ngx_stream_core_srv_conf_t *cscf);
static ngx_int_t ngx_xmpp_c2s_add_log(ngx_conf_t *cf);
static ngx_int_t ngx_xmpp_c2s_log(ngx_stream_session_t *s);
static char *ngx_xmpp_c2s(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static void ngx_xmpp_c2s_handler(ngx_stream_session_t *s);


static ngx_xmpp_xep_t  ngx_xmpp_c2s_xeps[] = {
    { 6120, NULL, "section 4" },
    { 203, "2.0", "forged ones are taken out" },
    { 368, "1.1.0", "complete" },
    ngx_xmpp_null_xep
};


static ngx_command_t  ngx_xmpp_c2s_commands[] = {

    { ngx_string("xmpp_c2s"),
      NGX_STREAM_SRV_CONF|NGX_CONF_NOARGS,
      ngx_xmpp_c2s,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_c2s_module_ctx = {
    ngx_xmpp_c2s_preconfiguration,         /* preconfiguration */
    ngx_xmpp_c2s_postconfiguration,        /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL                                   /* merge server configuration */
};


ngx_module_t  ngx_xmpp_c2s_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_c2s_module_ctx,              /* module context */
    ngx_xmpp_c2s_commands,                 /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_c2s_feature = {
    &ngx_xmpp_c2s_module,
    ngx_xmpp_c2s_xeps,
    NULL,                                  /* disco features */
    NULL,                                  /* nonzas */
    NULL,                                  /* stream features */
    NULL,                                  /* iq */
    NULL,                                  /* hooks */
    NULL,                                  /* events */
    NULL,                                  /* identities */
    NULL,                                  /* prepare */
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_c2s_preconfiguration(ngx_conf_t *cf)
{
    if (ngx_xmpp_tcp_variables(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_xmpp_feature_add(cf, &ngx_xmpp_c2s_feature);
}


static ngx_int_t
ngx_xmpp_c2s_postconfiguration(ngx_conf_t *cf)
{
    ngx_uint_t                    i;
    ngx_xmpp_host_t             **hp;
    ngx_xmpp_main_conf_t         *xmcf;
    ngx_stream_core_srv_conf_t   *cscf;

    xmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_xmpp_module);

    if (xmcf->listeners == 0) {
        return NGX_OK;
    }

    if (ngx_xmpp_c2s_check(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_xmpp_c2s_add_log(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    /* a connection comes to us also when TLS has moved it into a host */

    hp = xmcf->hosts.elts;

    for (i = 0; i < xmcf->hosts.nelts; i++) {
        cscf = ngx_xmpp_host_conf(hp[i], ngx_stream_core_module);
        cscf->handler = ngx_xmpp_c2s_handler;
    }

    return ngx_xmpp_tls_init(cf, xmcf);
}


/* proxy_pass and others take a server over without a word */

static ngx_int_t
ngx_xmpp_c2s_check(ngx_conf_t *cf)
{
    ngx_uint_t                     i;
    ngx_xmpp_srv_conf_t           *xscf;
    ngx_stream_core_srv_conf_t   **cscf;
    ngx_stream_core_main_conf_t   *cmcf;

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);
    cscf = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {
        xscf = cscf[i]->ctx->srv_conf[ngx_xmpp_module.ctx_index];

        if (xscf->listener && cscf[i]->handler != ngx_xmpp_c2s_handler) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"xmpp_c2s\" and another handler, like "
                          "\"proxy_pass\", are in one server in %s:%ui",
                          cscf[i]->file_name, cscf[i]->line);
            return NGX_ERROR;
        }

        if (xscf->listener && ngx_xmpp_c2s_udp(cmcf, cscf[i])) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"xmpp_c2s\" is for TCP: remove \"udp\" from "
                          "\"listen\" in the server in %s:%ui",
                          cscf[i]->file_name, cscf[i]->line);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


#if (nginx_version >= 1025005)

static ngx_uint_t
ngx_xmpp_c2s_udp(ngx_stream_core_main_conf_t *cmcf,
    ngx_stream_core_srv_conf_t *cscf)
{
    ngx_uint_t                     p, a, i;
    ngx_stream_conf_port_t        *port;
    ngx_stream_conf_addr_t        *addr;
    ngx_stream_core_srv_conf_t   **server;

    if (cmcf->ports == NULL) {
        return 0;
    }

    port = cmcf->ports->elts;

    for (p = 0; p < cmcf->ports->nelts; p++) {

        if (port[p].type == SOCK_STREAM) {
            continue;
        }

        addr = port[p].addrs.elts;

        for (a = 0; a < port[p].addrs.nelts; a++) {
            server = addr[a].servers.elts;

            for (i = 0; i < addr[a].servers.nelts; i++) {
                if (server[i] == cscf) {
                    return 1;
                }
            }
        }
    }

    return 0;
}

#else

static ngx_uint_t
ngx_xmpp_c2s_udp(ngx_stream_core_main_conf_t *cmcf,
    ngx_stream_core_srv_conf_t *cscf)
{
    ngx_uint_t            i;
    ngx_stream_listen_t  *ls;

    ls = cmcf->listen.elts;

    for (i = 0; i < cmcf->listen.nelts; i++) {
        if (ls[i].type != SOCK_STREAM && ls[i].ctx == cscf->ctx) {
            return 1;
        }
    }

    return 0;
}

#endif


/* before nginx's own handler, which was there first */

static ngx_int_t
ngx_xmpp_c2s_add_log(ngx_conf_t *cf)
{
    ngx_array_t                  *a;
    ngx_stream_handler_pt        *h;
    ngx_stream_core_main_conf_t  *cmcf;

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);

    a = &cmcf->phases[NGX_STREAM_LOG_PHASE].handlers;

    if (ngx_array_push(a) == NULL) {
        return NGX_ERROR;
    }

    h = a->elts;

    ngx_memmove(h + 1, h, (a->nelts - 1) * sizeof(ngx_stream_handler_pt));

    h[0] = ngx_xmpp_c2s_log;

    return NGX_OK;
}


/*
 * A session is logged once.  Its host's access_log is for that only where the
 * host has one of its own: else it is the listener's, wherever TLS has moved
 * the session.
 */

static ngx_int_t
ngx_xmpp_c2s_log(ngx_stream_session_t *s)
{
    ngx_xmpp_stream_t    *st;
    ngx_xmpp_srv_conf_t  *xscf, *listener;

    xscf = ngx_stream_get_module_srv_conf(s, ngx_xmpp_module);

    if (xscf->host == NULL || xscf->host->access_log) {
        return NGX_OK;
    }

    st = ngx_stream_get_module_ctx(s, ngx_xmpp_module);

    listener = st ? st->conf : ngx_stream_get_module_ctx(s,
                                                         ngx_xmpp_c2s_module);

    if (listener) {
        s->srv_conf = listener->ctx->srv_conf;
    }

    return NGX_OK;
}


static char *
ngx_xmpp_c2s(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_xmpp_srv_conf_t         *xscf;
    ngx_stream_core_srv_conf_t  *cscf;

    xscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_xmpp_module);
    cscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_core_module);

    if (cscf->handler) {
        return "is duplicate, or the server has another handler";
    }

    cscf->handler = ngx_xmpp_c2s_handler;
    xscf->listener = 1;

    return NGX_CONF_OK;
}


/* the content handler: a connection was accepted, and TLS is done if direct */

static void
ngx_xmpp_c2s_handler(ngx_stream_session_t *s)
{
    ngx_xmpp_stream_t     *st;
    ngx_xmpp_worker_t     *w;
    ngx_xmpp_srv_conf_t   *xscf;
    ngx_xmpp_main_conf_t  *xmcf;

    /* after STARTTLS nginx comes here again */

    st = ngx_stream_get_module_ctx(s, ngx_xmpp_module);

    if (st != NULL) {
        st->transport->secured(st);
        return;
    }

    xmcf = ngx_stream_get_module_main_conf(s, ngx_xmpp_module);
    w = xmcf->worker;

    /* a handshake may end when the worker has given Redis up already */

    if (w == NULL || w->draining || s->connection->type != SOCK_STREAM) {
        ngx_stream_finalize_session(s, NGX_STREAM_SERVICE_UNAVAILABLE);
        return;
    }

    /* SNI has moved the session, but the limits are the listener's */

    xscf = ngx_stream_get_module_ctx(s, ngx_xmpp_c2s_module);

    if (xscf == NULL) {
        xscf = ngx_stream_get_module_srv_conf(s, ngx_xmpp_module);
    }

    st = ngx_xmpp_tcp_create(s, w, xscf);

    if (st == NULL) {
        ngx_stream_finalize_session(s, NGX_STREAM_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_xmpp_tcp_start(st);
}
