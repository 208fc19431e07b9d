#!/usr/bin/perl

# The traffic of 31-traffic.t while Redis answers slowly, ever slower and
# faster, and not at all for a while: each stanza arrives exactly once and in
# order all the same.  RFC 6120, 10.1.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/traffic";

use Test::More;
use Test::XMPP;
use Traffic;

my $t = Test::XMPP->new(hosts => 2, workers => 2, users => [], relay => 20);

$t->only_ours('needs two hosts');
$t->config(Traffic::config(<<'EOF'));
xmpp_redis unix:%%RELAY%%;
    xmpp_redis_timeout 10s;
EOF
$t->run();

Traffic::accounts($t, 200);

my %common = (targets => Traffic::targets($t, 0), ca => $t->ca_file(),
              accounts => Traffic::accounts_file($t, 200), iq => 15,
              presence => 15, window => 300);


###############################################################################
# 40 ms for each round trip

my $result = Traffic->start(%common, messages => 5000)->result();

Traffic::clean($result, 'RFC 6120, 10.1: slow: each once and in order');
is($result->{messages}, 5000, 'all messages');
is($result->{received}, $result->{sent}, 'all stanzas');
cmp_ok($result->{p50}, '>', 20000, 'it was slow');


###############################################################################
# A delay that changes: what is sent later must not come sooner

my $traffic = Traffic->start(%common, messages => 10000, progress => 500);

for my $delay (map { (1, 60, 5, 0, 40) } 1 .. 4) {
    $traffic->wait(qr/^progress:/) or last;
    $t->relay()->delay($delay);
}

$result = $traffic->result();

Traffic::clean($result, 'now slow, now fast: each once and in order');
is($result->{messages}, 10000, 'all messages');


###############################################################################
# Nothing passes for a second, which is less than the timeout.  The length of
# the silence is what is tested, so the clock is what is waited for.

$t->relay()->delay(1);
$traffic = Traffic->start(%common, messages => 10000, progress => 1000);

for (1 .. 4) {
    $traffic->wait(qr/^progress:/) or last;
    $t->relay()->hold();
    select(undef, undef, undef, 1);
    $t->relay()->release();
}

$result = $traffic->result();

Traffic::clean($result, 'four pauses: each once and in order');
is($result->{messages}, 10000, 'all messages');
cmp_ok($result->{max}, '>', 900000, 'there were pauses');
is($result->{closes}, 0, 'nobody was cut off');

$t->done();
