#!/usr/bin/perl

# Resumption of a session on another host than that which has it: XEP-0198, 5;
# cluster.md, rules 1 to 4, 8 and 14.

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
                        users => [ qw/ alice bob carol dave / ]);

$t->only_ours('has several hosts');

$t->config(<<'EOT');
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
EOT

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

sub ends {
    my ($client) = @_;

    $carol->drain();
    $client->close();
    ok($carol->pick('presence', from => $client->jid(),
                    type => 'unavailable'), 'it ends as any');
    Test::XMPP::Process::await(sub { !record($client) })
        or die "the record stays\n";
    is(scalar(grep { /:sm:/ } @{ $redis->command('KEYS', '*') }), 0,
       'and leaves nothing');
}


###############################################################################
# Its holder lives: all that belongs to it goes along

for my $how ('the old stream stands', 'it waits') {
    my $alice = $sm->resumable('alice', on => 0, resource => 'r');

    $carol->pick('presence', from => $alice->jid());
    $alice->query('set', undef, "<enable xmlns='urn:xmpp:carbons:2'/>");
    $alice->presence(to => $bob->jid());
    $bob->pick('presence', from => $alice->jid());
    $sm->ack($alice);
    $alice->drain();

    chat($alice->jid(), qw/ one two /);
    $alice->pick('message', body => 'two');
    $alice->message($bob->jid(), 'mine', type => 'chat');
    $bob->pick('message', body => 'mine');

    my $h = $sm->handled($alice);
    my $seen = $alice->{stanzas};

    $bob->iq('get', $alice->jid(), $ping, id => 'asked');
    chat($alice->jid(), 'three');
    $alice->pick('message', body => 'three');

    $sm->lose($alice) if $how eq 'it waits';
    chat($alice->jid(), 'four');
    $carol->drain();
    $bob->drain();

    my $new = $sm->resumed($alice, on => 1, h => $seen - 1);

    ok($new, "XEP-0198, 5: $how: resumed on another host");
    is($new->{handled}, $h, 'XEP-0198, 5: what was handled');
    is($sm->got($new, 'four'), 'two iq-get three four',
       'XEP-0198, 5: what is not acknowledged comes again, in its order');

    if ($how eq 'the old stream stands') {
        ok($alice->pick('error', error => 'conflict'),
           'XEP-0198, 5: the old stream is closed');
        $alice->drop();
    }

    ok($carol->expect_nothing(from => $bob), 'contacts do not hear of it');

    chat($new->jid(), 'five');
    is($sm->got($new, 'five'), 'five', 'messages come');
    $new->send("<iq type='result' id='asked' to='" . $bob->jid() . "'/>");
    ok($bob->pick('iq', type => 'result', id => 'asked'), 'and go');

    is($sm->handled($new), $h + 1, 'XEP-0198, 4: the count goes on');
    $sm->ack($new);

    # what its client had asked for

    my $other = $t->online('alice', on => 0, resource => 'o');
    $other->message($bob->jid(), 'copied', type => 'chat');
    ok($new->pick("message", xpath => "count(*[local-name() = 'sent']) = 1"),
       'XEP-0280: carbons');
    $other->close();

    $new->presence(type => 'unavailable');
    ok($bob->pick('presence', from => $new->jid(), type => 'unavailable'),
       'RFC 6121, 4.6.3: who got directed presence hears the end of it');
    $new->presence();
    $carol->pick('presence', from => $new->jid());

    # back again, while the first host may have something left of it

    my $back = $sm->resumed($new, on => 0);

    ok($back, 'and back to the first one');
    chat($back->jid(), 'six');
    like($sm->got($back, 'six'), qr/six$/, 'messages come');
    $new->drop();
    ends($back);
}


###############################################################################
# Two at once: exactly one wins (cluster.md, rule 4)

for (1 .. 5) {
    my $alice = $sm->resumable('alice', on => 0, resource => 'two');

    $sm->ack($alice);

    my $seen = $alice->{stanzas};
    my @both = map { $sm->back($alice, on => $_) } 1, 2;

    $sm->resume($_, $seen) for @both;

    my @answers = map { $_->pick(qr/^(?:resumed|failed)$/) } @both;
    my @winners;

    # the first may have had it until the second came

    for my $i (0, 1) {
        next if !$answers[$i] || $answers[$i]->name() ne 'resumed';
        push @winners, $both[$i] if eval { $both[$i]->sync() };
    }

    is(scalar @winners, 1, 'two at once: exactly one wins');
    chat($alice->jid(), 'to the winner');
    ok($winners[0]->pick('message', body => 'to the winner'),
       'who gets the messages');
    $winners[0]->close();
    $_->drop() for @both, $alice;
    Test::XMPP::Process::await(sub { !record($alice) })
        or die "the record stays\n";
}

$t->done();
