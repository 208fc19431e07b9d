/*
 * Limits on failed logins, per network and per account, in the whole cluster:
 * the directives, and what an attempt says of itself to the store, which
 * counts (store/ngx_xmpp_store_login.c).
 *
 *     exchange begins   what this worker has counted for the network
 *     keys come         and what all have, for the network and the account
 *     outcome           what this worker has counted meanwhile, for both;
 *                       a failure is counted
 *
 * Refused is temporary-auth-failure (RFC 6120, 6.5.9), before any password is
 * looked at and whether there is such an account or not.  Addresses that say
 * nothing about who is behind them, loopback and unix sockets, are not
 * counted, nor are those that the configuration exempts.
 */


#include "ngx_xmpp_stream.h"


typedef struct {
    ngx_uint_t                   address;      /* failures; 0: no limit */
    ngx_uint_t                   account;
    ngx_msec_t                   time;
    ngx_stream_complex_value_t  *exempt;
} ngx_xmpp_login_limit_conf_t;


static void *ngx_xmpp_login_limit_create_conf(ngx_conf_t *cf);
static char *ngx_xmpp_login_limit_merge_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_xmpp_login_limit_exempt(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_command_t  ngx_xmpp_login_limit_commands[] = {

    { ngx_string("xmpp_login_limit_address"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_login_limit_conf_t, address),
      NULL },

    { ngx_string("xmpp_login_limit_account"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_login_limit_conf_t, account),
      NULL },

    { ngx_string("xmpp_login_limit_time"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_login_limit_conf_t, time),
      &ngx_xmpp_conf_second },

    { ngx_string("xmpp_login_limit_exempt"),
      NGX_STREAM_MAIN_CONF|NGX_XMPP_HOST_CONF|NGX_CONF_TAKE1,
      ngx_xmpp_login_limit_exempt,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_xmpp_login_limit_conf_t, exempt),
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_xmpp_login_limit_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_xmpp_login_limit_create_conf,      /* create server configuration */
    ngx_xmpp_login_limit_merge_conf        /* merge server configuration */
};


ngx_module_t  ngx_xmpp_login_limit_module = {
    NGX_MODULE_V1,
    &ngx_xmpp_login_limit_module_ctx,      /* module context */
    ngx_xmpp_login_limit_commands,         /* module directives */
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


static void *
ngx_xmpp_login_limit_create_conf(ngx_conf_t *cf)
{
    ngx_xmpp_login_limit_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_xmpp_login_limit_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->address = NGX_CONF_UNSET_UINT;
    conf->account = NGX_CONF_UNSET_UINT;
    conf->time = NGX_CONF_UNSET_MSEC;

    return conf;
}


static char *
ngx_xmpp_login_limit_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_xmpp_login_limit_conf_t *prev = parent;
    ngx_xmpp_login_limit_conf_t *conf = child;

    ngx_conf_merge_uint_value(conf->address, prev->address, 20);
    ngx_conf_merge_uint_value(conf->account, prev->account, 10);
    ngx_conf_merge_msec_value(conf->time, prev->time, 600000);

    if (conf->exempt == NULL) {
        conf->exempt = prev->exempt;
    }

    return NGX_CONF_OK;
}


static char *
ngx_xmpp_login_limit_exempt(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *rv;

    rv = ngx_xmpp_conf_in_host(cf);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return ngx_stream_set_complex_value_slot(cf, cmd, conf);
}


/*
 * Fills *at, which is empty, with the network of a stream's client and the
 * limits for it, from pool; leaves it empty where nothing is counted.  NGX_OK
 * or NGX_ERROR.
 */

ngx_int_t
ngx_xmpp_login_limit_client(ngx_xmpp_stream_t *st, ngx_pool_t *pool,
    ngx_xmpp_store_attempt_t *at)
{
    u_char                        p[NGX_XMPP_NETWORK_MAX];
    ngx_str_t                     network, value, none;
    ngx_xmpp_login_limit_conf_t  *conf;

    conf = ngx_xmpp_host_conf(st->host, ngx_xmpp_login_limit_module);

    network.data = p;
    network.len = ngx_xmpp_network(st->connection->sockaddr, p);

    if (network.len == 0 || (conf->address == 0 && conf->account == 0)) {
        return NGX_OK;
    }

    if (conf->exempt) {

        if (st->transport->value(st, pool, conf->exempt, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        if (value.len && (value.len != 1 || value.data[0] != '0')) {
            return NGX_OK;
        }
    }

    at->max_address = conf->address;
    at->max_account = conf->account;
    at->time = conf->time / 1000;

    ngx_str_set(&none, "");

    at->network.data = ngx_pstrdup(pool, &network);

    if (at->network.data == NULL
        || ngx_xmpp_network_tally(at->tallies[NGX_XMPP_STORE_TALLY_ADDRESS],
                                  NGX_XMPP_TALLY_ADDRESS, &network, &none)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    at->network.len = network.len;

    return NGX_OK;
}
