package Test::XMPP::Roster;

# Who has subscribed to whose presence, before a test begins.
#
#   befriend($t, 'alice', 'bob', 'both');       both to each other
#   befriend($t, 'alice', 'bob', 'from');       bob gets alice's presence
#   befriend($t, 'alice', 'bob', 'to');         alice gets bob's
#
# The second user may be "user@domain".  Their clients subscribe, approve, and
# go: when it returns, our server has no record of theirs any more.
#
#   item($t, 'alice@localhost', 'nobody@localhost', 'both');
#
# One side alone, written where our server keeps it; whoever is not there needs
# no account.

use strict;
use warnings;

use Exporter qw/ import /;

use Test::XMPP::Process;

our @EXPORT = qw/ befriend item /;

my %states = (both => 'tf', from => 'f', to => 't');


sub befriend {
    my ($t, $user, $contact, $subscription) = @_;

    my ($name, $domain) = split /@/, $contact;
    my $one = $t->online($user, resource => 'befriend');
    my $two = $t->online($name, domain => $domain // $t->domain(),
                         resource => 'befriend');

    # whoever has asked for the roster is told of changes

    $_->query('get', undef, "<query xmlns='jabber:iq:roster'/>")
        for $one, $two;

    _subscribe($two, $one) if $subscription ne 'to';
    _subscribe($one, $two) if $subscription ne 'from';

    $_->close() for $one, $two;

    return unless $t->ours();

    for my $bare (map { $_->bare() } $one, $two) {
        Test::XMPP::Process::await(sub {
            !defined $t->redis()->command('HGET', "xmpp:{$bare}:sessions",
                                          'rbefriend');
        }) or die "$bare does not go\n";
    }
}


sub _subscribe {
    my ($from, $to) = @_;

    $from->presence(to => $to->bare(), type => 'subscribe');
    $to->pick('presence', type => 'subscribe') or die "not asked\n";
    $to->presence(to => $from->bare(), type => 'subscribed');
    $from->pick('presence', type => 'subscribed') or die "not approved\n";
    $to->sync();
    $from->sync();
}


sub item {
    my ($t, $bare, $contact, $subscription) = @_;

    $t->redis()->command('HSET', "xmpp:{$bare}:roster", "i$contact",
                         "1 $states{$subscription} 0 ");
}


1;
