#!/usr/bin/perl

# Subscriptions: RFC 6121, 3, between users on two hosts.  The tables of
# appendix A are in 08-functions-subscription.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(hosts => 2, users => [ qw/ alice bob carol dora / ])
                  ->run();
my $domain = $t->domain();
my $redis = $t->redis();
my $ns = 'jabber:iq:roster';

my $alice = interested('alice', resource => 'a', on => 0);
my $other = interested('alice', resource => 'b', on => 1);
my $bob = interested('bob', resource => 'x', on => 1);

$t->settle($alice, $other, $bob);


###############################################################################
# Asked, and granted

$alice->presence(to => "bob\@$domain/x", type => 'subscribe', id => 's1',
                 status => 'please');

for my $c ($alice, $other) {
    is(push_of($c), "bob\@$domain none subscribe",
       'RFC 6121, 3.1.2: asked, which all of the sessions hear');
}

my $request = $bob->pick('presence', type => 'subscribe');

ok($request, 'RFC 6121, 3.1.3: the request is delivered');
is($request->attr('from'), "alice\@$domain",
   'RFC 6121, 3.1.2: from the bare JID');
is($request->attr('to'), "bob\@$domain", 'to the bare JID')
    if $t->peer() ne 'ejabberd';
is($request->child('status'), 'please', 'with what it says');

# the peers push once more

if ($t->ours()) {
    $alice->presence(to => "bob\@$domain", type => 'subscribe');
    ok($bob->expect_nothing(from => $alice),
       'RFC 6121, A.3.1: asked again, and not delivered');
}

$bob->presence(to => "alice\@$domain", type => 'subscribed');
is(push_of($bob), "alice\@$domain from ", 'RFC 6121, 3.1.5: granted');

for my $c ($alice, $other) {
    my $granted = $c->pick('presence', type => 'subscribed');

    is($granted && $granted->attr('from'), "bob\@$domain",
       'RFC 6121, 3.1.6: told, by the bare JID');
    is(push_of($c), "bob\@$domain to ", 'RFC 6121, 3.1.6: pushed');
    ok($c->pick('presence', from => $bob->jid(), type => undef),
       'RFC 6121, 3.1.5: and gets the presence that there is');
}

$bob->presence(status => 'new');
ok($_->pick('presence', from => $bob->jid(),
            xpath => 'contains(., "new")'), 'and what changes')
    for $alice, $other;

$bob->sync() && $bob->drain();
$alice->presence(status => 'mine');
ok($bob->expect_nothing(from => $alice), 'RFC 6121, 4.4.2: one way only')
    if $t->ours();


###############################################################################
# The other way, while the other is away

$bob->close();
ok($alice->pick('presence', from => $bob->jid(), type => 'unavailable'),
   'RFC 6121, 4.5.2: gone');

my $carol = interested('carol', on => 0);

$carol->presence(to => "bob\@$domain", type => 'subscribe',
                 status => 'later');
is(push_of($carol), "bob\@$domain none subscribe", 'asked while he is away');

for my $resource (qw/ y z /) {
    $bob = $t->client('bob', resource => $resource, on => 1)->login();
    $bob->query('get', undef, "<query xmlns='$ns'/>");
    ok($bob->expect_nothing(), 'RFC 6121, 3.1.3: nothing before presence');
    $bob->presence();

    my $request = $bob->pick('presence', type => 'subscribe',
                             from => "carol\@$domain");

    is($request && $request->child('status'), 'later',
       "RFC 6121, 3.1.3: delivered at login, $resource");
}

$bob->presence(to => "carol\@$domain", type => 'unsubscribed');
my $refused = $carol->pick('presence', type => 'unsubscribed');
ok($refused, 'RFC 6121, 3.2: refused');
is(push_of($carol), "bob\@$domain none ", 'and not asking any more');

