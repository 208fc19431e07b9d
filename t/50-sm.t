#!/usr/bin/perl

# Stream management: XEP-0198, 2 to 4 and 6, without resumption.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Time::HiRes qw/ time /;

my $t = Test::XMPP->new(relay => 0, workers => 1,
                        domains => [ qw/ localhost second.test third.test
                                         fourth.test / ],
                        users => [ qw/ alice bob /,
                                   [ 'dora', 'second.test', 'dora-secret' ],
                                   [ 'erin', 'third.test', 'erin-secret' ],
                                   [ 'fred', 'fourth.test', 'fred-secret' ] ]);

$t->config(<<'EOC');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis  unix:%%RELAY%%;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    xmpp_host second.test {
        ssl_certificate      %%TESTDIR%%/second.test.pem;
        ssl_certificate_key  %%TESTDIR%%/second.test.key;
        xmpp_sm_stanzas      6;
        xmpp_sm_size         3000;
    }

    xmpp_host third.test {
        ssl_certificate      %%TESTDIR%%/third.test.pem;
        ssl_certificate_key  %%TESTDIR%%/third.test.key;
        xmpp_sm              off;
    }

    xmpp_host fourth.test {
        ssl_certificate      %%TESTDIR%%/fourth.test.pem;
        ssl_certificate_key  %%TESTDIR%%/fourth.test.key;
        xmpp_sm_ack_timeout  1s;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }

    server {
        listen              127.0.0.1:%%PORT_2%%;
        xmpp_c2s;
        xmpp_idle_timeout   1s;
        xmpp_probe_timeout  1s;
    }
}
EOC

$t->run();

my ($domain, $domain2, $ours) = ($t->domain(), $t->domain2(), $t->ours());
my $peer = $t->peer();
my $ns = 'urn:xmpp:sm:3';
my $r = "<r xmlns='$ns'/>";


sub failed {
    my ($client, $condition) = @_;

    return $client->expect('failed', ns => $ns,
                           xpath => "count(stanzas:$condition) = 1");
}

sub enable {
    my ($client) = @_;

    $client->drain();
    $client->send("<enable xmlns='$ns'/>");

    return $client->expect('enabled', ns => $ns);
}

sub ack { $_[0]->send("<a xmlns='$ns' h='$_[1]'/>") }

# the next thing is an acknowledgement of so many stanzas

sub acked {
    my ($client, $h) = @_;

    return $client->expect('a', ns => $ns, h => $h);
}

# what is queued for a client besides requests, up to the answer to a ping

sub mark {
    my ($client) = @_;

    $client->sync();
    return grep { !$_->is('r', $ns) } $client->drain();
}


###############################################################################
# 2, 3: the feature, and the order of negotiation

my $alice = $t->client('alice', resource => 'sm');

ok(!$alice->secure()->test("count(sm:sm) = 1"),
   'XEP-0198, 2: not before authentication');

if ($ours) {
    $alice->send("<enable xmlns='$ns'/>");
    ok(failed($alice, 'unexpected-request'),
       'XEP-0198, 3: <enable/> before authentication');
}

ok($alice->auth()->test("count(sm:sm) = 1"),
   'XEP-0198, 2: the feature after authentication');

$alice->send("<enable xmlns='$ns'/>");
ok(failed($alice, $peer eq 'ejabberd' ? 'not-authorized'
                                      : 'unexpected-request'),
   'XEP-0198, 3: <enable/> before a resource is bound');

ok($alice->bind(), 'the stream goes on, and binds');

if ($ours) {
    $alice->send($r);
    ok(failed($alice, 'unexpected-request'), '<r/> before <enable/>');
    ack($alice, 0);
    ok(failed($alice, 'unexpected-request'), '<a/> before <enable/>');
}

ok(enable($alice), 'XEP-0198, 3: enabled');


###############################################################################
# 4: what the server counts

my $bob = $t->online('bob', resource => 'b');
$bob->sync();
$bob->drain();

$alice->send($r);
ok(acked($alice, 0), 'XEP-0198, 4: nothing before <enable/> counts');

$alice->message($bob->jid(), 'one', type => 'chat');
$alice->send($r);
ok(acked($alice, 1), 'XEP-0198, 4: a message is handled');
ok($bob->expect('message', body => 'one'), 'and delivered');

$alice->send(" \n $r");
ok(acked($alice, 1), 'white space and <r/> are not counted');

my $id = $alice->iq('get', $domain, "<ping xmlns='urn:xmpp:ping'/>");
$alice->message("nobody\@$domain", 'two', type => 'chat');
$alice->presence();
$alice->send($r);

my %before;

while (my $stanza = $alice->recv_stanza()) {
    $before{ $stanza->name() }++;
    last if $stanza->is('a', $ns);
    next;
}

is($before{iq}, 1, 'XEP-0198, 4: the answers come first');
$alice->send($r);
ok($alice->pick('a', ns => $ns, h => 4),
   'XEP-0198, 4: iq, message and presence, those that come back too');

# three that are read at once, and requests among them

$alice->sync();
$alice->drain();
$alice->send(join '', map { "<message to='" . $bob->jid() . "' type='chat'>"
                            . "<body>$_</body></message>$r" } 1 .. 3);

