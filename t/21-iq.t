#!/usr/bin/perl

# Where an iq goes and who answers it: RFC 6120, 8.2.3; RFC 6121, 8.5.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ qw/ alice bob carol dora / ])->run();
my ($domain, $domain2) = ($t->domain(), $t->domain2());

my $unavailable = 'cancel service-unavailable';
my $unknown = "<query xmlns='urn:example:unknown'/>";

my $alice = $t->online('alice', resource => 'a');
my $bob = $t->online('bob', resource => 'b');
my $quiet = $t->client('bob', resource => 'quiet')->login();
my $negative = $t->online('bob', resource => 'negative',
                          presence => { priority => -5 });
my $dora = $t->online('dora', domain => $domain2, resource => 'd');

$t->settle($alice, $bob, $quiet, $negative, $dora);


###############################################################################
# 8.5.3.1: the full JID of a connected resource: there and back again

for my $one ($bob, $quiet, $negative, $dora) {
    for my $type (qw/ get set /) {
        my $id = $alice->iq($type, $one->jid(), $unknown);

        ok($one->expect('iq', type => $type, id => $id, to => $one->jid(),
                        from => $alice->jid(),
                        xpath => '*[local-name() = "query" and '
                                 . 'namespace-uri() = "urn:example:unknown"]'),
           "RFC 6121, 8.5.3.1: $type to " . $one->jid());

        if ($type eq 'get') {
            $one->iq('result', $alice->jid(), "<x xmlns='urn:x'/>",
                     id => $id);
            ok($alice->expect('iq', type => 'result', id => $id,
                              from => $one->jid(), xpath => 'count(*) = 1'),
               'the result');

        } else {
            $one->iq('error', $alice->jid(),
                     "$unknown<error type='auth'><forbidden xmlns="
                     . "'$Test::XMPP::Client::NS{stanzas}'/></error>",
                     id => $id);
            ok($alice->expect('iq', type => 'error', id => $id,
                              from => $one->jid(), error => 'auth forbidden'),
               'the error');
        }
    }
}

my $id = $alice->iq('get', $alice->jid(), $unknown);
ok($alice->expect('iq', type => 'get', id => $id, from => $alice->jid()),
   'to oneself');
$alice->iq('result', $alice->jid(), undef, id => $id);
ok($alice->expect('iq', type => 'result', id => $id), 'and answered');

$id = $bob->iq('get', $quiet->jid(), $unknown);
ok($quiet->expect('iq', type => 'get', id => $id, from => $bob->jid()),
   'to another resource of oneself');

for my $odd ('', ' ', 'x' x 1000, "\x{E9}\x{1F600}<&'\"", "0") {
    next if $t->peer() && $odd eq '';

    utf8::upgrade(my $name = length $odd > 20 ? 'long' : $odd);
    $id = $alice->iq('get', $bob->jid(), $unknown, id => $odd);
    ok($bob->expect('iq', id => $odd),
       "RFC 6120, 8.1.3: the id '$name' is kept");
}


###############################################################################
# 8.5.2.1.3: the bare JID: the server answers for the user

