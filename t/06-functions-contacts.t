#!/usr/bin/perl

# The Functions of redis/*.lua: presence to contacts.  Whom a session's
# presence concerns, what happens in a contact's slot, and that who has gone
# is told to contacts before it is forgotten: state g.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP::Functions;

my $f = Test::XMPP::Functions->new();
my $redis = $f->redis();

my $serial = 0;

# an item of each state of RFC 6121, appendix A.1, and one that came in only
my %states = (
    'none'                  => '-',
    'none, pending out'     => 'o',
    'none, pending in'      => 'i',
    'none, pending out, in' => 'oi',
    'to'                    => 't',
    'to, pending in'        => 'ti',
    'from'                  => 'f',
    'from, pending out'     => 'fo',
    'both'                  => 'tf',
    'approved'              => 'a',
);


sub fresh {
    my $account = $f->account('u' . ++$serial . '@localhost', @_);

    return ($account, $account->listen());
}


sub state_of {
    my ($account, $resource) = @_;

    return (split ' ', $account->record($resource) // '- - - none')[3];
}


sub lines { [ sort split /\n/, $_[0] ] }


# An account that the contact, bob, and others have subscribed to

sub known {
    my ($a, $bells) = fresh(@_);

    $a->item('bob@localhost', 'f');
    $a->item('carol@localhost', 't');
    $a->item('dora@localhost', 'tf');

    return ($a, $bells);
}


###############################################################################
# Whom it concerns

for my $name (sort keys %states) {
    my ($a) = fresh();
    my $state = $states{$name};
    my $tell = $state =~ /f/ ? "f" : '';
    my $both = $state =~ /f/ ? ($state =~ /t/ ? 'b' : 'f')
               : $state =~ /t/ ? 't' : '';

    $a->item('bob@localhost', $state, "<group>f t</group>");

    my $epoch = $a->bind('desk', 's1')->[2];

    is_deeply($a->presence('desk', 's1', $epoch, '-', '<u/>', 0),
              [ 'ok', '0', $epoch, '' ],
              "$name: RFC 6121, 4.5.2: who was not available tells nobody");
    is($a->presence('desk', 's1', $epoch, 1, '<p/>', 1)->[3],
       $both && $both . 'bob@localhost', "$name: RFC 6121, 4.2.2: initial");
    is($a->presence('desk', 's1', $epoch, 2, '<p/>', 0)->[3],
       $tell && $tell . 'bob@localhost', "$name: RFC 6121, 4.4.2: a change");
    is($a->presence('desk', 's1', $epoch, '-', '<p/>', 0)->[3],
       $tell && $tell . 'bob@localhost', "$name: RFC 6121, 4.5.2: gone");
    is(state_of($a, 'desk'), $tell ? 'g' : '-',
       "$name: state g when there is somebody to tell");
}

{
    my ($a) = known();

    $redis->command('HSET', $a->key('roster'), 'v', 5, 'd', 3);
    $redis->command('HSET', $a->key('requests'),
                    'eve@localhost', '<subscribe/>');

    my $epoch = $a->bind('desk', 's1')->[2];
    my (undef, undef, undef, $contacts, @more) =
        @{ $a->presence('desk', 's1', $epoch, 1, '<p/>', 1) };

    is_deeply(lines($contacts), [ qw/ bbob@localhost bdora@localhost
              fbob@localhost tcarol@localhost /[1 .. 3] ],
              'several contacts, and nothing else in the roster');
    is_deeply(\@more, [ '<subscribe/>' ],
              'RFC 6121, 3.1.3: requests are given to who becomes available');
    is(scalar @{ $a->presence('desk', 's1', $epoch, 2, '<p/>', 0) }, 4,
       'RFC 6121, 3.1.3: once');
}


###############################################################################
# In the contact's slot

for my $name (sort keys %states) {
    my ($a, $bells) = fresh();
    my $state = $states{$name};
    my $may = $state =~ /f/;

    $a->item('bob@localhost', $state);

    my $desk = $a->session('desk', 's1', 1);

    $a->session('mute', 's2', '-');
    $bells->rung();

    my $p = "<presence from='$a->{tag}/desk'/>";
    my $kept = $a->kept();

    is_deeply($a->contact('bob@localhost', 't'),
              [ 'ok', '0', $may ? $p : () ],
              "$name: RFC 6121, 4.3.2: asked by the server");
    is_deeply($a->contact('bob@localhost', 'p'),
              $may ? [ 'ok', '0', $p ] : [ 'none', '0' ],
              "$name: RFC 6121, 4.3.2: asked by a client");
    is_deeply($a->contact('bob@localhost', 'p', '', 'none'),
              $may ? [ 'gone', '0' ] : [ 'none', '0' ],
              "$name: RFC 6121, 4.3.2: asked for another resource");
    is_deeply($a->contact('dora@localhost', 'p'), [ 'none', '0' ],
              "$name: a stranger");
    is(scalar $bells->rung(), 0, "$name: asking rings nothing");
    is_deeply($a->kept(), $kept, "$name: and writes nothing");

    my $answer = $a->contact('bob@localhost', 'b', '<hello/>');
    my @rung = $bells->rung();

    is_deeply([ map { @$_{qw/ kind targets body number /} } @rung ],
              $state =~ /t/ ? [ 'm', [ "s1:$desk" ], '<hello/>', $answer->[1] ]
                            : [],
              "$name: RFC 6121, 4.2.3: those who are available are told, if"
              . ' there is a subscription');
    is_deeply([ @$answer[2 .. $#$answer] ], [ $may ? $p : () ],
              "$name: and answer if the user may know");

    # an end may be of what was told before a subscription ended

    for my $gone ("<presence type='unavailable' from='b'/>",
                  "<presence a='x' type='unavailable'>y</presence>")
    {
        $a->contact('bob@localhost', 'f', $gone);
        is_deeply([ map { $_->{body} } $bells->rung() ], [ $gone ],
                  "$name: RFC 6121, 4.5.3: an end is always told");
    }

    next if $state =~ /t/;

    for my $odd ("<presence id='type='><x type='unavailable'/></presence>",
                 "<presence> type='unavailable'</presence>",
                 "<presence utype='unavailable'/>")
    {
        $a->contact('dora@localhost', 'f', $odd);
        is(scalar $bells->rung(), 0, "$name: what is no end: $odd");
    }
}

{
    my ($a, $bells) = known();

    $a->session('mute', 's2', '-');
    is_deeply($a->contact('bob@localhost', $_, '<p/>'), [ 'ok', '0' ],
              "nobody is available: $_") for qw/ f t b /;
    is_deeply($a->contact('bob@localhost', 'p'), [ 'gone', '0' ],
              'RFC 6121, 4.3.2: nobody is available, asked by a client');
    is_deeply($a->contact('', 'p'), [ 'gone', '0' ], 'the same by himself');
    is(scalar $bells->rung(), 0, 'and nothing rings');

    my $epoch = $a->session('desk', 's1', 1);

    $a->session('negative', 's3', -1);
    is(@{ $a->contact('', 'p') }, 4, 'a user sees his own resources');
    is_deeply($a->contact('bob@localhost', 'p', '', 'desk'),
              [ 'ok', '0', "<presence from='$a->{tag}/desk'/>" ],
              'RFC 6121, 4.3.2: asked for a resource');
    $bells->rung();
    $a->contact('dora@localhost', 'f', '<p/>');
    is(@{ ($bells->rung())[0]{targets} }, 2,
       'RFC 6121, 4.2.3: also those of negative priority');

    # one that has gone is not there any more, whether contacts heard it or not

    $a->ends('desk', 's1', $epoch);
    is(@{ $a->contact('dora@localhost', 'b', '<p/>') }, 3,
       'state g: no presence to who asks');
    is_deeply((map { $_->{targets} } ($bells->rung())[1]),
              [ 's3:' . (split ' ', $a->record('negative'))[0] ],
              'state g: nothing rings for it');
}

{
    my ($a, $bells) = fresh(0);

    is_deeply($a->contact('bob@localhost', $_, '<p/>'), [ 'ok', '0' ],
              "no such account: $_") for qw/ f t b /;
    is_deeply($a->contact('bob@localhost', 'p'), [ 'none', '0' ],
              'no such account: nothing is said');
    is_deeply($a->kept(), { account => {}, sessions => {}, presence => {} },
              'no such account: nothing is written');
}

# what is in a stanza or a name changes nothing

for my $name (sort keys %Test::XMPP::Functions::ODD) {
    my $odd = $Test::XMPP::Functions::ODD{$name};
    my ($a, $bells) = known();

    $a->session('desk', 's1', 1);
    $bells->rung();
    $a->contact('dora@localhost', 'f', $odd);
    is(($bells->rung())[0]{body}, $odd, "$name: rung as it is");
    is_deeply($a->contact($odd, 'p'), [ 'none', '0' ], "$name: a stranger")
        unless $odd eq '';
    is($a->session($odd, 's2', 1) && $a->ends($odd, 's2', 0)->[0], 'ok',
       "$name: a resource ends");
    is(state_of($a, $odd), 'g', "$name: and is g");
    is_deeply($a->unbind($odd, 's2', $a->ends($odd, 's2', 0)->[2]), [ 'ok' ],
              "$name: until contacts heard it");
    ok(!defined $a->record($odd), "$name: then it is gone");
}


###############################################################################
# The end

{
    my ($a, $bells) = known();
    my $e1 = $a->session('desk', 's1', 1);
    my $e2 = $a->session('phone', 's2', 1);

    $bells->rung();

    my ($ok, $number, $epoch, $contacts) = @{ $a->ends('desk', 's1', $e1) };
    my @rung = $bells->rung();

    is_deeply([ $ok, lines($contacts), $epoch ],
              [ 'ok', [ qw/ fbob@localhost fdora@localhost / ], $e1 ],
              'RFC 6121, 4.5.2: the end says whom to tell');
    is(state_of($a, 'desk'), 'g', 'the end: state g until they were told');
    ok(!exists $a->hash('presence')->{rdesk}, 'the end: no presence');
    is_deeply([ map { @$_{qw/ number targets body /} } @rung ],
              [ $number, [ "s2:$e2" ], $a->gone('desk') ],
              'RFC 6121, 4.5.2: the user\'s other resources are told');

    my $kept = $a->kept();

    is_deeply([ lines($a->ends('desk', 's1', $e1)->[3]),
                lines($a->ends('desk', 's1', 0)->[3]) ],
              [ ([ qw/ fbob@localhost fdora@localhost / ]) x 2 ],
              'the end: a repeat says it again');
    is_deeply($a->kept(), $kept, 'the end: a repeat changes nothing');
    is(scalar $bells->rung(), 0, 'the end: and rings nothing');

    for my $step (qw/ ends told unbind /) {
        is_deeply($a->$step(@$_), [ 'conflict' ], "$step: fenced: @$_")
            for [ 'desk', 's2', $e1 ], [ 'desk', 's1', $e2 ],
                [ 'none', 's1', $e1 ];
    }

    is_deeply($a->kept(), $kept, 'fenced: nothing changes');
    is($a->presence('desk', 's1', $e1, '-', '<u/>', 0)->[3],
              $a->ends('desk', 's1', 0)->[3],
              'presence: unavailable, and contacts have not heard of before');
    $bells->rung();

    is_deeply($a->unbind('desk', 's1', $e1), [ 'ok' ], 'unbind');
    ok(!defined $a->record('desk'), 'unbind: the record is gone');
    is(scalar $bells->rung(), 0, 'unbind: rings nothing');
    is_deeply($a->unbind('desk', 's1', $e1), [ 'conflict' ],
              'unbind: a repeat has nothing to do');
    is_deeply($a->ends('desk', 's1', $e1), [ 'conflict' ],
              'the end: a late repeat has nothing to do');

    # who was not available has nobody to tell

    my $e3 = $a->session('mute', 's3', '-');

    is_deeply($a->ends('mute', 's3', $e3), [ 'ok', '0', $e3, '' ],
              'the end of who was not available');
    ok(!defined $a->record('mute'), 'is one step');

    $a->leave('phone', 's2', $e2);
    is_deeply($a->hash('sessions'), {}, 'the last one leaves nothing behind');
}

# unavailable, and goes on

{
    my ($a, $bells) = known();
    my $epoch = $a->session('desk', 's1', 1);

    $a->presence('desk', 's1', $epoch, '-', '<u/>', 0);
    is(state_of($a, 'desk'), 'g', 'unavailable: contacts have not heard it');
    is_deeply($a->told('desk', 's1', $epoch), [ 'ok' ], 'told');
    is(state_of($a, 'desk'), '-', 'told: now they have');
    is($a->presence('desk', 's1', $epoch, '-', '<u/>', 0)->[3], '',
       'RFC 6121, 4.5.2: nobody is told again');

    $a->presence('desk', 's1', $epoch, 4, '<p/>', 1);
    is_deeply($a->told('desk', 's1', $epoch), [ 'ok' ], 'told, late');
    is(state_of($a, 'desk'), '4', 'told: who is available again stays so');

    # a record that is lost meanwhile comes back as the worker knows it

    $a->presence('desk', 's1', $epoch, '-', '<u/>', 0);
    $a->bind('desk', 's1', epoch => $epoch, state => '-');
    is(state_of($a, 'desk'), 'g', 'put back: what is there is newer');
}


###############################################################################
# Who takes another's resource tells contacts: cluster.md, 4

{
    my ($a, $bells) = known();
    my $e1 = $a->session('desk', 's1', 1);

    $bells->rung();

    my $answer = $a->bind('desk', 's2');
    my $e2 = $answer->[2];

    is_deeply([ @$answer[3 .. $#$answer] ], [ 'desk', 's2' ],
              'conflict: the winner is to tell contacts');
    is(state_of($a, 'desk'), 'g', 'conflict: its record says so');
    is(scalar @{ $a->presence('desk', 's1', $e1, '-', '<u/>', 0) }, 1,
       'cluster.md, 4: the loser tells nobody');
    is_deeply($a->ends('desk', 's1', $e1), [ 'conflict' ],
              'cluster.md, 4: nor at its end');
    is_deeply($a->bind('desk', 's2'), [ 'ok', $answer->[1], $e2, 'desk',
              's2' ], 'conflict: a repeat says it again');
    is_deeply(lines($a->ends('desk', 's2', $e2, 1)->[3]),
              [ qw/ fbob@localhost fdora@localhost / ],
              'conflict: whom to tell');
    is(state_of($a, 'desk'), 'g', 'conflict: the winner stays');
    is_deeply($a->told('desk', 's2', $e2), [ 'ok' ], 'conflict: told');
    is($a->record('desk'), "$e2 s2 boot0 - -", 'conflict: the winner is there');
    is_deeply($a->ends('desk', 's2', $e2, 1), [ 'ok', '0', $e2, '' ],
              'conflict: nobody is told again');
    is_deeply($a->bind('desk', 's3'), [ 'ok', $a->hash('sessions')->{n},
              $a->hash('sessions')->{e} ],
              'conflict: who was not available is not told of');

    # the winner's worker dies before it told: its end does

    my $e4;

    $a->session('desk', 's4', 1);
    $e4 = $a->bind('desk', 's5')->[2];
    is_deeply(lines($a->ends('desk', 's5', $e4)->[3]),
              [ qw/ fbob@localhost fdora@localhost / ],
              'conflict: a winner that died tells at its end');

    # and so does whoever takes the resource from it

    my $e6 = $a->bind('desk', 's6');
    is_deeply([ @$e6[3, 4] ], [ 'desk', 's6' ],
              'conflict: from state g: the next winner does');
}

# whose resource was taken, with nobody to tell

{
    my ($a) = fresh();

    $a->session('desk', 's1', 1);
    is(@{ $a->bind('desk', 's2') }, 3, 'conflict: without contacts');
    is(state_of($a, 'desk'), '-', 'conflict: without contacts: no state g');
}

# who gives way since there are too many

{
    my ($a) = known();
    my %epoch = map { $_ => $a->session("r$_", "s$_", 1) } 1 .. 3;
    my $answer = $a->bind('r4', 's4', max => 3);
    my $e4 = $answer->[2];

    is_deeply([ @$answer[3 .. $#$answer] ], [ 'r1', 's1' ],
              'xmpp_max_sessions: contacts are to be told of the oldest');
    is($a->record('r1'), "$e4 s1 boot0 g -",
       'xmpp_max_sessions: its record says so, and fences it');
    is_deeply($a->ends('r1', 's1', $epoch{1}), [ 'conflict' ],
              'xmpp_max_sessions: it tells nobody itself');
    is($a->bind('r1', 's1', epoch => $epoch{1}, max => 3)->[0], 'conflict',
       'xmpp_max_sessions: nor comes back');
    is_deeply([ @{ $a->bind('r4', 's4', max => 3) }[3 .. 4] ], [ 'r1', 's1' ],
              'xmpp_max_sessions: a repeat says it again');
    is($a->bind('r2', 's2', epoch => $epoch{2}, max => 3)->[0], 'ok',
       'xmpp_max_sessions: the others stay');

    # what has only to be told does not keep out who is there

    $redis->command('HDEL', $a->key('sessions'), 'rr2');
    is($a->bind('r2', 's2', epoch => $epoch{2}, state => 1, max => 3)->[0],
       'ok', 'xmpp_max_sessions: and are put back');

    my @more = @{ $a->bind('r5', 's5', max => 3) };

    is_deeply([ sort @more[3 .. $#more] ], [ qw/ r1 r2 s1 s2 / ],
       'xmpp_max_sessions: what was not told yet gives way first');
    is_deeply(lines($a->ends('r1', 's1', $more[2])->[3]),
              [ qw/ fbob@localhost fdora@localhost / ],
              'xmpp_max_sessions: whom to tell');
    $a->unbind('r1', 's1', $more[2]);
    ok(!defined $a->record('r1'), 'xmpp_max_sessions: then it is gone');
}

# full: who has gone is told all the same

{
    my ($a, $bells) = known();
    my $epoch = $a->session('desk', 's1', 1);

    $a->session('phone', 's2', 1);
    $redis->command('CONFIG', 'SET', 'maxmemory', 1);
    $bells->rung();
    is($a->contact('dora@localhost', 'f', '<u/>')->[0], 'ok',
       'cluster.md, 17: a full Redis rings');
    is($a->ends('desk', 's1', $epoch)->[0], 'ok', 'cluster.md, 17: gone');
    is($a->unbind('desk', 's1', $epoch)->[0], 'ok', 'cluster.md, 17: unbind');
    $redis->command('CONFIG', 'SET', 'maxmemory', 0);
    is(scalar $bells->rung(), 2, 'cluster.md, 17: both were rung');
}

# may not publish: nothing is done

{
    my ($a, $bells) = known();
    my $epoch = $a->session('desk', 's1', 1);

    $a->session('phone', 's2', 1);

    my $kept = $a->kept();

    $redis->command('ACL', 'SETUSER', 'default', 'resetchannels');
    like(eval { $a->contact('dora@localhost', 'f', '<p/>') ; '' } // $@,
         qr/NOPERM/, 'may not publish: told by an error');
    eval { $a->ends('desk', 's1', $epoch) };
    is_deeply($a->kept(), $kept, 'may not publish: nothing is written');
    $redis->command('ACL', 'SETUSER', 'default', 'allchannels');
}

done_testing();
