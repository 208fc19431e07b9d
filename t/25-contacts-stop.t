#!/usr/bin/perl

# A worker ends, or Redis does, and all of its sessions have contacts: each is
# told (RFC 6121, 4.5.2), in the time that there is; whoever comes back
# meanwhile is not taken for gone (cluster.md, rule 4); and no record goes
# before its contacts have heard of the end.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/traffic";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Roster;
use Traffic;

*await = \&Test::XMPP::Process::await;

my $N = 24;                             # sessions
my $CONTACTS = 200;                     # of each, beside bob
my $MANY = 5000;

my $t = Test::XMPP->new(hosts => 2, workers => 2, users => [ 'bob' ]);

$t->only_ours('stops nginx');
$t->config(Traffic::config('xmpp_redis unix:%%REDIS%%;
                            xmpp_drain_time 1s;'));
$t->run();

my $redis = $t->redis();
my $domain = $t->domain();

# sanitizers are slow at the end
my $slow = `\Q@{[ Test::XMPP::Nginx::binary() ]}\E -V 2>&1` =~ /-fsanitize/;

for my $i (1 .. $N) {
    $t->add_user("user$i", $domain, 'secret');
    contacts($i, $CONTACTS);
    befriend($t, "user$i", 'bob', 'both');
}

# so many who are nowhere

sub contacts {
    my ($i, $n) = @_;

    $redis->command('HSET', "xmpp:{user$i\@$domain}:roster",
                    map { ("inobody$_\@$domain", '1 f 0 ') } 1 .. $n);
}


my $bob = $t->online('bob', on => 1, resource => 'b');

sub login {
    my ($i, $on) = @_;

    return $t->online("user$i", on => $on // 0, resource => 'r');
}

# Records of the users, "state" by user

sub records {
    my %records;

    for my $i (1 .. $N) {
        my $record = $redis->command('HGET', "xmpp:{user$i\@$domain}:sessions",
                                     'rr');
        $records{$i} = (split ' ', $record)[3] if defined $record;
    }

    return %records;
}

# all are there, and bob has heard of it

sub all_here {
    my @all = map { login($_) } 1 .. $N;

    $bob->pick('presence', from => $_->jid(), type => undef) for @all;

    return @all;
}

sub told {
    my ($name, @all) = @_;
    my @silent = grep {
        !$bob->pick('presence', from => $_->jid(), type => 'unavailable')
    } @all;

    is(scalar @silent, 0, "$name: contacts are told of all");
    ok(await(sub { my %left = records(); !%left }, 15),
       "$name: and no record stays");
}


###############################################################################
# Reload, quit, stop

{
    my @all = all_here();

    $t->reload();
    told('reload', @all);
}

{
    my @all = all_here();

    $t->host(0)->{process}->kill('QUIT');
    told('quit', @all);
    await(sub { !$t->host(0)->{process}->alive() });
    $t->host(0)->start();
}

{
    my @all = all_here();

    $t->host(0)->{process}->kill('TERM');
    told('stop', @all);
    await(sub { !$t->host(0)->{process}->alive() });
    $t->host(0)->start();
}


# Who comes back at once, with the same resource, stays

{
    my @all = all_here();

    $_->sync(), $_->drain() for $bob;
    $t->reload();

    my @back = map {
        my $i = $_;

        $all[$i - 1]->drop();
        login($i);
    } 1 .. $N;

    # the old workers have ended all they had

    ok(await(sub { my @all = $t->host(0)->workers('all'); @all == 2 }, 15),
       'back after a reload: the old workers are gone');
    $_->sync() for @back;

    my %last;

    $bob->sync();
    $last{ $_->attr('from') } = $_->attr('type') // 'here'
        for grep { $_->is('presence') } $bob->drain();

    is(scalar(grep { ($last{ $_->jid() } // '') ne 'here' } @back), 0,
       'back after a reload: and is not taken for gone');
    $_->close() for @back;
    told('back after a reload, and gone', @back);
}


# More contacts than can be told in the time that a stop has: nobody is
# forgotten before they were told

{
    contacts($_, $MANY) for 1 .. $N;

    my @all = all_here();
    my $host = $t->host(0);

    $host->{process}->kill('TERM');
    ok(await(sub { !$host->{process}->alive() }, $slow ? 10 : 4),
       'too many for a stop: it ends in time');

    my %left = records();

    $bob->sync();

    my %heard = map { $_->attr('from') => 1 }
                grep { ($_->attr('type') // '') eq 'unavailable' }
                $bob->drain();
    my @forgotten = grep { !$left{$_} && !$heard{"user$_\@$domain/r"} }
                    1 .. $N;

    cmp_ok(scalar keys %left, '>', 0, 'too many for a stop: some are left: '
           . join ' ', map { "$_:$left{$_}" } sort keys %left);
    is("@forgotten", '',
       'too many for a stop: who has no record has been told of');
    like($host->read_log(), qr/xmpp stopped before all was done/,
         'too many for a stop: the log says so');

    # whoever finds the records tells: here those who come back

    $host->start();

    my @back = map { login($_) } grep { $left{$_} } 1 .. $N;

    is(scalar(grep { !$bob->pick('presence', from => $_->jid(), type => undef) }
                   @back), 0, 'too many for a stop: they are back');
    $_->close() for @back;
    told('too many for a stop, back and gone', @back);
}


###############################################################################
# Redis is killed and comes back empty, while sessions end

{
    $t->expect_log(qr/./);                  # what Redis does is its affair

    my @all = map { login($_) } 1 .. 3;

    $bob->sync();
    $bob->drain();
    $redis->kill9();
    $_->drop() for @all;
    $redis->start();
    $t->add_user('bob', $domain, 'bob-secret');
    ok(await(sub { my %left = records(); !%left }, 15),
       'Redis lost all: no record comes back');
    $bob->close();
}

$t->done();
