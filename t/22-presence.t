#!/usr/bin/perl

# Presence without a roster: initial, changed, unavailable to one's own
# resources (RFC 6121, 4.2 to 4.5), and directed presence (4.6, 8.5).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ qw/ alice bob carol dora / ])->run();
my ($domain, $domain2) = ($t->domain(), $t->domain2());


###############################################################################
# To oneself

my $one = $t->client('alice', resource => 'one')->login();

$one->presence(show => 'away', status => 'here', priority => 3,
               xml => "<x xmlns='urn:x'>y</x>");

my $back = $one->expect('presence', from => $one->jid(), type => undef,
                        xpath => [ 'c:show = "away"', 'c:status = "here"',
                                   'c:priority = 3',
                                   '*[namespace-uri() = "urn:x"] = "y"' ]);
ok($back, 'RFC 6121, 4.2.2: initial presence comes back');
like($back->attr('to') // '', qr{^(?:alice\@\Q$domain\E(?:/one)?)?$},
     'to oneself');
ok($one->expect_nothing(), 'once');

my $two = $t->client('alice', resource => 'two')->login();
my $quiet = $t->client('alice', resource => 'quiet')->login();

$two->presence(priority => -1);
ok($two->pick('presence', from => $two->jid(), type => undef),
   'RFC 6121, 4.2.2: comes back to the second');
ok($two->pick('presence', from => $one->jid(), type => undef,
              xpath => 'c:show = "away"'), 'who learns of the first');
ok($one->expect('presence', from => $two->jid(), type => undef,
                xpath => 'c:priority = -1'), 'and the first of the second');

$one->presence(show => 'dnd');
ok($_->expect('presence', from => $one->jid(), xpath => 'c:show = "dnd"'),
   'RFC 6121, 4.4.2: a change to ' . $_->{resource}) for $one, $two;

for my $priority (-128, 127, 0) {
    $two->presence(priority => $priority);
    ok($_->expect('presence', from => $two->jid(),
                  xpath => "c:priority = $priority"),
       "RFC 6121, 4.7.2.3: priority $priority") for $one, $two;
}

$two->presence(type => 'unavailable', status => 'gone');
ok($one->expect('presence', from => $two->jid(), type => 'unavailable',
                xpath => 'c:status = "gone"'),
   'RFC 6121, 4.5.2: unavailable to the others');
$t->settle($one, $two);

$one->presence();
ok($one->expect('presence', from => $one->jid()), 'a change');
$one->sync();
ok($two->expect_nothing(from => $one), 'RFC 6121, 4.5.2: no more for it');
ok($quiet->expect_nothing(from => $one),
   'RFC 6121, 4.2.2: nothing for one that was never available');

$two->presence();
ok($one->expect('presence', from => $two->jid(), type => undef),
   'available again');
$t->settle($one, $two);


###############################################################################
# The end of a session, however it comes: RFC 6121, 4.5.2

my %ends = (
    'the end of the stream'     => sub { $_[0]->close() },
    'the end of the connection' => sub { $_[0]->drop() },
    'a reset'                  => sub { $_[0]->drop(reset => 1) },
    'ill-formed XML'           => sub { $_[0]->send('</x>') },
);

for my $how (sort keys %ends) {
    $ends{$how}->($two);
    ok($one->expect('presence', from => $two->jid(), type => 'unavailable'),
       "RFC 6121, 4.5.2: $how is unavailable");

    $two = $t->online('alice', resource => 'two');
    ok($one->expect('presence', from => $two->jid(), type => undef),
       'another takes its place');
}

# one that was not available says nothing when it goes

$quiet->close();
ok($one->expect_nothing(from => $two), 'one that was not available goes')
    unless $t->peer() eq 'ejabberd';                        # says so
$two->close();
$one->expect('presence', from => $two->jid(), type => 'unavailable');

# a resource that is bound again is a new one

$two = $t->online('alice', resource => 'two');
$one->expect('presence', from => $two->jid());

my $newer = $t->client('alice', resource => 'two')->login();
ok($one->expect('presence', from => $two->jid(), type => 'unavailable'),
   'RFC 6120, 7.7.2.2: replaced is unavailable')
    unless $t->peer() eq 'ejabberd';
$newer->available();
ok($one->pick('presence', from => $newer->jid(), type => undef),
   'and available again with its presence');
$t->settle($one, $newer);
$newer->close();
$one->pick('presence', type => 'unavailable');


###############################################################################
# Directed presence: RFC 6121, 4.6 and 8.5

my $bob = $t->online('bob', resource => 'b');
my $negative = $t->online('bob', resource => 'n',
                          presence => { priority => -1 });
my $dora = $t->online('dora', domain => $domain2, resource => 'd');

$t->settle($bob, $negative, $dora, $one);

$one->presence(to => $bob->jid(), show => 'chat');
ok($bob->expect('presence', from => $one->jid(), to => $bob->jid(),
                type => undef, xpath => 'c:show = "chat"'),
   'RFC 6121, 8.5.3.1: directed to the full JID');
ok($negative->expect_nothing(from => $one), 'and to no other');

$one->presence(to => $dora->jid());
ok($dora->expect('presence', from => $one->jid()), 'to another domain');

$one->presence(to => $bob->bare(), status => 'all');
ok($_->expect('presence', from => $one->jid(), xpath => 'c:status = "all"'),
   'RFC 6121, 8.5.2.1.2: directed to the bare JID: ' . $_->{resource})
    for $bob, $negative;

