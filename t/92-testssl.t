#!/usr/bin/perl

# What testssl.sh finds in our TLS where nothing is set: protocols, ciphers,
# forward secrecy, server defaults and the known vulnerabilities, by STARTTLS
# and by direct TLS, with an EC and an RSA certificate.  RFC 9325, RFC 7590.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;
use Test::XMPP;

# What is no fault of ours, by name and what is said, and why:
# - the private authority of the tests names neither a CRL nor OCSP;
# - the openssl of here has no engine for GOST, which testssl.sh regrets;
# - with TLS 1.3 tickets follow the handshake, and s_client without input may
#   be gone before one is there, so that it has none for the second handshake.

my %excused = (
    cert_revocation          => qr/^Neither CRL nor OCSP URI provided/,
    engine_problem           => qr/^No engine or GOST support/,
    sessionresumption_ticket => qr/^check failed because of connect problem/,
);

# what any whole scan tells, with both certificates, scanTime being the last;
# release 3.2 says <hostCert#1> for <cert#1>

my @WHOLE = ('SSLv2', 'TLS1', 'TLS1_2', 'TLS1_3', 'cipherlist_NULL',
             'cipher_order', 'cert_trust <cert#1>', 'cert_trust <cert#2>',
             'heartbleed', 'ROBOT', 'secure_client_renego', 'LUCKY13', 'RC4',
             'scanTime');

my $t = Test::XMPP->new(users => [ 'alice' ], hosts => 0)->only_ours();

$t->run();
$t->{ca}->issue_rsa('localhost', '127.0.0.1');

$t->start_host(config => <<'EOF');
%%GLOBALS%%
events { }
stream {
    xmpp_redis unix:%%REDIS%%;
    xmpp_host localhost {
        ssl_certificate     %%TESTDIR%%/localhost.pem;
        ssl_certificate_key %%TESTDIR%%/localhost.key;
        ssl_certificate     %%TESTDIR%%/localhost-rsa.pem;
        ssl_certificate_key %%TESTDIR%%/localhost-rsa.key;
    }
    server { listen 127.0.0.1:%%PORT_0%%; xmpp_c2s; }
    server { listen 127.0.0.1:%%PORT_1%% ssl; xmpp_c2s; }
}
EOF

# both at once: most of it is one process that waits for another

my %scan = (
    STARTTLS => scan($t->port(0), qw/ --starttls xmpp --xmpphost localhost /),
    direct   => scan($t->port(1)),
);

for my $tls (sort keys %scan) {
    my ($pid, $base) = @{ $scan{$tls} };

    waitpid $pid, 0;

    my $found = eval { decode_json(slurp("$base.json")) } // [];
    my %id = map { $_->{id} =~ s/<hostCert#/<cert#/r => 1 } @$found;

    is(join(', ', grep { !$id{$_} } @WHOLE), '', "$tls: a whole scan")
        or diag(slurp("$base.out"));

    is(join('', map { bad($_) } @$found), '', "$tls: nothing found");
}

$t->done();


sub scan {
    my ($port, @more) = @_;

    my $base = $t->testdir() . "/scan$port";
    my $pid = fork() // die "fork: $!\n";

    return [ $pid, $base ] if $pid;

    open STDIN, '<', '/dev/null';
    open STDOUT, '>', "$base.out";
    open STDERR, '>&', \*STDOUT;

    exec(qw/ testssl --warnings=off --color 0 --quiet -n none -4
             --ip 127.0.0.1 -p -s -f -P -S -U --add-ca /, $t->ca_file(),
         '--jsonfile', "$base.json", @more, "localhost:$port")
        or do { warn "testssl: $!\n"; require POSIX; POSIX::_exit(127); };
}


# A line for a finding that says that something is wrong, else nothing

sub bad {
    my ($found) = @_;
    my ($id, $severity, $text) = @$found{qw/ id severity finding /};

    return '' if $severity =~ /^(?:OK|INFO|LOW|DEBUG)$/;

    my ($name) = $id =~ /^(\S+)/;
    my $excuse = $excused{$name};

    return '' if $excuse && $text =~ /(?:^<cert#\d> )?$excuse/;
    return "$severity $id: $text\n";
}


sub slurp {
    my ($file) = @_;

    open my $fh, '<', $file or return '';
    local $/;

    return <$fh> // '';
}
