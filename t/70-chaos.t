#!/usr/bin/perl

# Nothing is lost: clients with stream management (XEP-0198) send each other
# numbered messages, on two hosts with two workers each, while workers and hosts
# are killed, reloaded, upgraded and stopped, and Redis is killed, stands still
# and loses its connections, or fails over.  What the server has acknowledged
# arrives, in order of each pair, and what comes twice has the same id; all
# sessions are resumed (docs/internals/cluster.md, rules 1 to 14).
#
# XMPP_CHAOS_SETTING is "memory", one Redis, or "replicas": xmpp_durability
# replicas=1, a master that takes nothing without its replica, and sentinels
# (70-chaos-failover.t).
#
# A short run by default; "make chaos" does it for XMPP_CHAOS minutes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/traffic";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Sentinel;
use Time::HiRes qw/ time /;
use Traffic;

my $clients = $ENV{XMPP_CHAOS_CLIENTS} // 40;
my $minutes = $ENV{XMPP_CHAOS};
my $rate = $ENV{XMPP_CHAOS_RATE} // 1000;
my $setting = $ENV{XMPP_CHAOS_SETTING} // 'memory';
my $failover = $setting eq 'replicas';

my %redis = (appendonly => 'yes', appendfsync => 'everysec');

%redis = (%redis, port => Test::XMPP::Process::free_port(),
          bind => '127.0.0.1', 'min-replicas-to-write' => 1,
          'repl-diskless-sync-delay' => 0) if $failover;

my $t = Test::XMPP->new(hosts => 0, workers => 2, daemon => 1,
                        users => [ 'alice' ],
                        redis => { %redis, 'min-replicas-to-write' => 0 });

$t->only_ours('kills workers and Redis');
$t->run();

Traffic::accounts($t, $clients);

my $redis = $t->redis();
my $sentinel;

if ($failover) {
    $redis->{config} = \%redis;
    $sentinel = Test::XMPP::Sentinel->new($t->testdir(), master => $redis);
    $redis->command('CONFIG', 'SET', 'min-replicas-to-write', 1);
    $sentinel->start();
}

$t->config(Traffic::config('
    xmpp_redis ' . ($failover ? $sentinel->address() : 'unix:%%REDIS%%') . ';
    xmpp_heartbeat 500ms;'
    . ($failover ? 'xmpp_redis_timeout 30s; xmpp_durability replicas=1;' : '')
));
$t->start_host() for 0, 1;

my $traffic = Traffic->start(targets => Traffic::targets($t, 0),
    ca => $t->ca_file(), accounts => Traffic::accounts_file($t, $clients),
    messages => 0, control => 1, sm => 1, window => 500, rate => $rate,
    logins => $clients, progress => 100, stall => 60);

my %faults = (
    'a worker is killed' => sub { $_[0]->kill_worker() if workers($_[0]) },
    'a host is killed' => sub { $_[0]->kill_host(); $_[0]->start() },
    'a host is reloaded' => sub { $_[0]->reload() if workers($_[0]) },
    'a host is upgraded' => sub { $_[0]->upgrade() if workers($_[0]) },
    'a host is stopped' => sub { $_[0]->stop(); $_[0]->start() },
    'Redis is killed' => sub { $redis->kill9(); $redis->start() },
    'Redis stands still' => sub { $redis->pause(); more(3); $redis->resume() },
    'subscribers are cut off' => sub {
        master()->command(qw/ CLIENT KILL TYPE pubsub /);
    },
    'commands are cut off' => sub {
        master()->command(qw/ CLIENT KILL TYPE normal SKIPME yes /);
    },
);

my %failovers = (
    'the master is killed' => sub {
        moved(sub { $_[0]->kill9() }, sub { $_[0]->start() });
    },
    'the master stands still' => sub {
        moved(sub { $_[0]->pause() }, sub { $_[0]->resume() });
    },
    'the master is moved' => sub {
        moved(sub {
            $sentinel->ask(0, 'SENTINEL', 'FAILOVER',
                           $Test::XMPP::Sentinel::NAME);
        });
    },
);

