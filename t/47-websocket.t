#!/usr/bin/perl

# XMPP over WebSocket: RFC 7395, and the handshake of RFC 6455.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ qw/ alice bob / ])->only_ours();

our $CONFIG = <<'EOC';
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis       unix:%%REDIS%%;
    xmpp_max_stanza  20000;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}

http {
    ssl_certificate      %%TESTDIR%%/localhost.pem;
    ssl_certificate_key  %%TESTDIR%%/localhost.key;

    log_format  xmpp  '$status $xmpp_jid $xmpp_mechanism $xmpp_tls '
                      '$xmpp_close $xmpp_stanzas_received $xmpp_host '
                      '$http_user_agent';
    access_log  %%PREFIX%%/access.log  xmpp;

    server {
        listen  127.0.0.1:%%PORT_2%% ssl http2;

        location = /xmpp-websocket {
            xmpp_websocket;
        }

        location = /origin {
            xmpp_websocket;
            xmpp_websocket_origin https://chat.example.org
                                  http://localhost:8080;
        }

        location = /elsewhere {
            xmpp_websocket;
            xmpp_websocket_see_other_uri wss://other.example.org/$arg_node;
        }
    }

    server {
        listen  127.0.0.1:%%PORT_3%%;

        location = /xmpp-websocket {
            xmpp_websocket;
        }
    }
}
EOC

$t->config($CONFIG)->run();

my %NS = %Test::XMPP::WebSocket::NS;
my $domain = $t->domain();

sub ws { $t->client('alice', websocket => 1, @_) }


# the whole of it, over TLS and on loopback without

for my $tls (qw/ direct none /) {
    my %opt = (tls => $tls, $tls eq 'none' ? (port_number => 3) : ());
    my $alice = ws(%opt, resource => 'ws');

    $alice->connect();

    my $features = $alice->open_stream(from => "alice\@$domain");
    my $open = $alice->{stream};

    is($open->ns(), $NS{framing}, "$tls: RFC 7395, 3.4: <open/>");
    is($open->attr('from'), $domain, 'RFC 6120, 4.7.1: from the domain');
    is($open->attr('to'), "alice\@$domain", '4.7.2: to the client');
    is($open->attr('version'), '1.0', '4.7.5: version');
    is($open->attr('xml:lang'), 'en', '4.7.4: language');
    like($open->attr('id'), qr/^.{16,}/, '4.7.3: an id');

    is(scalar $features->find('tls:starttls'), undef,
       'RFC 7395, 3.9: no STARTTLS');

    my @mechanisms = $alice->mechanisms();

    ok((grep { $_ eq 'PLAIN' } @mechanisms), 'PLAIN is offered');
    is((grep { /-PLUS$/ } @mechanisms) ? 1 : 0, $tls eq 'direct' ? 1 : 0,
       '-PLUS only with the TLS of this server');

    $alice->auth();
    isnt($alice->{stream}->attr('id'), $open->attr('id'),
         'RFC 7395, 3.7: a new stream, by <open/>');
    is($alice->bind(), "alice\@$domain/ws", 'bound');
    $alice->available();

    # with a client on TCP: neither knows what the other one has

    my $bob = $t->online('bob', resource => 'tcp');

    $alice->message($bob->jid(), "caf\x{e9} & <b>", type => 'chat');
    ok($bob->expect('message', from => $alice->jid(),
                    body => "caf\x{e9} & <b>"), 'to TCP');
    $bob->message($alice->jid(), "\x{1f600}", type => 'chat');
    ok($alice->expect('message', ns => $NS{c}, from => $bob->jid(),
                      body => "\x{1f600}"), 'and from there');

    $bob->message($alice->jid(), "m$_", type => 'chat') for 1 .. 20;
    is(join(' ', map { my $m = $alice->expect('message') or last;
                       $m->body() } 1 .. 20),
       join(' ', map { "m$_" } 1 .. 20), 'twenty, in order');

    # RFC 7395, 3.6

    $bob->drop();
    $alice->send("<close xmlns='$NS{framing}'/>");
    ok($alice->expect_end(), '<close/> is answered in kind');
    is($alice->{close_code}, 1000, 'RFC 6455, 7.1.2: then the handshake');
}

my $log = $t->testdir() . '/host0/access.log';

ok(Test::XMPP::Process::await(sub {
       my $lines = Test::XMPP::Process::slurp($log);
       my $who = "alice\@$domain/ws SCRAM-SHA-512";

       $lines =~ /^101 \Q$who\E direct closed \d+ \Q$domain\E /m
       && $lines =~ /^101 \Q$who\E none closed \d+ \Q$domain\E /m
   }), 'each has its line in access.log, with our variables');


# an error in the header: RFC 7395, 3.5, behind an <open/>

for ([ 'host-unknown', { to => 'nowhere.test' } ],
     [ 'improper-addressing', { to => undef } ],
     [ 'unsupported-version', { version => undef } ],
     [ 'invalid-namespace', { xmlns => 'urn:other' } ],
     [ 'invalid-namespace', { xmlns => undef } ])
{
    my ($error, $attrs) = @$_;
    my $c = ws()->connect()->send_header(%$attrs);

    ok($c->recv_header(), "RFC 7395, 3.5: <open/> before $error");
    ok($c->expect_stream_error($error), $error);
}

