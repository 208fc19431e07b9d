#!/usr/bin/perl

# What happens while a session goes from one host to another, step by step:
# XEP-0198, 4, 5; cluster.md, rules 2, 4, 6 and 8.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Resume;

my $t = Test::XMPP->new(hosts => 3, workers => 1, relay => 0,
                        users => [ qw/ alice bob / ]);

$t->only_ours('has several hosts');

my $config = <<'EOT';
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis      unix:%%REDIS%%;
    xmpp_heartbeat  %%HEARTBEAT%%;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
EOT

# Host 1 is far from Redis; it cleans up after host 0, which nobody else does.

$t->config($config =~ s/%%HEARTBEAT%%/60s/r);
$t->config($config =~ s/%%HEARTBEAT%%/300ms/r, host => 0);
$t->config($config =~ s/%%HEARTBEAT%%/300ms/r =~ s/%%REDIS%%/%%RELAY%%/r,
           host => 1);
$t->run();

my $redis = $t->redis();
my $sm = Test::XMPP::Resume->new($t);
my $ping = "<ping xmlns='urn:xmpp:ping'/>";
my $bob = $t->online('bob', on => 2, resource => 'b');


sub chat {
    my ($to, @bodies) = @_;

    $bob->message($to, $_, type => 'chat') for @bodies;
    $bob->sync();
}

sub await {
    my ($what, $condition) = @_;

    Test::XMPP::Process::await($condition) or die "$what\n";
}

# how many workers listen for an account

