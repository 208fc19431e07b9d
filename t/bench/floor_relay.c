
/*
 * The floor of a message: a server in one thread that does nothing but move
 * bytes.  It speaks as much XMPP as the traffic generator needs to log in
 * (SASL PLAIN with any password, RFC 6120, 5 to 7), and from then on what one
 * of a pair writes is written to the other, whatever it is: load0 and load1
 * are a pair, load2 and load3, and so on.
 *
 *     floor_relay PORT TLS_PORT CERTIFICATE KEY [refuse | small]
 *
 *     [handshake] -> login -> relay -> closed
 *
 * What an offline partner should get is dropped.  The end of a stream is seen
 * at the end of what was read at once, where a client that has nothing else
 * to say puts it.  With "refuse" no TLS session is ever resumed, with "small"
 * the records of TLS are as short as they can be.
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>


#define FL_AGAIN   -2
#define FL_EVENTS  512
#define FL_READ    65536
#define FL_LOGIN   4096
#define FL_PAIRS   65536

/* the least that a record of TLS may be limited to: RFC 6066, 4 */

#define FL_SMALL   512

#define FL_END     "</stream:stream>"


typedef enum {
    fl_listen = 0,
    fl_handshake,
    fl_login,
    fl_relay
} fl_state_e;


typedef struct fl_conn_s  fl_conn_t;

struct fl_conn_s {
    int          fd;
    fl_state_e   state;
    SSL         *ssl;
    SSL_CTX     *ctx;                   /* of a listener with TLS */
    char        *out;                   /* what the socket did not take */
    size_t       out_len;
    size_t       out_size;
    char        *in;                    /* while logging in */
    size_t       in_len;
    char         name[256];             /* the domain, then the full JID */
    unsigned     number;
    unsigned     authenticated:1;
    unsigned     writing:1;
    unsigned     closing:1;
};


static fl_conn_t *fl_listen_at(int port, SSL_CTX *ctx);
static SSL_CTX *fl_tls(const char *certificate, const char *key);
static void fl_accept(fl_conn_t *listen);
static void fl_event(fl_conn_t *c, unsigned events);
static void fl_shake(fl_conn_t *c);
static void fl_read(fl_conn_t *c);
static void fl_pass(fl_conn_t *c, char *data, size_t len);
static void fl_log_in(fl_conn_t *c, char *data, size_t len);
static int fl_step(fl_conn_t *c);
static void fl_header(fl_conn_t *c);
static void fl_auth(fl_conn_t *c);
static void fl_bind(fl_conn_t *c);
static char *fl_between(fl_conn_t *c, const char *start, char end);
static ssize_t fl_recv(fl_conn_t *c, char *data, size_t len);
static ssize_t fl_send(fl_conn_t *c, const char *data, size_t len);
static void fl_write(fl_conn_t *c, const char *data, size_t len);
static void fl_write_out(fl_conn_t *c);
static void fl_watch(fl_conn_t *c, int writing);
static void fl_close(fl_conn_t *c);
static void fl_die(const char *what);


static int         fl_epoll;
static int         fl_refuse;
static int         fl_small;
static char        fl_buf[FL_READ];
static fl_conn_t  *fl_users[FL_PAIRS];
static fl_conn_t  *fl_gone;             /* freed when the events are done */


int
main(int argc, char *argv[])
{
    int                 i, n;
    fl_conn_t          *c;
    struct rlimit       rl;
    struct epoll_event  events[FL_EVENTS];

    if (argc < 5) {
        fprintf(stderr, "floor_relay PORT TLS_PORT CERTIFICATE KEY "
                        "[refuse | small]\n");
        return 2;
    }

    if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
        rl.rlim_cur = rl.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &rl);
    }

    fl_refuse = (argc > 5 && strcmp(argv[5], "refuse") == 0);
    fl_small = (argc > 5 && strcmp(argv[5], "small") == 0);
    fl_epoll = epoll_create1(EPOLL_CLOEXEC);

    (void) fl_listen_at(atoi(argv[1]), NULL);
    (void) fl_listen_at(atoi(argv[2]), fl_tls(argv[3], argv[4]));

    for ( ;; ) {
        n = epoll_wait(fl_epoll, events, FL_EVENTS, -1);

        for (i = 0; i < n; i++) {
            c = events[i].data.ptr;

            if (c->state == fl_listen) {
                fl_accept(c);

            } else if (c->fd != -1) {
                fl_event(c, events[i].events);
            }
        }

        while (fl_gone != NULL) {
            c = fl_gone;
            fl_gone = (fl_conn_t *) c->out;
            free(c);
        }
    }
}


