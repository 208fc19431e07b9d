#!/usr/bin/perl

# Limits on failed logins, per network and per account, over workers and hosts
# (RFC 6120, 6.5.9, 6.5.10, 13.12).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::SHA qw/ sha256_hex /;
use MIME::Base64 qw/ decode_base64 encode_base64 /;
use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

my $t = Test::XMPP->new(hosts => 2, users => [ qw/ alice bob carol dave /,
                                [ 'alice', 'second.test', 'alice-secret' ] ]);

$t->only_ours('counts in our Redis');

$t->config(<<'EOF_CONF');
%%GLOBALS%%
events { worker_connections 1024; }
stream {
    xmpp_redis unix:%%REDIS%%;
    xmpp_login_limit_address 6;
    xmpp_login_limit_account 4;
    xmpp_login_limit_time 300s;

    map $remote_addr $office { default 0; 198.51.100.7 1; }

    xmpp_host localhost {
        ssl_certificate     %%TESTDIR%%/localhost.pem;
        ssl_certificate_key %%TESTDIR%%/localhost.key;
        ssl_verify_client   optional;
        ssl_client_certificate  %%TESTDIR%%/ca.pem;
        xmpp_login_limit_exempt $office;
    }

    xmpp_host second.test {
        ssl_certificate     %%TESTDIR%%/second.test.pem;
        ssl_certificate_key %%TESTDIR%%/second.test.key;
        xmpp_login_limit_address 0;
        xmpp_login_limit_account 0;
    }

    server {
        listen 127.0.0.1:%%PORT_0%% proxy_protocol;
        set_real_ip_from 127.0.0.1;
        xmpp_c2s;
    }

    server {
        listen 127.0.0.1:%%PORT_1%%;
        xmpp_c2s;
    }
}
EOF_CONF

my $ca = $t->{ca} = Test::XMPP::CA->new($t->testdir());

$t->run();

my $redis = $t->redis();
my $turn = 0;
my $today = int(time / 86400);

my $LIMITED = 'temporary-auth-failure';


###############################################################################
# Per network: alternately on two hosts

for my $case ([ 'IPv4', [ '192.0.2.1' ], '192.0.2.2' ],
              [ 'IPv6, a /64', [ map { "2001:db8:0:1:$_\::1" } 1 .. 7 ],
                '2001:db8:0:2:1::1' ],
              [ 'IPv4 in IPv6', [ '::ffff:203.0.113.1', '203.0.113.1' ],
                '::ffff:203.0.113.2' ])
{
    my ($what, $from, $other) = @$case;

    fresh();
    is(attempt($from->[ $_ % @$from ], "u$_", 'x'), 'not-authorized',
       "$what: failure $_") for 1 .. 6;
    counted(6, 7);

    my $names = $redis->command('HLEN', 'xmpp:failures');

    # on every worker there is, with every mechanism

    for my $mechanism (@Test::XMPP::SASL::MECHANISMS) {
        for my $user ('alice', 'u1', 'nobody', 'a@b') {
            is(attempt($from->[0], $user, undef, mechanism => $mechanism),
               $LIMITED, "$what: $mechanism: $user is refused")
                for 1 .. 2;
        }
    }

    is($redis->command('HLEN', 'xmpp:failures'), $names,
       "$what: what is refused makes no key");
    counted(6, 7);
    is(attempt($other, 'alice'), 'success', "$what: another is not");
}

is(lines(qr/login limit reached: client 192\.0\.2\.1, 6 failures within 300 s/),
   1, 'one line for the limit, on one of the hosts');
is(lines(qr/login limit reached: client 2001:db8:0:1::\/64, /), 1,
   'one line for the IPv6 network');
is(lines(qr/login limit reached: client 203\.0\.113\.1, /), 1,
   'one for IPv4, in whichever form');

cmp_ok($redis->command('TTL', 'xmpp:failures'), '<=', 300, 'the window ends');
cmp_ok($redis->command('TTL', 'xmpp:failures'), '>', 0, 'but not at once');


###############################################################################
# Per account

fresh();
is(attempt('192.0.2.20', 'bob'), 'success', 'bob logs in from one address,');
is(attempt('192.0.2.21', 'bob'), 'success', 'and from another');
await_known('bob', 2);

