/*
 * Who an address stands for, and the names under which failed logins are
 * counted (docs/redis-schema.md).
 */


#ifndef _NGX_XMPP_NETWORK_H_INCLUDED_
#define _NGX_XMPP_NETWORK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_XMPP_NETWORK_MAX    64    /* octets of a network's name */
#define NGX_XMPP_TALLY_LEN      16    /* of the name of a counter */


/* what is counted */
#define NGX_XMPP_TALLY_ADDRESS  'a'   /* a network: one is empty */
#define NGX_XMPP_TALLY_ACCOUNT  'u'   /* a bare JID: two is empty */
#define NGX_XMPP_TALLY_BOTH     'k'   /* a bare JID at a network it knows */
#define NGX_XMPP_TALLY_REGISTER 'r'   /* a network: two is empty */


/*
 * Writes the network of an address to p, which has room for
 * NGX_XMPP_NETWORK_MAX: an IPv4 address, or the first half of an IPv6 address
 * with "/64", which is what one customer has.  Returns its length; 0 when the
 * address tells nothing about who is there: loopback, a unix socket.
 */
size_t ngx_xmpp_network(struct sockaddr *sa, u_char *p);

/*
 * Writes the name of a counter to p: NGX_XMPP_TALLY_LEN hex digits.  one and
 * two have at most 4096 octets together.  NGX_OK or NGX_ERROR (OpenSSL).
 */
ngx_int_t ngx_xmpp_network_tally(u_char *p, u_char kind, ngx_str_t *one,
    ngx_str_t *two);


#endif /* _NGX_XMPP_NETWORK_H_INCLUDED_ */
