#!/usr/bin/perl

# Lines of the error log about a connection: what it was doing, whose it is.
# nginx appends the client's address and the listener's, the module the JID.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ qw/ alice bob / ])
                  ->only_ours('reads the error log')->plan(28);

$t->config(<<'CONF');
%%GLOBALS%%
events {
    worker_connections  256;
}

stream {
    xmpp_redis  unix:%%REDIS%%;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }

    server {
        listen  127.0.0.1:%%PORT_1%% ssl;
        ssl_handshake_timeout  1s;
        xmpp_c2s;
    }

    server {
        listen  127.0.0.1:%%PORT_2%% sndbuf=32k;
        xmpp_c2s;
        xmpp_starttls      off;
        xmpp_output_queue  64m;
    }

    server {
        listen  127.0.0.1:%%PORT_3%%;
        xmpp_c2s;
        xmpp_auth_timeout  1s;
    }
}
CONF

$t->run();

my $host = $t->host();
my $seen = length $host->read_log();


# the one new line with this text: what stands behind the text

sub is_line {
    my ($port, $text, $action, $jid, $name) = @_;

    my ($log, @lines);

    Test::XMPP::Process::await(sub {
        $log = substr $host->read_log(), $seen;
        @lines = grep { index($_, $text) >= 0 } $log =~ /(.*)\n/g;
    });

    $seen += length $log;

    my ($rest) = ($lines[0] // '') =~ /( while .*)/;

    is($rest, " while $action, client: 127.0.0.1, server: 127.0.0.1:"
              . $t->port($port) . $jid, $name);
    is(scalar(@lines), 1, "$name: one line");
}

my $invalid = 'client sent invalid XML';
my $c;

$c = $t->client('alice')->connect();
$c->send('<stream:stream <>');
is_line(0, $invalid, 'reading an XMPP stream header', '', 'header');

$c = $t->client('alice')->connect();
$c->open_stream();
$c->send('<a <>');
is_line(0, $invalid, 'negotiating an XMPP stream', ', xmpp host: localhost',
        'before TLS');

$c = $t->client('alice', tls => 'direct');
$c->secure();
$c->send('<a <>');
is_line(1, $invalid, 'authenticating an XMPP client',
        ', xmpp host: localhost', 'direct TLS');

$c = $t->client('alice', password => 'wrong');
$c->secure();
$c->authenticate();
is_line(0, 'xmpp login failed', 'authenticating an XMPP client',
        ', xmpp host: localhost', 'SASL');

$c = $t->client('alice');
$c->secure();
$c->authenticate();
$c->send('<stream:stream <>');
is_line(0, $invalid, 'reading an XMPP stream header', ', jid: alice@localhost',
        'header after SASL');

$c = $t->client('alice');
$c->secure();
$c->auth();
$c->send('<a <>');
is_line(0, $invalid, 'binding an XMPP resource', ', jid: alice@localhost',
        'binding');

$c = $t->client('alice', resource => 'phone')->login();
$c->send('<a <>');
is_line(0, $invalid, 'serving an XMPP session', ', jid: alice@localhost/phone',
        'a session');


###############################################################################
# Closing: the last words cannot be written.  The session has ended by then.

my %plain = (tls => 'none', port_number => 2);
my $bob = $t->client('bob', %plain)->login();
my $deaf = $t->client('alice', %plain, resource => 'deaf', rcvbuf => 4096)
             ->login();

$deaf->{deaf} = 1;

$bob->message($deaf->jid(), 'x' x 16000, type => 'headline') for 1 .. 40;
$bob->sync();

$deaf->send('<a <>');
is_line(2, $invalid, 'serving an XMPP session', ', jid: alice@localhost/deaf',
        'a client that does not read');

$deaf->drop(reset => 1);
is_line(2, 'send() failed', 'closing an XMPP stream',
        ', jid: alice@localhost/deaf', 'and then it resets');


###############################################################################
# TLS

$c = $t->client('alice', tls => 'none', port_number => 1)->connect();
is_line(1, 'client did not begin TLS in time', 'waiting for a TLS handshake',
        '', 'direct TLS, no handshake');

$c = $t->client('alice', tls => 'none', port_number => 1)->connect();
$c->send("\x16\x03\x01\x00\x20\x01");
is_line(1, 'client did not complete the TLS handshake in time',
        'SSL handshaking', '', 'direct TLS, half a handshake');

$c = $t->client('alice', port_number => 3)->connect();
$c->open_stream();
$c->send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
$c->expect('proceed');
$c->send("\x16\x03\x01\x00\x20\x01");
is_line(3, 'client did not complete the TLS handshake in time',
        'SSL handshaking', ', xmpp host: localhost',
        'STARTTLS, half a handshake');

$c = $t->client('alice', tls => 'none', port_number => 1)->connect();
$c->send("\x16\x03\x01\x00\x20" . "nonsense that is no TLS\n" x 20);
is_line(1, 'SSL_do_handshake() failed', 'SSL handshaking', '',
        'direct TLS, a handshake that fails');

$c = $t->client('alice')->connect();
$c->open_stream();
$c->send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
$c->expect('proceed');
$c->send("\x16\x03\x01\x00\x20" . "nonsense that is no TLS\n" x 20);
is_line(0, 'SSL_do_handshake() failed', 'SSL handshaking',
        ', xmpp host: localhost', 'STARTTLS, a handshake that fails');

$t->done();
