#!/usr/bin/perl

# nginx without Redis: it starts, reloads and tests its configuration whatever
# state Redis is in; logins are refused for now (RFC 6120, 6.5.9); and when
# Redis comes or comes back, all goes on without a restart or a reconnect.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/traffic";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Time::HiRes qw/ time /;
use Traffic;

my $clients = 20;
my $t = Test::XMPP->new(hosts => 0, workers => 2, users => [ qw/ alice bob / ],
                        redis => { appendonly => 'yes',
                                   appendfsync => 'always' });

$t->only_ours('stops Redis');
$t->config(Traffic::config(<<'EOF'));
xmpp_redis unix:%%REDIS%%;
    xmpp_redis_timeout 2s;
    xmpp_redis_connect_timeout 1s;
EOF
$t->run();

Traffic::accounts($t, $clients);

my $redis = $t->redis();
my %ns = %Test::XMPP::Client::NS;


###############################################################################
# Redis is away

$redis->stop();

my $one = $t->start_host(idle => 1);
my ($status, $output) = $one->test_config();

is($status, 0, 'nginx -t does not need Redis') or diag($output);

$one->start();
$t->start_host();

for my $host (0, 1) {
    for my $mechanism (qw/ SCRAM-SHA-256 PLAIN /) {
        refused("host $host: $mechanism", $host, $mechanism);
    }
}

refused('unknown user', 0, 'SCRAM-SHA-1', 'nobody', 'x');

my $pid = $one->pid();
$one->reload();
is($one->pid(), $pid, 'a reload without Redis');
refused('after the reload', 0, 'SCRAM-SHA-512');


# a login is refused for now, within the timeouts

sub refused {
    my ($name, $host, $mechanism, $user, $password) = @_;

    my $client = $t->client($user // 'alice', on => $host,
                            mechanism => $mechanism,
                            $password ? (password => $password) : ());
    my $started = time();

    $client->secure();
    my $failure = $client->authenticate();

    ok($failure && $failure->is('failure', $ns{sasl}),
       "$name: refused") or return;
    is($failure->error(), 'temporary-auth-failure',
       "RFC 6120, 6.5.9: $name: temporary-auth-failure");
    cmp_ok(time() - $started, '<', 5, "$name: soon");
    $client->drop();
}


###############################################################################
# Redis comes

$redis->start();

my ($alice, $bob);

$alice = come('alice', 0);
$bob = come('bob', 1);
ok($alice && $bob, 'logins work without a restart');

talk('Redis came');


# Tries until the workers have found Redis.

sub come {
    my ($user, $host) = @_;
    my $client;

    Test::XMPP::Process::await(sub {
        $client = eval { $t->online($user, on => $host) };
    }, 20) or diag($@);

    return $client;
}


# Both ways: numbered messages, each once and in order.  The first is tried
# until it arrives: the workers may not yet be back, and say so.

sub talk {
    my ($name) = @_;

    my %heard = (alice => 0, bob => 0);

    for ([ $alice, $bob ], [ $bob, $alice ]) {
        my ($from, $to) = @$_;
        my $try = 0;

        my $heard = Test::XMPP::Process::await(sub {
            $from->message($to->jid(), "$name: try " . ++$try);
            $from->sync();
            $_->fill() for $from, $to;
            return grep { $_->[0] eq 'stanza'
                          && ($_->[1]->body() // '') =~ /^\Q$name\E: try/ }
                   @{ $to->{events} };
        }, 20);

        ok($heard, "$name: " . $from->who() . ' reaches ' . $to->who());

        # behind all tries: Redis answers who sent one before it rings for it

        my $mark = 'mark-' . $from->id();

        $from->message($to->jid(), $mark, type => 'headline');
        ok($to->pick('message', body => $mark), 'and nothing is on its way');
        $from->sync();
        $_->drain() for $from, $to;
    }

    $alice->message($bob->jid(), "$name $_") for 1 .. 50;
    is_deeply([ map { my $m = $bob->pick('message'); $m && $m->body() }
                1 .. 50 ], [ map { "$name $_" } 1 .. 50 ],
              "$name: each once and in order");
    ok($bob->expect_nothing(from => $alice), "$name: and no more");
}


###############################################################################
# Redis goes and comes back, under live sessions

for my $how (qw/ stop kill9 /) {
    $redis->$how();

    ok($_->sync(), "$how: " . $_->who() . ' stays, and is answered')
        for $alice, $bob;

    # what cannot be routed now is said, or waits: never is it just gone

    my $id = $alice->message($bob->jid(), "during $how", id => "away-$how");

    refused("$how: a login", 0, 'SCRAM-SHA-256');
    $redis->start();

    my $fate = fate($id, "during $how");
    like($fate, qr/^(?:delivered|wait)$/, "$how: a message meanwhile: $fate");

    talk("after $how");
    ok(!defined $_->{eof}, "$how: " . $_->who() . ' is still there')
        for $alice, $bob;
}


# Delivered, or returned with an error of type wait: which comes first

sub fate {
    my ($id, $body) = @_;
    my $fate = 'nothing';

    Test::XMPP::Process::await(sub {
        $_->fill() for $alice, $bob;

        for my $event (@{ $alice->{events} }) {
            next if $event->[0] ne 'stanza'
                    || ($event->[1]->attr('id') // '') ne $id;
            ($fate) = split ' ', $event->[1]->error();
        }

        $fate = 'delivered' if grep { $_->[0] eq 'stanza'
                                      && ($_->[1]->body() // '') eq $body }
                               @{ $bob->{events} };

        return $fate ne 'nothing';
    }, 20);

    $_->sync(), $_->drain() for $alice, $bob;

    return $fate;
}


###############################################################################
# Redis restarts in the middle of traffic: what was on its way through it when
# it ended may be lost, as long as there is no inbox.  What is sent meanwhile
# and later is delivered or returned, nothing is doubled or reordered, and
# nobody is cut off.

my $traffic = Traffic->start(targets => Traffic::targets($t, 0),
    ca => $t->ca_file(), accounts => Traffic::accounts_file($t, $clients),
    messages => 0, control => 1, iq => 0, presence => 0, window => 40,
    progress => 200, reconnect => 1, round => 1, stall => 40);

for my $how (qw/ stop kill9 /) {
    $traffic->wait(qr/^progress:/) for 1 .. 3;
    $redis->$how();
    $traffic->tell('forget');
    $redis->start();
}

$traffic->wait(qr/^progress:/, 60) for 1 .. 4;
$traffic->tell('finish');

my $result = $traffic->result();

Traffic::clean($result, 'Redis restarted in traffic: each once and in order');
is($result->{closes}, 0, 'nobody was cut off');
is($result->{logins}, $clients, 'nobody came back');

$_->close() for $alice, $bob;

$t->done();
