#!/usr/bin/perl

# The tables of RFC 6121, appendix A, cell by cell, by the Functions of
# redis/41-subscription.lua alone: what a stanza makes of each state, whether
# it goes on, whom it is delivered to, what is answered, and what becomes of
# the request and of presence.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Test::XMPP::Functions;

plan(skip_all => 'for our own server only') if $ENV{XMPP_TARGET};

my $f = Test::XMPP::Functions->new();
my $redis = $f->redis();

# The nine states of A.1, and two with approval in advance (3.4), as letters

my %letters = (
    'None'       => 'l',   'None+PO' => 'lo',  'None+PI' => 'li',
    'None+PO+PI' => 'loi', 'To'      => 'lt',  'To+PI'   => 'lti',
    'From'       => 'lf',  'From+PO' => 'lfo', 'Both'    => 'ltf',
    'None+A'     => 'la',  'To+A'    => 'lta',
);

# type => state, yes or no (routed, or delivered), the state after it

my %out = (
    subscribe => [                                                  # A.2.1
        [ 'None', 'yes', 'None+PO' ],       [ 'None+PO', 'yes', 'None+PO' ],
        [ 'None+PI', 'yes', 'None+PO+PI' ],
        [ 'None+PO+PI', 'yes', 'None+PO+PI' ],
        [ 'To', 'yes', 'To' ],              [ 'To+PI', 'yes', 'To+PI' ],
        [ 'From', 'yes', 'From+PO' ],       [ 'From+PO', 'yes', 'From+PO' ],
        [ 'Both', 'yes', 'Both' ],
    ],
    unsubscribe => [                                                # A.2.2
        [ 'None', 'yes', 'None' ],          [ 'None+PO', 'yes', 'None' ],
        [ 'None+PI', 'yes', 'None+PI' ],
        [ 'None+PO+PI', 'yes', 'None+PI' ],
        [ 'To', 'yes', 'None' ],            [ 'To+PI', 'yes', 'None+PI' ],
        [ 'From', 'yes', 'From' ],          [ 'From+PO', 'yes', 'From' ],
        [ 'Both', 'yes', 'From' ],
    ],
    subscribed => [                                      # A.2.3 and 3.4.2
        [ 'None', 'no', 'None+A' ],         [ 'None+PI', 'yes', 'From' ],
        [ 'None+PO+PI', 'yes', 'From+PO' ], [ 'To', 'no', 'To+A' ],
        [ 'To+PI', 'yes', 'Both' ],         [ 'From', 'no', 'From' ],
        [ 'From+PO', 'no', 'From+PO' ],     [ 'Both', 'no', 'Both' ],
        [ 'None+A', 'no', 'None+A' ],
    ],
    unsubscribed => [                                    # A.2.4 and 3.4.2
        [ 'None', 'no', 'None' ],           [ 'None+PO', 'no', 'None+PO' ],
        [ 'None+PI', 'yes', 'None' ],       [ 'None+PO+PI', 'yes', 'None+PO' ],
        [ 'To', 'no', 'To' ],               [ 'To+PI', 'yes', 'To' ],
        [ 'From', 'yes', 'None' ],          [ 'From+PO', 'yes', 'None+PO' ],
        [ 'Both', 'yes', 'To' ],            [ 'None+A', 'no', 'None' ],
        [ 'To+A', 'no', 'To' ],
    ],
);

