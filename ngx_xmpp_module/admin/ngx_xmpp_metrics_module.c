/*
 * Metrics: what the workers of this host have counted, for Prometheus and all
 * that reads its formats.
 *
 *     GET --> sum of all slots --> a line for each figure --> 200
 *
 * Two formats, by the request's Accept: OpenMetrics 1.0 for who asks for it,
 * else Prometheus's text, 0.0.4, which has the same lines under headings that
 * differ.  The table below is all that there is to say: what is not a plain
 * counter or gauge is at its end.
 *
 * Names follow Prometheus's conventions: a prefix, base units, _total.  A
 * series is there from the beginning, so that its first increment is seen,
 * unless it is one of many that may never be needed (SPARSE).
 */


#include "ngx_xmpp_http.h"
#include "ngx_xmpp_stream.h"


#define NGX_XMPP_METRICS_SIZE         65536

#define NGX_XMPP_METRICS_GAUGE        0x01
#define NGX_XMPP_METRICS_SPARSE       0x02    /* without those that are 0 */


typedef struct ngx_xmpp_metrics_s  ngx_xmpp_metrics_t;


/* an answer being written */
typedef struct {
    u_char                     *p;
    u_char                     *last;
    ngx_uint_t                  open;           /* OpenMetrics */
} ngx_xmpp_metrics_out_t;


typedef u_char *(*ngx_xmpp_metrics_label_pt)(u_char *p, u_char *last,
    ngx_uint_t i);


struct ngx_xmpp_metrics_s {
    const char                 *name;           /* behind "ngx_xmpp_" */
    const char                 *unit;           /* its end, or NULL */
    const char                 *help;
    size_t                      offset;         /* of ngx_xmpp_stats_host_t */
    ngx_uint_t                  n;              /* of values there */
    ngx_uint_t                  flags;
    ngx_xmpp_metrics_label_pt   label;          /* NULL: it has none */
};


