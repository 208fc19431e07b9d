
/*
 * The loop and the phases of a run:
 *
 *     login -> [hold] -> traffic -> drain -> [rejoin -> round -> drain]
 *           -> linger -> close -> done
 *
 * Linger is the time in which a second copy may still come in.  With
 * --control lines on the standard input steer it: "go" ends hold, "finish"
 * ends traffic, "forget" makes what is in flight unknown, "quit" and the end
 * of the input end the run.
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

#include "traffic.h"


#define TR_EVENTS     512
#define TR_LINGER     300000
#define TR_CLOSE      5000000
#define TR_OPEN       1000


static void tr_tls(tr_run_t *run);
static void tr_loop(tr_run_t *run);
static int tr_timeout(tr_run_t *run, int more);
static void tr_open(tr_run_t *run);
static void tr_control(tr_run_t *run);
static void tr_phase(tr_run_t *run);
static void tr_phase_late(tr_run_t *run);
static void tr_phase_set(tr_run_t *run, tr_phase_e phase);
static void tr_stalled(tr_run_t *run);
static uint64_t tr_now(void);


int
main(int argc, char *argv[])
{
    int            status;
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
    run->progress_next = run->opt.progress;
    run->epoll = epoll_create1(EPOLL_CLOEXEC);

    if (run->epoll == -1) {
        tr_die("epoll_create1", strerror(errno));
    }

    tr_load(run);
    tr_resolve(run);
    tr_tls(run);
    tr_work_init(run);

    tr_loop(run);

    status = tr_account_report(run);

    return status;
}


static void
tr_tls(tr_run_t *run)
{
    run->ssl = SSL_CTX_new(TLS_client_method());

    if (run->ssl == NULL) {
        tr_die("SSL_CTX_new", "failed");
    }

    (void) SSL_CTX_set_session_cache_mode(run->ssl, SSL_SESS_CACHE_OFF);
    (void) SSL_CTX_set_mode(run->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE
                                      |SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                                      |SSL_MODE_RELEASE_BUFFERS);

    if (run->opt.ca == NULL) {
        return;
    }

    if (SSL_CTX_load_verify_locations(run->ssl, run->opt.ca, NULL) != 1) {
        tr_die(run->opt.ca, "cannot be used");
    }

    SSL_CTX_set_verify(run->ssl, SSL_VERIFY_PEER, NULL);
}


static void
tr_loop(tr_run_t *run)
{
    int                 i, n, more;
    struct epoll_event  ee, events[TR_EVENTS];

    if (run->opt.control) {
        memset(&ee, 0, sizeof(ee));
        ee.events = EPOLLIN;

        if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &ee) == -1) {
            tr_die("stdin", strerror(errno));
        }
    }

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
            if (events[i].data.ptr == NULL) {
                tr_control(run);

            } else {
                tr_conn_event(run, events[i].data.ptr, events[i].events);
            }
        }

        tr_phase(run);
    }
}


static int
tr_timeout(tr_run_t *run, int more)
{
    if (more) {
        return 0;
    }

    if (run->phase == tr_ph_linger
        || run->nonline + run->connecting < run->nclients)
    {
        return 5;
    }

    return 100;
}


/* opens connections of those that are offline, as many at once as allowed */

static void
tr_open(tr_run_t *run)
{
    uint32_t      i;
    tr_client_t  *cl;

    if (run->phase >= tr_ph_linger || run->connecting >= run->opt.logins
        || run->nonline + run->connecting == run->nclients
        || run->now - run->opened < TR_OPEN)
    {
        return;
    }

    run->opened = run->now;

    for (i = 0; i < run->nclients; i++) {
        cl = &run->clients[i];

        if (cl->fd != -1 || cl->retry_at > run->now) {
            continue;
        }

        if (tr_conn_open(run, cl) != TR_OK) {
            tr_fatal(run, strerror(errno), cl);
            return;
        }

        if (run->connecting >= run->opt.logins) {
            return;
        }
    }
}


