#!/usr/bin/perl

# The protocol tests once more, with nginx and the module built under the
# address and undefined behaviour sanitizers.  The harness fails a test whose
# logs hold a report.
#
# XMPP_SANITIZE_SRC is the source tree to build nginx from; make test sets it.

use strict;
use warnings;

use Cwd qw/ abs_path /;
use File::Basename qw/ basename dirname /;
use File::Temp;
use POSIX ();
use Test::More;

my $top = abs_path(dirname(__FILE__) . '/..');

plan(skip_all => 'runs under the sanitizers already') if $ENV{SANITIZE};
plan(skip_all => 'nginx sources are needed: make test')
    unless $ENV{XMPP_SANITIZE_SRC};

# not these: they build and look at sources and pages, run Redis and nothing of
# ours, test the generator of traffic and the benchmark, are this test, need an
# nginx that modules of Debian's fit, or look from outside at what is offered

my $not = qr/^(?:0[0-2]-|05-|0[678]-functions|60-|65-|7\d-|9[1-4]-)/;
my @tests = grep { basename($_) !~ $not } glob "$top/t/*.t";

plan(tests => 2 + @tests);

delete @ENV{qw/ MAKEFLAGS MAKELEVEL MFLAGS HARNESS_ACTIVE HARNESS_VERSION /};
delete @ENV{qw/ CFLAGS LDFLAGS NGX_CONFIGURE STATIC /};

$ENV{BUILD} = 'build-asan';
$ENV{SANITIZE} = 1;
$ENV{NGX_SRC} = $ENV{XMPP_SANITIZE_SRC};
$ENV{XMPP_NGINX} = "$top/build-asan/nginx";
$ENV{XMPP_MODULE} = "$top/build-asan/ngx_xmpp_module.so";
$ENV{XMPP_XMPPCTL} = "$top/build-asan/xmppctl";
$ENV{ASAN_OPTIONS} = 'detect_odr_violation=0:detect_leaks=0';
$ENV{UBSAN_OPTIONS} = 'print_stacktrace=1';

my $output = `make -C '$top' --no-print-directory all 2>&1`;

is($?, 0, 'nginx and the module are built') or do {
    diag($output);
    exit;
};

like(`nm $ENV{XMPP_MODULE}`, qr/ U __asan_report_/, 'with the sanitizers');

chdir $top or die "$top: $!\n";

# Three at a time, which wait for half of their time, but those by themselves
# that measure time.  The last ones take longest: they come first, so that at
# the end none is waited for.  One that failed beside others, with no report of
# a sanitizer, has another try by itself, as in .make/test.

my $alone = qr/^(?:04-redis-wait|38-stop|39-|61-bench|80-attack-enumeration)/;
my @waiting = reverse grep { basename($_) !~ $alone } @tests;
my $by_itself = 0;
my (%running, @again);

while (@waiting || %running) {
    start(shift @waiting) while @waiting && keys %running < 3;
    finish(wait());
}

$by_itself = 1;

for my $test ((grep { basename($_) =~ $alone } @tests), @again) {
    start($test);
    finish(wait());
}


sub start {
    my ($test) = @_;

    my $output = File::Temp->new();
    my $pid = fork() // die "fork: $!\n";

    if ($pid == 0) {
        open STDOUT, '>', $output->filename() or POSIX::_exit(127);
        open STDERR, '>&', \*STDOUT;
        exec('timeout', '-k', 10, 900, 'perl', $test) or POSIX::_exit(127);
    }

    $running{$pid} = [ $test, $output ];
}


sub finish {
    my ($pid) = @_;

    my $status = $?;
    my ($test, $file) = @{ delete $running{$pid} };
    my $output = do { local $/; <$file> } // '';

    if ($status == 0 && $output =~ /^1\.\.0 # SKIP (.*)/im) {
        SKIP: { skip(basename($test) . ": $1", 1) }
        return;
    }

    if ($status != 0 && !$by_itself && @again < 4
        && $output !~ /exited on signal|Sanitizer|runtime error/)
    {
        push @again, $test;
        diag(basename($test) . " failed beside others:\n"
             . $output =~ s/^ok .*\n//gmr);
        return;
    }

    is($status, 0, basename($test)) or diag($output =~ s/^ok .*\n//gmr);
}
