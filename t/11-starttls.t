#!/usr/bin/perl

# TLS: negotiation of STARTTLS (RFC 6120, 5), direct TLS (XEP-0368), the
# versions (RFC 7590) and the choice of the certificate.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ 'alice', 'dora' ])->run();
my ($domain, $domain2) = ($t->domain(), $t->domain2());
my %NS = %Test::XMPP::Client::NS;


###############################################################################
# The features, the element, the restart

my $c = $t->client('alice')->connect();
my $features = $c->open_stream();

ok($features->test('tls:starttls'), 'RFC 6120, 5.4.1: offered');
ok($features->test('tls:starttls/tls:required'), 'RFC 6120, 5.3.1: required');
ok(!$features->test('sasl:mechanisms'), 'RFC 6120, 6.3.4: no SASL before TLS');
ok(!$features->test('bind:bind'), 'RFC 6120, 7.3.1: no binding either');

my $id = $c->{stream}->attr('id');

$c->send("<starttls xmlns='$NS{tls}'/>");
is($c->recv_stanza()->raw(), "<proceed xmlns='$NS{tls}'/>",
   'RFC 6120, 5.4.2.3: proceed');
is($c->try_tls(), undef, 'the handshake, with a certificate of the CA');
$features = $c->open_stream();

isnt($c->{stream}->attr('id'), $id, 'RFC 6120, 5.4.3.3: a new id');
ok(!$features->test('tls:starttls'), 'RFC 6120, 5.4.3.3: no TLS within TLS');
ok($features->test('sasl:mechanisms/sasl:mechanism'), 'SASL is offered');

$c->send("<starttls xmlns='$NS{tls}'/>");
my $refused = $c->recv_stanza();
ok($refused && ($refused->is('failure', $NS{tls})
                || $refused->is('error', $NS{stream})) && $c->expect_end(),
   'RFC 6120, 5.4.2.2: no TLS within TLS');

SKIP: {
    skip 'bytes are pieces of one segment there', 1 if $t->peer();

    $c = $t->client('alice')->connect();
    $c->cut('bytes')->open_stream();
    $c->send("<starttls xmlns='$NS{tls}'/>");
    $c->cut();
    ok($c->expect('proceed') && $c->start_tls() && $c->open_stream(),
       'one byte at a time');
}


###############################################################################
# Bytes behind <starttls/> are not read as part of the secure stream: RFC
# 6120, 5.4.3.3.  Ours refuses them, but drops white space, which real clients
# send; the peers drop all.

for my $extra ("<auth xmlns='$NS{sasl}' mechanism='PLAIN'>AGEAYg==</auth>",
               $c->header(), '</stream:stream>', ' ', "\n")
{
    $c = $t->client('alice')->connect();
    $c->open_stream();
    $c->send("<starttls xmlns='$NS{tls}'/>$extra");

    (my $name = $extra) =~ s/[^\w<\/:].*//s;

    if ($t->ours() && $extra =~ /\S/) {
        ok($c->expect_stream_error('policy-violation'),
           "RFC 6120, 5.4.3.3: closed after injected '$name'");
        next;
    }

    next if $extra =~ /<.stream/;

    my $answer = $c->recv_stanza();
    my $error = $answer->is('proceed') ? $c->try_tls() : 'no proceed';
    my $offer = $error ? undef : eval { $c->open_stream() };

    ok(!$offer || $offer->test('sasl:mechanisms'),
       "RFC 6120, 5.4.3.3: injected '$name' has no effect");
}

# the same in a segment of its own, before and after <proceed/>

