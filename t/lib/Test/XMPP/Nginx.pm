package Test::XMPP::Nginx;

# One nginx host: its own prefix, configuration, ports, master and workers.

use strict;
use warnings;

use Cwd qw/ abs_path /;
use File::Basename qw/ dirname /;

use Test::XMPP::Daemon;
use Test::XMPP::Process;

*await = \&Test::XMPP::Process::await;

my $root = abs_path(dirname(__FILE__) . '/../../../..');

my $DEFAULT = <<'EOT';
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis  unix:%%REDIS%%;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    xmpp_host second.test {
        ssl_certificate      %%TESTDIR%%/second.test.pem;
        ssl_certificate_key  %%TESTDIR%%/second.test.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }

    server {
        listen  127.0.0.1:%%PORT_1%% ssl;
        xmpp_c2s;
    }
}
EOT


sub root { $root }

sub binary {
    return $ENV{XMPP_NGINX} if $ENV{XMPP_NGINX};

    my ($found) = grep { -x } map { "$_/nginx" }
                  '/usr/sbin', '/usr/local/sbin', split(/:/, $ENV{PATH});

    return $found // die "no nginx\n";
}


# The load_module lines: stream where it is dynamic, then ours.

sub modules {
    my $info = join ' ', split /\n/, `\Q@{[ binary() ]}\E -V 2>&1`;
    my $stream = $ENV{XMPP_STREAM_MODULE};

    if (!$stream && $info =~ /--with-stream=dynamic/) {
        my ($path) = $info =~ /--modules-path=(\S+)/;
        $stream = ($path // '/usr/lib/nginx/modules')
                  . '/ngx_stream_module.so';
    }

    my @load = $stream ? $stream : ();

    if (!$ENV{XMPP_NO_LOAD}) {
        my $module = $ENV{XMPP_MODULE} // "$root/build/ngx_xmpp_module.so";
        die "$module is missing: run make\n" unless -f $module;
        push @load, $module;
    }

    return join '', map { "load_module $_;\n" } @load;
}


# new(dir, name, config, redis, relay, workers, daemon): nothing is started yet

sub new {
    my ($class, %self) = @_;

    my $self = bless { config => $DEFAULT, workers => 2, ports => [],
                       %self }, $class;

    $self->{prefix} = "$self->{dir}/$self->{name}";
    mkdir $self->{prefix} or die "$self->{prefix}: $!\n";
    mkdir "$self->{prefix}/logs";

    return $self;
}


sub prefix { $_[0]{prefix} }
sub pid    { $_[0]{process} && $_[0]{process}->pid() }

# The port behind %%PORT_n%%

sub port {
    my ($self, $n) = @_;

    return $self->{ports}[$n // 0] //= Test::XMPP::Process::free_port();
}


sub expand {
    my ($self, $text) = @_;

    my $globals = sub {
        # workers must reach the private folder of root
        return ($> == 0 ? "user root;\n" : '') . <<"EOT" . modules();
daemon off;
pid $self->{prefix}/nginx.pid;
error_log $self->{prefix}/error.log @{[ $ENV{XMPP_LOG} // 'info' ]};
worker_processes $self->{workers};
EOT
    };

    # files of http{}, where the nginx here may not write them

    my $http = join '', "access_log $self->{prefix}/access.log;\n",
        map { "${_}_temp_path $self->{prefix}/$_;\n" }
            qw/ client_body proxy fastcgi uwsgi scgi /;

    $text =~ s/%%GLOBALS%%/$globals->()/ge;
    $text =~ s/%%HTTP%%/$http/g;
    $text =~ s/%%TESTDIR%%/$self->{dir}/g;
    $text =~ s/%%PREFIX%%/$self->{prefix}/g;
    $text =~ s/%%NAME%%/$self->{name}/g;
    $text =~ s/%%REDIS%%/$self->{redis}/g;
    $text =~ s/%%RELAY%%/$self->{relay}/g;
    $text =~ s/%%PORT_(\d+)%%/$self->port($1)/ge;

    return $text;
}


# Writes nginx.conf from the template, or from a new one.

sub write_config {
    my ($self, $config) = @_;

    $self->{config} = $config if defined $config;

    open my $fh, '>:utf8', "$self->{prefix}/nginx.conf"
        or die "$self->{prefix}/nginx.conf: $!\n";
    print $fh $self->expand($self->{config});
    close $fh or die "$self->{prefix}/nginx.conf: $!\n";

    return $self;
}


sub command {
    my ($self) = @_;

    return (binary(), '-p', $self->{prefix},
            '-c', "$self->{prefix}/nginx.conf",
            '-e', "$self->{prefix}/error.log");
}


# Starts nginx and waits until it accepts on all of its ports.

sub start {
    my ($self) = @_;

    $self->write_config();
    $self->{process} = $self->{daemon}
        ? Test::XMPP::Daemon->start($self)
        : Test::XMPP::Process->start("$self->{prefix}/stderr.log",
                                     $self->command());

    for my $port (@{ $self->{ports} }) {
        next unless $port && $self->{config} =~ /%%PORT_/;

        my $sock = eval {
            Test::XMPP::Process::await_port($port, $self->{process});
        };

        die $@ . $self->read_log() . Test::XMPP::Process::slurp(
                "$self->{prefix}/stderr.log") unless $sock;
    }

    return $self;
}


# nginx -t: (exit status, output)

sub test_config {
    my ($self, $config) = @_;

    $self->write_config($config);

    my $command = join ' ', map { quotemeta } $self->command(), '-t';
    my $output = `$command 2>&1`;

    return ($? >> 8, $output);
}


sub stop {
    my ($self, $signal) = @_;

    return $self->{process} ? $self->{process}->stop($signal) : 1;
}


# The pids of the workers that accept; with the argument 'all' also of those
# that are shutting down.

sub workers {
    my ($self, $all) = @_;

    return sort { $a <=> $b } grep {
        my $title = Test::XMPP::Process::slurp("/proc/$_/cmdline") // '';
        $title =~ /worker process/
            && ($all || $title !~ /shutting down/);
    } $self->children();
}


# The pids of all children of the master.

sub children {
    my ($self) = @_;

    my $master = $self->pid() or return;

    return map { split ' ', Test::XMPP::Process::slurp($_) }
               glob "/proc/$master/task/*/children";
}


# HUP; returns the old workers when all new ones are there.

sub reload {
    my ($self, $config) = @_;

    my @old = $self->workers();
    my %old = map { $_ => 1 } @old;

    $self->write_config($config);
    $self->{process}->kill('HUP');

    await(sub {
        my @now = $self->workers();
        return @now && !grep { $old{$_} } @now;
    }) or die "$self->{name}: reload failed\n" . $self->read_log();

    return @old;
}


# A new binary in the place of the old one, of a daemon: SIGUSR2, and when that
# runs SIGWINCH and SIGQUIT to the old master, which ends.

sub upgrade {
    my ($self) = @_;

    my $old = $self->{process};

    $self->{process} = Test::XMPP::Daemon->new($self,
                                               sub { $old->kill('USR2') });
    $old->kill('WINCH');

    return $old->stop('QUIT');
}


# kill -9 of one worker; returns when the master has started another.

sub kill_worker {
    my ($self, $pid) = @_;

    my %old = map { $_ => 1 } $self->workers('all');

    $pid //= ($self->workers())[0];
    $self->expect_log(qr/worker process $pid exited on signal 9/);
    kill 'KILL', $pid or die "kill $pid: $!\n";

    await(sub { grep { !$old{$_} } $self->workers() })
        or die "$self->{name}: no new worker\n";

    return $pid;
}


# kill -9 of the master and all workers at once: the host is gone.

sub kill_host {
    my ($self) = @_;

    # the master first, or it starts new ones, which nobody would know of

    $self->{process}->kill('STOP');

    # a new one has no title yet

    my @all = $self->children();

    $self->{process}->kill('KILL');
    kill 'KILL', @all;
    $self->{process}->stop('KILL');

    return await(sub { !grep { kill 0, $_ } @all });
}


# The log, or what has come since log_end() told $from

sub read_log {
    my ($self, $from) = @_;

    my $log = Test::XMPP::Process::slurp("$self->{prefix}/error.log");

    return substr($log, $from // 0);
}

sub log_end { length $_[0]->read_log() }


# await_log($re), await_log($re, $timeout); await_log_from($from, $re) where
# what was said before must not count

sub await_log {
    my ($self, $re, $timeout) = @_;

    return $self->await_log_from(0, $re, $timeout);
}


sub await_log_from {
    my ($self, $from, $re, $timeout) = @_;

    return await(sub { $self->read_log($from) =~ $re }, $timeout);
}


# Lines that match are no failure.

sub expect_log {
    my ($self, $re) = @_;

    push @{ $self->{expected} }, $re;

    return $self;
}


# The lines of all logs that no test may leave behind

sub bad_lines {
    my ($self) = @_;

    my @lines = map { split /\n/, Test::XMPP::Process::slurp($_) }
                glob "$self->{prefix}/*.log $self->{prefix}/*san*";

    return grep {
        my $line = $_;
        !grep { $line =~ $_ } @{ $self->{expected} // [] };
    } grep {
        /\[(?:alert|emerg)\]|exited\ on\ signal
         |AddressSanitizer|LeakSanitizer|runtime\ error/x
    } @lines;
}


1;
