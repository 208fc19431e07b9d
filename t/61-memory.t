#!/usr/bin/perl

# The private memory that an idle session costs the worker, after login: with
# and without TLS, for a thousand and for three thousand of them.  The bounds
# are those of the aims; the figures are printed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/traffic";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Traffic;

*private_dirty = \&Test::XMPP::Process::private_dirty;
*settled = \&Test::XMPP::Process::settled;

my @numbers = (1000, 3000);

my $t = Test::XMPP->new(workers => 1, users => []);

$t->only_ours('measures the worker');

my $info = `\Q@{[ Test::XMPP::Nginx::binary() ]}\E -V 2>&1`;

plan(skip_all => 'figures of a sanitized worker mean nothing')
    if $info =~ /-fsanitize/;

# OpenSSL 3.5 keeps more for each connection, X25519MLKEM768 a part of it; it
# is the last that is named, when another was there at build time

my ($openssl) = ($info =~ /OpenSSL (\d+\.\d+)/g)[-1];
my ($PLAIN, $TLS) = (2500, $openssl eq '3.0' ? 18000 : 34000);

# the log of each login is memory of none

$ENV{XMPP_LOG} //= 'warn';

$t->config(<<'EOF');
%%GLOBALS%%
events { worker_connections 8192; }
stream {
    xmpp_redis unix:%%REDIS%%;
    xmpp_host localhost {
        ssl_certificate     %%TESTDIR%%/localhost.pem;
        ssl_certificate_key %%TESTDIR%%/localhost.key;
    }
    server { listen 127.0.0.1:%%PORT_0%%;     xmpp_c2s; xmpp_starttls on; }
    server { listen 127.0.0.1:%%PORT_1%% ssl; xmpp_c2s; }
    server { listen 127.0.0.1:%%PORT_2%%;     xmpp_c2s; xmpp_starttls off; }
}
EOF

$t->run();

Traffic::accounts($t, $numbers[-1]);
my $accounts = Traffic::accounts_file($t, $numbers[-1]);

my @kinds = (
    [ 'plain, STARTTLS off',  2, 'plain',    $PLAIN ],
    [ 'plain, STARTTLS on',   0, 'plain',    $PLAIN ],
    [ 'direct TLS',           1, 'direct',   $TLS ],
    [ 'STARTTLS',             0, 'starttls', $TLS ],
);

for my $kind (@kinds) {
    for my $n (@numbers) {
        measure($n, @$kind);
    }
}

$t->done();


###############################################################################

# A worker of its own for each figure: what another measurement left in the
# heap would make it look better.

sub measure {
    my ($n, $name, $port, $tls, $bound) = @_;

    my @old = $t->reload();

    Test::XMPP::Process::await(sub { !grep { kill 0, $_ } @old }, 30)
        or die "the old worker stays\n";

    # a login needs more than an idle session, and what it gives back is not
    # given to the system: only few at once

    my %common = (targets => Traffic::targets($t, $port), tls => $tls,
                  ca => $t->ca_file(), accounts => $accounts, logins => 4);

    # the first sessions make what is made once

    Traffic->start(%common, clients => 4, messages => 100)->result();

    my $before = private_dirty($t->workers());
    my $traffic = Traffic->start(%common, clients => $n, hold => 1,
                                 control => 1);

    ok($traffic->wait(qr/^ready:/, 300), "$name: $n are logged in")
        or return;

    my $after = settled($t->workers());
    my $each = ($after - $before) / $n;

    diag(sprintf '%-20s %5d idle: %6.0f bytes each (%.1f MB)', $name, $n,
         $each, $after / 1e6);
    cmp_ok($each, '<', $bound, "$name: $n idle, each under $bound bytes");

    $traffic->tell('quit');
    is($traffic->result()->{logins}, $n, "$name: all stayed");
}
