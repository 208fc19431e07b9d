#!/usr/bin/perl

# A chat client made of profanity in a terminal of tmux, driven by lines (see
# Interop.pm for the lines).
#
# The keys go in through tmux, and what is on the screen comes back: the
# output of the terminal is piped into a fifo, and whenever something moves
# there, the screen is read anew.  So nothing is waited for by the clock.
#
# It sees one peer at a time: the window of the first one is entered when a
# message goes out or comes in, that of another when a message goes out to it.
# The window belongs to the bare JID, and so does what is sent; profanity
# itself adds the resource that it heard from last.
#
# The private authority is put in a certificate folder of its own.  When the
# client does not trust the server, it asks on the screen whether it should:
# that is a failure here.
#
# Environment: XMPP_HOST XMPP_PORT XMPP_JID XMPP_PASSWORD XMPP_CA
#              XMPP_TLS (starttls|direct)
#              XMPP_RESUME (1: comes back when the connection breaks)

###############################################################################

use warnings;
use strict;

use Fcntl qw/ O_RDWR O_NONBLOCK /;
use File::Copy qw/ copy /;
use File::Path qw/ make_path /;
use File::Temp qw/ tempdir /;
use IO::Select;
use POSIX qw/ mkfifo /;

$| = 1;

my $dir = tempdir(CLEANUP => 1);
my ($bare, $resource) = split m!/!, $ENV{XMPP_JID}, 2;
my @tmux = ('tmux', '-S', "$dir/tmux", '-f', '/dev/null');

# nothing is left behind, whoever ends it

$SIG{$_} = sub { exit 1 } for qw/ TERM INT HUP ALRM PIPE /;

END {
    my $rc = $?;
    $SIG{$_} = 'IGNORE' for qw/ TERM INT HUP ALRM PIPE /;
    stop() if $dir;
    $? = $rc;
}

configure();
my $lives = start();

sysopen my $moved, "$dir/fifo", O_RDWR | O_NONBLOCK or die "fifo: $!\n";
tmux('pipe-pane', '-o', "exec cat >$dir/fifo");

my (%seen, %visited, $ready, $quitting);
my $input = '';
my $select = IO::Select->new($moved, \*STDIN);

look();

while (!$quitting) {
    for my $fh ($select->can_read()) {
        if ($fh == $moved) {
            sysread($moved, my $drained, 65536);
            look();

        } else {
            my $n = sysread(STDIN, $input, 65536, length $input);
            commands();
            $quitting = 1 if !$n;
        }
    }
}

# the end of profanity is the end of what it holds open; tmux may end sooner or
# later

type('/quit');
alarm 20;
sysread($lives, my $nothing, 1);
print "BYE\n";
exit 0;

###############################################################################

sub configure {
    my $policy = ($ENV{XMPP_TLS} // '') eq 'direct' ? 'legacy' : 'force';

    make_path("$dir/config/profanity", "$dir/data/profanity", "$dir/ca");
    mkfifo("$dir/$_", 0600) or die "mkfifo: $!\n" for qw/ fifo lives /;

    copy($ENV{XMPP_CA}, "$dir/ca/ca.pem") or die "copy: $!\n";
    system('openssl', 'rehash', "$dir/ca") == 0 or die "rehash\n";

    write_file("$dir/config/profanity/profrc", <<EOF);
[connection]
tls.certpath=$dir/ca
reconnect=@{[ $ENV{XMPP_RESUME} ? 1 : 0 ]}
[notifications]
message=false
[ui]
splash=false
occupants=false
roster=false
EOF

    write_file("$dir/data/profanity/accounts", <<EOF);
[me]
enabled=true
jid=$bare
resource=@{[ $resource // 'profanity' ]}
server=$ENV{XMPP_HOST}
port=$ENV{XMPP_PORT}
password=$ENV{XMPP_PASSWORD}
tls.policy=$policy
EOF
}

sub write_file {
    my ($name, $text) = @_;

    open my $fh, '>', $name or die "$name: $!\n";
    print $fh $text;
    close $fh or die "$name: $!\n";
}

sub start {
    local $ENV{HOME} = $dir;
    local $ENV{XDG_CONFIG_HOME} = "$dir/config";
    local $ENV{XDG_DATA_HOME} = "$dir/data";
    local $ENV{TERM} = 'xterm';
    local $ENV{LC_ALL} = 'C.UTF-8';
    delete local $ENV{TMUX};

    tmux('new-session', '-d', '-x', 160, '-y', 100,
        "exec profanity -a me -l DEBUG 2>/dev/null 9>$dir/lives") == 0
        or die "cannot start tmux\n";

    open my $lives, '<', "$dir/lives" or die "fifo: $!\n";

    return $lives;
}

sub tmux {
    return system(@tmux, @_);
}

sub type {
    my ($keys) = @_;

    tmux('send-keys', '-l', '--', $keys);
    tmux('send-keys', 'Enter');
}

# each line of the screen is told once, however often it is seen

sub look {
    my %now;

    open my $fh, '-|', @tmux, 'capture-pane', '-p', '-J'
        or die "capture-pane: $!\n";
    my @lines = <$fh>;
    close $fh;

    if ($?) {
        print "FAIL profanity left\n";
        exit 1;
    }

    for (@lines) {
        s/\s+$//;
        next if !s/^(\d\d:\d\d:\d\d) - //;
        my $time = $1;
        next if ++$now{"$time $_"} <= ($seen{"$time $_"} // 0);
        $seen{"$time $_"}++;
        line($_);
    }
}

sub line {
    my ($line) = @_;

    if (!$ready) {
        if ($line =~ /^(\S+) logged in successfully/) {
            $ready = 1;
            print "READY $1 TLS\n";

        } elsif ($line =~ /(Login failed|verification failed.*)/) {
            print "FAIL $1\n";
            exit 1;
        }

    } elsif ($line =~ /^Lost connection\.$/ && $ENV{XMPP_RESUME}) {
        print "GONE\n";

    } elsif ($line =~ /^Connection re-established\.$/) {
        print resumed() ? "RESUMED\n" : "NOTRESUMED\nREADY $bare TLS\n";

    } elsif ($line =~ /^<< chat message: .* \(win (\d+)\)/) {
        type("/win $1") if !$visited{$1}++;

    } elsif ($line =~ /^(\S+\@\S+): (.*)/) {
        print "MESSAGE $1 $2\n";
    }
}

# what libstrophe says, in the log alone, of the last connection

sub resumed {
    my $name = "$dir/data/profanity/logs/profanity.log";

    open my $fh, '<', $name or die "$name: $!\n";
    my $log = do { local $/; <$fh> };

    return $log =~ /.*Attempting to connect(.*)/s
           && index($1, 'Session resumed successfully') > 0;
}

sub commands {
    while ($input =~ s/^([^\n]*)\n//) {
        my ($word, $peer, $body) = split / /, $1, 3;

        if ($word eq 'SEND') {
            $peer =~ s!/.*!!s;
            type("/msg $peer $body");

        } elsif ($word eq 'QUIT') {
            $quitting = 1;
        }
    }
}

# the session of tmux ends with profanity; a session still there is ended

sub stop {
    return if !-e "$dir/tmux";

    system("@tmux kill-server 2>/dev/null");
}

###############################################################################