my %in = (
    subscribe => [                                                  # A.3.1
        [ 'None', 'yes', 'None+PI' ],       [ 'None+PO', 'yes', 'None+PO+PI' ],
        [ 'None+PI', 'no', 'None+PI' ],
        [ 'None+PO+PI', 'no', 'None+PO+PI' ],
        [ 'To', 'yes', 'To+PI' ],           [ 'To+PI', 'no', 'To+PI' ],
        [ 'From', 'answered', 'From' ],
        [ 'From+PO', 'answered', 'From+PO' ],
        [ 'Both', 'answered', 'Both' ],     [ 'None+A', 'answered', 'From' ],
        [ 'To+A', 'answered', 'Both' ],
    ],
    unsubscribe => [                                                # A.3.2
        [ 'None', 'no', 'None' ],           [ 'None+PO', 'no', 'None+PO' ],
        [ 'None+PI', 'yes', 'None' ],       [ 'None+PO+PI', 'yes', 'None+PO' ],
        [ 'To', 'no', 'To' ],               [ 'To+PI', 'yes', 'To' ],
        [ 'From', 'yes', 'None' ],          [ 'From+PO', 'yes', 'None+PO' ],
        [ 'Both', 'yes', 'To' ],
    ],
    subscribed => [                                                 # A.3.3
        [ 'None', 'no', 'None' ],           [ 'None+PO', 'yes', 'To' ],
        [ 'None+PI', 'no', 'None+PI' ],     [ 'None+PO+PI', 'yes', 'To+PI' ],
        [ 'To', 'no', 'To' ],               [ 'To+PI', 'no', 'To+PI' ],
        [ 'From', 'no', 'From' ],           [ 'From+PO', 'yes', 'Both' ],
        [ 'Both', 'no', 'Both' ],
    ],
    unsubscribed => [                                               # A.3.4
        [ 'None', 'no', 'None' ],           [ 'None+PO', 'yes', 'None' ],
        [ 'None+PI', 'no', 'None+PI' ],     [ 'None+PO+PI', 'yes', 'None+PI' ],
        [ 'To', 'yes', 'None' ],            [ 'To+PI', 'yes', 'None+PI' ],
        [ 'From', 'no', 'From' ],           [ 'From+PO', 'yes', 'From' ],
        [ 'Both', 'yes', 'From' ],
    ],
);

my $n = 0;

for my $type (sort keys %out) {
    cell('outbound', $type, @$_) for @{ $out{$type} };
}

for my $type (sort keys %in) {
    cell('inbound', $type, @$_) for @{ $in{$type} };
}


###############################################################################
# What is no item, and what is too much

{
    my $a = user();

    out($a, 'subscribed', 'x@y');
    is(state($a, 'x@y'), 'al', 'RFC 6121, 3.4.2: approved, and an item of it');

    $a = user();
    in($a, 'subscribe', 'x@y');
    is(state($a, 'x@y'), 'i', 'RFC 6121, 3.1.3: a request makes no item');
    is(scalar(@{ get($a) }), 4, 'which clients do not see');

    in($a, 'unsubscribe', 'x@y');
    is(state($a, 'x@y'), '', 'taken back: nothing is left');
    is_deeply($a->hash('requests'), {}, 'nor of the request');

    $redis->command('HSET', $a->key('roster'), 'ix@y', '1 i 0 ');
    $redis->command('HSET', $a->key('requests'), 'x@y', '<presence/>');
    is(call($a, 'roster_set', [ qw/ sessions roster / ], $a->channel(),
            'user@x', 'x@y', '', '', 9, 9999)->[0], 'ok', 'an item of it');
    is(state($a, 'x@y'), 'il', 'RFC 6121, 3.1.3: the request still waits');
    call($a, 'roster_remove', [ qw/ sessions roster / ], $a->channel(),
         'user@x', 'x@y');
    is(state($a, 'x@y'), 'i', 'removed: it still does');

    for my $state (qw/ lf to tfi /) {
        $redis->command('HSET', $a->key('roster'), 'is@y', "1 $state 0 ");
        is_deeply(call($a, 'roster_remove', [ qw/ sessions roster / ],
                       $a->channel(), 'user@x', 's@y'),
                  [ 'again', '0', '0', $state ],
                  "RFC 6121, 2.5.2: not removed, there is a subscription");
    }

    $redis->command('HDEL', $a->key('roster'), 'is@y');

    is(in($a, 'subscribe', 'z@y', 1)->[0], 'none',
       'one more request than may wait: as if nobody were there');
    is(state($a, 'z@y'), '', 'and nothing is kept');

    is(out($a, 'subscribe', 'z@y', 1)->[0], 'full', 'too many items');
    is(out($a, 'subscribe', 'z@y', 9, 5)->[0], 'full', 'too many bytes');
    is(state($a, 'z@y'), '', 'and nothing is kept');
    is(out($a, 'unsubscribe', 'x@y', 0, 0)->[0], 'ok',
       'what takes nothing is never too much');
}

