#!/usr/bin/perl

# Client state indication: XEP-0352; what is held for an inactive client, and
# what makes it go.  alice and her other session are on host 0, the others on
# host 1 and, some, on host 0.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(hosts => 2, workers => 1,
                        users => [ qw/ alice bob carol / ])->run();

my ($domain, $ours, $peer) = ($t->domain(), $t->ours(), $t->peer());

my $csi = 'urn:xmpp:csi:0';
my $states = 'http://jabber.org/protocol/chatstates';
my $muc = 'http://jabber.org/protocol/muc#user';
my $delay = "*[local-name() = 'delay' and namespace-uri() = 'urn:xmpp:delay']";


sub active   { $_->send("<active xmlns='$csi'/>") for @_ }
sub inactive { $_->send("<inactive xmlns='$csi'/>") for @_ }

sub state_of {
    my ($from, $to, @states) = @_;

    $from->message($to->jid(), undef, type => 'chat',
                   xml => "<$_ xmlns='$states'/>") for @states;
}

# presence of these kinds, one after the other, and each has come to Redis

sub shows {
    my ($from, $to, @shows) = @_;

    $from->presence(to => ref $to ? $to->jid() : $to, show => $_) for @shows;
    $from->sync();
}


# What a client gets, in a few words each, up to a message with this body; with
# "+" what says that it was delayed.