static fl_conn_t *
fl_listen_at(int port, SSL_CTX *ctx)
{
    int                  one;
    fl_conn_t           *c;
    struct epoll_event   ee;
    struct sockaddr_in   sin;

    c = calloc(1, sizeof(fl_conn_t));

    if (c == NULL) {
        fl_die("calloc");
    }

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    one = 1;
    c->ctx = ctx;
    c->fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (setsockopt(c->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(int)) == -1
        || bind(c->fd, (struct sockaddr *) &sin, sizeof(sin)) == -1
        || listen(c->fd, 4096) == -1)
    {
        fl_die("listen");
    }

    memset(&ee, 0, sizeof(ee));
    ee.events = EPOLLIN;
    ee.data.ptr = c;

    if (epoll_ctl(fl_epoll, EPOLL_CTL_ADD, c->fd, &ee) == -1) {
        fl_die("epoll_ctl");
    }

    return c;
}


static SSL_CTX *
fl_tls(const char *certificate, const char *key)
{
    SSL_CTX  *ctx;

    ctx = SSL_CTX_new(TLS_server_method());

    if (ctx == NULL
        || SSL_CTX_use_certificate_chain_file(ctx, certificate) != 1
        || SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
    {
        fl_die("certificate or key");
    }

    (void) SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE
                                 |SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1);
    (void) SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);

    return ctx;
}


static void
fl_accept(fl_conn_t *listen)
{
    int                  fd, one;
    u_char               keys[80];
    fl_conn_t           *c;
    struct epoll_event   ee;

    fd = accept4(listen->fd, NULL, NULL, SOCK_NONBLOCK|SOCK_CLOEXEC);

    if (fd == -1) {
        return;
    }

    one = 1;
    (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(int));

    c = calloc(1, sizeof(fl_conn_t));

    if (c == NULL) {
        fl_die("calloc");
    }

    c->fd = fd;
    c->state = fl_login;
    c->number = FL_PAIRS;

    memset(&ee, 0, sizeof(ee));
    ee.events = EPOLLIN;
    ee.data.ptr = c;

    if (epoll_ctl(fl_epoll, EPOLL_CTL_ADD, fd, &ee) == -1) {
        fl_die("epoll_ctl");
    }

    if (listen->ctx == NULL) {
        return;
    }

    if (fl_refuse && RAND_bytes(keys, sizeof(keys)) == 1) {
        (void) SSL_CTX_set_tlsext_ticket_keys(listen->ctx, keys,
                                              sizeof(keys));
    }

    c->state = fl_handshake;
    c->ssl = SSL_new(listen->ctx);

    if (c->ssl == NULL || SSL_set_fd(c->ssl, fd) != 1) {
        fl_die("SSL_new");
    }

    if (fl_small) {
        (void) SSL_set_max_send_fragment(c->ssl, FL_SMALL);
    }

    SSL_set_accept_state(c->ssl);
}


static void
fl_event(fl_conn_t *c, unsigned events)
{
    if (c->state == fl_handshake) {
        fl_shake(c);
        return;
    }

    if (events & EPOLLOUT) {
        fl_write_out(c);
    }

    if (c->fd != -1 && (events & (EPOLLIN|EPOLLHUP|EPOLLERR))) {
        fl_read(c);
    }
}


static void
fl_shake(fl_conn_t *c)
{
    int  rc, error;

    ERR_clear_error();
    rc = SSL_do_handshake(c->ssl);

    if (rc == 1) {
        c->state = fl_login;
        fl_watch(c, 0);

        /* the client may have spoken with its last word of the handshake */

        fl_read(c);
        return;
    }

    error = SSL_get_error(c->ssl, rc);

    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
        fl_close(c);
        return;
    }

    fl_watch(c, error == SSL_ERROR_WANT_WRITE);
}


static void
fl_read(fl_conn_t *c)
{
    ssize_t  n;

    do {
        n = fl_recv(c, fl_buf, sizeof(fl_buf));

        if (n == FL_AGAIN) {
            return;
        }

        if (n <= 0) {
            fl_close(c);
            return;
        }

        if (c->state == fl_relay) {
            fl_pass(c, fl_buf, n);

        } else {
            fl_log_in(c, fl_buf, n);
        }

    } while (c->fd != -1
             && (c->ssl ? SSL_has_pending(c->ssl) : n == sizeof(fl_buf)));
}


