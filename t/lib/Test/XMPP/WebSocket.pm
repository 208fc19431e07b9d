package Test::XMPP::WebSocket;

# The same client over WebSocket: RFC 6455, RFC 7395.  $t->client($user,
# websocket => 1) makes one, for %%PORT_2%%; all that a client does by hand
# works over frames, too.  The manual is at the end.

use strict;
use warnings;

use Digest::SHA qw/ sha1 /;
use MIME::Base64 qw/ encode_base64 decode_base64 /;

use parent 'Test::XMPP::Client';

use Test::XMPP::Stanza;


our %NS = (%Test::XMPP::Stanza::NS,
           framing => 'urn:ietf:params:xml:ns:xmpp-framing');

my %OPCODE = (continuation => 0, text => 1, binary => 2, close => 8,
              ping => 9, pong => 10);


sub new {
    my ($class, %self) = @_;

    return $class->SUPER::new(
        tls    => 'direct',
        path   => '/xmpp-websocket',
        alpn   => 'http/1.1',
        fields => {},
        %self,
    );
}


###############################################################################
# The handshake

# Opens the connection, and asks for WebSocket; dies when it is refused.

sub connect {
    my ($self) = @_;

    my $status = $self->handshake();

    die $self->who() . ": no WebSocket: $status\n" if $status != 101;

    return $self;
}


# The status that the server answers; what it has said is in {answer}.

