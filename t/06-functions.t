#!/usr/bin/perl

# The Functions of redis/*.lua alone, on a private Redis: records, fences,
# bells, the delivery rules of RFC 6121, 8.5, and that nothing a stranger
# chooses changes the meaning of a record or a bell.

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


sub targets { [ sort @_ ] }

# "kind epoch targets" of bells, for comparisons

sub brief {
    return [ map { "$_->{kind} $_->{epoch} @{ $_->{targets} }" } @_ ];
}


###############################################################################
# bind

{
    my ($a, $bells) = fresh();
    my $before = $f->clock();
    my $answer = $a->bind('desk', 's1', boot => 'b1');
    my ($ok, $number, $epoch) = @$answer;

    is("$ok $number", 'ok 0', 'bind: nothing has rung yet');
    ok($epoch >= $before && $epoch <= $f->clock(),
       'bind: the first epoch is that of the clock');
    is_deeply($a->hash('sessions'), { e => $epoch,
                                    rdesk => "$epoch s1 b1 - -" },
              'bind: the record');

    my $kept = $a->kept();
    is_deeply($a->bind('desk', 's1', boot => 'b1'), $answer,
              'bind: a repeat has the same answer');
    is_deeply($a->kept(), $kept, 'bind: and changes nothing');
    is(scalar $bells->rung(), 0, 'bind: nobody was displaced, nothing rings');

    my $other = $a->bind('phone', 's2');
    cmp_ok($other->[2], '>', $epoch, 'bind: a later one has a higher epoch');

    $a->presence('desk', 's1', $epoch, 5, '<presence/>', 1);
    $a->bind('desk', 's1', boot => 'b1');
    is($a->record('desk'), "$epoch s1 b1 5 -",
       'bind: a repeat after presence leaves that alone');
}


# RFC 6120, 7.7.2.2: the resource goes to the new one

{
    my ($a, $bells) = fresh();
    my $old = $a->session('desk', 's1', 5);

    $a->session('phone', 's2', 0);
    $a->session('away', 's3', -1);
    $a->session('mute', 's4', '-');

    my %epoch = map { (split ' ', $a->record($_))[1, 0] }
                qw/ phone away mute /;
    my @rung = $bells->rung();

    my ($ok, $number, $epoch) = @{ $a->bind('desk', 's5', boot => 'b5') };
    is($ok, 'ok', 'conflict: bound');
    cmp_ok($epoch, '>', $old, 'conflict: with a higher epoch');
    is($a->record('desk'), "$epoch s5 b5 - -", 'conflict: the record is its');
    is(keys %{ $a->hash('sessions') }, 2 + 4, 'conflict: the only one');
    my ($conflict, $gone, @more) = $bells->rung();

    is_deeply({ %$conflict, number => 0, previous => 0 },
              { kind => 'k', number => 0, previous => 0, epoch => $epoch,
                targets => [], body => 'desk' },
              'cluster.md, 4: the bell has the winner\'s epoch');
    is($gone->{kind}, 'm', 'RFC 6121, 4.5.2: and the old one is unavailable');
    is_deeply($gone->{targets}, targets("s2:$epoch{s2}", "s3:$epoch{s3}"),
              'to the other available ones, not to the winner');
    is($gone->{body}, $a->gone('desk'), 'in its words');
    is($number, $gone->{number}, 'conflict: the answer tells the last bell');
    is(scalar @more, 0, 'conflict: no other bell');
    ok(!exists $a->hash('presence')->{rdesk}, 'the old presence is gone');
    is_deeply($a->presence('desk', 's1', $old, 9, '<presence/>', 0),
              [ 'conflict' ], 'cluster.md, 4: the loser has no presence');
    is_deeply($a->leave('desk', 's1', $old), [ 'conflict' ],
              'cluster.md, 4: the loser ends nothing');
    is_deeply($a->leave('desk', 's1', 0), [ 'conflict' ],
              'cluster.md, 4: nor when it does not know its epoch');
    is($a->record('desk'), "$epoch s5 b5 - -", 'conflict: the record stands');
    is(scalar $bells->rung(), 0, 'conflict: the loser announces nothing');

    # its command was lost and comes again: then it is the later one

    my $again = $a->bind('desk', 's1');
    is($again->[0], 'ok', 'conflict: a late repeat takes the resource back');
    cmp_ok($again->[2], '>', $epoch, 'conflict: with a higher epoch');
    is_deeply(brief($bells->rung()), [ "k $again->[2] " ],
              'conflict: an unavailable one goes without presence');
}