{
    my $a = $f->account('nobody@x', 0);

    is_deeply(in($a, 'subscribe', 'x@y'), [ 'none' ],
              'RFC 6121, 3.1.3: no such account');
    is($redis->command('EXISTS', map { $a->key($_) }
                       qw/ roster requests sessions /), 0,
       'and no trace of it');
}


# A grant rings for those who are available

{
    my $a = user();
    my $bells = $a->listen();
    my $answer = call($a, 'grant', [ 'sessions' ], $a->channel(), 'contact@y');
    my ($bell) = $bells->rung();

    is_deeply([ $bell->{kind}, [ sort map { s/:.*//r } @{ $bell->{targets} } ],
                $bell->{body}, $bell->{number} ],
              [ 'p', [ qw/ s-both s-seen / ], 'contact@y', $answer->[1] ],
              'RFC 6121, 3.1.5: a grant rings for the available sessions');

    $a = $f->account('gone@x');
    $a->session('mute', 's1', '-');
    $bells = $a->listen();
    is_deeply(call($a, 'grant', [ 'sessions' ], $a->channel(), 'contact@y'),
              [ 'none', '0' ], 'and not when there is none');
    is(scalar $bells->rung(), 0, 'nothing rings');
}


# The count of bytes

{
    my $a = user();

    call($a, 'roster_set', [ qw/ sessions roster / ], $a->channel(), 'u@x',
         "$_\@y", " name='$_'", '<group>g</group>', 99, 99999)
        for 'a' .. 'f';
    out($a, $_, 'a@y') for qw/ subscribe unsubscribe subscribed /;
    in($a, 'subscribe', "$_\@z") for 'a' .. 'd';
    call($a, 'roster_remove', [ qw/ sessions roster / ], $a->channel(),
         'u@x', "$_\@y") for 'c' .. 'e';
    in($a, 'unsubscribe', 'b@z');

    my $roster = $a->hash('roster');
    my $size = 0;

    $size += length($_) + length $roster->{$_} for grep { /^i/ } keys %$roster;

    is($roster->{b}, $size, 'the count of bytes is right');
}


###############################################################################

# An account with a session that has the roster and is available, one that is
# available only, and one that has the roster only

sub user {
    my $a = $f->account('user' . ++$n . '@x');

    my %sessions = (both => [ 1, 'r' ], seen => [ 1, '-' ],
                    has => [ '-', 'r' ]);

    for my $name (sort keys %sessions) {
        my $epoch = $a->session($name, "s-$name", $sessions{$name}[0]);

        $a->flags($name, "s-$name", $epoch, $sessions{$name}[1]);
        $a->{epochs}{$name} = $epoch;
    }

    return $a;
}


sub call {
    my ($a, $name, $keys, @arguments) = @_;

    return $redis->command('FCALL', "xmpp1_$name", scalar @$keys,
                           (map { $a->key($_) } @$keys), @arguments);
}


sub get {
    my ($a) = @_;

    return call($a, 'roster_get', [ qw/ sessions roster / ], 'both', 's-both',
                $a->{epochs}{both}, 'user@x', '-');
}


sub out {
    my ($a, $type, $contact, $max_items, $max_size) = @_;

    return call($a, 'subscribe_out',
                [ qw/ sessions roster requests presence / ], $a->channel(),
                'user@x', $contact, $type, $max_items // 99,
                $max_size // 99999);
}


sub in {
    my ($a, $type, $contact, $max) = @_;

    return call($a, 'subscribe_in',
                [ qw/ account sessions roster requests presence / ],
                $a->channel(), 'user@x', $contact, $type,
                "<presence type='$type'/>", $max // 99);
}


# the letters of an entry, sorted

sub state {
    my ($a, $contact) = @_;
    my ($letters) = ($redis->command('HGET', $a->key('roster'), "i$contact")
                     // '') =~ /^\d+ (\S+)/;

    return join '', sort split //, $letters // '';
}


sub cell {
    my ($side, $type, $before, $yes, $after) = @_;
    my $name = "$side $type, $before";
    my $a = user();
    my $c = 'contact@y';

    $redis->command('HSET', $a->key('roster'), 'v', 1, "i$c",
                    "1 $letters{$before} 9  name='c'<group>g</group>");
    $redis->command('HSET', $a->key('requests'), $c, '<presence/>')
        if $before =~ /PI/;

    my $bells = $a->listen();
    my $answer = $side eq 'outbound' ? out($a, $type, $c) : in($a, $type, $c);
    my @rung = $bells->rung();

    $bells->close();

    is($answer->[0], 'ok', "$name: done");
    is(state($a, $c), join('', sort split //, $letters{$after}),
       "$name: $after");

    # 2.1.6: a push to those who have the roster, when clients see a change

    my %pushed = map { $_->{targets}[0] =~ s/:.*//r => 1 }
                 grep { $_->{body} =~ /^<iq / } @rung;
    my $visible = $letters{$before} =~ tr/i//dr ne $letters{$after} =~ tr/i//dr
                  || $before ne $after;

    is(join(' ', sort keys %pushed), $visible ? 's-both s-has' : '',
       "$name: pushed");

    # the request waits as long as the contact is pending in

    is(join(' ', keys %{ $a->hash('requests') }), $after =~ /PI/ ? $c : '',
       "$name: the request");

    # presence goes with "from"

    my ($was, $is) = map { $letters{$_} =~ /f/ ? 1 : 0 } $before, $after;
    my $tell = $answer->[4];
    my @told = @$answer[5 .. $#$answer];

    if ($side eq 'outbound') {
        is($answer->[3], $yes eq 'yes' ? 1 : 0, "$name: routed, $yes");
        is($tell, $was && !$is ? 'u' : !$was && $is ? 'p' : '-',
           "$name: presence");

    } else {
        my ($bell) = grep { $_->{body} =~ /^<presence/ } @rung;
        my @targets = map { s/:.*//r } @{ $bell ? $bell->{targets} : [] };
        my $wanted = $yes ne 'yes' ? '' : $type eq 'subscribe' ? 's-both s-seen'
                                                             : 's-both s-has';

        is(join(' ', sort @targets), $wanted, "$name: delivered, $yes");
        is($answer->[3], $yes eq 'answered' ? 'subscribed' : '-',
           "$name: answered");
        is($tell, $yes eq 'answered' ? 'p' : $was && !$is ? 'u' : '-',
           "$name: presence");
    }

    is(join(' ', sort @told), $tell eq 'u' ? 'both seen' : '',
       "$name: taken back, of the available sessions");
}


###############################################################################
# The roster of an address for the time being (SASL ANONYMOUS) ends with it:
# strangers leave nothing behind

for my $call ([ 'roster_set', 2, '', '', 10, 10_000 ],
              [ 'subscribe_out', 4, 'subscribe', 10, 10_000 ])
{
    my ($name, $n, @rest) = @$call;
    my $a = $f->account("anon-$name\@localhost", 0);
    my @keys = map { $a->key($_) } (qw/ sessions roster requests presence /)
                                   [ 0 .. $n - 1 ];
    my $ttl = sub { $redis->command('TTL', $a->key('roster')) };

    my @bind = ('desk', 's1', 'boot0');
    my $epoch = $a->_call('bind', @bind, 0, '-', 32, '<g/>', 7200, '-')->[2];

    is($redis->command('FCALL', "xmpp1_$name", $n, @keys, $a->channel(),
                       "anon-$name\@localhost", 'b@localhost', @rest)->[0],
       'ok', "$name: a user without an account");
    cmp_ok($ttl->(), '>', 7000, "$name: XEP-0175: the roster expires");

    $redis->command('EXPIRE', $a->key('roster'), 10);
    $a->_call('bind', @bind, $epoch, '-', 32, '<g/>', 7200, '-');
    cmp_ok($ttl->(), '>', 7000, "$name: later, while the session goes on");
}

{
    my $a = $f->account('stays@localhost');

    $a->session('desk', 's1', 0);
    $redis->command('FCALL', 'xmpp1_roster_set', 2,
                    $a->key('sessions'), $a->key('roster'), $a->channel(),
                    'stays@localhost', 'b@localhost', '', '', 10, 10_000);
    is($redis->command('TTL', $a->key('roster')), -1,
       'that of an account does not');
}

$f->stop();
done_testing();
