#!/usr/bin/perl

# nchan in the same nginx, loaded before and after our module.  Both bring a
# hiredis of their own, of different releases: each has to keep to its own.
# Clients log in and chat through our Redis while messages of nchan go from
# worker to worker through its own.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Cwd qw/ abs_path /;
use IO::Socket::INET;
use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Redis;

my $SUBSCRIBERS = 6;

my $t = Test::XMPP->new(users => [ qw/ alice bob / ], hosts => 0)
                  ->only_ours('loads it beside our module');

# a module of Debian's loads into Debian's nginx alone

my $info = `\Q@{[ Test::XMPP::Nginx::binary() ]}\E -V 2>&1`;
my ($modules) = $info =~ /--modules-path=(\S+)/;
my $nchan = ($modules // '/nowhere') . '/ngx_nchan_module.so';

plan(skip_all => "this nginx has no nchan: $nchan") unless -f $nchan;

$t->run();

my $port = Test::XMPP::Process::free_port();
my $dir = $t->testdir() . '/nchan';

mkdir $dir or die "$dir: $!\n";

my $redis = Test::XMPP::Redis->new($dir, port => $port, bind => '127.0.0.1');

my %order = (
    before => "load_module $nchan;\n%%GLOBALS%%\n",
    after  => "%%GLOBALS%%\nload_module $nchan;\n",
);

for my $order (qw/ before after /) {
    both($order, $t->start_host(config => config($order{$order})));
}

ok($redis->stop(), 'the Redis of nchan stops');
$t->done();


sub config {
    my ($globals) = @_;

    return <<"EOF";
$globals
events {
    worker_connections  1024;
}

http {
    access_log  off;

    upstream nchan {
        nchan_redis_server  redis://127.0.0.1:$port;
    }

    server {
        listen  127.0.0.1:%%PORT_2%%;

        location = /publish {
            nchan_publisher;
            nchan_channel_id  \$arg_id;
            nchan_redis_pass  nchan;
        }

        location = /subscribe {
            nchan_subscriber  eventsource;
            nchan_channel_id  \$arg_id;
            nchan_redis_pass  nchan;
        }
    }
}

stream {
    xmpp_redis       unix:%%REDIS%%;
    xmpp_drain_time  200ms;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
EOF
}


# The last host that was started is the one with this order of modules.

sub both {
    my ($order, $nginx) = @_;
    my $on = @{ $t->{nginx} } - 1;
    my $id = "chat-$order";

    my @subscribers = map { subscribe($nginx, $id) } 1 .. $SUBSCRIBERS;

    is(@subscribers, $SUBSCRIBERS, "$order: nchan: subscribed");

    my $alice = $t->online('alice', on => $on);
    my $bob = $t->online('bob', on => $on);

    for my $round (1 .. 5) {
        my $published = request($nginx, 'POST', "/publish?id=$id",
                                'Connection: close', "news $round");

        $alice->message($bob->jid(), "hello $round", type => 'chat');

        like(answer($published), qr{^HTTP/1.1 20[12] },
             "$order: nchan: published, round $round");
        ok($bob->expect(message => from => $alice->jid(),
                        body => "hello $round"),
           "$order: bob has his message, round $round");

        for my $fh (@subscribers) {
            like(answer($fh, qr/^data: .*?\n\n/ms), qr/^data: news $round$/m,
                 "$order: nchan: each has its own, round $round");
        }
    }

    # each in the Redis that it was given

    ok(grep({ /\Q$id\E/ } @{ $redis->command('KEYS', '*') }),
       "$order: the channel is in the Redis of nchan");
    ok(!grep({ /^xmpp:/ } @{ $redis->command('KEYS', '*') }),
       "$order: nothing else is");
    ok(!grep({ /\Q$id\E/ } @{ $t->redis()->command('KEYS', '*') }),
       "$order: it is not in ours");

    # New workers, while both are at work.  An nchan that ends while a worker
    # of another generation is there aborts in nchan_store_exit_worker(), with
    # our module or without; so the old ones are waited for.

    my @old = $nginx->reload();

    ok($_->expect_stream_error('system-shutdown'), "$order: a reload")
        for $alice, $bob;

    Test::XMPP::Process::await(sub { !grep { kill 0, $_ } @old })
        or die "the old workers stay\n";

    $alice = $t->online('alice', on => $on);
    ok($alice->query('get', $t->domain(), "<ping xmlns='urn:xmpp:ping'/>"),
       "$order: after it, too");

    like(answer(request($nginx, 'POST', "/publish?id=$id",
                        'Connection: close', 'late')),
         qr{^HTTP/1.1 20[12] }, "$order: and so does nchan");

    ok($nginx->stop('QUIT'), "$order: nginx stops");
}


# A worker of nchan answers 503 until its Redis is connected.

sub subscribe {
    my ($nginx, $id) = @_;

    return Test::XMPP::Process::await(sub {
        my $fh = request($nginx, 'GET', "/subscribe?id=$id",
                         'Accept: text/event-stream');

        return answer($fh, qr/\r\n\r\n/) =~ m{^HTTP/1.1 200 } && $fh;
    });
}


sub request {
    my ($nginx, $method, $uri, $header, $body) = @_;

    my $fh = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                   PeerPort => $nginx->port(2),
                                   Proto => 'tcp') or die "connect: $!\n";

    $body //= '';
    print $fh "$method $uri HTTP/1.1\r\nHost: localhost\r\n$header\r\n"
              . 'Content-Length: ' . length($body) . "\r\n\r\n$body";
    $fh->flush();

    return $fh;
}


# What has come when it matches, or all of it at the end of the connection

sub answer {
    my ($fh, $re) = @_;
    my $got = '';

    local $SIG{ALRM} = sub { die "nchan said no more than: $got\n" };
    alarm 30;

    while (sysread($fh, $got, 4096, length $got)) {
        last if defined $re && $got =~ $re;
    }

    alarm 0;

    return $got;
}
