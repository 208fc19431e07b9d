package Test::XMPP::Client;

# An XMPP client that does every step by hand, or all of them with login().
# The socket never blocks; methods that wait run a loop of their own with a
# deadline and take in whatever arrives meanwhile.  The manual is at the end.

use strict;
use warnings;

use Errno qw/ EAGAIN EINTR EINPROGRESS EWOULDBLOCK /;
use IO::Socket::INET;
use IO::Socket::SSL;
use MIME::Base64 qw/ encode_base64 decode_base64 /;
use Socket qw/ IPPROTO_TCP TCP_NODELAY /;
use Test::More ();
use Time::HiRes qw/ time /;

use Test::XMPP::SASL;
use Test::XMPP::Splitter;
use Test::XMPP::Stanza;


our $TIMEOUT = $ENV{XMPP_TIMEOUT} || 20;
our %NS = %Test::XMPP::Stanza::NS;

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
# The connection

sub connect {
    my ($self) = @_;

    $self->{sock} = IO::Socket::INET->new(
        PeerAddr => $self->{host},
        PeerPort => $self->{port},
        Proto    => 'tcp',
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

    $self->start_tls() if $self->{tls} eq 'direct';

    return $self;
}


# The handshake alone; dies when it fails (try_tls returns the error).
# new() or the call may say: sni, alpn, tls_version, verify, ciphers.

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
sub alpn        { $_[0]{sock}->alpn_selected() }

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


sub id { my ($self) = @_; return "c$self->{serial}-" . ++$self->{ids} }


sub xml_escape {
    my ($text) = @_;

    $text =~ s/&/&amp;/g;
    $text =~ s/</&lt;/g;
    $text =~ s/>/&gt;/g;
    $text =~ s/'/&apos;/g;
    $text =~ s/"/&quot;/g;

    return $text;
}


# A stanza from its parts: stanza('message', { to => ... }, $inner_xml).  All
# of them are characters, so that "\x{E9}" is sent as UTF-8.

sub stanza {
    my ($name, $attrs, $inner) = @_;

    my $tag = join ' ', $name,
        map { "$_='" . xml_escape($attrs->{$_}) . "'" }
        grep { defined $attrs->{$_} } sort keys %$attrs;

    my $xml = defined $inner && length $inner ? "<$tag>$inner</$name>"
                                              : "<$tag/>";
    utf8::upgrade($xml);

    return $xml;
}


# message($to, $body, type => 'chat', ...): returns its id

sub message {
    my ($self, $to, $body, %attrs) = @_;

    my $xml = delete $attrs{xml} // '';
    my $id = exists $attrs{id} ? $attrs{id} : $self->id();

    $xml = '<body>' . xml_escape($body) . "</body>$xml" if defined $body;
    $self->send(stanza('message', { %attrs, to => $to, id => $id }, $xml));

    return $id;
}


# presence(type => ..., to => ..., priority => ..., show =>, xml => ...)

sub presence {
    my ($self, %attrs) = @_;

    my $xml = delete $attrs{xml} // '';

    for my $child (qw/ priority status show /) {
        my $value = delete $attrs{$child};
        $xml = "<$child>$value</$child>$xml" if defined $value;
    }

    $self->send(stanza('presence', \%attrs, $xml));

    return $self;
}


# iq($type, $to, $inner, ...): returns its id

sub iq {
    my ($self, $type, $to, $inner, %attrs) = @_;

    my $id = exists $attrs{id} ? $attrs{id} : $self->id();

    $self->send(stanza('iq', { %attrs, type => $type, to => $to, id => $id },
                       $inner));

    return $id;
}


# Sends an iq and returns its answer; other stanzas stay queued.

sub query {
    my ($self, $type, $to, $inner, %attrs) = @_;

    my $id = $self->iq($type, $to, $inner, %attrs);

    return $self->answer($id);
}


# The result or error with this id; what came before it stays queued.

sub answer {
    my ($self, $id) = @_;

    return $self->pick(name => 'iq', type => qr/^(?:result|error)$/,
                       id => $id);
}


###############################################################################
# Receiving

# The next event, [ kind => value ], or undef.  At the end of the connection
# the last event is [ eof => how ], for as often as one asks.

sub next_event {
    my ($self, $timeout) = @_;

    $self->wait(sub { @{ $self->{events} } }, $timeout);

    return shift @{ $self->{events} } if @{ $self->{events} };
    return [ eof => $self->{eof} ] if defined $self->{eof};
    return;
}


sub describe {
    my ($event) = @_;

    return 'nothing' unless $event;
    return "$event->[0] " . (ref $event->[1] ? $event->[1]->brief()
                                             : $event->[1]);
}


sub who { my ($self) = @_; return $self->{jid} // $self->{user} // 'client' }


sub _wrong {
    my ($self, $why) = @_;

    Test::More::diag($self->who() . ": $why");

    return;
}


# The next stanza; undef, with a diagnosis, when something else comes.

sub recv_stanza {
    my ($self, $timeout) = @_;

    my $event = $self->next_event($timeout);

    return $event->[1] if $event && $event->[0] eq 'stanza';
    return $self->_wrong('expected a stanza, got ' . describe($event));
}


# expect([name,] key => value ...): the next stanza must match (see mismatch
# in Test::XMPP::Stanza).  Returns it, or undef with a diagnosis.

sub expect {
    my $self = shift;
    my %want = @_ % 2 ? (name => @_) : @_;

    my $timeout = delete $want{timeout};
    my $stanza = $self->recv_stanza($timeout) or return;
    my $wrong = $stanza->mismatch(%want);

    return $stanza unless $wrong;
    return $self->_wrong("$wrong in " . $stanza->brief());
}


# pick([name,] ...): takes the first stanza that matches out of the queue,
# waiting for it; others stay queued in their order.

sub pick {
    my $self = shift;
    my %want = @_ % 2 ? (name => @_) : @_;

    my $timeout = delete $want{timeout};
    my $events = $self->{events};
    my ($seen, $found) = (0, undef);

    $self->wait(sub {
        $events = $self->{events};

        for ( ; $seen < @$events; $seen++) {
            next if $events->[$seen][0] ne 'stanza';
            next if $events->[$seen][1]->mismatch(%want);

            $found = splice @$events, $seen, 1;
            return 1;
        }

        return 0;
    }, $timeout);

    return $found->[1] if $found;

    return $self->_wrong('no stanza with '
        . join(', ', map { "$_=" . ($want{$_} // 'absent') } sort keys %want)
        . ' among ' . (join("\n", map { describe($_) } @$events)
                       || 'nothing')
        . (defined $self->{eof} ? ", $self->{eof}" : ''));
}


# Shows that nothing has come.  Without an argument the server is asked
# something and its answer must be the next thing: this covers all that the
# server did for this session before.  With from => $other a marker message
# from $other must be the next thing: stanzas between two sessions keep their
# order, so all that $other sent before has had its effect here.

sub expect_nothing {
    my ($self, %opt) = @_;

    if (my $from = $opt{from}) {
        my $mark = 'mark-' . $from->id();

        $from->message($self->{jid}, $mark, type => 'headline');

        return $self->_only(sub { ($_[0]->body() // '') eq $mark },
                            "the marker of " . $from->who());
    }

    my $id = $self->iq('get', $self->{domain}, "<ping xmlns='$NS{ping}'/>");

    return $self->_only(sub { $_[0]->is('iq')
                              && ($_[0]->attr('id') // '') eq $id },
                        'the answer to a ping');
}


sub _only {
    my ($self, $is_mark, $what) = @_;
    my @extra;

    while (my $event = $self->next_event()) {
        if ($event->[0] eq 'stanza' && $is_mark->($event->[1])) {
            return 1 unless @extra;

            return $self->_wrong("before $what came "
                                 . join "\n", map { describe($_) } @extra);
        }

        push @extra, $event;
        last if $event->[0] eq 'eof';
    }

    return $self->_wrong("$what never came, but "
                         . (join("\n", map { describe($_) } @extra)
                            || 'nothing'));
}


# Waits until the server has dealt with all that was sent; other stanzas
# stay queued.

sub sync {
    my ($self) = @_;

    return $self->query('get', $self->{domain}, "<ping xmlns='$NS{ping}'/>");
}


# All stanzas that are queued now, taken out

sub drain {
    my ($self) = @_;

    $self->fill();

    my @stanzas = map { $_->[1] } grep { $_->[0] eq 'stanza' }
                  @{ $self->{events} };
    $self->{events} = [ grep { $_->[0] ne 'stanza' } @{ $self->{events} } ];

    return @stanzas;
}


# The next things must be <stream:error/> with this condition, the end of the
# stream and of the connection: RFC 6120, 4.9.1.1.

sub expect_stream_error {
    my ($self, $condition) = @_;

    my $event = $self->next_event();

    return $self->_wrong('expected a stream error, got ' . describe($event))
        unless $event && $event->[0] eq 'stanza'
               && $event->[1]->is('error', $NS{stream});

    my $error = $event->[1];
    my $got = $error->error();

    return $self->_wrong("expected $condition: " . $error->brief())
        unless ref $condition ? $got =~ $condition : $got eq $condition;

    return unless $self->expect_end();

    return $error;
}


# </stream:stream>, then the end of the connection

sub expect_end {
    my ($self) = @_;

    my $event = $self->next_event();

    return $self->_wrong('expected </stream:stream>, got ' . describe($event))
        unless $event && $event->[0] eq 'end';

    return $self->expect_eof();
}


sub expect_eof {
    my ($self) = @_;

    my $event = $self->next_event();

    return 1 if $event && $event->[0] eq 'eof';
    return $self->_wrong('expected the end of the connection, got '
                         . describe($event));
}


###############################################################################
# Negotiation

# A stream header with these attributes changed: undef leaves one out.
# Further keys: xmlns, prefix, decl.

sub header {
    my ($self, %opt) = @_;

    my %attr = (to => $self->{domain}, version => '1.0',
                xmlns => $NS{c}, 'xmlns:stream' => $NS{stream}, %opt);
    my $decl = delete $attr{decl} // "<?xml version='1.0'?>";

    return "$decl<stream:stream "
           . join(' ', map { "$_='" . xml_escape($attr{$_}) . "'" }
                       grep { defined $attr{$_} } sort keys %attr) . '>';
}


sub send_header {
    my ($self, %opt) = @_;

    $self->_reset_stream();
    $self->send($self->header(%opt));

    return $self;
}


# The stream header of the server as a stanza object, or undef

sub recv_header {
    my ($self) = @_;

    my $event = $self->next_event();

    return $event->[1] if $event && $event->[0] eq 'header';
    return $self->_wrong('expected a stream header, got ' . describe($event));
}


sub recv_features {
    my ($self) = @_;

    my $features = $self->expect(name => 'features', ns => $NS{stream});

    return $self->{features} = $features;
}


# Header out, header and features in: returns the features.

sub open_stream {
    my ($self, %opt) = @_;

    $self->send_header(%opt);
    $self->{stream} = $self->recv_header() or die $self->who()
                                                  . ": no stream header\n";

    return $self->recv_features() // die $self->who() . ": no features\n";
}


# <starttls/>, the handshake and the new stream: returns the features.

sub starttls {
    my ($self, %opt) = @_;

    $self->send("<starttls xmlns='$NS{tls}'/>");
    $self->expect(name => 'proceed', ns => $NS{tls})
        or die $self->who() . ": no <proceed/>\n";
    $self->start_tls(%opt);

    return $self->open_stream();
}


# The SASL mechanisms of the last features

sub mechanisms {
    my ($self) = @_;

    return map { $_->textContent() }
           $self->{features}->find('sasl:mechanisms/sasl:mechanism');
}


# The best mechanism that both know and new() allows

sub mechanism {
    my ($self) = @_;

    return $self->{mechanism} if $self->{mechanism};

    my %offered = map { $_ => 1 } $self->mechanisms();
    my ($best) = grep { $offered{$_} } @Test::XMPP::SASL::MECHANISMS;

    return $best // die $self->who() . ": no mechanism offered\n";
}


# A SASL object for this account; the hash overrides user, password, ...

sub sasl {
    my ($self, %opt) = @_;

    return Test::XMPP::SASL->new(
        mechanism => $opt{mechanism} // $self->mechanism(),
        user      => $self->{sasl_user} // $self->{user},
        password  => $self->{password},
        %opt,
    );
}


sub send_auth {
    my ($self, $mechanism, $data) = @_;

    my $text = !defined $data ? '' : $data eq '' ? '='
               : encode_base64($data, '');

    return $self->send(stanza('auth', { xmlns => $NS{sasl},
                                        mechanism => $mechanism }, $text));
}


sub send_response {
    my ($self, $data) = @_;

    return $self->send(stanza('response', { xmlns => $NS{sasl} },
                              defined $data ? encode_base64($data, '') : ''));
}


# The data of the next <challenge/>, or undef

sub recv_challenge {
    my ($self) = @_;

    my $challenge = $self->expect(name => 'challenge', ns => $NS{sasl})
        or return;

    return decode_base64($challenge->find('.'));
}


# The exchange up to its outcome: the <success/> or <failure/> stanza.

sub authenticate {
    my ($self, %opt) = @_;

    my $sasl = $self->{scram} = $self->sasl(%opt);

    $self->send_auth($sasl->{mechanism}, $sasl->first());

    if ($sasl->{mechanism} ne 'PLAIN') {
        my $stanza = $self->recv_stanza() or return;
        return $stanza unless $stanza->is('challenge');

        $self->send_response($sasl->final(decode_base64($stanza->find('.'))));
    }

    my $stanza = $self->recv_stanza() or return;
    return $stanza unless $stanza->is('success');

    $sasl->verify(decode_base64($stanza->find('.') // ''))
        or return $self->_wrong('the server signature is wrong');

    return $stanza;
}


# authenticate, which must succeed, and the new stream: the features

sub auth {
    my ($self, %opt) = @_;

    my $outcome = $self->authenticate(%opt);

    die $self->who() . ': login refused: '
        . ($outcome ? $outcome->brief() : 'no answer') . "\n"
        unless $outcome && $outcome->is('success', $NS{sasl});

    return $self->open_stream();
}


# Binds and returns the full JID.

sub bind {
    my ($self, $resource) = @_;

    $resource //= $self->{resource};

    my $inner = defined $resource
        ? '<resource>' . xml_escape($resource) . '</resource>' : '';
    my $answer = $self->query('set', undef,
                              "<bind xmlns='$NS{bind}'>$inner</bind>");

    $self->{jid} = $answer && $answer->find('bind:bind/bind:jid');

    die $self->who() . ': bind refused: '
        . ($answer ? $answer->brief() : 'no answer') . "\n"
        unless defined $self->{jid};

    ($self->{bare}) = $self->{jid} =~ m{^([^/]+)};

    return $self->{jid};
}


# Everything up to the features that offer SASL

sub secure {
    my ($self) = @_;

    $self->connect();

    my $features = $self->open_stream();

    $features = $self->starttls() if $self->{tls} eq 'starttls';

    return $features;
}


# Connects, negotiates and binds.

sub login {
    my ($self, %opt) = @_;

    $self->{$_} = $opt{$_} for keys %opt;

    $self->secure();
    $self->auth();
    $self->bind();

    return $self;
}


# Initial presence; returns when the server has sent it back to us, which it
# does to every available resource of the account: RFC 6121, 4.2.2.

sub available {
    my ($self, %opt) = @_;

    $self->presence(%opt);
    $self->pick(name => 'presence', from => $self->{jid}, type => undef)
        or die $self->who() . ": initial presence did not come back\n";

    return $self;
}


sub jid  { $_[0]{jid} }
sub bare { $_[0]{bare} }


# Closes the stream the way it should be done: RFC 6120, 4.4

sub close {
    my ($self) = @_;

    return unless $self->{sock};

    $self->send('</stream:stream>');

    while (my $event = $self->next_event()) {
        last if $event->[0] eq 'end' || $event->[0] eq 'eof';
    }

    $self->drop();
}


1;

__END__

=head1 NAME

Test::XMPP::Client - a client that does every step of XMPP by hand

=head1 SYNOPSIS

    my $alice = $t->client('alice')->login()->available();
    my $bob = $t->client('bob', resource => 'r')->login();

    $alice->message($bob->jid, 'hello', type => 'chat');
    ok($bob->expect(message => from => $alice->jid, body => 'hello'),
       'RFC 6121, 8.5.3.1: delivered to the full JID');
    ok($bob->expect_nothing(from => $alice), 'once');

    my $c = $t->client('alice')->connect();
    $c->send_header(to => undef);
    ok($c->recv_header());
    ok($c->expect_stream_error('host-unknown'));

=head1 OPTIONS OF new

host, port, domain, user, password, resource, mechanism, tls (starttls,
direct, none), ca (file), sni, alpn, tls_version (TLSv1_2 ...), ciphers,
verify, verify_name, sasl_user (name in SASL when it differs), rcvbuf, deaf
(never read). C<< $t->client >> of L<Test::XMPP> sets what it knows.

=head1 STEPS

connect, open_stream(%attrs), starttls, auth, bind($resource) each do one step
and die when it fails; secure() goes up to the SASL features, login() up to
the bound resource, available(%presence) sends initial presence and waits for
its return. Finer ones: send_header, recv_header, recv_features, start_tls,
try_tls (returns the error), mechanisms, sasl, send_auth, send_response,
recv_challenge, authenticate (returns <success/> or <failure/>).

=head1 SENDING

send($text) writes all of it (characters are encoded, bytes go as they are);
queue($text) leaves the writing to the loop. cut('bytes'), cut('random', max,
seed), cut() set how send cuts. message, presence, iq build stanzas and
return the id; query sends an iq and returns the answer.

=head1 RECEIVING

What arrives is a queue of events. next_event gives the next of any kind;
recv_stanza and expect(...) demand that it is a stanza, pick(...) takes the
first that matches and leaves the others; answer($id), drain, sync.
expect_nothing, expect_stream_error, expect_end, expect_eof. They return
something true, or false with a diagnosis, and never sleep.

Values of expect and pick: name, ns, any attribute (string, qr//, undef for
absent), body, error ("cancel item-not-found"), xpath (string or list) with
the prefixes c, stream, streams, stanzas, tls, sasl, bind, session, info,
items, ping, time, version, roster.

=head1 MANY CLIENTS

L<Test::XMPP::Loop> runs hundreds of them with one select.

=cut
