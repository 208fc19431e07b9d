
/*
 * Stream management (XEP-0198), with --sm: a client whose connection breaks
 * resumes its session, at whatever target, and sends again what the server has
 * not handled.
 *
 *     bind -> <enable/> -> <enabled/> -> presence -> online
 *     <resume/> -> <resumed/> -> online
 *               -> <failed/> -> bind ...
 *
 * What is in flight to and from a client stays in the books while it is away:
 * what the server has acknowledged has to arrive, and what it has not is sent
 * again.  When a session is gone, what it had not acknowledged may have arrived
 * or not; its number is forgotten then, and not sent again.
 *
 * Presence is sent, and counts, but is not tracked: its number is 0.
 *
 * How long it takes to resume is the time of all attempts to connect since the
 * connection broke; what the client waits between them is its own.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "traffic.h"


#define TR_SM_NS     "urn:xmpp:sm:3"
#define TR_SM_EVERY  10


static int tr_sm_number(tr_str_t *el, const char *name, uint32_t *n);
static void tr_sm_acked(tr_run_t *run, tr_client_t *cl, uint32_t h);
static void tr_sm_forget(tr_run_t *run, tr_client_t *cl);


/* tr_sm_begin() asks for it, or for the session of before */

void
tr_sm_begin(tr_run_t *run, tr_client_t *cl)
{
    if (cl->sm == NULL) {
        cl->sm = tr_alloc(sizeof(tr_sm_t));
    }

    /* those of a session that could not be resumed */

    tr_sm_forget(run, cl);

    cl->state = tr_cl_enable;
    tr_conn_print(run, cl, "<enable xmlns='" TR_SM_NS "' resume='true'/>");
}


int
tr_sm_resume(tr_run_t *run, tr_client_t *cl)
{
    if (cl->sm == NULL || cl->sm->id[0] == '\0') {
        return TR_ERROR;
    }

    cl->state = tr_cl_resume;
    tr_conn_print(run, cl, "<resume xmlns='" TR_SM_NS "' previd='%s' h='%u'/>",
                  cl->sm->id, cl->sm->in);

    return TR_OK;
}


/* tr_sm_enabled() is for the answer to <enable/>; TR_ERROR: it is another */

int
tr_sm_enabled(tr_client_t *cl, tr_str_t *el)
{
    tr_sm_t   *sm;
    tr_str_t   id;

    sm = cl->sm;

    if (!tr_scan_is(el, "enabled")) {
        return TR_ERROR;
    }

    sm->in = 0;
    sm->out = 0;
    sm->id[0] = '\0';

    if (tr_scan_attr(el, "id", &id) == TR_OK && id.len < sizeof(sm->id)) {
        memcpy(sm->id, id.data, id.len);
        sm->id[id.len] = '\0';
    }

    sm->on = 1;

    return TR_OK;
}


/*
 * tr_sm_resumed() is for the answer to <resume/>: TR_OK; TR_AGAIN: the session
 * is gone; TR_ERROR: it is another answer
 */

int
tr_sm_resumed(tr_run_t *run, tr_client_t *cl, tr_str_t *el)
{
    tr_sm_t   *sm;
    uint32_t   h, i, n, us;

    sm = cl->sm;

    if (tr_scan_is(el, "failed")) {
        run->count.failed++;

        if (tr_sm_number(el, "h", &h) == TR_OK) {
            tr_sm_acked(run, cl, h);
        }

        tr_sm_forget(run, cl);

        return TR_AGAIN;
    }

    if (!tr_scan_is(el, "resumed") || tr_sm_number(el, "h", &h) != TR_OK) {
        return TR_ERROR;
    }

    us = (uint32_t) (cl->tried + run->now - cl->opened);

    if (run->nresumes == run->resumes_size) {
        run->resumes_size = run->resumes_size ? 2 * run->resumes_size : 1024;
        run->resumes = tr_realloc(run->resumes,
                                  run->resumes_size * sizeof(uint32_t));
    }

    run->resumes[run->nresumes++] = us;

    tr_sm_acked(run, cl, h);

    sm->on = 1;

    /* what it has not handled */

    n = sm->n;
    sm->n = 0;
    sm->out -= n;

    for (i = 0; i < n; i++) {
        tr_work_again(run, cl, sm->queue[i]);
    }

    return TR_OK;
}


