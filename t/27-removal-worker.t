#!/usr/bin/perl

# The removal of an account by a worker that dies before it is complete: the one
# that cleans up after it goes on (RFC 6121, 3.2, 3.3, 4.5; cluster.md, 5, 16).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/traffic";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Roster;
use Traffic;

*await = \&Test::XMPP::Process::await;

my $t = Test::XMPP->new(hosts => 2, workers => 1,
                        users => [ qw/ alice bob carol dave / ]);

$t->only_ours('kills workers');
$t->config(Traffic::config('xmpp_redis unix:%%REDIS%%;
                            xmpp_redis_timeout 2s;
                            xmpp_heartbeat 200ms;'));
$t->run();

my $redis = $t->redis();
my $domain = $t->domain();
my $alice = "alice\@$domain";
my $removed = "xmpp:{$alice}:removed";

befriend($t, 'alice', $_, 'both') for qw/ bob carol /;

# more than one page of them; they have no account, but for two

$redis->command('HSET', "xmpp:{$alice}:roster", "ifriend$_\@$domain",
                "1 tf 0 ") for 1 .. 100;


sub hash { return { @{ $redis->command('HGETALL', $_[0]) } } }

# the boot id of the worker that has the session

sub boot {
    my ($client) = @_;
    my $resource = $client->jid() =~ s{^.*?/}{}r;

    return (split ' ', $redis->command('HGET',
                                       'xmpp:{' . $client->bare()
                                       . '}:sessions', "r$resource"))[2];
}

sub subscription {
    my ($user) = @_;

    return (split ' ', $redis->command('HGET', "xmpp:{$user\@$domain}:roster",
                                       "i$alice") // '- -')[1];
}

sub exists_key { $redis->command('EXISTS', $_[0]) }


###############################################################################
# The pages

{
    my $page = sub {
        return $redis->command('FCALL', 'xmpp1_removed', 1, 'xmpp:{p}:removed',
                               @_);
    };

    is_deeply($page->(2, ''), [ 'none' ], 'no removal');

    $redis->command('HSET', 'xmpp:{p}:removed', 'x', '', 'rhome', '',
                    'ia@b', 'l-', 'ic@d', 'tfl', 'ie@f', 'i', 'ig@h', 'o');

    my ($ok, undef, undef, $resources, $contacts) = @{ $page->(9, '') };

    is($ok, 'ok', 'a removal');
    is($resources, 'home', 'what was available');
    is(join(' ', sort split /\n/, $contacts), '0a@b 1g@h 2e@f 7c@d',
       'what each contact has to hear');

    $contacts = $page->(2, '')->[4];
    is(scalar(my @two = split /\n/, $contacts), 2, 'a page of them');

    my $told = $contacts =~ s/^\d//gmr;
    my $others = $page->(9, "$told\n")->[4];

    is(join(' ', sort split(/\n/, $contacts), split /\n/, $others),
       '0a@b 1g@h 2e@f 7c@d', 'the others are the next page');
    is_deeply($page->(9, $others =~ s/^\d//gmr),
              [ 'ok', '0', '0', 'home', '' ], 'all were told');
    ok(exists_key('xmpp:{p}:removed'), 'and the name is not free yet');
    $redis->command('DEL', 'xmpp:{p}:removed');

    # without a contact the name is held, too; without an account it is not

    for my $existed (1, 0) {
        is($redis->command('FCALL', 'xmpp1_remove', 1, 'xmpp:{q}:account',
                           'xmpp/0:{q}'), 0, 'no account') if !$existed;
        $redis->command('HSET', 'xmpp:{q}:account', 'created', 'now');
        $redis->command('FCALL', 'xmpp1_remove', 1, 'xmpp:{q}:account',
                        'xmpp/0:{q}') if $existed;
        is(exists_key('xmpp:{q}:removed'), $existed,
           $existed ? 'a removal of who has no contacts holds the name'
                    : 'none is begun');
        $redis->command('DEL', 'xmpp:{q}:account', 'xmpp:{q}:removed');
    }
}


###############################################################################
# The worker dies behind the first step

{
    my $dave = $t->online('dave', on => 0, resource => 'd');
    my $bob = $t->online('bob', on => 1, resource => 'b');
    my $her = $t->online('alice', on => 1, resource => 'a');
    my $boot = boot($dave);
    my $list = "xmpp:{$boot}:listed";

    $bob->query('get', undef, "<query xmlns='jabber:iq:roster'/>");
    $t->settle($bob, $her);

    # one has begun, one has not, one is no address

    $redis->command('HSET', $list, "$boot.f1", $alice, "$boot.f2",
                    "carol\@$domain", "$boot.f3", 'nothing');
    $redis->command('FCALL', 'xmpp1_remove', 1, "xmpp:{$alice}:account",
                    "xmpp/0:{$alice}");

    ok($her->expect_stream_error('not-authorized'),
       'RFC 6120, 4.9.3.12: her stream ends');
    ok(exists_key($removed), 'contacts have not heard of it');
    is(($t->xmppctl("new\n", 'adduser', $alice))[0], 1,
       'and nobody gets her name');
    is($redis->command('SISMEMBER', "xmpp:accounts:$domain", $alice), 1,
       'which is still in the list');

    $t->host(0)->kill_host();

    ok($bob->pick('presence', type => 'unavailable', from => $her->jid()),
       'RFC 6121, 4.5.2: a survivor tells contacts that she is unavailable');
    ok($bob->pick('presence', type => $_, from => $alice),
       "RFC 6121, 3.2 and 3.3: $_")
        for qw/ unsubscribe unsubscribed /;
    ok(await(sub { !exists_key($removed) }), 'the removal is complete');
    unlike(subscription($_), qr/[tfoi]/, "$_ has no subscription")
        for qw/ bob carol /;
    is($redis->command('SISMEMBER', "xmpp:accounts:$domain", $alice), 0,
       'she is in no list');
    ok(await(sub { !exists_key($list) }), 'nor is the worker');
    ok(exists_key("xmpp:{carol\@$domain}:account"),
       'what has not begun is not begun by another');
    is(($t->xmppctl("new\n", 'adduser', $alice))[0], 0, 'the name is free');
    like($t->host(1)->read_log(), qr/completed the removal of "\Q$alice\E": /,
         'a line in the log');
}


###############################################################################
# A contact whose slot refuses it: nobody is forgotten, and it is tried again

{
    my $wrong = "xmpp:{wrong\@$domain}:sessions";
    my $her = $t->online('alice', on => 1, password => 'new');

    $redis->command('SET', $wrong, 'no hash');
    $redis->command('HSET', "xmpp:{$alice}:roster", "iwrong\@$domain",
                    '1 tf 0 ', "ibob\@$domain", '1 tf 0 ');

    is($her->query('set', undef, "<query xmlns='jabber:iq:register'><remove/>"
                                 . '</query>')->attr('type'), 'result',
       'an account is removed');
    ok(await(sub {
           my $refused = () = $t->host(1)->read_log()
                              =~ /Redis refused "FCALL xmpp1_contact" /g;
           return $refused >= 3;
       }), 'one contact cannot be told, again and again');
    ok($redis->command('HEXISTS', $removed, "iwrong\@$domain"),
       'he is not forgotten');
    $redis->command('DEL', $wrong);
    ok(await(sub { !exists_key($removed) }), 'it is completed when he can');
}

$t->done();
