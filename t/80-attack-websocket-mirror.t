#!/usr/bin/perl

# A handshake that is mirrored, by ngx_http_mirror_module: its subrequest lives
# beside the stream.  It is on nginx's stack, looking for a connection, when
# there is none but that of its own client; and it is under way when the client
# goes.  Under the sanitizers this shows that nothing is used after it was
# freed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ 'alice' ], workers => 1)->only_ours();

# a server that takes what is mirrored, and does not answer

my $mirror = IO::Socket::INET->new(Listen => 100, LocalAddr => '127.0.0.1')
    or die "$!\n";

$t->config(<<'EOC' =~ s/%%MIRROR%%/$mirror->sockport()/gre);
%%GLOBALS%%
events {
    worker_connections  32;
}

stream {
    xmpp_redis         unix:%%REDIS%%;
    xmpp_max_sessions  100;

    xmpp_host localhost {
    }
}

http {
    %%HTTP%%

    server {
        listen  127.0.0.1:%%PORT_2%%;

        location = /xmpp-websocket {
            xmpp_websocket;
        }

        location = /mirrored {
            xmpp_websocket;
            mirror  /mirror;
        }

        location = /mirror {
            internal;
            proxy_pass  http://127.0.0.1:%%MIRROR%%;
        }
    }
}
EOC

$t->run();

sub ws { $t->client('alice', websocket => 1, tls => 'none', @_) }


# the client goes, in several ways, before the mirror has answered

my $alice = ws()->login();
my ($pid) = $t->workers();

for my $go (sub { $_[0]->drop() }, sub { $_[0]->drop(reset => 1) },
            sub { $_[0]->send_frame(close => pack 'n', 1000);
                  $_[0]->expect_break(1000) })
{
    my $c = ws(path => '/mirrored')->connect();
    my $copy = $mirror->accept();

    $c->open_stream();
    $go->($c);

    ok(Test::XMPP::Process::await(sub { !sysread $copy, my $bytes, 65536 }),
       'a client goes: what is mirrored ends');
}


# fewer and fewer connections, until that of the client is all there is to take

my ($c, @others);

do {
    push @others, ws()->login();
    $c = ws(path => '/mirrored');
} while (@others < 40 && $c->handshake() && !closed($c));

sub closed {
    my ($c) = @_;

    eval { $c->open_stream() };

    my $closed = defined $c->{eof};

    $c->drop();

    return $closed;
}

ok($t->expect_log(qr/32 worker_connections are not enough/),
   'there was no connection left');
cmp_ok(scalar @others, '<', 40, 'that of the handshake was taken');
ok($_->sync(), 'others are served') for $alice, $others[-1];
is(($t->workers())[0], $pid, 'by the same worker');

$t->done();
