#!/usr/bin/perl

# A command lies in the network when its connection is given up, and is
# repeated on another one.  TCP would deliver it long after that, so the
# connection is reset: each stanza comes once (cluster.md, rule 2).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/traffic";

use Test::More;
use Test::XMPP;
use Test::XMPP::Lanes;
use Test::XMPP::Process;
use Time::HiRes qw/ time /;
use Traffic;

my $t = Test::XMPP->new(hosts => 0, workers => 1,
                        users => [ qw/ alice bob carol / ]);

$t->only_ours('needs our Redis connections');

$t->run();

my $redis = $t->redis();
my $lanes = Test::XMPP::Lanes->new('tcp', $redis->socket());

for my $url ('redis:127.0.0.1:' . $lanes->port(), 'unix:' . $redis->socket()) {
    $t->start_host(config => Traffic::config("xmpp_redis $url;
        xmpp_redis_timeout 2s;"));
}

my ($alice, $carol, $bob) = map { $t->online($_->[0], on => $_->[1],
                                             resource => 'r') }
                            [ alice => 0 ], [ carol => 0 ], [ bob => 1 ];

sub await { &Test::XMPP::Process::await }


$lanes->strand('command');

my $sent = time();

$carol->message('bob@localhost', 'old', type => 'chat');
ok(await(sub { $lanes->held('stranded') > 0 }), 'the first one is under way');

# old enough for its connection to be given up, when the next one is not

await(sub { time() - $sent > 1 });

my $id = $alice->message('bob@localhost', 'young', type => 'chat');

$alice->sync();
is($bob->expect('message')->attr('id'), $id,
   'the second one is repeated on a new connection');

$lanes->release('stranded');
ok(await(sub { $lanes->held('stranded') == 0 }), 'the network is back');

my $next = $alice->message('bob@localhost', 'next', type => 'chat');

is($bob->expect('message')->attr('id'), $next,
   'cluster.md, 2: nothing arrives behind its repeat');
ok($t->await_log(qr/got no reply within the timeout/), 'the log says so');

$t->done();
