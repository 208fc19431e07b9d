#!/usr/bin/perl

# The Redis client of a worker, alone: a driver module makes its calls and
# reports what its handlers are told (t/redis-client/).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/redis-client";

use File::Temp qw/ tempdir /;
use IO::Socket::UNIX;
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

Driver::build();

my $unix = "unix:$dir/redis.sock";


###############################################################################
# A server that is not there yet

my $d = Driver->new($dir, 'main', "$unix name=worker-7");

$d->say('ready')->expect(qr/^ready 0 0$/);
is($d->pending(), 0, 'nothing pending');

# the second is set up before the first, which has waited

$d->say('cmd waits 0 GET greeting');
$d->say('setup greets SET greeting hello');
is($d->pending(), 1, 'a command waits for its server');

# by default the log waits while a slow disk is at work on what came before

my $redis = Test::XMPP::Redis->new($dir, appendonly => 'yes',
                                   appendfsync => 'no',
                                   'enable-debug-command' => 'local');

ok($d->expect(qr/^reply greets OK$/) && $d->expect(qr/^reply waits hello$/),
   'SETUP of the state handler goes out before what waits');
ok($d->up(), 'ready');
is($d->pending(), 0, 'nothing pending');
is(() = $d->log() =~ /\[error\].*xmpp redis/g, 2,
   'one line for each connection while the server was away');
like($d->log(), qr/\(2: No such file or directory\)/, 'the line has a reason');
is(() = $d->log() =~ /\[notice\].*connection is back after \d+ ms/g, 2,
   'and one for its return');

my @clients = grep { /name=worker-7/ } split /\n/,
              $redis->command('CLIENT', 'LIST');
is(@clients, 2, 'CLIENT SETNAME on both connections');


###############################################################################
# Replies

$d->say('cmd int 0 INCR n', 'cmd nil 0 GET nothing', 'cmd err 0 LPOP n',
        'cmd list 0 TIME', 'cmd status 0 SET a b', 'cmd bulk 0 GET a');
ok($d->in_order(qr/^reply int 1$/, qr/^reply nil nil$/,
                qr/^reply err error WRONGTYPE /, qr/^reply list array of 2$/,
                qr/^reply status OK$/, qr/^reply bulk b$/),
   'replies of all types, in order');

$redis->command('DEL', 'n');

my $reads = sub {
    my ($n) = $redis->command('INFO', 'stats')
              =~ /total_reads_processed:(\d+)/;
    return $n;
};

my $before = $reads->();
$d->say('many 400 turn 0 INCR n');
ok($d->in_order(map { my $i = $_; qr/^reply turn\.@{[ $i - 1 ]} $i$/ }
                1 .. 400), '400 commands of one turn, in order');
cmp_ok($reads->() - $before, '<=', 2, 'all of them in one write');

# more than a socket takes at once: the rest follows when Redis reads again

$redis->pause();

my $big = 'x' x 200_000;
$d->say(map { "cmd big.$_ 0 APPEND big.$_ $big" } 1 .. 40);
is($d->pending(), 40, 'the worker answers while Redis is stopped');
$redis->resume();
ok($d->in_order(map { qr/^reply big\.$_ 200000$/ } 1 .. 40),
   'requests larger than the socket buffer');
$d->say('cmd get 0 GET big.40', 'cmd after 0 PING');
ok($d->in_order(qr/^reply get x{400}/, qr/^reply after PONG$/),
   'a large reply');


###############################################################################
# Cancelling

$redis->pause();
$d->say('cmd a 0 SET cancelled 1', 'cmd b 0 PING');
is($d->pending(), 2, 'two wait');
$d->say('cancel a');
$redis->resume();
ok($d->expect(qr/^reply b PONG$/), 'the next command gets its own reply');
is(join(' ', grep { /^(reply|failed) a\b/ } $d->reports()), '',
   'no handler for the cancelled one');
is($redis->command('GET', 'cancelled'), 1, 'which ran');
is($d->pending(), 0, 'and is gone');


###############################################################################
# Subscriptions

$d->say('sub one room{1}', 'sub two room{2}');
ok($d->in_order(qr/^subscribed one$/, qr/^subscribed two$/), 'subscribed');
is($redis->command('SPUBLISH', 'room{1}', 'hello'), 1, 'one receiver');
ok($d->in_order(qr/^message room\{1\} hello$/), 'message');

$d->say('unsub room{1}', 'sub three room{3}');
ok($d->expect(qr/^subscribed three$/), 'unsubscribed and subscribed');
is($redis->command('SPUBLISH', 'room{1}', 'hello'), 0, 'no receiver');

