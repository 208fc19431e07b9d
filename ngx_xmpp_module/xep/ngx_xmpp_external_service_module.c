/*
 * External services (XEP-0215): where clients find STUN and TURN servers, and
 * by what name and password they may use a TURN server for a while.
 *
 * A password is made by the secret that is shared with the TURN server, as
 * coturn's use-auth-secret has it: the name is the time when it expires, the
 * password base64(HMAC-SHA1(secret, name)).  Nothing is kept of it.
 *
 * Services and secrets are configuration, read again at a reload.  They are
 * told to users of the host only, to anonymous ones where that is asked for.
 */


#include "ngx_xmpp.h"
#include <openssl/hmac.h>


#define NGX_XMPP_EXTERNAL_SERVICE_SECRET    256     /* bytes */
#define NGX_XMPP_EXTERNAL_SERVICE_LIFETIME  86400   /* seconds */


typedef struct {
    ngx_str_t                   type;           /* the scheme of the URI */
    ngx_str_t                   host;
    ngx_str_t                   port;
    ngx_str_t                   transport;
    ngx_str_t                   secret;         /* len 0: needs no password */
    time_t                      lifetime;
} ngx_xmpp_external_service_t;

typedef struct {
    ngx_flag_t                  enable;         /* the core looks at it */
    ngx_flag_t                  anonymous;
    ngx_array_t                *services;       /* of the type above */
} ngx_xmpp_external_service_conf_t;


static ngx_int_t ngx_xmpp_external_service_preconfiguration(ngx_conf_t *cf);
static void *ngx_xmpp_external_service_create_conf(ngx_conf_t *cf);
static char *ngx_xmpp_external_service_merge_conf(ngx_conf_t *cf,
    void *parent, void *child);
