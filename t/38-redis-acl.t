#!/usr/bin/perl

# Rights that the user of the workers lacks, or loses (ACL SETUSER): the log
# names the command, the keys or the channels, and the way out; and all goes on
# by itself when they are given.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Outage;
use Test::XMPP::Process;

my $t = Test::XMPP->new(hosts => 2, workers => 1,
                        users => [ qw/ alice bob carol / ]);

$t->only_ours('torments Redis');
$t->config($Test::XMPP::Outage::CONFIG);
$t->run();

my $redis = $t->redis();
my $o = Test::XMPP::Outage->new($t, 'all rights');

for my $case ([ 'hmget', 'login', 'HMGET' ], [ 'fcall', 'message', 'FCALL' ]) {
    my ($right, $what, $command) = @$case;

    $o->{name} = "no $command";
    $o->begin(sub { $redis->command('ACL', 'SETUSER', 'default',
                                    "-$right") });
    $what eq 'login' ? $o->refuses_logins() : $o->says_wait();
    $o->answers();
    ok(Test::XMPP::Process::await(sub {
           grep { $t->host($_)->read_log()
                  =~ /Redis refused "$command.*"NOPERM.*; give its/i } 0, 1;
       }), "$o->{name}: the log names the right");
    $o->end(sub { $redis->command('ACL', 'SETUSER', 'default', '+@all') });
}

# keys and channels of another prefix

for my $case ([ 'keys', 'resetkeys', '~other:*', 'allkeys' ],
              [ 'channels', 'resetchannels', '&other/*', 'allchannels' ])
{
    my ($what, $reset, $other, $all) = @$case;
    my $word = $what =~ s/s$//r;                # "a key", or "the keys"

    $o->{name} = "no right to the $what";
    $o->begin(sub { $redis->command('ACL', 'SETUSER', 'default', $reset,
                                    $other) });
    $o->says_wait();
    $o->refuses_logins() if $what eq 'keys';
    ends_at_binding() if $what eq 'channels';
    $o->answers();
    ok(Test::XMPP::Process::await(sub {
           grep { $t->host($_)->read_log() =~ /\[error\].*NOPERM.* $word/ }
               0, 1;
       }), "$o->{name}: the log says so");
    $o->end(sub { $redis->command('ACL', 'SETUSER', 'default', $all) });
}

# a bell that a Function may not ring, while subscriptions go on

$o->{name} = 'no SPUBLISH';
$o->begin(sub { $redis->command('ACL', 'SETUSER', 'default', '-spublish') });
$o->says_wait();
$o->answers();

for ([ route => qr/"NOPERM SPUBLISH: .*; give its user the rights/ ],
     [ presence => qr/"ERR .*xmpp1_presence.*; it may have run in part/ ])
{
    my ($function, $log) = @$_;

    if ($function eq 'presence') {
        $o->alice()->send("<presence id='p'/>");
        my $error = $o->alice()->pick('presence', id => 'p', type => 'error');
        like($error && $error->error(), qr/^wait /, "$o->{name}: presence");
    }

    ok($t->host(0)->await_log(qr/Redis refused "FCALL xmpp1_$function".*$log/),
       "$o->{name}: the log names the Function, and the right");
}

$o->end(sub { $redis->command('ACL', 'SETUSER', 'default', '+@all') });

$o->close();

$t->done();


# Nobody is bound: the password was right, the subscription is refused

sub ends_at_binding {
    for my $host (0, 1) {
        my $c = $t->client('carol', on => $host);

        $c->secure();
        is($c->authenticate()->name(), 'success',
           "$o->{name}: host $host: a login,");
        $c->open_stream();
        like(eval { $c->bind() } // $@, qr/\bwait\b/,
             'which ends at resource binding');
        $c->drop();
    }
}
