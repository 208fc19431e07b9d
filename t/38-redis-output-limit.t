#!/usr/bin/perl

# A worker that reads too slowly: Redis closes its subscriber connection at
# client-output-buffer-limit.  It subscribes again from its sessions, the log
# says that messages were missed, and all goes on with the same connections.

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

# The kernel's buffers come first: what is published has to be more than both.

my $o = Test::XMPP::Outage->new($t, 'output limit');
my ($worker) = $t->host(1)->workers();
my ($channel) = grep { /bob/ } $redis->channels();

$redis->command('CONFIG', 'SET', 'client-output-buffer-limit',
                'pubsub 1mb 0 0');
$o->begin(sub { kill 'STOP', $worker });

$o->alice()->message($o->bob()->jid(), "gap $_ " . 'x' x 9000)
    for 1 .. 20;
$o->alice()->sync();
ok(Test::XMPP::Process::await(sub {
       $redis->command('SPUBLISH', $channel, '1? ' . 'x' x 100000);
       return !grep { /bob/ } $redis->channels();
   }), 'Redis has closed the subscriber connection');

# this one rings for nobody

$o->alice()->message($o->bob()->jid(), 'into the gap');

$o->alice()->sync();
ok(kill('CONT', $worker), 'the worker goes on');
ok($t->host(1)->await_log(qr/subscriber connection is back after/),
   'it subscribes again');
$o->end(sub { });
ok($t->host(1)->await_log(qr/missed messages for "bob\@localhost"/),
   'and says that there is a gap');

is_deeply([ grep { /bob/ } $redis->channels() ], [ $channel ],
          'and hears the channel of its session');

$o->close();

$t->done();
