#!/usr/bin/perl

# A worker that starts while Redis takes no writes, since it misses its replicas
# after a failover, learns the secret of the cluster all the same: messages have
# the ids that any other worker gives them (XEP-0359).  And when Redis takes
# none again, sessions that end meanwhile are gone when it does.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Outage;
use Test::XMPP::Process;

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

refuse(1);

my $at = [ map { $t->host($_)->log_end() } 0, 1 ];

$o->close();
ok($t->host($_)->await_log_from($at->[$_], qr/Redis refused .*NOREPLICAS/),
   "host $_: the end of a session was refused") for 0, 1;
refuse(0);
ok(Test::XMPP::Process::await(sub {
       !grep { /^r/ } map { @{ $redis->command('HKEYS', "xmpp:{$_}:sessions") } }
                          $alice->bare(), $bob->bare() }),
   'and its record goes when it is not');

$t->done();


sub refuse { $redis->command('CONFIG', 'SET', 'min-replicas-to-write', @_) }


sub start {
    my ($n, $name) = @_;

    refuse(1);
    $t->config($Test::XMPP::Outage::CONFIG);
    $t->start_host();
    ok($t->host($n)->await_log(qr/refused the xmpp Functions: "NOREPLICAS/),
       "$name: Redis took no writes");
    refuse(0);
    ok(defined Test::XMPP::Outage::come({ t => $t }, 'alice', $n),
       "$name: logins go on");
}
