#!/usr/bin/perl

# The Functions of redis/*.lua: block lists (XEP-0191).  Who is not let
# through by those that route, which contacts are not told, and how a list is
# read and changed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP::Functions;

my $f = Test::XMPP::Functions->new();
my $redis = $f->redis();

my $serial = 0;
my $push = "<block xmlns='urn:xmpp:blocking'/>";


sub fresh {
    my $account = $f->account('u' . ++$serial . '@localhost', @_);

    return ($account, $account->listen());
}


sub call {
    my ($a, $name, @arguments) = @_;

    return $redis->command('FCALL', "xmpp1_$name", 2, $a->key('sessions'),
                           $a->key('blocked'), @arguments);
}

sub block {
    my ($a, $resource, $sid, $epoch, $jids, %opt) = @_;

    return call($a, 'block', $a->channel(), $resource, $sid, $epoch, $push,
                join("\n", @$jids), $opt{lifetime} // 0, $opt{items} // 100,
                $opt{size} // 10_000);
}

sub unblock {
    my ($a, $resource, $sid, $epoch, @jids) = @_;

    return call($a, 'unblock', $a->channel(), $resource, $sid, $epoch, $push,
                join("\n", @jids), 0);
}

sub blocklist { my $a = shift; return call($a, 'blocklist', @_) }

sub affected {
    my ($a, $resource, $sid, $epoch, $what, @jids) = @_;

    return $redis->command('FCALL', 'xmpp1_affected', 3,
        (map { $a->key($_) } qw/ sessions presence roster /),
        $resource, $sid, $epoch, $what, join("\n", @jids));
}

sub lines { [ sort split /\n/, $_[0] // '' ] }

# members of the set

sub set { lines(join "\n", @{ $redis->command('SMEMBERS',
                                              $_[0]->key('blocked')) }) }


# The four shapes: XEP-0191, 5

my %shapes = (
    'bob@localhost/home' => [ qw{ bob@localhost/home } ],
    'bob@localhost'      => [ qw{ bob@localhost bob@localhost/home
                                  bob@localhost/a/b@c } ],
    'localhost/home'     => [ qw{ localhost/home } ],
    'localhost'          => [ qw{ localhost localhost/home bob@localhost
                                  bob@localhost/home bob@localhost/a/b@c
                              bobby@localhost/home } ],
);

my @senders = qw{ bob@localhost/home bob@localhost bob@localhost/a/b@c
                  localhost localhost/home bobby@localhost/home
                  bob@localhosts/home localhos bob@example.org/home };

for my $item (sort keys %shapes) {
    my ($a, $bells) = fresh();
    my $epoch = $a->session('desk', 's1', 1);

    block($a, 'desk', 's1', $epoch, [ $item ]);
    $bells->rung();

    my %blocked = map { $_ => 1 } @{ $shapes{$item} };
    my $n = 0;

    for my $from (@senders) {
        for my $to ('desk', '') {
            my $answer = $a->route_from($from, 'from', ++$n, 'c', $to, '<m/>');

            is($answer->[0], $blocked{$from} ? 'none' : 'ok',
               "XEP-0191, 5: $item blocks $from, or not");
        }
    }

    is(scalar $bells->rung(), 2 * (@senders - keys %blocked),
       "$item: nothing of them has rung");

    is($a->route('from', ++$n, $_, 'desk', '<m/>')->[0], 'ok',
       "whoever cannot be blocked is not: $_") for qw/ c i p /;
}


# Of every kind; and what was routed before stays what it was

{
    my ($a, $bells) = fresh();
    my $epoch = $a->session('desk', 's1', 1);
    my $from = 'bob@localhost/home';
    my $first = $a->route_from($from, 'sid', 1, 'c', 'desk', '<m/>');

    block($a, 'desk', 's1', $epoch, [ 'bob@localhost' ]);
    $bells->rung();

    is_deeply($a->route_from($from, 'sid', 2, $_, 'desk', '<m/>'),
              [ 'none', '0' ], "XEP-0191, 3.3: kind $_, as to nobody")
        for qw/ c n h g e p i /;

    is_deeply($a->route_again($from, 'sid', 1, 'c', 'desk', '<m/>'), $first,
              'cluster.md, 2: what was routed before the block');

    is(scalar $bells->rung(), 0, 'nothing rang');
}


# Presence and probes, in the slot of who has blocked

{
    my ($a, $bells) = fresh();
    my $epoch = $a->session('desk', 's1', 1);

    $a->item('bob@localhost', 'tf');
    block($a, 'desk', 's1', $epoch, [ 'bob@localhost/home', 'evil.example' ]);
    $a->item('x@evil.example', 'tf');
    $bells->rung();

    for my $from (qw{ bob@localhost/home x@evil.example/y }) {
        is_deeply($a->contact($from, $_, '<p/>'), [ 'ok', '0' ],
                  "XEP-0191, 3.3: presence of $from: $_") for qw/ f t b /;
        is_deeply($a->contact($from, 'p'), [ 'none', '0' ],
                  "XEP-0191, 3.3: a probe of $from");
    }

    is(scalar $bells->rung(), 0, 'nothing rang');

    is(@{ $a->contact('bob@localhost/work', 'b', '<p/>') }, 3,
       'another resource is answered');
    is(scalar $bells->rung(), 1, 'and heard');

    block($a, 'desk', 's1', $epoch, [ $a->{tag} ]);
    is(@{ $a->contact('', 'p') }, 3, 'XEP-0191, 4: own resources go on');
}


# Who is told, and asked: RFC 6121, 4.2.2

{
    my ($a) = fresh();
    my $epoch = $a->bind('desk', 's1')->[2];

    $a->item("$_\@localhost", 'tf') for qw/ bob carol /;
    $a->item('dora@evil.example', 'tf');
    $redis->command('HSET', $a->key('requests'), 'eve@localhost', '<e/>',
                    'fred@localhost', '<f/>');

    block($a, 'desk', 's1', $epoch,
          [ qw{ bob@localhost evil.example eve@localhost carol@localhost/x } ]);

    my $answer = $a->presence('desk', 's1', $epoch, 1, '<p/>', 1);

    is_deeply([ lines($answer->[3]), @$answer[4 .. $#$answer] ],
              [ [ 'bcarol@localhost' ], '<f/>' ],
              'presence: neither contacts nor requests that are blocked');

    $answer = $a->presence('desk', 's1', $epoch, '-', '<p/>');
    is_deeply(lines($answer->[3]), [ 'fcarol@localhost' ], 'unavailable');

    $a->presence('desk', 's1', $epoch, 1, '<p/>', 1);
    is_deeply(lines($a->ends('desk', 's1', $epoch)->[3]),
              [ 'fcarol@localhost' ], 'the end');
}

{
    my ($a) = fresh();
    my $epoch = $a->session('desk', 's1', 1);

    $a->item('bob@localhost', 'tf');
    block($a, 'desk', 's1', $epoch, [ 'bob@localhost' ]);

    is((split ' ', $a->record('desk'))[3], '1', 'available');
    is_deeply($a->ends('desk', 's1', $epoch)->[3], '',
              'the end: with no others there is nobody to tell');
    is($a->record('desk'), undef, 'and the record is gone');
}


# Block and unblock

{
    my ($a, $bells) = fresh();
    my $e1 = $a->session('desk', 's1', 1);
    my $e2 = $a->session('lap', 's2', 1);

    is_deeply(blocklist($a, 'lap', 's2', $e2, 'cb'),
              [ 'ok', $a->hash('sessions')->{n}, '' ],
              'XEP-0191, 3.2: an empty list');
    like($a->record('lap'), qr/ 1 cb$/, 'the flag is set');
    $bells->rung();

    my $answer = block($a, 'desk', 's1', $e1, [ qw/ a@x b@x a@x / ]);
    my ($bell, @more) = $bells->rung();

    is_deeply([ $answer->[0], lines($answer->[2]) ],
              [ 'ok', [ qw/ a@x b@x / ] ], 'block: the list');
    is_deeply([ @$bell{qw/ kind number targets /}, scalar @more ],
              [ 'b', $answer->[1], [ "s2:$e2" ], 0 ],
              'XEP-0191, 3.3: one bell, for those that asked');
    is_deeply([ split /\n/, $bell->{body}, 2 ], [ $push, $answer->[2] ],
              'what they are sent, and the list');
    is($a->hash('sessions')->{b}, '1', 'the sessions say that there is one');

    block($a, 'lap', 's2', $e2, [ 'c@x' ]);
    is_deeply(set($a), [ qw/ a@x b@x c@x / ], 'one more');

    is_deeply(lines($a->bind('new', 's3')->[3]), [ qw/ a@x b@x c@x / ],
              'bind: the list');
    is_deeply(lines($a->bind('new', 's3')->[3]), [ qw/ a@x b@x c@x / ],
              'bind, repeated');
    is_deeply(lines($a->bind('desk', 's1', epoch => $e1)->[3]),
              [ qw/ a@x b@x c@x / ], 'bind, put back');

    # Redis has lost the sessions: the first record brings the mark back

    $redis->command('DEL', $a->key('sessions'));
    $a->bind('desk', 's1', epoch => $e1);
    is($a->hash('sessions')->{b}, '1', 'bind: the mark is there again');

    $bells->rung();
    $answer = unblock($a, 'desk', 's1', $e1, qw/ a@x z@x /);
    is_deeply([ $answer->[0], lines($answer->[2]) ],
              [ 'ok', [ qw/ b@x c@x / ] ], 'XEP-0191, 3.4: unblock');
    is(scalar $bells->rung(), 1, 'a bell');
    is($a->route_from('a@x/y', 'f', 1, 'c', 'desk', '<m/>')->[0], 'ok',
       'XEP-0191, 3.4: its stanzas come again');

    $answer = unblock($a, 'desk', 's1', $e1);
    is_deeply([ $answer->[0], $answer->[2], set($a) ], [ 'ok', '', [] ],
              'XEP-0191, 3.5: all');
    is($a->hash('sessions')->{b}, undef, 'no list any more');
    is(@{ $a->bind('last', 's9') }, 3, 'bind: none');
}


# Who may

{
    my ($a, $bells) = fresh();
    my $epoch = $a->session('desk', 's1', 1);

    for ([ 'desk', 's1', $epoch + 1 ], [ 'desk', 's2', $epoch ],
         [ 'lap', 's1', $epoch ])
    {
        is(block($a, @$_, [ 'b@x' ])->[0], 'conflict', "cluster.md, 4: @$_");
        is(unblock($a, @$_)->[0], 'conflict', 'unblock');
        is(blocklist($a, @$_, 'b')->[0], 'conflict', 'the list');
        is(affected($a, @$_, '+', 'b@x')->[0], 'conflict', 'affected');
    }

    is_deeply(set($a), [], 'nothing was written');

    block($a, 'desk', 's1', $epoch, [ 'b@x' ]);
    $a->remove();
    is($redis->command('EXISTS', $a->key('blocked')), 0,
       'remove: the list goes, too');
    is(block($a, 'desk', 's1', $epoch, [ 'b@x' ])->[0], 'conflict',
       'an account that was removed does not get one again');
    is($redis->command('EXISTS', $a->key('blocked')), 0, 'no trace');
}


# Limits

{
    my ($a, $bells) = fresh();
    my $epoch = $a->session('desk', 's1', 1);
    my @args = ($a, 'desk', 's1', $epoch);

    $bells->rung();
    is(block(@args, [ qw/ a@x b@x / ], items => 2)->[0], 'ok', 'two of two');
    is(block(@args, [ 'a@x' ], items => 2)->[0], 'ok', 'one that is there');
    $bells->rung();
    is_deeply(block(@args, [ 'c@x' ], items => 2), [ 'full', '0' ],
              'one too many');
    is_deeply(block(@args, [ 'c@x' ], size => 11), [ 'full', '0' ],
              'a byte too many');
    is(scalar $bells->rung(), 0, 'nothing rang');
    is(block(@args, [ 'c@x' ], size => 12)->[0], 'ok', 'just enough');
}


# The list of an address for the time being ends with it

{
    my ($a) = fresh(0);

    my $epoch = $a->_call('bind', 'desk', 's1', 'boot0', 0, '-', 32, '<g/>',
                          7200, '-')->[2];

    block($a, 'desk', 's1', $epoch, [ 'b@x' ], lifetime => 7200);
    cmp_ok($redis->command('TTL', $a->key('blocked')), '>', 7000,
           'SASL ANONYMOUS: it expires');
    $redis->command('EXPIRE', $a->key('blocked'), 10);
    $a->_call('bind', 'desk', 's1', 'boot0', $epoch, '-', 32, '<g/>', 7200,
              '-');
    cmp_ok($redis->command('TTL', $a->key('blocked')), '>', 7000,
           'SASL ANONYMOUS: later, while its session goes on');
    $a->leave('desk', 's1', $epoch);
    is($redis->command('EXISTS', $a->key('sessions')), 0,
       'no counters are left for the mark');
}


# Whom a change concerns

{
    my ($a) = fresh();
    my $epoch = $a->session('desk', 's1', 1);
    my @args = ($a, 'desk', 's1', $epoch);

    $a->item('bob@localhost', 'tf');
    $a->item('carol@localhost', 't');
    $a->item('dora@evil.example', 'f');
    $a->item('eve@localhost', 'tf');

    my @jids = qw{ bob@localhost evil.example carol@localhost
                   eve@localhost/home stranger@localhost };

    block(@args, \@jids);

    my $answer = affected(@args, '+', @jids);

    is_deeply([ $answer->[0], lines($answer->[2]) ],
              [ 'ok', [ qw/ fbob@localhost fdora@evil.example / ] ],
              'XEP-0191, 3.3: contacts who may have presence');

    unblock(@args, qw{ bob@localhost carol@localhost });
    $answer = affected(@args, '-', qw{ bob@localhost carol@localhost
                                       dora@evil.example });
    is_deeply([ lines($answer->[2]), $answer->[3] ],
              [ [ qw/ bbob@localhost tcarol@localhost / ],
                "<presence from='$a->{tag}/desk'/>" ],
              'XEP-0191, 3.4: those who are not blocked otherwise');
    is_deeply([ map { affected(@args, '=', $_)->[2] }
                qw{ bob@localhost carol@localhost dora@evil.example
                    stranger@localhost } ], [ 'fbob@localhost', '', '', '' ],
              'RFC 6121, 3.1.5: who gets presence, and is not asked for his');

    $a->presence('desk', 's1', $epoch, '-', '<p/>');
    is_deeply(affected(@args, '+', @jids), [ 'none', '0' ],
              'who is not available is not seen');
}


# Redis is full: unblocking goes on

{
    my ($a) = fresh();
    my $epoch = $a->session('desk', 's1', 1);

    block($a, 'desk', 's1', $epoch, [ 'b@x' ]);
    $redis->command('CONFIG', 'SET', 'maxmemory', 1);
    is(unblock($a, 'desk', 's1', $epoch)->[0], 'ok',
       'cluster.md, 17: unblock');
    $redis->command('CONFIG', 'SET', 'maxmemory', 0);
}


# Who may not publish changes nothing

{
    my ($a) = fresh();
    my $epoch = $a->session('desk', 's1', 1);

    $redis->command('ACL', 'SETUSER', 'default', 'resetchannels');
    ok(!eval { block($a, 'desk', 's1', $epoch, [ 'b@x' ]); 1 },
       'may not publish: told by an error');
    is_deeply([ set($a), $a->hash('sessions')->{b} ], [ [], undef ],
              'nothing is written');
    $redis->command('ACL', 'SETUSER', 'default', 'allchannels');
}

done_testing();
