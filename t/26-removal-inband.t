#!/usr/bin/perl

# The removal of an account by its user: XEP-0077, 3.2.  alice has a session on
# each host, and contacts on both.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Roster;

*await = \&Test::XMPP::Process::await;

my $t = Test::XMPP->new(hosts => 2, users => [ qw/ alice bob carol dora / ],
                        domains => [ qw/ localhost second.test anon.test / ]);

$t->config(<<'EOC');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis          unix:%%REDIS%%;
    xmpp_redis_timeout  1s;
    xmpp_heartbeat      200ms;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    xmpp_host second.test {
        ssl_certificate      %%TESTDIR%%/second.test.pem;
        ssl_certificate_key  %%TESTDIR%%/second.test.key;
        xmpp_password        off;
    }

    xmpp_host anon.test {
        ssl_certificate       %%TESTDIR%%/anon.test.pem;
        ssl_certificate_key   %%TESTDIR%%/anon.test.key;
        xmpp_sasl_mechanisms  ANONYMOUS;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
EOC

$t->run();

my $domain = $t->domain();
my $ns = 'jabber:iq:register';

befriend($t, 'alice', 'bob', 'both');

my $alice = $t->online('alice', resource => 'a', on => 0);
my $alice2 = $t->online('alice', resource => 'b', on => 1);
my $bob = $t->online('bob', resource => 'c', on => 1);

$bob->query('get', undef, "<query xmlns='jabber:iq:roster'/>");
$t->settle($bob, $alice, $alice2);


sub cancel {
    my ($client, $inner, $to) = @_;

    return $client->query('set', $to,
                          "<query xmlns='$ns'>$inner</query>");
}


sub logs_in {
    my ($user, $password) = @_;

    my $client = $t->client($user, password => $password // "$user-secret",
                            on => 1, mechanism => 'SCRAM-SHA-1');
    my $done = eval { $client->login(); 1 };

    $client->drop();

    return $done // 0;
}


###############################################################################
# What removes nothing

refused() if $t->ours();


###############################################################################
# It is removed

is(cancel($alice, '<remove/>')->attr('type'), 'result',
   'XEP-0077, 3.2: the result comes first');

# which has another error, and tells nobody that the sessions have gone

if ($t->peer() ne 'ejabberd') {
    ok($alice->expect_stream_error('not-authorized'),
       'XEP-0077, 3.2: then the stream ends');
    $alice2->pick('presence', type => 'unavailable')
        if $t->peer() eq 'prosody';
    ok($alice2->expect_stream_error('not-authorized'),
       'XEP-0077, 3.2: all active sessions, those of another host, too');
    ok($bob->pick('presence', type => 'unavailable', from => $_->jid()),
       'RFC 6121, 4.5.2: unavailable for a contact: ' . $_->jid())
        for $alice, $alice2;
}

ok($bob->pick('presence', type => $_, from => $alice->bare()),
   "XEP-0077, 3.2: presence subscriptions are cancelled: $_")
    for qw/ unsubscribe unsubscribed /;
ok(!logs_in('alice'), 'she does not log in any more');
ok(logs_in('bob'), 'others do');

if ($t->ours()) {
    free('alice');
    interrupted();
}

$t->done();


###############################################################################

sub traces {
    my ($user) = @_;
    my ($next, $keys) = @{ $t->redis()->command('SCAN', 0, 'COUNT', 100_000) };

    return join ' ', sort grep { /\b$user@/ } @$keys;
}


# Nothing is left of the account, and another may have the name

sub free {
    my ($user) = @_;

    ok(await(sub { traces($user) eq '' }, 30), "nothing is left of $user")
        or diag(traces($user));
    is($t->redis()->command('SISMEMBER', "xmpp:accounts:$domain",
                            "$user\@$domain"), 0, 'no list has the name');
    $t->add_user($user, $domain, "$user-secret");
    ok(logs_in($user), 'and it is free');
}


sub refused {
    is(cancel($alice, "<remove/><username>alice</username>")->error(),
       'modify bad-request', 'XEP-0077, 3.2: with another child');
    is(cancel($alice, '<remove/><remove/>')->error(), 'modify bad-request',
       'XEP-0077, 3.2: twice');
    is(cancel($alice, '<remove/>', 'anon.test')->error(),
       'cancel not-allowed', 'at another domain');
    is(cancel($alice, '<remove/>', "bob\@$domain")->error(),
       'cancel service-unavailable', 'that of another user');

    my $dora = $t->client('dora', domain => 'second.test')->login();

    is(cancel($dora, '<remove/>')->error(), 'cancel service-unavailable',
       'xmpp_password off');
    $dora->drop();

    my $anonymous = $t->client('alice', domain => 'anon.test');

    $anonymous->secure();
    $anonymous->send("<auth xmlns='$Test::XMPP::Client::NS{sasl}'"
                     . " mechanism='ANONYMOUS'/>");
    $anonymous->recv_stanza();
    $anonymous->open_stream();
    $anonymous->bind();
    is(cancel($anonymous, '<remove/>')->error(), 'cancel not-allowed',
       'an address for the time being');
    $anonymous->drop();

    $t->redis()->pause();
    is(cancel($alice, '<remove/>')->error(), 'wait resource-constraint',
       'Redis is silent: wait');
    $t->redis()->resume();

    # Redis finds it in its socket when it goes on, or has to close that for
    # another reply that nobody takes any more: then it is lost

    ok(asks_again($alice), 'who asks again is removed');
    ok($alice2->expect_stream_error('not-authorized'),
       'all active sessions, of whichever of them');
    free('alice');

    befriend($t, 'alice', 'bob', 'both');
    $alice = $t->online('alice', resource => 'a', on => 0);
    $alice2 = $t->online('alice', resource => 'b', on => 1);
    $t->settle($bob, $alice, $alice2);
}


# RFC 6120, 8.3.2: until it is no wait any more; what was asked for before may
# end the stream first

sub asks_again {
    my ($client) = @_;
    my $events = $client->{events};

    for (1 .. 20) {
        $client->iq('set', undef, "<query xmlns='$ns'><remove/></query>");
        $client->wait(sub { @$events });

        my $answer = @$events && $events->[0][0] eq 'stanza'
                     && $events->[0][1]->is('iq') && shift @$events;

        last unless $answer
                    && ($answer->[1]->error() // '') =~ /^wait /;
    }

    return $client->expect_stream_error('not-authorized');
}


# With many contacts: the client goes at once, Redis or the worker do later

sub interrupted {
    my $redis = $t->redis();
    my %meanwhile = (
        'the client goes' => sub { },
        'Redis is silent for long' => sub {
            $redis->pause();
            $bob->query('get', undef, "<query xmlns='jabber:iq:roster'/>")
                for 1, 2;
            $redis->resume();
        },
        'the worker is reloaded' => sub { $t->host(0)->reload() },
        'the host dies' => sub { $t->host(0)->kill_host() }
    );

    for my $what (sort { ($a =~ /dies/) <=> ($b =~ /dies/) || $a cmp $b }
                  keys %meanwhile)
    {
        befriend($t, 'alice', 'bob', 'both');

        $redis->command('HSET', "xmpp:{alice\@$domain}:roster",
                        map { ("inobody$_\@$domain", '1 tf 0 ') } 1 .. 3000);

        my $alice = $t->online('alice', resource => 'a', on => 0);

        is(cancel($alice, '<remove/>')->attr('type'), 'result',
           "$what: removed");
        $alice->drop();
        $meanwhile{$what}->();

        ok($bob->pick('presence', type => 'unsubscribed'),
           "$what: a contact hears of it");
        free('alice');
    }
}
