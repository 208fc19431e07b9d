#!/usr/bin/perl

# Stripping: who cuts TLS or strong mechanisms out of what the server offers
# gains nothing, since it refuses what it did not offer; compression, which
# would let a few bytes be many, is not to be had.  RFC 6120, 13.8 and 13.9.4;
# RFC 7590, 3.1; XEP-0138, CVE-2014-2741, CVE-2014-8760.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 qw/ encode_base64 /;
use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ 'alice' ])->only_ours();

$t->config(<<'EOF');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis  unix:%%REDIS%%;

    xmpp_host localhost {
        ssl_certificate       %%TESTDIR%%/localhost.pem;
        ssl_certificate_key   %%TESTDIR%%/localhost.key;
    }

    xmpp_host second.test {
        ssl_certificate       %%TESTDIR%%/second.test.pem;
        ssl_certificate_key   %%TESTDIR%%/second.test.key;
        xmpp_sasl_mechanisms  SCRAM-SHA-256;
    }

    # as it is by default, and where TLS is the client's choice

    server {
        listen         127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }

    server {
        listen         127.0.0.1:%%PORT_1%%;
        xmpp_c2s;
        xmpp_starttls  on;
    }
}
EOF

$t->run();

my %NS = %Test::XMPP::Client::NS;


###############################################################################
# TLS cut out of the features, and the client goes on without

for my $mechanism (@Test::XMPP::SASL::MECHANISMS, 'ANONYMOUS', 'EXTERNAL') {
    my $c = $t->client('alice', tls => 'none')->connect();

    $c->open_stream();
    $c->send_auth($mechanism, $mechanism eq 'PLAIN'
                              ? "\0alice\0alice-secret" : 'n,,n=alice,r=x');

    my $answer = $c->recv_stanza();

    like($answer->error() // $answer->name(),
         qr/^(?:encryption-required|invalid-mechanism|not-authorized)$/,
         "RFC 6120, 13.8.1: $mechanism without TLS, where it is required");
    ok(!$answer->is('challenge'), "$mechanism: nothing to guess from");
    $c->drop();
}

for my $xml ("<iq type='set' id='1'><bind xmlns='$NS{bind}'/></iq>",
             "<message to='alice\@localhost'/>", '<presence/>',
             "<iq type='set' id='1'><query xmlns='jabber:iq:auth'/></iq>")
{
    my $c = $t->client('alice', tls => 'none')->connect();

    $c->open_stream();
    $c->send($xml);
    ok($c->expect_stream_error('not-authorized'), "nor is $xml possible");
}

# the password itself never without TLS

my $c = $t->client('alice', tls => 'none', port_number => 1)->connect();

$c->open_stream();
ok(!(grep { $_ eq 'PLAIN' } $c->mechanisms()), 'PLAIN is not offered there');
$c->send_auth('PLAIN', "\0alice\0alice-secret");
like($c->recv_stanza()->error(), qr/^(?:encryption-required
                                       |invalid-mechanism)$/x,
     'RFC 6120, 13.8.3: and refused');

# also after TLS was refused

$c = $t->client('alice', tls => 'none', port_number => 1)->connect();
$c->open_stream();
$c->send("<starttls xmlns='$NS{tls}'><required/></starttls>");
$c->expect('proceed');
$c->{raw} = 1;
$c->send("<auth xmlns='$NS{sasl}' mechanism='PLAIN'>"
         . encode_base64("\0alice\0alice-secret", '') . '</auth>');
shutdown $c->{sock}, 1;

my $heard = '';

while (my $event = $c->next_event()) {
    last if $event->[0] eq 'eof';
    $heard .= $event->[1];
}

unlike($heard, qr/success/, 'TLS that is begun is not left out');


###############################################################################
# Strong mechanisms cut out: what is not configured is refused

for my $mechanism (qw/ PLAIN SCRAM-SHA-1 SCRAM-SHA-512 /) {
    $c = $t->client('alice', domain => 'second.test');
    $c->secure();
    is(join(' ', grep { !/PLUS/ } $c->mechanisms()), 'SCRAM-SHA-256',
       'one mechanism');
    $c->send_auth($mechanism, "\0alice\0x");
    is($c->recv_stanza()->error(), 'invalid-mechanism',
       "RFC 6120, 6.5.7: $mechanism is none of them");
    $c->drop();
}


###############################################################################
# No compression, in no state

my $compress = "<compress xmlns='http://jabber.org/protocol/compress'>"
               . '<method>zlib</method></compress>';

my %states = (
    'before TLS' => sub { $_[0]->connect(); $_[0]->open_stream() },
    'after TLS' => sub { $_[0]->secure() },
    'authenticated' => sub { $_[0]->secure(); $_[0]->auth() },
    'bound' => sub { $_[0]->login(); undef },
);

for my $state (sort keys %states) {
    $c = $t->client('alice');

    my $features = $states{$state}->($c);

    unlike($features->raw(), qr/compress/, "$state: not offered") if $features;
    $c->send($compress);

    my $answer = $c->recv_stanza();

    ok($answer && $answer->is('error', $NS{stream}) && $c->expect_end(),
       "XEP-0138: $state: refused");
}

# zlib's first bytes are no XML

$c = $t->client('alice');
$c->secure();
$c->send("\x78\x9C" . 'x' x 100);
ok($c->expect_stream_error(qr/^(?:not-well-formed|bad-format)$/),
   'nor is it taken unasked');

$t->done();