/*
 * tr_sm_stanza() looks at what has come: TR_OK, it was none; TR_AGAIN, it is
 * a stanza, which is counted
 */

int
tr_sm_stanza(tr_run_t *run, tr_client_t *cl, tr_str_t *el)
{
    uint32_t  h;

    if (tr_scan_is(el, "r")) {
        tr_conn_print(run, cl, "<a xmlns='" TR_SM_NS "' h='%u'/>", cl->sm->in);
        return TR_OK;
    }

    if (tr_scan_is(el, "a")) {
        if (tr_sm_number(el, "h", &h) == TR_OK) {
            tr_sm_acked(run, cl, h);
        }

        return TR_OK;
    }

    if (tr_scan_is(el, "message") || tr_scan_is(el, "presence")
        || tr_scan_is(el, "iq"))
    {
        cl->sm->in++;
    }

    return TR_AGAIN;
}


/* tr_sm_sent() notes what is sent, and asks for an answer now and then */

void
tr_sm_sent(tr_run_t *run, tr_client_t *cl, uint32_t number)
{
    tr_sm_t  *sm;

    sm = cl->sm;

    if (sm == NULL || !sm->on) {
        return;
    }

    if (sm->n == sm->size) {
        sm->size = sm->size ? 2 * sm->size : 64;
        sm->queue = tr_realloc(sm->queue, sm->size * sizeof(uint32_t));
    }

    sm->queue[sm->n++] = number;
    sm->out++;

    /* with pairs the window is not that of all */

    if (sm->out % TR_SM_EVERY == 0
        || (!run->opt.pairs && run->noutstanding >= run->opt.window))
    {
        sm->ask = 1;
    }
}


/* tr_sm_ask() is behind the stanza */

void
tr_sm_ask(tr_run_t *run, tr_client_t *cl)
{
    if (cl->sm && cl->sm->ask) {
        cl->sm->ask = 0;
        tr_conn_print(run, cl, "<r xmlns='" TR_SM_NS "'/>");
    }
}


/* tr_sm_cut() is told that the connection is gone */

void
tr_sm_cut(tr_client_t *cl)
{
    if (cl->sm) {
        cl->sm->on = 0;
        cl->sm->ask = 0;
    }
}


static int
tr_sm_number(tr_str_t *el, const char *name, uint32_t *n)
{
    tr_str_t  value;

    if (tr_scan_attr(el, name, &value) != TR_OK || value.len == 0
        || value.len > 10)
    {
        return TR_ERROR;
    }

    *n = (uint32_t) strtoull(value.data, NULL, 10);

    return TR_OK;
}


static void
tr_sm_acked(tr_run_t *run, tr_client_t *cl, uint32_t h)
{
    tr_sm_t   *sm;
    uint32_t   n;

    sm = cl->sm;
    n = h - (sm->out - sm->n);

    if (n > sm->n) {
        run->count.corrupt++;
        fprintf(stderr, "traffic: client %s: h is %u, %u are sent, %u open\n",
                cl->user, h, sm->out, sm->n);
        return;
    }

    run->count.acked += n;

    sm->n -= n;
    memmove(sm->queue, sm->queue + n, sm->n * sizeof(uint32_t));
}


static void
tr_sm_forget(tr_run_t *run, tr_client_t *cl)
{
    uint32_t  i;

    for (i = 0; i < cl->sm->n; i++) {
        if (cl->sm->queue[i]) {
            tr_account_unknown(run, cl->sm->queue[i]);
        }
    }

    cl->sm->n = 0;
    cl->sm->id[0] = '\0';
    cl->sm->on = 0;
}
