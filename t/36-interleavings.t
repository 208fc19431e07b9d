#!/usr/bin/perl

# What may happen to Redis and its connections while sessions live and talk:
# connections killed, Functions flushed, data lost, a restart without the
# records.  cluster.md, rules 1, 2, 5, 7, 8 and 15.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/traffic";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Traffic;

my $clients = 20;
my $t = Test::XMPP->new(hosts => 2, workers => 2,
                        users => [ qw/ alice bob carol dave / ]);

$t->only_ours('needs our Redis connections');
$t->config(Traffic::config());
$t->run();

my $redis = $t->redis();
my %ns = %Test::XMPP::Client::NS;

Traffic::accounts($t, $clients);

sub await { &Test::XMPP::Process::await }

# The connections of the workers of one kind, normal or pubsub: how many

sub cut { $redis->command('CLIENT', 'KILL', 'TYPE', $_[0]) }

sub key { "xmpp:{$_[0]\@localhost}:$_[1]" }

sub record { $redis->command('HGET', key($_[0], 'sessions'), "r$_[1]") }


###############################################################################
# Command connections are killed, and the Functions vanish, under traffic:
# every command is repeated, and nothing is doubled

{
    my $traffic = Traffic->start(targets => Traffic::targets($t, 0),
        ca => $t->ca_file(), accounts => Traffic::accounts_file($t, $clients),
        messages => 0, control => 1, iq => 15, presence => 15, window => 100,
        progress => 100, round => 1);
    my $killed = 0;

    for my $round (1 .. 30) {
        $traffic->wait(qr/^progress:/);
        $killed += cut('normal');
        $redis->command('FUNCTION', 'FLUSH') if $round % 3 == 0;
    }

    $traffic->tell('finish');

    my $result = $traffic->result();

    Traffic::clean($result, 'cluster.md, 2: command connections killed and '
                            . 'Functions flushed: each once and in order');
    is($result->{closes}, 0, 'nobody was cut off');
    cmp_ok($killed, '>=', 60, "$killed connections were killed");
}


###############################################################################
# Subscribers are killed under traffic: lost is what was on its way into that
# connection, at most the one batch that the sender has in flight

my ($alice, $bob) = map { $t->online($_->[0], on => $_->[1], resource => 'r') }
                    [ alice => 0 ], [ bob => 1 ];

