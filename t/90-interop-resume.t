#!/usr/bin/perl

# Real clients resume their sessions, by their own means: XEP-0198, 5.  What
# happens to the host meanwhile is told in @breaks.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/interop";

use Test::More;
use Interop;
use Resume;
use Test::XMPP;
use Test::XMPP::Roster;

my $t = Test::XMPP->new(hosts => 3, workers => 1, users => [qw/ alice bob /])
                  ->only_ours();

$t->run();
befriend($t, 'alice', 'bob', 'both');

my @breaks = (
    [ 'cut' => sub { $_[0]{relay}->cut() } ],
    [ 'cut, and the server has not noticed' => sub { $_[0]{relay}->strand() } ],
    [ 'on another host' => sub { $_[0]->move(); $_[0]{relay}->cut() } ],
    [ 'cut, and a reload' => sub {
        $_[0]->host()->reload();
        $_[0]{relay}->cut();
    } ],
    [ 'a reload' => sub { $_[0]->host()->reload(); $_[0]->release() } ],
    [ 'a stopped host' => sub {
        my ($self) = @_;
        my $host = $self->host();

        $self->move();
        $self->release();
        $host->stop();
        $host->start();
    } ],
    [ 'a killed worker' => sub {
        $_[0]->host()->kill_worker();
        $_[0]{relay}->cut();
    } ],
    [ 'a killed host' => sub {
        my ($self) = @_;
        my $host = $self->host();

        $host->kill_host();
        $self->move();
        $self->{relay}->cut();
        $host->start();
    } ],
);

for my $client (qw/ slixmpp nbxmpp libstrophe profanity /) {
    my $missing = Interop::missing($client);

    subtest $client => sub {
        plan(skip_all => $missing) if $missing;
        Interop::Resume::binds($t, $client);
        Interop::Resume::resumes($t, $client, @$_) for @breaks;
    };
}

$t->done();
