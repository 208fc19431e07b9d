#!/usr/bin/perl

# A worker that does not hear that another has taken a session of its own learns
# it in another way, and gives it away all the same: XEP-0198, 5; cluster.md,
# rules 1 and 4.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Resume;

my $t = Test::XMPP->new(hosts => 3, workers => 1, relay => 0,
                        users => [ qw/ alice bob carol / ]);

$t->only_ours('has several hosts');

my $config = <<'EOC';
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

# host 0 has the session, and does not hear bells of kind h

$t->config($config);
$t->config($config =~ s/%%REDIS%%/%%RELAY%%/r, host => 0);
$t->run();

my $redis = $t->redis();
my $relay = $t->relay();
my $sm = Test::XMPP::Resume->new($t);
my $ping = "<ping xmlns='urn:xmpp:ping'/>";
my $bob = $t->online('bob', on => 2, resource => 'b');
my $carol = $t->online('carol', on => 0, resource => 'c');


sub epoch {
    return (split / /, $redis->command('HGET',
                                       'xmpp:{alice@localhost}:sessions',
                                       'rr') // '')[0] // '';
}

sub await {
    my ($what, $condition) = @_;

    Test::XMPP::Process::await($condition) or die "$what\n";
}


# what makes it ask Redis, or hear of the session

my %learns = (
    'the count of its client is refused' => sub {
        my ($alice) = @_;

        $alice->message($bob->jid(), 'more', type => 'chat');
        $alice->send("<r xmlns='urn:xmpp:sm:3'/>");
    },
    'something rings for the other' => sub {
        my ($alice) = @_;

        $bob->send("<iq type='get' id='later' to='" . $alice->jid()
                   . "'>$ping</iq>");
    }
);

for my $how (sort keys %learns) {
    my $alice = $sm->resumable('alice', on => 0, resource => 'r');

    $sm->ack($alice);
    $alice->drain();

    my $seen = $alice->{stanzas};
    my $epoch = epoch();

    # it has not acknowledged this

    $bob->iq('get', $alice->jid(), $ping, id => 'asked');
    $alice->pick('iq', id => 'asked');

    my $new = $sm->back($alice, on => 1);

    $new->{stanzas} = $seen;
    $relay->swallow('1h ');
    $sm->resume($new, $seen);
    await('it is not taken', sub { epoch() ne $epoch });

    # the first may be lost together with the bell

    await('the old stream stands', sub {
        $learns{$how}->($alice);
        $alice->wait(sub { 0 }, 0.05);

        return defined $alice->{eof};
    });

    ok($new->pick('resumed'), "$how: resumed");
    $relay->swallow();

    # what host 0 has sent by then has come

    $carol->message($bob->jid(), 'mark', type => 'chat');
    is($sm->got($bob, 'mark') =~ s/more //gr, 'mark',
       'cluster.md, rule 1: nothing comes back to who has sent it');
    $alice->drop();
    $sm->ack($new);
    $new->close();
    await('the record stays', sub { !epoch() });
    $bob->drain();
}

$t->done();
