/*
 * Discovery (XEP-0156): where else than by TCP a client, in a browser for
 * example, finds a domain.  It asks the web server of that name (RFC 6415):
 *
 *     /.well-known/host-meta         XRD, XML      (XEP-0156, 2.2: MUST)
 *     /.well-known/host-meta.json    JRD, JSON     (SHOULD)
 *
 * Both are made of the running configuration: each xmpp_websocket in an exact
 * or prefix location is known when configurations of locations are merged.
 * Its server's own domains are told that one; the others of our domains are
 * told of those in other servers, by the name and the TLS port of that server.
 *
 * The two addresses are answered in whatever location they fall into, behind
 * its access rules and in place of its content: a handler of the phase before
 * that answers.  A name that is no xmpp_host is nobody's here,
 * and the location answers as it would.
 */


#include "ngx_xmpp_http.h"
#include "ngx_xmpp_websocket.h"


#define NGX_XMPP_HOST_META_LINK       2048    /* bytes of one at most */


typedef struct {
    ngx_flag_t                  enable;
    ngx_array_t                *urls;           /* of ngx_str_t, instead of
                                                   what is found; or NULL */
} ngx_xmpp_host_meta_conf_t;


/* where a client connects to */
typedef struct {
    ngx_http_core_srv_conf_t   *server;         /* which has the location */
    ngx_str_t                   path;           /* as it stands in an URI */
    ngx_str_t                   name;           /* of the server; len 0: none */
    in_port_t                   port;           /* 0: that of https */
} ngx_xmpp_host_meta_place_t;


typedef struct {
    ngx_array_t                 places;
    ngx_xmpp_xep_t             *xeps;           /* which it implements */
    ngx_uint_t                  on;             /* unsigned  on:1; */
} ngx_xmpp_host_meta_main_conf_t;


/* an answer being written */
typedef struct {
    ngx_http_request_t         *request;
    ngx_uint_t                  json;
    ngx_uint_t                  n;              /* links in it */
    u_char                     *p;
    u_char                     *last;
} ngx_xmpp_host_meta_out_t;


static void *ngx_xmpp_host_meta_create_main_conf(ngx_conf_t *cf);
static void *ngx_xmpp_host_meta_create_conf(ngx_conf_t *cf);
static char *ngx_xmpp_host_meta_merge_conf(ngx_conf_t *cf, void *parent,
    void *child);
static void *ngx_xmpp_host_meta_create_loc_conf(ngx_conf_t *cf);
static char *ngx_xmpp_host_meta_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_uint_t ngx_xmpp_host_meta_websocket(ngx_conf_t *cf);
static ngx_int_t ngx_xmpp_host_meta_init(ngx_conf_t *cf);
static void ngx_xmpp_host_meta_server(ngx_http_core_main_conf_t *cmcf,
    ngx_xmpp_host_meta_place_t *place);
