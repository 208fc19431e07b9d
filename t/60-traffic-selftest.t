#!/usr/bin/perl

# The traffic generator itself: what it counts is what was done to its
# stanzas by a server that makes mistakes on purpose.

use strict;
use warnings;

use FindBin;
use lib map { "$FindBin::Bin/$_" } qw/ lib traffic bench /;

use File::Temp qw/ tempdir /;
use Test::More;

use Fake;
use Floor;
use Test::XMPP::CA;
use Test::XMPP::Process;
use Traffic;

my $dir = tempdir(CLEANUP => 1);
my $file = "$dir/accounts";

open my $fh, '>', $file or die "$file: $!\n";
print $fh "u$_\@fake secret\n" for 1 .. 8;
close $fh;

my @BAD = qw/ lost doubled reordered corrupt stray returned unknown /;

# the generator complains about what is expected here
open STDERR, '>', "$dir/stderr";


# run(\%faults, %options): (result, what the server did)

sub run {
    my ($faults, %opt) = @_;

    my $fake = Fake->new(%$faults);
    my $traffic = Traffic->start(targets => [ '127.0.0.1:' . $fake->port() ],
        accounts => $file, tls => 'plain', messages => 2000, iq => 20,
        presence => 20, window => 100, %opt);

    my $result = $traffic->result(120);

    return ($result, $fake->stop());
}


# counted(name, \%faults, \%counts, status, %options): these counts are those
# of the server, the other bad ones are nothing.

sub counted {
    my ($name, $faults, $counts, $status, %opt) = @_;

    my ($result, $did) = run($faults, %opt);
    my %expected = ((map { $_ => 0 } @BAD),
                    map { $_ => $counts->{$_}->($did) } keys %$counts);

    cmp_ok($did->{$_}, '>', 0, "$name: the server did $_") for keys %$faults;
    is_deeply({ map { $_ => $result->{$_} } @BAD }, \%expected,
              "$name: counted") or diag($result->{line});
    is($result->{status}, $status, "$name: exit status $status");

    return ($result, $did);
}


###############################################################################
# No fault

my ($r) = counted('good server', {}, {}, 0);

is($r->{messages}, 2000, 'all messages');
is($r->{received}, $r->{sent}, 'all stanzas');
is($r->{iqs}, $r->{results}, 'an answer to each iq');
is($r->{messages} + $r->{iqs} + $r->{results} + $r->{presences}, $r->{sent},
   'the kinds add up');
cmp_ok(abs($r->{iqs} - $r->{presences}), '<', 200, 'iqs and presences, alike');
cmp_ok($r->{iqs}, '>', 400, 'about a fifth each');
is($r->{logins}, 8, 'logins');

($r) = counted('each to each', {}, {}, 0, messages => 10, iq => 0,
               presence => 0, round => 1);
is($r->{messages}, 10 + 8 * 7, 'the round');


###############################################################################
# One fault at a time

counted('lost', { drop => 61 }, { lost => sub { $_[0]{drop} } }, 1,
        stall => 2);

for my $double (qw/ double again /) {
    my ($r, $did) = counted("doubled: $double", { $double => 67 },
                            { doubled => sub { $_[0]{$double} } }, 1,
                            iq => 0, presence => 0);

    is($r->{renamed}, $did->{double}, "doubled: $double: without the same id");
}

counted('doubled late', { echo => 71 }, { doubled => sub { $_[0]{echo} } }, 1);
counted('reordered', { swap => 73 }, { reordered => sub { $_[0]{swap} } }, 1,
        messages => 4000);
like(Test::XMPP::Process::slurp("$dir/stderr"),
     qr/^reordered: \d+ behind \d+ from u\d to u\d, sent at /m,
     'reordered: which');
counted('corrupt', { corrupt => 79 }, { corrupt => sub { $_[0]{corrupt} } },
        1);
counted('forged', { forge => 83 }, { corrupt => sub { $_[0]{forge} },
                                     lost => sub { $_[0]{forge} } },
        1, stall => 2);
counted('astray', { astray => 89 }, { corrupt => sub { $_[0]{astray} },
                                      lost => sub { $_[0]{astray} } },
        1, stall => 2);
counted('returned', { bounce => 97 }, { returned => sub { $_[0]{bounce} } },
        1, iq => 0);
counted('returned, which may be', { bounce => 97 },
        { returned => sub { $_[0]{bounce} } }, 0, iq => 0, reconnect => 1);


###############################################################################
# All at once

counted('a bit of all', { drop => 211, double => 223, echo => 227,
                          corrupt => 229 },
        { lost => sub { $_[0]{drop} },
          doubled => sub { $_[0]{double} + $_[0]{echo} },
          corrupt => sub { $_[0]{corrupt} } }, 1, stall => 2);


