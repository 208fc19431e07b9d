package Run;

# A run of the benchmark: which scenarios, who takes part, what was measured
# already, how far it is.
#
# The samples of a scenario are in parts/NAME.json as soon as it is done, with
# a stamp of what was measured.  A run that was interrupted goes on behind the
# last of them while the stamp is the same; one that was complete begins anew.

use strict;
use warnings;

use Digest::SHA;
use Fcntl qw/ :flock /;
use File::Find;
use File::Path qw/ make_path /;
use JSON::PP;
use Time::HiRes qw/ time /;

use About;
use Load;
use Measure;
use Scenario;
use Server;
use Test::XMPP::Process;

# kind of each server, and options
my %servers = (
    floor    => [ 'floor' ],
    proxy    => [ 'floor', proxy => 1 ],
    worker   => [ 'nginx', workers => 1 ],
    workers  => [ 'nginx', workers => 2 ],
    hosts    => [ 'nginx', workers => 1, hosts => 2 ],
    ejabberd => [ 'ejabberd' ],
    prosody  => [ 'prosody' ],
);

# what a figure depends on; not the pages that it is published in
my @measured = qw( config Makefile .make ngx_xmpp_module redis t/bench
                   t/traffic t/lib );

my $json = JSON::PP->new->utf8->canonical->pretty;


# lock(folder): a file that has to stay open.  Two runs at once would distort
# each other, and write the same files.

sub lock {
    my ($out) = @_;

    make_path($out);
    open my $fh, '+>>', "$out/lock" or die "$out/lock: $!\n";

    if (!flock $fh, LOCK_EX | LOCK_NB) {
        my ($pid) = Test::XMPP::Process::slurp("$out/lock") =~ /(\d+)/;

        die "Another run is under way in $out, process ", $pid // 'unknown',
            ".\nCtrl-C there ends it",
            $pid ? ", or: kill $pid\n" : "\n";
    }

    truncate $fh, 0;
    syswrite $fh, "$$\n";

    return $fh;
}


# new(out => folder, scenarios => [ names ], servers => [ ], repeats => n,
# keep => a complete run, too): no names are all of them

sub new {
    my ($class, %self) = @_;

    my $self = bless \%self, $class;

    die "REPEATS=$self->{repeats}: that is how often each figure is measured, "
        . "1 to 999.\n" unless $self->{repeats} =~ /^[1-9]\d{0,2}$/;

    my $named = @{ $self->{servers} };
    $self->{servers} = [ @Scenario::COLUMNS ] unless $named;

    for my $name (@{ $self->{servers} }) {
        die "There is no server $name.  They are: @{[ sort keys %servers ]}\n"
            unless $servers{$name};
    }

    make_path("$self->{out}/parts");

    $self->{stamp} = $self->stamp();
    $self->choose($named);
    $self->{samples} = $self->read_parts();

    my @left = $self->left();

    if (!@left && !$self->{keep}) {
        unlink map { $self->part($_) } @{ $self->{scenarios} };
        $self->{samples} = $self->read_parts();
    }

    return $self;
}


# choose(named): the scenarios in which somebody takes part; what is asked for
# and not to be had is said

sub choose {
    my ($self, $named) = @_;
    my (@chosen, @notes, %used);

    for my $scenario (Scenario::chosen(@{ $self->{scenarios} })) {
        my @who = ($self->servers_of($scenario),
                   $self->floor_of($scenario) ? 'floor' : ());

        if (@who) {
            push @chosen, $scenario;
            @used{@who} = ();
            next;
        }

        push @notes, "$scenario->{name} is measured with SERVERS=\""
                     . join(' ', Scenario::servers($scenario)) . "\"\n";
    }

    push @notes, map { "$_ takes no part in any of these scenarios\n" }
                 grep { !exists $used{$_} } @{ $self->{servers} }
        if $named && @chosen;

    die "Nothing to measure with SERVERS=\"@{ $self->{servers} }\":\n",
        map { "    $_" } @notes unless @chosen;

    $self->{scenarios} = \@chosen;
    $self->{notes} = \@notes;
}


sub repeats { $_[0]{repeats} }
sub samples { $_[0]{samples} }
sub part    { "$_[0]{out}/parts/$_[1]{name}.json" }


# the contents of what is measured and of what measures, how often, and who

sub stamp {
    my ($self) = @_;

    my $sha = Digest::SHA->new(256);
    my @files;

    find({ no_chdir => 1, wanted => sub { push @files, $_ if -f } },
         grep { -e } @measured);

    for my $file (sort @files) {
        $sha->add("$file\n");
        $sha->addfile($file);
    }

    $sha->add(join "\n", $self->{repeats}, sort @{ $self->{servers} });

    return $sha->hexdigest();
}


sub read_parts {
    my ($self) = @_;
    my %samples;

    for my $scenario (@Scenario::ALL) {
        my $text = Test::XMPP::Process::slurp($self->part($scenario));
        my $part = eval { $json->decode($text) } or next;

        next if $part->{stamp} ne $self->{stamp};

        $samples{ $scenario->{name} } = $part->{samples};
        $self->{about} = $part->{about};
    }

    return \%samples;
}


