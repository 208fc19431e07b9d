#!/usr/bin/perl

# WebSocket (RFC 6455, 10): pages of others, clients without TLS, what is hidden
# around the handshake, floods by frames, connections that are held open, and
# the attacks on XML that came by other servers' WebSocket (CVE-2022-0217).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ qw/ alice bob / ], workers => 1)
                  ->only_ours();

# an address of this machine that is not loopback: what is sent from there to
# loopback never leaves it

my $probe = IO::Socket::INET->new(PeerAddr => '192.0.2.1', PeerPort => 9,
                                  Proto => 'udp');
my $own = $probe ? $probe->sockhost() : '127.0.0.1';

$t->config(<<'EOC' =~ s/%%OWN%%/$own/gr);
%%GLOBALS%%
events {
    worker_connections  64;
}

stream {
    xmpp_redis          unix:%%REDIS%%;
    xmpp_max_stanza     20000;
    xmpp_output_queue   64k;
    xmpp_auth_timeout   2s;
    xmpp_preauth_bytes  5000;

    xmpp_host localhost {
    }
}

http {
    ssl_certificate      %%TESTDIR%%/localhost.pem;
    ssl_certificate_key  %%TESTDIR%%/localhost.key;

    server {
        listen  127.0.0.1:%%PORT_2%% sndbuf=16k;

        location = /xmpp-websocket {
            xmpp_websocket;
        }

        location = /origin {
            xmpp_websocket;
            xmpp_websocket_origin https://chat.example.org;
        }
    }

    # who comes from elsewhere, and says where by the PROXY protocol

    server {
        listen            127.0.0.1:%%PORT_3%% proxy_protocol;
        set_real_ip_from  127.0.0.2;
        real_ip_header    proxy_protocol;

        location = /xmpp-websocket {
            xmpp_websocket;
        }

        location = /proxy {
            xmpp_websocket;
            xmpp_websocket_proxy 198.51.100.0/24 %%OWN%%;
        }
    }
}
EOC

$t->run();

my %NS = %Test::XMPP::WebSocket::NS;
my $domain = $t->domain();
my $ping = "<iq xmlns='$NS{c}' type='get' id='p'>"
           . "<ping xmlns='$NS{ping}'/></iq>";

sub ws { $t->client('alice', websocket => 1, tls => 'none', @_) }
sub opened { my $c = ws(@_)->connect(); $c->open_stream(); return $c }


# a page of another site, in the browser of someone who is let in

is(ws(path => '/origin')->handshake(fields => { Origin => $_->[0] }), $_->[1],
   "origin $_->[0]")
    for [ 'https://chat.example.org', 101 ], [ 'https://evil.test', 403 ],
        [ 'null', 403 ];

# what a proxy may have let through: bytes that another one reads otherwise

for ([ 'a second request behind',
       behind => "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n" ],
     [ 'a length, and a request as the body',
       fields => { 'Content-Length' => 4 }, behind => 'GET ' ],
     [ 'chunks', fields => { 'Transfer-Encoding' => 'chunked' },
       behind => "4\r\nGET \r\n0\r\n\r\n" ],
     [ 'two keys',
       fields => { 'Sec-WebSocket-Key' => [ ('A' x 22 . '==') x 2 ] } ],
     [ 'two versions', fields => { 'Sec-WebSocket-Version' => [ 13, 8 ] } ],
     [ 'another subprotocol',
       fields => { 'Sec-WebSocket-Protocol' => 'xmpp-framing' } ])
{
    my ($name, %opt) = @$_;
    my $c = ws();

    is($c->handshake(%opt), 400, "$name: refused");
    $c->wait(sub { defined $c->{eof} });
    unlike($c->{in}, qr/HTTP/, 'and not answered twice');
}

# fields that would forge a line of the log or of the answer

{
    my $c = ws();

    is($c->handshake(fields => { Origin => "https://a.test\x0bx",
                                 'Sec-WebSocket-Protocol'
                                     => "xmpp\x00\r\n Evil: 1" }), 400,
       'NUL and folded lines are refused by nginx');
    is($c->field('Evil'), undef, 'and nothing comes back');
}

# without TLS: who has connected counts, and not what is said of it

my $me = 'PROXY TCP4 127.0.0.1 127.0.0.1 1234 80' . "\r\n";
my $far = 'PROXY TCP4 198.51.100.7 192.0.2.1 1234 80' . "\r\n";

sub from {
    my ($preface, $path, $fields, %opt) = @_;
    my $c = ws(port_number => 3, preface => $preface, path => $path, %opt);

    return $c->handshake(fields => $fields);
}

is(from($far, '/xmpp-websocket', {}), 101,
   'loopback, whatever it says: it is not asked');
is(from($far, '/xmpp-websocket', {}, local => '127.0.0.2'), 101,
   'a proxy on this machine, for a client elsewhere');
is(from($far, '/proxy', { 'X-Forwarded-Proto' => 'http' }), 403,
   'the client of a proxy had no TLS');
