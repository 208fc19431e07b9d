
/*
 * What is sent to whom and when: messages, iqs and directed presence, then if
 * asked one message from each to each; and the answers to what arrives.
 *
 * To whom: a random pair, or with --pairs the first to the second and back.
 * With --group it is presence without an address, of one of a group of that
 * many clients: the server sends it to the others, its contacts.  It has a
 * number for each of them, one behind the other, and bears the first.
 *
 * When: as long as what is in flight is less than the window.  With --pairs
 * the window is that of each client; if it is one, those of a pair send in
 * turn, the next when the last has arrived.  With --rate by the clock: what
 * could not be sent in time is sent later, and its latency counts from when
 * it should have been sent, so that nobody looks better by being slow.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/timerfd.h>

#include "traffic.h"


#define TR_WORK_BATCH   256
#define TR_WORK_STANZA  256             /* of a stanza, without its texts */

/* what a server must not change: entities, characters of 2 to 4 bytes */

#define TR_WORK_PAD                                                           \
    " It is the east &amp; Juliet is the sun &lt;\303\251\342\202\254"        \
    "\360\237\214\271&gt;"


static int tr_work_pairs(tr_run_t *run);
static int tr_work_rate(tr_run_t *run);
static void tr_work_wake(tr_run_t *run, uint64_t time);
static void tr_work_window(tr_run_t *run, tr_client_t *cl);
static void tr_work_pairing(tr_run_t *run);
static int tr_work_random(tr_run_t *run);
static int tr_work_group(tr_run_t *run);
static int tr_work_round(tr_run_t *run);
static tr_kind_e tr_work_choose(tr_run_t *run);
static void tr_work_next(tr_run_t *run, tr_client_t *from, tr_client_t *to,
    uint64_t time);
static void tr_work_send(tr_run_t *run, tr_client_t *from, tr_client_t *to,
    tr_kind_e kind, int full, uint64_t time);
static void tr_work_write(tr_run_t *run, tr_client_t *from, tr_client_t *to,
    tr_kind_e kind, int full, uint32_t n);
static char *tr_work_copy(char *p, const char *text, size_t len);
static char *tr_work_tag(char *p, tr_run_t *run, const char *tag,
    tr_client_t *from, tr_client_t *to, int full);
static uint32_t tr_work_place(tr_run_t *run, tr_client_t *cl, uint32_t n);
static void tr_work_answer(tr_run_t *run, tr_client_t *cl, uint32_t to,
    uint32_t n);
static void tr_work_untracked(tr_run_t *run, tr_client_t *cl, tr_str_t *el);
static int tr_work_body(tr_str_t *rest);
static uint32_t tr_work_number(tr_str_t *text);
static tr_kind_e tr_work_kind(tr_start_t *start);
static int tr_work_is(tr_str_t *value, const char *text);


static char    tr_work_pad[TR_SIZE_MAX + sizeof(TR_WORK_PAD)];
static size_t  tr_work_pad_len;


/* tr_work_init() makes a text for the bodies of at least so many bytes */

void
tr_work_init(tr_run_t *run)
{
    while (strlen(tr_work_pad) < run->opt.size) {
        strcat(tr_work_pad, TR_WORK_PAD);
    }

    tr_work_pad_len = strlen(tr_work_pad);
}


/* tr_work_over() is true when all that was to be sent has been */

int
tr_work_over(tr_run_t *run)
{
    return run->finish
           || (run->opt.messages && run->messages == run->opt.messages);
}


/* tr_work_turn() sends what may be sent now; true when there is more */

