#!/usr/bin/perl

# Redis by TLS (rediss:): certificates are verified, chain and name, and each
# thing that can be wrong with them is told, while logins are refused for now
# (RFC 6120, 6.5.9) and the worker goes on trying.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::SSL::Utils;
use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

my $port = Test::XMPP::Process::free_port();
my $plain = Test::XMPP::Process::free_port();
my $t = Test::XMPP->new(hosts => 0, workers => 1, users => [ qw/ alice bob / ],
    domains => [ qw/ localhost second.test redis.test / ],
    redis => { appendonly => 'yes' });

$t->only_ours('sets up our Redis');
$t->run();

my $dir = $t->testdir();
my $redis = $t->redis();
my ($n, %secure) = 0;

certificate('expired', subjectAltNames => [ [ DNS => 'localhost' ],
                                            [ IP => '127.0.0.1' ] ],
            not_before => time() - 7200, not_after => time() - 3600);
certificate('client', purpose => 'client');

serve('localhost');


###############################################################################
# All is well

my $good = host("rediss:127.0.0.1:$port");
my $more = host("rediss://localhost:$port/0");

my $alice = $t->online('alice', on => 0, resource => 'r');
my $bob = $t->online('bob', on => 1, resource => 'r');

$alice->message($bob->jid(), 'by TLS', type => 'chat');
ok($bob->expect('message', body => 'by TLS'), 'by address, and by name');

# as much as many records hold, there and back

my $long = join '', map { chr(97 + $_ % 26) } 1 .. 200_000;

$alice->message($bob->jid(), "$_ $long", type => 'chat') for 1 .. 10;
is_deeply([ map { my $m = $bob->pick('message'); $m && $m->body() }
            1 .. 10 ],
          [ map { "$_ $long" } 1 .. 10 ], 'messages of many records, in order');

# gone and back: commands and subscriptions

