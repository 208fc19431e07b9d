#!/usr/bin/perl

# Blocking and presence: XEP-0191, 3.3 and 3.4.  alice has a session on each
# host; bob and carol have both subscriptions with her, dora and eve have none.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Roster;

my $t = Test::XMPP->new(hosts => 2,
                        users => [ qw/ alice bob carol dave dora eve / ])
                  ->run();
my ($domain, $domain2) = ($t->domain(), $t->domain2());

my $ns = 'urn:xmpp:blocking';
my $peer = $t->peer();

befriend($t, 'alice', 'bob', 'both');
befriend($t, 'alice', 'carol', 'both');
befriend($t, 'alice', 'dave', 'to');
befriend($t, 'alice', "dora\@$domain2", 'both');

my $bob = $t->online('bob', resource => 'b', on => 1);
my $bob2 = $t->online('bob', resource => 'b2', on => 0);
my $carol = $t->online('carol', resource => 'c', on => 0);
my $dave = $t->online('dave', resource => 'd', on => 0);
my $dora = $t->online('dora', domain => $domain2, resource => 'o', on => 1);
my $eve = $t->online('eve', resource => 'e', on => 1);

my $alice = $t->online('alice', resource => 'a', on => 0,
                       presence => { status => 'here' });
my $alice2 = $t->online('alice', resource => 'a2', on => 1,
                        presence => { show => 'dnd' });

# bound, and not available

my $mute = $t->client('alice', resource => 'mute', on => 1)->login();

my @all = ($alice, $alice2, $bob, $bob2, $carol, $dave, $dora, $eve);

$t->settle(@all);


sub command {
    my ($client, $name, @jids) = @_;

    my $answer = $client->query('set', undef, "<$name xmlns='$ns'>"
        . join('', map { "<item jid='$_'/>" } @jids) . "</$name>");

    is($answer->attr('type'), 'result', "$name @jids");

    # which pushes to all, and a privacy list, too

    $_->sync(), $_->drain() for $peer eq 'ejabberd' ? ($alice, $alice2) : ();
}


sub quiet {
    my ($name, @clients) = @_;

    # what carol sends comes behind what others have been told before

    $_->sync() for $alice, $alice2;

    # which answers a user's presence for those she has blocked with errors

    $_->drain() for $peer eq 'prosody' ? ($alice, $alice2) : ();

    ok($_->expect_nothing(from => $_ == $carol ? $bob : $carol),
       "$name: nothing for " . $_->jid()) for @clients;
}


# Everybody here hears this of each of alice's sessions, whichever comes first

sub heard {
    my ($name, $type, @clients) = @_;

    # which blocks first, and then has nobody to tell

    return if $peer eq 'ejabberd';

    for my $client (@clients) {
        ok($client->pick('presence', from => $_->jid(), type => $type),
           "$name: " . $client->jid() . ' of ' . $_->jid())
            for $alice, $alice2;
    }
}


###############################################################################
# A block takes presence away: 3.3

command($alice, 'block', $bob->bare());
heard('XEP-0191, 3.3: unavailable', 'unavailable', $bob, $bob2);
quiet('3.3: once', grep { $_ != $carol } @all);

# neither changes nor ends are told, nor is anything taken

$alice->presence(show => 'away');
$_->pick('presence', from => $alice->jid(), type => undef,
         xpath => "c:show = 'away'")
    for $alice, $alice2, $carol, $dora;
quiet('3.3: a change', $bob, $bob2);

$bob->presence(status => 'do you see me');
$bob->pick('presence', from => $bob->jid());
$bob2->pick('presence', from => $bob->jid());
$bob->sync();
quiet('3.3: of whom she has blocked', $alice, $alice2);

