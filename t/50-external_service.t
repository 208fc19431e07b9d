#!/usr/bin/perl

# External services: XEP-0215.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::SHA qw/ hmac_sha1_base64 /;
use Test::More;
use Test::XMPP;
use Time::Local qw/ timegm /;

my $t = Test::XMPP->new(users => [ qw/ alice dora / ]);
my $secret = 'hush, 215';

sub config {
    my ($host, $second) = @_;

    $second //= '';

    return <<"EOT";
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis            unix:%%REDIS%%;
    xmpp_sasl_mechanisms  SCRAM-SHA-1 ANONYMOUS;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
        $host
    }

    xmpp_host second.test {
        ssl_certificate      %%TESTDIR%%/second.test.pem;
        ssl_certificate_key  %%TESTDIR%%/second.test.key;
        $second
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
EOT
}

# the peers have the same two by t/peers/

my $services = <<'EOT';
xmpp_external_service stun:stun.example.org;
xmpp_external_service turn:turn.example.org:3479 secret_file=%%TESTDIR%%/turn;
EOT

if ($t->ours()) {
    $t->write_file('turn', "$secret\n");
    $t->config(config($services));
}

$t->run();

my $ns = 'urn:xmpp:extdisco:2';
my $alice = $t->client('alice')->login();


sub services {
    my ($client, $type) = @_;

    $type = defined $type ? " type='$type'" : '';

    return $client->query('get', $t->domain(),
                          "<services xmlns='$ns'$type/>");
}


sub credentials {
    my ($client, $service) = @_;

    return $client->query('get', $t->domain(),
                          "<credentials xmlns='$ns'>$service</credentials>");
}


# the attributes of each service of an answer

sub listed {
    my ($answer, $parent) = @_;

    return map {
        my $e = $_;
        +{ map { $_->nodeName() => $_->value() } $e->attributes() }
    } $answer->find("*[local-name() = '$parent' and namespace-uri() = '$ns']"
                    . "/*[local-name() = 'service' "
                    . "and namespace-uri() = '$ns']");
}


# a name and a password as coturn makes them, good for so many seconds

