/*
 * The status page: a look at this host without any other tool.
 *
 *     GET          the page, status.html, which is linked in
 *     GET ?json    what it shows, which it asks for every two seconds
 *
 * The page asks nobody else, and no other page may frame it or load what it
 * has: its policy (CSP 3) names its own style and script by their digests, and
 * this location.  It keeps what it was told for as long as it is open; there is
 * no history here.
 *
 * The JSON is for this page, and changes with it; what others read is told by
 * ngx_xmpp_metrics_module.c.  The counters are since the zone was made, as
 * there, and the page makes rates of them.
 */


#include "ngx_xmpp_http.h"


/* without the workers, domains and hosts */
#define NGX_XMPP_STATUS_SIZE          16384
#define NGX_XMPP_STATUS_EACH          512


/* an answer being written */
typedef struct {
    u_char                     *p;
    u_char                     *last;
} ngx_xmpp_status_out_t;


static ngx_int_t ngx_xmpp_status_init(ngx_conf_t *cf);
static char *ngx_xmpp_status_set(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_xmpp_status_digest(ngx_conf_t *cf, const char *begin,
    const char *end, ngx_str_t *digest);
static ngx_int_t ngx_xmpp_status_handler(ngx_http_request_t *r);
static ngx_int_t ngx_xmpp_status_send_page(ngx_http_request_t *r);
static ngx_int_t ngx_xmpp_status_json(ngx_http_request_t *r,
    ngx_xmpp_main_conf_t *xmcf, ngx_str_t *body);
static void ngx_xmpp_status_string(ngx_xmpp_status_out_t *out,
    const char *before, u_char *p, size_t len);
static void ngx_xmpp_status_array(ngx_xmpp_status_out_t *out,
    const char *name, uint64_t *value, ngx_uint_t n);
static void ngx_xmpp_status_head(ngx_xmpp_status_out_t *out,
    ngx_xmpp_stats_host_t *host, ngx_xmpp_main_conf_t *xmcf);
static void ngx_xmpp_status_hosts(ngx_xmpp_status_out_t *out,
    ngx_array_t *hosts);
static void ngx_xmpp_status_workers(ngx_xmpp_status_out_t *out,
    ngx_xmpp_stats_host_t *host);
static void ngx_xmpp_status_total(ngx_xmpp_status_out_t *out,
    ngx_xmpp_stats_host_t *host);
static uint64_t ngx_xmpp_status_sum(uint64_t *value, ngx_uint_t n);


/* status.html; config.make has the rule */
extern const ngx_str_t  ngx_xmpp_status_page;


typedef struct {
    ngx_str_t                   policy;         /* len 0: not made yet */
} ngx_xmpp_status_main_conf_t;


static void *ngx_xmpp_status_create_main_conf(ngx_conf_t *cf);


static ngx_command_t  ngx_xmpp_status_commands[] = {

    { ngx_string("xmpp_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_xmpp_status_set,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_xmpp_status_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_xmpp_status_init,                  /* postconfiguration */

    ngx_xmpp_status_create_main_conf,      /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_xmpp_http_create_conf,             /* create location configuration */
    ngx_xmpp_http_merge_conf               /* merge location configuration */
};


ngx_module_t  ngx_xmpp_status_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_status_module_ctx,           /* module context */
    ngx_xmpp_status_commands,              /* module directives */
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


static void *
ngx_xmpp_status_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_xmpp_status_main_conf_t));
}


/* CSP 3, 2.3.1: an inline style or script is allowed by its digest */

