#!/usr/bin/perl

# The fuzzers of t/fuzz/, with inputs that are the same ones each time: to find
# new ones is for make fuzz.  FUZZ_TIME is in seconds.

use strict;
use warnings;

use Cwd qw/ abs_path /;
use File::Basename qw/ basename dirname /;
use Test::More;

my $top = abs_path(dirname(__FILE__) . '/..');
my @names = map { basename($_, '.c') =~ s/^fuzz_//r } glob "$top/t/fuzz/*.c";
my $main = 'int LLVMFuzzerTestOneInput(void) { return 0; }';

plan(skip_all => "clang's libFuzzer is needed: make fuzz installs it")
    if system("echo '$main' | clang -fsanitize=fuzzer -x c - -o /dev/null "
              . '2>/dev/null');

delete @ENV{qw/ MAKEFLAGS MAKELEVEL MFLAGS SANITIZE FUZZ /};
delete $ENV{BUILD} if ($ENV{BUILD} // '') =~ /asan/;
local $ENV{FUZZ_TIME} = $ENV{FUZZ_TIME} || 60;
local $ENV{FUZZ_RUNS} = $ENV{FUZZ_RUNS} || 20000;

my $output = `make -C '$top' --no-print-directory fuzz 2>&1`;

is($?, 0, 'nothing is found') or diag($output);

for my $name (@names) {
    ok(-d "$top/t/fuzz/corpus-$name", "$name: has something to start from");

    my ($inputs) = $output =~ /^  \Q$name\E: (\d+) inputs$/m;

    cmp_ok($inputs // 0, '>', 1000, "$name: has run");
}

done_testing();
