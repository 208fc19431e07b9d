/*
 * ANONYMOUS (RFC 4505; XEP-0175): a client gets an address of its own for as
 * long as its sessions last, and no account.
 *
 *     <auth/> -> a localpart that nobody can guess, and nobody had before
 *     bind    -> records as of any account, which expire unless renewed
 *     end     -> the record goes, and with the last one all that there was
 *
 * What it leaves in Redis when its worker is killed ends by itself: the keys
 * have NGX_XMPP_SASL_ANONYMOUS_TIME to live, and the worker of each session
 * puts its record back, which begins that time anew, four times within it.
 * The timer is the session's and does not keep a worker that shuts down.
 *
 * The trace that a client may send is looked at for its form alone.
 */


#include "ngx_xmpp_sasl.h"
#include "ngx_xmpp_precis.h"


#define NGX_XMPP_SASL_ANONYMOUS_TIME  7200    /* seconds */
#define NGX_XMPP_SASL_ANONYMOUS_NAME  16      /* random octets */
#define NGX_XMPP_SASL_ANONYMOUS_TRACE 1020    /* RFC 4505, 2: 255 characters */


static void ngx_xmpp_sasl_anonymous_renew(ngx_event_t *ev);
static void ngx_xmpp_sasl_anonymous_cleanup(void *data);


ngx_int_t
ngx_xmpp_sasl_anonymous_step(ngx_xmpp_sasl_t *sasl, ngx_str_t *data)
{
    u_char  *p;

    if (data->len > NGX_XMPP_SASL_ANONYMOUS_TRACE
        || !ngx_xmpp_utf8_valid(data->data, data->len))
    {
        return NGX_XMPP_SASL_MALFORMED_REQUEST;
    }

    p = ngx_pnalloc(sasl->pool, 2 * NGX_XMPP_SASL_ANONYMOUS_NAME);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (ngx_xmpp_id_random(p, NGX_XMPP_SASL_ANONYMOUS_NAME) != NGX_OK) {
        return NGX_ERROR;
    }

    sasl->user.data = p;
    sasl->user.len = 2 * NGX_XMPP_SASL_ANONYMOUS_NAME;
    sasl->lifetime = NGX_XMPP_SASL_ANONYMOUS_TIME;

    return NGX_DONE;
}


/* no keys are asked for */

ngx_int_t
ngx_xmpp_sasl_anonymous_keys(ngx_xmpp_sasl_t *sasl, ngx_str_t *stored)
{
    return NGX_ERROR;
}


/* ACCESS: XEP-0175, 2: nothing goes to other servers */

ngx_int_t
ngx_xmpp_sasl_anonymous_access(ngx_xmpp_stanza_t *stz)
{
    return stz->session->lifetime ? NGX_XMPP_E_FORBIDDEN : NGX_DECLINED;
}


/* an event: the session was bound; from now on its record is renewed */

void
ngx_xmpp_sasl_anonymous_bound(ngx_xmpp_session_t *xs)
{
    ngx_event_t         *ev;
    ngx_pool_cleanup_t  *cln;

    if (xs->lifetime == 0) {
        return;
    }

    cln = ngx_pool_cleanup_add(xs->pool, sizeof(ngx_event_t));
    if (cln == NULL) {
        return;
    }

    ev = cln->data;
    ngx_memzero(ev, sizeof(ngx_event_t));

    ev->handler = ngx_xmpp_sasl_anonymous_renew;
    ev->data = xs;
    ev->log = xs->worker->log;
    ev->cancelable = 1;

    cln->handler = ngx_xmpp_sasl_anonymous_cleanup;

    ngx_add_timer(ev, xs->lifetime * 1000 / 4);
}


static void
ngx_xmpp_sasl_anonymous_renew(ngx_event_t *ev)
{
    ngx_xmpp_session_t  *xs;

    xs = ev->data;

    ngx_xmpp_session_reassert(xs);

    ngx_add_timer(ev, xs->lifetime * 1000 / 4);
}


static void
ngx_xmpp_sasl_anonymous_cleanup(void *data)
{
    ngx_event_t *ev = data;

    if (ev->timer_set) {
        ngx_del_timer(ev);
    }
}
