#!/usr/bin/perl

# Many clients over WebSocket, on two hosts with two workers each: what they
# send each other arrives once and in order, whatever the frames are cut into,
# with and without TLS, and between them and clients of TCP.  RFC 7395, 3.3.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/traffic";

use Test::More;
use Test::XMPP;
use Traffic;

my $t = Test::XMPP->new(hosts => 2, workers => 2, users => [])
                  ->only_ours('needs two hosts');

my $location = 'location = /xmpp-websocket { xmpp_websocket; }';
my $pair = 'ssl_certificate %%TESTDIR%%/localhost.pem; '
           . 'ssl_certificate_key %%TESTDIR%%/localhost.key;';

$t->config(Traffic::config() . <<"EOT");
http {
    %%HTTP%%

    server { listen 127.0.0.1:%%PORT_3%% reuseport; $location }
    server { listen 127.0.0.1:%%PORT_4%% ssl reuseport; $pair $location }
}
EOT
$t->run();

Traffic::accounts($t, 100);

my %common = (accounts => Traffic::accounts_file($t, 100), ca => $t->ca_file(),
              iq => 10, presence => 10, window => 300);

my $result = Traffic->start(targets => Traffic::targets($t, 3), %common,
                            tls => 'plain', websocket => 1, messages => 5000)
                    ->result();

Traffic::clean($result, 'each once and in order');
is($result->{messages}, 5000, 'all messages');
is($result->{logins}, 100, 'nobody was cut off');

# long bodies: frames with longer heads, cut wherever TLS and sockets cut

$result = Traffic->start(targets => Traffic::targets($t, 4), %common,
                         tls => 'direct', websocket => 1, size => 3000,
                         messages => 2000)->result();

Traffic::clean($result, 'long bodies, with TLS');
is($result->{messages}, 2000, 'all messages');

$t->done();
