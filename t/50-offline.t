#!/usr/bin/perl

# Messages for who is away: XEP-0160, XEP-0203, RFC 6121, 8.5.2.2.  bob writes
# on host 0; alice comes back on host 1, or on the one where she was not.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

my $t = Test::XMPP->new(hosts => 2, domains => [ qw/ localhost second.test
                                                     third.test / ],
                        users => [ qw/ alice bob carol dora /,
                                   [ 'erin', 'third.test', 'erin-secret' ] ]);

$t->config(<<'EOC');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis          unix:%%REDIS%%;
    xmpp_redis_timeout  1s;
    xmpp_heartbeat      200ms;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    xmpp_host second.test {
        ssl_certificate        %%TESTDIR%%/second.test.pem;
        ssl_certificate_key    %%TESTDIR%%/second.test.key;
        xmpp_offline_messages  3;
        xmpp_offline_size      1000;
    }

    xmpp_host third.test {
        ssl_certificate      %%TESTDIR%%/third.test.pem;
        ssl_certificate_key  %%TESTDIR%%/third.test.key;
        xmpp_offline         off;
    }

    server {
        listen  127.0.0.1:%%PORT_0%% sndbuf=16k;
        xmpp_c2s;
    }
}
EOC

$t->run();

my ($domain, $domain2, $ours) = ($t->domain(), $t->domain2(), $t->ours());
my $redis = $t->redis();
my $bob = $t->online('bob', on => 0);
my $alice = "alice\@$domain";
my $on = 0;


# a message of bob's that is kept: nothing comes back

sub leave {
    my ($to, $body, %with) = @_;

    $bob->message($to, $body, type => 'chat', %with);
}

sub kept {
    my ($why) = @_;

    $bob->sync();
    is(join(' ', map { $_->raw() } $bob->drain()), '', $why);
}

# alice, available, each time on the other host

sub alice {
    my (%options) = @_;

    return $t->online('alice', on => $on++ % 2, %options);
}

# the messages that a client has got, by their bodies, until something newer
# than all of them, and that none of them came without a time

sub got {
    my ($client, $why, @bodies) = @_;
    my @got;

    $client->sync();
    $bob->message($client->jid(), 'newest', type => 'headline');

    while (my $stanza = $client->recv_stanza()) {
        next if !$stanza->is('message');
        my $body = $stanza->body();
        last if $body eq 'newest';
        push @got, $body;
        like($stanza->find("*[local-name() = 'delay' and namespace-uri() = "
                           . "'urn:xmpp:delay' and \@from = '$domain']/\@stamp")
             // '', qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/,
             "XEP-0203: $body has a time");
    }

    is_deeply(\@got, \@bodies, $why);
}

sub gone {
    my ($client) = @_;

    $client->close();
    Test::XMPP::Process::await(sub {
        !$redis->command('HEXISTS', "xmpp:{$alice}:sessions",
                         'r' . $client->jid() =~ s{^.*?/}{}r)
    }) or die "the record stays\n" if $ours;
}


###############################################################################
# XEP-0160, 3 and 4

ok($bob->query('get', $domain,
               "<query xmlns='$Test::XMPP::Client::NS{info}'/>")
       ->test('info:query/info:feature[@var = "msgoffline"]'),
   'XEP-0160, 4: a feature of disco');

my $before = time();

leave($alice, "one & <1> '", id => 'i1');
leave($alice, 'two', type => 'normal');
leave("$alice/desk", 'three');
$bob->message($alice, 'headline', type => 'headline');
kept('XEP-0160, 3: nothing comes back');

my $c = alice(resource => 'desk');
my $first = $c->pick('message', body => "one & <1> '");

is($first && $first->mismatch(type => 'chat', from => $bob->jid(),
                              to => $alice, id => 'i1'), '',
   'XEP-0160, 2: as it was sent');

my ($stamp) = $first->find("*[local-name() = 'delay']/\@stamp");
my ($y, $m, $d, $h, $min, $s) = "$stamp" =~ /(\d+)/g;
require Time::Local;
my $when = Time::Local::timegm($s, $min, $h, $d, $m - 1, $y);
ok($when >= $before - 1 && $when <= time() + 1, 'XEP-0203: when it was sent');

got($c, 'RFC 6121, 8.5.2.2: normal and chat, in order; chat to a full JID; '
        . 'no headline', 'two', 'three');
gone($c);

$c = alice();
got($c, 'XEP-0160, 2: once');
gone($c);

# XEP-0160, 3: of other types, or with nothing in it to keep

for my $one ([ groupchat => '<body>g</body>' ],
             $ours ? [ chat => "<composing xmlns='http://jabber.org/protocol/"
                               . "chatstates'/>" ] : ())
{
    my ($type, $xml) = @$one;

    $bob->message($alice, undef, type => $type, xml => $xml, id => $type);
    is($bob->pick('message', id => $type)->error(),
       'cancel service-unavailable', "XEP-0160, 3: no $type, $xml");
}

