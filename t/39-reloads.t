#!/usr/bin/perl

# Reloads without end, during traffic: nothing grows.  File descriptors of the
# master and of all workers, memory, subscriptions, connections to Redis,
# records and keys are the same after the last reload as after the first few;
# each old worker is gone, and the clients come back by themselves.
#
# XMPP_RELOADS says how many: 100 for the full measurement, of 45 seconds.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/traffic";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Time::HiRes qw/ time /;
use Traffic;

*await = \&Test::XMPP::Process::await;
*private_dirty = \&Test::XMPP::Process::private_dirty;

my $clients = 40;
my $reloads = $ENV{XMPP_RELOADS} || 12;
my $first = 4;

# the address sanitizer is to keep less of what was freed than its 256 MB

local $ENV{ASAN_OPTIONS} = join ':', grep { defined } $ENV{ASAN_OPTIONS},
    'quarantine_size_mb=16';

my $t = Test::XMPP->new(hosts => 2, workers => 2, users => []);

$t->only_ours('reloads nginx');
$t->config(Traffic::config(<<'EOT'));
xmpp_redis unix:%%REDIS%%;
    xmpp_drain_time 200ms;
EOT

$ENV{XMPP_LOG} //= 'notice';
$t->run();

Traffic::accounts($t, $clients);

my $redis = $t->redis();
my $host = $t->host(0);
my $master = $host->pid();

my $traffic = Traffic->start(targets => Traffic::targets($t, 0),
    ca => $t->ca_file(), accounts => Traffic::accounts_file($t, $clients),
    messages => 0, control => 1, iq => 15, presence => 15, window => 20,
    progress => 50, reconnect => 1, round => 1);

ok(all_online(), 'all are online');

my (%before, $begin, $cycles);

for my $n (1 .. $reloads) {
    if ($n == $first) {
        %before = lowest();
        $begin = time();
    }

    my $messages = messages();
    my @old = $host->reload();

    await(sub { !grep { kill 0, $_ } @old }, 30)
        or fail("reload $n: the old workers stay"), last;
    all_online()
        or fail("reload $n: not all come back"), last;
    await(sub { messages() > $messages })
        or fail("reload $n: no more traffic"), last;

    $cycles = $n;
}

my $took = time() - $begin;
my %after = lowest();

is($cycles, $reloads, "$reloads reloads, and all come back from each");
diag(sprintf '%d reloads in %.0f s; figures before and after:',
     $reloads - $first, $took);
diag(sprintf '%-36s %9s %9s', $_, $before{$_}, $after{$_})
    for sort keys %after;

for my $what (sort grep { !/kB/ } keys %after) {
    is($after{$what}, $before{$what}, "flat: $what");
}

# the allocator rounds and splits: some pages, but not some for each reload;
# that of the sanitizers keeps what was freed

my $slack = $ENV{SANITIZE} ? 65536 : 1024;

for my $what (sort grep { /kB/ } keys %after) {
    cmp_ok($after{$what} - $before{$what}, '<',
           $slack, "bounded: $what");
}

is($host->pid(), $master, 'the same master');

$traffic->tell('finish');

my $result = $traffic->result();

Traffic::clean($result, 'RFC 6120, 10.1: nothing lost but what was in flight '
                        . 'to and from the reloaded');
is($result->{closes}, $reloads * $clients / 2,
   'each client of the host was cut off by each reload, the others by none');
is($result->{logins}, $clients + $result->{closes}, 'and came back');

$t->done();


###############################################################################

# What is there for a moment only is not counted: a socket that a client has
# just left, say

sub lowest {
    my %lowest = figures();

    for (1 .. 9) {
        my %figures = figures();

        for my $what (keys %figures) {
            $lowest{$what} = $figures{$what}
                if $figures{$what} < ($lowest{$what} // 9 ** 9);
        }
    }

    return %lowest;
}


sub figures {
    my %figures;

    # between two stanzas: a bell or a reply may be under way, a record not

    my @workers = $host->workers('all');
    my @others = $t->host(1)->workers('all');

    $figures{'workers'} = @workers;
    $figures{'fds of the master'} = fds($master);
    $figures{'fds of its workers, together'} = 0;
    $figures{'fds of its workers, together'} += fds($_) for @workers;
    $figures{'fds of the other host, together'} = 0;
    $figures{'fds of the other host, together'} += fds($_) for @others;
    $figures{'master, kB'} = private_dirty($master) / 1024;
    $figures{'its workers, kB'} = private_dirty(@workers) / 1024;
    $figures{'the other host, kB'} = private_dirty(@others) / 1024;

    my @channels = @{ $redis->command(qw/ PUBSUB SHARDCHANNELS /) };
    my %count = @channels
                ? @{ $redis->command(qw/ PUBSUB SHARDNUMSUB /, @channels) }
                : ();

    $figures{'Redis: channels'} = @channels;
    $figures{'Redis: subscriptions'} = 0;
    $figures{'Redis: subscriptions'} += $_ for values %count;
    $figures{'Redis: connections'}
        = () = $redis->command(qw/ CLIENT LIST /) =~ /^id=/mg;

    for my $key (@{ $redis->command('KEYS', '*') }) {
        my ($kind) = $key =~ /}:(\w+)/;

        # what is remembered of stanzas goes by the clock, and what nobody has
        # taken yet is that of a moment, whatever is reloaded

        $figures{'Redis: keys: ' . ($kind // 'others')}++
            unless ($kind // '') =~ /^(?:seen|inbox)$/;

        next unless ($kind // '') eq 'sessions';

        $figures{'Redis: records'}
            += grep { /^r/ } @{ $redis->command('HKEYS', $key) };
    }

    return %figures;
}


sub fds {
    my ($pid) = @_;

    return scalar grep { !/\/\.\.?$/ } glob "/proc/$pid/fd/*";
}


# one record and one subscription for each account

sub all_online {
    return await(sub {
        return if $redis->channels() != $clients;

        for my $i (0 .. $clients - 1) {
            my $all = $redis->command('HKEYS',
                          "xmpp:{load$i\@localhost}:sessions");
            return if grep({ /^r/ } @$all) != 1;
        }

        return 1;
    }, 60);
}


# how many messages there were, by the last line of the generator

sub messages {
    1 while $traffic->read_lines(0.001);

    my ($last) = reverse grep { /^progress:/ } @{ $traffic->{lines} };
    $traffic->{lines} = [ $last // () ];

    return $last && $last =~ /messages=(\d+)/ ? $1 : 0;
}