# the scenarios that have to be measured yet

sub left {
    my ($self) = @_;

    return grep { !$self->{samples}{ $_->{name} } } @{ $self->{scenarios} };
}


sub measure {
    my ($self) = @_;
    my @left = $self->left();

    print @{ $self->{notes} };

    return unless @left;

    print $self->kept('this run') if @left < @{ $self->{scenarios} };

    $self->{folder} = Server::folder();
    $self->{floor} = Server::floor($self->{folder});
    $self->{about} = { %{ About::about() }, repeats => $self->{repeats} };
    $self->{start} = time();
    $self->{of} = @left;

    for my $scenario (@left) {
        my $name = $scenario->{name};
        my $way = Measure->can($scenario->{way});

        $self->{new} = [];
        $self->{at}++;

        $way->($self, $scenario);

        Server::put($self->part($scenario),
            $json->encode({ stamp => $self->{stamp}, about => $self->{about},
                            samples => $self->{new} }));
        $self->{samples}{$name} = $self->{new};
    }
}


# What is measured, and who goes on

sub kept {
    my ($self, $who) = @_;

    my ($next) = $self->left() or return '';
    my $all = @{ $self->{scenarios} };
    my $kept = $all - $self->left();

    return "$kept of $all scenarios are measured and kept; "
           . "$who goes on with $next->{name}.\n";
}


# server(name [, scenario]): started when it is first asked for

sub server {
    my ($self, $name, $scenario) = @_;

    my $key = key($name, $scenario);

    return $self->{running}{$key} if $self->{running}{$key};

    my ($kind, @opt) = @{ $servers{$name} // die "no server $name\n" };

    # stop() has to know it while it starts
    my $server = $self->{running}{$key}
        = Server->new($kind, $self->{folder}, name => $key,
                      floor => $self->{floor}, @opt,
                      %{ $scenario->{with} // {} });
    my $start = time();

    $server->start();
    $self->same_tls($server, $_) for qw/ tls rsa /;
    $self->say(sprintf '%-44s started, %.1f s', $key, time() - $start);

    return $server;
}


# those of the others are not those of a scenario that has its own

sub key {
    my ($name, $scenario) = @_;

    return $scenario && $scenario->{with} ? "$name-$scenario->{name}" : $name;
}


# leave(scenario): those that are its own end

sub leave {
    my ($self, $scenario) = @_;

    for my $key (map { key($_, $scenario) } $self->servers_of($scenario)) {
        my $server = delete $self->{running}{$key} or next;

        $server->end();
    }
}


# What the clients agree on with one server has to be what they do with all

sub same_tls {
    my ($self, $server, $kind) = @_;

    return if $server->isa('Server::Floor');

    my $tls = $server->tls($kind);
    my $first = $self->{tls}{$kind} //= $tls;

    die $server->name(), ": TLS is '$tls', elsewhere '$first'\n"
        if $tls ne $first || $tls !~ /^TLSv1\.3 /;
}


# restart(name): the same, as if it had done nothing yet

sub restart {
    my ($self, $name) = @_;

    my $server = $self->{running}{$name} or return $self->server($name);

    $server->stop();
    $server->start();

    return $server;
}


# The names of those that take part

sub servers_of {
    my ($self, $scenario) = @_;

    my %may = map { $_ => 1 } @{ $self->{servers} };

    return grep { $may{$_} } @{ $scenario->{floors} // [] },
                             Scenario::others($scenario);
}


# Is there a floor to be measured by itself?

sub floor_of {
    my ($self, $scenario) = @_;

    return $scenario->{floor} && grep { $_ eq 'floor' } @{ $self->{servers} };
}


sub floor {
    my ($self, $scenario) = @_;

    return $self->floor_of($scenario) ? $self->{floor} : undef;
}


# record(scenario, row, server, value [, sample]): one figure, shown at once

sub record {
    my ($self, $scenario, $row, $server, $value, $sample) = @_;

    $sample //= {};

    my ($spec) = grep { $_->[0] eq $row } @{ $scenario->{rows} };

    push @{ $self->{new} }, { %$sample, row => $row, server => $server,
                              value => $value };

    my $wrong = join ', ', map { "$sample->{$_} $_" }
                grep { $sample->{$_} } @Load::FAULTS;

    $self->say(sprintf '%-30s %-9s %9s %-3s%s', $row, $server,
               Server::figure($value), $spec->[3], $wrong ? "  $wrong" : '');
}


# a line, with how far it is

sub say {
    my ($self, $line) = @_;

    printf "%-56s %2d of %d, %5.1f min\n", $line, $self->{at}, $self->{of},
           (time() - $self->{start}) / 60;
}


# all that was started ends, whatever one of them says to that

sub stop {
    my ($self) = @_;
    my @wrong;

    for my $server (values %{ delete $self->{running} // {} }) {
        eval { $server->end(); 1 } or push @wrong, $@;
    }

    Server::remove($self->{folder}) if $self->{folder};
    delete $self->{folder};

    die @wrong if @wrong;
}


1;
