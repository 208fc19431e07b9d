/*
 * Channel binding in SASL (RFC 5802, 6; XEP-0440): which types are offered,
 * and the bytes of the one that a client has chosen.
 *
 * What a connection can be bound by is the transport's to say.  Where it can,
 * each SCRAM mechanism is offered in its -PLUS form, too, and a client that
 * claims not to have seen that is refused: somebody has changed the list
 * (ngx_xmpp_scram_first()).
 */


#include "ngx_xmpp_sasl.h"


static ngx_str_t  ngx_xmpp_sasl_binding_types[] = {
    ngx_string("tls-exporter"),
    ngx_string("tls-server-end-point"),
    ngx_string("tls-unique")
};


static ngx_str_t  ngx_xmpp_sasl_binding_name =
    ngx_string("sasl-channel-binding");
static ngx_str_t  ngx_xmpp_sasl_binding_ns = ngx_string("urn:xmpp:sasl-cb:0");
static ngx_str_t  ngx_xmpp_sasl_binding_child = ngx_string("channel-binding");


/* available() of the -PLUS mechanisms: 1 when there is anything to bind by */

ngx_uint_t
ngx_xmpp_sasl_binding_available(ngx_xmpp_stream_t *st,
    ngx_xmpp_sasl_mechanism_t *m)
{
    ngx_uint_t  i;

    if (!ngx_xmpp_sasl_bound(st->host)) {
        return 0;
    }

    for (i = 0; i < NGX_XMPP_BINDINGS; i++) {
        if (st->transport->binding(st, i, NULL)) {
            return 1;
        }
    }

    return 0;
}


/*
 * Writes the stream feature of XEP-0440, 2: the types that hold for this
 * connection.  Not without a -PLUS mechanism.  NGX_OK or NGX_ERROR.
 */

ngx_int_t
ngx_xmpp_sasl_binding_write(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_xml_t *features)
{
    ngx_uint_t       i;
    ngx_xmpp_xml_t  *e, *child;

    if (!ngx_xmpp_sasl_offers_plus(st)) {
        return NGX_OK;
    }

    e = ngx_xmpp_xml_add(pool, features, &ngx_xmpp_sasl_binding_name,
                         &ngx_xmpp_sasl_binding_ns);
    if (e == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_XMPP_BINDINGS; i++) {

        if (!st->transport->binding(st, i, NULL)) {
            continue;
        }

        child = ngx_xmpp_xml_add(pool, e, &ngx_xmpp_sasl_binding_child, NULL);

        if (child == NULL
            || ngx_xmpp_xml_set(pool, child, "type",
                                &ngx_xmpp_sasl_binding_types[i])
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * The bytes of the type of that name, from the exchange's pool.  NGX_OK;
 * NGX_DECLINED: this connection has no such binding; NGX_ERROR: no memory.
 */

ngx_int_t
ngx_xmpp_sasl_binding(ngx_xmpp_sasl_t *sasl, ngx_str_t *type, ngx_str_t *data)
{
    ngx_uint_t          i;
    ngx_xmpp_stream_t  *st;

    st = sasl->stream;

    data->data = ngx_pnalloc(sasl->pool, NGX_XMPP_BINDING_MAX);
    if (data->data == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_XMPP_BINDINGS; i++) {

        if (ngx_xmpp_str_eq(type, &ngx_xmpp_sasl_binding_types[i])) {
            data->len = st->transport->binding(st, i, data->data);

            return data->len ? NGX_OK : NGX_DECLINED;
        }
    }

    return NGX_DECLINED;
}
