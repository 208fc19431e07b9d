#!/usr/bin/perl

# The table of failures in docs/admin/redis.md: each row names the test that
# has it.

use strict;
use warnings;

use FindBin;

use Test::More;

my $top = "$FindBin::Bin/..";

open my $fh, '<', "$top/docs/admin/redis.md" or die "redis.md: $!\n";
my ($section) = do { local $/; <$fh> }
                =~ /^## What happens when it fails\n(.*?)(?=^## |\z)/ms;
my @rows = grep { /^\| / && !/^\| failure / } split /\n/, $section // '';

cmp_ok(@rows, '>=', 15, 'there are rows');

for my $row (@rows) {
    my ($failure) = $row =~ /^\| (.*?) \|/;
    my ($test) = $row =~ / \| `(t\/[\w-]+\.t)` \|$/;

    ok(defined $test && -e "$top/$test", "$failure: its test is there");
}

done_testing();
