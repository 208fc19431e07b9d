#!/usr/bin/perl

# A disabled account: nobody logs in to it by any mechanism, and only who has
# proved to be its owner is told so (RFC 6120, 6.5.1, 6.5.10); its sessions end
# on all hosts; a login under way, a bell that was not heard and an answer of
# Redis that was lost let nobody through; to others it is one that is offline.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 qw/ decode_base64 /;
use Test::More;
use Test::XMPP;
use Test::XMPP::CA;
use Test::XMPP::Digest;
use Test::XMPP::Lanes;
use Test::XMPP::Process;
use Test::XMPP::Roster;

*await = \&Test::XMPP::Process::await;

my $t = Test::XMPP->new(hosts => 0, users => [ qw/ alice bob carol / ]);

$t->only_ours('xmppctl');

$t->config(<<'EOF_CONF');
%%GLOBALS%%
events { worker_connections 1024; }
stream {
    xmpp_redis unix:%%TESTDIR%%/%%NAME%%.sock;
    xmpp_heartbeat 60s;
    xmpp_sasl_mechanisms EXTERNAL SCRAM-SHA-512 SCRAM-SHA-256 SCRAM-SHA-1
                         PLAIN DIGEST-MD5;

    ssl_certificate        %%TESTDIR%%/localhost.pem;
    ssl_certificate_key    %%TESTDIR%%/localhost.key;
    ssl_client_certificate %%TESTDIR%%/ca.pem;
    ssl_verify_client      optional;

    xmpp_host localhost { }

    server { listen 127.0.0.1:%%PORT_0%%; xmpp_c2s; }
}
EOF_CONF

my $ca = $t->{ca} = Test::XMPP::CA->new($t->testdir());

$t->run();

my $redis = $t->redis();
my $domain = $t->domain();
my $alice_bare = "alice\@$domain";
my @lanes;

for my $host (0, 1) {
    push @lanes, Test::XMPP::Lanes->new($t->testdir() . "/host$host.sock",
                                        $redis->socket());
    $t->start_host();
}

my $certificate = $ca->client('client', [ xmpp => $alice_bare ]);

$t->xmppctl('alice-secret', 'passwd', '--digest-md5', $alice_bare);
$redis->command('SADD', "xmpp:accounts:$domain",
                map { "$_\@$domain" } qw/ alice bob carol /);
befriend($t, 'alice', 'bob', 'both');

sub ctl { my ($status, $said) = $t->xmppctl('', @_); return "$status $said" }

sub records {
    my %all = @{ $redis->command('HGETALL', "xmpp:{$alice_bare}:sessions") };

    return join ' ', sort grep { /^r/ } keys %all;
}


# What a login comes to, by each mechanism

sub outcome {
    my ($mechanism, $password) = @_;

    my $c = $t->client('alice', mechanism => $mechanism, on => 1,
                       password => $password // 'alice-secret',
                       $mechanism eq 'EXTERNAL'
                           ? (certificate => $certificate) : ());
    $c->secure();

    return digest($c, $password) if $mechanism eq 'DIGEST-MD5';

    $c->send_auth('EXTERNAL', '') if $mechanism eq 'EXTERNAL';

    my $answer = $mechanism eq 'EXTERNAL' ? $c->recv_stanza()
                 : $c->authenticate(mechanism => $mechanism);

    return $answer->is('success') ? 'success' : $answer->error();
}


