#!/usr/bin/perl

# Ad-hoc commands (XEP-0050) by the example of those of XEP-0133: what disco
# tells to whom, sessions and actions, each error of section 4.4, and forms
# (XEP-0004).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

my $t = Test::XMPP->new(hosts => 0, domains => [ qw/ localhost second.test
                                                   none.test off.test / ],
                        users => [ qw/ alice bob dora / ]);

$t->only_ours('the peers have other commands');

$t->config(<<'EOF_CONF');
%%GLOBALS%%
events { worker_connections 1024; }
stream {
    xmpp_redis unix:%%REDIS%%;
    xmpp_admin alice@localhost;
    xmpp_starttls on;

    xmpp_host localhost {
        ssl_certificate     %%TESTDIR%%/localhost.pem;
        ssl_certificate_key %%TESTDIR%%/localhost.key;
    }

    xmpp_host second.test {
        ssl_certificate     %%TESTDIR%%/second.test.pem;
        ssl_certificate_key %%TESTDIR%%/second.test.key;
        xmpp_admin dora@second.test BOB@localhost;
    }

    xmpp_host off.test {
        ssl_certificate     %%TESTDIR%%/localhost.pem;
        ssl_certificate_key %%TESTDIR%%/localhost.key;
        xmpp_commands off;
    }

    xmpp_host none.test {
        ssl_certificate     %%TESTDIR%%/localhost.pem;
        ssl_certificate_key %%TESTDIR%%/localhost.key;
        xmpp_admin_commands off;
        xmpp_sasl_mechanisms ANONYMOUS;
    }

    server { listen 127.0.0.1:%%PORT_0%%; xmpp_c2s; }
}
EOF_CONF

$t->{hosts} = 2;
$t->run();

my $domain = $t->domain();
my $second = $t->domain2();
my $commands = 'http://jabber.org/protocol/commands';
my $admin = 'http://jabber.org/protocol/admin';
my $info = 'http://jabber.org/protocol/disco#info';
my $items = 'http://jabber.org/protocol/disco#items';
my $node = "$admin#end-user-session";
my $once = "$admin#get-online-users-num";

my $alice = $t->online('alice', on => 0, resource => 'a');
my $bob = $t->online('bob', on => 1, resource => 'b');


