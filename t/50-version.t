#!/usr/bin/perl

# Software version: XEP-0092.

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
my $query = "<query xmlns='jabber:iq:version'/>";

for my $host ($domain, $domain2) {
    my $answer = $alice->query('get', $host, $query);

    is($answer->mismatch(type => 'result', from => $host,
                         to => $alice->jid(), xpath => [
        'count(*) = 1', 'count(version:query) = 1',
        'string-length(version:query/version:name) > 0',
        'count(version:query/version:name) = 1',
        'string-length(version:query/version:version) > 0',
        'count(version:query/version:version) = 1',
    ]), '', "XEP-0092, 2: name and version of $host");

    ok(!$answer->test('*/*[not(self::version:name or self::version:version '
                      . 'or self::version:os)]'), 'XEP-0092, 2: no more')
        if $t->ours();
}

if ($t->ours()) {
    like($alice->query('set', $domain, $query)->error(),
         qr/service-unavailable|bad-request|feature-not-implemented
            |not-allowed/x, 'XEP-0092, 2: it is not to be set');
}

is($alice->query('get', "bob\@$domain", $query)->error(),
   'cancel service-unavailable', 'accounts have none');
ok($bob->expect_nothing(from => $alice), 'clients were not asked');

$t->done();
