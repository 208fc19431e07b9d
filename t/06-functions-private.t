#!/usr/bin/perl

# The Functions of redis/*.lua: private storage (XEP-0049).  Whose it is, and
# how many bytes it has.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP::Functions;

my $f = Test::XMPP::Functions->new();
my $redis = $f->redis();
my $serial = 0;


# an account with a session: ($account, [ its arguments ])

sub fresh {
    my $a = $f->account('u' . ++$serial . '@localhost', @_);

    return ($a, [ 'desk', 's1', $a->session('desk', 's1', 1) ]);
}

sub call {
    my ($a, $name, @arguments) = @_;

    return $redis->command('FCALL', "xmpp1_private_$name", 2,
                           $a->key('sessions'), $a->key('private'),
                           @arguments)->[0];
}

sub set {
    my ($a, $session, $ns, $elements, $max) = @_;

    return call($a, 'set', @$session, $ns, $elements, $max // 100);
}

sub unset { my ($a, $session, $ns) = @_; return call($a, 'unset', @$session,
                                                     $ns) }


# The bytes that there are, counted anew, are those that are kept

{
    my ($a, $session) = fresh();
    my @steps = ([ 'urn:a', '<a/>' ], [ 'urn:a', '<a/>' ],
                 [ 'urn:b', '<b>b</b>' ], [ 'urn:a', 'x' x 50 ],
                 [ 'urn:a', 'x' ], [ 'b', 'b' ], [ 'urn:c', 'y' x 100 ],
                 [ 'urn:b' ], [ 'urn:b' ], [ 'urn:none' ], [ '', 'z' ]);

    for my $step (@steps) {
        defined $step->[1] ? set($a, $session, @$step)
                           : unset($a, $session, @$step);

        my %hash = %{ $a->hash('private') };
        my $bytes = delete $hash{b};

        is($bytes, length(join '', %hash), "after $step->[0]: its bytes");
    }

    is_deeply($a->hash('private'),
              { b => 12, 'xurn:a' => 'x', xb => 'b', x => 'z' },
              'what is there then');
    unset($a, $session, $_) for 'urn:a', '', 'b';
    is($redis->command('EXISTS', $a->key('private')), 0, 'nothing is left');
}


# The limit: to the byte, and never a way to lose what is there

{
    my ($a, $session) = fresh();

    is(set($a, $session, 'urn:a', 'x' x 94), 'ok', 'all of it');
    is(set($a, $session, 'urn:a', 'x' x 94), 'ok', 'a repeat');
    is(set($a, $session, 'urn:a', 'x' x 95), 'full', 'one more');
    is(set($a, $session, 'u', ''), 'full', 'elsewhere');
    is(set($a, $session, 'urn:a', 'x' x 94, 50), 'ok',
       'a lower limit: what is there stays');
    is(set($a, $session, 'urn:a', 'x' x 95, 50), 'full', 'and gets no more');
    is(set($a, $session, 'urn:a', 'x' x 93, 50), 'ok', 'but less');
    is_deeply($a->hash('private'), { b => 99, 'xurn:a' => 'x' x 93 },
              'so it is');
}


# cluster.md, 4: only for a session that has its record

{
    my ($a, $session) = fresh();

    set($a, $session, 'urn:a', 'a');

    for ([ 'desk', 's1', $session->[2] + 1 ], [ 'desk', 's2', $session->[2] ],
         [ 'lap', 's1', $session->[2] ])
    {
        is(set($a, $_, 'urn:a', 'b'), 'conflict', "cluster.md, 4: @$_");
        is(unset($a, $_, 'urn:a'), 'conflict', 'unset');
    }

    is_deeply($a->hash('private'), { b => 7, 'xurn:a' => 'a' }, 'unchanged');

    $a->remove();
    is($redis->command('EXISTS', $a->key('private')), 0,
       'remove: it goes, too');
    is(set($a, $session, 'urn:a', 'b'), 'conflict',
       'an account that was removed does not get one again');
    is($redis->command('EXISTS', $a->key('private')), 0, 'no trace');
}


# Of an address for the time being it ends with its sessions

{
    my ($a, $session) = fresh();

    set($a, $session, 'urn:a', 'a');
    is($redis->command('TTL', $a->key('private')), -1, 'of an account: never');

    $redis->command('EXPIRE', $a->key('sessions'), 1000);
    set($a, $session, 'urn:a', 'b');
    cmp_ok($redis->command('TTL', $a->key('private')), '>', 990,
           'else as long as they do');

    $redis->command('FCALL', 'xmpp1_bind', 4, (map { $a->key($_) }
        qw/ account sessions presence roster /), $a->channel(), @$session[0, 1],
        'boot0', $session->[2], '-', 32, $a->gone('desk'), 7200, '-');
    cmp_ok($redis->command('TTL', $a->key('private')), '>', 7190,
           'and they are renewed together');
}

$f->stop();

done_testing();
