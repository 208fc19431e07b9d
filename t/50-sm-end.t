#!/usr/bin/perl

# The end of a session that waited for its client, or whose client went without
# a word: XEP-0198, 4; RFC 6121, 8.5.3.2.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

my $t = Test::XMPP->new(relay => 0, workers => 1,
                        users => [ qw/ alice bob carol / ]);

$t->config(<<'EOC');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis           unix:%%RELAY%%;
    xmpp_sm_ack_timeout  2s;

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

$t->run();

my ($domain, $ours, $peer) = ($t->domain(), $t->ours(), $t->peer());
my $redis = $t->redis();
my $ns = 'urn:xmpp:sm:3';
my $state = "<active xmlns='http://jabber.org/protocol/chatstates'/>";
my $serial = 0;

my $bob = $t->online('bob', resource => "b'&<");
$bob->sync();


sub sm {
    my ($user, $enable, %opt) = @_;
    my $client = $t->client($user, %opt)->login();

    $client->send("<enable xmlns='$ns' $enable/>");
    $client->pick('enabled', ns => $ns) or die "not enabled\n";
    $client->available();

    return $client;
}

sub has {
    my ($client) = @_;
    my ($bare, $resource) = split m{/}, $client->jid(), 2;

    return $redis->command('HGET', "xmpp:{$bare}:sessions", "r$resource");
}

sub await { Test::XMPP::Process::await($_[0]) or die "it does not happen\n" }

# what bob gets, by its ids, until a mark that he sends to himself.  A message
# is routed, then its error: two answers of Redis, and so are these.

