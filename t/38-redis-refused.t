#!/usr/bin/perl

# Redis takes no writes for a while, since it misses its replicas after a
# failover.  A worker that starts then learns the secret of the cluster all the
# same: messages have the ids that any other worker gives them (XEP-0359).
# Records of sessions that the new master does not have are put back when it
# takes them, and those of sessions that end meanwhile go.

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

# what the new master does not know

$redis->command('HDEL', key($alice), record($alice));
refuse(1);

my $from = $t->host(0)->log_end();

$redis->command(qw/ CLIENT KILL TYPE normal SKIPME yes /);
ok($t->host(0)->await_log_from($from, qr/refused "FCALL xmpp1_bind".*NOREPL/),
   'a record was refused');
refuse(0);
ok(Test::XMPP::Process::await(sub { has($alice) }), 'and is put back');


# sessions that end

refuse(1);

my $at = [ map { $t->host($_)->log_end() } 0, 1 ];

$o->close();
ok($t->host($_)->await_log_from($at->[$_], qr/Redis refused .*NOREPLICAS/),
   "host $_: the end of a session was refused") for 0, 1;
refuse(0);

for my $one ($alice, $bob) {
    ok(Test::XMPP::Process::await(sub { !has($one) }),
       $one->bare() . ': its record goes when it is not');
}

$t->done();


sub key    { 'xmpp:{' . $_[0]->bare() . '}:sessions' }
sub record { 'r' . $_[0]->jid() =~ s{.*/}{}r }
sub has    { $redis->command('HEXISTS', key($_[0]), record($_[0])) }
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
