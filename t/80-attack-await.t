#!/usr/bin/perl

# Memory safety at await points: at each place where the server waits - for a
# client, for TLS, for a thread, for Redis, for a timer - each thing happens
# that can: the client goes in several ways or says more, another takes its
# resource, Redis goes or answers nothing, the worker is reloaded or ended.
# The places are reached for certain, since Redis is held meanwhile.
# Afterwards the worker lives, its log is clean, no descriptor and no session
# record is left, and clients log in.  Under the sanitizers this shows that
# nothing is used after it was freed.
#
# docs/internals/README.md, "Where something waits for Redis".

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
use Test::More;
use Test::XMPP;
use Test::XMPP::Lanes;
use Test::XMPP::Process;
use Test::XMPP::Roster;

my $t = Test::XMPP->new(hosts => 0, workers => 1,
                        redis => { appendonly => 'yes',
                                   appendfsync => 'always' },
                        users => [ qw/ alice bob carol dave eve / ]);

$t->only_ours('holds Redis, and looks into the worker');

# %%PORT_0%% STARTTLS or none, %%PORT_1%% direct TLS; %%PORT_4%% for clients
# with an address, whose failed logins are counted; the next but one are the
# same with little time, yet enough for all of them to come to their places, and
# less than a request to Redis has; %%PORT_5%% direct TLS and hardly any time

$t->config(<<'EOF');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis          unix:%%TESTDIR%%/%%NAME%%.sock;
    xmpp_redis_timeout  12s;
    xmpp_auth_timeout   60s;
    xmpp_drain_time     200ms;
    xmpp_starttls       on;
    set_real_ip_from    127.0.0.1;

    xmpp_login_limit_address  1000;
    xmpp_login_limit_account  1000;

    xmpp_admin  alice@localhost;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
        xmpp_max_sessions    256;
        xmpp_register        on;
    }

    server { listen 127.0.0.1:%%PORT_0%%     sndbuf=16k; xmpp_c2s; }
    server { listen 127.0.0.1:%%PORT_1%% ssl sndbuf=16k; xmpp_c2s; }
    server { listen 127.0.0.1:%%PORT_2%%;     xmpp_c2s; xmpp_auth_timeout 8s; }
    server { listen 127.0.0.1:%%PORT_3%% ssl; xmpp_c2s; xmpp_auth_timeout 8s; }
    server { listen 127.0.0.1:%%PORT_5%% ssl; xmpp_c2s; xmpp_auth_timeout 3s; }

    server { listen 127.0.0.1:%%PORT_4%% proxy_protocol; xmpp_c2s; }

    server {
        listen             127.0.0.1:%%PORT_6%% proxy_protocol;
        xmpp_c2s;
        xmpp_auth_timeout  8s;
    }
}
EOF

$t->run();

my $redis = $t->redis();
my $domain = $t->domain();
my %NS = %Test::XMPP::Client::NS;
my @lanes = qw/ command subscriber /;
my ($lanes, $others, $ctl);
my $address = 0;
my $fresh = 0;

for my $host (0, 1) {
    my $lane = Test::XMPP::Lanes->new($t->testdir() . "/host$host.sock",
                                      $redis->socket());

    $host ? $others : $lanes = $lane;
    $t->start_host();
}

# a password that takes a thread a while to check, and is wrong

$redis->command('HSET', "xmpp:{carol\@$domain}:account", 'scram-sha-256',
                join ',', 800_000, 'c2FsdHNhbHRzYWx0c2FsdA==',
                          ('eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg=') x 2);

# contacts, who are told and asked behind own presence and at the end

item($t, "alice\@$domain", "$_\@$domain", 'both')
    for 'bob', 'carol', map { "nobody$_" } 1 .. 20;

# nobody listens for this session: what is for it is tried again and again

$redis->command('HSET', "xmpp:{dave\@$domain}:sessions", 'rghost',
                '1 0000000000000000.1 0000000000000000 0');


###############################################################################
# The places
#
#   before  what is done while Redis answers; "now", too, but as late as can be
#   at      the last step, while Redis is held
#   lane    what must lie in that lane then
#   then    what a client hears when Redis answers again, and not before
#   fresh   of an account of its own
#   early   not bound yet: xmpp_auth_timeout ends it
#   rival   another client may bind the same resource

