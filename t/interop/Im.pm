package Interop::Im;

# Roster, subscriptions, presence, carbons, blocking, last activity, vCard and
# private storage by a real client's own functions: RFC 6121, XEP-0012, 0049,
# 0054, 0191 and 0280.
#
# To the client:    ROSTER
#                   ADD <jid> <name> <group>, REMOVE <jid>
#                   SUBSCRIBE <jid>, APPROVE <jid>
#                   SHOW <show>             presence
#                   CARBONS                 enables them
#                   BLOCK <jid>, UNBLOCK <jid>, BLOCKED
#                   LAST <jid>
#                   SETVCARD <full name>, VCARD <jid>
#                   BOOKMARK <jid> <name>, BOOKMARKS
# From the client:  ROSTER <jid>:<subscription>:<name>:<groups> ...
#                   BLOCKED <jid> ...
#                   CARBONS result
#                   LAST <seconds>
#                   VCARD <full name>
#                   BOOKMARKS <jid>:<name> ...
#                   <word> failed: <error>
#                   <any other word> done
#                   PUSH <jid> <subscription>
#                   PUSHED block|unblock <jid>
#                   ASKED <jid>
#                   PRESENCE <jid> <show or "here" or "unavailable">
#                   CARBON sent|received <from> <to> <words>

use strict;
use warnings;

use Test::More;

use Chat;


# alice and bob are on two hosts and know nothing of each other, before and
# after

sub run {
    my ($t, $tls, $alice, $bob, $a, $b) = @_;

    my ($bare_a, $bare_b) = map { m{^([^/]+)} } $a, $b;
    my $wanted = sub {
        my ($client, $re, $name) = @_;
        Interop::Chat::wanted($client, $re, "$tls: $name");
    };

    # RFC 6121, 2

    for ([ $alice, 'alice' ], [ $bob, 'bob' ]) {
        my ($client, $who) = @$_;

        $client->tell('ROSTER');
        $wanted->($client, qr/^ROSTER ?$/, "RFC 6121, 2.1.3: $who has nobody");
    }

    $alice->tell("ADD $bare_b Bob Friends");
    $wanted->($alice, qr/^ADD done$/, 'RFC 6121, 2.3: an item');
    $wanted->($alice, qr/^PUSH \Q$bare_b\E none$/, 'RFC 6121, 2.1.6: a push');
    $alice->tell('ROSTER');
    $wanted->($alice, qr/^ROSTER \Q$bare_b\E:none:Bob:Friends$/,
              'RFC 6121, 2.1.4: it is there');

    # 3: both ways

    for ([ $alice, $bob, $bare_a, $bare_b ], [ $bob, $alice, $bare_b, $bare_a ])
    {
        my ($one, $two, $from, $to) = @$_;

        $one->tell("SUBSCRIBE $to");
        $wanted->($two, qr/^ASKED \Q$from\E(?:\/|$)/,
                  "RFC 6121, 3.1.3: $to is asked");
        $two->tell("APPROVE $from");
        $wanted->($one, qr/^PUSH \Q$to\E (?:to|both)$/,
                  "RFC 6121, 3.1.6: $to has approved");
        $wanted->($one, qr/^PRESENCE \Q$to\E\/\S+ here$/,
                  "RFC 6121, 3.1.5: $from gets the presence");
    }

    $bob->tell('ROSTER');
    $wanted->($bob, qr/^ROSTER \Q$bare_a\E:both:\S*:$/, 'both have both');

    # 4

    $bob->tell('SHOW away');
    $wanted->($alice, qr/^PRESENCE \Q$b\E away$/, 'RFC 6121, 4.4: a change');

    # XEP-0012, XEP-0054, XEP-0049

    $alice->tell("LAST $bare_b");
    $wanted->($alice, qr/^LAST 0$/, 'XEP-0012, 4: bob is here');

    $bob->tell('SETVCARD Touchstone');
    $wanted->($bob, qr/^SETVCARD done$/, 'XEP-0054, 3.2: his vCard');
    $alice->tell("VCARD $bare_b");
    $wanted->($alice, qr/^VCARD Touchstone$/, 'XEP-0054, 3.3: seen by her');

    $bob->tell('BOOKMARK forest@rooms.example Arden');
    $wanted->($bob, qr/^BOOKMARK done$/, 'XEP-0049: a bookmark is kept');
    $bob->tell('BOOKMARKS');
    $wanted->($bob, qr/^BOOKMARKS forest\@rooms\.example:Arden$/,
              'XEP-0049: and is there');

    # XEP-0280: another session of bob's, of ours

    my $other = $t->online('bob', on => 0, resource => 'other');

    $bob->tell('CARBONS');
    $wanted->($bob, qr/^CARBONS result$/, 'XEP-0280, 4: carbons');
    $alice->tell('SEND ' . $other->jid() . ' come apace');
    ok($other->pick('message', body => 'come apace'), "$tls: a message");
    $wanted->($bob,
              qr/^CARBON received \Q$a\E \Q@{[ $other->jid() ]}\E come apace$/,
              'XEP-0280, 7: the other session gets a carbon');
    $other->message($a, 'good Audrey', type => 'chat');
    $wanted->($alice, qr/^MESSAGE \Q$bare_b\E\S* good Audrey$/, 'an answer');
    $wanted->($bob,
              qr/^CARBON sent \Q@{[ $other->jid() ]}\E \Q$a\E good Audrey$/,
              'XEP-0280, 8: of what was sent, too');
    $other->close();

    # XEP-0191

    $bob->tell('BLOCKED');
    $wanted->($bob, qr/^BLOCKED ?$/, 'XEP-0191, 3.2: nobody is blocked');
    $bob->tell("BLOCK $bare_a");
    $wanted->($bob, qr/^BLOCK done$/, 'XEP-0191, 3.3: blocked');
    $wanted->($bob, qr/^PUSHED block \Q$bare_a\E$/, 'XEP-0191, 3.3: a push');
    $wanted->($alice, qr/^PRESENCE \Q$b\E unavailable$/,
              'XEP-0191, 3.3: bob has gone');
    $bob->tell('BLOCKED');
    $wanted->($bob, qr/^BLOCKED \Q$bare_a\E$/, 'XEP-0191, 3.2: the list');

    for my $word (qw/ LAST VCARD /) {
        $alice->tell("$word $bare_b");
        $wanted->($alice, qr/^$word failed: /,
                  "XEP-0191, 3.3: she gets no $word");
    }

    $bob->tell("UNBLOCK $bare_a");
    $wanted->($bob, qr/^UNBLOCK done$/, 'XEP-0191, 3.4: not any more');
    $wanted->($bob, qr/^PUSHED unblock \Q$bare_a\E$/, 'XEP-0191, 3.4: a push');
    $wanted->($alice, qr/^PRESENCE \Q$b\E away$/, 'XEP-0191, 3.4: bob is back');
    $wanted->($bob, qr/^PRESENCE \Q$a\E here$/, 'and so is alice, for him');

    # RFC 6121, 2.5: it ends the subscriptions

    $alice->tell("REMOVE $bare_b");
    $wanted->($alice, qr/^REMOVE done$/, 'RFC 6121, 2.5: removed');
    $wanted->($alice, qr/^PUSH \Q$bare_b\E remove$/, 'RFC 6121, 2.5: a push');
    $wanted->($bob, qr/^PUSH \Q$bare_a\E none$/, 'for bob, too');
    $bob->tell("REMOVE $bare_a");
    $wanted->($bob, qr/^PUSH \Q$bare_a\E remove$/, 'bob forgets her');
}


1;