###############################################################################
# The end of a connection, and of everything

my $did;

($r, $did) = run({ cut => 500 });
is($did->{cut}, 1, 'cut off: the server did it');
is($r->{status}, 3, 'cut off: the end of the run');
is($r->{early}, 'closed by the server', 'cut off: and why');

($r, $did) = run({ cut => 500 }, reconnect => 1, round => 1);
is($did->{cut}, 1, 'cut off and back: the server did it');
is($r->{status}, 0, 'cut off and back: good') or diag($r->{line});
is($r->{closes}, 1, 'cut off and back: one close');
is($r->{logins}, 9, 'cut off and back: one more login');
cmp_ok($r->{unknown}, '>=', 1, 'cut off and back: in flight, unknown');
is($r->{received} + $r->{unknown} - $r->{late}, $r->{sent},
   'cut off and back: nothing else is missing');

($r, $did) = run({ mute => 500 }, stall => 2);
is($did->{mute}, 1, 'silence: the server did it');
is($r->{status}, 1, 'silence: noticed');
is($r->{lost}, 100, 'silence: the whole window is lost');

($r) = run({}, tls => 'starttls');
is($r->{status}, 3, 'no STARTTLS where it is wanted: the end of the run');

($r) = run({}, mechanism => 'SCRAM-SHA-1');
is($r->{status}, 3, 'no such mechanism: the end of the run');



###############################################################################
# Pairs: the first and the second, the third and the fourth, ...

my %pairs = (pairs => 1, iq => 0, presence => 0, window => 4);

($r, $did) = counted('pairs', {}, {}, 0, %pairs);
is($r->{messages}, 2000, 'pairs: all messages');
is($did->{pairs}, 8, 'pairs: four, in both directions');
cmp_ok(abs($did->{bare} - $did->{full}), '<', 300, 'pairs: half to bare JIDs');
is($r->{bytes_sent}, $did->{bytes_in}, 'bytes sent');
is($r->{bytes_received}, $did->{bytes_out}, 'bytes received');
cmp_ok($r->{cpu_us}, '>', 0, 'CPU of the generator');

($r, $did) = counted('random', {}, {}, 0, iq => 0, presence => 0);
is($did->{pairs}, 8 * 7, 'without --pairs: all with all');

for my $share (0, 100) {
    (undef, $did) = counted("$share percent to full JIDs", {}, {}, 0, %pairs,
                            full => $share);
    is($did->{full}, 20 * $share, "$share percent to full JIDs: so many");
}

counted('pairs, mixed', {}, {}, 0, %pairs, iq => 20, presence => 20);
counted('pairs, lost', { drop => 301 }, { lost => sub { $_[0]{drop} } }, 1,
        %pairs, stall => 2);
counted('pairs, doubled', { double => 67 },
        { doubled => sub { $_[0]{double} } }, 1, %pairs);
counted('pairs, reordered', { swap => 73 },
        { reordered => sub { $_[0]{swap} } }, 1, %pairs);
counted('pairs, astray', { astray => 307 },
        { corrupt => sub { $_[0]{astray} }, lost => sub { $_[0]{astray} } },
        1, %pairs, stall => 2);

# as many in flight as the windows allow; one at a time is in turn

cmp_ok((run({}, %pairs))[1]{twice}, '>', 0, 'a window of four: not in turn');
(undef, $did) = counted('a window of one', {}, {}, 0, %pairs, window => 1);
is($did->{twice}, 0, 'a window of one: in turn');
is($did->{pairs}, 8, 'a window of one: both ways');

counted('a window for each client', { mute => 1 }, { lost => sub { 8 * 3 } },
        1, %pairs, window => 3, stall => 2);
counted('a window of one, for a pair', { mute => 1 }, { lost => sub { 4 } },
        1, %pairs, window => 1, stall => 2);
counted('a window of one, later', { mute => 501 }, { lost => sub { 4 } },
        1, %pairs, window => 1, stall => 2);

run({}, %pairs, clients => 7);
like(Test::XMPP::Process::slurp("$dir/stderr"), qr/no pairs/,
     'no pairs of seven');


###############################################################################
# By the clock

my %rate = (pairs => 1, iq => 0, presence => 0, full => 100, rate => 2000);

($r) = counted('rate', {}, {}, 0, %rate);
is($r->{messages}, 2000, 'rate: all messages');
cmp_ok($r->{seconds}, '>', 0.99, 'rate: not faster');

($r) = counted('rate, random pairs', {}, {}, 0, %rate, pairs => undef);
is($r->{messages}, 2000, 'rate, random pairs: all messages');

counted('rate, lost', { drop => 301 }, { lost => sub { $_[0]{drop} } }, 1,
        %rate, stall => 2);
