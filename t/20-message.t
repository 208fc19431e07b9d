#!/usr/bin/perl

# Where a message goes: RFC 6121, 8, the table in 8.5.4.  Where the text
# leaves a choice, both ways are good.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ qw/ alice bob carol dora / ])->run();
my ($domain, $domain2) = ($t->domain(), $t->domain2());

my @types = (undef, qw/ normal chat headline groupchat error foo /);
my $unavailable = 'cancel service-unavailable';

my $alice = $t->online('alice', resource => 'a');
my $bob = $t->online('bob', resource => 'b');

sub name { return defined $_[0] ? "type $_[0]" : 'no type' }

sub type { return defined $_[0] ? (type => $_[0]) : () }

# ejabberd leaves out "normal" and makes it of what it does not know

sub relayed {
    my ($type) = @_;

    return $t->peer() eq 'ejabberd' && ($type // '') =~ /normal|foo/
           ? undef : $type;
}


###############################################################################
# 8.5.3.1: the full JID of a connected resource gets all

for my $type (@types) {
    my $id = $alice->message($bob->jid(), 'x', type($type));
    ok($bob->expect('message', from => $alice->jid(), to => $bob->jid(),
                    id => $id, type => relayed($type), body => 'x'),
       'RFC 6121, 8.5.3.1: full JID, ' . name($type));
}

my $quiet = $t->client('bob', resource => 'quiet')->login();
my $negative = $t->online('bob', resource => 'negative',
                          presence => { priority => -1 });

$t->settle($bob, $negative, $quiet);

for my $type (qw/ chat normal headline /) {
    for my $one ($quiet, $negative) {
        $alice->message($one->jid(), 'x', type => $type);
        ok($one->expect('message', body => 'x', type => relayed($type)),
           "RFC 6121, 8.5.3.1: full JID of a resource "
           . ($one == $quiet ? 'without presence' : 'of negative priority')
           . ", $type");
    }
}

ok($bob->expect_nothing(from => $alice), 'and no other one');


###############################################################################
# 8.5.2.1.1: the bare JID: all available resources of non-negative priority

my $bob2 = $t->online('bob', resource => 'b2');

$bob->pick('presence', from => $bob2->jid());
$negative->pick('presence', from => $bob2->jid());
$t->settle($bob, $bob2, $negative, $quiet);

for my $type (grep { !defined || !/groupchat|error/ } @types) {
    next if $t->peer() && ($type // '') eq 'foo';

    my $id = $alice->message("bob\@$domain", 'y', type($type));

    for my $one ($bob, $bob2) {
        ok($one->expect('message', from => $alice->jid(), id => $id,
                        to => "bob\@$domain", type => relayed($type),
                        body => 'y'),
           'RFC 6121, 8.5.2.1.1: bare JID, ' . name($type));
    }
}

if ($t->ours()) {
    my $bob3 = $t->online('bob', resource => 'b3',
                          presence => { priority => 127 });
    $t->settle($bob, $bob2, $bob3, $negative);

    $alice->message("bob\@$domain", 'z', type => 'chat');
    ok($_->expect('message', body => 'z'), 'whatever the priority')
        for $bob, $bob2, $bob3;

    $bob3->close();
    $_->pick('presence', from => $bob3->jid(), type => 'unavailable')
        for $bob, $bob2, $negative;
}

for my $one ($quiet, $negative) {
    ok($one->expect_nothing(from => $alice),
       'RFC 6121, 8.5.2.1.1: not to ' . $one->jid());
}

my $id = $alice->message("bob\@$domain", 'x', type => 'groupchat');
ok($alice->expect('message', type => 'error', id => $id,
                  from => "bob\@$domain", to => $alice->jid(),
                  error => $unavailable),
   'RFC 6121, 8.5.2.1.1: groupchat to a bare JID is an error');

$alice->message("bob\@$domain", 'x', type => 'error');
ok($_->expect_nothing(from => $alice),
   'RFC 6121, 8.5.2.1.1: error to a bare JID is dropped') for $bob, $bob2;
ok($alice->expect_nothing(), 'RFC 6120, 8.3.1: and not answered');


###############################################################################
# 8.5.3.2.1: no such resource

for my $type (@types) {
    next if $t->peer() && defined $type && $type =~ /normal|headline|foo/;
    next if $t->peer() && !defined $type;        # treat it as to the bare JID

    $alice->message("bob\@$domain/none", 'none', type($type));

    if (($type // '') eq 'chat') {
        ok($_->expect('message', body => 'none', to => qr/^bob\@/),
           'RFC 6121, 8.5.3.2.1: no such resource: chat as to the bare JID')
            for $bob, $bob2;
        next;
    }

    $alice->sync() or die;

    my @answer = $alice->drain();

    if (($type // '') eq 'error') {
        is(@answer, 0, 'RFC 6121, 8.5.3.2.1: no such resource: error');

    } else {
        ok(!@answer || $answer[0]->error() eq $unavailable,
           'RFC 6121, 8.5.3.2.1: no such resource: ' . name($type));
        cmp_ok(@answer, '<', 2, 'at most one answer');
    }
}

ok($_->expect_nothing(from => $alice), 'nobody else got those')
    for $bob, $bob2, $negative;

$_->close() for $quiet, $bob2;
$_->pick('presence', from => $bob2->jid(), type => 'unavailable')
    for $bob, $negative;


###############################################################################
# 8.5.2.2.1: nobody is available

$bob->presence(type => 'unavailable');
$t->settle($bob, $negative);

nobody("bob\@$domain", 'only negative or no presence');
ok($_->expect_nothing(from => $alice), $_->jid() . ' got nothing')
    for $bob, $negative;
nobody("carol\@$domain", 'no session');

if ($t->ours()) {
    $alice->message("carol\@$domain/r", 'x', type => 'chat');
    ok($alice->expect_nothing(),
       'RFC 6121, 8.5.3.2.1: chat to a full JID, no session: kept');
}

sub nobody {
    my ($to, $why) = @_;

    my $id = $alice->message($to, 'x', type => 'groupchat');
    ok($alice->expect('message', type => 'error', id => $id, from => $to,
                      to => $alice->jid(), error => $unavailable),
       "RFC 6121, 8.5.2.2.1: $why: groupchat");

    # what is kept (t/50-offline.t), and what is ignored

    for my $type (undef, qw/ normal chat headline error /) {
        next if $t->peer() && ($type // '') eq 'headline';  # an error there

        $alice->message($to, 'x', type($type));
        ok($alice->expect_nothing(),
           "RFC 6121, 8.5.2.2.1: $why: " . name($type));
    }
}


###############################################################################
# 8.5.1: no such user; RFC 6120, 10.4: no such domain; the host itself

for my $to ("nobody\@$domain", "nobody\@$domain/r", "nobody\@$domain2") {
    for my $type (undef, qw/ normal chat groupchat /) {
        my $id = $alice->message($to, 'x', type($type));
        ok($alice->expect('message', type => 'error', id => $id, from => $to,
                          error => $unavailable),
           "RFC 6121, 8.5.1: no such user, $to: " . name($type));
    }

    # a headline may be dropped

    $alice->message($to, 'x', type => 'headline');
    $alice->sync();
    ok(!(grep { $_->error() ne $unavailable } $alice->drain()),
       "RFC 6121, 8.5.1: no such user, $to: headline");

    $alice->message($to, 'x', type => 'error');
    ok($alice->expect_nothing(), 'RFC 6120, 8.3.1: errors are not answered');
}

for my $to ('x@nowhere.example', 'x@nowhere.example/r', 'nowhere.example',
            "sub.$domain", "x\@sub.$domain")
{
    $id = $alice->message($to, 'x');
    ok($alice->expect('message', type => 'error', id => $id, from => $to,
                      error => $t->ours() ? 'cancel remote-server-not-found'
                               : qr/not-found|forbidden|not-allowed/),
       "RFC 6120, 10.4.2: no such domain: $to");

    $alice->message($to, 'x', type => 'error');
    ok($alice->expect_nothing(), 'RFC 6120, 8.3.1: errors are not answered');
}

if ($t->ours()) {
    for my $to ($domain, "$domain/x", $domain2) {
        $id = $alice->message($to, 'x');
        ok($alice->expect('message', type => 'error', id => $id, from => $to,
                          error => $unavailable),
           "RFC 6120, 10.5.1: the host takes no messages: $to");
        $alice->message($to, 'x', type => 'error');
        ok($alice->expect_nothing(), 'nor answers errors');
    }
}


###############################################################################
# Oneself; another domain of this server

for my $to (undef, "alice\@$domain", $alice->jid()) {
    $id = $alice->message($to, 'self', type => 'chat');
    ok($alice->expect('message', from => $alice->jid(), id => $id,
                      body => 'self'),
       'RFC 6120, 10.3.1: to ' . ($to // 'nobody') . ' is to oneself');
}

my $dora = $t->online('dora', domain => $domain2, resource => 'd');

$alice->message($dora->jid(), 'x', type => 'chat');
ok($dora->expect('message', from => $alice->jid(), body => 'x'),
   'RFC 6120, 10.5.3: to another domain here, full JID');
$alice->message($dora->bare(), 'y', type => 'chat');
ok($dora->expect('message', from => $alice->jid(), body => 'y'), 'bare JID');
$dora->message($alice->bare(), 'z', type => 'chat');
ok($alice->expect('message', from => $dora->jid(), body => 'z'), 'and back');


###############################################################################
# What arrives is what was sent, with the right from

my $inner = '<subject xml:lang="de">Betreff</subject><thread>t</thread>'
            . '<x xmlns="urn:x" a="1"><y xmlns="urn:y"><z/></y>text</x>'
            . '<body>one</body><body xml:lang="de">zwei</body>';

$alice->message($dora->jid(), undef, xml => $inner, id => 'i d<&>"\'',
                type => 'normal', 'xml:lang' => 'fr');

my $stanza = $dora->expect('message', from => $alice->jid(),
                           to => $dora->jid(), id => 'i d<&>"\'',
                           type => relayed('normal'), 'xml:lang' => 'fr',
    xpath => [
        'c:subject[@xml:lang = "de" and . = "Betreff"]', 'c:thread = "t"',
        'count(c:body) = 2', 'c:body[@xml:lang = "de"] = "zwei"',
        'c:body[not(@xml:lang)] = "one"',
        '*[local-name() = "x" and namespace-uri() = "urn:x" and @a = 1]',
        '*/*[local-name() = "y" and namespace-uri() = "urn:y"]',
        '*/*/*[local-name() = "z" and namespace-uri() = "urn:y"]',
        'count(*) = 5 + count(*[local-name() = "stanza-id"])',
    ]);
ok($stanza, 'RFC 6120, 8.4: all of it arrives');

for my $from ("alice\@$domain", $alice->jid()) {
    $alice->message($dora->jid(), 'x', from => $from);
    ok($dora->expect('message', from => $alice->jid()),
       "RFC 6120, 8.1.2.1: from='$from' becomes the full JID");
}

$alice->send("<message to='" . $dora->jid() . "'/>");
ok($dora->expect('message', from => $alice->jid(), id => undef,
                 type => undef), 'an empty message, without id');

# Order, also with other stanzas between

for my $n (1 .. 200) {
    $alice->queue(Test::XMPP::Client::stanza('message',
        { to => $n % 3 ? $dora->jid() : $dora->bare(), id => "n$n",
          type => 'chat' }, "<body>$n</body>"));
}

$alice->sync();

my @order = map { my $got = $dora->recv_stanza(); $got ? $got->body() : '-' }
            1 .. 200;
is("@order", join(' ', 1 .. 200), 'RFC 6120, 10.1: in order');
ok($dora->expect_nothing(from => $alice), 'each once');

# RFC 6121, 8.5.2.2.1: an unavailable session gets no more

$dora->presence(type => 'unavailable');
$t->settle($dora);
$id = $alice->message($dora->bare(), 'late', type => 'groupchat');
ok($alice->expect('message', id => $id, error => $unavailable),
   'unavailable again: nobody there');
$alice->message($dora->bare(), 'late', type => 'chat');
$alice->sync();
ok($dora->expect_nothing(from => $alice), 'so nothing comes');

$t->done();
