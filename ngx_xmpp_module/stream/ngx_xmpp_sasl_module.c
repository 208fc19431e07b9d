/*
 * SASL (RFC 6120, 6): the feature, the directive, and the table of
 * mechanisms, in the order in which they are offered (6.3.3).
 *
 * A mechanism is a row here and a file of its own; the exchange that they
 * share is ngx_xmpp_sasl.c, the account behind a name ngx_xmpp_sasl_user.c.
 * What is offered depends on the host's configuration, on TLS, and on what a
 * row's own available() says of the stream.
 */


#include "ngx_xmpp_sasl.h"


typedef struct {
    ngx_flag_t                  enable;
    ngx_uint_t                  mechanisms;     /* bits */
    ngx_flag_t                  binding;        /* -PLUS is offered */
    ngx_uint_t                  iterations;     /* of who is not there */
    ngx_uint_t                  external;       /* names, bits */
} ngx_xmpp_sasl_conf_t;


static ngx_int_t ngx_xmpp_sasl_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_xmpp_sasl_prepare(ngx_conf_t *cf, ngx_xmpp_host_t *h);
static void *ngx_xmpp_sasl_create_conf(ngx_conf_t *cf);
static char *ngx_xmpp_sasl_merge_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_uint_t ngx_xmpp_sasl_offered(ngx_xmpp_stream_t *st,
    ngx_xmpp_sasl_mechanism_t *m);
static ngx_int_t ngx_xmpp_sasl_write(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_xml_t *features);


#define NGX_XMPP_SASL_SCRAM_SHA512    0x02
#define NGX_XMPP_SASL_SCRAM_SHA256    0x04
#define NGX_XMPP_SASL_SCRAM_SHA1      0x08
#define NGX_XMPP_SASL_PLAIN           0x10
#define NGX_XMPP_SASL_EXTERNAL        0x20
#define NGX_XMPP_SASL_ANONYMOUS       0x40
#define NGX_XMPP_SASL_DIGEST_MD5      0x80


/* the strongest first, RFC 6120, 6.3.3 */

static ngx_xmpp_sasl_mechanism_t  ngx_xmpp_sasl_mechanisms[] = {

    { ngx_string("EXTERNAL"), NGX_XMPP_SASL_EXTERNAL, 0, NGX_XMPP_SASL_TLS,
      ngx_xmpp_sasl_external_available,
      ngx_xmpp_sasl_external_step, ngx_xmpp_sasl_external_keys },

    { ngx_string("SCRAM-SHA-512-PLUS"), NGX_XMPP_SASL_SCRAM_SHA512,
      NGX_XMPP_SCRAM_SHA512, NGX_XMPP_SASL_TLS,
      ngx_xmpp_sasl_binding_available,
      ngx_xmpp_sasl_scram_plus_step, ngx_xmpp_sasl_scram_keys },

    { ngx_string("SCRAM-SHA-512"), NGX_XMPP_SASL_SCRAM_SHA512,
      NGX_XMPP_SCRAM_SHA512, 0, NULL,
      ngx_xmpp_sasl_scram_step, ngx_xmpp_sasl_scram_keys },

    { ngx_string("SCRAM-SHA-256-PLUS"), NGX_XMPP_SASL_SCRAM_SHA256,
      NGX_XMPP_SCRAM_SHA256, NGX_XMPP_SASL_TLS,
      ngx_xmpp_sasl_binding_available,
      ngx_xmpp_sasl_scram_plus_step, ngx_xmpp_sasl_scram_keys },

    { ngx_string("SCRAM-SHA-256"), NGX_XMPP_SASL_SCRAM_SHA256,
      NGX_XMPP_SCRAM_SHA256, 0, NULL,
      ngx_xmpp_sasl_scram_step, ngx_xmpp_sasl_scram_keys },

    { ngx_string("SCRAM-SHA-1-PLUS"), NGX_XMPP_SASL_SCRAM_SHA1,
      NGX_XMPP_SCRAM_SHA1, NGX_XMPP_SASL_TLS,
      ngx_xmpp_sasl_binding_available,
      ngx_xmpp_sasl_scram_plus_step, ngx_xmpp_sasl_scram_keys },

    { ngx_string("SCRAM-SHA-1"), NGX_XMPP_SASL_SCRAM_SHA1,
      NGX_XMPP_SCRAM_SHA1, 0, NULL,
      ngx_xmpp_sasl_scram_step, ngx_xmpp_sasl_scram_keys },

    { ngx_string("PLAIN"), NGX_XMPP_SASL_PLAIN,
      NGX_XMPP_SCRAM_SHA256, NGX_XMPP_SASL_TLS, NULL,
      ngx_xmpp_sasl_plain_step, ngx_xmpp_sasl_plain_keys },

    { ngx_string("ANONYMOUS"), NGX_XMPP_SASL_ANONYMOUS,
      0, NGX_XMPP_SASL_NO_INITIAL, NULL,
      ngx_xmpp_sasl_anonymous_step, ngx_xmpp_sasl_anonymous_keys },

    { ngx_string("DIGEST-MD5"), NGX_XMPP_SASL_DIGEST_MD5,
      0, NGX_XMPP_SASL_NO_INITIAL, ngx_xmpp_sasl_digest_available,
      ngx_xmpp_sasl_digest_step, ngx_xmpp_sasl_digest_keys },

    { ngx_null_string, 0, 0, 0, NULL, NULL, NULL }
};