my @h = map { my $a = $alice->pick('a', ns => $ns); $a && $a->attr('h') }
        1 .. 3;

is($h[2], 8, 'XEP-0198, 4: each <r/> is answered, the last with all of them');
cmp_ok($h[0], '<=', $h[1], 'and the count does not go back');
ok($bob->expect('message', body => $_), "$_ is delivered") for 1 .. 3;


###############################################################################
# 4: what the server sends in a client's name does not count

$alice->sync();
$alice->drain();
$alice->send($r);
my $sent = $alice->pick('a', ns => $ns)->attr('h');

$alice->presence(to => $bob->jid());
ok($bob->pick('presence', from => $alice->jid()), 'directed presence');
$alice->presence(type => 'unavailable');
ok($bob->pick('presence', from => $alice->jid(), type => 'unavailable'),
   'RFC 6121, 4.6.3: its end is told by the server');
$alice->send($r);
ok($alice->pick('a', ns => $ns, h => $sent + 2),
   'XEP-0198, 4: which is no stanza of the client');

$alice->presence();
$alice->pick('presence', from => $alice->jid());
$bob->presence(to => "alice\@$domain", type => 'subscribe');
ok($alice->pick('presence', type => 'subscribe'), 'a request');
$alice->presence(to => "bob\@$domain", type => 'subscribed');
ok($bob->pick('presence', from => $alice->jid()),
   'RFC 6121, 3.1.5: approved, and the server tells that he is there');
$alice->send($r);
ok($alice->pick('a', ns => $ns, h => $sent + 4), 'XEP-0198, 4: nor is that');


###############################################################################
# 4: a stanza counts when it was handled, not when it was read

if ($ours) {
    $alice->sync();
    $alice->drain();
    $alice->send($r);
    my $h = $alice->pick('a')->attr('h');

    $t->relay()->hold();
    $alice->message("bob\@$domain", 'held', type => 'chat');
    $alice->send($r);
    $alice->wait(sub { 0 }, 0.5);
    is(scalar(grep { $_->is('a', $ns) } $alice->drain()), 0,
       'XEP-0198, 4: not acknowledged as long as Redis does not answer');
    $t->relay()->release();
    ok($bob->expect('message', body => 'held'), 'it answers');
    ok($alice->pick('a', ns => $ns, h => $h + 1), 'then it is');
}


###############################################################################
# 4: what the server sends

$alice->close();
$alice = $t->client('alice', resource => 'out')->login();
enable($alice);

$bob->message($alice->jid(), 'first', type => 'chat');
ok($alice->expect('message', body => 'first'), 'a message for the client');
ok($alice->expect('r', ns => $ns),
   'XEP-0198, 4: its acknowledgement is asked for');

$bob->message($alice->jid(), "more $_", type => 'chat') for 1 .. 3;
ok($alice->pick('message', body => "more $_"), "more $_") for 1 .. 3;

if ($peer ne 'ejabberd') {
    is(scalar(mark($alice)), 0, 'nothing else');
    ok($alice->expect_nothing(),
       'XEP-0198, 4: not again while that is not answered');
}

ack($alice, 1);
ok($alice->pick('r', ns => $ns), 'the rest is asked for after the answer');

ack($alice, 4);
ok($alice->sync(), 'XEP-0198, 4: more are acknowledged');

# Prosody ends the stream by that

if ($peer ne 'prosody') {
    ack($alice, 2);
    ok($alice->sync(), 'an older count is no reason to end');
}

$alice->drain();

if ($ours) {
    $alice->send("<a xmlns='$ns'/>");
    ok(failed($alice, 'bad-request'), 'XEP-0198, 4: <a/> has to have an h');

    for my $h ('', 'x', '-1', '4294967296', '99999999999999999999') {
        ack($alice, $h);
        ok(failed($alice, 'bad-request'), "h='$h'");
    }
}

ack($alice, 4242);
my $error = $alice->pick('error', ns => 'http://etherx.jabber.org/streams');

is($error && $error->error(), 'undefined-condition',
   'XEP-0198, 6: it cannot have handled what it was not sent');
$alice->drain();
ok($alice->expect_end(), 'RFC 6120, 4.9.1.1: the stream ends');

if ($ours) {
    ok($error->test("sm:handled-count-too-high/\@h = '4242'"),
       'XEP-0198, 6: its count');
    ok($error->test("sm:handled-count-too-high/\@send-count < 20"
                    . " and sm:handled-count-too-high/\@send-count > 6"),
       'XEP-0198, 6: and that of the server');

    # the same, exactly, with messages that come in one bell

    $alice = $t->client('alice', resource => 'exact')->login();
    enable($alice);
    $bob->send(join '', map { "<message to='alice\@$domain/exact' "
                              . "type='chat'><body>$_</body></message>" }
                        1 .. 3);
    ok($alice->expect('message', body => $_), "$_ of three") for 1 .. 3;
    $alice->expect('r', ns => $ns);

    ack($alice, $_) for 1, 2, 3;
    $alice->send($r);
    ok($alice->pick('a', ns => $ns, h => 0), 'each of them is acknowledged');
    ack($alice, 4);
    ok($error = $alice->expect(name => 'error'), 'and no fourth one');
    ok($error->test("sm:handled-count-too-high/\@send-count = '3'"),
       'since there was none');
}