# RFC 7395, 3.6.1

{
    my $c = ws(path => '/elsewhere?node=n1&x')->connect()->send_header();

    ok($c->expect_end(), 'RFC 7395, 3.4: <close/> instead of <open/>');
    is($c->{closed}->attr('see-other-uri'), 'wss://other.example.org/n1',
       '3.6.1: see-other-uri');
}


# the handshake, RFC 6455, 4.2.1, RFC 7395, 3.1

my $c = ws();

is($c->handshake(@{ $_->[1] }), $_->[2], $_->[0]) for
    [ 'subprotocols, xmpp among them',
      [ fields => { 'Sec-WebSocket-Protocol' => 'mqtt, xmpp' } ], 101 ],
    [ 'in two fields',
      [ fields => { 'Sec-WebSocket-Protocol' => [ 'mqtt', 'xmpp' ] } ], 101 ],
    [ 'tokens in other letters',
      [ fields => { Upgrade => 'WebSocket',
                    Connection => 'keep-alive, upgrade' } ], 101 ],
    [ 'an extension is not agreed to',
      [ fields => { 'Sec-WebSocket-Extensions' => 'permessage-deflate' } ],
      101 ],
    [ 'any origin', [ fields => { Origin => 'https://evil.test' } ], 101 ],
    [ 'another subprotocol',
      [ fields => { 'Sec-WebSocket-Protocol' => 'mqtt, XMPP, xmpp2' } ], 400 ],
    [ 'no subprotocol',
      [ fields => { 'Sec-WebSocket-Protocol' => undef } ], 400 ],
    [ 'no upgrade', [ fields => { Upgrade => undef } ], 426 ],
    [ 'another upgrade', [ fields => { Upgrade => 'h2c' } ], 426 ],
    [ 'no Connection', [ fields => { Connection => 'close' } ], 426 ],
    [ 'no version', [ fields => { 'Sec-WebSocket-Version' => undef } ], 426 ],
    [ 'an old version', [ fields => { 'Sec-WebSocket-Version' => 8 } ], 426 ],
    [ 'no key', [ fields => { 'Sec-WebSocket-Key' => undef } ], 400 ],
    [ 'a short key', [ fields => { 'Sec-WebSocket-Key' => 'YQ==' } ], 400 ],
    [ 'a key that is no Base64',
      [ fields => { 'Sec-WebSocket-Key' => '*' x 22 . '==' } ], 400 ],
    [ 'HTTP/1.0', [ version => '1.0' ], 400 ],
    [ 'POST', [ method => 'POST', fields => { 'Content-Length' => 0 } ], 405 ],
    [ 'a body', [ fields => { 'Content-Length' => 3 }, behind => 'abc' ],
      400 ],
    [ 'a body in chunks', [ fields => { 'Transfer-Encoding' => 'chunked' },
                            behind => "0\r\n\r\n" ], 400 ],
    [ 'bytes behind', [ behind => $c->frame(text => 'x') ], 400 ],
    map { [ "$_ twice", [ fields => { $_ => [ $c->{fields}{$_} // {
              'Upgrade' => 'websocket', 'Connection' => 'Upgrade',
              'Sec-WebSocket-Key' => 'AAAAAAAAAAAAAAAAAAAAAA==',
              'Sec-WebSocket-Version' => 13, Origin => 'https://a.test'
            }->{$_}, 'x' ] } ], 400 ] }
        qw/ Upgrade Connection Sec-WebSocket-Key Sec-WebSocket-Version
            Origin /;

is($c->handshake(fields => { 'Sec-WebSocket-Version' => 8 }), 426);
is($c->field('Sec-WebSocket-Version'), '13', 'RFC 6455, 4.4: which one is');
is($c->handshake(method => 'POST', fields => { 'Content-Length' => 0 }), 405);
is($c->field('Allow'), 'GET', 'RFC 9110, 15.5.6: what is allowed');

# the origin, once there is a list

for ([ 'https://chat.example.org', 101 ], [ 'HTTPS://Chat.example.org', 101 ],
     [ 'http://localhost:8080', 101 ], [ undef, 101 ],
     [ 'http://chat.example.org', 403 ], [ 'null', 403 ], [ '', 403 ],
     [ 'https://chat.example.org.evil.test', 403 ],
     [ 'https://chat.example.org:444', 403 ],
     [ 'http://localhost', 403 ])
{
    my ($origin, $status) = @$_;

    is(ws(path => '/origin')->handshake(fields => { Origin => $origin }),
       $status, 'origin ' . ($origin // 'of a client that is no browser'));
}

ok($t->expect_log(qr/is from an origin that is not in xmpp_websocket_origin/),
   'and why is in error_log');

# a browser where HTTP/2 is offered, too: it does not for WebSocket

{
    my $alice = ws(alpn => [ 'http/1.1' ])->login(resource => 'browser');

    is($alice->alpn(), 'http/1.1', 'ALPN: no HTTP/2 for WebSocket');
    $alice->close();
}

$t->done();
