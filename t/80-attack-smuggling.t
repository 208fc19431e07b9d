#!/usr/bin/perl

# Stanza smuggling: whatever bytes a client sends, what others receive is
# well-formed, one stanza for each that was sent, from its real sender, and read
# alike by parsers of two families, libxml2 and expat (Zoom, CVE-2022-22784;
# CVE-2022-25235, CVE-2022-25236).  Known tricks are in t/41-xml.t; here good
# stanzas are damaged at random.  RFC 6120, 8.4, 11.3 and 11.6.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IPC::Open2;
use Test::More;
use Test::XMPP;
use XML::LibXML;

my $t = Test::XMPP->new(users => [ qw/ alice bob carol / ], workers => 1)
                  ->only_ours();

$t->config(<<'EOF');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis     unix:%%REDIS%%;
    xmpp_starttls  on;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    xmpp_host second.test {
        ssl_certificate      %%TESTDIR%%/second.test.pem;
        ssl_certificate_key  %%TESTDIR%%/second.test.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }

    server {
        listen  127.0.0.1:%%PORT_1%% ssl;
        xmpp_c2s;
    }
}
EOF

$t->run();

my %NS = %Test::XMPP::Client::NS;
my $rounds = $ENV{SMUGGLING_ROUNDS} || 2000;
my $seed = $ENV{SMUGGLING_SEED} || 42;

srand $seed;
note("SMUGGLING_SEED=$seed SMUGGLING_ROUNDS=$rounds");

my $bob = $t->client('bob', tls => 'none', mechanism => 'SCRAM-SHA-1',
                     resource => 'b')->login();
my $carol = $t->client('carol', tls => 'none', mechanism => 'SCRAM-SHA-1',
                       resource => 'c')->login();
my $to = 'bob@localhost/b';         # bytes, to go with odd bytes


###############################################################################
# Bytes that are no characters, in each place where characters can be: RFC
# 3629, 4; XML 1.0, 2.2

my @no_utf8 = ("\x80", "\xBF", "\xC0\xAF", "\xC0\x80", "\xC1\xBF", "\xC3(",
               "\xE0\x80\xAF", "\xE0\x9F\xBF", "\xE2\x82(", "\xED\xA0\x80",
               "\xED\xBF\xBF", "\xF0\x80\x80\xAF", "\xF0\x8F\xBF\xBF",
               "\xF0\x9F\x98(", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80",
               "\xF8\x88\x80\x80\x80", "\xFE", "\xFF", "\0", "\x01", "\x1F",
               "\xEF\xBF\xBE", "\xEF\xBF\xBF");

my %where = (
    'text' => sub { "<message to='$to'><body>a$_[0]b</body></message>" },
    'CDATA' => sub {
        "<message to='$to'><body><![CDATA[a$_[0]b]]></body></message>";
    },
    'a value' => sub { "<message to='$to' id='a$_[0]b'/>" },
    'a name' => sub { "<message to='$to'><a$_[0]b/></message>" },
    'the name of an attribute' => sub {
        "<message to='$to'><x a$_[0]b=''/></message>";
    },
    'a prefix' => sub {
        "<message to='$to'><a$_[0]b:x xmlns:a$_[0]b='urn:x'/></message>";
    },
    'a namespace' => sub {
        "<message to='$to'><x xmlns='urn:$_[0]:b'/></message>";
    },
    'an address' => sub { "<message to='$to$_[0]'/>" },
);

for my $place (sort keys %where) {
    for my $bytes (@no_utf8) {
        my $c = $t->client('alice', tls => 'none', resource => 'a',
                           mechanism => 'SCRAM-SHA-1')->login();

        $c->send($where{$place}->($bytes));
        ok($c->expect_stream_error('not-well-formed'),
           sprintf "RFC 6120, 11.6: %vX in $place", $bytes);
    }
}

ok($bob->expect_nothing(from => $carol), 'none of it is relayed');


###############################################################################
# Names that parsers of XML 1.0's fourth edition, like expat, call ill-formed,
# and those of the fifth do not: they would end the streams of others

for my $ch ("\xEF\xBB\xBF", "\xE2\x80\x8C", "\xF0\x90\x80\x80", "\xCC\x80",
            "\xD9\xA0", "\xE1\xBF\xB2", "\xEF\xAC\x80", "\xC4\xB2",
            "\xE2\x81\xB0", "\xE3\x80\x81", "\xED\x9E\xA4", "\xE9\xBE\xA6")
{
    for my $place ('a name', 'the name of an attribute') {
        my $c = $t->client('alice', tls => 'none', resource => 'a',
                           mechanism => 'SCRAM-SHA-1')->login();

        $c->send($where{$place}->($ch));
        ok($c->expect_stream_error(qr/^(?:policy-violation|not-well-formed)$/),
           sprintf "%vX in $place", $ch);
    }
}

