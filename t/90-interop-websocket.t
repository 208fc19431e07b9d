#!/usr/bin/perl

# @xmpp/client, strophe.js and stanza log in over WebSocket with TLS on two
# hosts, chat with each other and with a client on TCP, and come back after a
# reload: RFC 7395.  make interop fetches them (npm).

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/interop";

use Test::More;
use Test::XMPP;
use Chat;

my @clients = qw/ xmppjs strophejs stanza /;

for my $client (@clients) {
    my $missing = Interop::missing($client);
    plan(skip_all => $missing) if $missing;
}

my $t = Test::XMPP->new(hosts => 2, users => [ qw/ alice bob carol / ])
                  ->only_ours();

$t->config(<<'EOC');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis       unix:%%REDIS%%;
    xmpp_drain_time  500ms;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}

http {
    ssl_certificate      %%TESTDIR%%/localhost.pem;
    ssl_certificate_key  %%TESTDIR%%/localhost.key;

    server {
        listen  127.0.0.1:%%PORT_2%% ssl http2;

        location = /xmpp-websocket {
            xmpp_websocket;
        }
    }
}
EOC

$t->run();

sub start {
    my ($client, $user, $host) = @_;

    return Interop->start($client,
        host     => '127.0.0.1',
        port     => $t->port(2, $host),
        jid      => "$user\@localhost/$client",
        password => Test::XMPP::Accounts::password($user),
        ca       => $t->ca_file());
}

*wanted = \&Interop::Chat::wanted;

my $carol = $t->online('carol', on => 1, resource => 'tcp');

for my $client (@clients) {
    my $alice = start($client, 'alice', 0);
    my $bob = start($client, 'bob', 1);
    my ($a) = wanted($alice, qr/^READY (\S+)/, "$client: alice is in");
    my ($b) = wanted($bob, qr/^READY (\S+)/, "$client: bob is in");

    next if !$a || !$b;

    Interop::Chat::talk($client, $alice, $bob, $a, $b);

    $carol->message($a, 'from TCP & <back>', type => 'chat');
    wanted($alice, qr/^MESSAGE \Q@{[ $carol->jid() ]}\E from TCP & <back>$/,
           "$client: from a client on TCP");
    $alice->tell('SEND ' . $carol->jid() . " h\x{e4}t\x{1F339}");
    ok($carol->pick('message', from => $a, body => "h\x{e4}t\x{1F339}"),
       "$client: to it");

    $t->reload();
    wanted($alice, qr/^GONE/, "$client: a reload breaks the connection");

    if ($client eq 'xmppjs') {
        wanted($alice, qr/^RESUMED/, "$client: and it resumes its session");
        $carol->message($a, 'after the reload', type => 'chat');
        wanted($alice, qr/^MESSAGE \S+ after the reload$/,
               "$client: which goes on");
    }

    is($_->quit(), 0, "$client: left") for $alice, $bob;
}

is(Interop->start('xmppjs', host => '127.0.0.1', port => $t->port(2, 0),
                  jid => 'alice@localhost/x', password => 'wrong',
                  ca => $t->ca_file())->quit(5), 1,
   'a wrong password is refused');

$t->done();
