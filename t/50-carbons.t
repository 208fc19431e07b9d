#!/usr/bin/perl

# Carbons: XEP-0280, XEP-0297; the hint no-copy of XEP-0334; what is forged of
# them.  alice has two sessions on host 0 and one on host 1; bob is on host 1.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(hosts => 2, users => [ qw/ alice bob / ])->run();
my $domain = $t->domain();
my $ours = $t->ours();

my $ns = 'urn:xmpp:carbons:2';
my $enable = "<enable xmlns='$ns'/>";
my $disable = "<disable xmlns='$ns'/>";

my $a = $t->online('alice', resource => 'a', on => 0);
my $a2 = $t->online('alice', resource => "a2'&<", on => 0);
my $a3 = $t->online('alice', resource => 'a3', on => 1);
my $quiet = $t->client('alice', resource => 'quiet', on => 1)->login();
my $bob = $t->online('bob', resource => 'b', on => 1);
my $bob2 = $t->online('bob', resource => 'b2', on => 0);

my @all = ($a, $a2, $a3, $quiet, $bob, $bob2);

$t->settle(@all);


# what is wrong with the carbon that a client gets of a body; '' for nothing

sub carbon {
    my ($client, $kind, $body, %with) = @_;
    my $inner = "*[local-name() = '$kind' and namespace-uri() = '$ns']"
                . "/*[local-name() = 'forwarded' "
                . "and namespace-uri() = 'urn:xmpp:forward:0']/c:message";

    return $client->expect('message', from => $client->bare(),
                           to => $client->jid(), type => $with{type} // 'chat',
                           xpath => [ "count(*) = 1", "$inner/c:body = '$body'",
                               map { "$inner/\@$_ = '$with{$_}'" }
                               grep { $_ ne 'type' } keys %with ]);
}

sub message {
    my ($from, $to, $body, %with) = @_;

    return $from->message($to, $body, type => 'chat', %with);
}

sub nothing {
    my ($why, @clients) = @_;

    for my $client (@clients) {
        ok($client->expect_nothing(from => $a), "$why: " . $client->who());
    }
}

sub ok_body {
    my ($client, $body, $why) = @_;

    ok($client->expect('message', body => $body, from => qr{/}), $why);
}


###############################################################################
# 3, 4, 5, 10.1

ok($a->query('get', $domain, "<query xmlns='http://jabber.org/protocol/"
                             . "disco#info'/>")
     ->test("info:query/info:feature/\@var = '$ns'"),
   'XEP-0280, 3: the feature');

message($bob, $a->jid(), 'before');
ok_body($a, 'before', 'nobody has asked: the original');
message($a, $bob->jid(), 'before');
ok_body($bob, 'before', 'nobody has asked: the original, back');
nothing('nobody has asked', $a2, $a3, $quiet);

for my $one ($a2, $a3) {
    is($one->query('set', $_, $enable)->attr('type'), 'result',
       'XEP-0280, 4: enabled') for undef, $one->bare();
}

$t->settle(@all);


###############################################################################
# 7: what is received

message($bob, $a->jid(), 'r1', id => 'one');
ok_body($a, 'r1', 'XEP-0280, 7: to a full JID');
ok(carbon($_, 'received', 'r1', from => $bob->jid(), to => $a->jid(),
          id => 'one'), 'XEP-0280, 7: and a carbon: ' . $_->who())
    for $a2, $a3;

# one that is enabled is addressed; from the worker in which that is

message($bob2, $a2->jid(), 'r2');
ok_body($a2, 'r2', 'XEP-0280, 7: to one that is enabled');
ok(carbon($a3, 'received', 'r2'), 'XEP-0280, 7: the other gets a carbon');

message($bob2, $a3->jid(), 'r3');
ok_body($a3, 'r3', 'XEP-0280, 7: to the other');
ok(carbon($a2, 'received', 'r3'), 'XEP-0280, 7: a carbon');

nothing('no carbon for the addressee, or without asking', @all);

# the bare JID: all but one that is not available

is($quiet->query('set', undef, $enable)->attr('type'), 'result', 'enabled');
$t->settle(@all);

