#!/usr/bin/perl

# Floods: elements, attributes, namespaces and depth by the hundred thousand,
# before authentication and after it.  They end at the limits, take no memory
# and no stack, and hold up nobody else.  RFC 6120, 13.12.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Time::HiRes qw/ time /;

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

my $bob = $t->client('bob')->login();
my ($pid) = $t->workers();

# [ begin, what is repeated, how often ]

my %floods = (
    'children'      => [ '<message>', '<x/>', 1_000_000 ],
    'children with text' => [ '<message>', 'a<x>b</x>', 300_000 ],
    'attributes'    => [ '<message', sub { " a$_[0]=''" }, 100_000 ],
    'namespaces'    => [ '<message', sub { " xmlns:a$_[0]='u'" }, 100_000 ],
    'namespaces, nested' => [ '<message>', sub { "<a xmlns:a$_[0]='u'>" },
                              100_000 ],
    'depth'         => [ '<message>', '<a>', 100_000 ],
    'depth, long names' => [ '<message>', '<' . 'a' x 1000 . '>', 5_000 ],
    'a name'        => [ '<', 'a', 3_000_000 ],
    'a value'       => [ "<message to='", 'a', 3_000_000 ],
    'a text'        => [ '<message><body>', 'a', 3_000_000 ],
    'references'    => [ '<message><body>', '&#x1F600;', 500_000 ],
    'CDATA'         => [ '<message><body>', '<![CDATA[x]]>', 300_000 ],
    'a CDATA section' => [ '<message><body><![CDATA[', ']', 3_000_000 ],
    'white space in a tag' => [ '<message', ' ', 3_000_000 ],
    'white space in an end tag' => [ '<message></message', ' ', 3_000_000 ],
    'quotes'        => [ "<message a='", '"', 3_000_000 ],
    'half a reference' => [ '<message>&#', '0', 3_000_000 ],
    'half a character' => [ '<message>', "\xF0\x9F", 1 ],
    'names never met before' => [ '<message>', sub { "<n$_[0]/>" }, 100_000 ],
    'angles'        => [ '', '<', 3_000_000 ],
    'ampersands'    => [ '<message>', '&', 1_000_000 ],
);

my %states = (
    'before authentication' => sub { $_[0]->connect()->open_stream() },
    'after TLS' => sub { $_[0]->secure() },
    'bound' => sub { $_[0]->login() },
);

my $before = peak();

for my $state (sort keys %states) {
    for my $what (sort keys %floods) {
        my ($begin, $piece, $times) = @{ $floods{$what} };
        my $c = $t->client('alice', $state eq 'before authentication'
                                    ? (tls => 'none') : ());

        $states{$state}->($c);

        my $flood = $begin . (ref $piece ? join '', map { $piece->($_) }
                                                    1 .. $times
                                         : $piece x $times);
        my ($slowest, $sent) = (0, 0);

        $c->queue($flood);

        # bob talks meanwhile

        while (!defined $c->{eof} && $c->wants_write()) {
            $c->flush();
            $c->fill();

            my $asked = time();

            $bob->sync() or last;
            $slowest = time() - $asked if time() - $asked > $slowest;
        }

        $c->wait(sub { defined $c->{eof} }) unless $what eq 'half a character';

        my ($error) = map { $_->[1]->error() }
                      grep { $_->[0] eq 'stanza' && $_->[1]->is('error') }
                      @{ $c->{events} };

        # what does not read its answer may find the connection reset
        like($error // $c->{eof} // 'open', $what eq 'half a character'
             ? qr/^open$/
             : qr/^(?:policy-violation|not-well-formed|restricted-xml
                    |closed|Connection\ reset\ by\ peer|Broken\ pipe)$/x,
             "$state: $what: the end");
        cmp_ok($slowest, '<', 2, "$state: $what: others are served");
        $c->drop();
    }
}


# the sanitizers keep what was freed for a while
cmp_ok(peak() - $before, '<', ($ENV{SANITIZE} ? 20 : 1) * 24 * 1024,
       'kilobytes that all this took');
ok($bob->expect_nothing(), 'bob heard nothing of it');
is(($t->workers())[0], $pid, 'the worker is the same');


sub peak {
    my ($kilobytes) = Test::XMPP::Process::slurp("/proc/$pid/status")
                      =~ /^VmHWM:\s+(\d+)/m;

    return $kilobytes;
}

$t->done();