static ngx_int_t
ngx_xmpp_status_init(ngx_conf_t *cf)
{
    u_char                       *p;
    size_t                        len;
    ngx_str_t                     style, script;
    ngx_xmpp_status_main_conf_t  *smcf;

    static const char  format[] =
        "default-src 'none'; style-src 'sha256-%V'; script-src 'sha256-%V'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'";

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_xmpp_status_module);

    if (ngx_xmpp_status_digest(cf, "<style>", "</style>", &style) != NGX_OK
        || ngx_xmpp_status_digest(cf, "<script>", "</script>", &script)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    len = sizeof(format) + style.len + script.len;

    p = ngx_pnalloc(cf->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    smcf->policy.data = p;
    smcf->policy.len = ngx_snprintf(p, len, format, &style, &script) - p;

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_status_digest(ngx_conf_t *cf, const char *begin, const char *end,
    ngx_str_t *digest)
{
    u_char         *first, *last, *end_of_page, md[EVP_MAX_MD_SIZE];
    ngx_str_t       text;
    unsigned int    n;

    end_of_page = ngx_xmpp_status_page.data + ngx_xmpp_status_page.len;

    first = ngx_strlcasestrn(ngx_xmpp_status_page.data, end_of_page,
                             (u_char *) begin, ngx_strlen(begin) - 1);
    last = ngx_strlcasestrn(ngx_xmpp_status_page.data, end_of_page,
                            (u_char *) end, ngx_strlen(end) - 1);

    if (first == NULL || last == NULL) {
        return NGX_ERROR;
    }

    first += ngx_strlen(begin);

    if (EVP_Digest(first, last - first, md, &n, EVP_sha256(), NULL) != 1) {
        return NGX_ERROR;
    }

    text.data = md;
    text.len = n;

    return ngx_xmpp_base64_encode(cf->pool, &text, digest);
}


static char *
ngx_xmpp_status_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_xmpp_http_set(cf, conf, ngx_xmpp_status_handler);
}


static ngx_int_t
ngx_xmpp_status_handler(ngx_http_request_t *r)
{
    ngx_int_t              rc;
    ngx_str_t              body, type;
    ngx_xmpp_main_conf_t  *xmcf;

    rc = ngx_xmpp_http_request(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (r->args.len == 0) {
        return ngx_xmpp_status_send_page(r);
    }

    if (r->args.len != 4 || ngx_memcmp(r->args.data, "json", 4) != 0) {
        return NGX_HTTP_NOT_FOUND;
    }

    xmcf = ngx_stream_cycle_get_module_main_conf(ngx_cycle, ngx_xmpp_module);

    if (ngx_xmpp_status_json(r, xmcf, &body) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_str_set(&type, "application/json");

    return ngx_xmpp_http_send(r, &type, ngx_xmpp_http_fresh, &body);
}


static ngx_int_t
ngx_xmpp_status_send_page(ngx_http_request_t *r)
{
    ngx_str_t                     body, type;
    ngx_xmpp_status_main_conf_t  *smcf;

    ngx_xmpp_http_header_t  headers[] = {
        { ngx_string("Content-Security-Policy"), ngx_null_string },
        { ngx_string("Cache-Control"), ngx_string("no-store") },
        { ngx_string("X-Content-Type-Options"), ngx_string("nosniff") },
        { ngx_string("Referrer-Policy"), ngx_string("no-referrer") },
        { ngx_null_string, ngx_null_string }
    };

    smcf = ngx_http_get_module_main_conf(r, ngx_xmpp_status_module);

    headers[0].value = smcf->policy;

    body = ngx_xmpp_status_page;
    ngx_str_set(&type, "text/html; charset=utf-8");

    return ngx_xmpp_http_send(r, &type, headers, &body);
}


/* NGX_OK or NGX_ERROR (no memory) */

static ngx_int_t
ngx_xmpp_status_json(ngx_http_request_t *r, ngx_xmpp_main_conf_t *xmcf,
    ngx_str_t *body)
{
    size_t                  size;
    ngx_array_t             hosts;
    ngx_xmpp_http_conf_t   *conf;
    ngx_xmpp_stats_host_t   host;
    ngx_xmpp_status_out_t   out;

    conf = ngx_http_get_module_loc_conf(r, ngx_xmpp_status_module);

    if (ngx_xmpp_stats_read(conf->zone, r->pool, &host) != NGX_OK
        || ngx_array_init(&hosts, r->pool, 4, sizeof(ngx_xmpp_beat_host_t))
           != NGX_OK
        || (xmcf->worker
            && ngx_xmpp_reaper_hosts(xmcf->worker, &hosts) != NGX_OK))
    {
        return NGX_ERROR;
    }

    size = NGX_XMPP_STATUS_SIZE
           + NGX_XMPP_STATUS_EACH * (host.workers + hosts.nelts
                                     + xmcf->hosts.nelts);

    out.p = ngx_palloc(r->pool, size);
    if (out.p == NULL) {
        return NGX_ERROR;
    }

    body->data = out.p;
    out.last = out.p + size;

    ngx_xmpp_status_head(&out, &host, xmcf);
    ngx_xmpp_status_hosts(&out, &hosts);
    ngx_xmpp_status_workers(&out, &host);
    ngx_xmpp_status_total(&out, &host);

    body->len = out.p - body->data;

    return NGX_OK;
}


/* RFC 8259, 7; a name of a domain has up to 1023 bytes, and is cut */

static void
ngx_xmpp_status_string(ngx_xmpp_status_out_t *out, const char *before,
    u_char *p, size_t len)
{
    len = ngx_min(len, 256);

    out->p = ngx_slprintf(out->p, out->last, "%s\"", before);

    if ((size_t) (out->last - out->p) > len + ngx_escape_json(NULL, p, len)) {
        out->p = (u_char *) ngx_escape_json(out->p, p, len);
    }

    out->p = ngx_slprintf(out->p, out->last, "\"");
}


static void
ngx_xmpp_status_array(ngx_xmpp_status_out_t *out, const char *name,
    uint64_t *value, ngx_uint_t n)
{
    ngx_uint_t  i;

    out->p = ngx_slprintf(out->p, out->last, ",\"%s\":[", name);

    for (i = 0; i < n; i++) {
        out->p = ngx_slprintf(out->p, out->last, "%s%uL", i ? "," : "",
                              value[i]);
    }

    out->p = ngx_slprintf(out->p, out->last, "]");
}


static void
ngx_xmpp_status_head(ngx_xmpp_status_out_t *out, ngx_xmpp_stats_host_t *host,
    ngx_xmpp_main_conf_t *xmcf)
{
    ngx_uint_t         i;
    ngx_time_t        *tp;
    ngx_xmpp_host_t  **h;

    tp = ngx_timeofday();

    out->p = ngx_slprintf(out->p, out->last,
                          "{\"version\":\"" NGX_XMPP_VERSION "\","
                          "\"nginx\":\"" NGINX_VERSION "\","
                          "\"time\":%T%03M,\"since\":%T", tp->sec, tp->msec,
                          host->since);

    ngx_xmpp_status_string(out, ",\"host\":", ngx_cycle->hostname.data,
                           ngx_cycle->hostname.len);

    out->p = ngx_slprintf(out->p, out->last, ",\"domains\":[");

    h = xmcf->hosts.elts;

    for (i = 0; i < xmcf->hosts.nelts; i++) {
        ngx_xmpp_status_string(out, i ? "," : "", h[i]->name.data,
                               h[i]->name.len);
    }

    out->p = ngx_slprintf(out->p, out->last, "]");
}


static void
ngx_xmpp_status_hosts(ngx_xmpp_status_out_t *out, ngx_array_t *hosts)
{
    ngx_uint_t             i;
    ngx_xmpp_beat_host_t  *h;

    h = hosts->elts;

    out->p = ngx_slprintf(out->p, out->last, ",\"hosts\":[");

    for (i = 0; i < hosts->nelts; i++) {
        ngx_xmpp_status_string(out, i ? ",{\"name\":" : "{\"name\":",
                               h[i].name.data, h[i].name.len);
        out->p = ngx_slprintf(out->p, out->last,
                              ",\"workers\":%ui,\"sessions\":%uL}",
                              h[i].workers, h[i].sessions);
    }

    out->p = ngx_slprintf(out->p, out->last, "]");
}


static void
ngx_xmpp_status_workers(ngx_xmpp_status_out_t *out,
    ngx_xmpp_stats_host_t *host)
{
    size_t             memory;
    uint64_t           time;
    ngx_uint_t         i;
    ngx_xmpp_stats_t  *w;

    out->p = ngx_slprintf(out->p, out->last, ",\"workers\":[");

    for (i = 0; i < host->workers; i++) {
        w = &host->elts[i];

        ngx_xmpp_http_process((ngx_pid_t) w->pid, &memory, &time);

        out->p = ngx_slprintf(out->p, out->last,
                              "%s{\"pid\":%uA,\"started\":%T,\"draining\":%ui,"
                              "\"memory\":%uz,\"cpu\":%uL,\"sessions\":%uL,"
                              "\"detached\":%uL,\"streams\":%uL,"
                              "\"received\":%uL,\"sent\":%uL,\"output\":%uL,"
                              "\"queue\":%uL",
                              i ? "," : "", w->pid, w->started, w->draining,
                              memory, time,
                              ngx_xmpp_status_sum(w->gauges.sessions,
                                                  NGX_XMPP_TRANSPORTS),
                              w->gauges.detached,
                              ngx_xmpp_status_sum(w->gauges.streams,
                                                  NGX_XMPP_TRANSPORTS),
                              ngx_xmpp_status_sum(w->counters.stanzas[0],
                                                  NGX_XMPP_STATS_KINDS),
                              ngx_xmpp_status_sum(w->counters.stanzas[1],
                                                  NGX_XMPP_STATS_KINDS),
                              w->gauges.output, w->gauges.redis.requests);

        ngx_xmpp_status_array(out, "redis", w->gauges.redis.ready, 2);

        out->p = ngx_slprintf(out->p, out->last, "}");
    }

    out->p = ngx_slprintf(out->p, out->last, "]");
}


static void
ngx_xmpp_status_total(ngx_xmpp_status_out_t *out, ngx_xmpp_stats_host_t *host)
{
    uint64_t                    logins[NGX_XMPP_STATS_OUTCOMES];
    ngx_uint_t                  i, j;
    ngx_xmpp_gauges_t          *g;
    ngx_xmpp_counters_t        *c;
    ngx_xmpp_redis_counters_t  *redis;

    g = &host->gauges;
    c = &host->counters;
    redis = &c->redis;

    for (j = 0; j < NGX_XMPP_STATS_OUTCOMES; j++) {
        logins[j] = 0;

        for (i = 0; i < NGX_XMPP_STATS_MECHANISMS; i++) {
            logins[j] += c->logins[i][j];
        }
    }

    out->p = ngx_slprintf(out->p, out->last,
                          ",\"total\":{\"detached\":%uL,\"output\":%uL,"
                          "\"queue\":%uL,\"ending\":%uL,\"errors\":%uL,"
                          "\"reaped\":%uL,\"time\":%uL,\"lost\":%uL,"
                          "\"failed\":%uL,\"refused\":%uL",
                          g->detached, g->output, g->redis.requests,
                          g->leaves,
                          ngx_xmpp_status_sum(c->errors,
                                              NGX_XMPP_E_CONDITIONS),
                          c->reaped_workers, redis->time,
                          redis->lost[0] + redis->lost[1],
                          redis->away + redis->unknown + redis->full,
                          redis->errors);

    ngx_xmpp_status_array(out, "sessions", g->sessions, NGX_XMPP_TRANSPORTS);
    ngx_xmpp_status_array(out, "streams", g->streams, NGX_XMPP_TRANSPORTS);
    ngx_xmpp_status_array(out, "received", c->stanzas[0],
                          NGX_XMPP_STATS_KINDS);
    ngx_xmpp_status_array(out, "sent", c->stanzas[1], NGX_XMPP_STATS_KINDS);
    ngx_xmpp_status_array(out, "routed", c->routed, NGX_XMPP_STATS_PATHS);
    ngx_xmpp_status_array(out, "logins", logins, NGX_XMPP_STATS_OUTCOMES);
    ngx_xmpp_status_array(out, "resumed", c->resumed, NGX_XMPP_STATS_RESUMES);
    ngx_xmpp_status_array(out, "bytes", c->bytes, NGX_XMPP_STATS_DIRECTIONS);
    ngx_xmpp_status_array(out, "times", redis->times,
                          NGX_XMPP_REDIS_TIMES + 1);
    ngx_xmpp_status_array(out, "bounds", (uint64_t *) ngx_xmpp_redis_times,
                          NGX_XMPP_REDIS_TIMES);

    out->p = ngx_slprintf(out->p, out->last, "}}\n");
}


static uint64_t
ngx_xmpp_status_sum(uint64_t *value, ngx_uint_t n)
{
    uint64_t  sum;

    for (sum = 0; n; n--) {
        sum += *value++;
    }

    return sum;
}
