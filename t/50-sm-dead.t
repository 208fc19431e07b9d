#!/usr/bin/perl

# Resumption of a session whose worker, or host, has been killed, stands still,
# or has drained: XEP-0198, 5; cluster.md, rules 2 to 5 and 14.

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
                        users => [ qw/ alice bob carol / ]);

$t->only_ours('kills hosts');

$t->config(<<'EOT');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis       unix:%%REDIS%%;
    xmpp_heartbeat   %%HEARTBEAT%%;
    xmpp_sm_timeout  %%TIMEOUT%%;

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

my $config = $t->{config}[0];

sub with {
    my ($heartbeat, $timeout) = @_;

    return $config =~ s/%%HEARTBEAT%%/$heartbeat/r =~ s/%%TIMEOUT%%/$timeout/r;
}

$t->{config}[0] = with('60s', '300s');
$t->run();

my $redis = $t->redis();
my $sm = Test::XMPP::Resume->new($t);
my $ping = "<ping xmlns='urn:xmpp:ping'/>";

Test::XMPP::Roster::befriend($t, 'alice', 'carol', 'both');

my $bob = $t->online('bob', on => 2, resource => 'b');
my $carol = $t->online('carol', on => 2, resource => 'c');


sub chat {
    my ($to, @bodies) = @_;

    $bob->message($to, $_, type => 'chat') for @bodies;
    $bob->sync();
}

sub record {
    my ($client) = @_;
    my ($bare, $resource) = split m{/}, $client->jid(), 2;

    return $redis->command('HGET', "xmpp:{$bare}:sessions", "r$resource");
}

sub gone {
    my ($client) = @_;

    $sm->ack($client);
    $client->close();
    Test::XMPP::Process::await(sub { !record($client) })
        or die "the record stays\n";
}

# it dies, or all of it, and is there again

my %dies = (
    'the host is killed' => sub {
        $t->host(0)->kill_host();
        $t->host(0)->start();
    },
    'the worker is killed' => sub { $t->host(0)->kill_worker() }
);


###############################################################################
# kill -9: what was kept comes again, what was handled is known

for my $how (sort keys %dies) {
    my $alice = $sm->resumable('alice', on => 0, resource => 'r');

    $carol->pick('presence', from => $alice->jid());
    $sm->ack($alice);
    chat($alice->jid(), qw/ one two /);
    $alice->pick('message', body => 'two');
    $sm->ack($alice, $alice->{stanzas} - 3);

    $alice->message($bob->jid(), "told $_", type => 'chat') for 1, 2;
    $bob->pick('message', body => 'told 2');

    my $h = $sm->handled($alice);

    # handled, but not told

    $alice->message($bob->jid(), $_, type => 'chat', id => $_)
        for 'not told 1', 'not told 2';
    $bob->pick('message', body => 'not told 2');
    $bob->drain();
    $carol->drain();

    my $seen = $alice->{stanzas};

    $dies{$how}->();
    $alice->wait(sub { defined $alice->{eof} });
    chat($alice->jid(), 'while it is dead');

    my $new = $sm->resumed($alice, on => 1, h => $seen);

    ok($new, "$how: resumed on another");
    is($new->{handled}, $h,
       'cluster.md, rule 3: what it was told was handled is');

    # its client sends again what it was not told of

    $new->message($bob->jid(), $_, type => 'chat', id => $_)
        for 'not told 1', 'not told 2', 'new';
    is($sm->handled($new), $h + 3, 'XEP-0198, 4: the count goes on');
    is($sm->got($bob), 'new', 'cluster.md, rule 2: nothing comes twice');

    like($sm->got($new, 'while it is dead'),
         qr/^(?:one )?(?:two )?while it is dead$/,
         'cluster.md, rule 14: what was kept comes, in order');
    $sm->ack($new);
    ok(Test::XMPP::Process::await(sub {
        !$redis->command('EXISTS', 'xmpp:{alice@localhost}:inbox')
    }), 'and is taken');

    ok($carol->expect_nothing(from => $bob), 'contacts do not hear of it');
    chat($new->jid(), 'after');
    is($sm->got($new), 'after', 'messages come');

    gone($new);
    $carol->drain();
}


###############################################################################
# Presence: what nobody has heard meanwhile (cluster.md, rule 14)

