/*
 * Features: modules register const tables before the configuration is read;
 * afterwards the rows of the enabled ones are compiled for each host into
 * flat arrays and a hash.  A feature that is off is absent, not tested for.
 *
 *     rows of iqs          hash by name and namespace, looked up per request
 *     hooks                an array for each phase, sorted by order
 *     stream features      an array, sorted by order
 *     nonzas, events       arrays, in the order of the modules
 *     disco#info           identities, features and forms: arrays
 *
 * The hash has lower-case keys, as ngx_hash_init() makes them; names are
 * compared again exactly, since XML's are case-sensitive.
 *
 * All memory is the configuration's pool; read-only once nginx runs, and
 * shared by the workers as the rest of the configuration is.
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_FEATURE_KEY          256


typedef struct {
    ngx_str_t         key;             /* name " " ns, lower case */
    ngx_array_t      *rows;            /* of ngx_xmpp_iq_t */
} ngx_xmpp_feature_key_t;


static ngx_uint_t ngx_xmpp_feature_enabled(ngx_xmpp_host_t *h,
    ngx_xmpp_feature_t *f);
static ngx_int_t ngx_xmpp_feature_arrays(ngx_conf_t *cf, ngx_xmpp_host_t *h);
static ngx_int_t ngx_xmpp_feature_rows(ngx_xmpp_host_t *h,
    ngx_xmpp_feature_t *f);
static ngx_int_t ngx_xmpp_feature_disco(ngx_xmpp_host_t *h,
    ngx_xmpp_feature_t *f);
static ngx_int_t ngx_xmpp_feature_iqs(ngx_conf_t *cf, ngx_array_t *keys,
    ngx_xmpp_feature_t *f);
static ngx_int_t ngx_xmpp_feature_hash(ngx_conf_t *cf, ngx_xmpp_host_t *h,
    ngx_array_t *keys);
static ngx_int_t ngx_xmpp_feature_order(const void *one,
    const void *two);
static ngx_int_t ngx_xmpp_feature_hook_order(const void *one,
    const void *two);


/* for a feature's preconfiguration; NGX_OK or NGX_ERROR (no memory) */

ngx_int_t
ngx_xmpp_feature_add(ngx_conf_t *cf, ngx_xmpp_feature_t *feature)
{
    ngx_xmpp_feature_t    **f;
    ngx_xmpp_main_conf_t   *xmcf;

    xmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_xmpp_module);

    f = ngx_array_push(&xmcf->features);
    if (f == NULL) {
        return NGX_ERROR;
    }

    *f = feature;

    return NGX_OK;
}


/* a feature's server configuration: one flag */

void *
ngx_xmpp_feature_create_conf(ngx_conf_t *cf)
{
    ngx_xmpp_feature_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_xmpp_feature_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->enable = NGX_CONF_UNSET;

    return conf;
}


/* for features that are on unless switched off */

char *
ngx_xmpp_feature_merge_on(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_xmpp_feature_conf_t *prev = parent;
    ngx_xmpp_feature_conf_t *conf = child;

    ngx_conf_merge_value(conf->enable, prev->enable, 1);

    return NGX_CONF_OK;
}


/* compiles the tables of a host's features; NGX_OK or NGX_ERROR */

