#!/usr/bin/perl

# Service administration (XEP-0133) as others have it, too: an administrator
# adds a user, who logs in, gets another password, is seen, is sent away and is
# removed; one who is no administrator does nothing of it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(hosts => 0, users => [ qw/ bob eve / ]);

$t->config(<<'EOF_CONF');
%%GLOBALS%%
events { worker_connections 1024; }
stream {
    xmpp_redis unix:%%REDIS%%;

    xmpp_host localhost {
        ssl_certificate     %%TESTDIR%%/localhost.pem;
        ssl_certificate_key %%TESTDIR%%/localhost.key;
        xmpp_admin eve@localhost;
    }

    server { listen 127.0.0.1:%%PORT_0%%; xmpp_c2s; }
}
EOF_CONF

$t->{hosts} = 2 if $t->ours();
$t->run();

my $domain = $t->domain();
my $frank = "frank\@$domain";
my $commands = 'http://jabber.org/protocol/commands';
my $admin = 'http://jabber.org/protocol/admin';

my $eve = $t->online('eve', on => 0, resource => 'e');
my $bob = $t->online('bob', on => 1 * $t->ours(), resource => 'b');


sub execute {
    my ($c, $name, $more, $inner) = @_;

    return $c->query('set', $domain, "<command xmlns='$commands'"
        . " node='$admin#$name' $more>$inner</command>");
}


# the whole of a command, from its form to its end

sub run {
    my ($name, %field) = @_;

    my $form = execute($eve, $name, "action='execute'", '');

    is($form->find('*/@status'), 'executing', "XEP-0050, 2.4.2: $name: a form");
    is($form->find('*/data:x/@type'), 'form', "XEP-0004, 3.1: $name");

    for my $var (sort keys %field) {
        ok($form->test("*/data:x/data:field[\@var = '$var']"),
           "XEP-0133: $name: the field $var");
    }

    $field{FORM_TYPE} = $admin;

    my $id = $form->find('*/@sessionid');

    return execute($eve, $name, "sessionid='$id' action='complete'",
        "<x xmlns='jabber:x:data' type='submit'>"
        . join('', map { "<field var='$_'><value>$field{$_}</value></field>" }
                   sort keys %field) . '</x>');
}


sub is_completed {
    my ($answer, $name) = @_;

    return is($answer->find('*/@status') // $answer->error(), 'completed',
              "XEP-0050, 2.4.2: $name");
}


sub nodes {
    my ($c) = @_;

    my $list = $c->query('get', $domain, '<query xmlns='
        . "'http://jabber.org/protocol/disco#items' node='$commands'/>");

    return map { $_->getAttribute('node') } $list->find('*/*[@node]');
}


ok($eve->query('get', $domain, "<query xmlns="
       . "'http://jabber.org/protocol/disco#info'/>")
       ->test("*/*[\@var = '$commands']"), 'XEP-0050, 2.1: commands');

my %seen = map { $_ => 1 } nodes($eve);

ok($seen{"$admin#$_"}, "XEP-0050, 2.2: $_")
    for qw/ add-user delete-user end-user-session change-user-password
            get-online-users-list /;
is(scalar(grep { /^\Q$admin\E#/ } nodes($bob)), 0,
   'XEP-0050, 2.2: not to who is no administrator');
like(execute($bob, 'add-user', '', '')->error(),
     qr/^(?:auth|cancel) forbidden$/, 'XEP-0133, 5: he is forbidden');

my $canceled = execute($eve, 'add-user', "action='execute'", '');

is(execute($eve, 'add-user', "action='cancel' sessionid='"
           . $canceled->find('*/@sessionid') . "'", '')->find('*/@status'),
   'canceled', 'XEP-0050, 2.4.3');

is_completed(run('add-user', accountjid => $frank, password => 'one',
                 'password-verify' => 'one'), 'an account is added');
is($t->client('frank', password => 'one', on => 1 * $t->ours())->login()
       ->bare(), $frank, 'its user logs in');
is_completed(run('change-user-password', accountjid => $frank,
                 password => 'two'), 'a password is changed');

my $c = $t->client('frank', password => 'one', on => 0);

$c->secure();
is($c->authenticate()->error(), 'not-authorized', 'the old one does not work');
$c = $t->online('frank', password => 'two', on => 1 * $t->ours(),
                resource => 'f');
is($c->bare(), $frank, 'the new one does');

# ejabberd has other fields in these two

my $other = $t->peer() eq 'ejabberd';

if (!$other) {
    my $list = run('get-online-users-list', max_items => '25');

    is_completed($list, 'who is online');
    ok((grep { $_->textContent() =~ /^\Q$frank\E/ }
             $list->find('*/data:x//data:value')), 'XEP-0133, 4.20: he is')
        or diag($list->raw());

    is_completed(run('end-user-session', accountjids => $frank),
                 'a session is ended');

    # Prosody does not say why

    ok($t->peer() eq 'prosody' ? $c->expect_end()
                               : $c->expect_stream_error(qr/./),
       'XEP-0133, 4.5: it is');
}

is_completed(run('delete-user', accountjids => $frank),
             'an account is removed');
$c = $t->client('frank', password => 'two', on => 0);
$c->secure();
is($c->authenticate()->error(), 'not-authorized',
   'XEP-0133, 4.2: no login any more');

$t->done();
