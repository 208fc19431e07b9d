#!/usr/bin/perl

# Service administration (XEP-0133): accounts are added, disabled, enabled,
# given passwords and removed, their sessions are ended, who is online is told
# and all of them are told something; by an administrator on one host, with
# users on both.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Roster;

*await = \&Test::XMPP::Process::await;

my $t = Test::XMPP->new(hosts => 0, users => [ qw/ alice bob carol dora / ]);

$t->only_ours('the administrator is configured');

$t->config(<<'EOF_CONF');
%%GLOBALS%%
events { worker_connections 1024; }
stream {
    xmpp_redis unix:%%REDIS%%;
    xmpp_sasl_iterations 5000;

    xmpp_host localhost {
        ssl_certificate     %%TESTDIR%%/localhost.pem;
        ssl_certificate_key %%TESTDIR%%/localhost.key;
        xmpp_admin alice@localhost;
    }

    xmpp_host second.test {
        ssl_certificate     %%TESTDIR%%/second.test.pem;
        ssl_certificate_key %%TESTDIR%%/second.test.key;
    }

    server { listen 127.0.0.1:%%PORT_0%%; xmpp_c2s; }
}
EOF_CONF

$t->{hosts} = 2;
$t->run();

my $redis = $t->redis();
my $domain = $t->domain();
my $admin = 'http://jabber.org/protocol/admin';
my $alice = $t->online('alice', on => 0, resource => 'a');