static char *ngx_xmpp_host_meta_set(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_xmpp_host_meta_phase_handler(ngx_http_request_t *r);
static ngx_uint_t ngx_xmpp_host_meta_path(ngx_http_request_t *r);
static ngx_int_t ngx_xmpp_host_meta_handler(ngx_http_request_t *r);
static void ngx_xmpp_host_meta_links(ngx_xmpp_host_meta_out_t *out);
static void ngx_xmpp_host_meta_place(ngx_xmpp_host_meta_out_t *out,
    ngx_xmpp_host_meta_place_t *place, ngx_str_t *port);
static void ngx_xmpp_host_meta_link(ngx_xmpp_host_meta_out_t *out,
    ngx_str_t *url);
static void ngx_xmpp_host_meta_asked(ngx_http_request_t *r, ngx_str_t *port);


static ngx_xmpp_xep_t  ngx_xmpp_host_meta_xeps[] = {
    { 156, "1.4.0", "without BOSH" },
    { 6415, NULL, "of its own domains" },
    ngx_xmpp_null_xep
};


static ngx_command_t  ngx_xmpp_host_meta_commands[] = {

    { ngx_string("xmpp_host_meta"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_1MORE,
      ngx_xmpp_host_meta_set,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_xmpp_host_meta_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_xmpp_host_meta_init,               /* postconfiguration */

    ngx_xmpp_host_meta_create_main_conf,   /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_host_meta_create_conf,        /* create server configuration */
    ngx_xmpp_host_meta_merge_conf,         /* merge server configuration */

    ngx_xmpp_host_meta_create_loc_conf,    /* create location configuration */
    ngx_xmpp_host_meta_merge_loc_conf      /* merge location configuration */
};


ngx_module_t  ngx_xmpp_host_meta_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_host_meta_module_ctx,        /* module context */
    ngx_xmpp_host_meta_commands,           /* module directives */
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


static ngx_str_t  ngx_xmpp_host_meta_xrd = ngx_string("/.well-known/host-meta");
static ngx_str_t  ngx_xmpp_host_meta_jrd =
    ngx_string("/.well-known/host-meta.json");

static ngx_str_t  ngx_xmpp_host_meta_scheme = ngx_string("wss://");


/* XEP-0156, 3: for scripts of any origin; to be kept for an hour */

static ngx_xmpp_http_header_t  ngx_xmpp_host_meta_headers[] = {
    { ngx_string("Access-Control-Allow-Origin"), ngx_string("*") },
    { ngx_string("Cache-Control"), ngx_string("max-age=3600") },
    { ngx_null_string, ngx_null_string }
};


static void *
ngx_xmpp_host_meta_create_main_conf(ngx_conf_t *cf)
{
    ngx_xmpp_host_meta_main_conf_t  *hmcf;

    hmcf = ngx_pcalloc(cf->pool, sizeof(ngx_xmpp_host_meta_main_conf_t));
    if (hmcf == NULL) {
        return NULL;
    }

    hmcf->xeps = ngx_xmpp_host_meta_xeps;

    if (ngx_array_init(&hmcf->places, cf->pool, 4,
                       sizeof(ngx_xmpp_host_meta_place_t))
        != NGX_OK)
    {
        return NULL;
    }

    return hmcf;
}


static void *
ngx_xmpp_host_meta_create_conf(ngx_conf_t *cf)
{
    ngx_xmpp_host_meta_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_xmpp_host_meta_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->enable = NGX_CONF_UNSET;

    return conf;
}


static char *
ngx_xmpp_host_meta_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_xmpp_host_meta_conf_t *prev = parent;
    ngx_xmpp_host_meta_conf_t *conf = child;

    if (conf->enable == NGX_CONF_UNSET) {
        conf->urls = prev->urls;
    }

    ngx_conf_merge_value(conf->enable, prev->enable, 0);

    return NGX_CONF_OK;
}


static void *
ngx_xmpp_host_meta_create_loc_conf(ngx_conf_t *cf)
{
    /* nginx takes NULL for an error; there is nothing to keep */

    return ngx_pcalloc(cf->pool, sizeof(ngx_flag_t));
}


/* called for each location, by when it is known what it has */

static char *
ngx_xmpp_host_meta_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    size_t                           len;
    ngx_http_core_loc_conf_t        *clcf;
    ngx_xmpp_host_meta_place_t      *place;
    ngx_xmpp_host_meta_main_conf_t  *hmcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    /* of the others nobody knows an address */

    if (!ngx_xmpp_host_meta_websocket(cf) || clcf->noname || clcf->named
#if (NGX_PCRE)
        || clcf->regex
#endif
        )
    {
        return NGX_CONF_OK;
    }

    hmcf = ngx_http_conf_get_module_main_conf(cf, ngx_xmpp_host_meta_module);

    place = ngx_array_push(&hmcf->places);
    if (place == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(place, sizeof(ngx_xmpp_host_meta_place_t));

    place->server = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);

    /* a location stands in nginx.conf as it is, RFC 3986, 2.1 */

    len = clcf->name.len
          + 2 * ngx_escape_uri(NULL, clcf->name.data, clcf->name.len,
                               NGX_ESCAPE_URI);

    place->path.data = ngx_pnalloc(cf->pool, len);
    if (place->path.data == NULL) {
        return NGX_CONF_ERROR;
    }

    place->path.len = len;
    (void) ngx_escape_uri(place->path.data, clcf->name.data, clcf->name.len,
                          NGX_ESCAPE_URI);

    return NGX_CONF_OK;
}


/* whether the location, which is being merged, has an xmpp_websocket */

static ngx_uint_t
ngx_xmpp_host_meta_websocket(ngx_conf_t *cf)
{
    ngx_uint_t                       i;
    ngx_xmpp_websocket_place_t      *place;
    ngx_xmpp_websocket_loc_conf_t   *lcf;
    ngx_xmpp_websocket_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_xmpp_websocket_module);
    lcf = ngx_http_conf_get_module_loc_conf(cf, ngx_xmpp_websocket_module);

    place = mcf->places.elts;

    for (i = 0; i < mcf->places.nelts; i++) {
        if (place[i].conf == lcf) {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_xmpp_host_meta_init(ngx_conf_t *cf)
{
    ngx_uint_t                       i;
    ngx_http_handler_pt             *h;
    ngx_http_core_main_conf_t       *cmcf;
    ngx_xmpp_host_meta_place_t      *place;
    ngx_xmpp_host_meta_main_conf_t  *hmcf;

    hmcf = ngx_http_conf_get_module_main_conf(cf, ngx_xmpp_host_meta_module);

    if (!hmcf->on) {
        return NGX_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    place = hmcf->places.elts;

    for (i = 0; i < hmcf->places.nelts; i++) {
        ngx_xmpp_host_meta_server(cmcf, &place[i]);
    }

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_xmpp_host_meta_phase_handler;

    return NGX_OK;
}


/* how the place's server is reached by others: its first whole name, by TLS */

static void
ngx_xmpp_host_meta_server(ngx_http_core_main_conf_t *cmcf,
    ngx_xmpp_host_meta_place_t *place)
{
    ngx_uint_t                  i, a, s;
    ngx_http_conf_port_t       *port;
    ngx_http_conf_addr_t       *addr;
    ngx_http_server_name_t     *name;
    ngx_http_core_srv_conf_t  **server;

    name = place->server->server_names.elts;

    for (i = 0; i < place->server->server_names.nelts; i++) {
#if (NGX_PCRE)
        if (name[i].regex) {
            continue;
        }
#endif

        if (name[i].name.len == 0 || name[i].name.data[0] == '.'
            || ngx_strlchr(name[i].name.data,
                           name[i].name.data + name[i].name.len, '*'))
        {
            continue;
        }

        place->name = name[i].name;
        break;
    }

    if (cmcf->ports == NULL) {
        return;
    }

    port = cmcf->ports->elts;

    for (i = 0; i < cmcf->ports->nelts; i++) {
        addr = port[i].addrs.elts;

        for (a = 0; a < port[i].addrs.nelts; a++) {
            server = addr[a].servers.elts;

            for (s = 0; s < addr[a].servers.nelts; s++) {

                if (server[s] == place->server && addr[a].opt.ssl
                    && (place->port == 0 || port[i].port == 443))
                {
                    place->port = port[i].port;
                }
            }
        }
    }
}


/* "xmpp_host_meta on | off | url ..." */

static char *
ngx_xmpp_host_meta_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_xmpp_host_meta_conf_t *hscf = conf;

    ngx_str_t                       *value, *url;
    ngx_uint_t                       i;
    ngx_shm_zone_t                  *zone;
    ngx_xmpp_host_meta_main_conf_t  *hmcf;

    if (hscf->enable != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2
        && (ngx_strcmp(value[1].data, "on") == 0
            || ngx_strcmp(value[1].data, "off") == 0))
    {
        hscf->enable = (value[1].len == 2);

    } else {
        hscf->enable = 1;
        hscf->urls = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                      sizeof(ngx_str_t));
        if (hscf->urls == NULL) {
            return NGX_CONF_ERROR;
        }

        for (i = 1; i < cf->args->nelts; i++) {

            /* XEP-0156, 2.2: a client must not use any other */

            if (value[i].len <= ngx_xmpp_host_meta_scheme.len
                || value[i].len > NGX_XMPP_HOST_META_LINK / 8
                || ngx_strncmp(value[i].data, ngx_xmpp_host_meta_scheme.data,
                               ngx_xmpp_host_meta_scheme.len)
                   != 0)
            {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid value \"%V\" in \"%V\" directive, "
                                   "it must be \"on\", \"off\", or addresses "
                                   "that begin with \"wss://\"",
                                   &value[i], &cmd->name);
                return NGX_CONF_ERROR;
            }

            url = ngx_array_push(hscf->urls);
            if (url == NULL) {
                return NGX_CONF_ERROR;
            }

            *url = value[i];
        }
    }

    if (!hscf->enable) {
        return NGX_CONF_OK;
    }

    hmcf = ngx_http_conf_get_module_main_conf(cf, ngx_xmpp_host_meta_module);
    hmcf->on = 1;

    /* only who serves a domain can tell about it */

    zone = ngx_xmpp_stats_zone(cf);
    if (zone == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_xmpp_stats_asked(zone, cf);

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_xmpp_host_meta_phase_handler(ngx_http_request_t *r)
{
    ngx_str_t                   name;
    ngx_xmpp_jid_t              jid;
    ngx_xmpp_main_conf_t       *xmcf;
    ngx_xmpp_host_meta_conf_t  *conf;

    conf = ngx_http_get_module_srv_conf(r, ngx_xmpp_host_meta_module);

    if (!conf->enable || !ngx_xmpp_host_meta_path(r) || r != r->main) {
        return NGX_DECLINED;
    }

    name = r->headers_in.server;

    if (name.len == 0 || ngx_xmpp_jid_parse(r->pool, &name, &jid) != NGX_OK
        || jid.local.len || jid.resource.len)
    {
        return NGX_DECLINED;
    }

    xmcf = ngx_stream_cycle_get_module_main_conf(ngx_cycle, ngx_xmpp_module);

    if (xmcf == NULL || ngx_xmpp_host_find(xmcf, &jid.domain) == NULL) {
        return NGX_DECLINED;
    }

    /* what stands behind this one in the phase, try_files, has no say */

    r->write_event_handler = ngx_http_request_empty_handler;

    ngx_http_finalize_request(r, ngx_xmpp_host_meta_handler(r));

    return NGX_DONE;
}


/* 1: XRD, 2: JRD, 0: neither */

static ngx_uint_t
ngx_xmpp_host_meta_path(ngx_http_request_t *r)
{
    return ngx_xmpp_str_eq(&r->uri, &ngx_xmpp_host_meta_xrd) ? 1
           : ngx_xmpp_str_eq(&r->uri, &ngx_xmpp_host_meta_jrd) ? 2 : 0;
}


/* RFC 6415, 2, 3.1 and appendix A */

static ngx_int_t
ngx_xmpp_host_meta_handler(ngx_http_request_t *r)
{
    size_t                           size;
    ngx_int_t                        rc;
    ngx_str_t                        body, type;
    ngx_xmpp_host_meta_out_t         out;
    ngx_xmpp_host_meta_conf_t       *conf;
    ngx_xmpp_host_meta_main_conf_t  *hmcf;

    rc = ngx_xmpp_http_request(r);
    if (rc != NGX_OK) {
        return rc;
    }

    conf = ngx_http_get_module_srv_conf(r, ngx_xmpp_host_meta_module);
    hmcf = ngx_http_get_module_main_conf(r, ngx_xmpp_host_meta_module);

    size = NGX_XMPP_HOST_META_LINK
           * (1 + (conf->urls ? conf->urls->nelts : hmcf->places.nelts));

    out.request = r;
    out.json = (ngx_xmpp_host_meta_path(r) == 2);
    out.n = 0;
    out.p = ngx_palloc(r->pool, size);

    if (out.p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body.data = out.p;
    out.last = out.p + size;

    if (out.json) {
        ngx_str_set(&type, "application/json");
        out.p = ngx_slprintf(out.p, out.last, "{\"links\":[");

    } else {
        ngx_str_set(&type, "application/xrd+xml");
        out.p = ngx_slprintf(out.p, out.last,
                             "<?xml version='1.0' encoding='UTF-8'?>\n"
                             "<XRD xmlns='http://docs.oasis-open.org/ns/xri/"
                             "xrd-1.0'>\n");
    }

    ngx_xmpp_host_meta_links(&out);

    out.p = ngx_slprintf(out.p, out.last, out.json ? "]}\n" : "</XRD>\n");

    body.len = out.p - body.data;

    return ngx_xmpp_http_send(r, &type, ngx_xmpp_host_meta_headers, &body);
}


static void
ngx_xmpp_host_meta_links(ngx_xmpp_host_meta_out_t *out)
{
    ngx_str_t                       *url, port;
    ngx_uint_t                       i, own;
    ngx_http_request_t              *r;
    ngx_http_core_srv_conf_t        *cscf;
    ngx_xmpp_host_meta_conf_t       *conf;
    ngx_xmpp_host_meta_place_t      *place;
    ngx_xmpp_host_meta_main_conf_t  *hmcf;

    r = out->request;

    conf = ngx_http_get_module_srv_conf(r, ngx_xmpp_host_meta_module);

    if (conf->urls) {
        url = conf->urls->elts;

        for (i = 0; i < conf->urls->nelts; i++) {
            ngx_xmpp_host_meta_link(out, &url[i]);
        }

        return;
    }

    hmcf = ngx_http_get_module_main_conf(r, ngx_xmpp_host_meta_module);
    cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);

    place = hmcf->places.elts;
    own = 0;

    ngx_xmpp_host_meta_asked(r, &port);

    for (i = 0; i < hmcf->places.nelts; i++) {
        if (place[i].server == cscf) {
            ngx_xmpp_host_meta_place(out, &place[i], &port);
            own = 1;
        }
    }

    for (i = 0; i < hmcf->places.nelts && !own; i++) {
        if (place[i].name.len) {
            ngx_xmpp_host_meta_place(out, &place[i], NULL);
        }
    }
}


/* port: the server that was asked has it, and was asked there; NULL: another */

static void
ngx_xmpp_host_meta_place(ngx_xmpp_host_meta_out_t *out,
    ngx_xmpp_host_meta_place_t *place, ngx_str_t *port)
{
    u_char      buf[NGX_XMPP_HOST_META_LINK / 8];
    ngx_str_t   url, *name;

    name = port ? &out->request->headers_in.server : &place->name;

    url.data = buf;

    if (port) {
        url.len = ngx_snprintf(buf, sizeof(buf), "%V%V%V%V",
                               &ngx_xmpp_host_meta_scheme, name, port,
                               &place->path)
                  - buf;

    } else if (place->port && place->port != 443) {
        url.len = ngx_snprintf(buf, sizeof(buf), "%V%V:%d%V",
                               &ngx_xmpp_host_meta_scheme, name,
                               (int) place->port, &place->path)
                  - buf;

    } else {
        url.len = ngx_snprintf(buf, sizeof(buf), "%V%V%V",
                               &ngx_xmpp_host_meta_scheme, name, &place->path)
                  - buf;
    }

    /* what was cut is no address */

    if (url.len < sizeof(buf)) {
        ngx_xmpp_host_meta_link(out, &url);
    }
}


/* XEP-0156, 2.3; url has an eighth of a link's size at most, escaped six times
   of that */

static void
ngx_xmpp_host_meta_link(ngx_xmpp_host_meta_out_t *out, ngx_str_t *url)
{
    if (out->json) {
        out->p = ngx_slprintf(out->p, out->last,
                              "%s{\"rel\":\"urn:xmpp:alt-connections:"
                              "websocket\",\"href\":\"", out->n ? "," : "");
        out->p = (u_char *) ngx_escape_json(out->p, url->data, url->len);
        out->p = ngx_slprintf(out->p, out->last, "\"}");

    } else {
        out->p = ngx_slprintf(out->p, out->last,
                              "  <Link rel='urn:xmpp:alt-connections:"
                              "websocket' href='");
        out->p = ngx_xmpp_xml_escape(out->p, url);
        out->p = ngx_slprintf(out->p, out->last, "'/>\n");
    }

    out->n++;
}


/*
 * The port by which the client knows this server, with its colon, or nothing.
 * One that is not of TLS is not the one of the WebSocket: who ends TLS in front
 * of us has that of https.
 */

static void
ngx_xmpp_host_meta_asked(ngx_http_request_t *r, ngx_str_t *port)
{
    u_char     *p, *last;
    ngx_str_t  *host;

    ngx_str_null(port);

    if (r->connection->ssl == NULL || r->headers_in.host == NULL) {
        return;
    }

    host = &r->headers_in.host->value;
    last = host->data + host->len;

    for (p = last; p > host->data && p[-1] >= '0' && p[-1] <= '9'; p--) {
        /* void */
    }

    if (p > host->data && p[-1] == ':' && p < last) {
        port->data = p - 1;
        port->len = last - port->data;
    }
}
