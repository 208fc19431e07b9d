/*
 * What a connection of the Redis client sends: all that is queued, at the end
 * of an event-loop turn.
 *
 *   plain   one writev() of the requests where they lie
 *   TLS     one SSL_write() of a record's size, copied together, and more
 *           only when there is more
 *
 * A request has been sent when its last byte has been taken.  One that was
 * not did not run: part of a command is none, and part of a TLS record cannot
 * be read.  That is why no SSL_write() here is larger than one record.
 *
 * OpenSSL wants the same bytes at the same place again when it could not
 * write a record: conn->out keeps them until then.  The queue does not change
 * before them meanwhile: what is taken off its head is so only when the
 * connection is lost, and what is put there only while it is empty.
 */


#include "ngx_xmpp_redis_private.h"


static size_t ngx_xmpp_redis_digits(size_t n);
static u_char *ngx_xmpp_redis_put(u_char *p, u_char type, size_t n);
static ngx_int_t ngx_xmpp_redis_send_plain(ngx_xmpp_redis_conn_t *conn);
static ngx_int_t ngx_xmpp_redis_send_tls(ngx_xmpp_redis_conn_t *conn);
static void ngx_xmpp_redis_send_failed(ngx_xmpp_redis_conn_t *conn,
    ngx_err_t err);
static ngx_uint_t ngx_xmpp_redis_send_gather(ngx_xmpp_redis_conn_t *conn,
    size_t *size);
static size_t ngx_xmpp_redis_send_record(ngx_xmpp_redis_conn_t *conn);
static void ngx_xmpp_redis_sent(ngx_xmpp_redis_conn_t *conn, size_t n);


/*
 * Writes a command as it is sent, an array of strings; req owns the bytes.
 * NGX_OK, or NGX_ERROR: no memory, or no argument.  hiredis's function for it
 * spends more on printing the lengths than all else here takes.
 */

ngx_int_t
ngx_xmpp_redis_req_format(ngx_xmpp_redis_req_t *req, ngx_uint_t argc,
    ngx_str_t *argv)
{
    size_t       size;
    u_char      *p;
    ngx_uint_t   i;

    /* Redis does not answer an empty command */

    if (argc == 0) {
        return NGX_ERROR;
    }

    size = sizeof("*" CRLF) - 1 + ngx_xmpp_redis_digits(argc);

    for (i = 0; i < argc; i++) {
        size += sizeof("$" CRLF CRLF) - 1 + ngx_xmpp_redis_digits(argv[i].len)
                + argv[i].len;
    }

    req->bytes = ngx_alloc(size, ngx_cycle->log);
    if (req->bytes == NULL) {
        return NGX_ERROR;
    }

    p = ngx_xmpp_redis_put(req->bytes, '*', argc);

    for (i = 0; i < argc; i++) {
        p = ngx_xmpp_redis_put(p, '$', argv[i].len);
        p = ngx_cpymem(p, argv[i].data, argv[i].len);

        *p++ = CR;
        *p++ = LF;
    }

    req->len = p - req->bytes;

    return NGX_OK;
}


static size_t
ngx_xmpp_redis_digits(size_t n)
{
    size_t  len;

    for (len = 1; n > 9; n /= 10) {
        len++;
    }

    return len;
}


/* a type, a number and the end of the line; returns the end */

static u_char *
ngx_xmpp_redis_put(u_char *p, u_char type, size_t n)
{
    u_char  *last, *end;

    *p++ = type;
    end = p + ngx_xmpp_redis_digits(n);

    for (last = end; last > p; n /= 10) {
        *--last = (u_char) ('0' + n % 10);
    }

    *end++ = CR;
    *end++ = LF;

    return end;
}


/* what is queued is sent when this turn ends, if the connection is ready */
void
ngx_xmpp_redis_conn_post(ngx_xmpp_redis_conn_t *conn)
{
    ngx_queue_t  *posted;

    if (conn->state != ngx_xmpp_redis_st_ready || conn->greeting) {
        return;
    }

    /*
     * The begin of a graceful shutdown comes from outside of the event loop:
     * an event posted there to ngx_posted_events would wait for the next
     * epoll_wait() to end, the other queue makes it return at once.
     */

    posted = ngx_exiting ? &ngx_posted_next_events : &ngx_posted_events;

    ngx_post_event(&conn->flush, posted);
}


/* sends what is queued; posted, so once per event-loop turn */
void
ngx_xmpp_redis_conn_flush(ngx_event_t *ev)
{
    ngx_int_t               rc;
    ngx_connection_t       *c;
    ngx_xmpp_redis_conn_t  *conn;

    conn = ev->data;
    c = conn->connection;

    if ((conn->state != ngx_xmpp_redis_st_setup
         && conn->state != ngx_xmpp_redis_st_ready)
        || conn->leaving)
    {
        return;
    }

    if (conn->owed && ngx_xmpp_redis_wait_queue(conn) != NGX_OK) {
        ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_no_memory, 0, NULL);
        return;
    }

    rc = NGX_OK;
    conn->client->now = ngx_xmpp_redis_now();

    while (rc == NGX_OK && c->write->ready) {
        rc = c->ssl ? ngx_xmpp_redis_send_tls(conn)
                    : ngx_xmpp_redis_send_plain(conn);
    }

    if (rc == NGX_ERROR) {
        return;
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_no_socket, 0, NULL);
    }
}