static char *ngx_xmpp_external_service_set(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_xmpp_external_service_uri(ngx_str_t *uri,
    ngx_xmpp_external_service_t *es);
static char *ngx_xmpp_external_service_address(ngx_str_t *rest,
    ngx_xmpp_external_service_t *es);
static char *ngx_xmpp_external_service_param(ngx_conf_t *cf, ngx_str_t *param,
    ngx_xmpp_external_service_t *es);
static char *ngx_xmpp_external_service_secret(ngx_conf_t *cf, ngx_str_t *file,
    ngx_str_t *secret);
static ngx_int_t ngx_xmpp_external_service_services(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_external_service_credentials(
    ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_external_service_access(ngx_xmpp_stanza_t *stz);
static ngx_uint_t ngx_xmpp_external_service_match(ngx_str_t *wanted,
    ngx_str_t *value);
static ngx_int_t ngx_xmpp_external_service_add(ngx_pool_t *pool,
    ngx_xmpp_xml_t *parent, ngx_xmpp_external_service_t *es);
static ngx_int_t ngx_xmpp_external_service_password(ngx_pool_t *pool,
    ngx_xmpp_xml_t *e, ngx_xmpp_external_service_t *es);


static ngx_str_t  ngx_xmpp_external_service_ns =
    ngx_string("urn:xmpp:extdisco:2");
static ngx_str_t  ngx_xmpp_external_service_list = ngx_string("services");
static ngx_str_t  ngx_xmpp_external_service_keys = ngx_string("credentials");
static ngx_str_t  ngx_xmpp_external_service_name = ngx_string("service");
static ngx_str_t  ngx_xmpp_external_service_true = ngx_string("true");


/* RFC 7064, 3.1 and RFC 7065, 3.1: the schemes and their ports */

static ngx_xmpp_external_service_t  ngx_xmpp_external_service_schemes[] = {

    { ngx_string("stun"), ngx_null_string, ngx_string("3478"),
      ngx_string("udp"), ngx_null_string, 0 },

    { ngx_string("stuns"), ngx_null_string, ngx_string("5349"),
      ngx_string("tcp"), ngx_null_string, 0 },

    { ngx_string("turn"), ngx_null_string, ngx_string("3478"),
      ngx_string("udp"), ngx_null_string, 0 },

    { ngx_string("turns"), ngx_null_string, ngx_string("5349"),
      ngx_string("tcp"), ngx_null_string, 0 },

    { ngx_null_string, ngx_null_string, ngx_null_string,
      ngx_null_string, ngx_null_string, 0 }
};


static ngx_xmpp_xep_t  ngx_xmpp_external_service_xeps[] = {
    { 215, "1.0.0", "without pushes" },
    ngx_xmpp_null_xep
};


static ngx_str_t  ngx_xmpp_external_service_features[] = {
    ngx_string("urn:xmpp:extdisco:2"),
    ngx_null_string
};


static ngx_xmpp_iq_t  ngx_xmpp_external_service_iqs[] = {

    { NGX_XMPP_IQ_GET|NGX_XMPP_TO_HOST,
      ngx_string("urn:xmpp:extdisco:2"), ngx_string("services"),
      ngx_xmpp_external_service_services },

    { NGX_XMPP_IQ_GET|NGX_XMPP_TO_HOST,
      ngx_string("urn:xmpp:extdisco:2"), ngx_string("credentials"),
      ngx_xmpp_external_service_credentials },

      ngx_xmpp_null_iq
};


static ngx_command_t  ngx_xmpp_external_service_commands[] = {

    { ngx_string("xmpp_external_service"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_1MORE,
      ngx_xmpp_external_service_set,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("xmpp_external_service_anonymous"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_external_service_conf_t, anonymous),
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_external_service_module_ctx = {
    ngx_xmpp_external_service_preconfiguration,/* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_external_service_create_conf, /* create server configuration */
    ngx_xmpp_external_service_merge_conf   /* merge server configuration */
};


ngx_module_t  ngx_xmpp_external_service_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_external_service_module_ctx, /* module context */
    ngx_xmpp_external_service_commands,    /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_external_service_feature = {
    &ngx_xmpp_external_service_module,
    ngx_xmpp_external_service_xeps,
    ngx_xmpp_external_service_features,
    NULL,                                  /* nonzas */
    NULL,                                  /* stream features */
    ngx_xmpp_external_service_iqs,
    NULL,                                  /* hooks */
    NULL,                                  /* events */
    NULL,                                  /* identities */
    NULL,                                  /* prepare */
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_external_service_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_external_service_feature);
}


static void *
ngx_xmpp_external_service_create_conf(ngx_conf_t *cf)
{
    ngx_xmpp_external_service_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_xmpp_external_service_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->anonymous = NGX_CONF_UNSET;
    conf->services = NGX_CONF_UNSET_PTR;

    return conf;
}


static char *
ngx_xmpp_external_service_merge_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_xmpp_external_service_conf_t *prev = parent;
    ngx_xmpp_external_service_conf_t *conf = child;

    ngx_conf_merge_value(conf->anonymous, prev->anonymous, 0);
    ngx_conf_merge_ptr_value(conf->services, prev->services, NULL);

    conf->enable = (conf->services != NULL);

    return NGX_CONF_OK;
}


/* xmpp_external_service uri [transport=] [secret_file=] [lifetime=] */

static char *
ngx_xmpp_external_service_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                              *rv;
    ngx_str_t                         *value;
    ngx_uint_t                         i;
    ngx_xmpp_external_service_t       *es;
    ngx_xmpp_external_service_conf_t  *escf = conf;

    rv = ngx_xmpp_conf_in_host(cf);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (escf->services == NGX_CONF_UNSET_PTR) {
        escf->services = ngx_array_create(cf->pool, 2,
                                          sizeof(ngx_xmpp_external_service_t));
        if (escf->services == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    es = ngx_array_push(escf->services);
    if (es == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    rv = ngx_xmpp_external_service_uri(&value[1], es);

    for (i = 2; rv == NGX_CONF_OK && i < cf->args->nelts; i++) {
        rv = ngx_xmpp_external_service_param(cf, &value[i], es);

        if (rv != NGX_CONF_OK && rv != NGX_CONF_ERROR) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "parameter \"%V\" of \"%V\" directive %s",
                               &value[i], &cmd->name, rv);
            return NGX_CONF_ERROR;
        }
    }

    if (rv != NGX_CONF_OK && rv != NGX_CONF_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" in \"%V\" directive %s",
                           &value[1], &cmd->name, rv);
        return NGX_CONF_ERROR;
    }

    return rv;
}


/* sets all of es, with the defaults; NGX_CONF_OK or what is wrong */

static char *
ngx_xmpp_external_service_uri(ngx_str_t *uri, ngx_xmpp_external_service_t *es)
{
    u_char                       *colon;
    ngx_str_t                     scheme, rest;
    ngx_xmpp_external_service_t  *known;

    colon = ngx_strlchr(uri->data, uri->data + uri->len, ':');

    scheme.data = uri->data;
    scheme.len = colon ? (size_t) (colon - uri->data) : 0;

    for (known = ngx_xmpp_external_service_schemes; known->type.len; known++) {
        if (ngx_xmpp_str_eq(&known->type, &scheme)) {
            break;
        }
    }

    if (known->type.len == 0) {
        return "must begin with \"stun:\", \"stuns:\", \"turn:\" or "
               "\"turns:\"";
    }

    *es = *known;
    es->lifetime = NGX_XMPP_EXTERNAL_SERVICE_LIFETIME;

    rest.data = colon + 1;
    rest.len = uri->data + uri->len - rest.data;

    return ngx_xmpp_external_service_address(&rest, es);
}


/* host [ ":" port ], an IPv6 address in brackets (RFC 7064, 3.1) */

static char *
ngx_xmpp_external_service_address(ngx_str_t *rest,
    ngx_xmpp_external_service_t *es)
{
    u_char     *p, *last;
    ngx_int_t   port;

    p = rest->data;
    last = rest->data + rest->len;

    if (p < last && *p == '[') {
        es->host.data = ++p;
        p = ngx_strlchr(p, last, ']');

        if (p == NULL) {
            return "has no \"]\" behind the address";
        }

        es->host.len = p++ - es->host.data;

    } else {
        es->host.data = p;

        while (p < last && *p > ' ' && ngx_strchr(":/?#@[]", *p) == NULL) {
            p++;
        }

        es->host.len = p - es->host.data;
    }

    if (es->host.len == 0) {
        return "has no host";
    }

    if (p == last) {
        return NGX_CONF_OK;
    }

    if (*p++ != ':') {
        return "has something else than a port behind its host; a transport "
               "is a parameter: \"transport=tcp\"";
    }

    port = ngx_atoi(p, last - p);

    if (port < 1 || port > 65535) {
        return "has no port behind the colon";
    }

    es->port.data = p;
    es->port.len = last - p;

    return NGX_CONF_OK;
}


/* NGX_CONF_OK, NGX_CONF_ERROR with a message, or what is wrong */

static char *
ngx_xmpp_external_service_param(ngx_conf_t *cf, ngx_str_t *param,
    ngx_xmpp_external_service_t *es)
{
    ngx_str_t  value;

    if (ngx_strncmp(param->data, "transport=", 10) == 0) {
        value.data = param->data + 10;
        value.len = param->len - 10;

        if (ngx_strcmp(value.data, "udp") != 0
            && ngx_strcmp(value.data, "tcp") != 0)
        {
            return "must be \"transport=udp\" or \"transport=tcp\"";
        }

        es->transport = value;

        return NGX_CONF_OK;
    }

    if (ngx_strncmp(param->data, "lifetime=", 9) == 0) {
        value.data = param->data + 9;
        value.len = param->len - 9;

        es->lifetime = ngx_parse_time(&value, 1);

        if (es->lifetime == (time_t) NGX_ERROR || es->lifetime == 0) {
            return "must be a time of at least a second";
        }

        return NGX_CONF_OK;
    }

    if (ngx_strncmp(param->data, "secret_file=", 12) == 0) {
        value.data = param->data + 12;
        value.len = param->len - 12;

        return ngx_xmpp_external_service_secret(cf, &value, &es->secret);
    }

    return "is unknown, there are \"transport\", \"secret_file\" and "
           "\"lifetime\"";
}


/* the only line of the file, without its end */

static char *
ngx_xmpp_external_service_secret(ngx_conf_t *cf, ngx_str_t *file,
    ngx_str_t *secret)
{
    u_char    *buf;
    ssize_t    n;
    ngx_fd_t   fd;

    buf = ngx_pnalloc(cf->pool, NGX_XMPP_EXTERNAL_SERVICE_SECRET + 3);

    if (buf == NULL || ngx_conf_full_name(cf->cycle, file, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    fd = ngx_open_file(file->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    n = (fd == NGX_INVALID_FILE)
        ? -1 : ngx_read_fd(fd, buf, NGX_XMPP_EXTERNAL_SERVICE_SECRET + 3);

    if (n == -1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "reading \"%V\" failed; it should hold the secret "
                           "that is shared with the TURN server", file);
    }

    if (fd != NGX_INVALID_FILE && ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%V\" failed", file);
    }

    if (n == -1) {
        return NGX_CONF_ERROR;
    }

    if (n && buf[n - 1] == LF) {
        n--;
    }

    if (n && buf[n - 1] == CR) {
        n--;
    }

    if (n == 0 || n > NGX_XMPP_EXTERNAL_SERVICE_SECRET
        || ngx_strlchr(buf, buf + n, LF))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" should hold the secret that is shared with "
                           "the TURN server: one line of up to %d bytes", file,
                           NGX_XMPP_EXTERNAL_SERVICE_SECRET);
        return NGX_CONF_ERROR;
    }

    secret->data = buf;
    secret->len = n;

    return NGX_CONF_OK;
}


/* 3.1 and 3.2: all, or those of a type, which is told back */

static ngx_int_t
ngx_xmpp_external_service_services(ngx_xmpp_stanza_t *stz)
{
    ngx_int_t                          rc;
    ngx_str_t                         *type;
    ngx_uint_t                         i;
    ngx_xmpp_xml_t                    *list;
    ngx_xmpp_external_service_t       *es;
    ngx_xmpp_external_service_conf_t  *escf;

    rc = ngx_xmpp_external_service_access(stz);
    if (rc != NGX_OK) {
        return rc;
    }

    type = ngx_xmpp_xml_attr(ngx_xmpp_stanza_payload(stz), "type");
    list = ngx_xmpp_xml_create(stz->pool, &ngx_xmpp_external_service_list,
                               &ngx_xmpp_external_service_ns);

    if (list == NULL
        || (type && ngx_xmpp_xml_set(stz->pool, list, "type", type)
                    != NGX_OK))
    {
        return NGX_ERROR;
    }

    escf = ngx_xmpp_host_conf(stz->host, ngx_xmpp_external_service_module);
    es = escf->services->elts;

    for (i = 0; i < escf->services->nelts; i++) {

        if (ngx_xmpp_external_service_match(type, &es[i].type)
            && ngx_xmpp_external_service_add(stz->pool, list, &es[i])
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return ngx_xmpp_reply(stz, list);
}


/* 3.3: of a host and a type, and of a port if one is named */

static ngx_int_t
ngx_xmpp_external_service_credentials(ngx_xmpp_stanza_t *stz)
{
    ngx_int_t                          rc;
    ngx_str_t                         *host, *type, *port;
    ngx_uint_t                         i;
    ngx_xmpp_xml_t                    *wanted, *list;
    ngx_xmpp_external_service_t       *es;
    ngx_xmpp_external_service_conf_t  *escf;

    rc = ngx_xmpp_external_service_access(stz);
    if (rc != NGX_OK) {
        return rc;
    }

    wanted = ngx_xmpp_xml_child(ngx_xmpp_stanza_payload(stz), "service",
                                &ngx_xmpp_external_service_ns);
    if (wanted == NULL) {
        return NGX_XMPP_E_BAD_REQUEST;
    }

    host = ngx_xmpp_xml_attr(wanted, "host");
    type = ngx_xmpp_xml_attr(wanted, "type");
    port = ngx_xmpp_xml_attr(wanted, "port");

    if (host == NULL || type == NULL) {
        return NGX_XMPP_E_BAD_REQUEST;
    }

    list = ngx_xmpp_xml_create(stz->pool, &ngx_xmpp_external_service_keys,
                               &ngx_xmpp_external_service_ns);
    if (list == NULL) {
        return NGX_ERROR;
    }

    escf = ngx_xmpp_host_conf(stz->host, ngx_xmpp_external_service_module);
    es = escf->services->elts;

    for (i = 0; i < escf->services->nelts; i++) {

        if (es[i].secret.len
            && ngx_xmpp_external_service_match(host, &es[i].host)
            && ngx_xmpp_external_service_match(type, &es[i].type)
            && ngx_xmpp_external_service_match(port, &es[i].port)
            && ngx_xmpp_external_service_add(stz->pool, list, &es[i])
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return list->children ? ngx_xmpp_reply(stz, list)
                          : NGX_XMPP_E_ITEM_NOT_FOUND;
}


/* 2: a password is for those who have logged in here */

static ngx_int_t
ngx_xmpp_external_service_access(ngx_xmpp_stanza_t *stz)
{
    ngx_xmpp_external_service_conf_t  *escf;

    escf = ngx_xmpp_host_conf(stz->host, ngx_xmpp_external_service_module);

    if (stz->session->host != stz->host
        || (stz->session->lifetime && !escf->anonymous))
    {
        return NGX_XMPP_E_FORBIDDEN;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_xmpp_external_service_match(ngx_str_t *wanted, ngx_str_t *value)
{
    return wanted == NULL || ngx_xmpp_str_eq(wanted, value);
}


static ngx_int_t
ngx_xmpp_external_service_add(ngx_pool_t *pool, ngx_xmpp_xml_t *parent,
    ngx_xmpp_external_service_t *es)
{
    ngx_xmpp_xml_t  *e;

    e = ngx_xmpp_xml_add(pool, parent, &ngx_xmpp_external_service_name, NULL);

    if (e == NULL
        || ngx_xmpp_xml_set(pool, e, "type", &es->type) != NGX_OK
        || ngx_xmpp_xml_set(pool, e, "host", &es->host) != NGX_OK
        || ngx_xmpp_xml_set(pool, e, "port", &es->port) != NGX_OK
        || ngx_xmpp_xml_set(pool, e, "transport", &es->transport) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return es->secret.len ? ngx_xmpp_external_service_password(pool, e, es)
                          : NGX_OK;
}


/* the time is told as XEP-0082, 3.2 writes it, too */

static ngx_int_t
ngx_xmpp_external_service_password(ngx_pool_t *pool, ngx_xmpp_xml_t *e,
    ngx_xmpp_external_service_t *es)
{
    u_char        *p, digest[EVP_MAX_MD_SIZE];
    time_t         end;
    ngx_str_t      user, password, expires;
    unsigned int   n;

    p = ngx_pnalloc(pool, NGX_TIME_T_LEN + sizeof("2026-11-22T14:37:24Z")
                          + ngx_base64_encoded_length(sizeof(digest)));
    if (p == NULL) {
        return NGX_ERROR;
    }

    end = ngx_time() + es->lifetime;

    user.data = p;
    p = ngx_sprintf(p, "%T", end);
    user.len = p - user.data;

    if (HMAC(EVP_sha1(), es->secret.data, (int) es->secret.len, user.data,
             user.len, digest, &n)
        == NULL)
    {
        return NGX_ERROR;
    }

    password.data = p;
    p = ngx_xmpp_base64_encode_to(p, digest, n);
    password.len = p - password.data;

    expires.data = p;
    expires.len = ngx_xmpp_datetime(p, end) - p;

    if (ngx_xmpp_xml_set(pool, e, "restricted",
                         &ngx_xmpp_external_service_true) != NGX_OK
        || ngx_xmpp_xml_set(pool, e, "username", &user) != NGX_OK
        || ngx_xmpp_xml_set(pool, e, "password", &password) != NGX_OK
        || ngx_xmpp_xml_set(pool, e, "expires", &expires) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}
