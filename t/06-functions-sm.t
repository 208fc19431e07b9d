#!/usr/bin/perl

# The Functions of redis/42-sm.lua: XEP-0198, 5; cluster.md, rule 4.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP::Functions;

my $f = Test::XMPP::Functions->new();
my $redis = $f->redis();


sub sm {
    my ($a, $name, $sid, @arguments) = @_;
    my @keys = $name eq 'end'    ? ("sm:$sid")
               : $name eq 'take' ? ('account', 'sessions', "sm:$sid")
               : ('sessions', "sm:$sid");

    return $redis->command('FCALL', $name eq 'detach' ? "xmpp1_$name"
                                                      : "xmpp1_sm_$name",
                           scalar @keys, map({ $a->key($_) } @keys),
                           @arguments);
}

sub detach {
    my ($a, @arguments) = @_;

    return sm($a, 'detach', $arguments[1], @arguments)->[0];
}

# a session that may be resumed; its epoch

sub resumable {
    my ($a, $resource, $sid, %opt) = @_;
    my $epoch = $a->session($resource, $sid, 5);

    is(sm($a, 'enable', $sid, $resource, $sid, $epoch, "digest of $sid", 60000,
          $opt{base} // 3, $opt{handled} // 0)->[0], 'ok', "$sid: enabled");

    return $epoch;
}

# take($a, $sid, $resource, $boot, $attempt [, $digest, $created, $dead,
# $asked])

sub take {
    my ($a, $sid, $resource, $boot, $attempt, $digest, $created, $dead, $asked)
        = @_;

    return sm($a, 'take', $sid, $a->channel(), $resource, $sid, $boot,
              $attempt, $digest // "digest of $sid", $created // 0,
              $dead // '', $asked // 0);
}

sub record { $redis->command('HGET', $_[0]->key('sessions'), 'rdesk') }


###############################################################################
# Letter d of the record

{
    my $a = $f->account('alice@localhost');
    my $epoch = $a->session('desk', 'w1.1', 5);
    my $record = record($a);

    like($record, qr/ w1\.1 \S+ 5 -$/, 'a session');
    is(detach($a, 'desk', 'w1.1', $epoch, 1), 'ok', 'it has no connection');
    is(record($a), $record =~ s/-$/d/r, 'letter d, and nothing else');
    is(detach($a, 'desk', 'w1.1', $epoch, 1), 'ok', 'a repeat');
    is(record($a), $record =~ s/-$/d/r, 'changes nothing');
    is($a->flags('desk', 'w1.1', $epoch, 'cd')->[0], 'ok', 'other letters');
    is(detach($a, 'desk', 'w1.1', $epoch, 0), 'ok', 'it has one again');
    is(record($a), $record =~ s/-$/c/r, 'and keeps them');

    is(detach($a, 'desk', 'w1.2', $epoch, 1), 'conflict', 'another session');
    is(detach($a, 'desk', 'w1.1', $epoch + 1, 1), 'conflict',
       'cluster.md, rule 4: another epoch');
    is(detach($a, 'lap', 'w1.1', $epoch, 1), 'conflict', 'no record');
    is(record($a), $record =~ s/-$/c/r, 'nothing is written');
}


###############################################################################
# Who gives way: what has no connection, before the oldest

{
    my $a = $f->account('bob@localhost');
    my %epoch = map { $_ => $a->session($_, "w1.$_", 1) } qw/ a b c /;

    detach($a, 'b', 'w1.b', $epoch{b}, 1);
    $a->bind('d', 'w1.d', max => 3);
    is(join(' ', sort grep { /^r/ } keys %{ $a->hash('sessions') }),
       'ra rc rd', 'the detached one gives way');
}


###############################################################################
# What is known of a session

{
    my $a = $f->account('carol@localhost');
    my $find = sub {
        my @answer = @{ sm($a, 'find', $_[0], @_) };

        return join ' ', splice @answer, 0, 4;
    };

    is($find->('w1.1', 'digest of w1.1'), 'none', 'nothing is known');

    my $epoch = resumable($a, 'desk', 'w1.1');

    is($find->('w1.1', 'digest of w1.1'), 'ok 0 0 desk', 'its resource');
    is($find->('w1.1', 'digest of w1.2'), 'none', 'for who has the token');
    is($find->('w1.1', ''), 'none', 'not without one');

    is(sm($a, 'handled', 'w1.1', 'desk', 'w1.1', $epoch, 17)->[0], 'ok',
       'some were handled');
    is($find->('w1.1', 'digest of w1.1'), 'ok 0 17 desk', 'so many');
    is(sm($a, 'handled', 'w1.1', 'desk', 'w1.1', $epoch + 1, 18)->[0],
       'conflict', 'cluster.md, rule 4: another epoch');
    is(sm($a, 'enable', 'w1.1', 'desk', 'w1.1', $epoch - 1, 'x', 1, 1, 1)->[0],
       'conflict', 'the same when it is enabled');
    is($find->('w1.1', 'digest of w1.1'), 'ok 0 17 desk', 'nothing is written');

    is(sm($a, 'end', 'w1.1', 'digest of w1.1', 18, 3600, $epoch + 1)->[0],
       'conflict', 'another has it: it does not end');
    is(sm($a, 'end', 'w1.1', 'digest of w1.1', 18, 3600, $epoch)->[0], 'ok',
       'it ends');
    is($find->('w1.1', 'digest of w1.1'), 'ok 0 18', 'how many were handled');
    is($find->('w1.1', 'another'), 'none', 'for who has the token');
    cmp_ok($redis->command('TTL', $a->key('sm:w1.1')), '>', 3500,
           'for a while');
    $a->leave('desk', 'w1.1', $epoch);
    is($find->('w1.1', 'digest of w1.1'), 'ok 0 18',
       'the end of the record does not change it');

    # without a word of the client

    my @ends = (
        [ 'it leaves', sub { $a->leave('desk', 'w1.2', $_[0]) } ],
        [ 'another binds its resource', sub { $a->bind('desk', 'w2.1') } ],
        [ 'it has to give way', sub { $a->bind('new', 'w2.2', max => 1) } ],
        [ 'its account is removed', sub { $a->remove() } ]
    );

    for (@ends) {
        my ($how, $end) = @$_;

        $a->create();
        $epoch = resumable($a, 'desk', 'w1.2');
        $end->($epoch);
        is($redis->command('EXISTS', $a->key('sm:w1.2')), 0,
           "$how: nothing is left");
    }
}


###############################################################################
# Another worker takes it: its holder listens, and writes

{
    my $a = $f->account('dave@localhost');
    my ($one, $two) = map { $a->listen() } 1 .. 2;
    my $epoch = resumable($a, 'desk', 'w1.1');

    $a->flags('desk', 'w1.1', $epoch, 'r');
    $one->rung();

    is(take($a, 'w1.1', 'desk', 'w2', 1, 'digest of w1.2')->[0], 'none',
       'not without the token');
    is(take($a, 'w1.2', 'desk', 'w2', 1)->[0], 'none', 'nor with another sid');
    is(take($a, 'w1.1', 'lap', 'w2', 1)->[0], 'none', 'nor resource');
    is(take($a, 'w1.1', 'desk', 'w2', 1, undef, 20010203040506)->[0], 'none',
       'nor for one who has logged in to another account of that name');
    is(take($a, 'w1.1', 'desk', 'w2', 1, '', 0, 'w3')->[0], 'none',
       'nor from a worker that does not have it');
    is(scalar($one->rung()), 0, 'nobody hears of it');

    my ($ok, $number, $new, $open) = @{ take($a, 'w1.1', 'desk', 'w2', 1) };

    is("$ok $open", 'ok wait', 'taken');
    cmp_ok($new, '>', $epoch, 'cluster.md, rule 4: with a higher epoch');
    is(record($a), "$new w1.1 w2 5 rd", 'in the record, with all else');

    my @bells = $one->rung();

    is(scalar @bells, 1, 'a bell');
    is("@{ $bells[0] }{qw/ kind number epoch body /}",
       "h $number $new w1.1 w2", 'says who has it, and since when');

    is("@{ take($a, 'w1.1', 'desk', 'w2', 1) }", "ok $number $new wait",
       'a repeat is answered the same');
    is(scalar($one->rung()), 0, 'and rings nothing');
    is(sm($a, 'handled', 'w1.1', 'desk', 'w1.1', $epoch, 9)->[0], 'conflict',
       'its holder may not acknowledge any more');

    is(sm($a, 'write', 'w1.1', $a->channel(), 'desk', 'w1.1', $epoch - 1, 8,
          'x')->[0], 'conflict', 'another cannot write');
    is(sm($a, 'write', 'w1.1', $a->channel(), 'desk', 'w1.1', $epoch, 8,
          "all\r\n\0else")->[0], 'ok', 'its holder writes what it has');
    @bells = $one->rung();
    is("@{ $bells[0] }{qw/ kind epoch body /}", "s $new w1.1",
       'and the other hears of it');

    is(sm($a, 'open', 'w1.1', 'desk', 'w1.1', $epoch)->[0], 'conflict',
       'only he may open it');

    for my $try ('opened', 'a repeat') {
        my @answer = @{ sm($a, 'open', 'w1.1', 'desk', 'w1.1', $new) };

        is_deeply([ @answer[2 .. 10] ],
                  [ $new, 'open', 5, 'rd', 8, 3, 60000, 'digest of w1.1',
                    "all\r\n\0else" ], "$try: it gets all");
    }

    is(sm($a, 'write', 'w1.1', $a->channel(), 'desk', 'w1.1', $epoch, 7,
          'late')->[0], 'conflict', 'too late to write');
    is(detach($a, 'desk', 'w1.1', $new, 0), 'ok', 'it has a connection');
    is_deeply($a->hash('sm:w1.1'), { token => 'digest of w1.1', base => 3,
                                     resource => 'desk', timeout => 60000,
                                     handled => 8, epoch => $new, life => 0,
                                     created => 0 },
              'what was written goes');

    # two at once

    my $first = take($a, 'w1.1', 'desk', 'w3', 1);
    my $second = take($a, 'w1.1', 'desk', 'w4', 1);

    is($second->[3], 'wait', 'two at once: the second');
    is(sm($a, 'write', 'w1.1', $a->channel(), 'desk', 'w1.1', $new, 9,
          'both')->[0], 'ok', 'who had it writes once');
    is(sm($a, 'open', 'w1.1', 'desk', 'w1.1', $first->[2])->[0], 'conflict',
       'exactly one wins');
    is(sm($a, 'open', 'w1.1', 'desk', 'w1.1', $second->[2])->[10], 'both',
       'and gets it');

    # the holder does not answer

    my $third = take($a, 'w1.1', 'desk', 'w5', 1);

    is($third->[3], 'wait', 'a third');
    is(sm($a, 'open', 'w1.1', 'desk', 'w1.1', $third->[2])->[10], '',
       'does not wait: it gets what is known');
    is(sm($a, 'write', 'w1.1', $a->channel(), 'desk', 'w1.1', $second->[2], 99,
          'late')->[0], 'conflict', 'then it is too late');
    is($a->hash('sm:w1.1')->{handled}, 9, 'nothing is written');

    # what its client sends from then on need not be what it has sent

    is($a->hash('sm:w1.1')->{life}, $third->[2],
       'cluster.md, rule 2: it is rebuilt, and has another life');

    my $fourth = take($a, 'w1.1', 'desk', 'w6', 1);

    sm($a, 'write', 'w1.1', $a->channel(), 'desk', 'w1.1', $third->[2], 9,
       'all');
    is(sm($a, 'open', 'w1.1', 'desk', 'w1.1', $fourth->[2])->[11],
       $third->[2], 'which it keeps when it is given away');
    is(sm($a, 'enable', 'w1.1', 'desk', 'w1.1', $fourth->[2], 'digest of w1.1',
          60000, 3, 9, $third->[2])->[0], 'ok', 'and when it is put back');
    is($a->hash('sm:w1.1')->{life}, $third->[2], 'it does');
}


###############################################################################
# A client has come to one worker, then to another: what the first one asks for
# late, or again, changes nothing

{
    my $a = $f->account('grace@localhost');
    my ($bells, $other) = map { $a->listen() } 1 .. 2;
    my $epoch = resumable($a, 'desk', 'w1.1');
    my $asks = sub { sm($a, 'find', 'w1.1', 'w1.1', 'digest of w1.1')->[4] };
    my @asked = map { $asks->() } 1 .. 3;
    my $takes = sub {
        my ($boot, $attempt, $asked) = @_;

        return take($a, 'w1.1', 'desk', $boot, $attempt, undef, 0, '', $asked);
    };

    my $two = $takes->('w2', 1, $asked[0]);
    my $three = $takes->('w3', 1, $asked[1]);

    is($three->[3], 'wait', 'whoever has come last has it');
    sm($a, 'open', 'w1.1', 'desk', 'w1.1', $three->[2]);
    detach($a, 'desk', 'w1.1', $three->[2], 0);

    my $record = record($a);

    $bells->rung();
    is($takes->('w2', 1, $asked[0])->[0], 'none',
       'a repeat of the one before does not take it away');
    is($takes->('w4', 1, $asked[0])->[0], 'none',
       'nor one that has been under way since then');
    is(record($a), $record, 'nothing is written');
    is(scalar($bells->rung()), 0, 'nor rung');
    is($takes->('w4', 2, $asked[2])->[3], 'wait', 'one that came later does');

    # the clock of another master is behind

    $redis->command('HSET', $a->key('sm:w1.1'), 'asked', '9000000000000000');
    is($takes->('w5', 1, $asks->())->[3], 'wait', 'by whatever clock');
}


###############################################################################
# Its time goes on wherever it comes to

{
    my $a = $f->account('tick@localhost');
    my $epoch = resumable($a, 'desk', 'w1.1');
    my $since = sub { $redis->command('HGET', $a->key('sm:w1.1'), 'since') };
    my $ago = sub {
        $redis->command('HSET', $a->key('sm:w1.1'), 'since',
                        $f->clock() - $_[0] * 1_000_000);
    };

    # a busy machine may take its time

    my $left = sub {
        my ($answer, $seconds) = @_;
        my $ms = $answer->[14];

        return $ms <= $seconds * 1000 && $ms >= $seconds * 1000 - 15_000;
    };

    is($since->(), undef, 'it has its client');
    detach($a, 'desk', 'w1.1', $epoch, 1);
    ok($since->(), 'it waits');
    $ago->(30);

    my $was = $since->();

    detach($a, 'desk', 'w1.1', $epoch, 1);

    my $first = take($a, 'w1.1', 'desk', 'w2', 1);

    ok($left->($first, 30), 'taken: it waits for the rest');
    is($since->(), $was, 'and goes on, should that one die, too');

    $ago->(70);
    is(take($a, 'w1.1', 'desk', 'w3', 1)->[14], 0, 'its time is over');
    $ago->(-70);
    is(take($a, 'w1.1', 'desk', 'w4', 1)->[14], 60000, 'the clock went back');

    my $last = take($a, 'w1.1', 'desk', 'w5', 1)->[2];

    detach($a, 'desk', 'w1.1', $last, 0);
    is($since->(), undef, 'its client is there');
    ok($left->(take($a, 'w1.1', 'desk', 'w6', 1), 60),
       'a worker that dies with its client');
    ok($since->(), 'from then on');
}


###############################################################################
# Who may not ring for it does not take it

{
    my $a = $f->account('mute@localhost');
    my $epoch = resumable($a, 'desk', 'w1.1');
    my $kept = sub { +{ %{ $a->kept() }, sm => $a->hash('sm:w1.1') } };
    my $before = $kept->();

    $redis->command('ACL', 'SETUSER', 'default', 'resetchannels');
    like(eval { take($a, 'w1.1', 'desk', 'w2', 1)->[0] } // $@,
         qr/NOPERM SPUBLISH: /, 'who may not publish does not take it');
    is_deeply($kept->(), $before, 'and nothing is written');
    $redis->command('ACL', 'SETUSER', 'default', 'allchannels');
    is(take($a, 'w1.1', 'desk', 'w2', 1)->[3], 'open', 'then he does');
}


###############################################################################
# The name has another owner by now: nobody takes what was of the one before

{
    my $a = $f->account('owner@localhost');
    my $epoch = $a->session('desk', 'w1.1', 5);

    $redis->command('HSET', $a->key('account'), 'created',
                    '2026-01-02T03:04:05Z');
    sm($a, 'enable', 'w1.1', 'desk', 'w1.1', $epoch, 'digest of w1.1', 60000, 3,
       0, 0, '20260102030405');
    is(take($a, 'w1.1', 'desk', 'w2', 1)->[12], '20260102030405',
       'whose it is goes along');
    $redis->command('HSET', $a->key('account'), 'created',
                    '2026-01-02T03:04:06Z');
    is(take($a, 'w1.1', 'desk', 'w3', 1)->[0], 'none', 'another has the name');
    is(take($a, 'w1.1', 'desk', 'w3', 2, '', 0, 'w2')->[0], 'none',
       'not for whoever cleans up, either');
}


###############################################################################
# What is put back is what Redis may have lost, and no less than it has

{
    my $a = $f->account('heidi@localhost');
    my $epoch = resumable($a, 'desk', 'w1.1');
    my $again = sub {
        return sm($a, 'enable', 'w1.1', 'desk', 'w1.1', $epoch,
                  'digest of w1.1', 60000, 3, $_[0])->[0];
    };

    sm($a, 'handled', 'w1.1', 'desk', 'w1.1', $epoch, 10);
    is($again->(5), 'ok', 'put back by who has not heard of the last count');
    is($a->hash('sm:w1.1')->{handled}, 10,
       'cluster.md, rule 3: what is told to the client stays');
    $redis->command('DEL', $a->key('sm:w1.1'));
    is($again->(5), 'ok', 'it was lost');
    is($a->hash('sm:w1.1')->{handled}, 5, 'and is there again');
}


###############################################################################
# Nobody listens: its worker has died, or left what it had

{
    my $a = $f->account('erin@localhost');
    my $epoch = resumable($a, 'desk', 'boot0.1', handled => 4);

    my $heard = $a->listen();

    is_deeply([ @{ take($a, 'boot0.1', 'desk', 'w2', 1, '', 0, 'boot0')
                }[3 .. 10] ],
              [ 'open', 5, 'd', 4, 3, 60000, 'digest of boot0.1', '' ],
              'its worker has died: another has it, without its client');
    is(($heard->rung())[0]{body}, 'boot0.1 w2 -', 'as the bell says');
    $heard->close();
    is(take($a, 'boot0.1', 'desk', 'w3', 1, '', 0, 'boot0')->[0], 'none',
       'and a third does not');

    my ($new) = split / /, record($a);

    is(sm($a, 'write', 'boot0.1', $a->channel(), 'desk', 'boot0.1', $new, 6,
          'left')->[0], 'ok', 'it goes, too, and leaves what it has');
    is(record($a), "$new boot0.1 w2 5 d", 'which does not change the record');

    my $bells = $a->listen();
    my $another = $a->listen();

    is($a->ends('desk', 'boot0.1', 0)->[0] , 'ok', 'it would end');
    $epoch = resumable($a, 'desk', 'boot0.2', handled => 4);
    is(sm($a, 'write', 'boot0.2', $a->channel(), 'desk', 'boot0.2', $epoch, 6,
          'left')->[0], 'ok', 'one that was left');
    is_deeply([ @{ take($a, 'boot0.2', 'desk', 'w2', 1) }[3, 6, 10] ],
              [ 'open', 6, 'left' ], 'is had at once, whoever listens');
    is(sm($a, 'open', 'boot0.2', 'desk', 'boot0.2', (split / /, record($a))[0]
         )->[10], 'left', 'and once more if the answer was lost');
}


###############################################################################
# The reaper leaves those alone that may be resumed

{
    my $a = $f->account('fred@localhost');
    my $gone = sub {
        return $redis->command('FCALL', 'xmpp1_gone', 4,
                   (map { $a->key($_) } qw/ account sessions presence roster /),
                   $a->channel(), 'desk', $_[0], 0, $a->gone('desk'), 0,
                   'boot0', 1)->[0];
    };

    resumable($a, 'desk', 'w1.1');
    my $before = record($a);
    is($gone->('w1.1'), 'resumable', 'cluster.md, rule 14: it stays');
    is(record($a), $before, 'as it was');

    $a->session('desk', 'w1.2', 5);
    is($gone->('w1.2'), 'ok', 'one that may not be resumed goes');
}

$f->stop();
done_testing();