ok($bob->expect_nothing(from => $carol), 'none of it is relayed');

my $writer = $t->client('alice', tls => 'none', resource => 'a',
                        mechanism => 'SCRAM-SHA-1')->login();
my @letters;

for my $edge (0xC0, 0xD6, 0xD8, 0xF6, 0xF8, 0x131, 0x134, 0x13E, 0x141, 0x148,
              0x14A, 0x17E, 0x38E, 0x3A1, 0x3A3, 0x3CE, 0x40E, 0x44F, 0x5D0,
              0x5EA, 0x3041, 0x3094, 0x30A1, 0x30FA, 0x4E00, 0x9FA5, 0xAC00,
              0xD7A3)
{
    utf8::encode(my $letter = chr $edge);
    push @letters, "<message to='$to'><$letter $letter='1'/></message>";
    $writer->send($letters[-1]);
}

ok($writer->sync(), 'letters are no such');
$writer->close();


###############################################################################
# Good stanzas, and what they are damaged with

my @good = (
    "<message to='$to' id='1' type='chat'><body>Hello &amp; bye</body>"
    . "<thread parent='a'>b</thread></message>",
    "<message to='$to'><x xmlns='urn:x' xmlns:p='urn:p' p:a='1' a=\"2\">"
    . "<p:y/>t<z xmlns=''>\xE2\x82\xAC</z></x></message>",
    "<message to='$to'><body><![CDATA[<a>]]></body></message>",
    "<presence to='$to'><status xml:lang='de'>\xC3\xBC&#x1F600;</status>"
    . '</presence>',
    "<iq to='$to' type='set' id='i'><query xmlns='urn:q'><item n='&lt;'/>"
    . '</query></iq>',
);

my $injected = "<message from='carol\@localhost/c' to='$to'>"
               . '<body>INJECTED</body></message>';

my @pieces = ('<', '>', '/', '/>', '"', "'", '&', ';', '=', ':', ' ', "\n",
              "\r", "\t", '</', '<!--', '-->', '<![CDATA[', ']]>', '<?', '?>',
              "<?xml version='1.0'?>", '<!DOCTYPE x>', '</message>',
              '</stream:stream>', '<stream:stream>', '<message>', $injected,
              "'$injected'", ">$injected<x", "]]>$injected<![CDATA[",
              " xmlns='urn:y'", " xmlns=''", " xmlns:p='urn:q'",
              " xmlns:stream='urn:z'", " xmlns='$NS{c}'", ' from="carol"',
              " xmlns:xml='urn:x'", 'xmlns', 'p:', 'xml:', 'stream:', '&lt;',
              '&#60;', '&#x3C;', '&#0;', '&#13;', '&#x10FFFF;', '&#xD800;',
              '&x;', "\0", "\x01", "\x0B", "\x0C", "\x1F", "\x7F", "\x80",
              "\xC0", "\xC0\xBC", "\xC1\xBF", "\xC2", "\xC2\x85",
              "\xE0\x80\xBC", "\xE2\x80\xA8", "\xE2\x82", "\xED\xA0\x80",
              "\xEF\xBB\xBF", "\xEF\xBF\xBE", "\xEF\xBF\xBF", "\xF0\x9F",
              "\xF0\x80\x80\xBC", "\xF4\x90\x80\x80", "\xF8", "\xFE", "\xFF",
              "%", "{", "}");

sub damaged {
    my $xml = $good[ rand @good ];

    for (1 .. 1 + int rand 1.5) {
        my $at = int rand 1 + length $xml;
        my $how = rand;

        if ($how < 0.55) {
            substr($xml, $at, 0) = $pieces[ rand @pieces ];

        } elsif ($how < 0.7) {
            substr($xml, $at, 1 + rand 4) = $pieces[ rand @pieces ]
                if $at < length $xml;

        } elsif ($how < 0.8) {
            substr($xml, $at, rand 6) = '' if $at < length $xml;

        } elsif ($how < 0.9) {
            my $piece = substr $xml, $at, rand 30;
            substr($xml, rand 1 + length $xml, 0) = $piece;

        } else {
            substr($xml, $at, 1) = chr rand 256 if $at < length $xml;
        }
    }

    return $xml;
}


###############################################################################
# Each on a stream that lives until it does harm; a whole good stanza behind
# each closes what is left open, if anything can.

my ($alice, @received);

@received = map { [ $_, 'letters' ] } arrived();
is(scalar @received, @letters, 'and are relayed');

my ($streams, $ended, $sent) = (0, 0, 0);

