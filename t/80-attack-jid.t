#!/usr/bin/perl

# JIDs: addresses at the edge of their lengths, characters that turn text around
# or vanish, and look-alikes.  One preparation holds on all paths: in the name
# one logs in by, in what one is sent by, in Redis.  RFC 7622, 3; RFC 8264, 12.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use Encode qw/ encode /;
use Test::More;
use Test::XMPP;

my @long = map { 'x' x ($_ - 1) . 'y' } 1022, 1023;
my $t = Test::XMPP->new(users => [ 'alice', 'bob',
                                   map { [ $_, 'localhost', 'long' ] } @long,
                                   'é' x 511 . 'z' ])->only_ours();

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

my $redis = $t->redis();
my $bob = $t->online('bob', resource => 'b');

sub plain {
    return $t->client($_[0], tls => 'none', mechanism => 'SCRAM-SHA-1',
                      @_[1 .. $#_]);
}

# what sessions Redis has records of: bare JIDs

sub recorded {
    my @found;
    my $cursor = 0;

    do {
        my $some;

        ($cursor, $some) = @{ $redis->command('SCAN', $cursor, 'COUNT', 1000,
                                              'MATCH', '*:sessions') };
        push @found, map { /\{(.*)\}/ } @$some;
    } while ($cursor);

    return grep { $_ ne 'bob@localhost' } @found;
}


###############################################################################
# The edge: RFC 7622, 3.3: 1023 octets, one more is nobody

for my $name (@long, 'é' x 511 . 'z') {
    my $octets = length encode('UTF-8', $name);

    # to, from, key: all of one length
    for my $resource ('r', 'x' x 1023, 'é' x 511) {
        my $c = plain($name, resource => $resource);

        is(eval { $c->login()->jid() }, "$name\@localhost/$resource",
           "$octets octets, a resource of " . length $resource) or next;
        $bob->message($c->jid(), 'full');
        ok($c->expect('message', to => $c->jid(), body => 'full'),
           'is sent to');
        $c->message($bob->bare(), 'x');
        ok($bob->expect('message', from => $c->jid(), body => 'x'),
           'is seen as that');
        is(join(' ', recorded()), encode('UTF-8', "$name\@localhost"),
           'is recorded as that');
        $c->close();
        $bob->presence(to => $bob->jid());
        $bob->pick('presence', from => $bob->jid());
        Test::XMPP::Process::await(sub { !recorded() });
    }
}

# longer ones are cut nowhere: not to the name of another, nor within a
# character (CVE-2015-2058)

for my $name ($long[1] . 'x', $long[1] . "\x{301}", 'é' x 512, '😀' x 256,
              'x' x 1022 . 'é', 'x' x 1021 . '😀', 'ａ' x 1024)
{
    my $what = length(encode('UTF-8', $name)) . ' octets';

    for my $mechanism (@Test::XMPP::SASL::MECHANISMS) {
        my $c = $t->client('alice');

        $c->secure();
        is($c->authenticate(mechanism => $mechanism, user => $name,
                            password => 'long')->error(), 'not-authorized',
           "$mechanism: $what are nobody");
        $c->drop();
    }

    for my $to ("$name\@localhost", "bob\@localhost/$name") {
        my $id = $bob->message($to, 'x', type => 'groupchat');

        ok($bob->expect('message', type => 'error', id => $id, from => $to,
                        error => 'modify jid-malformed'),
           "$what are no part of an address");
    }
}

# mapped to what is short enough: one name

my $wide = plain('alice', sasl_user => 'ａｌｉｃｅ', resource => 'w')->login();

is($wide->bare(), 'alice@localhost', 'RFC 8265, 3.3.2: wide letters');


###############################################################################
# Others that one could take for alice: nobody, on each path

my %alike = (
    'Cyrillic a'            => 'аlice',
    'Greek iota'            => 'alιce',
    'a dotless i'           => 'alıce',
    'a digit'               => 'a1ice',
    'an accent'             => 'alicé',
    'mathematical letters'  => '𝐚𝐥𝐢𝐜𝐞',
    'circled letters'       => 'ⓐⓛⓘⓒⓔ',
    'a soft hyphen'         => "al\x{AD}ice",
    'a zero width space'    => "al\x{200B}ice",
    'a zero width joiner'   => "al\x{200D}ice",
    'a word joiner'         => "alice\x{2060}",
    'a byte order mark'     => "\x{FEFF}alice",
    'right to left override' => "\x{202E}ecila",
    'right to left mark'    => "alice\x{200F}",
    'an isolate'            => "\x{2067}alice\x{2069}",
    'a variation selector'  => "alice\x{FE0F}",
    'a tag'                 => "alice\x{E0061}",
    'a grapheme joiner'     => "alice\x{34F}",
    'a no-break space'      => "alice\x{A0}",
    'an ideographic space'  => "\x{3000}alice",
    'a private character'   => "alice\x{E000}",
    'a noncharacter'        => "alice\x{FDD0}",
    'an unassigned one'     => "alice\x{378}",
    'a control character'   => "alice\x{85}",
    'a line separator'      => "alice\x{2028}",
    'Hebrew and digits mixed' => "a\x{5D0}1\x{661}",
    'Arabic digits of two kinds' => "\x{661}\x{6F1}",
);

for my $what (sort keys %alike) {
    my $name = $alike{$what};

    for my $mechanism ('SCRAM-SHA-256', 'PLAIN') {
        my $c = $t->client('alice');

        $c->secure();
        my $outcome = $c->authenticate(mechanism => $mechanism, user => $name);
        is($outcome && $outcome->error(), 'not-authorized',
           "$mechanism: $what is not alice");
        $c->drop();
    }

    my $id = $bob->message("$name\@localhost", 'x');

    ok($bob->expect('message', type => 'error', id => $id,
                    error => qr/ (?:jid-malformed|service-unavailable)$/),
       "$what is not heard by alice");
}

# what is mapped to our name is ours for everybody, or for nobody

for my $domain ("loc\x{430}lhost", "localhost\x{2024}", "l\x{1D428}calhost",
                'ⓛⓞⓒⓐⓛⓗⓞⓢⓣ', "local\x{AD}host", "localhost\x{3002}",
                'xn--localhost', "localhost\x{FF0F}x", 'localhost..')
{
    my $id = $bob->message("bob\@$domain/b", $domain);
    my $heard = ($bob->recv_stanza()->attr('type') // '') ne 'error';
    my $c = plain('alice')->connect();

    utf8::upgrade($domain);
    $c->send_header(to => $domain);
    $c->recv_header();
    is($heard ? 'ours' : 'not',
       $c->next_event()->[1]->is('features') ? 'ours' : 'not',
       "on all paths: $domain");
    $c->drop();
}

ok($wide->expect_nothing(from => $bob), 'alice has heard none of it');


###############################################################################
# Whatever the way to write it, it is one session, one key

for my $name ('alice', 'ALICE', 'ａlice', 'Alice') {
    my $c = plain('alice', sasl_user => $name, resource => 'same')->login();

    is($c->jid(), 'alice@localhost/same', "logged in as '$name'");
    is(join(' ', recorded()), 'alice@localhost', 'one key');

    $bob->message("$name\@LOCALHOST./same", $name);
    ok($c->expect('message', to => 'alice@localhost/same', body => $name),
       'and sent to as that');
}

$t->done();
