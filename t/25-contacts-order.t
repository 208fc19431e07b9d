#!/usr/bin/perl

# Presence to contacts when answers and bells of Redis are out of step, late or
# lost: what is newer comes last (RFC 6120, 10.1; docs/internals/decisions/
# 15-contacts.md), who has gone is told, and who is back stays.  Nothing is kept
# of who is there, so that messages go both ways, with Redis and without.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/traffic";

use Test::More;
use Test::XMPP;
use Test::XMPP::Lanes;
use Test::XMPP::Process;
use Test::XMPP::Roster;
use Traffic;

*await = \&Test::XMPP::Process::await;

# one worker each: who is on a host is in its worker

my $t = Test::XMPP->new(hosts => 0, workers => 1,
                        users => [ qw/ alice bob carol dave / ]);

$t->only_ours('needs our Redis connections');
$t->config(Traffic::config('xmpp_redis unix:%%TESTDIR%%/%%NAME%%.sock;
                            xmpp_heartbeat 1h;
                            xmpp_redis_timeout 2s; xmpp_durability none;
                            xmpp_archive off;
                            xmpp_output_queue 256k;'));
$t->run();

my $redis = $t->redis();
my @lanes;

for my $host (0, 1) {
    push @lanes, Test::XMPP::Lanes->new($t->testdir() . "/host$host.sock",
                                        $redis->socket());
    $t->start_host();
}

my $domain = $t->domain();
my $sessions = "xmpp:{alice\@$domain}:sessions";

befriend($t, 'alice', 'bob', 'both');
befriend($t, 'alice', 'carol', 'both');

my $bob = $t->online('bob', on => 1, resource => 'b');
my $carol = $t->online('carol', on => 0, resource => 'c');      # alice's worker
my $dave = $t->online('dave', on => 1, resource => 'd');

sub calls {
    my ($n) = $redis->command('INFO', 'commandstats')
              =~ /^cmdstat_fcall:calls=(\d+)/m;

    return $n // 0;
}

# waits until so many more have run than $from

sub ran {
    my ($from, $n) = @_;

    await(sub { calls() - $from >= $n }) or die "it did not run\n";
}

# waits until all contacts were told, and asked; their answers are held

sub asked {
    my ($alice) = @_;

    await(sub { record() =~ / 0 \S+$/ }) or die "it did not run\n";
    $lanes[0]->turn('command');
    $_->pick('presence', from => $alice->jid(), type => undef)
        for $bob, $carol;
}

sub record { $redis->command('HGET', $sessions, 'r' . ($_[0] // 'a')) // '' }

sub stalls { scalar(() = $t->read_log() =~ /command connection got no/g) }

sub gone { await(sub { record() eq '' }, 15) }

# a new one, and nothing unread

sub alice {
    my ($on) = @_;
    my $alice = $t->online('alice', on => $on // 0, resource => 'a');

    $t->settle($alice, $bob, $carol);

    return $alice;
}

# The types of presence that come from a JID, in order, up to a mark.  That goes
# to the bare JID, by Redis: within a worker it could overtake.

sub types {
    my ($client, $jid) = @_;
    my $mark = 'mark-' . $dave->id();
    my @types;

    $dave->message($client->bare(), $mark, type => 'headline');
    $client->pick('message', body => $mark) or die "no mark\n";

    return map { $_->attr('type') // $_->find('c:show') || 'here' }
           grep { $_->is('presence') && $_->attr('from') eq $jid }
           $client->drain();
}


###############################################################################
# What rings is newer than the answers, which come later

{
    my $alice = $t->client('alice', on => 0, resource => 'a')->login();

    $alice->sync();
    $lanes[0]->mute('command');

    $alice->presence();
    asked($alice);

    # the answers have the presence before this one

    $bob->presence(show => 'dnd');
    $bob->sync();
    $dave->message($alice->jid(), 'behind it', type => 'chat');
    $carol->message($alice->jid(), 'in the same worker', type => 'chat');
    $carol->sync();

    $lanes[0]->release('command');
    $alice->pick('message', body => 'behind it');
    ok($alice->sync(), 'the answers come');

    my @all = $alice->drain();
    my @bob = map { $_->find('c:show') || 'here' }
              grep { $_->is('presence') && $_->attr('from') eq $bob->jid() }
              @all;

    is("@bob", 'here dnd', 'what rang meanwhile comes behind the answers');
    is(scalar(grep { ($_->body() // '') eq 'in the same worker' } @all), 1,
       'and so does what needs no Redis');
    $bob->presence();
    $alice->close();
    gone();
    $_->sync(), $_->drain() for $bob, $carol;
}


# ... also when something else that it waits for is answered in between

{
    my $alice = alice();
    my $other = $t->client('alice', on => 1, resource => 'other')->login();
    my $item = "<item jid='" . $bob->bare() . "'/>";

    $other->query('set', undef, "<block xmlns='urn:xmpp:blocking'>$item"
                                . '</block>');
    $bob->pick('presence', from => $alice->jid(), type => 'unavailable');
    $alice->sync();
    $lanes[0]->mute('command');

    my $from = calls();

    $other->query('set', undef, "<unblock xmlns='urn:xmpp:blocking'>$item"
                                . '</unblock>');

    # for both of her sessions it was asked who is concerned

    ran($from, 3);
    await(sub { $lanes[0]->held('command') }) or die "nothing lies there\n";

    my $held = $lanes[0]->held('command');

    $alice->send("<iq type='get' id='roster'>"
                 . "<query xmlns='jabber:iq:roster'/></iq>");
    ran($from, 4);
    await(sub { $lanes[0]->held('command') > $held }) or die "no more\n";
    $lanes[0]->turn('command');
    $bob->pick('presence', from => $alice->jid(), type => undef)
        or die "bob is not told\n";

    $bob->presence(show => 'dnd');
    $bob->sync();
    $dave->message($alice->jid(), 'behind it', type => 'chat');
    ok($alice->pick('iq', id => 'roster'), 'the roster comes meanwhile');

    $lanes[0]->release('command');
    $alice->pick('message', body => 'behind it');
    $alice->sync();

    is(join(' ', map { $_->find('c:show') || 'here' }
                 grep { $_->is('presence')
                        && $_->attr('from') eq $bob->jid() } $alice->drain()),
       'here dnd', 'XEP-0191, 3.4: what rang meanwhile comes behind presence');

    $bob->presence();
    $_->close() for $other, $alice;
    gone();
    await(sub { !record('other') });
    $_->sync(), $_->drain() for $bob, $carol;
}


# ... also before what needs no Redis, as long as it waits itself

{
    my $alice = alice();

    # a bell that comes while alice waits for the answer to a probe

    $lanes[0]->hold('subscriber');
    $carol->message($alice->bare(), 'first', type => 'chat');
    $carol->sync();
    $lanes[0]->mute('command');

    my $from = calls();

    $alice->presence(type => 'probe', to => $bob->bare());
    ran($from, 1);
    $lanes[0]->release('subscriber');
    $dave->message($carol->jid(), 'it has come', type => 'headline');
    $carol->pick('message', body => 'it has come');
    $carol->message($alice->jid(), 'second', type => 'chat');
    $carol->sync();
    $lanes[0]->release('command');
    $alice->sync();
    is(join(' ', map { $_->body() // 'presence' } $alice->drain()),
       'presence first second',
       'RFC 6120, 10.1: the shortcut does not overtake what is held back');
    $alice->close();
    gone();
    $_->sync(), $_->drain() for $bob, $carol;
}


# Nor does it wait for ever

{
    my $alice = $t->client('alice', on => 0, resource => 'a')->login();

    $alice->sync();
    $lanes[0]->mute('command');

    $alice->presence();
    asked($alice);
    $dave->message($alice->jid(), 'late', type => 'chat');
    ok($alice->pick('message', body => 'late', timeout => 10),
       'xmpp_redis_timeout: what rings does not wait for ever');
    $lanes[0]->release('command');
    ok($alice->sync(), 'xmpp_redis_timeout: the client goes on');
    ok($t->await_log(qr/has not got the presence of all contacts/),
       'xmpp_redis_timeout: a line in the log');
    $alice->close();
    ok(gone(), 'xmpp_redis_timeout: and ends as it should');
    $_->sync(), $_->drain() for $bob, $carol;
}


# Nor for more than a client that does not read may have waiting

{
    my $late = () = $t->read_log() =~ /has not got the presence/g;
    my $alice = $t->client('alice', on => 0, resource => 'a')->login();

    $alice->sync();
    $lanes[0]->mute('command');

    $alice->presence();
    asked($alice);
    $dave->message($alice->jid(), "$_ " . 'x' x 30_000, type => 'headline')
        for 1 .. 9;
    ok($alice->pick('message', body => qr/^9 /), 'xmpp_output_queue: what '
       . 'is held back is not more');
    is(scalar(() = $t->read_log() =~ /has not got the presence/g), $late,
       'xmpp_output_queue: and did not wait for the time to be over');
    $lanes[0]->release('command');
    $alice->sync();
    $alice->close();
    gone();
    $_->sync(), $_->drain() for $bob, $carol;
}


# Answers that never come: what is missing is missing, and nothing else

{
    my $re = qr/xmpp could not tell all contacts .* 2 of them/;
    my $before = () = $t->read_log() =~ /$re/g;
    my $alice = $t->client('alice', on => 0, resource => 'a')->login();

    $alice->sync();
    $lanes[0]->mute('command');

    my $from = calls();

    $alice->presence(show => 'away');
    ran($from, 1);
    $lanes[0]->turn('command');
    ran($from, 3);
    $carol->expect('presence', from => $alice->jid());
    ok(await(sub { $before < scalar(() = $t->read_log() =~ /$re/g) }),
       'answers are lost: a line in the log');
    $lanes[0]->release('command');
    ok($alice->sync(), 'answers are lost: the client goes on');
    is(scalar(grep { $_->is('presence') && $_->attr('from') ne $alice->jid() }
                   $alice->drain()), 0,
       'answers are lost: so is what was in them');

    # the next one reaches all

    $_->drain() for $bob, $carol;
    $alice->presence(show => 'xa');
    ok($_->pick('presence', from => $alice->jid(), xpath => 'c:show = "xa"'),
       'answers are lost: the next presence is told: ' . $_->jid())
        for $bob, $carol;
    $alice->close();
    ok(gone(), 'answers are lost: and ends as it should');
    $_->sync(), $_->drain() for $bob, $carol;
}


###############################################################################
# Nothing that a client sends overtakes its presence

{
    my $alice = alice();

    $lanes[0]->delay('subscriber', 200);

    for my $type (undef, 'unavailable', undef) {
        $alice->presence(type => $type);
        $alice->message($carol->jid(), 'behind', type => 'chat');

        my @order;

        while (@order < 2) {
            my $stanza = $carol->recv_stanza() or last;
            push @order, $stanza->name() if $stanza->attr('from')
                                            eq $alice->jid();
        }

        is("@order", 'presence message', 'RFC 6120, 10.1: a message behind '
           . ($type // 'available') . ' presence to a contact');
    }

    $lanes[0]->delay('subscriber', 0);
    $alice->close();
    gone();
    $_->sync(), $_->drain() for $bob, $carol;
}


###############################################################################
# The end, and Redis goes in between

{
    my $alice = alice();
    my $jid = $alice->jid();

    $lanes[0]->mute('command');

    my $from = calls();

    $alice->drop();
    ran($from, 1);
    like(record(), qr/ g \S+$/, 'the first step is lost: the record says so');
    $lanes[0]->cut('command');
    $lanes[0]->release('command');
    ok(gone(), 'the first step is lost: it ends all the same');
    is(join(' ', types($bob, $jid)), 'unavailable',
       'the first step is lost: contacts were told');
}

{
    my $alice = alice();
    my $jid = $alice->jid();

    $lanes[0]->mute('command');

    my $from = calls();

    $alice->drop();
    ran($from, 1);
    $lanes[0]->turn('command');
    ran($from, 4);
    $lanes[0]->cut('command');
    $lanes[0]->release('command');
    ok(gone(), 'the second step is lost: it has ended');
    $carol->sync();             # behind what is repeated

    my @types = types($bob, $jid);

    ok(@types && !grep({ $_ ne 'unavailable' } @types),
       'the second step is lost: contacts were told, perhaps twice');
}

{
    my $alice = alice();
    my $jid = $alice->jid();

    $lanes[0]->mute('command');

    my $from = calls();

    $alice->drop();
    ran($from, 1);
    $lanes[0]->hold('command');
    $lanes[0]->turn('command');
    ok(await(sub { $lanes[0]->held('command') }),
       'what tells contacts is lost: it was sent');
    $lanes[0]->cut('command');
    $lanes[0]->release('command');
    ok(gone(), 'what tells contacts is lost: it ends all the same');
    is(join(' ', types($bob, $jid)), 'unavailable',
       'what tells contacts is lost: they were told');
}

# Redis stands still for longer than requests wait

{
    my $alice = alice();
    my $jid = $alice->jid();

    my $stalls = stalls();

    $lanes[0]->hold('command');
    $alice->drop();
    ok(await(sub { stalls() > $stalls }, 10),
       'Redis stands still: what waits has failed');
    $lanes[0]->release('command');
    ok(gone(), 'Redis stands still: the end is begun again');
    is((types($bob, $jid))[-1], 'unavailable',
       'Redis stands still: contacts were told');
}


###############################################################################
# Who comes back elsewhere before the end was begun tells for it

{
    my $alice = alice();
    my $jid = $alice->jid();

    $lanes[0]->hold('command');
    $alice->drop();

    my $back = $t->client('alice', on => 1, resource => 'a')->login();

    $back->presence(show => 'chat');
    $back->pick('presence', from => $jid);
    $back->sync();
    $lanes[0]->release('command');
    $carol->sync();             # behind the end that was held
    is(join(' ', types($bob, $jid)), 'unavailable chat',
       'cluster.md, 4: who is back is not taken offline by a late end');
    $back->close();
    gone();
    $_->sync(), $_->drain() for $bob, $carol;
}

# Who comes back elsewhere while the end is being told, and Redis goes

{
    my $alice = alice();
    my $jid = $alice->jid();

    $lanes[0]->mute('command');

    my $from = calls();

    $alice->drop();
    ran($from, 1);
    $lanes[0]->turn('command');
    ran($from, 4);

    my $back = $t->client('alice', on => 1, resource => 'a')->login();

    $back->presence(show => 'chat');
    $back->sync();
    $from = calls();
    $lanes[0]->cut('command');
    $lanes[0]->release('command');

    # the end of the record is repeated, and what is begun again is fenced

    ran($from, 2);
    $carol->sync();
    is(join(' ', types($bob, $jid)), 'unavailable chat',
       'cluster.md, 4: what told the end is not repeated later');
    $back->close();
    gone();

    # the bell may come after the record has gone

    $_->pick('presence', from => $jid, type => 'unavailable')
        for $bob, $carol;
    $_->sync(), $_->drain() for $bob, $carol;
}


# One that loses its resource while its contacts are told

{
    my $alice = $t->client('alice', on => 0, resource => 'a')->login();
    my $jid = $alice->jid();

    $alice->sync();
    $lanes[0]->mute('command');

    $alice->presence();
    await(sub { record() =~ / 0 \S+$/ }) or die "it did not run\n";
    $lanes[0]->turn('command');
    $carol->pick('presence', from => $jid, type => undef);

    my $winner = $t->client('alice', on => 1, resource => 'a')->login();

    ok($alice->expect_stream_error('conflict'),
       'RFC 6120, 7.7.2.2: lost while answers are to come');
    $lanes[0]->release('command');
    $carol->sync();
    ok($bob->expect('presence', from => $jid, type => $_),
       'cluster.md, 4: the winner tells that the loser went: '
       . ($_ // 'after it came')) for undef, 'unavailable';
    $winner->presence(show => 'chat');
    $winner->sync();
    is(join(' ', types($bob, $jid)), 'chat', 'and the winner is there');
    $winner->close();
    gone();
}

# ... and while more of them are to be told than go at once

{
    item($t, "alice\@$domain", "nobody$_\@$domain", 'from') for 1 .. 1498;

    my $alice = $t->client('alice', on => 0, resource => 'a')->login();

    $alice->sync();
    $lanes[0]->mute('command');

    my $from = calls();

    $alice->presence();
    ran($from, 1);
    $lanes[0]->turn('command');
    ran($from, 1001);

    my $winner = $t->client('alice', on => 1, resource => 'a')->login();

    $alice->expect_stream_error('conflict');
    $lanes[0]->release('command');
    await(sub { record() =~ / - \S+$/ }) or die "contacts are not told\n";
    $carol->sync();

    # the loser 1,000, the winner all, and a few beside

    cmp_ok(calls() - $from, '<', 1000 + 1500 + 200,
           'cluster.md, 4: the loser tells no more of them');
    $winner->close();
    gone();
}

$t->done();