for my $to ("bob\@$domain", "carol\@$domain", $alice->bare(), undef,
            "dora\@$domain2")
{
    for my $type (qw/ get set /) {
        $id = $alice->iq($type, $to, $unknown);

        my $answer = $alice->expect('iq', type => 'error', id => $id,
                                    error => $unavailable);
        ok($answer, "RFC 6121, 8.5.2.1.3: $type to "
                    . ($to // 'nobody') . ' is answered');
        is($answer->attr('from') // $alice->bare(), $to // $alice->bare(),
           'by the account');
    }

    for my $type (qw/ result error /) {
        $alice->iq($type, $to, undef, id => 'x');
        ok($alice->expect_nothing(),
           "RFC 6120, 8.2.3: $type is not answered");
    }
}

ok($_->expect_nothing(from => $alice), 'none of that was delivered to '
                                       . $_->jid())
    for $bob, $quiet, $negative;


###############################################################################
# 8.5.3.2.3: no such resource; 8.5.1: no such user; no such domain

for my $to ("bob\@$domain/none", "carol\@$domain/none", "nobody\@$domain",
            "nobody\@$domain/r", "nobody\@$domain2/r")
{
    for my $type (qw/ get set /) {
        $id = $alice->iq($type, $to, $unknown);
        ok($alice->expect('iq', type => 'error', id => $id, from => $to,
                          to => $alice->jid(), error => $unavailable),
           "RFC 6121, 8.5.3.2.3: $type to $to");
    }

    for my $type (qw/ result error /) {
        $alice->iq($type, $to, undef, id => 'x');
        ok($alice->expect_nothing(), "RFC 6120, 8.3.1: $type to $to");
    }
}

for my $to ('nowhere.example', 'x@nowhere.example', 'x@nowhere.example/r') {
    $id = $alice->iq('get', $to, $unknown);
    ok($alice->expect('iq', type => 'error', id => $id, from => $to,
                      error => $t->ours() ? 'cancel remote-server-not-found'
                               : qr/not-found|forbidden|not-allowed/),
       "RFC 6120, 10.4.2: no such domain: $to");

    for my $type (qw/ result error /) {
        $alice->iq($type, $to, undef, id => 'x');
        ok($alice->expect_nothing(), "RFC 6120, 8.3.1: $type to $to");
    }
}


###############################################################################
# RFC 6120, 10.5.1: the host itself

for my $to ($domain, $domain2) {
    for my $type (qw/ get set /) {
        $id = $alice->iq($type, $to, $unknown);
        ok($alice->expect('iq', type => 'error', id => $id, from => $to,
                          to => $alice->jid(), error => $unavailable),
           "RFC 6120, 8.4: $type of an unknown namespace to $to");
    }

    for my $type (qw/ result error /) {
        $alice->iq($type, $to, "<query xmlns='urn:xmpp:ping'/>");
        ok($alice->expect_nothing(), "RFC 6120, 8.2.3: $type to $to");
    }
}

if ($t->ours()) {
    $id = $alice->iq('get', "$domain/resource", $unknown);
    ok($alice->expect('iq', type => 'error', id => $id,
                      error => $unavailable), 'a resource of the host');

    # the right element in another namespace, and the other way round

    for my $odd ("<ping xmlns='urn:x'/>", "<pong xmlns='urn:xmpp:ping'/>",
                 '<ping/>')
    {
        $id = $alice->iq('get', $domain, $odd);
        ok($alice->expect('iq', type => 'error', id => $id,
                          error => $unavailable), "not a ping: $odd");
    }
}


###############################################################################
# What is no iq: RFC 6120, 8.2.3

my $bad = 'modify bad-request';

if ($t->ours()) {
    for my $to ($domain, $bob->jid(), $bob->bare(), 'x@nowhere.example') {
        $alice->iq('get', $to, $unknown, id => undef);
        ok($alice->expect('iq', type => 'error', error => $bad),
           "RFC 6120, 8.2.3, 1: no id, to $to");

        for my $type ('foo', '', 'GET') {
            $id = $alice->iq($type, $to, $unknown);
            ok($alice->expect('iq', type => 'error', id => $id,
                              error => $bad),
               "RFC 6120, 8.2.3, 2: type '$type', to $to");
        }

        $id = $alice->iq(undef, $to, $unknown);
        ok($alice->expect('iq', type => 'error', id => $id, error => $bad),
           "RFC 6120, 8.2.3, 2: no type, to $to");

        for my $inner ('', 'text', $unknown . $unknown,
                       "<ping xmlns='urn:xmpp:ping'/>$unknown")
        {
            $id = $alice->iq('get', $to, $inner);
            ok($alice->expect('iq', type => 'error', id => $id,
                              error => $bad),
               "RFC 6120, 8.2.3, 5: not one child, to $to");
        }
    }

    # what is wrong with an answer is not answered either

    for my $to ($domain, $bob->jid(), 'x@nowhere.example', '@') {
        $alice->iq('result', $to, $unknown . $unknown);
        $alice->iq('result', $to, $unknown, id => undef);
        $alice->iq('error', $to, $unknown, id => undef);
        ok($alice->expect_nothing(), "RFC 6120, 8.2.3, 4: bad answer to $to");
    }

    ok($bob->expect_nothing(from => $alice), 'none of it was delivered');

} else {
    $alice->iq('foo', $domain, $unknown);
    ok($alice->expect('iq', type => 'error', error => qr/bad-request/),
       'RFC 6120, 8.2.3, 2: wrong type');
}

# An answer nobody asked for goes where it says, but is never answered.

$alice->iq('result', $bob->jid(), undef, id => 'unasked');
ok($bob->expect('iq', type => 'result', id => 'unasked',
                from => $alice->jid()), 'a result nobody asked for');
ok($alice->expect_nothing(), 'is no error') unless $t->peer() eq 'prosody';


###############################################################################
# Many at once keep their order

my @ids = map { "q$_" } 1 .. 100;

$alice->queue(Test::XMPP::Client::stanza('iq',
    { type => 'get', id => $_,
      to => /[05]$/ ? "nobody\@$domain" : /7$/ ? $bob->jid() : $domain },
    $unknown)) for @ids;

my @asked = grep { /7$/ } @ids;
is(join(' ', map { my $iq = $bob->recv_stanza();
                   $iq ? $iq->attr('id') : '-' } @asked), "@asked",
   'asked in order') if $alice->flush();

my @answers = map { my $iq = $alice->recv_stanza();
                    $iq ? $iq->attr('id') : '-' } grep { !/7$/ } @ids;
is(join(' ', sort @answers), join(' ', sort grep { !/7$/ } @ids),
   'all answered');
is("@{[ grep { !/[05]$/ } @answers ]}",
   "@{[ grep { !/[057]$/ } @ids ]}", 'the host answers in order');

$t->done();