$redis->command('SPUBLISH', 'room{2}', "$_ " . 'y' x ($_ * 20_000))
    for 1 .. 20;
ok($d->in_order(map { my $n = $_ * 20_001 - $_ * 1 + 1 + length($_);
                      qr/^message room\{2\} long $n / } 1 .. 20),
   'messages larger than the read buffer');

$d->say('subs 10000 c{x}');
ok($d->expect(qr/^subs 10000 of 10000$/), '10,000 channels');

# only the subscriber is lost

$redis->command('CLIENT', 'KILL', 'TYPE', 'pubsub');
ok($d->in_order(qr/^state 1 0$/, qr/^state 1 1$/, qr/^subs 10000 of 10000$/),
   'lost, back, and subscribed again by the state handler');
is($redis->command('SPUBLISH', 'c{x}9999', 'again'), 1, 'the last of them');
ok($d->in_order(qr/^message c\{x\}9999 again$/), 'message');

# what waits for a confirmation fails with the connection

$redis->pause();
$d->say('sub waits room{4}');
is($d->pending(), 1, 'a subscription waits');
kill 'KILL', $redis->pid();
ok($d->expect(qr/^failed waits away$/), 'and fails with its connection');
ok($d->expect(qr/^state 1 0$/), 'the state handler is told');
$d->say('sub early room{5}', 'unsub room{5}', 'sub early2 room{6}');
$redis->kill9();
$redis->start();
ok($d->expect(qr/^subscribed early$/) && $d->expect(qr/^subscribed early2$/),
   'subscriptions wait for a connection');
ok($d->expect(qr/^subs 10000 of 10000$/), '10,000 channels again');
is($redis->command('SPUBLISH', 'room{5}', 'x'), 0,
   'in order with their ends');
is($redis->command('SPUBLISH', 'room{6}', 'x'), 1, 'another');
$d->reports();


###############################################################################
# Redis is killed under load: commands with an identity run exactly once

$redis->command('FUNCTION', 'LOAD', 'REPLACE', <<'EOT');
#!lua name=once
redis.register_function('once', function(keys, args)
    if redis.call('SADD', keys[1], args[1]) == 1 then
        redis.call('INCR', keys[2])
    end
    return args[1]
end)
EOT

my (@told, $kills);

for my $burst (0 .. 19) {
    $d->say("many 500 f$burst 1 FCALL once 2 seen.$burst count %",
            "many 10 g$burst 0 INCR plain");

    if ($burst % 5 == 2) {
        $redis->kill9();
        $redis->start();
        $kills++;
    }
}

Test::XMPP::Process::await(sub { push @told, $d->reports();
                                 $d->pending() == 0 }, 30);
push @told, $d->reports();

is((grep { /^reply f\d+\.\d+ \d+$/ } @told), 10_000,
   "all repeatable commands answered, $kills kills");
is((grep { /^failed f/ } @told), 0, 'none of them failed');
is($redis->command('GET', 'count'), 10_000, 'each ran exactly once');

my %order;
my $disorder = 0;

