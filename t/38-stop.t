#!/usr/bin/perl

# How nginx ends: quit, upgrade, and stop.  Clients are told (RFC 6120,
# 4.9.3.19), the others hear that they went, no record stays; and all of that
# within the time there is: Debian's unit sends SIGQUIT and kills after five
# seconds, the master kills a worker 1.5 seconds after SIGTERM.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Test::More;
use Test::XMPP;
use Test::XMPP::Daemon;
use Test::XMPP::Process;
use Time::HiRes qw/ time /;

*await = \&Test::XMPP::Process::await;

my $t = Test::XMPP->new(hosts => 2, workers => 2)
                  ->only_ours('stops nginx');

$t->config(<<'EOF');
%%GLOBALS%%
thread_pool default threads=1;
events {
    worker_connections  1024;
}

stream {
    xmpp_redis         unix:%%REDIS%%;
    xmpp_output_queue  16m;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%% sndbuf=32k;
        xmpp_c2s;
        xmpp_starttls on;
    }

    server {
        listen  127.0.0.1:%%PORT_1%% ssl;
        xmpp_c2s;
    }
}
EOF

# sanitizers are slow at the end, and call what threads have left a leak
my $slow = `\Q@{[ Test::XMPP::Nginx::binary() ]}\E -V 2>&1` =~ /-fsanitize/
           ? 3 : 1;

$t->run();

$t->expect_log(qr/LeakSanitizer|leaked in|exited on signal 9/) if $slow > 1;

# a derivation that lasts some tenths of a second, for PLAIN

my ($status, $output) = $t->xmppctl('pencil', 'adduser', '--iterations',
                                    200000, 'slow@localhost');
is($status, 0, 'an account of many iterations') or diag($output);

my $host = $t->host(0);
my $witness = $t->online('alice', on => 1, resource => 'witness');


###############################################################################
# nginx -s stop: SIGTERM

my $took = ended('TERM', plenty());
cmp_ok($took, '<', 1.5 * $slow, sprintf 'SIGTERM: in time: %.2f s', $took);
$host->start();

# where there is nothing to wait for, nothing is waited for

$took = ended('TERM', []);
cmp_ok($took, '<', 0.5 * $slow,
       sprintf 'SIGTERM: at once without clients: %.2f s',
       $took);
$host->start();

# what cannot be done in time is left: Redis does not answer, clients neither

hung('TERM', 1.5);
like($host->read_log(), qr/xmpp stopped before all was done: \d+ stream/,
     'and the log tells what was left');
$host->start();


###############################################################################
# nginx -s quit: SIGQUIT

$took = ended('QUIT', plenty());
cmp_ok($took, '<', 4 * $slow, sprintf 'SIGQUIT: in time: %.2f s', $took);
$host->start();

hung('QUIT', 4);
$host->start();


###############################################################################
# A new binary: SIGUSR2, then SIGQUIT to the old master

# nginx takes SIGUSR2 only when whoever has started it is gone

$host->stop();
$host->write_config();
$host->{process} = Test::XMPP::Daemon->start($host);

my @clients = plenty();
my @old = $host->workers();
my $new = Test::XMPP::Daemon->new($host, sub {
    $host->{process}->kill('USR2');
});

isnt($new->pid(), $host->pid(), 'a new binary runs');

$took = ended('QUIT', @clients);
cmp_ok($took, '<', 4 * $slow,
       sprintf 'SIGUSR2 and SIGQUIT: in time: %.2f s', $took);
ok(!grep({ kill 0, $_ } @old), 'the old workers are gone');

$host->{process} = $new;
ok($t->client('bob')->login()->sync(), 'the new ones answer');
ok($host->stop(), 'and end');

$t->done();

###############################################################################

# Clients of all kinds on host 0: bound ones, and what is under way.

sub plenty {
    my @bound = ($t->online('bob', resource => 'plain', tls => 'none',
                            mechanism => 'SCRAM-SHA-1'),
                 $t->online('bob', resource => 'starttls'),
                 $t->online('alice', resource => 'direct', tls => 'direct'),
                 map { $t->online('alice', resource => "a$_") } 1 .. 8);

    $witness->sync();
    $witness->drain();

    return (\@bound, under_way());
}


# Negotiations: a header, <proceed/> without a handshake, a direct handshake
# that does not begin, derivations in threads

