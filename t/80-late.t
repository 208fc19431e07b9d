#!/usr/bin/perl

# A connection whose handshake has not begun when its worker shuts down: it is
# closed, since nothing can be done for it any more, and the worker ends.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

my $t = Test::XMPP->new(users => [ 'alice' ], workers => 1)
                  ->only_ours('reloads nginx');

$t->config(<<'EOF');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis       unix:%%REDIS%%;
    xmpp_drain_time  100ms;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }

    server {
        listen  127.0.0.1:%%PORT_1%% ssl;
        xmpp_c2s;
    }
}
EOF

$t->run();

my $c = $t->client('alice', tls => 'none', port_number => 1)->connect();

ok($t->await_log(qr/client 127\.0\.0\.1:\d+ connected to/), 'it is accepted');

my ($old) = $t->reload();

ok($t->await_log(qr/xmpp closes 0 streams/), 'its worker shuts down');
ok($c->expect_eof(), 'nothing is promised that cannot be kept');
$c->drop();

ok(Test::XMPP::Process::await(sub { !kill 0, $old }), 'the worker ends');

ok($t->client('alice', tls => 'direct')->login()->sync(),
   'a new one answers');

$t->done();