my $carbons = "<enable xmlns='urn:xmpp:carbons:2'/>";
my $hello = "\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03" . 'x' x 64;

my @places = (
    { name => 'nothing sent', early => 1, tls => 'none',
      before => sub { $_[0]->connect() } },

    { name => 'half a header', early => 1, tls => 'none',
      before => sub { $_[0]->connect() },
      at => sub { $_[0]->send("<?xml version='1.0'?><stream:str") } },

    { name => 'half an element', early => 1,
      before => sub { start($_[0]) },
      at => sub { $_[0]->send("<auth xmlns='$NS{sasl}' mechanism='") } },

    { name => 'STARTTLS, no handshake', early => 1, tls => 'none',
      before => sub { proceed($_[0]) } },

    { name => 'STARTTLS, half a handshake', early => 1, tls => 'none',
      before => sub { proceed($_[0]) }, at => sub { $_[0]->send($hello) } },

    { name => 'direct TLS, no handshake', early => 1, tls => 'none',
      port => 1, before => sub { $_[0]->connect() } },

    { name => 'direct TLS, half a handshake', early => 1, tls => 'none',
      port => 1, before => sub { $_[0]->connect() },
      at => sub { $_[0]->send($hello) } },

    { name => 'challenge sent', early => 1,
      before => sub { start($_[0]); scram($_[0]); $_[0]->recv_challenge() } },

    { name => 'credentials', early => 1, lane => 'command',
      before => sub { start($_[0]) }, at => sub { scram($_[0]) },
      then => 'challenge' },

    { name => 'credentials and counters', early => 1, lane => 'command',
      tls => 'none', port => 4, before => sub { from($_[0]) },
      at => sub { scram($_[0]) }, then => 'challenge' },

    { name => 'a failure is counted', early => 1, lane => 'command',
      tls => 'none', port => 4, before => sub { challenged($_[0], 'wrong') },
      at => sub { final($_[0]) } },

    { name => 'a network is remembered', early => 1, lane => 'command',
      tls => 'none', port => 4, before => sub { challenged($_[0]) },
      at => sub { final($_[0]) } },

    { name => 'a thread', early => 1, user => 'carol', tls => 'starttls',
      before => sub { start($_[0]) },
      now => sub { $_[0]->send_auth('PLAIN', "\0carol\0x") },
      then => 'failure' },

    { name => 'a new account', early => 1, lane => 'command',
      tls => 'starttls', before => sub { start($_[0]) },
      at => sub { register($_[0]) }, then => 'iq' },

    { name => 'a new account, and its login', early => 1, lane => 'command',
      tls => 'direct', before => sub { start($_[0]) },
      at => sub { register($_[0]); scram($_[0]) }, then => 'iq' },

    { name => 'the header after SASL', early => 1,
      before => sub { start($_[0]); $_[0]->authenticate() } },

    { name => 'nothing bound yet', early => 1,
      before => sub { login($_[0]) },
      at => sub { $_[0]->send("<iq type='set' id='") } },

    # of an account that has no session in this worker
    { name => 'subscription', early => 1, lane => 'subscriber', user => 'bob',
      rival => 1, before => sub { login($_[0]) },
      at => sub { bind_to($_[0], 'same') }, then => 'iq' },

    # of one that has
    { name => 'record', early => 1, lane => 'command', rival => 1,
      before => sub { login($_[0]) },
      at => sub { bind_to($_[0], 'mine') }, then => 'iq' },

    { name => 'own presence', lane => 'command', rival => 1,
      before => sub { $_[0]->login() },
      at => sub { $_[0]->presence() }, then => 'presence' },

    { name => 'route to a bare JID', lane => 'command', rival => 1,
      before => sub { $_[0]->login() },
      at => sub { $_[0]->message("bob\@$domain", 'x') } },

    { name => 'route to another host, more behind', lane => 'command',
      rival => 1, before => sub { $_[0]->login() },
      at => sub { $_[0]->send("<message to='bob\@$domain/far'/>" x 100) } },

    { name => 'private storage', lane => 'command', rival => 1,
      before => sub { $_[0]->login() },
      at => sub { $_[0]->iq('set', undef, "<query xmlns='jabber:iq:private'>"
                                          . "<a xmlns='u'>a</a></query>") },
      then => 'iq' },

    { name => 'a vCard', lane => 'command', rival => 1,
      before => sub { $_[0]->login() },
      at => sub { $_[0]->iq('get', "bob\@$domain",
                            "<vCard xmlns='vcard-temp'/>") },
      then => 'iq' },

    { name => 'nobody listens', rival => 1,
      before => sub { $_[0]->login() },
      now => sub { $_[0]->message("dave\@$domain", 'x') } },

    # the message itself is delivered in the worker
    { name => 'carbons of what was sent', lane => 'command', user => 'eve',
      rival => 1, before => sub { $_[0]->login() },
      at => sub { $_[0]->message($ctl->jid(), 'x', type => 'chat') } },

    { name => 'carbons are wanted', lane => 'command', rival => 1,
      before => sub { $_[0]->login() },
      at => sub { $_[0]->iq('set', undef, $carbons) }, then => 'iq' },

    { name => 'removal of the account', lane => 'command', fresh => 1,
      before => sub { $_[0]->login() },
      at => sub { $_[0]->iq('set', undef, "<query xmlns='jabber:iq:register'>"
                                          . "<remove/></query>") },
      then => 'iq' },

    { name => 'a new password', lane => 'command', rival => 1, tls => 'direct',
      before => sub { $_[0]->login() },
      at => sub { $_[0]->iq('set', undef, "<query xmlns='jabber:iq:register'>"
                                          . '<username>alice</username>'
                                          . '<password>alice-secret</password>'
                                          . '</query>') },
      then => 'iq' },

    { name => 'an account is added', lane => 'command', rival => 1,
      tls => 'direct',
      before => sub { form($_[0]->login(), 'add-user') },
      at => sub { submit($_[0], accountjid => 'new' . ++$fresh . "\@$domain",
                         password => 'p', 'password-verify' => 'p') },
      then => 'iq' },

    { name => 'an account is disabled', lane => 'command', rival => 1,
      before => sub { form($_[0]->login(), 'disable-user') },
      at => sub { submit($_[0], accountjids => "nobody\@$domain") },
      then => 'iq' },

    { name => 'an account is removed', lane => 'command', rival => 1,
      before => sub { form($_[0]->login(), 'delete-user') },
      at => sub { submit($_[0], accountjids => "nobody\@$domain") },
      then => 'iq' },

    { name => 'who is online', lane => 'command', rival => 1,
      before => sub { $_[0]->login() },
      at => sub { command($_[0], 'get-online-users-num', '', '') },
      then => 'iq' },

    { name => 'last activity', lane => 'command', rival => 1,
      before => sub { $_[0]->login() },
      at => sub { $_[0]->iq('get', "bob\@$domain",
                            "<query xmlns='jabber:iq:last'/>") },
      then => 'iq' },

    { name => 'unavailable to many', lane => 'command', rival => 1,
      before => sub { told($_[0]->login()) },
      at => sub { $_[0]->presence(type => 'unavailable') } },

    { name => 'the socket is full', rival => 1, deaf => 4096,
      before => sub { stuff($_[0]->login()) } },

    { name => 'the socket is full, closed', rival => 1, deaf => 4096,
      before => sub { stuff($_[0]->login()) },
      at => sub { $_[0]->send('<<<') } },

    { name => 'the inbox, the socket is full', fresh => 1, deaf => 65536,
      before => sub { inbox($_[0]) } },

    # a page is read, the next one asked for
    { name => 'the inbox', lane => 'command', fresh => 1, deaf => 65536,
      before => sub { inbox($_[0]) }, at => sub { page($_[0]) } },

    { name => 'lingering', before => sub { $_[0]->login() },
      at => sub { $_[0]->send('</stream:stream>'); $_[0]->next_event() } },

    { name => 'unbind', lane => 'command', rival => 1,
      before => sub { told($_[0]->login()) }, at => sub { $_[0]->drop() } },
);


