#!/usr/bin/perl

# The Redis client alone, by TLS: order, many records, a server that does not
# read for a while, timeouts, kills under load; the same outcomes as without
# TLS (t/04-redis.t).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/redis-client";

use File::Temp qw/ tempdir /;
use IO::Socket::INET;
use IO::Socket::SSL;
use Test::More;

use Driver;
use Test::XMPP::CA;
use Test::XMPP::Process;
use Test::XMPP::Redis;

$SIG{INT} = $SIG{TERM} = sub { exit 130 };
$SIG{PIPE} = 'IGNORE';

plan(skip_all => 'for our own server only') if $ENV{XMPP_TARGET};

my $dir = tempdir('xmpp-test-XXXXXXXX', TMPDIR => 1,
                  CLEANUP => !$ENV{XMPP_LEAVE});
chmod 0755, $dir;

my $port = Test::XMPP::Process::free_port();
my $ca = Test::XMPP::CA->new($dir);
my ($cert, $key) = $ca->issue('localhost', '127.0.0.1');

chmod 0644, $key;

# by default the log waits while a slow disk is at work on what came before

my $redis = Test::XMPP::Redis->new($dir, appendonly => 'yes',
    appendfsync => 'no', bind => '127.0.0.1',
    'tls-port' => $port, 'tls-cert-file' => $cert,
    'tls-key-file' => $key, 'tls-ca-cert-file' => $ca->file(),
    'tls-auth-clients' => 'no');

Driver::build();

my $url = "rediss:127.0.0.1:$port authority=" . $ca->file();
my $d = Driver->new($dir, 'main', "$url timeout=20s");

ok($d->up(), 'ready');


###############################################################################
# One write of a turn, and records

my $reads = sub {
    my ($n) = $redis->command('INFO', 'stats')
              =~ /total_reads_processed:(\d+)/;
    return $n;
};

my $before = $reads->();

$d->say('many 400 turn 0 INCR n');
ok($d->in_order(map { my $i = $_; qr/^reply turn\.@{[ $i - 1 ]} $i$/ }
                1 .. 400), '400 commands of one turn, in order');
cmp_ok($reads->() - $before, '<=', 3, 'all of them in one write');

# more than sockets take: OpenSSL has to write the same record again

$redis->pause();

my $big = 'x' x 200_000;

$d->say(map { "cmd big.$_ 0 APPEND big.$_ $big" } 1 .. 60);
is($d->pending(), 60, 'the worker answers while Redis is stopped');
$d->say("cmd more.$_ 0 APPEND more " . $_ % 10) for 1 .. 100;
is($d->pending(), 160, 'and takes more behind it');
$redis->resume();
ok($d->in_order(map({ qr/^reply big\.$_ 200000$/ } 1 .. 60),
                map { qr/^reply more\.$_ $_$/ } 1 .. 100),
   'requests larger than the socket buffer, and what came after them');
is($redis->command('GET', 'big.60'), $big, 'whole');
is($redis->command('GET', 'more'), '1234567890' x 10, 'in order');

$d->say('cmd get 0 GET big.40', 'cmd after 0 PING');
ok($d->in_order(qr/^reply get x{400}/, qr/^reply after PONG$/),
   'a large reply');

$d->say('subs 5000 c{x}');
ok($d->expect(qr/^subs 5000 of 5000$/), '5,000 channels');
$redis->command('CLIENT', 'KILL', 'TYPE', 'pubsub');
ok($d->expect(qr/^subs 5000 of 5000$/), 'again after a loss');
$redis->command('SPUBLISH', 'c{x}4999', 'y' x 100_000);
ok($d->expect(qr/^message c\{x\}4999 long 100000 /), 'a large message');


###############################################################################
# Killed under load, while writes are stuck: each once

$redis->command('FUNCTION', 'LOAD', 'REPLACE', <<'EOT');
#!lua name=once
redis.register_function('once', function(keys, args)
    if redis.call('SADD', keys[1], args[1]) == 1 then
        redis.call('INCR', keys[2])
    end
    return args[1]
end)
EOT

my @told;

for my $burst (0 .. 11) {
    $redis->pause() if $burst % 4 == 2;
    $d->say("many 500 f$burst 1 FCALL once 2 seen.$burst count % "
            . 'z' x 2000, "many 10 g$burst 0 INCR plain");

    if ($burst % 4 == 2) {
        $d->pending();
        $redis->kill9();
        $redis->start();
    }
}

Test::XMPP::Process::await(sub { push @told, $d->reports();
                                 $d->pending() == 0 }, 30);
push @told, $d->reports();

is((grep { /^reply f\d+\.\d+ \d+$/ } @told), 6000,
   'all repeatable commands answered');
is($redis->command('GET', 'count'), 6000, 'each ran exactly once');

