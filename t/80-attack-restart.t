#!/usr/bin/perl

# Host switch at a restart (CVE-2018-10847): what was negotiated for one host
# and one user holds for no other.  RFC 6120, 4.3.3, 4.7.1, 4.7.2, 5.4.3.3 and
# 6.4.6.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ 'alice', 'dora',
                                   [ 'alice', 'second.test', 'other' ] ])
                  ->only_ours();

$t->config(<<'EOF');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis     unix:%%REDIS%%;
    xmpp_starttls  on;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    xmpp_host second.test {
        ssl_certificate      %%TESTDIR%%/second.test.pem;
        ssl_certificate_key  %%TESTDIR%%/second.test.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }

    server {
        listen  127.0.0.1:%%PORT_1%% ssl;
        xmpp_c2s;
    }
}
EOF

$t->run();

my %NS = %Test::XMPP::Client::NS;

sub client {
    my ($tls, %opt) = @_;

    return $t->client('alice', tls => $tls, mechanism => 'SCRAM-SHA-1', %opt);
}


# Up to where the next header is due

my %stages = (
    'after TLS' => sub {
        my $c = client('starttls')->connect();

        $c->open_stream();
        $c->send("<starttls xmlns='$NS{tls}'/>");
        $c->expect('proceed');

        return $c->start_tls();
    },
    'after SASL without TLS' => sub {
        my $c = client('none')->connect();

        $c->open_stream();
        $c->authenticate();

        return $c;
    },
    'after TLS and SASL' => sub {
        my $c = client('starttls');

        $c->secure();
        $c->authenticate();

        return $c;
    },
    'after SASL in direct TLS' => sub {
        my $c = client('direct');

        $c->secure();
        $c->authenticate();

        return $c;
    },
);

for my $stage (sort keys %stages) {
    for my $to ('second.test', 'SECOND.TEST', 'second.test.', 'nowhere.test',
                'localhost.second.test', '', undef, 'alice@localhost',
                'localhost/r', 'xn--n3h.test')
    {
        my $c = $stages{$stage}->();

        $c->send_header(to => $to);
        ok($c->recv_header() && $c->expect_stream_error(
               qr/^(?:not-authorized|host-unknown|improper-addressing)$/),
           "$stage: to " . ($to // 'nobody'));
    }

    my $c = $stages{$stage}->();

    ok($c->open_stream(to => 'LocalHost.'), "$stage: the same, written else");

    for my $change ([ xmlns => 'jabber:server' ], [ version => '0.9' ],
                    [ 'xmlns:stream' => 'urn:x' ])
    {
        $c = $stages{$stage}->();
        $c->send_header(@$change);
        ok($c->recv_header() && $c->expect_stream_error(qr/./),
           "$stage: another @$change");
    }
}


###############################################################################
# The user of the next header is the one of SASL

for my $stage (grep { /SASL/ } sort keys %stages) {
    for my $from ('alice@second.test', 'dora@localhost', 'localhost',
                  'dora@second.test', 'alice@localhost@x', '')
    {
        my $c = $stages{$stage}->();

        $c->send_header(from => $from);
        ok($c->recv_header() && $c->expect_stream_error('invalid-from'),
           "$stage: from '$from'");
    }
}


###############################################################################
# What was there before the restart is there no more

# an exchange

my $c = client('starttls')->connect();

$c->open_stream();

my $sasl = $c->sasl();

$c->send_auth('SCRAM-SHA-1', $sasl->first());

my $challenge = $c->recv_challenge();

$c->send("<starttls xmlns='$NS{tls}'/>");
ok($c->expect('failure', ns => $NS{tls}) && $c->expect_end(),
   'RFC 6120, 5.4.2.2: no TLS within an exchange');

$c = client('starttls');
$c->secure();
$c->send_response($sasl->final($challenge));
is($c->recv_stanza()->error(), 'malformed-request',
   'an exchange is not gone on with on another stream');

# language and prefixes

$c = client('starttls')->connect();
$c->send_header('xml:lang' => 'de', 'xmlns:p' => 'urn:p');
$c->recv_header();
$c->recv_features();
$c->starttls();
$c->auth();
$c->bind();
$c->message($c->jid(), 'x');
is($c->expect('message')->attr('xml:lang'), undef,
   'RFC 6120, 5.4.3.3: the language of the plain stream is forgotten');
$c->send('<message><p:x/></message>');
ok($c->expect_stream_error(qr/^(?:not-well-formed|bad-namespace-prefix)$/),
   'and its prefixes');

# authentication: none is left over for a second user

$c = client('none')->connect();
$c->open_stream();
is($c->authenticate(password => 'wrong')->error(), 'not-authorized', 'failed');
$c->send($c->header(decl => '') . '</stream:stream>');
ok($c->expect_stream_error('not-authorized'), 'no new stream after a failure');


###############################################################################
# A user of one host is nobody at the other, which has one of the same name

for my $way ([ 'localhost', 'other' ], [ 'second.test', 'alice-secret' ]) {
    my ($domain, $password) = @$way;

    for my $mechanism (@Test::XMPP::SASL::MECHANISMS) {
        $c = client('starttls', domain => $domain, mechanism => $mechanism);
        $c->secure();
        is($c->authenticate(password => $password)->error(), 'not-authorized',
           "$mechanism: the password of the other host is none at $domain");
    }
}

# also when TLS was begun for the other: direct TLS by SNI

$c = client('direct', sni => 'second.test', verify_name => 'second.test')
         ->connect();
is($c->certificate_name(), 'second.test', 'TLS for one host');
$c->open_stream(to => 'localhost');
is($c->authenticate(password => 'other')->error(), 'not-authorized',
   'a stream for the other: the accounts of the stream count');
$c->auth(password => 'alice-secret');
like($c->bind(), qr/^alice\@localhost\//, 'and its names');

$t->done();
