#!/usr/bin/perl

# Replies and bells come on different sockets: one of the two is slow, silent
# or gone, on one host only.  The order of stanzas (RFC 6120, 10.1), exactly
# one holder of a resource (7.7.2.2) and each stanza once do not depend on it.
# cluster.md, rules 1, 2, 4, 6 and 8.  Nothing is kept, so that messages go both
# ways.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/traffic";

use Test::More;
use Test::XMPP;
use Test::XMPP::Lanes;
use Test::XMPP::Process;
use Traffic;

# one worker each: who is on a host is in its worker

my $t = Test::XMPP->new(hosts => 0, workers => 1,
                        users => [ qw/ alice bob carol dave / ]);

$t->only_ours('needs our Redis connections');
$t->config(Traffic::config('xmpp_redis unix:%%TESTDIR%%/%%NAME%%.sock;
                            xmpp_heartbeat 1h; xmpp_durability none;
                            xmpp_archive off;'));
$t->run();

my $redis = $t->redis();
my %ns = %Test::XMPP::Client::NS;
my @lanes;

for my $host (0, 1) {
    push @lanes, Test::XMPP::Lanes->new($t->testdir() . "/host$host.sock",
                                        $redis->socket());
    $t->start_host();
}


# All lanes as they are without this test

sub clear {
    for my $lane (@lanes) {
        $lane->delay($_, 0), $lane->release($_) for qw/ command subscriber /;
    }
}


# calls of Functions so far

sub calls {
    my ($n) = $redis->command('INFO', 'commandstats')
              =~ /^cmdstat_fcall:calls=(\d+)/m;

    return $n // 0;
}


# a number of an account's last bell

sub number {
    my ($user) = @_;

    return $redis->command('HGET', "xmpp:{$user\@localhost}:sessions", 'n')
           // 0;
}


# Returns when an account's channel has so many subscribers.

sub heard {
    my ($user, $n) = @_;
    my $channel = "xmpp/0:{$user\@localhost}";

    await(sub {
        $redis->command('PUBSUB', 'SHARDNUMSUB', $channel)->[1] == $n;
    }) or die "$user is not heard by $n\n";
}


sub await { &Test::XMPP::Process::await }


###############################################################################
# Sender and recipient in one worker: the shortcut and the way through Redis
# are one way

my ($alice, $bob) = map { $t->online($_, on => 0, resource => 'r') }
                    qw/ alice bob /;

ordered(10_000, 0);
ordered(600, 5);
ordered(200, 200);


# Stanzas to the bare and to the full JID in turn, in bursts, so that some
# find all bells heard and take the shortcut; bells come delayed.

sub ordered {
    my ($n, $delay) = @_;
    my $name = "RFC 6120, 10.1: $n, bells $delay ms late";
    my ($sent, $before) = (0, calls());
    my @got;

    srand 1;
    $lanes[0]->delay('subscriber', $delay);

    my $loop = Test::XMPP::Loop->new($alice, $bob);

    $loop->on_stanza(sub {
        my ($client, $stanza) = @_;

        push @got, $stanza->raw() =~ /\bid=["']n(\d+)["']/
            if $client == $bob;
    });

    while ($sent < $n && @got == $sent) {
        $alice->queue(one(++$sent)) for 1 .. 1 + int rand 20;
        $loop->run(sub { @got >= $sent }, 20);
    }

    my ($wrong) = grep { $got[$_] != $_ + 1 } 0 .. $#got;

    ok(@got == $sent && !defined $wrong, $name)
        or diag(scalar(@got), " of $sent came, ", defined $wrong
                ? "in place of " . ($wrong + 1) . " $got[$wrong]" : '');

    my $share = (calls() - $before) / $sent;

    ok($share > 0.5 && $share < 1,
       sprintf '%s: %.0f %% through Redis', $name, $share * 100);
    clear();
    $_->sync(), $_->drain() for $alice, $bob;
}


# the i-th stanza: messages of each type, iqs and presence

sub one {
    my ($i) = @_;

    return "<message to='" . $bob->bare() . "' id='n$i' type='chat'>"
           . "<body>$i</body></message>" if $i % 2;

    my $to = $bob->jid();

    return "<iq to='$to' id='n$i' type='set'><x xmlns='urn:x'/></iq>"
        if $i % 10 == 4;
    return "<presence to='$to' id='n$i'/>" if $i % 10 == 8;
    return "<message to='$to' id='n$i' type='chat'><body>$i</body></message>";
}


# What the server sends for a client keeps its place, too.

{
    $lanes[0]->delay('subscriber', 200);
    $alice->presence(to => $bob->jid());
    ok($bob->expect('presence', from => $alice->jid(), type => undef),
       'directed presence');

    $alice->presence(type => 'unavailable');
    $alice->message($bob->jid(), 'behind', type => 'chat');

    is_deeply(order($bob, $alice, 2), [ 'presence unavailable', 'message' ],
              'RFC 6121, 4.6.3: unavailable is told before what follows it');

    $alice->available();
    $alice->message($bob->jid(), 'again', type => 'chat');
    $bob->pick('message', body => 'again');
    clear();
}


{
    my $phone = $t->online('carol', on => 0, resource => 'phone');
    my $old = $t->online('carol', on => 1, resource => 'desk');

    $phone->pick('presence', from => $old->jid());
    $phone->message($phone->jid(), 'all was heard');
    $phone->pick('message');
    $_->sync(), $_->drain() for $phone, $old;

    $lanes[0]->delay('subscriber', 200);

    my $new = $t->client('carol', on => 0, resource => 'desk')->login();

    $new->message($phone->jid(), 'hello');
    $new->available();

    is_deeply(order($phone, $new, 3),
              [ 'presence unavailable', 'message', 'presence' ],
              'RFC 6121, 4.5.2: the old one\'s end comes before the new one');

    clear();
    $_->drop() for $old, $new;
    $phone->pick('presence', from => $new->jid(), type => 'unavailable');
    $phone->close();
}


# A bind tells the number of the last bell, which others wait for still.

{
    my ($phone, $far, $near) = map { $t->client('dave', on => $_->[1],
                                                resource => $_->[0]) }
                               [ phone => 0 ], [ far => 1 ], [ near => 0 ];

    $_->login() for $phone, $far;
    $near->secure();
    $near->auth();

    $lanes[0]->delay('subscriber', 1000);
    $far->available();
    $alice->message($phone->bare(), 'bare', type => 'chat');
    ok($far->pick('message', body => 'bare'), 'a bell that is heard later');
    $alice->message($phone->jid(), 'one', type => 'chat');
    $alice->sync();
    $near->bind();
    $alice->message($phone->jid(), 'two', type => 'chat');
    ok($phone->expect('message', body => $_),
       "RFC 6120, 10.1: a bind in between: $_") for qw/ one two /;

    clear();
    $_->close() for $far, $near, $phone;
}


# what comes from a session, in order, as "name type"

sub order {
    my ($to, $from, $n) = @_;
    my @order;

    while (@order < $n) {
        my $stanza = $to->recv_stanza() or last;

        next if ($stanza->attr('from') // '') ne $from->jid();
        push @order, join ' ', $stanza->name(), $stanza->name() eq 'presence'
                               ? $stanza->attr('type') // () : ();
    }

    return \@order;
}


###############################################################################
# An answer of Redis that never came: the command is repeated, and is one

my $carol = $t->online('carol', on => 1, resource => 'r');

for my $to ([ 'full JID' => $carol->jid() ], [ 'bare JID' => $carol->bare() ]) {
    for my $round (1 .. 3) {
        my $body = "$to->[0] $round";

        $alice->sync();
        $lanes[0]->mute('command');
        $alice->message($to->[1], $body, type => 'chat');
        ok($carol->expect('message', body => $body),
           "no answer: $body: has come");
        $lanes[0]->cut('command');
        $lanes[0]->release('command');

        ok($alice->sync(), "no answer: $body: the sender goes on");
        ok($carol->expect_nothing(from => $alice),
           "cluster.md, 2: no answer: $body: it has come once");
        is(scalar $alice->drain(), 0,
           "no answer: $body: and did not come back");
    }
}


# bind and unbind

{
    my $sessions = 'xmpp:{dave@localhost}:sessions';
    my $dave = $t->client('dave', on => 0);

    $dave->secure();
    $dave->auth();
    $lanes[0]->mute('command');
    $dave->queue("<iq type='set' id='b'><bind xmlns='$ns{bind}'>"
                 . "<resource>once</resource></bind></iq>");
    $dave->flush();
    ok(await(sub { $redis->command('HGET', $sessions, 'ronce') }),
       'no answer to bind: it has run');

    my $record = $redis->command('HGET', $sessions, 'ronce');

    $lanes[0]->cut('command');
    $lanes[0]->release('command');
    ok($dave->answer('b'), 'no answer to bind: bound all the same');
    is($redis->command('HGET', $sessions, 'ronce'), $record,
       'no answer to bind: once');
    $dave->{jid} = 'dave@localhost/once';
    $carol->message($dave->jid(), 'there?', type => 'chat');
    ok($dave->expect('message', body => 'there?'),
       'no answer to bind: it is reached');

    # the record that is put back must not take presence back

    $lanes[0]->mute('command');
    $dave->presence();
    ok(await(sub { $redis->command('HGET', $sessions, 'ronce') =~ / 0 -$/ }),
       'no answer to presence: it has run');
    $lanes[0]->cut('command');
    $lanes[0]->release('command');
    ok($dave->pick('presence', from => $dave->jid(), type => undef),
       'no answer to presence: available');
    $dave->message($carol->jid(), 'here', type => 'chat');
    $carol->pick('message', body => 'here');
    $carol->message('dave@localhost', 'all?', type => 'chat');
    ok($dave->pick('message', body => 'all?', timeout => 5),
       'no answer to presence: and that lasts');
    $dave->sync();
    $dave->drain();

    # its end runs, is repeated, and must not touch who came in between

    $lanes[0]->mute('command');
    $dave->drop();
    ok(await(sub { !$redis->command('EXISTS', $sessions) }),
       'no answer to unbind: it has run');

    my $next = $t->online('dave', on => 1, resource => 'once');

    $lanes[0]->cut('command');
    $lanes[0]->release('command');

    # what comes on the same connection comes after the repeat

    $alice->message($carol->jid(), 'repeated', type => 'chat');
    ok($carol->pick('message', body => 'repeated'),
       'no answer to unbind: it has run again');
    $carol->message($next->jid(), 'and you?', type => 'chat');
    ok($next->expect('message', body => 'and you?'),
       'no answer to unbind: the next one stays');
    ok($next->expect_nothing(from => $carol),
       'no answer to unbind: and is told of no end');
    $next->close();
}


# all of them on connections that were made anew

cmp_ok(scalar(() = $t->host(0)->read_log() =~ /command connection is back/g),
       '>=', 9, 'no answer: as often as the connection was cut');


###############################################################################
# A record without a subscriber: what is sent to it waits, cluster.md, 1

for my $kind (qw/ message iq presence /) {
    $lanes[1]->hold('subscriber');
    $lanes[1]->cut('subscriber');
    heard('carol', 0);

    my $number = number('carol');

    $alice->send("<$kind to='" . $carol->jid() . "' id='wait-$kind'"
                 . ($kind eq 'iq' ? " type='get'" : '')
                 . "><x xmlns='urn:x'/></$kind>");
    ok(await(sub { number('carol') >= $number + 2 }),
       "no subscriber: $kind: is tried again");

    $lanes[1]->release('subscriber');
    ok($carol->expect($kind, id => "wait-$kind", from => $alice->jid()),
       "no subscriber: $kind: comes when there is one");
    ok($carol->expect_nothing(from => $alice), "no subscriber: $kind: once");
    is(scalar $alice->drain(), 0, "no subscriber: $kind: did not come back");
}


# bind waits for the subscription: what comes after its answer is heard, 8

{
    $lanes[1]->hold('subscriber');

    my $dave = $t->client('dave', on => 1);

    $dave->secure();
    $dave->auth();
    $dave->queue("<iq type='set' id='b'><bind xmlns='$ns{bind}'>"
                 . "<resource>r</resource></bind></iq>");
    $dave->flush();
    ok(await(sub { $lanes[1]->held('subscriber') }),
       'cluster.md, 8: bind subscribes');
    $carol->sync();
    ok(!$redis->command('EXISTS', 'xmpp:{dave@localhost}:sessions'),
       'cluster.md, 8: there is no record before the subscription');

    $lanes[1]->release('subscriber');
    ok($dave->answer('b'), 'cluster.md, 8: bound');
    $alice->message('dave@localhost/r', 'early', type => 'chat');
    ok($dave->expect('message', body => 'early'), 'cluster.md, 8: heard');
    $dave->close();
}


# Another worker of the account hears: what is lost to the one that does not
# is that of the gap only; its log tells.

{
    my $other = $t->online('carol', on => 0, resource => 'other');

    $carol->pick('presence', from => $other->jid());
    $_->sync(), $_->drain() for $carol, $other;

    $bob->message($carol->bare(), "before $_", type => 'chat') for 1 .. 5;
    $bob->sync();
    $carol->pick('message', body => 'before 5');
    $lanes[1]->hold('subscriber');
    $lanes[1]->cut('subscriber');
    heard('carol', 1);
    $bob->message($carol->bare(), "gap $_", type => 'chat') for 1 .. 5;
    $bob->sync();
    $lanes[1]->release('subscriber');

    heard('carol', 2);
    $bob->message($carol->bare(), "after $_", type => 'chat') for 1 .. 5;

    my @all = map { my $when = $_; map { "$when $_" } 1 .. 5 }
              qw/ before gap after /;

    is_deeply([ map { my $m = $other->pick('message'); $m && $m->body() }
                1 .. 15 ], \@all, 'one of two workers: the other gets all');
    $carol->pick('message', body => 'after 5');

    my $got = join ' ', map { $_->body() // () } $carol->drain();

    like($got, qr/^before.*(?: gap \d)* after 1 after 2 after 3 after 4$/,
         "one of two workers: and it but those of the gap");
    ok($t->host(1)->await_log(qr/missed messages for "carol\@localhost"/),
       'one of two workers: what was missed is told');
    $other->close();
    $carol->pick('presence', type => 'unavailable');
}


# A conflict, or the end of the account, that rings where nobody hears it

{
    my $old = $t->online('dave', on => 1, resource => 'same');

    $lanes[1]->hold('subscriber');
    $lanes[1]->cut('subscriber');
    heard('dave', 0);

    my $new = $t->online('dave', on => 0, resource => 'same');

    $lanes[1]->release('subscriber');
    ok($old->expect_stream_error('conflict'),
       'RFC 6120, 7.7.2.2: a conflict that was not heard');
    $alice->message($new->jid(), 'you?', type => 'chat');
    ok($new->pick('message', body => 'you?'), 'and the new one is reached');

    $t->add_user('erin', 'localhost', 'erin-secret');

    my $erin = $t->online('erin', on => 1);

    $lanes[1]->hold('subscriber');
    $lanes[1]->cut('subscriber');
    heard('erin', 0);
    is(($t->xmppctl(undef, 'deluser', 'erin@localhost'))[0], 0, 'deluser');
    $lanes[1]->release('subscriber');
    ok($erin->expect_stream_error('not-authorized'),
       'the end of an account that was not heard');
    $new->close();
}


###############################################################################
# One resource on two hosts at once, with replies and bells out of step: RFC
# 6120, 7.7.2.2, cluster.md, 4

my $watch = $t->online('dave', on => 0, resource => 'watch');

for my $case (
    [ 'bells late on one host',    [ 0, 'subscriber', 200 ] ],
    [ 'bells late on both',        [ 0, 'subscriber', 200 ],
                                   [ 1, 'subscriber', 200 ] ],
    [ 'answers late on one host',  [ 0, 'command', 100 ] ],
    [ 'answers late on both',      [ 0, 'command', 100 ],
                                   [ 1, 'command', 100 ] ],
    [ 'answers late on one, bells on the other',
                                   [ 0, 'command', 100 ],
                                   [ 1, 'subscriber', 200 ] ],
) {
    my ($name, @delays) = @$case;
    my $why;

    for my $round (1 .. 6) {
        $why = race($round, @delays);
        last if $why and $why = "round $round: $why";
    }

    is($why, undef, "RFC 6120, 7.7.2.2: bound at once: $name: one survives");
    clear();
}


# Two clients up to the bind, then both bind; what went wrong, or undef.

sub race {
    my ($round, @delays) = @_;
    my @two;

    clear();

    for my $host (0, 1) {
        my $client = $t->client('dave', on => $host);

        $client->secure();
        $client->auth();
        push @two, $client;
    }

    $lanes[$_->[0]]->delay(@$_[1, 2]) for @delays;

    for my $client ($round % 2 ? @two : reverse @two) {
        $client->queue("<iq type='set' id='b'><bind xmlns='$ns{bind}'>"
                       . "<resource>race</resource></bind></iq>");
        $client->flush();
    }

    my $loop = Test::XMPP::Loop->new(@two);

    $loop->run(sub { grep { defined $_->{eof} } @two }, 20)
        or return 'both survived';

    my ($left) = grep { !defined $_->{eof} } @two;
    my ($gone) = grep { defined $_->{eof} } @two;

    $left or return 'none survived';
    $gone->pick(name => 'error', ns => $ns{stream}, error => 'conflict')
        or return 'no conflict was told';
    $left->answer('b') or return 'the survivor was not told';
    $left->{jid} = 'dave@localhost/race';

    # the record is its own, and both workers know

    my $record = $redis->command('HGET', 'xmpp:{dave@localhost}:sessions',
                                 'rrace') or return 'there is no record';

    for my $user ($alice, $carol) {
        $user->message($left->jid(), "race $round", type => 'chat');
        $left->pick('message', from => $user->jid(), body => "race $round")
            or return 'the survivor was not reached by ' . $user->jid();
    }

    $left->available();
    $watch->pick('presence', from => $left->jid(), type => undef)
        or return 'its presence was not seen';
    $redis->command('HGET', 'xmpp:{dave@localhost}:sessions', 'rrace')
        eq $record =~ s/ - -$/ 0 -/r or return 'the record has changed hands';

    $left->close();
    $watch->pick('presence', from => $left->jid(), type => 'unavailable')
        or return 'its end was not seen';
    $watch->sync();
    $watch->drain();

    return undef;
}


$_->close() for $watch, $alice, $bob, $carol;


###############################################################################
# A user removes the account, and its bell is faster than the answer

{
    clear();

    my ($one, $two) = map { $t->client('alice', on => 0, resource => $_)
                                ->login() } qw/ one two /;

    $lanes[0]->mute('command');

    my $id = $one->iq('set', undef, "<query xmlns='jabber:iq:register'>"
                                    . "<remove/></query>");

    ok($two->expect_stream_error('not-authorized'),
       'XEP-0077, 3.2: the bell has come');
    $lanes[0]->release('command');
    is($one->answer($id)->attr('type'), 'result',
       'XEP-0077, 3.2: who has asked gets the result');
    ok($one->expect_stream_error('not-authorized'), 'and ends then');
}

$t->done();
