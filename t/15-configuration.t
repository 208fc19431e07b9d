#!/usr/bin/perl

# nginx -t says what is wrong with a configuration, where, and what to do, and
# never connects to Redis.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(hosts => 0, redis => undef);

$t->only_ours('reads our configuration');

my $redis = 'xmpp_redis unix:/nowhere/redis.sock;';
my $cert = 'ssl_certificate %%TESTDIR%%/localhost.pem; '
           . 'ssl_certificate_key %%TESTDIR%%/localhost.key;';
my $host = "xmpp_host localhost { $cert }";
my $listen = 'listen 127.0.0.1:%%PORT_0%%;';
my $server = "server { $listen xmpp_c2s; }";

my $tls = 'xmpp_redis rediss:127.0.0.1;';

my $sentinel = 'xmpp_redis sentinel:127.0.0.1:26380,[::1]/main;';

my @good = (
    (map { [ "a location $_", "xmpp_sm_location $_; $redis $host $server" ] }
     qw/ node1.example.org node1.example.org:5222 192.0.2.1:5222
         [2001:db8::1] [2001:db8::1]:5222 /),
    [ 'replicas', "xmpp_durability replicas=2; $redis $host $server" ],
    [ 'replicas, all of it', 'xmpp_durability replicas=1 timeout=500ms; '
      . "$redis $host $server" ],
    [ 'the disk of Redis', "xmpp_durability aof; $redis $host $server" ],
    [ 'a sane one', "$redis $host $server" ],
    [ 'certificates of the whole stream',
      "$cert $redis xmpp_host localhost { } $server" ],
    [ 'no certificate where there is no TLS',
      "$redis xmpp_starttls off; xmpp_host localhost { } $server" ],
    [ 'direct TLS with the certificate of the host',
      "$redis $host server { listen 127.0.0.1:%%PORT_0%% ssl; xmpp_c2s; }" ],
    [ 'another handler in another server',
      "$redis $host $server server { listen 127.0.0.1:%%PORT_1%%; "
      . 'return x; }' ],
    [ 'TLS to Redis', "$tls $host $server" ],
    [ 'TLS to Redis, all of it', "$tls $host $server "
      . 'xmpp_redis_ssl_verify on; xmpp_redis_ssl_name redis.test;'
      . 'xmpp_redis_ssl_trusted_certificate %%TESTDIR%%/ca.pem;'
      . 'xmpp_redis_ssl_certificate %%TESTDIR%%/localhost.pem;'
      . 'xmpp_redis_ssl_certificate_key %%TESTDIR%%/localhost.key;' ],
    [ 'sentinels', "$sentinel $host $server" ],
    [ 'sentinels, all of it', 'xmpp_redis '
      . 'sentinels://u:p@127.0.0.1,localhost:26380/main/3 sentinel_user=nginx; '
      . 'xmpp_redis_sentinel_password_file %%TESTDIR%%/secret; '
      . "xmpp_redis_ssl_name redis.test; $host $server" ],
    [ 'sentinels whose certificates are not looked at',
      'xmpp_redis sentinels:127.0.0.1/main; xmpp_redis_ssl_verify off; '
      . "$host $server" ],
    [ 'administrators', "xmpp_admin Root\@Localhost a\@localhost; $redis "
      . "xmpp_host localhost { $cert xmpp_admin a\@localhost; "
      . "xmpp_admin c\@localhost; } $server" ],
    [ 'nothing of XMPP', 'server { listen 127.0.0.1:%%PORT_0%%; return x; }' ],
);

# nginx's own directives in an xmpp_host: before TLS none would be looked at

my @host_good = (
    'ssl_protocols TLSv1.3', 'ssl_session_tickets off', 'error_log stderr',
    'access_log off', 'resolver 127.0.0.1', 'tcp_nodelay off',
    'include %%TESTDIR%%/included',
);

my @host_bad = (
    'deny all', 'allow all', 'limit_conn addr 1', 'proxy_pass 127.0.0.1:1',
    'return x', 'ssl_preread on', 'set_real_ip_from all',
    'preread_timeout 1s', 'proxy_protocol_timeout 1s', 'set $x y',
    'proxy_protocol on',
);

# no label may be that long (RFC 1035, 2.3.4): nobody is asked

my $long = 'r' x 64;

