#!/usr/bin/perl

# The Functions of the inbox: what is kept, what is handed out, and the sum of
# its bytes.  XEP-0160; cluster.md, rules 2 and 17.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP::Functions;

my $f = Test::XMPP::Functions->new();
my $redis = $f->redis();
my $serial = 0;
my $bob = 'bob@localhost/b';


sub fresh {
    my $a = $f->account('u' . ++$serial . '@localhost', @_);

    $a->{keep} = '5 100';

    return $a;
}

sub keep {
    my ($a, $n, @stanzas) = @_;

    return $a->route_from($bob, 'w1.b', $n, 'c', '', @stanzas);
}

# what a page has, without ids, and the last id

sub page {
    my ($a, $sid, $epoch, $last, $bytes, $resource, $heard) = @_;

    my $page = $redis->command('FCALL', 'xmpp1_inbox', 2,
        (map { $a->key($_) } qw/ sessions inbox /),
        $resource // 'desk', $sid, $epoch, $last // '', $bytes // 1000,
        $heard // 9_000_000_000_000_000);

    return $page->[0] if $page->[0] ne 'ok';

    my %page = @$page[3 .. $#$page];

    return (join(' ', @page{ sort keys %page }), (sort keys %page)[-1] // '');
}

# says that these were taken, by their ids

sub taken {
    my ($a, @ids) = @_;

    return $redis->command('FCALL', 'xmpp1_taken', 2,
        (map { $a->key($_) } qw/ sessions inbox /),
        join ',', map { s/-(.*)/ $1 $1/r } @ids)->[0];
}

# the ids of the inbox, in order, and the entry of an id

sub ids { map { $_->[0] } @{ $redis->command('XRANGE', $_[0]->key('inbox'), '-',
                                              '+') } }

sub entry {
    my ($a, $id) = @_;
    my ($entry) = @{ $redis->command('XRANGE', $a->key('inbox'), $id, $id) };

    return { @{ $entry->[1] } };
}

# entries and bytes, as the sessions hash has them

sub size {
    return ($redis->command('HGET', $_[0]->key('sessions'), 'i') // '')
           =~ s/ \d+\z//r;
}

sub count { $redis->command('XLEN', $_[0]->key('inbox')) }

sub bytes { my ($n, @of) = @_; return "$n " . length(join '', @of) }


###############################################################################
# What is kept

{
    my $a = fresh();

    is_deeply(keep($a, 1, '<m1/>'), [ 'ok', '0' ], 'kept: nobody is there');
    is(count($a), 1, 'kept: an entry');
    is(size($a), bytes(1, "<m1/>$bob"), 'kept: its bytes');
    is_deeply(entry($a, ids($a)), { f => $bob, m => '<m1/>' }, 'kept: for all');

    is_deeply($a->route_again($bob, 'w1.b', 1, 'c', '', '<m1/>'), [ 'ok', '0' ],
              'cluster.md, 2: a repeat is answered as the first was');
    is(count($a), 1, 'cluster.md, 2: and kept once');

    is_deeply(keep($a, 2, '<m2/>', '<m3/>'), [ 'ok', '0' ], 'a batch');
    is(count($a), 3, 'an entry for each');

    is_deeply($a->route_from($bob, 'w1.b', 4, $_, '', '<m/>'), [ 'none', '0' ],
              "RFC 6121, 8.5.2.2: not kept: $_") for qw/ h g e p i /;
    is_deeply($a->route_from($bob, 'w1.b', 4, 'n', 'desk', '<m/>'),
              [ 'none', '0' ], 'RFC 6121, 8.5.3.2.1: nor to a full JID: n');
    is_deeply($a->route_from($bob, 'w1.b', 4, 'C', 'desk', '<m4/>'),
              [ 'ok', '0' ], 'RFC 6121, 8.5.3.2.1: chat to a full JID');

    is(keep($a, 5, '<m5/>', '<m6/>')->[0], 'full', 'too many: none of a batch');
    is(count($a), 4, 'nothing of it');
    is(keep($a, 5, '<m' . 'x' x 20 . '/>')->[0], 'full', 'too many bytes');
    is_deeply(keep($a, 5, '<m5/>'), [ 'ok', '0' ], 'one fits');
    is(keep($a, 6, '<m6/>')->[0], 'full', 'and no more');

    $a->{keep} = '';
    is_deeply(keep($a, 7, '<m7/>'), [ 'none', '0' ], 'not kept: not asked for');
}

{
    my $a = fresh();

    $a->session('phone', 's2', -1);
    is_deeply(keep($a, 2, '<m2/>'), [ 'ok', '0' ], 'kept: a negative priority');

    my $b = fresh();

    $redis->command('SADD', $b->key('blocked'), 'bob@localhost');
    is_deeply(keep($b, 1, '<m1/>'), [ 'none', '0' ],
              'XEP-0191, 3.3: not of one who is blocked');

    $redis->command('DEL', $a->key('account'), $a->key('sessions'),
                    $a->key('inbox'));
    is_deeply(keep($a, 3, '<m3/>'), [ 'none', '0' ], 'not kept: no account');
}

# for who is there, too, until one of them has taken it

{
    my $a = fresh();
    my $bells = $a->listen();

    $a->session($_, "s-$_", 0) for qw/ desk phone /;
    $bells->rung();

    my ($ok, $number) = @{ keep($a, 1, '<m1/>', '<m2/>') };
    my ($bell) = $bells->rung();

    is($ok, 'ok', 'somebody is there');
    is("$bell->{kind} $bell->{number}", "i $number", 'rung as what is kept');
    is(join(' ', ids($a)), "$number-0 $number-1",
       'under the number of its bell');
    is(join(',', sort split /,/, entry($a, "$number-1")->{t}),
       's-desk,s-phone', 'with its targets');
    is(size($a), bytes(2, "<m1/><m2/>$bob$bob"), 'and its bytes');

    is(taken($a, "$number-0"), 'ok', 'one was taken');
    is(join(' ', ids($a)), "$number-1", 'it goes');
    is(size($a), bytes(1, "<m2/>$bob"), 'with its bytes');
    is(taken($a, "$number-0", "$number-1"), 'ok', 'the other one, and again');
    is(count($a), 0, 'all is gone');
    is(size($a), '', 'and the count');

    ($ok, $number) = @{ keep($a, 10, '<x1/>', '<x2/>', '<x3/>') };
    taken($a, "$number-0", "$number-1", "$number-0");
    is(join(' ', ids($a)), "$number-2", 'two, of which one is named twice');
    is(size($a), bytes(1, "<x3/>$bob"), 'count once');
    taken($a, "$number-2");

    ($ok, $number) = @{ $a->route_from($bob, 'w1.b', 3, 'n', 'desk', '<m3/>') };
    is(entry($a, "$number-0")->{t}, '=s-desk', 'to a full JID');
    ($bell) = $bells->rung();
    is($bell->{kind}, 'i', 'rung');

    $a->route_from($bob, 'w1.b', 4, $_, $_ eq 'c' ? '' : 'desk', '<m4/>')
        for qw/ h g e p i /;
    is(join('', map { $_->{kind} } $bells->rung()), 'mmmmm',
       'of other kinds nothing is kept');

    $a->{keep} .= ' -';
    is($a->route_from($bob, 'w1.b', 5, 'c', '', '<m5/>')->[0], 'ok', 'none');
    is(($bells->rung())[0]{kind}, 'm', 'xmpp_durability none: nor messages');
    is(count($a), 1, 'that somebody is there for');
}

{
    my $a = fresh();

    $a->session('desk', 's1', 0);
    is_deeply(keep($a, 1, '<m1/>'), [ 'ok', '0' ],
              'cluster.md, 1: kept, so that it need not be heard now');
    is($a->route_again($bob, 'w1.b', 1, 'c', '', '<m1/>')->[0], 'ok', 'again');
    is(count($a), 1, 'cluster.md, 2: kept once');
    is($a->route_from($bob, 'w1.b', 2, 'h', '', '<h/>')->[0], 'busy',
       'else: busy');
}

# as much for those who are there as for those who are not

{
    my $a = fresh();
    my $bells = $a->listen();

    $a->{keep} = '2 1000';
    keep($a, $_, '<m/>') for 1 .. 2;
    is(keep($a, 3, '<m/>')->[0], 'full', 'no room for who is away');
    $a->session('desk', 's1', -1);
    is($a->route_from($bob, 'w1.b', $_, 'n', 'desk', '<m/>')->[0], 'ok',
       'room for who is there') for 3 .. 4;
    is($a->route_from($bob, 'w1.b', 5, 'n', 'desk', '<m/>')->[0], 'full',
       'but not without end');
}


###############################################################################
# What is handed out

{
    my $a = fresh();

    $a->{keep} = '100 10000';

    keep($a, $_, "<m$_/>") for 1 .. 3;

    my @ids = ids($a);
    my $epoch = $a->session('desk', 's1', 0);

    is_deeply([ page($a, 's2', $epoch) ], [ 'conflict' ], 'fenced: sid');
    is_deeply([ page($a, 's1', $epoch - 1) ], [ 'conflict' ], 'fenced: epoch');

    my ($page, $last) = page($a, 's1', $epoch);

    is($page, '<m1/> <m2/> <m3/>', 'a page, in order');
    is((page($a, 's1', $epoch))[0], $page, 'and again: nothing was taken');

    my ($short, $id) = page($a, 's1', $epoch, '', 10);

    is($short, '<m1/> <m2/>', 'so many bytes');
    is((page($a, 's1', $epoch, '', 1))[0], '<m1/>', 'one at least');
    is((page($a, 's1', $epoch, $id))[0], '<m3/>', 'the next page');
    is((page($a, 's1', $epoch, $last))[0], '', 'the end');
    is(count($a), 3, 'all is still there');

    taken($a, @ids[0, 1]);
    is((page($a, 's1', $epoch))[0], '<m3/>', 'but for what was taken');
    is(size($a), bytes(1, "<m3/>$bob"), 'and its bytes');
    taken($a, $ids[2]);
    is($redis->command('EXISTS', $a->key('inbox')), 0, 'no key is left');
    is(size($a), '', 'nor a count');
}

# thousands at once: more than Lua can hand to one command

{
    my $a = fresh();

    $a->{keep} = '10000 1000000';
    keep($a, 1, ('<m/>') x 9001);

    my ($first, $last) = (ids($a))[0, -2];

    is($redis->command('FCALL', 'xmpp1_taken', 2,
           (map { $a->key($_) } qw/ sessions inbox /),
           join ' ', $first =~ s/-/ /r, $last =~ s/.*-//r)->[0], 'ok',
       'thousands are taken');
    is(size($a), bytes(1, "<m/>$bob"), 'and go');
    is(count($a), 1, 'but the last');
}

# more than one step looks at, and nothing of it for this session

{
    my $a = fresh();
    my $bells = $a->listen();

    $a->{keep} = '100 10000';
    $a->session('phone', 's2', 0);
    $a->route_from($bob, 'w1.b', $_, 'c', 'phone', "<p$_/>") for 1 .. 70;

    my $epoch = $a->session('desk', 's1', 0);

    my ($page, $last) = page($a, 's1', $epoch);

    is($page, '', 'seventy for another one');
    is($last, (ids($a))[63], 'not all at once');
    is((page($a, 's1', $epoch, $last))[1], '', 'and that is all');
    keep($a, 71, '<m/>');
    is((page($a, 's1', $epoch))[1], $last, 'one behind them: not all at once');
    is((page($a, 's1', $epoch, $last))[0], '<m/>', 'and then it');
}


###############################################################################
# Acknowledged by whom: cluster.md, 9

{
    my $a = fresh();
    my $bells = $a->listen();

    $a->{keep} = '100 10000';

    my $phone = $a->session('phone', 's2', 0);

    $a->route_from($bob, 'w1.b', 1, 'c', '', '<bare/>');
    $a->route_from($bob, 'w1.b', 2, 'c', 'phone', '<full/>');

    my $desk = $a->session('desk', 's1', 0);

    is((page($a, 's1', $desk))[0], '<bare/>',
       'who comes later gets what was to the bare JID');
    is((page($a, 's2', $phone, '', 1000, 'phone'))[0], '<bare/> <full/>',
       'its targets get both, should they have missed the bell');

    my ($first) = map { s/-.*//r } ids($a);

    is((page($a, 's2', $phone, '', 1000, 'phone', $first))[0], '<bare/>',
       'cluster.md, 6: but not what a bell is to bring');
    is((page($a, 's1', $desk, '', 1000, 'desk', 1))[0], '<bare/>',
       'which has rung for others only');

    $a->presence('phone', 's2', $phone, -1, '<p/>');
    is((page($a, 's2', $phone, '', 1000, 'phone'))[0], '<bare/> <full/>',
       'with a negative priority, too');
    keep($a, 3, '<new/>');
    is((page($a, 's2', $phone, '', 1000, 'phone'))[0], '<bare/> <full/>',
       'RFC 6121, 8.5.2.1.1: but not what others got');

    $bells->rung();
    $a->leave('phone', 's2', $phone);

    my ($owed) = grep { $_->{kind} eq 'o' } $bells->rung();

    is_deeply($owed->{targets}, [ "s1:$desk" ],
              'when it ends, those who are there hear');
    is((page($a, 's1', $desk))[0], '<bare/> <full/> <new/>',
       'that what it has not taken is for them');

    taken($a, ids($a));
    $a->leave('desk', 's1', $desk);
    is(scalar(grep { $_->{kind} eq 'o' } $bells->rung()), 0,
       'with nothing owed nobody hears of it');
}

# of one whose contacts are being told

{
    my $a = fresh();
    my $bells = $a->listen();
    my $desk = $a->session('desk', 's1', 0);
    my $phone = $a->session('phone', 's2', 0);

    $a->item('bob@localhost', 'f');
    $a->ends('phone', 's2', $phone);
    is($a->route_from($bob, 'w1.b', 1, 'c', 'phone', '<full/>')->[0], 'ok',
       'to the full JID of one that goes');
    $bells->rung();
    $a->unbind('phone', 's2', $phone);
    is_deeply([ map { $_->{kind} } $bells->rung() ], [ 'o' ],
              'when it has gone, those who are there hear');
    is((page($a, 's1', $desk))[0], '<full/>', 'that it is for them');
}

# of one who is displaced

{
    my $a = fresh();
    my $bells = $a->listen();

    my $old = $a->session('desk', 's1', 0);
    my $phone = $a->session('phone', 's2', 0);

    $a->route_from($bob, 'w1.b', 1, 'c', 'desk', '<full/>');
    is((page($a, 's2', $phone, '', 1000, 'phone'))[0], '', 'not for the other');
    $bells->rung();

    my $new = $a->session('desk', 's3', 0);

    my ($owed) = grep { $_->{kind} eq 'o' } $bells->rung();

    is_deeply($owed->{targets}, [ "s2:$phone" ],
              'displaced: the other one hears');
    is((page($a, 's3', $new))[0], '<full/>', 'and so does the new one');
}

# a session that may get no messages any more, while pages are given to it

{
    my $a = fresh();

    $a->{keep} = '100 10000';

    keep($a, $_, "<m$_/>") for 1 .. 3;

    my $epoch = $a->session('desk', 's1', 0);
    my ($page, $id) = page($a, 's1', $epoch, '', 1);

    is($page, '<m1/>', 'the first page');

    for my $state (-1, '-') {
        $a->presence('desk', 's1', $epoch, $state, '<p/>');
        is((page($a, 's1', $epoch, $id))[0], '',
           "RFC 6121, 8.5.2.1.1: no more of them: $state");
    }

    is($a->presence_inbox('desk', 's1', $epoch, 0, '<p/>'), '1', 'told again');
    is((page($a, 's1', $epoch, $id))[0], '<m2/> <m3/>',
       'and the rest is given');
}

# an inbox that begins anew goes on upwards

{
    my $a = fresh();

    keep($a, 1, '<m1/>');
    my ($first) = @{ $redis->command('XRANGE', $a->key('inbox'), '-', '+') };
    my ($number) = $first->[0] =~ /^(\d+)/;

    $redis->command('XADD', $a->key('inbox'), ($number + 3_600_000_000) . '-0',
                    'f', '', 'm', '<later/>');
    $redis->command('HDEL', $a->key('sessions'), 'i');
    is_deeply(keep($a, 2, '<m2/>'), [ 'ok', '0' ],
              'cluster.md, 7: the clock has gone back');
    is(count($a), 3, 'kept behind the last one');
}

# an inbox that was lost is not full

{
    my $a = fresh();

    keep($a, $_, "<m$_/>") for 1 .. 5;
    is(keep($a, 6, '<m/>')->[0], 'full', 'full');
    $redis->command('DEL', $a->key('inbox'));
    is_deeply(keep($a, 6, '<m6/>'), [ 'ok', '0' ], 'lost: there is room');
    is(size($a), bytes(1, "<m6/>$bob"), 'and the count is right');
}

# whom the user has blocked since

{
    my $a = fresh();

    $a->{keep} = '100 10000';

    keep($a, $_, "<m$_/>") for 1 .. 40;
    $a->route_from('carol@localhost/c', 'w1.c', 1, 'c', '', '<c/>');
    $redis->command('SADD', $a->key('blocked'), 'bob@localhost');

    my $epoch = $a->session('desk', 's1', 0);
    my ($page, $last) = page($a, 's1', $epoch);

    is($page, '<c/>', 'XEP-0191, 3.3: none of who is blocked');
    is(count($a), 1, 'they are gone');
    is(size($a), bytes(1, '<c/>carol@localhost/c'), 'with their bytes');
}


###############################################################################
# presence tells that there is something

{
    my $a = fresh();
    my $told = sub {
        my ($sid, $epoch, $state) = @_;
        return $a->presence_inbox('desk', $sid, $epoch, $state, '<p/>');
    };

    my $epoch = $a->session('desk', 's1');

    is($told->('s1', $epoch, 0), '0', 'presence: nothing');
    $told->('s1', $epoch, '-');
    keep($a, 1, '<m1/>');
    is($told->('s1', $epoch, -1), '0', 'presence: not for a negative one');
    is($told->('s1', $epoch, 1), '1', 'presence: for one that is not');
    is($told->('s1', $epoch, 2), '0', 'presence: told once');
    is($told->('s1', $epoch, '-'), '0', 'presence: not when she goes');
    is($told->('s1', $epoch, 0), '1', 'presence: again when she is back');

    # so does the put-back of a record, when it was lost, or its end had begun

    my $back = sub { return [ @{ $a->bind('desk', 's1', epoch => $epoch,
                                          @_) }[3, 4] ] };

    is_deeply($back->(state => 0), [ '', '' ],
              'bind: bells may have been missed, told');
    $redis->command('HDEL', $a->key('sessions'), 'rdesk');
    is_deeply($back->(state => 0), [ '', '' ], 'bind: put back, told');
    $redis->command('DEL', $a->key('inbox'));
    is_deeply($back->(state => 0), [ undef, undef ], 'bind: nothing to tell');

    my $b = fresh();

    keep($b, 1, '<m1/>');
    $b->remove();
    is($redis->command('EXISTS', $b->key('inbox')), 0,
       'an account goes with its inbox');
}

done_testing();
