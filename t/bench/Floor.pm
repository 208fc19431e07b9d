package Floor;

# The floors of the benchmark: what the parts cost that no XMPP server can do
# without, measured on this machine, in this run.  Each method starts what it
# needs, in its own folder, and ends it.
#
#   my $floor = Floor->new(dir => $dir, ca => $ca);     a Test::XMPP::CA
#
# Servers to drive with the traffic generator (t/traffic), which the caller
# measures as it measures the others; they live until they are gone out of
# scope or stop() is called:
#
#   my $relay = $floor->relay();    a relay of the bytes of each stanza
#   my $proxy = $floor->proxy();    stock nginx in front of a relay of its own
#
#       $relay->{port}       without TLS: tls => 'plain'
#       $relay->{tls_port}   direct TLS:  tls => 'direct', ca => $floor->ca()
#       $relay->{pids}       whose CPU counts; of the proxy: nginx's alone
#       $relay->{traffic}    { options that the generator needs for it }
#       $relay->stop()
#
#   Traffic->start(targets => [ "127.0.0.1:$relay->{port}" ], pairs => 1,
#                  tls => 'plain', accounts => $floor->accounts(200),
#                  %{ $relay->{traffic} }, ...);
#
# A relay pairs load0 with load1, load2 with load3 and so on, as --pairs does;
# accounts($n) is the name of a file with those of its domain.  It takes any
# password, sends no presence to others, and delivers what one of a pair
# writes to the other as it is: hence the senders put in their own "from".
#
# Figures, each in a few seconds:
#
#   $floor->handshake(key => 'ec', n => 2000)   CPU of nginx for a full TLS 1.3
#           key => 'rsa'                         handshake, microseconds
#           tickets => 1                         and for a resumed one
#   $floor->scram()                             the server's part of a SCRAM-
#                                               SHA-256 login, microseconds
#   $floor->publish(pipeline => 1)              CPU of redis-server for a
#           pipeline => 16                      PUBLISH of 400 bytes with one
#           sharded => 1                        subscriber, or SPUBLISH, us
#   $floor->idle(tls => 0, n => 1000)           memory of nginx for an idle
#           tls => 1                            connection, proportional, bytes
#
# Helpers, for any processes (Cost.pm):
#
#   Floor::cpu(@pids)      user and system time, microseconds
#   Floor::memory(@pids)   proportional set size, bytes
#   Floor::tree(@pids)     these processes and all below them

use strict;
use warnings;

use Cwd qw/ abs_path /;
use File::Basename qw/ dirname /;
use IO::Socket::UNIX;
use POSIX ();

my $here;
BEGIN { $here = abs_path(dirname(__FILE__)) }

use lib $here, "$here/../lib", "$here/../interop";

use Cost;
use Interop;
use Test::XMPP::Nginx;
use Test::XMPP::Process;
use Test::XMPP::Redis;

*slurp = \&Test::XMPP::Process::slurp;

our $DOMAIN = 'floor.test';

my $FIRST = 100;


sub new {
    my ($class, %opt) = @_;

    my $self = bless { %opt, n => 0 }, $class;

    $self->{ca}->issue($DOMAIN);
    $self->{ca}->issue_rsa($DOMAIN);

    return $self;
}


sub ca { $_[0]{ca}->file() }


# A folder of its own for each server

sub _dir {
    my ($self, $name) = @_;

    my $dir = sprintf '%s/floor-%s-%d', $self->{dir}, $name, ++$self->{n};
    mkdir $dir or die "$dir: $!\n";

    return $dir;
}


sub _program {
    my ($name) = @_;

    my $program = "$here/../../build/t/$name";

    Interop::build($program, [ "$here/$name.c" ], [], '-D_GNU_SOURCE',
                   '-lssl', '-lcrypto');

    return $program;
}


# accounts($n): the name of a file with so many, which only the relay takes

sub accounts {
    my ($self, $n) = @_;

    my $file = "$self->{dir}/floor-$n.txt";

    open my $fh, '>', $file or die "$file: $!\n";
    print $fh map { "load$_\@$DOMAIN any\n" } 0 .. $n - 1;
    close $fh or die "$file: $!\n";

    return $file;
}


