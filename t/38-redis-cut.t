#!/usr/bin/perl

# The network between the workers and Redis is cut without a word: nobody gets
# a FIN or a reset, connections are open at both ends and dead.  Redis runs in
# a network namespace of its own, with a pair of virtual interfaces to ours.
#
# All of it lives in namespaces that end with this test.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

BEGIN {
    if (!$ENV{XMPP_TARGET} && !$ENV{XMPP_OWN_NETWORK}) {
        $ENV{XMPP_OWN_NETWORK} = 1;
        exec('unshare', $> ? '-rn' : '-n', $^X, $0) or die "unshare: $!\n";
    }
}

use Test::More;
use Test::XMPP;
use Test::XMPP::Outage;

my $t = Test::XMPP->new(hosts => 0, workers => 1,
                        users => [ qw/ alice bob carol / ],
                        redis => { wrap => [ 'unshare', '-n' ],
                                   port => 6379, bind => '0.0.0.0',
                                   'protected-mode' => 'no' });

$t->only_ours('cuts the network');
ip('link set lo up');

$t->config($Test::XMPP::Outage::CONFIG
           =~ s/unix:%%REDIS%%/redis:10.77.0.2:6379/r);
$t->run();

my $redis = $t->redis();
my $there = 'nsenter -n -t ' . $redis->pid();

ip('link add here type veth peer name there');
ip('link set there netns ' . $redis->pid());
ip('addr add 10.77.0.1/30 dev here');
ip('link set here up');
ip('addr add 10.77.0.2/30 dev there', $there);
ip('link set there up', $there);

$t->start_host() for 0, 1;


my $o = Test::XMPP::Outage->new($t, 'cut');

$o->begin(sub { ip('link set there down', $there) });
$o->unknown();
$o->answers();
ok($t->await_log(qr/got no reply within the timeout; the server is stalled/),
   'cut: the log says so');
$o->refuses_logins();
$o->says_wait();
$o->answers();
ok($t->await_log(qr/subscriber connection got no reply within the timeout/, 5),
   'cut: the subscriber has noticed it, too');
$o->end(sub {
    ip('link set there up', $there);
});

$o->close();
$t->done();


sub ip {
    my ($words, @in) = @_;

    system(join ' ', @in, 'ip', $words) == 0 or die "ip $words: $?\n";
}
