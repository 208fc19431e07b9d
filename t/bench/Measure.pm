package Measure;

# The ways to measure: each takes the run and a scenario, and records samples.
# All servers take part in each round, one after the other and in another
# order each time, so that what the machine does meanwhile hits all alike.

use strict;
use warnings;

use List::Util qw/ max /;

use Archive;
use Load;

# a measurement takes about so long, but for what has to be long
our $SECONDS = 1;


# work(run, scenario, options of the generator, first, sub): after so much work
# that warms up and tells how much of it takes so long.  The sub is called with
# each server's name and sample.

sub work {
    my ($run, $scenario, $options, $first, $record) = @_;
    my (%load, %n);

    # a floor that is measured by itself may be all
    my @names = $run->servers_of($scenario) or return;

    for my $name (@names) {
        my $load = $load{$name} = Load->new($run->server($name, $scenario),
                                            $scenario->{kind}, %$options);
        my $sample = $load->work($first);

        $n{$name} = $scenario->{n} and next;

        # the very first is slow
        $sample = $load->work(enough($sample, $SECONDS / 3));
        $n{$name} = enough($sample, $SECONDS);
    }

    for my $round (1 .. $run->repeats()) {
        push @names, shift @names;

        $record->($_, $load{$_}->work($n{$_})) for @names;
    }

    $_->finish() for values %load;

    return \%load;
}


# enough(sample, seconds): how many more take about so long; in two digits

sub enough {
    my ($sample, $seconds) = @_;

    my $n = $sample->{n} / $sample->{seconds} * $seconds;
    my $digit = 10 ** max(0, length(int $n) - 2);

    return max(20, int($n / $digit) * $digit);
}


# traffic: the CPU time of a message, and with a rate how long it took

sub traffic {
    my ($run, $scenario) = @_;

    my ($cpu, @latencies) = map { $_->[0] } @{ $scenario->{rows} };
    my $first = $scenario->{first} // $scenario->{options}{rate} // 2000;

    work($run, $scenario, $scenario->{options}, $first, sub {
        my ($name, $sample) = @_;

        $run->record($scenario, $cpu, $name,
                     $sample->{cpu} / $sample->{n} * 1e6, $sample);

        for my $row (@latencies) {
            my ($key) = $row =~ /-(\w+)$/;

            $run->record($scenario, $row, $name, $sample->{$key} / 1000);
        }
    });
}


# archives: the same with servers that archive, from empty archives on.  They
# have to have each message twice: for who sent it and for who got it.

sub archives {
    my ($run, $scenario) = @_;

    my $row = $scenario->{rows}[0][0];
    my $clients = $scenario->{options}{clients};

    my $load = work($run, $scenario, $scenario->{options}, 1000, sub {
        my ($name, $sample) = @_;

        $run->record($scenario, $row, $name,
                     $sample->{cpu} / $sample->{n} * 1e6, $sample);
    });

    for my $name (sort keys %$load) {
        my $sent = $load->{$name}->sent();
        my $kept = Archive::count($run->server($name, $scenario), $clients);

        die "$scenario->{name}, $name: of $sent messages there are $kept in "
            . "the archives, not twice as many.\n" if $kept != 2 * $sent;

        $run->say(sprintf '%-30s %-9s %9s archived', $row, $name,
                  Server::commas($kept));
    }

    $run->leave($scenario);
}


# logins: the CPU time of one, from the connection to its end.  The floor is
# the handshake of TLS and the server's part of SCRAM; without TLS there is
# none, since arithmetic alone makes no connection.

sub logins {
    my ($run, $scenario) = @_;

    my ($row) = map { $_->[0] } @{ $scenario->{rows} };
    my $floor = $run->floor($scenario);

    work($run, $scenario, { relogin => 1, clients => 200, logins => 8 }, 200,
         sub {
        my ($name, $sample) = @_;

        $run->record($scenario, $row, $name,
                     $sample->{cpu} / $sample->{n} * 1e3, $sample);
    });

    return unless $floor;

    for (1 .. $run->repeats()) {
        my $us = $floor->scram()
                 + $floor->handshake(n => 1000, %{ $scenario->{handshake} });

        $run->record($scenario, $row, 'floor', $us / 1000);
    }
}


# storms: the connections of all are cut at once, and all come back at once

sub storms {
    my ($run, $scenario) = @_;

    my ($cpu, $time, $share) = map { $_->[0] } @{ $scenario->{rows} };
    my $clients = $scenario->{options}{clients};

    work($run, $scenario, { %{ $scenario->{options} }, storm => 1 }, 1, sub {
        my ($name, $sample) = @_;

        $run->record($scenario, $cpu, $name, $sample->{cpu} / $clients * 1e3,
                     $sample);
        $run->record($scenario, $time, $name, $sample->{storm_ms});
        $run->record($scenario, $share, $name,
                     100 * $sample->{resumed} / $clients) if $share;
    });
}


# memory: what so many idle sessions add to a server that was just started.
# Those of the first steps stay.

sub memory {
    my ($run, $scenario) = @_;

    my $kind = $scenario->{kind};
    my @steps = @{ $scenario->{steps} };
    my @rows = map { $_->[0] } @{ $scenario->{rows} };
    my $floor = $run->floor($scenario);

    for my $name ($run->servers_of($scenario)) {
        my $server = $run->restart($name);
        my $first = 64;

        # the first sessions make what is made once
        my @loads = Load->new($server, $kind, clients => $first);
        $loads[0]->work(10 * $first);

        my $before = $server->settled();

        for my $i (0 .. $#steps) {
            my $more = $steps[$i] - ($first - 64);

            push @loads, Load->new($server, $kind, range => [ $first, $more ],
                                   clients => $more, logins => 8);
            $loads[-1]->login();
            $first += $more;

            my $memory = $server->settled() - $before;

            $run->record($scenario, $rows[$i], $name,
                         $memory / $steps[$i] / 1024, { memory => $memory });
        }

        $_->finish() for @loads;
    }

    return unless $floor;

    for my $i (0 .. $#steps) {
        $run->record($scenario, $rows[$i], 'floor',
                     $floor->idle(tls => $kind ne 'plain', n => $steps[$i])
                     / 1024);
    }
}


1;
