#!/usr/bin/perl

# Presence to contacts: RFC 6121, 4.2 to 4.6.  The user and the contacts are
# on different hosts; bob and dora have both subscriptions with alice, carol
# gets alice's presence ("from" in alice's roster), alice gets dave's ("to"),
# and eve has nothing to do with her.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Roster;

my $t = Test::XMPP->new(hosts => 2,
                        users => [ qw/ alice bob carol dave eve dora / ])
                  ->run();
my ($domain, $domain2) = ($t->domain(), $t->domain2());

befriend($t, 'alice', 'bob', 'both');
befriend($t, 'alice', "dora\@$domain2", 'both');
befriend($t, 'alice', 'carol', 'from');
befriend($t, 'alice', 'dave', 'to');


# available on the other host, and nothing unread

sub other { return $t->online(@_, on => 1) }

my $bob = other('bob', resource => 'b', presence => { status => 'at work' });
my $bob2 = other('bob', resource => 'b2', presence => { priority => -3 });
my $mute = $t->client('bob', resource => 'mute', on => 0)->login();
my $carol = other('carol', resource => 'c');
my $dave = other('dave', resource => 'd', presence => { show => 'dnd' });
my $eve = other('eve', resource => 'e');
my $dora = other('dora', domain => $domain2, resource => 'o');

my @told = ($bob, $bob2, $carol, $dora);            # alice's presence
my @untold = ($dave, $eve, $mute);
my @seen = ($bob, $bob2, $dave, $dora);             # theirs, by alice
my @all = ($bob, $bob2, $carol, $dave, $eve, $dora);

$t->settle(@all);


# how presence is addressed: bare or full, the specification shows both

sub to { return qr{^\Q$_[0]{bare}\E(?:/\Q$_[0]{resource}\E)?$} }


# Has each of them one such presence of this session, and the others none?

sub told {
    my ($name, $from, %match) = @_;

    for (@told) {
        ok($_->expect('presence', from => $from->jid(), to => to($_), %match),
           "$name: " . $_->jid());
    }

    over($from, $match{type});

    # what would have come to others comes before what is sent now

    ok($_->expect_nothing(from => $_ == $eve ? $bob : $eve),
       "$name: nothing else to " . $_->jid()) for @told, @untold;
}


# Waits until all contacts were told

sub over {
    my ($from, $type) = @_;

    if (!defined $type) {
        $from->sync();
        return;
    }

    return unless $t->ours();

    my $key = 'xmpp:{' . $from->bare() . '}:sessions';

    Test::XMPP::Process::await(sub {
        my $record = $t->redis()->command('HGET', $key,
                                          "r$from->{resource}");
        return !defined $record || $record =~ / - \S+$/;
    }) or die $from->jid() . " does not end\n";
}


###############################################################################
# Initial presence: RFC 6121, 4.2

my $alice = $t->client('alice', resource => 'a', on => 0)->login();

$alice->presence(show => 'away', status => 'here', priority => 3,
                 xml => "<x xmlns='urn:x'>y</x>");

for (@seen) {
    ok($alice->pick('presence', from => $_->jid(), to => to($alice),
                    type => undef),
       'RFC 6121, 4.3.2: the presence of ' . $_->jid());
}

ok($alice->pick('presence', from => $alice->jid(), type => undef),
   'RFC 6121, 4.2.2: the user\'s own');

told('RFC 6121, 4.2.2', $alice, type => undef,
     xpath => [ 'c:show = "away"', 'c:status = "here"', 'c:priority = 3',
                '*[namespace-uri() = "urn:x"] = "y"' ]);

$alice->sync();
is(scalar $alice->drain(), 0,
   'RFC 6121, 4.3.2: neither carol\'s presence nor eve\'s, and nothing twice');

# what the answer has of a contact: the whole stanza

$alice->close();
$_->pick('presence', type => 'unavailable') for @told;
$alice = $t->client('alice', resource => 'a', on => 0)->login();
$alice->presence();
ok($alice->pick('presence', from => $bob->jid(),
                xpath => 'c:status = "at work"'),
   'RFC 6121, 4.3.2: with all that it says: status');
