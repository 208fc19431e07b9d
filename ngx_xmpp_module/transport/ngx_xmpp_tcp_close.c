/*
 * TCP: the first and the last words of a stream, and the end.
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


#include "ngx_xmpp_tcp.h"


#define NGX_XMPP_TCP_LINGER           2000    /* milliseconds */
#define NGX_XMPP_TCP_LAST_WORDS       5000


static ngx_int_t ngx_xmpp_tcp_last_words(ngx_xmpp_stream_t *st,
    ngx_xmpp_stream_error_e error, const char *text);
static void ngx_xmpp_tcp_linger(ngx_xmpp_stream_t *st);
static void ngx_xmpp_tcp_linger_read(ngx_xmpp_stream_t *st);


/* RFC 6120, 4.7: "<stream:stream ...>" with a new id each time (4.7.3) */

ngx_int_t
ngx_xmpp_tcp_open(ngx_xmpp_stream_t *st)
{
    u_char             *p, id[32];
    size_t              size;
    ngx_int_t           rc;
    ngx_str_t           none, *host, *to;
    ngx_xmpp_packet_t  *pkt;

    ngx_str_set(&none, "");
    host = st->host ? &st->host->name : &none;
    to = st->from ? st->from : &none;

    if (ngx_xmpp_id_random(id, sizeof(id) / 2) != NGX_OK) {
        return NGX_ERROR;
    }

    size = sizeof("<?xml version='1.0'?><stream:stream "
                  "xmlns='jabber:client' "
                  "xmlns:stream='http://etherx.jabber.org/streams' "
                  "version='1.0' xml:lang='en' id='' from='' to=''>") - 1
           + sizeof(id) + ngx_xmpp_xml_escape_size(host)
           + ngx_xmpp_xml_escape_size(to);

    pkt = ngx_xmpp_packet_alloc(st->worker->log, size);
    if (pkt == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(pkt->data,
                   "<?xml version='1.0'?><stream:stream "
                   "xmlns='jabber:client' "
                   "xmlns:stream='http://etherx.jabber.org/streams' "
                   "version='1.0' xml:lang='en' id='",
                   sizeof("<?xml version='1.0'?><stream:stream "
                          "xmlns='jabber:client' "
                          "xmlns:stream='http://etherx.jabber.org/streams' "
                          "version='1.0' xml:lang='en' id='") - 1);
    p = ngx_cpymem(p, id, sizeof(id));

    if (host->len) {
        p = ngx_cpymem(p, "' from='", sizeof("' from='") - 1);
        p = ngx_xmpp_xml_escape(p, host);
    }

    if (to->len) {
        p = ngx_cpymem(p, "' to='", sizeof("' to='") - 1);
        p = ngx_xmpp_xml_escape(p, to);
    }

    p = ngx_cpymem(p, "'>", sizeof("'>") - 1);
    pkt->len = p - pkt->data;

    rc = ngx_xmpp_tcp_queue(st, pkt);

    ngx_xmpp_packet_release(pkt);

    st->opened = 1;

    return rc;
}


void
ngx_xmpp_tcp_close(ngx_xmpp_stream_t *st, ngx_xmpp_stream_error_e error,
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
            ngx_xmpp_tcp_discard(st);

        } else if (error != NGX_XMPP_SE_BREAK
                   && ngx_xmpp_tcp_last_words(st, error, text) != NGX_OK)
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


/* RFC 6120, 4.9.1.2: a header of ours comes before any error */

static ngx_int_t
ngx_xmpp_tcp_last_words(ngx_xmpp_stream_t *st, ngx_xmpp_stream_error_e error,
    const char *text)
{
    u_char             *p;
    size_t              len;
    ngx_int_t           rc;
    ngx_xmpp_packet_t  *pkt;

    if (!st->opened && ngx_xmpp_tcp_open(st) != NGX_OK) {
        return NGX_ERROR;
    }

    len = ngx_xmpp_stream_error_write(NULL, error, text);

    pkt = ngx_xmpp_packet_alloc(st->worker->log,
                                sizeof("<stream:error></stream:error>"
                                       "</stream:stream>") - 1 + len);
    if (pkt == NULL) {
        return NGX_ERROR;
    }

    p = pkt->data;

    if (len) {
        p = ngx_cpymem(p, "<stream:error>", sizeof("<stream:error>") - 1);
        (void) ngx_xmpp_stream_error_write(p, error, text);
        p = ngx_cpymem(p + len, "</stream:error>",
                       sizeof("</stream:error>") - 1);
    }

    p = ngx_cpymem(p, "</stream:stream>", sizeof("</stream:stream>") - 1);
    pkt->len = p - pkt->data;

    rc = ngx_xmpp_tcp_queue(st, pkt);

    ngx_xmpp_packet_release(pkt);

    return rc;
}


/* called by both event handlers of a closed stream */

void
ngx_xmpp_tcp_finish(ngx_xmpp_stream_t *st)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;

    c = st->nginx->connection;

    /* what is written now was taken by its session */

    rc = (st->error == NGX_XMPP_SE_DROP || c->write->timedout || st->lingering)
         ? NGX_OK : ngx_xmpp_tcp_flush(st);

    ngx_xmpp_stream_detach(st);

    /* nor an exchange that would ask Redis or a thread for more */

    ngx_xmpp_sasl_end(st);

    if (st->error == NGX_XMPP_SE_DROP || c->write->timedout) {

        /* nor has TLS any last words: there may be half a record before */

        c->error = 1;

        ngx_stream_finalize_session(st->nginx, NGX_STREAM_OK);
        return;
    }

    if (st->lingering) {
        ngx_xmpp_tcp_linger_read(st);
        return;
    }

    switch (rc) {

    case NGX_OK:
        ngx_xmpp_tcp_linger(st);
        return;

    case NGX_AGAIN:

        /* once: what the client sends meanwhile gives it no more time */

        if (!st->leaving) {
            st->leaving = 1;
            ngx_add_timer(c->write, NGX_XMPP_TCP_LAST_WORDS);
        }

        return;

    default:
        ngx_stream_finalize_session(st->nginx, NGX_STREAM_OK);
    }
}


static void
ngx_xmpp_tcp_linger(ngx_xmpp_stream_t *st)
{
    ngx_connection_t  *c;

    c = st->nginx->connection;

    if (c->ssl) {

        /* the log phase still reads $ssl_* variables */

        c->ssl->no_wait_shutdown = 1;
        c->ssl->shutdown_without_free = 1;

        (void) ngx_ssl_shutdown(c);

        c->read->handler = ngx_xmpp_tcp_read_handler;
        c->write->handler = ngx_xmpp_tcp_write_handler;
    }

    if (ngx_shutdown_socket(c->fd, NGX_WRITE_SHUTDOWN) == -1) {
        ngx_stream_finalize_session(st->nginx, NGX_STREAM_OK);
        return;
    }

    st->lingering = 1;
    c->read->timedout = 0;
    ngx_add_timer(c->read, NGX_XMPP_TCP_LINGER);
    ngx_reusable_connection(c, 1);

    ngx_xmpp_tcp_linger_read(st);
}


static void
ngx_xmpp_tcp_linger_read(ngx_xmpp_stream_t *st)
{
    ssize_t            n;
    ngx_uint_t         i;
    ngx_connection_t  *c;

    c = st->nginx->connection;

    if (c->read->timedout) {
        ngx_stream_finalize_session(st->nginx, NGX_STREAM_OK);
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

    ngx_stream_finalize_session(st->nginx, NGX_STREAM_OK);
}
