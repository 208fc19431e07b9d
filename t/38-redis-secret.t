#!/usr/bin/perl

# A worker that starts while Redis takes no writes, since it misses its replicas
# after a failover, learns the secret of the cluster all the same: messages have
# the ids that any other worker gives them (XEP-0359).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Outage;

my $t = Test::XMPP->new(hosts => 0, workers => 1, users => [ qw/ alice bob / ]);

$t->only_ours('torments Redis');
$t->run();

my $redis = $t->redis();

# one that nobody has made a secret for, and one beside it

start(0, 'nobody has made one');
start(1, 'there is one');

my $o = Test::XMPP::Outage->new($t, 'refused', 0, 1);
my ($alice, $bob) = ($o->alice(), $o->bob());

for my $one ([ $alice, $bob ], [ $bob, $alice ]) {
    my ($from, $to) = @$one;

    $from->message($to->jid(), 'with an id');

    my $m = $to->expect('message');

    ok(defined $m->child('stanza-id', 'urn:xmpp:sid:0'),
       $m->attr('to') . ': the message has an id');
}

$o->close();
$t->done();


sub start {
    my ($n, $name) = @_;

    $redis->command('CONFIG', 'SET', 'min-replicas-to-write', 1);
    $t->config($Test::XMPP::Outage::CONFIG);
    $t->start_host();
    ok($t->host($n)->await_log(qr/refused the xmpp Functions: "NOREPLICAS/),
       "$name: Redis took no writes");
    $redis->command('CONFIG', 'SET', 'min-replicas-to-write', 0);
    ok(defined Test::XMPP::Outage::come({ t => $t }, 'alice', $n),
       "$name: logins go on");
}
