
/*
 * A chat client on libstrophe, driven by lines (see Interop.pm for the lines).
 *
 * The certificate is checked by libstrophe against the given authority and
 * against the domain of the JID; TLS is mandatory.  One thread: libstrophe's
 * own loop, whose timed handler looks for lines on the standard input.
 *
 * Environment: XMPP_HOST XMPP_PORT XMPP_JID XMPP_PASSWORD XMPP_CA
 *              XMPP_TLS (starttls|direct)
 *              XMPP_RESUME (1: comes back when the connection breaks)
 */


#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <strophe.h>


#define LINE_MAX_SIZE  8192
#define INPUT_PERIOD   10


typedef struct {
    xmpp_ctx_t   *ctx;
    xmpp_conn_t  *conn;
    size_t        len;
    int           status;
    int           ready;
    int           resumed;
    int           quitting;
    int           asked;
    int           settling;
    char          line[LINE_MAX_SIZE];
} client_t;


static void client_on_connection(xmpp_conn_t *conn, xmpp_conn_event_t event,
    int error, xmpp_stream_error_t *stream_error, void *data);
static int client_on_message(xmpp_conn_t *conn, xmpp_stanza_t *stanza,
    void *data);
static int client_on_presence(xmpp_conn_t *conn, xmpp_stanza_t *stanza,
    void *data);
static int client_on_iq(xmpp_conn_t *conn, xmpp_stanza_t *stanza, void *data);
static int client_on_pong(xmpp_conn_t *conn, xmpp_stanza_t *stanza,
    void *data);
static int client_on_enabled(xmpp_conn_t *conn, xmpp_stanza_t *stanza,
    void *data);
static int client_on_time(xmpp_ctx_t *ctx, void *data);
static void client_on_log(void *data, xmpp_log_level_t level,
    const char *area, const char *msg);
static void client_settled(client_t *cl);
static int client_connect(client_t *cl);
static int client_on_input(xmpp_conn_t *conn, void *data);
static void client_command(client_t *cl, char *line);
static void client_send(client_t *cl, const char *to, const char *body);
static void client_ping(client_t *cl, const char *to);
static void client_say(const char *word, const char *one, const char *two);
static const char *client_env(const char *name);


int
main(void)
{
    long         flags;
    client_t     cl;
    xmpp_log_t   log;
    const char  *tls;

    memset(&cl, 0, sizeof(client_t));
    cl.status = 1;

    log.handler = client_on_log;
    log.userdata = &cl;

    xmpp_initialize();

    cl.ctx = xmpp_ctx_new(NULL, &log);
    cl.conn = xmpp_conn_new(cl.ctx);
    if (cl.conn == NULL) {
        return 2;
    }

    tls = getenv("XMPP_TLS");
    flags = (tls != NULL && strcmp(tls, "direct") == 0)
            ? XMPP_CONN_FLAG_LEGACY_SSL : XMPP_CONN_FLAG_MANDATORY_TLS;

    if (xmpp_conn_set_flags(cl.conn, flags) != XMPP_EOK) {
        return 2;
    }

    xmpp_conn_set_jid(cl.conn, client_env("XMPP_JID"));
    xmpp_conn_set_pass(cl.conn, client_env("XMPP_PASSWORD"));
    xmpp_conn_set_cafile(cl.conn, client_env("XMPP_CA"));

    if (client_connect(&cl) != XMPP_EOK) {
        client_say("FAIL", "connect", NULL);
        return 1;
    }

    xmpp_run(cl.ctx);

    xmpp_conn_release(cl.conn);
    xmpp_ctx_free(cl.ctx);
    xmpp_shutdown();

    return cl.status;
}


static int
client_connect(client_t *cl)
{
    return xmpp_connect_client(cl->conn, client_env("XMPP_HOST"),
                               (unsigned short) atoi(client_env("XMPP_PORT")),
                               client_on_connection, cl);
}


/* 0.12 tells of a resumption in its log alone */

static void
client_on_log(void *data, xmpp_log_level_t level, const char *area,
    const char *msg)
{
    client_t  *cl = data;

    if (strcmp(msg, "Session resumed successfully.") == 0) {
        cl->resumed = 1;

    } else if (strncmp(msg, "RECV: <failed ", 14) == 0) {
        client_say("NOTRESUMED", NULL, NULL);

    } else if (strncmp(msg, "SENT: <r ", 9) == 0) {
        cl->asked++;

    } else if (strncmp(msg, "RECV: <a ", 9) == 0) {
        cl->asked--;
        client_settled(cl);
    }

    if (level >= XMPP_LEVEL_ERROR || getenv("XMPP_CATLOG") != NULL) {
        fprintf(stderr, "%s: %s\n", area, msg);
    }
}