ok($alice->pick('presence', from => $bob2->jid(), xpath => 'c:priority = -3'),
   'RFC 6121, 4.3.2: priority');
ok($alice->pick('presence', from => $dave->jid(), xpath => 'c:show = "dnd"'),
   'RFC 6121, 4.3.2: show');
$_->pick('presence', from => $alice->jid(), type => undef) for @told;
$alice->sync();
$t->settle($alice, @all);


# Changes: RFC 6121, 4.4

$alice->presence(show => 'xa', priority => -1);
ok($alice->expect('presence', from => $alice->jid()), 'a change');
told('RFC 6121, 4.4.2', $alice, type => undef, xpath => 'c:show = "xa"');
$alice->sync();
is(scalar $alice->drain(), 0, 'RFC 6121, 4.4.2: a change asks nobody');


# What looks like an address is none: RFC 6120, 8.1.1.1

$alice->send(q{<presence id=" to='eve@localhost'" xmlns:x='urn:x'}
             . q{ x:to='eve@localhost'><status> to='eve@localhost' &lt;}
             . q{</status></presence>});
$alice->pick('presence', from => $alice->jid());
told('addresses in other places', $alice, id => " to='eve\@localhost'",
     xpath => q{c:status = " to='eve@localhost' <"});

$alice->presence(id => ' to=', status => 'where?');
$alice->pick('presence', from => $alice->jid());
told('what reads like an address', $alice, id => ' to=',
     xpath => 'c:status = "where?"');


# A second resource

my $alice2 = $t->client('alice', resource => 'a2', on => 1)->login();

$alice2->presence();
ok($alice2->pick('presence', from => $_->jid(), type => undef),
   'a second resource: the presence of ' . $_->jid()) for @seen, $alice;
ok($alice->expect('presence', from => $alice2->jid()),
   'RFC 6121, 4.2.2: the first one hears of it');
told('a second resource', $alice2, type => undef);
$alice->sync();
is(scalar $alice->drain(), 0, 'a second resource asks for itself alone');

$alice2->close();
ok($alice->expect('presence', from => $alice2->jid(), type => 'unavailable'),
   'a second resource goes');
told('RFC 6121, 4.5.2: a second resource', $alice2, type => 'unavailable');


# Unavailable: RFC 6121, 4.5

$alice->presence(type => 'unavailable', status => 'bye');
told('RFC 6121, 4.5.2', $alice, type => 'unavailable',
     xpath => 'c:status = "bye"');
$alice->sync();
$alice->drain();

$bob->presence(show => 'chat');
ok($bob->expect('presence', from => $bob->jid()), 'a contact\'s change');
$bob2->pick('presence', from => $bob->jid());
$alice->sync();
is(scalar $alice->drain(), 0,
   'RFC 6121, 4.5.2: who is unavailable hears of no contacts');

$alice->close();
over($alice, 'unavailable');
ok($_->expect_nothing(from => $eve),
   'RFC 6121, 4.5.2: the end of who was unavailable is not told')
    for @told;


# The end of a session, however it comes: RFC 6121, 4.5.2

my %ends = (
    'the end of the stream'     => sub { $_[0]->close() },
    'the end of the connection' => sub { $_[0]->drop() },
    'a reset'                   => sub { $_[0]->drop(reset => 1) },
    'ill-formed XML'            => sub { $_[0]->send('</x>') },
    'unavailable and the end'   => sub {
        $_[0]->send("<presence type='unavailable'/></stream:stream>");
    },
);

for my $how (sort keys %ends) {
    $alice = $t->online('alice', resource => 'a', on => 0);
    $_->pick('presence', from => $alice->jid()) for @told;
    $ends{$how}->($alice);
    told("RFC 6121, 4.5.2: $how", $alice, type => 'unavailable');
}

# also one that sends presence and goes at once

$alice = $t->client('alice', resource => 'a', on => 0)->login();
$alice->send('<presence/>');
$alice->close();

for (@told) {
    ok($_->expect('presence', from => $alice->jid(), type => undef),
       'available, and gone at once: ' . $_->jid());
}

told('available, and gone at once', $alice, type => 'unavailable');


# One that loses its resource: the winner tells

