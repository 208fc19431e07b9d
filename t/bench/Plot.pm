package Plot;

# One group of rows as a plot: medians as points, with the least and the
# greatest as a line through each, on a logarithmic scale, drawn by gnuplot as
# SVG.  No bars: what such a scale has no zero for has no length.

use strict;
use warnings;

# as paint on white; those of ours alike
my %color = (
    floor    => '#bdbdbd',
    proxy    => '#757575',
    worker   => '#1b7837',
    workers  => '#5aae61',
    hosts    => '#a6dba0',
    ejabberd => '#e08214',
    prosody  => '#4575b4',
);


# draw(file, title, unit, servers: [ [ name, title ] ], rows)

sub draw {
    my ($file, $title, $unit, $servers, $rows, $terminal) = @_;
    my (@data, @labels);

    for my $row (@$rows) {

        # a word to a line, where there are many; it is a format
        my $label = $row->{title} =~ s/, /\\n/gr =~ s/%/%%/gr;

        push @labels, "\"$label\" " . @data;
        push @data, join ' ', map {
            my $it = $row->{servers}{ $_->[0] };
            $it ? @$it{qw/ median min max /} : ('?') x 3;
        } @$servers;
    }

    my @plots;

    for my $i (0 .. $#$servers) {
        my ($name, $title) = @{ $servers->[$i] };
        my $x = sprintf '($0 + %.3f)', 0.8 * ($i + 0.5) / @$servers - 0.4;

        push @plots, "\$data using $x:" . join(':', map { 3 * $i + $_ } 1 .. 3)
                     . " with yerrorbars title '$title' pointtype 7"
                     . " pointsize 0.9 linewidth 1.5 linecolor rgb"
                     . " '$color{$name}'";
    }

    # between the rows
    my @between = map {
        my $x = $_ - 0.5;

        "set arrow from $x, graph 0 to $x, graph 1 nohead back linetype 1"
        . " linecolor rgb '#dddddd'"
    } 1 .. $#$rows;

    my $width = 160 + @$rows * (40 + 18 * @$servers);
    $width = 480 if $width < 480;
    $terminal //= 'svg';

    open my $gnuplot, '|-', 'gnuplot' or die "gnuplot: $!\n";
    print $gnuplot join "\n", "set terminal $terminal size $width,400 "
                              . "noenhanced font 'sans-serif,12' "
                              . "background 'white'",
        "set output '$file'",
        "set title '$title, $unit: less is better (logarithmic)'",
        'set datafile missing "?"',
        'set logscale y',
        'set grid ytics linecolor rgb "#dddddd"',
        'set xtics nomirror scale 0 (' . join(', ', @labels) . ')',
        "set xrange [-0.5:@{[ @$rows - 0.5 ]}]",
        @between,
        'set ytics nomirror',
        'set border 3',
        'set bmargin 5',
        'set key outside top center horizontal',
        '$data << EOD', @data, 'EOD',
        'plot ' . join(', ', @plots), '';
    close $gnuplot or die "gnuplot failed\n";
}


1;
