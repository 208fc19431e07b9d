
/*
 * What is printed: latencies in steps, lines of progress, and the result of
 * the run or of each of its repeats.
 */


#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/resource.h>

#include "traffic.h"


#define TR_REPORT_MISSING  50


static uint64_t tr_report_percentile(tr_run_t *run, double share);
static uint64_t tr_report_faults(tr_run_t *run);
static void tr_report_missing(tr_run_t *run);
static void tr_report_counts(tr_run_t *run);
static void tr_report_storms(tr_run_t *run);
static void tr_report_resumes(tr_run_t *run);
static int tr_report_resume_cmp(const void *one, const void *two);
static int tr_report_storm_cmp(const void *one, const void *two);


/*
 * tr_report_latency() counts a time in microseconds, in steps of a part of
 * an octave: good to three percent
 */

void
tr_report_latency(tr_run_t *run, uint32_t us)
{
    unsigned  octave;

    if (us > run->latency_max) {
        run->latency_max = us;
    }

    us = (us < UINT32_MAX - TR_STEPS) ? us + TR_STEPS : UINT32_MAX;
    octave = 31 - __builtin_clz(us);

    run->latency[octave * TR_STEPS
                 + (((uint64_t) us * TR_STEPS >> octave) & (TR_STEPS - 1))]++;
    run->nlatency++;
}


/* the upper end of the step that this share of all does not pass */

static uint64_t
tr_report_percentile(tr_run_t *run, double share)
{
    unsigned  i;
    uint64_t  sum, want, us;

    sum = 0;
    want = (uint64_t) (share * run->nlatency);

    for (i = 0; i < 32 * TR_STEPS; i++) {
        sum += run->latency[i];

        if (sum > want) {
            us = ((uint64_t) (TR_STEPS + i % TR_STEPS + 1) << (i / TR_STEPS))
                 / TR_STEPS - TR_STEPS;

            return us < run->latency_max ? us : run->latency_max;
        }
    }

    return run->latency_max;
}


void
tr_report_progress(tr_run_t *run, const char *word)
{
    printf("%s: online=%u messages=%" PRIu64 " sent=%" PRIu64
           " received=%" PRIu64 " inflight=%u closes=%" PRIu64 "\n",
           word, run->nonline, run->messages, run->count.sent,
           run->count.received, run->noutstanding, run->count.closes);
    fflush(stdout);
}


/* tr_report_cpu() is what this program has used, microseconds */

