#!/usr/bin/perl

# Blocking: XEP-0191.  alice has a session on each host, and so has bob, who
# is to be blocked: the one beside alice's is reached without Redis.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(hosts => 2, users => [ qw/ alice bob carol dora / ])
                  ->run();
my ($domain, $domain2) = ($t->domain(), $t->domain2());
my $peer = $t->peer();

my $ns = 'urn:xmpp:blocking';
my $is_blocked = "c:error/*[local-name() = 'blocked' "
                 . "and namespace-uri() = '$ns:errors']";

# which does not say why

$is_blocked = 'c:error' if $peer eq 'ejabberd';

my $alice = $t->online('alice', resource => 'a', on => 0);
my $alice2 = $t->online('alice', resource => "a2'&<", on => 1);
my $mute = $t->online('alice', resource => 'mute', on => 1);
my $bob = $t->online('bob', resource => 'b', on => 0);
my $bob2 = $t->online('bob', resource => 'b2', on => 1);
my $carol = $t->online('carol', resource => 'c', on => 0);
my $dora = $t->online('dora', domain => $domain2, resource => 'o', on => 0);

my @all = ($alice, $alice2, $mute, $bob, $bob2, $carol, $dora);

$t->settle(@all);


sub items { join '', map { "<item jid='" . Test::XMPP::Client::xml_escape($_)
                           . "'/>" } @_ }

sub element { my $name = shift; return "<$name xmlns='$ns'>" . items(@_)
                                       . "</$name>" }

# the JIDs in an element of a stanza

sub jids {
    my ($stanza, $name) = @_;

    return undef unless $stanza && $stanza->test("*[local-name() = '$name' "
                                                 . "and namespace-uri() = "
                                                 . "'$ns']");
    return [ sort map { $_->value() }
                  $stanza->find("*/*[local-name() = 'item']/\@jid") ];
}

sub blocklist {
    my ($client) = @_;

    return jids($client->query('get', undef, element('blocklist')),
                'blocklist');
}


# A command, and what everybody who has asked for the list is sent

sub command {
    my ($client, $name, @items) = @_;

    my $answer = $client->query('set', undef, element($name, @items));

    is($answer->attr('type'), 'result', "XEP-0191: $name @items");

    for ($alice, $alice2) {
        my $push = $_->pick('iq', type => 'set',
                            xpath => "*[namespace-uri() = '$ns']");

        is_deeply([ jids($push, $name), $push && $push->attr('to') ],
                  [ [ sort @items ], $_->jid() ],
                  'XEP-0191, 3.3: ' . $_->jid() . ' is told');
        $_->iq('result', undef, undef, id => $push->attr('id')) if $push;
    }

    for ($alice, $alice2, $mute) {

        # which pushes to all, and a privacy list, too

        $_->sync(), $_->drain() if $peer eq 'ejabberd';

        ok($_->expect_nothing(), $_->who() . ': and nothing else');
    }
}


# What a sender hears of who has blocked him, from each of his sessions

sub kept_out {
    my ($name, @senders) = @_;

    for my $from (@senders) {
        for my $to ($alice->jid(), $alice->bare()) {
            my $who = "$name: " . $from->jid() . " to $to";
            my ($id, $query);

            for my $type (qw/ chat normal /) {

                # 3.3: SHOULD; the other answers for each resource

                next if $peer eq 'prosody' && $to eq $alice->jid()
                        || $peer eq 'ejabberd' && $to eq $alice->bare();

                $id = $from->message($to, 'hello', type => $type);
                ok($from->expect('message', id => $id, from => $to,
                                 error => 'cancel service-unavailable'),
                   "XEP-0191, 3.3: $who: $type");
            }

            $query = $from->query('get', $to, "<query xmlns='urn:x'/>");
            is($query->error(), 'cancel service-unavailable',
               "XEP-0191, 3.3: $who: iq");
            is($query->attr('from'), $to, 'from the address');

            # results, presence of any type: no answer, no error

            $from->iq('result', $to, undef, id => "r-$to");
            $from->iq('error', $to, "<error type='cancel'/>", id => "e-$to");
            $from->presence(to => $to);
            $from->presence(to => $to, type => 'unavailable');
            $from->presence(to => $to, type => 'probe');
            $from->message($to, 'headline', type => 'headline')
                if $t->ours();
            ok($from->expect_nothing(), "XEP-0191, 3.3: $who: no answer to "
                                        . 'others');
        }
    }

    $_->sync() for @senders;
    ok($_->expect_nothing(from => $carol), "$name: nothing for " . $_->who())
        for $alice, $alice2, $mute;
}


