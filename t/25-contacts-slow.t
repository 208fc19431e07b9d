#!/usr/bin/perl

# Presence of contacts for a client that does not read as fast as it comes, all
# of it at once at a login (RFC 6121, 4.3.2): what does not find room is left
# out, and the client stays.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Roster;

my $t = Test::XMPP->new(users => [ qw/ alice bob carol / ], workers => 1)
                  ->only_ours('has limits of its own');

$t->config(<<'EOF');
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
EOF
$t->run();

my %plain = (tls => 'none', mechanism => 'SCRAM-SHA-256');
my $n = 22;

befriend($t, 'alice', 'bob', 'both');

my $carol = $t->online('carol', resource => 'c', %plain);

my @bobs;

for my $i (1 .. $n) {
    push @bobs, $t->client('bob', resource => "b$i", %plain)->login();
    $bobs[-1]->presence(status => 'x' x 8000);
    $_->sync(), $_->drain() for @bobs;
}

my $alice = $t->client('alice', resource => 'a', %plain,
                       rcvbuf => 4096)->login();

$alice->presence();
ok($t->await_log(qr/xmpp spares "alice\@localhost\/a" presence of contacts/),
   'more presence than finds room: a line in the log');
$carol->message($alice->jid(), 'behind it', type => 'chat');
ok($alice->pick('message', body => 'behind it'), 'the client stays');
ok($alice->sync(), 'and goes on');

my %seen = map { $_->attr('from') => 1 } grep { $_->is('presence') }
           $alice->drain();

delete $seen{ $alice->jid() };
cmp_ok(scalar keys %seen, '<', $n, 'it has not got all');
cmp_ok(scalar keys %seen, '>', 3, 'but what found room');
is(scalar(() = $t->read_log() =~ /xmpp spares/g), 1, 'one line');

# what comes one by one does

my $told = 0;

for my $bob (@bobs) {
    $alice->presence(to => $bob->jid(), type => 'probe');
    $told++ if $alice->pick('presence', from => $bob->jid());
}

is($told, $n, 'RFC 6121, 4.3.2: asked for one by one');

$t->done();
