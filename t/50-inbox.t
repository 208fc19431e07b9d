#!/usr/bin/perl

# The inbox: a message is in Redis until a session of its recipient has taken it
# (docs/internals/cluster.md, rules 1, 6, 8, 9 and 12).  bob writes on host 0;
# alice is on host 1, whose lanes to Redis are held, cut and released, or which
# dies.  Nothing is lost, nothing comes twice, and all in order.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Lanes;
use Test::XMPP::Process;
use Test::XMPP::Roster;

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
    xmpp_heartbeat      1s;          # longer than a lane is held

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%% sndbuf=16k;
        xmpp_c2s;
    }
}
EOC

$t->run();

my $redis = $t->redis();
my $alice = 'alice@localhost';
my @lanes;

for my $host (0, 1) {
    push @lanes, Test::XMPP::Lanes->new($t->testdir() . "/host$host.sock",
                                        $redis->socket());
    $t->start_host();
}

my $bob = $t->online('bob', on => 0);


sub await { &Test::XMPP::Process::await }

# a message of bob's, to which nothing comes back

sub leave {
    my ($to, @bodies) = @_;

    $bob->message($to, $_, type => 'chat') for @bodies;
    $bob->sync();
    is(join(' ', map { $_->raw() } $bob->drain()), '', "sent to $to: "
       . join(' ', map { substr $_, 0, 20 } @bodies));
}

# the bodies that a client gets, until something newer than all of them

sub got {
    my ($client, $why, @bodies) = @_;
    my @got;

    $client->sync();
    $bob->message($client->jid(), 'newest', type => 'headline');

    while (my $stanza = $client->recv_stanza()) {
        next if !$stanza->is('message');
        last if $stanza->body() eq 'newest';
        push @got, substr $stanza->body(), 0, 20;
    }

    is_deeply(\@got, [ map { substr $_, 0, 20 } @bodies ], $why);
}

