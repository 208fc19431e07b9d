#!/usr/bin/perl

# SASL ANONYMOUS: RFC 4505; XEP-0175.  An address for as long as the session
# lasts, no account, and nothing that stays.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 qw/ encode_base64 /;
use Test::More;
use Test::XMPP;
use Test::XMPP::Clock;

my $t = Test::XMPP->new(hosts => 2, users => [ qw/ alice bob / ],
                        domains => [ 'localhost', 'anon.test' ])
                  ->only_ours('has an anonymous domain');

$t->config(<<'EOT');
%%GLOBALS%%
events {
    worker_connections  256;
}

stream {
    xmpp_redis         unix:%%REDIS%%;
    xmpp_idle_timeout  24h;
    xmpp_heartbeat     24h;             # one host has a clock of its own

    xmpp_host localhost {
        ssl_certificate       %%TESTDIR%%/localhost.pem;
        ssl_certificate_key   %%TESTDIR%%/localhost.key;
    }

    xmpp_host anon.test {
        ssl_certificate       %%TESTDIR%%/anon.test.pem;
        ssl_certificate_key   %%TESTDIR%%/anon.test.key;
        xmpp_sasl_mechanisms  ANONYMOUS SCRAM-SHA-256;
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
EOT

$t->run();
$t->add_user('carol', 'anon.test', 'carol-secret');

my %NS = %Test::XMPP::Client::NS;
my @anon = (domain => 'anon.test');


# An anonymous client up to the outcome, with this text in <auth/>

sub attempt {
    my ($text, %opt) = @_;

    my $c = $t->client('alice', @anon, %opt);

    $c->secure();
    $c->send("<auth xmlns='$NS{sasl}' mechanism='ANONYMOUS'>$text</auth>");

    return ($c, $c->recv_stanza());
}


# One that is online

sub stranger {
    my (%opt) = @_;

    my $resource = delete $opt{resource};
    my ($c, $answer) = attempt('', %opt);

    die "refused\n" unless $answer && $answer->is('success', $NS{sasl});

    $c->open_stream();
    $c->bind($resource);

    return $c->available();
}


# What Redis has of anonymous users

sub keys_left {
    return sort grep { !/:seen:/ } @{ $t->redis()->command('KEYS', '*') };
}


###############################################################################
# Off unless it is named: XEP-0175, 2

{
    my $c = $t->client('alice');

    $c->secure();
    ok(!grep({ $_ eq 'ANONYMOUS' } $c->mechanisms()),
       'XEP-0175, 2: not offered by default');
    $c->send("<auth xmlns='$NS{sasl}' mechanism='ANONYMOUS'/>");
    ok($c->expect('failure', error => 'invalid-mechanism'), 'nor accepted');

    $c = $t->client('carol', @anon);
    $c->secure();
    is(($c->mechanisms())[-1], 'ANONYMOUS', 'offered where it is, as the last');
}


###############################################################################
# The exchange

my $before = join "\n", keys_left();
my %seen;

for my $case ([ '', 'no data' ], [ '=', 'an empty message' ],
              [ encode_base64('bob@example.org', ''), 'a trace' ],
              [ encode_base64('x' x 255, ''), 'as long as it may be' ])
{
    my ($text, $name) = @$case;
    my ($c, $answer) = attempt($text);

    ok($answer && $answer->is('success', $NS{sasl}),
       "RFC 4505, 2: $name") or next;
    is($answer->find('.') // '', '', 'success says no more');

    $c->open_stream();
    like($c->bind(), qr{^[0-9a-f]{32}\@anon\.test/.},
         'XEP-0175, 2: a localpart of 128 bits');
    ok(!$seen{ $c->{bare} }++, 'which is new');
    $c->close();
}

for my $case ([ encode_base64('x' x 1021, ''), 'malformed-request', 'long' ],
              [ encode_base64("a\xFF", ''), 'malformed-request', 'no UTF-8' ],
              [ '*', 'incorrect-encoding', 'no base64' ])
{
    my ($text, $condition, $name) = @$case;
    my ($c, $answer) = attempt($text);

    ok($answer && $answer->is('failure', $NS{sasl})
       && $answer->error() eq $condition, "a trace that is $name: $condition");
    ok($c->authenticate(mechanism => 'SCRAM-SHA-256', user => 'carol',
                        password => 'carol-secret')->is('success'),
       'RFC 6120, 6.4.5: and another mechanism may do');
    $c->open_stream();
    like($c->bind(), qr{^carol\@}, 'as whom it says');
    $c->close();
}

unlike($t->host(0)->read_log(), qr/bob\@example\.org/,
       'XEP-0175, 2: the trace is not in the log');


###############################################################################
# A user like others, for the time being

my $alice = $t->online('alice', on => 1);
my $one = stranger(on => 0, resource => 'here');
my $two = stranger(on => 1);

isnt($one->bare(), $two->bare(), 'two strangers are two');

$alice->message($one->jid(), 'who are you?', type => 'chat');
ok($one->expect(message => body => 'who are you?', from => $alice->jid()),
   'a message to a stranger, from another host');
$one->message($alice->bare(), 'nobody', type => 'chat');
ok($alice->expect(message => body => 'nobody', from => $one->jid()),
   'and from one');
$one->message($two->jid(), 'hello', type => 'chat');
ok($two->expect(message => body => 'hello'), 'between strangers');

my $info = $one->query('get', $one->bare(), "<query xmlns='$NS{info}'/>");

is($info && $info->find('info:query/info:identity/@category'), 'account',
   'XEP-0175, 4: disco#info of the bare JID');
is($info && $info->find('info:query/info:identity/@type'), 'anonymous',
   'XEP-0175, 4: anonymous');
$info = $alice->query('get', $alice->bare(), "<query xmlns='$NS{info}'/>");
is($info->find('info:query/info:identity/@type'), 'registered',
   'others are not');

my $id = $one->message('juliet@example.net', 'far away');
my $error = $one->pick('message', id => $id);

like($error && $error->error(), qr/ forbidden$/,
     'XEP-0175, 2: nothing to other servers');

# a resource that is taken, as of any account: but nobody knows the localpart

my $key = 'xmpp:{' . $one->bare() . '}';
my $redis = $t->redis();

is($redis->command('EXISTS', "$key:account"), 0, 'no account');
cmp_ok($redis->command('TTL', "$key:$_"), '>', 3600, "$_ expires by itself")
    for qw/ sessions presence /;

# the worker renews them: here by a new connection to Redis

$redis->command('EXPIRE', "$key:$_", 100) for qw/ sessions presence /;
$redis->command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
ok(Test::XMPP::Process::await(sub {
       $redis->command('TTL', "$key:sessions") > 3600
           && $redis->command('TTL', "$key:presence") > 3600;
   }), 'and is renewed');

$redis->command('DEL', "$key:sessions");
$redis->command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
ok(Test::XMPP::Process::await(sub {
       $redis->command('EXISTS', "$key:sessions");
   }), 'a record that was lost is put back without an account');
ok($one->sync(), 'and the session goes on');


###############################################################################
# By a timer, four times in the two hours: on a host whose clock is put forward

my $clock = Test::XMPP::Clock->new($t->testdir());

$clock->start(sub { $t->start_host(workers => 1) });

my $three = stranger(on => 2);

$key = 'xmpp:{' . $three->bare() . '}';

sub renewed { !grep { $redis->command('TTL', "$key:$_") < 3600 }
              qw/ sessions presence / }

ok(renewed(), 'begun');

for my $n (1 .. 3) {
    $redis->command('EXPIRE', "$key:$_", 100) for qw/ sessions presence /;
    $clock->advance(1700);
    $three->sync() for 1, 2;
    $three->message($alice->jid(), "nothing, $n");
    ok($alice->expect(message => body => "nothing, $n"), 'another request');
    ok(!renewed(), "renewal $n: not before its time");
    $clock->advance(101);
    ok($three->sync() && Test::XMPP::Process::await(\&renewed),
       'but then');
}

# the timer ends with its session

$three->close();
ok(Test::XMPP::Process::await(sub { !$redis->command('EXISTS',
                                                     "$key:sessions") }),
   'gone');
$clock->advance(1801);
$three = stranger(on => 2);
ok($three->sync() && !$redis->command('EXISTS', "$key:sessions"),
   'and not renewed any more');
my @strangers = ($one, $two, $three);


###############################################################################
# Nothing stays

$_->close() for @strangers;

ok(Test::XMPP::Process::await(sub { !grep { /\@anon\.test/ && !/carol/ }
                                    keys_left() }),
   'XEP-0175, 2: nothing is left of them')
    or diag(join "\n", keys_left());

my $left = stranger(on => 0);
my ($pid) = $t->host(0)->workers();

$t->host(0)->kill_worker($_) for $t->host(0)->workers();

my @left = grep { /\@anon\.test/ && !/carol/ } keys_left();

ok(scalar @left, 'a worker that is killed leaves something');
cmp_ok($redis->command('TTL', $_), '>', 0, 'which expires: '
       . s/[0-9a-f]{32}/.../r) for @left;

$t->done();
