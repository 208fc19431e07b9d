package Scenario;

# What is measured.  A scenario is a part of the run that is done whole: it
# has one row of the table or more, and a way to measure it (Measure.pm).
#
#   name      also of its file of results; SCENARIOS names them, with * and ?
#   way       the function of Measure.pm
#   rows      [ name, group, title, unit ]; those in % are no cost
#   servers   who takes part, where not all do
#   floors    servers that are a floor and take part as the others do
#   floor     there is one that is measured by itself (Floor.pm)
#   with      what its servers do besides: servers of its own, that begin
#             empty and end with it
#
# and options of the way.

use strict;
use warnings;

use Server;

our @OURS = qw/ worker workers hosts /;
our @PEERS = qw/ ejabberd prosody /;
our @FLOORS = qw/ floor proxy /;
our @COLUMNS = (@FLOORS, @OURS, @PEERS);

our %TITLE = (
    floor    => 'floor',
    proxy    => 'nginx proxy',
    worker   => 'one worker',
    workers  => 'two workers',
    hosts    => 'two hosts',
    ejabberd => 'ejabberd',
    prosody  => 'Prosody',
);

# of rows, a table each
our %GROUP = (
    message  => 'A message',
    archive  => 'A message with archive',
    presence => 'A change of presence',
    rate     => '500 messages a second',
    latency  => '500 messages a second, latency',
    login    => 'A login',
    storm    => 'A login among 500 at once',
    back     => '500 at once, until all are back',
    memory   => 'An idle session',
    sessions => 'A message, by sessions',
);

our @GROUPS = qw/ message archive presence rate latency login storm back
                 memory sessions /;

our @ALL = (
    message('full-plain', 'full JID, no TLS', 'plain', full => 100),
    message('full-tls', 'full JID, TLS', 'tls', full => 100),
    message('bare-plain', 'bare JID, no TLS', 'plain', full => 0),
    message('bare-tls', 'bare JID, TLS', 'tls', full => 0),
    message('one-full-plain', 'full JID, no TLS, one at a time', 'plain',
            full => 100, window => 1),
    message('one-full-tls', 'full JID, TLS, one at a time', 'tls',
            full => 100, window => 1),
    message('one-bare-tls', 'bare JID, TLS, one at a time', 'tls',
            full => 0, window => 1),
    archive('full', 'full JID, TLS', full => 100),
    archive('bare', 'bare JID, TLS', full => 0),
    archive('sm', 'full JID, TLS, stream management', full => 100, sm => 1),
    presence('plain', 'no TLS', 'plain'),
    rate('plain', 'no TLS'),
    rate('tls', 'TLS'),
    login('plain', 'no TLS', 'plain'),
    login('ec', 'TLS, P-256', 'tls', key => 'ec'),
    login('starttls', 'STARTTLS, P-256', 'starttls', key => 'ec'),
    login('rsa', 'TLS, RSA-2048', 'rsa', key => 'rsa'),
    storm('plain', 'no TLS', 'plain'),
    storm('tls', 'TLS', 'tls'),
    storm('tickets', 'TLS, sessions are resumed', 'tls', tickets => 1),
    memory('plain', 'no TLS'),
    memory('tls', 'TLS'),
    memory('websocket', 'WebSocket, TLS'),
    sessions(2),
    sessions(100),
    sessions(1000),
    sessions(10_000),
);


# 200 sessions, in pairs

sub message {
    my ($name, $title, $kind, %opt) = @_;

    return { name => "message-$name", way => 'traffic',
             kind => $kind, floors => \@FLOORS,
             options => { clients => 200, pairs => 1, window => 8, %opt },
             rows => [ [ "message-$name", 'message', $title, 'us' ] ] };
}


# the same, each of them in the archives of both accounts

