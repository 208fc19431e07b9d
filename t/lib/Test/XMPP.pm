package Test::XMPP;

# Starts what a protocol test needs - certificates, Redis, one or more nginx
# hosts, accounts - and looks through the logs afterwards.  The manual is at
# the end.

use strict;
use warnings;

use Encode ();
use File::Path qw/ rmtree /;
use File::Temp qw/ tempdir /;
use IPC::Open3 qw/ open3 /;
use Scalar::Util qw/ weaken /;
use Test::More ();

use Test::XMPP::Accounts;
use Test::XMPP::CA;
use Test::XMPP::Client;
use Test::XMPP::Loop;
use Test::XMPP::Nginx;
use Test::XMPP::Process;
use Test::XMPP::Redis;
use Test::XMPP::Relay;
use Test::XMPP::WebSocket;

my @instances;

# so that END runs and nothing stays behind
$SIG{INT} = $SIG{TERM} = sub { exit 130 };
$SIG{PIPE} = 'IGNORE';

binmode Test::More->builder->$_(), ':encoding(UTF-8)'
    for qw/ output failure_output todo_output /;


sub new {
    my ($class, %opt) = @_;

    my $self = bless {
        hosts   => $ENV{XMPP_HOSTS} // 1,
        spread  => $ENV{XMPP_HOSTS} && !exists $opt{hosts},
        workers => $ENV{XMPP_WORKERS} // 2,
        domains => [ $Test::XMPP::Accounts::DOMAIN,
                     $Test::XMPP::Accounts::DOMAIN2 ],
        users   => [ qw/ alice bob carol dave / ],
        redis   => {},
        owner   => $$,
        %opt,
    }, $class;

    if ($ENV{XMPP_TARGET}) {
        @$self{qw/ target_host target_ports /} = _target();
        $self->{ca_file} = $ENV{XMPP_TARGET_CA};

    } else {
        $self->{dir} = tempdir('xmpp-test-XXXXXXXX', TMPDIR => 1);
    }

    push @instances, $self;
    weaken($instances[-1]);

    return $self;
}


sub _target {
    my ($address, @more) = split /,/, $ENV{XMPP_TARGET};
    my ($host, $port) = $address =~ /^(.+):(\d+)$/
        or die "XMPP_TARGET is host:port[,directtlsport]\n";

    return ($host, [ $port, @more ]);
}


# The name of the foreign server under test, '' for our own

sub peer {
    my ($self) = @_;

    return $self->{target_host} ? $ENV{XMPP_TARGET_PEER} // 'other' : '';
}


sub ours { $_[0]->peer() eq '' }

# For tests of what only our server has

