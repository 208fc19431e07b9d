#!/usr/bin/perl

# Frames of a client: RFC 6455, 5; what is in them: RFC 7395, 3.2, 3.3.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ qw/ alice bob / ])->only_ours();

$t->config(<<'EOC');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis          unix:%%REDIS%%;
    xmpp_max_stanza     70000;
    xmpp_preauth_bytes  5000;

    xmpp_host localhost {
    }
}

http {
    server {
        listen  127.0.0.1:%%PORT_2%%;

        location = /xmpp-websocket {
            xmpp_websocket;
        }
    }
}
EOC

$t->run();

my %NS = %Test::XMPP::WebSocket::NS;
my $domain = $t->domain();

sub ws { $t->client('alice', websocket => 1, tls => 'none', @_) }

sub opened { my $c = ws(@_)->connect(); $c->open_stream(); return $c }

my $alice = ws()->login(resource => 'a');
my $bob = $t->client('bob', websocket => 1, tls => 'none')
            ->login(resource => 'b');

# any lengths, in both directions: one byte, two and eight for the length

for my $len (1, 60, 125, 126, 1000, 20000, 65000) {
    my $body = join '', map { chr(97 + $_ % 26) } 1 .. $len;

    $alice->message($bob->jid(), $body, type => 'chat');

    my $got = $bob->expect('message', from => $alice->jid());

    ok($got && $got->body() eq $body, "RFC 6455, 5.2: $len bytes of text");
}

# any fragments, in any pieces: 5.4

for my $n (1, 2, 7, 125) {
    $alice->{fragment} = $n;
    $alice->message($bob->jid(), "fragments of $n \x{e9}\x{1f600}");
    ok($bob->expect('message', body => "fragments of $n \x{e9}\x{1f600}"),
       "5.4: in fragments of $n");
}

for my $cut ([ 'bytes' ], [ 'random', 9, 1 ], [ 'random', 40, 2 ]) {
    $alice->{fragment} = 5;
    $alice->cut(@$cut);
    $alice->message($bob->jid(), "in pieces, \x{e9}");
    ok($bob->expect('message', body => "in pieces, \x{e9}"),
       "read in pieces: @$cut");
}

delete $alice->{fragment};
$alice->cut();

# fragments that are empty, white space around the element

my $message = "<message xmlns='$NS{c}' to='@{[ $bob->jid() ]}' id='x'/>";

$alice->send_bytes($alice->frame(text => '', fin => 0)
                   . $alice->frame(continuation => ' ', fin => 0)
                   . $alice->frame(continuation => $message, fin => 0)
                   . $alice->frame(continuation => "\r\n", fin => 0)
                   . $alice->frame(continuation => ''));
ok($bob->expect('message', id => 'x'), 'empty fragments, and white space');

# nothing but white space: the keepalive of TCP does no harm

$alice->send(' ');
$alice->send('');

# control frames between fragments: 5.4, 5.5.2, 5.5.3

$alice->send_bytes($alice->frame(text => substr($message, 0, 20), fin => 0)
                   . $alice->frame(ping => 'between')
                   . $alice->frame(continuation => substr($message, 20)));
ok($alice->expect_pong('between'), '5.5.2: a Pong between fragments');
ok($bob->expect('message', id => 'x'), 'which make a message');

$alice->send_frame(ping => 'x' x 125);
ok($alice->expect_pong('x' x 125), '5.5.3: with what the Ping had');
$alice->send_frame(ping => '');
ok($alice->expect_pong(''), 'even nothing');
$alice->send_frame(pong => 'unasked');
$alice->sync();

# many at once, in one segment

my $n = 200;

$alice->queue("<message xmlns='$NS{c}' to='@{[ $bob->jid() ]}' id='q$_'/>")
    for 1 .. $n;
$alice->sync();
is(join(' ', map { my $m = $bob->expect('message') or next;
                   $m->attr('id') } 1 .. $n),
   join(' ', map { "q$_" } 1 .. $n), "$n messages in a row, in order");

# the language of the header holds for what has none: RFC 6120, 4.7.4

{
    my $c = ws();

    $c->secure();
    $c->authenticate();
    $c->open_stream('xml:lang' => 'de');
    $c->bind('lang');
    $c->message($bob->jid(), 'hallo');

    my $m = $bob->expect('message', body => 'hallo');

    is($m && $m->attr('xml:lang'), 'de', "RFC 6120, 4.7.4: <open/>'s language");
}

# what no client may send: the code, and the stream error before it

sub refused {
    my ($name, $code, $error, $send, %opt) = @_;
    my $c = $opt{login} ? ws()->login() : $opt{connect} ? ws()->connect()
            : opened();

    $send->($c);
    ok($opt{connect} ? $c->recv_header() && $c->expect_stream_error($error)
                     : $c->expect_stream_error($error), "$name: $error");
    is($c->{close_code}, $code, "$name: $code");
}

my $ping = "<iq xmlns='$NS{c}' type='get' id='p'>"
           . "<ping xmlns='$NS{ping}'/></iq>";

