#!/usr/bin/perl

# What TLS is spoken where nothing is set: as RFC 9325 (BCP 195) has it, which
# RFC 7590, 3.1 asks of XMPP.  And what is set holds, wherever that is.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ 'alice' ], hosts => 0)->only_ours();

$t->run();

# a host with certificates of both kinds, as RSA key transport needs

$t->{ca}->issue_rsa('localhost');


###############################################################################
# Nothing is set

start('', '', '');

for my $tls (qw/ starttls direct /) {
    for my $version (qw/ TLSv1 TLSv1_1 /) {
        ok(!handshake($tls, 'ALL:@SECLEVEL=0', $version),
           "$tls: RFC 9325, 3.1.1: no $version");
    }

    for my $cipher (qw/ AES128-SHA AES256-GCM-SHA384 /) {
        ok(!handshake($tls, $cipher),
           "$tls: RFC 9325, 4.1: no RSA key transport, $cipher");
    }

    for my $cipher (qw/ ECDHE-RSA-AES128-SHA ECDHE-ECDSA-AES256-SHA384
                        ECDHE-RSA-AES128-SHA256 ECDHE-ECDSA-AES128-CCM8 /)
    {
        ok(!handshake($tls, $cipher), "$tls: RFC 9325, 4.2: no $cipher");
    }

    for my $cipher (qw/ ECDHE-RSA-AES128-GCM-SHA256
                        ECDHE-RSA-AES256-GCM-SHA384
                        ECDHE-ECDSA-AES128-GCM-SHA256
                        ECDHE-ECDSA-AES256-GCM-SHA384
                        ECDHE-RSA-CHACHA20-POLY1305 /)
    {
        is(handshake($tls, $cipher), $cipher, "$tls: RFC 9325, 4.2: $cipher");
    }

    is(handshake($tls, 'ECDHE-RSA-CHACHA20-POLY1305:'
                       . 'ECDHE-RSA-AES128-GCM-SHA256:'
                       . 'ECDHE-RSA-AES256-GCM-SHA384'),
       'ECDHE-RSA-AES256-GCM-SHA384',
       "$tls: RFC 9325, 4.2.1: the server prefers the stronger one");

    like(handshake($tls, undef, 'TLSv1_3'), qr/^TLS_/, "$tls: TLS 1.3");
}


###############################################################################
# What is set holds

my $ciphers = 'ssl_ciphers ECDHE-RSA-AES128-SHA:ECDHE-RSA-AES128-GCM-SHA256;';
my $prefer = 'ssl_prefer_server_ciphers off;';
my $both = 'ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-SHA';

# [ stream, xmpp_host, server, ports where it counts ]

my @where = (
    [ 'stream',    "$ciphers $prefer", '', '', qw/ starttls direct / ],
    [ 'xmpp_host', '', "$ciphers $prefer", '', qw/ starttls / ],
    [ 'server',    '', '', "$ciphers $prefer", qw/ direct / ],
);

for my $case (@where) {
    my ($name, $stream, $host, $server, @ports) = @$case;

    start($stream, $host, $server);

    for my $tls (@ports) {
        is(handshake($tls, 'ECDHE-RSA-AES128-SHA'), 'ECDHE-RSA-AES128-SHA',
           "$tls: ssl_ciphers in $name");
        ok(!handshake($tls, 'ECDHE-RSA-AES256-GCM-SHA384'),
           "$tls: ssl_ciphers in $name, and no other");
        is(handshake($tls, $both), 'ECDHE-RSA-AES128-GCM-SHA256',
           "$tls: ssl_prefer_server_ciphers in $name");
    }
}

start($ciphers, '', '');
is(handshake('direct', $both), 'ECDHE-RSA-AES128-SHA',
   'direct: else the order is the server\'s');

$t->done();


sub start {
    my ($stream, $host, $server) = @_;

    $t->start_host(config => <<"EOF");
%%GLOBALS%%
events { worker_connections 256; }
stream {
    xmpp_redis unix:%%REDIS%%;
    $stream
    xmpp_host localhost {
        ssl_certificate     %%TESTDIR%%/localhost.pem;
        ssl_certificate_key %%TESTDIR%%/localhost.key;
        ssl_certificate     %%TESTDIR%%/localhost-rsa.pem;
        ssl_certificate_key %%TESTDIR%%/localhost-rsa.key;
        $host
    }
    server { listen 127.0.0.1:%%PORT_0%%; xmpp_c2s; }
    server { listen 127.0.0.1:%%PORT_1%% ssl; xmpp_c2s; $server }
}
EOF
}


# The cipher with the last host that was started, or nothing.  Without a
# version it is TLS 1.2: ciphers are not chosen like that with 1.3.  Without
# SNI, as here, direct TLS is spoken as the listener has it.

sub handshake {
    my ($tls, $ciphers, $version) = @_;

    my $c = $t->client('alice', on => @{ $t->{nginx} } - 1, sni => '',
                       tls => $tls, tls_version => $version // 'TLSv1_2',
                       ciphers => $ciphers);

    if ($tls eq 'direct') {
        return eval { $c->connect() } ? $c->{sock}->get_cipher() : '';
    }

    $c->connect()->open_stream();
    $c->send("<starttls xmlns='$Test::XMPP::Client::NS{tls}'/>");
    $c->expect(name => 'proceed') or die "no <proceed/>\n";

    return $c->try_tls() ? '' : $c->{sock}->get_cipher();
}