/* once each <r/> is answered */

static void
client_settled(client_t *cl)
{
    if (cl->settling && cl->asked == 0) {
        cl->settling = 0;
        client_say("SETTLED", NULL, NULL);
    }
}


static int
client_on_time(xmpp_ctx_t *ctx, void *data)
{
    if (client_connect(data) != XMPP_EOK) {
        client_say("FAIL", "connect", NULL);
        xmpp_stop(ctx);
    }

    return 0;
}


static void
client_on_connection(xmpp_conn_t *conn, xmpp_conn_event_t event, int error,
    xmpp_stream_error_t *stream_error, void *data)
{
    client_t  *cl = data;

    if (event == XMPP_CONN_CONNECT) {

        if (!xmpp_conn_is_secured(conn)) {
            client_say("FAIL", "no TLS", NULL);
            xmpp_stop(cl->ctx);
            return;
        }

        if (cl->resumed) {
            cl->resumed = 0;
            client_say("RESUMED", NULL, NULL);
            return;
        }

        xmpp_handler_add(conn, client_on_message, NULL, "message", NULL, cl);
        xmpp_handler_add(conn, client_on_presence, NULL, "presence", NULL, cl);
        xmpp_handler_add(conn, client_on_iq, NULL, "iq", "get", cl);

        if (getenv("XMPP_RESUME") != NULL) {
            xmpp_handler_add(conn, client_on_enabled, "urn:xmpp:sm:3",
                             "enabled", NULL, cl);
        } else {
            (void) client_on_enabled(conn, NULL, cl);
        }

        if (!cl->ready) {
            cl->ready = 1;
            xmpp_timed_handler_add(conn, client_on_input, INPUT_PERIOD, cl);
        }

        return;
    }

    if (cl->quitting && error == 0 && stream_error == NULL) {
        cl->status = 0;
        client_say("BYE", NULL, NULL);

    } else if (cl->ready && getenv("XMPP_RESUME") != NULL) {
        cl->asked = 0;
        client_say("GONE", NULL, NULL);
        xmpp_global_timed_handler_add(cl->ctx, client_on_time, 1, cl);
        return;

    } else {
        client_say("FAIL", "disconnected",
                   stream_error != NULL && stream_error->text != NULL
                   ? stream_error->text : strerror(error));
    }

    xmpp_stop(cl->ctx);
}


/*
 * 0.12 does not count what it sends between <enable/> and <enabled/>, where
 * XEP-0198, 4, does
 */

static int
client_on_enabled(xmpp_conn_t *conn, xmpp_stanza_t *stanza, void *data)
{
    client_t       *cl = data;
    xmpp_stanza_t  *presence;

    (void) stanza;

    presence = xmpp_presence_new(cl->ctx);
    xmpp_send(conn, presence);
    xmpp_stanza_release(presence);

    return 0;
}


static int
client_on_message(xmpp_conn_t *conn, xmpp_stanza_t *stanza, void *data)
{
    char        *body;
    client_t    *cl = data;
    const char  *type;

    (void) conn;

    type = xmpp_stanza_get_type(stanza);
    if (type != NULL && strcmp(type, "error") == 0) {
        return 1;
    }

    body = xmpp_message_get_body(stanza);
    if (body != NULL) {
        client_say("MESSAGE", xmpp_stanza_get_from(stanza), body);
        xmpp_free(cl->ctx, body);
    }

    return 1;
}


/*
 * The server has taken our presence when it comes back (RFC 6121, 4.2.2).
 * Before, a message to the bare JID may rightly miss us.
 */

static int
client_on_presence(xmpp_conn_t *conn, xmpp_stanza_t *stanza, void *data)
{
    const char  *from, *jid;

    (void) data;

    from = xmpp_stanza_get_from(stanza);
    jid = xmpp_conn_get_bound_jid(conn);

    if (from == NULL || strcmp(from, jid) != 0) {
        return 1;
    }

    client_say("READY", jid, "TLS");

    return 0;
}


/* RFC 6120, 8.2.3: each get is answered; a ping with a result */