sub handshake {
    my ($self, %opt) = @_;

    $self->{upgraded} = 0;
    $self->{in} = '';
    delete @$self{qw/ answer close_code close_reason closed message /};

    $self->SUPER::connect();
    $self->send_bytes($self->request(%opt));
    $self->wait(sub { defined $self->{answer} });

    my ($status) = ($self->{answer} // '') =~ m{^HTTP/1\.[01] (\d{3})};

    return 0 unless $status;

    if ($status == 101) {
        my $accept = encode_base64(sha1("$self->{key}258EAFA5-E914-47DA-95CA-"
                                        . 'C5AB0DC85B11'), '');

        die $self->who() . ": another Sec-WebSocket-Accept\n"
            unless $self->field('Sec-WebSocket-Accept') eq $accept;
        die $self->who() . ": no subprotocol\n"
            unless ($self->field('Sec-WebSocket-Protocol') // '') eq 'xmpp';
        die $self->who() . ": an extension was not asked for\n"
            if defined $self->field('Sec-WebSocket-Extensions');
    }

    return $status;
}


# The request; fields => { Name => value }, undef leaves one out, a list makes
# several; method, version, behind (bytes after it).

sub request {
    my ($self, %opt) = @_;

    $self->{key} = encode_base64(join('', map { chr int rand 256 } 1 .. 16),
                                 '');

    my %field = (
        'Host'                   => $self->{domain},
        'Upgrade'                => 'websocket',
        'Connection'             => 'Upgrade',
        'Sec-WebSocket-Key'      => $self->{key},
        'Sec-WebSocket-Version'  => '13',
        'Sec-WebSocket-Protocol' => 'xmpp',
        %{ $self->{fields} },
        %{ $opt{fields} // {} },
    );

    my $request = ($opt{method} // 'GET') . " $self->{path} HTTP/"
                  . ($opt{version} // '1.1') . "\r\n";

    for my $name (sort keys %field) {
        my @values = ref $field{$name} ? @{ $field{$name} } : $field{$name};

        $request .= "$name: $_\r\n" for grep { defined } @values;
    }

    return "$request\r\n" . ($opt{behind} // '');
}


# a field of the answer

sub field {
    my ($self, $name) = @_;

    return $self->{answer} =~ /^\Q$name\E: (.*?)\r$/mi ? $1 : undef;
}


###############################################################################
# Frames

# The bytes of a frame.  fin, rsv (0 to 7), mask (four bytes, '' for none),
# length (the field, 126 and 127 with an extended one in the payload).

sub frame {
    my ($self, $kind, $payload, %opt) = @_;

    utf8::encode($payload) if utf8::is_utf8($payload);

    my $mask = $opt{mask} // join '', map { chr int rand 256 } 1 .. 4;
    my $len = length $payload;

    my $bytes = chr(($opt{fin} // 1) << 7 | ($opt{rsv} // 0) << 4
                    | ($OPCODE{$kind} // $kind));
    my $bit = length $mask ? 128 : 0;

    $bytes .= defined $opt{length} ? $opt{length}
              : $len < 126 ? chr($bit | $len)
              : $len < 65536 ? chr($bit | 126) . pack 'n', $len
              : chr($bit | 127) . pack 'Q>', $len;

    return $bytes . $payload unless length $mask;

    my $pad = substr $mask x (1 + $len / 4), 0, $len;

    return $bytes . $mask . ($payload ^ $pad);
}


# bytes as they are

sub send_bytes {
    my ($self, $bytes) = @_;

    return $self->SUPER::send($bytes);
}


sub queue_bytes {
    my ($self, $bytes) = @_;

    return $self->SUPER::queue($bytes);
}


sub send_frame {
    my ($self, @frame) = @_;

    return $self->send_bytes($self->frame(@frame));
}


# One message for each call; {fragment} has it cut into frames of so many
# bytes.  A stanza that declares no namespace gets that of clients.

sub send {
    my ($self, $data) = @_;

    return $self->send_bytes($self->_frames($data));
}


sub queue {
    my ($self, $data) = @_;

    return $self->SUPER::queue($self->_frames($data));
}


sub _frames {
    my ($self, $data) = @_;

    utf8::encode($data) if utf8::is_utf8($data);

    $data =~ s/^(<(?:message|presence|iq))\b(?![^>]*\sxmlns=)
              /$1 xmlns='$NS{c}'/x;

    my $n = $self->{fragment} or return $self->frame(text => $data);
    my @pieces = length $data ? unpack "(a$n)*", $data : '';
    my $kind = 'text';
    my $bytes = '';

    while (@pieces) {
        my $piece = shift @pieces;

        $bytes .= $self->frame($kind => $piece, fin => @pieces ? 0 : 1);
        $kind = 'continuation';
    }

    return $bytes;
}


# What arrives: the answer to the handshake, then frames.

sub _take {
    my ($self, $bytes) = @_;

    $self->{in} .= $bytes;

    if (!$self->{upgraded}) {
        return unless $self->{in} =~ s/^(.*?\r\n\r\n)//s;

        $self->{answer} = $1;
        $self->{upgraded} = 1;
    }

    return if $self->{answer} !~ m{^HTTP/1\.1 101 };

    while ($self->{in} =~ /^(.)(.)/s) {
        my ($first, $len, $at) = (ord $1, ord $2, 2);

        # RFC 6455, 5.1: a server does not mask

        die $self->who() . ": the server sent a mask\n" if $len & 128;
        die $self->who() . ": the server sent reserved bits\n"
            if $first & 0x70;

        if ($len >= 126) {
            my ($n, $how) = $len == 126 ? (2, 'n') : (8, 'Q>');

            return if length $self->{in} < 2 + $n;

            $len = unpack $how, substr $self->{in}, 2, $n;
            $at += $n;
        }

        return if length $self->{in} < $at + $len;

        my $payload = substr $self->{in}, $at, $len;

        $self->{in} = substr $self->{in}, $at + $len;
        $self->_frame($first & 0x0f, $first >> 7, $payload);
    }
}


sub _frame {
    my ($self, $opcode, $fin, $payload) = @_;

    if ($opcode == $OPCODE{close}) {
        @$self{qw/ close_code close_reason /}
            = length $payload >= 2 ? unpack 'n a*', $payload : (1005, '');
        return;
    }

    if ($opcode == $OPCODE{ping}) {
        $self->{pings}++;
        $self->{out} .= $self->frame(pong => $payload)
            unless $self->{mute};
        return;
    }

    if ($opcode == $OPCODE{pong}) {
        push @{ $self->{events} }, [ pong => $payload ];
        return;
    }

    $self->{message} = ($self->{message} // '') . $payload;

    $self->_message(delete $self->{message}) if $fin;
}


# RFC 7395, 3.3.3: nothing is in scope but what the message declares

sub _message {
    my ($self, $raw) = @_;

    if ($self->{raw}) {
        push @{ $self->{events} }, [ raw => $raw ];
        return;
    }

    my $stanza = Test::XMPP::Stanza->new($raw, '<alone>');

    if ($raw =~ /^<open\s/) {
        $self->{header} = $raw;
        push @{ $self->{events} }, [ header => $stanza ];

    } elsif ($raw =~ /^<close\s/) {
        $self->{closed} = $stanza;
        push @{ $self->{events} }, [ end => $raw ];

    } else {
        $self->{stanzas} = 0 if $raw =~ /^<enabled/;
        $self->{stanzas}++ if $raw =~ /^<(?:message|presence|iq)\b/;

        push @{ $self->{events} }, [ stanza => $stanza ];
    }
}


###############################################################################
# Negotiation

# <open/> with these attributes changed; undef leaves one out

sub header {
    my ($self, %opt) = @_;

    my %attr = (to => $self->{domain}, version => '1.0',
                xmlns => $NS{framing}, %opt);

    return Test::XMPP::Client::stanza('open', \%attr);
}


# RFC 7395, 3.6

sub close {
    my ($self) = @_;

    return unless $self->{sock};

    $self->send("<close xmlns='$NS{framing}'/>");

    while (my $event = $self->next_event()) {
        last if $event->[0] eq 'end' || $event->[0] eq 'eof';
    }

    $self->send_frame(close => pack 'n', 1000);
    $self->drop();
}


# The next thing must be the Pong with this payload.

sub expect_pong {
    my ($self, $payload) = @_;

    my $event = $self->next_event();

    return 1 if $event && $event->[0] eq 'pong' && $event->[1] eq $payload;
    return $self->_wrong('expected a Pong, got '
                         . Test::XMPP::Client::describe($event));
}


# The end, and a stream error before it; other stanzas may come before them.

sub pick_end {
    my ($self) = @_;

    return $self->wait(sub { defined $self->{eof} })
           && defined $self->{closed};
}


sub pick_error {
    my ($self, $condition) = @_;

    my $error = $self->pick(name => 'error', ns => $NS{stream}) or return;

    return $self->pick_end() && $error->error() eq $condition;
}


# The end without <close/>: a Close frame of this code, then that of the
# connection

sub expect_break {
    my ($self, $code) = @_;

    return unless $self->expect_eof();
    return 1 if ($self->{close_code} // 0) == $code;
    return $self->_wrong("expected Close $code, got "
                         . ($self->{close_code} // 'none'));
}


1;

__END__

=head1 NAME

Test::XMPP::WebSocket - Test::XMPP::Client over WebSocket

=head1 SYNOPSIS

    my $alice = $t->client('alice', websocket => 1)->login();

    my $c = $t->client('alice', websocket => 1);
    is($c->handshake(fields => { Origin => 'https://evil.test' }), 403);

    $c->connect();
    $c->send_frame(binary => 'x');
    ok($c->expect_stream_error('bad-format'));
    is($c->{close_code}, 1003);

=head1 OPTIONS OF new

Those of Test::XMPP::Client, and path, fields (of each handshake), fragment
(bytes of a frame), mute (no Pongs). tls is direct (wss) or none (ws).

=head1 FRAMES

frame($kind, $payload, %options) gives the bytes; send_frame sends them,
send_bytes what it is given, send($xml) one message. What the server has closed
the connection with is in {close_code}; its Pings are counted in {pings}.

=cut
