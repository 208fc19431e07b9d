package Server::Floor;

# What no server can do without, as if it were one: a bare relay of the bytes,
# or, with proxy => 1, nginx's own proxy in front of it (Floor.pm).

use strict;
use warnings;

our @ISA = 'Server';


sub start {
    my ($self) = @_;
    my $how = $self->{proxy} ? 'proxy' : 'relay';

    $self->{it} = $self->{floor}->$how();
}


sub stop {
    my ($self) = @_;
    my $it = delete $self->{it} or return;

    $it->stop();
}


sub pids { @{ $_[0]{it}{pids} } }


sub targets {
    my ($self, $kind) = @_;

    my ($tls, $port) = @{ $Server::KINDS{$kind} };

    return (targets  => [ '127.0.0.1:' . $self->{it}{$port} ],
            tls      => $tls,
            ca       => $self->{floor}->ca(),
            accounts => $self->{floor}->accounts(1000),
            %{ $self->{it}{traffic} });
}


1;
