
/*
 * The connections: sockets that never block, with TLS on top of them or not.
 * What is sent within one turn of the loop leaves in one write.  All read into
 * one buffer, and keep only what is not complete.
 */


#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>

#include "traffic.h"


#define TR_CONN_READ      65536
#define TR_CONN_READS     8
#define TR_CONN_PRINT     4096

#define TR_CONN_BACKOFF      50
#define TR_CONN_BACKOFF_MAX  2000


static void tr_conn_read(tr_run_t *run, tr_client_t *cl);
static int tr_conn_more(tr_client_t *cl, ssize_t n);
static size_t tr_conn_take(tr_run_t *run, tr_client_t *cl, char *data,
    size_t len);
static void tr_conn_stanza(tr_run_t *run, tr_client_t *cl, char *data);
static ssize_t tr_conn_recv(tr_client_t *cl, char *data, size_t len);
static ssize_t tr_conn_write(tr_client_t *cl, const char *data, size_t len);
static void tr_conn_write_out(tr_run_t *run, tr_client_t *cl);
static void tr_conn_gone(tr_run_t *run, tr_client_t *cl);
static void tr_conn_reserve(tr_buf_t *buf, size_t len);


int
tr_conn_open(tr_run_t *run, tr_client_t *cl)
{
    int                 one;
    struct sockaddr    *sa;
    struct epoll_event  ee;

    sa = (struct sockaddr *) &run->addrs[cl->target];
    cl->fd = socket(sa->sa_family, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (cl->fd == -1) {
        return TR_ERROR;
    }

    one = 1;
    (void) setsockopt(cl->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(int));

    if (run->opt.websocket) {
        free(cl->ws);
        cl->ws = tr_alloc(sizeof(tr_ws_t));
        memset(cl->ws, 0, sizeof(tr_ws_t));
    }

    cl->state = tr_cl_connect;
    cl->authenticated = 0;
    cl->writing = 1;
    run->connecting++;

    tr_conn_reset(cl);

    memset(&ee, 0, sizeof(ee));
    ee.events = EPOLLIN|EPOLLOUT;
    ee.data.ptr = cl;

    if ((connect(cl->fd, sa, run->addr_lens[cl->target]) == -1
         && errno != EINPROGRESS)
        || epoll_ctl(run->epoll, EPOLL_CTL_ADD, cl->fd, &ee) == -1)
    {
        tr_conn_close(run, cl, strerror(errno));
    }

    return TR_OK;
}


void
tr_conn_event(tr_run_t *run, tr_client_t *cl, uint32_t events)
{
    int        error;
    socklen_t  len;

    if (cl->fd == -1) {
        return;
    }

    if (cl->state == tr_cl_connect) {
        error = 0;
        len = sizeof(int);
        (void) getsockopt(cl->fd, SOL_SOCKET, SO_ERROR, &error, &len);

        if (error) {
            tr_conn_close(run, cl, strerror(error));
            return;
        }

        if (!(events & EPOLLOUT)) {
            return;
        }

        tr_conn_watch(run, cl, 0);

        if (run->opt.tls == tr_tls_direct) {
            (void) tr_tls_start(run, cl);

        } else {
            tr_login_connected(run, cl);
        }

        return;
    }

    if (cl->state == tr_cl_handshake) {
        tr_tls_handshake(run, cl);
        return;
    }

    if (events & EPOLLOUT) {
        tr_conn_write_out(run, cl);
    }

    if (cl->fd != -1 && (events & (EPOLLIN|EPOLLHUP|EPOLLERR))) {
        tr_conn_read(run, cl);
    }
}


static void
tr_conn_read(tr_run_t *run, tr_client_t *cl)
{
    int      i, rc;
    size_t   len, used;
    ssize_t  n;

    /* what OpenSSL holds already no event will tell of */

    for (i = 0; i < TR_CONN_READS || cl->ssl != NULL; i++) {
        len = cl->in.len;

        if (run->buf_size < len + TR_CONN_READ) {
            run->buf_size = 2 * (len + TR_CONN_READ);
            run->buf = tr_realloc(run->buf, run->buf_size);
        }

        n = tr_conn_recv(cl, run->buf + len, TR_CONN_READ);

        if (n == TR_AGAIN) {
            return;
        }

        if (n <= 0) {
            tr_conn_close(run, cl, "closed by the server");
            return;
        }

        if (len > 0) {
            memcpy(run->buf, cl->in.data, len);
            cl->in.len = 0;
        }

        run->count.bytes_received += n;
        len += n;

        rc = cl->ws ? tr_ws_read(run, cl, run->buf, len - n, &len) : TR_OK;

        if (rc == TR_ERROR) {
            tr_conn_close(run, cl, "closed by the server, or no WebSocket");
            return;
        }

        if (rc == TR_AGAIN) {
            used = cl->ws->open ? len : 0;

        } else {
            used = tr_conn_take(run, cl, run->buf, len);
        }

        /* a new handshake reads for itself */

        if (cl->fd == -1 || cl->state == tr_cl_handshake) {
            return;
        }

        if (used < len) {
            tr_conn_reserve(&cl->in, len - used);
            memcpy(cl->in.data, run->buf + used, len - used);
            cl->in.len = len - used;
        }

        if (!tr_conn_more(cl, n)) {
            return;
        }
    }
}


/* whether it is worth to read again at once: epoll tells of what comes later */

static int
tr_conn_more(tr_client_t *cl, ssize_t n)
{
    if (cl->ssl == NULL) {
        return n == TR_CONN_READ;
    }

    return SSL_has_pending(cl->ssl);
}


/* hands on the stanzas in the buffer; returns how much of it is done with */

static size_t
tr_conn_take(tr_run_t *run, tr_client_t *cl, char *data, size_t len)
{
    size_t     used;
    tr_scan_e  rc;

    used = 0;
    cl->fresh = 0;

    for ( ;; ) {
        rc = tr_scan(&cl->scan, data, len);

        if (rc == tr_scan_again) {
            break;
        }

        if (rc == tr_scan_end) {
            tr_conn_close(run, cl, "stream closed by the server");
            return len;
        }

        if (rc == tr_scan_bad) {
            tr_conn_close(run, cl, "bad XML");
            return len;
        }

        used = cl->scan.pos;

        if (rc == tr_scan_stanza) {
            tr_conn_stanza(run, cl, data);
        }

        if (cl->fd == -1 || cl->fresh) {
            return len;
        }
    }

    cl->scan.pos -= used;
    cl->scan.start -= (cl->scan.start < used) ? cl->scan.start : used;

    return used;
}


static void
tr_conn_stanza(tr_run_t *run, tr_client_t *cl, char *data)
{
    tr_str_t  el;

    el.data = data + cl->scan.start;
    el.len = cl->scan.pos - cl->scan.start;

    /* RFC 7395, 3.4, 3.6 */

    if (cl->ws && tr_scan_is(&el, "open")) {
        return;
    }

    if (cl->ws && tr_scan_is(&el, "close")) {
        tr_conn_close(run, cl, "stream closed by the server");
        return;
    }

    if (cl->state == tr_cl_online || cl->state == tr_cl_closing) {
        if (cl->sm && cl->sm->on && tr_sm_stanza(run, cl, &el) == TR_OK) {
            return;
        }

        tr_work_stanza(run, cl, &el);

    } else {
        tr_login_stanza(run, cl, &el);
    }
}


/* tr_conn_reset() forgets the stream, for the next one on the connection */

void
tr_conn_reset(tr_client_t *cl)
{
    cl->in.len = 0;
    cl->fresh = 1;
    memset(&cl->scan, 0, sizeof(tr_scan_t));
    cl->scan.depth = cl->ws ? 1 : 0;
}


static ssize_t
tr_conn_recv(tr_client_t *cl, char *data, size_t len)
{
    ssize_t  n;

    if (cl->ssl != NULL) {
        return tr_tls_recv(cl, data, len);
    }

    n = recv(cl->fd, data, len, 0);

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return TR_AGAIN;
    }

    return n;
}