# the one Redis is gone for good then, or a failover is there to stay

if ($failover) {
    delete @faults{ 'Redis is killed', 'Redis stands still' };
    delete @faults{ 'a host is stopped', 'commands are cut off',
                    'a worker is killed', 'subscribers are cut off',
                    'a host is upgraded' } if !$minutes;
    delete @failovers{ 'the master stands still', 'the master is moved' }
        if !$minutes;
    %faults = (%faults, %failovers);
}


sub master { $failover ? $sentinel->master() : $redis }

# the other one is the master, and what was it follows

sub moved {
    my ($what, $back) = @_;
    my $old = $sentinel->master();

    $what->($old);
    $sentinel->await_other($old);
    $back->($old) if $back;
    $sentinel->settle();
}

# waits until both are there

sub workers {
    my ($host) = @_;

    return Test::XMPP::Process::await(sub {
        my @workers = $host->workers();
        return @workers == 2;
    });
}

# waits until so many hundred messages more were sent

sub more { $traffic->wait(qr/^progress:/, 60) for 1 .. $_[0] }

# how long it took to resume since the last time, in milliseconds

sub times {
    $traffic->tell('resumes');

    my ($ms) = $traffic->wait(qr/^resumes: .* ms=(\S*)/, 60);

    return split /,/, $ms // '';
}

sub percentiles {
    my @all = sort { $a <=> $b } @_ or return 'none';

    return sprintf '%d, p50 %d ms, p99 %d ms', scalar @all,
                   map { $all[ int($_ * $#all / 100 + 0.5) ] } 50, 99;
}


$traffic->wait(qr/^ready:/, 60) or die "no client is there\n";
my $begin = time();
more(3);

my $end = time() + 60 * ($minutes // 0);
my ($n, %done, %ms) = (0);

srand($ENV{XMPP_CHAOS_SEED} // 1);

do {
    my %order = map { $_ => rand() } sort keys %faults;

    for my $fault (sort { $order{$a} <=> $order{$b} } keys %faults) {
        my $host = int rand 2;

        note(sprintf '%.3f: %s, host %d', time() - $begin, $fault, $host);
        $faults{$fault}->($t->host($host));
        $done{$fault}++;
        $n++;
        $traffic->wait(qr/^progress:.* online=$clients /, 60)
            or fail("$fault: all come back");
        more(10);
        push @{ $ms{$fault} }, main::times();
        print STDERR "# $n faults\n" if $minutes && $n % 8 == 0;
    }
} while (time() < $end);

is(scalar keys %done, scalar keys %faults, "$n faults of each kind");
$traffic->tell('finish');

my $result = $traffic->result(120);

Traffic::clean($result, 'XEP-0198: nothing that was acknowledged is lost, all '
                        . 'is in order, and what comes twice has the same id',
               doubled => 1);
is($result->{sm_failed}, 0, 'XEP-0198, 5: each session is resumed');
cmp_ok($result->{sm_acked}, '>', 100 * $n, 'much was acknowledged');

for my $line ("$setting, $n faults: $result->{line}",
              map { "$_: resumed " . percentiles(@{ $ms{$_} }) }
              sort keys %ms)
{
    $minutes ? diag($line) : note($line);
}

my $account = qr/\{load\d+\@/;
my $left = sub {
    my ($next, $keys) = @{ master()->command('SCAN', 0, 'COUNT', 1_000_000) };
    return grep { /$account/ && !/:(?:account|archived?|seen:\d+)$/ } @$keys;
};

ok(Test::XMPP::Process::await(sub { !$left->() }, 60),
   'no session and no message stays in Redis')
    or diag(join ' ', $left->());

$sentinel->stop() if $failover;
$t->done();
