#!/usr/bin/perl

# The benchmark: its figures from samples that are known, its page and the
# README against its scenarios and each other, and a short run of ours.
# t/61-bench.t has the traffic of all scenarios.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/bench", "$FindBin::Bin/traffic";

use File::Temp qw/ tempdir /;
use Test::More;
use Test::XMPP::Process;

use Measure;
use Publish;
use Report;
use Run;
use Scenario;

chdir "$FindBin::Bin/.." or die "chdir: $!\n";

my $page = Test::XMPP::Process::slurp('docs/benchmark.md');
my $readme = Test::XMPP::Process::slurp('README.md');


###############################################################################
# Figures

my @samples = map { sample('worker', $_) } 30, 10, 20;

push @samples, map { sample('ejabberd', $_) } 90, 110;
push @samples, sample('prosody', 1234), sample('floor', 5);
$samples[4]{lost} = 3;

my $report = Report->new(Fake->new('message-full-tls', @samples));
my ($row) = @{ $report->{rows} };

is_deeply($row->{servers}{worker}, { min => 10, median => 20, max => 30 },
          'least, median, greatest');
is($row->{servers}{ejabberd}{median}, 100, 'the median of two');
is_deeply([ Report::ratios($row) ], [ '5.00', '4.00' ],
          'ratios to the better peer and to the floor');
is_deeply([ map { Server::figure($_) } 0, 0.01234, 1.234, 12.34, 1234567.8 ],
          [ 0, '0.012', '1.23', '12.3', '1,234,568' ], 'figures are short');

my $table = $report->table();

like($table, qr{\| 10\.0 / \*\*20\.0\*\* / 30\.0 \|}, 'they are in the table');
like($table, qr/^\| lost \| 0 \| 0 \| 3 \| 0 \|$/m, 'so is what was lost');
ok(!$report->wrong(), 'what others lose is no fault of ours');

$samples[0]{reordered} = 1;
ok(Report->new(Fake->new('message-full-tls', @samples))->wrong(),
   'what ours reorders is');

my $few = Report->new(Fake->new('message-full-tls', @samples[0 .. 2]));

like($few->table(), qr/^\| A message \| one worker \|$/m,
     'who did not take part has no column, nor has a ratio to them');
is(join(' ', keys %{ $few->{rows}[0]{servers} }), 'worker',
   'nor in the rows when they have been read');

ok(!eval { Publish::publish($report); 1 }, 'no part of a run is published');
like($@, qr/^Not published.*memory-tls/, 'and it is told what is missing');
ok(!eval { Publish::check(run(scenarios => [ 'login-e*' ], keep => 1)); 1 },
   'nor is it begun to be published');
like($@, qr/^Not published: a run without .*memory-tls/, 'and it is told why');
ok(eval { Publish::check(run(keep => 1)); 1 }, 'all of it is');
ok(!eval { Publish::check(run(scenarios => [ 'login-*' ], keep => 1,
                              servers => [ 'workers' ])); 1 },
   'a table without a column is not');
is_deeply((Publish::groups(run(scenarios => [ 'login-*', 'storm-tls' ],
                               keep => 1)))[0], [ 'login' ],
          'of a part the tables that are whole are');


# one of its tables takes the place of the one of before, here and in the README

{
    my $folder = tempdir(CLEANUP => 1);
    my @run = map { my $value = $_;
                    Report->new(Fake->new('archive-full',
                        { %{ sample('worker', $value) }, row => 'archive-full' }
                    )) } 77, 88;

    mkdir "$folder/docs";
    Server::put("$folder/docs/benchmark.md", $page);
    Server::put("$folder/README.md", $readme);

    chdir $folder or die "chdir: $!\n";

    for my $one (@run) {
        $one->{about} = { date => '2001-02-03', commit => 'abc', repeats => 5,
                          map { $_ => 1 } qw/ nginx redis openssl ejabberd
                                              prosody system kernel
                                              processors / };
        Publish::part($one, 'archive');
    }

    chdir "$FindBin::Bin/.." or die "chdir: $!\n";

    my ($long, $short) = map { Test::XMPP::Process::slurp("$folder/$_") }
                         qw( docs/benchmark.md README.md );
    my $title = $Scenario::GROUP{archive};
    my $note = qr/^\*\Q$title\E\*: measured by `make bench` on 2001-02-03/m;

    like($long, qr/^\| \Q$title\E \| one worker \|\n\| --- \| --- \|
\| full JID, TLS, us \| 88\.0 \|\n\n$note/m, 'a part: its table, and when');
    like($short, qr/^\| \Q$title\E, full JID, TLS, us \|  \| 88\.0 \|/m,
         'a part: its row in the README');

    for my $text ($long, $short) {
        is(scalar(() = $text =~ /$note/g), 1, 'a part: that is said once');
        unlike($text, qr/77\.0/, 'a part: nothing of the one of before');
    }

    s/^\| \Q$title\E.*?\n\n//ms, s/^\*\Q$title\E\*: .*?\n(?:\n|(?=<))//ms
        for $long, my $before = $page;
    is($long, $before, 'a part: nothing else has changed');

    $samples[0]{row} = 'archive-full';
    ok(!eval { Publish::part(Report->new(Fake->new('archive-full', @samples)),
                             'archive'); 1 }, 'a part that lost messages');
    like($@, qr/^Not published: messages were lost/, 'is not published');
    $samples[0]{row} = 'message-full-tls';
}


