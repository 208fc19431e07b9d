#!/usr/bin/perl

# The Functions of redis/*.lua: vCards (XEP-0054).  Whose it is, and who gets
# it.

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
    my $a = $f->account('u' . ++$serial . '@localhost');

    return ($a, [ 'desk', 's1', $a->session('desk', 's1', 1) ]);
}

sub call {
    my ($a, $name, @arguments) = @_;

    return $redis->command('FCALL', "xmpp1_vcard$name", 2,
                           $a->key('sessions'), $a->key('vcard'), @arguments);
}

sub get { my ($a, $from) = @_; return call($a, '', $from) }

sub set {
    my ($a, $session, $vcard) = @_;

    return (defined $vcard ? call($a, '_set', @$session, $vcard)
                           : call($a, '_unset', @$session))->[0];
}


{
    my ($a, $session) = fresh();

    is(get($a, $_), undef, "there is none for '$_'") for '', 'bob@x/y';
    is(set($a, $session, $_), 'ok', "stored: $_") for '<a/>', '<b/>', '<b/>';
    is(get($a, $_), '<b/>', "the last one for '$_'") for '', 'bob@x/y';

    # XEP-0191, 5: whoever a block list fits, but not the user himself

    $redis->command('HSET', $a->key('sessions'), 'b', 1);

    for (['bob@x/y', 'bob@x/y'], ['bob@x', 'bob@x/y'], ['x', 'bob@x/y'],
         ['u1@localhost', 'u1@localhost/desk'])
    {
        my ($item, $from) = @$_;

        $redis->command('SADD', $a->key('blocked'), $item);
        is(get($a, $from), undef, "XEP-0191, 3.3: $item blocks $from");
        is(get($a, $_), '<b/>', "and not '$_'")
            for '', 'bob@y/x', 'bobby@z/y';
        $redis->command('DEL', $a->key('blocked'));
        is(get($a, $from), '<b/>', 'not any more');
    }

    # cluster.md, 4

    for ([ 'desk', 's1', $session->[2] + 1 ], [ 'desk', 's2', $session->[2] ],
         [ 'lap', 's1', $session->[2] ])
    {
        is(set($a, $_, '<c/>'), 'conflict', "cluster.md, 4: @$_");
        is(set($a, $_), 'conflict', 'unset');
    }

    is(get($a, ''), '<b/>', 'it is what it was');
    is(set($a, $session), 'ok', "gone: $_") for 1, 2;
    is(get($a, ''), undef, 'none again');
    is($redis->command('EXISTS', $a->key('vcard')), 0, 'nothing is left');

    set($a, $session, '<d/>');
    is($redis->command('TTL', $a->key('vcard')), -1, 'of an account: for ever');
    $a->remove();
    is($redis->command('EXISTS', $a->key('vcard')), 0, 'remove: it goes, too');
    is(set($a, $session, '<e/>'), 'conflict',
       'an account that was removed does not get one again');
    is(get($a, ''), undef, 'no trace');
}


# Of an address for the time being it ends with its sessions

{
    my ($a, $session) = fresh();

    $redis->command('EXPIRE', $a->key('sessions'), 1000);
    set($a, $session, '<a/>');
    cmp_ok($redis->command('TTL', $a->key('vcard')), '>', 990,
           'as long as they do');

    $redis->command('FCALL', 'xmpp1_bind', 4, (map { $a->key($_) }
        qw/ account sessions presence roster /), $a->channel(), @$session[0, 1],
        'boot0', $session->[2], '-', 32, $a->gone('desk'), 7200, '-');
    cmp_ok($redis->command('TTL', $a->key('vcard')), '>', 7190,
           'and they are renewed together');
}

$f->stop();

done_testing();
