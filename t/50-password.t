#!/usr/bin/perl

# The password, changed by its user: XEP-0077, 3.3.  alice has a session on
# each host; whoever is in plain.test has a stream without TLS.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

my $t = Test::XMPP->new(hosts => 2, users => [ qw/ alice bob dora / ],
                        domains => [ qw/ localhost second.test anon.test
                                         plain.test / ]);

$t->config(<<'EOC');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis          unix:%%REDIS%%;
    xmpp_redis_timeout  1s;

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

    xmpp_host plain.test {
        ssl_certificate      %%TESTDIR%%/plain.test.pem;
        ssl_certificate_key  %%TESTDIR%%/plain.test.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }

    server {
        listen  127.0.0.1:%%PORT_1%%;
        xmpp_starttls  off;
        xmpp_c2s;
    }
}
EOC

$t->run();

my $domain = $t->domain();
my $ns = 'jabber:iq:register';

my $alice = $t->client('alice', resource => 'a', on => 0)->login();
my $alice2 = $t->client('alice', resource => 'b', on => 1)->login();
my $bob = $t->client('bob', resource => 'c', on => 1)->login();


# An iq; the answer

sub register {
    my ($client, $type, $inner, $to) = @_;

    return $client->query($type, $to, "<query xmlns='$ns'>$inner</query>");
}


sub change {
    my ($client, $user, $password, $to) = @_;

    return register($client, 'set', "<username>$user</username>"
                                    . "<password>$password</password>", $to);
}


# Whether this password logs in by that mechanism, on that host

