package Test::XMPP::Connection;

# The socket under Test::XMPP::Client: TCP, TLS, writing in pieces, reading
# into a queue of events.  It never blocks; wait() runs a loop of its own with
# a deadline and takes in whatever arrives meanwhile.

use strict;
use warnings;

use Errno qw/ EAGAIN EINTR EWOULDBLOCK /;
use IO::Socket::INET;
use IO::Socket::IP;
use IO::Socket::SSL;
use Socket qw/ IPPROTO_TCP TCP_NODELAY /;
use Time::HiRes qw/ time /;

use Test::XMPP::Splitter;
use Test::XMPP::Stanza;


our $TIMEOUT = $ENV{XMPP_TIMEOUT} || 20;

my $serial = 0;

$SIG{PIPE} = 'IGNORE';


sub new {
    my ($class, %self) = @_;

    my $self = bless {
        host     => '127.0.0.1',
        domain   => 'localhost',
        tls      => 'starttls',
        serial   => ++$serial,
        ids      => 0,
        %self,
    }, $class;

    $self->_reset_stream();
    $self->{out} = '';

    return $self;
}


sub _reset_stream {
    my ($self) = @_;

    $self->{splitter} = Test::XMPP::Splitter->new();
    $self->{events} = [];
    $self->{header} = undef;
}


###############################################################################
# The connection.  new() may say: local (the address to come from), preface
# (what goes before all, TLS included: the PROXY protocol's header).

sub connect {
    my ($self) = @_;

    my $class = $self->{host} =~ /:/ ? 'IO::Socket::IP' : 'IO::Socket::INET';

    $self->{sock} = $class->new(
        PeerAddr => $self->{host},
        PeerPort => $self->{port},
        Proto    => 'tcp',
        $self->{local} ? (LocalAddr => $self->{local}) : (),
        Timeout  => $TIMEOUT,
    ) or die "connect to $self->{host}:$self->{port}: $!\n";

    if ($self->{rcvbuf}) {
        setsockopt($self->{sock}, Socket::SOL_SOCKET(), Socket::SO_RCVBUF(),
                   $self->{rcvbuf});
    }

    $self->{sock}->blocking(0);
    setsockopt($self->{sock}, IPPROTO_TCP, TCP_NODELAY, 1);
    $self->{eof} = undef;
    $self->{secure} = 0;
    $self->_reset_stream();

    syswrite $self->{sock}, $self->{preface} if defined $self->{preface};

    $self->start_tls() if $self->{tls} eq 'direct';

    return $self;
}


# The handshake alone; dies when it fails (try_tls returns the error).
# new() or the call may say: sni, alpn, tls_version, verify, ciphers,
# certificate (path without .pem and .key), tls_sessions (a cache to take a
# session from, whoever it was with, and to put one into).

sub start_tls {
    my ($self, %opt) = @_;

    my $error = $self->try_tls(%opt);
    die "TLS: $error\n" if $error;

    return $self;
}