sub said {
    my ($stanza) = @_;
    my ($resource) = ($stanza->attr('from') // '') =~ m{/(.*)};
    my ($inner) = $stanza->find('.//c:message');
    my ($state) = $stanza->find(".//*[namespace-uri() = '$states']");
    my $word = $stanza->body() // $stanza->find('.//c:body')
               // ($state ? $state->localname() : undef)
               // $stanza->find('c:show') // $stanza->attr('type') // 'on';

    $word = "$resource:$word" if defined $resource && !defined $stanza->body();
    $word = "carbon-$word" if $inner;

    return $word . ($ours && $stanza->test($delay) ? '+' : '');
}

sub heard {
    my ($client, $last) = @_;
    my @said;

    while (my $stanza = $client->recv_stanza()) {
        push @said, said($stanza);
        last if $said[-1] eq $last;
    }

    return join ' ', @said;
}


# Prosody holds all, not the last of each; then it waits a while until it holds
# again

sub want {
    my ($last, $all) = @_;

    return $last if $ours;
    return ($peer eq 'prosody' ? $all : $last) =~ s/\+//gr;
}


###############################################################################
# 4.1, 4.2

my $feature = "*[local-name() = 'csi' and namespace-uri() = '$csi']";

{
    my $early = $t->client('alice', resource => 'early');

    ok(!$early->secure()->test($feature),
       'XEP-0352, 4.1: no feature before authentication');
    ok($early->auth()->test($feature), 'XEP-0352, 4.1: the feature after it');

    inactive($early);
    $early->bind();
    active($early);

    ok($early->expect_nothing(), 'XEP-0352, 4.2: no harm before binding');
    $early->close();

    if ($ours) {
        my $stranger = $t->client('alice')->connect();

        $stranger->open_stream();
        inactive($stranger);
        ok($stranger->expect_stream_error('not-authorized'),
           'RFC 6120, 4.9.3.12: not before authentication');
    }
}

my $resource = "a&<'\"";

my $a = $t->online('alice', resource => $resource, on => 0);
my $a2 = $t->online('alice', resource => 'a2', on => 0);
my $b = $t->online('bob', resource => 'b', on => 1);
my $c = $t->online('carol', resource => 'c', on => 0);

$t->settle($a, $a2, $b, $c);

active($a);
ok($a->expect_nothing(), 'XEP-0352, 4.2: no reply to what is so already');
inactive($a, $a);
ok($a->expect_nothing(), 'XEP-0352, 4.2: no reply, twice');
active($a, $a);
ok($a->expect_nothing(), 'XEP-0352, 4.2: no reply, and back');

shows($b, $a, 'away', 'dnd');
is(heard($a, 'b:dnd'), 'b:away b:dnd', 'active: all at once');


###############################################################################
# 3.2: presence is held, the last of each, in the order of arrival

inactive($a);
$a->sync();

shows($b, $a, 'away', 'dnd', 'xa');
$b->message($a->jid(), 'one', type => 'chat');
is(heard($a, 'one'), want('b:xa+ one', 'b:away b:dnd b:xa one'),
   'XEP-0352, 3.2: the last presence, before a message');

shows($b, $a, 'away');
shows($c, $a, 'chat');
shows($b, $a, 'dnd');
$b->presence(to => $a->jid(), type => 'unavailable');
$b->message($a->jid(), 'two', type => 'chat');

# ejabberd sends only what is of the same sender

if ($peer ne 'ejabberd') {
    is(heard($a, 'two'), want('c:chat+ b:unavailable+ two',
                              'b:away c:chat b:dnd b:unavailable two'),
       'XEP-0352, 3.2: in the order of arrival');
} else {
    is(heard($a, 'two'), 'b:unavailable two', 'XEP-0352, 3.2: of the sender');
}

# and nothing is left

$b->message($a->jid(), 'three', type => 'chat');
is(heard($a, 'three'), 'three', 'each once');


###############################################################################
# 5.1: <active/>

my $bare = $a->bare();

active($a);
$a->sync();
$a->drain();
inactive($a);
$a->sync();

shows($b, $bare, 'away', 'dnd');
is(heard($a2, 'b:dnd'), 'b:away b:dnd', 'the other session is active');

active($a);
my $ping = $a->iq('get', $domain, "<ping xmlns='urn:xmpp:ping'/>");

is(heard($a, 'b:dnd' . ($ours ? '+' : '')),
   want('b:dnd+', 'b:away b:dnd'), 'XEP-0352, 5: active: what was held');
ok($a->expect('iq', id => $ping), 'XEP-0352, 5.1: before the next answer');

shows($b, $bare, 'away', 'xa');
is(heard($_, 'b:xa'), 'b:away b:xa', 'XEP-0352, 5: nothing is held any more')
    for $a, $a2;


###############################################################################
# Chat states: XEP-0085

inactive($a);
$a->sync();

state_of($b, $a, qw/ composing paused composing inactive /);
$b->sync();
state_of($c, $a, 'composing');
$c->sync();
shows($b, $a, 'away');
$b->message($a->jid(), 'four', type => 'chat',
            xml => "<active xmlns='$states'/>");

is(heard($a, 'four'), 'b:inactive+ c:composing+ b:away+ four',
   'XEP-0352, 3.2: the last chat state of each, beside presence') if $ours;
heard($a, 'four') if !$ours;


# the rest is about what we do

if (!$ours) {
    $t->done();
    exit;
}


for my $with ("<thread>t</thread>", "<no-store xmlns='urn:xmpp:hints'/>",
              "<no-copy xmlns='urn:xmpp:hints'/>",
              "<private xmlns='urn:xmpp:carbons:2'/>",
              "<origin-id xmlns='urn:xmpp:sid:0' id='o'/>")
{
    for my $type (qw/ chat normal groupchat /) {
        $b->message($a->jid(), undef, type => $type,
                    xml => "$with<$_ xmlns='$states'/>")
            for qw/ composing gone /;
        $b->message($a->jid(), 'end', type => 'chat');
        is(heard($a, 'end'), 'b:gone+ end', "$type with $with alone");
    }
}


###############################################################################
# What matters goes at once, behind what was held

my $x = "<composing xmlns='$states'/>";

my %messages = (
    body      => "$x<body>b</body>",
    subject   => "$x<subject>s</subject>",
    receipt   => "$x<received xmlns='urn:xmpp:receipts' id='i'/>",
    marker    => "$x<displayed xmlns='urn:xmpp:chat-markers:0' id='i'/>",
    encrypted => "$x<encrypted xmlns='eu.siacs.conversations.axolotl'/>",
    store     => "$x<store xmlns='urn:xmpp:hints'/>",
    delay     => "$x<delay xmlns='urn:xmpp:delay' from='x.test' stamp='"
                 . "2020-01-01T00:00:00Z'/>",
    unknown   => "$x<composing xmlns='urn:x'/>",
    thread    => '<thread>t</thread>',
    inside    => "<y xmlns='urn:x'>$x</y>",
    'another thread' => "$x<thread xmlns='urn:x'/>",
    nothing   => '',
);

# what the next thing is, and that it was not held itself

sub next_is {
    my ($why, %want) = @_;

    my $stanza = $a->expect(%want);

    ok($stanza, $why);
    ok($stanza && !$stanza->test("${delay}[\@from = '$domain']"),
       "$why: at once");
}

for my $name (sort keys %messages) {
    shows($b, $a, 'away', 'dnd');
    $b->message($a->jid(), undef, type => 'chat', id => $name,
                xml => $messages{$name});

    is(heard($a, 'b:dnd+'), 'b:dnd+', "$name: what was held first");
    next_is("$name: it matters", name => 'message', id => $name);
}

shows($b, $a, 'away', 'dnd');
$b->message($a->jid(), undef, type => 'error', id => 'e',
            xml => "$x<error type='cancel'><item-not-found "
                   . "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>");
is(heard($a, 'b:dnd+'), 'b:dnd+', 'an error: what was held first');
next_is('an error matters', name => 'message', id => 'e');

my $id = $b->iq('get', $a->jid(), "<ping xmlns='urn:xmpp:ping'/>");
next_is('an iq', name => 'iq', id => $id);

$a2->drain();
shows($b, $bare, 'away', 'dnd');
heard($a2, 'b:dnd');
ok($a->sync(), 'an answer');
is(join(' ', map { said($_) } $a->drain()), 'b:dnd+',
   'an answer: behind what was held');

shows($b, $a, 'away', 'dnd');
$c->presence(to => $bare, type => 'subscribe', id => 's');
is(heard($a, 'b:dnd+'), 'b:dnd+', 'a subscription: what was held first');
next_is('a subscription matters', name => 'presence', type => 'subscribe');
$a->presence(to => $c->bare(), type => 'unsubscribed');
$t->settle($a, $a2);

shows($b, $a, 'away', 'dnd');
$b->presence(to => $a->jid(), type => 'error', id => 'pe',
             xml => "<error type='cancel'><gone "
                    . "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>");
is(heard($a, 'b:dnd+'), 'b:dnd+', 'an error in presence: what was held first');
next_is('an error in presence matters', name => 'presence', id => 'pe');


###############################################################################
# Presence in rooms: XEP-0045, 7.1, 8.2, 10.9

my $item = "<item affiliation='none' role='participant'/>";

sub room {
    my ($inner, %with) = @_;

    $b->presence(to => $a->jid(), xml => "<x xmlns='$muc'>$inner</x>", %with);
}

room($item, show => $_) for qw/ away dnd /;
$b->message($a->jid(), 'end', type => 'chat');
is(heard($a, 'end'), 'b:dnd+ end', 'of occupants the last one');

for my $inner ("<status code='110'/>", "<destroy jid='r\@rooms.test'/>") {
    for my $more ('', "<c xmlns='urn:x'/>") {
        room($item, show => $_) for qw/ away dnd /;
        $b->presence(to => $a->jid(), id => 'self',
                     xml => "$more<x xmlns='$muc'>$item$inner</x>$more");
        is(heard($a, 'b:dnd+'), 'b:dnd+', "$inner: what was held first");
        next_is("$inner matters", name => 'presence', id => 'self');
    }
}

# what only looks like it

$b->presence(to => $a->jid(), show => $_,
             xml => "<x xmlns='urn:x'><status code='110'/></x>"
                    . "<status>&lt;x xmlns='$muc'&gt;&lt;status/&gt;</status>")
    for qw/ away dnd /;
$b->message($a->jid(), 'end', type => 'chat');
is(heard($a, 'end'), 'b:dnd+ end', 'no room');

# XEP-0203, 2: one and only one

$b->presence(to => $a->jid(), show => $_,
             xml => "<delay xmlns='urn:xmpp:delay' from='x.test' "
                    . "stamp='2020-01-01T00:00:00Z'/>") for qw/ away dnd /;
$b->message($a->jid(), 'end', type => 'chat');
ok($a->expect('presence', xpath => [ 'c:show = "dnd"', "count($delay) = 1",
                                     "$delay/\@from = 'x.test'" ]),
   'XEP-0203, 2: no second delay');
heard($a, 'end');

# what is added: who says it, when; to an empty tag, too

$b->presence(to => $a->jid());
$b->message($a->jid(), 'end', type => 'chat');
ok($a->expect('presence', from => $b->jid(), to => $a->jid(),
              xpath => [ 'count(*) = 1', "$delay/\@from = '$domain'",
                         "string-length($delay/\@stamp) = 20" ]),
   'XEP-0203, 2: the server tells since when');
heard($a, 'end');


###############################################################################
# The account's own presence, its other sessions, and carbons: XEP-0280

shows($b, $a, qw/ away dnd /);
$a->presence(show => 'chat');
is(heard($a, "$resource:chat"), "b:dnd+ $resource:chat",
   'RFC 6121, 4.2.2: of its own presence it hears at once');
heard($a2, "$resource:chat");

$a2->presence(show => $_) for qw/ away dnd xa /;
heard($a2, 'a2:xa');
$b->message($a->jid(), 'end', type => 'chat');
is(heard($a, 'end'), 'a2:xa+ end', "the account's other session");

is($a->query('set', undef, "<enable xmlns='urn:xmpp:carbons:2'/>")
     ->attr('type'), 'result', 'carbons are enabled');

state_of($b, $a2, qw/ composing paused /);
heard($a2, 'b:paused');
state_of($b, $a, 'gone');
$b->message($a2->jid(), 'for two', type => 'chat');

is(join(' ', map { said($a->recv_stanza()) } 1 .. 3),
   'carbon-paused+ b:gone+ carbon-for two', 'XEP-0280: the last one received');
heard($a2, 'for two');

state_of($b, $a2, qw/ composing paused /);
heard($a2, 'b:paused');
state_of($a2, $b, 'active');
is(join(' ', map { said($a->recv_stanza()) } 1 .. 2),
   'carbon-paused+ carbon-active', 'XEP-0280: one that was sent matters');


###############################################################################
# Stream management (XEP-0198): what is held is not sent, and does not count

{
    my $sm = 'urn:xmpp:sm:3';
    my $s = $t->online('alice', resource => 's', on => 0);

    $t->settle($a2, $s, $b);
    $s->send("<enable xmlns='$sm'/>");
    ok($s->expect('enabled', ns => $sm), 'XEP-0198: enabled');
    inactive($s);

    shows($b, $s, qw/ away dnd /);
    $b->message($s->jid(), 'end', type => 'chat');
    ok($s->expect('presence', xpath => 'c:show = "dnd"'), 'one presence');
    ok($s->expect('message', body => 'end'), 'one message');
    ok($s->expect('r', ns => $sm), 'XEP-0198, 4: asked for both');

    $s->send("<a xmlns='$sm' h='$_'/>") for 2, 3;
    ok($s->expect_stream_error('undefined-condition'),
       'XEP-0198, 4: two stanzas were sent, and no third one');
    $t->settle($a2, $b);
    $a->drain();
}


###############################################################################
# The end of an inactive session: what is held is forgotten

shows($b, $bare, qw/ away dnd /);
heard($a2, 'b:dnd');
$a->send('</stream:stream>');
ok($a->expect_end(), 'the end, and nothing before it');

$a = $t->online('alice', resource => $resource, on => 0);
$t->settle($a, $a2);
shows($b, $a, qw/ away dnd /);
is(heard($a, 'b:dnd'), 'b:away b:dnd', 'XEP-0352, 5: a stream begins active');

$t->done();
