package Test::XMPP::Relay;

# A socket in front of another one that passes bytes on after a delay, or
# holds them, or cuts the connections: a slow or lost Redis, or a bad network
# between a client and a host.  One forked process with one loop, which takes
# its orders by a socket.

use strict;
use warnings;

use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use Socket qw/ AF_UNIX PF_UNSPEC SOCK_STREAM SOL_SOCKET SO_LINGER /;
use Time::HiRes qw/ time /;


# new($listen, $target, $delay): paths of unix sockets, or address:port.  The
# delay, in milliseconds, is that of each direction.

sub new {
    my ($class, $path, $target, $delay) = @_;

    my $listen = _listen($path) or die "$path: $!\n";
    socketpair my $orders, my $pipe, AF_UNIX, SOCK_STREAM, PF_UNSPEC
        or die "socketpair: $!\n";

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

# Nothing passes until release, or nothing of what the target sends

sub hold    { $_[0]->_order('hold all') }
sub deafen  { $_[0]->_order('hold back') }
sub release { $_[0]->_order('hold') }

# How many bytes of clients are held, or wait for their time, now

sub held {
    my ($self) = @_;

    $self->_order('held');

    my $answer = readline $self->{pipe};

    return $answer + 0;
}

# Closes all connections, or resets them; new ones are welcome.

sub cut   { $_[0]->_order('cut') }
sub reset { $_[0]->_order('reset') }

# Closes the side of the clients alone: the target notices nothing.

sub strand { $_[0]->_order('strand') }

# New connections go to this socket.

sub target { my ($self, $to) = @_; return $self->_order("target $to") }

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

# Each connection is two ends that point to each other: { fh, peer, out, way },
# out being a list of [ time when it may be written, bytes ], way "back" for
# what goes to a client.

sub _serve {
    my ($listen, $orders, $target, $delay) = @_;

    my %ends;
    my $held = '';
    my (@nowhere, $swallow);
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
            next if !$first || $held eq 'all' || $held eq $end->{way};

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
                $held = $value // '' if $order eq 'hold';
                syswrite $orders, _waiting(values %ends) . "\n"
                    if $order eq 'held';
                _linger(map { $_->{fh} } values %ends) if $order eq 'reset';
                _close(\%ends, keys %ends) if $order =~ /^(?:cut|reset)$/;
                push @nowhere, _strand(values %ends) if $order eq 'strand';
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


sub _listen {
    my ($address) = @_;

    return IO::Socket::INET->new(LocalAddr => $address, Listen => 128,
                                 ReuseAddr => 1) if $address !~ m{/};

    unlink $address;

    my $listen = IO::Socket::UNIX->new(Local => $address, Listen => 128)
        or return;
    chmod 0666, $address;

    return $listen;
}


sub _waiting {
    my $n = 0;

    for my $end (grep { $_->{way} eq 'forth' } @_) {
        $n += length $_->[1] for @{ $end->{out} };
    }

    return $n;
}


sub _accept {
    my ($listen, $target, $ends) = @_;

    my $client = $listen->accept() or return;
    my $server = $target =~ m{/} ? IO::Socket::UNIX->new(Peer => $target)
                                 : IO::Socket::INET->new($target);
    return if !$server;

    $_->blocking(0) for $client, $server;

    my $a = { fh => $client, out => [], way => 'back' };
    my $b = { fh => $server, out => [], way => 'forth', peer => $a };
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


sub _linger {
    setsockopt $_, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0 for @_;
}


# Clients become sockets that nobody reads: the other ends of them

sub _strand {
    my @nowhere;

    for my $end (grep { $_->{way} eq 'back' } @_) {
        socketpair my $here, my $there, AF_UNIX, SOCK_STREAM, PF_UNSPEC
            or die "socketpair: $!\n";
        $here->blocking(0);
        POSIX::dup2(fileno $here, fileno $end->{fh});
        push @nowhere, $there;
    }

    return @nowhere;
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