static void
fl_pass(fl_conn_t *c, char *data, size_t len)
{
    int         end;
    char        text[1024];
    size_t      n;
    fl_conn_t  *to;

    n = sizeof(FL_END) - 1;
    end = (len >= n && memcmp(data + len - n, FL_END, n) == 0);

    if (end) {
        len -= n;
    }

    /* who is available gets the own presence back: RFC 6121, 4.2.2 */

    if (len == 11 && memcmp(data, "<presence/>", 11) == 0) {
        n = snprintf(text, sizeof(text), "<presence from='%s'/>", c->name);
        fl_write(c, text, n);
        len = 0;
    }

    to = fl_users[c->number ^ 1];

    if (len > 0 && to != NULL) {
        fl_write(to, data, len);
    }

    if (end) {
        fl_write(c, FL_END, sizeof(FL_END) - 1);

        if (c->fd != -1) {
            c->closing = 1;
            fl_write_out(c);
        }
    }
}


static void
fl_log_in(fl_conn_t *c, char *data, size_t len)
{
    if (c->in == NULL) {
        c->in = malloc(FL_LOGIN);

        if (c->in == NULL) {
            fl_die("malloc");
        }
    }

    if (c->in_len + len >= FL_LOGIN) {
        fl_close(c);
        return;
    }

    memcpy(c->in + c->in_len, data, len);
    c->in_len += len;
    c->in[c->in_len] = '\0';

    if (c->in[c->in_len - 1] == '>' && fl_step(c)) {
        c->in_len = 0;
    }

    if (c->state == fl_relay || c->fd == -1) {
        free(c->in);
        c->in = NULL;
    }
}


/* each word of the client waits for the answer to the one before */

static int
fl_step(fl_conn_t *c)
{
    if (strstr(c->in, "<stream:stream") != NULL) {
        fl_header(c);

    } else if (strstr(c->in, "</auth>") != NULL) {
        fl_auth(c);

    } else if (strstr(c->in, "</iq>") != NULL) {
        fl_bind(c);

    } else if (strstr(c->in, FL_END) != NULL) {
        fl_close(c);

    } else {
        return 0;
    }

    return 1;
}


static void
fl_header(fl_conn_t *c)
{
    int    n;
    char  *to, text[1024];

    to = fl_between(c, " to='", '\'');

    if (to != NULL) {
        snprintf(c->name, sizeof(c->name), "%s", to);
    }

    n = snprintf(text, sizeof(text), "<?xml version='1.0'?><stream:stream "
                 "id='x' xmlns='jabber:client' version='1.0' xmlns:stream="
                 "'http://etherx.jabber.org/streams'><stream:features>%s"
                 "</stream:features>", c->authenticated
                 ? "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
                 : "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
                   "<mechanism>PLAIN</mechanism></mechanisms>");

    fl_write(c, text, n);
}


/* RFC 4616, 2: the user is between two NULs */