sub archive {
    my ($name, $title, %opt) = @_;

    return { name => "archive-$name", way => 'archives', kind => 'tls',
             with => { archive => 1, sm => $opt{sm} // 0 },
             options => { clients => 200, pairs => 1, window => 8, %opt },
             rows => [ [ "archive-$name", 'archive', $title, 'us' ] ] };
}


# To 50 contacts, all of them there, and each with 50 of his own.  What is
# counted is the presence that a client sends, not what others get.

sub presence {
    my ($name, $title, $kind) = @_;
    my ($first, $n, $size) = @Server::GROUPS;

    return { name => "presence-$name", way => 'traffic',
             kind => $kind, first => 100,
             options => { clients => $n, group => $size, window => 400,
                          range => [ $first, $n ] },
             rows => [ [ "presence-$name", 'presence',
                         ($size - 1) . " contacts, $title", 'us' ] ] };
}


# messages at a rate that keeps nobody busy

sub rate {
    my ($kind, $title) = @_;

    return { name => "rate-$kind", way => 'traffic',
             kind => $kind, floors => \@FLOORS, n => 1500,
             options => { clients => 200, pairs => 1, rate => 500,
                          full => 100 },
             rows => [ [ "rate-$kind", 'rate', "CPU of one, $title", 'us' ],
                       map { [ "rate-$kind-$_->[0]", 'latency',
                               "$title, $_->[1]", 'ms' ] }
                       [ p50 => 'median' ], [ p99 => '99 %' ] ] };
}


sub login {
    my ($name, $title, $kind, %handshake) = @_;

    return { name => "login-$name", way => 'logins',
             kind => $kind, servers => [ 'workers', @PEERS ],
             floor => scalar %handshake, handshake => \%handshake,
             rows => [ [ "login-$name", 'login', $title, 'ms' ] ] };
}


sub storm {
    my ($name, $title, $kind, %opt) = @_;

    return { name => "storm-$name", way => 'storms', n => 1,
             kind => $kind, servers => [ 'workers', @PEERS ],
             options => { clients => 500, logins => 500, %opt },
             rows => [ [ "storm-$name", 'storm', $title, 'ms' ],
                       [ "storm-$name-back", 'back', $title, 'ms' ],
                       $opt{tickets} ? [ "storm-$name-resumed", 'back',
                                         'resumed', '%' ] : () ] };
}


sub memory {
    my ($kind, $title) = @_;
    my @steps = (1000, 5000, 10_000);

    return { name => "memory-$kind", way => 'memory', floor => 1,
             kind => $kind, steps => \@steps, servers => [ 'workers', @PEERS ],
             rows => [ map { [ "memory-$kind-$_", 'memory',
                               Server::commas($_) . ", $title", 'kB' ] }
                       @steps ] };
}


# The same number of messages on their way, among few or many

sub sessions {
    my ($clients) = @_;

    my $title = Server::commas($clients) . ' sessions, full JID, TLS';

    return { name => "sessions-$clients", way => 'traffic',
             kind => 'tls',
             servers => [ 'worker', @PEERS ],
             options => { clients => $clients, window => 400, full => 100 },
             rows => [ [ "sessions-$clients", 'sessions', $title, 'us' ] ] };
}


# others(scenario): the servers that are no floor

sub others {
    my ($scenario) = @_;

    return @{ $scenario->{servers} // [ @OURS, @PEERS ] };
}


# servers(scenario): all that have a figure in it

sub servers {
    my ($scenario) = @_;

    return @{ $scenario->{floors} // [] },
           $scenario->{floor} ? 'floor' : (), others($scenario);
}


# chosen(words): the scenarios that one of the patterns names, or all

sub chosen {
    my @patterns = map { my $re = quotemeta;
                         $re =~ s/\\([*?])/$1 eq '*' ? '.*' : '.'/ge;
                         qr/^$re$/ } @_;

    return @ALL unless @patterns;

    my @chosen = grep { my $name = $_->{name};
                        grep { $name =~ $_ } @patterns } @ALL;

    die "There is no such scenario: @_.  They are:\n"
        . join '', map { "    $_->{name}\n" } @ALL unless @chosen;

    return @chosen;
}


1;
