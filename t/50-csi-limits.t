#!/usr/bin/perl

# Client state indication (XEP-0352): where it is off, how much is held for a
# client, and messages that were kept.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my @domains = qw/ localhost second.test third.test fourth.test
                  fifth.test /;

my $t = Test::XMPP->new(workers => 1, domains => \@domains, users => [
    map { ([ 'alice', $_, 'secret' ], [ 'bob', $_, 'secret' ]) } @domains
]);

$t->only_ours('configures hosts');

$t->config(<<'EOF');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis           unix:%%REDIS%%;
    xmpp_starttls        on;
    ssl_certificate      %%TESTDIR%%/localhost.pem;
    ssl_certificate_key  %%TESTDIR%%/localhost.key;

    xmpp_host localhost   { xmpp_csi_stanzas  3; }
    xmpp_host second.test { xmpp_csi_size     3000; }
    xmpp_host third.test  { xmpp_csi          off; }
    xmpp_host fourth.test { }
    xmpp_host fifth.test  { xmpp_sm_stanzas   8; }

    server {
        listen             127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
        xmpp_max_stanza    10000;
        xmpp_output_queue  10000;
    }
}
EOF

$t->run();

my $csi = 'urn:xmpp:csi:0';
my $states = 'http://jabber.org/protocol/chatstates';
my $delay = "*[local-name() = 'delay' and namespace-uri() = 'urn:xmpp:delay']";


# alice, inactive, and so many sessions of bob

sub clients {
    my ($domain, $n) = @_;

    my ($a, @b) = map {
        $t->online($_->[0], domain => $domain, password => 'secret',
                   tls => 'none', resource => $_->[1])
    } [ 'alice', 'a' ], map { [ 'bob', "b$_" ] } 1 .. $n;

    $t->settle($a, @b);
    $a->send("<inactive xmlns='$csi'/>");
    $a->sync();

    return ($a, @b);
}

# presence of one after the other, with so many bytes in it

sub show {
    my ($to, $status, $size, @from) = @_;

    for my $from (@from) {
        $from->presence(to => $to->jid(), status => $status,
                        xml => $size ? '<x xmlns="urn:x">' . 'x' x $size
                                       . '</x>' : '');
        $from->sync();
    }
}

# what came for alice before a message with this body: who, and which status

sub before {
    my ($a, $body) = @_;
    my @said;

    while (my $stanza = $a->recv_stanza()) {
        last if ($stanza->body() // '') eq $body;

        my ($resource) = $stanza->attr('from') =~ m{/(.*)};

        push @said, "$resource:" . $stanza->find('c:status')
                    . ($stanza->test($delay) ? '+' : '');
    }

    return join ' ', @said;
}


###############################################################################
# In number: what is held goes, then the next one is held

{
    my ($a, @b) = clients('localhost', 4);

    show($a, 1, 0, @b);
    show($a, 2, 0, @b[3, 0]);
    $b[0]->message($a->jid(), 'end');

    is(before($a, 'end'), 'b1:1+ b2:1+ b3:1+ b4:2+ b1:2+',
       'xmpp_csi_stanzas');

    # a later one takes the place of an older one

    show($a, $_, 0, @b[0 .. 2]) for 1 .. 3;
    $b[0]->message($a->jid(), 'end');
    is(before($a, 'end'), 'b1:3+ b2:3+ b3:3+', 'xmpp_csi_stanzas: one of each');
}


###############################################################################
# In bytes

{
    my ($a, @b) = clients('second.test', 4);

    show($a, 1, 600, @b);
    show($a, 2, 600, $b[3]);
    $b[0]->message($a->jid(), 'end');
    is(before($a, 'end'), 'b1:1+ b2:1+ b3:1+ b4:2+', 'xmpp_csi_size');

    show($a, 1, 100, @b);
    show($a, 2, 100, @b);
    $b[0]->message($a->jid(), 'end');
    is(before($a, 'end'), 'b1:2+ b2:2+ b3:2+ b4:2+',
       'xmpp_csi_size: as many as find room');

    # what could not be held at all is sent, behind the others; of its sender
    # it is the last

    show($a, 1, 0, @b);
    show($a, 2, 3000, $b[1]);
    show($a, 3, 0, $b[1]);
    $b[0]->message($a->jid(), 'end');
    is(before($a, 'end'), 'b1:1+ b3:1+ b4:1+ b2:2 b2:3+',
       'xmpp_csi_size: more than that is sent at once');
}


###############################################################################
# It is of the output queue, which has 10000 bytes

{
    my ($a, @b) = clients('fourth.test', 12);

    show($a, 1, 900, @b);
    show($a, 2, 900, $b[0]);
    $b[0]->message($a->jid(), 'end');
    like(before($a, 'end'), qr/^b1:1\+ b2:1\+ .*b12:1\+ b1:2\+$/,
         'xmpp_output_queue');
}


###############################################################################
# What is held goes while a client that acknowledges in time may get it

{
    my ($a, @b) = clients('fifth.test', 12);
    my $sm = 'urn:xmpp:sm:3';
    my ($h, $ended) = (0, 0);

    $a->send("<enable xmlns='$sm'/>");
    $a->expect('enabled', ns => $sm);

    my $acknowledge = sub {
        for my $stanza (@_) {
            $stanza->is('r', $sm) ? $a->send("<a xmlns='$sm' h='$h'/>") : $h++;
            $ended++ if ($stanza->body() // '') eq 'end';
        }
    };

    for my $one (@b) {
        show($a, 1, 0, $one);
        $acknowledge->($a->drain());
    }

    $b[0]->message($a->jid(), 'end');

    while (!$ended && (my $stanza = $a->recv_stanza())) {
        $acknowledge->($stanza);
    }

    is($h, 13, 'xmpp_sm_stanzas: all have come');
}


###############################################################################
# Messages that were kept are not held

{
    my ($a, $b) = clients('fourth.test', 1);
    my $store = "<store xmlns='urn:xmpp:hints'/>";

    $a->presence(priority => -1);
    $a->sync();
    $a->drain();

    $b->message($a->bare(), 'one', type => 'chat');
    $b->message($a->bare(), undef, type => 'chat', id => $_,
                xml => "<active xmlns='$states'/>$store") for qw/ two three /;
    $b->sync();

    $a->presence(priority => 1);
    ok($a->pick('message', body => 'one'), 'XEP-0160: one that was kept');
    ok($a->expect('message', id => $_, xpath => "count($delay) = 1"),
       "XEP-0160: a chat state that was to be stored: $_") for qw/ two three /;

    $b->message($a->jid(), 'end');
    ok($a->expect('presence', from => $a->jid(), xpath => "not($delay)"),
       'RFC 6121, 4.2.2: its own presence comes back at once');
    ok($a->expect('message', body => 'end'), 'XEP-0160: then what is newer');
}


###############################################################################
# Off

{
    my $c = $t->client('alice', domain => 'third.test', password => 'secret',
                       tls => 'none');

    $c->secure();
    ok(!$c->auth()->test("*[namespace-uri() = '$csi']"), 'off: no feature');
    $c->bind();
    $c->send("<inactive xmlns='$csi'/>");
    ok($c->expect_stream_error('unsupported-stanza-type'),
       'RFC 6120, 4.9.3.24: off: not known');
}

$t->done();
