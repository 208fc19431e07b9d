#!/usr/bin/perl

# The inbox, when the subscription is back before the commands are answered:
# what rings meanwhile is held, what a page brings comes in its place, older
# messages first (RFC 6120, 10.1; docs/internals/cluster.md, rules 6 and 8).

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
    xmpp_redis_timeout  60s;
    xmpp_heartbeat      1h;

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
my @lanes;

for my $host (0, 1) {
    push @lanes, Test::XMPP::Lanes->new($t->testdir() . "/host$host.sock",
                                        $redis->socket());
    $t->start_host();
}

# whose presence is asked for again when a subscription was lost: what comes
# from others is held until that is answered, and so longer than for a page

befriend($t, 'alice', 'carol', 'both');

my $bob = $t->online('bob', on => 0);
my $alice = $t->online('alice', on => 1);
my $lane = $lanes[1];


###############################################################################
# The answer tells of a message whose bell comes later, and a page has it: it
# comes behind what has rung

$lane->hold('command');
again(sub { });
heard('one');
message('two');
$lane->release('command');
came('RFC 6120, 10.1: held, and from a page', 'one', 'two');
$lane->release('subscriber');
message('three');
came('and its bell brings it no more', 'three');
once();


###############################################################################
# The subscription is lost twice: a page has what is between two that have rung

$lane->hold('command');
again(sub { });
heard('four');
again(sub { message($_) for qw/ five six / });
heard('seven');
$lane->release('subscriber');
$lane->release('command');
came('RFC 6120, 10.1: those of a page are between those that are held',
     qw/ four five six seven /);
once();

###############################################################################
# Redis does not answer in time: what was missed comes first all the same

$alice->close();

push @lanes, Test::XMPP::Lanes->new($t->testdir() . '/host2.sock',
                                    $redis->socket());
my $host = $t->start_host(config => $t->{config}[0]
                          =~ s/(xmpp_redis_timeout\s+)\S+;/${1}1s;/r);

$alice = $t->online('alice', on => 2);
$lane = $lanes[2];

for my $n (1, 2) {
    my $late = sub {
        my $re = qr/got no reply within the timeout/;
        my $before = () = $host->read_log() =~ /$re/g;

        Test::XMPP::Process::await(sub {
            (() = $host->read_log() =~ /$re/g) > $before
        }) or die "it is not too late\n";
    };

    # the record is put back in vain, and a page is asked for

    $lane->hold('command');
    again(sub { message("missed $n") });
    $late->();
    heard("newer $n");
    $late->();
    $alice->sync();
    $lane->release('command');
    $lane->release('subscriber');
    came('RFC 6120, 10.1: the answer comes too late', "missed $n",
         "newer $n");
    once();
}

$t->done();


# The subscriber connection is lost, and is back when that was done.

sub again {
    my ($what) = @_;
    my $channel = 'xmpp/0:{alice@localhost}';
    my $heard = sub {
        my ($n) = @_;

        Test::XMPP::Process::await(sub {
            $redis->command('PUBSUB', 'SHARDNUMSUB', $channel)->[1] == $n;
        }) or die "alice is not heard by $n\n";
    };

    $lane->hold('subscriber');
    $lane->cut('subscriber');
    $heard->(0);
    $what->();
    $lane->release('subscriber');
    $heard->(1);
}


sub message {
    $bob->message($alice->jid(), $_[0], type => 'chat');
    $bob->sync();
}


# Alice's worker has heard its bell when this returns, and hears no other.

sub heard {
    $lane->mute('subscriber');
    message($_[0]);
    $lane->turn('subscriber');
    $alice->sync();
}


sub came {
    my ($name, @bodies) = @_;

    is_deeply([ map { my $m = $alice->pick('message'); $m && $m->body() }
                @bodies ], \@bodies, $name);
}


# presence is of no account here

sub once {
    $bob->message($alice->jid(), 'the last', type => 'chat');
    came('each once', 'the last');
}
