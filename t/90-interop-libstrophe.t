#!/usr/bin/perl

# libstrophe logs in over TLS on two hosts and chats.  RFC 6120, 6121, 7590.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/interop";

use Test::More;
use Chat;

Interop::Chat::run('libstrophe', sub {
    my ($t, $tls, $alice, $bob, $a, $b) = @_;

    $alice->tell("PING $b");
    Interop::Chat::wanted($alice, qr/^PONG \Q$b\E$/,
                          "$tls: XEP-0199: bob answers a ping");

    $alice->tell('PING bob@' . $t->domain() . '/nowhere');
    Interop::Chat::wanted($alice, qr/^NOPONG /,
                          "$tls: XEP-0199: but nobody else");
});
