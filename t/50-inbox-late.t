#!/usr/bin/perl

# The inbox, when both connections to Redis are lost and that of the commands
# comes back last, too late for who waits for an answer: what rang meanwhile is
# given all the same (docs/internals/cluster.md, rules 6 and 8).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Lanes;
use Test::XMPP::Process;

my $t = Test::XMPP->new(hosts => 0, workers => 1, users => [ qw/ alice bob / ])
                  ->only_ours('needs our Redis connections');

$t->config(<<'EOC');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis          unix:%%TESTDIR%%/%%NAME%%.sock;
    xmpp_redis_timeout  1s;
    xmpp_heartbeat      20s;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
EOC

$t->run();

my $redis = $t->redis();
my @lanes;

for my $host (0, 1) {
    push @lanes, Test::XMPP::Lanes->new($t->testdir() . "/host$host.sock",
                                        $redis->socket());
    $t->start_host();
}

my $bob = $t->online('bob', on => 0);
my $alice = $t->online('alice', on => 1);

$alice->sync();
$lanes[1]->hold('subscriber');
$bob->message($alice->jid(), $_, type => 'chat') for qw/ one two /;
$bob->sync();

$lanes[1]->mute('command');
$lanes[1]->cut('subscriber');
$lanes[1]->release('subscriber');

# the subscription is back, and its sessions wait in vain for their records

ok($t->host(1)->await_log(qr/"unix:[^"]*": .*(?:did not answer|time)/i),
   'the commands are not answered in time') or diag($t->host(1)->read_log());
$lanes[1]->release('command');

ok($alice->pick('message', body => $_), "given: $_") for qw/ one two /;

$t->done();
