#!/usr/bin/perl

# Whether there is such an account is not to be learnt from a failed login
# (RFC 6120, 6.5.10, 13.11): not by what is answered, not by what it takes.
# A name with an account, without one, one that cannot have any, and an account
# without keys for the mechanism take the same steps: the same commands to
# Redis, the same shape of a challenge, and as long.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::UNIX;
use List::Util qw/ min /;
use MIME::Base64 qw/ decode_base64 encode_base64 /;
use Test::More;
use Test::XMPP;
use Time::HiRes qw/ time /;

my $t = Test::XMPP->new(workers => 1, users => []);

$t->only_ours('measures our server');

$t->config(<<'EOF_CONF');
%%GLOBALS%%
events { worker_connections 1024; }
stream {
    xmpp_redis unix:%%REDIS%%;
    xmpp_sasl_iterations     5000;
    xmpp_login_limit_address 0;
    xmpp_login_limit_account %%LIMIT%%;

    xmpp_host localhost {
        ssl_certificate     %%TESTDIR%%/localhost.pem;
        ssl_certificate_key %%TESTDIR%%/localhost.key;
    }

    server {
        listen 127.0.0.1:%%PORT_0%% proxy_protocol;
        set_real_ip_from 127.0.0.1;
        xmpp_c2s;
        xmpp_auth_attempts 255;
        xmpp_auth_timeout 10m;
        xmpp_preauth_bytes 1m;
    }
}
EOF_CONF

my $config = $t->{config}[0];
$t->config($config =~ s/%%LIMIT%%/100000/r);
$t->run();

my $redis = $t->redis();

# accounts as xmppctl makes them by that nginx.conf

add($_) for qw/ alice bob carol /;

# an account that has keys for one mechanism only

$redis->command('HDEL', 'xmpp:{carol@localhost}:account', 'scram-sha-256',
                'scram-sha-512');

# what a stranger may ask for: [ what it is, its name ]; all are as long

my @names = ([ 'an account', 'alice' ], [ 'none', 'alicf' ],
             [ 'no JID', "al\@ce" ], [ 'no keys', 'carol' ]);
my $number = 0;


###############################################################################
# The same commands to Redis

my $monitor = IO::Socket::UNIX->new(Peer => $redis->socket())
    or die "Redis: $!\n";

$monitor->print("MONITOR\r\n");
$monitor->getline();