{
    my $late = $t->online('alice', resource => 'late', on => 1);

    ok($_->pick('presence', from => $late->jid(), type => undef),
       'a login is told: ' . $_->jid())
        for $carol, $dora, $alice, $alice2;

    ok($late->pick('presence', from => $carol->jid(), type => undef),
       'and answered by the others');
    quiet('3.3: a login', $bob, $bob2);
    is(scalar(grep { ($_->attr('from') // '') =~ /^\Q$bob->{bare}\E/
                     && ($_->attr('type') // '') ne 'error' }
              $late->drain()), 0, '3.3: a login: no presence of bob');

    $late->presence(type => 'unavailable');
    ok($_->pick('presence', from => $late->jid(), type => 'unavailable'),
       'an end is told: ' . $_->jid()) for $carol, $dora, $alice, $alice2;
    $late->sync();
    quiet('3.3: an end', $bob, $bob2);
    $late->close();
}

# somebody blocked who logs in gets no presence, and has no answer to a probe

if ($t->ours()) {
    my $bob3 = $t->client('bob', resource => 'b3', on => 1)->login();

    $bob3->presence();
    ok($bob3->pick('presence', from => $bob->jid()), 'his own resources');
    $bob3->presence(to => $alice->bare(), type => 'probe');
    $bob3->presence(to => $alice->jid(), type => 'probe');
    $bob3->sync();
    is(scalar(grep { ($_->attr('from') // '') =~ /^\Q$alice->{bare}\E/ }
              $bob3->drain()), 0, '3.3: a login of his, and probes');
    quiet('3.3: a login of his', $alice, $alice2);
    $bob3->presence(type => 'unavailable');
    $_->pick('presence', from => $bob3->jid(), type => 'unavailable')
        for $bob, $bob2;
    $bob3->close();
}

# nor has one while nobody is there: who is blocked does not see when that is

if ($t->ours()) {
    command($carol, 'block', $alice->bare());
    $_->pick('presence', from => $carol->jid(), type => 'unavailable')
        for $alice, $alice2;
    $carol->close();
    Test::XMPP::Process::await(sub {
        !$t->redis()->command('EXISTS', "xmpp:{$carol->{bare}}:sessions");
    }) or die "carol does not go\n";

    $alice->presence(to => $_, type => 'probe')
        for $carol->bare(), $carol->jid();
    ok($alice->expect_nothing(), '3.3: probes of one who is not there');

    $carol = $t->online('carol', resource => 'c', on => 0);
    $all[4] = $carol;
    command($carol, 'unblock');
    $_->pick('presence', from => $carol->jid(), type => undef)
        for $alice, $alice2;
    $_->sync() && $_->drain() for @all;
}

$_->drain() for $bob, $bob2;


###############################################################################
# It comes back: 3.4

if ($t->ours()) {
    command($alice2, 'unblock', $bob->bare());

    ok($_->pick('presence', from => $alice->jid(), type => undef,
                xpath => "c:show = 'away'"),
       'XEP-0191, 3.4: the presence of one: ' . $_->jid()) for $bob, $bob2;
    ok($_->pick('presence', from => $alice2->jid(), type => undef,
                xpath => "c:show = 'dnd'"),
       'XEP-0191, 3.4: the presence of the other: ' . $_->jid())
        for $bob, $bob2;

    for my $client ($alice, $alice2) {
        ok($client->pick('presence', from => $_->jid(), type => undef),
           'and she has his again: ' . $client->jid() . ' ' . $_->jid())
            for $bob, $bob2;
    }

    quiet('3.4: once', @all);
}


###############################################################################
# Nobody who has no subscription hears of it; of several one by one

if ($t->ours()) {
    command($alice, 'block', $dave->bare(), $eve->bare());
    quiet('3.3: no subscription', grep { $_ != $dave } @all);
    command($alice, 'unblock');
    ok($_->pick('presence', from => $dave->jid(), type => undef),
       '3.4: she is told of dave again') for $alice, $alice2;
    quiet('3.4: no subscription', $bob, $dave, $eve);

    # a domain, and what is blocked twice

    command($alice, 'block', $domain2);
    heard('5: a domain', 'unavailable', $dora);
    command($alice, 'block', $dora->bare());
    quiet('blocked already', $dora, $bob);
    command($alice, 'unblock', $domain2);
    quiet('blocked still', $dora, $bob);
    command($alice, 'unblock', $dora->bare());
    heard('5: not any more', undef, $dora);
    $_->pick('presence', from => $dora->jid()) for $alice, $alice2;
    quiet('the same', @all);
}


###############################################################################
# Directed presence: RFC 6121, 4.6, of sessions on both hosts, also of one that
# is not available

if ($t->ours()) {
    $_->presence(to => $eve->jid(), status => 'hello')
        for $alice, $alice2, $mute;
    ok($eve->pick('presence', from => $_->jid(), type => undef),
       'directed by ' . $_->jid()) for $alice, $alice2, $mute;

    command($alice, 'block', $eve->bare());
    ok($eve->pick('presence', from => $_->jid(), type => 'unavailable'),
       'RFC 6121, 4.6.3: unavailable of ' . $_->jid())
        for $alice, $alice2, $mute;

    ok($_->expect_nothing(from => $dave), 'no more: ' . $_->jid())
        for $eve, $bob, $carol;

    # forgotten: the end does not tell once more

    command($alice, 'unblock', $eve->bare());
    $_->presence(type => 'unavailable') for $alice2, $mute;
    $_->sync() for $alice2, $mute;
    ok($eve->expect_nothing(from => $dave), 'and it is forgotten');
    $alice2->presence(show => 'dnd');
    $alice2->sync();
    $_->drain() for @all;
}


###############################################################################
# Messages and presence while the list changes: whatever bob has heard last
# of alice is what she wants

if ($t->ours()) {
    for my $round (1 .. 10) {
        $alice2->presence(show => $round % 2 ? 'away' : 'xa');
        command($alice, 'block', $bob->bare());
        $alice2->presence(show => 'chat');
        $_->sync() for $alice, $alice2;

        my $last;

        # both have told all that they had to

        $bob->pick('presence', from => $alice->jid(), type => 'unavailable')
            or fail("round $round");
        $bob->pick('presence', from => $alice2->jid(), type => 'unavailable')
            or fail("round $round");
        $eve->message($bob->jid(), "end $round", type => 'headline');

        while (my $stanza = $bob->recv_stanza()) {
            last if ($stanza->body() // '') eq "end $round";
            $last = $stanza if $stanza->name() eq 'presence'
                               && $stanza->attr('from') eq $alice2->jid()
                               && !$stanza->attr('type');
        }

        ok(!$last || $last->test("c:show != 'chat'"),
           "what she sent after the block is not told: $round");

        command($alice, 'unblock', $bob->bare());
        ok($bob->pick('presence', from => $alice2->jid(), type => undef,
                      xpath => "c:show = 'chat'"),
           "and after it she is as she is: $round");
        ok($bob->pick('presence', from => $alice->jid(), type => undef),
           'from both');
        $_->drain() for @all;
    }
}

$t->done();
