package Test::XMPP::Redis;

# A private redis-server on a unix socket, and a client for tests that look
# at what it holds.

use strict;
use warnings;

use IO::Socket::UNIX;
use Test::XMPP::Process;


# new($dir, %config): further configuration, as appendonly => 'yes'; wrap => [
# the words of a command that runs it ]

sub new {
    my ($class, $dir, %config) = @_;

    my $self = bless { dir => $dir, sock => "$dir/redis.sock",
                       wrap => delete $config{wrap} // [],
                       config => \%config }, $class;

    return $self->start();
}


# start($loading): with it, it is there as soon as it says that it is loading

sub start {
    my ($self, $loading) = @_;

    my %config = (
        port         => 0,
        unixsocket   => $self->{sock},
        dir          => $self->{dir},
        save         => '',
        appendonly   => 'no',
        daemonize    => 'no',
        'maxmemory-policy' => 'noeviction',
        %{ $self->{config} },
    );

    unlink $self->{sock};

    $self->{process} = Test::XMPP::Process->start("$self->{dir}/redis.log",
        @{ $self->{wrap} }, $self->_binary(),
        map { ("--$_", $config{$_}) } sort keys %config);

    Test::XMPP::Process::await(sub {
        $self->{process}->alive() or die "redis-server did not start: "
            . Test::XMPP::Process::slurp("$self->{dir}/redis.log");
        return eval { $self->command('PING') eq 'PONG' }
               || $loading && $@ =~ /LOADING/;
    }) or die "redis-server does not answer\n";

    return $self;
}


sub _binary {
    my ($found) = grep { -x } map { "$_/redis-server" }
                  split(/:/, $ENV{PATH}), '/usr/bin', '/usr/local/bin';

    return $found // die "no redis-server\n";
}


sub socket { $_[0]{sock} }
sub pid    { $_[0]{process}->pid() }

sub stop {
    my ($self) = @_;

    delete $self->{client};

    return $self->{process} ? $self->{process}->stop() : 1;
}

sub kill9 {
    my ($self) = @_;

    delete $self->{client};

    return $self->{process}->stop('KILL');
}

# A stopped Redis answers nothing and closes nothing.  It stands still when
# pause() returns: the signal alone may reach it a little later.

sub pause {
    my ($self) = @_;

    my $stat = '/proc/' . $self->pid() . '/stat';

    $self->{process}->kill('STOP');

    return Test::XMPP::Process::await(sub {
        Test::XMPP::Process::slurp($stat) =~ /\) T /;
    });
}

sub resume { $_[0]{process}->kill('CONT') }


# command(@words): the reply; an error reply dies.  Arrays are references.

sub command {
    my ($self, @words) = @_;

    my $fh = $self->{client} //= IO::Socket::UNIX->new(Peer => $self->{sock})
        or die "$self->{sock}: $!\n";

    utf8::encode($_) for grep { utf8::is_utf8($_) } @words;

    print $fh '*', scalar @words, "\r\n",
              map { '$' . length($_) . "\r\n$_\r\n" } @words;
    $fh->flush();

    my $reply = eval { _reply($fh) };

    if (my $error = $@) {
        delete $self->{client} if $error =~ /^closed/;
        die "$words[0]: $error";
    }

    return $reply;
}


# The channels of accounts that somebody listens to; not those of workers

sub channels {
    my ($self) = @_;

    my @channels = sort grep { !/:probe:/ }
                   @{ $self->command('PUBSUB', 'SHARDCHANNELS') };

    return @channels;
}


sub _reply {
    my ($fh) = @_;

    local $/ = "\r\n";
    my $line = <$fh> // die "closed\n";
    chomp $line;

    my ($type, $rest) = $line =~ /^(.)(.*)/s;

    return $rest if $type eq '+' || $type eq ':';
    die "$rest\n" if $type eq '-';

    if ($type eq '$') {
        return undef if $rest < 0;
        read($fh, my $value, $rest + 2) == $rest + 2 or die "closed\n";
        return substr($value, 0, -2);
    }

    return $rest < 0 ? undef : [ map { _reply($fh) } 1 .. $rest ];
}


1;