sub start {
    my ($c) = @_;

    $c->connect()->open_stream();
    $c->starttls() if $c->{tls} eq 'starttls';
}


sub login { start($_[0]); $_[0]->auth() }


sub proceed {
    my ($c) = @_;

    $c->connect()->open_stream();
    $c->send("<starttls xmlns='$NS{tls}'/>");
    $c->expect('proceed');
    $c->{raw} = 1;
}


sub scram {
    my ($c) = @_;

    $c->send_auth('SCRAM-SHA-1', $c->sasl()->first());
}


sub register {
    my ($c) = @_;

    $c->iq('set', undef, "<query xmlns='jabber:iq:register'><username>new"
                         . ++$fresh . '</username><password>p</password>'
                         . '</query>');
}


# an administrator's command: its form, and what is written into that

sub command {
    my ($c, $name, $session, $inner) = @_;

    return $c->iq('set', $domain,
        "<command xmlns='http://jabber.org/protocol/commands'"
        . " node='http://jabber.org/protocol/admin#$name'"
        . ($session ? " sessionid='$session'" : '') . ">$inner</command>");
}


sub form {
    my ($c, $name) = @_;

    my $id = command($c, $name, '', '');

    $c->{command} = [ $name, scalar $c->pick('iq', id => $id)
                                      ->find('*/@sessionid') ];
}


