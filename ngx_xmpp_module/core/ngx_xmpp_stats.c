/*
 * Statistics: what the workers of this host count, for whoever asks one of
 * them (admin/).
 *
 *     zone:  since | used | slot | slot | slot | ...
 *                           ^
 *              w->stats ----'  plain stores, by this worker alone
 *
 * A worker counts in a slot of shared memory that is its own, so nothing is
 * locked and no operation is atomic: to count is an increment in memory.  Who
 * reads takes what he finds; figures of one answer may be a moment apart.
 *
 * The slot is that of the worker's place in nginx's table of processes.  Two
 * processes never have the same place at a time, the old worker of a reload
 * and the new one included, and one that nginx starts in the place of another
 * goes on with its counters: their sum never goes back.  Gauges begin with
 * each process.  Those of a process that was killed count until its place is
 * taken again, which is at once, or nobody is found under its number.
 *
 * The zone lives over a reload.  It ends with the master process, and so it
 * does at an upgrade of the binary; or when another build of this module is
 * loaded, whose slots may look otherwise.
 */


#include "ngx_xmpp.h"


/* each place in nginx's table, most of which are never touched */
#define NGX_XMPP_STATS_SLOTS          NGX_MAX_PROCESSES


typedef struct {
    time_t                      since;
    u_char                      used[NGX_XMPP_STATS_SLOTS];
    ngx_xmpp_stats_t            slots[NGX_XMPP_STATS_SLOTS];
} ngx_xmpp_stats_zone_t;


/* of a configuration: shm_zone->data */
typedef struct {
    ngx_cycle_t                *cycle;
    ngx_xmpp_stats_zone_t      *zone;
    u_char                     *file;           /* who asks, NULL: nobody */
    ngx_uint_t                  line;
    ngx_str_t                   directive;
} ngx_xmpp_stats_ctx_t;


static ngx_int_t ngx_xmpp_stats_zone_init(ngx_shm_zone_t *shm_zone,
    void *data);
static void ngx_xmpp_stats_copy(void *to, void *from, size_t size);
static void ngx_xmpp_stats_add(void *to, void *from, size_t size);


ngx_str_t  ngx_xmpp_stats_transports[] = {
    ngx_string("tcp"),
    ngx_string("websocket"),
    ngx_null_string
};


ngx_str_t  ngx_xmpp_stats_mechanisms[] = {
    ngx_string("EXTERNAL"),
    ngx_string("SCRAM-SHA-512-PLUS"),
    ngx_string("SCRAM-SHA-512"),
    ngx_string("SCRAM-SHA-256-PLUS"),
    ngx_string("SCRAM-SHA-256"),
    ngx_string("SCRAM-SHA-1-PLUS"),
    ngx_string("SCRAM-SHA-1"),
    ngx_string("PLAIN"),
    ngx_string("ANONYMOUS"),
    ngx_string("DIGEST-MD5"),
    ngx_string("other"),
    ngx_null_string
};


/* the zone, which each configuration has once; NULL: no memory */

ngx_shm_zone_t *
ngx_xmpp_stats_zone(ngx_conf_t *cf)
{
    size_t                 size;
    ngx_str_t              name;
    ngx_shm_zone_t        *shm_zone;
    ngx_xmpp_stats_ctx_t  *ctx;

    ngx_str_set(&name, "ngx_xmpp");

    /* what nginx keeps of each page of it is in there, too */

    size = ngx_align(sizeof(ngx_xmpp_stats_zone_t), ngx_pagesize);
    size += size / 32 + 8 * ngx_pagesize;

    shm_zone = ngx_shared_memory_add(cf, &name, size, &ngx_xmpp_module);

    if (shm_zone == NULL || shm_zone->data) {
        return shm_zone;
    }

    ctx = ngx_pcalloc(cf->pool, sizeof(ngx_xmpp_stats_ctx_t));
    if (ctx == NULL) {
        return NULL;
    }

    ctx->cycle = cf->cycle;

    shm_zone->init = ngx_xmpp_stats_zone_init;
    shm_zone->data = ctx;

    return shm_zone;
}


/* the directive in hand makes no sense without an XMPP server */

void
ngx_xmpp_stats_asked(ngx_shm_zone_t *shm_zone, ngx_conf_t *cf)
{
    ngx_str_t             *value;
    ngx_xmpp_stats_ctx_t  *ctx;

    ctx = shm_zone->data;
    value = cf->args->elts;

    ctx->file = cf->conf_file->file.name.data;
    ctx->line = cf->conf_file->line;
    ctx->directive = value[0];
}


/*
 * All is configured by now, whichever of http{} and stream{} came first, and
 * an error here still leaves nginx with the configuration that it has.
 */

static ngx_int_t
ngx_xmpp_stats_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_slab_pool_t       *shpool;
    ngx_xmpp_main_conf_t  *xmcf;
    ngx_xmpp_stats_ctx_t  *ctx, *octx;

    ctx = shm_zone->data;
    octx = data;

    xmcf = ngx_stream_cycle_get_module_main_conf(ctx->cycle, ngx_xmpp_module);

    if (ctx->file && (xmcf == NULL || xmcf->hosts.nelts == 0)) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "\"%V\" in %s:%ui needs an XMPP server: add "
                      "\"xmpp_host\" to the stream block", &ctx->directive,
                      ctx->file, ctx->line);
        return NGX_ERROR;
    }

    if (octx) {
        ctx->zone = octx->zone;
        return NGX_OK;
    }

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    ctx->zone = ngx_slab_alloc(shpool, sizeof(ngx_xmpp_stats_zone_t));
    if (ctx->zone == NULL) {
        return NGX_ERROR;
    }

    ctx->zone->since = ngx_time();
    ngx_memzero(ctx->zone->used, sizeof(ctx->zone->used));

    return NGX_OK;
}