$bob->message($alice, undef, type => 'error', id => 'error',
              xml => "<body>e</body><error type='cancel'><gone xmlns='urn:ietf:"
                     . "params:xml:ns:xmpp-stanzas'/></error>");
kept('RFC 6121, 8.5.2.2: an error is ignored');

# to a full JID that is not there: of type normal it comes back (8.5.3.2.1)

if ($ours) {
    leave("$alice/nowhere", 'normal', type => 'normal', id => 'full');
    is($bob->pick('message', id => 'full')->error(),
       'cancel service-unavailable', 'RFC 6121, 8.5.3.2.1: type normal');
}

leave("nobody\@$domain", 'to nobody', id => 'nobody');
is($bob->pick('message', id => 'nobody')->error(),
   'cancel service-unavailable', 'RFC 6121, 8.5.1: no such account');

$c = alice();
got($c, 'nothing of it is kept');


###############################################################################
# RFC 6121, 8.5.2.1.1: a session that gets no messages takes none

# Prosody hands out at the first presence only

if ($t->peer() ne 'prosody') {
    $c->presence(priority => -1);
    $c->sync();
    leave($alice, 'negative');
    kept('kept, though somebody is there');
    got($c, 'RFC 6121, 8.5.2.1.1: not for a negative priority');
    $c->presence(priority => 0);
    got($c, 'but as soon as it is not', 'negative');
}

$c->presence(type => 'unavailable');
$c->sync();
leave($alice, 'unavailable');
kept('kept for one who is not available');
$c->presence();
got($c, 'RFC 6121, 4.2.2: until she is', 'unavailable');
$c->presence(show => 'away');
got($c, 'once');
gone($c);


###############################################################################
# What is worth keeping: XEP-0334, and what has no body

if (!$ours) {
    $t->done();
    exit;
}

my @xml = (
    [ 1, "<received xmlns='urn:xmpp:receipts' id='i'/>" ],
    [ 1, "<displayed xmlns='urn:xmpp:chat-markers:0' id='i'/>" ],
    [ 1, "<reactions xmlns='urn:xmpp:reactions:0' id='i'/>" ],
    [ 1, "<retract xmlns='urn:xmpp:message-retract:1' id='i'/>" ],
    [ 1, "<propose xmlns='urn:xmpp:jingle-message:0' id='i'/>" ],
    [ 1, "<encrypted xmlns='eu.siacs.conversations.axolotl'/>" ],
    [ 1, "<x xmlns='jabber:x:conference' jid='r\@x.example'/>" ],
    [ 1, "<u xmlns='unheard.of'/><store xmlns='urn:xmpp:hints'/>" ],
    [ 1, "<body>b</body><no-permanent-store xmlns='urn:xmpp:hints'/>" ],
    [ 0, "<u xmlns='unheard.of'/>" ],
    [ 0, "<body>b</body><no-store xmlns='urn:xmpp:hints'/>" ],
    [ 0, "<request xmlns='urn:xmpp:receipts'/>" ],
);

for my $one (@xml) {
    my ($keep, $xml) = @$one;

    $bob->message($alice, undef, type => 'chat', xml => $xml, id => 'x');

    if ($keep) {
        kept("kept: $xml");

    } else {
        is($bob->pick('message', id => 'x')->error(),
           'cancel service-unavailable', "not kept: $xml");
    }
}

$c = alice();

for my $xml (map { $_->[1] } grep { $_->[0] } @xml) {
    my ($name) = $xml =~ /<([^\s>]+)/;

    ok($c->expect('message', from => $bob->jid(),
                  xpath => "*[local-name() = '$name']"), "handed out: $xml");
}

gone($c);


###############################################################################
# More than a page; what comes meanwhile is newer

my @many = map { "m$_" } 1 .. 100;

leave($alice, $_) for @many;
kept('a hundred');
is($redis->command('XLEN', "xmpp:{$alice}:inbox"), 100, 'in the inbox');

$c = alice();
got($c, 'all of them, in order', @many);
is($redis->command('EXISTS', "xmpp:{$alice}:inbox"), 0, 'nothing stays');
is($redis->command('HGET', "xmpp:{$alice}:sessions", 'i'), undef,
   'nor the count');
gone($c);

# of one message more than a page has

my @large = map { $_ x 60_000 } 'a' .. 'e';

leave($alice, $_) for @large;
kept('large ones');
$c = alice();
got($c, 'a page for each', @large);
gone($c);


###############################################################################
# Two sessions at once; what nobody has taken stays

leave($alice, "t$_") for 1 .. 3;
kept('three');

