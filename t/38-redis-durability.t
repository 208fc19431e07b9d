#!/usr/bin/perl

# xmpp_durability (cluster.md, rule 12): what the disk of Redis does not keep is
# told at the start; and a message is taken when replicas have it, else it comes
# back (RFC 6120, 8.3.2).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Outage;
use Test::XMPP::Process;
use Test::XMPP::Redis;

my $port = Test::XMPP::Process::free_port();
my $t = Test::XMPP->new(hosts => 0, workers => 2,
                        users => [ qw/ alice bob carol / ],
                        redis => { port => $port, bind => '127.0.0.1' });

$t->only_ours('torments Redis');
$t->run();

my $redis = $t->redis();
my $config = $Test::XMPP::Outage::CONFIG;


###############################################################################
# What Redis has to be set up for, and what is said when it is not

disk('memory', { appendonly => 'no' },
     qr/\[warn\].*Redis has no append-only file: .*"appendonly yes"/);
disk('none', { appendonly => 'no' });
disk('aof', { appendonly => 'no' },
     qr/\[error\].*"xmpp_durability aof" promises: it has no append-only file/);

$redis->command('CONFIG', 'SET', 'appendonly', 'yes');

disk('memory', { appendfsync => 'everysec' });
disk('aof', { appendfsync => 'everysec' },
     qr/\[error\].*"xmpp_durability aof" promises: .*not "always"; set that/);
disk('aof', { appendfsync => 'always' });

$redis->command('ACL', 'SETUSER', 'default', '-config');
disk('aof', {}, qr/\[warn\].*may not read "CONFIG GET appendfsync" of Redis/);
$redis->command('ACL', 'SETUSER', 'default', '+config');


###############################################################################
# Replicas: too few of them, and as many as are wanted

my $dir = $t->testdir();

mkdir "$dir/replica";

my $replica = Test::XMPP::Redis->new("$dir/replica");

$redis->command('CONFIG', 'SET', 'repl-diskless-sync-delay', 0);
follow();

my @hosts = map { start('replicas=1 timeout=300ms', '4s') } 0, 1;
my $o = Test::XMPP::Outage->new($t, 'replica', @hosts);
my ($alice, $bob) = ($o->alice(), $o->bob());


for (1 .. 20) {
    $alice->message($bob->jid(), "message $_");
    ok(0, "message $_ came") unless $bob->pick('message');
}

cmp_ok(calls('wait'), '>=', 20, 'the workers wait for the replica');

$o->{name} = 'no replica';
$o->begin(sub { $replica->command('REPLICAOF', 'NO', 'ONE') });

# the first one that a worker sends finds out, and its sender waits: nobody can
# say what becomes of it

$alice->message($bob->jid(), 'who knows');
$bob->message($alice->jid(), 'who knows');
ok($t->host($_)->await_log(qr/messages are refused, for 0 replicas have what/),
   "the log of host $_ says so") for @hosts;
$_->sync(), $_->drain() for $alice, $bob;
$o->answers();
$o->says_wait();
ok(defined $o->come('carol', $hosts[0]), 'logins go on');
$o->end(sub { follow() });
ok($t->host($_)->await_log(qr/messages are taken again/),
   "the log of host $_ says when it is over") for @hosts;

$o->close();
$replica->stop();
$t->done();


sub start {
    my ($durability, $timeout) = @_;

    $t->config($config =~ s/xmpp_redis_timeout\s+1s;/
                            xmpp_durability $durability;
                            xmpp_redis_timeout $timeout;/xr);
    $t->start_host();

    return $#{ $t->{nginx} };
}


# A worker is there, says this and nothing else of the disk, and says it once.

sub disk {
    my ($durability, $settings, $said) = @_;

    $redis->command('CONFIG', 'SET', $_, $settings->{$_})
        for sort keys %$settings;

    my $host = start($durability, '1s');
    my $nginx = $t->host($host);
    my $name = join ' ', $durability, %$settings;

    $nginx->await_log($said) if $said;

    # what comes later than the first answers has not come

    ok(defined Test::XMPP::Outage::come({ t => $t }, 'alice', $host),
       "$name: logins go on");

    my @lines = grep { /append|durability/ } split /\n/, $nginx->read_log();

    is(@lines, $said ? 1 : 0, "$name: " . ($said ? 'one line' : 'no line'))
        or diag(@lines);
    like($lines[0] // '', $said, 'that says what it is') if $said;
    $nginx->stop();
}


sub follow {
    $replica->command('REPLICAOF', '127.0.0.1', $port);
    ok(Test::XMPP::Process::await(sub {
           eval { $replica->command('INFO', 'replication') }
               =~ /link_status:up/ }), 'a replica is in step');
}


sub calls {
    my ($command) = @_;
    my ($n) = $redis->command('INFO', 'commandstats')
              =~ /cmdstat_$command:calls=(\d+)/;

    return $n // 0;
}
