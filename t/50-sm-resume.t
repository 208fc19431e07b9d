#!/usr/bin/perl

# Resumption of a session: XEP-0198, 5, in the worker that has it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Roster;

my $t = Test::XMPP->new(relay => 0, workers => 1,
                        domains => [ qw/ localhost second.test third.test
                                         fourth.test / ],
                        users => [ qw/ alice bob carol dave /,
                                   [ 'dora', 'second.test', 'dora-secret' ],
                                   [ 'erin', 'fourth.test', 'erin-secret' ] ]);

$t->config(<<'EOC');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis         unix:%%RELAY%%;
    xmpp_output_queue  262144;
    xmpp_max_sessions  4;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    xmpp_host second.test {
        ssl_certificate      %%TESTDIR%%/second.test.pem;
        ssl_certificate_key  %%TESTDIR%%/second.test.key;
        xmpp_sm_timeout      1s;
        xmpp_sm_stanzas      3;
        xmpp_sm_location     [2001:db8::1]:5222;
    }

    xmpp_host third.test {
        ssl_certificate      %%TESTDIR%%/third.test.pem;
        ssl_certificate_key  %%TESTDIR%%/third.test.key;
        xmpp_sasl_mechanisms ANONYMOUS;
    }

    xmpp_host fourth.test {
        ssl_certificate      %%TESTDIR%%/fourth.test.pem;
        ssl_certificate_key  %%TESTDIR%%/fourth.test.key;
        xmpp_sm_size         100k;
    }

    server {
        listen  127.0.0.1:%%PORT_0%% sndbuf=16k;
        xmpp_c2s;
    }
}
EOC

$t->run();

my ($domain, $domain2, $ours) = ($t->domain(), $t->domain2(), $t->ours());
my $peer = $t->peer();
my $redis = $t->redis();
my $ns = 'urn:xmpp:sm:3';
my $r = "<r xmlns='$ns'/>";


# a client that may resume: its id is in {sm}

sub resumable {
    my ($user, %opt) = @_;
    my $presence = delete $opt{presence} // 1;
    my $client = $t->client($user, %opt)->login();

    $client->send("<enable xmlns='$ns' resume='true'/>");

    my $enabled = $client->pick('enabled', ns => $ns, id => qr/./,
                                resume => qr/^(?:true|1)$/)
        or die "not enabled\n";

    $client->{sm} = $enabled->attr('id');
    $client->available() if $presence;

    return $client;
}

sub ack { $_[0]->send("<a xmlns='$ns' h='$_[1]'/>") }

