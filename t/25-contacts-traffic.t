#!/usr/bin/perl

# Two hosts: 200 users in groups of 25, all contacts of each other, change
# their presence 2,000 times.  Each change reaches all of the 24 contacts
# exactly once, in the order sent.  RFC 6121, 4.4.2; RFC 6120, 10.1.  Then more
# of them than a worker ends at a time are cut off at once and come back, twice.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/traffic";

use Test::More;
use Test::XMPP;
use Traffic;

my $t = Test::XMPP->new(hosts => 2, workers => 1, users => []);

$t->only_ours('needs two hosts');
$t->config(Traffic::config());
$t->run();

Traffic::accounts($t, 600);
Traffic::groups($t->redis(), $t->domain(), 0, 600, 25);

my $accounts = Traffic::accounts_file($t, 600);

my $result = Traffic->start(targets => Traffic::targets($t, 2), tls => 'plain',
                            accounts => $accounts, clients => 200,
                            group => 25, messages => 2000,
                            window => 300)->result();

Traffic::clean($result, 'RFC 6121, 4.4.2: each once and in order');
is($result->{presences}, 2000 * 24, 'all changes, to all contacts');

# each hears of 24 ends, and asks 24 others

$result = Traffic->start(targets => Traffic::targets($t, 2), tls => 'plain',
                         accounts => $accounts, storm => 2,
                         logins => 200)->result();

Traffic::clean($result, 'cut off at once');
is($result->{logins}, 3 * 600, 'and all are back');

ok(Test::XMPP::Process::await(sub {
    !grep { /:sessions$/ } @{ $t->redis()->command('KEYS', 'xmpp:*') };
}, 20), 'no record is left');

$t->done();
