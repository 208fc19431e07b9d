#!/usr/bin/perl

# A chat client made of go-sendxmpp, driven by lines (see Interop.pm for the
# lines).
#
# go-sendxmpp is no interactive client: one process listens, and each message
# is sent by a process of its own, which logs in, sends and leaves.  What the
# listener got from the server is read from its debugging output (on standard
# error in old versions, on standard output in new ones), so that READY is
# said only after the server has broadcast the listener's presence to the
# listener itself (RFC 6121, 4.2.2); before that a message to the bare JID may
# rightly miss it.
#
# The private authority is given to the client's TLS library as the only one
# (SSL_CERT_FILE); the domain is checked too.
#
# Environment: XMPP_HOST XMPP_PORT XMPP_JID XMPP_PASSWORD XMPP_CA
#              XMPP_TLS (starttls|direct)

###############################################################################

use warnings;
use strict;

use File::Temp qw/ tempdir /;
use IO::Select;
use IPC::Open3;
use Symbol qw/ gensym /;

$| = 1;

my $home = tempdir(CLEANUP => 1);

$ENV{SSL_CERT_FILE} = $ENV{XMPP_CA};
$ENV{SSL_CERT_DIR} = $home;
$ENV{HOME} = $home;

my ($bare) = split m!/!, $ENV{XMPP_JID};
my $direct = ($ENV{XMPP_TLS} // '') eq 'direct';

my @client = ('go-sendxmpp', $direct ? '-t' : (), '-u', $bare,
    '-p', $ENV{XMPP_PASSWORD}, '-j', "$ENV{XMPP_HOST}:$ENV{XMPP_PORT}");

# nothing is left behind, whoever ends it

$SIG{$_} = sub { exit 1 } for qw/ TERM INT HUP PIPE /;

my $pid = open3(my $to, my $from, my $debug = gensym(), @client, '-d', '-l');
close $to;

my %buf = map { $_ => '' } ($from, $debug, \*STDIN);
my $select = IO::Select->new($from, $debug, \*STDIN);
my $trace = '';
my ($jid, $ready, $quitting, $why);

while (!$quitting) {
    for my $fh ($select->can_read()) {
        my $old = length $buf{$fh};
        my $n = sysread($fh, $buf{$fh}, 65536, $old);

        if ($fh == $from) {
            fail() if !$n;
            debug(substr $buf{$fh}, $old);
            messages();

        } elsif ($fh == $debug) {
            $n ? debug(substr $buf{$fh}, $old) : $select->remove($debug);

        } else {
            commands();
            $quitting = 1 if !$n;
        }
    }
}

print "BYE\n";
exit 0;

END {
    my $rc = $?;
    $SIG{$_} = 'IGNORE' for qw/ TERM INT HUP PIPE /;

    if ($pid) {
        kill 'TERM', $pid;
        waitpid $pid, 0;
    }

    $? = $rc;
}

###############################################################################

sub fail {
    waitpid $pid, 0;
    $pid = 0;
    $why = $buf{$debug};
    $why =~ s/.*\n(?=.)//s;
    $why =~ s/\n//g;
    print "FAIL listener left with $? $why\n";
    exit 1;
}

sub debug {
    my ($data) = @_;

    return if $ready;

    $trace .= $data;

    if (!$jid && $trace =~ m!<jid>([^<]+)</jid>!) {
        $jid = $1;
    }

    if ($jid
        && $trace =~ /<presence\b[^>]*\bfrom=(['"])\Q$jid\E\1/)
    {
        $ready = 1;
        print "READY $jid TLS\n";
    }
}

# a line is "2026-01-01T12:00:00Z juliet\@localhost: the words"

sub messages {
    while ($buf{$from} =~ s/^([^\n]*)\n//) {
        print "MESSAGE $1 $2\n" if $1 =~ /^\d\S+ (\S+): (.*)$/;
    }
}

sub commands {
    while ($buf{\*STDIN} =~ s/^([^\n]*)\n//) {
        my ($word, $peer, $body) = split / /, $1, 3;

        if ($word eq 'SEND') {
            send_message($peer, $body);

        } elsif ($word eq 'QUIT') {
            $quitting = 1;
        }
    }
}

sub send_message {
    my ($peer, $body) = @_;

    open my $fh, '|-', @client, $peer or die "cannot start: $!\n";
    print $fh "$body\n";
    close $fh;

    print $? ? "NOTSENT $?\n" : "SENT $peer\n";
}

###############################################################################