sub let_in {
    my ($name, @senders) = @_;

    for my $from (@senders) {
        for my $to ($alice, $alice2) {
            $from->message($to->jid(), $name, type => 'chat');
            ok($to->expect('message', from => $from->jid(), body => $name),
               "$name: " . $from->jid() . ' reaches ' . $to->jid());
        }
    }
}


sub shut_out {
    my ($name, $client, @addresses) = @_;

    for my $to (@addresses) {
        my $id = $client->message($to, 'hello', type => 'chat');
        my $answer = $client->expect('message', id => $id, from => $to,
                                     type => 'error');

        # the peers have another type

        like($answer ? $answer->error() : '',
             $t->ours() ? qr/^cancel not-acceptable$/ : qr/not-acceptable$/,
             "XEP-0191, 3.3: $name: to $to");
        ok($answer && $answer->test($is_blocked), 'and it says why');

        $answer = $client->query('get', $to, "<query xmlns='urn:x'/>");
        like($answer->error(), qr/not-acceptable$/,
             "XEP-0191, 3.3: $name: iq to $to");

        if ($t->ours()) {
            $client->presence(to => $to);
            ok($client->expect('presence', from => $to, type => 'error',
                               xpath => $is_blocked), 'presence');
            $client->presence(to => $to, type => 'subscribe');
            ok($client->expect('presence', from => $to, type => 'error',
                               xpath => $is_blocked), 'subscribe');
        }

        $client->iq('result', $to, undef, id => 'none');
        ok($client->expect_nothing(), 'a result is dropped');
    }

    ok($_->expect_nothing(from => $carol), 'nothing has come: ' . $_->jid())
        for $bob, $bob2;
}


###############################################################################
# What there is: XEP-0191, 3.1 and 3.2

ok($alice->query('get', $domain,
                 "<query xmlns='$Test::XMPP::Client::NS{info}'/>")
         ->test("info:query/info:feature[\@var = '$ns']"),
   'XEP-0191, 3.1: a feature of disco');

is_deeply(blocklist($_), [], 'XEP-0191, 3.2: an empty list')
    for $alice, $alice2;


###############################################################################
# What is refused

like($alice->query('set', undef, element('block'))->error(),
     qr/ bad-request$/, 'XEP-0191, 3.3: nothing to block');
like($alice->query('set', undef, "<block xmlns='$ns'><item/></block>")
           ->error(), qr/ (?:bad-request|jid-malformed)$/, 'no JID');

if ($t->ours()) {
    is($alice->query('set', undef, element($_, 'bob@'))->error(),
       'modify jid-malformed', "$_: half a JID") for qw/ block unblock /;
    is($alice->query('set', undef,
                     "<block xmlns='$ns'><x jid='bob\@x'/></block>")->error(),
       'modify bad-request', 'no item');

    for my $to ($bob->bare(), $domain) {
        for ([ blocklist => 'get' ], [ block => 'set' ], [ unblock => 'set' ])
        {
            is($carol->query($_->[1], $to, element($_->[0], 'eve@x'))->error(),
               'cancel service-unavailable', "$_->[0] of another: $to");
        }
    }
}

ok($_->expect_nothing(), 'nothing was pushed') for $alice, $alice2;
is_deeply(blocklist($alice), [], 'nothing was blocked');


###############################################################################
# A bare JID

let_in('before', $bob, $bob2);

command($alice, 'block', $bob->bare());
is_deeply(blocklist($alice2), [ $bob->bare() ], 'XEP-0191, 3.2: the list');

kept_out('bare', $bob, $bob2);
let_in('others', $carol, $dora);
shut_out('bare', $_, $bob->jid(), $bob2->jid(), $bob->bare())
    for $alice, $alice2;

# it is the account's, not the session's (3.3: it applies across sessions)

{
    my $late = $t->online('alice', resource => 'late', on => 1);

    # none of the others' business

    $_->pick('presence', from => $late->jid()) for $alice, $alice2, $mute;
    $late->drain();

    for my $from ($peer eq 'prosody' ? () : ($bob, $bob2)) {
        my $id = $from->message($late->jid(), 'hello', type => 'chat');
        ok($from->expect('message', id => $id,
                         error => 'cancel service-unavailable'),
           'XEP-0191, 3.3: a session that begins later: ' . $from->jid());
    }

    $late->message($bob->jid(), 'hello', type => 'chat');
    ok($late->pick('message', type => 'error', xpath => $is_blocked),
       'and what it sends');
    $late->close();
    $_->pick('presence', type => 'unavailable') for $alice, $alice2, $mute;
}

