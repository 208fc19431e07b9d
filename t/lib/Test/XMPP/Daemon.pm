package Test::XMPP::Daemon;

# A master of nginx that is nobody's child: nginx takes SIGUSR2, for a new
# binary, only when whoever has started it is gone.
#
#   my $nginx = $t->start_host(daemon => 1);
#   $nginx->upgrade();            # its process is another one then

use strict;
use warnings;

use POSIX ();
use Test::XMPP::Process;


# start($host): by a process that ends when nginx is there

sub start {
    my ($class, $host) = @_;

    unlink "$host->{prefix}/nginx.pid";

    return $class->new($host, sub {
        my $starter = fork() // die "fork: $!\n";

        if ($starter == 0) {
            fork() or _exec($host);
            Test::XMPP::Process::await(sub { -s "$host->{prefix}/nginx.pid" });
            POSIX::_exit(0);
        }

        waitpid $starter, 0;
    });
}


sub _exec {
    my ($host) = @_;
    my @command = $host->command();

    POSIX::setsid();
    $SIG{$_} = 'DEFAULT' for qw/ INT TERM PIPE /;
    open STDIN, '<', '/dev/null';
    open STDOUT, '>>', "$host->{prefix}/stderr.log";
    open STDERR, '>&', \*STDOUT;
    exec { $command[0] } @command or POSIX::_exit(127);
}


# new($host, $make): the master that wrote the pid file when $make had run

sub new {
    my ($class, $host, $make) = @_;

    my $file = "$host->{prefix}/nginx.pid";
    my $old = Test::XMPP::Process::slurp($file);

    $make->();

    my $pid = Test::XMPP::Process::await(sub {
        my ($now) = Test::XMPP::Process::slurp($file) =~ /^(\d+)\n/;
        return $now && $now != ($old || 0) ? $now : undef;
    }) or die "no new master\n";

    my $self = bless { pid => $pid, owner => $$ }, $class;

    local $host->{process} = $self;
    Test::XMPP::Process::await(sub { my @now = $host->workers(); @now })
        or die "no workers\n";

    return $self;
}


sub pid { $_[0]{pid} }

# a dead one may wait for some time until pid 1 looks at it

sub alive {
    my ($self) = @_;

    return Test::XMPP::Process::slurp("/proc/$self->{pid}/stat")
           =~ /^\d+ \(.*\) [^Z]/;
}

sub kill { my ($self, $signal) = @_; return CORE::kill($signal, $self->{pid}) }

sub stop {
    my ($self, $signal) = @_;

    $self->kill('CONT');
    $self->kill($signal // 'TERM') if $self->alive();

    return Test::XMPP::Process::await(sub { !$self->alive() });
}

sub DESTROY {
    my ($self) = @_;
    local ($@, $!, $?);

    $self->stop('KILL') if $self->{owner} == $$;
}


1;
