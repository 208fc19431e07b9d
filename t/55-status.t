#!/usr/bin/perl

# The page of xmpp_status and what it asks for: one file that needs no other, a
# policy that allows none, and the figures of this host and of the cluster.  A
# browser looks at it in 94-interop-status.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::SHA qw/ sha256_base64 /;
use JSON::PP qw/ decode_json /;
use Sys::Hostname;
use Test::More;
use Test::XMPP;
use Test::XMPP::Metrics;
use Test::XMPP::Process;

my $MESSAGES = 5;

my $t = Test::XMPP->new(users => [ qw/ alice bob / ]);

$t->only_ours('its own page');
$t->config(Test::XMPP::Metrics::config(
    stream    => 'xmpp_heartbeat 100ms; xmpp_drain_time 200ms;',
    locations => 'location = /status { xmpp_status; }
                  location = /closed { xmpp_status; deny all; }'));
$t->run();

sub request { Test::XMPP::Metrics::request($t, @_) }

sub figures { decode_json(request('GET', '/status?json')->{content}) }

# waits until $sub->(the figures), as $_, is true

sub becomes {
    my ($name, $sub) = @_;
    my $now;

    ok(Test::XMPP::Process::await(sub { local $_ = $now = figures();
                                        $sub->() }), $name)
        or diag(JSON::PP->new->canonical->encode($now));
    return $now;
}


###############################################################################
# The page

my $page = request('GET', '/status');
my $text = $page->{content};
my %header = %{ $page->{headers} };

is($page->{status}, 200, 'the page');
is($header{'content-type'}, 'text/html; charset=utf-8', 'is HTML');
is($header{'cache-control'}, 'no-store', 'not to be kept');
is($header{'x-content-type-options'}, 'nosniff', 'nor taken for anything else');
like($text, qr/\A<!DOCTYPE html>.*<\/html>\n\z/s, 'it is whole');
like($text, qr/<meta name="viewport"/, 'and made for a phone, too');
like($text, qr/prefers-color-scheme: dark/, 'by night, too');

is(join(' ', $text =~ /((?:src|href|url|import)\s*[=(]\S*)/g), '',
   'it loads nothing');
is(join(' ', grep { $_ ne 'http://www.w3.org/2000/svg' }
                  $text =~ m{(\w+://[^"\s]+)}g), '', 'and names no address');
is(join(' ', $text =~ /\s(on\w+|style)=/g), '',
   'no inline handler or style, which the policy forbids');

my %policy = map { /^(\S+) (.*)$/ } split /; /,
             $header{'content-security-policy'};

for my $part (qw/ style script /) {
    my ($inline) = $text =~ m{<$part>(.*?)</$part>}s;
    my $digest = sha256_base64($inline);

    $digest .= '=' while length($digest) % 4;
    is($policy{"$part-src"}, "'sha256-$digest'", "CSP 3, 2.3.1: its own $part");
}

delete @policy{qw/ style-src script-src /};
is(join('; ', map { "$_ $policy{$_}" } sort keys %policy),
   "base-uri 'none'; connect-src 'self'; default-src 'none'; "
   . "form-action 'none'; frame-ancestors 'none'", 'and nothing else');

is(request('HEAD', '/status')->{headers}{'content-length'}, length $text,
   'RFC 9110, 9.3.2: HEAD');
is(request('POST', '/status')->{status}, 405, 'RFC 9110, 15.5.6: POST');
is(request('GET', '/status?other')->{status}, 404, 'there is no other page');
is(request('GET', '/closed')->{status}, 403, 'nginx decides who may see it');
is(request('GET', '/closed?json')->{status}, 403, 'and what it shows');


###############################################################################
# What it shows

my $alice = $t->client('alice', resource => 'a')->login();
my $bob = $t->client('bob', resource => 'b')->login();

$alice->message($bob->jid(), "m$_", type => 'headline') for 1 .. $MESSAGES;
$bob->pick('message', body => "m$MESSAGES");

my $host = hostname();
my $now = becomes('known traffic', sub {
    @{ $_->{workers} } == 2 && $_->{total}{sessions}[0] == 2
    && $_->{total}{sent}[0] == $MESSAGES
    && @{ $_->{hosts} } == 1 && $_->{hosts}[0]{workers} == 2
    && $_->{hosts}[0]{sessions} == 2;
});

is($now->{host}, lc $host, 'the name of the host');
is($now->{hosts}[0]{name}, lc substr($host, 0, 40), 'as its workers tell');
is("@{ $now->{domains} }", 'localhost', 'its domains');
cmp_ok(abs($now->{time} / 1000 - time), '<', 60, 'the time');

my $total = $now->{total};

is($total->{received}[0], $MESSAGES, 'messages of clients');
is(eval { my $n = 0; $n += $_ for @{ $total->{routed} }; $n }, $MESSAGES,
   'what became of them');
is($total->{logins}[0], 2, 'logins');
is(@{ $total->{times} }, @{ $total->{bounds} } + 1,
   'a time for each bound, and one for what is longer');

my @workers = @{ $now->{workers} };

is(join(' ', sort { $a <=> $b } map { $_->{pid} } @workers),
   join(' ', $t->workers()), 'the workers');
is($workers[0]{sessions} + $workers[1]{sessions}, 2, 'have the sessions');
is($workers[0]{received} + $workers[1]{received}, $MESSAGES,
   'and have taken the messages');
is(scalar(grep { $_->{memory} > 1024 ** 2 } @workers), 2, 'memory');
is(join(' ', map { @{ $_->{redis} } } @workers), '1 1 1 1',
   'both connections of each');

# the same as the metrics

my $metrics = Test::XMPP::Metrics::read($t);

is($metrics->{sessions_bound_total}, 2, 'metrics tell the same');
is($metrics->{received_bytes_total}, figures()->{total}{bytes}[0], 'of bytes');

# another host, by its beat; it beats once, so it is dead soon

$t->redis()->command('FCALL', 'xmpp1_beat', 2, map({ "xmpp:{workers}:$_" }
                     qw/ beats claims /), '0123456789abcdef',
                     '5000 7 "elsewhere"', 1);

$now = becomes('another host', sub { @{ $_->{hosts} } == 2 });
is($now->{hosts}[1]{name}, '"elsewhere"', 'RFC 8259, 7: its name is escaped');
is($now->{hosts}[1]{sessions}, 7, 'its sessions');

# one worker dies, and one is about to end

my $pid = ($t->workers())[0];

$t->kill_worker($pid);
becomes('the dead is gone, another is there', sub {
    @{ $_->{workers} } == 2 && !grep { $_->{pid} == $pid } @{ $_->{workers} };
});

$t->reload();
becomes('after a reload', sub {
    @{ $_->{workers} } == 2
    && !grep { $_->{draining} } @{ $_->{workers} };
});

my $wrong = $t->start_host(idle => 1);
my ($status, $output) = $wrong->test_config(
    "%%GLOBALS%%\nevents { }\nhttp { %%HTTP%%\nserver { "
    . "listen 127.0.0.1:%%PORT_2%%; location / { xmpp_status; } } }\n");

$wrong->expect_log(qr/\[emerg\]/);
isnt($status, 0, 'without an XMPP server it is refused');
like($output, qr/"xmpp_status" in \S+:\d+ needs an XMPP server/, 'told why');

$t->done();