sub logs_in {
    my ($user, $password, $mechanism, $on) = @_;

    my $client = $t->client($user, password => $password, on => $on // 1,
                            mechanism => $mechanism // 'SCRAM-SHA-256');
    my $done = eval { $client->login(); 1 };

    $client->drop();

    return $done // 0;
}


###############################################################################
# What is on file

my $answer = register($alice, 'get', '', $domain);

is($answer->attr('type'), 'result', 'XEP-0077, 3.1: asked');
is($answer->find("*/*[local-name()='username']"), 'alice', 'the name');
ok($answer->test("count(*/*[local-name()='registered']) = 1"),
   'XEP-0077, 3.1: who is registered is told so')
    if $t->peer() ne 'prosody';
ok($answer->test("not(string(*/*[local-name()='password']))"),
   'but no password');


###############################################################################
# A new one

is(change($alice, 'alice', 'new-secret', $domain)->attr('type'), 'result',
   'XEP-0077, 3.3: a new password');

for my $mechanism ($t->ours() ? qw/ SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-512
                                    PLAIN /
                              : qw/ SCRAM-SHA-1 PLAIN /)
{
    ok(logs_in('alice', 'new-secret', $mechanism), "it logs in: $mechanism");
    ok(!logs_in('alice', 'alice-secret', $mechanism),
       "the old one does not: $mechanism");
}

ok($alice->sync(), 'the session goes on');

if ($t->ours()) {
    ok($alice2->sync(), 'and so does another one');

    $answer = change($alice2, 'ALICE', 'x &lt;é&#xAA;', undef);
    is($answer->attr('type'), 'result', 'to oneself, a name to be prepared');
    ok(logs_in('alice', 'x <éa', 'SCRAM-SHA-512', 0),
       'RFC 4013: a password is prepared as at a login');
}

# what changes nothing

my $now = $t->ours() ? 'x <éa' : 'new-secret';

like(register($alice, 'set', '<username>alice</username>', $domain)->error(),
     qr/bad-request/, 'XEP-0077, 3.3: none');

# which takes it for a password; the other one has an error of its own

if ($t->peer() ne 'prosody') {
    my $bad = $t->ours() ? qr/bad-request/ : qr/bad-request|not-allowed/;

    like(change($alice, 'alice', '', $domain)->error(), $bad,
         'XEP-0077, 3.3: an empty one');
    like(register($alice, 'set', '<username>alice</username><password/>',
                  $domain)->error(), $bad, 'XEP-0077, 3.3: no data');
}

ours() if $t->ours();

ok(logs_in('alice', $now, 'SCRAM-SHA-1'), 'none of them has changed it');
ok(logs_in('bob', 'bob-secret', 'SCRAM-SHA-1'), 'nor that of bob');

$_->drop() for $alice, $alice2, $bob;

$t->done();


###############################################################################

sub ours {
    is(register($alice, 'set', '<password>p</password>', $domain)->error(),
       'modify bad-request', 'XEP-0077, 3.3: no name');

    my $refused = change($alice, 'bob', 'p4ssw0rd', $domain);

    is($refused->error(), 'modify bad-request', 'that of another user');
    unlike($refused->to_string(), qr/p4ssw0rd/,
           'XEP-0077, 3.3: an error does not have what was sent');
    is(change($alice, 'alice', "a\x{200}\x{E000}", $domain)->error(),
       'modify not-acceptable', 'RFC 4013: it cannot be prepared');
    is(change($alice, 'alice', 'a' x 1025, $domain)->error(),
       'modify not-acceptable', 'longer than xmppctl takes');
    is(change($alice, 'alice', 'p', 'second.test')->error(),
       'cancel service-unavailable', 'at a domain where it is off');
    is(change($alice, 'alice', 'p', 'anon.test')->error(),
       'cancel not-allowed', 'at another domain');
    is(change($alice, 'alice', 'p', "bob\@$domain")->error(),
       'cancel service-unavailable', 'to another user');

    my $dora = $t->client('dora', domain => 'second.test')->login();

    is(change($dora, 'dora', 'p')->error(), 'cancel service-unavailable',
       'xmpp_password off');
    $dora->drop();

    anonymous();
    without_tls();
    keys_of_an_account();
    trouble();
}


sub anonymous {
    my $client = $t->client('alice', domain => 'anon.test');

    $client->secure();
    $client->send("<auth xmlns='$Test::XMPP::Client::NS{sasl}'"
                  . " mechanism='ANONYMOUS'/>");
    $client->recv_stanza();
    $client->open_stream();
    $client->bind();

    my ($name) = split /@/, $client->jid();

    is(change($client, $name, 'p')->error(), 'cancel not-allowed',
       'an address for the time being has no password');
    is(register($client, 'get', '')->error(), 'cancel not-allowed',
       'and nothing on file');
    is($t->redis()->command('EXISTS', "xmpp:{$name\@anon.test}:account"), 0,
       'no account is made of it');
    $client->drop();
}


sub without_tls {
    $t->add_user('carl', 'plain.test', 'carl-secret');

    my $carl = $t->client('carl', domain => 'plain.test', tls => 'none',
                          port_number => 1,
                          mechanism => 'SCRAM-SHA-256')->login();

    is(change($carl, 'carl', 'p')->error(), 'auth not-authorized',
       'XEP-0077, 3.3: not without TLS');
    $carl->drop();
}


# How keys are made, and what of the old ones goes

sub keys_of_an_account {
    my $redis = $t->redis();
    my $key = "xmpp:{bob\@$domain}:account";

    $t->xmppctl("first\n", '--iterations', 12345, '--digest-md5', 'passwd',
                "bob\@$domain");

    my %before = @{ $redis->command('HGETALL', $key) };

    is(change($bob, 'bob', 'bob-secret')->attr('type'), 'result',
       'one with more iterations');

    my %after = @{ $redis->command('HGETALL', $key) };

    like($before{'digest-md5'}, qr/^[0-9a-f]{32}$/, 'there was a secret');
    is($after{'digest-md5'}, undef, 'that of the old password does not stay');
    is($after{created}, $before{created}, 'it is the same account');

    for my $hash (qw/ scram-sha-1 scram-sha-256 scram-sha-512 /) {
        my ($n, $salt) = split /,/, $after{$hash};
        my (undef, $old) = split /,/, $before{$hash};

        is($n, 12345, "$hash: its iterations stay");
        isnt($salt, $old, "$hash: the salt is new");
    }

    # which a client could keep all processors busy with

    my @errors = map { change($bob, 'bob', 'bob-secret')->error() } 1 .. 10;

    is_deeply(\@errors, [ (undef) x 9, 'wait resource-constraint' ],
              'ten within a minute, and no more');
    is(change($alice, 'alice', 'x &lt;éa')->attr('type'), 'result',
       'of that account');
}


sub trouble {
    my $redis = $t->redis();

    $redis->pause();
    is(change($alice, 'alice', 'lost')->error(), 'wait resource-constraint',
       'Redis is silent: wait');
    ok($_->sync(), 'all else is answered') for $alice, $alice2;
    $redis->resume();

    ok(Test::XMPP::Process::await(sub {
           change($alice, 'alice', 'x &lt;éa')->attr('type') eq 'result' }),
       'Redis is back');

    # who goes while the thread works is served to the end; the worker lives

    my $gone = $t->client('alice', password => 'x <éa', resource => 'g',
                          on => 0)->login();

    $gone->iq('set', undef, "<query xmlns='$ns'><username>alice</username>"
                            . "<password>of-the-gone</password></query>");
    $gone->drop();

    ok(Test::XMPP::Process::await(sub {
           logs_in('alice', 'of-the-gone', 'SCRAM-SHA-1') }),
       'the client goes: it is changed all the same');
    is(change($alice, 'alice', 'x &lt;éa')->attr('type'), 'result',
       'and can be changed again');

    # a late one of a session whose record is another's, or of no account

    $redis->command('HDEL', "xmpp:{alice\@$domain}:sessions", 'ra');
    is(change($alice, 'alice', 'fenced')->error(), 'wait resource-constraint',
       'cluster.md, 4: no record');

    is_deeply($redis->command('FCALL', 'xmpp1_password', 2,
                              'xmpp:{x@y}:account', 'xmpp:{x@y}:sessions',
                              'r', 's', 1, 'scram-sha-1', 'k'),
              [ 'conflict', '0' ], 'of an account that was removed');
    is($redis->command('EXISTS', 'xmpp:{x@y}:account'), 0, 'none is made');
}
