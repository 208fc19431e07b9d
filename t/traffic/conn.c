
/*
 * The connections: sockets that never block, TLS on top of them, and a buffer
 * each way.  What is sent within one turn of the loop leaves in one write.
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

#include <openssl/err.h>

#include "traffic.h"


#define TR_CONN_READ      16384
#define TR_CONN_READS     8
#define TR_CONN_PRINT     4096

#define TR_CONN_BACKOFF      50
#define TR_CONN_BACKOFF_MAX  2000


static void tr_conn_handshake(tr_run_t *run, tr_client_t *cl);
static void tr_conn_read(tr_run_t *run, tr_client_t *cl);
static void tr_conn_take(tr_run_t *run, tr_client_t *cl);
static ssize_t tr_conn_recv(tr_client_t *cl, char *data, size_t len);
static ssize_t tr_conn_write(tr_client_t *cl, const char *data, size_t len);
static void tr_conn_write_out(tr_run_t *run, tr_client_t *cl);
static void tr_conn_watch(tr_run_t *run, tr_client_t *cl, int writing);
static void tr_conn_append(tr_buf_t *buf, const char *data, size_t len);
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
            (void) tr_conn_start_tls(run, cl);

        } else {
            tr_login_connected(run, cl);
        }

        return;
    }

    if (cl->state == tr_cl_handshake) {
        tr_conn_handshake(run, cl);
        return;
    }

    if (events & EPOLLOUT) {
        tr_conn_write_out(run, cl);
    }

    if (cl->fd != -1 && (events & (EPOLLIN|EPOLLHUP|EPOLLERR))) {
        tr_conn_read(run, cl);
    }
}


int
tr_conn_start_tls(tr_run_t *run, tr_client_t *cl)
{
    static const u_char  alpn[] = "\013xmpp-client";

    cl->ssl = SSL_new(run->ssl);

    if (cl->ssl == NULL
        || SSL_set_fd(cl->ssl, cl->fd) != 1
        || SSL_set_tlsext_host_name(cl->ssl, cl->domain) != 1
        || SSL_set1_host(cl->ssl, cl->domain) != 1)
    {
        tr_conn_close(run, cl, "cannot create TLS");
        return TR_ERROR;
    }

    if (run->opt.tls == tr_tls_direct) {
        (void) SSL_set_alpn_protos(cl->ssl, alpn, sizeof(alpn) - 1);
    }

    SSL_set_connect_state(cl->ssl);
    cl->state = tr_cl_handshake;

    tr_conn_handshake(run, cl);

    return TR_OK;
}


static void
tr_conn_handshake(tr_run_t *run, tr_client_t *cl)
{
    int  rc, error;

    ERR_clear_error();
    rc = SSL_do_handshake(cl->ssl);

    if (rc == 1) {
        tr_conn_watch(run, cl, 0);
        tr_login_connected(run, cl);
        return;
    }

    error = SSL_get_error(cl->ssl, rc);

    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        tr_conn_watch(run, cl, error == SSL_ERROR_WANT_WRITE);
        return;
    }

    tr_conn_close(run, cl, "TLS handshake failed");
}


static void
tr_conn_read(tr_run_t *run, tr_client_t *cl)
{
    int      i;
    ssize_t  n;

    for (i = 0; i < TR_CONN_READS; i++) {
        tr_conn_reserve(&cl->in, TR_CONN_READ);

        n = tr_conn_recv(cl, cl->in.data + cl->in.len, TR_CONN_READ);

        if (n == TR_AGAIN) {
            return;
        }

        if (n <= 0) {
            tr_conn_close(run, cl, "closed by the server");
            return;
        }

        cl->in.len += n;
        tr_conn_take(run, cl);

        /* a new handshake reads for itself */

        if (cl->fd == -1 || cl->state == tr_cl_handshake) {
            return;
        }

        if (cl->ssl == NULL && n < TR_CONN_READ) {
            return;
        }
    }
}


/* hands on the stanzas in the buffer, and keeps what is not complete */

static void
tr_conn_take(tr_run_t *run, tr_client_t *cl)
{
    size_t     used;
    tr_str_t   el;
    tr_scan_e  rc;

    used = 0;

    for ( ;; ) {
        rc = tr_scan(&cl->scan, cl->in.data, cl->in.len);

        if (rc == tr_scan_again) {
            break;
        }

        if (rc == tr_scan_end) {
            tr_conn_close(run, cl, "stream closed by the server");
            return;
        }

        if (rc == tr_scan_bad) {
            tr_conn_close(run, cl, "bad XML");
            return;
        }

        used = cl->scan.pos;

        if (rc == tr_scan_header) {
            continue;
        }

        el.data = cl->in.data + cl->scan.start;
        el.len = cl->scan.pos - cl->scan.start;

        if (cl->state == tr_cl_online || cl->state == tr_cl_closing) {
            tr_work_stanza(run, cl, &el);

        } else {
            tr_login_stanza(run, cl, &el);
        }

        if (cl->fd == -1) {
            return;
        }

        if (cl->in.len == 0) {
            return;                         /* a new stream */
        }
    }

    if (used > 0) {
        memmove(cl->in.data, cl->in.data + used, cl->in.len - used);
        cl->in.len -= used;
        cl->scan.pos -= used;
        cl->scan.start -= (cl->scan.start < used) ? cl->scan.start : used;
    }
}