SKIP: {
    skip('the others end the one with the other\'s login', 1)
        unless $t->ours();

    $alice = $t->online('alice', resource => 'a', on => 0);
    $_->pick('presence', from => $alice->jid()) for @told;

    my $winner = $t->client('alice', resource => 'a', on => 1)->login();

    told('RFC 6120, 7.7.2.2: the loser has gone', $winner,
         type => 'unavailable');
    $winner->presence(status => 'winner');
    told('RFC 6120, 7.7.2.2: the winner', $winner, type => undef,
         xpath => 'c:status = "winner"');
    $winner->close();
    told('RFC 6120, 7.7.2.2: the winner goes', $winner, type => 'unavailable');

    # a winner that never was available has nothing to tell at its end

    $alice = $t->online('alice', resource => 'a', on => 0);
    $_->pick('presence', from => $alice->jid()) for @told;
    $winner = $t->client('alice', resource => 'a', on => 1)->login();
    told('a winner without presence', $winner, type => 'unavailable');
    $winner->close();
    over($winner, 'unavailable');
    ok($_->expect_nothing(from => $eve),
       'a winner without presence goes in silence: ' . $_->jid()) for @told;
}


###############################################################################
# Probes by a client: RFC 6121, 4.3

$_->drain() for @told, @untold;
$alice = $t->online('alice', resource => 'a', on => 0);
$t->settle($alice, @all);

sub probe {
    my ($client, $to) = @_;

    $client->presence(type => 'probe', to => $to);
    $client->sync();
    return grep { $_->is('presence') } $client->drain();
}

SKIP: {
    skip('they do it otherwise', 1) unless $t->ours();

    is(join(' ', sort map { $_->attr('from') } probe($alice, $bob->bare())),
       $bob->jid() . ' ' . $bob2->jid(), 'RFC 6121, 4.3.2: a probe');
    is(join(' ', map { $_->attr('from') } probe($alice, $bob2->jid())),
       $bob2->jid(), 'RFC 6121, 4.3.2: a probe to a full JID');
    is(scalar(probe($alice, $_->bare())), 0,
       'RFC 6121, 4.3.2: a probe to who has not allowed it: ' . $_->bare())
        for $carol, $eve;
    is(scalar(probe($eve, $alice->bare())), 0,
       'RFC 6121, 4.3.2: nor a stranger to her');
    is(scalar(probe($dave, $alice->bare())), 0,
       'RFC 6121, 4.3.2: nor one whose presence she has');
    is(scalar(probe($carol, $alice->jid())), 1,
       'RFC 6121, 4.3.2: one who has hers');
    is(scalar(probe($alice, $_)), 0,
       "RFC 6121, 4.3.1: no answer, and no error: $_")
        for "nobody\@$domain", $domain, 'x@nowhere.example';

    my ($gone) = probe($alice, "bob\@$domain/none");

    is($gone->attr('type'), 'unavailable',
       'RFC 6121, 4.3.2: no such resource');
    $dave->presence(type => 'unavailable');
    $alice->pick('presence', from => $dave->jid(), type => 'unavailable');
    ($gone) = probe($alice, $dave->bare());
    is($gone->attr('type') . ' ' . $gone->attr('from'),
       'unavailable ' . $dave->bare(), 'RFC 6121, 4.3.2: nobody is available');
    $dave->presence();
    $alice->pick('presence', from => $dave->jid(), type => undef);
    is(scalar(probe($alice, undef)), 1, 'a probe to nobody is one to oneself');
    is(scalar(probe($alice, $alice->jid())), 1, 'a probe to oneself');
    $dave->drain();
}


###############################################################################
# Directed presence: RFC 6121, 4.6

$t->settle($alice, @all);
$alice->presence(to => $eve->jid(), status => 'for you');
ok($eve->expect('presence', from => $alice->jid(),
                xpath => 'c:status = "for you"'),
   'RFC 6121, 4.6.3: directed to a stranger');
$alice->presence(to => $bob->bare(), status => 'and you');
ok($_->expect('presence', from => $alice->jid(),
              xpath => 'c:status = "and you"'),
   'RFC 6121, 4.6.3: directed to a contact') for $bob, $bob2;

