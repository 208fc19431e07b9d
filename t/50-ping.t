#!/usr/bin/perl

# Ping: XEP-0199.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ qw/ alice bob / ])->run();
my ($domain, $domain2) = ($t->domain(), $t->domain2());

my $alice = $t->client('alice', resource => 'a')->login();
my $bob = $t->client('bob', resource => 'b')->login();
my $ping = "<ping xmlns='urn:xmpp:ping'/>";

# the server, and one's own account for which it answers: XEP-0199, 4.2

for my $to ($domain, $domain2, uc $domain, undef, $alice->bare()) {
    my $id = $alice->iq('get', $to, $ping);
    my $answer = $alice->expect('iq', type => 'result', id => $id,
                                xpath => 'count(node()) = 0');

    ok($answer, 'XEP-0199, 4.2: pong of ' . ($to // 'nobody in particular'));
    is(lc($answer->attr('from') // $to // $alice->bare()),
       lc($to // $alice->bare()), 'from whom it was asked');
}

# not a get: XEP-0199, 4

my $error = $alice->query('set', $domain, $ping)->error();
like($error, qr/service-unavailable|bad-request|feature-not-implemented
                |not-allowed/x, 'XEP-0199, 4: not to be set')
    unless $t->peer() eq 'prosody';

# another's account: as if there were nobody

is($alice->query('get', "$_\@$domain", $ping)->error(),
   'cancel service-unavailable', "XEP-0199, 4.2: account of $_")
    for $t->ours() ? qw/ bob nobody / : ();              # the peers answer
ok($bob->expect_nothing(from => $alice), 'clients were not asked');

# a client: XEP-0199, 4.4

my $id = $alice->iq('get', $bob->jid(), $ping);
ok($bob->expect('iq', type => 'get', id => $id, from => $alice->jid(),
                xpath => 'ping:ping'), 'XEP-0199, 4.4: client to client');
$bob->iq('result', $alice->jid(), undef, id => $id);
ok($alice->expect('iq', type => 'result', id => $id, from => $bob->jid()),
   'and back');

# many at once, in order

my @ids = map { "p$_" } 1 .. 300;
$alice->queue(Test::XMPP::Client::stanza('iq',
    { type => 'get', id => $_, to => $domain }, $ping)) for @ids;
is(join(' ', map { my $pong = $alice->recv_stanza();
                   $pong ? $pong->attr('id') : '-' } @ids), "@ids",
   'RFC 6120, 10.1: 300 pongs in order');

$t->done();
