#!/usr/bin/perl

# All of worker_connections taken by clients that never authenticate: nginx
# closes the oldest of them for the sake of new ones, wherever they have come
# to, and nobody who has logged in.  RFC 6120, 13.12 (6).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

my $t = Test::XMPP->new(users => [ qw/ alice bob carol / ], workers => 1)
                  ->only_ours();

$t->config(<<'EOF');
%%GLOBALS%%
events {
    worker_connections  64;
}

stream {
    xmpp_redis       unix:%%REDIS%%;
    xmpp_starttls    on;
    xmpp_durability  none;
    xmpp_archive     off;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }

    server {
        listen  127.0.0.1:%%PORT_1%% ssl;
        xmpp_c2s;
    }
}
EOF

$t->run();

use constant FLOOD => 200;

my $header = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
             . "xmlns:stream='http://etherx.jabber.org/streams' "
             . "to='localhost' version='1.0'>";
my $starttls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

# the first bytes of a ClientHello of 512 bytes

my $hello = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";


# one more of the flood: connected, and as far as it goes

sub plain {
    my (@say) = @_;

    return sub {
        my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                      PeerPort => $t->port(0))
            or return;

        for my $say (@say) {
            syswrite($s, $say->[0]);
            read_until($s, $say->[1]) if $say->[1];
        }

        return $s;
    };
}


sub direct {
    my ($bytes) = @_;

    return sub {
        my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                      PeerPort => $t->port(1))
            or return;

        syswrite($s, $bytes) if length $bytes;

        return $s;
    };
}


sub read_until {
    my ($s, $re) = @_;

    my $in = '';

    while ($in !~ /$re/) {
        vec(my $r = '', fileno($s), 1) = 1;
        select($r, undef, undef, 10) or return;
        sysread($s, $in, 4096, length $in) or return;
    }
}


# which of the sockets nginx has closed, by their numbers

sub closed {
    my (@all) = @_;

    my @closed;

    for my $i (0 .. $#all) {
        my $s = $all[$i];

        vec(my $r = '', fileno($s), 1) = 1;

        while (select(my $ready = $r, undef, undef, 0)) {
            sysread($s, my $in, 4096) or do { push @closed, $i; last };
        }
    }

    return @closed;
}


my $alice = $t->client('alice')->login(resource => 'one');
my $bob = $t->client('bob')->login(resource => 'two');


sub chat {
    my $id = $alice->message($bob->jid(), 'hello');

    return $bob->recv_stanza()->attr('id') eq $id;
}

my @header = [ $header, '</stream:features>' ];
my @starttls = (@header, [ $starttls, '<proceed' ]);

my @floods = (
    [ 'connected'                => plain() ],
    [ 'half a header'            => plain([ '<stream:stream ' ]) ],
    [ 'a stream header'          => plain(@header) ],
    [ 'STARTTLS begun'           => plain(@starttls) ],
    [ 'STARTTLS, half a hello'   => plain(@starttls, [ $hello ]) ],
    [ 'an end that is awaited'   => plain([ '<a/>', '</stream:stream>' ]) ],
    [ 'direct TLS, not begun'    => direct('') ],
    [ 'direct TLS, half a hello' => direct($hello) ],
);

for my $flood (@floods) {
    my ($name, $connect) = @$flood;

    my (@flood, $chats);

    for my $i (1 .. FLOOD) {
        push @flood, $connect->();
        $chats++ if $i % 20 == 0 && chat();
    }

    is($chats, FLOOD / 20, "$name: those who have logged in chat on");

    # nginx takes one connection a turn from each port: a flood that is not all
    # in yet is newer than who logs in meanwhile

    Test::XMPP::Process::await(sub { closed(@flood) >= FLOOD - 64 });

    my @new = map { $t->client('carol')->login(resource => $_) } 1 .. 3;

    is(scalar(grep { $_->jid() } @new), 3, "$name: and others log in");

    my @closed = closed(@flood);

    cmp_ok(scalar(@closed), '>=', FLOOD - 64, "$name: nginx has closed some");
    is_deeply(\@closed, [ 0 .. $#closed ], "$name: the oldest ones");

    $_->drop() for @new;
    close $_ for @flood;
}

# Redis does not answer: who waits for it may be closed as well, and who
# does not need it chats on

$t->redis()->pause();

my (@flood, $chats);

for my $i (1 .. 80) {
    my $c = $t->client('carol', tls => 'direct');

    $c->secure();
    $c->send_auth('PLAIN', "\0carol\0" . $c->{password});
    push @flood, $c;

    $chats++ if $i % 20 == 0 && chat();
}

is($chats, 4, 'SASL waits: those who have logged in chat on');

# what was sent before the end is read first

$_->fill() for (@flood) x 3;

my @eof = grep { defined $flood[$_]{eof} } 0 .. $#flood;

cmp_ok(scalar(@eof), '>', 16, 'SASL waits: nginx has closed some');
is_deeply(\@eof, [ 0 .. $#eof ], 'SASL waits: the oldest ones');

$t->redis()->resume();

my @new = map { $t->client('carol')->login(resource => $_) } 1 .. 3;

is(scalar(grep { $_->jid() } @new), 3, 'SASL waited: and others log in');

$t->done();