int
tr_work_turn(tr_run_t *run)
{
    int       rc;
    uint32_t  i;

    if (run->phase == tr_ph_traffic) {

        if (run->opt.rate) {
            return tr_work_rate(run);
        }

        if (run->opt.pairs) {
            return tr_work_pairs(run);
        }
    }

    for (i = 0; i < TR_WORK_BATCH; i++) {

        if (run->noutstanding >= run->opt.window) {
            return 0;
        }

        if (run->phase == tr_ph_traffic) {
            rc = run->opt.group ? tr_work_group(run) : tr_work_random(run);

        } else if (run->phase == tr_ph_round) {
            rc = tr_work_round(run);

        } else {
            return 0;
        }

        if (rc != TR_OK) {
            return 0;
        }
    }

    return 1;
}


static int
tr_work_random(tr_run_t *run)
{
    tr_client_t  *from, *to;

    if (tr_work_over(run) || run->nonline < 2) {
        return TR_ERROR;
    }

    from = &run->clients[run->online[tr_random(run, run->nonline)]];

    do {
        to = &run->clients[run->online[tr_random(run, run->nonline)]];
    } while (to == from);

    tr_work_next(run, from, to, run->now);

    return TR_OK;
}


static int
tr_work_group(tr_run_t *run)
{
    uint32_t      i, n, first, number;
    tr_client_t  *from;

    if (tr_work_over(run) || run->nonline < run->nclients) {
        return TR_ERROR;
    }

    from = &run->clients[tr_random(run, run->nclients)];
    first = from->index / run->opt.group * run->opt.group;
    number = 0;

    for (i = first; i < first + run->opt.group; i++) {
        if (i == from->index || i >= run->nclients) {
            continue;
        }

        n = tr_account_sent(run, from, &run->clients[i], tr_kind_presence,
                            run->now);

        if (number == 0) {
            number = n;
        }
    }

    run->messages++;

    tr_conn_print(run, from, "<presence id='%u'><status>" TR_TOKEN
                  "%u:</status></presence>", number, number);

    return TR_OK;
}


/* the number that a client has in presence of its group, 0: it is its own */

static uint32_t
tr_work_place(tr_run_t *run, tr_client_t *cl, uint32_t n)
{
    uint32_t  place, sender;

    if (n == 0 || n > run->nrecords) {
        return n;
    }

    sender = run->records[n].from;
    place = cl->index % run->opt.group;

    if (sender == cl->index) {
        return 0;
    }

    return n + place - (place > sender % run->opt.group ? 1 : 0);
}


static int
tr_work_pairs(tr_run_t *run)
{
    tr_client_t  *from;

    if (!run->paired) {
        tr_work_pairing(run);
    }

    while (run->ready.n > 0) {
        from = &run->clients[run->ready.clients[run->ready.first]];

        while (from->inflight < run->opt.window) {

            if (tr_work_over(run)) {
                return 0;
            }

            tr_work_next(run, from, &run->clients[from->index ^ 1], run->now);
        }

        from->ready = 0;
        (void) tr_queue_pop(run, &run->ready);
    }

    return 0;
}


/* all may send, or the first of each pair */

static void
tr_work_pairing(tr_run_t *run)
{
    uint32_t  i;

    run->paired = 1;

    for (i = 0; i < run->nclients; i += (run->opt.window == 1) ? 2 : 1) {
        tr_work_window(run, &run->clients[i]);
    }
}


static void
tr_work_window(tr_run_t *run, tr_client_t *cl)
{
    if (!cl->ready) {
        cl->ready = 1;
        tr_queue_push(run, &run->ready, cl->index);
    }
}


/* tr_work_settled() is told with --pairs that a stanza is not in flight */

void
tr_work_settled(tr_run_t *run, tr_record_t *rec)
{
    int  arrived;

    run->clients[rec->from].inflight--;

    if (!run->paired) {
        return;
    }

    arrived = (rec->state == tr_st_received);

    tr_work_window(run, &run->clients[run->opt.window == 1 && arrived
                                      ? rec->to : rec->from]);
}


