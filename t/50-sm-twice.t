#!/usr/bin/perl

# A session whose worker was killed, and which moves on before the next worker
# has asked for the presence of others: cluster.md, rule 14; XEP-0198, 5.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Resume;
use Test::XMPP::Roster;

my $t = Test::XMPP->new(hosts => 3, workers => 1, relay => 0,
                        users => [ qw/ alice carol / ]);

$t->only_ours('kills workers');

my $config = <<'EOC';
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis      unix:%%REDIS%%;
    xmpp_heartbeat  60s;

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

# host 1 is far from Redis: what it asks for takes a while

$t->config($config);
$t->config($config =~ s/%%REDIS%%/%%RELAY%%/r, host => 1);
$t->run();

my $sm = Test::XMPP::Resume->new($t);

Test::XMPP::Roster::befriend($t, 'alice', 'carol', 'both');

my $carol = $t->online('carol', on => 2, resource => 'c');

for my $how ('it is bound', 'it waits') {
    $carol->available();

    my $alice = $sm->resumable('alice', on => 0, resource => 'r');

    $carol->pick('presence', from => $alice->jid());
    $sm->ack($alice);
    $alice->drain();
    $t->host(0)->kill_worker();
    $alice->wait(sub { defined $alice->{eof} });

    # nobody has that for her

    $carol->presence(show => 'away');
    $carol->sync();

    $t->relay()->delay(100);

    my $new = $sm->resumed($alice, on => 1);

    ok($new, "$how: resumed on another");
    $new->drop() if $how eq 'it waits';

    my $last = $sm->resumed($new, on => 2, h => $alice->{stanzas});

    ok($last, 'and on a third');
    ok($last->pick('presence', from => $carol->jid(),
                   xpath => "string(*[local-name() = 'show']) = 'away'"),
       'presence of others as it is');
    $t->relay()->delay(0);
    $new->drop();
    $last->close();
    $carol->pick('presence', from => $alice->jid(), type => 'unavailable');
}

$t->done();
