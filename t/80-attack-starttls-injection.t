#!/usr/bin/perl

# STARTTLS injection (CVE-2011-0411, CVE-2014-3556): nothing that came before
# the handshake has an effect behind it, in whatever pieces it came; what is no
# handshake is none.  RFC 6120, 5.4.3.3 and 13.8.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ qw/ alice bob / ])->only_ours()->run();
my $domain = $t->domain();
my %NS = %Test::XMPP::Client::NS;
my $starttls = "<starttls xmlns='$NS{tls}'/>";

sub plain {
    my $c = $t->client('alice')->connect();

    $c->open_stream();

    return $c;
}

my $header = $t->client('alice')->header();
my $plain = "<auth xmlns='$NS{sasl}' mechanism='PLAIN'>"
            . 'AGJvYgBib2Itc2VjcmV0</auth>';

my %injected = (
    'SASL'           => $plain,
    'a header'       => $header,
    'a header and SASL' => $header . $plain,
    'the end of the stream' => '</stream:stream>',
    'another STARTTLS' => $starttls,
    'half an element' => '<auth',
    'one byte'       => '<',
    'NUL'            => "\0",
    'a message'      => "<message to='bob\@$domain'><body>x</body></message>",
    'white space and SASL' => " \n\t\r $plain",
    'a header for another' => $header =~ s/\Q$domain\E/second.test/r,
    'a handshake'    => "\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03"
                        . 'x' x 508,
    'much'           => 'x' x 10_000,
);


###############################################################################
# In one piece with <starttls/>: the stream ends, and no TLS is begun

for my $what (sort keys %injected) {
    my $c = plain();

    $c->send($starttls . $injected{$what});
    ok($c->expect_stream_error('policy-violation'),
       "RFC 6120, 5.4.3.3: behind it in one piece: $what");

    # the header of the stream, too, in the same piece

    $c = $t->client('alice')->connect();
    $c->send($header . $starttls . $injected{$what});
    ok($c->recv_header() && $c->recv_features()
       && $c->expect_stream_error('policy-violation'),
       "all in one piece: $what");
}


###############################################################################
# In a piece of its own, before the handshake: that fails, or the bytes are
# gone; never are they a part of the secure stream

for my $what (sort keys %injected) {
    my $c = plain();

    $c->send($starttls);
    $c->expect('proceed');
    $c->{raw} = 1;
    $c->send($injected{$what});
    shutdown $c->{sock}, 1;

    my $heard = '';

    while (my $event = $c->next_event()) {
        last if $event->[0] eq 'eof';
        $heard .= $event->[1];
    }

    unlike($heard, qr/</, "behind <proceed/>: $what: not a word in plain text");
}

# without waiting for <proceed/>

for my $what (sort keys %injected) {
    my $c = plain();

    $c->send($starttls);
    POSIX::write($c->fileno(), $injected{$what}, length $injected{$what});

    my $answer = $c->next_event();

    if ($answer->[0] eq 'stanza' && $answer->[1]->is('proceed')) {
        isnt($c->try_tls(), undef, "at once: $what: no handshake after it");

    } else {
        ok($answer->[0] eq 'stanza' && $answer->[1]->is('error')
           && $answer->[1]->error() eq 'policy-violation',
           "at once: $what: the stream ends");
    }
}


###############################################################################
# White space is what real clients send; it is none of the secure stream's

for my $space (' ', "\n", "\r\n", " \t\r\n" x 20) {
    my $c = plain();

    $c->send($starttls . $space);
    ok($c->expect('proceed') && $c->start_tls() && $c->open_stream(),
       'white space: the handshake');
    ok(eval { $c->auth(); $c->bind() }, 'and a login') or diag $@;
}


###############################################################################
# What the server has learnt before is forgotten

my $c = $t->client('alice')->connect();

$c->send_header(from => "bob\@$domain", 'xml:lang' => 'de',
                'xmlns:p' => 'urn:p');
is($c->recv_header()->attr('to'), "bob\@$domain", 'told back without TLS');
$c->recv_features();
$c->send($starttls);
$c->expect('proceed');
$c->start_tls();
$c->send_header();
is($c->recv_header()->attr('to'), undef, 'RFC 6120, 5.4.3.3: but not with it');
$c->recv_features();
$c->auth();
like($c->bind(), qr/^alice\@/, 'alice is who has logged in');

# a failed attempt before counts: there is no beginning anew by TLS

$c = $t->client('alice')->connect();
$c->open_stream();
$c->send("<response xmlns='$NS{sasl}'/>");
$c->recv_stanza();
$c->send("<response xmlns='$NS{sasl}'/>");
$c->recv_stanza();
$c->starttls();
is($c->authenticate(password => 'wrong')->error(), 'not-authorized',
   'RFC 6120, 6.4.5: the third attempt');
ok($c->expect_stream_error('policy-violation'), 'is the last, TLS or not');

ok($t->client('bob')->login()->sync(), 'bob is well');

$t->done();
