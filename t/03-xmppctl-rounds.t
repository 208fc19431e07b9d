#!/usr/bin/perl

# xmppctl makes accounts with the PBKDF2 rounds of nginx.conf, so that none
# differs from what names without one are shown: xmpp_sasl_iterations.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(hosts => 0, users => []);

$t->only_ours('has a tool of its own');
$t->run();

my @c = ('-c', $t->testdir() . '/rounds.conf');

conf('');
is(set('adduser', 'a@example.com'), '', 'no directive');
is(rounds('a'), '10000 10000 10000', 'no directive: the default');

conf('xmpp_sasl_iterations 5000;');
is(set('adduser', 'b@example.com'), '', 'a directive');
is(rounds('b'), '5000 5000 5000', 'a directive: for new accounts');
is(set('passwd', 'a@example.com'), '', 'a directive');
is(rounds('a'), '5000 5000 5000', 'a directive: for new passwords');

like(set('passwd', '--iterations', 4096, 'b@example.com'),
     qr/^xmppctl: warning: .* 5000 rounds, .* 4096 .* xmpp_sasl_iterations$/,
     'another number: with a warning');
is(rounds('b'), '4096 4096 4096', 'another number: it counts');
is(set('passwd', '--iterations', 5000, 'b@example.com'), '',
   'the same number: without');

for my $bad ('many', 4095, 10_000_001, '5k', '""', '9' x 20) {
    conf("xmpp_sasl_iterations $bad;");

    my ($status, $output) = $t->xmppctl('x', @c, 'adduser', 'c@example.com');

    is($status, 4, "$bad: refused");
    like($output, qr/invalid "xmpp_sasl_iterations" .*rounds\.conf/,
         "$bad: says why, and where");
}

$t->done();


sub conf {
    my ($directive) = @_;

    $t->write_file('rounds.conf', "stream { xmpp_redis unix:/nowhere;\n"
                                  . "xmpp_host example.com { }\n$directive }");
}


# what it says on stderr

sub set {
    my ($command, @operands) = @_;

    my ($status, $output) = $t->xmppctl('secret', @c, $command, @operands);

    die "$command @operands: $output\n" if $status;

    chomp $output;
    return $output =~ s/^\S+ (?:added|has a new password)\n?//mr =~ s/\n$//r;
}


# of the three keys of an account

sub rounds {
    my ($user) = @_;

    return join ' ', map {
        $t->redis()->command('HGET', "xmpp:{$user\@example.com}:account", $_)
            =~ /^(\d+),/ } 'scram-sha-1', 'scram-sha-256', 'scram-sha-512';
}
