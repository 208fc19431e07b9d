#!/usr/bin/perl

# JIDs: preparation (RFC 7622, RFC 8265) in login and addressing, and what is
# none (RFC 6120, 8.3.3.8).

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ qw/ alice bob jürgen / ])->run();
my $domain = $t->domain();

my $alice = $t->online('alice', resource => 'Res');
my $bob = $t->online('bob', resource => 'b');
my $juergen = $t->online('jürgen', resource => 'Ä');

is($juergen->jid(), "j\x{FC}rgen\@$domain/\x{C4}", 'RFC 7622, 3.3: localpart');


###############################################################################
# Other ways to write the same address

my @same = (
    [ $alice, "ALICE\@$domain/Res", 'RFC 7622, 3.3.1: case of the localpart' ],
    [ $alice, 'alice@' . uc($domain) . '/Res',
      'RFC 7622, 3.2.1: case of the domain' ],
    [ $alice, "\x{FF21}\x{FF4C}ice\@$domain/Res",
      'RFC 8265, 3.3.2: full width forms' ],
    [ $juergen, "J\x{DC}RGEN\@$domain/\x{C4}", 'non-ASCII case' ],
    [ $juergen, "ju\x{308}rgen\@$domain/A\x{308}",
      'RFC 8265, 3.3.2: normalization' ],
);

push @same, [ $alice, "alice\@$domain./Res", 'RFC 7622, 3.2: final dot' ]
    if $t->ours();

for my $same (@same) {
    my ($who, $to, $name) = @$same;

    $bob->message($to, $name, type => 'chat');
    ok($who->expect('message', from => $bob->jid(), body => $name), $name);
}

# The resource keeps its case: nobody is alice/res.

$bob->message("alice\@$domain/res", 'x', type => 'groupchat');
ok($bob->expect('message', error => 'cancel service-unavailable'),
   'RFC 7622, 3.4.1: case of the resource') if $t->ours();
ok($alice->expect_nothing(from => $bob), 'is another one');
$bob->sync();
$bob->drain();

# from is what the server knows, whatever the client logged in as

if ($t->ours()) {
    for my $mechanism (@Test::XMPP::SASL::MECHANISMS) {
        my $c = $t->client('jürgen', sasl_user => "JU\x{308}RGEN",
                           mechanism => $mechanism)->login();
        like($c->jid(), qr{^j\x{FC}rgen\@}, "$mechanism: prepared at login");
    }
}

my $upper = $t->client('alice', domain => $domain, resource => 'R2');
$upper->connect();
$upper->open_stream(to => uc $domain);
$upper->starttls();
$upper->auth();
$upper->bind();
is($upper->jid(), "alice\@$domain/R2", 'the domain of the header is prepared')
    unless $t->peer() eq 'ejabberd';
$upper->close();


###############################################################################
# What is no JID

my @bad = (
    "\@$domain", "alice\@", "a b\@$domain", "alice\@$domain/",
    "a\"b\@$domain", "a'b\@$domain", "a&b\@$domain", "a:b\@$domain",
    "a<b\@$domain", "a>b\@$domain", "a\@b\@$domain", '@', '/', '/x',
    ('x' x 1024) . "\@$domain", "alice\@$domain/" . 'x' x 1024,
    "alice\@" . 'x' x 1024,
);

push @bad, "\x{DF}\x{E000}\@$domain", "a\x{AD}b\@$domain", "alice\@a b",
           "\x{2163}\@$domain", "alice\@$domain/\x{7F}", 'alice@a..b',
           "alice\@" . 'x' x 64 . '.test', 'alice@-.test', 'alice@.', ''
    if $t->ours();

for my $bad (@bad) {
    my $name = length $bad > 40 ? substr($bad, 0, 20) . '...' : $bad;

    # Prosody takes empty parts for absent ones
    next if $t->peer() eq 'prosody' && $bad =~ m{/$};

    my $id = $bob->message($bad, 'x', type => 'chat');
    ok($bob->expect('message', type => 'error', id => $id,
                    error => $t->peer() eq 'ejabberd' ? 'modify bad-request'
                             : 'modify jid-malformed'),
       "RFC 6120, 8.3.3.8: message to '$name'");

    next unless $t->ours();

    $id = $bob->iq('get', $bad, "<ping xmlns='urn:xmpp:ping'/>");
    ok($bob->expect('iq', type => 'error', id => $id,
                    error => 'modify jid-malformed'), "iq to '$name'");
    $bob->presence(to => $bad);
    ok($bob->expect('presence', type => 'error',
                    error => 'modify jid-malformed'), "presence to '$name'");

    # RFC 6120, 8.3.1: an error is never answered

    $bob->message($bad, undef, type => 'error');
    $bob->iq('result', $bad, '');
    ok($bob->expect_nothing(), "errors and results to '$name'");
}

# At the edge all of it is fine, only nobody is there.

for my $edge (('x' x 1023) . "\@$domain", "nobody\@$domain/" . 'x' x 1023,
              "a!#\$%*+,-.;=?[]^_`{|}~\@$domain")
{
    my $id = $bob->message($edge, 'x', type => 'groupchat');
    ok($bob->expect('message', type => 'error', id => $id, from => $edge,
                    error => 'cancel service-unavailable'),
       'RFC 7622, 3.1: good: ' . substr $edge, 0, 25)
        unless $t->peer() eq 'ejabberd';
}

ok($_->sync(), 'all live') for $alice, $bob, $juergen;

$t->done();
