package Test::XMPP::Relay;

# A unix socket in front of another one that passes bytes on after a delay,
# or holds them, or cuts the connections: a slow or lost Redis.  One forked
# process with one loop, which takes its orders by a pipe.

use strict;
use warnings;

use IO::Socket::UNIX;
use POSIX ();
use Time::HiRes qw/ time /;


# new($listen_path, $target_path, $delay): the delay, in milliseconds, is
# that of each direction

sub new {
    my ($class, $path, $target, $delay) = @_;

    unlink $path;

    my $listen = IO::Socket::UNIX->new(Local => $path, Listen => 128)
        or die "$path: $!\n";
    chmod 0666, $path;
    pipe my $orders, my $pipe or die "pipe: $!\n";

    my $pid = fork() // die "fork: $!\n";

    if ($pid == 0) {
        close $pipe;

        # what the test holds open must not stay open here
        my %keep = map { fileno($_) => 1 } $listen, $orders;
        POSIX::close($_) for grep { !$keep{$_} } 3 .. 1023;

        $SIG{$_} = 'DEFAULT' for qw/ INT TERM /;
        $SIG{PIPE} = 'IGNORE';
        eval { _serve($listen, $orders, $target, ($delay // 0) / 1000) };
        POSIX::_exit(0);
    }

    close $orders;
    $pipe->autoflush(1);

    return bless { pid => $pid, pipe => $pipe, path => $path, owner => $$ },
                 $class;
}


sub socket { $_[0]{path} }

# From now on, for the bytes that arrive from now on

sub delay { my ($self, $ms) = @_; return $self->_order("delay $ms") }

# Nothing passes until release

sub hold    { $_[0]->_order('hold') }
sub release { $_[0]->_order('release') }

# Closes all connections; new ones are welcome.

sub cut { $_[0]->_order('cut') }

# New connections go to this socket.

sub target { my ($self, $path) = @_; return $self->_order("target $path") }

# From now on drops what has this text in it; nothing: ends that.

sub swallow {
    my ($self, $text) = @_;

    return $self->_order('swallow' . (defined $text ? " $text" : ''));
}

sub _order {
    my ($self, $order) = @_;

    print { $self->{pipe} } "$order\n";

    return $self;
}


sub stop {
    my ($self) = @_;

    my $pid = delete $self->{pid} or return;
    return if $self->{owner} != $$;

    # the relay ends when its pipe does
    close $self->{pipe};
    waitpid $pid, 0;
}


sub DESTROY {
    my ($self) = @_;
    local ($@, $!, $?);

    $self->stop();
}


###############################################################################
# The process

# Each connection is two ends that point to each other: { fh, peer, out },
# out being a list of [ time when it may be written, bytes ].

sub _serve {
    my ($listen, $orders, $target, $delay) = @_;

    my %ends;
    my $held = 0;
    my $swallow;
    my $words = '';

    for ( ;; ) {
        my $now = time();
        my ($r, $w, $next) = ('', '', undef);

        vec($r, fileno($_), 1) = 1 for $listen, $orders;

        for my $fd (keys %ends) {
            my $end = $ends{$fd};
            my $first = $end->{out}[0];

            # a queue of its own bounds what lies here
            vec($r, $fd, 1) = 1 if @{ $end->{peer}{out} } < 1024
                                   && !$end->{eof};
            next if !$first || $held;

            if ($first->[0] <= $now) {
                vec($w, $fd, 1) = 1;

            } elsif (!defined $next || $first->[0] < $next) {
                $next = $first->[0];
            }
        }

        my $wait = defined $next ? $next - $now : undef;
        select($r, $w, undef, defined $wait && $wait < 0 ? 0 : $wait) >= 0
            or next;

        if (vec($r, fileno($orders), 1)) {
            sysread($orders, $words, 4096, length $words) or return;

            while ($words =~ s/^(.*)\n//) {
                my ($order, $value) = split / /, $1;

                $delay = $value / 1000 if $order eq 'delay';
                $held = 1 if $order eq 'hold';
                $held = 0 if $order eq 'release';
                _close(\%ends, keys %ends) if $order eq 'cut';
                $target = $value if $order eq 'target';
                $swallow = $value if $order eq 'swallow';
            }
        }

        _accept($listen, $target, \%ends) if vec($r, fileno($listen), 1);

        for my $fd (keys %ends) {
            my $end = $ends{$fd} or next;

            _read($end, $delay, $swallow) if vec($r, $fd, 1);
            _write($end) if vec($w, $fd, 1);

            if ($end->{dead} || ($end->{eof} && !@{ $end->{peer}{out} })) {
                _close(\%ends, $fd, fileno($end->{peer}{fh}));
            }
        }
    }
}


sub _accept {
    my ($listen, $target, $ends) = @_;

    my $client = $listen->accept() or return;
    my $server = IO::Socket::UNIX->new(Peer => $target) or return;

    $_->blocking(0) for $client, $server;

    my $a = { fh => $client, out => [] };
    my $b = { fh => $server, out => [], peer => $a };
    $a->{peer} = $b;

    $ends->{fileno($client)} = $a;
    $ends->{fileno($server)} = $b;
}


# The ends point to each other, so their sockets must be closed by hand.

sub _close {
    my ($ends, @fds) = @_;

    for my $fd (@fds) {
        my $end = delete $ends->{$fd} or next;

        # perl counts what the test had open at this number, and keeps it so
        close $end->{fh};
        POSIX::close($fd);
        $end->{peer} = undef;
    }
}


sub _read {
    my ($end, $delay, $swallow) = @_;

    my $n = sysread($end->{fh}, my $bytes, 65536);

    if ($n) {
        return if defined $swallow && index($bytes, $swallow) >= 0;
        push @{ $end->{peer}{out} }, [ time() + $delay, $bytes ];

    } elsif (defined $n || !$!{EAGAIN}) {
        $end->{eof} = 1;
    }
}


sub _write {
    my ($end) = @_;

    my $first = $end->{out}[0] or return;
    my $n = syswrite($end->{fh}, $first->[1]);

    if (!defined $n) {
        $end->{dead} = 1 unless $!{EAGAIN};
        return;
    }

    substr($first->[1], 0, $n) = '';
    shift @{ $end->{out} } unless length $first->[1];
}


1;