static int
tr_work_rate(tr_run_t *run)
{
    uint32_t      i;
    uint64_t      time;
    tr_client_t  *from;

    run->now = tr_now();

    for (i = 0; i < TR_WORK_BATCH; i++) {

        if (tr_work_over(run) || run->nonline < 2) {
            return 0;
        }

        time = run->traffic_started
               + run->scheduled * 1000000 / run->opt.rate;

        if (time > run->now) {
            tr_work_wake(run, time);
            return 0;
        }

        if (run->opt.pairs) {
            from = &run->clients[run->scheduled % run->nclients];
            tr_work_next(run, from, &run->clients[from->index ^ 1], time);

        } else {
            from = &run->clients[run->online[tr_random(run, run->nonline)]];
            tr_work_next(run, from,
                         &run->clients[run->online[(from->place + 1
                                      + tr_random(run, run->nonline - 1))
                                      % run->nonline]], time);
        }

        run->scheduled++;
    }

    return 1;
}


static void
tr_work_wake(tr_run_t *run, uint64_t time)
{
    struct itimerspec  it;

    memset(&it, 0, sizeof(it));
    it.it_value.tv_sec = time / 1000000;
    it.it_value.tv_nsec = time % 1000000 * 1000;

    if (timerfd_settime(run->timer, TFD_TIMER_ABSTIME, &it, NULL) == -1) {
        tr_die("timerfd_settime", "failed");
    }
}


/* what the shares make the next stanza */

static tr_kind_e
tr_work_choose(tr_run_t *run)
{
    uint32_t  share;

    if (run->opt.iq + run->opt.presence == 0) {
        return tr_kind_message;
    }

    share = tr_random(run, 100);

    if (share < run->opt.iq) {
        return tr_kind_iq;
    }

    if (share < run->opt.iq + run->opt.presence) {
        return tr_kind_presence;
    }

    return tr_kind_message;
}


static void
tr_work_next(tr_run_t *run, tr_client_t *from, tr_client_t *to,
    uint64_t time)
{
    tr_kind_e  kind;

    kind = tr_work_choose(run);
    from->inflight++;

    if (kind != tr_kind_message) {
        tr_work_send(run, from, to, kind, 1, time);
        return;
    }

    run->messages++;
    tr_work_send(run, from, to, kind, tr_random(run, 100) < run->opt.full,
                 time);

    if (run->messages == run->progress_next) {
        run->progress_next += run->opt.progress;
        tr_report_progress(run, "progress");
    }
}


/* each to each: step by step all send to the one so many places further */

static int
tr_work_round(tr_run_t *run)
{
    tr_client_t  *from, *to;

    if (run->round_step == run->nclients) {
        return TR_ERROR;
    }

    from = &run->clients[run->round_from];
    to = &run->clients[(run->round_from + run->round_step) % run->nclients];

    from->inflight++;
    tr_work_send(run, from, to, tr_kind_message, run->round_step & 1,
                 run->now);

    if (++run->round_from == run->nclients) {
        run->round_from = 0;
        run->round_step++;
    }

    return TR_OK;
}


static void
tr_work_send(tr_run_t *run, tr_client_t *from, tr_client_t *to,
    tr_kind_e kind, int full, uint64_t time)
{
    uint32_t  n;

    n = tr_account_sent(run, from, to, kind, time);
    run->records[n].full = full;

    tr_work_write(run, from, to, kind, full, n);
}


/* tr_work_again() sends a stanza once more, by its number; 0: presence */

void
tr_work_again(tr_run_t *run, tr_client_t *cl, uint32_t n)
{
    tr_record_t  *rec;

    if (n == 0) {
        tr_work_presence(run, cl);
        return;
    }

    rec = &run->records[n];

    tr_account_again(run, n);
    tr_work_write(run, cl, &run->clients[rec->to], rec->kind, rec->full, n);
}


void
tr_work_presence(tr_run_t *run, tr_client_t *cl)
{
    tr_sm_sent(run, cl, 0);
    tr_conn_print(run, cl, "<presence/>");
}


