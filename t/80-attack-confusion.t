#!/usr/bin/perl

# Protocol confusion: other protocols at our ports, ours at the wrong one, and
# what a browser or a mail client could be made to send in our name (ALPACA).
# Nothing of it is taken for a stream, nothing of it is told back.
# RFC 7301, 3.2; XEP-0368, 3; RFC 6120, 4.9.3.13.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ 'alice' ])->only_ours()->run();
my $domain = $t->domain();
my $header = $t->client('alice')->header();
my $mark = 'Zq7Zq7';


###############################################################################
# Another protocol, and behind it a stream: it is not even looked at

my %foreign = (
    'HTTP GET'   => "GET /$mark<script> HTTP/1.1\r\nHost: $domain\r\n\r\n",
    'HTTP POST'  => "POST / HTTP/1.1\r\nHost: $domain\r\nX-$mark: 1\r\n"
                    . "Content-Length: 10000\r\n\r\n",
    'HTTP/2'     => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    'SMTP'       => "EHLO $mark\r\nMAIL FROM:<a\@b>\r\n",
    'IMAP'       => "a1 LOGIN $mark x\r\n",
    'POP3'       => "USER $mark\r\n",
    'FTP'        => "USER $mark\r\nPASS x\r\n",
    'Redis'      => "*1\r\n\$4\r\nPING\r\n",
    'Redis, inline' => "PING\r\n",
    'SSH'        => "SSH-2.0-$mark\r\n",
    'SIP'        => "OPTIONS sip:$mark SIP/2.0\r\n\r\n",
    'PROXY, 1'   => "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    'PROXY, 2'   => "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C" . 'x' x 12,
    'a WebSocket frame' => "\x81\x85abcdefghi",
    'TLS'        => "\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03" . 'x' x 508,
    'TLS of 1996' => "\x80\x2E\x01\x03\x01\0\x15\0\0\0\x10" . 'x' x 37,
    'NUL'        => "\0" x 64,
    'a byte order mark' => "\xFE\xFF",
);

for my $name (sort keys %foreign) {
    for my $tls (qw/ none direct /) {
        my $c = $t->client('alice', tls => $tls, raw => 1)->connect();

        my ($how, $answer) = answer($c, $foreign{$name} . $header);

        ok($how eq 'closed'
           && $answer =~ m{^(?:<\?xml[^>]*>)?<stream:stream\ [^>]*>
                           <stream:error>.*</stream:error></stream:stream>$}sx
           && $answer !~ /features/,
           "$name, $tls: an error and the end") or diag "$how: $answer";
        unlike($answer, qr/$mark/i, "$name, $tls: nothing is told back");
    }
}


# All that comes until the end

sub answer {
    my ($c, $bytes) = @_;
    my $answer = '';

    $c->send($bytes);

    while (my $event = $c->next_event()) {
        return ($event->[1], $answer) if $event->[0] eq 'eof';
        $answer .= $event->[1];
    }

    return ('still open', $answer);
}


###############################################################################
# At the port for TLS: nothing but TLS

for my $bytes ($header, $foreign{'HTTP GET'}, $foreign{SMTP}, "\0" x 600) {
    my $c = $t->client('alice', tls => 'none', port_number => 1, raw => 1)
              ->connect();
    my ($how, $answer) = answer($c, $bytes);

    ok($how ne 'still open' && $answer !~ /</,
       'the port for TLS: closed without a word: '
       . $bytes =~ s/[^ -~].*//sr);
}


###############################################################################
# ALPN: what is offered must be ours, by whatever way TLS began

for my $tls (qw/ direct starttls /) {
    my $c = $t->client('alice', tls => $tls);

    for my $alpn ([ 'http/1.1' ], [ 'h2', 'http/1.1' ], [ 'xmpp-server' ],
                  [ 'imap' ], [ 'smtp' ], [ 'ftp' ], [ 'xmpp-clien' ],
                  [ 'xmpp-client2' ], [ 'XMPP-CLIENT' ])
    {
        ok(!eval { $t->client('alice', tls => $tls, alpn => $alpn)->login() },
           "RFC 7301, 3.2: $tls: ALPN @$alpn is refused");
    }

    for my $alpn ([ 'xmpp-client' ], [ 'http/1.1', 'xmpp-client' ], undef) {
        my $c = $t->client('alice', tls => $tls, alpn => $alpn);

        is(eval { $c->login(); $c->alpn() // '' } // "refused: $@",
           $alpn ? 'xmpp-client' : '',
           "$tls: ALPN " . ($alpn ? "@$alpn" : 'not offered'));
    }
}

ok($t->client('alice')->login()->sync(), 'and all is well');

$t->done();
