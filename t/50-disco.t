#!/usr/bin/perl

# Service discovery: XEP-0030.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ qw/ alice bob dora / ])->run();
my ($domain, $domain2) = ($t->domain(), $t->domain2());
my %NS = %Test::XMPP::Client::NS;

my $alice = $t->client('alice', resource => 'a')->login();
my $bob = $t->client('bob', resource => 'b')->login();
my $info = "<query xmlns='$NS{info}'/>";
my $items = "<query xmlns='$NS{items}'/>";


###############################################################################
# The host: XEP-0030, 3.1 and 4.1

for my $host ($domain, $domain2) {
    my $answer = $alice->query('get', $host, $info);

    is($answer->mismatch(type => 'result', from => $host,
                         to => $alice->jid(), xpath => 'count(*) = 1'), '',
       "XEP-0030, 3.1: info of $host");
    ok($answer->test('info:query/info:identity[@category = "server" '
                     . 'and @type = "im"]'), 'XEP-0030, 3.1: identity');

    my @features = map { $_->getAttribute('var') }
                   $answer->find('info:query/info:feature');
    my %count;
    $count{$_}++ for @features;

    ok($count{$_}, "feature $_") for $NS{info}, $NS{items}, $NS{ping},
                                     $NS{version}, $NS{time};
    ok(!(grep { $_ > 1 } values %count), 'XEP-0030, 3.1: each once')
        unless $t->peer() eq 'prosody';
    ok(!$answer->test('*/@node'), 'no node');

    $answer = $alice->query('get', $host, $items);
    is($answer->mismatch(type => 'result', from => $host,
                         xpath => 'items:query'), '',
       "XEP-0030, 4.1: items of $host");
    ok(!$answer->test('items:query/items:item[not(@jid)]'),
       'XEP-0030, 4.1: each with a jid');
}


###############################################################################
# What is not there: XEP-0030, 7

for my $query ($info, $items) {
    my $node = $query =~ s/query/query node='no such node'/r;
    my $answer = $alice->query('get', $domain, $node);

    # an empty answer as well

    next if $t->peer() && ($query eq $items || $t->peer() eq 'ejabberd');

    is($answer->error(), 'cancel item-not-found',
       'XEP-0030, 7: no such node');
}

if ($t->ours()) {
    for my $query ($info, $items) {
        like($alice->query('set', $domain, $query)->error(),
             qr/service-unavailable|bad-request|feature-not-implemented
                |not-allowed/x, 'it is not to be set');
    }

    like($alice->query('get', $domain, "<other xmlns='$NS{info}'/>")->error(),
         qr/service-unavailable|bad-request/, 'another element of it');
}


###############################################################################
# Accounts: the server answers for them: XEP-0030, 8; RFC 6121, 8.5.2.1.3

for my $to (undef, $alice->bare()) {
    my $answer = $alice->query('get', $to, $info);

    is($answer->attr('type'), 'result', "one's own account");
    ok($answer->test('info:query/info:identity[@category = "account" '
                     . 'and @type = "registered"]'), 'is registered');

    $answer = $alice->query('get', $to, $items);
    is($answer->attr('type'), 'result', 'and its items')
        unless $t->peer() eq 'ejabberd';
}

for my $to ("bob\@$domain", "nobody\@$domain", "dora\@$domain2") {
    for my $query ($info, $items) {
        next if $t->peer() eq 'ejabberd';           # subscription-required

        # the same for who is there and who is not
        is($alice->query('get', $to, $query)->error(),
           'cancel service-unavailable',
           "XEP-0030, 8: nothing of another's account: $to");
    }
}

ok($bob->expect_nothing(from => $alice), 'clients were not asked');


###############################################################################
# A client answers for itself

my $id = $alice->iq('get', $bob->jid(), $info);
ok($bob->expect('iq', type => 'get', id => $id, from => $alice->jid(),
                xpath => 'info:query'), 'a full JID is asked itself');
$bob->iq('result', $alice->jid(), "<query xmlns='$NS{info}'>"
         . "<identity category='client' type='bot'/></query>", id => $id);
ok($alice->expect('iq', type => 'result', id => $id, from => $bob->jid(),
                  xpath => '*/info:identity/@type = "bot"'), 'and answers');

$t->done();
