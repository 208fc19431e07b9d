/*
 * What only a server says, and a client has put into its stanza: taken out
 * before anything looks at it, all copies of it.
 *
 *     carbons (XEP-0280, 7; CVE-2017-5589)     <sent/>, <received/>
 *     delays (XEP-0203, 6)                     those said to be a host's here,
 *                                              or the recipient's account's
 *     ids (XEP-0359, 3)                        <stanza-id/> said to be of the
 *                                              sender's or the recipient's
 *                                              account
 *
 * Clients have to check who a carbon is from, and some did not.  A delay of
 * somebody else is the recipient's to believe: one without "from" says that the
 * sender has waited, which a client may say (XEP-0203, 2: "from" is only
 * recommended).
 */


#include "ngx_xmpp.h"


static ngx_uint_t ngx_xmpp_forged_delay(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_xml_t *e);
static ngx_uint_t ngx_xmpp_forged_id(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_xml_t *e);


static ngx_str_t  ngx_xmpp_forged_carbons = ngx_string("urn:xmpp:carbons:2");
static ngx_str_t  ngx_xmpp_forged_delays = ngx_string("urn:xmpp:delay");
static ngx_str_t  ngx_xmpp_forged_ids = ngx_string("urn:xmpp:sid:0");


/* a message or presence of a client, not serialized yet */

void
ngx_xmpp_forged_strip(ngx_xmpp_stanza_t *stz)
{
    ngx_xmpp_xml_t  *e, *next;

    for (e = ngx_xmpp_xml_child(stz->xml, NULL, NULL); e; e = next) {
        next = ngx_xmpp_xml_next(e);

        if (ngx_xmpp_xml_is(e, "sent", &ngx_xmpp_forged_carbons)
            || ngx_xmpp_xml_is(e, "received", &ngx_xmpp_forged_carbons)
            || (ngx_xmpp_xml_is(e, "delay", &ngx_xmpp_forged_delays)
                && ngx_xmpp_forged_delay(stz, e))
            || (ngx_xmpp_xml_is(e, "stanza-id", &ngx_xmpp_forged_ids)
                && ngx_xmpp_forged_id(stz, e)))
        {
            ngx_xmpp_xml_remove(e);
        }
    }
}


/*
 * Whether it says that it is of a host here, or of the account that it goes to,
 * if that is not the sender's own: servers name themselves in either way.
 */

static ngx_uint_t
ngx_xmpp_forged_delay(ngx_xmpp_stanza_t *stz, ngx_xmpp_xml_t *e)
{
    ngx_str_t             *from;
    ngx_xmpp_jid_t         jid;
    ngx_xmpp_main_conf_t  *xmcf;

    from = ngx_xmpp_xml_attr(e, "from");

    if (from == NULL
        || ngx_xmpp_jid_parse(stz->pool, from, &jid) != NGX_OK)
    {
        return 0;
    }

    if (jid.local.len) {
        return ngx_xmpp_str_eq(&jid.bare, &stz->to.bare)
               && !ngx_xmpp_str_eq(&jid.bare, &stz->session->jid.bare);
    }

    xmcf = ngx_stream_cycle_get_module_main_conf(stz->session->worker->cycle,
                                                 ngx_xmpp_module);

    return ngx_xmpp_host_find(xmcf, &jid.domain) != NULL;
}


/*
 * XEP-0359, 3: whether it is by one who would add his own, even if he does not;
 * those of others stay.
 */

static ngx_uint_t
ngx_xmpp_forged_id(ngx_xmpp_stanza_t *stz, ngx_xmpp_xml_t *e)
{
    ngx_str_t       *by;
    ngx_xmpp_jid_t   jid;

    by = ngx_xmpp_xml_attr(e, "by");

    if (by == NULL || ngx_xmpp_jid_parse(stz->pool, by, &jid) != NGX_OK) {
        return 0;
    }

    return ngx_xmpp_str_eq(&jid.full, &stz->session->jid.bare)
           || ngx_xmpp_str_eq(&jid.full, &stz->to.bare);
}
