#!/usr/bin/perl

# What nginx has in front of xmpp_c2s: limit_conn, allow and deny, geo and map.
# They look at a connection before a byte of it is read, so it is closed
# without a word of XMPP; and they look once, not again behind STARTTLS.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ 'alice' ])
                  ->only_ours('has nginx in front of it');

$t->config(<<'EOF');
%%GLOBALS%%
events {
    worker_connections  256;
}

stream {
    geo $friend {
        default       no;
        127.0.0.4/32  yes;
    }

    map $friend $key {
        no   $binary_remote_addr;
        yes  "";
    }

    limit_conn_zone  $binary_remote_addr  zone=address:1m;
    limit_conn_zone  $key                 zone=stranger:1m;

    log_format  all  '$remote_addr|$status|$limit_conn_status|$friend'
                     '|$xmpp_jid';

    access_log  %%PREFIX%%/access all;

    xmpp_redis  unix:%%REDIS%%;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen      127.0.0.1:%%PORT_0%%;
        limit_conn  address 2;
        xmpp_c2s;
    }

    server {
        listen      127.0.0.1:%%PORT_1%% ssl;
        limit_conn  address 2;
        xmpp_c2s;
    }

    server {
        listen  127.0.0.1:%%PORT_2%%;
        deny    127.0.0.3;
        allow   127.0.0.0/30;
        deny    all;
        xmpp_c2s;
    }

    server {
        listen  127.0.0.1:%%PORT_3%% ssl;
        deny    127.0.0.3;
        allow   127.0.0.0/30;
        deny    all;
        xmpp_c2s;
    }

    server {
        listen      127.0.0.1:%%PORT_4%%;
        limit_conn  stranger 1;
        xmpp_c2s;
    }
}
EOF

$t->run();

my $serial = 0;


sub client {
    my ($address, $port, %opt) = @_;

    return $t->client('alice', local => $address, port_number => $port,
                      resource => 'r' . ++$serial, %opt);
}


sub enters {
    my ($address, $port, $name, %opt) = @_;

    my $c = client($address, $port, %opt);

    ok(eval { $c->login() }, $name) or diag($@);

    return $c;
}


# sooner or later: nginx counts a connection until all of it is gone

sub enters_yet {
    my ($address, $port, $name, %opt) = @_;

    my $c;

    ok(Test::XMPP::Process::await(sub {
        $c = client($address, $port, %opt);
        eval { $c->login() };
    }), $name);

    return $c;
}


# closed, and not a byte came before

sub refused {
    my ($address, $port, $name) = @_;

    my $c = client($address, $port, tls => 'none')->connect();

    $c->wait(sub { defined $c->{eof} });
    is($c->{eof}, 'closed', $name);
    is($c->{header}, undef, "$name: and not a word of XMPP");
}


# the last line of the access log for an address

sub is_line {
    my ($address, $want, $name) = @_;

    my @lines;

    Test::XMPP::Process::await(sub {
        @lines = grep { /^\Q$address\E\|/ } split /\n/,
                 Test::XMPP::Process::slurp($t->host()->prefix() . '/access');
        @lines && $lines[-1] =~ $want;
    });

    like($lines[-1] // '', $want, $name);
}


###############################################################################
# limit_conn

for my $case ([ 0, 'starttls', '127.0.0.2' ], [ 1, 'direct', '127.0.0.6' ]) {
    my ($port, $tls, $address) = @$case;

    my $one = enters($address, $port, "limit_conn, $tls: one", tls => $tls);
    my $two = enters($address, $port, "limit_conn, $tls: two", tls => $tls);

    refused($address, $port, "limit_conn, $tls: a third");
    is_line($address, qr/\|503\|REJECTED\|no\|-$/,
            "limit_conn, $tls: status 503");

    enters('127.0.0.3', $port, "limit_conn, $tls: another address",
           tls => $tls)->close();
    is_line('127.0.0.3', qr/\|200\|PASSED\|no\|alice\@localhost/,
            "limit_conn, $tls: status 200");

    ok($_->sync(), "limit_conn, $tls: those that are in stay") for $one, $two;

    $one->close();
    is_line($address, qr/\|200\|PASSED\|no\|\Q@{[ $one->jid() ]}\E$/,
            "limit_conn, $tls: one leaves");

    enters_yet($address, $port, "limit_conn, $tls: another takes its place",
               tls => $tls)->close();

    my $c = client($address, $port, tls => 'none')->connect();

    $c->send('GET / HTTP/1.1');
    $c->drop(reset => 1);

    $c = enters_yet($address, $port, "limit_conn, $tls: nor does a connection "
                    . 'that was no XMPP keep it', tls => $tls);

    refused($address, $port, "limit_conn, $tls: a third again");

    $_->close() for $two, $c;
}

like($t->read_log(), qr/limiting connections by zone "address"/,
     'limit_conn: nginx tells it');


###############################################################################
# allow, deny

for my $case ([ 2, 'starttls' ], [ 3, 'direct' ]) {
    my ($port, $tls) = @$case;

    enters('127.0.0.2', $port, "allow, $tls", tls => $tls)->close();

    refused('127.0.0.3', $port, "deny, $tls: an address");
    is_line('127.0.0.3', qr/\|403\|/, "deny, $tls: status 403");

    refused('127.0.0.5', $port, "deny, $tls: all");
    is_line('127.0.0.5', qr/\|403\|/, "deny, $tls: all, status 403");
}

like($t->read_log(), qr/access forbidden by rule/, 'deny: nginx tells it');


###############################################################################
# geo, map: an empty key is not limited

my @in = map { enters('127.0.0.4', 4, "geo, map: a friend, $_") } 1 .. 3;

push @in, enters('127.0.0.7', 4, 'geo, map: a stranger');
refused('127.0.0.7', 4, 'geo, map: the same stranger');
is_line('127.0.0.7', qr/\|503\|REJECTED\|no\|/, 'geo, map: status 503');

$_->close() for @in;
is_line('127.0.0.4', qr/\|200\|[^|]*\|yes\|alice/, 'geo: its variable');

$t->done();
