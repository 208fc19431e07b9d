#!/usr/bin/perl

# Last activity of the server, of accounts and of clients: XEP-0012.  alice is
# on host 0, bob on host 1; carol may not know of bob.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Roster;
use Time::HiRes qw/ time /;

my $begun = time();
my $t = Test::XMPP->new(hosts => 2, users => [ qw/ alice bob carol / ])->run();
my ($domain, $domain2) = ($t->domain(), $t->domain2());

befriend($t, 'bob', 'alice', 'from');

my $alice = $t->client('alice', resource => 'a', on => 0)->login();
my $carol = $t->client('carol', resource => 'c', on => 0)->login();
my $bob = $t->online('bob', resource => 'b', on => 1);
my $query = "<query xmlns='jabber:iq:last'/>";


# the seconds that it tells

sub seconds {
    my ($host) = @_;

    my $answer = $alice->query('get', $host, $query);

    is($answer->mismatch(type => 'result', from => $host,
                         to => $alice->jid(), xpath => [
        'count(*) = 1',
        'count(*[local-name() = "query" '
        . 'and namespace-uri() = "jabber:iq:last"]) = 1',
        'string(*) = ""',
    ]), '', "XEP-0012, 5: uptime of $host");
    return scalar $answer->find('*/@seconds');
}

for my $host ($domain, $domain2) {
    my $seconds = seconds($host);

    like($seconds, qr/^\d+$/, 'XEP-0012, 2: seconds');
    cmp_ok($seconds, '<=', time() - $begun + 1,
           'XEP-0012, 5: not longer than it has been running')
        if $t->ours();
}

ok($alice->query('get', $domain,
                 "<query xmlns='$Test::XMPP::Client::NS{info}'/>")
         ->test('info:query/info:feature[@var = "jabber:iq:last"]'),
   'XEP-0012, 6: a feature of disco');


###############################################################################
# 4: a client

sub asks {
    my ($client) = @_;
    my $id = $client->id();

    $client->send("<iq type='get' id='$id' to='" . $bob->jid()
                  . "'>$query</iq>");
    return $id;
}

asks($alice);

my $iq = $bob->pick('iq', type => 'get', from => $alice->jid());
ok($iq, 'XEP-0012, 4: who may have the presence asks the client');
$bob->send("<iq type='result' id='" . $iq->attr('id') . "' to='"
           . $alice->jid() . "'><query xmlns='jabber:iq:last' seconds='903'/>"
           . '</iq>');
ok($alice->pick('iq', type => 'result', from => $bob->jid()),
   'which answers');

asks($carol);
is($carol->recv_stanza()->error(), 'auth forbidden',
   'XEP-0012, 4: who may not is told so') if $t->ours();
ok($bob->expect_nothing(from => $alice), 'and the client is not asked')
    if $t->ours();


###############################################################################
# 3: an account

sub of {
    my ($client, $to) = @_;
    my $answer = $client->query('get', $to, $query);

    return $answer->attr('type') eq 'error' ? $answer->error()
                                            : $answer->find('*/@seconds');
}

is(of($alice, $bob->bare()), 0, 'XEP-0012, 3: 0 for one who is available')
    if $t->peer() ne 'prosody';

# peers have other conditions

for my $to ($bob->bare(), "nobody\@$domain") {
    like(of($carol, $to), $t->ours() ? qr/^auth forbidden$/ : qr/^\w+ \w/,
         "XEP-0012, 3: $to is nobody's business");
}

if ($t->ours()) {
    my $redis = $t->redis();
    my $key = 'xmpp:{' . $bob->bare() . '}:';
    my $bob2 = $t->online('bob', resource => 'b2', on => 0);

    # a time long ago, which the first to go does not change

    $redis->command('HSET', "${key}account", 'last', int(time()) - 3600);
    $bob->close();
    $bob2->pick('presence', type => 'unavailable', from => $bob->jid());
    is(of($alice, $bob->bare()), 0, 'another session is available');
    is(time() - $redis->command('HGET', "${key}account", 'last') > 3000, 1,
       'the last one is noted, and no other');

    $bob2->presence(type => 'unavailable');
    $bob2->sync();
    cmp_ok(of($alice, $bob->bare()), '<', 60,
           'XEP-0012, 3: seconds after the last one has gone');
    $bob2->presence();
    $bob2->sync();
    is(of($alice, $bob->bare()), 0, 'and comes back');

    $redis->command('HSET', "${key}account", 'last', int(time()) - 3600);
    $bob2->drop();
    ok(Test::XMPP::Process::await(sub {
        my $seconds = of($alice, $bob->bare());

        return $seconds > 0 && $seconds < 60
               || $redis->command('EXISTS', "${key}sessions") == 0;
    }), 'one that is lost goes, too');
    cmp_ok(of($alice, $bob->bare()), '<', 60, 'XEP-0012, 3: since then');

    $redis->command('HSET', "${key}account", 'last', int(time()) - 903);
    my $seconds = of($alice, $bob->bare());
    ok($seconds >= 903 && $seconds < 960, "XEP-0012, 3: $seconds s ago");

    $redis->command('HSET', "${key}account", 'last', int(time()) + 3600);
    is(of($alice, $bob->bare()), 0, 'not in the future');

    $redis->command('HDEL', "${key}account", 'last');
    is(of($alice, $bob->bare()), 'cancel item-not-found', 'never seen');

    $redis->command('SADD', "${key}blocked", $alice->bare());
    is(of($alice, $bob->bare()), 'cancel service-unavailable',
       'XEP-0191, 3.3: for one who is blocked nobody is there');

    $redis->command('HSET', 'xmpp:{' . $alice->bare() . '}:account', 'last',
                    int(time()) - 3600);
    cmp_ok(of($alice, $_), '>=', 3600, 'oneself') for undef, $alice->bare();
    $alice->presence();
    is(of($alice, undef), 0, 'oneself, available');
}


###############################################################################
# 5

if ($t->ours()) {
    is($alice->query('set', $domain, $query)->error(),
       'cancel service-unavailable', 'it is not to be set');

    # it counts

    my $first = seconds($domain);

    ok(Test::XMPP::Process::await(sub {
        return $alice->query('get', $domain, $query)->find('*/@seconds')
               > $first;
    }), 'XEP-0012, 5: it goes forward');
}

$t->done();
