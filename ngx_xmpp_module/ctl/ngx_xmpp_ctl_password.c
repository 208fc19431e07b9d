
/*
 * Where xmppctl gets a password from.
 *
 *   terminal   asked for on stderr, twice, without echo.  A signal puts the
 *              terminal back first and then does what it always does: it is
 *              blocked but for the wait in ppoll(), so none slips in between
 *              a look at the flag and a read.
 *   else       one line of stdin, LF or CRLF taken off; what comes after it
 *              is not read
 *
 * Buffers are wiped.  The password is SASLprepped as a stored string, as the
 * clients will do it (RFC 5802, 2.2).
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <stdio.h>
#include <termios.h>
#include "ngx_xmpp_ctl.h"
#include "ngx_xmpp_precis.h"


#define NGX_XMPP_CTL_SIGNALS  4


typedef struct {
    size_t    len;
    u_char    data[NGX_XMPP_CTL_PASSWORD + 3];   /* CR, LF, one too many */
} ngx_xmpp_ctl_line_t;


static int ngx_xmpp_ctl_password_ask(ngx_str_t *bare,
    ngx_xmpp_ctl_line_t *line);
static int ngx_xmpp_ctl_password_prompt(const char *prompt, ngx_str_t *bare,
    ngx_xmpp_ctl_line_t *line);
static int ngx_xmpp_ctl_password_line(ngx_xmpp_ctl_line_t *line,
    sigset_t *mask);
static ssize_t ngx_xmpp_ctl_password_read(u_char *c, sigset_t *mask);
static int ngx_xmpp_ctl_password_prep(ngx_xmpp_ctl_t *ctl,
    ngx_xmpp_ctl_line_t *line, ngx_str_t *password);
static void ngx_xmpp_ctl_password_signal(int signo);


static const int  ngx_xmpp_ctl_signals[NGX_XMPP_CTL_SIGNALS] = {
    SIGINT, SIGTERM, SIGHUP, SIGQUIT
};

/* the one that came while the terminal was silent */
static volatile sig_atomic_t  ngx_xmpp_ctl_signalled;


/* asks, or reads a line; see ngx_xmpp_ctl.h */

int
ngx_xmpp_ctl_password(ngx_xmpp_ctl_t *ctl, ngx_str_t *bare,
    ngx_str_t *password)
{
    int                  status;
    ngx_xmpp_ctl_line_t  line;

    if (isatty(STDIN_FILENO)) {
        status = ngx_xmpp_ctl_password_ask(bare, &line);

    } else {
        status = ngx_xmpp_ctl_password_line(&line, NULL);
    }

    if (status == NGX_XMPP_CTL_OK) {
        status = ngx_xmpp_ctl_password_prep(ctl, &line, password);
    }

    OPENSSL_cleanse(&line, sizeof(ngx_xmpp_ctl_line_t));

    return status;
}


/* twice, and both must be the same */

static int
ngx_xmpp_ctl_password_ask(ngx_str_t *bare, ngx_xmpp_ctl_line_t *line)
{
    int                  status;
    ngx_xmpp_ctl_line_t  again;

    status = ngx_xmpp_ctl_password_prompt("Password for", bare, line);

    if (status != NGX_XMPP_CTL_OK) {
        return status;
    }

    status = ngx_xmpp_ctl_password_prompt("Once more, for", bare, &again);

    if (status == NGX_XMPP_CTL_OK
        && (again.len != line->len
            || CRYPTO_memcmp(again.data, line->data, line->len) != 0))
    {
        status = ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                   "the two passwords are not the same");
    }

    OPENSSL_cleanse(&again, sizeof(ngx_xmpp_ctl_line_t));

    return status;
}