static void
tr_work_write(tr_run_t *run, tr_client_t *from, tr_client_t *to,
    tr_kind_e kind, int full, uint32_t n)
{
    char    *p, *number, digits[16];
    size_t   len;

    tr_sm_sent(run, from, n);

    number = digits + sizeof(digits);

    do {
        *--number = '0' + n % 10;
        n /= 10;
    } while (n > 0);

    len = digits + sizeof(digits) - number;

    p = tr_conn_room(run, from, TR_WORK_STANZA + to->full_len
                                + from->full_len + tr_work_pad_len);

#define tr_work_text(text)  p = tr_work_copy(p, text, sizeof(text) - 1)

    switch (kind) {

    case tr_kind_message:
        p = tr_work_tag(p, run, "<message", from, to, full);
        tr_work_text("\" type='chat' id='");
        p = tr_work_copy(p, number, len);
        tr_work_text("'><body>" TR_TOKEN);
        p = tr_work_copy(p, number, len);
        tr_work_text(":");
        p = tr_work_copy(p, tr_work_pad, tr_work_pad_len);
        tr_work_text("</body></message>");
        break;

    case tr_kind_iq:
        p = tr_work_tag(p, run, "<iq", from, to, full);
        tr_work_text("\" type='get' id='");
        p = tr_work_copy(p, number, len);
        tr_work_text("'><query xmlns='urn:x-traffic' n='" TR_TOKEN);
        p = tr_work_copy(p, number, len);
        tr_work_text(":'/></iq>");
        break;

    default:
        p = tr_work_tag(p, run, "<presence", from, to, full);
        tr_work_text("\" id='");
        p = tr_work_copy(p, number, len);
        tr_work_text("'><status>" TR_TOKEN);
        p = tr_work_copy(p, number, len);
        tr_work_text(":</status></presence>");
    }

#undef tr_work_text

    from->out.len = p - from->out.data;

    tr_sm_ask(run, from);
}


/* the start of a stanza, up to the end of whom it is for */

static char *
tr_work_tag(char *p, tr_run_t *run, const char *tag, tr_client_t *from,
    tr_client_t *to, int full)
{
    p = tr_work_copy(p, tag, strlen(tag));

    if (run->opt.from) {
        p = tr_work_copy(p, " from=\"", 7);
        p = tr_work_copy(p, from->full, from->full_len);
        *p++ = '"';
    }

    p = tr_work_copy(p, " to=\"", 5);

    return tr_work_copy(p, to->full, full ? to->full_len : to->bare_len);
}


static char *
tr_work_copy(char *p, const char *text, size_t len)
{
    memcpy(p, text, len);

    return p + len;
}


/* the answer is a tracked stanza, too; it has the id of the question */

static void
tr_work_answer(tr_run_t *run, tr_client_t *cl, uint32_t to, uint32_t n)
{
    uint32_t  answer;

    answer = tr_account_sent(run, cl, &run->clients[to], tr_kind_result,
                             run->now);

    /* nobody is told when an answer finds no one: RFC 6121, 8.5.3.2.3 */

    if (run->clients[to].state != tr_cl_online) {
        tr_account_cut(run, &run->clients[to]);
    }

    tr_conn_print(run, cl, "<iq%s%s%s to=\"%s\" type='result' id='%u'>"
                  "<query xmlns='urn:x-traffic' n='" TR_TOKEN "%u:'/></iq>",
                  run->opt.from ? " from=\"" : "",
                  run->opt.from ? cl->full : "", run->opt.from ? "\"" : "",
                  run->clients[to].full, n, answer);
}


/* tr_work_stanza() is for what comes to a client that is online */

