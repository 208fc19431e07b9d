#!/usr/bin/perl

# The stream: its header, its end, and what is refused on it.
# RFC 6120, sections 4 and 11.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ 'alice' ])->run();
my $domain = $t->domain();
my $decl = "<?xml version='1.0'?>";


###############################################################################
# The answer to a good header

my $c = $t->client('alice')->connect();
$c->send_header(id => 'mine');

my $header = $c->recv_header();
is($header->ns(), $Test::XMPP::Client::NS{stream},
   'RFC 6120, 4.8.1: namespace');
is($header->attr('from'), $domain, 'RFC 6120, 4.7.1: from of the answer');
is($header->attr('to'), undef, 'RFC 6120, 4.7.2: no to without a from');
is($header->attr('version'), '1.0', 'RFC 6120, 4.7.5: version');
ok(length($header->attr('xml:lang') // ''), 'RFC 6120, 4.7.4: xml:lang');
like($header->attr('id'), qr/^.{8,}/, 'RFC 6120, 4.7.3: id');
isnt($header->attr('id'), 'mine', 'RFC 6120, 4.7.3: the id is the server\'s');
ok($c->recv_features(), 'RFC 6120, 4.3.2: features');

$c->send(" \n \t\r\n");
$c->send('</stream:stream>');
ok($c->expect_end(), 'RFC 6120, 4.4: the stream is closed both ways');

SKIP: {
    skip 'says no to', 1 if $t->peer() eq 'ejabberd';

    $c = $t->client('alice')->connect();
    $c->send_header(from => "alice\@$domain");
    is($c->recv_header()->attr('to'), "alice\@$domain",
       'RFC 6120, 4.7.2: to is the from of the client');
}

my %ids;

for (1 .. 20) {
    $c = $t->client('alice')->connect();
    $c->send_header();
    $ids{ $c->recv_header()->attr('id') }++;
    $c->drop();
}

is(keys %ids, 20, 'RFC 6120, 4.7.3: ids are unique');


###############################################################################
# Other good headers

accepted('upper case in to', $c->header(to => uc $domain));
accepted('RFC 6120, 4.7.5: a higher version', $c->header(version => '2.0'))
    unless $t->peer() eq 'ejabberd';                          # refuses it
accepted('RFC 6120, 4.7.5: versions are numbers, not fractions',
         $c->header(version => '1.10'));
accepted('no XML declaration', $c->header(decl => ''));
accepted('RFC 6120, 11.6: UTF-8 in lower case',
         $c->header(decl => "<?xml version=\"1.0\" encoding='utf-8' ?>"));
accepted('unknown attributes', $c->header(foo => 'bar', 'xml:foo' => 1,
                                          'xmlns:x' => 'urn:x',
                                          'x:to' => 'nowhere'));
accepted('double quotes and white space',
         "$decl\n <stream:stream\n\tto = \"$domain\"\r\n version=\"1.0\" "
         . "xmlns=\"jabber:client\" "
         . "xmlns:stream=\"$Test::XMPP::Client::NS{stream}\"\n >");

# RFC 6120, 4.8.5: another prefix is good, or refused with that condition

unless ($t->peer() eq 'ejabberd') {
    $c = $t->client('alice')->connect();
    $c->send("$decl<s:stream to='$domain' version='1.0' "
             . "xmlns='jabber:client' "
             . "xmlns:s='$Test::XMPP::Client::NS{stream}'>");
    $c->recv_header();

    my $answer = $c->recv_stanza();
    ok($answer && ($answer->is('features')
                   || $answer->error() eq 'bad-namespace-prefix'),
       'RFC 6120, 4.8.5: another prefix');
}

sub accepted {
    my ($name, $bytes) = @_;

    $c = $t->client('alice')->connect();
    $c->send($bytes);

    my $header = $c->recv_header();
    ok($header && $header->attr('version') eq '1.0' && $c->recv_features(),
       "accepted: $name");
    $c->drop();
}


###############################################################################
# Bad headers: the answer is a header, then the error: RFC 6120, 4.9.1.2

refused('RFC 6120, 4.9.3.10: namespace of the stream', 'invalid-namespace',
        $c->header('xmlns:stream' => 'http://wrong.example/'));
refused('RFC 6120, 4.9.3.10: namespace of the content', 'invalid-namespace',
        $c->header(xmlns => 'jabber:server'))
    unless $t->peer() eq 'prosody';                 # answers with silence

SKIP: {
    skip 'speaks the protocol of before 2004', 3 unless $t->ours();

    refused('RFC 6120, 4.9.3.25: no version', 'unsupported-version',
            $c->header(version => undef));
    refused('RFC 6120, 4.9.3.25: version 0.9', 'unsupported-version',
            $c->header(version => '0.9'));
    refused('RFC 6120, 4.9.3.25: version x', 'unsupported-version',
            $c->header(version => 'x'));
}

refused('RFC 6120, 4.9.3.6: unknown host', 'host-unknown',
        $c->header(to => 'nowhere.example'));
refused('RFC 6120, 4.7.2: no to', qr/^(?:host-unknown|improper-addressing)$/,
        $c->header(to => undef));
refused('RFC 6120, 4.7.2: empty to',
        qr/^(?:host-unknown|improper-addressing|invalid-xml)$/,
        $c->header(to => ''));
refused('RFC 6120, 4.7.2: to is no domain',
        qr/^(?:host-unknown|improper-addressing)$/,
        $c->header(to => "$domain/x\@y"));
refused('RFC 6120, 4.8.1: not named stream',
        qr/^(?:bad-format|invalid-xml|invalid-namespace|not-well-formed
             |unsupported-stanza-type)$/x,
        $c->header() =~ s/<stream:stream/<stream:flow/r);
refused('RFC 6120, 4.9.3.2: prefix not declared',
        qr/^(?:bad-namespace-prefix|not-well-formed|invalid-namespace)$/,
        $c->header('xmlns:stream' => undef, 'xmlns:s' => 'urn:x'));
refused('RFC 6120, 4.9.3.13: ill-formed header', 'not-well-formed',
        "$decl<stream:stream to=$domain>");
refused('RFC 6120, 4.9.3.13: duplicate attribute', 'not-well-formed',
        $c->header() =~ s/ to=/ to='x' to=/r);
refused('RFC 6120, 4.9.3.13: text before the header',
        qr/^(?:not-well-formed|bad-format)$/, 'hello<a>');

# RFC 6120, 11.6: UTF-8 only

my $encoding = qr/^(?:unsupported-encoding|not-well-formed|bad-format
                    |invalid-xml|restricted-xml)$/x;

refused('RFC 6120, 4.9.3.22: ISO-8859-1',
        $t->ours() ? 'unsupported-encoding' : $encoding,
        $c->header(decl => "<?xml version='1.0' encoding='ISO-8859-1'?>"))
    if $t->ours();                                      # the peers take it
refused('RFC 6120, 4.9.3.22: UTF-16 declared',
        $t->ours() ? 'unsupported-encoding' : $encoding,
        $c->header(decl => "<?xml version='1.0' encoding='UTF-16'?>"))
    unless $t->peer() eq 'ejabberd';                          # takes it

my %utf16 = (
    'UTF-16BE with a mark'    => "\xFE\xFF" . pack('n*', unpack 'C*',
                                                   $c->header()),
    'UTF-16LE with a mark'    => "\xFF\xFE" . pack('v*', unpack 'C*',
                                                   $c->header()),
    'UTF-16BE without a mark' => pack('n*', unpack 'C*', $c->header()),
    'UTF-16LE without a mark' => pack('v*', unpack 'C*', $c->header()),
    'UTF-32BE'                => pack('N*', unpack 'C*', $c->header()),
);

for my $name ($t->ours() ? sort keys %utf16 : ()) {
    refused("RFC 6120, 4.9.3.22: $name", $name =~ /LE without/ ? $encoding
            : 'unsupported-encoding', $utf16{$name});
}

refused('XML 1.1', qr/^(?:not-well-formed|bad-format|unsupported-encoding
                        |restricted-xml|invalid-xml)$/x,
        $c->header(decl => "<?xml version='1.1'?>"))
    unless $t->peer() eq 'ejabberd';                          # takes it

# RFC 6120, 11.1: before the header and behind it

my %restricted = (
    'comment'     => '<!-- x -->',
    'instruction' => '<?foo bar?>',
    'DTD'         => "<!DOCTYPE stream [ <!ENTITY a 'b'> ]>",
);

for my $what (sort keys %restricted) {
    my $conditions = $t->ours() ? 'restricted-xml'
                     : qr/^(?:restricted-xml|not-well-formed|bad-format)$/;
    next if $t->peer() eq 'ejabberd';                 # takes most of them

    refused("RFC 6120, 11.1: $what before the header", $conditions,
            $decl . $restricted{$what} . $c->header(decl => ''));

    $c = $t->client('alice')->connect();
    $c->open_stream();
    $c->send($restricted{$what});
    ok($c->expect_stream_error($what eq 'DTD'
           ? qr/^(?:restricted-xml|not-well-formed)$/ : $conditions),
       "RFC 6120, 11.1: $what on the stream");
}

for my $entity ('&foo;', '&#0;', '&#x1F;', '&#xD800;', '&#xFFFE;') {
    $c = $t->client('alice')->connect();
    $c->open_stream();
    $c->send("<message><body>$entity</body></message>");
    ok($c->expect_stream_error(qr/^(?:restricted-xml|not-well-formed)$/),
       "RFC 6120, 11.1: $entity");
}

sub refused {
    my ($name, $condition, $bytes) = @_;

    $c = $t->client('alice')->connect();
    $c->send($bytes);
    ok($c->recv_header() && $c->expect_stream_error($condition), $name);
}


###############################################################################
# Other protocols

for my $foreign ("GET / HTTP/1.1\r\nHost: $domain\r\n\r\n",
                 "\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03" . 'x' x 512,
                 "EHLO $domain\r\n", "\0" x 64)
{
    $c = $t->client('alice', raw => 1)->connect();
    $c->send($foreign);

    my $answer = '';
    my $event;

    while ($event = $c->next_event()) {
        last if $event->[0] eq 'eof';
        $answer .= $event->[1];
    }

    ok($event && $answer =~ /^(?:<\?xml[^>]*\?>\s*<stream:stream|<stream|$)/
       && $answer !~ /features/, 'closed: ' . ($foreign =~ /^(\w+)/ ? $1 : '')
                                 . sprintf ' %vd', substr $foreign, 0, 3);
}


###############################################################################
# On the stream, before authentication

for my $stanza ('<message><body>x</body></message>', '<presence/>',
                "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>",
                "<iq type='set' id='1'>"
                . "<bind xmlns='$Test::XMPP::Client::NS{bind}'/></iq>")
{
    $c = $t->client('alice')->connect();
    $c->open_stream();
    $c->send($stanza);

    my ($name) = $stanza =~ /^<(\w+)/;
    ok($c->expect_stream_error('not-authorized'),
       "RFC 6120, 4.9.3.12: $name before authentication")
        if $t->ours();                  # the peers answer with an error
}

wrong('RFC 6120, 4.9.3.13: end of another element', 'not-well-formed',
      '<a xmlns="urn:x"></b>');
wrong('RFC 6120, 4.9.3.13: not XML', 'not-well-formed', '<<<<>');
wrong('RFC 6120, 4.9.3.13: < in an attribute', 'not-well-formed',
      '<message to="<"/>');
wrong('RFC 6120, 4.9.3.2: prefix not declared',
      qr/^(?:bad-namespace-prefix|not-well-formed|invalid-namespace)$/,
      '<message><x:y/></message>')
    unless $t->peer() eq 'ejabberd';                          # takes it
wrong('text between stanzas',
      qr/^(?:bad-format|invalid-xml|not-well-formed)$/, 'hello<message/>')
    if $t->ours();                                      # the peers take it
wrong('a second header',
      qr/^(?:unsupported-stanza-type|not-authorized|invalid-xml|bad-format
           |invalid-namespace)$/x,
      $c->header(decl => '') . '</stream:stream>')
    unless $t->peer() eq 'ejabberd';
wrong('a second XML declaration', qr/^(?:not-well-formed|restricted-xml)$/,
      $decl);

sub wrong {
    my ($name, $condition, $bytes) = @_;

    $c = $t->client('alice')->connect();
    $c->open_stream();
    $c->send($bytes);
    ok($c->expect_stream_error($condition), $name);
}


###############################################################################
# On the stream, after binding

$c = $t->client('alice')->login();
ok($c->sync(), 'logged in');
$c->send(' ');
$c->send("\n\n \t");
ok($c->sync(), 'RFC 6120, 4.6.1: white space keeps the stream');
$c->send('</stream:stream>');
ok($c->expect_end(), 'RFC 6120, 4.4: closed after login');

# from of the header: one's own after authentication, or it is an error

if ($t->ours()) {
    for my $from ("alice\@$domain", "ALICE\@$domain") {
        $c = $t->client('alice');
        $c->secure();
        $c->authenticate();
        ok(eval { $c->open_stream(from => $from); $c->bind() },
           "RFC 6120, 4.7.1: from='$from' of the header");
    }

    for my $from ("bob\@$domain", "alice\@second.test", $domain, '@', '') {
        $c = $t->client('alice');
        $c->secure();
        $c->authenticate();
        $c->send_header(from => $from);
        ok($c->recv_header() && $c->expect_stream_error('invalid-from'),
           "RFC 6120, 4.9.3.9: from='$from' of the header");
    }
}

# what came with the end of the stream is not read any more

$c = $t->client('alice')->login();
$c->send("</stream:stream><message to='$c->{jid}'/>");
ok($c->expect_end(), 'RFC 6120, 4.4: nothing is read after the end');

for my $odd ('<foo/>', "<foo xmlns='urn:x'/>", "<message xmlns='urn:x'/>",
             "<iq xmlns='jabber:server' type='get' id='1'/>")
{
    next if $t->peer() eq 'ejabberd';                   # ignores them

    $c = $t->client('alice')->login();
    $c->send($odd);
    ok($c->expect_stream_error($t->ours() ? 'unsupported-stanza-type'
                               : qr/^(?:unsupported-stanza-type
                                     |invalid-namespace)$/x),
       "RFC 6120, 4.9.3.24: $odd");
}

for my $from ("bob\@$domain", "bob\@$domain/r", $domain,
              "alice\@nowhere.example", '@', "alice\@$domain\@x")
{
    next if $t->peer() eq 'prosody';            # silently stamps its own
    next if $t->peer() && $from =~ /^\@|\@.*\@/;   # bounced as bad-request

    $c = $t->client('alice')->login();
    $c->message("alice\@$domain", 'x', from => $from);
    ok($c->expect_stream_error('invalid-from'),
       "RFC 6120, 8.1.2.1: from='$from'");
}

$t->done();
