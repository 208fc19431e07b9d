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


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_stream.h>
#include "ngx_xmpp_redis.h"


#define NGX_REDIS_CLIENT_TEST_WORDS  32


typedef struct {
    ngx_xmpp_redis_conf_t   conf;
    ngx_flag_t              enable;
} ngx_redis_client_test_conf_t;


typedef struct {
    ngx_str_t               name;
    ngx_uint_t              min;         /* words */
    void                  (*handler)(ngx_uint_t n, ngx_str_t *word);
} ngx_redis_client_test_order_t;


typedef struct {
    ngx_queue_t             queue;
    ngx_xmpp_redis_req_t   *req;
    ngx_uint_t              subscription;
    ngx_str_t               id;
} ngx_redis_client_test_call_t;


typedef struct {
    ngx_xmpp_redis_t       *redis;
    ngx_connection_t       *controller;
    ngx_queue_t             calls;

    u_char                 *in;
    size_t                  in_len;
    size_t                  in_size;
    u_char                 *out;
    size_t                  out_len;
    size_t                  out_size;

    ngx_uint_t              nsubs;
    ngx_uint_t              confirmed;
    ngx_uint_t              told;
    u_char                  prefix[64];

    u_char                  setup[256];
    size_t                  setup_len;

    ngx_event_t             linger;
    unsigned                lingering:1;
    unsigned                lingered:1;
} ngx_redis_client_test_t;


static void ngx_redis_client_test_handler(ngx_stream_session_t *s);
static void ngx_redis_client_test_read(ngx_event_t *rev);
static void ngx_redis_client_test_write(ngx_event_t *wev);
static void ngx_redis_client_test_report(const char *fmt, ...);
static void ngx_redis_client_test_line(u_char *p, size_t len);
static void ngx_redis_client_test_cmd(ngx_uint_t n, ngx_str_t *word);
static void ngx_redis_client_test_many(ngx_uint_t n, ngx_str_t *word);
static void ngx_redis_client_test_setup(ngx_uint_t n, ngx_str_t *word);
static void ngx_redis_client_test_setup_cmd(ngx_uint_t n, ngx_str_t *word);
static void ngx_redis_client_test_sub(ngx_uint_t n, ngx_str_t *word);
static void ngx_redis_client_test_subs(ngx_uint_t n, ngx_str_t *word);
static void ngx_redis_client_test_unsub(ngx_uint_t n, ngx_str_t *word);
static void ngx_redis_client_test_cancel(ngx_uint_t n, ngx_str_t *word);
static void ngx_redis_client_test_linger(ngx_uint_t n, ngx_str_t *word);
static void ngx_redis_client_test_destroy(ngx_uint_t n, ngx_str_t *word);
static void ngx_redis_client_test_ready(ngx_uint_t n, ngx_str_t *word);
static void ngx_redis_client_test_pending(ngx_uint_t n, ngx_str_t *word);
static void ngx_redis_client_test_call(ngx_str_t *id, ngx_uint_t flags,
    ngx_uint_t argc, ngx_str_t *argv);
static ngx_redis_client_test_call_t *ngx_redis_client_test_new(ngx_str_t *id);
static void ngx_redis_client_test_free(ngx_redis_client_test_call_t *call);
static void ngx_redis_client_test_done(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status);
static size_t ngx_redis_client_test_text(u_char *p, size_t size,
    redisReply *reply);
static void ngx_redis_client_test_subs_all(void);
static void ngx_redis_client_test_subs_done(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status);
static void ngx_redis_client_test_message(void *data, ngx_str_t *channel,
    ngx_str_t *message);
static void ngx_redis_client_test_state(void *data, ngx_uint_t subscriber,
    ngx_uint_t ready);
static void ngx_redis_client_test_lingered(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status);
static void ngx_redis_client_test_timer(ngx_event_t *ev);

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


