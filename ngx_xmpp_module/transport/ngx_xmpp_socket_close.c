/*
 * The connection under a stream: the end.
 *
 *     close() -> CLOSED (posted) -> last words written -> FIN
 *             -> lingering: the peer's end, or two seconds -> finalized
 *
 * close() may be called from anywhere: it only marks and posts.  Lingering
 * keeps unread bytes of the client from turning our FIN into a reset, which
 * would take the stream error away from it.
 *
 * A stream that breaks has no last words, since with the end of the stream
 * clients take the session for ended, too (XEP-0198, 8).  What is queued, and
 * TLS's close_notify, are sent nonetheless: some take no notice of a TCP
 * connection that ends without it.
 */


#include "ngx_xmpp_socket.h"


#define NGX_XMPP_SOCKET_LINGER           2000    /* milliseconds */
#define NGX_XMPP_SOCKET_LAST_WORDS       5000


static void ngx_xmpp_socket_linger(ngx_xmpp_stream_t *st);
static void ngx_xmpp_socket_linger_read(ngx_xmpp_stream_t *st);


void
ngx_xmpp_socket_close(ngx_xmpp_stream_t *st, ngx_xmpp_stream_error_e error,
    const char *text)
{
    if (st->state == NGX_XMPP_ST_CLOSED) {

        if (error == NGX_XMPP_SE_DROP) {
            st->error = error;
        }

    } else {

        /* RFC 6120, 5.4.2.3: behind <proceed/> there is only TLS */

        if (st->securing) {
            error = NGX_XMPP_SE_DROP;
        }

        if (error == NGX_XMPP_SE_DROP) {
            ngx_xmpp_socket_discard(st);

        } else if (error != NGX_XMPP_SE_BREAK
                   && st->transport->last_words(st, error, text) != NGX_OK)
        {
            error = NGX_XMPP_SE_DROP;
        }

        if (st->reason == NULL) {
            st->reason = ngx_xmpp_stream_error_name(error);
        }

        st->error = error;
        ngx_xmpp_log_state(st, NGX_XMPP_ST_CLOSED);
    }

    if (!st->is_posted) {
        st->is_posted = 1;
        ngx_queue_insert_tail(&st->worker->ready, &st->posted);
        ngx_xmpp_worker_post(st->worker);
    }
}


/* called by both event handlers of a closed stream */

void
ngx_xmpp_socket_finish(ngx_xmpp_stream_t *st)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;

    c = st->connection;

    /* what is written now was taken by its session */

    rc = (st->error == NGX_XMPP_SE_DROP || c->write->timedout || st->lingering)
         ? NGX_OK : ngx_xmpp_socket_flush(st);

    ngx_xmpp_stream_detach(st);

    /* nor an exchange that would ask Redis or a thread for more */

    ngx_xmpp_sasl_end(st);

    if (st->error == NGX_XMPP_SE_DROP || c->write->timedout) {

        /* nor has TLS any last words: there may be half a record before */

        c->error = 1;

        st->transport->finalize(st, NGX_STREAM_OK);
        return;
    }

    if (st->lingering) {
        ngx_xmpp_socket_linger_read(st);
        return;
    }

    switch (rc) {

    case NGX_OK:
        ngx_xmpp_socket_linger(st);
        return;

    case NGX_AGAIN:

        /* once: what the client sends meanwhile gives it no more time */

        if (!st->leaving) {
            st->leaving = 1;
            ngx_add_timer(c->write, NGX_XMPP_SOCKET_LAST_WORDS);
        }

        return;

    default:
        st->transport->finalize(st, NGX_STREAM_OK);
    }
}


static void
ngx_xmpp_socket_linger(ngx_xmpp_stream_t *st)
{
    ngx_connection_t  *c;

    c = st->connection;

    if (c->ssl) {

        /* the log phase still reads $ssl_* variables */

        c->ssl->no_wait_shutdown = 1;
        c->ssl->shutdown_without_free = 1;

        (void) ngx_ssl_shutdown(c);

        c->read->handler = st->transport->read;
        c->write->handler = st->transport->write;
    }

    if (ngx_shutdown_socket(c->fd, NGX_WRITE_SHUTDOWN) == -1) {
        st->transport->finalize(st, NGX_STREAM_OK);
        return;
    }

    st->lingering = 1;
    c->read->timedout = 0;
    ngx_add_timer(c->read, NGX_XMPP_SOCKET_LINGER);
    ngx_reusable_connection(c, 1);

    ngx_xmpp_socket_linger_read(st);
}


static void
ngx_xmpp_socket_linger_read(ngx_xmpp_stream_t *st)
{
    ssize_t            n;
    ngx_uint_t         i;
    ngx_connection_t  *c;

    c = st->connection;

    if (c->read->timedout) {
        st->transport->finalize(st, NGX_STREAM_OK);
        return;
    }

    /* below TLS, which has ended: nobody looks at these bytes */

    for (i = 0; i < 8; i++) {
        n = recv(c->fd, st->worker->recv, 16384, 0);

        if (n == -1 && ngx_socket_errno == NGX_EAGAIN) {
            c->read->ready = 0;

            if (ngx_handle_read_event(c->read, 0) == NGX_OK) {
                return;
            }

            break;
        }

        if (n <= 0) {
            break;
        }
    }

    st->transport->finalize(st, NGX_STREAM_OK);
}
