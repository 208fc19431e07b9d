#!/usr/bin/perl

# xmppctl: accounts, options, nginx.conf, passwords, exit codes, against a
# private redis-server.  The keys are computed once more here, in Perl.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Cwd qw/ abs_path /;
use Digest::SHA qw/ hmac_sha1 hmac_sha256 hmac_sha512 sha1 sha256 sha512 /;
use File::Temp qw/ tempdir /;
use IPC::Open2 qw/ open2 /;
use MIME::Base64 qw/ decode_base64 encode_base64 /;
use POSIX ();
use Test::More;

use Test::XMPP::Functions;
use Test::XMPP::Process;
use Test::XMPP::Redis;

plan(skip_all => 'for our own server only') if $ENV{XMPP_TARGET};

$SIG{INT} = $SIG{TERM} = sub { exit 130 };
$SIG{PIPE} = 'IGNORE';

my $top = "$FindBin::Bin/..";
my $ctl = abs_path($ENV{XMPP_XMPPCTL} // "$top/build/xmppctl");
my $dir = tempdir('xmpp-test-XXXXXXXX', TMPDIR => 1,
                  CLEANUP => !$ENV{XMPP_LEAVE});

BAIL_OUT("xmppctl is missing: run make") unless $ctl && -x $ctl;
my $port = Test::XMPP::Process::free_port();
my $redis = Test::XMPP::Redis->new($dir, port => $port, bind => '127.0.0.1');
my @r = ('-r', "unix:$dir/redis.sock");


###############################################################################
# Helpers

sub spew {
    my ($name, $text) = @_;

    open my $fh, '>', "$dir/$name" or die "$dir/$name: $!";
    binmode $fh;
    print $fh $text;
    close $fh;

    return "$dir/$name";
}

# ctl($stdin, @arguments): exit status (a signal as 128 + n), stdout, stderr

sub ctl {
    my ($input, @arguments) = @_;

    spew('in', $input // '');

    my $pid = fork() // die "fork: $!";

    if ($pid == 0) {
        open STDIN, '<', "$dir/in";
        open STDOUT, '>', "$dir/out";
        open STDERR, '>', "$dir/err";
        exec { $ctl } $ctl, @arguments or POSIX::_exit(127);
    }

    waitpid $pid, 0;

    my $status = $? & 127 ? 128 + ($? & 127) : $? >> 8;

    return ($status, map { Test::XMPP::Process::slurp("$dir/$_") }
                         qw/ out err /);
}

# refused($status, $pattern, $name, $stdin, @arguments): a sentence on stderr,
# nothing on stdout

sub refused {
    my ($status, $pattern, $name, @call) = @_;

    my ($got, $out, $err) = ctl(@call);

    is($got, $status, "$name: status $status");
    like($err, qr/^(?:xmppctl|usage): .*$pattern/s, "$name: says why");
    is($out, '', "$name: nothing on stdout");
}

sub done {
    my ($name, @call) = @_;

    my ($status, $out, $err) = ctl(@call);

    is($status, 0, $name) or diag($out, $err);
    is($err, '', "$name: nothing on stderr");

    return $out;
}

my %hashes = (
    'scram-sha-1'   => [ \&sha1, \&hmac_sha1 ],
    'scram-sha-256' => [ \&sha256, \&hmac_sha256 ],
    'scram-sha-512' => [ \&sha512, \&hmac_sha512 ],
);

# RFC 5802, 3: StoredKey and ServerKey, as the account has them

sub derive {
    my ($field, $password, $salt, $iterations) = @_;

    my ($h, $hmac) = @{ $hashes{$field} };

    my $u = $hmac->($salt . pack('N', 1), $password);
    my $salted = $u;

    for (2 .. $iterations) {
        $u = $hmac->($u, $password);
        $salted ^= $u;
    }

    return map { encode_base64($_, '') }
               $h->($hmac->('Client Key', $salted)),
               $hmac->('Server Key', $salted);
}

sub account {
    my ($jid, $prefix) = @_;

    return { @{ $redis->command('HGETALL', ($prefix // 'xmpp')
                                           . ":{$jid}:account") } };
}

# every field holds the keys of this password

sub password_is {
    my ($jid, $password, $name, %opt) = @_;

    my $account = account($jid, $opt{prefix});
    my $iterations = $opt{iterations} // 10000;
    my %salts;

    for my $field (sort keys %hashes) {
        my ($i, $salt, @keys) = split /,/, $account->{$field} // '';

        $salts{ $salt // '' } = 1;

        is_deeply([ $i, @keys ],
                  [ $iterations, derive($field, $password,
                                        decode_base64($salt), $iterations) ],
                  "$name: $field");
    }

    is(scalar keys %salts, 3, "$name: three salts");
}

sub now { POSIX::strftime('%Y-%m-%dT%H:%M:%SZ', gmtime) }

sub members { [ sort @{ $redis->command('SMEMBERS', "xmpp:accounts:$_[0]") } ] }

# a second connection that only listens

sub listener {
    my (@command) = @_;

    my $client = bless { sock => "$dir/redis.sock" }, 'Test::XMPP::Redis';

    $client->command(@command);

    return sub { Test::XMPP::Redis::_reply($client->{client}) };
}


###############################################################################
# adduser

my $before = now();

is(done('adduser', "pencil\n", @r, 'adduser', 'Juliet@Example.com'),
   "juliet\@example.com added\n", 'adduser: says what it did');

my $account = account('juliet@example.com');

is_deeply([ sort keys %$account ],
          [ qw/ created scram-sha-1 scram-sha-256 scram-sha-512 / ],
          'the fields of an account');

like($account->{created}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/,
     'created: XEP-0082, 3.2');
ok($account->{created} ge $before && $account->{created} le now(),
   'created: now');
is(length decode_base64((split /,/, $account->{'scram-sha-1'})[1]), 16,
   'a salt of 128 bits');

password_is('juliet@example.com', 'pencil', 'adduser');
is_deeply(members('example.com'), [ 'juliet@example.com' ],
          'the list of the domain');

refused(1, 'juliet@example.com exists', 'adduser again', "other\n", @r,
        'adduser', 'juliet@EXAMPLE.com.');
is_deeply(account('juliet@example.com'), $account, 'nothing changed');

done('adduser, 4096 rounds', "pencil\n", @r, 'adduser', '--iterations', 4096,
     'romeo@example.com');
password_is('romeo@example.com', 'pencil', '4096 rounds', iterations => 4096);

isnt((split /,/, account('romeo@example.com')->{'scram-sha-1'})[1],
     (split /,/, $account->{'scram-sha-1'})[1], 'another salt');


###############################################################################
# JIDs

my @bad = (
    [ 'example.com', 'not the address of an account' ],
    [ 'juliet@example.com/balcony', 'not the address of an account' ],
    [ '@example.com', 'not a JID' ],
    [ 'juliet@', 'not a JID' ],
    [ 'ju liet@example.com', 'not a JID' ],
    [ "ju\xffliet\@example.com", 'not a JID' ],
    [ 'juliet@exa_mple.com', 'not a JID' ],
    [ 'a' x 1024 . '@example.com', 'not a JID' ],
    [ '', 'not a JID' ],
);

for (@bad) {
    my ($jid, $why) = @$_;

    refused(1, $why, 'adduser "' . substr($jid =~ s/\xff/?/r, 0, 30) . '"',
            "pencil\n", @r, 'adduser', $jid);
}

done('adduser, non-ASCII', "pencil\n", @r, 'adduser',
     "\xc3\x89TIENNE\@B\xc3\x9cCHER.example");
ok(exists account("\xc3\xa9tienne\@b\xc3\xbccher.example")->{created},
   'the prepared name is the key');

done('adduser, braces', "pencil\n", @r, 'adduser', 'a}{b%@example.com');
ok(exists account('a%7D%7Bb%25@example.com')->{created},
   'the key is percent-encoded');
is_deeply(members('example.com'),
          [ sort qw/ juliet@example.com romeo@example.com a}{b%@example.com / ],
          'the list has the name itself');
done('deluser, braces', undef, @r, 'deluser', 'a}{b%@example.com');
is_deeply(account('a%7D%7Bb%25@example.com'), {}, 'and it is removed');


###############################################################################
# passwd

done('passwd', "secret\n", @r, 'passwd', 'juliet@example.com');
password_is('juliet@example.com', 'secret', 'passwd');
is(account('juliet@example.com')->{created}, $account->{created},
   'created stays');

refused(1, 'no account nobody@example.com', 'passwd of nobody', "secret\n",
        @r, 'passwd', 'nobody@example.com');
is_deeply(account('nobody@example.com'), {}, 'and none is made');


###############################################################################
# Passwords: one line of stdin

my @lines = (
    [ "pencil\r\n", 'pencil', 'CRLF' ],
    [ 'pencil', 'pencil', 'no line end' ],
    [ "pen\rcil", undef, 'CR inside' ],
    [ " pen cil \n", ' pen cil ', 'spaces' ],
    [ "pencil\nother\n", 'pencil', 'a second line' ],
    [ "I\xc2\xadX\n", 'IX', 'SASLprep: mapped to nothing' ],
    [ "\xe2\x85\xa8\n", 'IX', 'SASLprep: NFKC' ],
    [ "p\xc3\xa4ss\n", "p\xc3\xa4ss", 'SASLprep: kept' ],
    [ 'x' x 1024 . "\n", 'x' x 1024, 'the longest' ],
    [ "\n", undef, 'empty' ],
    [ "\r\n", undef, 'empty, CRLF' ],
    [ '', undef, 'no line' ],
    [ "\xc2\xad\n", undef, 'nothing after SASLprep' ],
    [ "pen\x07cil\n", undef, 'a control' ],
    [ "pen\0cil\n", undef, 'NUL' ],
    [ "p\xe4ss\n", undef, 'Latin-1' ],
    [ 'x' x 1025 . "\n", undef, 'too long' ],
    [ 'x' x 100000 . "\n", undef, 'far too long' ],
);

for (@lines) {
    my ($line, $password, $name) = @$_;

    my $old = account('romeo@example.com');
    my @call = ($line, @r, 'passwd', '--iterations', 4096, 'romeo@example.com');

    if (defined $password) {
        done("password, $name", @call);
        password_is('romeo@example.com', $password, $name,
                    iterations => 4096);

    } else {
        refused(1, 'password', "password, $name", @call);
        is_deeply(account('romeo@example.com'), $old, "$name: no change");
    }
}

# what comes after the line is left for others

spew('two', "first\nsecond\n");

is(system('/bin/sh', '-c',
          '("$0" "$@" a@example.com && "$0" "$@" b@example.com)'
          . " < $dir/two > $dir/out 2>&1", $ctl, @r, 'adduser'), 0,
   'two accounts, two lines');
password_is('a@example.com', 'first', 'the first line');
password_is('b@example.com', 'second', 'the second line');


###############################################################################
# Passwords: a terminal, made by script(1)

# terminal($command, [ prompt => answer ], ...): status, all that it showed

sub terminal {
    my ($command, @talk) = @_;

    my $pid = open2(my $out, my $in, 'script', '-q', '-e', '-c', $command,
                    '/dev/null');
    my $text = '';
    local $SIG{ALRM} = sub { kill 'KILL', $pid };
    alarm 30;
    $in->autoflush(1);

    for (@talk, undef) {

        # the answer would be thrown away if it came before the prompt

        until ($_ && $text =~ /$_->[0]$/) {
            sysread $out, $text, 4096, length $text or last;
        }

        print $in $_->[1] if $_;
    }

    close $in;
    waitpid $pid, 0;
    alarm 0;

    return ($? >> 8, $text);
}

my ($status, $text) = terminal("$ctl @r adduser tty\@example.com",
    [ qr/Password for tty\@example\.com: / => "s3cret\n" ],
    [ qr/Once more, for tty\@example\.com: / => "s3cret\n" ]);

is($status, 0, 'terminal: adduser') or diag($text);
unlike($text, qr/s3cret/, 'terminal: no echo');
password_is('tty@example.com', 's3cret', 'terminal');

($status, $text) = terminal("$ctl @r passwd tty\@example.com",
    [ qr/Password for .*: / => "s3cret\n" ],
    [ qr/Once more, for .*: / => "secret\n" ]);

is($status, 1, 'terminal: two passwords that differ');
like($text, qr/not the same/, 'terminal: says why');

($status, $text) = terminal("$ctl @r passwd tty\@example.com",
    [ qr/Password for .*: / => "\n" ]);

is($status, 1, 'terminal: empty password');

# a signal leaves the terminal as it was

($status, $text) = terminal(
    "sh -c 'trap : INT; $ctl @r passwd tty\@example.com; "
    . "echo status \$?; stty -a'",
    [ qr/Password for .*: / => "\cC" ]);

like($text, qr/status 130\b/, 'terminal: Ctrl-C ends it');
like($text, qr/ echo\b/, 'terminal: and the echo is back');
password_is('tty@example.com', 's3cret', 'terminal: still the first');


###############################################################################
# One atomic step, and the order of writes

my @racers = map {
    my $pid = open2(my $out, my $in, 'sh', '-c', '"$0" "$@" 2>&1', $ctl, @r,
                    'adduser', 'race@example.com');
    { pid => $pid, in => $in, out => $out };
} 1 .. 2;

# both have seen that there is no such account

ok(Test::XMPP::Process::await(sub {
    2 == (() = $redis->command('CLIENT', 'LIST') =~ /cmd=exists/g);
}), 'two at once: both wait for a password');

for my $n (0, 1) {
    print { $racers[$n]{in} } "password$n\n";
    close $racers[$n]{in};
}

waitpid($_->{pid}, 0), $_->{status} = $? >> 8 for @racers;

is_deeply([ sort map { $_->{status} } @racers ], [ 0, 1 ],
          'two at once: one is refused');

my ($winner) = grep { $racers[$_]{status} == 0 } 0, 1;

password_is('race@example.com', "password$winner", 'two at once');

my $monitor = listener('MONITOR');

sub heard {
    my @lines;

    $redis->command('ECHO', "end-$_[0]");
    push @lines, $monitor->() until @lines && $lines[-1] =~ /end-$_[0]/;

    return join "\n", @lines;
}

ctl("s3cret-w0rd\n", @r, 'adduser', 'order@example.com');
my $heard = heard('adduser');

like($heard, qr/"SADD".*"EVAL"/s, 'adduser: the list, then the record');
unlike($heard, qr/s3cret-w0rd/, 'Redis never sees the password');
like($heard, qr/"scram-sha-512"/, 'but the keys');

ctl(undef, @r, 'deluser', 'order@example.com');
like(heard('deluser'), qr/"(?:FCALL|DEL)".*"SREM"/s,
     'deluser: the record, then the list');


###############################################################################
# deluser

is_deeply($redis->command('FUNCTION', 'LIST'), [],
          'no Function is loaded');

$redis->command('SADD', 'xmpp:accounts:example.com', 'ghost@example.com');

is(done('deluser', undef, @r, 'deluser', 'A@example.com'),
   "a\@example.com removed\n", 'deluser: says what it did');
is_deeply(account('a@example.com'), {}, 'the record is gone');
ok(!grep({ $_ eq 'a@example.com' } @{ members('example.com') }),
   'the list has it no more');

refused(1, 'no account a@example.com', 'deluser again', undef, @r, 'deluser',
        'a@example.com');

refused(1, 'no account ghost@example.com', 'deluser of a name that only the'
        . ' list has', undef, @r, 'deluser', 'ghost@example.com');
ok(!grep({ $_ eq 'ghost@example.com' } @{ members('example.com') }),
   'a name that a crash left behind is taken off the list');

# with the servers' Functions: sessions end, too

$redis->command('FUNCTION', 'LOAD', Test::XMPP::Functions::library());
$redis->command('HSET', 'xmpp:{b@example.com}:sessions', 'rhome',
                '7 sid boot 0 -');
$redis->command('HSET', 'xmpp:{b@example.com}:presence', 'rhome', '<x/>');

my $bell = listener('SSUBSCRIBE', 'xmpp/0:{b@example.com}');

done('deluser with sessions', undef, @r, 'deluser', 'b@example.com');

my $message = $bell->();

is($message->[1], 'xmpp/0:{b@example.com}', 'the channel is rung');
like($message->[2], qr/^1x /, 'the bell tells that the account was removed');
is($redis->command('EXISTS', map { "xmpp:{b\@example.com}:$_" }
                   qw/ account sessions presence /), 0,
   'account, sessions and presence are gone');

refused(1, 'no account b@example.com', 'deluser with Functions, again',
        undef, @r, 'deluser', 'b@example.com');


###############################################################################
# users

is(done('users', undef, @r, 'users', 'EXAMPLE.com'),
   join('', map { "$_\n" } sort qw/ juliet@example.com romeo@example.com
                                    tty@example.com race@example.com /),
   'users: sorted');
is(done('users of an empty domain', undef, @r, 'users', 'example.net'), '',
   'users: none');

my @many = map { sprintf 'user%05d@many.example', $_ } 1 .. 5000;

$redis->command('SADD', 'xmpp:accounts:many.example', reverse @many);
is(done('users, many', undef, @r, 'users', 'many.example'),
   join('', map { "$_\n" } @many), 'users: 5000 in order, each once');

refused(2, 'DOMAIN has to be named', 'users with -r alone', undef, @r,
        'users');
refused(1, 'not a domain', 'users of no domain', undef, @r, 'users', 'a b');

is(system('/bin/sh', '-c', '"$0" "$@" > /dev/full 2> /dev/null', $ctl, @r,
          'users', 'many.example') >> 8, 1, 'users: a full disk is noticed');


###############################################################################
# Options

my ($help, $out, $err);
for my $command (qw/ adduser passwd deluser users ping /) {

    for my $option ('--help', '-h') {
        $out = done("$command $option", undef, $command, $option);
        like($out, qr/^usage: xmppctl \[options\] $command\b/,
             "$command $option: usage");
        like($out, qr/Exit status: 0 .* 1 .* 2 .* 3 .* 4 /s,
             "$command $option: exit status");
    }

    $help = $out if $command eq 'adduser';
}

like($help, qr/--iterations N/, 'adduser --help has --iterations');
unlike($out, qr/--iterations/, 'ping --help has not');

$out = done('--help', undef, '--help');
like($out, qr/^  $_\b/m, "--help has $_")
    for (qw/ adduser passwd deluser users ping /);

refused(2, 'tells more', 'nothing', undef);
refused(2, 'no command "frob"', 'unknown command', undef, @r, 'frob');
refused(2, 'tells more', 'adduser without a JID', undef, @r, 'adduser');
refused(2, 'tells more', 'adduser with two', undef, @r, qw/ adduser a@b c@d /);
refused(2, 'tells more', 'ping with an operand', undef, @r, qw/ ping x /);
refused(2, 'tells more', 'users with two', undef, @r, qw/ users a b /);
refused(2, 'tells more', 'deluser with --iterations', undef, @r, 'deluser',
        '--iterations', 5000, 'a@b');
refused(2, 'number from 4096', "--iterations $_", "x\n", @r, 'adduser',
        '--iterations', $_, 'a@b')
    for '4095', '0', '-1', '5000x', '', '10000001', '99999999999999999999';

($status, $out, $err) = ctl(undef, @r, 'ping', '--frob');
is($status, 2, 'unknown option: status 2');
like($err, qr/frob/, 'unknown option: which one');

# options before and after the command, a JID that looks like one

done('options last', "pencil\n", 'adduser', 'last@example.com', @r);
done('a JID with a hyphen', "pencil\n", @r, 'adduser', '--',
     '--help@example.com');
done('prefix', "pencil\n", @r, '-p', 'other', 'adduser', 'p@example.com');
ok(exists account('p@example.com', 'other')->{created},
   'prefix: in the key');
is($redis->command('SISMEMBER', 'other:accounts:example.com',
                   'p@example.com'), 1, 'prefix: in the list');
is_deeply(account('p@example.com'), {}, 'prefix: and nowhere else');

refused(2, 'prefix of keys', "prefix '$_'", undef, @r, '-p', $_, 'ping')
    for '', 'a{b';

done('database', "pencil\n", @r, '-n', 3, 'adduser', 'db@example.com');
is_deeply(account('db@example.com'), {}, 'database: not in 0');
$redis->command('SELECT', 3);
ok(exists account('db@example.com')->{created}, 'database: in 3');
$redis->command('SELECT', 0);

my $bell3 = listener('SSUBSCRIBE', 'xmpp/3:{db@example.com}');
done('database, deluser', undef, @r, '-n', 3, 'deluser', 'db@example.com');
like($bell3->()->[2], qr/^1x /, 'the channel has the database');

refused(3, 'out of range', 'no such database', undef, @r, '-n', 99, 'ping');
refused(2, 'number from 0', 'database that is no number', undef, @r, '-n',
        'x', 'ping');


###############################################################################
# Addresses of Redis

like(done("ping $_", undef, '-r', $_, 'ping') || $_, qr/^Redis/, $_)
    for map { $redis->command('CONFIG', 'SET', 'appendonly', 'yes'); $_ }
        "redis:127.0.0.1:$port", "REDIS://localhost:$port",
        "redis://127.0.0.1:$port/", "redis://127.0.0.1:$port/2";

done('database of the URL', "x\n", '-r', "redis://127.0.0.1:$port/2",
     'adduser', 'url@example.com');
$redis->command('SELECT', 2);
ok(exists account('url@example.com')->{created}, 'database of the URL: 2');
$redis->command('SELECT', 0);

$redis->command('ACL', 'SETUSER', 'xmpp', 'on', '>p@ss:w%rd', '~*', '&*',
                '+@all');
$redis->command('CONFIG', 'SET', 'requirepass', 's3cret');

done('password', undef, '-r', "redis://:s3cret\@127.0.0.1:$port", 'ping');
done('user and password', undef, '-r',
     "redis://xmpp:p%40ss%3aw%25rd\@127.0.0.1:$port/1", 'ping');
refused(3, 'WRONGPASS', 'wrong password', undef, '-r',
        "redis://xmpp:s3cret\@127.0.0.1:$port", 'ping');
refused(3, 'NOAUTH', 'no password', undef, @r, 'ping');

$redis->command('CONFIG', 'SET', 'requirepass', '');

refused(2, 'bad address of Redis', "address \"$_\"", undef, '-r', $_, 'ping')
    for '', 'unix:', 'redis:', 'redis::6379', 'redis:h:0', 'redis:h:65536',
        'redis:h:x', 'redis:[::1', 'redis:[::1]6379', 'http://h',
        "/run/redis.sock", 'redis://u%4@h', 'redis://u:%4@h', 'redis://h/x',
        'rediss:', 'redis:h:';

my $nobody = Test::XMPP::Process::free_port();

refused(3, "cannot reach Redis at $_, port $nobody: ", 'nobody listens', undef,
        '-r', 'redis:' . (/:/ ? "[$_]" : $_) . ":$nobody", 'ping')
    for qw/ 127.0.0.1 ::1 /;
refused(3, "cannot reach Redis at $dir/none: No such file", "no socket: @$_",
        "x\n", '-r', "unix:$dir/none", @$_)
    for [ 'ping' ], [ 'adduser', 'a@b' ];


###############################################################################
# ping

$out = done('ping', undef, @r, 'ping');
my ($version) = $redis->command('INFO', 'server') =~ /redis_version:(\S+)\r/;

like($out, qr/^Redis \Q$version\E answers in \d+\.\d+ ms\n$/,
     'ping: version and round trip');

$redis->command('CONFIG', 'SET', 'appendonly', 'no');
($status, $out, $err) = ctl(undef, @r, 'ping');
is($status, 0, 'ping, appendonly off: status 0');
like($err, qr/warning: appendonly is off/, 'ping, appendonly off: a warning');

$redis->command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
($status, $out, $err) = ctl(undef, @r, 'ping');
is($status, 1, 'ping, eviction: status 1');
like($err, qr/"allkeys-lru" and must be "noeviction"/,
     'ping, eviction: says why');
$redis->command('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');

$redis->command('REPLICAOF', '127.0.0.1', $nobody);
($status, $out, $err) = ctl(undef, @r, 'ping');
is($status, 1, 'ping, replica: status 1');
like($err, qr/is a replica/, 'ping, replica: says why');
refused(3, 'READONLY', 'adduser, replica', "x\n", @r, 'adduser',
        'replica@example.com');
$redis->command('REPLICAOF', 'NO', 'ONE');

# a key of another type is an error of Redis, not a crash

$redis->command('SET', 'xmpp:accounts:wrong.example', 'x');
refused(3, 'WRONGTYPE', 'adduser, list of a wrong type', "x\n", @r, 'adduser',
        'a@wrong.example');
refused(3, 'WRONGTYPE', 'users, list of a wrong type', undef, @r, 'users',
        'wrong.example');

$redis->pause();
refused(3, 'no answer in time', 'Redis hangs', undef, @r, 'ping');
$redis->resume();


###############################################################################
# nginx.conf

mkdir "$dir/$_" for qw( conf conf/hosts conf/empty );

spew('conf/nginx.conf', <<"END");
# load_module "nothing;
user www-data; worker_processes 2;
error_log '/tmp/a;b{c' info;
include empty/*.conf;
events { worker_connections 768; }
http {
    # xmpp_redis in http{} is not ours: {
    xmpp_redis unix:/nowhere;
    log_format x '\$remote_addr - "\$request" {';
    map \$host \${x}y { default "}"; "~^(\\d{1,3})\\.(?<z>\\w+)\$" "{"; }
    include this-is-not-there-but-in-http.conf;
    server {
        listen 80;
        location / {
            content_by_lua_block {
                -- a comment }}}
                local s = "}" .. '\\'}' .. [[ } ]]   --[[ } ]]
                if x then t = { { } } end
            }
        }
        stream { xmpp_redis unix:/nowhere; }
    }
}
include stream.conf;
END

spew('conf/stream.conf', <<"END");
stream {
    xmpp_redis "unix:$dir/redis.sock" db=4;
    xmpp_redis_prefix 'conf';

    xmpp_host Example.COM {
        ssl_certificate /etc/ssl/a.pem;
        server { xmpp_host inner.example { } }
    }
    include hosts/*.conf;
    server { listen 5222; xmpp_c2s; }
}
END

spew('conf/hosts/b.conf', "xmpp_host example.org{}\n");
spew('conf/hosts/a.conf', "\txmpp_host\n\"b\xc3\xbccher.example\"\r\n{ }");

my @c = ('-c', "$dir/conf/nginx.conf");

done('-c', "pencil\n", @c, 'adduser', 'juliet@example.com');
$redis->command('SELECT', 4);
password_is('juliet@example.com', 'pencil', '-c: database and prefix',
            prefix => 'conf');
$redis->command('SELECT', 0);

done('-c, a host of an include', "x\n", @c, 'adduser', 'x@EXAMPLE.ORG');
done('-c, a host with a U-label', "x\n", @c, 'adduser',
     'y@xn--bcher-kva.example');

is(done('-c, users', undef, @c, 'users'),
   "juliet\@example.com\nx\@example.org\ny\@b\xc3\xbccher.example\n",
   '-c, users: of all hosts, sorted');
is(done('-c, users of one', undef, @c, 'users', 'example.org'),
   "x\@example.org\n", '-c, users: of one host');

for my $command (qw/ adduser passwd deluser /) {
    ($status, $out, $err) = ctl("x\n", @c, $command, 'a@example.net');

    is($status, 1, "-c, $command, unknown domain: status 1");
    is($err, "xmppctl: no xmpp_host in nginx.conf is named example.net; there"
           . " are:\n    example.com\n    b\xc3\xbccher.example\n"
           . "    example.org\n", "-c, $command: names the known ones");
}

refused(1, 'is named inner.example', '-c, a host in a wrong place', "x\n", @c,
        'adduser', 'a@inner.example');
refused(1, 'is named example.net', "-c, $_ of an unknown domain", undef, @c, $_,
        'example.net') for qw/ users stats /;

# -r and -c: Redis of the one, domains of the other; -p and -n win

done('-r -c', "x\n", @c, @r, 'adduser', 'both@example.com');
ok(exists account('both@example.com', 'conf')->{created},
   '-r -c: database 0 of the URL, prefix of the file');
refused(1, 'is named example.net', '-r -c, unknown domain', "x\n", @c, @r,
        'adduser', 'a@example.net');
done('-c -p -n', "x\n", @c, '-p', 'mine', '-n', 0, 'adduser', 'm@example.com');
ok(exists account('m@example.com', 'mine')->{created}, '-c -p -n');

spew('db.conf', "stream { xmpp_redis redis://127.0.0.1:$port/5 db=6;"
                . ' xmpp_host example.com { } }');
done('-c, two databases', "x\n", '-c', "$dir/db.conf", 'adduser',
     'six@example.com');
$redis->command('SELECT', 6);
ok(exists account('six@example.com')->{created}, 'db= wins, as in nginx');
$redis->command('SELECT', 0);

is(system('/bin/sh', '-c', 'cd "$0" && exec "$@" > /dev/null', "$dir/conf",
          $ctl, '-c', 'nginx.conf', 'users', 'example.org'), 0,
   '-c without a folder: includes are found');

my %broken = (
    'the file ends too early'           => 'stream { xmpp_redis unix:/x;',
    'the file ends too early in'        => 'events { }  user',
    'unexpected "\}"'                    => 'stream { } }',
    'unexpected "\}" in'                 => 'stream { user }',
    'unexpected ";"'                    => 'events { } ;',
    'unexpected "\{"'                    => "{ }",
    'the file ends inside of quotes'    => 'user "a;',
    'a space is missing after the quote'
                                        => 'user "a"b;',
    'block of Lua'                      => "a_by_lua_block { --[[ } ]]",
    'db= of xmpp_redis is not a number' => 'stream {xmpp_redis unix:/x db=y; }',
    'prefix of keys'                    => 'stream { xmpp_redis_prefix ""; }',
    'not a domain'                      => 'stream { xmpp_host a_b { } }',
    'no xmpp_redis in the stream'       => 'http { xmpp_redis unix:/x; }',
    'cannot read .*none.conf: No such'  => 'include none.conf;',
    'includes inside of each other'     => 'include broken.conf;',
    'bad address of Redis'              => 'stream { xmpp_redis nowhere; }',
);

for my $why (sort keys %broken) {
    spew('broken.conf', $broken{$why});
    refused(4, $why, "conf: $broken{$why}", undef, '-c', "$dir/broken.conf",
            'ping');
}

spew('broken.conf', "\n\nstream {\n}\n}\n");
refused(4, 'broken.conf:5', 'conf: the line is named', undef, '-c',
        "$dir/broken.conf", 'ping');
refused(4, 'cannot read', 'conf: not there', undef, '-c', "$dir/none",
        'ping');
refused(4, 'cannot read', 'conf: a folder', undef, '-c', $dir, 'ping');

spew('broken.conf', "stream { xmpp_redis unix:$dir/redis.sock; }");
refused(1, 'there are none', 'conf: no xmpp_host', "x\n", '-c',
        "$dir/broken.conf", 'adduser', 'a@example.com');
is(done('users, no xmpp_host', undef, '-c', "$dir/broken.conf", 'users'), '',
   'users, no xmpp_host: none');

ok($redis->stop(), 'Redis ends');

done_testing();
