/*
 * What the two files of the driver share; see ngx_redis_client_test_module.c.
 */


#ifndef _NGX_REDIS_CLIENT_TEST_H_INCLUDED_
#define _NGX_REDIS_CLIENT_TEST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_stream.h>
#include "ngx_xmpp_redis.h"


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
    ngx_uint_t              lingering;   /* unsigned  lingering:1; */
} ngx_redis_client_test_t;


/* appends a line for the controlling connection */
void ngx_redis_client_test_report(const char *fmt, ...);

/* obeys one line */
void ngx_redis_client_test_line(u_char *p, size_t len);

/* the handlers of the client */
void ngx_redis_client_test_message(void *data, ngx_str_t *channel,
    ngx_str_t *message);
void ngx_redis_client_test_state(void *data, ngx_uint_t subscriber,
    ngx_uint_t ready);

/* the begin of a graceful shutdown, and the end of the process */
void ngx_redis_client_test_shutdown(void);
void ngx_redis_client_test_drop_calls(void);


extern ngx_redis_client_test_t  driver;


#endif /* _NGX_REDIS_CLIENT_TEST_H_INCLUDED_ */