uint64_t
tr_report_cpu(void)
{
    struct rusage  ru;

    (void) getrusage(RUSAGE_SELF, &ru);

    return (uint64_t) (ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000
           + ru.ru_utime.tv_usec + ru.ru_stime.tv_usec;
}


/* tr_report_reset() begins a repeat: nothing has been counted */

void
tr_report_reset(tr_run_t *run)
{
    memset(&run->count, 0, sizeof(tr_count_t));
    memset(run->latency, 0, sizeof(run->latency));

    run->latency_max = 0;
    run->nlatency = 0;
    run->nstorms = 0;
    run->reported = 0;
}


/* what must not happen, apart from those that are lost */

static uint64_t
tr_report_faults(tr_run_t *run)
{
    tr_count_t  *ct;

    ct = &run->count;

    return (run->opt.sm ? ct->renamed : ct->doubled)
           + ct->reordered + ct->corrupt + ct->stray
           + (run->opt.reconnect ? 0 : ct->returned);
}


/*
 * tr_report() prints the result and keeps the worst exit status: 0 when all
 * arrived once, in order and intact, 1 when not, 3 when the run ended early
 */

void
tr_report(tr_run_t *run)
{
    double  seconds;

    tr_report_missing(run);
    tr_report_counts(run);

    seconds = run->traffic_time / 1e6;

    printf(" login_seconds=%.3f seconds=%.3f rate=%.0f p50=%" PRIu64
           " p90=%" PRIu64 " p99=%" PRIu64 " p999=%" PRIu64 " max=%" PRIu64,
           run->login_time / 1e6, seconds,
           seconds > 0 ? run->count.received / seconds : 0,
           tr_report_percentile(run, 0.5), tr_report_percentile(run, 0.9),
           tr_report_percentile(run, 0.99), tr_report_percentile(run, 0.999),
           run->latency_max);

    printf(" cpu_us=%" PRIu64 " bytes_sent=%" PRIu64 " bytes_received=%"
           PRIu64, run->traffic_cpu, run->count.bytes_sent,
           run->count.bytes_received);

    if (run->opt.storm) {
        tr_report_storms(run);
    }

    if (run->opt.sm) {
        tr_report_resumes(run);
    }

    printf("%s%s\n", run->why ? " early=" : "", run->why ? run->why : "");
    fflush(stdout);

    run->reported = 1;
    run->faults = tr_report_faults(run);

    if (run->why) {
        run->status = 3;

    } else if ((run->noutstanding || run->faults) && run->status == 0) {
        run->status = 1;
    }
}


/* tr_report_last() prints what has not been, and returns the exit status */

int
tr_report_last(tr_run_t *run)
{
    if (!run->reported || run->why
        || run->faults != tr_report_faults(run))
    {
        tr_report(run);
    }

    return run->status;
}


static void
tr_report_counts(tr_run_t *run)
{
    tr_count_t  *ct;

    ct = &run->count;

    printf("result: clients=%u sent=%" PRIu64 " received=%" PRIu64
           " messages=%" PRIu64 " iqs=%" PRIu64 " results=%" PRIu64
           " presences=%" PRIu64, run->nclients, ct->sent, ct->received,
           ct->kinds[tr_kind_message], ct->kinds[tr_kind_iq],
           ct->kinds[tr_kind_result], ct->kinds[tr_kind_presence]);

    printf(" lost=%u doubled=%" PRIu64 " reordered=%" PRIu64
           " renamed=%" PRIu64 " corrupt=%" PRIu64 " stray=%" PRIu64
           " returned=%" PRIu64
           " unknown=%" PRIu64 " late=%" PRIu64, run->noutstanding,
           ct->doubled, ct->reordered, ct->renamed, ct->corrupt, ct->stray,
           ct->returned, ct->unknown, ct->late);

    printf(" closes=%" PRIu64 " logins=%" PRIu64 " refused=%" PRIu64
           " resumed=%" PRIu64, ct->closes, ct->logins, ct->refused,
           ct->resumed);
}


static void
tr_report_storms(tr_run_t *run)
{
    uint32_t  n;

    n = run->nstorms;

    if (n == 0) {
        printf(" storms=0");
        return;
    }

    qsort(run->storms, n, sizeof(uint64_t), tr_report_storm_cmp);

    printf(" storms=%u storm_ms=%.1f storm_max_ms=%.1f", n,
           (run->storms[(n - 1) / 2] + run->storms[n / 2]) / 2e3,
           run->storms[n - 1] / 1e3);
}


/* XEP-0198: how long each took, of those that were not told yet */

void
tr_report_times(tr_run_t *run)
{
    printf("resumes: online=%u failed=%" PRIu64 " ms=", run->nonline,
           run->count.failed);

    for ( /* void */ ; run->told < run->nresumes; run->told++) {
        printf("%.1f,", run->resumes[run->told] / 1e3);
    }

    printf("\n");
    fflush(stdout);
}


/* the same, in short; in which order they were is forgotten */

static void
tr_report_resumes(tr_run_t *run)
{
    uint32_t  n;

    n = run->nresumes;

    printf(" sm_resumed=%u sm_failed=%" PRIu64 " sm_acked=%" PRIu64, n,
           run->count.failed, run->count.acked);

    if (n == 0) {
        return;
    }

    run->told = n;
    qsort(run->resumes, n, sizeof(uint32_t), tr_report_resume_cmp);

    printf(" sm_p50_ms=%.1f sm_p99_ms=%.1f sm_max_ms=%.1f",
           run->resumes[n / 2] / 1e3,
           run->resumes[(n * 99 + 99) / 100 - 1] / 1e3,
           run->resumes[n - 1] / 1e3);
}


static int
tr_report_resume_cmp(const void *one, const void *two)
{
    uint32_t  a, b;

    a = *(const uint32_t *) one;
    b = *(const uint32_t *) two;

    return (a > b) - (a < b);
}


static int
tr_report_storm_cmp(const void *one, const void *two)
{
    uint64_t  a, b;

    a = *(const uint64_t *) one;
    b = *(const uint64_t *) two;

    return (a > b) - (a < b);
}


/* the first ones that are missing, for those who look for them */

static void
tr_report_missing(tr_run_t *run)
{
    uint32_t            i, n;
    tr_record_t        *rec;
    static const char  *kinds[] = { "message", "iq", "result", "presence" };

    for (i = 0; i < run->noutstanding && i < TR_REPORT_MISSING; i++) {
        n = run->outstanding[i];
        rec = &run->records[n];

        fprintf(stderr, "missing: %s %u from %s to %s, sent %.3f s ago\n",
                kinds[rec->kind], n, run->clients[rec->from].user,
                run->clients[rec->to].user,
                ((uint32_t) (run->now - run->started) - rec->time) / 1e6);
    }
}
