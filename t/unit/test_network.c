
/*
 * Networks of addresses, and the names of counters.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <arpa/inet.h>
#include "ngx_xmpp_network.h"
#include "tap.h"


typedef struct {
    const char  *address;
    const char  *network;
} test_network_t;


static void test_networks(void);
static void test_unix(void);
static void test_tally(void);
static ngx_str_t *test_string(const char *text);


static test_network_t  test_addresses[] = {
    { "192.0.2.7", "192.0.2.7" },
    { "0.0.0.0", "0.0.0.0" },
    { "255.255.255.255", "255.255.255.255" },
    { "126.255.255.255", "126.255.255.255" },
    { "128.0.0.0", "128.0.0.0" },
    { "127.0.0.1", "" },
    { "127.255.255.254", "" },
    { "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64" },
    { "2001:db8:1:2::", "2001:db8:1:2::/64" },
    { "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8:ffff:ffff::/64" },
    { "fe80::1", "fe80::/64" },
    { "::", "::/64" },
    { "::2", "::/64" },
    { "::1", "" },
    { "::ffff:192.0.2.7", "192.0.2.7" },
    { "::ffff:127.0.0.1", "" },
    { "::192.0.2.7", "::/64" }
};


int
main(void)
{
    tap_plan(sizeof(test_addresses) / sizeof(test_network_t) + 1 + 8);

    test_networks();
    test_unix();
    test_tally();

    return tap_end();
}


static void
test_networks(void)
{
    u_char               buf[NGX_XMPP_NETWORK_MAX];
    ngx_str_t            out;
    ngx_uint_t           i;
    test_network_t       *t;
    struct sockaddr_in    sin;
    struct sockaddr_in6   sin6;

    for (i = 0; i < sizeof(test_addresses) / sizeof(test_network_t); i++) {
        t = &test_addresses[i];

        ngx_memzero(&sin, sizeof(struct sockaddr_in));
        ngx_memzero(&sin6, sizeof(struct sockaddr_in6));

        sin.sin_family = AF_INET;
        sin6.sin6_family = AF_INET6;

        out.data = buf;
        out.len = (inet_pton(AF_INET, t->address, &sin.sin_addr) == 1)
                  ? ngx_xmpp_network((struct sockaddr *) &sin, buf)
                  : inet_pton(AF_INET6, t->address, &sin6.sin6_addr) == 1
                  ? ngx_xmpp_network((struct sockaddr *) &sin6, buf)
                  : 99;

        tap_is(&out, test_string(t->network), t->address);
    }
}


static void
test_unix(void)
{
    u_char           buf[NGX_XMPP_NETWORK_MAX];
    struct sockaddr  sa;

    ngx_memzero(&sa, sizeof(struct sockaddr));
    sa.sa_family = AF_UNIX;

    tap_ok(ngx_xmpp_network(&sa, buf) == 0, "a unix socket has none");
}


/* the digests by sha256sum */

static void
test_tally(void)
{
    u_char      *big, buf[NGX_XMPP_TALLY_LEN];
    ngx_str_t    out, *none, *jid, *network, too_long;

    none = test_string("");
    jid = test_string("alice@localhost");
    network = test_string("192.0.2.7");

    out.data = buf;
    out.len = NGX_XMPP_TALLY_LEN;

    tap_ok(ngx_xmpp_network_tally(buf, NGX_XMPP_TALLY_ADDRESS, network, none)
           == NGX_OK, "of a network");
    tap_is(&out, test_string("eca32e2d840d0b25"), "of a network: the digits");

    tap_ok(ngx_xmpp_network_tally(buf, NGX_XMPP_TALLY_ACCOUNT, jid, none)
           == NGX_OK, "of an account");
    tap_is(&out, test_string("4ef478616efc200d"), "of an account: the digits");

    tap_ok(ngx_xmpp_network_tally(buf, NGX_XMPP_TALLY_BOTH, jid, network)
           == NGX_OK, "of both");
    tap_is(&out, test_string("c1c3201a8184db4b"), "of both: the digits");

    big = ngx_pcalloc(tap_pool(), 4097);

    too_long.data = big;
    too_long.len = 4096;

    tap_ok(ngx_xmpp_network_tally(buf, NGX_XMPP_TALLY_ACCOUNT, &too_long, none)
           == NGX_OK, "4096 octets");

    too_long.len = 4097;

    tap_ok(ngx_xmpp_network_tally(buf, NGX_XMPP_TALLY_ACCOUNT, &too_long, none)
           == NGX_ERROR, "4097 octets: refused");
}


static ngx_str_t *
test_string(const char *text)
{
    return tap_copy(tap_pool(), text, ngx_strlen(text));
}
