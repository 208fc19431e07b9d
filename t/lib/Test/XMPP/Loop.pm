package Test::XMPP::Loop;

# One select loop over many clients, for traffic tests: it writes what they
# have queued, reads what arrives and calls back per stanza.
#
#   my $loop = Test::XMPP::Loop->new(@clients);
#   $loop->on_stanza(sub { my ($client, $stanza) = @_; ... });
#   $loop->on_close(sub { my ($client, $how) = @_; ... });
#   $loop->run(sub { $received == $sent }, 60) or fail(...);
#
# A callback may queue more, add or remove clients.  Without on_stanza the
# stanzas stay in the queues of the clients.

use strict;
use warnings;

use Time::HiRes qw/ time /;


sub new {
    my ($class, @clients) = @_;

    my $self = bless { clients => {} }, $class;
    $self->add(@clients);

    return $self;
}


sub add {
    my ($self, @clients) = @_;

    $self->{clients}{$_->fileno()} = $_ for grep { $_->{sock} } @clients;

    return $self;
}


sub remove {
    my ($self, @clients) = @_;

    for my $client (@clients) {
        delete $self->{clients}{$_}
            for grep { $self->{clients}{$_} == $client }
                keys %{ $self->{clients} };
    }

    return $self;
}


sub clients { values %{ $_[0]{clients} } }

sub on_stanza { $_[0]{on_stanza} = $_[1]; $_[0] }
sub on_close  { $_[0]{on_close} = $_[1]; $_[0] }
sub on_turn   { $_[0]{on_turn} = $_[1]; $_[0] }


# Runs until the condition holds (true) or the time in seconds is over, or
# no client is left (false).

sub run {
    my ($self, $cond, $timeout) = @_;

    my $deadline = time() + ($timeout // 60);

    # TLS may hold bytes that no select shows: look at all of them once

    $self->_read($_) for $self->clients();

    for ( ;; ) {
        $self->{on_turn}->() if $self->{on_turn};
        return 1 if $cond->();
        return 0 if time() > $deadline || !%{ $self->{clients} };

        my ($r, $w) = ('', '');

        while (my ($fd, $client) = each %{ $self->{clients} }) {
            $client->flush() if $client->wants_write();
            vec($r, $fd, 1) = 1 unless $client->{deaf};
            vec($w, $fd, 1) = 1 if $client->wants_write();
        }

        # with on_turn the caller may be waiting for the clock

        select($r, $w, undef, $self->{on_turn} ? 0.05 : 1) > 0 or next;

        for my $fd (keys %{ $self->{clients} }) {
            my $client = $self->{clients}{$fd} or next;
            $client->flush() if vec($w, $fd, 1);
            $self->_read($client) if vec($r, $fd, 1);
        }
    }
}


sub _read {
    my ($self, $client) = @_;

    $client->fill();

    if (my $call = $self->{on_stanza}) {
        my @events = splice @{ $client->{events} };

        for my $event (@events) {
            if ($event->[0] eq 'stanza') {
                $call->($client, $event->[1]);

            } else {
                push @{ $client->{events} }, $event;
            }
        }
    }

    if (defined $client->{eof}) {
        $self->remove($client);
        $self->{on_close}->($client, $client->{eof}) if $self->{on_close};
    }
}


1;