for my $how (@{[ sort keys %dies ]}[0], 'it drains') {
    my $alice = $sm->resumable('alice', on => 0, resource => 'p');
    my $d = $t->online('carol', on => 2, resource => 'd');

    $alice->pick('presence', from => $d->jid());
    $sm->ack($alice);
    $alice->drain();

    $dies{$how} ? $dies{$how}->() : $t->host(0)->reload();
    $alice->wait(sub { defined $alice->{eof} });

    $carol->presence(show => 'away');
    $carol->sync();
    $d->close();
    Test::XMPP::Process::await(sub { !record($d) })
        or die "the record stays\n";

    my $new = $sm->resumed($alice, on => 1);

    ok($new->pick('presence', from => $carol->jid(),
                  xpath => "string(*[local-name() = 'show']) = 'away'"),
       "$how: presence of others as it is");

    $carol->presence(type => 'unavailable');
    ok($new->pick('presence', from => $carol->jid(), type => 'unavailable'),
       'and as it changes');
    $sm->ack($new);
    $new->drop();

    $dies{$how} ? $t->host(1)->kill_host() && $t->host(1)->start()
                : $t->host(1)->reload();

    $alice = $sm->resumed($new, on => 0);

    # who drains has heard all of it

    if ($dies{$how}) {
        ok($alice->pick('presence', from => 'carol@localhost',
                        type => 'unavailable'),
           'RFC 6121, 4.3.2: nobody is there');
    }

    $carol->available();
    gone($alice);
    $carol->drain();
}


###############################################################################
# Its host stands still: it is not waited for, and comes too late

{
    my $alice = $sm->resumable('alice', on => 0, resource => 's');

    $sm->ack($alice);
    $alice->message($bob->jid(), 'before', type => 'chat');
    $bob->pick('message', body => 'before');

    $sm->ack($alice);

    my $h = $sm->handled($alice);

    # it has not acknowledged this, which nothing keeps

    $bob->iq('get', $alice->jid(), $ping, id => 'asked');
    $alice->pick('iq', id => 'asked');

    kill 'STOP', $_ for $t->host(0)->workers();

    # it will read that when it wakes up

    $alice->message($bob->jid(), 'late', type => 'chat', id => 'late');
    chat($alice->jid(), 'one');

    my $new = $sm->resumed($alice, on => 1);

    ok($new, 'its host stands still: resumed on another');
    is($new->{handled}, $h, 'what is known of it');

    # first of all its client sends again what it was not told of

    $new->message($bob->jid(), 'late', type => 'chat', id => 'late');
    $bob->pick('message', body => 'late');
    is($sm->got($new, 'one'), 'one', 'what was kept comes');

    kill 'CONT', $_ for $t->host(0)->workers();
    ok($alice->pick('error', error => 'conflict'), 'it wakes up: conflict');
    $alice->drop();
    ok($bob->pick('iq', type => 'error', id => 'asked'),
       'RFC 6120, 8.2.3: what it cannot give away any more comes back');

    chat($new->jid(), 'two');
    is($sm->got($new), 'two', 'which is no concern of who has it');
    is($sm->got($bob), '', 'cluster.md, rule 2: nothing is said twice');
    gone($new);
}


###############################################################################
# It drains: reload, stop, and a start later on

sub drains {
    my ($how) = @_;

    return $t->host(0)->reload() if $how eq 'a reload';

    $t->host(0)->stop($how eq 'a stop' ? 'TERM' : 'QUIT');
    $t->host(0)->start();
}

for my $how ('a reload', 'a stop', 'a shutdown') {
    for my $state ('bound', 'waiting') {
        my $alice = $sm->resumable('alice', on => 0, resource => 'd');

        $carol->pick('presence', from => $alice->jid());
        $alice->presence(to => $bob->jid());
        $bob->pick('presence', from => $alice->jid());
        $sm->ack($alice);

        my $h = $sm->handled($alice);
        my $seen = $alice->{stanzas};

        chat($alice->jid(), 'one');
        $bob->iq('get', $alice->jid(), $ping, id => 'asked');
        chat($alice->jid(), 'two');
        $alice->pick('message', body => 'two');
        $sm->lose($alice) if $state eq 'waiting';
        $carol->drain();

        drains($how);

        if ($state eq 'bound') {
            $alice->drain();
            ok($alice->expect_eof(),
               "$how, $state: the connection ends without a word");
        }

        chat($alice->jid(), 'three');

        my $new = $sm->resumed($alice, on => 1, h => $seen);

        ok($new, "$how, $state: resumed on another host");
        is($new->{handled}, $h, 'XEP-0198, 5: all that was handled');
        is($sm->got($new, 'three'), 'one iq-get two three',
           'XEP-0198, 5: all that was not acknowledged comes again');
        $alice = $new;

        $alice->send("<iq type='result' id='asked' to='" . $bob->jid()
                     . "'/>");
        ok($bob->pick('iq', type => 'result', id => 'asked'), 'it goes on');
        ok($carol->expect_nothing(from => $bob), 'contacts heard nothing');
        $alice->presence(type => 'unavailable');
        ok($bob->pick('presence', from => $alice->jid(),
                      type => 'unavailable'),
           'RFC 6121, 4.6.3: directed presence is remembered');
        gone($alice);
        $carol->drain();
    }
}

$t->done();
