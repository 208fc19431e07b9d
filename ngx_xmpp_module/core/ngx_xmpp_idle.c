/*
 * Idle sessions: a client that was not heard of for xmpp_idle_timeout is
 * asked, by a ping of the host (XEP-0199, 4.1), and closed when nothing at
 * all comes within xmpp_probe_timeout (RFC 6120, 4.6.4).
 *
 *     heard --xmpp_idle_timeout--> asked --xmpp_probe_timeout--> closed
 *       ^                            |
 *       '------ any byte ------------'
 *
 * The transport keeps a time stamp at each read and one timer for each
 * stream, which it does not touch then: when the timer fires the stamp is
 * looked at, and the timer set anew for what is left.  The answer needs no
 * handling: a result or an error with an id that nobody knows is dropped.  A
 * client with stream management is asked by <r/> (XEP-0198, 4), and one on
 * WebSocket by a Ping frame (RFC 7395, 3.8).
 */


#include "ngx_xmpp.h"


static ngx_int_t ngx_xmpp_idle_ping(ngx_xmpp_stream_t *st);


/*
 * To be called with a bound stream, first when it has become bound, then when
 * the time is over that it returns, in milliseconds.  0: not any more, there
 * is no limit or the stream is closing.
 */

ngx_msec_t
ngx_xmpp_idle_check(ngx_xmpp_stream_t *st)
{
    ngx_int_t       rc;
    ngx_msec_int_t  left;

    if (st->conf->idle_timeout == 0) {
        return 0;
    }

    if (st->parked) {

        /* what it has sent was not read yet: the fault is not the client's */

        st->heard = ngx_current_msec;
    }

    if (st->probed) {
        st->probed = 0;

        if ((ngx_msec_int_t) (st->heard - st->deadline) < 0) {

            ngx_log_error(NGX_LOG_INFO, st->connection->log,
                          NGX_ETIMEDOUT, "client did not answer a ping");

            st->transport->close(st, NGX_XMPP_SE_CONNECTION_TIMEOUT,
                                 "no answer to a ping");
            return 0;
        }
    }

    left = (ngx_msec_int_t) (st->heard + st->conf->idle_timeout
                             - ngx_current_msec);
    if (left > 0) {
        return left;
    }

    if (st->session->sm) {
        rc = ngx_xmpp_ack_probe(st->session);

    } else if (st->transport->ping) {
        rc = st->transport->ping(st);

    } else {
        rc = ngx_xmpp_idle_ping(st);
    }

    if (rc != NGX_OK) {
        return 0;
    }

    st->probed = 1;
    st->deadline = ngx_current_msec;

    return st->conf->probe_timeout;
}


static ngx_int_t
ngx_xmpp_idle_ping(ngx_xmpp_stream_t *st)
{
    u_char             *p, id[16];
    ngx_int_t           rc;
    ngx_str_t          *host, *to;
    ngx_xmpp_packet_t  *pkt;

    static ngx_str_t  head = ngx_string("<iq xmlns='jabber:client' "
                                        "type='get' id='");
    static ngx_str_t  tail = ngx_string("'><ping xmlns='urn:xmpp:ping'/>"
                                        "</iq>");

    if (ngx_xmpp_id_random(id, sizeof(id) / 2) != NGX_OK) {
        goto failed;
    }

    host = &st->host->name;
    to = &st->session->jid.full;

    pkt = ngx_xmpp_packet_alloc(st->worker->log,
                                head.len + sizeof(id)
                                + sizeof("' from='' to='") - 1
                                + ngx_xmpp_xml_escape_size(host)
                                + ngx_xmpp_xml_escape_size(to) + tail.len);
    if (pkt == NULL) {
        goto failed;
    }

    p = ngx_cpymem(pkt->data, head.data, head.len);
    p = ngx_cpymem(p, id, sizeof(id));
    p = ngx_cpymem(p, "' from='", sizeof("' from='") - 1);
    p = ngx_xmpp_xml_escape(p, host);
    p = ngx_cpymem(p, "' to='", sizeof("' to='") - 1);
    p = ngx_xmpp_xml_escape(p, to);
    p = ngx_cpymem(p, tail.data, tail.len);
    pkt->len = p - pkt->data;

    rc = st->transport->send(st, pkt);

    ngx_xmpp_packet_release(pkt);

    return rc;

failed:

    st->transport->close(st, NGX_XMPP_SE_INTERNAL_SERVER_ERROR, NULL);

    return NGX_ERROR;
}
