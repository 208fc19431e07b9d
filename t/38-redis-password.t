#!/usr/bin/perl

# The password of Redis in a file: the server and xmppctl read it, nginx -t
# says what is wrong with it, and no log shows it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

my $port = Test::XMPP::Process::free_port();
my $t = Test::XMPP->new(hosts => 0, users => [ qw/ alice bob / ],
                        redis => { port => $port, bind => '127.0.0.1' });

$t->only_ours('sets up our Redis');
$t->run();

my $dir = $t->testdir();
my $redis = $t->redis();
my $hosts = <<'EOT';
    xmpp_host localhost {
        ssl_certificate     %%TESTDIR%%/localhost.pem;
        ssl_certificate_key %%TESTDIR%%/localhost.key;
    }
    server { listen 127.0.0.1:%%PORT_0%%; xmpp_c2s; }
EOT

# anything but a line end may be in it

my $secret = ' p@ss:w/rd {;} %41';

$redis->command('ACL', 'SETUSER', $_, 'on', ">$secret", '~*', '&*', '+@all')
    for qw/ xmpp admin /;

$t->write_file('redis.secret', "$secret\n");
$t->write_file('crlf.secret', "$secret\r\n");
$t->write_file('bare.secret', $secret);


###############################################################################
# Who logs in to Redis with it

my @ways = (
    [ 'the user of the URL', "xmpp_redis redis://xmpp\@127.0.0.1:$port;"
      . "xmpp_redis_password_file $dir/redis.secret;", 'xmpp' ],
    [ 'the file first, CRLF', "xmpp_redis_password_file $dir/crlf.secret;"
      . "xmpp_redis redis://xmpp\@127.0.0.1:$port/0;", 'xmpp' ],
    [ 'a socket, no line end', "xmpp_redis unix:$dir/redis.sock user=xmpp;"
      . "xmpp_redis_password_file $dir/bare.secret;", 'xmpp' ],
    [ 'user= before that of the URL, a relative path',
      "xmpp_redis redis://nobody\@127.0.0.1:$port db=0 user=xmpp;"
      . 'xmpp_redis_password_file ../redis.secret;', 'xmpp' ],
    [ 'the default user', "xmpp_redis redis:127.0.0.1:$port;"
      . "xmpp_redis_password_file $dir/redis.secret;", 'default' ],
);

$redis->command('CONFIG', 'SET', 'requirepass', $secret);

for my $i (0 .. $#ways) {
    my ($name, $directives, $user) = @{ $ways[$i] };
    my $host = $t->start_host(config => wrap("$directives $hosts"));
    my $client = $t->online('alice', on => $i);

    ok($client->sync(), "$name: works");

    my @names = map { /\buser=(\S+)/ } grep { /name=ngx_xmpp/ }
                split /\n/, $redis->command('CLIENT', 'LIST');

    is(scalar(grep { $_ eq $user } @names), @names, "$name: that user");
    unlike($host->read_log(), qr/\Q$secret\E/, "$name: the log is silent");

    $client->close();

    # xmppctl reads the same file

    my ($status, $said) = ctl('-c', $host->prefix() . '/nginx.conf', 'ping');

    is($status, 0, "$name: xmppctl") or diag($said);
    $host->stop();
}


###############################################################################
# A file that is changed counts after a reload

my $n = @ways;
my $host = $t->start_host(config => wrap($ways[0][1] . $hosts));

