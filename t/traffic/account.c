
/*
 * The books: a record for each tracked stanza, the list of those in flight,
 * and the last number that came in of each sender and recipient.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "traffic.h"


#define TR_ACCOUNT_MIN   1024
#define TR_ACCOUNT_SLOW  10000000


static void tr_account_settle(tr_run_t *run, tr_record_t *rec,
    tr_state_e state);
static void tr_account_fault(tr_run_t *run, uint32_t n, const char *what);
static uint32_t tr_account_id(tr_str_t *rest);
static uint32_t *tr_account_pair(tr_run_t *run, uint32_t from, uint32_t to);
static void tr_account_grow(tr_run_t *run);


/*
 * tr_account_sent() returns the number of a new stanza; its latency counts
 * from this time, microseconds of the clock
 */

uint32_t
tr_account_sent(tr_run_t *run, tr_client_t *from, tr_client_t *to,
    tr_kind_e kind, uint64_t time)
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
    rec->time = (uint32_t) (time - run->started);
    rec->kind = kind;
    rec->state = tr_st_sent;
    rec->place = run->noutstanding;
    rec->id = 0;

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
    tr_kind_e kind, tr_start_t *start)
{
    uint32_t     *last, late;
    tr_client_t  *sender;
    tr_record_t  *rec;

    if (n == 0 || n > run->nrecords) {
        run->count.corrupt++;
        return TR_ERROR;
    }

    rec = &run->records[n];
    sender = &run->clients[rec->from];

    if (rec->to != cl->index || rec->kind != kind
        || start->from.len != sender->full_len
        || memcmp(start->from.data, sender->full, sender->full_len) != 0)
    {
        run->count.corrupt++;
        return TR_ERROR;
    }

    run->alive = run->now;

    if (rec->state == tr_st_received) {
        run->count.doubled++;

        if (rec->id == 0 || rec->id != tr_account_id(&start->rest)) {
            run->count.renamed++;
            tr_account_fault(run, n, "renamed");
        }

        return TR_ERROR;
    }

    if (rec->state == tr_st_returned) {
        run->count.stray++;
        tr_account_fault(run, n, "came after it had come back");
        return TR_ERROR;
    }

    last = tr_account_pair(run, rec->from, rec->to);

    late = (uint32_t) (run->now - run->started) - rec->time;

    if (n > *last) {
        *last = n;

    } else if (rec->state != tr_st_unknown) {
        run->count.reordered++;
        fprintf(stderr, "reordered: %u behind %u from %s to %s, sent at "
                "%.3f s and %.3f s, came at %.3f s\n", n, *last, sender->user,
                cl->user, rec->time / 1e6, run->records[*last].time / 1e6,
                (rec->time + late) / 1e6);
    }

    /* of a connection that has ended: it comes when somebody may get it */

    if (rec->state == tr_st_unknown) {
        run->count.late++;
    }

    if (kind == tr_kind_message) {
        rec->id = tr_account_id(&start->rest);
    }

    run->count.received++;
    run->count.kinds[kind]++;

    if (late > TR_ACCOUNT_SLOW) {
        fprintf(stderr, "slow: %u from %s to %s, at %.3f s, %.3f s ago%s\n",
                n, sender->user, cl->user, rec->time / 1e6, late / 1e6,
                rec->state == tr_st_unknown ? ", unknown" : "");
    }

    tr_report_latency(run, late);
    tr_account_settle(run, rec, tr_st_received);

    return TR_OK;
}


static void
tr_account_fault(tr_run_t *run, uint32_t n, const char *what)
{
    tr_record_t  *rec;

    rec = &run->records[n];

    fprintf(stderr, "%s: %u from %s to %s, sent at %.3f s, at %.3f s\n", what,
            n, run->clients[rec->from].user, run->clients[rec->to].user,
            rec->time / 1e6, (run->now - run->started) / 1e6);
}


/* a hash of the id that the archive has given (XEP-0359), 0: none */

static uint32_t
tr_account_id(tr_str_t *rest)
{
    size_t    i;
    uint32_t  hash;
    tr_str_t  el, id;

    static const char  tag[] = "<stanza-id ";

    if (tr_scan_find(rest, tag, &el) != TR_OK) {
        return 0;
    }

    el.data -= sizeof(tag) - 1;
    el.len += sizeof(tag) - 1;

    if (tr_scan_attr(&el, "id", &id) != TR_OK) {
        return 0;
    }

    for (hash = 2166136261u, i = 0; i < id.len; i++) {
        hash = (hash ^ (unsigned char) id.data[i]) * 16777619u;
    }

    return hash | 1;
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
        tr_account_fault(run, n, "came back after it had come");
        return;
    }

    run->count.returned++;
    tr_account_settle(run, rec, tr_st_returned);
}


/* tr_account_unknown() gives up one of which nobody knows any more */

void
tr_account_unknown(tr_run_t *run, uint32_t n)
{
    tr_record_t  *rec;

    rec = &run->records[n];

    if (rec->state == tr_st_sent) {
        run->count.unknown++;
        tr_account_settle(run, rec, tr_st_unknown);
    }
}


/*
 * tr_account_again() is told that one is sent again, since the server has not
 * acknowledged it.  If it had come back it may arrive now, behind later ones;
 * or not, when the server knows these.
 */

void
tr_account_again(tr_run_t *run, uint32_t n)
{
    tr_record_t  *rec;

    rec = &run->records[n];

    if (rec->state == tr_st_returned) {
        run->count.returned--;
        run->count.unknown++;
        tr_account_settle(run, rec, tr_st_unknown);
    }
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

    if (rec->state != tr_st_sent) {
        rec->state = state;
        return;
    }

    rec->state = state;

    last = run->outstanding[--run->noutstanding];
    run->outstanding[rec->place] = last;
    run->records[last].place = rec->place;

    if (run->opt.pairs && rec->kind != tr_kind_result) {
        tr_work_settled(run, rec);
    }
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
