#!/usr/bin/perl

# The Functions of redis/50-worker.lua alone: heartbeats, who may clean up
# after whom, and that what is done for a dead worker leaves the living alone
# (cluster.md, 4, 5, 17).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP::Functions;

my $f = Test::XMPP::Functions->new();
my $redis = $f->redis();

my ($beats, $claims) = map { "xmpp:{workers}:$_" } qw/ beats claims /;


sub workers {
    my ($function, @arguments) = @_;

    return $redis->command('FCALL', "xmpp1_$function", 2, $beats, $claims,
                           @arguments);
}

sub beat   { my ($boot, $fresh) = @_;
             return workers('beat', $boot, 5000, $fresh ? 1 : 0) }
sub claim  { return workers('claim', @_)->[0] }
sub forget { return workers('forget', @_)->[0] }

sub all {
    my ($ok, %all) = @_;

    return $ok eq 'ok' ? \%all : $ok;
}

sub kept { return { map { $_ => hash($_) } $beats, $claims } }
sub hash { return { @{ $redis->command('HGETALL', $_[0]) } } }


###############################################################################
# Beats

is_deeply(beat('a'), [ 'dead' ], 'beat: a boot id that nobody knows is dead');
is_deeply(kept(), { $beats => {}, $claims => {} }, 'and stays so');
is_deeply(all(@{ beat('a', 1) }), { a => '1 5000' }, 'beat: the first one');
is_deeply(all(@{ beat('b', 1) }), { a => '1 5000', b => '1 5000' },
          'beat: all workers are in the answer');
is_deeply(all(@{ beat('a') }), { a => '2 5000', b => '1 5000' },
          'beat: the counter rises');
is_deeply(all(@{ beat('a', 1) }), { a => '3 5000', b => '1 5000' },
          'beat: a repeat of the first one does no harm');


###############################################################################
# Claims

is(claim('a', 'b', '0 5000'), 'none', 'cluster.md, 5: who has beaten lives');
is(claim('a', 'x', '1 5000'), 'none', 'who is forgotten is done');
is(claim('x', 'b', '1 5000'), 'none', 'one whom nobody knows claims nothing');
is_deeply(hash($claims), {}, 'and nothing was written');

is(claim('a', 'b', '1 5000'), 'ok', 'who stands still is claimed');
is(claim('a', 'b', '1 5000'), 'ok', 'and again by the same one');
is_deeply(beat('b'), [ 'dead' ], 'whoever was claimed is told so');
is(hash($beats)->{b}, '1 5000', 'and does not live again');

beat('c', 1);
is(claim('c', 'b', '1 5000'), 'busy', 'another one lets it alone');
is(forget('c', 'b'), 'none', 'and does not forget it');
is(claim('b', 'a', '3 5000'), 'none', 'who was claimed claims nothing');

# the one who has claimed it dies

is(claim('c', 'a', '3 5000'), 'ok', 'who cleans up is found dead');
is(claim('c', 'b', '1 5000'), 'ok', 'then his claim is void');
is(claim('a', 'b', '1 5000'), 'none', 'also if he was only slow');
is(forget('a', 'b'), 'none', 'he cannot end it either');
is_deeply(hash($claims), { a => 'c', b => 'c' }, 'the claims');
is(forget('c', 'a'), 'ok', 'one is done');
is(forget('c', 'a'), 'none', 'once');
is(forget('c', 'b'), 'ok', 'and the other');
is_deeply(kept(), { $beats => { c => '1 5000' }, $claims => {} },
          'nothing is left of either');

# by one who is gone altogether

beat('d', 1);
beat('e', 1);
claim('d', 'e', '1 5000');
$redis->command('HDEL', $beats, 'd');
is(claim('c', 'e', '1 5000'), 'ok', 'a claim of one who is gone is void');


###############################################################################
# Lists

is_deeply($redis->command('FCALL', 'xmpp1_listed', 1, 'xmpp:{a}:listed', 5),
          [ 'ok' ], 'listed: none');
$redis->command('HSET', 'xmpp:{a}:listed', map { ("a.$_", "j/$_") } 1 .. 9);

{
    my ($ok, %some) = @{ $redis->command('FCALL', 'xmpp1_listed', 1,
                                         'xmpp:{a}:listed', 5) };

    is(scalar keys %some, 5, 'listed: so many');
    is_deeply([ values %some ], [ map { s/^a\./j\//r } keys %some ],
              'listed: with their JIDs');
}


###############################################################################
# What is done for a dead worker

sub gone_for {
    my ($account, $boot, $resource, $sid, $epoch) = @_;

    return $account->_call('gone', $resource, $sid, $epoch,
                           $account->gone($resource), 0, $boot);
}

{
    my $a = $f->account('u1@localhost');
    my $bells = $a->listen();
    my $epoch = $a->bind('desk', 'b1.1', boot => 'b1')->[2];

    $a->session('phone', 'b2.1', 1);
    $a->presence('desk', 'b1.1', $epoch, 5, '<presence/>', 1);
    $a->item('v@localhost', 'f');
    $bells->rung();

    my $kept = $a->kept();

    is_deeply(gone_for($a, 'b0', 'desk', 'b1.1', 0), [ 'conflict' ],
              'gone: another worker has the record');
    is_deeply($a->_call('unbind', 'desk', 'b1.1', $epoch, 'b0'),
              [ 'conflict' ], 'unbind: the same');
    is_deeply($a->kept(), $kept, 'and nothing has changed');
    is(scalar $bells->rung(), 0, 'cluster.md, 4: nor was anything said');

    is_deeply([ @{ gone_for($a, 'b1', 'desk', 'b1.1', 0) }[0, 2, 3] ],
              [ 'ok', $epoch, 'fv@localhost' ], 'gone: its own');
    is($a->record('desk'), "$epoch b1.1 b1 g -", 'gone: contacts are to hear');
    is(scalar $bells->rung(), 1, 'gone: the other resource has');
    gone_for($a, 'b1', 'desk', 'b1.1', 0);
    is(scalar $bells->rung(), 0, 'gone: once, however often it is done');

    # now the worker is back, under another boot id

    is($a->bind('desk', 'b1.1', boot => 'b3', epoch => $epoch,
                state => 5)->[0], 'ok', 'back: registered');
    is($a->record('desk'), "$epoch b1.1 b3 5 -",
       'back: it is available again, by its new boot id');
    is_deeply($a->_call('unbind', 'desk', 'b1.1', $epoch, 'b1'),
              [ 'conflict' ], 'back: the second step comes too late');
    is($a->record('desk'), "$epoch b1.1 b3 5 -", 'back: the record stays');

    # one whose client has said that it goes keeps what contacts have to hear

    $a->presence('desk', 'b1.1', $epoch, '-', '<presence/>', 0);
    $a->bind('desk', 'b1.1', boot => 'b4', epoch => $epoch, state => '-');
    is($a->record('desk'), "$epoch b1.1 b4 g -",
       'back: contacts that have not heard of an end are told');
}

$f->stop();

done_testing();