for (grep { /^reply f/ } @told) {
    my ($burst, $i) = /^reply f(\d+)\.(\d+)/;
    $disorder++ if ($order{$burst} // -1) != $i - 1;
    $order{$burst} = $i;
}

is($disorder, 0, 'in order');

my $ok = grep { /^reply g\d/ } @told;
my $unknown = grep { /^failed g\S+ unknown$/ } @told;
my $away = grep { /^failed g\S+ away$/ } @told;
my $plain = $redis->command('GET', 'plain');

my %told;

push @{ $told{$_->[0]} }, $_->[1]
    for map { /^((?:reply|failed) (g\d+\.\d+).*)/ ? [ $2, $1 ] : () } @told;

is($ok + $unknown + $away, 200, 'each of the others was told its fate')
    or diag(join "\n", 'of ' . keys(%told) . ' commands:',
                       map { @$_ } grep { @$_ > 1 } values %told);
cmp_ok($plain, '>=', $ok, 'what was answered ran');
cmp_ok($plain, '<=', $ok + $unknown, 'what was told "away" did not run');


###############################################################################
# Timeouts: Redis is there, but stands still

my $e = Driver->new($dir, 'late',
                    "$unix timeout=1s connect_timeout=300ms queue=8 "
                    . 'ping=200ms');
ok($e->up(), 'ready');

$redis->pause();
my $start = time();
$e->say('cmd plain 0 INCR late', 'cmd again 1 INCR late');
$e->expect(qr/^failed plain unknown$/);
cmp_ok(time() - $start, '>', 0.95, 'sent: unknown, at its deadline');
cmp_ok(time() - $start, '<', 3, 'and not long after it');
ok($e->expect(qr/^failed again unknown$/), 'also the one to be repeated');
ok($e->expect(qr/^state 0 0$/), 'the connection was given up');
ok($e->expect(qr/^state 1 0$/), 'that of the subscriber by its PING');

$e->say('cmd never 0 INCR late');
ok($e->expect(qr/^failed never away$/), 'never sent: away');

$e->say('many 10 q 0 INCR late');
is(join(' ', sort grep { /^refused/ } $e->reports()),
   'refused q.8 refused q.9', 'a full queue refuses at once');
$e->expect(qr/^failed q\.7 away$/);
is($e->pending(), 0, 'nothing pending');

$redis->resume();
ok($e->up(), 'ready again');

# bounded in bytes, too: whatever is there, one more may come below the bound

my $b = Driver->new($dir, 'bytes', "$unix timeout=1s bytes=5000");
ok($b->up(), 'ready');
$redis->pause();
$b->say('many 10 b 0 SET b ' . 'x' x 1000);
is(join(' ', sort grep { /^refused/ } $b->reports()),
   join(' ', map { "refused b.$_" } 5 .. 9), 'so many bytes, and no more');
$b->expect(qr/^failed b\.4 unknown$/);
$redis->resume();
ok($b->up(), 'ready again');
$b->say('cmd b 0 PING');
ok($b->expect(qr/^reply b PONG$/), 'and they are free again');
is(join("\n", $b->stop()), '', 'no alert at exit');

# a command younger than the one that timed out is repeated

$redis->pause();
$e->say('cmd old 0 PING');
select undef, undef, undef, 0.9;
$e->say('cmd young 1 INCR young', 'cmd young2 1 INCR young');
ok($e->expect(qr/^failed old unknown$/), 'the old one timed out');
$redis->resume();
ok($e->expect(qr/^reply young [13]$/) && $e->expect(qr/^reply young2 [24]$/),
   'the younger ones were repeated within their own time');

like($e->log(), qr/command connection got no reply within the timeout/,
     'log: no reply');
like($e->log(), qr/got no answer within the connect timeout/,
     'log: no answer');


###############################################################################
# The server changes its mind

$e->say('cmd x 0 PING')->expect(qr/^reply x PONG$/);
$e->reports();
$redis->command('REPLICAOF', '127.0.0.1', '1');
$e->say('cmd write 0 SET by replica', 'cmd read 0 GET by',
        'cmd write2 0 SET by master');
ok($e->in_order(qr/^reply read nil$/, qr/^state 0 0$/, qr/^state 1 0$/),
   'READONLY: both connections are given up after the last reply');
$redis->command('REPLICAOF', 'NO', 'ONE');
ok($e->expect(qr/^reply write OK$/) && $e->expect(qr/^reply write2 OK$/),
   'they did not run, so they are sent again, also without the flag');
ok($e->up(), 'ready again');
like($e->log(), qr/reached a replica; "xmpp_redis" has/, 'log: replica');

# loading: each key takes a millisecond

$redis->command('DEBUG', 'POPULATE', 1500);
$redis->command('CONFIG', 'SET', 'appendonly', 'no');
$redis->command('SAVE');
$redis->kill9();
$redis->{config} = { 'key-load-delay' => 1000,
                     'loading-process-events-interval-bytes' => 1024 };
$e->reports();
$redis->start();
ok($e->expect(qr/^state 0 1$/), 'ready after LOADING');
like($e->log(), qr/has to wait: the server is loading its data/,
     'log: loading');

is(join("\n", $e->stop()), '', 'no alert at exit');


###############################################################################
# TCP, IPv6, users, databases

my $port = Test::XMPP::Process::free_port();
$redis->stop();
$redis->{config} = { port => $port, bind => '127.0.0.1 ::1' };
$redis->start();
$redis->command('ACL', 'SETUSER', 'mod', 'on', '>p@s:s/w', '~*', '&*', '+@all');

my $v6 = Driver->new($dir, 'tcp6',
    "redis://mod:p%40s:s%2fw@[::1]:$port/3 name=six");
ok($v6->up(), 'IPv6, user, password, database');
my ($six) = grep { /name=six/ && /db=3/ } split /\n/,
            $redis->command('CLIENT', 'LIST');
like($six, qr/addr=\[::1\].*user=mod/, 'as configured');
like($v6->log(), qr{"redis://mod:\*\*\*\@\[::1\]:$port/3"}, 'log: the address');
unlike($v6->log(), qr/p\@s|p%40s/, 'log: no password');
is(join("\n", $v6->stop()), '', 'no alert at exit');

# less than that is enough

$redis->command('ACL', 'SETUSER', 'less', 'on', '>less', '~*', '&ok*', '+@all',
                '-role', '-client');
my $less = Driver->new($dir, 'less',
    "redis://less:less\@127.0.0.1:$port name=x");
ok($less->up(), 'without ROLE and CLIENT');
like($less->log(), qr/ROLE is not permitted: "NOPERM/, 'log: ROLE');
$less->say('sub no other', 'sub yes ok');
ok($less->in_order(qr/^failed no away$/, qr/^subscribed yes$/),
   'a subscription is refused');
like($less->log(), qr/a subscription was refused, "NOPERM/, 'log: refused');
is(join("\n", $less->stop()), '', 'no alert at exit');

# An earlier try may have run, whatever the server says to the later one: here
# a replica, which refuses the commands and not the connection.

open my $acl, '>', "$dir/users.acl" or die "$dir/users.acl: $!\n";
print $acl "user default on nopass ~* &* +\@all\n",
           "user less on >less ~* &* +\@all -role\n";
close $acl;

$redis->stop();
$redis->{config}{aclfile} = "$dir/users.acl";
$redis->start();

my $doubt = Driver->new($dir, 'doubt',
    "redis://less:less\@127.0.0.1:$port timeout=3s");
ok($doubt->up(), 'without ROLE');
$redis->pause();
$doubt->say('cmd maybe 1 INCR maybe');
is($doubt->pending(), 1, 'a command waits');
kill 'KILL', $redis->pid();
$redis->kill9();
$redis->{config}{replicaof} = '127.0.0.1 1';
$redis->start();
$doubt->say('cmd never 1 INCR never');
ok($doubt->expect(qr/^failed maybe unknown$/), 'sent before: unknown');
ok($doubt->expect(qr/^failed never away$/), 'only refused: away');
like($doubt->log(), qr/reached a replica; "xmpp_redis" has/, 'log: replica');
is(join("\n", $doubt->stop()), '', 'no alert at exit');

delete $redis->{config}{replicaof};
$redis->stop();
$redis->start();

my $wrong = Driver->new($dir, 'wrong', "redis://:nonsense\@127.0.0.1:$port");
ok($wrong->nginx()->await_log(qr/connection\ was\ refused,
                                 \ "(?:WRONGPASS|ERR\ AUTH)
                                 .*check\ address,\ user/x),
   'a wrong password');
unlike($wrong->log(), qr/nonsense/, 'log: no password');
$redis->command('CONFIG', 'SET', 'requirepass', 'nonsense');
ok($wrong->up(), 'until it is right');
is(join("\n", $wrong->stop()), '', 'no alert at exit');

my $none = Driver->new($dir, 'none', "redis:127.0.0.1:$port");
ok($none->nginx()->await_log(qr/was refused, "NOAUTH/), 'a missing password');
is(join("\n", $none->stop()), '', 'no alert at exit');

$redis->command('AUTH', 'nonsense');
$redis->command('CONFIG', 'SET', 'requirepass', '');
$redis->stop();
$redis->{config} = {};
$redis->start();


###############################################################################
# What is no Redis

my $strange = IO::Socket::UNIX->new(Local => "$dir/strange.sock", Listen => 8)
    or die "$dir/strange.sock: $!\n";
my $s = Driver->new($dir, 'strange', "unix:$dir/strange.sock");

for my $words ("HTTP/1.1 400 Bad Request\r\n\r\n", "+PONG\r\n+PONG\r\n",
               "-ERR max number of clients reached\r\n", '')
{
    for (1 .. 2) {
        my $c = $strange->accept();
        sysread($c, my $request, 1024);
        syswrite($c, $words) if length $words;
    }
}

$strange->accept() for 1 .. 2;
like($s->log(), qr/got what is no valid reply, "Protocol error/,
     'log: a protocol error');
like($s->log(), qr/was refused, "ERR max number of clients/,
     'log: the last words of a server');
like($s->log(), qr/was closed by the server/, 'log: closed');
is(() = $s->log() =~ /\[error\]/g, 6, 'log: each reason once a connection');
is(join("\n", $s->stop()), '', 'no alert at exit');


###############################################################################
# Reload and exit

ok($d->up(), 'the first worker is still there');
$d->say('linger');
$d->reports();
my ($old) = $d->reload();
ok(Test::XMPP::Process::await(sub { !kill 0, $old }), 'the old worker exits');
is($redis->command('GET', 'lingered'), $old,
   'but used its connection while it was shutting down');

# without Redis nothing keeps it

$d->attach();
$d->say('cmd x 0 PING')->expect(qr/^reply x PONG$/);
$redis->stop();
$d->expect(qr/^state 0 0$/);
($old) = $d->reload();
$start = time();
ok(Test::XMPP::Process::await(sub { !kill 0, $old }),
   'an old worker exits without Redis');
cmp_ok(time() - $start, '<', 3, 'and soon');
$redis->start();

# worker_shutdown_timeout closes the connection under a request

my $shut = Driver->new($dir, 'shut', $unix,
                       main => 'worker_shutdown_timeout 500ms;');
ok($shut->up(), 'ready');
$shut->say('linger');
$shut->reports();
$redis->pause();
($old) = $shut->reload();
ok(Test::XMPP::Process::await(sub { !kill 0, $old }, 10),
   'worker_shutdown_timeout ends what waits for Redis');
$redis->resume();
is(join("\n", $shut->stop()), '', 'no alert at exit');

# destroyed, not quietly

$d->attach();
$d->say('cmd x 0 PING')->expect(qr/^reply x PONG$/);
$d->reports();
$redis->pause();
$d->say('cmd a 1 PING', 'sub b room{1}');
is($d->pending(), 2, 'two pending');
$d->say('cmd c 0 PING', 'destroy', 'cmd d 0 PING', 'sub e room{1}');
ok($d->in_order(qr/^refused d$/, qr/^refused e$/, qr/^failed a unknown$/,
                qr/^failed c away$/, qr/^failed b away$/),
   'destroy tells all that wait, from the event loop');
is($d->pending(), 0, 'nothing pending');
$redis->resume();

is(join("\n", $d->stop()), '', 'no alert at exit');


###############################################################################
# The address

my %good = (
    'unix:/run/redis.sock'        => 'unix:/run/redis.sock db:0 user:"" pass',
    'redis:127.0.0.1'             => '127.0.0.1:6379 db:0 user:""',
    'redis:127.0.0.1:7000'        => '127.0.0.1:7000 db:0',
    'redis:[::1]:7000'            => '[::1]:7000 db:0',
    'redis://10.0.0.1/5'          => '10.0.0.1:6379 db:5 user:"" password:0',
    'redis://:secret@10.0.0.1'    => '10.0.0.1:6379 db:0 user:"" password:6',
    'rediss:10.0.0.1'             => '10.0.0.1:6379 db:0 user:""',
    'rediss://:s@[::1]:7/2'       => '[::1]:7 db:2 user:"" password:1',
    'redis://u:s%3Ac@[::1]:1/15'  => '[::1]:1 db:15 user:"u" password:3',
    'sentinel:10.0.0.1,[::1]:7/m' => '10.0.0.1:26379 db:0 user:"" password:0',
    'sentinel://u:s@10.0.0.1/m/4' => '10.0.0.1:26379 db:4 user:"u" password:1',
);

my %bad = (
    'sentinel:10.0.0.1'       => 'the name of the master is missing',
    'sentinel:10.0.0.1,/main' => 'address of a sentinel is missing',
    'sentinel:/main'          => 'address of a sentinel is missing',
    'sentinel:10.0.0.1/m/x'   => 'is not a number',
    'sentinel://u:%z@h/m'     => 'bad "%" escape',
    'cluster:10.0.0.1'        => '"cluster:"\) is not supported',
    'http://10.0.0.1'         => 'neither "unix:", "redis:", ',
    '127.0.0.1:6379'          => 'write it like "redis:127.0.0.1:6379"',
    'redis:'                  => 'no host|invalid host',
    'redis:10.0.0.1:99999'    => 'invalid port',
    'redis://10.0.0.1/x'      => 'is not a number',
    'redis://u:%zz@10.0.0.1'  => 'bad "%" escape',
    'redis://user@10.0.0.1'   => 'user "user" without a password',
    'redis:unix:/x'           => '"unix:" has to come first',
    'unix:'                   => 'has to begin with "/"',
    'unix:redis.sock'         => 'has to begin with "/"',
);

my $n = 0;

for my $url (sort keys %good) {
    my ($status, $output) = Driver->test_config($dir, 'url' . $n++, $url);
    my ($address, $rest) = split / /, $good{$url}, 2;
    like($output, qr/first:"\Q$address\E" \Q$rest\E/, $url);
}

for my $url (sort keys %bad) {
    my ($status, $output) = Driver->test_config($dir, 'url' . $n++, $url);
    like($output, qr/\[emerg\].*(?:$bad{$url})/, $url);
}

ok($redis->stop(), 'Redis stopped');

done_testing();
