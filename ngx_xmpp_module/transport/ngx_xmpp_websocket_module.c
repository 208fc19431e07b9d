/*
 * xmpp_websocket: XMPP over WebSocket (RFC 7395) in a location of http{}.
 *
 * A flag, as xmpp_c2s is: who is served is said by xmpp_host in stream{}, and
 * the limits are those of stream{}.  The two blocks may come in any order, so
 * what stream{} has for us is looked up when all was read, by a core module of
 * its own (ngx_xmpp_websocket_conf.c).
 */


#include "ngx_xmpp_websocket.h"


static ngx_int_t ngx_xmpp_websocket_preconfiguration(ngx_conf_t *cf);
static void *ngx_xmpp_websocket_create_main_conf(ngx_conf_t *cf);
static void *ngx_xmpp_websocket_create_loc_conf(ngx_conf_t *cf);
static char *ngx_xmpp_websocket_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_xmpp_websocket(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_uint_t ngx_xmpp_websocket_usual_port(ngx_str_t *origin);
static char *ngx_xmpp_websocket_origins(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_xmpp_websocket_proxies(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_xmpp_websocket_handler(ngx_http_request_t *r);
static ngx_int_t ngx_xmpp_websocket_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


/* for docs/xep.md: http{} has no table of features */

ngx_xmpp_xep_t  ngx_xmpp_websocket_xeps[] = {
    { 7395, NULL, "complete" },
    ngx_xmpp_null_xep
};


static ngx_command_t  ngx_xmpp_websocket_commands[] = {

    { ngx_string("xmpp_websocket"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_xmpp_websocket,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("xmpp_websocket_origin"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_xmpp_websocket_origins,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("xmpp_websocket_proxy"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_xmpp_websocket_proxies,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("xmpp_websocket_see_other_uri"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_xmpp_websocket_loc_conf_t, other),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_xmpp_websocket_module_ctx = {
    ngx_xmpp_websocket_preconfiguration,   /* preconfiguration */
    ngx_xmpp_websocket_check,              /* postconfiguration */

    ngx_xmpp_websocket_create_main_conf,   /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_xmpp_websocket_create_loc_conf,    /* create location configuration */
    ngx_xmpp_websocket_merge_loc_conf      /* merge location configuration */
};


ngx_module_t  ngx_xmpp_websocket_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_websocket_module_ctx,        /* module context */
    ngx_xmpp_websocket_commands,           /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/* the variables of stream{}, for access_log and all else of http{} */

static ngx_int_t
ngx_xmpp_websocket_preconfiguration(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var;
    ngx_xmpp_variable_t  *xv;

    for (xv = ngx_xmpp_variables; xv->name.len; xv++) {
        var = ngx_http_add_variable(cf, &xv->name, NGX_HTTP_VAR_NOCACHEABLE);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = ngx_xmpp_websocket_variable;
        var->data = xv->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_websocket_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    return ngx_xmpp_variables_value(ngx_xmpp_websocket_stream(r), r->pool, v,
                                    data);
}


static void *
ngx_xmpp_websocket_create_main_conf(ngx_conf_t *cf)
{
    ngx_xmpp_websocket_main_conf_t  *mcf;

    mcf = ngx_pcalloc(cf->pool, sizeof(ngx_xmpp_websocket_main_conf_t));

    if (mcf == NULL
        || ngx_array_init(&mcf->places, cf->pool, 1,
                          sizeof(ngx_xmpp_websocket_place_t))
           != NGX_OK)
    {
        return NULL;
    }

    return mcf;
}


static void *
ngx_xmpp_websocket_create_loc_conf(ngx_conf_t *cf)
{
    ngx_xmpp_websocket_loc_conf_t  *lcf;

    lcf = ngx_pcalloc(cf->pool, sizeof(ngx_xmpp_websocket_loc_conf_t));
    if (lcf == NULL) {
        return NULL;
    }

    lcf->origins = NGX_CONF_UNSET_PTR;
    lcf->proxies = NGX_CONF_UNSET_PTR;
    lcf->other = NGX_CONF_UNSET_PTR;

    return lcf;
}


static char *
ngx_xmpp_websocket_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_xmpp_websocket_loc_conf_t *prev = parent;
    ngx_xmpp_websocket_loc_conf_t *conf = child;

    ngx_conf_merge_ptr_value(conf->origins, prev->origins, NULL);
    ngx_conf_merge_ptr_value(conf->proxies, prev->proxies, NULL);
    ngx_conf_merge_ptr_value(conf->other, prev->other, NULL);

    return NGX_CONF_OK;
}


static char *
ngx_xmpp_websocket(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_xmpp_websocket_place_t      *place;
    ngx_http_core_loc_conf_t        *clcf;
    ngx_xmpp_websocket_main_conf_t  *mcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        return "is duplicate, or the location has another handler";
    }

    clcf->handler = ngx_xmpp_websocket_handler;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_xmpp_websocket_module);

    place = ngx_array_push(&mcf->places);
    if (place == NULL) {
        return NGX_CONF_ERROR;
    }

    place->server = ngx_http_conf_get_module_srv_conf(cf,
                                                      ngx_http_core_module);
    place->conf = conf;
    place->file = cf->conf_file->file.name;
    place->line = cf->conf_file->line;

    return NGX_CONF_OK;
}


/* RFC 6454, 6.2: "https://example.org", with no slash at the end */

static ngx_uint_t
ngx_xmpp_websocket_usual_port(ngx_str_t *origin)
{
    u_char  *last;

    last = origin->data + origin->len;

    return (ngx_strncasecmp(origin->data, (u_char *) "https://", 8) == 0
            && ngx_strcmp(last - 4, ":443") == 0)
           || (ngx_strncasecmp(origin->data, (u_char *) "http://", 7) == 0
               && ngx_strcmp(last - 3, ":80") == 0);
}


static char *
ngx_xmpp_websocket_origins(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_xmpp_websocket_loc_conf_t *lcf = conf;

    u_char      *p, *last;
    ngx_str_t   *value, *origin;
    ngx_uint_t   i;

    if (lcf->origins != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    lcf->origins = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                    sizeof(ngx_str_t));
    if (lcf->origins == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        last = value[i].data + value[i].len;
        p = ngx_strlcasestrn(value[i].data, last, (u_char *) "://", 3 - 1);

        if (ngx_strcmp(value[i].data, "null") != 0
            && (p == NULL || p == value[i].data || p + 3 >= last
                || ngx_strlchr(p + 3, last, '/')))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" is no origin in \"%V\" directive: "
                               "write it as browsers do, like "
                               "\"https://example.org\"", &value[i],
                               &cmd->name);
            return NGX_CONF_ERROR;
        }

        /* RFC 6454, 6.2, step 4: the usual port is not said */

        if (ngx_xmpp_websocket_usual_port(&value[i])) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" is no origin in \"%V\" directive: "
                               "browsers do not write the usual port, so "
                               "leave it out", &value[i], &cmd->name);
            return NGX_CONF_ERROR;
        }

        origin = ngx_array_push(lcf->origins);
        if (origin == NULL) {
            return NGX_CONF_ERROR;
        }

        *origin = value[i];
    }

    return NGX_CONF_OK;
}


static char *
ngx_xmpp_websocket_proxies(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_xmpp_websocket_loc_conf_t *lcf = conf;

    ngx_int_t    rc;
    ngx_str_t   *value;
    ngx_uint_t   i;
    ngx_cidr_t  *cidr;

    if (lcf->proxies != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    lcf->proxies = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                    sizeof(ngx_cidr_t));
    if (lcf->proxies == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        cidr = ngx_array_push(lcf->proxies);
        if (cidr == NULL) {
            return NGX_CONF_ERROR;
        }

        rc = ngx_ptocidr(&value[i], cidr);

        if (rc == NGX_ERROR) {
            return "needs addresses or networks of proxies";
        }

        if (rc == NGX_DONE) {
            ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                               "low address bits of %V are meaningless",
                               &value[i]);
        }
    }

    return NGX_CONF_OK;
}


/* the content handler: a handshake */

static ngx_int_t
ngx_xmpp_websocket_handler(ngx_http_request_t *r)
{
    u_char                           accept[NGX_XMPP_WEBSOCKET_ACCEPT];
    ngx_int_t                        rc;
    ngx_str_t                        other;
    ngx_xmpp_worker_t               *w;
    ngx_xmpp_websocket_loc_conf_t   *lcf;
    ngx_xmpp_websocket_main_conf_t  *mcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_xmpp_websocket_module);
    mcf = ngx_http_get_module_main_conf(r, ngx_xmpp_websocket_module);

    rc = ngx_xmpp_websocket_handshake(r, lcf, accept);

    if (rc != NGX_HTTP_SWITCHING_PROTOCOLS) {
        return (rc == NGX_ERROR) ? NGX_HTTP_INTERNAL_SERVER_ERROR : rc;
    }

    w = mcf->xmpp->worker;

    if (w == NULL || w->draining) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    ngx_str_set(&other, "");

    if (lcf->other && ngx_http_complex_value(r, lcf->other, &other) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_xmpp_websocket_start(r, mcf, &other, accept);

    return (rc == NGX_DONE) ? NGX_DONE : NGX_HTTP_INTERNAL_SERVER_ERROR;
}
