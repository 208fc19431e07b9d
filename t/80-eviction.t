#!/usr/bin/perl

# A Redis that would throw keys away (maxmemory-policy): nobody logs in, the
# log says why, and a change of the policy is enough.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

my $t = Test::XMPP->new(workers => 1, users => [ qw/ alice bob / ],
                        redis => { 'maxmemory-policy' => 'allkeys-lru' });

$t->only_ours('changes Redis');
$t->run();

my $redis = $t->redis();

is(attempt(), 'temporary-auth-failure', 'RFC 6120, 6.5.9: refused');
ok($t->await_log(qr/maxmemory-policy is "allkeys-lru"; set it to noeviction/),
   'with the reason in the log');

$redis->command('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');

ok(Test::XMPP::Process::await(sub { attempt() eq 'success' }),
   'allowed when the policy was changed');

# those who are there stay

my $alice = $t->online('alice', resource => 'a');

$redis->command('CONFIG', 'SET', 'maxmemory-policy', 'volatile-ttl');
$redis->command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');

ok(Test::XMPP::Process::await(sub { attempt('bob') ne 'success' }),
   'refused again after a new connection');
$alice->message($alice->jid(), 'still here');
ok($alice->expect('message', body => 'still here'), 'sessions go on');

$t->done();


sub attempt {
    my ($user) = @_;

    my $client = $t->client($user // 'alice');

    $client->secure();

    my $outcome = $client->authenticate();

    return $outcome->is('success') ? 'success' : $outcome->error();
}
