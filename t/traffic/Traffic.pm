package Traffic;

# Runs the traffic generator of this folder from a test.
#
#   Traffic::accounts($t, 200);         in the Redis of a Test::XMPP
#   my $traffic = Traffic->start(targets => [ "127.0.0.1:$port", ... ],
#       accounts => Traffic::accounts_file($t, 200), ca => $t->ca_file(),
#       messages => 1000, iq => 20, reconnect => 1, ...);
#   $traffic->wait(qr/^progress:/);     lines, as Interop has it
#   $traffic->tell('finish');
#   my $result = $traffic->result();    { status, lost, doubled, ... }
#   Traffic::clean($result, 'name');
#
# Repeats with one set of logins, each with a result of its own:
#
#   my $traffic = Traffic->start(..., hold => 1, control => 1);
#   $traffic->wait(qr/^ready:/);        all are online
#   $traffic->tell('again 1000');       that many messages
#   $traffic->wait(qr/^traffic: done/); all of them have arrived
#   my ($line) = $traffic->wait(qr/^result: (.*)/);
#   $traffic->tell('quit');             all log out
#   my $status = $traffic->finish();
#
# When some are lost there is a result, and no "done" before it.
#
# Options are those of the program; without a value (1) they are flags.

use strict;
use warnings;

use Cwd qw/ abs_path /;
use File::Basename qw/ dirname /;
use IO::Select;
use IPC::Open2;
use Test::More ();

use lib abs_path(dirname(__FILE__)) . '/../interop';
use Interop;

our @ISA = 'Interop';

our $PASSWORD = 'load-secret';

my $here = abs_path(dirname(__FILE__));
my %flags = map { $_ => 1 }
            qw/ reconnect round hold control pairs tickets nopresence from sm
                websocket /;


# The program, compiled when a source is newer

sub program {
    my $program = "$here/../../build/t/traffic";

    Interop::build($program, [ glob "$here/*.c" ], [ glob "$here/*.h" ],
                   '-D_GNU_SOURCE', '-lssl', '-lcrypto');

    return $program;
}


# accounts($t, $n [, $domain]): load0 .. in the Redis of the test.  Keys cost
# much to derive, so one is made and copied: the accounts share password and
# salt.

sub accounts {
    my ($t, $n, $domain) = @_;

    $domain //= $t->domain();

    my ($redis, $set) = ($t->redis(), "xmpp:accounts:$domain");

    $t->add_user('load0', $domain, $PASSWORD);

    for my $i (1 .. $n - 1) {
        $redis->command('COPY', "xmpp:{load0\@$domain}:account",
                        "xmpp:{load$i\@$domain}:account") == 1
            or die "cannot copy the account\n";
        $redis->command('SADD', $set, "load$i\@$domain");
    }

    return $n;
}


# groups($redis, $domain, $first, $n, $size): load$first and so many are in
# groups, in which all are contacts of each other, in the Redis of our server

sub groups {
    my ($redis, $domain, @numbers) = @_;

    $redis->command('EVAL', <<'EOT', 0, $domain, @numbers);
local first, n, size = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

for i = 0, n - 1 do
    local group = i - i % size

    for j = group, math.min(group + size, n) - 1 do
        if j ~= i then
            redis.call('HSET', 'xmpp:{load' .. first + i .. '@' .. ARGV[1]
                               .. '}:roster',
                       'iload' .. first + j .. '@' .. ARGV[1], '1 tf 0 ')
        end
    end
end
EOT
}


# accounts_file($t, $n [, $domain]): the name of a file with them

sub accounts_file {
    my ($t, $n, $domain) = @_;

    $domain //= $t->domain();

    $t->write_file('load.txt', join '',
                   map { "load$_\@$domain $PASSWORD\n" } 0 .. $n - 1);

    return $t->testdir() . '/load.txt';
}


# config($directives): a configuration for many clients, without second.test;
# the kernel spreads them over the workers.  %%PORT_0%% wants STARTTLS,
# %%PORT_1%% has TLS, %%PORT_2%% has none.

sub config {
    my ($more) = @_;

    $more //= 'xmpp_redis unix:%%REDIS%%;';

    return <<"EOT";
%%GLOBALS%%
events { worker_connections 8192; }
stream {
    $more
    xmpp_host localhost {
        ssl_certificate     %%TESTDIR%%/localhost.pem;
        ssl_certificate_key %%TESTDIR%%/localhost.key;
    }
    server { listen 127.0.0.1:%%PORT_0%% reuseport;     xmpp_c2s; }
    server { listen 127.0.0.1:%%PORT_1%% ssl reuseport; xmpp_c2s; }
    server { listen 127.0.0.1:%%PORT_2%% reuseport;     xmpp_c2s;
             xmpp_starttls off; }
}
EOT
}


# targets($t, n): the addresses of all hosts' %%PORT_n%%

sub targets {
    my ($t, $n) = @_;

    return [ map { '127.0.0.1:' . $_->port($n) } @{ $t->{nginx} } ];
}


# clean($result, name): nothing was lost, doubled, reordered or changed

sub clean {
    my ($result, $name, %but) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my %bad = map { $_ => $result->{$_} }
              grep { $result->{$_} // 1 }
              grep { !$but{$_} }
              qw/ status lost doubled renamed reordered corrupt stray /;

    Test::More::is_deeply(\%bad, {}, $name)
        or Test::More::diag($result->{line});
    Test::More::note($result->{line});
}


sub start {
    my ($class, %opt) = @_;

    my $targets = delete $opt{targets};
    my $self = bless { client => 'traffic', buf => '', lines => [] }, $class;

    my @command = (program(), map { ('--target', $_) } @$targets);

    for my $name (sort grep { defined $opt{$_} } keys %opt) {
        push @command, "--$name", $flags{$name} ? () : $opt{$name};
    }

    $self->{pid} = open2($self->{from}, $self->{to}, @command);
    $self->{select} = IO::Select->new($self->{from});

    return $self;
}


# result([seconds]): waits for the end; the values of the last line and the
# exit status

sub result {
    my ($self, $seconds) = @_;

    my ($line) = $self->wait(qr/^result: (.*)/, $seconds // 300);
    my %result = map { split /=/, $_, 2 } split ' ', $line // '';

    $result{early} = $1 if ($line // '') =~ /early=(.*)/;
    $result{status} = $self->finish(!defined $line);
    $result{line} = $line // 'no result: ' . join "\n", $self->said();

    return \%result;
}


1;
