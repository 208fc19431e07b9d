#!/usr/bin/perl

# Sessions are resumed on another host while Redis is full, read-only, or has
# lost all: XEP-0198, 5; cluster.md, rules 1, 3 and 17.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Resume;

my $t = Test::XMPP->new(hosts => 3, workers => 1, users => [ qw/ alice bob / ]);

$t->only_ours('torments Redis');

$t->config(<<'EOC');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis      unix:%%REDIS%%;
    xmpp_heartbeat  60s;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
EOC

$t->run();

my $redis = $t->redis();
my $sm = Test::XMPP::Resume->new($t);
my $bob = $t->online('bob', on => 2, resource => 'b');


sub record {
    return $redis->command('HGET', 'xmpp:{alice@localhost}:sessions', 'rr')
           // '';
}

# comes($client, $host): authenticated there, while all is well

sub comes {
    my ($client, $host) = @_;
    my $new = $sm->back($client, on => $host);

    $new->{stanzas} = $client->{stanzas};

    return $new;
}

sub gone {
    my ($client) = @_;

    $sm->ack($client);
    $client->close();
    Test::XMPP::Process::await(sub { !record() }) or die "the record stays\n";
}

# Redis refuses what needs it: the client is not told that its session is lost

my %outages = (
    'full' => [ sub { $redis->command('CONFIG', 'SET', 'maxmemory', '1') },
                sub { $redis->command('CONFIG', 'SET', 'maxmemory', '0') } ],
    'read-only' => [ sub { $redis->command('REPLICAOF', '127.0.0.1', '1') },
                     sub { $redis->command('REPLICAOF', 'NO', 'ONE') } ]
);

for my $how (sort keys %outages) {
    my ($begin, $end) = @{ $outages{$how} };
    my $alice = $sm->resumable('alice', on => 0, resource => 'r');

    $sm->ack($alice);
    $bob->message($alice->jid(), 'kept', type => 'chat');
    $alice->pick('message', body => 'kept');

    my $h = $sm->handled($alice);
    my $new = comes($alice, 1);

    $new->{stanzas}--;
    $begin->();
    $sm->resume($new, $new->{stanzas});

    my $answer = $new->pick(qr/^(?:resumed|failed|error)$/);

    is($answer && $answer->name(), 'error',
       "$how: the stream ends, since <failed/> would give the session up");
    $new->drop();
    $end->();

    my $last = $sm->resumed($alice, on => 1, h => $alice->{stanzas} - 1);

    ok($last, 'afterwards it is resumed');
    is($last && $last->{handled}, $h, 'with its count');
    is($sm->got($last, 'kept'), 'kept', 'and with what it was not sent');
    $alice->drop();
    gone($last);
}


###############################################################################
# It has lost all but the accounts: those who have sessions put them back

sub loses_all {
    $redis->command('EVAL', <<'EOL', 0);
for _, key in ipairs(redis.call('KEYS', '*')) do
    if not string.find(key, ':account$') then
        redis.call('DEL', key)
    end
end
EOL
    $redis->command('CLIENT', 'KILL', 'TYPE', $_) for qw/ normal pubsub /;
}

for my $how ('bound', 'waiting') {
    my $alice = $sm->resumable('alice', on => 0, resource => 'r');

    $sm->ack($alice);

    my $h = $sm->handled($alice);
    my $seen = $alice->{stanzas};

    $bob->iq('get', $alice->jid(), "<ping xmlns='urn:xmpp:ping'/>",
             id => 'asked');
    $bob->message($alice->jid(), 'sent', type => 'chat');
    $alice->pick('message', body => 'sent');
    $sm->lose($alice) if $how eq 'waiting';

    my $sid = (split / /, record())[1];

    loses_all();
    Test::XMPP::Process::await(sub {
        record() && $redis->command('EXISTS', "xmpp:{alice\@localhost}:sm:$sid")
    }) or die "it is not put back\n";

    my $new = $sm->resumed($alice, on => 1, h => $seen);

    ok($new, "Redis has lost all, $how: resumed on another");
    is($new->{handled}, $h, 'with its count');
    is($sm->got($new, 'sent'), 'iq-get sent', 'and with what it was not sent');
    $bob->message($alice->jid(), 'more', type => 'chat');
    is($sm->got($new, 'more'), 'more', 'and it goes on');
    $alice->drop();
    gone($new);
}

$t->done();
