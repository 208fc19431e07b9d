package Fake;

# A server that makes mistakes on purpose: the traffic generator's counts are
# tested against what it says it has done.
#
#   my $fake = Fake->new(drop => 50, double => 70);
#   ... traffic to 127.0.0.1:$fake->port, plain, PLAIN ...
#   my $did = $fake->stop();            { drop => 12, double => 9 }
#
# Each fault happens to every n-th of the tracked stanzas:
#
#   drop      never delivered
#   double    delivered twice
#   again     delivered twice, with the same <stanza-id/>
#   echo      delivered again when the stream is closed or 100 ms are over
#   swap      delivered after the next one of that sender and recipient; it
#             counts when there is a next one within 100 ms
#   corrupt   with a changed body (messages only)
#   forge     with another sender
#   astray    to another recipient
#   bounce    back as an error
#   cut       the sender's connection is closed, once
#   mute      from then on nothing is delivered at all
#   haunt     delivered again when a stream is closed, not before
#   freeze    nobody gets anything for 300 ms, once
#
# and to every n-th login:
#
#   refuse    authentication fails
#   lock      from then on it fails for all
#   tarry     the answer to the binding comes 100 ms late
#   kick      closed as soon as it is available
#
# It also says what it has seen: logins, goodbyes (streams that were closed),
# presences (initial ones), most (connections at once), pairs (of sender and
# recipient), bare and full (JIDs that stanzas were for), twice (how often the
# one of a pair who had sent last did it again), bytes_in, bytes_out.
#
# One forked process, one select loop; it speaks just enough XMPP for this
# one client.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use MIME::Base64 qw/ decode_base64 /;
use POSIX ();
use Time::HiRes qw/ time /;

my @FAULTS = qw/ drop double again echo swap corrupt forge astray bounce cut
                 mute haunt freeze /;
my @LOGIN_FAULTS = qw/ refuse lock tarry kick /;
my @SEEN = qw/ logins goodbyes presences most pairs bare full twice bytes_in
               bytes_out /;


sub new {
    my ($class, %every) = @_;

    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
                                       Listen => 512) or die "listen: $!\n";
    pipe my $end, my $stop or die "pipe: $!\n";
    pipe my $report, my $say or die "pipe: $!\n";

    my $pid = fork() // die "fork: $!\n";

    if ($pid == 0) {
        close $stop;
        close $report;
        $SIG{$_} = 'DEFAULT' for qw/ INT TERM /;
        $SIG{PIPE} = 'IGNORE';

        my $self = bless { listen => $listen, end => $end, every => \%every,
                           did => {}, seen => {}, conns => {}, later => [],
                           haunt => [],
                           select => IO::Select->new($listen, $end) }, $class;

        eval { $self->serve(); 1 } or warn "fake: $@";
        syswrite $say, join ' ', %{ $self->{did} };
        POSIX::_exit(0);
    }

    close $end;
    close $say;

    return bless { pid => $pid, stop => $stop, report => $report,
                   port => $listen->sockport() }, $class;
}


sub port { $_[0]{port} }


# What it did wrong, and how often

sub stop {
    my ($self) = @_;

    my $pid = delete $self->{pid} or return;

    close $self->{stop};
    my $did = do { local $/; readline $self->{report} } // '';
    waitpid $pid, 0;

    return { (map { $_ => 0 } @FAULTS, @LOGIN_FAULTS, @SEEN),
             split ' ', $did };
}


sub DESTROY {
    my ($self) = @_;
    local ($@, $!, $?);

    $self->stop() if $self->{report};
}


###############################################################################
# The process

