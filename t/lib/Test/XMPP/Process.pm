package Test::XMPP::Process;

# What every server that a test starts has in common: it is started in the
# foreground with its output in a file, dies with the test, and is ended by
# its pid.  Also the free ports.

use strict;
use warnings;

use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw/ time /;


our $DEADLINE = 30;

my ($setpriv) = grep { -x } qw( /usr/bin/setpriv /bin/setpriv );


# start($log, @command): returns an object with the pid

sub start {
    my ($class, $log, @command) = @_;

    # the child gets SIGTERM when the test is killed
    unshift @command, $setpriv, '--pdeathsig', 'TERM', '--' if $setpriv;

    my $pid = fork() // die "fork: $!\n";

    if ($pid == 0) {
        POSIX::setsid();
        $SIG{$_} = 'DEFAULT' for qw/ INT TERM PIPE /;
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', $log;
        open STDERR, '>&', \*STDOUT;
        exec { $command[0] } @command or POSIX::_exit(127);
    }

    return bless { pid => $pid, owner => $$, log => $log }, $class;
}


sub pid { $_[0]{pid} }

sub kill {
    my ($self, $signal) = @_;

    return $self->{pid} ? CORE::kill($signal, $self->{pid}) : 0;
}


# True while the process runs; afterwards its wait status is in status().

sub alive {
    my ($self) = @_;

    return 0 unless $self->{pid};
    return 1 if waitpid($self->{pid}, POSIX::WNOHANG()) == 0;

    $self->{status} = $?;
    $self->{pid} = undef;

    return 0;
}


sub status { $_[0]{status} }


# Sends the signal and waits for the end; SIGKILL when that takes too long,
# which is then a failure: false.

sub stop {
    my ($self, $signal) = @_;

    return 1 if !$self->{pid} || $self->{owner} != $$;

    $self->kill('CONT');
    $self->kill($signal // 'TERM');

    return 1 if await(sub { !$self->alive() }, $DEADLINE);

    $self->kill('KILL');
    await(sub { !$self->alive() }, $DEADLINE);

    return 0;
}


sub DESTROY {
    my ($self) = @_;
    local ($@, $!, $?);

    $self->stop() if $self->{owner} == $$;
}


###############################################################################
# Functions

# Polls until the condition holds: only for what gives no event to a
# stranger, the end of a process or a line in a log.

sub await {
    my ($cond, $timeout) = @_;

    my $deadline = time() + ($timeout // $DEADLINE);

    for ( ;; ) {
        my $value = $cond->();
        return $value if $value;
        return if time() > $deadline;
        select undef, undef, undef, 0.01;
    }
}


# A free TCP port of 127.0.0.1 below the ephemeral ones.  A UDP socket of the
# same number keeps it for this test until the test ends.

my @held;

sub free_port {
    for (1 .. 1000) {
        my $port = 10000 + int rand 20000;

        my $lock = IO::Socket::INET->new(Proto => 'udp',
                       LocalAddr => '127.0.0.1', LocalPort => $port) or next;
        my $tcp = IO::Socket::INET->new(Proto => 'tcp', Listen => 1,
                       LocalAddr => '127.0.0.1', LocalPort => $port) or next;

        push @held, $lock;

        return $port;
    }

    die "no free port\n";
}


# Waits until somebody accepts at the port; false when the process ended.

sub await_port {
    my ($port, $process) = @_;

    return await(sub {
        die "$process->{log}: the server did not start\n"
            if $process && !$process->alive();
        return IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                     PeerPort => $port, Proto => 'tcp');
    });
}


# Private_Dirty of processes, together, in bytes: what they alone occupy

sub private_dirty {
    my $sum = 0;

    for my $pid (@_) {
        slurp("/proc/$pid/smaps_rollup") =~ /^Private_Dirty:\s+(\d+)/m
            or die "no Private_Dirty of $pid\n";
        $sum += 1024 * $1;
    }

    return $sum;
}


# The same when it has not fallen for a second: nothing tells from outside
# that a worker has put all to rest.

sub settled {
    my ($pid) = @_;

    my $low = private_dirty($pid);
    my $since = time();

    while (time() - $since < 1) {
        select undef, undef, undef, 0.1;
        my $now = private_dirty($pid);
        ($low, $since) = ($now, time()) if $now < $low;
    }

    return $low;
}


sub slurp {
    my ($file) = @_;

    open my $fh, '<:raw', $file or return '';
    local $/;

    return scalar <$fh>;
}


1;