for ([ '5.1: no mask', 1002, 'bad-format', text => $ping, mask => '' ],
     [ '5.2: RSV1, as of compression', 1002, 'bad-format', text => $ping,
       rsv => 4 ],
     [ '5.2: RSV3', 1002, 'bad-format', text => $ping, rsv => 1 ],
     [ '5.2: opcode 3', 1002, 'bad-format', 3 => '' ],
     [ '5.2: opcode 11', 1002, 'bad-format', 11 => '' ],
     [ '5.2: a length in too many bytes', 1002, 'bad-format', text => 'xyz',
       length => chr(128 | 126) . pack 'n', 3 ],
     [ '5.2: in far too many', 1002, 'bad-format', text => 'xyz',
       length => chr(128 | 127) . pack 'Q>', 3 ],
     [ '5.2: negative', 1002, 'bad-format', text => '',
       length => chr(128 | 127) . pack 'Q>', 1 << 63 ],
     [ '5.4: a continuation of nothing', 1002, 'bad-format',
       continuation => '' ],
     [ '5.5: a Ping in fragments', 1002, 'bad-format', ping => '', fin => 0 ],
     [ '5.5: a long Ping', 1002, 'bad-format', ping => 'x' x 126 ],
     [ '5.5.1: a Close of one byte', 1002, 'bad-format', close => 'x' ],
     [ '7.4.1: a Close of a reserved code', 1002, 'bad-format',
       close => pack 'n', 1005 ],
     [ '7.4.2: of none at all', 1002, 'bad-format', close => pack 'n', 999 ],
     [ '7.4.2: of the future', 1002, 'bad-format', close => pack 'n', 2999 ],
     [ '5.5.1: a reason that is no UTF-8', 1002, 'bad-format',
       close => pack('n', 1000) . "\xc3" ],
     [ 'RFC 7395, 3.2: binary', 1003, 'bad-format', binary => $ping ])
{
    my ($name, $code, $error, @frame) = @$_;

    refused($name, $code, $error, sub { $_[0]->send_frame(@frame) });
}

refused('5.4: a message within another', 1002, 'bad-format', sub {
    $_[0]->send_bytes($_[0]->frame(text => '<a', fin => 0)
                      . $_[0]->frame(text => '/>'));
});

refused('8.1: no UTF-8', 1007, 'not-well-formed', sub {
    $_[0]->send_frame(text => "<message xmlns='$NS{c}'>\xff</message>");
}, login => 1);

# RFC 7395, 3.3.3: one element in each message, and it stands alone

my $result = "<iq xmlns='$NS{c}' type='result' id='p'/>";

for ([ 'two elements', "$result$result" ],
     [ 'an element and text', "${result}x" ],
     [ 'half an element', substr $ping, 0, -5 ],
     [ 'an open stream', "<stream:stream xmlns='$NS{c}' xmlns:stream="
                         . "'$NS{stream}' to='$domain' version='1.0'>" ],
     [ 'the end of what is around', '</frame>' ],
     [ 'the end of a stream', '</stream:stream>' ],
     [ 'a prefix that is not declared', '<stream:features/>' ])
{
    my ($name, $text) = @$_;

    refused($name, 1007, 'not-well-formed',
            sub { $_[0]->send_frame(text => $text) }, login => 1);
}

refused('text', 1000, 'bad-format',
        sub { $_[0]->send_frame(text => 'hello') }, login => 1);
refused('a stanza without a namespace', 1000, 'unsupported-stanza-type',
        sub { $_[0]->send_frame(text => '<message/>') }, login => 1);
refused('a second <open/>', 1000, 'bad-format',
        sub { $_[0]->send($_[0]->header()) }, login => 1);
refused('an XML declaration', 1007, 'not-well-formed',
        sub { $_[0]->send("<?xml version='1.0'?>$ping") }, login => 1);
refused('no <open/> first', 1000, 'invalid-namespace',
        sub { $_[0]->send($ping) }, connect => 1);
refused('TLS within: RFC 7395, 3.9', 1000, 'not-authorized',
        sub { $_[0]->send("<starttls xmlns='$NS{tls}'/>") });

# the end by a Close frame alone: RFC 6455, 5.5.1

for ([ 'no code', '', 1005 ], [ 'going away', pack('n', 1001) . 'bye', 1001 ],
     [ 'a private code', pack('n', 4321), 4321 ])
{
    my ($name, $payload, $code) = @$_;
    my $c = ws()->login();

    $c->send_frame(close => $payload);
    ok($c->expect_break($code), "5.5.1: Close is answered in kind: $name");
}

# what is too big is refused by its head: RFC 6455, 10.4

refused('70001 bytes', 1009, 'policy-violation', sub {
    $_[0]->send_bytes(chr(0x81) . chr(128 | 127) . pack('Q>', 70001) . 'mask');
}, login => 1);

refused('an exabyte', 1009, 'policy-violation', sub {
    $_[0]->send_bytes(chr(0x81) . chr(128 | 127) . pack('Q>', 1 << 60)
                      . 'mask');
}, login => 1);

refused('5001 bytes before authentication', 1009, 'policy-violation', sub {
    $_[0]->send_bytes(chr(0x81) . chr(128 | 126) . pack('n', 5001) . 'mask');
});

$t->done();