sub try_tls {
    my ($self, %opt) = @_;

    %opt = (%$self, %opt);

    my $sni = exists $opt{sni} ? $opt{sni} : $opt{domain};
    my $alpn = exists $opt{alpn} ? $opt{alpn}
               : $opt{tls} eq 'direct' ? 'xmpp-client' : undef;
    my $name = $opt{verify_name} // $opt{domain};

    my %tls = (
        SSL_startHandshake => 0,
        SSL_hostname       => $sni // '',
        SSL_ca_file        => $opt{ca},
        SSL_verify_mode    => $opt{ca} && ($opt{verify} // 1)
                              ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
        SSL_verifycn_scheme => 'default',
        SSL_verifycn_name  => $name,
        $alpn ? (SSL_alpn_protocols => ref $alpn ? $alpn : [ $alpn ]) : (),
        $opt{tls_version} ? (SSL_version => $opt{tls_version}) : (),
        $opt{ciphers} ? (SSL_cipher_list => $opt{ciphers}) : (),
        $opt{certificate} ? (SSL_cert_file => "$opt{certificate}.pem",
                             SSL_key_file => "$opt{certificate}.key") : (),
        $opt{tls_sessions} ? (SSL_session_cache => $opt{tls_sessions},
                              SSL_session_key => 'any') : (),
        $opt{tls_options} ? (SSL_create_ctx_callback => sub {
            Net::SSLeay::CTX_set_options($_[0], $opt{tls_options});
        }) : (),
    );

    IO::Socket::SSL->start_SSL($self->{sock}, %tls)
        or return $SSL_ERROR || 'start_SSL failed';

    my $deadline = time() + $TIMEOUT;

    while (!$self->{sock}->connect_SSL()) {
        my $want = $SSL_ERROR + 0;

        if ($want != SSL_WANT_READ && $want != SSL_WANT_WRITE) {
            my $error = "$SSL_ERROR" || "$!" || 'handshake failed';
            $self->drop();
            return $error;
        }

        if (time() > $deadline) {
            $self->drop();
            return 'timeout';
        }

        my $vec = '';
        vec($vec, fileno($self->{sock}), 1) = 1;
        my ($r, $w) = $want == SSL_WANT_READ ? ($vec, '') : ('', $vec);
        select($r, $w, undef, $deadline - time());
    }

    $self->{secure} = 1;

    return;
}


sub tls_version { $_[0]{sock}->get_sslversion() }
sub tls_resumed { $_[0]{sock}->get_session_reused() ? 1 : 0 }
sub alpn        { $_[0]{sock}->alpn_selected() }


# The channel binding of this type, as a client knows it: RFC 5929, RFC 9266.
# hash is that of the signature of the server's certificate.

sub binding {
    my ($self, $type, $hash) = @_;

    my $ssl = $self->{sock}->_get_ssl_object();

    if ($type eq 'tls-exporter') {
        return Net::SSLeay::export_keying_material($ssl, 32,
                                                   'EXPORTER-Channel-Binding',
                                                   '');
    }

    if ($type eq 'tls-server-end-point') {
        return Net::SSLeay::X509_digest(
            Net::SSLeay::get_peer_certificate($ssl),
            Net::SSLeay::EVP_get_digestbyname($hash // 'SHA256'));
    }

    # the first Finished: the client's, in a resumed session the server's

    my $finished = '';
    my $len = $self->tls_resumed()
              ? Net::SSLeay::get_peer_finished($ssl, $finished, 64)
              : Net::SSLeay::get_finished($ssl, $finished, 64);

    return substr($finished, 0, $len);
}


# the subject's common name of the certificate that the server showed

sub certificate_name {
    my ($self) = @_;

    return $self->{sock}->peer_certificate('commonName');
}


# Closes the socket at once, without </stream:stream>; with reset => 1 by RST.

sub drop {
    my ($self, %opt) = @_;

    my $sock = delete $self->{sock} or return;

    if ($opt{reset}) {
        setsockopt($sock, Socket::SOL_SOCKET(), Socket::SO_LINGER(),
                   pack('ii', 1, 0));
    }

    if ($sock->isa('IO::Socket::SSL')) {
        $sock->close(SSL_no_shutdown => 1, SSL_fast_shutdown => 1);

    } else {
        $sock->close();
    }

    $self->{eof} //= 'dropped';
}


sub DESTROY {
    my ($self) = @_;
    local ($@, $!, $?);

    eval { $self->drop() };
}


sub fileno { $_[0]{sock} ? CORE::fileno($_[0]{sock}) : undef }

# there are bytes to write, and the server has not closed

sub wants_write { length $_[0]{out} && !defined $_[0]{eof} }


# Reads what is there.  True when something new was put in the event queue.

sub fill {
    my ($self) = @_;
    my $new = 0;

    return 0 if !$self->{sock} || defined $self->{eof} || $self->{deaf};

    for ( ;; ) {
        my $n = sysread($self->{sock}, my $bytes, 65536);

        if ($n) {
            $new = 1;
            $self->{received} += $n;
            $self->_take($bytes);
            next;
        }

        if (defined $n) {
            $self->{eof} = 'closed';
            return 1;
        }

        last if $! == EAGAIN || $! == EWOULDBLOCK;
        next if $! == EINTR;

        if ($self->{secure} && ($SSL_ERROR == SSL_WANT_READ
                                || $SSL_ERROR == SSL_WANT_WRITE))
        {
            last;
        }

        $self->{eof} = "$!" || "$SSL_ERROR" || 'error';
        return 1;
    }

    return $new;
}


sub _take {
    my ($self, $bytes) = @_;

    if ($self->{raw}) {
        push @{ $self->{events} }, [ raw => $bytes ];
        return;
    }

    for my $event ($self->{splitter}->feed($bytes)) {
        my ($kind, $raw) = @$event;

        if ($kind eq 'header') {
            $self->{header} = $raw;
            push @{ $self->{events} }, [ header => _header($raw) ];

        } elsif ($kind eq 'stanza') {

            # XEP-0198, 4: what came since <enabled/>

            $self->{stanzas} = 0 if $raw =~ /^<enabled/;
            $self->{stanzas}++ if $raw =~ /^<(?:message|presence|iq)\b/;

            push @{ $self->{events} },
                [ stanza => Test::XMPP::Stanza->new($raw, $self->{header}) ];

        } else {
            push @{ $self->{events} }, $event;
        }
    }
}


# The start tag of a stream as a stanza object: attr('id') and so on.

sub _header {
    my ($raw) = @_;

    my $self = Test::XMPP::Stanza->new($raw, $raw);
    my ($name) = $raw =~ /^<([^\s>]+)/;

    $self->{doc} = XML::LibXML->new()->parse_string("$raw</$name>");
    $self->{element} = $self->{doc}->documentElement();

    return $self;
}


# Writes what can be written now.  False after an error.

sub flush {
    my ($self) = @_;

    while ($self->wants_write() && $self->{sock}) {
        my $n = syswrite($self->{sock}, $self->{out}, 16384);

        if (defined $n) {
            substr($self->{out}, 0, $n) = '';
            $self->{written} += $n;
            next;
        }

        next if $! == EINTR;
        return 1 if $! == EAGAIN || $! == EWOULDBLOCK;
        return 1 if $self->{secure} && ($SSL_ERROR == SSL_WANT_WRITE
                                        || $SSL_ERROR == SSL_WANT_READ);

        # what the server said before it closed is still to be read

        $self->{out} = '';
        return 0;
    }

    return 1;
}


# Waits until the condition holds, reading and writing meanwhile.  False at
# the deadline, and at the end of the connection unless the condition holds.

sub wait {
    my ($self, $cond, $timeout) = @_;

    my $deadline = time() + ($timeout // $TIMEOUT);

    for ( ;; ) {
        $self->flush();
        return 1 if $cond->();

        if (!$self->fill()) {
            return 0 if !$self->{sock} || defined $self->{eof};

            my $left = $deadline - time();
            return 0 if $left <= 0;

            my ($r, $w) = ('', '');
            vec($r, $self->fileno(), 1) = 1 unless $self->{deaf};
            vec($w, $self->fileno(), 1) = 1 if $self->wants_write();
            select($r, $w, undef, $left);
        }
    }
}


###############################################################################
# Sending

# Sends a string, characters or bytes, as the cutting mode says, and returns
# when the kernel has taken all of it.

sub send {
    my ($self, $data) = @_;

    utf8::encode($data) if utf8::is_utf8($data);

    for my $piece ($self->_cut($data)) {
        $self->{out} .= $piece;
        $self->wait(sub { !$self->wants_write() })
            or $self->{eof} // die $self->who() . ": cannot write\n";
    }

    return $self;
}


# Puts a string in the queue only: the loop or a later wait writes it.

sub queue {
    my ($self, $data) = @_;

    utf8::encode($data) if utf8::is_utf8($data);
    $self->{out} .= $data;

    return $self;
}


# cut('bytes'): one byte per write; cut('random', max [, seed]): pieces of 1
# to max bytes; cut(): whole again.

sub cut {
    my ($self, $mode, $max, $seed) = @_;

    $self->{cut} = $mode;
    $self->{cut_max} = $mode && $mode eq 'bytes' ? 1 : $max;
    $self->{cut_seed} = $seed // 1;

    return $self;
}


sub _cut {
    my ($self, $data) = @_;

    return $data unless $self->{cut};

    my @pieces;
    my $at = 0;

    while ($at < length $data) {
        my $n = 1;

        if ($self->{cut_max} > 1) {
            # a generator of its own, so that a failure can be repeated
            $self->{cut_seed} = ($self->{cut_seed} * 1103515245 + 12345)
                                % 2147483648;
            $n = 1 + int($self->{cut_seed} / 65536) % $self->{cut_max};
        }

        push @pieces, substr($data, $at, $n);
        $at += $n;
    }

    return @pieces;
}


1;
