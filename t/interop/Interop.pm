package Interop;

# Real clients as tests: starts one of the client programs of this folder and
# talks with it in lines, the same lines for each client.
#
# To the client:    SEND <jid> <words>      a chat message
#                   PING <jid>              (slixmpp, libstrophe)
#                   DISCO <jid>             (slixmpp)
#                   PASSWORD <new>          (slixmpp)
#                   CANCEL                  (slixmpp)
#                   IDLE                    nobody looks at it (slixmpp)
#                   SETTLE                  (libstrophe)
#                   those of Im.pm          (slixmpp, nbxmpp)
#                   those of Commands.pm    (slixmpp)
#                   QUIT                    close the stream and leave
# From the client:  READY <full jid> <TLS>  logged in over TLS, available
#                   MESSAGE <jid> <words>   received
#                   PONG|NOPONG <jid>       the answer to PING
#                   FEATURES <var> ...      the answer to DISCO
#                   FIELDS, REGISTERED, REFUSED   where it was to register
#                   GONE                    lost its connection, comes back
#                   RESUMED, NOTRESUMED     which of it; then READY again
#                   SETTLED                 all it sent is acknowledged
#                   BYE                     left as asked, exit status 0
#                   FAIL <why>              exit status 1
#
# Synopsis:
#
#    my $c = Interop->start('slixmpp', host => '127.0.0.1', port => $port,
#       jid => 'romeo@localhost/a', password => 'secret',
#       ca => $file, tls => 'starttls');
#   my ($jid) = $c->wait(qr/^READY (\S+)/);
#   $c->tell("SEND juliet\@localhost soft");
#   is($c->quit(), 0, 'left');
#
# What the client writes to its standard error is shown with XMPP_CATLOG=1.
# A client program that is missing on the machine is named by missing().

###############################################################################

use warnings;
use strict;

use Cwd qw/ abs_path /;
use Encode qw/ decode encode /;
use File::Basename qw/ dirname /;
use File::Path qw/ make_path /;
use File::Spec;
use IO::Select;
use IPC::Open3;
use Time::HiRes qw/ time /;

my $here = dirname(abs_path(__FILE__));
my $npm = abs_path("$here/../..") . '/build/t/npm';

my %clients = (
    slixmpp => {
        command => ['/usr/bin/python3', '-W', 'ignore',
            "$here/slixmpp_client.py"],
        probe => '/usr/bin/python3 -c "import slixmpp"',
    },
    nbxmpp => {
        command => ['/usr/bin/python3', '-W', 'ignore',
            "$here/nbxmpp_client.py"],
        probe => '/usr/bin/python3 -c "import gi; '
                 . 'gi.require_version(\'Soup\', \'3.0\'); '
                 . 'import nbxmpp.client"',
    },
    libstrophe => {
        command => ["$here/../../build/t/strophe_client"],
        probe => 'echo "#include <strophe.h>" | cc -E -o /dev/null -',
        build => [ [ "$here/strophe_client.c" ], [], '-lstrophe' ],
    },
    'go-sendxmpp' => {
        command => ['perl', "$here/go_sendxmpp_client.pl"],
        probe => 'go-sendxmpp --version',
    },
    (map { $_ => {
        command => ['node', "$here/npm/${_}_client.mjs"],
        probe => "node --version && test -d $npm/node_modules/ws",
    } } qw/ xmppjs strophejs stanza /),
    profanity => {
        command => ['perl', "$here/profanity_client.pl"],
        probe => 'profanity --version && tmux -V',
    },
);

###############################################################################

# missing($client): why it cannot be run here, or undef

sub missing {
    my ($client) = @_;

    return undef if system("($clients{$client}{probe}) "
        . '>/dev/null 2>&1 </dev/null') == 0;

    return "$client is not installed";
}