/* the worker takes its slot; NGX_OK, or NGX_ERROR: no memory */

ngx_int_t
ngx_xmpp_stats_init(ngx_xmpp_worker_t *w, ngx_shm_zone_t *shm_zone)
{
    ngx_uint_t              n;
    ngx_xmpp_stats_t       *stats;
    ngx_xmpp_stats_ctx_t   *ctx;
    ngx_xmpp_stats_zone_t  *zone;

    ctx = shm_zone->data;
    zone = ctx->zone;
    n = ngx_process_slot;

    if (n >= NGX_XMPP_STATS_SLOTS) {
        return NGX_ERROR;
    }

    stats = &zone->slots[n];

    if (!zone->used[n]) {
        ngx_memzero(stats, sizeof(ngx_xmpp_stats_t));
        zone->used[n] = 1;
    }

    ngx_memzero(&stats->gauges, sizeof(ngx_xmpp_gauges_t));

    stats->started = ngx_time();
    stats->worker = ngx_worker;
    stats->cluster = 0;
    stats->draining = 0;
    stats->pid = ngx_pid;

    w->stats = stats;

    return NGX_OK;
}


void
ngx_xmpp_stats_exit(ngx_xmpp_worker_t *w)
{
    w->stats->pid = 0;
}


/* sums it up, in pool; NGX_OK, or NGX_ERROR: no memory */

ngx_int_t
ngx_xmpp_stats_read(ngx_shm_zone_t *shm_zone, ngx_pool_t *pool,
    ngx_xmpp_stats_host_t *host)
{
    ngx_uint_t              i, n;
    ngx_xmpp_stats_t       *stats;
    ngx_xmpp_stats_ctx_t   *ctx;
    ngx_xmpp_stats_zone_t  *zone;

    ctx = shm_zone->data;
    zone = ctx->zone;

    ngx_memzero(host, sizeof(ngx_xmpp_stats_host_t));
    host->since = zone->since;

    for (i = 0, n = 0; i < NGX_XMPP_STATS_SLOTS; i++) {
        n += zone->used[i];
    }

    host->elts = ngx_palloc(pool, (n + 1) * sizeof(ngx_xmpp_stats_t));
    if (host->elts == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_XMPP_STATS_SLOTS && n; i++) {

        if (!zone->used[i]) {
            continue;
        }

        n--;

        stats = &host->elts[host->workers];

        ngx_xmpp_stats_copy(stats, &zone->slots[i], sizeof(ngx_xmpp_stats_t));

        ngx_xmpp_stats_add(&host->counters, &stats->counters,
                           sizeof(ngx_xmpp_counters_t));

        if (stats->pid == 0
            || (kill((ngx_pid_t) stats->pid, 0) == -1
                && ngx_errno == NGX_ESRCH))
        {
            continue;
        }

        ngx_xmpp_stats_add(&host->gauges, &stats->gauges,
                           sizeof(ngx_xmpp_gauges_t));

        host->cluster = ngx_max(host->cluster, stats->cluster);
        host->draining += stats->draining;
        host->workers++;
    }

    return NGX_OK;
}


/* another process writes meanwhile: each figure is read once, and whole */

static void
ngx_xmpp_stats_copy(void *to, void *from, size_t size)
{
    size_t              i;
    uint64_t           *p;
    volatile uint64_t  *q;

    p = to;
    q = from;

    for (i = 0; i < size / sizeof(uint64_t); i++) {
        p[i] = q[i];
    }
}


static void
ngx_xmpp_stats_add(void *to, void *from, size_t size)
{
    size_t     i;
    uint64_t  *p, *q;

    p = to;
    q = from;

    for (i = 0; i < size / sizeof(uint64_t); i++) {
        p[i] += q[i];
    }
}


/* how an exchange of SASL has ended; mechanism NULL: there is none like it */

void
ngx_xmpp_stats_login(ngx_xmpp_worker_t *w, ngx_str_t *mechanism,
    ngx_xmpp_stats_outcome_e outcome)
{
    ngx_uint_t  i;

    i = mechanism ? 0 : NGX_XMPP_STATS_MECHANISMS - 1;

    while (i < NGX_XMPP_STATS_MECHANISMS - 1
           && !ngx_xmpp_str_eq(mechanism, &ngx_xmpp_stats_mechanisms[i]))
    {
        i++;
    }

    w->stats->counters.logins[i][outcome]++;
}


/* what became of a stanza, or of the batch of which it is the first */

void
ngx_xmpp_stats_routed(ngx_xmpp_stanza_t *stz, ngx_xmpp_stats_path_e path)
{
    uint64_t  *routed;

    routed = stz->session->worker->stats->counters.routed;

    for ( /* void */ ; stz; stz = stz->next) {
        routed[path]++;
    }
}


/* a packet goes to the client, whose first stanza says what it is */

void
ngx_xmpp_stats_sent(ngx_xmpp_stream_t *st, ngx_xmpp_packet_t *pkt)
{
    uint64_t  *sent;

    st->stanzas_sent += pkt->stanzas;

    sent = st->worker->stats->counters.stanzas[NGX_XMPP_STATS_SENT];
    sent[ngx_xmpp_stats_kind(pkt->data[1])] += pkt->stanzas;
}
