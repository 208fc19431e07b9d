package Test::XMPP::Peer;

# What the scripts in t/peers share: a temporary folder with certificates,
# free ports, the accounts, and the running of a command against the server.

use strict;
use warnings;

use File::Path qw/ rmtree /;
use File::Temp qw/ tempdir /;
use POSIX ();

use Test::XMPP::Accounts;
use Test::XMPP::CA;
use Test::XMPP::Process;
use Test::XMPP::SASL;


sub new {
    my ($class, $name) = @_;

    my $dir = tempdir("xmpp-$name-XXXXXXXX", TMPDIR => 1);
    my $ca = Test::XMPP::CA->new($dir);

    $ca->issue($Test::XMPP::Accounts::DOMAIN, qw/ 127.0.0.1 ::1 /);
    $ca->issue($Test::XMPP::Accounts::DOMAIN2);

    return bless {
        name     => $name,
        dir      => $dir,
        ca       => $ca,
        port     => Test::XMPP::Process::free_port(),
        tls_port => Test::XMPP::Process::free_port(),
    }, $class;
}


# domain => { user => password, characters }

sub accounts {
    my %accounts;

    $accounts{$_->[1]}{$_->[0]} = $_->[2] for @Test::XMPP::Accounts::ACCOUNTS;

    return %accounts;
}


sub saslprep { Test::XMPP::SASL::saslprep($_[1]) }


sub write {
    my ($self, $name, $content) = @_;

    utf8::encode($content) if utf8::is_utf8($content);

    open my $fh, '>:raw', "$self->{dir}/$name"
        or die "$self->{dir}/$name: $!\n";
    print $fh $content;
    close $fh or die "$self->{dir}/$name: $!\n";
}


# Starts the server, calls $ready when it listens, runs the command of @ARGV
# and returns its exit status.  The folder of a failed start is shown.

sub run_with {
    my ($self, $command, $ready, $env) = @_;

    die "usage: $0 command [argument ...]\n" unless @ARGV;

    $SIG{INT} = $SIG{TERM} = sub { exit 130 };

    local @ENV{keys %{ $env // {} }} = values %{ $env // {} };
    my $process = Test::XMPP::Process->start("$self->{dir}/output.log",
                                             @$command);

    my $status = eval {
        Test::XMPP::Process::await_port($self->{$_}, $process)
            or die "$self->{name} does not listen\n"
                for qw/ port tls_port /;
        $ready->() if $ready;

        local $ENV{XMPP_TARGET} = "127.0.0.1:$self->{port},$self->{tls_port}";
        local $ENV{XMPP_TARGET_PEER} = $self->{name};
        local $ENV{XMPP_TARGET_CA} = $self->{ca}->file();

        system { $ARGV[0] } @ARGV;
        $? & 127 ? 128 + ($? & 127) : $? >> 8;
    };

    if (my $error = $@) {
        print STDERR $error, map { Test::XMPP::Process::slurp($_) }
                             glob "$self->{dir}/*.log";
        $status = 1;
    }

    print STDERR map { Test::XMPP::Process::slurp($_) }
                 glob "$self->{dir}/*.log" if $ENV{XMPP_CATLOG};

    $process->stop();

    return $status;
}


sub DESTROY {
    my ($self) = @_;
    local ($@, $!, $?);

    $ENV{XMPP_LEAVE} ? print STDERR "left $self->{dir}\n"
                     : rmtree($self->{dir});
}


1;