sub execute {
    my ($name, $inner, $session) = @_;

    $session = defined $session ? " sessionid='$session'" : '';

    return $alice->query('set', $domain,
        "<command xmlns='http://jabber.org/protocol/commands'"
        . " node='$admin#$name'$session>" . ($inner // '') . '</command>');
}


# run(name, var => value or [ values ]): the whole of a command

sub run {
    my ($name, %field) = @_;

    my $form = execute($name);

    for my $var (sort keys %field) {
        ok($form->test("*/data:x/data:field[\@var = '$var']"),
           "XEP-0133: the form of $name has $var");
    }

    $field{FORM_TYPE} = $admin;

    my $inner = join '', map {
        my $values = ref $field{$_} ? $field{$_} : [ $field{$_} ];

        "<field var='$_'>" . join('', map { '<value>'
            . Test::XMPP::Client::xml_escape($_) . '</value>' } @$values)
        . '</field>' } sort keys %field;

    return execute($name, "<x xmlns='jabber:x:data' type='submit'>$inner</x>",
                   scalar $form->find('*/@sessionid'));
}


sub is_completed {
    my ($answer, $name) = @_;

    return is($answer->find('*/@status') || $answer->error(), 'completed',
              "XEP-0133, $name") || diag($answer->raw());
}


sub can_login {
    my ($user, $password) = @_;

    my $c = $t->client($user, password => $password, on => 1);

    $c->secure();

    my $answer = $c->authenticate();

    return $answer->is('success') ? 'success' : $answer->error();
}


sub logged {
    my ($name, $target) = @_;

    my $jid = $alice->jid();

    return ok(await(sub { $t->host(0)->read_log()
        =~ /\[notice\].*"\Q$jid\E" executed "\S+#$name" for "\Q$target\E"/ }),
        "the log has $name of $target");
}


###############################################################################
# 4.1, 4.7: accounts and passwords

my $frank = "frank\@$domain";

is(run('add-user', accountjid => "Frank\@$domain", password => "gr\xFCn 5",
       'password-verify' => "gr\xFCn 6")->error(), 'modify bad-request',
   '4.1: the passwords differ');
is_completed(run('add-user', accountjid => "Frank\@LOCALHOST",
                 password => "gr\xFCn 5", 'password-verify' => "gr\xFCn 5"),
             '4.1: an account is added');
logged('add-user', $frank);
is(can_login('frank', "gr\xFCn 5"), 'success', 'and its user logs in');
is($redis->command('SISMEMBER', "xmpp:accounts:$domain", $frank), 1,
   'it is on the list');

my %account = @{ $redis->command('HGETALL', "xmpp:{$frank}:account") };

like($account{"scram-sha-$_"}, qr/^5000,/, "with the rounds of nginx.conf: $_")
    for 1, 256, 512;
like($account{created}, qr/^\d{4}-\d\d-\d\dT/, 'and its date');
is(($t->xmppctl('x', 'adduser', $frank))[0], 1, 'xmppctl knows it');
unlike($t->host(0)->read_log(), qr/gr.{1,2}n/, 'no password is in the log');

is(run('add-user', accountjid => $frank, password => 'x',
       'password-verify' => 'x')->error(), 'cancel conflict',
   'section 5: there is one');
is(can_login('frank', "gr\xFCn 5"), 'success', 'which stays as it is');
is(run('add-user', accountjid => $_, password => 'x',
       'password-verify' => 'x')->error(), 'modify bad-request',
   "not an account of here: $_") for "x\@second.test", $domain, "$frank/x";
is(run('add-user', accountjid => "x\@$domain", password => $_,
       'password-verify' => $_)->error(), 'modify bad-request',
   'not a password: ' . substr $_, 0, 8) for "a\x{E0001}", 'x' x 1025;
is($redis->command('EXISTS', "xmpp:{x\@$domain}:account"), 0,
   'no account of those');

# what an error says of it is cut between two characters (RFC 6120, 11.6)

for my $n (0 .. 3) {
    my $answer = run('delete-user',
                     accountjids => 'x' x $n . "\x{1F600}" x 80 . '@');

    is($answer->error(), 'modify bad-request', "a long address, $n");
    like($answer->find('*/*[local-name() = "text"]'), qr/^"x{$n}\x{1F600}+$/,
         'and what is wrong with it is told');
}


# a name whose removal is not complete

$redis->command('HSET', "xmpp:{gone\@$domain}:removed", 'x', '');
is(run('add-user', accountjid => "gone\@$domain", password => 'x',
       'password-verify' => 'x')->error(), 'cancel conflict',
   'a removal that is not complete');
is($redis->command('SISMEMBER', "xmpp:accounts:$domain", "gone\@$domain"), 0,
   'it is on no list');
$redis->command('DEL', "xmpp:{gone\@$domain}:removed");

$redis->command('HSET', "xmpp:{$frank}:account", 'digest-md5', 'x' x 32);
is_completed(run('change-user-password', accountjid => $frank,
                 password => 'new'), '4.7: a password is changed');
logged('change-user-password', $frank);
is(can_login('frank', 'new'), 'success', 'by it he logs in');
is(can_login('frank', "gr\xFCn 5"), 'not-authorized', 'and by the old not');
is($redis->command('HEXISTS', "xmpp:{$frank}:account", 'digest-md5'), 0,
   'nor by its DIGEST-MD5');
is(run('change-user-password', accountjid => "nobody\@$domain",
       password => 'x')->error(), 'cancel item-not-found', 'of nobody');
is($redis->command('EXISTS', "xmpp:{nobody\@$domain}:account"), 0,
   'who has no account by that');


###############################################################################
# 4.5: sessions

$redis->command('SADD', "xmpp:accounts:$domain",
                map { "$_\@$domain" } qw/ alice bob carol /);

my @bob = map { $t->online('bob', on => 1, resource => "b$_") } 0 .. 2;
my $carol = $t->online('carol', on => 1, resource => 'c');

$t->settle($alice, @bob, $carol);

is_completed(run('end-user-session', accountjids => $bob[0]->jid()),
             '4.5: one session ends');
ok($bob[0]->expect_stream_error('policy-violation'), 'it does');
logged('end-user-session', $bob[0]->jid());
$_->sync() for @bob[1, 2];
$_->drain() for @bob[1, 2];
ok($bob[1]->expect_nothing(), 'and no other');
is_completed(run('end-user-session', accountjids => $bob[1]->bare()),
             '4.5: all of a user end');
$_->pick(name => 'error') for @bob[1, 2];
ok(await(sub { !grep { /^r/ } @{ $redis->command('HGETALL',
       "xmpp:{bob\@$domain}:sessions") } }), 'they do');
is(run('end-user-session', accountjids => $bob[1]->bare())->error(),
   'cancel item-not-found', 'there is none');


###############################################################################
# 4.3, 4.4: disabled and enabled again

my $bob = $t->online('bob', on => 1, resource => 'b');

is_completed(run('disable-user',
                 accountjids => [ $bob->bare(), $carol->bare() ]),
             '4.3: two are disabled');
ok($_->expect_stream_error('not-authorized'), '4.3: the sessions end')
    for $bob, $carol;
logged('disable-user', $_) for $bob->bare(), $carol->bare();
is(can_login($_, "$_-secret"), 'account-disabled', "4.3: no login of $_")
    for qw/ bob carol /;
is(($t->xmppctl('', 'users', $domain))[1],
   "alice\@$domain\nbob\@$domain  disabled\ncarol\@$domain  disabled\n$frank\n",
   'xmppctl sees it');
is(run('disable-user', accountjids => "nobody\@$domain")->error(),
   'cancel item-not-found', '4.3: nobody');

is_completed(run('reenable-user',
                 accountjids => [ $bob->bare(), $carol->bare() ]),
             '4.4: and enabled again');
logged('reenable-user', $bob->bare());
is(can_login($_, "$_-secret"), 'success', "4.4: a login of $_")
    for qw/ bob carol /;


###############################################################################
# 4.15, 4.20: who is online

sub online_num {
    return scalar execute('get-online-users-num')->find(
        '*/data:x/data:field[@var = "onlineusersnum"]/data:value');
}

sub online_list {
    my ($answer) = @_;

    return join ' ', sort map { $_->textContent() =~ s/@.*//r }
           $answer->find('*/data:x/data:field[@var = "onlineuserjids"]'
                         . '/data:value');
}

ok(await(sub { online_num() == 1 }), '4.15: one is online');

$bob = $t->online('bob', on => 1, resource => 'b');
$carol = $t->client('carol', on => 1, resource => 'c')->login();

is(online_num(), 3, '4.15: three, of which one is not available');
is(online_list(run('get-online-users-list', max_items => '25')),
   'alice bob carol', '4.20: who');
is(online_list(execute('get-online-users-list',
                       "<x xmlns='jabber:x:data' type='submit'/>",
                       scalar execute('get-online-users-list')
                           ->find('*/@sessionid'))),
   'alice bob carol', '4.20: without a maximum');
is(run('get-online-users-list', max_items => '26')->error(),
   'modify bad-request', '4.20: one that was not offered');

# records of which one has gone and one is nothing

$redis->command('HSET', "xmpp:{$frank}:sessions", 'rx', '1 b.1 b g -', 'e',
                '1', 'n', '1', 'c', '*');
is(online_num(), 3, '4.15: who has gone is not counted');
$redis->command('DEL', "xmpp:{$frank}:sessions");

# many accounts, of which thirty are online

my @many = map { "u$_\@$domain" } 1 .. 1200;

$redis->command('SADD', "xmpp:accounts:$domain", @many);
$redis->command('HSET', "xmpp:{$_}:sessions", 'rx', '1 b.1 b 0 -')
    for @many[0 .. 29];

is(online_num(), 33, '4.15: in many pages');
is(scalar(split ' ', online_list(run('get-online-users-list',
                                     max_items => 'none'))), 33,
   '4.20: in many pages');

my $cut = run('get-online-users-list', max_items => '25');

is(scalar(split ' ', online_list($cut)), 25, '4.20: no more than asked for');
is(scalar $cut->find('*/*[local-name() = "note"]/@type'), 'warn',
   'XEP-0050, 4.3: and a note that says so');


###############################################################################
# 4.23: announcements

$t->settle($alice, $bob);

my $announced = run('announce', announcement =>
                    [ 'Down at 20:00', q{& "back" <soon>, grüße} ]);

is_completed($announced, '4.23: an announcement');
like(scalar $announced->find('*/*[local-name() = "note"]'),
     qr/^\d+ of \d{4} accounts told; it is on its way to more$/,
     'it goes on behind the answer');

for my $c ($alice, $bob) {
    ok($c->pick('message', from => $domain, type => 'headline',
                body => qq{Down at 20:00\n& "back" <soon>, grüße}),
       '4.23: told ' . $c->jid());
}

$carol->sync();
is(scalar(grep { $_->is('message') } $carol->drain()), 0,
   '4.23: not who is not available');
logged('announce', $domain);
ok(await(sub { $t->host(0)->read_log()
       =~ /\[notice\].*ment of "\S+" to "$domain": \d+ of 120\d accounts/ }),
   'the log says how many were told');

$t->settle($alice, $bob);
is(scalar(grep { $_->is('message') } map { $_->drain() } $alice, $bob), 0,
   '4.23: once');
is(run('announce', announcement => [ 'x' x 20_000, 'x' x 20_000 ])->error(),
   'modify bad-request', '4.23: not one that is too long');

# of few accounts: the answer says how it went

$redis->command('SREM', "xmpp:accounts:$domain", @many);

like(scalar run('announce', announcement => 'Hello')
         ->find('*/*[local-name() = "note"]'), qr/^2 of 4 accounts told$/,
     '4.23: of a few');


###############################################################################
# 4.2: accounts are removed

befriend($t, 'bob', 'carol', 'both');
$carol->query('get', undef, "<query xmlns='jabber:iq:roster'/>");
$carol->presence();
$t->settle($alice, $bob, $carol);

is_completed(run('delete-user', accountjids => [ $bob->bare(), $frank ]),
             '4.2: two are removed');
ok($bob->expect_stream_error('not-authorized'), '4.2: the session ends');
ok($carol->pick('presence', type => 'unsubscribed', from => $bob->bare()),
   'RFC 6121, 3.2: contacts hear of it');
logged('delete-user', $_) for $bob->bare(), $frank;
is(can_login($_->[0], $_->[1]), 'not-authorized', "4.2: no login of $_->[0]")
    for [ 'bob', 'bob-secret' ], [ 'frank', 'new' ];
ok(await(sub { join(' ', sort @{ $redis->command('SMEMBERS',
       "xmpp:accounts:$domain") }) eq "alice\@$domain carol\@$domain" }),
   'they are on no list');
is(run('delete-user', accountjids => $frank)->error(),
   'cancel item-not-found', '4.2: nobody');

$t->done();
