/*
 * Records that Redis has refused to take back, as a master does that misses its
 * replicas: until then nobody knows whether it has them, and what was missed is
 * not known (cluster.md, rule 8).
 *
 *     unwritten --each second, one for all--> refused: again
 *                                        `--> answered: the others, too
 *
 * Each that is refused is a line of the log, so it is one at a time.  A new
 * connection has all of them put back anyhow.
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_UNWRITTEN_AGAIN      1000    /* milliseconds */


static void ngx_xmpp_unwritten_handler(ngx_event_t *ev);
static void ngx_xmpp_unwritten_again(ngx_xmpp_worker_t *w, ngx_uint_t one);


void
ngx_xmpp_unwritten(ngx_xmpp_session_t *xs)
{
    ngx_event_t  *ev;

    xs->unwritten = 1;
    ev = &xs->worker->again_record;

    if (ev->timer_set) {
        return;
    }

    ev->handler = ngx_xmpp_unwritten_handler;
    ev->data = xs->worker;
    ev->log = xs->worker->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, NGX_XMPP_UNWRITTEN_AGAIN);
}


static void
ngx_xmpp_unwritten_handler(ngx_event_t *ev)
{
    ngx_xmpp_unwritten_again(ev->data, 1);
}


void
ngx_xmpp_unwritten_answered(ngx_xmpp_session_t *xs)
{
    xs->unwritten = 0;

    ngx_xmpp_unwritten_again(xs->worker, 0);
}


static void
ngx_xmpp_unwritten_again(ngx_xmpp_worker_t *w, ngx_uint_t one)
{
    ngx_queue_t         *q;
    ngx_rbtree_node_t   *node;
    ngx_xmpp_account_t  *a;
    ngx_xmpp_session_t  *xs;

    if (w->drained || w->accounts.root == w->accounts.sentinel) {
        return;
    }

    for (node = ngx_rbtree_min(w->accounts.root, w->accounts.sentinel);
         node;
         node = ngx_rbtree_next(&w->accounts, node))
    {
        a = (ngx_xmpp_account_t *) node;

        for (q = ngx_queue_head(&a->sessions);
             q != ngx_queue_sentinel(&a->sessions);
             q = ngx_queue_next(q))
        {
            xs = ngx_queue_data(q, ngx_xmpp_session_t, queue);

            if (!xs->unwritten) {
                continue;
            }

            ngx_xmpp_session_reassert(xs);

            if (one && xs->write) {
                return;
            }

            xs->unwritten = 0;
        }
    }
}