static char *ngx_xmpp_metrics_set(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_xmpp_metrics_handler(ngx_http_request_t *r);
static void ngx_xmpp_metrics_head(ngx_xmpp_metrics_out_t *out,
    const char *name, const char *unit, const char *type, const char *help);
static void ngx_xmpp_metrics_row(ngx_xmpp_metrics_out_t *out,
    const ngx_xmpp_metrics_t *row, ngx_xmpp_stats_host_t *host);
static void ngx_xmpp_metrics_gauge(ngx_xmpp_metrics_out_t *out,
    const char *name, const char *unit, const char *help, uint64_t value);
static void ngx_xmpp_metrics_build(ngx_xmpp_metrics_out_t *out);
static void ngx_xmpp_metrics_workers(ngx_xmpp_metrics_out_t *out,
    ngx_xmpp_stats_host_t *host);
static void ngx_xmpp_metrics_errors(ngx_xmpp_metrics_out_t *out,
    ngx_xmpp_stats_host_t *host);
static void ngx_xmpp_metrics_times(ngx_xmpp_metrics_out_t *out,
    ngx_xmpp_stats_host_t *host);
static u_char *ngx_xmpp_metrics_transport(u_char *p, u_char *last,
    ngx_uint_t i);
static u_char *ngx_xmpp_metrics_reason(u_char *p, u_char *last, ngx_uint_t i);
static u_char *ngx_xmpp_metrics_login(u_char *p, u_char *last, ngx_uint_t i);
static u_char *ngx_xmpp_metrics_stanza(u_char *p, u_char *last, ngx_uint_t i);
static u_char *ngx_xmpp_metrics_path(u_char *p, u_char *last, ngx_uint_t i);
static u_char *ngx_xmpp_metrics_resume(u_char *p, u_char *last, ngx_uint_t i);
static u_char *ngx_xmpp_metrics_connection(u_char *p, u_char *last,
    ngx_uint_t i);


#define ngx_xmpp_metrics_counters(field)                                      \
    offsetof(ngx_xmpp_stats_host_t, counters.field),                          \
    sizeof(((ngx_xmpp_counters_t *) 0)->field) / sizeof(uint64_t)

#define ngx_xmpp_metrics_gauges(field)                                        \
    offsetof(ngx_xmpp_stats_host_t, gauges.field),                            \
    sizeof(((ngx_xmpp_gauges_t *) 0)->field) / sizeof(uint64_t)


static const ngx_xmpp_metrics_t  ngx_xmpp_metrics_rows[] = {

    { "streams", NULL, "Streams of clients that are open.",
      ngx_xmpp_metrics_gauges(streams), NGX_XMPP_METRICS_GAUGE,
      ngx_xmpp_metrics_transport },

    { "streams_opened", NULL, "Streams that clients have opened.",
      ngx_xmpp_metrics_counters(streams), 0, ngx_xmpp_metrics_transport },

    { "streams_closed", NULL, "Streams that have ended, by how.",
      ngx_xmpp_metrics_counters(closed), NGX_XMPP_METRICS_SPARSE,
      ngx_xmpp_metrics_reason },

    { "received", "bytes", "What clients have sent, without TLS.",
      offsetof(ngx_xmpp_stats_host_t, counters.bytes[0]), 1, 0, NULL },

    { "sent", "bytes", "What clients were sent, without TLS.",
      offsetof(ngx_xmpp_stats_host_t, counters.bytes[1]), 1, 0, NULL },

    /* what is detached stands behind the sessions of the transports */

    { "sessions", NULL, "Bound resources; those without a transport may be "
      "resumed.", offsetof(ngx_xmpp_stats_host_t, gauges.sessions),
      NGX_XMPP_TRANSPORTS + 1, NGX_XMPP_METRICS_GAUGE,
      ngx_xmpp_metrics_transport },

    { "sessions_bound", NULL, "Resources that were bound.",
      ngx_xmpp_metrics_counters(bound), 0, NULL },

    { "sessions_detached", NULL, "Sessions that have lost their stream and "
      "wait for another.", ngx_xmpp_metrics_counters(detached), 0, NULL },

    { "session_resumes", NULL, "Requests to resume a session, by where it "
      "was.", ngx_xmpp_metrics_counters(resumed), 0, ngx_xmpp_metrics_resume },

    { "sessions_ending", NULL, "Ends of sessions of which contacts are being "
      "told.", ngx_xmpp_metrics_gauges(leaves), NGX_XMPP_METRICS_GAUGE, NULL },

    { "logins", NULL, "Attempts to authenticate that have ended.",
      ngx_xmpp_metrics_counters(logins), NGX_XMPP_METRICS_SPARSE,
      ngx_xmpp_metrics_login },

    { "stanzas", NULL, "Stanzas of clients and to clients.",
      ngx_xmpp_metrics_counters(stanzas), 0, ngx_xmpp_metrics_stanza },

    { "stanzas_routed", NULL, "Stanzas to accounts, by what became of them.",
      ngx_xmpp_metrics_counters(routed), 0, ngx_xmpp_metrics_path },

    { "output_queue", "bytes", "What waits for clients to read.",
      ngx_xmpp_metrics_gauges(output), NGX_XMPP_METRICS_GAUGE, NULL },

    { "reaped_workers", NULL, "Dead workers, of any host, that were cleaned "
      "up after.", ngx_xmpp_metrics_counters(reaped_workers), 0, NULL },

    { "reaped_sessions", NULL, "Sessions of dead workers that were ended.",
      ngx_xmpp_metrics_counters(reaped_sessions), 0, NULL },

    { "redis_connected_workers", NULL, "Workers whose connection to Redis "
      "stands.", ngx_xmpp_metrics_gauges(redis.ready), NGX_XMPP_METRICS_GAUGE,
      ngx_xmpp_metrics_connection },

    { "redis_connects", NULL, "Connections to Redis that were made.",
      ngx_xmpp_metrics_counters(redis.connected), 0,
      ngx_xmpp_metrics_connection },

    { "redis_disconnects", NULL, "Connections to Redis that were lost.",
      ngx_xmpp_metrics_counters(redis.lost), 0, ngx_xmpp_metrics_connection },

    { "redis_connect_failures", NULL, "Attempts to connect to Redis that have "
      "failed.", ngx_xmpp_metrics_counters(redis.failed), 0,
      ngx_xmpp_metrics_connection },

    { "redis_queue_requests", NULL, "Requests that wait for Redis.",
      ngx_xmpp_metrics_gauges(redis.requests), NGX_XMPP_METRICS_GAUGE, NULL },

    { "redis_queue", "bytes", "The size of these requests.",
      ngx_xmpp_metrics_gauges(redis.bytes), NGX_XMPP_METRICS_GAUGE, NULL },

    { "redis_error_replies", NULL, "Requests that Redis has refused.",
      ngx_xmpp_metrics_counters(redis.errors), 0, NULL },

    { "redis_requests_unsent", NULL, "Requests that certainly did not run.",
      ngx_xmpp_metrics_counters(redis.away), 0, NULL },

    { "redis_requests_unknown", NULL, "Requests that may have run, or not.",
      ngx_xmpp_metrics_counters(redis.unknown), 0, NULL },

    { "redis_queue_full", NULL, "Requests for which the queue had no room.",
      ngx_xmpp_metrics_counters(redis.full), 0, NULL },

    { "redis_messages", NULL, "Bells of Redis that were heard.",
      ngx_xmpp_metrics_counters(redis.messages), 0, NULL },

    { NULL, NULL, NULL, 0, 0, 0, NULL }
};


static ngx_str_t  ngx_xmpp_metrics_accept = ngx_string("accept");
static ngx_str_t  ngx_xmpp_metrics_open =
    ngx_string("application/openmetrics-text");


static ngx_command_t  ngx_xmpp_metrics_commands[] = {

    { ngx_string("xmpp_metrics"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_xmpp_metrics_set,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_xmpp_metrics_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_xmpp_http_create_conf,             /* create location configuration */
    ngx_xmpp_http_merge_conf               /* merge location configuration */
};


ngx_module_t  ngx_xmpp_metrics_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_metrics_module_ctx,          /* module context */
    ngx_xmpp_metrics_commands,             /* module directives */
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


static char *
ngx_xmpp_metrics_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_xmpp_http_set(cf, conf, ngx_xmpp_metrics_handler);
}


static ngx_int_t
ngx_xmpp_metrics_handler(ngx_http_request_t *r)
{
    ngx_int_t                  rc;
    ngx_str_t                 *accept, type, body;
    ngx_xmpp_http_conf_t      *conf;
    ngx_xmpp_stats_host_t      host;
    ngx_xmpp_metrics_out_t     out;
    const ngx_xmpp_metrics_t  *row;

    rc = ngx_xmpp_http_request(r);
    if (rc != NGX_OK) {
        return rc;
    }

    conf = ngx_http_get_module_loc_conf(r, ngx_xmpp_metrics_module);

    body.data = ngx_palloc(r->pool, NGX_XMPP_METRICS_SIZE);

    if (body.data == NULL
        || ngx_xmpp_stats_read(conf->zone, r->pool, &host) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    accept = ngx_xmpp_http_header(r, &ngx_xmpp_metrics_accept);

    out.p = body.data;
    out.last = body.data + NGX_XMPP_METRICS_SIZE;
    out.open = (accept
                && ngx_strlcasestrn(accept->data, accept->data + accept->len,
                                    ngx_xmpp_metrics_open.data,
                                    ngx_xmpp_metrics_open.len - 1)
                   != NULL);

    ngx_xmpp_metrics_build(&out);
    ngx_xmpp_metrics_workers(&out, &host);

    for (row = ngx_xmpp_metrics_rows; row->name; row++) {
        ngx_xmpp_metrics_row(&out, row, &host);
    }

    ngx_xmpp_metrics_errors(&out, &host);
    ngx_xmpp_metrics_times(&out, &host);

    ngx_str_set(&type, "text/plain; version=0.0.4; charset=utf-8");

    if (out.open) {
        out.p = ngx_slprintf(out.p, out.last, "# EOF\n");
        ngx_str_set(&type, "application/openmetrics-text; version=1.0.0; "
                           "charset=utf-8");
    }

    body.len = out.p - body.data;

    return ngx_xmpp_http_send(r, &type, ngx_xmpp_http_fresh, &body);
}


/* the headings of a family; OpenMetrics has its name without "_total" */

static void
ngx_xmpp_metrics_head(ngx_xmpp_metrics_out_t *out, const char *name,
    const char *unit, const char *type, const char *help)
{
    u_char  *p, full[128];

    p = ngx_slprintf(full, full + sizeof(full) - 1, "ngx_xmpp_%s%s%s%s", name,
                     unit ? "_" : "", unit ? unit : "",
                     (!out->open && type[0] == 'c') ? "_total" : "");
    *p = '\0';

    /* Prometheus's own format knows no "info" */

    if (!out->open && type[0] == 'i') {
        type = "gauge";
    }

    out->p = ngx_slprintf(out->p, out->last, "# TYPE %s %s\n", full, type);

    if (out->open && unit) {
        out->p = ngx_slprintf(out->p, out->last, "# UNIT %s %s\n", full, unit);
    }

    out->p = ngx_slprintf(out->p, out->last, "# HELP %s %s\n", full, help);
}


static void
ngx_xmpp_metrics_row(ngx_xmpp_metrics_out_t *out,
    const ngx_xmpp_metrics_t *row, ngx_xmpp_stats_host_t *host)
{
    uint64_t    *value;
    ngx_uint_t   i, gauge;

    gauge = row->flags & NGX_XMPP_METRICS_GAUGE;
    value = (uint64_t *) ((u_char *) host + row->offset);

    ngx_xmpp_metrics_head(out, row->name, row->unit,
                          gauge ? "gauge" : "counter", row->help);

    for (i = 0; i < row->n; i++) {

        if (value[i] == 0 && (row->flags & NGX_XMPP_METRICS_SPARSE)
            && (row->label != ngx_xmpp_metrics_login
                || i % NGX_XMPP_STATS_OUTCOMES > NGX_XMPP_STATS_FAILED))
        {
            continue;
        }

        out->p = ngx_slprintf(out->p, out->last, "ngx_xmpp_%s%s%s%s",
                              row->name, row->unit ? "_" : "",
                              row->unit ? row->unit : "",
                              gauge ? "" : "_total");

        if (row->label) {
            out->p = ngx_slprintf(out->p, out->last, "{");
            out->p = row->label(out->p, out->last, i);
            out->p = ngx_slprintf(out->p, out->last, "}");
        }

        out->p = ngx_slprintf(out->p, out->last, " %uL\n", value[i]);
    }
}


static void
ngx_xmpp_metrics_gauge(ngx_xmpp_metrics_out_t *out, const char *name,
    const char *unit, const char *help, uint64_t value)
{
    ngx_xmpp_metrics_head(out, name, unit, "gauge", help);

    out->p = ngx_slprintf(out->p, out->last, "ngx_xmpp_%s%s%s %uL\n", name,
                          unit ? "_" : "", unit ? unit : "", value);
}


/* a constant, whose labels are what there is to know */

static void
ngx_xmpp_metrics_build(ngx_xmpp_metrics_out_t *out)
{
    ngx_xmpp_metrics_head(out, out->open ? "build" : "build_info", NULL,
                          "info", "The versions of the module and of nginx.");

    out->p = ngx_slprintf(out->p, out->last, "ngx_xmpp_build_info{"
                          "version=\"" NGX_XMPP_VERSION "\","
                          "nginx=\"" NGINX_VERSION "\"} 1\n");
}


static void
ngx_xmpp_metrics_workers(ngx_xmpp_metrics_out_t *out,
    ngx_xmpp_stats_host_t *host)
{
    size_t       memory, all;
    uint64_t     time;
    ngx_uint_t   i;

    all = 0;

    for (i = 0; i < host->workers; i++) {
        ngx_xmpp_http_process((ngx_pid_t) host->elts[i].pid, &memory, &time);
        all += memory;
    }

    ngx_xmpp_metrics_gauge(out, "start_time", "seconds",
                           "When the counters were 0, since the epoch.",
                           host->since);
    ngx_xmpp_metrics_gauge(out, "workers", NULL,
                           "Worker processes of this host.", host->workers);
    ngx_xmpp_metrics_gauge(out, "workers_draining", NULL,
                           "Those of them that are about to end.",
                           host->draining);
    ngx_xmpp_metrics_gauge(out, "cluster_workers", NULL,
                           "Workers of all hosts, as the heartbeats tell.",
                           host->cluster);

    if (all) {
        ngx_xmpp_metrics_gauge(out, "resident_memory", "bytes",
                               "Resident memory of the workers, what they "
                               "share counted for each.", all);
    }
}


/* several have the same name */

static void
ngx_xmpp_metrics_errors(ngx_xmpp_metrics_out_t *out,
    ngx_xmpp_stats_host_t *host)
{
    uint64_t     n;
    ngx_str_t   *name, *other;
    ngx_uint_t   i, j;

    ngx_xmpp_metrics_head(out, "stanza_errors", NULL, "counter",
                          "Errors that clients were answered with.");

    for (i = 1; i < NGX_XMPP_E_CONDITIONS; i++) {
        name = ngx_xmpp_reply_condition_name(i);

        for (j = 1, n = 0; j < NGX_XMPP_E_CONDITIONS; j++) {
            other = ngx_xmpp_reply_condition_name(j);

            if (ngx_xmpp_str_eq(name, other)) {

                if (j < i) {
                    n = 0;
                    break;
                }

                n += host->counters.errors[j];
            }
        }

        if (n) {
            out->p = ngx_slprintf(out->p, out->last,
                                  "ngx_xmpp_stanza_errors_total"
                                  "{condition=\"%V\"} %uL\n", name, n);
        }
    }
}


static void
ngx_xmpp_metrics_times(ngx_xmpp_metrics_out_t *out,
    ngx_xmpp_stats_host_t *host)
{
    uint64_t                    n;
    ngx_uint_t                  i;
    ngx_xmpp_redis_counters_t  *redis;

    redis = &host->counters.redis;

    ngx_xmpp_metrics_head(out, "redis_request_duration", "seconds",
                          "histogram", "The time from a request to its reply.");

    for (i = 0, n = 0; i < NGX_XMPP_REDIS_TIMES; i++) {
        n += redis->times[i];

        out->p = ngx_slprintf(out->p, out->last,
                              "ngx_xmpp_redis_request_duration_seconds_bucket"
                              "{le=\"%.6f",
                              (double) ngx_xmpp_redis_times[i] / 1000000);

        /* OpenMetrics, "Considerations: Canonical Numbers" */

        while (out->p[-1] == '0' && out->p[-2] != '.') {
            out->p--;
        }

        out->p = ngx_slprintf(out->p, out->last, "\"} %uL\n", n);
    }

    n += redis->times[NGX_XMPP_REDIS_TIMES];

    out->p = ngx_slprintf(out->p, out->last,
                          "ngx_xmpp_redis_request_duration_seconds_bucket"
                          "{le=\"+Inf\"} %uL\n"
                          "ngx_xmpp_redis_request_duration_seconds_sum "
                          "%uL.%06uL\n"
                          "ngx_xmpp_redis_request_duration_seconds_count "
                          "%uL\n", n, redis->time / 1000000,
                          redis->time % 1000000, n);
}


static u_char *
ngx_xmpp_metrics_transport(u_char *p, u_char *last, ngx_uint_t i)
{
    if (i == NGX_XMPP_TRANSPORTS) {
        return ngx_slprintf(p, last, "transport=\"none\"");
    }

    return ngx_slprintf(p, last, "transport=\"%V\"",
                        &ngx_xmpp_stats_transports[i]);
}


static u_char *
ngx_xmpp_metrics_reason(u_char *p, u_char *last, ngx_uint_t i)
{
    return ngx_slprintf(p, last, "reason=\"%V\"",
                        ngx_xmpp_stream_error_name(i));
}


static u_char *
ngx_xmpp_metrics_login(u_char *p, u_char *last, ngx_uint_t i)
{
    static const char  *outcomes[] = {
        "success", "failed", "refused", "unavailable", "aborted"
    };

    return ngx_slprintf(p, last, "mechanism=\"%V\",outcome=\"%s\"",
                        &ngx_xmpp_stats_mechanisms[i
                                                 / NGX_XMPP_STATS_OUTCOMES],
                        outcomes[i % NGX_XMPP_STATS_OUTCOMES]);
}


static u_char *
ngx_xmpp_metrics_stanza(u_char *p, u_char *last, ngx_uint_t i)
{
    static const char  *kinds[] = { "message", "presence", "iq" };
    static const char  *directions[] = { "received", "sent" };

    return ngx_slprintf(p, last, "kind=\"%s\",direction=\"%s\"",
                        kinds[i % NGX_XMPP_STATS_KINDS],
                        directions[i / NGX_XMPP_STATS_KINDS]);
}


static u_char *
ngx_xmpp_metrics_path(u_char *p, u_char *last, ngx_uint_t i)
{
    static const char  *paths[] = {
        "local", "redis", "kept", "nobody", "unavailable", "unknown"
    };

    return ngx_slprintf(p, last, "path=\"%s\"", paths[i]);
}


static u_char *
ngx_xmpp_metrics_resume(u_char *p, u_char *last, ngx_uint_t i)
{
    static const char  *places[] = { "worker", "cluster", "nowhere" };

    return ngx_slprintf(p, last, "found=\"%s\"", places[i]);
}


static u_char *
ngx_xmpp_metrics_connection(u_char *p, u_char *last, ngx_uint_t i)
{
    return ngx_slprintf(p, last, "connection=\"%s\"",
                        i ? "subscriber" : "commands");
}
