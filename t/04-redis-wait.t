#!/usr/bin/perl

# Durable commands of the Redis client, alone: the handler runs when replicas
# have what was written, and when there are too few of them nothing is sent
# (cluster.md, rule 12).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/redis-client";

use File::Temp qw/ tempdir /;
use Test::More;
use Time::HiRes qw/ time /;

use Driver;
use Test::XMPP::Process;
use Test::XMPP::Redis;

$SIG{INT} = $SIG{TERM} = sub { exit 130 };
$SIG{PIPE} = 'IGNORE';

plan(skip_all => 'for our own server only') if $ENV{XMPP_TARGET};

my $dir = tempdir('xmpp-test-XXXXXXXX', TMPDIR => 1,
                  CLEANUP => !$ENV{XMPP_LEAVE});
chmod 0755, $dir;
mkdir "$dir/replica";

my $port = Test::XMPP::Process::free_port();
my $redis = Test::XMPP::Redis->new($dir, port => $port, bind => '127.0.0.1');
my $replica = Test::XMPP::Redis->new("$dir/replica");

Driver::build($dir);

# flags of a command: 1 may be repeated, 8 durable, 16 a read of what is

my $d = Driver->new($dir, 'main', 'unix:' . $redis->socket()
                    . ' replicas=1 wait=300ms timeout=4s');


###############################################################################
# No replica is there

ok($d->up(), 'ready');
ok($d->nginx()->await_log(qr/messages are refused, for 0 replicas have .* 1;/),
   'no replica: the log says so at the start');
$d->say('cmd none 9 SET none 1');
is($d->expect(qr/^\w+ none/), 'failed none away', 'a durable command fails,');
$d->say('cmd other 1 EXISTS none');
is($d->expect(qr/^reply other/), 'reply other 0',
   'did not run, and others do');


###############################################################################
# One is there

$redis->command('CONFIG', 'SET', 'repl-diskless-sync-delay', 0);
$replica->command('REPLICAOF', '127.0.0.1', $port);
ok($d->nginx()->await_log(qr/\[notice\].*messages are taken again, .*after/),
   'a replica: the log says so');

# a connection that has written nothing asks for nothing but a replica that is
# there, and this one may not have loaded its copy yet

ok(taken_again(), 'and has what is written');

# at each reply the replica has it, and one WAIT is for all of a turn, and more
# only when the replica takes its time

my ($before, $from);

do {
    $before = calls('wait');
    $from = $d->nginx()->log_end();
    $d->say('many 100 all 9 SET % %');
    $d->expect(qr/^reply all\.$_ OK$/) for 0 .. 98;
    is($d->expect(qr/^\w+ all\.99 /), 'reply all.99 OK', 'all are answered');
} while ($d->nginx()->read_log($from) =~ /messages are refused/);

is($replica->command('GET', '99'), 99, 'and the replica has it');
is(calls('wait') - $before, 1, 'by one WAIT');

for my $i (1 .. 50) {
    $d->say("cmd one 9 SET one $i")->expect(qr/^reply one OK$/);
    my $has = $replica->command('GET', 'one');
    next if $has == $i;
    is($has, $i, 'each time');
}

$before = calls('wait');
$d->say('cmd plain 1 SET plain 1')->expect(qr/^reply plain OK$/);
is(calls('wait') - $before, 0, 'no WAIT for a command that is not durable');

$d->say('cmd sure 25 GET one')->expect(qr/^reply sure 50$/);
is(calls('wait') - $before, 1, 'one for what is read');

$d->say('cmd wrong 9 HGET one field');
like($d->expect(qr/ wrong /), qr/wrong .*WRONGTYPE/, 'an error is told');


###############################################################################
# It stands still: what was written is not answered; the others are

$replica->pause();
$from = $d->nginx()->log_end();
$d->say('cmd held 9 SET held 1', 'cmd beside 1 PING', 'cmd read 25 GET held');
is($d->expect(qr/^\w+ (?:held|beside)/), 'reply beside PONG',
   'the durable one is held, and not those around it');
ok($d->nginx()->await_log_from($from, qr/refused, for 0 replicas/),
   'the log says so');
is($d->expect(qr/^\w+ read/), 'failed read away',
   'a read that has to be sure fails');

my $start = time();

$d->say('cmd late 9 SET late 1');
is($d->expect(qr/^\w+ late/), 'failed late away', 'another fails,');
cmp_ok(time() - $start, '<', 1, 'at once');

$d->say("cmd p$_ 1 PING")->expect(qr/^reply p$_ PONG$/) for 1 .. 20;
cmp_ok(time() - $start, '<', 3, 'commands that are not durable are served');

is($d->expect(qr/^\w+ held/, 10), 'failed held unknown',
   'until its deadline: it may be lost');
is($d->pending(), 0, 'nothing is left');

# awake in time

$replica->resume();
ok(taken_again(), 'awake');
$replica->pause();
$from = $d->nginx()->log_end();
$d->say('cmd again 9 SET again 1');
ok($d->nginx()->await_log_from($from, qr/refused, for 0 replicas/), 'asleep');
$replica->resume();
is($d->expect(qr/^\w+ again/), 'reply again OK', 'awake in time: answered');


###############################################################################
# The connection is lost meanwhile: it is repeated, since what has run there
# may be known there only

ok(taken_again(), 'ready');
$replica->pause();
$d->say('cmd twice 9 INCR twice', 'cmd sure 1 PING')
  ->expect(qr/^reply sure PONG$/);
$redis->command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
ok($d->expect(qr/^state 0 0$/) && $d->expect(qr/^state 0 1$/), 'lost and back');
$replica->resume();
is($d->expect(qr/^\w+ twice/), 'reply twice 2', 'repeated, then answered');


###############################################################################
# What cannot be asked is not taken for an answer

ok(taken_again(), 'ready');
$redis->command('ACL', 'SETUSER', 'default', '-wait');
$d->say('cmd denied 9 SET denied 1');
ok($d->nginx()->await_log(qr/messages are refused, .*"NOPERM.*permit its user/),
   'no right to WAIT: the log says so');
$redis->command('ACL', 'SETUSER', 'default', '+wait');
is($d->expect(qr/^\w+ denied/), 'reply denied OK', 'the right is given');

is(join("\n", $d->stop()), '', 'no alert at exit');
ok($redis->stop() && $replica->stop(), 'Redis stopped');

done_testing();


sub taken_again {
    my $try = 0;

    return Test::XMPP::Process::await(sub {
        $try++;
        $d->say("cmd try$try 9 SET try 1")->expect(qr/ try$try/)
            =~ /^reply/;
    });
}


sub calls {
    my ($command) = @_;
    my ($n) = $redis->command('INFO', 'commandstats')
              =~ /cmdstat_$command:calls=(\d+)/;

    return $n // 0;
}
