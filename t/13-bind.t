#!/usr/bin/perl

# Resource binding: RFC 6120, 7; the optional <session/> of RFC 3921.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ qw/ alice bob / ])->run();
my $domain = $t->domain();
my %NS = %Test::XMPP::Client::NS;


###############################################################################
# The feature; resources of both kinds

my $c = $t->client('alice');
$c->secure();
my $features = $c->auth();

ok($features->test('bind:bind'), 'RFC 6120, 7.3.1: offered');
ok(!$features->test('session:session')
   || $features->test('session:session/session:optional'),
   '<session/> is optional where it is offered') unless $t->peer();

my $id = $c->iq('set', undef, "<bind xmlns='$NS{bind}'/>");
my $answer = $c->expect('iq', type => 'result', id => $id);
ok($answer, 'RFC 6120, 7.6.1: chosen by the server');

my ($mine) = $answer->find('bind:bind/bind:jid');
like($mine->textContent(), qr{^alice\@\Q$domain\E/.{6,}}, 'a full JID');
is($answer->attr('to') // $mine->textContent(), $mine->textContent(),
   'addressed to nobody else');
$c->{jid} = $mine->textContent();
ok($c->sync(), 'and usable');

my %resources;

for (1 .. 5) {
    my $other = $t->client('alice')->login();
    $resources{ $other->jid() } = $other;
}

is(keys %resources, 5, 'RFC 6120, 7.5: several at once, all different');
ok($_->sync(), 'all of them live') for values %resources;
$_->close() for values %resources;

$c = $t->client('bob', resource => 'balcony')->login();
is($c->jid(), "bob\@$domain/balcony", 'RFC 6120, 7.7.1: chosen by the client');

my $iq = $c->query('set', undef, "<session xmlns='$NS{session}'/>");
is($iq->attr('type'), 'result', 'RFC 3921, 3: a session, if one must');


###############################################################################
# What a resource may be: RFC 7622, 3.4

my %good = (
    'upper case and space' => 'Home Office',
    'XML'                  => q{a/b@c <d>&'e"},
    'non-ASCII'            => "\x{263A}\x{6F22}\x{3B1}",
    '1023 bytes'           => 'x' x 1023,
    '1022 bytes, 511 characters' => "\x{E9}" x 511,
);

# stringprep of the peers ends with Unicode 3.2
$good{'after Unicode 3.2'} = "\x{1F600}\x{1E9E}" if $t->ours();

for my $name (sort keys %good) {
    $c = $t->client('bob', resource => $good{$name});
    is(eval { $c->login()->jid() }, "bob\@$domain/$good{$name}",
       "good: $name") or diag $@;
    $c->drop();
}

# OpaqueString: RFC 8265, 4.2.2

$c = $t->client('bob', resource => "e\x{301}\x{A0}x");
is(eval { $c->login()->jid() }, "bob\@$domain/\x{E9} x", 'prepared') or diag $@
    unless $t->peer() eq 'ejabberd';                         # gives U+A0
$c->drop();

my %bad = (
    '1024 bytes'                 => 'x' x 1024,
    '1024 bytes, 512 characters' => "\x{E9}" x 512,
    'control character'          => "a\x{7F}b",
);

# stringprep of the peers lets these be
%bad = (%bad, 'C1 control' => "a\x{85}b", 'private use' => "a\x{E000}b",
        'soft hyphen' => "a\x{AD}b", 'unassigned' => "a\x{378}b")
    if $t->ours();

for my $name (sort keys %bad) {
    $c = $t->client('bob');
    $c->secure();
    $c->auth();
    $answer = $c->query('set', undef, "<bind xmlns='$NS{bind}'><resource>"
                                      . "$bad{$name}</resource></bind>");

    ok($answer && ($answer->error() // '') eq 'modify bad-request'
       # Prosody takes another one
       || $t->peer() eq 'prosody' && $answer->attr('type') eq 'result',
       "RFC 6120, 7.7.2.1: bad: $name");
    next if $answer->attr('type') eq 'result';
    ok(eval { $c->bind('better') }, 'and another try');
    $c->drop();
}

$c = $t->client('bob');
$c->secure();
$c->auth();
$answer = $c->query('set', undef,
                    "<bind xmlns='$NS{bind}'><resource/></bind>");
like($answer->error() // $answer->find('bind:bind/bind:jid'),
     qr{^(?:modify bad-request|bob\@\Q$domain\E/.+)$},
     'an empty resource is refused, or as none');


###############################################################################
# Conflict: the newer one wins, exactly one survives: RFC 6120, 7.7.2.2

my $old = $t->client('alice', resource => 'same')->login();
my $bob = $t->client('bob', resource => 'b')->login();

for my $round (1 .. 8) {
    my $new = $t->client('alice', resource => 'same')->login();

    is($new->jid(), "alice\@$domain/same", "round $round: the new one has it");
    ok($old->expect_stream_error('conflict'),
       'RFC 6120, 4.9.3.3: the old one is told');

    $bob->message($new->jid(), "to the new $round", type => 'chat');
    ok($new->expect('message', body => "to the new $round"),
       'what is sent then reaches the new one');
    ok($new->sync(), 'which lives');

    $old = $new;
}

# one that only lost its connection is in nobody's way

$old->drop(reset => 1);
my $new = $t->client('alice', resource => 'same');
ok(eval { $new->login(); $new->sync() }, 'after a reset connection') or diag $@;


###############################################################################
# Binding at the wrong time

$c = $t->client('bob')->login();
$answer = $c->query('set', undef, "<bind xmlns='$NS{bind}'>"
                                  . '<resource>second</resource></bind>');
ok($answer && $answer->attr('type') eq 'error',
   'a second resource on one stream is refused')
    unless $t->peer() eq 'prosody';                        # gives another
ok($c->sync(), 'the first one stays') unless $t->peer() eq 'prosody';

for my $stanza ("<message to='bob\@$domain'><body>x</body></message>",
                '<presence/>',
                "<iq type='get' id='1'><ping xmlns='$NS{ping}'/></iq>",
                "<iq type='get' id='1' to='$domain'>"
                . "<query xmlns='$NS{info}'/></iq>")
{
    my ($name) = $stanza =~ /^<(\w+)/;

    next if $t->peer() eq 'ejabberd';                       # no answer

    $c = $t->client('alice');
    $c->secure();
    $c->auth();
    $c->send($stanza);

    if ($t->ours()) {
        ok($c->expect_stream_error('not-authorized'),
           "RFC 6120, 7.1: $name before binding");
        next;
    }

    # the peers answer with a stanza error
    $answer = $c->recv_stanza();
    like($answer && $answer->error() // '',
         qr/not-authorized|not-allowed|service-unavailable/,
         "RFC 6120, 7.1: $name before binding");
}

ok($bob->expect_nothing(), 'none of it went anywhere');

if ($t->ours()) {
    $c = $t->client('alice');
    $c->secure();
    $c->auth();
    $c->iq('get', undef, "<bind xmlns='$NS{bind}'/>");
    $answer = $c->recv_stanza();
    ok($answer && $answer->is('error', $NS{stream})
       || ($answer->attr('type') // '') eq 'error', 'bind is not to be got');
}

$t->done();
