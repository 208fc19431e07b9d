/*
 * A driver for the tests of the Redis client alone: a stream handler that
 * takes lines from one controlling connection, calls the client, and reports
 * what its handlers are told.  All lines of one read are handled in one turn
 * of the event loop.
 *
 *   cmd ID FLAGS WORD...       "reply ID ...", "failed ID away|unknown"
 *   many N ID FLAGS WORD...    N times; "%" in WORD becomes the number
 *   setup ID WORD...           each time the command connection gets ready
 *   sub ID CHANNEL             "subscribed ID", "failed ID away"
 *   subs N PREFIX              N channels, again after each loss;
 *                              "subs CONFIRMED of N" when all were told
 *   unsub CHANNEL
 *   cancel ID
 *   linger                     at a graceful shutdown: SET lingered PID, and
 *                              exit only after its reply
 *   destroy                    not quietly
 *   ready, pending             "ready 0|1 0|1", "pending N"
 *
 * Without being asked: "state SUBSCRIBER READY", "message CHANNEL PAYLOAD".
 * "refused ID" is a NULL of the client.  Reports wait for a connection.
 */


#include "ngx_redis_client_test.h"


typedef struct {
    ngx_xmpp_redis_conf_t   conf;
    ngx_flag_t              enable;
} ngx_redis_client_test_conf_t;


static void ngx_redis_client_test_handler(ngx_stream_session_t *s);
static void ngx_redis_client_test_read(ngx_event_t *rev);
static void ngx_redis_client_test_write(ngx_event_t *wev);
static void *ngx_redis_client_test_create_conf(ngx_conf_t *cf);
static char *ngx_redis_client_test(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_redis_client_test_control(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_redis_client_test_init(ngx_cycle_t *cycle);
static void ngx_redis_client_test_exit(ngx_cycle_t *cycle);


static ngx_command_t  ngx_redis_client_test_commands[] = {

    { ngx_string("redis_client"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_1MORE,
      ngx_redis_client_test,
      NGX_STREAM_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_client_control"),
      NGX_STREAM_SRV_CONF|NGX_CONF_NOARGS,
      ngx_redis_client_test_control,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_redis_client_test_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    ngx_redis_client_test_create_conf,     /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL                                   /* merge server configuration */
};


ngx_module_t  ngx_redis_client_test_module = {
    NGX_MODULE_V1,
    &ngx_redis_client_test_module_ctx,     /* module context */
    ngx_redis_client_test_commands,        /* module directives */
    NGX_STREAM_MODULE,                     /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_redis_client_test_init,            /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_redis_client_test_exit,            /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/* what nginx's configure would write for a dynamic module */

ngx_module_t  *ngx_modules[] = {
    &ngx_redis_client_test_module,
    NULL
};

char  *ngx_module_names[] = {
    "ngx_redis_client_test_module",
    NULL
};

char  *ngx_module_order[] = {
    NULL
};


ngx_redis_client_test_t  driver;


static void
ngx_redis_client_test_handler(ngx_stream_session_t *s)
{
    ngx_connection_t  *c;

    c = s->connection;

    c->idle = 1;
    c->read->handler = ngx_redis_client_test_read;
    c->write->handler = ngx_redis_client_test_write;

    ngx_redis_client_test_read(c->read);
}


static void
ngx_redis_client_test_read(ngx_event_t *rev)
{
    u_char            *p, *nl, *last;
    ssize_t            n;
    ngx_connection_t  *c;

    c = rev->data;

    if (c->close) {
        ngx_redis_client_test_shutdown();
        goto close;
    }

    for ( ;; ) {
        if (driver.controller != c) {
            driver.in_len = 0;
        }

        n = c->recv(c, driver.in + driver.in_len,
                    driver.in_size - driver.in_len);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR || n == 0) {
            goto close;
        }

        driver.controller = c;

        p = driver.in;
        last = driver.in + driver.in_len + n;

        while ((nl = ngx_strlchr(p, last, '\n')) != NULL) {
            ngx_redis_client_test_line(p, nl - p);
            p = nl + 1;
        }

        driver.in_len = last - p;
        ngx_memmove(driver.in, p, driver.in_len);
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        goto close;
    }

    ngx_redis_client_test_write(c->write);

    return;

close:

    if (driver.controller == c) {
        driver.controller = NULL;
    }

    ngx_stream_finalize_session(c->data, NGX_STREAM_OK);
}


static void
ngx_redis_client_test_write(ngx_event_t *wev)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = wev->data;

    if (c != driver.controller) {
        return;
    }

    while (driver.out_len && wev->ready) {
        n = c->send(c, driver.out, driver.out_len);

        if (n == NGX_AGAIN || n == NGX_ERROR) {
            break;
        }

        driver.out_len -= n;
        ngx_memmove(driver.out, driver.out + n, driver.out_len);
    }

    (void) ngx_handle_write_event(wev, 0);
}


void
ngx_redis_client_test_report(const char *fmt, ...)
{
    u_char   *p;
    va_list   args;

    if (driver.out_size - driver.out_len < 4096) {
        p = ngx_alloc(driver.out_size * 2, ngx_cycle->log);
        if (p == NULL) {
            return;
        }

        ngx_memcpy(p, driver.out, driver.out_len);
        ngx_free(driver.out);
        driver.out = p;
        driver.out_size *= 2;
    }

    va_start(args, fmt);
    p = ngx_vslprintf(driver.out + driver.out_len,
                      driver.out + driver.out_len + 4095, fmt, args);
    va_end(args);

    *p++ = '\n';
    driver.out_len = p - driver.out;

    if (driver.controller) {
        ngx_post_event(driver.controller->write, &ngx_posted_events);
    }
}


static void *
ngx_redis_client_test_create_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_redis_client_test_conf_t));
}


