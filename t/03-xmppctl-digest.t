#!/usr/bin/perl

# xmppctl stores the secret of DIGEST-MD5 only where it is asked for, as RFC
# 2831, 2.1.2.1 says, and takes it away with the password.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::MD5 qw/ md5_hex /;
use Encode qw/ encode /;
use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(hosts => 0, users => []);

$t->only_ours('has a tool of its own');
$t->run();

ctl('secret', 'adduser', 'a@example.com');
is(secret('a@example.com'), undef, 'adduser: none by default');

ctl("p\x{E4}ss", 'passwd', '--digest-md5', 'a@example.com');
is(secret('a@example.com'), md5_hex("a:example.com:p\xE4ss"),
   'passwd --digest-md5: RFC 2831, 2.1.2.1: the password in ISO 8859-1');

ctl('other', 'passwd', '--digest-md5', 'a@example.com');
is(secret('a@example.com'), md5_hex('a:example.com:other'),
   'passwd --digest-md5: another');

ctl('other', 'passwd', 'a@example.com');
is(secret('a@example.com'), undef, 'passwd: the old one is taken away');

ctl("\x{2168} \x{44F}", 'adduser', '--digest-md5', "J\x{DC}rgen\@example.com");
is(secret("j\x{FC}rgen\@example.com"),
   md5_hex("j\xFCrgen:example.com:IX " . encode('UTF-8', "\x{44F}")),
   'adduser --digest-md5: prepared, the password in UTF-8');

for my $command ('deluser', 'users') {
    my ($status, $output) = $t->xmppctl(undef, $command, '--digest-md5',
                                        'a@example.com');

    is($status, 2, "$command --digest-md5: wrong usage");
}

my ($status, $output) = $t->xmppctl(undef, 'passwd', '--help');
like($output, qr/--digest-md5 .*as good\s+as the password/s, 'it is in --help');

$t->done();


sub ctl {
    my ($password, @arguments) = @_;

    my ($status, $output) = $t->xmppctl($password, @arguments);

    is($status, 0, "@arguments[0 .. $#arguments - 1]: done") or diag($output);
}


sub secret {
    return $t->redis()->command('HGET', 'xmpp:{' . encode('UTF-8', $_[0])
                                        . '}:account', 'digest-md5');
}
