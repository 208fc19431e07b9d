/*
 * Certificates of an xmpp_host{} when the configuration is read: that their
 * files are there, before nginx loads them and tells only their names, and
 * that they are for the domain (RFC 6120, 13.7.1.2; RFC 6125, 6.4), for a
 * client that checks would refuse any other.
 *
 * A name of a file with variables is known when a client comes, and so is what
 * stands in that file: nothing is said about either.
 */


#include "ngx_xmpp.h"
#include <openssl/x509v3.h>


static ngx_int_t ngx_xmpp_certificate_open(ngx_conf_t *cf, ngx_xmpp_host_t *h,
    ngx_array_t *files, char *what);
static ngx_uint_t ngx_xmpp_certificate_match(ngx_conf_t *cf, X509 *cert,
    ngx_str_t *name);
static ngx_uint_t ngx_xmpp_certificate_match_idn(ngx_conf_t *cf, X509 *cert,
    ngx_str_t *name);


/* what is no file: see ngx_ssl_certificate() */

static ngx_str_t  ngx_xmpp_certificate_schemes[] = {
    ngx_string("data:"),
    ngx_string("engine:"),
    ngx_string("store:"),
    ngx_null_string
};


/*
 * certificates and keys are arrays of names (ngx_str_t), as configured, or
 * NULL.  NGX_OK, or NGX_ERROR when one cannot be opened, which is logged.
 */

ngx_int_t
ngx_xmpp_certificate_files(ngx_conf_t *cf, ngx_xmpp_host_t *h,
    ngx_array_t *certificates, ngx_array_t *keys)
{
    if (certificates && keys == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "no \"ssl_certificate_key\" is defined for "
                      "\"xmpp_host\" \"%V\" in %V:%ui; name the file of its "
                      "key",
                      &h->name, &h->file, h->line);
        return NGX_ERROR;
    }

    if (certificates && keys->nelts < certificates->nelts) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "%ui \"ssl_certificate\", but %ui "
                      "\"ssl_certificate_key\", in \"xmpp_host\" \"%V\" in "
                      "%V:%ui; name the key of each",
                      certificates->nelts, keys->nelts, &h->name, &h->file,
                      h->line);
        return NGX_ERROR;
    }

    if (ngx_xmpp_certificate_open(cf, h, certificates, "ssl_certificate")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_xmpp_certificate_open(cf, h, keys, "ssl_certificate_key");
}


static ngx_int_t
ngx_xmpp_certificate_open(ngx_conf_t *cf, ngx_xmpp_host_t *h,
    ngx_array_t *files, char *what)
{
    ngx_fd_t    fd;
    ngx_str_t  *name, *scheme, path;
    ngx_uint_t  i;

    if (files == NULL) {
        return NGX_OK;
    }

    name = files->elts;

    for (i = 0; i < files->nelts; i++) {

        for (scheme = ngx_xmpp_certificate_schemes; scheme->len; scheme++) {
            if (ngx_strncmp(name[i].data, scheme->data, scheme->len) == 0) {
                break;
            }
        }

        if (scheme->len || ngx_strlchr(name[i].data,
                                       name[i].data + name[i].len, '$'))
        {
            continue;
        }

        path = name[i];

        if (ngx_conf_full_name(cf->cycle, &path, 1) != NGX_OK) {
            return NGX_ERROR;
        }

        fd = ngx_open_file(path.data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                           NGX_FILE_OPEN, 0);

        if (fd == NGX_INVALID_FILE) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, ngx_errno,
                          "cannot open \"%V\", the \"%s\" of \"xmpp_host\" "
                          "\"%V\" in %V:%ui",
                          &path, what, &h->name, &h->file, h->line);
            return NGX_ERROR;
        }

        if (ngx_close_file(fd) == NGX_FILE_ERROR) {
            ngx_log_error(NGX_LOG_ALERT, cf->log, ngx_errno,
                          ngx_close_file_n " \"%V\" failed", &path);
        }
    }

    return NGX_OK;
}


/* a warning for each certificate of ctx that is not for h; ctx: not NULL */

void
ngx_xmpp_certificate_names(ngx_conf_t *cf, ngx_xmpp_host_t *h, SSL_CTX *ctx)
{
    int    rc;
    X509  *cert, *current;

    current = SSL_CTX_get0_certificate(ctx);

    for (rc = SSL_CTX_set_current_cert(ctx, SSL_CERT_SET_FIRST);
         rc == 1;
         rc = SSL_CTX_set_current_cert(ctx, SSL_CERT_SET_NEXT))
    {
        cert = SSL_CTX_get0_certificate(ctx);

        if (cert && !ngx_xmpp_certificate_match(cf, cert, &h->name)) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "the certificate of \"xmpp_host\" \"%V\" is not for "
                          "\"%V\", so clients will refuse it, in %V:%ui; use "
                          "one that has this domain as a DNS name",
                          &h->name, &h->name, &h->file, h->line);
        }
    }

    if (current) {
        (void) SSL_CTX_select_current_cert(ctx, current);
    }

    /* a name that is none leaves errors in OpenSSL's queue */

    ERR_clear_error();
}


static ngx_uint_t
ngx_xmpp_certificate_match(ngx_conf_t *cf, X509 *cert, ngx_str_t *name)
{
    size_t   len;
    u_char  *p, address[NGX_INET6_ADDRSTRLEN + 1];

    if (X509_check_host(cert, (char *) name->data, name->len, 0, NULL) == 1) {
        return 1;
    }

    /* RFC 7622, 3.2: an IPv6 address is in brackets */

    p = name->data;
    len = name->len;

    if (len > 2 && p[0] == '[') {
        p++;
        len -= 2;
    }

    if (len < sizeof(address)) {
        ngx_cpystrn(address, p, len + 1);

        if (X509_check_ip_asc(cert, (char *) address, 0) == 1) {
            return 1;
        }
    }

    return ngx_xmpp_certificate_match_idn(cf, cert, name);
}


/* certificates have A-labels, domains U-labels (RFC 6125, 6.4.2) */

static ngx_uint_t
ngx_xmpp_certificate_match_idn(ngx_conf_t *cf, X509 *cert, ngx_str_t *name)
{
    int             i, n;
    u_char         *p;
    ngx_str_t       text, domain, prepared;
    ngx_uint_t      match;
    GENERAL_NAME   *gn;
    GENERAL_NAMES  *san;

    match = 0;

    san = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    n = san ? sk_GENERAL_NAME_num(san) : 0;

    for (i = 0; i < n && !match; i++) {
        gn = sk_GENERAL_NAME_value(san, i);

        if (gn->type != GEN_DNS) {
            continue;
        }

        text.data = (u_char *) ASN1_STRING_get0_data(gn->d.dNSName);
        text.len = ASN1_STRING_length(gn->d.dNSName);
        domain = *name;

        /* RFC 6125, 6.4.3: a wildcard is the whole of the first label */

        if (text.len > 2 && text.data[0] == '*' && text.data[1] == '.') {
            p = ngx_strlchr(name->data, name->data + name->len, '.');

            if (p == NULL) {
                continue;
            }

            domain.data = p + 1;
            domain.len = name->data + name->len - domain.data;
            text.data += 2;
            text.len -= 2;
        }

        match = ngx_xmpp_jid_prep_domain(cf->temp_pool, &text, &prepared)
                    == NGX_OK
                && ngx_xmpp_str_eq(&prepared, &domain);
    }

    GENERAL_NAMES_free(san);

    return match;
}
