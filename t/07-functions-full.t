#!/usr/bin/perl

# The Functions of redis/*.lua: an account with as many sessions as it may
# have (xmpp_max_sessions).  Another one is bound all the same, and the oldest
# gives way as if its resource had been taken.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP::Functions;

my $f = Test::XMPP::Functions->new();
my $redis = $f->redis();

my $serial = 0;


# An account of its own for each test, and its bells

sub fresh {
    my $account = $f->account('u' . ++$serial . '@localhost', @_);

    return ($account, $account->listen());
}


###############################################################################

# One more than xmpp_max_sessions: the oldest gives way

{
    my ($a, $bells) = fresh();
    my %epoch = map { $_ => $a->session("r$_", "s$_", $_ - 2) } 1 .. 3;
    my $kept = $a->kept();

    $bells->rung();
    is($a->bind('r3', 's3', max => 3)->[0], 'ok',
       'xmpp_max_sessions: a repeat is not one more');
    is_deeply($a->kept(), $kept, 'xmpp_max_sessions: and changes nothing');

    my ($ok, $number, $epoch) = @{ $a->bind('r4', 's4', max => 3) };
    is($ok, 'ok', 'xmpp_max_sessions: one more is bound');
    is(join(' ', sort grep { /^r/ } keys %{ $a->hash('sessions') }),
       'rr2 rr3 rr4', 'xmpp_max_sessions: the oldest record is gone');
    is(join(' ', sort keys %{ $a->hash('presence') }), 'rr2 rr3',
       'xmpp_max_sessions: and its presence');

    my ($conflict, $gone, @more) = $bells->rung();
    is_deeply([ @$conflict{qw/ kind epoch body /} ], [ 'k', $epoch, 'r1' ],
              'cluster.md, 4: its bell has the winner\'s epoch');
    is_deeply([ @$gone{qw/ kind targets body /} ],
              [ 'm', [ "s2:$epoch{2}", "s3:$epoch{3}" ],
                $a->gone('r1') ],
              'RFC 6121, 4.5.2: the others hear that it went');
    is($number, $gone->{number}, 'xmpp_max_sessions: the last bell is told');
    is(scalar @more, 0, 'xmpp_max_sessions: no other bell');

    is_deeply($a->leave('r1', 's1', $epoch{1}), [ 'conflict' ],
              'xmpp_max_sessions: who gave way ends nothing');

    is($a->bind('r3', 's5', max => 3)->[0], 'ok',
       'xmpp_max_sessions: who takes the place of another is not one more');
    is(scalar grep({ /^r/ } keys %{ $a->hash('sessions') }), 3,
       'xmpp_max_sessions: and nobody else goes');
    $bells->rung();

    # a record that is missing may have had to give way

    is_deeply($a->bind('r1', 's1', max => 3, epoch => $epoch{1}),
              [ 'conflict', '0', $epoch{2} ],
              'xmpp_max_sessions: the oldest is not put back');
    $a->leave('r4', 's4', $epoch);
    is($a->bind('r1', 's1', max => 3, epoch => $epoch{1})->[0], 'ok',
       'xmpp_max_sessions: while there is room it is');
    $bells->rung();

    # the limit was lowered

    is($a->bind('r6', 's6', max => 1)->[0], 'ok', 'xmpp_max_sessions: of 1');
    is(join(' ', sort grep { /^r/ } keys %{ $a->hash('sessions') }), 'rr6',
       'xmpp_max_sessions: all others go');
    is(join(' ', map { "$_->{kind} $_->{body}" } grep { $_->{kind} eq 'k' }
                 $bells->rung()), 'k r1 k r2 k r3', 'each told, by age');
}


# Which one, and how it is named

{
    my ($a, $bells) = fresh();
    my $field = $a->key('sessions');

    $a->session($_, "s$_", 0) for 'first', 'second';

    my $old = 1000000;
    $redis->command('HSET', $field, 'rnewer', ($old + 2) . ' s3 b 5 d',
                    'rolder', ($old + 1) . ' s4 b - d');
    $redis->command('HSET', $field, 'rfirst',
                    $old . substr($a->record('first'), length $f->clock()));

    is($a->bind("a&<>\"'", 's5', max => 4)->[0], 'ok', 'detached: bound');
    ok(!$a->record('older'), 'detached: the oldest detached one goes first');
    is(join(' ', map { $_->{kind} } $bells->rung()), 'm m k',
       'detached: one that was not available goes without presence');

    $a->bind('six', 's6', max => 4);
    ok(!$a->record('newer'), 'detached: then the other');
    is(($bells->rung())[-1]{body}, $a->gone('newer'),
       'detached: and those who have seen it hear of it');

    $a->bind('seven', 's7', max => 4);
    ok(!$a->record('first'), 'detached: then the oldest of all');

    my ($epoch) = split ' ', $a->record("a&<>\"'");
    $a->presence("a&<>\"'", 's5', $epoch, 0, '<presence/>', 0);
    $redis->command('HSET', $field, "ra&<>\"'", "1 s5 b 0 -");
    $bells->rung();
    $a->bind('eight', 's8', max => 4);
    my ($conflict, $gone) = $bells->rung();
    is($conflict->{body}, "a&<>\"'", 'a resource that has to be escaped');
    is($gone->{body}, $a->gone('a&amp;&lt;&gt;&quot;&apos;'),
       'RFC 6120, 11.7: is, in the words of the new one\'s stanza');
}


is($redis->command('PING'), 'PONG', 'Redis has survived');
$f->stop();

done_testing();