ngx_int_t
ngx_xmpp_feature_compile(ngx_conf_t *cf, ngx_xmpp_host_t *h)
{
    ngx_uint_t             i;
    ngx_array_t            keys;
    ngx_xmpp_feature_t   **f;
    ngx_xmpp_main_conf_t  *xmcf;

    xmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_xmpp_module);

    if (ngx_xmpp_feature_arrays(cf, h) != NGX_OK
        || ngx_array_init(&keys, cf->temp_pool, 16,
                          sizeof(ngx_xmpp_feature_key_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    f = xmcf->features.elts;

    for (i = 0; i < xmcf->features.nelts; i++) {

        if (!ngx_xmpp_feature_enabled(h, f[i])) {
            continue;
        }

        if (ngx_xmpp_feature_rows(h, f[i]) != NGX_OK
            || ngx_xmpp_feature_disco(h, f[i]) != NGX_OK
            || ngx_xmpp_feature_iqs(cf, &keys, f[i]) != NGX_OK
            || (f[i]->prepare && f[i]->prepare(cf, h) != NGX_OK))
        {
            return NGX_ERROR;
        }
    }

    ngx_sort(h->stream_features.elts, h->stream_features.nelts,
             sizeof(ngx_xmpp_stream_feature_t), ngx_xmpp_feature_order);

    for (i = 0; i < NGX_XMPP_PHASES; i++) {
        ngx_sort(h->hooks[i].elts, h->hooks[i].nelts,
                 sizeof(ngx_xmpp_hook_t), ngx_xmpp_feature_hook_order);
    }

    if (ngx_xmpp_feature_hash(cf, h, &keys) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < xmcf->features.nelts; i++) {

        if (f[i]->compiled
            && ngx_xmpp_feature_enabled(h, f[i])
            && f[i]->compiled(cf, h) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* a feature without a configuration is always on */

static ngx_uint_t
ngx_xmpp_feature_enabled(ngx_xmpp_host_t *h, ngx_xmpp_feature_t *f)
{
    ngx_xmpp_feature_conf_t  *conf;

    conf = h->ctx->srv_conf[f->module->ctx_index];

    return conf == NULL || conf->enable;
}


static ngx_int_t
ngx_xmpp_feature_arrays(ngx_conf_t *cf, ngx_xmpp_host_t *h)
{
    ngx_uint_t  i;

    if (ngx_array_init(&h->identities, cf->pool, 1,
                       sizeof(ngx_xmpp_identity_t))
        != NGX_OK
        || ngx_array_init(&h->features, cf->pool, 16, sizeof(ngx_str_t))
           != NGX_OK
        || ngx_array_init(&h->account_features, cf->pool, 4,
                          sizeof(ngx_str_t))
           != NGX_OK
        || ngx_array_init(&h->forms, cf->pool, 1, sizeof(ngx_xmpp_form_t))
           != NGX_OK
        || ngx_array_init(&h->nonzas, cf->pool, 8, sizeof(ngx_xmpp_nonza_t))
           != NGX_OK
        || ngx_array_init(&h->stream_features, cf->pool, 8,
                          sizeof(ngx_xmpp_stream_feature_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_XMPP_PHASES; i++) {
        if (ngx_array_init(&h->hooks[i], cf->pool, 2, sizeof(ngx_xmpp_hook_t))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < NGX_XMPP_EVENTS; i++) {
        if (ngx_array_init(&h->events[i], cf->pool, 2,
                           sizeof(ngx_xmpp_event_row_t))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_feature_rows(ngx_xmpp_host_t *h, ngx_xmpp_feature_t *f)
{
    ngx_xmpp_hook_t            *hook, *k;
    ngx_xmpp_nonza_t           *nonza, *n;
    ngx_xmpp_event_row_t       *event, *e;
    ngx_xmpp_stream_feature_t  *sf, *t;

    for (nonza = f->nonzas; nonza && nonza->handler; nonza++) {
        n = ngx_array_push(&h->nonzas);
        if (n == NULL) {
            return NGX_ERROR;
        }

        *n = *nonza;
    }

    for (sf = f->stream_features; sf && sf->write; sf++) {
        t = ngx_array_push(&h->stream_features);
        if (t == NULL) {
            return NGX_ERROR;
        }

        *t = *sf;
    }

    for (hook = f->hooks; hook && hook->handler; hook++) {
        k = ngx_array_push(&h->hooks[hook->phase]);
        if (k == NULL) {
            return NGX_ERROR;
        }

        *k = *hook;
    }

    for (event = f->events; event && event->handler; event++) {
        e = ngx_array_push(&h->events[event->event]);
        if (e == NULL) {
            return NGX_ERROR;
        }

        *e = *event;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_feature_disco(ngx_xmpp_host_t *h, ngx_xmpp_feature_t *f)
{
    ngx_str_t            *str, *s;
    ngx_xmpp_identity_t  *id, *i;

    for (id = f->identities; id && id->category.len; id++) {
        i = ngx_array_push(&h->identities);
        if (i == NULL) {
            return NGX_ERROR;
        }

        *i = *id;
    }

    for (str = f->features; str && str->len; str++) {
        s = ngx_array_push(&h->features);
        if (s == NULL) {
            return NGX_ERROR;
        }

        *s = *str;
    }

    return NGX_OK;
}


/* collects the rows by name and namespace */

static ngx_int_t
ngx_xmpp_feature_iqs(ngx_conf_t *cf, ngx_array_t *keys, ngx_xmpp_feature_t *f)
{
    u_char                  *p;
    ngx_str_t                key;
    ngx_uint_t               i;
    ngx_xmpp_iq_t           *iq, *row;
    ngx_xmpp_feature_key_t  *k;

    for (iq = f->iqs; iq && iq->handler; iq++) {

        key.len = iq->name.len + 1 + iq->ns.len;
        key.data = ngx_pnalloc(cf->pool, key.len);
        if (key.data == NULL || key.len > NGX_XMPP_FEATURE_KEY) {
            return NGX_ERROR;
        }

        p = ngx_cpymem(key.data, iq->name.data, iq->name.len);
        *p++ = ' ';
        ngx_memcpy(p, iq->ns.data, iq->ns.len);
        ngx_strlow(key.data, key.data, key.len);

        k = keys->elts;

        for (i = 0; i < keys->nelts; i++) {
            if (ngx_xmpp_str_eq(&k[i].key, &key)) {
                break;
            }
        }

        if (i == keys->nelts) {
            k = ngx_array_push(keys);
            if (k == NULL) {
                return NGX_ERROR;
            }

            k->key = key;
            k->rows = ngx_array_create(cf->pool, 2, sizeof(ngx_xmpp_iq_t));
            if (k->rows == NULL) {
                return NGX_ERROR;
            }

        } else {
            k = &k[i];
        }

        row = ngx_array_push(k->rows);
        if (row == NULL) {
            return NGX_ERROR;
        }

        *row = *iq;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_feature_hash(ngx_conf_t *cf, ngx_xmpp_host_t *h, ngx_array_t *keys)
{
    ngx_uint_t               i;
    ngx_hash_key_t          *names;
    ngx_hash_init_t          hash;
    ngx_xmpp_feature_key_t  *k;

    names = ngx_palloc(cf->temp_pool,
                       (keys->nelts + 1) * sizeof(ngx_hash_key_t));
    if (names == NULL) {
        return NGX_ERROR;
    }

    k = keys->elts;

    for (i = 0; i < keys->nelts; i++) {
        names[i].key = k[i].key;
        names[i].key_hash = ngx_hash_key(k[i].key.data, k[i].key.len);
        names[i].value = k[i].rows;
    }

    hash.hash = &h->iqs;
    hash.key = ngx_hash_key;
    hash.max_size = 2048;
    hash.bucket_size = ngx_align(512, ngx_cacheline_size);
    hash.name = "xmpp_iq_hash";
    hash.pool = cf->pool;
    hash.temp_pool = NULL;

    return ngx_hash_init(&hash, names, keys->nelts);
}


static ngx_int_t
ngx_xmpp_feature_order(const void *one, const void *two)
{
    const ngx_xmpp_stream_feature_t *first = one;
    const ngx_xmpp_stream_feature_t *second = two;

    return (int) first->order - (int) second->order;
}


static ngx_int_t
ngx_xmpp_feature_hook_order(const void *one, const void *two)
{
    const ngx_xmpp_hook_t *first = one;
    const ngx_xmpp_hook_t *second = two;

    return (int) first->order - (int) second->order;
}


/* the handler of an iq request, NULL: the host has none */

ngx_xmpp_handler_pt
ngx_xmpp_feature_iq(ngx_xmpp_host_t *h, ngx_uint_t mask, ngx_str_t *ns,
    ngx_str_t *name)
{
    u_char          key[NGX_XMPP_FEATURE_KEY], *p;
    size_t          len;
    ngx_uint_t      i;
    ngx_array_t    *rows;
    ngx_xmpp_iq_t  *iq;

    len = name->len + 1 + ns->len;

    if (len > sizeof(key) || h->iqs.size == 0) {
        return NULL;
    }

    p = ngx_cpymem(key, name->data, name->len);
    *p++ = ' ';
    ngx_memcpy(p, ns->data, ns->len);
    ngx_strlow(key, key, len);

    rows = ngx_hash_find(&h->iqs, ngx_hash_key(key, len), key, len);
    if (rows == NULL) {
        return NULL;
    }

    iq = rows->elts;

    for (i = 0; i < rows->nelts; i++) {
        if ((iq[i].mask & mask & NGX_XMPP_IQ)
            && (iq[i].mask & mask & NGX_XMPP_TO_ANY)
            && ngx_xmpp_str_eq(&iq[i].name, name)
            && ngx_xmpp_str_eq(&iq[i].ns, ns))
        {
            return iq[i].handler;
        }
    }

    return NULL;
}


/* tells the host's features of something that happened to a session */

void
ngx_xmpp_feature_event(ngx_xmpp_session_t *xs, ngx_uint_t event)
{
    ngx_uint_t             i;
    ngx_xmpp_event_row_t  *row;

    row = xs->host->events[event].elts;

    for (i = 0; i < xs->host->events[event].nelts; i++) {
        row[i].handler(xs);
    }
}
