#!/usr/bin/perl

# What a client is told by XEP-0215 opens coturn with use-auth-secret: its own
# test client relays by that name and that password, and by no other.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

plan(skip_all => 'coturn is needed: make test installs it')
    if system('turnserver --version >/dev/null 2>&1') == -1
       || grep { !-x "/usr/bin/$_" } qw/ turnserver turnutils_uclient /;

my $t = Test::XMPP->new(users => [ 'alice' ]);
my $dir = $t->testdir();
my $port = Test::XMPP::Process::free_port();

# over TCP: nobody else may take that port in between

$t->write_file('turn', "a secret, shared\n");
$t->config(<<"EOT");
%%GLOBALS%%
events { worker_connections 1024; }
stream {
    xmpp_redis unix:%%REDIS%%;

    xmpp_host localhost {
        ssl_certificate     %%TESTDIR%%/localhost.pem;
        ssl_certificate_key %%TESTDIR%%/localhost.key;

        xmpp_external_service turn:127.0.0.1:$port transport=tcp lifetime=60s
                              secret_file=%%TESTDIR%%/turn;
    }

    server { listen 127.0.0.1:%%PORT_0%%; xmpp_c2s; }
}
EOT

$t->write_file('turnserver.conf', <<"EOT");
use-auth-secret
static-auth-secret=a secret, shared
realm=localhost
listening-ip=127.0.0.1
listening-port=$port
relay-ip=127.0.0.1
allow-loopback-peers
no-udp
no-tls
no-dtls
no-cli
log-file=stdout
simple-log
pidfile=$dir/turnserver.pid
userdb=$dir/turnserver.db
EOT

my $coturn = Test::XMPP::Process->start("$dir/turnserver.log", 'turnserver',
                                        '-c', "$dir/turnserver.conf");

Test::XMPP::Process::await_port($port, $coturn);
$t->run();

my $alice = $t->client('alice')->login();
my $answer = $alice->query('get', $t->domain(),
                           "<services xmlns='urn:xmpp:extdisco:2'/>");
my %service = map { $_ => scalar $answer->find("*/*/\@$_") }
                  qw/ host port username password /;

is(relay($service{username}, $service{password}), 0,
   'XEP-0215, 2: coturn takes the user name and the password');
isnt(relay($service{username}, $service{password} =~ tr/A-Za-z/B-ZAb-za/r), 0,
     'and no other password');
isnt(relay($service{username} + 86400, $service{password}), 0,
     'nor a later end');

ok($coturn->stop(), 'coturn has ended');
unlike($t->read_log(), qr/a secret, shared/, 'no log has the secret');

$t->done();


# coturn's client sends through its relay to itself: its exit status

sub relay {
    my ($user, $password) = @_;

    my $client = Test::XMPP::Process->start("$dir/uclient.log",
        'turnutils_uclient', '-t', '-y', '-c', '-n', '2',
        '-p', $service{port}, '-u', $user, '-w', $password, $service{host});

    Test::XMPP::Process::await(sub { !$client->alive() })
        or return 'does not end';

    return $client->status();
}