static void
tr_control(tr_run_t *run)
{
    char         text[256];
    ssize_t      n;
    const char  *p, *end;

    n = read(STDIN_FILENO, text, sizeof(text));

    if (n <= 0) {
        (void) epoll_ctl(run->epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
        tr_phase_set(run, run->phase < tr_ph_close ? tr_ph_close
                                                   : run->phase);
        return;
    }

    end = text + n;

    for (p = text; p < end; p++) {
        if (end - p >= 3 && memcmp(p, "go\n", 3) == 0) {
            run->go = 1;

        } else if (end - p >= 7 && memcmp(p, "finish\n", 7) == 0) {
            run->finish = 1;

        } else if (end - p >= 7 && memcmp(p, "forget\n", 7) == 0) {
            tr_account_forget(run);

        } else if (end - p >= 5 && memcmp(p, "quit\n", 5) == 0
                   && run->phase < tr_ph_close)
        {
            tr_phase_set(run, tr_ph_close);
        }

        p = memchr(p, '\n', end - p);

        if (p == NULL) {
            return;
        }
    }
}


static void
tr_phase(tr_run_t *run)
{
    if (run->phase != tr_ph_hold
        && run->now - run->alive > (uint64_t) run->opt.stall * 1000000)
    {
        tr_stalled(run);
        return;
    }

    switch (run->phase) {

    case tr_ph_login:
        if (run->nonline == run->nclients) {
            run->login_time = run->now - run->started;
            tr_account_progress(run, "ready");
            tr_phase_set(run, run->opt.hold ? tr_ph_hold : tr_ph_traffic);
        }

        break;

    case tr_ph_hold:
        if (run->go) {
            tr_phase_set(run, tr_ph_traffic);
        }

        break;

    case tr_ph_traffic:
        if (run->finish
            || (run->opt.messages && run->messages == run->opt.messages))
        {
            tr_phase_set(run, tr_ph_drain);
        }

        break;

    case tr_ph_drain:
        if (run->noutstanding == 0) {
            run->traffic_time = run->now - run->traffic_started;
            tr_account_progress(run, "drained");
            tr_phase_set(run, run->opt.round ? tr_ph_rejoin : tr_ph_linger);
        }

        break;

    default:
        tr_phase_late(run);
    }
}


static void
tr_phase_late(tr_run_t *run)
{
    switch (run->phase) {

    case tr_ph_rejoin:
        if (run->nonline == run->nclients) {
            tr_phase_set(run, tr_ph_round);
        }

        break;

    case tr_ph_round:
        if (run->round_step == run->nclients) {
            tr_phase_set(run, tr_ph_round_drain);
        }

        break;

    case tr_ph_round_drain:
        if (run->noutstanding == 0) {
            tr_account_progress(run, "round");
            tr_phase_set(run, tr_ph_linger);
        }

        break;

    case tr_ph_linger:
        if (run->now - run->alive > TR_LINGER) {
            tr_phase_set(run, tr_ph_close);
        }

        break;

    case tr_ph_close:
        if (run->nonline == 0 || run->now - run->alive > TR_CLOSE) {
            tr_phase_set(run, tr_ph_done);
        }

        break;

    default:
        break;
    }
}


static void
tr_phase_set(tr_run_t *run, tr_phase_e phase)
{
    uint32_t      i;
    tr_client_t  *cl;

    if (run->phase == tr_ph_done) {
        return;
    }

    run->phase = phase;
    run->alive = run->now;

    if (phase == tr_ph_traffic) {
        run->traffic_started = run->now;
    }

    if (phase == tr_ph_round) {
        run->round_from = 0;
        run->round_step = 1;
    }

    if (phase != tr_ph_close) {
        return;
    }

    for (i = 0; i < run->nonline; i++) {
        cl = &run->clients[run->online[i]];
        cl->state = tr_cl_closing;
        tr_conn_send(run, cl, "</stream:stream>", 16);
    }
}


/* nothing has moved for long: what is still in flight is lost */

static void
tr_stalled(tr_run_t *run)
{
    switch (run->phase) {

    case tr_ph_traffic:
    case tr_ph_drain:
        run->traffic_time = run->now - run->traffic_started;

        /* fall through */

    case tr_ph_round:
    case tr_ph_round_drain:
        if (run->noutstanding) {
            tr_phase_set(run, tr_ph_close);
            return;
        }

        /* fall through */

    default:
        tr_fatal(run, "stalled", NULL);
    }
}


/* tr_fatal() ends the run; the first reason is the one reported */

void
tr_fatal(tr_run_t *run, const char *why, tr_client_t *cl)
{
    if (run->why == NULL) {
        run->why = why;
        fprintf(stderr, "traffic: %s%s%s\n", why, cl ? ", client " : "",
                cl ? cl->user : "");
    }

    run->phase = tr_ph_done;
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


static uint64_t
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
