#!/usr/bin/perl

# The rights for a user of Redis that docs/redis-schema.md names suffice for all
# that the workers do, on two hosts, and nothing is denied (ACL LOG).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

my $port = Test::XMPP::Process::free_port();
my $t = Test::XMPP->new(hosts => 0, users => [ qw/ alice bob carol / ],
                        domains => [ qw/ localhost anon.test / ],
                        redis => { port => $port, bind => '127.0.0.1' })
    ->only_ours('sets up our Redis');

my ($rights) = Test::XMPP::Process::slurp(
    Test::XMPP::Nginx::root() . '/docs/redis-schema.md')
    =~ /^ACL SETUSER xmpp (.*?)^```/ms;

ok($rights, 'the schema has rights for a user of Redis') or exit;

$t->run();

my $redis = $t->redis();
my $hosts = 0;


# Two hosts more, whose Redis is this

sub hosts {
    my ($address, @more) = @_;

    $redis->command('ACL', 'SETUSER', 'xmpp', 'reset', split(' ', $rights),
                    @more);

    for (1, 2) {
        $t->start_host(config => <<"EOF");
%%GLOBALS%%
events { worker_connections 1024; }
stream {
    xmpp_redis $address;
    xmpp_host localhost {
        ssl_certificate     %%TESTDIR%%/localhost.pem;
        ssl_certificate_key %%TESTDIR%%/localhost.key;
    }
    xmpp_host anon.test {
        ssl_certificate     %%TESTDIR%%/anon.test.pem;
        ssl_certificate_key %%TESTDIR%%/anon.test.key;
        xmpp_sasl_mechanisms ANONYMOUS;
    }
    server { listen 127.0.0.1:%%PORT_0%%; xmpp_c2s; }
    server {
        listen 127.0.0.1:%%PORT_1%% proxy_protocol;
        set_real_ip_from 127.0.0.1;
        xmpp_c2s;
    }
}
EOF
        ok($t->host($hosts)->await_log(qr/subscriber connection is ready/),
           "$address: host $hosts is ready");
        $hosts++;
    }
}


sub talk {
    my ($from, $to, $what) = @_;

    $from->message($to->jid(), $what, type => 'chat');
    ok($to->pick(message => body => $what), $what);
}


###############################################################################
# Two hosts

hosts("redis://xmpp:secret\@127.0.0.1:$port");

my $alice = $t->online('alice', on => 0, mechanism => 'PLAIN',
                       resource => 'desk');
my $bob = $t->online('bob', on => 1, mechanism => 'SCRAM-SHA-256');

talk($alice, $bob, 'by PLAIN, and to the other host');
talk($bob, $alice, 'and back');

$alice->send('<presence><show>away</show></presence>');
$bob->message($alice->bare(), 'whoever is there');
ok($alice->pick(message => body => 'whoever is there'), 'to the bare JID');

# another takes the resource, on the other host, and leaves

$alice->sync();
$alice->drain();
my $again = $t->online('alice', on => 1, resource => 'desk');

ok($alice->expect_stream_error('conflict'), 'a resource is taken over');
$again->close();
ok(Test::XMPP::Process::await(sub {
       !$redis->command('HEXISTS', 'xmpp:{alice@localhost}:sessions', 'rdesk')
   }), 'which has ended, in Redis, too');
$bob->message($again->jid(), 'still there?', id => 'gone');
is($bob->pick(name => 'message', id => 'gone')->error(),
   'cancel service-unavailable', 'and given back');

# what is kept: for who is away, and by users

$bob->message('carol@localhost', $_, type => 'chat') for qw/ one two /;
$bob->sync();

my $back = $t->online('carol', on => 0);

ok($back->pick('message', body => $_), "kept while she was away: $_")
    for qw/ one two /;

for my $payload ("<vCard xmlns='vcard-temp'><FN>C</FN></vCard>",
                 "<query xmlns='jabber:iq:private'><a xmlns='u'>a</a></query>",
                 "<vCard xmlns='vcard-temp'/>",
                 "<query xmlns='jabber:iq:private'><a xmlns='u'/></query>")
{
    is($back->query($_, undef, $payload)->attr('type'), $_ eq 'get'
       && $payload =~ /vCard xmlns='vcard-temp'\/>/ ? 'error' : 'result',
       "$_: $payload") for qw/ set get /;
}

is($bob->query('get', 'carol@localhost', "<query xmlns='jabber:iq:last'/>")
     ->error(), 'auth forbidden', 'last activity');
$back->close();

# guests

my $guest = $t->client('alice', on => 0, domain => 'anon.test');

$guest->secure();
$guest->send_auth('ANONYMOUS', '');
ok($guest->expect('success'), 'a guest');
$guest->open_stream();
$guest->bind();
$guest->available();
talk($bob, $guest, 'to the guest');
$guest->close();

# failures are counted for others than the loopback interface, and who logged in
# is known there afterwards

for my $password ('wrong', 'carol-secret') {
    my $c = $t->client('carol', on => 1, port_number => 1);

    $c->connect();
    $c->send("PROXY TCP4 192.0.2.7 127.0.0.1 40000 5222\r\n");
    $c->open_stream();
    $c->starttls();
    is($c->authenticate(mechanism => 'PLAIN', password => $password)->name(),
       $password eq 'wrong' ? 'failure' : 'success',
       "a login from elsewhere: $password");
}

ok(Test::XMPP::Process::await(sub {
       $redis->command('HLEN', 'xmpp:failures')
           && $redis->command('HGET', 'xmpp:{carol@localhost}:account',
                              'known') }),
   'is counted, and known');

# connections are cut, with the Functions gone: loaded, subscribed, put back

$alice = $t->online('alice', on => 0, resource => 'desk');
$redis->command('FUNCTION', 'FLUSH');
$redis->command('DEL', "xmpp:{$_\@localhost}:sessions") for qw/ alice bob /;
$redis->command('CLIENT', 'KILL', 'TYPE', $_, 'SKIPME', 'yes')
    for qw/ normal pubsub /;
ok(Test::XMPP::Process::await(sub {
       !grep { !$redis->command('EXISTS', "xmpp:{$_\@localhost}:sessions") }
           qw/ alice bob / }),
   'records are put back');
ok(Test::XMPP::Process::await(sub {
       $redis->command('PUBSUB', 'SHARDCHANNELS', '*{bob@localhost}*')->[0] }),
   'and channels subscribed to');
talk($alice, $bob, 'after connections were cut');
talk($bob, $alice, 'both ways');

# a reload

$t->host(0)->reload();
ok($alice->expect_stream_error('system-shutdown'), 'a reload');
$alice = $t->online('alice', on => 0, resource => 'desk');
talk($bob, $alice, 'after it');

# the account is removed; xmppctl has rights of its own

my ($status, $said) = $t->xmppctl(undef, 'deluser', 'bob@localhost');

is($status, 0, 'an account is removed') or diag($said);
ok($bob->expect_stream_error('not-authorized'), 'and its session ends');
$alice->message($bob->bare(), 'are you there?', id => 'removed');
is($alice->pick(name => 'message', id => 'removed')->error(),
   'cancel service-unavailable', 'nobody is there');
$_->close() for $alice, $bob;


###############################################################################
# Another database

hosts("redis://xmpp:secret\@127.0.0.1:$port/1", '+select');
$redis->command('COPY', ('xmpp:{carol@localhost}:account') x 2, 'DB', 1);

my $carol = $t->online('carol', on => 2, mechanism => 'PLAIN');
my $other = $t->online('carol', on => 3);

talk($carol, $other, 'in database 1');
$_->close() for $carol, $other;


###############################################################################

is_deeply($redis->command('ACL', 'LOG'), [], 'nothing was denied')
    or diag(explain($redis->command('ACL', 'LOG')));
unlike($t->host($_)->read_log(), qr/NOPERM/, "host $_: nor logged")
    for 0 .. $hosts - 1;

($status, $said) = $t->xmppctl('x', '-r',
                               "redis://xmpp:secret\@127.0.0.1:$port",
                               'adduser', 'dave@localhost');
is($status, 3, 'xmppctl needs more');
like($said, qr/NOPERM.*; give another user by -u and -P$/, 'and says so');

$t->done();