{
    my ($a, $bells) = fresh(0);

    is_deeply($a->bind('desk', 's1'), [ 'none' ], 'bind: no such account');
    is_deeply($a->bind('desk', 's1', epoch => 12345), [ 'none' ],
              'bind: not even when it is put back');
    is_deeply($a->kept(), { account => {}, sessions => {}, presence => {} },
              'bind: and nothing was written');
    is(scalar $bells->rung(), 0, 'bind: nor rung');
}


# A record that Redis lost is put back: cluster.md, 5

{
    my ($a, $bells) = fresh();
    my $epoch = $a->session('desk', 's1', 5);
    my $kept = $a->kept();

    $bells->rung();

    my $answer = $a->bind('desk', 's1', epoch => $epoch, state => 5);
    is_deeply([ @$answer[0, 2] ], [ 'ok', $epoch ], 'put back: not lost');
    is_deeply($a->kept(), $kept, 'put back: nothing changes');
    $a->bind('desk', 's1', epoch => $epoch, state => '-');
    is_deeply($a->kept(), $kept, 'put back: what Redis has is newer');
    is(scalar $bells->rung(), 0, 'put back: nothing rings');
    $redis->command('DEL', $a->key('sessions'));

    $answer = $a->bind('desk', 's1', epoch => $epoch, state => 5);
    is_deeply([ @$answer[0, 2] ], [ 'ok', $epoch ], 'put back: lost');
    is_deeply($a->hash('sessions'), { e => $epoch,
                                      rdesk => "$epoch s1 boot0 5 -" },
              'put back: the record and its epoch');
    cmp_ok($a->bind('phone', 's2')->[2], '>', $epoch,
           'put back: later epochs are higher');
    is(scalar $bells->rung(), 0, 'put back: nothing rings again');

    # an older one comes back later

    my $e = $a->hash('sessions')->{e};
    $a->bind('desk', 's1', epoch => $epoch);
    is($a->hash('sessions')->{e}, $e, 'put back: the last epoch stays');
}


{
    my ($a, $bells) = fresh();
    my $low = $a->session('desk', 's1', 5);
    my $high = $a->session('desk', 's2', 7);

    $bells->rung();
    my $kept = $a->kept();

    is_deeply($a->bind('desk', 's1', epoch => $low, state => 5),
              [ 'conflict', '0', $high, 's2', '-' ],
              'cluster.md, 4: fenced by the higher epoch, and who has it');
    is_deeply($a->kept(), $kept, 'fenced: nothing changes');
    is(scalar $bells->rung(), 0, 'fenced: nothing rings');

    # lost, and the older one was first: the higher epoch gets it back

    $redis->command('DEL', $a->key('sessions'));
    $a->bind('desk', 's1', epoch => $low, state => 5);
    is($a->bind('desk', 's2', epoch => $high, state => 7)->[0], 'ok',
       'put back: the higher epoch displaces the lower one');
    is($a->record('desk'), "$high s2 boot0 7 -",
       'put back: and has the record');
    is_deeply(brief($bells->rung()), [ "k $high " ],
              'put back: the lower one is told');
}


###############################################################################
# presence

