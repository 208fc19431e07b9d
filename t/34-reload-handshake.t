#!/usr/bin/perl

# A drain that closes a stream in the turn in which its TLS handshake ends
# (RFC 6120, 4.9.3.19): the connection ends at once, and once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::SSL;
use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

my $t = Test::XMPP->new(users => [ 'alice' ], workers => 1)
                  ->only_ours('reads the access log');

$t->config(<<'EOF');
%%GLOBALS%%
events {
    worker_connections  256;
}

stream {
    log_format  end  '$xmpp_tls|$xmpp_close';
    access_log  %%PREFIX%%/all end;

    xmpp_redis       unix:%%REDIS%%;
    xmpp_drain_time  50ms;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
EOF

$t->run();

# Whether the drain or the handshake's end comes first is the kernel's to say:
# again, until it was the drain, and nothing of TLS is logged.

my ($worker, $ends, %ends);

for (1 .. 30) {
    ($worker) = Test::XMPP::Process::await(sub {
        return ($t->host()->workers())[0];
    }) or die "no worker\n";

    $ends = quit($worker);
    last if ++$ends{$ends} && $ends !~ /^starttls/;
}

is($ends, 'none|system-shutdown', 'the drain was first: one line is logged');
delete @ends{'none|system-shutdown', 'starttls|system-shutdown'};
is(join(', ', sort keys %ends), '', 'and one in whatever order before');

$t->done();


# The handshake ends while the worker is stopped, then it is told to quit: its
# epoll_wait() ends with EINTR, so that it sees the bytes in its next turn.
# Returns what was logged.

sub quit {
    my ($pid) = @_;

    my $before = () = ends();
    my $c = $t->client('alice', tls => 'none');

    $c->connect()->open_stream();
    $c->send("<starttls xmlns='$Test::XMPP::Client::NS{tls}'/>");
    $c->expect('proceed');

    my $s = IO::Socket::SSL->start_SSL($c->{sock}, SSL_startHandshake => 0,
                                       SSL_verify_mode => SSL_VERIFY_NONE);

    $s->blocking(0);
    $s->connect_SSL();

    vec(my $r = '', fileno($s), 1) = 1;
    select($r, undef, undef, 10) or die "no answer\n";

    kill 'STOP', $pid;
    Test::XMPP::Process::await(sub {
        Test::XMPP::Process::slurp("/proc/$pid/stat") =~ /\) T /;
    }) or die "$pid: not stopped\n";

    $s->connect_SSL() or die "no handshake\n";

    kill $_, $pid for qw/ QUIT CONT /;

    Test::XMPP::Process::await(sub {
        return !kill 0, $pid;
    }) or die "$pid: does not end\n";

    return join ' ', splice @{ [ ends() ] }, $before;
}


# without those who only look whether nginx is there

sub ends {
    return grep { $_ ne 'none|dropped' } split /\n/,
           Test::XMPP::Process::slurp($t->host()->{prefix} . '/all');
}
