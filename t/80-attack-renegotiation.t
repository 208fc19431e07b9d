#!/usr/bin/perl

# TLS renegotiation and key updates: a client that asks for them a hundred
# times gets nowhere and holds nobody up.  RFC 9325, 3.5; RFC 8446, 4.6.3.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IPC::Open3;
use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ 'alice' ], workers => 1)
                  ->only_ours()->run();
my $alice = $t->client('alice')->login();
my $header = $t->client('alice')->header() =~ s/^<\?.*?\?>//r;


# What openssl s_client says that is given these lines, and then a stream
# header if the handshake is to be shown complete.

sub s_client {
    my ($lines, @options) = @_;

    my $pid = open3(my $in, my $out, undef, 'openssl', 's_client',
                    '-servername', 'localhost', @options);

    print $in $lines;
    close $in;

    my $output = do { local $/; <$out> };
    waitpid $pid, 0;

    return $output;
}

my %how = (
    direct => [ -connect => '127.0.0.1:' . $t->port(1),
                -alpn => 'xmpp-client' ],
    starttls => [ -connect => '127.0.0.1:' . $t->port(0),
                  -starttls => 'xmpp', -xmpphost => 'localhost' ],
);

for my $tls (sort keys %how) {
    my $output = s_client('', @{ $how{$tls} }, '-tls1_2');

    like($output, qr/Secure Renegotiation IS supported/,
         "$tls: RFC 5746 is spoken");
    like($output, qr/^Compression: NONE$/m, "$tls: RFC 7525, 3.3: without "
                                            . 'compression');

    my ($asked, $refused) = (0, 0);

    for my $n (1 .. 50) {
        $output = s_client("R\nR\nR\n", @{ $how{$tls} }, '-tls1_2');

        $asked++ if $output =~ /^RENEGOTIATING$/m;
        $refused++ if $output =~ /no renegotiation/;

        if ($n % 10 == 0) {
            ok($alice->sync(), "$tls: others are served meanwhile: $n");
        }
    }

    is("$asked $refused", '50 50', "$tls: each renegotiation is refused");

    # keys are the client's to change, but not without an end

    $output = s_client("K\n" x 200, @{ $how{$tls} }, '-tls1_3');
    like($output, qr/KEYUPDATE/, "$tls: 200 updates of keys");
    ok($alice->sync(), "$tls: nobody else notices");
}

ok($t->client('alice', tls_version => $_)->login()->sync(), "$_ goes on")
    for qw/ TLSv1_2 TLSv1_3 /;

$t->done();
