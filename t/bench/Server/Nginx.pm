package Server::Nginx;

# Ours: nginx hosts with the module, and the Redis that they share.
#
# workers => n of each host; hosts => n, each of them another nginx.  The
# generator's clients go to the hosts in turn, so that with two of them the
# clients of a pair are never on the same.  With archive => 1 it is as shipped.

use strict;
use warnings;

use File::Path qw/ rmtree /;

use Test::XMPP::Nginx;
use Test::XMPP::Redis;
use Traffic;

our @ISA = 'Server';


sub start {
    my ($self) = @_;
    my $dir = $self->{dir};

    local $ENV{XMPP_LOG} = 'warn';

    # as docs/admin/install.md wants it; a rewrite would be a cost of whatever
    # is measured at that moment
    rmtree("$dir/appendonlydir");
    $self->{redis} = Test::XMPP::Redis->new($dir, appendonly => 'yes',
        appendfsync => 'everysec', 'auto-aof-rewrite-percentage' => 0);
    $self->accounts($_) for keys %Server::ACCOUNTS;
    Traffic::groups($self->{redis}, $Server::DOMAIN, @Server::GROUPS);

    for my $i (0 .. ($self->{hosts} // 1) - 1) {
        my $nginx = $self->{nginx}[$i] //= Test::XMPP::Nginx->new(
            dir     => $dir,
            name    => "host$i",
            redis   => $self->{redis}->socket(),
            workers => $self->{workers} // 2,
            config  => $self->config(),
        );

        $nginx->start();
    }

    # what loading and copying have left behind is not of any session
    $self->{redis}->command('MEMORY', 'PURGE');
}


sub stop {
    my ($self) = @_;

    for my $nginx (@{ $self->{nginx} // [] }) {
        $nginx->stop();
        die map { "$_\n" } "$self->{name}:", $nginx->bad_lines()
            if $nginx->bad_lines();
    }

    $self->{redis}->stop() if $self->{redis};
}


# One account is made, which derives its keys, the others are copies.

sub accounts {
    my ($self, $domain) = @_;

    my $redis = $self->{redis};
    my $xmppctl = $ENV{XMPP_XMPPCTL}
                  // Test::XMPP::Nginx::root() . '/build/xmppctl';

    my @adduser = ('-r', 'unix:' . $redis->socket(), '--iterations',
                   $Server::ROUNDS, 'adduser', "load0\@$domain");
    my $said = `echo $Server::PASSWORD | \Q$xmppctl\E @adduser 2>&1`;

    die "xmppctl adduser: $said\n" if $?;

    # in one go: a command for each takes as long as all the rest
    $redis->command('EVAL', <<'EOT', 0, $domain, $Server::ACCOUNTS{$domain});
local from = 'xmpp:{load0@' .. ARGV[1] .. '}:account'

for i = 1, ARGV[2] - 1 do
    local name = 'load' .. i .. '@' .. ARGV[1]
    redis.call('COPY', from, 'xmpp:{' .. name .. '}:account')
    redis.call('SADD', 'xmpp:accounts:' .. ARGV[1], name)
end
EOT
}


sub config {
    my ($self) = @_;

    # what the others do not do either
    my $bare = $self->{archive}
        ? '' : 'xmpp_archive off; xmpp_durability none;';

    my $hosts = join '', map { <<"EOT" } sort keys %Server::ACCOUNTS;
    xmpp_host $_ {
        ssl_certificate     $self->{folder}/$_.pem;
        ssl_certificate_key $self->{folder}/$_.key;
    }
EOT

    return <<"EOT";
%%GLOBALS%%
events { worker_connections 16384; }
stream {
    xmpp_redis unix:%%REDIS%%;
    $bare
$hosts
    server {
        listen 127.0.0.1:%%PORT_0%% reuseport backlog=512;
        xmpp_c2s;
        xmpp_starttls on;
    }
    server {
        listen 127.0.0.1:%%PORT_1%% ssl reuseport backlog=512;
        xmpp_c2s;
    }
}
http {
    %%HTTP%%
    access_log off;

    server {
        listen 127.0.0.1:%%PORT_2%% ssl reuseport backlog=512;
        ssl_certificate     $self->{folder}/$Server::DOMAIN.pem;
        ssl_certificate_key $self->{folder}/$Server::DOMAIN.key;

        location = /xmpp-websocket { xmpp_websocket; }
    }
}
EOT
}


# The master's children are the workers

sub pids {
    my ($self) = @_;

    return Cost::family($self->{redis}->pid(),
                        map { $_->pid() } @{ $self->{nginx} });
}


sub ports {
    my ($self, $port) = @_;

    my %number = (port => 0, tls_port => 1, ws_port => 2);

    return map { $_->port($number{$port}) } @{ $self->{nginx} };
}


1;
