package Test::XMPP::Clock;

# A monotonic clock that can be put forward, for what takes nginx hours.
#
#   my $clock = Test::XMPP::Clock->new($t->testdir());
#   my $host = $clock->start(sub { $t->start_host() });
#   $clock->advance(3600);
#
# A library that is loaded before all others adds to the clock what a file
# says.  nginx sees it in its next turn: it has to be told something.

use strict;
use warnings;

my $SOURCE = do { local $/; <DATA> };


sub new {
    my ($class, $dir) = @_;

    my $self = bless { file => "$dir/clock", ahead => 0 }, $class;

    $self->advance(0);

    open my $cc, '|-', 'cc', '-shared', '-fPIC', '-o', "$dir/clock.so",
         '-xc', '-' or die "cc: $!\n";
    print $cc $SOURCE;
    close $cc or die "cc: the clock could not be built\n";

    $self->{library} = "$dir/clock.so";

    return $self;
}


# What the code starts has this clock

sub start {
    my ($self, $code) = @_;

    local $ENV{LD_PRELOAD} = $self->{library};
    local $ENV{XMPP_CLOCK} = $self->{file};

    # the sanitizers' library wants to be the first one
    local $ENV{ASAN_OPTIONS} = join ':', 'verify_asan_link_order=0',
                                         $ENV{ASAN_OPTIONS} // ();

    return $code->();
}


sub advance {
    my ($self, $seconds) = @_;

    $self->{ahead} += $seconds;

    open my $fh, $self->{ahead} ? '+<' : '>', $self->{file}
        or die "$self->{file}: $!\n";
    syswrite $fh, pack 'q', $self->{ahead};
    close $fh;
}


1;

__DATA__

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t  *ahead = MAP_FAILED;

__attribute__((constructor))
static void
start(void)
{
    int  fd = open(getenv("XMPP_CLOCK"), O_RDONLY);

    ahead = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
}

int
clock_gettime(clockid_t id, struct timespec *ts)
{
    int  rc = syscall(SYS_clock_gettime, id, ts);

    if (ahead != MAP_FAILED
        && (id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE))
    {
        ts->tv_sec += *ahead;
    }

    return rc;
}
