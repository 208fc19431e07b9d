#!/usr/bin/perl

# A worker or a host dies without ending its sessions: one of those that live
# does it for it (RFC 6121, 4.5.2; cluster.md, 5), and only for the dead.

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

my $BEAT = 0.2;                         # seconds

my @users = qw/ alice bob carol dave /;
my $t = Test::XMPP->new(hosts => 3, workers => 1, users => [ @users ]);

$t->only_ours('kills workers');
$t->config(Traffic::config('xmpp_redis unix:%%REDIS%%;
                            xmpp_redis_timeout 2s;
                            xmpp_heartbeat ' . $BEAT * 1000 . 'ms;'));
$t->run();

my $redis = $t->redis();
my $domain = $t->domain();

befriend($t, 'alice', $_, 'both') for qw/ bob carol /;


sub key { "xmpp:{$_[0]\@$domain}:sessions" }

sub record {
    my ($user, $resource) = @_;

    return $redis->command('HGET', key($user), "r$resource");
}

# the boot ids of those who beat, and whom somebody cleans up after

sub beats  { return hash('xmpp:{workers}:beats') }
sub claims { return hash('xmpp:{workers}:claims') }
sub hash   { return { @{ $redis->command('HGETALL', $_[0]) } } }

sub listed {
    my ($boot) = @_;

    return hash("xmpp:{$boot}:listed");
}

sub lists { return scalar @{ $redis->command('KEYS', 'xmpp:{*}:listed') } }

# who beats now: returns when each of them has twice

sub living {
    my ($n) = @_;
    my $before = beats();

    return await(sub {
        my $now = beats();

        return $n == grep {
            my ($from) = split ' ', $before->{$_} // '0 0';
            my ($to) = split ' ', $now->{$_};
            $to >= $from + 2;
        } keys %$now;
    });
}

# How often somebody has heard up to now that each full JID is unavailable

sub ends {
    my ($c) = @_;
    my %ends;

    $c->sync();
    $ends{ $_->attr('from') }++
        for grep { ($_->attr('type') // '') eq 'unavailable' }
            grep { $_->is('presence') } $c->drain();

    return %ends;
}

# what somebody has heard last of each

sub presence {
    my ($c) = @_;

    $c->sync();

    return map { ($_->attr('from'), $_->attr('type') // 'here') }
           grep { $_->is('presence') } $c->drain();
}

# these have heard of those, and have nothing unread

sub settle {
    my ($those) = pop;

    for my $c (@_) {
        $c->pick('presence', from => $_->jid(), type => undef) for @$those;
        $c->sync();
        $c->drain();
    }
}


###############################################################################
# The list

{
    ok(living(3), 'each worker beats');
    is_deeply(claims(), {}, 'and nobody is taken for dead');

    my $alice = $t->online('alice', on => 0, resource => 'list');
    my ($epoch, $sid, $boot) = split ' ', record('alice', 'list');

    is_deeply(listed($boot), { $sid => $alice->jid() },
              'cluster.md, 16: a session is on the list of its worker');
    $alice->close();
    ok(await(sub { !%{ listed($boot) } }), 'until it has ended');

    # one that has lost its resource

    my $first = $t->online('alice', on => 0, resource => 'list');
    my $second = $t->online('alice', on => 1, resource => 'list');
    my (undef, $winner, $other) = split ' ', record('alice', 'list');

    ok($first->expect_stream_error('conflict'), 'RFC 6120, 7.7.2.2');
    ok(await(sub { !%{ listed($boot) } }), 'the loser leaves the list');
    is_deeply(listed($other), { $winner => $second->jid() },
              'the winner is on its own');
    $second->close();
    ok(await(sub { !lists() }), 'and no list is left');
}


###############################################################################
# kill -9

{
    my $bob = $t->online('bob', on => 1, resource => 'b');
    my $other = $t->online('alice', on => 1, resource => 'other');
    my @dead = map { $t->online('alice', on => 0, resource => "r$_") } 1 .. 3;
    my ($boot) = (split ' ', record('alice', 'r1'))[2];

    settle($bob, $other, \@dead);
    $t->host(0)->kill_host();
    $_->pick('presence', from => $dead[0]->jid(), type => 'unavailable')
        for $bob, $other;
    ok(await(sub { !exists beats()->{$boot} }),
       'a host is killed: the others clean up after it');

    for my $c ($bob, $other) {
        my %ends = ends($c);

        is_deeply([ @ends{ map { $_->jid() } @dead[1, 2] } ], [ 1, 1 ],
                  'RFC 6121, 4.5.2: ' . $c->jid() . ' is told, once');
        ok(!$ends{ $dead[0]->jid() }, 'and not twice of the first, too');
    }

    is_deeply([ sort grep { /^r/ } keys %{ hash(key('alice')) } ], [ 'rother' ],
              'a host is killed: no record stays but those of the living');
    ok(await(sub { !%{ claims() } && !%{ listed($boot) } }),
       'a host is killed: it is forgotten');
    $t->host(0)->start();
    ok(living(3), 'a host is killed, and is back');
    $_->close() for $bob, $other;
}

# A worker whose host lives, with another in its place

{
    my $bob = $t->online('bob', on => 1, resource => 'b');
    my $alice = $t->online('alice', on => 0, resource => 'r');
    my ($boot) = (split ' ', record('alice', 'r'))[2];

    settle($bob, [ $alice ]);
    $t->host(0)->kill_worker();
    ok($bob->pick('presence', from => $alice->jid(), type => 'unavailable'),
       'a worker is killed: contacts are told');
    ok(await(sub { !record('alice', 'r') && !exists beats()->{$boot} }),
       'a worker is killed: no record stays');

    # whoever comes back before that is not ended

    $alice = $t->online('alice', on => 0, resource => 'r');
    settle($bob, [ $alice ]);
    ($boot) = (split ' ', record('alice', 'r'))[2];
    $t->host(0)->kill_worker();

    my $back = $t->online('alice', on => 1, resource => 'r');

    ok(await(sub { !exists beats()->{$boot} && !%{ listed($boot) } }),
       'a worker is killed, and its client comes back elsewhere');

    my %last = presence($bob);

    is($last{ $back->jid() }, 'here', 'cluster.md, 4: that one stays');
    ok(record('alice', 'r'), 'and its record');
    $_->close() for $bob, $back;
}


###############################################################################
# A survivor is killed while it cleans up: 6,000 sessions of nobody

{
    my $dead = 'dead0dead0dead0d';
    my $n = 6000;
    my %boot;

    for my $on (0 .. 2) {
        my $c = $t->online('carol', on => $on, resource => "c$on");
        $boot{ (split ' ', record('carol', "c$on"))[2] } = $on;
        $c->close();
    }

    for (my $i = 1; $i <= $n; $i += 500) {
        my @i = $i .. $i + 499;

        $redis->command('HSET', key('dave'),
                        map { ("rx$_", "1 $dead.$_ $dead - -") } @i);
        $redis->command('HSET', "xmpp:{$dead}:listed",
                        map { ("$dead.$_", "dave\@$domain/x$_") } @i);
    }

    $redis->command('HSET', 'xmpp:{workers}:beats', $dead,
                    '1 ' . $BEAT * 1000);

    my $left = sub { $redis->command('HLEN', "xmpp:{$dead}:listed") };
    my $who;

    ok(await(sub { $who = claims()->{$dead}; $left->() < $n }),
       'a survivor cleans up');

    # the others do not go on before it has been looked

    $redis->command('CLIENT', 'PAUSE', 60000, 'WRITE');

    my $on = $boot{ $who // (values %{ claims() })[0] };

    $t->host($on)->kill_host();
    cmp_ok($left->(), '>', 0, "and is killed in the middle, host $on");
    $redis->command('CLIENT', 'UNPAUSE');
    ok(await(sub { !exists beats()->{$dead} }, 30), 'another one goes on');
    is($left->(), 0, 'to the end');
    is($redis->command('EXISTS', key('dave')), 0, 'no record is left');
    ok(await(sub { !%{ claims() } && keys %{ beats() } == 2 }),
       'of the survivor that was killed neither');
    $t->host($on)->start();
    ok(living(3), 'which is back');
}


###############################################################################
# A worker stands still for longer than the lease, and goes on

{
    my $bob = $t->online('bob', on => 1, resource => 'b');
    my $alice = $t->online('alice', on => 0, resource => 'r');
    my $blocks = $t->online('carol', on => 1, resource => 'c');
    my $quiet = $t->client('alice', on => 0, resource => 'q')->login();
    my ($epoch, $sid, $boot) = split ' ', record('alice', 'r');

    $alice->presence(priority => 7);
    $alice->sync();
    settle($bob, [ $alice ]);
    $blocks->query('set', undef, "<block xmlns='urn:xmpp:blocking'>"
                                 . "<item jid='" . $alice->bare() . "'/>"
                                 . '</block>');
    $blocks->drain();

    my ($worker) = $t->host(0)->workers();

    kill 'STOP', $worker;
    ok($bob->pick('presence', from => $alice->jid(), type => 'unavailable'),
       'a worker stands still: it is taken for dead');
    ok(await(sub { !exists beats()->{$boot} && !record('alice', 'r')
                   && !record('alice', 'q') }),
       'and no record is left');
    $bob->message($alice->bare(), 'meanwhile', type => 'chat');
    $bob->sync();
    kill 'CONT', $worker;
    ok($bob->pick('presence', from => $alice->jid(), type => undef),
       'it goes on: its sessions are available again');
    ok($alice->pick('message', body => 'meanwhile'),
       'XEP-0160: what was kept meanwhile is handed out');

    my ($e, $s, $b, $state) = split ' ', record('alice', 'r');

    is("$e $s", "$epoch $sid", 'it goes on: the record is the same');
    isnt($b, $boot, 'but for the boot id');
    is($state, 7, 'and the priority');
    like(record('alice', 'q') // '', qr/^\d+ \S+ $b - /,
         'one that was not available is not');
    ok(exists listed($b)->{$_}, "it is listed") for $s;
    $alice->message($bob->jid(), 'there', type => 'chat');
    ok($bob->pick('message', body => 'there'), 'messages go out');
    ok($blocks->expect_nothing(from => $bob),
       'XEP-0191, 3.3: a contact who has blocked her hears nothing');
    $blocks->close();
    $bob->message($alice->bare(), 'and back', type => 'chat');
    ok($alice->pick('message', body => 'and back'), 'and come in');
    is(scalar(() = $t->host(0)->read_log() =~ /xmpp was taken for dead/g), 1,
       'the log says so');
    ok(await(sub { lists() == 2 && !%{ claims() } }), 'all is forgotten');
    $_->close() for $quiet, $alice, $bob;
    ok(await(sub { !lists() }), 'and no list is left');
}


###############################################################################
# Nobody is taken for dead because of Redis

{
    my @all = map { $t->online('carol', on => $_, resource => "c$_") } 0 .. 2;
    my %boot = map { $_ => (split ' ', record('carol', "c$_"))[2] } 0 .. 2;
    my $same = sub {
        my ($name) = @_;
        my $beats = beats();

        ok(living(3), "$name: all beat");
        is_deeply([ sort keys %{ beats() } ], [ sort values %boot ],
                  "$name: under the boot ids that they had");
        is_deeply(claims(), {}, "$name: nobody was taken for dead");
        ok($_->sync(), "$name: " . $_->jid() . ' is there') for @all;
        is(scalar(grep { record('carol', "c$_") } 0 .. 2), 3,
           "$name: and its record");
    };

    # for longer than the lease, since it takes the timeout to find out

    my @before = map { length $t->host($_)->read_log() } 0 .. 2;

    $redis->pause();
    await(sub {
        3 == grep { substr($t->host($_)->read_log(), $before[$_])
                    =~ /command connection got no reply within/ } 0 .. 2;
    }, 20) or die "nobody finds out that Redis is paused\n";
    $redis->resume();
    $same->('paused');

    $redis->command('CONFIG', 'SET', 'appendonly', 'yes');
    await(sub { $redis->command('INFO', 'persistence')
                =~ /aof_rewrite_in_progress:0.*aof_rewrite_scheduled:0/s })
        or die "no append-only file\n";
    $redis->{config}{appendonly} = 'yes';
    $redis->kill9();
    $redis->start();
    $same->('restarted');

    # without its data: they register again

    $redis->command('CONFIG', 'SET', 'appendonly', 'no');
    $redis->{config}{appendonly} = 'no';
    $redis->kill9();
    $redis->start();
    $t->add_user($_, $domain, "$_-secret") for @users;
    ok(living(3), 'without its data: all beat');
    is(scalar(grep { exists beats()->{$_} } values %boot), 0,
       'under other boot ids');
    $_->drop() for @all;
    ok(await(sub { !lists() }), 'and no list is left');
}

$t->done();
