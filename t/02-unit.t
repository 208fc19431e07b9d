#!/usr/bin/perl

# The C unit tests: t/unit/test_*.c with the sources in util/ and xml/, under
# the address and undefined behaviour sanitizers.  Each program speaks TAP.

use strict;
use warnings;

use Cwd qw/ abs_path /;
use File::Basename qw/ basename dirname /;
use Test::More;

my $top = abs_path(dirname(__FILE__) . '/..');
my $build = $ENV{BUILD} || 'build';
$build = "$top/$build" unless $build =~ m{^/};

my @names = map { basename($_, '.c') } glob "$top/t/unit/test_*.c";

plan tests => 1 + @names;

delete @ENV{qw/ MAKEFLAGS MAKELEVEL MFLAGS /};
local $ENV{ASAN_OPTIONS} = 'detect_stack_use_after_return=1';
local $ENV{UBSAN_OPTIONS} = 'print_stacktrace=1:halt_on_error=1';

my $output = `make -k -C '$top' BUILD='$build' unit 2>&1`;
is($?, 0, 'all are built') or diag($output);

for my $name (@names) {

    subtest $name => sub {
        my $binary = "$build/unit/$name";

        -x $binary or return fail("$name is not there");
        open my $pipe, '-|', "$binary 2>&1" or return fail("$name: $!");

        my ($planned, $count, $failed) = (0, 0, 0);

        while (my $line = <$pipe>) {

            if ($line =~ /^1\.\.(\d+)/) {
                $planned = $1;

            } elsif ($line =~ /^(not )?ok\b\s*\d*\s*(?:- )?(.*)/) {
                $count++;
                $failed = $1;
                ok(!$1, $2);

            } else {
                # a heading, what explains a failure, a sanitizer's report
                chomp $line;
                $line =~ /^#/ && !$failed ? note($line) : diag($line);
            }
        }

        close $pipe;
        is($?, 0, 'exit status');
        is($count, $planned, 'number of tests');
    };
}
