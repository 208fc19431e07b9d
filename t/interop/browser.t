#!/usr/bin/perl

# The page of make run in Chromium: alice in a window and bob on a phone chat
# by WebSocket, each at a host of its own.  Both hosts reload, and they go on:
# nothing is lost, nothing comes twice.  What other clients of theirs send and
# get by TCP, the page shows, too.  It asks no other host for anything.
#
# Pictures of it are in build/interop/.  Needs Debian's chromium and
# chromium-driver, and Converse.js of npm: make interop PARTS=browser.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib", $FindBin::Bin;

use File::Path qw/ make_path /;
use Test::More;

use Browser;
use Test::XMPP;
use Test::XMPP::Process;

my $top = Test::XMPP::Nginx::root();
my $t = Test::XMPP->new(hosts => 2, users => [ qw/ alice bob / ]);

$t->only_ours('is about the page of make run');
plan(skip_all => Browser::missing()) if Browser::missing();

my $dir = $t->testdir();
my $domain = $t->domain();
my $pictures = "$top/build/interop";
my $carbons = 'urn:xmpp:carbons:2';
my @origin = map { serve($_) } 0, 1;
my %said = (alice => [], bob => []);
my $count = 0;

make_path($pictures);
$t->run();

my $alice = Browser->new(dir => $dir, width => 1000, height => 640);
my $bob = Browser->new(dir => $dir, width => 400, height => 760, phone => 1);
my %window = (alice => $alice, bob => $bob);


###############################################################################
# They log in

$alice->go("$origin[0]/");
ok($alice->await('return document.querySelector("#login:not([hidden])")'),
   'the page asks who it is');
$alice->shot("$pictures/login.png");

$alice->type('#password', 'wrong', Browser::ENTER);
ok($alice->await('return document.querySelector("#said:not([hidden])")'
                 . '?.textContent.includes("incorrect")'),
   'of a wrong password it says so');

$alice->type('#password', 'alice-secret', Browser::ENTER);
ok(chat_with($alice, 'bob'), 'alice logs in by the form');

$bob->go("$origin[1]/#bob\@$domain:bob-secret");
ok(chat_with($bob, 'alice'), 'bob by the link of make run');
is($bob->js('return location.href'), "$origin[1]/",
   'which is gone from the address');


###############################################################################
# They chat, also across reloads

chat('both ways');
$alice->shot("$pictures/chat.png");
$bob->shot("$pictures/chat-phone.png");

for my $host (0, 1, 0) {
    my ($who, $other) = $host ? qw/ bob alice / : qw/ alice bob /;
    my $before = resumed($window{$who});
    my @old = $t->host($host)->reload();

    # to a session that is on its way, and by it

    write_as($other);
    write_as($who);

    ok(Test::XMPP::Process::await(sub { resumed($window{$who}) > $before },
                                  60), "host $host reloads: $who resumes");
    ok(Test::XMPP::Process::await(sub { !grep { kill 0, $_ } @old }),
       'the old workers exit');

    chat("after the reload of host $host, all of it, once");
}


###############################################################################
# Other clients of theirs, by TCP

my $alice_tcp = $t->online('alice', on => 1, resource => 'tcp');
my $bob_tcp = $t->online('bob', on => 0, resource => 'tcp');

$alice_tcp->query(set => undef, "<enable xmlns='$carbons'/>");

$alice_tcp->message("bob\@$domain", body('alice'), type => 'chat');
all_there('XEP-0280, 8: what is sent by TCP is in the window');

my $body = write_as('alice');

ok(carbon($alice_tcp, 'sent', $body), 'XEP-0280, 8: and the reverse');
all_there('and with bob');

$bob_tcp->message($alice_tcp->jid(), body('bob'), type => 'chat');
ok($alice_tcp->pick('message', body => $said{bob}[-1]),
   'what comes for the client by TCP');
all_there('XEP-0280, 7: is in the window');

my ($resource) = map { /^r(converse.*)/ } @{ $t->redis()->command(
                     'HKEYS', "xmpp:{alice\@$domain}:sessions") };

$body = body('bob');
$bob_tcp->message("alice\@$domain/$resource", $body, type => 'chat');
ok(carbon($alice_tcp, 'received', $body),
   'XEP-0280, 7: what comes for the window is told by TCP');
all_there('and is there');


###############################################################################
# The page is loaded again, the same browser has a second account, and the end

my $before = resumed($alice);

$alice->reload();
ok(chat_with($alice, 'bob'), 'loaded again, alice is there');
cmp_ok(resumed($alice), '>', $before, 'in the same session');
chat('they go on');