for my $round (1 .. $rounds) {
    if (!$alice || defined $alice->{eof}) {
        $alice = $t->client('alice', tls => 'none', resource => 'a',
                            mechanism => 'SCRAM-SHA-1')->login();
        $streams++;
    }

    $alice->cut($round % 3 ? () : ('random', 9, $round));

    my $xml = damaged();

    $alice->send($xml);
    $sent++;

    # a damaged one may be an open one: then nothing comes back
    $alice->queue("<iq type='get' to='localhost' id='s$round'>"
                  . "<ping xmlns='$NS{ping}'/></iq>");
    $alice->wait(sub {
        grep { $_->[0] eq 'end' || $_->[0] eq 'stanza'
               && ($_->[1]->attr('id') // '') eq "s$round" }
            @{ $alice->{events} };
    }, 0.2);

    if (!grep { $_->[0] eq 'stanza'
                && ($_->[1]->attr('id') // '') eq "s$round" }
             @{ $alice->{events} })
    {
        $ended++;
        $alice->drop();
    }

    $alice->{events} = [];
    push @received, map { [ $_, $xml ] } arrived();
}


# What bob has received of alice by now: carol's word comes behind it

sub arrived {
    my $mark = 'mark-' . $carol->id();
    my @all;

    $carol->message($to, $mark);

    while (my $event = $bob->next_event()) {
        die "bob: $event->[0]\n" if $event->[0] ne 'stanza';

        my $raw = $event->[1]->raw();

        return @all if $raw =~ m{<body>\Q$mark\E</body>};
        push @all, $raw;
    }

    die "bob hears nothing any more\n";
}


note("$sent sent on $streams streams, " . @received . ' received');
cmp_ok(scalar @received, '>', $rounds / 20, 'some of them are stanzas');
cmp_ok($ended, '>', $rounds / 20, 'some end the stream');
cmp_ok(scalar @received, '<=', 2 * $sent, 'none became many');


###############################################################################
# What was received, as bytes

my $header = $bob->{header} =~ s/^<\?xml[^>]*\?>//r;
my (@bad, @read, @other);

for my $one (@received) {
    my ($raw, $xml) = @$one;
    my $doc = parsed("$header$raw</stream:stream>");

    push(@bad, "not well-formed: $raw\n of $xml"), next unless $doc;

    my @children = $doc->documentElement()->childNodes();

    push @bad, @children . " stanzas: $raw\n of $xml" if @children != 1;
    push @bad, "from another: $raw\n of $xml"
        if ($children[0]->getAttribute('from') // '') ne 'alice@localhost/a';

    push @read, seen($children[0]);
    push @other, "$header$raw</stream:stream>";
}

is(join("\n", @bad), '', 'all that is received is one stanza of its sender');


# libxml2 takes namespaces that are no URI, but IRIs, and an xml:id that is no
# name for errors

sub parsed {
    my ($bytes) = @_;

    my $doc = eval { XML::LibXML->new()->parse_string($bytes) };

    return $doc if $doc || $@ !~ /is not a valid URI|xml:id/;
    return XML::LibXML->new(recover => 2)->parse_string($bytes);
}


# an element and all in it, as a line

sub seen {
    my ($node) = @_;
    my $line = '';

    for my $e ($node->nodeType() == XML_ELEMENT_NODE
               ? $node->findnodes('descendant-or-self::*') : ())
    {
        my $name = sub {
            my $ns = $_[0]->namespaceURI();
            return (defined $ns && length $ns ? "{$ns}" : '')
                   . $_[0]->localname();
        };
        my @attrs = sort map { $name->($_) . '=' . $_->getValue() }
                         grep { $_->nodeType() == XML_ATTRIBUTE_NODE }
                         $e->attributes();

        $line .= $name->($e) . '[' . join(',', @attrs) . ']';
    }

    $line .= $node->textContent();
    utf8::encode($line);

    return unpack 'H*', $line;
}


###############################################################################
# The same by expat

my $pid = open2(my $out, my $in, 'python3', '-c', <<'EOF');
import sys
from xml.etree import ElementTree

for line in sys.stdin:
    root = ElementTree.fromstring(bytes.fromhex(line.strip()))
    seen = ''
    for e in root[0].iter():
        attrs = sorted('%s=%s' % a for a in e.attrib.items())
        seen += e.tag + '[' + ','.join(attrs) + ']'
    seen += ''.join(root[0].itertext())
    print(len(root), seen.encode().hex(), flush=True)
EOF

@bad = ();

for my $n (0 .. $#other) {
    my $bytes = $other[$n];

    utf8::encode($bytes) if utf8::is_utf8($bytes);
    print $in unpack('H*', $bytes), "\n";
    $in->flush();

    my $line = <$out> // '';

    push @bad, $bytes if $line ne "1 $read[$n]\n";
    last if $line eq '';
}

close $in;
waitpid $pid, 0;

is(join("\n", @bad), '', 'expat reads the same as libxml2');
ok($_->sync(), 'and lives: ' . $_->who()) for $bob, $carol;

$t->done();
