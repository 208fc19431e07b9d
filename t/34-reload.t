#!/usr/bin/perl

# A reload during traffic: the old workers close their sessions and exit in
# time, the clients come back to the new ones, those of the other host notice
# nothing, and afterwards everyone reaches everyone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/traffic";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Time::HiRes qw/ time /;
use Traffic;

my $clients = 60;
my $drain = 2;
my $t = Test::XMPP->new(hosts => 2, workers => 2, users => [ 'alice' ]);

$t->only_ours('reloads nginx');
$t->config(Traffic::config(<<"EOF"));
xmpp_redis unix:%%REDIS%%;
    xmpp_drain_time ${drain}s;
EOF
$t->run();

Traffic::accounts($t, $clients);


###############################################################################
# What a client is told: RFC 6120, 4.9.3.19

my @old = $t->workers();
my $alice = $t->online('alice');

$t->reload();
ok($alice->expect_stream_error('system-shutdown'),
   'RFC 6120, 4.9.3.19: system-shutdown');
ok(gone(@old), 'the old workers exit');
ok($t->online('alice')->sync(), 'a new worker answers');


###############################################################################
# Under traffic

my @masters = map { $t->host($_)->pid() } 0, 1;

my $traffic = Traffic->start(targets => Traffic::targets($t, 0),
    ca => $t->ca_file(), accounts => Traffic::accounts_file($t, $clients),
    messages => 0, control => 1, iq => 15, presence => 15, window => 200,
    progress => 500, reconnect => 1, round => 1);

my $reloads = 0;

for my $host (0, 1, 0) {
    $traffic->wait(qr/^progress:.* online=$clients /, 60);
    $traffic->wait(qr/^progress:/);

    @old = $t->host($host)->reload();
    $reloads++;
    is(scalar @old, 2, "host $host: two old workers");
    ok(gone(@old), "host $host: the old workers exit in time")
        or diag($t->host($host)->read_log());

    my @new = $t->host($host)->workers('all');
    is(scalar @new, 2, "host $host: two new workers");
}

$traffic->wait(qr/^progress:.* online=$clients /, 60);
$traffic->wait(qr/^progress:/) for 1 .. 4;
$traffic->tell('finish');

my $result = $traffic->result();

Traffic::clean($result, 'RFC 6120, 10.1: nothing lost but what was in flight '
                        . 'to and from the reloaded');
is($result->{closes}, $reloads * $clients / 2,
   'the clients of the reloaded host were cut off, and nobody else');
is($result->{logins}, $clients + $result->{closes}, 'each came back');
cmp_ok($result->{messages}, '>', $clients * ($clients - 1),
       'and each reached each');

for my $host (0, 1) {
    my $log = $t->host($host)->read_log();

    unlike($log, qr/exited on signal|exited with code [^0]/,
           "host $host: no crash");
    is($t->host($host)->pid(), $masters[$host], "host $host: same master");
}

$t->done();


# True when these workers are gone within the drain time and some seconds.

sub gone {
    my @pids = @_;

    return Test::XMPP::Process::await(sub { !grep { kill 0, $_ } @pids },
                                      $drain + 8);
}