###############################################################################
# Servers

# relay([how => 'refuse' | 'small']): no TLS session is ever resumed; records of
# TLS are as short as they can be

sub relay {
    my ($self, %opt) = @_;

    my $dir = $self->_dir('relay');
    my ($port, $tls) = map { Test::XMPP::Process::free_port() } 1, 2;

    my $process = Test::XMPP::Process->start("$dir/log",
        _program('floor_relay'), $port, $tls, $self->_pem('ec'),
        $opt{how} // ());

    Test::XMPP::Process::await_port($_, $process)
        or die slurp("$dir/log") for $port, $tls;

    return Floor::Server->new(port => $port, tls_port => $tls,
        pids => [ $process->pid() ], parts => [ $process ],
        traffic => { mechanism => 'PLAIN', from => 1 });
}


sub proxy {
    my ($self) = @_;

    my $relay = $self->relay();
    my ($cert, $key) = $self->_pem('ec');

    my $nginx = $self->_nginx('proxy', <<"EOF");
stream {
    server {
        listen      127.0.0.1:%%PORT_0%%;
        proxy_pass  127.0.0.1:$relay->{port};
    }

    server {
        listen      127.0.0.1:%%PORT_1%% ssl;
        proxy_pass  127.0.0.1:$relay->{port};
        ssl_certificate      $cert;
        ssl_certificate_key  $key;
    }

    proxy_timeout  1h;
}
EOF

    return Floor::Server->new(port => $nginx->port(0),
        tls_port => $nginx->port(1), pids => [ tree($nginx->pid()) ],
        parts => [ $nginx, $relay ], traffic => $relay->{traffic});
}


# One worker of the nginx that is there, without the module of this project.

sub _nginx {
    my ($self, $name, $config) = @_;

    # lines about each connection would be a part of the cost
    local $ENV{XMPP_LOG} = 'warn';
    local $ENV{XMPP_NO_LOAD} = 1;

    my $nginx = Test::XMPP::Nginx->new(dir => $self->_dir($name),
        name => 'nginx', workers => 1, config => <<"EOF" . $config)->start();
%%GLOBALS%%
events { worker_connections 16384; }
EOF

    # the master listens before there is a worker
    Test::XMPP::Process::await(sub { () = $nginx->workers() })
        or die "no worker of nginx\n";

    return $nginx;
}


sub _pem {
    my ($self, $key) = @_;

    my $file = "$self->{ca}{dir}/$DOMAIN" . ($key eq 'rsa' ? '-rsa' : '');

    return ("$file.pem", "$file.key");
}


###############################################################################
# Figures

sub handshake {
    my ($self, %opt) = @_;

    my $n = $opt{n} // 2000;
    my ($cert, $key) = $self->_pem($opt{key} // 'ec');

    my $nginx = $self->_nginx('handshake', <<"EOF");
stream {
    server {
        listen  127.0.0.1:%%PORT_0%% ssl;
        return  "";
        ssl_certificate      $cert;
        ssl_certificate_key  $key;
    }
}
EOF

    my $how = $opt{tickets} ? 'resume' : 'new';

    $self->_connect($nginx->port(), $FIRST, $how)->end();

    my @pids = tree($nginx->pid());
    my $before = cpu(@pids);
    my $said = $self->_connect($nginx->port(), $n, $how)->end();
    my $cpu = cpu(@pids) - $before;

    my $resumed = $opt{tickets} ? $n - 1 : 0;

    $said =~ /^connections=$n resumed=$resumed$/m
        or die "not the handshakes that were wanted: $said";

    $nginx->stop();

    return $cpu / $n;
}


# The server that waits for a request is the one of nginx that keeps a
# connection on which nothing was ever said.

sub idle {
    my ($self, %opt) = @_;

    my $n = $opt{n} // 1000;
    my ($cert, $key) = $self->_pem('ec');

    my $nginx = $self->_nginx('idle', <<"EOF");
http {
    access_log off;
    client_header_timeout 1h;

    server {
        listen  127.0.0.1:%%PORT_0%%;
        listen  127.0.0.1:%%PORT_1%% ssl;
        ssl_certificate      $cert;
        ssl_certificate_key  $key;
    }
}
EOF

    my ($port, $how) = $opt{tls} ? ($nginx->port(1), 'hold')
                                 : ($nginx->port(0), 'plain');
    my @pids = $nginx->workers();

    # the first ones make what is made once

    my $first = $self->_connect($port, $FIRST, $how);
    my $before = memory(@pids);
    my $rest = $self->_connect($port, $n, $how);
    my $each = (memory(@pids) - $before) / $n;

    $_->end() for $rest, $first;
    $nginx->stop();

    return $each;
}


sub _connect {
    my ($self, $port, $n, $how) = @_;

    return Floor::Connections->new(_program('floor_tls'), $port, $n, $how);
}


sub scram {
    my $program = _program('floor_scram');
    my $us = `\Q$program\E`;

    $? == 0 or die "floor_scram: status $?\n";

    return $us + 0;
}


sub publish {
    my ($self, %opt) = @_;

    my $pipeline = $opt{pipeline} // 1;
    my $n = $opt{n} // ($pipeline > 1 ? 400_000 : 50_000);
    my ($s, $count) = $opt{sharded} ? ('S', 'SHARDNUMSUB') : ('', 'NUMSUB');

    my $redis = Test::XMPP::Redis->new($self->_dir('redis'));
    my $subscriber = _subscribe($redis->socket(), $s);
    my $there = sub { $redis->command('PUBSUB', $count, 'floor')->[1] == 1 };

    Test::XMPP::Process::await($there) or die "nobody has subscribed\n";

    my $before = cpu($redis->pid());

    open my $fh, '-|', 'redis-benchmark', '-s', $redis->socket(), '-c', 1,
        '-n', $n, '-P', $pipeline, '--csv', "${s}PUBLISH", 'floor', 'x' x 400
        or die "redis-benchmark: $!\n";
    1 while readline $fh;
    close $fh or die "redis-benchmark: status $?\n";

    my $cpu = cpu($redis->pid()) - $before;

    my ($calls) = $redis->command('INFO', 'commandstats')
                  =~ /^cmdstat_\L${s}\Epublish:calls=(\d+)/m;

    $calls // 0 == $n && $there->()
        or die 'published ', $calls // 0, " of $n, or the subscriber gone\n";

    kill 'TERM', $subscriber;
    waitpid $subscriber, 0;
    $redis->stop();

    return $cpu / $n;
}


# A process that reads all and looks at nothing

sub _subscribe {
    my ($socket, $s) = @_;

    my $pid = fork() // die "fork: $!\n";

    return $pid if $pid;

    $SIG{TERM} = 'DEFAULT';
    my $fh = IO::Socket::UNIX->new(Peer => $socket);

    if ($fh) {
        syswrite $fh, "${s}SUBSCRIBE floor\r\n";
        1 while sysread $fh, my $buf, 262144;
    }

    POSIX::_exit(0);
}


###############################################################################
# Helpers

*memory = \&Cost::pss;
*tree = \&Cost::family;

sub cpu { 1e6 * Cost::cpu(@_) }


###############################################################################
# A server and its parts, the first to be stopped first

package Floor::Server;

use strict;
use warnings;

sub new {
    my ($class, %self) = @_;

    return bless { %self }, $class;
}


sub stop {
    my ($self) = @_;

    $_->stop() for splice @{ $self->{parts} };
}


sub DESTROY {
    my ($self) = @_;
    local ($@, $!, $?);

    $self->stop();
}


###############################################################################
# Connections of floor_tls: made, and held if they are to be, by new()

package Floor::Connections;

use strict;
use warnings;

use IPC::Open2;

sub new {
    my ($class, $program, $port, $n, $how) = @_;

    my $self = bless {}, $class;

    $self->{pid} = open2($self->{from}, $self->{to}, $program, $port, $n,
                         $how);
    $self->{said} = readline($self->{from}) // 'nothing';

    return $self;
}


# what it said at its end

sub end {
    my ($self) = @_;

    my $pid = delete $self->{pid} or return '';
    local $?;

    close $self->{to};
    $self->{said} .= join '', readline $self->{from};
    waitpid $pid, 0;

    return $self->{said};
}


sub DESTROY { $_[0]->end() }


1;
