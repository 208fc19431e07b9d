#!/usr/bin/perl

# ssl_verify_client of one host when a handshake ends in the very call in which
# SNI has chosen that host: the client's last flight is there before the server
# looks for it.  A library in nginx waits for it where nginx would not.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Test::XMPP;
use Test::XMPP::CA;
use Test::XMPP::Process;

my $t = Test::XMPP->new(users => [ qw/ alice dora / ])
                  ->only_ours('makes nginx slow');

$t->config(<<'EOF');
%%GLOBALS%%
events {
}

stream {
    xmpp_redis  unix:%%REDIS%%;

    ssl_certificate         %%TESTDIR%%/localhost.pem;
    ssl_certificate_key     %%TESTDIR%%/localhost.key;
    ssl_client_certificate  %%TESTDIR%%/ca.pem;
    ssl_verify_client       optional;

    xmpp_host localhost {
    }

    xmpp_host third.test {
        ssl_verify_client  optional_no_ca;
    }

    xmpp_host second.test {
        ssl_verify_client  on;
    }

    server {
        listen  127.0.0.1:%%PORT_1%% ssl;
        xmpp_c2s;
    }
}
EOF

# what is written to a TCP connection is answered before write() returns

$t->write_file('slow.c', <<'EOF');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

ssize_t
write(int fd, const void *buf, size_t n)
{
    static ssize_t         (*next)(int, const void *, size_t);
    int                      type;
    ssize_t                  rc;
    socklen_t                len = sizeof(int);
    struct pollfd            p = { fd, POLLIN, 0 };
    struct sockaddr_storage  sa;

    if (next == NULL) {
        next = dlsym(RTLD_NEXT, "write");
    }

    rc = next(fd, buf, n);

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0) {
        len = sizeof(sa);

        if (getsockname(fd, (struct sockaddr *) &sa, &len) == 0
            && sa.ss_family == AF_INET)
        {
            (void) poll(&p, 1, 500);
        }
    }

    return rc;
}
EOF

my $slow = $t->testdir() . '/slow';

is(system("cc -shared -fPIC -o $slow.so $slow.c -ldl"), 0, 'the library');

my $ca = $t->{ca} = Test::XMPP::CA->new($t->testdir());
my $mine = $ca->client('mine', [ xmpp => 'dora@second.test' ]);
my $strange = Test::XMPP::CA->new($t->testdir(), file => 'stranger',
                                  name => 'another CA')
                            ->client('strange', [ xmpp => 'alice@localhost' ]);

# a sanitizer has to be the first

my ($asan) = $ENV{SANITIZE} ? `gcc -print-file-name=libasan.so` =~ /(\S+)/ : ();

{
    local $ENV{LD_PRELOAD} = join ' ', grep { defined } $asan, "$slow.so";

    $t->run();
}

my %second = (domain => 'second.test', tls => 'direct',
              verify_name => 'localhost');

for my $version (qw/ TLSv1_2 TLSv1_3 /) {
    my $c = $t->client('dora', %second, tls_version => $version);
    my $from = length $t->read_log();

    ok(!eval { $c->secure(); 1 }, "$version: not without a certificate");
    like(substr($t->read_log(), $from),
         qr/client sent no required SSL certificate/,
         "$version: because of that");

    $c = $t->client('dora', %second, tls_version => $version,
                    certificate => $mine);

    ok(eval { $c->secure(); $c->auth(mechanism => 'EXTERNAL'); $c->bind() },
       "$version: with one") or diag $@;

    $c = $t->client('alice', domain => 'third.test', tls => 'direct',
                    verify_name => 'localhost', tls_version => $version,
                    certificate => $strange);

    ok(eval { $c->secure(); 1 }, "$version: with a stranger's, where it may")
        or diag $@;
}

$t->done();
