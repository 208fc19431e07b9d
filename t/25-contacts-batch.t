#!/usr/bin/perl

# Presence to 500 contacts is one write to Redis, beside the first step: at a
# login, a change, and the end.  Answers of Redis are held back, so that what
# needs one of them stands still: what Redis has run then was all written at
# once.  And a roster of 5,000 goes in parts, with bounded memory.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/traffic";

use Test::More;
use Test::XMPP;
use Test::XMPP::Lanes;
use Test::XMPP::Process;
use Test::XMPP::Roster;
use Traffic;

*await = \&Test::XMPP::Process::await;

my $N = 500;
my $MANY = 5000;

# one worker each, on the first host behind the lanes

my $t = Test::XMPP->new(hosts => 0, workers => 1,
                        users => [ qw/ alice bob carol dave / ]);

$t->only_ours('needs our Redis connections');
$t->config(Traffic::config('xmpp_redis unix:%%TESTDIR%%/%%NAME%%.sock;
                            xmpp_heartbeat 1h;
                            xmpp_presence_size 16k;'));
$t->run();

my $redis = $t->redis();
my @lanes;

for my $host (0, 1) {
    push @lanes, Test::XMPP::Lanes->new($t->testdir() . "/host$host.sock",
                                        $redis->socket());
    $t->start_host();
}

my $domain = $t->domain();


# calls of Functions so far

sub calls {
    my ($n) = $redis->command('INFO', 'commandstats')
              =~ /^cmdstat_fcall:calls=(\d+)/m;

    return $n // 0;
}


# $sub makes so many calls from now on, while no answer comes

sub runs {
    my ($n, $name, $sub) = @_;
    my $before = calls();

    $sub->();
    await(sub { calls() - $before >= $n });
    is(calls() - $before, $n, $name);
}


# 498 contacts who are nowhere, bob who is here, and carol who hears it last

item($t, "alice\@$domain", "nobody$_\@$domain", 'both') for 1 .. $N - 2;
befriend($t, 'alice', 'bob', 'both');
befriend($t, 'alice', 'carol', 'from');

my $bob = $t->online('bob', on => 1, resource => 'b');
my $carol = $t->online('carol', on => 1, resource => 'c');

for ($bob, $carol) { $_->sync(); $_->drain() }

my $alice = $t->client('alice', on => 0, resource => 'a')->login();

$alice->sync();
$lanes[0]->mute('command');

runs(1, 'initial presence: one call',
     sub { $alice->presence(); });
runs($N, "initial presence: then one write with $N",
     sub { $lanes[0]->turn('command') });
$lanes[0]->release('command');
ok($alice->pick('presence', from => $bob->jid()), 'a contact is seen');
ok($alice->pick('presence', from => $alice->jid()), 'and oneself');
ok($_->expect('presence', from => $alice->jid(), type => undef),
   'told: ' . $_->jid()) for $bob, $carol;
is(scalar(grep { $_->is('presence') } do { $alice->sync(); $alice->drain() }),
   0, 'and nothing else');

$lanes[0]->mute('command');
runs(1, 'a change: one call', sub { $alice->presence(show => 'away'); });
runs($N, "a change: then one write with $N",
     sub { $lanes[0]->turn('command') });
$lanes[0]->release('command');
ok($_->expect('presence', from => $alice->jid(), xpath => 'c:show = "away"'),
   'told of the change: ' . $_->jid()) for $bob, $carol;
$alice->sync();

$lanes[0]->mute('command');
runs(1, 'the end: one call', sub { $alice->drop(); });
runs($N + 1, "the end: then one write with $N and the end of the record",
     sub { $lanes[0]->turn('command') });
is($redis->command('HGET', "xmpp:{alice\@$domain}:sessions", 'ra'), undef,
   'the record is gone');
$lanes[0]->release('command');
ok($_->expect('presence', from => $alice->jid(), type => 'unavailable'),
   'told of the end: ' . $_->jid()) for $bob, $carol;

# unavailable, and going on

$alice = $t->online('alice', on => 0, resource => 'a');
$alice->sync();
$lanes[0]->mute('command');
runs(1, 'unavailable: one call',
     sub { $alice->presence(type => 'unavailable'); });
like($redis->command('HGET', "xmpp:{alice\@$domain}:sessions", 'ra'),
     qr/ g \S+$/, 'unavailable: contacts have not heard it');
runs($N + 1, "unavailable: then one write with $N, and that they heard it",
     sub { $lanes[0]->turn('command') });
like($redis->command('HGET', "xmpp:{alice\@$domain}:sessions", 'ra'),
     qr/ - \S+$/, 'unavailable: they have');
$lanes[0]->release('command');
$alice->sync();
$alice->close();

# nobody to tell: one step

my $dave = $t->online('dave', on => 0, resource => 'd');

$dave->sync();
$lanes[0]->mute('command');
runs(1, 'without contacts the end is one call', sub { $dave->drop(); });
is($redis->command('EXISTS', "xmpp:{dave\@$domain}:sessions"), 0,
   'and the record is gone');
$lanes[0]->release('command');
$_->drain() for $bob, $carol;


###############################################################################
# A roster of 5,000, and presence of 10,000 bytes: 50 MB in all

item($t, "dave\@$domain", "nobody$_\@$domain", 'both') for 1 .. $MANY - 1;
befriend($t, 'dave', 'bob', 'both');

# what the worker has now, and had at most, in kB

sub rss {
    my ($field) = @_;
    my ($pid) = $t->host(0)->workers();

    return Test::XMPP::Process::slurp("/proc/$pid/status")
           =~ /^$field:\s+(\d+)/m ? $1 : die "no $field\n";
}

$dave = $t->client('dave', on => 0, resource => 'd')->login();
$dave->sync();

my $before = rss('VmRSS');
my $all = calls();

$dave->presence(status => 'x' x 10_000);
ok($bob->pick('presence', from => $dave->jid(), timeout => 30),
   "$MANY contacts: told");
ok($dave->sync(), "$MANY contacts: the client goes on");
is(calls() - $all, $MANY + 1, "$MANY contacts: a call for each");

my $grown = rss('VmHWM') - $before;

diag("a presence of 10 kB to $MANY contacts: ${grown} kB at most");
cmp_ok($grown, '<', 16 * 1024, "$MANY contacts: memory is bounded")
    unless $ENV{ASAN_OPTIONS};

$dave->drop();
ok($bob->pick('presence', from => $dave->jid(), type => 'unavailable',
              timeout => 30), "$MANY contacts: the end");
ok(await(sub { !$redis->command('EXISTS', "xmpp:{dave\@$domain}:sessions") },
         30), "$MANY contacts: and the record is gone");

# Contacts of other servers are left out, however many there are

$redis->command('HSET', "xmpp:{dave\@$domain}:roster",
                map { ("irom$_\@nowhere.example", '1 tf 0 ') } 1 .. 3000);
$dave = $t->client('dave', on => 0, resource => 'd')->login();
$dave->presence();
ok($bob->pick('presence', from => $dave->jid(), type => undef,
              timeout => 30), 'beside contacts of other servers: told');
ok($dave->sync(), 'beside contacts of other servers: the client goes on');

$redis->command('DEL', "xmpp:{dave\@$domain}:roster");
item($t, "dave\@$domain", "rom$_\@nowhere.example", 'both') for 1 .. 1001;
$dave->presence(show => 'away');
ok($dave->pick('presence', from => $dave->jid(), xpath => 'c:show = "away"'),
   'none but contacts of other servers');
ok($dave->sync(), 'none but contacts of other servers: the client goes on');
$dave->close();
ok(await(sub { !$redis->command('EXISTS', "xmpp:{dave\@$domain}:sessions") },
         10), 'none but contacts of other servers: the record goes');

$t->done();
