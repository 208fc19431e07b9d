#!/usr/bin/perl

# Redis is started again and loads its data for a while: logins are refused for
# now (RFC 6120, 6.5.9), a message comes back (RFC 6120, 8.3.2), and all goes
# on when the data are there.  Then it is started without its data.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Outage;
use Test::XMPP::Process;

my $t = Test::XMPP->new(hosts => 2, workers => 1,
                        users => [ qw/ alice bob carol / ],
                        redis => { 'enable-debug-command' => 'local',
                                   appendonly => 'yes' });

$t->only_ours('torments Redis');
$t->config($Test::XMPP::Outage::CONFIG);
$t->run();

my $redis = $t->redis();

my $o = Test::XMPP::Outage->new($t, 'loading');

# a minute, but for what ends it

$redis->command('DEBUG', 'POPULATE', 60_000);
$redis->command('CONFIG', 'SET', 'appendonly', 'no');
$redis->command('SAVE');
$redis->kill9();
delete $redis->{config}{appendonly};
$redis->{config}{'key-load-delay'} = 1000;
$redis->{config}{'loading-process-events-interval-bytes'} = 1024;
$o->begin(sub { $redis->start(1) });
$o->refuses_logins();
$o->says_wait();
$o->answers();
ok($t->await_log(qr/has to wait: the server is loading its data/),
   'loading: the log says so');
$o->end(sub { $redis->command('CONFIG', 'SET', 'key-load-delay', 0) });

###############################################################################
# Restarted without its data: the accounts are gone, and so are the sessions

$o->{name} = 'empty';
$redis->kill9();
unlink map { glob $t->testdir() . "/$_" } 'dump.rdb', 'appendonlydir/*';
$redis->{config} = {};
$redis->start();

for my $client ($o->alice(), $o->bob()) {
    ok($client->expect_stream_error('not-authorized'),
       'empty: ' . $client->who() . ' is told that the account is gone');
}

$o->refuses_logins('not-authorized');
$t->add_user($_, 'localhost', Test::XMPP::Accounts::password($_))
    for qw/ alice bob carol /;
$o = Test::XMPP::Outage->new($t, 'empty, with the accounts again');
$o->close();

$t->done();