$alice->presence(type => 'unavailable', status => 'bye');
ok($eve->expect('presence', from => $alice->jid(), type => 'unavailable'),
   'RFC 6121, 4.6.3: the stranger hears the end');
ok($_->expect('presence', from => $alice->jid(), type => 'unavailable'),
   'RFC 6121, 4.6.3: and the contacts') for @told;
$t->settle(@all);

$alice->presence();
$_->pick('presence', from => $alice->jid()) for @told;
$alice->presence(to => $eve->jid());
$eve->expect('presence', from => $alice->jid());
$alice->presence(to => $bob->jid());
$bob->expect('presence', from => $alice->jid());
$alice->drop();
ok($eve->expect('presence', from => $alice->jid(), type => 'unavailable'),
   'RFC 6121, 4.6.3: the stranger hears the end without a word');
told('RFC 6121, 4.6.3: the contacts hear it once', $alice,
     type => 'unavailable')
    unless $t->peer() eq 'ejabberd';                # twice


# one's own resources: RFC 6121, 4.5.2 and 4.6.3

$_->drain() for @all;
$alice = $t->online('alice', resource => 'a', on => 0);
$alice2 = $t->online('alice', resource => 'a2', on => 1);
$_->sync() for @all;
$alice->pick('presence', from => $alice2->jid());
$alice2->presence(to => $alice->jid(), status => 'directed');
ok($alice->pick('presence', from => $alice2->jid(),
                xpath => 'c:status = "directed"'), 'directed to oneself');
$alice->drain();

for my $how ('unavailable', 'without a word') {
    $how eq 'unavailable' ? $alice2->presence(type => 'unavailable')
                          : $alice2->drop();
    ok($alice->expect('presence', from => $alice2->jid(),
                      type => 'unavailable'), "$how: told");
    over($alice2, 'unavailable');
    ok($alice->expect_nothing(from => $eve), "$how: once")
        unless $t->peer() eq 'ejabberd';
    last if $how ne 'unavailable';

    $alice2->presence();
    $alice->pick('presence', from => $alice2->jid());
    $alice2->presence(to => $alice->jid(), status => 'directed');
    $alice->pick('presence', from => $alice2->jid());
}

$alice->close();
over($alice, 'unavailable');


# oneself among one's contacts, where nobody else can be

SKIP: {
    skip('for our own server', 1) unless $t->ours();

    item($t, "alice\@$domain", "alice\@$domain", 'both');
    $alice = $t->online('alice', resource => 'a', on => 0);
    $alice->sync();
    is(scalar(grep { $_->attr('from') eq $alice->jid() } $alice->drain()), 0,
       'oneself as a contact: told once');
    $t->redis()->command('HDEL', "xmpp:{alice\@$domain}:roster",
                         "ialice\@$domain");
    $alice->close();
    over($alice, 'unavailable');
}


###############################################################################
# Contacts come and go

$_->drain() for @all;
$alice = $t->online('alice', resource => 'a', on => 0);
$t->settle($alice, @all);

my $bob3 = $t->client('bob', resource => 'b3', on => 1)->login();

$bob3->presence(show => 'away');
ok($bob3->pick('presence', from => $alice->jid(), type => undef),
   'a contact logs in: is told of the user');
ok($alice->expect('presence', from => $bob3->jid(),
                  xpath => 'c:show = "away"'),
   'and the user of the contact');
$bob3->drop();
ok($alice->expect('presence', from => $bob3->jid(), type => 'unavailable'),
   'a contact goes');

my $carol2 = $t->client('carol', resource => 'c2', on => 1)->login();

$carol2->presence();
ok($carol2->pick('presence', from => $alice->jid(), type => undef),
   'one who has the user\'s presence alone: is told of her');
$carol2->sync();
$alice->sync();
is(scalar $alice->drain(), 0, 'and she not of him');

my $dave2 = $t->client('dave', resource => 'd2', on => 1)->login();

$dave2->presence();
ok($alice->expect('presence', from => $dave2->jid(), type => undef),
   'one whose presence the user has alone: she is told');
$dave2->sync();
is(scalar(grep { $_->attr('from') =~ /^alice/ } $dave2->drain()), 0,
   'and he not of her');

$t->done();
