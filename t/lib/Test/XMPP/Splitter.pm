package Test::XMPP::Splitter;

# Cuts the bytes of an XMPP stream into its header, its depth-1 elements and
# its end.  It is fed with whatever arrived and keeps its place, so every cut
# gives the same events.  A server may not send comments, processing
# instructions or text between stanzas (RFC 6120, 11.1); each is an error.
#
# Events, in the order of arrival:
#   [ header => raw ]   [ stanza => raw ]   [ end => raw ]   [ error => why ]

use strict;
use warnings;


sub new {
    my ($class) = @_;

    return bless { buf => '', pos => 0, start => 0, depth => 0 }, $class;
}


sub depth { $_[0]{depth} }


# Takes bytes; returns the events they complete.

sub feed {
    my ($self, $bytes) = @_;
    my @events;

    return if $self->{broken};

    $self->{buf} .= $bytes;

    while (my $event = $self->_next()) {
        push @events, $event if ref $event;

        if (ref $event && $event->[0] =~ /^(?:error|end)$/) {
            $self->{broken} = 1;
            last;
        }
    }

    # Drop what has been handed out, but only in large steps: a sub-string
    # per stanza would make a long burst quadratic.

    if ($self->{start} > 65536 || $self->{start} == length $self->{buf}) {
        substr($self->{buf}, 0, $self->{start}) = '';
        $self->{pos} -= $self->{start};
        $self->{start} = 0;
    }

    return @events;
}


# The bytes that belong to no complete event yet.

sub rest {
    my ($self) = @_;

    return substr($self->{buf}, $self->{start});
}


# One step: undef when more bytes are needed, 1 when something was passed
# over, else an event.

sub _next {
    my ($self) = @_;
    my $bufp = \$self->{buf};

    my $lt = index($$bufp, '<', $self->{pos});

    if ($self->{depth} < 2) {
        my $end = $lt < 0 ? length $$bufp : $lt;
        my $text = substr($$bufp, $self->{pos}, $end - $self->{pos});

        if ($text =~ /[^ \t\r\n]/) {
            return [ error => "text between stanzas: '$text'" ];
        }

        $self->{start} = $self->{pos} = $end;
    }

    return if $lt < 0;

    pos($$bufp) = $lt;

    if ($$bufp =~ /\G<\?/gc) {
        if ($self->{depth} > 0 || $self->{declared}) {
            return [ error => 'processing instruction' ];
        }

        return unless $$bufp =~ /\G.*?\?>/gcs;

        $self->{declared} = 1;
        $self->{start} = $self->{pos} = pos($$bufp);
        return 1;
    }

    if ($$bufp =~ /\G<!/gc) {
        return if length($$bufp) - $lt < 9;

        return [ error => 'comment or DTD' ]
            unless $$bufp =~ /\G\[CDATA\[/gc && $self->{depth} > 1;

        return unless $$bufp =~ /\G.*?\]\]>/gcs;

        $self->{pos} = pos($$bufp);
        return 1;
    }

    return unless $$bufp
        =~ m{\G<(/)?((?:[^"'>/]++|"[^"]*+"|'[^']*+'|/(?!>))*+)(/)?>}gc;

    my ($close, $empty) = (defined $1, defined $3);

    $self->{pos} = pos($$bufp);
    $self->{depth}++ unless $close;

    if (!$close && $self->{depth} == 1) {
        return $empty ? [ error => 'empty stream element' ]
                      : $self->_take('header');
    }

    $self->{depth}-- if $close || $empty;

    return $self->_take('stanza')
        if $self->{depth} == 1 && ($close || $empty);

    return $self->_take('end') if $self->{depth} == 0;

    return 1;
}


sub _take {
    my ($self, $kind) = @_;

    my $raw = substr($self->{buf}, $self->{start},
                     $self->{pos} - $self->{start});
    $self->{start} = $self->{pos};

    return [ $kind => $raw ];
}


1;
