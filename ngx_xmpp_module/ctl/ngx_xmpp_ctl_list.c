
/*
 * Which accounts and domains a command is about: arguments that name them, and
 * the lists of accounts, PREFIX:accounts:DOMAIN.
 *
 * Arguments are prepared as the server prepares addresses (RFC 7622), and a
 * domain that nginx.conf does not serve is refused: a typing error would make
 * an account that nobody can log in to.  A list is read page by page while it
 * may change; SSCAN gives a member twice then, but leaves none out that is
 * there all the while.  What is read lies in ctl->pool until the program ends.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <stdio.h>
#include "ngx_xmpp_ctl.h"


#define NGX_XMPP_CTL_SCAN  "1000"        /* members in a page, about */


static int ngx_xmpp_ctl_user(ngx_xmpp_ctl_t *ctl, ngx_str_t *bare);
static int ngx_xmpp_ctl_list(ngx_xmpp_ctl_t *ctl, ngx_str_t *domain,
    ngx_xmpp_ctl_list_t *list);
static int ngx_xmpp_ctl_list_page(ngx_xmpp_ctl_t *ctl, redisReply *reply,
    ngx_xmpp_ctl_list_t *list);
static int ngx_libc_cdecl ngx_xmpp_ctl_cmp(const void *one, const void *two);


/* users [DOMAIN]; an exit status */

int
ngx_xmpp_ctl_users(ngx_xmpp_ctl_t *ctl, int argc, char **argv)
{
    int                    status;
    size_t                 i;
    ngx_xmpp_ctl_list_t    list;

    status = ngx_xmpp_ctl_accounts(ctl, argc ? argv[0] : NULL, &list);

    if (status != NGX_XMPP_CTL_OK) {
        return status;
    }

    for (i = 0; i < list.n && status == NGX_XMPP_CTL_OK; i++) {
        status = ngx_xmpp_ctl_user(ctl, &list.elts[i]);
    }

    return status;
}


/* a line of its own; an exit status */

static int
ngx_xmpp_ctl_user(ngx_xmpp_ctl_t *ctl, ngx_str_t *bare)
{
    ngx_str_t    argv[3];
    redisReply  *reply;

    ngx_str_set(&argv[0], "HEXISTS");
    ngx_str_set(&argv[2], "disabled");

    if (ngx_xmpp_ctl_key(ctl, bare, "account", &argv[1]) != NGX_OK) {
        return ngx_xmpp_ctl_no_memory();
    }

    reply = ngx_xmpp_ctl_command(ctl, 3, argv);

    if (reply == NULL || reply->type != REDIS_REPLY_INTEGER) {
        return ngx_xmpp_ctl_bad_reply(reply);
    }

    (void) printf("%.*s%s\n", (int) bare->len, bare->data,
                  reply->integer ? "  disabled" : "");

    freeReplyObject(reply);

    return NGX_XMPP_CTL_OK;
}


/* connects; the accounts of a domain, or of all in nginx.conf; sorted */

int
ngx_xmpp_ctl_accounts(ngx_xmpp_ctl_t *ctl, char *arg,
    ngx_xmpp_ctl_list_t *list)
{
    int                    status;
    size_t                 i, n;
    ngx_str_t              domain;
    ngx_xmpp_ctl_host_t   *host;

    ngx_memzero(list, sizeof(ngx_xmpp_ctl_list_t));

    if (arg == NULL && !ctl->hosts_known) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_USAGE,
                                 "with -r alone, a DOMAIN has to be named");
    }

    if (arg) {
        domain.data = (u_char *) arg;
        domain.len = ngx_strlen(arg);

        status = ngx_xmpp_ctl_domain(ctl, &domain);
        if (status != NGX_XMPP_CTL_OK) {
            return status;
        }
    }

    status = ngx_xmpp_ctl_connect(ctl);

    if (status == NGX_XMPP_CTL_OK && arg) {
        status = ngx_xmpp_ctl_list(ctl, &domain, list);

    } else {

        for (host = ctl->hosts; host && status == NGX_XMPP_CTL_OK;
             host = host->next)
        {
            status = ngx_xmpp_ctl_list(ctl, &host->name, list);
        }
    }

    if (status != NGX_XMPP_CTL_OK || list->n == 0) {
        return status;
    }

    ngx_qsort(list->elts, list->n, sizeof(ngx_str_t), ngx_xmpp_ctl_cmp);

    for (i = 1, n = 1; i < list->n; i++) {

        /* SSCAN may give a member twice */

        if (ngx_xmpp_ctl_cmp(&list->elts[n - 1], &list->elts[i])) {
            list->elts[n++] = list->elts[i];
        }
    }

    list->n = n;

    return NGX_XMPP_CTL_OK;
}


/* arg as an account's address, prepared, of a domain that is served */

int
ngx_xmpp_ctl_jid(ngx_xmpp_ctl_t *ctl, char *arg, ngx_xmpp_jid_t *jid)
{
    int  status;

    status = ngx_xmpp_ctl_full_jid(ctl, arg, jid);

    if (status == NGX_XMPP_CTL_OK && jid->resource.len) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                 "\"%s\" is not the address of an account:"
                                 " that is user@domain", arg);
    }

    return status;
}


/* the same, of a session, too */

