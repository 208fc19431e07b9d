#!/usr/bin/perl

# xmppctl sessions, kick, announce and stats, with sessions on two hosts.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Resume;

my $t = Test::XMPP->new(hosts => 2, users => [ qw/ alice bob carol / ]);

$t->only_ours('has a tool of its own');
$t->run();

my ($domain, $second) = ($t->domain(), $t->domain2());
my $odd = q{a 'b' & <c>/"d"};

# the list of accounts is that of xmppctl

ok(said('passwd', "$_\@$domain", input => "$_-secret"), "an account, $_")
    for qw/ alice bob carol /;

$t->redis()->command('SADD', "xmpp:accounts:$domain",
                     map { "$_\@$domain" } qw/ alice bob carol /);

is(said('sessions', $domain), '', 'sessions: nobody is online');
is(stats($domain), "3 0 0 0 $domain", 'stats: nobody is online');
like(refused('kick', "alice\@$domain"), qr/alice\@\Q$domain\E has no session/,
     'kick: there is none');
is(said('announce', $domain, 'x'), "0 of 3 accounts told\n",
   'announce: to nobody');

my $desk = $t->online('alice', resource => 'desk', on => 0,
                      presence => { priority => 5 });
my $phone = $t->client('alice', resource => $odd, on => 1)->login();
my $low = $t->online('alice', resource => 'low', on => 1,
                     presence => { priority => -1 });
my $bob = $t->online('bob', resource => 'b', on => 1);

$t->settle($desk, $low, $bob);


###############################################################################
# sessions

my %state = ("alice\@$domain/desk" => 5, "alice\@$domain/$odd" => '-',
             "alice\@$domain/low" => -1, "bob\@$domain/b" => 0);

is_sessions([ $domain ], [ sort keys %state ], 'of a domain');
is_sessions([ "alice\@$domain" ], [ grep { /^alice/ } sort keys %state ],
            'of an account');
is_sessions([ "carol\@$domain" ], [], 'of one that is offline');
is(said('sessions', $second), '', 'sessions: of a domain without accounts');

like(refused('sessions'), qr/a DOMAIN has to be named/,
     'sessions: without nginx.conf, of which');
like(refused('sessions', "\@$domain"), qr/is not/, 'sessions: no address');
like(refused('sessions', "alice\@$domain/desk"), qr/user\@domain/,
     'sessions: not of a session');

is(stats($domain), "3 2 4 3 $domain", 'stats');


###############################################################################
# One whose client may come back (XEP-0198, 5)

{
    my $sm = Test::XMPP::Resume->new($t);
    my $carol = $sm->resumable('carol', resource => 'c', on => 0);

    is_sessions([ "carol\@$domain" ], [ "carol\@$domain/c" ],
                'with its client', "carol\@$domain/c" => 0);
    $sm->lose($carol);
    is_sessions([ "carol\@$domain" ], [ "carol\@$domain/c" ],
                'which waits for its client', "carol\@$domain/c" => '0d');
    said('kick', "carol\@$domain");
    Test::XMPP::Process::await(
        sub { said('sessions', "carol\@$domain") eq '' })
        or die "it does not end\n";
}


###############################################################################
# announce

my $text = q{Down at 20:00 & "back" <soon>, grüße};

is(said('announce', $domain, $text), "2 of 3 accounts told\n", 'announce');

for my $c ($desk, $bob) {
    ok($c->expect('message', from => $domain, type => 'headline',
                  body => $text),
       'announce: told ' . $c->jid());
}

# RFC 6121, 8.5.2.1.1

ok($low->expect_nothing(), 'announce: not to a negative priority');
ok($phone->expect_nothing(), 'announce: nor to who is not available');

for my $bad ('', "a\x01b", 'x' x 40_000) {
    like(refused('announce', $domain, $bad), qr/an announcement is UTF-8/,
         'announce: refused, ' . length $bad);
}

# which Perl would not encode

my $binary = $ENV{XMPP_XMPPCTL} // "$FindBin::Bin/../build/xmppctl";
my $url = 'unix:' . $t->redis()->socket();

like(qx($binary -r $url announce $domain "\xEF\xBF\xBF" 2>&1),
     qr/an announcement is UTF-8/, 'announce: refused, U+FFFF');

$t->settle($desk, $bob);


###############################################################################
# kick

is(said('kick', "alice\@$domain/$odd"),
   "1 session of alice\@$domain ended\n", 'kick: a full JID, another host');
is_kicked($phone);

like(refused('kick', "alice\@$domain/none"), qr{alice\@\S+/none has no sess},
     'kick: no such resource');

is(said('kick', "alice\@$domain"), "2 sessions of alice\@$domain ended\n",
   'kick: a bare JID');
is_kicked($_) for $desk, $low;
ok($bob->expect_nothing(), 'kick: nobody else');

Test::XMPP::Process::await(sub { said('sessions', "alice\@$domain") eq '' });
is(said('sessions', "alice\@$domain"), '', 'kick: the records are gone');

ok(eval { $t->online('alice', resource => 'desk'); 1 },
   'kick: who may log in again');

like(refused('kick', $domain), qr/user\@domain/, 'kick: no account');

# a record that nobody listens for

$t->redis()->command('HSET', "xmpp:{carol\@$domain}:sessions", 'rx',
                     '7 sid boot 0 -');
like(refused('kick', "carol\@$domain/x"), qr/no server listens for carol/,
     'kick: of a worker that has died');

$t->done();


# What it prints

sub said {
    my ($command, @arguments) = @_;
    my $input;

    if (@arguments > 2 && $arguments[-2] eq 'input') {
        (undef, $input) = splice @arguments, -2;
    }

    my ($status, $output) = $t->xmppctl($input, $command, @arguments);

    diag($output) if $status;

    return $status ? undef : Encode::decode('UTF-8', $output);
}


# Why it does not

sub refused {
    my ($status, $output) = $t->xmppctl(undef, @_);

    return $status == 1 || $status == 2 ? $output : "status $status: $output";
}


sub stats {
    my @lines = split /\n/, said('stats', @_);

    is($lines[0] =~ s/ +/ /gr, ' accounts online sessions available domain',
       'stats: the head');

    return $lines[1] =~ s/^ +//r =~ s/ +/ /gr;
}


sub is_sessions {
    my ($arguments, $wanted, $name, %more) = @_;

    my $time = qr/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/;
    my %got = map { /^$time +(\S+) +[0-9a-f]{16}  (.+)$/ ? ($2 => $1)
                                                        : ($_ => 'no line') }
              split /\n/, said('sessions', @$arguments);

    is_deeply(\%got,
              { map { $_ => $more{$_} // $state{$_} } @$wanted },
              "sessions: $name");
}


sub is_kicked {
    my ($c) = @_;

    # presence of the others may come before it

    my $error = $c->pick('error', ns => 'http://etherx.jabber.org/streams');

    is($error && $error->error(), 'policy-violation',
       'kick: ' . $c->jid() . ' is closed');
}
