#!/usr/bin/perl

# xmpp_durability replicas=1 over a failover (cluster.md, rules 2 and 12;
# docs/internals/decisions/23-replicas.md): a message that the old master had
# rung for, and its replica has never got, is given to nobody by that; when the
# sender's worker repeats it at the new one, it comes once, under the id that
# the archive has (XEP-0359, 3; XEP-0313).  And one that has come, and is sent
# again since its worker has died (XEP-0198, 5), does not come back.
#
#     workers --> relay --> master, then replica
#                           replica --> relay --> master: held, and it lacks all

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Outage;
use Test::XMPP::Process;
use Test::XMPP::Redis;
use Test::XMPP::Relay;
use Test::XMPP::Resume;

my ($port, $other, $front, $link) =
    map { Test::XMPP::Process::free_port() } 1 .. 4;

my $t = Test::XMPP->new(hosts => 0, workers => 1,
                        users => [ qw/ alice bob carol dave / ],
                        redis => { port => $port, bind => '127.0.0.1' });

$t->only_ours('torments Redis');
$t->run();

my $master = $t->redis();
my $dir = $t->testdir();

mkdir "$dir/replica";

my $replica = Test::XMPP::Redis->new("$dir/replica", port => $other,
                                     bind => '127.0.0.1',
                                     'repl-diskless-sync-delay' => 0);
my $relay = Test::XMPP::Relay->new("127.0.0.1:$front", "127.0.0.1:$port");
my $wire = Test::XMPP::Relay->new("127.0.0.1:$link", "127.0.0.1:$port");

$master->command('CONFIG', 'SET', 'repl-diskless-sync-delay', 0);
follow($replica, $link);

$t->config($Test::XMPP::Outage::CONFIG
           =~ s/xmpp_redis .*\n\s+xmpp_redis_timeout .*/
                xmpp_redis          redis:127.0.0.1:$front;
                xmpp_redis_timeout  20s;
                xmpp_durability     replicas=1 timeout=300ms;/xr);
$t->start_host() for 0, 1;

# both have stream management: what is not known is tried until it is

my $o = Test::XMPP::Outage->new($t, 'replica', 0, 1);
my ($alice, $bob) = ($o->alice(), $o->bob());

enable($_) for $alice, $bob;


###############################################################################
# What a replica is late with comes when that has it

my $from = refused(sub {
    $wire->hold();
    $alice->message($bob->jid(), 'late');
});

is(given(), '', 'the replica is late: nobody is given the message');
$wire->release();
is($bob->expect('message')->body(), 'late', 'until the replica has it');
ok($t->host($_)->await_log_from($from->[$_], qr/messages are taken again/),
   "host $_: the replica is back") for 0, 1;


###############################################################################
# What a master takes with it

refused(sub {
    $wire->hold();
    $alice->message($bob->jid(), 'twice');
});

is(given(), '', 'the replica lacks it: nobody is given the message');
is(kept($master, 'twice'), 1, 'which the old master has');

$replica->command('REPLICAOF', 'NO', 'ONE');
$wire->cut();
is(kept($replica, 'twice'), 0, 'and the new one has not');
$relay->target("127.0.0.1:$other");
$relay->cut();
follow($master, $other);

my $m = $bob->expect('message', timeout => 20);
my @ids = id($m);

is($m->body(), 'twice', 'it is repeated at the new master');
$alice->message($bob->jid(), 'next');
$m = $bob->expect('message');
push @ids, id($m);
is($m->body(), 'next', 'and came once');
is_deeply([ (archived())[-2, -1] ], \@ids,
          'XEP-0359, 3: under the id that is in the archive');


###############################################################################
# What has come, and comes again when there is no replica

my $sm = Test::XMPP::Resume->new($t);
my $carol = $sm->resumable('carol', on => 0);
my $dave = $t->online('dave', on => 1);

$carol->message($bob->jid(), 'once', id => 'once');
is($bob->expect('message')->body(), 'once', 'a message has come,');
$t->host(0)->kill_host();
$carol = $sm->resumed($carol, on => 1);
is($carol->{handled}, 0, 'its worker has died, and nobody has heard so');

$from = $t->host(1)->log_end();
$master->pause();
$dave->message($bob->jid(), 'who knows');
ok($t->host(1)->await_log_from($from, qr/refused, for 0 replicas/),
   'and there is no replica');
$carol->message($bob->jid(), 'once', id => 'once');
$carol->send("<r xmlns='urn:xmpp:sm:3'/>");
$master->resume();
is($carol->expect('a', timeout => 20)->attr('h'), 1,
   'XEP-0198, 5: it is sent again, and does not come back');
is($bob->expect('message')->body(), 'who knows', 'nor twice');
is(given(), '', 'no more');

$_->close() for $bob, $carol, $dave;
$_->stop() for $relay, $wire, $replica;
$t->done();


# Does it, and waits until the workers know that there is no replica; returns
# where their logs were.

sub refused {
    my ($what) = @_;
    my $from = [ map { $t->host($_)->log_end() } 0, 1 ];

    $what->();
    ok($t->host($_)->await_log_from($from->[$_], qr/refused, for 0 replicas/),
       "host $_: there is no replica") for 0, 1;

    return $from;
}


# what bob has been given by now

sub given {
    $bob->sync();

    return join ' ', map { $_->body() } grep { $_->is('message') }
                     $bob->drain();
}


sub kept {
    my ($redis, $body) = @_;
    my $entries = $redis->command('XRANGE', 'xmpp:{' . $bob->bare() . '}:inbox',
                                  '-', '+');

    return grep { "@{ $_->[1] }" =~ />$body</ } @$entries;
}


sub id {
    my ($stanza) = @_;

    my ($id) = $stanza->find(".//*[local-name() = 'stanza-id']/\@id");

    return $id && $id->value();
}


sub archived {
    $bob->query('set', undef, "<query xmlns='urn:xmpp:mam:2'/>");

    return map { $_->value() }
           map { $_->find("*[local-name() = 'result']/\@id") } $bob->drain();
}


sub follow {
    my ($redis, $to) = @_;

    $redis->command('REPLICAOF', '127.0.0.1', $to);
    ok(Test::XMPP::Process::await(sub {
           eval { $redis->command('INFO', 'replication') }
               =~ /link_status:up/ }), 'a replica is in step');
}


sub enable {
    my ($client) = @_;

    $client->send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    $client->expect('enabled');
}