###############################################################################
# Words

my ($told) = $page =~ /^## Scenarios\n(.*?)^##/ms;
my %told = map { $_->{name} => 1 }
           map { my $pattern = $_;
                 my @found = eval { Scenario::chosen($pattern) };
                 ok(scalar @found, "the page: there is $pattern");
                 @found } $told =~ /`([a-z][\w-]+\*?)`(?=,| \|)/g;

is_deeply([ sort keys %told ], [ sort map { $_->{name} } @Scenario::ALL ],
          'the page tells each scenario');

for my $server (@Scenario::FLOORS, @Scenario::OURS, @Scenario::PEERS) {
    like($page, qr/`$server`/, "the page tells the server $server");
}

my %figures = medians($page);
my %short = medians($readme);

for my $row (sort keys %short) {
    for my $column (sort keys %{ $short{$row} }) {
        is($figures{$row}{$column} // '', $short{$row}{$column},
           "the README: $row, $column");
    }
}

is(scalar keys %short, keys %figures ? scalar @Publish::rows : 0,
   'the README has the rows that it should');



###############################################################################
# A short run

$Measure::SECONDS = 0.05;

my $out = tempdir(CLEANUP => 1);
my @names = qw/ message-full-tls archive-full rate-tls login-starttls
                storm-tickets /;
my @servers = qw/ floor worker workers hosts /;

$_->{n} = 100 for grep { $_->{options}{rate} } @Scenario::ALL;

my $log = '';
my $run = Run->new(out => $out, scenarios => \@names, servers => \@servers,
                   repeats => 1);

{
    open my $fh, '>', \$log or die "a string: $!\n";
    my $stdout = select $fh;

    $run->measure();
    $run->stop();
    select $stdout;
}

$report = Report->new($run);
$report->write();

is(join("\n", map { "$_->{row} $_->{server}" } $report->wrong()), '',
   'a short run: all arrived once and in order') or diag($log);
is(scalar keys %{ $run->samples() }, @names, 'a short run: all scenarios');
cmp_ok($_->{value}, '>', 0, "a short run: $_->{row}, $_->{server}")
    for @{ $report->{samples} };
like($log, qr/^message-full-tls +worker +\S+ us +1 of 5, +\d+\.\d min$/m,
     'a short run: the progress');
like($log, qr/^archive-full +$_ +[1-9]\S* archived +2 of 5/m,
     "a short run: the archives of $_") for @servers[1 .. 3];
ok(-s "$out/$_", "a short run: $_") for qw/ table.md results.json /;

{
    no warnings 'redefine';
    local *Measure::work = sub { return { worker => Fake->new('') } };
    local *Archive::count = sub { return 199 };

    ok(!eval { Measure::archives(Fake->new(''),
                                 (Scenario::chosen('archive-full'))[0]); 1 },
       'what is not in the archives all');
    is($@, "archive-full, worker: of 100 messages there are 199 in the "
           . "archives, not twice as many.\n", 'has no figure');
}

ok(!eval { run(servers => [ 'nobody' ]) }, 'who is no server');
like($@, qr/^There is no server nobody.*worker/, 'and who is');
ok(!eval { Scenario::chosen('nothing*') }, 'what is no scenario');
like($@, qr/^There is no such scenario: nothing.*login-ec/s, 'and what is');

for my $repeats ('x', '0', '-1', '1.5', '1000') {
    ok(!eval { run(repeats => $repeats) }, "REPEATS=$repeats");
    like($@, qr/^REPEATS=\Q$repeats\E: .*, 1 to 999\.$/, 'and what may be');
}

ok(!eval { run(scenarios => [ 'sessions-2' ], servers => [ 'floor' ]) },
   'a server that takes no part in a scenario');
like($@, qr/^Nothing to measure with SERVERS="floor":
    sessions-2 is measured with SERVERS="worker ejabberd prosody"$/,
     'and who does');

my $part = run(scenarios => [ 'login-*' ], servers => [ qw/ worker floor / ]);

is(join(' ', map { $_->{name} } $part->left()), 'login-ec login-starttls '
   . 'login-rsa', 'the scenarios of a floor that is measured by itself');