my @bad = (
    [ 'no Redis', "$host $server", qr/needs a Redis: add "xmpp_redis"/ ],
    [ 'no host', "$redis $server", qr/"xmpp_c2s" needs a domain/ ],
    [ 'no certificate', "$redis xmpp_host localhost { } $server",
      qr/no "ssl_certificate" .* "xmpp_host" "localhost" in \S+:\d+/ ],
    [ 'one host twice', "$redis $host xmpp_host LocalHost { $cert } $server",
      qr/duplicate "xmpp_host" "localhost" in \S+:\d+/ ],
    [ 'no domain name', "$redis xmpp_host a\@b { $cert } $server",
      qr/"a\@b" is not a domain name in \S+:\d+/ ],
    [ 'listen in a host', "$redis xmpp_host localhost { $cert $listen } "
      . $server, qr/"listen" directive is not allowed in "xmpp_host".*:\d+/ ],
    [ 'xmpp_c2s in a host', "$redis xmpp_host localhost { $cert xmpp_c2s; }",
      qr/"xmpp_c2s" directive is not allowed in "xmpp_host"/ ],
    [ 'an unknown directive in a host',
      "$redis xmpp_host localhost { $cert nonsense on; } $server",
      qr/unknown directive "nonsense" in \S+:\d+/ ],
    [ 'an argument too many in a host',
      "$redis xmpp_host localhost { $cert ssl_protocols; } $server",
      qr/invalid number of arguments in "ssl_protocols" .* in \S+:\d+/ ],
    [ 'a wrong value in a host',
      "$redis xmpp_host localhost { $cert xmpp_ping maybe; } $server",
      qr/invalid value "maybe" in "xmpp_ping" directive, .* in \S+:\d+/ ],
    [ 'a block in a host',
      "$redis xmpp_host localhost { $cert server { } } $server",
      qr/unexpected "\{" in \S+:\d+/ ],
    [ 'twice in a host',
      "$redis xmpp_host localhost { $cert $cert xmpp_ping on; "
      . "xmpp_ping off; } $server",
      qr/"xmpp_ping" directive is duplicate in \S+:\d+/ ],
    [ 'two handlers', "$redis $host server { $listen xmpp_c2s; return x; }",
      qr/"xmpp_c2s" and another handler, .* in one server in \S+:\d+/ ],
    [ 'two handlers, the other way',
      "$redis $host server { $listen return x; xmpp_c2s; }",
      qr/another handler in \S+:\d+/ ],
    [ 'an unknown mechanism', "$redis $host "
      . "xmpp_sasl_mechanisms CRAM-MD5; $server",
      qr/"CRAM-MD5" in "xmpp_sasl_mec.* one of "EXTERNAL", .* in \S+:\d+/ ],
    [ 'an unknown choice', "$redis $host xmpp_starttls required; $server",
      qr/"required" in "xmpp_start.* one of "off", "on", "only" in \S+:\d+/ ],
    [ 'a directive of stream in a host', "xmpp_host localhost { $cert $redis }",
      qr/"xmpp_redis" .* in "xmpp_host"; put it into the stream block in/ ],
    [ 'a name of Redis that DNS does not have',
      "xmpp_redis redis://u:secret\@$long; $host $server",
      qr/: host "r{64}" not found; .* in \S+:\d+/ ],
    [ 'a relative path of a socket',
      "xmpp_redis unix:redis.sock; $host $server",
      qr/path of a socket has to begin with "\/" in \S+:\d+/ ],
    [ 'sentinels without a name', "xmpp_redis sentinel:127.0.0.1; "
      . "$host $server",
      qr/name of the master is missing: .*"sentinel:host.* in \S+:\d+$/m ],
    [ 'sentinels with an empty name',
      "xmpp_redis sentinel://127.0.0.1//2; $host $server",
      qr/the name of the master is missing: .* in \S+:\d+$/m ],
    [ 'a comma too many', "xmpp_redis sentinel:127.0.0.1,/main; $host $server",
      qr/the address of a sentinel is missing in \S+:\d+$/m ],
    [ 'a socket of a sentinel',
      "xmpp_redis sentinel:unix:/run/x.sock/main; $host $server",
      qr/a sentinel has no socket: .* in \S+:\d+$/m ],
    [ 'a port of a sentinel',
      "xmpp_redis sentinel:127.0.0.1:99999/main; $host $server",
      qr/invalid port in \S+:\d+$/m ],
    [ 'a sentinel that DNS does not have',
      "xmpp_redis sentinel:127.0.0.1,$long/main; $host $server",
      qr/: host "r{64}" not found; .* in \S+:\d+/ ],
    [ 'a database behind the name',
      "xmpp_redis sentinel:127.0.0.1/main/x; $host $server",
      qr/the database after "\/" is not a number in \S+:\d+$/m ],
    [ 'TLS to sentinels without a name',
      "xmpp_redis sentinels:127.0.0.1/main; $host $server",
      qr/"sentinels:" in "xmpp_redis" needs "xmpp_redis_ssl_name": the name/ ],
    [ 'a user of sentinels without a password', 'xmpp_redis '
      . "sentinel:127.0.0.1/main sentinel_user=nginx; $host $server",
      qr/user "nginx" of the sentinels .* "xmpp_redis_sentinel_password_file"/
    ],
    [ 'a password of sentinels without any', "$redis $host $server "
      . 'xmpp_redis_sentinel_password_file %%TESTDIR%%/secret;',
      qr/need sentinels: "xmpp_redis sentinel:host:port,host:port\/name"/ ],
    [ 'two passwords of sentinels', "$sentinel $host $server "
      . 'xmpp_redis_sentinel_password_file %%TESTDIR%%/secret;' x 2,
      qr/"xmpp_redis_sentinel_password_file" directive is duplicate.*:\d+$/m ],
    [ 'a cluster', "xmpp_redis cluster:127.0.0.1; $host $server",
      qr/"cluster:"\) is not supported in \S+:\d+/ ],
    [ 'TLS directives without TLS', "$redis $host $server "
      . 'xmpp_redis_ssl_verify off;',
      qr/"xmpp_redis_ssl_..." need TLS: begin the address .* "rediss:"/ ],
    [ 'a certificate without its key', "$tls $host $server "
      . 'xmpp_redis_ssl_certificate %%TESTDIR%%/localhost.pem;',
      qr/_certificate" and "xmpp_redis_ssl_certificate_key" go together/ ],
    [ 'an authority that is not there', "$tls $host $server "
      . 'xmpp_redis_ssl_trusted_certificate %%TESTDIR%%/none.pem;',
      qr/none\.pem.*No such file/ ],
    [ 'a key that is not there', "$tls $host $server "
      . 'xmpp_redis_ssl_certificate %%TESTDIR%%/localhost.pem;'
      . 'xmpp_redis_ssl_certificate_key %%TESTDIR%%/none.key;',
      qr/none\.key.*No such file/ ],
    [ 'a queue that is too small',
      "$redis xmpp_output_queue 1k; $host $server",
      qr/"xmpp_output_queue" must not be less than "xmpp_max.*:\d+$/m ],
    [ 'UDP', "$redis $host server { listen 127.0.0.1:%%PORT_0%% udp; "
      . 'xmpp_c2s; }',
      qr/"xmpp_c2s" is for TCP: remove "udp" .* in \S+:\d+$/m ],
    [ 'UDP beside TCP', "$redis $host $server server { "
      . 'listen 127.0.0.1:%%PORT_1%%; listen 127.0.0.1:%%PORT_1%% udp; '
      . 'xmpp_c2s; }',
      qr/"xmpp_c2s" is for TCP: remove "udp" .* in \S+:\d+$/m ],
    [ 'direct TLS without any certificate',
      "$redis xmpp_starttls off; xmpp_host localhost { } "
      . 'server { listen 127.0.0.1:%%PORT_0%% ssl; xmpp_c2s; }',
      qr/no "ssl_certificate" is defined for the "listen .* in \S+:\d+$/m ],
    [ 'a certificate of a host without a key',
      "$redis xmpp_host localhost { ssl_certificate %%TESTDIR%%/localhost.pem; "
      . "} $server",
      qr/no "ssl_certificate_key" .* in \S+:\d+; name the file of its key$/m ],
    [ 'two certificates of a host with one key',
      'xmpp_host localhost { ssl_certificate %%TESTDIR%%/localhost.pem; '
      . 'ssl_certificate %%TESTDIR%%/second.test.pem; ssl_certificate_key '
      . "%%TESTDIR%%/localhost.key; } $redis $server",
      qr/2\ "ssl_certificate",\ but\ 1\ "ssl_certificate_key",\ in\ "xmpp_host"
         \ "localhost"\ in\ \S+:\d+;\ name\ the\ key\ of\ each/x ],
    [ 'a key of a host without a certificate',
      "$redis xmpp_host localhost { ssl_certificate_key "
      . "%%TESTDIR%%/localhost.key; } $server",
      qr/no "ssl_certificate" .* "xmpp_host" "localhost" in \S+:\d+/ ],
    [ 'a certificate of a host that is not there',
      "$redis xmpp_host localhost { ssl_certificate none.pem; "
      . "ssl_certificate_key %%TESTDIR%%/localhost.key; } $server",
      qr/cannot\ open\ "\S+none\.pem",\ the\ "ssl_certificate"\ of\ "xmpp_host"
         \ "localhost"\ in\ \S+:\d+.*No\ such\ file/x ],
    [ 'a key of a host that is not there',
      "$redis xmpp_host localhost { ssl_certificate "
      . "%%TESTDIR%%/localhost.pem; ssl_certificate_key none.key; } $server",
      qr/cannot\ open\ "\S+none\.key",\ the\ "ssl_certificate_key"\ of
         \ "xmpp_host"\ "localhost"\ in\ \S+:\d+.*No\ such\ file/x ],
    [ 'the same, of the whole stream',
      "ssl_certificate none.pem; ssl_certificate_key none.key; "
      . "$redis xmpp_host localhost { } $server",
      qr/cannot open "\S+none\.pem", .* "xmpp_host" "localhost" in \S+:\d+/ ],
    [ 'the key of another certificate',
      "$redis xmpp_host localhost { ssl_certificate "
      . "%%TESTDIR%%/localhost.pem; ssl_certificate_key "
      . "%%TESTDIR%%/wild.test.key; } $server",
      qr/wild\.test\.key.*key values mismatch/ ],
    [ 'an administrator with a resource',
      "$redis xmpp_host localhost { $cert xmpp_admin a\@b c\@d/e; } $server",
      qr/"c\@d\/e" in "xmpp_admin" .* that is user\@domain in \S+:\d+$/m ],
    [ 'an administrator without a name',
      "$redis $host xmpp_admin localhost; $server",
      qr/"localhost" in "xmpp_admin" .* that is user\@domain in \S+:\d+$/m ],
    [ 'an administrator of a name that cannot be',
      "$redis $host xmpp_admin 'a b\@localhost'; $server",
      qr/"a b\@localhost" in "xmpp_admin" .* user\@domain in \S+:\d+$/m ],
    [ 'xmpp_c2s twice', "$redis $host server { $listen xmpp_c2s; xmpp_c2s; }",
      qr/"xmpp_c2s" directive is duplicate.* in \S+:\d+$/m ],
    [ 'xmpp_redis twice', "$redis $redis $host $server",
      qr/"xmpp_redis" directive is duplicate in \S+:\d+$/m ],
    [ 'an unknown durability', "$redis $host xmpp_durability disk; $server",
      qr/"disk" in "xmpp_durability" .* one of "none", .* in \S+:\d+$/m ],
    [ 'no replicas', "$redis $host xmpp_durability replicas=0; $server",
      qr/number of replicas "replicas=0" in "xmpp_durability" .*:\d+$/m ],
    [ 'replicas without end', "$redis $host xmpp_durability replicas=1 "
      . "timeout=0; $server", qr/invalid time "timeout=0" in .*:\d+$/m ],
    [ 'replicas for longer than a request', "$redis $host "
      . "xmpp_durability replicas=1 timeout=5s; $server",
      qr/timeout of "xmpp_durability", 5000 ms, .* "xmpp_redis_timeout", 5000/
    ],
    [ 'a parameter of memory', "$redis $host xmpp_durability memory "
      . "timeout=1s; $server", qr/"timeout=1s" in "xmpp_durability" .*:\d+$/m ],
    [ 'durability twice', "$redis $host xmpp_durability none; "
      . "xmpp_durability none; $server",
      qr/"xmpp_durability" directive is duplicate in \S+:\d+$/m ],
    [ 'a limit twice', "$redis $host xmpp_max_stanza 64k; "
      . "xmpp_max_stanza 64k; $server",
      qr/"xmpp_max_stanza" directive is duplicate in \S+:\d+$/m ],
);

# 0 would let nobody in, or end whatever it limits at once

push @bad, [ "$_ 0", "$redis $host $_ 0; $server",
             qr/"$_" directive must be more than 0, .* in \S+:\d+$/m ]
    for qw/ xmpp_max_stanza xmpp_preauth_bytes xmpp_auth_timeout
            xmpp_send_timeout xmpp_probe_timeout xmpp_redis_timeout
            xmpp_redis_connect_timeout /;

push @bad, [ "$_ 0", "$redis $host $_ 0; $server",
             qr/value must be equal to or greater than 1 in \S+:\d+$/m ]
    for qw/ xmpp_max_depth xmpp_max_attributes xmpp_max_elements
            xmpp_max_sessions /;

push @bad, [ "xmpp_sm_location $_",
             "$redis $host xmpp_sm_location $_; $server",
             qr/"xmpp_sm_location" directive must be "host", .* in \S+:\d+$/m ]
    for '""', qw/ :5222 node: node:0 node:65536 node:x ::1 [::1 [] [::1]5222 /;

push @bad, [ "$_ below a second", "$redis $host $_ 500ms; $server",
             qr/"$_" directive must be one second at least in \S+:\d+$/m ]
    for qw/ xmpp_login_limit_time xmpp_register_limit_time /;

for (@host_bad) {
    my ($name) = /(\w+)/;

    push @bad, [ "$_ in a host",
                 "$redis limit_conn_zone \$binary_remote_addr zone=addr:1m; "
                 . "xmpp_host localhost { $cert $_; } $server",
                 qr/"$name" directive is not allowed in "xmpp_host": .*:\d+/ ];
}

push @good, [ "$_ in a host",
              "$redis xmpp_host localhost { $cert $_; } $server" ]
    for @host_good;

$t->config(wrap("$redis $host $server"));
$t->run();
$t->write_file('included', "xmpp_ping off;\n");
$t->write_file('secret', "of the sentinels\n");
$t->{ca}->issue('wild.test', '*.wild.test', 'xn--bcher-kva.test',
                '*.xn--bcher-kva.test', '192.0.2.1', '2001:db8::1');

# another kind of key, so that a host can have both

system('openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=rsa.test '
       . '-addext subjectAltName=DNS:rsa.test -keyout '
       . "\Q@{[ $t->testdir() ]}\E/rsa.test.key -out "
       . "\Q@{[ $t->testdir() ]}\E/rsa.test.pem 2>/dev/null") == 0
    or die "openssl: $?\n";

my $nginx = $t->start_host(idle => 1);

$nginx->expect_log(qr/\[emerg\]/);

for my $case (@good) {
    my ($name, $stream) = @$case;
    my ($status, $output) = $nginx->test_config(wrap($stream));

    is($status, 0, "right: $name") or diag($output);
    unlike($output, qr/\[(?:warn|error)\]/, "and no warning: $name");
}

for my $case (@bad) {
    my ($name, $stream, $reason) = @$case;
    my ($status, $output) = $nginx->test_config(wrap($stream));

    is($status, 1, "wrong: $name");
    like($output, $reason, "and told so: $name");
}

# Each directive of ours where it does not count: the manual tells where

my $manual = Test::XMPP::Process::slurp(
    Test::XMPP::Nginx::root() . '/docs/modules/README.md');
my %place = (
    server    => "$redis $host server { $listen xmpp_c2s; %%HERE%%; }",
    xmpp_host => "$redis xmpp_host localhost { $cert %%HERE%%; } $server",
    stream    => "$redis $host $server %%HERE%%;",
);

while ($manual =~ /^\| \[`(\w+)`\]\S+ \| (\S.*?) \| (.+?) \|$/mg) {
    my ($name, $default, $contexts) = ($1, $2, $3);

    my $value = $default =~ /^`(.*)`$/ ? "$name $1" : "$name value";

    next if $name =~ /^xmpp_(?:redis|host)$/
            || $contexts =~ /`http`/;       # of its servers: by its own test
    $value = $name if $name eq 'xmpp_c2s';
    $value = "$name abuse xmpp:a" if $name eq 'xmpp_contact';

    # a server of http is another one

    $contexts =~ s/`server`/`http server`/ if $contexts =~ /`http`/;

    for my $place (sort keys %place) {
        my $stream = $place{$place} =~ s/%%HERE%%/$value/r;

        $stream =~ s/\Q$redis\E/xmpp_redis rediss:127.0.0.1;/
            if $name =~ /^xmpp_redis_ssl/;

        my ($status, $output) = $nginx->test_config(wrap($stream));

        if ($contexts =~ /`$place`/) {
            # those without a default need a value that means something
            is($status, 0, "$name is allowed in $place") or diag($output)
                if $default =~ /`/;
            next;
        }

        is($status, 1, "$name is not allowed in $place");

        my $way = $place eq 'stream' || $contexts eq '`stream`'
                  || $contexts =~ /location|http/ ? ''
                  : $place eq 'server' ? ' in a server: .*put it into "xmpp_h'
                  : ' in "xmpp_host": .*put it into the server';

        like($output, qr/"$name" directive is not allowed$way.*:\d+$/m,
             'and told where it is');
    }
}


###############################################################################
# Methods of events that know no threads: nginx may not have them at all

for my $method (qw/ poll select /) {
    my $config = wrap("$redis $host $server")
                 =~ s/worker_connections/use $method; worker_connections/r;
    my ($status, $output) = $nginx->test_config($config);

    is($status, 1, "wrong: use $method");
    like($output, qr/xmpp\ needs\ threads,\ .*"use\ $method":\ take\ that
                     |invalid\ event\ type\ "$method"/x, 'and told so');
}


###############################################################################
# Warnings

my ($status, $output) = $nginx->test_config(wrap("$redis $host"));

is($status, 0, 'a host without a listener');
like($output, qr/\[warn\].*"xmpp_host" is served by no listener/,
     'is worth a warning');

($status, $output) = $nginx->test_config(
    wrap("$redis $host xmpp_max_stanza 9999; $server"));

is($status, 0, 'RFC 6120, 13.12: a stanza of less than 10000 bytes at most');
like($output, qr/\[warn\].*"xmpp_max_stanza" is less than .*:\d+$/m,
     'RFC 6120, 13.12: is worth a warning');

for my $admins ("$redis $host xmpp_admin a\@localhost b\@lokalhost; $server",
                "$redis xmpp_host localhost { $cert xmpp_admin b\@lokalhost; }"
                . $server)
{
    ($status, $output) = $nginx->test_config(wrap($admins));

    is($status, 0, 'an administrator of a domain that is not served');
    is(() = $output =~ /\[warn\].*"b\@lokalhost" in "xmpp_admin" /g, 1,
       'is worth one warning');
    unlike($output, qr/"a\@localhost" in/, 'of one that is: none');
}

# names of a certificate: RFC 6125, 6.4; [ domain, whether it is for it ]

my @names = (
    [ 'wild.test', 1 ], [ 'im.wild.test', 1 ], [ 'IM.Wild.Test', 1 ],
    [ 'bücher.test', 1 ], [ 'xn--bcher-kva.test', 1 ],
    [ 'im.bücher.test', 1 ], [ '192.0.2.1', 1 ], [ '[2001:db8::1]', 1 ],
    [ 'a.im.wild.test', 0 ], [ 'other.test', 0 ], [ 'test', 0 ],
    [ 'a.im.bücher.test', 0 ], [ 'büchse.test', 0 ], [ 'localhost', 0 ],
    [ '192.0.2.2', 0 ], [ '[2001:db8::2]', 0 ],
);

my $wild = $cert =~ s/localhost/wild.test/gr;

for my $case (@names) {
    my ($name, $good) = @$case;
    my $warning = qr/\[warn\].*\ certificate\ of\ "xmpp_host"\ "(\S+)"\ is
                     \ not\ for.*\ in\ \S+:\d+;/x;

    ($status, $output) = $nginx->test_config(
        wrap("$redis xmpp_host $name { $wild } $server"));

    is($status, 0, "certificate: $name");
    is($output =~ $warning ? 0 : 1, $good,
       "RFC 6125, 6.4: $name: " . ($good ? 'no' : 'a') . ' warning')
        or diag($output);
}

# with two, each is looked at; with variables, none

my $rsa = $cert =~ s/localhost/rsa.test/gr;

for my $case ([ 'two certificates', "$cert $rsa", 'localhost', 1 ],
              [ 'two certificates', "$rsa $cert", 'localhost', 1 ],
              [ 'two that are wrong', "$rsa $wild", 'localhost', 2 ],
              [ 'the right one', $cert, 'localhost', 0 ],
              [ 'a variable', $wild =~ s/wild\.test/\$xmpp_host/gr,
                'localhost', 0 ]) {
    my ($name, $certs, $domain, $n) = @$case;

    ($status, $output) = $nginx->test_config(
        wrap("$redis xmpp_host $domain { $certs } $server"));

    is($status, 0, $name) or diag($output);
    is(scalar(() = $output =~ /is not for "localhost"/g), $n,
       "$name: $n warnings");
}

$t->done();


sub wrap {
    my ($stream) = @_;

    return <<"EOF2";
%%GLOBALS%%
events { worker_connections 256; }
stream { $stream }
EOF2
}
