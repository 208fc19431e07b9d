#!/usr/bin/perl

# A stanza is held behind a batch that waits for Redis, and half a stanza
# behind that, when its stream ends in one of many ways: what was read is
# handled, in order (RFC 6120, 10.1), and the session ends once.

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

$t->only_ours('needs our Redis connections');
$t->config(Traffic::config('xmpp_redis unix:%%TESTDIR%%/%%NAME%%.sock;
                            xmpp_heartbeat 1h;'));
$t->run();

my $redis = $t->redis();
my @lanes;

for my $host (0, 1) {
    push @lanes, Test::XMPP::Lanes->new($t->testdir() . "/host$host.sock",
                                        $redis->socket());
    $t->start_host();
}

my $bob = $t->online('bob', on => 1, resource => 'r');
my $serial = 0;

sub await { &Test::XMPP::Process::await }


# what is held: a message to another address of bob's, an error, presence

my %held = (
    message  => sub { "<message to='" . $bob->jid() . "' id='held'/>" },
    error    => sub { "<message to='a\@b\@c' id='held'/>" },
    presence => sub { '<presence><priority>5</priority></presence>' }
);

my %ends = (
    drop     => sub { $_[0]->drop() },
    close    => sub { $_[0]->send('</stream:stream>') },
    conflict => sub {
        $t->client('carol', on => 1, resource => $_[1])->login();
    },
    kill     => sub {
        $redis->command('CLIENT', 'KILL', 'TYPE', 'normal');
        $_[0]->drop();
    }
);

for my $end (sort keys %ends) {
    for my $kind (sort keys %held) {
        my $name = "$end, $kind held";
        my $resource = 's' . ++$serial;
        my $carol = $t->client('carol', on => 0, resource => $resource)
                    ->login();
        my @ids = map { "$resource-$_" } 1 .. 5;

        $carol->sync();
        $lanes[0]->hold('command');
        $carol->send(join('', map { "<message to='bob\@localhost' id='$_'"
                                    . " type='chat'/>" } @ids)
                     . $held{$kind}->() . "<message to='bob\@localhost'");
        ok(await(sub { $lanes[0]->held('command') > 0 }), "$name: it waits");

        my $other = $ends{$end}->($carol, $resource);

        $lanes[0]->release('command');

        my @got = map { my $m = $bob->expect('message');
                        $m ? $m->attr('id') : 'none' }
                  1 .. @ids + ($kind eq 'message');

        is_deeply(\@got, [ @ids, $kind eq 'message' ? 'held' : () ],
                  "$name: all is handled, in order");

        $other->close() if $end eq 'conflict';
        $carol->drop();
        ok(await(sub { !$redis->command('HEXISTS',
               'xmpp:{carol@localhost}:sessions', "r$resource") }),
           "$name: the session ends");
    }
}

$bob->close();
$t->done();
