#!/usr/bin/perl

# SASL DIGEST-MD5: RFC 2831.  Offered where it is named only, to accounts that
# have its secret only, and each directive has to be right.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::MD5 qw/ md5_hex /;
use MIME::Base64 qw/ decode_base64 /;
use Test::More;
use Test::XMPP;
use Test::XMPP::Digest;

my $t = Test::XMPP->new(users => [ qw/ alice bob carol jürgen uni /,
                                   'o,k=x' ],
                        domains => [ 'localhost', 'second.test',
                                     'limited.test' ]);

$t->config(<<'EOT');
%%GLOBALS%%
events {
    worker_connections  256;
}

stream {
    xmpp_redis  unix:%%REDIS%%;

    xmpp_host localhost {
        ssl_certificate       %%TESTDIR%%/localhost.pem;
        ssl_certificate_key   %%TESTDIR%%/localhost.key;
        xmpp_sasl_mechanisms  DIGEST-MD5 SCRAM-SHA-256 PLAIN;
        xmpp_login_limit_address  0;
        xmpp_login_limit_account  0;
    }

    xmpp_host limited.test {
        ssl_certificate       %%TESTDIR%%/limited.test.pem;
        ssl_certificate_key   %%TESTDIR%%/limited.test.key;
        xmpp_sasl_mechanisms  DIGEST-MD5;
        xmpp_login_limit_account  2;
    }

    xmpp_host second.test {
        ssl_certificate       %%TESTDIR%%/second.test.pem;
        ssl_certificate_key   %%TESTDIR%%/second.test.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }

    server {
        listen  127.0.0.1:%%PORT_1%% ssl;
        xmpp_c2s;
    }

    server {
        listen            127.0.0.1:%%PORT_2%% proxy_protocol;
        set_real_ip_from  127.0.0.1;
        xmpp_c2s;
    }
}
EOT

$t->run();

my $domain = $t->domain();
my %NS = %Test::XMPP::Client::NS;

# carol has no secret

if ($t->ours()) {
    for my $user (qw/ alice bob jürgen uni /, 'o,k=x') {
        my ($status, $output) =
            $t->xmppctl(Test::XMPP::Accounts::password($user), 'passwd',
                        '--digest-md5', "$user\@$domain");

        die "xmppctl: $output\n" if $status;
    }
}


# A client with a challenge

sub challenged {
    my ($user, $text) = @_;

    my $c = $t->client($user);

    $c->secure();

    return begun($c, $text);
}