counted('rate, silence', { mute => 1 }, { lost => sub { 2000 } }, 1, %rate,
        stall => 2);

# 600 of 2000 are late, by up to 300 ms: whoever waited for the answers before
# sending more would see a few

($r, $did) = counted('a server that pauses', { freeze => 500 }, {}, 0, %rate);
cmp_ok($r->{p50}, '<=', $r->{p90}, 'latencies are in order');
cmp_ok($r->{p90}, '>', 100000, 'a server that pauses: many are late');
cmp_ok($r->{p99}, '>', 250000, 'a server that pauses: some are very late');
cmp_ok($r->{max}, '>', 290000, 'a server that pauses: the worst');

# so does the clock when the generator itself has paused

{
    my $fake = Fake->new();
    my $traffic = Traffic->start(targets => [ '127.0.0.1:' . $fake->port() ],
        accounts => $file, tls => 'plain', messages => 2000, progress => 500,
        %rate);

    $traffic->wait(qr/^progress: /);
    kill 'STOP', $traffic->{pid};
    select undef, undef, undef, 0.3;
    kill 'CONT', $traffic->{pid};

    my $result = $traffic->result(60);

    is($result->{status}, 0, 'a generator that pauses: nothing is missing');
    cmp_ok($result->{p90}, '>', 100000, 'a generator that pauses: many are '
                                        . 'late');
}


###############################################################################
# Logins

my %relogin = (relogin => 40, logins => 3, iq => 0, presence => 0);

($r, $did) = counted('logins', {}, {}, 0, %relogin);
is($r->{logins}, 40, 'logins: so many');
is($did->{logins}, 40, 'logins: the server has seen them');
is($did->{goodbyes}, 40, 'logins: each left in an orderly way');
is($did->{most}, 3, 'logins: so many at once');
is($r->{sent}, 0, 'logins: and no traffic');

($r, $did) = counted('more at once than clients', {}, {}, 0, %relogin,
                     logins => 30);
is($did->{most}, 8, 'more at once than clients: all of them');

($r) = run({ refuse => 20 }, %relogin, logins => 1);
is($r->{status}, 3, 'a login that fails: the end of the run');
is($r->{early}, 'login refused', 'a login that fails: and why');
is($r->{logins}, 19, 'a login that fails: those before');

($r) = run({ tarry => 1 }, %relogin, relogin => 8);
cmp_ok($r->{p50}, '>', 100000, 'logins that take long: latency');

($r, $did) = counted('without presence', {}, {}, 0, %relogin,
                     nopresence => 1);
is($did->{presences}, 0, 'without presence: none');


###############################################################################
# Storms

my %storm = (storm => 3, iq => 0, presence => 0, logins => 4);

($r, $did) = counted('storms', {}, {}, 0, %storm);
is($r->{storms}, 3, 'storms: so many');
is($r->{logins}, 4 * 8, 'storms: all came back');
is($did->{logins}, 4 * 8, 'storms: the server has seen them');
is($did->{goodbyes}, 8, 'storms: cut without a word');
is($r->{closes}, 0, 'storms: which are no closes');
cmp_ok($r->{storm_ms}, '<=', $r->{storm_max_ms}, 'storms: median and worst');

($r) = run({ tarry => 20 }, %storm);
cmp_ok($r->{storm_ms}, '<', $r->{storm_max_ms}, 'one storm takes long');
cmp_ok($r->{storm_max_ms}, '>=', 100, 'one storm takes long: so long');

($r) = counted('one is refused', { refuse => 20 }, {}, 0, %storm);
is($r->{refused}, 1, 'one is refused: once');
is($r->{logins}, 4 * 8, 'one is refused: and came back');

($r) = run({ lock => 20 }, %storm, stall => 2);
is($r->{status}, 3, 'some do not come back: the end of the run');
is($r->{early}, 'stalled', 'some do not come back: and why');
is($r->{storms}, 1, 'some do not come back: the storms before');

($r) = run({ kick => 20 }, %storm, logins => 1);
is($r->{early}, 'closed by the server', 'who is back is cut off again');


###############################################################################
# TLS sessions, against the relay of the benchmark

my $floor = Floor->new(dir => $dir, ca => Test::XMPP::CA->new($dir));
my $relay = $floor->relay();
my $refuses = $floor->relay(how => 'refuse');
my $small = $floor->relay(how => 'small');

for my $tls (qw/ plain direct /) {
    my ($result) = relay($relay, tls => $tls, messages => 2000, %pairs);

    Traffic::clean($result, "relay, $tls: each once and in order");
    is($result->{received}, 2000, "relay, $tls: all messages");
}

# what one read of the socket has brought is handed on, however many records
# it is

my ($records) = relay($small, tls => 'direct', clients => 2, messages => 2000,
                      window => 400, full => 100, stall => 5);

