/*
 * Ad-hoc commands (XEP-0050): the table of a host, who may use it, sessions
 * and answers.  The protocol itself is xep/ngx_xmpp_commands_module.c, disco
 * shows the table, and features fill it.
 *
 * A command here is one form and its submission, so nothing has to be kept
 * between the two: a session is an identifier that certifies itself,
 *
 *     TIME "-" RANDOM "-" HMAC-SHA-256(secret, TIME RANDOM NODE HOST SENDER)
 *
 * with the secret of the whole cluster.  Any worker takes it, also after a
 * reload; nobody but the full JID that was given it can use it (3.3), for this
 * command of this host and for a quarter of an hour.  That it was completed is
 * not known: to submit a form twice is to do it twice, as by two sessions, and
 * what commands do may be repeated.
 */


#include "ngx_xmpp.h"
#include <openssl/crypto.h>
#include <openssl/hmac.h>


#define NGX_XMPP_COMMAND_LIFETIME     900     /* seconds */
#define NGX_XMPP_COMMAND_TIME         8       /* hexadecimal digits */
#define NGX_XMPP_COMMAND_RANDOM       16
#define NGX_XMPP_COMMAND_MAC          16      /* bytes, of the HMAC */

/* "TIME-RANDOM-" and all of it */
#define NGX_XMPP_COMMAND_HEAD                                                 \
    (NGX_XMPP_COMMAND_TIME + 1 + NGX_XMPP_COMMAND_RANDOM + 1)
#define NGX_XMPP_COMMAND_SESSION                                              \
    (NGX_XMPP_COMMAND_HEAD + 2 * NGX_XMPP_COMMAND_MAC)


static ngx_int_t ngx_xmpp_command_mac(ngx_xmpp_stanza_t *stz, ngx_str_t *node,
    u_char *session);


ngx_str_t  ngx_xmpp_command_ns = ngx_string(NGX_XMPP_COMMAND_NS);


ngx_int_t
ngx_xmpp_command_add(ngx_xmpp_host_t *h, ngx_xmpp_command_t *table)
{
    ngx_str_t           *var;
    ngx_xmpp_command_t  *cmd;

    if (h->commands.elts == NULL) {
        return NGX_OK;
    }

    if (h->commands.nelts == 0) {

        /* XEP-0050, 2.1 */

        var = ngx_array_push(&h->features);
        if (var == NULL) {
            return NGX_ERROR;
        }

        *var = ngx_xmpp_command_ns;
    }

    for ( /* void */ ; table->node.len; table++) {

        cmd = ngx_array_push(&h->commands);
        if (cmd == NULL) {
            return NGX_ERROR;
        }

        *cmd = *table;
    }

    return NGX_OK;
}


ngx_xmpp_command_t *
ngx_xmpp_command_find(ngx_xmpp_host_t *h, ngx_str_t *node)
{
    ngx_uint_t           i;
    ngx_xmpp_command_t  *cmd;

    cmd = h->commands.elts;

    for (i = 0; i < h->commands.nelts; i++) {
        if (ngx_xmpp_str_eq(&cmd[i].node, node)) {
            return &cmd[i];
        }
    }

    return NULL;
}


ngx_uint_t
ngx_xmpp_command_allowed(ngx_xmpp_stanza_t *stz, ngx_xmpp_command_t *cmd)
{
    ngx_xmpp_session_t  *xs;

    xs = stz->session;

    /* an anonymous session may have any name but is nobody's */

    return !(cmd->flags & NGX_XMPP_COMMAND_ADMIN)
           || (xs->lifetime == 0 && ngx_xmpp_admin(stz->host, &xs->jid.bare));
}


ngx_int_t
ngx_xmpp_command_session_create(ngx_xmpp_stanza_t *stz, ngx_str_t *node,
    ngx_str_t *sessionid)
{
    u_char  *p;

    p = ngx_pnalloc(stz->pool, NGX_XMPP_COMMAND_SESSION);
    if (p == NULL) {
        return NGX_ERROR;
    }

    sessionid->data = p;
    sessionid->len = NGX_XMPP_COMMAND_SESSION;

    p = ngx_sprintf(p, "%08xD-", (uint32_t) ngx_time());

    if (ngx_xmpp_id_random(p, NGX_XMPP_COMMAND_RANDOM / 2) != NGX_OK) {
        return NGX_ERROR;
    }

    p[NGX_XMPP_COMMAND_RANDOM] = '-';

    return ngx_xmpp_command_mac(stz, node, sessionid->data);
}


