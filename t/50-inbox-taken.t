#!/usr/bin/perl

# The inbox: what counts as taken where a client acknowledges (XEP-0198), and
# what does not when a stream ends in the middle (docs/internals/cluster.md,
# rule 9).  bob writes on host 0; alice is on host 1, whose lanes to Redis are
# held and released.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Lanes;
use Test::XMPP::Process;

my $t = Test::XMPP->new(hosts => 0, workers => 1,
                        users => [ qw/ alice bob carol / ])
                  ->only_ours('needs our Redis connections');

$t->config(<<'EOC');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis          unix:%%TESTDIR%%/%%NAME%%.sock;
    xmpp_redis_timeout  20s;
    xmpp_heartbeat      60s;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
EOC

$t->run();

my $redis = $t->redis();
my $alice = 'alice@localhost';
my $sm = 'urn:xmpp:sm:3';
my @lanes;

for my $host (0, 1) {
    push @lanes, Test::XMPP::Lanes->new($t->testdir() . "/host$host.sock",
                                        $redis->socket());
    $t->start_host();
}

my $bob = $t->online('bob', on => 0);
my $carol = $t->online('carol', on => 1);


sub await { &Test::XMPP::Process::await }

# a message of bob's, to which nothing comes back

sub leave {
    my ($to, @bodies) = @_;

    $bob->message($to, $_, type => 'chat') for @bodies;
    $bob->sync();
    is(join(' ', map { $_->raw() } $bob->drain()), '', "sent to $to: @bodies");
}

# host 1 has heard all bells that have rung by now

sub heard {
    my $mark = $carol->id();

    $bob->message($carol->jid(), $mark, type => 'headline');
    $carol->pick('message', body => $mark) or die "carol hears nothing\n";
}

# Redis has got what host 1 has sent it by now, and host 1 its answers

sub sent {
    my $mark = $carol->id();

    $carol->message($bob->jid(), $mark, type => 'headline');
    $bob->pick('message', body => $mark) or die "bob hears nothing\n";
    $carol->sync();
}

sub inbox { $redis->command('XLEN', "xmpp:{$alice}:inbox") }

sub record {
    return $redis->command('HGET', "xmpp:{$alice}:sessions", "r$_[0]") // '';
}

sub available {
    my ($resource) = @_;

    await(sub { record($resource) =~ / 0 \S+$/ }) or die "not available\n";
}

sub gone {
    my ($client, $resource) = @_;

    $client->close();
    await(sub { record($resource) eq '' }) or die "the record stays\n";
}


###############################################################################
# Given before <enable/>: that is never acknowledged

{
    my $c = $t->client('alice', on => 1, resource => 'r')->login();

    $lanes[1]->mute('command');
    $c->send("<presence/><enable xmlns='$sm'/>");
    available('r');
    leave($c->jid(), 'before');
    heard();
    $lanes[1]->release('command');
    ok($c->pick('message', body => 'before'), 'given');
    ok($c->pick('enabled', ns => $sm), 'XEP-0198, 3: and then enabled');
    ok(await(sub { inbox() == 0 }), 'taken when it was written');

    leave($c->jid(), 'behind');
    ok($c->pick('message', body => 'behind'), 'one behind it');
    sent();
    is(inbox(), 1, 'XEP-0198, 4: is not taken until it is acknowledged');
    gone($c, 'r');
}

{
    my $c = $t->online('alice', on => 1, resource => 'r');

    ok($c->pick('message', body => 'behind'), 'but is for the next one');
    ok(await(sub { inbox() == 0 }), 'taken');
    gone($c, 'r');
}


###############################################################################
# What is held back for a page is not acknowledged with that

