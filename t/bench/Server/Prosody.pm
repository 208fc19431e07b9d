package Server::Prosody;

# Prosody as Debian has it, with nothing loaded that the others do not have.

use strict;
use warnings;

use File::Path qw/ make_path /;

our @ISA = 'Server';


sub start {
    my ($self) = @_;
    my $dir = $self->{dir};

    $self->accounts($_) for keys %Server::ACCOUNTS;
    $self->rosters();

    Server::put("$dir/prosody.cfg.lua", $self->config());
    $self->launch('prosody', '--config', "$dir/prosody.cfg.lua");
    $self->await(@$self{qw/ port tls_port ws_port /});
}


# internal_hashed keeps one Lua file per account

sub accounts {
    my ($self, $domain) = @_;

    my $folder = "$self->{dir}/data/" . escape($domain) . '/accounts';
    my ($stored, $server) = map { unpack 'H*', $_ }
                            Server::keys_of_password();

    return if -d $folder;
    make_path($folder);

    for my $i (0 .. $Server::ACCOUNTS{$domain} - 1) {
        Server::put("$folder/load$i.dat", <<"EOT");
return {
    ["iteration_count"] = $Server::ROUNDS;
    ["salt"] = "$Server::SALT";
    ["stored_key"] = "$stored";
    ["server_key"] = "$server";
};
EOT
    }
}


sub rosters {
    my ($self) = @_;

    my $folder = "$self->{dir}/data/" . escape($Server::DOMAIN) . '/roster';

    return if -d $folder;
    make_path($folder);

    for my $i (Server::grouped()) {
        Server::put("$folder/load$i.dat", "return {\n",
            "    [false] = { [\"version\"] = 1; };\n",
            (map { "    [\"load$_\@$Server::DOMAIN\"] = { "
                   . "[\"subscription\"] = \"both\"; "
                   . "[\"groups\"] = {}; };\n" } Server::group($i)), "};\n");
    }
}


# the names of files in Prosody's store

sub escape { $_[0] =~ s/([^A-Za-z0-9])/sprintf '%%%02x', ord $1/ger }


sub config {
    my ($self) = @_;
    my ($dir, $folder) = @$self{qw/ dir folder /};
    my $modules = join ', ', map { "\"$_\"" } 'saslauth', 'tls', 'websocket',
                  $self->{archive} ? 'mam' : (), $self->{sm} ? 'smacks' : ();

    my $hosts = join '', map { <<"EOT" } sort keys %Server::ACCOUNTS;
VirtualHost "$_"
    ssl = { certificate = "$folder/$_.pem"; key = "$folder/$_.key" }
    c2s_direct_tls_ssl = {
        certificate = "$folder/$_.pem"; key = "$folder/$_.key"
    }
EOT

    return <<"EOT";
run_as_root = true
daemonize = false
pidfile = "$dir/prosody.pid"
data_path = "$dir/data"
certificates = "$folder"
log = { warn = "$dir/prosody.log" }
interfaces = { "127.0.0.1" }
c2s_ports = { $self->{port} }
c2s_direct_tls_ports = { $self->{tls_port} }
s2s_ports = { }
http_ports = { }
https_ports = { $self->{ws_port} }
https_ssl = {
    certificate = "$folder/$Server::DOMAIN.pem";
    key = "$folder/$Server::DOMAIN.key";
}
c2s_direct_tls_ssl = {
    certificate = "$folder/$Server::DOMAIN.pem";
    key = "$folder/$Server::DOMAIN.key";
}
modules_enabled = { $modules }
modules_disabled = { "s2s", "s2s_auth_certs", "offline" }
authentication = "internal_hashed"
password_hash = "SHA-256"
storage = "internal"
c2s_require_encryption = false
network_backend = "@{[ $self->{backend} // 'epoll' ]}"
network_settings = { nagle = false; tcp_backlog = 512; }

$hosts
EOT
}


1;