sub serve {
    my ($self) = @_;

    for ( ;; ) {
        for my $fh ($self->{select}->can_read($self->wait_time())) {
            if ($fh == $self->{end}) {
                return;

            } elsif ($fh == $self->{listen}) {
                my $new = $fh->accept() or next;
                $self->{conns}{$new} = { fh => $new, in => '', out => '' };
                $self->{select}->add($new);

                my $n = keys %{ $self->{conns} };
                $self->{did}{most} = $n if $n > ($self->{did}{most} // 0);

            } else {
                $self->take($self->{conns}{$fh}) if $self->{conns}{$fh};
            }
        }

        $self->echo();
        $self->write_out($_) for values %{ $self->{conns} };
    }
}


sub wait_time {
    my ($self) = @_;

    return undef if !@{ $self->{later} };
    my $left = $self->{later}[0][0] - time();
    return $left > 0 ? $left : 0;
}


sub echo {
    my ($self) = @_;

    while (@{ $self->{later} } && $self->{later}[0][0] <= time()) {
        my (undef, $to, $stanza, $pair) = @{ shift @{ $self->{later} } };

        next if !defined $stanza;
        delete $self->{held}{$pair} if $pair;
        $self->put($to, $stanza);
    }
}


sub drop_conn {
    my ($self, $c) = @_;

    $self->{select}->remove($c->{fh});
    delete $self->{conns}{ $c->{fh} };

    if ($c->{bare} && ($self->{users}{ $c->{bare} } // 0) == $c) {
        delete $self->{users}{ $c->{bare} };
    }

    close $c->{fh};
}


# The small buffers of the kernel are never in the way here

sub write_out {
    my ($self, $c) = @_;

    while (length $c->{out}) {
        my $n = syswrite $c->{fh}, $c->{out};
        last if !$n;
        $self->{did}{bytes_out} += $n;
        substr($c->{out}, 0, $n) = '';
    }
}


sub take {
    my ($self, $c) = @_;

    my $n = sysread $c->{fh}, $c->{in}, 65536, length $c->{in};

    if (!$n) {
        $self->drop_conn($c);
        return;
    }

    $self->{did}{bytes_in} += $n;

    while ($c->{in} =~ s{^\s*(?:<\?xml.*?\?>)?(
                           <stream:stream\b[^>]*> | </stream:stream>
                         | <(\w+)\b[^>]*/>
                         | <(\w+)\b[^>]*[^/]>.*?</\3>)}{}xs)
    {
        $self->stanza($c, $1);
        return if !$self->{conns}{ $c->{fh} };
    }
}


sub stanza {
    my ($self, $c, $s) = @_;

    if ($s =~ /^<stream:stream/) {
        $c->{out} .= "<?xml version='1.0'?><stream:stream id='x' "
                     . "xmlns='jabber:client' version='1.0' xmlns:stream="
                     . "'http://etherx.jabber.org/streams'><stream:features>"
                     . ($c->{user} ? "<bind xmlns='urn:ietf:params:xml:ns:"
                                     . "xmpp-bind'/>"
                        : "<mechanisms xmlns='urn:ietf:params:xml:ns:"
                          . "xmpp-sasl'><mechanism>PLAIN</mechanism>"
                          . "</mechanisms>")
                     . "</stream:features>";

    } elsif ($s =~ m{^</stream}) {
        # what was to come again comes now, or never
        $self->{did}{goodbyes}++;
        push @{ $self->{later} }, splice @{ $self->{haunt} };
        $_->[0] = 0 for @{ $self->{later} };
        $self->echo();
        $c->{out} .= '</stream:stream>';
        $self->write_out($c);
        $self->drop_conn($c);

    } elsif ($s =~ /^<auth[^>]*>([^<]*)/) {
        my $auth = $1;

        if ($self->login_fault('lock') || $self->login_fault('refuse')) {
            $self->{every}{lock} &&= 1;
            $c->{out} .= "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
            return;
        }

        (undef, $c->{user}) = split /\0/, decode_base64($auth);
        $c->{out} .= "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";

    } elsif ($s =~ m{id='bind'.*<resource>(.*)</resource>}) {
        $c->{bare} = "$c->{user}\@fake";
        $c->{jid} = "$c->{bare}/$1";
        $self->{users}{ $c->{bare} } = $c;
        $self->{did}{logins}++;

        my $answer = "<iq type='result' id='bind'><bind xmlns='urn:ietf:"
                     . "params:xml:ns:xmpp-bind'><jid>$c->{jid}</jid></bind>"
                     . "</iq>";

        if ($self->login_fault('tarry')) {
            push @{ $self->{later} }, [ time() + 0.1, $c->{bare}, $answer ];

        } else {
            $c->{out} .= $answer;
        }

    } elsif ($s eq '<presence/>') {
        $c->{out} .= "<presence from='$c->{jid}'/>";
        $self->{did}{presences}++;

        if ($self->login_fault('kick')) {
            $self->write_out($c);
            $self->drop_conn($c);
        }

    } elsif ($s =~ m{^<\w+ to="([^"/]+)(/?)}) {
        my $bare = $1;

        $self->{did}{ $2 ? 'full' : 'bare' }++;
        $self->{did}{pairs}++ if !$self->{met}{"$c->{bare} $bare"}++;

        my $pair = join ' ', sort $c->{bare}, $bare;
        $self->{did}{twice}++ if ($self->{last}{$pair} // '') eq $c->{bare};
        $self->{last}{$pair} = $c->{bare};
        $s =~ s/^<\w+/$& from='$c->{jid}'/;
        $self->route($c, $bare, $s);
    }
}


# One fault at most to one stanza

sub route {
    my ($self, $c, $to, $s) = @_;

    my $pair = "$c->{bare} $to";
    my $held = delete $self->{held}{$pair};
    my $fault = $self->fault($s);

    if ($fault eq 'drop' || $self->{mute} || $fault eq 'mute') {
        $self->{mute} = 1 if $fault eq 'mute';

    } elsif ($fault eq 'swap' && !$held) {
        my $entry = [ time() + 0.1, $to, $s, $pair ];

        $self->{held}{$pair} = $entry;
        push @{ $self->{later} }, $entry;

    } elsif ($fault eq 'bounce') {
        $s =~ s/^<(\w+) from='([^']*)' to="([^"]*)"/<$1 from="$3" to="$2"/;
        $s =~ s/ type='\w+'//;
        $s =~ s/^<\w+/$& type='error'/;
        $s =~ s{(</\w+>)$}{<error type='cancel'><gone/></error>$1};
        $c->{out} .= $s;

    } elsif ($fault eq 'cut') {
        delete $self->{every}{cut};
        $self->drop_conn($c);

    } else {
        $self->freeze() if $fault eq 'freeze';
        $self->deliver($c, $to, $s, $fault);
    }

    if ($held) {
        $self->put($to, $held->[2]);
        $held->[2] = undef;
        $self->{did}{swap}++;
    }
}


