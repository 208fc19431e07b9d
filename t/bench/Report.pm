package Report;

# The samples of a run as a table, as a file for programs, and as plots.
#
#   results.json    all samples, and what they were measured with
#   table.md        least, median and greatest of each row, and ratios
#   *.svg           plots, by gnuplot (Plot.pm)

use strict;
use warnings;

use JSON::PP;
use List::Util qw/ max min sum /;
use POSIX ();

use Load;
use Plot;
use Scenario;
use Server;

my @columns = @Scenario::COLUMNS;

# what must not happen to a message: rows of the last table
my @faults = @Load::FAULTS;


sub new {
    my ($class, $run) = @_;

    my $self = bless { run => $run, out => $run->{out},
                       about => $run->{about}, rows => [], samples => [] },
                     $class;

    for my $scenario (@Scenario::ALL) {
        my $samples = $run->samples()->{ $scenario->{name} } or next;

        push @{ $self->{samples} }, @$samples;
        push @{ $self->{rows} }, map { $self->row($samples, @$_) }
                                     @{ $scenario->{rows} };
    }

    return $self;
}


# row(samples, name, group, title, unit): least, median, greatest by server;
# floors of several kinds are a column each in none but theirs

sub row {
    my ($self, $samples, $name, $group, $title, $unit) = @_;
    my (%values, %row);

    push @{ $values{ $_->{server} } }, $_->{value}
        for grep { $_->{row} eq $name } @$samples;

    for my $server (keys %values) {
        my @sorted = sort { $a <=> $b } @{ $values{$server} };

        $row{$server} = { min => $sorted[0], max => $sorted[-1],
                          median => median(@sorted) };
    }

    return { name => $name, group => $group, title => $title, unit => $unit,
             servers => \%row };
}


sub median {
    my @sorted = @_;
    my $n = @sorted;

    return $n % 2 ? $sorted[$n / 2]
                  : ($sorted[$n / 2 - 1] + $sorted[$n / 2]) / 2;
}


sub cell {
    my ($it) = @_;

    return '' unless $it;
    return Server::figure($it->{median}) if $it->{min} == $it->{max};

    return sprintf '%s / **%s** / %s',
           map { Server::figure($it->{$_}) } qw/ min median max /;
}


# How many times less than the better peer, and how many times the floor, for
# each of ours that is in the row

sub ratios {
    my ($row) = @_;

    my $servers = $row->{servers};
    my @peers = medians($servers, @Scenario::PEERS);
    my @ours = medians($servers, @Scenario::OURS);
    my $floor = $servers->{floor};

    return ('', '') if $row->{unit} eq '%' || grep { $_ <= 0 } @ours;

    return (@peers ? join(' / ', map { Server::figure(min(@peers) / $_) }
                                     @ours) : '',
            $floor ? join(' / ', map { Server::figure($_ / $floor->{median}) }
                                     @ours) : '');
}


sub medians {
    my ($servers, @names) = @_;

    return map { $servers->{$_}{median} } grep { $servers->{$_} } @names;
}


sub table {
    my ($self) = @_;

    return join '', (map { $_ eq '' ? '' : "$_\n" }
                     map { $self->table_of($_) } @Scenario::GROUPS),
                    $self->faults();
}


# table_of(group): empty when nothing of it was measured

sub table_of {
    my ($self, $group) = @_;

    my @rows = grep { $_->{group} eq $group } @{ $self->{rows} } or return '';

    my @used = used(@rows);
    my @ratios = map { [ ratios($_) ] } @rows;

    # a column without a figure says nothing
    my @kinds = grep { my $kind = $_; grep { $_->[$kind] ne '' } @ratios }
                0, 1;
    my @head = ($Scenario::GROUP{$group},
                (map { $Scenario::TITLE{$_} } @used),
                ('better peer / ours', 'ours / floor')[@kinds]);
    my $text = line(@head) . line(('---') x @head);

    for my $row (@rows) {
        $text .= line("$row->{title}, $row->{unit}",
                      (map { cell($row->{servers}{$_}) } @used),
                      @{ shift @ratios }[@kinds]);
    }

    return $text;
}


# the servers that have a figure in one of these rows

sub used {
    my @rows = @_;

    return grep { my $server = $_;
                  grep { $_->{servers}{$server} } @rows } @columns;
}


sub line { return '| ' . join(' | ', @_) . " |\n" }


# What went wrong, of all messages of the run

sub faults {
    my ($self) = @_;
    my %sum;

    for my $sample (grep { defined $_->{lost} } @{ $self->{samples} }) {
        $sum{ $sample->{server} }{$_} += $sample->{$_} // 0
            for 'messages', @faults;
    }

    my @used = grep { $sum{$_} } @columns or return '';

    return join '', line('Of all messages', map { $Scenario::TITLE{$_} } @used),
           line(('---') x (1 + @used)),
           map { my $fault = $_;
                 line($fault eq 'messages' ? 'sent' : $fault,
                      map { Server::commas($sum{$_}{$fault}) } @used)
           } 'messages', @faults;
}


# of ours alone

sub wrong {
    my ($self) = @_;
    my %ours = map { $_ => 1 } @Scenario::OURS;

    return grep { my $sample = $_;
                  $ours{ $sample->{server} }
                  && grep { $sample->{$_} } @faults } @{ $self->{samples} };
}


sub text { return "\n" . $_[0]->table() . "\nbuild/bench/table.md\n" }


sub write {
    my ($self) = @_;

    Server::put("$self->{out}/results.json",
                JSON::PP->new->utf8->canonical->pretty->encode(
                    { map { $_ => $self->{$_} } qw/ about rows samples / }));
    Server::put("$self->{out}/table.md", $self->table());
}


sub plot {
    my ($self) = @_;

    for my $group (@Scenario::GROUPS) {
        my @rows = grep { $_->{group} eq $group && $_->{unit} ne '%' }
                   @{ $self->{rows} } or next;

        my $unit = $rows[0]{unit} =~ s/^us$/us of CPU/r;

        Plot::draw("$self->{out}/$group.svg", $Scenario::GROUP{$group}, $unit,
                   [ map { [ $_, $Scenario::TITLE{$_} ] } used(@rows) ],
                   \@rows);
    }
}


1;
