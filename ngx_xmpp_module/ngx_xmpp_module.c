/*
 * ngx_xmpp_module: an XMPP server that lives inside nginx.
 *
 * This is the module that all others of the library hang on: the directives
 * of the core, the order of configuration, and the birth and end of a
 * worker's state.  Features are modules of their own (ngx_xmpp_feature.c).
 *
 * Order of configuration: features register in preconfiguration; this module
 * is merged before ngx_stream_ssl_module (see "config"), since it decides
 * which certificates a listener has; in postconfiguration hosts are checked
 * and their tables compiled.  nginx -t does all of that and connects nowhere.
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_MIN_STANZA           10000   /* bytes; RFC 6120, 13.12 */


static void *ngx_xmpp_create_main_conf(ngx_conf_t *cf);
static char *ngx_xmpp_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_xmpp_create_srv_conf(ngx_conf_t *cf);
static char *ngx_xmpp_merge_srv_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_xmpp_check_limits(ngx_conf_t *cf,
    ngx_xmpp_srv_conf_t *xscf);
static ngx_stream_conf_ctx_t *ngx_xmpp_server_ctx(ngx_conf_t *cf,
    ngx_xmpp_srv_conf_t *xscf);
static ngx_int_t ngx_xmpp_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_xmpp_check_events(ngx_conf_t *cf);
static ngx_int_t ngx_xmpp_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_xmpp_init_process(ngx_cycle_t *cycle);
static void ngx_xmpp_exit_process(ngx_cycle_t *cycle);
static char *ngx_xmpp_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_xmpp_redis_parameter(ngx_conf_t *cf,
    ngx_xmpp_redis_conf_t *rcf, ngx_str_t *value);
