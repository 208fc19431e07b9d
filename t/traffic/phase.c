
/*
 * The phases of a run:
 *
 *     login -> [hold] -> traffic -> drain -> [rejoin -> round -> drain]
 *           -> linger -> close -> done
 *
 * With --storm there are storms in the place of traffic and drain, and with
 * --relogin logins, which need no login before.  Linger is the time in which
 * a second copy may still come in.  With --hold it is followed by another
 * hold, in which all stay online: for a repeat, or for the end.
 */


#include <stdio.h>
#include <stdlib.h>

#include "traffic.h"


#define TR_PHASE_LINGER  300000
#define TR_PHASE_CLOSE   5000000


static int tr_phase_step(tr_run_t *run);
static int tr_phase_late(tr_run_t *run);
static int tr_phase_work(tr_run_t *run);
static int tr_phase_worked(tr_run_t *run);
static int tr_phase_lingered(tr_run_t *run);
static int tr_phase_set(tr_run_t *run, tr_phase_e phase);
static void tr_phase_enter(tr_run_t *run);
static void tr_phase_close(tr_run_t *run);
static void tr_phase_stalled(tr_run_t *run);


void
tr_phase(tr_run_t *run)
{
    if (run->phase != tr_ph_hold
        && run->now - run->alive > (uint64_t) run->opt.stall * 1000000)
    {
        tr_phase_stalled(run);
        return;
    }

    while (tr_phase_step(run)) { /* void */ }
}


/* true when there is a new phase */

static int
tr_phase_step(tr_run_t *run)
{
    switch (run->phase) {

    case tr_ph_login:
        if (run->nonline == run->nclients || run->opt.relogin) {
            run->login_time = run->now - run->started;
            tr_report_progress(run, "ready");

            return run->opt.hold ? tr_phase_set(run, tr_ph_hold)
                                 : tr_phase_work(run);
        }

        return 0;

    case tr_ph_hold:
        return run->go ? tr_phase_work(run) : 0;

    case tr_ph_relogin:
        return run->count.logins == run->opt.relogin && run->nonline == 0
               ? tr_phase_worked(run) : 0;

    case tr_ph_storm:
        return tr_open_storm_over(run) ? tr_phase_worked(run) : 0;

    case tr_ph_traffic:
        return tr_work_over(run) ? tr_phase_set(run, tr_ph_drain) : 0;

    case tr_ph_drain:
        return run->noutstanding == 0 ? tr_phase_worked(run) : 0;

    default:
        return tr_phase_late(run);
    }
}


static int
tr_phase_late(tr_run_t *run)
{
    switch (run->phase) {

    case tr_ph_rejoin:
        return run->nonline == run->nclients
               ? tr_phase_set(run, tr_ph_round) : 0;

    case tr_ph_round:
        return run->round_step == run->nclients
               ? tr_phase_set(run, tr_ph_round_drain) : 0;

    case tr_ph_round_drain:
        if (run->noutstanding == 0) {
            tr_report_progress(run, "round");
            return tr_phase_set(run, tr_ph_linger);
        }

        return 0;

    case tr_ph_linger:
        return run->now - run->alive > TR_PHASE_LINGER
               ? tr_phase_lingered(run) : 0;

    case tr_ph_close:
        return run->nonline == 0 || run->now - run->alive > TR_PHASE_CLOSE
               ? tr_phase_set(run, tr_ph_done) : 0;

    default:
        return 0;
    }
}


/* what the run is for, or its repeat, begins */

static int
tr_phase_work(tr_run_t *run)
{
    if (run->repeats++ > 0) {
        tr_report_reset(run);
    }

    run->go = 0;
    run->finish = 0;
    run->messages = 0;
    run->scheduled = 0;
    run->relogins = 0;
    run->progress_next = run->opt.progress;

    /* the time since the last event may be long */

    run->now = tr_now();
    run->traffic_started = run->now;
    run->traffic_cpu = tr_report_cpu();

    if (run->opt.relogin) {
        return tr_phase_set(run, tr_ph_relogin);
    }

    if (run->opt.storm) {
        run->storms = tr_realloc(run->storms,
                                 run->opt.storm * sizeof(uint64_t));
        (void) tr_phase_set(run, tr_ph_storm);
        tr_open_storm(run);

        return 1;
    }

    return tr_phase_set(run, tr_ph_traffic);
}


static int
tr_phase_worked(tr_run_t *run)
{
    run->now = tr_now();
    run->traffic_time = run->now - run->traffic_started;
    run->traffic_cpu = tr_report_cpu() - run->traffic_cpu;

    tr_report_progress(run, "drained");

    return tr_phase_set(run, run->opt.round ? tr_ph_rejoin : tr_ph_linger);
}


static int
tr_phase_lingered(tr_run_t *run)
{
    if (!run->opt.hold) {
        return tr_phase_set(run, tr_ph_close);
    }

    tr_report(run);

    return tr_phase_set(run, tr_ph_hold);
}


/* tr_phase_again() has the next hold end, for so many messages or the like */

void
tr_phase_again(tr_run_t *run, uint32_t n)
{
    if (run->opt.relogin) {
        run->opt.relogin = n;

    } else if (run->opt.storm) {
        run->opt.storm = n;

    } else {
        run->opt.messages = n;
    }

    run->go = 1;
}


/* tr_phase_quit() logs all out, if that is not going on */

void
tr_phase_quit(tr_run_t *run)
{
    if (run->phase < tr_ph_close) {
        (void) tr_phase_set(run, tr_ph_close);
    }
}


static int
tr_phase_set(tr_run_t *run, tr_phase_e phase)
{
    if (run->phase == tr_ph_done) {
        return 0;
    }

    run->phase = phase;
    run->alive = run->now;

    tr_phase_enter(run);

    return 1;
}


static void
tr_phase_enter(tr_run_t *run)
{
    switch (run->phase) {

    case tr_ph_round:
        run->round_from = 0;
        run->round_step = 1;
        break;

    case tr_ph_linger:
        if (run->opt.hold) {
            printf("traffic: done\n");
            fflush(stdout);
        }

        break;

    case tr_ph_close:
        tr_phase_close(run);
        break;

    default:
        break;
    }
}


static void
tr_phase_close(tr_run_t *run)
{
    uint32_t      i;
    tr_client_t  *cl;

    for (i = 0; i < run->nonline; i++) {
        cl = &run->clients[run->online[i]];

        if (cl->state == tr_cl_online) {
            cl->state = tr_cl_closing;
            tr_login_end(run, cl);
        }
    }
}


/* nothing has moved for long: what is still in flight is lost */

static void
tr_phase_stalled(tr_run_t *run)
{
    switch (run->phase) {

    case tr_ph_traffic:
    case tr_ph_drain:
        run->traffic_time = run->now - run->traffic_started;
        run->traffic_cpu = tr_report_cpu() - run->traffic_cpu;

        /* fall through */

    case tr_ph_round:
    case tr_ph_round_drain:
        if (run->noutstanding) {
            (void) tr_phase_set(run, tr_ph_close);
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
