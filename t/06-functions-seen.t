#!/usr/bin/perl

# redis/29-seen.lua: what a session that was rebuilt sends again (cluster.md,
# rules 2 and 14; XEP-0198, 5).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP::Functions;

my $f = Test::XMPP::Functions->new();
my $redis = $f->redis();
my ($a, $bells);


# an account with a session that listens

sub begin {
    my ($name) = @_;

    $a = $f->account("$name\@localhost");
    $a->session('desk', 'w2.1', 1);
    $bells = $a->listen();
    $bells->rung();
}

# sends($life, $told, COUNTER => DIGEST, ...): by one command; what rang

sub sends {
    my ($life, $told, @stanzas) = @_;
    my @arguments;

    while (my ($counter, $digest) = splice @stanzas, 0, 2) {
        push @arguments, sprintf('%d:%08x', $counter, $digest), "<$digest>";
    }

    my $answer = $redis->command('FCALL', 'xmpp1_route', 3,
                                 $a->key('sessions'), $a->key('seen:7'),
                                 $a->key('seen:6'), $a->channel(), 'w1.1', 'c',
                                 'desk', '', '', '', @arguments,
                                 "1 $life $told");

    $answer->[0] eq "ok" or die "route: @$answer\n";

    return join ' ', map { $_->{body} =~ /\d+/g } $bells->rung();
}

sub remembered { $redis->command('HGET', $a->key('seen:7'), 'w1.1') }


begin('alice');
is(sends(0, 4, 5 => 50, 6 => 60, 7 => 70), '50 60 70', 'three, not told');
is(sends(0, 4, 6 => 60, 7 => 70), '', 'a repeat in the same life');
is(sends(0, 4, 7 => 70, 8 => 80), '80', 'of some');

# rebuilt: 60 and 80 come again, 50 and 70 do not

is(sends(100, 4, 5 => 60, 6 => 90, 7 => 80, 8 => 100), '90 100',
   'another life: what is new, and comes no later than what came before');
is(sends(100, 4, 5 => 60, 6 => 90, 7 => 80, 8 => 100), '',
   'the same command again');
is(sends(100, 4, 9 => 70), '70', 'what comes later than it came is new');
is(sends(100, 4, 10 => 110), '110', 'as all is from then on');

# rebuilt once more

is(sends(200, 4, 5 => 60, 6 => 90, 7 => 80, 8 => 100, 9 => 70, 10 => 120),
   '120', 'a third life: what came in either');

# the worker of the second has stood still

is(sends(100, 4, 10 => 110), '', 'of an older life: what came in its own');
is(sends(100, 4, 11 => 120), '', 'what has come in a newer one');
is(sends(100, 4, 11 => 130, 12 => 140), '130 140', 'and what has not');
is(sends(200, 4, 11 => 130, 12 => 150), '150',
   'which its client need not know');
is(sends(200, 4, 11 => 130, 12 => 150), '', 'the same command again');

# equal ones, without an id

begin('bob');
is(sends(0, 0, 1 => 10, 2 => 10, 3 => 10), '10 10 10', 'three that are equal');
is(sends(100, 0, 1 => 10, 2 => 10, 3 => 10, 4 => 10), '10',
   'each is a repeat of one');

# a session that was not to be resumed when it sent the first

begin('carol');
$a->route_first('w1.1', 1, 'c', 'desk', '<1>');
$bells->rung();
is(sends(0, 1, 2 => 20), '20', 'enabled later');
is(sends(100, 1, 2 => 30, 3 => 20), '30 20', 'and rebuilt');


# The memory: what the client was told goes

begin('dave');

for my $n (1 .. 200) {
    sends(0, $n > 2 ? $n - 2 : 0, $n => $n);
}

cmp_ok(length remembered(), '<', 600, 'what is told is forgotten');
is(sends(100, 198, 199 => 199, 200 => 200), '', 'but nothing else');

begin('erin');

for my $n (1 .. 800) {
    sends(0, 0, $n => $n);
}

cmp_ok(length remembered(), '<', 9000, 'who is told nothing');
is(sends(100, 0, map { $_ => $_ } 700 .. 715), '', 'the last ones are known');

done_testing();