for my $to ("bob\@$domain/none", "nobody\@$domain", "nobody\@$domain/r",
            "carol\@$domain", "carol\@$domain/r")
{
    for my $type (undef, 'unavailable', 'error') {
        next if $t->peer() eq 'ejabberd' && $to =~ /nobody/;

        $one->presence(to => $to, type => $type);
        ok($one->expect_nothing(), 'RFC 6121, 8.5.3.2.2: '
           . ($type // 'available') . " to $to is dropped");
    }
}

for my $to ('nowhere.example', 'x@nowhere.example', 'x@nowhere.example/r') {
    $one->presence(to => $to);
    ok($one->expect('presence', type => 'error', from => $to,
                    error => $t->ours() ? 'cancel remote-server-not-found'
                             : qr/not-found|forbidden|not-allowed/),
       "RFC 6120, 10.4.2: no such domain: $to");
    $one->presence(to => $to, type => 'error');
    ok($one->expect_nothing(), 'RFC 6120, 8.3.1: no answer to an error');
}

if ($t->ours()) {
    # nothing is said of a host that takes it, nor of a type that is none

    for my $type (undef, 'unavailable', 'error') {
        $one->presence(to => $domain, type => $type);
        ok($one->expect_nothing(), 'to the host: ' . ($type // 'available'));
    }

    # what is kept for others, and comes to them at each login, is not long

    for my $type (undef, 'unavailable') {
        $one->presence(type => $type, status => 'x' x 8192);

        my $error = $one->expect('presence', type => 'error',
                                 error => 'modify policy-violation');

        like($error ? $error->raw() : '', qr/8192 bytes/,
             'a long one: ' . ($type // 'available'));
        ok($one->expect_nothing(), 'nothing comes of it');
    }

    $one->presence(status => 'x' x 8000);
    ok($one->expect('presence', from => $one->jid(), type => undef),
       'one that is not longer than it may be');

    for my $type ('foo', '', 'away') {
        $one->presence(type => $type);
        ok($one->expect('presence', type => 'error',
                        error => 'modify bad-request'),
           "RFC 6121, 4.7.1: type '$type'");
        $one->presence(to => $bob->jid(), type => $type);
        ok($one->expect('presence', type => 'error',
                        error => 'modify bad-request'),
           "RFC 6121, 4.7.1: type '$type', directed");
    }

    ok($bob->expect_nothing(from => $one), 'it is not delivered');

    for my $priority (128, -129, 'high', '1.5', '1 2', '--1', 1e10) {
        $one->presence(priority => $priority);
        ok($one->expect('presence', type => 'error',
                        error => 'modify bad-request'),
           "RFC 6121, 4.7.2.3: priority $priority");
    }

    $one->presence(priority => " 5\n");
    ok($one->expect('presence', from => $one->jid(), type => undef),
       'white space around a priority');
}

$one->presence(to => $bob->jid(), type => 'error',
               xml => "<error type='cancel'><gone xmlns="
                      . "'$Test::XMPP::Client::NS{stanzas}'/></error>");
ok($bob->expect('presence', from => $one->jid(), type => 'error',
                error => 'cancel gone'), 'an error reaches the full JID');
ok($one->expect_nothing(), 'and is not answered');


###############################################################################
# Who was told that we are here is told when we go: RFC 6121, 4.6.3

$one->presence(type => 'unavailable', status => 'bye');
ok($_->expect('presence', from => $one->jid(), type => 'unavailable',
              xpath => 'c:status = "bye"'),
   'RFC 6121, 4.6.3: unavailable to ' . $_->jid()) for $bob, $dora;
ok($negative->pick('presence', from => $one->jid(), type => 'unavailable'),
   'also to those behind a bare JID');
$t->settle($bob, $dora, $negative, $one);

for my $how (sort keys %ends) {
    my $c = $t->online('alice', resource => 'three');

    $c->presence(to => $bob->jid());
    ok($bob->expect('presence', from => $c->jid(), type => undef),
       'directed');
    $ends{$how}->($c);
    ok($bob->expect('presence', from => $c->jid(), type => 'unavailable'),
       "RFC 6121, 4.6.3: $how");
}

# also without presence of one's own: RFC 6121, 4.6.1

my $c = $t->client('alice', resource => 'four')->login();

$c->presence(to => $bob->jid());
ok($bob->expect('presence', from => $c->jid(), type => undef),
   'RFC 6121, 4.6.1: directed without initial presence');
$c->close();
ok($bob->expect('presence', from => $c->jid(), type => 'unavailable'),
   'RFC 6121, 4.6.3: and told of the end');

# who was told already is not told again: RFC 6121, 4.6.4.  When another
# resource hears of the end, all have heard that will.

$one->presence();
$c = $t->online('alice', resource => 'five');
$c->presence(to => $bob->jid());
$c->presence(to => $bob->jid(), type => 'unavailable');
ok($bob->expect('presence', from => $c->jid(), type => undef), 'here');
ok($bob->expect('presence', from => $c->jid(), type => 'unavailable'),
   'and gone');
$c->close();
$one->pick('presence', from => $c->jid(), type => 'unavailable');
ok($bob->expect_nothing(from => $dora), 'RFC 6121, 4.6.4: not told again');

# nor who was never told

$c = $t->online('alice', resource => 'six');
$c->close();
$one->pick('presence', from => $c->jid(), type => 'unavailable');
ok($bob->expect_nothing(from => $dora), 'a stranger is told nothing');

$t->done();
