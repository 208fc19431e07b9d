#!/usr/bin/perl

# Registration before login: XEP-0077, 3.1.  Strangers come from addresses of
# their own by the PROXY protocol; those of the loopback are not counted.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::SHA qw/ sha256_hex /;
use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

*await = \&Test::XMPP::Process::await;

my $t = Test::XMPP->new(hosts => 2, users => [ qw/ alice dora / ],
                        domains => [ qw/ localhost second.test / ]);

$t->config(<<'EOC');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis          unix:%%REDIS%%;
    xmpp_redis_timeout  1s;
    set_real_ip_from    127.0.0.1;

    xmpp_register_limit       3;
    xmpp_register_limit_time  300s;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
        xmpp_register        on;
    }

    xmpp_host second.test {
        ssl_certificate      %%TESTDIR%%/second.test.pem;
        ssl_certificate_key  %%TESTDIR%%/second.test.key;
        xmpp_admin           boss@localhost;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }

    server {
        listen  127.0.0.1:%%PORT_1%% proxy_protocol;
        xmpp_c2s;
    }
}
EOC

$t->run();

my $domain = $t->domain();
my $ns = 'jabber:iq:register';
my $feature = "*[local-name()='register' and namespace-uri()="
              . "'http://jabber.org/features/iq-register']";


# A stream behind TLS, from that address or the loopback

sub stranger {
    my ($user, %opt) = @_;
    my $ip = delete $opt{ip};
    my $c = $t->client($user, password => "$user-secret", %opt,
                       $ip ? (port_number => 1) : ());

    $c->connect();
    $c->send(($ip =~ /:/ ? "PROXY TCP6 $ip ::1" : "PROXY TCP4 $ip 127.0.0.1")
             . " 40000 5222\r\n") if $ip;
    $c->open_stream();
    $c->{features} = $c->starttls();

    return $c;
}


sub set {
    my ($c, $user, $password) = @_;

    return $c->query('set', undef, "<query xmlns='$ns'>"
                     . (defined $user ? "<username>$user</username>" : '')
                     . (defined $password ? "<password>$password</password>"
                                          : '') . '</query>');
}


# what an error says to a person

sub said {
    my ($answer) = @_;
    my ($text) = $answer->find("*[local-name()='error']"
                               . "/*[local-name()='text']");

    return $text ? $text->textContent() : '';
}


# One of his own tries: 'result', or the error

sub registers {
    my ($user, %opt) = @_;
    my $c = stranger($user, %opt);
    my $answer = set($c, $user, "$user-secret");

    $c->drop();

    return 'nothing' unless $answer;
    return $answer->attr('type') eq 'result' ? 'result' : $answer->error();
}


###############################################################################
# As the specification has it

{
    my $c = $t->client('newt', password => 'newt-secret');

    $c->connect();

    my $before = $c->open_stream();
    my $after = $c->starttls();

    ok(!$before->test($feature), 'not offered without TLS') if $t->ours();
    ok($after->test($feature), 'XEP-0077, 8: the stream feature');

    my $fields = $c->query('get', undef, "<query xmlns='$ns'/>");

    is($fields->attr('type'), 'result', 'XEP-0077, 3.1: asked');
    ok($fields->test("count(*/*[local-name()='$_']) = 1"),
       "XEP-0077, 3.1: a required field: $_")
        for qw/ username password instructions /;
    ok(!$fields->test("*/*[local-name()='registered']"),
       'XEP-0077, 3.1: who has not logged in is not registered');

    # which has bad-request

    like(set($c, 'newt')->error(), qr/not-acceptable/,
         'XEP-0077, 3.1: not all fields') if $t->peer() ne 'ejabberd';
    is(set($c, 'alice', 'x-secret')->error(), 'cancel conflict',
       'XEP-0077, 3.1: the name is taken');
    is(set($c, 'newt', 'newt-secret')->attr('type'), 'result',
       'XEP-0077, 3.1: it is registered');

    ok(eval { $c->auth(); $c->bind() }, 'then login on the same stream');
    ok($c->sync(), 'and stanzas');
    $c->drop();
}