{
    my ($a, $bells) = fresh();
    my $e1 = $a->bind('desk', 's1')->[2];
    my $e2 = $a->bind('phone', 's2')->[2];
    my $kept = $a->kept();

    is_deeply($a->presence(@$_, 5, '<presence/>', 1), [ 'conflict' ],
              "presence: fenced: @$_")
        for [ 'desk', 's2', $e1 ], [ 'desk', 's1', $e2 ],
            [ 'desk', 's1', 0 ], [ 'none', 's1', $e1 ];
    is_deeply($a->kept(), $kept, 'presence: fenced: nothing written');
    is(scalar $bells->rung(), 0, 'presence: fenced: nothing rung');

    my $answer = $a->presence('desk', 's1', $e1, 5, '<p1/>', 1);
    my @rung = $bells->rung();

    is_deeply($answer, [ 'ok', $rung[0]{number}, $e1, '' ],
              'presence: the first one sees no other');
    is_deeply([ @{ $rung[0] }{qw/ kind epoch targets body /} ],
              [ 'm', 0, [ "s1:$e1" ], '<p1/>' ],
              'RFC 6121, 4.2.2: and itself');
    is(scalar @rung, 1, 'presence: one bell');
    is($a->record('desk'), "$e1 s1 boot0 5 -", 'presence: the record');

    $answer = $a->presence('phone', 's2', $e2, -7, '<p2/>', 1);
    @rung = $bells->rung();
    is_deeply($answer, [ 'ok', $rung[0]{number}, $e2, '', '<p1/>' ],
              'RFC 6121, 4.2.2: initial presence is told of the others');
    is_deeply($rung[0]{targets}, targets("s1:$e1", "s2:$e2"),
              'RFC 6121, 4.2.2: the others are told');
    is($a->record('phone'), "$e2 s2 boot0 -7 -", 'presence: negative priority');

    $answer = $a->presence('desk', 's1', $e1, 6, '<p1b/>', 0);
    @rung = $bells->rung();
    is_deeply($answer, [ 'ok', $rung[0]{number}, $e1, '' ],
              'RFC 6121, 4.4.2: a change is told nothing');
    is_deeply($rung[0]{targets}, targets("s1:$e1", "s2:$e2"),
              'RFC 6121, 4.4.2: and tells all');
    is_deeply($a->hash('presence'), { rdesk => '<p1b/>', rphone => '<p2/>' },
              'presence: the last one is kept');

    $answer = $a->presence('desk', 's1', $e1, '-', '<u1/>', 0);
    @rung = $bells->rung();
    is_deeply($answer, [ 'ok', $rung[0]{number}, $e1, '' ],
              'presence: unavailable');
    is_deeply([ @{ $rung[0] }{qw/ targets body /} ],
              [ [ "s2:$e2" ], '<u1/>' ], 'RFC 6121, 4.5.2: tells the others');
    is_deeply($a->hash('presence'), { rphone => '<p2/>' },
              'presence: unavailable: is kept no more');
    is($a->record('desk'), "$e1 s1 boot0 - -", 'presence: but the session is');

    is_deeply($a->presence('phone', 's2', $e2, '-', '<u2/>', 0),
              [ 'ok', '0', $e2, '' ], 'presence: nobody is left to be told');
    is(scalar $bells->rung(), 0, 'presence: nothing rings');
    is_deeply($a->hash('presence'), {}, 'presence: nothing is left');
}


###############################################################################
# Flags

{
    my $a = $f->account('flags@localhost');
    my ($ok, $number, $epoch) = @{ $a->bind('desk', 's1') };

    is_deeply($a->flags('desk', 's1', $epoch, 'xy'), [ 'ok' ], 'flags: set');
    is($a->record('desk'), "$epoch s1 boot0 - xy", 'flags: in the record');

    $a->presence('desk', 's1', $epoch, 3, '<p/>', 1);
    is($a->record('desk'), "$epoch s1 boot0 3 xy",
       'flags: presence keeps them');

    is_deeply($a->flags('desk', 's1', $epoch + 1, '-'), [ 'conflict' ],
              'flags: another epoch is fenced');
    is_deeply($a->flags('desk', 's2', $epoch, '-'), [ 'conflict' ],
              'flags: another session, too');
    is_deeply($a->flags('gone', 's1', $epoch, '-'), [ 'conflict' ],
              'flags: so is one without a record');
    is($a->record('desk'), "$epoch s1 boot0 3 xy", 'flags: nothing changed');

    $a->redis()->command('DEL', $a->key('sessions'));
    $a->bind('desk', 's1', epoch => $epoch, state => 3, flags => 'xy');
    is($a->record('desk'), "$epoch s1 boot0 3 xy", 'flags: put back');

    $a->flags('desk', 's1', $epoch, '-');
    is($a->record('desk'), "$epoch s1 boot0 3 -", 'flags: taken away');
}


###############################################################################
# unbind

