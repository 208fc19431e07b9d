#!/usr/bin/perl

# The Functions of redis/*.lua: carbons, XEP-0280.  Who gets one, who is told
# that somebody has asked, and that a repeat rings nothing.  A sid begins with
# the boot id of its worker: w1 and w2 here.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP::Functions;

my $f = Test::XMPP::Functions->new();
my $redis = $f->redis();
my $serial = 0;


sub fresh {
    my $account = $f->account('u' . ++$serial . '@localhost');

    $account->period(7);

    return ($account, $account->listen());
}


# a session of a worker that is available: its target

sub session {
    my ($a, $resource, $sid, $flags) = @_;

    my ($boot) = $sid =~ /^([^.]*)/;
    my $epoch = $a->bind($resource, $sid, boot => $boot, state => 0,
                         flags => $flags // '-')->[2];

    return "$sid:$epoch";
}

sub asks {
    my ($a, $resource, $target, $flags) = @_;

    return $a->flags($resource, split(/:/, $target), $flags);
}

sub field { $redis->command('HGET', $_[0]->key('sessions'), 'c') }


###############################################################################
# Who is told that somebody has asked

{
    my ($a, $bells) = fresh();
    my $one = session($a, 'one', 'w1.1');

    is_deeply(asks($a, 'one', $one, 'c'), [ 'ok' ], 'one has asked');
    is(field($a), 'w1.1', 'field c is the only one who has');
    is(scalar $bells->rung(), 0, 'who is alone tells nobody');

    my $two = session($a, 'two', 'w2.2');
    my ($bell) = $bells->rung();

    is($bell->{kind}, 'c', 'who binds is told of those who have');
    is_deeply($bell->{targets}, [ $one ], 'which are these');

    asks($a, 'two', $two, 'c');
    ($bell) = $bells->rung();
    is_deeply($bell->{targets}, [ $one, $two ], 'and so are all, of one more');
    is(field($a), '*', 'field c: several have');

    asks($a, 'two', $two, 'cr');
    asks($a, 'two', $two, 'r');
    is(scalar $bells->rung(), 0,
       'another flag, and one that wants none any more, tell nobody');

    is(asks($a, 'two', 'w2.9:' . ($two =~ /:(.*)/)[0], 'c')->[0], 'conflict',
       'who does not hold the resource says nothing');

    $a->leave('one', split(/:/, $one));
    $a->leave('two', split(/:/, $two));
    is($redis->command('EXISTS', $a->key('sessions')), 0,
       'field c does not keep the hash');
}


###############################################################################
# 7: received

{
    my ($a, $bells) = fresh();
    my $one = session($a, 'one', 'w1.1');
    my $two = session($a, 'two', 'w1.2', 'c');
    my $three = session($a, 'three', 'w2.3', 'c');

    $bells->rung();

    my $route = sub {
        my ($from, $sid, $n, $kind, $resource) = @_;
        my $answer = $a->route_carbons(0, $from, $sid, $n, $kind, $resource,
                                       '<m/>');
        my ($bell) = $bells->rung();

        return [ $answer->[0], $answer->[2], @{ $bell->{targets} } ];
    };

    my $bob = 'bob@localhost/b';

    is_deeply($route->($bob, 'w1.b', 1, 'C', 'one'),
              [ 'ok', 1, $one, "${two}r", "${three}r" ],
              'XEP-0280, 7: to one who has not asked');
    is_deeply($route->($bob, 'w1.b', 2, 'C', 'two'),
              [ 'ok', 1, $two, "${three}r" ], '7: to one who has');
    is_deeply($route->($bob, 'w2.b', 3, 'C', 'two'),
              [ 'ok', 1, $two, "${three}r" ],
              'another worker than the sender\'s has one that has asked');
    is_deeply($route->($bob, 'w1.b', 4, 'c', 'one'), [ 'ok', 0, $one ],
              '6.1: what is not eligible is in small letters');
    is_deeply([ sort @{ $route->($bob, 'w1.b', 6, 'C', '') }[2 .. 4] ],
              [ sort $one, $two, $three ],
              'RFC 6121, 8.5.2: who gets it as bare JID gets no copy');
    is_deeply($route->('', 'w1.1', 7, 'C', 'two'),
              [ 'ok', 1, $two, "${three}s" ],
              'to oneself: as sent, and none for the sender');
    is_deeply($route->('', 'w1.2', 8, 'C', 'one'),
              [ 'ok', 1, $one, "${three}s" ], 'who has asked gets no own one');

    $a->leave('three', split(/:/, $three));
    $bells->rung();
    is_deeply($route->($bob, 'w1.b', 9, 'C', 'one'),
              [ 'ok', 0, $one, "${two}r" ],
              'nobody in another worker has asked any more');
    is(field($a), 'w1.2', 'which field c says now');
    is_deeply($route->($bob, 'w1.b', 10, 'C', 'two'), [ 'ok', 0, $two ],
              'the only one who has gets no copy of its own');

    asks($a, 'two', $two, '-');
    is_deeply($route->($bob, 'w1.b', 11, 'C', 'one'), [ 'ok', 0, $one ],
              'nobody has');
    is(field($a), undef, 'there is no field c');
}


###############################################################################
# 8: sent, and what is repeated

{
    my ($a, $bells) = fresh();
    my $one = session($a, 'one', 'w1.1');

    is_deeply([ @{ $a->copy(0, 'w1.1', 1, '<m1/>') }[0, 2] ], [ 'none', 0 ],
              'XEP-0280, 8: nobody has asked');

    my $two = session($a, 'two', 'w2.2', 'c');

    $bells->rung();

    my $answer = $a->copy(0, 'w1.1', 2, '<m2/>', '<m3>3</m3>');
    my ($bell) = $bells->rung();

    is_deeply([ @$answer[0, 2] ], [ 'ok', 1 ], '8: another has');
    is_deeply($bell->{targets}, [ "${two}s" ], 'who gets it');
    is($bell->{body}, '<m2/><m3>3</m3>', 'all of the batch');
    is_deeply($bell->{lengths}, [ 5, 10 ], 'each of its length');
    is($answer->[1], $bell->{number}, 'the number of that bell');

    is_deeply($a->copy(1, 'w1.1', 2, '<m2/>', '<m3>3</m3>'),
              [ 'ok', $bell->{number} ],
              'cluster.md, rule 2: a repeat is answered as the first');
    is(scalar $bells->rung(), 0, 'and rings nothing');

    $answer = $a->copy(1, 'w1.1', 3, '<m3>3</m3>', '<m4/>');
    ($bell) = $bells->rung();
    is($bell->{body}, '<m4/>', 'of a longer one what is new');

    is($a->route_carbons(1, '', 'w1.1', 2, 'C', 'two', '<m2/>')->[0], 'ok',
       'what was sent to oneself has a memory of its own');
    is(scalar(my @rung = $bells->rung()), 1, 'so it rings');

    is_deeply([ @{ $a->copy(0, 'w2.2', 5, '<m5/>') }[0, 2] ], [ 'none', 0 ],
              'who alone has asked gets nothing of its own');
    is(scalar $bells->rung(), 0, 'and nothing rings');
}


is($redis->command('PING'), 'PONG', 'Redis has survived');
done_testing();