static ngx_redis_client_test_order_t  ngx_redis_client_test_orders[] = {
    { ngx_string("cmd"), 4, ngx_redis_client_test_cmd },
    { ngx_string("many"), 5, ngx_redis_client_test_many },
    { ngx_string("setup"), 3, ngx_redis_client_test_setup },
    { ngx_string("SETUP"), 3, ngx_redis_client_test_setup_cmd },
    { ngx_string("sub"), 3, ngx_redis_client_test_sub },
    { ngx_string("subs"), 3, ngx_redis_client_test_subs },
    { ngx_string("unsub"), 2, ngx_redis_client_test_unsub },
    { ngx_string("cancel"), 2, ngx_redis_client_test_cancel },
    { ngx_string("linger"), 1, ngx_redis_client_test_linger },
    { ngx_string("destroy"), 1, ngx_redis_client_test_destroy },
    { ngx_string("ready"), 1, ngx_redis_client_test_ready },
    { ngx_string("pending"), 1, ngx_redis_client_test_pending },
    { ngx_null_string, 0, NULL }
};


static ngx_redis_client_test_t  test;


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
    ngx_str_t          argv[3];
    ngx_connection_t  *c;

    c = rev->data;

    if (c->close) {

        if (test.lingering) {
            ngx_str_set(&argv[0], "SET");
            ngx_str_set(&argv[1], "lingered");
            argv[2].data = test.prefix;
            argv[2].len = ngx_sprintf(test.prefix, "%P", ngx_pid)
                          - test.prefix;

            (void) ngx_xmpp_redis_command(test.redis, 0, 3, argv,
                                          ngx_redis_client_test_lingered, NULL);

            test.linger.handler = ngx_redis_client_test_timer;
            test.linger.data = c;
            test.linger.log = rev->log;

            ngx_add_timer(&test.linger, 20000);
        }

        goto close;
    }

    for ( ;; ) {
        if (test.controller != c) {
            test.in_len = 0;
        }

        n = c->recv(c, test.in + test.in_len, test.in_size - test.in_len);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR || n == 0) {
            goto close;
        }

        test.controller = c;

        p = test.in;
        last = test.in + test.in_len + n;

        while ((nl = ngx_strlchr(p, last, '\n')) != NULL) {
            ngx_redis_client_test_line(p, nl - p);
            p = nl + 1;
        }

        test.in_len = last - p;
        ngx_memmove(test.in, p, test.in_len);
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        goto close;
    }

    ngx_redis_client_test_write(c->write);

    return;

close:

    if (test.controller == c) {
        test.controller = NULL;
    }

    ngx_stream_finalize_session(c->data, NGX_STREAM_OK);
}


static void
ngx_redis_client_test_write(ngx_event_t *wev)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = wev->data;

    if (c != test.controller) {
        return;
    }

    while (test.out_len && wev->ready) {
        n = c->send(c, test.out, test.out_len);

        if (n == NGX_AGAIN || n == NGX_ERROR) {
            break;
        }

        test.out_len -= n;
        ngx_memmove(test.out, test.out + n, test.out_len);
    }

    (void) ngx_handle_write_event(wev, 0);
}


static void
ngx_redis_client_test_report(const char *fmt, ...)
{
    u_char   *p;
    va_list   args;

    if (test.out_size - test.out_len < 4096) {
        p = ngx_alloc(test.out_size * 2, ngx_cycle->log);
        if (p == NULL) {
            return;
        }

        ngx_memcpy(p, test.out, test.out_len);
        ngx_free(test.out);
        test.out = p;
        test.out_size *= 2;
    }

    va_start(args, fmt);
    p = ngx_vslprintf(test.out + test.out_len,
                      test.out + test.out_len + 4095, fmt, args);
    va_end(args);

    *p++ = '\n';
    test.out_len = p - test.out;

    if (test.controller) {
        ngx_post_event(test.controller->write, &ngx_posted_events);
    }
}