{
    my ($a, $bells) = fresh();
    my $e1 = $a->session('desk', 's1', 5);
    my $e2 = $a->session('phone', 's2', 0);
    my $e3 = $a->session('mute', 's3', '-');

    $bells->rung();

    my $kept = $a->kept();
    is_deeply($a->leave(@$_), [ 'conflict' ], "unbind: fenced: @$_")
        for [ 'desk', 's2', $e1 ], [ 'desk', 's1', $e2 ],
            [ 'desk', 's2', 0 ], [ 'none', 's1', $e1 ];
    is_deeply($a->kept(), $kept, 'unbind: fenced: nothing written');
    is(scalar $bells->rung(), 0, 'unbind: fenced: nothing rung');
    is_deeply($a->leave('desk', 's1', $e1), [ 'ok' ], 'unbind');

    my @rung = $bells->rung();
    is_deeply([ map { @$_{qw/ kind targets body /} } @rung ],
              [ 'm', [ "s2:$e2" ], $a->gone('desk') ],
              'RFC 6121, 4.5.2: unavailable to the available ones');
    is_deeply([ $a->record('desk'), $a->hash('presence')->{rdesk} ],
              [ undef, undef ], 'unbind: record and presence are gone');
    is_deeply($a->leave('desk', 's1', $e1), [ 'conflict' ],
              'unbind: a repeat has nothing to do');

    is_deeply($a->leave('mute', 's3', 0), [ 'ok' ],
              'unbind: an epoch that is not known');
    is(scalar $bells->rung(), 0, 'unbind: one that was not available');

    my ($e, $n) = @{ $a->hash('sessions') }{qw/ e n /};
    is_deeply($a->leave('phone', 's2', $e2), [ 'ok' ], 'unbind: the last');
    is(scalar $bells->rung(), 0, 'unbind: nobody is left to be told');
    is_deeply([ map { $redis->command('EXISTS', $a->key($_)) }
                qw/ account sessions presence / ], [ 1, 0, 0 ],
              'unbind: the last one leaves nothing behind');

    my ($epoch) = $a->session('desk', 's9', 0);
    cmp_ok($epoch, '>', $e, 'unbind: epochs go on');
    cmp_ok($a->hash('sessions')->{n}, '>', $n, 'unbind: numbers go on');
}


# No record is taken for a counter: one that rang nothing, two that did.

for my $state ('-', 0) {
    my ($a) = fresh();
    my $e1 = $a->session('e', 's1', $state);
    my $e2 = $a->session('n', 's2', $state);

    $a->leave('e', 's1', $e1);
    is($a->record('n'), "$e2 s2 boot0 $state -",
       "unbind: state $state: the other one is still there");
    $a->leave('n', 's2', $e2);
    ok(!$redis->command('EXISTS', $a->key('sessions')),
       "unbind: state $state: until it goes");
}


###############################################################################
# route: who gets it, RFC 6121, 8.5

my %kinds = (c => 'chat', n => 'normal', h => 'headline', g => 'groupchat',
             e => 'error', p => 'presence', i => 'iq');

{
    my ($a, $bells) = fresh();
    my %state = (high => 5, zero => 0, neg => -1, off => '-');
    my %target;

    for my $resource (sort keys %state) {
        $target{$resource} = "$resource-sid:"
            . $a->session($resource, "$resource-sid", $state{$resource});
    }

    my $nobody = [];
    my $willing = targets(@target{qw/ high zero /});
    my $available = targets(@target{qw/ high zero neg /});

    # what has no row here is told to nobody

    my %bare = (c => [ '8.5.2.1.1', $willing ], n => [ '8.5.2.1.1', $willing ],
                h => [ '8.5.2.1.1', $willing ], g => [ '8.5.2.1.1', $nobody ],
                e => [ '8.5.2.1.1', $nobody ], p => [ '8.5.2.1.2', $available ],
                i => [ '8.5.2.1.3', $nobody ]);
    my %absent = (c => [ '8.5.3.2.1', $willing ], n => [ '8.5.3.2.1', $nobody ],
                  h => [ '8.5.3.2.1', $nobody ], g => [ '8.5.3.2.1', $nobody ],
                  e => [ '8.5.3.2.1', $nobody ], p => [ '8.5.3.2.2', $nobody ],
                  i => [ '8.5.3.2.3', $nobody ]);
    my $counter = 0;

    $bells->rung();

    for my $kind (sort keys %kinds) {
        for my $resource (sort keys %state) {
            routed($a, $bells, ++$counter, $kind, $resource,
                   [ $target{$resource} ],
                   "RFC 6121, 8.5.3.1: $kinds{$kind} for a full JID, "
                   . "$state{$resource}");
        }

        routed($a, $bells, ++$counter, $kind, 'none', $absent{$kind}[1],
               "RFC 6121, $absent{$kind}[0]: $kinds{$kind}, no such resource");
        routed($a, $bells, ++$counter, $kind, '', $bare{$kind}[1],
               "RFC 6121, $bare{$kind}[0]: $kinds{$kind} for the bare JID");
    }
}


