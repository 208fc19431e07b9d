#!/usr/bin/perl

# kill -9 of the host, or the worker, of a recipient: until a heartbeat tells,
# its record says that it is there, and nobody listens (cluster.md, rule 1).
# What the inbox keeps needs nobody to listen: the sender gets no error, and
# whoever comes next gets it once, in order.  Nobody is taken for dead within
# the test.  bob writes on host 0.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

my $t = Test::XMPP->new(hosts => 2, workers => 1,
                        users => [ qw/ alice bob carol / ]);

$t->only_ours('kills hosts');

$t->config(<<'EOT');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis      unix:%%REDIS%%;
    xmpp_heartbeat  60s;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
EOT

$t->run();

my $redis = $t->redis();
my $alice = 'alice@localhost';
my $bob = $t->online('bob', on => 0);


sub record {
    return $redis->command('HEXISTS', "xmpp:{$alice}:sessions", "r$_[0]");
}

sub dies {
    my ($how, @clients) = @_;

    $how eq 'host' ? $t->host(1)->kill_host() : $t->host(1)->kill_worker();
    $_->expect_eof() for @clients;
}

# what bob sends, in one write, and that nothing comes back

sub leave {
    my ($why, @messages) = @_;

    $bob->send(join '', map {
        my ($to, $body, $type) = @$_;

        "<message to='$to' type='" . ($type // 'chat') . "'>"
        . "<body>$body</body></message>"
    } @messages);
    $bob->sync();
    is(join(' ', map { $_->raw() } $bob->drain()), '', "$why: no error");
}

# the bodies that somebody gets, until something newer than all of them

sub got {
    my ($client, $why, @bodies) = @_;
    my @got;

    $client->sync();
    $bob->message($client->jid(), 'newest', type => 'headline');

    while (my $stanza = $client->recv_stanza()) {
        next if !$stanza->is('message');
        last if $stanza->body() eq 'newest';
        push @got, $stanza->body();
    }

    is("@got", "@bodies", $why);
}

# Redis hears a while later of what was taken; what comes before may get it, too

sub inbox {
    my ($why, $n) = @_;

    ok(Test::XMPP::Process::await(sub {
        $redis->command('XLEN', "xmpp:{$alice}:inbox") == $n
    }), "$why: $n stay in the inbox");
}

sub gone {
    my ($client) = @_;

    $client->close();
    Test::XMPP::Process::await(sub { !record($client->{resource}) })
        or die "the record stays\n";
}


###############################################################################
# The same resource comes back

for my $how (qw/ host worker /) {
    my $c = $t->online('alice', on => 1, resource => 'r');

    $t->settle($c, $bob);
    dies($how, $c);

    leave($how, map { [ $_ % 3 ? $alice : $c->jid(), "$how$_",
                        $_ % 5 ? 'chat' : 'normal' ] } 1 .. 40);
    ok(record('r'), "$how: and its record says that it is there");

    my $next = $t->online('alice', on => 0, resource => 'r');

    got($next, "$how: all of them, once, in order", map { "$how$_" } 1 .. 40);
    inbox($how, 0);
    gone($next);

    $next = $t->online('alice', on => 0, resource => 'r');
    got($next, "$how: never again");
    gone($next);

    $t->host(1)->start() if $how eq 'host';
}


###############################################################################
# Another one comes, and one is there all the while

{
    my $c = $t->online('alice', on => 1, resource => 'r');
    my $low = $t->client('alice', on => 0, resource => 'low')->login();

    $low->presence(priority => -1);
    $low->sync();
    $t->settle($c, $bob);
    dies('host', $c);

    leave('nobody of those who may get it', map { [ $alice, "a$_" ] } 1 .. 3);
    got($low, 'RFC 6121, 8.5.2.1.1: one with a negative priority does not');

    my $next = $t->online('alice', on => 0, resource => 'next');

    got($next, 'another resource: those to the bare JID',
        map { "a$_" } 1 .. 3);
    ok(record('r'), 'the record of the dead is there');

    leave('one is there', [ $alice, 'b1' ], [ $c->jid(), 'to the dead' ],
          [ $alice, 'b2' ]);
    got($next, 'gets those to the bare JID', qw/ b1 b2 /);
    inbox('they are taken', 1);

    # what was to it goes to whoever comes in its place; others, who are there,
    # may get it, too, as chat to a resource that has gone (8.5.3.2.1)

    my $again = $t->online('alice', on => 0, resource => 'r');

    got($again, 'the same resource: what was to it', 'to the dead');
    inbox('all have come', 0);
    gone($_) for $again, $next, $low;
    $t->host(1)->start();
}

$t->done();
