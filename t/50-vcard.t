#!/usr/bin/perl

# vCards: XEP-0054, and what XEP-0153 asks of a server.  alice has a session
# on each host, and so has bob, who asks for hers.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 qw/ encode_base64 /;
use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Roster;

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

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    xmpp_host second.test {
        ssl_certificate      %%TESTDIR%%/second.test.pem;
        ssl_certificate_key  %%TESTDIR%%/second.test.key;
        xmpp_vcard_size      1000;
    }

    xmpp_host third.test {
        ssl_certificate      %%TESTDIR%%/third.test.pem;
        ssl_certificate_key  %%TESTDIR%%/third.test.key;
        xmpp_vcard           off;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
EOC

$t->run();

my ($domain, $domain2, $peer) = ($t->domain(), $t->domain2(), $t->peer());
my $ns = 'vcard-temp';
my $none = "<vCard xmlns='$ns'/>";
my $info = "<query xmlns='$Test::XMPP::Client::NS{info}'/>";
my $feature = "info:query/info:feature[\@var = '$ns']";

my $alice = $t->client('alice', resource => 'a', on => 0)->login();
my $alice2 = $t->client('alice', resource => 'a2', on => 1)->login();
my $bob = $t->client('bob', resource => 'b', on => 1)->login();
my $bob2 = $t->client('bob', resource => 'b2', on => 0)->login();
my $dora = $t->client('dora', domain => $domain2, on => 1)->login();


# The tree of the vCard, or the error

sub get {
    my ($client, $to, %opt) = @_;

    my $answer = $client->query('get', $to, $none);

    is($answer->attr('from'), $to, "it is from $to")
        if $to && $peer ne 'prosody';
    return $answer->error() if $answer->attr('type') eq 'error';
    return [ map { Test::XMPP::Stanza::tree($_) } $answer->find('node()') ];
}

sub set {
    my ($client, $vcard, $to) = @_;

    my $answer = $client->query('set', $to, $vcard);

    return $answer->error() // $answer->attr('type');
}

sub is_vcard {
    my ($name, $client, $to, $vcard) = @_;
    my ($got, $wanted) = (get($client, $to),
                          [ Test::XMPP::Stanza::tree($vcard) ]);

    # which keeps what it knows of a vCard, in an order of its own

    ($got, $wanted) = (names($got), names($wanted)) if $peer eq 'ejabberd';

    is_deeply($got, $wanted, $name);
}

# the elements of a vCard, without their content

sub names {
    my ($trees) = @_;

    return $trees unless ref $trees;
    return [ sort map { ref $_ ? $_->[0] : () } map { @$_[2 .. $#$_] }
                  @$trees ];
}

# The owner: SHOULD be item-not-found, or an empty one

sub has_none {
    my ($name, $client, $to) = @_;

    $peer eq 'ejabberd' ? is_vcard($name, $client, $to, $none)
    : is(get($client, $to), 'cancel item-not-found', $name);
}

# Whoever else asks; the peers are older than version 1.3

sub is_unavailable {
    my ($name, $client, $to) = @_;
    my $got = get($client, $to);

    $t->ours() ? is($got, 'cancel service-unavailable', $name)
               : ok(ref $got || $got =~ / (?:service-unavailable|
                                           item-not-found)$/x, $name);
}


###############################################################################
# XEP-0054, 3.1 and 3.2

my $vcard = "<vCard xmlns='$ns'><FN>Alice</FN><N><FAMILY>Liddell</FAMILY>"
            . '<GIVEN>Alice</GIVEN><MIDDLE/></N><NICKNAME>alice</NICKNAME>'
            . "<DESC>\n  &lt;in Wonderland&gt; \x{1F407}\n</DESC></vCard>";
my $photo = encode_base64(join '', map { chr($_ * 7 % 256) } 1 .. 90_000);
my $avatar = $vcard =~ s{</vCard>}{<PHOTO><TYPE>image/png</TYPE><BINVAL>$photo
                                   </BINVAL></PHOTO></vCard>}xr;

ok($alice->query('get', $_, $info)->test($feature),
   'XEP-0054, 4: a feature of disco') for $domain, $domain2;

has_none('XEP-0054, 3.1: none yet', $alice);
has_none('to the own bare JID', $alice2, $alice->bare());
is_unavailable('XEP-0054, 3.3: none for another', $bob, $alice->bare());
is_unavailable('XEP-0054, 3.3: the same without an account', $bob,
               "nobody\@$domain");

is(set($alice, $vcard), 'result', 'XEP-0054, 3.2: stored');

for my $to (undef, $alice->bare()) {
    is_vcard('XEP-0054, 3.1: one\'s own: ' . ($to // 'no address'), $_, $to,
             $vcard) for $alice, $alice2;
}

is_vcard('XEP-0054, 3.3: that of another, from ' . $_->jid(), $_,
         $alice->bare(), $vcard) for $bob, $bob2, $dora;

is(set($alice2, $avatar), 'result', 'XEP-0153, 3.1: with a picture');
is_vcard('XEP-0153, 3.2: ' . $_->who(), $_, $alice->bare(), $avatar)
    for $bob, $bob2, $alice;

# own bare JID: no address other than that

if ($peer ne 'prosody') {
    is(set($alice, $vcard, $alice->bare()), 'result',
       'XEP-0054, 3.2: to the own bare JID');
    is_vcard('it is replaced', $bob, $alice->bare(), $vcard);
}

for my $to ($alice->bare(), "nobody\@$domain", "nobody\@$domain2") {

    # which takes it for the sender's own

    last if $peer eq 'ejabberd';

    my $error = set($bob, $avatar, $to);

    $t->ours() ? is($error, 'auth forbidden',
                    "XEP-0054, 3.2: not of another: $to")
               : like($error, qr/ (?:forbidden|not-allowed)$/, $to);
}

# the account is asked, not its clients

ok($alice->expect_nothing(from => $bob), 'XEP-0054, 3.3: no client is asked');


###############################################################################
# What is in it is the users'

my %odd = (
    'version' => "<vCard xmlns='$ns' version='3.0' prodid='-//x//y'>"
                 . '<FN>A</FN></vCard>',
    'prefixes' => "<v:vCard xmlns:v='$ns' xmlns:q='urn:q' q:a='1' "
                  . "xml:lang='de'><v:FN q:b='&apos;&#13;'>A</v:FN><q:x/>"
                  . "<y xmlns='urn:y'><v:N/></y></v:vCard>",
    'stanzas' => "<vCard xmlns='$ns'><FN/><iq xmlns='jabber:client' "
                 . "type='set'/></vCard>",
    'another vCard' => "<vCard xmlns='$ns'>$vcard$vcard</vCard>",
    'an end' => "<vCard xmlns='$ns'><FN>&lt;/vCard&gt;&lt;/iq&gt;]]&gt;</FN>"
                . '</vCard>',
    'commands' => "<vCard xmlns='$ns'><FN a='&#13;&#10;*1&#13;&#10;\$8&#13;"
                  . "&#10;FLUSHALL&#13;&#10;'>%d %V %% ^(.-)\$ \\0</FN>"
                  . '</vCard>',
    'all of a stanza' => "<vCard xmlns='$ns'><FN>" . 'x' x 180_000
                         . '</FN></vCard>',
);

# Prosody writes white space so that it is not read again

s/&#(?:9|10|13);//g for values %{ $t->ours() ? {} : \%odd };

for my $name (sort keys %odd) {

    next if $peer eq 'ejabberd';

    is(set($alice, $odd{$name}), 'result', "$name: stored");
    is_vcard("$name: the same", $_, $alice->bare(), $odd{$name})
        for $alice2, $bob;
}

set($alice2, $none);

if ($t->ours()) {
    has_none('an empty one is none', $alice);
    is_unavailable('for nobody', $bob, $alice->bare());
}


###############################################################################
# XEP-0191, 3.3: who is blocked gets nothing

set($alice, $vcard);

# the own domain: not the user himself (4)

for my $item ($bob->bare(), $bob->jid(), $domain2,
              $t->ours() ? $domain : ())
{
    my ($kept_out, $other) = $item eq $domain2 ? ($dora, $bob)
                                               : ($bob, $dora);
    my $items = "<item jid='$item'/>";

    $alice->query('set', undef,
                  "<block xmlns='urn:xmpp:blocking'>$items</block>");

    # Prosody and ejabberd answer who is blocked on behalf of an account

    is(get($kept_out, $alice->bare()), 'cancel service-unavailable',
       "XEP-0191, 3.3: $item is blocked") if $t->ours();
    is_vcard('another is not', $other, $alice->bare(), $vcard);
    is_vcard('nor the user', $alice2, $alice->bare(), $vcard);

    if ($item eq $bob->jid() && $t->ours()) {
        is_vcard('nor another resource', $bob2, $alice->bare(), $vcard);
    }

    # who blocks does not ask either

    like(get($alice, $kept_out->bare()), qr/^\w+ not-acceptable$/,
         'XEP-0191, 3.3: who blocks does not ask') if $item ne $bob->jid();

    $alice->query('set', undef,
                  "<unblock xmlns='urn:xmpp:blocking'>$items</unblock>");
    is_vcard('not any more', $kept_out, $alice->bare(), $vcard);
}


# also when the owner has no session

if ($t->ours()) {
    my $carol = $t->client('carol')->login();

    set($carol, $vcard);
    $carol->query('set', undef, "<block xmlns='urn:xmpp:blocking'>"
                                . "<item jid='" . $bob->bare() . "'/></block>");
    $carol->close();
    ok(Test::XMPP::Process::await(sub {
        !$t->redis()->command('EXISTS', 'xmpp:{' . $carol->bare()
                                        . '}:sessions');
    }), 'the owner has gone');
    is(get($bob, $carol->bare()), 'cancel service-unavailable',
       'XEP-0191, 3.3: who is blocked gets nothing of one who is offline');
    is_vcard('another is not', $dora, $carol->bare(), $vcard);
}


###############################################################################
# XEP-0153, 3.1: the hash in presence goes to contacts as it is

if ($t->ours()) {
    item($t, $alice->bare(), $bob->bare(), 'both');
    item($t, $bob->bare(), $alice->bare(), 'both');

    my $x = "<x xmlns='vcard-temp:x:update'><photo>01b87fcd030b72895ff8e88db57"
            . 'ec525450f000d</photo></x>';

    $bob->available();
    $alice->available(xml => $x);

    my $presence = $bob->pick('presence', from => $alice->jid());

    is_deeply([ map { Test::XMPP::Stanza::tree($_) }
                    $presence->find('*[local-name() = "x"]') ],
              [ Test::XMPP::Stanza::tree($x) ],
              'XEP-0153, 3.1: the hash of the avatar');

    $presence = $alice->pick('presence', from => $bob->jid());
    ok(!$presence->test('*[local-name() = "x"]'), 'and nothing is added');

    ours();
}

$t->done();


###############################################################################

sub ours {
    my $redis = $t->redis();
    my $key = "xmpp:{alice\@$domain}:vcard";

    # xmpp_vcard_size: 1000 bytes

    my $sized = sub {
        my $begin = "<vCard xmlns='$ns'><FN>";
        my $end = '</FN></vCard>';

        return $begin . 'x' x ($_[0] - length("$begin$end")) . $end;
    };

    is(set($dora, $sized->(1000)), 'result', 'as large as it may be');

    for my $size (1001, 200_000) {
        my $answer = $dora->query('set', undef, $sized->($size));

        is($answer->error(), 'modify policy-violation', "$size bytes: refused");
        like($answer->find('c:error/stanzas:text[@xml:lang = "en"]'),
             qr/\b1000 bytes\b/, 'with the limit: RFC 6120, 8.3.2');
    }

    is_vcard('it is what it was', $alice, $dora->bare(), $sized->(1000));
    is(set($alice, $sized->(196_609)), 'modify policy-violation',
       'the limit by default');
    is(set($alice, $sized->(196_608)), 'result', 'is less than a stanza');
    set($alice, $vcard);

    # full, silent, lost

    $redis->command('CONFIG', 'SET', 'maxmemory', '1');
    is(set($alice, $avatar), 'wait resource-constraint',
       'Redis is full: wait');
    is_vcard('what is there is given', $bob, $alice->bare(), $vcard);
    is(set($dora, $none), 'result',
       'cluster.md, 17: what needs no memory is done');
    $redis->command('CONFIG', 'SET', 'maxmemory', '0');

    $redis->pause();
    is(set($alice, $vcard), 'wait resource-constraint',
       'Redis is silent: a set: wait');
    is(get($bob, $alice->bare()), 'wait resource-constraint', 'and a get');
    ok($_->sync(), 'all else is answered') for $alice, $bob;
    $redis->resume();

    # it goes while it waits; the worker lives

    my $gone = $t->client('alice', resource => 'g', on => 1)->login();

    $redis->pause();
    $gone->iq('get', undef, $none);
    $gone->iq('set', undef, $vcard);
    $gone->drop();
    $redis->resume();

    ok(Test::XMPP::Process::await(sub { set($alice, $vcard) eq 'result' }),
       'Redis is back, and so are vCards');
    is_vcard('for all', $bob, $alice->bare(), $vcard);

    $redis->command('HDEL', "xmpp:{alice\@$domain}:sessions", 'ra2');
    is(set($alice2, $avatar), 'wait resource-constraint',
       'cluster.md, 4: no record');
    ok(Test::XMPP::Process::await(sub { set($alice2, $avatar) eq 'result' }),
       'it is put back');

    # off

    my $erin = $t->client('erin', domain => 'third.test')->login();

    is(get($erin), 'cancel service-unavailable', 'off: get');
    is(set($erin, $vcard), 'cancel service-unavailable', 'off: set');
    is(get($alice, $erin->bare()), 'cancel service-unavailable',
       'off: of another');
    is(set($alice, $vcard, $erin->bare()), 'cancel service-unavailable',
       'off: set of another');
    is_vcard('from there it may be asked for', $erin, $alice->bare(), $avatar);
    ok(!$erin->query('get', 'third.test', $info)->test($feature),
       'off: no feature');

    # a domain has none

    is(get($alice, $domain), 'cancel service-unavailable', 'of a domain: none');

    # the account goes

    is($redis->command('EXISTS', $key), 1, 'something is stored');
    is(($t->xmppctl(undef, 'deluser', "alice\@$domain"))[0], 0,
       'the account is removed');
    is($redis->command('EXISTS', $key), 0, 'with its vCard');
    is(get($bob, "alice\@$domain"), 'cancel service-unavailable',
       'XEP-0054, 3.3: as if there had never been one');
}