# and where nobody wants it

for my $case ([ 'of negative priority' => neg => -1 ],
              [ 'not available' => off => '-' ], [ 'no session' ])
{
    my ($name, $resource, $state) = @$case;
    my ($a, $bells) = fresh();
    my $target = $resource
        ? "sid:" . $a->session($resource, 'sid', $state) : undef;
    my $counter = 0;

    $bells->rung();

    for my $kind (sort keys %kinds) {
        my $to = $kind eq 'p' && ($state // '') eq '-1' ? [ $target ] : [];

        routed($a, $bells, ++$counter, $kind, '', $to,
               "RFC 6121, 8.5.2: $kinds{$kind} for the bare JID, $name");
        routed($a, $bells, ++$counter, $kind, 'none', [],
               "RFC 6121, 8.5.3.2: $kinds{$kind}, no such resource, $name");
    }
}


{
    my ($a, $bells) = fresh(0);

    routed($a, $bells, 1, $_, '', [], "RFC 6121, 8.5.1: $kinds{$_}: no account")
        for sort keys %kinds;
    is_deeply($a->hash('sessions'), {}, 'route: no account: nothing written');
}


sub routed {
    my ($a, $bells, $counter, $kind, $resource, $to, $name) = @_;
    my $stanza = "<stanza n='$counter'/>";
    my ($outcome, $number) = @{ $a->route('from', $counter, $kind, $resource,
                                          $stanza) };
    my @rung = $bells->rung();

    if (!@$to) {
        is("$outcome $number @{ brief(@rung) }", 'none 0 ', $name);
        return;
    }

    is_deeply([ $outcome, $number, brief(@rung), $rung[0]{body} ],
              [ 'ok', $rung[0]{number}, [ "m 0 @$to" ], $stanza ], $name);
}


###############################################################################
# Numbers and epochs

# each bell tells its own number and the one before: cluster.md, 6

{
    my ($a, $bells) = fresh();
    my ($counter, $last, $wrong) = (0, 0, 0);
    my %epoch;

    for my $round (1 .. 60) {
        my $r = 'r' . $round % 3;

        $epoch{$r} = $a->session($r, "s$round", $round % 4 ? 0 : '-');
        my $told = $a->route('from', ++$counter, 'c', $r, '<m/>')->[1];
        my @rung = $bells->rung();

        is($rung[-1]{number}, $told, 'the number that was told')
            if $rung[-1]{number} ne $told;

        for my $bell (@rung) {
            $wrong++ if $bell->{previous} ne $last
                        || $bell->{number} <= $last;
            $last = $bell->{number};
        }
    }

    cmp_ok($last, '>', 0, 'numbers: they rang');
    is($wrong, 0, 'cluster.md, 6: they rise, each bell tells the one before');
}


# ... and none is given twice: cluster.md, 7

sub both {
    my ($a) = @_;

    my $epoch = $a->session('desk', 's' . ++$serial, 0);

    return ($epoch, $a->hash('sessions')->{n});
}


{
    my ($a, $bells) = fresh();
    my ($e, $n) = both($a);

    $redis->command('FLUSHALL');
    $a->create();

    my ($e2, $n2) = both($a);
    cmp_ok($e2, '>', $e, 'cluster.md, 7: epochs rise over FLUSHALL');
    cmp_ok($n2, '>', $n, 'cluster.md, 7: numbers rise over FLUSHALL');

    $redis->command('DEL', $a->key('sessions'));
    my ($e3, $n3) = both($a);
    cmp_ok($e3, '>', $e2, 'cluster.md, 7: epochs rise over a lost hash');
    cmp_ok($n3, '>', $n2, 'cluster.md, 7: numbers rise over a lost hash');
}


# A failover or a truncated log takes Redis back to a state of before.

{
    my ($a, $bells) = fresh();

    both($a);

    my $dump = $redis->command('DUMP', $a->key('sessions'));
    my ($e, $n) = both($a);

    $redis->command('RESTORE', $a->key('sessions'), 0, $dump, 'REPLACE');

    my ($e2, $n2) = both($a);
    cmp_ok($e2, '>', $e, 'cluster.md, 7: no epoch twice after a failover');
    cmp_ok($n2, '>', $n, 'cluster.md, 7: no number twice after a failover');
}


# The clock of Redis goes back: what was ahead of it goes on from there.

{
    my ($a, $bells) = fresh();
    my $ahead = sprintf '%.0f', $f->clock() + 1e12;

    both($a);
    $redis->command('HSET', $a->key('sessions'), 'e', $ahead, 'n', $ahead);

    my ($e, $n) = both($a);
    cmp_ok($e, '>', $ahead, 'the clock went back: epochs rise');
    cmp_ok($n, '>', $ahead, 'the clock went back: numbers rise');

    my ($sid) = (split ' ', $a->record('desk'))[1];
    is_deeply($a->leave('desk', $sid, $e), [ 'ok' ], 'the last one goes');

    my ($e2, $n2) = both($a);
    cmp_ok($e2, '>', $e, 'the clock went back: epochs rise after the last');
    cmp_ok($n2, '>', $n, 'the clock went back: numbers rise after the last');
}


###############################################################################
# remove

{
    my ($a, $bells) = fresh();
    my $epoch = $a->session('desk', 's1', 0);

    $a->session('phone', 's2', '-');
    $a->route('from', 1, 'c', 'desk', '<m/>');
    $bells->rung();

    is($a->remove(), 1, 'remove');
    is_deeply(brief($bells->rung()), [ 'x 0 ' ],
              'remove: every worker is told');
    is_deeply($a->kept(), { account => {}, sessions => {}, presence => {} },
              'remove: nothing is left');

    is_deeply($a->bind('desk', 's3'), [ 'none' ], 'remove: no bind');
    is_deeply($a->bind('desk', 's1', epoch => $epoch), [ 'none' ],
              'remove: nobody is put back');
    is_deeply($a->presence('desk', 's1', $epoch, 0, '<p/>', 0),
              [ 'conflict' ], 'remove: no presence');
    is_deeply($a->leave('desk', 's1', $epoch), [ 'conflict' ],
              'remove: nothing to end');
    is_deeply($a->route('from', 2, 'c', 'desk', '<m/>'), [ 'none', '0' ],
              'remove: nobody is there');
    is($a->remove(), 0, 'remove: a repeat finds none');

    $bells->rung();
    $a->create();
    cmp_ok($a->session('desk', 's4', 0), '>', $epoch,
           'remove: a new account of that name has higher epochs');
    is($a->route('from', 3, 'c', '', '<m/>')->[0], 'ok', 'remove: and lives');
}


# A name that has another owner by now

{
    my ($a, $bells) = fresh();
    my $redis = $a->redis();
    my ($first, $second) = qw/ 20261126031500 20261126031501 /;
    my $date = sub {
        $redis->command('HSET', $a->key('account'), 'created', $_[0]);
    };

    $date->('2026-11-26T03:15:00Z');

    my $epoch = $a->bind('desk', 's1', created => $first)->[2];

    cmp_ok($epoch, '>', 0, 'created: the account of the login');
    is($a->bind('desk', 's1', created => $first)->[0], 'ok',
       'created: a repeat');

    $a->remove();
    $date->('2026-11-26T03:15:01Z');
    $bells->rung();

    my $kept = $a->kept();

    is_deeply($a->bind('desk', 's2', created => $first), [ 'none' ],
              'created: who logged in before does not bind');
    is_deeply($a->bind('desk', 's1', created => $first, epoch => $epoch),
              [ 'none' ], 'created: nor is put back');
    is($a->remove($first), 0, 'created: nor removes it');
    is_deeply($a->kept(), $kept, 'created: nothing has changed');
    is(scalar $bells->rung(), 0, 'created: nothing rings');
    is($a->bind('desk', 's3', created => $second)->[0], 'ok',
       'created: the new one binds');
    is($a->remove($second), 1, 'created: and may remove it');

    $redis->command('HSET', $a->key('account'), 'scram-sha-1', 'x');
    is($a->bind('desk', 's4')->[0], 'ok', 'created: not known');
}


###############################################################################
# What strangers choose: resources and stanzas of any bytes

for my $name (sort keys %Test::XMPP::Functions::ODD) {
    my $odd = $Test::XMPP::Functions::ODD{$name};
    my ($a, $bells) = fresh();
    my $plain = $a->session('plain', 'p1', 1);

    $bells->rung();

    my $e1 = $a->bind($odd, 'o1', boot => 'b1')->[2];
    is($a->record($odd), "$e1 o1 b1 - -", "$name: record");
    is_deeply([ sort keys %{ $a->hash('sessions') } ],
              [ sort 'e', 'n', 'rplain', "r$odd" ], "$name: no other field");

    $a->presence($odd, 'o1', $e1, 3, $odd, 1);
    my @rung = $bells->rung();
    is_deeply([ map { @$_{qw/ kind targets body /} } @rung ],
              [ 'm', targets("o1:$e1", "p1:$plain"), $odd ],
              "$name: as presence");

    my $e2 = $a->bind($odd, 'o2', boot => 'b2')->[2];
    @rung = $bells->rung();
    is_deeply([ map { @$_{qw/ kind epoch targets body /} } @rung ],
              [ 'k', $e2, [], $odd,
                'm', 0, [ "p1:$plain" ], $a->gone($odd) ],
              "$name: displaced");
    is($a->record('plain'), "$plain p1 boot0 1 -",
       "$name: the other one stays");

    $a->presence($odd, 'o2', $e2, 3, '<p/>', 1);
    is_deeply($a->presence('plain', 'p1', $plain, 1, '<p/>', 1)->[4], '<p/>',
              "$name: in the answer to presence");
    $bells->rung();

    is($a->route('from', 1, 'i', $odd, $odd)->[0], 'ok', "$name: routed");
    @rung = $bells->rung();
    is_deeply([ map { @$_{qw/ kind epoch targets body /} } @rung ],
              [ 'm', 0, [ "o2:$e2" ], $odd ], "$name: to it alone");

    is_deeply($a->route('from', 2, 'i', $_, '<x/>'), [ 'none', '0' ],
              "$name: and to nothing like it")
        for "$odd ", substr($odd, 0, -1) . 'y';

    is_deeply($a->leave($odd, 'o2', $e2), [ 'ok' ], "$name: unbind");
    is_deeply([ sort keys %{ $a->hash('sessions') } ], [ qw/ e n rplain / ],
              "$name: only that one went");
    is_deeply($a->hash('presence'), { rplain => '<p/>' },
              "$name: and its presence");
    $bells->close();
}


# A channel and a hash slot for each account: tags are percent-encoded, so
# that what is left can be any bytes.

{
    my @tags = ('100%25@localhost', '%7B%7D@localhost', "a b\@localhost",
                "\xC3\xA9\@localhost", ':@localhost', '%@localhost');
    my @accounts = map { my $a = $f->account($_); [ $a, $a->listen() ] } @tags;

    $_->[0]->session('desk', 's1', 0) for @accounts;
    $_->[1]->rung() for @accounts;

    for my $i (0 .. $#accounts) {
        $accounts[$i][0]->route('from', 1, 'c', '', "<m$i/>");

        is_deeply([ map { scalar $_->[1]->rung() } @accounts ],
                  [ map { $_ == $i ? 1 : 0 } 0 .. $#accounts ],
                  "$tags[$i]: heard by this one alone");
    }
}


###############################################################################
# What a session costs in Redis

{
    my ($a) = fresh();
    my %size;

    for my $n (1 .. 32) {
        $a->session("resource-$n-0123456789", "0123456789abcdef.$n", 0);
        $size{$n} = $redis->command('MEMORY', 'USAGE', $a->key('sessions'),
                                    'SAMPLES', 0);
    }

    my $each = ($size{32} - $size{2}) / 30;
    diag(sprintf 'sessions: %d bytes for an account with one, %.0f for each '
                 . 'more (%s)', $size{1}, $each,
                 $redis->command('OBJECT', 'ENCODING', $a->key('sessions')));
    cmp_ok($each, '<', 160, 'memory: a record');

    $a->route("0123456789abcdef.$_", 1, 'c', '', '<m/>') for 1 .. 100;
    my $listener = $a->listen();
    $a->route("0123456789abcdef.$_", 2, 'c', '', '<m/>') for 1 .. 100;

    my $seen = $redis->command('MEMORY', 'USAGE', $a->key('seen:7'),
                               'SAMPLES', 0) / 100;
    diag(sprintf 'identities: %.0f bytes for each sender (%s)', $seen,
         $redis->command('OBJECT', 'ENCODING', $a->key('seen:7')));
    cmp_ok($seen, '<', 160, 'memory: an identity');
}


is($redis->command('PING'), 'PONG', 'Redis has survived');
$f->stop();

done_testing();
