#!/usr/bin/perl

# One port for all: ngx_stream_ssl_preread_module looks at the first bytes,
# map at the protocol of ALPN (XEP-0368: "xmpp-client"), and proxy_pass takes
# the connection to xmpp_c2s or elsewhere, with the PROXY protocol in between.
# And ssl_preread in a server with xmpp_c2s itself, which reads before it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use IO::Socket::SSL;
use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ 'alice',
                                   [ 'alice', 'second.test', 'pa55' ] ])
                  ->only_ours('has nginx in front of it');

$t->config(<<'EOF');
%%GLOBALS%%
events {
    worker_connections  256;
}

stream {
    xmpp_redis  unix:%%REDIS%%;

    log_format  all  '$remote_addr|$ssl_preread_server_name'
                     '|$ssl_preread_alpn_protocols|$xmpp_jid';

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    xmpp_host second.test {
        ssl_certificate      %%TESTDIR%%/second.test.pem;
        ssl_certificate_key  %%TESTDIR%%/second.test.key;
    }

    map $ssl_preread_alpn_protocols $upstream {
        ~\bxmpp-client\b  unix:%%PREFIX%%/xmpps.sock;
        default           $plain;
    }

    # the same port without TLS: no protocol version was read
    map $ssl_preread_protocol $plain {
        ""       unix:%%PREFIX%%/xmpp.sock;
        default  unix:%%PREFIX%%/https.sock;
    }

    server {
        listen          127.0.0.1:%%PORT_0%%;
        ssl_preread     on;
        preread_timeout 2s;
        proxy_pass      $upstream;
        proxy_protocol  on;
        access_log      %%PREFIX%%/front all;
    }

    server {
        listen            unix:%%PREFIX%%/xmpps.sock ssl proxy_protocol;
        set_real_ip_from  unix:;
        access_log        %%PREFIX%%/xmpp all;
        xmpp_c2s;
    }

    server {
        listen            unix:%%PREFIX%%/xmpp.sock proxy_protocol;
        set_real_ip_from  unix:;
        access_log        %%PREFIX%%/xmpp all;
        xmpp_c2s;
    }

    server {
        listen               unix:%%PREFIX%%/https.sock ssl proxy_protocol;
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
        return               web;
    }

    # xmpp_c2s behind the first bytes

    server {
        listen           127.0.0.1:%%PORT_1%%;
        ssl_preread      on;
        preread_timeout  2s;
        access_log       %%PREFIX%%/preread all;
        xmpp_c2s;
    }

    server {
        listen       127.0.0.1:%%PORT_2%% ssl;
        ssl_preread  on;
        access_log   %%PREFIX%%/preread all;
        xmpp_c2s;
    }
}
EOF

$t->run();


sub slurp { Test::XMPP::Process::slurp($t->host()->prefix() . "/$_[0]") }

sub logged {
    my ($log, $want, $name) = @_;

    ok(Test::XMPP::Process::await(sub { slurp($log) =~ $want }), $name)
        or diag(slurp($log));
}


sub works {
    my ($name, %opt) = @_;

    my $c = $t->client('alice', %opt);

    ok(eval { $c->login() }, "$name: logs in") or diag($@), return $c;
    $c->message($c->jid(), 'x' x 50_000, type => 'chat');
    ok($c->expect(message => from => $c->jid()), "$name: and talks");
    $c->close();

    return $c;
}


###############################################################################
# One port

my $c = works('ALPN', tls => 'direct', port_number => 0,
              local => '127.0.0.2');

logged('xmpp', qr/^127\.0\.0\.2\|.*\Q@{[ $c->jid() ]}\E$/m,
       'ALPN: the address of the client comes through');
logged('front', qr/^127\.0\.0\.2\|localhost\|xmpp-client\|-$/m,
       'ALPN: what was read before');

$c = works('another domain', tls => 'direct', port_number => 0,
           domain => 'second.test', verify_name => 'second.test');

is($c->{bare}, 'alice@second.test', 'another domain: the one of SNI');

works('no TLS yet: STARTTLS', port_number => 0, local => '127.0.0.3');
logged('xmpp', qr/^127\.0\.0\.3\|.*alice/m, 'STARTTLS: the address, too');

for my $alpn ([ 'http/1.1' ], undef) {
    my $name = $alpn ? 'ALPN http/1.1' : 'no ALPN';
    my $web = IO::Socket::SSL->new(
        PeerAddr => '127.0.0.1', PeerPort => $t->port(0),
        SSL_ca_file => $t->ca_file(), SSL_hostname => 'localhost',
        SSL_verifycn_name => 'localhost', SSL_verifycn_scheme => 'default',
        $alpn ? (SSL_alpn_protocols => $alpn) : ());

    ok($web, "$name: TLS") or diag($SSL_ERROR);
    is($web && do { local $/; <$web> }, 'web', "$name: is for others");
}

# a handshake in pieces

my $proxy = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1');
my $pid = fork() // die "fork: $!\n";

if ($pid == 0) {
    pieces($proxy, $t->port(0));
    POSIX::_exit(0);
}

works('ALPN, in pieces', tls => 'direct', port => $proxy->sockport());
waitpid $pid, 0;
is($?, 0, 'in pieces: so it was');


###############################################################################
# ssl_preread in the server of xmpp_c2s

$c = works('ssl_preread and STARTTLS', port_number => 1);
logged('preread', qr/^127\.0\.0\.1\|-\|-\|\Q@{[ $c->jid() ]}\E$/m,
       'ssl_preread and STARTTLS: there was nothing to read');

# on a TLS port nginx reads before when TLS is done already: behind it

$c = works('ssl_preread and direct TLS', tls => 'direct', port_number => 2);

$t->done();


# takes one connection to the port, bytes of the client one by one

sub pieces {
    my ($listen, $port) = @_;

    my $client = $listen->accept() or die "accept: $!\n";
    my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                       PeerPort => $port);
    my %other = (fileno $client => $server, fileno $server => $client);
    my $left = 400;

    $server->sockopt(Socket::TCP_NODELAY(), 1);

    for ( ;; ) {
        my $vec = '';
        vec($vec, $_, 1) = 1 for keys %other;
        select $vec, undef, undef, undef;

        for my $from ($client, $server) {
            next unless vec $vec, fileno $from, 1;

            my $size = $from == $client && $left > 0 ? 1 : 16384;

            $left -= $size if $from == $client;
            sysread $from, my $bytes, $size or return;
            syswrite $other{ fileno $from }, $bytes;
        }
    }
}