static ssize_t
tr_conn_write(tr_client_t *cl, const char *data, size_t len)
{
    ssize_t  n;

    if (cl->ssl != NULL) {
        return tr_tls_write(cl, data, len);
    }

    n = send(cl->fd, data, len, MSG_NOSIGNAL);

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return TR_AGAIN;
    }

    return n;
}


void
tr_conn_send(tr_run_t *run, tr_client_t *cl, const char *data, size_t len)
{
    char  *p;

    if (cl->fd == -1) {
        return;
    }

    p = tr_conn_room(run, cl, len);
    memcpy(p, data, len);
    cl->out.len += len;
}


/*
 * tr_conn_room() is the place for so many bytes that are to be sent; whoever
 * has written there moves cl->out.len
 */

char *
tr_conn_room(tr_run_t *run, tr_client_t *cl, size_t size)
{
    tr_conn_reserve(&cl->out, size);

    if (!cl->dirty) {
        cl->dirty = 1;
        run->dirty[run->ndirty++] = cl->index;
    }

    return cl->out.data + cl->out.len;
}


void
tr_conn_print(tr_run_t *run, tr_client_t *cl, const char *fmt, ...)
{
    int      n;
    char     text[TR_CONN_PRINT];
    va_list  args;

    va_start(args, fmt);
    n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    if (n < 0 || n >= (int) sizeof(text)) {
        tr_fatal(run, "a stanza is too long", cl);
        return;
    }

    tr_conn_send(run, cl, text, n);
}


/* tr_conn_flush() writes what this turn of the loop has produced */