for my $user ('bob', 'nobody', 'a@b') {
    is(attempt("192.0.2.3$_", $user, 'x'), 'not-authorized',
       "$user: failure $_, from anywhere") for 1 .. 4;
    ok(await(sub { tally('u', "$user\@localhost") == 4 }), "$user: counted");
    is(attempt("192.0.2.4$_", $user, $_ == 1 ? undef : 'x'), $LIMITED,
       "$user: refused, right or wrong") for 1 .. 3;
    is(attempt('2001:db8::9', $user), $LIMITED, "$user: from IPv6, too");
}

is(attempt('192.0.2.20', 'bob'), 'success',
   'who knows the account from before is let in');
is(attempt('192.0.2.21', 'bob'), 'success', 'from both');
is(attempt('192.0.2.41', 'alice'), 'success', 'other accounts are not touched');

is(lines(qr/login limit reached: jid "bob\@localhost" from addresses new/), 1,
   'one line for an account');
is(lines(qr/login limit reached: jid "nobody\@localhost" from addresses new/),
   1, 'the same for none');
is(lines(qr/login limit reached: jid "a\\x40b\@localhost" /) +
   lines(qr/login limit reached: jid "a\@b\@localhost" /),
   1, 'and for what cannot be one');

# an address that is known has the same limit, for itself

is(attempt('192.0.2.20', 'bob', 'x'), 'not-authorized',
   "a known address: failure $_") for 1 .. 4;
ok(await(sub { tally('k', 'bob@localhost', '192.0.2.20') == 4 }), 'counted');
is(attempt('192.0.2.20', 'bob'), $LIMITED, 'a known address: limited');
is(attempt('192.0.2.21', 'bob'), 'success', 'the other one is not');
is(attempt('192.0.2.20', 'alice'), 'success', 'nor another account there');
is(tally('u', 'bob@localhost'), 4, 'it did not count for strangers');
is(lines(qr/limit reached: client 192\.0\.2\.20, jid "bob\@localhost", /), 1,
   'one line');


###############################################################################
# What an account knows

is(known('bob'), 2, 'the networks are remembered');
like(field('bob'), qr/^[0-9a-f]{16}:$today [0-9a-f]{16}:$today$/,
     'as hashes, with the day');

# a write would drop what is too old; binding comes behind it

set_known('bob', [ '192.0.2.21', $today ], [ '192.0.2.22', $today - 40 ]);

{
    my $before = field('bob');
    my $c = from('192.0.2.21', 'bob');

    $c->auth();
    ok($c->bind(), 'the same day again');
    is(field('bob'), $before, 'is no write');
}

