/*
 * Entity capabilities (XEP-0115), the server's own: <c/> among the stream
 * features names what disco#info of the host would say by a hash of it (6.3),
 * so that a client which has seen the same need not ask.
 *
 * The hash is made once, at configuration, when all that goes into it has been
 * compiled.  The arrays are sorted in place for that (5.1): their order means
 * nothing to anybody else.  Where xmpp_disco is off there is nothing to name.
 */


#include "ngx_xmpp.h"
#include <ngx_sha1.h>


#define NGX_XMPP_CAPS_NODE              "urn:x-ngx-xmpp:module"
#define NGX_XMPP_CAPS_SHA1              20      /* octets */


static ngx_int_t ngx_xmpp_caps_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_xmpp_caps_compiled(ngx_conf_t *cf, ngx_xmpp_host_t *h);
static void ngx_xmpp_caps_hash_forms(ngx_sha1_t *sha1, ngx_xmpp_host_t *h);
static void ngx_xmpp_caps_update(ngx_sha1_t *sha1, ngx_str_t *s, char end);
static void ngx_xmpp_caps_sort(ngx_array_t *a,
    ngx_int_t (*order)(const void *one, const void *two));
static ngx_int_t ngx_xmpp_caps_identity_order(const void *one,
    const void *two);
static ngx_int_t ngx_xmpp_caps_order(const void *one, const void *two);
static ngx_int_t ngx_xmpp_caps_write(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_xml_t *features);


static ngx_str_t  ngx_xmpp_caps_ns =
    ngx_string("http://jabber.org/protocol/caps");
static ngx_str_t  ngx_xmpp_caps_info =
    ngx_string("http://jabber.org/protocol/disco#info");
static ngx_str_t  ngx_xmpp_caps_query = ngx_string("query");
static ngx_str_t  ngx_xmpp_caps_c = ngx_string("c");
static ngx_str_t  ngx_xmpp_caps_hash = ngx_string("sha-1");
static ngx_str_t  ngx_xmpp_caps_node = ngx_string(NGX_XMPP_CAPS_NODE);


static ngx_xmpp_xep_t  ngx_xmpp_caps_xeps[] = {
    { 115, "1.6.0", "the server's own" },
    ngx_xmpp_null_xep
};


static ngx_str_t  ngx_xmpp_caps_features[] = {
    ngx_string("http://jabber.org/protocol/caps"),
    ngx_null_string
};


static ngx_xmpp_stream_feature_t  ngx_xmpp_caps_stream_features[] = {
    { NGX_XMPP_ST_AUTH, NGX_XMPP_ORDER_ANY, ngx_xmpp_caps_write },
    ngx_xmpp_null_stream_feature
};


static ngx_command_t  ngx_xmpp_caps_commands[] = {

    { ngx_string("xmpp_caps"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_feature_conf_t, enable),
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_caps_module_ctx = {
    ngx_xmpp_caps_preconfiguration,        /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_feature_create_conf,          /* create server configuration */
    ngx_xmpp_feature_merge_on              /* merge server configuration */
};


ngx_module_t  ngx_xmpp_caps_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_caps_module_ctx,             /* module context */
    ngx_xmpp_caps_commands,                /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_caps_feature = {
    &ngx_xmpp_caps_module,
    ngx_xmpp_caps_xeps,
    ngx_xmpp_caps_features,
    NULL,                                  /* nonzas */
    ngx_xmpp_caps_stream_features,
    NULL,                                  /* iqs */
    NULL,                                  /* hooks */
    NULL,                                  /* events */
    NULL,                                  /* identities */
    NULL,                                  /* prepare */
    ngx_xmpp_caps_compiled
};


static ngx_int_t
ngx_xmpp_caps_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_caps_feature);
}


/* h->node is "node#ver"; the string that 5.1 calls S is never there whole */

