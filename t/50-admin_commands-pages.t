#!/usr/bin/perl

# What looks at each account of a domain, XEP-0133, 4.15 and 4.23, page by page
# while Redis is slow: it ends with its session, an announcement does not, and
# goes on behind its answer; what becomes of it when Redis goes away, when nginx
# is reloaded, and when it ends.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Lanes;
use Test::XMPP::Process;

*await = \&Test::XMPP::Process::await;

my $t = Test::XMPP->new(hosts => 0, workers => 1, users => [ qw/ alice bob / ]);

$t->only_ours('makes our Redis slow');

$t->config(<<'EOF_CONF');
%%GLOBALS%%
events { worker_connections 1024; }
stream {
    xmpp_redis unix:%%TESTDIR%%/lanes.sock;
    xmpp_redis_timeout 2s;
    xmpp_admin alice@localhost;

    xmpp_host localhost {
        ssl_certificate     %%TESTDIR%%/localhost.pem;
        ssl_certificate_key %%TESTDIR%%/localhost.key;
    }

    server { listen 127.0.0.1:%%PORT_0%%; xmpp_c2s; }
}
EOF_CONF

$t->run();

my $redis = $t->redis();
my $lanes = Test::XMPP::Lanes->new($t->testdir() . '/lanes.sock',
                                   $redis->socket());
my $domain = $t->domain();
my $host = $t->start_host();
my $all = 3002;

$redis->command('SADD', "xmpp:accounts:$domain",
                map { "u$_\@$domain" } 1 .. $all - 2);

my $bob = $t->online('bob', resource => 'b');
my $alice = $t->online('alice', resource => 'a');

$t->settle($alice, $bob);


sub command {
    my ($name, $session, $inner) = @_;

    return $alice->iq('set', $domain,
        "<command xmlns='http://jabber.org/protocol/commands'"
        . " node='http://jabber.org/protocol/admin#$name'"
        . ($session ? " sessionid='$session'" : '') . '>'
        . ($inner // '') . '</command>');
}


# announce($text): the id of what submits it

sub announce {
    my ($text) = @_;

    my $form = $alice->pick('iq', id => command('announce'));

    return command('announce', scalar $form->find('*/@sessionid'),
                   "<x xmlns='jabber:x:data' type='submit'><field"
                   . " var='announcement'><value>$text</value></field></x>");
}


sub note_of { scalar $_[0]->find('*/*[local-name() = "note"]') }

sub scans {
    return $redis->command('INFO', 'commandstats')
           =~ /cmdstat_sscan:calls=(\d+)/ ? $1 : 0;
}


# the lines of the log about an announcement that is over

sub over { grep { /announcement of/ } split /\n/, $host->read_log() }


###############################################################################
# A session that has ended is not counted for

$lanes->delay('command', 50);

my $before = scans();

command('get-online-users-num');
ok(await(sub { scans() > $before }), 'the first page is asked for');

my $rival = $t->client('alice', resource => 'a')->login();

ok($alice->expect_stream_error('conflict'), 'another takes the resource');
cmp_ok(scans() - $before, '<', 30, 'who has gone needs no answer');

# each of these takes as long as half a page

my @asks = ('get', undef, "<query xmlns='jabber:iq:private'><x xmlns='x'/>"
                          . '</query>');

$rival->query(@asks);
$before = scans();
$rival->query(@asks) for 1 .. 4;
is(scans(), $before, 'nor is a page asked for later');
$rival->close();


###############################################################################
# An announcement goes on when its client has gone

$lanes->delay('command', 20);
$alice = $t->online('alice', resource => 'a');

my $id = announce('one');
my $answer = $alice->pick('iq', id => $id);

like(note_of($answer),
     qr/^\d of 1\d\d\d accounts told; it is on its way to more$/,
     'the answer comes when a thousand were told');
is(scalar(over()), 0, 'and it goes on');

is($alice->pick('iq', id => announce('two'))->error(),
   'wait resource-constraint', 'another one has to wait');
$alice->drop();
ok(await(sub { over() == 1 }), 'it is over');
like((over())[0], qr/\[notice\].*: \d+ of $all accounts told$/m,
     'all are told');
ok($bob->pick('message', body => 'one'), 'bob, too');
$bob->sync();
is(scalar(grep { $_->is('message') } $bob->drain()), 0, 'once');


###############################################################################
# Redis goes away in the middle

$lanes->delay('command', 0);
$alice = $t->online('alice', resource => 'a');
$lanes->delay('command', 20);
$host->expect_log(qr/announcement of|Redis|redis|xmpp_redis/);

$id = announce('three');
ok($alice->pick('iq', id => $id), 'it is on its way');
$lanes->mute('command');
ok(await(sub { over() == 2 }, 20), 'and is given up');
like((over())[1], qr/\[error\].*: \d+ of \d+ accounts told, others/,
     'the log says so');
$lanes->cut('command');
$lanes->release('command');

$lanes->delay('command', 0);
ok(await(sub { $alice->query('get', $alice->bare(),
       "<query xmlns='jabber:iq:private'><x xmlns='x'/></query>")
       ->attr('type') eq 'result' }), 'Redis is back');

# before the first page is answered

my $form = $alice->pick('iq', id => command('announce'));

$lanes->mute('command');
$id = command('announce', scalar $form->find('*/@sessionid'),
              "<x xmlns='jabber:x:data' type='submit'><field var="
              . "'announcement'><value>four</value></field></x>");
is($alice->pick('iq', id => $id)->error(), 'wait resource-constraint',
   'Redis does not answer at all: an error');
$id = command('get-online-users-num');
is($alice->pick('iq', id => $id)->error(), 'wait resource-constraint',
   'the same of who is online');
$lanes->cut('command');
$lanes->release('command');
ok(await(sub { $alice->query('get', $alice->bare(),
       "<query xmlns='jabber:iq:private'><x xmlns='x'/></query>")
       ->attr('type') eq 'result' }), 'Redis is back');


###############################################################################
# nginx is reloaded, and ends

$lanes->delay('command', 20);
ok($alice->pick('iq', id => announce('five')), 'one more is on its way');
$host->reload();
$alice = $t->online('alice', resource => 'a');
ok($alice->pick('iq', id => announce('six')), 'and one in the next worker');

$t->done();
