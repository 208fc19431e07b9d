#!/usr/bin/perl

# The removal of an account, by xmppctl deluser: its sessions end, contacts
# hear of it as if the user had gone and had ended each subscription (RFC 6121,
# 3.2, 3.3, 4.5, 4.6.3), nothing of it stays in Redis, and a new account of
# that name begins with nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Roster;

*await = \&Test::XMPP::Process::await;

my $t = Test::XMPP->new(hosts => 2, users => [
    qw/ alice bob carol dave eve /,
    map { [ $_, 'localhost', "$_-secret" ] } qw/ fred gina harry /
]);

$t->only_ours('xmppctl');
$t->run();

my $redis = $t->redis();
my $domain = $t->domain();
my $alice_bare = "alice\@$domain";

befriend($t, 'alice', 'bob', 'both');
befriend($t, 'alice', 'carol', 'to');
befriend($t, 'alice', 'fred', 'both');
befriend($t, 'alice', 'gina', 'both');

sub roster {
    my ($user) = @_;

    return $redis->command('HGET', "xmpp:{$user\@$domain}:roster",
                           "i$alice_bare") // '';
}

sub requests { $redis->command('HGETALL', "xmpp:{$_[0]\@$domain}:requests") }

sub asks_for_roster {
    $_->query('get', undef, "<query xmlns='jabber:iq:roster'/>") for @_;
}

sub deluser { $t->xmppctl('', 'deluser', $alice_bare) }


# dave waits for alice's answer, alice for eve's; bob and harry are online
# and so is alice, twice; gina has blocked her

my @alice = map { $t->online('alice', on => $_, resource => "a'<$_") } 0, 1;
my $bob = $t->online('bob', on => 1, resource => 'b');
my $harry = $t->online('harry', on => 0, resource => 'h');
my $dave = $t->online('dave', on => 1, resource => 'd');
my $gina = $t->online('gina', on => 0, resource => 'g');

asks_for_roster($bob, $dave, @alice);
$gina->query('set', undef, "<block xmlns='urn:xmpp:blocking'>"
                           . "<item jid='$alice_bare'/></block>");
$dave->presence(to => $alice_bare, type => 'subscribe');
$_->pick('presence', type => 'subscribe') for @alice;
$alice[0]->presence(to => "eve\@$domain", type => 'subscribe');
$alice[0]->presence(to => $harry->jid());
$alice[0]->message($bob->jid(), 'a message', type => 'chat');
$bob->message($alice_bare, 'another', type => 'chat');
ok($harry->pick('presence', from => $alice[0]->jid()), 'directed presence');
ok($_->pick('message', body => 'another'), 'a message') for @alice;
ok($bob->pick('message', body => 'a message'), 'and one of hers');
$t->settle($bob, $harry);
$_->sync(), $_->drain() for $dave, $gina, @alice;
is(scalar @{ requests('eve') }, 2, 'eve has a request');
is($alice[0]->query('set', undef, $_)->attr('type'), 'result', "she keeps $_")
    for "<query xmlns='jabber:iq:private'><x xmlns='urn:x'/></query>",
        "<vCard xmlns='vcard-temp'><FN>Alice</FN></vCard>",
        "<block xmlns='urn:xmpp:blocking'><item jid='x.example'/></block>";


###############################################################################
# It is removed

is_deeply([ deluser() ], [ 0, "$alice_bare removed\n" ], 'xmppctl deluser');

for my $alice (@alice) {
    ok($alice->expect_stream_error('not-authorized'),
       $alice->jid() . ': RFC 6120, 4.9.3.12: the stream ends');
}

for my $alice (@alice) {
    ok($bob->pick('presence', type => 'unavailable', from => $alice->jid(),
                  to => $bob->bare()),
       'RFC 6121, 4.5.2: unavailable for a contact: ' . $alice->jid());
}

ok($bob->pick('presence', type => $_, from => $alice_bare, to => $bob->bare()),
   "RFC 6121, 3.2 and 3.3: $_ for a contact")
    for qw/ unsubscribe unsubscribed /;

my @pushes = map { $bob->pick('iq', type => 'set') } 1, 2;