static void
ngx_redis_client_test_line(u_char *p, size_t len)
{
    u_char                          *last;
    ngx_str_t                        word[NGX_REDIS_CLIENT_TEST_WORDS];
    ngx_uint_t                       n, i;
    ngx_redis_client_test_order_t   *order;

    last = p + len;

    for (n = 0; n < NGX_REDIS_CLIENT_TEST_WORDS && p < last; n++) {
        word[n].data = p;
        p = ngx_strlchr(p, last, ' ');

        if (p == NULL) {
            p = last;
        }

        word[n].len = p - word[n].data;
        p++;
    }

    for (i = 0; ngx_redis_client_test_orders[i].name.len; i++) {
        order = &ngx_redis_client_test_orders[i];

        if (n >= order->min
            && order->name.len == word[0].len
            && ngx_memcmp(order->name.data, word[0].data, word[0].len) == 0)
        {
            order->handler(n, word);
            return;
        }
    }

    ngx_redis_client_test_report("what?");
}


static void
ngx_redis_client_test_cmd(ngx_uint_t n, ngx_str_t *word)
{
    ngx_redis_client_test_call(&word[1], ngx_atoi(word[2].data, 1), n - 3,
                               &word[3]);
}


static void
ngx_redis_client_test_many(ngx_uint_t n, ngx_str_t *word)
{
    u_char      id[64], number[NGX_INT_T_LEN];
    ngx_int_t   times;
    ngx_str_t   name, argv[NGX_REDIS_CLIENT_TEST_WORDS];
    ngx_int_t   i;
    ngx_uint_t  k;

    times = ngx_atoi(word[1].data, word[1].len);

    for (i = 0; i < times; i++) {
        name.data = id;
        name.len = ngx_sprintf(id, "%V.%i", &word[2], i) - id;

        for (k = 4; k < n; k++) {
            argv[k - 4] = word[k];

            if (word[k].len == 1 && word[k].data[0] == '%') {
                argv[k - 4].data = number;
                argv[k - 4].len = ngx_sprintf(number, "%i", i) - number;
            }
        }

        ngx_redis_client_test_call(&name, ngx_atoi(word[3].data, 1), n - 4,
                                   argv);
    }
}


static void
ngx_redis_client_test_setup(ngx_uint_t n, ngx_str_t *word)
{
    u_char      *p;
    ngx_uint_t   i;

    p = test.setup;

    for (i = 0; i < n; i++) {
        p = ngx_slprintf(p, test.setup + sizeof(test.setup), i ? " %V" : "%V",
                         &word[i]);
    }

    test.setup_len = p - test.setup;

    /* in the state handler it means the command itself */
    ngx_memcpy(test.setup, "SETUP", 5);
}


static void
ngx_redis_client_test_setup_cmd(ngx_uint_t n, ngx_str_t *word)
{
    ngx_redis_client_test_call(&word[1], NGX_XMPP_REDIS_SETUP, n - 2,
                               &word[2]);
}


static void
ngx_redis_client_test_sub(ngx_uint_t n, ngx_str_t *word)
{
    ngx_redis_client_test_call_t  *call;

    call = ngx_redis_client_test_new(&word[1]);
    call->subscription = 1;
    call->req = ngx_xmpp_redis_subscribe(test.redis, &word[2],
                                         ngx_redis_client_test_done, call);

    if (call->req == NULL) {
        ngx_redis_client_test_report("refused %V", &word[1]);
        ngx_redis_client_test_free(call);
    }
}


static void
ngx_redis_client_test_subs(ngx_uint_t n, ngx_str_t *word)
{
    test.nsubs = ngx_atoi(word[1].data, word[1].len);

    ngx_cpystrn(test.prefix, word[2].data,
                ngx_min(word[2].len + 1, sizeof(test.prefix)));

    ngx_redis_client_test_subs_all();
}


static void
ngx_redis_client_test_unsub(ngx_uint_t n, ngx_str_t *word)
{
    if (ngx_xmpp_redis_unsubscribe(test.redis, &word[1]) != NGX_OK) {
        ngx_redis_client_test_report("refused %V", &word[1]);
    }
}