/* tr_conn_reset() forgets the stream, for the next one on the connection */

void
tr_conn_reset(tr_client_t *cl)
{
    cl->in.len = 0;
    memset(&cl->scan, 0, sizeof(tr_scan_t));
}


static ssize_t
tr_conn_recv(tr_client_t *cl, char *data, size_t len)
{
    int      error;
    ssize_t  n;

    if (cl->ssl == NULL) {
        n = recv(cl->fd, data, len, 0);

        if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
            return TR_AGAIN;
        }

        return n;
    }

    ERR_clear_error();
    n = SSL_read(cl->ssl, data, (int) len);

    if (n > 0) {
        return n;
    }

    error = SSL_get_error(cl->ssl, (int) n);

    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        return TR_AGAIN;
    }

    return TR_ERROR;
}


static ssize_t
tr_conn_write(tr_client_t *cl, const char *data, size_t len)
{
    int      error;
    ssize_t  n;

    if (cl->ssl == NULL) {
        n = send(cl->fd, data, len, MSG_NOSIGNAL);

        if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
            return TR_AGAIN;
        }

        return n;
    }

    ERR_clear_error();
    n = SSL_write(cl->ssl, data, (int) len);

    if (n > 0) {
        return n;
    }

    error = SSL_get_error(cl->ssl, (int) n);

    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        return TR_AGAIN;
    }

    return TR_ERROR;
}


void
tr_conn_send(tr_run_t *run, tr_client_t *cl, const char *data, size_t len)
{
    if (cl->fd == -1) {
        return;
    }

    tr_conn_append(&cl->out, data, len);

    if (!cl->dirty) {
        cl->dirty = 1;
        run->dirty[run->ndirty++] = cl->index;
    }
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
        cl->dirty = 0;

        if (cl->fd != -1 && !cl->writing && cl->state != tr_cl_handshake) {
            tr_conn_write_out(run, cl);
        }
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

    while (sent < cl->out.len) {
        n = tr_conn_write(cl, cl->out.data + sent, cl->out.len - sent);

        if (n <= 0) {
            break;
        }

        sent += n;
    }

    memmove(cl->out.data, cl->out.data + sent, cl->out.len - sent);
    cl->out.len -= sent;

    /* what else the server said is still to be read: its end shows there */

    if (n < 0 && n != TR_AGAIN) {
        cl->out.len = 0;
    }

    tr_conn_watch(run, cl, cl->out.len > 0);
}


static void
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
    uint32_t           last;
    tr_client_state_e  state;

    state = cl->state;

    if (cl->fd == -1) {
        return;
    }

    if (cl->ssl != NULL) {
        SSL_free(cl->ssl);
        cl->ssl = NULL;
    }

    close(cl->fd);
    cl->fd = -1;
    cl->out.len = 0;
    cl->state = tr_cl_offline;

    free(cl->scram);
    cl->scram = NULL;

    if (state == tr_cl_online || state == tr_cl_closing) {
        last = run->online[--run->nonline];
        run->online[cl->place] = last;
        run->clients[last].place = cl->place;

    } else {
        run->connecting--;
    }

    if (state == tr_cl_closing) {
        return;
    }

    if (state == tr_cl_online) {
        run->count.closes++;
        cl->backoff = TR_CONN_BACKOFF;

    } else {
        run->count.refused++;
        cl->backoff = cl->backoff ? 2 * cl->backoff : TR_CONN_BACKOFF;
    }

    if (cl->backoff > TR_CONN_BACKOFF_MAX) {
        cl->backoff = TR_CONN_BACKOFF_MAX;
    }

    cl->retry_at = run->now
                   + 1000 * (cl->backoff + tr_random(run, cl->backoff));

    if (!run->opt.reconnect || run->phase >= tr_ph_round) {
        tr_fatal(run, why, cl);
        return;
    }

    tr_account_cut(run, cl);
}


static void
tr_conn_append(tr_buf_t *buf, const char *data, size_t len)
{
    tr_conn_reserve(buf, len);
    memcpy(buf->data + buf->len, data, len);
    buf->len += len;
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
