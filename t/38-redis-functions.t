#!/usr/bin/perl

# The Functions are gone from Redis (FUNCTION FLUSH): they are loaded again and
# nobody notices.  Where they may not be loaded, what needs them did not run:
# wait (RFC 6120, 8.3.2).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Outage;
use Test::XMPP::Process;

my $t = Test::XMPP->new(hosts => 2, workers => 1,
                        users => [ qw/ alice bob carol / ]);

$t->only_ours('torments Redis');
$t->config($Test::XMPP::Outage::CONFIG);
$t->run();

my $redis = $t->redis();

my $o = Test::XMPP::Outage->new($t, 'no Functions');
$o->begin(sub { $redis->command('FUNCTION', 'FLUSH') });
$o->alice()->message($o->bob()->jid(), 'all the same');
ok($o->bob()->expect(message => body => 'all the same'),
   'no Functions: a message arrives');

$redis->command('FUNCTION', 'FLUSH');
$o->refuses_logins('success');
ok($o->come('carol', 0), 'no Functions: and who comes is bound')
    and $redis->command('FUNCTION', 'FLUSH');
$o->end(sub { });

# and cannot be loaded

$o->{name} = 'no Functions, and no right to load them';
$o->begin(sub {
    $redis->command('ACL', 'SETUSER', 'default', '-function|load');
    $redis->command('FUNCTION', 'FLUSH');
});
$o->says_wait();
ok(!eval { $t->online('carol', on => $_) }, "$o->{name}: nobody is bound")
    for 0, 1;
$o->answers();
ok($t->await_log(qr/xmpp Functions: "NOPERM.*; give its user the rights/),
   "$o->{name}: the log says so");
$o->end(sub { $redis->command('ACL', 'SETUSER', 'default', '+@all') });

$o->close();

$t->done();