static char *ngx_xmpp_redis_password_file(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_xmpp_redis_sentinel_password_file(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);


static ngx_conf_enum_t  ngx_xmpp_starttls_state[] = {
    { ngx_string("off"), NGX_XMPP_STARTTLS_OFF },
    { ngx_string("on"), NGX_XMPP_STARTTLS_ON },
    { ngx_string("only"), NGX_XMPP_STARTTLS_ONLY },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_xmpp_durability_state[] = {
    { ngx_string("none"), NGX_XMPP_DURABILITY_NONE },
    { ngx_string("memory"), NGX_XMPP_DURABILITY_MEMORY },
    { ngx_string("aof"), NGX_XMPP_DURABILITY_AOF },
    { ngx_null_string, 0 }
};


static ngx_conf_num_bounds_t  ngx_xmpp_at_least_one = {
    ngx_conf_check_num_bounds, 1, -1
};

static ngx_conf_num_bounds_t  ngx_xmpp_attempts_bounds = {
    ngx_conf_check_num_bounds, 1, 255
};


static ngx_command_t  ngx_xmpp_commands[] = {

    { ngx_string("xmpp_redis"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1234,
      ngx_xmpp_redis,
      NGX_STREAM_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("xmpp_redis_password_file"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_redis_password_file,
      NGX_STREAM_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("xmpp_redis_sentinel_password_file"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_redis_sentinel_password_file,
      NGX_STREAM_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("xmpp_redis_ssl_verify"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_STREAM_MAIN_CONF_OFFSET,
      offsetof(ngx_xmpp_main_conf_t, store.redis.ssl_verify),
      NULL },

    { ngx_string("xmpp_redis_ssl_name"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_STREAM_MAIN_CONF_OFFSET,
      offsetof(ngx_xmpp_main_conf_t, store.redis.ssl_name),
      NULL },

    { ngx_string("xmpp_redis_ssl_trusted_certificate"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_STREAM_MAIN_CONF_OFFSET,
      offsetof(ngx_xmpp_main_conf_t, store.redis.ssl_trusted_certificate),
      NULL },

    { ngx_string("xmpp_redis_ssl_certificate"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_STREAM_MAIN_CONF_OFFSET,
      offsetof(ngx_xmpp_main_conf_t, store.redis.ssl_certificate),
      NULL },

    { ngx_string("xmpp_redis_ssl_certificate_key"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_STREAM_MAIN_CONF_OFFSET,
      offsetof(ngx_xmpp_main_conf_t, store.redis.ssl_certificate_key),
      NULL },

    { ngx_string("xmpp_redis_prefix"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_STREAM_MAIN_CONF_OFFSET,
      offsetof(ngx_xmpp_main_conf_t, store.prefix),
      NULL },

    { ngx_string("xmpp_redis_timeout"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_MAIN_CONF_OFFSET,
      offsetof(ngx_xmpp_main_conf_t, store.redis.timeout),
      &ngx_xmpp_conf_positive },

    { ngx_string("xmpp_redis_connect_timeout"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_MAIN_CONF_OFFSET,
      offsetof(ngx_xmpp_main_conf_t, store.redis.connect_timeout),
      &ngx_xmpp_conf_positive },

    { ngx_string("xmpp_durability"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_xmpp_durability_set,
      NGX_STREAM_MAIN_CONF_OFFSET,
      offsetof(ngx_xmpp_main_conf_t, durability),
      ngx_xmpp_durability_state },

    { ngx_string("xmpp_drain_time"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_MAIN_CONF_OFFSET,
      offsetof(ngx_xmpp_main_conf_t, drain_time),
      NULL },

    { ngx_string("xmpp_heartbeat"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_MAIN_CONF_OFFSET,
      offsetof(ngx_xmpp_main_conf_t, heartbeat),
      &ngx_xmpp_conf_positive },

    { ngx_string("xmpp_host"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_xmpp_host_block,
      NGX_STREAM_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("xmpp_starttls"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_enum_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_srv_conf_t, starttls),
      ngx_xmpp_starttls_state },

    { ngx_string("xmpp_auth_timeout"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_srv_conf_t, auth_timeout),
      &ngx_xmpp_conf_positive },

    { ngx_string("xmpp_auth_attempts"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_srv_conf_t, auth_attempts),
      &ngx_xmpp_attempts_bounds },

    { ngx_string("xmpp_preauth_bytes"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_srv_conf_t, preauth_bytes),
      &ngx_xmpp_conf_positive },

    { ngx_string("xmpp_max_stanza"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_srv_conf_t, limits.max_stanza),
      &ngx_xmpp_conf_positive },

    { ngx_string("xmpp_max_depth"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_srv_conf_t, limits.max_depth),
      &ngx_xmpp_at_least_one },

    { ngx_string("xmpp_max_attributes"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_srv_conf_t, limits.max_attrs),
      &ngx_xmpp_at_least_one },

    { ngx_string("xmpp_max_elements"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_srv_conf_t, limits.max_elements),
      &ngx_xmpp_at_least_one },

    { ngx_string("xmpp_output_queue"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_srv_conf_t, output_queue),
      NULL },

    { ngx_string("xmpp_send_timeout"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_srv_conf_t, send_timeout),
      &ngx_xmpp_conf_positive },

    { ngx_string("xmpp_idle_timeout"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_srv_conf_t, idle_timeout),
      NULL },

    { ngx_string("xmpp_probe_timeout"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_srv_conf_t, probe_timeout),
      &ngx_xmpp_conf_positive },

    { ngx_string("xmpp_max_sessions"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_srv_conf_t, max_sessions),
      &ngx_xmpp_at_least_one },

    { ngx_string("xmpp_admin"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_1MORE,
      ngx_xmpp_admin_set,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_srv_conf_t, admins),
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_xmpp_postconfiguration,            /* postconfiguration */

    ngx_xmpp_create_main_conf,             /* create main configuration */
    ngx_xmpp_init_main_conf,               /* init main configuration */

    ngx_xmpp_create_srv_conf,              /* create server configuration */
    ngx_xmpp_merge_srv_conf                /* merge server configuration */
};


ngx_module_t  ngx_xmpp_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_module_ctx,                  /* module context */
    ngx_xmpp_commands,                     /* module directives */
    NGX_STREAM_MODULE,                     /* module type */
    NULL,                                  /* init master */
    ngx_xmpp_init_module,                  /* init module */
    ngx_xmpp_init_process,                 /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_xmpp_exit_process,                 /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_xmpp_create_main_conf(ngx_conf_t *cf)
{
    ngx_xmpp_main_conf_t  *xmcf;

    xmcf = ngx_pcalloc(cf->pool, sizeof(ngx_xmpp_main_conf_t));
    if (xmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&xmcf->features, cf->pool, 16,
                       sizeof(ngx_xmpp_feature_t *))
        != NGX_OK
        || ngx_array_init(&xmcf->hosts, cf->pool, 4,
                          sizeof(ngx_xmpp_host_t *))
           != NGX_OK)
    {
        return NULL;
    }

    xmcf->store.redis.timeout = NGX_CONF_UNSET_MSEC;
    xmcf->store.redis.connect_timeout = NGX_CONF_UNSET_MSEC;
    xmcf->store.redis.ssl_verify = NGX_CONF_UNSET;
    xmcf->durability = NGX_CONF_UNSET_UINT;
    xmcf->drain_time = NGX_CONF_UNSET_MSEC;
    xmcf->heartbeat = NGX_CONF_UNSET_MSEC;

    return xmcf;
}


static char *
ngx_xmpp_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_xmpp_main_conf_t *xmcf = conf;

    ngx_conf_init_msec_value(xmcf->store.redis.timeout, 5000);
    ngx_conf_init_msec_value(xmcf->store.redis.connect_timeout, 2000);
    ngx_conf_init_uint_value(xmcf->durability, NGX_XMPP_DURABILITY_MEMORY);
    ngx_conf_init_msec_value(xmcf->drain_time, 2000);
    ngx_conf_init_msec_value(xmcf->heartbeat, 5000);

    if (xmcf->store.prefix.data == NULL) {
        ngx_str_set(&xmcf->store.prefix, "xmpp");
    }

    if (xmcf->store.prefix.len == 0
        || ngx_strlchr(xmcf->store.prefix.data,
                       xmcf->store.prefix.data + xmcf->store.prefix.len, '{'))
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"xmpp_redis_prefix\" must not be empty nor hold "
                      "a \"{\"");
        return NGX_CONF_ERROR;
    }

    if (ngx_xmpp_durability_init(cf, xmcf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    ngx_str_set(&xmcf->store.redis.name, "ngx_xmpp");

    /* what one worker may have waiting for Redis */

    xmcf->store.redis.max_queue = 65536;
    xmcf->store.redis.max_bytes = 64 * 1024 * 1024;

    if (ngx_xmpp_redis_conf_init(cf, &xmcf->store.redis) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    ngx_conf_init_value(xmcf->store.redis.ssl_verify, 1);

    return NGX_CONF_OK;
}


static void *
ngx_xmpp_create_srv_conf(ngx_conf_t *cf)
{
    ngx_xmpp_srv_conf_t  *xscf;

    xscf = ngx_pcalloc(cf->pool, sizeof(ngx_xmpp_srv_conf_t));
    if (xscf == NULL) {
        return NULL;
    }

    xscf->starttls = NGX_CONF_UNSET_UINT;
    xscf->auth_timeout = NGX_CONF_UNSET_MSEC;
    xscf->auth_attempts = NGX_CONF_UNSET;
    xscf->preauth_bytes = NGX_CONF_UNSET_SIZE;
    xscf->limits.max_stanza = NGX_CONF_UNSET_SIZE;
    xscf->limits.max_depth = NGX_CONF_UNSET;
    xscf->limits.max_attrs = NGX_CONF_UNSET;
    xscf->limits.max_elements = NGX_CONF_UNSET;
    xscf->output_queue = NGX_CONF_UNSET_SIZE;
    xscf->send_timeout = NGX_CONF_UNSET_MSEC;
    xscf->idle_timeout = NGX_CONF_UNSET_MSEC;
    xscf->probe_timeout = NGX_CONF_UNSET_MSEC;
    xscf->max_sessions = NGX_CONF_UNSET;

    return xscf;
}


static char *
ngx_xmpp_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_xmpp_srv_conf_t *prev = parent;
    ngx_xmpp_srv_conf_t *conf = child;

    ngx_xmpp_main_conf_t   *xmcf;
    ngx_stream_conf_ctx_t  *ctx;

    ngx_conf_merge_uint_value(conf->starttls, prev->starttls,
                              NGX_XMPP_STARTTLS_ONLY);
    ngx_conf_merge_msec_value(conf->auth_timeout, prev->auth_timeout, 30000);
    ngx_conf_merge_uint_value(conf->auth_attempts, prev->auth_attempts, 3);
    ngx_conf_merge_size_value(conf->preauth_bytes, prev->preauth_bytes, 8192);
    ngx_conf_merge_size_value(conf->limits.max_stanza,
                              prev->limits.max_stanza, 262144);
    ngx_conf_merge_uint_value(conf->limits.max_depth, prev->limits.max_depth,
                              64);
    ngx_conf_merge_uint_value(conf->limits.max_attrs, prev->limits.max_attrs,
                              64);
    ngx_conf_merge_uint_value(conf->limits.max_elements,
                              prev->limits.max_elements, 4096);
    ngx_conf_merge_size_value(conf->output_queue, prev->output_queue,
                              1048576);
    ngx_conf_merge_msec_value(conf->send_timeout, prev->send_timeout, 60000);
    ngx_conf_merge_msec_value(conf->idle_timeout, prev->idle_timeout, 600000);
    ngx_conf_merge_msec_value(conf->probe_timeout, prev->probe_timeout, 60000);
    ngx_conf_merge_uint_value(conf->max_sessions, prev->max_sessions, 32);

    if (conf->admins == NULL) {
        conf->admins = prev->admins;
    }

    /* what is needed until then is small, and a tree is more than its bytes */

    conf->preauth = conf->limits;
    conf->preauth.max_depth = ngx_min(conf->limits.max_depth, 8);
    conf->preauth.max_elements = ngx_min(conf->limits.max_elements, 32);
    conf->preauth.raw = 1;

    ctx = ngx_xmpp_server_ctx(cf, conf);

    if (ctx == NULL) {
        return NGX_CONF_OK;
    }

    conf->ctx = ctx;

    xmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_xmpp_module);

    if (conf->listener) {

        if (ngx_xmpp_check_limits(cf, conf) != NGX_OK) {
            return NGX_CONF_ERROR;
        }

        xmcf->listeners++;

        if (conf->starttls != NGX_XMPP_STARTTLS_OFF) {
            xmcf->tls = 1;
        }
    }

    return ngx_xmpp_host_merge_ssl(cf, xmcf, conf, ctx);
}


static ngx_int_t
ngx_xmpp_check_limits(ngx_conf_t *cf, ngx_xmpp_srv_conf_t *xscf)
{
    ngx_stream_core_srv_conf_t  *cscf;

    cscf = xscf->ctx->srv_conf[ngx_stream_core_module.ctx_index];

    if (xscf->output_queue < xscf->limits.max_stanza) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"xmpp_output_queue\" must not be less than "
                      "\"xmpp_max_stanza\" in the server in %s:%ui",
                      cscf->file_name, cscf->line);
        return NGX_ERROR;
    }

    /* RFC 6120, 13.12: 10000 bytes is the least that a server may allow */

    if (xscf->limits.max_stanza < NGX_XMPP_MIN_STANZA) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"xmpp_max_stanza\" is less than the %d bytes that "
                      "clients may rely on, in the server in %s:%ui",
                      NGX_XMPP_MIN_STANZA, cscf->file_name, cscf->line);
    }

    return NGX_OK;
}


/* the server that a configuration belongs to */

static ngx_stream_conf_ctx_t *
ngx_xmpp_server_ctx(ngx_conf_t *cf, ngx_xmpp_srv_conf_t *xscf)
{
    ngx_uint_t                     i;
    ngx_stream_core_srv_conf_t   **cscf;
    ngx_stream_core_main_conf_t   *cmcf;

    if (!xscf->listener && xscf->host == NULL) {
        return NULL;
    }

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);
    cscf = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {
        if (cscf[i]->ctx->srv_conf[ngx_xmpp_module.ctx_index] == xscf) {
            return cscf[i]->ctx;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_xmpp_postconfiguration(ngx_conf_t *cf)
{
    ngx_xmpp_main_conf_t  *xmcf;

    xmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_xmpp_module);

    if (xmcf->listeners == 0 && xmcf->hosts.nelts == 0) {
        return NGX_OK;
    }

    if (xmcf->hosts.nelts == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"xmpp_c2s\" needs a domain to serve: add "
                      "\"xmpp_host\" to the stream block");
        return NGX_ERROR;
    }

    if (!xmcf->store.configured) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"xmpp_host\" needs a Redis: add \"xmpp_redis\" to "
                      "the stream block, for example "
                      "\"xmpp_redis redis:127.0.0.1:6379;\"");
        return NGX_ERROR;
    }

    if (ngx_xmpp_check_events(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    xmcf->thread_pool = ngx_thread_pool_add(cf, NULL);
    if (xmcf->thread_pool == NULL) {
        return NGX_ERROR;
    }

    xmcf->stats = ngx_xmpp_stats_zone(cf);
    if (xmcf->stats == NULL) {
        return NGX_ERROR;
    }

    ngx_xmpp_admin_check(cf, xmcf);

    return ngx_xmpp_host_init(cf, xmcf);
}


/*
 * Threads tell the event loop that they are done; some methods cannot be told,
 * and then a worker of nginx would not start.
 */

static ngx_int_t
ngx_xmpp_check_events(ngx_conf_t *cf)
{
    ngx_uint_t         i;
    ngx_event_conf_t  *ecf;

    static const char  *deaf[] = { "poll", "select", "/dev/poll" };

    /* an events block that follows is not read yet: nginx will tell */

    if (ngx_get_conf(cf->cycle->conf_ctx, ngx_events_module) == NULL) {
        return NGX_OK;
    }

    ecf = ngx_event_get_conf(cf->cycle->conf_ctx, ngx_event_core_module);

    if (ecf->name == (void *) NGX_CONF_UNSET) {
        return NGX_OK;
    }

    for (i = 0; i < sizeof(deaf) / sizeof(char *); i++) {
        if (ngx_strcmp(ecf->name, deaf[i]) == 0) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "xmpp needs threads, which do not work with "
                          "\"use %s\": take that out of the events block",
                          deaf[i]);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* "xmpp_redis url [db=number] [user=name] [sentinel_user=name]" */

static char *
ngx_xmpp_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_xmpp_main_conf_t *xmcf = conf;

    char        *err;
    ngx_str_t   *value;
    ngx_uint_t   i;

    if (xmcf->store.configured) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_xmpp_redis_parse_url(cf->pool, &value[1], &xmcf->store.redis,
                                 &err)
        != NGX_OK)
    {
        /* not the address itself: it may hold a password */

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid address of \"xmpp_redis\": %s", err);
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {
        if (ngx_xmpp_redis_parameter(cf, &xmcf->store.redis, &value[i])
            != NGX_CONF_OK)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    xmcf->store.configured = 1;

    return NGX_CONF_OK;
}


static char *
ngx_xmpp_redis_parameter(ngx_conf_t *cf, ngx_xmpp_redis_conf_t *rcf,
    ngx_str_t *value)
{
    ngx_int_t  db;

    if (value->len > 3 && ngx_strncmp(value->data, "db=", 3) == 0) {
        db = ngx_atoi(value->data + 3, value->len - 3);

        if (db == NGX_ERROR) {
            return NGX_CONF_ERROR;
        }

        rcf->db = db;

        return NGX_CONF_OK;
    }

    if (value->len > 5 && ngx_strncmp(value->data, "user=", 5) == 0) {
        rcf->user.data = value->data + 5;
        rcf->user.len = value->len - 5;

        return NGX_CONF_OK;
    }

    if (value->len > 14
        && ngx_strncmp(value->data, "sentinel_user=", 14) == 0)
    {
        rcf->sentinel_user.data = value->data + 14;
        rcf->sentinel_user.len = value->len - 14;

        return NGX_CONF_OK;
    }

    return NGX_CONF_ERROR;
}


static char *
ngx_xmpp_redis_password_file(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_xmpp_main_conf_t *xmcf = conf;

    ngx_str_t  *value;

    if (xmcf->store.redis.password_file.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    return ngx_xmpp_redis_conf_password(cf, &value[1], &xmcf->store.redis, 0);
}


static char *
ngx_xmpp_redis_sentinel_password_file(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_xmpp_main_conf_t *xmcf = conf;

    ngx_str_t  *value;

    if (xmcf->store.redis.sentinel_password_file.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    return ngx_xmpp_redis_conf_password(cf, &value[1], &xmcf->store.redis, 1);
}


/* all was read, http{}, too; what fails here would end the master */

static ngx_int_t
ngx_xmpp_init_module(ngx_cycle_t *cycle)
{
    ngx_xmpp_main_conf_t  *xmcf;

    xmcf = ngx_stream_cycle_get_module_main_conf(cycle, ngx_xmpp_module);

    if (xmcf && xmcf->hosts.nelts && xmcf->listeners == 0
        && xmcf->websockets == 0)
    {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "\"xmpp_host\" is served by no listener: add "
                      "a server with \"xmpp_c2s\" to the stream block");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_init_process(ngx_cycle_t *cycle)
{
    ngx_xmpp_main_conf_t  *xmcf;

    if (ngx_process != NGX_PROCESS_WORKER
        && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    xmcf = ngx_stream_cycle_get_module_main_conf(cycle, ngx_xmpp_module);

    if (xmcf == NULL || xmcf->hosts.nelts == 0) {
        return NGX_OK;
    }

    return ngx_xmpp_worker_init(cycle, xmcf);
}


static void
ngx_xmpp_exit_process(ngx_cycle_t *cycle)
{
    ngx_xmpp_main_conf_t  *xmcf;

    xmcf = ngx_stream_cycle_get_module_main_conf(cycle, ngx_xmpp_module);

    if (xmcf != NULL) {
        ngx_xmpp_worker_exit(cycle, xmcf);
    }
}
