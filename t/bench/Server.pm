package Server;

# A server under measurement, in a private folder on free ports of 127.0.0.1,
# with accounts load0 .. that share one password, one salt and 4,096 rounds of
# PBKDF2.  The kinds of server are in Server/.
#
#   my $server = Server->new('prosody', $folder);
#   $server->start();
#   $server->targets('tls');        where it listens, by kind
#   $server->cpu();                 seconds so far, of all its processes
#   $server->stop();
#
# All listen alike: without TLS or with STARTTLS at one port, with direct TLS
# at another, and for WebSocket with TLS at a third.  $DOMAIN has a P-256
# certificate, $DOMAIN_RSA an RSA-2048 one.

use strict;
use warnings;

use Digest::SHA qw/ sha256 hmac_sha256 /;
use File::Path qw/ make_path rmtree /;
use File::Temp qw/ tempdir /;
use List::Util qw/ min /;
use POSIX ();

use Test::XMPP::CA;
use Test::XMPP::Process;
use Test::XMPP::SASL;

use Cost;
use Floor;

our $DOMAIN = 'localhost';
our $DOMAIN_RSA = 'rsa.test';
our $MECHANISM = 'SCRAM-SHA-256';
our $ROUNDS = 4096;
our $SALT = 'load-salt-of-all';
our $PASSWORD = 'load-secret';

# the last ones of a domain are in groups, in which all are contacts of each
# other: first, how many, size of a group
our @GROUPS = (10_100, 204, 51);

# logins are measured with few of them
our %ACCOUNTS = ($DOMAIN => $GROUPS[0] + $GROUPS[1], $DOMAIN_RSA => 300);

# kind => [ --tls of the generator, which port, domain ]
our %KINDS = (
    plain    => [ 'plain',    'port',     $DOMAIN ],
    starttls => [ 'starttls', 'port',     $DOMAIN ],
    tls      => [ 'direct',   'tls_port', $DOMAIN ],
    rsa      => [ 'direct',   'tls_port', $DOMAIN_RSA ],
    websocket => [ 'direct',  'ws_port',  $DOMAIN ],
);


# folder(): one for all of a run

sub folder { tempdir('xmpp-bench-XXXXXXXX', TMPDIR => 1) }


# floor(folder): a Floor in it, and certificates for all

sub floor {
    my ($dir) = @_;

    my $ca = Test::XMPP::CA->new($dir);

    $ca->issue($DOMAIN, '127.0.0.1');
    $ca->issue_rsa($DOMAIN_RSA);
    rename "$dir/$DOMAIN_RSA-rsa.$_", "$dir/$DOMAIN_RSA.$_" for qw/ pem key /;

    return Floor->new(dir => $dir, ca => $ca);
}


# accounts(folder, domain [, first, n]): the name of a file with them

sub accounts {
    my ($dir, $domain, $first, $n) = @_;

    $first //= 0;
    $n //= $ACCOUNTS{$domain} - $first;

    my $file = "$dir/accounts-$domain-$first-$n";

    put($file, map { "load$_\@$domain $PASSWORD\n" } $first .. $first + $n - 1)
        unless -e $file;

    return $file;
}


sub remove {
    my ($dir) = @_;

    $ENV{XMPP_LEAVE} ? print STDERR "left $dir\n" : rmtree($dir);
}


sub put {
    my ($file, @content) = @_;

    open my $fh, '>:raw', $file or die "$file: $!\n";
    print $fh @content;
    close $fh or die "$file: $!\n";
}


# new(kind, folder [, name => its folder, options of the kind])

sub new {
    my ($class, $kind, $folder, %self) = @_;

    my $name = $self{name} //= $kind;

    my $module = "Server::\u$kind";
    eval "require $module; 1" or die $@;

    $self{folder} = $folder;
    $self{dir} = "$folder/$name";
    make_path($self{dir});

    $self{$_} = Test::XMPP::Process::free_port()
        for qw/ port tls_port ws_port /;

    return bless \%self, $module;
}


# group(i): the numbers of the contacts of load$i

sub group {
    my ($i) = @_;

    my ($first, $n, $size) = @GROUPS;
    my $group = $i - ($i - $first) % $size;

    return grep { $_ != $i && $_ < $first + $n } $group .. $group + $size - 1;
}


sub grouped { return $GROUPS[0] .. $GROUPS[0] + $GROUPS[1] - 1 }


sub name { $_[0]{name} }
sub folder_of { $_[0]{folder} }


# launch(command): what each kind starts itself with

sub launch {
    my ($self, @command) = @_;

    push @{ $self->{processes} },
        Test::XMPP::Process->start("$self->{dir}/output.log", @command);

    return $self->{processes}[-1];
}


sub await {
    my ($self, @ports) = @_;

    for my $port (@ports) {
        Test::XMPP::Process::await_port($port, $self->{processes}[-1])
            or die "$self->{name} does not listen\n";
    }
}


sub stop {
    my ($self) = @_;

    $_->stop() for reverse splice @{ $self->{processes} // [] };
}


# for good, as fast as it goes, at whatever point of its start it is

sub end { $_[0]->stop() }


# all processes, known anew with each start

sub pids {
    my ($self) = @_;

    return Cost::family(map { $_->pid() } @{ $self->{processes} });
}


sub cpu     { Cost::cpu($_[0]->pids()) }
sub pss     { Cost::pss($_[0]->pids()) }
sub settled { Cost::settled($_[0]->pids()) }


# targets(kind [, first, n]): the generator's options that lead there, and its
# accounts: all, or so many from the first on

sub targets {
    my ($self, $kind, @range) = @_;

    my ($tls, $port, $domain) = @{ $KINDS{$kind} };

    return (targets   => [ map { "127.0.0.1:$_" } $self->ports($port) ],
            tls       => $tls,
            ca        => "$self->{folder}/ca.pem",
            mechanism => $MECHANISM,
            $port eq 'ws_port' ? (websocket => 1) : (),
            accounts  => accounts($self->{folder}, $domain, @range));
}


sub ports { $_[0]{ $_[1] } }


# tls(kind): protocol, cipher and key of the certificate that a client gets

sub tls {
    my ($self, $kind) = @_;

    my ($address) = @{ { $self->targets($kind) }->{targets} };
    my $domain = $KINDS{$kind}[2];

    my $command = join ' ', 'openssl s_client', "-connect $address",
                  "-servername $domain", "-CAfile $self->{folder}/ca.pem",
                  '-verify_return_error </dev/null 2>&1';
    my $said = `$command`;

    return join ' ', $said =~ /^New, (\S+), Cipher is (\S+)/m,
                     $said =~ /^Peer signature type: (\S+)/m,
                     $said =~ /^Server Temp Key: (\w+)/m;
}


sub commas {
    my ($n) = @_;

    1 while $n =~ s/^(-?\d+)(\d{3})/$1,$2/;
    return $n;
}


# three digits that count, at most

sub figure {
    my ($value) = @_;

    return '0' if $value == 0;

    my $digits = 2 - POSIX::floor(log(abs $value) / log 10);

    return commas(sprintf '%.0f', $value) if $digits <= 0;
    return sprintf '%.*f', min($digits, 3), $value;
}


# What SCRAM-SHA-256 stores for the password of all: RFC 5802, 3

sub keys_of_password {
    my $salted = Test::XMPP::SASL->new(mechanism => $MECHANISM, user => '',
                                       password => $PASSWORD)
                     ->salted_password($SALT, $ROUNDS);

    return (sha256(hmac_sha256('Client Key', $salted)),
            hmac_sha256('Server Key', $salted));
}


1;