sub digest {
    my ($c, $password) = @_;

    $c->send_auth('DIGEST-MD5');

    my $digest = Test::XMPP::Digest->new(
        user => 'alice', host => $domain,
        password => $password // 'alice-secret');

    $c->send_response($digest->response($c->recv_challenge()));

    my $answer = $c->recv_stanza();

    if ($answer->is('challenge')) {
        $c->send_response();
        $answer = $c->recv_stanza();
    }

    return $answer->is('success') ? 'success' : $answer->error();
}


my @mechanisms = qw/ PLAIN SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-512 DIGEST-MD5
                     EXTERNAL /;

is(outcome($_), 'success', "before: $_") for @mechanisms;


###############################################################################
# It is disabled

my @alice = map { $t->online('alice', on => $_, resource => "a$_") } 0, 1;
my $bob = $t->online('bob', on => 1, resource => 'b');

$t->settle(@alice, $bob);

# a login whose keys were read before

my $late = $t->client('alice', on => 0, mechanism => 'SCRAM-SHA-256');

$late->secure();

my $sasl = $late->sasl();

$late->send_auth($sasl->{mechanism}, $sasl->first());

my $challenge = $late->recv_challenge();

# and one that has to bind only

my $unbound = $t->client('alice', on => 1);

$unbound->secure();
$unbound->auth();

like(ctl('disable', "nobody\@$domain"), qr/^1 .*no account nobody\@$domain/,
     'disable: no such account');
is(ctl('disable', uc $alice_bare), "0 $alice_bare disabled, 2 sessions ended\n",
   'disable');

for my $alice (@alice) {
    my $error = $alice->expect_stream_error('not-authorized');

    ok($error, $alice->jid() . ': RFC 6120, 4.9.3.12: the stream ends');
    like($error ? $error->raw() : '', qr/>the account was disabled</,
         'and says why');
    ok($bob->pick('presence', type => 'unavailable', from => $alice->jid()),
       'RFC 6121, 4.5.2: contacts are told');
}

ok(await(sub { records() eq '' }), 'no record is left');

is(outcome($_), 'account-disabled', "RFC 6120, 6.5.1: $_") for @mechanisms;
is(outcome($_, 'wrong'), 'not-authorized',
   "RFC 6120, 6.5.10: whoever is not its owner is told nothing: $_")
    for grep { $_ ne 'EXTERNAL' } @mechanisms;

$late->send_response($sasl->final($challenge));
ok($late->expect(name => 'success'), 'a login under way');

for my $c ($late, $unbound) {
    $c->open_stream() if $c == $late;
    $c->iq('set', undef, "<bind xmlns='$Test::XMPP::Client::NS{bind}'/>");
    ok($c->expect_stream_error('not-authorized'), 'binds no resource');
}

is(records(), '', 'nor is there a record');


###############################################################################
# To others it is offline; nothing of it is lost

$bob->message($alice_bare, 'hello', type => 'chat');
$bob->sync();
is(scalar(grep { $_->is('message') } $bob->drain()), 0,
   'RFC 6121, 8.5.2.2.1: a message is kept');
like($redis->command('HGET', "xmpp:{$alice_bare}:roster", "ibob\@$domain"),
     qr/^\d+ lft /, 'the subscription stays');

is(ctl('users', $domain),
   "0 $alice_bare  disabled\nbob\@$domain\ncarol\@$domain\n",
   'users shows it');

my $since = $redis->command('HGET', "xmpp:{$alice_bare}:account", 'disabled');

like($since, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'XEP-0082: since when');
is(ctl('disable', $alice_bare), "0 $alice_bare disabled\n", 'disabled again');
is($redis->command('HGET', "xmpp:{$alice_bare}:account", 'disabled'), $since,
   'since the first time');

is(($t->xmppctl('new-secret', 'passwd', $alice_bare))[0], 0, 'passwd');
is(outcome('PLAIN', 'new-secret'), 'account-disabled', 'does not enable it');

is(ctl('enable', $alice_bare), "0 $alice_bare enabled\n", 'enable');
is(outcome('PLAIN', 'new-secret'), 'success', 'then it works again');
like(ctl('enable', "nobody\@$domain"), qr/^1 .*no account/,
     'enable: no such account');
is(ctl('users', $domain), "0 $alice_bare\nbob\@$domain\ncarol\@$domain\n",
   'and users says nothing');


###############################################################################
# A bell that is not heard

sub alice { $t->client('alice', password => 'new-secret', on => 0, @_) }

my $deaf = alice(resource => 'deaf')->login();

$deaf->available();
ok($deaf->pick('message', from => $bob->jid(), body => 'hello'),
   'XEP-0160: it comes when the account is enabled again');
$t->settle($deaf, $bob);
$lanes[0]->hold('subscriber');
is(ctl('disable', $alice_bare), "0 $alice_bare disabled, 1 session ended\n",
   'disabled while a worker hears nothing');
$lanes[0]->cut('subscriber');
$lanes[0]->release('subscriber');
ok($deaf->expect_stream_error('not-authorized'),
   'it ends when the worker has subscribed again');
ok($bob->pick('presence', type => 'unavailable', from => $deaf->jid()),
   'and contacts are told');
ok(await(sub { records() eq '' }), 'no record is left') or diag(records());


###############################################################################
# An answer to binding that is lost

ctl('enable', $alice_bare);

my $lost = alice();

$lost->secure();
$lost->auth();
$lanes[0]->mute('command');
$lost->iq('set', undef, "<bind xmlns='$Test::XMPP::Client::NS{bind}'>"
                        . "<resource>lost</resource></bind>");
ok(await(sub { records() eq 'rlost' }), 'the record is written');
ctl('disable', $alice_bare);
$lanes[0]->cut('command');
$lanes[0]->release('command');
ok($lost->expect_stream_error('not-authorized'), 'the answer never came');
ok(await(sub { records() eq '' }), 'no record is left') or diag(records());

$t->done();
