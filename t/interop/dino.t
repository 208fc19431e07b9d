#!/usr/bin/perl

# Dino, a client with a window, on a display of its own: it logs in, asks for
# all that it asks for, and gets a message.  Of what it asks its server and its
# own account, only what is not there yet may be answered by an error.  Then
# its connection breaks, and it resumes its session.
#
# Dino finds a server by its name at port 5222 and trusts what the system
# trusts, so all of it runs in namespaces with a network, a hosts file and
# certificates of their own.  Needs root, and Debian's dino-im, xvfb and dbus:
# make interop PARTS=dino.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use DBI;
use Test::More;

use Test::XMPP;
use Test::XMPP::Process;
use Test::XMPP::Relay;

my $address = '10.11.12.1';

if (!$ENV{XMPP_IN_NAMESPACE}) {
    plan(skip_all => 'for root only') if $> != 0;

    $ENV{XMPP_IN_NAMESPACE} = 1;
    exec 'unshare', qw/ --net --mount --pid --fork --kill-child --mount-proc /,
         $^X, $0 or die "unshare: $!\n";
}

my $t = Test::XMPP->new(users => [ qw/ alice dora / ])
                  ->only_ours('is what Dino logs in to');
my $dir = $t->testdir();
my $domain = $t->domain2();

# an address that is not of the loopback, or names are not looked up

run('ip link set lo up');
run('ip link add x0 type veth peer name x1');
run("ip addr add $address/24 dev x0");
run("ip link set $_ up") for qw/ x0 x1 /;

$t->config(<<"EOF");
%%GLOBALS%%
events {
}

