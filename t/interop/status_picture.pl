#!/usr/bin/perl

# The page of xmpp_status during a run of the benchmark's traffic, as Chromium
# prints it, as a picture that can be read as text:
#
#   perl t/interop/status_picture.pl docs/modules/status.svg
#
# Two hosts with two workers each, whose Redis they share; chromium,
# chromium-driver and poppler-utils of Debian.

use strict;
use warnings;

use FindBin;
use lib map { "$FindBin::Bin/../$_" } qw/ lib traffic interop /;

use MIME::Base64 qw/ decode_base64 /;

use Browser;
use Test::XMPP;
use Test::XMPP::Metrics;
use Traffic;

my ($file) = @ARGV or die "usage: $0 FILE\n";
my ($clients, $rate, $seconds) = (500, 400, 70);

my $t = Test::XMPP->new(hosts => 2, workers => 2, users => []);

$t->config(Test::XMPP::Metrics::config(
    locations => 'location = /status { xmpp_status; }'));
$t->run();

Traffic::accounts($t, $clients);

my $browser = Browser->new(dir => $t->testdir(), width => 1100, height => 1150);

$browser->go('http://127.0.0.1:' . $t->port(2) . '/status');

my $traffic = Traffic->start(
    targets => Traffic::targets($t, 0), ca => $t->ca_file(),
    accounts => Traffic::accounts_file($t, $clients), rate => $rate,
    messages => $rate * $seconds, presence => 5);

# until the plots are full, but for logins, and before the traffic ends

$browser->await('return performance.now() > 50000') or die "no page\n";

my $height = $browser->js('return document.documentElement.scrollHeight');
my $pdf = decode_base64($browser->post('/print', {
    background => \1, shrinkToFit => \0,
    page => { width => 1100 / 96 * 2.54, height => ($height + 40) / 96 * 2.54 },
    margin => { map { $_ => 0 } qw/ top bottom left right / } }));

my $pages = $t->testdir() . '/status.pdf';

open my $out, '>:raw', $pages or die "$pages: $!\n";
print $out $pdf;
close $out;

system('pdftocairo', '-svg', '-f', 1, '-l', 1, $pages, $file) == 0
    or die "pdftocairo: $?\n";

# digits that nobody sees

my $svg = Test::XMPP::Process::slurp($file) =~ s/(\d\.\d{4})\d+/$1/gr;

open $out, '>', $file or die "$file: $!\n";
print $out $svg;
close $out;

my $result = $traffic->result();

print "$file: $result->{line}\n";
