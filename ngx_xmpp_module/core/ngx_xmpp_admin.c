/*
 * Administrators: the users whom a domain lets manage it, xmpp_admin.
 *
 * They are bare JIDs, prepared at configuration (RFC 7622), so that a question
 * compares bytes.  A list in an xmpp_host{} takes the place of that of the
 * stream block; there is no other way from one domain to the next.
 *
 * Being in the list is no login: the name has to have an account, and its user
 * to prove that he is that.  Who asks here for a session looks at its lifetime,
 * too: an anonymous one is nobody's (ngx_xmpp_sasl_anonymous.c).
 */


#include "ngx_xmpp.h"


static void ngx_xmpp_admin_check_list(ngx_conf_t *cf,
    ngx_xmpp_main_conf_t *xmcf, ngx_array_t *admins);


char *
ngx_xmpp_admin_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_xmpp_srv_conf_t *xscf = conf;

    char            *rv;
    ngx_int_t        rc;
    ngx_str_t       *value, *admin;
    ngx_uint_t       i;
    ngx_xmpp_jid_t   jid;

    rv = ngx_xmpp_conf_in_host(cf);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (xscf->admins == NULL) {
        xscf->admins = ngx_array_create(cf->pool, 2, sizeof(ngx_str_t));
        if (xscf->admins == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        rc = ngx_xmpp_jid_parse(cf->pool, &value[i], &jid);

        if (rc == NGX_ERROR) {
            return NGX_CONF_ERROR;
        }

        if (rc == NGX_DECLINED || jid.local.len == 0 || jid.resource.len) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" in \"%V\" directive is not the address "
                               "of an account: that is user@domain",
                               &value[i], &cmd->name);
            return NGX_CONF_ERROR;
        }

        admin = ngx_array_push(xscf->admins);
        if (admin == NULL) {
            return NGX_CONF_ERROR;
        }

        *admin = jid.bare;
    }

    return NGX_CONF_OK;
}


void
ngx_xmpp_admin_check(ngx_conf_t *cf, ngx_xmpp_main_conf_t *xmcf)
{
    ngx_uint_t             i;
    ngx_xmpp_host_t      **hp;
    ngx_xmpp_srv_conf_t   *xscf, *prev;

    /* that of the stream block, which hosts have inherited */

    prev = ngx_stream_conf_get_module_srv_conf(cf, ngx_xmpp_module);

    ngx_xmpp_admin_check_list(cf, xmcf, prev->admins);

    hp = xmcf->hosts.elts;

    for (i = 0; i < xmcf->hosts.nelts; i++) {
        xscf = ngx_xmpp_host_conf(hp[i], ngx_xmpp_module);

        if (xscf->admins != prev->admins) {
            ngx_xmpp_admin_check_list(cf, xmcf, xscf->admins);
        }
    }
}


static void
ngx_xmpp_admin_check_list(ngx_conf_t *cf, ngx_xmpp_main_conf_t *xmcf,
    ngx_array_t *admins)
{
    u_char      *p, *last;
    ngx_str_t   *admin, domain;
    ngx_uint_t   i;

    if (admins == NULL) {
        return;
    }

    admin = admins->elts;

    for (i = 0; i < admins->nelts; i++) {
        last = admin[i].data + admin[i].len;
        p = ngx_strlchr(admin[i].data, last, '@') + 1;

        domain.data = p;
        domain.len = last - p;

        if (ngx_xmpp_host_find(xmcf, &domain) == NULL) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "\"%V\" in \"xmpp_admin\" is of a domain that no "
                          "\"xmpp_host\" names, so nobody can log in as that",
                          &admin[i]);
        }
    }
}


ngx_uint_t
ngx_xmpp_admin(ngx_xmpp_host_t *h, ngx_str_t *bare)
{
    ngx_str_t            *admin;
    ngx_uint_t            i;
    ngx_xmpp_srv_conf_t  *xscf;

    xscf = ngx_xmpp_host_conf(h, ngx_xmpp_module);

    if (xscf->admins == NULL) {
        return 0;
    }

    admin = xscf->admins->elts;

    for (i = 0; i < xscf->admins->nelts; i++) {
        if (ngx_xmpp_str_eq(&admin[i], bare)) {
            return 1;
        }
    }

    return 0;
}
