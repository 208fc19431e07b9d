#!/usr/bin/perl

# The probe of the subscriber connection (cluster.md, 13): a subscription that
# was confirmed, on a connection that answers PING, may still hear nothing.
# Two Redis servers behind one address show it.

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
use Test::XMPP::Relay;

$SIG{INT} = $SIG{TERM} = sub { exit 130 };
$SIG{PIPE} = 'IGNORE';

plan(skip_all => 'for our own server only') if $ENV{XMPP_TARGET};

my $dir = tempdir('xmpp-test-XXXXXXXX', TMPDIR => 1,
                  CLEANUP => !$ENV{XMPP_LEAVE});
chmod 0755, $dir;
mkdir "$dir/other";

my $port = Test::XMPP::Process::free_port();
my $redis = Test::XMPP::Redis->new($dir, port => $port, bind => '127.0.0.1');
my $other = Test::XMPP::Redis->new("$dir/other");
my $relay = Test::XMPP::Relay->new("$dir/relay.sock", $redis->socket(), 0);

Driver::build();

my $d = Driver->new($dir, 'main', "unix:$dir/relay.sock ping=150ms "
                    . 'timeout=300ms own=mine connect_timeout=1s');

my $own = 0;

ok($d->up(), 'ready');


###############################################################################
# Quiet: asked now and then, and nobody is told

ok(Test::XMPP::Process::await(sub { published($redis) >= 3 }),
   'a quiet connection is probed');
is_deeply([ $d->reports() ], [], 'which is nobody\'s message, and no change');

# while messages come nothing is asked

$d->say('sub a room')->expect(qr/^subscribed a$/);

my $before = published($redis);
my $end = time() + 1.5;

while (time() < $end) {
    $own++;
    $redis->command('SPUBLISH', 'room', 'hello');
    $d->expect(qr/^message room hello$/);
    select undef, undef, undef, 0.02;
}

cmp_ok(published($redis) - $before, '<=', 1, 'a busy one is not');


###############################################################################
# The subscriber comes to another server, which has nothing against it

elsewhere();
ok($d->expect(qr/^state 1 1$/), 'the subscriber is elsewhere, and ready');
$relay->target($redis->socket());
ok($d->in_order(qr/^state 0 0$/, qr/^state 1 0$/),
   'not heard and not counted, twice: both connections are given up');
ok($d->up(), 'and made anew');
like($d->log(), qr/subscriber connection does not hear what is published; both/,
     'log: what is wrong');
heard_again();

# a message that arrives, but was not counted: on a replica of the master,
# which an ACL keeps secret

$other->command('REPLICAOF', '127.0.0.1', $port);
ok(Test::XMPP::Process::await(sub {
       $other->command('INFO', 'replication') =~ /link_status:up/ }),
   'the other one is a replica now');
$other->command('ACL', 'SETUSER', 'default', '-role');
elsewhere();
ok($d->expect(qr/^state 1 1$/), 'elsewhere again');
$relay->target($redis->socket());
ok($d->expect(qr/^state 1 0$/, 5), 'heard and not counted: given up, too');
ok($d->up(), 'and made anew');
$other->command('REPLICAOF', 'NO', 'ONE');
heard_again();


# both, on a master that has become a replica and takes writes all the same

mkdir "$dir/master";

my $master_port = Test::XMPP::Process::free_port();
my $master = Test::XMPP::Redis->new("$dir/master", port => $master_port,
                                    bind => '127.0.0.1');

$d->reports();
$redis->command('CONFIG', 'SET', 'replica-read-only', 'no');
$redis->command('REPLICAOF', '127.0.0.1', $master_port);
ok($d->in_order(qr/^state 0 0$/, qr/^state 1 0$/),
   'a replica that takes writes: both connections are given up');
$redis->command('REPLICAOF', 'NO', 'ONE');
ok($d->up(), 'the master again: both are back');
like($d->log(), qr/command connection reached a replica/,
     'log: what is wrong');
$master->stop();
heard_again();

# one that is counted, and hears nothing all the same

$d->reports();
$relay->swallow('smessage');
ok($d->expect(qr/^state 1 0$/, 5), 'counted and not heard: given up, too');
$relay->swallow();
ok($d->up(), 'and made anew');
heard_again();


###############################################################################
# The command connection does not answer: that is no verdict on the other

$redis->command('CLIENT', 'PAUSE', 700, 'ALL');
ok($d->expect(qr/^state 0 0$/), 'the command connection is late');
ok($d->up(), 'all is back');

# no right to publish: said once, and PING does what it can

$redis->command('ACL', 'SETUSER', 'default', '-spublish');
ok($d->nginx()->await_log(qr/cannot probe whether .*, "NOPERM.*SPUBLISH/),
   'no right to publish: said,');
$d->reports();
$redis->pause();
ok($d->expect(qr/^state 1 0$/), 'and PING finds a server that hangs');
$redis->resume();
ok($d->up(), 'all is back');
$redis->command('ACL', 'SETUSER', 'default', '+spublish');

# and is noticed when it was given: no connection is made anew for that

$before = published($redis);
ok(Test::XMPP::Process::await(sub { published($redis) >= $before + 2 }),
   'the right is given, and used');
is_deeply([ $d->reports() ], [], 'on the connections that are there');
elsewhere();
ok($d->expect(qr/^state 1 1$/), 'the subscriber is elsewhere once more');
$relay->target($redis->socket());
ok($d->in_order(qr/^state 0 0$/, qr/^state 1 0$/), 'and that is found out');
ok($d->up(), 'all is back');

is(join("\n", $d->stop()), '', 'no alert at exit');
$relay->stop();
ok($redis->stop() && $other->stop(), 'Redis stopped');

done_testing();


# The subscriber's next connection reaches the other server.

sub elsewhere {
    $d->reports();
    $relay->target($other->socket());
    $redis->command('CLIENT', 'KILL', 'TYPE', 'pubsub');
    $d->expect(qr/^state 1 0$/);
}


sub heard_again {
    $d->say('sub b room')->expect(qr/^subscribed b$/);
    is($redis->command('SPUBLISH', 'room', 'again'), 1, 'counted');
    ok($d->expect(qr/^message room again$/), 'and heard');
}


# how many probes there were; $own are the test's

sub published {
    my ($server) = @_;
    my ($n) = $server->command('INFO', 'commandstats')
              =~ /cmdstat_spublish:calls=(\d+)/;

    return ($n // 0) - $own;
}