$redis->command('ACL', 'SETUSER', 'xmpp', 'resetpass', '>new');
$t->write_file('redis.secret', "new\n");
$host->reload();
ok(login(), 'a reload reads it again');
$t->write_file('redis.secret', "wrong\n");
$host->reload();
ok($host->await_log(qr/was refused, "WRONGPASS.*check address, user, password/),
   'a wrong one is told');
$t->write_file('redis.secret', "new\n");
$host->reload();
ok(login(), 'and mended by the next reload');


# An old worker may still have taken the first connection.

sub login {
    return Test::XMPP::Process::await(sub {
        my $bob = eval { $t->online('bob', on => $n) };
        return $bob && $bob->sync();
    });
}


###############################################################################
# xmppctl with another user

my $conf = $host->prefix() . '/nginx.conf';

for (
    [ 0, 'answers in', '-c', $conf, '-u', 'admin', '-P', "$dir/bare.secret" ],
    [ 0, 'answers in', '-r', "redis://admin\@127.0.0.1:$port", '-P',
      "$dir/bare.secret" ],
    [ 0, 'answers in', '-r', "unix:$dir/redis.sock", '-u', 'admin', '-P',
      "$dir/crlf.secret" ],
    [ 0, 'answers in', '-r', "redis://xmpp:wrong\@127.0.0.1:$port", '-u',
      'admin', '-P', "$dir/crlf.secret" ],
    [ 2, 'needs a password: name its file with -P', '-c', $conf, '-u',
      'admin' ],
    [ 2, 'needs a password', '-r', "redis://admin\@127.0.0.1:$port" ],
    [ 4, 'cannot read .*none.*No such file', '-c', $conf, '-P', "$dir/none" ],
    [ 4, 'should hold the password of Redis', '-c', $conf, '-P', '/dev/null' ],
    [ 3, 'WRONGPASS', '-c', $conf, '-P', "$dir/bare.secret" ],
) {
    my ($expected, $says, @options) = @$_;
    my ($status, $said) = ctl(@options, 'ping');

    is($status, $expected, "xmppctl @options[0 .. 1]: status") or diag($said);
    like($said, qr/$says/, "xmppctl @options[0 .. 1]: $says");
}

$_->stop() for map { $t->host($_) } 0 .. $n;


###############################################################################
# What is wrong, with file and line

my $redis_url = 'xmpp_redis redis://xmpp@127.0.0.1:1;';

$t->write_file('empty.secret', '');
$t->write_file('line.secret', "\n");
$t->write_file('lines.secret', "a\nb\n");
$t->write_file('long.secret', 'x' x 5000);

my $idle = $t->start_host(idle => 1);

$idle->expect_log(qr/\[emerg\]/);

for (
    [ "$redis_url xmpp_redis_password_file $dir/none;",
      qr/open\(\) "\S+none" failed; it .*No such file.* in \S+:\d+/ ],
    [ "$redis_url xmpp_redis_password_file $dir;",
      qr/read\(\) .*Is a directory.* in \S+:\d+/ ],
    [ "$redis_url xmpp_redis_password_file $dir/empty.secret;",
      qr/"\S+" is empty; it should hold the password of Redis in \S+:\d+/ ],
    [ "$redis_url xmpp_redis_password_file $dir/line.secret;",
      qr/is empty/ ],
    [ "$redis_url xmpp_redis_password_file $dir/lines.secret;",
      qr/has more than one line/ ],
    [ "$redis_url xmpp_redis_password_file $dir/long.secret;",
      qr/is longer than 4096 bytes/ ],
    [ "xmpp_redis redis://xmpp:x\@127.0.0.1; xmpp_redis_password_file $dir/x;",
      qr/there is a password in "xmpp_redis", too; leave one.* in \S+:\d+/ ],
    [ "xmpp_redis_password_file $dir/bare.secret; "
      . "\nxmpp_redis redis://:sesame\@127.0.0.1;",
      qr/there is a password in it and an "xmpp_redis_pas.* in \S+:\d+/ ],
    [ "$redis_url xmpp_redis_password_file $dir/bare.secret; "
      . "xmpp_redis_password_file $dir/bare.secret;", qr/is duplicate/ ],
    [ $redis_url, qr/the user "xmpp" without a password: put it into a file/ ],
    [ 'xmpp_redis unix:/x user=;', qr/invalid parameter "user="/ ],
) {
    my ($directives, $reason) = @$_;
    my ($status, $output) = $idle->test_config(wrap("$directives $hosts"));

    is($status, 1, 'refused: ' . $directives =~ s/\Q$dir\E//gr);
    like($output, $reason, 'and told so');
    unlike($output, qr/\Q$secret\E|sesame/, 'without the password');
}

$t->done();


sub wrap {
    my ($stream) = @_;

    return <<"EOT";
%%GLOBALS%%
events { worker_connections 256; }
stream {
$stream
}
EOT
}


sub ctl {
    my (@arguments) = @_;

    my $binary = $ENV{XMPP_XMPPCTL}
                 // Test::XMPP::Nginx::root() . '/build/xmppctl';
    my $command = join ' ', map { quotemeta } $binary, @arguments;
    my $said = `$command 2>&1 < /dev/null`;

    return ($? >> 8, $said);
}