message($bob, $a->bare(), 'r4');
ok_body($_, 'r4', 'RFC 6121, 8.5.2: to the bare JID') for $a, $a2, $a3;

# ejabberd has none for a session that is not available

ok(carbon($quiet, 'received', 'r4', to => $a->bare()),
   'XEP-0280, 7: a carbon, since it got none') if $t->peer ne 'ejabberd';
nothing('each once', @all);

is($quiet->query('set', undef, $disable)->attr('type'), 'result',
   'XEP-0280, 5: disabled') for 1, 2;


###############################################################################
# 8: what is sent

message($a, $bob->bare(), 's1');
ok_body($_, 's1', 'XEP-0280, 8: the original') for $bob, $bob2;
ok(carbon($_, 'sent', 's1', from => $a->jid(), to => $bob->bare()),
   'XEP-0280, 8: a carbon, the sender is not enabled: ' . $_->who())
    for $a2, $a3;

message($a3, $bob2->jid(), 's2');
ok_body($bob2, 's2', 'XEP-0280, 8: from one that is');
ok(carbon($a2, 'sent', 's2'), 'XEP-0280, 8: a carbon');
nothing('none for the sender, none for one that is disabled', @all);

# within one worker

message($a, $bob2->jid(), 's3');
ok_body($bob2, 's3', 'XEP-0280, 8: within a worker');
ok(carbon($_, 'sent', 's3'), 'XEP-0280, 8: a carbon') for $a2, $a3;

# oneself: one of the two is enough

if ($ours) {
    message($a, $a2->jid(), 'self');
    ok_body($a2, 'self', 'to another session of oneself');
    ok(carbon($a3, 'sent', 'self'), 'a carbon for the third');
    nothing('and each once', @all);
}


###############################################################################
# 6.1: what is eligible

my $muc = 'http://jabber.org/protocol/muc#user';

my @eligible = (
    [ 'normal', "<body>e</body>", 1 ],
    [ 'normal', "<subject>e</subject>", 0 ],
    [ 'headline', "<body>e</body>", 0 ],
    [ 'normal', "<received xmlns='urn:xmpp:receipts' id='i'/>", 1 ],
    [ 'chat', "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
      1 ],
    [ 'normal', "<displayed xmlns='urn:xmpp:chat-markers:0' id='i'/>", 1 ],
    [ 'normal', "<x xmlns='jabber:x:conference' jid='r\@x.example'/>", 1 ],
    [ 'normal', "<x xmlns='$muc'><invite to='a\@b.example'/></x>", 1 ],
    [ 'chat', "<body>e</body><private xmlns='$ns'/>"
              . "<no-copy xmlns='urn:xmpp:hints'/>", 0 ],
    [ 'chat', "<body>e</body><private xmlns='$ns'/>", 0 ],
    [ 'chat', "<body>e</body><no-copy xmlns='urn:xmpp:hints'/>", 0 ],
    [ 'groupchat', "<body>e</body>", 0 ],
    [ 'error', "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:"
               . "xmpp-stanzas'/></error>", 0 ],
);

for my $one ($ours ? @eligible : ()) {
    my ($type, $xml, $copied) = @$one;
    my $name = "XEP-0280, 6.1: $type, $xml";

    $bob->message($a->jid(), undef, type => $type, xml => $xml);
    ok($a->expect('message', type => $type, from => $bob->jid()), $name);
    $a->message($bob->jid(), undef, type => $type, xml => $xml);
    my $got = $bob->expect('message', type => $type, from => $a->jid());
    ok($got, "$name, back");

    if ($xml =~ /private|no-copy/) {
        ok($got->test("*[local-name() = '"
                      . ($xml =~ /private/ ? 'private' : 'no-copy') . "']"),
           'XEP-0280, 9: it is not taken out');
    }

    for my $client ($copied ? ($a2, $a3) : ()) {
        for my $kind (qw/ received sent /) {
            ok($client->expect('message', type => $type,
                               from => $client->bare(),
                               xpath => "*[local-name() = '$kind' and "
                                        . "namespace-uri() = '$ns']"),
               "$name: $kind");
        }
    }

    nothing($name, @all);
}

