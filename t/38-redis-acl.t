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

    $o->{name} = "no right to the $what";
    $o->begin(sub { $redis->command('ACL', 'SETUSER', 'default', $reset,
                                    $other) });
    $o->says_wait() if $what eq 'keys';
    $o->unknown() if $what eq 'channels';
    $o->answers();
    ok(Test::XMPP::Process::await(sub {
           grep { $t->host($_)->read_log() =~ /\[error\].*NOPERM.*\Q$what\E/ }
               0, 1;
       }), "$o->{name}: the log says so");
    $o->end(sub { $redis->command('ACL', 'SETUSER', 'default', $all) });
}

$o->close();

$t->done();