sub disco {
    my ($c, $ns, $at, $to) = @_;

    $at = defined $at ? " node='$at'" : '';

    return $c->query('get', $to // $domain, "<query xmlns='$ns'$at/>");
}


# command(client, attributes, inner XML [, to])

sub command {
    my ($c, $attributes, $inner, $to) = @_;

    return $c->query('set', $to // $domain,
        "<command xmlns='$commands' $attributes>" . ($inner // '')
        . '</command>');
}


sub form {
    my (%field) = @_;

    return "<x xmlns='jabber:x:data' type='submit'>"
           . join('', map {
                 my $value = $field{$_};

                 "<field var='$_'>" . join('', map { "<value>$_</value>" }
                                            ref $value ? @$value : $value)
                 . '</field>' } sort keys %field) . '</x>';
}


sub begin {
    my ($c, $to) = @_;

    return command($c, "node='$node'", '', $to)->find('*/@sessionid');
}


sub is_error {
    my ($answer, $general, $specific, $name) = @_;

    is($answer->error(), $general, "XEP-0050, 4.4: $name: $general");
    ok($answer->test("*[local-name() = 'error']/*[local-name() = '$specific'"
                     . " and namespace-uri() = '$commands']"),
       "XEP-0050, 4.4: $name: $specific") or diag($answer->raw())
        if $specific;
}


###############################################################################
# Disco

ok(disco($alice, $info)->test("*/*[\@var = '$commands']"),
   'XEP-0050, 2.1: the host says that it has commands');

my $list = disco($alice, $items, $commands);
my @nodes = sort map { $_->getAttribute('node') } $list->find('*/*[@node]');

is_deeply(\@nodes, [ sort map { "$admin#$_" } qw/ add-user delete-user
    disable-user reenable-user end-user-session change-user-password
    get-online-users-num get-online-users-list announce / ],
    'XEP-0050, 2.2: the commands, to an administrator');
is($list->find('*/@node'), $commands, 'the node is told back');
ok($list->test("count(*/*[\@jid = '$domain' and \@name]) = " . @nodes),
   'each with its address and a name');

my $none = disco($bob, $items, $commands);

is($none->attr('type'), 'result', 'to others an empty list');
ok($none->test('count(*/*) = 0'), 'of no items');

ok(disco($_, $info, $commands)->test("*/*[\@category = 'automation'"
   . " and \@type = 'command-list']"), '2.2: the identity of the list')
    for $alice, $bob;

my $one = disco($alice, $info, $node);

ok($one->test("*/*[\@category = 'automation' and \@type = 'command-node'"
              . ' and @name]'), '2.2: the identity of a command');
ok($one->test("*/*[\@var = '$_']"), "2.2: its feature $_")
    for $commands, 'jabber:x:data';
is(disco($bob, $info, $node)->error(), 'auth forbidden',
   '2.2: forbidden to others');
is(disco($alice, $info, "$admin#restart")->error(), 'cancel item-not-found',
   'no such command');
ok(disco($alice, $items, $node)->test('count(*/*) = 0'),
   'a command has no items');
is(disco($alice, $items, 'x')->error(), 'cancel item-not-found',
   'there are no items of other nodes');
is(disco($alice, $items, $commands, $alice->bare())->error(),
   'cancel item-not-found', 'an account has no commands');

# of another domain: named there, or not

ok(disco($bob, $items, $commands, $second)->test('count(*/*) > 0'),
   'an administrator of another domain');
ok(disco($alice, $items, $commands, $second)->test('count(*/*) = 0'),
   'who is one of here is none of there');
is(command($alice, "node='$once'", '', $second)->error(), 'auth forbidden',
   'and executes nothing there');

# where there are none

my $dora = $t->online('dora', on => 1, domain => $second, resource => 'd');

ok(!disco($alice, $info, undef, $_)->test("*/*[\@var = '$commands']"),
   "$_ has no commands") for qw/ none.test off.test /;
is(disco($alice, $items, $commands, $_)->error(), 'cancel item-not-found',
   "nor the node: $_") for qw/ none.test off.test /;
is(command($alice, "node='$once'", '', 'none.test')->error(),
   'cancel item-not-found', 'nor is any executed');
is(command($alice, "node='$once'", '', 'off.test')->error(),
   'cancel service-unavailable', 'off: the protocol is not there');


###############################################################################
# A command of one form

my $begun = command($alice, "node='$node' action='execute'");
my $session = $begun->find('*/@sessionid');

is($begun->find('*/@status'), 'executing', '2.4.2: a form');
is($begun->find('*/@node'), $node, 'its node');
like($session, qr/^.{32}/, '4.1: a session');
is($begun->find('*/*[local-name() = "actions"]/@execute'), 'complete',
   '4.2: what "execute" means');
ok($begun->test('count(*/*[local-name() = "actions"]/*) = 1'
                . ' and */*/*[local-name() = "complete"]'),
   '4.2: the only action');
is($begun->find('*/data:x/@type'), 'form', 'XEP-0004, 3.1: a form');
is($begun->find('*/data:x/data:field[@var = "FORM_TYPE" and '
                . '@type = "hidden"]/data:value'), $admin, 'XEP-0068');
ok($begun->test('*/data:x/data:field[@var = "accountjids" and '
                . '@type = "jid-multi" and data:required and @label]'),
   'XEP-0133, 4.5: its field');

my $again = begin($alice);

isnt($again, $session, '3.3: each session has an identifier of its own');

my $canceled = command($alice, "node='$node' sessionid='$session'"
                               . " action='cancel'");

is($canceled->find('*/@status'), 'canceled', '2.4.3: canceled');
is($canceled->find('*/@sessionid'), $session, 'this session');

is_error(command($alice, "node='$node' sessionid='$session' action='$_'"),
         'modify bad-request', 'bad-action', "there is one stage: $_")
    for qw/ prev next /;
is_error(command($alice, "node='$node' action='$_'"), 'modify bad-request',
         'bad-action', "nothing has begun: $_")
    for qw/ prev next complete cancel /;
is_error(command($alice, "node='$node' action='x'"), 'modify bad-request',
         'malformed-action', 'no such action');
is_error(command($alice, "node='$node' action='EXECUTE'"),
         'modify bad-request', 'malformed-action', 'actions are lower case');
is_error(command($alice, "node='$admin#restart'"), 'cancel item-not-found',
         undef, 'no such node');
is_error(command($alice, ''), 'modify bad-request', undef, 'no node at all');
is_error(command($bob, "node='$node'"), 'auth forbidden', undef,
         'no administrator');


###############################################################################
# Sessions

my $fields = form(FORM_TYPE => $admin, accountjids => "bob\@$domain/none");

is_error(command($alice, "node='$node' sessionid='$_'", $fields),
         'modify bad-request', 'bad-sessionid', "a session: '$_'")
    for '', 'x', 'x' x length $session, substr($session, 0, -1),
        "${session}0", substr($session, 0, -1)
                       . (substr($session, -1) eq '0' ? '1' : '0');
is_error(command($alice, "node='$admin#disable-user' sessionid='$session'",
                 $fields),
         'modify bad-request', 'bad-sessionid', 'of another command');

my $other = $t->online('alice', on => 1, resource => 'o');

is_error(command($other, "node='$node' sessionid='$session'", $fields),
         'modify bad-request', 'bad-sessionid', '3.3: of another requester');
is_error(command($bob, "node='$admin#disable-user' sessionid='"
                 . begin($bob, $second) . "'", $fields),
         'auth forbidden', undef, 'of another domain');

# a session of host 0 goes on at host 1: there is nothing to be known of it

my $home = $alice->jid();

$alice->close();
$alice = $t->online('alice', on => 1, resource => 'a');
is($alice->jid(), $home, 'the same address at another host');
is_error(command($alice, "node='$node' sessionid='$session'", $fields),
         'cancel item-not-found', undef, 'the session holds');

# one that is too old, made as the server does

my $secret = $t->redis()->command('GET', 'xmpp:secret');
my $old = sprintf '%08x-%s-', time() - 901, '0' x 16;

sub certified {
    my ($head) = @_;

    require Digest::SHA;

    return $head . substr(Digest::SHA::hmac_sha256_hex(
        "command $head$node\n$domain\n$home", $secret), 0, 32);
}

is_error(command($alice, "node='$node' sessionid='" . certified($old) . "'",
                 $fields),
         'cancel not-allowed', 'session-expired', 'too old');
is_error(command($alice, "node='$node' sessionid='"
                 . certified(sprintf '%08x-%s-', time() - 60, '0' x 16) . "'",
                 $fields),
         'cancel item-not-found', undef, 'one of before is not');


###############################################################################
# Forms

sub submit {
    my ($inner, $action) = @_;

    return command($alice, "node='$node' sessionid='$session'"
                           . ($action ? " action='$action'" : ''), $inner);
}

is(submit($fields, $_)->error(), 'cancel item-not-found', "submitted: $_")
    for '', 'execute', 'complete';
is(submit($fields =~ s/'submit'/'cancel'/r)->error(), 'cancel item-not-found',
   '3.5.1: "cancel" is "submit"');

my %bad = (
    'no form'            => '',
    'of type form'       => $fields =~ s/'submit'/'form'/r,
    'of no type'         => $fields =~ s/ type='submit'//r,
    'another FORM_TYPE'  => form(FORM_TYPE => 'x', accountjids => 'a'),
    'nothing in it'      => form(FORM_TYPE => $admin),
    'no value'           => form(accountjids => []),
    'an empty value'     => form(accountjids => ''),
    'a field twice'      => $fields =~ s{(<field var='acc.*?</field>)}{$1$1}r,
    'too many fields'    => form(accountjids => "bob\@$domain/none",
                                 map { ("f$_" => 1) } 1 .. 32),
    'too many values'    => form(accountjids => [ (1) x 1001 ]),
    'too many addresses' => form(accountjids => [ map { "u$_\@$domain" }
                                                  1 .. 101 ]),
    'no address'         => form(accountjids => $domain),
    'no address at all'  => form(accountjids => '@@'),
    'another domain'     => form(accountjids => "dora\@$second"),
    'one of another'     => form(accountjids => [ "bob\@$domain",
                                                  "dora\@$second" ]),
    'a foreign server'   => form(accountjids => 'x@example.org'),
);

is_error(submit($bad{$_}), 'modify bad-request', 'bad-payload', $_)
    for sort keys %bad;

like(submit($bad{$_})->raw(), qr/too many fields or values/, "for that: $_")
    for 'too many fields', 'too many values';

my $refused = submit($bad{'another domain'});

like($refused->raw(), qr/is not of the domain/, 'and says why');
is($refused->find("*/\@$_->[0]"), $_->[1],
   "RFC 6120, 8.3.1: of what was asked the $_->[0]")
    for [ node => $node ], [ sessionid => $session ];
ok($refused->test("count(*[local-name() = 'command']/*) = 0"),
   'but not the form');
ok($bob->expect_nothing(), 'nothing was done for those before it');

is(submit(form(accountjids => "bob\@$domain/none", unknown => 'x'))->error(),
   'cancel item-not-found', 'XEP-0004, 3.1: other fields are ignored');

my $several = submit(form(accountjids => [ "bob\@$domain", "bob\@$domain",
                                           "bob\@$domain/none" ]));

is($several->error(), 'cancel item-not-found', 'the second fails');
like($several->raw(), qr{/none; the 1 address before it is done},
     'and says that the first is done, once');
ok($bob->expect_stream_error('policy-violation'), 'it is');


###############################################################################
# A command without a form

my $at_once = command($alice, "node='$once'");

is($at_once->find('*/@status'), 'completed', '2.4.1: at once');
like($at_once->find('*/@sessionid'), qr/./, 'with a session');
is($at_once->find('*/data:x/@type'), 'result', 'a result');
is_error(command($alice, "node='$once' sessionid='"
                         . $at_once->find('*/@sessionid') . "'"),
         'cancel not-allowed', 'session-expired', 'it was completed');


###############################################################################
# A password is asked for over TLS only, and by nobody who may be anybody

my $plain = $t->client('alice', on => 0, resource => 'plain', tls => 'none',
                       mechanism => 'SCRAM-SHA-256')->login();

is(command($plain, "node='$admin#$_'")->error(), 'auth not-authorized',
   "without TLS: $_") for qw/ add-user change-user-password /;
is(command($plain, "node='$once'")->attr('type'), 'result',
   'without TLS: others');

$t->done();
