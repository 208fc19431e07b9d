#!/usr/bin/perl

# Parameters of listen that change how connections come, and ways in which
# nginx waits for events or runs: XMPP is the same by all of them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::UNIX;
use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(hosts => 0, users => [ qw/ alice bob / ])
                  ->only_ours('has nginx in front of it');

my $hosts = <<'EOF';
    xmpp_redis  unix:%%REDIS%%;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }
EOF

my $servers = <<'EOF';
    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }

    server {
        listen  127.0.0.1:%%PORT_1%% ssl;
        xmpp_c2s;
    }
EOF

$t->run();


sub start {
    my ($globals, $events, $stream) = @_;

    return $t->start_host(config => <<"EOF");
%%GLOBALS%%
$globals
events {
    worker_connections  256;
    $events
}

stream {
$hosts
$stream
}
EOF
}


# a line of /proc/net/tcp: (state, kind of timer) by the two ports

sub sockets {
    my ($local, $remote) = @_;

    my @found;

    for (split /\n/, Test::XMPP::Process::slurp('/proc/net/tcp')) {
        my ($from, $to, $state, $timer) =
            /^\s*\d+: \w+:(\w+) \w+:(\w+) (\w+) \w+:\w+ (\w+):/ or next;

        push @found, [ $state, $timer ]
            if hex $from == $local && hex $to == $remote;
    }

    return @found;
}


# two sessions that talk, and each end is told

sub talk {
    my ($name, $host, %opt) = @_;

    my ($alice, $bob);

    ok(eval {
        $alice = $t->client('alice', on => $host, %opt)->login();
        $bob = $t->client('bob', on => $host, tls => 'direct')->login();
    }, "$name: logged in") or diag($@), return;

    $alice->message($bob->jid(), 'x' x 100_000, type => 'chat');
    ok($bob->expect(message => from => $alice->jid()), "$name: a message");
    $bob->message($alice->jid(), 'there', type => 'chat');
    ok($alice->expect(message => body => 'there'), "$name: and back");

    my $other = $t->client('alice', on => $host, %opt,
                           resource => $alice->jid() =~ s/.*\///r)->login();

    ok($alice->expect_stream_error('conflict'), "$name: a conflict");
    ok($other->sync(), "$name: and who has won");

    $other->close();
    $bob->drop();
}


###############################################################################
# listen

my $n = 0;

start('', '', <<'EOF');
    server {
        listen  127.0.0.1:%%PORT_0%% so_keepalive=on;
        xmpp_c2s;
    }

    server {
        listen  127.0.0.1:%%PORT_1%% ssl;
        xmpp_c2s;
    }

    server {
        listen  127.0.0.1:%%PORT_2%% reuseport;
        xmpp_c2s;
    }

    server {
        listen  127.0.0.1:%%PORT_3%% backlog=16 rcvbuf=32k sndbuf=32k;
        listen  [::1]:%%PORT_3%% ipv6only=on;
        listen  unix:%%PREFIX%%/c2s.sock;
        xmpp_c2s;
    }
EOF

my $c = $t->client('alice')->connect();

ok($c->open_stream(), 'so_keepalive');

# another timer of the socket may be shown, until what was sent is acknowledged

ok(Test::XMPP::Process::await(sub {
       join(' ', map { "@$_" } sockets($t->port(0), $c->{sock}->sockport()))
           eq '01 02'
   }), 'so_keepalive=on: the timer of the socket is that of keepalive');
$c->drop();

$c = $t->client('alice', tls => 'none', port_number => 3)->connect();
ok($c->open_stream(), 'without');
isnt((sockets($t->port(3), $c->{sock}->sockport()))[0][1], '02',
     'without so_keepalive: it is not');
$c->drop();

is(scalar(grep { $_->[0] eq '0A' } sockets($t->port(2), 0)), 2,
   'reuseport: a socket for each worker');

my %workers;

for (1 .. 40) {
    my $before = length $t->read_log();
    my $c = $t->client('alice', port_number => 2)->connect();

    $c->send('<a/>');
    $c->wait(sub { defined $c->{eof} });

    my ($pid) = substr($t->read_log(), $before) =~ /(\d+)#\d+: \*\d+ client /;

    $workers{$pid}++;
    last if keys %workers == 2;
}

is_deeply([ sort { $a <=> $b } keys %workers ], [ $t->workers() ],
          'reuseport: each worker is served by its own');

talk('so_keepalive', 0);
talk('reuseport', 0, port_number => 2);
talk('backlog, rcvbuf, sndbuf', 0, port_number => 3);
talk('IPv6', 0, port_number => 3, host => '::1');


# a socket of Unix, as a proxy on the same machine has it

my $sock = IO::Socket::UNIX->new($t->host()->prefix() . '/c2s.sock');

ok($sock, 'unix: connected');
print $sock $t->client('alice')->header() . '<nonsense/>';

my $got = do { local $/; <$sock> };

like($got, qr{^<\?xml .*<stream:features>.*</stream:stream>$}s, 'unix: XMPP');
like($t->read_log(), qr/, client: unix:, server: unix:\S+,/, 'unix: logged');


###############################################################################
# Events, and one process alone

my @ways = ([ 'accept_mutex', '', 'accept_mutex on;' ],
            [ 'multi_accept', '', 'multi_accept on;' ],
            [ 'master_process off', 'master_process off;', '' ],
            [ 'use epoll', '', 'use epoll;' ]);

for my $way (@ways) {
    my ($name, $globals, $events) = @$way;

    my $nginx = start($globals, $events, $servers);
    my $host = ++$n;

    talk($name, $host);

    my $c = $t->client('alice', on => $host)->login();

    ok($nginx->{process}->kill('QUIT'), "$name: is told to quit");
    ok($c->expect_stream_error('system-shutdown'), "$name: tells the client");
    $c->drop();
    ok($nginx->stop('QUIT'), "$name: and ends");
    is($nginx->{process}->status(), 0, "$name: well");
}

$t->done();
