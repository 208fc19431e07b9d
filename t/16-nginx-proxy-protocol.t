#!/usr/bin/perl

# listen ... proxy_protocol and set_real_ip_from: behind a balancer the client
# has the address that the balancer tells, wherever an address is looked at:
# in deny, in limit_conn, in both logs, in the line of a failed login.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Socket qw/ AF_INET AF_INET6 inet_pton /;
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
    limit_conn_zone  $binary_remote_addr  zone=address:1m;

    log_format  all  '$remote_addr|$realip_remote_addr|$proxy_protocol_addr'
                     '|$proxy_protocol_port|$status|$xmpp_jid';

    access_log  %%PREFIX%%/access all;

    proxy_protocol_timeout  1s;

    xmpp_redis  unix:%%REDIS%%;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen            127.0.0.1:%%PORT_0%% proxy_protocol;
        set_real_ip_from  127.0.0.1;
        limit_conn        address 1;
        deny              192.0.2.66;
        deny              2001:db8::66;
        xmpp_c2s;
    }

    server {
        listen            127.0.0.1:%%PORT_1%% ssl proxy_protocol;
        set_real_ip_from  127.0.0.1;
        limit_conn        address 1;
        deny              192.0.2.66;
        deny              2001:db8::66;
        xmpp_c2s;
    }

    server {
        listen            127.0.0.1:%%PORT_2%% proxy_protocol;
        set_real_ip_from  192.0.2.0/24;
        deny              192.0.2.66;
        xmpp_c2s;
    }
}
EOF

$t->run();

my $port = 40000;


# The header of the PROXY protocol, versions 1 and 2, for a client at $address

sub header {
    my ($version, $address) = @_;

    my $six = $address =~ /:/;
    my $to = $six ? '2001:db8::1' : '198.51.100.1';

    $port++;

    return 'PROXY ' . ($six ? 'TCP6' : 'TCP4') . " $address $to $port 5222\r\n"
        if $version == 1;

    my $family = $six ? AF_INET6 : AF_INET;
    my $body = inet_pton($family, $address) . inet_pton($family, $to)
               . pack('nn', $port, 5222);

    return "\r\n\r\n\0\r\nQUIT\n" . pack('CCn', 0x21, $six ? 0x21 : 0x11,
                                         length $body) . $body;
}


sub client {
    my ($tls, $header, %opt) = @_;

    return $t->client('alice', tls => $tls, preface => $header, %opt);
}


# the part of a log behind what was there before; the new line that matches

my %seen;

sub new_line {
    my ($log, $want) = @_;

    my $line;

    Test::XMPP::Process::await(sub {
        my $text = Test::XMPP::Process::slurp($t->host()->prefix() . "/$log");

        $text = substr $text, $seen{$log} // 0;
        return unless $text =~ /^(.*$want.*)\n/mg;

        $line = $1;
        $seen{$log} += pos $text;
    });

    return $line // '';
}


sub refused {
    my ($header, $name) = @_;

    my $c = client('none', $header)->connect();

    # by a reset when there was something that nginx has not read

    $c->wait(sub { defined $c->{eof} });
    like($c->{eof} // '', qr/^(?:closed|Connection reset by peer)$/, $name);
    is($c->{header}, undef, "$name: and not a word of XMPP");
}


my $n = 1;

for my $version (1, 2) {
    for my $tls (qw/ starttls direct /) {
        for my $net ('192.0.2.', '2001:db8::') {
            my $address = $net . ++$n;
            my $name = "version $version, $tls, $address";

            my $c = client($tls, header($version, $address));

            ok(eval { $c->login() }, "$name: logs in") or diag($@);

            my $line = new_line('error.log', 'logged in as');
            like($line, qr/, client: \Q$address\E,/, "$name: error log");

            refused(header($version, $address), "$name: limit_conn");
            like(new_line('access', '503'), qr/^\Q$address\E\|/,
                 "$name: limit_conn, access log");

            my $logged = "$address|127.0.0.1|$address|" . ($port - 1);

            ok($c->sync(), "$name: the first one stays");
            $c->close();

            is(new_line('access', 'alice@'), "$logged|200|" . $c->jid(),
               "$name: access log");

            # a failed login; the place that the first one had is free by then

            $address = $net . ++$n;
            $name = "version $version, $tls, $address";
            $c = client($tls, header($version, $address), password => 'wrong');
            $c->secure();

            my $outcome = $c->authenticate();

            is($outcome && $outcome->error(), 'not-authorized',
               "$name: fails to log in");
            $c->drop();

            like(new_line('error.log', 'login failed'),
                 qr/login\ failed:\ client\ \Q$address\E,\ .*
                    ,\ client:\ \Q$address\E,/x, "$name: and that is told");
        }

        for my $address ('192.0.2.66', '2001:db8::66') {
            my $name = "version $version, $tls, $address";

            refused(header($version, $address), "$name: deny");
            like(new_line('access', '403'),
                 qr/^\Q$address\E\|127\.0\.0\.1\|/, "$name: deny, access log");
        }
    }
}


###############################################################################
# A balancer that is not trusted; and what is no client of a balancer

for my $version (1, 2) {
    my $c = client('starttls', header($version, '192.0.2.66'),
                   port_number => 2);

    ok(eval { $c->login() }, "version $version: not from whom is trusted");
    $c->close();
    is(new_line('access', 'alice@'), '127.0.0.1|127.0.0.1|192.0.2.66|'
       . "$port|200|" . $c->jid(), "version $version: has its own address");
}

my %own = ('PROXY UNKNOWN' => "PROXY UNKNOWN\r\n",
           LOCAL => "\r\n\r\n\0\r\nQUIT\n" . pack('CCn', 0x20, 0, 0));

for my $name (sort keys %own) {
    my $c = client('starttls', $own{$name});

    ok(eval { $c->login() }, "$name: the balancer itself") or diag($@);
    like(new_line('error.log', 'logged in as'), qr/, client: 127\.0\.0\.1,/,
         "$name: has its own address");
    $c->close();
    like(new_line('access', 'alice@'), qr/^127\.0\.0\.1\|127\.0\.0\.1\|/,
         "$name: also in the access log");
}

# the stream's header right behind, and nothing of XMPP lost; nginx wants its
# own header in one segment

my $hello = $t->client('alice')->header();
my $c = client('none', header(1, '192.0.2.200') . $hello)->connect();

ok($c->recv_header(), 'header and stream header in one segment');
$c->close();

refused($hello, 'no header');
like(new_line('error.log', 'broken header'),
     qr/while reading PROXY protocol, client: 127\.0\.0\.1,/,
     'no header: told by nginx');

refused('', 'nothing');
like(new_line('error.log', 'timed out'),
     qr/while reading PROXY protocol, client: 127\.0\.0\.1,/,
     'nothing: told by nginx');

$t->done();
