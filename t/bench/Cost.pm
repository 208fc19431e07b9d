package Cost;

# What a server costs: the CPU time that all of its processes have used, and
# the memory that they share with nobody else.
#
# CPU time is read from the clock that the kernel keeps for each process, that
# of clock_getcpuclockid(3): user and system time of all threads, of those that
# have ended, too, in nanoseconds.  /proc/PID/stat has the same, cut to 10 ms.

use strict;
use warnings;

use Time::HiRes ();

use Test::XMPP::Process;

*slurp = \&Test::XMPP::Process::slurp;


# family(@pids): these processes and all that descend from them

sub family {
    my @all = @_;

    for (my $i = 0; $i < @all; $i++) {
        push @all, split ' ', slurp($_)
            for glob "/proc/$all[$i]/task/*/children";
    }

    return @all;
}


# cpu(@pids): seconds, of them alone

sub cpu {
    my $sum = 0;

    for my $pid (@_) {
        # CPUCLOCK_SCHED of a process: the bits of its number turned over
        my $clock = do { use integer; (~($pid + 0) << 3) | 2 };
        my $seconds = Time::HiRes::clock_gettime($clock);

        die "no CPU clock of process $pid\n"
            if !defined $seconds || $seconds < 0;

        $sum += $seconds;
    }

    return $sum;
}


# pss(@pids): bytes, what is shared divided by those who share it.  What the
# kernel keeps for their sockets is not in it.

sub pss {
    my $sum = 0;

    for my $pid (@_) {
        slurp("/proc/$pid/smaps_rollup") =~ /^Pss:\s+(\d+) kB/m
            or die "no memory of process $pid\n";
        $sum += 1024 * $1;
    }

    return $sum;
}


# settled(@pids): the same when it has not fallen for a second: a server gives
# back what it does not need when it likes to.  Ten seconds at most.

sub settled {
    my @pids = @_;
    my ($low, $start) = (pss(@pids), Time::HiRes::time());
    my $since = $start;

    for ( ;; ) {
        my $now = Time::HiRes::time();

        return $low if $now - $since > 1 || $now - $start > 10;

        select undef, undef, undef, 0.1;
        my $pss = pss(@pids);
        ($low, $since) = ($pss, $now) if $pss < $low * 0.999;
    }
}


1;
