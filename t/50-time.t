#!/usr/bin/perl

# Entity time: XEP-0202, in the formats of XEP-0082.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Time::Local qw/ timegm /;

my $t = Test::XMPP->new(users => [ qw/ alice bob / ])->run();
my ($domain, $domain2) = ($t->domain(), $t->domain2());

my $alice = $t->client('alice', resource => 'a')->login();
my $bob = $t->client('bob', resource => 'b')->login();
my $query = "<time xmlns='urn:xmpp:time'/>";

for my $host ($domain, $domain2) {
    my $before = time();
    my $answer = $alice->query('get', $host, $query);
    my $after = time();

    is($answer->mismatch(type => 'result', from => $host,
                         to => $alice->jid(), xpath => [
        'count(*) = 1', 'count(time:time/*) = 2',
        'count(time:time/time:tzo) = 1', 'count(time:time/time:utc) = 1',
    ]), '', "XEP-0202, 3: time of $host");

    my $tzo = $answer->find('time:time/time:tzo');
    my $utc = $answer->find('time:time/time:utc');

    like($tzo, qr/^(?:Z|[-+](?:0\d|1[0-4]):[0-5]\d)$/, 'XEP-0082, 3.3: tzo');

    my @utc = $utc =~ /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)
                        (?:\.\d+)?Z$/x;
    is(@utc, 6, "XEP-0082, 3.2: utc $utc");

    my $value = timegm(@utc[5, 4, 3, 2], $utc[1] - 1, $utc[0]);

    # nginx looks at the clock once per turn of its loop
    cmp_ok($value, '>=', $before - 2, 'not before it was asked');
    cmp_ok($value, '<=', $after + 1, 'nor after');
}

if ($t->ours()) {
    like($alice->query('set', $domain, $query)->error(),
         qr/service-unavailable|bad-request|feature-not-implemented
            |not-allowed/x, 'XEP-0202, 3: it is not to be set');
}

is($alice->query('get', "bob\@$domain", $query)->error(),
   'cancel service-unavailable', 'accounts have none')
    unless $t->peer() eq 'prosody';
ok($bob->expect_nothing(from => $alice), 'clients were not asked');

$t->done();