static ngx_int_t
ngx_xmpp_caps_compiled(ngx_conf_t *cf, ngx_xmpp_host_t *h)
{
    u_char               *p, digest[NGX_XMPP_CAPS_SHA1];
    ngx_str_t            *var, none;
    ngx_uint_t            i;
    ngx_sha1_t            sha1;
    ngx_xmpp_identity_t  *id;

    if (ngx_xmpp_feature_iq(h, NGX_XMPP_IQ_GET|NGX_XMPP_TO_HOST,
                            &ngx_xmpp_caps_info, &ngx_xmpp_caps_query)
        == NULL)
    {
        return NGX_OK;
    }

    ngx_sha1_init(&sha1);

    /* 5.1, 2 and 3: the language is left out, we have none */

    ngx_str_null(&none);
    ngx_xmpp_caps_sort(&h->identities, ngx_xmpp_caps_identity_order);
    id = h->identities.elts;

    for (i = 0; i < h->identities.nelts; i++) {
        ngx_xmpp_caps_update(&sha1, &id[i].category, '/');
        ngx_xmpp_caps_update(&sha1, &id[i].type, '/');
        ngx_xmpp_caps_update(&sha1, &none, '/');
        ngx_xmpp_caps_update(&sha1, &id[i].name, '<');
    }

    /* 4 and 5 */

    ngx_xmpp_caps_sort(&h->features, ngx_xmpp_caps_order);
    var = h->features.elts;

    for (i = 0; i < h->features.nelts; i++) {
        ngx_xmpp_caps_update(&sha1, &var[i], '<');
    }

    ngx_xmpp_caps_hash_forms(&sha1, h);

    ngx_sha1_final(digest, &sha1);

    p = ngx_pnalloc(cf->pool, sizeof(NGX_XMPP_CAPS_NODE "#") - 1
                              + ngx_base64_encoded_length(sizeof(digest)));
    if (p == NULL) {
        return NGX_ERROR;
    }

    h->node.data = p;
    p = ngx_cpymem(p, NGX_XMPP_CAPS_NODE "#",
                   sizeof(NGX_XMPP_CAPS_NODE "#") - 1);
    h->node.len = ngx_xmpp_base64_encode_to(p, digest, sizeof(digest))
                  - h->node.data;

    return NGX_OK;
}


/* 5.1, 6 and 7: FORM_TYPE leads each form, and is none of its fields to us */

static void
ngx_xmpp_caps_hash_forms(ngx_sha1_t *sha1, ngx_xmpp_host_t *h)
{
    ngx_str_t              *value;
    ngx_uint_t              i, j, k;
    ngx_xmpp_form_t        *form;
    ngx_xmpp_form_field_t  *field;

    ngx_xmpp_caps_sort(&h->forms, ngx_xmpp_caps_order);
    form = h->forms.elts;

    for (i = 0; i < h->forms.nelts; i++) {
        ngx_xmpp_caps_update(sha1, &form[i].type, '<');

        ngx_xmpp_caps_sort(&form[i].fields, ngx_xmpp_caps_order);
        field = form[i].fields.elts;

        for (j = 0; j < form[i].fields.nelts; j++) {
            ngx_xmpp_caps_update(sha1, &field[j].var, '<');

            ngx_xmpp_caps_sort(&field[j].values, ngx_xmpp_caps_order);
            value = field[j].values.elts;

            for (k = 0; k < field[j].values.nelts; k++) {
                ngx_xmpp_caps_update(sha1, &value[k], '<');
            }
        }
    }
}


static void
ngx_xmpp_caps_update(ngx_sha1_t *sha1, ngx_str_t *s, char end)
{
    ngx_sha1_update(sha1, s->data, s->len);
    ngx_sha1_update(sha1, &end, 1);
}


static void
ngx_xmpp_caps_sort(ngx_array_t *a,
    ngx_int_t (*order)(const void *one, const void *two))
{
    ngx_sort(a->elts, a->nelts, a->size, order);
}


static ngx_int_t
ngx_xmpp_caps_identity_order(const void *one, const void *two)
{
    ngx_int_t                   rc;
    const ngx_xmpp_identity_t  *a = one, *b = two;

    rc = ngx_xmpp_caps_order(&a->category, &b->category);

    return rc ? rc : ngx_xmpp_caps_order(&a->type, &b->type);
}


/*
 * i;octet (RFC 4790, 9.3), of strings and of what begins with one: forms and
 * their fields
 */

static ngx_int_t
ngx_xmpp_caps_order(const void *one, const void *two)
{
    const ngx_str_t  *a = one, *b = two;

    return ngx_memn2cmp(a->data, b->data, a->len, b->len);
}


static ngx_int_t
ngx_xmpp_caps_write(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_xml_t *features)
{
    ngx_str_t        ver;
    ngx_xmpp_xml_t  *c;

    if (st->host->node.len == 0) {
        return NGX_OK;
    }

    c = ngx_xmpp_xml_add(pool, features, &ngx_xmpp_caps_c, &ngx_xmpp_caps_ns);

    if (c == NULL) {
        return NGX_ERROR;
    }

    ver.data = st->host->node.data + ngx_xmpp_caps_node.len + 1;
    ver.len = st->host->node.len - ngx_xmpp_caps_node.len - 1;

    if (ngx_xmpp_xml_set(pool, c, "hash", &ngx_xmpp_caps_hash) != NGX_OK
        || ngx_xmpp_xml_set(pool, c, "node", &ngx_xmpp_caps_node) != NGX_OK
        || ngx_xmpp_xml_set(pool, c, "ver", &ver) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}
