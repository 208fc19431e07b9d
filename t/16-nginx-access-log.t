#!/usr/bin/perl

# Variables of the module in access_log and map: who it was, what it did, how
# it ended; and which access_log a session is in that TLS has moved into its
# host's configuration: one line, whatever happened.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ qw/ alice bob /,
                                   [ 'dora', 'second.test', 'd0ra' ] ])
                  ->only_ours('reads the access log');

$t->config(<<'EOF');
%%GLOBALS%%
events {
    worker_connections  256;
}

stream {
    map $xmpp_host $domain {
        default      none;
        localhost    first;
        second.test  other;
    }

    map $xmpp_jid $who {
        ~^(?<local>.+)@  "$local, $xmpp_resource";
        default          nobody;
    }

    log_format  all  '$xmpp_close|$xmpp_jid|$xmpp_host|$xmpp_mechanism'
                     '|$xmpp_tls|$xmpp_stanzas_received|$xmpp_stanzas_sent'
                     '|$domain|$who|$bytes_received|$bytes_sent|$status';

    access_log  %%PREFIX%%/all all;

    xmpp_redis  unix:%%REDIS%%;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    xmpp_host second.test {
        access_log           %%PREFIX%%/second all;
        error_log            %%PREFIX%%/second.log info;
        ssl_certificate      %%TESTDIR%%/second.test.pem;
        ssl_certificate_key  %%TESTDIR%%/second.test.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
        xmpp_starttls      on;
        xmpp_auth_timeout  2s;
    }

    server {
        listen  127.0.0.1:%%PORT_1%% ssl;
        xmpp_c2s;
    }

    server {
        listen      127.0.0.1:%%PORT_2%%;
        access_log  %%PREFIX%%/server all;
        xmpp_c2s;
    }

    server {
        listen      127.0.0.1:%%PORT_3%% ssl;
        access_log  %%PREFIX%%/server all if=$xmpp_jid;
        xmpp_c2s;
    }

    server {
        listen      127.0.0.1:%%PORT_4%%;
        deny        all;
        xmpp_c2s;
    }

    server {
        listen  127.0.0.1:%%PORT_5%% sndbuf=32k;
        xmpp_c2s;
        xmpp_starttls      off;
        xmpp_max_stanza    32k;
        xmpp_output_queue  64k;
    }

    server {
        listen  127.0.0.1:%%PORT_6%% sndbuf=32k;
        xmpp_c2s;
        xmpp_starttls      off;
        xmpp_output_queue  64m;
        xmpp_send_timeout  1s;
    }
}
EOF

$t->run();

my @names = qw/ close jid host mechanism tls received sent domain who
                bytes_received bytes_sent status /;
my %seen;

sub lines {
    my ($log) = @_;

    return split /\n/, Test::XMPP::Process::slurp(
        $t->host()->prefix() . "/$log");
}


# The next line of a log, as a hash

sub line {
    my ($log) = @_;

    my $n = $seen{$log}++;

    Test::XMPP::Process::await(sub { lines($log) > $n });

    my %line;
    @line{@names} = split /\|/, (lines($log))[$n] // '';

    return \%line;
}


sub is_line {
    my ($log, $name, %want) = @_;

    my $line = line($log);

    is_deeply({ map { $_ => $line->{$_} } keys %want }, \%want, $name)
        or diag(explain($line));

    return $line;
}


# the harness has looked whether the ports are open

line('all') for 1 .. 5;
line('server');


###############################################################################
# Who, how, and how much

my $bob = $t->client('bob', resource => 'b')->login();
my $alice = $t->client('alice', resource => 'r/1', mechanism => 'PLAIN')
              ->login();

$alice->message($bob->jid(), 'hello', type => 'chat') for 1 .. 3;
ok($bob->expect(message => body => 'hello'), 'a message') for 1 .. 3;
$bob->message($alice->jid(), 'hello too', type => 'chat');
ok($alice->expect(message => body => 'hello too'), 'an answer');

$alice->close();

is_line('all', 'STARTTLS and PLAIN, closed by the client',
        close => 'closed', jid => 'alice@localhost/r/1', host => 'localhost',
        mechanism => 'PLAIN', tls => 'starttls', received => 3, sent => 1,
        domain => 'first', who => 'alice, r/1', status => 200);

$bob->drop();

is_line('all', 'dropped',
        close => 'dropped', jid => 'bob@localhost/b', host => 'localhost',
        tls => 'starttls', received => 1, sent => 3, domain => 'first',
        who => 'bob, b');

my $c = $t->client('alice', tls => 'direct', resource => 'r')->login();

$c->send('<nonsense/>');
ok($c->expect_stream_error('unsupported-stanza-type'), 'a stream error');
$c->drop();

is_line('all', 'direct TLS, and the name of the stream error',
        close => 'unsupported-stanza-type', jid => 'alice@localhost/r',
        tls => 'direct', received => 0);

$c = $t->client('alice', tls => 'none', mechanism => 'SCRAM-SHA-1');
$c->secure();
$c->auth();
$c->close();

