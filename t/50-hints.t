#!/usr/bin/perl

# Hints: XEP-0334, where they are off; 50-carbons.t has what they do.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(hosts => 0, users => [ qw/ alice bob / ]);

$t->only_ours('configures hosts');
$t->run();
$t->start_host();

my $a = $t->online('alice', resource => 'a');
my $a2 = $t->online('alice', resource => 'a2');
my $bob = $t->online('bob', resource => 'b');
my $info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";

ok($a->query('get', $t->domain(), $info)
     ->test("info:query/info:feature/\@var = 'urn:xmpp:hints'"),
   'XEP-0334: the feature');

is($a2->query('set', undef, "<enable xmlns='urn:xmpp:carbons:2'/>")
      ->attr('type'), 'result', 'carbons are enabled');
$t->settle($a, $a2, $bob);

for my $hint (qw/ no-copy no-store no-permanent-store store /) {
    $bob->message($a->jid(), undef, type => 'chat',
                  xml => "<body>$hint</body><$hint xmlns='urn:xmpp:hints'/>");

    ok($a->expect('message', body => $hint,
                  xpath => "*[local-name() = '$hint']"),
       "XEP-0334, 4: $hint goes on to the recipient");

    if ($hint eq 'no-copy') {
        ok($a2->expect_nothing(), 'XEP-0334, 4.3: no-copy: no carbon');
        next;
    }

    ok($a2->expect('message', from => $a->bare()),
       "XEP-0334, 4.3: $hint: a carbon");
}

$t->done();
