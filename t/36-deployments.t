#!/usr/bin/perl

# Several deployments on one Redis, apart by xmpp_redis_prefix or by database,
# have nothing in common but the server (cluster.md, 13); and in one of them
# any localpart has keys and a channel of its own, with the characters that
# mean something in a key, too (cluster.md, 18).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/traffic";

use Encode qw/ encode /;
use Test::More;
use Test::XMPP;
use Traffic;

my @odd = ('a{b}c', '{', '}', '{}', '}{', '%', '100%', '%7b', '%7b%7d',
           'a%7bb%7dc', '{odd}', '*', '?[a-z]', "\x{E9}{%");

my $t = Test::XMPP->new(hosts => 0, workers => 2,
                        users => [ qw/ alice bob /,
                                   map { [ $_, 'localhost', 'odd-secret' ] }
                                       @odd ]);

$t->only_ours('needs our Redis keys');
$t->run();

my $redis = $t->redis();


###############################################################################
# Deployments

my @deployments = (
    [ 'the first' ],
    [ 'another prefix', 'xmpp_redis_prefix other;', '', '-p', 'other' ],
    [ 'another database', '', ' db=1', '-n', '1' ],
    [ 'both', 'xmpp_redis_prefix other;', ' db=1', '-p', 'other', '-n', 1 ],
);

my (@alice, @bob);

for my $i (0 .. $#deployments) {
    my ($name, $directives, $db, @options) = @{ $deployments[$i] };

    $t->start_host(config => Traffic::config(
        'xmpp_redis unix:%%REDIS%%' . ($db // '') . ';' . ($directives // '')));

    for my $user ($i ? qw/ alice bob / : ()) {
        my ($status, $said) = $t->xmppctl("$user-secret", @options,
                                          'adduser', "$user\@localhost");

        is($status, 0, "$name: an account of that name, too") or diag($said);
    }
}

for my $i (0 .. $#deployments) {
    push @alice, $t->online('alice', on => $i, resource => 'r');
    push @bob, $t->online('bob', on => $i, resource => 'r');
}

is_deeply([ $redis->channels() ],
          [ sort map { my $p = $_; map { "$p:{$_\@localhost}" }
                                   qw/ alice bob / }
            qw{ xmpp/0 other/0 xmpp/1 other/1 } ], 'a channel for each');

# each key and each channel, whatever it is for

my %began = map { /^(\w+[\/:]\d*)/ ? ($1 => 1) : ($_ => 1) }
            @{ $redis->command('PUBSUB', 'SHARDCHANNELS') };

is_deeply([ sort keys %began ], [ qw{ other/0 other/1 xmpp/0 xmpp/1 } ],
          'every channel has prefix and database');

for my $db (0, 1) {
    $redis->command('SELECT', $db);
    is_deeply([ sort keys %{ { map { (split /:/)[0] => 1 }
                               @{ $redis->command('KEYS', '*') } } } ],
              [ qw/ other xmpp / ], "every key has the prefix, database $db");
}

$redis->command('SELECT', 0);

for my $i (0 .. $#deployments) {
    my $name = $deployments[$i][0];

    $alice[$i]->message($bob[$i]->bare(), "bare $i", type => 'chat');
    $alice[$i]->message($bob[$i]->jid(), "full $i", type => 'chat');
    $alice[$i]->presence(to => $bob[$i]->jid(), status => "hello $i");
    ok($bob[$i]->expect('message', body => "bare $i"), "$name: bare JID");
    ok($bob[$i]->expect('message', body => "full $i"), "$name: full JID");
    ok($bob[$i]->expect('presence', from => $alice[$i]->jid()),
       "$name: presence");
}

for my $i (0 .. $#deployments) {
    ok($_->[$i]->expect_nothing(), "$deployments[$i][0]: nothing of others")
        for \@alice, \@bob;
}


# the end of one account is the end of its sessions, and of no others

my ($status) = $t->xmppctl(undef, 'deluser', 'bob@localhost');

is($status, 0, 'one of these accounts is removed');
ok($bob[0]->expect_stream_error('not-authorized'), 'its session ends');

for my $i (1 .. $#deployments) {
    $alice[$i]->message($bob[$i]->jid(), 'still', type => 'chat');
    ok($bob[$i]->expect('message', body => 'still'),
       "$deployments[$i][0]: stays");
}

$_->close() for @alice, @bob[1 .. $#bob];


###############################################################################
# Localparts, over two hosts

$t->start_host(config => Traffic::config());

my $two = $#deployments + 1;
my %here = map { $_ => $t->online($_, on => 0, resource => 'r') } @odd;
my %there = map { $_ => $t->online($_, on => $two, resource => 's') } @odd;

for my $i (0 .. $#odd) {
    my ($user, $next) = @odd[$i, ($i + 1) % @odd];

    ok($here{$user}->pick('presence', from => $there{$user}->jid()),
       "$user: one account on two hosts");
    $_->sync(), $_->drain() for $here{$user}, $there{$user};

    is($redis->command('HLEN', 'xmpp:{' . tag($user) . '}:sessions'), 4,
       "cluster.md, 18: $user: its key");
}


# the key tag of a user: RFC 3986, 2.1 for three of the characters

sub tag {
    my ($user) = @_;

    $user =~ s/([{}%])/sprintf '%%%02X', ord $1/ge;

    return encode('UTF-8', "$user\@localhost");
}


for my $i (0 .. $#odd) {
    my ($user, $next) = @odd[$i, ($i + 1) % @odd];
    my ($from, $to) = ($here{$user}, $there{$next});

    $from->message($to->jid(), "full $i", type => 'chat');
    $from->message($to->bare(), "bare $i", type => 'chat');

    ok($to->expect('message', from => $from->jid(), to => $to->jid(),
                   body => "full $i"), "$user to $next: full JID");
    ok($to->expect('message', from => $from->jid(), to => $to->bare(),
                   body => "bare $i"), "$user to $next: bare JID");
    ok($here{$next}->expect('message', body => "bare $i"),
       "$user to $next: bare JID, the other session");
}

for my $user (@odd) {
    ok($_->expect_nothing(), "$user: nothing else")
        for $here{$user}, $there{$user};

    # its resource on the other host: that one ends, and only that

    my $new = $t->online($user, on => 0, resource => 's');

    ok($there{$user}->expect_stream_error('conflict'), "$user: conflict");
    ok($here{$user}->expect('presence', from => $new->jid(),
                            type => 'unavailable'), "$user: it went");
    $new->close();
}

for my $user (@odd) {
    ok($here{$user}->pick('presence', type => 'unavailable'),
       "$user: and the new one");
    $here{$user}->close();
    is(($t->xmppctl(undef, 'deluser', "$user\@localhost"))[0], 0,
       "$user: deluser");
}

# identities are kept for a while, all else has gone

is_deeply([ grep { !/:seen:/ } map { @{ $redis->command('KEYS', "*$_*") } }
            map { s/([\\*?\[\]^-])/\\$1/gr } map { tag($_) } @odd ], [],
          'nothing is left in Redis');

$t->done();