my $ok = grep { /^reply g\d/ } @told;
my $unknown = grep { /^failed g\S+ unknown$/ } @told;
my $plain = $redis->command('GET', 'plain');

cmp_ok($plain, '>=', $ok, 'what was answered ran');
cmp_ok($plain, '<=', $ok + $unknown, 'what was told "away" did not run');


###############################################################################
# Timeouts, with a record half written

my $e = Driver->new($dir, 'late', "$url timeout=700ms connect_timeout=300ms");

ok($e->up(), 'ready');
$redis->pause();
$e->say(map { "cmd big.$_ 0 APPEND late $big" } 1 .. 60);
$e->expect(qr/^failed big\.$_ (?:unknown|away)$/) or fail("big.$_")
    for 1 .. 60;
ok($e->expect(qr/^state 0 0$/), 'a server that stands still is given up');
$e->say('cmd never 0 INCR never');
ok($e->expect(qr/^failed never away$/), 'never sent: away');
$redis->resume();
ok($e->up(), 'ready again');
is($redis->command('EXISTS', 'never'), 0, 'and so it was');

# destroyed and ended in the middle of all that

$redis->pause();
$e->say(map { "cmd big.$_ 1 APPEND late $big" } 1 .. 60);
is($e->pending(), 60, 'sixty wait');
is(join("\n", $e->stop()), '', 'no alert at exit');
$d->say("cmd big 0 APPEND late $big", 'destroy');
$d->expect(qr/^failed big unknown$/);
is($d->pending(), 0, 'destroyed: nothing pending');
is(join("\n", $d->stop()), '', 'no alert at exit');
$redis->resume();

ok($redis->stop(), 'Redis stopped');


###############################################################################
# Handshakes that fail, again and again: whatever the server does, sockets and
# memory of OpenSSL are given back (t/70-sanitize.t looks for the latter)

my $other = Test::XMPP::CA->new(subfolder('other'));
my ($wrong, $wrong_key) = $other->issue('localhost', '127.0.0.1');

my %server = (
    'closes at once' => [ sub { },
        qr/cannot speak TLS, ".*closed.*" *; does the server speak TLS there/ ],
    'sends what is no TLS' => [ sub { syswrite $_[0], "-ERR no\r\n" },
        qr/cannot speak TLS, "SSL_do_handshake\(\) failed \(SSL:/ ],
    'ends in the middle' => [
        sub { sysread $_[0], my $hello, 4096;
              syswrite $_[0], "\x16\3\3\2\0\2" },
        qr/cannot speak TLS, ".*closed connection.*"/ ],
    'says nothing' => [
        sub { sysread $_[0], my $hello, 4096; sysread $_[0], $hello, 1 },
        qr/got no TLS handshake within the connect timeout/ ],
    'has another authority' => [
        sub { secure($_[0], $wrong, $wrong_key) }, qr/is not trusted, "/ ],
    'is no Redis' => [
        sub { my $s = secure($_[0], $cert, $key) or return;
              sysread $s, my $auth, 4096;
              syswrite $s, "HTTP/1.1 400\r\n" },
        qr/no valid reply, "Protocol error/ ],
);

for my $how (sort keys %server) {
    my ($serve, $says) = @{ $server{$how} };

    # a socket of its own: connections of the one before may still wait there

    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 16)
        or die "listen: $!\n";

    # the time is up for who waits for it only

    my $time = $how eq 'says nothing' ? '200ms' : '10s';
    my $f = Driver->new($dir, $how =~ s/\W/-/gr,
                        'rediss:127.0.0.1:' . $listen->sockport()
                        . " connect_timeout=$time authority=" . $ca->file());
    my ($worker) = $f->nginx()->workers();
    my $open;

    for my $i (1 .. 10) {
        my $c = $listen->accept();

        $serve->($c);
        close $c;
        $open = () = glob "/proc/$worker/fd/*" if $i == 4;
    }

    cmp_ok(scalar(() = glob "/proc/$worker/fd/*"), '<=', $open + 2,
           "a server that $how: no socket is lost");
    Test::XMPP::Process::await(sub { $f->log() =~ $says });
    like($f->log(), $says, 'log: what is wrong');
    cmp_ok(scalar(() = $f->log() =~ /\[(?:error|crit)\]/g), '<=', 4,
           'log: once a connection');
    is(join("\n", $f->stop()), '', 'no alert at exit');
}

done_testing();


sub subfolder { mkdir "$dir/$_[0]"; return "$dir/$_[0]" }


sub secure {
    my ($socket, $cert, $key) = @_;

    return IO::Socket::SSL->start_SSL($socket, SSL_server => 1,
        SSL_cert_file => $cert, SSL_key_file => $key,
        SSL_startHandshake => 1, Timeout => 5);
}