void
tr_work_stanza(tr_run_t *run, tr_client_t *cl, tr_str_t *el)
{
    uint32_t    n;
    tr_str_t    rest;
    tr_kind_e   kind;
    tr_start_t  start;

    if (tr_scan_start(el, &start) != TR_OK) {
        run->count.corrupt++;
        return;
    }

    if (tr_work_is(&start.type, "error")) {
        tr_account_returned(run, cl, tr_work_number(&start.id));
        return;
    }

    kind = tr_work_kind(&start);

    if (kind == tr_kind_max
        || tr_scan_find(&start.rest, TR_TOKEN, &rest) != TR_OK)
    {
        tr_work_untracked(run, cl, el);
        return;
    }

    n = tr_work_number(&rest);

    if ((kind != tr_kind_result && tr_work_number(&start.id) != n)
        || (kind == tr_kind_message && tr_work_body(&rest) != TR_OK))
    {
        run->count.corrupt++;
    }

    if (run->opt.group && kind == tr_kind_presence) {
        n = tr_work_place(run, cl, n);

        if (n == 0) {
            return;
        }
    }

    if (tr_account_received(run, cl, n, kind, &start) == TR_OK
        && kind == tr_kind_iq && run->phase < tr_ph_close)
    {
        tr_work_answer(run, cl, run->records[n].from, n);
    }
}


static void
tr_work_untracked(tr_run_t *run, tr_client_t *cl, tr_str_t *el)
{
    tr_str_t  type, id, from;

    if (tr_scan_is(el, "error")) {
        if (!run->opt.reconnect) {
            fprintf(stderr, "stream error: %.*s\n", (int) el->len, el->data);
        }

        return;
    }

    if (tr_scan_is(el, "message")) {
        run->count.stray++;
        return;
    }

    /* servers ask too: RFC 6120, 8.2.3 */

    if (tr_scan_is(el, "iq")
        && tr_scan_attr(el, "type", &type) == TR_OK
        && (tr_work_is(&type, "get") || tr_work_is(&type, "set"))
        && tr_scan_attr(el, "id", &id) == TR_OK)
    {
        if (tr_scan_attr(el, "from", &from) != TR_OK) {
            from.data = cl->domain;
            from.len = strlen(cl->domain);
        }

        tr_sm_sent(run, cl, 0);
        tr_conn_print(run, cl, "<iq to=\"%.*s\" type='error' id=\"%.*s\">"
                      "<error type='cancel'><service-unavailable "
                      "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
                      "</error></iq>", (int) from.len, from.data,
                      (int) id.len, id.data);
    }
}


/* a body has to arrive byte by byte as it was sent */

static int
tr_work_body(tr_str_t *rest)
{
    size_t       len;
    const char  *p;

    p = memchr(rest->data, ':', rest->len);

    if (p == NULL) {
        return TR_ERROR;
    }

    p++;
    len = tr_work_pad_len;

    if ((size_t) (rest->data + rest->len - p) < len + 7
        || memcmp(p, tr_work_pad, len) != 0
        || memcmp(p + len, "</body>", 7) != 0)
    {
        return TR_ERROR;
    }

    return TR_OK;
}


static uint32_t
tr_work_number(tr_str_t *text)
{
    size_t    i;
    uint32_t  n;

    n = 0;

    for (i = 0; i < text->len && i < 10; i++) {
        if (text->data[i] < '0' || text->data[i] > '9') {
            break;
        }

        n = n * 10 + (text->data[i] - '0');
    }

    return n;
}


static tr_kind_e
tr_work_kind(tr_start_t *start)
{
    if (tr_work_is(&start->name, "message")) {
        return tr_kind_message;
    }

    if (tr_work_is(&start->name, "presence")) {
        return tr_kind_presence;
    }

    if (tr_work_is(&start->name, "iq")) {

        if (tr_work_is(&start->type, "get")) {
            return tr_kind_iq;
        }

        if (tr_work_is(&start->type, "result")) {
            return tr_kind_result;
        }
    }

    return tr_kind_max;
}


static int
tr_work_is(tr_str_t *value, const char *text)
{
    return value->len == strlen(text)
           && memcmp(value->data, text, value->len) == 0;
}