is_line('all', 'authenticated, but not bound: the bare JID',
        close => 'closed', jid => 'alice@localhost', tls => 'none',
        mechanism => 'SCRAM-SHA-1', who => 'alice, ');

$c = $t->client('alice', tls => 'none')->connect();
$c->send_header(to => 'nobody.test');
ok($c->recv_header() && $c->expect_stream_error('host-unknown'),
   'an unknown host');
$c->drop();

is_line('all', 'no host, no JID',
        close => 'host-unknown', jid => '-', host => '-', mechanism => '-',
        domain => 'none', who => 'nobody');

$c = $t->client('alice', tls => 'none');
$c->secure();
ok($c->expect_stream_error('connection-timeout'), 'too slow');
$c->drop();

is_line('all', 'not authenticated in time',
        close => 'connection-timeout', jid => '-', host => 'localhost');

my $one = $t->client('alice', resource => 'same')->login();
my $two = $t->client('alice', resource => 'same')->login();

ok($one->expect_stream_error('conflict'), 'a conflict');
$one->drop();

is_line('all', 'the JID of who has lost its resource',
        close => 'conflict', jid => 'alice@localhost/same');

$two->drop();

is_line('all', 'and of who has it', close => 'dropped',
        jid => 'alice@localhost/same');


###############################################################################
# Who does not read

for my $case ([ 5, 'overflow' ], [ 6, 'timeout' ]) {
    my ($port, $reason) = @$case;
    my %plain = (tls => 'none', mechanism => 'SCRAM-SHA-1',
                 port_number => $port);

    my $deaf = $t->client('bob', %plain, rcvbuf => 4096)->login();
    my $sender = $t->client('alice', %plain)->login();
    my ($sent, $line, $body) = (0, undef, 'x' x 16000);

    $deaf->{deaf} = 1;

    # no more than the clock needs
    until (lines('all') > $seen{all}) {
        $sender->message($deaf->jid(), $body, type => 'headline');
        $sender->wait(sub { @{ $sender->{events} } }, 0.1) if ++$sent > 100;
        last if $sent > 1000;
    }

    is_line('all', "a client that does not read: $reason",
            close => $reason, jid => $deaf->jid());

    $sender->close();
    line('all');
    $deaf->drop();
}


###############################################################################
# Bytes: those of XML, without TLS

my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                 PeerPort => $t->port(0));
my $xml = $t->client('alice')->header() . '</stream:stream>';

print $sock $xml;

my $got = do { local $/; <$sock> };

close $sock;

is_line('all', '$bytes_received, $bytes_sent', close => 'closed',
        bytes_received => length $xml, bytes_sent => length $got);


###############################################################################
# Which log

my %second = (domain => 'second.test', verify_name => 'second.test');

for my $tls (qw/ starttls direct /) {
    my $port = $tls eq 'direct' ? 3 : 2;

    $c = $t->client('dora', %second, tls => $tls)->login();
    $c->close();

    is_line('second', "$tls: the access_log of the host",
            close => 'closed', host => 'second.test', tls => $tls);

    $c = $t->client('dora', %second, tls => $tls, port_number => $port)
           ->login();
    $c->close();

    is_line('second', "$tls: and not that of its server",
            close => 'closed', host => 'second.test', tls => $tls);

    $c = $t->client('alice', tls => $tls, port_number => $port)->login();
    $c->close();

    is_line('server', "$tls: that of the server, when the host has none",
            close => 'closed', host => 'localhost', tls => $tls);
}

my @logins = Test::XMPP::Process::slurp($t->host()->prefix() . '/second.log')
             =~ /logged in as "(\S+)"/g;

is_deeply(\@logins, [ ('dora@second.test') x 4 ],
          'error_log of the host, with STARTTLS and direct TLS');

# TLS fails when the session was moved already

$c = $t->client('alice')->connect();
$c->open_stream();
$c->send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
ok($c->expect('proceed'), 'TLS begins');
$c->send("\x16\x03\x01\x00\x20" . "nonsense that is no TLS\n" x 20);
ok($c->wait(sub { defined $c->{eof} }), 'and fails');
$c->drop();

is_line('all', 'a handshake that failed',
        close => 'handshake', host => 'localhost', jid => '-', tls => 'none');

# or never begins, where a client does not speak TLS: nginx tells of that

for my $words ($t->client('alice')->header(), "GET / HTTP/1.0\r\n\r\n",
               'x' x 2000)
{
    $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                  PeerPort => $t->port(1));
    print $sock $words;
    $got = do { local $/; <$sock> };
    close $sock;

    unlike($got // '', qr/</, 'no XMPP for who does not speak TLS');
    is_line('all', 'no TLS at a TLS port', close => '-', host => '-',
            jid => '-', tls => '-', received => '-', status => 500);
}

$c = $t->client('alice', port_number => 4);
ok(!eval { $c->secure() }, 'denied');

is_line('all', 'a connection that nginx refuses',
        close => '-', host => '-', jid => '-', mechanism => '-', tls => '-',
        received => '-', sent => '-', status => 403);

is(scalar(lines($_)), $seen{$_}, "one line for each session: $_")
    for qw/ all second server /;

$t->done();