my $again = $t->online('bob', resource => 'w', on => 0);
ok(!grep({ ($_->attr('type') // '') eq 'subscribe' } ($again->sync(),
         $again->drain())), 'answered: not delivered again');
$again->close();
$bob->pick('presence', type => 'unavailable');


###############################################################################
# An end, by each of the two

$alice->drain();
$other->drain();
$bob->presence(to => "alice\@$domain", type => 'unsubscribed');
is(push_of($bob), "alice\@$domain none ", 'RFC 6121, 3.2.1: taken back');

for my $c ($alice, $other) {
    ok($c->pick('presence', type => 'unsubscribed', from => "bob\@$domain"),
       'RFC 6121, 3.2.2: told');
    is(push_of($c), "bob\@$domain none ", 'RFC 6121, 3.2.2: pushed');
    ok($c->pick('presence', from => qr{^bob\@\Q$domain\E/},
                type => 'unavailable'), 'RFC 6121, 3.2.1: and unavailable');
}

befriend_both();
$alice->presence(to => "bob\@$domain", type => 'unsubscribe');
is(push_of($alice), "bob\@$domain from ", 'RFC 6121, 3.3.2: unsubscribed');
ok($bob->pick('presence', type => 'unsubscribe', from => "alice\@$domain"),
   'RFC 6121, 3.3.3: told');
is(push_of($bob), "alice\@$domain to ", 'RFC 6121, 3.3.3: pushed');
ok($alice->pick('presence', from => qr{^bob\@}, type => 'unavailable'),
   'RFC 6121, 3.3.3: and gets unavailable') if $t->peer() ne 'prosody';


###############################################################################
# An item is removed: 2.5.2

befriend_both();
$alice->query('set', undef, "<query xmlns='$ns'><item jid='bob\@$domain'"
                            . " subscription='remove'/></query>");

for my $type (qw/ unsubscribe unsubscribed /) {
    ok($bob->pick('presence', type => $type, from => "alice\@$domain"),
       "RFC 6121, 2.5.2: removed, and told: $type");
}

ok($bob->pick('presence', from => qr{^alice\@}, type => 'unavailable'),
   'RFC 6121, 2.5.2: and unavailable');
is(roster($bob)->{"alice\@$domain"}, 'none ', 'the item of the other stays');
ok(!exists roster($alice)->{"bob\@$domain"}, 'and that one is gone');

$_->sync() && $_->drain() for $alice, $other, $bob, $carol;


###############################################################################
# Approved in advance: 3.4

if ($t->ours()) {
    $bob->presence(to => "carol\@$domain", type => 'subscribed');
    is(push_of($bob), "carol\@$domain none  true",
       'RFC 6121, 3.4.2: approved in advance');
    ok($carol->expect_nothing(from => $bob),
       'RFC 6121, 3.4.2: which the other does not hear');

    $carol->presence(to => "bob\@$domain", type => 'subscribe');
    ok($carol->pick('presence', type => 'subscribed', from => "bob\@$domain"),
       'RFC 6121, 3.4.3: granted at once');
    is(last_push($carol), "bob\@$domain to ", 'and pushed');
    ok($carol->pick('presence', from => $bob->jid(), type => undef),
       'and gets the presence');
    is(roster($bob)->{"carol\@$domain"}, 'from ', 'RFC 6121, 3.4.3: from');
    ok(!grep({ ($_->attr('type') // '') eq 'subscribe' } $bob->drain()),
       'RFC 6121, 3.4.3: without asking');
}


###############################################################################
# Who is nobody, and where nobody is

if ($t->ours()) {
    $alice->presence(to => "nobody\@$domain", type => 'subscribe');
    is(push_of($alice), "nobody\@$domain none subscribe",
       'RFC 6121, 3.1.3: no such account: as if it were there');
    ok($alice->expect_nothing(), 'and nothing is said');

    $alice->presence(to => 'x@elsewhere.example', type => 'subscribe');
    is(push_of($alice), 'x@elsewhere.example none subscribe',
       'another server: asked');
    ok($alice->pick('presence', type => 'error',
                    error => 'cancel remote-server-not-found'),
       'and it cannot be reached');

    $alice->presence(to => $domain, type => 'subscribe');
    ok($alice->expect('presence', type => 'error',
                      error => 'cancel service-unavailable'), 'a host');

    $alice->presence(to => "alice\@$domain", type => $_)
        for qw/ subscribe subscribed unsubscribe unsubscribed /;
    ok($alice->expect_nothing(), 'oneself');

    $alice->presence(type => 'subscribe');
    ok($alice->expect('presence', type => 'error',
                      error => 'modify bad-request'), 'nobody');

    # XEP-0191, 3.3: who is blocked asks in vain

    my $blocks = interested('dora', domain => $t->domain2(), resource => 'b');
    my $iq = "<block xmlns='urn:xmpp:blocking'><item jid='%s'/></block>";

    $blocks->query('set', undef, sprintf $iq, "carol\@$domain");
    $carol->presence(to => $blocks->bare(), type => 'subscribe')->sync();
    ok($blocks->expect_nothing(), 'XEP-0191, 3.3: a request of who is blocked');

    # whom she had asked before; the presence that goes with the answer, too

    $blocks->query('set', undef, sprintf $iq =~ s/block /unblock /r
                                             =~ s/\/block>/\/unblock>/r,
                   "carol\@$domain");
    $blocks->presence(to => "carol\@$domain", type => 'subscribe');
    ok($carol->pick('presence', type => 'subscribe', from => $blocks->bare()),
       'one who asks');
    $blocks->query('set', undef, sprintf $iq, "carol\@$domain");
    $blocks->drain();
    $carol->presence(to => $blocks->bare(), type => 'subscribed')->sync();
    ok($blocks->expect_nothing(), 'XEP-0191, 3.3: and blocks: no answer');
    $blocks->close();

    # a long one goes without what it says

    my $dora = interested('dora', domain => $t->domain2());
    $alice->presence(to => $dora->bare(), type => 'subscribe',
                     status => 'x' x 3000);
    my $long = $dora->pick('presence', type => 'subscribe');
    ok($long && !defined $long->child('status'), 'a long request, to a domain');

    # nor does it have room anywhere else: it waits where Redis keeps it

    $dora->presence(to => "alice\@$domain", type => 'unsubscribed');
    $alice->pick('presence', type => 'unsubscribed');

    my $big = 'y' x 50_000;

    $alice->send("<presence to='" . $dora->bare() . "' type='subscribe'"
                 . " id='$big' xml:lang='$big' more='$big' xmlns:n='urn:n'"
                 . " n:more='$big'/>");
    $long = $dora->pick('presence', type => 'subscribe');
    ok($long, 'a long request: without what is long');
    cmp_ok(length($long ? $long->raw() : $big), '<', 2048,
           'a long request: not longer than a short one');
    is($redis->command('HSTRLEN', 'xmpp:{' . $dora->bare() . '}:requests',
                       "alice\@$domain"), length $long->raw(),
       'a long request: nor is what Redis keeps of it');
}

$t->done();


###############################################################################

sub interested {
    my ($user, %opt) = @_;

    my $c = $t->client($user, %opt)->login();

    $c->query('get', undef, "<query xmlns='$ns'/>");
    $c->available();

    return $c;
}


# The next push: the address, its subscription, ask and approved

sub push_of {
    my ($c) = @_;

    my $push = $c->pick('iq', type => 'set') or return '';

    return item_of($push->find("*[local-name()='query']/*"));
}


sub item_of {
    my ($item) = @_;

    return join ' ', $item->getAttribute('jid'), state_of($item);
}


sub state_of {
    my ($item) = @_;

    return $item->getAttribute('subscription') . ' '
           . ($item->getAttribute('ask') // '')
           . ($item->getAttribute('approved') ? ' true' : '');
}


# That of several pushes which comes last

sub last_push {
    my ($c) = @_;

    $c->sync();

    my @pushes = grep { $_->is('iq') } map { $_->[1] }
                 grep { $_->[0] eq 'stanza' } @{ $c->{events} };
    my %mine = map { $_ => 1 } @pushes;

    $c->{events} = [ grep { !$mine{$_->[1] // ''} } @{ $c->{events} } ];

    return @pushes ? item_of($pushes[-1]->find("*[local-name()='query']/*"))
                   : '';
}


sub roster {
    my ($c) = @_;

    my @items = $c->query('get', undef, "<query xmlns='$ns'/>")
                  ->find("*[local-name()='query']/*");

    return { map { $_->getAttribute('jid') => state_of($_) } @items };
}


# alice and bob, each to the other

sub befriend_both {
    for my $pair ([ $alice, $bob ], [ $bob, $alice ]) {
        my ($from, $to) = @$pair;

        next if roster($from)->{$to->bare()} =~ /^(?:to|both)/;

        $from->presence(to => $to->bare(), type => 'subscribe');
        $to->pick('presence', type => 'subscribe');
        $to->presence(to => $from->bare(), type => 'subscribed');
        $from->pick('presence', type => 'subscribed');
        $from->pick('presence', from => $to->jid(), type => undef);
    }

    $t->settle($alice, $bob);
    $_->sync() && $_->drain() for $alice, $other, $bob;
    is(roster($alice)->{"bob\@$domain"}, 'both ', 'both');
}