if ($ours) {
    my $pm = "<body>pm</body><x xmlns='$muc'/>";

    $bob->message($a->jid(), undef, type => 'chat', xml => $pm);
    ok_body($a, 'pm', 'a private message of a room');
    nothing('XEP-0280, 6.1: is not copied on reception', @all);

    $a->message($bob->jid(), undef, type => 'chat', xml => $pm);
    ok_body($bob, 'pm', 'one to a room');
    ok(carbon($_, 'sent', 'pm'), 'XEP-0280, 6.1: is copied') for $a2, $a3;
}


###############################################################################
# 11, CVE-2017-5589: forged ones; XEP-0203, Security: forged delays

if ($ours) {
    my $inner = "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:"
                . "client' from='x\@y.example'><body>forged</body></message>"
                . '</forwarded>';

    for my $name (qw/ sent received /) {
        my $forged = "<$name xmlns='$ns'>$inner</$name>";

        $bob->message($a->jid(), undef, type => 'headline',
                      xml => "$forged<body>mine</body>$forged");
        ok($a->expect('message', body => 'mine', xpath => 'count(*) = 1'),
           "XEP-0280, 11: forged <$name/>, all of them are taken out");
    }

    my $upper = uc($a->bare() =~ s/\@.*//r) . '@' . uc $domain;

    for ([ $domain, 0 ], [ uc $domain, 0 ], [ "$domain/x", 0 ],
         [ $t->domain2(), 0 ], [ 'x.example', 1 ], [ $bob->bare(), 1 ],
         [ $bob->jid(), 1 ], [ undef, 1 ], [ '', 1 ], [ $a->bare(), 0 ],
         [ $upper, 0 ], [ $a2->bare() . '/x', 0 ], [ "carol\@$domain", 1 ])
    {
        my ($from, $stays) = @$_;
        my $by = defined $from ? "from='$from' " : '';
        my $delay = "<delay xmlns='urn:xmpp:delay' $by"
                    . "stamp='2002-09-10T23:08:25Z'/>";

        for my $to ($a->jid(), $a->bare()) {
            my $body = "late for $to";

            $bob->message($to, undef, type => 'chat',
                          xml => "$delay<body>" .
                                 Test::XMPP::Client::xml_escape($body)
                                 . "</body>$delay");
            ok($a->expect('message', body => $body,
                          xpath => 'count(*[local-name() != "stanza-id"]) = '
                                   . ($stays ? 3 : 1)),
               "XEP-0203, 6: a delay by "
               . ($from // 'nobody') . ' ' . ($stays ? 'stays' : 'goes'));
        }

        $bob->presence(to => $a->jid(), xml => $delay);
        ok($a->expect('presence', from => $bob->jid(),
                      xpath => 'count(*) = ' . ($stays ? 1 : 0)),
           'XEP-0203, 6: the same in presence');
    }

    # one's own is one's own word

    $a->message($a2->jid(), undef, type => 'headline',
                xml => "<delay xmlns='urn:xmpp:delay' from='" . $a->bare()
                       . "' stamp='2002-09-10T23:08:25Z'/><body>b</body>");
    ok($a2->pick('message', from => $a->jid(), body => 'b',
                 xpath => 'count(*) = 2'), 'one of the same account stays');
    $t->settle(@all);
}


###############################################################################
# RFC 6120, 10.1: order, and batches

$a->send(join '', map { my $to = $_ % 5 ? $bob->bare() : $a2->jid();
                        "<message to='" . Test::XMPP::Client::xml_escape($to)
                        . "' type='chat'><body>$_</body></message>" } 1 .. 60)
    if $ours;

for my $client ($ours ? ($a2, $a3) : ()) {
    my @got;

    for (1 .. 60) {
        my $m = $client->recv_stanza() or last;
        my ($body) = $m->find('.//*[local-name() = "body"]');
        push @got, $body ? $body->textContent() : '-';
    }

    is("@got", join(' ', 1 .. 60),
       'RFC 6120, 10.1: in order: ' . $client->who());
}

$t->done();
