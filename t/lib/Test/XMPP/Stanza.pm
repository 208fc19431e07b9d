package Test::XMPP::Stanza;

# One depth-1 element as it arrived: the exact bytes, and, parsed only when
# somebody asks, its tree in the namespaces of its stream header.

use strict;
use warnings;

use Encode ();
use XML::LibXML;


our %NS = (
    c       => 'jabber:client',
    stream  => 'http://etherx.jabber.org/streams',
    streams => 'urn:ietf:params:xml:ns:xmpp-streams',
    stanzas => 'urn:ietf:params:xml:ns:xmpp-stanzas',
    tls     => 'urn:ietf:params:xml:ns:xmpp-tls',
    sasl    => 'urn:ietf:params:xml:ns:xmpp-sasl',
    cb      => 'urn:xmpp:sasl-cb:0',
    bind    => 'urn:ietf:params:xml:ns:xmpp-bind',
    session => 'urn:ietf:params:xml:ns:xmpp-session',
    info    => 'http://jabber.org/protocol/disco#info',
    items   => 'http://jabber.org/protocol/disco#items',
    ping    => 'urn:xmpp:ping',
    time    => 'urn:xmpp:time',
    version => 'jabber:iq:version',
    roster  => 'jabber:iq:roster',
    data    => 'jabber:x:data',
    sm      => 'urn:xmpp:sm:3',
);

my $parser = XML::LibXML->new(no_network => 1, expand_entities => 1,
                              huge => 1);
my $xpc = XML::LibXML::XPathContext->new();
$xpc->registerNs($_ => $NS{$_}) for keys %NS;


# new($raw, $header): $header is the start tag of the stream, as received.

sub new {
    my ($class, $raw, $header) = @_;

    return bless { raw => $raw, header => $header }, $class;
}


sub raw { $_[0]{raw} }


# The XML::LibXML::Element.  Dies when the server sent something ill-formed.

sub element {
    my ($self) = @_;

    return $self->{element} //= do {
        my ($name) = $self->{header} =~ /^<([^\s>]+)/;
        my $doc = $parser->parse_string("<?xml version='1.0' "
                      . "encoding='UTF-8'?>$self->{header}$self->{raw}"
                      . "</$name>");
        $self->{doc} = $doc;
        $doc->documentElement()->firstChild();
    };
}


sub name { $_[0]->element()->localname() }
sub ns   { $_[0]->element()->namespaceURI() // '' }

sub is {
    my ($self, $name, $ns) = @_;

    return $self->name() eq $name && (!defined $ns || $self->ns() eq $ns);
}


# attr('from'), attr('xml:lang'); undef when absent.

sub attr {
    my ($self, $name) = @_;

    return $self->element()->getAttributeNS(XML::LibXML::XML_XML_NS, 'lang')
        if $name eq 'xml:lang';

    my $node = $self->element()->getAttributeNode($name);

    return defined $node ? $node->value() : undef;
}


# find($xpath) with the prefixes of %NS; the stanza is the context node.
# Returns nodes in list context, else the string value (undef: no node).

sub find {
    my ($self, $xpath) = @_;

    my @nodes = $xpc->findnodes($xpath, $self->element());

    return @nodes if wantarray;
    return @nodes ? $nodes[0]->textContent() : undef;
}


# What an element says, for is_deeply(): its name, attributes and content,
# with namespaces and without prefixes.  From XML, or a node.

sub tree {
    my ($node) = @_;

    $node = $parser->parse_string($node)->documentElement() unless ref $node;

    my @content;
    my %attrs = map { _name($_) => $_->value() }
                grep { $_->nodeType() == XML_ATTRIBUTE_NODE }
                $node->attributes();

    for my $child ($node->childNodes()) {
        if ($child->nodeType() == XML_ELEMENT_NODE) {
            push @content, tree($child);

        } elsif (@content && !ref $content[-1]) {
            $content[-1] .= $child->data();

        } else {
            push @content, $child->data();
        }
    }

    return [ _name($node), \%attrs, @content ];
}


sub _name { '{' . ($_[0]->namespaceURI() // '') . '}' . $_[0]->localname() }


# true when the expression holds: a boolean, or a non-empty node set

sub test {
    my ($self, $xpath) = @_;

    my $value = $xpc->find("boolean($xpath)", $self->element());

    return $value && $value->value();
}


# child($name [, $ns]): the text of the first such child element, or undef.
# The default namespace is that of the stanza.

sub child {
    my ($self, $name, $ns) = @_;

    $ns //= $self->ns();

    for my $node ($self->element()->childNodes()) {
        next unless $node->nodeType() == XML_ELEMENT_NODE;
        return $node->textContent()
            if $node->localname() eq $name
               && ($node->namespaceURI() // '') eq $ns;
    }

    return undef;
}


sub body { $_[0]->child('body') }


# The condition of an <error/> child or of a stream error, SASL <failure/>:
# "type condition" for a stanza error, "condition" for the others.

sub error {
    my ($self) = @_;

    if ($self->is('error', $NS{stream}) || $self->is('failure')) {
        my ($cond) = $self->find('*[not(self::streams:text)'
                                 . ' and not(self::sasl:text)]');
        return $cond ? $cond->localname() : '';
    }

    my ($error) = $self->find('*[local-name() = "error"]');
    return undef unless $error;

    my ($cond) = $xpc->findnodes('stanzas:*[not(self::stanzas:text)]',
                                 $error);

    return join ' ', $error->getAttribute('type') // '',
                     $cond ? $cond->localname() : '';
}


sub to_string { Encode::decode('UTF-8', $_[0]{raw}, Encode::FB_DEFAULT) }

# for diagnostics

sub brief { _shorten($_[0]->to_string()) }

sub _shorten {
    my ($text) = @_;

    return length $text < 600 ? $text
           : substr($text, 0, 400) . ' ... ' . substr($text, -150);
}


# Compares with what is expected and returns '' or what is wrong.
#
#   name, ns             of the element
#   from, to, type, ...  attributes: a string, a qr//, or undef (absent)
#   body, error          as the methods of that name
#   xpath                an expression that must hold

sub mismatch {
    my ($self, %want) = @_;
    my @wrong;

    eval { $self->element() };
    return "ill-formed: $@" if $@;

    for my $key (sort keys %want) {
        my $want = $want{$key};

        if ($key eq 'xpath') {
            push @wrong, map { "not true: $_" }
                grep { !$self->test($_) } ref $want ? @$want : $want;
            next;
        }

        my $got = $key =~ /^(?:name|ns|body|error)$/ ? $self->$key()
                                                     : $self->attr($key);

        next if !defined $want && !defined $got;
        next if defined $want && defined $got
                && (ref $want eq 'Regexp' ? $got =~ $want : $got eq $want);

        push @wrong, sprintf "%s is %s, expected %s", $key,
            map { defined $_ ? "'" . _shorten($_) . "'" : 'absent' }
            $got, $want;
    }

    return join '; ', @wrong;
}


1;
