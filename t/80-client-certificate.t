#!/usr/bin/perl

# ssl_verify_client in one xmpp_host: nobody gets to that host past it, by
# naming another one to TLS than to the stream, or none at all.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::SSL::Utils;
use IPC::Open3;
use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ qw/ alice dora / ])
                  ->only_ours('asks for client certificates');

$t->config(<<'EOF');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis  unix:%%REDIS%%;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    xmpp_host third.test {
        ssl_certificate         %%TESTDIR%%/localhost.pem;
        ssl_certificate_key     %%TESTDIR%%/localhost.key;
        ssl_verify_client       on;
        ssl_client_certificate  %%TESTDIR%%/other.pem;
    }

    xmpp_host second.test {
        ssl_certificate         %%TESTDIR%%/second.test.pem;
        ssl_certificate_key     %%TESTDIR%%/second.test.key;
        ssl_verify_client       on;
        ssl_client_certificate  %%TESTDIR%%/ca.pem;
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

PEM_cert2file((CERT_create(CA => 1, key => KEY_create_ec('prime256v1'),
                           subject => { commonName => 'another CA' }))[0],
              $t->testdir() . '/other.pem');

$t->run();

# a certificate of the same authority, for clients

my ($cert, $key) = CERT_create(
    subject => { commonName => 'dora' }, key => KEY_create_ec('prime256v1'),
    issuer => [ @{ $t->{ca} }{qw/ cert key /} ], purpose => 'client',
    not_before => time() - 86400);

my $base = $t->testdir() . '/dora';

PEM_cert2file($cert, "$base.pem");
PEM_key2file($key, "$base.key");

my %second = (domain => 'second.test', verify_name => 'second.test');


###############################################################################
# With it, and without

for my $tls (qw/ starttls direct /) {
    my $c = $t->client('dora', %second, tls => $tls, certificate => $base);

    ok(eval { $c->login() }, "$tls: with a certificate") or diag $@;

    $c = $t->client('dora', %second, tls => $tls);

    ok(!eval { $c->login() }, "$tls: without one");

    $c = $t->client('alice', tls => $tls);

    ok(eval { $c->login() }, "$tls: the other host asks for none");
}


###############################################################################
# Not by another name

for my $sni ('localhost', 'unknown.test', '') {
    my $c = $t->client('dora', %second, tls => 'direct', sni => $sni,
                       verify_name => 'localhost')->connect();

    $c->send_header();
    ok($c->recv_header() && $c->expect_stream_error('not-authorized'),
       "direct TLS for '$sni', a stream for the other");
}


###############################################################################
# Not by a session that another host has seen the certificate of

# returns whether there was a session to go on with, and the features

sub resume {
    my ($domain, @options) = @_;

    my $header = $t->client('dora', domain => $domain)->header();

    my $pid = open3(my $in, my $out, undef, 'openssl', 's_client', '-tls1_3',
                    -connect => '127.0.0.1:' . $t->port(1), '-servername',
                    $domain, '-alpn', 'xmpp-client', @options);

    print $in "$header\n";

    my $output = '';

    local $/ = '>';

    while (defined(my $line = <$out>)) {
        $output .= $line;
        last if $line =~ /<mechanisms/;
    }

    close $in;
    close $out;
    waitpid $pid, 0;

    return ($output =~ /^Reused, /m ? 1 : 0, $output =~ /<mechanisms/ ? 1 : 0);
}

my $file = $t->testdir() . '/session';
my @certificate = (-cert => "$base.pem", -key => "$base.key");

is_deeply([ resume('second.test', @certificate, -sess_out => $file) ],
          [ 0, 1 ], 'a session begun with a certificate');
is_deeply([ resume('second.test', -sess_in => $file) ], [ 1, 1 ],
          'goes on without');
ok(!(resume('third.test', -sess_in => $file))[1],
   'but not for a host with another authority');

$t->done();
