#!/usr/bin/perl

# make bench: our server, ejabberd and Prosody on the same scenarios, in turn;
# a table and plots of it in build/bench/.  docs/benchmark.md is its manual.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin, "$FindBin::Bin/../lib", "$FindBin::Bin/../traffic";

use Test::XMPP::Nginx;

use Publish;
use Report;
use Run;

chdir Test::XMPP::Nginx::root() or die "chdir: $!\n";

my ($run, $interrupted);
my $first = $$;
my %ends = (HUP => 1, INT => 2, TERM => 15);

$| = 1;
$SIG{PIPE} = 'IGNORE';

for my $signal (keys %ends) {
    $SIG{$signal} = sub {
        # the end takes its time, and is not to be interrupted
        $SIG{$_} = 'IGNORE' for keys %ends;
        $interrupted = 1;
        print STDERR "\n", $run->kept('make bench') if $run;
        exit 128 + $ends{$signal};
    };
}

END {
    # a child that has not become another program yet has nothing to end
    if ($run && $$ == $first) {
        my $status = $?;

        eval { $run->stop(); 1 } or $interrupted or do {
            print STDERR $@;
            $status ||= 1;
        };
        $? = $status;
    }
}

my $out = $ENV{XMPP_BENCH_OUT} || 'build/bench';
my $lock = Run::lock($out);

$run = Run->new(
    out       => $out,
    scenarios => [ split ' ', $ENV{SCENARIOS} // '' ],
    servers   => [ split ' ', $ENV{SERVERS} // '' ],
    repeats   => length($ENV{REPEATS} // '') ? $ENV{REPEATS} : 5,
    keep      => $ENV{PUBLISH},
);

Publish::check($run) if $ENV{PUBLISH};

$run->measure();

my $report = Report->new($run);

$report->write();
$report->plot();
Publish::publish($report) if $ENV{PUBLISH};

print $report->text();

exit $report->wrong() ? 1 : 0;
