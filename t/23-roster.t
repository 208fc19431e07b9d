#!/usr/bin/perl

# Rosters: RFC 6121, 2, versions included; the user's sessions are on two
# hosts.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(hosts => 2, users => [ qw/ alice bob carol / ])->run();
my $domain = $t->domain();
my $ns = 'jabber:iq:roster';

my $one = $t->client('alice', resource => 'one', on => 0)->login();

ok($one->{features}->test('*[local-name()="ver"]'),
   'RFC 6121, 2.6.1: versions are offered') if $t->peer() ne 'ejabberd';
ok($one->{features}->test('*[local-name()="sub"]'),
   'RFC 6121, 3.4.1: approval in advance is offered')
    if $t->peer() ne 'ejabberd';

my $two = $t->online('alice', resource => 'two', on => 1);
my $deaf = $t->online('alice', resource => 'deaf', on => 1);

$t->settle($two, $deaf);

is_deeply(roster($one), {}, 'RFC 6121, 2.2: an empty one');
is_deeply(roster($two), {}, 'the same elsewhere');


###############################################################################
# Items

is(set($one, "<item jid='bob\@$domain' name='Bob'/>"), 'result',
   'RFC 6121, 2.3.1: an item');
pushed('2.1.6', { "bob\@$domain" => item(name => 'Bob') });

is(set($two, "<item jid='BOB\@$domain' name='B &amp; &apos;&lt;b&gt;&apos;'>"
             . '<group>one</group><group>&lt;two&gt;</group></item>'),
   'result', 'RFC 6121, 2.4.1: the same, prepared, changed elsewhere');
pushed('2.4.2', { "bob\@$domain" => item(name => q{B & '<b>'},
                                     groups => [ 'one', '<two>' ]) });

is(set($one, "<item jid='carol\@$domain' subscription='both'/>"),
   'result', 'another');
pushed('2.1.2.5: a client cannot set its subscription',
       { "carol\@$domain" => item() });

is_deeply(roster($one), {
    "bob\@$domain" => item(name => q{B & '<b>'}, groups => [ 'one', '<two>' ]),
    "carol\@$domain" => item(),
}, 'RFC 6121, 2.2: both of them');

is(set($two, "<item jid='carol\@$domain' subscription='remove'/>"), 'result',
   'RFC 6121, 2.5.1: removed');
pushed('2.5.2', { "carol\@$domain" => item(subscription => 'remove') });

is_deeply([ keys %{ roster($one) } ], [ "bob\@$domain" ], 'one is left');
# ejabberd tells everybody

ok($deaf->expect_nothing(),
   'RFC 6121, 2.2: who has not asked for the roster is told nothing')
    if $t->peer() ne 'ejabberd';


###############################################################################
# What is refused

my %bad = (
    'RFC 6121, 2.1.5: no item' => [ '', 'bad-request' ],
    'RFC 6121, 2.3.3: two items' => [
        "<item jid='a\@$domain'/><item jid='b\@$domain'/>", 'bad-request' ],
    'no address' => [ "<item name='x'/>", 'bad-request' ],
    'RFC 6121, 2.5.3: no such item' => [
        "<item jid='none\@$domain' subscription='remove'/>",
        'item-not-found' ],
    'RFC 6121, 2.3.3: a group twice' => [
        "<item jid='a\@$domain'><group>x</group><group>x</group></item>",
        'bad-request' ],
    'RFC 6121, 2.3.3: an empty group' => [
        "<item jid='a\@$domain'><group/></item>", 'not-acceptable' ],
    'RFC 6121, 2.3.3: a name that is too long' => [
        "<item jid='a\@$domain' name='" . 'x' x 1100 . "'/>",
        'not-acceptable' ],
    'RFC 6121, 2.3.3: a group that is too long' => [
        "<item jid='a\@$domain'><group>" . 'x' x 1100 . '</group></item>',
        'not-acceptable' ],
    'too many groups' => [
        "<item jid='a\@$domain'>"
        . join('', map { "<group>$_</group>" } 1 .. 40) . '</item>',
        'not-acceptable' ],
    'no JID' => [ "<item jid='\@'/>", 'jid-malformed' ],
    'oneself' => [ "<item jid='alice\@$domain'/>", 'not-allowed' ],
    'a resource' => [ "<item jid='a\@$domain/x'/>", 'bad-request' ],
);

for my $name (sort keys %bad) {
    next if !$t->ours() && $name !~ /^RFC/;

    my ($items, $condition) = @{ $bad{$name} };

    # the peers keep to their own limits, and ejabberd removes what is not
    next if !$t->ours() && $name =~ /too long|twice|empty/;
    next if $t->peer() eq 'ejabberd' && $name =~ /no/;

    like(set($one, $items), qr/\Q$condition\E$/, $name);
}

for my $type (qw/ get set /) {
    my $answer = $one->query($type, "bob\@$domain",
        "<query xmlns='$ns'>" . ($type eq 'set' ? "<item jid='x\@y'/>" : '')
        . '</query>');

    like($answer->error(), qr/forbidden|service-unavailable/,
         "RFC 6121, 2.3.3: nobody else's, $type");
    is($answer->error(), $one->query($type, "nobody\@$domain",
        "<query xmlns='$ns'><item jid='x\@y'/></query>")->error(),
       'nor whether there is such an account') if $t->ours();
}

ok($two->expect_nothing(), 'and nothing is pushed');


###############################################################################
# Versions

# ejabberd has none, unless it is told to

