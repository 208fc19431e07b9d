package Test::XMPP::Client;

# An XMPP client that does every step by hand, or all of them with login().
# The manual is at the end.

use strict;
use warnings;

use MIME::Base64 qw/ encode_base64 decode_base64 /;
use Test::More ();

use parent 'Test::XMPP::Connection';

use Test::XMPP::SASL;
use Test::XMPP::Stanza;


our %NS = %Test::XMPP::Stanza::NS;


###############################################################################
# Stanzas

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

    my $what = ref $event->[1] ? $event->[1]->brief() : $event->[1];

    substr($what, 300) = ' ...' if length $what > 300;

    return "$event->[0] $what";
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


# The types of channel binding of the last features: XEP-0440

sub bindings {
    my ($self) = @_;

    return map { $_->getAttribute('type') }
           $self->{features}->find('cb:sasl-channel-binding'
                                   . '/cb:channel-binding');
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

    if (!$sasl->single()) {
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
tls_sessions (a cache to resume from), tls_options, verify, verify_name,
sasl_user (name in SASL when it differs), rcvbuf, deaf (never read).
C<< $t->client >> of L<Test::XMPP> sets what it knows.

=head1 STEPS

connect, open_stream(%attrs), starttls, auth, bind($resource) each do one step
and die when it fails; secure() goes up to the SASL features, login() up to
the bound resource, available(%presence) sends initial presence and waits for
its return. Finer ones: send_header, recv_header, recv_features, start_tls,
try_tls (returns the error), mechanisms, bindings (those offered), binding (the
bytes of a type), sasl, send_auth, send_response,
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
the prefixes c, stream, streams, stanzas, tls, sasl, cb, bind, session, info,
items, ping, time, version, roster, data.

=head1 MANY CLIENTS

L<Test::XMPP::Loop> runs hundreds of them with one select.

=cut
