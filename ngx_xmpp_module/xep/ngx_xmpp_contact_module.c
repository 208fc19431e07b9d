/*
 * Contact addresses (XEP-0157): a form in disco#info of the host that tells
 * where to write about abuse, security and so on.
 *
 * The fields are made while the directives are read, from the cycle's pool;
 * hosts without any of their own share those of stream{}.  Then each host is
 * given its form (XEP-0128), which is told by disco and hashed by caps: at run
 * time nothing is left to do here.
 *
 * Types are those that section 6.1 registers, and an address is a URI, so
 * that a slip of the admin is found by "nginx -t" and not by who needs help.
 */


#include "ngx_xmpp.h"


typedef struct {
    ngx_flag_t                  enable;         /* the core looks at it */
    ngx_array_t                *fields;         /* of ngx_xmpp_form_field_t */
} ngx_xmpp_contact_conf_t;


static ngx_int_t ngx_xmpp_contact_preconfiguration(ngx_conf_t *cf);
static void *ngx_xmpp_contact_create_conf(ngx_conf_t *cf);
static char *ngx_xmpp_contact_merge_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_xmpp_contact_set(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_str_t *ngx_xmpp_contact_var(ngx_conf_t *cf, ngx_str_t *type);
static ngx_xmpp_form_field_t *ngx_xmpp_contact_field(ngx_conf_t *cf,
    ngx_xmpp_contact_conf_t *ctcf, ngx_str_t *var);
static char *ngx_xmpp_contact_uri(ngx_str_t *uri);
static ngx_int_t ngx_xmpp_contact_prepare(ngx_conf_t *cf, ngx_xmpp_host_t *h);


static ngx_str_t  ngx_xmpp_contact_form =
    ngx_string("http://jabber.org/network/serverinfo");


/* 6.1: the type is what stands before "-addresses" */

static ngx_str_t  ngx_xmpp_contact_vars[] = {
    ngx_string("abuse-addresses"),
    ngx_string("admin-addresses"),
    ngx_string("feedback-addresses"),
    ngx_string("sales-addresses"),
    ngx_string("security-addresses"),
    ngx_string("status-addresses"),
    ngx_string("support-addresses"),
    ngx_null_string
};


static ngx_xmpp_xep_t  ngx_xmpp_contact_xeps[] = {
    { 157, "1.1.1", "complete" },
    ngx_xmpp_null_xep
};


static ngx_command_t  ngx_xmpp_contact_commands[] = {

    { ngx_string("xmpp_contact"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_2MORE,
      ngx_xmpp_contact_set,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_contact_module_ctx = {
    ngx_xmpp_contact_preconfiguration,     /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_contact_create_conf,          /* create server configuration */
    ngx_xmpp_contact_merge_conf            /* merge server configuration */
};


ngx_module_t  ngx_xmpp_contact_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_contact_module_ctx,          /* module context */
    ngx_xmpp_contact_commands,             /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_contact_feature = {
    &ngx_xmpp_contact_module,
    ngx_xmpp_contact_xeps,
    NULL,                                  /* disco features */
    NULL,                                  /* nonzas */
    NULL,                                  /* stream features */
    NULL,                                  /* iqs */
    NULL,                                  /* hooks */
    NULL,                                  /* events */
    NULL,                                  /* identities */
    ngx_xmpp_contact_prepare,
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_contact_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_contact_feature);
}


static void *
ngx_xmpp_contact_create_conf(ngx_conf_t *cf)
{
    ngx_xmpp_contact_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_xmpp_contact_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->fields = NGX_CONF_UNSET_PTR;

    return conf;
}


static char *
ngx_xmpp_contact_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_xmpp_contact_conf_t *prev = parent;
    ngx_xmpp_contact_conf_t *conf = child;

    ngx_conf_merge_ptr_value(conf->fields, prev->fields, NULL);

    conf->enable = (conf->fields != NULL);

    return NGX_CONF_OK;
}


/* xmpp_contact type uri ...; the same type may come again */

static char *
ngx_xmpp_contact_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                     *rv;
    ngx_str_t                *value, *var, *uri;
    ngx_uint_t                i;
    ngx_xmpp_form_field_t    *field;
    ngx_xmpp_contact_conf_t  *ctcf = conf;

    rv = ngx_xmpp_conf_in_host(cf);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    value = cf->args->elts;

    var = ngx_xmpp_contact_var(cf, &value[1]);
    if (var == NULL) {
        return NGX_CONF_ERROR;
    }

    field = ngx_xmpp_contact_field(cf, ctcf, var);
    if (field == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {

        rv = ngx_xmpp_contact_uri(&value[i]);

        if (rv != NGX_CONF_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" in \"%V\" directive is no URI: it %s",
                               &value[i], &cmd->name, rv);
            return NGX_CONF_ERROR;
        }

        uri = ngx_array_push(&field->values);
        if (uri == NULL) {
            return NGX_CONF_ERROR;
        }

        *uri = value[i];
    }

    return NGX_CONF_OK;
}


/* the name of the field for a type; NULL, with a message: there is none */

static ngx_str_t *
ngx_xmpp_contact_var(ngx_conf_t *cf, ngx_str_t *type)
{
    ngx_str_t  *var;

    for (var = ngx_xmpp_contact_vars; var->len; var++) {
        if (var->len - (sizeof("-addresses") - 1) == type->len
            && ngx_memcmp(var->data, type->data, type->len) == 0)
        {
            return var;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown type \"%V\" in \"xmpp_contact\" directive, it "
                       "must be one of \"abuse\", \"admin\", \"feedback\", "
                       "\"sales\", \"security\", \"status\", \"support\"",
                       type);

    return NULL;
}


/* finds or adds the field; NULL: no memory */

static ngx_xmpp_form_field_t *
ngx_xmpp_contact_field(ngx_conf_t *cf, ngx_xmpp_contact_conf_t *ctcf,
    ngx_str_t *var)
{
    ngx_uint_t              i;
    ngx_xmpp_form_field_t  *field;

    if (ctcf->fields == NGX_CONF_UNSET_PTR) {
        ctcf->fields = ngx_array_create(cf->pool, 2,
                                        sizeof(ngx_xmpp_form_field_t));
        if (ctcf->fields == NULL) {
            return NULL;
        }
    }

    field = ctcf->fields->elts;

    for (i = 0; i < ctcf->fields->nelts; i++) {
        if (ngx_xmpp_str_eq(&field[i].var, var)) {
            return &field[i];
        }
    }

    field = ngx_array_push(ctcf->fields);

    if (field == NULL
        || ngx_array_init(&field->values, cf->pool, 2, sizeof(ngx_str_t))
           != NGX_OK)
    {
        return NULL;
    }

    field->var = *var;

    return field;
}


/*
 * The syntax of RFC 3986, appendix A, as far as a slip would offend it: a
 * scheme, something behind it, and characters that a URI may have.
 * NGX_CONF_OK, or what is wrong
 */

static char *
ngx_xmpp_contact_uri(ngx_str_t *uri)
{
    size_t  i, colon;
    u_char  ch;

    for (colon = 0; colon < uri->len && uri->data[colon] != ':'; colon++) {
        ch = uri->data[colon] | 0x20;

        if ((ch < 'a' || ch > 'z')
            && (colon == 0 || ngx_strchr("0123456789+-.", uri->data[colon])
                              == NULL))
        {
            break;
        }
    }

    if (colon == 0 || colon == uri->len || uri->data[colon] != ':') {
        return "does not begin with a scheme, as \"mailto:\" or \"xmpp:\"";
    }

    if (colon + 1 == uri->len) {
        return "has nothing behind its scheme";
    }

    for (i = colon + 1; i < uri->len; i++) {
        ch = uri->data[i];

        if (ch == '%') {
            if (uri->len - i < 3 || ngx_hextoi(&uri->data[i + 1], 2)
                                    == NGX_ERROR)
            {
                return "has a \"%\" without two hexadecimal digits";
            }

        } else if (ch <= ' ' || ch >= 0x7f || ngx_strchr("\"<>\\^`{|}", ch)) {
            return "has a character that must be percent-encoded";
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_xmpp_contact_prepare(ngx_conf_t *cf, ngx_xmpp_host_t *h)
{
    ngx_xmpp_form_t          *form;
    ngx_xmpp_contact_conf_t  *ctcf;

    ctcf = ngx_xmpp_host_conf(h, ngx_xmpp_contact_module);

    form = ngx_array_push(&h->forms);
    if (form == NULL) {
        return NGX_ERROR;
    }

    form->type = ngx_xmpp_contact_form;
    form->fields = *ctcf->fields;

    return NGX_OK;
}
