#!/usr/bin/perl

# Two hosts with two workers each are one server: messages, iqs and presence
# between sessions wherever they are, one resource bound on two hosts at once,
# one account on several hosts.  RFC 6120, 7.7.2.2 and 10.1; RFC 6121, 8.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

my $t = Test::XMPP->new(hosts => 2, workers => 2,
                        users => [ qw/ alice bob carol dave / ]);

# with reuseport the kernel spreads connections over the workers evenly

$t->config(<<'EOF');
%%GLOBALS%%
events { worker_connections 1024; }
stream {
    xmpp_redis unix:%%REDIS%%;
    xmpp_host localhost {
        ssl_certificate     %%TESTDIR%%/localhost.pem;
        ssl_certificate_key %%TESTDIR%%/localhost.key;
    }
    server { listen 127.0.0.1:%%PORT_0%% reuseport;     xmpp_c2s; }
    server { listen 127.0.0.1:%%PORT_1%% ssl reuseport; xmpp_c2s; }
}
EOF

$t->run();

my $domain = $t->domain();
my %ns = %Test::XMPP::Client::NS;


###############################################################################
# Where a client is

# The worker that holds the other end of a client's connection

sub worker_of {
    my ($client, $host) = @_;

    my $local = sprintf ':%04X', $client->{sock}->sockport();
    my $remote = sprintf ':%04X', $client->{sock}->peerport();

    open my $fh, '<', '/proc/net/tcp' or die "/proc/net/tcp: $!\n";

    for (<$fh>) {
        my (undef, $here, $there, @rest) = split;
        next if $here !~ /\Q$remote\E$/ || $there !~ /\Q$local\E$/;

        for my $worker ($t->host($host)->workers()) {
            return $worker if grep { (readlink($_) // '')
                                     eq "socket:[$rest[6]]" }
                              glob "/proc/$worker/fd/*";
        }
    }

    return 0;
}


# A client that is available in this worker: connects until it is there.

sub client_in {
    my ($user, $host, $worker, %opt) = @_;

    for (1 .. 100) {
        my $client = $t->client($user, on => $host, %opt)->connect();

        if (!$t->ours() || worker_of($client, $host) == $worker) {
            $client->open_stream();
            $client->starttls();
            $client->auth();
            $client->bind();
            return $client->available();
        }

        $client->drop();
    }

    die "no connection to worker $worker of host $host\n";
}


# All workers of a host, which are there a little later than its sockets

sub workers {
    my ($host) = @_;
    my @workers;

    Test::XMPP::Process::await(sub {
        return 2 == (@workers = $t->host($host)->workers());
    }) or die "host $host has not got two workers\n";

    return map { [ $host, $_ ] } @workers;
}


my @users = qw/ alice bob carol dave /;
my @workers = $t->ours() ? (workers(0), workers(1)) : ([ 0, 0 ]) x 4;
my %client = map { $users[$_] => client_in($users[$_], @{ $workers[$_] },
                                           resource => 'r') } 0 .. 3;

pass('a client in each');


###############################################################################
# Every pair, both ways

for my $from (@users) {
    for my $to (grep { $_ ne $from } @users) {
        pair($client{$from}, $client{$to}, "$from to $to");
    }
}


sub pair {
    my ($a, $b, $who) = @_;

    my $id = $a->message($b->jid(), 'full', type => 'chat');
    ok($b->expect('message', from => $a->jid(), to => $b->jid(), id => $id,
                  type => 'chat', body => 'full'), "$who: full JID");

    $id = $a->message($b->bare(), 'bare', type => 'chat');
    ok($b->expect('message', from => $a->jid(), to => $b->bare(), id => $id,
                  body => 'bare'), "$who: bare JID");

    my $ping = $a->iq('get', $b->jid(), "<ping xmlns='$ns{ping}'/>");
    ok($b->expect('iq', from => $a->jid(), id => $ping, type => 'get',
                  xpath => 'ping:ping'), "$who: iq");
    $b->iq('result', $a->jid(), "<x xmlns='urn:x'/>", id => $ping);
    ok($a->expect('iq', from => $b->jid(), id => $ping, type => 'result',
                  xpath => '*[namespace-uri() = "urn:x"]'),
       "$who: and its result");

    $ping = $a->iq('set', $b->jid(), "<x xmlns='urn:x'/>");
    ok($b->expect('iq', id => $ping, type => 'set'), "$who: iq set");
    $b->iq('error', $a->jid(), "<error type='cancel'><not-allowed xmlns="
           . "'$ns{stanzas}'/></error>", id => $ping);
    ok($a->expect('iq', from => $b->jid(), id => $ping,
                  error => 'cancel not-allowed'), "$who: and its error");

    $a->presence(to => $b->jid(), status => 'hello', show => 'dnd');
    ok($b->expect('presence', from => $a->jid(), to => $b->jid(),
                  type => undef, xpath => 'c:status = "hello"'),
       "$who: directed presence");

    $a->presence(to => $b->jid(), type => 'unavailable');
    ok($b->expect('presence', from => $a->jid(), type => 'unavailable'),
       "$who: and directed unavailable presence");
}


# stanzas of all kinds between two keep their order: RFC 6120, 10.1

{
    my ($a, $d) = @client{qw/ alice dave /};

    for my $i (1 .. 100) {
        $a->queue("<message to='@{[ $d->jid() ]}' id='$i-1'><body/></message>"
                  . "<iq to='@{[ $d->jid() ]}' type='get' id='$i-2'>"
                  . "<x xmlns='urn:x'/></iq>"
                  . "<presence to='@{[ $d->jid() ]}' id='$i-3'/>"
                  . "<message to='@{[ $d->bare() ]}' id='$i-4'><body/>"
                  . "</message>");
    }

    $a->wait(sub { !$a->wants_write() });

    my @ids = map { ($d->recv_stanza() // last)->attr('id') } 1 .. 400;

    is_deeply(\@ids, [ map { my $i = $_; map { "$i-$_" } 1 .. 4 } 1 .. 100 ],
              'RFC 6120, 10.1: in the order sent');
    $a->presence(to => $d->jid(), type => 'unavailable');
    $d->expect('presence', type => 'unavailable');
}


###############################################################################
# One account on both hosts

my ($alice, $bob) = @client{qw/ alice bob /};

my @more = map { client_in('alice', @{ $workers[$_] }, resource => "more$_") }
           1 .. 3;
my @all = ($alice, @more);

for my $one (@all) {
    for my $other (grep { $_ != $one } @all) {
        ok($one->pick('presence', from => $other->jid(), type => undef),
           "RFC 6121, 4.2.2: $one->{resource} sees $other->{resource}");
    }
}

$_->sync(), $_->drain() for @all;

# our server knows one answer, others choose: RFC 6121, 8.5.2.1.1

for my $type (grep { $t->ours() || $_ eq 'headline' } qw/ chat normal
                                                         headline /)
{
    $bob->message($alice->bare(), "to all, $type", type => $type);

    ok($_->expect('message', from => $bob->jid(), to => $alice->bare(),
                  body => "to all, $type"),
       "RFC 6121, 8.5.2.1.1: bare JID, $type: $_->{resource}") for @all;
}

ok($_->expect_nothing(from => $bob), "once: $_->{resource}") for @all;

for my $one (@all) {
    $bob->message($one->jid(), $one->{resource}, type => 'chat');
    ok($one->expect('message', body => $one->{resource}),
       "RFC 6121, 8.5.3.1: full JID: $one->{resource}");
}

ok($_->expect_nothing(from => $bob), "and no other: $_->{resource}")
    for @all;

$bob->presence(to => $alice->bare(), status => 'hi');
ok($_->expect('presence', from => $bob->jid(), xpath => 'c:status = "hi"'),
   "RFC 6121, 8.5.2.1.2: directed to the bare JID: $_->{resource}")
    for @all;


###############################################################################
# Going: seen on the other hosts, whatever the way

my %ways = (
    'unavailable'               => sub { $_[0]->presence(type =>
                                                         'unavailable') },
    'the end of the stream'     => sub { $_[0]->close() },
    'the end of the connection' => sub { $_[0]->drop() },
);

for my $way (sort keys %ways) {
    my $going = pop @more;
    pop @all;

    $going->presence(to => $bob->jid());
    ok($bob->expect('presence', from => $going->jid(), type => undef),
       "$way: bob saw $going->{resource}");

    $ways{$way}->($going);

    ok($_->pick('presence', from => $going->jid(), type => 'unavailable'),
       "RFC 6121, 4.5.2: $way is seen by $_->{resource}") for @all;
    ok($bob->expect('presence', from => $going->jid(), type => 'unavailable'),
       "RFC 6121, 4.6.3: $way is seen by bob");

    $bob->message($alice->bare(), $way, type => 'headline');
    ok($_->pick('message', body => $way), "$way: others stay") for @all;
    $going->drop();
}

$_->sync(), $_->drain() for @all, $bob;


###############################################################################
# One resource on two hosts, one after the other

for my $hosts ([ 0, 1 ], [ 1, 0 ], [ 0, 0 ]) {
    my ($first, $second) = map {
        my $one = $t->online('carol', on => $_, resource => 'same');
        $one->pick('presence', from => $client{carol}->jid());
        $one;
    } @$hosts;
    my $who = join ' then ', map { "host $_" } @$hosts;

    ok($first->expect_stream_error('conflict'),
       "RFC 6120, 7.7.2.2: $who: the first one ends");
    ok($second->sync(), "$who: the second one stays");

    # what the end of the first did must not touch the second

    $bob->message($second->jid(), $who, type => 'chat');
    ok($second->pick('message', body => $who), "$who: and is reached");
    $bob->message($second->bare(), $who, type => 'headline');
    ok($second->pick('message', body => $who), "$who: by its bare JID, too");

    $second->close();
    ok($client{carol}->pick('presence', from => $second->jid(),
                            type => 'unavailable'), "$who: until it goes");
}

$client{carol}->sync();
$client{carol}->drain();


###############################################################################
# One resource on two hosts at once: exactly one survives

my ($failed, %survivor) = (0);

for my $round (1 .. 50) {
    my $why = race($round);

    next if !$why;
    $failed++;
    diag("round $round: $why");
    last if $failed == 3;
}

is($failed, 0, 'RFC 6120, 7.7.2.2: bound at once 50 times: one survives');
note('survivors: ', explain(\%survivor));


# Two clients up to the bind, then both binds in one moment; why it went
# wrong, or nothing.

sub race {
    my ($round) = @_;
    my $bind = "<iq type='set' id='b'><bind xmlns='$ns{bind}'>"
               . "<resource>race</resource></bind></iq>";
    my @two;

    for my $host (0, 1) {
        my $client = $t->client('dave', on => $host);
        $client->secure();
        $client->auth();
        push @two, $client;
    }

    $_->queue($bind) for $round % 2 ? @two : reverse @two;
    $_->flush() for $round % 2 ? @two : reverse @two;

    my $loop = Test::XMPP::Loop->new(@two);
    my $jid = "dave\@$domain/race";

    # each was bound or refused, and one was ended

    $loop->run(sub { grep { defined $_->{eof} } @two }, 20)
        or return 'both survived: ' . join ' and ', map {
               join ', ', map { Test::XMPP::Client::describe($_) }
                          @{ $_->{events} } } @two;

    my ($gone) = grep { defined $two[$_]{eof} } 0, 1;
    my $left = $two[1 - $gone];

    $survivor{"host " . (1 - $gone)}++;

    # it may have been told of its resource before it lost it

    shift @{ $two[$gone]{events} }
        while @{ $two[$gone]{events} } > 2;
    $two[$gone]->expect_stream_error('conflict')
        or return 'no conflict was told';

    $left->answer('b') or return 'the survivor was not told';
    $left->{jid} = $jid;
    $left->sync() or return 'the survivor is dead';

    # every worker knows which one it is

    for my $user (qw/ alice bob carol /) {
        $client{$user}->message($jid, "$user $round", type => 'chat');
        $left->pick('message', body => "$user $round")
            or return "the survivor has no message from $user";
    }

    $left->available();
    $client{dave}->pick('presence', from => $jid, type => undef)
        or return 'its presence is not seen';
    $bob->message("dave\@$domain", "bare $round", type => 'headline');
    $left->pick('message', body => "bare $round")
        or return 'the survivor has no message for the bare JID';

    $left->close();
    $client{dave}->pick('presence', from => $jid, type => 'unavailable')
        or return 'its end is not seen';
    $client{dave}->sync();
    $client{dave}->drain();

    return;
}


###############################################################################
# Sessions of an account end with it, everywhere

SKIP: {
    skip 'for our own server only', 3 if !$t->ours();

    my ($status) = $t->xmppctl(undef, 'deluser', "alice\@$domain");
    is($status, 0, 'deluser');
    ok($alice->pick(name => 'error', ns => $ns{stream}),
       'the session of a removed account ends, on another host, too');
    $bob->message("alice\@$domain", 'x', id => 'gone');
    ok($bob->pick('message', id => 'gone', type => 'error'),
       'RFC 6121, 8.5.1: and is an account no more');
}

$_->drop() for values %client;

$t->done();
