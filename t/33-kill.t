#!/usr/bin/perl

# kill -9 of a worker during traffic: nginx starts another and only that one,
# its clients come back, nobody else notices, and afterwards everyone reaches
# everyone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/traffic";

use Test::More;
use Test::XMPP;
use Traffic;

my $clients = 60;
my $t = Test::XMPP->new(hosts => 2, workers => 2, users => []);

$t->only_ours('kills workers');
$t->config(Traffic::config());
$t->run();

Traffic::accounts($t, $clients);

my @masters = map { $t->host($_)->pid() } 0, 1;

my $traffic = Traffic->start(targets => Traffic::targets($t, 0),
    ca => $t->ca_file(), accounts => Traffic::accounts_file($t, $clients),
    messages => 0, control => 1, iq => 15, presence => 15, window => 200,
    progress => 500, reconnect => 1, round => 1);

my $kills = 0;

for my $host (0, 1, 0) {
    $traffic->wait(qr/^progress:/) for 1 .. 4;
    ok(kill(0, $t->host($host)->kill_worker()) == 0,
       "kill -9 of a worker of host $host") and $kills++;
}

$traffic->wait(qr/^progress:.* online=$clients /, 60);
$traffic->wait(qr/^progress:/) for 1 .. 4;
$traffic->tell('finish');

my $result = $traffic->result();

# what a dead worker had not told that it was taken comes again, to whoever is
# next: without XEP-0198 nobody knows what its clients got

Traffic::clean($result, 'RFC 6120, 10.1: nothing lost but what was in flight '
                        . 'to and from the dead',
               status => 1, doubled => 1);
cmp_ok($result->{doubled}, '<', 200 * $result->{closes},
       'cluster.md, 9: and nothing twice but what was lately given by them');
cmp_ok($result->{closes}, '>', 0, 'clients were cut off');
cmp_ok($result->{closes}, '<', $kills * $clients / 2,
       'but only those of the dead workers');
is($result->{logins}, $clients + $result->{closes}, 'each came back');
cmp_ok($result->{messages}, '>', $clients * ($clients - 1),
       'and each reached each');

for my $host (0, 1) {
    my @exits = $t->host($host)->read_log() =~ /(process \d+ exited .*)/g;

    is(scalar @exits, $host == 0 ? 2 : 1, "host $host: no other exit")
        or diag(join "\n", @exits);
    is($t->host($host)->pid(), $masters[$host], "host $host: same master");
    my @workers = $t->host($host)->workers();
    is(scalar @workers, 2, "host $host: two workers");
}

$t->done();
