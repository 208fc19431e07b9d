#!/usr/bin/perl

# The traffic generator itself: what it counts is what was done to its
# stanzas by a server that makes mistakes on purpose.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/traffic";

use File::Temp qw/ tempdir /;
use Test::More;

use Fake;
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
counted('doubled', { double => 67 }, { doubled => sub { $_[0]{double} } }, 1);
counted('doubled late', { echo => 71 }, { doubled => sub { $_[0]{echo} } }, 1);
counted('reordered', { swap => 73 }, { reordered => sub { $_[0]{swap} } }, 1,
        messages => 4000);
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

done_testing();