static int
ngx_xmpp_ctl_password_prompt(const char *prompt, ngx_str_t *bare,
    ngx_xmpp_ctl_line_t *line)
{
    int               status;
    sigset_t          mask;
    ngx_uint_t        i;
    struct termios    before, silent;
    struct sigaction  sa, old[NGX_XMPP_CTL_SIGNALS];

    if (tcgetattr(STDIN_FILENO, &before) == -1) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                 "cannot ask for a password: %s",
                                 strerror(errno));
    }

    ngx_xmpp_ctl_signalled = 0;

    ngx_memzero(&sa, sizeof(struct sigaction));
    sigemptyset(&sa.sa_mask);
    sa.sa_handler = ngx_xmpp_ctl_password_signal;

    for (i = 0; i < NGX_XMPP_CTL_SIGNALS; i++) {
        sigaddset(&sa.sa_mask, ngx_xmpp_ctl_signals[i]);
    }

    (void) sigprocmask(SIG_BLOCK, &sa.sa_mask, &mask);

    for (i = 0; i < NGX_XMPP_CTL_SIGNALS; i++) {
        (void) sigaction(ngx_xmpp_ctl_signals[i], &sa, &old[i]);
    }

    silent = before;
    silent.c_lflag &= ~(ECHO|ECHONL);

    (void) tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);

    (void) fprintf(stderr, "%s %.*s: ", prompt, (int) bare->len, bare->data);
    (void) fflush(stderr);

    status = ngx_xmpp_ctl_password_line(line, &mask);

    (void) tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);

    (void) fprintf(stderr, "\n");

    for (i = 0; i < NGX_XMPP_CTL_SIGNALS; i++) {
        (void) sigaction(ngx_xmpp_ctl_signals[i], &old[i], NULL);
    }

    (void) sigprocmask(SIG_SETMASK, &mask, NULL);

    if (ngx_xmpp_ctl_signalled) {
        (void) raise(ngx_xmpp_ctl_signalled);
    }

    return status;
}


static void
ngx_xmpp_ctl_password_signal(int signo)
{
    ngx_xmpp_ctl_signalled = signo;
}


/*
 * Reads octet by octet, so that nothing after the line is taken; mask: that
 * of signals while it waits, NULL when they are not blocked.
 */
static int
ngx_xmpp_ctl_password_line(ngx_xmpp_ctl_line_t *line, sigset_t *mask)
{
    u_char    c;
    ssize_t   n;

    line->len = 0;

    for ( ;; ) {
        n = ngx_xmpp_ctl_password_read(&c, mask);

        if (n == -1 && errno == EINTR) {

            if (ngx_xmpp_ctl_signalled) {
                return NGX_XMPP_CTL_REFUSED;
            }

            continue;
        }

        if (n == -1) {
            return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                     "cannot read the password: %s",
                                     strerror(errno));
        }

        if (n == 0 || c == '\n') {
            break;
        }

        if (line->len < sizeof(line->data)) {
            line->data[line->len++] = c;
        }
    }

    if (line->len && line->data[line->len - 1] == '\r') {
        line->len--;
    }

    if (line->len == 0) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                 "the password is empty");
    }

    if (line->len > NGX_XMPP_CTL_PASSWORD) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                 "the password is longer than %d octets",
                                 NGX_XMPP_CTL_PASSWORD);
    }

    return NGX_XMPP_CTL_OK;
}


static ssize_t
ngx_xmpp_ctl_password_read(u_char *c, sigset_t *mask)
{
    struct pollfd  pfd;

    if (mask) {
        pfd.fd = STDIN_FILENO;
        pfd.events = POLLIN;

        if (ppoll(&pfd, 1, NULL, mask) == -1) {
            return -1;
        }
    }

    return read(STDIN_FILENO, c, 1);
}


/* SASLprep into the pool; *password never points to the line itself */

static int
ngx_xmpp_ctl_password_prep(ngx_xmpp_ctl_t *ctl, ngx_xmpp_ctl_line_t *line,
    ngx_str_t *password)
{
    ngx_int_t  rc;
    ngx_str_t  text;

    text.data = line->data;
    text.len = line->len;

    rc = ngx_xmpp_saslprep(ctl->pool, &text, password);

    if (rc == NGX_ERROR) {
        return ngx_xmpp_ctl_no_memory();
    }

    if (rc == NGX_DECLINED || password->len == 0) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                 "the password has characters that SASLprep"
                                 " (RFC 4013) refuses");
    }

    if (password->data == line->data) {

        password->data = ngx_pnalloc(ctl->pool, line->len);
        if (password->data == NULL) {
            return ngx_xmpp_ctl_no_memory();
        }

        ngx_memcpy(password->data, line->data, line->len);
    }

    return NGX_XMPP_CTL_OK;
}
