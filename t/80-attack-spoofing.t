#!/usr/bin/perl

# From spoofing: whoever a stanza says it is from, what arrives is from the full
# JID of the session that sent it, or nothing arrives.  RFC 6120, 8.1.2.1 and
# 13.11.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ qw/ alice bob carol / ])->only_ours();



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
my $bob = $t->online('bob', resource => 'b');
my $carol = $t->client('carol', resource => 'c')->login();
my $to = $bob->jid();

sub mallory {
    return $t->client('alice', tls => 'none', mechanism => 'SCRAM-SHA-1',
                      resource => 'm')->login();
}

my $c = mallory();
my $me = $c->jid();


###############################################################################
# From another: no stanza of any kind is delivered, and the stream ends

my @others = ($carol->jid(), $carol->bare(), $bob->jid(), $bob->bare(),
              'alice@localhost/other', 'alice@second.test', 'alice@localhost/M',
              'alice@second.test/m', 'localhost', 'second.test', 'x.test',
              'alice@localhost.test/m', 'alice@localhost/m/m', 'alice/m', '@',
              'alice@localhost/', 'аlice@localhost/m', "alice\@localhost/m ",
              ' ', '', 'localhost/alice@localhost/m');

for my $from (@others) {
    for my $kind (qw/ message presence iq /) {
        my %attrs = (to => $to, from => $from, id => 'x',
                     $kind eq 'iq' ? (type => 'get') : ());

        $c = mallory();
        $c->send(Test::XMPP::Client::stanza($kind, \%attrs,
                 $kind eq 'iq' ? "<ping xmlns='$NS{ping}'/>" : '<body/>'));
        ok($c->expect_stream_error('invalid-from'),
           "RFC 6120, 8.1.2.1: $kind from '$from'");
    }

    ok($bob->expect_nothing(from => $carol), 'none of them is delivered');
}


###############################################################################
# From oneself in other words: it arrives from the full JID, and that alone

$c = mallory();

for my $from (undef, $me, $c->bare(), 'ALICE@LOCALHOST/m', 'alice@localhost.',
              "\x{FF41}lice\@localhost/m")
{
    $c->message($to, 'x', from => $from);
    ok($bob->expect('message', from => $me, body => 'x'),
       'from ' . ($from // 'nobody'));
}

# an attribute of another namespace is none of from

for my $prefix ("xmlns:p='urn:p'", "xmlns:p='$NS{c}'",
                "xmlns:p='jabber:server'")
{
    $c->send("<message to='$to' $prefix p:from='$to' p:to='$to'/>");

    my $got = $bob->expect('message', from => $me, to => $to);

    ok($got, "with $prefix");
    unlike($got && $got->raw(), qr/ from=.* from=/, 'and from is there once');
}

# entities and white space are no way around

for my $from ('carol&#64;localhost', "&#x63;arol\@localhost", "\ncarol",
              "alice\@localhost/m&#10;")
{
    my $d = mallory();

    $d->send("<message to='$to' from='$from'/>");
    ok($d->expect_stream_error('invalid-from'), "from='$from'");
}


###############################################################################
# What the server answers is from who was asked, and to who asked

$c = mallory();

for my $asked ('localhost', $bob->bare(), $bob->jid() . '/none',
               'nowhere.test', 'carol@localhost/none')
{
    my $answer = $c->query('get', $asked, "<ping xmlns='$NS{ping}'/>");

    is(join(' ', map { $answer->attr($_) } qw/ from to /), "$asked $me",
       "asked: $asked");
}

# an answer to a question that another was asked is told from whom it is

my $id = $bob->iq('get', $carol->jid(), "<ping xmlns='$NS{ping}'/>");

$carol->expect('iq', id => $id);
$c->iq('result', $to, '', id => $id);
is($bob->pick('iq', id => $id)->attr('from'), $me,
   'an answer of another is seen to be one');

# presence of others is not the sender's to give, nor what it wraps

for my $stanza ("<presence to='$to' from='$me'><show>dnd</show></presence>",
                "<message to='$to'><forwarded xmlns='urn:xmpp:forward:0'>"
                . "<message xmlns='$NS{c}' from='carol\@localhost/c' to='$to'/>"
                . '</forwarded></message>')
{
    $c->send($stanza);
    is($bob->recv_stanza()->attr('from'), $me, 'the outermost from counts');
}


###############################################################################
# Before anything is bound there is nobody that a stanza could be from

for my $kind (qw/ message presence iq /) {
    my $d = $t->client('alice', tls => 'none', mechanism => 'SCRAM-SHA-1');

    $d->connect()->open_stream();
    $d->auth();
    $d->send("<$kind to='$to' from='alice\@localhost/m' id='1' type='get'/>");
    ok($d->expect_stream_error('not-authorized'), "unbound: $kind");
}

ok($bob->expect_nothing(from => $carol), 'none of that was delivered');

$t->done();
