/*
 * Log lines of a connection say whom they are about: nginx appends the
 * client and the server, this appends what is known of the JID by then.  What
 * the stream was doing is nginx's " while ...": it follows the state.
 *
 *     a host was named      ", xmpp host: example.org"
 *     authenticated         ", jid: alice@example.org"
 *     a resource is bound   ", jid: alice@example.org/phone"
 *
 * Only prepared addresses are printed (RFC 7622): they hold no control
 * characters, so a client cannot forge lines.  Nothing is allocated.
 */


#include "ngx_xmpp.h"


/*
 * All that changes the state of a stream (NGX_XMPP_ST_*) does it by this;
 * st->error is set before it closes.
 */

void
ngx_xmpp_log_state(ngx_xmpp_stream_t *st, ngx_uint_t state)
{
    char              *action;
    uint64_t          *sessions;
    ngx_xmpp_stats_t  *stats;

    stats = st->worker->stats;
    sessions = &stats->gauges.sessions[st->transport->kind];

    *sessions -= (st->state == NGX_XMPP_ST_BOUND);
    *sessions += (state == NGX_XMPP_ST_BOUND);

    if (state == NGX_XMPP_ST_CLOSED) {
        stats->counters.closed[st->error]++;
    }

    switch (state) {

    case NGX_XMPP_ST_HEADER:
        action = "reading an XMPP stream header";
        break;

    case NGX_XMPP_ST_PLAIN:
        action = "negotiating an XMPP stream";
        break;

    case NGX_XMPP_ST_SECURE:
        action = "authenticating an XMPP client";
        break;

    case NGX_XMPP_ST_AUTH:
        action = "binding an XMPP resource";
        break;

    case NGX_XMPP_ST_BOUND:
        action = "serving an XMPP session";
        break;

    default: /* NGX_XMPP_ST_CLOSED */
        action = "closing an XMPP stream";
    }

    st->state = state;
    st->connection->log->action = action;
}


/* for what the transport has nginx call; writes to buf, returns the end */

u_char *
ngx_xmpp_log_stream(ngx_xmpp_stream_t *st, u_char *buf, size_t len)
{
    u_char  *p;

    p = buf;

    if (st->session) {
        p = ngx_snprintf(buf, len, ", jid: %V", &st->session->jid.full);

    } else if (st->jid.len) {
        p = ngx_snprintf(buf, len, ", jid: %V", &st->jid);

    } else if (st->user.len) {
        p = ngx_snprintf(buf, len, ", jid: %V@%V", &st->user,
                         &st->host->name);

    } else if (st->host) {
        p = ngx_snprintf(buf, len, ", xmpp host: %V", &st->host->name);
    }

    return p;
}