sub listeners {
    my ($user) = @_;
    my ($channel) = grep { /\{$user\@/ } $redis->channels() or return 0;

    return $redis->command('PUBSUB', 'SHARDNUMSUB', $channel)->[1];
}

sub record {
    my ($client) = @_;
    my ($bare, $resource) = split m{/}, $client->jid(), 2;

    return $redis->command('HGET', "xmpp:{$bare}:sessions", "r$resource") // '';
}

sub gone {
    my ($client) = @_;

    $sm->ack($client);
    $client->close();
    await('the record stays', sub { !record($client) });
}


###############################################################################
# Who takes it listens already, and has not taken it: what comes then is for who
# has it, and goes along with all else

{
    my $alice = $sm->resumable('alice', on => 0, resource => 'r');

    $sm->ack($alice);
    $alice->drain();

    my $seen = $alice->{stanzas};

    chat($alice->jid(), 'one');
    $alice->pick('message', body => 'one');

    my $new = $sm->back($alice, on => 1);

    $t->relay()->delay(250);
    $new->{stanzas} = $seen;
    $sm->resume($new, $seen);
    await('host 1 does not listen', sub { listeners('alice') == 2 });

    $bob->iq('get', $alice->jid(), $ping, id => 'asked');
    chat($alice->jid(), 'two');
    like(record($alice), qr/ -$/, 'it is not taken yet');
    ok($new->pick('resumed'), 'then it is');
    $t->relay()->delay(0);

    chat($alice->jid(), 'three');
    is($sm->got($new, 'three'), 'one iq-get two three',
       'XEP-0198, 5: all of it comes, in order, and once');
    $alice->drop();

    # the client and the server count the same

    $sm->ack($new);

    my $back = $sm->resumed($new, on => 0);

    is($sm->got($back), '', 'XEP-0198, 4: and nothing is left');
    $new->drop();
    gone($back);
}

###############################################################################
# A client has come to one worker, and to another before that one had the
# session: what was asked for first comes too late (cluster.md, rule 4)

{
    my $alice = $sm->resumable('alice', on => 0, resource => 'r');

    $sm->ack($alice);
    $alice->drain();

    my $seen = $alice->{stanzas};
    my $slow = $sm->back($alice, on => 1);

    $t->relay()->delay(250);
    $sm->resume($slow, $seen);
    await('host 1 does not listen', sub { listeners('alice') == 2 });

    # its holder has that, and gives it away

    $bob->iq('get', $alice->jid(), $ping, id => 'asked');
    $bob->sync();

    my $new = $sm->resumed($alice, on => 2, h => $seen);

    ok($new, 'a client comes to one host, then to another: resumed');
    ok($new->pick('iq', id => 'asked'), 'with what it was not sent');
    ok($slow->pick('failed'), 'the first one comes too late');
    $t->relay()->delay(0);
    ok($new->sync(), 'and does not take it away');
    ok($bob->expect_nothing(), 'cluster.md, rule 1: nothing comes back');

    $new->send("<iq type='result' id='asked' to='" . $bob->jid() . "'/>");
    ok($bob->pick('iq', type => 'result', id => 'asked'), 'it is answered');
    $slow->drop();
    $alice->drop();
    gone($new);
}


###############################################################################
# A client comes twice to the same host while that takes its session: the later
# stream has it

{
    my $alice = $sm->resumable('alice', on => 0, resource => 'r');

    $sm->ack($alice);
    $alice->drain();

    my $seen = $alice->{stanzas};
    my @both = map { $sm->back($alice, on => 1) } 1, 2;

    $_->{stanzas} = $seen for @both;
    $t->relay()->delay(250);
    $sm->resume($both[0], $seen);
    await('host 1 does not listen', sub { listeners('alice') == 2 });
    $sm->resume($both[1], $seen);
    ok($both[0]->pick('failed'), 'twice at one host: not for the first stream');
    ok($both[1]->pick('resumed'), 'but for the second');
    $t->relay()->delay(0);
    chat($alice->jid(), 'to the second');
    ok($both[1]->pick('message', body => 'to the second'), 'which goes on');
    $_->drop() for $both[0], $alice;
    gone($both[1]);
}

###############################################################################
# It has a client again before its worker has put its record back: it knows whom
# the user has blocked

{
    my $near = $t->online('bob', on => 1, resource => 'near');
    my $alice = $sm->resumable('alice', on => 0, resource => 'r');
    my $item = "<item jid='bob\@localhost'/>";

    $alice->query('set', undef,
                  "<block xmlns='urn:xmpp:blocking'>$item</block>");
    $sm->ack($alice);
    $alice->drain();

    my $new = $sm->back($alice, on => 1);

    $t->relay()->delay(250);
    $new->{stanzas} = $alice->{stanzas};
    $sm->resume($new, $new->{stanzas});
    ok($new->pick('resumed'), 'a user who has blocked another: resumed');
    $new->message($near->jid(), 'to him', id => 'to him');
    ok($new->pick('message', type => 'error', id => 'to him',
                  error => 'cancel not-acceptable'),
       'XEP-0191, 3.3: nothing goes to him');
    $near->iq('get', $alice->jid(), $ping, id => 'blocked');
    ok($near->pick('iq', type => 'error', id => 'blocked'),
       'XEP-0191, 3.3: who is blocked gets an error');
    $t->relay()->delay(0);
    is($sm->got($new), '', 'XEP-0191, 3.3: and nothing comes from him');
    is($sm->got($near), '', 'or has come to him');
    $new->query('set', undef,
                "<unblock xmlns='urn:xmpp:blocking'>$item</unblock>");
    $near->close();
    $alice->drop();
    gone($new);
}


###############################################################################
# Its worker has died, and the client comes to the one that is cleaning up

{
    my $alice = $sm->resumable('alice', on => 0, resource => 'r');

    $sm->ack($alice);
    chat($alice->jid(), 'one');
    $alice->pick('message', body => 'one');

    my $new = $sm->back($alice, on => 1);

    $new->{stanzas} = $alice->{stanzas} - 1;
    $t->relay()->delay(250);
    $t->host(0)->kill_host();
    await('host 1 does not clean up', sub { listeners('alice') == 1 });
    $sm->resume($new, $new->{stanzas});
    ok($new->pick('resumed'), 'a client comes to who cleans up: resumed');
    $t->relay()->delay(0);
    chat($alice->jid(), 'two');
    is($sm->got($new, 'two'), 'one two', 'XEP-0198, 5: with all that was sent');
    $alice->drop();
    gone($new);
}

$t->done();
