#!/usr/bin/perl

# Sessions that may be resumed, whose worker has died or drained and whose
# clients do not come: another worker has them, until their time is over
# (XEP-0198, 5, 8; cluster.md, rules 5 and 14).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Resume;
use Test::XMPP::Roster;

my $t = Test::XMPP->new(hosts => 3, workers => 1,
                        domains => [ qw/ localhost second.test / ],
                        users => [ qw/ alice bob carol /,
                                   [ 'dora', 'second.test', 'dora-secret' ] ]);

$t->only_ours('kills hosts');

$t->config(<<'EOT');
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

    xmpp_host second.test {
        ssl_certificate      %%TESTDIR%%/second.test.pem;
        ssl_certificate_key  %%TESTDIR%%/second.test.key;
        xmpp_sm_timeout      1s;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
EOT

$t->run();

my $redis = $t->redis();
my $sm = Test::XMPP::Resume->new($t);
my $ping = "<ping xmlns='urn:xmpp:ping'/>";

Test::XMPP::Roster::befriend($t, 'alice', 'carol', 'both');

my $bob = $t->online('bob', on => 2, resource => 'b');
my $carol = $t->online('carol', on => 2, resource => 'c');
my $witness = $t->online('dora', on => 2, domain => 'second.test',
                         resource => 'w');


sub record {
    my ($client) = @_;
    my ($bare, $resource) = split m{/}, $client->jid(), 2;

    return $redis->command('HGET', "xmpp:{$bare}:sessions", "r$resource") // '';
}

# another worker has it now

sub adopted {
    my ($client, $was) = @_;
    my $boot = (split / /, $was)[2];

    return Test::XMPP::Process::await(sub {
        my @now = split / /, record($client);
        my ($bare) = split m{/}, $client->jid();

        return $now[2] ne $boot && $now[4] =~ /d/
               && !$redis->command('HEXISTS',
                                   "xmpp:{$bare}:sm:$now[1]", 'take');
    });
}

sub chat {
    my ($to, @bodies) = @_;

    $bob->message($to, $_, type => 'chat') for @bodies;
    $bob->sync();
}

my %ends = (
    'killed' => sub {
        $t->host(0)->kill_host();
        $t->host(0)->start();
    },
    'drained' => sub { $t->host(0)->reload() }
);


###############################################################################
# The client comes late

for my $how (sort keys %ends) {
    for my $host (0 .. 2) {
        my $alice = $sm->resumable('alice', on => 0, resource => 'r');

        $carol->pick('presence', from => $alice->jid());
        $sm->ack($alice);

        my $h = $sm->handled($alice);
        my $seen = $alice->{stanzas};
        my $was = record($alice);

        chat($alice->jid(), 'one');
        $alice->pick('message', body => 'one');
        $carol->drain();

        $ends{$how}->();
        chat($alice->jid(), 'two');
        ok(adopted($alice, $was), "$how: another worker has it");
        chat($alice->jid(), 'three');

        my $new = $sm->resumed($alice, on => $host, h => $seen);

        ok($new, "resumed on host $host");
        is($new->{handled}, $h, 'what was handled');
        is($sm->got($new, 'three'), 'one two three',
           'what was kept comes, in order');
        $sm->ack($new);
        ok($carol->expect_nothing(from => $bob), 'contacts heard nothing');
        chat($new->jid(), 'four');
        is($sm->got($new, 'four'), 'four', 'and it goes on');
        $sm->ack($new);
        $new->close();
        ok($carol->pick('presence', from => $new->jid(),
                        type => 'unavailable'), 'until it ends');
        Test::XMPP::Process::await(sub { !record($new) })
            or die "the record stays\n";
    }
}


###############################################################################
# It does not come

for my $how (sort keys %ends) {
    my $dora = $sm->resumable('dora', on => 0, domain => 'second.test',
                              resource => 's');
    my $jid = $dora->jid();

    $witness->pick('presence', from => $jid);
    $sm->ack($dora);
    $dora->message($witness->jid(), 'mine', type => 'chat');
    $witness->pick('message', body => 'mine');

    my $h = $sm->handled($dora);

    $witness->message($jid, 'to dora', type => 'chat');
    $witness->iq('get', $jid, $ping, id => 'asked');
    $dora->pick('iq', id => 'asked');
    $witness->drain();

    $ends{$how}->();
    $dora->drop();
    ok($witness->pick('presence', from => $jid, type => 'unavailable'),
       "$how: its time is over, and it ends");

    if ($how eq 'drained') {
        ok($witness->pick('iq', type => 'error', id => 'asked'),
           'XEP-0198, 8: what was not acknowledged comes back');
    }

    ok($witness->pick('message', body => 'to dora'),
       'cluster.md, rule 9: or is for others')
        if $how eq 'killed' or 1;

    my $late = $sm->resume($sm->back($dora, on => 1), $dora->{stanzas});

    ok($late->expect('failed', h => $h),
       'XEP-0198, 5: who comes too late hears what was handled');
    $late->drop();
    $witness->drain();
}

is_deeply([ grep { /:sessions$/ && !/alice|bob|carol|dora/ }
            @{ $redis->command('KEYS', '*') } ], [], 'nothing else is left');


###############################################################################
# Nobody may have it any more: it ends

{
    my $alice = $sm->resumable('alice', on => 0, resource => 'x');

    $carol->pick('presence', from => $alice->jid());
    $sm->ack($alice);
    $carol->drain();
    $redis->command('HSET', 'xmpp:{alice@localhost}:account', 'disabled',
                    '2026-01-01T00:00:00Z');
    $t->host(0)->kill_host();
    ok($carol->pick('presence', from => $alice->jid(), type => 'unavailable'),
       'its account was disabled when its worker died: it ends');
    ok(Test::XMPP::Process::await(sub { !record($alice) }),
       'and leaves no record');
    $redis->command('HDEL', 'xmpp:{alice@localhost}:account', 'disabled');
    $alice->drop();
    $t->host(0)->start();
}


###############################################################################
# It has waited elsewhere before: it does so for the rest of its time, or an
# eighth of it

{
    my $alice = $t->client('alice', on => 0, resource => 'y')->login();

    $alice->send("<enable xmlns='urn:xmpp:sm:3' resume='true' max='32'/>");
    $alice->pick('enabled', max => 32) or die "not enabled\n";
    $alice->available();
    $sm->lose($alice);

    my $was = record($alice);
    my $hash = 'xmpp:{alice@localhost}:sm:' . (split / /, $was)[1];

    $redis->command('HSET', $hash, 'since', time() * 1_000_000 - 31_000_000);
    $t->host(0)->kill_host();
    ok(adopted($alice, $was), 'it has waited before: another worker has it');
    ok(Test::XMPP::Process::await(sub { !record($alice) }, 20),
       'for the rest of its time');
    $t->host(0)->start();
    $carol->drain();
}


###############################################################################
# Its worker stands still for longer than the lease, and comes back

{
    my $alice = $sm->resumable('alice', on => 0, resource => 'z');

    $carol->pick('presence', from => $alice->jid());
    $sm->ack($alice);
    $carol->drain();

    my $h = $sm->handled($alice);
    my $was = record($alice);

    kill 'STOP', $_ for $t->host(0)->workers();
    ok(adopted($alice, $was), 'it stands still: another worker has it');
    kill 'CONT', $_ for $t->host(0)->workers();

    $alice->drain();
    ok($alice->expect_eof(),
       'its connection ends without a word: the client may come back');

    my $new = $sm->resumed($alice, on => 0);

    ok($new && $new->{handled} == $h, 'and does');
    ok($carol->expect_nothing(from => $bob), 'contacts heard nothing');
    $new->close();
}

$t->done();