{
    my ($n, $kills) = (4000, 0);
    my (@got, @back);

    my $loop = Test::XMPP::Loop->new($alice, $bob);

    $loop->on_stanza(sub {
        my ($client, $stanza) = @_;
        my ($i) = $stanza->raw() =~ /\bid=["'](\d+)["']/;

        push @{ $client == $bob ? \@got : \@back }, $i // $stanza->brief();

        # the next one when many have come, and all are subscribed again

        cut('pubsub'), $kills++
            if $client == $bob && @got % 200 == 0 && $kills < 15;
    });

    $alice->queue("<message to='" . ($_ % 2 ? $bob->jid() : $bob->bare())
                  . "' id='$_' type='chat'><body>$_</body></message>")
        for 1 .. $n;
    $alice->queue("<iq type='get' id='99999' to='localhost'>"
                  . "<ping xmlns='$ns{ping}'/></iq>");

    ok($loop->run(sub { @back }, 60), 'subscribers killed: all was handled');
    is_deeply(\@back, [ 99999 ], 'subscribers killed: nothing came back');
    $alice->message($bob->jid(), 'end', id => $n + 1, type => 'chat');
    ok($loop->run(sub { @got && $got[-1] eq $n + 1 }, 20),
       'subscribers killed: afterwards all flows');

    my @wrong = grep { $got[$_] <= $got[$_ - 1] } 1 .. $#got - 1;

    is("@got[@wrong]", '', 'subscribers killed: once and in order');
    cmp_ok($n + 1 - @got, '<=', 16 * $kills,
           sprintf '%d subscribers killed, %d of %d messages lost', $kills,
                   $n + 1 - @got, $n);
}


###############################################################################
# The Functions vanish in a quiet time: the first command afterwards is
# repeated, whichever it is (cluster.md, 15)

{
    my $flush = sub { $redis->command('FUNCTION', 'FLUSH') };

    $flush->();
    $alice->message($bob->jid(), 'flushed', type => 'chat');
    ok($bob->expect('message', body => 'flushed'), 'no Functions: message');

    $flush->();
    my $carol = $t->client('carol', on => 0, resource => 'r')->login();
    ok(record('carol', 'r'), 'no Functions: bind');

    $flush->();
    ok(eval { $carol->available() }, 'no Functions: presence');
    like(record('carol', 'r') // '', qr/ 0 -$/, 'no Functions: and its record');

    $carol->presence(to => $bob->jid());
    ok($bob->expect('presence', from => $carol->jid()), 'directed presence');
    $carol->sync();

    $flush->();
    $carol->close();
    ok($bob->expect('presence', from => $carol->jid(), type => 'unavailable'),
       'no Functions: unavailable is told');
    ok(await(sub { !record('carol', 'r') }, 5),
       'no Functions: the record of a session that ends goes');
}


###############################################################################
# Redis starts again with the accounts, but without what sessions had there

{
    my $carol = $t->online('carol', on => 1, resource => 'low',
                           presence => { priority => -5 });
    my %before = map { join('/', @$_) => record(@$_) }
                 [ qw/ alice r / ], [ qw/ bob r / ], [ qw/ carol low / ];

    # what was taken, and is not told yet, would come again with the old data

    ok(await(sub { !@{ $redis->command('KEYS', '*:inbox') } }),
       'records lost: no message waits');

    $redis->command('DEL', @{ $redis->command('KEYS', "*:$_") } ? @{
        $redis->command('KEYS', "*:$_") } : 'none')
        for qw/ sessions presence seen:* /;
    $redis->command('SAVE');
    $redis->kill9();
    $redis->start();

    my %after;

    ok(await(sub {
        %after = map { $_ => record(split m{/}) } keys %before;
        return !grep { !defined } values %after;
    }), 'records lost: they are put back');
    is_deeply(\%after, \%before, 'records lost: as they were');

    ok(await(sub {
        return $redis->channels() == 3;
    }), 'records lost: the channels, too');

    for my $pair ([ $alice, $bob ], [ $bob, $alice ]) {
        my ($from, $to) = @$pair;

        $from->message($to->jid(), 'full', type => 'chat');
        $from->message($to->bare(), 'bare', type => 'chat');
        ok($to->expect('message', body => $_),
           "records lost: $_ JID: " . $to->who()) for qw/ full bare /;
    }

    $alice->message($carol->bare(), 'bare', type => 'chat', id => 'low');
    $alice->sync();
    ok($carol->expect_nothing(from => $alice),
       'records lost: a negative priority stays');

    # a session that comes now is above them

    my $new = $t->online('bob', on => 0, resource => 'r');

    ok($bob->expect_stream_error('conflict'),
       'records lost: a new session displaces the old');
    $alice->message($new->jid(), 'new', type => 'chat');
    ok($new->expect('message', body => 'new'), 'records lost: and is reached');

    $bob = $new;
    $carol->close();
}


# One record is lost, and no connection: presence finds that out

{
    my $presence = sub { $bob->presence(id => $_[0], priority => 1) };

    $redis->command('DEL', map { key('bob', $_) } qw/ sessions presence /);
    $presence->('lost');
    ok($bob->expect('presence', id => 'lost', type => 'error',
                    error => 'wait resource-constraint'),
       'one record lost: presence did not work');
    ok(await(sub { record('bob', 'r') }), 'one record lost: it is put back');
    $presence->('back');
    ok($bob->expect('presence', id => 'back', type => undef),
       'one record lost: and presence works');
    $alice->message($bob->bare(), 'bare', type => 'chat');
    ok($bob->expect('message', body => 'bare'), 'one record lost: messages');
}


###############################################################################
# FLUSHALL: the accounts are gone.  Nobody notices while the connections last;
# a session that is not known any more ends when they are made anew.

{
    my $before = (split ' ', record('bob', 'r'))[0];
    my $dave = $t->online('dave', on => 1, resource => 'r');
    my %saved = map { $_ => $redis->command('DUMP', key($_, 'account')) }
                qw/ alice bob dave /;

    $redis->command('FLUSHALL');

    $alice->message($dave->jid(), 'gone', type => 'chat', id => 'gone');
    ok($alice->expect('message', type => 'error', id => 'gone',
                      error => 'cancel service-unavailable'),
       'RFC 6121, 8.5.1: FLUSHALL: a message comes back');
    ok($_->sync(), 'FLUSHALL: ' . $_->who() . ' stays for now')
        for $alice, $bob, $dave;

    cut('normal');
    ok($_->expect_stream_error('not-authorized'),
       'FLUSHALL: ' . $_->who() . ' ends: there is no such account')
        for $alice, $bob, $dave;

    my $refused = $t->client('alice', on => 0);

    $refused->secure();
    my $failure = $refused->authenticate();

    ok($failure && $failure->is('failure', $ns{sasl})
       && $failure->error() eq 'not-authorized', 'FLUSHALL: no login');
    $refused->drop();

    # the accounts come back

    $redis->command('RESTORE', key($_, 'account'), 0, $saved{$_})
        for sort keys %saved;

    ($alice, $bob) = map { $t->online($_->[0], on => $_->[1],
                                      resource => 'r') }
                     [ alice => 0 ], [ bob => 1 ];
    ok($alice && $bob, 'FLUSHALL: accounts restored: logins');
    cmp_ok((split ' ', record('bob', 'r'))[0], '>', $before,
           'cluster.md, 7: FLUSHALL: epochs go on');

    for my $i (1 .. 50) {
        $alice->message($i % 2 ? $bob->jid() : $bob->bare(), $i,
                        type => 'chat');
    }

    is_deeply([ map { my $m = $bob->expect('message'); $m && $m->body() }
                1 .. 50 ], [ 1 .. 50 ], 'FLUSHALL: messages flow in order');
    $_->close() for $alice, $bob;
}


# what happened is told, and is no reason for more

for my $host (0, 1) {
    my @errors = grep { /\[(?:error|crit)\]/ }
                 split /\n/, $t->host($host)->read_log();

    is_deeply([ grep { !/xmpp redis ".*": (?:command|subscriber) connection/
                       && !/xmpp login failed/ }
                @errors ], [], "host $host: no other errors in the log");
}

$t->done();
