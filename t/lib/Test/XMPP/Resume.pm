package Test::XMPP::Resume;

# Clients that may resume their sessions (XEP-0198, 5), wherever.
#
#   my $sm = Test::XMPP::Resume->new($t);
#   my $alice = $sm->resumable('alice', on => 0);
#   my $again = $sm->resumed($alice, on => 1);
#
# A client counts what it gets in {stanzas}; a new one goes on with that, unless
# it says that it has handled less.

use strict;
use warnings;

use Test::XMPP::Process;

my $ns = 'urn:xmpp:sm:3';


sub new {
    my ($class, $t) = @_;

    return bless { t => $t }, $class;
}


# resumable($user [, presence => 0, on => HOST, ...]): its id is in {sm}

sub resumable {
    my ($self, $user, %opt) = @_;
    my $presence = delete $opt{presence} // 1;
    my $client = $self->{t}->client($user, %opt)->login();

    $client->send("<enable xmlns='$ns' resume='true'/>");

    my $enabled = $client->pick('enabled', ns => $ns, id => qr/./,
                                resume => qr/^(?:true|1)$/)
        or die "not enabled\n";

    $client->{sm} = $enabled->attr('id');
    $client->available() if $presence;

    return $client;
}


# A new stream that is authenticated as the same

sub back {
    my ($self, $client, %opt) = @_;
    my $new = $self->{t}->client($client->{user}, domain => $client->{domain},
                                 %opt);

    $new->secure();
    $new->auth();
    @$new{qw/ jid bare sm /} = @$client{qw/ jid bare sm /};

    return $new;
}


# It asks for its session; h: what it has handled

sub resume {
    my ($self, $client, $h, $id) = @_;

    $client->send("<resume xmlns='$ns' h='$h' previd='"
                  . ($id // $client->{sm}) . "'/>");

    return $client;
}


# resumed($client [, h => N, on => HOST, ...]): both, and what was handled of it
# is in {handled}; undef when it is not

sub resumed {
    my ($self, $client, %opt) = @_;
    my $h = delete $opt{h} // $client->{stanzas};
    my $new = $self->back($client, %opt);

    # others may be read with the answer

    $new->{stanzas} = $h;
    $self->resume($new, $h);

    my $resumed = $new->pick('resumed', ns => $ns, previd => $client->{sm})
        or return undef;

    $new->{handled} = $resumed->attr('h');

    return $new;
}


# What was handled of a client, as it asks now

sub handled {
    my ($self, $client) = @_;

    $client->send("<r xmlns='$ns'/>");

    my $a = $client->pick('a', ns => $ns);

    return $a && $a->attr('h');
}


# It acknowledges all that it has got, and the server has heard it

sub ack {
    my ($self, $client, $h) = @_;

    $client->sync();
    $client->send("<a xmlns='$ns' h='" . ($h // $client->{stanzas}) . "'/>");
    $client->sync();
}


# What it gets, as text: bodies, or names and types, without presence and
# requests for acknowledgement, up to a body, or to the answer to a ping.  What
# is read from the inbox may come behind that.

sub got {
    my ($self, $client, $last) = @_;
    my @got;

    if (defined $last) {
        while (my $stanza = $client->recv_stanza()) {
            push @got, $stanza;
            last if ($stanza->body() // '') eq $last;
        }

    } else {
        $client->sync();
        @got = $client->drain();
    }

    return join ' ', map { $_->body() // join('-', $_->name(),
                                              $_->attr('type') // ()) }
                     grep { !$_->is('r', $ns) && !$_->is('presence') } @got;
}


# Its connection breaks, and the server has noticed

sub lose {
    my ($self, $client) = @_;
    my ($bare, $resource) = split m{/}, $client->jid(), 2;

    $client->drop();

    Test::XMPP::Process::await(sub {
        ($self->{t}->redis()->command('HGET', "xmpp:{$bare}:sessions",
                                      "r$resource") // '')
            =~ /^\S+ \S+ \S+ \S+ \S*d/
    }) or die "it is not detached\n";
}


1;
