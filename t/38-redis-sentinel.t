#!/usr/bin/perl

# Redis with Sentinel: the master is moved by hand, killed, stopped; sessions
# stay, messages go on at the new one (cluster.md, rules 2, 7 and 13), and what
# comes back as the old one is not written to.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Outage;
use Test::XMPP::Process;
use Test::XMPP::Sentinel;

my $t = Test::XMPP->new(hosts => 0, workers => 1,
                        users => [ qw/ alice bob carol / ],
                        redis => { port => Test::XMPP::Process::free_port(),
                                   bind => '127.0.0.1' });

$t->only_ours('torments Redis');
$t->run();

my $s = Test::XMPP::Sentinel->new($t->testdir(), master => $t->redis());
my $config = $Test::XMPP::Outage::CONFIG =~ s/unix:%%REDIS%%/$s->address()/er;

my $soon = $config;

# longer than a failover, for which the sentinels may have to vote again after
# eight seconds (twice failover-timeout): nothing comes back

$config =~ s/(xmpp_redis_timeout) +1s/$1 25s/;


###############################################################################
# No sentinel is there yet: nginx starts all the same

$t->config($config);
$t->start_host() for 0, 1;

ok($t->await_log(qr/connection to the sentinel \S+ cannot be made/),
   'no sentinel: the log says so');

my $hasty = $t->start_host(config => $soon);
my $client = $t->client('alice', on => 2);

$client->secure();

my $outcome = $client->authenticate();

is($outcome && $outcome->error(), 'temporary-auth-failure',
   'a login meanwhile: later');
$client->drop();
$hasty->stop();

$s->start();

ok($t->await_log(qr/\[notice\].*connection to the sentinel \S+ is back/),
   'a sentinel: the log says so');

my $o = Test::XMPP::Outage->new($t, 'first');


###############################################################################
# An administrator moves the master: the old one lives on as a replica

my $old = $s->master();

$o->{name} = 'moved';
$o->begin(sub {
    $s->ask(0, 'SENTINEL', 'FAILOVER', $Test::XMPP::Sentinel::NAME);
    $s->await_other($old);

    # what the old one hears after the new one has begun is lost with it

    Test::XMPP::Process::await(sub {
        $old->command('CLIENT', 'LIST') !~ /name=ngx_xmpp/;
    }, 60) or die "the old one is not left\n";
});
$o->end(sub { });
ok($t->host($_)->await_log(qr/the master "main" is at 127\.0\.0\.1:\d+/),
   "host $_: the log says where the master is") for 0, 1;
is_replica($old, 'the old one');
untouched($old, sub { $o->talk('later') });


###############################################################################
# A sentinel is gone: the next one is asked

my ($port) = $t->host(0)->read_log()
             =~ /.*to the sentinel 127\.0\.0\.1:(\d+) is (?:back|ready)/s;
my $i = $s->at($port);

$s->stop_one($i);
ok($t->await_log(qr/to the sentinel \S+:$port was closed by the server; is it/),
   'a sentinel is gone: the log says so');
$o->talk('without that sentinel');
$s->start_one($i);
$s->settle();


###############################################################################
# The master is killed; while it is away nothing is lost that was on its way

$old = $s->master();

$o->{name} = 'killed';
$o->begin(sub { $old->kill9() });
arrives(sub { $s->await_other($old) });
$o->end(sub { });

# it comes back as a master, and stays one until the sentinels have seen that

$old->start();
untouched($old, sub { $o->talk('beside the old one') });
is_replica($old, 'the old one, come back');
untouched($old, sub { $o->talk('and its replica') });


###############################################################################
# The master stands still with its connections open

$old = $s->master();

$o->{name} = 'stopped';
$o->begin(sub { $old->pause() });
arrives(sub { $s->await_other($old) });
$o->end(sub { });
ok($t->host($_)->await_log(qr/is left: the sentinels name another master/),
   "host $_: left without a word from it") for 0, 1;
$old->resume();
is_replica($old, 'the old one, awake');
untouched($old, sub { $o->talk('and its replica') });

$o->close();


###############################################################################
# What is wrong is said, with the way out

my %wrong = (
    'another name' => [ $s->address() =~ s/main$/mian/r,
        qr/got no master of that name, "mian"; .*"sentinel monitor"/ ],
    'no sentinel' => [ 'sentinel:127.0.0.1:' . $t->redis()->{config}{port}
                       . '/main',
        qr/reached something that is no sentinel, .*write "redis:"/ ],
);

for my $name (sort keys %wrong) {
    my ($address, $said) = @{ $wrong{$name} };

    $t->config($config =~ s/sentinel:\S+(?=;)/$address/r);

    my $nginx = $t->start_host();

    ok($nginx->await_log($said), "$name: the log says so");
}

$s->stop();
$t->done();


sub is_replica {
    my ($server, $name) = @_;

    ok(Test::XMPP::Process::await(sub {
           eval { $server->command('ROLE')->[0] eq 'slave' }
       }), "$name is a replica");
    $s->settle();
}


# What both send while there is no master arrives at the new one, once.

sub arrives {
    my ($what) = @_;

    my @both = ($o->alice(), $o->bob());

    for ([ @both ], [ reverse @both ]) {
        my ($from, $to) = @$_;

        $from->message($to->jid(), "$o->{name} meanwhile $_") for 1 .. 3;
    }

    $what->();

    # a vote may be split, and the next one takes as long again

    for my $client (@both) {
        my @got;

        for (1 .. 3) {
            my $m;
            $m //= $client->pick('message') for 1 .. 3;
            push @got, $m && $m->body();
        }

        is_deeply(\@got, [ map { "$o->{name} meanwhile $_" } 1 .. 3 ],
                  "$o->{name}: what was sent meanwhile reaches "
                  . $client->who());
        ok($client->expect_nothing(), 'each once');
    }
}


# While $what is done, nobody but the master sends this one Functions.

sub untouched {
    my ($server, $what) = @_;

    my $before = calls($server);

    $what->();
    is(calls($server), $before, 'nothing is written to the old one');
}


# FCALLs of clients: what comes from a master are the commands that its
# Functions have run

sub calls {
    my ($server) = @_;
    my ($n) = $server->command('INFO', 'commandstats')
              =~ /^cmdstat_fcall:calls=(\d+)/m;

    return $n // 0;
}