static void
ngx_redis_client_test_cancel(ngx_uint_t n, ngx_str_t *word)
{
    ngx_queue_t                   *q;
    ngx_redis_client_test_call_t  *call;

    for (q = ngx_queue_head(&test.calls);
         q != ngx_queue_sentinel(&test.calls);
         q = ngx_queue_next(q))
    {
        call = ngx_queue_data(q, ngx_redis_client_test_call_t, queue);

        if (call->id.len == word[1].len
            && ngx_memcmp(call->id.data, word[1].data, word[1].len) == 0)
        {
            ngx_xmpp_redis_cancel(call->req);
            ngx_redis_client_test_free(call);
            return;
        }
    }
}


static void
ngx_redis_client_test_linger(ngx_uint_t n, ngx_str_t *word)
{
    test.lingering = 1;
}


static void
ngx_redis_client_test_destroy(ngx_uint_t n, ngx_str_t *word)
{
    ngx_xmpp_redis_destroy(test.redis, 0);
}


static void
ngx_redis_client_test_ready(ngx_uint_t n, ngx_str_t *word)
{
    ngx_redis_client_test_report("ready %ui %ui",
                                 ngx_xmpp_redis_ready(test.redis, 0),
                                 ngx_xmpp_redis_ready(test.redis, 1));
}


static void
ngx_redis_client_test_pending(ngx_uint_t n, ngx_str_t *word)
{
    ngx_redis_client_test_report("pending %ui",
                                 ngx_xmpp_redis_pending(test.redis));
}


static void
ngx_redis_client_test_call(ngx_str_t *id, ngx_uint_t flags, ngx_uint_t argc,
    ngx_str_t *argv)
{
    ngx_redis_client_test_call_t  *call;

    call = ngx_redis_client_test_new(id);

    call->req = ngx_xmpp_redis_command(test.redis, flags, argc, argv,
                                       ngx_redis_client_test_done, call);

    if (call->req == NULL) {
        ngx_redis_client_test_report("refused %V", id);
        ngx_redis_client_test_free(call);
    }
}


static ngx_redis_client_test_call_t *
ngx_redis_client_test_new(ngx_str_t *id)
{
    ngx_redis_client_test_call_t  *call;

    call = ngx_calloc(sizeof(ngx_redis_client_test_call_t) + id->len,
                      ngx_cycle->log);
    if (call == NULL) {
        abort();
    }

    call->id.len = id->len;
    call->id.data = (u_char *) &call[1];
    ngx_memcpy(call->id.data, id->data, id->len);

    ngx_queue_insert_tail(&test.calls, &call->queue);

    return call;
}


static void
ngx_redis_client_test_free(ngx_redis_client_test_call_t *call)
{
    ngx_queue_remove(&call->queue);
    ngx_free(call);
}


static void
ngx_redis_client_test_done(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status)
{
    size_t                         n;
    u_char                         text[512];
    ngx_redis_client_test_call_t  *call;

    call = data;

    if (status != NGX_XMPP_REDIS_OK) {
        ngx_redis_client_test_report("failed %V %s", &call->id,
                                     status == NGX_XMPP_REDIS_AWAY ? "away"
                                                                   : "unknown");

    } else if (call->subscription) {
        ngx_redis_client_test_report("subscribed %V", &call->id);

    } else {
        n = ngx_redis_client_test_text(text, sizeof(text), reply);
        ngx_redis_client_test_report("reply %V %*s", &call->id, n, text);
    }

    ngx_redis_client_test_free(call);
}