sub start {
    my ($class, $client, %arg) = @_;

    my $self = bless { client => $client, buf => '', lines => [] }, $class;
    my $it = $clients{$client};

    build($it->{command}[0], @{$it->{build}}) if $it->{build};

    local $ENV{XMPP_HOST} = $arg{host};
    local $ENV{XMPP_PORT} = $arg{port};
    local $ENV{XMPP_JID} = $arg{jid};
    local $ENV{XMPP_PASSWORD} = $arg{password};
    local $ENV{XMPP_CA} = $arg{ca};
    local $ENV{XMPP_TLS} = $arg{tls} // 'starttls';
    local $ENV{XMPP_TLS_MAX} = $arg{tls_max} // '';
    local $ENV{XMPP_REGISTER} = $arg{register} // '';
    local $ENV{XMPP_RESUME} = $arg{resume};
    local $ENV{XMPP_NPM} = $npm;
    local $ENV{NODE_EXTRA_CA_CERTS} = $arg{ca};

    open my $err, '>', File::Spec->devnull() or die "devnull: $!\n";
    $self->{pid} = open3($self->{to}, $self->{from},
                         $ENV{XMPP_CATLOG} ? '>&STDERR' : '>&' . fileno $err,
                         @{$it->{command}});
    $self->{select} = IO::Select->new($self->{from});

    return $self;
}

# build(target, sources, headers, options): compiles when one is newer

sub build {
    my ($target, $sources, $headers, @options) = @_;

    return if -e $target && !grep { -M $_ < -M $target } @$sources, @$headers;

    make_path(dirname($target));

    my @cc = ($ENV{CC} // 'cc', '-O2', '-g', '-Wall', '-Wextra', '-Werror',
              (grep { /^-D/ } @options), '-o', "$target.$$", @$sources,
              (grep { !/^-D/ } @options));

    system(@cc) == 0 or die "cannot build: @cc\n";
    rename "$target.$$", $target or die "rename: $!\n";
}

sub tell {
    my ($self, $line) = @_;

    local $SIG{PIPE} = 'IGNORE';
    syswrite $self->{to}, encode('UTF-8', "$line\n");
}

# wait(regex, seconds): the captures (or 1) of the first line that matches,
# which is taken out; what came before it stays for another wait.  Nothing
# when the client ended or the time is over: see said().

sub wait {
    my ($self, $re, $seconds) = @_;

    my $end = time() + ($seconds // 30);

    while (1) {
        for my $i (0 .. $#{$self->{lines}}) {
            my @got = $self->{lines}[$i] =~ $re or next;
            splice @{$self->{lines}}, $i, 1;
            return @got;
        }

        return () if !$self->read_lines($end - time());
    }
}

sub read_lines {
    my ($self, $seconds) = @_;

    return 0 if $seconds <= 0 || !$self->{select}->can_read($seconds);
    return 0 if !sysread $self->{from}, $self->{buf}, 65536,
        length $self->{buf};

    while ($self->{buf} =~ s/^([^\n]*)\n//) {
        my $line = decode('UTF-8', $1);
        push @{$self->{lines}}, $line;
        push @{$self->{said}}, $line;
    }

    return 1;
}

# said(): all lines so far, for the diagnosis of a failed test

sub said {
    my ($self) = @_;

    return map { "$self->{client}: $_" } @{$self->{said} // []};
}

# quit(): asks the client to leave; its exit status, -1 when it had to be
# killed

sub quit {
    my ($self, $seconds) = @_;

    return $self->{status} if defined $self->{status};

    $self->tell('QUIT');
    my $end = time() + ($seconds // 30);

    while ($self->read_lines($end - time())) {}

    return $self->finish(time() >= $end);
}

sub finish {
    my ($self, $kill) = @_;

    close $self->{to};
    kill 'TERM', $self->{pid} if $kill;
    local $?;
    waitpid $self->{pid}, 0;
    $self->{status} = $kill ? -1 : $? >> 8;
    $self->{status} = -1 if $? & 127;

    return $self->{status};
}

sub DESTROY {
    my ($self) = @_;

    $self->finish(1) if $self->{pid} && !defined $self->{status};
}

1;

###############################################################################
