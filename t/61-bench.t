#!/usr/bin/perl

# The benchmark in short, against our server alone: two hosts, two workers
# each.  Each scenario of it, with little in it, and nothing may be lost,
# doubled or reordered.  What it costs is printed and decides nothing: time is
# for the benchmark itself, on a machine that does nothing else.

use strict;
use warnings;

use FindBin;
use lib map { "$FindBin::Bin/$_" } qw/ lib traffic bench /;

use Floor;
use Test::More;
use Test::XMPP;
use Traffic;

my $CLIENTS = 40;
my $LOGINS = 100;

my $t = Test::XMPP->new(hosts => 2, workers => 2, users => []);

$t->only_ours('needs two hosts');

# the log of each login is a part of no other server's cost
$ENV{XMPP_LOG} //= 'warn';

$t->config(Traffic::config());
$t->run();

Traffic::accounts($t, $CLIENTS);

my %common = (accounts => Traffic::accounts_file($t, $CLIENTS),
              ca => $t->ca_file());
my %tls = (starttls => 0, direct => 1, plain => 2);


###############################################################################
# Messages: one set of logins for all that differ in nothing else

for my $tls (qw/ plain direct /) {
    messages("full JIDs, $tls", [ 3000, 3000 ], tls => $tls, full => 100,
             window => 8);
}

messages('bare JIDs', [ 3000 ], full => 0, window => 8);
messages('one at a time', [ 2000 ], full => 100, window => 1);
messages('stream management', [ 2000, 2000 ], full => 100, window => 8,
         sm => 1);
messages('a thousand a second', [ 500, 500 ], full => 100, rate => 1000);
messages('a thousand a second, bare JIDs', [ 500 ], full => 0, rate => 1000);


###############################################################################
# Logins: full handshakes and resumed ones (RFC 8446, 2.2)

for my $mechanism (qw/ SCRAM-SHA-1 SCRAM-SHA-256 /) {
    logins("logins, plain, $mechanism", 0, tls => 'plain',
           mechanism => $mechanism);
}

logins('logins, STARTTLS', 0, tls => 'starttls');
logins('logins, TLS', 0, tls => 'direct');
logins('logins, TLS, tickets', $LOGINS - $CLIENTS, tls => 'direct',
       tickets => 1);
logins('logins, TLS, no presence', 0, tls => 'direct', nopresence => 1);


###############################################################################
# All are cut off at once and come back, twice

storms('storms, plain', 0, tls => 'plain');
storms('storms, TLS', 0, tls => 'direct');
storms('storms, TLS, tickets', 2 * $CLIENTS, tls => 'direct', tickets => 1);

$t->done();


###############################################################################

sub start {
    my (%opt) = @_;

    return Traffic->start(targets => Traffic::targets($t, $tls{ $opt{tls} }),
                          %common, hold => 1, control => 1, %opt);
}


# repeat($traffic, order, name): the result; what nginx and Redis used for it
# is in {server_us}

sub repeat {
    my ($traffic, $order, $name) = @_;

    my @pids = Floor::tree($t->redis()->pid(), map { $_->pid() }
                                               @{ $t->{nginx} });
    my $before = Floor::cpu(@pids);

    $traffic->tell($order);
    ok($traffic->wait(qr/^traffic: done/, 60), "$name: done") or return {};

    my $cpu = Floor::cpu(@pids) - $before;
    my ($line) = $traffic->wait(qr/^result: (.*)/, 60);

    return { server_us => $cpu, line => $line // '', status => 0,
             map { split /=/, $_, 2 } split ' ', $line // '' };
}


sub messages {
    my ($name, $repeats, %opt) = @_;

    my $traffic = start(tls => 'direct', pairs => 1, %opt);

    ok($traffic->wait(qr/^ready:/, 60), "$name: all are online");

    for my $n (@$repeats) {
        my $result = repeat($traffic, "again $n", $name);

        Traffic::clean($result, "$name: each once and in order");
        is($result->{received}, $n, "$name: all messages");
        cost($result, $n, 'message');
    }

    leave($traffic, $name);
}


sub logins {
    my ($name, $resumed, %opt) = @_;

    my $traffic = start(relogin => $LOGINS, logins => 8, %opt);
    my $result = repeat($traffic, 'go', $name);

    is($result->{logins}, $LOGINS, "$name: all");
    is($result->{resumed}, $resumed, "$name: resumed");
    cost($result, $LOGINS, 'login');
    leave($traffic, $name);
}


sub storms {
    my ($name, $resumed, %opt) = @_;

    my $traffic = start(storm => 2, %opt);

    ok($traffic->wait(qr/^ready:/, 60), "$name: all are online");

    my $result = repeat($traffic, 'go', $name);

    is($result->{storms}, 2, "$name: all");
    is($result->{logins}, 3 * $CLIENTS, "$name: all came back");
    is($result->{resumed}, $resumed, "$name: resumed");
    cost($result, 2 * $CLIENTS, 'login');
    note("back in $result->{storm_ms} ms");
    leave($traffic, $name);
}


# Nothing came late, and nobody was cut off.

sub leave {
    my ($traffic, $name) = @_;

    $traffic->tell('quit');
    is($traffic->finish(), 0, "$name: good to the end");
}


sub cost {
    my ($result, $n, $unit) = @_;

    note(sprintf 'server %.1f us a %s, generator %.1f us; p50 %d us, '
                 . 'p99 %d us', ($result->{server_us} // 0) / $n, $unit,
                 ($result->{cpu_us} // 0) / $n, $result->{p50} // 0,
                 $result->{p99} // 0);
}
