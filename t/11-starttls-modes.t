#!/usr/bin/perl

# xmpp_starttls: off, on, only; what may be said without TLS.
# RFC 6120, 5.3.1 and 13.8; RFC 7590.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ qw/ alice bob / ])->only_ours();

$t->config(<<'EOF');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis           unix:%%REDIS%%;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    xmpp_host second.test {
        ssl_certificate        %%TESTDIR%%/second.test.pem;
        ssl_certificate_key    %%TESTDIR%%/second.test.key;
        xmpp_sasl_mechanisms   SCRAM-SHA-256 PLAIN;
    }

    server {
        listen         127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
        xmpp_starttls  only;
    }

    server {
        listen         127.0.0.1:%%PORT_1%%;
        xmpp_c2s;
        xmpp_starttls  on;
    }

    server {
        listen         127.0.0.1:%%PORT_2%%;
        xmpp_c2s;
        xmpp_starttls  off;
    }

    server {
        listen         127.0.0.1:%%PORT_3%% ssl;
        xmpp_c2s;
        ssl_protocols  TLSv1.2;
    }
}
EOF

$t->run();

my %NS = %Test::XMPP::Client::NS;
my $domain = $t->domain();

# on: both ways

my $c = $t->client('alice', port_number => 1, tls => 'none')->connect();
my $features = $c->open_stream();

ok($features->test('tls:starttls[not(tls:required)]'),
   'RFC 6120, 5.3.1: on: offered, not required');
is(join(' ', $c->mechanisms()), 'SCRAM-SHA-512 SCRAM-SHA-256 SCRAM-SHA-1',
   'RFC 6120, 13.8.3: SASL, but no PLAIN without TLS');
$c->send_auth('PLAIN', "\0alice\0alice-secret");
ok($c->expect('failure',
       error => qr/^(?:encryption-required|invalid-mechanism
                     |mechanism-too-weak)$/x),
   'RFC 6120, 6.5.3: PLAIN without TLS is refused');
ok(eval { $c->auth(); $c->bind(); $c->sync() }, 'on: login without TLS')
    or diag $@;

$c = $t->client('alice', port_number => 1);
ok(eval { $c->login(); $c->sync() }, 'on: login with TLS') or diag $@;

$c = $t->client('alice', port_number => 1);
$c->secure();
ok((grep { $_ eq 'PLAIN' } $c->mechanisms()), 'on: PLAIN with TLS');

# off: there is no TLS

$c = $t->client('alice', port_number => 2, tls => 'none')->connect();
$features = $c->open_stream();
ok(!$features->test('tls:starttls'), 'off: not offered');
ok(eval { $c->auth(); $c->bind(); $c->sync() }, 'off: login') or diag $@;

$c = $t->client('alice', port_number => 2, tls => 'none')->connect();
$c->open_stream();
$c->send("<starttls xmlns='$NS{tls}'/>");
my $answer = $c->recv_stanza();
ok($answer && ($answer->is('failure', $NS{tls})
               || $answer->is('error', $NS{stream})) && $c->expect_end(),
   'RFC 6120, 5.4.2.2: off: refused, and the stream ends');

# only: nothing without TLS

$c = $t->client('alice', tls => 'none')->connect();
ok($c->open_stream()->test('tls:starttls/tls:required'), 'only: required');
is(scalar($c->mechanisms()), 0, 'only: no SASL before');

# mechanisms are those of the host of the stream

$c = $t->client('alice', domain => 'second.test');
$c->secure();
is(join(' ', $c->mechanisms()), 'SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN',
   'xmpp_sasl_mechanisms of the host');
$c->send_auth('SCRAM-SHA-1', 'n,,n=alice,r=x');
ok($c->expect('failure', error => 'invalid-mechanism'),
   'RFC 6120, 6.5.7: no other');

# ssl_protocols of the listener

for my $version ('TLSv1_2', 'TLSv1_3') {
    $c = $t->client('alice', port_number => 3, tls => 'direct',
                    tls_version => $version);
    is((eval { $c->login(); $c->tls_version() } // 'refused'),
       $version eq 'TLSv1_2' ? $version : 'refused',
       "ssl_protocols TLSv1.2: $version");
}

# sessions meet, whatever port they came by

my $plain = $t->client('alice', port_number => 2, tls => 'none')->login();
my $tls = $t->client('bob')->login();
$plain->message($tls->jid(), 'x');
ok($tls->expect('message', from => $plain->jid(), body => 'x'), 'they meet');

$t->done();
