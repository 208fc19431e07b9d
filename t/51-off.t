#!/usr/bin/perl

# A feature that is off is absent: neither said nor answered, and only where
# it is off.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ 'alice' ])->only_ours();

$t->config(<<'EOF');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis           unix:%%REDIS%%;
    xmpp_starttls        on;
    ssl_certificate      %%TESTDIR%%/localhost.pem;
    ssl_certificate_key  %%TESTDIR%%/localhost.key;
    xmpp_version         off;

    xmpp_host localhost {
        xmpp_time  off;
    }

    xmpp_host second.test {
        xmpp_version  on;
        xmpp_ping     off;
    }

    xmpp_host third.test {
        xmpp_disco  off;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
EOF

$t->run();

my $alice = $t->client('alice')->login();

my %query = (
    disco   => "<query xmlns='http://jabber.org/protocol/disco#info'/>",
    ping    => "<ping xmlns='urn:xmpp:ping'/>",
    version => "<query xmlns='jabber:iq:version'/>",
    time    => "<time xmlns='urn:xmpp:time'/>",
);

my %off = (
    'localhost'   => { version => 1, time => 1 },
    'second.test' => { ping => 1 },
    'third.test'  => { version => 1, disco => 1 },
);

for my $host (sort keys %off) {
    my $said = $alice->query('get', $host, $query{disco});

    for my $feature (sort keys %query) {
        my ($ns) = $query{$feature} =~ /xmlns='([^']*)'/;
        my $answer = $alice->query('get', $host, $query{$feature});

        if ($off{$host}{$feature}) {
            is($answer->error(), 'cancel service-unavailable',
               "$host: $feature is not answered");
            ok(!$said->test("info:query/info:feature[\@var = '$ns']"),
               'nor said');
            next;
        }

        is($answer->attr('type'), 'result', "$host: $feature is answered");
        ok($said->test("info:query/info:feature[\@var = '$ns']"), 'and said')
            unless $off{$host}{disco};
    }
}

$t->done();
