
/*
 * TLS connections to a server that says nothing: one after the other, each
 * shaken hands and read to its end; or held open, all of them.
 *
 *     floor_tls PORT N new | resume | hold | plain
 *
 * resume offers the session of the connection before (RFC 8446, 2.2).  hold
 * and plain, which is hold without TLS, say "ready" and wait for the end of
 * the input.  At the end it prints the connections and how many of them were
 * resumed.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/ssl.h>


static int fl_connect(int port);
static SSL *fl_shake(SSL_CTX *ctx, int fd);
static void fl_end(SSL *ssl);
static int fl_session(SSL *ssl, SSL_SESSION *session);
static void fl_die(const char *what);


static SSL_SESSION  *fl_kept;
static int           fl_resumed;


int
main(int argc, char *argv[])
{
    int             i, n, fd, port, hold, plain;
    SSL            *ssl;
    char            byte;
    SSL_CTX        *ctx;
    struct rlimit   rl;

    if (argc != 4) {
        fprintf(stderr, "floor_tls PORT N new|resume|hold|plain\n");
        return 2;
    }

    if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
        rl.rlim_cur = rl.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &rl);
    }

    port = atoi(argv[1]);
    n = atoi(argv[2]);
    plain = (strcmp(argv[3], "plain") == 0);
    hold = plain || (strcmp(argv[3], "hold") == 0);
    ctx = SSL_CTX_new(TLS_client_method());

    if (ctx == NULL) {
        fl_die("SSL_CTX_new");
    }

    (void) SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);

    if (strcmp(argv[3], "resume") == 0) {
        (void) SSL_CTX_set_session_cache_mode(ctx,
                       SSL_SESS_CACHE_CLIENT|SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(ctx, fl_session);
    }

    for (i = 0; i < n; i++) {
        fd = fl_connect(port);

        if (plain) {
            continue;
        }

        ssl = fl_shake(ctx, fd);

        if (!hold) {
            fl_end(ssl);
            close(fd);
        }
    }

    if (hold) {
        printf("ready\n");
        fflush(stdout);

        while (read(STDIN_FILENO, &byte, 1) > 0) { /* void */ }
    }

    printf("connections=%d resumed=%d\n", n, fl_resumed);

    return 0;
}


static int
fl_connect(int port)
{
    int                  fd;
    struct sockaddr_in   sin;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    fd = socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0);

    if (fd == -1
        || connect(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1)
    {
        fl_die("connect");
    }

    return fd;
}


static SSL *
fl_shake(SSL_CTX *ctx, int fd)
{
    SSL  *ssl;

    ssl = SSL_new(ctx);

    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1
        || (fl_kept != NULL && SSL_set_session(ssl, fl_kept) != 1)
        || SSL_connect(ssl) != 1)
    {
        fl_die("handshake");
    }

    fl_resumed += SSL_session_reused(ssl);

    return ssl;
}


/* the session comes behind the handshake, before the end of the stream */

static void
fl_end(SSL *ssl)
{
    char  text[256];

    while (SSL_read(ssl, text, sizeof(text)) > 0) { /* void */ }

    SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN|SSL_RECEIVED_SHUTDOWN);
    SSL_free(ssl);
    ERR_clear_error();
}


static int
fl_session(SSL *ssl, SSL_SESSION *session)
{
    (void) ssl;

    SSL_SESSION_free(fl_kept);
    fl_kept = session;

    return 1;
}


static void
fl_die(const char *what)
{
    perror(what);
    ERR_print_errors_fp(stderr);
    exit(2);
}
