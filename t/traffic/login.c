
/*
 * Negotiation: STARTTLS, SASL, resource binding (RFC 6120, 5 to 7) and the
 * initial presence, which has reached the server's books when the server
 * sends it back (RFC 6121, 4.2.2).
 *
 *     connect [handshake] features [proceed handshake features]
 *     sasl features bind presence online
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "traffic.h"


#define TR_LOGIN_TEXT  1024


static void tr_login_alive(tr_run_t *run);
static void tr_login_features(tr_run_t *run, tr_client_t *cl, tr_str_t *el);
static void tr_login_auth(tr_run_t *run, tr_client_t *cl, tr_str_t *el);
static void tr_login_sasl(tr_run_t *run, tr_client_t *cl, tr_str_t *el);
static void tr_login_success(tr_run_t *run, tr_client_t *cl, tr_str_t *el);
static void tr_login_ask(tr_run_t *run, tr_client_t *cl);
static void tr_login_bind(tr_run_t *run, tr_client_t *cl, tr_str_t *el);
static void tr_login_initial(tr_run_t *run, tr_client_t *cl);
static void tr_login_resume(tr_run_t *run, tr_client_t *cl, tr_str_t *el);
static void tr_login_presence(tr_run_t *run, tr_client_t *cl, tr_str_t *el);
static void tr_login_refused(tr_run_t *run, tr_client_t *cl, tr_str_t *el);
static int tr_login_text(tr_str_t *el, tr_str_t *text);


static const char  *tr_login_mechanisms[] = {
    "SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", NULL
};


/* tr_login_connected() opens a stream: at first, and behind TLS and SASL */

void
tr_login_connected(tr_run_t *run, tr_client_t *cl)
{
    tr_conn_reset(cl);
    cl->state = tr_cl_features;
    tr_login_alive(run);

    if (cl->ws) {
        tr_ws_open(run, cl);
        return;
    }

    tr_conn_print(run, cl, "<?xml version='1.0'?><stream:stream to='%s' "
                  "version='1.0' xmlns='jabber:client' "
                  "xmlns:stream='http://etherx.jabber.org/streams'>",
                  cl->domain);
}


/* tr_login_end() closes the stream */

void
tr_login_end(tr_run_t *run, tr_client_t *cl)
{
    if (cl->ws) {
        tr_ws_close(run, cl);
        return;
    }

    tr_conn_send(run, cl, "</stream:stream>", 16);
}


void
tr_login_stanza(tr_run_t *run, tr_client_t *cl, tr_str_t *el)
{
    tr_login_alive(run);

    if (cl->sm && cl->sm->on && tr_sm_stanza(run, cl, el) == TR_OK) {
        return;
    }

    switch (cl->state) {

    case tr_cl_features:
        tr_login_features(run, cl, el);
        return;

    case tr_cl_proceed:
        if (!tr_scan_is(el, "proceed")) {
            tr_login_refused(run, cl, el);
            return;
        }

        tr_conn_reset(cl);
        (void) tr_tls_start(run, cl);
        return;

    case tr_cl_sasl:
        tr_login_sasl(run, cl, el);
        return;

    case tr_cl_bind:
        tr_login_bind(run, cl, el);
        return;

    case tr_cl_enable:

        /* what comes before does not count */

        if (!tr_scan_is(el, "enabled") && !tr_scan_is(el, "failed")) {
            tr_work_stanza(run, cl, el);
            return;
        }

        if (tr_sm_enabled(cl, el) != TR_OK) {
            tr_login_refused(run, cl, el);
            return;
        }

        tr_login_initial(run, cl);
        return;

    case tr_cl_resume:
        tr_login_resume(run, cl, el);
        return;

    case tr_cl_presence:
        tr_login_presence(run, cl, el);
        return;

    default:
        tr_login_refused(run, cl, el);
    }
}


/* those who try in vain do not end a storm: see tr_open_online() */

static void
tr_login_alive(tr_run_t *run)
{
    if (run->phase != tr_ph_storm) {
        run->alive = run->now;
    }
}