is_deeply($part->{notes},
          [ 'login-plain is measured with '
            . "SERVERS=\"workers ejabberd prosody\"\n",
            "worker takes no part in any of these scenarios\n" ],
          'and who has none is told');
is_deeply(run(scenarios => [ 'login-*' ])->{notes}, [],
          'of those who are not named nobody is missing');

my $again = Run->new(out => $out, scenarios => [ @names, 'memory-tls' ],
                     servers => \@servers, repeats => 1);

is(join(' ', map { $_->{name} } $again->left()), 'memory-tls',
   'what is measured is not measured again');
is($again->kept('it'), "5 of 6 scenarios are measured and kept; it goes on "
   . "with memory-tls.\n", 'and that is said');
is(scalar Run->new(out => $out, scenarios => \@names, servers => \@servers,
                   repeats => 2)->left(), @names, 'but more often it is');
is(scalar Run->new(out => $out, scenarios => \@names, servers => \@servers,
                   repeats => 1, keep => 1)->left(), 0,
   'a complete run is kept to be published');
is(scalar Run->new(out => $out, scenarios => \@names, servers => \@servers,
                   repeats => 1)->left(), @names, 'else it begins anew');



###############################################################################
# A run that is ended: while its first server starts

my $tmp = tempdir(CLEANUP => 1);
my %setting = (TMPDIR => $tmp, XMPP_BENCH_OUT => "$tmp/out", REPEATS => 1,
               SERVERS => 'worker', SCENARIOS => 'message-full-*');

for my $case ([ INT => 130 ], [ TERM => 143 ]) {
    my ($signal, $status) = @$case;
    my $bench = bench('first');

    Test::XMPP::Process::await(sub {
        glob "$tmp/xmpp-bench-*/worker/redis.sock" }) or die "no Redis\n";

    my $second = bench('second');

    Test::XMPP::Process::await(sub { !$second->alive() });
    isnt($second->status(), 0, "$signal: no second run beside it");
    like(Test::XMPP::Process::slurp("$tmp/second.log"),
         qr/^Another run is under way in \S+, process @{[ $bench->pid() ]}\.
Ctrl-C there ends it, or: kill @{[ $bench->pid() ]}\n/, 'and why');

    # impatience changes nothing
    Test::XMPP::Process::await(sub {
        $bench->kill($signal);
        return !$bench->alive();
    });

    is($bench->status() >> 8, $status, "$signal: it has ended");
    is(join(' ', glob "$tmp/xmpp-bench-*"), '', 'no folder is left');
    is(join(' ', grep { Test::XMPP::Process::slurp($_) =~ /\Q$tmp/ }
                 glob '/proc/[0-9]*/cmdline'), '', 'nor a process');
    like(Test::XMPP::Process::slurp("$tmp/first.log"),
         qr/^0 of 2 .* kept; make bench goes on with message-full-plain\.$/m,
         'what is kept is said');
}

done_testing();


# bench(name): make bench, with its output in a file of that name

sub bench {
    my ($name) = @_;
    local @ENV{keys %setting} = values %setting;

    unlink "$tmp/$name.log";

    return Test::XMPP::Process->start("$tmp/$name.log", $^X,
                                      't/bench/run.pl');
}


sub run {
    return Run->new(out => tempdir(CLEANUP => 1), scenarios => [],
                    servers => [], repeats => 1, @_);
}


sub sample {
    my ($server, $value) = @_;

    return { row => 'message-full-tls', server => $server, value => $value,
             messages => 1000, map { $_ => 0 } @Load::FAULTS };
}


# row => column => figure, of the tables between the marks

sub medians {
    my ($text) = @_;
    my (%found, $group, @head);

    my ($part) = $text =~ /^<!-- bench -->\n(.*?)^<!-- end -->\n/ms
        or die "no marks\n";

    for my $line (split /\n/, $part) {
        if ($line !~ /^\| /) {
            @head = ();
            next;
        }

        my ($first, @cells) = map { s/^ //r } split / \|/, $line =~ s/^\|//r;

        if (!@head) {
            ($group, @head) = ($first, @cells);
            next;
        }

        next if $first eq '---' || $group eq 'Of all messages';

        my $name = $group eq '' ? $first : "$group, $first";

        @{ $found{$name} }{@head} = map { /\*\*(.+)\*\*/ ? $1 : $_ } @cells;
    }

    return %found;
}


# what a report needs of a run

package Fake;

sub new {
    my ($class, $name, @samples) = @_;

    return bless { out => '/nonexistent', servers => [],
                   samples => { $name => \@samples } }, $class;
}

sub samples { $_[0]{samples} }
sub server  { $_[0] }
sub sent    { 100 }
