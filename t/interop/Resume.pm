package Interop::Resume;

# A real client loses its connection and resumes its session by itself:
# XEP-0198, 5.  It is behind a relay of the test, which holds what both sides
# send, then cuts the connection, and lets the next one through when it is time.
#
# The client program says GONE, RESUMED or NOTRESUMED: Interop.pm.
#
# libstrophe, and profanity with it, counts wrong after a <resumed/> that
# acknowledges something, so that comes last: from then on it forgets messages
# that it should send again.  And 0.12 does not count what it sends between
# <enable/> and <enabled/>, as XEP-0198, 4, does: profanity always forgets.  All
# of them do when they are too late.

use strict;
use warnings;

use Test::More;

use Chat;
use Interop;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Relay;

# Only when all of these are in the relay it has more bytes than this
my $long = 'x' x 1000;


# new($t, $client, $name): alice by that client, behind a relay, on host 0 or 1,
# and bob by the client of the harness, on host 2, to which nothing happens

sub new {
    my ($class, $t, $client, $name) = @_;

    my $port = Test::XMPP::Process::free_port();
    my $self = bless { t => $t, client => $client, name => $name, at => 0,
                       forgets => $client eq 'profanity' }, $class;

    $self->{relay} = Test::XMPP::Relay->new("127.0.0.1:$port",
                                            $self->address(0));
    $self->{bob} = $t->online('bob', on => 2, resource => 'harness');
    $self->{alice} = Interop->start($client,
        host     => '127.0.0.1',
        port     => $port,
        jid      => 'alice@localhost/interop',
        password => Test::XMPP::Accounts::password('alice'),
        ca       => $t->ca_file(),
        resume   => 1,
    );

    $self->wanted(qr/^READY /, 'alice is in') or return;

    return $self;
}


sub address { return '127.0.0.1:' . $_[0]{t}->port(0, $_[1]) }

# The host where alice is, and that to which she comes from now on

sub host { return $_[0]{t}->host($_[0]{at}) }

sub move {
    my ($self) = @_;

    $self->{at} = 1 - $self->{at};
    $self->{relay}->target($self->address($self->{at}));
}


# What is held passes, as far as its host still takes it

sub release {
    my ($self) = @_;

    $self->{forgets} = 1 if $self->{client} eq 'libstrophe';
    $self->{relay}->release();
}


sub wanted {
    my ($self, $re, $text) = @_;

    return Interop::Chat::wanted($self->{alice}, $re, "$self->{name}: $text");
}


sub say {
    my ($self, @words) = @_;

    $self->{alice}->tell("SEND bob\@localhost $_") for @words;
}


sub end {
    my ($self) = @_;

    # or the next one gets it, too

    $self->taken();
    is($self->{alice}->quit(), 0, "$self->{name}: alice left");
    $self->{bob}->close();
    $self->{relay}->stop();
}


# Twice $break->($self) breaks the connection, while the relay holds it, and it
# is resumed.

sub resumes {
    my ($t, $client, $name, $break) = @_;

    my $self = Interop::Resume->new($t, $client, $name) or return;

    for my $round (1 .. 2) {
        $self->{name} = "$name, $round";
        $self->lose($round == 2, $break) or last;
        $self->back('RESUMED', 'XEP-0198, 5: it resumes its session') or last;
        $self->check();
        $self->wanted(qr/^PRESENCE bob\S* away$/, 'XEP-0352, 5.2: presence')
            if $round == 2 && $client eq 'slixmpp';
    }

    $self->end();
}


# Its session has ended meanwhile: it logs in anew, and nothing that was sent to
# it is lost.

sub binds {
    my ($t, $client) = @_;

    my $self = Interop::Resume->new($t, $client, 'too late') or return;

    my $break = sub {
        $t->xmppctl(undef, 'kick', 'alice@localhost');
        $self->{relay}->cut();
    };

    if ($self->lose(0, $break)
        && $self->back('NOTRESUMED', 'XEP-0198, 5: it is told that it cannot')
        && $self->wanted(qr/^READY /, 'XEP-0198, 5: it binds instead'))
    {
        $self->{forgets} = 1;
        $self->check();
    }

    $self->end();
}


# Until it has lost its connection, and some messages that both sent with it.
# When it is ignorant, it does not know of others that they were handled.

