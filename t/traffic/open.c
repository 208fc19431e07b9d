
/*
 * Who connects when.  Clients that are to connect stand in a queue, and so
 * many of them at once as --logins allows do it; those that were cut off wait
 * before they are in it again.
 *
 *     delayed -> queue -> connecting -> online -> [closing] -> queue
 *
 * With --relogin a client that is online leaves at once, orderly, and goes to
 * the end of the queue.  A storm cuts all, and is over when all are back.
 */


#include <errno.h>
#include <string.h>

#include "traffic.h"


#define TR_OPEN_LOOK  1000


static int tr_open_may(tr_run_t *run);
static void tr_open_delayed(tr_run_t *run);


/* tr_open() opens as many connections as are wanted and allowed now */

void
tr_open(tr_run_t *run)
{
    tr_client_t  *cl;

    if (run->ndelayed && run->now - run->looked >= TR_OPEN_LOOK) {
        tr_open_delayed(run);
    }

    while (run->queue.n > 0 && tr_open_may(run)) {
        cl = &run->clients[tr_queue_pop(run, &run->queue)];
        cl->opened = run->now;
        run->relogins++;

        if (tr_conn_open(run, cl) != TR_OK) {
            tr_fatal(run, strerror(errno), cl);
            return;
        }
    }
}


static int
tr_open_may(tr_run_t *run)
{
    if (run->opt.relogin) {
        return run->phase == tr_ph_relogin
               && run->relogins < run->opt.relogin
               && run->connecting + run->nonline < run->opt.logins;
    }

    return run->phase < tr_ph_linger && run->connecting < run->opt.logins;
}


static void
tr_open_delayed(tr_run_t *run)
{
    uint32_t      i;
    tr_client_t  *cl;

    run->looked = run->now;

    for (i = 0; i < run->nclients; i++) {
        cl = &run->clients[i];

        if (cl->delayed && cl->retry_at <= run->now) {
            cl->delayed = 0;
            run->ndelayed--;
            tr_queue_push(run, &run->queue, i);
        }
    }
}


/* tr_open_later() has a client that was cut off come back at its time */

void
tr_open_later(tr_run_t *run, tr_client_t *cl)
{
    cl->delayed = 1;
    run->ndelayed++;
}


/* tr_open_online() takes in a client that has logged in */

void
tr_open_online(tr_run_t *run, tr_client_t *cl)
{
    cl->state = tr_cl_online;
    cl->place = run->nonline;
    cl->backoff = 0;
    cl->tried = 0;

    run->online[run->nonline++] = cl->index;
    run->connecting--;
    run->count.logins++;
    run->alive = run->now;

    if (run->phase == tr_ph_relogin) {
        tr_report_latency(run, (uint32_t) (run->now - cl->opened));

        cl->state = tr_cl_closing;
        tr_login_end(run, cl);

    } else if (run->phase == tr_ph_storm) {
        tr_report_latency(run, (uint32_t) (run->now - run->storm_started));
    }
}


/* tr_open_storm() cuts all connections, without a word */

void
tr_open_storm(tr_run_t *run)
{
    uint32_t  i;

    run->storm_started = run->now;

    for (i = 0; i < run->nclients; i++) {
        tr_conn_cut(run, &run->clients[i]);
        tr_queue_push(run, &run->queue, i);
    }
}


/* tr_open_storm_over() is true when all are back from the last storm */

int
tr_open_storm_over(tr_run_t *run)
{
    if (run->nonline < run->nclients) {
        return 0;
    }

    run->storms[run->nstorms++] = tr_now() - run->storm_started;

    if (run->nstorms == run->opt.storm) {
        return 1;
    }

    tr_open_storm(run);

    return 0;
}
