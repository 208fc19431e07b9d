/*
 * Service discovery (XEP-0030): what a host and an account are and can do.
 *
 * A host's identities, features and forms (XEP-0128) are those of the enabled
 * modules, compiled by the core; h->node is another name of them all.
 * Of accounts only one's own is told about: without a subscription an answer
 * would tell who exists (section 8).  A host's commands (XEP-0050, 2.2) are
 * nodes of it, and told to those who may execute them.
 */


#include "ngx_xmpp.h"


static ngx_int_t ngx_xmpp_disco_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_xmpp_disco_info(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_disco_items(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_disco_commands_info(ngx_xmpp_stanza_t *stz,
    ngx_str_t *node);
static ngx_int_t ngx_xmpp_disco_commands_items(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_xml_t *query);
static ngx_xmpp_xml_t *ngx_xmpp_disco_query(ngx_xmpp_stanza_t *stz);
static ngx_int_t ngx_xmpp_disco_host(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_xml_t *query);
static ngx_int_t ngx_xmpp_disco_self(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_xml_t *query);
static ngx_int_t ngx_xmpp_disco_identity(ngx_pool_t *pool,
    ngx_xmpp_xml_t *query, ngx_xmpp_identity_t *id);
static ngx_int_t ngx_xmpp_disco_add(ngx_pool_t *pool, ngx_xmpp_xml_t *query,
    ngx_str_t *var);


static ngx_str_t  ngx_xmpp_disco_query_name = ngx_string("query");
static ngx_str_t  ngx_xmpp_disco_identity_name = ngx_string("identity");
static ngx_str_t  ngx_xmpp_disco_feature_name = ngx_string("feature");


/* XEP-0175, 4: who has no account is told so */

static ngx_xmpp_identity_t  ngx_xmpp_disco_registered = {
    ngx_string("account"), ngx_string("registered"), ngx_null_string
};

static ngx_xmpp_identity_t  ngx_xmpp_disco_anonymous = {
    ngx_string("account"), ngx_string("anonymous"), ngx_null_string
};


static ngx_xmpp_xep_t  ngx_xmpp_disco_xeps[] = {
    { 30, "2.5.0", "complete" },
    { 128, "1.0.1", "complete" },
    ngx_xmpp_null_xep
};


static ngx_xmpp_identity_t  ngx_xmpp_disco_identities[] = {
    { ngx_string("server"), ngx_string("im"), ngx_string("ngx_xmpp_module") },
    ngx_xmpp_null_identity
};


static ngx_str_t  ngx_xmpp_disco_features[] = {
    ngx_string("http://jabber.org/protocol/disco#info"),
    ngx_string("http://jabber.org/protocol/disco#items"),
    ngx_null_string
};


static ngx_xmpp_iq_t  ngx_xmpp_disco_iqs[] = {

    { NGX_XMPP_IQ_GET|NGX_XMPP_TO_HOST|NGX_XMPP_TO_SELF,
      ngx_string("http://jabber.org/protocol/disco#info"),
      ngx_string("query"),
      ngx_xmpp_disco_info },

    { NGX_XMPP_IQ_GET|NGX_XMPP_TO_HOST|NGX_XMPP_TO_SELF,
      ngx_string("http://jabber.org/protocol/disco#items"),
      ngx_string("query"),
      ngx_xmpp_disco_items },

      ngx_xmpp_null_iq
};


static ngx_command_t  ngx_xmpp_disco_commands[] = {

    { ngx_string("xmpp_disco"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_FLAG,
      ngx_xmpp_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_feature_conf_t, enable),
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_disco_module_ctx = {
    ngx_xmpp_disco_preconfiguration,     /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_feature_create_conf,          /* create server configuration */
    ngx_xmpp_feature_merge_on              /* merge server configuration */
};


ngx_module_t  ngx_xmpp_disco_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_disco_module_ctx,          /* module context */
    ngx_xmpp_disco_commands,             /* module directives */
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


static ngx_xmpp_feature_t  ngx_xmpp_disco_feature = {
    &ngx_xmpp_disco_module,
    ngx_xmpp_disco_xeps,
    ngx_xmpp_disco_features,
    NULL,                                  /* nonzas */
    NULL,                                  /* stream features */
    ngx_xmpp_disco_iqs,
    NULL,                                  /* hooks */
    NULL,                                  /* events */
    ngx_xmpp_disco_identities,
    NULL,                                  /* prepare */
    NULL                                   /* compiled */
};


static ngx_int_t
ngx_xmpp_disco_preconfiguration(ngx_conf_t *cf)
{
    return ngx_xmpp_feature_add(cf, &ngx_xmpp_disco_feature);
}


static ngx_int_t
ngx_xmpp_disco_info(ngx_xmpp_stanza_t *stz)
{
    ngx_int_t        rc;
    ngx_str_t       *node;
    ngx_uint_t       host;
    ngx_xmpp_xml_t  *query;

    host = stz->mask & NGX_XMPP_TO_HOST;
    node = ngx_xmpp_xml_attr(ngx_xmpp_stanza_payload(stz), "node");

    if (node && host && stz->host->commands.nelts
        && (ngx_xmpp_str_eq(node, &ngx_xmpp_command_ns)
            || ngx_xmpp_command_find(stz->host, node)))
    {
        return ngx_xmpp_disco_commands_info(stz, node);
    }

    /* 3.2: we have no other nodes, but for a name of the host itself */

    if (node
        && !(host && node->len && ngx_xmpp_str_eq(node, &stz->host->node)))
    {
        return NGX_XMPP_E_ITEM_NOT_FOUND;
    }

    query = ngx_xmpp_disco_query(stz);
    if (query == NULL) {
        return NGX_ERROR;
    }

    /* 3.2: told back */

    if (node && ngx_xmpp_xml_set(stz->pool, query, "node", node) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = host ? ngx_xmpp_disco_host(stz, query)
              : ngx_xmpp_disco_self(stz, query);

    return (rc == NGX_OK) ? ngx_xmpp_reply(stz, query) : rc;
}


static ngx_int_t
ngx_xmpp_disco_host(ngx_xmpp_stanza_t *stz, ngx_xmpp_xml_t *query)
{
    ngx_str_t            *var;
    ngx_uint_t            i;
    ngx_xmpp_xml_t       *x;
    ngx_xmpp_form_t      *form;
    ngx_xmpp_host_t      *h;
    ngx_xmpp_identity_t  *id;

    h = stz->host;

    id = h->identities.elts;

    for (i = 0; i < h->identities.nelts; i++) {
        if (ngx_xmpp_disco_identity(stz->pool, query, &id[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    var = h->features.elts;

    for (i = 0; i < h->features.nelts; i++) {
        if (ngx_xmpp_disco_add(stz->pool, query, &var[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    form = h->forms.elts;

    for (i = 0; i < h->forms.nelts; i++) {

        /* XEP-0128, 2 */

        x = ngx_xmpp_form_result(stz->pool, &form[i]);
        if (x == NULL) {
            return NGX_ERROR;
        }

        ngx_xmpp_xml_append(query, x);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_disco_self(ngx_xmpp_stanza_t *stz, ngx_xmpp_xml_t *query)
{
    ngx_str_t   *var;
    ngx_uint_t   i;

    if (ngx_xmpp_disco_identity(stz->pool, query,
                                stz->session->lifetime
                                ? &ngx_xmpp_disco_anonymous
                                : &ngx_xmpp_disco_registered)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (var = ngx_xmpp_disco_features; var->len; var++) {
        if (ngx_xmpp_disco_add(stz->pool, query, var) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    var = stz->host->account_features.elts;

    for (i = 0; i < stz->host->account_features.nelts; i++) {
        if (ngx_xmpp_disco_add(stz->pool, query, &var[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* XEP-0050, 2.2: the list of commands, or one of them */

static ngx_int_t
ngx_xmpp_disco_commands_info(ngx_xmpp_stanza_t *stz, ngx_str_t *node)
{
    ngx_xmpp_xml_t       *query;
    ngx_xmpp_command_t   *cmd;
    ngx_xmpp_identity_t   id;

    cmd = ngx_xmpp_command_find(stz->host, node);

    if (cmd && !ngx_xmpp_command_allowed(stz, cmd)) {
        return NGX_XMPP_E_FORBIDDEN;
    }

    ngx_memzero(&id, sizeof(ngx_xmpp_identity_t));

    ngx_str_set(&id.category, "automation");
    ngx_str_set(&id.type, "command-list");

    if (cmd) {
        ngx_str_set(&id.type, "command-node");
        id.name = cmd->name;
    }

    query = ngx_xmpp_disco_query(stz);

    if (query == NULL
        || ngx_xmpp_xml_set(stz->pool, query, "node", node) != NGX_OK
        || ngx_xmpp_disco_identity(stz->pool, query, &id) != NGX_OK
        || ngx_xmpp_disco_add(stz->pool, query, &ngx_xmpp_command_ns)
           != NGX_OK
        || (cmd
            && ngx_xmpp_disco_add(stz->pool, query, &ngx_xmpp_form_ns)
               != NGX_OK))
    {
        return NGX_ERROR;
    }

    return ngx_xmpp_reply(stz, query);
}


/* 4.1: an entity without items has an empty list */

static ngx_int_t
ngx_xmpp_disco_items(ngx_xmpp_stanza_t *stz)
{
    ngx_str_t       *node;
    ngx_xmpp_xml_t  *query;

    node = ngx_xmpp_xml_attr(ngx_xmpp_stanza_payload(stz), "node");

    if (node && !(stz->host->commands.nelts && (stz->mask & NGX_XMPP_TO_HOST)))
    {
        return NGX_XMPP_E_ITEM_NOT_FOUND;
    }

    query = ngx_xmpp_disco_query(stz);
    if (query == NULL) {
        return NGX_ERROR;
    }

    if (node == NULL) {
        return ngx_xmpp_reply(stz, query);
    }

    if (ngx_xmpp_xml_set(stz->pool, query, "node", node) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_xmpp_str_eq(node, &ngx_xmpp_command_ns)) {
        return ngx_xmpp_disco_commands_items(stz, query);
    }

    /* a command has none */

    return ngx_xmpp_command_find(stz->host, node) ? ngx_xmpp_reply(stz, query)
                                                  : NGX_XMPP_E_ITEM_NOT_FOUND;
}


/* XEP-0050, 2.2: not the same list for everybody */

static ngx_int_t
ngx_xmpp_disco_commands_items(ngx_xmpp_stanza_t *stz, ngx_xmpp_xml_t *query)
{
    ngx_uint_t           i;
    ngx_xmpp_xml_t      *e;
    ngx_xmpp_command_t  *cmd;

    static ngx_str_t  item = ngx_string("item");

    cmd = stz->host->commands.elts;

    for (i = 0; i < stz->host->commands.nelts; i++) {

        if (!ngx_xmpp_command_allowed(stz, &cmd[i])) {
            continue;
        }

        e = ngx_xmpp_xml_add(stz->pool, query, &item, NULL);

        if (e == NULL
            || ngx_xmpp_xml_set(stz->pool, e, "jid", &stz->host->name)
               != NGX_OK
            || ngx_xmpp_xml_set(stz->pool, e, "node", &cmd[i].node) != NGX_OK
            || ngx_xmpp_xml_set(stz->pool, e, "name", &cmd[i].name) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return ngx_xmpp_reply(stz, query);
}


static ngx_xmpp_xml_t *
ngx_xmpp_disco_query(ngx_xmpp_stanza_t *stz)
{
    return ngx_xmpp_xml_create(stz->pool, &ngx_xmpp_disco_query_name,
                               &ngx_xmpp_stanza_payload(stz)->ns);
}


static ngx_int_t
ngx_xmpp_disco_identity(ngx_pool_t *pool, ngx_xmpp_xml_t *query,
    ngx_xmpp_identity_t *id)
{
    ngx_xmpp_xml_t  *e;

    e = ngx_xmpp_xml_add(pool, query, &ngx_xmpp_disco_identity_name, NULL);

    if (e == NULL
        || ngx_xmpp_xml_set(pool, e, "category", &id->category) != NGX_OK
        || ngx_xmpp_xml_set(pool, e, "type", &id->type) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return id->name.len ? ngx_xmpp_xml_set(pool, e, "name", &id->name)
                        : NGX_OK;
}


static ngx_int_t
ngx_xmpp_disco_add(ngx_pool_t *pool, ngx_xmpp_xml_t *query, ngx_str_t *var)
{
    ngx_xmpp_xml_t  *e;

    e = ngx_xmpp_xml_add(pool, query, &ngx_xmpp_disco_feature_name, NULL);

    return e ? ngx_xmpp_xml_set(pool, e, "var", var) : NGX_ERROR;
}