sub lose {
    my ($self, $ignorant, $break) = @_;

    my ($bob, $relay) = @$self{qw/ bob relay /};
    my $idle = $ignorant && $self->{client} eq 'slixmpp';

    # what was sent before is acknowledged

    $self->say('ready');
    my $ready = $bob->pick('message', body => 'ready')
        or return ok(0, "$self->{name}: ready");

    $self->{jid} = $ready->attr('from');
    $bob->message($self->{jid}, 'ready, too', type => 'chat');
    $self->wanted(qr/^MESSAGE \S+ ready, too$/, 'both are there') or return;
    $self->say('settled');
    $bob->pick('message', body => 'settled')
        or return ok(0, "$self->{name}: settled");
    $self->taken();

    if ($self->{client} eq 'libstrophe') {
        $self->{alice}->tell('SETTLE');
        $self->wanted(qr/^SETTLED/, 'it knows that') or return;
    }

    $self->{alice}->tell('IDLE') if $idle;

    if ($ignorant) {
        $relay->deafen();
        $self->say(map { "handled $_" } 1 .. 3);
        is_deeply([ got($bob, qr/^handled 3$/) ],
                  [ map { "handled $_" } 1 .. 3 ],
                  "$self->{name}: what is handled, and she is not told");
    }

    # neither end gets what the other sends

    $relay->hold();
    $self->say(map { "lost $_ $long" } 1 .. 3);
    ok(Test::XMPP::Process::await(sub {
        $relay->held() > 3 * length $long;
    }), "$self->{name}: what is lost");

    $bob->message($self->{jid}, "lost $_", type => 'chat') for 1 .. 3;
    $bob->presence(show => 'away') if $idle;
    $bob->sync();

    $break->($self);

    return $self->wanted(qr/^GONE/, 'the connection is cut');
}


# What it has acknowledged is noted a little later; when a worker is killed
# before, it comes twice, with the same id

sub taken {
    my ($self) = @_;
    my $key = 'xmpp:{alice@localhost}:sessions';

    Test::XMPP::Process::await(sub {
        !defined $self->{t}->redis()->command('HGET', $key, 'i');
    }) or diag('messages were acknowledged and not taken');
}


# Until it is there again

sub back {
    my ($self, $wanted, $text) = @_;

    my $bob = $self->{bob};

    $bob->message($_ == 2 ? 'alice@localhost' : $self->{jid}, "away $_",
                  type => 'chat') for 1 .. 3;
    $bob->sync();
    $self->{relay}->release();

    my ($how) = $self->wanted(qr/^((?:NOT)?RESUMED)/, 'alice is back')
        or return;

    return is($how, $wanted, "$self->{name}: $text");
}


# What was lost has arrived, once, in order, and nothing else

sub check {
    my ($self) = @_;

    my ($alice, $bob) = @$self{qw/ alice bob /};
    my @heard = heard($alice, qr/^away 3$/);

    $bob->message($self->{jid}, 'end', type => 'chat');
    is_deeply([ @heard, heard($alice, qr/^end$/) ],
              [ (map { "lost $_" } 1 .. 3), (map { "away $_" } 1 .. 3), 'end' ],
              "$self->{name}: XEP-0198, 5: what came meanwhile");

    $self->say('end');

    my @got = map { s/ x+$//r } got($bob, qr/^end$/);
    my @sent = ((map { "lost $_" } 1 .. 3), 'end');

    if ($self->{forgets}) {
        my %got = map { $_ => 1 } @got;

        note "sent again: @got";
        @sent = grep { $got{$_} } @sent;
    }

    is_deeply(\@got, \@sent, "$self->{name}: XEP-0198, 5: what it sends again");
}


# Bodies that come until this one

sub got {
    my ($bob, $last) = @_;
    my @bodies;

    while (!@bodies || $bodies[-1] !~ $last) {
        my $message = $bob->pick(name => 'message', body => qr/./) or last;
        push @bodies, $message->body();
    }

    return @bodies;
}


sub heard {
    my ($alice, $last) = @_;
    my @bodies;

    while (!@bodies || $bodies[-1] !~ $last) {
        my ($body) = $alice->wait(qr/^MESSAGE \S+ (.*)/) or last;
        push @bodies, $body;
    }

    return @bodies;
}


1;
