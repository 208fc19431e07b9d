#!/usr/bin/perl

# Messages that were kept, for a client that does not read as fast as they come
# behind what else it asks for at a login: it is not closed for them (XEP-0160,
# 2), or it would be at each login, and never get them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

my $t = Test::XMPP->new(users => [ qw/ alice bob / ], workers => 1)
                  ->only_ours('has limits of its own');

$t->config(<<'EOF_CONF');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis         unix:%%REDIS%%;
    xmpp_starttls      on;
    xmpp_max_stanza    32k;
    xmpp_output_queue  64k;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%% sndbuf=32k;
        xmpp_c2s;
    }
}
EOF_CONF
$t->run();

my %plain = (tls => 'none', mechanism => 'SCRAM-SHA-256');
my $bob = $t->online('bob', %plain);
my $first = $t->client('alice', %plain)->login();

# what she asks for at each login: more than the socket takes, but by itself not
# more than may wait for her

my $n = 26;

for my $i (1 .. $n) {
    $first->query('set', undef, "<query xmlns='jabber:iq:private'>"
                  . "<x xmlns='x$i'>" . 'p' x 4500 . '</x></query>');
}

$first->close();
my $alice = "alice\@" . $t->domain();

for my $i (1 .. 20) {
    $bob->message($alice, "m$i " . 'x' x 4000, type => 'chat');
    $bob->sync();
}

is(scalar $bob->drain(), 0, 'twenty messages are kept');

my $slow = $t->client('alice', resource => 'slow', %plain,
                      rcvbuf => 4096)->login();

$slow->send(join '', map { "<iq type='get' id='p$_'>"
                           . "<query xmlns='jabber:iq:private'>"
                           . "<x xmlns='x$_'/></query></iq>" } 1 .. $n);
$slow->presence();

# she reads when the first page has come to the worker

my $key = "xmpp:{$alice}:sessions";

ok(Test::XMPP::Process::await(sub {
    ($t->redis()->command('HGET', $key, 'rslow') // '') =~ / 0 \S+$/
}), 'she is available');
$bob->sync() for 1 .. 3;

my @got;

while (@got < 20 and my $stanza = $slow->recv_stanza()) {
    push @got, $stanza->body() =~ /^(\w+)/ if $stanza->is('message');
}

is_deeply(\@got, [ map { "m$_" } 1 .. 20 ], 'the client stays, and gets all');
ok($slow->sync(), 'and goes on');
unlike($t->read_log(), qr/client does not read/, 'it was not closed');

$t->done();