if ($t->ours()) {
    account();
    refused();
    off();
    nothing_else();
    names();
    functions();
    limits();
    race();
    trouble();
}

$t->done();


###############################################################################

# It is as one that xmppctl adduser makes

sub account {
    my $redis = $t->redis();
    my %hash = @{ $redis->command('HGETALL', "xmpp:{newt\@$domain}:account") };
    my %alice = @{ $redis->command('HGETALL',
                                   "xmpp:{alice\@$domain}:account") };

    is_deeply([ sort grep { !/known|last/ } keys %hash ],
              [ sort grep { !/known|last/ } keys %alice ],
              'the same fields as xmppctl adduser');
    like($hash{created}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'a date');
    like($hash{"scram-sha-$_"}, qr/^10000,/, "keys of SHA-$_")
        for 1, 256, 512;
    is($redis->command('SISMEMBER', "xmpp:accounts:$domain",
                       "newt\@$domain"), 1, 'it is in the list of accounts');
    ok($t->client('newt', password => 'newt-secret', on => 1,
                  mechanism => $_)->login()->drop(), "it logs in by $_")
        for qw/ SCRAM-SHA-1 SCRAM-SHA-512 PLAIN /;
    like($t->host(0)->read_log(),
         qr/ \[notice\] .*xmpp registered: client 127\.0\.0\.1, jid "newt\@/,
         'one line for it');
    like($t->host(0)->read_log(),
         qr/ \[error\] .*xmpp registration refused: client 127\.0\.0\.1, the /,
         'and one for a refusal');
}