###############################################################################
# 3: once

$alice = $t->client('alice', resource => 'twice')->login();
enable($alice);
$alice->send("<enable xmlns='$ns'/>");
ok(failed($alice, 'unexpected-request'), 'XEP-0198, 3: a second <enable/>');
ok($alice->expect_stream_error('policy-violation'), 'XEP-0198, 3: ends it')
    if $ours;
$alice->close();


###############################################################################
# limits

if ($ours) {
    # presence alone wakes nobody

    $alice = $t->client('alice', resource => 'presence')->login();
    enable($alice);
    $alice->available();
    my $other = $t->online('alice', resource => 'other');
    ok($alice->pick('presence', from => $other->jid()), 'presence');
    $other->presence(show => $_) for qw/ away dnd xa /;
    ok($alice->pick('presence', xpath => "c:show = 'xa'"), 'more of it');
    is(scalar(grep { $_->is('r', $ns) } $alice->drain()), 0,
       'is not asked for');
    $_->close() for $alice, $other;

    # a client that does not answer

    my @fourth = (domain => 'fourth.test', resource => 'f');
    my $fred = $t->client('fred', @fourth)->login();
    my $fred2 = $t->client('fred', @fourth, resource => 'w')->login();

    enable($fred);

    my $begin = time();

    $fred2->message($fred->jid(), 'anybody?', type => 'chat');
    ok($fred->expect('message', body => 'anybody?'), 'a message');
    ok($fred->expect('r', ns => $ns), 'asked for');
    ok($fred->expect_stream_error('connection-timeout'),
       'xmpp_sm_ack_timeout: no answer');
    cmp_ok(time() - $begin, '>', 0.8, 'not too soon');

    # nor one that may resume

    $fred = $t->client('fred', @fourth)->login();
    $fred->send("<enable xmlns='$ns' resume='true'/>");
    $fred->pick('enabled');
    $fred2->message($fred->jid(), 'anybody?', type => 'chat');
    ok($fred->expect('message', body => 'anybody?'), 'another message');
    ok($fred->expect('r', ns => $ns), 'asked for');
    ok($fred->expect_eof(),
       'XEP-0198, 8: the stream breaks, the session does not end');

    # one that answers in time stays

    $fred = $t->client('fred', @fourth)->login();
    enable($fred);
    $fred2->message($fred->jid(), 'anybody?', type => 'chat');
    ok($fred->pick('r', ns => $ns), 'asked for once more');
    ack($fred, 1);
    ok(!$fred->wait(sub { defined $fred->{eof} }, 1.5), 'an answer is enough');

    # presence is asked for when half of the queue is full

    my @second = (domain => 'second.test', resource => 's');
    my $dora = $t->client('dora', @second)->login();
    my $writer = $t->client('dora', @second, resource => 'w')->login();

    enable($dora);
    $dora->available();
    $dora->presence(show => $_) for qw/ away dnd /;
    ok($dora->pick('r', ns => $ns), 'xmpp_sm_stanzas: half of them');
    $dora->presence(show => $_) for qw/ away dnd away dnd /;
    ok($dora->pick('error', error => 'policy-violation'),
       'xmpp_sm_stanzas: too many');
    $dora->drain();
    ok($dora->expect_end(), 'it ends');

    $dora = $t->client('dora', @second)->login();
    enable($dora);

    for (1, 2) {
        $writer->message($dora->jid(), 'x' x 1600, type => 'chat');
        $writer->sync();
    }

    ok($dora->pick('message', body => 'x' x 1600), 'xmpp_sm_size: one');
    ok($dora->pick('error', error => 'policy-violation'),
       'xmpp_sm_size: too much');

    # bigger than the queue, alone: it goes through

    $dora = $t->client('dora', @second)->login();
    enable($dora);
    $writer->message($dora->jid(), 'y' x 4000, type => 'chat');
    ok($dora->pick('message', body => 'y' x 4000), 'one may be bigger');
    ack($dora, 1);
    ok($dora->sync(), 'and is acknowledged');

    # a silent client is asked by <r/>

    $alice = $t->client('alice', port_number => 2)->login();
    enable($alice);
    ok($alice->expect('r', ns => $ns), 'xmpp_idle_timeout: asked by <r/>');
    ack($alice, 0);
    ok($alice->expect('r', ns => $ns), 'and asked again');
    ok($alice->expect_stream_error('connection-timeout'),
       'xmpp_probe_timeout: no answer');

    # off

    my $erin = $t->client('erin', domain => 'third.test');
    $erin->secure();
    ok($erin->auth()->test("count(sm:sm) = 0"), 'xmpp_sm off: no feature');
    $erin->bind();
    $erin->send("<enable xmlns='$ns'/>");
    ok($erin->expect_stream_error('unsupported-stanza-type'),
       'RFC 6120, 4.9.3.24: nor <enable/>');
}

$t->done();