sub detached {
    my ($client) = @_;
    my ($bare, $resource) = split m{/}, $client->jid(), 2;

    return Test::XMPP::Process::await(sub {
        ($redis->command('HGET', "xmpp:{$bare}:sessions", "r$resource") // '')
            =~ /^\S+ \S+ \S+ \S+ \S*d/
    });
}

# its connection breaks, and the server has noticed

sub lose {
    my ($client, %how) = @_;

    $client->drop(%how);
    die "it is not detached\n" if $ours && !detached($client);
}

# a new stream that may resume

sub back {
    my ($client, %opt) = @_;
    my $new = $t->client($client->{user}, domain => $client->{domain}, %opt);

    $new->secure();
    $new->auth();
    @$new{qw/ jid bare sm /} = @$client{qw/ jid bare sm /};

    return $new;
}

sub resume {
    my ($client, $h, $id) = @_;

    $client->send("<resume xmlns='$ns' h='$h' previd='"
                  . ($id // $client->{sm}) . "'/>");

    return $client;
}

sub failed {
    my ($client, $condition, @more) = @_;

    return $client->expect('failed', ns => $ns, @more,
                           xpath => "count(stanzas:$condition) = 1");
}

# bodies that come, besides requests

sub bodies {
    my ($client, $n) = @_;
    my @got;

    while (@got < $n) {
        my $stanza = $client->recv_stanza() or last;
        push @got, $stanza->body() // $stanza->name()
            unless $stanza->is('r', $ns);
    }

    return join ' ', @got;
}

sub chat {
    my ($from, $to, $body) = @_;

    return $from->message($to, $body, type => 'chat');
}


my $bob = $t->online('bob', resource => 'b');
$bob->sync();


###############################################################################
# 3, 5: the id

my $alice = $t->client('alice', resource => 'ids')->login();

$alice->send("<enable xmlns='$ns' resume='1' max='60'/>");
my $enabled = $alice->expect('enabled', ns => $ns);

ok($enabled->attr('id'), 'XEP-0198, 5: an id');
like($enabled->attr('resume') // '', qr/^(?:true|1)$/, 'XEP-0198, 5: resume');

if ($ours) {
    is($enabled->attr('max'), 60, 'XEP-0198, 3: what the client likes');
    like($enabled->attr('id'), qr/^[0-9a-f.]+-[0-9a-f]{32}$/,
         'whose secret has 128 bits');
}

$alice->close();

if ($ours) {
    $alice = $t->client('alice', resource => 'ids')->login();
    $alice->send("<enable xmlns='$ns' resume='true' max='86400'/>");
    ok($alice->expect('enabled', ns => $ns, max => 300),
       'xmpp_sm_timeout: no more than that');
    $alice->close();

    $alice = $t->client('alice', resource => 'ids')->login();
    $alice->send("<enable xmlns='$ns' resume='false'/>");
    ok($alice->expect('enabled', ns => $ns, id => undef, resume => undef),
       "XEP-0198, 5: none that was not asked for");
    $alice->close();

    is($enabled->attr('location'), undef, 'XEP-0198, 3: no location');

    my $dora = $t->client('dora', domain => 'second.test')->login();

    $dora->send("<enable xmlns='$ns' resume='true'/>");
    ok($dora->expect('enabled', location => '[2001:db8::1]:5222'),
       'XEP-0198, 3: the location');
    $dora->close();
}


###############################################################################
# 5: what was on its way, and what came meanwhile

Test::XMPP::Roster::befriend($t, 'alice', 'carol', 'both');

my $carol = $t->online('carol', resource => 'c');

for my $how ('its end', 'a reset') {
    $alice = resumable('alice', resource => 'r');
    $carol->pick('presence', from => $alice->jid());
    $alice->sync();
    $alice->drain();

    # how much it has got is what the server says it has sent

    chat($bob, $alice->jid(), 'one');
    ok($alice->pick('message', body => 'one'), "$how: a message arrives");
    $alice->send($r);
    my $h = $alice->pick('a', ns => $ns)->attr('h');

    chat($bob, $alice->jid(), $_) for qw/ two three /;
    $alice->pick('message', body => $_) for qw/ two three /;
    chat($alice, $bob->jid(), 'mine');
    ok($bob->pick('message', body => 'mine'), 'and one goes out');

    $carol->drain();
    lose($alice, reset => $how eq 'a reset');

    ok($carol->expect_nothing(from => $bob),
       "XEP-0198, 5: $how: contacts do not hear of it");

    chat($bob, $alice->jid(), $_) for qw/ four five /;
    $bob->iq('get', $alice->jid(), "<ping xmlns='urn:xmpp:ping'/>",
             id => 'asked');
    $bob->sync();

    my $new = resume(back($alice), $alice->{stanzas} - 2);
    my $resumed = $new->expect('resumed', ns => $ns,
                               previd => $alice->{sm});

    ok($resumed, "XEP-0198, 5: $how: resumed");
    is($resumed->attr('h'), $h + 1, 'XEP-0198, 5: what was handled');
    is(bodies($new, 5), 'two three four five iq',
       'XEP-0198, 5: what is not acknowledged comes again, then the rest');
    ok($new->expect_nothing(from => $bob), 'and nothing else')
        if $peer ne 'ejabberd' && $new->sync() && defined $new->drain();

    $new->send("<iq type='result' id='asked' to='" . $bob->jid() . "'/>");
    ok($bob->pick('iq', type => 'result', id => 'asked',
                  from => $alice->jid()), 'the session goes on');
    $new->send($r);
    ok($new->pick('a', ns => $ns, h => $h + 3), 'and its count')
        if $peer ne 'ejabberd';
    $new->close();
    ok($carol->pick('presence', from => $alice->jid(),
                    type => 'unavailable'),
       'XEP-0198, 8: a closed stream ends it');
    $carol->drain();
}


###############################################################################
# 5, 6: who may not

my $dave = resumable('dave', resource => 'd');
my $id = $dave->{sm};

$alice = $t->client('alice');

if ($ours) {
    $alice->secure();
    resume($alice, 0, $id);
    ok(failed($alice, 'unexpected-request'), 'not before authentication');
    $alice->drop();

    $alice = resumable('alice', resource => 'bound');
    $alice->drain();
    resume($alice, 0, $id);
    ok(failed($alice, 'unexpected-request'), 'nor with a resource');
    $alice->close();
}

my @wrong = ([ "another account's", $id ], [ 'no', 'x' ],
             [ 'an empty', '' ]);

push @wrong, [ 'one with another secret', $id =~ s/.(?=.$)/z/r ],
    [ 'one with another secret', $id =~ s/(.)$/$1 eq '0' ? 1 : 0/er ],
    [ 'the secret alone', $id =~ s/^.*-//r ],
    [ 'half of the', $id =~ s/-.*//r ],
    [ 'one of a strange session', $id =~ s/^[^-]*/0123456789abcdef.1/r ],
    [ 'one with a wildcard', $id =~ s/^./*/r ],
    [ 'one with a brace', $id =~ s/^./}/r ] if $ours;

for my $wrong (@wrong) {
    my ($what, $value) = @$wrong;
    my $who = $what =~ /another account/ ? 'alice' : 'dave';
    my $client = $t->client($who, resource => 'new');

    $client->secure();
    $client->auth();
    resume($client, 0, $value);
    ok(failed($client, 'item-not-found', h => undef),
       "XEP-0198, 5: $what id");
    ok($client->bind(), 'XEP-0198, 5: it may bind all the same');
    $client->close();
}

if ($ours) {
    my $client = $t->client('dave');
    $client->secure();
    $client->auth();
    $client->send("<resume xmlns='$ns' h='0'/>");
    ok(failed($client, 'bad-request'), 'no previd');
    $client->send("<resume xmlns='$ns' previd='$id'/>");
    ok(failed($client, 'bad-request'), 'no h');
    resume($client, 0, $id =~ s/.$/x/r) for 1 .. 9;
    ok($client->pick('error', error => 'policy-violation'),
       'nobody may try for long');
    $client->drop();
}

$bob->message($dave->jid(), 'still', type => 'chat');
ok($dave->pick('message', body => 'still'), 'its session is untouched');


###############################################################################
# 5: an old stream that still stands

my $new = resume(back($dave), $dave->{stanzas});

ok($new->expect('resumed', ns => $ns, previd => $id),
   'XEP-0198, 5: resumed while the old stream stands');

# Prosody closes it without a word

if ($peer ne 'prosody') {
    ok($dave->pick('error', error => 'conflict'), 'XEP-0198, 5: <conflict/>');
    $dave->drain();
    ok($dave->expect_end(), 'and its end');
}

chat($bob, $new->jid(), 'new');
is(bodies($new, 1), 'new', 'the session has the new one');

# and again, since the id stays

if ($ours) {
    $new->{stanzas} = $dave->{stanzas} + 1;
    lose($new);
    chat($bob, $new->jid(), 'again');
    $bob->sync();

    my $third = resume(back($new), $new->{stanzas});

    ok($third->expect('resumed', previd => $id), 'it may be resumed again');
    is(bodies($third, 1), 'again', 'and has lost nothing');

    # h of more than there was

    lose($third);

    my $fourth = resume(back($new), 4242);

    ok($fourth->expect('error', error => 'undefined-condition',
                       xpath => "sm:handled-count-too-high/\@h = '4242'"),
       'XEP-0198, 6: h is too high');
    ok($fourth->expect_end(), 'it ends');
    ok(resume($fourth = back($new), $new->{stanzas} + 1)
           ->expect('resumed', previd => $id),
       'the session is still there');
    $fourth->close();

    $fourth = back($new);
    resume($fourth, 0);
    ok(failed($fourth, 'item-not-found', h => undef),
       'XEP-0198, 8: but not after its end');
    $fourth->drop();
}

$_->drop() for $new, $dave;

$t->done() && exit unless $ours;


###############################################################################
# What is in flight is handled before the count is told

$alice = resumable('alice', resource => 'flight');
$alice->sync();
$alice->drain();
$alice->send($r);
my $h = $alice->pick('a', ns => $ns)->attr('h');

# it is authenticated before Redis stops to answer

$new = back($alice);
$t->relay()->hold();
chat($alice, $bob->bare(), 'in flight');
$alice->wait(sub { 0 }, 0.2);
$alice->drop();
resume($new, $alice->{stanzas});
$new->wait(sub { 0 }, 0.3);
is(scalar(grep { $_->is('resumed', $ns) } $new->drain()), 0,
   'XEP-0198, 5: the count waits for what is in flight');
$t->relay()->release();
ok($new->expect('resumed', h => $h + 1), 'which counts then');
ok($bob->pick('message', body => 'in flight'), 'since it was delivered');

# the new stream goes while it waits

$new->{stanzas} = $alice->{stanzas};
lose($new);
my $one = back($alice);
my $two = back($alice);
$t->relay()->hold();

$one->drop();
resume($two, $alice->{stanzas});
$t->relay()->release();
ok($two->expect('resumed', h => $h + 1), 'another stream may');
$two->close();


###############################################################################
# A bell with several stanzas, of which some are acknowledged

for my $got (1, 2) {
    $alice = resumable('alice', resource => 'batch', presence => 0);
    $bob->send(join '', map {
        "<message to='" . $alice->jid() . "' type='chat' id='a&apos;/>$_'>"
        . "<body>$_</body><x xmlns='urn:x' y='&lt;/message>'/></message>"
    } 1 .. 3);
    is(bodies($alice, 3), '1 2 3', 'three in one bell');
    ack($alice, $got);
    lose($alice);
    $new = resume(back($alice), $got);
    ok($new->expect('resumed'), 'resumed');
    is(bodies($new, 3 - $got), $got == 1 ? '2 3' : '3',
       "XEP-0198, 5: $got of them are not sent again");
    ok($new->expect('r'), 'they are to be acknowledged');
    ack($new, 3);
    ok($new->expect_nothing(), 'as a whole');
    $new->close();
}


###############################################################################
# What the client has asked for goes on: the roster, carbons; not that nobody
# looks at it (XEP-0352, 5.2)

$alice = resumable('alice', resource => 'state');

my $second = $t->online('alice', resource => 'second');

$alice->query('get', undef, "<query xmlns='jabber:iq:roster'/>");
$alice->query('set', undef, "<enable xmlns='urn:xmpp:carbons:2'/>");
$alice->send("<inactive xmlns='urn:xmpp:csi:0'/>");
$alice->sync();
lose($alice);
$second->presence(show => $_) for qw/ away xa dnd /;
chat($second, $bob->jid(), 'a copy');
$second->query('set', undef, "<query xmlns='jabber:iq:roster'>"
                             . "<item jid='zoe\@localhost'/></query>");

$new = resume(back($alice), $alice->{stanzas});
ok($new->expect('resumed'), 'resumed');
ok($new->pick('message', xpath =>
              "count(.//c:message[c:body = 'a copy']) = 1"),
   'XEP-0280: it gets carbons');
ok($new->pick('iq', xpath => "roster:query/roster:item/\@jid = "
                             . "'zoe\@localhost'"),
   'RFC 6121, 2.1.6: and roster pushes');
ok($new->pick('presence', from => $second->jid(),
              xpath => [ "c:show = 'dnd'",
                         "count(*[local-name() = 'delay']) = 1" ]),
   'XEP-0352: the last presence, which was held');
$second->presence(show => 'chat');
ok($new->pick('presence', xpath => "c:show = 'chat'"),
   'XEP-0352, 5.2: nothing is held any more');
$_->close() for $new, $second;


###############################################################################
# More than the output queue takes

$alice = resumable('alice', resource => 'big', presence => 0);
lose($alice);
chat($bob, $alice->jid(), "$_ " . 'x' x 20000) for 1 .. 60;
$bob->sync();

$new = resume(back($alice, rcvbuf => 16384), 0);
ok($new->expect('resumed'), 'a megabyte waits');

my ($got, $asked, @order) = (0, 0);

while ($got < 60) {
    my $stanza = $new->recv_stanza() or last;

    if ($stanza->is('r', $ns)) {
        ack($new, $got);
        $asked++;
        next;
    }

    push @order, $stanza->body() =~ /^(\d+)/;
    $got++;
}

is("@order", join(' ', 1 .. 60), 'all of it comes');
cmp_ok($asked, '>', 2, 'as fast as it is acknowledged');
ok($new->sync(), 'and the session goes on');
ack($new, $new->{stanzas});
$new->close();


###############################################################################
# What was kept for who was away: pages that wait for the client

sub numbers {
    my ($client, $n) = @_;
    my @numbers;

    while (@numbers < $n) {
        my $stanza = $client->recv_stanza() or last;

        if ($stanza->is('r', $ns)) {
            ack($client, $client->{stanzas});

        } elsif ($stanza->is('message')) {
            push @numbers, $stanza->body() =~ /^(\d+) /;
        }
    }

    return "@numbers";
}

sub leave {
    my ($bare, $n) = @_;

    chat($bob, $bare, "$_ " . 'x' x 10000) for 1 .. $n;
    $bob->sync();
}

# its connection breaks when it has the first ones

leave('alice@localhost', 40);
$alice = resumable('alice', resource => 'away', presence => 0,
                   rcvbuf => 16384);
$alice->presence();
is(numbers($alice, 3), '1 2 3', 'kept messages: the first ones');
$alice->fill();
my @queued = grep { $_->is('message') } $alice->drain();
lose($alice);
$new = resume(back($alice), $alice->{stanzas});
ok($new->expect('resumed'), 'resumed');
$new->{stanzas} = $alice->{stanzas};
is(numbers($new, 37 - @queued), join(' ', 4 + @queued .. 40),
   'XEP-0198, 5: the others come on the new stream');
ack($new, $new->{stanzas});
$new->sync();
$new->close();

# they are more than it may leave unacknowledged

leave('erin@fourth.test', 40);

my $erin = resumable('erin', domain => 'fourth.test', resource => 'e',
                     presence => 0);

$erin->presence();
ok(!$erin->wait(sub { defined $erin->{eof} }, 1)
       && $erin->{stanzas} > 3 && $erin->{stanzas} < 11,
   'xmpp_sm_size: kept messages wait for what came before them');
is(numbers($erin, 40), join(' ', 1 .. 40), 'all of them come');
ack($erin, $erin->{stanzas});
ok($erin->sync(), 'and it stays');
$erin->close();


###############################################################################
# Its end

sub ended {
    my ($client, $why) = @_;
    my $new = resume(back($client), 0);

    ok(failed($new, 'item-not-found', h => qr/^\d+$/),
       "XEP-0198, 5: $why: what was handled is told");

    return $new;
}

# its time is over

my $dora = resumable('dora', domain => 'second.test', resource => 's');
my $witness = $t->online('dora', domain => 'second.test', resource => 'w');

$dora->sync();
$dora->message($witness->jid(), 'one', type => 'chat');
$witness->pick('message');
lose($dora);
ok($witness->pick('presence', from => $dora->jid(), type => 'unavailable'),
   'xmpp_sm_timeout: it ends');
$new = resume(back($dora), 0);
ok(failed($new, 'item-not-found', h => 3),
   'XEP-0198, 5: <failed/> has what was handled');
resume($new, 0, $dora->{sm} =~ s/.$/x/r);
ok(failed($new, 'item-not-found', h => undef), 'for who has the secret');
$new->drop();

# too much for it

$dora = resumable('dora', domain => 'second.test', resource => 's');
ack($dora, 1);
lose($dora);
$witness->drain();
$witness->message($dora->jid(), $_, type => 'headline') for 1 .. 5;
ok($witness->pick('presence', from => $dora->jid(), type => 'unavailable'),
   'xmpp_sm_stanzas: too many wait');
$_->close() for $witness;

# displaced

$alice = resumable('alice', resource => 'same');
$alice->sync();
lose($alice);
my $same = $t->client('alice', resource => 'same')->login();
$new = ended($alice, 'another has its resource');
ok($same->sync(), 'who stays');
$_->drop() for $new, $same;

# an account has so many sessions at most: detached ones go first

$alice = resumable('alice', resource => 's0');
my @more = map { $t->client('alice', resource => "s$_")->login() } 1 .. 3;
$alice->sync();
lose($more[0] = resumable('alice', resource => 's1'));
push @more, $t->client('alice', resource => 's4')->login();
ok($alice->sync(), 'xmpp_max_sessions: the oldest stays');
ended($more[0], 'a detached one goes')->drop();
$_->close() for $alice, @more[1 .. 3];

# an administrator ends it

for my $how ([ 'kick', 'alice@localhost' ], [ 'disable', 'alice@localhost' ],
             [ 'deluser', 'alice@localhost' ])
{
    my ($command, @args) = @$how;

    $alice = resumable('alice', resource => 'kicked');
    $alice->sync();
    lose($alice);
    $carol->drain();
    is(($t->xmppctl(undef, $command, @args))[0], 0, "xmppctl $command");
    ok($carol->pick('presence', from => qr{^alice\@localhost(?:/kicked)?$},
                    type => qr/^un/), "$command: its contacts hear of it")
        or diag($command);
    $t->xmppctl(undef, 'enable', @args) if $command eq 'disable';
}

# its worker ends: it does not

$bob->close();
$bob = resumable('bob', resource => 'reload');
$bob->sync();
lose($bob);

my @old = $t->reload();

ok(Test::XMPP::Process::await(sub { !grep { kill 0, $_ } @old }),
   'a reload does not wait for it');
$new = resume(back($bob), $bob->{stanzas});
ok($new->expect('resumed'), 'nor does it end by that');
$new->close();


###############################################################################
# ANONYMOUS

my $nobody = $t->client('', domain => 'third.test', mechanism => 'ANONYMOUS');

$nobody->secure();
$nobody->auth();
$nobody->bind();
$nobody->send("<enable xmlns='$ns' resume='true'/>");
ok($nobody->expect('enabled', id => undef, resume => undef),
   'who is anonymous cannot show that the session is his');

$t->done();