for my $how (qw/ stop kill9 /) {
    my %from = map { $_ => $_->log_end() } $good, $more;

    $redis->$how();
    ok($_->sync(), "$how: " . $_->who() . ' stays') for $alice, $bob;
    $redis->start();
    $_->await_log_from($from{$_}, qr/(?:connection is back.*){2}/s)
        for $good, $more;

    ok(Test::XMPP::Process::await(sub {
        $alice->message($bob->jid(), "after $how", type => 'chat');
        $alice->sync();
        $_->fill() for $bob;
        return grep { $_->[0] eq 'stanza' && ($_->[1]->body() // '')
                      eq "after $how" } @{ $bob->{events} };
    }), "$how: and is reached again");
    $_->sync(), $_->drain() for $alice, $bob;
}

$_->close() for $alice, $bob;
$_->stop() for $good, $more;


###############################################################################
# What is wrong: nobody logs in, the log says why and what to do

serve('localhost');
fails('an unknown authority', "rediss:127.0.0.1:$port", '',
      qr/is not trusted, "(?:self-signed|unable to get).*"; "xmpp_redis_ssl/,
      qr/is not trusted: (?:self-signed|unable to get).*; name its (?#
        )authority in xmpp_redis_ssl_trusted_certificate or --cacert$/);
like((ctl('-r', "rediss:127.0.0.1:$port"))[1],
     qr/is not trusted: .*; name its authority in --cacert$/,
     'xmppctl without nginx.conf');
works('but not verified', "rediss:127.0.0.1:$port",
      'xmpp_redis_ssl_verify off;');

serve('expired');
fails('an expired certificate', "rediss:127.0.0.1:$port", trusted(),
      qr/is not trusted, "certificate has expired"; .*has to be valid/,
      qr/is not trusted: certificate has expired; Redis needs a valid one$/);

serve('redis.test');
fails('another name', "rediss:localhost:$port", trusted(),
      qr/is for another name, "localhost"; correct the name in "xmpp_redis"/,
      qr/localhost is for another name; see xmpp_redis_ssl_name$/);
like((ctl('-r', "rediss:localhost:$port", '--cacert', "$dir/ca.pem"))[1],
     qr/localhost is for another name; give -r its name, (?#
        )or -c with xmpp_redis_ssl_name$/,
     'xmppctl without nginx.conf');
fails('a name, but no address', "rediss:127.0.0.1:$port", trusted(),
      qr/is for another name, "127\.0\.0\.1"; .*"xmpp_redis_ssl_name"/,
      qr/127\.0\.0\.1 is for another name; see xmpp_redis_ssl_name$/);
works('its name is told', "rediss:127.0.0.1:$port",
      trusted() . 'xmpp_redis_ssl_name redis.test;');
works('not verified', "rediss:127.0.0.1:$port",
      'xmpp_redis_ssl_verify off;');

serve('localhost', 'tls-auth-clients' => 'yes');
fails('no certificate of ours', "rediss:127.0.0.1:$port", trusted(),
      qr/cannot speak TLS, "(?:.*certificate required|peer closed).*"xmpp_re/,
      qr/broke: .*certificate/);
works('a certificate of ours', "rediss:127.0.0.1:$port", trusted()
      . "xmpp_redis_ssl_certificate $dir/client.pem;"
      . "xmpp_redis_ssl_certificate_key $dir/client.key;");

serve('localhost', port => $plain, bind => '127.0.0.1');
fails('a server without TLS', "rediss:127.0.0.1:$plain", trusted()
      . 'xmpp_redis_connect_timeout 300ms;',
      qr/got no TLS handshake within the connect timeout; does the server/,
      qr/cannot speak TLS with Redis at 127.0.0.1: no answer in time/);
fails('TLS, but it was not asked for', "redis:127.0.0.1:$port", '',
      qr/command connection .*(?:closed|no valid reply)/,
      qr/connection to Redis broke|Redis says/);

serve('localhost', 'tls-protocols' => 'TLSv1.1',
      'tls-ciphers' => 'ALL:@SECLEVEL=0');
fails('TLS 1.1', "rediss:127.0.0.1:$port", trusted(),
      qr/cannot speak TLS, "SSL_do_handshake\(\) failed.*protocol version/,
      qr/cannot speak TLS .* protocol version/);
serve('localhost');


# A host with these settings; the last address wins.

sub host {
    my ($address, $directives, $workers) = @_;

    $directives //= trusted();
    $n++;

    return $t->start_host(config => <<"EOT", workers => $workers // 1);
%%GLOBALS%%
events { worker_connections 256; }
stream {
    xmpp_redis $address;
    $directives
    xmpp_host localhost {
        ssl_certificate     %%TESTDIR%%/localhost.pem;
        ssl_certificate_key %%TESTDIR%%/localhost.key;
    }
    server { listen 127.0.0.1:%%PORT_0%%; xmpp_c2s; }
}
EOT
}


sub trusted { "xmpp_redis_ssl_trusted_certificate $dir/ca.pem;" }


# Redis starts anew with the certificate of this name.

sub serve {
    my ($name, %config) = @_;

    $redis->stop();
    $redis->{config} = {
        'tls-port'         => $port,
        'tls-cert-file'    => "$dir/$name.pem",
        'tls-key-file'     => "$dir/$name.key",
        'tls-ca-cert-file' => "$dir/ca.pem",
        'tls-auth-clients' => 'no',
        appendonly         => 'yes',
        bind               => '127.0.0.1',
        %config,
    };
    $redis->start();
}


# One more certificate of the test's authority

sub certificate {
    my ($name, %of) = @_;

    my ($cert, $key) = CERT_create(
        subject => { commonName => $name }, purpose => 'server',
        key => KEY_create_ec('prime256v1'),
        issuer => [ @{ $t->{ca} }{qw/ cert key /} ], %of);

    PEM_cert2file($cert, "$dir/$name.pem");
    PEM_key2file($key, "$dir/$name.key");
}


sub attempt {
    my ($on) = @_;

    my $client = $t->client('alice', on => $on);

    $client->secure();

    my $outcome = $client->authenticate();

    $client->drop();

    return $outcome->is('success') ? 'success' : $outcome->error();
}


sub works {
    my ($name, $address, $directives) = @_;

    my $host = host($address, $directives);

    ok($host->await_log(qr/command connection is ready/), "$name: connected");
    is(attempt($n - 1), 'success', "$name: a login");

    my ($status, $said) = ctl('-c', $host->prefix() . '/nginx.conf');

    is($status, 0, "$name: xmppctl") or diag($said);
    $host->stop();
}


sub fails {
    my ($name, $address, $directives, $reason, $ctl) = @_;

    my $host = host($address, $directives
                              . ($directives =~ /connect_timeout/ ? ''
                                 : 'xmpp_redis_connect_timeout 1s;')
                              . 'xmpp_redis_timeout 500ms;');

    ok($host->await_log($reason), "$name: told")
        or diag($host->read_log());
    is(attempt($n - 1), 'temporary-auth-failure', "$name: a login");

    unlike($host->read_log(), qr/\[crit\]/, "$name: nothing else is logged");

    my ($status, $said) = ctl('-c', $host->prefix() . '/nginx.conf');

    is($status, 3, "$name: xmppctl fails");
    like($said, $ctl, "$name: and says why");
    $host->stop();
}


# xmppctl ping: exit status, and what it says

sub ctl {
    my (@arguments) = @_;

    my $binary = $ENV{XMPP_XMPPCTL}
                 // Test::XMPP::Nginx::root() . '/build/xmppctl';
    my $command = join ' ', map { quotemeta } $binary, @arguments, 'ping';
    my $said = `$command 2>&1 < /dev/null`;

    return ($? >> 8, $said);
}


is((ctl('-r', "rediss:127.0.0.1:$port", '--cacert', "$dir/ca.pem"))[0], 0,
   'xmppctl --cacert');
is((ctl('-r', "rediss:127.0.0.1:$port", '--cacert', "$dir/none"))[0], 4,
   'xmppctl --cacert of a file that is not there');


###############################################################################
# The handshake is under way, and something else happens

my $late = host("rediss:127.0.0.1:$port", trusted()
                . 'xmpp_redis_connect_timeout 400ms; xmpp_redis_timeout 1s;');

# which may take a busy machine more than one of such short times

ok(Test::XMPP::Process::await(sub { attempt($n - 1) eq 'success' }),
   'a login');
$redis->pause();
is(attempt($n - 1), 'temporary-auth-failure', 'Redis hangs');

# the connections time out, and others begin and hang: in the kernel's queue

ok($late->await_log(qr/no TLS handshake within the connect timeout/, 40),
   'a handshake that hangs is given up');

my ($old) = $late->reload();

ok(Test::XMPP::Process::await(sub { !kill 0, $old }, 10),
   'an old worker ends in the middle of it');

my $pid = $late->kill_worker();

ok($pid, 'so does one that is killed, and another begins');
$redis->resume();
ok(Test::XMPP::Process::await(sub { attempt($n - 1) eq 'success' }),
   'the next one is served when Redis goes on');

$t->done();