sub submit {
    my ($c, %field) = @_;

    command($c, @{ $c->{command} },
            "<x xmlns='jabber:x:data' type='submit'>"
            . join('', map { "<field var='$_'><value>$field{$_}</value>"
                             . '</field>' } sort keys %field) . '</x>');
}


# with an address of its own, so that its failures are counted in Redis

sub from {
    my ($c) = @_;

    $c->connect();
    $c->send(sprintf "PROXY TCP4 198.51.%d.%d 127.0.0.1 40000 5222\r\n",
             100 + $address / 250, 1 + $address++ % 250);
    $c->open_stream();
}


sub challenged {
    my ($c, $password) = @_;

    from($c);

    my $sasl = $c->sasl($password ? (password => $password) : ());

    $c->send_auth('SCRAM-SHA-1', $sasl->first());
    $c->{final} = $sasl->final($c->recv_challenge());
}


sub final { $_[0]->send_response($_[0]{final}) }


sub bind_to {
    my ($c, $resource) = @_;

    return $c->iq('set', undef, "<bind xmlns='$NS{bind}'>"
                                . "<resource>$resource</resource></bind>");
}


# is available and has sent directed presence, so its end is told to many

sub told {
    my ($c) = @_;

    $c->presence();
    $c->presence(to => "bob\@$domain/$_") for 1 .. 20;
    $c->sync();
}


###############################################################################
# The worker; who stays in it: ctl, by which it is asked, and a session that
# keeps alice's account subscribed; and one elsewhere

my ($keeper, $pid, $fds);
my @partners = map { $t->client($_, on => 1, resource => 'far')->login() }
                   qw/ bob eve /;

$partners[1]->query('set', undef, $carbons);

my $staying = 'alice/ctl alice/keeper bob/far eve/far';

arrive();


sub arrive {
    $_ && $_->drop() for $ctl, $keeper;

    Test::XMPP::Process::await(sub {
        ($ctl, $keeper) = eval {
            map { $t->client('alice', tls => 'none', resource => $_,
                             mechanism => 'SCRAM-SHA-1')->login() }
                qw/ ctl keeper /;
        };
    }) or die "no login: $@";

    ($pid) = $t->workers();

    Test::XMPP::Process::await(sub { clean() })
        or die 'recorded: ' . records() . "\n";
    $fds = fds();
}


# both connections to Redis stand

