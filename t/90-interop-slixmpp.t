#!/usr/bin/perl

# slixmpp logs in over TLS on two hosts and chats.  RFC 6120, 6121, 7590.
#
# It must not come to PLAIN, which it tries in the end where channel binding is
# refused: docs/internals/decisions/11-tls-unique.md.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/interop";

use Test::More;
use Chat;
use Commands;
use Im;

Interop::Chat::run('slixmpp', sub {
    my ($t, $tls, $alice, $bob, $a, $b) = @_;
    my $domain = $t->domain();

    Interop::Im::run(@_);
    Interop::Commands::run($t, 'slixmpp', @_[1 .. 3]);

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

    my $carol = Interop::Chat::start($t, 'slixmpp', $tls, 0, 'carol',
                                     tls_max => '1.2');
    my ($version) = Interop::Chat::wanted($carol, qr/^READY \S+ (\S+)/,
                                          "$tls: a login over TLS 1.2");
    is($version, 'TLSv1.2', "$tls: which it is");
    is($carol->quit(), 0, "$tls: carol left");

    for my $user (qw/ alice carol /) {
        my @by = $t->host(0)->read_log()
                 =~ /logged in as "$user\@\S+" by (\S+)/g;

        # 1.9 and later bind by tls-exporter or not at all
        like($by[-1], qr/^SCRAM-SHA-512(?:-PLUS)?$/, "$tls: $user by SCRAM");
    }

    # later ones are tried with a wrong password
    unlike($t->host(0)->read_log(), qr/condition not-auth/,
           "$tls: with no password refused") if $tls eq 'starttls';
}, Interop::Commands::config());