/*
 * Both: NGX_OK: something was sent, there may be more; NGX_DONE: there is
 * nothing more; NGX_AGAIN: not now; NGX_ERROR: the connection is gone, or has
 * to be read to its end first.
 */

static ngx_int_t
ngx_xmpp_redis_send_plain(ngx_xmpp_redis_conn_t *conn)
{
    size_t             size;
    ssize_t            n;
    ngx_err_t          err;
    ngx_uint_t         niovs;
    ngx_connection_t  *c;

    c = conn->connection;

    niovs = ngx_xmpp_redis_send_gather(conn, &size);
    if (niovs == 0) {
        return NGX_DONE;
    }

    n = writev(c->fd, conn->client->iovs, niovs);

    if (n == -1) {
        err = ngx_socket_errno;

        if (err == NGX_EINTR) {
            return NGX_OK;
        }

        if (err == NGX_EAGAIN) {
            c->write->ready = 0;
            return NGX_AGAIN;
        }

        ngx_xmpp_redis_send_failed(conn, err);
        return NGX_ERROR;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_CORE, conn->client->log, 0,
                   "xmpp redis writev: %z of %uz, requests:%ui",
                   n, size, niovs);

    c->sent += n;

    ngx_xmpp_redis_sent(conn, n);

    if ((size_t) n < size) {
        c->write->ready = 0;
        return NGX_AGAIN;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_redis_send_tls(ngx_xmpp_redis_conn_t *conn)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = conn->connection;

    if (conn->out_len == 0) {
        conn->out_len = ngx_xmpp_redis_send_record(conn);

        if (conn->out_len == 0) {
            return NGX_DONE;
        }
    }

    n = c->send(c, conn->out, conn->out_len);

    if (n == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    if (n == NGX_ERROR) {
        ngx_xmpp_redis_send_failed(conn, 0);
        return NGX_ERROR;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_CORE, conn->client->log, 0,
                   "xmpp redis SSL_write: %z of %uz", n, conn->out_len);

    conn->out_len = 0;

    ngx_xmpp_redis_sent(conn, n);

    return NGX_OK;
}


/*
 * The server is gone, but replies to what did run may be there, and so may
 * its last words; reading them finds the end of the connection, too.
 */
static void
ngx_xmpp_redis_send_failed(ngx_xmpp_redis_conn_t *conn, ngx_err_t err)
{
    ngx_connection_t  *c;

    c = conn->connection;

    if (ngx_xmpp_redis_conn_read(conn) != NGX_OK) {
        return;
    }

    if (!c->read->posted) {
        ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_closed, err, NULL);
    }
}


static ngx_uint_t
ngx_xmpp_redis_send_gather(ngx_xmpp_redis_conn_t *conn, size_t *size)
{
    size_t                 skip;
    ngx_uint_t             i, n, last;
    ngx_queue_t           *q, *queues[2];
    struct iovec          *iovs;
    ngx_xmpp_redis_req_t  *req;

    queues[0] = &conn->setup;
    queues[1] = &conn->waiting;

    last = (conn->state == ngx_xmpp_redis_st_ready) ? 2 : 1;

    n = 0;
    *size = 0;
    skip = conn->offset;
    iovs = conn->client->iovs;

    for (i = 0; i < last; i++) {

        for (q = ngx_queue_head(queues[i]);
             q != ngx_queue_sentinel(queues[i]) && n < NGX_XMPP_REDIS_IOVS;
             q = ngx_queue_next(q))
        {
            req = ngx_queue_data(q, ngx_xmpp_redis_req_t, queue);

            iovs[n].iov_base = (void *) (req->bytes + skip);
            iovs[n].iov_len = req->len - skip;

            *size += iovs[n].iov_len;
            skip = 0;
            n++;
        }
    }

    return n;
}


/* the bytes of the next record, into conn->out; their number */

static size_t
ngx_xmpp_redis_send_record(ngx_xmpp_redis_conn_t *conn)
{
    u_char        *p;
    size_t         size, left;
    ngx_uint_t     i, n;
    struct iovec  *iovs;

    n = ngx_xmpp_redis_send_gather(conn, &size);

    p = conn->out;
    left = NGX_XMPP_REDIS_RECORD;
    iovs = conn->client->iovs;

    for (i = 0; i < n && left; i++) {
        size = ngx_min(left, iovs[i].iov_len);
        p = ngx_cpymem(p, iovs[i].iov_base, size);
        left -= size;
    }

    return p - conn->out;
}


/* n bytes have been taken: whole requests move on, in their order */
static void
ngx_xmpp_redis_sent(ngx_xmpp_redis_conn_t *conn, size_t n)
{
    size_t                 left;
    ngx_queue_t           *q, *from, *to;
    ngx_xmpp_redis_req_t  *req;

    while (n) {

        if (!ngx_queue_empty(&conn->setup)) {
            from = &conn->setup;
            to = &conn->setup_sent;

        } else {
            from = &conn->waiting;
            to = &conn->sent;
        }

        q = ngx_queue_head(from);
        req = ngx_queue_data(q, ngx_xmpp_redis_req_t, queue);

        left = req->len - conn->offset;

        if (n < left) {
            conn->offset += n;
            return;
        }

        n -= left;
        conn->offset = 0;

        req->sent = conn->client->now;

        ngx_queue_remove(q);
        ngx_queue_insert_tail(to, q);
    }
}
