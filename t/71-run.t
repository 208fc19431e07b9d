#!/usr/bin/perl

# make run: a server that two people can use, twice in a row with the same
# accounts, gone after Ctrl-C without a trace; and what it says when it cannot.
# Its page to chat in: with Converse.js where npm fetches it; and without.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Cwd qw/ abs_path /;
use File::Temp qw/ tempdir /;
use HTTP::Tiny;
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw/ time /;

use Test::XMPP::Client;
use Test::XMPP::Process;
use Test::XMPP::WebSocket;

*await = \&Test::XMPP::Process::await;
*slurp = \&Test::XMPP::Process::slurp;

plan(skip_all => 'for our own server only') if $ENV{XMPP_TARGET};
plan(tests => 51);

my $top = abs_path("$FindBin::Bin/..");
my $dir = tempdir('xmpp-run-XXXXXXXX', TMPDIR => 1, CLEANUP => 1);
my $state = "$dir/state";
my @runs;

# www-data goes through it where root runs this
chmod 0755, $dir;

# what make test was told is not for these
delete @ENV{qw/ MAKEFLAGS MAKELEVEL MFLAGS DOMAIN PORT TLS_PORT HTTP_PORT
                RUN_DIR NPM CONVERSE_DIR /};

my $port = Test::XMPP::Process::free_port();
my $tls_port = Test::XMPP::Process::free_port();
my $http_port = Test::XMPP::Process::free_port();
my @ports = ("PORT=$port", "TLS_PORT=$tls_port", "HTTP_PORT=$http_port");

# what npm has fetched for others is not for the runs that have none

$ENV{CONVERSE_DIR} = "$dir/converse";


# the first time: everything is made, but npm has no network

my $run = start(@ports, "RUN_DIR=$state", 'DOMAIN=Example.org',
                'NPM=' . npm('fails', 'echo "npm error no network"; exit 1'));
my $said = welcome($run);

like($said, qr/^XMPP for example\.org is served here/m, 'starts');
like($said, qr/ $port with STARTTLS, $tls_port with direct TLS/, 'the ports');
like($said, qr{CA \s+ \Q$state\E/ca\.pem}x, 'the CA');

my %password = $said =~ /(\S+\@example\.org)\s+password\s+(\S+)/g;
is_deeply([ sort keys %password ],
          [ 'alice@example.org', 'bob@example.org' ], 'two accounts');

my $alice = login('alice', tls => 'starttls', port => $port);
my $bob = login('bob', tls => 'direct', port => $tls_port);

$alice->message($bob->jid(), 'hello', type => 'chat');
ok($bob->expect(message => from => $alice->jid(), body => 'hello'),
   'they chat, verified by the CA');

SKIP: {
    skip('this machine has no IPv6', 2) unless -e '/proc/net/if_inet6'
                                               && slurp('/proc/net/if_inet6');

    is(tls("[::1]:$port", '-starttls xmpp -xmpphost example.org'), 0,
       'IPv6, STARTTLS');
    is(tls("[::1]:$tls_port", '-alpn xmpp-client'), 0, 'IPv6, direct TLS');
}

# the page, which needs no Converse.js to say that there is none

my $page = "http://localhost:$http_port/";

like($said, qr/^There is no web client at \Q$page\E: npm could not fetch/m,
     'npm fails: it is told');