static int
client_on_iq(xmpp_conn_t *conn, xmpp_stanza_t *stanza, void *data)
{
    xmpp_stanza_t  *reply;

    (void) data;

    if (xmpp_stanza_get_child_by_ns(stanza, "urn:xmpp:ping") != NULL) {
        reply = xmpp_stanza_reply(stanza);
        xmpp_stanza_set_type(reply, "result");

    } else {
        reply = xmpp_stanza_reply_error(stanza, "cancel",
                                        "service-unavailable", NULL);
    }

    xmpp_send(conn, reply);
    xmpp_stanza_release(reply);

    return 1;
}


static int
client_on_pong(xmpp_conn_t *conn, xmpp_stanza_t *stanza, void *data)
{
    const char  *type;

    (void) conn;
    (void) data;

    type = xmpp_stanza_get_type(stanza);

    if (type == NULL || strcmp(type, "get") == 0) {
        return 1;                           /* a ping of ours to ourselves */
    }

    client_say(strcmp(type, "result") == 0 ? "PONG" : "NOPONG",
               xmpp_stanza_get_from(stanza), NULL);

    return 0;
}


static int
client_on_input(xmpp_conn_t *conn, void *data)
{
    char           *end;
    client_t       *cl = data;
    ssize_t         n;
    struct pollfd   pfd;

    if (cl->quitting) {
        return 0;
    }

    pfd.fd = STDIN_FILENO;
    pfd.events = POLLIN;

    while (poll(&pfd, 1, 0) > 0) {

        n = read(STDIN_FILENO, cl->line + cl->len, LINE_MAX_SIZE - cl->len);

        if (n <= 0) {
            cl->quitting = 1;
            break;
        }

        cl->len += n;

        while ((end = memchr(cl->line, '\n', cl->len)) != NULL) {
            *end++ = '\0';
            client_command(cl, cl->line);
            cl->len -= end - cl->line;
            memmove(cl->line, end, cl->len);
        }

        if (cl->len == LINE_MAX_SIZE) {
            cl->quitting = 1;
        }

        if (cl->quitting) {
            break;
        }
    }

    if (cl->quitting) {
        xmpp_disconnect(conn);
        return 0;
    }

    return 1;
}


static void
client_command(client_t *cl, char *line)
{
    char  *to, *body;

    if (strcmp(line, "QUIT") == 0) {
        cl->quitting = 1;
        return;
    }

    if (strcmp(line, "SETTLE") == 0) {
        cl->settling = 1;
        client_settled(cl);
        return;
    }

    to = strchr(line, ' ');
    if (to == NULL) {
        return;
    }

    *to++ = '\0';

    if (strcmp(line, "PING") == 0) {
        client_ping(cl, to);
        return;
    }

    body = strchr(to, ' ');

    if (body != NULL && strcmp(line, "SEND") == 0) {
        *body++ = '\0';
        client_send(cl, to, body);
    }
}


static void
client_send(client_t *cl, const char *to, const char *body)
{
    char           *id;
    xmpp_stanza_t  *msg;

    id = xmpp_uuid_gen(cl->ctx);
    msg = xmpp_message_new(cl->ctx, "chat", to, id);
    xmpp_free(cl->ctx, id);

    xmpp_message_set_body(msg, body);
    xmpp_send(cl->conn, msg);
    xmpp_stanza_release(msg);
}


static void
client_ping(client_t *cl, const char *to)
{
    char           *id;
    xmpp_stanza_t  *iq, *ping;

    id = xmpp_uuid_gen(cl->ctx);
    iq = xmpp_iq_new(cl->ctx, "get", id);
    xmpp_stanza_set_to(iq, to);

    ping = xmpp_stanza_new(cl->ctx);
    xmpp_stanza_set_name(ping, "ping");
    xmpp_stanza_set_ns(ping, "urn:xmpp:ping");
    xmpp_stanza_add_child(iq, ping);
    xmpp_stanza_release(ping);

    xmpp_id_handler_add(cl->conn, client_on_pong, id, cl);
    xmpp_send(cl->conn, iq);

    xmpp_stanza_release(iq);
    xmpp_free(cl->ctx, id);
}


static void
client_say(const char *word, const char *one, const char *two)
{
    printf("%s%s%s%s%s\n", word, one != NULL ? " " : "",
           one != NULL ? one : "", two != NULL ? " " : "",
           two != NULL ? two : "");
    fflush(stdout);
}


static const char *
client_env(const char *name)
{
    const char  *value;

    value = getenv(name);

    if (value == NULL) {
        fprintf(stderr, "%s is not set\n", name);
        exit(2);
    }

    return value;
}