for my $old ([ 29, 1 ], [ 30, 1 ], [ 31, 0 ]) {
    my ($days, $is) = @$old;

    fresh();
    set_known('carol', [ '192.0.2.50', $today - $days ]);
    fail_often('carol');

    is(attempt('192.0.2.50', 'carol'), $is ? 'success' : $LIMITED,
       "last seen $days days ago: " . ($is ? 'known' : 'forgotten'));
    ok(await(sub { (field('carol') // '') =~ /:$today$/ }),
       'which makes it today') if $is;
}

fresh();
set_known('carol', map { [ "192.0.2.$_", $today - $_ + 100 ] } 101 .. 116);
is(attempt('192.0.2.99', 'carol'), 'success', 'the 17th network');
ok(await(sub { field('carol') =~ /^\Q@{[ hash('k', 'carol@localhost',
                                              '192.0.2.99') ]}\E:$today / }),
   'is the first');
is(known('carol'), 16, 'there are 16');
unlike(field('carol'), qr/\Q@{[ hash('k', 'carol@localhost', '192.0.2.116') ]}/,
       'the one not seen for the longest time is gone');

# an account that is removed takes them along

set_known('dave', [ '192.0.2.50', $today ]);
($t->xmppctl(undef, 'deluser', 'dave@localhost'))[0]
    and die "deluser\n";
is($redis->command('EXISTS', 'xmpp:{dave@localhost}:account'), 0, 'removed');
is_deeply($redis->command('FCALL', 'xmpp1_known', 1,
                          'xmpp:{dave@localhost}:account', 'ab', $today, 30),
          [ 'none' ], 'xmpp1_known: no such account');
is($redis->command('EXISTS', 'xmpp:{dave@localhost}:account'), 0,
   'xmpp1_known: makes none');


###############################################################################
# Many at once: each has its challenge before the first has failed

fresh();

{
    # each worker lets through what is allowed, so one of them is looked at

    $t->start_host(workers => 1);

    my @waiting = map { challenged('192.0.2.60', $_ < 40 ? "many$_" : 'alice',
                                   on => 2) } 1 .. 40;
    my $c = $waiting[-1];

    prove_wrong($_) for @waiting[0 .. 38];

    my %outcome;
    $outcome{ $_->recv_stanza()->error() }++ for @waiting[0 .. 38];

    is_deeply(\%outcome, { 'not-authorized' => 6, $LIMITED => 33 },
              'at once: no more than the limit are tried');

    $c->send_response($c->{scram}->final($c->{first}));
    is($c->recv_stanza()->error(), $LIMITED,
       'at once: the right password comes too late');
}

# who goes while PBKDF2 runs does not know the outcome, but it was a try

{
    fresh();
    my $c = from('192.0.2.61', 'alice');

    $c->send_auth('PLAIN', "\0alice\0x");
    $c->drop();
    ok(await(sub { tally('a', '192.0.2.61') == 1 }), 'PLAIN, and gone: counts');
}


###############################################################################
# What is not counted

fresh();

is(attempt('198.51.100.7', 'alice', 'x'), 'not-authorized', "exempt: $_")
    for 1 .. 10;
is(attempt('192.0.2.62', 'alice', 'x', domain => 'second.test'),
   'not-authorized', "off on another host: $_") for 1 .. 10;

for (1 .. 10) {
    my $c = $t->client('alice', port_number => 1, on => $_ % 2);

    $c->secure();
    is($c->authenticate(password => 'x')->error(), 'not-authorized',
       "loopback: $_");
}

{
    my $c = from('192.0.2.63', 'alice');

    $c->send_auth('SCRAM-SHA-1', 'n,,n=alice');
    is($c->recv_stanza()->error(), 'malformed-request', 'a malformed request');
    $c->send("<abort xmlns='$Test::XMPP::Client::NS{sasl}'/>");
    is($c->recv_stanza()->error(), 'aborted', 'an aborted one');
}

is(attempt('192.0.2.64', 'alice'), 'success', 'a login');
is($redis->command('EXISTS', 'xmpp:failures'), 0, 'are not counted');

# RFC 6120, 6.3.8: to ask for another's identity is

is(attempt('192.0.2.65', 'alice', undef, authzid => 'bob@localhost'),
   'invalid-authzid', 'an identity that is not ours');
ok(await(sub { tally('a', '192.0.2.65') == 1 }), 'counts for the network');

# XEP-0178, 2, 11: who has two names, and asks for neither, has tried nothing

{
    my $two = $ca->client('two', [ xmpp => 'alice@localhost',
                                   xmpp => 'bob@localhost' ]);
    my $external = sub {
        my $c = from('192.0.2.66', 'alice', certificate => $two);

        $c->send_auth('EXTERNAL', $_[0]);
        my $answer = $c->recv_stanza();

        return $answer->is('success') ? 'success' : $answer->error();
    };

    is($external->(''), 'invalid-authzid', 'two names, none asked for')
        for 1 .. 8;
    is($external->('carol@localhost'), 'invalid-authzid', 'not one of them');
    ok(await(sub { tally('a', '192.0.2.66') == 1 }),
       'which counts, and the others did not');
    is($external->('bob@localhost'), 'success', 'one of them');

    $external->('carol@localhost') for 1 .. 5;
    is($external->('bob@localhost'), $LIMITED,
       'the limit is for EXTERNAL as well');
}


###############################################################################
# xmppctl shows and clears the counters

fresh();
set_known('carol', [ '192.0.2.80', $today ]);
fail_often('carol');
is(attempt('192.0.2.80', 'carol', 'x'), 'not-authorized', 'and from a known');
attempt('2001:db8:80::1', "v6-$_", 'x') for 1 .. 6;
counted(11, 6 + 8);

is(ctl('failures', 'Carol@LOCALHOST'),
   'carol@localhost: 4 failed logins from addresses new to it, 1 from others, '
   . 'forgotten in N s', 'failures: an account');
is(ctl('failures', '2001:db8:80::2'),
   '2001:db8:80::/64: 6 failed logins, forgotten in N s', 'failures: IPv6');
is(ctl('failures', '2001:db8:80::/64'),
   '2001:db8:80::/64: 6 failed logins, forgotten in N s',
   'failures: as the log shows it');
is(ctl('failures', '::ffff:192.0.2.201'),
   '192.0.2.201: 1 failed logins, forgotten in N s', 'failures: IPv4 in IPv6');
is(ctl('failures', 'nobody@localhost'),
   'nobody@localhost: 0 failed logins from addresses new to it, 0 from others',
   'failures: none');

is(attempt('192.0.2.81', 'carol'), $LIMITED, 'the account is limited,');
is(attempt('2001:db8:80::3', 'alice'), $LIMITED, 'and the network');

is(ctl('unblock', 'carol@localhost'),
   'carol@localhost: 4 failed logins from addresses new to it, 1 from others, '
   . 'cleared', 'unblock: an account');
is(ctl('unblock', '2001:db8:80::9'),
   '2001:db8:80::/64: 6 failed logins, cleared', 'unblock: a network');
is(tally('u', 'carol@localhost') + tally('k', 'carol@localhost', '192.0.2.80')
   + tally('a', '2001:db8:80::/64'), 0, 'they are gone');
cmp_ok($redis->command('HLEN', 'xmpp:failures'), '>', 0, 'others are not');

# the workers have counted, too, and believe that for some seconds

ok(await(sub { attempt('192.0.2.81', 'carol') eq 'success' }),
   'unblock: the account logs in');
ok(await(sub { attempt('2001:db8:80::3', 'alice') eq 'success' }),
   'unblock: from that network');

for my $bad ([ 'localhost', qr/neither a JID/ ], [ '192.0.2.1/64',
             qr/neither a JID/ ], [ '127.0.0.1', qr/nothing is counted/ ],
             [ '::1', qr/nothing is counted/ ], [ '@localhost', qr/not a JID/ ],
             [ '1' x 100, qr/neither a JID/ ])
{
    my ($status, $output) = $t->xmppctl(undef, 'unblock', $bad->[0]);

    is($status, 1, "unblock $bad->[0]: refused");
    like($output, $bad->[1], "unblock $bad->[0]: says why");
}


###############################################################################
# The Function: how many counters there may be

{
    my $key = 'xmpp:failures';

    fresh();

    my $call = sub { $redis->command('FCALL', 'xmpp1_failed', 1, $key, @_) };

    is_deeply($call->(60, 3, 'a', 'b'), [ 'ok', 1, 1 ], 'both are counted');
    is_deeply($call->(60, 3, '', 'b'), [ 'ok', 0, 2 ], 'or one of them');
    is_deeply($call->(60, 3, 'c', 'd'), [ 'ok', 1, 0 ], 'up to the bound');
    is_deeply($call->(60, 3, 'e', 'a'), [ 'ok', 0, 2 ],
              'beyond it what is there');
    is($redis->command('HLEN', $key), 3, 'nothing more is written');
    is($redis->command('TTL', $key) > 0, 1, 'and it ends');
    $redis->command('PERSIST', $key);
    $call->(60, 3, 'a', 'b');
    is($redis->command('TTL', $key) > 0, 1, 'in any case');
}


###############################################################################
# Redis fails: a failure that cannot be counted is answered all the same

fresh();
$redis->command('SET', 'xmpp:failures', 'not a hash');
is(attempt('192.0.2.70', 'alice'), $LIMITED,
   'counters that cannot be read: nobody logs in');
$redis->command('DEL', 'xmpp:failures');

{
    my $c = challenged('192.0.2.70', 'alice');

    $redis->command('SET', 'xmpp:failures', 'not a hash');
    prove_wrong($c);
    is($c->recv_stanza()->error(), 'not-authorized',
       'counters that cannot be written: harmless');
    ok(await(sub { lines(qr/Redis refused "FCALL xmpp1_failed"/) }),
       'a line tells');
    $redis->command('DEL', 'xmpp:failures');
}

is(attempt('192.0.2.71', 'alice'), 'success', 'all goes on');

# clients that go, and come again, while both answers are waited for

fresh();

{
    my @waiting = map { from('192.0.2.72', 'alice') } 1 .. 20;

    $redis->pause();
    $_->send_auth('SCRAM-SHA-1', "n,,n=alice,r=abcdefgh") for @waiting;
    $_->drop() for @waiting[0 .. 9];
    $redis->resume();

    is(scalar(grep { defined $_->recv_challenge() } @waiting[10 .. 19]), 10,
       'those who stay get their challenges');
    is(attempt('192.0.2.72', 'alice'), 'success', 'and all goes on')
        for 1 .. 4;
}

$t->done();


###############################################################################

sub await { return Test::XMPP::Process::await(@_) }


# A new window, and workers that know nothing of the old one

sub fresh {
    $redis->command('DEL', 'xmpp:failures');
    $_->reload() for map { $t->host($_) } 0, 1;
}


# A client that the PROXY protocol says is at that address, under TLS; the
# hosts take turns

sub from {
    my ($ip, $user, %opt) = @_;

    my ($family, $to) = $ip =~ /:/ ? ('TCP6', '::1') : ('TCP4', '127.0.0.1');
    my $c = $t->client($user, on => $turn++ % 2, %opt);

    $c->connect();
    $c->send("PROXY $family $ip $to 40000 5222\r\n");
    $c->open_stream();
    $c->starttls();

    return $c;
}


# 'success', or the condition of the failure; the right password by default

sub attempt {
    my ($ip, $user, $password, %opt) = @_;

    my $domain = delete $opt{domain} // 'localhost';
    my $outcome = from($ip, 'alice', domain => $domain)->authenticate(
        mechanism => 'PLAIN', user => $user,
        password => $password // "$user-secret", %opt);

    return !$outcome ? 'nothing'
           : $outcome->is('success') ? 'success' : $outcome->error();
}


# Up to the challenge, and the last message with a proof of nothing

sub challenged {
    my ($ip, $user, %opt) = @_;

    my $c = from($ip, 'alice', %opt);

    $c->{scram} = $c->sasl(mechanism => 'SCRAM-SHA-1', user => $user);
    $c->send_auth('SCRAM-SHA-1', $c->{scram}->first());
    $c->{first} = $c->recv_challenge() // die "no challenge\n";

    return $c;
}


sub prove_wrong {
    my ($c) = @_;

    my ($nonce) = $c->{first} =~ /^(r=[^,]+),/;

    $c->send_response("c=biws,$nonce,p=" . encode_base64('x' x 20, ''));
}


# The counters, as docs/redis-schema.md names them

sub hash {
    my ($kind, $one, $two) = @_;

    return substr sha256_hex("$kind$one " . ($two // '')), 0, 16;
}


sub tally { return $redis->command('HGET', 'xmpp:failures', hash(@_)) // 0 }


# waits until so many failures are counted, each twice, in so many counters

sub counted {
    my ($failures, $counters) = @_;

    ok(await(sub {
        my @counts = @{ $redis->command('HVALS', 'xmpp:failures') };
        my $sum = 0;

        $sum += $_ for @counts;
        return @counts == $counters && $sum == 2 * $failures;
    }), "$failures are counted");
}


sub fail_often {
    my ($user) = @_;

    attempt("192.0.2.20$_", $user, 'x') for 1 .. 4;
    await(sub { tally('u', "$user\@localhost") == 4 })
        or die "$user: not counted\n";
}


sub field {
    my ($user) = @_;

    return $redis->command('HGET', "xmpp:{$user\@localhost}:account", 'known');
}


sub known { return scalar split / /, field($_[0]) // '' }


sub await_known {
    my ($user, $n) = @_;

    ok(await(sub { known($user) == $n }), "$user: $n networks");
}


sub set_known {
    my ($user, @networks) = @_;

    $redis->command('HSET', "xmpp:{$user\@localhost}:account", 'known', join
        ' ', map { hash('k', "$user\@localhost", $_->[0]) . ":$_->[1]" }
        @networks);
}


# what xmppctl says

sub ctl {
    my ($status, $output) = $t->xmppctl(undef, @_);

    chomp $output;

    return $status ? "status $status: $output" : $output =~ s/ \d+ s$/ N s/r;
}


# how many lines of both logs match

sub lines {
    my ($re) = @_;

    my $n = 0;

    $n += () = $t->host($_)->read_log() =~ /$re/g for 0, 1;

    return $n;
}