ngx_int_t
ngx_xmpp_command_session_check(ngx_xmpp_stanza_t *stz, ngx_str_t *node,
    ngx_str_t *sessionid)
{
    u_char     buf[NGX_XMPP_COMMAND_SESSION];
    ngx_int_t  rc;
    uint32_t   age;

    if (sessionid->len != NGX_XMPP_COMMAND_SESSION) {
        return NGX_XMPP_E_BAD_SESSIONID;
    }

    ngx_memcpy(buf, sessionid->data, NGX_XMPP_COMMAND_HEAD);

    rc = ngx_xmpp_command_mac(stz, node, buf);

    if (rc != NGX_OK) {
        return rc;
    }

    if (CRYPTO_memcmp(buf, sessionid->data, NGX_XMPP_COMMAND_SESSION) != 0) {
        return NGX_XMPP_E_BAD_SESSIONID;
    }

    /* hosts' clocks may differ a little */

    age = (uint32_t) ngx_time()
          - (uint32_t) ngx_hextoi(buf, NGX_XMPP_COMMAND_TIME);

    if (age > NGX_XMPP_COMMAND_LIFETIME
        && (uint32_t) -age > NGX_XMPP_COMMAND_LIFETIME)
    {
        return NGX_XMPP_E_SESSION_EXPIRED;
    }

    return NGX_OK;
}


/* writes it behind the head, which is there; returns as check does */

static ngx_int_t
ngx_xmpp_command_mac(ngx_xmpp_stanza_t *stz, ngx_str_t *node, u_char *session)
{
    u_char     *p, *text, mac[EVP_MAX_MD_SIZE];
    size_t      len;
    ngx_str_t  *secret, *from;

    secret = ngx_xmpp_store_secret(stz->session->worker->store);

    if (secret->len == 0) {
        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    from = &stz->session->jid.full;

    len = sizeof("command ") - 1 + NGX_XMPP_COMMAND_HEAD + node->len + 1
          + stz->host->name.len + 1 + from->len;

    text = ngx_pnalloc(stz->pool, len);
    if (text == NULL) {
        return NGX_ERROR;
    }

    /* no JID has a line feed, and the node is one of ours */

    p = ngx_cpymem(text, "command ", sizeof("command ") - 1);
    p = ngx_cpymem(p, session, NGX_XMPP_COMMAND_HEAD);
    p = ngx_cpymem(p, node->data, node->len);
    *p++ = LF;
    p = ngx_cpymem(p, stz->host->name.data, stz->host->name.len);
    *p++ = LF;
    ngx_memcpy(p, from->data, from->len);

    if (HMAC(EVP_sha256(), secret->data, (int) secret->len, text, len, mac,
             NULL)
        == NULL)
    {
        return NGX_ERROR;
    }

    (void) ngx_hex_dump(session + NGX_XMPP_COMMAND_HEAD, mac,
                        NGX_XMPP_COMMAND_MAC);

    return NGX_OK;
}


ngx_xmpp_xml_t *
ngx_xmpp_command_element(ngx_xmpp_stanza_t *stz, const char *status)
{
    ngx_str_t       *node, *id, made, value;
    ngx_xmpp_xml_t  *e, *request;

    static ngx_str_t  name = ngx_string("command");
    static ngx_str_t  lang = ngx_string("en");

    request = ngx_xmpp_stanza_payload(stz);

    node = ngx_xmpp_xml_attr(request, "node");
    id = ngx_xmpp_xml_attr(request, "sessionid");

    if (id == NULL) {
        if (ngx_xmpp_command_session_create(stz, node, &made) != NGX_OK) {
            return NULL;
        }

        id = &made;
    }

    value.data = (u_char *) status;
    value.len = ngx_strlen(status);

    e = ngx_xmpp_xml_create(stz->pool, &name, &ngx_xmpp_command_ns);

    if (e == NULL
        || ngx_xmpp_xml_set(stz->pool, e, "node", node) != NGX_OK
        || ngx_xmpp_xml_set(stz->pool, e, "sessionid", id) != NGX_OK
        || ngx_xmpp_xml_set(stz->pool, e, "status", &value) != NGX_OK
        || ngx_xmpp_xml_set_ns(stz->pool, e, &ngx_xmpp_ns_xml, "lang", &lang)
           != NGX_OK)
    {
        return NULL;
    }

    return e;
}


ngx_int_t
ngx_xmpp_command_done(ngx_xmpp_stanza_t *stz, ngx_xmpp_form_t *result,
    const char *type, ngx_str_t *note)
{
    ngx_str_t        value;
    ngx_xmpp_xml_t  *e, *n, *x;

    static ngx_str_t  name = ngx_string("note");

    e = ngx_xmpp_command_element(stz, "completed");
    if (e == NULL) {
        return NGX_ERROR;
    }

    if (note) {
        value.data = (u_char *) type;
        value.len = ngx_strlen(type);

        n = ngx_xmpp_xml_add(stz->pool, e, &name, NULL);

        if (n == NULL
            || ngx_xmpp_xml_set(stz->pool, n, "type", &value) != NGX_OK
            || ngx_xmpp_xml_add_text(stz->pool, n, note) == NULL)
        {
            return NGX_ERROR;
        }
    }

    if (result) {
        x = ngx_xmpp_form_result(stz->pool, result);
        if (x == NULL) {
            return NGX_ERROR;
        }

        ngx_xmpp_xml_append(e, x);
    }

    return ngx_xmpp_reply(stz, e);
}