static void
tr_login_features(tr_run_t *run, tr_client_t *cl, tr_str_t *el)
{
    tr_str_t  rest;

    if (!tr_scan_is(el, "features")) {
        tr_login_refused(run, cl, el);
        return;
    }

    if (run->opt.tls == tr_tls_starttls && cl->ssl == NULL) {

        if (tr_scan_find(el, "urn:ietf:params:xml:ns:xmpp-tls", &rest)
            != TR_OK)
        {
            tr_login_refused(run, cl, el);
            return;
        }

        cl->state = tr_cl_proceed;
        tr_conn_print(run, cl,
                      "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        return;
    }

    if (!cl->authenticated) {
        tr_login_auth(run, cl, el);
        return;
    }

    if (run->opt.sm && tr_sm_resume(run, cl) == TR_OK) {
        return;
    }

    tr_login_ask(run, cl);
}


static void
tr_login_ask(tr_run_t *run, tr_client_t *cl)
{
    cl->state = tr_cl_bind;
    tr_conn_print(run, cl, "<iq type='set' id='bind'>"
                  "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
                  "<resource>%s</resource></bind></iq>",
                  run->opt.resource);
}


static void
tr_login_auth(tr_run_t *run, tr_client_t *cl, tr_str_t *el)
{
    int           rc;
    char          text[TR_LOGIN_TEXT], offered[64];
    tr_str_t      rest;
    const char  **mechanism;

    for (mechanism = tr_login_mechanisms; *mechanism; mechanism++) {

        if (run->opt.mechanism
            && strcmp(run->opt.mechanism, *mechanism) != 0)
        {
            continue;
        }

        snprintf(offered, sizeof(offered), ">%s<", *mechanism);

        if (tr_scan_find(el, offered, &rest) == TR_OK) {
            break;
        }
    }

    if (*mechanism == NULL) {
        tr_login_refused(run, cl, el);
        return;
    }

    if (strcmp(*mechanism, "PLAIN") == 0) {
        rc = tr_scram_plain(cl->user, cl->password, text, sizeof(text));

    } else {
        cl->scram = tr_alloc(sizeof(tr_scram_t));
        rc = tr_scram_first(cl->scram, *mechanism, cl->user, text,
                            sizeof(text));
    }

    if (rc != TR_OK) {
        tr_login_refused(run, cl, el);
        return;
    }

    cl->state = tr_cl_sasl;
    tr_conn_print(run, cl, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' "
                  "mechanism='%s'>%s</auth>", *mechanism, text);
}


static void
tr_login_sasl(tr_run_t *run, tr_client_t *cl, tr_str_t *el)
{
    char      text[TR_LOGIN_TEXT];
    tr_str_t  challenge;

    if (tr_scan_is(el, "success")) {
        tr_login_success(run, cl, el);
        return;
    }

    if (!tr_scan_is(el, "challenge") || cl->scram == NULL
        || tr_login_text(el, &challenge) != TR_OK
        || tr_scram_final(cl->scram, cl, &challenge, text, sizeof(text))
           != TR_OK)
    {
        tr_login_refused(run, cl, el);
        return;
    }

    tr_conn_print(run, cl,
                  "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
                  "%s</response>", text);
}


static void
tr_login_success(tr_run_t *run, tr_client_t *cl, tr_str_t *el)
{
    tr_str_t  text;

    if (cl->scram != NULL) {

        if (tr_login_text(el, &text) != TR_OK
            || tr_scram_verify(cl->scram, &text) != TR_OK)
        {
            tr_login_refused(run, cl, el);
            return;
        }

        free(cl->scram);
        cl->scram = NULL;
    }

    cl->authenticated = 1;
    tr_login_connected(run, cl);
}


static void
tr_login_bind(tr_run_t *run, tr_client_t *cl, tr_str_t *el)
{
    tr_str_t  type, jid;

    if (!tr_scan_is(el, "iq")
        || tr_scan_attr(el, "type", &type) != TR_OK
        || type.len != 6 || memcmp(type.data, "result", 6) != 0
        || tr_scan_child(el, "jid", &jid) != TR_OK)
    {
        tr_login_refused(run, cl, el);
        return;
    }

    free(cl->full);
    cl->full = tr_alloc(jid.len + 1);
    memcpy(cl->full, jid.data, jid.len);
    cl->full[jid.len] = '\0';
    cl->full_len = jid.len;
    cl->bare_len = strcspn(cl->full, "/");

    if (run->opt.sm) {
        tr_sm_begin(run, cl);
        return;
    }

    tr_login_initial(run, cl);
}


static void
tr_login_initial(tr_run_t *run, tr_client_t *cl)
{
    if (run->opt.nopresence) {
        tr_open_online(run, cl);
        return;
    }

    tr_work_presence(run, cl);

    /* what is lost with a connection of Redis is not waited for */

    if (run->opt.sm) {
        tr_open_online(run, cl);
        return;
    }

    cl->state = tr_cl_presence;
}


static void
tr_login_resume(tr_run_t *run, tr_client_t *cl, tr_str_t *el)
{
    switch (tr_sm_resumed(run, cl, el)) {

    case TR_OK:
        tr_open_online(run, cl);
        return;

    case TR_AGAIN:
        tr_login_ask(run, cl);
        return;

    default:
        tr_login_refused(run, cl, el);
    }
}


static void
tr_login_presence(tr_run_t *run, tr_client_t *cl, tr_str_t *el)
{
    tr_str_t  from, type;

    if (tr_scan_is(el, "presence")
        && tr_scan_attr(el, "from", &from) == TR_OK
        && from.len == cl->full_len
        && memcmp(from.data, cl->full, from.len) == 0
        && tr_scan_attr(el, "type", &type) != TR_OK)
    {
        tr_open_online(run, cl);
        return;
    }

    /* others see it online before it sees itself */

    tr_work_stanza(run, cl, el);
}


static void
tr_login_refused(tr_run_t *run, tr_client_t *cl, tr_str_t *el)
{
    if (!run->opt.reconnect) {
        fprintf(stderr, "refused: %.*s\n", (int) el->len, el->data);
    }

    tr_conn_close(run, cl, "login refused");
}


/* the text of the outermost element */

static int
tr_login_text(tr_str_t *el, tr_str_t *text)
{
    const char  *p, *end;

    end = el->data + el->len;
    p = memchr(el->data, '>', el->len);

    if (p == NULL || ++p == end) {
        return TR_ERROR;
    }

    text->data = p;
    p = memchr(p, '<', end - p);

    if (p == NULL) {
        return TR_ERROR;
    }

    text->len = p - text->data;

    return TR_OK;
}