sub back {
    my @got;
    my $mark = 'mark' . ++$serial;

    $bob->query('get', undef, "<query xmlns='jabber:iq:roster'/>") for 1 .. 3;
    $bob->message($ours ? $bob->bare() : $bob->jid(), $mark,
                  type => 'headline');

    while (my $stanza = $bob->recv_stanza()) {
        last if ($stanza->body() // '') eq $mark;
        push @got, ($stanza->attr('id') // '?') . ':'
                   . ($stanza->error() // $stanza->attr('type') // '');
    }

    return join ' ', sort @got;
}

# all kinds that bob may send to a resource, with ids of one letter

sub send_all {
    my ($to) = @_;

    $bob->iq('get', $to, "<ping xmlns='urn:xmpp:ping'/>", id => 'g');
    $bob->iq('set', $to, "<x xmlns='urn:x'/>", id => 's');
    $bob->iq('result', $to, '', id => 'r');
    $bob->message($to, undef, id => 'c', type => 'chat', xml => $state);
    $bob->message($to, undef, id => 'n', xml => "<x xmlns='urn:x'/>");
    $bob->message($to, 'g', id => 'm', type => 'groupchat');
    $bob->message($to, 'h', id => 'h', type => 'headline');
    $bob->message($to, undef, id => 'e', type => 'error', xml =>
        "<error type='cancel'><gone xmlns='"
        . "urn:ietf:params:xml:ns:xmpp-stanzas'/></error>");
    $bob->presence(to => $to, id => 'p');
    $bob->sync();
}

my $gone = join ' ', map { "$_:cancel service-unavailable" } qw/ c g m n s /;


###############################################################################
# How it ends

my %ends = (
    'detached, then displaced' => [ "resume='true'", sub {
        my ($client) = @_;

        $client->drop();
        await(sub { has($client) =~ /d$/ }) if $ours;
        send_all($client->jid());
        $t->client('alice', resource => 'r')->login()->close();
    } ],
    'sent, then displaced' => [ "resume='true'", sub {
        my ($client) = @_;

        send_all($client->jid());
        $t->client('alice', resource => 'r')->login()->close();
    } ],
    'its time is over' => [ "resume='true' max='1'", sub {
        my ($client) = @_;

        $client->drop();
        await(sub { has($client) =~ /d$/ });
        send_all($client->jid());
    } ],
    'not to be resumed' => [ '', sub {
        my ($client) = @_;

        send_all($client->jid());
        $client->drop();
    } ],
    'closed without an acknowledgement' => [ '', sub {
        my ($client) = @_;

        send_all($client->jid());
        $client->close();
    } ],
    'not acknowledged in time' => [ '', sub {
        my ($client) = @_;

        send_all($client->jid());
    } ],
    'kicked' => [ "resume='true'", sub {
        my ($client) = @_;

        $client->drop();
        await(sub { has($client) =~ /d$/ });
        send_all($client->jid());
        $t->xmppctl(undef, 'kick', 'alice@localhost');
    } ],
);

for my $how (sort keys %ends) {
    my ($enable, $end) = @{ $ends{$how} };

    next if !$ours && $how !~ /displaced/;

    my $alice = sm('alice', $enable, resource => 'r');

    $alice->sync();
    $end->($alice);
    await(sub { !defined has($alice) }) if $ours;

    if ($ours) {
        is(back(), $gone, "XEP-0198, 4: $how: errors for who would not get any "
                          . 'other answer');
    } else {
        like(back(), qr/g:cancel \S+.* s:cancel/, "XEP-0198, 4: $how");
    }
}

$t->done() && exit unless $ours;


###############################################################################
# What was acknowledged is nobody's any more

my $alice = sm('alice', "resume='true'", resource => 'r');

$alice->sync();
send_all($alice->jid());
$alice->sync();
$alice->send("<a xmlns='$ns' h='$alice->{stanzas}'/>");
$alice->sync();
$alice->close();
await(sub { !defined has($alice) });
is(back(), '', 'XEP-0198, 4: nothing that was acknowledged comes back');

# and of what was sent at once, what was not

$alice = sm('alice', "resume='true'", resource => 'r');
$alice->sync();
my $h = $alice->{stanzas};
$bob->send(join '', map {
    "<message to='" . $alice->jid() . "' id='$_' type='chat'>$state</message>"
} 1 .. 3);
$alice->pick('message', id => 3);
$alice->send("<a xmlns='$ns' h='" . ($h + 2) . "'/>");
$alice->sync();
$alice->close();
await(sub { !defined has($alice) });
is(back(), '3:cancel service-unavailable', 'the rest of a bell does');


###############################################################################
# Messages

# another resource is there

my $other = $t->online('alice', resource => 'other');

$alice = sm('alice', "resume='true' max='1'", resource => 'r');
$other->sync();
$alice->drop();
await(sub { has($alice) =~ /d$/ });
$bob->message($alice->jid(), undef, type => 'chat', xml => $state, id => 'to');
$bob->sync();
$other->drain();
ok($other->pick('message', id => 'to', from => $bob->jid()),
   'RFC 6121, 8.5.3.2.1: chat goes to another resource');
is(back(), '', 'and is no error then');

# what went to all of them is not sent again

$alice = sm('alice', "resume='true' max='1'", resource => 'r');
$alice->drop();
await(sub { has($alice) =~ /d$/ });
$bob->message('alice@localhost', undef, type => 'chat', xml => $state,
              id => 'all');
ok($other->pick('message', id => 'all'), 'to the bare JID: once');
await(sub { !defined has($alice) });
is(back(), '', 'nothing comes back');
$other->drain();
ok($other->expect_nothing(from => $bob), 'and not twice');
$other->close();
await(sub { !defined has($other) });

# nobody is there: kept, if it is worth it

$alice = sm('alice', "resume='true' max='1'", resource => 'r');
$alice->drop();
await(sub { has($alice) =~ /d$/ });
$bob->message($alice->jid(), 'kept', type => 'chat');
$bob->message($alice->jid(), 'transient', type => 'chat', id => 'no',
              xml => "<no-store xmlns='urn:xmpp:hints'/>");
$bob->sync();
await(sub { !defined has($alice) });
is(back(), 'no:cancel service-unavailable',
   'XEP-0334, 4.2: what may not be kept comes back');

$alice = $t->online('alice', resource => 'later');
ok($alice->pick('message', body => 'kept',
                xpath => "count(*[local-name() = 'delay']) = 1"),
   'RFC 6121, 8.5.3.2.1: kept for who comes later');
ok($alice->expect_nothing(from => $bob), 'once');
$alice->close();
await(sub { !defined has($alice) });


###############################################################################
# A request for a subscription

$alice = sm('alice', "resume='true' max='1'", resource => 'r');
$alice->drop();
await(sub { has($alice) =~ /d$/ });

my $carol = $t->online('carol');

$carol->presence(to => 'alice@localhost', type => 'subscribe');
$carol->sync();
await(sub { !defined has($alice) });
$alice = $t->online('alice', resource => 'later');
ok($alice->pick('presence', type => 'subscribe', from => 'carol@localhost'),
   'RFC 6121, 3.1.3: it is told until it is answered');
$alice->close();


###############################################################################
# Redis is away when it ends

$alice = sm('alice', "resume='true' max='1'", resource => 'r');
$alice->drop();
await(sub { has($alice) =~ /d$/ });
$bob->iq('get', $alice->jid(), "<ping xmlns='urn:xmpp:ping'/>", id => 'away');
$bob->sync();
$t->relay()->hold();
$bob->wait(sub { 0 }, 1.5);
$t->relay()->release();
await(sub { !defined has($alice) });
like(back(), qr/away:cancel service-unavailable/, 'Redis was away: told later');


###############################################################################
# Worker and Redis end, too: nothing leaks (the logs are looked at)

$alice = sm('alice', "resume='true'", resource => 'r');
send_all($alice->jid());
$alice->drop();
await(sub { has($alice) =~ /d$/ });

my @old = $t->reload();

ok(Test::XMPP::Process::await(sub { !grep { kill 0, $_ } @old }),
   'a reload waits for no client');

$t->done();