sub is_password {
    my ($service, $secret, $lifetime, $name) = @_;

    my ($end) = ($service->{username} // '') =~ /^(\d+)(?::|$)/;
    my $left = ($end // 0) - time();

    ok($left > $lifetime - 60 && $left <= $lifetime + 1,
       "$name: the user name is when it expires") or diag("$left s");

    is($service->{password},
       hmac_sha1_base64($service->{username} // '', $secret) . '=',
       "$name: the password is of the secret and the name");
    like($service->{restricted}, qr/^(?:1|true)$/, "$name: it is restricted");

    my ($y, $m, $d, $hour, $min, $s) = ($service->{expires} // '')
        =~ /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d+)?Z$/;

    ok(defined $s, "$name: expires as in XEP-0082, in UTC")
        or return diag($service->{expires} // 'absent');
    cmp_ok(abs(timegm($s, $min, $hour, $d, $m - 1, $y) - ($end // 0)), '<=', 1,
           "$name: at the same time");
}


my $answer = services($alice);
my %by_type = map { $_->{type} => $_ } listed($answer, 'services');

is(join(' ', sort keys %by_type), 'stun turn', 'XEP-0215, 3.1: all services');

for my $case ([ 'stun', 'stun.example.org', 3478 ],
              [ 'turn', 'turn.example.org', 3479 ])
{
    my ($type, $host, $port) = @$case;

    is($by_type{$type}{host}, $host, "XEP-0215, 2: $type: host");
    is($by_type{$type}{port}, $port, "XEP-0215, 2: $type: port");
    is($by_type{$type}{transport}, 'udp', "XEP-0215, 2: $type: transport");
}

ok(!defined $by_type{stun}{$_}, "XEP-0215, 2: stun: no $_")
    for qw/ username password expires /;

is_password($by_type{turn}, $secret, 86400, 'XEP-0215, 2: turn');

$answer = services($alice, 'turn');
is(join(' ', map { $_->{type} } listed($answer, 'services')), 'turn',
   'XEP-0215, 3.2: those of a type');
is($answer->find('*/@type'), 'turn', 'XEP-0215, 3.2: the type is told back')
    if $t->ours();

# the peers answer what they do not find by an empty list, ejabberd this, too

if ($t->peer() ne 'ejabberd') {
    my @keys = listed(credentials($alice, "<service type='turn' "
                                          . "host='turn.example.org'/>"),
                      'credentials');

    is(scalar @keys, 1, 'XEP-0215, 3.3: credentials');
    is_password($keys[0], $secret, 86400, 'XEP-0215, 3.3: turn');
}

is(credentials($alice, "<service type='turn' host='other.example.org'/>")
       ->error(), 'cancel item-not-found', 'XEP-0215, 3.3: of no such host')
    if $t->ours();

ok($alice->query('get', $t->domain(),
                 "<query xmlns='$Test::XMPP::Client::NS{info}'/>")
         ->test("info:query/info:feature[\@var = '$ns']"),
   'XEP-0215, 5: a feature of disco');

if (!$t->ours()) {
    $t->done();
    exit;
}

is(scalar(() = listed(services($alice, 'ftp'), 'services')), 0,
   'XEP-0215, 3.2: there may be none');
is(services($alice, 'ftp')->attr('type'), 'result', 'and that is a result');

for my $bad ("", "<service type='turn'/>",
             "<service host='turn.example.org'/>",
             "<service xmlns='a:b' type='turn' host='turn.example.org'/>")
{
    is(credentials($alice, $bad)->error(), 'modify bad-request',
       "XEP-0215, 3.3: host and type are needed: $bad");
}

for my $none ("<service type='stun' host='stun.example.org'/>",
              "<service type='turns' host='turn.example.org'/>",
              "<service type='turn' host='turn.example.org' port='3478'/>")
{
    is(credentials($alice, $none)->error(), 'cancel item-not-found',
       "XEP-0215, 3.3: no credentials: $none");
}

is(scalar(() = listed(credentials($alice,
       "<service type='turn' host='turn.example.org' port='3479'/>"),
       'credentials')), 1, 'XEP-0215, 3.3: of a port');

is($alice->query('set', $t->domain(), "<services xmlns='$ns'/>")->error(),
   'cancel service-unavailable', 'they are not to be set');
is($alice->query('get', $t->domain2(), "<services xmlns='$ns'/>")->error(),
   'cancel service-unavailable', 'another host has none');


###############################################################################
# Who may ask

my $dora = $t->client('dora', domain => $t->domain2())->login();

for my $request (sub { services($_[0]) },
                 sub { credentials($_[0], "<service type='turn' "
                                          . "host='turn.example.org'/>") })
{
    is($request->($dora)->error(), 'auth forbidden',
       'XEP-0215, 2: users of another host must not');

    my $anonymous = $t->client('nobody', mechanism => 'ANONYMOUS')->login();

    is($request->($anonymous)->error(), 'auth forbidden',
       'XEP-0215, 2: anonymous users must not');
}


###############################################################################
# Reload: other secrets, other services

$t->write_file('turn', "new secret\r\n");
$t->host()->reload(config(<<'EOT'));
xmpp_external_service_anonymous on;
xmpp_external_service turns:[2001:db8::1] lifetime=90s
                      secret_file=%%TESTDIR%%/turn;
xmpp_external_service stuns:stun.example.org:1 transport=udp;
EOT

my $anonymous = $t->client('nobody', mechanism => 'ANONYMOUS')->login();

$answer = services($anonymous);
%by_type = map { $_->{type} => $_ } listed($answer, 'services');

is(join(' ', map { $_ // '' } @{ $by_type{turns} }{qw/ host port transport /}),
   '2001:db8::1 5349 tcp', 'RFC 7065, 3.1: turns, IPv6, the defaults');
is(join(' ', map { $_ // '' } @{ $by_type{stuns} }{qw/ host port transport /}),
   'stun.example.org 1 udp', 'RFC 7064, 3.1: stuns');
is_password($by_type{turns}, 'new secret', 90, 'a new secret');


###############################################################################
# What the configuration may say

my $nginx = $t->start_host(idle => 1);

$nginx->expect_log(qr/\[emerg\]/);
$t->write_file('empty', "\n");
$t->write_file('lines', "a\nb\n");
$t->write_file('long', 'a' x 257);
$t->write_file('full', 'a' x 256 . "\r\n");

for my $case ([ 'turn.example.org', qr/must begin with "stun:", "stuns:"/ ],
              [ 'http://a', qr/must begin with "stun:"/ ],
              [ 'turn:', qr/has no host/ ],
              [ 'turn:[]', qr/has no host/ ],
              [ 'turn://a', qr/has no host/ ],
              [ 'turn:[::1', qr/has no "\]"/ ],
              [ 'turn:a:', qr/has no port/ ],
              [ 'turn:a:0', qr/has no port/ ],
              [ 'turn:a:65536', qr/has no port/ ],
              [ 'turn:a?transport=tcp', qr/a parameter: "transport=tcp"/ ],
              [ 'turn:a:1?transport=tcp', qr/has no port/ ],
              [ 'turn:a transport=sctp', qr/"transport=udp" or "transp/ ],
              [ 'turn:a lifetime=0', qr/at least a second/ ],
              [ 'turn:a lifetime=x', qr/at least a second/ ],
              [ 'turn:a secret=x', qr/unknown, there are "transport"/ ],
              [ 'turn:a secret_file=%%TESTDIR%%/none', qr/none" failed; it/ ],
              map { [ "turn:a secret_file=%%TESTDIR%%/$_",
                      qr/$_" should hold the secret .* one line/ ] }
                  qw/ empty lines long /)
{
    my ($bad, $message) = @$case;
    my ($status, $output) = $nginx->test_config(
        config("xmpp_external_service $bad;"));

    isnt($status, 0, "refused: $bad");
    like($output, $message, 'and told why');
}

is(($nginx->test_config(config("xmpp_external_service turn:a:65535 "
       . "secret_file=%%TESTDIR%%/full;")))[0], 0, 'a secret of 256 bytes');

$t->done();