if ($t->peer() eq 'ejabberd') {
    $t->done();
    exit;
}

my $version = version($one);

is_deeply(since($one, $version), [ 'nothing' ],
          'RFC 6121, 2.6.2: nothing since this version');

change($two, "<item jid='carol\@$domain'/>");
change($two, "<item jid='dave\@$domain' name='d'/>");

if ($t->ours()) {
    is_deeply(since($one, $version),
              [ 'nothing', "carol\@$domain", "dave\@$domain" ],
              'RFC 6121, 2.6.3: what is newer is pushed, in order');

    my $between = version($two);

    change($one, "<item jid='dave\@$domain' subscription='remove'/>");
    is_deeply([ sort @{ since($one, $between) } ],
              [ "bob\@$domain", "carol\@$domain" ],
              'after a removal: the whole roster');
}

is_deeply([ sort @{ since($one, '') } ],
          [ sort keys %{ roster($one) } ],
          'RFC 6121, 2.6.2: an empty version: the whole roster');
is_deeply([ sort @{ since($one, 'nonsense') } ],
          [ sort keys %{ roster($one) } ], 'no version of ours: the same');


###############################################################################
# Two devices at once, on two hosts

for my $round (0 .. 19) {
    $one->iq('set', undef, "<query xmlns='$ns'>"
             . "<item jid='one$round\@$domain'/></query>");
    $two->iq('set', undef, "<query xmlns='$ns'>"
             . "<item jid='two$round\@$domain'/></query>");
}

$_->sync() for $one, $two;
$_->drain() for $one, $two;

is(scalar(grep { /^(?:one|two)\d+@/ } keys %{ roster($deaf) }), 40,
   'two devices on two hosts: no item is lost');

my ($of_one, $of_two) = (version($one), version($two));
is($of_one, $of_two, 'and both have one version');


###############################################################################
# The others are on their own

my $bob = $t->online('bob', on => 1);

is_deeply(roster($bob), {}, "another's roster is another");


###############################################################################
# xmpp_roster_max_items: 1000 unless it is set

if ($t->ours()) {
    my $add = sub { "<query xmlns='$ns'><item jid='$_[0]\@x.test'/></query>" };
    my $carol = $t->online('carol', resource => 'many', on => 0);
    my @ids = map { $carol->iq('set', undef, $add->($_)) } 1 .. 1000;

    is((grep { $carol->answer($_)->attr('type') eq 'result' } @ids), 1000,
       'as many items as may be');

    my $full = $carol->query('set', undef, $add->(0));

    is($full->error(), 'modify policy-violation', 'one too many');
    is($full->find("*[local-name()='error']/*[local-name()='text']"),
       'A roster may have 1000 entries, of 262144 bytes in all. Remove some, '
       . 'or shorten names and groups.', 'it is told why');
}

$t->done();


###############################################################################

# An item as roster() has it

sub item {
    my (%item) = @_;

    return { name => '', subscription => 'none', ask => '', groups => [],
             %item };
}


sub items {
    my ($stanza) = @_;

    return map { my $e = $_; $e->{jid} => item(
        name => $e->{name} // '', subscription => $e->{subscription},
        ask => $e->{ask} // '', groups => $e->{groups}) }
        parsed($stanza);
}


sub parsed {
    my ($stanza) = @_;
    my @found;

    for my $node ($stanza->find("*[local-name()='query']"
                                 . "/*[local-name()='item']")) {
        push @found, {
            (map { $_->nodeName() => $_->value() } $node->attributes()),
            groups => [ map { $_->textContent() }
                        grep { $_->nodeType() == 1 } $node->childNodes() ],
        };
    }

    return @found;
}


sub roster {
    my ($c) = @_;

    return { items($c->query('get', undef, "<query xmlns='$ns'/>")) };
}


sub version {
    my ($c) = @_;

    return $c->query('get', undef, "<query xmlns='$ns' ver=''/>")
             ->find("*/\@ver");
}


# The items since that version, in their order; "nothing" is an empty answer

sub since {
    my ($c, $version) = @_;

    my $id = $c->iq('get', undef, "<query xmlns='$ns' ver='$version'/>");
    my $answer = $c->expect('iq', type => 'result', id => $id) or return [];

    return [ map { $_->{jid} } parsed($answer) ]
        if $answer->test("*[local-name()='query']");

    $c->sync();

    return [ 'nothing', map { map { $_->{jid} } parsed($_) }
                        grep { $_->is('iq') } $c->drain() ];
}


# The outcome of a set

sub set {
    my ($c, $items) = @_;

    my $answer = $c->query('set', undef, "<query xmlns='$ns'>$items</query>");

    return $answer->attr('type') eq 'result' ? 'result' : $answer->error();
}


# The same, when all have heard of it

sub change {
    my ($c, $items) = @_;

    set($c, $items);
    $_->pick('iq', type => 'set') for $one, $two;
}


# Each that has asked is told, by an iq of its own account

sub pushed {
    my ($section, $wanted) = @_;

    for my $c ($one, $two) {
        # Prosody leaves it out
        my @to = $t->peer() eq 'prosody' ? () : (to => $c->jid());
        my $push = $c->pick('iq', type => 'set', @to);

        ok($push, "RFC 6121, $section: pushed to " . $c->jid()) or next;
        is_deeply({ items($push) }, $wanted, 'the item');
        ok(!defined $push->attr('from')
           || $push->attr('from') eq $c->bare(), 'RFC 6121, 2.1.6: from');
    }
}
