#!/usr/bin/perl

# What nginx -t says of xmpp_websocket: no domain to serve, no TLS, and what is
# no origin; where the two blocks stand makes no difference.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(hosts => 0, redis => undef)->only_ours();

$t->run();

my $nginx = $t->start_host(idle => 1)->expect_log(qr/\[emerg\]/);

my $stream = 'stream { xmpp_redis unix:/nowhere/redis.sock; '
             . 'xmpp_host localhost { } }';
my $ssl = 'ssl_certificate %%TESTDIR%%/localhost.pem; '
          . 'ssl_certificate_key %%TESTDIR%%/localhost.key;';
my $tls = "listen 192.0.2.1:443 ssl; $ssl";

sub http {
    my ($server, $inner) = @_;

    return "http { server { $server location /ws { xmpp_websocket; "
           . ($inner // '') . ' } } }';
}

sub checked {
    my ($config) = @_;

    return $nginx->test_config("%%GLOBALS%%\nevents { }\n$config\n");
}

for ([ 'TLS', http($tls), $stream ],
     [ 'stream first', $stream, http($tls) ],
     [ 'beside a listener without TLS', http("$tls listen 192.0.2.1:80;"),
       $stream ],
     [ 'HTTP/2, too', http("listen 192.0.2.1:443 ssl http2; $ssl"), $stream ],
     [ 'loopback', http('listen 127.0.0.1:80;'), $stream ],
     [ 'loopback, IPv6', http('listen [::1]:80;'), $stream ],
     [ 'a unix socket', http('listen unix:%%TESTDIR%%/http.sock;'), $stream ],
     [ 'a proxy', http('listen 192.0.2.1:80;',
                       'xmpp_websocket_proxy 192.0.2.7 10.0.0.0/8;'),
       $stream ],
     [ 'origins', http($tls, 'xmpp_websocket_origin https://a.test '
                             . 'http://localhost:8080 null;'), $stream ],
     [ 'another endpoint', http($tls, 'xmpp_websocket_see_other_uri '
                                      . 'wss://b.test/$arg_x;'), $stream ])
{
    my ($name, @blocks) = @$_;
    my ($status, $output) = checked("@blocks");

    # then nginx binds the addresses, which are of nobody here

    unlike($output, qr/\[emerg\](?! bind\(\))/, "good: $name");
    unlike($output, qr/\[warn\] "?xmpp/, 'and nothing to be warned of');
}

for ([ 'no stream', http($tls), '',
       qr/"xmpp_websocket" in \S+:\d+ needs a domain to serve/ ],
     [ 'no host', http($tls), 'stream { }', qr/add "xmpp_host"/ ],
     [ 'no TLS', http('listen 192.0.2.1:80;'), $stream,
       qr/is in a server without TLS: add "ssl" to its "listen"/ ],
     [ 'no listen', http(''), $stream, qr/is in a server without TLS/ ],
     [ 'all addresses, no TLS', http('listen 80;'), $stream,
       qr/"xmpp_websocket" in \S+:\d+ is in a server without TLS/ ],
     [ 'another handler', http($tls) =~ s/xmpp_websocket;/empty_gif; $&/r,
       $stream,
       qr/"xmpp_websocket" directive is duplicate, or the location has anoth/ ],
     [ 'twice', http($tls, 'xmpp_websocket;'), $stream,
       qr/"xmpp_websocket" directive is duplicate/ ],
     [ 'no origin', http($tls, 'xmpp_websocket_origin a.test;'), $stream,
       qr{"a.test" is no origin.*like "https://example.org"} ],
     [ 'a page', http($tls, 'xmpp_websocket_origin https://a.test/;'),
       $stream, qr{"https://a.test/" is no origin} ],
     [ 'the usual port',
       http($tls, 'xmpp_websocket_origin https://A.test:443;'), $stream,
       qr{"https://A.test:443" is no origin.*so leave it out} ],
     [ 'that of http', http($tls, 'xmpp_websocket_origin http://a.test:80;'),
       $stream, qr{"http://a.test:80" is no origin.*so leave it out} ],
     [ 'no proxy', http($tls, 'xmpp_websocket_proxy proxy.test;'), $stream,
       qr/needs addresses or networks of proxies/ ],
     [ 'limits', http($tls), $stream =~ s/xmpp_host/xmpp_max_stanza 2m; $&/r,
       qr/"xmpp_output_queue" must not be less than "xmpp_max_stanza"/ ])
{
    my ($name, @blocks) = @$_;
    my $said = pop @blocks;
    my ($status, $output) = checked("@blocks");

    isnt($status, 0, "bad: $name");
    like($output, $said, 'and why');
}

$t->done();
