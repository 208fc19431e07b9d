#!/usr/bin/perl

# WebSocket and what lasts longer than a connection: sessions that go from TCP
# to WebSocket and back (RFC 7395, 3.10; XEP-0198, 5), reloads, silent clients,
# and passwords that are bound to the TLS of HTTPS (RFC 5802, 6).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

my $t = Test::XMPP->new(users => [ qw/ alice bob carol / ])->only_ours();

$t->config(<<'EOC');
%%GLOBALS%%
events {
    worker_connections  1024;
}

http {
    ssl_certificate      %%TESTDIR%%/localhost.pem;
    ssl_certificate_key  %%TESTDIR%%/localhost.key;
    ssl_protocols        TLSv1.2 TLSv1.3;

    server {
        listen  127.0.0.1:%%PORT_2%% ssl;

        location = /xmpp-websocket {
            xmpp_websocket;
        }
    }
}

stream {
    xmpp_redis          unix:%%REDIS%%;
    xmpp_idle_timeout   1s;
    xmpp_probe_timeout  1s;
    xmpp_drain_time     1s;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen             127.0.0.1:%%PORT_0%%;
        xmpp_idle_timeout  10m;
        xmpp_c2s;
    }
}
EOC

$t->run();

my %NS = %Test::XMPP::WebSocket::NS;
my ($domain, $redis) = ($t->domain(), $t->redis());
my $sm = 'urn:xmpp:sm:3';


# the binding of HTTPS: RFC 5929, RFC 9266

for my $version (qw/ TLSv1_2 TLSv1_3 /) {
    my $c = $t->client('alice', websocket => 1, tls_version => $version);
    my @types;

    $c->secure();
    @types = $c->bindings();
    ok(scalar @types, "$version: channel binding is offered: @types");

    for my $type (@types) {
        for my $right (1, 0) {
            my $c = $t->client('alice', websocket => 1,
                               tls_version => $version);

            $c->secure();

            my $bytes = $c->binding($type, 'SHA256');
            my $outcome = $c->authenticate(
                mechanism => 'SCRAM-SHA-256-PLUS', binding => $type,
                bytes => $right ? $bytes : $bytes ^ "\x01");

            is($outcome && $outcome->name(), $right ? 'success' : 'failure',
               "$version: by $type, " . ($right ? 'the right' : 'another')
               . ' one');
        }
    }
}


# sessions that may be resumed

sub resumable {
    my ($user, %opt) = @_;
    my $c = $t->client($user, %opt)->login();

    $c->send("<enable xmlns='$sm' resume='true'/>");

    my $enabled = $c->pick('enabled', ns => $sm, id => qr/./)
        or die "not enabled\n";

    $c->{sm} = $enabled->attr('id');

    return $c->available();
}

sub detached {
    my ($c) = @_;
    my ($bare, $resource) = split m{/}, $c->jid(), 2;

    return Test::XMPP::Process::await(sub {
        ($redis->command('HGET', "xmpp:{$bare}:sessions", "r$resource") // '')
            =~ /^\S+ \S+ \S+ \S+ \S*d/
    });
}

sub resume {
    my ($c, %opt) = @_;
    my $new = $t->client($c->{user}, %opt);

    $new->secure();
    $new->auth();
    @$new{qw/ jid bare sm stanzas /} = @$c{qw/ jid bare sm stanzas /};
    $new->send("<resume xmlns='$sm' h='$c->{stanzas}' previd='$c->{sm}'/>");

    return $new->pick('resumed', ns => $sm, previd => $c->{sm}) && $new;
}

my %tcp;
my %ws = (websocket => 1);
my $bob = $t->online('bob', resource => 'b');

for ([ 'TCP to WebSocket', \%tcp, \%ws, sub { $_[0]->drop() } ],
     [ 'WebSocket to TCP', \%ws, \%tcp, sub { $_[0]->drop() } ],
     [ 'WebSocket to WebSocket', \%ws, \%ws, sub { $_[0]->drop() } ],
     [ 'a page that was closed', \%ws, \%ws, sub {
           $_[0]->send_frame(close => pack 'n', 1001);
           ok($_[0]->expect_break(1001), 'RFC 6455, 5.5.1: the code is sent');
       } ])
{
    my ($name, $from, $to, $lose) = @$_;
    my $alice = resumable('alice', %$from, resource => 'r');

    $lose->($alice);
    ok(detached($alice), "$name: the session waits");
    $bob->message($alice->jid(), "while away: $_") for 1, 2;
    $bob->sync();

    my $back = resume($alice, %$to);

    ok($back, 'RFC 7395, 3.10: it is resumed');
    ok($back->pick('message', body => "while away: $_"), 'nothing is lost')
        for 1, 2;
    $back->message($bob->jid(), "from $name");
    ok($bob->pick('message', body => "from $name", from => $alice->jid()),
       'and it goes on');
    $back->send("<a xmlns='$sm' h='$back->{stanzas}'/>");
    $back->sync();
    $back->close();
}

# with <close/> it ends: RFC 7395, 3.6

{
    my $alice = resumable('alice', %ws, resource => 'r');

    $alice->send("<close xmlns='$NS{framing}'/>");
    ok($alice->pick_end(), '<close/> is answered');
    ok(Test::XMPP::Process::await(sub {
           !defined $redis->command('HGET', 'xmpp:{' . $alice->bare()
                                    . '}:sessions', 'rr')
       }), 'RFC 7395, 3.6: and ends the session');
}


# a silent client: RFC 7395, 3.8; with stream management it is asked by <r/>

{
    my $alice = $t->client('alice', %ws)->login();

    $alice->wait(sub { ($alice->{pings} // 0) >= 2 });
    is($alice->{pings}, 2, 'who answers a Ping frame is asked again');
    ok($alice->sync(), 'and stays');
    $alice->close();

    my $mute = $t->client('carol', %ws, mute => 1)->login();

    ok($mute->expect_stream_error('connection-timeout'),
       'who does not answer is closed');
    is($mute->{pings}, 1, 'after a Ping frame');

    my $sm = resumable('carol', %ws);

    ok($sm->pick('r', ns => 'urn:xmpp:sm:3'), 'XEP-0198, 4: <r/> instead');
    $sm->drop();
}


# a reload: sessions that may be resumed break, the others end

{
    my @alice = map { resumable('alice', %ws, resource => "r$_") } 1 .. 4;
    my @carol = map { $t->client('carol', %ws)->login() } 1 .. 4;

    $_->{mute} = 0 for @alice, @carol;
    $t->reload();

    for my $c (@carol) {
        ok($c->pick_error('system-shutdown'), 'reload: a stream error');
        is($c->{close_code}, 1012, 'RFC 6455, 11.7: service restart');
    }

    for my $c (@alice) {
        $c->wait(sub { defined $c->{eof} });
        is($c->{close_code}, 1012, 'reload: a Close frame');
        ok(!defined $c->{closed}, 'and no <close/>');
    }

    my $bob = $t->online('bob', resource => 'b');

    for my $i (0 .. $#alice) {
        my $back = resume($alice[$i], $i & 1 ? %tcp : %ws);

        ok($back, 'the session is resumed in the new worker');
        $back->message($bob->jid(), "after the reload: $i");
        ok($bob->pick('message', body => "after the reload: $i"),
           'and goes on');
    }
}

# and when the server stops there is nobody to wait for

{
    my $carol = $t->client('carol', %ws)->login();

    $t->host()->stop('TERM');
    ok($carol->pick_error('system-shutdown'), 'a stop: a stream error');
    is($carol->{close_code}, 1012);
}

$t->done();
