#!/usr/bin/perl

# Redis is full (maxmemory, noeviction): it refuses what needs memory before it
# runs it, so the sender is told to wait (RFC 6120, 8.3.3.18), nothing is lost
# in silence, and a session's end is written all the same.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

my $t = Test::XMPP->new(hosts => 2, users => [ qw/ alice bob / ]);

$t->only_ours('fills Redis');
$t->run();

my $redis = $t->redis();
my $alice = $t->online('alice', resource => 'a');
my $bob = $t->online('bob', resource => 'b', on => 1);

$redis->command('CONFIG', 'SET', 'maxmemory', '1');

my $id = $alice->message('bob@localhost', 'full');

ok($alice->expect('message', type => 'error', id => $id,
                  error => 'wait resource-constraint'),
   'a message that Redis refused comes back');

$alice->presence(priority => 3);

ok($alice->expect('presence', type => 'error',
                  error => 'wait resource-constraint'),
   'and presence');

$bob->close();
ok(Test::XMPP::Process::await(sub { !$redis->command('HEXISTS',
       'xmpp:{bob@localhost}:sessions', 'rb') }),
   "a session's end needs no memory");

$redis->command('CONFIG', 'SET', 'maxmemory', '0');

$bob = $t->online('bob', resource => 'b', on => 1);
$alice->message('bob@localhost', 'again');
ok($bob->expect('message', body => 'again'), 'all goes on');

$t->done();
