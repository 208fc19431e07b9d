package Driver;

# An nginx with the driver module in it, and a line to the driver.
#
#   my $d = Driver->new($dir, 'name', 'unix:/path timeout=1s');
#   $d->say('cmd a 0 PING');
#   $d->expect(qr/^reply a PONG$/);
#
# expect() takes the first report that matches off the list of those not yet
# taken, or waits for it; undef when it does not come.  in_order() also asks
# that nothing it knows of comes before.

use strict;
use warnings;

use Cwd qw/ abs_path /;
use Fcntl qw/ LOCK_EX /;
use File::Basename qw/ dirname /;
use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw/ time /;

use Test::XMPP::Nginx;
use Test::XMPP::Process;

my $top = abs_path(dirname(__FILE__) . '/../..');
my $module;


# Builds the driver for the nginx that "make" built the module for, and keeps it
# there until a source is newer.  Of several tests one builds.

sub build {
    my $build = $ENV{BUILD} || 'build';
    $build = "$top/$build" unless $build =~ m{^/};

    my ($objs) = grep { -f "$_/Makefile" }
                 ("$build/objs", "$build/objs-static");

    die "$build has no configured nginx: run make\n" unless $objs;

    my @sources = ("$objs/Makefile", glob("$top/t/redis-client/*"),
                   glob("$top/ngx_xmpp_module/redis/*.[ch]"));

    $module = "$build/redis-client.so";

    open my $lock, '>', "$module.lock" or die "$module.lock: $!\n";
    flock $lock, LOCK_EX or die "$module.lock: $!\n";

    return if -e $module && !grep { -M $_ < -M $module } @sources;

    my $output = `make -C \Q$objs\E/tree -f \Q$top\E/t/redis-client/Makefile \\
                  OBJS=\Q$objs\E OUT=\Q$module.new\E TOP=\Q$top\E driver 2>&1`;

    die $output if $?;

    rename "$module.new", $module or die "$module: $!\n";
}


sub new {
    my ($class, $dir, $name, $redis, %opt) = @_;

    my $more = $opt{main} // '';

    my $nginx = Test::XMPP::Nginx->new(dir => $dir, name => $name,
        redis => '', workers => 1, config => <<"EOT");
%%GLOBALS%%
load_module $module;
$more
events { worker_connections 256; }
stream {
    redis_client $redis;
    server { listen 127.0.0.1:%%PORT_0%%; redis_client_control; }
}
EOT

    my $self = bless { nginx => $nginx, reports => [], buffer => '' }, $class;

    # the driver is the module under test, and all there is to load
    $nginx->port(0);
    $self->_loading(sub { $nginx->start() });

    return $self->attach();
}


sub _loading {
    my ($self, $code) = @_;

    local $ENV{XMPP_NO_LOAD} = 1;

    return $code->();
}


sub nginx { $_[0]{nginx} }
sub log   { $_[0]{nginx}->read_log() }

# A new line to the driver, that of the newest worker

sub attach {
    my ($self) = @_;

    $self->{sock} = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $self->{nginx}->port(0), Proto => 'tcp')
        or die "the driver does not accept: $!\n";
    $self->{reports} = [];
    $self->{buffer} = '';

    # reports go where words came from last
    $self->say('ready')->expect(qr/^ready /);

    return $self;
}


# Waits for both connections; what was reported before is dropped.

sub up {
    my ($self) = @_;

    for ( ;; ) {
        my ($up) = $self->say('ready')->expect(qr/^ready (. .)/) or return 0;

        if ($up eq '1 1') {
            $self->{reports} = [];
            return 1;
        }

        $self->expect(qr/^state . 1$/) or return 0;
    }
}


sub reload {
    my ($self, $config) = @_;

    return $self->_loading(sub { $self->{nginx}->reload($config) });
}


sub test_config {
    my ($class, $dir, $name, $redis) = @_;

    my $nginx = Test::XMPP::Nginx->new(dir => $dir, name => $name,
                                       redis => '', workers => 1);

    local $ENV{XMPP_NO_LOAD} = 1;

    my ($status, $output) = $nginx->test_config(<<"EOT");
%%GLOBALS%%
load_module $module;
events { }
stream { redis_client $redis; }
EOT

    return ($status, $output . $nginx->read_log());
}


sub say {
    my ($self, @lines) = @_;

    my $data = join '', map { "$_\n" } @lines;

    while (length $data) {
        my $n = syswrite($self->{sock}, $data) // die "driver: $!\n";
        substr($data, 0, $n, '');
    }

    return $self;
}


sub expect {
    my ($self, $re, $timeout) = @_;

    my $deadline = time() + ($timeout // 20);
    my $seen = 0;

    for ( ;; ) {
        for (; $seen < @{ $self->{reports} }; $seen++) {
            my @match = $self->{reports}[$seen] =~ $re or next;
            my $line = splice @{ $self->{reports} }, $seen, 1;

            return wantarray ? @match : $line;
        }

        $self->_read($deadline) or return;
    }
}


# The next reports, as many as there are patterns, match them one by one

sub in_order {
    my ($self, @patterns) = @_;

    my $deadline = time() + 20;

    while (@{ $self->{reports} } < @patterns) {
        $self->_read($deadline) or last;
    }

    for my $re (@patterns) {
        my $line = shift @{ $self->{reports} } // 'nothing';
        next if $line =~ $re;

        Test::More::diag("'$line' where $re was expected");
        return 0;
    }

    return 1;
}


# Everything up to now: what the driver said before it answered this

sub reports {
    my ($self) = @_;

    $self->say('ready');
    $self->_read(time() + 20) or last
        until grep { /^ready / } @{ $self->{reports} };

    return grep { !/^ready / } splice @{ $self->{reports} };
}


sub pending {
    my ($self) = @_;

    my ($n) = $self->say('pending')->expect(qr/^pending (\d+)/);

    return $n;
}


sub _read {
    my ($self, $deadline) = @_;

    my $left = $deadline - time();
    return 0 if $left <= 0;
    return 1 unless IO::Select->new($self->{sock})->can_read($left);

    sysread($self->{sock}, $self->{buffer}, 65536, length $self->{buffer})
        or return 0;

    push @{ $self->{reports} }, $1
        while $self->{buffer} =~ s/^([^\n]*)\n//;

    return 1;
}


# Ends nginx gracefully; the lines that should not be in its logs

sub stop {
    my ($self, $signal) = @_;

    my @bad = $self->{nginx}->stop($signal // 'QUIT') ? ()
              : ("$self->{nginx}{name} had to be killed");

    return (@bad, $self->{nginx}->bad_lines());
}


1;
