#!/usr/bin/perl

# An administrator ends a session, disables its account or removes it while a
# worker takes the session from another: XEP-0198, 5; cluster.md, rule 4.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Resume;
use Test::XMPP::Roster;

my $t = Test::XMPP->new(hosts => 3, workers => 1, relay => 0,
                        users => [ qw/ alice carol / ]);

$t->only_ours('kills hosts');

my $config = <<'EOC';
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis      unix:%%REDIS%%;
    xmpp_heartbeat  60s;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
EOC

$t->config($config);
$t->config($config =~ s/%%REDIS%%/%%RELAY%%/r, host => 1);
$t->run();

my $redis = $t->redis();
my $relay = $t->relay();
my $sm = Test::XMPP::Resume->new($t);
my $bare = 'alice@localhost';

Test::XMPP::Roster::befriend($t, 'alice', 'carol', 'both');

my $carol = $t->online('carol', on => 2, resource => 'c');


sub record { $redis->command('HGET', "xmpp:{$bare}:sessions", 'rr') // '' }

sub listeners {
    my ($channel) = grep { /\{alice\@/ } $redis->channels() or return 0;

    return $redis->command('PUBSUB', 'SHARDNUMSUB', $channel)->[1];
}

sub await {
    my ($what, $condition) = @_;

    Test::XMPP::Process::await($condition) or die "$what\n";
}

sub resumable {
    my $alice = $sm->resumable('alice', on => 0, resource => 'r');

    $carol->pick('presence', from => $alice->jid());
    $sm->ack($alice);
    $carol->drain();

    return $alice;
}

# it has ended, and contacts know; who asked for it does not have it

sub ended {
    my ($how, $alice, $new) = @_;

    ok($carol->pick('presence', from => $alice->jid(), type => 'unavailable'),
       "$how: contacts hear of it");
    ok(Test::XMPP::Process::await(sub { !record() }), 'the record goes');
    my $answer = $new->pick(qr/^(?:failed|error)$/);

    ok($answer, 'its client has no session');
    $_->drop() for $alice, $new;
}


###############################################################################
# Its worker is dead: the one that takes the session hears it, though it is not
# its own yet

{
    my $alice = resumable();
    my $new = $sm->back($alice, on => 1);

    $t->host(0)->kill_host();
    $alice->drain();
    await('somebody listens', sub { !listeners() });
    $relay->delay(250);
    $sm->resume($new, $alice->{stanzas});
    await('host 1 does not listen', sub { listeners() });
    like(record(), qr/ -$/, 'it is not taken yet');
    is(($t->xmppctl('', 'kick', $alice->jid()))[0], 0, 'and is ended');
    ended('before it is taken', $alice, $new);
    $relay->delay(0);
    $t->host(0)->start();
}


###############################################################################
# Its worker stands still, and is waited for

my %ends = (
    'ended'    => sub { $t->xmppctl('', 'kick', $_[0]->jid()) },
    'disabled' => sub { $t->xmppctl('', 'disable', $bare) },
    'removed'  => sub { $t->xmppctl('', 'deluser', $bare) }
);

for my $how (sort { ($a eq 'removed') - ($b eq 'removed') || $a cmp $b }
             keys %ends)
{
    my $alice = resumable();
    my $new = $sm->back($alice, on => 1);
    my ($epoch) = split / /, record();

    kill 'STOP', $_ for $t->host(0)->workers();
    $sm->resume($new, $alice->{stanzas});
    await('it is not taken', sub { (split / /, record())[0] ne $epoch });
    is(($ends{$how}->($alice))[0], 0, "it is $how while it is taken");
    ended($how, $alice, $new);
    kill 'CONT', $_ for $t->host(0)->workers();
    $t->xmppctl('', 'enable', $bare) if $how eq 'disabled';
}

$t->done();
