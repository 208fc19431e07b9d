
/*
 * The books: a record for each tracked stanza, the list of those in flight,
 * the last number that came in of each sender and recipient, and the report.
 */


#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "traffic.h"


#define TR_ACCOUNT_MIN      1024
#define TR_ACCOUNT_MISSING  50


static void tr_account_settle(tr_run_t *run, tr_record_t *rec,
    tr_state_e state);
static uint32_t *tr_account_pair(tr_run_t *run, uint32_t from, uint32_t to);
static void tr_account_grow(tr_run_t *run);
static void tr_account_latency(tr_run_t *run, uint32_t us);
static uint64_t tr_account_percentile(tr_run_t *run, double share);
static void tr_account_missing(tr_run_t *run);


/* tr_account_sent() returns the number of a new stanza */

uint32_t
tr_account_sent(tr_run_t *run, tr_client_t *from, tr_client_t *to,
    tr_kind_e kind)
{
    uint32_t      n;
    tr_record_t  *rec;

    if (run->nrecords + 1 >= run->size) {
        run->size = run->size ? 2 * run->size : TR_ACCOUNT_MIN;
        run->records = tr_realloc(run->records,
                                  run->size * sizeof(tr_record_t));
    }

    if (run->noutstanding == run->outstanding_size) {
        run->outstanding_size = run->outstanding_size
                                ? 2 * run->outstanding_size : TR_ACCOUNT_MIN;
        run->outstanding = tr_realloc(run->outstanding,
                                  run->outstanding_size * sizeof(uint32_t));
    }

    n = ++run->nrecords;

    rec = &run->records[n];
    rec->from = from->index;
    rec->to = to->index;
    rec->time = (uint32_t) (run->now - run->started);
    rec->kind = kind;
    rec->state = tr_st_sent;
    rec->place = run->noutstanding;

    run->outstanding[run->noutstanding++] = n;
    run->count.sent++;

    return n;
}


/*
 * tr_account_received() books an arrival; TR_OK when it is the first one of
 * this number
 */

int
tr_account_received(tr_run_t *run, tr_client_t *cl, uint32_t n,
    tr_kind_e kind, tr_str_t *from)
{
    uint32_t     *last;
    const char   *full;
    tr_record_t  *rec;

    if (n == 0 || n > run->nrecords) {
        run->count.corrupt++;
        return TR_ERROR;
    }

    rec = &run->records[n];
    full = run->clients[rec->from].full;

    if (rec->to != cl->index || rec->kind != kind
        || from->len != strlen(full)
        || memcmp(from->data, full, from->len) != 0)
    {
        run->count.corrupt++;
        return TR_ERROR;
    }

    run->alive = run->now;

    if (rec->state == tr_st_received) {
        run->count.doubled++;
        return TR_ERROR;
    }

    if (rec->state == tr_st_returned) {
        run->count.stray++;
        return TR_ERROR;
    }

    if (rec->state == tr_st_unknown) {
        run->count.late++;
    }

    last = tr_account_pair(run, rec->from, rec->to);

    if (n < *last) {
        run->count.reordered++;

    } else {
        *last = n;
    }

    run->count.received++;
    run->count.kinds[kind]++;

    tr_account_latency(run, (uint32_t) (run->now - run->started) - rec->time);
    tr_account_settle(run, rec, tr_st_received);

    return TR_OK;
}


/* tr_account_returned() books an error that came to the sender */

void
tr_account_returned(tr_run_t *run, tr_client_t *cl, uint32_t n)
{
    tr_record_t  *rec;

    if (n == 0 || n > run->nrecords || run->records[n].from != cl->index) {
        run->count.stray++;
        return;
    }

    rec = &run->records[n];
    run->alive = run->now;

    if (rec->state == tr_st_received || rec->state == tr_st_returned) {
        run->count.stray++;
        return;
    }

    run->count.returned++;
    tr_account_settle(run, rec, tr_st_returned);
}


/* tr_account_cut() gives up what was in flight to and from a client */

void
tr_account_cut(tr_run_t *run, tr_client_t *cl)
{
    uint32_t      i;
    tr_record_t  *rec;

    for (i = run->noutstanding; i > 0; i--) {
        rec = &run->records[run->outstanding[i - 1]];

        if (rec->from == cl->index || rec->to == cl->index) {
            run->count.unknown++;
            tr_account_settle(run, rec, tr_st_unknown);
        }
    }
}


/* tr_account_forget() gives up all that is in flight */

void
tr_account_forget(tr_run_t *run)
{
    while (run->noutstanding) {
        run->count.unknown++;
        tr_account_settle(run,
                      &run->records[run->outstanding[run->noutstanding - 1]],
                      tr_st_unknown);
    }
}


static void
tr_account_settle(tr_run_t *run, tr_record_t *rec, tr_state_e state)
{
    uint32_t  last;

    if (rec->state == tr_st_sent) {
        last = run->outstanding[--run->noutstanding];
        run->outstanding[rec->place] = last;
        run->records[last].place = rec->place;
    }

    rec->state = state;
}


/* a hash with open addressing; pairs are never taken out */