# once more is the same

command($alice2, 'block', $bob->bare());
is_deeply(blocklist($alice), [ $bob->bare() ], 'twice is once');

command($alice2, 'unblock', $bob->bare());
is_deeply(blocklist($alice), [], 'XEP-0191, 3.4: unblocked');
let_in('unblocked', $bob, $bob2);

$alice->message($bob2->jid(), 'again', type => 'chat');
ok($bob2->expect('message', body => 'again'), 'XEP-0191, 3.4: and back');


###############################################################################
# A full JID, a domain: XEP-0191, 5

if ($t->ours()) {
    command($alice, 'block', $bob2->jid());
    kept_out('full', $bob2);
    let_in('another resource', $bob);
    shut_out('full', $alice2, $bob2->jid());
    command($alice, 'unblock', $bob2->jid());

    command($alice, 'block', $bob->jid(), $domain2);
    kept_out('domain', $dora, $bob);
    let_in('another domain', $carol, $bob2);
    shut_out('domain', $alice, $dora->jid(), $dora->bare(), $domain2,
             "$domain2/x");
    command($alice, 'unblock');
    is_deeply(blocklist($alice), [], 'XEP-0191, 3.5: all are unblocked');
    let_in('all unblocked', $dora, $bob);

    # a resource of a domain is not that of its users

    command($alice, 'block', "$domain2/o");
    let_in('no resource of a domain', $dora);
    shut_out('domain with a resource', $alice, "$domain2/o");
    command($alice, 'unblock');

    # prepared as all JIDs are

    command($alice, 'block', 'bob@localhost');
    is($alice->query('set', undef, element('unblock', "BOB\@LOCALHOST"))
             ->attr('type'), 'result', 'RFC 7622, 3.3: as addresses are');
    is_deeply(jids($_->pick('iq', type => 'set'), 'unblock'),
              [ 'bob@localhost' ], 'and as they are told') for $alice, $alice2;
    is_deeply(blocklist($alice), [], 'it is gone');
}


###############################################################################
# Own resources: XEP-0191, 4

if ($t->ours()) {
    command($alice, 'block', $alice->bare(), $domain);

    let_in('own', $mute, $alice2, $alice);
    $alice->message($alice->bare(), 'own bare', type => 'chat');
    ok($_->expect('message', body => 'own bare'), 'XEP-0191, 4: ' . $_->jid())
        for $alice, $alice2, $mute;

    shut_out('own domain', $alice, $bob->jid());
    is($alice->query('get', $domain,
                     "<ping xmlns='$Test::XMPP::Client::NS{ping}'/>")->error(),
       'cancel not-acceptable', 'XEP-0191, 5: the domain itself, too');

    # no ping for these two

    $alice->query('set', undef, element('unblock'));
    $_->pick('iq', type => 'set') for $alice, $alice2;
    let_in('own domain is back', $bob, $bob2);
}


###############################################################################
# A change counts at once for who made it: no stanza slips past its bell

if ($t->ours()) {
    for my $round (1 .. 20) {
        my $id = $alice->iq('set', undef, element('block', $bob->bare()));

        $alice->message($bob->jid(), "slipped $round", type => 'chat');
        $alice->answer($id);
        ok($alice->pick('message', type => 'error', xpath => $is_blocked),
           "right behind it: $round");

        # beside alice, without Redis

        $id = $bob->message($alice->jid(), "slipped $round", type => 'chat');
        ok($bob->expect('message', id => $id, type => 'error'),
           "and to her: $round");

        $alice->query('set', undef, element('unblock', $bob->bare()));
        $_->pick('iq', type => 'set') && $_->pick('iq', type => 'set')
            for $alice, $alice2;
        let_in("unblocked $round", $bob);
    }
}


###############################################################################
# xmpp_blocking_items: 1000 unless it is set

if ($t->ours()) {
    my @many = map { "$_\@full.test" } 0 .. 1000;
    my $full = $dora->query('set', undef, element('block', @many));

    is($full->error(), 'modify policy-violation', 'one too many');
    is($full->find("*[local-name()='error']/*[local-name()='text']"),
       'A block list may have 1000 addresses, of 65536 bytes in all. Unblock '
       . 'some, or block their domain.', 'it is told why');
    is_deeply(blocklist($dora), [], 'none of them is blocked');

    pop @many;
    is($dora->query('set', undef, element('block', @many))->attr('type'),
       'result', 'as many as may be');
}

$t->done();
