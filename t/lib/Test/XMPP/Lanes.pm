package Test::XMPP::Lanes;

# A socket in front of Redis, a unix socket or with the path "tcp" a port, that
# tells the two connections of a worker apart and is slow, deaf or gone on one
# of them only: what rings and what is answered are then out of step by as much
# as a test likes.
#
#   my $lanes = Test::XMPP::Lanes->new($path, $redis->socket());
#   $lanes->delay('subscriber', 200);      milliseconds, each way
#   $lanes->hold('command'); ... $lanes->release('command');
#   $lanes->mute('command');               holds what Redis says
#   $lanes->turn('command');               but not what it has said until now
#   $lanes->cut('subscriber');             with all that is held
#   $lanes->strand('command');             holds what is there, not what comes
#   $lanes->release('stranded');           to whoever has not reset it
#
# A connection is a subscriber from its first SSUBSCRIBE on and a command
# connection from its first FUNCTION; before that it has no lane, and nothing
# of this applies to it.  An order is in force when its method returns.

use strict;
use warnings;

use IO::Handle;
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use Socket qw/ AF_UNIX SOCK_STREAM PF_UNSPEC /;
use Time::HiRes qw/ time /;

use Test::XMPP::Process;


sub new {
    my ($class, $path, $target) = @_;

    my $listen = $path eq 'tcp' ? _listen_tcp() : _listen_unix($path);

    socketpair my $mine, my $its, AF_UNIX, SOCK_STREAM, PF_UNSPEC
        or die "socketpair: $!\n";

    my $pid = fork() // die "fork: $!\n";

    if ($pid == 0) {
        my %keep = map { fileno($_) => 1 } $listen, $its;
        POSIX::close($_) for grep { !$keep{$_} } 3 .. 1023;

        $SIG{$_} = 'DEFAULT' for qw/ INT TERM /;
        $SIG{PIPE} = 'IGNORE';
        eval { _serve($listen, $its, $target) };
        POSIX::_exit(0);
    }

    close $its;
    $mine->autoflush(1);

    my $port = $path eq 'tcp' ? $listen->sockport() : undef;

    close $listen;

    return bless { pid => $pid, orders => $mine, owner => $$,
                   port => $port }, $class;
}


sub _listen_tcp {
    return IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 128)
           // die "a port: $!\n";
}


sub _listen_unix {
    my ($path) = @_;

    unlink $path;

    my $listen = IO::Socket::UNIX->new(Local => $path, Listen => 128)
        or die "$path: $!\n";
    chmod 0666, $path;

    return $listen;
}


sub port { $_[0]{port} }



sub delay   { my ($self, $lane, $ms) = @_; $self->_order('delay', $lane, $ms) }
sub hold    { $_[0]->_order('hold', $_[1]) }
sub mute    { $_[0]->_order('mute', $_[1]) }
sub release { $_[0]->_order('release', $_[1]) }
sub cut     { $_[0]->_order('cut', $_[1]) }
sub strand  { $_[0]->_order('strand', $_[1]) }

# Lets through what lies there, and waits for the first of it: Redis may have
# run what this end has not read the answer of

sub turn {
    my ($self, $lane) = @_;

    Test::XMPP::Process::await(sub { $self->held($lane) })
        or die "nothing lies there\n";

    return $self->_order('turn', $lane);
}


# How many bytes lie there

sub held    { $_[0]->_order('held', $_[1]) }


sub _order {
    my ($self, @words) = @_;

    print { $self->{orders} } "@words\n";
    my $answer = readline $self->{orders};

    defined $answer or die "the lanes have ended\n";

    return 0 + $answer;
}


sub stop {
    my ($self) = @_;

    my $pid = delete $self->{pid} or return;
    return if $self->{owner} != $$;

    # the process ends when its orders do
    close $self->{orders};
    waitpid $pid, 0;
}


sub DESTROY {
    my ($self) = @_;
    local ($@, $!, $?);

    $self->stop();
}


###############################################################################
# The process

# A connection is two ends that point to each other.  Each has in out what is
# to be written to it: [ time when it may, bytes ].  The lane is a hash that
# all ends of the lane share: { delay, held, muted }.

