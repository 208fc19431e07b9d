#!/usr/bin/perl

# nginx's ssl_... directives in an xmpp_host, by STARTTLS and by direct TLS:
# certificates that variables name, and whether sessions are resumed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ 'alice',
                                   map { [ 'alice', $_, 'pa55' ] }
                                   qw/ second.test third.test fourth.test
                                       fifth.test / ],
                        domains => [ qw/ localhost second.test third.test
                                         fourth.test fifth.test / ])
                  ->only_ours('reads our configuration');

$t->config(<<'EOF');
%%GLOBALS%%
events {
    worker_connections  256;
}

stream {
    xmpp_redis  unix:%%REDIS%%;

    map $xmpp_host $file {
        default  none;
        ~.       %%TESTDIR%%/$xmpp_host;
    }

    # by the name in the configuration, the default
    xmpp_host localhost {
        ssl_certificate      $file.pem;
        ssl_certificate_key  $file.key;
    }

    # the name that the client said, in TLS
    xmpp_host second.test {
        ssl_certificate        %%TESTDIR%%/$ssl_server_name.pem;
        ssl_certificate_key    %%TESTDIR%%/$ssl_server_name.key;
        ssl_session_tickets    off;
        ssl_session_cache      shared:second:1m;
    }

    # no variable; nothing is resumed
    xmpp_host third.test {
        ssl_certificate      %%TESTDIR%%/third.test.pem;
        ssl_certificate_key  %%TESTDIR%%/third.test.key;
        ssl_session_tickets  off;
        ssl_session_cache    off;
    }

    # files that are not there
    xmpp_host fourth.test {
        ssl_certificate      %%TESTDIR%%/$xmpp_host.none.pem;
        ssl_certificate_key  %%TESTDIR%%/$xmpp_host.none.key;
    }

    # the key of another one
    xmpp_host fifth.test {
        ssl_certificate      $file.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }

    # has the certificate of the first host, which is one of variables
    server {
        listen  127.0.0.1:%%PORT_1%% ssl;
        xmpp_c2s;
    }

    # has one of its own
    server {
        listen               127.0.0.1:%%PORT_2%% ssl;
        ssl_certificate      %%TESTDIR%%/third.test.pem;
        ssl_certificate_key  %%TESTDIR%%/third.test.key;
        xmpp_c2s;
    }
}
EOF

$t->run();


sub client {
    my ($domain, %opt) = @_;

    return $t->client('alice', domain => $domain, verify_name => $domain,
                      %opt);
}


###############################################################################
# Certificates

for my $version (qw/ TLSv1_2 TLSv1_3 /) {
    for my $case ([ starttls => 0 ], [ direct => 1 ], [ direct => 2 ]) {
        my ($tls, $port) = @$case;
        my %opt = (tls => $tls, port_number => $port, tls_version => $version);

        for my $domain (qw/ localhost second.test third.test /) {
            my $name = "$version, $tls, $port, $domain";

            my $c = client($domain, %opt);
            ok(eval { $c->secure() }, "$name: a certificate that is valid")
                or diag($@);
            is($c->certificate_name(), $domain, "$name: its own");
            ok(scalar(grep { $_ eq 'tls-server-end-point' } $c->bindings()),
               "$name: to which can be bound (RFC 5929, 4.1)");

            my $outcome = $c->authenticate(
                mechanism => 'SCRAM-SHA-256-PLUS',
                binding   => 'tls-server-end-point',
                bytes     => $c->binding('tls-server-end-point'));

            ok($outcome && $outcome->is('success'), "$name: and is");
        }
    }

    # no name in TLS: by STARTTLS the stream header has said it before

    my $c = client('localhost', sni => '', tls_version => $version);
    ok(eval { $c->login() }, "$version, STARTTLS, no SNI") or diag($@);

    $c = client('localhost', sni => '', tls_version => $version,
                tls => 'direct', port_number => 2,
                verify_name => 'third.test');
    ok(eval { $c->login() }, "$version, direct, no SNI: the listener's")
        or diag($@);
}


###############################################################################
# Files that are not there or do not match: this handshake fails, no more

for my $tls (qw/ starttls direct /) {
    for my $case ([ 'fourth.test', qr/cannot load certificate "\S+none\.pem"/ ],
                  [ 'fifth.test', qr/key values mismatch/ ]) {
        my ($domain, $reason) = @$case;
        my $before = length $t->read_log();

        ok(!eval { client($domain, tls => $tls)->secure() },
           "$tls, $domain: fails");
        ok(Test::XMPP::Process::await(sub {
            substr($t->read_log(), $before) =~ $reason;
        }), "$tls, $domain: and the log says why");
    }

    ok(eval { client('localhost', tls => $tls)->login()->close() },
       "$tls: another host is as it was");
}


###############################################################################
# Resumption: by tickets, which are the default, by a cache, or not at all

for my $version (qw/ TLSv1_2 TLSv1_3 /) {
    for my $tls (qw/ starttls direct /) {
        for my $case ([ 'localhost', 1 ], [ 'second.test', 1 ],
                      [ 'third.test', 0 ]) {
            my ($domain, $resumed) = @$case;
            my $cache = IO::Socket::SSL::Session_Cache->new(8);
            my %opt = (tls => $tls, tls_version => $version,
                       tls_sessions => $cache);

            # a cache is that of the listener, which has none here
            $resumed = 0 if $domain eq 'second.test' && $tls eq 'direct';

            my $name = "$version, $tls, $domain";

            # the session leaves the client's cache with its connection

            my $one = client($domain, %opt)->login();
            is($one->tls_resumed(), 0, "$name: the first is new");

            my $two = client($domain, %opt);
            ok(eval { $two->login() }, "$name: another") or diag($@);
            is($two->tls_resumed(), $resumed,
               "$name: is " . ($resumed ? '' : 'not ') . 'resumed');

            $_->close() for $one, $two;
        }
    }
}

$t->done();