static ngx_conf_bitmask_t  ngx_xmpp_sasl_mechanism_bits[] = {
    { ngx_string("EXTERNAL"), NGX_XMPP_SASL_EXTERNAL },
    { ngx_string("SCRAM-SHA-512"), NGX_XMPP_SASL_SCRAM_SHA512 },
    { ngx_string("SCRAM-SHA-256"), NGX_XMPP_SASL_SCRAM_SHA256 },
    { ngx_string("SCRAM-SHA-1"), NGX_XMPP_SASL_SCRAM_SHA1 },
    { ngx_string("PLAIN"), NGX_XMPP_SASL_PLAIN },
    { ngx_string("ANONYMOUS"), NGX_XMPP_SASL_ANONYMOUS },
    { ngx_string("DIGEST-MD5"), NGX_XMPP_SASL_DIGEST_MD5 },
    { ngx_null_string, 0 }
};


static ngx_conf_num_bounds_t  ngx_xmpp_sasl_iterations_bounds = {
    ngx_conf_check_num_bounds,
    NGX_XMPP_SCRAM_ITERATIONS_MIN, NGX_XMPP_SCRAM_ITERATIONS_MAX
};


static ngx_conf_bitmask_t  ngx_xmpp_sasl_external_bits[] = {
    { ngx_string("xmppaddr"), NGX_XMPP_CERTIFICATE_XMPPADDR },
    { ngx_string("email"), NGX_XMPP_CERTIFICATE_EMAIL },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_xmpp_sasl_commands[] = {

    { ngx_string("xmpp_sasl_mechanisms"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_1MORE,
      ngx_xmpp_conf_set_bitmask_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_sasl_conf_t, mechanisms),
      &ngx_xmpp_sasl_mechanism_bits },

    { ngx_string("xmpp_sasl_channel_binding"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_sasl_conf_t, binding),
      NULL },

    { ngx_string("xmpp_sasl_iterations"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_sasl_conf_t, iterations),
      &ngx_xmpp_sasl_iterations_bounds },

    { ngx_string("xmpp_sasl_external"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_1MORE,
      ngx_xmpp_conf_set_bitmask_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_sasl_conf_t, external),
      &ngx_xmpp_sasl_external_bits },

      ngx_null_command
};


static ngx_str_t  ngx_xmpp_sasl_mechanisms_name = ngx_string("mechanisms");
static ngx_str_t  ngx_xmpp_sasl_mechanism_name = ngx_string("mechanism");


static ngx_xmpp_xep_t  ngx_xmpp_sasl_xeps[] = {
    { 6120, NULL, "section 6" },
    { 5802, NULL, "complete" },
    { 7677, NULL, "complete" },
    { 5929, NULL, "without telnet" },
    { 9266, NULL, "complete" },
    { 440, "1.0.0", "complete" },
    { 4616, NULL, "complete" },
    { 2831, NULL, "qop auth" },
    { 4422, NULL, "appendix A" },
    { 178, "1.2", "of clients" },
    { 4505, NULL, "complete" },
    { 175, "1.2", "complete" },
    ngx_xmpp_null_xep
};


static ngx_xmpp_nonza_t  ngx_xmpp_sasl_nonzas[] = {

    { NGX_XMPP_ST_PLAIN|NGX_XMPP_ST_SECURE,
      ngx_string("urn:ietf:params:xml:ns:xmpp-sasl"), ngx_string("auth"),
      ngx_xmpp_sasl_auth },

    { NGX_XMPP_ST_PLAIN|NGX_XMPP_ST_SECURE,
      ngx_string("urn:ietf:params:xml:ns:xmpp-sasl"), ngx_string("response"),
      ngx_xmpp_sasl_response },

    { NGX_XMPP_ST_PLAIN|NGX_XMPP_ST_SECURE,
      ngx_string("urn:ietf:params:xml:ns:xmpp-sasl"), ngx_string("abort"),
      ngx_xmpp_sasl_abort },

      ngx_xmpp_null_nonza
};


static ngx_xmpp_stream_feature_t  ngx_xmpp_sasl_features[] = {

    { NGX_XMPP_ST_PLAIN|NGX_XMPP_ST_SECURE, NGX_XMPP_FEATURE_SASL,
      ngx_xmpp_sasl_write },

    { NGX_XMPP_ST_PLAIN|NGX_XMPP_ST_SECURE, NGX_XMPP_FEATURE_BINDING,
      ngx_xmpp_sasl_binding_write },

      ngx_xmpp_null_stream_feature
};


static ngx_xmpp_hook_t  ngx_xmpp_sasl_hooks[] = {

    { NGX_XMPP_ACCESS_PHASE,
      NGX_XMPP_MESSAGE|NGX_XMPP_PRESENCE|NGX_XMPP_IQ|NGX_XMPP_TO_REMOTE,
      NGX_XMPP_ORDER_ANY, ngx_xmpp_sasl_anonymous_access },

      ngx_xmpp_null_hook
};


static ngx_xmpp_event_row_t  ngx_xmpp_sasl_events[] = {
    { NGX_XMPP_EVENT_BIND, ngx_xmpp_sasl_anonymous_bound },
    ngx_xmpp_null_event
};


static ngx_stream_module_t  ngx_xmpp_sasl_module_ctx = {
    ngx_xmpp_sasl_preconfiguration,        /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_sasl_create_conf,             /* create server configuration */
    ngx_xmpp_sasl_merge_conf               /* merge server configuration */
};


ngx_module_t  ngx_xmpp_sasl_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_sasl_module_ctx,             /* module context */
    ngx_xmpp_sasl_commands,                /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_sasl_feature = {
    &ngx_xmpp_sasl_module,
    ngx_xmpp_sasl_xeps,
    NULL,                                  /* disco features */
    ngx_xmpp_sasl_nonzas,
    ngx_xmpp_sasl_features,
    NULL,                                  /* iq */
    ngx_xmpp_sasl_hooks,
    ngx_xmpp_sasl_events,
    NULL,                                  /* identities */
    ngx_xmpp_sasl_prepare,
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_sasl_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_sasl_feature);
}


