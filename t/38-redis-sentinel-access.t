#!/usr/bin/perl

# Sentinels that want a password, or TLS, or say what a worker cannot use; and
# xmppctl by the same addresses.  What is wrong is said, with the way out.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Sentinel;

my $port = Test::XMPP::Process::free_port();
my $secure = Test::XMPP::Process::free_port();
my $t = Test::XMPP->new(hosts => 0, workers => 1, users => [ qw/ alice / ],
    domains => [ qw/ localhost redis.test / ],
    redis => { port => $port, bind => '127.0.0.1' });

$t->only_ours('sets up our Redis');
$t->run();

my $dir = $t->testdir();
my $n = 0;


###############################################################################
# A user of the sentinels with no more rights than needed; the master has
# another password

my $get = '+sentinel|get-master-addr-by-name';
my $s = sentinels(auth => [ 'admin', 'a' ], pass => 'of-the-master',
                  more => <<"EOT");
user admin on >a ~* &* +\@all
user nginx on >n resetchannels &+switch-master -\@all +ping +subscribe $get
user muted on >m resetchannels -\@all +ping $get
user default off
EOT

$t->redis()->command('CONFIG', 'SET', 'requirepass', 'of-the-master');
$t->write_file('master', "of-the-master\n");
$t->write_file('nginx', "n\n");
$t->write_file('muted', "m\n");
$t->write_file('bad', "b\n");

my $address = $s->address();
my $master = 'xmpp_redis_password_file ../master;';
my $nginx = 'xmpp_redis_sentinel_password_file';

said('no password', "$address; $master",
     qr/to the sentinel \S+ was refused, "NOAUTH .*"xmpp_redis_sentinel_pass/);
said('a wrong one', "$address sentinel_user=nginx; $master $nginx ../bad;",
     qr/to the sentinel \S+ was refused, "WRONGPASS .*"sentinel_user="/);
said('none of the master', "$address sentinel_user=nginx; $nginx ../nginx;",
     qr/command connection to 127\S+ was refused, "NOAUTH .*password_file"/);
said('no right to SUBSCRIBE', "$address sentinel_user=muted; $master "
     . "$nginx ../muted;", qr/SUBSCRIBE \+switch-master is not permitted/);

my $host = host("$address sentinel_user=nginx; $master $nginx ../nginx;");

ok(Test::XMPP::Process::await(sub { eval { $t->online('alice', on => $n - 1) }
                                    }), 'a login by way of both passwords');

is((ctl('-c', "$dir/host" . ($n - 1) . '/nginx.conf', 'users', 'localhost'))[1],
   "alice\@localhost\n", 'xmppctl by the same nginx.conf');
like((ctl('-r', $address, 'users', 'localhost'))[1],
     qr/^xmppctl: Redis says: NOAUTH .*^xmppctl: no sentinel tells where/ms,
     'xmppctl without the password');

$s->stop();
$t->redis()->command('CONFIG', 'SET', 'requirepass', '');


###############################################################################
# A name instead of an address

$s = sentinels(at => 'localhost', more => <<'EOT');
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
EOT

said('a name', $s->address() . ';',
     qr/got the name of a host instead of an address, "localhost"; a worker /);
is((ctl('-r', $s->address(), 'users', 'localhost'))[1], "alice\@localhost\n",
   'xmppctl looks names up');

my $other = $s->address() =~ s/main$/other/r;

is((ctl('-r', $other, 'ping'))[0], 3, 'xmppctl: no master of that name');
like((ctl('-r', $other, 'ping'))[1],
     qr/^xmppctl: the sentinel at 127\.0\.0\.1, port \d+, knows no master (?#
     )"other"; the name is that of "sentinel monitor" in sentinel\.conf$/m,
     'and it says so');
$s->stop();

for my $url ('sentinel:127.0.0.1', 'sentinel:127.0.0.1/', 'sentinel:,/main',
             'sentinel:127.0.0.1:x/main', 'sentinel:127.0.0.1/main/x')
{
    is((ctl('-r', $url, 'ping'))[0], 2, "xmppctl: bad address $url");
}


###############################################################################
# TLS to both, with one name in all certificates

$t->redis()->command('CONFIG', 'SET', "tls-cert-file",
                     "$dir/redis.test.pem", 'tls-key-file',
                     "$dir/redis.test.key", 'tls-ca-cert-file', "$dir/ca.pem",
                     'tls-auth-clients', 'no', 'tls-replication', 'yes');
$t->redis()->command('CONFIG', 'SET', 'port', 0);
$t->redis()->command('CONFIG', 'SET', 'tls-port', $port);

$s = sentinels(more => <<"EOT");
tls-port $secure
tls-cert-file $dir/redis.test.pem
tls-key-file $dir/redis.test.key
tls-ca-cert-file $dir/ca.pem
tls-auth-clients no
tls-replication yes
EOT

my $tls = "sentinels:127.0.0.1:$secure/main;";
my $ca = 'xmpp_redis_ssl_trusted_certificate ../ca.pem; '
         . 'xmpp_redis_ssl_name';

said('another name', "$tls $ca other.test;",
     qr/to the sentinel \S+ is not trusted: .* for another name, "other.test"/);

host("$tls $ca redis.test;");
ok(Test::XMPP::Process::await(sub { eval { $t->online('alice', on => $n - 1) }
                                    }), 'a login by TLS to both');
is((ctl('-c', "$dir/host" . ($n - 1) . '/nginx.conf', 'users', 'localhost'))[1],
   "alice\@localhost\n", 'xmppctl by the same nginx.conf');

$s->stop();
$t->done();


sub sentinels {
    my (%opt) = @_;

    return Test::XMPP::Sentinel->new($dir, master => $t->redis(),
                                     replicas => 0, sentinels => 1,
                                     %opt)->start();
}


sub host {
    my ($redis) = @_;

    $n++;

    return $t->start_host(config => <<"EOT");
%%GLOBALS%%
events {
    worker_connections  256;
}

stream {
    xmpp_redis $redis

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
EOT
}


sub said {
    my ($name, $redis, $said) = @_;

    my $nginx = host($redis);

    ok($nginx->await_log($said), "$name: the log says so");
    $nginx->stop();
}


sub ctl {
    my (@arguments) = @_;
    my $binary = $ENV{XMPP_XMPPCTL}
                 // Test::XMPP::Nginx::root() . '/build/xmppctl';

    open my $out, '-|', "$binary @arguments 2>&1" or die "$binary: $!\n";

    my $output = do { local $/; <$out> };

    close $out;

    return ($? >> 8, $output);
}
