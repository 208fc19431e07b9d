#!/usr/bin/perl

# Injection into the store: whatever names people give themselves, and whoever
# asks for whatever name, each command to Redis is one that was meant, and each
# key and channel that of one account.  Seen through MONITOR.
# docs/redis-schema.md; RFC 7622, 3.3.1 and 3.4.1.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use Encode qw/ encode /;
use IO::Socket::UNIX;
use Test::More;
use Test::XMPP;

# what a localpart may be made of, and what means something to Redis, to Lua or
# to our names

my @names = ('alice', '{alice}', '}alice{', '%7balice%7d', '%', '*', '?',
             '[a-z]', '\\x', '$4', '*1', 'a;b', 'a=b', 'a(b)', '!', '#',
             'accounts', 'secret', 'ünïcödé', '{', '}', '{}', '0', '^',
             '`id`', '|', '~');

my $t = Test::XMPP->new(users => [ map { [ $_, 'localhost', 'pw' ] } @names ],
                        workers => 1)->only_ours();

$t->config(<<'EOF');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis      unix:%%REDIS%%;
    xmpp_starttls   on;
    xmpp_heartbeat  1h;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    xmpp_host second.test {
        ssl_certificate      %%TESTDIR%%/second.test.pem;
        ssl_certificate_key  %%TESTDIR%%/second.test.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }

    server {
        listen  127.0.0.1:%%PORT_1%% ssl;
        xmpp_c2s;
    }
}
EOF

$t->run();

my $redis = $t->redis();
my $domain = $t->domain();

$t->client('alice')->login()->close();


###############################################################################
# What Redis is told from now on

my $monitor = IO::Socket::UNIX->new(Peer => $redis->socket())
    or die "Redis: $!\n";
my ($bytes, @commands) = ('');

$monitor->print("MONITOR\r\n");
$monitor->getline();


# All up to now: [ words of the command, as bytes ] each; scripts' own aside

sub told {
    my $mark = 'mark ' . rand;
    my @told;

    $redis->command('ECHO', $mark);

    while (defined(my $line = $monitor->getline())) {
        my ($from, $words) = $line =~ /^\+[\d.]+ \[\d+ (\S+)\] (.*)\r\n$/
            or die "MONITOR: $line";

        my @words = map { unescape($_) } $words =~ /"((?:[^"\\]|\\.)*)"/g;

        last if $words[0] eq 'ECHO' && $words[1] eq $mark;
        push @told, \@words unless $from eq 'lua';
    }

    return @told;
}

