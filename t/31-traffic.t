#!/usr/bin/perl

# Two hosts, two workers each: 200 users, 20,000 numbered messages between
# random pairs, with iqs and directed presence between them.  Each arrives
# exactly once, in the order sent, byte by byte.  RFC 6120, 10.1.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/traffic";

use Test::More;
use Test::XMPP;
use Traffic;

my $t = Test::XMPP->new(hosts => 2, workers => 2, users => []);

$t->only_ours('needs two hosts');
$t->config(Traffic::config());
$t->run();

Traffic::accounts($t, 200);

my %common = (accounts => Traffic::accounts_file($t, 200),
              ca => $t->ca_file(), iq => 15, presence => 15);


###############################################################################

my $result = Traffic->start(targets => Traffic::targets($t, 0), %common,
                            messages => 20000, window => 300)->result();

Traffic::clean($result, 'RFC 6120, 10.1: each once and in order');
is($result->{messages}, 20000, 'all messages');
is($result->{received}, $result->{sent}, 'all stanzas');
cmp_ok($result->{results}, '>', 3000, 'with iqs');
cmp_ok($result->{presences}, '>', 3000, 'and presence');
is($result->{logins}, 200, 'nobody was cut off');

# few users and much in flight: long queues for the same recipient

$result = Traffic->start(targets => Traffic::targets($t, 1), %common,
                         tls => 'direct', clients => 4, messages => 5000,
                         window => 1000)->result();

Traffic::clean($result, 'four users, a thousand in flight');
is($result->{messages}, 5000, 'all messages');

# long bodies, cut wherever TLS and sockets cut

$result = Traffic->start(targets => Traffic::targets($t, 0), %common,
                         clients => 50, messages => 3000, size => 3000,
                         seed => 2)->result();

Traffic::clean($result, 'long bodies');
is($result->{messages}, 3000, 'all messages');

# each to each: hosts and workers in all combinations

$result = Traffic->start(targets => Traffic::targets($t, 0), %common,
                         clients => 60, messages => 1, round => 1,
                         iq => 0, presence => 0)->result();

Traffic::clean($result, 'each to each');
is($result->{messages}, 1 + 60 * 59, 'all messages');

$t->done();