{
    leave($alice, map { "m$_" } 1 .. 40);

    my $c = $t->client('alice', on => 1, resource => 'r')->login();

    $c->send("<enable xmlns='$sm'/>");
    $c->pick('enabled', ns => $sm) or die "not enabled\n";

    sent();
    $lanes[1]->mute('command');
    $c->presence();
    available('r');
    $lanes[1]->turn('command');
    leave($alice, 'newer');
    heard();

    my $n = 0;

    while ($n < 40) {
        $lanes[1]->turn('command');
        $c->pick('message', body => 'm' . ++$n) or last
            for 1 .. ($n ? 8 : 32);
    }

    is($n, 40, 'two pages');
    $c->send("<a xmlns='$sm' h='40'/>");
    $c->sync();
    await(sub { inbox() <= 1 });
    is(inbox(), 1, 'XEP-0198, 4: they are taken, and nothing else');
    $c->drop();
    $lanes[1]->release('command');
    await(sub { record('r') eq '' }) or die "the record stays\n";

    my $next = $t->online('alice', on => 0, resource => 'next');

    ok($next->pick('message', body => 'newer'), 'who comes next gets it');
    ok(await(sub { inbox() == 0 }), 'taken');
    gone($next, 'next');
}


###############################################################################
# What is held back, and then the stream ends

{
    my $c = $t->client('alice', on => 1, resource => 'r')->login();

    $lanes[1]->mute('command');
    $c->presence();
    available('r');
    leave($c->jid(), 'held');
    heard();
    $lanes[1]->hold('subscriber');

    my $next = $t->client('alice', on => 0, resource => 'r')->login();

    # host 1 reads both in one turn: it was displaced, and the answer to
    # presence, for which the message was held back

    my ($worker) = $t->host(1)->workers();

    kill 'STOP', $worker;

    for my $lane (qw/ subscriber command /) {
        $lanes[1]->release($lane);
        await(sub { $lanes[1]->held($lane) == 0 }) or die "it lies there\n";
    }

    kill 'CONT', $worker;

    ok($c->expect_stream_error('conflict'), 'displaced');
    sent();
    is(inbox(), 1, 'what it has not got was not taken');
    $next->presence();
    ok($next->pick('message', body => 'held'), 'and is for the next one');
    ok(await(sub { inbox() == 0 }), 'taken');
    gone($next, 'r');
}


###############################################################################
# More for others than Redis looks at in one step

{
    my $c = $t->client('alice', on => 0, resource => 'sm')->login();

    $c->send("<enable xmlns='$sm'/>");
    $c->pick('enabled', ns => $sm) or die "not enabled\n";
    $c->available();
    leave($c->jid(), map { "p$_" } 1 .. 150);
    leave($alice, 'bare');
    $c->pick('message', body => 'bare') or die "not given\n";

    my $next = $t->online('alice', on => 1, resource => 'next');

    ok($next->pick('message', body => 'bare'), 'one behind many for another');
    $c->drop();
    is(join(' ', map { $next->pick('message')->body() } 1 .. 150),
       join(' ', map { "p$_" } 1 .. 150), 'which are for it when that ends');
    ok(await(sub { inbox() == 0 }), 'taken');
    gone($next, 'next');
}


###############################################################################
# cluster.md, 7: numbers that lie behind those that were heard

{
    my $hour = (1_000_000 * time()) + 3_600_000_000;
    my @n = ('HSET', "xmpp:{$alice}:sessions", 'n');
    my $c = $t->online('alice', on => 1, resource => 'r');

    $redis->command(@n, $hour);
    $c->presence(type => 'unavailable');
    $c->sync();
    leave($alice, 'ahead');
    $c->presence();
    ok($c->pick('message', body => 'ahead'), 'the clock is an hour ahead');
    ok(await(sub { inbox() == 0 }), 'taken');
    heard();
    $redis->command(@n, 0);
    leave($c->jid(), 'back1', 'back2');
    ok($c->pick('message', body => $_), "an hour back: $_")
        for qw/ back1 back2 /;
    $c->sync();
    $c->drain();
    leave($c->jid(), 'back3');
    $bob->message($c->jid(), 'headline', type => 'headline');
    is(join(' ', map { $c->expect('message')->body() } 1 .. 2),
       'back3 headline', 'and on, each once');
    ok(await(sub { inbox() == 0 }), 'taken');
    gone($c, 'r');
}

$t->done();
