
/*
 * XMPP over WebSocket (RFC 7395), --websocket: between the buffers of a
 * connection and its stanzas.
 *
 *     handshake -> 101 -> <open/> ... <close/>
 *
 * What is to be sent is cut into elements when it is written, and each becomes
 * a frame, since no part of the generator sends less than an element at once.
 * What is read loses its frames where it lies.  The scanner is told that it is
 * inside of a stream already.
 */


#include <string.h>
#include <stdlib.h>

#include "traffic.h"


#define TR_WS_TEXT   0x1
#define TR_WS_CLOSE  0x8
#define TR_WS_PING   0x9
#define TR_WS_PONG   0xa

#define TR_WS_NS     " xmlns='jabber:client'"


static int tr_ws_answer(tr_run_t *run, tr_client_t *cl, const char *data,
    size_t len);
static size_t tr_ws_head(tr_ws_t *ws);
static int tr_ws_control(tr_run_t *run, tr_client_t *cl, const char *data,
    size_t len);
static size_t tr_ws_name(const char *data, size_t len);
static void tr_ws_append(tr_run_t *run, tr_client_t *cl, unsigned opcode,
    const char *data, size_t len, size_t name);


/* tr_ws_open() begins a stream: at first with the handshake of RFC 6455, 4.1 */

void
tr_ws_open(tr_run_t *run, tr_client_t *cl)
{
    if (cl->ws->open) {
        tr_conn_print(run, cl,
                      "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' "
                      "to='%s' version='1.0'/>", cl->domain);
        return;
    }

    tr_conn_print(run, cl, "GET /xmpp-websocket HTTP/1.1\r\n"
                  "Host: %s\r\n"
                  "Connection: Upgrade\r\n"
                  "Upgrade: websocket\r\n"
                  "Sec-WebSocket-Version: 13\r\n"
                  "Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n"
                  "Sec-WebSocket-Protocol: xmpp\r\n\r\n", cl->domain);
}


/* tr_ws_close() says that the stream ends */

void
tr_ws_close(tr_run_t *run, tr_client_t *cl)
{
    tr_conn_print(run, cl,
                  "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>");
}


/*
 * tr_ws_read() takes the frames from what has come, data[old .. *len); TR_AGAIN
 * when there is nothing to scan yet, TR_ERROR when it is none, or the end
 */

int
tr_ws_read(tr_run_t *run, tr_client_t *cl, char *data, size_t old, size_t *len)
{
    char     *p, *end, *to;
    size_t    n;
    tr_ws_t  *ws;

    ws = cl->ws;

    if (!ws->open) {
        return tr_ws_answer(run, cl, data, *len);
    }

    to = data + old;
    end = data + *len;

    for (p = to; p < end; /* void */ ) {

        if (ws->left == 0) {
            ws->head[ws->nhead++] = *p++;

            if (ws->nhead < 2 || ws->nhead < tr_ws_head(ws)) {
                continue;
            }

            ws->nhead = 0;
        }

        n = (ws->left < (size_t) (end - p)) ? ws->left : (size_t) (end - p);

        if (ws->head[0] & 0x8) {

            /* the few bytes of a control frame come at once */

            if (n < ws->left || tr_ws_control(run, cl, p, n) != TR_OK) {
                return TR_ERROR;
            }

        } else {
            memmove(to, p, n);
            to += n;
        }

        ws->left -= n;
        p += n;
    }

    *len = to - data;

    return TR_OK;
}


static int
tr_ws_answer(tr_run_t *run, tr_client_t *cl, const char *data, size_t len)
{
    if (len < 4 || memcmp(data + len - 4, "\r\n\r\n", 4) != 0) {
        return TR_AGAIN;
    }

    if (len < 12 || memcmp(data, "HTTP/1.1 101", 12) != 0) {
        return TR_ERROR;
    }

    cl->ws->open = 1;
    tr_login_connected(run, cl);

    return TR_AGAIN;
}


/* how long the head is; when it is complete, left is set, too */

static size_t
tr_ws_head(tr_ws_t *ws)
{
    size_t    i, n;
    unsigned  len;

    len = ws->head[1] & 0x7f;
    n = (len == 127) ? 8 : (len == 126) ? 2 : 0;

    if (ws->nhead == 2 + n) {
        ws->left = n ? 0 : len;

        for (i = 2; i < 2 + n; i++) {
            ws->left = ws->left << 8 | ws->head[i];
        }
    }

    return 2 + n;
}


static int
tr_ws_control(tr_run_t *run, tr_client_t *cl, const char *data, size_t len)
{
    unsigned  opcode;

    opcode = cl->ws->head[0] & 0xf;

    if (opcode == TR_WS_PING) {
        tr_ws_frames(run, cl);
        tr_ws_append(run, cl, TR_WS_PONG, data, len, 0);
        cl->ws->framed = cl->out.len;
    }

    return (opcode == TR_WS_CLOSE) ? TR_ERROR : TR_OK;
}


/* tr_ws_frames() puts what was said since the last time into frames */

void
tr_ws_frames(tr_run_t *run, tr_client_t *cl)
{
    char       *plain;
    size_t      len;
    tr_ws_t    *ws;
    tr_scan_t   sc;

    ws = cl->ws;
    len = cl->out.len - ws->framed;

    if (!ws->open || len == 0) {
        return;
    }

    plain = tr_alloc(len);
    memcpy(plain, cl->out.data + ws->framed, len);
    cl->out.len = ws->framed;

    memset(&sc, 0, sizeof(tr_scan_t));
    sc.depth = 1;

    while (tr_scan(&sc, plain, len) == tr_scan_stanza) {
        tr_ws_append(run, cl, TR_WS_TEXT, plain + sc.start, sc.pos - sc.start,
                     tr_ws_name(plain + sc.start, sc.pos - sc.start));
    }

    free(plain);
    ws->framed = cl->out.len;
}


/*
 * RFC 7395, 3.3.3: a stanza has its namespace, which the generator says once a
 * stream: where it goes, or 0
 */

static size_t
tr_ws_name(const char *data, size_t len)
{
    size_t        n;
    const char  **name;

    static const char  *names[] = { "<message", "<presence", "<iq", NULL };

    for (name = names; *name; name++) {
        n = strlen(*name);

        if (len > n && memcmp(data, *name, n) == 0) {
            return n;
        }
    }

    return 0;
}


/* a frame with a mask (RFC 6455, 5.2, 5.3); name: see tr_ws_name() */

static void
tr_ws_append(tr_run_t *run, tr_client_t *cl, unsigned opcode,
    const char *data, size_t len, size_t name)
{
    char      *p, *start;
    size_t     i, n;
    uint32_t   mask;

    n = len + (name ? sizeof(TR_WS_NS) - 1 : 0);
    mask = tr_random(run, UINT32_MAX);
    p = tr_conn_room(run, cl, n + 8);

    *p++ = (char) (0x80 | opcode);

    if (n < 126) {
        *p++ = (char) (0x80 | n);

    } else {
        *p++ = (char) (0x80 | 126);
        *p++ = (char) (n >> 8);
        *p++ = (char) n;
    }

    memcpy(p, &mask, 4);
    p += 4;
    start = p;

    if (name) {
        memcpy(p, data, name);
        memcpy(p + name, TR_WS_NS, sizeof(TR_WS_NS) - 1);
        p += name + sizeof(TR_WS_NS) - 1;
    }

    memcpy(p, data + name, len - name);

    for (i = 0; i < n; i++) {
        start[i] ^= ((char *) &mask)[i & 3];
    }

    cl->out.len = start + n - cl->out.data;
}