/*
 * redis_client URL [timeout=] [connect_timeout=] [queue=] [name=] [ping=]
 *     [authority=FILE] [own=CHANNEL] [replicas=] [wait=]
 */
static char *
ngx_redis_client_test(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_redis_client_test_conf_t  *tcf = conf;

    char       *err;
    ngx_str_t  *value, s;
    ngx_uint_t  i;

    value = cf->args->elts;

    if (ngx_xmpp_redis_parse_url(cf->pool, &value[1], &tcf->conf, &err)
        != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%V: %s", &value[1], err);
        return NGX_CONF_ERROR;
    }

    tcf->conf.timeout = 5000;
    tcf->conf.connect_timeout = 2000;
    tcf->conf.max_queue = 1000000;
    tcf->conf.max_bytes = 1024 * 1024 * 1024;
    tcf->conf.ssl_verify = NGX_CONF_UNSET;

    for (i = 2; i < cf->args->nelts; i++) {
        s.data = ngx_strlchr(value[i].data, value[i].data + value[i].len, '=');

        if (s.data++ == NULL) {
            return "has a parameter without a value";
        }

        s.len = value[i].data + value[i].len - s.data;

        switch (value[i].data[0]) {

        case 't':
            tcf->conf.timeout = ngx_parse_time(&s, 0);
            break;

        case 'c':
            tcf->conf.connect_timeout = ngx_parse_time(&s, 0);
            break;

        case 'q':
            tcf->conf.max_queue = ngx_atoi(s.data, s.len);
            break;

        case 'b':
            tcf->conf.max_bytes = ngx_atoi(s.data, s.len);
            break;

        case 'n':
            tcf->conf.name = s;
            break;

        case 'p':
            tcf->conf.ping = ngx_parse_time(&s, 0);
            break;

        case 'o':
            tcf->conf.probe = s;
            break;

        case 'r':
            tcf->conf.replicas = ngx_atoi(s.data, s.len);
            break;

        case 'w':
            tcf->conf.wait = ngx_parse_time(&s, 0);
            break;

        case 'a':
            tcf->conf.ssl_trusted_certificate = s;
            break;
        }
    }

    if (ngx_xmpp_redis_conf_init(cf, &tcf->conf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    ngx_conf_log_error(NGX_LOG_NOTICE, cf, 0,
                       "redis_client \"%V\" addrs:%ui first:\"%V\" db:%ui "
                       "user:\"%V\" password:%uz",
                       &tcf->conf.url, tcf->conf.naddrs, &tcf->conf.addr->name,
                       tcf->conf.db, &tcf->conf.user, tcf->conf.password.len);

    tcf->conf.message = ngx_redis_client_test_message;
    tcf->conf.state = ngx_redis_client_test_state;
    tcf->enable = 1;

    return NGX_CONF_OK;
}


static char *
ngx_redis_client_test_control(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_core_srv_conf_t  *cscf;

    cscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_core_module);
    cscf->handler = ngx_redis_client_test_handler;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_redis_client_test_init(ngx_cycle_t *cycle)
{
    ngx_redis_client_test_conf_t  *tcf;

    tcf = ngx_stream_cycle_get_module_main_conf(cycle,
                                                ngx_redis_client_test_module);

    if (tcf == NULL || !tcf->enable) {
        return NGX_OK;
    }

    ngx_queue_init(&driver.calls);

    driver.in_size = 1 << 20;
    driver.in = ngx_alloc(driver.in_size, cycle->log);
    driver.out_size = 1 << 16;
    driver.out = ngx_alloc(driver.out_size, cycle->log);

    if (driver.in == NULL || driver.out == NULL) {
        return NGX_ERROR;
    }

    driver.redis = ngx_xmpp_redis_create(cycle->pool, cycle->log, &tcf->conf);

    return driver.redis ? NGX_OK : NGX_ERROR;
}


static void
ngx_redis_client_test_exit(ngx_cycle_t *cycle)
{
    if (driver.redis == NULL) {
        return;
    }

    ngx_xmpp_redis_destroy(driver.redis, 1);

    ngx_redis_client_test_drop_calls();

    ngx_free(driver.in);
    ngx_free(driver.out);
}
