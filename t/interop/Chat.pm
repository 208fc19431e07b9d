package Interop::Chat;

# The test of one real client, the same for each: two of it, on two hosts,
# log in over TLS and exchange messages with each other and with the client
# of the harness; and it must refuse to go on where it cannot trust the server
# or the server not it.

use strict;
use warnings;

use File::Temp qw/ tempdir /;
use Test::More;

use Interop;
use Test::XMPP;
use Test::XMPP::CA;

our @WORDS = ('Neither, fair saint', 'if either thee dislike <&> "it\'s"',
              "gr\x{FC}n \x{20AC}5 \x{1F339}", 'four', 'five');


# run($client): a whole test file; more($t, $tls, $alice, $bob) may add tests
# of what this client can do besides, with another configuration.

sub run {
    my ($client, $more, $config) = @_;

    my $missing = Interop::missing($client);
    plan(skip_all => $missing) if $missing;

    my $t = Test::XMPP->new(hosts => 2, users => [qw/ alice bob carol /]);
    $t->config($config) if $config;
    $t->run();

    for my $tls (qw/ starttls direct /) {
        my $alice = start($t, $client, $tls, 0, 'alice');
        my $bob = start($t, $client, $tls, 1, 'bob');

        my ($a) = wanted($alice, qr/^READY (\S+) TLS/, "$tls: alice is in");
        my ($b) = wanted($bob, qr/^READY (\S+) TLS/, "$tls: bob is in");

        SKIP: {
            skip 'not logged in', 1 if !$a || !$b;

            talk($tls, $alice, $bob, $a, $b);
            talk_to_ours($t, $tls, $bob, $b);
            $more->($t, $tls, $alice, $bob, $a, $b) if $more;
        }

        is($alice->quit(), 0, "$tls: alice left");
        is($bob->quit(), 0, "$tls: bob left");

        refused($t, $client, $tls);
    }

    $t->done();
}


sub start {
    my ($t, $client, $tls, $host, $user, %opt) = @_;

    my $domain = $t->domain();

    return Interop->start($client,
        host     => $t->{target_host} // '127.0.0.1',
        port     => $t->port($tls eq 'direct' ? 1 : 0, $host),
        jid      => "$user\@$domain/interop",
        password => Test::XMPP::Accounts::password($user),
        ca       => $t->ca_file(),
        tls      => $tls,
        %opt,
    );
}


# Waits for a line and says what came instead.

sub wanted {
    my ($client, $re, $name) = @_;

    my @got = $client->wait($re);

    ok(scalar @got, $name) or diag('expected ', $re, "\n",
                                   map { "$_\n" } $client->said());

    return @got;
}


# To the bare JID one way, to the full JID the other, all of it in order.
# Some clients show no more than the bare JID of the sender.

sub talk {
    my ($tls, $alice, $bob, $a, $b) = @_;

    my ($bare_a, $bare_b) = map { m{^([^/]+)} } $a, $b;

    for my $i (0 .. $#WORDS) {
        $alice->tell("SEND $bare_b $i $WORDS[$i]");
    }

    is_deeply([ map { words($bob, $bare_a) } @WORDS ],
              [ map { "$_ $WORDS[$_]" } 0 .. $#WORDS ],
              "$tls: bare JID, from the one host to the other");

    for my $i (0 .. $#WORDS) {
        $bob->tell("SEND $a $i $WORDS[$i]");
    }

    is_deeply([ map { words($alice, $bare_b) } @WORDS ],
              [ map { "$_ $WORDS[$_]" } 0 .. $#WORDS ],
              "$tls: full JID, and back");
}


# The words of the next message, which must be from this account

sub words {
    my ($client, $from) = @_;

    my ($jid, $words) = $client->wait(qr/^MESSAGE (\S+) (.*)/);

    return 'nothing: ' . join(', ', $client->said()) if !defined $jid;
    return $jid =~ m{^\Q$from\E(?:/|$)} ? $words : "from $jid: $words";
}


# The client of the harness sees every byte of the stanza.  Bob speaks first:
# a client with windows then shows the right one.

sub talk_to_ours {
    my ($t, $tls, $bob, $b) = @_;

    my $carol = $t->online('carol', on => 0, resource => 'harness');
    my ($bare_b) = $b =~ m{^([^/]+)};

    $bob->tell("SEND " . $carol->jid() . ' sweet sorrow');
    my $msg = $carol->pick(name => 'message', body => 'sweet sorrow');
    ok($msg, "$tls: to carol");

    SKIP: {
        skip 'no message', 1 if !$msg;
        like($msg->attr('from'), qr{^\Q$bare_b\E/.},
             "$tls: RFC 6120, 8.1.2.1: stamped with the full JID");
    }

    $carol->message($b, 'Parting is such', type => 'chat');
    is(words($bob, $carol->bare()), 'Parting is such', "$tls: from carol");

    $carol->close();
}


sub refused {
    my ($t, $client, $tls) = @_;

    my $other = Test::XMPP::CA->new(tempdir(CLEANUP => 1));

    my $c = start($t, $client, $tls, 0, 'alice', ca => $other->file());
    wanted($c, qr/^FAIL/, "$tls: a server that cannot be verified");

    $c = start($t, $client, $tls, 0, 'alice', password => 'wrong');
    wanted($c, qr/^FAIL/, "$tls: a wrong password");
}


1;