static size_t
ngx_redis_client_test_text(u_char *p, size_t size, redisReply *reply)
{
    u_char    *last;
    ngx_str_t  s;

    last = p + size;
    s.len = reply->len;
    s.data = (u_char *) reply->str;

    switch (reply->type) {

    case REDIS_REPLY_INTEGER:
        return ngx_slprintf(p, last, "%L", (int64_t) reply->integer) - p;

    case REDIS_REPLY_NIL:
        return ngx_slprintf(p, last, "nil") - p;

    case REDIS_REPLY_ARRAY:
        return ngx_slprintf(p, last, "array of %uz", reply->elements) - p;

    case REDIS_REPLY_ERROR:
        return ngx_slprintf(p, last, "error %V", &s) - p;

    default:
        return ngx_slprintf(p, last, "%V", &s) - p;
    }
}


static void
ngx_redis_client_test_subs_all(void)
{
    u_char      name[128];
    ngx_str_t   channel;
    ngx_uint_t  i;

    test.confirmed = 0;
    test.told = 0;

    for (i = 0; i < test.nsubs; i++) {
        channel.data = name;
        channel.len = ngx_sprintf(name, "%s%ui", test.prefix, i) - name;

        if (ngx_xmpp_redis_subscribe(test.redis, &channel,
                                     ngx_redis_client_test_subs_done, NULL)
            == NULL)
        {
            test.told++;
        }
    }
}


static void
ngx_redis_client_test_subs_done(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status)
{
    if (status == NGX_XMPP_REDIS_OK) {
        test.confirmed++;
    }

    if (++test.told == test.nsubs) {
        ngx_redis_client_test_report("subs %ui of %ui", test.confirmed,
                                     test.nsubs);
    }
}


static void
ngx_redis_client_test_message(void *data, ngx_str_t *channel,
    ngx_str_t *message)
{
    if (message->len > 1024) {
        ngx_redis_client_test_report("message %V long %uz %uxD", channel,
                                     message->len,
                                     ngx_crc32_long(message->data,
                                                    message->len));
        return;
    }

    ngx_redis_client_test_report("message %V %V", channel, message);
}


static void
ngx_redis_client_test_state(void *data, ngx_uint_t subscriber,
    ngx_uint_t ready)
{
    ngx_redis_client_test_report("state %ui %ui", subscriber, ready);

    if (ready && !subscriber && test.setup_len) {
        ngx_redis_client_test_line(test.setup, test.setup_len);
    }

    if (ready && subscriber && test.nsubs) {
        ngx_redis_client_test_subs_all();
    }
}


static void
ngx_redis_client_test_lingered(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status)
{
    test.lingered = 1;
    ngx_del_timer(&test.linger);
}


static void
ngx_redis_client_test_timer(ngx_event_t *ev)
{
    ngx_log_error(NGX_LOG_ALERT, ev->log, 0, "no reply while lingering");
}


static void *
ngx_redis_client_test_create_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_redis_client_test_conf_t));
}


/* redis_client URL [timeout=] [connect_timeout=] [queue=] [name=] [ping=] */
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

        case 'n':
            tcf->conf.name = s;
            break;

        case 'p':
            tcf->conf.ping = ngx_parse_time(&s, 0);
            break;
        }
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

    ngx_queue_init(&test.calls);

    test.in_size = 1 << 20;
    test.in = ngx_alloc(test.in_size, cycle->log);
    test.out_size = 1 << 16;
    test.out = ngx_alloc(test.out_size, cycle->log);

    if (test.in == NULL || test.out == NULL) {
        return NGX_ERROR;
    }

    test.redis = ngx_xmpp_redis_create(cycle->pool, cycle->log, &tcf->conf);

    return test.redis ? NGX_OK : NGX_ERROR;
}


static void
ngx_redis_client_test_exit(ngx_cycle_t *cycle)
{
    ngx_queue_t                   *q;
    ngx_redis_client_test_call_t  *call;

    if (test.redis == NULL) {
        return;
    }

    ngx_xmpp_redis_destroy(test.redis, 1);

    while (!ngx_queue_empty(&test.calls)) {
        q = ngx_queue_head(&test.calls);
        call = ngx_queue_data(q, ngx_redis_client_test_call_t, queue);

        ngx_redis_client_test_free(call);
    }

    ngx_free(test.in);
    ngx_free(test.out);
}