sub connected {
    my $answer = $ctl->query('get', undef, "<query xmlns='jabber:iq:private'>"
                                           . "<a xmlns='u'/></query>");

    return $answer->attr('type') eq 'result'
           && grep { /\{alice\@/ } $redis->channels();
}


sub fds { my @fds = glob "/proc/$pid/fd/*"; return scalar @fds }


sub fields {
    my ($user) = @_;

    my %hash = @{ $redis->command('HGETALL',
                                  "xmpp:{$user\@$domain}:sessions") };

    return sort grep { s/^r/$user\// } keys %hash;
}


sub records { join ' ', map { fields($_) } qw/ alice bob carol eve / }


# Removes the records of whose end Redis was not told.

sub clean {
    return 1 if records() eq $staying;

    for my $user (qw/ alice bob carol eve /) {
        for (grep { $staying !~ /(?:^| )\Q$_\E(?: |$)/ } fields($user)) {
            $redis->command('HDEL', "xmpp:{$user\@$domain}:sessions",
                            s{.*?/}{r}r);
        }
    }

    return 0;
}


# Enough for a client that does not read to fill what lies between

sub stuff {
    my ($c) = @_;

    $c->{deaf} = 1;
    $ctl->message($c->jid(), 'x' x 8000, type => 'headline') for 1 .. 12;
    $ctl->sync();
}


# Several pages of what was kept, and a client that does not read them

sub inbox {
    my ($c) = @_;

    $ctl->message("$c->{user}\@$domain", 'x' x 50_000, type => 'chat')
        for 1 .. 8;
    $ctl->sync();
    $c->login();
    $c->presence();
    $c->pick('message') or die "no page\n";
    $c->{deaf} = 1;
}

sub page {
    my ($c) = @_;

    my $held = $lanes->held('command');

    $c->{deaf} = 0;

    Test::XMPP::Process::await(sub {
        $c->fill();
        return $lanes->held('command') > $held;
    }) or die "it is not asked for more\n";
}


###############################################################################
# What happens meanwhile: to each client, or to all at once

my %each = (
    'nothing' => sub { },
    'FIN' => sub { $_[0]->drop() },
    'RST' => sub { $_[0]->drop(reset => 1) },
    'half closed' => sub { shutdown $_[0]{sock}, 1 },
    'garbage' => sub { garbage($_[0]) },
    'garbage, RST' => sub { garbage($_[0]); $_[0]->drop(reset => 1) },
    'more' => sub {
        $_[0]->queue("  <iq type='get' id='m'><ping xmlns='$NS{ping}'/></iq>"
                     x 50)->flush();
    },
);


# below TLS, if there is any

sub garbage {
    my $bytes = "\0\xFF<<</>" x 100;

    POSIX::write($_[0]->fileno(), $bytes, length $bytes);
}


# one after the other: Redis must not be held for long

round($_, each => { $_ => $each{$_} }) for sort keys %each;
round('no time left', early => 1);
round('another binds the resource', rival => 1);
round('connections to Redis are cut', all => sub { cut() });
round('Redis has run it, its answer is lost', hold => 'mute',
      all => sub { cut() });
round('Redis cuts its clients', all => sub {
          $redis->command('CLIENT', 'KILL', 'TYPE', $_)
              for qw/ pubsub normal /;
      });
round('Redis is killed', all => sub { $redis->kill9(); $redis->start() });
round('Redis answers too late', lost => 1, all => sub { late() });
round('the worker is reloaded', new => 1, lost => 1,
      all => sub { gone($t->reload()) });
round('the worker is reloaded, Redis answers late', new => 1, lost => 1,
      all => sub { my @old = $t->reload(); release(); gone(@old) });
round('the worker is terminated', new => 1, lost => 1,
      all => sub { kill 'TERM', $pid; gone($pid) });


sub cut     { $lanes->cut($_) for @lanes }
sub release { $lanes->release($_) for @lanes }


# until the requests that are held have ended by xmpp_redis_timeout

sub late {
    my $c = $t->client('alice', tls => 'none', mechanism => 'SCRAM-SHA-1');

    start($c);
    scram($c);
    is($c->recv_stanza()->error(), 'temporary-auth-failure',
       'a login ends, too');
}


sub gone {
    my @pids = @_;

    Test::XMPP::Process::await(sub { !grep { kill 0, $_ } @pids })
        or die "@pids: still there\n";
}


sub round {
    my ($name, %opt) = @_;
    my (@clients, @rivals);

    # those who have little time come last

    for my $place (sort { ($a->{early} // 0) <=> ($b->{early} // 0) } @places)
    {
        next if $opt{early} && !$place->{early}
                || $opt{rival} && !$place->{rival};

        for my $what (sort keys %{ $opt{each} // { '' => 1 } }) {
            push @clients, ready($place, @clients + length $name, $what, %opt);
        }
    }

    @rivals = map { rival($_) } @clients if $opt{rival};
    $_->{place}{now} && $_->{place}{now}->($_) for @clients;

    # Redis has answered these when it answers this

    $ctl->message("bob\@$domain/none", 'x', type => 'groupchat');
    $ctl->pick('message', type => 'error') or die "$name: no answer\n";

    my $hold = $opt{hold} // 'hold';

    $lanes->$hold($_) for @lanes;
    wait_at($name, $_) for @clients;
    quiet($name, @clients);

    if ($opt{each}) {
        $opt{each}{$_->{what}}->($_) for grep { $_->{sock} } @clients;
    }

    $_->{asked} = bind_to($_, $_->{wanted}) for @rivals;

    if ($opt{early}) {
        is(join(', ', map { $_->{place}{name} }
                      grep { my $c = $_;
                             !$c->wait(sub { defined $c->{eof} }) } @clients),
           '', "$name: all are closed");
    }

    $opt{all}->() if $opt{all};

    if (!$opt{new}) {
        ok($ctl->sync() && $keeper->sync(), "$name: others are served");
    }

    release();
    answered($name, grep { $_->{what} eq 'nothing' } @clients);

    ok($_->answer($_->{asked}), "$name: it is bound, $_->{wanted}")
        for @rivals;

    $_->drop() for @clients, @rivals;

    restored($name, %opt);
}


# A client brought to where it is about to wait

sub ready {
    my ($place, $n, $what, %opt) = @_;

    my $tls = $place->{tls} // (qw/ none starttls direct /)[$n % 3];
    my $port = $place->{port} // ($tls eq 'direct' ? 1 : 0);

    $port += 2 if $opt{early};

    # nginx waits for a handshake when it is reloaded

    $port = 5 if $opt{new} && $port == 1 && $place->{port};

    my $user = $place->{user} // 'alice';

    if ($place->{fresh}) {
        $user = 'fresh' . ++$fresh;
        $t->add_user($user, $domain, 'secret');
    }

    my $c = $t->client($user, tls => $tls,
                       mechanism => 'SCRAM-SHA-1', port_number => $port,
                       $place->{deaf} ? (rcvbuf => $place->{deaf}) : ());

    $c->{place} = $place;
    $c->{what} = $what;
    $place->{before}->($c);

    return $c;
}


sub rival {
    my ($c) = @_;

    my $rival = $t->client($c->{user}, tls => 'none',
                           mechanism => 'SCRAM-SHA-1');

    login($rival);

    $rival->{wanted} = $c->{jid} ? $c->{jid} =~ s{.*/}{}r
                       : $c->{user} eq 'bob' ? 'same' : 'mine';

    return $rival;
}


sub wait_at {
    my ($name, $c) = @_;

    my $place = $c->{place};
    my $lane = $place->{lane};
    my $held = $lane && $lanes->held($lane);

    $place->{at}->($c) if $place->{at};
    $ctl->sync() or die "$name: the worker does not answer\n";

    # all of an account wait for one subscription
    return if !$lane || $lane eq 'subscriber' && $held;

    Test::XMPP::Process::await(sub { $lanes->held($lane) > $held }, 20)
        or fail("$name: $place->{name}: nothing is held");
}


# Whoever waits for Redis has heard nothing

sub quiet {
    my ($name, @clients) = @_;
    my @heard;

    for my $c (grep { $_->{place}{lane} && $_->{place}{then} } @clients) {
        $c->fill();
        push @heard, $c->{place}{name} if @{ $c->{events} };
    }

    is("@heard", '', "$name: they wait");
}


sub answered {
    my ($name, @clients) = @_;

    for my $c (grep { $_->{place}{then} } @clients) {
        ok($c->pick($c->{place}{then}), "$name: $c->{place}{name}: goes on");
    }
}


sub restored {
    my ($name, %opt) = @_;

    if ($opt{new}) {
        isnt(($t->workers())[0], $pid, "$name: another worker");

    } else {
        is(($t->workers())[0], $pid, "$name: the same worker");

        # those to Redis count, too

        Test::XMPP::Process::await(\&connected);
        Test::XMPP::Process::await(sub { fds() <= $fds });
        cmp_ok(fds(), '<=', $fds, "$name: no descriptor is left")
            or diag(`ls -l /proc/$pid/fd`);

        # a client that was still closing may have been counted before
        $fds = fds();
    }

    if (!$opt{lost}) {
        Test::XMPP::Process::await(sub { records() eq $staying });
        is(records(), $staying, "$name: no record is left");
        return;
    }

    arrive();
}


$t->done();