stream {
    xmpp_redis  unix:%%REDIS%%;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    xmpp_host $domain {
        ssl_certificate      %%TESTDIR%%/$domain.pem;
        ssl_certificate_key  %%TESTDIR%%/$domain.key;

        xmpp_external_service  stun:127.0.0.1:3478;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
EOF

$t->run();

my $relay = Test::XMPP::Relay->new("$address:5222", '127.0.0.1:' . $t->port());

$t->write_file('hosts', "127.0.0.1 localhost\n$address $domain\n");
run("cat /etc/ssl/certs/ca-certificates.crt $dir/ca.pem > $dir/bundle.pem");
run("mount --bind $dir/hosts /etc/hosts");
run("mount --bind $dir/bundle.pem /etc/ssl/certs/ca-certificates.crt");

$ENV{HOME} = "$dir/home";
$ENV{XDG_DATA_HOME} = "$dir/home/data";
$ENV{XDG_CONFIG_HOME} = "$dir/home/config";
$ENV{XDG_CACHE_HOME} = "$dir/home/cache";
$ENV{XDG_RUNTIME_DIR} = "$dir/home/run";
$ENV{NO_AT_BRIDGE} = 1;
$ENV{GSETTINGS_BACKEND} = 'memory';
$ENV{LANG} = 'C.UTF-8';
delete @ENV{qw/ DBUS_SESSION_BUS_ADDRESS WAYLAND_DISPLAY /};

mkdir $_ for "$dir/home", "$dir/home/run";
chmod 0700, "$dir/home/run";

# the display says its number when it is ready

local $^F = 99;
pipe my $ready, my $display or die "pipe: $!\n";
my $xvfb = Test::XMPP::Process->start("$dir/xvfb.log", 'Xvfb', '-displayfd',
                                      fileno $display, '-screen', 0,
                                      '1024x768x24');
close $display;
chomp(my $number = <$ready> // '');
$ENV{DISPLAY} = ":$number";
isnt($number, '', 'a display') or BAIL_OUT('Xvfb does not start');


###############################################################################
# Its own store is made by a first start; the account is put there

my $store = "$dir/home/data/dino/dino.db";
my $dino = dino('first');

ok(Test::XMPP::Process::await(sub { tables() }, 60), 'Dino starts');
leave($dino);

DBI->connect("dbi:SQLite:$store", '', '', { RaiseError => 1 })->do(
    'INSERT INTO account (bare_jid, resourcepart, password, alias, enabled)'
    . ' VALUES (?, ?, ?, ?, 1)', undef, "dora\@$domain", 'dino',
    'dora-secret', '');

$dino = dino('second', '--print-xmpp=all');


###############################################################################
# It logs in

my $alice = $t->online('alice', resource => 'a');

ok(logged(qr/dora\@\Q$domain\E\/dino/), 'it is bound');
ok(logged(qr/OUT.*?\n<\{jabber:client\}:presence/), 'and sends presence');

ok(Test::XMPP::Process::await(sub {
    $t->redis()->command('HGET', "xmpp:{dora\@$domain}:sessions", 'rdino') =~
        / 0 /;
}, 30), 'it is available');

$alice->message("dora\@$domain", 'hello, Dino', type => 'chat');
ok(logged(qr/IN.*?\n<\{jabber:client\}:message.*?hello, Dino/s),
   'it gets a message');

$alice->presence(to => "dora\@$domain", type => 'subscribe');
ok(logged(qr/IN.*?\n<\{jabber:client\}:presence[^>]*'subscribe'/s),
   'and a request for a subscription');

ok(Test::XMPP::Process::await(sub { !waiting() }, 30),
   'all that it asks for is answered') or diag(waiting());
is(join("\n", failed()), '', 'and nothing by an error that is not to be');


###############################################################################
# XEP-0198, 5: it resumes its session.  It takes no notice of TLS that ends
# without close_notify, but of a reset it does.

$relay->reset();
$alice->message("dora\@$domain", 'still there?', type => 'chat');
ok(logged(qr/\nXMPP OUT [^\n]*\n<\{urn:xmpp:sm:3\}:resume /),
   'XEP-0198, 5: it asks to resume its session');
ok(logged(qr/\nXMPP IN [^\n]*\n<\{urn:xmpp:sm:3\}:resumed .*still there\?/s),
   'which it does, and gets what came meanwhile');

# it asks the archive, too, where that message has deeper lines

ok(Test::XMPP::Process::await(sub { !waiting() }, 30),
   'all that it asks for is answered') or diag(waiting());
is(scalar(() = Test::XMPP::Process::slurp("$dir/second.log")
               =~ /^  <\{jabber:client\}:body>\s+still there\?/mg), 1, 'once');

leave($dino);
$relay->stop();
$xvfb->stop();
$t->done();


###############################################################################

sub run {
    my ($command) = @_;

    system($command) == 0 or die "$command: failed\n";
}


sub dino {
    my ($name, @arguments) = @_;

    return Test::XMPP::Process->start("$dir/$name.log", 'dbus-run-session',
                                      '--', 'sh', '-c',
                                      'echo $$ >"$0" && exec dino-im "$@"',
                                      "$dir/dino.pid", @arguments);
}


# dbus-run-session ends with Dino, but Dino not with dbus-run-session: the one
# of the first start would log in, too.

sub leave {
    my ($dino) = @_;

    kill 'TERM', Test::XMPP::Process::slurp("$dir/dino.pid");
    Test::XMPP::Process::await(sub { !$dino->alive() })
        or die "Dino does not end\n";
}


sub tables {
    return 0 unless -s $store;

    my $db = DBI->connect("dbi:SQLite:$store", '', '', { PrintError => 0 })
        or return 0;

    return $db->selectrow_array("SELECT 1 FROM sqlite_master WHERE name ="
                                . " 'account'");
}


sub logged {
    my ($pattern) = @_;

    return Test::XMPP::Process::await(sub {
        Test::XMPP::Process::slurp("$dir/second.log") =~ $pattern;
    }, 60);
}


# What was asked, by id, and how it was answered

sub asked {
    my (%asked, %answer);

    for my $block (split /\n(?=XMPP (?:IN|OUT))/,
                   Test::XMPP::Process::slurp("$dir/second.log"))
    {
        my ($id) = $block =~ /:iq [^>]*\{jabber:client\}:id='([^']+)'/ or next;
        my ($type) = $block =~ /\{jabber:client\}:type='(\w+)'/;
        my ($to) = $block =~ /\{jabber:client\}:to='([^']+)'/;
        my @names = $block =~ /<\{([^}]+)\}:/g;

        if ($block =~ /^XMPP OUT/ && $type =~ /^[gs]et$/) {
            $asked{$id} = $names[1] // ''
                if ($to // $domain) =~ /^(?:dora@)?\Q$domain\E$/;

        } elsif ($block =~ /^XMPP IN/) {
            $answer{$id} = $type;
        }
    }

    return (\%asked, \%answer);
}


sub waiting {
    my ($asked, $answer) = asked();

    return join ' ', map { $asked->{$_} } grep { !$answer->{$_} } keys %$asked;
}


sub failed {
    my ($asked, $answer) = asked();

    # PEP, archive and rooms
    my $later = qr{^(?:http://jabber.org/protocol/(?:pubsub|muc)|urn:xmpp:mam:)
                  }x;

    return grep { !/$later/ } map { $asked->{$_} }
           grep { ($answer->{$_} // '') eq 'error' } sort keys %$asked;
}
