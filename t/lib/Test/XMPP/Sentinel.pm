package Test::XMPP::Sentinel;

# Sentinels that watch a master and its replicas, on loopback ports.
#
#   my $s = Test::XMPP::Sentinel->new($dir, master => $redis, replicas => 1);
#   $s->start();                  # and waits until they know each other
#   $s->address();                # for xmpp_redis
#   $s->master();                 # the Test::XMPP::Redis that is the master now
#
# The times of a failover are cut down, so that one takes a second or two.

use strict;
use warnings;

use IO::Socket::INET;
use Test::XMPP::Process;
use Test::XMPP::Redis;


our $NAME = 'main';

# what is done every so many ms (SENTINEL DEBUG); an election that fails is
# repeated after twice the failover-timeout only

my @PERIODS = qw/ info-period 100 publish-period 1000 ask-period 100
                  election-timeout 3000 ping-period 100 /;


# new($dir, %options): master, a server with a port; replicas, how many to
# make; sentinels, how many there are; more => lines of sentinel.conf; auth =>
# [ user and password ] of the test there; pass, the master's; at => the
# master's address in it

sub new {
    my ($class, $dir, %opt) = @_;

    my $self = bless {
        dir       => $dir,
        servers   => [ $opt{master} ],
        more      => $opt{more} // '',
        pass      => $opt{pass} ? "sentinel auth-pass $NAME $opt{pass}" : '',
        auth      => $opt{auth},
        at        => $opt{at} // '127.0.0.1',
        sentinels => [],
    }, $class;

    for my $n (1 .. $opt{replicas} // 1) {
        my $place = "$dir/replica$n";

        mkdir $place;
        push @{ $self->{servers} }, Test::XMPP::Redis->new($place,
            %{ $opt{master}{config} },
            port => Test::XMPP::Process::free_port());
    }

    push @{ $self->{sentinels} },
         { port => Test::XMPP::Process::free_port(), n => $_ }
        for 1 .. $opt{sentinels} // 3;

    $self->follow($opt{master}, $_)
        for @{ $self->{servers} }[1 .. $#{ $self->{servers} }];

    return $self;
}


sub servers { @{ $_[0]{servers} } }
sub _port   { $_[0]{config}{port} }


# Makes a server a replica, and waits until it is in step.

sub follow {
    my ($self, $master, $replica) = @_;

    $replica->command('REPLICAOF', '127.0.0.1', _port($master));
    $self->await(sub {
        $replica->command('INFO', 'replication') =~ /link_status:up/
    }, 'the replica is in step');
}


sub await {
    my ($self, $cond, $what) = @_;

    Test::XMPP::Process::await(sub { eval { $cond->() } })
        or die "Sentinel: $what: not so in time\n";

    return 1;
}


# Starts them all, and waits until each knows the replicas and the others.

sub start {
    my ($self) = @_;

    my $quorum = int(@{ $self->{sentinels} } / 2) + 1;
    my $port = _port($self->{servers}[0]);

    for my $one (@{ $self->{sentinels} }) {
        my $place = "$self->{dir}/sentinel$one->{n}";

        mkdir $place;
        open my $fh, '>', "$place/sentinel.conf" or die "$place: $!\n";
        print $fh <<"EOT";
port $one->{port}
bind 127.0.0.1
dir $place
$self->{more}
sentinel monitor $NAME $self->{at} $port $quorum
sentinel down-after-milliseconds $NAME 500
sentinel failover-timeout $NAME 4000
$self->{pass}
EOT
        close $fh;
        $self->start_one($one->{n} - 1);
    }

    return $self->settle();
}


# Waits until each knows all others, and that each replica is in step: then
# they can fail over.

sub settle {
    my ($self) = @_;

    for my $one (@{ $self->{sentinels} }) {
        my $port = $one->{port};

        $self->await(sub { $self->_complete($one) },
                     "the sentinel at $port knows all");
    }

    return $self;
}


sub _complete {
    my ($self, $one) = @_;

    my %is = @{ $self->ask($one, 'SENTINEL', 'MASTER', $NAME) };
    my $replicas = $self->ask($one, 'SENTINEL', 'REPLICAS', $NAME);
    my @good = grep { my %r = @$_; $r{flags} eq 'slave'
                                   && $r{'master-link-status'} eq 'ok' }
               @$replicas;

    return @good == @{ $self->{servers} } - 1
           && $is{'num-other-sentinels'} == @{ $self->{sentinels} } - 1
           && $is{flags} eq 'master';
}


sub start_one {
    my ($self, $i) = @_;

    my $one = $self->{sentinels}[$i];
    my $place = "$self->{dir}/sentinel$one->{n}";

    $one->{process} = Test::XMPP::Process->start("$place/log",
        Test::XMPP::Redis::_binary(), "$place/sentinel.conf", '--sentinel');
    Test::XMPP::Process::await_port($one->{port}, $one->{process});
    $self->ask($one, 'SENTINEL', 'DEBUG', @PERIODS);
}


# The index of the one at a port

sub at {
    my ($self, $port) = @_;

    my ($i) = grep { $self->{sentinels}[$_]{port} == $port }
              0 .. $#{ $self->{sentinels} };

    return $i;
}


sub stop_one { $_[0]{sentinels}[ $_[1] ]{process}->stop() }

sub stop {
    my ($self) = @_;

    $_->{process} && $_->{process}->stop() for @{ $self->{sentinels} };
    $_->stop() for @{ $self->{servers} }[1 .. $#{ $self->{servers} }];
}


# ask($sentinel, @words): its reply; an error reply dies

sub ask {
    my ($self, $one, @words) = @_;

    $one = $self->{sentinels}[$one] unless ref $one;

    my $fh = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                   PeerPort => $one->{port}, Proto => 'tcp')
        or die "sentinel $one->{n}: $!\n";

    for my $command ($self->{auth} ? [ 'AUTH', @{ $self->{auth} } ] : (),
                     \@words)
    {
        print $fh '*', scalar @$command, "\r\n",
                  map { '$' . length($_) . "\r\n$_\r\n" } @$command;
        $fh->flush();
        $one->{reply} = Test::XMPP::Redis::_reply($fh);
    }

    return $one->{reply};
}


# For xmpp_redis: the addresses, and the name

sub address {
    my ($self) = @_;

    return 'sentinel:' . join(',', map { "127.0.0.1:$_->{port}" }
                                   @{ $self->{sentinels} }) . "/$NAME";
}


# The server that the first running sentinel takes for the master

sub master {
    my ($self) = @_;

    for my $one (@{ $self->{sentinels} }) {
        next unless $one->{process} && $one->{process}->alive();

        my $at = $self->ask($one, 'SENTINEL', 'GET-MASTER-ADDR-BY-NAME',
                            $NAME);
        my ($server) = grep { _port($_) == $at->[1] } $self->servers();

        return $server;
    }
}


# Waits until another one is the master, as all that run say.

sub await_other {
    my ($self, $than) = @_;

    return $self->await(sub {
        my $now = $self->master();
        $now && $now != $than
            && $now->command('ROLE')->[0] eq 'master';
    }, 'another master');
}


1;
