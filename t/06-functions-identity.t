#!/usr/bin/perl

# The Function that routes: the identity of stanzas over repeats, periods of
# time and batches.  cluster.md, rules 1 and 2.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP::Functions;

my $f = Test::XMPP::Functions->new();
my $redis = $f->redis();

my %kinds = (c => 'chat', n => 'normal', h => 'headline', g => 'groupchat',
             e => 'error', p => 'presence', i => 'iq');
my $serial = 0;


# An account of its own for each test, and its bells

sub fresh {
    my $account = $f->account('u' . ++$serial . '@localhost', @_);

    return ($account, $account->listen());
}


# Bells in short: kind, epoch, targets

sub brief {
    return [ map { "$_->{kind} $_->{epoch} @{ $_->{targets} }" } @_ ];
}


###############################################################################
# route: identity, cluster.md, 2

{
    my ($a, $bells) = fresh();
    my ($b, $others) = fresh();

    $_->session('desk', 's1', 0) for $a, $b;
    $_->rung() for $bells, $others;

    my $first = $a->route('from', 5, 'c', 'desk', '<m5/>');
    is($first->[0], 'ok', 'identity: the first');
    is_deeply($a->route('from', 5, 'c', 'desk', '<m5/>'), $first,
              'identity: a repeat has the same answer');
    is_deeply($a->route('from', 5, 'c', '', '<m5/>'), $first,
              'identity: whatever it says');
    is_deeply($a->route('from', 4, 'c', 'desk', '<m4/>'), $first,
              'identity: a lower counter, too');
    is_deeply([ map { $_->{body} } $bells->rung() ], [ '<m5/>' ],
              'identity: it rang once');

    my $next = $a->route('from', 6, 'c', 'desk', '<m6/>');
    cmp_ok($next->[1], '>', $first->[1], 'identity: the next one');
    is($a->route('else', 5, 'c', 'desk', '<x5/>')->[0], 'ok',
       'identity: another sender');
    is($b->route('from', 5, 'c', 'desk', '<y5/>')->[0], 'ok',
       'identity: another recipient');
    is_deeply([ map { $_->{body} } $bells->rung() ], [ '<m6/>', '<x5/>' ],
              'identity: ring');
    is_deeply([ map { $_->{body} } $others->rung() ], [ '<y5/>' ],
              'identity: there, too');

    # the recipient went: what was delivered, was

    $a->leave('desk', 's1', 0);
    is_deeply($a->route('from', 6, 'c', 'desk', '<m6/>'), $next,
              'identity: remembered when the recipient has gone');
    is_deeply($a->route('from', 7, 'c', 'desk', '<m7/>'), [ 'none', '0' ],
              'identity: nobody');

    # "nobody" is no delivery: the session may bind before the repeat

    $a->session('desk', 's2', 0);
    is($a->route('from', 7, 'c', 'desk', '<m7/>')->[0], 'ok',
       'identity: what nobody got is not remembered');
}


# over the periods of time, each with a key of its own

{
    my ($a, $bells) = fresh();

    $a->session('desk', 's1', 0);
    $bells->rung();
    $a->period(100);

    my $ten = $a->route('from', 10, 'c', 'desk', '<m10/>');
    my $ttl = $redis->command('TTL', $a->key('seen:100'));
    ok($ttl > 1200 && $ttl <= 1800,
       "identity: is kept over two periods, and not for ever: $ttl s");

    $a->period(101);
    is_deeply($a->route('from', 10, 'c', 'desk', '<m10/>'), $ten,
              'identity: a repeat in the next period');

    my $eleven = $a->route('from', 11, 'c', 'desk', '<m11/>');
    is($eleven->[0], 'ok', 'identity: the next one in the next period');
    is_deeply($a->route('from', 10, 'c', 'desk', '<m10/>'), $eleven,
              'identity: the newer key counts');

    $a->period(102);
    is_deeply($a->route('from', $_, 'c', 'desk', '<m/>'), $eleven,
              "identity: $_ in the third period") for 10, 11;

    $a->period(103);
    is($a->route('from', 12, 'c', 'desk', '<m12/>')->[0], 'ok',
       'identity: the fourth one');
    is_deeply([ map { $_->{body} } $bells->rung() ],
              [ '<m10/>', '<m11/>', '<m12/>' ], 'identity: each rang once');
}


