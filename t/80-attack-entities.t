#!/usr/bin/perl

# Entities, DTDs, instructions and comments, in each state of a stream: refused
# at the first, nothing is expanded, fetched or read, no memory grows.
# RFC 6120, 4.9.3.18 and 11.1.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

my $t = Test::XMPP->new(users => [ qw/ alice bob / ], workers => 1)
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

my $bob = $t->client('bob', resource => 'b')->login();
my ($pid) = $t->workers();
my $to = $bob->jid();
my $header = $t->client('alice')->header(decl => '');

# who is asked for what a DTD names

my $trap = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 8,
                                 Blocking => 0) or die "listen: $!\n";
my $url = 'http://127.0.0.1:' . $trap->sockport() . '/x';
my $file = $t->testdir() . '/secret';

$t->write_file('secret', 'SECRET');


###############################################################################
# What there is to send

my $laughs = join '', map { my $n = $_ - 1;
                            "<!ENTITY l$_ '" . "&l$n;" x 10 . "'>" } 1 .. 9;

my %restricted = (
    'a billion laughs' => "<!DOCTYPE x [<!ENTITY l0 'lol'>$laughs]><x>&l9;",
    'one long entity, often' => "<!DOCTYPE x [<!ENTITY a '" . 'a' x 3000
                                . "'>]><x>" . '&a;' x 1000,
    'an entity of itself' => "<!DOCTYPE x [<!ENTITY a '&a;'>]><x>&a;",
    'parameter entities' => "<!DOCTYPE x [<!ENTITY % a '<!ENTITY b \"c\">'>"
                            . '%a;]><x>&b;',
    'a file' => "<!DOCTYPE x [<!ENTITY a SYSTEM 'file://$file'>]><x>&a;",
    'a URL' => "<!DOCTYPE x [<!ENTITY a SYSTEM '$url'>]><x>&a;",
    'a parameter from a URL' => "<!DOCTYPE x [<!ENTITY % a SYSTEM '$url'>%a;]>",
    'a DTD from a URL' => "<!DOCTYPE x SYSTEM '$url'>",
    'a public DTD' => "<!DOCTYPE x PUBLIC '-//x//x' '$url'>",
    'default attributes' => "<!DOCTYPE x [<!ATTLIST x a CDATA 'b'>]>",
    'a DTD without end' => '<!DOCTYPE x [' . '<!ENTITY a "b">' x 300,
    'an element declared' => '<!ELEMENT x ANY>',
    'a section' => '<![INCLUDE[x]]>',
    'a comment' => '<!-- x -->',
    'a comment without end' => '<!--' . 'x' x 3000,
    'an instruction' => '<?x y?>',
    'a stylesheet' => "<?xml-stylesheet href='$url'?>",
);

# what a stanza may hold: an entity that nobody has declared

my %entities = map { $_ => $_ } '&a;', '&nbsp;', '&l9;', '&xxe;', '&#0;',
                                '&#xFFFF;', '&#xD800;', '&#x110000;', '&#-1;',
                                '&#4294967361;', '&#x100000041;', '&amp',
                                '& ', '&&amp;', '&lt;&', '%a;&a;';


###############################################################################
# Where: each state of a stream

my %states = (
    'before the header' => sub { $_[0]->connect() },
    'before TLS' => sub { $_[0]->connect()->open_stream() },
    'after TLS' => sub { $_[0]->secure() },
    'authenticated' => sub { $_[0]->secure(); $_[0]->auth() },
    'bound' => sub { $_[0]->login() },
    'within a stanza' => sub {
        $_[0]->login();
        $_[0]->send("<message to='$to'><body>");
    },
);

my $before = peak();
my $condition = qr/^(?:restricted-xml|not-well-formed|bad-format)$/;

for my $state (sort keys %states) {
    my $first = $state eq 'before the header';

    for my $what (sort keys %restricted) {
        for my $cut (undef, 'bytes') {
            next if $cut && length $restricted{$what} > 300;

            my $c = $t->client('alice');

            $states{$state}->($c);
            $c->cut($cut);
            $c->send($restricted{$what} . ($first ? $header : ''));
            $c->recv_header() if $first;
            ok($c->expect_stream_error($condition),
               "RFC 6120, 11.1: $state: $what" . ($cut ? ', in bytes' : ''));
        }
    }
}

for my $entity (sort keys %entities) {
    for my $stanza ("<message to='$to'><body>$entity</body></message>",
                    "<message to='$to' id='$entity'/>")
    {
        my $c = $t->client('alice')->login();

        $c->send($stanza);
        ok($c->expect_stream_error($condition), "RFC 6120, 11.1: $stanza");
    }
}

my $c = $t->client('alice')->connect();

$c->send($header =~ s/ to=/ id='&a;' to=/r);
ok($c->recv_header() && $c->expect_stream_error($condition),
   'an entity in the header');


###############################################################################
# Nobody was asked, nothing is left

ok(!$trap->accept(), 'no URL was fetched');
unlike($t->read_log(), qr/SECRET/, 'no file was read');

# the sanitizers keep what was freed for a while
cmp_ok(peak() - $before, '<', ($ENV{SANITIZE} ? 20 : 1) * 8 * 1024,
       'kilobytes that all this took');
ok($bob->expect_nothing(), 'and none of it was delivered');

sub peak {
    my ($kilobytes) = Test::XMPP::Process::slurp("/proc/$pid/status")
                      =~ /^VmHWM:\s+(\d+)/m;

    return $kilobytes;
}

$t->done();