int
ngx_xmpp_ctl_full_jid(ngx_xmpp_ctl_t *ctl, char *arg, ngx_xmpp_jid_t *jid)
{
    ngx_int_t  rc;
    ngx_str_t  text, domain;

    text.data = (u_char *) arg;
    text.len = ngx_strlen(arg);

    rc = ngx_xmpp_jid_parse(ctl->pool, &text, jid);

    if (rc == NGX_ERROR) {
        return ngx_xmpp_ctl_no_memory();
    }

    if (rc == NGX_DECLINED) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                 "\"%s\" is not a JID (RFC 7622)", arg);
    }

    if (jid->local.len == 0) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                 "\"%s\" is not the address of an account:"
                                 " that is user@domain", arg);
    }

    domain = jid->domain;

    return ngx_xmpp_ctl_domain(ctl, &domain);
}


/* prepares *domain and checks that it is served; an exit status */

int
ngx_xmpp_ctl_domain(ngx_xmpp_ctl_t *ctl, ngx_str_t *domain)
{
    ngx_int_t             rc;
    ngx_str_t             text;
    ngx_xmpp_ctl_host_t  *host;

    text = *domain;

    rc = ngx_xmpp_jid_prep_domain(ctl->pool, &text, domain);

    if (rc == NGX_ERROR) {
        return ngx_xmpp_ctl_no_memory();
    }

    if (rc == NGX_DECLINED) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                 "\"%.*s\" is not a domain (RFC 7622)",
                                 (int) text.len, text.data);
    }

    if (!ctl->hosts_known) {
        return NGX_XMPP_CTL_OK;
    }

    for (host = ctl->hosts; host; host = host->next) {
        if (ngx_xmpp_str_eq(&host->name, domain)) {
            return NGX_XMPP_CTL_OK;
        }
    }

    (void) ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                             "no xmpp_host in nginx.conf is named %.*s; %s",
                             (int) domain->len, domain->data,
                             ctl->hosts ? "there are:" : "there are none");

    for (host = ctl->hosts; host; host = host->next) {
        (void) fprintf(stderr, "    %.*s\n", (int) host->name.len,
                       host->name.data);
    }

    return NGX_XMPP_CTL_REFUSED;
}


/* adds all members of a domain's list, page by page; an exit status */

static int
ngx_xmpp_ctl_list(ngx_xmpp_ctl_t *ctl, ngx_str_t *domain,
    ngx_xmpp_ctl_list_t *list)
{
    int          status;
    u_char       cursor[NGX_INT64_LEN + 1];
    ngx_str_t    argv[5];
    redisReply  *reply;

    ngx_str_set(&argv[0], "SSCAN");
    ngx_str_set(&argv[2], "0");
    ngx_str_set(&argv[3], "COUNT");
    ngx_str_set(&argv[4], NGX_XMPP_CTL_SCAN);

    if (ngx_xmpp_ctl_list_key(ctl, domain, &argv[1]) != NGX_OK) {
        return ngx_xmpp_ctl_no_memory();
    }

    do {
        reply = ngx_xmpp_ctl_command(ctl, 5, argv);

        if (reply == NULL || reply->type != REDIS_REPLY_ARRAY
            || reply->elements != 2
            || reply->element[0]->type != REDIS_REPLY_STRING
            || reply->element[1]->type != REDIS_REPLY_ARRAY)
        {
            return ngx_xmpp_ctl_bad_reply(reply);
        }

        argv[2].data = cursor;
        argv[2].len = ngx_cpystrn(cursor, (u_char *) reply->element[0]->str,
                                  sizeof(cursor))
                      - cursor;

        status = ngx_xmpp_ctl_list_page(ctl, reply->element[1], list);

        freeReplyObject(reply);

        if (status != NGX_XMPP_CTL_OK) {
            return status;
        }

    } while (argv[2].len != 1 || cursor[0] != '0');

    return NGX_XMPP_CTL_OK;
}


/* copies the strings of one page */

static int
ngx_xmpp_ctl_list_page(ngx_xmpp_ctl_t *ctl, redisReply *reply,
    ngx_xmpp_ctl_list_t *list)
{
    size_t       i;
    ngx_str_t   *elts, *str;
    redisReply  *member;

    if (list->n + reply->elements > list->nalloc) {

        list->nalloc = 2 * (list->n + reply->elements);

        elts = ngx_palloc(ctl->pool, list->nalloc * sizeof(ngx_str_t));
        if (elts == NULL) {
            return ngx_xmpp_ctl_no_memory();
        }

        if (list->n) {
            ngx_memcpy(elts, list->elts, list->n * sizeof(ngx_str_t));
        }

        list->elts = elts;
    }

    for (i = 0; i < reply->elements; i++) {
        member = reply->element[i];

        if (member->type != REDIS_REPLY_STRING) {
            continue;
        }

        str = &list->elts[list->n++];

        str->len = member->len;
        str->data = ngx_pnalloc(ctl->pool, member->len);

        if (str->data == NULL) {
            return ngx_xmpp_ctl_no_memory();
        }

        ngx_memcpy(str->data, member->str, member->len);
    }

    return NGX_XMPP_CTL_OK;
}


static int ngx_libc_cdecl
ngx_xmpp_ctl_cmp(const void *one, const void *two)
{
    int               rc;
    const ngx_str_t  *a, *b;

    a = one;
    b = two;

    rc = ngx_memcmp(a->data, b->data, ngx_min(a->len, b->len));

    return rc ? rc : (a->len > b->len) - (a->len < b->len);
}
