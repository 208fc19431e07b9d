#!/usr/bin/perl

# Subscriptions when answers of Redis are out of step: presence that one host
# tells at the grant or the end of a subscription, and what another host tells
# of the same user (RFC 6121, 3.1.5, 3.2.1; docs/internals/decisions/
# 15-contacts.md).

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
                        users => [ qw/ alice bob carol / ]);

$t->only_ours('needs our Redis connections');
$t->config(Traffic::config('xmpp_redis unix:%%TESTDIR%%/%%NAME%%.sock;
                            xmpp_heartbeat 1h;
                            xmpp_redis_timeout 10s;'));
$t->run();

my $redis = $t->redis();
my @lanes;

for my $host (0, 1) {
    push @lanes, Test::XMPP::Lanes->new($t->testdir() . "/host$host.sock",
                                        $redis->socket());
    $t->start_host();
}

my $domain = $t->domain();

sub state_of {
    my ($user, $contact) = @_;

    return (split ' ', $redis->command('HGET', "xmpp:{$user\@$domain}:roster",
                                       "i$contact\@$domain") // '- -')[1];
}

# waits until a subscription is like that

sub becomes {
    my ($user, $contact, $re) = @_;

    await(sub { state_of($user, $contact) =~ $re }) or die "it did not run\n";
}

# The types of presence that come from a JID, in order, up to a mark by Redis

sub types {
    my ($client, $jid, $from) = @_;
    my $mark = 'mark-' . $from->id();

    $from->message($client->bare(), $mark, type => 'headline');
    $client->pick('message', body => $mark) or die "no mark\n";

    return map { $_->attr('type') // $_->find('c:show') || 'here' }
           grep { $_->is('presence') && $_->attr('from') eq $jid }
           $client->drain();
}

my $alice = $t->online('alice', on => 0, resource => 'a');
my $other = $t->online('alice', on => 1, resource => 'other');
my $bob = $t->online('bob', on => 1, resource => 'b');
my $carol = $t->online('carol', on => 1, resource => 'c');

$t->settle($alice, $other, $carol, $bob);


###############################################################################
# A grant: what the granting host has read of other sessions is old by now

for my $last ('unavailable', undef) {
    my $name = 'a grant, and then ' . ($last // 'a change');

    $bob->presence(to => "alice\@$domain", type => 'subscribe');
    $alice->pick('presence', type => 'subscribe');
    $alice->sync();
    $lanes[0]->mute('command');

    $alice->presence(to => "bob\@$domain", type => 'subscribed');
    becomes('alice', 'bob', qr/f/);
    $other->presence(type => $last, $last ? () : (show => 'xa'));
    $other->sync();

    # the end is told to whoever may have heard of it, presence is not yet

    $bob->pick('presence', from => $other->jid(), type => $last) or fail($name)
        if $last;
    is(join(' ', types($bob, $other->jid(), $carol)), '', "$name: not yet");

    $lanes[0]->release('command');
    $alice->sync();
    $bob->pick('presence', from => $alice->jid(), type => undef)
        or fail("$name: presence of the session that has granted it");

    $bob->pick('presence', from => $other->jid(), type => undef,
               xpath => 'c:show = "xa"')
        or fail("$name: and of the other one") if !$last;
    $t->settle($alice, $other, $carol);

    is(join(' ', types($bob, $other->jid(), $carol)), '',
       "RFC 6121, 3.1.5: $name: the last is right");

    $other->presence();
    $other->sync();
    $alice->presence(to => "bob\@$domain", type => 'unsubscribed');
    $bob->pick('presence', from => $alice->jid(), type => 'unavailable');
    $t->settle($alice, $other, $carol, $bob);
}


###############################################################################
# An end: what is under way to the contact meanwhile does not come behind it

{
    $bob->presence(to => "alice\@$domain", type => 'subscribe');
    $alice->pick('presence', type => 'subscribe');
    $alice->presence(to => "bob\@$domain", type => 'subscribed');
    $bob->pick('presence', from => $_->jid(), type => undef)
        for $alice, $other;
    $t->settle($alice, $other, $carol, $bob);

    $lanes[1]->mute('command');
    $other->presence(show => 'dnd');
    await(sub { ($redis->command('HGET', "xmpp:{alice\@$domain}:presence",
                                 'rother') // '') =~ /dnd/ })
        or die "it did not run\n";

    $alice->presence(to => "bob\@$domain", type => 'unsubscribed');
    becomes('bob', 'alice', qr/^[^t]*$/);
    $alice->sync();
    $bob->pick('presence', from => $other->jid(), type => 'unavailable')
        or fail('unavailable');
    $lanes[1]->release('command');
    $other->sync();

    is(join(' ', types($bob, $other->jid(), $carol)), '',
       'RFC 6121, 3.2.1: an end: no presence comes behind it');
}



###############################################################################
# An end, while contacts have not heard of another one: that a session has lost
# its resource to a new one, whose worker looks for contacts too late

{
    $t->settle($alice, $carol, $bob);

    my $lost = $t->online('alice', on => 1, resource => 'lost');

    $alice->presence(to => "bob\@$domain", type => 'subscribed');
    $bob->presence(to => "alice\@$domain", type => 'subscribe');
    $bob->pick('presence', from => $lost->jid(), type => undef)
        or fail('subscribed');
    $other->sync();
    $_->drain() for $alice, $other, $bob;

    my $late = $t->client('alice', on => 0, resource => 'lost');

    $late->secure();
    $late->auth();
    $lanes[0]->mute('command');
    $late->iq('set', undef, "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
                            . '<resource>lost</resource></bind>');
    await(sub { ($redis->command('HGET', "xmpp:{alice\@$domain}:sessions",
                                 'rlost') // '') =~ / g \S+$/ })
        or die "it did not run\n";
    $other->presence(to => "bob\@$domain", type => 'unsubscribed');
    $other->sync();
    $lanes[0]->release('command');
    $late->pick('iq', type => 'result') or fail('bound');
    $late->sync();

    is((types($bob, $lost->jid(), $carol))[-1], 'unavailable',
       'RFC 6121, 3.2.1: an end, when another has not been told');
    $late->close();
    $_->sync() && $_->drain() for $alice, $other, $bob;
}


###############################################################################
# An item is removed, and meanwhile the contact gets a subscription by it

{
    my $item = "<item jid='bob\@$domain'";
    my $query = "<query xmlns='jabber:iq:roster'>%s</query>";

    $alice->presence(to => "bob\@$domain", type => 'subscribed');
    $alice->sync();
    becomes('alice', 'bob', qr/a/);
    $lanes[0]->mute('command');

    my $id = $alice->iq('set', undef,
                        sprintf $query, "$item subscription='remove'/>");

    # what has to end has been read, the answer lies there

    await(sub { $lanes[0]->held('command') }) or die "it did not run\n";
    $bob->presence(to => "alice\@$domain", type => 'subscribe');
    $bob->pick('presence', from => $other->jid(), type => undef)
        or fail('subscribed');
    $lanes[0]->release('command');

    my $answer = $alice->answer($id);

    is($answer && $answer->attr('type'), 'result', 'removed');
    is(state_of('alice', 'bob'), '-', 'and it is gone');
    unlike(state_of('bob', 'alice'), qr/t/,
           'RFC 6121, 2.5.2: the contact has no subscription any more');
    is((types($bob, $other->jid(), $carol))[-1], 'unavailable',
       'RFC 6121, 2.5.2: nor presence');
}

$t->done();