static void *
ngx_xmpp_sasl_create_conf(ngx_conf_t *cf)
{
    ngx_xmpp_sasl_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_xmpp_sasl_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->enable = 1;
    conf->iterations = NGX_CONF_UNSET_UINT;
    conf->binding = NGX_CONF_UNSET;

    return conf;
}


static char *
ngx_xmpp_sasl_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_xmpp_sasl_conf_t *prev = parent;
    ngx_xmpp_sasl_conf_t *conf = child;

    ngx_conf_merge_bitmask_value(conf->mechanisms, prev->mechanisms,
                                 (NGX_CONF_BITMASK_SET
                                  |NGX_XMPP_SASL_EXTERNAL
                                  |NGX_XMPP_SASL_SCRAM_SHA512
                                  |NGX_XMPP_SASL_SCRAM_SHA256
                                  |NGX_XMPP_SASL_SCRAM_SHA1
                                  |NGX_XMPP_SASL_PLAIN));
    ngx_conf_merge_value(conf->binding, prev->binding, 1);
    ngx_conf_merge_uint_value(conf->iterations, prev->iterations,
                              NGX_XMPP_SCRAM_ITERATIONS);

    ngx_conf_merge_bitmask_value(conf->external, prev->external,
                                 (NGX_CONF_BITMASK_SET
                                  |NGX_XMPP_CERTIFICATE_XMPPADDR));

    return NGX_CONF_OK;
}


ngx_uint_t
ngx_xmpp_sasl_external(ngx_xmpp_host_t *h)
{
    ngx_xmpp_sasl_conf_t  *conf;

    conf = ngx_xmpp_host_conf(h, ngx_xmpp_sasl_module);

    return conf->external;
}


/* RFC 6120, 6.3.4, 13.8.1: PLAIN under TLS only */

