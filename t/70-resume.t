#!/usr/bin/perl

# A thousand clients that may resume their sessions (XEP-0198, 5): their host is
# reloaded, all are back with <resumed/>; then it is killed, and all resume at
# another one.  How long that takes, and what it costs.
#
# XMPP_RESUME_CLIENTS is another number, XMPP_RESUME_TLS=1 has them come by TLS;
# with either the times are printed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/traffic";

use POSIX ();
use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Time::HiRes qw/ time /;
use Traffic;

my $clients = $ENV{XMPP_RESUME_CLIENTS} // 1000;
my $tls = $ENV{XMPP_RESUME_TLS};

my $t = Test::XMPP->new(hosts => 0, workers => 2, users => [ 'alice' ],
                        redis => { appendonly => 'yes' });

$t->only_ours('kills hosts');
$t->run();

Traffic::accounts($t, $clients);

$t->config(Traffic::config());

my $one = $t->start_host();
my $two = $t->start_host(idle => 1);

my $traffic = Traffic->start(
    targets => Traffic::targets($t, $tls ? 1 : 2),
    tls => $tls ? 'direct' : 'plain', ca => $t->ca_file(),
    accounts => Traffic::accounts_file($t, $clients), messages => $clients,
    control => 1, hold => 1, sm => 1, logins => $clients, stall => 60);

$traffic->wait(qr/^ready: online=$clients /, 120) or die "not all are there\n";


###############################################################################
# A reload of their host

my $begin = time();
my $before = cpu();
my %old = map { $_ => 1 } $one->reload();

Test::XMPP::Process::await(sub { !grep { $old{$_} } $one->workers('all') }, 60)
    or die "the old workers stay\n";

my @reload = all_back();

is(scalar @reload, $clients,
   "reload: $clients clients are back with <resumed/>");
is($traffic->{failed}, 0, 'XEP-0198, 5: none with <failed/>');
told(sprintf 'reload: all are back after %.1f s; CPU of nginx and Redis: '
             . '%.2f s; each took %s', time() - $begin, cpu() - $before,
             percentiles(@reload));
go();


###############################################################################
# kill -9 of their host: another one takes all

$two->start();
$begin = time();
$one->kill_host();

my @kill = all_back();

is(scalar @kill, $clients,
   "kill -9: $clients clients are back with <resumed/>");
is($traffic->{failed}, 0, 'XEP-0198, 5: none with <failed/>');
told(sprintf 'kill -9: all are back after %.1f s; each took %s',
     time() - $begin, percentiles(@kill));
go();

$traffic->tell('quit');
is($traffic->finish(), 0, 'nothing was lost');

$t->done();


sub told {
    $tls || $ENV{XMPP_RESUME_CLIENTS} ? diag($_[0]) : note($_[0]);
}


# How long each took to resume, in milliseconds, when all are back

sub all_back {
    my @ms;

    Test::XMPP::Process::await(sub {
        $traffic->tell('resumes');

        my ($online, $failed, $ms)
            = $traffic->wait(qr/^resumes: online=(\d+) failed=(\d+) ms=(\S*)/);

        $traffic->{failed} = $failed;
        push @ms, split /,/, $ms;

        return $online == $clients && @ms >= $clients;
    }, 60) or diag('they are not back: ' . @ms);

    return @ms;
}


sub percentiles {
    my @all = sort { $a <=> $b } @_ or return 'none';

    return sprintf 'p50 %d ms, p99 %d ms', map { $all[ int($_ * $#all / 100
                                                           + 0.5) ] } 50, 99;
}


# Messages between them, as many as there are clients, arrive once.

sub go {
    $traffic->tell("again $clients");
    ok($traffic->wait(qr/^traffic: (done)/, 60), 'messages arrive');

    my ($line) = $traffic->wait(qr/^result: (.*)/, 60);
    my %result = map { split /=/, $_, 2 } split ' ', $line // '';

    is_deeply({ map { $_ => $result{$_} }
                qw/ messages lost renamed reordered corrupt stray / },
              { messages => $clients, lost => 0, renamed => 0, reordered => 0,
                corrupt => 0, stray => 0 }, 'in order, with one id')
        or diag($line);
}


# Seconds of CPU of a host, those of its children that have ended included, and
# of Redis

sub cpu {
    my $ticks = 0;

    for my $pid ($one->pid(), $one->children(), $t->redis()->pid()) {
        my $stat = Test::XMPP::Process::slurp("/proc/$pid/stat");
        my @fields = split ' ', $stat =~ s/^.*\) //r;

        $ticks += $_ for @fields[ 11 .. 14 ];
    }

    return $ticks / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}