sub under_way {
    my $header = $t->client('carol')->connect();
    $header->open_stream();

    my $proceed = $t->client('carol')->connect();
    $proceed->open_stream();
    $proceed->send("<starttls xmlns='$Test::XMPP::Client::NS{tls}'/>");
    $proceed->expect('proceed');

    my $direct = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                       PeerPort => $t->port(1));
    my $port = $direct->sockport();
    ok($host->await_log(qr/client 127\.0\.0\.1:$port connected/),
       'a direct handshake that does not begin');

    my @threads = map {
        my $c = $t->client('slow');
        $c->secure();
        $c->send_auth('PLAIN', "\0slow\0pencil");
        $c;
    } 1 .. 20;

    return ($header, $proceed, $direct, @threads);
}


# The end when Redis does not answer, and a client does not read

sub hung {
    my ($signal, $limit) = @_;

    my @deaf = ($t->online('bob', resource => 'deaf', rcvbuf => 4096,
                           tls => 'none', mechanism => 'SCRAM-SHA-1'),
                $t->online('bob', resource => 'deaf, TLS', rcvbuf => 4096));
    my $busy = $t->online('bob', resource => 'busy');
    my $idle = $t->online('alice', resource => 'idle');
    my @others = under_way();

    for my $deaf (@deaf) {
        $deaf->{deaf} = 1;
        $busy->message($deaf->jid(), 'x' x 16000, type => 'groupchat')
            for 1 .. 50;
    }

    $busy->sync();

    $t->redis()->pause();
    $busy->message($witness->jid(), 'in flight');

    my $took = stopped($signal);

    ok(told($_), "SIG$signal, Redis hung: " . $_->who() . ' is told')
        for $busy, $idle;
    cmp_ok($took, '<', $limit * $slow,
           sprintf "SIG$signal, Redis hung: in time: %.2f s", $took);

    no_errors("SIG$signal, Redis hung");
    $t->redis()->resume();
    done_with(@deaf, @others);
    forget();
}


# Ends host 0 with a signal: what its clients and those of the other host
# see of it, and what is left; returns the seconds.

sub ended {
    my ($signal, $bound, @others) = @_;

    my $took = stopped($signal);

    ok(told($_), "RFC 6120, 4.9.3.19: SIG$signal: "
                 . $_->who() . ' gets <system-shutdown/>') for @$bound;

    for my $jid (grep { /^alice/ } map { $_->jid() } @$bound) {
        ok($witness->pick('presence', from => $jid, type => 'unavailable'),
           "RFC 6121, 4.5.2: SIG$signal: the other host hears of $jid");
    }

    is_deeply([ records() ], [ 'alice/witness' ],
              "SIG$signal: no record stays");
    ok($witness->sync(), "SIG$signal: the other host serves on");
    ok(!grep({ kill 0, $_ } @{ $host->{last} }), 'no worker is left');

    done_with(@others);

    return $took;
}


sub stopped {
    my ($signal) = @_;

    $host->{last} = [ $host->workers('all') ];

    my $begin = time();

    $host->{process}->kill($signal);
    await(sub { !$host->{process}->alive() })
        or fail("SIG$signal: the master ends");

    return time() - $begin;
}


# Whatever comes before, the last words are these.

sub told {
    my ($client) = @_;

    $client->wait(sub { defined $client->{eof} });

    my @last = @{ $client->{events} };
    $client->{events} = [ grep { $_->[0] ne 'stanza'
                                 || $_->[1]->is('error',
                                        $Test::XMPP::Client::NS{stream}) }
                          @last ];

    return $client->expect_stream_error('system-shutdown');
}


# without errors of our own making: level error and worse

sub no_errors {
    my ($what) = @_;

    my @lines = grep { /\[(?:error|crit)\]/ && !/xmpp redis/ }
                split /\n/, $host->read_log();

    is("@lines", '', "$what: no errors in the log");
}


sub done_with {
    ref $_ eq 'Test::XMPP::Client' ? $_->drop() : close $_ for @_;
}


# who is bound, as Redis has it

sub records {
    my @records;

    for my $user (qw/ alice bob carol slow /) {
        my $all = $t->redis()->command('HKEYS',
                                       "xmpp:{$user\@localhost}:sessions");

        push @records, map { "$user/" . substr $_, 1 } grep { /^r/ } @$all;
    }

    return sort @records;
}


# A host that could not tell Redis has left records: not to be met again.

sub forget {
    for my $record (grep { $_ ne 'alice/witness' } records()) {
        my ($user, $resource) = split m{/}, $record;

        $t->redis()->command('HDEL', "xmpp:{$user\@localhost}:$_",
                             "r$resource") for qw/ sessions presence /;
    }
}
