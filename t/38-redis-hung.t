#!/usr/bin/perl

# Redis hangs (SIGSTOP): it answers nothing and closes nothing.  A message that
# was sent into it is of unknown outcome: not returned, and delivered once at
# most; those after it come back (RFC 6120, 8.3.2), logins are refused for now
# (RFC 6120, 6.5.9), and all goes on with the same connections.

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

my $o = Test::XMPP::Outage->new($t, 'hung');

$o->begin(sub { $redis->pause() });
$o->unknown();
$o->answers();
ok($t->await_log(qr/got no reply within the timeout; the server is stalled/),
   'hung: the log says so');
$o->refuses_logins();
$o->says_wait();
$o->answers();
$o->end(sub { $redis->resume() });

$o->close();

$t->done();
