/*
 * What the driver is told to do, and what it reports; the lines are described
 * in ngx_redis_client_test_module.c.
 */


#include "ngx_redis_client_test.h"


#define NGX_REDIS_CLIENT_TEST_WORDS  32


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
static void ngx_redis_client_test_lingered(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status);
static void ngx_redis_client_test_timer(ngx_event_t *ev);


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


void
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
    ngx_redis_client_test_call(&word[1],
                               ngx_atoi(word[2].data, word[2].len), n - 3,
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

        ngx_redis_client_test_call(&name,
                                   ngx_atoi(word[3].data, word[3].len), n - 4,
                                   argv);
    }
}


static void
ngx_redis_client_test_setup(ngx_uint_t n, ngx_str_t *word)
{
    u_char      *p;
    ngx_uint_t   i;

    p = driver.setup;

    for (i = 0; i < n; i++) {
        p = ngx_slprintf(p, driver.setup + sizeof(driver.setup),
                         i ? " %V" : "%V", &word[i]);
    }

    driver.setup_len = p - driver.setup;

    /* in the state handler it means the command itself */
    ngx_memcpy(driver.setup, "SETUP", 5);
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
    call->req = ngx_xmpp_redis_subscribe(driver.redis, &word[2],
                                         ngx_redis_client_test_done, call);

    if (call->req == NULL) {
        ngx_redis_client_test_report("refused %V", &word[1]);
        ngx_redis_client_test_free(call);
    }
}


static void
ngx_redis_client_test_subs(ngx_uint_t n, ngx_str_t *word)
{
    driver.nsubs = ngx_atoi(word[1].data, word[1].len);

    ngx_cpystrn(driver.prefix, word[2].data,
                ngx_min(word[2].len + 1, sizeof(driver.prefix)));

    ngx_redis_client_test_subs_all();
}


static void
ngx_redis_client_test_unsub(ngx_uint_t n, ngx_str_t *word)
{
    if (ngx_xmpp_redis_unsubscribe(driver.redis, &word[1]) != NGX_OK) {
        ngx_redis_client_test_report("refused %V", &word[1]);
    }
}


static void
ngx_redis_client_test_cancel(ngx_uint_t n, ngx_str_t *word)
{
    ngx_queue_t                   *q;
    ngx_redis_client_test_call_t  *call;

    for (q = ngx_queue_head(&driver.calls);
         q != ngx_queue_sentinel(&driver.calls);
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
    driver.lingering = 1;
}


static void
ngx_redis_client_test_destroy(ngx_uint_t n, ngx_str_t *word)
{
    ngx_xmpp_redis_destroy(driver.redis, 0);
}


static void
ngx_redis_client_test_ready(ngx_uint_t n, ngx_str_t *word)
{
    ngx_redis_client_test_report("ready %ui %ui",
                                 ngx_xmpp_redis_ready(driver.redis, 0),
                                 ngx_xmpp_redis_ready(driver.redis, 1));
}


static void
ngx_redis_client_test_pending(ngx_uint_t n, ngx_str_t *word)
{
    ngx_redis_client_test_report("pending %ui",
                                 ngx_xmpp_redis_pending(driver.redis));
}


static void
ngx_redis_client_test_call(ngx_str_t *id, ngx_uint_t flags, ngx_uint_t argc,
    ngx_str_t *argv)
{
    ngx_redis_client_test_call_t  *call;

    call = ngx_redis_client_test_new(id);

    call->req = ngx_xmpp_redis_command(driver.redis, flags, argc, argv,
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

    ngx_queue_insert_tail(&driver.calls, &call->queue);

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

    if (reply == NULL && status != NGX_XMPP_REDIS_OK) {
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

    driver.confirmed = 0;
    driver.told = 0;

    for (i = 0; i < driver.nsubs; i++) {
        channel.data = name;
        channel.len = ngx_sprintf(name, "%s%ui", driver.prefix, i) - name;

        if (ngx_xmpp_redis_subscribe(driver.redis, &channel,
                                     ngx_redis_client_test_subs_done, NULL)
            == NULL)
        {
            driver.told++;
        }
    }
}


static void
ngx_redis_client_test_subs_done(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status)
{
    if (status == NGX_XMPP_REDIS_OK) {
        driver.confirmed++;
    }

    if (++driver.told == driver.nsubs) {
        ngx_redis_client_test_report("subs %ui of %ui", driver.confirmed,
                                     driver.nsubs);
    }
}


void
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


void
ngx_redis_client_test_state(void *data, ngx_uint_t subscriber,
    ngx_uint_t ready)
{
    ngx_redis_client_test_report("state %ui %ui", subscriber, ready);

    if (ready && !subscriber && driver.setup_len) {
        ngx_redis_client_test_line(driver.setup, driver.setup_len);
    }

    if (ready && subscriber && driver.nsubs) {
        ngx_redis_client_test_subs_all();
    }
}


void
ngx_redis_client_test_shutdown(void)
{
    u_char     pid[NGX_INT64_LEN];
    ngx_str_t  argv[3];

    if (!driver.lingering) {
        return;
    }

    ngx_str_set(&argv[0], "SET");
    ngx_str_set(&argv[1], "lingered");
    argv[2].data = pid;
    argv[2].len = ngx_sprintf(pid, "%P", ngx_pid) - pid;

    (void) ngx_xmpp_redis_command(driver.redis, 0, 3, argv,
                                  ngx_redis_client_test_lingered, NULL);

    /* not cancelable: it keeps the worker */

    driver.linger.handler = ngx_redis_client_test_timer;
    driver.linger.log = ngx_cycle->log;
    driver.linger.data = &driver;

    ngx_add_timer(&driver.linger, 20000);
}


static void
ngx_redis_client_test_lingered(void *data, redisReply *reply,
    ngx_xmpp_redis_status_e status)
{
    ngx_del_timer(&driver.linger);
}


static void
ngx_redis_client_test_timer(ngx_event_t *ev)
{
    ngx_log_error(NGX_LOG_ALERT, ev->log, 0, "no reply while lingering");
}


void
ngx_redis_client_test_drop_calls(void)
{
    ngx_queue_t                   *q;
    ngx_redis_client_test_call_t  *call;

    while (!ngx_queue_empty(&driver.calls)) {
        q = ngx_queue_head(&driver.calls);
        call = ngx_queue_data(q, ngx_redis_client_test_call_t, queue);

        ngx_redis_client_test_free(call);
    }
}