static void
fl_auth(fl_conn_t *c)
{
    char      *text;
    u_char     raw[1024];
    size_t     len;
    unsigned   number;

    text = fl_between(c, "'PLAIN'>", '<');
    len = (text != NULL) ? strlen(text) : 0;

    if (len == 0 || len % 4 != 0 || len > sizeof(raw)
        || EVP_DecodeBlock(raw, (u_char *) text, (int) len) < 0
        || sscanf((char *) raw + 1, "load%u", &number) != 1
        || number >= FL_PAIRS)
    {
        fl_close(c);
        return;
    }

    c->number = number;
    c->authenticated = 1;

    fl_write(c, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", 51);
}


static void
fl_bind(fl_conn_t *c)
{
    int    n;
    char  *resource, jid[256], text[1024];

    resource = fl_between(c, "<resource>", '<');

    if (resource == NULL || !c->authenticated) {
        fl_close(c);
        return;
    }

    n = snprintf(jid, sizeof(jid), "load%u@%.100s/%.100s", c->number,
                 c->name, resource);
    memcpy(c->name, jid, n + 1);

    n = snprintf(text, sizeof(text), "<iq type='result' id='bind'><bind "
                 "xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>%s</jid>"
                 "</bind></iq>", jid);

    fl_users[c->number] = c;
    c->state = fl_relay;

    fl_write(c, text, n);
}


/* the text between two marks in what was read, or NULL */

static char *
fl_between(fl_conn_t *c, const char *start, char end)
{
    char  *p, *last;

    p = strstr(c->in, start);

    if (p == NULL) {
        return NULL;
    }

    p += strlen(start);
    last = strchr(p, end);

    if (last == NULL) {
        return NULL;
    }

    *last = '\0';

    return p;
}


static ssize_t
fl_recv(fl_conn_t *c, char *data, size_t len)
{
    int      error;
    ssize_t  n;

    if (c->ssl == NULL) {
        n = recv(c->fd, data, len, 0);

        return (n == -1 && errno == EAGAIN) ? FL_AGAIN : n;
    }

    ERR_clear_error();
    n = SSL_read(c->ssl, data, (int) len);

    if (n > 0) {
        return n;
    }

    error = SSL_get_error(c->ssl, (int) n);

    return (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
           ? FL_AGAIN : -1;
}


static ssize_t
fl_send(fl_conn_t *c, const char *data, size_t len)
{
    int      error;
    ssize_t  n;

    if (c->ssl == NULL) {
        n = send(c->fd, data, len, MSG_NOSIGNAL);

        return (n == -1 && errno == EAGAIN) ? FL_AGAIN : n;
    }

    ERR_clear_error();
    n = SSL_write(c->ssl, data, (int) len);

    if (n > 0) {
        return n;
    }

    error = SSL_get_error(c->ssl, (int) n);

    return (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
           ? FL_AGAIN : -1;
}


/* what does not leave at once is kept */

static void
fl_write(fl_conn_t *c, const char *data, size_t len)
{
    ssize_t  n;

    while (c->out_len == 0 && len > 0) {
        n = fl_send(c, data, len);

        if (n == FL_AGAIN) {
            break;
        }

        if (n <= 0) {
            fl_close(c);
            return;
        }

        data += n;
        len -= n;
    }

    if (len == 0) {
        return;
    }

    if (c->out_size < c->out_len + len) {
        c->out_size = 2 * (c->out_len + len);
        c->out = realloc(c->out, c->out_size);

        if (c->out == NULL) {
            fl_die("realloc");
        }
    }

    memcpy(c->out + c->out_len, data, len);
    c->out_len += len;

    fl_watch(c, 1);
}


static void
fl_write_out(fl_conn_t *c)
{
    size_t   sent;
    ssize_t  n;

    for (sent = 0; sent < c->out_len; sent += n) {
        n = fl_send(c, c->out + sent, c->out_len - sent);

        if (n == FL_AGAIN) {
            break;
        }

        if (n <= 0) {
            fl_close(c);
            return;
        }
    }

    c->out_len -= sent;

    if (c->out_len > 0) {
        memmove(c->out, c->out + sent, c->out_len);
        return;
    }

    fl_watch(c, 0);

    if (c->closing) {
        fl_close(c);
    }
}


static void
fl_watch(fl_conn_t *c, int writing)
{
    struct epoll_event  ee;

    if (c->writing == (unsigned) writing) {
        return;
    }

    memset(&ee, 0, sizeof(ee));
    ee.events = writing ? EPOLLIN|EPOLLOUT : EPOLLIN;
    ee.data.ptr = c;

    c->writing = writing;
    (void) epoll_ctl(fl_epoll, EPOLL_CTL_MOD, c->fd, &ee);
}


static void
fl_close(fl_conn_t *c)
{
    if (c->fd == -1) {
        return;
    }

    if (c->ssl != NULL) {
        if (c->closing) {
            (void) SSL_shutdown(c->ssl);
        }

        SSL_free(c->ssl);
        c->ssl = NULL;
    }

    close(c->fd);
    c->fd = -1;

    if (c->number < FL_PAIRS && fl_users[c->number] == c) {
        fl_users[c->number] = NULL;
    }

    free(c->out);
    free(c->in);
    c->in = NULL;
    c->in_len = 0;

    /* an event of this turn may still name it */

    c->out = (char *) fl_gone;
    fl_gone = c;
}


static void
fl_die(const char *what)
{
    fprintf(stderr, "floor_relay: %s: %s\n", what, strerror(errno));
    ERR_print_errors_fp(stderr);
    exit(2);
}
