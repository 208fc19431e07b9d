#!/usr/bin/perl

# A session whose worker was killed, and whose client does not simply send again
# all that it was not told of: XEP-0198, 5; cluster.md, rules 2 and 14.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Resume;

my $t = Test::XMPP->new(hosts => 3, workers => 1, users => [ qw/ alice bob / ]);

$t->only_ours('kills workers');

$t->config(<<'EOC');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis      unix:%%REDIS%%;
    xmpp_heartbeat  60s;

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

my $redis = $t->redis();
my $sm = Test::XMPP::Resume->new($t);
my $bob = $t->online('bob', on => 2, resource => 'b');


# a message of its client; with the id that it has, if it has one

sub says {
    my ($client, $body, %opt) = @_;
    my $id = $opt{id} ? " id='$body'" : '';

    $client->send("<message type='chat' to='" . $bob->jid() . "'$id>"
                  . "<body>$body</body>" . ($opt{more} // '') . '</message>');
}

# alice has told bob one, two and three, and was not told that this was handled,
# when the worker that has her session is killed; resumed on the other

sub rebuilt {
    my ($alice, $on, %opt) = @_;

    $sm->ack($alice);

    my $h = $sm->handled($alice);

    says($alice, $_, %opt) for qw/ one two three /;
    $bob->pick('message', body => 'three');
    $bob->drain();

    $t->host(1 - $on)->kill_worker();
    $alice->wait(sub { defined $alice->{eof} });

    my $new = $sm->resumed($alice, on => $on);

    is($new->{handled}, $h, 'what it was told was handled is');

    return $new;
}

sub gone {
    my ($client) = @_;
    my ($bare, $resource) = split m{/}, $client->jid(), 2;

    $client->close();
    Test::XMPP::Process::await(sub {
        !$redis->command('HEXISTS', "xmpp:{$bare}:sessions", "r$resource")
    }) or die "the record stays\n";
}


for my $id (0, 1) {
    my @id = (id => $id);
    my $how = $id ? 'with ids' : 'without ids';
    my $alice = $sm->resumable('alice', on => 0, resource => "r$id");
    my $new = rebuilt($alice, 1, @id);

    # it sends something else

    says($new, $_, @id) for 'new', 'newer';
    $sm->handled($new);
    is($sm->got($bob), 'new newer', "$how: what is new is not lost");

    # it leaves some out, which were not worth it any more

    $sm->lose($new);
    $new = rebuilt($sm->resumed($new, on => 1), 0, @id);
    says($new, $_, @id) for qw/ two newest three /;
    is($sm->handled($new), $new->{handled} + 3, 'XEP-0198, 4: it counts');
    is($sm->got($bob), 'newest', "$how: nothing comes twice, nothing is lost");

    # and is killed again before it could say more than one

    $new = rebuilt($new, 1, @id);
    says($new, 'one', @id);
    $new->sync();
    $t->host(1)->kill_worker();
    $new->wait(sub { defined $new->{eof} });
    $new = $sm->resumed($new, on => 0);
    says($new, $_, @id) for qw/ one two three four /;
    is($sm->handled($new), $new->{handled} + 4, 'killed twice');
    is($sm->got($bob), 'four', "$how: nothing comes twice, nothing is lost");
    gone($new);
}


# Some clients say when it was (XEP-0203)

{
    my $alice = $sm->resumable('alice', on => 0, resource => 'delay');
    my $new = rebuilt($alice, 1, id => 1);

    says($new, $_, id => 1, more => "<delay xmlns='urn:xmpp:delay' "
                                    . "stamp='2026-01-01T00:00:00Z'/>")
        for qw/ one two three four /;
    $sm->handled($new);
    is($sm->got($bob), 'four', 'XEP-0203: what is delayed is the same');
    gone($new);
}


# Its own other client gets copies of it, once

{
    my $alice = $sm->resumable('alice', on => 0, resource => 'copied');
    my $other = $t->online('alice', on => 2, resource => 'other');

    $other->query('set', undef, "<enable xmlns='urn:xmpp:carbons:2'/>");

    my $new = rebuilt($alice, 1);

    $other->sync();
    $other->drain();
    says($new, $_) for qw/ two new three /;
    $sm->handled($new);
    is($sm->got($bob), 'new', 'XEP-0280: what is new comes');

    # what rings for one account comes in order

    $bob->message($other->jid(), 'mark', type => 'headline');

    my @copies;

    while (my $stanza = $other->recv_stanza()) {
        last if ($stanza->body() // '') eq 'mark';
        push @copies, $stanza->to_string() =~ m{<body>(.*?)</body>};
    }

    is("@copies", 'new', 'XEP-0280: and is copied, once');
    $other->close();
    gone($new);
}

$t->done();
