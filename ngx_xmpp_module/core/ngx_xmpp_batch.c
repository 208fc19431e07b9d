/*
 * Batches: messages that a session sends to the same address, one right behind
 * the other, go to Redis in one command and ring one bell.
 *
 *               the first         end of the input, another address,
 *               message           an element of another kind, full
 *     no batch ---------> open -----------------------------------> sent
 *                          |  ^                                       |
 *                          '--' the next one to the same address      | reply
 *                                                                     v
 *                                                       each is told its own
 *
 * A batch is open only while the input of its stream is on the stack, so there
 * is one in a worker at most, and it waits for nothing: what is in it came in
 * the bytes that were read at once.  It has one outcome, since the Function
 * routes all of it or nothing; the order of a session's stanzas (RFC 6120,
 * 10.1) is that of the bell.
 *
 * What cannot join is held back until all before it are done, and the stream
 * with it: a session has the stanzas of one batch in flight, or one.
 *
 * Stanzas are linked from the first, which stands for the batch: the request
 * lies in its pool, and so does the timer of a retry.  Each holds its own
 * pool and packet, as without a batch.
 */


#include "ngx_xmpp.h"


/* bytes after which a batch is sent */
#define NGX_XMPP_BATCH_SIZE           32768


/*
 * Whether a stamped stanza, whose stream is being read, may go along with the
 * open batch; there has to be one.
 */

ngx_uint_t
ngx_xmpp_batch_fits(ngx_xmpp_stanza_t *stz)
{
    ngx_xmpp_stanza_t  *first;

    first = stz->session->worker->batch;

    return stz->mask == first->mask && stz->type == first->type
           && stz->copy_sent == first->copy_sent
           && stz->copy_received == first->copy_received
           && stz->archive_sent == first->archive_sent
           && stz->archive_received == first->archive_received
           && stz->keep == first->keep
           && ngx_xmpp_str_eq(&stz->to.full, &first->to.full);
}


/*
 * Takes a stanza that is to be routed: NGX_OK; NGX_DECLINED: it is to be sent
 * by itself, since its stream is not being read, or it is no message.
 */

ngx_int_t
ngx_xmpp_batch_join(ngx_xmpp_stanza_t *stz)
{
    ngx_xmpp_worker_t  *w;

    w = stz->session->worker;

    if (w->input == NULL || w->input != stz->session->stream
        || !(stz->mask & NGX_XMPP_MESSAGE))
    {
        return NGX_DECLINED;
    }

    if (w->batch == NULL) {
        w->batch = stz;
        w->batch_n = 0;
        w->batch_size = 0;

    } else {
        w->batch_last->next = stz;
    }

    w->batch_last = stz;
    w->batch_n++;
    w->batch_size += stz->packet->len;

    return NGX_OK;
}


/* Whether the open batch takes no more; there has to be one. */

ngx_uint_t
ngx_xmpp_batch_full(ngx_xmpp_worker_t *w)
{
    return w->batch_n == NGX_XMPP_STORE_BATCH
           || w->batch_size >= NGX_XMPP_BATCH_SIZE;
}


/*
 * Sends the open batch.  Its stanzas are done afterwards when nothing could be
 * sent, else they wait for the reply; all of them or none.
 */

void
ngx_xmpp_batch_send(ngx_xmpp_worker_t *w)
{
    ngx_int_t           rc;
    ngx_xmpp_stanza_t  *first;

    first = w->batch;

    w->batch = NULL;

    rc = ngx_xmpp_router_send(first);

    if (rc != NGX_AGAIN) {
        ngx_xmpp_batch_done(first, rc);
    }
}


/*
 * All stanzas of a batch, or the one that is none, were answered: rc as with
 * ngx_xmpp_stanza_resume().
 */

void
ngx_xmpp_batch_done(ngx_xmpp_stanza_t *stz, ngx_int_t rc)
{
    ngx_xmpp_stanza_t  *next;

    for ( /* void */ ; stz; stz = next) {
        next = stz->next;
        stz->next = NULL;

        ngx_xmpp_stanza_resume(stz, rc);
    }
}
