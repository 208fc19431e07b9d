#!/usr/bin/perl

# A reload takes the right to register (xmpp_register), and names (xmpp_admin),
# at once, though the old worker keeps streams for as long as xmpp_drain_time.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(workers => 1, users => [ 'bob' ]);

$t->only_ours('nginx is reloaded');

my $config = <<'EOF_CONF';
%%GLOBALS%%
events { worker_connections 1024; }
stream {
    xmpp_redis unix:%%REDIS%%;
    xmpp_drain_time 60s;

    xmpp_host localhost {
        ssl_certificate     %%TESTDIR%%/localhost.pem;
        ssl_certificate_key %%TESTDIR%%/localhost.key;
        xmpp_register on;
    }

    server { listen 127.0.0.1:%%PORT_0%%; xmpp_c2s; }
}
EOF_CONF

$t->config($config);
$t->run();

# the drain closes the oldest stream first, one each 50 ms

my @others = map { $t->client('bob', resource => "b$_")->login() } 1 .. 40;

sub registers {
    my ($c, $user) = @_;
    my $answer = $c->query('set', undef, "<query xmlns='jabber:iq:register'>"
                           . "<username>$user</username><password>p</password>"
                           . '</query>');

    return $answer->error() || $answer->attr('type');
}

my ($early, $late) = map { my $c = $t->client($_); $c->secure(); $c }
                     qw/ early late /;

is(registers($early, 'early'), 'result', 'a stranger makes an account');

$t->host(0)->reload($config =~ s/xmpp_register on/xmpp_admin boss\@localhost/r);

is(registers($late, 'boss'), 'wait resource-constraint',
   'in a worker that ends nobody does');
is($t->redis()->command('EXISTS', 'xmpp:{boss@localhost}:account'), 0,
   'there is none');
$late->drop();

$t->done();
