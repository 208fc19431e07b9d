#!/usr/bin/perl

# A script of somebody else that does not end keeps Redis busy: logins are
# refused for now (RFC 6120, 6.5.9), a message that did not run comes back
# (RFC 6120, 8.3.2), and all goes on when it is killed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Outage;
use Test::XMPP::Process;

my $t = Test::XMPP->new(hosts => 2, workers => 1,
                        users => [ qw/ alice bob carol / ],
                        redis => { 'busy-reply-threshold' => 100 });

$t->only_ours('torments Redis');
$t->config($Test::XMPP::Outage::CONFIG);
$t->run();

my $redis = $t->redis();

my $o = Test::XMPP::Outage->new($t, 'busy');
$o->begin(sub { busy() });
$o->says_wait();
$o->refuses_logins();
$o->answers();
ok($t->await_log(qr/"BUSY .*; a script of somebody.*SCRIPT KILL/),
   'busy: the log says so');
$o->end(sub { $redis->command('SCRIPT', 'KILL') });

$o->close();

$t->done();


# A script of somebody else, on a connection of its own

sub busy {
    my $client = IO::Socket::UNIX->new(Peer => $redis->socket())
        or die "redis: $!\n";

    print $client "EVAL \"while true do end\" 0\r\n";
    $client->flush();

    ok(Test::XMPP::Process::await(sub {
           !eval { $redis->command('GET', 'x'); 1 } && $@ =~ /BUSY/;
       }), 'busy: it is');

    push @{ $o->{keep} }, $client;
}