void
tr_conn_flush(tr_run_t *run)
{
    uint32_t      i;
    tr_client_t  *cl;

    for (i = 0; i < run->ndirty; i++) {
        cl = &run->clients[run->dirty[i]];

        if (cl->fd != -1 && !cl->writing && cl->state != tr_cl_handshake) {
            tr_conn_write_out(run, cl);
        }

        cl->dirty = 0;
    }

    run->ndirty = 0;
}


static void
tr_conn_write_out(tr_run_t *run, tr_client_t *cl)
{
    size_t   sent;
    ssize_t  n;

    sent = 0;
    n = 0;

    if (cl->ws) {
        tr_ws_frames(run, cl);
    }

    while (sent < cl->out.len) {
        n = tr_conn_write(cl, cl->out.data + sent, cl->out.len - sent);

        if (n <= 0) {
            break;
        }

        sent += n;
    }

    run->count.bytes_sent += sent;
    cl->out.len -= sent;

    if (cl->out.len > 0) {
        memmove(cl->out.data, cl->out.data + sent, cl->out.len);
    }

    /* what else the server said is still to be read: its end shows there */

    if (n < 0 && n != TR_AGAIN) {
        cl->out.len = 0;
    }

    if (cl->ws) {
        cl->ws->framed = cl->out.len;
    }

    tr_conn_watch(run, cl, cl->out.len > 0);
}


void
tr_conn_watch(tr_run_t *run, tr_client_t *cl, int writing)
{
    struct epoll_event  ee;

    if (cl->writing == (unsigned) writing) {
        return;
    }

    memset(&ee, 0, sizeof(ee));
    ee.events = writing ? EPOLLIN|EPOLLOUT : EPOLLIN;
    ee.data.ptr = cl;

    cl->writing = writing;
    (void) epoll_ctl(run->epoll, EPOLL_CTL_MOD, cl->fd, &ee);
}


/*
 * tr_conn_close() ends a connection.  It is the end of the run, unless it was
 * asked for or clients are to come back.
 */

void
tr_conn_close(tr_run_t *run, tr_client_t *cl, const char *why)
{
    tr_client_state_e  state;

    state = cl->state;

    if (cl->fd == -1) {
        return;
    }

    tr_tls_free(cl, state == tr_cl_closing);
    close(cl->fd);
    tr_conn_gone(run, cl);

    if (state == tr_cl_closing) {
        tr_queue_push(run, &run->queue, cl->index);
        return;
    }

    if (state == tr_cl_online) {
        run->count.closes++;
        cl->backoff = TR_CONN_BACKOFF;

    } else {
        run->count.refused++;
        cl->tried += run->now - cl->opened;
        cl->backoff = cl->backoff ? 2 * cl->backoff : TR_CONN_BACKOFF;
    }

    if (cl->backoff > TR_CONN_BACKOFF_MAX) {
        cl->backoff = TR_CONN_BACKOFF_MAX;
    }

    cl->retry_at = run->now
                   + 1000 * (cl->backoff + tr_random(run, cl->backoff));

    /* many at once may be refused, but who is back is not to be cut off */

    if (!(run->opt.reconnect && run->phase < tr_ph_round)
        && !(run->phase == tr_ph_storm && state != tr_cl_online))
    {
        tr_fatal(run, why, cl);
        return;
    }

    tr_open_later(run, cl);

    /* not all to the same one, and not again to one that is not there */

    if (run->opt.sm) {
        cl->target = (state == tr_cl_online)
                     ? tr_random(run, run->opt.ntargets)
                     : (cl->target + 1) % run->opt.ntargets;
        return;
    }

    tr_account_cut(run, cl);
}


/* tr_conn_cut() ends a connection that is online, without a word: by a RST */

void
tr_conn_cut(tr_run_t *run, tr_client_t *cl)
{
    struct linger  linger;

    linger.l_onoff = 1;
    linger.l_linger = 0;

    (void) setsockopt(cl->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));

    tr_tls_free(cl, 0);
    close(cl->fd);
    tr_conn_gone(run, cl);
}


static void
tr_conn_gone(tr_run_t *run, tr_client_t *cl)
{
    uint32_t  last;

    cl->fd = -1;
    cl->out.len = 0;
    tr_sm_cut(cl);

    free(cl->scram);
    cl->scram = NULL;

    if (cl->state == tr_cl_online || cl->state == tr_cl_closing) {
        last = run->online[--run->nonline];
        run->online[cl->place] = last;
        run->clients[last].place = cl->place;

    } else {
        run->connecting--;
    }

    cl->state = tr_cl_offline;
}


static void
tr_conn_reserve(tr_buf_t *buf, size_t len)
{
    if (buf->size - buf->len >= len) {
        return;
    }

    buf->size = 2 * (buf->len + len);
    buf->data = tr_realloc(buf->data, buf->size);
}
