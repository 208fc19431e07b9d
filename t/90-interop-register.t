#!/usr/bin/perl

# slixmpp makes an account, changes its password, and removes it: XEP-0077, by
# its own plugin.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/interop";

use Test::More;
use Chat;
use Interop;
use Test::XMPP;

my $missing = Interop::missing('slixmpp');
plan(skip_all => $missing) if $missing;

my $t = Test::XMPP->new(hosts => 2, users => [ 'alice' ]);

$t->only_ours('xmpp_register');
$t->config(<<'EOC');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis  unix:%%REDIS%%;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
        xmpp_register        on;
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
EOC

$t->run();


sub start {
    my ($tls, $host, $user, $password, %opt) = @_;

    return Interop::Chat::start($t, 'slixmpp', $tls, $host, $user,
                                password => $password, %opt);
}


for my $tls (qw/ starttls direct /) {
    my $user = "new$tls";
    my $c = start($tls, 0, $user, 'first', register => 1);

    Interop::Chat::wanted($c, qr/^FIELDS password username$/,
                          "$tls: XEP-0077, 3.1: the fields");
    Interop::Chat::wanted($c, qr/^REGISTERED/, "$tls: an account is made");
    Interop::Chat::wanted($c, qr/^READY $user@/, "$tls: and logged in to");

    $c->tell('PASSWORD second');
    Interop::Chat::wanted($c, qr/^PASSWORD done/,
                          "$tls: XEP-0077, 3.3: a new password");
    is($c->quit(), 0, "$tls: it left");

    $c = start($tls, 1, $user, 'second');
    Interop::Chat::wanted($c, qr/^READY $user@/,
                          "$tls: which logs in, on the other host");

    $c->tell('CANCEL');
    Interop::Chat::wanted($c, qr/^CANCEL done/,
                          "$tls: XEP-0077, 3.2: the account is removed");
    Interop::Chat::wanted($c, qr/^FAIL stream_error .*not-authorized/,
                          "$tls: XEP-0077, 3.2: the stream ends");
    $c->quit();

    $c = start($tls, 0, $user, 'second');
    Interop::Chat::wanted($c, qr/^FAIL stream_error .*failed attempts/,
                          "$tls: nobody logs in any more");
    $c->quit();

    $c = start($tls, 0, 'alice', 'mine', register => 1);
    Interop::Chat::wanted($c, qr/^REFUSED conflict/,
                          "$tls: XEP-0077, 3.1: a name that is taken");
    $c->quit();
}

$t->done();