sub unescape {
    my ($word) = @_;
    my %control = (n => "\n", r => "\r", t => "\t", a => "\a", b => "\b");

    $word =~ s{\\(?:x(..)|(.))}
              {defined $1 ? chr hex $1 : $control{$2} // $2}gex;

    return $word;
}

# the one tag of a name, as the schema says

sub tag {
    my ($name) = @_;

    return encode('UTF-8', $name =~ s/([{}%])/sprintf '%%%02X', ord $1/ger
                           . "\@$domain");
}


# Each command is one of ours, about these accounts and no other.

sub only {
    my ($what, @accounts) = @_;
    my %tags = map { tag($_) => 1 } @accounts;
    my %bare = map { encode('UTF-8', "$_\@$domain") => 1 } @accounts;
    my (@bad, $n);

    for my $words (told()) {
        my ($command, @rest) = @$words;
        my @names;

        $n++;

        if (uc $command eq 'HMGET') {
            @names = $rest[0];
            push @bad, "fields @rest[1 .. $#rest]"
                if "@rest[1 .. $#rest]"
                   !~ /^scram-sha-\d+ known disabled created$/;

        } elsif (uc $command eq 'FCALL') {
            push @bad, "Function $rest[0]" if $rest[0] !~ /^xmpp1_\w+$/;
            @names = @rest[2 .. 2 + $rest[1]];           # and the channel

        } elsif (uc $command =~ /^S(?:UN)?SUBSCRIBE$/) {
            @names = @rest;

        } elsif (uc $command =~ /^H(?:SET|DEL)$/) {       # of the worker
            my ($list, $sid, $jid) = @rest;

            push @bad, "list @$words"
                if $list !~ /^xmpp:\{[0-9a-f]{16}\}:listed$/
                   || $sid !~ /^[0-9a-f]{16}\.[0-9a-f]+$/
                   || @rest > 3
                   || defined $jid
                      && !$bare{ $jid =~ m{^([^/]*)/} ? $1 : '' };

        } else {
            push @bad, "command @$words";
        }

        for my $name (@names) {
            my ($tag) = $name =~ m{^xmpp(?:/0)?:\{([^{}]*)\}
                                   (?::[a-z]+(?::\d+)?)?$}x;

            push @bad, "name $name" unless defined $tag && $tags{$tag};
        }
    }

    is(join("\n", @bad), '', $what);
    cmp_ok($n // 0, '>', 0, 'of ' . ($n // 0) . ' commands');
}


###############################################################################
# Those who are somebody

my $bob = $t->online('{}', resource => 'b');

only('a login', '{}', 'alice');

for my $name (@names) {
    my $c = $t->client($name, tls => 'none', mechanism => 'SCRAM-SHA-1',
                       resource => 'r')->login();

    $c->available();
    $c->message($bob->{bare}, "from $name", type => 'headline');
    $bob->message($c->{bare}, "to $name", type => 'headline');
    ok($c->pick('message', body => "to $name"), "to '$name'");
    ok($bob->pick('message', body => "from $name", from => $c->jid()),
       "from '$name'");
    $c->close();
    $bob->message($c->jid(), 'gone', type => 'groupchat');
    $bob->pick('message', type => 'error', from => $c->jid());
    only("and nothing but that: '$name'", $name, '{}');
}


###############################################################################
# Those who are nobody, and no name: what Redis is asked for is their own

my @nobody = ("x\r\nFLUSHALL\r\n", "x\nSET a b\n", "alice\0", "\0alice", "\r\n",
              "alice\@localhost", "alice\@localhost}:account", '}:account',
              "alice\@localhost:account", 'alice localhost', ' alice',
              "a'b", 'a"b', 'a&b', 'a<b', 'a:b', 'a/b', "\x{202E}alice",
              "a\x{AD}lice", "\x{FEFF}alice", "\x{2028}", 'x' x 2000,
              '{' x 1023, '%' x 1000);

for my $name (@nobody) {
    for my $mechanism (qw/ SCRAM-SHA-1 PLAIN /) {
        next if $mechanism eq 'PLAIN' && $name =~ /\0/;

        my $c = $t->client('alice');

        $c->secure();
        told();

        my $outcome = $c->authenticate(mechanism => $mechanism,
                                       user => $name, password => 'pw');
        my $print = substr $name =~ s/[^ -~]/?/gr, 0, 30;

        like($outcome && $outcome->error(),
             qr/^(?:not-authorized|malformed-request)$/,
             "$mechanism: nobody: '$print'");

        my @bad = grep { !asked_for_nobody(@$_) } told();

        is(join("\n", map { "@$_" } @bad), '',
           "$mechanism: Redis is asked for nobody's keys");
        $c->drop();
    }
}


# A look-up of an account that is none of ours

sub asked_for_nobody {
    my ($command, $key, @rest) = @_;

    return uc $command eq 'HMGET'
           && "@rest[1 .. $#rest]" eq 'known disabled created'
           && $key =~ /^xmpp:\{[^{}]*\@localhost\}:account$/
           && !grep { $key eq 'xmpp:{' . tag($_) . '}:account' } @names;
}


###############################################################################
# Resources are fields and lie beside others

my @resources = ('e', 'n', 're', '0', '-1', '*', '1 2 3 4', '1 x y 0', '{r}',
                 "x\x{2003}y", '%n', 'a,b:c', 'x:1,y:2', '1m 1 0 0 ', '"',
                 "'); redis.call('FLUSHALL') --", '[[x]]', '$', '\\r\\n');

for my $resource (@resources) {
    my $c = $t->client('alice', tls => 'none', mechanism => 'SCRAM-SHA-1',
                       resource => $resource);

    is(eval { $c->login()->available(); $c->jid() },
       "alice\@$domain/" . $resource =~ s/\x{2003}/ /r,
       "resource '$resource'") or diag $@;

    my %fields = @{ $redis->command('HGETALL',
                                    "xmpp:{alice\@$domain}:sessions") };
    my $field = encode('UTF-8', 'r' . $c->jid() =~ s{^.*?/}{}r);

    is(join(' | ', sort keys %fields), join(' | ', sort 'e', 'n', $field),
       'is a field of its own');

    # to it, and to nobody else

    $bob->message($c->jid(), $resource);
    ok($c->pick('message', body => $resource), 'hears what is for it');
    $c->close();
    $redis->command('HLEN', "xmpp:{alice\@$domain}:sessions");
}

# what the recipient of a bell could take for its head

$bob->sync();
$bob->drain();

for my $body ("\n", "1m 1 0 0 x:1\n<presence/>", "x\n1k 9 0 9 \nb", "\r\n+OK") {
    my $alice = $t->client('alice', resource => 'r')->login();

    $alice->message($bob->{bare}, $body);
    ok($bob->pick('message', body => $body =~ s/\r\n/\n/gr),
       'a text stays one: ' . $body =~ s/[^ -~]/?/gr);
    ok($bob->expect_nothing(from => $alice), 'and is all there is');
    $alice->close();
}

my ($keys) = $redis->command('INFO', 'keyspace') =~ /keys=(\d+)/;

cmp_ok($keys, '<', 5 * @names, "no key too many: $keys");

$t->done();
