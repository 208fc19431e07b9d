
/*
 * Networks of addresses, and the names of counters of failed logins.
 *
 * A counter is named by a hash: names that strangers make up are of any
 * length, and nothing of them shall be in Redis.  64 bits of it are enough,
 * since who finds two names with one hash has gained no attempt by that.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <arpa/inet.h>
#include "ngx_xmpp_network.h"
#include "ngx_xmpp_scram.h"


#define NGX_XMPP_TALLY_PARTS    4096


static size_t ngx_xmpp_network_inet(u_char *addr, u_char *p);


size_t
ngx_xmpp_network(struct sockaddr *sa, u_char *p)
{
#if (NGX_HAVE_INET6)
    struct in6_addr       net;
    struct sockaddr_in6  *sin6;
#endif

    switch (sa->sa_family) {

    case AF_INET:
        return ngx_xmpp_network_inet(
                     (u_char *) &((struct sockaddr_in *) sa)->sin_addr, p);

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) sa;

        /* an IPv4 client of a socket for both */

        if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
            return ngx_xmpp_network_inet(&sin6->sin6_addr.s6_addr[12], p);
        }

        if (IN6_IS_ADDR_LOOPBACK(&sin6->sin6_addr)) {
            return 0;
        }

        ngx_memzero(&net, sizeof(struct in6_addr));
        ngx_memcpy(&net, &sin6->sin6_addr, 8);

        if (inet_ntop(AF_INET6, &net, (char *) p, NGX_XMPP_NETWORK_MAX)
            == NULL)
        {
            return 0;
        }

        return ngx_cpymem(p + ngx_strlen(p), "/64", 3) - p;
#endif

    default:
        return 0;
    }
}


static size_t
ngx_xmpp_network_inet(u_char *addr, u_char *p)
{
    if (addr[0] == 127
        || inet_ntop(AF_INET, addr, (char *) p, NGX_XMPP_NETWORK_MAX) == NULL)
    {
        return 0;
    }

    return ngx_strlen(p);
}


ngx_int_t
ngx_xmpp_network_tally(u_char *p, u_char kind, ngx_str_t *one, ngx_str_t *two)
{
    u_char      *last, text[1 + NGX_XMPP_TALLY_PARTS + 1];
    u_char       hash[NGX_XMPP_SCRAM_HASH_MAX];
    ngx_uint_t   i;

    static const u_char  hex[] = "0123456789abcdef";

    if (one->len + two->len > NGX_XMPP_TALLY_PARTS) {
        return NGX_ERROR;
    }

    text[0] = kind;
    last = ngx_cpymem(&text[1], one->data, one->len);
    *last++ = ' ';
    last = ngx_cpymem(last, two->data, two->len);

    if (ngx_xmpp_scram_digest(NGX_XMPP_SCRAM_SHA256, text, last - text, hash)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_XMPP_TALLY_LEN / 2; i++) {
        *p++ = hex[hash[i] >> 4];
        *p++ = hex[hash[i] & 15];
    }

    return NGX_OK;
}