# a command that has not been sent before is not looked up

{
    my ($a, $bells) = fresh();

    $a->session('desk', 's1', 0);
    $bells->rung();

    my $first = $a->route_first('from', 5, 'c', 'desk', '<m5/>');
    is($first->[0], 'ok', 'identity: a first try');
    is_deeply($a->route('from', 5, 'c', 'desk', '<m5/>'), $first,
              'identity: and its repeat');
    is_deeply([ map { $_->{body} } $bells->rung() ], [ '<m5/>' ],
              'identity: ring once');
    isnt($a->route_first('from', 5, 'c', 'desk', '<m5/>')->[1], $first->[1],
         'identity: whoever says that it is the first is believed');
}


# several stanzas are one: by one bell, with one answer

{
    my ($a, $bells) = fresh();

    is_deeply($a->route('from', 1, 'c', 'desk', '<m/>', '<n/>'),
              [ 'none', '0' ], 'batch: nobody');

    my @targets = map { "$_:" . $a->session($_, $_, 0) } qw/ bed desk /;

    $bells->rung();

    for my $try (qw/ route_first route /) {
        my $answer = $a->$try('from', 5, 'c', '', '<m5/>', '<message6/>',
                              '<m7/>');
        my @rung = $bells->rung();

        is($answer->[0], 'ok', "batch: $try");

        if ($try eq 'route') {
            is(scalar @rung, 0, 'batch: a repeat rings nothing');
            next;
        }

        is_deeply([ brief(@rung), $rung[0]{body}, $rung[0]{lengths} ],
                  [ [ "m 0 @targets" ], '<m5/><message6/><m7/>',
                    [ 5, 11, 5 ] ], 'batch: one bell');
    }

    is($a->route('from', $_, 'c', '', "<m$_/>")->[0], 'ok',
       "batch: $_ by itself") for 5 .. 7;
    is(scalar $bells->rung(), 0, 'batch: each of them was delivered');
    is($a->route('from', 6, 'c', '', '<m6/>', '<m7/>', '<m8/>', '<m9/>')->[0],
       'ok', 'batch: one that begins with old ones');
    is_deeply([ map { ($_->{body}, $_->{lengths}) } $bells->rung() ],
              [ '<m8/><m9/>', [ 5, 5 ] ], 'batch: the others');
    is($a->route('from', 9, 'c', '', '<m9/>', '<m10/>')->[0], 'ok',
       'batch: one is left');
    is_deeply([ map { ($_->{body}, $_->{lengths}) } $bells->rung() ],
              [ '<m10/>', undef ], 'batch: by itself');
}


# cluster.md, 1: a record without a subscriber is not "nobody"

{
    my ($a, $bells) = fresh();
    my $epoch = $a->session('desk', 's1', 0);

    $bells->rung();
    $bells->close();

    for my $kind (qw/ c n h g e p i /) {
        is($a->route('from', 5, $kind, 'desk', '<m5/>')->[0], 'busy',
           "busy: $kinds{$kind}");
    }

    is($a->route('from', 5, 'c', '', '<m5/>')->[0], 'busy', 'busy: bare JID');
    is($a->route('from', 6, 'c', 'none', '<m5/>')->[0], 'busy',
       'busy: another resource, as the bare JID');
    is_deeply($a->route('from', 5, 'i', 'none', '<m5/>'), [ 'none', '0' ],
              'busy: not for what has no record');

    $bells = $a->listen();
    my $answer = $a->route('from', 5, 'c', 'desk', '<m5/>');
    is($answer->[0], 'ok', 'busy: is not remembered: a repeat is delivered');
    is_deeply([ map { $_->{body} } $bells->rung() ], [ '<m5/>' ],
              'busy: once');
    is_deeply($a->route('from', 5, 'c', 'desk', '<m5/>'), $answer,
              'busy: and then it is remembered');
    is(scalar $bells->rung(), 0, 'busy: once');
}


is($redis->command('PING'), 'PONG', 'Redis has survived');
$f->stop();

done_testing();