sub inbox { $redis->command('XLEN', "xmpp:{$alice}:inbox") }
sub number { $redis->command('HGET', "xmpp:{$alice}:sessions", 'n') // 0 }

sub empty {
    my ($why) = @_;

    ok(await(sub { inbox() == 0 }), $why) or diag(inbox());
    is($redis->command('HGET', "xmpp:{$alice}:sessions", 'i'), undef,
       'nor its count');
}

sub record {
    return $redis->command('HEXISTS', "xmpp:{$alice}:sessions", "r$_[0]");
}

sub gone {
    my ($client) = @_;

    $client->close() if !$client->{deaf};
    await(sub { !record($client->jid() =~ s{^.*?/}{}r) })
        or die "the record stays\n";
}

sub alice { $t->online('alice', on => 1, resource => 'r', @_) }


###############################################################################
# Until it was written

{
    my $c = alice();
    my $here = $t->online('alice', on => 0, resource => 'here');

    # her worker does not hear it, so nobody can have taken it

    $here->presence(priority => -1);
    $here->sync();
    $lanes[1]->hold('subscriber');
    leave($alice, 'one');
    is(inbox(), 1, 'in the inbox before the sender is answered');
    leave($here->jid(), 'two');
    ok($here->pick('message', body => 'two'), 'also within one worker');
    $lanes[1]->release('subscriber');
    got($c, 'and given', 'one');
    empty('then it goes');

    leave($alice, map { "m$_" } 1 .. 500);
    got($c, 'many', map { "m$_" } 1 .. 500);
    empty('they go, too');

    # what was written is not given again, however soon the client goes

    leave($alice, 'last');
    ok($c->pick('message', body => 'last'), 'the last one');
    gone($c);
    $c = alice();
    got($c, 'not given again');
    $bob->message($alice, 'no-store', type => 'chat',
                  xml => "<no-store xmlns='urn:xmpp:hints'/>");
    ok($c->pick('message', body => 'no-store'), 'XEP-0334, 4.2: no-store');
    is(inbox(), 0, 'is not');
    gone($_) for $c, $here;
}


###############################################################################
# cluster.md, 6 and 8: bells that were lost, or come behind a page

{
    my $c = alice();

    # the connection is cut with the bells on it

    $lanes[1]->hold('subscriber');
    leave($alice, map { "cut$_" } 1 .. 40);
    $lanes[1]->cut('subscriber');
    $lanes[1]->release('subscriber');
    got($c, 'a lost connection of bells: all of them, in order',
        map { "cut$_" } 1 .. 40);
    empty('and they go');

    # presence is in no inbox: it is asked again

    Test::XMPP::Roster::befriend($t, 'alice', 'carol', 'both');

    my $carol = $t->online('carol', on => 0, resource => 'c');
    my $other = $t->online('carol', on => 0, resource => 'o');

    ok($c->pick('presence', from => $_->jid()), 'presence of a contact')
        for $carol, $other;
    $c->drain();
    $lanes[1]->hold('subscriber');
    $carol->presence(show => 'dnd');
    $carol->sync();
    $lanes[1]->cut('subscriber');
    $lanes[1]->release('subscriber');
    ok($c->pick('presence', from => $carol->jid(),
                xpath => "string(*[local-name() = 'show']) = 'dnd'"),
       'RFC 6121, 4.4.2: a lost connection of bells: presence as it is now');

    $lanes[1]->hold('subscriber');
    $_->close() for $carol, $other;
    ok(Test::XMPP::Process::await(sub {
        !$redis->command('EXISTS', 'xmpp:{carol@localhost}:presence')
    }), 'he goes');
    $lanes[1]->cut('subscriber');
    $lanes[1]->release('subscriber');
    ok($c->pick('presence', from => 'carol@localhost', type => 'unavailable'),
       'RFC 6121, 4.3.2: and who is not there any more');
    $c->drain();

    # pages have the same, and could come first: before what is not kept

    $lanes[1]->hold('subscriber');
    leave($alice, 'page1', 'page2');
    $bob->message($alice, 'headline', type => 'headline');
    leave($alice, 'page3');
    $c->presence(type => 'unavailable');
    $c->presence();
    $c->sync();
    $lanes[1]->release('subscriber');
    got($c, 'RFC 6120, 10.1: in order; cluster.md, 10: once',
        'page1', 'page2', 'headline', 'page3');
    empty('and they go');

    # the bell comes first, and the page behind it

    $lanes[1]->mute('command');
    leave($alice, 'bell1', 'bell2');
    ok($c->pick('message', body => $_), "a bell: $_") for qw/ bell1 bell2 /;
    $c->presence(type => 'unavailable');
    $c->presence();
    $lanes[1]->release('command');
    got($c, 'once, though a page has them, too');
    empty('and they go');
    gone($c);
}


###############################################################################
# cluster.md, 1: nobody has to listen

{
    my $c = alice();

    $t->host(1)->kill_host();
    leave($alice, 'dead1', 'dead2');
    leave($c->jid(), 'dead3');

    my $next = $t->online('alice', on => 0, resource => 'next');

    ok($next->pick('message', body => $_),
       "of a host that has just died, what was to the bare JID: $_")
        for qw/ dead1 dead2 /;
    ok($next->pick('message', body => 'dead3'),
       'and what was to one of its sessions, when they are cleaned up');
    ok(!record('r'), 'they are');
    got($next, 'once');
    empty('nothing stays');
    gone($next);
    $t->host(1)->start();
}


###############################################################################
# cluster.md, 9: what a session has not taken when it ends

{
    my @many = map { $_ x 6000 } 'a' .. 'p';

    for my $end (qw/ drop kill /) {
        my $slow = $t->client('alice', on => 1, resource => 'slow',
                              rcvbuf => 4096)->login();
        $slow->presence();
        $slow->sync();
        $slow->{deaf} = 1;

        my $other = $t->online('alice', on => 0, resource => 'other');

        leave($slow->jid(), @many);
        $end eq 'kill' ? $t->host(1)->kill_host() : $slow->drop();

        my @rest;

        while (my $stanza = $other->recv_stanza()) {
            next if !$stanza->is('message');
            push @rest, $stanza->body() =~ /^(.)/;
            ok($stanza->find("*[local-name() = 'delay']/\@stamp"),
               "XEP-0203: $rest[-1] was sent before");
            last if $rest[-1] eq 'p';
        }

        like(join('', @rest), qr/^[a-o]*p$/, "$end: others get it");
        is(join('', @rest), join('', sort @rest), 'in order');
        got($other, 'once');
        empty('nothing stays');
        gone($other);
        $t->host(1)->start() if $end eq 'kill';
    }
}

# nobody else is there

{
    my $slow = $t->client('alice', on => 1, resource => 'slow',
                          rcvbuf => 4096)->login();
    my @many = map { $_ x 6000 } 'a' .. 'p';

    $slow->presence();
    $slow->sync();
    $slow->{deaf} = 1;
    leave($slow->jid(), @many);
    $slow->drop();
    await(sub { !record('slow') }) or die "the record stays\n";

    my $next = alice();
    my @rest;

    while (my $stanza = $next->recv_stanza()) {
        next if !$stanza->is('message');
        push @rest, $stanza->body() =~ /^(.)/;
        last if $rest[-1] eq 'p';
    }

    like(join('', @rest), qr/^[a-o]*p$/, 'who comes next gets it');
    is(join('', @rest), join('', sort @rest), 'in order');
    empty('nothing stays');
    gone($next);
}


# what was sent before <enable/> is not acknowledged, nor taken by being dropped

{
    my $slow = $t->client('alice', on => 1, resource => 'slow',
                          rcvbuf => 4096)->login();
    my @many = map { $_ x 6000 } 'a' .. 'p';

    $slow->presence();
    $slow->sync();
    $slow->{deaf} = 1;
    leave($slow->jid(), @many);
    $slow->send("<enable xmlns='urn:xmpp:sm:3'/>");
    $slow->message($bob->jid(), 'enabled', type => 'chat');
    ok($bob->pick('message', body => 'enabled'), 'XEP-0198: enabled');
    $slow->drop();
    await(sub { !record('slow') }) or die "the record stays\n";

    my $next = alice();

    ok($next->pick('message', body => $many[-1]), 'who comes next gets it');
    gone($next);
}


###############################################################################
# Redis stands still while it is told what was taken

{
    my $c = alice();

    leave($alice, 'still');
    ok($c->pick('message', body => 'still'), 'given');
    $redis->pause();
    $redis->resume();
    empty('told, sooner or later');

    $lanes[1]->hold('command');
    leave($alice, map { "held$_" } 1 .. 100);
    $c->expect('message', body => "held$_") for 1 .. 100;
    $lanes[1]->cut('command');
    $lanes[1]->release('command');
    got($c, 'a lost connection of commands: not again');
    empty('told again');
    gone($c);
}

$t->done();