for my $mechanism ('SCRAM-SHA-256', 'SCRAM-SHA-512', 'PLAIN') {
    my %steps;

    for my $name (@names) {
        my $c = from();

        told();
        is(try($c, $mechanism, $name->[1]), 'not-authorized',
           "$mechanism: $name->[0]: not-authorized");
        $c->drop();

        # of a name, only the name itself may differ, and its hash

        $steps{ $name->[0] } = join "\n", map {
            s/\Q$name->[1]\E/NAME/gr =~ s/"[0-9a-f]{16}"/HASH/gr } told();
    }

    like($steps{'an account'}, qr/HMGET.*NAME.*HMGET.*FCALL/s,
         "$mechanism: Redis was asked, and told");
    is($steps{$_}, $steps{'an account'}, "$mechanism: the same for $_")
        for map { $_->[0] } @names[1 .. $#names];
}

close $monitor;


###############################################################################
# The same challenge

for my $mechanism ('SCRAM-SHA-256', 'SCRAM-SHA-512') {
    my (%shape, %salt);

    for my $name (@names) {
        for (1 .. 2) {
            my $c = from();

            $c->send_auth($mechanism, "n,,n=$name->[1],r=abcdefgh");

            my $first = $c->recv_challenge();
            my ($nonce, $salt, $i) = $first =~ /^r=(.*),s=(.*),i=(\d+)$/
                or die "challenge: $first\n";

            $shape{ join ' ', length $nonce, length $salt, $i }++;
            $salt{$salt}++;
            $c->drop();
        }
    }

    is(join('; ', keys %shape), '40 24 5000',
       "$mechanism: one shape of all challenges");
    is(join(' ', sort values %salt), '2 2 2 2',
       "$mechanism: RFC 5802, 9: salts that differ, and stay");
}


###############################################################################
# As long: medians of attempts that take turns.  What would tell, a round trip
# to Redis or a PBKDF2 more or less, is half of what an attempt takes.

for my $mechanism ('SCRAM-SHA-256', 'PLAIN') {
    as_long($mechanism, "$mechanism: as long", $mechanism eq 'PLAIN' ? 40 : 150,
            'not-authorized', @names);
}


###############################################################################
# The same beyond a limit

$t->host()->reload($config =~ s/%%LIMIT%%/3/r);
$redis->command('DEL', 'xmpp:failures');

my @limited = @names[0 .. 2];

for my $name (@limited) {
    my $c = from();

    is(try($c, 'SCRAM-SHA-256', $name->[1]), 'not-authorized',
       "$name->[0]: failure $_") for 1 .. 3;
    $c->drop();

    # the worker's own count and that of Redis say the same

    is(try(from(), $_, $name->[1]), 'temporary-auth-failure',
       "$name->[0]: $_ at the limit") for 'SCRAM-SHA-256', 'PLAIN';
}

for my $mechanism ('SCRAM-SHA-256', 'PLAIN') {
    as_long($mechanism, "$mechanism: as long at the limit", 150,
            'temporary-auth-failure', @limited);
}

# before any password was looked at: PBKDF2 takes milliseconds, of the fastest,
# too, however busy the machine is

{
    my $c = from();
    my $at = min(map { timed($c, 'PLAIN', 'alice') } 1 .. 50);
    my $before = min(map { timed($c, 'PLAIN', 'bob') } 1 .. 3);

    cmp_ok($at, '<', $before / 2, 'at the limit no password is looked at');
}

$t->done();


###############################################################################

sub add {
    my ($user) = @_;

    my $conf = $t->host()->prefix() . '/nginx.conf';
    my ($status, $output) = $t->xmppctl("$user-secret", '-c', $conf,
                                        'adduser', "$user\@localhost");

    is($status, 0, "$user is made") or diag($output);
}


# A client under TLS at an address that is counted

sub from {
    my $c = $t->client('bob', mechanism => 'PLAIN');

    $c->connect();
    $c->send("PROXY TCP4 192.0.2.7 127.0.0.1 40000 5222\r\n");
    $c->open_stream();
    $c->starttls();

    return $c;
}


# one attempt, with a wrong password: the condition

sub try {
    my ($c, $mechanism, $name) = @_;

    if ($mechanism eq 'PLAIN') {
        $c->send_auth('PLAIN', "\0$name\0wrong");

    } else {
        $c->send_auth($mechanism, "n,,n=$name,r=abcdefgh");

        my $answer = $c->recv_stanza();

        return $answer->error() unless $answer->is('challenge');

        my ($nonce) = decode_base64($answer->find('.')) =~ /^(r=[^,]+),/;

        $c->send_response("c=biws,$nonce,p="
            . encode_base64('x' x ($mechanism =~ /512/ ? 64 : 32), ''));
    }

    return $c->recv_stanza()->error();
}


sub timed {
    my ($c, $mechanism, $name) = @_;

    my $begin = time;

    $c->{condition} = try($c, $mechanism, $name);

    return time - $begin;
}


sub median {
    my @sorted = sort { $a <=> $b } @_;

    return $sorted[ $#sorted / 2 ];
}


# Medians of n attempts each; measured again if the machine was busy, since a
# difference that is there is there each time.

sub as_long {
    my ($mechanism, $what, $n, $condition, @classes) = @_;

    my (%median, $spread);

    for my $round (1 .. 4) {
        my (%times, $c);

        for my $i (0 .. $n - 1) {
            if ($i % 50 == 0) {
                $c->drop() if $c;
                $c = from();
            }

            for my $class (@classes) {
                push @{ $times{ $class->[0] } },
                    timed($c, $mechanism, $class->[1]);

                die "$what: $c->{condition}\n"
                    if $c->{condition} ne $condition;
            }
        }

        $c->drop();

        %median = map { $_ => median(@{ $times{$_} }) } keys %times;

        my ($least, @more) = sort { $a <=> $b } values %median;

        $spread = $more[-1] / $least;
        last if $spread < 1.25;
    }

    cmp_ok($spread, '<', 1.25, $what);
    note(join ', ', map { sprintf '%s %.0f us', $_, 1e6 * $median{$_} }
                    sort keys %median);
}


# What Redis was told by others since the last call, scripts' own aside

sub told {
    my $mark = 'mark ' . ++$number;
    my @told;

    $redis->command('ECHO', $mark);

    while (defined(my $line = $monitor->getline())) {
        my ($from, $words) = $line =~ /^\+[\d.]+ \[\d+ (\S+)\] (.*)\r\n$/
            or die "MONITOR: $line";

        last if $words eq qq{"ECHO" "$mark"};
        push @told, $words unless $from eq 'lua' || $words =~ /^"PING"/
                                  || $words =~ /PUBLISH/;
    }

    return @told;
}
