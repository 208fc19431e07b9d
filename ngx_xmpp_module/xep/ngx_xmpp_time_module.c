/*
 * Entity time (XEP-0202): the server's clock, in UTC and with its offset from
 * the local time zone (section 3), for the host.  It is the time that nginx has
 * cached for this turn of the event loop: no system call.  That of a client is
 * asked of its full JID, and routed.
 *
 * There is no state.
 */


#include "ngx_xmpp.h"


static ngx_int_t ngx_xmpp_time_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_xmpp_time_get(ngx_xmpp_stanza_t *stz);


static ngx_str_t  ngx_xmpp_time_name = ngx_string("time");
static ngx_str_t  ngx_xmpp_time_ns = ngx_string("urn:xmpp:time");
static ngx_str_t  ngx_xmpp_time_tzo = ngx_string("tzo");
static ngx_str_t  ngx_xmpp_time_utc = ngx_string("utc");


static ngx_xmpp_xep_t  ngx_xmpp_time_xeps[] = {
    { 202, "2.0", "complete" },
    ngx_xmpp_null_xep
};


static ngx_str_t  ngx_xmpp_time_features[] = {
    ngx_string("urn:xmpp:time"),
    ngx_null_string
};


static ngx_xmpp_iq_t  ngx_xmpp_time_iqs[] = {

    { NGX_XMPP_IQ_GET|NGX_XMPP_TO_HOST,
      ngx_string("urn:xmpp:time"), ngx_string("time"),
      ngx_xmpp_time_get },

      ngx_xmpp_null_iq
};


static ngx_command_t  ngx_xmpp_time_commands[] = {

    { ngx_string("xmpp_time"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_feature_conf_t, enable),
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_time_module_ctx = {
    ngx_xmpp_time_preconfiguration,      /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_feature_create_conf,          /* create server configuration */
    ngx_xmpp_feature_merge_on              /* merge server configuration */
};


ngx_module_t  ngx_xmpp_time_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_time_module_ctx,           /* module context */
    ngx_xmpp_time_commands,              /* module directives */
    NGX_STREAM_MODULE,                     /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_xmpp_feature_t  ngx_xmpp_time_feature = {
    &ngx_xmpp_time_module,
    ngx_xmpp_time_xeps,
    ngx_xmpp_time_features,
    NULL,                                  /* nonzas */
    NULL,                                  /* stream features */
    ngx_xmpp_time_iqs,
    NULL,                                  /* hooks */
    NULL,                                  /* events */
    NULL,                                  /* identities */
    NULL,                                  /* prepare */
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_time_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_time_feature);
}


static ngx_int_t
ngx_xmpp_time_get(ngx_xmpp_stanza_t *stz)
{
    u_char           utc[sizeof("2026-11-22T14:37:24Z")];
    u_char           tzo[sizeof("+00:00")];
    ngx_str_t        value;
    ngx_time_t      *tp;
    ngx_xmpp_xml_t  *time, *e;

    time = ngx_xmpp_xml_create(stz->pool, &ngx_xmpp_time_name,
                               &ngx_xmpp_time_ns);
    if (time == NULL) {
        return NGX_ERROR;
    }

    tp = ngx_timeofday();

    value.data = tzo;
    value.len = ngx_sprintf(tzo, "%c%02i:%02i", tp->gmtoff < 0 ? '-' : '+',
                            ngx_abs(tp->gmtoff / 60),
                            ngx_abs(tp->gmtoff % 60)) - tzo;

    e = ngx_xmpp_xml_add(stz->pool, time, &ngx_xmpp_time_tzo, NULL);

    if (e == NULL || ngx_xmpp_xml_add_text(stz->pool, e, &value) == NULL) {
        return NGX_ERROR;
    }

    value.data = utc;
    value.len = ngx_xmpp_datetime(utc, tp->sec) - utc;

    e = ngx_xmpp_xml_add(stz->pool, time, &ngx_xmpp_time_utc, NULL);

    if (e == NULL || ngx_xmpp_xml_add_text(stz->pool, e, &value) == NULL) {
        return NGX_ERROR;
    }

    return ngx_xmpp_reply(stz, time);
}
