package Interop::Commands;

# Service administration by a real client's own functions: XEP-0050, 0133.
#
# To the client:    COMMANDS
#                   EXECUTE <command> <var>=<value,value> ...
# From the client:  COMMANDS <command> ...
#                   EXECUTE <command> <status> <var>=<value,value> ...
#                   EXECUTE <command> failed: <condition>
#                   HEADLINE <jid> <words>

use strict;
use warnings;

use Test::More;

use Chat;


# alice is the administrator there

sub config {
    return <<'EOF';
%%GLOBALS%%
events { worker_connections 1024; }
stream {
    xmpp_redis unix:%%REDIS%%;
    xmpp_admin alice@localhost;

    xmpp_host localhost {
        ssl_certificate     %%TESTDIR%%/localhost.pem;
        ssl_certificate_key %%TESTDIR%%/localhost.key;
    }

    server { listen 127.0.0.1:%%PORT_0%%;     xmpp_c2s; }
    server { listen 127.0.0.1:%%PORT_1%% ssl; xmpp_c2s; }
}
EOF
}


# alice and bob are on two hosts; carol comes and goes

sub run {
    my ($t, $client, $tls, $alice, $bob) = @_;

    my $domain = $t->domain();
    my $frank = "frank\@$domain";
    my $executed = sub {
        my ($who, $name, $values, $re, $text) = @_;

        $who->tell(join ' ', 'EXECUTE', $name, @$values);
        Interop::Chat::wanted($who, qr/^EXECUTE $name $re/, "$tls: $text");
    };

    my @form = ("accountjid=$frank", 'password=one');

    $alice->tell('COMMANDS');
    my ($list) = Interop::Chat::wanted($alice, qr/^COMMANDS (.*)/,
                                       "$tls: XEP-0050, 2.2: the commands");
    like("$list ", qr/\b$_ /, "$tls: XEP-0133: $_")
        for qw/ add-user delete-user disable-user reenable-user
                end-user-session change-user-password get-online-users-num
                get-online-users-list announce /;

    $bob->tell('COMMANDS');
    Interop::Chat::wanted($bob, qr/^COMMANDS ?$/,
                          "$tls: XEP-0050, 2.2: no administrator sees none");
    $executed->($bob, 'add-user', [], qr/failed: forbidden$/,
                'XEP-0133, 5: nor may he execute one');

    $executed->($alice, 'add-user', [ @form, 'password-verify=one' ],
                qr/completed/, 'XEP-0133, 4.1: an account');
    $executed->($alice, 'add-user', [ @form, 'password-verify=one' ],
                qr/failed: conflict$/, 'XEP-0133, 5: which is there now');
    $executed->($alice, 'change-user-password',
                [ "accountjid=$frank", 'password=two' ], qr/completed/,
                'XEP-0133, 4.7: another password');

    my $carol = login($t, $client, $tls, 'two');

    Interop::Chat::wanted($carol, qr/^READY \Q$frank\E/,
                          "$tls: its user logs in");
    $executed->($alice, 'get-online-users-num', [],
                qr/completed onlineusersnum=3$/, 'XEP-0133, 4.15: how many');
    $executed->($alice, 'get-online-users-list', [ 'max_items=25' ],
                qr/completed onlineuserjids=alice\S+,bob\S+,\Q$frank\E$/,
                'XEP-0133, 4.20: who is online');
    $executed->($alice, 'announce', [ 'announcement=soon' ], qr/completed/,
                'XEP-0133, 4.23: an announcement');
    Interop::Chat::wanted($carol, qr/^HEADLINE \Q$domain\E soon$/,
                          "$tls: XEP-0133, 4.23: it comes");
    $executed->($alice, 'end-user-session', [ "accountjids=$frank" ],
                qr/completed/, 'XEP-0133, 4.5: a session');
    Interop::Chat::wanted($carol, qr/^FAIL/, "$tls: XEP-0133, 4.5: it ends");

    $executed->($alice, 'disable-user', [ "accountjids=$frank" ],
                qr/completed/, 'XEP-0133, 4.3: an account is disabled');
    Interop::Chat::wanted(login($t, $client, $tls, 'two'), qr/^FAIL/,
                          "$tls: XEP-0133, 4.3: no login");
    $executed->($alice, 'reenable-user', [ "accountjids=$frank" ],
                qr/completed/, 'XEP-0133, 4.4: and enabled');

    $carol = login($t, $client, $tls, 'two');

    Interop::Chat::wanted($carol, qr/^READY \Q$frank\E/,
                          "$tls: XEP-0133, 4.4: a login");
    $executed->($alice, 'delete-user', [ "accountjids=$frank" ],
                qr/completed/, 'XEP-0133, 4.2: it is removed');
    Interop::Chat::wanted($carol, qr/^FAIL/, "$tls: XEP-0133, 4.2: it ends");
    $executed->($alice, 'delete-user', [ "accountjids=$frank" ],
                qr/failed: item-not-found$/, 'XEP-0133, 4.2: there is none');
}


sub login {
    my ($t, $client, $tls, $password) = @_;

    return Interop::Chat::start($t, $client, $tls, 1, 'frank',
                                password => $password);
}


1;
