#!/usr/bin/perl

# slixmpp logs in over TLS on two hosts and chats.  RFC 6120, 6121, 7590.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/interop";

use Test::More;
use Chat;

Interop::Chat::run('slixmpp', sub {
    my ($t, $tls, $alice, $bob, $a, $b) = @_;
    my $domain = $t->domain();

    $alice->tell("PING $domain");
    Interop::Chat::wanted($alice, qr/^PONG \Q$domain\E$/,
                          "$tls: XEP-0199: the server answers a ping");

    $alice->tell("PING $b");
    Interop::Chat::wanted($alice, qr/^PONG \Q$b\E$/,
                          "$tls: XEP-0199: so does bob, on the other host");

    $alice->tell("PING bob\@$domain/nowhere");
    Interop::Chat::wanted($alice, qr/^NOPONG /,
                          "$tls: XEP-0199: but nobody else");

    $alice->tell("DISCO $domain");
    my ($features) = Interop::Chat::wanted($alice, qr/^FEATURES (.*)/,
                                           "$tls: XEP-0030: disco#info");
    like($features // '', qr/ urn:xmpp:ping /, "$tls: with the ping");
});