is(from($far, '/proxy', { 'X-Forwarded-Proto' => 'https' }), 101, 'it had');
is(from($far, '/proxy', { 'X-Forwarded-For' => '127.0.0.1',
                          'X-Forwarded-Proto' => 'wss,http' }), 403,
   'a list is no answer');


SKIP: {
    skip 'this machine has no address but loopback', 4
        if $own =~ /^127\./;

    is(ws(local => $own)->handshake(), 403, 'not loopback, and no TLS');
    is(from($me, '/xmpp-websocket', {}, local => $own), 403,
       'although it says that its client was');
    is(from($far, '/proxy', {}, local => $own), 101, 'a proxy that is named');
    is(from($far, '/proxy', { 'X-Forwarded-Proto' => 'http' },
            local => $own), 403, 'whose client had no TLS');
}


# documents that no client needs: RFC 6120, 11.1

for ([ 'DOCTYPE', "<!DOCTYPE x [<!ENTITY a 'b'>]>", qr/restricted-xml/ ],
     [ 'a billion laughs', "<!DOCTYPE m [<!ENTITY a 'aaaa'>"
       . "<!ENTITY b '&a;&a;&a;'>]><m>&b;</m>", qr/restricted-xml/ ],
     [ 'an entity', "<message xmlns='$NS{c}'><body>&a;</body></message>",
       qr/restricted-xml|not-well-formed/ ],
     [ 'a comment', "<!-- x -->", qr/restricted-xml/ ],
     [ 'a PI', "<?xml-stylesheet href='x'?>",
       qr/restricted-xml|not-well-formed/ ])
{
    my ($name, $text, $error) = @$_;

    for my $fragment (undef, 3) {
        my $c = ws()->connect();

        $c->{fragment} = $fragment;
        $c->send($text);
        ok($c->recv_header() && $c->expect_stream_error($error),
           "$name before <open/>" . ($fragment ? ', in fragments' : ''));
    }

    my $c = ws()->login();

    $c->send($text);
    ok($c->expect_stream_error($error), "$name later on");
}


# floods of frames that hold nothing: their heads are counted

{
    my $c = ws()->login();
    my $empty = $c->frame(continuation => '', fin => 0);

    $c->send_frame(text => '<a', fin => 0);
    $c->queue_bytes($empty x 10000);
    ok($c->expect_stream_error('policy-violation'),
       'RFC 6455, 5.4: endless empty fragments');
    is($c->{close_code}, 1009, 'are a message that is too long');

    for my $kind (qw/ ping pong /) {
        my $c = opened();

        $c->queue_bytes($c->frame($kind => 'x' x 100) x 100);
        ok(Test::XMPP::Process::await(sub { $c->flush(); $c->fill();
                                            defined $c->{eof} }),
           "a flood of $kind before authentication ends");
    }

    $c = opened();
    $c->queue_bytes($c->frame(text => ' ' x 100) x 100);
    ok(Test::XMPP::Process::await(sub { $c->flush(); $c->fill();
                                        defined $c->{eof} }),
       'a flood of white space, too');
}

# Pings whose Pongs nobody reads: bounded as all output is, and the empty ones
# by what they take, which is not their two bytes

for (125, 0) {
    my $c = ws(rcvbuf => 4096)->login();
    my $pings = $c->frame(ping => 'x' x $_) x 5000;
    my $end = $t->log_end();
    my $waiting;

    $c->{deaf} = 1;

    ok(Test::XMPP::Process::await(sub {
        $c->queue_bytes($pings) if length $c->{out} < 50000;
        $c->flush();
        ($waiting) = substr($t->read_log(), $end)
                     =~ /client does not read: (\d+) bytes are waiting/;
    }), "Pongs of $_ bytes that are not read end the connection");
    cmp_ok($waiting, '<', $_ ? 65536 : 4096, 'before there are too many');
}

# a frame that never ends holds nothing but its deadline

{
    my @slow = map { opened() } 1 .. 4;

    $slow[0]->send_bytes("\x81");
    $slow[1]->send_bytes("\x81\xfe\x0f");
    $slow[2]->send_bytes(substr $slow[2]->frame(text => $ping), 0, 20);
    $slow[3]->send_bytes(substr $slow[3]->frame(ping => 'x' x 100), 0, 20);

    ok($_->expect_stream_error('connection-timeout'),
       'half a frame does not outlive xmpp_auth_timeout') for @slow;
    is($_->{close_code}, 1000) for @slow;
}

# no connection is left: those that have not logged in make room

{
    my $alice = ws()->login();
    my @idle = map { my $c = ws(); $c->handshake(); $c } 1 .. 90;
    my $bob = $t->client('bob', websocket => 1, tls => 'none')->login();

    $bob->message($alice->jid(), 'still here');
    ok($alice->expect('message', body => 'still here'),
       'RFC 6120, 13.12: idle handshakes do not keep others out');
}

# nginx compares four bytes at once, wherever a request begins

$t->expect_log(qr/64 worker_connections are not enough/);
$t->expect_log(qr{src/http/ngx_http_parse\.c:\d+:\d+: .*misaligned address});
$t->done();