sub refused {
    for my $case ([ undef, 'p' ], [ 'eft', undef ], [ 'eft', '' ],
                  [ '', 'p' ], [ 'e ft', 'p' ], [ 'eft@x', 'p' ],
                  [ "second.test/eft", 'p' ],
                  [ "eft\@$domain/x", 'p' ],
                  [ "eft\@second.test/", 'p' ], [ '/', 'p' ], [ '@', 'p' ],
                  [ "\x{2163}", 'p' ],
                  [ 'e' x 1024, 'p' ], [ 'eft', 'p' x 1025 ],
                  [ 'eft', "\x{200}\x{E000}" ])
    {
        my ($user, $password) = @$case;
        my $c = stranger('eft');

        my $answer = set($c, $user, $password);
        my $what = ($password // '') eq 'p' ? 'name' : 'password';

        is($answer->error(), 'modify not-acceptable',
           'not acceptable: ' . substr(join(' and ', map { $_ // 'nothing' }
                                            $user, $password), 0, 20)
           =~ s/[^ -~]/?/gr);
        is(said($answer), "the $what is missing, too long or not allowed",
           "it is the $what");
        $c->drop();
    }

    my $c = stranger('eft');

    for my $iq ("<iq type='set'><query xmlns='$ns'/></iq>",
                "<iq type='get' id='a'><query xmlns='$ns'/><x/></iq>",
                "<iq type='get' id='a' to='other.test'>"
                . "<query xmlns='$ns'/></iq>",
                "<iq type='get' id='a' to='alice\@$domain'>"
                . "<query xmlns='$ns'/></iq>")
    {
        $c->send($iq);
        is($c->pick('iq', type => 'error')->error(), 'modify bad-request',
           'RFC 6120, 8.2.3: ' . substr $iq, 0, 40);
    }

    is($c->query('get', $domain, "<query xmlns='$ns'/>")->attr('type'),
       'result', 'to the server, by its name');
    is(set($c, 'eft', 'p')->attr('type'), 'result', 'a good one');
    my $second = set($c, 'eft2', 'p');

    is($second->error(), 'modify not-acceptable',
       'XEP-0077, 3.1.1: a second identity');
    like(said($second), qr/^this connection has made an account already/,
         'it is told why');
    set($c, 'eft2', 'p') for 1 .. 3;
    $c->iq('set', undef, "<query xmlns='$ns'><username>eft2</username>"
                         . '<password>p</password></query>');
    ok($c->expect_stream_error('policy-violation'),
       'XEP-0077, 3.1.1: too many attempts');
    $c->drop();
}


sub off {
    my $c = stranger('dora', domain => 'second.test',
                     password => 'dora-secret');

    ok(!$c->{features}->test($feature), 'xmpp_register off: no feature');
    is($c->query($_, undef, "<query xmlns='$ns'><username>x</username>"
                            . '<password>p</password></query>')->error(),
       'cancel service-unavailable',
       "XEP-0077, 3.1: not supported, MUST be service-unavailable: $_")
        for qw/ get set /;
    ok(eval { $c->auth(); $c->bind() }, 'but one may log in');
    $c->drop();
}


# What is not about registration ends the stream as before

sub nothing_else {
    my $ping = "<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>";
    my $get = "<iq type='get' id='g'><query xmlns='$ns'/></iq>";
    my $c;

    for my $what ($ping, "<message to='alice\@$domain'/>", '<presence/>',
                  $get =~ s/get/result/r)
    {
        $c = stranger('eft');
        $c->send($what);
        ok($c->expect_stream_error('not-authorized'),
           "RFC 6120, 4.9.3.12: $what");
        $c->drop();
    }

    $c = stranger('alice', password => 'alice-secret');
    $c->send_auth('SCRAM-SHA-1', $c->sasl()->first());
    $c->recv_challenge();
    $c->send($get);
    ok($c->expect_stream_error('not-authorized'), 'in the middle of SASL');
    $c->drop();

    $c = $t->client('eft');
    $c->connect();
    $c->open_stream();
    $c->send($get);
    ok($c->expect_stream_error('not-authorized'), 'before TLS');
    $c->drop();
}


sub names {
    my $redis = $t->redis();

    is(registers('BigNewt'), 'result', 'RFC 8265, 3.3: a name is mapped');
    ok($redis->command('EXISTS', "xmpp:{bignewt\@$domain}:account"),
       'and so stored');
    is(registers('BIGNEWT'), 'cancel conflict', 'in capitals it is the same');
    is(registers('boss'), 'cancel conflict',
       'xmpp_admin of another domain: nobody gets the name');
    is(registers('Boss'), 'cancel conflict', 'in no way');

    $redis->command('HSET', "xmpp:{left\@$domain}:removed", 'x', '');
    is(registers('left'), 'cancel conflict', 'a removal is not complete');
    ok(!$redis->command('SISMEMBER', "xmpp:accounts:$domain",
                        "left\@$domain"), 'nor is it in the list');
    $redis->command('DEL', "xmpp:{left\@$domain}:removed");
    is(registers('left'), 'result', 'now it is');
}


sub functions {
    my $redis = $t->redis();
    my $register = sub {
        return $redis->command('FCALL', 'xmpp1_register', 2,
                               'xmpp:{f@x}:account', 'xmpp:{f@x}:removed',
                               'now', 'scram-sha-512', @_)->[0];
    };

    $redis->command('HSET', 'xmpp:{f@x}:removed', 'x', '');
    is($register->('one'), 'none', 'a removal holds the name');
    $redis->command('DEL', 'xmpp:{f@x}:removed');
    is($register->('one'), 'ok', 'it is free');
    is($register->('one'), 'ok', 'a repeat finds its own');
    is($register->('two'), 'none', 'another finds it taken');
    $redis->command('DEL', 'xmpp:{f@x}:account');

    my $count = sub {
        return $redis->command('FCALL', 'xmpp1_registering', 1, 'xmpp:r', 60,
                               4, @_)->[0];
    };

    is($count->('a', 1, 9), 'ok', 'one account');
    is($count->('a', 1, 9), 'full', 'no other');
    $count->('a', '-', 0);
    $count->('a', '-', 0);
    is($count->('a', 1, 9), 'ok', 'one was given back, and no more');
    is($count->('a', 9, 2), 'full', 'too many attempts');
    is($count->('b', 9, 9), 'ok', 'another network');
    is($count->('c', 9, 9), 'full', 'too many networks');
    cmp_ok($redis->command('TTL', 'xmpp:r'), '>', 50, 'they have an end');
    $redis->command('DEL', 'xmpp:r');
}


# the fields of a network

sub counted {
    my ($network) = @_;
    my $hash = substr sha256_hex("r$network "), 0, 16;

    return join '/', map { $t->redis()->command('HGET', 'xmpp:registrations',
                                                $_) // 0 } $hash, "t$hash";
}


sub limits {
    my $redis = $t->redis();
    my $n = 0;
    my $limited = 'wait resource-constraint';

    ok(!$redis->command('EXISTS', 'xmpp:registrations'),
       'whoever is on the loopback is not counted');

    for my $case ([ '192.0.2.1', [ '192.0.2.1' ], '192.0.2.2' ],
                  [ '2001:db8:0:1::/64',
                    [ '2001:db8:0:1::1', '2001:db8:0:1:9::2' ],
                    '2001:db8:0:2::1' ])
    {
        my ($network, $from, $other) = @$case;

        is(registers('n' . ++$n, ip => $from->[ $_ % @$from ], on => $_ % 2),
           'result', "$network: $_") for 1 .. 3;
        is(counted($network), '3/3', "$network: three are counted");
        is(registers('n' . ++$n, ip => $from->[0], on => $_), $limited,
           "$network: no more, on host $_") for 0, 1;
        is(registers('n' . ++$n, ip => $other), 'result', "$other: another");
        ok(!$redis->command('EXISTS', "xmpp:{n$_\@$domain}:account"),
           'nothing was made') for $n - 1;
    }

    like($t->host(1)->read_log(),
         qr/registration refused: client 192\.0\.2\.1, too many accounts or /,
         'a line in the log');
    cmp_ok($redis->command('TTL', 'xmpp:registrations'), '>', 200,
           'xmpp_register_limit_time');

    # what comes to nothing is no account, but an attempt

    my $c;

    for my $try (0 .. 29) {
        $c = stranger('x', ip => '203.0.113.1') if $try % 5 == 0;
        set($c, 'alice', 'x')->error() eq 'cancel conflict'
            or fail("attempt $try");
    }

    ok(await(sub { counted('203.0.113.1') eq '0/30' }),
       'a taken name is no account') or diag(counted('203.0.113.1'));
    is(registers('free', ip => '203.0.113.1'), $limited,
       'but who tries ten times as often is refused, too');
    ok(await(sub { counted('203.0.113.1') eq '0/30' }), 'and not counted');
}


# The same name on two hosts at once: one of them has it

sub race {
    for my $round (1 .. 5) {
        my @two = map { stranger("race$round", on => $_) } 0, 1;
        my @ids = map { $two[$_]->iq('set', undef,
                            "<query xmlns='$ns'><username>race$round"
                            . "</username><password>p$_</password></query>") }
                  0, 1;
        my @got = map { $two[$_]->answer($ids[$_])->attr('type') } 0, 1;

        is(join(' ', sort @got), 'error result', "a race: one wins: $round");

        my ($winner) = grep { $got[$_] eq 'result' } 0, 1;

        ok(eval { $two[$winner]->auth(password => "p$winner") },
           'and it is he who logs in');
        $_->drop() for @two;
    }
}


sub trouble {
    my $redis = $t->redis();
    my $c = stranger('slow');

    $redis->pause();
    is(set($c, 'slow', 'slow-secret')->error(), 'wait resource-constraint',
       'Redis is silent: wait');
    $redis->resume();
    ok(await(sub {
           $c->drop();
           $c = stranger('slow2');
           set($c, 'slow2', 'slow2-secret')->attr('type') eq 'result' }),
       'Redis is back');
    $c->drop();

    # who goes meanwhile: the worker lives, and all places are free again

    for (1 .. 20) {
        $c = stranger("gone$_");
        $c->iq('set', undef, "<query xmlns='$ns'><username>gone$_</username>"
                             . "<password>p</password></query>");
        $c->drop();
    }

    is(registers('last'), 'result', 'many clients go: others are served');
}