sub only_ours {
    my ($self, $why) = @_;

    Test::More::plan(skip_all => $why // 'for our own server only')
        unless $self->ours();

    return $self;
}


sub plan {
    my ($self, $tests) = @_;

    # the last test is that of the logs
    Test::More::plan(tests => $tests + ($self->ours() ? 1 : 0));
    $self->{planned} = 1;

    return $self;
}


sub domain  { $ENV{XMPP_TARGET_DOMAIN} // $Test::XMPP::Accounts::DOMAIN }
sub domain2 { $Test::XMPP::Accounts::DOMAIN2 }
sub testdir { $_[0]{dir} }
sub ca_file { $_[0]{ca_file} }


# The template of nginx.conf, of all hosts or of one

sub config {
    my ($self, $text, %opt) = @_;

    $self->{config}[ defined $opt{host} ? $opt{host} + 1 : 0 ] = $text;

    return $self;
}


sub run {
    my ($self) = @_;

    return $self unless $self->ours();

    my $ca = $self->{ca} // Test::XMPP::CA->new($self->{dir});

    $ca->issue($_, $_ eq 'localhost' ? qw/ 127.0.0.1 ::1 / : ())
        for @{ $self->{domains} };
    $self->{ca} = $ca;
    $self->{ca_file} = $ca->file();

    if ($self->{redis}) {
        $self->{redis_server} = Test::XMPP::Redis->new($self->{dir},
                                                       %{ $self->{redis} });
        $self->add_user(@$_) for $self->_users();
    }

    my $all = $ENV{XMPP_RELAY} && !exists $self->{relay};

    $self->{relay} = $ENV{XMPP_RELAY} if $all;
    $self->{behind} = $all;

    if (defined $self->{relay}) {
        $self->{relay_server} = Test::XMPP::Relay->new(
            "$self->{dir}/relay.sock", $self->redis()->socket(),
            $self->{relay});
    }

    $self->start_host() for 1 .. $self->{hosts};

    return $self;
}


# Starts one more nginx with the same Redis; returns it.

sub start_host {
    my ($self, %opt) = @_;

    my $i = @{ $self->{nginx} //= [] };
    my $config = $opt{config} // $self->{config}[$i + 1]
                 // $self->{config}[0];

    my $nginx = Test::XMPP::Nginx->new(
        dir     => $self->{dir},
        name    => "host$i",
        redis   => "$self->{dir}/"
                   . ($self->{behind} ? 'relay.sock' : 'redis.sock'),
        relay   => "$self->{dir}/relay.sock",
        workers => $opt{workers} // $self->{workers},
        daemon  => $opt{daemon} // $self->{daemon},
        defined $config ? (config => $config) : (),
    );

    push @{ $self->{nginx} }, $nginx;
    $nginx->start() unless $opt{idle};

    return $nginx;
}


sub host  { $_[0]{nginx}[ $_[1] // 0 ] }
sub redis { $_[0]{redis_server} }
sub relay { $_[0]{relay_server} }

sub port {
    my ($self, $n, $host) = @_;

    return $self->{target_ports}[$n // 0] if $self->{target_host};
    return $self->host($host)->port($n);
}


# The same for the first host

for my $name (qw/ workers reload kill_worker expect_log
                  read_log log_end await_log await_log_from /) {
    no strict 'refs';
    *$name = sub { my $self = shift; return $self->host()->$name(@_) };
}


# A client for an account; options are those of Test::XMPP::Client, and
# on => host index, port_number => n of %%PORT_n%%, websocket => 1.

sub client {
    my ($self, $user, %opt) = @_;

    my $domain = $opt{domain} // $self->domain();
    my $class = delete $opt{websocket} ? 'Test::XMPP::WebSocket'
                                       : 'Test::XMPP::Client';
    my $tls = $opt{tls} // 'starttls';
    my $n = delete $opt{port_number} // ($class =~ /WebSocket/ ? 2
                                         : $tls eq 'direct' ? 1 : 0);
    my $on = delete $opt{on} // ($self->{spread} ? $self->{next}++
                                                   % $self->{hosts} : 0);
    my $password = $self->{passwords}{ "$user\@$domain" }
                   // Test::XMPP::Accounts::password($user, $domain);

    return $class->new(
        host     => $self->{target_host} // '127.0.0.1',
        port     => $self->port($n, $on),
        domain   => $domain,
        user     => $user,
        password => $password,
        ca       => $self->{ca_file},
        %opt,
    );
}


# A logged in and available client

sub online {
    my ($self, $user, %opt) = @_;

    my $presence = delete $opt{presence} // {};

    return $self->client($user, %opt)->login()->available(%$presence);
}


# Waits until all that these clients have sent to each other so far, presence
# included, has arrived, and drops what they have.

sub settle {
    my ($self, @clients) = @_;

    for my $to (@clients) {
        my @marks;

        for my $from (@clients) {
            push @marks, 'settle-' . $from->id();
            $from->message($to->jid(), $marks[-1], type => 'headline');
        }

        $to->pick('message', body => $_) or die $to->who() . ": lost $_\n"
            for @marks;
    }

    $_->drain() for @clients;
}


###############################################################################
# Accounts

sub _users {
    my ($self) = @_;
    my @users;

    for my $user (@{ $self->{users} }) {
        if (ref $user) {
            push @users, $user;
            next;
        }

        my ($account) = grep { $_->[0] eq $user }
                        @Test::XMPP::Accounts::ACCOUNTS;

        push @users, $account // die "no account '$user'\n";
    }

    return @users;
}


sub add_user {
    my ($self, $user, $domain, $password) = @_;

    my ($status, $output) = $self->xmppctl($password, 'adduser',
                                           "$user\@$domain");

    die "xmppctl adduser $user\@$domain: $output\n" if $status;

    $self->{passwords}{"$user\@$domain"} = $password;

    return $self;
}


# xmppctl($stdin, @arguments): (exit status, output of both kinds)

sub xmppctl {
    my ($self, $input, @arguments) = @_;

    my $binary = $ENV{XMPP_XMPPCTL}
                 // Test::XMPP::Nginx::root() . '/build/xmppctl';

    local $SIG{PIPE} = 'IGNORE';

    my $pid = open3(my $in, my $out, undef, $binary,
                    '-r', 'unix:' . $self->redis()->socket(),
                    map { Encode::encode('UTF-8', $_) } @arguments);

    print $in Encode::encode('UTF-8', $input), "\n" if defined $input;
    close $in;

    my $output = do { local $/; <$out> };
    waitpid $pid, 0;

    return ($? & 127 ? -1 : $? >> 8, $output);
}


###############################################################################
# Files

sub write_file {
    my ($self, $name, $content) = @_;

    open my $fh, '>:utf8', "$self->{dir}/$name"
        or die "$self->{dir}/$name: $!\n";
    print $fh $content;
    close $fh or die "$self->{dir}/$name: $!\n";

    return $self;
}


sub read_file { Test::XMPP::Process::slurp("$_[0]{dir}/$_[1]") }


###############################################################################
# The end

# Stops everything; returns the lines of the logs that should not be there.

sub stop {
    my ($self) = @_;
    my @bad;

    return if $self->{stopped}++ || !$self->{dir} || $self->{owner} != $$;

    $self->{redis_server}{process}->kill('CONT') if $self->{redis_server};

    for my $nginx (@{ $self->{nginx} // [] }) {
        $nginx->stop() or push @bad, "$nginx->{name} had to be killed";
        push @bad, $nginx->bad_lines();

        Test::More::diag($nginx->read_log()) if $ENV{XMPP_CATLOG};
    }

    $self->{relay_server}->stop() if $self->{relay_server};
    $self->{redis_server}->stop() if $self->{redis_server};

    if ($ENV{XMPP_LEAVE}) {
        Test::More::diag("left $self->{dir}");

    } else {
        rmtree($self->{dir});
    }

    return @bad;
}


# To be called at the end of each test.

sub done {
    my ($self) = @_;

    if ($self->ours()) {
        Test::More::is(join("\n", $self->stop()), '', 'logs are clean');
    }

    Test::More::done_testing() unless $self->{planned};
}


# A test that died did not call done().

END {
    my $status = $?;

    for my $self (grep { defined } @instances) {
        my @bad = $self->stop();

        if (@bad) {
            Test::More::diag(join "\n", 'in the logs:', @bad);
            $status ||= 1;
        }
    }

    $? = $status;
}


1;

__END__

=head1 NAME

Test::XMPP - starts private servers for a test and checks their logs

=head1 SYNOPSIS

    use Test::More;
    use lib 't/lib';
    use Test::XMPP;

    my $t = Test::XMPP->new(users => [qw/ alice bob /]);

    $t->config(<<'EOF');
    %%GLOBALS%%
    events { worker_connections 1024; }
    stream {
        xmpp_redis unix:%%REDIS%%;
        xmpp_host localhost {
            ssl_certificate     %%TESTDIR%%/localhost.pem;
            ssl_certificate_key %%TESTDIR%%/localhost.key;
        }
        server { listen 127.0.0.1:%%PORT_0%%; xmpp_c2s; }
        server { listen 127.0.0.1:%%PORT_1%% ssl; xmpp_c2s; }
    }
    EOF

    $t->run();

    my $alice = $t->online('alice', resource => 'r');
    ...
    $t->done();

=head1 METHODS

=over

=item new(%options)

hosts (1), workers (2, env XMPP_WORKERS), users (names of
L<Test::XMPP::Accounts> or [user, domain, password]), domains (which get
certificates), redis (a hash of redis.conf settings, undef for no Redis),
relay (milliseconds: start a slow relay in front of Redis, %%RELAY%%), daemon
(1: its masters are nobody's children, and may be upgraded).

=item config($template [, host => i])

Without it there is a sane one with localhost and second.test, STARTTLS on
PORT_0 and direct TLS on PORT_1. Placeholders: %%GLOBALS%%, %%TESTDIR%%,
%%PREFIX%% (of the host), %%HTTP%% (paths for http{}), %%NAME%%, %%REDIS%%,
%%RELAY%%, %%PORT_n%%.

=item run, start_host(%options), host(i), redis, relay

A host (L<Test::XMPP::Nginx>) has start, stop, reload, upgrade, workers,
kill_worker, kill_host, port(n), read_log, log_end, await_log, await_log_from,
expect_log, test_config. Redis (L<Test::XMPP::Redis>) has command, pause,
resume, stop, start, kill9. The relay (L<Test::XMPP::Relay>) has delay, hold,
release, cut. workers, reload, kill_worker, expect_log and those of the log are,
of the test, those of host 0.

=item client($user, %options), online($user, %options)

A L<Test::XMPP::Client>; on => i chooses the host, websocket => 1 makes it a
L<Test::XMPP::WebSocket>. online logs in and sends initial presence (presence =>
{ priority => 5 }).

=item settle(@clients)

Waits until what they sent to each other has arrived, and drops it.

=item add_user($user, $domain, $password), xmppctl($stdin, @arguments)

=item peer, ours, only_ours($why), domain, domain2, port(n)

=item plan(n), done

done stops everything, tests that no log has an [alert], an [emerg], a crash
or a sanitizer report, and ends the plan.

=back

=head1 ENVIRONMENT

XMPP_TARGET=host:port[,directtlsport]: nothing is started, the tests run
against that server, which has the accounts of L<Test::XMPP::Accounts>;
XMPP_TARGET_DOMAIN, XMPP_TARGET_PEER (prosody, ejabberd), XMPP_TARGET_CA.

XMPP_HOSTS=n: tests that do not say how many hosts they want get n, and their
clients connect to each in turn.

XMPP_RELAY=ms: in tests that have no relay of their own Redis answers that
late.

XMPP_NGINX, XMPP_MODULE, XMPP_STREAM_MODULE, XMPP_XMPPCTL: other binaries;
XMPP_NO_LOAD: the module is linked in. XMPP_WORKERS, XMPP_LOG (level),
XMPP_LEAVE (keep the folder), XMPP_CATLOG (print logs), XMPP_TIMEOUT.

=cut