Traffic::clean($records, 'relay, short records: each once and in order');
is($records->{max} < 4_000_000, 1, 'relay, short records: none is held back');

for ([ 'full handshakes', $relay, 0, 0 ], [ 'tickets', $relay, 1, 32 ],
     [ 'tickets, refused', $refuses, 1, 0 ])
{
    my ($name, $server, $tickets, $resumed) = @$_;

    $r = relay($server, tls => 'direct', %relogin, tickets => $tickets);
    is($r->{status}, 0, "$name: good");
    is($r->{logins}, 40, "$name: all logins");
    is($r->{resumed}, $resumed, "$name: resumed");

    $r = relay($server, tls => 'direct', %storm, tickets => $tickets);
    is($r->{status}, 0, "$name, storms: good");
    is($r->{resumed}, $resumed && 3 * 8, "$name, storms: resumed");
}


# Flags that are 0 are not given.

sub relay {
    my ($server, %opt) = @_;

    my $port = $opt{tls} eq 'plain' ? $server->{port} : $server->{tls_port};

    $opt{tickets} ||= undef;

    return Traffic->start(targets => [ "127.0.0.1:$port" ],
        accounts => $floor->accounts(8), ca => $floor->ca(),
        %{ $server->{traffic} }, %opt)->result(60);
}


###############################################################################
# Repeats: one set of logins, a result for each

# repeats(\%faults, @orders): (the results, the exit status, the server's)

sub repeats {
    my ($faults, $opt, @orders) = @_;

    my $fake = Fake->new(%$faults);
    my $traffic = Traffic->start(targets => [ '127.0.0.1:' . $fake->port() ],
        accounts => $file, tls => 'plain', messages => 2000, hold => 1,
        control => 1, stall => 2, %pairs, %$opt);
    my @results;

    $traffic->wait(qr/^ready: /) or die "not ready\n";

    for my $order (@orders) {
        $traffic->tell($order);

        my ($done) = $traffic->wait(qr/^traffic: (done)/, 60);
        my ($line) = $traffic->wait(qr/^result: (.*)/, 60);

        push @results, { done => $done, map { split /=/, $_, 2 }
                                        split ' ', $line // '' };
    }

    $traffic->tell('quit');

    my ($late) = $traffic->wait(qr/^result: (.*)/, 60);
    push @results, { map { split /=/, $_, 2 } split ' ', $late } if $late;

    return (\@results, $traffic->finish(), $fake->stop());
}

my ($all, $status);

($all, $status, $did) = repeats({}, {}, 'go', 'again 1000', 'again 3000');

is_deeply([ map { $_->{messages} } @$all ], [ 2000, 1000, 3000 ],
          'repeats: a result for each');
is_deeply([ map { $_->{sent} } @$all ], [ 2000, 1000, 3000 ],
          'repeats: of its own');
is_deeply([ map { $_->{done} } @$all ], [ ('done') x 3 ],
          'repeats: it is said when all has arrived');
is($did->{logins}, 8, 'repeats: one login each');
is($status, 0, 'repeats: good');

($all, $status) = repeats({ double => 2500 }, {}, 'go', 'again 1000',
                          'again 1000');
is_deeply([ map { $_->{doubled} } @$all ], [ 0, 1, 0 ],
          'repeats, one doubled: in the one where it was');
is($status, 1, 'repeats, one doubled: the exit status');

($all, $status) = repeats({ swap => 2500 }, {}, 'go', 'again 1000');
is_deeply([ map { $_->{reordered} } @$all ], [ 0, 1 ],
          'repeats, one reordered');

($all, $status) = repeats({ drop => 2500 }, {}, 'go', 'again 1000');
is_deeply([ map { $_->{lost} } @$all ], [ 0, 1 ], 'repeats, one lost');
is($all->[1]{done}, undef, 'repeats, one lost: not all has arrived');
is($status, 1, 'repeats, one lost: the exit status');

($all, $status) = repeats({ haunt => 1500 }, {}, 'go');
is_deeply([ map { $_->{doubled} } @$all ], [ 0, 1 ],
          'what comes behind the result is told, too');
is($status, 1, 'what comes behind the result: the exit status');

($all, $status, $did) = repeats({}, \%relogin, 'go', 'again 10');
is_deeply([ map { $_->{logins} } @$all ], [ 40, 10 ], 'logins, again');
is($did->{logins}, 50, 'logins, again: the server has seen them');

($all, $status, $did) = repeats({}, \%storm, 'go', 'again 2');
is_deeply([ map { $_->{storms} } @$all ], [ 3, 2 ], 'storms, again');
is($did->{logins}, 6 * 8, 'storms, again: the server has seen them');

done_testing();