sub begun {
    my ($c, $text) = @_;

    $c->send("<auth xmlns='$NS{sasl}' mechanism='DIGEST-MD5'>"
             . ($text // '') . '</auth>');

    return ($c, $c->recv_challenge());
}


# One from an address whose failures count, which loopback is not

sub limited {
    my $c = $t->client('alice', domain => 'limited.test',
                       port => $t->port(2));

    $c->connect();
    $c->send("PROXY TCP4 192.0.2.1 127.0.0.1 40000 5222\r\n");
    $c->open_stream();
    $c->starttls();

    return begun($c);
}


# An exchange up to its outcome: %opt are those of Test::XMPP::Digest, text()
# changes the response as it is sent

sub attempt {
    my ($user, %opt) = @_;

    my $text = delete $opt{text};
    my $change = delete $opt{change} // {};

    my ($c, $challenge) = challenged($user);

    my $digest = Test::XMPP::Digest->new(
        user => $user, host => $domain,
        password => Test::XMPP::Accounts::password($user), %opt);

    my $response = $digest->response($challenge, %$change);

    $text->($response) if $text;
    $c->send_response($response);

    my $outcome = $c->recv_stanza();

    if ($outcome && $outcome->is('challenge', $NS{sasl})) {
        $digest->verify(decode_base64($outcome->find('.')))
            or die "rspauth is wrong\n";

        $c->send_response();
        $outcome = $c->recv_stanza();
    }

    return ($c, $outcome);
}


sub good {
    my ($name, $user, %opt) = @_;

    my ($c, $outcome) = eval { attempt($user, %opt) };

    ok($outcome && $outcome->is('success', $NS{sasl}), $name)
        or diag($@ || $outcome && $outcome->to_string());

    return $c;
}


sub bad {
    my ($name, $condition, $user, %opt) = @_;

    my ($c, $outcome) = eval { attempt($user, %opt) };

    ok($outcome && $outcome->is('failure', $NS{sasl})
       && (!$t->ours() || $outcome->error() eq $condition), $name)
        or diag($@ || $outcome && $outcome->to_string());

    return $c;
}


###############################################################################
# What is offered, and the challenge

my $c = $t->client('alice');
$c->secure();

if ($t->ours()) {
    is(join(' ', $c->mechanisms()),
       'SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN DIGEST-MD5',
       'RFC 6331: offered where it is named, last');

    $c = $t->client('alice', domain => 'second.test');
    $c->secure();
    unlike(join(' ', $c->mechanisms()), qr/DIGEST/, 'not by default');
    $c->send_auth('DIGEST-MD5', undef);
    ok($c->expect('failure', error => 'invalid-mechanism'), 'nor taken then');

} else {
    like(join(' ', $c->mechanisms()), qr/DIGEST-MD5/, 'offered');
}

my ($one, $challenge) = challenged('alice');
my %challenge = Test::XMPP::Digest::parse($challenge);
my (undef, $other) = challenged('alice', $t->ours() ? '=' : '');
my %other = Test::XMPP::Digest::parse($other);

like($challenge{nonce}, qr/^.{10,}$/, 'RFC 2831, 2.1.1: a nonce');
isnt($challenge{nonce}, $other{nonce}, 'another for the next, which sent "="');
is($challenge{qop} // 'auth', 'auth', 'RFC 2831, 2.1.1: qop');
is($challenge{charset}, 'utf-8', 'RFC 2831, 2.1.1: charset');
is($challenge{algorithm}, 'md5-sess', 'RFC 2831, 2.1.1: algorithm');

if ($t->ours()) {
    is($challenge{realm}, $domain, 'RFC 2831, 2.1.1: the realm is the host');

    $c = $t->client('alice');
    $c->secure();
    $c->send_auth('DIGEST-MD5', 'username="alice"');
    ok($c->expect('failure', error => 'malformed-request'),
       'RFC 2831, 2.1: the server speaks first');
}


###############################################################################
# Logins

for my $user ('alice', 'o,k=x', $t->ours() ? (qw/ jürgen uni /) : ()) {
    $c = good("$user logs in", $user);
    ok($c && eval { $c->open_stream(); $c->bind() }, "$user binds") or diag $@;
    like($c->{jid}, qr{^\Q$user\E\@\Q$domain\E/}, "as $user");
}

bad('another password', 'not-authorized', 'alice', password => 'wrong');
bad('an empty one', 'not-authorized', 'alice', password => '');
bad('that of another user', 'not-authorized', 'alice',
    password => 'bob-secret');
bad('an unknown user', 'not-authorized', 'alice', user => 'nobody');
bad('an empty name', 'not-authorized', 'alice', user => '');
bad('a name that is no localpart', 'not-authorized', 'alice',
    user => 'a@b/c');

if ($t->ours()) {
    bad('an account without the secret', 'not-authorized', 'carol');

    $t->redis()->command('HSET', "xmpp:{carol\@$domain}:account",
                         'digest-md5', '0' x 31);
    bad('one with a secret that cannot be read', 'not-authorized', 'carol');

    # H of what those without it are compared with must let nobody in

    my ($client, $text) = challenged('carol');
    my %c = Test::XMPP::Digest::parse($text);
    my $a1 = "\0" x 16 . ":$c{nonce}:x";
    my $hash = md5_hex(join ':', md5_hex($a1), $c{nonce}, '00000001', 'x',
                       'auth', md5_hex("AUTHENTICATE:xmpp/$domain"));

    $client->send_response("username=\"carol\",realm=\"$domain\","
                           . "nonce=\"$c{nonce}\",cnonce=\"x\",nc=00000001,"
                           . "digest-uri=\"xmpp/$domain\",response=$hash");
    ok($client->expect('failure', error => 'not-authorized'),
       'nor by a secret of zeros');
}


###############################################################################
# The authorization identity: RFC 6120, 6.3.8

if ($t->ours()) {
    good('own authzid', 'alice', authzid => "alice\@$domain");
    bad("RFC 6120, 6.5.6: authzid '$_'", 'invalid-authzid', 'alice',
        authzid => $_)
        for "bob\@$domain", 'bob', "alice\@second.test", "alice\@$domain/r",
            '@', $domain;

    bad('RFC 2831, 2.1.2: an empty authzid', 'malformed-request', 'alice',
        authzid => '');
    bad('an authzid that is not signed', 'not-authorized', 'alice',
        change => { extra => [ "authzid=\"alice\@$domain\"" ] });
}


###############################################################################
# Each directive: RFC 2831, 2.1.2

my $malformed = 'malformed-request';

bad("without $_", $malformed, 'alice', change => { without => [ $_ ] })
    for qw/ username cnonce digest-uri response /,
        $t->ours() ? qw/ realm nonce nc / : ();

bad('another nonce', 'not-authorized', 'alice', change => { nonce => 'x' });
bad('the nonce of another connection', 'not-authorized', 'alice',
    change => { nonce => $challenge{nonce} });
bad('nc=00000002', $malformed, 'alice', change => { nc => '00000002' })
    if $t->ours();
bad('qop=auth-int', $malformed, 'alice', change => { qop => 'auth-int' });
bad("digest-uri $_", $malformed, 'alice', change => { 'digest-uri' => $_ })
    for 'xmpp/second.test', 'imap/localhost', 'localhost';
bad('a response of zeros', 'not-authorized', 'alice',
    change => { response => '0' x 32 });

if ($t->ours()) {
    bad('another realm', $malformed, 'alice',
        change => { realm => 'second.test' });
    bad('an empty realm', $malformed, 'alice', change => { realm => '' });
    bad('an empty cnonce', $malformed, 'alice', change => { cnonce => '' });
    bad('a digest-uri with a serv-name', $malformed, 'alice',
        change => { 'digest-uri' => "xmpp/$domain/$domain" });
    bad('a response of zeros and more', $malformed, 'alice',
        change => { response => '0' x 33 });
    bad('a charset that is not', $malformed, 'alice',
        text => sub { $_[0] =~ s/utf-8/iso-8859-1/ });
    bad('RFC 2831, 2.1.2: 4096 octets', $malformed, 'alice',
        change => { extra => [ 'x=' . 'x' x 4096 ] });
    bad('an empty response', $malformed, 'alice', text => sub { $_[0] = '' });

    my %whole = Test::XMPP::Digest::parse(
        Test::XMPP::Digest->new(user => 'alice', host => $domain,
                                password => 'alice-secret')
        ->response($challenge));

    bad("RFC 2831, 2.1.2: $_ twice", $malformed, 'alice',
        change => { extra => [ qq{$_="$whole{$_}"} ] }) for sort keys %whole;

    bad('a name that is not ASCII without charset', $malformed, 'jürgen',
        change => { without => [ 'charset' ] });
    good('RFC 2831, 2.1.2: ASCII without charset', 'alice',
         change => { without => [ 'charset' ] });
}

good('RFC 2831, 2.1.2: qop is "auth" when it is not there', 'alice',
     change => { without => [ 'qop' ] }) if $t->ours();
good('maxbuf and what nobody knows are ignored', 'alice',
     change => { extra => [ 'maxbuf=1024', 'x="y"' ] });

# what is not the same is not what was signed

bad("$_->[0]: changed after the response was made", 'not-authorized', 'alice',
    text => $_->[1])
    for [ username => sub { $_[0] =~ s/username="alice/username="bob/ } ],
        [ cnonce => sub { $_[0] =~ s/cnonce="/cnonce="x/ } ];


###############################################################################
# The end: RFC 2831, 2.1.3

SKIP: {
    skip 'they take it', 3 unless $t->ours();

    my ($c, $text) = challenged('alice');
    my $digest = Test::XMPP::Digest->new(user => 'alice', host => $domain,
                                         password => 'alice-secret');

    $c->send_response($digest->response($text));
    ok($digest->verify($c->recv_challenge()), 'RFC 2831, 2.1.3: rspauth');
    $c->send_response('more');
    ok($c->expect('failure', error => 'malformed-request'),
       'the client has nothing more to say');

    ($c, $text) = challenged('alice');
    $c->send_response($digest->response($text));
    $c->recv_challenge();
    $c->send("<abort xmlns='$NS{sasl}'/>");
    ok($c->expect('failure', error => 'aborted'), 'abort after rspauth');
}


###############################################################################
# The limits on failed logins count these, too: once they are reached, not even
# rspauth tells that the password was right

if ($t->ours()) {
    my ($status) = $t->xmppctl('right', 'adduser', '--digest-md5',
                               'dora@limited.test');
    is($status, 0, 'an account with limits');

    my %opt = (user => 'dora', host => 'limited.test');
    my ($early, $text) = limited();

    for (1, 2) {
        my ($c, $challenge) = limited();

        $c->send_response(Test::XMPP::Digest->new(%opt, password => 'wrong')
                          ->response($challenge));
        ok($c->expect('failure', error => 'not-authorized'), "failure $_");
    }

    $early->send_response(Test::XMPP::Digest->new(%opt, password => 'right')
                          ->response($text));
    ok($early->expect('failure', error => 'temporary-auth-failure'),
       'the right password after that: no rspauth');
}


###############################################################################
# A secret is not left behind by another password

if ($t->ours()) {
    my ($status) = $t->xmppctl('new', 'passwd', "bob\@$domain");
    is($status, 0, 'passwd without --digest-md5');
    bad('the old password', 'not-authorized', 'bob');
    bad('nor the new one', 'not-authorized', 'bob', password => 'new');
}

$t->done();
