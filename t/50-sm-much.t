#!/usr/bin/perl

# Much comes for a session while a worker takes it from another: XEP-0198, 4, 5;
# cluster.md, rules 4 and 6.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Resume;

my $t = Test::XMPP->new(hosts => 3, workers => 1, relay => 0,
                        domains => [ qw/ localhost second.test / ],
                        users => [ qw/ alice bob /,
                                   [ 'dora', 'second.test', 'dora-secret' ] ]);

$t->only_ours('has several hosts');

my $config = <<'EOC';
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis      unix:%%REDIS%%;
    xmpp_heartbeat  60s;
    xmpp_max_stanza       10k;
    xmpp_output_queue     %%QUEUE%%;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    xmpp_host second.test {
        ssl_certificate      %%TESTDIR%%/second.test.pem;
        ssl_certificate_key  %%TESTDIR%%/second.test.key;
        xmpp_sm_size         %%SIZE%%;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
EOC

# host 1, which takes them, is far from Redis, and has little room

$t->config($config =~ s/%%QUEUE%%/1m/r =~ s/%%SIZE%%/1m/r);
$t->config($config =~ s/%%QUEUE%%/10k/r =~ s/%%SIZE%%/8k/r
                   =~ s/%%REDIS%%/%%RELAY%%/r, host => 1);
$t->run();

my $redis = $t->redis();
my $sm = Test::XMPP::Resume->new($t);
my $bob = $t->online('bob', on => 2, resource => 'b');
my $text = 'x' x 2000;


sub await {
    my ($what, $condition) = @_;

    Test::XMPP::Process::await($condition) or die "$what\n";
}

sub listeners {
    my ($user) = @_;
    my ($channel) = grep { /\{$user\@/ } $redis->channels() or return 0;

    return $redis->command('PUBSUB', 'SHARDNUMSUB', $channel)->[1];
}

sub record {
    my ($client) = @_;
    my ($bare, $resource) = split m{/}, $client->jid(), 2;

    return $redis->command('HGET', "xmpp:{$bare}:sessions", "r$resource") // '';
}

# what host 1 has begun to take, and what comes for it meanwhile

sub taking {
    my ($client, $type, @names) = @_;

    $sm->ack($client);
    $client->drain();

    my $new = $sm->back($client, on => 1);

    $new->{stanzas} = $client->{stanzas};
    $t->relay()->delay(250);
    $sm->resume($new, $client->{stanzas});
    await('host 1 does not listen',
          sub { listeners($client->{user}) == 2 });
    $bob->message($client->jid(), "$_-$text", type => $type) for @names;
    $bob->sync();
    like(record($client), qr/ -$/, 'it is not taken yet');

    return $new;
}


###############################################################################
# More than its client may be behind: what is for the holder comes from there

# The inbox keeps no headlines

for my $type ('headline', 'chat') {
    my $alice = $sm->resumable('alice', on => 0, resource => 'r');
    my $new = taking($alice, $type, 1 .. 8);

    ok($new->pick('resumed'), "much of type $type comes meanwhile: resumed");
    $t->relay()->delay(0);
    $bob->message($alice->jid(), 'last', type => 'chat');
    is($sm->got($new, 'last') =~ s/-x+//gr, '1 2 3 4 5 6 7 8 last',
       'XEP-0198, 5: all of it comes, in order, and once');
    is($redis->command('XLEN', 'xmpp:{alice@localhost}:inbox'),
       $type eq 'chat' ? 9 : 1,
       'cluster.md, rule 9: and is kept until it is acknowledged');
    $sm->ack($new);

    my $back = $sm->resumed($new, on => 0);

    is($sm->got($back), '', 'XEP-0198, 4: and both count the same');
    $_->drop() for $alice, $new;
    $back->close();
    await('the record stays', sub { !record($alice) });
}


###############################################################################
# More than may be unacknowledged where it is taken: it ends, as any

{
    my $dora = $sm->resumable('dora', on => 0, domain => 'second.test',
                              resource => 'r');
    my $new = taking($dora, 'headline', 1 .. 20);

    $bob->iq('get', $dora->jid(), "<ping xmlns='urn:xmpp:ping'/>",
             id => 'asked');
    $bob->message($dora->jid(), 'kept', type => 'chat');
    $bob->sync();
    $t->relay()->delay(0);
    await('it does not end', sub { !record($dora) });
    pass('more than may be: it ends');
    $_->drop() for $dora, $new;

    my $next = $t->online('dora', on => 1, domain => 'second.test',
                          resource => 'n');

    ok($next->pick('message', body => 'kept'),
       'cluster.md, rule 9: what was kept is for the next one');
}

$t->done();
