#!/usr/bin/perl

# A reload takes the rights of an administrator (xmpp_admin) at once, though
# the old worker keeps his session for as long as xmpp_drain_time.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(workers => 1, users => [ qw/ alice bob / ]);

$t->only_ours('the administrator is configured');

my $config = <<'EOF_CONF';
%%GLOBALS%%
events { worker_connections 1024; }
stream {
    xmpp_redis unix:%%REDIS%%;
    xmpp_drain_time 60s;

    xmpp_host localhost {
        ssl_certificate     %%TESTDIR%%/localhost.pem;
        ssl_certificate_key %%TESTDIR%%/localhost.key;
        xmpp_admin alice@localhost;
    }

    server { listen 127.0.0.1:%%PORT_0%%; xmpp_c2s; }
}
EOF_CONF

$t->config($config);
$t->run();

my $bob = "bob\@" . $t->domain();

# the drain closes the oldest stream first, one each 50 ms

my @others = map { $t->client('bob', resource => "b$_")->login() } 1 .. 40;
my $alice = $t->online('alice', resource => 'a');

sub execute {
    my ($inner, $session) = @_;

    $session = defined $session ? " sessionid='$session'" : '';

    return $alice->query('set', $t->domain(),
        "<command xmlns='http://jabber.org/protocol/commands'"
        . " node='http://jabber.org/protocol/admin#disable-user'$session>"
        . ($inner // '') . '</command>');
}

my $form = execute();

is($form->find('*/@status'), 'executing', 'an administrator has the form');

$t->host(0)->reload($config =~ s/xmpp_admin alice/xmpp_admin bob/r);

is(execute("<x xmlns='jabber:x:data' type='submit'><field var='accountjids'>"
           . "<value>$bob</value></field></x>",
           scalar $form->find('*/@sessionid'))->error(),
   'wait resource-constraint', 'who is none any more may not submit it');
is($t->redis()->command('HEXISTS', "xmpp:{$bob}:account", 'disabled'), 0,
   'nothing is done');
is(execute()->error(), 'wait resource-constraint', 'nor begin anew');
$alice->drop();

$alice = $t->online('alice', resource => 'a');
like(execute()->error(), qr/^auth forbidden$/, 'the new worker refuses him');

$t->done();
