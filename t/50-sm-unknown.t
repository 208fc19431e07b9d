#!/usr/bin/perl

# XEP-0198, 4: a stanza counts as handled when Redis has it.  While nobody knows
# whether it has, since it does not answer, the stanza is tried again under its
# identity, and <r/> is not answered (docs/internals/cluster.md, rules 2 and 3).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Resume;

my $t = Test::XMPP->new(workers => 1, relay => 0,
                        users => [ qw/ alice bob carol / ])
                  ->only_ours('stops Redis');

$t->config(<<'EOC');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis          unix:%%RELAY%%;
    xmpp_redis_timeout  1s;
    xmpp_drain_time     20s;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
EOC

$t->run();

my $sm = 'urn:xmpp:sm:3';
my $alice = $t->online('alice');
my $bob = $t->online('bob');

$bob->send("<enable xmlns='$sm'/>");
ok($bob->pick('enabled'), 'enabled');

$t->redis()->pause();
$bob->message($alice->jid(), 'unknown', type => 'chat');
$bob->send("<r xmlns='$sm'/>");

# by then it was given up before

my $silent = qr/command connection got no/;

ok(Test::XMPP::Process::await(sub {
       (() = $t->host(0)->read_log() =~ /$silent/g) >= 2;
   }, 60), 'Redis does not answer for long');
is(join(' ', map { $_->raw() } $bob->drain()), '', 'nor is <r/> answered');
unlike($t->host(0)->read_log(), qr/does not know whether/, 'nor given up');

$t->redis()->resume();
ok($bob->pick('a', h => 1), 'XEP-0198, 4: answered when it is handled');
ok($alice->pick('message', body => 'unknown'), 'it has come');
ok($bob->sync(), 'and all goes on');
$bob->message($alice->jid(), 'last', type => 'chat');
is(join(' ', map { $_->body() // () } $alice->pick('message', body => 'last'),
        grep { $_->is('message') } $alice->drain()), 'last', 'once');



###############################################################################
# Its worker goes meanwhile: what was not handled for certain does not count

my $resume = Test::XMPP::Resume->new($t);
my $carol = $resume->resumable('carol', resource => 'c');

$resume->ack($carol);

my $h = $resume->handled($carol);
my $before = () = $t->host(0)->read_log() =~ /$silent/g;

$t->relay()->hold();
$carol->message('alice@localhost', 'nowhere', type => 'chat');
ok(Test::XMPP::Process::await(sub {
       (() = $t->host(0)->read_log() =~ /$silent/g) >= $before + 2;
   }, 60), 'Redis does not answer for long, and hears nothing');
my @old = $t->host(0)->reload();

ok($carol->wait(sub { defined $carol->{eof} }, 30), 'a reload');

# its next try is over, too

$before = () = $t->host(0)->read_log() =~ /$silent/g;
ok(Test::XMPP::Process::await(sub {
       (() = $t->host(0)->read_log() =~ /$silent/g) > $before;
   }, 60), 'Redis hears nothing still');
$t->relay()->cut();
$t->relay()->release();

# it has left what it knows

ok(Test::XMPP::Process::await(sub { !grep { kill 0, $_ } @old }, 60),
   'its worker ends');

my $new = $resume->resumed($carol);

ok($new, 'XEP-0198, 5: resumed');

# it sends again what does not count; alice was not resumed

$new->message('alice@localhost', 'nowhere', type => 'chat')
    if $new->{handled} == $h;
$alice = $t->online('alice');
ok($alice->pick('message', body => 'nowhere'),
   'XEP-0198, 4: what counts comes');
$new->message($alice->jid(), 'last', type => 'chat');
is($resume->got($alice, 'last'), 'last', 'once');

$t->done();
