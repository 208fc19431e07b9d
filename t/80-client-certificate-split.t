#!/usr/bin/perl

# A client's certificate that does not stand verification, in a handshake whose
# last flight comes in pieces: the server waits for the rest of it, and the
# client goes on without its certificate (ssl_verify_client optional_no_ca).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Errno qw/ EAGAIN /;
use IO::Socket::INET;
use Net::SSLeay;
use Test::More;

use Test::XMPP;
use Test::XMPP::CA;

plan(skip_all => 'for our own server only') if $ENV{XMPP_TARGET};

my $t = Test::XMPP->new(users => [ 'alice' ]);

$t->config(<<'EOF');
%%GLOBALS%%
events {
}

stream {
    xmpp_redis  unix:%%REDIS%%;

    ssl_certificate         %%TESTDIR%%/localhost.pem;
    ssl_certificate_key     %%TESTDIR%%/localhost.key;
    ssl_client_certificate  %%TESTDIR%%/ca.pem;
    ssl_verify_client       optional_no_ca;
    ssl_crl                 %%TESTDIR%%/crl.pem;

    xmpp_host localhost {
    }

    server {
        listen  127.0.0.1:%%PORT_0%% ssl;
        xmpp_c2s;
    }
}
EOF

my $ca = $t->{ca} = Test::XMPP::CA->new($t->testdir());

# of the same name as the server's, so that a signature is found to be wrong

my $other = Test::XMPP::CA->new($t->testdir(), file => 'other');
my $forged = $other->client('forged', [ xmpp => 'alice@localhost' ]);

$ca->revoke('DEAD');
$t->run();

for my $version (0x0303, 0x0304) {
    my $name = $version == 0x0303 ? 'TLS 1.2' : 'TLS 1.3';
    my $answer = shake($version);

    like($answer, qr/<stream:features>.*<mechanism>SCRAM-SHA-256</s,
         "$name: goes on");
    unlike($answer, qr/EXTERNAL/, "$name: without the certificate");
}

$t->done();


# What the server says to a stream header in TLS, when each record of the
# handshake is sent after the one before was read.

sub shake {
    my ($version) = @_;

    my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                     PeerPort => $t->port(0))
        or die "connect: $@\n";
    my $ctx = Net::SSLeay::CTX_new_with_method(Net::SSLeay::TLS_method());

    Net::SSLeay::CTX_set_min_proto_version($ctx, $version);
    Net::SSLeay::CTX_set_max_proto_version($ctx, $version);
    Net::SSLeay::set_cert_and_key($ctx, "$forged.pem", "$forged.key")
        or die "$forged: the certificate\n";

    my $ssl = Net::SSLeay::new($ctx);
    my ($in, $out) = map { Net::SSLeay::BIO_new(Net::SSLeay::BIO_s_mem()) }
                         1, 2;

    Net::SSLeay::set_bio($ssl, $in, $out);
    Net::SSLeay::set_tlsext_host_name($ssl, 'localhost');

    for ( ;; ) {
        my $done = Net::SSLeay::connect($ssl) == 1;

        send_records($sock, $out);
        last if $done;
        receive($sock, $in) or return 'closed';
    }

    Net::SSLeay::write($ssl, $t->client('alice')->header());
    send_records($sock, $out);

    my $answer = '';

    while ($answer !~ m{</stream:features>}) {
        my $data = Net::SSLeay::read($ssl);

        if (defined $data && length $data) {
            $answer .= $data;
            next;
        }

        receive($sock, $in) or last;
    }

    Net::SSLeay::free($ssl);
    Net::SSLeay::CTX_free($ctx);

    return $answer;
}


sub receive {
    my ($sock, $in) = @_;

    my $ready = '';
    vec($ready, fileno $sock, 1) = 1;

    select($ready, undef, undef, 20) or die "no bytes within 20 seconds\n";
    sysread $sock, my $bytes, 65536 or return;
    Net::SSLeay::BIO_write($in, $bytes);

    return 1;
}


# Record by record (RFC 8446, 5.1)

sub send_records {
    my ($sock, $out) = @_;

    my $bytes = '';

    while (Net::SSLeay::BIO_pending($out)) {
        $bytes .= Net::SSLeay::BIO_read($out);
    }

    while (length $bytes) {
        my $record = substr $bytes, 0, 5 + unpack('x3 n', $bytes), '';

        syswrite $sock, $record;
        Test::XMPP::Process::await(sub { unread($sock) == 0 })
            or die "the server does not read\n";
    }
}


# How much of what was sent the server has not read yet

sub unread {
    my ($sock) = @_;

    for (split /\n/, Test::XMPP::Process::slurp('/proc/net/tcp')) {
        my ($from, $to, $queue) =
            /^\s*\d+: \w+:(\w+) \w+:(\w+) \w+ \w+:(\w+) / or next;

        return hex $queue if hex $from == $sock->peerport()
                             && hex $to == $sock->sockport();
    }

    return 0;
}
