
/*
 * What is sent to whom: messages, iqs and directed presence between random
 * pairs, then if asked one message from each to each, never more in flight
 * than the window allows; and the answers to what arrives.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "traffic.h"


#define TR_WORK_BATCH   256

/* what a server must not change: entities, characters of 2 to 4 bytes */

#define TR_WORK_PAD                                                           \
    " It is the east &amp; Juliet is the sun &lt;\303\251\342\202\254"        \
    "\360\237\214\271&gt;"


static int tr_work_random(tr_run_t *run);
static int tr_work_round(tr_run_t *run);
static void tr_work_send(tr_run_t *run, tr_client_t *from, tr_client_t *to,
    tr_kind_e kind, int full);
static void tr_work_answer(tr_run_t *run, tr_client_t *cl, uint32_t to,
    uint32_t n);
static void tr_work_untracked(tr_run_t *run, tr_client_t *cl, tr_str_t *el);
static int tr_work_body(tr_str_t *rest);
static uint32_t tr_work_number(tr_str_t *text);
static tr_kind_e tr_work_kind(tr_str_t *el, tr_str_t *type);
static int tr_work_is(tr_str_t *value, const char *text);


static char  tr_work_pad[TR_SIZE_MAX + sizeof(TR_WORK_PAD)];


/* tr_work_init() makes a text for the bodies of at least so many bytes */

void
tr_work_init(tr_run_t *run)
{
    while (strlen(tr_work_pad) < run->opt.size) {
        strcat(tr_work_pad, TR_WORK_PAD);
    }
}


/* tr_work_turn() sends what may be sent now; true when there is more */

int
tr_work_turn(tr_run_t *run)
{
    int       rc;
    uint32_t  i;

    for (i = 0; i < TR_WORK_BATCH; i++) {

        if (run->noutstanding >= run->opt.window) {
            return 0;
        }

        if (run->phase == tr_ph_traffic) {
            rc = tr_work_random(run);

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
    uint32_t      share;
    tr_kind_e     kind;
    tr_client_t  *from, *to;

    if (run->finish
        || (run->opt.messages && run->messages == run->opt.messages)
        || run->nonline < 2)
    {
        return TR_ERROR;
    }

    from = &run->clients[run->online[tr_random(run, run->nonline)]];

    do {
        to = &run->clients[run->online[tr_random(run, run->nonline)]];
    } while (to == from);

    share = tr_random(run, 100);

    if (share < run->opt.iq) {
        kind = tr_kind_iq;

    } else if (share < run->opt.iq + run->opt.presence) {
        kind = tr_kind_presence;

    } else {
        kind = tr_kind_message;
        run->messages++;
    }

    tr_work_send(run, from, to, kind,
                 kind != tr_kind_message
                 || tr_random(run, 100) < run->opt.full);

    if (kind == tr_kind_message && run->messages == run->progress_next) {
        run->progress_next += run->opt.progress;
        tr_account_progress(run, "progress");
    }

    return TR_OK;
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

    tr_work_send(run, from, to, tr_kind_message, run->round_step & 1);

    if (++run->round_from == run->nclients) {
        run->round_from = 0;
        run->round_step++;
    }

    return TR_OK;
}


static void
tr_work_send(tr_run_t *run, tr_client_t *from, tr_client_t *to,
    tr_kind_e kind, int full)
{
    int          len;
    uint32_t     n;
    const char  *jid;

    n = tr_account_sent(run, from, to, kind);

    jid = to->full;
    len = full ? (int) strlen(jid) : (int) strcspn(jid, "/");

    switch (kind) {

    case tr_kind_message:
        tr_conn_print(run, from, "<message to=\"%.*s\" type='chat' id='%u'>"
                      "<body>" TR_TOKEN "%u:%s</body></message>",
                      len, jid, n, n, tr_work_pad);
        break;

    case tr_kind_iq:
        tr_conn_print(run, from, "<iq to=\"%.*s\" type='get' id='%u'>"
                      "<query xmlns='urn:x-traffic' n='" TR_TOKEN "%u:'/>"
                      "</iq>", len, jid, n, n);
        break;

    default:
        tr_conn_print(run, from, "<presence to=\"%.*s\" id='%u'>"
                      "<status>" TR_TOKEN "%u:</status></presence>",
                      len, jid, n, n);
    }
}


/* the answer is a tracked stanza, too; it has the id of the question */

static void
tr_work_answer(tr_run_t *run, tr_client_t *cl, uint32_t to, uint32_t n)
{
    uint32_t  answer;

    answer = tr_account_sent(run, cl, &run->clients[to], tr_kind_result);

    /* nobody is told when an answer finds no one: RFC 6121, 8.5.3.2.3 */

    if (run->clients[to].state != tr_cl_online) {
        tr_account_cut(run, &run->clients[to]);
    }

    tr_conn_print(run, cl, "<iq to=\"%s\" type='result' id='%u'>"
                  "<query xmlns='urn:x-traffic' n='" TR_TOKEN "%u:'/></iq>",
                  run->clients[to].full, n, answer);
}


/* tr_work_stanza() is for what comes to a client that is online */

void
tr_work_stanza(tr_run_t *run, tr_client_t *cl, tr_str_t *el)
{
    uint32_t   n;
    tr_str_t   rest, type, from, id;
    tr_kind_e  kind;

    if (tr_scan_attr(el, "type", &type) != TR_OK) {
        type.len = 0;
    }

    if (tr_scan_attr(el, "id", &id) != TR_OK) {
        id.len = 0;
    }

    if (tr_work_is(&type, "error")) {
        tr_account_returned(run, cl, tr_work_number(&id));
        return;
    }

    kind = tr_work_kind(el, &type);

    if (kind == tr_kind_max
        || tr_scan_find(el, TR_TOKEN, &rest) != TR_OK)
    {
        tr_work_untracked(run, cl, el);
        return;
    }

    n = tr_work_number(&rest);

    if (tr_scan_attr(el, "from", &from) != TR_OK) {
        from.len = 0;
    }

    if ((kind != tr_kind_result && tr_work_number(&id) != n)
        || (kind == tr_kind_message && tr_work_body(&rest) != TR_OK))
    {
        run->count.corrupt++;
    }

    if (tr_account_received(run, cl, n, kind, &from) == TR_OK
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
    len = strlen(tr_work_pad);

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
tr_work_kind(tr_str_t *el, tr_str_t *type)
{
    if (tr_scan_is(el, "message")) {
        return tr_kind_message;
    }

    if (tr_scan_is(el, "presence")) {
        return tr_kind_presence;
    }

    if (tr_scan_is(el, "iq")) {

        if (tr_work_is(type, "get")) {
            return tr_kind_iq;
        }

        if (tr_work_is(type, "result")) {
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