sub _serve {
    my ($listen, $orders, $target) = @_;

    my %lane = (command => {}, subscriber => {}, none => {},
                stranded => {});
    my %ends;
    my $words = '';

    for ( ;; ) {
        my ($r, $w, $wait) = _wanted(\%ends, $listen, $orders);

        select($r, $w, undef, $wait) >= 0 or next;

        if (vec($r, fileno($orders), 1)) {
            sysread($orders, $words, 4096, length $words) or return;
            _obey($orders, $1, \%lane, \%ends) while $words =~ s/^(.*)\n//;
        }

        _accept($listen, $target, \%ends, $lane{none})
            if vec($r, fileno($listen), 1);

        for my $fd (keys %ends) {
            my $end = $ends{$fd} or next;

            _read($end, \%lane) if vec($r, $fd, 1);
            _write($end) if vec($w, $fd, 1);

            if ($end->{dead} || ($end->{eof} && !@{ $end->{peer}{out} })) {
                _close(\%ends, $end);
            }
        }
    }
}


# What select shall wait for

sub _wanted {
    my ($ends, $listen, $orders) = @_;
    my ($r, $w, $wait) = ('', '', undef);
    my $now = time();

    vec($r, fileno($_), 1) = 1 for $listen, $orders;

    while (my ($fd, $end) = each %$ends) {
        vec($r, $fd, 1) = 1 unless $end->{eof};

        my $first = $end->{out}[0];
        next if !$first || $end->{lane}{held}
                || $end->{lane}{muted} && $end->{worker};

        my $left = $first->[0] - $now;

        if ($left <= 0) {
            vec($w, $fd, 1) = 1;

        } elsif (!defined $wait || $left < $wait) {
            $wait = $left;
        }
    }

    return ($r, $w, $wait);
}


sub _obey {
    my ($orders, $line, $lane, $ends) = @_;

    my ($order, $name, $value) = split / /, $line;
    my $one = $lane->{$name};
    my @ends = grep { $_->{lane} == $one } values %$ends;
    my $answer = @ends / 2;

    $one->{delay} = $value / 1000 if $order eq 'delay';
    $one->{held} = 1 if $order eq 'hold';
    $one->{muted} = 1 if $order eq 'mute';
    $one->{held} = $one->{muted} = 0 if $order eq 'release';

    if ($order eq 'cut') {
        _close($ends, $_) for @ends;

    } elsif ($order eq 'strand') {
        $lane->{stranded}{held} = 1;
        $_->{lane} = $lane->{stranded} for @ends;

    } elsif ($order eq 'turn') {
        for my $end (grep { $_->{worker} } @ends) {
            while (@{ $end->{out} } && !$end->{dead}) {
                my $w = '';

                vec($w, $end->{fd}, 1) = 1;
                select(undef, $w, undef, undef);
                _write($end);
            }
        }

    } elsif ($order eq 'held') {
        $answer = 0;
        $answer += length $_->[1] for map { @{ $_->{out} } } @ends;
    }

    syswrite $orders, "$answer\n";
}


sub _accept {
    my ($listen, $target, $ends, $lane) = @_;

    my $client = $listen->accept() or return;
    my $server = IO::Socket::UNIX->new(Peer => $target) or return;

    my ($a, $b) = map { $_->blocking(0);
                        { fh => $_, fd => fileno($_), out => [],
                          lane => $lane } } $client, $server;

    $a->{worker} = 1;
    $a->{tcp} = $client->isa('IO::Socket::INET');
    ($a->{peer}, $b->{peer}) = ($b, $a);
    $ends->{$_->{fd}} = $_ for $a, $b;
}


# The ends point to each other, so their sockets must be closed by hand; and
# close alone does not, if the test had a file of that number when it forked.

sub _close {
    my ($ends, $end) = @_;

    my $peer = $end->{peer} or return;

    for my $one ($end, $peer) {
        delete $ends->{$one->{fd}};
        shutdown $one->{fh}, 2;
        close $one->{fh};
        $one->{peer} = undef;
    }
}


sub _read {
    my ($end, $lane) = @_;

    my $n = sysread($end->{fh}, my $bytes, 65536);

    if (!$n) {
        # TCP does not repeat what a reset connection has not delivered

        $end->{dead} = 1 if !defined $n && $!{ECONNRESET} && $end->{tcp};
        $end->{eof} = 1 if defined $n || !$!{EAGAIN};
        return;
    }

    if ($end->{lane} == $lane->{none}) {
        my $name = $bytes =~ /\r\nSSUBSCRIBE\r\n/ ? 'subscriber'
                   : $bytes =~ /\r\nFUNCTION\r\n/ ? 'command' : 'none';

        $_->{lane} = $lane->{$name} for $end, $end->{peer};
    }

    push @{ $end->{peer}{out} },
        [ time() + ($end->{lane}{delay} // 0), $bytes ];
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