is($pushes[1] && $pushes[1]->find('*/*/@subscription'), 'none',
   'RFC 6121, 3.2.3: a push');
ok($harry->pick('presence', type => 'unavailable', from => $alice[0]->jid()),
   'RFC 6121, 4.6.3: unavailable for who got directed presence');
ok($dave->pick('presence', type => 'unsubscribed', from => $alice_bare),
   'RFC 6121, 3.2: who waits for an answer gets one');

for my $user (qw/ bob carol fred gina /) {
    unlike((split ' ', roster($user))[1], qr/[tfoi]/,
           "the roster of $user has no subscription");
}

is((split ' ', roster('dave'))[1], 'l', 'nor that of dave');
is(roster('eve'), '', 'that of eve has nothing');
is(scalar @{ requests('eve') }, 0, 'and no request');
ok($gina->expect_nothing(), 'who has blocked her was not told before');


###############################################################################
# Nothing of it stays

sub traces {
    my ($next, $keys) = @{ $redis->command('SCAN', 0, 'COUNT', 100_000) };

    return join ' ', sort grep { /alice/ } @$keys;
}

ok(await(sub { traces() eq '' }), 'no key has her name') or diag(traces());
is($redis->command('SISMEMBER', "xmpp:accounts:$domain", $alice_bare), 0,
   'she is in no list');

for my $key (grep { /:listed$/ } @{ $redis->command('KEYS', '*') }) {
    ok(await(sub { "@{ $redis->command('HGETALL', $key) }" !~ /alice/ }),
       "nor in the list of a worker");
}

is((deluser())[0], 1, 'she cannot be removed again');

# what one of her sessions had on its way to Redis

is_deeply($redis->command('FCALL', 'xmpp1_roster_set', 2,
                          (map { "xmpp:{$alice_bare}:$_" }
                               qw/ sessions roster /),
                          "xmpp/0:{$alice_bare}", $alice_bare, $bob->bare(),
                          '', '', 10, 1000), [ 'busy' ], 'no item comes back');
is_deeply($redis->command('FCALL', 'xmpp1_subscribe_out', 4,
                          (map { "xmpp:{$alice_bare}:$_" }
                               qw/ sessions roster requests presence /),
                          "xmpp/0:{$alice_bare}", $alice_bare, $bob->bare(),
                          'subscribe', 10, 1000), [ 'busy' ], 'in no way');
is(traces(), '', 'there is still no key');

# a message would come from nobody; a new one begins with nothing

$t->add_user('alice', $domain, 'new');
$bob->presence(show => 'away');
$bob->sync();
$bob->drain();

my $new = $t->client('alice', resource => 'new')->login();

ok($new->query('get', undef, "<query xmlns='jabber:iq:roster'/>")
       ->test("count(*/*) = 0"), 'a new account has no roster');
$new->presence();
$new->pick('presence', from => $new->jid());
$new->sync();
is(scalar(grep { $_->is('presence') } $new->drain()), 0,
   'a new account gets no presence');
is(scalar(grep { $_->is('presence') } do { $bob->sync(); $bob->drain() }), 0,
   'and nobody gets hers');
$new->close();


###############################################################################
# xmppctl is killed after the first step

$redis->command('HSET', "xmpp:{$alice_bare}:roster", "ibob\@$domain",
                '1 tf 0 ');
$redis->command('HSET', "xmpp:{bob\@$domain}:roster", "i$alice_bare",
                '1 tf 0 ');
$redis->command('FCALL', 'xmpp1_remove', 1, "xmpp:{$alice_bare}:account",
                "xmpp/0:{$alice_bare}");
is((split ' ', roster('bob'))[1], 'tf', 'bob has not heard of it');

my ($status, $said) = $t->xmppctl("newer\n", 'adduser', $alice_bare);

is($status, 1, 'nobody gets her name until he has');
like($said, qr/was not completed; xmppctl deluser completes it/,
     'and the way out is told');
is_deeply([ deluser() ], [ 0, "$alice_bare removed\n" ],
          'the same again goes on');
unlike((split ' ', roster('bob'))[1], qr/[tf]/, 'now he has');
ok(await(sub { traces() eq '' }), 'and no key is left') or diag(traces());

$t->done();
