#!/usr/bin/perl

# A session that may be resumed belongs to the account as its client found it,
# whoever has the name by now: XEP-0198, 5; cluster.md, rule 5.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Resume;

my $t = Test::XMPP->new(hosts => 2, workers => 1, relay => 0,
                        users => [ qw/ alice bob / ]);

$t->only_ours('kills hosts');

my $config = <<'EOC';
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis      unix:%%REDIS%%;
    xmpp_heartbeat  300ms;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
EOC

$t->config($config);
$t->config($config =~ s/%%REDIS%%/%%RELAY%%/r, host => 1);
$t->run();

my $redis = $t->redis();
my $relay = $t->relay();
my $sm = Test::XMPP::Resume->new($t);
my $bare = 'alice@localhost';
my $bob = $t->online('bob', on => 1, resource => 'b');


sub record { $redis->command('HGET', "xmpp:{$bare}:sessions", 'rr') // '' }

sub listeners {
    my ($user) = @_;
    my ($channel) = grep { /\{$user\@/ } $redis->channels() or return 0;

    return $redis->command('PUBSUB', 'SHARDNUMSUB', $channel)->[1];
}

sub await {
    my ($what, $condition) = @_;

    Test::XMPP::Process::await($condition) or die "$what\n";
}


###############################################################################
# Its worker has died; the one that has adopted it is away when the account is
# removed, and the name given to another

my $alice = $sm->resumable('alice', on => 0, resource => 'r');

$sm->ack($alice);

my ($epoch, $sid, $was) = split / /, record();

$t->host(0)->kill_host();
await('it is not adopted', sub {
    (split / /, record())[2] ne $was
        && !$redis->command('HEXISTS', "xmpp:{$bare}:sm:$sid", 'take')
});

my $boot = (split / /, record())[2];

$relay->target($t->testdir() . '/nobody');
$relay->cut();
await('host 1 hears Redis', sub { !listeners('alice') });

is(($t->xmppctl('', 'deluser', $bare))[0], 0, 'its account is removed');
$t->add_user('alice', 'localhost', 'another-secret');

# the date has seconds, and this is the same one

$redis->command('HSET', "xmpp:{$bare}:account", 'created',
                '2001-02-03T04:05:06Z');
is(record(), '', 'and another gets the name');

$relay->target($redis->socket());
await('host 1 does not come back', sub {
    record() ne '' || !$redis->command('HEXISTS', "xmpp:{$boot}:listed", $sid)
});
is(record(), '', 'the session does not go on as one of his');

$t->host(0)->start();

for my $host (0, 1) {
    my $new = $sm->resume($sm->back($alice, on => $host), $alice->{stanzas});

    ok($new->expect('failed'), "XEP-0198, 5: nor is it resumed on host $host");
    $new->drop();
}

$t->done();
