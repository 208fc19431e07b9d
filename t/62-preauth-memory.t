#!/usr/bin/perl

# What a connection costs the worker before it is authenticated: silent ones,
# and those that send a byte now and then and never come to an end.  Meanwhile
# two users chat undisturbed, and at the deadline all of them are closed
# (RFC 6120, 13.12).
#
# XMPP_CONNECTIONS says how many of each kind: 3000, or as many as the number
# of open files allows.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use MIME::Base64 qw/ encode_base64 /;
use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Time::HiRes qw/ time /;

*await = \&Test::XMPP::Process::await;
*settled = \&Test::XMPP::Process::settled;

my $files = `sh -c 'ulimit -n'`;
my $number = $ENV{XMPP_CONNECTIONS} || 3000;
$number = $files - 500 if $number > $files - 500;

my $LIMIT = 4096;              # bytes for each, beside nginx's own slot
my $SENT = 8192;               # xmpp_preauth_bytes, the default

my $t = Test::XMPP->new(workers => 1, users => [ qw/ alice bob / ])
                  ->only_ours('measures the worker');

my $info = `\Q@{[ Test::XMPP::Nginx::binary() ]}\E -V 2>&1`;

plan(skip_all => 'figures of a sanitized worker mean nothing')
    if $info =~ /-fsanitize/;

$ENV{XMPP_LOG} //= 'warn';

# %%PORT_0%% much time, %%PORT_1%% little, %%PORT_2%% for the two users

$t->config(<<'EOT');
%%GLOBALS%%
events { worker_connections 32768; }
stream {
    xmpp_redis unix:%%REDIS%%;
    xmpp_host localhost {
        ssl_certificate     %%TESTDIR%%/localhost.pem;
        ssl_certificate_key %%TESTDIR%%/localhost.key;
    }
    server {
        listen 127.0.0.1:%%PORT_0%% backlog=4096;
        xmpp_c2s;
        xmpp_starttls on;
        xmpp_auth_timeout 600s;
    }
    server {
        listen 127.0.0.1:%%PORT_1%% backlog=4096;
        xmpp_c2s;
        xmpp_starttls on;
        xmpp_auth_timeout 5s;
    }
    server { listen 127.0.0.1:%%PORT_2%%; xmpp_c2s; }
}
EOT

$t->run();

my %NS = %Test::XMPP::Client::NS;

my $header = "<?xml version='1.0'?><stream:stream to='localhost' "
             . "version='1.0' xmlns='$NS{c}' "
             . "xmlns:stream='$NS{stream}'>";
my $auth = "<auth xmlns='$NS{sasl}' mechanism='SCRAM-SHA-1'>"
           . encode_base64('n,,n=alice,r=fyko+d2lbbFgONRv9qkxdawL', '')
           . '</auth>';

# what is sent, and what drips after it

my @kinds = (
    [ 'silent',                        '', '' ],
    [ 'header sent',                   $header, ' ' ],
    [ 'half a header',                 substr($header, 0, -30), 'x' ],
    [ 'within an attribute',
      "$header<auth xmlns='$NS{sasl}' mechanism='", 'x' ],
    [ 'thirty elements, and no end',
      "$header<x>" . '<y a=\'b\'/>' x 30, ' ' ],
    [ 'half a SCRAM exchange',         "$header$auth", ' ' ],
    [ 'no handshake after <proceed/>',
      "$header<starttls xmlns='$NS{tls}'/>", ' ' ],
);

my $most = 8000 - length $header;
my $endless = [ 'one attribute of 8000 bytes',
                "$header<a b='" . 'x' x ($most - 6), '' ];

# its name tells a worker, and comes late

await(sub { my @all = $t->workers(); @all });

measure($_, $LIMIT) for @kinds;
measure($endless, $SENT + $LIMIT);


###############################################################################
# Time: all of them at once, and none is there afterwards

my ($alice, $bob) = users();
my $begin = time();
my @sockets;

for my $n (1 .. $number / @kinds) {
    push @sockets, map { opened($_, 1) } @kinds;
    chat($alice, $bob, 'the deadline') if $n % 50 == 0;
}

my $latency = 0;

while (@sockets && time() - $begin < 60) {
    @sockets = grep { open_still($_) } @sockets;
    my $took = chat($alice, $bob, 'the deadline') // last;
    $latency = $took if $took > $latency;
}

is(scalar @sockets, 0, 'xmpp_auth_timeout: all are closed');
diag(sprintf 'all are closed after %.1f s; a message took %.0f ms at most',
     time() - $begin, 1000 * $latency);
cmp_ok($latency, '<', 2, 'and messages were delivered meanwhile');
$_->close() for $alice, $bob;

$t->done();


###############################################################################

# Opens connections of a kind, in a worker of their own, lets them drip, and
# says what each costs.

sub measure {
    my ($kind, $bound) = @_;
    my ($name, undef, $drip) = @$kind;

    my @old = $t->reload();
    await(sub { !grep { kill 0, $_ } @old }) or die "the old worker stays\n";

    my ($alice, $bob) = users();
    my ($worker) = $t->workers();

    # what is made once

    chat($alice, $bob, $name);
    opened($kind, 0) for 1 .. 10;

    my $before = settled($worker);
    my ($latency, @open) = (0);

    for my $n (1 .. $number) {
        push @open, opened($kind, 0);
        next if $n % 100;

        my $took = chat($alice, $bob, $name) // last;
        $latency = $took if $took > $latency;
    }

    # a byte of each now and then

    for ($drip eq '' ? () : 1 .. 3) {
        syswrite $_, $drip for @open;

        my $took = chat($alice, $bob, $name) // last;
        $latency = $took if $took > $latency;
    }

    my $each = (settled($worker) - $before) / $number;

    diag(sprintf '%-28s %5d: %6.0f bytes each, a message took %.0f ms',
         $name, $number, $each, 1000 * $latency);
    cmp_ok($each, '<', $bound, "$name: each under $bound bytes");
    cmp_ok($latency, '<', 2, "$name: users chat meanwhile");
    is(scalar grep({ open_still($_) } @open), $number,
       "$name: all were there");

    $_->close() for $alice, $bob;
}


sub opened {
    my ($kind, $port) = @_;

    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                       PeerPort => $t->port($port))
        or die "connect: $!\n";
    $socket->blocking(0);

    syswrite $socket, $kind->[1] if $kind->[1] ne '';

    return $socket;
}


# Reads what is there; false at the end.

sub open_still {
    my ($socket) = @_;

    while (my $n = sysread $socket, my $buf, 4096) {
        # what is said to it
    }

    return $!{EAGAIN};
}


sub users {
    return map { $t->client($_, port_number => 2, resource => 'r')->login() }
           qw/ alice bob /;
}


# A message from the one to the other: the seconds that it took

my $serial = 0;

sub chat {
    my ($from, $to, $name) = @_;

    my $begin = time();

    $from->message($to->jid(), ++$serial, type => 'chat');

    if (!$to->pick('message', body => $serial)) {
        fail("$name: message $serial is not delivered");
        return;
    }

    return time() - $begin;
}
