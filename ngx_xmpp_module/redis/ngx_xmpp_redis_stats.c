/*
 * What the Redis client counts: how long answers take, what fails, how often
 * it had to connect.
 *
 * The time of an answer is that from the writing of the request to the reading
 * of the reply, by the clock of this worker: what the network, Redis, and the
 * worker when it is late need.  The clock is read once for all requests that
 * are written at once, and for all replies that are read at once, and it is the
 * C library that reads it, without the kernel.
 *
 * The counters lie where the owner wants them, for others to read: there is
 * one writer, and he locks nothing.
 */


#include "ngx_xmpp_redis_private.h"


/* from what a socket of this host takes to what nobody should wait for */

const uint64_t  ngx_xmpp_redis_times[] = {
    100, 250, 500,
    1000, 2500, 5000,
    10000, 25000, 50000,
    100000, 250000, 500000,
    1000000, 2500000
};


/* NGX_OK or NGX_ERROR (no memory); r->conf is set */

ngx_int_t
ngx_xmpp_redis_stats_init(ngx_xmpp_redis_t *r, ngx_pool_t *pool)
{
    r->counters = r->conf.counters;
    r->gauges = r->conf.gauges;

    if (r->counters == NULL) {
        r->counters = ngx_pcalloc(pool, sizeof(ngx_xmpp_redis_counters_t));
    }

    if (r->gauges == NULL) {
        r->gauges = ngx_pcalloc(pool, sizeof(ngx_xmpp_redis_gauges_t));
    }

    return (r->counters && r->gauges) ? NGX_OK : NGX_ERROR;
}


/* microseconds, of a clock that is never set */

uint64_t
ngx_xmpp_redis_now(void)
{
    struct timespec  ts;

    if (clock_gettime(CLOCK_MONOTONIC, &ts) == -1) {
        return 0;
    }

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


/* a command has its reply, which was read now */

void
ngx_xmpp_redis_answered(ngx_xmpp_redis_t *r, ngx_xmpp_redis_req_t *req,
    redisReply *reply)
{
    uint64_t    time;
    ngx_uint_t  i;

    time = r->now - req->sent;

    for (i = 0; i < NGX_XMPP_REDIS_TIMES; i++) {
        if (time <= ngx_xmpp_redis_times[i]) {
            break;
        }
    }

    r->counters->times[i]++;
    r->counters->time += time;
    r->counters->errors += (reply->type == REDIS_REPLY_ERROR);
}


/* a command will have none */

void
ngx_xmpp_redis_unanswered(ngx_xmpp_redis_t *r, ngx_xmpp_redis_req_t *req,
    ngx_xmpp_redis_status_e status)
{
    if (req->kind != ngx_xmpp_redis_req_command) {
        return;
    }

    if (status == NGX_XMPP_REDIS_UNKNOWN) {
        r->counters->unknown++;

    } else {
        r->counters->away++;
    }
}