if ($t->ours()) {
    for my $spaces ("\n", " \t\r\n" x 100) {
        $c = $t->client('alice')->connect();
        $c->open_stream();
        $c->send("<starttls xmlns='$NS{tls}'/>");
        $c->send("\n") for 1 .. 3;
        ok($c->expect('proceed'), 'white space behind <starttls/>: proceed');
        $c->send($spaces) for 1 .. 3;
        is($c->try_tls(), undef, 'and TLS begins all the same');
        ok(eval { $c->open_stream(); $c->auth(); $c->bind() }, 'login')
            or diag $@;
    }

    for my $extra ($c->header(), "\n<", "\0", ' ' x 9000) {
        $c = $t->client('alice')->connect();
        $c->open_stream();
        $c->send("<starttls xmlns='$NS{tls}'/>");
        $c->expect('proceed');
        $c->{raw} = 1;
        $c->send($extra);
        ok($c->wait(sub { defined $c->{eof} }),
           'RFC 6120, 5.4.3.3: anything else behind <proceed/> closes');
        unlike(join('', map { $_->[1] // '' } @{ $c->{events} }), qr/</,
               'RFC 6120, 5.4.2.3: and is not answered in the clear');
    }
}

$c = $t->client('alice')->connect();
$c->open_stream();
$c->send("<starttls xmlns='$NS{tls}'/>");
ok($c->expect('proceed'), 'proceed');
$c->{raw} = 1;
$c->send("<stream:stream to='$domain'> no TLS" . 'x' x 100);

my $event;
while ($event = $c->next_event()) {
    last if $event->[0] eq 'eof' || $event->[1] =~ /</;
}

is($event && $event->[0], 'eof', 'RFC 6120, 5.4.3.2: no TLS, no connection');

$c = $t->client('alice')->connect();
$c->open_stream();
$c->send("<starttls xmlns='urn:x'/>");
ok($c->expect_stream_error(qr/./), 'starttls in another namespace')
    if $t->ours();                                      # the peers bounce it


###############################################################################
# SASL without TLS where TLS is required

for my $mechanism ('PLAIN', 'SCRAM-SHA-1') {
    $c = $t->client('alice')->connect();
    $c->open_stream();

    my $sasl = $c->sasl(mechanism => $mechanism);
    $c->send_auth($mechanism, $sasl->first());

    my $answer = $c->recv_stanza();

    ok($answer && ($answer->is('failure', $NS{sasl})
                   || $answer->is('error', $NS{stream}))
       && $answer->error() =~ /^(?:encryption-required|policy-violation
                                 |mechanism-too-weak|not-authorized
                                 |unsupported-stanza-type)$/x,
       "RFC 6120, 6.4.6 and 13.8.1: $mechanism before TLS is refused");
}


###############################################################################
# The certificate by the `to` of the stream

for my $to ([ 'alice', $domain ], [ 'dora', $domain2 ]) {
    my ($user, $name) = @$to;

    for my $sni ($name, '') {
        $c = $t->client($user, domain => $name, sni => $sni)->connect();
        $c->open_stream();
        $c->send("<starttls xmlns='$NS{tls}'/>");
        $c->expect('proceed');
        is($c->try_tls() // $c->certificate_name(), $name,
           "RFC 6120, 13.7.2: certificate of $name, SNI '$sni'");
        ok(eval { $c->open_stream(); $c->auth(); $c->bind() },
           "login at $name") or diag $@;
    }
}


###############################################################################
# Direct TLS: XEP-0368

for my $to ([ 'alice', $domain ], [ 'dora', $domain2 ]) {
    my ($user, $name) = @$to;

    # Prosody has one certificate for this port
    next if $t->peer() eq 'prosody' && $name eq $domain2;

    $c = eval { $t->client($user, domain => $name, tls => 'direct')
                    ->connect() };

    is($c && $c->certificate_name(), $name,
       "XEP-0368: certificate of $name by SNI");
    is($c->alpn(), 'xmpp-client', 'XEP-0368: ALPN')
        if $t->ours();                                   # the peers: none
    $features = $c->open_stream();
    ok(!$features->test('tls:starttls')
       && $features->test('sasl:mechanisms'), 'no STARTTLS is offered');
    ok(eval { $c->auth(); $c->bind() }, "login at $name");
}

$c = $t->client('alice', tls => 'direct', alpn => [])->connect();
ok($c->open_stream(), 'XEP-0368: ALPN is optional');
is($c->alpn(), undef, 'and not invented');

$c = $t->client('alice', tls => 'direct', sni => '')->connect();
is($c->certificate_name(), $domain, 'no SNI: the first host')
    unless $t->peer() eq 'ejabberd';

if ($t->ours()) {
    $c = $t->client('alice', tls => 'direct', sni => 'nowhere.example',
                    verify => 0)->connect();
    is($c->certificate_name(), $domain, 'unknown SNI: the first host');

    for my $alpn ([ 'h2' ], [ 'http/1.1', 'xmpp-server' ]) {
        ok(!eval { $t->client('alice', tls => 'direct', alpn => $alpn)
                       ->connect() }, "wrong ALPN is refused: @$alpn");
    }

    $c = $t->client('alice', tls => 'direct',
                    alpn => [ 'h2', 'xmpp-client' ])->connect();
    is($c->alpn(), 'xmpp-client', 'ALPN: the one that is ours');
}


###############################################################################
# Versions: RFC 7590, 3.1 and RFC 9325

for my $tls ('starttls', 'direct') {
    for my $version ('TLSv1_2', 'TLSv1_3') {
        $c = $t->client('alice', tls => $tls, tls_version => $version);
        is(eval { $c->login(); $c->tls_version() }, $version,
           "$tls: $version") or diag $@;
    }

    for my $version ('TLSv1', 'TLSv1_1') {
        $c = $t->client('alice', tls => $tls, tls_version => $version,
                        ciphers => 'ALL:@SECLEVEL=0');
        ok(!eval { $c->secure() }, "$tls: $version is refused");
        like($@, qr/TLS:/, 'in the handshake');
    }
}


###############################################################################
# Another `to` after the restart: attack on virtual hosts

$c = $t->client('alice', sni => $domain)->connect();
$c->open_stream();
$c->send("<starttls xmlns='$NS{tls}'/>");
$c->expect('proceed');
$c->start_tls();
$c->send_header(to => $domain2);
ok($c->recv_header() && $c->expect_stream_error(qr/./),
   'another to after TLS is refused')
    if $t->ours();                              # the peers let it be

$c = $t->client('alice');
$c->secure();
is($c->authenticate()->name(), 'success', 'authenticated');
$c->send_header(to => $domain2);
ok($c->recv_header() && $c->expect_stream_error(qr/./),
   'another to after SASL is refused')
    unless $t->peer() eq 'ejabberd';

$t->done();