static ngx_uint_t
ngx_xmpp_sasl_offered(ngx_xmpp_stream_t *st, ngx_xmpp_sasl_mechanism_t *m)
{
    ngx_xmpp_sasl_conf_t  *conf;

    if (!ngx_xmpp_stream_secure(st)
        && ((m->flags & NGX_XMPP_SASL_TLS)
            || st->conf->starttls == NGX_XMPP_STARTTLS_ONLY))
    {
        return 0;
    }

    conf = ngx_xmpp_host_conf(st->host, ngx_xmpp_sasl_module);

    if (!(conf->mechanisms & m->bit)) {
        return 0;
    }

    return m->available == NULL || m->available(st, m);
}


static ngx_int_t
ngx_xmpp_sasl_write(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_xml_t *features)
{
    ngx_xmpp_xml_t             *e, *name;
    ngx_xmpp_sasl_mechanism_t  *m;

    e = NULL;

    for (m = ngx_xmpp_sasl_mechanisms; m->step; m++) {

        if (!ngx_xmpp_sasl_offered(st, m)) {
            continue;
        }

        if (e == NULL) {
            e = ngx_xmpp_xml_add(pool, features,
                                 &ngx_xmpp_sasl_mechanisms_name,
                                 &ngx_xmpp_ns_sasl);
            if (e == NULL) {
                return NGX_ERROR;
            }
        }

        name = ngx_xmpp_xml_add(pool, e, &ngx_xmpp_sasl_mechanism_name, NULL);

        if (name == NULL
            || ngx_xmpp_xml_add_text(pool, name, &m->name) == NULL)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * The mechanism of that name, if the stream's client may use it now; NULL
 * otherwise, and *failure is the reason (NGX_XMPP_SASL_*; RFC 6120, 6.5).
 */

ngx_xmpp_sasl_mechanism_t *
ngx_xmpp_sasl_mechanism(ngx_xmpp_stream_t *st, ngx_str_t *name,
    ngx_int_t *failure)
{
    ngx_xmpp_sasl_mechanism_t  *m;

    *failure = NGX_XMPP_SASL_INVALID_MECHANISM;

    if (!ngx_xmpp_stream_secure(st)
        && st->conf->starttls == NGX_XMPP_STARTTLS_ONLY)
    {
        *failure = NGX_XMPP_SASL_ENCRYPTION_REQUIRED;
        return NULL;
    }

    if (name == NULL) {
        return NULL;
    }

    for (m = ngx_xmpp_sasl_mechanisms; m->step; m++) {

        if (!ngx_xmpp_str_eq(name, &m->name)) {
            continue;
        }

        if (ngx_xmpp_sasl_offered(st, m)) {
            return m;
        }

        if ((m->flags & NGX_XMPP_SASL_TLS) && !ngx_xmpp_stream_secure(st)) {
            *failure = NGX_XMPP_SASL_ENCRYPTION_REQUIRED;
        }

        return NULL;
    }

    return NULL;
}


/* whether any mechanism is offered in its -PLUS form */

ngx_uint_t
ngx_xmpp_sasl_offers_plus(ngx_xmpp_stream_t *st)
{
    ngx_xmpp_sasl_mechanism_t  *m;

    for (m = ngx_xmpp_sasl_mechanisms; m->step; m++) {
        if (m->available == ngx_xmpp_sasl_binding_available
            && ngx_xmpp_sasl_offered(st, m))
        {
            return 1;
        }
    }

    return 0;
}


/* xmpp_sasl_channel_binding of the host */

ngx_uint_t
ngx_xmpp_sasl_bound(ngx_xmpp_host_t *h)
{
    ngx_xmpp_sasl_conf_t  *conf;

    conf = ngx_xmpp_host_conf(h, ngx_xmpp_sasl_module);

    return conf->binding;
}


/* for those who make accounts */

static ngx_int_t
ngx_xmpp_sasl_prepare(ngx_conf_t *cf, ngx_xmpp_host_t *h)
{
    ngx_xmpp_sasl_conf_t  *conf;

    conf = ngx_xmpp_host_conf(h, ngx_xmpp_sasl_module);

    h->iterations = conf->iterations;

    return NGX_OK;
}


/* the rounds of PBKDF2 that a name without an account is shown */

ngx_uint_t
ngx_xmpp_sasl_iterations(ngx_xmpp_stream_t *st)
{
    ngx_xmpp_sasl_conf_t  *conf;

    conf = ngx_xmpp_host_conf(st->host, ngx_xmpp_sasl_module);

    return conf->iterations;
}