sub freeze {
    my ($self) = @_;

    delete $self->{every}{freeze};
    select undef, undef, undef, 0.3;
}


sub deliver {
    my ($self, $c, $to, $s, $fault) = @_;

    my $good = $s;

    $s =~ s/east/West/ if $fault eq 'corrupt';
    $s =~ s/ from='/$&x/ if $fault eq 'forge';
    $to = (grep { $_ ne $to } sort keys %{ $self->{users} })[0]
        if $fault eq 'astray';

    $s =~ s{(?=</message>)}{<stanza-id xmlns='urn:xmpp:sid:0' id='an id'/>}
        if $fault eq 'again';

    $self->put($to, $s);
    $self->put($to, $s) if $fault =~ /^(?:double|again)$/;
    push @{ $self->{later} }, [ time() + 0.1, $to, $good ] if $fault eq 'echo';

    # the others are in the order of their times: it is behind them all
    push @{ $self->{haunt} }, [ 0, $to, $good ] if $fault eq 'haunt';
}


sub put {
    my ($self, $to, $s) = @_;

    my $c = $self->{users}{$to} or return;
    $c->{out} .= $s;
}


# A swap counts when it has come about: see route()

sub fault {
    my ($self, $s) = @_;

    for my $fault (@FAULTS) {
        my $every = $self->{every}{$fault} or next;

        next if $fault eq 'corrupt' && $s !~ /^<message/;
        next if ++$self->{seen}{$fault} % $every;
        $self->{did}{$fault}++ if $fault ne 'swap';
        return $fault;
    }

    return '';
}


sub login_fault {
    my ($self, $fault) = @_;

    my $every = $self->{every}{$fault} or return 0;

    return 0 if ++$self->{seen}{$fault} % $every;
    $self->{did}{$fault}++;

    return 1;
}


1;