static uint32_t *
tr_account_pair(tr_run_t *run, uint32_t from, uint32_t to)
{
    uint64_t  key;
    uint32_t  i;

    if (2 * (run->npairs + 1) > run->pairs_size) {
        tr_account_grow(run);
    }

    key = ((uint64_t) from << 32 | to) + 1;
    i = (uint32_t) ((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32);

    for (i &= run->pairs_size - 1;
         run->pair_keys[i] != key;
         i = (i + 1) & (run->pairs_size - 1))
    {
        if (run->pair_keys[i] == 0) {
            run->pair_keys[i] = key;
            run->pair_last[i] = 0;
            run->npairs++;
            break;
        }
    }

    return &run->pair_last[i];
}


static void
tr_account_grow(tr_run_t *run)
{
    uint32_t   i, size, *last, *place;
    uint64_t  *keys;

    size = run->pairs_size;
    keys = run->pair_keys;
    last = run->pair_last;

    run->pairs_size = size ? 2 * size : TR_ACCOUNT_MIN;
    run->pair_keys = tr_alloc(run->pairs_size * sizeof(uint64_t));
    run->pair_last = tr_alloc(run->pairs_size * sizeof(uint32_t));
    run->npairs = 0;

    for (i = 0; i < size; i++) {
        if (keys[i]) {
            place = tr_account_pair(run, (uint32_t) ((keys[i] - 1) >> 32),
                                    (uint32_t) (keys[i] - 1));
            *place = last[i];
        }
    }

    free(keys);
    free(last);
}


/* steps of an eighth of an octave: good to some ten percent */

static void
tr_account_latency(tr_run_t *run, uint32_t us)
{
    unsigned  octave;

    if (us > run->latency_max) {
        run->latency_max = us;
    }

    us += 8;
    octave = 31 - __builtin_clz(us);

    run->latency[octave * 8 + ((us >> (octave - 3)) & 7)]++;
}


static uint64_t
tr_account_percentile(tr_run_t *run, double share)
{
    unsigned  i, octave;
    uint64_t  sum, want;

    sum = 0;
    want = (uint64_t) (share * run->count.received);

    for (i = 0; i < 32 * 8; i++) {
        sum += run->latency[i];

        if (sum > want) {
            octave = i / 8;
            return ((UINT64_C(8) + i % 8 + 1) << octave >> 3) - 8;
        }
    }

    return run->latency_max;
}


void
tr_account_progress(tr_run_t *run, const char *word)
{
    printf("%s: online=%u messages=%" PRIu64 " sent=%" PRIu64
           " received=%" PRIu64 " inflight=%u closes=%" PRIu64 "\n",
           word, run->nonline, run->messages, run->count.sent,
           run->count.received, run->noutstanding, run->count.closes);
    fflush(stdout);
}


/* the first ones that are missing, for those who look for them */

static void
tr_account_missing(tr_run_t *run)
{
    uint32_t            i, n;
    tr_record_t        *rec;
    static const char  *kinds[] = { "message", "iq", "result", "presence" };

    for (i = 0; i < run->noutstanding && i < TR_ACCOUNT_MISSING; i++) {
        n = run->outstanding[i];
        rec = &run->records[n];

        fprintf(stderr, "missing: %s %u from %s to %s, sent %.3f s ago\n",
                kinds[rec->kind], n, run->clients[rec->from].user,
                run->clients[rec->to].user,
                ((uint32_t) (run->now - run->started) - rec->time) / 1e6);
    }
}


/*
 * tr_account_report() prints the last line and returns the exit status:
 * 0 when all arrived once, in order and intact, 1 when not, 3 when the run
 * ended early
 */

int
tr_account_report(tr_run_t *run)
{
    double       seconds;
    uint64_t     lost;
    tr_count_t  *ct;

    ct = &run->count;
    lost = run->noutstanding;
    tr_account_missing(run);
    seconds = run->traffic_time / 1e6;

    printf("result: clients=%u sent=%" PRIu64 " received=%" PRIu64
           " messages=%" PRIu64 " iqs=%" PRIu64 " results=%" PRIu64
           " presences=%" PRIu64, run->nclients, ct->sent, ct->received,
           ct->kinds[tr_kind_message], ct->kinds[tr_kind_iq],
           ct->kinds[tr_kind_result], ct->kinds[tr_kind_presence]);

    printf(" lost=%" PRIu64 " doubled=%" PRIu64 " reordered=%" PRIu64
           " corrupt=%" PRIu64 " stray=%" PRIu64 " returned=%" PRIu64
           " unknown=%" PRIu64 " late=%" PRIu64, lost, ct->doubled,
           ct->reordered, ct->corrupt, ct->stray, ct->returned, ct->unknown,
           ct->late);

    printf(" closes=%" PRIu64 " logins=%" PRIu64 " refused=%" PRIu64
           " login_seconds=%.3f seconds=%.3f rate=%.0f p50_us=%" PRIu64
           " p99_us=%" PRIu64 " max_us=%" PRIu64 "%s%s\n", ct->closes,
           ct->logins, ct->refused, run->login_time / 1e6, seconds,
           seconds > 0 ? ct->received / seconds : 0,
           tr_account_percentile(run, 0.5), tr_account_percentile(run, 0.99),
           run->latency_max, run->why ? " early=" : "",
           run->why ? run->why : "");

    if (run->why) {
        return 3;
    }

    return lost || ct->doubled || ct->reordered || ct->corrupt || ct->stray
           || (ct->returned && !run->opt.reconnect);
}
