
/*
 * The loop, and the lines on the standard input that steer it, with
 * --control:
 *
 *     go       ends hold
 *     again N  ends the hold after the traffic, for N messages more (storms,
 *              logins) and a result of their own
 *     finish   ends traffic
 *     forget   makes what is in flight unknown
 *     quit     ends the run, as does the end of the input
 */


#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>

#include "traffic.h"


#define TR_EVENTS  512


static void tr_watch(tr_run_t *run);
static void tr_loop(tr_run_t *run);
static void tr_event(tr_run_t *run, struct epoll_event *ev);
static int tr_timeout(tr_run_t *run, int more);
static void tr_control(tr_run_t *run);


int
main(int argc, char *argv[])
{
    tr_run_t      *run;
    struct rlimit  rl;

    run = tr_alloc(sizeof(tr_run_t));

    if (tr_options(&run->opt, argc, argv) != TR_OK) {
        return 2;
    }

    (void) signal(SIGPIPE, SIG_IGN);

    if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
        rl.rlim_cur = rl.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &rl);
    }

    run->random = run->opt.seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

    tr_load(run);
    tr_resolve(run);
    tr_tls_init(run);
    tr_work_init(run);
    tr_watch(run);

    tr_loop(run);

    return tr_report_last(run);
}


static void
tr_watch(tr_run_t *run)
{
    struct epoll_event  ee;

    run->epoll = epoll_create1(EPOLL_CLOEXEC);

    if (run->epoll == -1) {
        tr_die("epoll_create1", strerror(errno));
    }

    memset(&ee, 0, sizeof(ee));
    ee.events = EPOLLIN;

    if (run->opt.control
        && epoll_ctl(run->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &ee) == -1)
    {
        tr_die("stdin", strerror(errno));
    }

    if (run->opt.rate == 0) {
        return;
    }

    run->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK|TFD_CLOEXEC);

    /* it only wakes the loop: setting it anew is all that it ever needs */

    ee.events = EPOLLIN|EPOLLET;
    ee.data.ptr = run;

    if (run->timer == -1
        || epoll_ctl(run->epoll, EPOLL_CTL_ADD, run->timer, &ee) == -1)
    {
        tr_die("timerfd", strerror(errno));
    }
}


static void
tr_loop(tr_run_t *run)
{
    int                 i, n, more;
    struct epoll_event  events[TR_EVENTS];

    run->now = tr_now();
    run->started = run->now;
    run->alive = run->now;

    while (run->phase != tr_ph_done) {
        tr_open(run);
        more = tr_work_turn(run);
        tr_conn_flush(run);

        n = epoll_wait(run->epoll, events, TR_EVENTS, tr_timeout(run, more));
        run->now = tr_now();

        for (i = 0; i < n; i++) {
            tr_event(run, &events[i]);
        }

        tr_phase(run);
    }
}


static void
tr_event(tr_run_t *run, struct epoll_event *ev)
{
    if (ev->data.ptr == NULL) {
        tr_control(run);

    } else if (ev->data.ptr != run) {

        /* those before may have taken long, and latencies are counted */

        run->now = tr_now();
        tr_conn_event(run, ev->data.ptr, ev->events);
    }
}


static int
tr_timeout(tr_run_t *run, int more)
{
    if (more) {
        return 0;
    }

    if (run->phase == tr_ph_linger || run->ndelayed) {
        return 5;
    }

    return 100;
}


static void
tr_control(tr_run_t *run)
{
    char         text[256];
    ssize_t      n;
    const char  *p, *end;

    n = read(STDIN_FILENO, text, sizeof(text) - 1);

    if (n <= 0) {
        (void) epoll_ctl(run->epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
        tr_phase_quit(run);
        return;
    }

    text[n] = '\0';
    end = text + n;

    for (p = text; p < end; p++) {
        if (end - p >= 3 && memcmp(p, "go\n", 3) == 0) {
            run->go = 1;

        } else if (end - p >= 7 && memcmp(p, "finish\n", 7) == 0) {
            run->finish = 1;

        } else if (end - p >= 7 && memcmp(p, "forget\n", 7) == 0) {
            tr_account_forget(run);

        } else if (end - p >= 8 && memcmp(p, "resumes\n", 8) == 0) {
            tr_report_times(run);

        } else if (end - p >= 6 && memcmp(p, "again ", 6) == 0) {
            tr_phase_again(run, strtoul(p + 6, NULL, 10));

        } else if (end - p >= 5 && memcmp(p, "quit\n", 5) == 0) {
            tr_phase_quit(run);
        }

        p = memchr(p, '\n', end - p);

        if (p == NULL) {
            return;
        }
    }
}


/* splitmix64; the same seed makes the same choices */

uint32_t
tr_random(tr_run_t *run, uint32_t limit)
{
    uint64_t  z;

    run->random += UINT64_C(0x9e3779b97f4a7c15);

    z = run->random;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;

    return (uint32_t) (((z & 0xffffffff) * limit) >> 32);
}


void
tr_queue_push(tr_run_t *run, tr_queue_t *queue, uint32_t client)
{
    if (queue->clients == NULL) {
        queue->clients = tr_alloc(run->nclients * sizeof(uint32_t));
    }

    queue->clients[(queue->first + queue->n) % run->nclients] = client;
    queue->n++;
}


uint32_t
tr_queue_pop(tr_run_t *run, tr_queue_t *queue)
{
    uint32_t  client;

    client = queue->clients[queue->first];

    queue->first = (queue->first + 1) % run->nclients;
    queue->n--;

    return client;
}


void *
tr_alloc(size_t size)
{
    void  *p;

    p = calloc(1, size);

    if (p == NULL) {
        tr_die("calloc", strerror(errno));
    }

    return p;
}


void *
tr_realloc(void *data, size_t size)
{
    void  *p;

    p = realloc(data, size);

    if (p == NULL) {
        tr_die("realloc", strerror(errno));
    }

    return p;
}


/* tr_now() is the time in microseconds, of a clock that nobody sets */

uint64_t
tr_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


void
tr_die(const char *what, const char *why)
{
    fprintf(stderr, "traffic: %s: %s\n", what, why);
    exit(2);
}
