#!/usr/bin/perl

# Both counts of XEP-0198, 4, where they go from 4294967295 to 0: here, when the
# session goes to another worker, and when that has to rebuild it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Resume;

my $t = Test::XMPP->new(hosts => 2, workers => 1, users => [ qw/ alice bob / ]);

$t->only_ours('kills workers');

$t->config(<<'EOC');
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

$t->run();

my $redis = $t->redis();
my $sm = Test::XMPP::Resume->new($t);
my $wrap = 2 ** 32;


sub sm_hash {
    my ($client) = @_;

    return 'xmpp:{alice@localhost}:sm:'
           . (split / /, $redis->command('HGET',
                                         'xmpp:{alice@localhost}:sessions',
                                         'rr'))[1];
}

# it has handled $in of its client, who has got $out, and is rebuilt on $host

sub rebuilt {
    my ($client, $in, $out, $host) = @_;

    $sm->ack($client);
    $sm->handled($client);
    $redis->command('HSET', sm_hash($client), 'handled', $in);
    $t->host(1 - $host)->kill_worker();
    $client->wait(sub { defined $client->{eof} });

    my $new = $sm->resumed($client, on => $host, h => $out % $wrap);

    is($new->{handled}, $in % $wrap, "$in were handled");

    return $new;
}


my $alice = $sm->resumable('alice', on => 0, resource => 'r');

$alice = rebuilt($alice, $wrap - 3, $wrap - 2, 1);

my $bob = $t->online('bob', on => 1, resource => 'b');

# what its client sends

$alice->message($bob->jid(), $_, type => 'chat') for 1 .. 2;
is($sm->handled($alice), $wrap - 1, 'inbound: 4294967295');
$alice->message($bob->jid(), 3, type => 'chat');
is($sm->handled($alice), 0, 'inbound: 0');
$alice->message($bob->jid(), $_, type => 'chat') for 4 .. 5;
is($sm->handled($alice), 2, 'inbound: beyond it');
is($sm->got($bob, '5'), '1 2 3 4 5', 'all have come');

# what it gets

for (1 .. 5) {
    $bob->message($alice->jid(), $_, type => 'chat');
    $alice->pick('message', body => $_);
}

$alice->send("<a xmlns='urn:xmpp:sm:3' h='" . ($wrap - 1) . "'/>");
$alice->send("<a xmlns='urn:xmpp:sm:3' h='1'/>");
ok($alice->sync(), 'outbound: acknowledged to either side of it');
ok(Test::XMPP::Process::await(sub {
    $redis->command('XLEN', 'xmpp:{alice@localhost}:inbox') == 2
}), 'all but two are taken');

# to another worker; the answer to the ping came behind them

my $new = $sm->resumed($alice, on => 0, h => 2);

ok($new, 'given away: resumed');
is($new->{handled}, 3, 'inbound: with the ping');
is($sm->got($new, '5'), '5', 'outbound: what is not acknowledged');
$sm->ack($new);
ok(Test::XMPP::Process::await(sub {
    !$redis->command('EXISTS', 'xmpp:{alice@localhost}:inbox')
}), 'then all is taken');

# Redis knows the whole count, of which the client has the lower half

$new = rebuilt($new, $wrap + 7, 5, 1);
$new->message($bob->jid(), 'last', type => 'chat');
is($sm->handled($new), 8, 'inbound: more than once round');
$new->send("<a xmlns='urn:xmpp:sm:3' h='4294967295'/>");
ok($new->sync(), 'XEP-0198, 4: taken back, which changes nothing');
$new->send("<a xmlns='urn:xmpp:sm:3' h='100'/>");
ok($new->pick('error', error => 'undefined-condition'),
   'XEP-0198, 6: for more than was sent');

$t->done();
