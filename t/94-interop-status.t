#!/usr/bin/perl

# A real browser shows the page of xmpp_status: what stands there, on a desk and
# on a phone, while clients chat.  The pictures stay in build/interop/.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Path qw/ make_path /;
use Test::More;
use Test::XMPP;
use Test::XMPP::Metrics;
use Test::XMPP::Process;

my $CLIENTS = 6;
my $MESSAGES = 200;
my @SCREENS = ([ 'desk', 1280, 1300 ], [ 'phone', 390, 2900 ]);

my ($chromium) = grep { -x } map { "/usr/bin/$_" }
                 qw/ chromium chromium-browser google-chrome /;

plan(skip_all => 'chromium is needed: make interop installs it')
    unless $chromium;

my $t = Test::XMPP->new(users => [ qw/ alice bob / ]);

$t->config(Test::XMPP::Metrics::config(
    stream    => 'xmpp_heartbeat 100ms;',
    locations => 'location = /status { xmpp_status; }'));
$t->run();

my $dir = $t->testdir();
my $url = 'http://127.0.0.1:' . $t->port(2) . '/status';
my $shots = Test::XMPP::Nginx::root() . '/build/interop';

make_path($shots);

# The browser loads the page and goes on until its own time is over, in which
# the page asks a few times; clients chat meanwhile.

sub browse {
    my ($name, @options) = @_;
    my $log = "$dir/$name.log";

    open my $out, '-|', join ' ', map { quotemeta } 'timeout', 120, 'sh', '-c',
        'exec "$@" 2> "$0"', $log, $chromium, '--headless=new', '--no-sandbox',
        '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
        '--hide-scrollbars', "--user-data-dir=$dir/$name",
        '--enable-logging=stderr', '--virtual-time-budget=12000', @options, $url
        or die "$chromium: $!\n";
    binmode $out, ':utf8';

    my $dom = do { local $/; <$out> } // '';
    close $out;

    return ($dom, Test::XMPP::Process::slurp($log));
}

my $bob = $t->client('bob', resource => 'b')->login();
my @clients = map { $t->client('alice', resource => "r$_")->login() }
              1 .. $CLIENTS;

for my $n (1 .. $MESSAGES) {
    $clients[ $n % $CLIENTS ]->message($bob->jid(), "m$n", type => 'headline');
}

$bob->pick('message') for 1 .. $MESSAGES;

my ($dom, $log) = browse('dom', '--dump-dom');

is(join("\n", $log =~ /^(.*CONSOLE.*)$/mg), '',
   'no error, and nothing that the policy forbids');

# what people read: the tiles

my %tile = $dom =~ m{<h2>([^<]+)</h2>
                     <div\ class="big(?:\ bad)?">([^<]*)</div>}gx;

is($tile{Sessions}, $CLIENTS + 1, 'sessions');
is($tile{Logins}, $CLIENTS + 1, 'logins');
is($tile{'Dead workers'}, 0, 'the dead');
like($tile{Memory}, qr/^[\d.]+\x{202f}MB$/, 'memory');
like($tile{Redis}, qr/^[\d.]+\x{202f}(?:\x{b5}s|ms)$|^\x{2013}$/,
     'Redis is there');
like($dom, qr/$MESSAGES in all/, 'messages');
like($dom, qr/<span id="state" class="">live</, 'it is live');

my @plots = $dom =~ m{<svg [^>]*aria-label="([^"]+)".*?</svg>}gs;

cmp_ok(@plots, '>=', 8, 'plots');
cmp_ok(() = $dom =~ /<path class="c\d" d="M[^"]+L/g, '>', 8, 'with lines');

for my $pid ($t->workers()) {
    like($dom, qr/<td>$pid<\/td>/, 'each worker has a row');
}

for my $screen (@SCREENS) {
    my ($name, $width, $height) = @$screen;
    my $file = "$shots/status-$name.png";

    unlink $file;
    browse($name, "--window-size=$width,$height", "--screenshot=$file");
    cmp_ok(-s $file // 0, '>', 20_000, "a picture: $file");
}

$t->done();
