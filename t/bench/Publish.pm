package Publish;

# A run in the documentation: between the marks <!-- bench --> and <!-- end -->
# the whole table in docs/benchmark.md and a short one in the README, and the
# plot that both show.  t/05-docs.t compares the two.
#
# Of a run that is not complete those of its tables that are take the place of
# the ones of before, each with a sentence that tells when it was measured.

use strict;
use warnings;

use About;
use Load;
use Report;
use Scenario;
use Server;
use Test::XMPP::Process;

my $plot = 'docs/benchmark.svg';

# columns and rows of the short table
my @columns = qw/ floor worker workers hosts ejabberd prosody /;
our @rows = qw/ message-full-tls message-bare-tls message-one-full-tls
                archive-full rate-tls-p99 login-ec memory-plain-10000
                memory-tls-10000 /;


# groups(run): those of which all is measured, or will be, by all; and what is
# missing for the others

sub groups {
    my ($run) = @_;

    my %has = map { $_ => 1 } @{ $run->{servers} }, keys %{ $run->samples() },
                              map { $_->{name} } @{ $run->{scenarios} };
    my @missing = grep { !$has{$_} } (map { $_->{name} } @Scenario::ALL),
                                     @Scenario::COLUMNS;
    my %part = map { $_ => 1 } map { $_->[1] } map { @{ $_->{rows} } }
               grep { !$has{ $_->{name} } } @Scenario::ALL;

    return ([ grep { !$part{$_} } @Scenario::GROUPS ], \@missing)
        unless grep { !$has{$_} } @Scenario::COLUMNS;

    return ([], \@missing);
}


# check(run): dies unless there will be a whole table

sub check {
    my ($run) = @_;
    my ($groups, $missing) = groups($run);

    die "Not published: a run without @$missing has no table that is whole.\n"
        unless @$groups;
}


# publish(report)

sub publish {
    my ($report) = @_;
    my $run = $report->{run};

    check($run);

    my ($groups, $missing) = groups($run);
    my %new = map { $_ => 1 } @$groups;

    Server::put($plot, Test::XMPP::Process::slurp("$run->{out}/message.svg"))
        if $new{message};

    if (@$missing) {
        part($report, @$groups);

    } else {
        my $about = About::sentence($report->{about});

        between('docs/benchmark.md', sub {
            return "$about\n![A message](benchmark.svg)\n\n"
                   . $report->table() });
        between('README.md', sub {
            return short($report) . "\n![A message]($plot)\n\n$about" });
    }

    print "published in docs/benchmark.md and README.md: @$groups\n";
}


# part(report, groups): the last table of the page is that of a complete run,
# so there must not be anything to tell in it

sub part {
    my ($report, @groups) = @_;

    die "Not published: messages were lost, doubled, reordered or changed.\n"
        if grep { my $sample = $_; grep { $sample->{$_} } @Load::FAULTS }
           @{ $report->{samples} };

    my %note = map { $_ => About::sentence($report->{about},
                                           $Scenario::GROUP{$_}) } @groups;

    between('docs/benchmark.md', sub {
        my ($head, $tables, $rest) = paragraphs($_[0]);

        $tables->{$_} = [ $report->table_of($_), $note{$_} ] for @groups;

        return join "\n", @$head,
               (map { @{ $tables->{$_} // [] } } @Scenario::GROUPS), @$rest;
    });

    my %shown = map { $_->[1] => 1 } short_rows();

    between('README.md', sub {
        my ($short, @after) = map { "$_\n" } split /\n\n/, $_[0] =~ s/\n\z//r;

        for my $group (grep { $shown{$_} } @groups) {
            @after = ((grep { !/^\*\Q$Scenario::GROUP{$group}\E\*/ } @after),
                      $note{$group});
        }

        return join "\n", short($report, $short, @groups), @after;
    });
}


# paragraphs(text): what is before the tables; by group, its table and what is
# told of it; what is behind them

sub paragraphs {
    my ($text) = @_;

    my %group = reverse %Scenario::GROUP;
    my (@head, %tables, @rest);
    my $at = \@head;

    for my $paragraph (map { "$_\n" } split /\n\n/, $text =~ s/\n\z//r) {
        if (my ($title) = $paragraph =~ /^\| (.+?) \|/) {
            $at = $group{$title} ? $tables{ $group{$title} } = [] : \@rest;
        }

        push @$at, $paragraph;
    }

    return (\@head, \%tables, \@rest);
}


# between(file, sub): what is between the marks is what that makes of it

sub between {
    my ($file, $make) = @_;

    my $content = Test::XMPP::Process::slurp($file);

    $content =~ s/^<!-- bench -->\n\K(.*?)(?=^<!-- end -->\n)/$make->($1)/mse
        or die "$file has no place for it\n";

    Server::put($file, $content);
}


# those of the scenarios that are in the short table

sub short_rows {
    my %row = map { $_->[0] => $_ } map { @{ $_->{rows} } } @Scenario::ALL;

    return @row{@rows};
}


# short(report [, before, groups]): the medians of some rows; with groups, those
# of the others as they were before

sub short {
    my ($report, $before, @groups) = @_;

    my %new = map { $_ => 1 } $before ? @groups : @Scenario::GROUPS;
    my %old = map { /^\| (.+?) \|/ ? ($1 => "$_\n") : () }
              split /\n/, $before // '';
    my @text = (Report::line('', map { $Scenario::TITLE{$_} } @columns),
                Report::line(('---') x (1 + @columns)));

    for my $spec (short_rows()) {
        my ($name, $group, $title, $unit) = @$spec;
        my $first = "$Scenario::GROUP{$group}, $title, $unit";

        if (!$new{$group}) {
            push @text, $old{$first} // ();
            next;
        }

        my ($row) = grep { $_->{name} eq $name } @{ $report->{rows} };

        push @text, Report::line($first,
            map { my $it = $row->{servers}{$_};
                  $it ? Server::figure($it->{median}) : '' } @columns);
    }

    return join '', @text;
}


1;
