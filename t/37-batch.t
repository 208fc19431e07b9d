#!/usr/bin/perl

# What a client sends to one address in one piece goes through Redis in few
# commands, each of which rings once: order, errors, counters and repeats are
# those of single stanzas.  RFC 6120, 10.1; cluster.md, rules 1, 2 and 6.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/traffic";

use Test::More;
use Test::XMPP;
use Test::XMPP::Lanes;
use Test::XMPP::Process;
use Traffic;

my $t = Test::XMPP->new(hosts => 0, workers => 1,
                        users => [ qw/ alice bob carol / ]);

$t->only_ours('counts the commands of our Redis');
$t->config(Traffic::config('xmpp_redis unix:%%TESTDIR%%/%%NAME%%.sock;
                            xmpp_heartbeat 1h;
    xmpp_redis_timeout 2s;
    log_format sent $xmpp_jid:$xmpp_stanzas_sent;
    access_log %%TESTDIR%%/%%NAME%%-sent.log sent;
    xmpp_durability none;
    xmpp_archive off;'));
$t->run();

my $redis = $t->redis();
my %ns = %Test::XMPP::Client::NS;
my @lanes;

for my $host (0, 1) {
    push @lanes, Test::XMPP::Lanes->new($t->testdir() . "/host$host.sock",
                                        $redis->socket());
    $t->start_host();
}

my ($alice, $bob, $carol) = map { $t->online($_->[0], on => $_->[1],
                                             resource => 'r') }
                            [ alice => 0 ], [ bob => 1 ], [ carol => 1 ];
my $serial = 0;

# what bob was sent, by the way his own presence
my $received = 1;

sub await { &Test::XMPP::Process::await }


# calls of the Function that routes, so far

sub routed {
    my ($n) = $redis->command('INFO', 'commandstats')
              =~ /^cmdstat_fcall:calls=(\d+)/m;

    return $n // 0;
}


# the bytes of a message with an id of its own, and that id

sub one {
    my ($to, %with) = @_;
    my $id = 'n' . ++$serial;
    my $type = $with{type} // 'chat';
    my $body = $with{body} // "body of $id";

    return "<message to='$to' type='$type' id='$id'><body>$body</body>"
           . '</message>', $id;
}


# many(address, n): the bytes of n messages to it, and their ids

sub many {
    my ($to, $n, %with) = @_;
    my ($bytes, @ids) = ('');

    for (1 .. $n) {
        my ($message, $id) = one($to, %with);
        $bytes .= $message;
        push @ids, $id;
    }

    return $bytes, @ids;
}


# the ids of the next n messages, which have to be whole

sub ids {
    my ($client, $n) = @_;
    my @ids;

    for (1 .. $n) {
        my $message = $client->expect('message') or last;
        push @ids, $message->attr('id');
    }

    $received += @ids if $client == $bob;

    return \@ids;
}


###############################################################################
# One piece, few commands

for my $to ([ 'bare JID', $bob->bare() ], [ 'full JID', $bob->jid() ]) {
    my ($name, $address) = @$to;
    my ($bytes, @ids) = many($address, 16);
    my $before = routed();

    $alice->send($bytes);
    is_deeply(ids($bob, 16), \@ids, "$name: sixteen in order");
    is(routed() - $before, 1, "$name: by one command");

    ($bytes, @ids) = many($address, 40);
    $before = routed();

    $alice->send($bytes);
    is_deeply(ids($bob, 40), \@ids, "$name: forty in order");
    is(routed() - $before, 3, "$name: sixteen in a command at most");
}


# bytes are limited, too: the command is sent when it has 32 kB

{
    my ($bytes, @ids) = many($bob->bare(), 4, body => 'x' x 20_000);
    my $before = routed();

    $alice->send($bytes);
    is_deeply(ids($bob, 4), \@ids, 'long ones: in order');
    cmp_ok(routed() - $before, '>=', 2, 'long ones: by more than one command');
}


###############################################################################
# What does not go along is not overtaken, and overtakes nothing

{
    my @messages = map { [ one($_) ] } $bob->bare(), $bob->bare(),
                   $carol->bare(), $carol->bare(), $bob->jid(), $bob->bare();
    my $ping = "<iq type='get' id='ping' to='localhost'>"
               . "<ping xmlns='$ns{ping}'/></iq>";

    $lanes[0]->delay('command', 100);
    $alice->send(join '', map({ $_->[0] } @messages[0 .. 3]), $ping,
                 map { $_->[0] } @messages[4, 5]);
    is_deeply(ids($bob, 4), [ map { $_->[1] } @messages[0, 1, 4, 5] ],
              'RFC 6120, 10.1: to one of two recipients, in order');
    is_deeply(ids($carol, 2), [ map { $_->[1] } @messages[2, 3] ],
              'RFC 6120, 10.1: to the other');
    ok($alice->expect('iq', id => 'ping', type => 'result'),
       'an iq between them is answered');
    $lanes[0]->delay('command', 0);

    # types are routed differently: a normal one is not in a batch of chats

    my $before = routed();
    my @types = map { [ one($bob->bare(), type => $_) ] }
                qw/ chat chat normal headline headline /;

    $alice->send(join '', map { $_->[0] } @types);
    is_deeply(ids($bob, 5), [ map { $_->[1] } @types ],
              'RFC 6121, 8.5.2: types in turn, in order');
    is(routed() - $before, 3, 'a command for each type');
}


# an answer of the server stays behind the errors of what was sent before

{
    my ($bytes, @ids) = many('nobody@localhost', 5);
    my @got;

    $alice->send($bytes . "<iq type='get' id='last' to='localhost'>"
                 . "<ping xmlns='$ns{ping}'/></iq>");

    for (1 .. 6) {
        my $stanza = $alice->recv_stanza() or last;
        push @got, $stanza->attr('id') . ' ' . $stanza->attr('type');
    }

    is_deeply(\@got, [ map({ "$_ error" } @ids), 'last result' ],
              'RFC 6121, 8.5.1: each comes back, in order');
}


# errors of the stanzas themselves: between two batches

{
    my ($first, @first) = many($bob->bare(), 2);
    my ($then, @then) = many($bob->bare(), 2);

    $alice->send("$first<message to='a\@b\@c' id='bad' type='chat'/>$then");
    is_deeply(ids($bob, 4), [ @first, @then ], 'a malformed JID: the others');
    ok($alice->expect('message', id => 'bad', type => 'error',
                      error => 'modify jid-malformed'),
       'RFC 6120, 8.3.3.8: a malformed JID comes back');
}


###############################################################################
# The stream ends right behind them

for my $end ([ 'the end of the stream', '</stream:stream>' ],
             [ 'XML that is none', '<a></b>' ],
             [ 'an element that is not allowed', "<x xmlns='urn:x'/>" ],
             [ 'a false address',
               "<message from='bob\@localhost' to='bob\@localhost'/>" ])
{
    my ($name, $last) = @$end;
    my $dave = $t->client('alice', on => 0, resource => 'short')->login();
    my ($bytes, @ids) = many($bob->bare(), 7);

    $dave->send($bytes . $last);
    is_deeply(ids($bob, 7), \@ids, "$name behind them: all are delivered");
    $dave->drop();
    ok(await(sub {
        return !$redis->command('HEXISTS', 'xmpp:{alice@localhost}:sessions',
                                'rshort');
    }), "$name behind them: the session ends");
}


###############################################################################
# Unknown outcome: the command ran, the connection is lost before the reply.
# The repeat says that it is one, and delivers nothing twice (rule 2).

for my $case ([ 'a batch', 10 ], [ 'one', 1 ]) {
    my ($name, $n) = @$case;
    my ($bytes, @ids) = many($bob->bare(), $n);
    my $before = routed();

    $lanes[0]->mute('command');
    $alice->send($bytes);
    is_deeply(ids($bob, $n), \@ids, "lost reply: $name: delivered");
    $lanes[0]->cut('command');
    $lanes[0]->release('command');
    $alice->sync();

    # a bell of later shows that nothing came between

    my ($next, $id) = one($bob->bare());
    $alice->send($next);
    is_deeply(ids($bob, 1), [ $id ], "lost reply: $name: once");
    cmp_ok(routed() - $before, '>=', 3, "lost reply: $name: was repeated");
}


###############################################################################
# The same, and the repeat is refused: what an earlier try may have done is not
# contradicted by an error (rule 2)

{
    my ($bytes, @ids) = many($bob->bare(), 3);

    $lanes[0]->mute('command');
    $alice->send($bytes);
    is_deeply(ids($bob, 3), \@ids, 'refused repeat: delivered');
    $redis->command('CONFIG', 'SET', 'maxmemory', '1');
    $lanes[0]->cut('command');
    $lanes[0]->release('command');
    $alice->send("<iq type='get' id='after' to='localhost'>"
                 . "<ping xmlns='$ns{ping}'/></iq>");

    my $next = $alice->recv_stanza();

    is($next && $next->attr('id'), 'after', 'refused repeat: no error');
    $redis->command('CONFIG', 'SET', 'maxmemory', '0');
}


###############################################################################
# Redis is away: nothing of a batch ran, each comes back (rule 2)

{
    my ($bytes, @ids) = many($bob->bare(), 6);

    my $lost = sub { scalar(() = $t->read_log() =~ /command connection /g) };
    my $before = $lost->();

    $redis->command('SAVE');
    $redis->kill9();
    ok(await(sub { $lost->() > $before }), 'Redis away: noticed');
    $alice->send($bytes);

    my @got = map { my $e = $alice->expect('message', type => 'error',
                                           error => 'wait resource-constraint');
                    $e ? $e->attr('id') : 'none' } 1 .. 6;

    is_deeply(\@got, \@ids, 'Redis away: each comes back, in order');
    $redis->start();
    ok(await(sub { $redis->channels() == 3 }, 20), 'Redis is back');
}


###############################################################################
# $xmpp_stanzas_sent counts each of a batch

$_->close() for $alice, $carol, $bob;

my $line;

ok(await(sub {
    ($line) = $t->read_file('host1-sent.log') =~ m{^(bob\@localhost/r:.*)}m;
    return $line;
}), 'the recipient is in the access log');
is((split /:/, $line)[1], $received, 'each of a batch has counted');

$t->done();
