#!/usr/bin/perl

# Idle sessions: probed with a ping (XEP-0199, 4.1) before they are closed
# (RFC 6120, 4.6.4), and nothing of it is seen by anybody else.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Time::HiRes qw/ time /;

my $t = Test::XMPP->new(users => [ qw/ alice bob / ], workers => 1)
                  ->only_ours();

# %%PORT_0%% little time, %%PORT_1%% the same with direct TLS, %%PORT_2%% the
# default, %%PORT_3%% never

$t->config(<<'EOT');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis      unix:%%REDIS%%;
    xmpp_heartbeat  1h;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen              127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
        xmpp_starttls       on;
        xmpp_idle_timeout   1s;
        xmpp_probe_timeout  1s;
    }

    server {
        listen              127.0.0.1:%%PORT_1%% ssl;
        xmpp_c2s;
        xmpp_idle_timeout   1s;
        xmpp_probe_timeout  1s;
    }

    server {
        listen              127.0.0.1:%%PORT_2%%;
        xmpp_c2s;
    }

    server {
        listen              127.0.0.1:%%PORT_3%%;
        xmpp_c2s;
        xmpp_idle_timeout   0;
        xmpp_probe_timeout  1s;
    }
}
EOT

$t->run();

my $default = $t->online('bob', port_number => 2, resource => 'default');
my $never = $t->online('bob', port_number => 3, resource => 'never');

$_->sync() && $_->drain() for $default, $never;


###############################################################################
# Whoever answers stays

my %tls = (plain    => [ tls => 'none', mechanism => 'SCRAM-SHA-1' ],
           STARTTLS => [ tls => 'starttls' ],
           'direct TLS' => [ tls => 'direct', port_number => 1 ]);

# "\n" is no stanza, but bytes

my @answers = (
    [ 'plain', 'with a result', sub {
        my ($c, $ping) = @_;
        $c->send("<iq type='result' id='" . $ping->attr('id')
                 . "' to='localhost'/>");
    } ],
    [ 'STARTTLS', 'with an error', sub {
        my ($c, $ping) = @_;
        $c->send("<iq type='error' to='localhost' id='" . $ping->attr('id')
                 . "'><error type='cancel'><service-unavailable xmlns='"
                 . "urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>");
    } ],
    [ 'direct TLS', 'with white space', sub { $_[0]->send("\n") } ],
    [ 'STARTTLS', 'with half a stanza', sub { $_[0]->send('<message') } ],
);

for my $answer (@answers) {
    my ($tls, $how, $send) = @$answer;
    my $who = "$tls, $how";
    my $alice = $t->online('alice', @{ $tls{$tls} });
    my @at = time();
    my @ids;

    $alice->sync();
    $alice->drain();

    for my $n (1 .. 2) {
        my $ping = $alice->expect('iq', type => 'get', from => 'localhost',
                                  to => $alice->jid(),
                                  xpath => 'count(ping:ping) = 1');
        ok($ping, "XEP-0199, 4.1: $who: ping $n");

        push @at, time();
        push @ids, $ping && $ping->attr('id');
        $send->($alice, $ping);
        $send = sub { $_[0]->send(" to='localhost' type='headline'/>") }
            if $n == 1 && $how =~ /half/;
    }

    cmp_ok($at[$_] - $at[$_ - 1], '>', 0.9, "$who: after a second of silence")
        for 1, 2;
    isnt($ids[0], $ids[1], 'RFC 6120, 8.1.3: another id each time');
    $alice->sync() && $alice->drain() if $how =~ /half/;
    ok($alice->expect_nothing(), "$who: nothing comes back");
    $alice->close();
}

ok($default->expect_nothing(), 'others hear nothing of it');


###############################################################################
# Whoever talks is not asked

my $alice = $t->online('alice', port_number => 1, tls => 'direct');
$alice->drain();

my $end = time() + 3;

while (time() < $end) {
    $alice->send(' ');
    $alice->wait(sub { @{ $alice->{events} } }, 0.3);
}

ok($alice->expect_nothing(), 'who sends now and then is not asked');
$alice->close();


###############################################################################
# Whoever says nothing is closed

my $witness = $t->online('alice', port_number => 2, resource => 'witness');

for my $tls (sort keys %tls) {
    my $begin = time();
    my $idle = $t->online('alice', @{ $tls{$tls} });

    $witness->pick('presence', from => $idle->jid());
    ok($idle->pick('iq', type => 'get', xpath => 'count(ping:ping) = 1'),
       "$tls: asked");
    ok($idle->pick('error', ns => $Test::XMPP::Client::NS{stream},
                   error => 'connection-timeout'),
       "RFC 6120, 4.9.3.4: $tls: told");
    $idle->drain();
    ok($idle->expect_end(), "RFC 6120, 4.9.1.1: $tls: closed");

    my $took = time() - $begin;
    cmp_ok($took, '>', 1.8, sprintf "$tls: not too soon: %.1f s", $took);
    cmp_ok($took, '<', 6, "$tls: nor too late");
    ok($witness->pick('presence', from => $idle->jid(),
                      type => 'unavailable'),
       "RFC 6121, 4.5.2: $tls: it is unavailable");
}

# its socket is there, but nobody reads what it is told

my $deaf = $t->online('alice', port_number => 1, tls => 'direct');
$witness->pick('presence', from => $deaf->jid());
ok($witness->pick('presence', from => $deaf->jid(), type => 'unavailable'),
   'a client that vanished is unavailable');
$deaf->drop();


###############################################################################
# By default it takes ten minutes, and nothing is done for it meanwhile

my ($worker) = $t->workers();

$_->sync() && $_->drain() for $default, $never, $witness;

my $before = wakeups();
ok(!$default->wait(sub { @{ $default->{events} } }, 3), 'no ping for long');
ok(!@{ $never->{events} }, 'nor where it is off');
cmp_ok(wakeups() - $before, '<', 4, 'and the worker sleeps');
ok($_->expect_nothing(), $_->jid() . ': nothing else') for $default, $never;

$t->done();


sub wakeups {
    my ($n) = Test::XMPP::Process::slurp("/proc/$worker/status")
              =~ /^voluntary_ctxt_switches:\s+(\d+)/m;

    return $n;
}