like($said, qr/^ +npm error no network$/m, 'and what it says');
unlike($said, qr/\Q$page\E#/, 'and no link to it');
like(get('')->{content}, qr/id="missing"/, 'the page is there');
like(get('settings.js')->{content},
     qr/domain: "example.org", accounts: \["alice\@example.org", "bob\@/,
     'and knows the accounts');
like(get('')->{headers}{'content-security-policy'},
     qr{default-src 'none'.* connect-src 'self' ws://localhost:$http_port },
     'it may ask this host alone');
like(ask("GET / HTTP/1.1\r\nHost: attacker.test:$http_port\r\n"
         . "Connection: close\r\n\r\n"), qr{^HTTP/1.1 421 },
     'under a name of somebody else there is none');

like(get('metrics')->{content}, qr/^ngx_xmpp_sessions/m, 'metrics');
like(get('status')->{headers}{'content-security-policy'}, qr/sha256-/,
     'the status page has its own policy alone');

my $web = Test::XMPP::WebSocket->new(host => '127.0.0.1', port => $http_port,
    domain => 'example.org', user => 'alice', tls => 'none',
    password => $password{'alice@example.org'},
    fields => { Host => "localhost:$http_port",
                Origin => "http://localhost:$http_port" })->login();

$web->message($bob->jid(), 'from the web', type => 'chat');
ok($bob->expect(message => from => $web->jid(), body => 'from the web'),
   'WebSocket: they chat');
$web->close();


is((stat "$state/$_")[2] & 077, 0, "$_ is private")
    for qw{ ca.key example.org.key accounts redis };


# what is in the way is told in a sentence

like(refused(@ports, "RUN_DIR=$state"),
     qr/^make run is running already in \Q$state\E, process \d+\.$/m,
     'a second run');
like(refused(@ports, "RUN_DIR=$dir/other"),
     qr/^Port $port is in use by nginx, process \d+\.$/m, 'a busy port');
like(refused("RUN_DIR=/proc/no"), qr{^Cannot write to /proc/no, }m,
     'no right to write');
like(refused('DOMAIN=a b', "RUN_DIR=$state"), qr/^DOMAIN=a b is not a domain/m,
     'a domain that is none');
like(refused('PORT=5222x', "RUN_DIR=$state"), qr{^PORT=5222x is not a port}m,
     'a port that is none');
like(refused("RUN_DIR=$dir/a b"), qr/^nginx cannot take the path/m,
     'a path that nginx cannot take');
like(refused("RUN_DIR=$dir/" . 'x' x 100), qr/would be too long/,
     'a path that a socket cannot take');


# an account is still there when nobody may log in to it

my $ctl = $ENV{XMPP_XMPPCTL} // "$top/build/xmppctl";

is(system("$ctl -c $state/nginx.conf disable "
          . 'bob@example.org >/dev/null'), 0, 'an account is disabled');


# Ctrl-C, with clients connected

my @pids = processes();
is(scalar @pids, 4, 'nginx, two workers, Redis');

$alice->drain();
interrupt($run);

ok($alice->expect_stream_error('system-shutdown'), 'the clients are told');
like(slurp("$dir/run1.log"), qr/^stopping\nstopped$/m, 'Ctrl-C stops it');
is(running(@pids), 0, 'all are gone');
like(slurp("$state/redis/redis.log"), qr/ready to exit, bye bye/,
     'Redis has ended in peace');


# the second time, for another domain: what is there is taken

my $ca = slurp("$state/ca.pem");
my $begin = time();
my $taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1,
                                  LocalPort => $http_port, ReuseAddr => 1);
$run = start(@ports, "RUN_DIR=$state", 'DOMAIN=example.net',
             'NPM=' . npm('else', 'echo else >converse.js-14.0.0.tgz'));
$said = welcome($run);

cmp_ok(time() - $begin, '<', 10, 'starts in seconds');
is(slurp("$state/ca.pem"), $ca, 'with the same CA');
like($said, qr/alice\@example\.net/, 'and accounts of the other domain');

my $in_use = "Port $http_port is in use by \\S+, process $$";
my ($other) = $said =~ /^$in_use: the page to chat in is at (\d+)\.$/m;

ok($other, 'the port of the page is in use: it has another one');
like($said, qr/: what npm brought is not Converse\.js/, 'npm is not trusted');
$page = "http://localhost:$other/";
is(get('')->{status}, 200, 'the page is at the other port');
close $taken;


# killed, it leaves things behind, which the next run clears away

@pids = processes();
kill 'KILL', run_script();
await(sub { !$run->alive() });
is(running(@pids), 4, 'kill -9 leaves all running');

delete $ENV{CONVERSE_DIR};
my @npm = system('command -v npm >/dev/null') ? 'NPM=none' : ();
$run = start(@ports, "RUN_DIR=$state", 'DOMAIN=example.org', @npm);
$said = welcome($run);

like($said, qr/^stopping the nginx of a run that was killed/m, 'it is told');
is(running(@pids), 0, 'and gone');
is_deeply({ $said =~ /(\S+\@example\.org)\s+password\s+(\S+)/g }, \%password,
          'the accounts are the same');
ok($alice = login('alice', tls => 'starttls', port => $port), 'and there');


# the page with Converse.js, where npm can fetch it

$page = "http://localhost:$http_port/";

SKIP: {
    skip('npm could not fetch Converse.js', 3)
        if $said =~ /^There is no web client/m;

    my @links = $said =~ /^ +(\Q$page\E#\S+)$/mg;
    is_deeply(\@links, [ map { "$page#$_:$password{$_}" }
                         sort keys %password ], 'a link for each account');

    my @files = get('')->{content} =~ /\b(?:href|src)="([^"]+)"/g;

    cmp_ok(scalar @files, '>', 5, 'the page names files');
    is(join(' ', grep { get($_)->{status} != 200 }
                 @files, 'converse/emoji.json'), '', 'all are there');
}


# when one of the two ends, so does the other

@pids = processes();
my ($redis) = grep { title($_) =~ /^redis-server/ } @pids;

kill 'KILL', $redis;
ok(await(sub { !$run->alive() }), 'Redis was killed: it ends');
like(slurp($runs[-1]), qr/^Redis has ended/m, 'it says why');
is(running(@pids), 0, 'nginx has ended, too');


sub start {
    push @runs, "$dir/run" . (1 + @runs) . '.log';

    return Test::XMPP::Process->start($runs[-1], 'make', '-C', $top,
                                      '--no-print-directory', 'run', @_);
}


# what was printed when it is up

sub welcome {
    my ($run) = @_;

    await(sub { slurp($runs[-1]) =~ /^Ctrl-C stops it/m || !$run->alive() },
          120);

    return slurp($runs[-1]);
}


sub refused {
    my $log = "$dir/refused.log";

    unlink $log;
    my $run = Test::XMPP::Process->start($log, 'make', '-C', $top, 'run', @_);
    await(sub { !$run->alive() }, 60);

    return ($run->status() ? '' : "exit status 0\n") . slurp($log);
}


sub login {
    my ($user, %opt) = @_;

    return Test::XMPP::Client->new(
        host => '127.0.0.1', domain => 'example.org', user => $user,
        password => $password{"$user\@example.org"}, ca => "$state/ca.pem",
        %opt)->login();
}


# exit status of a handshake in which the certificate was verified

sub tls {
    my ($address, $options) = @_;

    return system("openssl s_client -connect $address $options "
                  . "-CAfile $state/ca.pem -verify_hostname example.org "
                  . '-verify_return_error </dev/null >/dev/null 2>&1');
}


# A program in the place of npm

sub npm {
    my ($name, $script) = @_;

    open my $fh, '>', "$dir/$name" or die "$dir/$name: $!\n";
    print $fh "#!/bin/sh\n$script\n";
    close $fh;
    chmod 0755, "$dir/$name";

    return "$dir/$name";
}


# A file of the page

sub get {
    my ($file) = @_;

    return HTTP::Tiny->new(no_proxy => [ 'localhost' ])->get("$page$file");
}


# what is answered until the end

sub ask {
    my ($request) = @_;

    my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                     PeerPort => $http_port) or return '';
    print $sock $request;
    local $/;

    return scalar <$sock>;
}


# Ctrl-C of a terminal: SIGINT for the process group

sub interrupt {
    my ($run) = @_;

    kill 'INT', -$run->pid();
    await(sub { !$run->alive() });
}


# How many of them run; one that has ended but that nobody waits for does not.

sub running {
    return scalar grep { slurp("/proc/$_/stat") =~ /\) [^Z]/ } @_;
}


sub title {
    my $title = slurp("/proc/$_[0]/cmdline");

    return $title =~ tr/\0/ /r;
}


sub run_script {
    my $pid = slurp("$state/lock");

    return $pid =~ /(\d+)/ ? $1 : die "no pid\n";
}


# nginx, its workers and Redis

sub processes {
    my @found;
    my @todo = map { /(\d+)/ } map { slurp("$state/$_.pid") } qw/ nginx redis /;

    while (defined(my $pid = shift @todo)) {
        push @found, $pid;
        push @todo, split ' ', slurp("/proc/$pid/task/$pid/children");
    }

    return @found;
}