{
    my @two = map { $t->client('alice', on => $_, resource => "r$_")->login() }
              0, 1;

    $_->presence() for @two;

    for my $one (@two) {
        my @got = map { $_->body() } grep { $_->is('message') } do {
            $bob->message($one->jid(), 'end', type => 'headline');
            my @all;
            while (my $stanza = $one->recv_stanza()) {
                last if $stanza->is('message') && $stanza->body() eq 'end';
                push @all, $stanza;
            }
            @all;
        };

        ok(@got == 3 || @got == 0, 'all of them, or none: ' . $one->who());
        push @{ $t->{inbox} }, @got;
    }

    ok(@{ $t->{inbox} } >= 3, 'one has them at least');
    gone($_) for @two;
}


###############################################################################
# What was not written is not gone: the client goes, its host is killed, Redis
# does not answer

{
    my @pages = map { $_ x 50_000 } 'a' .. 'h';

    for my $end (qw/ drop kill /) {
        leave($alice, $_) for @pages;
        kept("eight pages, $end");

        my $slow = $t->client('alice', on => 1, resource => 'slow',
                              rcvbuf => 4096)->login();

        $slow->presence();
        ok($slow->pick('message', body => $pages[0]), 'the first of them');
        $slow->{deaf} = 1;
        $end eq 'kill' ? $t->host(1)->kill_host() : $slow->drop();

        my $next = $t->online('alice', on => 0, resource => "next-$end");
        my @rest;

        $bob->message($next->jid(), 'end', type => 'headline');

        while (my $stanza = $next->recv_stanza()) {
            next if !$stanza->is('message');
            last if $stanza->body() eq 'end';
            push @rest, $stanza->body() =~ /^(.)/;
        }

        is($rest[-1], 'h', "$end: who comes next gets the rest");
        like(join('', @rest), qr/^[a-d]?efgh$|^[a-h]+$/, 'in order');

        if ($end eq 'kill') {
            Test::XMPP::Process::await(sub {
                !$redis->command('HEXISTS', "xmpp:{$alice}:sessions", 'rslow')
            }, 30) or die "nobody cleans up\n";
            $t->host(1)->start();
        }

        gone($next);
    }
}

# while Redis stands still a page is asked for again

leave($alice, 'asked for again');
kept('kept');

{
    my $c = $t->client('alice', on => 0, resource => 'again')->login();

    $c->sync();
    $redis->pause();
    $c->presence();
    $redis->resume();
    ok($c->pick('message', body => 'asked for again'),
       'a Redis that stood still');
    gone($c);
}


###############################################################################
# Those who are blocked: XEP-0191, 3.3

leave($alice, 'before the block');
kept('kept');

$c = $t->client('alice', on => 0)->login();
is($c->query('set', undef, "<block xmlns='urn:xmpp:blocking'><item jid='"
                           . $bob->bare() . "'/></block>")->attr('type'),
   'result', 'bob is blocked');
$c->presence();
$c->sync();
is_deeply([ grep { $_->is('message') } $c->drain() ], [],
          'XEP-0191, 3.3: not handed out');
gone($c);

leave($alice, 'blocked', id => 'blocked');
is($bob->pick('message', id => 'blocked')->error(),
   'cancel service-unavailable', 'XEP-0191, 3.3: nor kept');

$c = alice();
is($c->query('set', undef, "<unblock xmlns='urn:xmpp:blocking'/>")
     ->attr('type'), 'result', 'unblocked');
got($c, 'nothing was kept');
gone($c);


###############################################################################
# Limits

my $dora = "dora\@$domain2";

# one after the other: of several that come at once, all are kept, or none

for my $n (1 .. 4) {
    leave($dora, "n$n", id => "n$n");
    $bob->sync();
}

my $full = $bob->pick('message', id => 'n4');

is($full->error(), 'cancel service-unavailable', 'xmpp_offline_messages');
like($full->raw(), qr/<text [^>]*>[^<]* no room /, 'it says why');
is($redis->command('DEL', "xmpp:{$dora}:inbox"), 1, 'emptied');
$redis->command('HDEL', "xmpp:{$dora}:sessions", 'i');

leave($dora, 'x' x 500, id => 's1');
$bob->sync();
leave($dora, 'x' x 500, id => 's2');
is($bob->pick('message', id => 's2')->error(),
   'cancel service-unavailable', 'xmpp_offline_size');
leave($dora, 'x', id => 's3');
kept('a small one fits');

leave('erin@third.test', 'off', id => 'off');
is($bob->pick('message', id => 'off')->error(),
   'cancel service-unavailable', 'xmpp_offline off');


###############################################################################
# An account that is removed leaves nothing

leave($alice, 'to the end');
kept('kept');
$t->xmppctl('', 'deluser', $alice);
is_deeply($redis->command('KEYS', "xmpp:{$alice}:*"), [], 'and gone');

$t->done();