$alice->new_tab();
$alice->go("$origin[0]/#bob\@$domain:bob-secret");
ok(chat_with($alice, 'alice'), 'bob has a second tab in her browser');
$alice->reload();
ok(chat_with($alice, 'alice'), 'which stays his when it is loaded again');
$alice->tab(0);
is($alice->js('return document.title'), "alice\@$domain", 'hers is hers');

$alice->click('converse-user-profile .show-profile');
$alice->click('.modal.show .btn-danger');
$alice->click('converse-confirm-modal .btn-primary');
ok($alice->await('return document.querySelector("#login:not([hidden])")'),
   'she logs out');
is($alice->js('return sessionStorage.length'), 0, 'and nothing is kept');

for my $who (sort keys %window) {
    my @requests = $window{$who}->requests();

    cmp_ok(scalar(grep { m{^ws://localhost:\d+/xmpp-websocket$} } @requests),
           '>', 1, "$who: it is known what was asked for");
    is(join("\n", grep { !m{^(?:http|ws)://localhost:\d+/|^data:|^blob:} }
                  @requests), '', "$who: nothing of another host");

    # nobody has touched this window, so it must not make a sound

    is(join("\n", grep { /Content.Security|Uncaught/ && !/ play\(\) failed / }
                  $window{$who}->console()), '', "$who: no faults");
}

$_->quit() for $alice, $bob;
$alice_tcp->close();
$bob_tcp->close();
$t->done();


###############################################################################

# What make run writes into the folder of a host, and its http{}; returns the
# origin of the page.

sub serve {
    my ($host) = @_;

    my $port = Test::XMPP::Process::free_port();
    my $prefix = "$dir/www$host";

    mkdir $prefix or die "$prefix: $!\n";

    local @ENV{qw/ PORT TLS_PORT HTTP_PORT prefix domain port /} =
        (0, 0, $port, $prefix, $domain, $port);

    my $http = do {
        open my $script, '-|', 'bash', '-c', <<'BASH', "$top/.make/run"
. "${0%/*}/lib.sh"; . "${0%/*}/page.sh"
dir=$prefix http_port=$port accounts=( alice bob )
make_page >&2
http_conf
BASH
            or die "bash: $!\n";
        local $/;
        <$script>;
    };

    -f "$prefix/www/converse/version" or die "no Converse.js\n";

    $t->config(<<"CONF", host => $host);
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis  unix:%%REDIS%%;

    xmpp_host $domain {
        ssl_certificate      %%TESTDIR%%/$domain.pem;
        ssl_certificate_key  %%TESTDIR%%/$domain.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
$http
CONF

    return "http://localhost:$port";
}


sub chat_with {
    my ($window, $who) = @_;

    return $window->await(<<'JS', "$who\@$domain");
return [...document.querySelectorAll('converse-chat')]
    .some(chat => chat.offsetParent && chat.textContent.includes(arguments[0])
                  && chat.querySelector('textarea'))
JS
}


# The next thing that somebody says

sub body {
    my ($who) = @_;

    push @{ $said{$who} }, "$who " . ++$count;

    return $said{$who}[-1];
}


sub write_as {
    my ($who) = @_;
    my $body = body($who);

    $window{$who}->type('converse-chat textarea', $body, Browser::ENTER);

    return $body;
}


sub chat {
    my ($why) = @_;

    for (1 .. 3) {
        write_as($_) for qw/ alice bob /;
    }

    all_there($why);
}


# Each window has all that was said; what one has said, once and in order.

sub all_there {
    my ($why) = @_;

    for my $name (qw/ alice bob /) {
        my $has = sub {
            my $texts = $window{$name}->js(<<'JS');
return [...document.querySelectorAll('converse-chat .chat-msg__text')]
    .map(text => text.textContent.trim())
JS
            my %has;

            push @{ $has{ (split ' ', $_)[0] // '' } }, $_ for @$texts;

            return \%has;
        };

        Test::XMPP::Process::await(sub {
            my $now = $has->();
            @{ $now->{alice} // [] } >= @{ $said{alice} }
                && @{ $now->{bob} // [] } >= @{ $said{bob} };
        }, 60);

        is_deeply($has->(), \%said, "$name: $why");
    }
}


# How often Converse.js said that it resumed a session

sub resumed {
    my ($window) = @_;

    return scalar grep { /onResumedStanza/ } $window->console();
}


sub carbon {
    my ($client, $kind, $body) = @_;

    return $client->pick('message', from => $client->bare(), xpath =>
        [ "*[local-name() = '$kind' and namespace-uri() = '$carbons']"
          . "//*[local-name() = 'body'] = '$body'" ]);
}
