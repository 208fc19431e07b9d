package Server::Ejabberd;

# ejabberd as Debian has it, with nothing loaded that the others do not have.
#
# The schedulers do not spin when they have nothing to do (+sbwt none): else
# that would count as their cost.  The Erlang node talks to nobody, so it
# needs no name and no epmd.

use strict;
use warnings;

use File::Basename qw/ dirname /;

use Test::XMPP::Process;

our @ISA = 'Server';


sub start {
    my ($self) = @_;
    my $dir = $self->{dir};

    my ($lib) = map { dirname($_) } glob '/usr/lib/*/ejabberd-*/'
        or die "no ejabberd\n";

    Server::put("$dir/ejabberd.yml", $self->config());
    Server::put("$dir/accounts.erl", $self->accounts());
    unlink "$dir/ready";

    local @ENV{qw/ HOME ERL_LIBS EJABBERD_LOG_PATH ERL_CRASH_DUMP
                   EJABBERD_CONFIG_PATH /}
        = ($dir, $lib, "$dir/ejabberd.log", '/dev/null', "$dir/ejabberd.yml");

    my $process = $self->launch(
        'erl', '-noinput', '+K', 'true', '+P', 250000,
        (map { ($_, 'none') } qw/ +sbwt +sbwtdcpu +sbwtdio /),
        '-mnesia', 'dir', "\"$dir/mnesia\"",
        '-ejabberd', 'config', "\"$dir/ejabberd.yml\"", '-s', 'ejabberd',
        '-eval', "{ok, _} = file:script(\"$dir/accounts.erl\"), "
                 . "ok = file:write_file(\"$dir/ready\", \"\").");

    Test::XMPP::Process::await(sub {
        die "ejabberd did not start:\n"
            . Test::XMPP::Process::slurp("$dir/output.log")
            unless $process->alive();
        return -e "$dir/ready";
    }, 120) or die "ejabberd does not start\n";

    $self->await(@$self{qw/ port tls_port ws_port /});
}


# An orderly end takes it ten seconds, and nothing of it is kept.

sub end {
    my ($self) = @_;

    $_->stop('KILL') for splice @{ $self->{processes} // [] };
}


# One account is registered, which derives its keys, the others are copies.

sub accounts {
    my $domains = join ', ', map {
        "{<<\"$_\">>, " . ($Server::ACCOUNTS{$_} - 1) . "}"
    } sort keys %Server::ACCOUNTS;

    return <<"EOT";
lists:foreach(fun({Domain, Last}) ->
    case ejabberd_auth:try_register(<<"load0">>, Domain,
                                    <<"$Server::PASSWORD">>) of
        ok ->
            Records = [R || {<<"load0">>, D} = Key
                                <- mnesia:dirty_all_keys(passwd), D == Domain,
                            R <- mnesia:dirty_read(passwd, Key)]
                   ++ [R || {<<"load0">>, D, _} = Key
                                <- mnesia:dirty_all_keys(passwd), D == Domain,
                            R <- mnesia:dirty_read(passwd, Key)],
            [mnesia:dirty_write(passwd,
                 setelement(2, R, setelement(1, element(2, R),
                     iolist_to_binary(["load", integer_to_list(I)]))))
             || R <- Records, I <- lists:seq(1, Last)];
        {error, exists} ->
            ok
    end
end, [$domains]).
@{[ rosters() ]}
EOT
}


# both sides of each subscription, as mod_roster has them

sub rosters {
    my ($first, $n, $size) = @Server::GROUPS;

    return <<"EOT";
lists:foreach(fun(I) ->
    Group = I - (I - $first) rem $size,
    Name = fun(J) -> iolist_to_binary(["load", integer_to_list(J)]) end,
    D = <<"$Server::DOMAIN">>,
    [mnesia:dirty_write(roster, list_to_tuple([roster | [case A of
         usj -> {Name(I), D, {Name(J), D, <<>>}};
         us -> {Name(I), D};
         jid -> {Name(J), D, <<>>};
         subscription -> both;
         ask -> none;
         groups -> [];
         xs -> [];
         _ -> <<>>
     end || A <- mnesia:table_info(roster, attributes)]]))
     || J <- lists:seq(Group, Group + $size - 1), J =/= I,
        J < $first + $n]
end, lists:seq($first, $first + $n - 1)).
EOT
}


sub config {
    my ($self) = @_;
    my ($dir, $folder) = @$self{qw/ dir folder /};
    my ($hosts, $pems, $more) = ('', '', '');

    $more .= "  mod_mam:\n    db_type: mnesia\n    default: always\n"
        if $self->{archive};
    $more .= "  mod_stream_mgmt: {}\n" if $self->{sm};

    for my $domain (sort keys %Server::ACCOUNTS) {
        # ejabberd wants the key and the chain in one file
        Server::put("$dir/$domain.pem",
                    map { Test::XMPP::Process::slurp("$folder/$domain.$_") }
                        qw/ pem key /);
        $hosts .= "  - $domain\n";
        $pems .= "  - $dir/$domain.pem\n";
    }

    return <<"EOT";
hosts:
$hosts
loglevel: warning
certfiles:
$pems
ca_file: "$folder/ca.pem"
auth_method: internal
auth_password_format: scram
auth_scram_hash: sha256
c2s_protocol_options: ["no_sslv3", "no_tlsv1", "no_tlsv1_1"]
listen:
  -
    port: $self->{port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    backlog: 512
    starttls: true
    shaper: none
  -
    port: $self->{tls_port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    backlog: 512
    tls: true
    shaper: none
  -
    port: $self->{ws_port}
    ip: "127.0.0.1"
    module: ejabberd_http
    tls: true
    request_handlers:
      /xmpp-websocket: ejabberd_http_ws
s2s_access: none
modules:
  mod_roster: {}
$more
EOT
}


1;
