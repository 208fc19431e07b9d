#!/usr/bin/perl

# Redis is read-only, since a failover has made it a replica: logins are refused
# for now (RFC 6120, 6.5.9), a message that did not run comes back (RFC 6120,
# 8.3.2), and all goes on with the same connections when it is the master.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Outage;
use Test::XMPP::Process;

my $t = Test::XMPP->new(hosts => 2, workers => 1,
                        users => [ qw/ alice bob carol / ]);

$t->only_ours('torments Redis');
$t->config($Test::XMPP::Outage::CONFIG);
$t->run();

my $redis = $t->redis();

my $o = Test::XMPP::Outage->new($t, 'read-only');

$o->begin(sub { $redis->command('REPLICAOF', '127.0.0.1', '1') });
$o->says_wait();
$o->refuses_logins();
$o->answers();
ok($t->await_log(qr/reached a replica; "xmpp_redis" has to name the master/),
   'read-only: the log says so');
$o->end(sub { $redis->command('REPLICAOF', 'NO', 'ONE') });

$o->close();

$t->done();
